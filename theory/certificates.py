"""Certificates: what can be measured of a model, so that others need not take it on trust.

The loss is exact for a ReLUOutputModel and sampled for the other models, whose loss the project
does not know in closed form. Only where the loss is exact are there a gradient and, for few
features, a curvature.
"""

from collections import Counter

import torch
from jaxtyping import Float
from torch import Tensor

from geometry import represented
from losses.gradient import exact_gradient
from models import ReLUOutputModel, base_class
from theory.polytopes import tegum_factors
from theory.stationary import hessian, rotations
from training import sampled_loss

EXACT_FEATURES = 8  # the most features for which the Hessian is computed
SAMPLES = 16  # samples, of different seeds, that make a sampled loss and its standard error
ROWS = 2**13  # of each sample


def certificate(model, distribution, gap=None, seed=0):
    """Measure what a certificate states of a model.

    Args:
        model: One of the four toy models, of one instance.
        distribution: FeatureDistribution of its inputs.
        gap: The gap to the best known loss, which is passed on.
        seed: Which samples a sampled loss is measured on.

    Returns:
        The certificate, as a dict of what JSON can hold.

    Raises:
        ValueError: If the model is none of the four toy models.
    """
    if base_class(model) is None:
        got = f"{type(model).__name__}, which overrides or adds something"
        raise ValueError(f"model: expected one of the four toy models, got {got}")
    W = model.encoder.detach()
    norm = None
    lowest = None
    if has_exact_loss(model):
        gradient = exact_slope(model, distribution)
        loss = gradient.loss.item()
        norm = gradient.norm.item()
        error = 0.0
        if model.features <= EXACT_FEATURES:
            lowest = lowest_curvature(W, model.b.detach(), distribution)
    else:
        loss, error = _mean_sampled_loss(model, distribution, seed)
    factors = Counter(factor.polytope for factor in tegum_factors(W[0].double()))
    return {
        "loss": loss,
        "standard_error": error,
        "gap": gap,
        "gradient_norm": norm,
        "lowest_eigenvalue": lowest,
        "represented": int(represented(W).sum()),
        "factors": dict(sorted(factors.items())),
    }


def _mean_sampled_loss(model, distribution, seed):
    """Return the mean of SAMPLES sampled losses and its standard error."""
    seeds = range(SAMPLES * seed, SAMPLES * (seed + 1))
    losses = [sampled_loss(model, distribution, rows=ROWS, seed=each) for each in seeds]
    deviation, mean = torch.std_mean(torch.cat(losses))
    return mean.item(), deviation.item() / SAMPLES**0.5


def lowest_curvature(
    W: Float[Tensor, "1 hidden features"], b: Float[Tensor, "1 features"], distribution
) -> float:
    """Return the lowest eigenvalue of the exact Hessian, rotations of the hidden space left out.

    Args:
        W: Weights of one instance.
        b: Its biases.
        distribution: FeatureDistribution of the inputs.
    """
    matrix = hessian(W, b, distribution)[0]
    turns = rotations(W[0].double(), b[0].double())
    basis, _ = torch.linalg.qr(turns, mode="complete")
    across = basis[:, turns.shape[1] :]
    return torch.linalg.eigvalsh(across.mT @ matrix @ across)[0].item()


def has_exact_loss(model):
    """Whether the loss of a model can be computed exactly."""
    return base_class(model) is ReLUOutputModel


def exact_slope(model, distribution):
    """Return the exact loss and gradient of a model of one instance."""
    return exact_gradient(model.W.detach(), model.b.detach(), distribution)
