"""Does dropout on the hidden layer make a privileged basis, and what becomes of the polytopes?

Dropout sets each hidden dimension of the ReLU output model to zero with a probability, the *rate*.
It acts on single dimensions, so that a rotation of W is no longer free. It makes a privileged basis
in two opposite ways. Sparse features are spread over more hidden dimensions than after any random
rotation, at rates up to 0.3, and dense ones lie along single dimensions. The sign of the
bias decides which, and `dropped_dimensions.py` says why. Five antipodal pairs stay at every rate up
to 1/2. Pentagon and square antiprism stay at low rates, and at a rate of 1/2 give way to pairs
along hidden dimensions.

Models are compared by their exact loss with dropout. Beside random weights, training starts from
antipodal pairs along the hidden dimensions, from pairs that are spread over them, and from the
polytope of that size, so that what is seen to be best is no accident of a few restarts.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Float64, Int
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.section7.neuron_alignment import ROTATIONS, rotated_spread, spread
from experiments.variations.dropped_dimensions import DropoutModel, dropout_loss, spread_basis
from features import FeatureDistribution
from theory.polytopes import POLYTOPES, tegum_factors
from training import train
from visualization import (
    DEDICATED,
    FAINT,
    SHARED,
    WEIGHTS,
    WIDTH,
    described,
    polytope_colour,
    polytope_legend,
)

RATES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
SPARSE = 0.05  # densities at which the figure and the claim look
DENSE = 0.5
COLOURS = {SPARSE: DEDICATED, DENSE: SHARED}


@dataclass(frozen=True)
class Settings:
    """Equally important features at some densities and rates of dropout."""

    features: int = 10
    hidden: int = 5
    densities: tuple[float, ...] = (0.5, 0.3, 0.2, 0.1, 0.05)
    rates: tuple[float, ...] = RATES  # 0 is the paper's model
    restarts: int = 4  # from random weights, beside those from `constructed`
    steps: int = 3000
    batch_size: int = 256
    lr: float = 2e-2

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if not self.rates or not all(0 <= rate < 1 for rate in self.rates):
            raise ValueError(f"rates: expected numbers from 0 to below 1, got {self.rates}")


_FEW = {"densities": (0.1,), "restarts": 6, "steps": 2000}
SIZES = (  # antipodal pairs, a pentagon and a square antiprism in the paper's model
    Settings(),
    Settings(features=5, hidden=2, **_FEW),
    Settings(features=8, hidden=3, **_FEW),
)
_SHORT = {"rates": (0.0, 0.2, 0.5), "restarts": 1, "steps": 50}
QUICK = (
    Settings(densities=(DENSE, SPARSE), **_SHORT),
    Settings(features=5, hidden=2, densities=(0.1,), **_SHORT),
    Settings(features=8, hidden=3, densities=(0.1,), **_SHORT),
)
_NOTEBOOK_RATES = (0.0, 0.1, 0.2, 0.3, 0.5)
_NOTEBOOK = {"densities": (0.1,), "rates": _NOTEBOOK_RATES, "steps": 2000}
NOTEBOOK = (
    Settings(densities=(DENSE, SPARSE), rates=_NOTEBOOK_RATES, restarts=2, steps=1500),
    Settings(features=5, hidden=2, **_NOTEBOOK),
    Settings(features=8, hidden=3, **_NOTEBOOK),
)


class Result(NamedTuple):
    """Every model at each point, which is a density and a rate; rates run fastest.

    The axis `starts` has the restarts from random weights, and then those from `constructed`.
    """

    density: Float[Tensor, " points"]
    rate: Float[Tensor, " points"]
    W: Float[Tensor, "points starts hidden features"]
    b: Float[Tensor, "points starts features"]
    loss: Float[Tensor, "points starts"]  # with dropout, exact
    restarts: Int[Tensor, ""]  # number of starts from random weights


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train models with dropout at each density and rate.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights, of the sampled rows and of the masks.
        device: Device that trains; exact losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        All models, with their exact losses.
    """
    points = list(itertools.product(settings.densities, settings.rates))
    density, rate = torch.tensor(points, dtype=torch.float64).unbind(dim=1)
    built = constructed(settings.features, settings.hidden)
    starts = settings.restarts + len(built)
    inputs = FeatureDistribution(density[:, None], features=settings.features).with_restarts(starts)
    model = DropoutModel(
        inputs.instances, settings.features, settings.hidden, seed=seed, device=device
    )
    model.rate.copy_(rate.repeat_interleave(starts))
    with torch.no_grad():
        model.W.unflatten(0, (-1, starts))[:, settings.restarts :] = built.to(model.W)
    train(
        model,
        inputs,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        seed=seed,
        progress=progress,
    )
    W = model.W.detach().cpu()
    b = model.b.detach().cpu()
    losses = dropout_loss(W, b, rate.repeat_interleave(starts), inputs.to("cpu"))
    return Result(
        density,
        rate,
        W.unflatten(0, (-1, starts)),
        b.unflatten(0, (-1, starts)),
        losses.unflatten(0, (-1, starts)),
        torch.tensor(settings.restarts),
    )


