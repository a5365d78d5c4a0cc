"""Learning dynamics: how the dimensionalities of many features come to their levels (paper, Section 5).

The paper trains many equally important features that end in digons and sees their dimensionalities jump from level to
level while the loss drops suddenly. Whether they do is decided by rules. A feature *moves* from one level to another;
a move, or a drop of the loss, is *sudden* if it takes no longer than all of the training before it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_settings
from experiments.section5.learning_curves import fall_rate, log_steps, logarithmic_steps, stretches
from features import FeatureDistribution
from geometry import dimensionality, represented
from models import ReLUOutputModel
from theory.polytopes import tegum_factors
from training import sampled_loss, train
from visualization import DEDICATED, FAINT, INK, SHARED, WIDTH, over_steps, plain_ticks

LEVELS = (
    0.0,
    0.5,
    1.0,
)  # dimensionalities: not represented or shared by all, of a digon, and dedicated
AT_LEVEL = 0.05  # a feature no further from a level is at it: a move is the 10 to 90 % rise between 0 and 1/2
SUDDEN = 2.0  # the factor by which steps may grow meanwhile
STEEP = 2.0  # the loss drops where it falls this much faster, on log axes, than on the average of the run


@dataclass(frozen=True)
class Settings:
    features: int = 100
    hidden: int = 20
    inverse_density: float = 3.0  # 1/(1-S): digons are best
    runs: int = 8
    steps: int = 6000
    batch_size: int = 256
    lr: float = 2e-3  # constant
    init_scale: float = 0.01
    records: int = 300
    rows: int = 4096  # on which the loss of every record is measured

    def __post_init__(self):
        check_settings(self)
        if self.inverse_density < 1:
            raise ValueError(f"inverse_density: expected at least 1, got {self.inverse_density}")


SIZES = (Settings(60, 20), Settings(40, 10), Settings(), Settings(100, 10))
QUICK = Settings(24, 6, runs=2, steps=300, batch_size=64, lr=1e-2, records=60, rows=1024)


class Result(NamedTuple):
    steps: Int[Tensor, " records"]
    loss: Float[Tensor, "records runs"]
    dimensionality: Float[Tensor, "records runs features"]
    W: Float[Tensor, "runs hidden features"]  # at the end


def run(settings, *, seed=0, device="cpu", progress=True):
    n, density = settings.features, 1 / settings.inverse_density
    inputs = FeatureDistribution(density, features=n, instances=settings.runs).to(device)
    model = ReLUOutputModel(
        settings.runs, n, settings.hidden, seed=seed, device=device, init_scale=settings.init_scale
    )
    how = {
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "lr": settings.lr,
        "schedule": "constant",
    }
    record = logarithmic_steps(settings.steps, settings.records)
    history = train(model, inputs, seed=seed, record=record, progress=progress, **how)
    W, b = (history.weights[name].flatten(0, 1) for name in ("W", "b"))
    kept = FeatureDistribution(density, features=n, instances=len(W))
    loss = sampled_loss(ReLUOutputModel.from_weights(W, b), kept, rows=settings.rows, seed=seed)
    by_record = len(history.steps), settings.runs
    return Result(
        history.steps,
        loss.view(by_record),
        dimensionality(W).unflatten(0, by_record),
        history.weights["W"][-1],
    )


# What it shows


class Moves(NamedTuple):
    """Passages of features from one level to another."""

    run: Int[Tensor, " moves"]
    feature: Int[Tensor, " moves"]
    first: Int[Tensor, " moves"]  # the last record at the level that it leaves
    last: Int[Tensor, " moves"]  # the first at the level that it reaches


def level(values: Float[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Which of LEVELS each dimensionality is at; -1 between them."""
    apart = (values[..., None] - torch.tensor(LEVELS, dtype=values.dtype)).abs()
    return torch.where(apart.amin(dim=-1) <= AT_LEVEL, apart.argmin(dim=-1), -1)


def moves(result) -> Moves:
    """All moves. A feature that leaves a level and comes back to it has not moved."""
    found = []
    at = level(result.dimensionality)
    for run in range(at.shape[1]):
        for feature in range(at.shape[2]):
            series = at[:, run, feature]
            here = (series >= 0).nonzero()[:, 0]
            changes = series[here].diff().nonzero()[:, 0]
            found += [
                (run, feature, first, last) for first, last in zip(here[changes], here[changes + 1])
            ]
    return Moves(*torch.tensor(found, dtype=torch.long).view(-1, 4).T)


def sudden(
    result, first: Int[Tensor, " spans"], last: Int[Tensor, " spans"]
) -> Bool[Tensor, " spans"]:
    """Which spans of records take no longer than all steps before them."""
    time = log_steps(result.steps)
    return (time[last] - time[first]).exp() <= SUDDEN


