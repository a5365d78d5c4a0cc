"""Polytopes and mixtures against the exact loss, a table made on a grid and linear programs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features import FeatureDistribution
from losses.exact import expected_loss
from models import ReLUOutputModel
from theory import packing
from theory.descents import ignored_loss
from theory.polytopes import POLYTOPES, tegum_factors


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


TABLE_INVERSE_DENSITY = 10 ** numbers(0.05, 0.15, 0.2, 0.6, 0.65, 0.7, 1.3)
# Benefit per dimension from a coarse grid of scale and bias; the true one is a little higher.
TABLE = {
    "digon": (1.0004, 1.0218, 1.0671, 1.6956, 1.7346, 1.7680, 1.9480),
    "triangle": (1.0072, 1.0369, 1.0605, 1.3290, 1.3506, 1.3692, 1.4707),
    "tetrahedron": (1.0086, 1.0328, 1.0498, 1.2162, 1.2311, 1.2440, 1.3138),
    "pentagon": (1.0015, 1.0215, 1.0472, 1.6665, 1.7357, 1.7990, 2.2221),
    "hexagon": (1.0008, 1.0125, 1.0292, 1.5566, 1.6270, 1.6943, 2.2597),
}


def polytope_distribution(polytope, density):
    """Return the inputs of the features of a polytope, one instance per density."""
    return FeatureDistribution(density[:, None], features=POLYTOPES[polytope].vertices.shape[1])


@pytest.mark.parametrize("polytope", TABLE)
def test_benefit_of_polytopes(polytope):
    optimum = packing.polytope_optimum(polytope, 1 / TABLE_INVERSE_DENSITY)
    above = optimum.benefit - numbers(*TABLE[polytope])
    assert above.min() > -1e-4 and above.max() < 3e-4
    assert (optimum.stretch == 1).all()


def test_a_dedicated_dimension_has_benefit_one():
    optimum = packing.polytope_optimum("dedicated dimension", numbers(0.9, 0.1, 0.01))
    for values, expected in zip(optimum, (1, 1, 0, 1)):
        torch.testing.assert_close(values, torch.full_like(values, expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "polytope", ["triangle", "pentagon", "square antiprism", "3 tilted digons", "cube"]
)
def test_optimum_of_a_polytope_is_a_stationary_point_of_the_loss_of_all_weights(polytope):
    density = numbers(0.7, 0.2)
    benefit, scale, bias, stretch = packing.polytope_optimum(polytope, density)
    W = scale[:, None, None] * packing._stretched(POLYTOPES[polytope].vertices, stretch)
    W, b = W.requires_grad_(), bias[:, None].repeat(1, W.shape[2]).requires_grad_()
    loss = expected_loss(W, b, polytope_distribution(polytope, density))
    ignored = ignored_loss(1, density)
    torch.testing.assert_close(
        benefit, (W.shape[2] * ignored - loss.detach()) / (W.shape[1] * ignored), rtol=1e-9, atol=0
    )
    for slope in torch.autograd.grad(loss.sum(), (W, b)):
        assert slope.abs().max() < 1e-5


def test_square_antiprism_takes_its_best_angle():
    density = numbers(0.05)
    best = packing.polytope_optimum("square antiprism", density)
    assert best.benefit > 2.3221 + 0.01  # the benefit at the Thomson angle, and a margin
    polar = torch.atan2(
        *(
            packing._stretched(POLYTOPES["square antiprism"].vertices, best.stretch)[0, k, 0]
            for k in (0, 2)
        )
    )
    assert polar.rad2deg().item() == pytest.approx(58, abs=0.5)


def test_a_bipyramid_is_worth_its_digon_and_its_waist():
    """Features of different tegum factors do not interfere, so the loss is a sum."""
    density = numbers(0.3)
    parts = [0.9 * POLYTOPES["triangle"].vertices, 1.1 * POLYTOPES["digon"].vertices]
    bias = numbers(-0.1, -0.1, -0.1, 0.05, 0.05)
    losses = [
        expected_loss(W[None], b[None], FeatureDistribution(density[:, None], features=len(b)))
        for W, b in ((torch.block_diag(*parts), bias), (parts[0], bias[:3]), (parts[1], bias[3:]))
    ]
    torch.testing.assert_close(losses[0], losses[1] + losses[2], rtol=1e-12, atol=0)


@pytest.mark.usefixtures("unchecked")
def test_unknown_polytope_is_refused():
    with pytest.raises(
        ValueError,
        match=r"polytopes: expected names of dedicated dimension, .*, got \['dodecahedron'\]",
    ):
        packing.polytope_optimum("dodecahedron", numbers(0.1))


def test_product_of_copies():
    """Two triangles in five dimensions: one dimension stays empty, the last feature is ignored."""
    density = numbers(0.7, 0.5)
    optimum = packing.polytope_optimum("triangle", density)
    W, b = packing.product_of_copies("triangle", optimum, 7, 5, density)
    ignored = ignored_loss(1, density)
    loss = expected_loss(W, b, FeatureDistribution(density[:, None], features=7))
    torch.testing.assert_close((7 * ignored - loss) / (4 * ignored), optimum.benefit)
    assert [factor.polytope for factor in tegum_factors(W[0])] == ["triangle", "triangle"]


NEEDED = numbers(1, 3 / 2, 2)  # features per dimension of a dedicated one, triangles and digons


def test_with_features_enough_one_kind_takes_all_dimensions():
    shares, benefit = packing.best_mixture(NEEDED, numbers(1, 1, 1.2, 1, 1.1, 1.5).view(3, 2))
    assert shares.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert benefit.tolist() == [1.2, 1.5]


def test_few_features_are_shared_out():
    """Four features in three dimensions are a digon and two dedicated ones, or a tetrahedron."""
    needed, benefit = numbers(1, 4 / 3, 2), numbers(1, 1, 1.1, 1.2, 1.5, 1.5).view(3, 2)
    shares, benefit = packing.best_mixture(needed, benefit, 4 / 3)
    torch.testing.assert_close(shares, numbers(2 / 3, 0, 0, 1, 1 / 3, 0).view(3, 2))
    torch.testing.assert_close(benefit, numbers(3.5 / 3, 1.2))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(0.9, 3), min_size=4, max_size=4), st.floats(1, 5))
def test_no_mixture_beats_the_best(benefits, ratio):
    needed, values = numbers(1, 3 / 2, 2, 5 / 2, 8 / 3), numbers(1, *benefits)
    shares, benefit = packing.best_mixture(needed, values[:, None], ratio)
    shares = shares[:, 0]
    assert shares.sum() == pytest.approx(1) and (shares >= 0).all()
    assert shares @ needed <= ratio + 1e-9
    assert shares @ values == pytest.approx(benefit.item())
    tried = (
        torch.rand(
            2000, len(needed), generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        ** 4
    )
    tried /= tried.sum(dim=1, keepdim=True)
    allowed = tried @ needed <= ratio
    assert not allowed.any() or (tried[allowed] @ values).max() <= benefit.item() + 1e-9


@pytest.mark.usefixtures("unchecked")
def test_mixtures_without_a_solution_are_refused():
    with pytest.raises(ValueError, match=r"features_per_dimension: expected at least 1, got 0\.5"):
        packing.best_mixture(NEEDED, torch.ones(3, 1).double(), 0.5)
    with pytest.raises(ValueError, match="needed: expected a kind with one feature per dimension"):
        packing.best_mixture(NEEDED[1:], torch.ones(2, 1).double(), 1.2)


def test_ranges_end_where_benefits_cross():
    density = 1 / numbers(1, 2, 4)
    found = packing.leading_ranges(
        density, {"triangle": numbers(1.1, 1.2, 1.3), "digon": numbers(1.0, 1.1, 1.5)}
    )
    assert [name for name, _, _ in found] == ["triangle", "digon"]
    torch.testing.assert_close(numbers(*found[0][1:]), numbers(1, 2 * 2 ** (1 / 3)))
    assert found[1][1] == found[0][2] and found[1][2] == 4


def test_predicted_order_of_polytopes():
    """The paper's five come in the order of their dimensionality, between other polytopes."""
    inverse_density = torch.logspace(0.01, 1.3, 28, dtype=torch.float64)
    paper = (
        "4-simplex",
        "tetrahedron",
        "triangle",
        "digon",
        "pentagon",
        "square antiprism",
        "icosahedron",
        "hexagon",
    )
    optima = packing.polytope_optima(1 / inverse_density, paper, progress=False)
    found = packing.leading_ranges(
        1 / inverse_density, {name: optimum.benefit for name, optimum in optima.items()}
    )
    assert [name for name, _, _ in found] == list(paper[:-1])
    starts = numbers(*(low for _, low, _ in found[1:]))
    torch.testing.assert_close(
        starts, numbers(1.065, 1.25, 1.55, 4.45, 4.9, 11.03), rtol=0.02, atol=0
    )


