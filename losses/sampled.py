"""The loss of sampled rows and its gradient, in blocks of instances.

Four things make sampling fast and its gradients quiet; `benchmarks/compare.py` measures them
against the usual loop. One uniform draw serves all instances, so that drawing costs next to
nothing. Only rows with an active feature are drawn, and the loss of the empty row is added exactly,
with its probability. Instances are worked on in blocks that fit the processor's cache. And for the
four models of `models.py` the gradient is written out by hand, in place, in buffers that are
allocated once.

`sampled_blocks` splits a model into blocks. A block offers

    forward(draw)   compute rows, output and loss
    loss()          -> (instances,), the loss
    finite()        -> (instances,), whether the numbers of the last step are finite
    backward()      write the gradient into the `grad` of the model's parameters

The last three belong to the last `forward`. Blocks share buffers, so one block is finished before
the next one starts. The blocks of the four models work by hand (`HandWrittenLoss`), and those of
all other models by autograd (`losses/any_model.py`). `models.base_class` tells them apart by
methods and parameters, so that a subclass is never trained as the class from which it inherits.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch.nn.functional import normalize

from losses.any_model import AnyModelLoss, probed
from losses.rows import RARE, Rows, warn_of_scarce_rows
from models import (
    AbsoluteValueModel,
    LinearModel,
    ReLUHiddenModel,
    ReLUOutputModel,
    base_class,
)

BLOCK_NUMBERS = 250_000  # numbers in a block's output on the CPU, which then fits the cache
# Products are computed term by term where models are tiny and many.
TINY = 16  # the most weights of a tiny model
MANY = 64  # the fewest instances of a block that are many


class _Form(NamedTuple):
    """What sets the four models apart."""

    tied: bool  # one matrix encodes and decodes
    relu_hidden: bool
    relu_output: bool
    absolute_target: bool = False


FORMS = {
    LinearModel: _Form(tied=True, relu_hidden=False, relu_output=False),
    ReLUOutputModel: _Form(tied=True, relu_hidden=False, relu_output=True),
    ReLUHiddenModel: _Form(tied=True, relu_hidden=True, relu_output=True),
    AbsoluteValueModel: _Form(tied=False, relu_hidden=True, relu_output=True, absolute_target=True),
}


def sampled_blocks(model, distribution, batch_size, *, attack=None, training=True) -> list:
    """Split a model into blocks of instances: as many as fit the cache, on a GPU all at once.

    Args:
        model: A ToyModel. Gradients go into those parameters whose `grad` is a tensor.
        distribution: FeatureDistribution of the same instances, on the model's device.
        batch_size: Number of rows of a draw.
        attack: (instances,), the size of the attack on each row as a share of the mean norm of the
            rows; only for the LinearModel and the ReLUOutputModel. None for no attack.
        training: Whether the model is in training mode, in which dropout, for instance, is active.

    Raises:
        ValueError: The model's methods break the contract that `models.ToyModel` states.
    """
    parts = _layout(model, distribution, batch_size)
    kind = base_class(model)
    if kind is None:
        return _any_model_blocks(model, distribution, parts, batch_size, training)
    buffers = {}
    return [
        HandWrittenLoss(
            model, FORMS[kind], distribution, instances, restarts, batch_size, buffers, attack
        )
        for instances, restarts in parts
    ]


def _any_model_blocks(model, distribution, parts, batch_size, training):
    """Return blocks that call the model's own methods; all of them draw rows in the same way."""
    tried = [probed(model, distribution, instances, training) for instances, _ in parts]
    separable = all(separable for _, separable in tried)
    if training:
        warn_of_scarce_rows(distribution)
    blocks = []
    for (instances, restarts), (view, _) in zip(parts, tried):
        gradients = [
            weights.grad[instances] if weights.requires_grad and weights.grad is not None else None
            for weights in model.parameters()
        ]
        inputs = distribution.select(instances)
        blocks.append(AnyModelLoss(view, gradients, inputs, restarts, batch_size, separable))
    return blocks


