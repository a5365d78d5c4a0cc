"""Arrangements: the best of k equally important features in d dimensions, no polytope presupposed.

This is the search behind the periodic table of superposition (Section 4). Many of the best
arrangements are polytopes that are known from spreading points over a sphere, such as the square
antiprism, which solves the Thomson problem of eight electrons.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor
from tqdm import tqdm

from checks import as_line, check_count
from features import FeatureDistribution
from losses.exact import MAX_FEATURES, expected_loss
from theory.descents import Minima, descend, hand_on, ignored_loss
from theory.packing import assembled, polytope_optimum, polytope_weights, product_of_copies
from theory.polytopes import POLYTOPES

# Benefit by which a descent from random weights may miss the best and still count as having
# reached it.
SAME_BENEFIT = 1e-4
# Relative fall of the loss up to which a solution has settled and is not handed on again.
NEGLIGIBLE_FALL = 1e-9
# Number of random starts at each density by the number of features: fewer where descents are slow.
RANDOM_STARTS = {7: 24, 8: 18, 9: 9, 10: 6, 11: 2, 12: 6}
# Number of random starts for all other numbers of features.
MANY_STARTS = 36
# Standard deviations of the random weights, which the starts take in turn.
RANDOM_SCALES = (0.1, 0.3, 0.5)
# Standard deviation of the noise that is added to the weights of structured starts.
STRUCTURED_NOISE = 0.05
# Number of features from which descents take half the steps, as the exact loss gets slow.
SLOW_FEATURES = 11
# Number of rounds, at most, in which densities exchange their solutions.
ROUNDS = 60


class Arrangement(NamedTuple):
    """The best known arrangement of k equally important features in d dimensions, by density."""

    W: Float[Tensor, "densities dimensions features"]
    b: Float[Tensor, "densities features"]
    loss: Float[Tensor, " densities"]
    benefit: Float[Tensor, " densities"]  # loss saved per dimension; a dedicated dimension has 1
    share: Float[Tensor, " densities"]  # share of random starts that reach it, up to SAME_BENEFIT


def best_arrangement(
    features: int,
    dimensions: int,
    density: Real[Tensor, " densities"] | np.ndarray | Sequence,
    *,
    progress: bool = True,
) -> Arrangement:
    """Find the best known arrangement of equally important features at each density.

    Descents on the exact loss start from random weights of several scales and from the catalogue:
    from its polytopes of as many features and dimensions, and from the best product of its
    smaller ones, as they are and with noise. The best solution of each density is then handed on
    to its neighbours in density until nothing improves. The result is no worse than the best of
    the catalogue, and the same every time. Densities that are close to each other help each
    other, so more of them give a better result at each.

    Args:
        features: Number of features k, from `dimensions` to MAX_FEATURES = 12.
        dimensions: Number of hidden dimensions d, at least 1.
        density: Density of all features, in (0, 1].
        progress: Whether to show a count of the searches done on stderr.

    Returns:
        The best known weights, biases, loss and benefit at each density, in the given order.

    Raises:
        ValueError: If an argument is not what its description says.
    """
    density = as_line("density", density, highest=1)
    dimensions = check_count("dimensions", dimensions)
    features = check_count("features", features)
    if not dimensions <= features <= MAX_FEATURES:
        raise ValueError(f"features: expected {dimensions} to {MAX_FEATURES}, got {features}")
    label = f"{features} in {dimensions}"
    with tqdm(desc=label, unit="search", disable=not progress, leave=False) as bar:
        from_random = _random_solutions(features, dimensions, density)
        bar.update()
        structured = _structured_starts(features, dimensions, density)
        from_structured = _from_noisy(structured, density)
        bar.update()
        best = _lowest_start([from_random, structured, from_structured])
        _exchange(best, density, bar)
    benefit = _benefit(best.loss, features, dimensions, density)
    random_benefit = _benefit(from_random.loss.T, features, dimensions, density)
    reached = random_benefit > benefit - SAME_BENEFIT  # (starts, densities)
    return Arrangement(*best, benefit, reached.double().mean(dim=0))


def _benefit(loss, features, dimensions, density):
    """Return the loss that is saved per dimension, in units of what a dedicated one saves."""
    ignored = ignored_loss(1, density)
    return (features * ignored - loss) / (dimensions * ignored)


def _random_solutions(features, dimensions, density):
    """Return the minima that descents from random weights reach: (densities, starts, ...)."""
    starts = RANDOM_STARTS.get(features, MANY_STARTS)
    generator = torch.Generator().manual_seed(0)
    shape = (len(density), starts, dimensions, features)
    W = torch.randn(shape, generator=generator, dtype=torch.float64)
    scales = torch.tensor(RANDOM_SCALES, dtype=torch.float64).repeat(starts)[:starts]
    W *= scales[:, None, None]
    return _descend(W, torch.zeros_like(W[:, :, 0]), density, steps=300, lr=0.1)


def _structured_starts(features, dimensions, density):
    """Return starts from the catalogue and their losses: (densities, starts, ...)."""
    optima = {}
    for name, polytope in POLYTOPES.items():
        needed, vertices = polytope.vertices.shape
        if needed <= dimensions and vertices <= features:
            optima[name] = polytope_optimum(name, density)
    starts = [_best_products(optima, features, dimensions, density)]
    for name, optimum in optima.items():
        if POLYTOPES[name].vertices.shape == (dimensions, features):
            starts.append(product_of_copies(name, optimum, features, dimensions, density))
    W, b = (torch.stack(values, dim=1) for values in zip(*starts))
    distribution = _distribution(W, density)
    loss = expected_loss(W.flatten(0, 1), b.flatten(0, 1), distribution)
    return Minima(W, b, loss.view(len(density), -1))


def _from_noisy(starts, density):
    """Return the minima that descents reach from the starts with noise, in the same axes."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(starts.W.shape, generator=generator, dtype=torch.float64)
    W = starts.W + STRUCTURED_NOISE * noise
    return _descend(W, starts.b, density, steps=200, lr=3e-2)


