"""Packing: how many equally important features arrange themselves best, with nothing trained (Section 4).

They form a product of polytopes in mutually orthogonal subspaces, and features of different factors do not see each
other: the loss is a sum over the factors. So the loss of each polytope by itself, at its best scale and bias, says
which of them, or which mixture, uses the hidden dimensions best at each density.

The unit for all is the *benefit*: what is saved beside a model that represents nothing, per hidden dimension, where a
dedicated dimension saves 1.
"""

from itertools import pairwise
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from checks import as_line, check_count, check_size
from features import FeatureDistribution
from losses.exact import expected_loss
from theory.descents import ignored_loss
from theory.polytopes import POLYTOPES, check_polytopes
from training import sampled_loss


def logarithmic(low, high, points):
    """Values of 1/(1-S) from low to high in equal ratios, two at least."""
    check_count("points - 1", points - 1)
    as_line("low, high", (low, high))
    return tuple(round(low * (high / low) ** (k / (points - 1)), 4) for k in range(points))


def check_inverse_density(inverse_density):
    """ValueError unless these are values of 1/(1-S), one at least."""
    if (as_line("inverse_density", inverse_density) < 1).any():
        raise ValueError(
            f"inverse_density: expected numbers of at least 1, got {inverse_density!r}"
        )


class PolytopeOptimum(NamedTuple):
    """Equally important features on the vertices of a polytope, at their best, at each density."""

    benefit: Float[Tensor, " densities"]
    scale: Float[Tensor, " densities"]  # norm of every feature
    bias: Float[Tensor, " densities"]  # of every output
    stretch: Float[
        Tensor, " densities"
    ]  # of the polytope along its last dimension; 1 unless it is in STRETCHED


# Vertices of these stay alike in any stretch along the last dimension, so the best one is chosen.
STRETCHED = ("square antiprism", *(name for name in POLYTOPES if "tilted" in name))


