"""Absolute values without superposition: one neuron for each side of a feature (paper, Section 8).

The paper's model of computation is y' = ReLU(W2 ReLU(W1 x) + b), which learns |x|. For this a
feature needs two neurons: one for its positive and one for its negative side. With two neurons for
every feature (n=3, m=6, dense) each feature gets them. `figure` draws the paper's weights.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section8main.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from checks import check_settings
from experiments.section8.trained_models import trained_models
from training import sampled_loss
from visualization import (
    DEDICATED,
    SHARED,
    WEIGHTS,
    WIDTH,
    described,
    weight_text,
)

# In-weights of at most this share of a neuron's largest one count as zero, and so do effects on
# outputs that differ by no more than this from what they should be.
PURE = 0.1


@dataclass(frozen=True)
class Settings:
    """The paper's small model of absolute values."""

    features: int = 3
    hidden: int = 6
    decay: float = 1.0  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0,)
    restarts: int = 100  # models at each density
    steps: int = 1500
    batch_size: int = 128
    lr: float = 3e-2
    init_scale: float = 0.1

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


QUICK = Settings(restarts=8, steps=300)
NOTEBOOK = Settings(restarts=40)


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


# The figure


def figure(result):
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
