"""The expected loss of a ReLU output model of any number of features, exactly, without sampling.

Output i of a model is x'_i = ReLU(z), z = b_i + sum_j a_j x_j, where a = (W^T W)_i. Its loss is
E[(x_i - x'_i)^2]. With T_r(t) = max(t, 0)^r / r! it is

    L = E[x_i^2] + 2 E[T_2(z)] - 2 E[x_i T_1(z)].

**Few features exactly.** The average over a feature that is active, x uniform on [0, 1], is a
quotient of differences,

    E[T_r(t + a x)]   = (T_(r+1)(t + a) - T_(r+1)(t)) / a,
    E[x T_r(t + a x)] = (T_(r+1)(t + a) - E[T_(r+1)(t + a x)]) / a,

and a feature of density p takes T_r(t) to (1 - p) T_r(t) + p E[T_r(t + a x)]. So the output's own
feature and the features of the largest |a| are averaged over in closed form. What is left to find
is F_r(t) = E[T_r(t + y)] at the *vertices* t, where y is the sum over all other features, the
*rest*. Each average doubles the vertices and raises the highest power r by one.

**The rest by Fourier series.** The rest is small and smooth: outside of its *range* it lies with
negligible probability (Hoeffding's inequality, or the sum of all |a|). A vertex farther than that
from the kink at 0 needs the moments of the rest alone, as T_r is a polynomial there. At the others
fourier.py sums a series over the rest's characteristic function, whose period is four times the
range. The terms fall faster than any power once many features are in play, and twenty of them give
ten digits. Closed form is for as many features as make the work least. Without it a pair of
features that is represented antipodally, which leaves a rest of nearly nothing, would need
thousands of terms.

Where the own feature's a is tiny, and where features come in sets, nothing is averaged over in
closed form: the whole sum is the rest, and E[x_i T_1] has a series of its own.

**Accuracy.** Terms are added until a bound on those left out is below the tolerance. The gradient
is that of the sum as it is computed, by hand: through the characteristic functions' logarithmic
derivatives for the rest, where the work is, and by differentiating the closed form.

**Cost.** The work for n features grows like n^2 times the number of terms, while `expected_loss`
takes 2^n. The number of terms grows where few features are active at a time, since characteristic
functions then fall slowly.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from checks import check_positive
from features import check_distribution, check_standard
from losses.exact import check_matching_weights
from losses.fourier import TERMS
from losses.vertices import Pairs, parts

# Losses are compared with that of a model that represents nothing, their scale.
_SHARE = 0.1  # of the tolerance: what a first attempt allows, in units of the scale
_FLOOR = 1e-6  # errors of a loss below this share of the scale are relative to this share
_ATTEMPTS = 3


def many_features_loss(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    *,
    tolerance=1e-9,
) -> Float64[Tensor, " instances"]:
    """Compute the expected loss of ReLU output models of any number of features.

    The loss is sum_i I_i E[(x_i - x'_i)^2] with x' = ReLU(W^T W x + b) (paper, Section 2), in units
    of importance times squared feature value. It is computed in float64 whatever the dtype of the
    weights, and can be differentiated once.

    Args:
        W: Finite weights.
        b: Finite biases.
        distribution: FeatureDistribution of the same instances and features, with values from 0 to
            1: independent, correlated with strength 1, or anticorrelated.
        tolerance: The largest error relative to the loss, at least 1e-13. The gradient has errors
            of about a hundred times that, relative to its largest entries.

    Returns:
        The loss of each instance.

    Raises:
        ValueError: If an argument is not as described, or if the tolerance needs more than 8,192
            terms of a series.
    """
    _check(distribution, tolerance)
    check_matching_weights(W, b, distribution)
    return _Loss.apply(W.double(), b.double(), distribution, float(tolerance))


def _check(distribution, tolerance):
    check_distribution(distribution)
    check_standard(distribution)
    if distribution.signed:
        raise ValueError("distribution: expected features in [0, 1], got signed ones")
    check_positive("tolerance", tolerance)
    if not 1e-13 <= tolerance < 1:
        raise ValueError(f"tolerance: expected a number from 1e-13 to 1, got {tolerance!r}")


class _Loss(torch.autograd.Function):
    """Computes the gradient along with the loss and keeps nothing else."""

    @staticmethod
    def forward(ctx, W, b, distribution, tolerance):
        loss, W_gradient, b_gradient = loss_and_gradient(W, b, distribution, tolerance)
        ctx.save_for_backward(W_gradient, b_gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        W_gradient, b_gradient = ctx.saved_tensors
        return grad[:, None, None] * W_gradient, grad[:, None] * b_gradient, None, None


def loss_and_gradient(
    W: Float64[Tensor, "instances hidden features"],
    b: Float64[Tensor, "instances features"],
    distribution,
    tolerance=1e-9,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the loss and its gradient from arguments that have been checked.

    Args:
        W: Weights.
        b: Biases.
        distribution: As for `many_features_loss`.
        tolerance: As for `many_features_loss`.

    Returns:
        The loss, and its gradient in W and in b.

    Raises:
        ValueError: If the tolerance needs more than 8,192 terms of a series.
    """
    W = W.detach()
    b = b.detach()
    density = distribution.density
    scale = (distribution.importance * density * (1 / 3 - density / 4)).sum(dim=1)
    wanted = tolerance * _SHARE * scale
    for _ in range(_ATTEMPTS):
        *found, error = _attempt(W, b, distribution, wanted)
        loss = found[0]
        limit = tolerance * torch.maximum(loss, _FLOOR * scale)
        if (error <= limit).all():
            return tuple(found)
        if (error > wanted).any():
            break
        wanted = torch.minimum(wanted, limit / 2)
    active = density.sum(dim=1).min().item()
    raise ValueError(
        f"tolerance: expected one that {TERMS:,} terms reach, got {tolerance:g}: errors are up to "
        f"{(error / loss).max():.1g} of the loss. On average {active:.2g} features are active. "
        "Where fewer than about 3 are, training on samples is the better way"
    )


def _attempt(W, b, distribution, wanted):
    """Return loss, gradient in W, gradient in b, and the error, which may be too large."""
    instances, _, features = W.shape
    gram = W.mT @ W
    which, own = distribution.importance.nonzero(as_tuple=True)
    pairs = Pairs(
        which,
        own,
        b[which, own],
        gram[which, own],
        distribution.density[which],
        distribution.importance[which, own],
        (wanted / features)[which],
    )
    loss = torch.zeros(instances, dtype=b.dtype)
    error = torch.zeros_like(loss)
    b_gradient = torch.zeros_like(b)
    gram_gradient = torch.zeros_like(gram)
    for part in parts(pairs, distribution.correlation, distribution.members):
        instance = part.pairs.instance
        loss.index_add_(0, instance, part.loss)
        error.index_add_(0, instance, part.error)
        b_gradient[instance, part.pairs.own] = part.b_gradient
        gram_gradient[instance, part.pairs.own] = part.a_gradient
    W_gradient = W @ (gram_gradient + gram_gradient.mT)
    return loss, W_gradient, b_gradient, error
