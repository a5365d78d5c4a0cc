"""Which polytope is best at which density, predicted from the exact loss with nothing trained (ours; packing.py).

The staircase that these predictions make is drawn over the paper's scatter of dimensionalities in uniform.py; here what
each polytope saves, and which holds most features for each number of features per dimension.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.colors import to_rgb
from torch import Tensor

import packing
from packing import PolytopeOptimum, best_mixture, logarithmic
from polytopes import PAPER_POLYTOPES, POLYTOPES, check_polytopes
from visualization import (
    BLANK,
    INK,
    POLYTOPE_COLOURS,
    WIDTH,
    in_palette,
    over_inverse_density,
    polytope_colour,
    polytope_legend,
)

SEEDED = False  # there is no chance in it
FEATURES_PER_DIMENSION_TICKS = (1.33, 1.5, 2, 3, 5, 10)


@dataclass(frozen=True)
class Settings:
    inverse_density: tuple[float, ...] = logarithmic(1.01, 20, 48)  # 1/(1-S)
    polytopes: tuple[str, ...] = tuple(POLYTOPES)

    def __post_init__(self):
        packing.check_inverse_density(self.inverse_density)
        check_polytopes(self.polytopes)


QUICK = Settings(logarithmic(1.05, 20, 12), ("dedicated dimension", *PAPER_POLYTOPES))


class Result(NamedTuple):
    inverse_density: Float[Tensor, " densities"]
    polytope: Int[Tensor, " polytopes"]  # which of POLYTOPES, ascending
    benefit: Float[Tensor, "polytopes densities"]  # as a PolytopeOptimum has it, and the others
    scale: Float[Tensor, "polytopes densities"]
    bias: Float[Tensor, "polytopes densities"]
    stretch: Float[Tensor, "polytopes densities"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Always on the CPU and in float64, and the same whatever the seed."""
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    names = [name for name in POLYTOPES if name in settings.polytopes]
    found = packing.polytope_optima(1 / inverse_density, names, progress=progress)
    indices = torch.tensor([list(POLYTOPES).index(name) for name in names])
    return Result(inverse_density, indices, *(torch.stack(values) for values in zip(*found.values())))


def shards(settings):
    """A polytope at a time; those of many features take nearly all of the time."""
    return [replace(settings, polytopes=(name,)) for name in POLYTOPES if name in settings.polytopes]


def joined(results):
    inverse_density, *of_polytopes = zip(*results)
    return Result(inverse_density[0], *(torch.cat(values) for values in of_polytopes))


# The predictions


def optima(result) -> dict[str, PolytopeOptimum]:
    """The optimum of each polytope, by name, over the densities."""
    names = list(POLYTOPES)
    return {names[k]: PolytopeOptimum(*values) for k, *values in zip(result.polytope.tolist(), *result[2:])}


def windows(result):
    """Where each polytope is the best, in features without end: [(name, lowest, highest 1/(1-S))]."""
    return packing.windows(1 / result.inverse_density, optima(result))


def best_at(result, inverse_density):
    """The polytope that is the best at one 1/(1-S); None outside of the predicted range."""
    inside = (name for name, low, high in windows(result) if low <= inverse_density <= high)
    return next(inside, None)


def shortfall(result, polytope, inverse_density):
    """By what share a polytope saves less than the best at one 1/(1-S), interpolated between densities."""
    x, at = result.inverse_density.log().numpy(), np.log(inverse_density)
    saved = {name: np.interp(at, x, optimum.benefit.numpy()).item() for name, optimum in optima(result).items()}
    return 1 - saved[polytope] / max(saved.values())


def dimensions_per_feature(result) -> tuple[Float[Tensor, " densities"], Float[Tensor, " densities"]]:
    """1/(1-S) and the predicted D* = m / ||W||_F^2 with features without end."""
    of_polytopes = optima(result)
    mixture = best_mixture(of_polytopes)
    return result.inverse_density, packing.predicted_dimensions_per_feature(mixture, of_polytopes)


def shares(result, features_per_dimension) -> list[dict[str, Float[Tensor, " densities"]]]:
    """For each n/m the predicted share of the features in each polytope."""
    of_polytopes = optima(result)
    return [best_mixture(of_polytopes, ratio).of_features() for ratio in features_per_dimension]


# Figures


