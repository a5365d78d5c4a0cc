"""How many features do m hidden dimensions represent, as the n > m features get sparser?

Section 2 of the paper: a linear model represents the m most important features at every density,
and so does the ReLU output model as long as the features are dense. When they get sparser, the
ReLU output model represents more than m features in superposition: some of them share a direction,
and the least important ones do so first. `panels_figure` is the paper's figure, for n=20, m=5 and
for n=80, m=20. Unlike the paper's, each density also starts from its neighbours' best models
(`along_density`); `first_superposition` looks between the paper's densities.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section2main.py instead.")

import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.section2.along_density import (
    CONTINUED,
    AlongDensity,
    Continuation,
    Training,
    trained_along_density,
)
from features import FeatureDistribution
from geometry import REPRESENTED_NORM, feature_norms, in_superposition, interference, represented
from losses.exact import expected_loss
from models import LinearModel
from theory.descents import ignored_loss
from training import sampled_loss, train_best
from visualization import (
    DEDICATED,
    INK,
    SHARED,
    SUPERPOSITION,
    SUPERPOSITION_LABEL,
    WEIGHTS,
    WIDTH,
    described,
    gram_heat_map,
    over_density,
)

FRESH_LINEAR = Training(restarts=1, steps=3000, lr=3e-2, exact=True)
FRESH_RELU = Training(restarts=16, steps=3000, lr=2e-2)
ROWS = 2**16  # on which models of one density are compared, the same for all of them


@dataclass(frozen=True)
class Settings:
    """The paper's settings for n=20, m=5."""

    features: int = 20  # n
    hidden: int = 5  # m
    decay: float = 0.7  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    linear: Training = FRESH_LINEAR
    relu: Training = FRESH_RELU
    continuation: Continuation = CONTINUED

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


LARGE = Settings(
    features=80,
    hidden=20,
    decay=0.9,
    linear=Training(restarts=1, steps=6000, lr=3e-2, exact=True),
    relu=Training(restarts=8, steps=3000, lr=2e-2),
)
_SHORT = Training(restarts=2, steps=300, lr=3e-2, batch_size=128)
_ONE_ROUND = Continuation(rounds=1, steps=100)
QUICK = Settings(linear=_SHORT, relu=_SHORT, continuation=_ONE_ROUND)
QUICK_LARGE = replace(LARGE, linear=_SHORT, relu=_SHORT, continuation=_ONE_ROUND)
NOTEBOOK = Settings(
    relu=Training(restarts=8, steps=2500, lr=2e-2), continuation=Continuation(rounds=1)
)
NOTEBOOK_LARGE = replace(
    LARGE, relu=Training(restarts=4, steps=2500, lr=2e-2), continuation=NOTEBOOK.continuation
)


class Linear(NamedTuple):
    """The linear model of lowest loss at each density."""

    W: Float[Tensor, "densities hidden features"]
    b: Float[Tensor, "densities features"]
    loss: Float[Tensor, " densities"]  # exact


