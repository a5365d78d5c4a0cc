"""Training: fits a batch of independent instances at once, by sampled or by exact loss.

Four things make sampling fast and its gradients quiet (benchmarks/compare.py holds it against the usual loop): one
uniform draw serves all instances, so that drawing costs next to nothing; only rows with an active feature are drawn,
and the loss of the empty row is added exactly, with its probability; the gradient is written out by hand, in place, in
buffers that are allocated once; and instances are worked on in blocks that fit the processor's cache.

Restarts are further instances: `distribution.with_restarts(4)` repeats each setting four times in a
row, and `best_restart` picks the best of each four.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from checks import as_real, check_count, check_positive, check_size, check_torch
from features import RowMaker, check_distribution
from losses.exact import DescentGradient, expected_loss, in_range
from losses.gradient import exact_gradient, parted
from losses.settling import descended
from models import LinearModel, ReLUOutputModel, ToyModel, check_inputs

BLOCK_NUMBERS = (
    250_000  # numbers in a block's z on the CPU: with its gradient it stays in the cache
)
TINY, MANY = (
    16,
    64,
)  # weights of a model up to which, and instances from which, products go term by term
RARE = 0.01  # empty rows less likely than this are drawn like any other: leaving them out costs more than it saves
SAMPLE_STREAM, TEST_STREAM = (
    0x5A5A5A5A,
    0x3C3C3C3C,
)  # the same seed gives weights, samples and tests of their own
WARM_UP = 0.05  # share of the steps in which the learning rate rises to its full value
SCHEDULES = ("cosine", "constant")  # of the learning rate


@dataclass(frozen=True)
class History:
    """What training recorded: row k belongs to the weights after steps[k] updates. All on the CPU."""

    steps: Int[Tensor, " records"]
    losses: Float[Tensor, "records instances"]  # of the batch at that step
    weights: dict[str, Float[Tensor, "records instances ..."]]  # by the parameter's name


def train(
    model,
    distribution,
    *,
    steps,
    batch_size=256,
    lr=1e-2,
    schedule="cosine",
    exact=False,
    attack=None,
    seed=0,
    record=None,
    progress=True,
) -> History:
    """Fit all instances of a model, in place, by Adam -> History.

    model:        a ToyModel, one instance for each instance of the distribution
    distribution: FeatureDistribution of the inputs and the importance of their errors
    steps:        updates; batch_size: rows in each, active ones only; lr: the highest learning rate
    schedule:     of the learning rate: "cosine" warms up and decays to zero, "constant" keeps lr (paper, Section 5)
    exact:        descend on the exact expected loss instead of samples (LinearModel, ReLUOutputModel)
    attack:       adversarial training (paper, Section 6; the same models, samples only): every row is moved by this
                  share of the batch's mean input norm, one number or one for each instance, along the analytic attack
                  (W^T W)_i / ||(W^T W)_i|| on a random feature i, and the error is that against the row as it was; the
                  gradient takes the attack as constant
    seed:         of the samples; the result depends on nothing else that is random
    record:       keep loss and weights every so many steps, or at these steps; the last one is always kept
    progress:     show a bar on stderr

    Raises ValueError where model and distribution do not match or a setting is out of range. Where instances diverge,
    raises FloatingPointError at the end, naming them and the first step whose output was not finite; the others are
    trained.
    """
    distribution = _matching(model, distribution)
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    kept = _recorded(record, steps)
    check_size(batch_size=batch_size, features=model.features, hidden=model.hidden)
    check_positive("lr", lr)
    check_torch(seed)
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule: expected one of {SCHEDULES}, got {schedule!r}")
    if exact and model.closed_form is None:
        raise ValueError(
            f"exact: expected a LinearModel or a ReLUOutputModel, got {type(model).__name__}"
        )
    attack = None if attack is None else _checked_attack(attack, model, exact)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    blocks = (
        [_ExactLoss(model, distribution)]
        if exact
        else _blocks(model, distribution, batch_size, attack)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    generator = torch.Generator(model.b.device).manual_seed(seed ^ SAMPLE_STREAM)
    finite_steps = torch.zeros(model.instances, dtype=torch.long, device=model.b.device)
    records = []
    for step in tqdm(range(steps + 1), disable=not progress, leave=False, desc="train"):
        recorded = step in kept
        draw = None if exact else distribution.draw(batch_size, generator, model.b.dtype)
        losses = []
        for block in blocks:
            block.forward(draw)
            if recorded:
                losses.append(block.loss())
            if step < steps:
                block.backward()
        if recorded:
            losses = torch.cat(losses)
            records.append((step, losses.cpu(), _snapshot(model)))
        if step < steps:
            finite_steps += model.b.grad.isfinite().all(dim=1)
            optimizer.param_groups[0]["lr"] = (
                lr if schedule == "constant" else lr * _cosine(step, steps)
            )
            optimizer.step()
    model.zero_grad(set_to_none=True)
    _raise_if_diverged(finite_steps + losses.isfinite(), steps)
    at, losses, weights = zip(*records)
    return History(
        torch.tensor(at),
        torch.stack(losses),
        {name: torch.stack([w[name] for w in weights]) for name in weights[0]},
    )


def _checked_attack(attack, model, exact):
    """(instances,) in the model's dtype, on its device."""
    if exact or model.closed_form is None:
        got = f"{type(model).__name__}{', exact' if exact else ''}"
        raise ValueError(
            f"attack: expected a LinearModel or a ReLUOutputModel, trained on samples, got {got}"
        )
    sizes = as_real("attack", attack, model.b.device)
    if sizes.shape not in ((), (model.instances,)):
        raise ValueError(
            f"attack: expected a number or shape ({model.instances},), got {tuple(sizes.shape)}"
        )
    if not ((sizes >= 0) & sizes.isfinite()).all():
        raise ValueError(f"attack: expected finite numbers of at least 0, got {attack!r}")
    return sizes.to(model.b.dtype).expand(model.instances)


