"""Uniform superposition: a short run, and sweeps of known polytopes, ideal and broken."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

from experiments.section4 import dense_minima, uniform_superposition
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


# D* at densities 1, 1/2, 1/3, ... -> inverses of those between which it sticks at 1, and at 1/2.
STICKY = {
    "plateaus at both": ([1.0, 1.0, 0.99, 0.7, 0.52, 0.51, 0.5, 0.495, 0.3], (1, 3), (6, 8)),
    "within 3%": ([1.02, 0.98, 0.975, 0.7, 0.51, 0.49, 0.488, 0.4, 0.3], (1, 3), (5, 7)),
    "not within 3%": ([1.04, 0.96, 1.0, 0.7, 0.52, 0.48, 0.52, 0.48, 0.3], (3, 3), None),
    "a plateau at 1 only": ([1.0, 1.0, 1.0, 0.7, 0.6, 0.55, 0.45, 0.4, 0.3], (1, 3), None),
    "interrupted": ([1.0, 1.0, 1.0, 0.5, 0.7, 0.5, 0.7, 0.5, 0.3], (1, 3), (4, 4)),
}


@pytest.mark.parametrize("per_feature, at_one, at_half", STICKY.values(), ids=STICKY)
def test_sticky(per_feature, at_one, at_half):
    """Within 3 % of a level, and the longest run of these densities."""
    result = sweep([torch.eye(2, dtype=torch.float64) / value**0.5 for value in per_feature])
    for level, expected in ((1, at_one), (0.5, at_half)):
        at_level = uniform_superposition.sticky(result, level, 0.03)
        densities = 1 / torch.arange(1, len(per_feature) + 1, dtype=torch.float64)
        ends = expected and tuple(1 / end for end in expected)
        assert longest_range(densities, at_level) == ends


@pytest.mark.parametrize(
    "chosen, expected",
    [
        ("......", None),
        ("xxxxxx", (1, 1 / 6)),
        (".xx...", (1 / 2, 1 / 3)),
        ("x..xxx", (1 / 4, 1 / 6)),
        ("xx.xxx", (1, 1 / 2)),  # longest by ratio, as on a logarithmic axis
        ("....xx", (1 / 5, 1 / 6)),
    ],
)
def test_longest_range(chosen, expected):
    density = 1 / torch.arange(1, 7, dtype=torch.float64)
    assert longest_range(density, torch.tensor([mark == "x" for mark in chosen])) == expected


def test_shares_and_ranges():
    result = sweep(SWEEP)
    shares = uniform_superposition.shares(result)
    assert shares["tetrahedron"].tolist() == [0] * 3 + [1] + [0] * 8
    assert shares["digon"].tolist() == pytest.approx([0] * 5 + [1] * 4 + [0, 0, 2 / 15])
    assert sum(shares.values()).tolist() == pytest.approx([1] * 12)
    at = (1 / result.inverse_density).tolist()
    assert "irregular" not in shares
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
    at = (1 / result.inverse_density).tolist()
    held = uniform_superposition.largest_shares(result, (at[4], at[9]))
    assert {name: share for name, share in held.items() if share} == {
        "triangle": 1,
        "digon": 1,
        "pentagon": 1,
    }
    assert uniform_superposition.largest_shares(result, None) == {}


def test_a_search_counts_models_and_features():
    result = searches()[3]  # pentagons beside digons
    result.W[0, :3] = DIGONS
    assert uniform_superposition.models_with(result, "pentagon") == 0.7
    held = uniform_superposition.held_by(result, "pentagon").tolist()
    assert held == pytest.approx([0] * 3 + [5 / 7] * 7)


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
    Window("tetrahedron", 1.0, 0.7, 3 / 4),
    Window("4-simplex", 0.7, 0.3, 4 / 5),
    Window("digon", 0.3, 0.03, 1 / 2),
]


def test_figure_shows_dimensions_per_feature_and_names_factors():
    result = sweep(SWEEP)
    density = 1 / result.inverse_density
    predicted = density, 0.5 * density
    figure = drawn(uniform_superposition.figure, result, WINDOWS, predicted)
    curve, scatter, areas, *graphs = figure.axes
    trained, of_prediction = curve.lines
    assert trained.get_xdata() == pytest.approx(density.numpy())
    assert trained.get_ydata() == pytest.approx(dimensions_per_feature(result.W[:, 0]).numpy())
    assert of_prediction.get_ydata() == pytest.approx(predicted[1].numpy())
    stairs = [
        (*line.get_xdata(), line.get_ydata()[0])
        for line in scatter.lines
        if line.get_linewidth() == 7
    ]
    assert stairs == [(1, 0.7, 3 / 4), (0.7, 0.3, 4 / 5), (0.3, 0.03, 1 / 2)]
    assert "4-simplex" in [text.get_text() for text in scatter.texts]
    assert areas.get_xlim() == pytest.approx((1, 10**-1.3))
    nearest = [
        (density.log() - torch.tensor(x).log()).abs().argmin() for x in uniform_superposition.SHOWN
    ]
    assert [ax.get_title().splitlines()[0] for ax in graphs] == [
        f"density {density[k]:.2f}" for k in nearest
    ]
    assert [ax.get_title().splitlines()[1:] for ax in graphs[2:4]] == [
        ["3 × triangle"],
        ["6 × digon"],
    ]


def test_figure_shows_settled_models_beside_the_sweep():
    result = sweep(SWEEP)
    at = torch.tensor([0.95, 0.7, 0.5], dtype=torch.float64)
    share = {"digon": torch.ones(3, dtype=torch.float64)}
    settled = dense_minima.Settled(at, torch.tensor([0.9, 0.8, 0.5]), share)
    density = 1 / result.inverse_density
    predicted = density, 0.5 * density
    figure = drawn(uniform_superposition.figure, result, WINDOWS, predicted, settled)
    curve, _, trained_areas, settled_areas, *_ = figure.axes
    assert curve.lines[2].get_xdata() == pytest.approx(at.numpy())
    assert curve.lines[2].get_ydata() == pytest.approx([0.9, 0.8, 0.5])
    ticks = [ax.lines[0].get_xdata().tolist() for ax in (trained_areas, settled_areas)]
    assert ticks == [density.tolist(), at.tolist()]


def test_figure_of_a_run(quick):
    drawn(
        uniform_superposition.figure,
        quick,
        WINDOWS,
        (1 / quick.inverse_density, 1 / quick.inverse_density),
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
