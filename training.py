"""Training: fits a batch of independent instances at once, by sampled or by exact loss.

Three things make sampling fast and its gradients quiet (the benchmark compares it with the usual loop):
one uniform draw serves all instances, so that drawing costs next to nothing; only rows with an
active feature are drawn, and the loss of the empty row is added exactly, with its probability; and
instances are worked on in blocks that fit the processor's cache.

Restarts are further instances: `distribution.with_restarts(4)` repeats each setting four times in a
row, and `best_restart` picks the best of each four.
"""

import math
from dataclasses import dataclass

import torch
from tqdm import tqdm

from expected_loss import expected_loss
from features import FeatureDistribution, check_count, check_positive

BLOCK_NUMBERS = 2**18  # numbers in a block's x on the CPU: with its gradients it stays in the cache
SAMPLE_STREAM, TEST_STREAM = 0x5A5A5A5A, 0x3C3C3C3C  # the same seed gives weights, samples and tests of their own
WARM_UP = 0.05  # share of the steps in which the learning rate rises to its full value


@dataclass(frozen=True)
class History:
    """What training recorded: row k belongs to the weights after steps[k] updates.

    steps (records,); losses (records, instances), of the batch at that step;
    weights: parameter name -> (records, instances, ...), on the CPU
    """

    steps: torch.Tensor
    losses: torch.Tensor
    weights: dict[str, torch.Tensor]