class Result(NamedTuple):
    """The trained models of both kinds."""

    density: Float[Tensor, " densities"]
    importance: Float[Tensor, " features"]
    linear: Linear
    relu: AlongDensity  # with sampled losses, on the same rows at each density


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train the linear and the ReLU output model at every density.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights and of the sampled rows.
        device: Device that trains.
        progress: Whether to show progress on stderr.

    Returns:
        The best models of each kind at each density.
    """
    density = torch.tensor(settings.densities)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    distribution = FeatureDistribution(density[:, None], importance).to(device)
    relu = trained_along_density(
        distribution,
        settings.hidden,
        settings.relu,
        settings.continuation,
        partial(sampled_loss, rows=ROWS, seed=seed),
        seed=seed,
        progress=progress,
    )
    linear = _best_linear(settings, distribution, seed, progress)
    return Result(density, importance, linear, relu)


def _best_linear(settings, distribution, seed, progress):
    """Train linear models and keep the best restart at each density, with its exact loss."""
    model, _ = train_best(
        LinearModel,
        distribution,
        settings.hidden,
        seed=seed,
        progress=progress,
        **asdict(settings.linear),
    )
    W = model.W.detach().cpu()
    b = model.b.detach().cpu()
    return Linear(W, b, expected_loss(W, b, distribution.to("cpu"), output="linear"))


# Measures


def top_projection_error(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, " instances"]:
    """Measure how far W^T W is from the projection on the m most important features.

    Args:
        W: Weights, with the features in order of falling importance.

    Returns:
        The largest absolute difference of an entry, for each instance.
    """
    _, hidden, features = W.shape
    projection = torch.diag((torch.arange(features) < hidden).to(W.dtype))
    return (W.mT @ W - projection).abs().amax(dim=(1, 2))


def dedicated_loss(result, density: Float[Tensor, " densities"]) -> Float[Tensor, " densities"]:
    """Return the exact loss of the m most important features alone, each in its own dimension.

    No linear model has a lower one, and the ReLU output model at density 1 has the same solution.

    Args:
        result: Result of `run`, which says how important the features are.
        density: Density of the features.
    """
    hidden = result.linear.W.shape[1]
    return ignored_loss(result.importance[hidden:], density[:, None].double()).sum(dim=1)


class BiasErrors(NamedTuple):
    """Root-mean-square errors of the biases, in units of a feature's expected value."""

    most_important: Float[Tensor, " densities"]  # of the m features whose bias should be 0
    rest: Float[Tensor, " densities"]  # of those whose bias should be their expected value


def bias_errors(models, density: Float[Tensor, " densities"]) -> BiasErrors:
    """Compare the biases with those of a model that represents the m most important features.

    Args:
        models: Models at each density.
        density: Density of the features of each model.

    Returns:
        The errors for the m most important features and for the rest.
    """
    expected_value = density[:, None] / 2
    relative = models.b / expected_value
    hidden = models.W.shape[1]
    return BiasErrors(
        most_important=_root_mean_square(relative[:, :hidden]),
        rest=_root_mean_square(relative[:, hidden:] - 1),
    )


def _root_mean_square(errors):
    """Average over the features."""
    return errors.square().mean(dim=1).sqrt()


def least_important_first(W: Float[Tensor, "densities hidden features"]) -> Bool[Tensor, " mixed"]:
    """Say whether the features in superposition are less important than the dedicated ones.

    Args:
        W: Weights at each density, with the features in order of falling importance.

    Returns:
        For each density at which some represented features are in superposition and some have a
        dimension of their own: whether the former are less important on average.
    """
    rank = torch.arange(W.shape[2], dtype=torch.float32)
    shared = in_superposition(W)
    dedicated = represented(W) & ~shared
    mixed = (shared.any(dim=1) & dedicated.any(dim=1)).nonzero().flatten()
    less_important = [bool(rank[shared[k]].mean() > rank[dedicated[k]].mean()) for k in mixed]
    return torch.tensor(less_important, dtype=torch.bool)


# Figures


def panels_figure(result) -> Figure:
    """Draw W^T W and b as heat maps above bars of ||W_i||, one panel for each model.

    The first panel is the linear model at the first density. The others are the ReLU output models
    at every density.
    """
    W = torch.cat((result.linear.W[:1], result.relu.W))
    b = torch.cat((result.linear.b[:1], result.relu.b))
    densities = [f"{density:g}" for density in result.density]
    titles = [f"linear, density {densities[0]}"]
    titles += [f"ReLU, density {density}" for density in densities]
    columns = 4
    rows = math.ceil(len(W) / columns)
    figure = plt.figure(figsize=(WIDTH, 3.9 * rows), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 0.13))
    panels = np.atleast_1d(left.subfigures(rows, columns, wspace=0.03, hspace=0.03)).ravel()
    for k, title in enumerate(titles):
        _draw_model(W[k], b[k], panels[k], title)
    _draw_colour_scales(right)
    shared = in_superposition(result.relu.W).sum(dim=1).tolist()
    return described(
        figure,
        "Heat maps of W^T W with the biases b beside them, above bars of the norms of all "
        f"{W.shape[-1]} features, for a linear model and for ReLU output models, which have "
        f"{shared[0]} features in superposition at density {densities[0]} and {shared[-1]} at "
        f"density {densities[-1]}.",
    )


