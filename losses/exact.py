"""The expected loss of a toy model of few features: exact, without sampling, differentiable.

A model with a linear hidden layer reconstructs feature i as x'_i = ReLU(z), z = b_i + sum_j a_j x_j, a = (W^T W)_i.
Its loss is a sum over outputs i of importance times E[(x_i - x'_i)^2], each the integral of a piecewise polynomial.

**Averaging over a feature.** Let T_r(t) = max(t, 0)^r / r!, the derivative of T_(r+1). Averages over an active feature,
x uniform on [0, 1], are quotients of differences, by parts:

    J_r = E[T_r(t + a x)]     = (T_(r+1)(t + a) - T_(r+1)(t)) / a
    M_r = E[x T_r(t + a x)]   = (T_(r+1)(t + a) - J_(r+1)) / a
    N_r = E[x^2 T_r(t + a x)] = (T_(r+1)(t + a) - 2 M_(r+1)) / a

**The recursion.** Start from the powers r = 1, 2, ... at all vertices t = b + sum_j a_j v_j with v_j in {0, 1}, and
average over one feature after the other: each *step* halves the vertices and uses up one power. A feature of density p
takes T_r to (1 - p) T_r(t) + p J_r. Beside this average the sums weighted by a feature, E[x_j T_r], are kept as further
*components*: the step of feature j begins one with p M_r. The output's own feature, the *target*, comes last. Where it
is active the loss is (x - ReLU(z))^2, else ReLU(z)^2 = 2 T_2(z). So J_r - M_(r-1) takes the place of its J_r, and
M_1 - N_0 that of its M_1. At the end, as T_r' = T_(r-1), the sums F_r give the loss p/3 + 2 F_2, its derivative 2 F_1
in b and, in component j, in a_j.

**Sets.** With probability 1 - p a set is idle: T_r at its vertex 0. Anticorrelated features share one step, with a
vertex for each of them and one for none; a feature on its own is such a set. Correlated features are averaged one by
one as if certain, and the idle set is added where the last of them is done.

**The mirror.** With z^- = max(-z, 0) the same loss is E[(x - z)^2] - E[(z^-)^2] - 2 E[x z^-]: moments of x, and the
recursion for -z with the sign of M turned. Whichever form has the smaller *reach*, the largest z at a vertex, is taken:
rounding errors grow with reach / |a|, and where z never changes its sign nothing is left but moments.

**Descents** want no loss, and a gradient good to about 1e-6. So features whose |a| is a small part of the reach are
*narrow*: not divided by, but averaged over two points, (T_r(t) + 3 T_r(t + 2a/3)) / 4 for J_r and T_r(t + 2a/3) / 2 for
M_r. But for kinks that is right up to the square of a, and always at a = 0. A narrow target needs T_0 as well: it gets
quotients over a wider gap instead, mixed so that straight lines come out right.

**The loss** is wanted to 1e-9. A bound on the rounding error tells which pairs of output and instance are in doubt.
Those are computed again, *carefully*, by autograd of a recursion for the loss alone: the distribution is a mixture of
*states*, features that are active for certain or independent; within each, steps go from the smallest |a| to the
largest, and wherever z cannot change its sign under the features averaged so far, the average is a Taylor series at t.
Elsewhere |t| is at most a few times the |a| of the step, and the quotient is harmless. Near a perfect reconstruction
1/3 + 2 J - 2 M cancels, and the mirror's terms are all small.
"""

from itertools import accumulate, pairwise, product
from math import ceil, factorial, prod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from checks import check_weights
from features import check_distribution, check_standard

LARGEST = 1e18  # of ||W||^2 + |b| of an instance: powers up to 15 of an output must not overflow
MAX_FEATURES = (
    12  # with output "relu": vertices and powers of one pair stay below 2^16 numbers (1/2 MiB)
)
_CHUNK = (
    2**18
)  # numbers in the largest tensor at a time, more only where it would hold too few pairs:
_FEWEST_PAIRS = 192  # the processor wants long vectors
_TOLERANCE = 1e-10  # bound on the rounding error that needs no care, relative to the loss
_STEEP = (
    1e-2  # |a| below which the tolerance shrinks along: the gradient has one more division by a
)
_CLOSE = (
    1e-2  # E[(x - z)^2] of an active target below which care takes the mirror's form of the loss
)
_SAME = 1e-12  # |a| / reach below which two points are as good as the quotient in float64
_TINY = 1e-60  # an |a| below it divides nothing


