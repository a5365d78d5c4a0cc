"""What is the best solution at each point of a phase diagram, with nothing trained?

Section 3 of the paper compares trained models with a few solutions that it names. This experiment
is ours. For n=2, m=1 it finds the global optimum of the exact loss, biases included. For n=3, m=2
it finds the best solution known, the best of many exact descents. The result does not depend on a
seed, because the random starts of the descents are always the same. `phase_diagram` draws the
optimum beside trained models.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section3main.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from checks import check_settings
from theory.phases import check_features, grid, optimum

SEEDED = False


@dataclass(frozen=True)
class Settings:
    """The grid of the paper's diagrams."""

    features: int = 2  # 2 features in one hidden dimension, or 3 in two
    points: int = 40  # on each of the two axes

    def __post_init__(self):
        """Refuse values out of range."""
        check_features(self.features)
        check_settings(self)


QUICK = Settings(points=6)
QUICK_THREE = Settings(features=3, points=6)
NOTEBOOK = Settings(points=18)
NOTEBOOK_THREE = Settings(features=3, points=18)


class Result(NamedTuple):
    """The best solution known at each point, in the order of `phases.grid`."""

    density: Float[Tensor, " grid"]
    ratio: Float[Tensor, " grid"]  # relative importance of the last feature
    W: Float[Tensor, "grid hidden features"]
    b: Float[Tensor, "grid features"]
    loss: Float[Tensor, " grid"]


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Find the best solution known at each point of the paper's grid.

    Args:
        settings: Settings of the run.
        seed: Has no effect, since no chance is involved.
        device: Has no effect, since the exact loss is computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The best solution known at each point.
    """
    density, ratio = grid(settings.points)
    best = optimum(settings.features, density, ratio, progress=progress)
    return Result(density, ratio, best.W, best.b, best.loss)
