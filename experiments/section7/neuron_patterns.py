"""Neurons turn from monosemantic to polysemantic in steps as density falls (paper, Section 7).

The paper asks how features arrange themselves on neurons. It trains n=10 features of importance
0.75^i in m=5 neurons with a hidden ReLU, shows the best of 1,000 models at each density, and
reports that neurons turn polysemantic one after the other as features get sparser. `figure` draws W
and the stacks of its weights, as the paper does; `steps_figure` compares the numbers of
polysemantic neurons.

A thousand models do not always contain the optimum. Hence the best model at each density is trained
on at all densities, and with neighbours in importance exchanged, in rounds that start from the best
so far. The runs are split into parts that do this independently; how many parts find the same
lowest loss tells how certain the best model is.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section7main.py instead.")

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
    described,
    neuron_stacks,
    over_density,
)

FEATURES = 10
NEURONS = 5
IMPORTANCE = 0.75 ** torch.arange(FEATURES, dtype=torch.float64)
DENSITIES = (1.0, 0.75, 0.5, 0.35, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.02)
REACHED = 0.01  # relative difference up to which a run counts as having reached the lowest loss
SAME = 1e-3  # relative difference up to which the lowest losses of two parts agree
WEIGHT_RANGE = 1.2  # weights beyond it have the colour of this weight
COLUMNS = 7  # densities in a row of the figure


@dataclass(frozen=True)
class Settings:
    """The paper's thousand models at each density, and how the best are trained on."""

    densities: tuple[float, ...] = DENSITIES  # falling
    parts: int = 4
    runs: int = 250  # fresh runs of a part, at each density
    steps: int = 1000
    batch_size: int = 64
    lr: float = 5e-2
    rows: int = 2**13  # on which fresh runs are compared, the same ones for all runs
    rounds: int = 4  # of training on from the best so far
    # Of training on, and the rows on which its runs are compared.
    more_steps: int = 400
    more_batch_size: int = 256
    more_lr: float = 5e-3
    more_rows: int = 2**15
    # Number of parts that come before these. Each part starts from the initial weights of its
    # place.
    first: int = 0

    def __post_init__(self):
        """Refuse values out of range."""
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
NOTEBOOK = Settings(parts=1, runs=60, rounds=3, more_steps=300, more_rows=2**13)


