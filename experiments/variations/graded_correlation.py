"""How correlated must two features be to become orthogonal, and to collapse into one direction?

The paper's correlated features are always active together. Here the members of a pair are active
together to any degree, from independent features (0) to the paper's (1). Two and three pairs share
two dimensions. The best solution at each density and correlation is found by descents on the exact
loss from constructed and random weights, and for three pairs from the solutions at neighbouring
points of the grid as well.

Members of a pair are never antipodal in the best solution as soon as they are correlated at all:
two pairs make two local orthogonal bases, and three sparse pairs lie side by side. Pairs collapse
into their principal components only where they are dense enough: at density 0.3 a small correlation
suffices, and at density 0.03 not even the full one does.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Float64, Int
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.variations.graded_loss import descend_graded, graded_loss, in_states
from geometry import SAME_COSINE, collapsed_pairs, represented, set_cosines
from models import ReLUOutputModel
from theory.descents import GENTLE, Minima, Solutions, first_sign_change
from visualization import FAINT, NOTE, OTHER_POLYTOPE, SET_COLOURS, WIDTH, described

HIDDEN = 2
NOISE = 0.02  # standard deviation added to constructed weights, so that none rests on a saddle
MAY_BE_INFINITE = ("three_loss",)  # where none of the solutions is of a kind


@dataclass(frozen=True)
class Settings:
    """Pairs in two dimensions on a grid of densities and correlations."""

    densities: tuple[float, ...] = (0.5, 0.3, 0.2, 0.1, 0.03)
    correlations: tuple[float, ...] = (0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1)
    two_runs: int = 64  # random descents of two pairs at each point
    two_steps: int = 250
    three_runs: int = 2  # random descents of three pairs, beside those of constructed weights
    three_steps: int = 200
    rounds: int = 2  # times that solutions of three pairs are handed on to neighbouring points
    handed_steps: int = 100

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        steps = torch.tensor(self.correlations).diff()
        starts = len(self.correlations) > 1 and self.correlations[0] == 0
        if not (starts and (steps > 0).all() and self.correlations[-1] <= 1):
            raise ValueError(
                "correlations: expected two or more ascending numbers from 0 to at most 1, got "
                f"{self.correlations}"
            )


COLOURS = (*SET_COLOURS, OTHER_POLYTOPE)
APART = 0.04  # vertical distance of curves in collapsed pairs, so that all can be seen

QUICK = Settings(
    densities=(0.3, 0.03),
    correlations=(0, 0.3, 1),
    two_runs=4,
    two_steps=40,
    three_runs=1,
    three_steps=25,
    rounds=1,
    handed_steps=10,
)
NOTEBOOK = Settings(
    densities=(0.3, 0.1, 0.03),
    correlations=(0, 0.1, 0.3, 0.6, 1),
    two_runs=16,
    two_steps=200,
    three_runs=1,
    three_steps=150,
    rounds=1,
    handed_steps=60,
)


class Result(NamedTuple):
    """Exact losses on the grid: of unit digons, of two pairs and of three pairs."""

    density: Float64[Tensor, " densities"]
    correlation: Float64[Tensor, " correlations"]
    digons: Float64[Tensor, "densities correlations 2"]  # members antipodal, members orthogonal
    two: Solutions  # all descents, (densities, correlations, runs); the constructed ones first
    three_W: Float64[Tensor, "densities correlations 2 2 6"]  # no pair has collapsed; some have
    three_loss: Float64[Tensor, "densities correlations 2"]
    fall: Float64[Tensor, "densities correlations"]  # of the lower loss in the last round


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Find the best solutions on the grid.

    Args:
        settings: Settings of the run.
        seed: Seed of the random weights and of the noise.
        device: Not used, as exact losses of small models are computed on the CPU.
        progress: Whether to show bars on stderr.
    """
    density = torch.tensor(settings.densities, dtype=torch.float64)
    correlation = torch.tensor(settings.correlations, dtype=torch.float64)
    grid = Grid(*(axis.flatten() for axis in torch.meshgrid(density, correlation, indexing="ij")))
    shape = len(density), len(correlation)
    two = _two_pairs(grid, settings, seed, progress)
    three, fall = _three_pairs(grid, shape, settings, seed, progress)
    digons = torch.stack([_unit_loss(TWO[name], grid) for name in UNIT_DIGONS], dim=1)
    return Result(
        density=density,
        correlation=correlation,
        digons=digons.view(*shape, 2),
        two=Solutions(two.W.unflatten(0, (*shape, -1)), two.loss.view(*shape, -1)),
        three_W=three.W.unflatten(0, (*shape, 2)),
        three_loss=three.loss.view(*shape, 2),
        fall=fall.view(shape),
    )


