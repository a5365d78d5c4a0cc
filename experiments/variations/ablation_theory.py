"""What is best without a bias, and where the loss counts active features alone: formulas (ours).

**Active features alone.** The loss of feature i counts where x_i > 0 only, and the model is linear:
x' = G x + b with G = W^T W. All features have density p and values uniform in [0, 1]. The bias
takes the mean of the error away, and an input that is not known to be active has the variance
(4p - 3p^2)/12. With w = 4p - 3p^2 what is left of the loss is

    p/12 [ sum_i (1 - G_ii)^2 + w sum_{i != j} G_ij^2 ].

- Up to p = 1/3, w is at most 1. With T = tr G = ||W||_F^2 the bracket is
  n - 2T + (1 - w) sum_i G_ii^2 + w ||G||_F^2, and sum_i G_ii^2 >= T^2/n, ||G||_F^2 >= T^2/m. Both
  bounds are met by a multiple of a projection with an even diagonal, which is a tight frame. The
  best T is then 1 / ((1 - w)/n + w/m), so that D* = m/T = m/n + w (1 - m/n).
- From p = 1/3 on, w is at least 1 for p < 1, and 1 at p = 1. The bracket is then no less than
  ||I - G||_F^2 >= n - m, which m dedicated dimensions meet: D* = 1.

**No bias, sparse features.** One feature is active at a time, and the loss of the ReLU output model
without a bias is p/3 times

    sum_i (1 - G_ii)^2 + sum_{i != j} ReLU(G_ij)^2 = n - 2T + T^2 E,

where E is the mean of ReLU(cos)^2 over two features, drawn by their squared norms. The best T is
1/E. So D* = m E, the loss is n - m/D*, and the best arrangement is that of the lowest D*. To bound
E, take 0 < s < 1, a = -(s + sqrt(s^2 + 8s))/2, b = s^2/a^2 and c = 1/(1 + 2s - 2a - b). Then

    h(t) = c (t - a)^2 (t - b) = t^2 - c (t - s)^2 (1 - t)

is at most t^2 for t <= 1, and at most 0 for t <= 0. So ReLU(t)^2 >= h(t). Its coefficients are
those of c (t^3 - (2a + b) t^2 + (s^2 + 2s) t - s^2). The means of cos and of cos^3 are no less
than 0, and the mean of cos^2 is no less than 1/m. Hence E >= c (-(2a + b)/m - s^2), whatever the
number of features. In five dimensions this is D* >= 0.4349. The 16 vertices of the demicube have
D* = 7/16 = 0.4375, antipodal pairs 1/2.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import math
from itertools import product

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from experiments.variations.pair_arrangements import antipodal_pairs

LAST_SUPERPOSITION = 1 / 3  # density from which on the linear model has dedicated dimensions
DESCENT_STEPS = 1500
DEMICUBE_DIMENSIONS = 5
DEMICUBE_FEATURES = 16
DEMICUBE = 7 / 16  # D* of the demicube, and the least that is known in five dimensions
DEMICUBE_COSINES = (*5 * (-0.6,), *10 * (0.2,), 1.0)  # of a vertex with all, ascending


# Active features alone, linear


def active_dimensions(features, hidden, density: Float[Tensor, "*points"]):
    """Return D* of the best linear model whose loss counts active features alone.

    Args:
        features: Number of features n.
        hidden: Number of hidden dimensions m, at most n.
        density: Density of all features, in (0, 1].
    """
    share = hidden / features
    return share + _crosstalk(density).clamp(max=1) * (1 - share)


def active_optimum_loss(features, hidden, density: Float[Tensor, "*points"]):
    """Return the loss on active features of the best linear model, for the same arguments."""
    benefit = hidden / active_dimensions(features, hidden, density)
    return density / 12 * (features - benefit)


def active_optimum(
    features, hidden, density
) -> tuple[Float64[Tensor, "hidden features"], Float64[Tensor, " features"]]:
    """Return W and b of the best linear model whose loss counts active features alone.

    Args:
        features: Number of features n.
        hidden: Number of hidden dimensions m, below n.
        density: Density of all features, a number.
    """
    if density >= LAST_SUPERPOSITION:
        W = torch.eye(hidden, features, dtype=torch.float64)
    else:
        dimensions = active_dimensions(features, hidden, torch.tensor(density, dtype=torch.float64))
        W = tight_frame(features, hidden) / dimensions.sqrt()
    return W, _mean_error(W.mT @ W, density)


def tight_frame(features, hidden) -> Float64[Tensor, "hidden features"]:
    """Return orthonormal rows whose columns all have the squared norm m/n, with m below n."""
    turn = 2 * math.pi / features * torch.arange(features, dtype=torch.float64)
    waves = [wave(k * turn) for k in range(1, hidden // 2 + 1) for wave in (torch.cos, torch.sin)]
    constant = [torch.full_like(turn, math.sqrt(0.5))] * (hidden % 2)
    return torch.stack(waves + constant) * math.sqrt(2 / features)


def lines(features, hidden) -> Float64[Tensor, "hidden features"]:
    """Return features along the axes of the hidden space alone, every other one reversed.

    Where the loss counts active features alone, a ReLU makes this better than a tight frame for
    rare features. Two active features of overlap g < 0 then cost g^2/3 - |g|^3/6 each, in place of
    g^2/3, so that few large overlaps cost less than many small ones of the same square.

    Args:
        features: Number of features.
        hidden: Number of hidden dimensions m, among which the features are shared out.
    """
    place = torch.arange(features)
    W = torch.zeros(hidden, features, dtype=torch.float64)
    W[place % hidden, place] = (1 - 2 * (place // hidden % 2)).double()
    return W


def linear_active_loss(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    density: Float[Tensor, " instances"],
) -> Float64[Tensor, " instances"]:
    """Compute the exact loss of linear models on active features, of importance 1."""
    G = W.double().mT @ W.double()
    density = density.double()
    gain = G.diagonal(dim1=1, dim2=2)
    squared_overlap = G.square().sum(dim=2) - gain.square()
    offset = _mean_error(G, density[:, None]) - b.double()
    spread = (1 - gain).square() + _crosstalk(density)[:, None] * squared_overlap
    return density * (offset.square() + spread / 12).sum(dim=1)


def _crosstalk(density):
    """Return w, twelve times the variance of an input."""
    return 4 * density - 3 * density**2


def _mean_error(G, density):
    """Return the mean of x_i - (G x)_i where feature i is active."""
    gain = G.diagonal(dim1=-2, dim2=-1)
    overlap = G.sum(dim=-1) - gain
    return (1 - gain - density * overlap) / 2


# No bias, sparse features


def sparse_loss_without_bias(
    W: Float[Tensor, "instances hidden features"],
) -> Float64[Tensor, " instances"]:
    """Return the loss without a bias over p/3, in the limit of rare features of importance 1."""
    G = W.double().mT @ W.double()
    gain = G.diagonal(dim1=1, dim2=2)
    overlap = G.relu().square().sum(dim=(1, 2)) - gain.square().sum(dim=1)
    return (1 - gain).square().sum(dim=1) + overlap


def least_dimensions_without_bias(hidden) -> float:
    """Return a proven lower bound of D* without a bias, in the limit of rare features.

    Args:
        hidden: Number of hidden dimensions m.
    """
    s = torch.linspace(1e-4, 1, 10_001, dtype=torch.float64)
    a = -(s + (s**2 + 8 * s).sqrt()) / 2
    b = s**2 / a**2
    c = 1 / (1 + 2 * s - 2 * a - b)
    return (hidden * c * (-(2 * a + b) / hidden - s**2)).max().item()


def demicube(features) -> Float64[Tensor, "5 features"]:
    """Return the demicube at its best norms for rare features; further features have no weights.

    Args:
        features: Number of features, at least 16.
    """
    signs = [signs for signs in product((1.0, -1.0), repeat=5) if math.prod(signs) > 0]
    vertices = torch.tensor(signs, dtype=torch.float64).T / math.sqrt(5)
    W = torch.zeros(DEMICUBE_DIMENSIONS, features, dtype=torch.float64)
    W[:, :DEMICUBE_FEATURES] = math.sqrt(5 / 7) * vertices
    return W


def sparse_arrangement(features, hidden) -> Float64[Tensor, "hidden features"]:
    """Return the best arrangement without a bias that is known for rare features.

    It is the demicube in five dimensions, and antipodal pairs elsewhere.

    Args:
        features: Number of features, at least 2m.
        hidden: Number of hidden dimensions m.
    """
    if hidden == DEMICUBE_DIMENSIONS and features >= DEMICUBE_FEATURES:
        return demicube(features)
    return antipodal_pairs(features, hidden)


def found_dimensions_without_bias(hidden, features, restarts, seed) -> float:
    """Return the lowest D* that descents on the loss of rare features without a bias find.

    Args:
        hidden: Number of hidden dimensions m.
        features: Number of features n.
        restarts: Number of random weights from which descents start.
        seed: Seed of the random weights.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = restarts, hidden, features
    W = torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(hidden)
    W.requires_grad_()
    descent = torch.optim.LBFGS(
        [W], max_iter=DESCENT_STEPS, history_size=20, line_search_fn="strong_wolfe"
    )

    def total():
        descent.zero_grad()
        loss = sparse_loss_without_bias(W).sum()
        loss.backward()
        return loss

    descent.step(total)
    least = sparse_loss_without_bias(W.detach()).min().item()
    return hidden / (features - least)
