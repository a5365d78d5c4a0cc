"""Training: fits a batch of independent instances at once, by sampled or by exact loss.

Every model of `models.py` and every subclass of `ToyModel` is trained by its own methods. How rows
are drawn, and how loss and gradient are computed from them, stands in `losses/sampled.py`.

Restarts are further instances. `distribution.with_restarts(4)` repeats each setting four times in
a row, and `best_restart` picks the one of lowest loss of each four. `train_best` does both, and
trains in between. It compares restarts by their exact loss after exact training, and otherwise by
their loss on the same fresh rows.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from tqdm import tqdm

from checks import (
    as_real,
    check_choice,
    check_count,
    check_device,
    check_dtype,
    check_positive,
    check_seed,
    check_size,
    shown,
)
from features import check_distribution
from losses.descent import EXACT_OUTPUTS, ExactLoss
from losses.exact import in_range
from losses.gradient import exact_gradient, parted
from losses.sampled import sampled_blocks
from losses.settling import descended
from models import (
    ToyModel,
    base_class,
    check_inputs,
    check_per_instance,
)

# Each is combined with the seed, so that one seed gives training rows, test rows and random numbers
# of the model that have nothing in common with each other or with the initial weights.
SAMPLE_STREAM = 0x5A5A5A5A
TEST_STREAM = 0x3C3C3C3C
MODEL_STREAM = 0x69696969
SCHEDULES = ("cosine", "constant")  # of the learning rate
# One thread computes if the rows of an instance have at most so many numbers. More threads gain
# little there, and on busy cores they wait for each other: two took up to 60 times as long as one.
ONE_THREAD_NUMBERS = 1_000_000
WARM_UP = 0.05  # share of the steps in which the learning rate rises to its full value


@dataclass(frozen=True)
class History:
    """What training recorded: row k belongs to the weights after steps[k] updates, on the CPU."""

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
    weight_decay=0.0,
    schedule="cosine",
    exact=False,
    attack=None,
    seed=0,
    record=None,
    progress=True,
) -> History:
    """Fit all instances of a model, in place, by Adam.

    The result does not depend on the scale of the importance, because gradients are taken relative
    to the largest importance of an instance. They are taken relative to the probability of a row
    with an active feature, too, so that rare features are learned as well as frequent ones: on
    samples down to densities of 1e-30, on the exact loss down to 1e-12. A warning says where this
    cannot be promised.

    Args:
        model: A ToyModel, one instance for each instance of the distribution. Its own methods are
            called, in training mode; parameters that do not require a gradient stay as they are.
        distribution: FeatureDistribution of the inputs and the importance of their errors.
        steps: Number of updates.
        batch_size: Number of rows in each step. Only rows with an active feature are drawn, as long
            as the loss is a mean over rows and the model draws no random numbers.
        lr: The highest learning rate.
        weight_decay: Each step multiplies all weights by one minus this times the learning rate
            (decoupled decay, AdamW).
        schedule: "cosine" warms the learning rate up and lets it decay to zero; "constant" keeps it
            (paper, Section 5).
        exact: Descend on the exact expected loss in place of samples. Only for the LinearModel and
            the ReLUOutputModel.
        attack: Size of the attack in adversarial training (paper, Section 6; the same models,
            samples only), one number or one for each instance. Every row is moved by this share of
            the batch's mean input norm along the analytic attack (W^T W)_i / ||(W^T W)_i|| on a
            random feature i. The error is taken against the row as it was, and the gradient takes
            the attack as constant.
        seed: Seed of the rows and of random numbers that the model draws. The result depends on
            nothing else that is random.
        record: Keep loss and weights every so many steps, or at these steps. The last step is
            always kept.
        progress: Whether to show a bar on stderr.

    Returns:
        A History. The loss of a record is that of the step's batch, in training mode.

    Raises:
        ValueError: Model and distribution do not match, a setting is out of range, or a method of
            the model breaks the contract that `ToyModel` states.
        FloatingPointError: Some instances diverged. The error names them and the first step whose
            numbers were not finite. It is raised at the end, and all other instances are trained.
    """
    distribution = _matching(model, distribution)
    steps = check_count("steps", steps)
    batch_size, *_ = check_size(batch_size=batch_size, features=model.features, hidden=model.hidden)
    seed = check_seed(seed)
    kept = _recorded(record, steps)
    lr = check_positive("lr", lr)
    weight_decay = _checked_decay(weight_decay)
    schedule = check_choice("schedule", schedule, SCHEDULES)
    if exact and base_class(model) not in EXACT_OUTPUTS:
        raise ValueError(f"exact: expected {_exact_models()}, got {type(model).__name__}")
    attack = None if attack is None else _checked_attack(attack, model, exact)
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    if not trained:
        raise ValueError("model: expected a parameter that requires a gradient, got none")

    records = []
    numbers = 0 if exact else batch_size * model.features
    device = distribution.density.device
    with _gradients(model), _random_numbers(seed, device), _threads(numbers):
        blocks = _blocks(model, distribution, batch_size, exact, attack)
        optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay, fused=True)
        draw = _drawing(distribution, batch_size, seed, trained[0].dtype, exact)
        finite_steps = 0
        for step in tqdm(range(steps + 1), disable=not progress, leave=False, desc="train"):
            losses, finite = _step(blocks, draw(), step in kept, step < steps)
            finite_steps = finite_steps + finite
            if step in kept:
                records.append((step, losses.cpu(), _snapshot(model)))
            if step < steps:
                optimizer.param_groups[0]["lr"] = lr * learning_rate_share(step, steps, schedule)
                optimizer.step()
    _raise_if_diverged(finite_steps, steps)
    return _history(records)


def learning_rate_share(step, steps, schedule="cosine") -> float:
    """Return the share of the highest learning rate in a step.

    Args:
        step: Number of updates before this one.
        steps: Number of all updates.
        schedule: "cosine" rises linearly over the first WARM_UP of the steps, times half a cosine
            that falls to zero; "constant" is 1.
    """
    if schedule == "constant":
        return 1.0
    return min(1.0, (step + 1) / (WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2


def sampled_loss(model, distribution, *, rows=2**14, seed=0) -> Float64[Tensor, " instances"]:
    """Compute the mean loss of each instance over fresh rows, by the model's own methods.

    The model is in evaluation mode. Rows with an active feature are drawn and the empty row is
    added exactly, unless the model draws random numbers or its loss is not a mean over rows: then
    rows are drawn like any other. The same draws serve all instances, so that restarts of one
    setting compare on the same data.

    Args:
        model: A ToyModel.
        distribution: FeatureDistribution of the same instances and features.
        rows: Number of rows, drawn 1,024 at a time and rounded up.
        seed: Seed of the rows. Give each run a seed of its own: losses that are measured on the
            same rows have a sampling error in common.

    Returns:
        The losses, not finite for an instance whose weights are not finite or too large.

    Raises:
        ValueError: As for `train`.
    """
    distribution = _matching(model, distribution)
    rows = check_count("rows", rows)
    seed = check_seed(seed)
    batch_size = min(rows, 1024)
    batches = math.ceil(rows / batch_size)
    device = distribution.density.device
    generator = torch.Generator(device).manual_seed(seed ^ TEST_STREAM)
    dtype = next(model.parameters()).dtype
    total = torch.zeros(model.instances, dtype=torch.float64, device=device)
    with _random_numbers(seed, device), _threads(batch_size * model.features):
        blocks = sampled_blocks(model, distribution, batch_size, training=False)
        for _ in range(batches):
            draw = distribution.draw(batch_size, generator, dtype)
            total += _step(blocks, draw, wants_loss=True, wants_gradient=False)[0]
    return total / batches


def best_restart(losses: Float[Tensor, " instances"], restarts) -> Int[Tensor, " settings"]:
    """Find the restart of the lowest loss of each setting.

    Args:
        losses: Loss of each instance, the restarts of a setting in a row. One that is not a number
            counts as the worst.
        restarts: Number of restarts of each setting.

    Returns:
        Indices into the instances.

    Raises:
        ValueError: The losses are not one row of whole settings.
    """
    restarts = check_count("restarts", restarts)
    losses = as_real("losses", losses)
    if losses.dim() != 1 or not len(losses) or len(losses) % restarts:
        raise ValueError(
            f"losses: expected one dimension divisible by {restarts} restarts, "
            f"got {tuple(losses.shape)}"
        )
    grid = losses.nan_to_num(nan=math.inf).view(-1, restarts)  # (settings, restarts)
    first = restarts * torch.arange(len(grid), device=losses.device)
    return first + grid.argmin(dim=1)


def train_best(
    model_class, distribution, hidden, *, restarts, seed=0, init_scale=0.1, **settings
) -> tuple[ToyModel, Float[Tensor, " instances"]]:
    """Train several restarts of every instance of a distribution and keep the best of each.

    Args:
        model_class: A subclass of ToyModel.
        distribution: FeatureDistribution of the settings.
        hidden: Number of hidden dimensions.
        restarts: Number of restarts of each setting.
        seed: Seed of weights, training rows and the rows on which restarts are compared.
        init_scale: Standard deviation of the initial weights.
        **settings: Passed on to `train`.

    Returns:
        A model with the best restart of each instance, and the losses of these: exact ones after
        exact training, otherwise those of `sampled_loss`.

    Raises:
        ValueError: As for `train`.
        FloatingPointError: As for `train`.
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
    exact = settings.get("exact")
    losses = history.losses[-1] if exact else sampled_loss(model, repeated, seed=seed)
    best = best_restart(losses, restarts)
    return model.select(best), losses[best]


