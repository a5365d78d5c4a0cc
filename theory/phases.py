"""Phases of the last feature of a small model over density and importance, with nothing trained.

The phase diagrams of the paper's Section 3 show models of n=2 features in m=1 dimension and of
n=3 in m=2. This module answers what is best at each point of a diagram, from the roughest answer
to the finest:

- The *named solutions* of the paper each have a loss in closed form, and one of them is the lowest.
- For n=2, m=1 the global optimum is found by an exhaustive scan of the exact expected loss over
  weights and biases, refined by descent.
- For n=3, m=2 the best solution known is that of many exact descents, from the named solutions
  and from random weights.
"""

from collections.abc import Callable, Sequence
from itertools import permutations
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from checks import as_line, check_size, shown
from features import HIGHEST_IMPORTANCE, FeatureDistribution
from geometry import REPRESENTED_NORM, SHARED_DIRECTION, feature_norms, interference
from models import ReLUOutputModel
from theory.descents import GENTLE, SAME_LOSS, Minima, descend, hand_on, ignored_loss
from theory.scan import scanned_starts
from training import best_restart

# Phases of the last feature, in the order of their indices.
PHASES = ("not represented", "in superposition", "dedicated dimension")


# Named solutions


def antipodal_loss(importance_1, importance_2, density):
    """Return the loss of two features at +1 and -1 on one dimension, without biases.

    An error is made only where both features are active, with probability s^2. Then each output
    is off by the smaller of the two values, and E[min(x_1, x_2)^2] = 1/6.

    Args:
        importance_1: Importance I_1 of the first feature, a number or a tensor.
        importance_2: Importance I_2 of the second feature, a number or a tensor.
        density: Density s of both features, a number or a tensor.

    Returns:
        (I_1 + I_2) s^2 / 6, in the shape to which the arguments broadcast.
    """
    return (importance_1 + importance_2) * density**2 / 6


class NamedSolution(NamedTuple):
    """A solution that the paper names, with its loss in closed form."""

    name: str
    W: tuple  # rows of W (hidden, features)
    loss: Callable  # function of ratio and density


# The named solutions by the number of features n. The importances are (1, r) for n=2 and (1, 1,
# r) for n=3. The solutions of n=3 are named by the direction to which the rows of W are
# orthogonal.
NAMED_SOLUTIONS = {
    2: (
        NamedSolution("W = [1, 0]", ((1, 0),), lambda r, s: ignored_loss(r, s)),
        NamedSolution("W = [0, 1]", ((0, 1),), lambda r, s: ignored_loss(1, s)),
        NamedSolution("W = [1, -1]", ((1, -1),), lambda r, s: antipodal_loss(1, r, s)),
    ),
    3: (
        NamedSolution("W ⟂ [0, 0, 1]", ((1, 0, 0), (0, 1, 0)), lambda r, s: ignored_loss(r, s)),
        NamedSolution("W ⟂ [1, 0, 0]", ((0, 1, 0), (0, 0, 1)), lambda r, s: ignored_loss(1, s)),
        NamedSolution(
            "W ⟂ [0, 1, 1]", ((1, 0, 0), (0, 1, -1)), lambda r, s: antipodal_loss(1, r, s)
        ),
        NamedSolution(
            "W ⟂ [1, 1, 0]", ((1, -1, 0), (0, 0, 1)), lambda r, s: antipodal_loss(1, 1, s)
        ),
    ),
}


def check_features(features) -> int:
    """Return a number of features for which there are named solutions as an int.

    Args:
        features: Number of features.

    Raises:
        ValueError: If it is not 2 or 3.
    """
    whole = isinstance(features, Integral) and not isinstance(features, bool)
    if not whole or features not in NAMED_SOLUTIONS:
        raise ValueError(
            f"features: expected 2 (in one dimension) or 3 (in two), got {shown(features)}"
        )
    return int(features)


