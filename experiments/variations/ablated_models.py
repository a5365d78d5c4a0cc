"""The models without a bias and with the loss on active features alone.

Their exact losses, and how they are trained along density.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from experiments.variations.ablation_theory import (
    active_optimum,
    linear_active_loss,
    lines,
    sparse_arrangement,
)
from features import FeatureDistribution
from losses import expected_loss, many_features_loss
from models import LinearModel, ReLUOutputModel
from theory.descents import Minima
from training import train, train_best

TOLERANCE = 1e-7  # relative error of the exact losses
ROUND_STREAM = 0x06060606  # combined with the seed, so that each round has rows of its own


class WithoutBias(ReLUOutputModel):
    """x' = ReLU(W^T W x): the bias stays at the zero at which it starts."""

    def __init__(self, *sizes, **settings):
        """Draw the initial weights."""
        super().__init__(*sizes, **settings)
        self.b.requires_grad_(False)


class ActiveLoss:
    """Counts the loss of a feature in the rows in which the feature is active; a mixin."""

    def loss(self, x, importance):
        """Compute sum_i importance_i (x_i > 0) (x_i - x'_i)^2, averaged over the batch."""
        squared_error = (x > 0) * (x - self(x)).square()
        weights = self._as_importance(importance, x)
        return self._finite("loss", (squared_error.sum(dim=1) * weights).sum(dim=1) / x.shape[1])


class OnActiveFeatures(ActiveLoss, ReLUOutputModel):
    """The ReLU output model with the loss on active features alone."""


class LinearOnActiveFeatures(ActiveLoss, LinearModel):
    """The linear model with the loss on active features alone."""


class Variant(NamedTuple):
    """A model of the paper's, or a change of it."""

    model_class: type
    weight_decay: float = 0.0


# Exact losses, of features of importance 1


def own_loss(model, density: Float[Tensor, " instances"]) -> Float64[Tensor, " instances"]:
    """Compute the exact loss that a model is trained for.

    Args:
        model: A ReLU output model or a linear one, or a model of this file.
        density: Density of all features of each instance.
    """
    return (active_loss if isinstance(model, ActiveLoss) else paper_loss)(model, density)


def paper_loss(model, density: Float[Tensor, " instances"]) -> Float64[Tensor, " instances"]:
    """Compute the exact loss of a model on all features, for the arguments of `own_loss`."""
    W, b, density = _on_cpu(model, density)
    inputs = FeatureDistribution(density[:, None], features=model.features)
    if not isinstance(model, ReLUOutputModel):
        return expected_loss(W, b, inputs, output="linear")
    return many_features_loss(W, b, inputs, tolerance=TOLERANCE)


def active_loss(model, density: Float[Tensor, " instances"]) -> Float64[Tensor, " instances"]:
    """Compute the part of `paper_loss` that lies where features are active.

    Where feature i is active, its error is what a loss of feature i alone says of inputs in which
    feature i is always active.
    """
    W, b, density = _on_cpu(model, density)
    if not isinstance(model, ReLUOutputModel):
        return linear_active_loss(W, b, density)
    features = model.features
    always = torch.eye(features, dtype=torch.float64).repeat(len(W), 1)
    others = density.repeat_interleave(features)[:, None].expand_as(always)
    alone = FeatureDistribution(torch.where(always > 0, 1, others), importance=always)
    W, b = (weights.repeat_interleave(features, dim=0) for weights in (W, b))
    errors = many_features_loss(W, b, alone, tolerance=TOLERANCE)
    return density * errors.view(-1, features).sum(dim=1)


def _on_cpu(model, density):
    """Return W, b and the density on the CPU, in float64."""
    return (values.detach().cpu().double() for values in (model.W, model.b, density))


# Training along density


class Trained(NamedTuple):
    """The best models of one variant, and the losses of its own kind after one more round."""

    best: Minima
    next_loss: Tensor  # (densities,)


def trained_variant(variant, inputs, starts, settings, seed, progress):
    """Train fresh restarts, and then on from these and from given starts, at each density.

    Args:
        variant: What is trained.
        inputs: FeatureDistribution of the densities.
        starts: Minima of the same densities, with any losses.
        settings: `ablations.Settings`.
        seed: Seed of the initial weights and of the sampled rows.
        progress: Whether to show progress on stderr.
    """
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
    after = _minima(model, inputs)
    for turn in range(settings.rounds + 1):
        best = after
        rows = seed ^ (ROUND_STREAM + turn)
        after = _continued(variant, best, starts, inputs, settings, rows, progress)
        starts = []
    return Trained(best, after.loss)


def _continued(variant, best, starts, inputs, settings, seed, progress):
    """Train on from the best models, from their neighbours' and from further starts.

    Args:
        variant: What is trained.
        best: Minima, one for each density.
        starts: Further Minima of the same densities.
        inputs: FeatureDistribution of the densities.
        settings: `ablations.Settings`.
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
    model = model_of(variant, W, b).to(inputs.density.device)
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
    rivals = [best, _minima(model, inputs.select(target))]
    W, b, loss = (torch.cat(values).unflatten(0, (-1, len(places))) for values in zip(*rivals))
    lowest, chosen = loss.min(dim=0)
    return Minima(W[chosen, places], b[chosen, places], lowest)


def model_of(variant, W, b):
    """Return a model of a variant with given weights, and with the given biases if it has any."""
    if variant.model_class is WithoutBias:
        b = torch.zeros_like(b)
    return variant.model_class.from_weights(W, b)


def _minima(model, inputs):
    """Return the weights of a model on the CPU, with the exact losses that it is trained for."""
    loss = own_loss(model, inputs.density[:, 0])
    return Minima(model.W.detach().cpu(), model.b.detach().cpu(), loss)


def further_starts(variant, settings, trained):
    """Return Minima, of any loss, from which a variant is trained on beside its own models.

    The linear model has its own models alone, as it is compared with its formula.

    Args:
        variant: The variant.
        settings: `ablations.Settings`.
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
