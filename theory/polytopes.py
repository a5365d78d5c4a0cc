"""Polytopes: what groups of equally important features form, and naming the groups of a trained model.

In superposition the represented features form a *tegum product*: groups, each a polytope in its own
subspace, orthogonal to each other (paper, Section 4). `tegum_factors` finds the groups of one instance and names them.

    >>> digon, triangle = POLYTOPES["digon"].vertices, POLYTOPES["triangle"].vertices
    >>> [factor.polytope for factor in tegum_factors(torch.block_diag(digon, triangle))]
    ['digon', 'triangle']
"""

from collections import Counter
from itertools import combinations
from math import cos, radians, sin
from numbers import Real
from sys import float_info
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from checks import check_positive, check_weights
from geometry import REPRESENTED_NORM, SAME_COSINE, dimensionality, feature_norms

NEAR = 0.006  # half a bar of the histogram of dimensionalities: three bars at 2/5 keep clear of those at 3/8
PEAK = 2  # times as many features as in the bars on either side make a peak
STRAY = 0.04  # share of a feature's squared cosines that may fall on features of other factors
SPANNED = (
    0.5  # a direction is spanned where the features' squared cosines with it sum to more than this
)
THOMSON_ANGLE = 55.9137  # degrees: polar angle of the square antiprism of 8 electrons on a sphere


class Polytope(NamedTuple):
    """A polytope whose vertices are all alike, as equally important features arrange themselves."""

    vertices: Float64[Tensor, "dimensions vertices"]  # unit columns, laid out as one instance's W

    @property
    def dimensionality(self):
        """Dimensions per vertex: the D_i of every feature in a tight arrangement, as all of POLYTOPES are or nearly."""
        dimensions, vertices = self.vertices.shape
        return dimensions / vertices


def check_polytopes(names):
    """ValueError unless they are names of POLYTOPES, one at least."""
    if not names or any(name not in list(POLYTOPES) for name in names):
        raise ValueError(f"polytopes: expected names of {', '.join(POLYTOPES)}, got {names!r}")


def square_antiprism(polar_angle=THOMSON_ANGLE) -> Float64[Tensor, "3 8"]:
    """Vertices of a square antiprism: two squares at this angle in degrees from either pole, 45° twisted.

    The Thomson angle, the paper's, is also within 0.5° of the least loss at densities of 1/4 to 1/5, where the
    antiprism first appears; at 1/20 the best angle is near 58°.
    """
    check_positive("polar_angle", polar_angle)
    polar, squares = radians(polar_angle), []
    for side, twist in ((1, 0), (-1, 45)):
        azimuths = [radians(90 * corner + twist) for corner in range(4)]
        squares += [(sin(polar) * cos(a), sin(polar) * sin(a), side * cos(polar)) for a in azimuths]
    return torch.tensor(squares, dtype=torch.float64).T


def _polygon(vertices):
    angles = 2 * torch.pi / vertices * torch.arange(vertices, dtype=torch.float64)
    return torch.stack((angles.cos(), angles.sin()))


def _simplex(dimensions):
    """Rows of a Helmert matrix, one for each dimension: orthogonal, and orthogonal to all ones."""
    row = torch.arange(1, dimensions + 1, dtype=torch.float64)[:, None]
    column = torch.arange(dimensions + 1)
    helmert = torch.where(column < row, 1.0, torch.where(column == row, -row, 0.0))
    return _normalized(helmert / helmert.norm(dim=1, keepdim=True))


def _diplosimplex(dimensions):
    """A simplex and its mirror image: one antipodal pair more than there are dimensions, all equally close."""
    return torch.cat((_simplex(dimensions), -_simplex(dimensions)), dim=1)


def _tilted(vertices, copies):
    """Copies in orthogonal subspaces, all leaning towards one dimension more, which they share; a tight frame."""
    product = torch.block_diag(*[vertices] * copies)
    lean = (len(product) + 1) ** -0.5  # cosine with the shared dimension
    return torch.cat(((1 - lean**2) ** 0.5 * product, lean * torch.ones_like(product[:1])))


