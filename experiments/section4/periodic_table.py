"""The periodic table of superposition: the best arrangement of k features in d dimensions, nothing presupposed (ours).

Equally important features of one density, few enough for the exact loss. What each arrangement saves per dimension, and
the best mixture of them, say what uniform superposition should be at each density for any number of features; the
catalogue of polytopes.py is needed for their names alone. The table takes a while and depends on no seed, so it is
committed: `python Section4main.py --table` computes it anew and writes FILE, from which all others read it by `table`.
"""

import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn.functional import pad

from sweeps import cells
from sweeps.files import claimed, write
from theory.arrangements import SAME_BENEFIT, assembled, best_arrangement
from theory.packing import Mixture, best_mixture, check_inverse_density
from theory.polytopes import arrangement_name, tegum_factors
from visualization import BLANK, INK, SHARED, TINY, WIDTH, nearest

SEEDED = False  # its random starts are always the same
FILE = Path(__file__).with_suffix(".safetensors")
CELLS = (  # features, dimensions; d dimensions with many more features than they have use for are left out
    *((k, d) for d in range(1, 6) for k in range(d + 1, 11) if k <= 4 * d),
    *((12, 3), (12, 4)),
)
MARGIN = 1e-6  # of benefit: by more than this an arrangement is better than another
SHOWN = (1.3, 4.6, 8.0)  # 1/(1-S) at which the table is drawn
BENEFIT = LinearSegmentedColormap.from_list("benefit", [BLANK, SHARED])


@dataclass(frozen=True)
class Settings:
    cells: tuple[tuple[int, int], ...] = CELLS  # (features, dimensions)
    inverse_density: tuple[float, ...] = (  # 1/(1-S), finest where one arrangement gives way to another
        1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.55, 1.6, 1.7, 1.85, 2.0, 2.5, 3.0,
        3.5, 4.0, 4.2, 4.4, 4.6, 4.8, 5.0, 5.5, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0,
    )  # fmt: skip

    def __post_init__(self):
        check_inverse_density(self.inverse_density)
        if not self.cells or any(not 1 <= d < k for k, d in self.cells):
            raise ValueError(
                f"cells: expected (features, fewer dimensions) of one cell at least, got {self.cells!r}"
            )


QUICK = Settings(((2, 1), (3, 2), (4, 3), (5, 2)), (1.2, 1.5, 3.0, 4.4, 5.0, 8.0))


class Result(NamedTuple):
    """Cells in the order of their dimensions, then features; W and b of smaller cells are filled up with zeros."""

    inverse_density: Float[Tensor, " densities"]
    size: Int[Tensor, "cells 2"]  # features, dimensions
    W: Float[Tensor, "cells densities dimensions features"]
    b: Float[Tensor, "cells densities features"]
    benefit: Float[Tensor, "cells densities"]  # per dimension; a dedicated one has 1
    share: Float[Tensor, "cells densities"]  # of the random starts that reach it
    smaller: Float[Tensor, "cells densities"]  # the benefit of the best product of smaller cells


def run(settings, *, seed=0, device="cpu", progress=True):
    """Always on the CPU and in float64, and the same whatever the seed."""
    return joined(
        [
            _one(settings, cell, progress)
            for cell in sorted(settings.cells, key=lambda cell: cell[::-1])
        ]
    )


def _one(settings, cell, progress):
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    best = best_arrangement(*cell, 1 / inverse_density, progress=progress)
    values = [values[None] for values in (best.W, best.b, best.benefit, best.share, best.benefit)]
    return Result(inverse_density, torch.tensor([cell]), *values)


def shards(settings):
    """A cell at a time, in the order of a Result."""
    return [
        Settings((cell,), settings.inverse_density)
        for cell in sorted(settings.cells, key=lambda cell: cell[::-1])
    ]


def effort(settings):
    """Number of weights of the largest cell."""
    return max(features * dimensions for features, dimensions in settings.cells)


