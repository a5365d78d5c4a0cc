"""Regular polygons of rare features in two dimensions, for any values of an active feature.

Where features are rare, almost every row that is not empty has one active feature. A polygon's
feature of squared norm c is then returned as ReLU(c v + b), and disturbs a feature at some angle by
ReLU(c cos(angle) v + b). In the limit of density 0 the empty row, which no loss must come from,
demands b <= 0, and the loss is an integral over one value.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from features import Uniform
from theory.descents import maximize
from theory.vertices import polygon

SMALLEST = 4  # vertices; a triangle loses nothing either, and its threshold would be a b above 0
SAME = 1e-11  # difference of two losses of a polygon, of which that of the smaller norm is kept
SCANNED = 40  # scales of a grid, and biases for each
DESCENTS = 4  # from the best points of the grid


# Values


def tail_moments(values, threshold: Float[Tensor, "*shape"]) -> list[Float[Tensor, "*shape"]]:
    """Return E[v^k, v > threshold] of an active feature's value v, for k = 0, 1 and 2.

    Args:
        values: A `Uniform` range or a tuple of equally likely numbers, all at least 0.
        threshold: Thresholds.
    """
    if isinstance(values, Uniform):
        low, high = values.low, values.high
        start = threshold.clamp(low, high)
        return [(high**k - start**k) / (k * (high - low)) for k in (1, 2, 3)]
    points = torch.tensor(values, dtype=torch.float64)
    above = points > threshold[..., None]
    return [(above * points**k).mean(dim=-1) for k in (0, 1, 2)]


def mean_and_square(values) -> tuple[float, float]:
    """Return E[v] and E[v^2] of an active feature's value v."""
    _, first, second = tail_moments(values, torch.zeros((), dtype=torch.float64))
    return first.item(), second.item()


# Polygons


class Limit(NamedTuple):
    """A regular polygon at its best, in the limit of rare features."""

    loss: Float[Tensor, ""]  # of a feature, as a share of that of ignoring it
    norm: Float[Tensor, ""]
    bias: Float[Tensor, ""]


def limit_loss(vertices: int, c: Float[Tensor, " points"], b, values) -> Float[Tensor, " points"]:
    """Return the loss of a polygon's feature where only rows with one active feature count.

    Args:
        vertices: Number of the polygon's vertices.
        c: Squared norms of its features, above 0.
        b: Biases (points,), at most 0.
        values: Values of an active feature.

    Returns:
        The squared errors of one output, its own feature active or one of the others, as a share of
        E[v^2], what it costs to ignore a feature.
    """
    own = (polygon(vertices).T @ polygon(vertices))[0, 1:] * c[:, None]  # slopes of the others
    others = _positive_square(own, b[:, None], values).sum(dim=1)
    square = mean_and_square(values)[1]
    ends, first, second = tail_moments(values, -b / c)
    kept = (1 - c) ** 2 * second - 2 * (1 - c) * b * first + b**2 * ends
    return (square - second + kept + others) / square


def _positive_square(slope, b, values):
    """Return E[ReLU(slope v + b)^2] for biases b of at most 0."""
    rises = slope > 0
    threshold = torch.where(rises, -b / slope.where(rises, 1), torch.inf)
    ends, first, second = tail_moments(values, threshold)
    return slope**2 * second + 2 * slope * b * first + b**2 * ends


def threshold_polygon(vertices: int, values) -> tuple[float, float]:
    """Return the squared norm c and the bias b that return the highest value h, and nothing else.

    The neighbours of an active feature are just not disturbed, c cos(2 pi / n) h + b = 0, and the
    highest value is returned as it is, c h + b = h.
    """
    cosine = math.cos(2 * math.pi / vertices)
    return 1 / (1 - cosine), -_highest(values) * cosine / (1 - cosine)


def _highest(values):
    return values.high if isinstance(values, Uniform) else values[-1]


def polygon_limit(vertices: int, values) -> Limit:
    """Find the best scale and bias of a polygon in the limit of rare features.

    A grid of scales and biases is scanned, and its best points descend, along with the threshold
    of `threshold_polygon`.

    Args:
        vertices: Number of vertices, at least 4.
        values: Values of an active feature.
    """
    highest = _highest(values)
    c, b = threshold_polygon(vertices, values)
    norms = torch.linspace(0.2, math.sqrt(c) + 0.5, SCANNED, dtype=torch.float64)
    shares = torch.linspace(0, 1, SCANNED, dtype=torch.float64)  # of -c h, where nothing is left
    norm, share = torch.meshgrid(norms, shares, indexing="ij")
    grid = torch.stack([norm, -share * norm**2 * highest]).flatten(1)
    threshold = torch.tensor([math.sqrt(c), min(b, 0.0)], dtype=torch.float64)[:, None]

    def losses(parameters):
        return limit_loss(vertices, parameters[0] ** 2, -parameters[1].abs(), values)

    starts = torch.cat([threshold, grid[:, losses(grid).argsort()[:DESCENTS]]], dim=1)
    reached = maximize(lambda parameters: -losses(parameters), starts, steps=100)
    found = torch.cat([threshold, reached], dim=1)
    loss = losses(found)
    best = found[0].abs().where(loss <= loss.min() + SAME, torch.inf).argmin()
    return Limit(loss[best], found[0, best].abs(), -found[1, best].abs())
