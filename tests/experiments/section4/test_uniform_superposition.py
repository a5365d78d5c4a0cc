"""Uniform superposition: a short run, and sweeps of known polytopes, ideal and broken."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

import Section4main as section4
from experiments.section4 import uniform_superposition
from experiments.section4.predicted_polytopes import Window
from experiments.section4.uniform_superposition import Result, longest_range, run
from geometry import dimensions_per_feature
from theory.polytopes import PAPER_POLYTOPES, POLYTOPES, peaks


def product(*names, features=18):
    """W (6, features) of polytopes in spaces of their own, features without weights after them."""
    W = torch.block_diag(*(POLYTOPES[name].vertices for name in names))
    return torch.nn.functional.pad(W, (0, features - W.shape[1], 0, 6 - W.shape[0]))


DEDICATED, DIGONS = product(*["dedicated dimension"] * 6), product(*["digon"] * 6)
SWEEP = [  # as the paper has it, from dense to sparse
    *[DEDICATED] * 3,
    product("tetrahedron", "tetrahedron"),
    product("triangle", "triangle", "triangle"),
    *[DIGONS] * 4,
    product("pentagon", "pentagon", "pentagon"),
    product("square antiprism", "square antiprism"),
    product("digon", "pentagon", "square antiprism"),
]


def sweep(W):
    """The Result of one model at each density."""
    inverse_density = torch.logspace(0, 1.3, len(W), dtype=torch.float64)
    return Result(
        inverse_density, torch.tensor(100), torch.stack(W)[:, None], torch.ones(len(W), 1)
    )


def searches(found=PAPER_POLYTOPES):
    """A Result of ten models for each polytope, in which it is found or not."""
    results = []
    for polytope in PAPER_POLYTOPES:
        W = product(polytope, "digon") if polytope in found else DEDICATED
        results.append(
            Result(torch.ones(1), torch.tensor(100), W.repeat(1, 10, 1, 1), torch.ones(1, 10))
        )
    return tuple(results)


def random_weights(W):
    return torch.randn(W.shape, generator=torch.manual_seed(0), dtype=W.dtype)


BROKEN = {  # weights at each density -> claims that refuse them
    "digons only": ([DIGONS] * 12, ["4.1", "4.3"]),
    "no plateau of digons": (SWEEP[:5] + [SWEEP[9]] * 6 + SWEEP[5:6] + SWEEP[10:], ["4.1"]),
    "no tetrahedra": ([W for k, W in enumerate(SWEEP) if k != 3], []),
    "a dimension unused": ([*SWEEP[:11], product("digon", "pentagon")], ["4.4"]),
    "no polytopes": ([random_weights(W) for W in SWEEP], ["4.1", "4.3", "4.4"]),
}


def failing(result):
    of_sweep = (
        section4.claim_sticky(result),
        section4.claim_tegum(result),
        section4.claim_packing(result),
    )
    return [claim.id for claim in of_sweep if not claim.holds]


def test_claims_hold_on_an_ideal_sweep():
    assert failing(sweep(SWEEP)) == []


@pytest.mark.parametrize("W, expected", BROKEN.values(), ids=BROKEN)
def test_claims_refuse_broken_sweeps(W, expected):
    assert failing(sweep(W)) == expected


def test_numbers_of_a_sweep():
    at = sweep(SWEEP).inverse_density.tolist()
    assert section4.claim_sticky(sweep(SWEEP)).numbers == {
        "100 steps: D* within 3% of 1, densities": 3,
        "100 steps: D* within 3% of 1 from 1/(1-S)": at[0],
        "100 steps: D* within 3% of 1 to": at[2],
        "100 steps: D* within 3% of 1/2, densities": 4,
        "100 steps: D* within 3% of 1/2 from 1/(1-S)": at[5],
        "100 steps: D* within 3% of 1/2 to": at[8],
    }
    assert section4.claim_packing(sweep(SWEEP)).numbers[
        "100 steps: lowest sum over m"
    ] == pytest.approx(1, abs=0.01)
    unlocated = section4.claim_tegum(sweep([random_weights(W) for W in SWEEP])).numbers
    assert list(unlocated.values()) == [0]  # what was not located is left out


STICKY = {  # D* at each density -> whether it sticks at both levels
    "plateaus at both": ([1.0, 1.0, 0.99, 0.7, 0.52, 0.51, 0.5, 0.495, 0.3], True),
    "within 3%": ([1.02, 0.98, 0.975, 0.7, 0.51, 0.49, 0.488, 0.4, 0.3], True),
    "not within 3%": ([1.04, 0.96, 1.0, 0.7, 0.52, 0.48, 0.52, 0.48, 0.3], False),
    "a plateau at 1 only": ([1.0, 1.0, 1.0, 0.7, 0.6, 0.55, 0.45, 0.4, 0.3], False),
    "a plateau at 1/2 only": ([1.0, 0.9, 0.8, 0.7, 0.5, 0.5, 0.5, 0.4, 0.3], False),
    "interrupted": ([1.0, 1.0, 1.0, 0.5, 0.7, 0.5, 0.7, 0.5, 0.3], False),
}


@pytest.mark.parametrize("per_feature, holds", STICKY.values(), ids=STICKY)
def test_sticky(per_feature, holds):
    W = [
        torch.eye(2, dtype=torch.float64) / value**0.5 for value in per_feature
    ]  # neighbours are 1.45 apart
    assert section4.claim_sticky(sweep(W)).holds == holds


@pytest.mark.parametrize(
    "chosen, expected",
    [
        ("......", None),
        ("xxxxxx", (1, 6)),
        (".xx...", (2, 3)),
        ("x..xxx", (4, 6)),
        ("xx.xxx", (1, 2)),  # longest by ratio, as on a logarithmic axis
        ("....xx", (5, 6)),
    ],
)
def test_longest_range(chosen, expected):
    inverse_density = torch.arange(1.0, 7)
    assert (
        longest_range(inverse_density, torch.tensor([mark == "x" for mark in chosen])) == expected
    )


def test_shares_and_ranges():
    result = sweep(SWEEP)
    shares = uniform_superposition.shares(result)
    assert shares["tetrahedron"].tolist() == [0] * 3 + [1] + [0] * 8
    assert shares["digon"].tolist() == pytest.approx([0] * 5 + [1] * 4 + [0, 0, 2 / 15])
    assert sum(shares.values()).tolist() == pytest.approx([1] * 12)
    ranges = uniform_superposition.ranges_with(result)
    at = result.inverse_density.tolist()
    assert ranges["dedicated dimension"] == (at[0], at[2])
    assert ranges["digon"] == (at[5], at[11])
    assert "irregular" not in ranges
    assert uniform_superposition.centre(result, "tetrahedron") == pytest.approx(at[3])
    assert uniform_superposition.centre(result, "dedicated dimension") == pytest.approx(at[1])
    assert uniform_superposition.centre(result, "cube") is None


def test_shares_are_over_all_restarts():
    """A dedicated dimension in one model and two digons in another: five features."""
    W = torch.stack([product("dedicated dimension"), product("digon", "digon")])[None]
    shares = uniform_superposition.shares(
        Result(torch.ones(1), torch.tensor(1), W, torch.ones(1, 2))
    )
    assert {name: share.tolist() for name, share in shares.items()} == {
        "dedicated dimension": [0.2], "digon": [0.8]
    }  # fmt: skip


def test_nothing_represented_is_no_peak():
    assert (
        set(peaks(0 * DIGONS[None]).values()) == {0}
        and uniform_superposition.shares(sweep([0 * DIGONS])) == {}
    )


def test_largest_shares_in_a_range():
    result = sweep(SWEEP)
    at = result.inverse_density.tolist()
    held = uniform_superposition.largest_shares(result, (at[4], at[9]))
    assert {name: share for name, share in held.items() if share} == {
        "triangle": 1,
        "digon": 1,
        "pentagon": 1,
    }
    assert uniform_superposition.largest_shares(result, None) == {}


def test_a_search_counts_models():
    results = searches()
    claim = section4.claim_found(results)
    assert claim.holds and set(claim.numbers.values()) == {1, 10}
    results[3].W[0, :3] = DIGONS
    claim = section4.claim_found(results)
    assert not claim.holds and claim.numbers["pentagon: share of models"] == 0.7
    results[3].W[0, :1] = product("pentagon")
    assert section4.claim_found(results).holds
    assert not section4.claim_found(searches(PAPER_POLYTOPES[1:])).holds


# The run


@pytest.fixture(scope="module")
def quick():
    return run(uniform_superposition.QUICK, progress=False)


def test_run(quick):
    assert (
        quick.inverse_density.tolist() == list(uniform_superposition.QUICK.inverse_density)
        and quick.steps == 400
    )
    assert quick.W.shape == (8, 1, 10, 60) and quick.benefit.shape == (8, 1)
    assert (quick.benefit < 6).all() and (
        quick.benefit[1:] > 0.5
    ).all()  # perfect models save all: n/m
    per_feature = dimensions_per_feature(quick.W[:, 0])
    assert per_feature[-1] < 0.6 * per_feature[0]


def test_run_is_a_function_of_settings_and_seed():
    settings = uniform_superposition.QUICK_SEARCHES[0]
    settings = replace(settings, steps=5)
    first, again, other = (run(settings, seed=seed, progress=False) for seed in (3, 3, 4))
    assert (
        first.W.shape == (1, 2, 9, 24)
        and torch.equal(first.W, again.W)
        and torch.equal(first.benefit, again.benefit)
    )
    assert not torch.equal(first.W, other.W) and not torch.equal(first.W[:, 0], first.W[:, 1])


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_sweep_in_parts_is_the_sweep(monkeypatch, restarts):
    settings = replace(
        uniform_superposition.QUICK, features=20, hidden=5, restarts=restarts, steps=20
    )
    monkeypatch.setattr(uniform_superposition, "NUMBERS_PER_CELL", 3.9 * restarts * 20 * 128 * 20)
    parts = uniform_superposition.shards(settings)
    assert [len(part.inverse_density) for part in parts] == [3, 3, 2] and [
        part.first for part in parts
    ] == [0, 3, 6]
    whole, joined = (
        run(settings, progress=False),
        uniform_superposition.joined([run(part, progress=False) for part in parts]),
    )
    for one, other in zip(whole, joined):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    assert uniform_superposition.shards(parts[1]) == [parts[1]]


def test_no_density_is_trained_by_itself():
    parts = uniform_superposition.shards(uniform_superposition.TEN_TIMES_LONGER)
    assert [len(part.inverse_density) for part in parts] == [2, 2, 2, 2]
    assert [part.first for part in parts] == [0, 2, 4, 6]


def test_settings_of_the_section():
    assert (
        len(uniform_superposition.SEARCHES)
        == len(uniform_superposition.QUICK_SEARCHES)
        == len(PAPER_POLYTOPES)
    )
    assert {settings.restarts for settings in uniform_superposition.SEARCHES} == {10}


# The figure

WINDOWS = [
    Window("tetrahedron", 1.0, 1.5, 3 / 4),
    Window("4-simplex", 1.5, 3.0, 4 / 5),
    Window("digon", 3.0, 30.0, 1 / 2),
]


def test_figure_shows_dimensions_per_feature_and_names_factors():
    result = sweep(SWEEP)
    predicted = result.inverse_density, 0.5 / result.inverse_density
    figure = drawn(uniform_superposition.figure, result, WINDOWS, predicted)
    curve, scatter, areas, *graphs = figure.axes
    trained, of_prediction = curve.lines
    assert trained.get_xdata() == pytest.approx(result.inverse_density.numpy())
    assert trained.get_ydata() == pytest.approx(dimensions_per_feature(result.W[:, 0]).numpy())
    assert of_prediction.get_ydata() == pytest.approx(predicted[1].numpy())
    stairs = [
        (*line.get_xdata(), line.get_ydata()[0])
        for line in scatter.lines
        if line.get_linewidth() == 7
    ]
    assert stairs == [(1, 1.5, 3 / 4), (1.5, 3, 4 / 5), (3, 30, 1 / 2)]
    assert "4-simplex" in [text.get_text() for text in scatter.texts]
    assert areas.get_xlim() == pytest.approx((1, 10**1.3))
    nearest = [
        (result.inverse_density.log() - torch.tensor(x).log()).abs().argmin()
        for x in uniform_superposition.SHOWN
    ]
    assert [ax.get_title().splitlines()[0] for ax in graphs] == [
        f"$1/(1-S)={result.inverse_density[k]:.2f}$" for k in nearest
    ]
    assert [ax.get_title().splitlines()[1:] for ax in graphs[2:4]] == [
        ["3 × triangle"],
        ["6 × digon"],
    ]


def test_figure_of_a_run(quick):
    drawn(
        uniform_superposition.figure,
        quick,
        WINDOWS,
        (quick.inverse_density, 1 / quick.inverse_density),
    )


def test_benefits_are_measured_on_rows_of_the_seed(monkeypatch):
    seeds = []

    def measured(model, distribution, *, seed, **rows):
        seeds.append(seed)
        return torch.zeros(model.instances, dtype=torch.float64)

    monkeypatch.setattr(uniform_superposition, "sampled_benefit", measured)
    settings = replace(uniform_superposition.QUICK, inverse_density=(3.0,), steps=1)
    uniform_superposition.run(settings, seed=7, progress=False)
    assert seeds == [7]
