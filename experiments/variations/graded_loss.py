"""Exact descents where the members of a pair are correlated to any degree.

With the probability of the correlation one draw decides for both members of a pair, otherwise each
is drawn on its own. A pair is therefore in one of three *states*: both members are active, none is,
or they are independent. Within a state of all pairs the features are independent, and the fast loss
of `losses.exact` knows them. The loss is its mean over the states, 9 of them for two pairs and 27
for three. (`expected_loss` computes graded correlation as well, more slowly.)
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from itertools import product

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from tqdm import tqdm

from features import FeatureDistribution
from losses.exact import DescentGradient, expected_loss
from theory.descents import Minima
from training import learning_rate_share


def in_states(
    density: Float[Tensor, " instances"], correlation: Float[Tensor, " instances"], pairs: int
) -> FeatureDistribution:
    """Return the inputs of every instance in every state.

    Args:
        density: Density of the features of each instance.
        correlation: Correlation between the activities of the members of a pair.
        pairs: Number of pairs.

    Returns:
        A distribution of instances times states, the states of an instance in a row. Importance is
        the probability of the state.
    """
    one = torch.ones_like(density)
    densities = torch.stack((density, one, 0 * one))  # independent, both active, none active
    shared = correlation * density
    probabilities = torch.stack((1 - correlation, shared, correlation - shared))
    states = torch.tensor(list(product(range(3), repeat=pairs)))
    of_pairs = densities[states].movedim(2, 0)  # (instances, states, pairs)
    probability = probabilities[states].prod(dim=1).t()  # (instances, states)
    return FeatureDistribution(
        of_pairs.repeat_interleave(2, dim=2).flatten(0, 1), probability.reshape(-1, 1)
    )


def graded_loss(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    inputs: FeatureDistribution,
) -> Float64[Tensor, " instances"]:
    """Return the exact loss of ReLU output models of importance 1.

    Args:
        W: Weights.
        b: Biases.
        inputs: What `in_states` returns.
    """
    repeats = inputs.instances // len(W)
    parts = expected_loss(_repeated(W, repeats), _repeated(b, repeats), inputs)
    return parts.view(-1, repeats).sum(dim=1)


def descend_graded(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    density: Float[Tensor, " instances"],
    correlation: Float[Tensor, " instances"],
    *,
    steps: int,
    lr: float,
    progress: bool = False,
) -> Minima:
    """Follow the exact loss downhill from given weights, by Adam.

    Args:
        W: Weights at which the descents start, of features in pairs.
        b: Biases at which they start.
        density: Density of the features of each instance.
        correlation: Correlation between the members of a pair.
        steps: Number of steps.
        lr: Highest learning rate.
        progress: Whether to show a bar on stderr.
    """
    inputs = in_states(density, correlation, W.shape[2] // 2)
    repeats = inputs.instances // len(W)
    gradient = DescentGradient(inputs)
    W_parts = torch.empty(inputs.instances, *W.shape[1:], dtype=torch.float64)
    b_parts = torch.empty(inputs.instances, b.shape[1], dtype=torch.float64)
    W = W.clone().requires_grad_()
    b = b.clone().requires_grad_()
    optimizer = torch.optim.Adam([W, b])
    for step in tqdm(range(steps), disable=not progress, leave=False, desc="descend"):
        at = _repeated(W.detach(), repeats), _repeated(b.detach(), repeats)
        gradient.into(*at, W_parts, b_parts)
        # Relative to the density, so that Adam's epsilon matters nowhere.
        W.grad = W_parts.unflatten(0, (-1, repeats)).sum(dim=1) / density[:, None, None]
        b.grad = b_parts.unflatten(0, (-1, repeats)).sum(dim=1) / density[:, None]
        optimizer.param_groups[0]["lr"] = lr * learning_rate_share(step, steps)
        optimizer.step()
    W = W.detach()
    b = b.detach()
    return Minima(W, b, graded_loss(W, b, inputs))


def _repeated(values, repeats):
    return values.repeat_interleave(repeats, dim=0)
