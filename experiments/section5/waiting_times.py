"""How long does training wait on the plateau of a lone feature before it jumps (ours)?

All runs begin at the same minimum of the exact loss (lone_feature.py), in which one feature is
alone in its dimension. They are trained on samples at several learning rates and batch sizes, each
with rows of its own, until the lone feature has become one of a digon. On the exact loss nothing
would happen, since the gradient is zero: what moves the runs is the noise of their samples.

The full settings take about eleven minutes on a core, so the waiting times are committed: FILE
holds them. `committed` reads them, and `python Section5main.py --waiting` computes them again.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from checks import check_settings
from experiments.section5.learning_curves import run_seed
from experiments.section5.lone_feature import LONE, settled_plateau
from features import FeatureDistribution
from geometry import dimensionality
from models import ReLUOutputModel
from sweeps import cells
from sweeps.files import claimed, write
from theory.polytopes import tegum_factors
from training import train

FILE = Path(__file__).with_suffix(".safetensors")


@dataclass(frozen=True)
class Settings:
    """What is trained, and in which ways: the k-th has the k-th learning rate and batch size."""

    features: int = 40
    hidden: int = 10
    inverse_density: float = 3.0  # 1/(1-S)
    learning_rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3, 2e-3, 2e-3)  # constant
    batch_sizes: tuple[int, ...] = (256, 256, 256, 64, 1024)
    runs: tuple[int, ...] = tuple(range(1, 17))  # their numbers, each with rows of its own
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
    16, 4, learning_rates=(4e-3, 8e-3), batch_sizes=(64, 16), runs=(1, 2), steps=300, record_every=5
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
        seed: Seed of the rows.
        device: Device that trains; the minimum is found on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The waiting times.
    """
    density = 1 / settings.inverse_density
    start = settled_plateau(settings.features, settings.hidden, density, progress).float()
    waits = []
    for lr, batch_size in zip(settings.learning_rates, settings.batch_sizes):
        for number in settings.runs:
            history = train(
                ReLUOutputModel.from_weights(start.W.detach(), start.b.detach()).to(device),
                FeatureDistribution(density, features=settings.features).to(device),
                steps=settings.steps,
                batch_size=batch_size,
                lr=lr,
                schedule="constant",
                seed=run_seed(seed, number),
                record=settings.record_every,
                progress=progress,
            )
            waits.append(_wait(history, 2 * (settings.hidden - 1)))
    shape = len(settings.learning_rates), len(settings.runs)
    jumped, waited, in_digons = (torch.tensor(values).view(shape) for values in zip(*waits))
    return Result(
        learning_rate=torch.tensor(settings.learning_rates, dtype=torch.float64),
        batch_size=torch.tensor(settings.batch_sizes),
        steps=torch.full(shape[:1], settings.steps),
        jumped=jumped,
        waited=waited,
        in_digons=in_digons,
    )


def _wait(history, lone):
    """Return whether and when a run jumps, and whether it ends in digons."""
    alone = dimensionality(history.weights["W"][:, 0])[:, lone] > LONE[0]  # (records,)
    jumped = not alone.all()
    record = alone.int().argmin() if jumped else -1
    factors = tegum_factors(history.weights["W"][-1, 0])
    in_digons = all(factor.polytope == "digon" for factor in factors)
    return jumped, history.steps[record].item(), in_digons


def shards(settings):
    """Split the settings into one run in all ways each."""
    return [replace(settings, runs=(number,)) for number in settings.runs]


def joined(results) -> Result:
    """Join the runs of several Results."""
    first = results[0]
    of_runs = ("jumped", "waited", "in_digons")
    together = {name: torch.cat([getattr(r, name) for r in results], dim=1) for name in of_runs}
    return first._replace(**together)


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