def polytope_optimum(polytope, density: Float[Tensor, " densities"]) -> PolytopeOptimum:
    """The best that features on the vertices of one of POLYTOPES can do, at each density.

    All vertices are alike, so all features have one norm s and one bias b, and the loss of one output is that of all.
    The benefit per dimension of k vertices in d dimensions with the least loss L is (k c - L) / (d c), where
    c = s/3 - s^2/4 is the loss of a feature that is not represented: a dedicated dimension has benefit 1.

    Raises ValueError for a name that is not in POLYTOPES, and densities outside of (0, 1].
    """
    check_polytopes([polytope])
    density = as_line("density", density, highest=1)
    vertices = POLYTOPES[polytope].vertices  # (dimensions d, vertices k)
    dimensions, count = vertices.shape
    first_output = torch.eye(count, dtype=torch.float64)[0]
    distribution = FeatureDistribution(density[:, None], first_output, features=count)
    ignored = ignored_loss(1, density)
    start = torch.tensor([1.0, -0.1, 1.0], dtype=torch.float64)
    best = start.repeat(len(density), 1).requires_grad_()  # scale, bias, stretch
    optimizer = torch.optim.LBFGS(
        [best], max_iter=300, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def benefit():
        scale, bias, stretch = best.T
        placed = _stretched(
            vertices, stretch if polytope in STRETCHED else torch.ones_like(stretch)
        )
        losses = expected_loss(
            scale[:, None, None] * placed, bias[:, None].expand(-1, count), distribution
        )
        return count * (ignored - losses) / (dimensions * ignored)

    def step():
        optimizer.zero_grad()
        shortfall = -benefit().sum()
        shortfall.backward()
        return shortfall

    optimizer.step(step)
    with torch.no_grad():
        return PolytopeOptimum(benefit(), *best.detach().T)


def _stretched(vertices, stretch):
    """Vertices (dimensions, k) stretched along the last dimension and put back on the sphere: (stretches, ...)."""
    stretched = torch.cat(
        (vertices[:-1].expand(len(stretch), -1, -1), stretch[:, None, None] * vertices[-1:]), dim=1
    )
    return stretched / stretched.norm(dim=1, keepdim=True)


def placed(polytope, optimum):
    """Weights of a polytope at its best: (densities, dimensions, vertices)."""
    return optimum.scale[:, None, None] * _stretched(POLYTOPES[polytope].vertices, optimum.stretch)


def product_of_copies(
    polytope, optimum, features, hidden, density: Float[Tensor, " densities"]
) -> tuple[Float[Tensor, "densities hidden features"], Float[Tensor, "densities features"]]:
    """Weights of as many copies of a polytope as fit, other features without weights and with their mean as bias.

    polytope, optimum: a name and its PolytopeOptimum at these densities
    -> W, b
    """
    check_size(densities=len(density), features=features, hidden=hidden)
    one = placed(polytope, optimum)
    dimensions, count = one.shape[1:]
    copies = min(hidden // dimensions, features // count)
    W = torch.zeros(len(density), hidden, features, dtype=torch.float64)
    b = (density / 2)[:, None].repeat(1, features)
    for k in range(copies):
        W[:, k * dimensions : (k + 1) * dimensions, k * count : (k + 1) * count] = one
    b[:, : copies * count] = optimum.bias[:, None]
    return W, b


def polytope_optima(
    density: Float[Tensor, " densities"], polytopes=tuple(POLYTOPES), progress=True
) -> dict[str, PolytopeOptimum]:
    """The optimum of each polytope, by name, over density."""
    check_polytopes(polytopes)
    return {
        polytope: polytope_optimum(polytope, density)
        for polytope in tqdm(polytopes, desc="polytopes", disable=not progress, leave=False)
    }


class Mixture(NamedTuple):
    """Which share of the hidden dimensions goes to each kind of arrangement at each density."""

    shares: Float[Tensor, "kinds densities"]
    benefit: Float[Tensor, " densities"]


def best_mixture(
    needed: Float[Tensor, " kinds"],
    benefit: Float[Tensor, "kinds densities"],
    features_per_dimension=float("inf"),
) -> Mixture:
    """The mixture that saves most at each density, where n features have m dimensions.

    Maximizes the benefit, which is linear in the shares. With n/m features per dimension at most, the
    best is one kind or a mixture of two that use all features (a corner of the linear program).

    needed: features per dimension of each kind, one of them at most 1; benefit: what each saves per dimension;
    features_per_dimension: n/m >= 1
    """
    if not isinstance(features_per_dimension, Real) or not features_per_dimension >= 1:
        raise ValueError(
            f"features_per_dimension: expected at least 1, got {features_per_dimension!r}"
        )
    if not (as_line("needed", needed) <= 1).any():
        raise ValueError(f"needed: expected a kind with one feature per dimension, got {needed!r}")
    a, b = torch.cartesian_prod(*[torch.arange(len(needed))] * 2).T
    fits = needed[a] <= features_per_dimension
    a, b = a[fits], b[fits]
    # the second of a pair gets as many dimensions as there are features for
    share = ((features_per_dimension - needed[a]) / (needed[b] - needed[a]).clamp(min=1e-9)).clamp(
        0, 1
    )
    share = torch.where(needed[b] > needed[a], share, 0)
    of_pairs = torch.lerp(benefit[a], benefit[b], share[:, None])  # (pairs, densities)
    most = of_pairs.max(dim=0)
    shares = torch.zeros_like(benefit)
    every = torch.arange(benefit.shape[1])
    shares[a[most.indices], every] = 1 - share[most.indices]
    shares[b[most.indices], every] += share[most.indices]
    return Mixture(shares, most.values)


def windows(density: Float[Tensor, " densities"], benefit: dict[str, Float[Tensor, " densities"]]):
    """Where each kind is the best, in features without end: [(name, lowest, highest 1/(1-S))], densest first.

    density: decreasing; benefit: of each kind, by name. Inner ends are crossings of two
    benefits, interpolated between densities; outer ends are those of the densities.
    """
    names = list(benefit)
    inverse_density = (1 / density).tolist()
    benefit = torch.stack(list(benefit.values()))
    best = benefit.argmax(dim=0).tolist()
    found = [(names[best[0]], inverse_density[0], inverse_density[-1])]
    for k, (before, after) in enumerate(pairwise(best)):
        if before != after:
            lead, lag = (benefit[before] - benefit[after])[k : k + 2].tolist()
            crossing = inverse_density[k] * (inverse_density[k + 1] / inverse_density[k]) ** (
                lead / (lead - lag)
            )
            found[-1] = (*found[-1][:2], crossing)
            found.append((names[after], crossing, inverse_density[-1]))
    return found


def sampled_benefit(model, distribution, *, rows=2**16, seed=0) -> Float[Tensor, " instances"]:
    """The benefit of trained models, from their loss over fresh rows.

    The same rows serve them and models that represent nothing, so that most of the noise cancels.
    """
    nothing = model.select(slice(None))
    nothing.W.data.zero_()
    nothing.b.data.copy_(distribution.density / 2)
    losses = [
        sampled_loss(chosen, distribution, rows=rows, seed=seed) for chosen in (nothing, model)
    ]
    return (losses[0] - losses[1]) / (model.hidden * ignored_loss(1, distribution.density[:, 0]))
