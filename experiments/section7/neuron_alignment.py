"""Do features align with the basis of the hidden layer, with and without a ReLU there? (paper, Section 7)

Without it a rotation of the hidden layer changes nothing, and W by itself says nothing: the paper looks at W^T W. With
it the basis is privileged, its directions are neurons, and W can be read. Features align where they are spread over
fewer hidden dimensions than after a random rotation of the same W.
"""

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
from visualization import DEDICATED, FAINT, NOTE, SHARED, WEIGHTS, WIDTH, nearest, over_density

ROTATIONS = 1000
NAMES = {"W_hidden": "with a hidden ReLU", "W_output": "without"}  # of a Result's weights
COLOURS = {"W_hidden": DEDICATED, "W_output": SHARED}


@dataclass(frozen=True)
class Settings:
    features: int = 10
    hidden: int = 5
    decay: float = 0.75  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.75, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02)
    restarts: int = 100
    steps: int = 1500
    batch_size: int = 64
    lr: float = 5e-2

    def __post_init__(self):
        check_settings(self)


QUICK = Settings(densities=(1.0, 0.35, 0.05), restarts=4, steps=150)


class Result(NamedTuple):
    density: Float[Tensor, " points"]
    W_hidden: Float[
        Tensor, "points hidden features"
    ]  # the best of the restarts with a ReLU in the hidden layer
    W_output: Float[Tensor, "points hidden features"]  # and without it


def run(settings, *, seed=0, device="cpu", progress=True):
    density = torch.tensor(settings.densities, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    inputs = FeatureDistribution(density[:, None], importance).to(device)
    how = {name: getattr(settings, name) for name in ("restarts", "steps", "batch_size", "lr")}
    models = [
        train_best(kind, inputs, settings.hidden, seed=seed, progress=progress, **how)[0]
        for kind in (ReLUHiddenModel, ReLUOutputModel)
    ]
    return Result(density, *(model.W.detach().cpu() for model in models))


# What it shows


def spread(W: Float[Tensor, "instances hidden features"]) -> Float[Tensor, " instances"]:
    """Over how many hidden dimensions a feature is spread, (sum_k |W_ki|)^2 / ||W_i||^2: mean of the represented ones.

    1 where each lies on one direction of the basis, k where evenly on k of them. NaN where none is represented.
    """
    norms, shown = feature_norms(W), represented(W)
    each = torch.where(shown, W.abs().sum(dim=1) / norms, 0).square()
    return each.sum(dim=1) / shown.sum(dim=1)


def spread_by_chance(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances rotations"]:
    """The spread of each instance after each of ROTATIONS random rotations and reflections, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(
        ROTATIONS, W.shape[1], W.shape[1], generator=generator, dtype=torch.float64
    )
    q, r = torch.linalg.qr(normal)
    rotations = (q * r.diagonal(dim1=1, dim2=2).sign()[:, None]).to(
        W.dtype
    )  # uniform on all of them
    return torch.stack([spread(rotations @ weights) for weights in W])


def aligned(W: Float[Tensor, "instances hidden features"]) -> Bool[Tensor, " instances"]:
    """Which instances have features spread over fewer dimensions than after every one of the random rotations."""
    return spread(W) < spread_by_chance(W).amin(dim=1)


# The figure


def figure(result, shown_density=0.35):
    """W of both models at one density; over all densities, how far features are spread, beside random rotations."""
    shown = nearest(result.density, (shown_density,)).item()
    drawing = plt.figure(figsize=(WIDTH, 3.8), layout="constrained")
    left, right = drawing.subfigures(1, 2, width_ratios=(1, 1.35))
    axes = left.subplots(2, 1, sharex=True)
    for ax, (field, name) in zip(axes, NAMES.items()):
        W = getattr(result, field)[shown]
        image = ax.imshow(W.numpy(), cmap=WEIGHTS, vmin=-1.2, vmax=1.2, aspect="auto")
        ax.set(
            title=f"$W$ {name}, density {result.density[shown]:g}",
            yticks=range(len(W)),
            xticks=range(W.shape[1]),
        )
    axes[0].set_ylabel("neuron")
    axes[1].set(ylabel="hidden dimension", xlabel="feature, most important first")
    left.colorbar(image, ax=axes, label="weight", shrink=0.8)
    _draw_spreads(result, right.subplots())
    return drawing


def _draw_spreads(result, ax):
    """The spread of both models over density, each with the middle and the lowest of its random rotations."""
    x = result.density.numpy()
    for field, name in NAMES.items():
        W, colour = getattr(result, field), COLOURS[field]
        chance = spread_by_chance(W)
        ax.plot(x, spread(W).numpy(), "o-", color=colour, label=name)
        ax.plot(
            x,
            chance.median(dim=1).values.numpy(),
            ":",
            color=colour,
            label="its random rotations: median",
        )
        ax.plot(
            x,
            chance.amin(dim=1).numpy(),
            "--",
            color=colour,
            linewidth=0.8,
            label=f"lowest of {ROTATIONS:,}",
        )
    ax.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
    ax.annotate(
        "each feature on a neuron of its own", (x.min(), 1), xytext=(0, 3), ha="right", **NOTE
    )
    over_density(ax, result.density).set(ylim=(0.8, result.W_hidden.shape[1] + 1.4))
    ax.set(ylabel="hidden dimensions that\na feature is spread over")
    ax.legend(ncols=2, loc="upper center")
