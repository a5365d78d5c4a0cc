"""The expected loss of a toy model of many features, by Fourier series: exact up to their cut-off, no sampling.

Output i is ReLU(z), z = b_i + sum_j a_j x_j, a = (W^T W)_i, and ReLU(z) = (z + |z|) / 2. So of its loss

    E[(x_i - ReLU(z))^2] = E[x_i^2] - E[x_i z] - E[x_i |z|] + (E[z^2] + E[z |z|]) / 2

all but E[x_i |z|] and E[z |z|] are moments of x. These two are sums over odd k, as for |t| up to pi/2

    |t|   = pi/2 - 4/pi sum cos(k t) / k^2        t |t| = 4/pi sum (pi sin(k pi/2) / k^2 - 2 / k^3) sin(k t),

t = w z, of the characteristic function E[e^(ikwz)]. That is a product over sets of features: the work grows like the
square of their number, where that of expected_loss.py doubles with each. What is cut off is small as the characteristic
function falls, too, but for the *atom*, the probability that no feature is active, which is taken out.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from features import check_standard
from models import ReLUOutputModel, check_inputs
from theory.stationary import Gradient

TERMS = 2**13  # of a series
_ROOM = 1.5  # times the largest |z| is where |t| is pi/2: the series for t |t| has a kink there
_SMALL = 0.03  # below it E[x e^(iux)] is a power series


def exact_gradient(
    W: Float[Tensor, "1 hidden features"], b: Float[Tensor, "1 features"], distribution
) -> Gradient:
    """The loss of a ReLU output model of one instance and its gradient in weights and biases, as of stationary.py.

    distribution: of features in [0, 1]. Errors are up to about 1e-7 of the loss and 1e-5 in the gradient, by comparison
    with other TERMS; about 1e-15 where many features are always active together. Raises ValueError for signed features
    and other shapes.
    """
    check_inputs(ReLUOutputModel.from_weights(W, b), distribution)
    check_standard(distribution)
    if len(W) != 1 or distribution.signed:
        raise ValueError(
            f"distribution: expected one instance, features of at least 0, got {distribution!r}"
        )
    W, b = W[0].detach().double(), b[0].detach().double()
    gram, losses = W.mT @ W, torch.zeros_like(b)
    of_b, of_gram = torch.zeros_like(b), torch.zeros_like(gram)
    for i, importance in enumerate(distribution.importance[0].tolist()):
        leaves = b[i].clone().requires_grad_(), gram[i].clone().requires_grad_()
        loss = importance * _squared_error(i, *leaves, distribution)
        losses[i] = loss.detach()
        of_b[i], of_gram[i] = torch.autograd.grad(loss, leaves)
    of_W = W @ (of_gram + of_gram.mT)
    return Gradient(losses.sum()[None], torch.cat((of_W.flatten(), of_b))[None])


def _squared_error(i, b, a, distribution):
    """E[(x_i - ReLU(b + a.x))^2]."""
    size, k = distribution.members, 2.0 * torch.arange(TERMS, dtype=torch.float64) + 1
    mean, own, shared = (moment[0] for moment in distribution.moments())
    z_mean = b + a @ mean
    covariance = own * a + shared * a.unflatten(0, (-1, size)).sum(1).repeat_interleave(
        size
    )  # of x_j and z
    z_square, product = z_mean**2 + a @ covariance, mean[i] * z_mean + covariance[i]

    w = torch.pi / (2 * _ROOM * (b.abs() + a.abs().sum()).detach().clamp(min=1e-30))
    z_wave, x_wave = _waves(i, k * w, b, a, distribution)
    idle = (1 - distribution.density[0, ::size]).prod()
    x_absolute = (torch.pi / 2 * mean[i] - 4 / torch.pi * (x_wave.real / k**2).sum()) / w
    of_sine = 4 / torch.pi * (torch.pi * (2 - k % 4) / k**2 - 2 / k**3)
    z_absolute = (
        of_sine * (z_wave - idle * _wave(k * w * b)).imag
    ).sum() / w**2 + idle * b * b.abs()
    return 2 / 3 * mean[i] - product - x_absolute + (z_square + z_absolute) / 2


def _waves(i, s, b, a, distribution):
    """E[e^(isz)] and E[x_i e^(isz)], z = b + a.x, at each s."""
    size, together, p = (
        distribution.members,
        distribution.correlation == "correlated",
        distribution.density[0],
    )
    u = s[:, None] * a
    active = torch.sinc(u / (2 * torch.pi)) * _wave(u / 2)  # E[e^(iux)] of an active feature
    own, within = divmod(i, size)
    of_sets = active.unflatten(1, (-1, size))  # (s, sets, members)
    others = (
        torch.cat((of_sets[:, own, :within], of_sets[:, own, within + 1 :]), dim=1).prod(dim=1)
        if together
        else 1
    )
    of_sets = of_sets.prod(dim=2) if together else of_sets.mean(dim=2)
    of_sets = 1 - p[::size] + p[::size] * of_sets
    other_sets = torch.cat((of_sets[:, :own], of_sets[:, own + 1 :]), dim=1).prod(dim=1)
    phase, share = _wave(s * b), p[i] if together else p[i] / size
    return phase * other_sets * of_sets[:, own], phase * other_sets * share * others * _moment(
        u[:, i], active[:, i]
    )


def _wave(angle):
    return torch.complex(angle.cos(), angle.sin())


def _moment(u, wave):
    """E[x e^(iux)], x uniform on [0, 1], where wave = E[e^(iux)]."""
    small = u.abs() < _SMALL
    divisor = torch.where(small, 1.0, u)
    series, power = torch.zeros_like(wave), torch.ones_like(wave)
    for n in range(7):
        series, power = series + power / (n + 2), power * 1j * u / (n + 1)
    return torch.where(small, series, (_wave(divisor) - wave) / (1j * divisor))
