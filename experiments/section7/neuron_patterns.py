"""Neurons turn from monosemantic to polysemantic in steps as density falls (paper, Section 7).

A hidden layer with a ReLU, n=10 features of importance 0.75^i in m=5 neurons: at each density the paper shows the best
of 1,000 models. So few do not always hold the optimum. Hence the best at each density are trained on at all densities,
and with features next in importance exchanged, in rounds that start from the best so far. The runs are computed in
parts, each of which does this for itself: how many parts agree says how sure the best is.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.colors import Normalize
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from geometry import interference, neuron_pattern, ordered_neurons
from models import ReLUHiddenModel
from training import best_restart, sampled_loss, train
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    NOTE,
    SHARED,
    SUPERPOSITION,
    WEIGHTS,
    WIDTH,
    neuron_stacks,
    over_density,
)

FEATURES, NEURONS = 10, 5
IMPORTANCE = 0.75 ** torch.arange(FEATURES, dtype=torch.float64)
DENSITIES = (1.0, 0.75, 0.5, 0.35, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.02)
REACHED = 0.01  # a run of a loss no further above the lowest, relative, has reached it
SAME = 1e-3  # parts whose lowest losses are no further above the lowest of all agree


@dataclass(frozen=True)
class Settings:
    densities: tuple[float, ...] = DENSITIES  # falling
    parts: int = 4
    runs: int = 250  # of a part, at each density
    steps: int = 1000
    batch_size: int = 64
    lr: float = 5e-2
    rows: int = 2**13  # fresh ones, the same for all runs, on which they are compared
    rounds: int = 4  # of training on from the best so far
    more_steps: int = 400
    more_batch_size: int = 256
    more_lr: float = 5e-3
    more_rows: int = 2**15  # on which what was trained on is compared
    first: int = 0  # parts before these: each starts from the weights of its own place

    def __post_init__(self):
        check_settings(self, may_be_zero=("first",))
        if any(high <= low for high, low in pairwise(self.densities)):
            raise ValueError(f"densities: expected falling ones, got {self.densities}")


QUICK = Settings(
    (1.0, 0.35, 0.15, 0.05),
    parts=2,
    runs=8,
    steps=150,
    rows=1024,
    rounds=2,
    more_steps=50,
    more_rows=1024,
)


class Result(NamedTuple):
    """Axis `starts`: what was trained on, as `_starts` has it: points + 9."""

    density: Float[Tensor, " points"]
    fresh_loss: Float[Tensor, "points runs"]  # of all parts, on `rows`
    own_loss: Float[
        Tensor, "points parts"
    ]  # of the best of these, trained on where it was found, on `more_rows`
    W: Float[Tensor, "points parts starts 5 10"]  # after the last round
    loss: Float[Tensor, "points parts starts"]  # on `more_rows`
    same_rows_loss: Float[Tensor, "points parts starts"]  # on `rows`


def run(settings, *, seed=0, device="cpu", progress=True):
    if settings.parts > 1:
        return joined(
            [run(part, seed=seed, device=device, progress=progress) for part in shards(settings)]
        )
    how = {"seed": seed, "progress": progress}
    density = torch.tensor(settings.densities, dtype=torch.float64)
    points = len(density)
    inputs = FeatureDistribution(density[:, None], IMPORTANCE).to(device)
    best, fresh_loss = _fresh(inputs, settings, **how)
    losses = []
    for _ in range(settings.rounds):
        model, repeated, loss = _trained_on(_starts(best), inputs, settings, **how)
        best = model.select(best_restart(loss, len(loss) // points))
        losses.append(loss.cpu().view(points, 1, -1))
    same_rows_loss = sampled_loss(model, repeated, rows=settings.rows, seed=seed)
    return Result(
        density=density,
        fresh_loss=fresh_loss.cpu().view(points, -1),
        own_loss=losses[0].diagonal(dim1=0, dim2=2).mT.contiguous(),
        W=model.W.detach().cpu().unflatten(0, (points, 1, -1)),
        loss=losses[-1],
        same_rows_loss=same_rows_loss.cpu().view(points, 1, -1),
    )


def _fresh(inputs, settings, seed, progress):
    """All runs from small random weights -> the best at each density, losses of all."""
    before, after = (
        inputs.instances * settings.runs * parts for parts in (settings.first, settings.first + 1)
    )
    model = ReLUHiddenModel(after, FEATURES, NEURONS, seed=seed, device=inputs.density.device)
    model, repeated = model.select(slice(before, None)), inputs.with_restarts(settings.runs)
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, repeated, seed=seed, progress=progress, **how)
    losses = sampled_loss(model, repeated, rows=settings.rows, seed=seed)
    return model.select(best_restart(losses, settings.runs)), losses


def _starts(best):
    """At each density the best of every density, then its own best with two features next in importance exchanged."""
    points, exchanges = best.instances, FEATURES - 1
    every = torch.arange(points, device=best.b.device)
    source = torch.cat(
        (every.expand(points, points), every[:, None].expand(points, exchanges)), dim=1
    )
    order = torch.arange(FEATURES, device=best.b.device).repeat(points + exchanges, 1)
    for k in range(exchanges):
        order[points + k, k : k + 2] = order[points + k, k : k + 2].flip(0)
    model, order = best.select(source.flatten()), order.repeat(points, 1)
    model.W.data = model.W.data.gather(2, order[:, None].expand_as(model.W))
    model.b.data = model.b.data.gather(1, order)
    return model


def _trained_on(model, inputs, settings, seed, progress):
    """Starts at each density, trained on there -> model, its inputs, losses."""
    repeated = inputs.with_restarts(model.instances // inputs.instances)
    how = {
        "steps": settings.more_steps,
        "batch_size": settings.more_batch_size,
        "lr": settings.more_lr,
    }
    train(model, repeated, seed=seed, progress=progress, **how)
    return model, repeated, sampled_loss(model, repeated, rows=settings.more_rows, seed=seed)


def shards(settings):
    """The parts of the runs."""
    return [replace(settings, parts=1, first=settings.first + k) for k in range(settings.parts)]


def joined(results):
    density, *of_parts = zip(*results)
    return Result(density[0], *(torch.cat(values, dim=1) for values in of_parts))


# What the runs show


def best(result) -> Float[Tensor, "points 5 10"]:
    """The best known solution at each density."""
    at = result.loss.flatten(1).argmin(dim=1)
    return result.W.flatten(1, 2)[torch.arange(len(at)), at]


def reached(result) -> Float[Tensor, " points"]:
    """The share of the fresh runs that reach the best known solution's loss."""
    at = result.loss.flatten(1).argmin(dim=1, keepdim=True)
    lowest = result.same_rows_loss.flatten(1).gather(1, at)
    return (result.fresh_loss <= (1 + REACHED) * lowest).double().mean(dim=1)


