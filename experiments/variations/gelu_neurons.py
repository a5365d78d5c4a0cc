"""Do features arrange themselves on neurons alike if the neurons have GELU (ours)?

The ReLU hidden model of the paper's Section 7, n=10 features of importance 0.75^i in m=5 neurons,
beside the same model with GELU in the hidden layer. How many neurons are monosemantic and
polysemantic is measured as in Section 7 (`geometry.neuron_pattern`). `figure` draws the losses of
both, and their neurons.

GELU differs from ReLU in two ways: it bends smoothly, and below zero it is a little negative, so
that a neuron tells something of features with a negative weight. A third model, which has GELU cut
off at zero, bends and has nothing below zero. It tells which of the two matters.

Restarts compete with solutions that are continued from another model, or from a neighbour in
density.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Float64
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.variations.competition import compete
from experiments.variations.gelu import GELUHiddenModel
from features import FeatureDistribution
from geometry import neuron_pattern, ordered_neurons
from models import ReLUHiddenModel
from visualization import (
    DEDICATED,
    FAINT,
    POLYTOPE_COLOURS,
    SHARED,
    WEIGHTS,
    WIDTH,
    described,
    over_density,
)


class CutGELUHiddenModel(GELUHiddenModel):
    """x' = ReLU(W^T max(GELU(W x), 0) + b): GELU with nothing below zero."""

    def encode(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch hidden"]:
        """Compute the hidden layer h = max(GELU(W x), 0)."""
        return super().encode(x).relu()


MODELS = {"relu": ReLUHiddenModel, "gelu": GELUHiddenModel, "cut": CutGELUHiddenModel}
OTHER = {"relu": "cut", "gelu": "relu", "cut": "relu"}  # whose weights are continued


@dataclass(frozen=True)
class Settings:
    """The paper's sizes and importances at some densities."""

    features: int = 10
    hidden: int = 5
    decay: float = 0.75  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01)
    restarts: int = 48
    steps: int = 1000
    batch_size: int = 64
    lr: float = 5e-2
    rounds: int = 3  # of training on from the best so far and from the other candidates
    more_steps: int = 600
    more_batch_size: int = 256
    more_lr: float = 1e-2
    rows: int = 2**15  # on which losses are compared

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


QUICK = Settings(
    densities=(0.5, 0.1, 0.01), restarts=4, steps=150, rounds=1, more_steps=50, rows=4096
)
NOTEBOOK = Settings(
    densities=(0.5, 0.2, 0.05, 0.01), restarts=24, steps=600, rounds=1, more_steps=300, rows=2**13
)


class Curve(NamedTuple):
    """The models of one kind; all losses of a density are of the same rows."""

    W: Float[Tensor, "points hidden features"]  # of the best candidate after the last round
    loss: Float[Tensor, "points candidates"]  # after the last round
    earlier_loss: Float[Tensor, " points"]  # of the best before the last round


class Result(NamedTuple):
    """The curves of the three models over density."""

    density: Float64[Tensor, " points"]
    relu: Curve
    gelu: Curve
    cut: Curve


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train the three models at each density, and let their solutions compete.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights and of the rows.
        device: Device that trains.
        progress: Whether to show progress on stderr.

    Returns:
        The best model of each kind at each density.
    """
    density = torch.tensor(settings.densities, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    inputs = FeatureDistribution(density[:, None], importance).to(device)
    how = {"seed": seed, "progress": progress}
    fresh = {"restarts": settings.restarts, "steps": settings.steps, "lr": settings.lr}
    more = {"steps": settings.more_steps, "lr": settings.more_lr}
    competitors = compete(
        MODELS,
        OTHER,
        inputs,
        settings,
        fresh=fresh | {"batch_size": settings.batch_size} | how,
        more=more | {"batch_size": settings.more_batch_size} | how,
    )
    return Result(density, **{kind: _curve(each) for kind, each in competitors.items()})


def _curve(competitor):
    """Return the curve of a kind."""
    W = competitor.model.W.detach().cpu()
    return Curve(W, competitor.losses[-1], competitor.earlier_loss)


# Measures


def relative_loss(result, kind) -> Float[Tensor, " points"]:
    """Return the lowest loss of a kind at each density, relative to that of the hidden ReLU.

    Args:
        result: The Result.
        kind: "gelu" or "cut".
    """
    return getattr(result, kind).loss.amin(dim=1) / result.relu.loss.amin(dim=1)


def last_gain(result, kind) -> Float[Tensor, " points"]:
    """Return by which share the last round lowered the lowest loss of a kind."""
    curve = getattr(result, kind)
    return 1 - curve.loss.amin(dim=1) / curve.earlier_loss


# The figure

STYLES = {  # kind -> label, colour, line and marker
    "cut": ("GELU cut off at zero", POLYTOPE_COLOURS["pentagon"], "x--"),
    "relu": ("ReLU", DEDICATED, "o-"),
    "gelu": ("GELU", SHARED, "s-"),
}


def figure(result) -> Figure:
    """Draw the losses over density, the polysemantic neurons, and W at the sparsest density.

    Args:
        result: The Result.

    Returns:
        The figure.
    """
    drawing = plt.figure(figsize=(WIDTH, 4), layout="constrained")
    left, right = drawing.subfigures(1, 2, width_ratios=(2, 1))
    loss, neurons = left.subplots(1, 2)
    for kind, (label, colour, line) in STYLES.items():
        style = {"color": colour, "label": label}
        x = result.density.numpy()
        loss.plot(x, relative_loss(result, kind).numpy(), line, **style)
        pattern = neuron_pattern(getattr(result, kind).W)
        neurons.plot(x, pattern.polysemantic.numpy(), line, **style)
    loss.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
    hidden = result.relu.W.shape[1]
    loss.set(ylabel="loss, relative to the hidden ReLU's", title="loss", ylim=(0, None))
    neurons.set(ylabel=f"polysemantic neurons, of {hidden}", title="neurons")
    for ax in (loss, neurons):
        over_density(ax, result.density)
    handles, labels = loss.get_legend_handles_labels()
    left.legend(handles, labels, loc="outside lower center", ncols=3)
    _draw_weights(result, right)
    drawing.suptitle("Sparse features use the little that a hidden GELU passes below zero")
    return described(
        drawing,
        "Curves over density of the losses and of the polysemantic neurons of models with ReLU, "
        "GELU and GELU cut off at zero in the hidden layer, beside their weights: at the sparsest "
        f"density the loss is {relative_loss(result, 'gelu')[-1]:.2f} of the ReLU's with GELU and "
        f"{relative_loss(result, 'cut')[-1]:.2f} of it with GELU cut off at zero.",
    )


def _draw_weights(result, subfigure):
    """Draw W of the models with ReLU and GELU at the sparsest density as heat maps."""
    axes = subfigure.subplots(2, 1, sharex=True)
    for ax, kind in zip(axes, ("relu", "gelu")):
        W = ordered_neurons(getattr(result, kind).W[-1])
        image = ax.imshow(W.numpy(), cmap=WEIGHTS, vmin=-1.5, vmax=1.5, aspect="auto")
        ax.set_title(f"$W$ with {STYLES[kind][0]}, density {result.density[-1]:g}")
        ax.set(ylabel="neuron", xticks=range(W.shape[1]), yticks=range(len(W)))
    axes[-1].set_xlabel("feature, most important first")
    subfigure.colorbar(image, ax=axes, label="weight (beyond 1.5: as 1.5)", shrink=0.8)
