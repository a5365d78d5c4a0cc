"""The periodic table of superposition: the best arrangement of k features in d dimensions (ours).

For features of equal importance and density, few enough for the exact loss, the table holds the
best known weights at each density, whatever arrangement they form. From the benefit per dimension
of each arrangement, and from the best mixture of them, follows what uniform superposition should
look like at each density for any number of features. The table ends at ten features in five
dimensions and twelve in four, so that what leads in it may be beaten by something larger. Polytopes
(theory/polytopes.py) only lend their names. `figure` draws the table at three densities.

The table takes long to compute and depends on no seed, so that it is committed:
`python Section4main.py --table` computes it and writes FILE, and `table` reads it.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import json
import sys
import textwrap
from dataclasses import dataclass
from itertools import product
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
from theory.arrangements import SAME_BENEFIT, best_arrangement
from theory.packing import Mixture, assembled, best_mixture, check_inverse_density
from theory.polytopes import arrangement_name, tegum_factors
from visualization import BLANK, INK, SHARED, TINY, WIDTH, described, nearest

SEEDED = False  # the random starts are always the same ones
FILE = Path(__file__).with_suffix(".safetensors")
# Sizes (features, dimensions) of the table. Left out are more features than d dimensions can use.
CELLS = (
    *((features, 1) for features in range(2, 5)),
    *((features, 2) for features in range(3, 9)),
    *((features, 3) for features in range(4, 11)),
    *((features, 4) for features in range(5, 11)),
    *((features, 5) for features in range(6, 11)),
    *((12, dimensions) for dimensions in (3, 4)),
)
DEDICATED_DIMENSION = (1, 1)  # its size; it is part of products, but no cell of the table
MARGIN = 1e-6  # difference of benefits above which one arrangement counts as better than another
ROUNDING = 1e-12  # difference of what products save that is due to rounding
# How figures name what leads in the table, beyond which there may be better arrangements.
TABLE_BEST = "best in the periodic table (to 10 features in 5 dimensions)"
SHOWN = (0.77, 0.217, 0.125)  # densities at which the table is drawn
BENEFIT_COLOURS = LinearSegmentedColormap.from_list("benefit", [BLANK, SHARED])


@dataclass(frozen=True)
class Settings:
    """The sizes and densities of the table."""

    cells: tuple[tuple[int, int], ...] = CELLS  # (features, dimensions)
    # 1/(1-S), closest together where one arrangement gives way to another.
    inverse_density: tuple[float, ...] = (
        1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.55, 1.6, 1.7, 1.85, 2.0, 2.5, 3.0,
        3.5, 4.0, 4.2, 4.4, 4.6, 4.8, 5.0, 5.5, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0,
    )  # fmt: skip

    def __post_init__(self):
        """Refuse values out of range."""
        check_inverse_density(self.inverse_density)
        if not self.cells or any(not 1 <= d < k for k, d in self.cells):
            raise ValueError(
                "cells: expected at least one (features, dimensions) with fewer dimensions than "
                f"features, got {self.cells!r}"
            )


QUICK = Settings(((2, 1), (3, 2), (4, 3), (5, 2)), (1.2, 1.5, 3.0, 4.4, 5.0, 8.0))


class Result(NamedTuple):
    """The table, with its cells in the order of their dimensions, then of their features.

    W and b of smaller cells are padded with zeros.
    """

    inverse_density: Float[Tensor, " densities"]
    size: Int[Tensor, "cells 2"]  # features, dimensions
    W: Float[Tensor, "cells densities dimensions features"]
    b: Float[Tensor, "cells densities features"]
    benefit: Float[Tensor, "cells densities"]  # per dimension; a dedicated one has 1
    share: Float[Tensor, "cells densities"]  # of the random starts that reach the best loss
    smaller: Float[Tensor, "cells densities"]  # benefit of the best product of smaller cells


def run(settings, *, seed=0, device="cpu", progress=True):
    """Compute the table, always on the CPU in float64. The result does not depend on the seed."""
    return joined([_one_cell(part, progress) for part in shards(settings)])


def _one_cell(settings, progress):
    """Compute a table of one cell, not yet compared with products of smaller cells."""
    (cell,) = settings.cells
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    best = best_arrangement(*cell, 1 / inverse_density, progress=progress)
    return Result(
        inverse_density=inverse_density,
        size=torch.tensor([cell]),
        W=best.W[None],
        b=best.b[None],
        benefit=best.benefit[None],
        share=best.share[None],
        smaller=best.benefit[None],
    )


def shards(settings):
    """Split the table into its cells, in the order of a Result."""
    ordered = sorted(settings.cells, key=lambda cell: (cell[1], cell[0]))
    return [Settings((cell,), settings.inverse_density) for cell in ordered]


def effort(settings):
    """Number of weights of the largest cell."""
    return max(features * dimensions for features, dimensions in settings.cells)


def joined(results):
    """Join tables of one cell each, and let products replace the cells that they surpass."""
    size = torch.cat([result.size for result in results])
    features, dimensions = size.amax(dim=0).tolist()
    W = [
        pad(result.W, (0, features - result.W.shape[3], 0, dimensions - result.W.shape[2]))
        for result in results
    ]
    b = [pad(result.b, (0, features - result.b.shape[2])) for result in results]
    return _completed(
        Result(
            inverse_density=results[0].inverse_density,
            size=size,
            W=torch.cat(W),
            b=torch.cat(b),
            benefit=torch.cat([result.benefit for result in results]),
            share=torch.cat([result.share for result in results]),
            smaller=torch.cat([result.smaller for result in results]),
        )
    )


def weights(result, cell, point):
    """Return W (dimensions, features) and b (features,) of a cell at a density, both by index."""
    features, dimensions = result.size[cell].tolist()
    return result.W[cell, point, :dimensions, :features], result.b[cell, point, :features]


# Products of smaller cells


class _Best(NamedTuple):
    """What saves most in some number of dimensions, and of which cells it is the product."""

    saved: Float[Tensor, " densities"]  # benefit per dimension, summed over the dimensions
    factors: list[tuple[tuple[int, int], ...]]  # at each density the sizes of the factors


def _completed(result):
    """Return the table with the best product of smaller cells wherever it beats the cell itself.

    Sizes are visited in ascending order, so that the best of every smaller size is known.
    """
    result = Result(*(values.clone() for values in result))
    cells = {tuple(size): cell for cell, size in enumerate(result.size.tolist())}
    features, dimensions = result.size.amax(dim=0).tolist()
    best = {}  # (features, dimensions) -> _Best
    for size in product(range(features + 1), range(dimensions + 1)):
        best[size] = _best_product(result, cells, best, size)
        if size in cells:
            best[size] = _better_of_cell_and_product(result, cells, best[size], size)
    return result


def _best_product(result, cells, best, size):
    """Return the best product of one smaller cell and the best of the size that remains."""
    saved = torch.zeros_like(result.inverse_density)
    factors = [()] * len(saved)
    for factor in (DEDICATED_DIMENSION, *cells):
        rest = (size[0] - factor[0], size[1] - factor[1])
        is_the_whole = factor == size and size != DEDICATED_DIMENSION
        if min(rest) < 0 or is_the_whole:
            continue
        candidate = _saved(result, cells, factor) + best[rest].saved
        better = candidate > saved + ROUNDING
        saved = torch.where(better, candidate, saved)
        for point in better.nonzero()[:, 0].tolist():
            factors[point] = (factor, *best[rest].factors[point])
    return _Best(saved, factors)


def _saved(result, cells, size):
    """Return the benefit of a cell or a dedicated dimension, summed over its dimensions."""
    if size == DEDICATED_DIMENSION:
        return torch.ones_like(result.inverse_density)
    return result.benefit[cells[size]] * size[1]


def _better_of_cell_and_product(result, cells, best_product, size):
    """Replace a cell by the product where that saves more; return the better of both."""
    cell = cells[size]
    result.smaller[cell] = best_product.saved / size[1]
    for point in (result.smaller[cell] > result.benefit[cell]).nonzero()[:, 0].tolist():
        _take_product(result, cells, cell, point, best_product.factors[point])
    saved = _saved(result, cells, size)
    factors = [
        (size,) if cell_is_better else product_factors
        for cell_is_better, product_factors in zip(
            (best_product.saved < saved).tolist(), best_product.factors
        )
    ]
    return _Best(saved, factors)


def _take_product(result, cells, cell, point, factors):
    """Put a product of smaller cells in the place of a cell at one density."""
    features, dimensions = result.size[cell].tolist()
    dedicated = (torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    placed = [
        dedicated if factor == DEDICATED_DIMENSION else weights(result, cells[factor], point)
        for factor in factors
    ]
    W, b = assembled(placed, features, dimensions, 1 / result.inverse_density[point])
    result.W[cell, point, :dimensions, :features] = W
    result.b[cell, point, :features] = b
    if result.smaller[cell, point] - result.benefit[cell, point] > SAME_BENEFIT:
        result.share[cell, point] = 0
    result.benefit[cell, point] = result.smaller[cell, point]


# The committed table


def table():
    """Read the committed table.

    If it was computed by other code or with other settings, one line on stderr says so.

    Raises:
        ValueError: FILE is damaged or not a table.
        FileNotFoundError: FILE is missing.
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
    """Return the whole table as one cell of a sweep."""
    return cells.Cell(sys.modules[__name__], Settings(), 0, "cpu")


