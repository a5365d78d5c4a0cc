"""Dropout: its exact loss against samples, the reason against mathematics, and the claim."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

from experiments.variations import dropout
from experiments.variations.dropout import QUICK, SIZES, Result, Settings, run
from experiments.variations.dropout_claim import claim
from experiments.variations.dropped_dimensions import (
    DropoutModel,
    dropout_loss,
    lone_loss,
    masks,
    spread_basis,
)
from features import FeatureDistribution
from losses import expected_loss
from sweeps.claims import checked, seen_text
from theory.polytopes import POLYTOPES
from training import train

EYE = torch.eye(5, dtype=torch.float64)
SPREAD = spread_basis(5)


def rotation(seed, size=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q


def number(value):
    return torch.tensor([value], dtype=torch.float64)


# The model and its loss


def model_of(rates, seed=0, features=4, hidden=3):
    model = DropoutModel(
        len(rates), features, hidden, seed=seed, dtype=torch.float64, init_scale=0.7
    )
    model.rate.copy_(torch.tensor(rates))
    model.b.data.copy_(torch.linspace(-0.2, 0.3, features).expand(len(rates), -1))
    return model


def test_exact_loss_is_the_mean_over_samples():
    rates = (0.0, 0.2, 0.5)
    model = model_of(rates)
    inputs = FeatureDistribution([[0.5]] * 3, importance=[[1.0, 2.0, 0.5, 1.0]])
    torch.manual_seed(1)
    x = inputs.sample(30_000, torch.Generator().manual_seed(1)).double()
    sampled = model.loss(x, inputs.importance).detach()
    exact = dropout_loss(model.W.detach(), model.b.detach(), model.rate, inputs)
    torch.testing.assert_close(sampled, exact, rtol=0.02, atol=0)


def test_without_dropout_it_is_the_loss_of_the_relu_output_model():
    model = model_of((0.0, 0.0))
    inputs = FeatureDistribution([[0.5], [0.1]], features=4)
    W, b = model.W.detach(), model.b.detach()
    torch.testing.assert_close(
        dropout_loss(W, b, model.rate, inputs), expected_loss(W, b, inputs), rtol=1e-12, atol=0
    )


def test_only_dropout_tells_a_rotation():
    model = model_of((0.0, 0.3), features=5, hidden=5)
    inputs = FeatureDistribution([[0.3], [0.3]], features=5)
    W, b = model.W.detach(), model.b.detach()
    rotated = rotation(3) @ W
    before, after = (dropout_loss(each, b, model.rate, inputs) for each in (W, rotated))
    assert before[0].item() == pytest.approx(after[0].item(), rel=1e-9)
    assert before[1].item() != pytest.approx(after[1].item(), rel=1e-3)


def test_masks():
    """Each hidden dimension is kept on its own with probability 1 - rate, and is 1 on average."""
    every = masks(torch.tensor([0.0, 0.25]), 3)
    assert every.factors.shape == (2, 8, 3)
    torch.testing.assert_close(every.probability.sum(dim=1), torch.ones(2).double())
    mean = (every.factors * every.probability[..., None]).sum(dim=1)
    torch.testing.assert_close(mean, torch.ones(2, 3).double())
    assert every.probability[1].max().item() == pytest.approx(0.75**3)
    assert (every.probability[0] > 0).sum() == 1


def test_hidden_dimensions_are_dropped_while_training_alone():
    model = model_of((0.0, 0.5), hidden=3)
    x = torch.ones(2, 4000, 4, dtype=torch.float64)
    torch.manual_seed(0)
    h = model.encode(x)
    plain = model.eval().encode(x)
    assert torch.equal(h[0], plain[0])
    assert (h[1] == 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    kept = h[1] != 0
    torch.testing.assert_close(h[1][kept], 2 * plain[1][kept])


def test_each_instance_is_trained_at_its_own_rate():
    """An instance without dropout reaches a lower loss, in the same model."""
    model = DropoutModel(2, 3, 3)
    model.rate.copy_(torch.tensor([0.0, 0.5]))
    history = train(
        model, FeatureDistribution([[0.5]] * 2, features=3), steps=60, lr=5e-2, progress=False
    )
    assert history.losses[-1, 0] < 0.7 * history.losses[-1, 1]


# The reason


@pytest.mark.parametrize("basis", [EYE, SPREAD, rotation(1)], ids=["along", "spread", "random"])
def test_without_a_bias_a_lone_feature_costs_as_much_in_every_basis(basis):
    rates = torch.tensor([0.1, 0.3, 0.5], dtype=torch.float64)
    losses = lone_loss(basis, rates, torch.zeros(1))[:, 0]
    torch.testing.assert_close(losses, rates / (1 - rates), rtol=0, atol=1e-12)


def test_lone_loss_along_a_hidden_dimension_by_hand():
    """Its output is 1 / (1 - rate) + b or b, and the idle features put out b if b is above 0."""
    for bias, rate in ((0.2, 0.3), (-0.2, 0.3)):
        on = (1 - 1 / (1 - rate) - bias) ** 2
        off = (1 - max(bias, 0)) ** 2
        antipode = rate * max(bias, 0) ** 2
        idle = 8 * max(bias, 0) ** 2
        expected = (1 - rate) * on + rate * off + antipode + idle
        found = lone_loss(EYE, number(rate), number(bias))
        assert found.item() == pytest.approx(expected, abs=1e-12)


def test_idle_pairs_cost_what_the_noise_says():
    """By the mean over random masks of the noises z_j that the docstring names."""
    rate, bias = 0.3, 0.15
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(50_000, 5, generator=generator, dtype=torch.float64) >= rate
    factors = kept.double() / (1 - rate)
    own = factors @ SPREAD[:, 0].square()
    z = (factors - 1) @ (SPREAD[:, :1] * SPREAD[:, 1:])
    idle = ((z + bias).relu() ** 2 + (-z + bias).relu() ** 2).sum(dim=1)
    pair = (1 - (own + bias).relu()) ** 2 + (bias - own).relu() ** 2
    expected = (idle + pair).mean().item()
    found = lone_loss(SPREAD, number(rate), number(bias))
    assert found.item() == pytest.approx(expected, rel=1e-2)


def test_variances_of_the_noise():
    """The feature's own is r s, and those of the idle pairs sum to r (1 - s)."""
    rate = torch.tensor([0.2], dtype=torch.float64)
    for basis in (EYE, SPREAD, rotation(2)):
        every = masks(rate, 5)
        noise = (every.factors[0] * basis[:, 0]) @ basis - EYE[0]
        variances = (noise.square() * every.probability[0][:, None]).sum(dim=0)
        share = basis[:, 0].pow(4).sum()
        torch.testing.assert_close(variances[0], 0.25 * share)
        torch.testing.assert_close(variances[1:].sum(), 0.25 * (1 - share))


