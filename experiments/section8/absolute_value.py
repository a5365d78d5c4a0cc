"""Neurons that compute absolute values of one feature each, or of many (paper, Section 8).

The paper asks whether a model can compute in superposition. y' = ReLU(W2 ReLU(W1 x) + b) learns
|x|, for which a feature needs two neurons: one for its positive and one for its negative side. With
two neurons for every feature (n=3, m=6, dense: SIDES) each feature gets them. With fewer (n=100,
m=40) neurons are monosemantic while features are dense, and polysemantic once they are sparse.
`sides_figure` and `figure` draw the paper's figures of both.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section8main.py instead.")

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.colors import Normalize
from torch import Tensor

from checks import check_settings
from experiments.section8.trained_models import trained_models
from training import best_restart, sampled_loss
from visualization import (
    DEDICATED,
    SHARED,
    SUPERPOSITION,
    WEIGHTS,
    WIDTH,
    described,
    neuron_stacks,
    over_density,
    weight_text,
)

# In-weights of at most this share of a neuron's largest one count as zero, and so do effects on
# outputs that differ by no more than this from what they should be.
PURE = 0.1
# A neuron is monosemantic if one feature has at least this share of its squared in-weights.
MONOSEMANTIC = 0.9
# A neuron is in use if it gives some output at least this share of its feature's absolute value.
IN_USE = 0.1
TICKS = (1, 0.1, 0.01, 0.001)  # of density
PANELS = 4  # in a row of the figure


@dataclass(frozen=True)
class Settings:
    """The paper's model of absolute values at several densities."""

    features: int = 100
    hidden: int = 40
    decay: float = 0.8  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    restarts: int = 4  # models at each density
    steps: int = 8000
    batch_size: int = 128
    lr: float = 1e-2
    init_scale: float = 0.03

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


SIDES = Settings(
    features=3,
    hidden=6,
    decay=1.0,
    densities=(1.0,),
    restarts=100,
    steps=1500,
    lr=3e-2,
    init_scale=0.1,
)
QUICK = Settings(densities=(1.0, 0.1, 0.001), restarts=1, steps=200, batch_size=64)
QUICK_SIDES = replace(SIDES, restarts=8, steps=300)
NOTEBOOK = Settings(restarts=1, steps=4000)
NOTEBOOK_SIDES = replace(SIDES, restarts=40)