def gained(result) -> Float[Tensor, " points"]:
    """How far the best fresh run at each density, trained on there, is above the best known loss, relative."""
    return result.own_loss.amin(dim=1) / result.loss.flatten(1).amin(dim=1) - 1


def agreeing(result) -> Float[Tensor, " points"]:
    """The share of the parts whose best solution has the best known loss."""
    of_parts = result.loss.amin(dim=2)
    return (of_parts <= (1 + SAME) * of_parts.amin(dim=1, keepdim=True)).double().mean(dim=1)


def changes(result):
    """[(point, density)]: where the pattern of the best changes between a point and the next.

    There the losses of both patterns cross, interpolated; the density is None where one is not known at both points.
    """
    kinds = torch.stack(neuron_pattern(best(result)))[:3].T
    every = torch.stack(neuron_pattern(result.W.flatten(0, 2)))[:3].T.unflatten(0, (len(kinds), -1))
    losses, found = result.loss.flatten(1), []
    for k in (kinds[1:] != kinds[:-1]).any(dim=1).nonzero()[:, 0].tolist():
        of_both = (every[k : k + 2, None] == kinds[k : k + 2, None]).all(
            dim=3
        )  # (points, patterns, solutions)
        before, after = (
            torch.where(of_both, losses[k : k + 2, None], math.inf)
            .amin(dim=2)
            .log()
            .diff(dim=1)[:, 0]
        )
        low, high = result.density[k : k + 2].log().tolist()
        located = before.isfinite() and after.isfinite()
        share = (before / (before - after)).item()
        found.append((k, math.exp(low + share * (high - low)) if located else None))
    return found


