"""The mean field against integrals made by other rules, and random parameters."""

import torch

from theory import mean_field


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_mean_field_is_the_integral_over_a_gaussian():
    """The test integrates by the trapezoidal rule over interference and the midpoint rule."""
    r2, bias, ratio, p = 0.9, -0.2, 3.0, 0.1
    ignored = p / 3 - p**2 / 4
    g = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    weight = (-(g**2) / 2).exp() / (2 * torch.pi) ** 0.5 * (g[1] - g[0])
    noise = r2 * ((ratio - 1) * ignored) ** 0.5 * g
    x = (torch.arange(4000, dtype=torch.float64)[:, None] + 0.5) / 4000
    active = (((x - (r2 * x + bias + noise).clamp(min=0)) ** 2).mean(dim=0) * weight).sum()
    loss = (1 - p) * ((bias + noise).clamp(min=0) ** 2 * weight).sum() + p * active
    found = mean_field.mean_field_saved(*numbers(r2, bias, ratio, p).split(1))
    torch.testing.assert_close(found, ratio * (ignored - loss)[None] / ignored, rtol=1e-6, atol=0)


def test_the_best_mean_field():
    """The benefit is as first calculated, and higher than that of random parameters."""
    density = 1 / numbers(5, 6, 8, 12, 20)
    best = mean_field.mean_field_benefit(density)
    torch.testing.assert_close(best, numbers(1.39, 1.49, 1.68, 2.04, 2.71), rtol=0, atol=6e-3)
    uniform = torch.rand(3, 5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r2, bias, ratio = 0.5 + uniform[0], -0.7 * uniform[1], 1 + 20 * uniform[2]
    for p, highest in zip(density, best):
        tried = mean_field.mean_field_saved(r2, bias, ratio, p.expand(5000))
        assert highest - 0.02 < tried.max() <= highest + 1e-9
