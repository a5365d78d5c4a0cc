"""Packing: how equally important features use the hidden dimensions best, with nothing trained.

Features form a product of polytopes in mutually orthogonal subspaces (paper, Section 4). Features
of different factors do not interfere, so that the loss is a sum over the factors. The loss of
each polytope by itself, at its best scale and bias, therefore says which polytope, or which
mixture of polytopes, uses the hidden dimensions best at each density.

The unit for all is the *benefit*: the loss that is saved per hidden dimension, compared with a
model that represents nothing. A dedicated dimension has a benefit of 1.
"""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from numbers import Real as RealNumber
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor
from tqdm import tqdm

from checks import as_line, as_real, check_count, check_size, shown
from features import FeatureDistribution
from losses.exact import expected_loss
from theory.descents import ignored_loss, maximize
from theory.polytopes import POLYTOPES, check_polytopes
from training import sampled_loss


def logarithmic(low: RealNumber, high: RealNumber, points: Integral) -> tuple[float, ...]:
    """Return values of 1/(1-S) from low to high in equal ratios, rounded to four digits.

    Args:
        low: First value, above 0.
        high: Last value, above 0.
        points: Number of values, at least 2.

    Raises:
        ValueError: If an argument is not what its description says.
    """
    steps = check_count("points - 1", points - 1)
    low, high = as_line("low, high", (low, high)).tolist()
    return tuple(round(low * (high / low) ** (k / steps), 4) for k in range(steps + 1))


def check_inverse_density(inverse_density):
    """Check that these are values of 1/(1-S), at least one.

    Args:
        inverse_density: Numbers of at least 1.

    Raises:
        ValueError: If they are anything else.
    """
    if (as_line("inverse_density", inverse_density) < 1).any():
        raise ValueError(
            f"inverse_density: expected numbers of at least 1, got {shown(inverse_density)}"
        )


# Polytopes

# Polytopes whose vertices stay alike in any stretch along the last dimension, so that the best is
# chosen.
STRETCHED = ("square antiprism", *(name for name in POLYTOPES if "tilted" in name))


class PolytopeOptimum(NamedTuple):
    """Equally important features on the vertices of a polytope, at their best, at each density."""

    benefit: Float[Tensor, " densities"]
    scale: Float[Tensor, " densities"]  # norm of every feature
    bias: Float[Tensor, " densities"]  # bias of every output
    stretch: Float[Tensor, " densities"]  # along the last dimension; 1 unless in STRETCHED


def polytope_optimum(
    polytope: str, density: Real[Tensor, " densities"] | np.ndarray | Sequence
) -> PolytopeOptimum:
    """Find the best that features on the vertices of a polytope can do, at each density.

    All vertices are alike, so all features have one norm and one bias, and the loss of one output
    stands for that of all. The benefit per dimension of k vertices in d dimensions with the least
    loss L is (k c - L) / (d c), where c = s/3 - s^2/4 is the loss of a feature that is not
    represented.

    Args:
        polytope: Name of one of POLYTOPES.
        density: Density s of all features, in (0, 1].

    Raises:
        ValueError: If the name is not in POLYTOPES or the densities are not numbers in (0, 1].
    """
    check_polytopes([polytope])
    density = as_line("density", density, highest=1)
    vertices = POLYTOPES[polytope].vertices
    dimensions, count = vertices.shape
    first_output = torch.eye(count, dtype=torch.float64)[0]
    distribution = FeatureDistribution(density[:, None], first_output, features=count)
    ignored = ignored_loss(1, density)

    def benefit(parameters):
        scale, bias, stretch = parameters.T
        if polytope not in STRETCHED:
            stretch = torch.ones_like(stretch)
        W = scale[:, None, None] * _stretched(vertices, stretch)
        losses = expected_loss(W, bias[:, None].expand(-1, count), distribution)
        return count * (ignored - losses) / (dimensions * ignored)

    start = torch.tensor([1.0, -0.1, 1.0], dtype=torch.float64)  # scale, bias, stretch
    best = maximize(benefit, start.repeat(len(density), 1), steps=300)
    return PolytopeOptimum(benefit(best), *best.T)


