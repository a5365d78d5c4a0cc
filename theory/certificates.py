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
from losses import many_features
from models import ReLUOutputModel, base_class
from theory.polytopes import tegum_factors
from theory.stationary import exact_gradient, hessian
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
    rotations = _rotations(W[0], b[0])
    if rotations:
        basis, sizes, _ = torch.linalg.svd(torch.stack(rotations, dim=1).to(matrix))
        rank = int((sizes > 1e-9).sum())
        across = basis[:, rank:]
        matrix = across.mT @ matrix @ across
    return torch.linalg.eigvalsh(matrix)[0].item()


def _rotations(W, b):
    """Return how (W, b) moves, as one vector each, when the hidden space turns in its planes."""
    rotations = []
    for i in range(len(W)):
        for j in range(i):
            moved = torch.zeros_like(W)
            moved[i] = W[j]
            moved[j] = -W[i]
            rotations.append(torch.cat((moved.flatten(), torch.zeros_like(b))))
    return rotations


def has_exact_loss(model):
    """Whether the loss of a model can be computed exactly."""
    return base_class(model) is ReLUOutputModel


def exact_slope(model, distribution):
    """Return the exact loss and gradient of a model of one instance.

    Few features are served by the recursion over all sets of active features, many by the Fourier
    series.
    """
    gradient = exact_gradient
    if model.features > EXACT_FEATURES:
        gradient = many_features.exact_gradient
    return gradient(model.W.detach(), model.b.detach(), distribution)