def constructed(features, hidden) -> Float64[Tensor, "starts hidden features"]:
    """Return weights to start from: pairs along hidden dimensions, pairs spread, a polytope.

    Antipodal pairs lie along the columns of an orthogonal matrix, of which there are as many as
    there are features for. The polytope is that of POLYTOPES which has as many vertices and
    dimensions, if there is one.
    """
    built = []
    for basis in (torch.eye(hidden, dtype=torch.float64), spread_basis(hidden)):
        weights = torch.zeros(hidden, features, dtype=torch.float64)
        pairs = torch.cat((basis, -basis), dim=1)[:, :features]
        weights[:, : pairs.shape[1]] = pairs
        built.append(weights)
    shape = (hidden, features)
    built += [each.vertices for each in POLYTOPES.values() if each.vertices.shape == shape]
    return torch.stack(built)


# Measures


def best(result) -> Int[Tensor, " points"]:
    """Return the start of lowest loss at each point."""
    return result.loss.argmin(dim=1)


def best_fresh(result) -> Int[Tensor, " points"]:
    """Return the start of lowest loss at each point among those from random weights."""
    return result.loss[:, : int(result.restarts)].argmin(dim=1)


def chosen(
    values: Float[Tensor, "points starts ..."], starts: Int[Tensor, " points"]
) -> Float[Tensor, "points ..."]:
    """Return the values of one start at each point."""
    return values[torch.arange(len(starts)), starts]


class Placement(NamedTuple):
    """How far features are spread over hidden dimensions, beside random rotations of the same W."""

    spread: Float[Tensor, " points"]
    lowest: Float[Tensor, " points"]  # of the rotations
    highest: Float[Tensor, " points"]


def placement(W: Float[Tensor, "points hidden features"]) -> Placement:
    """Measure the spread of Section 7, and its range over ROTATIONS random rotations."""
    if not len(W):
        nothing = torch.zeros(0)
        return Placement(nothing, nothing, nothing)
    rotated = rotated_spread(W)
    return Placement(spread(W), rotated.amin(dim=1), rotated.amax(dim=1))


def at(result, density, low=0.0, high=1.0) -> Int[Tensor, " chosen"]:
    """Return the points at a density and at rates from `low` to `high`."""
    close = torch.isclose(result.density, torch.tensor(density, dtype=result.density.dtype))
    return (close & (result.rate >= low - 1e-9) & (result.rate <= high + 1e-9)).nonzero()[:, 0]


def polytopes(W: Float[Tensor, "points hidden features"]) -> list[Counter]:
    """Count the represented features in each kind of polytope, at each point."""
    counts = []
    for weights in W:
        counts.append(Counter())
        for factor in tegum_factors(weights):
            counts[-1][factor.polytope] += len(factor.features)
    return counts


# Figures


def figure(result, shown_rate=0.2) -> Figure:
    """Draw W without dropout and with it, and how far features are spread at all rates.

    Args:
        result: The Result of the antipodal pairs.
        shown_rate: Rate of the models with dropout whose W is drawn.
    """
    W = chosen(result.W, best(result))
    fresh = chosen(result.W, best_fresh(result))  # without dropout all rotations are as good
    W = torch.where((result.rate == 0)[:, None, None], fresh, W)
    drawing = plt.figure(figsize=(WIDTH, 5), layout="constrained")
    left, right = drawing.subfigures(1, 2, width_ratios=(1, 1.5))
    _draw_weights(result, W, shown_rate, left)
    ax = right.subplots()
    _draw_spreads(result, W, ax)
    ends = " and ".join(
        f"{spread(W[at(result, density, shown_rate, shown_rate)]).item():.1f} at density {density}"
        for density in COLOURS
    )
    return described(
        drawing,
        f"Heat maps of W without dropout and at rate {shown_rate:g}; beside them, over the rate of "
        "dropout, the number of hidden dimensions that a feature is spread over, with the range of "
        f"random rotations of the same W. At rate {shown_rate:g} it is {ends}.",
    )


