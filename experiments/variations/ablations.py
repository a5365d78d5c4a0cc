"""What are the bias, the loss on idle features and weight decay for?

The paper's ReLU output model stands beside changes of it, at densities from 1 to 0.003 (ours):

- without a bias;
- with the loss counted where a feature is active, with a ReLU and without one;
- with the weight decay of AdamW, which multiplies all weights in each step.

Every model starts from fresh restarts. It is then trained on in rounds: from its own weights, from
those of the neighbours in density, and at first from the paper's model and a constructed solution.
The linear model is the exception: what it should find is known.

The bias throws interference away: without it, rare features in five dimensions stop at 7/16 of a
dimension each. The loss on idle features makes interference costly: without it, even a linear model
superposes, and its loss on all features is above that of zero outputs where features are sparse.
Weight decay at PyTorch's default for AdamW changes next to nothing. `ablation_theory` derives what
is best where a formula says it.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings, shown
from experiments.variations.ablated_models import (
    LinearOnActiveFeatures,
    OnActiveFeatures,
    Variant,
    WithoutBias,
    active_loss,
    further_starts,
    model_of,
    paper_loss,
    trained_variant,
)
from experiments.variations.ablation_theory import (
    DEMICUBE,
    DEMICUBE_COSINES,
    DEMICUBE_DIMENSIONS,
    DEMICUBE_FEATURES,
    active_dimensions,
    found_dimensions_without_bias,
    least_dimensions_without_bias,
)
from features import FeatureDistribution
from geometry import dimensions_per_feature, represented, unit_directions
from models import ReLUOutputModel
from theory.polytopes import tegum_factors
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    NOTE,
    POLYTOPE_COLOURS,
    SHARED,
    WIDTH,
    described,
    over_density,
    plain_ticks,
)

PAPER, NO_BIAS, ACTIVE, LINEAR = range(4)  # places of the models in a Result; decayed ones follow
PACKED = 4  # features a dimension in the descents without a bias
VALUE_SQUARED = 1 / 3  # mean square of an active feature


@dataclass(frozen=True)
class Settings:
    """Twenty features in five dimensions, all of importance 1."""

    features: int = 20  # n
    hidden: int = 5  # m
    densities: tuple[float, ...] = (1.0, 0.5, 0.25, 0.1, 0.05, 0.025, 0.01, 0.003)
    weight_decays: tuple[float, ...] = (0.01, 0.1, 1.0)
    restarts: int = 2
    steps: int = 2000
    lr: float = 2e-2
    batch_size: int = 256
    rounds: int = 2  # of training on, after which one more checks what is left to find
    continued_steps: int = 1500
    continued_lr: float = 1e-2
    packing_dimensions: tuple[int, ...] = (2, 3, 4, 5, 6)  # m, with four features a dimension
    packing_restarts: int = 32

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if min(self.weight_decays) <= 0:
            raise ValueError(
                f"weight_decays: expected numbers above 0, got {shown(self.weight_decays)}"
            )
        if self.features < 2 * self.hidden:
            raise ValueError(
                f"features: expected at least two a hidden dimension, got {self.features} for "
                f"hidden={self.hidden}"
            )


QUICK = Settings(
    features=10,
    hidden=3,
    densities=(0.5, 0.05),
    weight_decays=(1.0,),
    restarts=1,
    steps=60,
    batch_size=64,
    rounds=1,
    continued_steps=20,
    packing_dimensions=(2,),
    packing_restarts=4,
)
NOTEBOOK = Settings(
    densities=(1.0, 0.25, 0.05, 0.01),
    weight_decays=(1.0,),
    restarts=1,
    steps=1000,
    batch_size=128,
    rounds=1,
    continued_steps=400,
)


# What is trained


def variants(settings) -> list[Variant]:
    """Return what is trained, in the order of a Result."""
    classes = (ReLUOutputModel, WithoutBias, OnActiveFeatures, LinearOnActiveFeatures)
    decayed = [Variant(ReLUOutputModel, decay) for decay in settings.weight_decays]
    return [*map(Variant, classes), *decayed]


# The run


class Result(NamedTuple):
    """The best model of each variant and density, with exact losses."""

    density: Float[Tensor, " densities"]
    weight_decay: Float[Tensor, " models"]
    W: Float[Tensor, "models densities hidden features"]
    b: Float[Tensor, "models densities features"]
    loss: Float[Tensor, "models densities"]  # the paper's, on all features
    active_loss: Float[Tensor, "models densities"]  # its part where features are active
    next_loss: Float[Tensor, "models densities"]  # of its own kind, lowest after one more round
    packing_hidden: Int[Tensor, " sizes"]  # hidden dimensions m of the descents without a bias
    packing_dimensions: Float[Tensor, " sizes"]  # lowest D* found, for rare features


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train the paper's model and its variants at each density.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights and of the sampled rows.
        device: Device that trains; exact losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The best models.
    """
    density = torch.tensor(settings.densities, dtype=torch.float64)
    inputs = FeatureDistribution(density[:, None], features=settings.features).to(device)
    kinds = variants(settings)
    trained = []
    for variant in kinds:
        starts = further_starts(variant, settings, trained)
        trained.append(trained_variant(variant, inputs, starts, settings, seed, progress))
    models = [model_of(variant, *found.best[:2]) for variant, found in zip(kinds, trained)]
    return Result(
        density,
        torch.tensor([variant.weight_decay for variant in kinds]),
        torch.stack([found.best.W for found in trained]),
        torch.stack([found.best.b for found in trained]),
        torch.stack([paper_loss(model, density) for model in models]),
        torch.stack([active_loss(model, density) for model in models]),
        torch.stack([found.next_loss for found in trained]),
        torch.tensor(settings.packing_dimensions),
        torch.tensor(
            [
                found_dimensions_without_bias(
                    hidden, PACKED * hidden, settings.packing_restarts, seed
                )
                for hidden in settings.packing_dimensions
            ],
            dtype=torch.float64,
        ),
    )


