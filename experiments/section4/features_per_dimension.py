"""Which polytope holds most of the features, as they crowd into fewer dimensions and become sparse (ours)?

uniform.py at one n/m after another, beside what the periodic table predicts: the best mixture of its arrangements.
"""

from collections import Counter
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.colors import to_rgb
from torch import Tensor

from experiments.section4.periodic_table import MARGIN, mixtures, weights
from experiments.section4.uniform_superposition import LONG, QUICK_LONG
from experiments.section4.uniform_superposition import shares as trained_shares
from theory.polytopes import tegum_factors
from visualization import (
    BLANK,
    WIDTH,
    in_palette,
    over_inverse_density,
    plain_ticks,
    polytope_colour,
    polytope_legend,
)

DENSITIES = (1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.4, 4.8, 5.4, 6.0)
SETTINGS = tuple(  # of uniform.py
    replace(LONG, features=features, hidden=12, inverse_density=DENSITIES, steps=10_000)
    for features in (16, 18, 24, 36, 60, 120)
)
QUICK = tuple(
    replace(QUICK_LONG, features=n, inverse_density=(1.5, 3.0), steps=200) for n in (12, 24)
)
FEATURES_PER_DIMENSION_TICKS = (1.33, 1.5, 2, 3, 5, 10)


def shares(result, features_per_dimension) -> list[dict[str, Float[Tensor, " densities"]]]:
    """For each n/m the predicted share of the features in each polytope, in the best mixture."""
    return [_shares(result.table, ratio) for ratio in features_per_dimension]


def _shares(table, features_per_dimension):
    shares, of_features = mixtures(table, features_per_dimension).shares, {}
    for k in range(len(table.inverse_density)):
        here = Counter({"dedicated dimension": shares[0, k].item()})
        for cell in (shares[1:, k] > MARGIN).nonzero()[:, 0].tolist():
            copies = (shares[1 + cell, k] / table.size[cell, 1]).item()
            for factor in tegum_factors(weights(table, cell, k)[0]):
                here[factor.polytope] += copies * len(factor.features)
        for polytope, count in here.items():
            share = of_features.setdefault(polytope, torch.zeros_like(table.inverse_density))
            share[k] = count / here.total()
    return of_features


# Figure


def figure(prediction, results):
    """Which polytope holds most of the represented features over 1/(1-S) and n/m: predicted and trained.

    prediction: the predicted.Result; results: a uniform.Result for each n/m, ascending, at the same m and densities
    """
    drawing, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.8), layout="constrained", sharey=True)
    fine = torch.logspace(0.03, 1.05, 120, dtype=torch.float64)
    hidden = results[0].W.shape[2]
    ratio = torch.tensor(
        [of_ratio.W.shape[3] / hidden for of_ratio in results], dtype=torch.float64
    )
    predicted, trained = (
        shares(prediction, fine.tolist()),
        [trained_shares(of_ratio) for of_ratio in results],
    )
    drawn = [
        _draw_map(axes[0], prediction.table.inverse_density, fine, predicted, "predicted"),
        _draw_map(axes[1], results[0].inverse_density, ratio, trained, f"trained, $m={hidden}$"),
    ]
    across, up, most = zip(*drawn)
    axes[0].set_xlim(
        max(x.min() for x in across), min(x.max() for x in across)
    )  # where both are known
    axes[0].set_ylim(max(y.min() for y in up), min(y.max() for y in up))
    axes[1].set_xlim(axes[0].get_xlim())
    axes[0].set_ylabel("features per dimension $n/m$ (log scale)")
    there = {name: torch.cat([of_map[name].flatten() for of_map in most]) for name in most[0]}
    polytope_legend(drawing, there, "polytope of most represented features")
    return drawing


def _draw_map(ax, inverse_density, ratio, rows, title):
    """One map: rows {polytope: share (columns,)} at each n/m.

    -> edges of its columns, of its rows, and {polytope: 1 where it is shown (rows, columns)}
    """
    rows = [in_palette(shares) for shares in rows]
    most = torch.stack([torch.stack(list(shares.values())) for shares in rows]).max(
        dim=1
    )  # (rows, columns)
    image = np.array([to_rgb(polytope_colour(name)) for name in rows[0]])[most.indices.numpy()]
    image = np.where(most.values.numpy()[..., None] > 0, image, to_rgb(BLANK))
    edges = _log_edges(inverse_density), _log_edges(ratio)
    ax.pcolormesh(*edges, image, rasterized=True)
    ax.set(yscale="log", title=title)
    plain_ticks(ax.yaxis, FEATURES_PER_DIMENSION_TICKS)
    over_inverse_density(ax)
    return *edges, {
        name: ((most.indices == k) & (most.values > 0)).double() for k, name in enumerate(rows[0])
    }


def _log_edges(values):
    """Edges of cells around ascending or descending values, half-way on a logarithmic scale: one more than values."""
    middles = (values[1:] * values[:-1]).sqrt()
    return torch.cat(
        (values[:1] ** 2 / middles[:1], middles, values[-1:] ** 2 / middles[-1:])
    ).numpy()
