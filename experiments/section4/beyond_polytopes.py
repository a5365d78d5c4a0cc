"""How features lie to each other where they form none of the known polytopes (ours).

At high sparsity trained models are no product of the catalogue's polytopes. What is left to look at
are the cosines between their features. The k features of a trained model in m dimensions have
nearly equal norms and share the dimensions evenly. Hence the squared cosines of a feature with the
others sum to k/m - 1, which fixes how much interference there is. Its skewness is free: a ReLU
forgives negative interference, so that the sum of the cubes should be low. The mean of these sums
over the features is at least -1, since the cubes of all cosines, those of features with themselves
included, sum to |T|^2 >= 0, where T is the sum of the tensors v v v over all unit directions v.
Digons, pentagons and square antiprisms reach -1. So do larger arrangements (ARRANGEMENTS) that save
more than the periodic table's.

`figure` compares their benefit with the table's and with trained models, and draws the distribution
of the cosines.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import math
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from checks import as_line
from experiments.section4.periodic_table import TABLE_BEST
from geometry import REPRESENTED_NORM, SAME_COSINE, unit_directions
from theory.descents import ignored_loss, maximize
from theory.mean_field import mean_field_benefit
from visualization import (
    DEDICATED,
    FAINT,
    FINE_DENSITY_TICKS,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    WIDTH,
    described,
    nearest,
    over_density,
)

# Distributions of the interference stand on a lattice of LATTICE points, from -8 to 8.
SPACING = 1 / 64
LATTICE = 1024


class Alike(NamedTuple):
    """An arrangement in which every feature has the same cosines with the others."""

    cosines: dict[float, int]  # cosine -> with how many others; orthogonal features are omitted
    features_per_dimension: float
    # Whether there are more groups of features than orthogonal subspaces for them, so that features
    # of different groups lie at random to each other.
    random: bool = False


ARRANGEMENTS = {
    "digons at random": Alike({-1.0: 1}, 2, random=True),
    # Digons along the axes of a simplex.
    "11 digons in 10": Alike({-1.0: 1, 0.1: 10, -0.1: 10}, 22 / 10),
    # Every other corner of a cube. Pairs of negative cosine form the Clebsch graph.
    "16 in 5": Alike({-3 / 5: 5, 1 / 5: 10}, 16 / 5),
    # Pairs of negative cosine form the Higman-Sims graph.
    "100 in 22": Alike({-4 / 11: 22, 1 / 11: 77}, 100 / 22),
}
COLOURS = (SHARED, POLYTOPE_COLOURS["triangle"], POLYTOPE_COLOURS["pentagon"], DEDICATED)
SHOWN = (0.2, 0.125, 0.05)  # densities of the histograms


# The arrangements' benefit


def alike_benefit(arrangement, density: Float[Tensor, " densities"]) -> Float[Tensor, " densities"]:
    """Compute the benefit per dimension of an arrangement at its best scale and bias.

    The interference of a feature is a sum of independent terms, so that its distribution is a
    product in Fourier space; it is computed on a lattice and correct to a few parts in 10,000.
    Groups at random add Gaussian interference, as in `mean_field_benefit`, at the best number of
    features per dimension that a search from the arrangement's own number finds.

    Args:
        arrangement: An Alike.
        density: Densities.

    Raises:
        ValueError: A density is outside of (0, 1].
    """
    densities = as_line("density", density, highest=1)
    return torch.stack([_best_benefit(arrangement, each) for each in densities])


def _best_benefit(arrangement, density):
    """Maximize the benefit at one density."""

    def benefit(parameters):
        return _benefit(arrangement, density, *parameters)

    # The logarithm of the squared norm, the bias, and the square root of the features per dimension
    # that are added at random.
    start = torch.tensor([0.0, -0.1, 1.0], dtype=torch.float64)
    return benefit(maximize(benefit, start, steps=200, tolerance=1e-9))


def _benefit(arrangement, density, log_squared_norm, bias, root_of_added):
    """Compute the benefit per dimension at some scale and bias."""
    squared_norm = log_squared_norm.exp()
    added = root_of_added**2 * arrangement.random  # features per dimension
    ignored = ignored_loss(1, density)
    transform = _gaussian_transform(squared_norm**2 * added * ignored)
    for cosine, count in arrangement.cosines.items():
        active = _uniform_transform(cosine * squared_norm)
        transform = transform * (1 - density + density * active) ** count
    probability = torch.fft.fftshift(torch.fft.ifft(transform).real)
    loss = _output_loss(squared_norm, bias, density, probability)
    return (arrangement.features_per_dimension + added) * (1 - loss / ignored)


def _lattice(margin=0):
    """Return the lattice's points, with so many more on either side."""
    half = LATTICE // 2 + margin
    return SPACING * torch.arange(-half, half, dtype=torch.float64)


