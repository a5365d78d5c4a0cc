"""n=5, m=2, one feature gets sparser: a pentagon deforms smoothly, then snaps to two digons (paper, Section 4).

The density of feature 0 goes from 1/100 to 10 times that of the four others. Five features have an exact loss, so the
best solution of each geometry is followed along the line, and where two losses cross is known; random descents and
models trained on samples are held against it.
"""

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
from theory import descents
from theory.descents import (
    Sampling,
    Solutions,
    best_run,
    random_descents,
    sampled_runs,
)
from theory.kinds import Crossings, best_of_kinds, crossings, precision, values_at
from theory.polytopes import POLYTOPES
from visualization import FAINT, INK, POLYTOPE_COLOURS, SHARED, WIDTH

GEOMETRIES = (
    "pentagon",
    "digons without it",
    "digons with it",
)  # it: feature 0, of another density
PENTAGON, WITHOUT, WITH = range(3)
DROPPED = torch.tensor(
    [[0, 1, -1, 0, 0], [0, 0, 0, 1, -1]], dtype=torch.float64
)  # digons without feature 0
KEPT = torch.tensor(
    [[1, -1, 0, 0, 0], [0, 0, 0, 1, -1]], dtype=torch.float64
)  # digons without another
LOWEST, HIGHEST = 0.01, 10  # of the ratio of densities
RATIO_COLOURS = "plasma"  # of a feature's density over the others': dark is sparse
GEOMETRY_STYLES = {  # of the loss curves, in the order of GEOMETRIES, and of dots
    "pentagon": (POLYTOPE_COLOURS["pentagon"], "-"),
    "digons without the feature": (SHARED, "-"),
    "digons with it": (SHARED, ":"),
    "other": (FAINT, ""),
}
MAY_BE_INFINITE = ("loss",)  # of a kind that is not a local minimum there


@dataclass(frozen=True)
class Settings:
    densities: tuple[float, ...] = (0.05, 0.02, 0.1, 0.2)  # of the four others, the paper's first
    points: int = 61  # ratios at each, up to a density of 1
    steps: int = 300  # of all descents
    checked_every: int = (
        4  # of the points, one in so many is checked by random descents and by sampled models
    )
    random_starts: int = 8
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self):
        check_settings(self)
        check_count("points - 1", self.points - 1)


QUICK = Settings((0.05, 0.1), points=9, steps=40, random_starts=1, sampling=Sampling(2, 200, 64))


class Result(NamedTuple):
    density: Float[Tensor, " densities"]
    ratio: Float[Tensor, "densities points"]
    W: Float[Tensor, "densities points 3 2 5"]  # of each of GEOMETRIES
    loss: Float[Tensor, "densities points 3"]  # infinite where there is none
    crossing: Crossings  # of the geometries' losses; a line for each density
    crossing_ratio: Float[Tensor, " crossings"]
    checked: Int[Tensor, " checked"]  # which points are checked
    random: Solutions  # (densities, checked, starts, ...)
    sampled: Solutions  # (checked, ...), at the first density


def run(settings, *, seed=0, device="cpu", progress=True):
    """Exact losses are computed on the CPU; the device trains the samples."""
    density = torch.tensor(settings.densities, dtype=torch.float64)
    highest = (1 / density).clamp(max=HIGHEST)
    ratio = LOWEST * (highest / LOWEST)[:, None] ** torch.linspace(
        0, 1, settings.points, dtype=torch.float64
    )
    inputs = _inputs(density, ratio)
    W = torch.stack([POLYTOPES["pentagon"].vertices, DROPPED, KEPT])
    W += 0.01 * torch.randn(
        W.shape, generator=torch.Generator().manual_seed(seed), dtype=W.dtype
    )  # off the saddles
    W = W.expand(inputs.instances, -1, -1, -1)
    b = torch.zeros(*W.shape[:2], 5, dtype=torch.float64)
    b[:, WITHOUT, 0] = (
        inputs.density[:, 0] / 2
    )  # a feature that is not represented has its mean as bias
    along = {
        "distribution": inputs,
        "lines": len(density),
        "kind": geometry_of,
        "steps": settings.steps,
    }
    found = best_of_kinds(W, b, kinds=len(GEOMETRIES), lr=3e-2, worth=4, progress=progress, **along)
    crossing = crossings(found, **along)
    checked = torch.arange(0, settings.points, settings.checked_every)
    some = _inputs(density, ratio[:, checked])
    how = {"steps": settings.steps, "seed": seed, "progress": progress}
    random = random_descents(some, 2, settings.random_starts, **how)
    first = some.select(slice(0, len(checked)))
    return Result(
        density,
        ratio,
        found.W.unflatten(0, ratio.shape),
        found.loss.unflatten(0, ratio.shape),
        crossing,
        values_at(ratio[crossing.line], crossing.position),
        checked,
        Solutions(*(values.unflatten(0, (len(density), -1)) for values in random)),
        best_run(sampled_runs(first, 2, settings.sampling, seed=seed, device=device)),
    )


