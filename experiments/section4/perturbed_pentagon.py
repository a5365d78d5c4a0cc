"""One of five features gets sparser: a pentagon snaps to two digons (paper, Section 4).

The paper asks what happens to the pentagon of n=5 equal features in m=2 dimensions when the density
of one of them changes. It reports that the pentagon deforms smoothly as the feature gets sparser,
until a solution with two digons that ignores the feature becomes better. The density of feature 0
runs from 1/100 to 10 times that of the four others.

Five features have an exact loss. The best solution of each geometry is followed along the density,
and it is known where their losses cross. Random descents, and models trained on samples, check it.
`figure` draws the solutions in the plane, as the paper does, and the losses.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.lines import Line2D
from torch import Tensor

from checks import check_count, check_settings
from features import FeatureDistribution
from geometry import SAME_COSINE, oriented, represented, unit_directions
from theory.descents import (
    Sampling,
    Solutions,
    best_run,
    random_descents,
    sampled_runs,
)
from theory.kinds import Crossings, best_of_kinds, crossings, values_at
from theory.polytopes import POLYTOPES
from visualization import FAINT, INK, POLYTOPE_COLOURS, SHARED, WIDTH, described

FEATURES = 5
HIDDEN = 2
GEOMETRIES = ("pentagon", "digons without feature 0", "digons with feature 0")
PENTAGON, WITHOUT, WITH = range(3)  # indices of GEOMETRIES
NEITHER = 3  # index of any other geometry
# The digons from which descents start: without feature 0, and without another feature.
DROPPED = torch.tensor([[0, 1, -1, 0, 0], [0, 0, 0, 1, -1]], dtype=torch.float64)
KEPT = torch.tensor([[1, -1, 0, 0, 0], [0, 0, 0, 1, -1]], dtype=torch.float64)
NOISE = 0.01  # standard deviation of the noise that moves the starts off saddle points
# Ratio of feature 0's density to that of the others.
LOWEST = 0.01
HIGHEST = 10
RATIO_COLOURS = "plasma"  # of that ratio: dark is sparse
GEOMETRY_STYLES = {  # colour and line, in the order of GEOMETRIES, and of dots of other geometries
    "pentagon": (POLYTOPE_COLOURS["pentagon"], "-"),
    "digons without the feature": (SHARED, "-"),
    "digons with it": (SHARED, ":"),
    "other": (FAINT, ""),
}
MAY_BE_INFINITE = ("loss",)  # where a geometry is not a local minimum


@dataclass(frozen=True)
class Settings:
    """The paper's five features at several densities of four of them."""

    densities: tuple[float, ...] = (0.05, 0.02, 0.1, 0.2)  # of the four others, the paper's first
    points: int = 61  # ratios at each density, as long as feature 0's density is at most 1
    steps: int = 300  # of every descent
    checked_every: int = 4  # every so many points, random descents and samples check the optimum
    random_starts: int = 8  # of random descents at each checked point
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        check_count("points - 1", self.points - 1)


QUICK = Settings((0.05, 0.1), points=9, steps=40, random_starts=1, sampling=Sampling(2, 200, 64))
NOTEBOOK = Settings(
    (0.05,),
    points=27,
    steps=200,
    random_starts=2,
    sampling=Sampling(restarts=16, steps=500, batch_size=128),
)


class Result(NamedTuple):
    """The best solution of each of GEOMETRIES along the ratio, and what checks them."""

    density: Float[Tensor, " densities"]  # of the four others
    ratio: Float[Tensor, "densities points"]  # of feature 0's density to it
    W: Float[Tensor, "densities points 3 2 5"]
    loss: Float[Tensor, "densities points 3"]  # exact; infinite where there is no such solution
    crossing: Crossings  # of the geometries' losses, with a line for each density
    crossing_ratio: Float[Tensor, " crossings"]
    checked: Int[Tensor, " checked"]  # indices of the points that are checked
    random: Solutions  # descents: W (densities, checked, starts, 2, 5) and their losses
    sampled: Solutions  # the best model at each checked point, at the first density


