"""Sets of two features in the plane: where correlated and anticorrelated features lie (paper, Section 4).

Two correlated sets: the members of each are orthogonal. Two anticorrelated sets: antipodal. Three correlated sets: side
by side. Solved by exact descent from many random weights, and checked by training on samples.
"""

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
from visualization import set_arrows


@dataclass(frozen=True)
class Settings:
    features: int = 4
    correlation: str = "correlated"
    densities: tuple[float, ...] = (0.02, 0.2)
    runs: int = 32  # exact descents at each density
    steps: int = 400
    sampling: Sampling = field(default_factory=lambda: Sampling(restarts=32))

    def __post_init__(self):
        check_settings(self)
        _inputs(self)  # refuses the others


class Result(NamedTuple):
    density: Float[Tensor, " densities"]
    W: Float[Tensor, "densities runs 2 features"]
    loss: Float[Tensor, "densities runs"]
    ignored: Float[Tensor, " densities"]  # loss of one feature that is not represented
    sampled: Solutions  # (densities, models)


def run(settings, *, seed=0, device="cpu", progress=True):
    """Exact losses are computed on the CPU; the device trains the samples."""
    inputs = _inputs(settings)
    how = {"steps": settings.steps, "seed": seed, "progress": progress}
    descended = random_descents(inputs, 2, settings.runs, **how)
    sampled = sampled_runs(inputs, 2, settings.sampling, seed=seed, device=device)
    active = 2 * inputs.moments()[0][:, 0]  # how often a feature is: its mean is half of that
    return Result(inputs.density[:, 0], *descended, ignored_loss(1, active), sampled)


def _inputs(settings):
    density = torch.tensor(settings.densities, dtype=torch.float64)[:, None]
    return FeatureDistribution(
        density, features=settings.features, set_size=2, correlation=settings.correlation
    )


# The arrangements


def orthogonal(W: Float[Tensor, "instances hidden features"]) -> Bool[Tensor, " instances"]:
    """Whether the members of every pair are orthogonal, all represented."""
    return (set_cosines(W, 2)[0].abs() < SAME_COSINE).all(dim=1) & represented(W).all(dim=1)


def antipodal(W: Float[Tensor, "instances hidden features"]) -> Bool[Tensor, " instances"]:
    """Whether the members of every pair are antipodal, all represented."""
    return (set_cosines(W, 2)[0] < SAME_COSINE - 1).all(dim=1) & represented(W).all(dim=1)


def beside(W: Float[Tensor, "instances 2 features"]) -> Bool[Tensor, " instances"]:
    """Whether the members of every pair lie side by side around the circle, and apart: no pair has collapsed."""
    return side_by_side(W, 2) & (collapsed_pairs(W) == 0)


class Case(NamedTuple):
    """What the paper sees in W: the name of the arrangement, and which instances show it."""

    name: str
    shown: Callable
    settings: Settings


CASES = (
    Case("orthogonal", orthogonal, Settings()),
    Case("antipodal", antipodal, Settings(correlation="anticorrelated")),
    Case("side by side", beside, Settings(features=6)),
)
QUICK = tuple(
    replace(case.settings, runs=3, steps=40, sampling=Sampling(2, 200, 64)) for case in CASES
)


def shown(runs, case) -> Bool[Tensor, "densities runs"]:
    """Which runs, of a Result or of its sampled models, show what the paper sees."""
    return case.shown(runs.W.flatten(0, 1)).view_as(runs.loss)


def best_shows(runs, case) -> Bool[Tensor, " densities"]:
    """At which densities the best of the runs, of a Result or of its sampled models, shows what the paper sees."""
    return case.shown(best_run(runs).W)


def best_with(result, case) -> tuple[Float[Tensor, " densities"], Float[Tensor, " densities"]]:
    """Lowest loss with and without the arrangement, infinite where none was seen."""
    which = shown(result, case)
    return tuple(
        torch.where(chosen, result.loss, torch.inf).amin(dim=1) for chosen in (which, ~which)
    )


def angles(result) -> Float[Tensor, "densities sets"]:
    """Degrees between the members of each set in the optimum, ascending."""
    return set_cosines(best_run(result).W, 2)[0].clamp(-1, 1).acos().rad2deg().sort(dim=1).values


def numbers(result, case):
    """All that is measured at each density, by name; what there is none of is left out."""
    (_, other), of_sets, found = best_with(result, case), angles(result), {}
    optimal, sampled = (best_shows(runs, case) for runs in (result, result.sampled))
    shares, of_sampled = (
        shown(runs, case).double().mean(dim=1) for runs in (result, result.sampled)
    )
    for k, density in enumerate(result.density.tolist()):
        of_density = {"runs that show it": shares[k], "the optimum shows it (1: yes)": optimal[k]}
        of_density |= {
            f"degrees apart in the optimum, set {j + 1}": angle
            for j, angle in enumerate(of_sets[k])
        }
        losses = {"optimum": result.loss[k].min(), f"best that is not {case.name}": other[k]}
        of_density |= {
            f"loss of the {x}, in ignored features": y / result.ignored[k]
            for x, y in losses.items()
        }
        of_density |= {
            "the best sampled model shows it (1: yes)": sampled[k],
            "sampled models that do": of_sampled[k],
        }
        found |= {
            f"density {density:g}: {name}": x.double().item()
            for name, x in of_density.items()
            if x.isfinite()
        }
    return found


def figure(results, runs=3):
    """The optimum and the first runs of each of CASES at each density, oriented alike, with their losses."""
    rows = {}
    for case, result in zip(CASES, results):
        shares, panels, titles = shown(result, case).double().mean(dim=1), [], []
        losses = result.loss / result.ignored[:, None]
        for density, W, loss in zip(result.density.tolist(), result.W, losses):
            chosen = torch.cat((loss.argmin()[None], torch.arange(min(runs, len(loss)))))
            panels.append(oriented(W[chosen]))
            names = [f"density {density:g}\noptimum", *(f"\nrun {run}" for run in range(runs))]
            titles += [
                f"{which}: {value:.2f}" for which, value in zip(names, loss[chosen].tolist())
            ]
        seen = " and ".join(f"{share:.0%}" for share in shares)
        rows[f"{case.settings.correlation}:\n{case.name} in\n{seen}"] = torch.cat(panels), titles
    note = "above: exact loss, in features that are not represented; a colour a set, dot and ring for its members"
    return set_arrows(rows, note)
