"""Theory: what to expect of a toy model, with nothing trained.

The phase diagrams of Section 3 ask what becomes of the last feature of a small model as the density
of all features and its own relative importance change. Three answers, from the roughest on:

- the *named solutions* of the paper, each with the closed form of its loss, and which is lowest;
- for n=2, m=1 the global optimum, by an exhaustive scan of the exact expected loss over weights and
  biases, refined by descent;
- for n=3, m=2 the best of many exact descents, from the named and from random solutions.

Section 4 asks how many equally important features arrange themselves. They form a product of polytopes
in mutually orthogonal subspaces, and features of different factors do not see each other: the loss is
a sum over the factors. So the loss of each polytope by itself, at its best scale and bias, says which
of them, or which mixture, uses the hidden dimensions best at each density (the last part).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, permutations
from typing import NamedTuple

import torch
from tqdm import tqdm

from expected_loss import expected_loss
from features import FeatureDistribution
from geometry import POLYTOPES, REPRESENTED_NORM, feature_norms, interference
from models import ReLUOutputModel
from training import best_restart, train

PHASES = ("not represented", "in superposition", "dedicated dimension")  # of the last feature, by index
SHARED = 0.25  # interference from which a represented feature is in superposition: another lies half a norm along it


# Named solutions


def ignored_loss(weight, density):
    """Loss of a feature that is not represented, its bias at its mean s/2: I (s/3 - s^2/4)."""
    return weight * (density / 3 - density**2 / 4)


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
        NamedSolution("W ⟂ [0, 1, 1]", ((1, 0, 0), (0, 1, -1)), lambda r, s: antipodal_loss(1, r, s)),
        NamedSolution("W ⟂ [1, 1, 0]", ((1, -1, 0), (0, 0, 1)), lambda r, s: antipodal_loss(1, 1, s)),
    ),
}


def named_losses(features, density, ratio):
    """Loss of each named solution: (points, solutions), for density and ratio (points,)."""
    solutions = NAMED_SOLUTIONS[features]
    return torch.stack([s.loss(ratio, density) + 0 * density * ratio for s in solutions], dim=1)


def best_named(features, density, ratio):
    """Index of the named solution of lowest loss at each point, and its W: (points,), (points, hidden, features)."""
    lowest = named_losses(features, density, ratio).argmin(dim=1)
    return lowest, torch.tensor([s.W for s in NAMED_SOLUTIONS[features]], dtype=torch.float64)[lowest]


def nearest_named(W):
    """Index of the named solution most like W (instances, hidden, features), by W^T W: (instances,).

    All features but the last are alike, so they may stand in any order.
    """
    features = W.shape[2]
    named = torch.tensor([s.W for s in NAMED_SOLUTIONS[features]], dtype=W.dtype, device=W.device)
    distances = []
    for order in permutations(range(features - 1)):
        chosen = W[:, :, [*order, features - 1]]
        apart = (chosen.mT @ chosen)[:, None] - named.mT @ named  # (instances, solutions, features, features)
        distances.append(apart.square().sum(dim=(2, 3)))
    return torch.stack(distances).amin(dim=0).argmin(dim=1)


# Phases


def last_feature(W):
    """Norm and interference of the last feature, each (instances,): what a phase diagram shows."""
    return feature_norms(W)[:, -1], interference(W)[:, -1]


def phase(norm, superposition):
    """The phase, an index of PHASES, of a feature with this norm and interference (any shape)."""
    return torch.where(norm <= REPRESENTED_NORM, 0, torch.where(superposition >= SHARED, 1, 2))


# The exact optimum


class Optimum(NamedTuple):
    """The best solution found at each point."""

    W: torch.Tensor  # (points, hidden, features)
    b: torch.Tensor  # (points, features)
    loss: torch.Tensor  # (points,)
    share: torch.Tensor  # (points,): of the starts that ended in it


SAME_LOSS = 1e-3  # losses closer than this, relative, are the same minimum
INSIDE = 13  # points on which a gap between neighbours is searched for a crossing, ends included
GENTLE = 1e-2  # learning rate at which a descent stays in the basin that it starts in
WEIGHT_STEP, LARGEST_WEIGHT = 0.05, 1.4  # of the scan, as for the biases
LOWEST_BIAS, HIGHEST_BIAS = -1.0, 1.0


def grid_distribution(features, density, ratio):
    """All features at one density, importance 1 but `ratio` for the last; density and ratio (points,)."""
    importance = torch.ones(len(density), features, dtype=torch.float64)
    importance[:, -1] = ratio
    return FeatureDistribution(density[:, None], importance)


def scanned_optimum(density, ratio, *, candidates=4, steps=200, progress=True):
    """The global optimum of n=2, m=1 at each point: density, ratio (points,) -> Optimum.

    For fixed weights the loss is a sum over the two outputs, each with its own bias. So for every
    density one table holds the first output's loss on a grid of both weights, least over its bias;
    the second output's is the same table with the weights exchanged, and every ratio uses both.
    The lowest local minima of the grid are then refined by descent: for densities of 0.01 and above
    (the paper's) to 0.1 % of the loss, sparser ones want more steps.
    """
    weights = torch.arange(-LARGEST_WEIGHT, LARGEST_WEIGHT + WEIGHT_STEP / 2, WEIGHT_STEP, dtype=torch.float64)
    starts_W, starts_b = [], []
    points_of = {s.item(): (density == s).nonzero().flatten() for s in density.unique()}
    for s in tqdm(points_of, desc="scan", disable=not progress, leave=False):
        table, bias = _first_output(weights, s)  # (w_1, w_2)
        total = table + ratio[points_of[s], None, None] * table.T  # (points, w_1, w_2)
        first, second = _lowest_minima(total, candidates)  # (points, candidates), into weights
        starts_W.append(torch.stack((weights[first], weights[second]), dim=-1)[:, :, None])
        starts_b.append(torch.stack((bias[first, second], bias[second, first]), dim=-1))
    order = torch.cat(list(points_of.values())).argsort()
    W, b = (torch.cat(starts)[order].flatten(0, 1) for starts in (starts_W, starts_b))
    return _best_descent(W, b, density, ratio, candidates, steps=steps, lr=1e-2, progress=progress)


def descended_optimum(features, hidden, density, ratio, *, random_starts=12, steps=400, seed=0, progress=True):
    """The best of many exact descents at each point: density, ratio (points,) -> Optimum.

    Starts are the named solutions, without bias, and small random weights.
    """
    named = torch.tensor([solution.W for solution in NAMED_SOLUTIONS[features]], dtype=torch.float64)
    starts = len(named) + random_starts
    random = ReLUOutputModel(
        len(density) * random_starts, features, hidden, seed=seed, dtype=torch.float64, init_scale=0.3
    )
    W = torch.cat((named.expand(len(density), -1, -1, -1), random.W.detach().unflatten(0, (len(density), -1))), dim=1)
    b = torch.zeros(len(density) * starts, features, dtype=torch.float64)
    return _best_descent(W.flatten(0, 1), b, density, ratio, starts, steps=steps, lr=3e-2, progress=progress)


def descend(W, b, distribution, *, steps, lr, progress=False):
    """Follow the exact loss downhill from given weights -> ReLUOutputModel, losses (instances,)."""
    model = ReLUOutputModel.from_weights(W, b)
    history = train(model, distribution, exact=True, steps=steps, lr=lr, progress=progress)
    return model, history.losses[-1]


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
    biases = torch.arange(LOWEST_BIAS, HIGHEST_BIAS + WEIGHT_STEP / 2, WEIGHT_STEP, dtype=torch.float64)
    distribution = FeatureDistribution(density, torch.tensor([1.0, 0.0]), instances=len(W) * len(biases))
    b = torch.stack((biases, torch.zeros_like(biases)), dim=1).repeat(len(W), 1)
    losses = expected_loss(W.repeat_interleave(len(biases), dim=0), b, distribution).view(len(W), -1)
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
    around = torch.nn.functional.max_pool2d(-total[:, None], kernel_size=3, stride=1, padding=1)[:, 0]
    minima = torch.where(total <= -around, total, torch.inf).flatten(1)
    found = minima.topk(count, dim=1, largest=False)
    # a point with fewer minima repeats its lowest
    indices = torch.where(found.values.isfinite(), found.indices, found.indices[:, :1])
    return indices // total.shape[2], indices % total.shape[2]


# The best solution of each kind


class Kinds(NamedTuple):
    """The best solution found of each kind at each point; where a kind has none its loss is infinite."""

    W: torch.Tensor  # (points, kinds, hidden, features)
    b: torch.Tensor  # (points, kinds, features)
    loss: torch.Tensor  # (points, kinds)


class Crossings(NamedTuple):
    """Where the best kind changes along a line of points, all (crossings,), in the order of the points."""

    line: torch.Tensor  # which line
    position: torch.Tensor  # in points along the line, as 3.5 is half-way from point 3 to 4; NaN where not found
    below: torch.Tensor  # the best kind before and after
    above: torch.Tensor


def best_of_kinds(W, b, distribution, lines, kind, kinds, *, steps, lr, worth=math.inf, progress=True):
    """Descend from several starts at each point, sort the solutions by kind, and hand each kind on along the line.

    W:            (points, starts, hidden, features), b (points, starts, features): where to start
    distribution: of one instance a point; points along a line differ little, `lines` of equal length follow each other
    kind:         W (instances, hidden, features) -> (instances,): index of a kind below `kinds`, anything else for none
    worth:        solutions of a loss above this many times the lowest are not followed

    A kind that was found at one point and not at its neighbour is followed there, as far as it goes: where it ends it
    has ceased to be a local minimum, or nearly so, and falls into another kind.
    -> Kinds. Raises ValueError where the points are not divisible by the lines or do not match the distribution.
    """
    points, starts = W.shape[:2]
    if points % lines:
        raise ValueError(f"lines: expected a divisor of {points} points, got {lines}")
    repeated = distribution.with_restarts(starts)
    model, losses = descend(W.flatten(0, 1), b.flatten(0, 1), repeated, steps=steps, lr=lr, progress=progress)
    W, b = (value.detach().unflatten(0, (points, starts)) for value in (model.W, model.b))
    losses = losses.view(points, starts)
    of_kind = kind(W.flatten(0, 1)).view(points, starts, 1) == torch.arange(kinds)
    lowest, at = torch.where(of_kind, losses[:, :, None], torch.inf).min(dim=1)  # (points, kinds)
    every = torch.arange(points)[:, None]
    found = Kinds(W[every, at], b[every, at], lowest)
    fresh = lowest.isfinite()
    while fresh.any():
        fresh = _hand_on(found, fresh, distribution, lines, kind, worth, steps)
    return found


def _hand_on(found, fresh, distribution, lines, kind, worth, steps):
    """Follow kinds found freshly (points, kinds) to neighbours that lack them, in place; where that succeeded."""
    points = len(fresh)
    succeeded = torch.zeros_like(fresh)
    along = torch.arange(points).view(lines, -1)
    low, high = along[:, :-1].flatten(), along[:, 1:].flatten()
    source, to = torch.cat((low, high)), torch.cat((high, low))  # of every step along a line
    low_enough = found.loss[source] <= worth * found.loss.amin(dim=1)[to, None]
    step, of = (fresh[source] & low_enough & found.loss[to].isinf()).nonzero().T
    if not len(step):
        return succeeded
    source, to = source[step], to[step]
    model, losses = descend(found.W[source, of], found.b[source, of], distribution.select(to), steps=steps, lr=GENTLE)
    W, b = model.W.detach(), model.b.detach()
    for k in (kind(W) == of).nonzero()[:, 0].tolist():
        place = to[k], of[k]
        if losses[k] < found.loss[place]:  # from either side
            found.W[place], found.b[place], found.loss[place] = W[k], b[k], losses[k]
            succeeded[place] = True
    return succeeded


def crossings(found, distribution, lines, kind, *, steps):
    """Where the losses of two kinds cross, between neighbouring points of different best kind -> Crossings.

    Both kinds are followed across the gap, from either end, at INSIDE points whose densities lie logarithmically
    between the neighbours'. The crossing is where their difference changes its sign, interpolated between two of these:
    it is known to 1 / (INSIDE - 1) of the gap at worst. Where a kind ends before the losses cross, the position is NaN.
    """
    lowest, best = (values.view(lines, -1) for values in found.loss.min(dim=1))
    known = lowest.isfinite()
    line, gap = ((best.diff(dim=1) != 0) & known[:, 1:] & known[:, :-1]).nonzero().T
    if not len(gap):
        return Crossings(line, gap.double(), gap, gap)
    ends = (line * best.shape[1] + gap)[:, None] + torch.arange(2)  # (crossings, 2), into the points
    kinds = best.flatten()[ends]  # (crossings, 2)
    shape = len(gap), 2, 2, INSIDE  # of kinds, of ends to start from
    end = ends[:, None, :, None].expand(shape).flatten()
    of = kinds[:, :, None, None].expand(shape).flatten()
    low, high = distribution.density[ends].unbind(dim=1)  # (crossings, features)
    share = torch.linspace(0, 1, INSIDE, dtype=torch.float64)[:, None]
    between = low[:, None] ** (1 - share) * high[:, None] ** share  # (crossings, INSIDE, features)
    density = between[:, None, None].expand(*shape, -1).reshape(len(end), -1)
    losses = found.loss[end, of]
    there = losses.isfinite()  # at this end the kind was found
    end, of = end[there], of[there]
    inputs = replace(distribution.select(end), density=density[there])
    model, followed = descend(found.W[end, of], found.b[end, of], inputs, steps=steps, lr=GENTLE)
    losses[there] = torch.where(kind(model.W.detach()) == of, followed, torch.inf)
    losses = losses.view(shape).amin(dim=2)  # (crossings, 2, INSIDE)
    ahead = losses[:, 0] - losses[:, 1]  # (crossings, INSIDE): below zero before the crossing, above after it
    crossed = (ahead[:, :-1] <= 0) & (ahead[:, 1:] > 0) & ahead[:, :-1].isfinite() & ahead[:, 1:].isfinite()
    first = crossed.int().argmax(dim=1, keepdim=True)
    before, after = (ahead.gather(1, at)[:, 0] for at in (first, first + 1))
    position = gap + (first[:, 0] + before / (before - after)) / (INSIDE - 1)
    return Crossings(line, torch.where(crossed.any(dim=1), position, torch.nan), *kinds.T)


# The linear model


def principal_components_loss(distribution, hidden):
    """Least loss of a linear model with bias: the variance outside of the first m principal components, (instances,).

    A set of k members, each of variance v, any two of covariance c, has the eigenvalues v - c + k c once and v - c
    otherwise; different sets are independent.
    Raises ValueError for other importances.
    """
    if (distribution.importance != 1).any():
        raise ValueError(f"importance: expected 1 for all features, got up to {distribution.importance.max():g}")
    _, own, shared = distribution.moments()
    size = distribution.members
    own, shared = own[:, ::size], shared[:, ::size]  # (instances, sets)
    variances = torch.cat([own + size * shared, *[own] * (size - 1)], dim=1).sort(dim=1, descending=True).values
    return variances[:, hidden:].sum(dim=1)


# The boundary of the phase change


class Boundary(NamedTuple):
    """How the second feature of n=2, m=1 comes to be represented as r grows to 1, at each density: all (densities,)."""

    density: torch.Tensor
    onset: torch.Tensor  # relative importance r from which |w_2| of the optimum is above ONSET
    ratio: torch.Tensor  # r of the largest jump of |w_2|: there the losses of two minima cross
    before: torch.Tensor  # |w_2| on either side of the jump; equal where all changes are smooth
    after: torch.Tensor
    kink: torch.Tensor  # by how much the slope of the optimal loss in r falls there, in units of s/3 - s^2/4; or 0


ONSET = 0.02  # of |w_2|; a smaller change is none


def boundary(density, *, resolution=120, progress=True):
    """The phase change of n=2, m=1 along r <= 1 at each density (densities,) -> Boundary.

    The exact optimum on a fine grid of r around the named solutions' boundary shows in which four
    gaps of the grid |w_2| changes most. The solutions at both ends of a gap are followed across it:
    where they stay apart their losses cross and the change is first order, with a jump; where they
    meet it is smooth. r > 1 is the same with the features exchanged.
    """
    centre = named_boundary(density)
    span = torch.linspace(0, 1, resolution, dtype=torch.float64)
    lowest, highest = 0.4 * centre, (2.5 * centre).clamp(max=1.02)
    ratio = lowest[:, None] * (highest / lowest)[:, None] ** span  # (densities, resolution)
    optimum = scanned_optimum(density.repeat_interleave(resolution), ratio.flatten(), progress=progress)
    W, b = (values.unflatten(0, (-1, resolution)) for values in (optimum.W, optimum.b))
    w_2 = W[:, :, 0, 1].abs()
    every = torch.arange(len(density))
    onset = ratio[every, (w_2 > ONSET).int().argmax(dim=1)]
    gaps = w_2.diff(dim=1).topk(4).indices  # (densities, 4)
    low, high = (ratio.gather(1, end)[..., None] for end in (gaps, gaps + 1))
    inside = low * (high / low) ** span  # (densities, gaps, resolution)
    followed_w, followed_loss = _follow(density, inside, W, b, gaps)  # (densities, gaps, ends, resolution)
    apart = followed_w.diff(dim=2).abs() > ONSET  # where it ends, a solution falls into the other: no crossing
    crossing = torch.where(apart, followed_loss.diff(dim=2).abs(), torch.inf).argmin(dim=3)  # (densities, gaps, 1)
    ends = followed_w.gather(3, crossing[..., None].expand(-1, -1, 2, -1))[..., 0]  # (densities, gaps, ends)
    slopes = torch.gradient(followed_loss, dim=3)[0] / torch.gradient(inside, dim=2)[0][:, :, None]
    kinks = -slopes.diff(dim=2)[:, :, 0].gather(2, crossing)[..., 0] / ignored_loss(1, density)[:, None]
    jumps = ends.diff(dim=2)[..., 0]
    widest = every, jumps.argmax(dim=1)
    kink = torch.where(jumps > ONSET, kinks, 0)[widest]
    return Boundary(density, onset, inside.gather(2, crossing)[..., 0][widest], *ends[widest].T, kink)


def _follow(density, inside, W, b, gaps):
    """Solutions at both ends of each gap at all ratios inside: |w_2| and loss (densities, gaps, ends, inside)."""
    shape = (*inside.shape[:2], 2, inside.shape[2])
    ends = torch.stack((gaps, gaps + 1), dim=2)[..., None].expand(shape).flatten()
    at = torch.arange(len(density)).repeat_interleave(len(ends) // len(density))
    distribution = grid_distribution(2, density[at], inside[:, :, None].expand(shape).flatten())
    model, losses = descend(W[at, ends], b[at, ends], distribution, steps=400, lr=3e-3)
    return model.W.detach()[:, 0, 1].abs().view(shape), losses.view(shape)


def named_boundary(density):
    """Relative importance r <= 1 from which on an antipodal pair beats ignoring the second feature (n=2, m=1).

    From r (s/3 - s^2/4) = (1 + r) s^2 / 6; where that needs r > 1, the two features change places at r = 1.
    """
    return torch.where(density < 4 / 7, density / (2 - 2.5 * density), 1.0)


# Polytopes


class PolytopeOptimum(NamedTuple):
    """Equally important features on the vertices of a polytope, at their best, at each density: all (densities,)."""

    benefit: torch.Tensor  # per hidden dimension, in units of what a dedicated dimension saves
    scale: torch.Tensor  # norm of every feature
    bias: torch.Tensor  # of every output
    stretch: torch.Tensor  # of the polytope along its last dimension; 1 unless it is in STRETCHED


# Vertices of these stay alike in any stretch along the last dimension, so the best one is chosen.
STRETCHED = ("square antiprism", *(name for name in POLYTOPES if "tilted" in name))


def polytope_optimum(polytope, density):
    """The best that features on the vertices of one of POLYTOPES can do, at each density (densities,).

    All vertices are alike, so all features have one norm s and one bias b, and the loss of one output
    is that of all. The benefit per dimension of k vertices in d dimensions with the least loss L is
    (k c - L) / (d c), where c = s/3 - s^2/4 is the loss of a feature that is not represented: a
    dedicated dimension has benefit 1.

    -> PolytopeOptimum. Raises ValueError for a name that is not in POLYTOPES.
    """
    if polytope not in POLYTOPES:
        raise ValueError(f"polytope: expected one of {', '.join(POLYTOPES)}, got {polytope!r}")
    vertices = POLYTOPES[polytope].vertices  # (dimensions d, vertices k)
    dimensions, count = vertices.shape
    first_output = torch.eye(count, dtype=torch.float64)[0]
    distribution = FeatureDistribution(density[:, None], first_output, features=count)
    ignored = ignored_loss(1, density)
    start = torch.tensor([1.0, -0.1, 1.0], dtype=torch.float64)
    best = start.repeat(len(density), 1).requires_grad_()  # scale, bias, stretch
    optimizer = torch.optim.LBFGS([best], max_iter=300, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def benefit():
        scale, bias, stretch = best.T
        placed = _stretched(vertices, stretch if polytope in STRETCHED else torch.ones_like(stretch))
        losses = expected_loss(scale[:, None, None] * placed, bias[:, None].expand(-1, count), distribution)
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
    stretched = torch.cat((vertices[:-1].expand(len(stretch), -1, -1), stretch[:, None, None] * vertices[-1:]), dim=1)
    return stretched / stretched.norm(dim=1, keepdim=True)


def product_of_copies(polytope, optimum, features, hidden, density):
    """Weights of as many copies of a polytope as fit, other features without weights and with their mean as bias.

    polytope, optimum: a name and its PolytopeOptimum at density (densities,)
    -> W (densities, hidden, features), b (densities, features)
    """
    one = optimum.scale[:, None, None] * _stretched(POLYTOPES[polytope].vertices, optimum.stretch)
    dimensions, count = one.shape[1:]
    copies = min(hidden // dimensions, features // count)
    W = torch.zeros(len(density), hidden, features, dtype=torch.float64)
    b = (density / 2)[:, None].repeat(1, features)
    for k in range(copies):
        W[:, k * dimensions : (k + 1) * dimensions, k * count : (k + 1) * count] = one
    b[:, : copies * count] = optimum.bias[:, None]
    return W, b


def polytope_optima(density, polytopes=tuple(POLYTOPES), progress=True):
    """The optimum of each polytope over density (densities,): {name: PolytopeOptimum}."""
    return {
        polytope: polytope_optimum(polytope, density)
        for polytope in tqdm(polytopes, desc="polytopes", disable=not progress, leave=False)
    }


def best_mixture(optima, features_per_dimension=float("inf")):
    """Which share of the hidden dimensions goes to each polytope at each density, where n features have m dimensions.

    Maximizes the benefit, which is linear in the shares. With n/m features per dimension at most, the
    best is one polytope or a mixture of two that use all features (a corner of the linear program).

    optima: {name: PolytopeOptimum}, a dedicated dimension among them; features_per_dimension: n/m >= 1
    -> {name: share of dimensions (densities,)}, the benefit (densities,)
    """
    if not features_per_dimension >= 1:
        raise ValueError(f"features_per_dimension: expected at least 1, got {features_per_dimension!r}")
    needed = torch.tensor([1 / POLYTOPES[polytope].dimensionality for polytope in optima], dtype=torch.float64)
    benefit = torch.stack([optimum.benefit for optimum in optima.values()])  # (polytopes, densities)
    a, b = torch.cartesian_prod(*[torch.arange(len(needed))] * 2).T
    fits = needed[a] <= features_per_dimension
    a, b = a[fits], b[fits]
    # the second of a pair gets as many dimensions as there are features for
    share = ((features_per_dimension - needed[a]) / (needed[b] - needed[a]).clamp(min=1e-9)).clamp(0, 1)
    share = torch.where(needed[b] > needed[a], share, 0)
    of_pairs = torch.lerp(benefit[a], benefit[b], share[:, None])  # (pairs, densities)
    most = of_pairs.max(dim=0)
    shares = torch.zeros_like(benefit)
    every = torch.arange(benefit.shape[1])
    shares[a[most.indices], every] = 1 - share[most.indices]
    shares[b[most.indices], every] += share[most.indices]
    return dict(zip(optima, shares)), most.values


def windows(density, optima):
    """Where each polytope is the best, in features without end: [(name, lowest, highest 1/(1-S))], densest first.

    density (densities,), decreasing; optima: {name: PolytopeOptimum}. Inner ends are crossings of two
    benefits, interpolated between densities; outer ends are those of the densities.
    """
    names = list(optima)
    inverse_density = (1 / density).tolist()
    benefit = torch.stack([optimum.benefit for optimum in optima.values()])
    best = benefit.argmax(dim=0).tolist()
    found = [(names[best[0]], inverse_density[0], inverse_density[-1])]
    for k, (before, after) in enumerate(pairwise(best)):
        if before != after:
            lead, lag = (benefit[before] - benefit[after])[k : k + 2].tolist()
            crossing = inverse_density[k] * (inverse_density[k + 1] / inverse_density[k]) ** (lead / (lead - lag))
            found[-1] = (*found[-1][:2], crossing)
            found.append((names[after], crossing, inverse_density[-1]))
    return found


def predicted_dimensions_per_feature(shares, optima):
    """D* = m / ||W||_F^2 of a mixture of polytopes, (densities,): shares as `best_mixture` has them."""
    squared = sum(
        share / POLYTOPES[polytope].dimensionality * optima[polytope].scale ** 2 for polytope, share in shares.items()
    )
    return 1 / squared
