"""Packing: how many equally important features arrange themselves best, with nothing trained (Section 4).

They form a product of polytopes in mutually orthogonal subspaces, and features of different factors do not see each
other: the loss is a sum over the factors. So the loss of each polytope by itself, at its best scale and bias, says
which of them, or which mixture, uses the hidden dimensions best at each density. Nor need polytopes be presupposed:
`best_arrangement` is the best known of k features in d dimensions, whatever it looks like.

The unit for all is the *benefit*: what is saved beside a model that represents nothing, per hidden dimension, where a
dedicated dimension saves 1.
"""

from itertools import pairwise
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from checks import as_line, check_count, check_size
from features import FeatureDistribution
from losses.exact import MAX_FEATURES, expected_loss
from theory.descents import GENTLE, descend, ignored_loss
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


def _placed(polytope, optimum):
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
    one = _placed(polytope, optimum)
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


def sampled_benefit(model, distribution, *, rows=2**16) -> Float[Tensor, " instances"]:
    """The benefit of trained models, from their loss over fresh rows.

    The same rows serve them and models that represent nothing, so that most of the noise cancels.
    """
    nothing = model.select(slice(None))
    nothing.W.data.zero_()
    nothing.b.data.copy_(distribution.density / 2)
    losses = [sampled_loss(chosen, distribution, rows=rows) for chosen in (nothing, model)]
    return (losses[0] - losses[1]) / (model.hidden * ignored_loss(1, distribution.density[:, 0]))


# The best arrangement, nothing presupposed


class Arrangement(NamedTuple):
    """The best known of k equally important features in d hidden dimensions, at each density."""

    W: Float[Tensor, "densities dimensions features"]
    b: Float[Tensor, "densities features"]
    loss: Float[Tensor, " densities"]
    benefit: Float[Tensor, " densities"]
    share: Float[Tensor, " densities"]  # of the random starts that reach it, up to SAME_BENEFIT


SAME_BENEFIT = (
    1e-4  # a descent from random weights has reached the best if it saves no less, up to this
)
SETTLED = 1e-9  # relative: what a further descent gains where a solution has settled
SCALES = (0.1, 0.3, 0.5)  # of random weights, in turn
SHAKEN = 0.05  # standard deviation of what is added to a copy of a structured start
RANDOM_STARTS = {7: 24, 8: 18, 9: 9, 10: 6, 11: 2, 12: 6}  # by features, and for fewer:
MANY_STARTS = 36
DEAR = 11  # features from which a descent takes half the steps
ROUNDS = 60  # of handing solutions on, at most


def best_arrangement(
    features, dimensions, density: Float[Tensor, " densities"], *, progress=True
) -> Arrangement:
    """The best known arrangement of equally important features at each density, by descents on the exact loss.

    Descents start from random weights of several scales, and from the catalogue: its polytopes with as many features
    and dimensions, and the best product of its smaller ones, exact and shaken. The best of each density is then handed
    on to its neighbours in density, to and fro, until nothing improves. It is no worse than the best of the catalogue.
    Densities that are close to each other help each other: the more of them, the better each. The same every time.

    Raises ValueError for densities outside of (0, 1], no dimension or fewer than one feature a dimension, and more
    than MAX_FEATURES = 12 features.
    """
    density = as_line("density", density, highest=1)
    check_count("dimensions", dimensions)
    check_count("features", features)
    if not dimensions <= features <= MAX_FEATURES:
        raise ValueError(f"features: expected {dimensions} to {MAX_FEATURES}, got {features}")
    bar = tqdm(
        desc=f"{features} in {dimensions}", unit="descent", disable=not progress, leave=False
    )
    with bar:
        found = [
            _random_solutions(features, dimensions, density),
            *_structured(features, dimensions, density),
        ]
        bar.update(len(found))
        W, b, loss = (
            torch.cat(values, dim=1) for values in zip(*found)
        )  # (densities, starts, ...)
        every, lowest = torch.arange(len(density)), loss.argmin(dim=1)
        best = [values[every, lowest] for values in (W, b, loss)]
        order = density.argsort()
        fresh = torch.ones(len(density), dtype=torch.bool)
        for _ in range(ROUNDS):
            fresh = _handed_on(best, fresh, order, density)
            bar.update()
            if not fresh.any():
                break
    benefit, of_random = (
        _benefit(values, features, dimensions, density) for values in (best[2], found[0][2].T)
    )
    return Arrangement(*best, benefit, (of_random > benefit - SAME_BENEFIT).double().mean(dim=0))


