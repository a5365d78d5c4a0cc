"""Do neurons that compute hold one feature each, or many?

Section 8 of the paper: y' = ReLU(W2 ReLU(W1 x) + b) learns |x|, for which a feature needs two neurons, one for its
positive and one for its negative side. With two neurons for every feature it gets them (n=3, m=6, dense: SIDES). With
fewer (n=100, m=40) neurons are monosemantic while features are dense, and polysemantic once they are sparse: the
stack plots of `figure`.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.colors import Normalize
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from models import AbsoluteValueModel
from training import best_restart, sampled_loss, train
from visualization import (
    DEDICATED,
    SHARED,
    SUPERPOSITION,
    WEIGHTS,
    WIDTH,
    neuron_stacks,
    over_density,
    weight_text,
)

PURE = 0.1  # in-weights up to this share of a neuron's largest, and effects no further off, count as none
MONOSEMANTIC = (
    0.9  # a neuron is monosemantic where one feature has this share of its squared in-weights
)
IN_USE = (
    0.1  # a neuron is in use where it gives an output this share of some feature's absolute value
)


@dataclass(frozen=True)
class Settings:
    features: int = 100
    hidden: int = 40
    decay: float = 0.8  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    restarts: int = 4
    steps: int = 8000
    batch_size: int = 128
    lr: float = 1e-2
    init_scale: float = 0.03

    def __post_init__(self):
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


class Result(NamedTuple):
    density: Float[Tensor, " densities"]
    W1: Float[Tensor, "densities restarts hidden features"]
    W2: Float[Tensor, "densities restarts features hidden"]
    loss: Float[Tensor, "densities restarts"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train models at each density, from the same initial weights -> Result."""
    density = torch.tensor(settings.densities, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    distribution = FeatureDistribution(density[:, None], importance, signed=True)
    distribution = distribution.with_restarts(settings.restarts).to(device)
    shape = settings.restarts, settings.features, settings.hidden
    model = AbsoluteValueModel(*shape, seed=seed, device=device, init_scale=settings.init_scale)
    model = model.select(torch.arange(settings.restarts).repeat(len(density)))
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, distribution, seed=seed, progress=progress, **how)
    values = model.W1.detach(), model.W2.detach(), sampled_loss(model, distribution)
    return Result(density, *(value.cpu().unflatten(0, (-1, settings.restarts)) for value in values))


def shards(settings):
    """Each density by itself."""
    return [replace(settings, densities=(density,)) for density in settings.densities]


def joined(results):
    return Result(*(torch.cat(values) for values in zip(*results)))


# One neuron a side


def one_neuron_a_side(
    W1: Float[Tensor, "instances hidden features"], W2: Float[Tensor, "instances features hidden"]
) -> Bool[Tensor, " instances"]:
    """Whether each feature has one neuron for its positive and one for its negative side, and there are no others.

    Every neuron reads one feature (any other in-weight is at most PURE of it) and gives its value to that output and
    none to another (to within PURE); every feature is read by one neuron with each sign.
    """
    largest, main = W1.abs().max(dim=2, keepdim=True)
    reads = torch.cat((W1, -W1), dim=2) > PURE * largest  # (instances, hidden, sides)
    effect = largest * W2.mT  # on every output, of a neuron's main feature at 1
    wanted = torch.zeros_like(effect).scatter_(2, main, 1)
    once = (reads.sum(dim=2) == 1).all(dim=1) & (reads.sum(dim=1) == 1).all(dim=1)
    return once & ((effect - wanted).abs() <= PURE).all(dim=2).all(dim=1)


def single_runs(result) -> Bool[Tensor, "densities restarts"]:
    """Which runs end with one neuron a side."""
    flat = one_neuron_a_side(result.W1.flatten(0, 1), result.W2.flatten(0, 1))
    return flat.view_as(result.loss)


# Mono- and polysemantic neurons


class Neurons(NamedTuple):
    """What the neurons of the best run at each density respond to."""

    W1: Float[Tensor, "densities hidden features"]
    main: Int[Tensor, "densities hidden"]  # the feature of the largest in-weight
    superposition: Float[
        Tensor, "densities hidden"
    ]  # the share of the squared in-weights that is not the main one's
    monosemantic: Bool[Tensor, "densities hidden"]
    polysemantic: Bool[Tensor, "densities hidden"]


def neurons(result) -> Neurons:
    """Mono- and polysemantic neurons by the rules MONOSEMANTIC and IN_USE; a neuron that is not in use is neither."""
    best = best_restart(result.loss.flatten(), result.loss.shape[1])
    W1, W2 = result.W1.flatten(0, 1)[best], result.W2.flatten(0, 1)[best]
    squares = W1.square()
    largest, main = squares.max(dim=2)
    superposition = 1 - largest / squares.sum(dim=2).clamp(min=torch.finfo(W1.dtype).tiny)
    in_use = (W1.abs() * W2.mT).amax(dim=2) >= IN_USE
    alone = superposition <= 1 - MONOSEMANTIC
    return Neurons(W1, main, superposition, in_use & alone, in_use & ~alone)


