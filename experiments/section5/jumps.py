"""Do the dimensionalities of features jump from level to level while the loss drops suddenly?

Section 5 of the paper: many equally important features are trained until they form digons. Their
dimensionalities jump between a few levels, and the loss drops suddenly as they do. `figure` is the
paper's figure for models of several sizes.

Rules decide what counts. A feature *moves* when it goes from one level to another. A move or a drop
of the loss is *sudden* if it takes no longer than all of the training before it.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.section5.learning_curves import fall_rate, log_steps, logarithmic_steps, stretches
from features import FeatureDistribution
from geometry import dimensionality, represented
from models import ReLUOutputModel
from theory.polytopes import tegum_factors
from training import sampled_loss, train
from visualization import DEDICATED, FAINT, INK, SHARED, WIDTH, described, over_steps, plain_ticks

# Dimensionalities of a feature that is not represented, of one in a digon, and of a dedicated one.
LEVELS = (0.0, 0.5, 1.0)
# A feature this close to a level is at it. A move between 0 and 1/2 is thus a rise from 10 to 90 %.
AT_LEVEL = 0.05
SUDDEN = 2.0  # factor by which the number of steps may grow during a sudden move or drop
STEEP = 2.0  # the loss drops where it falls this much faster than on the run's average, on log axes


@dataclass(frozen=True)
class Settings:
    """The paper's setting of equally important features, at a density where digons are best."""

    features: int = 100
    hidden: int = 20
    inverse_density: float = 3.0  # 1/(1-S)
    runs: int = 8
    steps: int = 6000
    batch_size: int = 256
    lr: float = 2e-3  # constant
    init_scale: float = 0.01
    records: int = 300  # of the course of training, evenly spaced on a log axis
    rows: int = 4096  # sampled rows on which the loss of every record is measured

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if self.inverse_density < 1:
            raise ValueError(f"inverse_density: expected at least 1, got {self.inverse_density}")


SIZES = (Settings(60, 20), Settings(40, 10), Settings(), Settings(100, 10))
QUICK = Settings(24, 6, runs=2, steps=300, batch_size=64, lr=1e-2, records=60, rows=1024)
NOTEBOOK_SIZES = tuple(
    replace(size, runs=2, steps=4000)
    for size in (Settings(60, 20), Settings(40, 10), Settings(100, 10))
)


class Result(NamedTuple):
    """The course of training."""

    steps: Int[Tensor, " records"]
    loss: Float[Tensor, "records runs"]
    dimensionality: Float[Tensor, "records runs features"]
    W: Float[Tensor, "runs hidden features"]  # at the end


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train several runs of one size and record their dimensionalities and losses.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights, of the training's rows, and of the rows of the loss.
        device: Device that trains; the losses are measured on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The course of training.
    """
    density = 1 / settings.inverse_density
    model = ReLUOutputModel(
        settings.runs,
        settings.features,
        settings.hidden,
        seed=seed,
        device=device,
        init_scale=settings.init_scale,
    )
    history = train(
        model,
        FeatureDistribution(density, features=settings.features, instances=settings.runs).to(
            device
        ),
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        schedule="constant",
        seed=seed,
        record=logarithmic_steps(settings.steps, settings.records),
        progress=progress,
    )
    shape = (len(history.steps), settings.runs)
    W = history.weights["W"].flatten(0, 1)  # (records * runs, hidden, features)
    b = history.weights["b"].flatten(0, 1)
    recorded = FeatureDistribution(density, features=settings.features, instances=len(W))
    models = ReLUOutputModel.from_weights(W, b)
    loss = sampled_loss(models, recorded, rows=settings.rows, seed=seed)
    return Result(
        steps=history.steps,
        loss=loss.view(shape),
        dimensionality=dimensionality(W).unflatten(0, shape),
        W=history.weights["W"][-1],
    )


# Measures


class Moves(NamedTuple):
    """Moves of features from one level to another."""

    run: Int[Tensor, " moves"]
    feature: Int[Tensor, " moves"]
    first: Int[Tensor, " moves"]  # last record at the old level
    last: Int[Tensor, " moves"]  # first record at the new level


class Drops(NamedTuple):
    """Drops of the loss."""

    run: Int[Tensor, " drops"]
    first: Int[Tensor, " drops"]  # first record of the drop
    last: Int[Tensor, " drops"]  # last record of the drop


def level(values: Float[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Find the level of each dimensionality.

    Args:
        values: Dimensionalities.

    Returns:
        Indices into LEVELS, and -1 between the levels.
    """
    distance = (values[..., None] - torch.tensor(LEVELS, dtype=values.dtype)).abs()
    return torch.where(distance.amin(dim=-1) <= AT_LEVEL, distance.argmin(dim=-1), -1)


