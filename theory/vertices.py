"""Vertices of polytopes as unit columns, laid out as the W of one instance."""

from itertools import combinations
from math import cos, radians, sin

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from checks import check_positive

# Polar angle, in degrees, of the square antiprism that eight electrons on a sphere form: the
# solution of the Thomson problem.
THOMSON_ANGLE = 55.9137
# Height of the two outer triangles of the tricapped trigonal prism over its middle, for unit
# vertices.
PRISM_HEIGHT = 0.7


def normalized(
    vertices: Float[Tensor, "dimensions vertices"],
) -> Float[Tensor, "dimensions vertices"]:
    """Return the columns scaled to unit length.

    Args:
        vertices: Columns other than zero.
    """
    return vertices / vertices.norm(dim=0)


def polygon(vertices: int) -> Float64[Tensor, "2 vertices"]:
    """Return the vertices of a regular polygon.

    Args:
        vertices: Number of vertices.
    """
    angles = 2 * torch.pi / vertices * torch.arange(vertices, dtype=torch.float64)
    return torch.stack((angles.cos(), angles.sin()))


def simplex(dimensions: int) -> Float64[Tensor, "dimensions vertices"]:
    """Return the vertices of a regular simplex, one more than there are dimensions.

    They are the columns of a Helmert matrix without its constant row: its rows are orthogonal to
    each other and to the vector of ones.

    Args:
        dimensions: Number of dimensions.
    """
    row = torch.arange(1, dimensions + 1, dtype=torch.float64)[:, None]
    column = torch.arange(dimensions + 1)
    helmert = torch.where(column < row, 1.0, torch.where(column == row, -row, 0.0))
    return normalized(helmert / helmert.norm(dim=1, keepdim=True))


def diplosimplex(dimensions: int) -> Float64[Tensor, "dimensions vertices"]:
    """Return the vertices of a simplex and of its mirror image.

    They are one antipodal pair more than there are dimensions, all equally close to each other.

    Args:
        dimensions: Number of dimensions.
    """
    return torch.cat((simplex(dimensions), -simplex(dimensions)), dim=1)


def tilted(
    vertices: Float64[Tensor, "dimensions vertices"], copies: int
) -> Float64[Tensor, "tilted_dimensions tilted_vertices"]:
    """Return copies in orthogonal subspaces that all lean towards one more, shared dimension.

    The result is a tight frame.

    Args:
        vertices: Vertices of one copy.
        copies: Number of copies.
    """
    product = torch.block_diag(*[vertices] * copies)
    lean = (len(product) + 1) ** -0.5  # cosine with the shared dimension
    return torch.cat(((1 - lean**2) ** 0.5 * product, lean * torch.ones_like(product[:1])))


def rectified_4_simplex() -> Float64[Tensor, "4 10"]:
    """Return the middles of the edges of a 4-simplex.

    They are the ten directions in four dimensions that are furthest apart (Bachoc and Vallentin,
    2009).
    """
    corners = simplex(4)
    middles = [corners[:, i] + corners[:, j] for i, j in combinations(range(5), 2)]
    return normalized(torch.stack(middles, dim=1))


def icosahedron() -> Float64[Tensor, "3 12"]:
    """Return the vertices of a regular icosahedron."""
    golden = (1 + 5**0.5) / 2
    rectangle = [(0, a, b) for a in (-1, 1) for b in (-golden, golden)]
    # The vertices are the corners of three golden rectangles, orthogonal to each other.
    corners = [corner[turn:] + corner[:turn] for corner in rectangle for turn in range(3)]
    return normalized(torch.tensor(corners, dtype=torch.float64).T)


def square_antiprism(polar_angle: float = THOMSON_ANGLE) -> Float64[Tensor, "3 8"]:
    """Return the vertices of a square antiprism: two squares, of which one is turned by 45 degrees.

    The Thomson angle, which the paper shows, is within 0.5 degrees of the angle of least loss at
    densities from 1/5 to 1/4, at which the antiprism first appears. At 1/20 the best angle is
    near 58.

    Args:
        polar_angle: Angle in degrees between the vertices of each square and the nearer pole.

    Raises:
        ValueError: If the angle is not a finite number above 0.
    """
    polar = radians(check_positive("polar_angle", polar_angle))
    corners = []
    for side, twist in ((1, 0), (-1, 45)):
        for corner in range(4):
            azimuth = radians(90 * corner + twist)
            corners.append(
                (sin(polar) * cos(azimuth), sin(polar) * sin(azimuth), side * cos(polar))
            )
    return torch.tensor(corners, dtype=torch.float64).T


def tricapped_prism() -> Float64[Tensor, "3 9"]:
    """Return nine directions that are furthest apart, the tricapped trigonal prism.

    Two triangles lie above each other, and a third, turned against them, lies in between.
    """
    corners = [(turn, height) for height in (PRISM_HEIGHT, -PRISM_HEIGHT) for turn in (0, 120, 240)]
    corners += [(turn, 0.0) for turn in (60, 180, 300)]
    turns, heights = torch.tensor(corners, dtype=torch.float64).T
    radius = (1 - heights**2).sqrt()
    return torch.stack((radius * turns.deg2rad().cos(), radius * turns.deg2rad().sin(), heights))
