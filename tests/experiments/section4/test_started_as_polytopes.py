"""Models that start as polytopes: a short run, and which of them keep their polytope."""

from dataclasses import replace

import pytest
import torch

from experiments.section4 import started_as_polytopes
from experiments.section4.started_as_polytopes import Result, Settings, run
from theory.packing import polytope_optima
from theory.polytopes import PAPER_POLYTOPES, POLYTOPES, tegum_factors


def product(polytope):
    """Six hidden dimensions full of a polytope: (6, 18)."""
    vertices = POLYTOPES[polytope].vertices
    W = torch.block_diag(*[vertices] * (6 // len(vertices)))
    return torch.nn.functional.pad(W, (0, 18 - W.shape[1]))


def ideal():
    """Each polytope is best where the ideal sweep has it, and all models kept theirs."""
    inverse_density = torch.logspace(0, 1.3, 12, dtype=torch.float64)[[3, 9]]
    benefit = torch.tensor(
        [[1.5, 1.2, 1.1, 1.1, 1.1], [1.0, 1.1, 1.2, 1.5, 1.3]], dtype=torch.float64
    )
    W = torch.stack([product(polytope) for polytope in PAPER_POLYTOPES])
    return Result(inverse_density, W.repeat(2, 1, 1, 1), benefit)


def test_the_best_is_one_that_kept_its_polytope():
    result = ideal()
    assert started_as_polytopes.kept(result).all() and started_as_polytopes.best(result) == [
        "tetrahedron",
        "pentagon",
    ]
    result.benefit[1, 2] = 1.6
    assert started_as_polytopes.best(result) == ["tetrahedron", "digon"]
    result.W[1, 2] = product("triangle")  # saves most, but is no longer made of digons
    assert started_as_polytopes.kept(result).sum() == 9 and started_as_polytopes.best(result) == [
        "tetrahedron",
        "pentagon",
    ]


def test_where_none_kept_its_polytope_none_is_best():
    result = ideal()
    result.W[0] = torch.randn(5, 6, 18, generator=torch.manual_seed(0), dtype=torch.float64)
    assert started_as_polytopes.best(result) == [None, "pentagon"]


@pytest.mark.parametrize("digons, kept", [(4, ["digon"]), (3, []), (2, ["triangle"])])
def test_more_than_half_of_the_features_are_in_a_kept_polytope(digons, kept):
    """Digons beside two triangles, of six features."""
    W = torch.block_diag(
        *[POLYTOPES["digon"].vertices] * digons, *[POLYTOPES["triangle"].vertices] * 2
    )
    result = ideal()._replace(W=W.expand(2, 5, *W.shape))
    assert [
        name for name, was in zip(PAPER_POLYTOPES, started_as_polytopes.kept(result)[0]) if was
    ] == kept


def test_run():
    settings = Settings(inverse_density=(3.0, 1.8), features=30, hidden=6, steps=5, noise=0.01)
    result = run(settings, progress=False)
    assert result.inverse_density.tolist() == [3, 1.8]
    assert result.W.shape == (2, 5, 6, 30) and result.benefit.shape == (2, 5)
    for k, polytope in enumerate(PAPER_POLYTOPES):  # hardly moved from where they started
        assert {factor.polytope for factor in tegum_factors(result.W[0, k])} == {polytope}
    optima = polytope_optima(1 / result.inverse_density, PAPER_POLYTOPES, progress=False)
    predicted = torch.stack([optimum.benefit for optimum in optima.values()], dim=1)
    torch.testing.assert_close(result.benefit, predicted, rtol=0.03, atol=0)
    again, other = (run(settings, seed=seed, progress=False) for seed in (0, 1))
    assert torch.equal(again.W, result.W) and not torch.equal(other.W, result.W)


def test_benefits_are_measured_on_rows_of_the_seed(monkeypatch):
    seeds = []

    def measured(model, distribution, *, seed, **rows):
        seeds.append(seed)
        return torch.zeros(model.instances, dtype=torch.float64)

    monkeypatch.setattr(started_as_polytopes, "sampled_benefit", measured)
    settings = replace(started_as_polytopes.QUICK, inverse_density=(3.0,), steps=1)
    started_as_polytopes.run(settings, seed=7, progress=False)
    assert seeds == [7]
