"""Correlated pairs collapse into principal components as density grows (paper, Section 4).

The paper asks whether correlated features are stored in superposition or as their principal
components. It reports that three pairs of correlated features in two dimensions are all represented
when they are sparse; as density grows one pair after the other collapses, until the model
represents principal components alone. Of a collapsed pair only the sum of its features is
represented and not their difference.

Six features have an exact loss. The best solution with each number of collapsed pairs is followed
along the density, and the optimum is compared with the best linear model. `figure` draws the
optima, the number of collapsed pairs and the loss.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

from dataclasses import dataclass, field
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from checks import check_count, check_settings
from features import FeatureDistribution
from geometry import collapsed_pairs, oriented
from theory.descents import (
    Sampling,
    Solutions,
    best_run,
    sampled_runs,
    small_weights,
)
from theory.kinds import Crossings, best_of_kinds, crossings, values_at
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    NOTE,
    SHARED,
    WIDTH,
    described,
    nearest,
    over_density,
    set_arrows,
)

PAIRS = 3
HIDDEN = 2
# Relative difference within which a loss counts as equal to that of the principal components.
PRINCIPAL = 0.01
SHOWN = (0.04, 0.1, 0.25, 0.42, 0.55, 0.8)  # densities of the optima that are drawn
MAY_BE_INFINITE = ("loss",)  # where a kind of solution is not a local minimum


@dataclass(frozen=True)
class Settings:
    """The paper's three pairs over a range of densities."""

    lowest: float = 0.02  # density, of the first of `points` that are spaced logarithmically
    highest: float = 0.9  # density of the last point
    points: int = 25
    steps: int = 250  # of every descent
    random_starts: int = 8  # at each density
    checked_every: int = 4  # every so many points, models trained on samples check the optimum
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if not self.lowest < self.highest <= 1:
            raise ValueError(
                f"lowest, highest: expected ascending densities, got {self.lowest}, {self.highest}"
            )
        check_count("points - 1", self.points - 1)


QUICK = Settings(0.03, 0.9, points=5, steps=40, random_starts=2, sampling=Sampling(2, 200, 64))
NOTEBOOK = Settings(
    lowest=0.03,
    points=15,
    steps=150,
    random_starts=4,
    sampling=Sampling(restarts=16, steps=500, batch_size=128),
)


class Result(NamedTuple):
    """The best solutions with none to three collapsed pairs, and models trained on samples."""

    density: Float[Tensor, " points"]
    W: Float[Tensor, "points 4 2 6"]
    loss: Float[Tensor, "points 4"]  # exact; infinite where there is no such solution
    crossing: Crossings  # of the losses
    crossing_density: Float[Tensor, " crossings"]
    checked: Int[Tensor, " checked"]  # indices of the points that are checked by samples
    sampled: Solutions  # the best model at each of these


def run(settings, *, seed=0, device="cpu", progress=True):
    """Follow the best solutions along the density; train models on samples at some of the points.

    Exact losses are computed on the CPU. The device is that of the samples.
    """
    ratio = settings.highest / settings.lowest
    share = torch.linspace(0, 1, settings.points, dtype=torch.float64)
    density = settings.lowest * ratio**share
    inputs = _inputs(density)
    W = small_weights(inputs, HIDDEN, settings.random_starts, seed=seed, init_scale=0.3)
    line = {"distribution": inputs, "lines": 1, "kind": collapsed_pairs, "steps": settings.steps}
    found = best_of_kinds(
        W, 0 * W[:, :, 0], kinds=PAIRS + 1, lr=0.1, worth=1.2, progress=progress, **line
    )
    crossing = crossings(found, **line)
    crossing_density = values_at(density.expand(len(crossing.line), -1), crossing.position)
    checked = torch.arange(0, settings.points, settings.checked_every)
    sampled = sampled_runs(
        inputs.select(checked), HIDDEN, settings.sampling, seed=seed, device=device
    )
    return Result(
        density=density,
        W=found.W,
        loss=found.loss,
        crossing=crossing,
        crossing_density=crossing_density,
        checked=checked,
        sampled=best_run(sampled),
    )


def _inputs(density):
    """Return three correlated pairs at each density."""
    return FeatureDistribution(
        density[:, None], features=2 * PAIRS, set_size=2, correlation="correlated"
    )


# What the solutions show


def collapsed(result) -> Int[Tensor, " points"]:
    """Return the number of collapsed pairs of the optimum."""
    return result.loss.argmin(dim=1)


def stages(result) -> list[int]:
    """Return the numbers of collapsed pairs in the order of density, without repetitions."""
    return torch.unique_consecutive(collapsed(result)).tolist()