def _check_points(density, ratio):
    """Return densities in (0, 1] and importances relative to 1, one of each per point."""
    density = as_line("density", density, highest=1)
    ratio = as_line("ratio", ratio, HIGHEST_IMPORTANCE)
    if len(density) != len(ratio):
        raise ValueError(
            f"ratio: expected one number for each of {len(density)} densities, got {len(ratio)}"
        )
    return density, ratio


def named_losses(
    features: int,
    density: Real[Tensor, " points"] | np.ndarray | Sequence,
    ratio: Real[Tensor, " points"] | np.ndarray | Sequence,
) -> Float[Tensor, "points solutions"]:
    """Return the loss of each named solution at each point.

    Args:
        features: Number of features n, 2 or 3.
        density: Density of all features, in (0, 1].
        ratio: Importance of the last feature relative to that of the others, above 0.

    Returns:
        The losses, in the order of NAMED_SOLUTIONS.

    Raises:
        ValueError: If an argument is not what its description says.
    """
    features = check_features(features)
    density, ratio = _check_points(density, ratio)
    losses = [solution.loss(ratio, density) for solution in NAMED_SOLUTIONS[features]]
    return torch.stack(losses, dim=1)


class BestNamed(NamedTuple):
    """The named solution of lowest loss at each point."""

    index: Int[Tensor, " points"]  # into NAMED_SOLUTIONS
    W: Float[Tensor, "points hidden features"]


def best_named(
    features: int,
    density: Real[Tensor, " points"] | np.ndarray | Sequence,
    ratio: Real[Tensor, " points"] | np.ndarray | Sequence,
) -> BestNamed:
    """Find the named solution of lowest loss at each point.

    Args:
        features: Number of features n, 2 or 3.
        density: Density of all features, in (0, 1].
        ratio: Importance of the last feature relative to that of the others, above 0.

    Raises:
        ValueError: If an argument is not what its description says.
    """
    lowest = named_losses(features, density, ratio).argmin(dim=1)
    return BestNamed(lowest, _named_weights(features)[lowest])


def nearest_named(W: Float[Tensor, "instances hidden features"]) -> Int[Tensor, " instances"]:
    """Return the index of the named solution that is most like each instance, by W^T W.

    All features but the last are alike, so they may stand in any order.

    Args:
        W: Weights of models of 2 features in one dimension or 3 in two.

    Raises:
        ValueError: If the number of features is another.
    """
    features = check_features(W.shape[2])
    named = _named_weights(features).to(W)
    distances = []
    for order in permutations(range(features - 1)):
        ordered = W[:, :, [*order, features - 1]]
        # (instances, solutions, features, features)
        difference = (ordered.mT @ ordered)[:, None] - named.mT @ named
        distances.append(difference.square().sum(dim=(2, 3)))
    return torch.stack(distances).amin(dim=0).argmin(dim=1)


def _named_weights(features):
    """Return W of each named solution: (solutions, hidden, features)."""
    weights = [solution.W for solution in NAMED_SOLUTIONS[features]]
    return torch.tensor(weights, dtype=torch.float64)


# Phases


class LastFeature(NamedTuple):
    """What a phase diagram shows of the last feature of each model."""

    norm: Float[Tensor, " instances"]
    superposition: Float[Tensor, " instances"]  # interference of the last feature


def last_feature(W: Float[Tensor, "instances hidden features"]) -> LastFeature:
    """Return the norm and the interference of the last feature of each instance.

    Args:
        W: Weights of any models.
    """
    return LastFeature(feature_norms(W)[:, -1], interference(W)[:, -1])


def phase(
    norm: Float[Tensor, "*shape"], superposition: Float[Tensor, "*shape"]
) -> Int[Tensor, "*shape"]:
    """Return the phase of features as an index of PHASES.

    Args:
        norm: Norm of each feature.
        superposition: Interference of each feature.
    """
    represented = torch.where(superposition >= SHARED_DIRECTION, 1, 2)
    return torch.where(norm <= REPRESENTED_NORM, 0, represented)


