"""Antipodal pairs with GELU at the output, and their algebra where features are sparse (ours).

Here features are so sparse that one is active at a time, and biases are 0. A pair's outputs differ
as with ReLU, gelu(y) - gelu(-y) = y, but the antipode's output is not zero. Constructed weights
that compete with trained ones in `gelu` stand here too.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import gelu

NODES = 40  # of the quadrature over a feature's value
NORMS = torch.linspace(0.5, 1.6, 221, dtype=torch.float64)  # squared norms that are tried


def even_pairs(features, hidden) -> Float64[Tensor, "hidden features"]:
    """Return weights with the best number of antipodal pairs, spread evenly; see `even_benefit`.

    The pairs lie along a tight frame of equal norms: every direction of the hidden space gets the
    same sum of squared weights.

    Args:
        features: Number of features, of which those beyond the pairs have no weights.
        hidden: Number of hidden dimensions, even.
    """
    best = best_even_pairs()
    pairs = round(best.features_per_dimension * hidden / 2)
    turns = torch.outer(torch.arange(1, hidden // 2 + 1), torch.arange(pairs)).double() / pairs
    angles = 2 * math.pi * turns
    frame = torch.cat((angles.cos(), angles.sin())) * math.sqrt(2 * best.squared_norm / hidden)
    W = torch.zeros(hidden, features, dtype=torch.float64)
    W[:, 0 : 2 * pairs : 2] = frame
    W[:, 1 : 2 * pairs : 2] = -frame
    return W


def lone_cost(squared_norm: Float64[Tensor, " norms"]) -> Float64[Tensor, " norms"]:
    """Return 3 E[(gelu(a x) - x)^2] for x uniform on [0, 1]: a feature's own error.

    The unit is the cost of ignoring the feature, E[x^2] = 1/3.

    Args:
        squared_norm: Squared norms a.
    """
    x, weight = _uniform_nodes()
    return 3 * (gelu(squared_norm[:, None] * x) - x).square() @ weight


def passed_on(overlap: Float64[Tensor, " overlaps"]) -> Float64[Tensor, " overlaps"]:
    """Return 3 E[gelu(c x)^2] for x uniform on [0, 1]: what one other feature's output errs by.

    Half of a small interference c x passes GELU, so this is c^2 / 4 for small overlaps c.

    Args:
        overlap: Scalar products c of two features.
    """
    x, weight = _uniform_nodes()
    return 3 * gelu(overlap[:, None] * x).square() @ weight


def _uniform_nodes():
    """Return nodes and weights that average a function over [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


class EvenPairs(NamedTuple):
    """The best even spread of antipodal pairs."""

    benefit: float  # features' worth for each hidden dimension
    squared_norm: float
    features_per_dimension: float


def even_benefit(squared_norm: Float64[Tensor, " norms"]) -> Float64[Tensor, " norms"]:
    """Return what evenly spread antipodal pairs store per dimension, at the best number of them.

    With r features of squared norm a in each dimension of a tight frame, the squared overlaps of a
    feature with all features sum to a^2 r, of which a^2 is its own and a^2 its antipode's. Each
    stored feature costs `lone_cost` of itself, `passed_on` of its antipode and a quarter of the
    rest, so that r features store r (1 - lone - antipode - a^2 (r - 2) / 4), which is highest at
    r = 2 (1 - lone - antipode + a^2 / 2) / a^2.

    Args:
        squared_norm: Squared norms a.
    """
    return (_alone_with_antipode(squared_norm) / squared_norm).square()


def _alone_with_antipode(squared_norm):
    """Return 1 - lone - antipode + a^2 / 2."""
    costs = lone_cost(squared_norm) + passed_on(-squared_norm)
    return 1 - costs + squared_norm.square() / 2


def best_even_pairs() -> EvenPairs:
    """Return the even spread of antipodal pairs that stores most."""
    benefit = even_benefit(NORMS)
    best = benefit.argmax()
    per_dimension = 2 * _alone_with_antipode(NORMS) / NORMS.square()
    return EvenPairs(benefit[best].item(), NORMS[best].item(), per_dimension[best].item())


def pair_benefit() -> float:
    """Return what one antipodal pair in a dimension of its own stores, for the best norm."""
    return 2 * (1 - (lone_cost(NORMS) + passed_on(-NORMS)).min().item())