def importance_order(of) -> Float[Tensor, " densities"]:
    """How often a monosemantic neuron's main feature is more important than a polysemantic one's, of all such pairs.

    Equal ones count half; 1/2 where importance does not decide, or where neurons are of one kind.
    """
    ahead = (of.main[:, None, :] - of.main[:, :, None]).sign().double() / 2 + 1 / 2
    pairs = of.monosemantic[:, :, None] & of.polysemantic[:, None, :]
    count = pairs.sum(dim=(1, 2))
    return torch.where(count > 0, (ahead * pairs).sum(dim=(1, 2)) / count.clamp(min=1), 0.5)


def over_monosemantic(result, decay) -> Float[Tensor, " densities"]:
    """The best run's loss over that of two neurons for each of the m/2 most important features and the rest ignored.

    An ignored feature of density s costs I_i (s/3 - s^2/4), with the bias at its expected value.
    """
    hidden, features = result.W1.shape[2:]
    s = result.density
    ignored = decay ** torch.arange(hidden // 2, features, dtype=torch.float64)
    return result.loss.amin(dim=1) / (ignored.sum() * (s / 3 - s**2 / 4))


# Figures


def sides_figure(result):
    """W1 and W2^T of the best run as heat maps, its neurons in the order of their features; the losses of all runs."""
    best = int(result.loss[0].argmin())
    W1, W2 = result.W1[0, best], result.W2[0, best]
    main = W1.abs().argmax(dim=1)
    order = (2 * main - (W1.gather(1, main[:, None])[:, 0] > 0).long()).argsort()
    figure, (reads, writes, losses) = plt.subplots(
        1, 3, figsize=(WIDTH, 3.8), layout="constrained", width_ratios=(1, 1, 2.2)
    )
    for ax, weights, name in (
        (reads, W1[order], "in-weights $W_1$"),
        (writes, W2.T[order], "out-weights $W_2^T$"),
    ):
        image = ax.imshow(weights.numpy(), cmap=WEIGHTS, vmin=-1.5, vmax=1.5)
        for row, values in enumerate(weights.tolist()):
            for column, value in enumerate(values):
                weight_text(ax, column, row, f"{value:z.2f}", abs(value) > 1)
        ax.set(
            title=name,
            xlabel="feature",
            ylabel="neuron",
            xticks=range(W1.shape[1]),
            yticks=range(len(W1)),
        )
    figure.colorbar(image, ax=[reads, writes], label="weight", shrink=0.8)
    ordered = single_runs(result)[0]
    edges = torch.logspace(result.loss.log10().min().floor().item(), 0, 31)
    kinds = [result.loss[0][ordered].numpy(), result.loss[0][~ordered].numpy()]
    names = [f"one neuron a side: {len(kinds[0])} runs", f"anything else: {len(kinds[1])} runs"]
    losses.hist(kinds, bins=edges.numpy(), stacked=True, color=[DEDICATED, SHARED], label=names)
    losses.set(xscale="log", xlabel="loss (log scale)", ylabel="runs", title="All runs")
    losses.legend()
    return figure


def figure(result):
    """Stack plots of the best run at each density, and the numbers of mono- and polysemantic neurons."""
    of = neurons(result)
    rows = -(-(len(of.W1) + 1) // 4)
    drawing, axes = plt.subplots(
        rows, 4, figsize=(WIDTH, 2.9 * rows + 0.5), layout="constrained", squeeze=False
    )
    panels = axes.ravel()
    for k, ax in enumerate(panels[: len(of.W1)]):
        order = (of.main[k] + of.superposition[k]).argsort()
        neuron_stacks(of.W1[k, order], 2 * of.superposition[k, order, None], ax=ax)
        alone, mixed = (int(kind[k].sum()) for kind in (of.monosemantic, of.polysemantic))
        ax.set_title(f"density {result.density[k]:g}\n{alone} mono-, {mixed} polysemantic")
    _draw_counts(result.density, of, panels[len(of.W1)])
    for ax in panels[len(of.W1) + 1 :]:
        ax.axis("off")
    drawing.supxlabel(
        "In stack plots neurons stand in the order of their main features, most important first."
    )
    scale = plt.cm.ScalarMappable(Normalize(0, 0.5), SUPERPOSITION)
    label = "superposition of a neuron: share of its\nsquared in-weights not on its main feature"
    drawing.colorbar(scale, ax=axes, label=label, extend="max")
    return drawing


def _draw_counts(density, of, ax):
    kinds = (
        ("monosemantic", of.monosemantic, DEDICATED),
        ("polysemantic", of.polysemantic, SHARED),
    )
    for name, kind, colour in kinds:
        ax.plot(density.numpy(), kind.sum(dim=1).numpy(), "o-", color=colour, label=name)
    over_density(ax, density, (1, 0.1, 0.01, 0.001)).set(ylabel="neurons of the best run")
    ax.set_ylim(top=1.4 * of.W1.shape[1])
    ax.legend(loc="upper center")