class Grid(NamedTuple):
    """The points of the grid, one after the other."""

    density: Float64[Tensor, " points"]
    correlation: Float64[Tensor, " points"]

    def repeated(self, times):
        """Repeat each point several times in a row."""
        return Grid(*(values.repeat_interleave(times) for values in self))

    def select(self, points):
        """Return some of the points."""
        return Grid(*(values[points] for values in self))


# Constructed weights


def on_circle(degrees, norms) -> Float64[Tensor, "2 features"]:
    """Return weights of features at some angles, of some norms."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack((angles.cos(), angles.sin())) * torch.tensor(norms, dtype=torch.float64)


HALF = 0.5**0.5  # norm of the members of a collapsed pair
TWO = {
    "antipodal": on_circle((0, 180, 90, 270), (1, 1, 1, 1)),
    "orthogonal": on_circle((0, 90, 180, 270), (1, 1, 1, 1)),
    "collapsed": on_circle((0, 0, 90, 90), (HALF, HALF, HALF, HALF)),
}
UNIT_DIGONS = ("antipodal", "orthogonal")
THREE = {
    "side by side": on_circle((0, 60, 120, 180, 240, 300), (1,) * 6),
    "antipodal": on_circle((0, 180, 60, 240, 120, 300), (1,) * 6),
    "two digons": on_circle((0, 90, 180, 0, 270, 90), (1, 1, 1, 0.05, 1, 0.05)),
    "one collapsed": on_circle((0, 0, 100, 160, 200, 260), (HALF, HALF, 1, 1, 1, 1)),
    "two collapsed": on_circle((0, 0, 90, 90, 180, 270), (HALF, HALF, HALF, HALF, 1, 1)),
    "three collapsed": on_circle((0, 0, 120, 120, 240, 240), (HALF,) * 6),
}


def _starts(constructed, runs, seed, init_scale):
    """Return constructed weights, with noise, and random ones: (starts, 2, features)."""
    W = torch.stack(list(constructed.values()))
    model = ReLUOutputModel(
        runs + len(W), W.shape[2], HIDDEN, seed=seed, dtype=torch.float64, init_scale=1
    )
    noise = model.W.detach()
    return torch.cat((W + NOISE * noise[runs:], init_scale * noise[:runs]))


def _descents(starts, grid, steps, progress):
    """Descend from all starts at each point of the grid: Minima of (points * starts)."""
    W = starts.repeat(len(grid.density), 1, 1)
    return descend_graded(
        W, 0 * W[:, 0], *grid.repeated(len(starts)), steps=steps, lr=0.1, progress=progress
    )


# Two pairs


def _two_pairs(grid, settings, seed, progress):
    """Descend from constructed and from small random weights."""
    return _descents(_starts(TWO, settings.two_runs, seed, 0.1), grid, settings.two_steps, progress)


def _unit_loss(W, grid):
    """Return the loss of some weights without biases at each point of the grid."""
    W = W.expand(len(grid.density), -1, -1)
    return graded_loss(W, 0 * W[:, 0], in_states(*grid, W.shape[2] // 2))


# Three pairs


def collapsed_count(W: Float[Tensor, "instances 2 features"]) -> Int[Tensor, " instances"]:
    """Count the collapsed pairs of which both members are represented."""
    return collapsed_pairs(torch.where(represented(W)[:, None], W, 0))


def _three_pairs(grid, shape, settings, seed, progress):
    """Find the best solution without and with collapsed pairs at each point of the grid.

    Returns:
        Minima of (points * 2), and the relative fall of each point's lowest loss in the last round.
    """
    reached = _descents(
        _starts(THREE, settings.three_runs, seed, 0.3), grid, settings.three_steps, progress
    )
    points = len(grid.density)
    starts = len(reached.loss) // points
    best = _lowest(reached, torch.arange(points).repeat_interleave(starts), points)
    for _ in range(settings.rounds):
        before = best.loss.view(points, 2).amin(dim=1)
        best = _handed_on(best, grid, shape, settings.handed_steps, progress)
    return best, 1 - best.loss.view(points, 2).amin(dim=1) / before


def _lowest(found, point, points):
    """Return the lowest minimum of each kind at each point: Minima of (points * 2)."""
    place = 2 * point + (collapsed_count(found.W) > 0)
    mine = place == torch.arange(2 * points)[:, None]
    lowest, chosen = torch.where(mine, found.loss, torch.inf).min(dim=1)
    return Minima(found.W[chosen], found.b[chosen], lowest)


def _handed_on(best, grid, shape, steps, progress):
    """Descend at each point from its own and its neighbours' solutions, and keep the lowest."""
    source, target = _neighbours(shape)
    source = (2 * source[:, None] + torch.arange(2)).flatten()
    target = target.repeat_interleave(2)
    exists = best.loss[source].isfinite()
    source = source[exists]
    target = target[exists]
    reached = descend_graded(
        best.W[source],
        best.b[source],
        *grid.select(target),
        steps=steps,
        lr=GENTLE,
        progress=progress,
    )
    points = len(grid.density)
    old = torch.arange(points).repeat_interleave(2)
    every = Minima(*(torch.cat(values) for values in zip(best, reached)))
    finite = every.loss.isfinite()
    every = Minima(*(values[finite] for values in every))
    return _lowest(every, torch.cat((old, target))[finite], points)