def principal_components_loss(distribution, hidden) -> Float[Tensor, " instances"]:
    """Return the least loss of a linear model with bias.

    This is the variance outside of the first `hidden` principal components. A set of k features of
    variance v and covariance c has the eigenvalue v - c + k c once and v - c otherwise, and
    different sets are independent.

    Args:
        distribution: A FeatureDistribution of correlated sets.
        hidden: Number of principal components.

    Raises:
        ValueError: A feature's importance is not 1.
    """
    if (distribution.importance != 1).any():
        raise ValueError(
            f"importance: expected 1 for all features, got up to {distribution.importance.max():g}"
        )
    size = distribution.members
    _, own, shared = distribution.moments()
    difference = own[:, ::size]  # (instances, sets): the variance v - c of differences
    total = difference + size * shared[:, ::size]  # and that of a set's principal component
    variances = torch.cat([total] + [difference] * (size - 1), dim=1)
    return variances.sort(dim=1, descending=True).values[:, hidden:].sum(dim=1)


def principal_components(result) -> Float[Tensor, " points"]:
    """Return the loss of the first two principal components at each density."""
    return principal_components_loss(_inputs(result.density), hidden=HIDDEN)


def relative_to_principal(result) -> Float[Tensor, " points"]:
    """Return the optimal loss divided by that of the first two principal components."""
    return result.loss.amin(dim=1) / principal_components(result)


def meets_principal(result):
    """Return the density from which on the optimal loss equals that of the principal components.

    Losses within PRINCIPAL count as equal. The density is interpolated between points.

    Returns:
        The density, or None if the losses differ at the highest density.
    """
    density = result.density
    gap = 1 - relative_to_principal(result) - PRINCIPAL
    apart = (gap > 0).nonzero()[:, 0]
    if not len(apart):
        return density[0].item()
    last = apart[-1]
    if last == len(gap) - 1:
        return None
    share = gap[last] / (gap[last] - gap[last + 1])
    return (density[last] * (density[last + 1] / density[last]) ** share).item()


def located(result) -> dict[int, float]:
    """Return the density from which on so many pairs have collapsed, by their number.

    Only changes that were located between two points count.
    """
    return dict(zip(result.crossing.above.tolist(), result.crossing_density.tolist()))


def share_alike(result) -> float:
    """Return the share of the sampled models with as many collapsed pairs as the optimum."""
    alike = collapsed_pairs(result.sampled.W) == collapsed(result)[result.checked]
    return alike.double().mean().item()


# The figure


def figure(result):
    """Draw some of the optima, and over density the number of collapsed pairs and the loss."""
    shown = nearest(result.density, SHOWN).unique()
    drawing = plt.figure(figsize=(WIDTH, 6.6), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1, 1.5))
    W = oriented(result.W[shown, collapsed(result)[shown]])
    titles = [f"density {density:.2g}" for density in result.density[shown].tolist()]
    set_arrows({"exact optimum": (W, titles)}, axes=above.subplots(1, len(W), squeeze=False))
    left, right = below.subplots(1, 2)
    _draw_collapsed(result, left)
    _draw_loss(result, right)
    for ax in (left, right):
        over_density(ax, result.density).set(xlabel="density of the pairs $1-S$ (log scale)")
        ax.invert_xaxis()  # unlike in other figures density grows, as the pairs collapse
    pairs = collapsed(result)
    relative = relative_to_principal(result)
    return described(
        drawing,
        f"The features of {PAIRS} correlated pairs as lines from the origin in the plane, at "
        "growing densities; below, over density, the number of collapsed pairs of the optimum, "
        f"which goes from {pairs[0]} to {pairs[-1]}, and the optimal loss over that of the "
        f"principal components, which goes from {relative[0]:.2f} to {relative[-1]:.2f}.",
    )


def _draw_collapsed(result, ax):
    """Draw the number of collapsed pairs, with the densities at which it changes.

    A change that was not located is drawn half-way between the neighbouring points.
    """
    density = result.density
    best = collapsed(result)
    located = dict(zip(result.crossing.position.long().tolist(), result.crossing_density.tolist()))
    edges = []
    for k in (best.diff() != 0).nonzero()[:, 0].tolist():
        half_way = (density[k] * density[k + 1]).sqrt().item()
        edges.append(located.get(k, half_way))
    ends = [density[0], *edges, density[-1]]
    ax.stairs(stages(result), ends, baseline=None, color=DEDICATED, linewidth=2.5)
    ax.plot(density.numpy(), best.numpy(), "o", color=DEDICATED)
    for edge in edges:
        ax.axvline(edge, color=FAINT, linewidth=0.8, zorder=0)
        ax.annotate(f"{edge:.3f}", (edge, -0.25), xytext=(3, 0), **NOTE)
    ax.set(ylabel="collapsed pairs of the optimum", yticks=range(PAIRS + 1), ylim=(-0.35, 3.3))


def _draw_loss(result, ax):
    """Draw the optimal loss relative to that of the principal components."""
    density = result.density.numpy()
    ax.plot(density, relative_to_principal(result).numpy(), "o-", color=DEDICATED)
    ax.axhline(1, color=INK, linewidth=0.8)
    ax.annotate("principal components", (density[0], 1), xytext=(2, -12), **NOTE)
    met = meets_principal(result)
    if met is not None:
        ax.axvline(met, color=SHARED, linestyle="--", label=f"within 1 % from density {met:.2f}")
        ax.legend(loc="lower right")
    ax.set(ylabel="optimal loss / loss of principal components", ylim=(0, 1.05))
