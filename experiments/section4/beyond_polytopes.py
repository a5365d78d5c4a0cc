"""What stands where trained models form no product of the catalogue's polytopes: the cosines between features (ours).

Trained features, k in m dimensions, have nearly one norm and share the dimensions evenly, so their squared cosines with
the others sum to k/m - 1 each: that much interference there is. What is free is its skewness. A ReLU forgives negative
interference, so their cubes should sum to little. The mean of the sums is -1 at the least: with T the sum of v v v over
all unit directions v, the cubes of all cosines, each with itself included, sum to |T|^2. Digons, pentagons and square
antiprisms reach -1. So do arrangements that are larger than the table's and save more.
"""

import math
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from checks import as_line
from geometry import REPRESENTED_NORM, SAME_COSINE, unit_directions
from theory.descents import ignored_loss
from theory.mean_field import mean_field_benefit
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    WIDTH,
    nearest,
    over_inverse_density,
)

SPACING, LATTICE = 1 / 64, 1024  # of the sums of interference: from -8 to 8


class Alike(NamedTuple):
    """Features that are all alike, as many as one likes: each has the same cosines with the others."""

    cosines: dict[
        float, int
    ]  # with the others, and with how many of them; orthogonal ones left out
    features_per_dimension: float
    random: bool = False  # the groups are more than fit into orthogonal subspaces, and lie at random to each other


ARRANGEMENTS = {
    "digons at random": Alike({-1.0: 1}, 2, random=True),
    "11 digons in 10": Alike({-1.0: 1, 0.1: 10, -0.1: 10}, 22 / 10),  # along the axes of a simplex
    "16 in 5": Alike(
        {-3 / 5: 5, 1 / 5: 10}, 16 / 5
    ),  # every other corner of a cube; negative cosines: Clebsch graph
    "100 in 22": Alike({-4 / 11: 22, 1 / 11: 77}, 100 / 22),  # negative cosines: Higman-Sims graph
}
COLOURS = (SHARED, POLYTOPE_COLOURS["triangle"], POLYTOPE_COLOURS["pentagon"], DEDICATED)
SHOWN = (5.0, 8.0, 20.0)  # 1/(1-S) of the histograms
SKEWNESS_TICKS = (1, 1.5, 2, 3, 5, 10, 20)


def alike_benefit(arrangement, density: Float[Tensor, " densities"]) -> Float[Tensor, " densities"]:
    """The benefit per dimension (packing.py) of an arrangement at its best scale and bias, to a few parts in 10,000.

    The distribution of the interference is the product of those of the features in Fourier space, on a lattice; of
    groups at random, Gaussian interference besides, as in `mean_field_benefit`, at the best k/m near where it starts.
    Raises ValueError for densities outside of (0, 1].
    """
    return torch.stack([_best(arrangement, one) for one in as_line("density", density, highest=1)])


def _best(arrangement, density):
    best = torch.tensor(
        [0.0, -0.1, 1.0], dtype=torch.float64
    )  # logarithm of the squared norm, bias, root of extra k/m
    best.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [best], max_iter=200, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def step():
        optimizer.zero_grad()
        shortfall = -_benefit(arrangement, density, *best)
        shortfall.backward()
        return shortfall

    optimizer.step(step)
    return _benefit(arrangement, density, *best.detach())


def _benefit(arrangement, density, norm, bias, extra):
    squared_norm, extra = norm.exp(), extra**2 * arrangement.random
    ignored = ignored_loss(1, density)
    waves = _gaussian(squared_norm**2 * extra * ignored)
    for cosine, count in arrangement.cosines.items():
        waves = waves * (1 - density + density * _uniform(cosine * squared_norm)) ** count
    loss = _loss(squared_norm, bias, density, torch.fft.fftshift(torch.fft.ifft(waves).real))
    return (arrangement.features_per_dimension + extra) * (1 - loss / ignored)


def _lattice(beyond=0):
    return SPACING * torch.arange(
        -LATTICE // 2 - beyond, LATTICE // 2 + beyond, dtype=torch.float64
    )


def _uniform(coupling):
    """Fourier transform of the probabilities of a x, x uniform on [0, 1], each put on its two nearest points.

    Put so, they are smeared by a hat as wide as two spacings, which the division undoes.
    """
    towards, size = coupling.sign() * _lattice(beyond=1), coupling.abs()
    twice_integrated = (towards.relu() ** 2 - (towards - size).relu() ** 2) / (2 * size)
    probability = (
        twice_integrated[2:] - 2 * twice_integrated[1:-1] + twice_integrated[:-2]
    ) / SPACING
    hat = torch.sinc(torch.fft.fftfreq(LATTICE, dtype=torch.float64)) ** 2
    return torch.fft.fft(torch.fft.ifftshift(probability)) / hat


def _gaussian(variance):
    frequencies = 2 * math.pi * torch.fft.fftfreq(LATTICE, d=SPACING, dtype=torch.float64)
    return (-(frequencies**2) * variance / 2).exp().to(torch.complex128)