# The figures


def figure(result):
    """W of the best at each density, neurons ordered, and the positive part of each neuron's weights as a stack."""
    columns = min(7, len(result.density))
    rows = math.ceil(len(result.density) / columns)
    drawing = plt.figure(figsize=(WIDTH, 3.9 * rows + 0.8), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(3.9 * rows, 0.8))
    axes = above.subplots(2 * rows, columns, squeeze=False, sharey="row").reshape(rows, 2, columns)
    heats, stacks = axes[:, 0].flatten(), axes[:, 1].flatten()
    for heat, stack, W, density in zip(
        heats, stacks, map(ordered_neurons, best(result)), result.density.tolist()
    ):
        image = heat.imshow(W.numpy(), cmap=WEIGHTS, vmin=-1.2, vmax=1.2, aspect="auto")
        heat.set(xticks=[], yticks=[], xlabel="feature")
        heat.set_title(f"density {density:g}\n{_in_words(W)}")
        positive = W.clamp(min=0)
        neuron_stacks(positive, interference(positive[None]), ax=stack).set(xticks=[], ylabel="")
    for unused in (*heats[len(result.density) :], *stacks[len(result.density) :]):
        unused.set_axis_off()
    for heat, stack in axes[:, :, 0]:
        heat.set_ylabel("neuron")
        stack.set_ylabel("positive weights, stacked")
    of_weights, of_superposition = below.subplots(1, 2)
    drawing.colorbar(
        image, cax=of_weights, orientation="horizontal", label="weight (beyond 1.2: as 1.2)"
    )
    scale = plt.cm.ScalarMappable(Normalize(0, 1), SUPERPOSITION)
    label = "superposition of a feature's positive weights (1 or more: orange)"
    drawing.colorbar(scale, cax=of_superposition, orientation="horizontal", label=label)
    return drawing


def _in_words(W):
    """The pattern of one instance, as the paper says it."""
    monosemantic, polysemantic, shared, pairs = (count.item() for count in neuron_pattern(W[None]))
    if polysemantic == 0:
        return f"{monosemantic} monosemantic"
    return f"{shared} in {polysemantic}" + ", all pairs" * (pairs == FEATURES)


def steps_figure(result, of_paper):
    """The steps beside the paper's, with the densities where losses cross, and how sure the best solutions are.

    of_paper: [density, polysemantic neurons, features that these carry]
    """
    drawing, (steps, sure) = plt.subplots(1, 2, figsize=(WIDTH, 4.8), layout="constrained")
    x, of_best = result.density.numpy(), neuron_pattern(best(result))
    at, *counts = zip(*of_paper)
    for values, theirs, colour, label in (
        (of_best.shared, counts[1], SHARED, "features in polysemantic neurons"),
        (of_best.polysemantic, counts[0], DEDICATED, "polysemantic neurons"),
    ):
        steps.plot(x, values.numpy(), "o-", color=colour, label=label)
        steps.plot(
            at, theirs, "s", color=colour, fillstyle="none", markersize=10, label="the paper's"
        )
    for k, at in enumerate(density for _, density in changes(result) if density is not None):
        steps.axvline(at, color=FAINT, linewidth=0.8, zorder=0)
        steps.annotate(f"{at:.3f}", (at, 10.3), xytext=(2, 14 * (k % 2)), **NOTE)
    steps.set(ylabel="count, of 10 features or 5 neurons", ylim=(-0.3, FEATURES + 1.8))
    sure.plot(
        x,
        reached(result).numpy(),
        "o-",
        color=DEDICATED,
        label=f"fresh runs within {REACHED:.0%} of the best",
    )
    sure.plot(
        x,
        agreeing(result).numpy(),
        "s-",
        color=SHARED,
        label="parts of the runs that find the best",
    )
    sure.plot(
        x,
        gained(result).numpy(),
        "^:",
        color=INK,
        label="loss of the best fresh run above the best",
    )
    sure.set(ylabel="share, or relative loss", ylim=(-0.05, 1.05))
    for ax in (steps, sure):
        over_density(ax, result.density)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17))
    return drawing
