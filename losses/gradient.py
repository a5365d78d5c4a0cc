"""The exact loss with its gradient, by whichever method is cheaper, and models as vectors."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from losses.exact import MAX_FEATURES, DescentGradient, expected_loss, in_range, is_plain
from losses.many_features import many_features_loss


class Gradient(NamedTuple):
    """The loss of each instance and its gradient in weights and biases."""

    loss: Float64[Tensor, " instances"]
    W: Float64[Tensor, "instances hidden features"]
    b: Float64[Tensor, "instances features"]

    @property
    def vector(self) -> Float64[Tensor, "instances weights"]:
        """The gradient in all weights and biases."""
        return joined(self.W, self.b)

    @property
    def norm(self) -> Float64[Tensor, " instances"]:
        """The gradient's Euclidean norm."""
        return self.vector.norm(dim=1)


def exact_loss(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    output="relu",
    *,
    tolerance=1e-9,
) -> Float64[Tensor, " instances"]:
    """Compute the exact expected loss by whichever method is cheaper.

    Args:
        W: Finite weights.
        b: Finite biases.
        distribution: FeatureDistribution of the same instances and features.
        output: "relu" or "linear", as for `expected_loss`.
        tolerance: Relative error of the loss where `many_features_loss` computes it.

    Returns:
        The loss of each instance, differentiable once.

    Raises:
        ValueError: As from `expected_loss` and `many_features_loss`.
    """
    if _few(distribution, output):
        return expected_loss(W, b, distribution, output)
    return many_features_loss(W, b, distribution, tolerance=tolerance)


def exact_gradient(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    output="relu",
    *,
    tolerance=1e-9,
) -> Gradient:
    """Compute the exact expected loss and its gradient by whichever method is cheaper.

    Args:
        W: Finite weights.
        b: Finite biases.
        distribution: FeatureDistribution of the same instances and features.
        output: "relu" or "linear", as for `expected_loss`.
        tolerance: Relative error of the loss where `many_features_loss` computes it.

    Returns:
        Loss and gradient in float64.

    Raises:
        ValueError: As from `expected_loss` and `many_features_loss`.
    """
    W = W.detach().double().requires_grad_()
    b = b.detach().double().requires_grad_()
    with torch.enable_grad():
        loss = exact_loss(W, b, distribution, output, tolerance=tolerance)
        W_gradient, b_gradient = torch.autograd.grad(loss.sum(), (W, b))
    return Gradient(loss.detach(), W_gradient, b_gradient)


class ManyFeaturesGradient:
    """The gradient of `many_features_loss` for descents, with the methods of `DescentGradient`."""

    def __init__(self, distribution):
        """Keep the distribution.

        Args:
            distribution: As for `many_features_loss`.
        """
        self.distribution = distribution

    def into(self, W, b, W_gradient, b_gradient):
        """Write the gradient at W and b into tensors like them.

        An instance whose weights are not finite, or too large, gets NaN and spoils no other.

        Raises:
            ValueError: As from `many_features_loss`.
        """
        W_gradient.fill_(torch.nan)
        b_gradient.fill_(torch.nan)
        good = in_range(W, b).nonzero()[:, 0]
        if len(good):
            found = exact_gradient(W[good], b[good], self.distribution.select(good))
            W_gradient[good] = found.W.to(W_gradient)
            b_gradient[good] = found.b.to(b_gradient)


def descent_gradient(distribution, output="relu") -> DescentGradient | ManyFeaturesGradient:
    """Make what computes gradients for descents, by whichever method is cheaper.

    Args:
        distribution: As for `DescentGradient`, of any number of features.
        output: "relu" or "linear".

    Returns:
        An object whose `into(W, b, W_gradient, b_gradient)` writes the gradient.
    """
    if _few(distribution, output):
        return DescentGradient(distribution, output)
    return ManyFeaturesGradient(distribution)


def _few(distribution, output):
    """Return whether `expected_loss` is the one to take: for few features, or unusual ones."""
    few = distribution.features <= MAX_FEATURES
    return output == "linear" or few or not is_plain(distribution)


def joined(
    W: Float[Tensor, "instances hidden features"], b: Float[Tensor, "instances features"]
) -> Float[Tensor, "instances weights"]:
    """Join the weights and biases of each instance in one vector."""
    return torch.cat((W.flatten(1), b), dim=1)


def parted(vectors: Float[Tensor, "instances weights"], hidden):
    """Part vectors into the weights and biases that `joined` made them of."""
    features = vectors.shape[1] // (hidden + 1)
    return vectors[:, :-features].unflatten(1, (hidden, features)), vectors[:, -features:]