def polytope_optima(
    density: Real[Tensor, " densities"] | np.ndarray | Sequence,
    polytopes: Sequence[str] = tuple(POLYTOPES),
    progress: bool = True,
) -> dict[str, PolytopeOptimum]:
    """Find the optimum of each of several polytopes, by name.

    Args:
        density: Density of all features, in (0, 1].
        polytopes: Names of POLYTOPES.
        progress: Whether to show a bar on stderr.

    Raises:
        ValueError: If a name is not in POLYTOPES or the densities are not numbers in (0, 1].
    """
    check_polytopes(polytopes)
    bar = tqdm(polytopes, desc="polytopes", disable=not progress, leave=False)
    return {polytope: polytope_optimum(polytope, density) for polytope in bar}


def _stretched(vertices, stretch):
    """Return vertices stretched along the last dimension and put back on the unit sphere.

    Args:
        vertices: Unit columns (dimensions, vertices).
        stretch: Factor (stretches,) by which the last dimension is stretched.

    Returns:
        Unit columns for each stretch: (stretches, dimensions, vertices).
    """
    others = vertices[:-1].expand(len(stretch), -1, -1)
    last = stretch[:, None, None] * vertices[-1:]
    stretched = torch.cat((others, last), dim=1)
    return stretched / stretched.norm(dim=1, keepdim=True)


def polytope_weights(
    polytope: str, optimum: PolytopeOptimum
) -> Float[Tensor, "densities dimensions vertices"]:
    """Return the weights of a polytope at its optimum.

    Args:
        polytope: Name of one of POLYTOPES.
        optimum: What `polytope_optimum` has found for it.
    """
    directions = _stretched(POLYTOPES[polytope].vertices, optimum.stretch)
    return optimum.scale[:, None, None] * directions


# Products


class Placed(NamedTuple):
    """Weights and biases of one model."""

    W: Float[Tensor, "hidden features"]
    b: Float[Tensor, " features"]


def assembled(
    factors: Sequence[tuple[Tensor, Tensor]],
    features: int,
    hidden: int,
    density: float | Float[Tensor, ""],
) -> Placed:
    """Place factors in orthogonal subspaces; other features are not represented.

    A feature that is not represented has no weights, and its mean as bias.

    Args:
        factors: W (dimensions, vertices) and b (vertices,) of each factor, in the order in which
            their dimensions and features follow each other.
        features: Number of features of the model, at least that of the factors together.
        hidden: Number of hidden dimensions, at least that of the factors together.
        density: Density of all features.
    """
    W = torch.zeros(hidden, features, dtype=torch.float64)
    b = torch.full((features,), float(density) / 2, dtype=torch.float64)
    row = 0
    column = 0
    for factor_W, factor_b in factors:
        height, width = factor_W.shape
        W[row : row + height, column : column + width] = factor_W
        b[column : column + width] = factor_b
        row += height
        column += width
    return Placed(W, b)


class Product(NamedTuple):
    """Weights and biases of a product of polytopes at each density."""

    W: Float[Tensor, "densities hidden features"]
    b: Float[Tensor, "densities features"]


