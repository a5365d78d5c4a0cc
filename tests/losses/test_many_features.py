"""The loss by Fourier series is that of the recursion, known by hand, and of samples."""

import pytest
import torch

from features import FeatureDistribution
from losses import many_features
from models import ReLUOutputModel
from theory.stationary import exact_gradient
from training import sampled_loss

INPUTS = {
    "independent": {"density": 0.05},
    "of different densities and importances": {
        "density": [[0.9, 0.5, 0.2, 0.1, 0.05, 0.02]], "importance": [[1.0, 0.5, 2.0, 0.1, 0.0, 1.0]],
    },
    "dense": {"density": 1.0},
    "correlated": {"density": 0.1, "set_size": 3, "correlation": "correlated"},
    "anticorrelated": {"density": 0.3, "set_size": 2, "correlation": "anticorrelated"},
}  # fmt: skip


def made(features, hidden, seed):
    generator = torch.Generator().manual_seed(seed)
    W = 0.6 * torch.randn(1, hidden, features, generator=generator, dtype=torch.float64)
    return W, 0.2 * torch.randn(1, features, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("seed", range(3))
def test_as_by_the_recursion(inputs, seed):
    W, b = made(6, 3, seed)
    distribution = FeatureDistribution(**inputs, features=6)
    expected, got = (
        exact_gradient(W, b, distribution),
        many_features.exact_gradient(W, b, distribution),
    )
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-7, atol=0)
    torch.testing.assert_close(got.vector, expected.vector, rtol=1e-4, atol=2e-5)


def test_a_model_of_nothing():
    """Without weights each output is its bias, here the mean: the loss is p/3 - p^2/4 of each feature."""
    p = 0.05
    b = torch.full((1, 30), p / 2, dtype=torch.float64)
    got = many_features.exact_gradient(
        torch.zeros(1, 2, 30, dtype=b.dtype), b, FeatureDistribution(p, features=30)
    )
    assert got.loss.item() == pytest.approx(30 * (p / 3 - p**2 / 4), rel=1e-9)
    assert got.norm.item() < 1e-5


def test_a_kept_feature_of_many():
    """One dedicated dimension among features that are ignored: that feature has no loss, and no other changes."""
    p = 0.1
    W, b = (
        torch.zeros(1, 1, 25, dtype=torch.float64),
        torch.full((1, 25), p / 2, dtype=torch.float64),
    )
    W[0, 0, 7], b[0, 7] = 1.0, 0.0
    got = many_features.exact_gradient(W, b, FeatureDistribution(p, features=25))
    assert got.loss.item() == pytest.approx(24 * (p / 3 - p**2 / 4), rel=1e-8)


def test_samples_agree():
    W, b = made(30, 6, 1)
    distribution = FeatureDistribution(0.05, features=30)
    model = ReLUOutputModel.from_weights(W, b)
    losses = torch.cat(
        [sampled_loss(model, distribution, rows=2**12, seed=seed) for seed in range(16)]
    )
    error = losses.std() / 4
    assert abs(losses.mean() - many_features.exact_gradient(W, b, distribution).loss) < 5 * error


def test_what_is_refused():
    W, b = made(4, 2, 0)
    for distribution in (
        FeatureDistribution(0.1, features=4, signed=True),
        FeatureDistribution(0.1, features=5),
    ):
        with pytest.raises(ValueError, match="distribution: expected"):
            many_features.exact_gradient(W, b, distribution)
