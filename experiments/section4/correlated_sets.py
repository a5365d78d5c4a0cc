"""Two sets of ten correlated features in m=10: almost orthogonal bases (paper, Section 4).

The paper asks how correlated features arrange themselves, and reports local almost-orthogonal
bases: twenty features are in superposition in ten dimensions, but features that are active together
hardly interfere. Models are trained on samples at several densities. At each of them one more model
starts with one basis for both sets, as ten digons, which training from small weights does not find.
`figure` draws W^T W, as the paper does, and the cosines within and across sets over density.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import math
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from geometry import SAME_COSINE, represented, set_cosines
from models import ReLUOutputModel
from training import sampled_loss, train
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    SHARED,
    WEIGHTS,
    WIDTH,
    described,
    nearest,
    over_density,
)

SIZE = 10  # features in a set, and hidden dimensions
SHOWN = (0.02, 0.2, 0.7)  # densities of the heat maps
# A feature lies along one of the other set, as in a digon, if their |cos| is larger than this.
ALONG = 0.9
LEARNING_RATE = 1e-2
LOSS_ROWS = 2**17  # of samples by which the losses are compared


@dataclass(frozen=True)
class Settings:
    """The paper's two sets of ten features at several densities."""

    densities: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
    runs: int = 8  # models at each density
    steps: int = 2000
    batch_size: int = 256

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


QUICK = Settings((0.05, 0.5), runs=2, steps=200, batch_size=64)
NOTEBOOK = Settings((0.02, 0.2, 0.7), runs=4, steps=1500)


