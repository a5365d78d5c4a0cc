"""Exhaustive scan of the exact loss of n=2, m=1 over weights and biases.

The scan gives the starts of the descents that find the global optimum (`theory.phases`).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from features import FeatureDistribution
from losses.exact import expected_loss

# Spacing of the scanned grid, over weights and over biases.
SCAN_STEP = 0.05
# The scan goes over weights from minus this to this.
LARGEST_WEIGHT = 1.4
# The scan goes over biases from the first of these to the second.
LOWEST_BIAS = -1.0
HIGHEST_BIAS = 1.0
# Number of local minima of the scanned grid that are refined at each point.
CANDIDATES = 6


class Starts(NamedTuple):
    """Weights and biases at which descents start."""

    W: Float[Tensor, "points starts hidden features"]
    b: Float[Tensor, "points starts features"]


def scanned_starts(
    density: Float[Tensor, " points"], ratio: Float[Tensor, " points"], *, progress: bool = True
) -> Starts:
    """Return the lowest local minima of the scanned grid at each point.

    For fixed weights the loss is a sum over the two outputs, each with its own bias. So for every
    density one table holds the first output's loss on a grid of both weights, at its best bias. The
    second output's table is the same with the weights exchanged, and every ratio uses both.

    Args:
        density: Density of both features, in (0, 1].
        ratio: Importance of the second feature relative to that of the first.
        progress: Whether to show a bar on stderr.

    Returns:
        CANDIDATES starts for each point. A point with fewer minima repeats its lowest.
    """
    weights = torch.arange(
        -LARGEST_WEIGHT, LARGEST_WEIGHT + SCAN_STEP / 2, SCAN_STEP, dtype=torch.float64
    )
    W = torch.empty(len(density), CANDIDATES, 1, 2, dtype=torch.float64)
    b = torch.empty(len(density), CANDIDATES, 2, dtype=torch.float64)
    for s in tqdm(density.unique().tolist(), desc="scan", disable=not progress, leave=False):
        points = (density == s).nonzero().flatten()
        table, bias = _first_output(weights, s)
        total = table + ratio[points, None, None] * table.T  # (points, w_1, w_2)
        # Turning both signs changes nothing, so the first weight need not be negative.
        half = len(weights) // 2
        first, second = _lowest_minima(total[:, half:], CANDIDATES)
        first = first + half
        W[points] = torch.stack((weights[first], weights[second]), dim=-1)[:, :, None]
        b[points] = torch.stack((bias[first, second], bias[second, first]), dim=-1)
    return Starts(W, b)


def _first_output(weights, density):
    """Return the first output's loss at its best bias, and this bias, over both weights.

    Returns:
        Two tables (weights, weights), over w_1 and w_2.
    """
    W = torch.cartesian_prod(weights, weights)[:, None]  # (grid, hidden 1, features 2)
    # Turning both signs changes nothing, so one half of the grid gives the other.
    half = W[:, 0, 0] >= 0
    W = W[half]
    biases = torch.arange(LOWEST_BIAS, HIGHEST_BIAS + SCAN_STEP / 2, SCAN_STEP, dtype=torch.float64)
    first_alone = torch.tensor([1.0, 0.0])
    distribution = FeatureDistribution(density, first_alone, instances=len(W) * len(biases))
    b = torch.stack((biases, torch.zeros_like(biases)), dim=1).repeat(len(W), 1)
    losses = expected_loss(W.repeat_interleave(len(biases), dim=0), b, distribution)
    lowest, at = losses.view(len(W), -1).min(dim=1)
    tables = []
    for values in (lowest, biases[at]):
        table = torch.empty(len(weights) ** 2, dtype=torch.float64)
        table[half] = values
        table[half.flip(0)] = values.flip(0)
        tables.append(table.view(len(weights), -1))
    return tables


def _lowest_minima(total, count):
    """Return the grid indices of the lowest local minima of each point: each (points, count)."""
    highest = torch.nn.functional.max_pool2d(-total[:, None], kernel_size=3, stride=1, padding=1)
    minima = torch.where(total <= -highest[:, 0], total, torch.inf).flatten(1)
    found = minima.topk(count, dim=1, largest=False)
    # A point with fewer minima repeats its lowest.
    indices = torch.where(found.values.isfinite(), found.indices, found.indices[:, :1])
    return indices // total.shape[2], indices % total.shape[2]