def _draw_weights(result, W, rate, subfigure):
    """Draw W of a sparse model without dropout, and of a sparse and a dense one with it."""
    shown = {"no dropout": (SPARSE, 0.0), "dropout, sparse": (SPARSE, rate)}
    shown["dropout, dense"] = (DENSE, rate)
    axes = subfigure.subplots(len(shown), 1, sharex=True)
    for ax, (name, (density, level)) in zip(axes, shown.items()):
        (weights,) = W[at(result, density, level, level)]
        image = ax.imshow(weights.numpy(), cmap=WEIGHTS, vmin=-1.2, vmax=1.2, aspect="auto")
        ax.set_title(f"{name}: density {density:g}, rate {level:g}")
        ax.set(xticks=range(weights.shape[1]), yticks=range(len(weights)))
        ax.set(ylabel="hidden dim.")
    axes[-1].set_xlabel("feature")
    subfigure.colorbar(image, ax=axes, label="weight $W$", shrink=0.6)


def _draw_spreads(result, W, ax):
    """Draw the spread over the rate at a sparse and at a dense density, with its rotations."""
    hidden = W.shape[1]
    for density, colour in COLOURS.items():
        points = at(result, density)
        placed = placement(W[points])
        rate = result.rate[points].numpy()
        ax.fill_between(
            rate, placed.lowest.numpy(), placed.highest.numpy(), color=colour, alpha=0.12, lw=0
        )
        ax.plot(rate, placed.spread.numpy(), "o-", color=colour, label=f"density {density:g}")
    ax.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
    ax.axhline(hidden, color=FAINT, linewidth=0.8, zorder=0)
    label = f"range of {ROTATIONS:,} random rotations"
    ax.fill_between([], [], [], color=FAINT, alpha=0.4, lw=0, label=label)
    ax.set(xlabel="rate of dropout on the hidden layer (0: the paper's model)")
    ax.set(ylabel="hidden dimensions that a feature is spread over")
    ax.set(ylim=(0.5, hidden + 1.5), title="Dropout spreads sparse features and aligns dense ones")
    ax.legend(ncols=2, loc="upper center")


def polytope_figure(results) -> Figure:
    """Draw, over the rate of dropout, which polytopes the represented features form.

    Args:
        results: Results of SIZES, each of which is drawn at its density nearest to 0.1.
    """
    drawing, axes = plt.subplots(1, len(results), figsize=(WIDTH, 3.6), layout="constrained")
    every = {}
    texts = []
    for ax, result in zip(axes, results):
        density = result.density[(result.density - 0.1).abs().argmin()].item()
        points = at(result, density)
        counts = polytopes(chosen(result.W, best(result))[points])
        _draw_bars(result.rate[points], counts, ax)
        hidden, features = result.W.shape[2:]
        ax.set_title(f"$n={features}$, $m={hidden}$, density {density:g}")
        for name in {name for count in counts for name in count}:
            every[name] = torch.ones(1)
        texts.append(f"n={features}, m={hidden}: {_in_words(counts[0])} to {_in_words(counts[-1])}")
    drawing.suptitle("Dropout leaves the polytopes in place, up to a high rate")
    polytope_legend(drawing, every, "the represented features form")
    return described(
        drawing,
        "Bars of the number of represented features over the rate of dropout, divided by the "
        f"polytope that they are in, from the lowest rate to the highest: {'; '.join(texts)}.",
    )


def _draw_bars(rate, counts, ax):
    """Draw a stacked bar for each rate."""
    places = torch.arange(len(rate)).numpy()
    bottom = torch.zeros(len(rate))
    for name in sorted({name for count in counts for name in count}):
        heights = torch.tensor([float(count[name]) for count in counts])
        ax.bar(places, heights, bottom=bottom, color=polytope_colour(name), width=0.8)
        bottom = bottom + heights
    ax.set(xticks=places, xticklabels=[f"{each:g}" for each in rate.tolist()])
    ax.set(xlabel="rate of dropout", ylabel="represented features")


def _in_words(count):
    """Say how many features form what."""
    return ", ".join(f"{features} in {name}" for name, features in sorted(count.items()))