def expected_loss(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    output="relu",
) -> Float64[Tensor, " instances"]:
    """The loss sum_i I_i E[(x_i - x'_i)^2] of each instance, x' = ReLU(W^T W x + b) or, linear, W^T W x + b.

    W, b:         finite values, ||W||^2 + |b| of an instance at most LARGEST = 1e18
    distribution: FeatureDistribution of the same instances and features
    output:       "relu": at most MAX_FEATURES features, not signed, as work and memory grow like 2^features;
                  "linear": any number of features

    -> losses in units of importance times feature value squared. Computed in float64 whatever the dtype of W and b;
    differentiable once, with gradients in their own dtype. Needs memory for a chunk of instances beside the gradient.

    Accuracy: the relative error is below 1e-9 down to losses of about 1e-13 of sum_i I_i p_i / 3. A loss below that
    has an absolute error of about 1e-16 times the root of loss and scale, as W^T W itself is rounded.

    Raises ValueError, naming the argument, for an unknown output, shapes that do not match the distribution, values
    that are not real, not finite, too large or elsewhere and, with output "relu", too many or signed features.
    """
    _check(distribution, output)
    _check_weights(W, b, distribution)
    return _ExpectedLoss.apply(W.double(), b.double(), distribution, output)


class DescentGradient:
    """The gradient of the expected loss, fast and good enough for descents: built once, asked at every step.

    distribution, output: as for `expected_loss`, and refused as there; the distribution on the device of the weights

    Computed in float64. With output "relu" its error is about 1e-6 of sum_i I_i p_i times the size of W, but for
    biases and couplings a that are both nearly zero, |a| / reach below 1e-4 (n=2) to 1e-2 (n=12): there it is up to a
    tenth of |a|, and the minimum that a descent finds differs in loss by the square of it.
    """

    def __init__(self, distribution, output="relu"):
        _check(distribution, output)
        kind = _Pairs if output == "relu" else _Linear
        self._parts = kind(distribution, _narrow(distribution.features))
        self._constants = [self._parts.constants(chunk) for chunk in self._parts.chunks]

    def into(self, W, b, of_W, of_b):
        """Write the gradient at W (instances, hidden, features) and b (instances, features) into tensors like them.

        An instance whose weights are not finite gets a gradient that is not finite, and spoils no other.
        """
        for chunk, constants in zip(self._parts.chunks, self._constants):
            self._parts.gradient(W[chunk], b[chunk], constants, of_W[chunk], of_b[chunk])


def _narrow(features):
    """|a| / reach up to which a descent averages over two points: kinks hardly matter, and quotients round to 1e-6."""
    of_rounding = 1e6 * torch.finfo(torch.float64).eps / factorial(features + 2)
    return max(1e-4, of_rounding ** (1 / max(features - 1, 1)))


def _check(distribution, output):
    check_distribution(distribution)
    if output not in ("relu", "linear"):
        raise ValueError(f"output: expected 'relu' or 'linear', got {output!r}")
    if output == "relu" and distribution.signed:
        raise ValueError(
            "distribution: expected features in [0, 1] for output 'relu', got signed ones"
        )
    check_standard(distribution)
    if output == "relu" and distribution.features > MAX_FEATURES:
        raise ValueError(
            f"features: expected at most {MAX_FEATURES} for output 'relu', got {distribution.features}"
        )


def _check_weights(W, b, distribution):
    instances, features, device = (
        distribution.instances,
        distribution.features,
        distribution.density.device,
    )
    for name, value, axes in (
        ("W", W, ("instances", "hidden", "features")),
        ("b", b, ("instances", "features")),
    ):
        if getattr(value, "device", device) != device:
            raise ValueError(f"{name}: expected values on {device}, got them on {value.device}")
        check_weights(value, axes, name)
        if (value.shape[0], value.shape[-1]) != (instances, features):
            raise ValueError(
                f"{name}: expected {instances} instances, {features} features, got {tuple(value.shape)}"
            )
    if not in_range(W, b).all():
        raise ValueError(
            f"W: expected ||W||^2 + |b| of at most {LARGEST:g}, got weights up to {W.abs().max():g}"
        )