class Result(NamedTuple):
    """The losses of the fresh runs, and the models that were trained on.

    The axis `starts` has the models of a density and part in the order of `_starts`; its length is
    the number of densities plus 9.
    """

    density: Float[Tensor, " points"]
    fresh_loss: Float[Tensor, "points runs"]  # of all parts, on `rows`
    fresh_W: Float[Tensor, "points parts 5 10"]  # of the best fresh run of each part
    # Loss on `more_rows` of the best fresh run, trained on at its own density.
    own_loss: Float[Tensor, "points parts"]
    W: Float[Tensor, "points parts starts 5 10"]  # after the last round
    loss: Float[Tensor, "points parts starts"]  # on `more_rows`
    same_rows_loss: Float[Tensor, "points parts starts"]  # on `rows`, as the fresh runs


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train fresh runs at each density, then train the best of them on in rounds."""
    if settings.parts > 1:
        parts = shards(settings)
        return joined([run(part, seed=seed, device=device, progress=progress) for part in parts])
    density = torch.tensor(settings.densities, dtype=torch.float64)
    points = len(density)
    inputs = FeatureDistribution(density[:, None], IMPORTANCE).to(device)
    fresh, fresh_loss = _train_fresh(inputs, settings, seed, progress)
    best = fresh
    losses = []
    for _ in range(settings.rounds):
        model, repeated, loss = _train_on(_starts(best), inputs, settings, seed, progress)
        best = model.select(best_restart(loss, len(loss) // points))
        losses.append(loss.cpu().view(points, 1, -1))
    same_rows_loss = sampled_loss(model, repeated, rows=settings.rows, seed=seed)
    # In the first round start k of density k is the best fresh run of that density.
    own_loss = losses[0].diagonal(dim1=0, dim2=2).mT.contiguous()
    return Result(
        density=density,
        fresh_loss=fresh_loss.cpu().view(points, -1),
        fresh_W=fresh.W.detach().cpu()[:, None],
        own_loss=own_loss,
        W=model.W.detach().cpu().unflatten(0, (points, 1, -1)),
        loss=losses[-1],
        same_rows_loss=same_rows_loss.cpu().view(points, 1, -1),
    )


def _train_fresh(inputs, settings, seed, progress):
    """Train fresh runs; return the best at each density and the losses of all."""
    runs_of_a_part = inputs.instances * settings.runs
    before = runs_of_a_part * settings.first
    model = ReLUHiddenModel(
        before + runs_of_a_part, FEATURES, NEURONS, seed=seed, device=inputs.density.device
    ).select(slice(before, None))
    repeated = inputs.with_restarts(settings.runs)
    train(
        model,
        repeated,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        seed=seed,
        progress=progress,
    )
    losses = sampled_loss(model, repeated, rows=settings.rows, seed=seed)
    return model.select(best_restart(losses, settings.runs)), losses


def _starts(best):
    """Return the models to train on from, those of a density in a row.

    At each density these are the best models of all densities in their order, then its own best
    with features k and k + 1 exchanged, for each k.
    """
    points = best.instances
    exchanges = FEATURES - 1
    device = best.b.device
    every = torch.arange(points, device=device)
    best_of_all = every.expand(points, points)
    own = every[:, None].expand(points, exchanges)
    source = torch.cat((best_of_all, own), dim=1).flatten()
    order = torch.arange(FEATURES, device=device).repeat(points + exchanges, 1)
    for k in range(exchanges):
        order[points + k, k : k + 2] = order[points + k, k : k + 2].flip(0)
    order = order.repeat(points, 1)  # (instances, features)
    model = best.select(source)
    model.W.data = model.W.data.gather(2, order[:, None].expand_as(model.W))
    model.b.data = model.b.data.gather(1, order)
    return model


def _train_on(model, inputs, settings, seed, progress):
    """Train starts on at their densities; return the model, its inputs and its losses."""
    repeated = inputs.with_restarts(model.instances // inputs.instances)
    train(
        model,
        repeated,
        steps=settings.more_steps,
        batch_size=settings.more_batch_size,
        lr=settings.more_lr,
        seed=seed,
        progress=progress,
    )
    return model, repeated, sampled_loss(model, repeated, rows=settings.more_rows, seed=seed)


def shards(settings):
    """Split the runs into their parts."""
    return [replace(settings, parts=1, first=settings.first + k) for k in range(settings.parts)]


def joined(results):
    """Join the results of parts."""
    density, *others = zip(*results)
    return Result(density[0], *(torch.cat(values, dim=1) for values in others))


# What the runs show


def best(result) -> Float[Tensor, "points 5 10"]:
    """Return W of the best known solution at each density."""
    lowest = result.loss.flatten(1).argmin(dim=1)
    return result.W.flatten(1, 2)[torch.arange(len(lowest)), lowest]


def best_fresh(result) -> Float[Tensor, "points 5 10"]:
    """Return W of the best fresh run of all parts at each density, as the paper shows it."""
    points, parts = result.fresh_W.shape[:2]
    lowest = result.fresh_loss.view(points, parts, -1).amin(dim=2).argmin(dim=1)
    return result.fresh_W[torch.arange(points), lowest]


class Losses(NamedTuple):
    """Losses at each density on the same rows, `Settings.rows` of them."""

    fresh: Float[Tensor, " points"]  # of the best fresh run
    best: Float[Tensor, " points"]  # of the best known solution


def compared_losses(result) -> Losses:
    """Return the losses of the best fresh run and of the best known solution."""
    lowest = result.loss.flatten(1).argmin(dim=1, keepdim=True)
    best_loss = result.same_rows_loss.flatten(1).gather(1, lowest)[:, 0]
    return Losses(fresh=result.fresh_loss.amin(dim=1), best=best_loss)


def reached(result) -> Float[Tensor, " points"]:
    """Return the share of the fresh runs that reach the best known loss (REACHED)."""
    limit = (1 + REACHED) * compared_losses(result).best
    return (result.fresh_loss <= limit[:, None]).double().mean(dim=1)


def gained(result) -> Float[Tensor, " points"]:
    """Return the relative excess of the best fresh run over the best known loss.

    The fresh run has been trained on at its own density.
    """
    return result.own_loss.amin(dim=1) / result.loss.flatten(1).amin(dim=1) - 1


def agreeing(result) -> Float[Tensor, " points"]:
    """Return the share of the parts that find the best known loss (SAME)."""
    lowest = result.loss.amin(dim=2)  # (points, parts)
    return (lowest <= (1 + SAME) * lowest.amin(dim=1, keepdim=True)).double().mean(dim=1)


class Change(NamedTuple):
    """A change of the best known solution's pattern between a point and the next."""

    point: int  # index of the point before the change
    density: float | None  # where the losses cross; None if it is not known


