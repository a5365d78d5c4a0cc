"""What settled models are, measured on arrangements that are known, and the figure."""

import pytest
import torch
from drawing import drawn

from experiments.section4 import dense_minima
from geometry import dimensionality
from theory.polytopes import POLYTOPES

TRIANGLES = torch.block_diag(*[POLYTOPES["triangle"].vertices] * 2)


@pytest.fixture(scope="module")
def result():
    return dense_minima.run(dense_minima.QUICK)


def with_weak(W, weak):
    """One model in which weak features (dimensions, features) have dimensions of their own."""
    return torch.block_diag(W, weak)[None]


def test_pooled_dimension_is_measured_and_named():
    pooled = torch.full((1, 50), 50**-0.5, dtype=torch.float64)
    W = with_weak(TRIANGLES, pooled)
    weak = dense_minima.weak_features(W)
    assert torch.stack(tuple(weak)).flatten().tolist() == pytest.approx([1, 1, 1])
    assert dense_minima.dense_name(W[0]) == "2 × triangle + pooled dimension"
    assert dense_minima.weak_share(W)[0, :6].tolist() == pytest.approx([0] * 6, abs=1e-12)


def test_projection_is_measured_and_named():
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(60, 10, generator=generator, dtype=torch.float64)
    W = torch.linalg.qr(random).Q.mT[None]
    W = W[:, :, W[0].norm(dim=0) < 0.5]
    weak = dense_minima.weak_features(W)
    assert weak.dimensions.item() > 9
    assert weak.alignment.item() < 0.1
    assert dense_minima.dense_name(W[0]) == "projection of weak features"
    shares = dimensionality(W) + dense_minima.weak_share(W)
    assert torch.allclose(shares, torch.ones_like(shares))


def test_product_alone_has_no_weak_features():
    assert dense_minima.dense_name(TRIANGLES) == "2 × triangle"
    assert dense_minima.weak_features(TRIANGLES[None]).squared_norm.item() == 0


def test_settled_models_leave_the_plateau_with_lower_losses(result):
    models = dense_minima.trained(result.models)
    assert not dense_minima.plateau_is_real(result)
    assert dense_minima.sticky_until(models, models.start_W) <= 1 / 1.3
    assert (models.loss < models.start_loss).all()


def test_products_reach_the_prediction(result):
    best = dense_minima.best(result.models)
    predicted = dense_minima.prediction(result.table, dense_minima.densities(best), best.W.shape[1])
    reached = dense_minima.benefit(best, best.loss)
    assert (reached > predicted.benefit - 2e-4).all()


def test_figure(result):
    drawn(dense_minima.figure, result)