# Measures


def trained_loss(result) -> Float[Tensor, "models densities"]:
    """Return the losses that the models are trained for."""
    own = result.loss.clone()
    own[[ACTIVE, LINEAR]] = result.active_loss[[ACTIVE, LINEAR]]
    return own


def dimensions(result) -> Float[Tensor, "models densities"]:
    """Return D* = m / ||W||_F^2."""
    return dimensions_per_feature(result.W.flatten(0, 1)).view(result.loss.shape)


def over_silence(result) -> Float[Tensor, "models densities"]:
    """Return the paper's loss, over that of a model whose outputs are all zero."""
    return result.loss / (VALUE_SQUARED * result.W.shape[3] * result.density)


def over_paper(result) -> Float[Tensor, "models densities"]:
    """Return the paper's loss, over that of the paper's model."""
    return result.loss / result.loss[PAPER]


def noise(result) -> Float[Tensor, "models densities"]:
    """Return the share of the paper's loss that lies on idle features."""
    return 1 - result.active_loss / result.loss


def count_of_pairs(W: Float[Tensor, "densities hidden features"]) -> list[int]:
    """Count the antipodal pairs of the model of each density."""
    return [sum(factor.polytope == "digon" for factor in tegum_factors(weights)) for weights in W]


def off_lines(result) -> Float[Tensor, " densities"]:
    """Return the largest distance of a cosine from -1, 0 and 1, for the loss on active features."""
    directions = unit_directions(result.W[ACTIVE])
    cosines = (directions.mT @ directions).abs()
    return torch.minimum(cosines, (1 - cosines).abs()).amax(dim=(1, 2))


def off_demicube(result) -> float:
    """Return how far the cosines without a bias are from the demicube's, at the lowest density.

    It is 1 if the represented features are not as many as the demicube's vertices.
    """
    W = result.W[NO_BIAS, -1]
    directions = unit_directions(W[None, :, represented(W[None])[0]])[0]
    if directions.shape[1] != DEMICUBE_FEATURES:
        return 1.0
    cosines = (directions.T @ directions).sort(dim=1).values
    return (cosines - torch.tensor(DEMICUBE_COSINES)).abs().max().item()


# Figure


def figure(result) -> Figure:
    """Draw what each part is for: D*, losses, packings without a bias, and weight decay."""
    drawn, axes = plt.subplots(2, 2, figsize=(WIDTH, 7.2), layout="constrained")
    styles = _styles(result)
    _draw_dimensions(result, styles, axes[0, 0])
    _draw_losses(result, styles, axes[0, 1])
    _draw_packings(result, styles[NO_BIAS]["color"], axes[1, 0])
    _draw_decay(result, styles, axes[1, 1])
    drawn.suptitle("The bias throws interference away; the loss on idle features asks for it")
    return described(
        drawn,
        "Four panels. Dimensions per feature fall with density, without a bias only to 7/16, and "
        "with the loss on active features alone along a formula. The loss on all features is "
        "lowest for the paper's model, and above that of zero outputs for sparse models that were "
        "trained on active features alone. Without a bias the best arrangements of rare features "
        "lie just above a proven bound. Weight decay of 1 raises the loss where features are "
        "sparse.",
    )


