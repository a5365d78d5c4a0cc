"""Phases: what becomes of the last feature of a small model as density and its importance change, nothing trained.

The phase diagrams of the paper's Section 3 are of n=2, m=1 and of n=3, m=2. Three answers, from the roughest on:

- the *named solutions* of the paper, each with the closed form of its loss, and which is lowest;
- for n=2, m=1 the global optimum, by an exhaustive scan of the exact expected loss over weights and
  biases, refined by descent;
- for n=3, m=2 the best of many exact descents, from the named and from random solutions.
"""

from collections.abc import Callable, Sequence
from itertools import permutations
from numbers import Integral
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor
from tqdm import tqdm

from checks import as_line, check_size
from features import HIGHEST_IMPORTANCE, FeatureDistribution
from geometry import REPRESENTED_NORM, SHARED_DIRECTION, feature_norms, interference
from losses.exact import expected_loss
from models import ReLUOutputModel
from theory.descents import GENTLE, SAME_LOSS, descend, ignored_loss
from training import best_restart

PHASES = (
    "not represented",
    "in superposition",
    "dedicated dimension",
)  # of the last feature, by index


# Named solutions


def antipodal_loss(weight_1, weight_2, density):
    """Loss of two features at +1 and -1 on one dimension, no bias: (I_1 + I_2) s^2 / 6.

    An error is made only where both are active: E[(x_1 - (x_1 - x_2)^+)^2] = s^2 E[min^2] = s^2 / 6.
    """
    return (weight_1 + weight_2) * density**2 / 6


class NamedSolution(NamedTuple):
    """A solution that the paper names: W (hidden, features) and its loss, a function of ratio and density."""

    name: str
    W: tuple
    loss: Callable


# importances (1, r) for n=2 and (1, 1, r) for n=3; n=3 is named by the direction that W is orthogonal to
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


def named_losses(
    features, density: Float[Tensor, " points"], ratio: Float[Tensor, " points"]
) -> Float[Tensor, "points solutions"]:
    """Loss of each named solution."""
    check_features(features)
    solutions = NAMED_SOLUTIONS[features]
    return torch.stack([s.loss(ratio, density) + 0 * density * ratio for s in solutions], dim=1)


def best_named(
    features, density: Float[Tensor, " points"], ratio: Float[Tensor, " points"]
) -> tuple[Int[Tensor, " points"], Float[Tensor, "points hidden features"]]:
    """Index of the named solution of lowest loss at each point, and its W."""
    lowest = named_losses(features, density, ratio).argmin(dim=1)
    return lowest, _named_weights(features, lowest.device)[lowest]


def nearest_named(W: Float[Tensor, "instances hidden features"]) -> Int[Tensor, " instances"]:
    """Index of the named solution most like each instance, by W^T W.

    All features but the last are alike, so they may stand in any order.
    """
    features = W.shape[2]
    named = _named_weights(features, W.device).to(W.dtype)
    distances = []
    for order in permutations(range(features - 1)):
        chosen = W[:, :, [*order, features - 1]]
        apart = (chosen.mT @ chosen)[
            :, None
        ] - named.mT @ named  # (instances, solutions, features, features)
        distances.append(apart.square().sum(dim=(2, 3)))
    return torch.stack(distances).amin(dim=0).argmin(dim=1)


def _named_weights(features, device="cpu"):
    check_features(features)
    return torch.tensor(
        [s.W for s in NAMED_SOLUTIONS[features]], dtype=torch.float64, device=device
    )


# Phases


class LastFeature(NamedTuple):
    """What a phase diagram shows of the last feature of each model."""

    norm: Float[Tensor, " instances"]
    superposition: Float[Tensor, " instances"]  # its interference


def last_feature(W: Float[Tensor, "instances hidden features"]) -> LastFeature:
    """The last feature of each instance."""
    return LastFeature(feature_norms(W)[:, -1], interference(W)[:, -1])


def phase(
    norm: Float[Tensor, "*shape"], superposition: Float[Tensor, "*shape"]
) -> Int[Tensor, "*shape"]:
    """The phase, an index of PHASES, of a feature with this norm and interference."""
    return torch.where(
        norm <= REPRESENTED_NORM, 0, torch.where(superposition >= SHARED_DIRECTION, 1, 2)
    )


# The optimum of the exact loss


class Optimum(NamedTuple):
    """The best solution found at each point."""

    W: Float[Tensor, "points hidden features"]
    b: Float[Tensor, "points features"]
    loss: Float[Tensor, " points"]
    share: Float[Tensor, " points"]  # of the starts that ended in it


WEIGHT_STEP, LARGEST_WEIGHT = 0.05, 1.4  # of the scan, as for the biases
LOWEST_BIAS, HIGHEST_BIAS = -1.0, 1.0
RANDOM_SCALE, OFF_NAMED = (
    0.3,
    0.02,
)  # of the weights that descents start from, random or added to the named ones
NEIGHBOURS = 8  # nearest points from whose solutions a descent starts: all around, on a grid
GAIN = 1e-6  # relative; a loss that is lower by less is no gain


