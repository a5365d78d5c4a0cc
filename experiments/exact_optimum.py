"""What is the best solution at each point of a phase diagram, with nothing trained?

Ours, beside Section 3 of the paper, which knows a few named solutions: for n=2, m=1 the global optimum of the exact
loss, biases included; for n=3, m=2 the best solution known, of many exact descents. No chance is involved: the random
starts of the descents are always the same. `phase_diagram` draws it beside trained models.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from phases import grid, optimum

SEEDED = False


@dataclass(frozen=True)
class Settings:
    features: int = 2  # 2 in one hidden dimension, or 3 in two
    points: int = 40  # on either axis


QUICK = Settings(points=6)


class Result(NamedTuple):
    density: Tensor  # (points^2,), as `phases.grid` has them
    ratio: Tensor  # (points^2,)
    W: Tensor  # (points^2, hidden, features)
    b: Tensor  # (points^2, features)
    loss: Tensor  # (points^2,)


def run(settings, *, seed=0, device="cpu", progress=True):
    """The best solution known at each point of the paper's grid, on the CPU whatever the device -> Result."""
    density, ratio = grid(settings.points)
    best = optimum(settings.features, density, ratio, progress=progress)
    return Result(density, ratio, best.W, best.b, best.loss)