def changes(result) -> list[Change]:
    """Return where the pattern of the best known solution changes.

    The change is where the losses of both patterns cross, interpolated in the logarithms of loss
    and density. This needs a solution of each pattern at both points.
    """
    best_patterns = _patterns(best(result))  # (points, 3)
    patterns = _patterns(result.W.flatten(0, 2)).unflatten(0, (len(best_patterns), -1))
    losses = result.loss.flatten(1)  # (points, solutions)
    found = []
    for k in (best_patterns[1:] != best_patterns[:-1]).any(dim=1).nonzero()[:, 0].tolist():
        gap = slice(k, k + 2)  # the points before and after the change
        before, after = (
            _log_losses(patterns[gap], losses[gap], pattern) for pattern in best_patterns[gap]
        )
        density = None
        if (before.isfinite() & after.isfinite()).all():
            lead, lag = (after - before).tolist()
            low, high = result.density[gap].log().tolist()
            density = math.exp(low + lead / (lead - lag) * (high - low))
        found.append(Change(k, density))
    return found


def _patterns(W):
    """Return the first three counts of each instance's neuron pattern, (instances, 3)."""
    pattern = neuron_pattern(W)
    return torch.stack((pattern.monosemantic, pattern.polysemantic, pattern.shared), dim=1)


def _log_losses(patterns, losses, pattern):
    """Return the logarithm of the lowest loss of a pattern at each point, infinite if it has none.

    Args:
        patterns: (points, solutions, 3)
        losses: (points, solutions)
        pattern: (3,)
    """
    has_it = (patterns == pattern).all(dim=2)
    return torch.where(has_it, losses, math.inf).amin(dim=1).log()


# The figures


def figure(result):
    """Draw W of the best at each density, and the positive weights of each neuron as a stack."""
    columns = min(COLUMNS, len(result.density))
    rows = math.ceil(len(result.density) / columns)
    drawing = plt.figure(figsize=(WIDTH, 3.9 * rows + 0.8), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(3.9 * rows, 0.8))
    axes = above.subplots(2 * rows, columns, squeeze=False, sharey="row").reshape(rows, 2, columns)
    heats = axes[:, 0].flatten()
    stacks = axes[:, 1].flatten()
    for k, W in enumerate(best(result)):
        W = ordered_neurons(W)
        image = heats[k].imshow(
            W.numpy(), cmap=WEIGHTS, vmin=-WEIGHT_RANGE, vmax=WEIGHT_RANGE, aspect="auto"
        )
        heats[k].set(xticks=[], yticks=[], xlabel="feature")
        heats[k].set_title(f"density {result.density[k]:g}\n{_in_words(W)}")
        positive = W.clamp(min=0)
        neuron_stacks(positive, interference(positive[None]), ax=stacks[k])
        stacks[k].set(xticks=[], ylabel="")
    for unused in (*heats[len(result.density) :], *stacks[len(result.density) :]):
        unused.set_axis_off()
    for heat, stack in axes[:, :, 0]:
        heat.set_ylabel("neuron")
        stack.set_ylabel("positive weights, stacked")
    _draw_scales(image, below)
    polysemantic = neuron_pattern(best(result)).polysemantic.tolist()
    return described(
        drawing,
        "A heat map of W of the best model at each density, with neurons as rows, above the "
        f"positive weights of each neuron as a stack: {polysemantic[0]} of the {W.shape[0]} "
        f"neurons are polysemantic at density {result.density[0]:g}, and {polysemantic[-1]} at "
        f"density {result.density[-1]:g}.",
    )