# Checks of arguments


def _matching(model, distribution):
    """Return the distribution on the model's device; ValueError if the two do not match."""
    if not isinstance(model, ToyModel):
        raise ValueError(f"model: expected a ToyModel, got {type(model).__name__}")
    check_per_instance(model)
    check_inputs(model, distribution)
    parameters = list(model.parameters())
    kinds = {(weights.dtype, weights.device) for weights in parameters}
    if len(kinds) != 1:
        raise ValueError(f"model: expected parameters of one dtype on one device, got {kinds}")
    check_dtype(parameters[0].dtype)
    check_device(parameters[0].device)
    return distribution.to(parameters[0].device)


def _recorded(record, steps):
    """Return the set of steps to record, the last one among them."""
    if record is None:
        return {steps}
    if isinstance(record, Integral):
        return {*range(0, steps, check_count("record", record)), steps}
    try:
        kept = set(record)
    except TypeError:
        kept = {None}
    if not all(isinstance(step, Integral) and 0 <= step <= steps for step in kept):
        raise ValueError(
            f"record: expected a count, or whole numbers from 0 to {steps}, got {shown(record)}"
        )
    return {*map(int, kept), steps}


def _checked_decay(weight_decay):
    """Return the weight decay as a float of at least 0."""
    real = isinstance(weight_decay, Real) and not isinstance(weight_decay, bool)
    if not real or not 0 <= weight_decay < math.inf:
        raise ValueError(
            f"weight_decay: expected a finite number of at least 0, got {shown(weight_decay)}"
        )
    return float(weight_decay)


