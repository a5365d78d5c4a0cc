"""Do some features jump from level to level while others stay, and does the loss drop with it?

Section 5 of the paper: many equally important features are trained until they form digons. `figure`
is the paper's figure: the dimensionalities of all features of one model over the steps of training,
and the loss below.

In the emergence, at the start, all features move at once. What counts here comes after it. A
feature *rests* where its dimensionality stays in a narrow band for long, whatever its level. It
*jumps* where it goes from one rest to another rest at another level, faster than it rests. Jumps of
one run that are under way at once make an *event*.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Float64, Int
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.section5.learning_curves import run_seed, stretches
from experiments.section5.lone_feature import LONE
from features import FeatureDistribution
from geometry import dimensionality
from losses import many_features_loss
from models import ReLUOutputModel
from training import History, train
from visualization import DEDICATED, INK, NOTE, SHARED, WIDTH, described

EMERGED = 0.9  # share of its whole fall that the loss has made when the emergence is over
REST = 1000  # steps that a rest lasts at least, and over which losses are averaged
DIGON = 0.5  # dimensionality of a feature in a digon
BAND = 0.1  # width of the band in which a resting feature stays, and the least change of a jump
TOLERANCE = 1e-5  # relative error of the exact losses
SHUFFLES = 100  # random times for each event


@dataclass(frozen=True)
class Settings:
    """Equally important features at a density where digons are best, trained long enough."""

    features: int = 40
    hidden: int = 10
    inverse_density: float = 3.0  # 1/(1-S)
    runs: tuple[int, ...] = tuple(range(1, 9))  # their numbers; each has its own weights and rows
    steps: int = 30_000
    batch_size: int = 256
    lr: float = 2e-3  # constant
    init_scale: float = 0.01
    record_every: int = 50  # steps

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if self.inverse_density < 1:
            raise ValueError(f"inverse_density: expected at least 1, got {self.inverse_density}")


QUICK = Settings(8, 2, runs=(1, 2), steps=1200, batch_size=32, lr=1e-2)
NOTEBOOK = Settings(runs=(1, 2, 3), steps=20_000)


class Result(NamedTuple):
    """The course of training."""

    steps: Int[Tensor, " records"]
    loss: Float64[Tensor, "records runs"]  # exact
    dimensionality: Float[Tensor, "records runs features"]


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train several runs and record their dimensionalities and exact losses.

    Args:
        settings: Settings of the runs.
        seed: Seed of the initial weights and of the training's rows.
        device: Device that trains; the losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The course of training.
    """
    courses = [
        _measured(settings, trained(settings, number, seed, device, progress)[1])
        for number in settings.runs
    ]
    return joined(courses)


def trained(settings, number, seed, device="cpu", progress=True) -> tuple[ReLUOutputModel, History]:
    """Train one run.

    Args:
        settings: Settings of the runs.
        number: Number of the run.
        seed: As for `run`.
        device: Device that trains.
        progress: Whether to show progress on stderr.

    Returns:
        The model of one instance, and the history of its training.
    """
    own_seed = run_seed(seed, number)
    model = ReLUOutputModel(
        1,
        settings.features,
        settings.hidden,
        seed=own_seed,
        device=device,
        init_scale=settings.init_scale,
    )
    history = train(
        model,
        FeatureDistribution(1 / settings.inverse_density, features=settings.features).to(device),
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        schedule="constant",
        seed=own_seed,
        record=settings.record_every,
        progress=progress,
    )
    return model, history


def _measured(settings, history):
    """Measure what a Result has of one run."""
    W = history.weights["W"][:, 0]
    b = history.weights["b"][:, 0]
    distribution = FeatureDistribution(
        1 / settings.inverse_density, features=settings.features, instances=len(W)
    )
    loss = many_features_loss(W, b, distribution, tolerance=TOLERANCE)
    return Result(history.steps, loss[:, None], dimensionality(W)[:, None])


def shards(settings):
    """Split the settings into one run each."""
    return [replace(settings, runs=(number,)) for number in settings.runs]


def joined(results) -> Result:
    """Join the runs of several Results."""
    return Result(
        results[0].steps,
        torch.cat([result.loss for result in results], dim=1),
        torch.cat([result.dimensionality for result in results], dim=1),
    )


# Measures


class Rests(NamedTuple):
    """Stretches after the emergence in which a feature stays at one level."""

    run: Int[Tensor, " rests"]
    feature: Int[Tensor, " rests"]
    first: Int[Tensor, " rests"]  # record
    last: Int[Tensor, " rests"]  # record
    level: Float[Tensor, " rests"]  # mean dimensionality