def _raise_if_diverged(finite, steps):
    """FloatingPointError unless the output was finite at all steps + 1: finite (instances,), in how many it was."""
    diverged = (finite <= steps).nonzero()[:, 0]
    if len(diverged):
        shown = ", ".join(str(k) for k in diverged[:10].tolist()) + (
            "" if len(diverged) <= 10 else ", ..."
        )
        raise FloatingPointError(
            f"{len(diverged)} of {len(finite)} instances diverged, the first at step {finite.min()}: {shown} "
            "(the others are trained)"
        )


def sampled_loss(model, distribution, *, rows=2**14, seed=0) -> Float64[Tensor, " instances"]:
    """Mean loss of each instance over fresh rows with an active feature, the empty row added exactly.

    Rows are drawn 1,024 at a time, rounded up. The same draws serve all instances, so that restarts
    of one setting compare on the same data. Not finite for an instance whose weights are not, or too large.
    """
    distribution = _matching(model, distribution)
    check_count("rows", rows)
    check_torch(seed)
    generator = torch.Generator(model.b.device).manual_seed(seed ^ TEST_STREAM)
    batch_size = min(rows, 1024)
    batches = math.ceil(rows / batch_size)
    blocks = _blocks(model, distribution, batch_size)
    total = torch.zeros(model.instances, dtype=torch.float64, device=model.b.device)
    for _ in range(batches):
        draw = distribution.draw(batch_size, generator, model.b.dtype)
        for block, part in zip(blocks, total.split([len(block.b) for block in blocks])):
            block.forward(draw)
            part += block.loss()
    return total / batches


def best_restart(losses: Float[Tensor, " instances"], restarts) -> Int[Tensor, " settings"]:
    """Indices of the lowest-loss restart of each setting, into the instances.

    The restarts of a setting stand in a row. A loss that is not a number counts as the worst.
    """
    check_count("restarts", restarts)
    losses = as_real("losses", losses)
    if losses.dim() != 1 or not len(losses) or len(losses) % restarts:
        raise ValueError(
            f"losses: expected one dimension divisible by {restarts} restarts, got {tuple(losses.shape)}"
        )
    by_setting = losses.nan_to_num(nan=math.inf).view(-1, restarts)
    return by_setting.argmin(dim=1) + restarts * torch.arange(len(by_setting), device=losses.device)


