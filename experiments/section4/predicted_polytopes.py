"""Which arrangement is best at which density, predicted from the exact loss (ours).

The paper finds by training which polytope appears at which density. Here nothing is trained: the
prediction comes from the periodic table of superposition (periodic_table.py), which presupposes no
polytope. Beside it stands the benefit of each of the paper's polytopes (theory/packing.py).
`figure` draws the benefit and the dimensions per feature D*; uniform_superposition.py draws the
predicted windows over the paper's own figures.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from experiments.section4 import periodic_table
from experiments.section4.periodic_table import MARGIN, TABLE_BEST, weights
from geometry import dimensions_per_feature
from theory import packing
from theory.mean_field import mean_field_benefit
from theory.packing import polytope_optima
from theory.polytopes import PAPER_POLYTOPES, arrangement_name, tegum_factors
from visualization import (
    FAINT,
    FINE_DENSITY_TICKS,
    INK,
    NOTE,
    WIDTH,
    described,
    over_density,
    polytope_colour,
)

SEEDED = False  # nothing is random here
INPUTS = (periodic_table.FILE,)
# Highest and lowest density of the figure's two columns: dense features, and all others.
COLUMNS = ((0.96, 0.61), (0.625, None))


@dataclass(frozen=True)
class Settings:
    """The committed table leaves nothing to set."""


QUICK = Settings()


class Result(NamedTuple):
    """The benefits at the densities of the periodic table, and the table itself."""

    benefit: Float[Tensor, "polytopes densities"]  # of PAPER_POLYTOPES, per hidden dimension
    table: periodic_table.Result


class Window(NamedTuple):
    """The densities at which an arrangement is the table's best, for any number of features."""

    name: str
    densest: float
    sparsest: float
    dimensionality: float  # dimensions per represented feature


def run(settings, *, seed=0, device="cpu", progress=True):
    """Read the periodic table and compute the benefit of the paper's polytopes at its densities.

    The computation runs on the CPU in float64, and the result does not depend on the seed.
    """
    table = periodic_table.table()
    optima = polytope_optima(1 / table.inverse_density, PAPER_POLYTOPES, progress=progress)
    return Result(torch.stack([optimum.benefit for optimum in optima.values()]), table)


# The predictions


def windows(result) -> list[Window]:
    """Return where each arrangement is the best of all in the table, from dense to sparse.

    Every hidden dimension has as many features as the arrangement can use.
    """
    table = result.table
    first_lead = {}  # name of an arrangement -> its cell, and the first density at which it leads
    for point, cell in enumerate(_leading_cells(table)):
        name = arrangement_name(weights(table, cell, point)[0])
        first_lead.setdefault(name, (cell, point))
    benefits = {name: _followed(table, name, cell) for name, (cell, _) in first_lead.items()}
    found = packing.leading_ranges(1 / table.inverse_density, benefits)
    return [
        Window(name, 1 / low, 1 / high, _dimensionality(weights(table, *first_lead[name])[0]))
        for name, low, high in found  # ends of its range of 1/(1-S)
    ]


def _leading_cells(table) -> list[int]:
    """Return at each density the cell with the largest benefit, the smallest of equal cells."""
    most = table.benefit.max(dim=0).values
    return (table.benefit >= most - MARGIN).int().argmax(dim=0).tolist()


def _dimensionality(W):
    """Return the dimensions per represented feature."""
    factors = tegum_factors(W)
    dimensions = sum(factor.rank for factor in factors)
    features = sum(len(factor.features) for factor in factors)
    return dimensions / features


def _followed(table, name, cell):
    """Return the benefit of one arrangement at all densities, 0 where it is not known.

    It is known where the arrangement is the best of its cell. At the densities next to these it is
    extrapolated, but stays below the benefit of the arrangement that is the best of the cell there.
    """
    densities = len(table.inverse_density)
    known = [
        point
        for point in range(densities)
        if arrangement_name(weights(table, cell, point)[0]) == name
    ]
    benefit = torch.zeros_like(table.benefit[cell])
    benefit[known] = table.benefit[cell][known]
    for point in known:
        for step in (-1, 1):
            beyond = point + step
            if 0 <= beyond < densities and beyond not in known:
                before = point - step if point - step in known else None
                extrapolated = _extrapolated(table, cell, before, point, beyond)
                benefit[beyond] = torch.minimum(extrapolated, table.benefit[cell, beyond]) - MARGIN
    return benefit


