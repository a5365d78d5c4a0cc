"""Kinds of models that train at some densities, and hand their solutions to one another.

Restarts of each kind compete with solutions that are constructed or continued: the weights of
another kind, and those of the neighbours in density. So no verdict on a kind rests on too little
training of it alone.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from models import ToyModel
from training import best_restart, sampled_loss, train, train_best


class Competitor(NamedTuple):
    """What became of a kind; all losses of a density are of the same rows."""

    model: ToyModel  # the best of the last round, an instance for each density
    losses: list[Float[Tensor, "points candidates"]]  # of the best restart, then of each round

    @property
    def earlier_loss(self) -> Float[Tensor, " points"]:
        """The lowest loss before the last round."""
        return self.losses[-2].amin(dim=1)


def compete(models, other, inputs, settings, *, fresh, more, constructed=()):
    """Train each kind from restarts, and then in rounds from all candidates.

    Args:
        models: {kind: class of its models}.
        other: {kind: the kind whose weights it continues}.
        inputs: FeatureDistribution with an instance for each density.
        settings: What has `hidden`, `rounds`, and `rows` on which losses are compared.
        fresh: Arguments of `train_best` for the restarts, its seed included.
        more: Arguments of `train` for the rounds.
        constructed: Weights (hidden, features) of constructed models.

    Returns:
        {kind: Competitor}.
    """

    def loss_of(model, its_inputs):
        return rows_loss(model, its_inputs, settings.rows, fresh["seed"])

    best = {}
    losses = {}
    for kind, model_class in models.items():
        best[kind], _ = train_best(model_class, inputs, settings.hidden, **fresh)
        losses[kind] = [loss_of(best[kind], inputs)[:, None]]
    for _ in range(settings.rounds):
        before = dict(best)
        for kind in models:
            model = candidates(before[kind], before[other[kind]], constructed)
            repeated = inputs.with_restarts(model.instances // inputs.instances)
            train(model, repeated, **more)
            loss = loss_of(model, repeated).unflatten(0, (inputs.instances, -1))
            best[kind] = model.select(best_restart(loss.flatten(), loss.shape[1]))
            losses[kind].append(loss)
    return {kind: Competitor(best[kind], losses[kind]) for kind in models}


def rows_loss(model, inputs, rows, seed) -> Float[Tensor, " instances"]:
    """Return the loss of each instance on the rows that serve all comparisons, on the CPU."""
    return sampled_loss(model, inputs, rows=rows, seed=seed).cpu()


def candidates(own, other, constructed=()):
    """Make the models to train on from, those of a density in a row.

    At each density these are the best so far, the best of another kind, the best of both neighbours
    in density, and constructed ones.

    Args:
        own: The best models of a kind so far, one for each density.
        other: The best models of another kind.
        constructed: Weights (hidden, features) of constructed models, whose biases start at 0.
    """
    W = own.W.detach()
    b = own.b.detach()
    place = torch.arange(len(b), device=b.device)
    denser = (place - 1).clamp(min=0)
    sparser = (place + 1).clamp(max=len(b) - 1)
    every_W = [W, other.W.detach(), W[denser], W[sparser]]
    every_b = [b, other.b.detach(), b[denser], b[sparser]]
    for weights in constructed:
        every_W.append(weights.to(W).expand_as(W))
        every_b.append(torch.zeros_like(b))
    return type(own).from_weights(
        torch.stack(every_W, dim=1).flatten(0, 1), torch.stack(every_b, dim=1).flatten(0, 1)
    )