def _uniform_transform(coupling):
    """Fourier transform of the distribution of `coupling * x`, with x uniform on [0, 1].

    Every value is shared between its two nearest points of the lattice. This smears the
    distribution by a hat that is two spacings wide, which the division by the hat's transform
    undoes.
    """
    size = coupling.abs()
    along = coupling.sign() * _lattice(margin=1)
    twice_integrated = (along.relu() ** 2 - (along - size).relu() ** 2) / (2 * size)
    second_difference = twice_integrated[2:] - 2 * twice_integrated[1:-1] + twice_integrated[:-2]
    probability = second_difference / SPACING
    hat = torch.sinc(torch.fft.fftfreq(LATTICE, dtype=torch.float64)) ** 2
    return torch.fft.fft(torch.fft.ifftshift(probability)) / hat


def _gaussian_transform(variance):
    """Fourier transform of a normal distribution of mean 0."""
    frequencies = 2 * math.pi * torch.fft.fftfreq(LATTICE, d=SPACING, dtype=torch.float64)
    return (-(frequencies**2) * variance / 2).exp().to(torch.complex128)


def _output_loss(squared_norm, bias, density, probability):
    """Compute the loss of one output, given the probabilities of its interference on the lattice.

    The integral over the feature x itself is exact, and quadratic in x.
    """
    at_zero = _lattice() + bias  # the output before its ReLU at x = 0
    lowest_active = (-at_zero / squared_norm).clamp(0, 1)  # the x below which the output is zero
    mixed = squared_norm * (1 - lowest_active**3) / 3 + at_zero * (1 - lowest_active**2) / 2
    at_one = squared_norm + at_zero
    squared = (at_one.relu() ** 3 - at_zero.relu() ** 3) / (3 * squared_norm)
    active = 1 / 3 - 2 * mixed + squared
    return (((1 - density) * at_zero.relu() ** 2 + density * active) * probability).sum()


# Trained models


def cosines(W: Float[Tensor, "hidden features"]) -> Float[Tensor, "represented others"]:
    """Return the cosines of each represented feature with the others."""
    shown = W.norm(dim=0) > REPRESENTED_NORM
    directions = unit_directions(W[None].double())[0][:, shown]
    count = directions.shape[1]
    others = ~torch.eye(count, dtype=torch.bool)
    return (directions.mT @ directions)[others].view(count, max(count - 1, 0))


def summed_powers(result, power) -> Float[Tensor, " points"]:
    """Return the sum of the powers of a feature's cosines with the others, as a mean over features.

    It is 0 where no feature is represented.

    Args:
        result: A uniform_superposition.Result.
        power: The exponent.
    """
    return torch.stack([_mean((cosines(W) ** power).sum(dim=1)) for W in result.W[:, 0]])


def antipodal(result) -> Float[Tensor, " points"]:
    """Return the share of the represented features that have an antipode; 0 if there are none."""
    return torch.stack([_mean((cosines(W) < SAME_COSINE - 1).any(dim=1)) for W in result.W[:, 0]])


def _mean(values):
    """Mean over features, 0 if there are none."""
    return values.double().sum() / max(len(values), 1)


# The figure


