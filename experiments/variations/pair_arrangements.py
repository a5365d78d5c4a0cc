"""Arrangements of lone features and antipodal pairs, and what they cost by the exact loss.

Each hidden dimension holds a lone feature or a pair. Where no feature has a part in two dimensions,
the exact loss is a sum over dimensions and over the features that are left out (paper, Section 3).
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from geometry import REPRESENTED_NORM, feature_norms
from theory.descents import ignored_loss

OVERLAP = 0.2  # |W_i . W_j| above which two represented features are partners


@lru_cache
def arrangements(features, hidden) -> Bool[Tensor, "arrangements features features"]:
    """List all arrangements of lone features and pairs that fill the hidden dimensions.

    Args:
        features: Number of features.
        hidden: Number of hidden dimensions, each of which holds a lone feature or a pair.

    Returns:
        For each arrangement a symmetric matrix: its diagonal says which features are stored, and
        what stands beside it says which are partners.
    """
    found = []

    def place(feature, left, pattern):
        if left == 0 or feature == features:
            if left == 0:
                found.append(pattern)
            return
        place(feature + 1, left, pattern)
        if (feature, feature) in pattern:
            return
        place(feature + 1, left - 1, pattern | {(feature, feature)})
        for other in range(feature + 1, features):
            if (other, other) not in pattern:
                pair = {(i, j) for i in (feature, other) for j in (feature, other)}
                place(feature + 1, left - 1, pattern | pair)

    place(0, hidden, frozenset())
    table = torch.zeros(len(found), features, features, dtype=torch.bool)
    for k, pattern in enumerate(found):
        table[k][tuple(zip(*pattern))] = True
    return table


def arrangement_losses(
    density: Float[Tensor, "settings features"],
    importance: Float[Tensor, "settings features"],
    patterns: Bool[Tensor, "arrangements features features"],
) -> Float[Tensor, "settings arrangements"]:
    """Return the exact loss of each arrangement at unit norms, and biases at the mean or zero.

    A feature that is not stored costs I (s/3 - s^2/4), and a pair (I_i + I_j) s_i s_j / 6.

    Args:
        density: Density s of each feature.
        importance: Importance I of each feature.
        patterns: Arrangements, as from `arrangements`.
    """
    ignored = ignored_loss(importance, density)
    one_sided = importance[:, :, None] * density[:, :, None] * density[:, None, :] / 6
    stored = patterns.diagonal(dim1=1, dim2=2).double()
    partners = patterns.double() - stored.diag_embed()
    return ignored @ (1 - stored).T + one_sided.flatten(1) @ partners.flatten(1).T


def arrangement_weights(
    pattern: Bool[Tensor, "features features"], hidden
) -> Float[Tensor, "hidden features"]:
    """Return W of unit norms for ONE arrangement."""
    W = torch.zeros(hidden, len(pattern), dtype=torch.float64)
    dimension = 0
    for feature in pattern.diagonal().nonzero()[:, 0].tolist():
        members = pattern[feature].nonzero()[:, 0].tolist()
        if members[0] == feature:
            W[dimension, members] = torch.tensor([1.0, -1.0], dtype=torch.float64)[: len(members)]
            dimension += 1
    return W


def by_product(
    density: Float[Tensor, "settings features"],
    importance: Float[Tensor, "settings features"],
    count: Int[Tensor, " settings"],
) -> Bool[Tensor, "settings features"]:
    """Name the features of the largest density times importance, as many as `count`."""
    rank = (density * importance).argsort(dim=1, descending=True).argsort(dim=1)
    return rank < count[:, None]


def pattern(
    W: Float[Tensor, "models hidden features"],
) -> Bool[Tensor, "models features features"]:
    """Return the arrangement of each model: who is represented, and which of these are partners.

    Args:
        W: Weights of any models.
    """
    represented = feature_norms(W) > REPRESENTED_NORM
    near = (W.mT @ W).abs() > OVERLAP
    near.diagonal(dim1=1, dim2=2).fill_(True)
    return near & represented[:, :, None] & represented[:, None, :]


def antipodal_pairs(features, hidden) -> Float64[Tensor, "hidden features"]:
    """Return pairs of opposite features, one in each dimension; further features have no weights.

    Args:
        features: Number of features, at least 2m.
        hidden: Number of hidden dimensions m.
    """
    W = torch.zeros(hidden, features, dtype=torch.float64)
    W[:, : 2 * hidden] = torch.eye(hidden).repeat_interleave(2, dim=1)
    W[:, 1 : 2 * hidden : 2] *= -1
    return W