def dropping(result) -> Bool[Tensor, "records runs"]:
    """Where the loss falls more than STEEP times as fast as on the average of its run, on log axes."""
    time, low = log_steps(result.steps), result.loss.double().log().amin(dim=0)
    average = (result.loss[0].double().log() - low) / (time[-1] - time[0])
    return fall_rate(result.steps, result.loss) > STEEP * average


class Drops(NamedTuple):
    """Where the loss drops."""

    run: Int[Tensor, " drops"]
    first: Int[Tensor, " drops"]  # record
    last: Int[Tensor, " drops"]


def drops(result) -> Drops:
    steep = dropping(result)
    found = [(run, *span) for run in range(steep.shape[1]) for span in stretches(steep[:, run])]
    return Drops(*torch.tensor(found, dtype=torch.long).view(-1, 3).T)


def in_drop(result, of: Moves) -> Bool[Tensor, " moves"]:
    """Which moves have their middle, on a log axis, in a drop of the loss."""
    time = log_steps(result.steps)
    middle = torch.searchsorted(time, (time[of.first] + time[of.last]) / 2).clamp(max=len(time) - 1)
    return dropping(result)[middle, of.run]


def covered(result):
    """The share of the log axis on which the loss drops: what of the moves would fall there by chance."""
    time = log_steps(result.steps)
    return (dropping(result)[1:].double() * time.diff()[:, None]).sum().item() / (
        (time[-1] - time[0]).item() * result.loss.shape[1]
    )


def together(result, of: Moves) -> Float[Tensor, " runs"]:
    """The largest share of a run's moves that are under way at one record; 0 for a run without moves."""
    record = torch.arange(len(result.steps))[:, None]
    under_way = ((of.first < record) & (record < of.last)).double()  # (records, moves)
    by_run = torch.nn.functional.one_hot(of.run, result.loss.shape[1]).double()
    return (under_way @ by_run).amax(dim=0) / by_run.sum(dim=0).clamp(min=1)


def at_levels(result):
    """The share of features that are at a level at the end."""
    return (level(result.dimensionality[-1]) >= 0).double().mean().item()


def in_digons(result):
    """The share of the represented features that are in digons at the end."""
    factors = [factor for W in result.W for factor in tegum_factors(W)]
    digons = sum(len(factor.features) for factor in factors if factor.polytope == "digon")
    return digons / max(represented(result.W).sum().item(), 1)


# The figure


def figure(results):
    """Dimensionalities and loss of the first run of each size; moves that are sudden, and drops, in colour."""
    drawing, axes = plt.subplots(
        2, len(results), figsize=(WIDTH, 5.6), layout="constrained", sharex="col", sharey="row", squeeze=False,
        height_ratios=(1.6, 1),
    )  # fmt: skip
    for result, above, below in zip(results, *axes):
        _, hidden, features = result.W.shape
        above.set_title(f"$n={features}$, $m={hidden}$\n{_draw_features(result, above)}")
        _draw_loss(result, below)
    axes[0, 0].set_ylabel("feature dimensionality $D_i$")
    axes[1, 0].set_ylabel("loss / loss at the start")
    drawing.supxlabel(
        "one run of each size; orange: sudden moves between levels, and where the loss drops"
    )
    return drawing


def _draw_features(result, ax):
    """-> how many of the moves are sudden, in words."""
    for value in LEVELS[:2]:
        ax.axhline(value, color=FAINT, linewidth=0.8, zorder=0)
    series = result.dimensionality[:, 0]
    over_steps(result.steps, series, ax, color=DEDICATED, linewidth=0.5, alpha=0.5)
    found = moves(result)
    chosen = sudden(result, found.first, found.last) & (found.run == 0)
    spans = zip(
        found.feature[chosen].tolist(), found.first[chosen].tolist(), found.last[chosen].tolist()
    )
    for feature, first, last in spans:
        span = slice(first, last + 1)
        over_steps(result.steps[span], series[span, feature, None], ax, color=SHARED, linewidth=1.4)
    ax.set(ylim=(-0.02, 0.8), xlabel="")
    return f"{chosen.sum()} of {(found.run == 0).sum()} moves are sudden"


def _draw_loss(result, ax):
    over_steps(result.steps, result.loss[:, :1] / result.loss[0, 0], ax, color=INK, linewidth=1.3)
    for first, last in stretches(dropping(result)[:, 0]):
        ax.axvspan(
            result.steps[first].clamp(min=1).item(),
            result.steps[last].item(),
            color=SHARED,
            alpha=0.3,
            lw=0,
        )
    ax.set(yscale="log")
    plain_ticks(ax.yaxis, (0.5, 0.6, 0.8, 1))
