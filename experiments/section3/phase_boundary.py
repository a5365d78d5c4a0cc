"""Where does the second feature of n=2, m=1 come to be represented, and is the change first order?

Section 3 of the paper calls superposition a phase change: the losses of two solutions cross and the optimal loss has a
kink. Ours: both are followed exactly, at each density along the relative importance r, to where their difference
changes its sign. What jumps at r = 1, where the features change places, follows from the symmetry alone and is told
apart. An expansion of the loss in a small |w_2| says at which densities the second feature can grow out of zero
continuously. No chance is involved.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool
from torch import Tensor

from checks import check_settings
from theory import boundary
from theory.descents import ignored_loss
from visualization import DEDICATED, FAINT, INK, SHARED, WIDTH

SEEDED = False


@dataclass(frozen=True)
class Settings:
    densities: tuple[float, ...] = (
        *(round(1 - 0.025 * k, 3) for k in range(25)),
        0.3,
        0.2,
        0.1,
        0.05,
        0.02,
        0.01,
    )

    def __post_init__(self):
        check_settings(self)


QUICK = Settings(densities=(1.0, 0.65, 0.01))
Result = boundary.Boundary


def run(settings, *, seed=0, device="cpu", progress=True):
    """Follow the optimum along r at each density, on the CPU whatever the device -> Result."""
    return boundary.optimum_boundary(
        torch.tensor(settings.densities, dtype=torch.float64), progress=progress
    )


# Numbers


def jumps(result) -> Bool[Tensor, " densities"]:
    """At these the losses of two solutions cross below r = 1, and |w_2| jumps."""
    return result.kink > 0


def out_of_zero(result) -> Bool[Tensor, " densities"]:
    """At these the change from *not represented* is first order: |w_2| jumps where it leaves zero."""
    return result.onset_norm > 0


# Figure

SHOWN = 0.45, 0.6  # densities whose paying ratios are drawn: on either side of the tricritical one
SMALL = 0.1  # |w_2| up to which the expansion is drawn


def figure(result):
    """Where the second feature appears, how |w_2| jumps and the loss has a kink; why it jumps, or does not.

    The curves of the jump have a gap where there is none.
    """
    drawn, axes = plt.subplots(2, 3, figsize=(WIDTH, 7.4), layout="constrained")
    _where(result, axes[0, 0])
    _jump(result, axes[0, 1])
    x = result.density.numpy()
    axes[0, 2].plot(x, _where_jumping(result, result.kink), "o-", color=DEDICATED)
    axes[0, 2].set(ylabel="kink: fall of $dL/dr$ over $s/3-s^2/4$", ylim=(-0.02, None))
    for ax in axes[0]:
        ax.set(xscale="log", xlabel="density $s = 1-S$ (log scale)", xlim=(x.max(), x.min()))
    _paying(result, *axes[1, :2])
    _cubic(axes[1, 2])
    return drawn


def _where_jumping(result, values):
    return torch.where(jumps(result), values, torch.nan).numpy()


def _where(result, ax):
    x = result.density.numpy()
    ax.plot(
        x,
        boundary.named_boundary(result.density).numpy(),
        color=FAINT,
        linewidth=4,
        label="named solutions cross",
    )
    ax.plot(x, result.onset.numpy(), ":", color=INK, label="$|w_2|$ leaves zero")
    ax.plot(
        x, _where_jumping(result, result.ratio), "o-", color=DEDICATED, label="two solutions cross"
    )
    ax.set(yscale="log", ylabel="relative importance $r$ (log scale)")
    ax.legend(loc="lower left")


def _jump(result, ax):
    x, forced = result.density.numpy(), result.exchange.numpy().T
    before, after = (_where_jumping(result, values) for values in (result.before, result.after))
    differ = forced[1] - forced[0] > boundary.ONSET
    ax.fill_between(
        x, *forced, where=differ, color=FAINT, alpha=0.5, label="forced by symmetry at $r=1$"
    )
    ax.fill_between(x, before, after, color=SHARED, alpha=0.3)
    ax.plot(x, after, "o-", color=SHARED, label="after the crossing")
    ax.plot(x, before, "o-", color=DEDICATED, label="before")
    ax.set(ylabel="$|w_2|$ on either side of the jump", ylim=(-0.03, 1.25))
    ax.legend()


def _paying(result, whole, near):
    """The paying ratio over |w_2|, as far above that of a vanishing |w_2| as in percent of it; and the expansion."""
    chosen = (result.density >= SHOWN[0]) & (result.density <= SHOWN[1])
    density, norm = result.density[chosen], boundary.NORMS
    expansion, small = boundary.landau(density), norm <= SMALL
    above = 100 * (result.paying[chosen] / expansion.onset[:, None] - 1)
    slope = 100 * expansion.cubic / ignored_loss(1, density) / expansion.onset
    for k, s in enumerate(density.tolist()):
        colour = plt.colormaps["cividis"](0.9 * k / max(len(density) - 1, 1))
        whole.plot(norm.numpy(), above[k].numpy(), color=colour, label=f"$s={s:g}$")
        near.plot(norm[small].numpy(), above[k, small].numpy(), color=colour)
        near.plot([0, SMALL], [0, SMALL * slope[k].item()], ":", color=colour)
    for ax in (whole, near):
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.set(xlabel="$|w_2|$", ylabel="$r$ at which it pays, above that of $|w_2|=0$ (%)")
    whole.set(ylim=(-6, 14), title="onset: where it is lowest")
    near.set(title="near zero; dotted: expansion")
    if len(density):
        near.legend(*whole.get_legend_handles_labels())


def _cubic(ax):
    """The cubic coefficient of the expansion over density, and where it changes its sign."""
    density = torch.linspace(0.01, 1, 200, dtype=torch.float64)
    critical = boundary.tricritical_densities().tolist()
    ax.plot(density.numpy(), boundary.landau(density).cubic.numpy(), color=DEDICATED)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.axvspan(*critical, color=FAINT, alpha=0.3, label="continuous from zero")
    ax.plot(critical, [0, 0], "o", color=SHARED, label=" and ".join(f"{s:.4f}" for s in critical))
    ax.set(
        xlabel="density $s = 1-S$", ylabel="coefficient of $|w_2|^3$ at the onset", xlim=(1, 0.01)
    )
    ax.legend()
