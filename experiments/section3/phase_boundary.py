"""Where is the second feature of n=2, m=1 first represented, and is the change first order?

Section 3 of the paper calls superposition a phase change: the losses of two solutions cross, and
the optimal loss has a kink. This experiment is ours. At each density it follows both solutions
exactly as the relative importance r grows, up to the r at which the difference of their losses
changes sign. A jump at r = 1, where the two features change places, follows from the symmetry alone
and is therefore kept apart. An expansion of the loss for a small |w_2| tells at which densities the
second feature can grow continuously from zero. The result does not depend on a seed.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section3main.py instead.")

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from theory import boundary
from theory.descents import ignored_loss
from theory.phases import named_losses
from visualization import DEDICATED, FAINT, INK, SHARED, WIDTH, described

SEEDED = False
STEP = 1e-3  # of the ratio, relative, across which a kink of the named losses is measured
DENSE = tuple(round(1 - 0.025 * k, 3) for k in range(25))  # from 1 down to 0.4


@dataclass(frozen=True)
class Settings:
    """Densities over the range of the paper's diagrams."""

    densities: tuple[float, ...] = (*DENSE, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


QUICK = Settings(densities=(1.0, 0.65, 0.01))
# The densities lie closest together where the onset of the change turns from a jump to continuous.
NOTEBOOK = Settings(densities=(
    1.0, 0.925, 0.8, 0.72, 0.7, 0.66, 0.6, 0.575, 0.55, 0.525,
    0.5, 0.475, 0.45, 0.3, 0.1, 0.03, 0.01,
))  # fmt: skip
Result = boundary.Boundary


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Follow the optimum along the relative importance r at each density.

    Args:
        settings: Settings of the run.
        seed: Has no effect, since no chance is involved.
        device: Has no effect, since the exact loss is computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        How the second feature comes to be represented at each density.
    """
    density = torch.tensor(settings.densities, dtype=torch.float64)
    return boundary.optimum_boundary(density, progress=progress)


# Measures


def jumps(result) -> Bool[Tensor, " densities"]:
    """Say at which densities |w_2| jumps below r = 1, as the losses of two solutions cross."""
    return result.kink > 0


def jumps_from_zero(result) -> Bool[Tensor, " densities"]:
    """Say at which densities |w_2| jumps where it leaves zero, so that the onset is first order."""
    return result.onset_norm > 0


def named_kinks(density: Float[Tensor, " densities"]) -> Float[Tensor, " densities"]:
    """Measure the kink of the lowest loss of the named solutions where they cross, in exact losses.

    Args:
        density: Density of both features.

    Returns:
        The fall of dL/dr, L being the lowest of the named losses, at the ratio r at which being
        represented begins to pay, in units of s/3 - s^2/4 as `Boundary.kink` is.
    """
    density = density.double()
    ratio = boundary.named_boundary(density)
    below, at, above = (
        named_losses(2, density, ratio * (1 + step)).amin(dim=1) for step in (-STEP, 0, STEP)
    )
    return (2 * at - below - above) / (STEP * ratio) / ignored_loss(1, density)


def follows_onset(result) -> Bool[Tensor, " densities"]:
    """Say where |w_2| first leaves zero continuously, and jumps at a higher ratio below r = 1."""
    return jumps(result) & ~jumps_from_zero(result)


# Figure

# The paying ratio is drawn for densities on both sides of the tricritical one.
LOWEST_SHOWN = 0.45
HIGHEST_SHOWN = 0.6
SMALL_NORM = 0.1  # largest |w_2| for which the expansion is drawn


def figure(result) -> Figure:
    """Draw where the second feature appears, the jump of |w_2|, the loss's kink, and their cause.

    Curves of the jump have a gap at densities without one.
    """
    drawn, axes = plt.subplots(2, 3, figsize=(WIDTH, 7.4), layout="constrained")
    _draw_boundary(result, axes[0, 0])
    _draw_jump(result, axes[0, 1])
    density = result.density.numpy()
    axes[0, 2].plot(density, _where_jumping(result, result.kink), "o-", color=DEDICATED)
    axes[0, 2].set(ylabel="kink: fall of $dL/dr$ over $s/3-s^2/4$", ylim=(-0.02, None))
    for ax in axes[0]:
        ax.set(xscale="log", xlim=(density.max(), density.min()))
        ax.set(xlabel="density $s = 1-S$ (log scale)")
    _draw_paying_ratio(result, axes[1, 0], axes[1, 1])
    _draw_cubic_coefficient(result, axes[1, 2])
    return described(
        drawn,
        "Curves over density above: the relative importance at which the second feature appears, "
        "how far its weight jumps there, and the kink of the optimal loss; and the cause below: "
        "the importance at which each weight pays, the same near zero, and the cubic coefficient "
        "at the onset, which is positive only between densities of about 0.52 and 0.84; from the "
        "lower of these to about 0.7 a jump follows the continuous onset.",
    )


def _where_jumping(result, values):
    """Replace the values at densities without a jump by NaN, which draws a gap."""
    return torch.where(jumps(result), values, torch.nan).numpy()


def _draw_boundary(result, ax):
    """Draw the relative importance from which on the second feature is represented."""
    density = result.density.numpy()
    named = boundary.named_boundary(result.density).numpy()
    crossing = _where_jumping(result, result.ratio)
    ax.plot(density, named, color=FAINT, linewidth=4, label="named solutions cross")
    ax.plot(density, result.onset.numpy(), ":", color=INK, label="$|w_2|$ leaves zero")
    ax.plot(density, crossing, "o-", color=DEDICATED, label="two solutions cross")
    ax.set(yscale="log", ylabel="relative importance $r$ (log scale)")
    ax.legend(loc="lower left")


def _draw_jump(result, ax):
    """Draw |w_2| on both sides of the crossing, and of r = 1."""
    density = result.density.numpy()
    low, high = result.exchange.numpy().T
    before = _where_jumping(result, result.before)
    after = _where_jumping(result, result.after)
    ax.fill_between(
        density,
        low,
        high,
        where=high - low > boundary.SAME_NORM,
        color=FAINT,
        alpha=0.5,
        label="forced by symmetry at $r=1$",
    )
    ax.fill_between(density, before, after, color=SHARED, alpha=0.3)
    ax.plot(density, after, "o-", color=SHARED, label="after the crossing")
    ax.plot(density, before, "o-", color=DEDICATED, label="before")
    ax.set(ylabel="$|w_2|$ on either side of the jump", ylim=(-0.03, 1.25))
    ax.legend()


def _draw_paying_ratio(result, whole, near):
    """Draw the relative importance r from which on each |w_2| pays, in percent above that of 0.

    The axes `near` show small |w_2| together with the expansion.
    """
    shown = (result.density >= LOWEST_SHOWN) & (result.density <= HIGHEST_SHOWN)
    density = result.density[shown]
    norm = boundary.NORMS
    small = norm <= SMALL_NORM
    expansion = boundary.landau(density)
    above = 100 * (result.paying[shown] / expansion.onset[:, None] - 1)
    slope = 100 * expansion.cubic / ignored_loss(1, density) / expansion.onset
    for k, s in enumerate(density.tolist()):
        colour = plt.colormaps["cividis"](0.9 * k / max(len(density) - 1, 1))
        whole.plot(norm.numpy(), above[k].numpy(), color=colour, label=f"$s={s:g}$")
        near.plot(norm[small].numpy(), above[k, small].numpy(), color=colour)
        near.plot([0, SMALL_NORM], [0, SMALL_NORM * slope[k].item()], ":", color=colour)
    for ax in (whole, near):
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.set(xlabel="$|w_2|$", ylabel="$r$ at which it pays, above that of $|w_2|=0$ (%)")
    whole.set(ylim=(-6, 14), title="onset: where it is lowest")
    near.set(title="near zero; dotted: expansion")
    if len(density):
        near.legend(*whole.get_legend_handles_labels())


def _draw_cubic_coefficient(result, ax):
    """Draw the cubic coefficient of the expansion over density, and where it changes sign.

    The densities are marked at which the onset is continuous and a jump follows at a higher r.
    """
    density = torch.linspace(0.01, 1, 200, dtype=torch.float64)
    critical = boundary.tricritical_densities().tolist()
    label = " and ".join(f"{s:.4f}" for s in critical)
    ax.plot(density.numpy(), boundary.landau(density).cubic.numpy(), color=DEDICATED)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.axvspan(*critical, color=FAINT, alpha=0.3, label="continuous from zero")
    followed = result.density[follows_onset(result)]
    if len(followed):
        densest = followed.max().item()
        ax.axvspan(critical[0], densest, color=SHARED, alpha=0.3, label="and a jump follows")
    ax.plot(critical, [0, 0], "o", color=SHARED, label=label)
    ax.set(xlabel="density $s = 1-S$", xlim=(1, 0.01))
    ax.set(ylabel="coefficient of $|w_2|^3$ at the onset")
    ax.legend()
