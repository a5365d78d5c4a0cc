"""The exact optimum over the paper's grid: what a short run returns."""

import pytest
import torch

from experiments.section3 import exact_optimum
from experiments.section3.exact_optimum import QUICK, Settings, run
from losses.exact import expected_loss
from theory.phases import grid, grid_distribution, named_losses


@pytest.mark.parametrize("features", [2, 3])
def test_run(features):
    """The losses are those of the weights, and below the named solutions'."""
    result = run(Settings(features, points=3), progress=False)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(result, grid(3)))
    assert result.W.shape == (9, features - 1, features) and result.b.shape == (9, features)
    distribution = grid_distribution(features, result.density, result.ratio)
    torch.testing.assert_close(
        expected_loss(result.W, result.b, distribution), result.loss, rtol=1e-12, atol=0
    )
    assert (
        result.loss[:, None] <= named_losses(features, result.density, result.ratio) * (1 + 1e-4)
    ).all()


def test_no_chance_is_involved():
    assert exact_optimum.SEEDED is False
    first, other = (run(Settings(3, points=1), seed=seed, progress=False) for seed in (0, 1))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, other))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("setting", [{"features": 4}, {"points": 0}, {"points": 1.5}], ids=str)
def test_bad_settings_are_refused(setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))}: expected"):
        run(Settings(**setting), progress=False)


def test_quick_is_smaller():
    assert QUICK.points < Settings().points