def train_best(
    model_class, distribution, hidden, *, restarts, seed=0, init_scale=0.1, **settings
) -> tuple[ToyModel, Float[Tensor, " instances"]]:
    """Train several restarts of every instance of a distribution and keep the best -> model, losses.

    settings: passed on to `train`
    """
    check_distribution(distribution)
    if not (isinstance(model_class, type) and issubclass(model_class, ToyModel)):
        raise ValueError(f"model_class: expected a ToyModel, got {model_class!r}")
    repeated = distribution.with_restarts(restarts)
    device = repeated.density.device
    model = model_class(
        repeated.instances,
        repeated.features,
        hidden,
        seed=seed,
        device=device,
        init_scale=init_scale,
    )
    history = train(model, repeated, seed=seed, **settings)
    losses = history.losses[-1] if settings.get("exact") else sampled_loss(model, repeated)
    best = best_restart(losses, restarts)
    return model.select(best), losses[best]


class _Buffers:
    """What a block computes with, allocated once; blocks of one size use the same, one after the other."""

    def __init__(self, weights, rows, batch_size, tied, long):
        instances, hidden, features = weights.shape

        def empty(*shape):
            if not long:
                return weights.new_empty(shape)
            return weights.new_empty(shape[::-1]).permute(
                *reversed(range(len(shape)))
            )  # instances vary fastest

        self.x = empty(rows, batch_size, features)
        self.z, self.g = (empty(instances, batch_size, features) for _ in range(2))
        self.h, self.of_h = (empty(instances, hidden, batch_size) for _ in range(2))
        self.E, self.of_E, self.of_D, self.scaled_D = (
            empty(instances, hidden, features) for _ in range(4)
        )
        self.D = self.E if tied else empty(instances, hidden, features)
        self.of_b = empty(instances, features)


class _Block:
    """Some instances of a model: the loss of sampled rows, and its gradient by hand, in place.

    With encoder E, decoder D (the same where weights are tied), h = E x and z = D^T h + b, the loss has the gradient
    g = 2 I (act(z) - target) act'(z) in z, and from there, as means over rows,

        db = g,   dD = h g^T,   dE = (D g) x^T

    with D g masked by the hidden layer's ReLU, where there is one. All are weighted by the probability of a row with
    an active feature; the empty row, whose hidden layer is zero, adds to the loss and to db.
    Each `restarts` instances in a row have equal densities and share their rows, up to the attack on these.
    """

    def __init__(self, model, distribution, instances, restarts, batch_size, buffers, attack=None):
        self.model, self.batch_size = model, batch_size
        self.attack = None if attack is None else attack[instances]
        self.encoder, self.decoder, self.b = (
            t.detach()[instances] for t in (model.encoder, model.decoder, model.b)
        )
        self.gradients = [p.grad[instances] for p in model.parameters() if p.grad is not None]
        distribution, dtype = distribution.select(instances), model.b.dtype
        rare = RARE if attack is None else 1.0  # an empty row that is attacked is not empty
        self.maker = RowMaker(distribution.select(slice(None, None, restarts)), dtype, rare=rare)
        self.probability = self.maker.probability.repeat_interleave(restarts)
        self.importance = distribution.importance.to(dtype)
        self.scale = 2 / batch_size * self.probability[:, None] * self.importance
        self.scale_of_empty = 2 * (1 - self.probability)[:, None] * self.importance
        self.may_be_empty = bool((self.probability < 1).any())
        count, hidden, features = self.encoder.shape
        long = count >= MANY and hidden * features <= TINY
        self.product = _long_product if long else _product
        if (count, restarts) not in buffers:
            buffers[count, restarts] = _Buffers(
                self.encoder, count // restarts, batch_size, model.tied, long
            )
        self.buffers = buffers[count, restarts]

    def forward(self, draw):
        """Rows, hidden layer, output and its error, into the buffers."""
        at, model = self.buffers, self.model
        self.maker.rows(draw, out=at.x)
        at.E.copy_(self.encoder)
        if not model.tied:
            at.D.copy_(self.decoder)
        self.encoded = at.x if self.attack is None else self._attacked(draw)
        self.product(at.E, self.encoded.mT, out=at.h)
        if model.relu_hidden:
            at.h.clamp_(min=0)
        self.product(at.h.mT, at.D, out=at.z, plus=self.b[:, None])
        if model.relu_output:
            at.z.clamp_(min=0)
        z, g = (
            t.unflatten(0, (len(at.x), -1)) for t in (at.z, at.g)
        )  # (densities, restarts, batch, features)
        torch.sub(z, model.target(at.x)[:, None], out=g)

    def _attacked(self, draw):
        """(instances, batch, features): the rows, each after the analytic attack on one feature.

        All rows are drawn like any other, so that the number that would choose a row's first active set is free to
        choose its feature.
        """
        at, features = self.buffers, self.b.shape[1]
        restarts = len(at.E) // len(at.x)
        size = self.attack * at.x.norm(dim=2).mean(dim=1).repeat_interleave(restarts)
        attacks = normalize(at.E.mT @ at.E, dim=2)  # (instances, attacked feature, features)
        attacked = attacks[:, (draw.first * features).long()]
        return attacked.mul_(size[:, None, None]).add_(at.x.repeat_interleave(restarts, dim=0))

    def loss(self):
        """(instances,), after `forward`."""
        at = self.buffers
        active = (self.importance * torch.sum(at.g.square(), dim=1, out=at.of_b)).sum(
            dim=1
        ) / self.batch_size
        empty = (self.importance * self._empty_output().square()).sum(dim=1)
        return torch.lerp(empty, active, self.probability)

    def backward(self):
        """Leave the gradient in the model's parameters, after `forward`."""
        at, model = self.buffers, self.model
        if model.relu_output:
            at.g.mul_(at.z.sign_())
        torch.sum(at.g, dim=1, out=at.of_b).mul_(self.scale)
        if self.may_be_empty:
            at.of_b.addcmul_(self.scale_of_empty, self._empty_output())
        self.product(at.h, at.g, out=at.of_D)
        at.of_D.mul_(self.scale[:, None])
        torch.mul(at.D, self.scale[:, None], out=at.scaled_D)
        self.product(at.scaled_D, at.g.mT, out=at.of_h)
        if model.relu_hidden:
            at.of_h.mul_(at.h.sign_())
        self.product(at.of_h, self.encoded, out=at.of_E)
        of_weights = [at.of_E.add_(at.of_D)] if model.tied else [at.of_E, at.of_D.mT]
        for whole, part in zip(self.gradients, (at.of_b, *of_weights)):
            whole.copy_(part)

    def _empty_output(self):
        """(instances, features): the output for a row without active features."""
        return self.b.clamp(min=0) if self.model.relu_output else self.b


