"""Equally important features arrange themselves as polytopes (paper, Section 4).

The paper asks how n=400 equally important features share m=30 hidden dimensions as they become
sparser. It reports that the dimensions per feature, D* = m / ||W||_F^2, stay at 1 and at 1/2 over a
range of densities, and that the dimensionalities of single features cluster at fractions that
belong to polytopes. `figure` draws both of the paper's figures, over density.

Besides the paper's size (`Settings()`) the file has three kinds of sweeps. TEN_TIMES_LONGER trains
the paper's size on as many rows as the paper's notebook draws. LONG trains fewer features for
longer. SEARCHES holds, for each polytope, settings at which most models show it. Dense features
have not settled after any of these: settled_models.py goes on by exact descent.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

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
from theory.polytopes import (
    IRREGULAR,
    PAPER_POLYTOPES,
    POLYTOPES,
    SHARED_DIMENSION,
    polytope_shares,
    tegum_factors,
)
from training import train
from visualization import (
    FINE_DENSITY_TICKS,
    INK,
    NOTE,
    POLYTOPE_COLOURS,
    SHARED,
    WIDTH,
    described,
    dimensionality_scatter,
    geometry_graph,
    nearest,
    over_density,
    polytope_areas,
    polytope_legend,
)

# A cell draws about this many numbers x (points * restarts * steps * rows * features), which takes
# about half a minute on one core.
NUMBERS_PER_CELL = 4e9
# Points share the random draws, which are two fifths of the time of a point that is alone in its
# cell.
LEAST_POINTS_PER_CELL = 2
# A polytope is present at a density where it holds more than this share of the represented
# features.
FOUND = 0.05
LEGEND = (  # title of the figure's legend
    r"One model a graph: nodes are represented features, edges $|W_i\cdot W_j|>0.2$, colours "
    "polytopes.\nA shared dimension has one represented feature, and many below the threshold. "
    "Irregular groups match\nnone of the known polytopes to 0.1 in each cosine: they are pyramids, "
    "larger groups, or unfinished polytopes."
)
ROOM = 1.1  # ratio of the densities of a window from which on there is room for its name
SHOWN = (0.67, 0.62, 0.34, 0.23, 0.217)  # densities of the models that are drawn as graphs


@dataclass(frozen=True)
class Settings:
    """A sweep over density; the defaults are the paper's."""

    features: int = 400
    hidden: int = 30
    inverse_density: tuple[float, ...] = logarithmic(1, 20, 50)  # 1/(1-S), one for each point
    restarts: int = 1  # models at each point
    steps: int = 4000
    batch_size: int = 256
    lr: float = 5e-3
    init_scale: float = 0.03
    # Number of points that come before these in the whole sweep. A part of a sweep starts from the
    # initial weights that its points have in the whole.
    first: int = 0

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self, may_be_zero=("first",))
        check_inverse_density(self.inverse_density)


# The paper's size on as many rows as the paper's notebook draws, 10,000 steps of 1,024, at fewer
# densities. Triangles live between 1.5 and 2.
TEN_TIMES_LONGER = Settings(
    inverse_density=(1.0, 1.3, 1.65, 1.75, 2.0, 2.6, 3.4, 4.4), steps=40_000
)
LONG = Settings(
    features=100,
    hidden=10,
    inverse_density=(  # closest together where one polytope gives way to another
        *logarithmic(1.1, 1.75, 15),
        *logarithmic(1.9, 3.6, 6),
        *logarithmic(3.8, 6, 18),
        7.0,
        8.0,
    ),
    steps=20_000,
    lr=6e-3,
    init_scale=0.1,
)
# For sizes with about as many features as the polytopes that fill the hidden dimensions have
# vertices.
CROWDED = Settings(restarts=10, steps=5000, batch_size=512, lr=1e-2, init_scale=0.1)
SEARCHES = (  # one for each of PAPER_POLYTOPES, in that order
    replace(CROWDED, features=24, hidden=18, inverse_density=(2.0,)),
    replace(CROWDED, features=18, hidden=12, inverse_density=(1.6,)),
    replace(CROWDED, features=24, hidden=12, inverse_density=(3.0,)),
    replace(
        LONG, features=200, hidden=20, inverse_density=(4.4,), restarts=10, steps=6000, lr=5e-3
    ),
    replace(CROWDED, features=24, hidden=9, inverse_density=(5.6,), steps=10_000, lr=2e-2),
)