def moves(result) -> Moves:
    """Find all moves. A feature that leaves a level and returns to it has not moved."""
    found = []
    levels = level(result.dimensionality)
    _, runs, features = levels.shape
    for k in range(runs):
        for feature in range(features):
            changes = _changes(levels[:, k, feature])
            found += [(k, feature, first, last) for first, last in changes]
    return Moves(*torch.tensor(found, dtype=torch.long).view(-1, 4).T)


def _changes(levels):
    """Pair the records just before and just after each change of a feature's level (records,)."""
    at_level = (levels >= 0).nonzero()[:, 0]
    changed = levels[at_level].diff().nonzero()[:, 0]
    return zip(at_level[changed].tolist(), at_level[changed + 1].tolist())


def sudden(
    result, first: Int[Tensor, " spans"], last: Int[Tensor, " spans"]
) -> Bool[Tensor, " spans"]:
    """Say which spans of records take no longer than all of the steps before them.

    Args:
        result: Result of `run`.
        first: First record of each span.
        last: Last record of each span.

    Returns:
        Whether each span is sudden.
    """
    time = log_steps(result.steps)
    return (time[last] - time[first]).exp() <= SUDDEN


def dropping(result) -> Bool[Tensor, "records runs"]:
    """Say where the loss falls more than STEEP times as fast as on the run's average."""
    time = log_steps(result.steps)
    log_loss = result.loss.double().log()
    average = (log_loss[0] - log_loss.amin(dim=0)) / (time[-1] - time[0])
    return fall_rate(result.steps, result.loss) > STEEP * average


def drops(result) -> Drops:
    """Find all drops of the loss."""
    found = []
    steep = dropping(result)
    for k in range(steep.shape[1]):
        found += [(k, first, last) for first, last in stretches(steep[:, k])]
    return Drops(*torch.tensor(found, dtype=torch.long).view(-1, 3).T)


def during_drops(result, moves: Moves) -> Bool[Tensor, " moves"]:
    """Say which moves have their middle, on a log axis, in a drop of the loss.

    Args:
        result: Result of `run`.
        moves: Its moves, or some of them.

    Returns:
        Whether each move coincides with a drop.
    """
    time = log_steps(result.steps)
    middle = (time[moves.first] + time[moves.last]) / 2
    record = torch.searchsorted(time, middle).clamp(max=len(time) - 1)
    return dropping(result)[record, moves.run]


def dropping_share(result):
    """Measure on which share of the log axis the loss drops.

    It is also the share of the moves that would coincide with a drop if their times were random.
    """
    time = log_steps(result.steps)
    drop_time = (dropping(result)[1:].double() * time.diff()[:, None]).sum().item()
    return drop_time / ((time[-1] - time[0]).item() * result.loss.shape[1])