def in_range(W, b) -> Bool[Tensor, " instances"]:
    """Which instances have weights that are finite and small enough for powers of their outputs not to overflow."""
    return (
        W.double().square().sum(dim=(1, 2)) + b.double().abs().amax(dim=1) <= LARGEST
    )  # false for NaN too


class _ExpectedLoss(torch.autograd.Function):
    """Computes the gradient along with the loss, chunk by chunk, and keeps nothing else."""

    @staticmethod
    def forward(ctx, W, b, distribution, output):
        gradient = (torch.zeros_like(W), torch.zeros_like(b)) if any(ctx.needs_input_grad) else ()
        ctx.save_for_backward(*gradient)
        parts, loss = (
            (_Pairs if output == "relu" else _Linear)(distribution, narrow=_SAME),
            W.new_zeros(len(W)),
        )
        for c in parts.chunks:
            loss[c] = parts.loss(W[c], b[c], parts.constants(c), *(whole[c] for whole in gradient))
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        of_W, of_b = ctx.saved_tensors
        return grad[:, None, None] * of_W, grad[:, None] * of_b, None, None


# What is linear: first and second moments of x are all it takes


class _Moments(NamedTuple):
    """FeatureDistribution.moments and members, with features in the first dimension."""

    mean: torch.Tensor
    own: torch.Tensor
    shared: torch.Tensor
    members: int

    def residual(self, d, b):
        """bias = E[d.x] - b and spread = Cov(x) d, of d (feature, ...) and b (...).

        E[(d.x - b)^2] is bias^2 + d.spread, its derivatives -2 bias in b and 2 (bias mean + spread) in d.
        """
        k = self.members
        of_sets = d.unflatten(0, (-1, k)).sum(1).repeat_interleave(k, 0) if k > 1 else d
        return (self.mean * d).sum(0) - b, torch.addcmul(self.own * d, self.shared, of_sets)