def grid(points) -> tuple[Float[Tensor, " {points**2}"], Float[Tensor, " {points**2}"]]:
    """Density from 1 to 0.01 and relative importance from 0.1 to 10, the paper's diagram.

    Both logarithmic, importance varying fastest.
    """
    check_size(points=points, times_points=points)
    density = torch.logspace(0, -2, points, dtype=torch.float64)
    ratio = torch.logspace(-1, 1, points, dtype=torch.float64)
    return density.repeat_interleave(points), ratio.repeat(points)


def grid_distribution(features, density: Float[Tensor, " points"], ratio: Float[Tensor, " points"]):
    """All features at one density, importance 1 but `ratio` for the last -> FeatureDistribution of the points."""
    importance = torch.ones(len(density), features, dtype=torch.float64)
    importance[:, -1] = ratio
    return FeatureDistribution(density[:, None], importance)


def optimum(
    features,
    density: Real[Tensor, " points"] | Sequence,
    ratio: Real[Tensor, " points"] | Sequence,
    *,
    progress=True,
) -> Optimum:
    """The best solution known of a small model at each point, on the CPU.

    features: 2 in one hidden dimension: the global optimum, by an exhaustive scan refined by descent; or
              3 in two: the best of many exact descents
    density:  of all features, in (0, 1]
    ratio:    above 0: relative importance of the last feature, importances are (1, ratio) or (1, 1, ratio)
    Raises ValueError for anything else.
    """
    check_features(features)
    density, ratio = (
        as_line("density", density, highest=1),
        as_line("ratio", ratio, HIGHEST_IMPORTANCE),
    )
    if len(density) != len(ratio):
        raise ValueError(
            f"ratio: expected one number for each of {len(density)} densities, got {len(ratio)}"
        )
    if features == 2:
        return scanned_optimum(density, ratio, progress=progress)
    return descended_optimum(features, features - 1, density, ratio, progress=progress)


def check_features(features):
    """ValueError unless there are named solutions for so many features: 2 or 3."""
    if (
        not isinstance(features, Integral)
        or isinstance(features, bool)
        or features not in NAMED_SOLUTIONS
    ):
        raise ValueError(f"features: expected 2 (in one dimension) or 3 (in two), got {features!r}")


def scanned_optimum(
    density: Float[Tensor, " points"],
    ratio: Float[Tensor, " points"],
    *,
    candidates=6,
    steps=200,
    progress=True,
) -> Optimum:
    """The global optimum of n=2, m=1 at each point.

    For fixed weights the loss is a sum over the two outputs, each with its own bias. So for every
    density one table holds the first output's loss on a grid of both weights, least over its bias;
    the second output's is the same table with the weights exchanged, and every ratio uses both.
    The lowest local minima of the grid are then refined by descent, and points that a neighbour's
    solution does better for start from that: minima of nearly the same loss look alike on the grid.
    """
    weights = torch.arange(
        -LARGEST_WEIGHT, LARGEST_WEIGHT + WEIGHT_STEP / 2, WEIGHT_STEP, dtype=torch.float64
    )
    starts_W, starts_b = [], []
    points_of = {s.item(): (density == s).nonzero().flatten() for s in density.unique()}
    for s in tqdm(points_of, desc="scan", disable=not progress, leave=False):
        table, bias = _first_output(weights, s)  # (w_1, w_2)
        total = table + ratio[points_of[s], None, None] * table.T  # (points, w_1, w_2)
        half = len(weights) // 2  # turning both signs changes nothing
        first, second = _lowest_minima(
            total[:, half:], candidates
        )  # (points, candidates), into weights
        first = first + half
        starts_W.append(torch.stack((weights[first], weights[second]), dim=-1)[:, :, None])
        starts_b.append(torch.stack((bias[first, second], bias[second, first]), dim=-1))
    order = torch.cat(list(points_of.values())).argsort()
    W, b = (torch.cat(starts)[order].flatten(0, 1) for starts in (starts_W, starts_b))
    best = _best_descent(
        W, b, density, ratio, candidates, steps=steps, lr=GENTLE, progress=progress
    )
    return _from_neighbours(_settled(best, density, ratio, steps), density, ratio, steps)


