"""The models without a bias and with the loss on active features alone, and their exact losses."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from experiments.variations.ablation_theory import linear_active_loss
from features import FeatureDistribution
from losses import expected_loss, many_features_loss
from models import LinearModel, ReLUOutputModel

TOLERANCE = 1e-7  # relative error of the exact losses


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