def _product(left, right, out, plus=None):
    """out = left @ right (+ plus), each (instances, rows, columns); right may serve several instances in a row."""
    left, out = (t.view(len(right), -1, t.shape[2]) for t in (left, out))
    if plus is None:
        torch.bmm(left, right, out=out)
    else:
        torch.baddbmm(plus, left, right, out=out)


def _long_product(left, right, out, plus=None):
    """The same for many tiny models, term by term along the instances: as matrix products they take 6 times as long."""
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


class _ExactLoss:
    """All instances of a model with the exact expected loss: descends on a fast gradient, needs no draw."""

    def __init__(self, model, distribution):
        self.model, self.distribution = model, distribution
        self.gradient = DescentGradient(distribution, model.closed_form)

    def forward(self, draw):
        self.W, self.b = self.model.W.detach(), self.model.b.detach()

    def loss(self):
        """(instances,), NaN where weights are not finite or too large."""
        finite = in_range(self.W, self.b)
        W, b = self.W.where(finite[:, None, None], 0), self.b.where(finite[:, None], 0)
        return expected_loss(W, b, self.distribution, self.model.closed_form).where(
            finite, torch.nan
        )

    def backward(self):
        """Leave the gradient in the model's parameters."""
        self.gradient.into(self.W, self.b, self.model.W.grad, self.model.b.grad)


