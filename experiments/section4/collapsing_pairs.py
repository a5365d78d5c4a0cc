"""Three correlated pairs in m=2 collapse into their principal components as density grows (paper, Section 4).

Of a collapsed pair only the sum is represented, not the difference. Six features have an exact loss: the best solution
with each number of collapsed pairs is followed along the density, and the optimum held against a linear model's.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from checks import check_count, check_settings
from features import FeatureDistribution
from geometry import collapsed_pairs, oriented
from theory import descents
from theory.descents import (
    Sampling,
    Solutions,
    best_run,
    sampled_runs,
    small_weights,
)
from theory.kinds import Crossings, best_of_kinds, crossings, precision, values_at
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    NOTE,
    SHARED,
    WIDTH,
    nearest,
    over_density,
    set_arrows,
)

PAIRS = 3
PRINCIPAL = 0.01  # a loss no further below the principal components', relative, has met it
SHOWN = (0.04, 0.1, 0.25, 0.42, 0.55, 0.8)  # densities of the optima drawn
MAY_BE_INFINITE = ("loss",)  # of a kind that is not a local minimum there


@dataclass(frozen=True)
class Settings:
    lowest: float = 0.02  # densities, logarithmic
    highest: float = 0.9
    points: int = 25
    steps: int = 250  # of all descents
    random_starts: int = 8  # at each density
    checked_every: int = 4  # of the points, one in so many is checked by sampled models
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self):
        check_settings(self)
        if not self.lowest < self.highest <= 1:
            raise ValueError(
                f"lowest, highest: expected ascending densities, got {self.lowest}, {self.highest}"
            )
        check_count("points - 1", self.points - 1)


QUICK = Settings(0.03, 0.9, points=5, steps=40, random_starts=2, sampling=Sampling(2, 200, 64))


class Result(NamedTuple):
    density: Float[Tensor, " points"]
    W: Float[Tensor, "points 4 2 6"]  # with none to three collapsed pairs
    loss: Float[Tensor, "points 4"]  # infinite where there is none
    crossing: Crossings  # of their losses
    crossing_density: Float[Tensor, " crossings"]
    checked: Int[Tensor, " checked"]  # which points are checked
    sampled: Solutions  # at these


def run(settings, *, seed=0, device="cpu", progress=True):
    """Exact losses are computed on the CPU; the device trains the samples."""
    low, high = settings.lowest, settings.highest
    density = low * (high / low) ** torch.linspace(0, 1, settings.points, dtype=torch.float64)
    inputs = _inputs(density)
    W = small_weights(inputs, 2, settings.random_starts, seed=seed, init_scale=0.3)
    along = {"distribution": inputs, "lines": 1, "kind": collapsed_pairs, "steps": settings.steps}
    found = best_of_kinds(
        W, 0 * W[:, :, 0], kinds=PAIRS + 1, lr=0.1, worth=1.2, progress=progress, **along
    )
    crossing = crossings(found, **along)
    at = values_at(density.expand(len(crossing.line), -1), crossing.position)
    checked = torch.arange(0, settings.points, settings.checked_every)
    sampled = best_run(
        sampled_runs(inputs.select(checked), 2, settings.sampling, seed=seed, device=device)
    )
    return Result(density, found.W, found.loss, crossing, at, checked, sampled)


def _inputs(density):
    return FeatureDistribution(
        density[:, None], features=2 * PAIRS, set_size=2, correlation="correlated"
    )


# What it shows


def collapsed(result) -> Int[Tensor, " points"]:
    """The number of collapsed pairs of the optimum."""
    return result.loss.argmin(dim=1)


def stages(result):
    """The numbers of collapsed pairs as density grows, each once for as long as it lasts."""
    return torch.unique_consecutive(collapsed(result)).tolist()


def principal_components_loss(distribution, hidden) -> Float[Tensor, " instances"]:
    """Least loss of a linear model with bias: the variance outside of the first m principal components.

    A set of k members, each of variance v, any two of covariance c, has the eigenvalues v - c + k c once and v - c
    otherwise; different sets are independent. Raises ValueError for other importances.
    """
    if (distribution.importance != 1).any():
        raise ValueError(
            f"importance: expected 1 for all features, got up to {distribution.importance.max():g}"
        )
    _, own, shared = distribution.moments()
    size = distribution.members
    own, shared = own[:, ::size], shared[:, ::size]  # (instances, sets)
    variances = (
        torch.cat([own + size * shared, *[own] * (size - 1)], dim=1)
        .sort(dim=1, descending=True)
        .values
    )
    return variances[:, hidden:].sum(dim=1)


def relative_to_principal(result) -> Float[Tensor, " points"]:
    """The optimal loss over that of the first two principal components."""
    return result.loss.amin(dim=1) / principal_components_loss(_inputs(result.density), hidden=2)


def meets_principal(result):
    """Density from which on the optimal loss is within PRINCIPAL of the principal components'; None if it never is."""
    density, gap = result.density, 1 - relative_to_principal(result) - PRINCIPAL
    apart = (gap > 0).nonzero()[:, 0]
    if not len(apart):
        return density[0].item()
    last = apart[-1]
    if last == len(gap) - 1:
        return None
    share = gap[last] / (gap[last] - gap[last + 1])  # the gap is interpolated
    return (density[last] * (density[last + 1] / density[last]) ** share).item()


