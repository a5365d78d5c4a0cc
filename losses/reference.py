"""The careful reference: the loss of a ReLU output to full accuracy, for every kind of inputs.

It serves two purposes. The fast recursion hands over the few outputs whose rounding error it cannot
bound, and inputs that the fast recursion does not know are computed here from the start. Only the
loss is written out; autograd differentiates it.

**States.** The distribution of the inputs is a mixture of *states*. A state says which features may
be active; each of them is then active independently, with a density of its own. The target, which
is the output's own feature, is either certain or absent, so that within a state the squared error
is

    absent:  E[ReLU(z)^2] = 2 F_2            certain:  E[(x - ReLU(z))^2] = E[x^2] + 2 (F_2 - M_1)

with F_r = E[T_r(z)], M_r = E[x T_r(z)], and T_r(t) = max(t, 0)^r / r! as in `losses.recursion`.

**Order.** The steps of the recursion average over features from the smallest |a| to the largest.
Wherever z cannot change its sign under the features averaged so far, the average is a Taylor series
at t. Elsewhere |t| is at most a few times the |a| of the step, so that its quotient of differences
is harmless.

**The mirror.** Near a perfect reconstruction E[x^2] + 2 (F_2 - M_1) cancels. There the same loss is
taken as E[(x - z)^2] - 2 (F_2 + M_1), of -z in place of z, whose terms are all small.

**Discrete values** need no recursion: the loss is a finite sum over the vertices, and nothing
cancels.
"""

from itertools import accumulate, product
from math import prod

import torch

from features import Uniform
from losses.moments import CHUNK_NUMBERS, Moments

CLOSE = 1e-2  # E[(x - z)^2] of a certain target below which the mirrored form is taken
FLAT = 1e-60  # an |a| below this divides nothing
MOST_VERTICES = 2**16  # of one output: 1/2 MiB for each power