def _checked_attack(attack, model, exact):
    """Return the attack on each instance (instances,), in the model's dtype and on its device."""
    if exact or base_class(model) not in EXACT_OUTPUTS:
        got = f"{type(model).__name__}{', exact' if exact else ''}"
        raise ValueError(f"attack: expected {_exact_models()}, trained on samples, got {got}")
    sizes = as_real("attack", attack, model.b.device)
    if sizes.shape not in ((), (model.instances,)):
        raise ValueError(
            f"attack: expected a number or shape ({model.instances},), got {tuple(sizes.shape)}"
        )
    if not ((sizes >= 0) & sizes.isfinite()).all():
        raise ValueError(f"attack: expected finite numbers of at least 0, got {shown(attack)}")
    return sizes.to(model.b.dtype).expand(model.instances)


def _exact_models():
    return " or ".join(f"a {kind.__name__}" for kind in EXACT_OUTPUTS) + " with its own methods"


# The descent


@contextmanager
def _gradients(model):
    """Give each parameter a gradient to write to, and take it away at the end."""
    for weights in model.parameters():
        weights.grad = torch.empty_like(weights)
    try:
        yield
    finally:
        model.zero_grad(set_to_none=True)


@contextmanager
def _random_numbers(seed, device):
    """Seed the random numbers that a model draws, and put torch's own back at the end."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed ^ MODEL_STREAM)
        if devices:
            torch.cuda.manual_seed_all(seed ^ MODEL_STREAM)
        yield


@contextmanager
def _threads(numbers):
    """Compute on one thread unless there are many numbers, and restore torch's threads at the end.

    The choice does not depend on the machine, so that results do not depend on its cores.
    """
    before = torch.get_num_threads()
    if numbers <= ONE_THREAD_NUMBERS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _blocks(model, distribution, batch_size, exact, attack):
    """Return the blocks of a model, as `losses/sampled.py` describes them."""
    if exact:
        return [ExactLoss(model, distribution)]
    return sampled_blocks(model, distribution, batch_size, attack=attack)


def _drawing(distribution, batch_size, seed, dtype, exact):
    """Return a function that draws the uniform numbers of the next batch."""
    if exact:
        return lambda: None
    generator = torch.Generator(distribution.density.device).manual_seed(seed ^ SAMPLE_STREAM)
    return lambda: distribution.draw(batch_size, generator, dtype)


def _step(blocks, draw, wants_loss, wants_gradient):
    """Run all blocks on one draw.

    Returns:
        The losses (instances,), or None unless they are wanted, and which instances are finite.
    """
    losses = []
    finite = []
    for block in blocks:
        block.forward(draw)
        if wants_loss:
            losses.append(block.loss())
        if wants_gradient:
            block.backward()
            finite.append(block.finite())
    losses = torch.cat(losses) if wants_loss else None
    return losses, torch.cat(finite) if wants_gradient else losses.isfinite()


def _raise_if_diverged(finite_steps, steps):
    """Raise FloatingPointError unless all instances (instances,) were finite in steps + 1 steps."""
    diverged = (finite_steps <= steps).nonzero()[:, 0]
    if not len(diverged):
        return
    names = ", ".join(str(k) for k in diverged[:10].tolist())
    more = ", ..." if len(diverged) > 10 else ""
    raise FloatingPointError(
        f"{len(diverged)} of {len(finite_steps)} instances diverged, the first at step "
        f"{finite_steps.min()}: {names}{more} (the others are trained)"
    )


def _snapshot(model):
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}


def _history(records):
    """Return the History of records (step, losses, weights by name)."""
    steps, losses, weights = zip(*records)
    stacked = {name: torch.stack([kept[name] for kept in weights]) for name in weights[0]}
    return History(torch.tensor(steps), torch.stack(losses), stacked)


@dataclass(frozen=True)
class Settled:
    """Certificates of a settled model: what is true of its weights as they are. All on the CPU."""

    losses: Float64[Tensor, " instances"]  # exact
    gradients: Float64[Tensor, " instances"]  # norm, relative to where the descent began
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
        distribution: FeatureDistribution with one instance for each instance of the model. More
            than 12 features of a ReLUOutputModel must be uniform on [0, 1], and independent or in
            whole sets.
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
    output = EXACT_OUTPUTS.get(base_class(model))
    if output is None:
        raise ValueError(
            f"model: expected a LinearModel or a ReLUOutputModel, got {type(model).__name__}"
        )
    W, b = (t.detach().cpu() for t in (model.W, model.b))
    if not in_range(W, b).all():
        raise ValueError("model: expected finite weights of moderate size, got others")
    descents = descended(W, b, distribution, output, tolerance, progress)
    W, b = parted(torch.stack([torch.from_numpy(descent.x) for descent in descents]), model.hidden)
    model.W.data.copy_(W)
    model.b.data.copy_(b)
    found = exact_gradient(model.W.cpu(), model.b.cpu(), distribution, output)
    first = torch.tensor([descent.first for descent in descents], dtype=torch.float64)
    steps = torch.tensor([descent.steps for descent in descents])
    return Settled(found.loss, torch.where(first > 0, found.norm / first, 0), steps)