# What it says


def elementary(result, cell, point) -> bool:
    """Return whether an arrangement is in one piece and better than any product of smaller ones."""
    features, dimensions = result.size[cell].tolist()
    factors = tegum_factors(weights(result, cell, point)[0])
    if len(factors) != 1:
        return False
    fills_the_cell = (len(factors[0].features), factors[0].rank) == (features, dimensions)
    better = result.benefit[cell, point] > result.smaller[cell, point] + MARGIN
    return fills_the_cell and better.item()


def mixtures(result, features_per_dimension) -> Mixture:
    """Return the best mixture at each density for n/m features per dimension.

    Its kinds are a dedicated dimension, then the cells. Of equal ones the first is taken.
    """
    dedicated = torch.ones_like(result.benefit[:1])
    benefit = torch.cat((dedicated, result.benefit))
    tie_break = 1e-9 * torch.arange(len(benefit), dtype=torch.float64)[:, None]
    needed = torch.cat((torch.ones(1, dtype=torch.float64), _features_per_dimension(result)))
    return best_mixture(needed, benefit - tie_break, features_per_dimension)


def members(result) -> Bool[Tensor, "cells densities"]:
    """Return which cells are part of the best mixture for some number of features per dimension."""
    ratios = _features_per_dimension(result).unique().tolist()
    return torch.stack([mixtures(result, ratio).shares[1:] > MARGIN for ratio in ratios]).any(dim=0)