def _extrapolated(table, cell, before, point, beyond):
    """Extrapolate a cell's benefit in log density; as a constant if there is no point before."""
    x = table.inverse_density.log()
    benefit = table.benefit[cell]
    if before is None:
        return benefit[point]
    slope = (benefit[point] - benefit[before]) / (x[point] - x[before])
    return benefit[point] + slope * (x[beyond] - x[point])


def best_at(windows, density):
    """Return the name of the best arrangement at a density, None outside of all windows."""
    for window in windows:
        if window.sparsest <= density <= window.densest:
            return window.name
    return None


def shortfall(result, polytope, density):
    """Return the share by which a polytope's benefit falls short of the best at a density.

    The share is interpolated between the densities of the table.
    """
    x = result.table.inverse_density.log().numpy()
    best = result.table.benefit.max(dim=0).values
    share = 1 - result.benefit[PAPER_POLYTOPES.index(polytope)] / best
    return np.interp(-np.log(density), x, share.numpy()).item()


def polytope_benefit(
    result, density: Float[Tensor, " points"]
) -> Float[Tensor, "polytopes points"]:
    """Return the benefit per dimension of each of PAPER_POLYTOPES at some densities.

    It is interpolated between the densities of the table.
    """
    x = result.table.inverse_density.log().numpy()
    at = -density.log().numpy()
    return torch.stack(
        [torch.from_numpy(np.interp(at, x, each.numpy())) for each in result.benefit]
    )


def staircase(result) -> tuple[Float[Tensor, " densities"], Float[Tensor, " densities"]]:
    """Return densities and the predicted D* = m / ||W||_F^2 of the best arrangement at each."""
    table = result.table
    best = _leading_cells(table)
    squared_norms = torch.stack([table.W[cell, k].square().sum() for k, cell in enumerate(best)])
    return 1 / table.inverse_density, table.size[best, 1] / squared_norms


# The figure


def figure(result, sweeps, started):
    """Draw benefit and D* over density, dense features on the left and the others on the right.

    Lines show the prediction and the mean field, dots what trained models reach. Lines and dots
    have the colours of their polytopes.

    Args:
        result: The Result.
        sweeps: One or two uniform_superposition.Results.
        started: The started_as_polytopes.Result.
    """
    drawing, axes = plt.subplots(
        2, 2, figsize=(WIDTH, 8.6), layout="constrained", height_ratios=(3, 2), sharex="col"
    )
    density = 1 / result.table.inverse_density
    for (above, below), (densest, sparsest) in zip(axes.T, COLUMNS):
        if sparsest is None:
            sparsest = density.min().item()
        _draw_benefits(result, sweeps, started, above, densest, sparsest)
        _draw_dimensions_per_feature(result, sweeps, below, densest, sparsest)
        over_density(below, density, FINE_DENSITY_TICKS)  # `above` shares this axis
        below.set(xlim=(densest, sparsest), ylabel=r"dimensions per feature $D^*=m/\|W\|_F^2$")
        above.set_ylabel("benefit per dimension (a dedicated one: 1)")
    handles = {}
    for ax in axes[0]:
        lines, labels = ax.get_legend_handles_labels()
        handles |= dict(zip(labels, lines))
    drawing.legend(handles.values(), handles, loc="outside lower center", ncols=4)
    return described(
        drawing,
        "Curves over density, of dense features on the left and of sparser ones on the right: "
        "above, the benefit per dimension of the paper's polytopes, of the best arrangements in "
        "the periodic table and of the mean field; below, the predicted dimensions per feature; "
        "dots show trained models.",
    )