def _neighbours(shape):
    """List the pairs of a point of the grid and itself or a neighbour, as indices of points."""
    index = torch.arange(shape[0] * shape[1]).view(shape)
    own = index.flatten()
    source = [own]
    target = [own]
    for low, high in ((index[:-1], index[1:]), (index[:, :-1], index[:, 1:])):
        source += [low.flatten(), high.flatten()]
        target += [high.flatten(), low.flatten()]
    return torch.cat(source), torch.cat(target)


# Measures


def antipodal(W: Float[Tensor, "*shape 2 features"]) -> Bool[Tensor, "*shape"]:
    """Tell whether all features are represented and the members of every pair are antipodal."""
    return _all_represented(W) & (pair_cosines(W) < SAME_COSINE - 1).all(dim=-1)


def orthogonal(W: Float[Tensor, "*shape 2 features"]) -> Bool[Tensor, "*shape"]:
    """Tell whether all features are represented and the members of every pair are orthogonal."""
    return _all_represented(W) & (pair_cosines(W).abs() < SAME_COSINE).all(dim=-1)


def pair_cosines(W: Float[Tensor, "*shape 2 features"]) -> Float[Tensor, "*shape pairs"]:
    """Return the cosine between the members of every pair."""
    return set_cosines(W.flatten(0, -3), 2)[0].unflatten(0, W.shape[:-2])


def _all_represented(W):
    return represented(W.flatten(0, -3)).all(dim=1).view(W.shape[:-2])


def interference_ratio(density, correlation):
    """Return what correlation c multiplies the cost of being active together by, 1 + c S / (1 - S).

    Two members of a pair are active together with probability s^2 + c s (1 - s), and two features
    of different pairs with s^2, where s is the density 1 - S.
    """
    return 1 + correlation * (1 - density) / density


def ratio_error(result) -> Float64[Tensor, "densities correlations"]:
    """Return how far the ratio of the losses of unit digons is from `interference_ratio`."""
    expected = interference_ratio(result.density[:, None], result.correlation)
    return (result.digons[..., 0] / result.digons[..., 1] / expected - 1).abs()