# Optimum of the exact loss

# Number of steps of a descent from a candidate of the scan.
SCAN_STEPS = 200
# Standard deviation of the random weights at which descents start.
RANDOM_SCALE = 0.3
# Standard deviation of what is added to the named solutions, some of which are saddle points.
NAMED_NOISE = 0.02
# Number of nearest points from whose solutions a descent starts: those all around, on a grid.
NEIGHBOURS = 8
# Relative difference of losses up to which a lower one is no gain.
GAIN = 1e-6


class Optimum(NamedTuple):
    """The best solution found at each point."""

    W: Float[Tensor, "points hidden features"]
    b: Float[Tensor, "points features"]
    loss: Float[Tensor, " points"]
    share: Float[Tensor, " points"]  # share of a point's own starts that ended in its best solution


def grid(points: int) -> tuple[Float[Tensor, " {points**2}"], Float[Tensor, " {points**2}"]]:
    """Return the density and the relative importance at each point of the paper's phase diagrams.

    Density goes from 1 to 0.01 and relative importance from 0.1 to 10, both logarithmically.

    Args:
        points: Number of points along each axis.

    Returns:
        Density and relative importance, flattened: the importance varies fastest.

    Raises:
        ValueError: If `points` is not a whole number above 0, or the grid does not fit into memory.
    """
    points, _ = check_size(points=points, times_points=points)
    density = torch.logspace(0, -2, points, dtype=torch.float64)
    ratio = torch.logspace(-1, 1, points, dtype=torch.float64)
    return density.repeat_interleave(points), ratio.repeat(points)


def grid_distribution(
    features: int, density: Float[Tensor, " points"], ratio: Float[Tensor, " points"]
) -> FeatureDistribution:
    """Return the inputs at each point of a diagram, one instance per point.

    Args:
        features: Number of features.
        density: Density of all features.
        ratio: Importance of the last feature. That of the others is 1.
    """
    importance = torch.ones(len(density), features, dtype=torch.float64)
    importance[:, -1] = ratio
    return FeatureDistribution(density[:, None], importance)


def optimum(
    features: int,
    density: Real[Tensor, " points"] | np.ndarray | Sequence,
    ratio: Real[Tensor, " points"] | np.ndarray | Sequence,
    *,
    progress: bool = True,
) -> Optimum:
    """Find the best solution known of a small model at each point (Section 3), on the CPU.

    Args:
        features: Number of features n. For 2, in one hidden dimension, the result is the global
            optimum of an exhaustive scan refined by descent. For 3, in two, it is the best of
            many descents.
        density: Density of all features, in (0, 1].
        ratio: Importance of the last feature, above 0. The importances are (1, ratio) or (1, 1,
            ratio).
        progress: Whether to show a bar on stderr.

    Returns:
        The best known weights, biases and loss of each point.

    Raises:
        ValueError: If an argument is not what its description says.
    """
    features = check_features(features)
    density, ratio = _check_points(density, ratio)
    if features == 2:
        return scanned_optimum(density, ratio, progress=progress)
    return descended_optimum(features, features - 1, density, ratio, progress=progress)


def scanned_optimum(
    density: Float[Tensor, " points"], ratio: Float[Tensor, " points"], *, progress: bool = True
) -> Optimum:
    """Find the global optimum of n=2, m=1 at each point, by a scan refined by descent.

    The lowest local minima of a scanned grid (`theory.scan`) are refined by descent. Points at
    which a neighbour's solution is better start from that one, as minima of nearly the same loss
    look alike on the grid.

    Args:
        density: Density of both features, in (0, 1].
        ratio: Importance of the second feature relative to that of the first.
        progress: Whether to show bars on stderr.
    """
    W, b = scanned_starts(density, ratio, progress=progress)
    best = _best_descent(W, b, density, ratio, steps=SCAN_STEPS, lr=GENTLE, progress=progress)
    return _refined(best, density, ratio, SCAN_STEPS)