def train(model, distribution, *, steps, batch_size=256, lr=1e-2, exact=False, seed=0, record=None, progress=True):
    """Fit all instances of a model, in place, by Adam with warm-up and cosine decay to zero -> History.

    model:        a ToyModel, one instance for each instance of the distribution
    distribution: FeatureDistribution of the inputs and the importance of their errors
    steps:        updates; batch_size: rows in each, active ones only; lr: the highest learning rate
    exact:        descend on the exact expected loss instead of samples (LinearModel, ReLUOutputModel)
    seed:         of the samples; the result depends on nothing else that is random
    record:       keep loss and weights every so many steps; the last step is always kept
    progress:     show a bar on stderr

    Raises ValueError where model and distribution do not match or a setting is out of range.
    """
    distribution = _matching(model, distribution)
    for name, count in (("steps", steps), ("batch_size", batch_size), ("record", 1 if record is None else record)):
        check_count(name, count)
    check_positive("lr", lr)
    if exact and model.closed_form is None:
        raise ValueError(f"exact: expected a LinearModel or a ReLUOutputModel, got {type(model).__name__}")
    blocks = [_ExactLoss(model, distribution)] if exact else _blocks(model, distribution, batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    generator = torch.Generator(model.b.device).manual_seed(seed ^ SAMPLE_STREAM)
    records = []
    for step in tqdm(range(steps + 1), disable=not progress, leave=False, desc="train"):
        recorded = step == steps or (record is not None and step % record == 0)
        before = _snapshot(model) if recorded else None
        draw = None if exact else distribution.draw(batch_size, generator, model.b.dtype)
        losses = [block.backward(draw) for block in blocks]
        if recorded:
            records.append((step, torch.cat(losses).cpu(), before))
        if step < steps:
            optimizer.param_groups[0]["lr"] = lr * _schedule(step, steps)
            optimizer.step()
    model.zero_grad(set_to_none=True)
    at, losses, weights = zip(*records)
    return History(
        torch.tensor(at), torch.stack(losses), {name: torch.stack([w[name] for w in weights]) for name in weights[0]}
    )


def sampled_loss(model, distribution, *, rows=2**14, seed=0):
    """Mean loss of each instance over fresh rows with an active feature, the empty row added exactly: (instances,).

    Rows are drawn 1,024 at a time, rounded up. The same draws serve all instances, so that restarts
    of one setting compare on the same data.
    """
    distribution = _matching(model, distribution)
    check_count("rows", rows)
    generator = torch.Generator(model.b.device).manual_seed(seed ^ TEST_STREAM)
    batch_size = min(rows, 1024)
    batches = math.ceil(rows / batch_size)
    blocks = _blocks(model, distribution, batch_size)
    total = torch.zeros(model.instances, dtype=torch.float64, device=model.b.device)
    with torch.no_grad():
        for _ in range(batches):
            draw = distribution.draw(batch_size, generator, model.b.dtype)
            total += torch.cat([block.loss(draw) for block in blocks])
    return total / batches


def best_restart(losses, restarts):
    """Indices of the lowest-loss restart of each setting: (settings,), into the instances.

    losses (settings * restarts,): the restarts of a setting stand in a row. A loss that is not a
    number counts as the worst.
    """
    check_count("restarts", restarts)
    losses = torch.as_tensor(losses).detach()
    if losses.dim() != 1 or len(losses) % restarts:
        raise ValueError(f"losses: expected one dimension divisible by {restarts} restarts, got {tuple(losses.shape)}")
    by_setting = losses.nan_to_num(nan=math.inf).view(-1, restarts)
    return by_setting.argmin(dim=1) + restarts * torch.arange(len(by_setting), device=losses.device)


def train_best(model_class, distribution, hidden, *, restarts, seed=0, init_scale=0.1, **settings):
    """Train several restarts of every instance of a distribution and keep the best -> model, losses (instances,).

    settings: passed on to `train`
    """
    repeated = distribution.with_restarts(restarts)
    device = repeated.density.device
    model = model_class(repeated.instances, repeated.features, hidden, seed=seed, device=device, init_scale=init_scale)
    history = train(model, repeated, seed=seed, **settings)
    losses = history.losses[-1] if settings.get("exact") else sampled_loss(model, repeated)
    best = best_restart(losses, restarts)
    return model.select(best), losses[best]


class _Block:
    """Some instances of a model, on views of its weights, and what they are trained on: sampled rows."""

    def __init__(self, model, distribution, instances=slice(None)):
        self.model = model.select(instances)
        self.owners = [(parameter, instances) for parameter in model.parameters()]
        for own, (whole, _) in zip(self.model.parameters(), self.owners):
            own.data = whole.data[instances]
        self.distribution = distribution.select(instances)
        self.inputs, self.row_of = self.distribution.distinct()
        dtype, device = model.b.dtype, model.b.device
        self.importance = self.distribution.importance.to(dtype)
        self.probability = self.distribution.active_probability.to(dtype)
        self.empty_row = torch.zeros(self.model.instances, 1, model.features, dtype=dtype, device=device)

    def loss(self, draw):
        """(instances,): active rows and the empty row, each with its probability."""
        x = self.inputs.active_rows(draw)  # (distinct densities, batch, features)
        if len(x) < self.model.instances:
            x = x.index_select(0, self.row_of)
        empty = self.model.loss(self.empty_row, self.importance)
        return torch.lerp(empty, self.model.loss(x, self.importance), self.probability)

    def backward(self, draw):
        """Leave the gradient in the whole model's parameters; -> losses (instances,)."""
        losses = self.loss(draw)
        gradients = torch.autograd.grad(losses.sum(), list(self.model.parameters()))
        for (whole, instances), gradient in zip(self.owners, gradients):
            whole.grad[instances] = gradient
        return losses.detach()


class _ExactLoss(_Block):
    """All instances of a model with the exact expected loss, which needs no draw."""

    def loss(self, draw=None):
        return expected_loss(self.model.W, self.model.b, self.distribution, self.model.closed_form)


def _blocks(model, distribution, batch_size):
    """The model in blocks of instances: as many as fit the cache, on a GPU all at once."""
    size = model.instances
    if model.b.device.type == "cpu":
        size = max(1, BLOCK_NUMBERS // (batch_size * model.features))
    return [_Block(model, distribution, slice(k, k + size)) for k in range(0, model.instances, size)]


def _schedule(step, steps):
    """Share of the full learning rate: linear warm-up, times cosine decay to zero."""
    return min(1.0, (step + 1) / (WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2


def _snapshot(model):
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}


def _matching(model, distribution):
    """The distribution, on the model's device; ValueError where the two do not match."""
    if not isinstance(distribution, FeatureDistribution):
        raise ValueError(f"distribution: expected a FeatureDistribution, got {type(distribution).__name__}")
    ours, theirs = (model.instances, model.features), (distribution.instances, distribution.features)
    if ours != theirs:
        raise ValueError(f"distribution: expected (instances, features) = {ours} as the model has, got {theirs}")
    return distribution.to(model.b.device)
