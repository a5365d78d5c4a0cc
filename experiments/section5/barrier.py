"""What stands between the plateau of a lone feature and the digon that it becomes (ours)?

A weak feature becomes the lone feature's antipode. On the plateau it has a small weight in the lone
feature's direction (lone_feature.py), so its weight has to turn round. Here it is held at values
from there to the opposite direction, while all other weights and all biases descend on the exact
loss. Where the loss rises on the way there is a barrier. At a weight of 0
the loss is stationary in this weight too.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64
from scipy.optimize import minimize
from torch import Tensor

from checks import check_settings
from experiments.section5.lone_feature import is_lone, settled_plateau
from features import FeatureDistribution
from geometry import dimensionality
from losses.gradient import exact_gradient, parted
from models import ReLUOutputModel
from theory.polytopes import tegum_factors
from theory.stationary import curvatures
from training import settle

SEEDED = False  # no chance is involved
FLAT = 1e-8  # entry of the gradient below which a descent with a held weight ends
BESIDE = 0.03  # change of the held weight at the top, from which descents go down to both sides
FLAT_CURVATURE = 1e-4  # curvature below which a direction is flat, as rotations are
SETTLED = 1e-4  # gradient at which these end, relative to where they begin


@dataclass(frozen=True)
class Settings:
    """The models of the other experiments, and the held weights."""

    features: int = 40
    hidden: int = 10
    inverse_density: float = 3.0  # 1/(1-S)
    points: int = 24  # held weights on the way

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if self.inverse_density < 1:
            raise ValueError(f"inverse_density: expected at least 1, got {self.inverse_density}")


QUICK = Settings(8, 2, points=5)
NOTEBOOK = Settings(points=12)


class Result(NamedTuple):
    """The lowest losses on the way, all exact, the top, and where descents from it end."""

    weight: Float64[Tensor, " points"]  # held, along the lone feature's direction
    loss: Float64[Tensor, " points"]  # with the best other weights
    top_loss: Float64[Tensor, ""]  # with the held weight 0
    top_gradient: Float64[Tensor, ""]  # its norm
    top_curvatures: Float64[Tensor, " weights"]  # eigenvalues of the Hessian, ascending
    below_loss: Float64[Tensor, " sides"]  # of the minima on the plateau's and on the other side
    below_is_lone: Bool[Tensor, " sides"]
    below_is_digons: Bool[Tensor, " sides"]


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Follow the way from the plateau to digons, and find its top.

    Args:
        settings: Settings of the run.
        seed: Of no effect.
        device: Of no effect: exact losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The losses on the way, the top, and the minima on both sides of it.
    """
    density = 1 / settings.inverse_density
    plateau = settled_plateau(settings.features, settings.hidden, density, progress)
    way = _Way(plateau, FeatureDistribution(density, features=settings.features))
    antipodal = -plateau.W[0, 0, 0].item()  # the weight of a feature in a digon
    shares = torch.linspace(0, 1, settings.points, dtype=torch.float64).square()
    weights = way.weight + shares * (antipodal - way.weight)  # close to each other at the start
    losses = [way.descend(weight) for weight in weights.tolist()]
    way.vector = way.plateau.clone()  # from beyond the top, a descent may end in another valley
    way.descend(0.0)
    gradient = way.gradient()
    W, b = parted(way.vector[None], settings.hidden)
    sides = [way.beside(BESIDE), way.beside(-BESIDE)]
    for model in sides:
        settle(model, way.distribution, tolerance=SETTLED, progress=progress)
    below = [model.W.detach()[0] for model in sides]
    return Result(
        weight=weights,
        loss=torch.tensor(losses, dtype=torch.float64),
        top_loss=gradient.loss[0],
        top_gradient=gradient.norm[0],
        top_curvatures=curvatures(W, b, way.distribution)[0],
        below_loss=torch.cat([way.loss(model) for model in sides]),
        below_is_lone=is_lone(dimensionality(torch.stack(below))),
        below_is_digons=torch.tensor([_is_digons(W) for W in below]),
    )


def _is_digons(W):
    """Say whether all represented features of a model are in digons."""
    return all(factor.polytope == "digon" for factor in tegum_factors(W))


def _vector(W, b):
    """Join what belongs to the weights and the biases of one instance in one vector."""
    return torch.cat((W.flatten(), b.flatten()))


class _Way:
    """A model on its way from the plateau, with the weights of the last feature held.

    Attributes:
        plateau: Weights and biases on the plateau, joined.
        vector: The same where the model is now.
        distribution: Of the inputs.
    """

    def __init__(self, plateau, distribution):
        self.distribution = distribution
        self.hidden = plateau.hidden
        self.plateau = _vector(plateau.W.detach(), plateau.b.detach())
        self.vector = self.plateau.clone()
        held = torch.zeros_like(plateau.W, dtype=torch.bool)
        held[0, :, -1] = True
        self.free = ~_vector(held, torch.zeros_like(plateau.b, dtype=torch.bool))
        self.along = plateau.hidden * plateau.features - 1  # its weight along the lone feature

    @property
    def weight(self) -> float:
        """The held weight."""
        return self.vector[self.along].item()

    def gradient(self):
        """Compute the exact loss and its gradient."""
        return exact_gradient(*parted(self.vector[None], self.hidden), self.distribution)

    def descend(self, weight) -> float:
        """Hold the weight at a value, descend in all that is free, and return the loss."""
        self.vector[self.along] = weight

        def evaluate(values):
            self.vector[self.free] = torch.from_numpy(values)
            found = self.gradient()
            return found.loss.item(), found.vector[0, self.free].numpy()

        options = {"maxiter": 1000, "ftol": 0, "gtol": FLAT, "maxcor": 50}
        start = self.vector[self.free].numpy()
        found = minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)
        self.vector[self.free] = torch.from_numpy(found.x)
        return found.fun

    def beside(self, change):
        """Return a model with another value of the held weight and all else as it is."""
        vector = self.vector.clone()
        vector[self.along] += change
        return ReLUOutputModel.from_weights(*parted(vector[None], self.hidden))

    def loss(self, model):
        """Compute the exact loss of a model."""
        return exact_gradient(model.W, model.b, self.distribution).loss


# Measures


def directions_down(result) -> int:
    """Count the directions in which the loss curves down at the top."""
    return int((result.top_curvatures < -FLAT_CURVATURE).sum())