def _inputs(density, ratio):
    """Five features of density (densities,), the first of ratio (densities, points) as much: one instance each."""
    table = density[:, None, None].repeat(1, ratio.shape[1], 5)
    table[..., 0] *= ratio
    return FeatureDistribution(table.flatten(0, 1).clamp(max=1))


# What it shows


def geometry_of(W: Float[Tensor, "instances hidden 5"]) -> Int[Tensor, " instances"]:
    """Index of GEOMETRIES: all five features represented, or four in antipodal pairs and one not; 3 for neither."""
    shown = represented(W)
    directions = unit_directions(W)
    opposite = (directions.mT @ directions).amin(dim=2) < SAME_COSINE - 1
    digons = (shown.sum(dim=1) == 4) & (opposite | ~shown).all(dim=1)
    return torch.where(
        shown.all(dim=1), PENTAGON, torch.where(digons, WITHOUT + shown[:, 0].int(), 3)
    )


def snap(result) -> Float[Tensor, " densities"]:
    """Relative density of feature 0 at which the losses of digons without it and of a pentagon cross; NaN for none."""
    crossing, found = result.crossing, torch.full_like(result.density, torch.nan)
    snaps = (crossing.below == WITHOUT) & (crossing.above == PENTAGON) & crossing.met
    for k in snaps.nonzero()[:, 0].flip(0).tolist():
        found[crossing.line[k]] = result.crossing_ratio[k]  # the lowest of a density last
    return found


def lasts(result, geometry) -> Float[Tensor, "densities 2"]:
    """Lowest and highest relative density at which a geometry is a local minimum; inf for none."""
    there = result.loss[..., geometry].isfinite()
    lowest = torch.where(there, result.ratio, torch.inf).amin(dim=1)
    return torch.stack((lowest, torch.where(there, result.ratio, -torch.inf).amax(dim=1)), dim=1)


def largest_step(result):
    """By how much the pentagon moves at most from one ratio to the next, from the snap to equal densities; or None."""
    ratio, loss = result.ratio[0], result.loss[0, :, PENTAGON]
    between = (ratio > snap(result)[0]) & (ratio <= 1) & loss.isfinite()
    W = around(oriented(result.W[0, :, PENTAGON]))[between]
    return W.diff(dim=0).norm(dim=1).max().item() if len(W) > 1 else None


def around(W: Float[Tensor, "instances 2 features"]) -> Float[Tensor, "instances 2 features"]:
    """Features in their order around the circle, from the one that points right on."""
    angles = (torch.atan2(W[:, 1], W[:, 0]) + 0.1) % (2 * torch.pi)
    return W.gather(2, angles.argsort(dim=1)[:, None].expand_as(W))


def elsewhere(result):
    """Share of the random descents at the first density that end in another geometry than the optimum."""
    W = result.random.W[0]
    geometry = geometry_of(W.flatten(0, 1)).view(W.shape[:2])
    return (
        (geometry != result.loss[0, result.checked].argmin(dim=1, keepdim=True))
        .double()
        .mean()
        .item()
    )


def numbers(result):
    """All that is measured, by name; what there is none of is left out."""
    snaps = zip(result.density.tolist(), snap(result).tolist())
    sparser = {f"density {d:g}: losses cross, times sparser": 1 / at for d, at in snaps if at == at}
    found = {"densities at which the losses cross": len(sparser), **sparser}
    found["crossings known to"] = precision(result.ratio[0])
    step = largest_step(result)
    if step is not None:
        found["the pentagon moves from one ratio to the next, at most"] = step
    of_pentagon, of_digons = (
        lasts(result, geometry)[0].tolist() for geometry in (PENTAGON, WITHOUT)
    )
    if of_pentagon[0] <= of_pentagon[1]:
        found["the pentagon is a local minimum until, times sparser"] = 1 / of_pentagon[0]
    if of_digons[0] <= of_digons[1]:
        found["digons without the feature are up to a relative density of"] = of_digons[1]
    found["random descents that end in another geometry"] = elsewhere(result)
    return found | descents.excess(result.sampled.loss, result.loss[0, result.checked].amin(dim=1))