def _rectified_4_simplex():
    """The middles of a 4-simplex's edges: the ten directions in 4-D furthest apart (Bachoc and Vallentin, 2009)."""
    simplex = _simplex(4)
    return _normalized(
        torch.stack([simplex[:, i] + simplex[:, j] for i, j in combinations(range(5), 2)], dim=1)
    )


def _icosahedron():
    golden = (1 + 5**0.5) / 2
    corners = [(0, a, b) for a in (-1, 1) for b in (-golden, golden)]
    corners = [corner[turn:] + corner[:turn] for corner in corners for turn in range(3)]
    return _normalized(torch.tensor(corners, dtype=torch.float64).T)


def _normalized(vertices):
    return vertices / vertices.norm(dim=0)


# What a tegum factor can be. Products are not here, as their factors are found instead: the square and the
# octahedron are two and three digons, a bipyramid is a digon and the polygon around its waist.
POLYTOPES = {
    name: Polytope(vertices)
    for name, vertices in {
        "dedicated dimension": torch.ones(1, 1, dtype=torch.float64),
        "digon": _simplex(1),
        "triangle": _simplex(2),
        "tetrahedron": _simplex(3),
        **{f"{dimensions}-simplex": _simplex(dimensions) for dimensions in range(4, 9)},
        "pentagon": _polygon(5),
        "hexagon": _polygon(6),
        "heptagon": _polygon(7),
        "octagon": _polygon(8),
        "square antiprism": square_antiprism(),
        "cube": _diplosimplex(3),
        "4-diplosimplex": _diplosimplex(4),
        "5-diplosimplex": _diplosimplex(5),
        "icosahedron": _icosahedron(),
        "rectified 4-simplex": _rectified_4_simplex(),
        # Dense features form these too; two tilted digons are a tetrahedron.
        "3 tilted digons": _tilted(_simplex(1), 3),
        "4 tilted digons": _tilted(_simplex(1), 4),
        "2 tilted triangles": _tilted(_simplex(2), 2),
        "3 tilted triangles": _tilted(_simplex(2), 3),
        "4 tilted triangles": _tilted(_simplex(2), 4),
    }.items()
}
# those that the paper sees in trained models, in the order of their density
PAPER_POLYTOPES = ("tetrahedron", "triangle", "digon", "pentagon", "square antiprism")


# Tegum factors


class Factor(NamedTuple):
    """One factor of a tegum product: its features (ascending), the rank of their span, the name of the polytope."""

    features: tuple[int, ...]
    rank: int
    polytope: str  # a key of POLYTOPES, or "irregular"


def tegum_factors(W: Float[Tensor, "hidden features"], min_norm=REPRESENTED_NORM) -> list[Factor]:
    """The groups of mutually orthogonal features of one instance, each named (paper, Section 4).

    W is of ONE instance. Features with ||W_i|| up to min_norm (>= 0) are left out.
    Factors are ordered by first feature; there are none where no feature is represented.

    Only the cosines between features matter, not their norms:

    - Features coupled by |cos| > SAME_COSINE = 0.1, directly or through others, belong together: seven standard
      deviations of a noise of 1 % of the norm, and below every coupling of a named polytope (1/8 in the 8-simplex).
    - A group that is no polytope of POLYTOPES falls apart at its weakest link, where that changes the dimensionality
      of no feature (seen as a unit vector) by more than STRAY = 4 %, less than the 6 % from pentagon to square
      antiprism: a few stray couplings do not glue two factors, but digons squeezed into too few dimensions stay one.
    - The rank counts the directions that the features fill at least half as well as a dedicated one would:
      eigenvalues above SPANNED = 0.5 of the Gram matrix of unit directions. A polytope's are at least 1 or noise.
    - A group is a polytope if it has its number of features and its rank, and if the features can be matched to the
      vertices such that no cosine is off by more than SAME_COSINE: a digon has cos <= -0.9, a pentagon's neighbours
      are 66 to 78 degrees apart. Polytopes of equal rank and size differ by more than twice that, so at most one
      name fits. The square antiprism may have any polar angle from 54.7 (a tight frame) to 59.3 degrees (its
      directions furthest apart). Anything else is "irregular".

    Raises ValueError for bad weights and for a min_norm that is negative or not finite.
    """
    W = check_weights(W, ("hidden", "features")).detach().to("cpu", torch.float64)
    if not (isinstance(min_norm, Real) and 0 <= min_norm <= float_info.max):
        raise ValueError(f"min_norm: expected a finite number >= 0, got {min_norm!r}")
    represented = (W.norm(dim=0) > min_norm).nonzero()[:, 0]
    if not len(represented):
        return []
    directions = _normalized(W[:, represented])
    cosines = directions.mT @ directions
    cosines = (
        cosines + cosines.mT
    ) / 2  # symmetric to the last bit, as links must be to part features cleanly
    links = _strongest_links(
        cosines.abs().fill_diagonal_(torch.inf)
    )  # no feature is parted from itself
    groups = _linked_groups(torch.arange(len(represented)), links, SAME_COSINE)
    return sorted(
        Factor(tuple(represented[members].tolist()), rank, polytope)
        for group in groups
        for members, rank, polytope in _split(group, cosines, links)
    )