def _draw_model(W, b, panel, title):
    """Draw one instance into a subfigure, with the bar of a feature below its column of W^T W."""
    heat, bars = panel.subplots(2, 1, height_ratios=(1, 0.6))
    gram_heat_map(W, b, heat)
    heat.set(title=title)
    norm_bars(feature_norms(W[None])[0], interference(W[None])[0], bars)
    bars.set(xlim=heat.get_xlim(), xticks=[0, len(b) // 2])


def _draw_colour_scales(panel):
    """Draw the colour bars of the heat maps and of the bars into a subfigure."""
    scales = (
        (WEIGHTS, Normalize(-1, 1), "$W^T W$ and $b$"),
        (SUPERPOSITION, Normalize(0, 1), SUPERPOSITION_LABEL),
    )
    for ax, (colours, scale, label) in zip(panel.subplots(2, 1), scales):
        panel.colorbar(plt.cm.ScalarMappable(scale, colours), cax=ax, label=label)


def norm_bars(norms: Float[Tensor, " features"], superposition: Float[Tensor, " features"], ax):
    """Draw the norms ||W_i|| of one instance as bars.

    Args:
        norms: Norm of each feature's direction.
        superposition: Interference of each feature, shown as the colour of its bar.
        ax: Axes to draw on.
    """
    # Gaps that are narrower than a pixel would be visible between some bars and not between others.
    width = 0.85 if len(norms) <= 40 else 1
    colours = SUPERPOSITION(superposition.clamp(0, 1).numpy())
    ax.bar(range(len(norms)), norms.numpy(), width=width, color=colours)
    ax.axhline(REPRESENTED_NORM, color=INK, linewidth=0.8, linestyle=":")
    ax.set(ylim=(0, 1.25), xlim=(-0.6, len(norms) - 0.4))
    ax.set(xlabel="feature $i$, by importance", ylabel=r"$\|W_i\|$")


def counts_figure(results) -> Figure:
    """Draw how many features the ReLU output models represent and how many are in superposition.

    Args:
        results: Results of `run`, one for each panel.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(
        1, len(results), figsize=(WIDTH, 3.6), layout="constrained", squeeze=False
    )
    changes = []
    for ax, result in zip(axes[0], results):
        _draw_counts(result, ax)
        _, hidden, features = result.relu.W.shape
        counts = represented(result.relu.W).sum(dim=1).tolist()
        changes.append(f"from {counts[0]} to {counts[-1]} with n={features}, m={hidden}")
    axes[0, 0].legend(loc="upper left")
    return described(
        figure,
        "The number of represented features over density, divided into those with a dimension of "
        "their own and those in superposition: from the highest to the lowest density it changes "
        f"{' and '.join(changes)}.",
    )


def _draw_counts(result, ax):
    """Draw the counts of one result over density."""
    W = result.relu.W
    _, hidden, features = W.shape
    density = result.density.numpy()
    shown = represented(W).sum(dim=1).numpy()
    shared = in_superposition(W).sum(dim=1).numpy()
    ax.fill_between(density, shared, shown, color=DEDICATED, label="with a dimension of their own")
    ax.fill_between(density, shared, color=SHARED, label="in superposition")
    for counts in (shown, shared):
        ax.plot(density, counts, "o", color=INK)
    ax.axhline(hidden, color=INK, linewidth=1, linestyle="--", label="hidden dimensions $m$")
    over_density(ax, result.density)
    ax.set(ylim=(0, 1.3 * shown.max()), title=f"$n={features}$, $m={hidden}$")
    ax.set(ylabel="represented features")