def _best_products(optima, features, dimensions, density):
    """Return W and b of the product of polytopes that saves most at each density."""
    products = list(_products(features, dimensions, list(optima)))
    saved = {
        name: optimum.benefit * len(POLYTOPES[name].vertices) for name, optimum in optima.items()
    }
    nothing = torch.zeros_like(density)
    totals = [sum((saved[name] for name in names), nothing) for names in products]
    best = torch.stack(totals).argmax(dim=0).tolist()
    weights = {name: polytope_weights(name, optimum) for name, optimum in optima.items()}
    placed = []
    for k, product in enumerate(best):
        factors = []
        for name in products[product]:
            W = weights[name][k]
            factors.append((W, optima[name].bias[k].expand(W.shape[1])))
        placed.append(assembled(factors, features, dimensions, density[k]))
    W, b = (torch.stack(values) for values in zip(*placed))
    return W, b


def _products(features, dimensions, names):
    """Yield all tuples of polytopes that together fit into the features and dimensions."""
    yield ()
    for k, name in enumerate(names):
        needed, vertices = POLYTOPES[name].vertices.shape
        if needed <= dimensions and vertices <= features:
            for others in _products(features - vertices, dimensions - needed, names[k:]):
                yield (name, *others)


def _distribution(W, density):
    """Return the inputs of starts W (densities, starts, dimensions, features), flattened."""
    distribution = FeatureDistribution(density[:, None], features=W.shape[3])
    return distribution.with_restarts(W.shape[1])


def _descend(W, b, density, *, steps, lr):
    """Return the minima that descents from W and b reach: (densities, starts, ...)."""
    steps = _affordable(steps, W.shape[3])
    distribution = _distribution(W, density)
    reached = descend(W.flatten(0, 1), b.flatten(0, 1), distribution, steps=steps, lr=lr)
    return Minima(*(values.unflatten(0, W.shape[:2]) for values in reached))


def _affordable(steps, features):
    """Return half the steps where the exact loss is slow."""
    return steps // 2 if features >= SLOW_FEATURES else steps


def _lowest_start(found):
    """Return the best of several Minima of (densities, starts, ...) at each density."""
    W, b, loss = (torch.cat(values, dim=1) for values in zip(*found))
    lowest = loss.argmin(dim=1)
    every = torch.arange(len(loss))
    return Minima(W[every, lowest], b[every, lowest], loss[every, lowest])


def _exchange(best, density, bar):
    """Descend further from each solution and hand it on to its neighbours in density, in place."""
    order = density.argsort()
    low = order[:-1]
    high = order[1:]
    source = torch.cat((order, low, high))
    target = torch.cat((order, high, low))
    features = best.W.shape[2]
    distribution = FeatureDistribution(density[:, None], features=features)
    steps = _affordable(150, features)
    fresh = torch.ones(len(density), dtype=torch.bool)
    for _ in range(ROUNDS):
        pairs = fresh[source]
        fall = hand_on(best, source[pairs], target[pairs], distribution, steps=steps, gain=0.0)
        fresh = fall > NEGLIGIBLE_FALL
        bar.update()
        if not fresh.any():
            break