class Result(NamedTuple):
    """The trained models and their losses on fresh rows."""

    density: Float[Tensor, " densities"]
    W1: Float[Tensor, "densities restarts hidden features"]
    W2: Float[Tensor, "densities restarts features hidden"]
    loss: Float[Tensor, "densities restarts"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train models at each density, from the same initial weights at all of them."""
    model, distribution = trained_models(
        settings,
        settings.restarts,
        init_scale=settings.init_scale,
        seed=seed,
        device=device,
        progress=progress,
    )
    loss = sampled_loss(model, distribution, seed=seed)
    return Result(
        density=torch.tensor(settings.densities, dtype=torch.float64),
        W1=model.W1.detach().cpu().unflatten(0, (-1, settings.restarts)),
        W2=model.W2.detach().cpu().unflatten(0, (-1, settings.restarts)),
        loss=loss.cpu().unflatten(0, (-1, settings.restarts)),
    )


def shards(settings):
    """Split a run into its densities."""
    return [replace(settings, densities=(density,)) for density in settings.densities]


def joined(results):
    """Join the results of densities."""
    return Result(
        density=torch.cat([result.density for result in results]),
        W1=torch.cat([result.W1 for result in results]),
        W2=torch.cat([result.W2 for result in results]),
        loss=torch.cat([result.loss for result in results]),
    )


# One neuron a side


def one_neuron_a_side(
    W1: Float[Tensor, "instances hidden features"], W2: Float[Tensor, "instances features hidden"]
) -> Bool[Tensor, " instances"]:
    """Return whether each feature has one neuron for either of its sides, and there are no others.

    Every neuron reads one feature: any other in-weight is at most PURE of the largest. Every neuron
    gives its value to the output of that feature and nothing to the others, to within PURE. Every
    feature is read by exactly one neuron of each sign.
    """
    largest, main = W1.abs().max(dim=2, keepdim=True)
    sides = torch.cat(
        (W1, -W1), dim=2
    )  # the positive side of each feature, then the negative sides
    reads = sides > PURE * largest  # (instances, hidden, sides)
    one_side_a_neuron = (reads.sum(dim=2) == 1).all(dim=1)
    one_neuron_for_each_side = (reads.sum(dim=1) == 1).all(dim=1)
    effect = largest * W2.mT  # on every output, while the neuron's main feature is 1
    wanted = torch.zeros_like(effect).scatter_(2, main, 1)
    as_wanted = ((effect - wanted).abs() <= PURE).all(dim=2).all(dim=1)
    return one_side_a_neuron & one_neuron_for_each_side & as_wanted


def single_runs(result) -> Bool[Tensor, "densities restarts"]:
    """Return which runs end with one neuron a side."""
    flat = one_neuron_a_side(result.W1.flatten(0, 1), result.W2.flatten(0, 1))
    return flat.view_as(result.loss)


# Mono- and polysemantic neurons


class Neurons(NamedTuple):
    """What the neurons of the best run at each density respond to."""

    W1: Float[Tensor, "densities hidden features"]
    main: Int[Tensor, "densities hidden"]  # the feature of the largest in-weight
    superposition: Float[
        Tensor, "densities hidden"
    ]  # share of squared in-weights on other features
    monosemantic: Bool[Tensor, "densities hidden"]
    polysemantic: Bool[Tensor, "densities hidden"]


def best_neurons(result) -> Neurons:
    """Classify the neurons of the best run at each density, by MONOSEMANTIC and IN_USE.

    A neuron that is not in use is neither monosemantic nor polysemantic.
    """
    best = best_restart(result.loss.flatten(), result.loss.shape[1])
    W1 = result.W1.flatten(0, 1)[best]
    W2 = result.W2.flatten(0, 1)[best]
    squares = W1.square()
    largest, main = squares.max(dim=2)
    total = squares.sum(dim=2).clamp(min=torch.finfo(W1.dtype).tiny)
    superposition = 1 - largest / total
    in_use = (W1.abs() * W2.mT).amax(dim=2) >= IN_USE
    one_feature = superposition <= 1 - MONOSEMANTIC
    return Neurons(
        W1=W1,
        main=main,
        superposition=superposition,
        monosemantic=in_use & one_feature,
        polysemantic=in_use & ~one_feature,
    )


def importance_order(neurons) -> Float[Tensor, " densities"]:
    """Return how often monosemantic neurons have the more important main features.

    It is a share of all pairs of a monosemantic and a polysemantic neuron; pairs with the same main
    feature count half. 1/2 means that importance does not decide, or that all neurons are of one
    kind.
    """
    is_ahead = (neurons.main[:, None, :] - neurons.main[:, :, None]).sign().double() / 2 + 1 / 2
    pairs = neurons.monosemantic[:, :, None] & neurons.polysemantic[:, None, :]
    count = pairs.sum(dim=(1, 2))
    share = (is_ahead * pairs).sum(dim=(1, 2)) / count.clamp(min=1)
    return torch.where(count > 0, share, 0.5)


def over_monosemantic(result, decay) -> Float[Tensor, " densities"]:
    """Return the best run's loss relative to that of neurons for one feature each.

    There m/2 features, the most important ones, have two neurons each, and the others are ignored.
    An ignored feature of density s costs I_i (s/3 - s^2/4), with the bias at the output's expected
    value.

    Args:
        result: The Result.
        decay: Importance I_i = decay^i.
    """
    hidden, features = result.W1.shape[2:]
    s = result.density
    ignored_importance = decay ** torch.arange(hidden // 2, features, dtype=torch.float64)
    return result.loss.amin(dim=1) / (ignored_importance.sum() * (s / 3 - s**2 / 4))


# The figures


def sides_figure(result):
    """Draw the weights of the best run, neurons in the order of their features, and all losses."""
    best = int(result.loss[0].argmin())
    W1 = result.W1[0, best]
    W2 = result.W2[0, best]
    order = _side_order(W1)
    drawing, (left, middle, right) = plt.subplots(
        1, 3, figsize=(WIDTH, 3.8), layout="constrained", width_ratios=(1, 1, 2.2)
    )
    _draw_weights(W1[order], "in-weights $W_1$", left)
    image = _draw_weights(W2.T[order], "out-weights $W_2^T$", middle)
    drawing.colorbar(image, ax=[left, middle], label="weight", shrink=0.8)
    is_ordered = single_runs(result)[0]
    _draw_losses(result.loss[0], is_ordered, right)
    return described(
        drawing,
        f"Heat maps of the in-weights and the out-weights of the {len(W1)} neurons of the best "
        "run, beside a histogram of the losses of all runs: "
        f"{is_ordered.sum()} of {len(is_ordered)} runs have one neuron for each side of each "
        "feature.",
    )


def _side_order(W1):
    """Return neurons in the order of their main features, the positive side first."""
    main = W1.abs().argmax(dim=1)
    is_positive = W1.gather(1, main[:, None])[:, 0] > 0
    return (2 * main - is_positive.long()).argsort()


def _draw_weights(weights, name, ax):
    """Draw weights (neurons, features) as a heat map with their values."""
    image = ax.imshow(weights.numpy(), cmap=WEIGHTS, vmin=-1.5, vmax=1.5)
    for row, values in enumerate(weights.tolist()):
        for column, value in enumerate(values):
            weight_text(ax, column, row, f"{value:z.2f}", abs(value) > 1)
    ax.set(title=name, xlabel="feature", ylabel="neuron")
    ax.set(xticks=range(weights.shape[1]), yticks=range(len(weights)))
    return image


def _draw_losses(losses, is_ordered, ax):
    """Draw a histogram of all losses, runs with one neuron a side apart."""
    lowest = losses.log10().min().floor().item()
    ordered = losses[is_ordered]
    others = losses[~is_ordered]
    ax.hist(
        [ordered.numpy(), others.numpy()],
        bins=torch.logspace(lowest, 0, 31).numpy(),
        stacked=True,
        color=[DEDICATED, SHARED],
        label=[
            f"one neuron a side: {len(ordered)} runs",
            f"anything else: {len(others)} runs",
        ],
    )
    ax.set(xscale="log", xlabel="loss (log scale)", ylabel="runs", title="All runs")
    ax.legend()


def figure(result):
    """Draw stacks of the best run's in-weights at each density, and the kinds of its neurons."""
    best = best_neurons(result)
    densities = len(result.density)
    rows = math.ceil((densities + 1) / PANELS)
    drawing, axes = plt.subplots(
        rows, PANELS, figsize=(WIDTH, 2.9 * rows + 0.5), layout="constrained", squeeze=False
    )
    panels = axes.ravel()
    for k in range(densities):
        _draw_stacks(result.density[k], best, k, panels[k])
    _draw_counts(result.density, best, panels[densities])
    for ax in panels[densities + 1 :]:
        ax.axis("off")
    drawing.supxlabel(
        "In stack plots neurons stand in the order of their main features, most important first."
    )
    scale = plt.cm.ScalarMappable(Normalize(0, 0.5), SUPERPOSITION)
    label = "superposition of a neuron: share of its\nsquared in-weights not on its main feature"
    drawing.colorbar(scale, ax=axes, label=label, extend="max")
    monosemantic = best.monosemantic.sum(dim=1).tolist()
    return described(
        drawing,
        "The in-weights of each neuron of the best run as a stack, one panel for each density, and "
        "the numbers of mono- and polysemantic neurons over density: of "
        f"{best.W1.shape[1]} neurons {monosemantic[0]} are monosemantic at density "
        f"{result.density[0]:g}, and {monosemantic[-1]} at density {result.density[-1]:g}.",
    )


def _draw_stacks(density, neurons, k, ax):
    """Draw the neurons at the k-th density as stacks, coloured by superposition."""
    superposition = neurons.superposition[k]
    order = (neurons.main[k] + superposition).argsort()
    # Superposition of 1/2 or more has the colour of 1.
    neuron_stacks(neurons.W1[k, order], 2 * superposition[order, None], ax=ax)
    monosemantic = int(neurons.monosemantic[k].sum())
    polysemantic = int(neurons.polysemantic[k].sum())
    ax.set_title(f"density {density:g}\n{monosemantic} mono-, {polysemantic} polysemantic")


def _draw_counts(density, neurons, ax):
    """Draw the numbers of mono- and polysemantic neurons over density."""
    kinds = (
        ("monosemantic", neurons.monosemantic, DEDICATED),
        ("polysemantic", neurons.polysemantic, SHARED),
    )
    for name, kind, colour in kinds:
        ax.plot(density.numpy(), kind.sum(dim=1).numpy(), "o-", color=colour, label=name)
    over_density(ax, density, TICKS).set(ylabel="neurons of the best run")
    ax.set_ylim(top=1.4 * neurons.W1.shape[1])
    ax.legend(loc="upper center")