def numbers(result):
    """All that is measured, by name; what there is none of is left out."""
    changes, met = stages(result), meets_principal(result)
    at = zip(result.crossing.above.tolist(), result.crossing_density.tolist())
    found = {
        "collapsed pairs at the lowest density": changes[0],
        "densities at which it changes": len(changes) - 1,
    }
    found |= {
        "of these, located": len(result.crossing.met),
        "of these, where losses cross": int(result.crossing.met.sum()),
    }
    found |= {f"{count} collapsed from density": density for count, density in at}
    found["densities known to"] = precision(result.density)
    if met is not None:
        found[f"loss within {PRINCIPAL:.0%} of the principal components' from density"] = met
    alike = collapsed_pairs(result.sampled.W) == collapsed(result)[result.checked]
    found["sampled models that collapsed alike"] = alike.double().mean().item()
    return found | descents.excess(result.sampled.loss, result.loss[result.checked].amin(dim=1))


# The figure


def figure(result):
    """The optimum at some densities; how many pairs have collapsed, and the loss, over all densities."""
    density, best = result.density, collapsed(result)
    shown = nearest(density, SHOWN).unique()
    drawing = plt.figure(figsize=(WIDTH, 6.6), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1, 1.5))
    W = oriented(result.W[shown, best[shown]])
    titles = [f"density {at:.2g}" for at in density[shown].tolist()]
    set_arrows({"exact optimum": (W, titles)}, axes=above.subplots(1, len(W), squeeze=False))
    steps, loss = below.subplots(1, 2)
    _draw_steps(result, steps)
    x = density.numpy()
    loss.plot(x, relative_to_principal(result).numpy(), "o-", color=DEDICATED)
    loss.axhline(1, color=INK, linewidth=0.8)
    loss.annotate("principal components", (x[0], 1), xytext=(2, -12), **NOTE)
    meets = meets_principal(result)
    if meets is not None:
        loss.axvline(
            meets, color=SHARED, linestyle="--", label=f"within 1 % from density {meets:.2f}"
        )
        loss.legend(loc="lower right")
    loss.set(ylabel="optimal loss / loss of principal components", ylim=(0, 1.05))
    for ax in (steps, loss):
        over_density(ax, density).set(xlabel="density of the pairs $1-S$ (log scale)")
        ax.invert_xaxis()  # the pairs collapse as they get denser
    return drawing


def _draw_steps(result, ax):
    """The number of collapsed pairs, with the densities at which it changes: half-way where that was not located."""
    density, best = result.density, collapsed(result)
    gaps = (best.diff() != 0).nonzero()[:, 0]
    located = dict(zip(result.crossing.position.long().tolist(), result.crossing_density.tolist()))
    edges = [located.get(k, (density[k] * density[k + 1]).sqrt().item()) for k in gaps.tolist()]
    ax.stairs(
        stages(result),
        [density[0], *edges, density[-1]],
        baseline=None,
        color=DEDICATED,
        linewidth=2.5,
    )
    ax.plot(density.numpy(), best.numpy(), "o", color=DEDICATED)
    for edge in edges:
        ax.axvline(edge, color=FAINT, linewidth=0.8, zorder=0)
        ax.annotate(f"{edge:.3f}", (edge, -0.25), xytext=(3, 0), **NOTE)
    ax.set(ylabel="collapsed pairs of the optimum", yticks=range(PAIRS + 1), ylim=(-0.35, 3.3))
