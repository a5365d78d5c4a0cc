"""Which arrangement is best at which density, predicted from the exact loss with nothing trained (ours).

The source is the periodic table (periodic_table.py), which presupposes no polytope; beside it what each of the paper's
polytopes saves (packing.py). The staircase of the prediction is drawn over the paper's scatter of dimensionalities in
uniform.py; here the benefit and the staircase.
"""

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from experiments.section4 import periodic_table
from experiments.section4.periodic_table import MARGIN, weights
from geometry import dimensions_per_feature
from theory import packing
from theory.mean_field import mean_field_benefit
from theory.packing import polytope_optima
from theory.polytopes import PAPER_POLYTOPES, arrangement_name, tegum_factors
from visualization import FAINT, INK, NOTE, WIDTH, over_inverse_density, polytope_colour

SEEDED = False  # there is no chance in it
INPUTS = (periodic_table.FILE,)


@dataclass(frozen=True)
class Settings:
    """The committed table leaves nothing to set."""


QUICK = Settings()


class Result(NamedTuple):
    benefit: Float[
        Tensor, "polytopes densities"
    ]  # of each of PAPER_POLYTOPES, at the densities of the table
    table: periodic_table.Result


class Window(NamedTuple):
    """Where an arrangement is the best, in features without end."""

    name: str
    low: float  # 1/(1-S)
    high: float
    dimensionality: float  # dimensions per feature


def run(settings, *, seed=0, device="cpu", progress=True):
    """Always on the CPU and in float64, and the same whatever the seed. The table is read, not computed."""
    table = periodic_table.table()
    optima = polytope_optima(1 / table.inverse_density, PAPER_POLYTOPES, progress=progress)
    return Result(torch.stack([optimum.benefit for optimum in optima.values()]), table)


# The predictions


def windows(result) -> list[Window]:
    """Where each arrangement is the best, in features without end, densest first."""
    table = result.table
    led = [(cell, k) for k, cell in enumerate(_leads(table))]
    at = {
        arrangement_name(weights(table, *place)[0]): place for place in led[::-1]
    }  # where each leads first
    curves = {label: _followed(table, label, cell) for label, (cell, _) in at.items()}
    found = packing.windows(1 / table.inverse_density, curves)
    return [Window(*window, _dimensionality(weights(table, *at[window[0]])[0])) for window in found]


def _leads(table) -> list[int]:
    """The cell that saves most per dimension at each density, of equals the smallest."""
    most = table.benefit.max(dim=0).values
    return (table.benefit >= most - MARGIN).int().argmax(dim=0).tolist()


def _dimensionality(W):
    """Dimensions per represented feature."""
    factors = tegum_factors(W)
    return sum(factor.rank for factor in factors) / sum(len(factor.features) for factor in factors)


def _followed(table, label, cell):
    """The benefit of an arrangement where its cell has it, and at the next densities as it goes on; elsewhere none."""
    x, of_cell = table.inverse_density.log(), table.benefit[cell]
    there = [k for k in range(len(x)) if arrangement_name(weights(table, cell, k)[0]) == label]
    benefit = torch.zeros_like(of_cell)
    benefit[there] = of_cell[there]
    for end, step in (
        (k, step)
        for k in there
        for step in (-1, 1)
        if 0 <= k + step < len(x) and k + step not in there
    ):
        before = end - step if end - step in there else end
        slope = 0 if before == end else (of_cell[end] - of_cell[before]) / (x[end] - x[before])
        gone_on = of_cell[end] + slope * (x[end + step] - x[end])
        benefit[end + step] = (
            torch.minimum(gone_on, of_cell[end + step]) - MARGIN
        )  # the cell has a better one there
    return benefit


def best_at(windows, inverse_density):
    """The name of the arrangement that is the best at one 1/(1-S); None outside of the predicted range."""
    return next(
        (window.name for window in windows if window.low <= inverse_density <= window.high), None
    )


def shortfall(result, polytope, inverse_density):
    """By what share a polytope saves less than the best at one 1/(1-S), interpolated between densities."""
    x, best = result.table.inverse_density.log().numpy(), result.table.benefit.max(dim=0).values
    share = 1 - result.benefit[PAPER_POLYTOPES.index(polytope)] / best
    return np.interp(np.log(inverse_density), x, share.numpy()).item()


def staircase(result) -> tuple[Float[Tensor, " densities"], Float[Tensor, " densities"]]:
    """1/(1-S) and the predicted D* = m / ||W||_F^2 of the best arrangement, with features without end."""
    table, best = result.table, _leads(result.table)
    squared = torch.stack([table.W[cell, k].square().sum() for k, cell in enumerate(best)])
    return table.inverse_density, table.size[best, 1] / squared


# Figure


