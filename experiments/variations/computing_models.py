"""Models that compute other things than absolute values, in the way of the paper's Section 8.

A model is y' = ReLU(W2 ReLU(W1 x) + b), as in `models.AbsoluteValueModel`. It has one output for
each *unit*: a unit is one signed feature or a pair of features, and the output is to be a function
of the unit alone. All outputs are equally important.

    computation   a unit                                   target             neurons it needs
    |x|           a feature, 0 or uniform on [-1, 1]       its size           2
    x^2           the same                                 its square         2, not exact
    AND           two features, each 0 or 1                1 if both are 1    1
    OR            the same                                 1 if any is 1      2
    max           two features, 0 or uniform on [0, 1]     the larger         2

The two features of a pair have a correlation of 1/2. If features are rare, an active pair therefore
has its first feature alone, its second one alone, or both, with equal probabilities.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from features import FeatureDistribution
from models import AbsoluteValueModel, ToyModel

TOGETHER = 0.5  # correlation between the activities of the two features of a pair
# Nodes of Gauss and Legendre on [0, 1]: many where the output's ReLU bends within a unit's values.
FEATURE_NODES = 64
PAIR_NODES = 8


class UnitModel(AbsoluteValueModel):
    """y' = ReLU(W2 ReLU(W1 x) + b) with one output for each unit of one or two features.

    W1 is (instances, hidden, features), W2 (instances, units, hidden) and b (instances, units). The
    importance of an output is that of the first feature of its unit.
    """

    unit = 1  # number of features of a unit

    @staticmethod
    def computed(x: Float[Tensor, "*rows unit"]) -> Float[Tensor, "*rows"]:
        """Return what the output of a unit should be."""
        raise NotImplementedError

    def _set_weights(self, weights):
        units = weights.unflatten(2, (-1, self.unit))
        self.W1 = nn.Parameter(weights)
        self.W2 = nn.Parameter(units.abs().mean(dim=3).mT.contiguous())
        self.b = nn.Parameter(weights.new_zeros(len(weights), units.shape[2]))

    def forward(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch units"]:
        """Compute the outputs for a batch."""
        return self.decode(self.encode(x))

    def target(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch units"]:
        """Return what the outputs should be."""
        return self.computed(x.unflatten(2, (-1, self.unit)))

    def loss(
        self,
        x: Float[Tensor, "instances batch features"],
        importance: Float[Tensor, "instances features"],
    ) -> Float[Tensor, " instances"]:
        """Compute the sum over units of importance times squared error, averaged over the batch."""
        squares = (self(x) - self.target(x)).square()
        return (squares * importance[:, None, :: self.unit]).sum(dim=2).mean(dim=1)


class SquareModel(UnitModel):
    """The target is x^2."""

    @staticmethod
    def computed(x):
        """Return the square of a feature."""
        return x[..., 0].square()


class AndModel(UnitModel):
    """The target is AND."""

    unit = 2

    @staticmethod
    def computed(x):
        """Return AND of two binary features."""
        return x[..., 0] * x[..., 1]


class MaxModel(UnitModel):
    """The target is the larger of two features; of binary ones this is OR."""

    unit = 2

    @staticmethod
    def computed(x):
        """Return the larger of two features."""
        return x.amax(dim=-1)


class Alone(NamedTuple):
    """A model of one unit with neurons of its own: y' = ReLU(writes . ReLU(reads x) + b)."""

    reads: tuple[tuple[float, ...], ...]  # (neurons, unit)
    writes: tuple[float, ...]
    b: float


class Computation(NamedTuple):
    """What is computed.

    Attributes:
        model: The class of the model.
        unit: Number of features of a unit.
        values: What an active feature is, as `FeatureDistribution` takes it.
        target: Takes units (..., unit) to targets (...).
        alone: The smallest model of one unit of the lowest loss: all are exact but that of x^2.
    """

    model: type[ToyModel]
    unit: int
    values: tuple | None
    target: Callable[[Tensor], Tensor]
    alone: Alone


