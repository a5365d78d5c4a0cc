"""How long does training wait on the plateau of a lone feature before it jumps (ours)?

All runs begin at the same minimum of the exact loss (lone_feature.py), in which one feature is
alone in its dimension, each with its features in another order and its hidden space turned, since
Adam treats each weight on its own. They are trained on samples at several learning rates and batch
sizes until the lone feature has become one of a digon. On the exact loss nothing would happen,
since the gradient is zero: what moves the runs is the noise of their samples.

The full settings take two minutes on a core, and they have nothing to do with a section's seed. So
the waiting times are committed: FILE holds them. `committed` reads them, and
`python Section5main.py --waiting` computes them again.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float64, Int
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.section5.lone_feature import LONE, settled_plateau
from features import FeatureDistribution
from geometry import dimensionality
from models import ReLUOutputModel
from sweeps import cells
from sweeps.files import claimed, write
from theory.polytopes import tegum_factors
from training import train
from visualization import INK, NOTE, SHARED, WIDTH, described

FILE = Path(__file__).with_suffix(".safetensors")


@dataclass(frozen=True)
class Settings:
    """What is trained, and in which ways: the k-th has the k-th learning rate and batch size."""

    features: int = 40
    hidden: int = 10
    inverse_density: float = 3.0  # 1/(1-S)
    learning_rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3, 2e-3, 2e-3)  # constant
    batch_sizes: tuple[int, ...] = (256, 256, 256, 64, 1024)
    runs: int = 8  # in each way, on the same rows
    steps: int = 20_000
    record_every: int = 20  # steps

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if self.inverse_density < 1:
            raise ValueError(f"inverse_density: expected at least 1, got {self.inverse_density}")
        if len(self.learning_rates) != len(self.batch_sizes):
            raise ValueError(
                f"batch_sizes: expected {len(self.learning_rates)}, one for each learning rate, "
                f"got {len(self.batch_sizes)}"
            )


QUICK = Settings(
    8, 2, learning_rates=(4e-3, 8e-3), batch_sizes=(64, 16), runs=2, steps=300, record_every=5
)


class Result(NamedTuple):
    """How long each run waited."""

    learning_rate: Float64[Tensor, " ways"]
    batch_size: Int[Tensor, " ways"]
    steps: Int[Tensor, " ways"]  # for which the runs were trained
    jumped: Bool[Tensor, "ways runs"]
    waited: Int[Tensor, "ways runs"]  # steps before the jump; all steps where there was none
    in_digons: Bool[Tensor, "ways runs"]  # whether all represented features are, at the end


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train all runs in all ways from the same minimum.

    Args:
        settings: Settings of the study.
        seed: Seed of the rows, and of the features' orders and the turns.
        device: Device that trains; the minimum is found on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The waiting times.
    """
    density = 1 / settings.inverse_density
    plateau = settled_plateau(settings.features, settings.hidden, density, progress)
    distribution = FeatureDistribution(density, features=settings.features, instances=settings.runs)
    waits = []
    for lr, batch_size in zip(settings.learning_rates, settings.batch_sizes):
        history = train(
            _copies(plateau, settings.runs, seed).to(device),
            distribution.to(device),
            steps=settings.steps,
            batch_size=batch_size,
            lr=lr,
            schedule="constant",
            seed=seed,
            record=settings.record_every,
            progress=progress,
        )
        waits.append(_waits(history))
    jumped, waited, in_digons = (torch.stack(values) for values in zip(*waits))
    return Result(
        learning_rate=torch.tensor(settings.learning_rates, dtype=torch.float64),
        batch_size=torch.tensor(settings.batch_sizes),
        steps=torch.full((len(waits),), settings.steps),
        jumped=jumped,
        waited=waited,
        in_digons=in_digons,
    )


def _copies(plateau, runs, seed):
    """Copy a model of one instance, with features in random orders and hidden spaces turned."""
    generator = torch.Generator().manual_seed(seed)
    W = plateau.W.detach()[0]
    b = plateau.b.detach()[0]
    copies = []
    for _ in range(runs):
        order = torch.randperm(len(b), generator=generator)
        random = torch.randn(len(W), len(W), generator=generator, dtype=W.dtype)
        turn = torch.linalg.qr(random).Q
        copies.append(((turn @ W)[:, order], b[order]))
    stacked = [torch.stack(values).float() for values in zip(*copies)]
    return ReLUOutputModel.from_weights(*stacked)


def _waits(history):
    """Return for each run whether and when it jumps, and whether it ends in digons."""
    W = history.weights["W"]  # (records, runs, hidden, features)
    D = dimensionality(W.flatten(0, 1)).unflatten(0, W.shape[:2])
    lone = D[0].argmax(dim=1)
    alone = D[:, torch.arange(len(lone)), lone] > LONE[0]  # (records, runs)
    jumped = ~alone.all(dim=0)
    record = torch.where(jumped, alone.int().argmin(dim=0), len(W) - 1)
    factors = [tegum_factors(last) for last in W[-1]]
    in_digons = [all(factor.polytope == "digon" for factor in each) for each in factors]
    return jumped, history.steps[record], torch.tensor(in_digons)


