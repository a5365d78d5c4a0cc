"""Geometry: measures of the weights of a toy model (paper, Section 4).

Column i of an instance of W is the direction of feature i in the hidden space. A feature is
*represented* if the norm of its column is above 0.5. Every function raises a ValueError for a W
that is not a tensor of the shape in its signature with finite floating-point weights.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_divisor, check_weights, check_whole

REPRESENTED_NORM = 0.5  # norm above which a feature is represented
SHARED_DIRECTION = 0.25  # interference from which a represented feature is in superposition
SAME_COSINE = 0.1  # difference up to which two cosines count as equal, or one as zero
SAME_ANGLE = 0.02  # radians (1.1 degrees) up to which two directions may stand in either order
CARRIED = 0.5  # share of a feature's largest weight from which on a neuron carries the feature
COLLAPSED = (
    0.2  # length of a pair's difference, as a share of its sum, below which it has collapsed
)


def feature_norms(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances features"]:
    """Return ||W_i||, which says how strongly each feature is represented."""
    return check_weights(W).norm(dim=1)


def represented(
    W: Float[Tensor, "instances hidden features"],
) -> Bool[Tensor, "instances features"]:
    """Tell which features are represented, ||W_i|| > 0.5."""
    return feature_norms(W) > REPRESENTED_NORM


def in_superposition(
    W: Float[Tensor, "instances hidden features"],
) -> Bool[Tensor, "instances features"]:
    """Tell which features are represented and share their direction with other features."""
    return represented(W) & (interference(W) >= SHARED_DIRECTION)


def unit_directions(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances hidden features"]:
    """Return W_i / ||W_i||, and zeros for a feature with zero weights."""
    norms = feature_norms(W)[:, None]
    return torch.where(norms > 0, W / norms, 0)


def interference(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances features"]:
    """Return how far each feature shares its direction with others.

    Returns:
        The sum over j != i of (What_i . W_j)^2, where What_i is W_i / ||W_i||. It gives the colour
        of the norm bars in the paper's Section 2, and is 0 for a feature with zero weights.
    """
    overlap = unit_directions(W).mT @ W  # (instances, features i, features j)
    overlap.diagonal(dim1=1, dim2=2).zero_()
    return overlap.square_().sum(dim=2)


def dimensionality(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances features"]:
    """Return the share of a hidden dimension that each feature has (paper, Section 4).

    Returns:
        D_i = ||W_i||^2 / sum_j (What_i . W_j)^2, in [0, 1]: 1 for a dedicated dimension, 1/2 for an
        antipodal pair, and 0 for a feature with zero weights.
    """
    squared = feature_norms(W).square()
    return torch.where(squared > 0, squared / (squared + interference(W)), 0)


def dimensions_per_feature(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, " instances"]:
    """Return D* = m / ||W||_F^2, the hidden dimensions per represented feature (paper, Section 4).

    It is infinite for an instance whose weights are all zero.
    """
    return check_weights(W).shape[1] / W.square().sum(dim=(1, 2))


# Sets of features are consecutive runs of set_size features, as in features.FeatureDistribution.


def set_cosines(
    W: Float[Tensor, "instances hidden features"], set_size
) -> tuple[Float[Tensor, "instances pairs_within"], Float[Tensor, "instances pairs_across"]]:
    """Return the cosines between features of the same set, and between features of different sets.

    Args:
        W: Weights.
        set_size: Number of features in a set.

    Raises:
        ValueError: If `set_size` does not divide the number of features.
    """
    set_size = _check_sets(W, set_size)
    directions = unit_directions(W)
    cosines = directions.mT @ directions
    feature_set = torch.arange(W.shape[2], device=W.device) // set_size
    same = feature_set[:, None] == feature_set
    once = torch.ones_like(same).triu(diagonal=1)
    return cosines[:, same & once], cosines[:, ~same & once]


def side_by_side(W: Float[Tensor, "instances 2 features"], set_size) -> Bool[Tensor, " instances"]:
    """Tell whether all features are represented and the sets lie side by side around the circle.

    Going around the circle from one of its members, all members of a set are met before any feature
    of another set. Features of two sets that have the same direction may stand in either order.

    Args:
        W: Weights of models with two hidden dimensions.
        set_size: Number of features in a set.

    Raises:
        ValueError: If `set_size` does not divide the number of features.
    """
    set_size = _check_sets(W, set_size)
    x, y = _checked_plane(W).unbind(dim=1)
    angles = torch.atan2(y, x)
    ahead = angles[:, :, None] - angles[:, None]  # of feature i, seen from feature j
    ahead = ahead.unflatten(2, (-1, set_size))  # (instances, i, set, member)
    feature_set = torch.arange(W.shape[2], device=W.device) // set_size
    other = feature_set[:, None] != feature_set[::set_size]  # (i, set)
    # A member just behind counts as just ahead, and another feature just ahead as just behind.
    member_angles = (ahead + SAME_ANGLE) % (2 * torch.pi) - SAME_ANGLE
    other_angles = (ahead - SAME_ANGLE) % (2 * torch.pi) + SAME_ANGLE
    last_member = torch.where(other[..., None], 0, member_angles).amax(dim=1)
    next_other = torch.where(other[..., None], other_angles, torch.inf).amin(dim=1)
    unbroken = (last_member <= next_other + SAME_ANGLE).any(dim=2)  # (instances, set)
    return unbroken.all(dim=1) & represented(W).all(dim=1)


def collapsed_pairs(W: Float[Tensor, "instances hidden features"]) -> Int[Tensor, " instances"]:
    """Count the sets of two features that have collapsed into their principal component.

    Only the sum of the features of such a pair is represented, and not their difference: the
    difference of their columns is shorter than 1/5 of the sum of their columns. For columns of
    equal length this is an angle of less than 23 degrees.

    Args:
        W: Weights of an even number of features.

    Raises:
        ValueError: If the number of features is odd.
    """
    _check_sets(W, 2)
    first, second = W.unflatten(2, (-1, 2)).unbind(dim=3)
    shortest = COLLAPSED * (first + second).norm(dim=1)
    return ((first - second).norm(dim=1) < shortest).sum(dim=1)


def oriented(
    W: Float[Tensor, "instances 2 features"], first=0, second=1
) -> Float[Tensor, "instances 2 features"]:
    """Turn and mirror the plane such that one feature points right and another one points up.

    Instances that differ only by a rotation or a reflection become equal.

    Args:
        W: Weights of models with two hidden dimensions.
        first: Index of the feature that points right.
        second: Index of the feature that points up.

    Raises:
        IndexError: If there is no such feature.
        ValueError: If an index is not a whole number.
    """
    _checked_plane(W)
    first = _feature_index("first", first, W)
    second = _feature_index("second", second, W)
    x, y = W[:, :, first].T
    length = torch.hypot(x, y).clamp(min=torch.finfo(W.dtype).tiny)
    cos = x / length
    sin = y / length
    right = torch.stack((cos, sin), dim=1)
    up = torch.stack((-sin, cos), dim=1)
    turned = torch.stack((right, up), dim=1) @ W
    mirror = torch.where(turned[:, 1, second] < 0, -1, 1).to(W.dtype)
    return turned * torch.stack((torch.ones_like(mirror), mirror), dim=1)[:, :, None]


# What a neuron stands for is read off the positive part of W. Where one feature is active alone, a
# neuron with a negative weight for it is silent (paper, Section 7).


class NeuronPattern(NamedTuple):
    """Count how the represented features of each instance are laid out on its neurons."""

    monosemantic: Int[Tensor, " instances"]  # neurons that carry one feature
    polysemantic: Int[Tensor, " instances"]  # neurons that carry several features
    shared: Int[Tensor, " instances"]  # features that polysemantic neurons carry
    pairs: Int[Tensor, " instances"]  # features that exactly two neurons carry


def carried(
    W: Float[Tensor, "instances neurons features"],
) -> Bool[Tensor, "instances neurons features"]:
    """Tell which neurons carry which features.

    A neuron carries a feature if the positive part of W represents the feature, and the neuron's
    positive weight for it is at least half of the largest one.
    """
    positive = check_weights(W).clamp(min=0)
    large = positive >= CARRIED * positive.amax(dim=1, keepdim=True)
    return large & represented(positive)[:, None]


def neuron_pattern(W: Float[Tensor, "instances neurons features"]) -> NeuronPattern:
    """Count monosemantic and polysemantic neurons, and features by the neurons that carry them."""
    carries = carried(W)
    features_per_neuron = carries.sum(dim=2)
    neurons_per_feature = carries.sum(dim=1)
    polysemantic = features_per_neuron > 1
    shared = (carries & polysemantic[:, :, None]).any(dim=1)
    return NeuronPattern(
        monosemantic=(features_per_neuron == 1).sum(dim=1),
        polysemantic=polysemantic.sum(dim=1),
        shared=shared.sum(dim=1),
        pairs=(neurons_per_feature == 2).sum(dim=1),
    )


def ordered_neurons(W: Float[Tensor, "neurons features"]) -> Float[Tensor, "neurons features"]:
    """Sort the neurons of one instance by how many features they carry, and then by which.

    Among neurons that carry equally many features, the one that carries the first feature comes
    first.
    """
    check_weights(W, ("neurons", "features"))
    features = [row.nonzero()[:, 0].tolist() for row in carried(W[None])[0]]
    order = sorted(range(len(W)), key=lambda neuron: (len(features[neuron]), features[neuron]))
    return W[order]


def _checked_plane(W):
    """Return W if it has two hidden dimensions."""
    if check_weights(W).shape[1] != 2:
        raise ValueError(f"W: expected 2 hidden dimensions, got {W.shape[1]}")
    return W


def _feature_index(name, index, W):
    """Return the index of a feature as an int; IndexError if there is no such feature."""
    index = check_whole(name, index)
    features = W.shape[2]
    if not -features <= index < features:
        raise IndexError(f"{name}: expected the index of one of {features} features, got {index}")
    return index


def _check_sets(W, set_size):
    """Return set_size as an int if it divides the number of features."""
    return check_divisor("set_size", set_size, check_weights(W).shape[2])
