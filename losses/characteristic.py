"""Characteristic functions of many features, and their derivatives in the couplings, at many frequencies at once.

The characteristic function of z = sum_j a_j x_j is E[e^(iuz)], a product over sets of features. Everything here is
made of averages over one active feature, x uniform on [0, 1]. With v = a u, theta = v / 2, s = sin(theta) / theta
and q = (s - cos(theta)) / (2 theta^2) they are

    h = E[e^(ivx)]     = e^(i theta) s
    g = E[x e^(ivx)]   = e^(i theta) (s / 2 + i theta q)
    E[x^2 e^(ivx)]     = e^(i theta) (s / 2 + i theta q - q)

so that dh/da = i u g. A set of density p contributes the factor 1 - p + p h where features are independent,
1 - p + p prod h where its members are active together (correlated), and 1 - p + p mean h where exactly one member of
an active set is active (anticorrelated).

A *pair* is one output of one instance. Pairs come first in all tensors, then frequencies, then features.
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float64, Int64
from torch import Tensor

_SMALL = 0.1  # |theta| below which q is a power series: the quotient would lose three digits there
_SERIES = (1 / 6, -1 / 60, 1 / 1680, -1 / 90720, 1 / 7983360)  # of q, in powers of theta^2


class Couplings(NamedTuple):
    """Several pairs' sums z = sum_j a_j x_j, and the distribution of the features in them."""

    a: Float64[Tensor, "pairs features"]
    density: Float64[Tensor, "pairs features"]
    own: Int64[Tensor, " pairs"]  # the feature that the pair's output reconstructs
    correlation: str
    members: int  # features in a set; 1 where features are independent


class Characteristic:
    """The characteristic function of each pair's z at some frequencies, kept for its gradient.

    Attributes:
        value: E[e^(iuz)].
        own_value: E[x_i e^(iuz)], where i is the pair's own feature.
    """

    value: Complex[Tensor, "pairs frequencies"]
    own_value: Complex[Tensor, "pairs frequencies"]

    def __init__(self, couplings: Couplings, u: Float64[Tensor, "pairs frequencies"]):
        """Evaluate the characteristic functions.

        Args:
            couplings: The pairs.
            u: The frequencies, of each pair its own.
        """
        self.u = u
        self.couplings = couplings
        theta = u[:, :, None] * (couplings.a / 2)[:, None]
        sine = theta.sin()
        cosine = theta.cos()
        small = theta.abs() < _SMALL
        divisor = theta.where(~small, 1)
        square = theta.square()
        self.sinc = torch.where(theta == 0, 1, sine / theta.where(theta != 0, 1))
        self.q = torch.where(
            small, _polynomial(square), (self.sinc - cosine) / (2 * divisor.square())
        )
        self.theta = theta
        self.turn = torch.complex(cosine, sine)
        h = self.turn * self.sinc
        self.set_share, self.factor = self._factors(h)
        self.log_slope = self._log_slopes(h)
        self.value = _product(self.factor)
        self.own_value = self.value * self._own(self.log_slope)

    def _factors(self, h):
        """Return what multiplies dh / h or dh in a set's factor, and the factors themselves, set by set."""
        density = self.couplings.density[:, None]
        size = self.couplings.members
        if self.couplings.correlation == "correlated":
            together = density[..., ::size] * h.unflatten(2, (-1, size)).prod(dim=3)
            return together, 1 - density[..., ::size] + together
        if self.couplings.correlation == "anticorrelated":
            share = density[..., ::size] / size
            return share, 1 - density[..., ::size] + share * h.unflatten(2, (-1, size)).sum(dim=3)
        return density, 1 - density + density * h

    def _log_slopes(self, h):
        """Return d log E[e^(iuz)] / d(i u a_j), which is E[x_j e^(iuz)] / E[e^(iuz)]."""
        first = self.turn * torch.complex(self.sinc / 2, self.theta * self.q)
        within_set = self._spread(self.set_share / self.factor)
        if self.couplings.correlation == "correlated":
            return within_set * first / h
        return within_set * first

    def _spread(self, sets):
        size = self.couplings.members
        return sets.repeat_interleave(size, dim=2) if size > 1 else sets

    def _own(self, values):
        """Select the pair's own feature: (pairs, frequencies)."""
        index = self.couplings.own[:, None, None].expand(-1, values.shape[1], 1)
        return values.gather(2, index)[:, :, 0]

    def gradient(
        self,
        kernel: Complex[Tensor, "pairs frequencies"],
        own_kernel: Complex[Tensor, "pairs frequencies"] | None = None,
    ) -> Float64[Tensor, "pairs features"]:
        """Return the gradient in the couplings of Re sum_u (kernel value + own_kernel own_value).

        Args:
            kernel: The factor of the characteristic function at each frequency.
            own_kernel: The factor of E[x_i e^(iuz)]; None for 0.
        """
        weight = kernel * self.value
        if own_kernel is None:
            return self._summed(weight, self.log_slope)
        own_weight = own_kernel * self.own_value
        total = self._summed(weight + own_weight, self.log_slope)
        return total + self._own_set_correction(own_weight)

    def _own_set_correction(self, own_weight):
        """Return what the own feature's set adds, as its factor in E[x_i e^(iuz)] is another one."""
        size = self.couplings.members
        own = self.couplings.own
        columns = (own // size * size)[:, None] + torch.arange(size, device=own.device)
        wide = columns[:, None].expand(-1, own_weight.shape[1], -1)
        taken = self.log_slope.gather(2, wide)
        given = torch.zeros_like(taken)
        if self.couplings.correlation == "correlated":
            first = torch.complex(self.sinc / 2, self.theta * self.q)
            given = (first / self.sinc).gather(2, wide)
        theta_q = self.theta * self.q
        second = torch.complex(self.sinc / 2 - self.q, theta_q)
        ratio = self._own(second) / self._own(torch.complex(self.sinc / 2, theta_q))
        is_own = (columns == own[:, None])[:, None]
        given = torch.where(is_own, ratio[:, :, None], given)
        correction = self._summed(own_weight, given - taken)
        return torch.zeros_like(self.couplings.a).scatter_(1, columns, correction)

    def _summed(self, weight, slopes):
        """Return Re sum_u i u weight slopes: (pairs, features)."""
        weight = 1j * self.u * weight
        return torch.einsum("pk,pkj->pj", weight, slopes).real


def _polynomial(square):
    """Return q for small theta, from theta^2."""
    total = torch.full_like(square, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        total = total.mul_(square).add_(coefficient)
    return total


def _product(factors):
    """Return the product over the last dimension, by halves: much faster than torch.prod for complex numbers."""
    while factors.shape[-1] > 1:
        half = factors.shape[-1] // 2
        rest = factors[..., 2 * half :]
        factors = torch.cat((factors[..., :half] * factors[..., half : 2 * half], rest), dim=-1)
    return factors[..., 0]
