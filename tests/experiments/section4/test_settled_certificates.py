"""The certificate of every committed settled model, recomputed by independent code."""

import pytest
from laplace import certificate

from experiments.section4 import settled_models
from experiments.section4.dense_minima import chosen, of_density

COMMITTED = {large: settled_models.committed(large=large) for large in (False, True)}
CASES = [
    (large, at) for large, models in COMMITTED.items() for at in models.inverse_density.unique()
]


def name(case):
    large, at = case
    return f"n={COMMITTED[large].W.shape[2]} at 1/{at:g}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_certificates(case):
    """Losses hold to 1e-7 and gradients, relative to where the descent began, to a hundredth."""
    large, at = case
    models = chosen(COMMITTED[large], of_density(COMMITTED[large], 1 / at))
    for k in range(len(models.loss)):
        start = certificate(models.start_W[k], models.start_b[k], 1 / at.item())
        end = certificate(models.W[k], models.b[k], 1 / at.item())
        assert start.loss == pytest.approx(models.start_loss[k].item(), rel=2e-7)
        assert end.loss == pytest.approx(models.loss[k].item(), rel=2e-7)
        assert end.loss < start.loss
        relative = end.gradient / start.gradient
        assert relative == pytest.approx(models.gradient[k].item(), rel=0.01)
