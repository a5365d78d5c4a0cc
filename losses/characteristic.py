"""Characteristic functions of sums over many features, and their derivatives in the couplings.

The characteristic function of z = sum_j a_j x_j is E[e^(iuz)], a product over sets of features.
Everything here is made of averages over one active feature, x uniform on [0, 1]. With v = a u,
theta = v / 2, s = sin(theta) / theta and q = (s - cos(theta)) / (2 theta^2) they are

    h = E[e^(ivx)]     = e^(i theta) s
    g = E[x e^(ivx)]   = e^(i theta) (s / 2 + i theta q)
    E[x^2 e^(ivx)]     = e^(i theta) (s / 2 + i theta q - q)

so that dh/da = i u g. A set of density p contributes the factor 1 - p + p h where features are
independent, 1 - p + p prod h where its members are active together (correlated), and 1 - p + p mean
h where exactly one member of an active set is active (anticorrelated).

A *pair* is one output of one instance. Pairs come first in all tensors, then frequencies, then
features.
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float64, Int64
from torch import Tensor

_SMALL = 1e-2  # |theta| below which q is a power series: the quotient would lose digits there
_TINY = 1e-200  # stands for an a of 0, which the quotients cannot divide by


class Couplings(NamedTuple):
    """Several pairs' sums z = sum_j a_j x_j, and the distribution of the features in them."""

    a: Float64[Tensor, "pairs features"]
    density: Float64[Tensor, "pairs features"]
    own: Int64[Tensor, " pairs"]  # the feature that the pair's output reconstructs
    correlation: str
    members: int  # features in a set; 1 where features are independent


class Characteristic:
    """The characteristic function of each pair's z at some frequencies, and its gradient.

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
        self.couplings = couplings
        self.u = u
        nonzero = torch.where(couplings.a == 0, _TINY, couplings.a)
        self.theta = u[:, :, None] * (nonzero / 2)[:, None]
        self.sine = self.theta.sin()
        self.cosine = self.theta.cos()
        self.sinc = self.sine / self.theta
        self.theta_q = (self.sinc - self.cosine).div_(self.theta).div_(2)
        small = self.theta.abs() < _SMALL
        if small.any():
            series = self.theta * (1 / 6 - self.theta.square() / 60)
            self.theta_q = torch.where(small, series, self.theta_q)
        independent = couplings.correlation == "independent"
        factors, self.log_slope = self._independent() if independent else self._sets()
        self.value = factors.prod(dim=2)
        self.own_value = self.value * torch.complex(*map(self._own, self.log_slope))

    def _independent(self):
        """Return the factors of E[e^(iuz)], and real and imaginary part of the logarithmic slopes.

        The slope d log E[e^(iuz)] / d(i u a_j) is E[x_j e^(iuz)] / E[e^(iuz)].
        """
        density = self.couplings.density[:, None]
        real = self.sinc * self.cosine
        real.mul_(density).add_(1 - density)
        imaginary = (self.sinc * self.sine).mul_(density)
        g_real, g_imaginary = self._first()
        share = density / (real.square().addcmul_(imaginary, imaginary))
        slope = (g_real * real).addcmul_(g_imaginary, imaginary).mul_(share)
        turned = (g_imaginary * real).addcmul_(g_real, imaginary, value=-1).mul_(share)
        return torch.complex(real, imaginary), (slope, turned)

    def _sets(self):
        """Return what `_independent` does, for features in sets."""
        size = self.couplings.members
        density = self.couplings.density[:, None, ::size]
        h = torch.complex(self.sinc * self.cosine, self.sinc * self.sine)
        slope = torch.complex(*self._first())
        if self.couplings.correlation == "correlated":
            share = density * h.unflatten(2, (-1, size)).prod(dim=3)
            factors = 1 - density + share
            slope = slope / h
        else:
            share = density / size
            factors = 1 - density + share * h.unflatten(2, (-1, size)).sum(dim=3)
        slope = slope * (share / factors).repeat_interleave(size, dim=2)
        return factors, (slope.real, slope.imag)

    def _first(self):
        """Return real and imaginary part of g = E[x e^(ivx)]."""
        half = self.sinc / 2
        real = (self.cosine * half).addcmul_(self.sine, self.theta_q, value=-1)
        imaginary = (self.cosine * self.theta_q).addcmul_(self.sine, half)
        return real, imaginary

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
            return self._summed(weight, *self.log_slope)
        own_weight = own_kernel * self.own_value
        total = self._summed(weight + own_weight, *self.log_slope)
        return total + self._own_set_correction(own_weight)

    def _own_set_correction(self, own_weight):
        """Return what the own set adds: its factor in E[x_i e^(iuz)] is not that in E[e^(iuz)]."""
        size = self.couplings.members
        own = self.couplings.own
        columns = (own // size * size)[:, None] + torch.arange(size, device=own.device)
        wide = columns[:, None].expand(-1, own_weight.shape[1], -1)
        taken = torch.complex(*(part.gather(2, wide) for part in self.log_slope))
        half = self.sinc.gather(2, wide) / 2
        theta_q = self.theta_q.gather(2, wide)
        theta = self.theta.gather(2, wide)
        q = torch.where(theta.abs() < _SMALL, 1 / 6 - theta.square() / 60, theta_q / theta)
        first = torch.complex(half, theta_q)
        others = first / (2 * half) if self.couplings.correlation == "correlated" else 0 * first
        is_own = (columns == own[:, None])[:, None]
        given = torch.where(is_own, 1 - q / first, others) - taken
        correction = self._summed(own_weight, given.real, given.imag)
        return torch.zeros_like(self.couplings.a).scatter_(1, columns, correction)

    def _summed(self, weight, slope, turned):
        """Return Re sum_u i u weight (slope + i turned): (pairs, features)."""
        weight = weight * self.u
        real = -weight.imag[:, None] @ slope
        return (real - weight.real[:, None] @ turned)[:, 0]
