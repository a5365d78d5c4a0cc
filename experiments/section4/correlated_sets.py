"""Two sets of ten correlated features in m=10: a local almost-orthogonal basis within each (paper, Section 4).

The whole is in superposition, twenty features in ten dimensions, but features that are active together do not
interfere. Trained on samples, at several densities.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from geometry import SAME_COSINE, represented, set_cosines
from models import ReLUOutputModel
from training import train
from visualization import DEDICATED, FAINT, INK, SHARED, WEIGHTS, WIDTH, nearest, over_density

SIZE = 10  # of a set, and the number of hidden dimensions
SHOWN = (0.02, 0.2, 0.7)  # densities of the heat maps
ALONG = 0.9  # |cos| from which on a feature lies along one of the other set, as in a digon


@dataclass(frozen=True)
class Settings:
    densities: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
    runs: int = 8  # at each density
    steps: int = 2000
    batch_size: int = 256

    def __post_init__(self):
        check_settings(self)


QUICK = Settings((0.05, 0.5), runs=2, steps=200, batch_size=64)


class Result(NamedTuple):
    density: Float[Tensor, " densities"]
    W: Float[Tensor, "densities runs 10 20"]


def run(settings, *, seed=0, device="cpu", progress=True):
    density = torch.tensor(settings.densities, dtype=torch.float64)
    inputs = FeatureDistribution(
        density[:, None], features=2 * SIZE, set_size=SIZE, correlation="correlated"
    )
    repeated = inputs.with_restarts(settings.runs).to(device)
    model = ReLUOutputModel(repeated.instances, 2 * SIZE, SIZE, seed=seed, device=device)
    how = {"steps": settings.steps, "batch_size": settings.batch_size}
    train(model, repeated, lr=1e-2, seed=seed, progress=progress, **how)
    return Result(density, model.W.detach().cpu().unflatten(0, (-1, settings.runs)))


class Overlaps(NamedTuple):
    """Of every run."""

    within: Float[Tensor, "densities runs"]  # mean |cos| of two features of the same set
    across: Float[Tensor, "densities runs"]  # and of different sets
    along: Float[
        Tensor, "densities runs"
    ]  # share of the features of a set that lie along one of the other
    represented: Int[Tensor, "densities runs"]  # number of features


def overlaps(result) -> Overlaps:
    W, by_run = result.W.flatten(0, 1), result.W.shape[:2]
    within, across = (cosines.abs() for cosines in set_cosines(W, SIZE))
    along = (across > ALONG).sum(dim=1) / SIZE
    values = within.mean(dim=1), across.mean(dim=1), along, represented(W).sum(dim=1)
    return Overlaps(*(value.view(by_run) for value in values))


def locally_orthogonal(result) -> Bool[Tensor, "densities runs"]:
    """Which runs represent all features, orthogonal within their sets but not across, and no basis twice.

    Some features may form digons with one of the other set, but less than half of them.
    """
    within, across, along, count = overlaps(result)
    return (within < SAME_COSINE) & (across > 2 * within) & (along < 0.5) & (count == 2 * SIZE)


def numbers(result):
    """All that is measured, by name."""
    found, of_runs = {}, overlaps(result)
    for density, within, across in zip(result.density.tolist(), of_runs.within, of_runs.across):
        found[f"density {density:g}: mean |cos| within a set"] = within.mean().item()
        found[f"density {density:g}: across sets"] = across.mean().item()
    found[f"density {result.density[0]:g}: runs that show it"] = (
        locally_orthogonal(result)[0].double().mean().item()
    )
    found["features represented there, of 20"] = of_runs.represented[0].double().mean().item()
    return found


def figure(result):
    """W^T W at some densities, and how the cosines within and across sets change with density."""
    density, of_runs = result.density, overlaps(result)
    drawing = plt.figure(figsize=(WIDTH, 7), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1.25, 1))
    shown = nearest(density, SHOWN).unique().tolist()
    axes = above.subplots(1, len(shown), squeeze=False)[0]
    for ax, k in zip(axes, shown):
        W = result.W[k, 0]
        image = ax.imshow((W.T @ W).numpy(), cmap=WEIGHTS, vmin=-1, vmax=1)
        ax.axhline(SIZE - 0.5, color=INK, linewidth=0.8)
        ax.axvline(SIZE - 0.5, color=INK, linewidth=0.8)
        ax.set(
            title=f"$W^TW$, density {density[k]:g}",
            xticks=[],
            yticks=[],
            xlabel="first set | second set",
        )
    above.colorbar(image, ax=axes, label="$W^TW$", shrink=0.8)
    cosines, counts = below.subplots(1, 2)
    x = density.numpy()
    curves = ((of_runs.within, DEDICATED, "within a set"), (of_runs.across, SHARED, "across sets"))
    for values, colour, label in curves:
        cosines.plot(x, values.mean(dim=1).numpy(), "-", color=colour, label=label)
        cosines.plot(x, values.numpy(), "o", color=colour, markersize=3, alpha=0.5)
    random = math.exp(math.lgamma(SIZE / 2) - math.lgamma((SIZE + 1) / 2)) / math.sqrt(
        math.pi
    )  # mean of |cos|
    cosines.axhline(random, color=FAINT, linestyle="--", zorder=0, label="bases turned at random")
    cosines.set(ylabel=r"mean $|\cos|$ of two features", ylim=(0, None))
    counts.plot(x, of_runs.represented.double().mean(dim=1).numpy(), "o-", color=INK)
    counts.axhline(SIZE, color=FAINT, linestyle="--", zorder=0, label="hidden dimensions $m$")
    counts.set(ylabel="represented features", ylim=(0, 2.1 * SIZE))
    for ax in (cosines, counts):
        ax.legend()
        over_density(ax, density)
    return drawing