def joined(results):
    """One Result, in which a product of smaller cells takes the place of a cell that saves less."""
    inverse_density, size, W, b, *values = zip(*results)
    features, dimensions = torch.cat(size).amax(dim=0).tolist()
    W = [pad(w, (0, features - w.shape[3], 0, dimensions - w.shape[2])) for w in W]
    b = [pad(of_cell, (0, features - of_cell.shape[2])) for of_cell in b]
    whole = Result(inverse_density[0], *map(torch.cat, (size, W, b, *values)))
    return _completed(whole)


def weights(result, cell, point):
    """W (dimensions, features) and b (features,) of a cell, by index, at a density."""
    features, dimensions = result.size[cell].tolist()
    return result.W[cell, point, :dimensions, :features], result.b[cell, point, :features]


def _completed(result):
    """The result with the best products of smaller cells, in place of cells where they save more."""
    result = Result(*(values.clone() for values in result))
    index = {(1, 1): None} | {tuple(size): cell for cell, size in enumerate(result.size.tolist())}
    nothing, points = torch.zeros_like(result.inverse_density), range(len(result.inverse_density))
    best = {}  # (features, dimensions) -> what is saved (densities,), and the factors of each density
    for dimensions in range(result.size[:, 1].max() + 1):
        for features in range(result.size[:, 0].max() + 1):
            size = features, dimensions
            saved, factors = nothing, [()] * len(points)
            for factor in index:
                rest = features - factor[0], dimensions - factor[1]
                if min(rest) < 0 or factor == size != (1, 1):
                    continue
                of_factor = (
                    nothing + 1 if factor == (1, 1) else result.benefit[index[factor]] * factor[1]
                )
                more = of_factor + best[rest][0]
                better = more > saved + 1e-12
                saved = torch.where(better, more, saved)
                factors = [(factor, *best[rest][1][k]) if better[k] else factors[k] for k in points]
            if index.get(size) is not None:
                cell = index[size]
                result.smaller[cell] = saved / dimensions
                for k in (saved / dimensions > result.benefit[cell]).nonzero()[:, 0].tolist():
                    _take_product(result, cell, k, factors[k], index)
                saved, own = (
                    result.benefit[cell] * dimensions,
                    saved < result.benefit[cell] * dimensions,
                )
                factors = [(size,) if own[k] else factors[k] for k in points]
            best[size] = saved, factors
    return result


def _take_product(result, cell, point, factors, index):
    """Put a product of smaller cells in the place of a cell at a density."""
    (features, dimensions), density = result.size[cell].tolist(), 1 / result.inverse_density[point]
    dedicated = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    placed = [
        dedicated if factor == (1, 1) else weights(result, index[factor], point)
        for factor in factors
    ]
    W, b = assembled(placed, features, dimensions, density)
    result.W[cell, point, :dimensions, :features], result.b[cell, point, :features] = W, b
    if result.smaller[cell, point] - result.benefit[cell, point] > SAME_BENEFIT:
        result.share[cell, point] = 0
    result.benefit[cell, point] = result.smaller[cell, point]


# The committed table


def table():
    """The committed table. Says on stderr where it is that of other code or settings.

    Raises ValueError where FILE is damaged or not a table, FileNotFoundError where there is none.
    """
    result, configuration = cells.read(sys.modules[__name__], FILE)
    now = json.loads(cells.configuration(whole()))
    changed = [
        name for name in ("settings", "code") if json.loads(configuration).get(name) != now[name]
    ]
    if changed:
        print(
            f"{FILE.name}: of other {' and '.join(changed)}; anew: python Section4main.py --table",
            file=sys.stderr,
        )
    return result


def save(result):
    """Write a whole table as the committed one."""
    with claimed(FILE):
        write(FILE, cells.serialized(whole(), result))