def run(settings, *, seed=0, device="cpu", progress=True):
    """Follow the geometries along the ratio; check them by random descents and by samples.

    Exact losses are computed on the CPU. The device is that of the samples.
    """
    density = torch.tensor(settings.densities, dtype=torch.float64)
    highest = (1 / density).clamp(max=HIGHEST)
    share = torch.linspace(0, 1, settings.points, dtype=torch.float64)
    ratio = LOWEST * (highest / LOWEST)[:, None] ** share
    inputs = _inputs(density, ratio)
    line = {
        "distribution": inputs,
        "lines": len(density),
        "kind": geometry_of,
        "steps": settings.steps,
    }
    W, b = _starts(inputs, seed)
    found = best_of_kinds(W, b, kinds=len(GEOMETRIES), lr=3e-2, worth=4, progress=progress, **line)
    crossing = crossings(found, **line)
    checked = torch.arange(0, settings.points, settings.checked_every)
    checked_inputs = _inputs(density, ratio[:, checked])
    random = random_descents(
        checked_inputs,
        HIDDEN,
        settings.random_starts,
        steps=settings.steps,
        seed=seed,
        progress=progress,
    )
    first_density = checked_inputs.select(slice(0, len(checked)))
    sampled = sampled_runs(first_density, HIDDEN, settings.sampling, seed=seed, device=device)
    return Result(
        density=density,
        ratio=ratio,
        W=found.W.unflatten(0, ratio.shape),
        loss=found.loss.unflatten(0, ratio.shape),
        crossing=crossing,
        crossing_ratio=values_at(ratio[crossing.line], crossing.position),
        checked=checked,
        random=Solutions(*(values.unflatten(0, (len(density), -1)) for values in random)),
        sampled=best_run(sampled),
    )


def _inputs(density, ratio):
    """Return five features at each density (densities,) and ratio (densities, points)."""
    table = density[:, None, None].repeat(1, ratio.shape[1], FEATURES)
    table[..., 0] *= ratio
    return FeatureDistribution(table.flatten(0, 1).clamp(max=1))


def _starts(inputs, seed):
    """Return W and b of each geometry, from which descents start at every point."""
    W = torch.stack([POLYTOPES["pentagon"].vertices, DROPPED, KEPT])
    generator = torch.Generator().manual_seed(seed)
    W += NOISE * torch.randn(W.shape, generator=generator, dtype=W.dtype)
    W = W.expand(inputs.instances, -1, -1, -1)
    b = torch.zeros(*W.shape[:2], FEATURES, dtype=torch.float64)
    # The best bias of a feature that is not represented is its mean.
    b[:, WITHOUT, 0] = inputs.density[:, 0] / 2
    return W, b


# What the solutions show


def geometry_of(W: Float[Tensor, "instances hidden 5"]) -> Int[Tensor, " instances"]:
    """Return the index of the geometry in GEOMETRIES, or NEITHER.

    A pentagon represents all five features. Digons represent four, each of which has an antipode.
    """
    shown = represented(W)
    directions = unit_directions(W)
    has_antipode = (directions.mT @ directions).amin(dim=2) < SAME_COSINE - 1
    digons = (shown.sum(dim=1) == 4) & (has_antipode | ~shown).all(dim=1)
    kind_of_digons = WITHOUT + shown[:, 0].int()
    return torch.where(shown.all(dim=1), PENTAGON, torch.where(digons, kind_of_digons, NEITHER))


def snap(result) -> Float[Tensor, " densities"]:
    """Return the ratio at which the losses of the digons without feature 0 and the pentagon cross.

    It is the lowest such ratio at each density, NaN if there is none.
    """
    crossing = result.crossing
    is_snap = (crossing.below == WITHOUT) & (crossing.above == PENTAGON) & crossing.met
    found = torch.full_like(result.density, torch.nan)
    # In descending order, so that the lowest ratio of a density is written last.
    for k in is_snap.nonzero()[:, 0].flip(0).tolist():
        found[crossing.line[k]] = result.crossing_ratio[k]
    return found


