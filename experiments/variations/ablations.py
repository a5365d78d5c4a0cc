"""What are the bias, the loss on idle features and weight decay for? (ours)

The paper's ReLU output model stands beside four changes of it, at densities from 1 to 0.003:

- without a bias;
- with the loss counted where a feature is active, with a ReLU and without one;
- with the weight decay of AdamW, which multiplies all weights in each step.

Every model starts from fresh restarts. It is then trained on from its own weights, from those of
the neighbours in density, from the paper's model at this density, and from a constructed solution.
The linear model is the exception: what it should find is known.
`ablation_theory` derives what is best where a formula says it. `ablations_claim` makes the claim.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings, shown
from experiments.variations.ablation_theory import (
    DEMICUBE,
    active_dimensions,
    active_optimum,
    linear_active_loss,
    lines,
    sparse_arrangement,
)
from features import FeatureDistribution
from geometry import dimensions_per_feature
from losses import expected_loss, many_features_loss
from models import LinearModel, ReLUOutputModel
from theory.descents import Minima
from training import train, train_best
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

TOLERANCE = 1e-7  # relative error of the exact losses
ROUND_STREAM = 0x06060606  # combined with the seed, so that each round has rows of its own
PAPER, NO_BIAS, ACTIVE, LINEAR = range(4)  # places of the models in a Result; decayed ones follow
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
    continued_steps: int = 1500
    continued_lr: float = 1e-2

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
    densities=(1.0, 0.1, 0.01),
    weight_decays=(1.0,),
    restarts=1,
    steps=150,
    batch_size=64,
    continued_steps=50,
)
NOTEBOOK = Settings(
    densities=(1.0, 0.25, 0.05, 0.01),
    weight_decays=(1.0,),
    restarts=1,
    steps=1000,
    batch_size=128,
    continued_steps=400,
)


# The models


class WithoutBias(ReLUOutputModel):
    """x' = ReLU(W^T W x): the bias stays at the zero at which it starts."""

    def __init__(self, *sizes, **settings):
        """Draw the initial weights."""
        super().__init__(*sizes, **settings)
        self.b.requires_grad_(False)


class _OnActiveFeatures:
    """Counts the loss of a feature in the rows in which the feature is active."""

    def loss(self, x, importance):
        """Compute sum_i importance_i (x_i > 0) (x_i - x'_i)^2, averaged over the batch."""
        squared_error = (x > 0) * (x - self(x)).square()
        weights = self._as_importance(importance, x)
        return self._finite("loss", (squared_error.sum(dim=1) * weights).sum(dim=1) / x.shape[1])


class OnActiveFeatures(_OnActiveFeatures, ReLUOutputModel):
    """The ReLU output model with the loss on active features alone."""


class LinearOnActiveFeatures(_OnActiveFeatures, LinearModel):
    """The linear model with the loss on active features alone."""


class Variant(NamedTuple):
    """A model of the paper's, or a change of it."""

    model_class: type
    weight_decay: float = 0.0


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
    trained = []
    for variant in variants(settings):
        starts = _starts(variant, settings, trained)
        trained.append(_trained(variant, inputs, starts, settings, seed, progress))
    W, b, _ = map(torch.stack, zip(*(found.best for found in trained)))
    loss = torch.stack([_loss(k == LINEAR, W[k], b[k], density) for k in range(len(W))])
    active_loss = torch.stack(
        [_active_loss(k == LINEAR, W[k], b[k], density) for k in range(len(W))]
    )
    decay = torch.tensor([variant.weight_decay for variant in variants(settings)])
    next_loss = torch.stack([found.next_loss for found in trained])
    return Result(density, decay, W, b, loss, active_loss, next_loss)


class _Trained(NamedTuple):
    """The best models of one variant, and the losses of its own kind after one more round."""

    best: Minima
    next_loss: Tensor  # (densities,)


def _trained(variant, inputs, starts, settings, seed, progress):
    """Train fresh restarts, and then on from these and from given starts, at each density."""
    model, _ = train_best(
        variant.model_class,
        inputs,
        settings.hidden,
        restarts=settings.restarts,
        steps=settings.steps,
        lr=settings.lr,
        batch_size=settings.batch_size,
        weight_decay=variant.weight_decay,
        seed=seed,
        progress=progress,
    )
    fresh = _minima(model, inputs)
    best = _continued(variant, fresh, starts, inputs, settings, seed ^ ROUND_STREAM, progress)
    after = _continued(variant, best, [], inputs, settings, seed ^ (ROUND_STREAM + 1), progress)
    return _Trained(best, after.loss)


