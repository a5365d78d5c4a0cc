"""Geometry: what the weights of a toy model look like (paper, Section 4).

Column i of an instance of W is the direction of feature i in the hidden space. A feature is *represented* where its
norm is above 0.5. Every function raises ValueError for a W that is not a tensor of its shape with finite floating-point
weights.
"""

from numbers import Integral
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_weights

REPRESENTED_NORM = 0.5
SHARED_DIRECTION = 0.25  # a represented feature of this interference is in superposition: half a norm lies along it
SAME_COSINE = (
    0.1  # cosines no further apart than this count as equal, and as zero for orthogonal features
)
SAME_ANGLE = (
    0.02  # radians: directions no further apart than this, 1.1 degrees, may stand in either order
)
CARRIED = 0.5  # a neuron carries a feature for which its weight is at least this share of the feature's largest
COLLAPSED = 0.2  # a pair has collapsed where the difference of its columns is shorter than this share of their sum


def feature_norms(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances features"]:
    """||W_i||: how far each feature is represented."""
    return check_weights(W).norm(dim=1)


def represented(
    W: Float[Tensor, "instances hidden features"],
) -> Bool[Tensor, "instances features"]:
    """Which features are represented, ||W_i|| > 0.5."""
    return feature_norms(W) > REPRESENTED_NORM


def in_superposition(
    W: Float[Tensor, "instances hidden features"],
) -> Bool[Tensor, "instances features"]:
    """Which features are represented and share their direction with others."""
    return represented(W) & (interference(W) >= SHARED_DIRECTION)


def unit_directions(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances hidden features"]:
    """W_i / ||W_i||; a feature with zero weights stays zero."""
    norms = feature_norms(W)[:, None]
    return torch.where(norms > 0, W / norms, 0)


def interference(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances features"]:
    """sum over j != i of (What_i . W_j)^2: how far feature i shares its direction with others.

    The colour of the paper's norm bars in Section 2; 0 for a feature with zero weights.
    """
    overlap = unit_directions(W).mT @ W  # (instances, features i, features j)
    overlap.diagonal(dim1=1, dim2=2).zero_()
    return overlap.square_().sum(dim=2)


def dimensionality(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances features"]:
    """D_i = ||W_i||^2 / sum_j (What_i . W_j)^2: the share of a hidden dimension that feature i has, in [0, 1].

    1 is a dedicated dimension, 1/2 an antipodal pair (paper, Section 4); 0 for a feature with zero weights.
    """
    squared = feature_norms(W).square()
    return torch.where(squared > 0, squared / (squared + interference(W)), 0)


def dimensions_per_feature(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, " instances"]:
    """D* = m / ||W||_F^2: hidden dimensions per represented feature; inf for an instance of zeros."""
    return check_weights(W).shape[1] / W.square().sum(dim=(1, 2))


# Sets of features: consecutive runs of set_size, as in features.FeatureDistribution; ValueError where it is no divisor


def set_cosines(
    W: Float[Tensor, "instances hidden features"], set_size
) -> tuple[Float[Tensor, "instances pairs_within"], Float[Tensor, "instances pairs_across"]]:
    """Cosines between features of the same set and of different sets."""
    directions = unit_directions(_checked_sets(W, set_size))
    cosines = directions.mT @ directions
    set_of = torch.arange(W.shape[2], device=W.device) // set_size
    same = set_of[:, None] == set_of
    once = torch.ones_like(same).triu(diagonal=1)
    return cosines[:, same & once], cosines[:, ~same & once]


def side_by_side(W: Float[Tensor, "instances 2 features"], set_size) -> Bool[Tensor, " instances"]:
    """Whether the members of every set follow each other around the circle, all represented.

    Where features of two sets have the same direction, either order will do.
    """
    angles = torch.atan2(*_checked_plane(_checked_sets(W, set_size)).flip(1).unbind(dim=1))
    ahead = (angles[:, :, None] - angles[:, None]).unflatten(
        2, (-1, set_size)
    )  # of i: (instances, i, set, member)
    set_of = torch.arange(W.shape[2], device=W.device) // set_size
    other = set_of[:, None] != set_of[::set_size]  # (i, set)
    # going around from its first member, all of a set are passed before any other feature
    of_set, of_others = (
        (ahead + shift) % (2 * torch.pi) - shift for shift in (SAME_ANGLE, -SAME_ANGLE)
    )
    last = torch.where(other[..., None], 0, of_set).amax(dim=1)  # (instances, set, member)
    next_other = torch.where(other[..., None], of_others, torch.inf).amin(dim=1)
    return (last <= next_other + SAME_ANGLE).any(dim=2).all(dim=1) & represented(W).all(dim=1)


def collapsed_pairs(W: Float[Tensor, "instances hidden features"]) -> Int[Tensor, " instances"]:
    """How many sets of two features have collapsed into their principal component.

    Of such a pair only the sum is represented, not the difference: the difference of its two columns is less than
    COLLAPSED = 1/5 of their sum. For columns of equal length that is an angle of less than 23 degrees.
    """
    first, second = _checked_sets(W, 2).unflatten(2, (-1, 2)).unbind(dim=3)
    return ((first - second).norm(dim=1) < COLLAPSED * (first + second).norm(dim=1)).sum(dim=1)


def oriented(
    W: Float[Tensor, "instances 2 features"], first=0, second=1
) -> Float[Tensor, "instances 2 features"]:
    """The plane turned and mirrored such that one feature points right and another up.

    What remains is the arrangement itself, alike in instances that differ by a rotation or a reflection. Raises
    IndexError for a feature that is not there.
    """
    x, y = _checked_plane(W)[:, :, first].T
    length = torch.hypot(x, y).clamp(min=torch.finfo(W.dtype).tiny)
    cos, sin = x / length, y / length
    turned = torch.stack((torch.stack((cos, sin), 1), torch.stack((-sin, cos), 1)), dim=1) @ W
    mirror = torch.where(turned[:, 1, second] < 0, -1, 1).to(W.dtype)
    return turned * torch.stack((torch.ones_like(mirror), mirror), dim=1)[:, :, None]


# Neurons: what they stand for is read off the positive part of W. Where one feature is active alone, a neuron with a
# negative weight for it is silent (paper, Section 7)


class NeuronPattern(NamedTuple):
    """How the represented features are laid out on the neurons of each instance."""

    monosemantic: Int[Tensor, " instances"]  # neurons that carry one feature
    polysemantic: Int[Tensor, " instances"]  # neurons that carry several
    shared: Int[Tensor, " instances"]  # features that polysemantic neurons carry
    pairs: Int[Tensor, " instances"]  # features that exactly two neurons carry


def carried(
    W: Float[Tensor, "instances neurons features"],
) -> Bool[Tensor, "instances neurons features"]:
    """Which neurons carry which features: by the positive part of W, of features that it represents."""
    positive = check_weights(W).clamp(min=0)
    return (positive >= CARRIED * positive.amax(dim=1, keepdim=True)) & represented(positive)[
        :, None
    ]


def neuron_pattern(W: Float[Tensor, "instances neurons features"]) -> NeuronPattern:
    """Mono- and polysemantic neurons, and features by their neurons, counted."""
    of = carried(W)
    features = of.sum(dim=2)
    polysemantic = features > 1
    shared = (of & polysemantic[:, :, None]).any(dim=1)
    return NeuronPattern(
        (features == 1).sum(dim=1),
        polysemantic.sum(dim=1),
        shared.sum(dim=1),
        (of.sum(dim=1) == 2).sum(dim=1),
    )


def ordered_neurons(W: Float[Tensor, "neurons features"]) -> Float[Tensor, "neurons features"]:
    """One instance, neurons by the number of features that they carry, then by the most important of these."""
    of = [row.nonzero()[:, 0].tolist() for row in carried(W[None])[0]]
    return W[sorted(range(len(W)), key=lambda neuron: (len(of[neuron]), of[neuron]))]


def _checked_plane(W):
    if check_weights(W).shape[1] != 2:
        raise ValueError(f"W: expected 2 hidden dimensions, got {W.shape[1]}")
    return W


def _checked_sets(W, set_size):
    check_weights(W)
    if not isinstance(set_size, Integral) or set_size < 1 or W.shape[2] % set_size:
        raise ValueError(f"set_size: expected a divisor of {W.shape[2]} features, got {set_size!r}")
    return W