def _benefit(loss, features, dimensions, density):
    ignored = ignored_loss(1, density)
    return (features * ignored - loss) / (dimensions * ignored)


def _random_solutions(features, dimensions, density):
    """Where descents from random weights end at each density: W, b, loss (densities, starts, ...)."""
    starts = RANDOM_STARTS.get(features, MANY_STARTS)
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(
        len(density), starts, dimensions, features, generator=generator, dtype=torch.float64
    )
    W *= torch.tensor(SCALES, dtype=torch.float64).repeat(starts)[:starts, None, None]
    return _descended(W, torch.zeros_like(W[:, :, 0]), density, steps=300, lr=0.1)


def _structured(features, dimensions, density):
    """Starts from the catalogue as they are, and where descents from them end."""
    fitting = {
        name: polytope_optimum(name, density)
        for name, (of_polytope, vertices) in (
            (name, each.vertices.shape) for name, each in POLYTOPES.items()
        )
        if of_polytope <= dimensions and vertices <= features
    }
    starts = [_best_products(fitting, features, dimensions, density)]
    for name in fitting:
        if POLYTOPES[name].vertices.shape == (dimensions, features):
            starts.append(product_of_copies(name, fitting[name], features, dimensions, density))
    W, b = (torch.stack(values, dim=1) for values in zip(*starts))  # (densities, starts, ...)
    distribution = FeatureDistribution(density[:, None], features=features).with_restarts(
        W.shape[1]
    )
    yield W, b, expected_loss(W.flatten(0, 1), b.flatten(0, 1), distribution).view(len(density), -1)
    noise = torch.randn(W.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    yield _descended(W + SHAKEN * noise, b, density, steps=200, lr=3e-2)


def _best_products(optima, features, dimensions, density):
    """The product of polytopes that saves most at each density -> W, b."""
    products = list(_products(features, dimensions, list(optima)))
    saved = {
        name: optimum.benefit * len(POLYTOPES[name].vertices) for name, optimum in optima.items()
    }
    nothing = torch.zeros_like(density)
    best = torch.stack(
        [sum((saved[name] for name in names), nothing) for names in products]
    ).argmax(dim=0)
    placed = []
    for k, names in enumerate(products[at] for at in best.tolist()):
        factors = [(_placed(name, optima[name])[k], optima[name].bias[k]) for name in names]
        factors = [(W, bias.expand(W.shape[1])) for W, bias in factors]
        placed.append(assembled(factors, features, dimensions, density[k]))
    W, b = (torch.stack(values) for values in zip(*placed))
    return W, b


def _products(features, dimensions, names):
    """Tuples of names of polytopes that have together no more features and dimensions than there are."""
    yield ()
    for k, name in enumerate(names):
        needed, vertices = POLYTOPES[name].vertices.shape
        if needed <= dimensions and vertices <= features:
            for others in _products(features - vertices, dimensions - needed, names[k:]):
                yield (name, *others)


def assembled(
    factors, features, dimensions, density
) -> tuple[Float[Tensor, "dimensions features"], Float[Tensor, " features"]]:
    """Factors in orthogonal subspaces at one density, other features without weights and with their mean as bias.

    factors: W (dimensions, features) and b (features,) of each
    """
    W = torch.zeros(dimensions, features, dtype=torch.float64)
    b = torch.full((features,), float(density) / 2, dtype=torch.float64)
    row = column = 0
    for of_W, of_b in factors:
        height, width = of_W.shape
        W[row : row + height, column : column + width] = of_W
        b[column : column + width] = of_b
        row, column = row + height, column + width
    return W, b


def _descended(W, b, density, *, steps, lr):
    """Where descents from W, b (densities, starts, ...) end: the same, and their losses."""
    shape, steps = W.shape[:2], steps // 2 if W.shape[3] >= DEAR else steps
    distribution = FeatureDistribution(density[:, None], features=W.shape[3]).with_restarts(
        shape[1]
    )
    model, losses = descend(W.flatten(0, 1), b.flatten(0, 1), distribution, steps=steps, lr=lr)
    return *(values.detach().unflatten(0, shape) for values in (model.W, model.b)), losses.view(
        shape
    )


def _handed_on(best, fresh, order, density):
    """Descend from solutions that are fresh, at their densities and their neighbours', in place; what got better.

    best: W, b and loss at each density; order: densities as they follow each other
    """
    along = torch.cat(
        [
            torch.stack(pair)
            for pair in ((order, order), (order[:-1], order[1:]), (order[1:], order[:-1]))
        ],
        1,
    )
    source, to = along[:, fresh[along[0]]]
    W, b, losses = (
        values[:, 0]
        for values in _descended(
            best[0][source, None], best[1][source, None], density[to], steps=150, lr=GENTLE
        )
    )
    better = torch.zeros_like(fresh)
    for k, at in enumerate(to.tolist()):
        if losses[k] < best[2][at]:
            better[at] |= losses[k] < best[2][at] * (1 - SETTLED)
            for values, found in zip(best, (W, b, losses)):
                values[at] = found[k]
    return better


# The limit of many weak couplings


def mean_field_benefit(density: Float[Tensor, " densities"]) -> Float[Tensor, " densities"]:
    """The benefit per dimension where very many features interfere by many weak random couplings.

    All have one norm r, one bias, and k features share m dimensions evenly. Interference is then Gaussian, with
    variance r^4 (k/m - 1)(p/3 - p^2/4) at density p (its mean belongs to the bias); r, bias and k/m >= 1 are the best.
    Raises ValueError for densities outside of (0, 1].
    """
    density = as_line("density", density, highest=1)
    start = torch.tensor([1.0, -0.1, 1.0], dtype=torch.float64)  # r^2, bias, logarithm of k/m - 1
    best = start.repeat(len(density), 1).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [best], max_iter=500, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def benefit():
        squared_norm, bias, extra = best.T
        return mean_field_saved(squared_norm, bias, 1 + extra.exp(), density)

    def step():
        optimizer.zero_grad()
        shortfall = -benefit().sum()
        shortfall.backward()
        return shortfall

    optimizer.step(step)
    return benefit().detach()


def mean_field_saved(squared_norm, bias, features_per_dimension, density):
    """What a model of Gaussian interference saves per dimension (densities,), not at its best: `mean_field_benefit`."""
    ignored = ignored_loss(1, density)
    spread = squared_norm * ((features_per_dimension - 1) * ignored).sqrt()
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(40))
    x = (nodes[:, None] + 1) / 2  # on [0, 1]
    first, second = _gaussian_relu(squared_norm * x + bias, spread)
    active = (weights[:, None] / 2 * (x**2 - 2 * x * first + second)).sum(dim=0)
    loss = (1 - density) * _gaussian_relu(bias, spread)[1] + density * active
    return features_per_dimension * (ignored - loss) / ignored


def _gaussian_relu(mean, spread):
    """Mean and mean square of ReLU(z), z Gaussian."""
    normal = torch.distributions.Normal(0.0, 1.0)
    above, at = normal.cdf(mean / spread), normal.log_prob(mean / spread).exp() * spread
    return mean * above + at, (mean**2 + spread**2) * above + mean * at
