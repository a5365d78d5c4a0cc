"""GELU at the output: models, algebra, candidates, a short run and the figure."""

import dataclasses
import math

import pytest
import torch
from drawing import drawn

from experiments.variations import gelu, gelu_algebra
from experiments.variations.competition import candidates
from experiments.variations.gelu import (
    QUICK,
    GELUHiddenModel,
    GELUOutputModel,
    Settings,
    SharpGELUOutputModel,
    figure,
    run,
)
from experiments.variations.gelu_algebra import NORMS
from experiments.variations.pair_arrangements import antipodal_pairs
from features import FeatureDistribution
from models import ReLUHiddenModel, ReLUOutputModel, base_class
from training import sampled_loss


@pytest.fixture(scope="module")
def result():
    return run(QUICK, progress=False)


def test_models_compute_what_their_formulas_say():
    x = torch.rand(2, 5, 4, dtype=torch.float64)
    y = {}
    for model_class in (GELUOutputModel, SharpGELUOutputModel, GELUHiddenModel):
        model = model_class(2, 4, 3, seed=1, dtype=torch.float64, init_scale=1.0)
        W, b = model.W, model.b.data.normal_()
        y[model_class] = model(x), x @ W.mT, W, b[:, None]

    def phi(z):
        return z * (1 + torch.erf(z / math.sqrt(2))) / 2

    output, h, W, b = y[GELUOutputModel]
    torch.testing.assert_close(output, phi(h @ W + b))
    output, h, W, b = y[SharpGELUOutputModel]
    torch.testing.assert_close(output, phi(8 * (h @ W + b)) / 8)
    output, h, W, b = y[GELUHiddenModel]
    torch.testing.assert_close(output, (phi(h) @ W + b).relu())


def test_models_are_trained_by_their_own_methods():
    for model_class in (GELUOutputModel, SharpGELUOutputModel, GELUHiddenModel):
        assert base_class(model_class(1, 4, 2)) is None