def _continued(variant, best, starts, inputs, settings, seed, progress):
    """Train on from the best models, from their neighbours' and from further starts.

    Args:
        variant: What is trained.
        best: Minima, one for each density.
        starts: Further Minima of the same densities.
        inputs: FeatureDistribution of the densities.
        settings: Settings of the run.
        seed: Seed of the sampled rows.
        progress: Whether to show progress on stderr.

    Returns:
        The Minima of the lowest loss.
    """
    places = torch.arange(len(best.loss))
    before = (places - 1).clamp(min=0)
    after = (places + 1).clamp(max=len(places) - 1)
    from_neighbours = [Minima(*(values[k] for values in best)) for k in (places, before, after)]
    W, b, _ = map(torch.cat, zip(*from_neighbours, *starts))
    target = places.repeat(len(W) // len(places))
    model = variant.model_class.from_weights(W, torch.zeros_like(b) if _no_bias(variant) else b)
    model = model.to(inputs.density.device)
    train(
        model,
        inputs.select(target),
        steps=settings.continued_steps,
        lr=settings.continued_lr,
        batch_size=settings.batch_size,
        weight_decay=variant.weight_decay,
        seed=seed,
        progress=progress,
    )
    rivals = [best.loss, *_minima(model, inputs.select(target)).loss.chunk(len(W) // len(places))]
    W = torch.cat((best.W, model.W.detach().cpu())).unflatten(0, (-1, len(places)))
    b = torch.cat((best.b, model.b.detach().cpu())).unflatten(0, (-1, len(places)))
    loss, chosen = torch.stack(rivals).min(dim=0)
    return Minima(W[chosen, places], b[chosen, places], loss)


def _no_bias(variant):
    return variant.model_class is WithoutBias


def _minima(model, inputs):
    """Return the weights of a model on the CPU, with the exact losses that it is trained for."""
    W = model.W.detach().cpu()
    b = model.b.detach().cpu()
    loss_of = _active_loss if isinstance(model, _OnActiveFeatures) else _loss
    is_linear = not isinstance(model, ReLUOutputModel)
    return Minima(W, b, loss_of(is_linear, W, b, inputs.density[:, 0].cpu()))


def _starts(variant, settings, trained):
    """Return where a variant is trained on from beside its own models, each with any loss.

    The linear model has its own models alone, as it is compared with its formula.

    Args:
        variant: The variant.
        settings: Settings of the run.
        trained: What was trained before, the paper's model first.
    """
    if variant.model_class is LinearOnActiveFeatures:
        return []
    sizes = settings.features, settings.hidden
    nothing = torch.zeros(settings.features, dtype=torch.float64)
    made = [[(sparse_arrangement(*sizes), nothing)] * len(settings.densities)]
    if variant.model_class is OnActiveFeatures:
        made = [
            [active_optimum(*sizes, density) for density in settings.densities],
            [(lines(*sizes), nothing)] * len(settings.densities),
        ]
    constructed = [_as_minima(*zip(*solutions)) for solutions in made]
    return [*constructed, *(found.best for found in trained[:1])]


def _as_minima(W, b):
    """Return weights and biases at each density as Minima, with losses that nobody reads."""
    return Minima(torch.stack(W).float(), torch.stack(b).float(), torch.zeros(len(W)))


# Exact losses


def _loss(is_linear, W, b, density):
    """Return the loss on all features (instances,)."""
    inputs = FeatureDistribution(density[:, None], features=W.shape[2])
    if is_linear:
        return expected_loss(W, b, inputs, output="linear")
    return many_features_loss(W, b, inputs, tolerance=TOLERANCE)


def _active_loss(is_linear, W, b, density):
    """Return the part of the loss where features are active (instances,).

    Where feature i is active, its error is what a loss of feature i alone says for inputs in which
    feature i is always active.
    """
    if is_linear:
        return linear_active_loss(W, b, density)
    features = W.shape[2]
    always = torch.eye(features, dtype=torch.float64).repeat(len(W), 1)
    inputs = density.double().repeat_interleave(features)[:, None].expand_as(always)
    alone = FeatureDistribution(torch.where(always > 0, 1, inputs), always)
    W = W.repeat_interleave(features, dim=0)
    b = b.repeat_interleave(features, dim=0)
    errors = many_features_loss(W, b, alone, tolerance=TOLERANCE)
    return density * errors.view(-1, features).sum(dim=1)


# Measures


def own_loss(result) -> Float[Tensor, "models densities"]:
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


# Figure


def figure(result) -> Figure:
    """Draw D* and the loss over density: the paper's model, its variants, and weight decay."""
    drawn, axes = plt.subplots(1, 3, figsize=(WIDTH, 4), layout="constrained")
    styles = _styles(result)
    _draw_dimensions(result, styles, axes[0])
    _draw_losses(result, over_silence(result), [PAPER, NO_BIAS, ACTIVE, LINEAR], styles, axes[1])
    axes[1].axhline(1, color=FAINT, linewidth=1, zorder=0)
    axes[1].annotate("all outputs zero", (result.density[-1], 1), (-2, -11), ha="right", **NOTE)
    axes[1].set(title="loss on all features", ylabel="loss, over that of zero outputs")
    decayed = [PAPER, *range(LINEAR + 1, len(styles))]
    _draw_losses(result, over_paper(result), decayed, styles, axes[2])
    axes[2].set(
        title="weight decay", ylabel="loss, over that of the paper's model", yscale="linear"
    )
    handles = [line for line in axes[0].lines if not line.get_label().startswith("_")]
    handles += axes[2].lines[1:]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4)
    drawn.suptitle("The bias throws interference away; the loss on idle features asks for it")
    return described(
        drawn,
        "Three panels over density. Dimensions per feature fall with density, without a bias only "
        "to 7/16, and with the loss on active features alone along the formula. The loss on all "
        "features is lowest for the paper's model and above that of zero outputs for models "
        "trained on active features alone. Weight decay raises the loss where features are sparse.",
    )


def _styles(result):
    """Return label and style of each model's curve."""
    colours = (INK, DEDICATED, SHARED, POLYTOPE_COLOURS["pentagon"])
    labels = (
        "the paper's model",
        "no bias",
        "loss on active features alone",
        "the same, linear",
    )
    styles = [
        {"label": label, "color": colour, "marker": "o"} for label, colour in zip(labels, colours)
    ]
    decays = result.weight_decay[LINEAR + 1 :].tolist()
    greys = torch.linspace(0.35, 1, len(decays)).tolist() if len(decays) > 1 else [1.0]
    purple = POLYTOPE_COLOURS["tetrahedron"]
    return styles + [
        {"label": f"weight decay {decay:g}", "color": purple, "alpha": grey, "marker": "s"}
        for decay, grey in zip(decays, greys)
    ]


def _draw_dimensions(result, styles, ax):
    """Draw D* of the models without weight decay, with what formulas say."""
    values = dimensions(result)
    for k in (PAPER, NO_BIAS, ACTIVE, LINEAR):
        ax.plot(result.density, values[k], **styles[k])
    hidden, features = result.W.shape[2:]
    fine = torch.logspace(*result.density[[-1, 0]].log10().tolist(), 200, dtype=torch.float64)
    formula = active_dimensions(features, hidden, fine)
    colour = styles[LINEAR]["color"]
    ax.plot(fine, formula, color=colour, linestyle="--", linewidth=1, label="formula, linear")
    if hidden == 5:
        ax.axhline(DEMICUBE, color=FAINT, linewidth=1, zorder=0)
        ax.annotate("demicube, 7/16", (result.density[-1], DEMICUBE), (-2, 4), ha="right", **NOTE)
    ax.set(title=f"dimensions per feature, $n={features}$, $m={hidden}$", ylim=(0, 1.1))
    ax.set(ylabel=r"dimensions per feature $D^* = m/\|W\|_F^2$")
    over_density(ax, result.density)


def _draw_losses(result, values, models, styles, ax):
    """Draw losses over density on a log scale."""
    for k in models:
        ax.plot(result.density, values[k], **styles[k])
    ax.set_yscale("log")
    plain_ticks(ax.yaxis, [0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    over_density(ax, result.density)