def polytope_shares(factors):
    """The share of the features in each kind of polytope, {name: share}, of the factors of one or more instances."""
    features = Counter()
    for factor in factors:
        features[factor.polytope] += len(factor.features)
    return {polytope: count / features.total() for polytope, count in features.items()}


def peaks(W: Float[Tensor, "instances hidden features"]) -> dict[str, float]:
    """Where dimensionalities cluster: {name: share of all represented features in its peak} for PAPER_POLYTOPES.

    In the peak are the features of that polytope whose dimensionality is within NEAR of its level. It is a peak where
    they are PEAK times as many as all represented features in the equally wide bar on either side; else the share is 0.
    """
    values = dimensionality(W)
    represented = values[feature_norms(W) > REPRESENTED_NORM]
    of_polytopes = {name: [] for name in PAPER_POLYTOPES}
    for of_model, weights in zip(values, W):
        for factor in tegum_factors(weights):
            of_polytopes.get(factor.polytope, []).extend(of_model[list(factor.features)].tolist())
    shares = {}
    for name, members in of_polytopes.items():
        off = represented - POLYTOPES[name].dimensionality
        beside = max(
            ((side * off > NEAR) & (side * off <= 3 * NEAR)).sum().item() for side in (-1, 1)
        )
        inside = sum(abs(value - POLYTOPES[name].dimensionality) <= NEAR for value in members)
        shares[name] = inside / len(represented) if inside >= max(1, PEAK * beside) else 0.0
    return shares


def _split(group, cosines, links):
    """Yields (members, rank, polytope): the group as one factor, or the factors that it falls into."""
    of_group = cosines[group][:, group]
    rank = _rank(of_group)
    polytope = _polytope(of_group, rank)
    parts = _linked_groups(group, links, threshold=links[group][:, group].min())
    several = len(parts) > 1  # not so where all directions are one
    if (
        polytope == "irregular"
        and several
        and all(_stray(part, group, cosines) <= STRAY for part in parts)
    ):
        for part in parts:
            yield from _split(part, cosines, links)
    else:
        yield group, rank, polytope


def _stray(part, group, cosines):
    """The largest share of its squared cosines that a feature of the part has with the rest of the group."""
    squared = cosines[part].square()
    return (1 - squared[:, part].sum(dim=1) / squared[:, group].sum(dim=1)).max()


def _strongest_links(couplings):
    """Strength of the strongest path between any two features; a path is as strong as its weakest coupling."""
    links = couplings.clone()
    for via in range(len(links)):
        links = torch.maximum(links, torch.minimum(links[:, via, None], links[via]))
    return links


def _linked_groups(group, links, threshold):
    """The group's parts that hang together by links above the threshold, each an ascending tensor of features."""
    linked = links[group][:, group] > threshold
    return [group[row] for row in linked.unique(dim=0)]


def _rank(cosines):
    return int((torch.linalg.eigvalsh(cosines) > SPANNED).sum())


