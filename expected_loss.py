"""The expected loss of a toy model of few features: exact, without sampling, differentiable.

    >>> distribution = FeatureDistribution(density=0.1, features=2, instances=1)
    >>> expected_loss(torch.zeros(1, 1, 2), torch.full((1, 2), 0.05), distribution)  # 2 (p / 3 - p^2 / 4)
    tensor([0.0617], dtype=torch.float64)

A model with a linear hidden layer reconstructs feature i as x'_i = ReLU(z), z = b_i + sum_j a_j x_j, where
a = (W^T W)_i. Its loss is a sum over outputs i of importance times E[(x_i - x'_i)^2], and each of these is the
integral of a piecewise polynomial.

**Averaging over a feature.** Let T_r(t) = max(t, 0)^r / r!, the derivative of T_(r+1). Its average T_r(t + a x) over
an active feature, x uniform on [0, 1], is a quotient of differences; so a feature of density p acts as

    T_r(t)  ->  (1 - p) T_r(t) + p (T_(r+1)(t + a) - T_(r+1)(t)) / a

Start from the powers r = 2, 3, ... at all vertices t = b + sum_j a_j v_j with v_j in {0, 1}, and average over one
feature after the other: each such *level* halves the vertices and uses up one power. The output's own feature, the
*target*, is inactive with weight "off" and loss ReLU(t)^2 = 2 T_2(t), or active with weight "on" and, by parts,

    E[(x - ReLU(t + a x))^2] = 1/3 - 2 X + 2 J,   J = (T_3(t + a) - T_3(t)) / a,   X = (T_2(t + a) - J) / a

Signed features, x uniform on [-1, 1], have v_j in {-1, 0, 1} and divide by 2 a. Sets of features are a mixture of
*states*: which features are active for certain, and how likely that is. Every level is linear in T, and the gradient
is the same recursion run backwards.

**Small a.** The quotients lose digits where a is small beside t. The recursion on absolute values bounds this error
and tells which outputs are in doubt. Those are computed again, *carefully*: levels go from the smallest |a| to the
largest, and wherever z cannot change its sign any more under the features averaged so far, their average is a
polynomial in t that comes from their moments, without a division. Elsewhere |t| is at most a few times the |a| of the
level, and the quotient is harmless.

**Small loss.** Near a perfect reconstruction 1/3 - 2 X + 2 J cancels. With z^- = max(-z, 0) the same loss is
E[(x - z)^2] - E[(z^-)^2] - 2 E[x z^-], all terms of which are then small. Careful outputs take this form where
E[(x - z)^2] < 0.01.
"""

from itertools import product
from math import prod
from typing import NamedTuple

import torch

MAX_FEATURES = {False: 12, True: 8}  # by signed: one tensor of one instance stays below 2^20 numbers (8 MiB)
_CHUNK = 2**18  # numbers in the largest tensor at a time, more only where one instance needs them
_TOLERANCE = 1e-10  # bound on the rounding error that needs no care, relative to the loss
_NARROW = 1e-2  # |a| below which the tolerance shrinks along: the gradient has one more division by a
_NEAR = 1e-2  # E[(x - z)^2] of an active target below which the second form of the loss is taken
_TINY = 1e-60  # an |a| below it divides nothing


def expected_loss(W, b, distribution, output="relu"):
    """The loss sum_i I_i E[(x_i - x'_i)^2] of each instance, x' = ReLU(W^T W x + b) or, linear, W^T W x + b.

    W:            (instances, hidden, features), any finite values
    b:            (instances, features), any finite values
    distribution: FeatureDistribution of the same instances and features
    output:       "relu": at most MAX_FEATURES features, as work and memory grow like 2^features, signed 3^features;
                  "linear": any number of features

    -> (instances,) float64, in units of importance times feature value squared. Computed in float64 whatever the
    dtype of W and b; differentiable once, with gradients in their own dtype. Needs memory for one chunk of instances
    beside the gradient.

    Accuracy: the relative error is below 1e-9 down to losses of about 1e-13 of sum_i I_i p_i / 3. A loss below that
    has an absolute error of about 1e-16 times the root of loss and scale, as W^T W itself is rounded.

    Raises ValueError, naming the argument, for an unknown output, shapes that do not match the distribution, values
    that are not finite and, with output "relu", too many features.
    """
    _check(W, b, distribution, output)
    return _ExpectedLoss.apply(W.double(), b.double(), distribution, output)