def _draw_benefits(result, sweeps, started, ax, densest, sparsest):
    """Draw the predicted benefits with the names of the leading arrangements, and the models'."""
    x = 1 / result.table.inverse_density
    best = result.table.benefit.max(dim=0).values
    shown = (x <= densest * 1.05) & (x >= sparsest / 1.05)
    # Dense features leave no room for names, and the mean field is far off.
    with_names = sparsest < 0.5
    _draw_polytopes(result, ax, shown, with_names)
    ax.plot(
        x[shown].numpy(),
        best[shown].numpy(),
        color=INK,
        linewidth=5,
        alpha=0.3,
        zorder=0,
        label=TABLE_BEST,
    )
    _name_windows(result, ax, densest, sparsest)
    if with_names:
        mean_field = mean_field_benefit(x[shown])
        ax.plot(x[shown].numpy(), mean_field.numpy(), "--", color=INK, label="mean field")
    _draw_models(sweeps, started, ax, densest, sparsest)
    trained = [sweep.benefit[:, 0][1 / sweep.inverse_density >= sparsest] for sweep in sweeps]
    highest = max(best[shown].max().item(), torch.cat(trained).max().item())
    # Dense models that have not settled may lie below the axis.
    ax.set_ylim(1 - 0.15 * (highest - 1), 1 + 1.1 * (highest - 1))


def _draw_polytopes(result, ax, shown, with_names):
    """Draw the benefit of each of the paper's polytopes; name those that nowhere lead the table."""
    x = 1 / result.table.inverse_density
    leading = {window.name for window in windows(result)}
    for polytope, benefit in zip(PAPER_POLYTOPES, result.benefit):
        leads = polytope in leading
        ax.plot(
            x[shown].numpy(),
            benefit[shown].numpy(),
            color=polytope_colour(polytope),
            label=polytope if leads else None,
        )
        if with_names:
            note = polytope if leads else f"{polytope},\nnowhere the table's best"
            ax.annotate(note, (x[-1], benefit[-1]), (4, 0), va="center", **NOTE)


def _name_windows(result, ax, densest, sparsest):
    """Write the name of each leading arrangement at the middle of its window."""
    x = 1 / result.table.inverse_density
    best = result.table.benefit.max(dim=0).values
    for k, window in enumerate(windows(result)):
        first = min(window.densest, densest)
        last = max(window.sparsest, sparsest)
        if first <= last:
            continue
        middle = (first * last) ** 0.5
        y = np.interp(-np.log(middle), -x.log().numpy(), best.numpy())
        # The dots of models lie above the last window, so that its name goes below the line.
        offset = (8, -16) if window.sparsest <= x.min() else (-4, 5 + 12 * (k % 3))
        side = "center" if middle > densest / 1.25 else "right"
        if window.densest >= x.max():
            side = "left"
        ax.annotate(window.name, (middle, y), offset, ha=side, **NOTE)


def _draw_models(sweeps, started, ax, densest, sparsest):
    """Draw the benefit of trained models, and of those that started as polytopes."""
    inside = (densest, sparsest)
    for sweep, marker in zip(sweeps, "oD"):
        label = f"trained, $n={sweep.W.shape[3]}$, $m={sweep.W.shape[2]}$"
        density = 1 / sweep.inverse_density
        _draw_dots(ax, density, sweep.benefit[:, 0], INK, label, inside, marker)
    for polytope, benefit in zip(PAPER_POLYTOPES, started.benefit.T):
        label = "started as polytopes of that colour" if polytope == "digon" else None
        colour = polytope_colour(polytope)
        _draw_dots(ax, 1 / started.inverse_density, benefit, colour, label, inside)


def _draw_dimensions_per_feature(result, sweeps, ax, densest, sparsest):
    """Draw D* as predicted and of trained models."""
    x, predicted = staircase(result)
    ax.plot(x.numpy(), predicted.numpy(), color=INK, linewidth=5, alpha=0.3, zorder=0)
    for sweep, marker in zip(sweeps, "oD"):
        trained = dimensions_per_feature(sweep.W[:, 0])
        density = 1 / sweep.inverse_density
        _draw_dots(ax, density, trained, INK, None, (densest, sparsest), marker)
    for level in (2 / 3, 1 / 2, 2 / 5, 3 / 8):
        ax.axhline(level, color=FAINT, linewidth=0.8, zorder=0)
    ax.set(ylim=(0.15, 1.1))


def _draw_dots(ax, density, values, colour, label, inside, marker="o"):
    """Draw the values between two densities, the higher one first, as outlined dots."""
    densest, sparsest = inside
    shown = (density <= densest) & (density >= sparsest)
    ax.plot(
        density[shown].numpy(),
        values[shown].numpy(),
        marker,
        color=colour,
        mec=INK,
        mew=0.6,
        linestyle="none",
        label=label,
    )
