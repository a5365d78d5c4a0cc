"""The fast recursion: loss and gradient of ReLU outputs of few features, uniform on [0, 1].

**Averaging over a feature.** Let T_r(t) = max(t, 0)^r / r!, the derivative of T_(r+1). Averages
over an active feature, x uniform on [0, 1], are quotients of differences, by parts:

    J_r = E[T_r(t + a x)]     = (T_(r+1)(t + a) - T_(r+1)(t)) / a
    M_r = E[x T_r(t + a x)]   = (T_(r+1)(t + a) - J_(r+1)) / a
    N_r = E[x^2 T_r(t + a x)] = (T_(r+1)(t + a) - 2 M_(r+1)) / a

**The recursion.** Start from the powers r = 1, 2, ... at all vertices t = b + sum_j a_j v_j with
v_j in {0, 1}, and average over one feature after the other. Each *step* halves the vertices and
uses up one power. A feature of density p takes T_r to (1 - p) T_r(t) + p J_r. Beside this average
the sums weighted by a feature, E[x_j T_r], are kept as further *components*: the step of feature j
begins one with p M_r. The output's own feature, the *target*, comes last. Where it is active the
loss is (x - ReLU(z))^2, otherwise ReLU(z)^2 = 2 T_2(z). Therefore J_r - M_(r-1) takes the place of
its J_r, and M_1 - N_0 that of its M_1. At the end, since T_r' = T_(r-1), the sums F_r give the loss
p/3 + 2 F_2, its derivative 2 F_1 in b and, in component j, in a_j.

**Sets.** With probability 1 - p a set is idle, which is T_r at its vertex 0. Anticorrelated
features share one step, with a vertex for each of them and one for none; a feature on its own is
such a set. Correlated features are averaged one by one as if they were certain, and the idle set is
added where the last of them is done.

**The mirror.** With z^- = max(-z, 0) the same loss is E[(x - z)^2] - E[(z^-)^2] - 2 E[x z^-]:
moments of x, and the recursion for -z with the sign of M turned. Whichever form has the smaller
*reach*, the
largest z at a vertex, is taken: rounding errors grow with reach / |a|, and where z never changes
its sign nothing is left but moments.

**Descents** need no loss, and a gradient that is good to about 1e-6. Features whose |a| is a small
part of the reach are therefore *narrow*: they are not divided by, but averaged over two points,
(T_r(t) + 3 T_r(t + 2a/3)) / 4 for J_r and T_r(t + 2a/3) / 2 for M_r. Except at kinks this is right
up to the square of a, and it is always right at a = 0. A narrow target needs T_0 as well: it gets
quotients over a wider gap instead, mixed so that straight lines come out right.

**The loss** is needed to 1e-9. A bound on the rounding error tells which pairs of output and
instance are in doubt. Those are computed again by `losses.reference`.

**Layout.** A *pair* is one output of one instance. Tensors have pairs last, which gives the
processor long vectors. Every pair has its features in its own order of *positions*: other sets
first, then its own set, the target last.
"""

from itertools import pairwise
from math import ceil, prod
from typing import NamedTuple

import torch
from torch import Tensor

from losses.moments import CHUNK_NUMBERS, Moments
from losses.reference import squared_error

FEWEST_PAIRS = (
    192  # pairs of a chunk even where its tensors get larger: the processor needs long vectors
)
TOLERANCE = 1e-10  # bound on the rounding error that needs no care, relative to the loss
STEEP = 1e-2  # |a| below which the tolerance shrinks with it: the gradient divides by a once more
SMALLEST = 1e-60  # an |a| or a reach below this divides nothing
MALLOC_PRIMER = 2**25 - 2**16  # bytes; see `_keep_freed_memory`


