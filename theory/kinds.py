"""Kinds of solutions: the best solution of each kind along a line of inputs, and where two cross.

A small model can have several kinds of local minima, such as the one in which a feature is
ignored and the one in which it is in superposition. Each kind is followed along inputs that
change little from point to point, as far as it remains a local minimum. The best kind changes
where two losses cross.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_count, check_weights
from features import FeatureDistribution, check_distribution
from theory.descents import GENTLE, SAME_LOSS, Minima, descend, first_sign_change, hand_on

# Number of points, ends included, at which a gap between neighbours is searched for a crossing.
INSIDE = 13


class Crossings(NamedTuple):
    """Where the losses of two kinds cross along lines of points, in the order of the points."""

    line: Int[Tensor, " crossings"]  # index of the line
    position: Float[Tensor, " crossings"]  # in points along the line: 3.5 is half-way from 3 to 4
    below: Int[Tensor, " crossings"]  # best kind before the crossing
    above: Int[Tensor, " crossings"]  # best kind after the crossing
    met: Bool[Tensor, " crossings"]  # False where a kind ends as a local minimum before losses meet


def best_of_kinds(
    W: Float[Tensor, "points starts hidden features"],
    b: Float[Tensor, "points starts features"],
    distribution: FeatureDistribution,
    lines: int,
    kind: Callable,
    kinds: int,
    *,
    steps: int,
    lr: float,
    worth: float = math.inf,
    progress: bool = True,
) -> Minima:
    """Find the best solution of each kind at each point, by descents on the exact loss.

    Descents from all starts of a point are sorted by kind. Each solution is then followed to
    those neighbours along the line that lack its kind, or have a minimum of it with a higher
    loss, as far as it goes. Where it ends it has ceased to be a local minimum, or nearly so, and
    falls into another kind.

    Args:
        W: Weights from which the descents start.
        b: Biases from which they start.
        distribution: Inputs, one instance per point. They differ little between neighbours on a
            line.
        lines: Number of lines, of equal length, that the points form one after the other.
        kind: Function of weights (instances, hidden, features) that gives the index of the kind of
            each (instances,). Indices that are not in [0, kinds) stand for no kind.
        kinds: Number of kinds.
        steps: Number of steps of each descent.
        lr: Learning rate of the descents from the starts.
        worth: Multiple of a point's lowest loss above which solutions are not followed to it.
        progress: Whether to show a bar on stderr.

    Returns:
        The best solution of each kind: W (points, kinds, hidden, features), b (points, kinds,
        features) and loss (points, kinds), which is infinite where a kind has no solution.

    Raises:
        ValueError: If the shapes do not match each other or the lines do not divide the points.
    """
    points, starts = check_weights(W, ("points", "starts", "hidden", "features")).shape[:2]
    check_distribution(distribution)
    lines = check_count("lines", lines)
    kinds = check_count("kinds", kinds)
    check_count("starts", starts)
    if not isinstance(b, Tensor) or b.shape != (points, starts, W.shape[3]):
        expected = (points, starts, W.shape[3])
        raise ValueError(f"b: expected a tensor {expected}, got {getattr(b, 'shape', b)!r}")
    if points % lines:
        raise ValueError(f"lines: expected a divisor of {points} points, got {lines}")
    reached = descend(
        W.flatten(0, 1),
        b.flatten(0, 1),
        distribution.with_restarts(starts),
        steps=steps,
        lr=lr,
        progress=progress,
    )
    best = _lowest_of_kinds(reached, kind, starts, kinds)
    _follow_along_lines(best, distribution, lines, kind, worth, steps)
    return Minima(*(values.unflatten(0, (points, kinds)) for values in best))


def _lowest_of_kinds(reached, kind, starts, kinds):
    """Return the lowest minimum of each kind at each point: Minima of (points * kinds) places."""
    loss = reached.loss.view(-1, starts, 1)
    is_kind = kind(reached.W).view(-1, starts, 1) == torch.arange(kinds)
    lowest, start = torch.where(is_kind, loss, torch.inf).min(dim=1)  # (points, kinds)
    instance = start + starts * torch.arange(len(loss))[:, None]
    chosen = instance.flatten()
    return Minima(reached.W[chosen], reached.b[chosen], lowest.flatten())


def _follow_along_lines(best, distribution, lines, kind, worth, steps):
    """Hand each kind on to the neighbours of its points until none gains, in place."""
    points = distribution.instances
    kinds = len(best.loss) // points
    along = torch.arange(points).view(lines, -1)
    low = along[:, :-1].flatten()
    high = along[:, 1:].flatten()
    every_kind = torch.arange(kinds)
    source = (torch.cat((low, high))[:, None] * kinds + every_kind).flatten()
    target = (torch.cat((high, low))[:, None] * kinds + every_kind).flatten()
    repeated = distribution.with_restarts(kinds)

    def admits(W, places):
        return kind(W) == places % kinds

    fresh = best.loss.isfinite()
    while fresh.any():
        lowest = best.loss.view(points, kinds).amin(dim=1)
        worthwhile = best.loss[source] <= worth * lowest[target // kinds]
        chosen = fresh[source] & worthwhile
        fall = hand_on(
            best,
            source[chosen],
            target[chosen],
            repeated,
            steps=steps,
            gain=SAME_LOSS,
            admits=admits,
        )
        fresh = fall > 0


def crossings(
    best: Minima, distribution: FeatureDistribution, lines: int, kind: Callable, *, steps: int
) -> Crossings:
    """Find where the losses of two kinds cross, between neighbouring points of different best kind.

    Both kinds are followed across the gap, from either end, at INSIDE points whose densities lie
    logarithmically between those of the ends. The crossing is where the difference of their losses
    changes its sign, interpolated between two of these points: at worst it is known to
    1 / (INSIDE - 1) of the gap. Where a kind ends before the losses meet, the best kind changes
    half-way between the two points where it ends. Where both kinds have ended there is no crossing.

    Args:
        best: What `best_of_kinds` has found.
        distribution: Inputs, one instance per point.
        lines: Number of lines that the points form.
        kind: Function of weights that gives the index of the kind of each instance.
        steps: Number of steps of each descent.
    """
    lowest, best_kind = best.loss.min(dim=1)
    lowest = lowest.view(lines, -1)
    best_kind = best_kind.view(lines, -1)
    known = lowest.isfinite()
    line, gap = ((best_kind.diff(dim=1) != 0) & known[:, 1:] & known[:, :-1]).nonzero().T
    if not len(gap):
        return Crossings(line, gap.double(), gap, gap, gap.bool())
    ends = (line * best_kind.shape[1] + gap)[:, None] + torch.arange(
        2
    )  # (gaps, 2), indices of points
    pair = best_kind.flatten()[ends]  # (gaps, 2)
    below, above = _followed(best, distribution, ends, pair, kind, steps).unbind(dim=1)
    change = first_sign_change(below - above)  # NaN where both kinds have ended
    position = gap + (change.point + change.share) / (INSIDE - 1)
    every = Crossings(line, position, pair[:, 0], pair[:, 1], change.finite)
    return Crossings(*(values[change.found] for values in every))


def _followed(best, distribution, ends, pair, kind, steps):
    """Follow two kinds across each gap from either end.

    Returns:
        The lower of the two losses of each kind, infinite where it has ended: (gaps, 2 kinds,
        INSIDE).
    """
    shape = (len(ends), 2, 2, INSIDE)  # gaps, kinds, ends from which to start, points inside
    start = ends[:, None, :, None].expand(shape).flatten()
    followed_kind = pair[:, :, None, None].expand(shape).flatten()
    low, high = distribution.density[ends].unbind(dim=1)  # (gaps, features)
    share = torch.linspace(0, 1, INSIDE, dtype=torch.float64)[:, None]
    inside = low[:, None] ** (1 - share) * high[:, None] ** share  # (gaps, INSIDE, features)
    density = inside[:, None, None].expand(*shape, -1).reshape(len(start), -1)
    losses = best.loss[start, followed_kind]
    exists = losses.isfinite()  # the kind was found at the end from which it is followed
    start = start[exists]
    followed_kind = followed_kind[exists]
    inputs = replace(distribution.select(start), density=density[exists])
    reached = descend(
        best.W[start, followed_kind],
        best.b[start, followed_kind],
        inputs,
        steps=steps,
        lr=GENTLE,
    )
    losses[exists] = torch.where(kind(reached.W) == followed_kind, reached.loss, torch.inf)
    return losses.view(shape).amin(dim=2)


def values_at(
    line: Float[Tensor, "crossings points"], position: Float[Tensor, " crossings"]
) -> Float[Tensor, " crossings"]:
    """Return values at fractional positions between the points of logarithmic lines.

    Args:
        line: Values at the points of the line on which each crossing lies, in geometric
            progression.
        position: Position of each crossing in points along its line, as in `Crossings`.
    """
    below = position.long().clamp(max=line.shape[1] - 2)[:, None]
    low = line.gather(1, below)[:, 0]
    high = line.gather(1, below + 1)[:, 0]
    return low * (high / low) ** (position - below[:, 0])


def precision(line: Float[Tensor, " points"]) -> float:
    """Return the relative precision to which a crossing along a logarithmic line is known.

    Args:
        line: Values at the points of the line, in geometric progression.
    """
    return ((line[1] / line[0]) ** (1 / (INSIDE - 1)) - 1).item()