QUICK = Settings(60, 10, logarithmic(1, 20, 8), steps=400, batch_size=128, lr=1e-2)
QUICK_LONGER = replace(QUICK, inverse_density=(1.0, 2.0, 3.0), steps=800)
QUICK_LONG = Settings(
    24, 9, logarithmic(1, 8, 6), steps=400, batch_size=128, lr=2e-2, init_scale=0.1
)
QUICK_SEARCH = replace(QUICK_LONG, inverse_density=(3.0,), restarts=2, steps=200)
QUICK_SEARCHES = (QUICK_SEARCH,) * len(PAPER_POLYTOPES)

NOTEBOOK = replace(
    Settings(), features=160, hidden=16, inverse_density=logarithmic(1, 6, 20), lr=1e-2
)
NOTEBOOK_LONGER = replace(
    NOTEBOOK, inverse_density=(1.0, 1.15, 1.3, 1.5, 2.0, 2.6, 3.4, 4.4), steps=8000
)
NOTEBOOK_LONG = replace(
    LONG,
    inverse_density=(1.3, 1.45, 1.5, 1.55, 1.65, 2.0, 3.5, 4.0, 4.3, 4.6, 4.9, 6.0),
    steps=10_000,
)
NOTEBOOK_SPARSE = replace(  # reaches as sparse features as the paper's sweep does
    Settings(),
    features=200,
    hidden=15,
    inverse_density=(1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 11.0, 15.0, 20.0),
    steps=3000,
)


