"""What is the best solution at each point of a phase diagram, with nothing trained?

Ours, beside Section 3 of the paper, which knows a few named solutions: for n=2, m=1 the global optimum of the exact
loss, biases included; for n=3, m=2 the best solution known, of many exact descents. No chance is involved: the random
starts of the descents are always the same. `phase_diagram` draws it beside trained models.
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from checks import check_settings
from theory.phases import check_features, grid, optimum

SEEDED = False


@dataclass(frozen=True)
class Settings:
    features: int = 2  # 2 in one hidden dimension, or 3 in two
    points: int = 40  # on either axis

    def __post_init__(self):
        check_features(self.features)
        check_settings(self)


QUICK = Settings(points=6)


class Result(NamedTuple):
    """At each point of the grid, as `phases.grid` has them."""

    density: Float[Tensor, " grid"]
    ratio: Float[Tensor, " grid"]
    W: Float[Tensor, "grid hidden features"]
    b: Float[Tensor, "grid features"]
    loss: Float[Tensor, " grid"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """The best solution known at each point of the paper's grid, on the CPU whatever the device -> Result."""
    density, ratio = grid(settings.points)
    best = optimum(settings.features, density, ratio, progress=progress)
    return Result(density, ratio, best.W, best.b, best.loss)
