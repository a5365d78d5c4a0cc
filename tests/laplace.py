"""An independent oracle: exact loss and gradient by an inverse Laplace transform.

max(z, 0)^r / r! is the integral of e^(sz) / s^(r+1) along a vertical line right of 0, over 2 pi i.
Its mean over z = W_i . W x + b_i therefore needs E[e^(sz)] alone, which is a product over the
features. Nothing is shared with `losses`: another transform, another line, and other derivatives.
"""

from typing import NamedTuple

import torch

LINE = 8.0  # real part of the line
# Between its points. An alias of z, 2 pi / STEP away, is damped by e^(-LINE 2 pi / STEP).
STEP = 2.0
SMALL = 0.03  # |z| below which averages are a power series
SERIES = 7  # its number of terms


class Certificate(NamedTuple):
    """What is true of the weights of one model."""

    loss: float
    gradient: float  # norm over all weights and biases


def certificate(W, b, density) -> Certificate:
    """Measure a ReLU output model, W (hidden, features), b (features,), with importances of 1.

    With P(s) = E[e^(s z_i)] of an output, A = P / s^3 and B = P / s^2 E[x_i e^..] / E[e^..], its
    loss is density / 3 + 2 Re sum(A - B). A coupling g_ij = W_i . W_j is in the factor of feature
    j alone, e^(s g_ij x_j), so that its derivative multiplies by s E[x_j e^..] / E[e^..]. The
    coupling g_ii is in both averages of x_i.
    """
    W, b = W.double(), b.double()
    s, weight = _line(density)
    couplings = W.mT @ W
    loss = len(b) * density / 3
    by_coupling = torch.empty_like(couplings)
    by_bias = torch.empty_like(b)
    for i, coupling in enumerate(couplings):
        mean, first = (density * average for average in _averages(s[:, None] * coupling, powers=2))
        mean += 1 - density
        second = density * _averages(s * coupling[i], powers=3)[2] / mean[:, i]
        mean_of_z = weight * mean.prod(dim=1) * (s * b[i]).exp()
        shifts = first / mean
        squares = mean_of_z / s**3
        products = mean_of_z / s**2
        difference = squares - products * shifts[:, i]
        loss += 2 * difference.sum().real.item()
        by_bias[i] = 2 * (s * difference).sum().real
        by_coupling[i] = 2 * ((s * difference) @ shifts).real
        by_coupling[i, i] = 2 * (s * (squares * shifts[:, i] - products * second)).sum().real
    by_weight = W @ (by_coupling + by_coupling.mT)
    return Certificate(loss, torch.cat((by_weight.flatten(), by_bias)).norm().item())


def _line(density):
    """Return the points s of the upper half of the line, and their weights, which fade at its end.

    The integrand falls the more slowly, the fewer features are active. Fading smooths z by a kernel
    without moments, where an abrupt end would leave a slowly falling ripple.
    """
    highest = 200 if density > 0.51 else 400 if density > 0.45 else 800
    frequency = STEP * torch.arange(highest / STEP, dtype=torch.float64)
    weight = STEP / torch.pi * torch.erfc(8 * (frequency / highest - 0.6)) / 2
    weight[0] /= 2  # which both halves share
    return torch.complex(torch.full_like(frequency, LINE), frequency), weight


def _averages(z, powers):
    """Return E[x^k e^(zx)], k = 0, 1, ..., of x uniform on [0, 1]."""
    e = z.exp()
    averages = [(e - 1) / z]
    for k in range(1, powers):
        averages.append((e - k * averages[-1]) / z)
    small = z.abs() < SMALL
    term = torch.ones_like(z[small])
    sums = [torch.zeros_like(term) for _ in averages]
    for n in range(SERIES):
        for k, total in enumerate(sums):
            total += term / (n + k + 1)
        term = term * z[small] / (n + 1)
    for average, total in zip(averages, sums):
        average[small] = total
    return averages