def figure(long, sweep, table):
    """Draw what larger arrangements save, the skewness of the cosines, and their distribution.

    Args:
        long: The uniform_superposition.Result of LONG.
        sweep: The uniform_superposition.Result of the paper's size, whose cosines are drawn.
        table: The periodic_table.Result.
    """
    drawing = plt.figure(figsize=(WIDTH, 9), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(5, 3))
    left, right = above.subplots(1, 2, width_ratios=(3, 2))
    _draw_benefits((long, sweep), table, left)
    _draw_skewness((long, sweep), right)
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    axes = below.subplots(1, len(SHOWN), sharey=True)
    for ax, point in zip(axes, nearest(1 / sweep.inverse_density, SHOWN).tolist()):
        _draw_histogram(sweep, point, ax)
    axes[0].set_ylabel("density of cosines (root scale)")
    axes[0].legend()
    below.suptitle(f"Cosines between the represented features, {_size(sweep)}")
    return described(
        drawing,
        "Over density the benefit per dimension of trained models beside that of the periodic "
        "table and of larger arrangements, and the sum of a feature's cubed cosines with all "
        "others beside its limit of -1; below, histograms of the cosines in three models beside "
        "those of random directions.",
    )


def _draw_benefits(sweeps, table, ax):
    """Draw the benefit of the table, the mean field, the arrangements and trained models."""
    sparsest = 1 / table.inverse_density.max()
    shown = 1 / table.inverse_density <= 5 * sparsest
    density = 1 / table.inverse_density[shown]
    x = density.numpy()
    best = table.benefit.max(dim=0).values[shown]
    thick = {"color": INK, "linewidth": 5, "alpha": 0.3}
    ax.plot(x, best.numpy(), label=TABLE_BEST, **thick)
    mean_field = mean_field_benefit(density)
    ax.plot(x, mean_field.numpy(), "--", color=INK, label="random couplings (mean field)")
    for (name, arrangement), colour in zip(ARRANGEMENTS.items(), COLOURS):
        ax.plot(x, alike_benefit(arrangement, density).numpy(), color=colour, label=name)
    for result, marker in zip(sweeps, "Do"):
        trained_density = 1 / result.inverse_density
        inside = (trained_density >= density.min()) & (trained_density <= density.max())
        ax.plot(
            trained_density[inside].numpy(),
            result.benefit[inside, 0].numpy(),
            marker,
            color=INK,
            linestyle="none",
            label=_size(result),
        )
    over_density(ax, density, FINE_DENSITY_TICKS)
    ax.set(xlim=(x.max(), x.min()), ylabel="benefit per dimension")


def _size(result):
    """Return the size of a sweep's models as text."""
    return f"trained, $n={result.W.shape[3]}$, $m={result.W.shape[2]}$"


def _draw_skewness(sweeps, ax):
    """Draw the summed cubes of the cosines, and the part of them that is due to antipodes."""
    for result, marker, colour in zip(sweeps, "Do", (SHARED, INK)):
        x = (1 / result.inverse_density).numpy()
        cubes = summed_powers(result, 3).numpy()
        ax.plot(x, cubes, f"{marker}-", color=colour, linewidth=1, label=_size(result))
    paper_size = sweeps[-1]
    opposite = -antipodal(paper_size).numpy()
    x = (1 / paper_size.inverse_density).numpy()
    ax.plot(x, opposite, ":", color=INK, label="part of opposite features")
    ax.axhline(-1, color=FAINT, linewidth=0.8, zorder=0)
    over_density(ax, 1 / paper_size.inverse_density)
    ax.set(ylabel=r"$\sum_{j\neq i}\cos^3(W_i, W_j)$, mean over features", ylim=(-1.08, 0.25))
    ax.legend(loc="upper right")


def _draw_histogram(result, point, ax):
    """Draw the cosines of one model, and those of random directions in as many dimensions."""
    hidden = result.W.shape[2]
    trained = cosines(result.W[point, 0]).flatten().clamp(-1, 1).numpy()
    if len(trained):  # A model that represents at most one feature has no cosines.
        ax.hist(trained, bins=80, range=(-1, 1), density=True, color=DEDICATED, label="trained")
    x = torch.linspace(-0.999, 0.999, 400)
    random = (1 - x**2) ** ((hidden - 3) / 2)
    random = random / torch.trapezoid(random, x)
    ax.plot(x.numpy(), random.numpy(), color=SHARED, label="random directions")
    ax.set_yscale("function", functions=(np.sqrt, np.square))
    ax.set(
        xlim=(-1.02, 0.6),
        xlabel=r"$\cos(W_i, W_j)$",
        title=f"density {1 / result.inverse_density[point]:.2g}",
    )