def product_of_copies(
    polytope: str,
    optimum: PolytopeOptimum,
    features: int,
    hidden: int,
    density: Float[Tensor, " densities"],
) -> Product:
    """Place as many copies of a polytope as fit; other features are not represented.

    Args:
        polytope: Name of one of POLYTOPES.
        optimum: What `polytope_optimum` has found for it at these densities.
        features: Number of features of the model.
        hidden: Number of hidden dimensions.
        density: Density of all features.

    Raises:
        ValueError: If the sizes are not whole numbers above 0, or the weights do not fit into
            memory.
    """
    _, features, hidden = check_size(densities=len(density), features=features, hidden=hidden)
    weights = polytope_weights(polytope, optimum)
    dimensions, vertices = weights.shape[1:]
    copies = min(hidden // dimensions, features // vertices)
    placed = []
    for W, bias, s in zip(weights, optimum.bias, density):
        factor = W, bias.expand(vertices)
        placed.append(assembled([factor] * copies, features, hidden, s))
    W, b = (torch.stack(values) for values in zip(*placed))
    return Product(W, b)


# Mixtures


class Mixture(NamedTuple):
    """Share of the hidden dimensions that goes to each kind of arrangement, at each density."""

    shares: Float[Tensor, "kinds densities"]
    benefit: Float[Tensor, " densities"]


def best_mixture(
    needed: Real[Tensor, " kinds"] | np.ndarray | Sequence,
    benefit: Real[Tensor, "kinds densities"] | np.ndarray | Sequence,
    features_per_dimension: float = float("inf"),
) -> Mixture:
    """Find the mixture of arrangements that saves most at each density.

    The benefit is linear in the shares of the hidden dimensions. With at most n/m features per
    dimension, the best is one kind, or a mixture of two that uses all features: a corner of the
    linear program.

    Args:
        needed: Features per dimension that each kind needs, for one of them at most 1.
        benefit: Benefit per dimension of each kind.
        features_per_dimension: Number n of features over number m of hidden dimensions, at least 1.

    Raises:
        ValueError: If no kind needs so few features, or an argument is not what its description
            says.
    """
    if not isinstance(features_per_dimension, RealNumber) or not features_per_dimension >= 1:
        raise ValueError(
            f"features_per_dimension: expected at least 1, got {shown(features_per_dimension)}"
        )
    needed = as_line("needed", needed)
    benefit = as_real("benefit", benefit)
    if benefit.dim() != 2 or len(benefit) != len(needed):
        raise ValueError(
            f"benefit: expected one row for each of {len(needed)} kinds, got {tuple(benefit.shape)}"
        )
    if not (needed <= 1).any():
        raise ValueError(
            f"needed: expected a kind with one feature per dimension, got {shown(needed)}"
        )
    every_kind = torch.arange(len(needed))
    first, second = torch.cartesian_prod(every_kind, every_kind).T
    fits = needed[first] <= features_per_dimension
    first = first[fits]
    second = second[fits]
    share = _share_of_second(needed[first], needed[second], features_per_dimension)
    pair_benefit = torch.lerp(benefit[first], benefit[second], share[:, None])  # (pairs, densities)
    most = pair_benefit.max(dim=0)
    shares = torch.zeros_like(benefit)
    every_density = torch.arange(benefit.shape[1])
    shares[first[most.indices], every_density] = 1 - share[most.indices]
    shares[second[most.indices], every_density] += share[most.indices]
    return Mixture(shares, most.values)


def _share_of_second(needed_first, needed_second, features_per_dimension):
    """Return the share of the dimensions for which the second kind has enough features."""
    extra = (needed_second - needed_first).clamp(min=1e-9)
    share = ((features_per_dimension - needed_first) / extra).clamp(0, 1)
    return torch.where(needed_second > needed_first, share, 0)


class LeadingRange(NamedTuple):
    """Range of 1/(1-S) over which one kind of arrangement has the highest benefit."""

    name: str
    low: float
    high: float


def leading_ranges(
    density: Float[Tensor, " densities"], benefit: dict[str, Float[Tensor, " densities"]]
) -> list[LeadingRange]:
    """Find where each kind has the highest benefit, with features without end, densest first.

    Inner ends of the ranges are crossings of two benefits, interpolated between densities. Outer
    ends are those of the densities.

    Args:
        density: Densities, decreasing.
        benefit: Benefit per dimension of each kind, by name.
    """
    names = list(benefit)
    inverse_density = (1 / density).tolist()
    table = torch.stack(list(benefit.values()))
    best = table.argmax(dim=0).tolist()
    found = []
    start = inverse_density[0]
    for k, (before, after) in enumerate(pairwise(best)):
        if before != after:
            ahead, behind = (table[before] - table[after])[k : k + 2].tolist()
            step = inverse_density[k + 1] / inverse_density[k]
            crossing = inverse_density[k] * step ** (ahead / (ahead - behind))
            found.append(LeadingRange(names[before], start, crossing))
            start = crossing
    return [*found, LeadingRange(names[best[-1]], start, inverse_density[-1])]


# Trained models


def sampled_benefit(
    model, distribution, *, rows: int = 2**16, seed: int = 0
) -> Float[Tensor, " instances"]:
    """Estimate the benefit of trained models from their loss over fresh rows.

    The same rows serve the models and models that represent nothing, so that most of the noise
    cancels.

    Args:
        model: Trained models, of equally important features.
        distribution: Their inputs.
        rows: Number of rows of each instance.
        seed: Seed of the rows.
    """
    nothing = model.select(slice(None))
    nothing.W.data.zero_()
    nothing.b.data.copy_(distribution.density / 2)
    nothing_loss = sampled_loss(nothing, distribution, rows=rows, seed=seed)
    loss = sampled_loss(model, distribution, rows=rows, seed=seed)
    ignored = ignored_loss(1, distribution.density[:, 0])
    return (nothing_loss - loss) / (model.hidden * ignored)