def _loss(squared_norm, bias, density, probability):
    """Loss of one output, given the probabilities of its interference on the lattice."""
    at_zero, norm = (
        _lattice() + bias,
        squared_norm,
    )  # of the feature x, in whose square all is integrated exactly
    clipped = (-at_zero / norm).clamp(0, 1)  # below this x the output is zero
    mixed = norm * (1 - clipped**3) / 3 + at_zero * (1 - clipped**2) / 2
    squared = ((norm + at_zero).relu() ** 3 - at_zero.relu() ** 3) / (3 * norm)
    active = 1 / 3 - 2 * mixed + squared
    return (((1 - density) * at_zero.relu() ** 2 + density * active) * probability).sum()


# Of trained models


def cosines(W: Float[Tensor, "hidden features"]) -> Float[Tensor, "represented others"]:
    """Of each represented feature with the others."""
    directions = unit_directions(W[None].double())[0][:, W.norm(dim=0) > REPRESENTED_NORM]
    count = directions.shape[1]
    others = ~torch.eye(count, dtype=torch.bool)
    return (directions.mT @ directions)[others].view(count, max(count - 1, 0))


def summed_powers(result, power) -> Float[Tensor, " points"]:
    """Sum of the powers of a feature's cosines with the others, the mean over features; 0 where there are none."""
    return torch.stack([_mean((cosines(W) ** power).sum(dim=1)) for W in result.W[:, 0]])


def antipodal(result) -> Float[Tensor, " points"]:
    """Share of the represented features that have one opposite to them; 0 where there are none."""
    return torch.stack([_mean((cosines(W) < SAME_COSINE - 1).any(dim=1)) for W in result.W[:, 0]])


def _mean(of_features):
    return of_features.double().sum() / max(len(of_features), 1)


# Figure


def figure(long, sweep, table):
    """What arrangements save that the table has not, how skew the cosines are, and their distribution.

    long, sweep: uniform.Results; table: the periodic_table.Result
    """
    drawing = plt.figure(figsize=(WIDTH, 9), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(5, 3))
    saved, skew = above.subplots(1, 2, width_ratios=(3, 2))
    _benefits((long, sweep), table, saved)
    _skewness((long, sweep), skew)
    for ax, point in zip(
        below.subplots(1, len(SHOWN), sharey=True), nearest(sweep.inverse_density, SHOWN).tolist()
    ):
        _histogram(sweep, point, ax)
    below.axes[0].set_ylabel("density of cosines (root scale)")
    below.axes[0].legend()
    below.suptitle(f"Cosines between the represented features, {_size(sweep)}")
    return drawing


def _benefits(sweeps, table, ax):
    shown = table.inverse_density >= table.inverse_density.max() / 5
    x = table.inverse_density[shown]
    best = table.benefit.max(dim=0).values[shown]
    ax.plot(
        x.numpy(), best.numpy(), color=INK, linewidth=5, alpha=0.3, label="periodic table: the best"
    )
    ax.plot(
        x.numpy(),
        mean_field_benefit(1 / x).numpy(),
        "--",
        color=INK,
        label="random couplings (mean field)",
    )
    for (name, arrangement), colour in zip(ARRANGEMENTS.items(), COLOURS):
        ax.plot(x.numpy(), alike_benefit(arrangement, 1 / x).numpy(), color=colour, label=name)
    for result, marker in zip(sweeps, "Do"):
        at = (result.inverse_density >= x.min()) & (result.inverse_density <= x.max())
        style = {"color": INK, "linestyle": "none", "label": _size(result)}
        ax.plot(result.inverse_density[at].numpy(), result.benefit[at, 0].numpy(), marker, **style)
    over_inverse_density(ax).set(
        xlim=(x.min().item(), x.max().item()), ylabel="benefit per dimension"
    )
    ax.legend()


def _size(result):
    return f"trained, $n={result.W.shape[3]}$, $m={result.W.shape[2]}$"


def _skewness(sweeps, ax):
    for result, marker, colour in zip(sweeps, "Do", (SHARED, INK)):
        style = {"color": colour, "linewidth": 1, "label": _size(result)}
        ax.plot(
            result.inverse_density.numpy(), summed_powers(result, 3).numpy(), f"{marker}-", **style
        )
    opposite = "part of opposite features"
    ax.plot(
        result.inverse_density.numpy(), -antipodal(result).numpy(), ":", color=INK, label=opposite
    )
    ax.axhline(-1, color=FAINT, linewidth=0.8, zorder=0)
    over_inverse_density(ax, SKEWNESS_TICKS).set(
        ylabel=r"$\sum_{j\neq i}\cos^3(W_i, W_j)$, mean over features"
    )
    ax.set_ylim(-1.08, 0.25)
    ax.legend(loc="upper right")


def _histogram(result, point, ax):
    """Cosines of one model, and of random directions in as many dimensions."""
    of_model, hidden = cosines(result.W[point, 0]).flatten().clamp(-1, 1), result.W.shape[2]
    ax.hist(
        of_model.numpy(), bins=80, range=(-1, 1), density=True, color=DEDICATED, label="trained"
    )
    x = torch.linspace(-0.999, 0.999, 400)
    at_random = (1 - x**2) ** ((hidden - 3) / 2)
    ax.plot(
        x.numpy(),
        (at_random / torch.trapezoid(at_random, x)).numpy(),
        color=SHARED,
        label="random directions",
    )
    ax.set_yscale("function", functions=(np.sqrt, np.square))
    ax.set(
        xlim=(-1.02, 0.6),
        xlabel=r"$\cos(W_i, W_j)$",
        title=f"$1/(1-S)={result.inverse_density[point]:.1f}$",
    )
