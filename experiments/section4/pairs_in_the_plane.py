"""Pairs of correlated or anticorrelated features in m=2 (paper, Section 4).

The paper asks how correlation decides which features interfere. It reports that the members of two
correlated pairs are orthogonal, those of two anticorrelated pairs are antipodal, and those of three
correlated pairs lie side by side. The optimum is found by exact descent from many random weights,
and models trained on samples check it. `figure` draws the solutions as the paper does.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from geometry import SAME_COSINE, collapsed_pairs, oriented, represented, set_cosines, side_by_side
from theory.descents import (
    Sampling,
    Solutions,
    best_run,
    ignored_loss,
    random_descents,
    sampled_runs,
)
from visualization import described, set_arrows

HIDDEN = 2


@dataclass(frozen=True)
class Settings:
    """Pairs of features in two dimensions at some densities."""

    features: int = 4  # in pairs
    correlation: str = "correlated"
    densities: tuple[float, ...] = (0.02, 0.2)
    runs: int = 32  # exact descents at each density
    steps: int = 400  # of every descent
    sampling: Sampling = field(default_factory=lambda: Sampling(restarts=32))

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        _inputs(self)  # refuses features, densities and correlations that do not exist


class Result(NamedTuple):
    """All descents, and all models trained on samples."""

    density: Float[Tensor, " densities"]
    W: Float[Tensor, "densities runs 2 features"]
    loss: Float[Tensor, "densities runs"]  # exact
    ignored: Float[Tensor, " densities"]  # loss of one feature that is not represented
    sampled: Solutions  # W (densities, models, 2, features) and their exact losses


def run(settings, *, seed=0, device="cpu", progress=True):
    """Descend from random weights, and train models on samples, at each density.

    Exact losses are computed on the CPU. The device is that of the samples.
    """
    inputs = _inputs(settings)
    descended = random_descents(
        inputs, HIDDEN, settings.runs, steps=settings.steps, seed=seed, progress=progress
    )
    sampled = sampled_runs(inputs, HIDDEN, settings.sampling, seed=seed, device=device)
    mean, _, _ = inputs.moments()
    active = 2 * mean[:, 0]  # probability of a feature, whose active values have the mean 1/2
    return Result(
        density=inputs.density[:, 0],
        W=descended.W,
        loss=descended.loss,
        ignored=ignored_loss(1, active),
        sampled=sampled,
    )


def _inputs(settings):
    """Return the pairs at each density."""
    density = torch.tensor(settings.densities, dtype=torch.float64)[:, None]
    return FeatureDistribution(
        density, features=settings.features, set_size=2, correlation=settings.correlation
    )


# The arrangements


def orthogonal(W: Float[Tensor, "instances hidden features"]) -> Bool[Tensor, " instances"]:
    """Return whether all features are represented and the members of every pair are orthogonal."""
    within, _ = set_cosines(W, 2)
    return (within.abs() < SAME_COSINE).all(dim=1) & represented(W).all(dim=1)


def antipodal(W: Float[Tensor, "instances hidden features"]) -> Bool[Tensor, " instances"]:
    """Return whether all features are represented and the members of every pair are antipodal."""
    within, _ = set_cosines(W, 2)
    return (within < SAME_COSINE - 1).all(dim=1) & represented(W).all(dim=1)


def beside(W: Float[Tensor, "instances 2 features"]) -> Bool[Tensor, " instances"]:
    """Return whether the members of every pair are neighbours on the circle, and not collapsed."""
    return side_by_side(W, 2) & (collapsed_pairs(W) == 0)


class Case(NamedTuple):
    """An arrangement that the paper reports, and the settings at which it does."""

    name: str
    shown: Callable  # W (instances, 2, features) -> which instances show it (instances,)
    settings: Settings


CASES = (
    Case("orthogonal", orthogonal, Settings()),
    Case("antipodal", antipodal, Settings(correlation="anticorrelated")),
    Case("side by side", beside, Settings(features=6, densities=(0.02, 0.05, 0.2))),
)
QUICK = tuple(
    replace(case.settings, runs=3, steps=40, sampling=Sampling(2, 200, 64)) for case in CASES
)
NOTEBOOK = tuple(
    replace(
        case.settings,
        runs=12,
        steps=220,
        sampling=Sampling(restarts=16, steps=500, batch_size=128),
    )
    for case in CASES
)


# What the runs show


def shown(runs, case) -> Bool[Tensor, "densities runs"]:
    """Return which runs show the arrangement of a case.

    Args:
        runs: A Result, for its descents, or its `sampled` models.
        case: One of CASES.
    """
    return case.shown(runs.W.flatten(0, 1)).view_as(runs.loss)


def best_shows(runs, case) -> Bool[Tensor, " densities"]:
    """Return at which densities the run of lowest loss shows the arrangement.

    Args:
        runs: A Result, for its descents, or its `sampled` models.
        case: One of CASES.
    """
    return case.shown(best_run(runs).W)


class BestLosses(NamedTuple):
    """The lowest losses with and without an arrangement, infinite where there is no such run."""

    shown: Float[Tensor, " densities"]
    other: Float[Tensor, " densities"]


def best_losses(result, case) -> BestLosses:
    """Return the lowest losses of the descents with and without the arrangement of a case."""
    shows = shown(result, case)
    return BestLosses(
        shown=torch.where(shows, result.loss, torch.inf).amin(dim=1),
        other=torch.where(shows, torch.inf, result.loss).amin(dim=1),
    )


def angles(result) -> Float[Tensor, "densities sets"]:
    """Return the degrees between the members of each pair in the optimum, ascending."""
    within, _ = set_cosines(best_run(result).W, 2)
    return within.clamp(-1, 1).acos().rad2deg().sort(dim=1).values


# The figure


def figure(results, runs=3):
    """Draw the optimum and the first runs of each case at its lowest and its highest density.

    Args:
        results: The Result of each of CASES.
        runs: How many runs to draw beside the optimum.
    """
    rows = {}
    for case, result in zip(CASES, results):
        shares = shown(result, case).double().mean(dim=1)[[0, -1]]
        percents = " and ".join(f"{share:.0%}" for share in shares)
        label = f"{case.settings.correlation}:\n{case.name} in\n{percents}"
        rows[label] = _panels(result, runs)
    note = (
        "above: exact loss, in features that are not represented; "
        "a colour a set, dot and ring for its members"
    )
    outcomes = "; ".join(rows).replace("\n", " ")
    return described(
        set_arrows(rows, note),
        "Features of correlated or anticorrelated pairs as lines from the origin in the plane, for "
        "the optimum and some runs at two densities, with the shares of all runs that show the "
        f"paper's arrangement ({outcomes}).",
    )


def _panels(result, runs):
    """Return W (panels, 2, features) and a title for each panel of a case."""
    losses = result.loss / result.ignored[:, None]
    W = []
    titles = []
    for k in (0, -1):
        drawn = torch.arange(min(runs, losses.shape[1]))
        chosen = torch.cat((losses[k].argmin()[None], drawn))
        W.append(oriented(result.W[k, chosen]))
        names = [
            f"density {result.density[k]:g}\noptimum",
            *(f"\nrun {run}" for run in drawn.tolist()),
        ]
        titles += [f"{name}: {loss:.2f}" for name, loss in zip(names, losses[k, chosen].tolist())]
    return torch.cat(W), titles
