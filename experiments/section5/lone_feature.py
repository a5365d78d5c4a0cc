"""The plateau of a lone feature: equally important features, all in digons but for one.

Features in digons fill all hidden dimensions but one. That one belongs to a lone feature, and the
features that are not represented share it: each has a small weight in the lone feature's own
direction, so that the dimension also holds their sum. The lone feature's negative bias makes up
for what they add to its output.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from features import FeatureDistribution
from geometry import dimensionality
from models import ReLUOutputModel
from training import settle

LONE = (0.6, 0.9)  # dimensionalities of a lone feature; one in a digon has 1/2
# Weights and biases from which exact descent settles within the plateau.
LONE_WEIGHT = 0.92
LONE_BIAS = -0.44
WEAK_WEIGHT = 0.12
WEAK_BIAS = 0.09
TOLERANCE = 1e-7  # norm of the settled gradient, relative to the start's


def is_lone(dimensionalities: Float[Tensor, "*models features"]) -> Bool[Tensor, "*models"]:
    """Say in which models exactly one feature has the dimensionality of a lone one."""
    lowest, highest = LONE
    between = (dimensionalities > lowest) & (dimensionalities < highest)
    return between.sum(dim=-1) == 1


def settled_plateau(features, hidden, density, progress=True) -> ReLUOutputModel:
    """Build a model with a lone feature, the last one but for the weak ones, and settle it.

    Features 2k and 2k + 1 are a digon along hidden dimension k. Feature 2 (hidden - 1) is alone
    along the last one, and all features after it are weak.

    Args:
        features: Number of features, more than twice that of hidden dimensions.
        hidden: Number of hidden dimensions.
        density: Density of all features.
        progress: Whether to show progress on stderr.

    Returns:
        A model of one instance in float64, at a point where its exact gradient vanishes.

    Raises:
        ValueError: If exact descent leaves the plateau.
    """
    lone = 2 * (hidden - 1)
    W = torch.zeros(1, hidden, features, dtype=torch.float64)
    b = torch.zeros(1, features, dtype=torch.float64)
    for k in range(hidden - 1):
        W[0, k, 2 * k] = 1
        W[0, k, 2 * k + 1] = -1
    W[0, -1, lone] = LONE_WEIGHT
    W[0, -1, lone + 1 :] = WEAK_WEIGHT
    b[0, lone] = LONE_BIAS
    b[0, lone + 1 :] = WEAK_BIAS
    model = ReLUOutputModel.from_weights(W, b)
    settle(
        model,
        FeatureDistribution(density, features=features),
        tolerance=TOLERANCE,
        progress=progress,
    )
    if not is_lone(dimensionality(model.W.detach())).all():
        raise ValueError(
            f"features, hidden, density: expected a plateau of a lone feature, got none at "
            f"{features}, {hidden} and {density:g}"
        )
    return model