def _blocks(model, distribution, batch_size, attack=None):
    """The model in blocks of instances: as many as fit the cache, on a GPU all at once."""
    runs = torch.unique_consecutive(distribution.density, dim=0, return_counts=True)[1]
    restarts, instances = math.gcd(*runs.tolist()), model.instances
    size = instances
    if model.b.device.type == "cpu":
        size = max(1, BLOCK_NUMBERS // (batch_size * model.features))
    group = max(
        restarts, size - size % restarts
    )  # a block holds whole runs of restarts, or a part of one
    starts = [
        start + part
        for start in range(0, instances, group)
        for part in range(0, min(group, instances - start), size)
    ]
    blocks, buffers = [], {}
    for start, end in pairwise([*starts, instances]):
        shared = min(restarts, end - start)
        blocks.append(
            _Block(model, distribution, slice(start, end), shared, batch_size, buffers, attack)
        )
    return blocks


def _recorded(record, steps):
    """The steps to record, the last one among them, from the argument `record`."""
    if record is None:
        return {steps}
    if isinstance(record, Integral):
        check_count("record", record)
        return {*range(0, steps, record), steps}
    try:
        kept = {*record}
    except TypeError:
        kept = {None}
    if not all(isinstance(step, Integral) and 0 <= step <= steps for step in kept):
        raise ValueError(
            f"record: expected a count, or whole numbers from 0 to {steps}, got {record!r}"
        )
    return {*map(int, kept), steps}


def _cosine(step, steps):
    """Share of the full learning rate: linear warm-up, times cosine decay to zero."""
    return min(1.0, (step + 1) / (WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2


def _snapshot(model):
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}


def _matching(model, distribution):
    """The distribution, on the model's device; ValueError where the two do not match."""
    if not isinstance(model, ToyModel):
        raise ValueError(f"model: expected a ToyModel, got {type(model).__name__}")
    check_torch(dtype=model.b.dtype)
    check_inputs(model, distribution)
    return distribution.to(model.b.device)


@dataclass(frozen=True)
class Settled:
    """Certificates of a settled model: what is true of its weights as they are. All on the CPU."""

    losses: Float64[Tensor, " instances"]  # exact
    gradients: Float64[
        Tensor, " instances"
    ]  # norm of the gradient relative to where the descent began
    steps: Int[Tensor, " instances"]


def settle(model, distribution, *, tolerance=1e-6, progress=True) -> Settled:
    """Descend on the exact loss, in place, until each instance's gradient nearly vanishes.

    Sampled training ends where the noise of its gradients drowns what is left to gain. This goes on
    to a local minimum nearby. Each instance descends on its own, by L-BFGS and at the end by
    Newton's method. An instance that begins at a stationary point, to rounding errors, stays there.
    A warning names the instances whose gradient did not reach the tolerance, after 20,000 steps or
    because no step made it smaller.

    Args:
        model: A LinearModel or a ReLUOutputModel. Where its weights are float32, rounding them
            leaves relative gradients of about 1e-5; use `model.double()` first for smaller ones.
        distribution: FeatureDistribution with one instance for each instance of the model. For a
            ReLUOutputModel its features must be in [0, 1].
        tolerance: The norm of the gradient, relative to where the descent began, at which it ends.
        progress: Whether to show a bar on stderr.

    Returns:
        Loss, gradient and number of steps of each instance, at the weights as they are stored.

    Raises:
        ValueError: If model and distribution do not match, if a setting is out of range, or if so
            few features are active that the exact loss takes too many terms (see
            `many_features_loss`).
    """
    distribution = _matching(model, distribution).to("cpu")
    check_positive("tolerance", tolerance)
    _check_settled_kind(model)
    W, b = (t.detach().cpu() for t in (model.W, model.b))
    if not in_range(W, b).all():
        raise ValueError("model: expected finite weights of moderate size, got others")
    descents = descended(W, b, distribution, model.closed_form, tolerance, progress)
    W, b = parted(torch.stack([torch.from_numpy(descent.x) for descent in descents]), model.hidden)
    model.W.data.copy_(W)
    model.b.data.copy_(b)
    found = exact_gradient(model.W.cpu(), model.b.cpu(), distribution, model.closed_form)
    first = torch.tensor([descent.first for descent in descents], dtype=torch.float64)
    steps = torch.tensor([descent.steps for descent in descents])
    return Settled(found.loss, torch.where(first > 0, found.norm / first, 0), steps)


def _check_settled_kind(model):
    if type(model) not in (LinearModel, ReLUOutputModel):
        raise ValueError(
            f"model: expected a LinearModel or a ReLUOutputModel, got {type(model).__name__}"
        )