LABELS = {  # of the models without weight decay -> colour
    "the paper's model": INK,
    "no bias": DEDICATED,
    "loss on active features alone": SHARED,
    "the same, linear": POLYTOPE_COLOURS["pentagon"],
}


def _styles(result):
    """Return label and style of each model's curve."""
    plain = [{"label": label, "color": colour, "marker": "o"} for label, colour in LABELS.items()]
    decays = result.weight_decay[len(plain) :].tolist()
    purple = POLYTOPE_COLOURS["tetrahedron"]
    decayed = [
        {"label": f"weight decay {decay:g}", "color": purple, "linestyle": line, "marker": "o"}
        for decay, line in zip(decays, itertools.cycle((":", "--", "-")))
    ]
    return plain + decayed


def _draw_dimensions(result, styles, ax):
    """Draw D* of the models without weight decay, with what formulas say."""
    for values, style in zip(dimensions(result), styles[: len(LABELS)]):
        ax.plot(result.density, values, **style)
    hidden, features = result.W.shape[2:]
    fine = torch.logspace(*result.density[[-1, 0]].log10().tolist(), 200, dtype=torch.float64)
    formula = {"color": styles[LINEAR]["color"], "linestyle": "--", "linewidth": 1}
    ax.plot(fine, active_dimensions(features, hidden, fine), label="formula, linear", **formula)
    if hidden == DEMICUBE_DIMENSIONS:
        ax.axhline(DEMICUBE, color=FAINT, linewidth=1, zorder=0)
        ax.annotate("demicube, 7/16", (result.density[-1], DEMICUBE), (-2, 9), ha="right", **NOTE)
    ax.set(title=f"dimensions per feature, $n={features}$, $m={hidden}$", ylim=(0, 1.1))
    ax.set_ylabel(r"$D^* = m/\|W\|_F^2$")
    ax.legend(loc="upper right")
    over_density(ax, result.density)


def _draw_losses(result, styles, ax):
    """Draw the loss on all features of the models without weight decay."""
    for values, style in zip(over_silence(result), styles[: len(LABELS)]):
        ax.plot(result.density, values, **style)
    ax.axhline(1, color=FAINT, linewidth=1, zorder=0)
    ax.annotate("all outputs zero", (result.density[-1], 1), (-2, -13), ha="right", **NOTE)
    ax.set(yscale="log", title="loss on all features")
    ax.set_ylabel("loss over that of zero outputs (log scale)")
    plain_ticks(ax.yaxis, [0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    over_density(ax, result.density)


def _draw_packings(result, colour, ax):
    """Draw the lowest D* without a bias that is found for rare features, and its bound."""
    sizes = result.packing_hidden
    bound = [least_dimensions_without_bias(hidden) for hidden in sizes.tolist()]
    ax.axhline(0.5, color=FAINT, linewidth=1, zorder=0, label="antipodal pairs")
    found = {"color": colour, "linestyle": "none", "marker": "o"}
    ax.plot(sizes, result.packing_dimensions, label="lowest found, no bias", **found)
    ax.plot(sizes, bound, color=INK, linestyle="--", linewidth=1, label="proven bound")
    ax.set(title="rare features without a bias", xticks=sizes, ylim=(0.4, 0.55))
    ax.set(xlabel="hidden dimensions $m$", ylabel="dimensions per feature $D^*$")
    ax.legend(loc="upper right")


def _draw_decay(result, styles, ax):
    """Draw the loss with weight decay over that of the paper's model."""
    ax.axhline(1, color=INK, linewidth=1, label="the paper's model")
    for values, style in zip(over_paper(result)[len(LABELS) :], styles[len(LABELS) :]):
        ax.plot(result.density, values, **style)
    ax.set(title="weight decay (AdamW)", ylabel="loss over that of the paper's model")
    ax.legend(loc="upper left", handlelength=4)
    over_density(ax, result.density)
