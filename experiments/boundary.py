"""Where does the second feature of n=2, m=1 come to be represented, and is the change first order?

Section 3 of the paper calls superposition a phase change: the losses of two solutions cross and the optimal loss has a
kink. Ours: both are followed exactly, at each density along the relative importance r. No chance is involved.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool
from torch import Tensor

import phases
from features import check_settings
from visualization import DEDICATED, FAINT, INK, SHARED, WIDTH

SEEDED = False


@dataclass(frozen=True)
class Settings:
    densities: tuple[float, ...] = (*(round(1 - 0.025 * k, 3) for k in range(25)), 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)

    def __post_init__(self):
        check_settings(self)


QUICK = Settings(densities=(1.0, 0.65, 0.01))
Result = phases.Boundary


def run(settings, *, seed=0, device="cpu", progress=True):
    """Follow the optimum along r at each density, on the CPU whatever the device -> Result."""
    return phases.boundary(torch.tensor(settings.densities, dtype=torch.float64), progress=progress)


# Numbers: at which densities |w_2| jumps


def jumps(result) -> Bool[Tensor, " densities"]:
    """At all of these the change is first order."""
    return result.kink > 0


def out_of_zero(result) -> Bool[Tensor, " densities"]:
    """There |w_2| jumps out of zero, not after a smooth rise."""
    return jumps(result) & (result.before <= phases.ONSET)


def figure(result):
    """Where the second feature appears, how |w_2| jumps, and the kink of the loss there.

    The curves of the jump have a gap where there is none.
    """
    drawn, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.8), layout="constrained")
    where, jump, slope = axes
    x = result.density.numpy()
    ratio, before, after = (
        torch.where(jumps(result), values, torch.nan).numpy() for values in (result.ratio, result.before, result.after)
    )
    where.plot(
        x, phases.named_boundary(result.density).numpy(), color=FAINT, linewidth=4, label="named solutions cross"
    )
    where.plot(x, result.onset.numpy(), ":", color=INK, label="$|w_2|$ leaves zero")
    where.plot(x, ratio, "o-", color=DEDICATED, markersize=3, label="largest jump of $|w_2|$")
    where.set(yscale="log", ylabel="relative importance $r$ (log scale)")
    where.legend(fontsize=8)
    jump.fill_between(x, before, after, color=SHARED, alpha=0.3)
    jump.plot(x, after, "o-", color=SHARED, markersize=3, label="after")
    jump.plot(x, before, "o-", color=DEDICATED, markersize=3, label="before")
    jump.set(ylabel="$|w_2|$ on either side of the jump", ylim=(-0.03, 1.05))
    jump.legend(fontsize=8)
    slope.plot(x, result.kink.numpy(), "o-", color=DEDICATED, markersize=3)
    slope.set(ylabel="kink: fall of $dL/dr$ over $s/3-s^2/4$", ylim=(-0.02, None))
    for ax in axes:
        ax.set(xscale="log", xlabel="density $1-S$ (log scale)", xlim=(x.max(), x.min()))
    return drawn