class Jumps(NamedTuple):
    """Passages of features from one rest to another."""

    run: Int[Tensor, " jumps"]
    feature: Int[Tensor, " jumps"]
    first: Int[Tensor, " jumps"]  # last record of the rest before
    last: Int[Tensor, " jumps"]  # first record of the rest after
    rested: Int[Tensor, " jumps"]  # records of the rest before
    old: Float[Tensor, " jumps"]  # level of the rest before
    new: Float[Tensor, " jumps"]  # level of the rest after


class Events(NamedTuple):
    """Jumps of one run that are under way at once."""

    run: Int[Tensor, " events"]
    first: Int[Tensor, " events"]  # last record before the first jump
    last: Int[Tensor, " events"]  # first record after the last jump


def emerged(result) -> Int[Tensor, " runs"]:
    """Find the record at which the emergence of each run is over.

    It is the first one at which the loss has made EMERGED of its fall from the start to its lowest.
    """
    loss = result.loss
    threshold = loss[0] - EMERGED * (loss[0] - loss.amin(dim=0))
    return (loss <= threshold).int().argmax(dim=0)


def window(result) -> int:
    """Return how many records REST steps are."""
    return round(REST / (result.steps[1] - result.steps[0]).item())


def rests(result) -> Rests:
    """Find all rests after the emergence, of each run and feature in the order of time."""
    D = result.dimensionality
    records, runs, features = D.shape
    span = window(result) + 1
    found = []
    if records >= span:
        windows = D.unfold(0, span, 1)  # (starts, runs, features, span)
        quiet = windows.amax(dim=-1) - windows.amin(dim=-1) <= BAND
        after = torch.arange(len(quiet))[:, None] >= emerged(result)  # (starts, runs)
        quiet &= after[:, :, None]
        for k in range(runs):
            for feature in range(features):
                for first, last_start in stretches(quiet[:, k, feature]):
                    last = last_start + span - 1
                    level = D[first : last + 1, k, feature].mean().item()
                    found.append((k, feature, first, last, level))
    columns = torch.tensor(found, dtype=torch.float64).view(-1, 5).T
    return Rests(*columns[:4].long(), columns[4])


def jumps(result) -> Jumps:
    """Find all jumps.

    A feature jumps between two of its rests that follow each other, if their levels differ by more
    than BAND and it takes fewer steps than each of them lasts.
    """
    found = rests(result)
    passed = found.first[1:] - found.last[:-1]  # records
    lasted = found.last - found.first
    same = (found.run[1:] == found.run[:-1]) & (found.feature[1:] == found.feature[:-1])
    far = (found.level[1:] - found.level[:-1]).abs() > BAND
    fast = (passed > 0) & (passed < torch.minimum(lasted[1:], lasted[:-1]))
    chosen = (same & far & fast).nonzero()[:, 0]
    return Jumps(
        run=found.run[chosen],
        feature=found.feature[chosen],
        first=found.last[chosen],
        last=found.first[chosen + 1],
        rested=lasted[chosen],
        old=found.level[chosen],
        new=found.level[chosen + 1],
    )


def events(found: Jumps) -> Events:
    """Join the jumps of each run that are under way at once into events."""
    joined_spans = []
    spans = sorted(zip(found.run.tolist(), found.first.tolist(), found.last.tolist()))
    for k, first, last in spans:
        previous = joined_spans[-1] if joined_spans else None
        if previous and previous[0] == k and first < previous[2]:
            previous[2] = max(last, previous[2])
        else:
            joined_spans.append([k, first, last])
    return Events(*torch.tensor(joined_spans, dtype=torch.long).view(-1, 3).T)


def staying(result, found: Events) -> Float64[Tensor, " events"]:
    """Measure which share of the features stays at its level in each event."""
    before, after = _around(result.dimensionality, result, found)
    return ((after - before).abs() <= BAND).double().mean(dim=1)


def drops(result, found: Events) -> Float64[Tensor, " events"]:
    """Measure by which share the loss drops across each event: means over REST steps around it."""
    before, after = _around(result.loss[..., None], result, found)
    return 1 - (after / before)[:, 0]


def shuffled_drops(result, found: Events) -> Float64[Tensor, "events shuffles"]:
    """Measure the same at random times after the emergence, SHUFFLES of them for each event."""
    generator = torch.Generator().manual_seed(0)
    earliest = emerged(result)[found.run] + window(result)
    latest = len(result.steps) - 1 - window(result) - (found.last - found.first)
    shares = torch.rand(SHUFFLES, len(found.run), generator=generator, dtype=torch.float64)
    first = (earliest + shares * (latest - earliest + 1)).long()
    values = result.loss[..., None]
    changes = []
    for start in first:
        moved = Events(found.run, start, start + found.last - found.first)
        before, after = _around(values, result, moved)
        changes.append(1 - (after / before)[:, 0])
    return torch.stack(changes, dim=1)