# The figure


def figure(result):
    """Digons and pentagons over the density of one feature, and where their losses cross (the paper's figure)."""
    drawing = plt.figure(figsize=(WIDTH, 8.6), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1.3, 1))
    colours = plt.cm.ScalarMappable(
        LogNorm(float(result.ratio.min()), float(result.ratio.max())), RATIO_COLOURS
    )
    panels = above.subplots(1, 2)
    ratio, lowest = result.ratio[0], result.loss[0]
    digons = WITHOUT + lowest[:, WITHOUT:].argmin(dim=1)  # with feature 0 or without it
    kinds = {"digons": (digons, (1, 3)), "pentagons": (torch.zeros_like(digons), (0, 1))}
    for ax, (title, (kind, (right, up))) in zip(panels, kinds.items()):
        there = lowest.gather(1, kind[:, None])[:, 0].isfinite()
        W = oriented(result.W[0, torch.arange(len(kind)), kind][there], right, up)
        _solutions(
            ax, W, colours.to_rgba(ratio[there].numpy()), (kind == lowest.argmin(dim=1))[there]
        )
        ax.set(title=f"{title} (filled where they are best)")
    above.colorbar(
        colours,
        ax=panels,
        label="relative density: of one feature (square) over the others' (log scale)",
    )
    axes = below.subplots(1, len(result.density), squeeze=False)[0]
    for k, ax in enumerate(axes):
        _losses(ax, result, k)
    styles = list(GEOMETRY_STYLES.values())[:3]
    marks = [Line2D([], [], color=colour, linestyle=line) for colour, line in styles]
    marks += [Line2D([], [], marker="o", linestyle="", color=FAINT, markeredgecolor=INK)]
    labels = [*list(GEOMETRY_STYLES)[:3], "random descents, in the colour of their geometry"]
    below.legend(marks, labels, loc="outside lower center", ncols=4)
    return drawing


def _solutions(ax, W, colour, best):
    """Solutions W (points, 2, 5) in the plane, oriented alike, colours (points, 4); white inside where not the best."""
    order = best.int().argsort(stable=True)  # the best on top
    colour = colour[order.numpy()]
    faded = np.where(best[order].numpy()[:, None], colour, to_rgba("white"))
    ends = W[order].mT.numpy()  # (points, features, 2)
    spokes = np.stack((np.zeros_like(ends), ends), axis=2).reshape(-1, 2, 2)
    ax.add_collection(
        LineCollection(spokes, colors=colour.repeat(5, axis=0), linewidths=0.7, alpha=0.4)
    )
    for features, marker, size in ((slice(0, 1), "s", 45), (slice(1, 5), "o", 24)):
        x, y = ends[:, features].reshape(-1, 2).T
        inner, outer = (
            shade.repeat(features.stop - features.start, axis=0) for shade in (faded, colour)
        )
        ax.scatter(
            x,
            y,
            s=size,
            marker=marker,
            facecolors=inner,
            edgecolors=outer,
            linewidths=0.7,
            zorder=3,
        )
    ax.set(xlim=(-1.35, 1.35), ylim=(-1.3, 1.3), aspect="equal")
    ax.set(xlabel="hidden dimension 1", ylabel="hidden dimension 2")


def _losses(ax, result, k):
    """The losses of the geometries, their crossing, and those of random descents at the k-th density."""
    styles, ratio, loss = list(GEOMETRY_STYLES.values()), result.ratio[k], result.loss[k]
    for curve, (colour, line) in zip(loss.T, styles):
        ax.plot(
            ratio.numpy(),
            torch.where(curve.isfinite(), curve, torch.nan).numpy(),
            line,
            color=colour,
        )
    runs = result.random.loss[k]
    x = ratio[result.checked, None].expand(runs.shape).flatten()
    dots = [styles[geometry][0] for geometry in geometry_of(result.random.W[k].flatten(0, 1))]
    ax.scatter(
        x.numpy(), runs.flatten().numpy(), s=8, color=dots, edgecolors=INK, linewidths=0.3, zorder=3
    )
    title, crossing = f"others' density {result.density[k]:g}", snap(result)[k]
    if crossing.isfinite():
        ax.axvline(float(crossing), color=INK, linewidth=0.8, linestyle="--")
        title += f"\ncrossing: {1 / crossing:.2f}× sparser"
    ax.set(xscale="log", ylim=(0, 1.6 * float(loss.amin(dim=1).max())))
    ax.set_title(title)
    ax.set(xlabel="relative density (log)", ylabel="exact loss")
