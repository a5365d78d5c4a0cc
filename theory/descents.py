"""Descents: the best solutions of a small model by following its exact loss downhill.

From many small random weights, from a start of each kind, and handed on along a line of inputs that change little from
one point to the next, so that two kinds of solutions can be followed to where their losses cross. Models trained on
samples check what descent found.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_count, check_settings, check_weights
from features import check_distribution
from losses.exact import expected_loss
from models import ReLUOutputModel
from training import best_restart, train

SAME_LOSS = 1e-3  # losses closer than this, relative, are the same minimum
INSIDE = 13  # points on which a gap between neighbours is searched for a crossing, ends included
GENTLE = 1e-2  # learning rate at which a descent stays in the basin that it starts in


def ignored_loss(weight, density):
    """Loss of a feature that is not represented, its bias at its mean s/2: I (s/3 - s^2/4).

    density: the probability s that the feature is active; of k anticorrelated features that of a set over k
    """
    return weight * (density / 3 - density**2 / 4)


def descend(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    *,
    steps,
    lr,
    progress=False,
) -> tuple[ReLUOutputModel, Float[Tensor, " instances"]]:
    """Follow the exact loss downhill from given weights -> model, losses."""
    model = ReLUOutputModel.from_weights(W, b)
    history = train(model, distribution, exact=True, steps=steps, lr=lr, progress=progress)
    return model, history.losses[-1]


# Many runs of one setting


class Solutions(NamedTuple):
    """Weights of runs, or of the best run alone, and their exact losses."""

    W: Float[
        Tensor, "*runs hidden features"
    ]  # (instances, runs) or (instances,), or with axes before these
    loss: Float[Tensor, "*runs"]


@dataclass(frozen=True)
class Sampling:
    """How models are trained on samples to check exact optima with."""

    restarts: int = 8
    steps: int = 1500
    batch_size: int = 256
    lr: float = 3e-2

    def __post_init__(self):  # it comes last in an experiment, where an error would be late
        check_settings(self)


def small_weights(
    distribution, hidden, runs, *, seed, init_scale=0.1
) -> Float[Tensor, "instances runs hidden features"]:
    """Random weights to start from."""
    check_distribution(distribution)
    check_count("runs", runs)
    shape = distribution.instances * runs, distribution.features, hidden
    model = ReLUOutputModel(*shape, seed=seed, dtype=torch.float64, init_scale=init_scale)
    return model.W.detach().unflatten(0, (-1, runs))


def random_descents(distribution, hidden, runs, *, steps, seed, progress=False) -> Solutions:
    """Exact descents from small random weights: all runs."""
    W = small_weights(distribution, hidden, runs, seed=seed).flatten(0, 1)
    repeated = distribution.with_restarts(runs)
    model, loss = descend(W, 0 * W[:, 0], repeated, steps=steps, lr=0.1, progress=progress)
    return Solutions(model.W.detach().unflatten(0, (-1, runs)), loss.view(-1, runs))


def sampled_runs(
    distribution, hidden, sampling, *, seed=0, device="cpu", progress=False
) -> Solutions:
    """Models trained on samples, as `sampling` says, with their exact losses: all restarts."""
    inputs = distribution.with_restarts(sampling.restarts)
    model = ReLUOutputModel(inputs.instances, inputs.features, hidden, seed=seed, device=device)
    how = {"steps": sampling.steps, "batch_size": sampling.batch_size, "lr": sampling.lr}
    train(model, inputs.to(device), seed=seed, progress=progress, **how)
    W, b = model.W.detach().cpu().double(), model.b.detach().cpu().double()
    loss = expected_loss(W, b, inputs.to("cpu"))
    return Solutions(*(values.unflatten(0, (-1, sampling.restarts)) for values in (W, loss)))


def best_run(runs) -> Solutions:
    """The run of lowest loss of each instance."""
    best = best_restart(runs.loss.flatten(), runs.loss.shape[1])
    return Solutions(runs.W.flatten(0, 1)[best], runs.loss.flatten()[best])


# The best solution of each kind


class Kinds(NamedTuple):
    """The best solution found of each kind at each point; where a kind has none its loss is infinite."""

    W: Float[Tensor, "points kinds hidden features"]
    b: Float[Tensor, "points kinds features"]
    loss: Float[Tensor, "points kinds"]


class Crossings(NamedTuple):
    """Where the losses of two kinds cross along a line of points, in the order of the points."""

    line: Int[Tensor, " crossings"]  # which line
    position: Float[
        Tensor, " crossings"
    ]  # in points along the line, as 3.5 is half-way from point 3 to 4
    below: Int[Tensor, " crossings"]  # the best kind before and after
    above: Int[Tensor, " crossings"]
    met: Bool[
        Tensor, " crossings"
    ]  # whether the losses cross; else one kind ends there as a local minimum


def best_of_kinds(
    W: Float[Tensor, "points starts hidden features"],
    b: Float[Tensor, "points starts features"],
    distribution,
    lines,
    kind,
    kinds,
    *,
    steps,
    lr,
    worth=math.inf,
    progress=True,
) -> Kinds:
    """Descend from several starts at each point, sort the solutions by kind, and hand each kind on along the line.

    W, b:         where to start
    distribution: of one instance a point; points along a line differ little, `lines` of equal length follow each other
    kind:         W (instances, hidden, features) -> (instances,): index of a kind below `kinds`, anything else for none
    worth:        solutions of a loss above this many times the lowest are not followed

    A solution is followed to the neighbours that lack its kind, or have another minimum of it of a higher loss, as far
    as it goes: where it ends it has ceased to be a local minimum, or nearly so, and falls into another kind.
    Raises ValueError where the points are not divisible by the lines or do not match the distribution.
    """
    points, starts = check_weights(W, ("points", "starts", "hidden", "features")).shape[:2]
    check_distribution(distribution)
    for name, count in (("lines", lines), ("kinds", kinds), ("starts", starts)):
        check_count(name, count)
    if not isinstance(b, Tensor) or b.shape != (points, starts, W.shape[3]):
        raise ValueError(
            f"b: expected a tensor {(points, starts, W.shape[3])}, got {getattr(b, 'shape', b)!r}"
        )
    if points % lines:
        raise ValueError(f"lines: expected a divisor of {points} points, got {lines}")
    repeated = distribution.with_restarts(starts)
    model, losses = descend(
        W.flatten(0, 1), b.flatten(0, 1), repeated, steps=steps, lr=lr, progress=progress
    )
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
    """Follow kinds found freshly (points, kinds) to their neighbours, in place; where that found a lower minimum."""
    points = len(fresh)
    succeeded = torch.zeros_like(fresh)
    along = torch.arange(points).view(lines, -1)
    low, high = along[:, :-1].flatten(), along[:, 1:].flatten()
    source, to = torch.cat((low, high)), torch.cat((high, low))  # of every step along a line
    low_enough = found.loss[source] <= worth * found.loss.amin(dim=1)[to, None]
    step, of = (fresh[source] & low_enough).nonzero().T
    if not len(step):
        return succeeded
    source, to = source[step], to[step]
    model, losses = descend(
        found.W[source, of], found.b[source, of], distribution.select(to), steps=steps, lr=GENTLE
    )
    W, b = model.W.detach(), model.b.detach()
    for k in (kind(W) == of).nonzero()[:, 0].tolist():
        place = to[k], of[k]
        if losses[k] < found.loss[place] * (1 - SAME_LOSS):  # from either side
            found.W[place], found.b[place], found.loss[place] = W[k], b[k], losses[k]
            succeeded[place] = True
    return succeeded


def crossings(found, distribution, lines, kind, *, steps) -> Crossings:
    """Where the losses of two kinds cross, between neighbouring points of different best kind.

    Both kinds are followed across the gap, from either end, at INSIDE points whose densities lie logarithmically
    between the neighbours'. The crossing is where their difference changes its sign, interpolated between two of these:
    it is known to 1 / (INSIDE - 1) of the gap at worst. Where a kind ends before the losses meet, the best kind changes
    half-way between the two points where it ends. Where both have ended there is none.
    """
    lowest, best = (values.view(lines, -1) for values in found.loss.min(dim=1))
    known = lowest.isfinite()
    line, gap = ((best.diff(dim=1) != 0) & known[:, 1:] & known[:, :-1]).nonzero().T
    if not len(gap):
        return Crossings(line, gap.double(), gap, gap, gap.bool())
    ends = (line * best.shape[1] + gap)[:, None] + torch.arange(2)  # (gaps, 2), into the points
    kinds = best.flatten()[ends]  # (gaps, 2)
    below, above = _followed(found, distribution, ends, kinds, kind, steps).unbind(dim=1)
    ahead = (
        below - above
    )  # (gaps, INSIDE): below zero before the crossing, above after it; NaN where both have ended
    crossed = (ahead[:, :-1] <= 0) & (ahead[:, 1:] > 0)
    first = crossed.int().argmax(dim=1, keepdim=True)
    before, after = (ahead.gather(1, at)[:, 0] for at in (first, first + 1))
    met = before.isfinite() & after.isfinite()
    position = gap + (first[:, 0] + torch.where(met, before / (before - after), 0.5)) / (INSIDE - 1)
    return Crossings(*(values[crossed.any(dim=1)] for values in (line, position, *kinds.T, met)))


def _followed(found, distribution, ends, kinds, kind, steps):
    """Losses of two kinds across each gap, followed from either end, the lower of both: (gaps, 2 kinds, INSIDE)."""
    shape = len(ends), 2, 2, INSIDE  # of kinds, of ends to start from
    end = ends[:, None, :, None].expand(shape).flatten()
    of = kinds[:, :, None, None].expand(shape).flatten()
    low, high = distribution.density[ends].unbind(dim=1)  # (gaps, features)
    share = torch.linspace(0, 1, INSIDE, dtype=torch.float64)[:, None]
    between = low[:, None] ** (1 - share) * high[:, None] ** share  # (gaps, INSIDE, features)
    density = between[:, None, None].expand(*shape, -1).reshape(len(end), -1)
    losses = found.loss[end, of]
    there = losses.isfinite()  # at this end the kind was found
    end, of = end[there], of[there]
    inputs = replace(distribution.select(end), density=density[there])
    model, followed = descend(found.W[end, of], found.b[end, of], inputs, steps=steps, lr=GENTLE)
    losses[there] = torch.where(kind(model.W.detach()) == of, followed, torch.inf)
    return losses.view(shape).amin(dim=2)


def values_at(
    line: Float[Tensor, "crossings points"], position: Float[Tensor, " crossings"]
) -> Float[Tensor, " crossings"]:
    """Values at fractional positions along logarithmic lines."""
    below = position.long().clamp(max=line.shape[1] - 2)[:, None]
    low, high = line.gather(1, below)[:, 0], line.gather(1, below + 1)[:, 0]
    return low * (high / low) ** (position - below[:, 0])


def excess(
    sampled: Float[Tensor, " points"], optimum: Float[Tensor, " points"]
) -> dict[str, float]:
    """How far the losses of sampled models are above those of exact optima, relative, by name."""
    above = sampled / optimum - 1
    return {
        "best sampled model over the optimum, median": above.median().item(),
        "best sampled model over the optimum, highest": above.max().item(),
    }


def precision(line: Float[Tensor, " points"]):
    """To what share the place of a crossing along a logarithmic line is known."""
    return ((line[1] / line[0]) ** (1 / (INSIDE - 1)) - 1).item()
