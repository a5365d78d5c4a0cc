"""Does superposition look the same with GELU in place of ReLU (ours)?

The paper's models have ReLU, and many networks have GELU. This file has both toy models with GELU,
and trains the one with GELU at the output beside the paper's ReLU output model, for equally
important features from dense to sparse. `figure` draws what is stored and D* of both over density.

GELU bends smoothly. It differs most from ReLU at 0.75 on either side of zero, and feature values
are at most 1. So the output of a sparse feature, whose bias is near zero, does not rest while small
interference comes and goes: GELU passes half of it on. A sharper GELU,
gelu(8 y) / 8, which is GELU for features of values up to 8, tells whether this is the cause. The
antipodal pairs of moderate densities give way to about three features in each dimension, which are
less than opposite, and which store about as much as evenly spread pairs would.

Restarts compete with solutions that were constructed or continued: the weights of the other model,
those of the neighbours in density, one antipodal pair in each hidden dimension, and antipodal pairs
that are spread evenly.
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
from torch.nn.functional import gelu

from checks import check_settings
from experiments.variations.competition import compete, rows_loss
from experiments.variations.gelu_algebra import (
    best_even_pairs,
    even_pairs,
)
from experiments.variations.pair_arrangements import antipodal_pairs
from features import FeatureDistribution
from geometry import dimensions_per_feature, represented, unit_directions
from models import ReLUHiddenModel, ReLUOutputModel
from theory.descents import ignored_loss
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    WIDTH,
    described,
    over_density,
)

SHARPNESS = 8.0  # of the sharper GELU
ANTIPODE = -0.9  # cosine up to which another represented feature is an antipode


# The models


class GELUOutputModel(ReLUOutputModel):
    """x' = GELU(W^T W x + b): the ReLU output model with GELU at the output."""

    sharpness = 1.0  # k of gelu(k y) / k, which is a ReLU for an infinite k

    def decode(
        self, h: Float[Tensor, "instances batch hidden"]
    ) -> Float[Tensor, "instances batch features"]:
        """Compute the output from the hidden layer: GELU(W^T h + b)."""
        self._check_rows("h", h, self.hidden)
        output = gelu(self.sharpness * (h @ self.decoder + self.b[:, None])) / self.sharpness
        return self._finite("output", output)


class SharpGELUOutputModel(GELUOutputModel):
    """x' = gelu(8 y) / 8 with y = W^T W x + b, whose bend is an eighth as wide."""

    sharpness = SHARPNESS