def simultaneous_share(result, moves: Moves) -> Float[Tensor, " runs"]:
    """Measure which share of a run's moves is under way at once, at the record where it is largest.

    Args:
        result: Result of `run`.
        moves: Its moves.

    Returns:
        The share for each run, 0 for a run without moves.
    """
    record = torch.arange(len(result.steps))[:, None]
    under_way = ((moves.first < record) & (record < moves.last)).double()  # (records, moves)
    in_run = torch.nn.functional.one_hot(moves.run, result.loss.shape[1]).double()  # (moves, runs)
    return (under_way @ in_run).amax(dim=0) / in_run.sum(dim=0).clamp(min=1)


def at_levels(result):
    """Measure which share of the features is at a level at the end."""
    return (level(result.dimensionality[-1]) >= 0).double().mean().item()


def in_digons(result):
    """Measure which share of the represented features is in digons at the end."""
    in_digon = 0
    for W in result.W:
        digons = [factor for factor in tegum_factors(W) if factor.polytope == "digon"]
        in_digon += sum(len(digon.features) for digon in digons)
    return in_digon / max(represented(result.W).sum().item(), 1)


# Figure


def figure(results) -> Figure:
    """Draw dimensionalities and loss of the first run of each size, with sudden moves and drops.

    Args:
        results: Results of `run`, one for each column.

    Returns:
        The figure.
    """
    drawing, axes = plt.subplots(
        2,
        len(results),
        figsize=(WIDTH, 5.6),
        layout="constrained",
        sharex="col",
        sharey="row",
        squeeze=False,
        height_ratios=(1.6, 1),
    )
    counts = []
    for result, above, below in zip(results, *axes):
        _, hidden, features = result.W.shape
        _draw_features(result, above)
        count = _count_of_sudden_moves(result)
        counts.append(f"{count} with n={features}, m={hidden}")
        above.set_title(f"$n={features}$, $m={hidden}$\n{count}")
        _draw_loss(result, below)
    axes[0, 0].set_ylabel("feature dimensionality $D_i$")
    axes[1, 0].set_ylabel("loss / loss at the start")
    drawing.supxlabel(
        "one run of each size; orange: sudden moves between levels, and where the loss drops"
    )
    return described(
        drawing,
        "Curves of the dimensionality of each feature, above curves of the loss, over training "
        "steps for one run of each size, with sudden moves between levels and drops of the loss in "
        f"orange: {'; '.join(counts)}.",
    )


def _count_of_sudden_moves(result):
    """Say how many moves of the first run are sudden."""
    found = moves(result)
    in_first_run = found.run == 0
    count = (sudden(result, found.first, found.last) & in_first_run).sum()
    return f"{count} of {in_first_run.sum()} moves are sudden"


def _draw_features(result, ax):
    """Draw the dimensionalities of the first run, sudden moves in colour."""
    for value in LEVELS[:2]:
        ax.axhline(value, color=FAINT, linewidth=0.8, zorder=0)
    series = result.dimensionality[:, 0]
    over_steps(result.steps, series, ax, color=DEDICATED, linewidth=0.5, alpha=0.5)
    found = moves(result)
    chosen = sudden(result, found.first, found.last) & (found.run == 0)
    spans = torch.stack((found.feature, found.first, found.last), dim=1)[chosen]
    for feature, first, last in spans.tolist():
        span = slice(first, last + 1)
        over_steps(result.steps[span], series[span, feature, None], ax, color=SHARED, linewidth=1.4)
    ax.set(ylim=(-0.02, 0.8), xlabel="")


def _draw_loss(result, ax):
    """Draw the loss of the first run, its drops in colour."""
    relative = result.loss[:, :1] / result.loss[0, 0]
    over_steps(result.steps, relative, ax, color=INK, linewidth=1.3)
    shown_steps = result.steps.clamp(min=1).tolist()
    for first, last in stretches(dropping(result)[:, 0]):
        ax.axvspan(shown_steps[first], shown_steps[last], color=SHARED, alpha=0.3, lw=0)
    ax.set(yscale="log")
    plain_ticks(ax.yaxis, (0.5, 0.6, 0.8, 1))