class Reference:
    """All outputs of a model, one after the other: loss and gradient for every kind of inputs.

    Instances are worked on in chunks. It has the interface of `losses.recursion.Recursion`.
    """

    def __init__(self, distribution):
        self.distribution = distribution
        powers = distribution.features + 3
        size = max(1, CHUNK_NUMBERS // (powers * vertex_count(distribution)))
        starts = range(0, distribution.instances, size)
        self.chunks = [slice(start, start + size) for start in starts]

    def constants(self, chunk):
        """Return the distribution of a chunk of instances."""
        return self.distribution.select(chunk)

    def loss(self, W, b, distribution, W_gradient=None, b_gradient=None):
        """Return the losses (instances,); write their gradient where tensors for it are given."""
        leaves = W.detach().double(), b.detach().double()
        if W_gradient is None:
            return self._losses(*leaves, distribution)
        with torch.enable_grad():
            losses = self._losses(*(leaf.requires_grad_() for leaf in leaves), distribution)
            gradients = torch.autograd.grad(losses.sum(), leaves)
        W_gradient.copy_(gradients[0])
        b_gradient.copy_(gradients[1])
        return losses.detach()

    gradient = loss

    def _losses(self, W, b, distribution):
        gram = W.mT @ W  # (instances, features, features)
        density = distribution.density.t()  # (features, instances)
        losses = torch.zeros_like(b[:, 0])
        for target in range(distribution.features):
            slopes = gram[:, target].t()
            error = squared_error(target, b[:, target], slopes, density, distribution)
            losses = losses + distribution.importance[:, target] * error
        return losses


def vertex_count(distribution):
    """Return how many vertices one output has: 2^features, or more if values do not begin at 0."""
    return len(_points(distribution.values)) ** distribution.features


def squared_error(target, b, slopes, density, distribution):
    """Return E[(x_i - ReLU(z))^2] of one output i of many models, z = b + slopes.x.

    Args:
        target: Position of feature i.
        b: Biases (pairs,).
        slopes: The row a of W^T W (features, pairs).
        density: Densities (features, pairs).
        distribution: The FeatureDistribution; its sets, parents and values count, not its
        densities.

    Returns:
        The squared errors (pairs,), for autograd to differentiate.
    """
    if isinstance(distribution.values, Uniform):
        conditional = _error_of_ranges
    else:
        conditional = _error_of_discrete_values
    error = 0
    for probability, densities in states(target, density, distribution):
        present = list(densities)
        state_density = torch.stack([densities[j] for j in present]) if present else density[:0]
        is_target = [j == target for j in present]
        conditions = slopes[present], state_density, is_target
        error = error + probability * conditional(b, *conditions, distribution.values)
    return error


# States


def states(target, density, distribution):
    """Yield the states of the inputs: (probability (pairs,), {position: density (pairs,)}).

    Args:
        target: Position of the output's own feature, which is certain in a state or absent.
        density: Densities (features, pairs).
        distribution: The FeatureDistribution whose sets and parents these features have.
    """
    for chosen in product(*_groups(target, density, distribution)):
        probability = prod(chance for chance, _ in chosen)
        densities = {}
        for _, some in chosen:
            densities |= some
        yield probability, densities


def _groups(target, density, distribution):
    """List for each group of dependent features its alternatives.

    An alternative is (probability, {position: density}).
    """
    if distribution.parents is not None:
        return [_family(target, density, distribution.parents)]
    members = distribution.members
    if members == 1:
        return [_alone(j, target, density) for j in range(len(density))]
    sets = [range(first, first + members) for first in range(0, len(density), members)]
    if distribution.correlation == "anticorrelated":
        return [_exclusive(some, density) for some in sets]
    return [_together(some, target, density, distribution.strength) for some in sets]


def _alone(j, target, density):
    """A feature on its own: only the target needs two alternatives."""
    if j != target:
        return [(1, {j: density[j]})]
    return [(1 - density[j], {}), (density[j], {j: torch.ones_like(density[j])})]


def _exclusive(some, density):
    """A set of which at most one member is active, each with the same probability."""
    first = density[some[0]]
    certain = [(first / len(some), {j: torch.ones_like(first)}) for j in some]
    return [(1 - first, {}), *certain]


def _together(some, target, density, strength):
    """Return the states of a set that shares one draw with probability `strength`.

    Otherwise its members are independent.
    """
    first = density[some[0]]
    ones = dict.fromkeys(some, torch.ones_like(first))
    if strength == 1:
        return [(1 - first, {}), (first, ones)]
    shared = [(strength * (1 - first), {}), (strength * first, ones)]
    alone = []
    for chosen in product(*(_alone(j, target, density) for j in some)):
        densities = {}
        for _, one in chosen:
            densities |= one
        alone.append(((1 - strength) * prod(chance for chance, _ in chosen), densities))
    return shared + alone


def _family(target, density, parents):
    """Nested features: those with children, and the target, are certain or absent in a state."""
    decided = {parent for parent in parents if parent is not None} | {target}
    alternatives = [(1, {})]
    for j, parent in enumerate(parents):
        extended = []
        for chance, densities in alternatives:
            if parent is not None and parent not in densities:
                extended.append((chance, densities))
                continue
            share = density[j]
            if parent is not None:
                share = torch.where(density[parent] > 0, density[j] / density[parent], 0)
            if j not in decided:
                extended.append((chance, densities | {j: share}))
                continue
            extended.append((chance * (1 - share), densities))
            extended.append((chance * share, densities | {j: torch.ones_like(share)}))
        alternatives = extended
    return alternatives


# The squared error within a state


def _error_of_discrete_values(b, slopes, density, is_target, values):
    """E[(x - ReLU(z))^2] within a state, by a sum over all combinations of values."""
    z = b[None]  # (vertices, pairs)
    probability = torch.ones_like(z)
    x = torch.zeros_like(z)
    for slope, p, target in zip(slopes, density, is_target):
        points = [0.0, *values]
        chances = [1 - p, *(p / len(values) for _ in values)]
        x = torch.cat([x + point * target for point in points])
        z = torch.cat([z + point * slope for point in points])
        probability = torch.cat([probability * chance for chance in chances])
    return (probability * (x - z.clamp(min=0)).square()).sum(0)


def _error_of_ranges(b, slopes, density, is_target, values):
    """E[(x - ReLU(z))^2] within a state, of values that are uniform on a range."""
    sign = torch.ones_like(b)
    constant = 0
    target = any(is_target)
    if target:
        own = torch.tensor(is_target, dtype=b.dtype, device=b.device)[:, None]
        first = _value_moment(values, 1)
        second = _value_moment(values, 2)
        mean = density * first
        moments = Moments(mean, density * second - mean**2, torch.zeros_like(mean), 1)
        bias, spread = moments.residual(own - slopes, b)
        residual = bias**2 + ((own - slopes) * spread).sum(0)
        mirrored = residual < CLOSE
        sign = torch.where(mirrored, -sign, sign)
        constant = torch.where(mirrored, residual, second)
    sums = _ordered_sums(sign * b, sign * slopes, density, is_target, sign * target, values)
    return constant + 2 * sign * sums


def _ordered_sums(b, slopes, density, is_target, sign, values):
    """F_2 - sign M_1 of the target, by steps from the smallest |a| to the largest."""
    order = slopes.abs().argsort(0)
    target = torch.tensor(is_target, dtype=torch.bool, device=b.device)[:, None].expand_as(order)
    slopes = slopes.gather(0, order)
    density = density.gather(0, order)
    signs = torch.where(target.gather(0, order), sign, 0)
    points = _points(values)
    z = b[None]  # (vertices, pairs), those where the features of the lower steps are zero first
    for slope in reversed(slopes):
        z = torch.cat([z + point * slope if point else z for point in points])
    T = _powers(z, len(slopes) + 2) * (z >= 0)  # from r = 0
    reach = torch.zeros_like(b)  # how far below z the features averaged so far can take it
    for slope, p, sign in zip(slopes, density, signs):
        at_points = dict(zip(points, T.unflatten(1, (len(points), -1)).unbind(1)))
        z = z[: len(at_points[0.0][0])]
        drop = torch.stack([-slope * point for point in points]).amax(0)
        reach = reach + drop.clamp(min=0)
        flat = slope.abs() < FLAT
        quotients = _quotients(at_points, slope.where(~flat, 1), p, sign, values)
        series = _series(at_points[0.0], slope, p, sign, values)
        converges = (z >= reach) | flat
        T = torch.cat([at_points[0.0][:1], torch.where(converges, series[1:-1], quotients)])
    return T[2, 0]


def _quotients(at_points, slope, p, sign, values):
    """The average over one feature, minus sign M_(r-1), by quotients of differences, from r = 1."""
    width = values.high - values.low
    low = at_points[values.low]
    high = at_points[values.high]
    J = (high - low)[1:] / (slope * width)
    ends = (values.high * high[1:-1] - values.low * low[1:-1]) / width
    M = (ends - J[1:]) / slope
    return (1 - p) * at_points[0.0][1:-1] + p * J[1:] - sign * M


def _series(T, slope, p, sign, values):
    """The same by Taylor's series at t, from r = 0: right where z does not change its sign."""
    powers = _powers(slope, len(T) - 1)
    series = T.clone()
    for k in range(1, len(T)):
        moment = (k + 1) * _value_moment(values, k)
        series[k:] += moment * (p * powers[k] - sign * powers[k - 1]) / (k + 1) * T[:-k]
    return series


def _value_moment(values, k):
    """E[x^k] of an active feature whose values are uniform on a range."""
    return (values.high ** (k + 1) - values.low ** (k + 1)) / ((k + 1) * (values.high - values.low))


def _points(values):
    """Values of a feature at which z has a vertex, zero first."""
    if isinstance(values, Uniform):
        return tuple(dict.fromkeys((0.0, values.low, values.high)))
    return (0.0, *values)


def _powers(t, top):
    """t^r / r! for r = 0 ... top, in a new first dimension."""
    later = range(1, top + 1)
    powers = accumulate(later, lambda power, r: power * t / r, initial=torch.ones_like(t))
    return torch.stack([*powers])