def _draw_scales(image, subfigure):
    """Draw the scales of the weights and of superposition side by side."""
    weights, superposition = subfigure.subplots(1, 2)
    label = f"weight (beyond {WEIGHT_RANGE}: as {WEIGHT_RANGE})"
    subfigure.colorbar(image, cax=weights, orientation="horizontal", label=label)
    scale = plt.cm.ScalarMappable(Normalize(0, 1), SUPERPOSITION)
    label = "superposition of a feature's positive weights (1 or more: orange)"
    subfigure.colorbar(scale, cax=superposition, orientation="horizontal", label=label)


def _in_words(W):
    """Describe the pattern of one instance as the paper does."""
    monosemantic, polysemantic, shared, pairs = (count.item() for count in neuron_pattern(W[None]))
    if polysemantic == 0:
        return f"{monosemantic} monosemantic"
    all_pairs = ", all pairs" if pairs == FEATURES else ""
    return f"{shared} in {polysemantic}{all_pairs}"


def steps_figure(result, paper_steps):
    """Draw the steps beside the paper's, and how certain the best known solutions are.

    Args:
        result: The Result.
        paper_steps: The paper's points: (density, polysemantic neurons, features that they carry).
    """
    drawing, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.8), layout="constrained")
    _draw_steps(result, paper_steps, left)
    _draw_certainty(result, right)
    for ax, columns in ((left, 2), (right, 1)):
        over_density(ax, result.density)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns)
    return described(
        drawing,
        "Over density on the left the numbers of polysemantic neurons and of the features in them, "
        "of the best solution known, of the best fresh run and of the paper, with lines where the "
        "losses of two patterns cross; on the right the shares of the runs and of their parts that "
        "find the best solution known, and how far the loss of the best fresh run lies above it.",
    )


def _draw_steps(result, paper_steps, ax):
    """Draw polysemantic neurons and their features, with the densities where losses cross."""
    of_best = neuron_pattern(best(result))
    of_fresh = neuron_pattern(best_fresh(result))
    densities, paper_neurons, paper_features = zip(*paper_steps)
    curves = (
        ("shared", paper_features, SHARED, "features in polysemantic neurons"),
        ("polysemantic", paper_neurons, DEDICATED, "polysemantic neurons"),
    )
    square = {"fillstyle": "none", "markersize": 10, "label": "the paper's"}
    cross = {"markersize": 8, "label": "the best fresh run's"}
    x = result.density.numpy()
    for field, papers, colour, label in curves:
        ax.plot(x, getattr(of_best, field).numpy(), "o-", color=colour, label=label)
        ax.plot(x, getattr(of_fresh, field).numpy(), "x", color=colour, **cross)
        ax.plot(densities, papers, "s", color=colour, **square)
    located = [change.density for change in changes(result) if change.density is not None]
    for k, density in enumerate(located):
        ax.axvline(density, color=FAINT, linewidth=0.8, zorder=0)
        ax.annotate(f"{density:.3f}", (density, 10.3), xytext=(2, 14 * (k % 2)), **NOTE)
    ax.set(ylabel="count, of 10 features or 5 neurons", ylim=(-0.3, FEATURES + 1.8))


def _draw_certainty(result, ax):
    """Draw how many runs and parts find the best known solution, and how far the others are off."""
    x = result.density.numpy()
    curves = (
        (reached(result), "o-", DEDICATED, f"fresh runs within {REACHED:.0%} of the best"),
        (agreeing(result), "s-", SHARED, "parts of the runs that find the best"),
        (gained(result), "^:", INK, "loss of the best fresh run above the best"),
    )
    for values, line, colour, label in curves:
        ax.plot(x, values.numpy(), line, color=colour, label=label)
    ax.set(ylabel="share, or relative loss", ylim=(-0.05, 1.05))
