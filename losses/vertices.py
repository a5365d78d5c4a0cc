"""The loss of single outputs: some features in closed form, the rest by a series.

`many_features.py` has the derivation. A *pair* is one output of one instance.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from losses.characteristic import Couplings
from losses.fourier import CONSTANTS, Points, averages

_NUMBERS = 2**17  # in a tensor of pairs, frequencies and features at a time: it stays in the cache
_BLOCK = 16  # frequencies at a time
_CLOSED = 6  # the most features averaged over in closed form beside the own one
_TINY = 1e-100  # a range below it counts as this
_OUTSIDE = 1e-12  # probability that the rest lies outside of its range
_HOEFFDING = math.sqrt(math.log(2 / _OUTSIDE) / 2)  # the range in units of the norm of a
_CHERNOFF = math.sqrt(
    2 * math.log(2 / _OUTSIDE)
)  # in units of the standard deviation, if y is nearly normal
_WHOLE = -1  # closed features where the whole sum is the rest, the own feature included


class Pairs(NamedTuple):
    """Outputs of instances, and the density of their features."""

    instance: Int64[Tensor, " pairs"]
    own: Int64[Tensor, " pairs"]
    b: Float64[Tensor, " pairs"]
    a: Float64[Tensor, "pairs features"]
    density: Float64[Tensor, "pairs features"]
    importance: Float64[Tensor, " pairs"]
    allowed: Float64[Tensor, " pairs"]  # error of the loss

    def select(self, index):
        """Return some of the pairs."""
        return Pairs(*(field[index] for field in self))


class Part(NamedTuple):
    """The losses of some pairs, times importance, and their gradients."""

    pairs: Pairs
    loss: Float64[Tensor, " pairs"]
    error: Float64[Tensor, " pairs"]  # bound on what the terms left out add
    b_gradient: Float64[Tensor, " pairs"]
    a_gradient: Float64[Tensor, "pairs features"]


def parts(pairs: Pairs, correlation, members):
    """Yield the losses of the pairs, a few at a time that are alike.

    Args:
        pairs: The pairs.
        correlation: How features depend on each other within a set.
        members: Features in a set; 1 where features are independent.

    Yields:
        A Part for some pairs; each pair is in one.
    """
    closed, terms = _plan(pairs) if members == 1 else _plan_of_sets(pairs)
    size = max(1, _NUMBERS // (_BLOCK * pairs.a.shape[1]))
    for count in closed.unique().tolist():
        alike = (closed == count).nonzero()[:, 0]
        alike = alike[terms[alike].argsort()]
        for index in alike.split(size):
            chosen = pairs.select(index)
            kind = (
                _Whole(chosen, correlation, members) if count == _WHOLE else _Closed(chosen, count)
            )
            yield kind.part()


# The plan


def _plan_of_sets(pairs):
    return torch.full_like(pairs.own, _WHOLE), torch.zeros_like(pairs.b)


def _plan(pairs):
    """Choose how many features are closed beside the own one, and estimate the series' terms.

    A feature of small |a| u contributes the factor exp(-(a u)^2 Var(x) / 2) to the characteristic
    function, one of large |a| u at least its probability of being inactive.
    """
    features = pairs.a.shape[1]
    own = pairs.own[:, None]
    size = torch.where(pairs.density > 0, pairs.a.abs(), 0)
    own_size = size.gather(1, own)[:, 0]
    ascending = size.scatter(1, own, 0).sort(dim=1).values
    zero = torch.zeros_like(own_size)[:, None]
    squares = torch.cat((zero, ascending.square().cumsum(dim=1)), dim=1)
    density = pairs.density.mean(dim=1, keepdim=True)
    variance = density / 3 - density**2 / 4
    plateau = -(1 - density).clamp(min=0.05).log()
    best = torch.full_like(own_size, math.inf)
    closed = torch.full_like(pairs.own, _WHOLE)
    terms = torch.full_like(own_size, math.inf)
    k = 8 * 2 ** torch.arange(0, 11, 0.5, dtype=size.dtype)
    spread = torch.minimum(_CHERNOFF * variance.sqrt()[:, 0], torch.tensor(_HOEFFDING))
    largest = (pairs.b + (pairs.a * pairs.density).sum(dim=1) / 2).abs() + own_size
    divisor = own_size.square()
    for count in range(min(_CLOSED, features - 1) + 1):
        reach = (spread * squares[:, features - count].sqrt()).clamp(min=_TINY)
        u = k * (math.pi / (2 * reach))[:, None]
        below = torch.searchsorted(ascending, (2 * plateau / variance).sqrt() / u)
        below = below.clamp(max=features - count)
        fall = squares.gather(1, below) * variance * u.square() / 2
        fall = fall + plateau * (features - count - below)
        small = pairs.allowed[:, None]
        short = (fall + 3 * k.log() < (reach[:, None].square() / (10 * small)).log()) | (
            fall + 2 * k.log() < (reach[:, None] / (1e4 * small)).log()
        )
        estimate = k[short.sum(dim=1).clamp(max=len(k) - 1)]
        if count == 0:
            estimate = torch.where(_far_from_kink(pairs, reach), 0, estimate)
        work = estimate * (features + 3 * 2**count)
        if count:
            divisor = divisor * ascending[:, features - count]
            largest = largest + ascending[:, features - count]
        highest = (largest + reach) ** (count + 3) / math.factorial(count + 3)
        fits = _ROUNDING * highest <= pairs.allowed * divisor
        better = fits & (work < best)
        closed = torch.where(better, count, closed)
        terms = torch.where(better, estimate, terms)
        best = torch.where(better, work, best)
    return closed, terms


_ROUNDING = 1e-15  # error of a power at a vertex, relative, with some room


def _far_from_kink(pairs, reach):
    """Return whether the output changes its sign neither with nor without its own feature."""
    own = pairs.own[:, None]
    mean = (pairs.a * pairs.density).scatter(1, own, 0).sum(dim=1) / 2
    idle = pairs.b + mean
    active = idle + pairs.a.gather(1, own)[:, 0]
    return torch.minimum(idle.abs(), active.abs()) > reach


def _reach(a, density, members=1):
    """Bound the distance of a sum over features from its mean, but for a probability of _OUTSIDE.

    The largest sum of all |a| is one bound, Hoeffding's inequality another. The third, for
    independent features, is Chernoff's: P(y > reach) <= E[e^(s y)] / e^(s reach) for any s, here
    nearly the best one.
    """
    a = torch.where(density > 0, a, 0)
    sets = a.abs().unflatten(1, (-1, members)).sum(dim=2)
    largest = torch.minimum(_HOEFFDING * sets.norm(dim=1), sets.sum(dim=1)).clamp(min=_TINY)
    if members > 1:
        return largest
    variance = (a.square() * (density / 3 - density.square() / 4)).sum(dim=1)
    s = (2 * math.log(2 / _OUTSIDE) / variance.clamp(min=_TINY)).sqrt()[:, None]
    logs = torch.stack([_log_moment(sign * s * a, density) for sign in (-1, 1)]).amax(dim=0)
    chernoff = (logs + math.log(2 / _OUTSIDE)) / s[:, 0]
    return torch.fmin(largest, chernoff).clamp(min=_TINY)


def _log_moment(v, density):
    """Return log E[e^(sum v (x - E[x]))]: (pairs,)."""
    average = torch.where(v.abs() < 1e-4, 1 + v / 2 + v**2 / 6, v.expm1() / v)
    return ((density * (average - 1)).log1p() - v * density / 2).sum(dim=1)


# Closed form


class _Closed:
    """Pairs whose own feature and `count` others are averaged over in closed form."""

    def __init__(self, pairs, count):
        self.pairs = pairs
        self.count = count
        self.b = pairs.b.clone().requires_grad_()
        self.a = pairs.a.clone().requires_grad_()
        size = torch.where(pairs.density > 0, pairs.a.abs(), 0).scatter(1, pairs.own[:, None], 0)
        others = size.topk(count, dim=1).indices
        self.index = torch.cat((pairs.own[:, None], others), dim=1)
        self.density = pairs.density.gather(1, self.index)
        self.rest_density = pairs.density.scatter(1, self.index, 0)
        rest = pairs.a.scatter(1, self.index, 0)
        self.reach = _reach(rest, self.rest_density)
        self.w = math.pi / (2 * self.reach)

    @torch.enable_grad()
    def part(self):
        """Return the losses and their gradients."""
        rest = self.a.scatter(1, self.index, 0)
        closed = self.a.gather(1, self.index)
        t = self.b[:, None]
        for a in closed.unbind(dim=1):
            t = torch.cat((t, t + a[:, None]), dim=1)
        mean, moments = _moments(rest, self.rest_density, self.count + 3)
        polynomials = _polynomials(t + mean[:, None], moments)
        found = self._series(rest.detach(), t.detach(), polynomials[1].detach(), closed.detach())
        F = self._averages(t, polynomials, found)
        loss = self.pairs.importance * _loss(F, closed, self.density)
        b_gradient, a_gradient = torch.autograd.grad(loss.sum(), (self.b, self.a))
        a_gradient += found.gradient
        return Part(self.pairs, loss.detach(), found.error, b_gradient, a_gradient)

    def _near(self, centred):
        return centred.abs() < self.reach[:, None]

    def _series(self, rest, t, centred, closed):
        """Sum the series of the vertices near the kink; others get zeros."""
        near = self._near(centred)
        slopes = self._slopes(t.shape, closed) * near[..., None] / 2
        rows = near.any(dim=1).nonzero()[:, 0]
        found = _Found.zeros(slopes, rest)
        if len(rows):
            atom = (1 - self.rest_density[rows]).prod(dim=1)
            points = Points(t[rows], self.w[rows], atom, slopes[rows], None)
            couplings = Couplings(
                rest[rows], self.rest_density[rows], self.pairs.own[rows], "independent", 1
            )
            found.fill(rows, averages(couplings, points, self.pairs.allowed[rows]))
        return found

    @torch.enable_grad()
    def _slopes(self, shape, closed):
        """Return the derivatives of the loss in F_r at the vertices: (pairs, vertices, powers)."""
        F = torch.zeros(*shape, self.count + 2, dtype=closed.dtype, requires_grad=True)
        loss = self.pairs.importance * _loss(F.unbind(dim=2), closed, self.density)
        return torch.autograd.grad(loss.sum(), F)[0]

    def _averages(self, t, polynomials, found):
        """Return F_r = E[T_r(t + y)], r = 2, 3, ...: a list of (pairs, vertices)."""
        centred = polynomials[1]
        near = self._near(centred.detach())
        moved = t - t.detach()
        F = []
        for r in range(2, self.count + 4):
            periodic = found.values[..., r - 1] + moved * found.values[..., r - 2]
            inside = periodic + _inside(polynomials, self.w[:, None], r)
            outside = centred.detach().sgn() * polynomials[r]
            F.append((polynomials[r] + torch.where(near, inside, outside)) / 2)
        return F


class _Found:
    """What the series of some pairs gave, and zeros for the others."""

    def __init__(self, values, gradient, error, own):
        self.values = values
        self.gradient = gradient
        self.error = error
        self.own = own

    @classmethod
    def zeros(cls, slopes, couplings):
        """Make one without series."""
        pairs, points, powers = slopes.shape
        return cls(
            slopes.new_zeros(pairs, points, powers + 1),
            torch.zeros_like(couplings),
            slopes.new_zeros(pairs),
            slopes.new_zeros(pairs, 2),
        )

    def fill(self, rows, found):
        """Enter the averages of some pairs."""
        self.values[rows] = found.values
        self.gradient[rows] = found.gradient
        self.error[rows] = found.error
        if found.own is not None:
            self.own[rows] = found.own


def _inside(polynomials, w, r):
    """Return E[S_r(t + y)] less its periodic part, where |t + y| is below pi / w."""
    return sum(CONSTANTS[s] * w**-s * polynomials[r - s] for s in range(1, r + 1, 2))


def _loss(F, a, density):
    """Average over the closed features: a, density (pairs, 1 + count), the own one first.

    F: F_2, F_3, ... (pairs, vertices), the second half of the vertices with the last feature at 1.
    """
    for column in range(a.shape[1] - 1, 0, -1):
        p = density[:, column, None]
        low = [power.chunk(2, dim=1)[0] for power in F]
        risen = [_risen(power, a[:, column]) for power in F]
        F = [(1 - p) * power + p * average for power, average in zip(low[:-1], risen[1:])]
    p = density[:, 0]
    idle, active = F[0].unbind(dim=1)
    second = _risen(F[1], a[:, 0])[:, 0]
    cross = (active - second) / a[:, 0]
    return p / 3 + 2 * ((1 - p) * idle + p * second) - 2 * p * cross


def _risen(power, a):
    low, high = power.chunk(2, dim=1)
    return (high - low) / a[:, None]


def _moments(a, density, highest):
    """Return mean and central moments, from 0 to highest, of a sum over independent features."""
    raw = [density**0] + [density / (order + 1) for order in range(1, highest + 1)]
    cumulants = [None]
    for n in range(1, highest + 1):
        lower = sum(math.comb(n - 1, m - 1) * cumulants[m] * raw[n - m] for m in range(1, n))
        cumulants.append(raw[n] - lower)
    total = [(a**n * cumulants[n]).sum(dim=1) for n in range(1, highest + 1)]
    mean = total[0]
    central = [torch.ones_like(mean), torch.zeros_like(mean)]
    for n in range(2, highest + 1):
        central.append(
            sum(math.comb(n - 1, m - 1) * total[m - 1] * central[n - m] for m in range(2, n + 1))
        )
    return mean, central


def _polynomials(centred, moments):
    """Return E[(t + y)^r] / r! for r = 0, 1, ... from t + E[y] and the central moments of y."""
    return [
        sum(
            moments[q][:, None] * centred ** (r - q) / (math.factorial(q) * math.factorial(r - q))
            for q in range(r + 1)
        )
        for r in range(len(moments))
    ]


# Without closed form


class _Whole:
    """Pairs whose whole sum is the rest: L = E[x^2] + 2 E[T_2(z)] - 2 E[x_i T_1(z)], z = b + y."""

    def __init__(self, pairs, correlation, members):
        self.pairs = pairs
        self.couplings = Couplings(pairs.a, pairs.density, pairs.own, correlation, members)
        self.b = pairs.b.clone().requires_grad_()
        self.a = pairs.a.clone().requires_grad_()
        self.reach = _reach(pairs.a, pairs.density, members)
        self.w = math.pi / (2 * self.reach)

    @torch.enable_grad()
    def part(self):
        """Return the losses and their gradients."""
        mean, own_mean, square, product = self._moments()
        near = mean.detach().abs() < self.reach
        found = self._series(near)
        side = mean.detach().sgn()
        moved = self.b - self.pairs.b
        values = found.values[:, 0]
        # E[S_2(z)] and E[x_i S_1(z)], S_2 = z |z| / 2 and S_1 = |z|
        second = values[:, 1] + moved * values[:, 0] + CONSTANTS[1] / self.w * mean
        first = found.own[:, 1] + moved * found.own[:, 0] + CONSTANTS[1] / self.w * own_mean
        second = torch.where(near, second, side * square / 2)
        first = torch.where(near, first, side * product)
        loss = 2 / 3 * own_mean + square / 2 + second - product - first
        loss = self.pairs.importance * loss
        b_gradient, a_gradient = torch.autograd.grad(loss.sum(), (self.b, self.a))
        a_gradient += found.gradient
        return Part(self.pairs, loss.detach(), found.error, b_gradient, a_gradient)

    def _moments(self):
        """Return E[z], E[x_i], E[z^2] and E[x_i z]."""
        own = self.pairs.own[:, None]
        size = self.couplings.members
        p = self.pairs.density
        if self.couplings.correlation == "anticorrelated":
            p = p / size
            shared = -(p**2) / 4
        elif size > 1:
            shared = p * (1 - p) / 4
        else:
            shared = torch.zeros_like(p)
        sums = self.a.unflatten(1, (-1, size)).sum(dim=2).repeat_interleave(size, dim=1)
        covariance = (p / 3 - p**2 / 4 - shared) * self.a + shared * sums  # of x_j and z
        mean = self.b + (self.a * p / 2).sum(dim=1)
        own_mean = p.gather(1, own)[:, 0] / 2
        square = mean**2 + (self.a * covariance).sum(dim=1)
        return mean, own_mean, square, own_mean * mean + covariance.gather(1, own)[:, 0]

    def _series(self, near):
        """Sum the series of the pairs that are near the kink; others get zeros."""
        pairs = self.pairs
        found = _Found.zeros(pairs.importance[:, None, None], pairs.a)
        rows = near.nonzero()[:, 0]
        if len(rows):
            importance = pairs.importance[rows]
            sets = pairs.density[rows, :: self.couplings.members]
            points = Points(
                pairs.b[rows, None],
                self.w[rows],
                (1 - sets).prod(dim=1),
                importance[:, None, None],
                -importance,
            )
            chosen = self.couplings._replace(
                a=pairs.a[rows], density=pairs.density[rows], own=pairs.own[rows]
            )
            found.fill(rows, averages(chosen, points, pairs.allowed[rows]))
        return found