def descended_optimum(
    features,
    hidden,
    density: Float[Tensor, " points"],
    ratio: Float[Tensor, " points"],
    *,
    random_starts=8,
    steps=400,
    seed=0,
    progress=True,
) -> Optimum:
    """The best solution known at each point, of many exact descents.

    Starts are the named solutions, without bias and a little off, as some are saddles that no descent leaves; small
    random weights; and then the solutions of the nearest points, until no point gains from its neighbours any more.
    """
    named = _named_weights(features)
    starts = len(named) + random_starts
    drawn = ReLUOutputModel(
        len(density) * starts, features, hidden, seed=seed, dtype=torch.float64, init_scale=1.0
    )
    W = drawn.W.detach().unflatten(0, (len(density), -1))
    W[:, : len(named)] = named + OFF_NAMED * W[:, : len(named)]
    W[:, len(named) :] *= RANDOM_SCALE
    b = torch.zeros(len(density) * starts, features, dtype=torch.float64)
    best = _best_descent(
        W.flatten(0, 1), b, density, ratio, starts, steps=steps, lr=3e-2, progress=progress
    )
    return _from_neighbours(_settled(best, density, ratio, steps), density, ratio, steps)


def _settled(best, density, ratio, steps):
    """The solutions after some more descent, gently."""
    model, losses = descend(
        best.W,
        best.b,
        grid_distribution(best.W.shape[2], density, ratio),
        steps=2 * steps,
        lr=GENTLE,
    )
    return best._replace(W=model.W.detach(), b=model.b.detach(), loss=losses)


def _from_neighbours(best, density, ratio, steps):
    """Descend at each point from the solutions of the nearest others that have gained, until none gains -> Optimum."""
    near = _nearest(torch.stack((density.log(), ratio.log()), dim=1))
    gained = torch.full((len(density),), len(density) > 1)
    while gained.any():
        to, which = gained[near].nonzero().T
        source = near[to, which]
        distribution = grid_distribution(best.W.shape[2], density[to], ratio[to])
        model, losses = descend(
            best.W[source], best.b[source], distribution, steps=steps, lr=GENTLE
        )
        lowest = torch.full_like(best.loss, torch.inf).scatter_reduce(0, to, losses, "amin")
        gained = lowest < best.loss * (1 - GAIN)
        won = (gained[to] & (losses == lowest[to])).nonzero()[:, 0]
        for whole, part in zip(best, (model.W.detach(), model.b.detach(), losses)):
            whole[to[won]] = part[won]
    return best


def _nearest(place):
    """Of each point (points, axes) the NEIGHBOURS nearest others, or all: (points, neighbours)."""
    near = []
    for k, point in enumerate(place):
        away = (place - point).square().sum(dim=1)
        away[k] = torch.inf
        near.append(away.topk(min(NEIGHBOURS, len(place) - 1), largest=False).indices)
    return torch.stack(near)


def _best_descent(W, b, density, ratio, starts, **settings):
    """Descend from each start (points * starts, ...) on the exact loss and keep the best of each point -> Optimum."""
    distribution = grid_distribution(W.shape[2], density, ratio).with_restarts(starts)
    model, losses = descend(W, b, distribution, **settings)
    best = best_restart(losses, starts)
    chosen = model.select(best)
    reached = losses.view(-1, starts) <= losses[best, None] * (1 + SAME_LOSS)
    return Optimum(chosen.W.detach(), chosen.b.detach(), losses[best], reached.double().mean(dim=1))


def _first_output(weights, density):
    """The first output's loss at density s, least over its bias, and that bias: each (w_1, w_2) on the grid."""
    W = torch.cartesian_prod(weights, weights)[:, None]  # (grid, hidden 1, features 2)
    half = W[:, 0, 0] >= 0  # turning both signs changes nothing
    W = W[half]
    biases = torch.arange(
        LOWEST_BIAS, HIGHEST_BIAS + WEIGHT_STEP / 2, WEIGHT_STEP, dtype=torch.float64
    )
    distribution = FeatureDistribution(
        density, torch.tensor([1.0, 0.0]), instances=len(W) * len(biases)
    )
    b = torch.stack((biases, torch.zeros_like(biases)), dim=1).repeat(len(W), 1)
    losses = expected_loss(W.repeat_interleave(len(biases), dim=0), b, distribution).view(
        len(W), -1
    )
    lowest, at = losses.min(dim=1)
    tables = []
    for values in (lowest, biases[at]):
        table = torch.empty(len(weights) ** 2, dtype=torch.float64)
        table[half] = values
        table[half.flip(0)] = values.flip(0)
        tables.append(table.view(len(weights), -1))
    return tables


def _lowest_minima(total, count):
    """Grid indices of the lowest local minima of each point: two tensors (points, count)."""
    around = torch.nn.functional.max_pool2d(-total[:, None], kernel_size=3, stride=1, padding=1)[
        :, 0
    ]
    minima = torch.where(total <= -around, total, torch.inf).flatten(1)
    found = minima.topk(count, dim=1, largest=False)
    # a point with fewer minima repeats its lowest
    indices = torch.where(found.values.isfinite(), found.indices, found.indices[:, :1])
    return indices // total.shape[2], indices % total.shape[2]