class Result(NamedTuple):
    """What a sweep over density keeps of its trained models."""

    inverse_density: Float[Tensor, " points"]
    steps: Int[Tensor, ""]
    W: Float[Tensor, "points restarts hidden features"]
    benefit: Float[Tensor, "points restarts"]  # per hidden dimension; a dedicated one has 1


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train `restarts` models of equally important features at each density."""
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    distribution = FeatureDistribution(1 / inverse_density[:, None], features=settings.features)
    distribution = distribution.with_restarts(settings.restarts).to(device)
    before = settings.first * settings.restarts
    model = ReLUOutputModel(
        before + distribution.instances,
        settings.features,
        settings.hidden,
        seed=seed,
        device=device,
        init_scale=settings.init_scale,
    ).select(slice(before, None))
    train(
        model,
        distribution,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        seed=seed,
        progress=progress,
    )
    W = model.W.detach().cpu()
    benefit = sampled_benefit(model, distribution, seed=seed).cpu()
    return Result(
        inverse_density=inverse_density,
        steps=torch.tensor(settings.steps),
        W=W.unflatten(0, (-1, settings.restarts)),
        benefit=benefit.unflatten(0, (-1, settings.restarts)),
    )


def shards(settings):
    """Split a sweep into parts of equally many points.

    A part draws about NUMBERS_PER_CELL numbers, but has at least LEAST_POINTS_PER_CELL points.
    """
    rows = settings.restarts * settings.steps * settings.batch_size
    size = max(LEAST_POINTS_PER_CELL, int(NUMBERS_PER_CELL / (rows * settings.features)))
    points = settings.inverse_density
    return [
        replace(settings, inverse_density=points[k : k + size], first=settings.first + k)
        for k in range(0, len(points), size)
    ]


def joined(results):
    """Join the results of consecutive parts of a sweep."""
    return Result(
        inverse_density=torch.cat([result.inverse_density for result in results]),
        steps=results[0].steps,
        W=torch.cat([result.W for result in results]),
        benefit=torch.cat([result.benefit for result in results]),
    )


# What the models show


def shares(result) -> dict[str, Float[Tensor, " points"]]:
    """Return the share of the represented features in each polytope, over all restarts.

    Polytopes that no model shows at any density are omitted. Features in no known polytope count as
    "irregular", or as a "shared dimension" where features that are not represented share theirs.
    """
    point_shares = []
    for models in result.W:
        factors = []
        for W in models:
            factors += tegum_factors(W)
        point_shares.append(polytope_shares(factors))
    present = [
        polytope
        for polytope in (*POLYTOPES, SHARED_DIMENSION, IRREGULAR)
        if any(polytope in point for point in point_shares)
    ]
    return {
        polytope: torch.tensor(
            [point.get(polytope, 0.0) for point in point_shares], dtype=torch.float64
        )
        for polytope in present
    }


def centre(result, polytope):
    """Return the geometric mean of the density, weighted by a polytope's share of the features.

    Returns:
        A density, or None if the polytope is not present at any.
    """
    share = shares(result).get(polytope, torch.zeros(1))
    if not (share > FOUND).any():
        return None
    return (-(result.inverse_density.log() * share).sum() / share.sum()).exp().item()


def models_with(result, polytope):
    """Return the share of the models in which a polytope is found."""
    return (held_by(result, polytope) > 0).double().mean().item()


def held_by(result, polytope) -> Float[Tensor, " models"]:
    """Return the share of the represented features of each model that is in a polytope."""
    held = [polytope_shares(tegum_factors(W)).get(polytope, 0) for W in result.W.flatten(0, 1)]
    return torch.tensor(held, dtype=torch.float64)


def largest_shares(result, ends) -> dict[str, float]:
    """Return the largest share of the represented features that each polytope has within a range.

    Args:
        result: The Result of a sweep.
        ends: Highest and lowest density of the range, or None for no range.

    Returns:
        A share for each polytope; empty if there is no range.
    """
    if ends is None:
        return {}
    densest, sparsest = ends
    density = 1 / result.inverse_density
    inside = (density <= densest) & (density >= sparsest)
    return {polytope: share[inside].max().item() for polytope, share in shares(result).items()}


def sticky(result, level, tolerance) -> Bool[Tensor, " points"]:
    """Return at which points D* differs from a level by less than the tolerance, relatively."""
    return (dimensions_per_feature(result.W[:, 0]) / level - 1).abs() < tolerance


def in_polytopes(result, share) -> Bool[Tensor, " points"]:
    """Return at which points at least this share of the represented features is in polytopes.

    Points at which no more than m features are represented do not count.
    """
    held = torch.zeros(len(result.W), dtype=torch.float64)
    for polytope, point_shares in shares(result).items():
        if polytope in POLYTOPES:
            held += point_shares
    crowded = represented(result.W[:, 0]).sum(dim=1) > result.W.shape[2]
    return crowded & (held >= share)


def filled(result) -> Float[Tensor, " points"]:
    """Return the sum of the dimensionalities of all features, divided by m."""
    return dimensionality(result.W[:, 0]).sum(dim=1) / result.W.shape[2]


def longest_range(density: Float[Tensor, " points"], chosen: Bool[Tensor, " points"]):
    """Return the ends of the longest run of neighbouring points that are all chosen.

    Args:
        density: The density of each point, descending.
        chosen: Which points are chosen.

    Returns:
        Highest and lowest density of the run with the largest ratio of these, the first of equal
        ones; None if no point is chosen.
    """
    longest = None
    start = None
    for value, is_chosen in zip(density.tolist(), chosen.tolist()):
        if not is_chosen:
            start = None
            continue
        if start is None:
            start = value
        if longest is None or start / value > longest[0] / longest[1]:
            longest = (start, value)
    return longest


# The figure


def figure(result, windows, predicted, settled=None):
    """Draw the paper's two figures over density, with graphs and names of the polytopes.

    Args:
        result: The Result of a sweep.
        windows: The predicted_polytopes.Windows, drawn where they are predicted.
        predicted: Densities and the predicted D* at each, both (densities,).
        settled: What models of the same size settle as, a dense_minima.Settled, or None.
    """
    density = 1 / result.inverse_density
    W = result.W[:, 0]
    trained_shares = shares(result)
    rows = 3 if settled is None else 4
    drawing = plt.figure(figsize=(WIDTH, 10 + rows), layout="constrained")
    curves, graphs = drawing.subfigures(2, 1, height_ratios=(6 + rows, 4))
    heights = (1.3, 2.3, 1.1, 1.1)[:rows]
    curve, scatter, *areas = curves.subplots(rows, 1, sharex=True, height_ratios=heights)
    _draw_dimensions_per_feature(density, W, predicted, settled, curve)
    dimensionality_scatter(density, W, PAPER_POLYTOPES, ax=scatter)
    _draw_windows(windows, density, scatter)
    scatter.set(xlabel="")
    _draw_areas(density, trained_shares, settled, areas)
    every_density = density if settled is None else torch.cat((density, settled.density))
    over_density(areas[-1], every_density, FINE_DENSITY_TICKS)
    curve.set_xlim(every_density.max().item(), every_density.min().item())  # of all panels
    _draw_graphs(density, W, graphs)
    drawn = trained_shares if settled is None else _together(trained_shares, settled.shares)
    polytope_legend(graphs, drawn, LEGEND)
    per_feature = dimensions_per_feature(W)
    return described(
        drawing,
        f"Panels over density for {W.shape[2]} features in {W.shape[1]} dimensions: the dimensions "
        f"per feature, which go from {per_feature[0]:.2f} to {per_feature[-1]:.2f} in trained "
        "models, beside the predicted ones and, where there are any, those of settled models; the "
        "dimensionality of each feature beside the levels of the polytopes; and the share of the "
        "features in each polytope; below, some of the models as graphs of their features.",
    )


def _together(first, second):
    """Return the shares of two panels, one after the other, for the legend of both."""
    parts = [(shares, torch.zeros_like(next(iter(shares.values())))) for shares in (first, second)]
    return {
        name: torch.cat([shares.get(name, nothing) for shares, nothing in parts])
        for name in first | second
    }


def _draw_dimensions_per_feature(density, W, predicted, settled, ax):
    """Draw D* of the models, as predicted, and of settled models."""
    trained = dimensions_per_feature(W).numpy()
    ax.plot(density.numpy(), trained, "o-", color=INK, linewidth=1, label="trained")
    x, y = predicted
    ax.plot(
        x.numpy(),
        y.numpy(),
        color=SHARED,
        linewidth=2,
        label="best in the periodic table",
        zorder=0,
    )
    if settled is not None:
        ax.plot(
            settled.density.numpy(),
            settled.dimensions_per_feature.numpy(),
            "D-",
            color=POLYTOPE_COLOURS["pentagon"],
            linewidth=1,
            label="settled by exact descent (mean)",
        )
    ax.set(ylabel="dimensions per feature\n$D^*=m/\\|W\\|_F^2$", ylim=(0, 1.15))
    ax.set_title(f"$n={W.shape[2]}$ features in $m={W.shape[1]}$ dimensions")
    ax.legend(loc="lower left")


def _draw_areas(density, trained_shares, settled, axes):
    """Draw the polytopes of trained models, and of settled ones below."""
    polytope_areas(density, trained_shares, ax=axes[0])
    if settled is not None:
        axes[0].set(xlabel="", ylabel="share of features\ntrained")
        polytope_areas(settled.density, settled.shares, ax=axes[1])
        axes[1].set(ylabel="share of features\nsettled")
        settled_until = settled.density.min().item()
        axes[1].axvspan(settled_until, density.min().item(), color="white")
        axes[1].annotate("not settled", (settled_until, 0.5), (8, 0), va="center", **NOTE)


def _draw_windows(windows, density, ax):
    """Draw where each arrangement is predicted, as a thick line at its dimensionality."""
    densest = density.max().item()
    sparsest = density.min().item()
    for k, window in enumerate(windows):
        ax.plot(
            (window.densest, window.sparsest),
            (window.dimensionality, window.dimensionality),
            color=SHARED,
            linewidth=7,
            alpha=0.5,
            solid_capstyle="butt",
            label="predicted" if k == 0 else None,
        )
        # The paper's polytopes have a line of their own in the scatter, which bears their name.
        outside = window.densest <= sparsest or window.sparsest >= densest
        short = window.densest < ROOM * window.sparsest
        if window.name in PAPER_POLYTOPES or outside or short:
            continue
        near_the_end = window.densest < sparsest / 0.8
        x = max(window.sparsest, sparsest) if near_the_end else min(window.densest, densest)
        ax.annotate(
            window.name,
            (x, window.dimensionality),
            xytext=(0, -15),
            ha="right" if near_the_end else "left",
            annotation_clip=True,
            **NOTE,
        )
    ax.legend(loc="lower left")


def _draw_graphs(density, W, subfigure):
    """Draw models as graphs, each with the four polytopes that it shows most often."""
    axes = subfigure.subplots(1, len(SHOWN))
    for ax, k in zip(axes, nearest(density, SHOWN).tolist()):
        geometry_graph(W[k], ax=ax)
        counts = Counter(factor.polytope for factor in tegum_factors(W[k])).most_common(4)
        names = [f"{count} × {polytope}" for polytope, count in counts]
        ax.set_title("\n".join([f"density {density[k]:.2f}", *names]), va="bottom")