def figure(result, sweeps, started):
    """Benefit and D* over 1/(1-S), dense features apart: predicted, the mean field, and what models reach.

    sweeps: uniform.Results; started: the started.Result. Lines and dots have the colours of polytopes
    """
    drawing, axes = plt.subplots(
        2, 2, figsize=(WIDTH, 8.6), layout="constrained", height_ratios=(3, 2), sharex="col"
    )
    highest = result.table.inverse_density.max().item()
    for column, low, high in zip(axes.T, (1.04, 1.6), (1.65, highest)):
        _benefits(result, sweeps, started, column[0], low, high)
        _staircases(result, sweeps, column[1], low, high)
        over_inverse_density(column[1])  # both share it
        column[1].set(xlim=(low, high))
        column[0].set_ylabel("benefit per dimension (a dedicated one: 1)")
        column[1].set_ylabel(r"dimensions per feature $D^*=m/\|W\|_F^2$")
    handles = {
        label: line for ax in axes[0] for line, label in zip(*ax.get_legend_handles_labels())
    }
    drawing.legend(handles.values(), handles, loc="outside lower center", ncols=4)
    return drawing


def _benefits(result, sweeps, started, ax, low, high):
    """What is saved by prediction, with the names of what leads, and by models."""
    x, best = result.table.inverse_density, result.table.benefit.max(dim=0).values
    shown = (x >= low / 1.05) & (x <= high * 1.05)
    leading = {window.name for window in windows(result)}
    for polytope, benefit in zip(PAPER_POLYTOPES, result.benefit):
        leads, colour = polytope in leading, polytope_colour(polytope)
        ax.plot(
            x[shown].numpy(),
            benefit[shown].numpy(),
            color=colour,
            label=polytope if leads else None,
        )
        if high > 2:  # names that need no colour
            note = polytope if leads else f"{polytope},\nnowhere the best"
            ax.annotate(note, (x[-1], benefit[-1]), (4, 0), va="center", **NOTE)
    thick = {
        "color": INK,
        "linewidth": 5,
        "alpha": 0.3,
        "zorder": 0,
        "label": "periodic table: the best",
    }
    ax.plot(x[shown].numpy(), best[shown].numpy(), **thick)
    for k, window in enumerate(windows(result)):
        ends = max(window.low, low), min(window.high, high)
        if ends[0] < ends[1]:
            middle = (ends[0] * ends[1]) ** 0.5
            y = np.interp(np.log(middle), x.log().numpy(), best.numpy())
            last = window.high >= x.max()  # models are above it
            at = (8, -16) if last else (-4, 5 + 12 * (k % 3))
            side = "left" if window.low <= x.min() else "center" if middle < 1.25 * low else "right"
            ax.annotate(window.name, (middle, y), at, ha=side, **NOTE)
    if high > 2:
        ax.plot(
            x[shown].numpy(),
            mean_field_benefit(1 / x[shown]).numpy(),
            "--",
            color=INK,
            label="mean field",
        )
    for trained, marker in zip(sweeps, "oD"):
        n, m = trained.W.shape[3], trained.W.shape[2]
        label = f"trained, $n={n}$, $m={m}$"
        _dots(ax, trained.inverse_density, trained.benefit[:, 0], INK, label, low, high, marker)
    for polytope, benefit in zip(PAPER_POLYTOPES, started.benefit.T):
        label = "started as polytopes of that colour" if polytope == "digon" else None
        _dots(ax, started.inverse_density, benefit, polytope_colour(polytope), label, low, high)
    of_models = torch.cat(
        [trained.benefit[:, 0][trained.inverse_density <= high] for trained in sweeps]
    )
    highest = max(best[shown].max().item(), of_models.max().item())
    ax.set_ylim(
        1 - 0.15 * (highest - 1), 1 + 1.1 * (highest - 1)
    )  # dense models that have not settled are below


def _staircases(result, sweeps, ax, low, high):
    """D* by prediction and of models."""
    x, per_feature = staircase(result)
    ax.plot(x.numpy(), per_feature.numpy(), color=INK, linewidth=5, alpha=0.3, zorder=0)
    for trained, marker in zip(sweeps, "oD"):
        _dots(
            ax,
            trained.inverse_density,
            dimensions_per_feature(trained.W[:, 0]),
            INK,
            None,
            low,
            high,
            marker,
        )
    for level in (2 / 3, 1 / 2, 2 / 5, 3 / 8):
        ax.axhline(level, color=FAINT, linewidth=0.8, zorder=0)
    ax.set(ylim=(0.15, 1.1))


def _dots(ax, inverse_density, values, colour, label, low, high, marker="o"):
    near = (inverse_density >= low) & (inverse_density <= high)
    x, y = inverse_density[near].numpy(), values[near].numpy()
    ax.plot(x, y, marker, color=colour, mec=INK, mew=0.6, linestyle="none", label=label)