def test_spread_basis():
    for hidden in (2, 3, 5):
        basis = spread_basis(hidden)
        torch.testing.assert_close(basis @ basis.mT, torch.eye(hidden).double())
    assert dropout.spread(SPREAD[None]).item() == pytest.approx(4.84)
    most = max(dropout.spread(rotation(seed)[None]).item() for seed in range(30))
    assert most < 4.84


# A run


@pytest.fixture(scope="module")
def short():
    return [run(settings, progress=False) for settings in QUICK]


def test_run(short):
    assert short[0].W.shape == (6, 3, 5, 10)
    assert short[1].W.shape == (3, 4, 2, 5) and short[2].W.shape[2:] == (3, 8)
    result = short[0]
    assert result.density.tolist() == [0.5] * 3 + [0.05] * 3
    assert result.rate.tolist() == [0, 0.2, 0.5] * 2
    inputs = FeatureDistribution(result.density[:, None], features=10)
    exact = dropout_loss(result.W[:, 2], result.b[:, 2], result.rate, inputs)
    torch.testing.assert_close(result.loss[:, 2], exact)
    assert all(values.isfinite().all() for values in result)


def test_run_depends_on_its_seed_alone(short):
    again, other = (run(QUICK[1], seed=seed, progress=False) for seed in (0, 1))
    assert torch.equal(again.loss, short[1].loss) and torch.equal(again.W, short[1].W)
    assert not torch.equal(other.W, again.W)


@pytest.mark.parametrize(
    ("name", "value"), [("rates", (1.0,)), ("rates", (-0.1,)), ("rates", ()), ("steps", 0)]
)
def test_settings_refuse(name, value):
    with pytest.raises(ValueError, match=name):
        Settings(**{name: value})


def test_constructed():
    along, spread, pentagon = dropout.constructed(5, 2)
    assert along.tolist() == [[1, 0, -1, 0, 0], [0, 1, 0, -1, 0]]
    assert spread.abs().sum() == 4
    torch.testing.assert_close(pentagon, POLYTOPES["pentagon"].vertices)
    assert len(dropout.constructed(10, 5)) == 2 and len(dropout.constructed(8, 3)) > 2


def test_the_best_is_of_all_starts_and_the_best_fresh_of_the_first():
    result = ideal()[0]
    result.loss[0] = torch.tensor([3.0, 2.0, 1.0])
    assert dropout.best(result)[0] == 2 and dropout.best_fresh(result)[0] == 0
    assert torch.equal(dropout.chosen(result.W, dropout.best(result))[0], result.W[0, 2])


