"""How many features does a model with m hidden dimensions represent, as n > m features become sparse?

Section 2 of the paper: a linear model stores the m most important features at any density, and so does the ReLU output
model when features are dense. As they become sparse it stores more than m, in superposition: some share a direction,
the least important first. The paper's figure is `panels_figure`, for n=20, m=5 and for n=80, m=20.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.colors import Normalize
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from geometry import REPRESENTED_NORM, feature_norms, in_superposition, interference, represented
from models import LinearModel, ReLUOutputModel
from training import train_best
from visualization import (
    DEDICATED,
    INK,
    SHARED,
    SUPERPOSITION,
    SUPERPOSITION_LABEL,
    WEIGHTS,
    WIDTH,
    over_density,
)


@dataclass(frozen=True)
class Training:
    restarts: int
    steps: int
    lr: float
    batch_size: int = 256
    exact: bool = False  # on the exact loss, which a linear model has for any number of features

    def __post_init__(self):  # the second model's are refused before the first is trained
        check_settings(self)


@dataclass(frozen=True)
class Settings:
    features: int = 20
    hidden: int = 5
    decay: float = 0.7  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    linear: Training = Training(restarts=1, steps=3000, lr=3e-2, exact=True)
    relu: Training = Training(restarts=16, steps=3000, lr=2e-2)

    def __post_init__(self):
        check_settings(self)


LARGE = Settings(
    features=80, hidden=20, decay=0.9,
    linear=Training(restarts=1, steps=6000, lr=3e-2, exact=True), relu=Training(restarts=8, steps=3000, lr=2e-2),
)  # fmt: skip
_SHORT = Training(restarts=2, steps=300, lr=3e-2, batch_size=128)
QUICK = Settings(linear=_SHORT, relu=_SHORT)
QUICK_LARGE = replace(LARGE, linear=_SHORT, relu=_SHORT)


class Models(NamedTuple):
    """The best restart at each density."""

    W: Float[Tensor, "densities hidden features"]
    b: Float[Tensor, "densities features"]


class Result(NamedTuple):
    density: Float[Tensor, " densities"]
    linear: Models
    relu: Models


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train linear and ReLU output models, several restarts at each density -> Result."""
    density = torch.tensor(settings.densities)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    distribution = FeatureDistribution(density[:, None], importance).to(device)

    def trained(model_class, training):
        model, _ = train_best(
            model_class,
            distribution,
            settings.hidden,
            seed=seed,
            progress=progress,
            **asdict(training),
        )
        return Models(model.W.detach().cpu(), model.b.detach().cpu())

    return Result(
        density, trained(LinearModel, settings.linear), trained(ReLUOutputModel, settings.relu)
    )


# Numbers


def top_projection_error(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, " instances"]:
    """max |W^T W - P| with P the projection on the m most important features."""
    projection = torch.diag((torch.arange(W.shape[2]) < W.shape[1]).to(W.dtype))
    return (W.mT @ W - projection).abs().amax(dim=(1, 2))


class BiasErrors(NamedTuple):
    """How far biases are off at each density, root mean square, in units of a feature's expected value."""

    most_important: Float[
        Tensor, " densities"
    ]  # the m most important features, whose bias should be 0
    rest: Float[Tensor, " densities"]  # the others, whose bias should be the expected value


def bias_errors(models, density: Float[Tensor, " densities"]) -> BiasErrors:
    relative = models.b / (density[:, None] / 2)
    hidden = models.W.shape[1]
    learned, dropped = relative[:, :hidden], relative[:, hidden:] - 1
    return BiasErrors(*(errors.square().mean(dim=1).sqrt() for errors in (learned, dropped)))


def least_important_first(W: Float[Tensor, "densities hidden features"]) -> Bool[Tensor, " such"]:
    """At each density with both, whether features in superposition are the less important on average."""
    place = torch.arange(W.shape[2], dtype=torch.float32)
    shared = in_superposition(W)
    dedicated = represented(W) & ~shared
    both = (shared.any(dim=1) & dedicated.any(dim=1)).nonzero().flatten()
    return torch.tensor(
        [bool(place[shared[k]].mean() > place[dedicated[k]].mean()) for k in both], dtype=torch.bool
    )


