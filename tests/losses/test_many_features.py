"""The loss of many features is that of the closed form, of models known by hand, and of samples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features import FeatureDistribution
from losses import expected_loss, many_features_loss
from losses.gradient import descent_gradient, exact_gradient, exact_loss, joined
from models import ReLUOutputModel
from training import sampled_loss

SETS = {
    "correlated": {"set_size": 3, "correlation": "correlated"},
    "anticorrelated": {"set_size": 2, "correlation": "anticorrelated"},
}


def random_model(instances, features, hidden, seed, size=0.6):
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(instances, hidden, features, generator=generator, dtype=torch.float64)
    b = torch.randn(instances, features, generator=generator, dtype=torch.float64)
    return size * W, 0.2 * b


def loss_and_gradient(loss, W, b, distribution, **how):
    W = W.clone().requires_grad_()
    b = b.clone().requires_grad_()
    value = loss(W, b, distribution, **how)
    return value.detach(), joined(*torch.autograd.grad(value.sum(), (W, b)))


def ignored(density):
    """The loss of a feature whose output is its mean."""
    return density / 3 - density**2 / 4


def assert_as_by_the_closed_form(W, b, distribution, tolerance=1e-9):
    loss, gradient = loss_and_gradient(many_features_loss, W, b, distribution, tolerance=tolerance)
    expected, slope = loss_and_gradient(expected_loss, W, b, distribution)
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=0, atol=100 * tolerance)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    features=st.integers(2, 7),
    hidden=st.integers(1, 4),
    density=st.sampled_from([0.02, 0.1, 0.3, 0.5, 0.77, 0.9, 1.0]),
    size=st.sampled_from([1e-5, 1e-2, 0.3, 0.6, 2.0]),
)
def test_independent_features(seed, features, hidden, density, size):
    W, b = random_model(2, features, hidden, seed, size)
    assert_as_by_the_closed_form(W, b, FeatureDistribution(density, features=features, instances=2))


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(sorted(SETS)),
    density=st.sampled_from([0.3, 0.5, 0.9]),
)
def test_features_in_sets(seed, kind, density):
    W, b = random_model(1, 6, 3, seed)
    distribution = FeatureDistribution(density, features=6, **SETS[kind])
    assert_as_by_the_closed_form(W, b, distribution, tolerance=1e-7)


def test_different_densities_and_importances():
    W, b = random_model(2, 6, 3, 0)
    density = [[0.9, 0.5, 0.2, 0.1, 0.05, 0.02], [1.0, 0.0, 0.3, 0.3, 0.9, 0.9]]
    importance = [[1.0, 0.5, 2.0, 0.1, 0.0, 1.0]]
    assert_as_by_the_closed_form(W, b, FeatureDistribution(density, importance))


def test_weights_of_zero():
    """Each output is its bias, cut off at 0. At a bias of 0 itself the loss has a kink."""
    p = 0.3
    W = torch.zeros(3, 2, 5, dtype=torch.float64)
    b = torch.tensor([[0.2], [0.0], [-0.2]], dtype=torch.float64).expand(3, 5)
    distribution = FeatureDistribution(p, features=5, instances=3)
    loss, gradient = loss_and_gradient(many_features_loss, W, b, distribution)
    known = [5 * (p / 3 - p * output + output**2) for output in (0.2, 0.0, 0.0)]
    assert loss.tolist() == pytest.approx(known, rel=1e-12)
    assert gradient[0, -5:].tolist() == pytest.approx([2 * 0.2 - p] * 5, rel=1e-12)
    assert gradient[2].abs().max() < 1e-12


def test_a_model_of_nothing():
    """Without weights each output is its bias, here the mean: the loss is p/3 - p^2/4 each."""
    p = 0.05
    W = torch.zeros(1, 2, 30, dtype=torch.float64)
    b = torch.full((1, 30), p / 2, dtype=torch.float64)
    found = exact_gradient(W, b, FeatureDistribution(p, features=30))
    assert found.loss.item() == pytest.approx(30 * ignored(p), rel=1e-12)
    assert found.norm.item() < 1e-12


def test_a_kept_feature_of_many():
    """A feature with a dimension of its own has no loss, and the ignored ones are as they were."""
    p = 0.1
    W = torch.zeros(1, 1, 25, dtype=torch.float64)
    W[0, 0, 7] = 1.0
    b = torch.full((1, 25), p / 2, dtype=torch.float64)
    b[0, 7] = 0.0
    loss = many_features_loss(W, b, FeatureDistribution(p, features=25))
    assert loss.item() == pytest.approx(24 * ignored(p), rel=1e-9)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_antipodal_pairs_among_many_features(noise):
    """Five pairs have five times the loss of one pair, and the ignored features have theirs."""
    p = 0.45
    b_pair = torch.full((1, 2), -0.05, dtype=torch.float64)
    W_pair = torch.tensor([[[1.0, -0.9]]], dtype=torch.float64)
    W = torch.zeros(1, 5, 40, dtype=torch.float64)
    for k in range(5):
        W[0, k, 2 * k : 2 * k + 2] = W_pair
    W += noise * random_model(1, 40, 5, 0)[0]
    b = torch.full((1, 40), p / 2, dtype=torch.float64)
    b[:, :10] = -0.05
    pair = expected_loss(W_pair, b_pair, FeatureDistribution(p, features=2)).item()
    loss = many_features_loss(W, b, FeatureDistribution(p, features=40)).item()
    assert loss == pytest.approx(5 * pair + 30 * ignored(p), rel=1e-9 + 10 * noise)


@pytest.mark.parametrize("density", [0.3, 0.7, 1.0])
def test_a_tighter_tolerance_agrees(density):
    W, b = random_model(1, 40, 6, 1, size=0.2)
    distribution = FeatureDistribution(density, features=40)
    loss, gradient = loss_and_gradient(many_features_loss, W, b, distribution, tolerance=1e-8)
    best, slope = loss_and_gradient(many_features_loss, W, b, distribution, tolerance=1e-12)
    torch.testing.assert_close(loss, best, rtol=1e-8, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-6)


def test_gradient_is_that_of_differences():
    W, b = random_model(1, 30, 4, 2, size=0.3)
    distribution = FeatureDistribution(0.4, features=30)
    direction, bias_direction = random_model(1, 30, 4, 3)
    step = 1e-4

    def loss(sign):
        moved = W + sign * step * direction, b + sign * step * bias_direction
        return many_features_loss(*moved, distribution, tolerance=1e-12).item()

    found = exact_gradient(W, b, distribution, tolerance=1e-12)
    slope = (found.vector * joined(direction, bias_direction)).sum().item()
    assert (loss(1) - loss(-1)) / (2 * step) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize(
    "features, inputs",
    [
        (30, {}),
        (400, {}),
        (30, {"set_size": 3, "correlation": "correlated"}),
        (30, {"set_size": 5, "correlation": "anticorrelated"}),
    ],
)
def test_samples_agree(features, inputs):
    W, b = random_model(1, features, 6, 1, size=0.3)
    distribution = FeatureDistribution(0.3, features=features, **inputs)
    model = ReLUOutputModel.from_weights(W, b)
    losses = [sampled_loss(model, distribution, rows=2**12, seed=seed) for seed in range(16)]
    losses = torch.cat(losses)
    error = losses.std() / len(losses) ** 0.5
    loss = many_features_loss(W, b, distribution, tolerance=1e-6)
    assert abs(losses.mean() - loss) < 5 * error


def test_instances_do_not_see_each_other():
    W, b = random_model(3, 20, 3, 0)
    distribution = FeatureDistribution([[0.3], [0.6], [0.9]], features=20)
    loss, gradient = loss_and_gradient(many_features_loss, W, b, distribution)
    for k in range(3):
        alone = loss_and_gradient(many_features_loss, W[[k]], b[[k]], distribution.select([k]))
        torch.testing.assert_close(loss[[k]], alone[0], rtol=1e-11, atol=0)
        torch.testing.assert_close(gradient[[k]], alone[1], rtol=0, atol=1e-8)


def test_gradient_has_the_dtype_of_the_weights():
    W, b = random_model(1, 14, 3, 0)
    W = W.float().requires_grad_()
    loss = many_features_loss(W, b.float(), FeatureDistribution(0.5, features=14))
    assert loss.dtype == torch.float64
    (2 * loss).sum().backward()
    once = exact_gradient(W, b.float(), FeatureDistribution(0.5, features=14)).W
    torch.testing.assert_close(W.grad, 2 * once.float())


def test_gradients_for_descents():
    """Few and many features are served, and NaN in the weights spoils one instance alone."""
    for features in (5, 14):
        W, b = random_model(3, features, 2, 0)
        distribution = FeatureDistribution(0.5, features=features, instances=3)
        W_gradient = torch.empty_like(W)
        b_gradient = torch.empty_like(b)
        expected = exact_gradient(W, b, distribution)
        torch.testing.assert_close(exact_loss(W, b, distribution), expected.loss)
        W[1, 0, 0] = torch.nan
        descent_gradient(distribution).into(W, b, W_gradient, b_gradient)
        for k in (0, 2):
            torch.testing.assert_close(W_gradient[k], expected.W[k], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(b_gradient[k], expected.b[k], rtol=1e-4, atol=1e-5)
        assert not joined(W_gradient, b_gradient)[1].isfinite().all()


@pytest.mark.parametrize(
    "distribution",
    [
        FeatureDistribution(0.1, features=4, signed=True),
        FeatureDistribution(0.1, features=5),
        FeatureDistribution(0.1, features=4, instances=2),
    ],
)
def test_distributions_that_are_refused(distribution):
    W, b = random_model(1, 4, 2, 0)
    with pytest.raises(ValueError, match="expected"):
        many_features_loss(W, b, distribution)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("tolerance", [0, -1.0, 1e-20, 1.0, float("nan"), "low", None])
def test_tolerances_that_are_refused(tolerance):
    W, b = random_model(1, 4, 2, 0)
    with pytest.raises(ValueError, match="tolerance: expected"):
        many_features_loss(W, b, FeatureDistribution(0.1, features=4), tolerance=tolerance)


def test_a_tolerance_that_takes_too_many_terms():
    W, b = random_model(1, 20, 3, 0)
    with pytest.raises(
        ValueError, match="tolerance: expected one that 8,192 terms reach, got 1e-12"
    ):
        many_features_loss(W, b, FeatureDistribution(0.01, features=20), tolerance=1e-12)
