"""Mean field: very many features that interfere by many weak random couplings (Section 4).

The interference is then Gaussian, which gives a limit that no polytope needs to reach.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor

from checks import as_line
from theory.descents import ignored_loss, maximize

# Number of nodes of the Gauss-Legendre rule over the values of an active feature.
NODES = 40


def mean_field_benefit(
    density: Real[Tensor, " densities"] | np.ndarray | Sequence,
) -> Float[Tensor, " densities"]:
    """Return the benefit per dimension of features that interfere by many weak random couplings.

    All features have one norm r and one bias, and k of them share m dimensions evenly. Their
    interference is then Gaussian with the variance r^4 (k/m - 1) (p/3 - p^2/4) at density p; its
    mean belongs to the bias. The norm, the bias and k/m >= 1 are those of the highest benefit.

    Args:
        density: Density p of all features, in (0, 1].

    Raises:
        ValueError: If the densities are not numbers in (0, 1].
    """
    density = as_line("density", density, highest=1)

    def benefit(parameters):
        squared_norm, bias, log_extra = parameters.T
        return mean_field_saved(squared_norm, bias, 1 + log_extra.exp(), density)

    # squared norm, bias, logarithm of k/m - 1
    start = torch.tensor([1.0, -0.1, 1.0], dtype=torch.float64)
    return benefit(maximize(benefit, start.repeat(len(density), 1), steps=500))


def mean_field_saved(
    squared_norm: Float[Tensor, " models"],
    bias: Float[Tensor, " models"],
    features_per_dimension: Float[Tensor, " models"],
    density: Float[Tensor, " models"],
) -> Float[Tensor, " models"]:
    """Return the benefit per dimension of models with Gaussian interference, optimal or not.

    Args:
        squared_norm: Squared norm r^2 of all features.
        bias: Bias of all outputs.
        features_per_dimension: Number of features over that of hidden dimensions, k/m >= 1.
        density: Density of all features, in (0, 1].
    """
    ignored = ignored_loss(1, density)
    spread = squared_norm * ((features_per_dimension - 1) * ignored).sqrt()
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(NODES))
    x = (nodes[:, None] + 1) / 2  # values of the active feature on [0, 1]: (nodes, 1)
    first, second = _gaussian_relu(squared_norm * x + bias, spread)
    active = (weights[:, None] / 2 * (x**2 - 2 * x * first + second)).sum(dim=0)
    loss = (1 - density) * _gaussian_relu(bias, spread)[1] + density * active
    return features_per_dimension * (ignored - loss) / ignored


def _gaussian_relu(mean, spread):
    """Return the mean and the mean square of ReLU(z), where z is Gaussian."""
    normal = torch.distributions.Normal(0.0, 1.0)
    above = normal.cdf(mean / spread)
    tail = normal.log_prob(mean / spread).exp() * spread
    return mean * above + tail, (mean**2 + spread**2) * above + mean * tail
