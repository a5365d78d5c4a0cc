"""Why do five sparse features in a plane form a pentagon?

Three arrangements of features whose importance falls compete: two features with a dimension each,
two antipodal pairs, and a pentagon. Their losses are exact, so that nothing is trained. The paper's
introduction shows the three as trained models (introduction.py); the reason follows from what a
pentagon gives back, which `response_figure` draws.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section2main.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Float64
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from losses import expected_loss
from theory.packing import logarithmic, polytope_optimum
from theory.polytopes import POLYTOPES
from visualization import (
    DEDICATED,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    WIDTH,
    described,
    over_density,
    plain_ticks,
)

FEATURES = 5
ARRANGEMENTS = ("two features alone", "two antipodal pairs", "a pentagon")
COLOURS = (DEDICATED, SHARED, POLYTOPE_COLOURS["pentagon"])
TARGET = {"markersize": 22, "markeredgewidth": 1.5}
SHOWN_DENSITIES = (1, 0.5, 0.2, 0.1, 0.05, 0.02)


@dataclass(frozen=True)
class Settings:
    """The importance of the introduction's five features, and the densities to compare at."""

    decay: float = 0.9  # importance I_i = decay^i
    densities: tuple[float, ...] = logarithmic(0.02, 1, 60)

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


QUICK = Settings(densities=(0.05, 0.3, 1.0))
SEEDED = False


class Result(NamedTuple):
    """Losses of the arrangements, as shares of the loss of a model that stores nothing."""

    density: Float64[Tensor, " densities"]
    loss: Float64[Tensor, "arrangements densities"]  # in the order of ARRANGEMENTS


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Compute the exact loss of each arrangement at each density."""
    density = torch.tensor(settings.densities, dtype=torch.float64)
    importance = settings.decay ** torch.arange(FEATURES, dtype=torch.float64)
    distribution = FeatureDistribution(density[:, None], importance)
    nothing = torch.zeros(len(density), 2, FEATURES, dtype=torch.float64)
    stored = [_alone(density), _pairs(density), _pentagon(density)]
    losses = [expected_loss(W, b, distribution) for W, b in stored]
    worst = expected_loss(nothing, _mean(density).expand(-1, FEATURES), distribution)
    return Result(density, torch.stack(losses) / worst)


def _mean(density):
    """Return the mean of a feature, which is the best output for one that is not stored."""
    return density[:, None] / 2


def _alone(density):
    """Store the two most important features at right angles."""
    return _placed(torch.eye(2, dtype=torch.float64), density)


def _pairs(density):
    """Store the four most important features in two antipodal pairs."""
    pair = POLYTOPES["digon"].vertices
    return _placed(torch.block_diag(pair, pair), density)


def _placed(columns, density):
    """Return W and b that store some features without a bias, and of the others the mean."""
    W = torch.zeros(len(density), 2, FEATURES, dtype=torch.float64)
    W[:, :, : columns.shape[1]] = columns
    b = _mean(density).repeat(1, FEATURES)
    b[:, : columns.shape[1]] = 0
    return W, b


def _pentagon(density):
    """Store all features in a regular pentagon of the best size, with the best bias."""
    best = polytope_optimum("pentagon", density)
    W = best.scale[:, None, None] * POLYTOPES["pentagon"].vertices
    return W, best.bias[:, None].expand(-1, FEATURES)


def changes(result) -> Float64[Tensor, " changes"]:
    """Return the densities at which another arrangement has the lowest loss, the sparsest first.

    Each is the middle of the two densities between which the best arrangement changes.
    """
    middle = (result.density[1:] + result.density[:-1]) / 2
    return middle[result.loss.argmin(dim=0).diff() != 0]


# Figures


def figure(result) -> Figure:
    """Draw the losses of the arrangements over density."""
    drawn, ax = plt.subplots(figsize=(WIDTH, WIDTH / 2.6), layout="constrained")
    for name, losses, colour in zip(ARRANGEMENTS, result.loss, COLOURS):
        ax.plot(result.density.numpy(), losses.numpy(), color=colour, linewidth=2.5, label=name)
    over_density(ax, result.density, SHOWN_DENSITIES)
    ax.set(ylabel="loss, relative to\nstoring nothing", ylim=(0, 1.05))
    ax.set_title("The sparser the features, the more of them are worth storing")
    ax.legend()
    return described(
        drawn,
        "Lines of the exact loss over density for two features alone, two antipodal pairs and a "
        "pentagon: the lowest one changes from the first to the second to the third as features "
        "get sparser.",
    )


def response_figure(
    W: Float[Tensor, "2 features"],
    b: Float[Tensor, " features"],
    inputs: dict[str, Float[Tensor, " features"]],
) -> Figure:
    """Draw what a ReLU output model makes of an input in three steps.

    Args:
        W: Weights of one model.
        b: Its biases.
        inputs: Inputs by name, one for each row of panels.
    """
    steps = ("$W^TWx$", "$W^TWx+b$", r"$\mathrm{ReLU}(W^TWx+b)$")
    size = WIDTH, WIDTH * 0.22 * len(inputs)
    drawn, axes = plt.subplots(
        len(inputs), 3, figsize=size, layout="constrained", sharey=True, squeeze=False
    )
    for row, (name, x) in zip(axes, inputs.items()):
        interference = W.T @ W @ x
        values = (interference, interference + b, torch.relu(interference + b))
        for ax, value in zip(row, values):
            _draw_response(value, x, ax)
        row[0].set_ylabel(name)
    for ax, step in zip(axes[0], steps):
        ax.set_title(step)
    for ax in axes[-1]:
        ax.set_xlabel("output of feature")
    drawn.legend(handles=_response_key(axes[0, 0]), loc="outside lower center", ncols=3)
    return described(
        drawn,
        f"Bars of the outputs for the inputs {', '.join(inputs)}: the product with the weights, "
        "then with the bias, then after the ReLU, which removes all that is below zero.",
    )


def _draw_response(value, x, ax):
    """Draw one bar for each output, in blue where its feature is present, beside its true value."""
    colours = [DEDICATED if present else SHARED for present in (x > 0).tolist()]
    ax.bar(range(len(value)), value.tolist(), color=colours, width=0.6)
    ax.plot(range(len(x)), x.tolist(), "_", color=INK, label="what it should be", **TARGET)
    ax.axhline(0, color=INK, linewidth=0.8)
    plain_ticks(ax.xaxis, range(len(value)))


def _response_key(ax):
    """Return what the legend explains: the colours of bars, and the marks of a panel."""
    bars = {"the feature is there": DEDICATED, "it is not": SHARED}
    patches = [Patch(color=colour, label=label) for label, colour in bars.items()]
    return [*patches, *ax.get_legend_handles_labels()[0]]