def shards(settings):
    """Split the settings into one way of training each."""
    ways = zip(settings.learning_rates, settings.batch_sizes)
    return [replace(settings, learning_rates=(lr,), batch_sizes=(rows,)) for lr, rows in ways]


def effort(settings):
    """Number of rows."""
    return settings.steps * sum(settings.batch_sizes)


def joined(results) -> Result:
    """Join the ways of several Results."""
    return Result(*(torch.cat(values) for values in zip(*results)))


# The committed waiting times


def committed() -> Result:
    """Read the committed waiting times.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or it does not hold waiting times.
    """
    return cells.read(sys.modules[__name__], FILE)[0]


def save(result):
    """Write waiting times as the committed ones."""
    cell = cells.Cell(sys.modules[__name__], Settings(), 0, "cpu")
    with claimed(FILE):
        write(FILE, cells.serialized(cell, result))


# Measures


def names(result) -> list[str]:
    """Name the ways of training by learning rate and rows."""
    ways = zip(result.learning_rate.tolist(), result.batch_size.tolist())
    return [f"learning rate {lr:g}, {rows} rows" for lr, rows in ways]


def jumped_shares(result) -> list[float]:
    """Return the share of the runs that jump, for each way of training."""
    return result.jumped.double().mean(dim=1).tolist()


def mean_waits(result) -> Float64[Tensor, " ways"]:
    """Return the mean wait of each way; runs without a jump count with all their steps."""
    return result.waited.double().mean(dim=1)


# Figure


def figure(way, waits) -> Figure:
    """Draw the way from the plateau to a digon, and how long runs wait on the plateau.

    Args:
        way: Result of barrier.py.
        waits: Result of this experiment.
    """
    drawing = plt.figure(figsize=(WIDTH, 5.8), layout="constrained")
    axes = drawing.subplot_mosaic([["way", "waits"], ["start", "waits"]], width_ratios=(1, 1.15))
    _draw_way(way, axes["way"], axes["start"])
    _draw_waits(waits, axes["waits"])
    shares = zip(jumped_shares(waits), names(waits))
    listed = ", ".join(f"{share:.0%} with {name}" for share, name in shares)
    return described(
        drawing,
        "On the left, a curve of the exact loss over the weight of the feature that becomes the "
        "lone feature's antipode, and its start enlarged, a low barrier; on the right, a dot for "
        f"how long each run waits before it jumps; of the runs, {listed} do.",
    )


def _draw_way(way, whole, start):
    """Draw the lowest exact loss over the held weight, and its start enlarged."""
    plateau = way.below_loss[0].item()
    near = way.weight > -way.weight[0] / 2
    style = {"color": INK, "markersize": 3, "linewidth": 1.2}
    whole.plot(way.weight, way.loss, "o-", **style)
    whole.set(ylabel="exact loss", title="from the plateau (left) to a digon (right)")
    start.plot(way.weight[near], 1e6 * (way.loss[near] / plateau - 1), "o-", **style)
    top = 1e6 * (way.top_loss.item() / plateau - 1)
    start.plot(0, top, "D", color=SHARED, markersize=7)
    start.annotate("saddle point", (0, top), xytext=(0, -16), ha="center", **NOTE)
    start.set(
        ylabel="rise of the loss,\nin millionths",
        title="its start, enlarged",
    )
    for ax in (whole, start):
        ax.set_xlabel("weight of a weak feature along the lone one")
        ax.invert_xaxis()
        ax.locator_params(axis="x", nbins=5)


def _draw_waits(waits, ax):
    """Draw a dot for the wait of each run, hollow where it has not jumped by the end."""
    order = mean_waits(waits).argsort(descending=True).tolist()
    for place, k in enumerate(order):
        waited = waits.waited[k]
        spread = place + torch.linspace(-0.25, 0.25, len(waited))
        jumped = waits.jumped[k]
        ax.plot(waited[jumped], spread[jumped], "o", color=SHARED, mec=INK, mew=0.6)
        ax.plot(waited[~jumped], spread[~jumped], ">", mfc="none", mec=INK, mew=0.8)
    texts = [
        f"{waits.learning_rate[k]:g}, {waits.batch_size[k]} rows:\n"
        f"{waits.jumped[k].sum()} of {waits.jumped.shape[1]} jump"
        for k in order
    ]
    ax.set_yticks(range(len(order)), labels=texts)
    ax.set(
        xlabel="steps before the jump (arrows: no jump by then)",
        ylabel="learning rate and rows in a step",
        title="how long runs from the plateau's minimum wait",
        xlim=(0, 1.04 * waits.steps.max().item()),
    )