def _features_per_dimension(result):
    """(cells,)."""
    return result.size[:, 0] / result.size[:, 1].double()


# The figure


def figure(result, shown=SHOWN):
    """Draw the table at some densities, with the benefit and the name of each cell's arrangement.

    Args:
        result: The Result.
        shown: Densities of the panels.
    """
    points = nearest(1 / result.inverse_density, shown).tolist()
    drawing, axes = plt.subplots(
        len(points), 1, figsize=(WIDTH, 4.6 * len(points) + 0.4), layout="constrained"
    )
    framed = members(result)
    for ax, point in zip(np.atleast_1d(axes), points):
        _draw_table(result, point, framed[:, point], ax)
    drawing.supxlabel(
        "Number: benefit per hidden dimension, of which a dedicated one has 1; shade: the same, up "
        "to the most in its table.\nBold: elementary, neither a product nor equalled by one. "
        "Framed: part of the best mixture for some $n/m$."
    )
    return described(
        drawing,
        "Tables at some densities with a row for each number of dimensions and a column for each "
        "number of features: each cell has the benefit per hidden dimension and the name of the "
        "best arrangement known, bold where it is elementary.",
    )


def _draw_table(result, point, framed, ax):
    """Draw the table at one density, features across and dimensions down."""
    features = sorted(set(result.size[:, 0].tolist()))
    dimensions = sorted(set(result.size[:, 1].tolist()))
    shade = Normalize(1, result.benefit[:, point].max().item())
    for cell, (k, d) in enumerate(result.size.tolist()):
        colour = BENEFIT_COLOURS(shade(result.benefit[cell, point].item()))
        place = (features.index(k), dimensions.index(d))
        _draw_cell(result, cell, point, place, colour, framed[cell], ax)
    ax.set(
        xlim=(-0.55, len(features) - 0.45), ylim=(len(dimensions) - 0.5, -0.5), xlabel="features"
    )
    ax.set_xticks(range(len(features)), labels=map(str, features))
    ax.set_yticks(range(len(dimensions)), labels=map(str, dimensions))
    ax.set(ylabel="hidden dimensions", title=f"density {1 / result.inverse_density[point]:.2g}")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _draw_cell(result, cell, point, place, colour, framed, ax):
    """Draw one cell around a place (x, y), with its benefit and the name of its arrangement."""
    x, y = place
    edge = {"edgecolor": "white"}
    if framed:
        edge = {"edgecolor": INK, "linewidth": 2.5, "zorder": 2}
    ax.add_patch(Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, facecolor=colour, **edge))
    name = arrangement_name(weights(result, cell, point)[0])
    wrapped = "\n".join(textwrap.wrap(name, 13, break_long_words=False))
    style = {
        "ha": "center",
        "va": "center",
        "weight": "bold" if elementary(result, cell, point) else "normal",
    }
    ax.text(x, y - 0.2, f"{result.benefit[cell, point]:.4f}", **style)
    ax.text(x, y + 0.15, wrapped, fontsize=TINY, linespacing=0.95, **style)