def descended_optimum(
    features: int,
    hidden: int,
    density: Float[Tensor, " points"],
    ratio: Float[Tensor, " points"],
    *,
    random_starts: int = 8,
    steps: int = 400,
    seed: int = 0,
    progress: bool = True,
) -> Optimum:
    """Find the best solution known at each point, by many descents on the exact loss.

    Descents start from the named solutions, without biases and a little off, as some are saddle
    points that no descent leaves; from small random weights; and then from the solutions of the
    nearest points, until no point gains from its neighbours any more.

    Args:
        features: Number of features n, 2 or 3.
        hidden: Number of hidden dimensions m, n - 1.
        density: Density of all features, in (0, 1].
        ratio: Importance of the last feature relative to that of the others.
        random_starts: Number of descents from random weights at each point.
        steps: Number of steps of each descent.
        seed: Seed of the random weights.
        progress: Whether to show a bar on stderr.
    """
    named = _named_weights(check_features(features))
    starts = len(named) + random_starts
    drawn = ReLUOutputModel(
        len(density) * starts, features, hidden, seed=seed, dtype=torch.float64, init_scale=1.0
    )
    W = drawn.W.detach().unflatten(0, (len(density), -1))
    W[:, : len(named)] = named + NAMED_NOISE * W[:, : len(named)]
    W[:, len(named) :] *= RANDOM_SCALE
    b = torch.zeros(len(density), starts, features, dtype=torch.float64)
    best = _best_descent(W, b, density, ratio, steps=steps, lr=3e-2, progress=progress)
    return _refined(best, density, ratio, steps)


def _best_descent(W, b, density, ratio, **settings):
    """Descend from each start (points, starts, ...) and keep the best solution of each point."""
    starts = W.shape[1]
    distribution = grid_distribution(W.shape[3], density, ratio).with_restarts(starts)
    reached = descend(W.flatten(0, 1), b.flatten(0, 1), distribution, **settings)
    best = best_restart(reached.loss, starts)
    lowest = reached.loss[best]
    same = reached.loss.view(-1, starts) <= lowest[:, None] * (1 + SAME_LOSS)
    return Optimum(reached.W[best], reached.b[best], lowest, same.double().mean(dim=1))


def _refined(best, density, ratio, steps):
    """Return the solutions after a longer, gentle descent and an exchange with neighbours."""
    distribution = grid_distribution(best.W.shape[2], density, ratio)
    settled = descend(best.W, best.b, distribution, steps=2 * steps, lr=GENTLE)
    return _from_neighbours(Optimum(*settled, best.share), density, ratio, steps)


def _from_neighbours(best, density, ratio, steps):
    """Hand solutions on to the nearest points until no point gains, in place."""
    near = _nearest(torch.stack((density.log(), ratio.log()), dim=1))
    target = torch.arange(len(density)).repeat_interleave(near.shape[1])
    source = near.flatten()
    distribution = grid_distribution(best.W.shape[2], density, ratio)
    minima = Minima(best.W, best.b, best.loss)
    fresh = torch.ones(len(density), dtype=torch.bool)
    while fresh.any():
        pairs = fresh[source]
        fall = hand_on(
            minima,
            source[pairs],
            target[pairs],
            distribution,
            steps=steps,
            gain=GAIN,
            lowest_first=True,
        )
        fresh = fall > 0
    return best


def _nearest(place):
    """Return the NEIGHBOURS nearest other points of each, or all of them: (points, others)."""
    count = min(NEIGHBOURS, len(place) - 1)
    near = []
    for k, point in enumerate(place):
        distance = (place - point).square().sum(dim=1)
        distance[k] = torch.inf
        near.append(distance.topk(count, largest=False).indices)
    return torch.stack(near)
