"""The expected loss of a toy model of few features: exact, without sampling, differentiable.

A model with a linear hidden layer reconstructs feature i as x'_i = ReLU(z), z = b_i + sum_j a_j
x_j, a = (W^T W)_i. Its loss is a sum over outputs i of importance times E[(x_i - x'_i)^2], each the
integral of a piecewise polynomial. Three files compute it:

- `losses.recursion`, the fast recursion for the paper's inputs, checks its own rounding error;
- `losses.reference` takes over where that error is too large, and for all other kinds of inputs;
- `losses.moments` serves the linear output, which needs first and second moments alone.
"""

from math import factorial

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from checks import check_choice, check_weights
from features import UNIT, check_distribution
from losses.moments import LinearOutput
from losses.recursion import Recursion
from losses.reference import MOST_VERTICES, Reference, vertex_count

LARGEST = 1e18  # of ||W||^2 + |b| of an instance: powers up to 15 of an output must not overflow
MAX_FEATURES = 12  # with output "relu": vertices and powers of one output stay below 1/2 MiB
SAME_POINT = 1e-12  # |a| / reach below which two points are as good as the quotient in float64


def expected_loss(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    output="relu",
) -> Float64[Tensor, " instances"]:
    """Compute the loss sum_i I_i E[(x_i - x'_i)^2] of each instance exactly.

    It is computed in float64 whatever the dtype of W and b, and is differentiable once, with
    gradients in the dtype of W and b. It needs memory for one chunk of instances beside the
    gradient. Work and memory grow like 2^features with output "relu".

    The relative error is below 1e-9 down to losses of about 1e-13 of sum_i I_i p_i / 3. A loss
    below that has an absolute error of about 1e-16 times the root of loss and scale, since W^T W
    itself is rounded.

    Args:
        W: Weights, finite, with ||W||^2 + |b| of an instance at most LARGEST = 1e18.
        b: Biases, likewise.
        distribution: FeatureDistribution of the same instances and features.
        output: "relu" for x' = ReLU(W^T W x + b), of at most MAX_FEATURES features (fewer where
            active values do not begin at zero), or "linear" for x' = W^T W x + b, of any number.

    Returns:
        Losses in units of importance times feature value squared.

    Raises:
        ValueError: If the output is unknown, shapes do not match the distribution, values are not
            real, not finite, too large or on another device, or there are too many features.
    """
    _check(distribution, output)
    check_matching_weights(W, b, distribution)
    return _ExpectedLoss.apply(W.double(), b.double(), distribution, output)


class DescentGradient:
    """The gradient of the expected loss, fast and good enough for descents.

    It is built once for a distribution, and asked at every step.

    It is computed in float64. With output "relu" its error is about 1e-6 of sum_i I_i p_i times the
    size of W, except for biases and couplings a that are both nearly zero, with |a| / reach below
    1e-4 (n=2) to 1e-2 (n=12). There it is up to a tenth of |a|, and the minimum that a descent
    finds differs in loss by the square of it.

    Args:
        distribution: As for `expected_loss`, on the device of the weights.
        output: As for `expected_loss`.

    Raises:
        ValueError: As `expected_loss` does.
    """

    def __init__(self, distribution, output="relu"):
        _check(distribution, output)
        self._parts = _parts(distribution, output, _narrow(distribution.features))
        self._constants = [self._parts.constants(chunk) for chunk in self._parts.chunks]

    def into(self, W, b, W_gradient, b_gradient):
        """Write the gradient at W and b into tensors like them.

        W is (instances, hidden, features) and b (instances, features).

        An instance whose weights are not finite gets a gradient that is not finite, and spoils no
        other.
        """
        for chunk, constants in zip(self._parts.chunks, self._constants):
            gradients = W_gradient[chunk], b_gradient[chunk]
            self._parts.gradient(W[chunk], b[chunk], constants, *gradients)


def in_range(W, b) -> Bool[Tensor, " instances"]:
    """Tell which instances have finite weights whose outputs have powers that do not overflow."""
    size = W.double().square().sum(dim=(1, 2)) + b.double().abs().amax(dim=1)
    return size <= LARGEST  # false for NaN too


def is_plain(distribution):
    """Tell whether the fast recursion knows these inputs.

    It knows values uniform on [0, 1], of independent features or of whole sets.
    """
    return (
        distribution.values == UNIT and distribution.strength == 1 and distribution.parents is None
    )


class _ExpectedLoss(torch.autograd.Function):
    """Computes the gradient along with the loss, chunk by chunk, and keeps nothing else."""

    @staticmethod
    def forward(ctx, W, b, distribution, output):
        wanted = any(ctx.needs_input_grad)
        gradient = (torch.zeros_like(W), torch.zeros_like(b)) if wanted else ()
        ctx.save_for_backward(*gradient)
        parts = _parts(distribution, output, SAME_POINT)
        loss = W.new_zeros(len(W))
        for chunk in parts.chunks:
            gradient_chunk = (whole[chunk] for whole in gradient)
            loss[chunk] = parts.loss(W[chunk], b[chunk], parts.constants(chunk), *gradient_chunk)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        W_gradient, b_gradient = ctx.saved_tensors
        return grad[:, None, None] * W_gradient, grad[:, None] * b_gradient, None, None


def _parts(distribution, output, narrow):
    """Choose what computes loss and gradient, a chunk of instances at a time."""
    if output == "linear":
        return LinearOutput(distribution)
    if is_plain(distribution):
        return Recursion(distribution, narrow)
    return Reference(distribution)


def _narrow(features):
    """Return the |a| / reach up to which a descent averages over two points.

    Kinks hardly matter there, and quotients round to 1e-6.
    """
    rounding = 1e6 * torch.finfo(torch.float64).eps / factorial(features + 2)
    return max(1e-4, rounding ** (1 / max(features - 1, 1)))


def _check(distribution, output):
    check_distribution(distribution)
    check_choice("output", output, ("relu", "linear"))
    if output == "linear":
        return
    features = distribution.features
    if features > MAX_FEATURES:
        raise ValueError(
            f"features: expected at most {MAX_FEATURES} for output 'relu', got {features}"
        )
    if not is_plain(distribution) and vertex_count(distribution) > MOST_VERTICES:
        raise ValueError(
            f"features: expected fewer for output 'relu' and values {distribution.values}, "
            f"whose outputs may have {MOST_VERTICES:,} vertices, got {features}"
        )


def check_matching_weights(W, b, distribution):
    """Raise a ValueError unless W and b are finite weights of the distribution's instances."""
    instances = distribution.instances
    features = distribution.features
    device = distribution.density.device
    named = (("W", W, ("instances", "hidden", "features")), ("b", b, ("instances", "features")))
    for name, value, axes in named:
        if getattr(value, "device", device) != device:
            raise ValueError(f"{name}: expected values on {device}, got them on {value.device}")
        check_weights(value, axes, name)
        if (value.shape[0], value.shape[-1]) != (instances, features):
            expected = f"{instances} instances, {features} features"
            raise ValueError(f"{name}: expected {expected}, got {tuple(value.shape)}")
    if not in_range(W, b).all():
        largest = W.abs().max()
        raise ValueError(
            f"W: expected ||W||^2 + |b| of at most {LARGEST:g}, got weights up to {largest:g}"
        )