class Recursion:
    """The pairs of a chunk of instances at a time: their sums stand in buffers that all chunks use.

    Args:
        distribution: FeatureDistribution of independent features or whole sets, uniform on [0, 1].
        narrow: The |a| / reach up to which a feature is averaged over two points.
    """

    def __init__(self, distribution, narrow):
        _keep_freed_memory()
        self.distribution = distribution
        self.narrow = narrow
        self.members = distribution.members
        self.one_by_one = distribution.correlation == "correlated"
        self.step_features = 1 if self.one_by_one else self.members
        important = (distribution.importance > 0).any(0).nonzero()[:, 0].tolist()
        self.outputs = important or [0]  # outputs without importance cost nothing
        self._set_order()
        self._set_buffers()

    def _set_order(self):
        """Set the order of positions of each output, and the rows of W^T W that they take."""
        features = self.distribution.features
        device = self.distribution.density.device
        order = [self._positions(output) for output in self.outputs]
        self.order = torch.tensor(order, device=device).t()  # (position, output) -> feature
        self.rows = (torch.tensor(self.outputs, device=device) * features + self.order).flatten()

    def _positions(self, output):
        """List the features in an output's order: other sets, its own set, itself."""
        own_set = output // self.members
        return sorted(
            range(self.distribution.features),
            key=lambda feature: (feature // self.members == own_set, feature == output),
        )

    def _set_buffers(self):
        """Set the chunks, whose last two overlap so that all have one size, and the buffers."""
        features = self.distribution.features
        instances = self.distribution.instances
        step_count = features // self.step_features
        shape = step_count + 2, (self.step_features + 1) ** step_count  # powers, vertices
        affordable = CHUNK_NUMBERS // (prod(shape) * len(self.outputs))
        size = max(1, affordable, FEWEST_PAIRS // features)
        size = ceil(instances / ceil(instances / size))
        ends = [*range(size, instances, size), instances]
        self.chunks = [slice(end - size, end) for end in ends]
        device = self.distribution.density.device
        pairs = size * len(self.outputs)
        self.T = torch.zeros(*shape, pairs, dtype=torch.float64, device=device)
        self.zero = self.T.new_zeros(1)
        self.steps = []
        sums = self.T[None]
        for _ in range(step_count):
            self.steps.append(Step(sums, self.step_features))
            sums = self.steps[-1].sums
        self.sums = sums[:, :, 0]  # (component, power, pair)

    def constants(self, chunk):
        """Return what the distribution contributes to a chunk of instances."""
        part = self.distribution.select(chunk)
        tables = *part.moments(), part.density
        mean, own, shared, density = (table.t()[self.order].flatten(1) for table in tables)
        weight = 2 * part.importance.t()[self.outputs].flatten()
        active = 2 * mean
        idle = 1 - density[:: self.members]
        if self.one_by_one:  # the last member of a set decides, and the others are then certain
            active.unflatten(0, (-1, self.members))[:, :-1] = 1
        active[-self.step_features :] *= weight
        idle[-1] *= weight
        moments = Moments(mean, own, shared, self.members)
        return Constants(moments, density, weight, active, idle)

    def gradient(self, W, b, constants, W_gradient, b_gradient):
        """Write the gradient of a chunk of instances into W_gradient and b_gradient."""
        W, a, b = self._read(W, b)
        pair_gradients = self._recursion(a, b, Form(a, b, self.narrow), constants)
        self._write(W, *pair_gradients, W_gradient, b_gradient)

    def loss(self, W, b, constants, *gradient):
        """Return the losses (instances,); write their gradient where tensors for it are given."""
        W, a, b = self._read(W, b)
        form = Form(a, b, self.narrow)
        b_gradient, a_gradient = self._recursion(a, b, form, constants)
        bounds = self._loss(a, b, form, constants)
        loss, error = (values.view(len(self.outputs), -1) for values in bounds)
        at_least = (loss - error).nan_to_num(0, 0, 0).clamp(min=0).sum(0)
        certain = error <= TOLERANCE * at_least  # false for NaN too
        doubtful = (~certain).flatten().nonzero()[:, 0]
        pairs_at_once = max(1, CHUNK_NUMBERS // self.T[..., 0].numel())
        for some in doubtful.split(pairs_at_once) if len(doubtful) else ():
            careful = self._careful(a[:, some], b[some], constants.density[:, some], bool(gradient))
            wholes = loss.view(-1), b_gradient, a_gradient
            for whole, value in zip(wholes, careful):
                whole[..., some] = constants.weight[some] / 2 * value
        if gradient:
            self._write(W, b_gradient, a_gradient, *gradient)
        return loss.sum(0)

    def _careful(self, a, b, density, with_gradient):
        """Return the squared error of some pairs by the reference, and its gradient in b and a."""
        leaves = b.requires_grad_(), a.requires_grad_()
        with torch.set_grad_enabled(with_gradient):
            error = squared_error(len(a) - 1, *leaves, density, self.distribution)
        if not with_gradient:
            return (error,)
        return error.detach(), *torch.autograd.grad(error, leaves, torch.ones_like(error))

    def _read(self, W, b):
        """Return W (hidden, feature, instance), a (position, pairs) and b (pairs,)."""
        W = W.double().permute(1, 2, 0).contiguous()
        gram = (W[:, :, None] * W[:, None]).sum(0).flatten(0, 1)
        a = gram.index_select(0, self.rows).view(len(self.order), -1)
        return W, a, b.t()[self.outputs].double().flatten()

    def _write(self, W, pair_gradient, a_gradient, W_gradient, b_gradient):
        """Write the gradient in b and a of all pairs as one in W and b."""
        b_gradient.zero_()
        outputs_gradient = pair_gradient.view(len(self.outputs), -1)
        b_gradient.t()[self.outputs] = outputs_gradient.to(b_gradient.dtype)
        gram_gradient = W.new_zeros(W.shape[1], *W.shape[1:])  # (output, feature, instance)
        rows = a_gradient.view(len(self.rows), -1)
        gram_gradient.flatten(0, 1).index_copy_(0, self.rows, rows)
        symmetric = gram_gradient + gram_gradient.transpose(0, 1)
        W_gradient.copy_((W[:, :, None] * symmetric).sum(1).permute(2, 0, 1))

    def _recursion(self, a, b, form, constants):
        """Run all steps, so that self.sums[0, 1] is importance times 2 F_2.

        Returns the gradient in b (pairs,) and in a (position, pairs).
        """
        self._fill_powers(b, form)
        features = form.coefficients(constants.active)
        width = self.step_features
        members = self.members
        for index, step in enumerate(self.steps):
            idle = 0 if self.one_by_one else constants.idle[index]
            step.run(idle, features[index * width : (index + 1) * width])
            if self.one_by_one and (index + 1) % members == 0:
                before = self.steps[index + 1 - members].before
                after = step.sums[: len(before)]
                idle_set = before[:, : after.shape[1], : after.shape[2]]
                after.addcmul_(idle_set, constants.idle[index // members])
        target_sums = form.target_sums(*self.steps[-1].ends)
        torch.mul(constants.active[-1], target_sums, out=self.sums[-1, 0])

        bias, spread = constants.moments.residual(_output_difference(a), b)
        mirrored = constants.weight * (1 - form.sign) / 2
        scaled = mirrored * bias
        a_gradient = torch.addcmul(self.sums[1:, 0], scaled, constants.moments.mean, value=-1)
        return self.sums[0, 0] - scaled, a_gradient.addcmul_(mirrored, spread, value=-1)

    def _fill_powers(self, b, form):
        """Fill self.T with the powers T_1, T_2, ... at all vertices."""
        t = self.T[0]
        torch.mul(form.sign, b, out=t[0])
        vertices = 1
        for slopes in reversed(form.slope.unflatten(0, (-1, self.step_features))):
            grown = (self.step_features + 1) * vertices
            shifted = t[vertices:grown].unflatten(0, (self.step_features, -1))
            torch.add(t[:vertices], slopes[:, None], out=shifted)
            vertices = grown
        t.clamp_(min=0)
        for r, (below, power) in enumerate(pairwise(self.T), start=2):
            torch.addcmul(self.zero, below, t, value=1 / r, out=power)

    def _loss(self, a, b, form, constants):
        """Return importance times E[(x_i - ReLU(z))^2] (pairs,), and a bound on its rounding error.

        The bound is the recursion on absolute values from the largest z, where T_(r+1) is at most
        T_r reach / 3. Where it is no small part of the loss, or NaN, loss and gradient are
        meaningless.
        """
        d = _output_difference(a)
        mean = constants.moments.mean
        half = constants.weight / 2
        mirrored = form.sign < 0
        bias, spread = constants.moments.residual(d, b)
        spread = (d * spread).sum(0)
        third = half * mean[-1] * 2 / 3
        loss = form.sign * self.sums[0, 1] + torch.where(mirrored, half * (bias**2 + spread), third)
        largest_mirrored = half * ((2 * (d * mean).abs().sum(0) + bias.abs()) ** 2 + spread)
        largest = torch.where(mirrored, largest_mirrored, third)
        inverse = form.inverse.abs()
        each = constants.active * (1 + 2 / 3 * form.reach * inverse)
        each[-1] *= 1 + 3 * inverse[-1]  # M divides once more
        combine = torch.prod if self.one_by_one else torch.sum
        sets = combine(each.unflatten(0, (-1, self.members)), 1)
        bound = form.reach**2 / 2 * (sets + constants.idle).prod(0)
        steep = (STEEP * inverse).amax(0).clamp(min=1, max=1 / SMALLEST)
        return loss, torch.finfo(loss.dtype).eps * (largest + steep * bound)


class Constants(NamedTuple):
    """What the distribution contributes to some pairs.

    Probabilities in a pair's own set are multiplied by its weight.
    """

    moments: Moments  # (position, pairs)
    density: Tensor  # (position, pairs)
    weight: Tensor  # (pairs,) twice the importance
    active: Tensor  # (position, pairs) probability that a feature is active, if its step decides it
    idle: Tensor  # (set, pairs) probability that no member of a set is active


class Form:
    """Which form of the loss each pair takes, and the two points of each feature.

    Attributes:
        sign: (pairs,) -1 where the mirrored form is taken, 1 elsewhere.
        reach: (pairs,) the largest value of sign * z.
        slope: (position, pairs) from a feature's low point to its high one.
        inverse: (position, pairs) 1 / slope, and 0 where the feature is narrow.
        near: (position, pairs) 1 where a feature is narrow, without the target.
        gap: (pairs,) part of the target's slope that exceeds its a, 0 where the target is not
        narrow.
    """

    def __init__(self, a, b, narrow):
        size = a.abs()
        centre = b + a.sum(0) / 2
        self.sign = torch.ones_like(b).copysign_(-centre)
        self.reach = (size.sum(0) / 2 - centre.abs()).clamp(min=SMALLEST)
        least = narrow * self.reach
        self.slope = a * self.sign
        torch.maximum(size[-1], least, out=self.slope[-1]).copysign_(a[-1]).mul_(self.sign)
        near = (
            (least - size).sign_().clamp_(min=0)
        )  # by arithmetic, which is faster than comparisons
        near[-1] = 0
        self.inverse = (1 - near) / (self.slope * (1 - near) + near)
        self.near = near[:-1]
        self.gap = 1 - size[-1] * self.inverse[-1].abs()
        self.slope[:-1].addcmul_(self.slope[:-1], self.near, value=-1 / 3)

    def coefficients(self, active):
        """List for each feature the factors (pairs,) of its step, given how likely it is active.

        With D_r = T_r(high) - T_r(low) these are, for its average, the factors of T_r(low),
        T_r(high) and D_(r+1) and, except for the target, for its moment those of T_r(high),
        T_(r+1)(high) and D_(r+2).
        """
        quotient = active[:-1] * self.inverse[:-1]
        half = self.near * active[:-1] / 2
        moment = -quotient * self.inverse[:-1]
        others = zip(half / 2, half * 1.5, quotient, half, quotient, moment)
        # J_r + gap (T_r(low) - J_r), and minus sign times M + gap (2 J - 4 M) at power r - 1
        divided = self.sign * self.inverse[-1]
        low_factor = active[-1] * self.gap
        twice = 2 * low_factor * divided
        high_factor = twice - active[-1] * divided
        difference_factor = (active[-1] - low_factor - high_factor - twice) * self.inverse[-1]
        return [*others, (low_factor + twice, high_factor, difference_factor)]

    def target_sums(self, low, high):
        """Return the target's M_1 - sign N_0 from T_1 ... T_3 at its two points."""
        J = (high - low) * self.inverse[-1]  # from r = 0
        M = (high[1] - J[2]) * self.inverse[-1]
        N = (high[0] - 2 * M) * self.inverse[-1]
        wide_M = M.lerp(2 * J[1] - 3 * M, self.gap)
        wide_N = N.lerp(J[0] - 2 * N, self.gap)
        return wide_M - self.sign * wide_N


class Step:
    """One step of the recursion: it averages sums over one feature, or over exclusive ones.

    `before` has the shape (component, power, vertex, pair). After `run`, `sums` has one power
    and the vertices of those features less, and their components more. Power r has index r - 1.
    The highest power of all components but the first is meaningless.
    """

    def __init__(self, before, features):
        components = len(before)
        powers = before.shape[1] - 1
        low, *highs = before.unflatten(2, (features + 1, -1)).unbind(2)
        self.before = before
        self.ends = low[0, :, 0], highs[-1][0, :, 0]
        self.sums = low.new_zeros(components + features, powers, *low.shape[2:])
        self.average = self.sums[:components]
        self.low = low[:, :-1]
        self.next_low = low[:, 1:]
        self.difference = torch.empty_like(self.average)
        self.highs = [(high[:, :-1], high[:, 1:]) for high in highs]
        moments = self.sums[components:, :-1]
        self.moments = [
            (moment, high[0, :-2], high[0, 1:-1]) for moment, high in zip(moments, highs)
        ]

    def run(self, idle, features):
        """Average over features with these coefficients; `idle` is the probability of none."""
        low_factor = sum((factors[0] for factors in features), idle)
        torch.mul(self.low, low_factor, out=self.average)
        for factors, (high, next_high), moments in zip(features, self.highs, self.moments):
            _, high_factor, difference_factor, *moment_factors = factors
            torch.sub(next_high, self.next_low, out=self.difference)
            self.average.addcmul_(high, high_factor)
            self.average.addcmul_(self.difference, difference_factor)
            if moment_factors:
                moment, first, next_first = moments
                torch.mul(first, moment_factors[0], out=moment)
                moment.addcmul_(next_first, moment_factors[1])
                moment.addcmul_(self.difference[0, 1:], moment_factors[2])


def _output_difference(a):
    """Return d such that x_i - z = d.x - b, of a (position, pairs) with the target last."""
    return torch.cat([-a[:-1], 1 - a[-1:]])


def _keep_freed_memory():
    """Have the C library keep freed memory at hand, which makes large temporaries cheap.

    glibc raises the size from which it maps fresh pages when a block of nearly 32 MiB is freed.
    """
    torch.empty(MALLOC_PRIMER, dtype=torch.uint8)