def two_best(result) -> Float64[Tensor, "densities correlations 2 4"]:
    """Return the weights of two pairs of lowest loss."""
    chosen = result.two.loss.argmin(dim=2)[..., None, None, None]
    return result.two.W.take_along_dim(chosen, dim=2)[:, :, 0]


def two_lowest(result, shows) -> Float64[Tensor, "densities correlations"]:
    """Return the lowest loss of two pairs in an arrangement, infinite where none is in it.

    Args:
        result: A Result.
        shows: `antipodal` or `orthogonal`.
    """
    return torch.where(shows(result.two.W), result.two.loss, torch.inf).amin(dim=2)


def antipodal_share(result) -> Float64[Tensor, "densities correlations"]:
    """Return the share of the random descents of two pairs whose members end antipodal."""
    return antipodal(result.two.W[:, :, len(TWO) :]).double().mean(dim=2)


def three_best(result) -> Float64[Tensor, "densities correlations 2 6"]:
    """Return the weights of three pairs of lowest loss."""
    chosen = result.three_loss.argmin(dim=2)[..., None, None, None]
    return result.three_W.take_along_dim(chosen, dim=2)[:, :, 0]


def three_collapsed(result) -> Int[Tensor, "densities correlations"]:
    """Return the number of collapsed pairs in the best solution of three pairs."""
    best = three_best(result)
    return collapsed_count(best.flatten(0, 1)).view(best.shape[:2])


def collapse_correlation(result) -> Float64[Tensor, " densities"]:
    """Return the correlation from which on some of three pairs have collapsed, infinite if never.

    There the losses of the best solutions with and without collapsed pairs are equal, interpolated
    between two points of the grid, or half-way if one of the solutions is known at one point alone.
    """
    without, some = result.three_loss.unbind(dim=2)
    change = first_sign_change(without - some)
    low = result.correlation[change.point]
    high = result.correlation[change.point + 1]
    return torch.where(change.found, low + change.share * (high - low), torch.inf)


# Figure


def figure(result) -> Figure:
    """Draw where two pairs end, how their members lie at best, and how many of three collapse."""
    drawn, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.9), layout="constrained")
    cosines = pair_cosines(two_best(result)).mean(dim=-1)
    counts = three_collapsed(result)
    shares = antipodal_share(result)
    for place, density in enumerate(result.density.tolist()):
        style = {"color": COLOURS[place % len(COLOURS)], "marker": "o", "label": f"{density:g}"}
        axes[0].plot(result.correlation, shares[place], **style)
        axes[1].plot(result.correlation[1:], cosines[place, 1:], **style)
        axes[2].plot(result.correlation, counts[place] + APART * place, **style)
    axes[0].set(title="two pairs, random starts", ylabel="share that ends antipodal")
    axes[0].set(ylim=(-0.02, 0.52))
    axes[1].set(title="two pairs, best solution", ylabel="cosine between members of a pair")
    axes[1].set(ylim=(-1.1, 1.15))
    axes[1].plot((0, 0), (-1, 0), "o", color=FAINT)
    axes[1].annotate("independent: both are equally good", (0, -1), xytext=(6, -3), **NOTE)
    axes[2].set(title="three pairs, best solution", ylabel="collapsed pairs (lines set apart)")
    axes[2].set(yticks=range(4), ylim=(-0.25, 3.4))
    for ax in axes:
        ax.set(xlabel="correlation $c$ (1: the paper's pairs)", xlim=(-0.05, 1.05))
        ax.axvline(1, color=FAINT, linewidth=0.8, zorder=0)
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, title="density $1-S$", loc="outside lower center", ncols=len(labels)
    )
    drawn.suptitle("Correlated features are not antipodal, and collapse only where they are dense")
    most = ", ".join(
        f"{count} at density {density:g}"
        for density, count in zip(result.density.tolist(), counts.amax(dim=1).tolist())
    )
    return described(
        drawn,
        "Over the correlation within pairs, a curve for each density: the share of random starts "
        f"of two pairs that end antipodal, from {shares[:, 0].mean():.2f} on average down to "
        f"{shares[:, -1].mean():.2f}; the cosine between members in the best solution, near 0 or "
        f"1; and the number of three pairs that collapse, at most {most}.",
    )
