"""The linear output: its expected loss needs nothing but the first two moments of the inputs."""

from typing import NamedTuple

import torch
from torch import Tensor

CHUNK_NUMBERS = 2**18  # numbers in the largest tensor of one chunk of instances


class Moments(NamedTuple):
    """The moments of `FeatureDistribution.moments`, with features in the first dimension."""

    mean: Tensor  # (features, ...)
    own: Tensor  # (features, ...) part of the variance that no other feature shares
    shared: Tensor  # (features, ...) covariance of any two members of one set
    members: int  # features of a set

    def residual(self, d, b):
        """Return bias = E[d.x] - b and spread = Cov(x) d, of d (features, ...) and b (...).

        E[(d.x - b)^2] is bias^2 + d.spread. Its derivatives are -2 bias in b, and
        2 (bias mean + spread) in d.
        """
        bias = (self.mean * d).sum(0) - b
        set_sums = d
        if self.members > 1:
            set_sums = d.unflatten(0, (-1, self.members)).sum(1).repeat_interleave(self.members, 0)
        return bias, torch.addcmul(self.own * d, self.shared, set_sums)


class LinearOutput:
    """The loss of a linear output: x_i - x'_i = d.x - b_i with d the row i of 1 - W^T W.

    Instances are worked on in chunks. `constants` says what the distribution contributes to a
    chunk, and `loss` computes the chunk from it.
    """

    def __init__(self, distribution):
        self.distribution = distribution
        size = max(1, CHUNK_NUMBERS // distribution.features**2)
        starts = range(0, distribution.instances, size)
        self.chunks = [slice(start, start + size) for start in starts]

    def constants(self, chunk):
        """Return the moments (features, instances, 1) and the importance (instances, features)."""
        part = self.distribution.select(chunk)
        moments = [moment.t()[:, :, None] for moment in part.moments()]
        return Moments(*moments, part.members), part.importance

    def loss(self, W, b, constants, W_gradient=None, b_gradient=None):
        """Return the losses (instances,); write their gradient where tensors for it are given."""
        moments, importance = constants
        W = W.double()
        identity = torch.eye(W.shape[2], dtype=W.dtype, device=W.device)
        d = (identity - W.mT @ W).permute(2, 0, 1)  # (features, instances, outputs)
        bias, spread = moments.residual(d, b)
        if W_gradient is not None:
            b_gradient.copy_(-2 * importance * bias)
            d_gradient = (2 * importance * (bias * moments.mean + spread)).permute(1, 2, 0)
            W_gradient.copy_(-(W @ (d_gradient + d_gradient.mT)))
        return (importance * (bias**2 + (d * spread).sum(0))).sum(1)

    gradient = loss