class GELUHiddenModel(ReLUHiddenModel):
    """x' = ReLU(W^T GELU(W x) + b): the ReLU hidden model with GELU in the hidden layer."""

    def encode(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch hidden"]:
        """Compute the hidden layer h = GELU(W x)."""
        self._check_rows("x", x, self.features)
        return gelu(x @ self.encoder.mT)


MODELS = {"relu": ReLUOutputModel, "gelu": GELUOutputModel, "sharp": SharpGELUOutputModel}
OTHER = {"relu": "sharp", "gelu": "relu", "sharp": "relu"}  # whose weights are continued


# The experiment


@dataclass(frozen=True)
class Settings:
    """Ten equally important features for each hidden dimension, from dense to sparse."""

    features: int = 80
    hidden: int = 8  # even
    densities: tuple[float, ...] = (0.9, 0.7, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
    restarts: int = 2
    steps: int = 1000
    batch_size: int = 256
    lr: float = 1e-2
    rounds: int = 3  # of training on from the best so far and from the other candidates
    more_steps: int = 300
    more_lr: float = 5e-3
    rows: int = 2**15  # on which losses are compared

    def __post_init__(self):
        """Refuse values out of range; evenly spread pairs are made for an even m and many n."""
        check_settings(self)
        if self.hidden % 2:
            raise ValueError(f"hidden: expected an even number, got {self.hidden}")
        if self.features < 3 * self.hidden:
            raise ValueError(
                f"features: expected at least 3 for each of {self.hidden} hidden dimensions, "
                f"got {self.features}"
            )


QUICK = Settings(
    features=24, hidden=4, densities=(0.7, 0.2, 0.02), steps=200, more_steps=50, rounds=1, rows=4096
)
NOTEBOOK = Settings(
    features=60,
    hidden=6,
    densities=(0.7, 0.35, 0.1, 0.03, 0.01),
    steps=600,
    restarts=1,
    rounds=1,
    rows=2**13,
)


class Curve(NamedTuple):
    """The models of one kind; all losses of a density are of the same rows."""

    W: Float[Tensor, "points hidden features"]  # of the best candidate after the last round
    b: Float[Tensor, "points features"]
    loss: Float[Tensor, "points candidates"]  # after the last round
    earlier_loss: Float[Tensor, " points"]  # of the best before the last round


class Result(NamedTuple):
    """The curves of the three models over density."""

    density: Float64[Tensor, " points"]
    nothing_loss: Float[Tensor, " points"]  # of a model that ignores all features, on these rows
    relu: Curve
    gelu: Curve
    sharp: Curve


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
    inputs = FeatureDistribution(density[:, None], features=settings.features).to(device)
    how = {"batch_size": settings.batch_size, "seed": seed, "progress": progress}
    sizes = settings.features, settings.hidden
    competitors = compete(
        MODELS,
        OTHER,
        inputs,
        settings,
        fresh={"restarts": settings.restarts, "steps": settings.steps, "lr": settings.lr} | how,
        more={"steps": settings.more_steps, "lr": settings.more_lr} | how,
        constructed=(antipodal_pairs(*sizes), even_pairs(*sizes)),
    )
    nothing = _nothing(competitors["relu"].model, inputs)
    curves = {kind: _curve(competitor) for kind, competitor in competitors.items()}
    return Result(density, rows_loss(nothing, inputs, settings.rows, seed), **curves)


def _nothing(like, inputs):
    """Make ReLU output models that ignore all features: they output their means."""
    W = torch.zeros_like(like.W.detach())
    return ReLUOutputModel.from_weights(W, (inputs.density / 2).to(W))


def _curve(competitor):
    """Return the curve of a kind."""
    return Curve(
        W=competitor.model.W.detach().cpu(),
        b=competitor.model.b.detach().cpu(),
        loss=competitor.losses[-1],
        earlier_loss=competitor.earlier_loss,
    )


# Measures


def benefit(result, loss: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return features' worth of benefit for each hidden dimension.

    It is (loss of ignoring all features - loss) / (loss of ignoring one), divided by m. The first
    two are of the same rows, so that most of the noise cancels.

    Args:
        result: The Result.
        loss: Losses of models; the first axis is that of the densities.
    """
    shape = (-1,) + (1,) * (loss.dim() - 1)
    unit = result.relu.W.shape[1] * ignored_loss(1, result.density)
    return (result.nothing_loss.view(shape) - loss) / unit.view(shape)


def stored(result, kind) -> Float[Tensor, " points"]:
    """Return the benefit of the best model of a kind at each density.

    Args:
        result: The Result.
        kind: "relu", "gelu" or "sharp".
    """
    return benefit(result, getattr(result, kind).loss.amin(dim=1))


def last_gain(result, kind) -> Float[Tensor, " points"]:
    """Return what the last round added to the benefit of the best model of a kind."""
    curve = getattr(result, kind)
    return stored(result, kind) - benefit(result, curve.earlier_loss)


def with_antipode(W: Float[Tensor, "instances hidden features"]) -> Float[Tensor, " instances"]:
    """Return the share of the represented features of each instance that have an antipode.

    An antipode is another represented feature at a cosine of at most -0.9. The share is 0 where no
    feature is represented.
    """
    shown = represented(W)
    directions = unit_directions(W)
    opposite = (directions.mT @ directions <= ANTIPODE) & shown[:, :, None] & shown[:, None]
    return opposite.any(dim=2).sum(dim=1) / shown.sum(dim=1).clamp(min=1)


# The figure

STYLES = {  # kind -> label, colour, line and marker
    "relu": ("ReLU", DEDICATED, "o-"),
    "sharp": ("sharper GELU, gelu(8y)/8", POLYTOPE_COLOURS["pentagon"], "x--"),
    "gelu": ("GELU", SHARED, "s-"),
}


def figure(result) -> Figure:
    """Draw what the three models store, their D*, and how many features have an antipode.

    Args:
        result: The Result.

    Returns:
        The figure.
    """
    drawing, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.9), layout="constrained")
    for kind, (label, colour, line) in STYLES.items():
        W = getattr(result, kind).W
        for ax, values in zip(
            axes, (stored(result, kind), dimensions_per_feature(W), with_antipode(W))
        ):
            ax.plot(result.density.numpy(), values.numpy(), line, color=colour, label=label)
    algebra = best_even_pairs().benefit
    label = f"GELU in the sparse limit, by algebra: {algebra:.2f}"
    axes[0].axhline(algebra, color=INK, linewidth=0.8, linestyle=":", label=label)
    for level in (1, 0.5):
        axes[1].axhline(level, color=FAINT, linewidth=0.8, zorder=0)
    axes[0].set(ylabel="features' worth per hidden dimension", title="stored")
    axes[1].set(ylabel=r"$D^* = m\,/\,\|W\|_F^2$", title="dimensions per feature", ylim=(0, 1.3))
    axes[2].set(ylabel="share of represented features", title="with an antipode", ylim=(0, 1.05))
    for ax in axes:
        over_density(ax, result.density, ticks=(0.5, 0.2, 0.1, 0.05, 0.02, 0.01))
    drawing.suptitle(
        "With GELU at the output a dimension stores about two features' worth, however sparse"
    )
    handles, labels = axes[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=4)
    return described(
        drawing,
        "Three curves over density, of ReLU, GELU and a sharper GELU at the output: at the "
        f"sparsest density a hidden dimension stores {stored(result, 'relu')[-1]:.1f} features' "
        f"worth with ReLU, {stored(result, 'gelu')[-1]:.1f} with GELU and "
        f"{stored(result, 'sharp')[-1]:.1f} with the sharper GELU; beside them D* and the share of "
        "the represented features that have an antipode.",
    )