def figure(result, trained, started):
    """What each polytope saves per hidden dimension over 1/(1-S), dense features apart, and what models reach.

    trained: the uniform.Result of a sweep; started: the started.Result. Lines and dots have the colours of polytopes
    """
    drawing, axes = plt.subplots(1, 2, figsize=(WIDTH, 5.6), layout="constrained")
    x = result.inverse_density
    for ax, low, high in zip(axes, (1.0, 1.6), (1.6, x.max().item())):
        shown = (x >= low / 1.05) & (x <= high * 1.05)
        for name, optimum in optima(result).items():
            style = {"linewidth": 2} if name in POLYTOPE_COLOURS else {"linewidth": 0.8, "linestyle": ":"}
            colour = polytope_colour(name)
            ax.plot(x[shown].numpy(), optimum.benefit[shown].numpy(), color=colour, label=name, **style)
        _dots(ax, trained.inverse_density, trained.benefit[:, 0], INK, "trained from random weights", low, high)
        for name, benefit in zip(PAPER_POLYTOPES, started.benefit.T):
            _dots(ax, started.inverse_density, benefit, polytope_colour(name), f"trained from: {name}", low, high)
        over_inverse_density(ax)
        ax.set(xlabel="$1/(1-S)$ (log scale)", xlim=(low, high), ylabel="benefit per dimension (a dedicated one: 1)")
    drawing.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8.5)
    return drawing


def _dots(ax, inverse_density, benefit, colour, label, low, high):
    near = (inverse_density >= low) & (inverse_density <= high)
    x, y = inverse_density[near].numpy(), benefit[near].numpy()
    ax.plot(x, y, "o", color=colour, markersize=5, mec=INK, label=label)


def map_figure(result, results, shares_of_results):
    """Which polytope holds most of the represented features over 1/(1-S) and n/m: predicted and trained.

    results: a uniform.Result for each n/m, ascending, at the same m and densities; shares_of_results: their shares
    """
    drawing, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.8), layout="constrained", sharey=True)
    fine = torch.logspace(0.03, 1.05, 120, dtype=torch.float64)
    hidden = results[0].W.shape[2]
    ratio = torch.tensor([of_ratio.W.shape[3] / hidden for of_ratio in results], dtype=torch.float64)
    predicted = shares(result, fine.tolist())
    edges = [
        _polytope_map(axes[0], result.inverse_density, fine, predicted, "predicted"),
        _polytope_map(axes[1], results[0].inverse_density, ratio, shares_of_results, f"trained, $m={hidden}$"),
    ]
    across, up = zip(*edges)
    axes[0].set_xlim(max(x.min() for x in across), min(x.max() for x in across))  # where both are known
    axes[0].set_ylim(max(y.min() for y in up), min(y.max() for y in up))
    axes[1].set_xlim(axes[0].get_xlim())
    axes[0].set_ylabel("features per dimension $n/m$ (log scale)")
    polytope_legend(drawing, "polytope of most represented features")
    return drawing


def _polytope_map(ax, inverse_density, ratio, rows, title):
    """One map: rows {polytope: share (columns,)} at each n/m; -> edges of its columns and of its rows."""
    rows = [in_palette(shares) for shares in rows]
    most = torch.stack([torch.stack(list(shares.values())) for shares in rows]).max(dim=1)  # (rows, columns)
    image = np.array([to_rgb(polytope_colour(name)) for name in rows[0]])[most.indices.numpy()]
    image = np.where(most.values.numpy()[..., None] > 0, image, to_rgb(BLANK))
    edges = _log_edges(inverse_density), _log_edges(ratio)
    ax.pcolormesh(*edges, image, rasterized=True)
    ax.set(yscale="log", title=title, xlabel="$1/(1-S)$ (log scale)")
    ax.set_yticks(FEATURES_PER_DIMENSION_TICKS, labels=[f"{tick:g}" for tick in FEATURES_PER_DIMENSION_TICKS])
    ax.set_yticks([], minor=True)
    over_inverse_density(ax)
    return edges


def _log_edges(values):
    """Edges of cells around ascending or descending values, half-way on a logarithmic scale: one more than values."""
    middles = (values[1:] * values[:-1]).sqrt()
    return torch.cat((values[:1] ** 2 / middles[:1], middles, values[-1:] ** 2 / middles[-1:])).numpy()