class Result(NamedTuple):
    """The trained models."""

    density: Float[Tensor, " densities"]
    W: Float[Tensor, "densities runs 10 20"]
    loss: Float[Tensor, "densities runs"]  # over the same LOSS_ROWS rows for all
    started_W: Float[Tensor, "densities 10 20"]  # of the models that started as digons
    started_loss: Float[Tensor, " densities"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train `runs` models from small weights and one from digons at each density."""
    density = torch.tensor(settings.densities, dtype=torch.float64)
    inputs = FeatureDistribution(
        density[:, None], features=2 * SIZE, set_size=SIZE, correlation="correlated"
    )
    inputs = inputs.with_restarts(settings.runs + 1).to(device)
    model = ReLUOutputModel(inputs.instances, 2 * SIZE, SIZE, seed=seed, device=device)
    basis = torch.eye(SIZE, device=device)
    with torch.no_grad():
        model.W[settings.runs :: settings.runs + 1] = torch.cat((basis, -basis), dim=1)
    train(
        model,
        inputs,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=LEARNING_RATE,
        seed=seed,
        progress=progress,
    )
    shape = (-1, settings.runs + 1)
    W = model.W.detach().cpu().unflatten(0, shape)
    loss = sampled_loss(model, inputs, rows=LOSS_ROWS, seed=seed).cpu().view(shape)
    return Result(density, W[:, :-1], loss[:, :-1], W[:, -1], loss[:, -1])


# What the models show


class Overlaps(NamedTuple):
    """How features overlap within their set and across both sets, for each run."""

    within: Float[Tensor, "densities runs"]  # mean |cos| of two features of the same set
    across: Float[Tensor, "densities runs"]  # mean |cos| of two features of different sets
    # Share of a set's features that lie along one of the other set.
    along: Float[Tensor, "densities runs"]
    represented: Int[Tensor, "densities runs"]  # number of represented features


def overlaps(W: Float[Tensor, "densities runs 10 20"]) -> Overlaps:
    """Measure how features overlap."""
    runs = W.shape[:2]
    W = W.flatten(0, 1)
    within, across = set_cosines(W, SIZE)
    within = within.abs()
    across = across.abs()
    along = (across > ALONG).sum(dim=1) / SIZE
    return Overlaps(
        within=within.mean(dim=1).view(runs),
        across=across.mean(dim=1).view(runs),
        along=along.view(runs),
        represented=represented(W).sum(dim=1).view(runs),
    )


def locally_orthogonal(overlap: Overlaps) -> Bool[Tensor, "densities runs"]:
    """Return which runs have an almost orthogonal basis for each set, in superposition.

    All features are represented. They are orthogonal within their set, and overlap at least twice
    as much across the sets.
    """
    within, across, _, count = overlap
    return (within < SAME_COSINE) & (across > 2 * within) & (count == 2 * SIZE)


def bases_differ(overlap: Overlaps) -> Bool[Tensor, "densities runs"]:
    """Return in which runs less than half of the features lie along one of the other set.

    Otherwise both sets have the same basis, as digons.
    """
    return overlap.along < 0.5


# The figure


def figure(result):
    """Draw W^T W at some densities, and over density the cosines and the represented features."""
    drawing = plt.figure(figsize=(WIDTH, 6.4), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1.25, 1))
    _draw_heat_maps(result, above)
    left, right = below.subplots(1, 2)
    measured = overlaps(result.W)
    _draw_cosines(result.density, measured, left)
    counts = measured.represented.double().mean(dim=1)
    right.plot(result.density.numpy(), counts.numpy(), "o-", color=INK)
    right.axhline(SIZE, color=FAINT, linestyle="--", zorder=0, label="hidden dimensions $m$")
    right.set(ylabel="represented features", ylim=(0, 2.1 * SIZE), yticks=range(0, 21, 5))
    for ax in (left, right):
        ax.legend()
        over_density(ax, result.density)
    return described(
        drawing,
        "Heat maps of W^T W for two sets of ten correlated features at some densities, and for a "
        "model that started as ten digons, one basis for both sets; below, over "
        "density, the mean absolute cosine of two features, which over all models is "
        f"{measured.within.mean():.2f} within a set and {measured.across.mean():.2f} across sets, "
        "and the number of represented features.",
    )


def _draw_heat_maps(result, subfigure):
    """Draw W^T W of the best run at the densities nearest to SHOWN, and of that from digons."""
    shown = nearest(result.density, SHOWN).unique().tolist()
    maps = {f"density {result.density[k]:g}": result.W[k, result.loss[k].argmin()] for k in shown}
    relative = result.started_loss[0] / result.loss[0].min()
    title = f"density {result.density[0]:g}, from digons:\n{relative:.2f} times the loss"
    maps[title] = result.started_W[0]
    axes = subfigure.subplots(1, len(maps), squeeze=False)[0]
    for ax, (title, W) in zip(axes, maps.items()):
        image = ax.imshow((W.T @ W).numpy(), cmap=WEIGHTS, vmin=-1, vmax=1)
        ax.axhline(SIZE - 0.5, color=INK, linewidth=0.8)
        ax.axvline(SIZE - 0.5, color=INK, linewidth=0.8)
        ax.set_title(title)
        ax.set(xticks=[], yticks=[], xlabel="first set | second set")
    subfigure.colorbar(image, ax=axes, label="$W^TW$", shrink=0.7)


def _draw_cosines(density, measured, ax):
    """Draw the mean |cos| within and across sets, of every run and as a mean over runs."""
    x = density.numpy()
    curves = (
        (measured.within, DEDICATED, "within a set"),
        (measured.across, SHARED, "across sets"),
    )
    for values, colour, label in curves:
        ax.plot(x, values.mean(dim=1).numpy(), "-", color=colour, label=label)
        ax.plot(x, values.numpy(), "o", color=colour, markersize=3, alpha=0.5)
    style = {"color": FAINT, "linestyle": "--", "zorder": 0}
    ax.axhline(_mean_random_cosine(SIZE), label="bases turned at random", **style)
    ax.set(ylabel=r"mean $|\cos|$ of two features", ylim=(0, None))


def _mean_random_cosine(dimensions):
    """Return the mean |cos| of two random directions."""
    log_ratio = math.lgamma(dimensions / 2) - math.lgamma((dimensions + 1) / 2)
    return math.exp(log_ratio) / math.sqrt(math.pi)