def _around(values, result, found):
    """Average values (records, runs, any) over REST steps before and after each of some events."""
    span = window(result)
    nothing = values.new_zeros(0, values.shape[2])
    before = [
        values[first - span : first + 1, k].mean(dim=0)
        for k, first in zip(found.run.tolist(), found.first.tolist())
    ]
    after = [
        values[last : last + span + 1, k].mean(dim=0)
        for k, last in zip(found.run.tolist(), found.last.tolist())
    ]
    return (torch.stack(before), torch.stack(after)) if before else (nothing, nothing)


def members(found: Jumps) -> Bool[Tensor, "events jumps"]:
    """Say which jumps each event is made of."""
    every = events(found)
    same_run = every.run[:, None] == found.run
    return same_run & (found.first >= every.first[:, None]) & (found.last <= every.last[:, None])


def pairs_up(found: Jumps) -> Bool[Tensor, " events"]:
    """Say in which events a lone feature falls to the level of one in a digon."""
    lowest, highest = LONE
    lone = (lowest < found.old) & (found.old < highest)
    falls = lone & ((found.new - DIGON).abs() <= BAND / 2)
    return (members(found) & falls).any(dim=1)


# Figure


def shown_event(result, found: Jumps) -> int | None:
    """Choose the event to draw: of those in which a lone feature falls, the most central in time.

    Args:
        result: Result of `run`.
        found: Its jumps.

    Returns:
        The event's index, or None if there is no such event.
    """
    chosen = pairs_up(found).nonzero()[:, 0]
    if not len(chosen):
        return None
    every = events(found)
    away = (every.first + every.last - len(result.steps)).abs()
    return chosen[away[chosen].argmin()].item()


def figure(result) -> Figure:
    """Draw the dimensionalities of all features of one run, above its loss, as the paper does.

    The run is that of `shown_event`. On the right, the same around this event.
    """
    found = jumps(result)
    every = events(found)
    event = shown_event(result, found)
    k = 0 if event is None else every.run[event].item()
    drawing, axes = plt.subplots(
        2,
        2,
        figsize=(WIDTH, 6),
        layout="constrained",
        sharex="col",
        sharey="row",
        height_ratios=(1.7, 1),
        width_ratios=(2.2, 1),
    )
    for above, below in axes.T:
        _draw_features(result, found, k, above)
        below.plot(result.steps, result.loss[:, k], color=INK, linewidth=1.2)
        below.set_xlabel("training step")
    lowest = result.loss[:, k].min().item()
    axes[1, 0].set(ylabel="exact loss", ylim=(0.99 * lowest, 1.1 * lowest))
    axes[0, 0].set(
        ylabel="feature dimensionality $D_i$",
        ylim=(-0.03, 0.85),
        xlim=(0, result.steps[-1].item()),
        title=f"all {result.dimensionality.shape[2]} features of one run; orange: those that jump",
    )
    if event is not None:
        _draw_event(result, found, event, axes)
    count = len(every.run[pairs_up(found)].unique())
    sentence = f"in {count} of {result.loss.shape[1]} runs a lone feature becomes one of a digon"
    drawing.suptitle(f"{sentence[0].upper()}{sentence[1:]}")
    return described(
        drawing,
        "Curves of the dimensionality of each feature over training steps, above a curve of the "
        "exact loss, for one run, and on the right the same around one jump, which is shaded; "
        f"{sentence}.",
    )


def _draw_features(result, found, k, ax):
    """Draw the dimensionalities of one run, those of the features that jump in colour."""
    D = result.dimensionality[:, k]
    jumping = found.feature[found.run == k].unique()
    ax.plot(result.steps, D, color=DEDICATED, linewidth=0.6, alpha=0.5)
    ax.plot(result.steps, D[:, jumping], color=SHARED, linewidth=2)


def _draw_event(result, found, event, axes):
    """Shade an event in all panels, draw the right ones around it, and note what changes."""
    every = events(found)
    k, first, last = (column[event].item() for column in every)
    start = result.steps[first].item()
    end = result.steps[last].item()
    for ax in axes.flat:
        ax.axvspan(start, end, color=SHARED, alpha=0.25, linewidth=0)
    above, below = axes[:, 1]
    above.set(xlim=(start - REST, end + REST), title=f"closer: {end - start:,} steps")
    for jump in members(found)[event].nonzero()[:, 0].tolist():
        old = found.old[jump].item()
        text = f"$D_i$ {old:.2f} to {found.new[jump].item():.2f}"
        above.annotate(text, (start - 0.95 * REST, old), xytext=(0, 6), **NOTE)
    lower = f"{drops(result, every)[event].item():.1%} lower"
    below.annotate(lower, (end, result.loss[last, k].item()), xytext=(6, 6), **NOTE)
