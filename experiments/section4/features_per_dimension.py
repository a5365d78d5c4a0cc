"""Which polytope holds most of the features, over density and features per dimension (ours).

The paper's sweep has far more features than its polytopes can use. Here the sweep of
uniform_superposition.py is run at several n/m. `figure` draws two maps of the polytope that holds
most of the features: as the periodic table predicts it, by the best mixture of its arrangements,
and as trained models show it.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

from collections import Counter
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.colors import to_rgb
from torch import Tensor

from experiments.section4.periodic_table import MARGIN, mixtures, weights
from experiments.section4.uniform_superposition import CROWDED, LONG, QUICK_LONG
from experiments.section4.uniform_superposition import shares as trained_shares
from theory.polytopes import tegum_factors
from visualization import (
    BLANK,
    FINE_DENSITY_TICKS,
    WIDTH,
    described,
    in_palette,
    over_density,
    plain_ticks,
    polytope_colour,
    polytope_legend,
)

# 1/(1-S) of the map's columns.
INVERSE_DENSITY = (
    1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.4, 4.8, 5.4, 6.0,
)  # fmt: skip
SETTINGS = tuple(  # of uniform_superposition.py, in the order of n/m
    replace(LONG, features=features, hidden=12, inverse_density=INVERSE_DENSITY, steps=10_000)
    for features in (16, 18, 24, 36, 60, 120)
)
QUICK = tuple(
    replace(QUICK_LONG, features=features, inverse_density=(1.5, 3.0), steps=200)
    for features in (12, 24)
)
NOTEBOOK = tuple(
    replace(
        CROWDED,
        features=features,
        hidden=12,
        inverse_density=(1.3, 1.5, 1.7, 1.9, 2.1, 2.4, 3.0),
        restarts=1,
        steps=3000,
    )
    for features in (16, 18, 24)
)
TICKS = (1.33, 1.5, 2, 3, 5, 10)  # of features per dimension
PREDICTED_ROWS = 120  # n/m at which the prediction is drawn


def shares(result, features_per_dimension) -> list[dict[str, Float[Tensor, " densities"]]]:
    """Return the predicted share of the features in each polytope, in the best mixture.

    Args:
        result: The predicted_polytopes.Result.
        features_per_dimension: Values of n/m.

    Returns:
        For each n/m the shares at the densities of the periodic table, by polytope.
    """
    return [_mixture_shares(result.table, ratio) for ratio in features_per_dimension]


def _mixture_shares(table, features_per_dimension):
    """Return the share of the features in each polytope at one n/m, at all densities."""
    mixture = mixtures(table, features_per_dimension).shares
    shares = {}
    for point in range(len(table.inverse_density)):
        counts = _polytope_counts(table, mixture[:, point], point)
        for polytope, count in counts.items():
            share = shares.setdefault(polytope, torch.zeros_like(table.inverse_density))
            share[point] = count / counts.total()
    return shares


def _polytope_counts(table, dimension_shares, point):
    """Count the features in each polytope per hidden dimension, in the mixture at one density.

    Args:
        table: The periodic_table.Result.
        dimension_shares: (1 + cells,) Shares of the hidden dimensions: of dedicated ones, then of
            the table's cells.
        point: Index of the density.
    """
    counts = Counter({"dedicated dimension": dimension_shares[0].item()})
    for cell in (dimension_shares[1:] > MARGIN).nonzero()[:, 0].tolist():
        copies = (dimension_shares[1 + cell] / table.size[cell, 1]).item()
        for factor in tegum_factors(weights(table, cell, point)[0]):
            counts[factor.polytope] += copies * len(factor.features)
    return counts


# The figure


def figure(prediction, results):
    """Draw which polytope holds most of the features over density and n/m, predicted and trained.

    Args:
        prediction: The predicted_polytopes.Result.
        results: A uniform_superposition.Result for each n/m, ascending, all with the same m and the
            same densities.
    """
    drawing, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.8), layout="constrained", sharey=True)
    hidden = results[0].W.shape[2]
    fine_ratio = torch.logspace(0.03, 1.05, PREDICTED_ROWS, dtype=torch.float64)
    trained_ratio = torch.tensor(
        [result.W.shape[3] / hidden for result in results], dtype=torch.float64
    )
    predicted = shares(prediction, fine_ratio.tolist())
    trained = [trained_shares(result) for result in results]
    predicted_densities = 1 / prediction.table.inverse_density
    trained_densities = 1 / results[0].inverse_density
    maps = [
        _draw_map(axes[0], predicted_densities, fine_ratio, predicted, "predicted"),
        _draw_map(axes[1], trained_densities, trained_ratio, trained, f"trained, $m={hidden}$"),
    ]
    _limit_to_common(axes, (predicted_densities, trained_densities), (fine_ratio, trained_ratio))
    axes[0].set_ylabel("features per dimension $n/m$ (log scale)")
    present = {name: torch.cat([drawn[name].flatten() for drawn in maps]) for name in maps[0]}
    polytope_legend(drawing, present, "polytope of most represented features")
    return described(
        drawing,
        "Two maps over density and features per dimension, one predicted and one of trained "
        "models, coloured by the polytope that holds most of the represented features.",
    )


def _limit_to_common(axes, densities, ratios):
    """Limit both maps to the ranges that both of them cover."""
    columns = [_log_edges(values) for values in densities]
    rows = [_log_edges(values) for values in ratios]
    axes[0].set_xlim(min(edges.max() for edges in columns), max(edges.min() for edges in columns))
    axes[0].set_ylim(max(edges.min() for edges in rows), min(edges.max() for edges in rows))
    axes[1].set_xlim(axes[0].get_xlim())


def _draw_map(ax, density, ratio, rows, title):
    """Draw one map: the colour of a cell is that of the polytope with the largest share.

    Args:
        ax: Where to draw.
        density: (columns,) Densities.
        ratio: (rows,) Features per dimension.
        rows: For each ratio the shares (columns,) of the polytopes, by name.
        title: Title of the map.

    Returns:
        For each polytope of the palette a tensor (rows, columns) that is 1 where its colour is
        shown and 0 elsewhere.
    """
    palette_rows = [in_palette(shares) for shares in rows]
    names = list(palette_rows[0])
    stacked = torch.stack([torch.stack(list(shares.values())) for shares in palette_rows])
    largest = stacked.max(dim=1)  # values and indices (rows, columns)
    colours = np.array([to_rgb(polytope_colour(name)) for name in names])
    any_share = largest.values > 0
    image = np.where(any_share.numpy()[..., None], colours[largest.indices.numpy()], to_rgb(BLANK))
    ax.pcolormesh(_log_edges(density), _log_edges(ratio), image, rasterized=True)
    ax.set(yscale="log", title=title)
    plain_ticks(ax.yaxis, TICKS)
    over_density(ax, density, FINE_DENSITY_TICKS)
    return {
        name: ((largest.indices == index) & any_share).double() for index, name in enumerate(names)
    }


def _log_edges(values):
    """Return the edges of cells around monotonic values, half-way on a logarithmic scale.

    There is one more edge than there are values.
    """
    middles = (values[1:] * values[:-1]).sqrt()
    first = values[:1] ** 2 / middles[:1]
    last = values[-1:] ** 2 / middles[-1:]
    return torch.cat((first, middles, last)).numpy()
