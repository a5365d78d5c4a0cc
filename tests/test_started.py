"""Models that start as polytopes: what a short run returns, and which of them still are what they were."""

import pytest
import torch

from experiments import started
from experiments.started import Result, Settings, run
from polytopes import PAPER_POLYTOPES, tegum_factors


def ideal():
    """Where the ideal sweep has tetrahedra and pentagons these are best, and all models save what is predicted."""
    inverse_density = torch.logspace(0, 1.3, 12, dtype=torch.float64)[[3, 9]]
    benefit = torch.tensor([[1.5, 1.2, 1.1, 1.1, 1.1], [1.0, 1.1, 1.2, 1.5, 1.3]], dtype=torch.float64)
    return Result(inverse_density, torch.zeros(2, 5, 6, 18), benefit, benefit.clone())


def test_the_best_is_one_that_kept_its_polytope():
    result = ideal()
    assert started.best(result) == ["tetrahedron", "pentagon"]
    result.benefit[1, 2] = 1.6  # saves most, but not what digons should: no longer digons
    assert started.best(result) == ["tetrahedron", "pentagon"]
    result.predicted[1, 2] = 1.59
    assert started.best(result) == ["tetrahedron", "digon"]


def test_run():
    settings = Settings(inverse_density=(3.0, 1.8), features=30, hidden=6, steps=5, noise=0.01)
    result = run(settings, progress=False)
    assert result.inverse_density.tolist() == [3, 1.8]
    assert result.W.shape == (2, 5, 6, 30) and result.benefit.shape == result.predicted.shape == (2, 5)
    for k, polytope in enumerate(PAPER_POLYTOPES):  # hardly moved from where they started
        assert {factor.polytope for factor in tegum_factors(result.W[0, k])} == {polytope}
    torch.testing.assert_close(result.benefit, result.predicted, rtol=0.03, atol=0)
    again, other = (run(settings, seed=seed, progress=False) for seed in (0, 1))
    assert torch.equal(again.W, result.W) and not torch.equal(other.W, result.W)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "bad, message",
    [
        ({"noise": -1.0}, r"noise \(unless 0\): expected a finite number above 0, got -1.0"),
        ({"noise": float("nan")}, r"noise \(unless 0\): expected a finite number above 0, got nan"),
        ({"steps": 0}, "steps: expected"),
        ({"lr": 0.0}, "lr: expected"),
        ({"hidden": -2}, "hidden: expected"),
    ],
)
def test_bad_settings_are_refused_at_once(bad, message):
    with pytest.raises(ValueError, match=message):
        Settings(**bad)
