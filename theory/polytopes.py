"""Polytopes: what groups of equally important features form, and how to find them in a model.

In superposition the represented features form a *tegum product*: groups of features, each a
polytope in its own subspace, that are orthogonal to each other (paper, Section 4).
`tegum_factors` finds the groups of one instance and names them.

    >>> digon, triangle = POLYTOPES["digon"].vertices, POLYTOPES["triangle"].vertices
    >>> [factor.polytope for factor in tegum_factors(torch.block_diag(digon, triangle))]
    ['digon', 'triangle']
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Real
from sys import float_info
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from checks import check_weights, shown
from geometry import REPRESENTED_NORM, SAME_COSINE, dimensionality, feature_norms
from theory.vertices import (
    diplosimplex,
    icosahedron,
    normalized,
    polygon,
    rectified_4_simplex,
    simplex,
    square_antiprism,
    tilted,
    tricapped_prism,
)

# Distance of a dimensionality from a polytope's within which it counts to the polytope's peak. It
# is half a bar of the histogram, so that three bars at 2/5 keep clear of three at 3/8.
NEAR = 0.006
# Number of times that the features of a peak are as many as those in the bar on either side.
PEAK = 2
# Share of a feature's squared cosines that may fall on features of other factors.
STRAY = 0.04
# A direction is spanned where the squared cosines of the features with it sum to more than this.
SPANNED = 0.5
# Polar angle, in degrees, of a square antiprism with directions further apart than the Thomson
# one's.
WIDE_ANGLE = 58.5
IRREGULAR = "irregular"  # name of a factor that is none of POLYTOPES
DEDICATED = "dedicated dimension"
# Name of a factor that is one represented feature in a dimension that features below the threshold
# share with it, so that it is not dedicated to the feature.
SHARED_DIMENSION = "shared dimension"
# Least dimensionality of a feature that has a dimension dedicated to it.
LEAST_DEDICATED = 0.9


class Polytope(NamedTuple):
    """A polytope whose vertices are all alike, as equally important features arrange themselves."""

    vertices: Float64[Tensor, "dimensions vertices"]  # unit columns, laid out as one instance's W

    @property
    def dimensionality(self) -> float:
        """Dimensions per vertex: the dimensionality D_i of every feature of a tight arrangement.

        All of POLYTOPES are tight, or nearly so.
        """
        dimensions, vertices = self.vertices.shape
        return dimensions / vertices


# What a tegum factor can be. Products are not listed, as their factors are found instead: the
# square and the octahedron are two and three digons, a bipyramid is a digon and the polygon
# around its waist.
POLYTOPES = {
    name: Polytope(vertices)
    for name, vertices in {
        DEDICATED: torch.ones(1, 1, dtype=torch.float64),
        "digon": simplex(1),
        "triangle": simplex(2),
        "tetrahedron": simplex(3),
        **{f"{dimensions}-simplex": simplex(dimensions) for dimensions in range(4, 9)},
        "pentagon": polygon(5),
        "hexagon": polygon(6),
        "heptagon": polygon(7),
        "octagon": polygon(8),
        "square antiprism": square_antiprism(),
        "cube": diplosimplex(3),
        "4-diplosimplex": diplosimplex(4),
        "5-diplosimplex": diplosimplex(5),
        "icosahedron": icosahedron(),
        "rectified 4-simplex": rectified_4_simplex(),
        # Dense features form these too. Two tilted digons are a tetrahedron.
        "3 tilted digons": tilted(simplex(1), 3),
        "4 tilted digons": tilted(simplex(1), 4),
        "2 tilted triangles": tilted(simplex(2), 2),
        "3 tilted triangles": tilted(simplex(2), 3),
        "4 tilted triangles": tilted(simplex(2), 4),
    }.items()
}
# Polytopes that the paper sees in trained models, from those of dense features to those of sparse
# ones.
PAPER_POLYTOPES = ("tetrahedron", "triangle", "digon", "pentagon", "square antiprism")


def check_polytopes(names: Sequence[str]):
    """Check names of polytopes.

    Args:
        names: Names of POLYTOPES, at least one.

    Raises:
        ValueError: If there is none, or one is not the name of a polytope.
    """
    if not names or any(name not in list(POLYTOPES) for name in names):
        raise ValueError(f"polytopes: expected names of {', '.join(POLYTOPES)}, got {shown(names)}")


# Tegum factors


class Factor(NamedTuple):
    """One factor of a tegum product."""

    features: tuple[int, ...]  # indices of its features, ascending
    rank: int  # dimensions of the span of its features
    polytope: str  # a key of POLYTOPES, "shared dimension" or "irregular"


def tegum_factors(
    W: Float[Tensor, "hidden features"], min_norm: float = REPRESENTED_NORM
) -> list[Factor]:
    """Find and name the groups of mutually orthogonal features of ONE instance (paper, Section 4).

    Only the cosines between represented features matter, not their norms, except for lone features:

    - Features that are coupled by |cos| > SAME_COSINE = 0.1, directly or through others, belong
      together. This threshold is seven standard deviations of a noise of 1 % of the norm, and below
      every coupling of a named polytope (1/8 in the 8-simplex).
    - A group that is none of POLYTOPES is split at its weakest link, where that changes the
      dimensionality of no feature, seen as a unit vector, by more than STRAY = 4 %. That is less
      than the 6 % from the pentagon to the square antiprism. So a few stray couplings do not glue
      two factors together, but digons that are squeezed into too few dimensions remain one group.
    - The rank counts the directions that the features fill at least half as well as a dedicated
      feature would: the eigenvalues above SPANNED = 0.5 of the Gram matrix of unit directions. The
      eigenvalues of a polytope are at least 1, or noise.
    - A group is a polytope if it has its number of features and its rank, and if its features can
      be matched with the vertices such that no cosine is off by more than SAME_COSINE. So a digon
      has cos <= -0.9, and neighbours in a pentagon are 66 to 78 degrees apart. Polytopes of the
      same rank and size differ by more than twice that, so that at most one name fits. The square
      antiprism may have any polar angle from 54.7 degrees, where it is a tight frame, to 59.3
      degrees, where its directions are furthest apart. Any other group is "irregular".
    - A lone feature has a "dedicated dimension" if its dimensionality D_i is at least
      LEAST_DEDICATED = 0.9. Otherwise features that are not represented share its dimension, which
      is then a "shared dimension".

    Args:
        W: Weights of one instance.
        min_norm: Norm above which a feature is represented, at least 0. Others are left out.

    Returns:
        The factors, ordered by their first features. There are none where no feature is
        represented.

    Raises:
        ValueError: If W is not a matrix of finite weights, or min_norm is negative or not finite.
    """
    W = check_weights(W, ("hidden", "features")).detach().to("cpu", torch.float64)
    if not (isinstance(min_norm, Real) and 0 <= min_norm <= float_info.max):
        raise ValueError(f"min_norm: expected a finite number >= 0, got {shown(min_norm)}")
    represented = (W.norm(dim=0) > min_norm).nonzero()[:, 0]
    if not len(represented):
        return []
    directions = normalized(W[:, represented])
    cosines = directions.mT @ directions
    # The cosines must be symmetric to the last bit, so that links part the features cleanly.
    cosines = (cosines + cosines.mT) / 2
    # A feature is linked to itself without limit, so that it is never parted from itself.
    links = _strongest_links(cosines.abs().fill_diagonal_(torch.inf))
    factors = []
    for group in _linked_groups(torch.arange(len(represented)), links, SAME_COSINE):
        for part in _split(group, cosines, links):
            features = tuple(represented[part.members].tolist())
            factors.append(Factor(features, part.rank, _name(W, features, part.polytope)))
    return sorted(factors)


def _name(W, features, polytope):
    """Return the name of a factor, which for a lone feature depends on the unrepresented ones."""
    if polytope != DEDICATED:
        return polytope
    (feature,) = features
    return DEDICATED if dimensionality(W[None])[0, feature] >= LEAST_DEDICATED else SHARED_DIMENSION


class _Part(NamedTuple):
    """A group of represented features that is one factor."""

    members: Tensor  # (features,), indices among the represented features
    rank: int
    polytope: str


def _split(group, cosines, links):
    """Yield the group as one factor, or the factors into which it falls."""
    group_cosines = cosines[group][:, group]
    rank = _rank(group_cosines)
    polytope = _polytope(group_cosines, rank)
    parts = _linked_groups(group, links, threshold=links[group][:, group].min())
    # A group whose features all have the same direction has a single part.
    can_split = polytope == IRREGULAR and len(parts) > 1
    if can_split and all(_stray(part, group, cosines) <= STRAY for part in parts):
        for part in parts:
            yield from _split(part, cosines, links)
    else:
        yield _Part(group, rank, polytope)


def _stray(part, group, cosines):
    """Return the largest share of its squared cosines that a feature has outside of its part."""
    squared = cosines[part].square()
    return (1 - squared[:, part].sum(dim=1) / squared[:, group].sum(dim=1)).max()


def _strongest_links(couplings):
    """Return the strength of the strongest path between any two features.

    A path is as strong as its weakest coupling.
    """
    links = couplings.clone()
    for via in range(len(links)):
        links = torch.maximum(links, torch.minimum(links[:, via, None], links[via]))
    return links


def _linked_groups(group, links, threshold):
    """Return the parts of a group that are linked above the threshold, with ascending features."""
    linked = links[group][:, group] > threshold
    return [group[row] for row in linked.unique(dim=0)]


def _rank(cosines):
    """Return the number of directions that unit vectors with these cosines span."""
    return int((torch.linalg.eigvalsh(cosines) > SPANNED).sum())


def _polytope(cosines, rank):
    """Return the name of the polytope whose vertices have these cosines, in whatever order."""
    for name, vertex_cosines in _COSINES.get((rank, len(cosines)), ()):
        if _matches(cosines, vertex_cosines):
            return name
    return IRREGULAR


def _matches(cosines, vertex_cosines):
    """Return whether features and vertices can be paired with no cosine off by too much."""
    # Sorting never makes the largest difference larger, so this cheap test spares most searches.
    sorted_cosines = cosines.flatten().sort().values
    if (sorted_cosines - vertex_cosines.flatten().sort().values).abs().max() > SAME_COSINE:
        return False
    # All vertices are alike, so feature 0 may lie on vertex 0.
    return _can_place(cosines.tolist(), vertex_cosines.tolist(), [0])


def _can_place(cosines, vertex_cosines, taken):
    """Return whether the features that are not placed yet find vertices.

    Args:
        cosines: Cosines between the features, as nested lists.
        vertex_cosines: Cosines between the vertices, as nested lists.
        taken: Vertices of the features that are placed already, which are the first ones.
    """
    if len(taken) == len(cosines):
        return True
    to_earlier = cosines[len(taken)][: len(taken)]
    for vertex, row in enumerate(vertex_cosines):
        if vertex in taken:
            continue
        fits = all(abs(row[v] - c) <= SAME_COSINE for v, c in zip(taken, to_earlier))
        if fits and _can_place(cosines, vertex_cosines, [*taken, vertex]):
            return True
    return False


def _cosines_by_size():
    """Return the cosines of all polytopes: (rank, features) -> [(name, cosines)].

    The square antiprism stands there at two polar angles.
    """
    shapes = [(name, polytope.vertices) for name, polytope in POLYTOPES.items()]
    shapes.append(("square antiprism", square_antiprism(WIDE_ANGLE)))
    cosines = {}
    for name, vertices in shapes:
        cosines.setdefault(tuple(vertices.shape), []).append((name, vertices.mT @ vertices))
    return cosines


_COSINES = _cosines_by_size()


# Many factors


def polytope_shares(factors: Iterable[Factor]) -> dict[str, float]:
    """Return the share of the features that is in each kind of polytope, by name.

    Args:
        factors: Factors of one or more instances.
    """
    features = Counter()
    for factor in factors:
        features[factor.polytope] += len(factor.features)
    return {polytope: count / features.total() for polytope, count in features.items()}


def peaks(W: Float[Tensor, "instances hidden features"]) -> dict[str, float]:
    """Find where dimensionalities cluster, as in the paper's scatter plot of Section 4.

    The peak of a polytope has those of its features whose dimensionality is within NEAR of the
    polytope's. It is a peak if they are at least PEAK times as many as all represented features
    in the equally wide bar on either side.

    Args:
        W: Weights of many instances.

    Returns:
        Share of all represented features in the peak of each of PAPER_POLYTOPES, by name; 0 where
        there is no peak.
    """
    values = dimensionality(W)
    represented = values[feature_norms(W) > REPRESENTED_NORM]
    members = {name: [] for name in PAPER_POLYTOPES}
    for instance_values, weights in zip(values, W):
        for factor in tegum_factors(weights):
            if factor.polytope in members:
                members[factor.polytope] += instance_values[list(factor.features)].tolist()
    shares = {}
    for name in PAPER_POLYTOPES:
        level = POLYTOPES[name].dimensionality
        inside = sum(abs(value - level) <= NEAR for value in members[name])
        beside = _most_beside(represented - level)
        shares[name] = inside / len(represented) if inside >= max(1, PEAK * beside) else 0.0
    return shares


def _most_beside(difference):
    """Return the number of features in the fuller bar on either side of a peak.

    Args:
        difference: Dimensionality of each feature, less that of the peak.
    """
    below = (-difference > NEAR) & (-difference <= 3 * NEAR)
    above = (difference > NEAR) & (difference <= 3 * NEAR)
    return max(below.sum().item(), above.sum().item())


# Names of arrangements that are none of POLYTOPES, or several


def arrangement_name(W: Float[Tensor, "dimensions features"]) -> str:
    """Return the name of an arrangement, by the names of its tegum factors.

    A factor that is none of POLYTOPES can be a pyramid: an apex, and groups that all lean away
    from it and would be polytopes, orthogonal to each other, if they did not lean. (A triangle is
    a pyramid over a digon, and a tetrahedron one over a triangle.) Any other factor is named by
    its size, as "9 in 3" for nine features in three dimensions.

    Args:
        W: Weights of one instance.

    Raises:
        ValueError: If W is not a matrix of finite weights.
    """
    names = []
    for factor in tegum_factors(W):
        irregular = factor.polytope == IRREGULAR
        names.append(_irregular_name(W, factor) if irregular else factor.polytope)
    return _joined(names)


def _joined(names):
    """Return names with their counts, joined by plus signs; lone features come last."""
    counts = Counter(sorted(names, key=(DEDICATED, SHARED_DIMENSION).__contains__))
    text = " + ".join(f"{count} × {kind}" if count > 1 else kind for kind, count in counts.items())
    return text.replace(DEDICATED, "dedicated").replace(SHARED_DIMENSION, "shared")


def _irregular_name(W, factor):
    """Return the name of a pyramid or of the tricapped prism, or else the factor's size."""
    directions = normalized(W[:, list(factor.features)])
    for apex in range(directions.shape[1]):
        bases = _bases(directions, apex)
        if bases:
            return f"pyramid over {_joined(bases)}"
    prism = tricapped_prism()
    if directions.shape == prism.shape:
        difference = _sorted_cosines(directions) - _sorted_cosines(prism)
        if difference.abs().max() < SAME_COSINE:
            return "tricapped trigonal prism"
    return f"{len(factor.features)} in {factor.rank}"


def _bases(directions, apex):
    """Return the names of the polytopes over which a feature is the apex of a pyramid.

    Returns:
        An empty list if the directions are no such pyramid.
    """
    top = directions[:, apex]
    others = torch.cat((directions[:, :apex], directions[:, apex + 1 :]), dim=1)
    leaning = top @ others
    if leaning.max() >= -SAME_COSINE:
        return []
    bases = tegum_factors(others - top[:, None] * leaning)
    names = [base.polytope for base in bases]
    complete = sum(len(base.features) for base in bases) == others.shape[1]
    return names if complete and all(name in POLYTOPES for name in names) else []


def _sorted_cosines(directions):
    """Return all cosines between unit columns, ascending."""
    return (directions.mT @ directions).flatten().sort().values