class Extent(NamedTuple):
    """The lowest and the highest ratio at which a geometry is a local minimum."""

    lowest: Float[Tensor, " densities"]  # inf if it is none at any ratio
    highest: Float[Tensor, " densities"]  # -inf if it is none at any ratio


def extent(result, geometry) -> Extent:
    """Return at which ratios a geometry, an index of GEOMETRIES, is a local minimum."""
    exists = result.loss[..., geometry].isfinite()
    return Extent(
        lowest=torch.where(exists, result.ratio, torch.inf).amin(dim=1),
        highest=torch.where(exists, result.ratio, -torch.inf).amax(dim=1),
    )


def moves(result) -> Float[Tensor, " moves"]:
    """Return how far the features of the pentagon move from one ratio to the next.

    Ratios from the snap to equal densities count, at the first density. Of each move it is the
    length of the longest way of a feature.

    Returns:
        Lengths. There are none if there is no snap, or if the pentagon is no local minimum at one
        of these ratios.
    """
    ratio = result.ratio[0]
    between = (ratio > snap(result)[0]) & (ratio <= 1)
    if result.loss[0, between, PENTAGON].isinf().any():
        return ratio[:0]
    W = around(oriented(result.W[0, between, PENTAGON]))
    return W.diff(dim=0).norm(dim=1).amax(dim=1)


def share_as_expected(result) -> float:
    """Return the share of ratios at which the best solution is the one that the paper reports.

    Two digons without feature 0 are expected below the snap, and a pentagon from there to equal
    densities, at the first density. Without a snap nothing is expected, and the share is 0.
    """
    crossing = snap(result)[0]
    if crossing.isnan():
        return 0.0
    ratio = result.ratio[0]
    best = result.loss[0].argmin(dim=1)
    geometry = geometry_of(result.W[0, torch.arange(len(ratio)), best])
    expected = torch.where(ratio < crossing, WITHOUT, PENTAGON)
    return (geometry == expected)[ratio <= 1].double().mean().item()


def around(W: Float[Tensor, "instances 2 features"]) -> Float[Tensor, "instances 2 features"]:
    """Sort features around the circle, from the one that points to the right."""
    angles = (torch.atan2(W[:, 1], W[:, 0]) + 0.1) % (2 * torch.pi)
    return W.gather(2, angles.argsort(dim=1)[:, None].expand_as(W))


def missed_optimum(result) -> float:
    """Return the share of random descents at the first density that miss the optimum."""
    W = result.random.W[0]
    geometry = geometry_of(W.flatten(0, 1)).view(W.shape[:2])
    optimum = result.loss[0, result.checked].argmin(dim=1, keepdim=True)
    return (geometry != optimum).double().mean().item()


# The figure


def figure(result):
    """Draw digons and pentagons at all ratios, as the paper does, and their losses."""
    drawing = plt.figure(figsize=(WIDTH, 8.6), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1.3, 1))
    _draw_geometries(result, above)
    axes = below.subplots(1, len(result.density), squeeze=False)[0]
    for k, ax in enumerate(axes):
        _draw_losses(result, k, ax)
    styles = list(GEOMETRY_STYLES.values())[: len(GEOMETRIES)]
    marks = [Line2D([], [], color=colour, linestyle=line) for colour, line in styles]
    marks += [Line2D([], [], marker="o", linestyle="", color=FAINT, markeredgecolor=INK)]
    labels = list(GEOMETRY_STYLES)[: len(GEOMETRIES)]
    labels += ["random descents, in the colour of their geometry"]
    below.legend(marks, labels, loc="outside lower center", ncols=4)
    return described(
        drawing,
        "All solutions with two digons on the left and all pentagons on the right, as five "
        "features in the plane, coloured by the relative density of one of them; below, the exact "
        "losses of the geometries over that density, with a dashed line where the best ones cross.",
    )


