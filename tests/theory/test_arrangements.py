"""Best arrangements against the catalogue of polytopes and what an optimum must fulfil."""

import pytest
import torch

from features import FeatureDistribution
from losses.exact import expected_loss
from theory import arrangements, packing
from theory.descents import ignored_loss
from theory.polytopes import POLYTOPES, tegum_factors


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


DENSITY = 1 / numbers(1.2, 1.3, 1.5, 2, 3.5, 4.6, 5, 6, 8)
# Where in DENSITY a polytope is the best of its number of features and dimensions.
LEADS = {
    "digon": slice(2, None),
    "triangle": slice(0, 3),
    "tetrahedron": slice(0, 3),
    "pentagon": slice(5, None),
}


@pytest.fixture(scope="module")
def found_by_size():
    """Return the best arrangement at each density by (features, dimensions)."""
    sizes = (2, 1), (3, 2), (4, 3), (4, 2), (5, 2), (5, 3)
    return {size: arrangements.best_arrangement(*size, DENSITY, progress=False) for size in sizes}


@pytest.mark.parametrize("polytope", LEADS)
def test_polytopes_are_the_best_where_they_lead(found_by_size, polytope):
    dimensions, features = POLYTOPES[polytope].vertices.shape
    where, found = LEADS[polytope], found_by_size[features, dimensions]
    expected = packing.polytope_optimum(polytope, DENSITY).benefit[where]
    torch.testing.assert_close(found.benefit[where], expected, rtol=0, atol=1e-6)
    for W in found.W[where]:
        assert [factor.polytope for factor in tegum_factors(W)] == [polytope]


def test_the_square_antiprism_is_found_from_random_weights():
    density = numbers(1 / 5.5)
    found = arrangements.best_arrangement(8, 3, density, progress=False)
    expected = packing.polytope_optimum("square antiprism", density).benefit
    torch.testing.assert_close(found.benefit, expected, rtol=0, atol=1e-6)
    assert [factor.polytope for factor in tegum_factors(found.W[0])] == ["square antiprism"]
    assert found.share > 0.2


def test_no_arrangement_is_worse_than_products_of_the_catalogue(found_by_size):
    for (features, dimensions), found in found_by_size.items():
        for name, polytope in POLYTOPES.items():
            if polytope.vertices.shape[0] <= dimensions and polytope.vertices.shape[1] <= features:
                optimum = packing.polytope_optimum(name, DENSITY)
                W, b = packing.product_of_copies(name, optimum, features, dimensions, DENSITY)
                loss = expected_loss(W, b, FeatureDistribution(DENSITY[:, None], features=features))
                above = (loss - found.loss) / (dimensions * ignored_loss(1, DENSITY))
                assert above.min() > -1e-6
    digon_and_triangle = found_by_size[2, 1].benefit + 2 * found_by_size[3, 2].benefit
    assert (3 * found_by_size[5, 3].benefit - digon_and_triangle).min() > -1e-6


def test_arrangements_are_settled_and_what_they_say(found_by_size):
    found = found_by_size[5, 3]
    W, b = found.W.clone().requires_grad_(), found.b.clone().requires_grad_()
    loss = expected_loss(W, b, FeatureDistribution(DENSITY[:, None], features=5))
    torch.testing.assert_close(loss.detach(), found.loss, rtol=1e-12, atol=0)
    ignored = ignored_loss(1, DENSITY)
    torch.testing.assert_close(found.benefit, (5 * ignored - found.loss) / (3 * ignored))
    for slope in torch.autograd.grad(loss.sum(), (W, b)):
        assert slope.abs().max() < 1e-4
    assert ((found.share >= 0) & (found.share <= 1)).all() and found.share[4] > 0.5
    for values, again in zip(found, arrangements.best_arrangement(5, 3, DENSITY, progress=False)):
        assert torch.equal(values, again)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "bad, message",
    [
        ((1, 2, [0.1]), "features: expected 2 to 12, got 1"),
        ((13, 2, [0.1]), "features: expected 2 to 12, got 13"),
        ((2, 0, [0.1]), "dimensions: expected a whole number of at least 1, got 0"),
        ((2.5, 1, [0.1]), "features: expected a whole number"),
        ((2, 1, [0.0]), "density: expected"),
        ((2, 1, []), "density: expected"),
        ((2, 1, [1.5]), "density: expected"),
    ],
)
def test_impossible_arrangements_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        arrangements.best_arrangement(*bad)