def whole():
    """The table as one cell."""
    return cells.Cell(sys.modules[__name__], Settings(), 0, "cpu")


# What it says


def elementary(result, cell, point):
    """Whether an arrangement is better than any product of smaller ones, and `tegum_factors` cannot split it."""
    factors = tegum_factors(weights(result, cell, point)[0])
    features, dimensions = result.size[cell].tolist()
    whole = len(factors) == 1 and (len(factors[0].features), factors[0].rank) == (
        features,
        dimensions,
    )
    return whole and (result.benefit[cell, point] > result.smaller[cell, point] + MARGIN).item()


def mixtures(result, features_per_dimension) -> Mixture:
    """The best mixture for n/m features per dimension: shares of a dedicated dimension, then of the cells."""
    needed = torch.cat(
        (torch.ones(1, dtype=torch.float64), result.size[:, 0] / result.size[:, 1].double())
    )
    dedicated = torch.ones_like(result.benefit[:1])
    of_equals_the_first = 1e-9 * torch.arange(len(needed), dtype=torch.float64)[:, None]
    return best_mixture(
        needed, torch.cat((dedicated, result.benefit)) - of_equals_the_first, features_per_dimension
    )


def members(result) -> Bool[Tensor, "cells densities"]:
    """Which cells are part of the best mixture for some number of features per dimension."""
    needed = (result.size[:, 0] / result.size[:, 1].double()).unique().tolist()
    return torch.stack([mixtures(result, ratio).shares[1:] > MARGIN for ratio in needed]).any(dim=0)


# Figure


def figure(result, shown=SHOWN):
    """Features across, dimensions down, at some 1/(1-S): benefit and name of each cell's arrangement."""
    points = nearest(result.inverse_density, shown).tolist()
    drawing, axes = plt.subplots(
        len(points), 1, figsize=(WIDTH, 4.6 * len(points) + 0.4), layout="constrained"
    )
    of_mixtures = members(result)
    for ax, point in zip(np.atleast_1d(axes), points):
        _table_at(result, point, of_mixtures[:, point], ax)
    note = "bold: elementary, neither a product nor equalled by one; framed: part of the best mixture for some $n/m$"
    drawing.supxlabel(
        f"Benefit per hidden dimension, as shade and number, of which a dedicated one has 1, and name.\n{note}"
    )
    return drawing


def _table_at(result, point, framed, ax):
    """One panel, at a density."""
    features, dimensions = (sorted(set(values)) for values in result.size.T.tolist())
    benefit = result.benefit[:, point]
    colours = Normalize(1, benefit.max().item())
    for cell, ((k, d), value) in enumerate(zip(result.size.tolist(), benefit.tolist())):
        x, y, whole = features.index(k), dimensions.index(d), elementary(result, cell, point)
        edge = (
            {"edgecolor": INK, "linewidth": 2.5, "zorder": 2}
            if framed[cell]
            else {"edgecolor": "white"}
        )
        ax.add_patch(
            Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, facecolor=BENEFIT(colours(value)), **edge)
        )
        arrangement = arrangement_name(weights(result, cell, point)[0])
        label = "\n".join(textwrap.wrap(arrangement, 13, break_long_words=False))
        weight = "bold" if whole else "normal"
        ax.text(x, y - 0.2, f"{value:.4f}", ha="center", va="center", weight=weight)
        ax.text(
            x,
            y + 0.15,
            label,
            ha="center",
            va="center",
            fontsize=TINY,
            weight=weight,
            linespacing=0.95,
        )
    ax.set(
        xlim=(-0.55, len(features) - 0.45), ylim=(len(dimensions) - 0.5, -0.5), xlabel="features"
    )
    ax.set_xticks(range(len(features)), labels=map(str, features))
    ax.set_yticks(range(len(dimensions)), labels=map(str, dimensions))
    ax.set(ylabel="hidden dimensions", title=f"$1/(1-S)={result.inverse_density[point]:g}$")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
