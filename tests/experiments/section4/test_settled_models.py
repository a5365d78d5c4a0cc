"""Settled models: their starts, the quick run, and the certificates of the committed models."""

from dataclasses import replace

import pytest
import torch

import Section4main
from experiments.section4 import periodic_table, settled_models
from experiments.section4.settled_models import (
    LARGE,
    PRODUCT,
    QUICK,
    Settings,
    best_product,
    run,
    table_point,
)
from features import FeatureDistribution
from geometry import represented
from losses import expected_loss
from sweeps import Experiment
from theory.polytopes import tegum_factors

LINE = 2.0  # real part of the line along which the inverse Laplace transform is integrated
STEP = 0.5  # of the integral; an alias of z, 2 pi / STEP away, is damped by e^(-LINE 2 pi / STEP)
HIGHEST = 400.0  # frequency at which the integral ends


def active_average(s):
    """E[e^(s x)] for x uniform on [0, 1]."""
    small = s.abs() < 0.03
    safe = torch.where(small, torch.ones_like(s), s)
    series = 1 + s / 2 * (1 + s / 3 * (1 + s / 4 * (1 + s / 5)))
    return torch.where(small, series, (safe.exp() - 1) / safe)


def active_weighted_average(s):
    """E[x e^(s x)] for x uniform on [0, 1]."""
    small = s.abs() < 0.03
    safe = torch.where(small, torch.ones_like(s), s)
    series = 1 / 2 + s * (1 / 3 + s * (1 / 8 + s * (1 / 30 + s / 144)))
    return torch.where(small, series, (safe.exp() * (safe - 1) + 1) / safe**2)


def independent_loss(W, b, density):
    """The exact loss of one ReLU output model, by an inverse Laplace transform.

    max(t, 0)^r / r! is the integral of e^(st) / s^(r+1) along a vertical line right of 0, over
    2 pi i. Its mean over t = z needs E[e^(sz)] alone, a product over the features.
    """
    s = torch.complex(
        torch.tensor(LINE, dtype=torch.float64),
        STEP * torch.arange(HIGHEST / STEP, dtype=torch.float64),
    )
    weights = torch.full(s.shape, STEP / torch.pi, dtype=torch.float64)  # both halves of the line
    weights[0] /= 2
    gram = W.mT @ W
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(b)):
        each = 1 - density + density * active_average(s[:, None] * gram[i])  # (line, features)
        others = torch.cat((each[:, :i], each[:, i + 1 :]), dim=1).prod(dim=1) * (s * b[i]).exp()
        own = density * active_weighted_average(s * gram[i, i])
        half_square = (weights * (others * each[:, i] / s**3).real).sum()  # E[max(z, 0)^2] / 2
        product = (weights * (others * own / s**2).real).sum()  # E[x_i max(z, 0)]
        total = total + density / 3 + 2 * half_square - 2 * product
    return total


def independent_gradient(W, b, density):
    """Loss and norm of its gradient."""
    leaves = W.double().requires_grad_(), b.double().requires_grad_()
    loss = independent_loss(*leaves, density)
    gradients = torch.autograd.grad(loss, leaves)
    return loss.item(), torch.cat([part.flatten() for part in gradients]).norm().item()


def test_independent_loss_is_that_of_few_features():
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(1, 3, 7, generator=generator, dtype=torch.float64) / 2
    b = torch.randn(1, 7, generator=generator, dtype=torch.float64) / 5
    exact = expected_loss(W, b, FeatureDistribution(0.9, features=7))
    assert independent_loss(W[0], b[0], 0.9).item() == pytest.approx(exact.item(), rel=1e-5)


# The integral converges fast where nearly all features are active and all of them have weights.
@pytest.mark.parametrize("inverse_density", [1.1, 1.3])
def test_certificates_of_the_committed_models(inverse_density):
    models = settled_models.committed()
    there = (models.inverse_density == inverse_density) & ~models.product
    which = there.nonzero()[0].item()
    density = 1 / models.inverse_density[which].item()
    start_loss, start_norm = independent_gradient(
        models.start_W[which], models.start_b[which], density
    )
    loss, norm = independent_gradient(models.W[which], models.b[which], density)
    assert models.start_loss[which].item() == pytest.approx(start_loss, rel=1e-7)
    assert models.loss[which].item() == pytest.approx(loss, rel=1e-7)
    assert loss < start_loss
    assert models.gradient[which].item() == pytest.approx(norm / start_norm, rel=0.05)
    assert models.gradient[which] < 0.011