# Figures


def panels_figure(result):
    """W^T W and b as heat maps over bars of ||W_i||: the linear model at the first density, then the ReLU models."""
    W, b = (torch.cat((linear[:1], relu)) for linear, relu in zip(result.linear, result.relu))
    first, *_ = densities = [f"{density:g}" for density in result.density]
    titles = [f"linear, density {first}", *(f"ReLU, density {density}" for density in densities)]
    columns = 4
    rows = math.ceil(len(W) / columns)
    figure = plt.figure(figsize=(WIDTH, 3.9 * rows + 0.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 0.13))
    panels = np.atleast_1d(left.subfigures(rows, columns, wspace=0.03, hspace=0.03)).ravel()
    norms, superposition = feature_norms(W), interference(W)
    for k, (panel, title) in enumerate(zip(panels, titles)):
        heat, bias, bars, empty = panel.subplots(
            2, 2, width_ratios=(1, 0.08), height_ratios=(1, 0.6)
        ).ravel()
        empty.axis("off")
        heat.imshow((W[k].T @ W[k]).numpy(), cmap=WEIGHTS, vmin=-1, vmax=1)
        bias.imshow(b[k, :, None].numpy(), cmap=WEIGHTS, vmin=-1, vmax=1, aspect="auto")
        heat.set(title=title, xticks=[], yticks=[], ylabel=r"$W^T W$" if k % columns == 0 else "")
        bias.set(title="$b$", xticks=[], yticks=[])
        norm_bars(norms[k], superposition[k], bars)
    scales = (
        (WEIGHTS, Normalize(-1, 1), "$W^T W$ and $b$"),
        (SUPERPOSITION, Normalize(0, 1), SUPERPOSITION_LABEL),
    )
    for ax, (colours, scale, label) in zip(right.subplots(2, 1), scales):
        right.colorbar(plt.cm.ScalarMappable(scale, colours), cax=ax, label=label)
    return figure


def norm_bars(norms: Float[Tensor, " features"], superposition: Float[Tensor, " features"], ax):
    """||W_i|| of one instance as bars, coloured by superposition."""
    width = 0.85 if len(norms) <= 40 else 1  # gaps narrower than a pixel would show here and there
    ax.bar(
        range(len(norms)),
        norms.numpy(),
        width=width,
        color=SUPERPOSITION(superposition.clamp(0, 1).numpy()),
    )
    ax.axhline(REPRESENTED_NORM, color=INK, linewidth=0.8, linestyle=":")
    ax.set(ylim=(0, 1.25), xlim=(-0.6, len(norms) - 0.4))
    ax.set(xlabel="feature $i$, by importance", ylabel=r"$\|W_i\|$")


def counts_figure(results):
    """How many features the ReLU output models represent, and how many of these share; one panel a result."""
    figure, axes = plt.subplots(
        1, len(results), figsize=(WIDTH, 3.6), layout="constrained", squeeze=False
    )
    for ax, result in zip(axes[0], results):
        W, x = result.relu.W, result.density.numpy()
        shown, sharing = (
            chosen.sum(dim=1).numpy() for chosen in (represented(W), in_superposition(W))
        )
        ax.fill_between(x, sharing, shown, color=DEDICATED, label="with a dimension of its own")
        ax.fill_between(x, sharing, color=SHARED, label="in superposition")
        ax.plot(x, shown, "o", color=INK)
        ax.axhline(
            W.shape[1], color=INK, linewidth=1, linestyle="--", label="hidden dimensions $m$"
        )
        over_density(ax, result.density)
        ax.set(
            ylim=(0, 1.3 * shown.max()),
            title=f"$n={W.shape[2]}$, $m={W.shape[1]}$",
            ylabel="represented features",
        )
    axes[0, 0].legend(loc="upper left")
    return figure