def _draw_geometries(result, subfigure):
    """Draw the solutions at the first density: the better digons, and pentagons."""
    ratio = result.ratio[0]
    loss = result.loss[0]
    scale = LogNorm(float(result.ratio.min()), float(result.ratio.max()))
    colours = plt.cm.ScalarMappable(scale, RATIO_COLOURS)
    digons = WITHOUT + loss[:, WITHOUT:].argmin(dim=1)
    pentagons = torch.full_like(digons, PENTAGON)
    axes = subfigure.subplots(1, 2)
    panels = (  # geometry at each ratio, and the features that point to the right and up
        ("digons", digons, (1, 3)),
        ("pentagons", pentagons, (0, 1)),
    )
    for ax, (name, kind, (right, up)) in zip(axes, panels):
        exists = loss.gather(1, kind[:, None])[:, 0].isfinite()
        is_best = kind == loss.argmin(dim=1)
        W = oriented(result.W[0, torch.arange(len(kind)), kind][exists], right, up)
        _draw_solutions(W, colours.to_rgba(ratio[exists].numpy()), is_best[exists], ax)
        ax.set(title=f"{name} (filled where they are best)")
    label = "relative density: of one feature (square) over the others' (log scale)"
    subfigure.colorbar(colours, ax=axes, label=label)


def _draw_solutions(W, colours, best, ax):
    """Draw solutions in the plane, those that are not the best with a white inside.

    Args:
        W: (points, 2, 5) Solutions, oriented alike.
        colours: (points, 4) RGBA.
        best: (points,) Which of them are the best at their ratio.
        ax: Where to draw.
    """
    order = best.int().argsort(stable=True)  # the best on top
    outlines = colours[order.numpy()]
    insides = np.where(best[order].numpy()[:, None], outlines, to_rgba("white"))
    ends = W[order].mT.numpy()  # (points, features, 2)
    spokes = np.stack((np.zeros_like(ends), ends), axis=2).reshape(-1, 2, 2)
    ax.add_collection(
        LineCollection(spokes, colors=outlines.repeat(FEATURES, axis=0), linewidths=0.7, alpha=0.4)
    )
    feature_0 = slice(0, 1)
    others = slice(1, FEATURES)
    for features, marker, size in ((feature_0, "s", 45), (others, "o", 24)):
        x, y = ends[:, features].reshape(-1, 2).T
        count = features.stop - features.start
        ax.scatter(
            x,
            y,
            s=size,
            marker=marker,
            facecolors=insides.repeat(count, axis=0),
            edgecolors=outlines.repeat(count, axis=0),
            linewidths=0.7,
            zorder=3,
        )
    ax.set(xlim=(-1.35, 1.35), ylim=(-1.3, 1.3), aspect="equal")
    ax.set(xlabel="hidden dimension 1", ylabel="hidden dimension 2")


def _draw_losses(result, k, ax):
    """Draw the geometries' losses, their crossing and random descents, at one density by index."""
    styles = list(GEOMETRY_STYLES.values())
    ratio = result.ratio[k]
    for loss, (colour, line) in zip(result.loss[k].T, styles):
        known = torch.where(loss.isfinite(), loss, torch.nan)
        ax.plot(ratio.numpy(), known.numpy(), line, color=colour)
    descended = result.random.loss[k]
    x = ratio[result.checked, None].expand(descended.shape)
    geometries = geometry_of(result.random.W[k].flatten(0, 1)).tolist()
    ax.scatter(
        x.flatten().numpy(),
        descended.flatten().numpy(),
        s=8,
        color=[styles[geometry][0] for geometry in geometries],
        edgecolors=INK,
        linewidths=0.3,
        zorder=3,
    )
    title = f"others' density {result.density[k]:g}"
    crossing = snap(result)[k].item()
    if math.isfinite(crossing):
        ax.axvline(crossing, color=INK, linewidth=0.8, linestyle="--")
        title += f"\ncrossing: {1 / crossing:.2f}× sparser"
    highest = float(result.loss[k].amin(dim=1).max())
    ax.set(xscale="log", ylim=(0, 1.6 * highest))
    ax.set_title(title)
    ax.set(xlabel="relative density (log)", ylabel="exact loss")