def test_committed_models():
    models = settled_models.committed()
    settings = Settings()
    assert set(models.inverse_density.tolist()) == set(settings.inverse_density)
    assert models.W.shape[1:] == (settings.hidden, settings.features)
    assert (models.loss < models.start_loss).all()
    assert (models.gradient <= torch.where(models.product, 1.1e-4, 1.1e-2)).all()
    identity = torch.stack((models.inverse_density, models.seed, models.product), dim=1)
    assert len(identity.unique(dim=0)) == len(identity)  # no model twice


def test_committed_models_of_the_paper_s_size():
    models = settled_models.committed(large=True)
    assert models.inverse_density.tolist() == list(LARGE.inverse_density)
    assert models.W.shape[1:] == (LARGE.hidden, LARGE.features) == (30, 400)
    assert models.product.all()
    assert (models.loss < models.start_loss).all()
    assert (models.gradient <= LARGE.tolerance).all()


@pytest.mark.parametrize("settings", [QUICK, replace(QUICK, start="product")])
def test_quick_run_and_its_shards(settings):
    whole = run(settings, seed=3, progress=False)
    assert (whole.loss < whole.start_loss).all()
    assert (whole.gradient <= settings.tolerance).all()
    assert whole.seed.tolist() == [3, 3]
    assert whole.product.tolist() == [settings.start == "product"] * 2
    parts = [run(part, seed=3, progress=False) for part in settled_models.shards(settings)]
    for joined, together in zip(settled_models.joined(parts), whole):
        assert joined.shape == together.shape
        assert joined.dtype == together.dtype


def test_products_begin_as_the_best_of_the_table():
    """At 1.3 the table's best is the triangle, of which five fill ten dimensions."""
    settings = replace(
        PRODUCT, features=20, hidden=4, inverse_density=(1.3,), copies=2, tolerance=1e-2
    )
    result = run(settings, progress=False)
    for W in (result.start_W[0], result.W[0]):
        assert [factor.polytope for factor in tegum_factors(W)] == ["triangle"] * 2
    assert represented(result.W).sum() == 6


def test_best_product_fills_the_dimensions():
    table = periodic_table.table()
    point = table_point(table, 1.3)
    for hidden in (1, 2, 3, 10):
        product = best_product(table, point, hidden)
        assert sum(W.shape[0] for W, _ in product.factors) == hidden
    assert product.saved / 10 == pytest.approx(table.benefit[:, point].max().item(), abs=1e-6)


def test_the_command_that_makes_the_committed_file(tmp_path, monkeypatch):
    """Sampled models of every seed and the products of the first one, in one file."""
    tiny = replace(QUICK, inverse_density=(1.3,))
    products = replace(tiny, start="product")
    large = replace(products, features=32, hidden=8, copies=2)
    small = {
        "sampled": Experiment(settled_models, tiny, tiny),
        "products": Experiment(settled_models, products, products, drawn=True),
        "large": Experiment(settled_models, large, large, drawn=True),
    }
    monkeypatch.setattr(Section4main.SETTLED, "EXPERIMENTS", small)
    for name in ("FILE", "LARGE_FILE"):
        monkeypatch.setattr(settled_models, name, tmp_path / f"{name}.safetensors")
    command = ["--settled", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path)]
    assert Section4main.main(command) == 0
    models = settled_models.committed()
    assert models.seed.tolist() == [0, 1, 0] and models.product.tolist() == [False, False, True]
    assert settled_models.committed(large=True).W.shape == (1, 8, 32)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="start: expected one of"):
        Settings(start="trained")
    with pytest.raises(ValueError, match="inverse_density: expected values of the periodic"):
        table_point(periodic_table.table(), 1.31)
