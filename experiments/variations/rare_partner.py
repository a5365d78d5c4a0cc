"""From which importance on is a rare feature stored beside a dense one, with n=2 and m=1?"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import math

import torch
from jaxtyping import Float
from torch import Tensor

from features import FeatureDistribution
from geometry import REPRESENTED_NORM
from theory.descents import descend, ignored_loss

RATE = 3e-2  # learning rate of the descents
LEAST = 0.01  # importances between which an onset is looked for
MOST = 10.0
HALVINGS = 12  # of this range, on a log scale


def unit_onset(partner: Float[Tensor, " partners"]) -> Float[Tensor, " partners"]:
    """Return the importance from which on a pair of unit norms pays, for a vanishing density.

    The rare feature's own density cancels in r s_2 / 3 = (1 + r) s_1 s_2 / 6.
    """
    return partner / (2 - partner)


def onset(
    partner: Float[Tensor, " partners"], ratio: Float[Tensor, " ratios"], norm, steps
) -> Float[Tensor, "partners ratios"]:
    """Bisect the importance from which on a descent stores the rare feature beside the dense one.

    Args:
        partner: Density of the dense feature, of importance 1.
        ratio: How much sparser the rare one is.
        norm: Norm of the rare feature at the start of the descents.
        steps: Steps of each descent.

    Returns:
        The importances, MOST where the rare feature is stored nowhere below it.
    """
    density = _pair_densities(partner, ratio)
    low = torch.full((len(density),), math.log(LEAST), dtype=torch.float64)
    high = torch.full_like(low, math.log(MOST))
    W = torch.tensor([[1.0, -norm]], dtype=torch.float64).expand(len(density), 1, 2)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        importance = torch.stack([torch.ones_like(middle), middle.exp()], dim=1)
        inputs = FeatureDistribution(density, importance)
        reached = descend(W, torch.zeros_like(density), inputs, steps=steps, lr=RATE)
        without = ignored_loss(middle.exp(), density[:, 1])
        stored = (reached.W[:, 0, 1].abs() > REPRESENTED_NORM) & (reached.loss < without)
        low = torch.where(stored, low, middle)
        high = torch.where(stored, middle, high)
    return high.exp().view(len(partner), len(ratio))


def _pair_densities(partner, ratio):
    """Return densities (partners * ratios, 2) of a dense and a rare feature."""
    dense = partner[:, None].expand(-1, len(ratio))
    return torch.stack([dense, dense / ratio], dim=2).flatten(0, 1)
