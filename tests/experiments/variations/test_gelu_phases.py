"""Phases with GELU: the quadrature, the descents, the algebra of the sparse limit, the figure."""

import dataclasses

import pytest
import torch
from drawing import drawn

from experiments.variations import gelu_phases
from experiments.variations.gelu import GELUOutputModel
from experiments.variations.gelu_phases import QUICK, figure, gelu_loss, quadrature, run
from features import FeatureDistribution
from theory import phases
from training import sampled_loss


@pytest.fixture(scope="module")
def result():
    return run(QUICK, progress=False)


def test_the_quadrature_agrees_with_samples():
    density = torch.tensor([0.9, 0.4, 0.05], dtype=torch.float64)
    ratio = torch.tensor([0.2, 1.0, 5.0], dtype=torch.float64)
    model = GELUOutputModel(3, 2, 1, seed=3, dtype=torch.float64, init_scale=1.0)
    model.b.data.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(0))
    distribution = phases.grid_distribution(2, density, ratio)
    assert isinstance(distribution, FeatureDistribution)
    samples = sampled_loss(model, distribution, rows=2**17)
    exact = gelu_loss(model.W, model.b, ratio, quadrature(density, 8)).detach()
    torch.testing.assert_close(exact, samples, rtol=0.02, atol=0)


def test_eight_nodes_are_enough():
    generator = torch.Generator().manual_seed(0)
    W = 1.3 * torch.randn(50, 1, 2, generator=generator, dtype=torch.float64).clamp(-1.2, 1.2)
    b = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    density = torch.rand(50, generator=generator, dtype=torch.float64)
    ratio = torch.ones(50, dtype=torch.float64)
    few, many = (gelu_loss(W, b, ratio, quadrature(density, nodes)) for nodes in (8, 30))
    torch.testing.assert_close(few, many, rtol=1e-7, atol=0)


def test_weights_of_the_quadrature_sum_to_one():
    rule = quadrature(torch.tensor([1.0, 0.3, 1e-4], dtype=torch.float64), 8)
    torch.testing.assert_close(rule.weight.sum(dim=1), torch.ones(3, dtype=torch.float64))
    mean = rule.weight @ rule.x
    torch.testing.assert_close(mean[1], torch.full((2,), 0.15, dtype=torch.float64))


def test_neighbours_of_a_lattice():
    near = gelu_phases._with_neighbours((2, 3))
    assert near.tolist()[0] == [0, 3, 0, 1, 0]
    assert near.tolist()[4] == [4, 4, 1, 5, 3]


def test_no_solution_is_above_where_it_started(result):
    """ReLU's optimum is among the starts, and handing on raises no loss."""
    rule = quadrature(result.density, QUICK.nodes)
    named = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64).expand(len(result.ratio), 1, 2)
    zeros = torch.zeros(len(result.ratio), 2, dtype=torch.float64)
    for W in (named, 0 * named):
        assert (result.gelu.loss <= gelu_loss(W, zeros, result.ratio, rule)).all()
    loss = gelu_loss(result.gelu.W, result.gelu.b, result.ratio, rule)
    torch.testing.assert_close(loss, result.gelu.loss)
    assert (result.gelu.last_fall >= 0).all()


def test_a_swap_of_the_features_keeps_the_loss(result):
    """The point of density s and ratio r is that of s and 1 / r with the features exchanged."""
    side = QUICK.points
    loss = result.gelu.loss.view(side, side)
    ratio = result.ratio.view(side, side)
    torch.testing.assert_close(
        loss / ratio.sqrt(), (loss / ratio.sqrt()).flip(1), rtol=2e-3, atol=0
    )


def test_least_ratio_separates_what_pays():
    """In the sparse limit a pair has a lower loss than a lone feature from this ratio on alone."""
    least = gelu_phases.least_ratio()
    assert least == pytest.approx(0.0626, abs=2e-4)
    a = gelu_phases.NORMS
    own = gelu_phases.lone_cost(a)
    overlap = -(a[:, None] * a).sqrt()
    passed = gelu_phases.passed_on(overlap.flatten()).view_as(overlap)
    for ratio, pays in ((0.9 * least, False), (1.1 * least, True)):
        pair = own[:, None] + ratio * own + (1 + ratio) * passed
        assert (pair.min() < own.min() + ratio).item() is pays


def test_onset_by_hand():
    ratio = torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64)
    W = torch.tensor([[[1.0, 0.0]], [[1.0, -0.9]], [[1.0, -1.0]]], dtype=torch.float64)
    assert gelu_phases.onset_ratio(W, ratio) == pytest.approx(0.1**1.5)
    assert gelu_phases.onset_ratio(W[1:], ratio[1:]) == 0.1
    assert gelu_phases.onset_ratio(W[:1], ratio[:1]) == 0.02


def test_no_chance_is_involved(result):
    assert gelu_phases.SEEDED is False
    again = run(QUICK, seed=1, progress=False)
    torch.testing.assert_close(result.gelu.W, again.gelu.W, rtol=0, atol=0)


def test_figure(result):
    drawn(figure, result)


@pytest.mark.parametrize(
    ("field", "value"), [("points", 1), ("line_points", 1), ("line_density", 1.5), ("steps", 0)]
)
def test_settings_refuse(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(QUICK, **{field: value})