def test_sampled_benefit_of_known_models():
    """Dedicated dimensions have a benefit of 1, and models that represent nothing one of 0."""
    distribution = FeatureDistribution(torch.tensor([[0.7], [0.2]]), features=4)
    W = torch.eye(3, 4).repeat(2, 1, 1)
    b = torch.tensor([[0, 0, 0, 0.35], [0, 0, 0, 0.1]])
    perfect = packing.sampled_benefit(ReLUOutputModel.from_weights(W, b), distribution)
    assert perfect.tolist() == pytest.approx([1, 1], rel=0.02)
    nothing = ReLUOutputModel.from_weights(0 * W, distribution.density.float() / 2)
    assert packing.sampled_benefit(nothing, distribution, rows=64).tolist() == [0, 0]


def test_logarithmic():
    assert packing.logarithmic(1, 16, 5) == (1, 2, 4, 8, 16)
    assert packing.logarithmic(1, 2, 3)[1] == 1.4142


def test_factors_are_assembled_side_by_side():
    W, b = packing.assembled(
        [(torch.full((1, 2), 2.0), numbers(-1, -2)), (numbers(3).view(1, 1), numbers(-3))],
        5,
        3,
        0.4,
    )
    assert W.tolist() == [[2, 2, 0, 0, 0], [0, 0, 3, 0, 0], [0, 0, 0, 0, 0]]
    assert b.tolist() == pytest.approx([-1, -2, -3, 0.2, 0.2])


def test_any_array_of_densities_will_do():
    strided = np.array([9.0, 0.2, 9.0, 0.5])[1::2]
    expected = packing.polytope_optimum("digon", numbers(0.2, 0.5))
    for density in (strided, [0.2, 0.5], (0.2, 0.5)):
        for values, same in zip(packing.polytope_optimum("digon", density), expected):
            assert torch.equal(values, same)
    assert packing.logarithmic(np.int64(1), np.float32(16), np.int64(5)) == (1, 2, 4, 8, 16)


@pytest.mark.usefixtures("unchecked")
def test_mixtures_need_a_benefit_of_each_kind():
    with pytest.raises(ValueError, match=r"benefit: expected one row for each of 3 kinds"):
        packing.best_mixture(NEEDED, torch.ones(2, 1).double())