# Figures


def test_figures(short):
    drawn(dropout.figure, ideal()[0])
    drawn(dropout.polytope_figure, short)
    shown = drawn(dropout.polytope_figure, ideal())
    heights = [[bar.get_height() for bar in bars] for bars in shown.axes[1].containers]
    assert heights == [[0, 0, 0, 0, 0, 4], [5, 5, 5, 5, 5, 0]]  # pairs, and the pentagon below


# The claim


def pairs(basis):
    return torch.cat((basis, -basis), dim=1)


def result_of(settings, weights, biases):
    """A result in which weights(density, rate) are the best model's, and those of all others."""
    points = [(density, rate) for density in settings.densities for rate in settings.rates]
    density, rate = torch.tensor(points, dtype=torch.float64).T
    W = torch.stack([weights(*point) for point in points])
    b = torch.tensor([[biases(*point)] * settings.features for point in points])
    loss = torch.ones(len(points), 3, dtype=torch.float64)
    starts = [each[:, None].repeat(1, 3, *[1] * (each.dim() - 1)) for each in (W, b)]
    return Result(density, rate, *starts, loss, torch.tensor(1))


def ideal_weights(density, rate):
    if rate == 0:
        return pairs(rotation(4))
    return pairs(EYE if density > 0.15 else SPREAD)


def ideal_bias(density, rate):
    return 0.1 if density > 0.15 else -0.1


def small(features, hidden, name):
    """Give a size its polytope up to the rate 0.3, and antipodal pairs along dimensions above."""
    along = dropout.constructed(features, hidden)[0]
    settings = next(each for each in SIZES if each.features == features)
    vertices = POLYTOPES[name].vertices
    return result_of(settings, lambda _, rate: along if rate > 0.3 else vertices, lambda *_: 0.1)


def ideal():
    return [
        result_of(SIZES[0], ideal_weights, ideal_bias),
        small(5, 2, "pentagon"),
        small(8, 3, "square antiprism"),
    ]


def judged(results):
    found = checked(claim(results))
    assert seen_text([found])
    return [finding.holds for finding in found.findings]


def test_ideal():
    assert judged(ideal()) == [True] * 7


def changed(place, weights=ideal_weights, biases=ideal_bias, **settings):
    results = ideal()
    results[place] = result_of(replace(SIZES[place], **settings), weights, biases)
    return results


def at(density, rate, basis):
    """Return ideal weights with antipodal pairs along another basis at one density and rate."""
    return lambda *point: pairs(basis) if point == (density, rate) else ideal_weights(*point)


def other_bias(density, sign):
    return lambda *point: sign * 0.1 if point[0] == density else ideal_bias(*point)


def no_pairs(density, rate):
    W = ideal_weights(density, rate).clone()
    if (density, rate) == (0.2, 0.1):
        W[:, 9] = 0
    return W


def unmet():
    """Best models without dropout that random weights do not reach."""
    results = ideal()
    without = results[0].rate == 0
    results[0].loss[without, 0] = 1.02
    return results


PENTAGON = POLYTOPES["pentagon"].vertices
ANTIPRISM = POLYTOPES["square antiprism"].vertices
BROKEN = {  # results -> the findings that do not hold
    "random at a sparse density": (lambda: changed(0, at(0.05, 0.2, rotation(5))), [0]),
    "random at a dense one": (lambda: changed(0, at(0.5, 0.3, rotation(6))), [1]),
    "along without dropout": (lambda: changed(0, at(0.3, 0.0, EYE)), [2]),
    "random weights reach nothing": (unmet, [2]),
    "spread above 0": (lambda: changed(0, biases=other_bias(0.1, 1)), [4]),
    "along below 0": (lambda: changed(0, biases=other_bias(0.3, -1)), [4]),
    "nine features": (lambda: changed(0, no_pairs), [5]),
    "no rates": (lambda: changed(0, lambda *_: pairs(rotation(7))), [0, 1, 4]),
    "a pentagon for ever": (lambda: changed(1, lambda *_: PENTAGON), [6]),
    "an antiprism for ever": (lambda: changed(2, lambda *_: ANTIPRISM), [6]),
    "pairs at once": (lambda: changed(1, lambda *_: dropout.constructed(5, 2)[0]), [6]),
}


@pytest.mark.parametrize(("results", "missed"), BROKEN.values(), ids=BROKEN)
def test_broken(results, missed):
    assert judged(results()) == [place not in missed for place in range(7)]


def test_the_reason_fails_where_spreading_saves_nothing(monkeypatch):
    monkeypatch.setattr("experiments.variations.dropout_claim.spread_basis", lambda _: EYE)
    assert not judged(ideal())[3]
