"""Is the plateau of a lone feature a saddle point, or a minimum that sampling noise leaves (ours)?

The runs are those of jumps.py, stopped where many of them have a lone feature. Each of these models
descends on the exact loss until its gradient vanishes, and all eigenvalues of the Hessian there say
what the point is: 0 along the rotations of the hidden space, and otherwise positive at a minimum.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from experiments.section5 import jumps
from experiments.section5.lone_feature import is_lone
from features import FeatureDistribution
from geometry import dimensionality
from losses.gradient import exact_gradient
from theory.stationary import curvatures, rotations
from training import settle

FLAT = 1e-4  # curvature below which a direction counts as flat; rotations have about 1e-6
TOLERANCE = 1e-6  # norm of the settled gradient, relative to where the descent began


@dataclass(frozen=True)
class Settings(jumps.Settings):
    """Those of jumps.py, with fewer runs, which stop where many of them have a lone feature."""

    runs: tuple[int, ...] = (1, 2, 3, 4)
    steps: int = 6000
    record_every: int = 6000


QUICK = Settings(8, 2, runs=(1, 2), steps=600, batch_size=64, lr=1e-2)
NOTEBOOK = Settings(runs=(1,))


class Result(NamedTuple):
    """Models with a lone feature, and the points where they settle."""

    runs: Int[Tensor, ""]  # that were trained
    start_loss: Float64[Tensor, " plateaus"]  # exact
    loss: Float64[Tensor, " plateaus"]  # exact, settled
    gradient: Float64[Tensor, " plateaus"]  # its norm, settled
    curvatures: Float64[Tensor, "plateaus weights"]  # eigenvalues of the Hessian, ascending
    rotations: Int[Tensor, " plateaus"]  # directions in which the hidden space can turn
    W: Float64[Tensor, "plateaus hidden features"]  # settled
    b: Float64[Tensor, "plateaus features"]  # settled


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train the runs, keep the models with a lone feature, and settle them.

    Args:
        settings: Settings of the experiment.
        seed: As for `jumps.run`.
        device: Device that trains; exact losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The settled models.
    """
    results = []
    for number in settings.runs:
        model = jumps.trained(settings, number, seed, device, progress)[0].to("cpu").double()
        lone = is_lone(dimensionality(model.W.detach())).item()
        results.append(_settled(settings, model, progress) if lone else _nothing(settings))
    return joined(results)


def _settled(settings, model, progress):
    """Settle a model and measure what a Result has of it."""
    distribution = FeatureDistribution(1 / settings.inverse_density, features=settings.features)
    start_loss = exact_gradient(model.W, model.b, distribution).loss
    settle(model, distribution, tolerance=TOLERANCE, progress=progress)
    W = model.W.detach()
    b = model.b.detach()
    gradient = exact_gradient(W, b, distribution)
    return Result(
        runs=torch.tensor(1),
        start_loss=start_loss,
        loss=gradient.loss,
        gradient=gradient.norm,
        curvatures=curvatures(W, b, distribution),
        rotations=torch.tensor([rotations(W[0], b[0]).shape[1]]),
        W=W,
        b=b,
    )


def _nothing(settings):
    """Return a Result without plateaus."""
    W = torch.zeros(0, settings.hidden, settings.features, dtype=torch.float64)
    numbers = torch.zeros(0, dtype=torch.float64)
    return Result(
        runs=torch.tensor(1),
        start_loss=numbers,
        loss=numbers,
        gradient=numbers,
        curvatures=numbers.new_zeros(0, (settings.hidden + 1) * settings.features),
        rotations=torch.zeros(0, dtype=torch.long),
        W=W,
        b=W.new_zeros(0, settings.features),
    )


def shards(settings):
    """Split the settings into one run each."""
    return jumps.shards(settings)


def joined(results) -> Result:
    """Join the plateaus of several Results."""
    runs, *columns = zip(*results)
    return Result(sum(runs), *(torch.cat(values) for values in columns))


# Measures


def still_lone(result) -> Bool[Tensor, " plateaus"]:
    """Say which settled models still have a lone feature."""
    return is_lone(dimensionality(result.W))


def flat_directions(result) -> Int[Tensor, " plateaus"]:
    """Count the directions in which the loss is flat at each settled model."""
    return (result.curvatures.abs() < FLAT).sum(dim=1)


def lowest_curvature(result) -> Float64[Tensor, " plateaus"]:
    """Find the lowest eigenvalue of each settled model in directions that are not flat."""
    curved = torch.where(result.curvatures.abs() < FLAT, torch.inf, result.curvatures)
    return curved.amin(dim=1)
