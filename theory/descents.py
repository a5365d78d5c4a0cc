"""Descents: the best solutions of a small model, found by following its exact loss downhill.

Descents start from given weights, from small random weights, and from the solutions at
neighbouring inputs. Models trained on samples check what the descents have found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_count, check_settings
from features import FeatureDistribution, check_distribution
from losses.exact import expected_loss
from models import ReLUOutputModel
from training import best_restart, train

# Relative difference of two losses below which they count as losses of the same minimum.
SAME_LOSS = 1e-3
# Learning rate at which a descent stays in the basin in which it starts.
GENTLE = 1e-2


def ignored_loss(importance, density):
    """Return the loss of a feature that is not represented, its bias at its mean.

    A feature that is active with probability s, and then uniform on [0, 1], has the mean s/2 and
    the variance s/3 - s^2/4, which the loss weighs by the importance.

    Args:
        importance: Importance I of the feature, a number or a tensor.
        density: Probability s that the feature is active, a number or a tensor. A feature of a
            set of k anticorrelated features is active with the set's probability over k.

    Returns:
        I (s/3 - s^2/4), in the shape to which the arguments broadcast.
    """
    return importance * (density / 3 - density**2 / 4)


# Descents


class Minima(NamedTuple):
    """Weights and biases that descents have reached, and their exact losses."""

    W: Float[Tensor, "*places hidden features"]
    b: Float[Tensor, "*places features"]
    loss: Float[Tensor, "*places"]


def descend(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution: FeatureDistribution,
    *,
    steps: int,
    lr: float,
    progress: bool = False,
) -> Minima:
    """Follow the exact loss of ReLU output models downhill from given weights.

    Args:
        W: Weights at which the descents start.
        b: Biases at which they start.
        distribution: Inputs, one instance per descent.
        steps: Number of steps of the optimizer.
        lr: Learning rate at the start.
        progress: Whether to show a bar on stderr.

    Returns:
        What the descents reach after the last step.

    Raises:
        ValueError: If the weights, the biases or the settings are not what `train` accepts.
    """
    model = ReLUOutputModel.from_weights(W, b)
    history = train(model, distribution, exact=True, steps=steps, lr=lr, progress=progress)
    return Minima(model.W.detach(), model.b.detach(), history.losses[-1])


def hand_on(
    best: Minima,
    source: Int[Tensor, " pairs"],
    target: Int[Tensor, " pairs"],
    distribution: FeatureDistribution,
    *,
    steps: int,
    gain: float,
    admits: Callable | None = None,
    lowest_first: bool = False,
) -> Float[Tensor, " places"]:
    """Descend from the minima of some places at the inputs of others, and keep what is better.

    All descents start from the minima as they are given. What they reach then replaces the minima
    of the targets, one after the other and in place, where it is lower by more than `gain` than
    what is there by then.

    Args:
        best: The best minimum known at each place: W (places, hidden, features), b (places,
            features) and loss (places,). A place that has none has an infinite loss.
        source: Place whose minimum a descent starts from, for each pair of places.
        target: Place at whose inputs the descent takes place, for each pair.
        distribution: Inputs, one instance per place.
        steps: Number of steps of each descent.
        gain: Relative difference of losses up to which a lower one is no gain.
        admits: Function of weights (pairs, hidden, features) and targets (pairs,) that says which
            of the minima reached their targets accept (pairs,). None if they accept all.
        lowest_first: Whether the minima reached are tried in the order of their losses, so that the
            lowest wins, or in the order of the pairs.

    Returns:
        Largest fall of the loss of each place at a replacement, relative to the loss before; 0
        where nothing was replaced.
    """
    fall = torch.zeros_like(best.loss)
    if not len(source):
        return fall
    reached = descend(
        best.W[source], best.b[source], distribution.select(target), steps=steps, lr=GENTLE
    )
    candidates = reached.loss.argsort() if lowest_first else torch.arange(len(target))
    if admits is not None:
        candidates = candidates[admits(reached.W, target)[candidates]]
    for candidate in candidates.tolist():
        place = target[candidate]
        relative = 1 - reached.loss[candidate] / best.loss[place]
        if relative > gain:
            fall[place] = torch.maximum(fall[place], relative)
            for kept, values in zip(best, reached):
                kept[place] = values[candidate]
    return fall


def maximize(
    objective: Callable, start: Float[Tensor, "*shape"], *, steps: int, tolerance: float = 1e-12
) -> Float[Tensor, "*shape"]:
    """Return parameters at which the sum of an objective is a local maximum, by L-BFGS.

    Args:
        objective: Differentiable function of the parameters whose values are summed.
        start: Parameters at which the search starts.
        steps: Number of iterations at most.
        tolerance: Change of the sum, or of all parameters, below which the search ends.
    """
    parameters = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=steps, tolerance_change=tolerance, line_search_fn="strong_wolfe"
    )

    def shortfall():
        optimizer.zero_grad()
        loss = -objective(parameters).sum()
        loss.backward()
        return loss

    optimizer.step(shortfall)
    return parameters.detach()


# Crossings


class SignChange(NamedTuple):
    """Where each line of differences first goes from zero or below to above zero."""

    found: Bool[
        Tensor, "*lines"
    ]  # False where the sign does not change; the rest is arbitrary there
    point: Int[Tensor, "*lines"]  # last point before the change
    share: Float[Tensor, "*lines"]  # share of the way from this point to the next
    finite: Bool[Tensor, "*lines"]  # whether the differences at both points are finite


def first_sign_change(difference: Float[Tensor, "*lines points"]) -> SignChange:
    """Find where a difference of losses, known at points along lines, first changes its sign.

    Between two points the difference is interpolated linearly. Where one of the two is infinite,
    as a solution has ceased to exist there, the change is placed half-way.

    Args:
        difference: Loss of the solution that is better at first, less that of the other; NaN at
            points where the two cannot be compared. A change needs two comparable neighbours.
    """
    changes = (difference[..., :-1] <= 0) & (difference[..., 1:] > 0)
    point = changes.int().argmax(dim=-1, keepdim=True)
    before = difference.gather(-1, point)[..., 0]
    after = difference.gather(-1, point + 1)[..., 0]
    finite = before.isfinite() & after.isfinite()
    share = torch.where(finite, before / (before - after), 0.5)
    return SignChange(changes.any(dim=-1), point[..., 0], share, finite)


# Many runs of one setting


class Solutions(NamedTuple):
    """Weights of runs, or of the best run alone, and their exact losses."""

    # The runs are (instances, runs), or (instances,) for the best; experiments put axes before
    # these.
    W: Float[Tensor, "*runs hidden features"]
    loss: Float[Tensor, "*runs"]


@dataclass(frozen=True)
class Sampling:
    """Settings of the models that are trained on samples to check exact optima."""

    restarts: int = 8
    steps: int = 1500
    batch_size: int = 256
    lr: float = 3e-2

    def __post_init__(self):
        """Check the settings at once, as an error would come late: models are sampled last."""
        check_settings(self)


def small_weights(
    distribution: FeatureDistribution,
    hidden: int,
    runs: int,
    *,
    seed: int,
    init_scale: float = 0.1,
) -> Float[Tensor, "instances runs hidden features"]:
    """Draw random weights to start from.

    Args:
        distribution: Inputs, of which only the numbers of instances and features count.
        hidden: Number of hidden dimensions.
        runs: Number of draws for each instance.
        seed: Seed of the draws.
        init_scale: Standard deviation of the weights.

    Raises:
        ValueError: If an argument is not what its name says, or the weights do not fit into memory.
    """
    check_distribution(distribution)
    runs = check_count("runs", runs)
    instances = distribution.instances * runs
    model = ReLUOutputModel(
        instances,
        distribution.features,
        hidden,
        seed=seed,
        dtype=torch.float64,
        init_scale=init_scale,
    )
    return model.W.detach().unflatten(0, (-1, runs))


def random_descents(
    distribution: FeatureDistribution,
    hidden: int,
    runs: int,
    *,
    steps: int,
    seed: int,
    progress: bool = False,
) -> Solutions:
    """Descend on the exact loss from small random weights, several times for each instance.

    Args:
        distribution: Inputs of each instance.
        hidden: Number of hidden dimensions.
        runs: Number of descents for each instance.
        steps: Number of steps of each descent.
        seed: Seed of the random weights.
        progress: Whether to show a bar on stderr.

    Returns:
        All runs: W (instances, runs, hidden, features) and loss (instances, runs).

    Raises:
        ValueError: If an argument is not what its name says.
    """
    W = small_weights(distribution, hidden, runs, seed=seed).flatten(0, 1)
    repeated = distribution.with_restarts(runs)
    found = descend(W, 0 * W[:, 0], repeated, steps=steps, lr=0.1, progress=progress)
    return Solutions(found.W.unflatten(0, (-1, runs)), found.loss.view(-1, runs))


def sampled_runs(
    distribution: FeatureDistribution,
    hidden: int,
    sampling: Sampling,
    *,
    seed: int = 0,
    device="cpu",
    progress: bool = False,
) -> Solutions:
    """Train models on samples and compute their exact losses.

    Args:
        distribution: Inputs of each instance.
        hidden: Number of hidden dimensions.
        sampling: Settings of the training.
        seed: Seed of the initial weights and of the samples.
        device: Device that trains; the exact losses are computed on the CPU.
        progress: Whether to show a bar on stderr.

    Returns:
        All restarts: W (instances, restarts, hidden, features) and loss (instances, restarts).
    """
    inputs = distribution.with_restarts(sampling.restarts)
    model = ReLUOutputModel(inputs.instances, inputs.features, hidden, seed=seed, device=device)
    train(
        model,
        inputs.to(device),
        steps=sampling.steps,
        batch_size=sampling.batch_size,
        lr=sampling.lr,
        seed=seed,
        progress=progress,
    )
    W = model.W.detach().cpu().double()
    b = model.b.detach().cpu().double()
    loss = expected_loss(W, b, inputs.to("cpu"))
    shape = (-1, sampling.restarts)
    return Solutions(W.unflatten(0, shape), loss.unflatten(0, shape))


def best_run(runs) -> Solutions:
    """Return the run of lowest loss of each instance.

    Args:
        runs: Solutions or a result, with W (instances, runs, hidden, features) and loss
            (instances, runs).

    Returns:
        W (instances, hidden, features) and loss (instances,).
    """
    best = best_restart(runs.loss.flatten(), runs.loss.shape[1])
    return Solutions(runs.W.flatten(0, 1)[best], runs.loss.flatten()[best])


def excess(
    sampled: Float[Tensor, " points"], optimum: Float[Tensor, " points"]
) -> dict[str, float]:
    """Return by how much the losses of sampled models exceed those of exact optima, by name.

    Args:
        sampled: Loss of the best sampled model at each point.
        optimum: Loss of the exact optimum at each point.
    """
    above = sampled / optimum - 1
    return {
        "best sampled model over the optimum, median": above.median().item(),
        "best sampled model over the optimum, highest": above.max().item(),
    }