def _check(W, b, distribution, output):
    if output not in ("relu", "linear"):
        raise ValueError(f"output: expected 'relu' or 'linear', got {output!r}")
    instances, features = distribution.instances, distribution.features
    if W.dim() != 3 or (W.shape[0], W.shape[2]) != (instances, features):
        expected = f"(instances={instances}, hidden, features={features})"
        raise ValueError(f"W: expected shape {expected}, got {tuple(W.shape)}")
    if b.shape != (instances, features):
        raise ValueError(f"b: expected shape (instances={instances}, features={features}), got {tuple(b.shape)}")
    for name, value in (("W", W), ("b", b)):
        if not value.isfinite().all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    limit = MAX_FEATURES[distribution.signed]
    if output == "relu" and features > limit:
        signed = "signed " if distribution.signed else ""
        raise ValueError(f"features: expected at most {limit} {signed}features for output 'relu', got {features}")


class _ExpectedLoss(torch.autograd.Function):
    """Computes the gradient along with the loss, chunk by chunk, and keeps nothing else."""

    @staticmethod
    def forward(ctx, W, b, distribution, output):
        solve = _relu_loss if output == "relu" else _linear_loss
        if distribution.density.device != W.device:
            distribution = distribution.to(W.device)
        loss, gradient = solve(W, b, distribution, any(ctx.needs_input_grad))
        if gradient:
            ctx.save_for_backward(*gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        of_W, of_b = ctx.saved_tensors
        return grad[:, None, None] * of_W, grad[:, None] * of_b, None, None


def _chunks(instances, numbers_each):
    size = max(1, _CHUNK // numbers_each)
    return [slice(start, start + size) for start in range(0, instances, size)]


# Linear output: first and second moments of x are all it takes


def _linear_loss(W, b, distribution, need_gradient):
    """loss (instances,) and its gradient in W and b (None unless needed) for x' = W^T W x + b."""
    loss = W.new_empty(len(W))
    gradient = (torch.empty_like(W), torch.empty_like(b)) if need_gradient else None
    for chunk in _chunks(len(W), W.shape[2] ** 2):
        with torch.set_grad_enabled(need_gradient):
            leaves = [v[chunk].detach().requires_grad_(need_gradient) for v in (W, b)]
            part = _linear_chunk(*leaves, distribution.select(chunk))
        loss[chunk] = part.detach()
        if need_gradient:
            for whole, piece in zip(gradient, torch.autograd.grad(part, leaves, torch.ones_like(part))):
                whole[chunk] = piece
    return loss, gradient


def _linear_chunk(W, b, distribution):
    """E[(d.x - b)^2] = (d.E[x] - b)^2 + d^T Cov(x) d with d a row of 1 - W^T W, weighted and summed over rows."""
    mean, own, shared = distribution.moments()
    k = distribution.members
    d = torch.eye(W.shape[2], dtype=W.dtype, device=W.device) - W.mT @ W  # (instances, output, feature)
    bias = d @ mean[..., None] - b[..., None]  # (instances, output, 1)
    of_sets = d.unflatten(2, (-1, k)).sum(3)  # (instances, output, set)
    per_output = bias**2 + d**2 @ own[..., None] + of_sets**2 @ shared[:, ::k, None]
    return (distribution.importance * per_output[..., 0]).sum(1)


# ReLU output. A *pair* is one output of one instance. Tensors have pairs last: long vectors for the processor. Every
# pair has its features in its own order of *positions*: other sets first, then its own set, the target last.


def _relu_loss(W, b, distribution, need_gradient):
    """loss (instances,) and its gradient in W and b (None unless needed) for x' = ReLU(W^T W x + b)."""
    instances, _, n = W.shape
    order = _positions(n, distribution.members).to(W.device)
    outputs = (distribution.importance > 0).any(0).nonzero()[:, 0]  # the others cost nothing
    loss = W.new_zeros(instances)
    gradient = (torch.zeros_like(W), torch.zeros_like(b)) if need_gradient else None
    numbers = (n + 2) * len(_points(distribution)) ** n  # of a pair: powers times vertices
    doubtful = [outputs.new_empty(0, 2)]
    for chunk in _chunks(instances, len(outputs) * numbers) if len(outputs) else ():
        doubtful.append(_fast_chunk(W, b, distribution, order, outputs, chunk, loss, gradient))
    doubtful = torch.cat(doubtful)
    for part in _chunks(len(doubtful), numbers):
        _careful_pairs(W, b, distribution, order, doubtful[part], loss, gradient)
    return loss, gradient


def _positions(n, k):
    """(position, output) -> feature."""
    columns = []
    for i in range(n):
        own = range(i - i % k, i - i % k + k)
        columns.append([j for j in range(n) if j not in own] + [j for j in own if j != i] + [i])
    return torch.tensor(columns).t().contiguous()


def _points(distribution):
    return (-1, 0, 1) if distribution.signed else (0, 1)


def _fast_chunk(W, b, distribution, order, outputs, chunk, loss, gradient):
    """Fill in loss and gradient of a chunk of instances, leaving out the doubtful pairs; return (instance, output) of
    those."""
    W = W[chunk].permute(1, 2, 0).contiguous()  # (hidden, feature, instance)
    gram = (W[:, :, None] * W[:, None]).sum(0)  # (output, feature, instance)
    order = order[:, outputs]
    a = gram[outputs, order].flatten(1)  # (position, pair), pair = (output, instance)
    p = distribution.density[chunk].t()[order].flatten(1)
    importance = distribution.importance[chunk].t()[outputs]  # (output, instance)

    pairs, error, of_b, of_a = _fast(b[chunk].t()[outputs].flatten(), a, p, distribution, gradient is not None)
    pairs, error = pairs.view_as(importance), error.view_as(importance)
    at_least = (importance * (pairs - error).nan_to_num(0, 0, 0).clamp(min=0)).sum(0)
    sure = importance * error <= _TOLERANCE * at_least  # false for NaN too
    loss[chunk] = torch.where(sure, importance * pairs, 0).sum(0)
    if gradient:
        of_gram = torch.zeros_like(gram)
        of_gram[outputs, order] = torch.where(sure, importance * of_a.unflatten(1, (len(outputs), -1)), 0)
        of_gram = of_gram + of_gram.transpose(0, 1)
        gradient[0][chunk] = (W[:, :, None] * of_gram).sum(1).permute(2, 0, 1)
        gradient[1][chunk, outputs] = torch.where(sure, importance * of_b.view_as(importance), 0).t()
    output, instance = (~sure).nonzero(as_tuple=True)
    return torch.stack([instance + chunk.start, outputs[output]], dim=1)


def _careful_pairs(W, b, distribution, order, pairs, loss, gradient):
    """Add loss and gradient of some pairs (pair, 2): instance and output."""
    instance, output = pairs.t()
    features = order[:, output].t()  # (pair, position)
    W = W[instance].gather(2, features[:, None].expand(-1, W.shape[1], -1))  # (pair, hidden, position)
    target = W[:, :, -1:]
    a = (W * target).sum(1).t()  # (position, pair)
    p = distribution.density[instance].gather(1, features).t()
    importance = distribution.importance[instance, output]
    of_pairs, of_b, of_a = _careful(b[instance, output], a, p, distribution, gradient is not None)
    loss.index_add_(0, instance, importance * of_pairs)
    if gradient:
        of_a = (importance * of_a).t()[:, None]  # (pair, 1, position)
        of_W = of_a * target
        of_W[:, :, -1] += (of_a * W).sum(2)
        hidden = torch.arange(W.shape[1], device=W.device)[:, None]
        gradient[0].index_put_((instance[:, None, None], hidden, features[:, None]), of_W, accumulate=True)
        gradient[1].index_put_((instance, output), importance * of_b, accumulate=True)


class _State(NamedTuple):
    """Independent features of which some are active, as one part of a mixture."""

    present: list  # positions, the target last
    density: torch.Tensor  # (present, pairs)
    off: torch.Tensor  # (pairs,) probability of this state with the target inactive
    on: torch.Tensor  # (pairs,) the same with the target active


def _states(p, distribution):
    """The states of which the distribution is a mixture, from the densities (position, pairs)."""
    n, k = len(p), distribution.members
    if k == 1:
        return [_State(list(range(n)), p, 1 - p[-1], p[-1])]
    *others, own = [tuple(range(start, start + k)) for start in range(0, n, k)]
    q, never = p[-1], torch.zeros_like(p[-1])
    if distribution.correlation == "correlated":
        choices = [[((), 1 - p[members[0]]), (members, p[members[0]])] for members in others]
        own_choices = [((), 1 - q, never), (own[:-1], never, q)]
    else:
        choices = [[((), 1 - p[members[0]])] + [((j,), p[j] / k) for j in members] for members in others]
        own_choices = [((), 1 - q, q / k)] + [((j,), q / k, never) for j in own[:-1]]
    states = []
    for *chosen, (own_present, off, on) in product(*choices, own_choices):
        present = [j for members, _ in chosen for j in members] + [*own_present, n - 1]
        probability = prod(chance for _, chance in chosen)
        states.append(_State(present, torch.ones_like(p[present]), probability * off, probability * on))
    return states


def _fast(b, a, p, distribution, need_gradient):
    """E[(x_i - ReLU(z))^2] of every pair, a bound on its rounding error, and its gradient in b and a.

    b (pairs,), a and p (position, pairs). Where the bound is no small part of the loss, or NaN, all are meaningless.
    """
    points = _points(distribution)
    loss, error, of_b, of_a = (torch.zeros_like(t) for t in (b, b, b, a))
    for state in _states(p, distribution):
        slopes = a[state.present]
        is_target = torch.arange(len(slopes), device=a.device)[:, None] == len(slopes) - 1
        levels = _levels(slopes, state, is_target, points)
        recursion = _Recursion(b, slopes, levels, points)
        loss += recursion.value + state.on / 3
        error += _error_bound(b, slopes, levels, state.on, points)
        if need_gradient:
            state_b, state_a = recursion.gradient()
            of_b += state_b
            of_a[state.present] += state_a
    return loss, error, of_b, of_a


class _Levels(NamedTuple):
    """T_r -> alpha T_r(t) + beta (T_(r+1)(t + h a) - T_(r+1)(t + l a)) + gamma (h T_r(t + h a) - l T_r(t + l a)),
    with l and h the lowest and the highest value of x. Each (level, pairs), with the derivatives in a."""

    alpha: torch.Tensor
    beta: torch.Tensor
    gamma: torch.Tensor
    of_beta: torch.Tensor
    of_gamma: torch.Tensor


def _levels(a, state, is_target, points, sign=1):
    """The level of each feature; the target's gives off 2 T_2 + on (2 sign J - 2 X)."""
    width = points[-1] - points[0]
    inverse = 1 / torch.where(a.abs() > _TINY, a, 1)
    once = torch.where(is_target, 2 * sign * state.on, state.density) * inverse / width
    twice = torch.where(is_target, 2 * state.on, 0) * inverse / width  # of X, which divides by a once more
    alpha = torch.where(is_target, 2 * state.off, 1 - state.density)
    beta = once + twice * inverse
    return _Levels(alpha, beta, -twice, -(beta + twice * inverse) * inverse, twice * inverse)


def _error_bound(b, a, levels, on, points):
    """(pairs,): the recursion on absolute values from the largest z, times the unit of rounding."""
    reach = (b + (a.abs() if points[0] else a.clamp(min=0)).sum(0)).clamp(min=0)
    bound = _powers(reach, len(a) + 2)[2:]
    for alpha, beta in zip(levels.alpha, levels.beta.abs()):
        bound = alpha * bound[:-1] + 2 * beta * bound[1:]
    bound = bound[0] + levels.gamma[-1].abs() * reach**2 + on / 3
    return torch.finfo(b.dtype).eps * bound * (_NARROW / a.abs().amin(0)).clamp(min=1)


class _Recursion:
    """The recursion over the levels of one state, forwards on construction, backwards on request.

    b (pairs,), a (level, pairs). With series, a (power, pairs) for each level, the levels must go from the smallest
    |a| to the largest; series are the moments of all features up to a level.
    """

    def __init__(self, b, a, levels, points, series=None):
        self.a, self.levels, self.points, self.series = a, levels, points, series
        nodes = [b[None]]  # z where the features of the lower levels are zero: (vertices, pairs), one level more each
        for slope in reversed(a):
            nodes.append(torch.stack([nodes[-1] + v * slope if v else nodes[-1] for v in points]).flatten(0, 1))
        t = nodes.pop().clamp_(min=0)
        self.T = t.new_empty(len(a) + 2, *t.shape)  # T_r from r = 1
        self.T[0] = t
        for r in range(2, len(a) + 3):
            torch.mul(self.T[r - 2], t, out=self.T[r - 1]).mul_(1 / r)
        self.quotients, self.polynomials = [], []  # what the gradient needs of each level
        E = self.T[1:]
        reach = torch.zeros_like(b)  # how far below t the features averaged so far can take z
        for level, slope in enumerate(a):
            E = self._quotient(level, E)
            if series is not None:
                reach = reach + (slope.abs() if points[0] else (-slope).clamp(min=0))
                E = self._polynomial(level, E, nodes.pop(), reach)
        self.value = E[0, 0]

    def _quotient(self, level, E):
        """E (powers, vertices, pairs) -> (powers - 1, vertices / points, pairs)."""
        low, high = self.points[0], self.points[-1]
        E = E.unflatten(1, (len(self.points), -1))
        at_zero, difference, ends = E[:-1, self.points.index(0)], E[1:, -1] - E[1:, 0], None
        average = torch.addcmul(self.levels.alpha[level] * at_zero, self.levels.beta[level], difference)
        if self._may_be_target(level):
            ends = high * E[:-1, -1] - low * E[:-1, 0] if low else E[:-1, -1]
            average.addcmul_(self.levels.gamma[level], ends)
        self.quotients.append((difference, ends))
        return average

    def _may_be_target(self, level):
        return self.series is not None or level == len(self.a) - 1

    def _polynomial(self, level, average, t, reach):
        """The average where z may change its sign, elsewhere its polynomial sum_l series_l T_(r-l)(t)."""
        powers = _powers(t, len(average) + 1)
        polynomial = self.series[level][0] * powers
        for order in range(1, len(powers)):
            polynomial[order:].addcmul_(self.series[level][order], powers[:-order])
        inside = t >= reach  # where t <= -reach the average is zero already
        self.polynomials.append((inside, powers, polynomial))
        return torch.where(inside, polynomial[2:], average)

    def gradient(self):
        """The gradient of the value in b (pairs,), a (level, pairs) and, if there are, in the series."""
        low, high = self.points[0], self.points[-1]
        of_a, of_series, of_nodes = torch.empty_like(self.a), [], []
        grad = torch.ones_like(self.T[:1, :1])
        for level in reversed(range(len(self.a))):
            if self.series is not None:
                grad = self._polynomial_gradient(level, grad, of_series, of_nodes)
            of_a[level], grad = self._quotient_gradient(level, grad)
        grad = (grad * self.T[:-1]).sum(0)  # in the vertices t
        for level in range(len(self.a)):
            grad = grad.unflatten(0, (len(self.points), -1))
            of_a[level] += high * grad[-1].sum(0) + (low * grad[0].sum(0) if low else 0)
            grad = grad.sum(0)
            if self.series is not None:
                grad = grad + of_nodes.pop()
        return (grad[0], of_a) if self.series is None else (grad[0], of_a, of_series[::-1])

    def _quotient_gradient(self, level, grad):
        low, high = self.points[0], self.points[-1]
        alpha, beta, gamma, of_beta, of_gamma = (coefficient[level] for coefficient in self.levels)
        difference, ends = self.quotients[level]
        of_a = of_beta * (grad * difference).sum((0, 1))
        of_E = grad.new_zeros(len(grad) + 1, len(self.points), *grad.shape[1:])
        torch.mul(grad, beta, out=of_E[1:, -1])
        of_E[1:, 0] = -of_E[1:, -1]
        of_E[:-1, self.points.index(0)].addcmul_(grad, alpha)
        if ends is not None:
            of_a += of_gamma * (grad * ends).sum((0, 1))
            of_ends = grad * gamma
            of_E[:-1, -1] += high * of_ends
            of_E[:-1, 0] -= low * of_ends
        return of_a, of_E.flatten(1, 2)

    def _polynomial_gradient(self, level, grad, of_series, of_nodes):
        """Append what goes to series and t, return what goes to the quotients."""
        inside, powers, polynomial = self.polynomials[level]
        of_polynomial = torch.where(inside, grad, 0)  # r = 2, 3, ...
        of_nodes.append((of_polynomial * polynomial[1:-1]).sum(0))
        series = torch.zeros_like(self.series[level])
        for order in range(len(powers)):
            first = max(order, 2)  # the lowest r that takes part
            terms = of_polynomial[first - 2 :] * powers[first - order : len(powers) - order]
            series[order] = terms.sum((0, 1))
        of_series.append(series)
        return torch.where(inside, 0, grad)


def _careful(b, a, p, distribution, need_gradient):
    """E[(x_i - ReLU(z))^2] of every pair to full accuracy for any a, and its gradient in b and a."""
    points = _points(distribution)
    loss, of_b, of_a = torch.zeros_like(b), torch.zeros_like(b), torch.zeros_like(a)
    for state in _states(p, distribution):
        slopes = a[state.present]
        with torch.set_grad_enabled(need_gradient):
            leaves = [v.detach().requires_grad_(need_gradient) for v in (b, slopes)]
            residual = _linear_residual(*leaves, state.density, points)
            near = residual < _NEAR
            constant = state.on * torch.where(near, residual, 1 / 3)
        direct = _sorted(b, slopes, state._replace(on=state.on * ~near), points, 1, need_gradient)
        near = near.nonzero()[:, 0]
        negative = _State(state.present, state.density[:, near], torch.zeros_like(near), state.on[near])
        mirrored = _sorted(-b[near], -slopes[:, near], negative, points, -1, need_gradient)
        loss += constant.detach() + direct[0]
        loss[near] += mirrored[0]
        if need_gradient:
            gradient = torch.autograd.grad(constant, leaves, torch.ones_like(b))
            for piece, part, opposite in zip(gradient, direct[1:], mirrored[1:]):
                piece += part
                piece[..., near] -= opposite
            of_b += gradient[0]
            of_a[state.present] += gradient[1]
    return loss, of_b, of_a


def _linear_residual(b, a, density, points):
    """E[(x - z)^2] where the target is active."""
    centre = 0 if points[0] else 1 / 2
    rest, target, p = a[:-1], a[-1], density[:-1]
    bias = (1 - target) * centre - b - (rest * p).sum(0) * centre
    return bias**2 + (1 - target) ** 2 * (1 / 3 - centre**2) + (rest**2 * (p / 3 - (p * centre) ** 2)).sum(0)


def _sorted(b, a, state, points, sign, need_gradient):
    """Value of the recursion and its gradient in b and a, from the smallest |a| to the largest."""
    order = a.abs().argsort(0)
    is_target = order == len(a) - 1
    a, state = a.gather(0, order), state._replace(density=state.density.gather(0, order))
    with torch.set_grad_enabled(need_gradient):
        leaf = a.detach().requires_grad_(need_gradient)
        series = _series(leaf, state, is_target, points, sign)
    levels = _levels(a, state, is_target, points, sign)
    recursion = _Recursion(b, a, levels, points, series.detach())
    if not need_gradient:
        return recursion.value, None, None
    of_b, of_a, of_series = recursion.gradient()
    of_a += torch.autograd.grad(series, leaf, torch.stack(of_series))[0]
    return recursion.value, of_b, torch.empty_like(of_a).scatter_(0, order, of_a)


def _series(a, state, is_target, points, sign):
    """(level, power, pairs): s_l such that the average up to a level is sum_l s_l T_(r-l)(t) where z keeps its sign.

    Of one feature s_l = p E[x^l] a^l / l!, of the target off 2 [l = 0] + on (2 sign E[x^l] a^l / l! - 2 E[x^l]
    a^(l-1) / (l-1)!); features together multiply as power series.
    """
    powers = _powers(a, len(a) + 1)  # (power, level, pairs)
    order = torch.arange(len(powers), dtype=a.dtype, device=a.device)[:, None, None]
    moment = (1 if points[0] == 0 else 1 - order % 2) / (order + 1)
    first = (order == 0).to(a.dtype)
    feature = torch.where(order == 0, 1, state.density * moment * powers)
    lower = torch.cat([torch.zeros_like(powers[:1]), powers[:-1]])
    target = 2 * state.off * first + 2 * state.on * moment * (sign * powers - lower)
    single = torch.where(is_target, target, feature)
    series = [single[:, 0]]
    for level in range(1, len(a)):
        below, this = series[-1], single[:, level]
        series.append(torch.stack([(below[: r + 1] * this[: r + 1].flip(0)).sum(0) for r in range(len(powers))]))
    return torch.stack(series)


def _powers(t, top):
    """t^r / r! for r = 0 ... top, in a new first dimension."""
    powers = [torch.ones_like(t)]
    for r in range(1, top + 1):
        powers.append(powers[-1] * t / r)
    return torch.stack(powers)