def test_the_sharper_gelu_is_gelu_for_larger_values():
    """gelu(8 y) / 8 with x in [0, 1] is gelu for values up to 8, with 64 times the loss."""
    W = torch.randn(1, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    b = torch.full((1, 4), 0.1, dtype=torch.float64)
    x = torch.rand(1, 50, 4, dtype=torch.float64)
    sharp = SharpGELUOutputModel.from_weights(W, b).loss(x, 1.0)
    plain = GELUOutputModel.from_weights(W, 8 * b).loss(8 * x, 1.0)
    torch.testing.assert_close(64 * sharp, plain)


def test_antipodal_gelus_differ_by_their_argument():
    """gelu(a) - gelu(-a) = a, as for ReLU: a pair's outputs tell its coordinate."""
    a = torch.linspace(-3, 3, 31, dtype=torch.float64)
    torch.testing.assert_close(
        torch.nn.functional.gelu(a) - torch.nn.functional.gelu(-a), a, rtol=0, atol=1e-12
    )


def test_costs_against_an_average_over_a_fine_grid():
    x = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    for value in (0.4, 1.0, 1.3):
        a = torch.tensor([value], dtype=torch.float64)
        own = 3 * (torch.nn.functional.gelu(a * x) - x).square().mean()
        antipode = 3 * torch.nn.functional.gelu(-a * x).square().mean()
        torch.testing.assert_close(gelu_algebra.lone_cost(a)[0], own, rtol=1e-6, atol=0)
        torch.testing.assert_close(gelu_algebra.passed_on(-a)[0], antipode, rtol=1e-6, atol=0)
    small = torch.tensor([1e-3], dtype=torch.float64)
    torch.testing.assert_close(gelu_algebra.passed_on(small), small.square() / 4, rtol=2e-3, atol=0)


def test_the_algebra_of_pairs():
    """A lone feature costs 0.7 %; one pair a dimension stores 1.87, and evenly spread ones 1.92."""
    assert gelu_algebra.lone_cost(NORMS).min().item() == pytest.approx(0.0068, abs=1e-4)
    assert gelu_algebra.pair_benefit() == pytest.approx(1.869, abs=1e-3)
    best = gelu_algebra.best_even_pairs()
    assert best.benefit == pytest.approx(1.924, abs=1e-3)
    number = torch.linspace(2, 4, 2001, dtype=torch.float64)
    a = torch.tensor([best.squared_norm], dtype=torch.float64)
    costs = gelu_algebra.lone_cost(a) + gelu_algebra.passed_on(-a) + a.square() * (number - 2) / 4
    scanned = number * (1 - costs)
    assert scanned.max().item() == pytest.approx(best.benefit, abs=1e-5)
    assert number[scanned.argmax()].item() == pytest.approx(best.features_per_dimension, abs=1e-3)


def test_a_pair_in_each_dimension_stores_what_the_algebra_says():
    """The loss of samples at a very low density, for the best norm."""
    costs = gelu_algebra.lone_cost(NORMS) + gelu_algebra.passed_on(-NORMS)
    W = antipodal_pairs(8, 4) * NORMS[costs.argmin()].sqrt()
    model = GELUOutputModel.from_weights(W[None], torch.zeros(1, 8, dtype=torch.float64))
    density = 1e-5
    loss = sampled_loss(model, FeatureDistribution(density, features=8, instances=1), rows=2**16)
    worth = (8 - loss.item() / (density / 3)) / 4
    assert worth == pytest.approx(gelu_algebra.pair_benefit(), abs=0.02)


def test_even_pairs_are_a_tight_frame_of_antipodes():
    W = gelu_algebra.even_pairs(40, 8)
    best = gelu_algebra.best_even_pairs()
    stored = W.norm(dim=0) > 0
    assert stored.sum() == 2 * round(4 * best.features_per_dimension)
    torch.testing.assert_close(
        W[:, stored].square().sum(dim=0), torch.full((stored.sum(),), best.squared_norm).double()
    )
    torch.testing.assert_close(W[:, ::2], -W[:, 1::2])
    gram = W @ W.T
    torch.testing.assert_close(gram, gram[0, 0] * torch.eye(8, dtype=torch.float64))
    assert gelu.with_antipode(W[None]).item() == 1


def test_candidates_stand_in_their_places():
    own = GELUOutputModel(3, 6, 2, seed=0)
    other = ReLUOutputModel(3, 6, 2, seed=1)
    made = candidates(own, other, (antipodal_pairs(6, 2),))
    W = made.W.unflatten(0, (3, 5))
    assert type(made) is GELUOutputModel
    torch.testing.assert_close(W[:, 0], own.W)
    torch.testing.assert_close(W[:, 1], other.W)
    torch.testing.assert_close(W[:, 2], own.W[[0, 0, 1]])
    torch.testing.assert_close(W[:, 3], own.W[[1, 2, 2]])
    torch.testing.assert_close(W[2, 4], antipodal_pairs(6, 2).float())
    assert type(candidates(GELUHiddenModel(1, 4, 2), ReLUHiddenModel(1, 4, 2))) is (GELUHiddenModel)


def test_run_is_reproducible_and_depends_on_the_seed(result):
    again = run(QUICK, progress=False)
    other = run(QUICK, seed=1, progress=False)
    torch.testing.assert_close(result.gelu.W, again.gelu.W, rtol=0, atol=0)
    assert not torch.equal(result.gelu.W, other.gelu.W)


def test_benefit_of_known_losses(result):
    """Ignoring all features stores nothing; a loss lower by m ignored features stores 1."""
    nothing = gelu.benefit(result, result.nothing_loss)
    torch.testing.assert_close(nothing, torch.zeros_like(nothing))
    ignored = result.density / 3 - result.density.square() / 4
    one_each = result.nothing_loss - QUICK.hidden * ignored
    torch.testing.assert_close(gelu.benefit(result, one_each), torch.ones_like(nothing))
    table = gelu.benefit(result, result.gelu.loss)
    assert table.shape == result.gelu.loss.shape
    torch.testing.assert_close(table.amax(dim=1), gelu.stored(result, "gelu"))


def test_ignoring_all_features_costs_what_it_should(result):
    expected = QUICK.features * (result.density / 3 - result.density.square() / 4)
    torch.testing.assert_close(result.nothing_loss, expected, rtol=0.05, atol=0)


def test_figure(result):
    drawn(figure, result)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden", 3), ("features", 8), ("densities", (2.0,)), ("rounds", 0), ("lr", -1.0)],
)
def test_settings_refuse(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(QUICK, **{field: value})
    assert set(QUICK.densities) <= {*Settings().densities}
