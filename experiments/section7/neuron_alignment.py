"""Features align with neurons if the hidden layer has a ReLU (paper, Section 7).

The paper asks whether the basis of the hidden layer matters. Without a ReLU there, a rotation of
the hidden layer changes nothing, and only W^T W can be read. With it the basis is privileged: its
directions are neurons, and W itself can be read. Features count as aligned if they are spread over
fewer hidden dimensions than after any of many random rotations of the same W. `figure` draws W of
both models, as the paper does, and how far features are spread at all densities.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section7main.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from geometry import feature_norms, represented
from models import ReLUHiddenModel, ReLUOutputModel
from training import train_best
from visualization import (
    DEDICATED,
    FAINT,
    NOTE,
    SHARED,
    WEIGHTS,
    WIDTH,
    described,
    nearest,
    over_density,
)

ROTATIONS = 1000
NAMES = {"W_hidden": "with a hidden ReLU", "W_output": "without"}  # of the weights in a Result
COLOURS = {"W_hidden": DEDICATED, "W_output": SHARED}


@dataclass(frozen=True)
class Settings:
    """The paper's models of both kinds at some densities."""

    features: int = 10
    hidden: int = 5
    decay: float = 0.75  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.75, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02)
    restarts: int = 100  # models at each density, of which the best is kept
    steps: int = 1500
    batch_size: int = 64
    lr: float = 5e-2

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


NOTEBOOK = Settings()
QUICK = Settings(densities=(1.0, 0.35, 0.05), restarts=4, steps=150)


class Result(NamedTuple):
    """The best model at each density, with and without a ReLU in the hidden layer."""

    density: Float[Tensor, " points"]
    W_hidden: Float[Tensor, "points hidden features"]  # with the ReLU
    W_output: Float[Tensor, "points hidden features"]  # without it


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train models of both kinds at each density and keep the best of each."""
    density = torch.tensor(settings.densities, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    inputs = FeatureDistribution(density[:, None], importance).to(device)

    def best_weights(model_class):
        model, _ = train_best(
            model_class,
            inputs,
            settings.hidden,
            restarts=settings.restarts,
            steps=settings.steps,
            batch_size=settings.batch_size,
            lr=settings.lr,
            seed=seed,
            progress=progress,
        )
        return model.W.detach().cpu()

    return Result(
        density=density,
        W_hidden=best_weights(ReLUHiddenModel),
        W_output=best_weights(ReLUOutputModel),
    )


# What the models show


def spread(W: Float[Tensor, "instances hidden features"]) -> Float[Tensor, " instances"]:
    """Return over how many hidden dimensions a represented feature is spread on average.

    For a feature i it is (sum_k |W_ki|)^2 / ||W_i||^2: 1 if the feature lies along one hidden
    dimension and k if it lies evenly on k of them. NaN for an instance that represents no feature.
    """
    is_represented = represented(W)
    ratio = W.abs().sum(dim=1) / feature_norms(W)
    dimensions = torch.where(is_represented, ratio, 0).square()
    return dimensions.sum(dim=1) / is_represented.sum(dim=1)


def rotated_spread(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances rotations"]:
    """Return the spread of each instance after each of ROTATIONS random rotations and reflections.

    The rotations are uniform on the orthogonal group, and always the same ones.
    """
    shape = (ROTATIONS, W.shape[1], W.shape[1])
    generator = torch.Generator().manual_seed(0)
    q, r = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64))
    # The signs make the distribution uniform, which that of a QR decomposition is not.
    signs = r.diagonal(dim1=1, dim2=2).sign()
    rotations = (q * signs[:, None]).to(W.dtype)
    return torch.stack([spread(rotations @ weights) for weights in W])


def aligned(W: Float[Tensor, "instances hidden features"]) -> Bool[Tensor, " instances"]:
    """Return which instances are spread less than after every one of the random rotations."""
    return spread(W) < rotated_spread(W).amin(dim=1)


# The figure


def figure(result, shown_density=0.35):
    """Draw W of both models at one density, and over all densities how far features are spread.

    Args:
        result: The Result.
        shown_density: Density at which W is drawn, or the nearest one to it.
    """
    shown = nearest(result.density, (shown_density,)).item()
    drawing = plt.figure(figsize=(WIDTH, 3.8), layout="constrained")
    left, right = drawing.subfigures(1, 2, width_ratios=(1, 1.35))
    axes = left.subplots(2, 1, sharex=True)
    averages = []
    for ax, (field, name) in zip(axes, NAMES.items()):
        averages.append(f"{spread(getattr(result, field))[shown]:.1f} {name}")
        W = getattr(result, field)[shown]
        image = ax.imshow(W.numpy(), cmap=WEIGHTS, vmin=-1.2, vmax=1.2, aspect="auto")
        ax.set_title(f"$W$ {name}, density {result.density[shown]:g}")
        ax.set(xticks=range(W.shape[1]), yticks=range(len(W)))
    axes[0].set_ylabel("neuron")
    axes[1].set(ylabel="hidden dimension", xlabel="feature, most important first")
    left.colorbar(image, ax=axes, label="weight", shrink=0.8)
    _draw_spreads(result, right.subplots())
    return described(
        drawing,
        f"Heat maps of W at density {result.density[shown]:g}, for a model with a hidden ReLU and "
        "for one without; beside them, over density, the number of hidden dimensions that a "
        f"feature is spread over, which at that density is {' and '.join(averages)}, and the same "
        "after random rotations of the weights.",
    )


def _draw_spreads(result, ax):
    """Draw the spread of both models, and the median and the lowest of their random rotations."""
    x = result.density.numpy()
    for field, name in NAMES.items():
        W = getattr(result, field)
        colour = COLOURS[field]
        rotated = rotated_spread(W)
        median = rotated.median(dim=1).values.numpy()
        lowest = rotated.amin(dim=1).numpy()
        ax.plot(x, spread(W).numpy(), "o-", color=colour, label=name)
        ax.plot(x, median, ":", color=colour, label="its random rotations: median")
        label = f"lowest of {ROTATIONS:,}"
        ax.plot(x, lowest, "--", color=colour, linewidth=0.8, label=label)
    ax.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
    note = "each feature on a neuron of its own"
    ax.annotate(note, (x.min(), 1), xytext=(0, 3), ha="right", **NOTE)
    over_density(ax, result.density).set(ylim=(0.8, result.W_hidden.shape[1] + 1.4))
    ax.set(ylabel="hidden dimensions that\na feature is spread over")
    ax.legend(ncols=2, loc="upper center")
