"""Averages of piecewise powers over a sum of many random variables, by Fourier series.

Let S_r(t) = sgn(t) t^r / r!. The square wave S_0 has the series 4/pi sum sin(kt) / k over odd k for
|t| < pi. Integrated r times, each time to a periodic function of mean zero, it becomes

    I_r(t) = 4/pi sum Im[e^(ikt) / (i^r k^(r+1))],    S_r(t) = I_r(t) + sum c_s t^(r-s) / (r-s)!,
    |t| < pi,

the last sum over odd s up to r, with the constants c_1 = pi/2, c_3 = -pi^3/24, ... that make S_r(0)
= 0. So E[S_r(t + z)] is a sum over k of E[e^(ikwz)] and a polynomial in the moments of z, exactly,
if pi/w is at least the largest |t + z|.

Where no feature is active z is 0. This *atom* never falls with k, so it is taken out of the series
and added in closed form.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from losses.characteristic import Characteristic, Couplings

TERMS = 2**13  # the most terms of a series
_SHORTEST = 8  # the fewest terms that are summed at a time
_LONGEST = 64  # the most terms that are summed at a time
_STEEP = 1e-3  # weight of an error of the gradient beside one of the loss
CONSTANTS = {  # 4/pi sum over odd k of 1 / k^(s+1), with alternating signs
    1: math.pi / 2,
    3: -(math.pi**3) / 24,
    5: math.pi**5 / 240,
    7: -17 * math.pi**7 / 40320,
    9: 31 * math.pi**9 / 725760,
}


class Points(NamedTuple):
    """Where a series is evaluated, and how its values enter the loss."""

    t: Float64[Tensor, "pairs points"]
    w: Float64[Tensor, " pairs"]  # the lowest frequency
    atom: Float64[Tensor, " pairs"]  # probability that no feature of z is active
    slopes: Float64[Tensor, "pairs points powers"]  # d loss / d E[I_r], r = 2, 3, ...
    own_slopes: Float64[Tensor, " pairs"] | None  # d loss / d E[x_i I_1] at the only point


class Averages(NamedTuple):
    """Averages of the periodic functions, scaled as w^-r I_r(w (t + z)), and how good they are."""

    values: Float64[Tensor, "pairs points powers"]  # r = 1, 2, 3, ...
    own: Float64[Tensor, "pairs own_powers"]  # E[x_i I_r], r = 0, 1; 0 without own_slopes
    gradient: Float64[Tensor, "pairs features"]  # of the loss in the couplings, through z alone
    error: Float64[Tensor, " pairs"]  # estimate of the loss's, from the last terms
    terms: int


def averages(couplings: Couplings, points: Points, allowed: Float64[Tensor, " pairs"]) -> Averages:
    """Sum the series of every pair until the terms left out are small.

    Args:
        couplings: The features of z.
        points: Where the series is evaluated.
        allowed: The largest error of the loss.

    Returns:
        The averages. Their `error` is above `allowed` where TERMS terms are not enough.
    """
    powers = torch.arange(1, points.slopes.shape[2] + 2, dtype=torch.float64)
    values = torch.zeros(*points.slopes.shape[:2], len(powers), dtype=torch.float64)
    own = torch.zeros(len(points.w), 2, dtype=torch.float64)
    gradient = torch.zeros_like(couplings.a)
    sums = []
    terms = 0
    while terms < TERMS:
        size = min(max(_SHORTEST, terms // 4), _LONGEST)
        block = _Block(couplings, points, 2 * torch.arange(terms, terms + size).double() + 1)
        terms += size
        values += block.values(powers)
        gradient += block.gradient(powers[1:])
        if points.own_slopes is not None:
            own += block.own_values()
        sums.append(_Sum(terms, _loss(values, own, points), gradient.clone()))
        if terms > _SHORTEST:
            error = _error(sums)
            if (error <= allowed).all():
                break
    values += _atom_value(points, powers)
    return Averages(values, own, gradient, error, terms)


class _Sum(NamedTuple):
    """What some terms add up to."""

    terms: int
    loss: Float64[Tensor, " pairs"]
    gradient: Float64[Tensor, "pairs features"]


def _loss(values, own, points):
    """Return the part of the loss that is in the series: (pairs,)."""
    loss = (values[..., 1:] * points.slopes).sum(dim=(1, 2))
    return loss if points.own_slopes is None else loss + own[:, 1] * points.own_slopes


def _error(sums):
    """Estimate the error by what the last third of the terms, and the last block, changed."""
    last = sums[-1]
    earlier = next(
        part for part in reversed(sums[:-1]) if 3 * part.terms <= 2 * last.terms or part is sums[0]
    )
    return _change(earlier, last) + _change(sums[-2], last)


def _change(before, after):
    slope = (after.gradient - before.gradient).abs().amax(dim=1)
    return torch.maximum((after.loss - before.loss).abs(), _STEEP * slope)


class _Block:
    """Some terms of the series."""

    def __init__(self, couplings, points, k):
        self.points = points
        self.k = k
        u = points.w[:, None] * k
        self.wave = Characteristic(couplings, u)
        self.phase = torch.exp(1j * points.t[:, :, None] * u[:, None])
        self.moving = self.wave.value - points.atom[:, None]

    def values(self, powers):
        """Return E[I_r]: (pairs, points, powers)."""
        return _terms(self.moving[:, None] * self.phase, self.k, powers, self.points.w)

    def own_values(self):
        """Return E[x_i I_r] for r = 0 and 1 at the only point: (pairs, 2)."""
        powers = torch.arange(2, dtype=torch.float64)
        own = self.wave.own_value[:, None] * self.phase
        return _terms(own, self.k, powers, self.points.w)[:, 0]

    def gradient(self, powers):
        """Return the gradient of the loss in the couplings: (pairs, features)."""
        kernel = self._kernel(self.points.slopes, powers)
        if self.points.own_slopes is None:
            return self.wave.gradient(kernel)
        own = self._kernel(
            self.points.own_slopes[:, None, None], torch.ones(1, dtype=torch.float64)
        )
        return self.wave.gradient(kernel, own)

    def _kernel(self, slopes, powers):
        """Return d loss / d E[e^(iuz)]: the factor of E[e^(iuz)] whose real part is summed."""
        turns = (-1j) ** (powers + 1)
        scaled = 4 / math.pi * slopes * self.points.w[:, None, None] ** -powers
        weights = (scaled * turns) @ (self.k ** -(powers[:, None] + 1)).to(torch.complex128)
        return (weights * self.phase).sum(dim=1)


def _terms(waves, k, powers, w):
    """Return the sum over k of 4/pi Im[waves / (i^r k^(r+1))] w^-r for each power r."""
    turned = (waves.imag, -waves.real, -waves.imag, waves.real)
    sums = [turned[int(r) % 4] @ k ** -(r + 1) for r in powers]
    return 4 / math.pi * torch.stack(sums, dim=-1) * w[:, None, None] ** -powers


def _atom_value(points, powers):
    """Return what the atom adds to E[I_r]: I_r at t in closed form."""
    t = points.t[:, :, None]
    w = points.w[:, None, None]
    closed = torch.cat([_closed(t, w, int(r)) for r in powers], dim=2)
    return points.atom[:, None, None] * closed


def _closed(t, w, r):
    """Return w^-r I_r(w t)."""
    total = t.sgn() * t**r / math.factorial(r)
    for s in range(1, r + 1, 2):
        total = total - CONSTANTS[s] * w**-s * t ** (r - s) / math.factorial(r - s)
    return total
