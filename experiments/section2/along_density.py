"""Trained models along a line of densities, each of which also starts from its neighbours' best.

Fresh restarts are the paper's way. The best of a few ends in local minima that differ from density
to density, so that a count over density can step down for no reason but chance. Training on from
the best models of the neighbouring densities finds lower losses, and says how much is left to find.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section2main.py instead.")

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from checks import check_settings
from models import ReLUOutputModel
from theory.descents import Minima
from training import train, train_best

CONTINUED_STREAM = 0x0C0C0C0C  # combined with the seed, so that each round has rows of its own


@dataclass(frozen=True)
class Training:
    """How one kind of model is trained at every density."""

    restarts: int  # models trained at each density, of which the one of lowest loss is kept
    steps: int
    lr: float
    batch_size: int = 256
    exact: bool = False  # descend on the exact loss instead of on sampled rows

    def __post_init__(self):
        """Refuse values out of range here, before the first of the two models is trained."""
        check_settings(self)


@dataclass(frozen=True)
class Continuation:
    """How models are trained on, from their own weights and from those of both neighbours."""

    rounds: int = 3  # after which one more round checks whether lower losses are left to find
    steps: int = 1000
    lr: float = 1e-2
    batch_size: int = 256

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


CONTINUED = Continuation()


class AlongDensity(NamedTuple):
    """The best ReLU output model of each density."""

    W: Float[Tensor, "densities hidden features"]
    b: Float[Tensor, "densities features"]
    loss: Float[Tensor, " densities"]
    fresh_loss: Float[Tensor, " densities"]  # of the best fresh restart
    next_loss: Float[Tensor, " densities"]  # lowest that one more round reaches, from these models


def trained_along_density(
    distribution, hidden, fresh, continuation, loss_of, *, seed=0, progress=True
) -> AlongDensity:
    """Train fresh restarts at each density, and then train on along the line of densities.

    Args:
        distribution: FeatureDistribution with one instance for each density, neighbours in a row.
        hidden: Number of hidden dimensions.
        fresh: `Training` of the fresh restarts.
        continuation: `Continuation` after it.
        loss_of: Function of a model and its distribution that returns the losses (instances,) by
            which models of one density are compared.
        seed: Seed of the initial weights and of the sampled rows.
        progress: Whether to show progress on stderr.

    Returns:
        The models after all rounds, on the CPU.
    """
    model, _ = train_best(
        ReLUOutputModel, distribution, hidden, seed=seed, progress=progress, **asdict(fresh)
    )
    fresh_loss = loss_of(model, distribution)
    best = Minima(model.W.detach().clone(), model.b.detach().clone(), fresh_loss.clone())
    source, target = _neighbours(len(fresh_loss))
    for turn in range(continuation.rounds + 1):
        kept = Minima(*(values.clone() for values in best))
        continued = ReLUOutputModel.from_weights(best.W[source], best.b[source])
        inputs = distribution.select(target)
        train(
            continued,
            inputs,
            steps=continuation.steps,
            lr=continuation.lr,
            batch_size=continuation.batch_size,
            seed=seed ^ (CONTINUED_STREAM + turn),
            progress=progress,
        )
        _keep_lower(best, continued, loss_of(continued, inputs), target)
    return AlongDensity(
        *(values.cpu() for values in kept), fresh_loss.cpu(), next_loss=best.loss.cpu()
    )


def _neighbours(densities) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Return the density from which, and that at which, each model of a round is trained on."""
    target = torch.arange(densities).repeat_interleave(3)
    source = target + torch.tensor([-1, 0, 1]).repeat(densities)
    exists = (source >= 0) & (source < densities)
    return source[exists], target[exists]


def _keep_lower(best, continued, losses, target):
    """Replace the best models, in place, by continued ones of lower loss at the same density."""
    for k, place in enumerate(target.tolist()):
        if losses[k] < best.loss[place]:
            best.W[place] = continued.W[k].detach()
            best.b[place] = continued.b[k].detach()
            best.loss[place] = losses[k]
