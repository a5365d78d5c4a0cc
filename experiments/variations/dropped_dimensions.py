"""The ReLU output model with dropout on its hidden layer: its exact loss, and what basis it likes.

**The reason.** Take m antipodal pairs along the columns q_j of an orthogonal matrix, with unit
weights, and let feature 1 be active alone, with value 1. Dropout multiplies hidden dimension k by
1 + e_k, where the e_k are independent with mean 0 and variance r = rate / (1 - rate).

- The output of feature 1 gets a noise of variance r s, where s = sum_k q_1k^4. It is 1 along one
  hidden dimension, and small if the feature is spread.
- The idle pairs get noises z_j = sum_k q_1k q_jk e_k, whose variances sum to r (1 - s). The noise
  moves from the feature itself to the idle pairs if the feature is spread.
- An idle pair costs ReLU(z + b)^2 + ReLU(-z + b)^2. At b = 0 this is z^2, so that the sum is r in
  every basis. At b < 0 it costs less than z^2, and features that are spread evenly cost less than
  features along hidden dimensions. At b > 0 it costs more than z^2, and up to 2 z^2, beside what it
  costs without noise. Then features along hidden dimensions cost less.

So the sign of the bias decides. `lone_loss` computes the sum exactly.

**The exact loss.** With a mask d of the hidden dimensions the output is ReLU(W^T D W x + b), for
D = diag(d) / (1 - rate). This is the ReLU output model with the weights D^(1/2) W. So the loss with
dropout is the mean of `losses.expected_loss` over all 2^m masks.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from losses import expected_loss
from models import ReLUOutputModel


class DropoutModel(ReLUOutputModel):
    """x' = ReLU(W^T (d W x) / (1 - rate) + b), with a mask d of zeros and ones while it trains.

    Each hidden dimension of each row is set to zero with a probability, the rate. The buffer `rate`
    (instances,) begins at 0, where the model is the ReLU output model.
    """

    def __init__(self, instances, features, hidden, **options):
        """Draw the initial weights."""
        super().__init__(instances, features, hidden, **options)
        self.register_buffer("rate", torch.zeros_like(self.b[:, 0]))

    def encode(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch hidden"]:
        """Compute the hidden layer, with dropout in training mode."""
        h = super().encode(x)
        if not self.training:
            return h
        keep = 1 - self.rate[:, None, None]
        return torch.where(torch.rand_like(h) < keep, h / keep, 0)


def spread_basis(hidden) -> Float64[Tensor, "hidden hidden"]:
    """Return the orthogonal matrix 1 - 2/m, whose columns are spread over all hidden dimensions.

    Each column has one entry of 1 - 2/m and m - 1 entries of -2/m. For m=5 a column has a spread of
    4.84, and for m=2 it lies along a hidden dimension after all.
    """
    return torch.eye(hidden, dtype=torch.float64) - 2 / hidden


class Masks(NamedTuple):
    """All masks of the hidden dimensions, at each of some rates."""

    factors: Float64[Tensor, "rates masks hidden"]  # 0, or 1 / (1 - rate)
    probability: Float64[Tensor, "rates masks"]


def masks(rate: Float[Tensor, " rates"], hidden) -> Masks:
    """Return all 2^hidden masks, by which dropout multiplies the hidden layer."""
    kept = torch.tensor(list(itertools.product((0.0, 1.0), repeat=hidden)), dtype=torch.float64)
    keep = 1 - rate.double()[:, None, None]
    return Masks(kept / keep, torch.where(kept > 0, keep, 1 - keep).prod(dim=2))


def dropout_loss(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    rate: Float[Tensor, " instances"],
    distribution,
) -> Float64[Tensor, " instances"]:
    """Compute the expected loss with dropout exactly: the mean over all masks and inputs.

    Args:
        W: Weights.
        b: Biases.
        rate: Rate of each instance.
        distribution: FeatureDistribution of the same instances and features.
    """
    every = masks(rate, W.shape[1])
    count = every.factors.shape[1]
    masked = every.factors.sqrt()[..., None] * W.double()[:, None]
    repeated = b.double().repeat_interleave(count, dim=0)
    losses = expected_loss(masked.flatten(0, 1), repeated, distribution.with_restarts(count))
    return (losses.view(-1, count) * every.probability).sum(dim=1)


def lone_loss(
    basis: Float64[Tensor, "hidden hidden"],
    rate: Float[Tensor, " rates"],
    bias: Float[Tensor, " biases"],
) -> Float64[Tensor, "rates biases"]:
    """Compute the loss of antipodal pairs with dropout where one feature is active, with value 1.

    Args:
        basis: Orthogonal matrix, whose columns and their negatives are the features. Feature 1 is
            the first column.
        rate: Rates of dropout.
        bias: Biases, each of all features.
    """
    W = torch.cat((basis, -basis), dim=1)
    every = masks(rate, len(basis))
    noisy = (every.factors * W[:, 0]) @ W  # (rates, masks, features)
    output = (noisy[:, None] + bias.double()[:, None, None]).relu()
    target = torch.zeros(W.shape[1], dtype=torch.float64)
    target[0] = 1
    squared_error = (target - output).square().sum(dim=3)  # (rates, biases, masks)
    return (squared_error * every.probability[:, None]).sum(dim=2)