def _layout(model, distribution, batch_size):
    """Return a slice of instances for each block, and how many in a row share their rows.

    A block holds whole runs of instances with equal densities, or a part of one run.
    """
    runs = torch.unique_consecutive(distribution.density, dim=0, return_counts=True)[1]
    restarts = math.gcd(*runs.tolist())
    size = model.instances
    if distribution.density.device.type == "cpu":
        size = max(1, BLOCK_NUMBERS // (batch_size * model.features))
    group = max(restarts, size - size % restarts)
    starts = []
    for start in range(0, model.instances, group):
        length = min(group, model.instances - start)
        starts.extend(range(start, start + length, size))
    return [
        (slice(start, end), min(restarts, end - start))
        for start, end in pairwise([*starts, model.instances])
    ]


class HandWrittenLoss:
    """Some instances of one of the four models: their loss and its gradient by hand, in place.

    With encoder E, decoder D (the same where weights are tied), h = E x and z = D^T h + b, the loss
    has the gradient g = 2 I (act(z) - target) act'(z) in z, and from there, as means over rows,

        db = g,   dD = h g^T,   dE = (D g) x^T

    where D g is masked by the hidden layer's ReLU, if there is one. `Rows` says how the rows are
    weighted. The empty row, whose hidden layer is zero, adds to the loss and to db alone.
    """

    def __init__(
        self, model, form, distribution, instances, restarts, batch_size, buffers, attack=None
    ):
        """Take views of the weights; blocks of one shape share what is in `buffers`."""
        self.form = form
        self.batch_size = batch_size
        self.attack = None if attack is None else attack[instances]
        self.encoder = model.encoder.detach()[instances]
        self.decoder = model.decoder.detach()[instances]
        self.b = model.b.detach()[instances]
        parameters = [model.b, model.W] if form.tied else [model.b, model.W1, model.W2]
        self.gradients = [p.grad[instances] for p in parameters if p.grad is not None]
        self._set_weights(distribution.select(instances), restarts)
        count, hidden, features = self.encoder.shape
        long = count >= MANY and hidden * features <= TINY
        self.product = long_product if long else product
        if (count, restarts) not in buffers:
            buffers[count, restarts] = _Buffers(self.encoder, restarts, batch_size, form.tied, long)
        self.buffers = buffers[count, restarts]

    def _set_weights(self, distribution, restarts):
        """Prepare the rows, and the weight of each squared error in loss and gradient."""
        dtype = self.b.dtype
        rare = RARE if self.attack is None else 1.0  # an empty row that is attacked is not empty
        self.rows = Rows(distribution, restarts, dtype, rare)
        self.largest = self.rows.largest.to(dtype)
        self.importance = (distribution.importance / self.rows.largest[:, None]).to(dtype)
        self.scale = 2 / self.batch_size * self.rows.active_weight[:, None] * self.importance
        self.empty_scale = 2 * self.rows.empty_weight[:, None] * self.importance
        limit = self.rows.empty_limit
        self.empty_limit = None if limit is None else limit.to(dtype)

    def forward(self, draw):
        """Compute rows, hidden layer, output and its error into the buffers."""
        at = self.buffers
        self.rows.draw(draw, out=at.x)
        at.E.copy_(self.encoder)
        if not self.form.tied:
            at.D.copy_(self.decoder)
        self.encoded = at.x if self.attack is None else self._attacked(draw)
        self.product(at.E, self.encoded.mT, out=at.h)
        if self.form.relu_hidden:
            at.h.clamp_(min=0)
        self.product(at.h.mT, at.D, out=at.z, plus=self.b[:, None])
        if self.form.relu_output:
            at.z.clamp_(min=0)
        target = at.x.abs() if self.form.absolute_target else at.x
        grid = (len(target), -1)  # z and g become (densities, restarts, batch, features)
        error = at.g.unflatten(0, grid)
        torch.sub(at.z.unflatten(0, grid), target[:, None], out=error)

    def _attacked(self, draw):
        """Return the rows (instances, batch, features), each after the attack on one feature.

        All rows are drawn like any other, so that the number that would choose a row's first active
        set is free to choose its feature.
        """
        at = self.buffers
        features = self.b.shape[1]
        norm = at.x.norm(dim=2).mean(dim=1).repeat_interleave(self.rows.restarts)
        attacks = normalize(at.E.mT @ at.E, dim=2)  # (instances, attacked feature, features)
        attacked = attacks[:, (draw.first * features).long()]
        attacked.mul_((self.attack * norm)[:, None, None])
        return attacked.add_(at.x.repeat_interleave(self.rows.restarts, dim=0))

    def loss(self):
        """Return the loss (instances,), after `forward`."""
        at = self.buffers
        squares = torch.sum(at.g.square(), dim=1, out=at.db)
        active = (self.importance * squares).sum(dim=1) / self.batch_size
        empty = (self.importance * self._empty_output().square()).sum(dim=1)
        return torch.lerp(empty, active, self.rows.probability) * self.largest

    def finite(self):
        """Return whether the gradient in b of each instance is finite, after `backward`."""
        return self.gradients[0].isfinite().all(dim=1)

    def backward(self):
        """Write the gradient into the model's parameters, after `forward`."""
        at = self.buffers
        if self.form.relu_output:
            at.g.mul_(at.z.sign_())  # z is its ReLU by now, and its sign the ReLU's derivative
        torch.sum(at.g, dim=1, out=at.db).mul_(self.scale)
        if self.rows.may_be_empty:
            empty = self.empty_scale * self._empty_output()
            if self.empty_limit is not None:
                empty.clamp_(-self.empty_limit, self.empty_limit)
            at.db.add_(empty)
        self.product(at.h, at.g, out=at.dD)
        at.dD.mul_(self.scale[:, None])
        torch.mul(at.D, self.scale[:, None], out=at.scaled_D)
        self.product(at.scaled_D, at.g.mT, out=at.dh)
        if self.form.relu_hidden:
            at.dh.mul_(at.h.sign_())
        self.product(at.dh, self.encoded, out=at.dE)
        weights = [at.dE.add_(at.dD)] if self.form.tied else [at.dE, at.dD.mT]
        for whole, part in zip(self.gradients, (at.db, *weights)):
            whole.copy_(part)

    def _empty_output(self):
        """Return the output (instances, features) for a row without active features."""
        return self.b.clamp(min=0) if self.form.relu_output else self.b


class _Buffers:
    """The tensors of a block, allocated once. Blocks of one size use the same ones in turn."""

    def __init__(self, weights, restarts, batch_size, tied, long):
        instances, hidden, features = weights.shape

        def empty(*shape):
            if not long:
                return weights.new_empty(shape)
            reversed_axes = range(len(shape))[::-1]  # instances vary fastest in memory
            return weights.new_empty(shape[::-1]).permute(*reversed_axes)

        self.x = empty(instances // restarts, batch_size, features)
        self.z = empty(instances, batch_size, features)
        self.g = empty(instances, batch_size, features)
        self.h = empty(instances, hidden, batch_size)
        self.dh = empty(instances, hidden, batch_size)
        self.E = empty(instances, hidden, features)
        self.D = self.E if tied else empty(instances, hidden, features)
        self.scaled_D = empty(instances, hidden, features)
        self.dE = empty(instances, hidden, features)
        self.dD = empty(instances, hidden, features)
        self.db = empty(instances, features)


def product(left, right, out, plus=None):
    """Compute out = left @ right (+ plus), each (instances, rows, columns).

    One matrix on the right may serve several instances in a row.
    """
    left, out = (t.view(len(right), -1, t.shape[2]) for t in (left, out))
    if plus is None:
        torch.bmm(left, right, out=out)
    else:
        torch.baddbmm(plus, left, right, out=out)


def long_product(left, right, out, plus=None):
    """Compute the same for many tiny models, term by term along the instances.

    As matrix products they would take six times as long.
    """
    left, right, out = (t.unflatten(0, (len(right), -1)) for t in (left, right, out))
    terms = left.shape[3]
    if terms > TINY:  # a sum over the batch
        for row in range(left.shape[2]):
            torch.sum(left[:, :, row, :, None] * right, dim=2, out=out[:, :, row])
        return
    if plus is None:
        torch.mul(left[..., :1], right[..., :1, :], out=out)
    else:
        torch.addcmul(plus.unflatten(0, out.shape[:2]), left[..., :1], right[..., :1, :], out=out)
    for k in range(1, terms):
        out.addcmul_(left[..., k : k + 1], right[..., k : k + 1, :])
