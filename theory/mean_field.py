"""The limit of many weak couplings: very many features that interfere by Gaussian noise (Section 4)."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from checks import as_line
from theory.descents import ignored_loss


def mean_field_benefit(density: Float[Tensor, " densities"]) -> Float[Tensor, " densities"]:
    """The benefit per dimension where very many features interfere by many weak random couplings.

    All have one norm r, one bias, and k features share m dimensions evenly. Interference is then Gaussian, with
    variance r^4 (k/m - 1)(p/3 - p^2/4) at density p (its mean belongs to the bias); r, bias and k/m >= 1 are the best.
    Raises ValueError for densities outside of (0, 1].
    """
    density = as_line("density", density, highest=1)
    start = torch.tensor([1.0, -0.1, 1.0], dtype=torch.float64)  # r^2, bias, logarithm of k/m - 1
    best = start.repeat(len(density), 1).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [best], max_iter=500, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def benefit():
        squared_norm, bias, extra = best.T
        return mean_field_saved(squared_norm, bias, 1 + extra.exp(), density)

    def step():
        optimizer.zero_grad()
        shortfall = -benefit().sum()
        shortfall.backward()
        return shortfall

    optimizer.step(step)
    return benefit().detach()


def mean_field_saved(squared_norm, bias, features_per_dimension, density):
    """What a model of Gaussian interference saves per dimension (densities,), not at its best: `mean_field_benefit`."""
    ignored = ignored_loss(1, density)
    spread = squared_norm * ((features_per_dimension - 1) * ignored).sqrt()
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(40))
    x = (nodes[:, None] + 1) / 2  # on [0, 1]
    first, second = _gaussian_relu(squared_norm * x + bias, spread)
    active = (weights[:, None] / 2 * (x**2 - 2 * x * first + second)).sum(dim=0)
    loss = (1 - density) * _gaussian_relu(bias, spread)[1] + density * active
    return features_per_dimension * (ignored - loss) / ignored


def _gaussian_relu(mean, spread):
    """Mean and mean square of ReLU(z), z Gaussian."""
    normal = torch.distributions.Normal(0.0, 1.0)
    above, at = normal.cdf(mean / spread), normal.log_prob(mean / spread).exp() * spread
    return mean * above + at, (mean**2 + spread**2) * above + mean * at