def _polytope(cosines, rank):
    """The name of the polytope whose vertices have these cosines (features, features), in whatever order."""
    for name, of_vertices in _COSINES.get((rank, len(cosines)), ()):
        if _matches(cosines, of_vertices):
            return name
    return "irregular"


def _matches(cosines, of_vertices):
    """Whether features and vertices can be paired such that no cosine is off by more than SAME_COSINE."""
    # Sorting never makes the largest difference larger: a cheap test that spares most searches.
    if (
        cosines.flatten().sort().values - of_vertices.flatten().sort().values
    ).abs().max() > SAME_COSINE:
        return False
    return _can_place(
        cosines.tolist(), of_vertices.tolist(), [0]
    )  # all vertices are alike: feature 0 on vertex 0


def _can_place(cosines, of_vertices, taken):
    """Whether the features after the first len(taken), which lie on these vertices, find vertices too."""
    if len(taken) == len(cosines):
        return True
    to_earlier = cosines[len(taken)][: len(taken)]
    return any(
        _can_place(cosines, of_vertices, [*taken, vertex])
        for vertex, row in enumerate(of_vertices)
        if vertex not in taken
        and all(abs(row[v] - c) <= SAME_COSINE for v, c in zip(taken, to_earlier))
    )


def _cosines_by_size():
    """(rank, features) -> [(name, cosines of the vertices)], the square antiprism at two polar angles."""
    shapes = [(name, polytope.vertices) for name, polytope in POLYTOPES.items()]
    shapes.append(("square antiprism", square_antiprism(58.5)))
    by_size = {}
    for name, vertices in shapes:
        by_size.setdefault(tuple(vertices.shape), []).append((name, vertices.mT @ vertices))
    return by_size


_COSINES = _cosines_by_size()


# Arrangements that are no polytope of POLYTOPES, or several


def arrangement_name(W: Float[Tensor, "dimensions features"]) -> str:
    """The arrangement by the names of its tegum factors; a factor without a name by its size: "9 in 3".

    A pyramid over polytopes is an apex, and groups that all lean away from it and would be these polytopes, orthogonal
    to each other, if they did not: a triangle is one over a digon, a tetrahedron one over a triangle.
    """
    factors = tegum_factors(W)
    names = [
        _pyramid(W, factor) if factor.polytope == "irregular" else factor.polytope
        for factor in factors
    ]
    return _sum_of(names)


def _sum_of(names):
    counts = Counter(sorted(names, key="dedicated dimension".__eq__))  # dedicated ones last
    text = " + ".join(f"{count} × {kind}" if count > 1 else kind for kind, count in counts.items())
    return text.replace("dedicated dimension", "dedicated")


def _pyramid(W, factor):
    """A pyramid's name, or the factor's size."""
    directions = W[:, list(factor.features)] / W[:, list(factor.features)].norm(dim=0)
    for k, apex in enumerate(directions.T):
        others = torch.cat((directions[:, :k], directions[:, k + 1 :]), dim=1)
        leaning = apex @ others
        if leaning.max() < -SAME_COSINE:
            bases = tegum_factors(others - apex[:, None] * leaning)
            names = [base.polytope for base in bases]
            if (
                "irregular" not in names
                and sum(len(base.features) for base in bases) == others.shape[1]
            ):
                return f"pyramid over {_sum_of(names)}"
    prism = tricapped_prism()
    if directions.shape == prism.shape:
        cosines = [(of.mT @ of).flatten().sort().values for of in (directions, prism)]
        if (cosines[0] - cosines[1]).abs().max() < SAME_COSINE:
            return "tricapped trigonal prism"
    return f"{len(factor.features)} in {factor.rank}"


def tricapped_prism() -> Float64[Tensor, "3 9"]:
    """Nine directions furthest apart: two triangles at heights of 0.7, a third between them, its corners turned."""
    corners = [(turn, height) for height in (0.7, -0.7) for turn in (0, 120, 240)] + [
        (t, 0.0) for t in (60, 180, 300)
    ]
    turns, heights = torch.tensor(corners, dtype=torch.float64).T
    radius = (1 - heights**2).sqrt()
    return torch.stack((radius * turns.deg2rad().cos(), radius * turns.deg2rad().sin(), heights))