class _Linear:
    """The linear output: x_i - x'_i = d.x - b_i with d the row i of 1 - W^T W, and nothing is narrow."""

    def __init__(self, distribution, narrow):
        self.distribution = distribution
        size = max(1, _CHUNK // distribution.features**2)
        self.chunks = [
            slice(start, start + size) for start in range(0, distribution.instances, size)
        ]

    def constants(self, chunk):
        part = self.distribution.select(chunk)
        return _Moments(
            *(moment.t()[:, :, None] for moment in part.moments()), part.members
        ), part.importance

    def loss(self, W, b, constants, of_W=None, of_b=None):
        """(instances,); their gradient into of_W and of_b, if given."""
        (moments, importance), W = constants, W.double()
        d = (torch.eye(W.shape[2], dtype=W.dtype, device=W.device) - W.mT @ W).permute(2, 0, 1)
        bias, spread = moments.residual(d, b)
        if of_W is not None:
            of_b.copy_(-2 * importance * bias)
            of_d = (2 * importance * (bias * moments.mean + spread)).permute(1, 2, 0)
            of_W.copy_(-(W @ (of_d + of_d.mT)))
        return (importance * (bias**2 + (d * spread).sum(0))).sum(1)

    gradient = loss


# ReLU output. A *pair* is one output of one instance. Tensors have pairs last: long vectors for the processor. Every
# pair has its features in its own order of *positions*: other sets first, then its own set, the target last.


class _Constants(NamedTuple):
    """What the distribution says of some pairs. In their own set probabilities are times weight."""

    moments: _Moments  # (position, pairs)
    density: torch.Tensor  # (position, pairs)
    weight: torch.Tensor  # (pairs,) twice the importance
    active: (
        torch.Tensor
    )  # (position, pairs) probability that a feature is active, as far as its step decides it
    idle: torch.Tensor  # (set, pairs) probability that no member of a set is


class _Form:
    """Which form of the loss some pairs take, and the two points of each feature: narrow up to an |a| / reach.

    sign, reach:    (pairs,) -1 for the mirror, and the largest sign z
    slope, inverse: (position, pairs) from a feature's low point to its high one, and 1 / slope, but 0 where near
    near:           (position, pairs) 1 where narrow, without the target
    gap:            (pairs,) part of the target's slope beyond its a, 0 where that is not narrow
    """

    def __init__(self, a, b, narrow):
        centre, size = b + a.sum(0) / 2, a.abs()
        self.sign = torch.ones_like(b).copysign_(-centre)
        self.reach = (size.sum(0) / 2 - centre.abs()).clamp(min=_TINY)
        least, self.slope = narrow * self.reach, a * self.sign
        torch.maximum(size[-1], least, out=self.slope[-1]).copysign_(a[-1]).mul_(self.sign)
        near = (
            (least - size).sign_().clamp_(min=0)
        )  # by arithmetic, which is faster than comparisons
        near[-1] = 0
        self.inverse = (1 - near) / (self.slope * (1 - near) + near)
        self.near, self.gap = near[:-1], 1 - size[-1] * self.inverse[-1].abs()
        self.slope[:-1].addcmul_(self.slope[:-1], self.near, value=-1 / 3)

    def coefficients(self, active):
        """Of each feature, active with a probability: what its step multiplies, (pairs,) each.

        With D_r = T_r(high) - T_r(low) these are, for its average, T_r(low), T_r(high) and D_(r+1) and, but for the
        target, for its moment T_r(high), T_(r+1)(high) and D_(r+2).
        """
        quotient, half = active[:-1] * self.inverse[:-1], self.near * active[:-1] / 2
        others = zip(half / 2, half * 1.5, quotient, half, quotient, -quotient * self.inverse[:-1])
        # J_r + gap (T_r(low) - J_r), and minus sign times M + gap (2 J - 4 M) at power r - 1
        divided, of_gap = self.sign * self.inverse[-1], active[-1] * self.gap
        twice = 2 * of_gap * divided
        of_high = twice - active[-1] * divided
        of_D = (active[-1] - of_gap - of_high - twice) * self.inverse[-1]
        return [*others, (of_gap + twice, of_high, of_D)]

    def own(self, low, high):
        """The target's M_1 - sign N_0 from T_1 ... T_3 at its two points."""
        J = (high - low) * self.inverse[-1]  # from r = 0
        M = (high[1] - J[2]) * self.inverse[-1]
        N = (high[0] - 2 * M) * self.inverse[-1]
        return M.lerp(2 * J[1] - 3 * M, self.gap) - self.sign * N.lerp(J[0] - 2 * N, self.gap)


class _Step:
    """One step of the recursion: averages sums (component, power, vertex, pair) over one or more exclusive features.

    After `run`, self.sums have one power and those features' vertices less, and their components more. Power r has
    index r - 1. The highest power of all components but the first means nothing.
    """

    def __init__(self, before, features):
        components, powers = len(before), before.shape[1] - 1
        low, *highs = before.unflatten(2, (features + 1, -1)).unbind(2)
        self.before, self.ends = before, (low[0, :, 0], highs[-1][0, :, 0])
        self.sums = low.new_zeros(components + features, powers, *low.shape[2:])
        self.average, moments = self.sums[:components], self.sums[components:, :-1]
        self.low, self.next_low, self.difference = (
            low[:, :-1],
            low[:, 1:],
            torch.empty_like(self.average),
        )
        self.highs = [(high[:, :-1], high[:, 1:]) for high in highs]
        self.moments = [
            (moment, high[0, :-2], high[0, 1:-1]) for moment, high in zip(moments, highs)
        ]

    def run(self, idle, features):
        """idle: probability (pairs,) that none of the features, given by their coefficients, is active"""
        torch.mul(self.low, sum((of_low for of_low, *_ in features), idle), out=self.average)
        for (_, of_high, of_D, *own), highs, (moment, first, next_first) in zip(
            features, self.highs, self.moments
        ):
            torch.sub(highs[1], self.next_low, out=self.difference)
            self.average.addcmul_(highs[0], of_high).addcmul_(self.difference, of_D)
            if own:
                torch.mul(first, own[0], out=moment).addcmul_(next_first, own[1])
                moment.addcmul_(self.difference[0, 1:], own[2])


class _Pairs:
    """The pairs of a chunk of instances at a time: loss and gradient by the recursion, its sums in buffers."""

    def __init__(self, distribution, narrow):
        torch.empty(
            2**25 - 2**16, dtype=torch.uint8
        )  # freed at once: the C library now keeps freed memory at hand
        self.distribution, self.narrow, self.members = (
            distribution,
            narrow,
            (k := distribution.members),
        )
        n, instances, device = (
            distribution.features,
            distribution.instances,
            distribution.density.device,
        )
        self.outputs = (distribution.importance > 0).any(0).nonzero()[:, 0].tolist() or [
            0
        ]  # the others cost nothing
        order = [
            sorted(range(n), key=lambda j, i=i: (j // k == i // k, j == i)) for i in self.outputs
        ]
        self.order = torch.tensor(order, device=device).t()  # (position, output) -> feature
        self.rows = (
            torch.tensor(self.outputs, device=device) * n + self.order
        ).flatten()  # of W^T W
        self.one_by_one = distribution.correlation == "correlated"
        self.together = 1 if self.one_by_one else k  # features of a step
        steps = n // self.together
        shape = steps + 2, (self.together + 1) ** steps  # powers, vertices
        size = max(1, _CHUNK // (prod(shape) * len(self.outputs)), _FEWEST_PAIRS // n)
        size = ceil(instances / ceil(instances / size))
        ends = *range(size, instances, size), instances
        self.chunks = [
            slice(end - size, end) for end in ends
        ]  # of one size, so the last two overlap
        self.T = torch.zeros(*shape, size * len(self.outputs), dtype=torch.float64, device=device)
        self.zero, self.steps, sums = self.T.new_zeros(1), [], self.T[None]
        for _ in range(steps):
            self.steps.append(_Step(sums, self.together))
            sums = self.steps[-1].sums
        self.sums = sums[:, :, 0]  # (component, power, pair)

    def constants(self, chunk):
        part, k = self.distribution.select(chunk), self.members
        mean, own, shared, density = (
            t.t()[self.order].flatten(1) for t in (*part.moments(), part.density)
        )
        weight = 2 * part.importance.t()[self.outputs].flatten()
        active, idle = 2 * mean, 1 - density[::k]
        if self.one_by_one:  # the last of a set decides, the others are then certain
            active.unflatten(0, (-1, k))[:, :-1] = 1
        active[-self.together :] *= weight
        idle[-1] *= weight
        return _Constants(_Moments(mean, own, shared, k), density, weight, active, idle)

    def gradient(self, W, b, constants, of_W, of_b):
        """Write the gradient of some instances into of_W and of_b."""
        W, a, b = self._read(W, b)
        self._write(W, *self._recursion(a, b, _Form(a, b, self.narrow), constants), of_W, of_b)

    def loss(self, W, b, constants, *gradient):
        """(instances,), with care; their gradient into of_W and of_b, if given."""
        W, a, b = self._read(W, b)
        form = _Form(a, b, self.narrow)
        of_b, of_a = self._recursion(a, b, form, constants)
        loss, error = (t.view(len(self.outputs), -1) for t in self._loss(a, b, form, constants))
        at_least = (loss - error).nan_to_num(0, 0, 0).clamp(min=0).sum(0)
        doubtful = (~(error <= _TOLERANCE * at_least)).flatten().nonzero()[:, 0]  # NaN too
        for some in (
            doubtful.split(max(1, _CHUNK // self.T[..., 0].numel())) if len(doubtful) else ()
        ):
            leaves = b[some].requires_grad_(), a[:, some].requires_grad_()
            with torch.set_grad_enabled(bool(gradient)):
                careful = _careful(*leaves, constants.density[:, some], self.distribution)
            pieces = (
                torch.autograd.grad(careful, leaves, torch.ones_like(careful)) if gradient else ()
            )
            for whole, value in zip((loss.view(-1), of_b, of_a), (careful, *pieces)):
                whole[..., some] = constants.weight[some] / 2 * value
        if gradient:
            self._write(W, of_b, of_a, *gradient)
        return loss.sum(0)

    def _read(self, W, b):
        """W (hidden, feature, instance), a (position, pairs) and b (pairs,) of some instances."""
        W = W.double().permute(1, 2, 0).contiguous()
        gram = (W[:, :, None] * W[:, None]).sum(0).flatten(0, 1)
        return (
            W,
            gram.index_select(0, self.rows).view(len(self.order), -1),
            b.t()[self.outputs].double().flatten(),
        )

    def _write(self, W, of_pairs, of_a, of_W, of_b):
        """Write the gradient in b and a of all pairs as one in W and b."""
        of_b.zero_()
        of_b.t()[self.outputs] = of_pairs.view(len(self.outputs), -1).to(of_b.dtype)
        of_gram = W.new_zeros(W.shape[1], *W.shape[1:])  # (output, feature, instance)
        of_gram.flatten(0, 1).index_copy_(0, self.rows, of_a.view(len(self.rows), -1))
        of_W.copy_((W[:, :, None] * (of_gram + of_gram.transpose(0, 1))).sum(1).permute(2, 0, 1))

    def _recursion(self, a, b, form, constants):
        """Importance times 2 F_2 into self.sums[0, 1] -> the gradient in b (pairs,) and a (position, pairs)."""
        t, vertices, together, k = self.T[0], 1, self.together, self.members
        torch.mul(form.sign, b, out=t[0])
        for slopes in reversed(form.slope.unflatten(0, (-1, together))):
            shifted = t[vertices : (together + 1) * vertices].unflatten(0, (together, -1))
            torch.add(t[:vertices], slopes[:, None], out=shifted)
            vertices *= together + 1
        t.clamp_(min=0)
        for r, (below, power) in enumerate(pairwise(self.T), start=2):
            torch.addcmul(self.zero, below, t, value=1 / r, out=power)
        features = form.coefficients(constants.active)
        for index, step in enumerate(self.steps):
            idle = 0 if self.one_by_one else constants.idle[index]
            step.run(idle, features[index * together : (index + 1) * together])
            if self.one_by_one and (index + 1) % k == 0:
                before = self.steps[index + 1 - k].before
                after = step.sums[: len(before)]
                after.addcmul_(
                    before[:, : after.shape[1], : after.shape[2]], constants.idle[index // k]
                )
        torch.mul(constants.active[-1], form.own(*self.steps[-1].ends), out=self.sums[-1, 0])

        bias, spread = constants.moments.residual(_minus(a), b)
        mirrored = constants.weight * (1 - form.sign) / 2
        scaled = mirrored * bias
        of_a = torch.addcmul(self.sums[1:, 0], scaled, constants.moments.mean, value=-1)
        return self.sums[0, 0] - scaled, of_a.addcmul_(mirrored, spread, value=-1)

    def _loss(self, a, b, form, constants):
        """Importance times E[(x_i - ReLU(z))^2], and a bound on its rounding error: (pairs,) each.

        The bound is the recursion on absolute values from the largest z, where T_(r+1) is at most T_r reach / 3. Where
        it is no small part of the loss, or NaN, loss and gradient are meaningless.
        """
        d, mean, mirrored, half = (
            _minus(a),
            constants.moments.mean,
            form.sign < 0,
            constants.weight / 2,
        )
        bias, spread = constants.moments.residual(d, b)
        spread, third = (d * spread).sum(0), half * mean[-1] * 2 / 3
        loss = form.sign * self.sums[0, 1] + torch.where(mirrored, half * (bias**2 + spread), third)
        largest = torch.where(
            mirrored, half * ((2 * (d * mean).abs().sum(0) + bias.abs()) ** 2 + spread), third
        )
        inverse = form.inverse.abs()
        each = constants.active * (1 + 2 / 3 * form.reach * inverse)
        each[-1] *= 1 + 3 * inverse[-1]  # M divides once more
        of_sets = (torch.prod if self.one_by_one else torch.sum)(
            each.unflatten(0, (-1, self.members)), 1
        )
        bound = form.reach**2 / 2 * (of_sets + constants.idle).prod(0)
        steep = (_STEEP * inverse).amax(0).clamp(min=1, max=1 / _TINY)
        return loss, torch.finfo(loss.dtype).eps * (largest + steep * bound)


def _minus(a):
    """d such that x_i - z = d.x - b, from a whose last one is the target's."""
    return torch.cat([-a[:-1], 1 - a[-1:]])


def _states(p, distribution):
    """The states of which the distribution is a mixture, from the densities p (position, pairs).

    Each is its probability (pairs,), the positions that may be active, and their densities (present, pairs): of the
    target, the last of all positions, 1 if it is among them.
    """
    n, k = len(p), distribution.members
    if k == 1:
        yield 1 - p[-1], range(n - 1), p[:-1]
        yield p[-1], range(n), torch.cat([p[:-1], torch.ones_like(p[-1:])])
        return
    choices = []
    for start in range(0, n, k):
        members = range(start, start + k)
        active = [members] if distribution.correlation == "correlated" else [(j,) for j in members]
        choices.append([((), 1 - p[start]), *((some, p[start] / len(active)) for some in active)])
    for chosen in product(*choices):
        present = [j for some, _ in chosen for j in some]
        yield prod(chance for _, chance in chosen), present, torch.ones_like(p[present])


def _careful(b, a, p, distribution):
    """(pairs,): E[(x_i - ReLU(z))^2] to full accuracy for any a, for autograd to differentiate."""
    loss = 0
    for probability, present, density in _states(p, distribution):
        slopes, sign, constant = a[list(present)], torch.ones_like(b), 0
        if target := len(a) - 1 in present:
            mean, d = density / 2, _minus(slopes)
            bias, spread = _Moments(
                mean, 2 / 3 * mean - mean**2, torch.zeros_like(mean), 1
            ).residual(d, b)
            residual = bias**2 + (d * spread).sum(0)
            sign = torch.where(residual < _CLOSE, -sign, sign)
            constant = torch.where(residual < _CLOSE, residual, 1 / 3)
        loss = loss + probability * (
            constant + 2 * sign * _sorted(sign * b, sign * slopes, density, sign * target)
        )
    return loss


def _sorted(b, a, density, sign):
    """F_2 by steps from the smallest |a| to the largest; sign is that of M_(r-1) of the last feature, 0 without it."""
    order = a.abs().argsort(0)
    a, density, signs = (
        a.gather(0, order),
        density.gather(0, order),
        torch.where(order == len(a) - 1, sign, 0),
    )
    z = b[None]  # (vertices, pairs), those where the features of the lower steps are zero first
    for slope in reversed(a):
        z = torch.cat([z, z + slope])
    T = _powers(z, len(a) + 2) * (z >= 0)  # from r = 0
    reach = torch.zeros_like(b)  # how far below z the features averaged so far can take it
    for slope, p, sign in zip(a, density, signs):
        low, high = T.unflatten(1, (2, -1)).unbind(1)
        z, reach, flat = z[: len(low[0])], reach + (-slope).clamp(min=0), slope.abs() < _TINY
        divisor = torch.where(flat, 1, slope)
        J = (high - low)[1:] / divisor
        M = (high[1:-1] - J[1:]) / divisor
        quotients = (1 - p) * low[1:-1] + p * J[1:] - sign * M
        series, powers = low.clone(), _powers(slope, len(low) - 1)
        for k in range(1, len(low)):  # E[x^k] = 1 / (k + 1)
            series[k:] += (p * powers[k] - sign * powers[k - 1]) / (k + 1) * low[:-k]
        T = torch.cat([low[:1], torch.where((z >= reach) | flat, series[1:-1], quotients)])
    return T[2, 0]


def _powers(t, top):
    """t^r / r! for r = 0 ... top, in a new first dimension."""
    return torch.stack(
        [*accumulate(range(1, top + 1), lambda power, r: power * t / r, initial=torch.ones_like(t))]
    )