def _size(x):
    return x[..., 0].abs()


SIDES = ((1.0,), (-1.0,))
FIRST_AND_SURPLUS = ((1.0, 0.0), (-1.0, 1.0))  # x and the surplus of y: their sum is the larger
COMPUTATIONS = {
    "|x|": Computation(AbsoluteValueModel, 1, None, _size, Alone(SIDES, (1.0, 1.0), 0.0)),
    "x^2": Computation(
        SquareModel, 1, None, SquareModel.computed, Alone(SIDES, (1.28990, 1.28990), -0.37394)
    ),
    "AND": Computation(AndModel, 2, (1.0,), AndModel.computed, Alone(((1.0, 1.0),), (1.0,), -1.0)),
    "OR": Computation(
        MaxModel, 2, (1.0,), MaxModel.computed, Alone(FIRST_AND_SURPLUS, (1.0, 1.0), 0.0)
    ),
    "max": Computation(
        MaxModel, 2, None, MaxModel.computed, Alone(FIRST_AND_SURPLUS, (1.0, 1.0), 0.0)
    ),
}


def inputs_of(computation, densities, units) -> FeatureDistribution:
    """Return the inputs of models that compute something, an instance for each density.

    Args:
        computation: A Computation.
        densities: Densities of the features.
        units: Number of units.
    """
    density = torch.tensor(densities, dtype=torch.float64)[:, None]
    if computation.unit == 1:
        return FeatureDistribution(density, features=units, signed=True)
    return FeatureDistribution(
        density,
        features=2 * units,
        set_size=2,
        correlation="correlated",
        strength=TOGETHER,
        values=computation.values,
    )


def active_units(computation) -> list[tuple[Tensor, Tensor]]:
    """Return the values of a unit by what is active in it, each as nodes and their weights.

    For a feature it is active or not; for a pair, the first alone, the second alone, both or none.
    """
    one = torch.ones(1, dtype=torch.float64)
    none = (torch.zeros(1, computation.unit, dtype=torch.float64), one)
    if computation.unit == 1:
        t, weight = _nodes(FEATURE_NODES)
        return [(torch.cat((-t, t))[:, None], weight.repeat(2) / 2), none]
    t, weight = (one, one) if computation.values else _nodes(PAIR_NODES)
    zero = torch.zeros_like(t)
    first = torch.stack((t, zero), dim=1)
    return [(first, weight), (first.flip(1), weight), _both(t, weight, computation.values), none]


def _nodes(count):
    """Return nodes on [0, 1] and their weights."""
    t, weight = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy(t + 1) / 2, torch.from_numpy(weight) / 2


def _both(t, weight, binary):
    """Return values of two active features, and their weights.

    Values on [0, 1] are the larger one and the ratio of the smaller one to it, so that the larger
    one, which has a bend where they are equal, is smooth in both.
    """
    if binary:
        return torch.ones(1, 2, dtype=torch.float64), weight
    larger, ratio = torch.cartesian_prod(t, t).T
    ordered = torch.stack((larger, larger * ratio), dim=1)
    weights = larger * torch.outer(weight, weight).flatten()  # of either order, half of both
    return torch.cat((ordered, ordered.flip(1))), weights.repeat(2)


def expected_units(
    computation, densities
) -> tuple[Float[Tensor, "nodes unit"], Float[Tensor, "densities nodes"]]:
    """Return values of a unit and their probabilities, for expectations by quadrature.

    Args:
        computation: A Computation.
        densities: Densities of the features.
    """
    p = torch.tensor(densities, dtype=torch.float64)
    if computation.unit == 1:
        chances = (p, 1 - p)
    else:
        both = TOGETHER * p + (1 - TOGETHER) * p**2
        chances = (p - both, p - both, both, 1 - 2 * p + both)
    states = active_units(computation)
    x = torch.cat([nodes for nodes, _ in states])
    probability = [chance[:, None] * weight for chance, (_, weight) in zip(chances, states)]
    return x, torch.cat(probability, dim=1)
