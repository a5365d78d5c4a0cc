"""Certificates: what can be measured of a model, so that others need not take it on trust.

A certificate states

- the loss and its standard error, which is 0 where the loss is computed exactly;
- the gap to the best known loss, as whoever trained the model knows it;
- the norm of the exact gradient;
- the lowest eigenvalue of the exact Hessian, rotations of the hidden space left out: it is positive
  at a minimum and negative at a saddle;
- how many features are represented;
- how often each polytope occurs among the tegum factors.

What is not known is None, for one of three reasons:

- The project has no exact loss for the model and its inputs. This holds for models with a ReLU in
  the hidden layer, and for many features that are not uniform on [0, 1] or of which so few are
  active at a time that the series of `many_features_loss` takes too many terms. The loss is sampled
  then, and there is neither a gradient nor an eigenvalue.
- The gradient is above STATIONARY. The model is not at a stationary point then, so the eigenvalue
  would not tell whether it is at a minimum.
- The series gives the loss, but takes too many terms for the accuracy that eigenvalues need.
"""

from collections import Counter

import torch
from jaxtyping import Float
from torch import Tensor

from geometry import represented
from losses.descent import EXACT_OUTPUTS
from losses.gradient import Gradient, exact_gradient
from models import base_class
from theory.polytopes import tegum_factors
from theory.stationary import hessian, lowest_curvatures, rotations
from training import sampled_loss

DENSE_FEATURES = 8  # the most features for which the whole Hessian is computed
OFFSET = 1e-5  # displacement of weights for the whole Hessian
STATIONARY = 1e-6  # norm of the gradient up to which a model counts as being at a stationary point
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
    found = exact_slope(model, distribution)
    if found is None:
        loss, error = _mean_sampled_loss(model, distribution, seed)
        norm = None
        lowest = None
    else:
        loss = found.loss.item()
        error = 0.0
        norm = found.norm.item()
        lowest = _lowest_where_known(model, distribution, norm)
    W = model.encoder.detach()
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


def exact_slope(model, distribution) -> Gradient | None:
    """Compute the exact loss and gradient of a model of one instance.

    Args:
        model: One of the four toy models.
        distribution: FeatureDistribution of its inputs.

    Returns:
        Loss and gradient, or None where the project has no exact loss.
    """
    output = EXACT_OUTPUTS.get(base_class(model))
    if output is None:
        return None
    try:
        return exact_gradient(model.W.detach(), model.b.detach(), distribution, output)
    except ValueError:  # too many features of a kind that the series does not know or reach
        return None


def _mean_sampled_loss(model, distribution, seed):
    """Return the mean of SAMPLES sampled losses and its standard error."""
    seeds = range(SAMPLES * seed, SAMPLES * (seed + 1))
    losses = [sampled_loss(model, distribution, rows=ROWS, seed=each) for each in seeds]
    deviation, mean = torch.std_mean(torch.cat(losses))
    return mean.item(), deviation.item() / SAMPLES**0.5


def _lowest_where_known(model, distribution, norm):
    """Return the lowest eigenvalue of the Hessian, or None where it is not known."""
    if norm > STATIONARY:
        return None
    W = model.W.detach()
    b = model.b.detach()
    try:
        return lowest_curvature(W, b, distribution, EXACT_OUTPUTS[base_class(model)])
    except ValueError:  # the series takes too many terms
        return None


def lowest_curvature(
    W: Float[Tensor, "1 hidden features"],
    b: Float[Tensor, "1 features"],
    distribution,
    output="relu",
) -> float:
    """Compute the lowest eigenvalue of the exact Hessian, rotations of the hidden space left out.

    It comes from the whole Hessian for few features and from Lanczos' method for many.

    Args:
        W: Weights of one instance.
        b: Its biases.
        distribution: FeatureDistribution of the inputs.
        output: "relu" or "linear".

    Returns:
        The eigenvalue.

    Raises:
        ValueError: As from `theory.stationary.lowest_curvatures`.
    """
    if output == "linear" or W.shape[2] > DENSE_FEATURES:
        return lowest_curvatures(W, b, distribution, 1, output).item()
    matrix = hessian(W, b, distribution, OFFSET)[0]
    turns = rotations(W[0].double(), b[0].double())
    basis, _ = torch.linalg.qr(turns, mode="complete")
    across = basis[:, turns.shape[1] :]
    return torch.linalg.eigvalsh(across.mT @ matrix @ across)[0].item()
