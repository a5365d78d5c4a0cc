"""Uniform superposition: equally important features, trained at one density after another, arrange as polytopes.

The paper's first question in Section 4: n=400, m=30, over 1/(1-S). Its two figures show dimensions per feature
D* = m / ||W||_F^2, sticky at 1 and 1/2, and the dimensionality of every feature, which clusters where polytopes are.
SETTLED trains the same for ten times as long. Fewer features, trained for longer, show all five polytopes in one sweep
(LONG); SEARCHES are where each is found best.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from geometry import dimensionality, dimensions_per_feature, represented
from models import ReLUOutputModel
from theory.packing import check_inverse_density, logarithmic, sampled_benefit
from theory.polytopes import PAPER_POLYTOPES, POLYTOPES, polytope_shares, tegum_factors
from training import train
from visualization import (
    INK,
    NOTE,
    SHARED,
    WIDTH,
    dimensionality_scatter,
    geometry_graph,
    nearest,
    polytope_areas,
    polytope_legend,
)

SHARD = 4e9  # numbers x of a cell: points, restarts, steps, rows and features, about half a minute on one core
LEAST = (
    2  # points of a cell: they share what is drawn, which is two fifths of the time of a lone one
)
FOUND = 0.05  # a polytope is present at a density where more than this share of the represented features are in it
SHOWN = (1.5, 1.62, 2.9, 4.7, 5.5)  # 1/(1-S) of the models drawn as graphs


@dataclass(frozen=True)
class Settings:
    features: int = 400
    hidden: int = 30
    inverse_density: tuple[float, ...] = logarithmic(1, 20, 50)  # 1/(1-S), a point each
    restarts: int = 1  # models at each point
    steps: int = 4000
    batch_size: int = 256
    lr: float = 5e-3
    init_scale: float = 0.03
    first: int = 0  # points of the sweep before these, so that a part of it starts from the weights of its own place

    def __post_init__(self):
        check_settings(self, may_be_zero=("first",))
        check_inverse_density(self.inverse_density)


SETTLED = Settings(  # the paper's size, trained until it has settled, at fewer densities
    inverse_density=(1.0, 1.3, 1.5, 2.0, 2.6, 3.4, 4.4, 5.0), steps=40_000
)
LONG = Settings(
    features=100, hidden=10, steps=20_000, lr=6e-3, init_scale=0.1,
    inverse_density=(  # finest where one polytope gives way to another
        *logarithmic(1.1, 1.75, 15), *logarithmic(1.9, 3.6, 6), *logarithmic(3.8, 6, 18), 7.0, 8.0,
    ),
)  # fmt: skip
CROWDED = Settings(
    restarts=10, steps=5000, batch_size=512, lr=1e-2, init_scale=0.1
)  # n as large as polytopes need
SEARCHES = (  # one of each of PAPER_POLYTOPES
    replace(CROWDED, features=24, hidden=18, inverse_density=(2.0,)),
    replace(CROWDED, features=18, hidden=12, inverse_density=(1.6,)),
    replace(CROWDED, features=24, hidden=12, inverse_density=(3.0,)),
    replace(
        LONG, features=200, hidden=20, inverse_density=(4.4,), restarts=10, steps=6000, lr=5e-3
    ),
    replace(CROWDED, features=24, hidden=9, inverse_density=(5.6,), steps=10_000, lr=2e-2),
)
QUICK = Settings(60, 10, logarithmic(1, 20, 8), steps=400, batch_size=128, lr=1e-2)
QUICK_SETTLED = replace(QUICK, inverse_density=(1.0, 2.0, 3.0), steps=800)
QUICK_LONG = Settings(
    24, 9, logarithmic(1, 8, 6), steps=400, batch_size=128, lr=2e-2, init_scale=0.1
)
QUICK_SEARCHES = (replace(QUICK_LONG, inverse_density=(3.0,), restarts=2, steps=200),) * len(
    PAPER_POLYTOPES
)


class Result(NamedTuple):
    inverse_density: Float[Tensor, " points"]
    steps: Int[Tensor, ""]
    W: Float[Tensor, "points restarts hidden features"]
    benefit: Float[Tensor, "points restarts"]  # see packing.py


def run(settings, *, seed=0, device="cpu", progress=True):
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    distribution = FeatureDistribution(1 / inverse_density[:, None], features=settings.features)
    distribution = distribution.with_restarts(settings.restarts).to(device)
    before = settings.first * settings.restarts
    shape = before + distribution.instances, settings.features, settings.hidden
    model = ReLUOutputModel(*shape, seed=seed, device=device, init_scale=settings.init_scale)
    model = model.select(slice(before, None))
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, distribution, seed=seed, progress=progress, **how)
    W, benefit = (
        values.detach().cpu().unflatten(0, (-1, settings.restarts))
        for values in (model.W, sampled_benefit(model, distribution))
    )
    return Result(inverse_density, torch.tensor(settings.steps), W, benefit)


def shards(settings):
    """The sweep in parts of equally many points, of about SHARD numbers and at least LEAST points."""
    points, of_point = (
        settings.inverse_density,
        settings.restarts * settings.steps * settings.batch_size,
    )
    size = max(LEAST, int(SHARD / (of_point * settings.features)))
    return [
        replace(settings, inverse_density=points[k : k + size], first=settings.first + k)
        for k in range(0, len(points), size)
    ]


def joined(results):
    inverse_density, steps, W, benefit = zip(*results)
    return Result(torch.cat(inverse_density), steps[0], torch.cat(W), torch.cat(benefit))


# What the models show


def shares(result) -> dict[str, Float[Tensor, " points"]]:
    """The share of the represented features in each polytope, of all restarts."""
    found = [
        polytope_shares([factor for W in models for factor in tegum_factors(W)])
        for models in result.W
    ]
    return {
        polytope: torch.tensor(
            [of_point.get(polytope, 0.0) for of_point in found], dtype=torch.float64
        )
        for polytope in (*POLYTOPES, "irregular")
        if any(polytope in of_point for of_point in found)
    }


def windows(result):
    """{polytope: lowest, highest 1/(1-S)} at which more than FOUND of the represented features are in it."""
    present = {
        polytope: result.inverse_density[share > FOUND]
        for polytope, share in shares(result).items()
    }
    return {
        polytope: (at.min().item(), at.max().item()) for polytope, at in present.items() if len(at)
    }


def centre(result, polytope):
    """Geometric mean of 1/(1-S), weighted by the share of features in a polytope; None where it is not present."""
    share = shares(result).get(polytope, torch.zeros(1))
    if not (share > FOUND).any():
        return None
    return ((result.inverse_density.log() * share).sum() / share.sum()).exp().item()


def models_with(result, polytope):
    """Share of the models in which a polytope is found."""
    models = result.W.flatten(0, 1)
    return sum(
        any(factor.polytope == polytope for factor in tegum_factors(W)) for W in models
    ) / len(models)


def most_held(result, ends):
    """{polytope: the largest share of represented features that it has at a density of a range}; none in no range."""
    if ends is None:
        return {}
    there = (result.inverse_density >= ends[0]) & (result.inverse_density <= ends[1])
    return {polytope: share[there].max().item() for polytope, share in shares(result).items()}


def sticky(result, level, tolerance) -> Bool[Tensor, " points"]:
    """At which points D* is no further from a level than the tolerance, relative."""
    return (dimensions_per_feature(result.W[:, 0]) / level - 1).abs() < tolerance


def in_polytopes(result, share) -> Bool[Tensor, " points"]:
    """At which points at least this share of the represented features is in polytopes, more than m."""
    of_models = shares(result)
    irregular = of_models.get("irregular", torch.zeros(len(result.W)))
    crowded = represented(result.W[:, 0]).sum(dim=1) > result.W.shape[2]
    return crowded & (1 - irregular >= share)


def filled(result) -> Float[Tensor, " points"]:
    """The dimensionalities of all features, summed, over m."""
    return dimensionality(result.W[:, 0]).sum(dim=1) / result.W.shape[2]


def longest_range(inverse_density: Float[Tensor, " points"], chosen: Bool[Tensor, " points"]):
    """The longest run of neighbouring points that are chosen: its lowest and highest 1/(1-S); None if none are."""
    runs, start = [], None
    for at, now in zip(inverse_density.tolist(), chosen.tolist()):
        start = (start or at) if now else None
        if now:
            runs.append((start, at))
    return max(runs, key=lambda run: run[1] / run[0], default=None)


# Figure


def figure(result, windows, predicted):
    """The paper's two figures, with graphs and names of its polytopes.

    windows: (name, lowest, highest 1/(1-S), dimensionality) where it is predicted; predicted: 1/(1-S) and D*
    """
    inverse_density, W = result.inverse_density, result.W[:, 0]
    drawing = plt.figure(figsize=(WIDTH, 13), layout="constrained")
    curves, nets = drawing.subfigures(2, 1, height_ratios=(9, 4))
    curve, scatter, areas = curves.subplots(3, 1, sharex=True, height_ratios=(1.1, 2.3, 1.1))
    per_feature = dimensions_per_feature(W).numpy()
    curve.plot(inverse_density.numpy(), per_feature, "o-", color=INK, linewidth=1, label="trained")
    curve.plot(
        *(values.numpy() for values in predicted),
        color=SHARED,
        linewidth=2,
        label="predicted",
        zorder=0,
    )
    curve.set(ylabel="dimensions per feature\n$D^*=m/\\|W\\|_F^2$", ylim=(0, 1.15))
    curve.set_title(f"$n={W.shape[2]}$ features in $m={W.shape[1]}$ dimensions")
    curve.legend(loc="lower left")
    dimensionality_scatter(inverse_density, W, PAPER_POLYTOPES, ax=scatter)
    _staircase(windows, inverse_density, scatter)
    scatter.set(xlabel="")
    of_models = shares(result)
    polytope_areas(inverse_density, of_models, ax=areas)
    areas.set_xlim(inverse_density.min().item(), inverse_density.max().item())
    for ax, k in zip(nets.subplots(1, len(SHOWN)), nearest(inverse_density, SHOWN).tolist()):
        geometry_graph(W[k], ax=ax)
        names = Counter(factor.polytope for factor in tegum_factors(W[k])).most_common(4)
        named = [f"{count} × {name}" for name, count in names]
        ax.set_title("\n".join([f"$1/(1-S)={inverse_density[k]:.2f}$", *named]), va="bottom")
    edges = r"edges $|W_i\cdot W_j|>0.2$"
    polytope_legend(
        nets,
        of_models,
        f"One model a graph: nodes are represented features, {edges}, colours polytopes.",
    )
    return drawing


def _staircase(windows, inverse_density, ax):
    """Where each arrangement is predicted, as a thick line at its dimensionality."""
    first, last = inverse_density.min().item(), inverse_density.max().item()
    for k, (name, low, high, value) in enumerate(windows):
        label = "predicted" if k == 0 else None
        ax.plot(
            (low, high),
            (value, value),
            color=SHARED,
            linewidth=7,
            alpha=0.5,
            solid_capstyle="butt",
            label=label,
        )
        if (
            name not in PAPER_POLYTOPES and low < last and high > first
        ):  # the others have their line
            at, side = (
                (min(high, last), "right") if low > 0.8 * last else (max(low, first), "left")
            )  # in the panel
            offset = (0, -15 if k % 2 else 7)  # neighbours' names would overlap
            ax.annotate(name, (at, value), xytext=offset, ha=side, annotation_clip=True, **NOTE)
    ax.legend(loc="lower left")
