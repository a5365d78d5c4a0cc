"""Pairs in the plane: short runs, and ideal and broken Results for each arrangement."""

import pytest
import torch
from drawing import drawn

import Section4main as section4
from experiments.section4 import pairs_in_the_plane
from experiments.section4.pairs_in_the_plane import CASES, QUICK, Result, run
from features import FeatureDistribution
from losses.exact import expected_loss
from theory.descents import Solutions
from theory.polytopes import POLYTOPES
from visualization import SET_COLOURS

HEXAGON = POLYTOPES["hexagon"].vertices
SQUARE = torch.tensor([[1, 0, -1, 0], [0, 1, 0, -1]], dtype=torch.float64)
ARRANGED = (  # of each case features as the paper has them, and otherwise
    (SQUARE, SQUARE[:, [0, 2, 1, 3]]),
    (SQUARE[:, [0, 2, 1, 3]], SQUARE),
    (HEXAGON, HEXAGON[:, [0, 2, 1, 3, 4, 5]]),
)
IDS = ("4.8", "4.9", "4.10")
each_case = pytest.mark.parametrize("k", range(3), ids=[case.name for case in CASES])


def ideal(k):
    """Two runs of three arranged as the paper has it, and these are the best."""
    arranged, other = ARRANGED[k]
    return Result(
        density=torch.tensor([0.02, 0.2], dtype=torch.float64),
        W=torch.stack([arranged, other, arranged]).repeat(2, 1, 1, 1),
        loss=torch.tensor([[0.01, 0.02, 0.01]] * 2, dtype=torch.float64),
        ignored=torch.tensor([0.005, 0.01], dtype=torch.float64),
        sampled=Solutions(
            torch.stack([other, arranged]).repeat(2, 1, 1, 1),
            torch.tensor([[0.021, 0.011]] * 2, dtype=torch.float64),
        ),
    )


def optimum_elsewhere(result, other):
    result.W[1] = other  # at the second density


def as_good_elsewhere(result, other):
    result.loss[1, 1] = 0.010001


def sampled_elsewhere(result, other):
    result.sampled.W[1, 1] = other  # the best one at the second density


def not_represented(result, other):
    result.W.mul_(0.4)


def one_not_represented(result, other):
    result.W[..., -1] *= 0.4


def claim(k, result):
    return section4.claim_pairs(IDS[k], CASES[k], result)


@each_case
def test_claim_holds_on_an_ideal_result(k):
    of_ideal = claim(k, ideal(k))
    assert of_ideal.holds and of_ideal.id == IDS[k] and CASES[k].name in of_ideal.statement
    numbers = of_ideal.numbers
    assert numbers["density 0.02: runs that show it"] == pytest.approx(2 / 3)
    assert numbers["density 0.2: the optimum shows it (1: yes)"] == 1
    assert numbers["density 0.2: degrees apart in the optimum, set 1"] == pytest.approx(
        (90, 180, 60)[k]
    )
    assert numbers["density 0.02: loss of the optimum, in ignored features"] == pytest.approx(2)
    assert numbers[
        f"density 0.2: loss of the best that is not {CASES[k].name}, in ignored features"
    ] == pytest.approx(2)
    assert numbers["density 0.2: the best sampled model shows it (1: yes)"] == 1
    assert numbers["density 0.2: sampled models that do"] == 0.5
    assert all(isinstance(value, float) for value in numbers.values())


@pytest.mark.parametrize(
    "change",
    [optimum_elsewhere, as_good_elsewhere, sampled_elsewhere, not_represented, one_not_represented],
)
@each_case
def test_claim_refuses_broken_results(k, change):
    result = ideal(k)
    change(result, ARRANGED[k][1])
    assert not claim(k, result).holds


@each_case
def test_noise_is_refused(k):
    W = torch.randn(ideal(k).W.shape, generator=torch.manual_seed(0), dtype=torch.float64)
    assert not claim(k, ideal(k)._replace(W=W)).holds


def test_collapsed_pairs_are_not_side_by_side():
    """Three pairs, each collapsed into one direction, are as far apart as can be."""
    result, collapsed = ideal(2), HEXAGON[:, [0, 0, 2, 2, 4, 4]]
    assert section4.pairs_in_the_plane.beside(torch.stack((HEXAGON, collapsed))).tolist() == [
        True,
        False,
    ]
    result.W[1] = collapsed
    assert not claim(2, result).holds


def test_what_was_not_seen_has_no_number():
    result = ideal(0)
    result.W[:, 1] = SQUARE
    numbers = claim(0, result).numbers
    assert not any("not orthogonal" in name for name in numbers) and claim(0, result).holds


# The run


@pytest.fixture(scope="module")
def quick():
    return tuple(run(settings, progress=False) for settings in QUICK)


@each_case
def test_run(quick, k):
    result, settings = quick[k], QUICK[k]
    assert result.W.shape == (2, 3, 2, settings.features) and result.loss.shape == (2, 3)
    assert result.sampled.W.shape == (2, 2, 2, settings.features) and result.sampled.loss.shape == (
        2,
        2,
    )
    nothing = FeatureDistribution(
        result.density[:, None],
        features=settings.features,
        set_size=2,
        correlation=settings.correlation,
    )
    zeros = torch.zeros(2, 1, settings.features, dtype=torch.float64)
    losses = expected_loss(zeros, nothing.moments()[0], nothing)
    torch.testing.assert_close(result.ignored, losses / settings.features)


def test_run_is_a_function_of_the_seed(quick):
    again, other = (run(QUICK[1], seed=seed, progress=False) for seed in (0, 1))
    assert torch.equal(again.W, quick[1].W) and torch.equal(again.sampled.W, quick[1].sampled.W)
    assert not torch.equal(other.W, quick[1].W) and not torch.equal(
        other.sampled.W, quick[1].sampled.W
    )


def test_settings_of_the_section():
    assert [(case.settings.features, case.settings.correlation) for case in CASES] == [
        (4, "correlated"), (4, "anticorrelated"), (6, "correlated")
    ]  # fmt: skip


# The figure


def test_figure_shows_the_optimum_and_the_first_runs(quick):
    results = [ideal(k) for k in range(3)]
    figure = drawn(pairs_in_the_plane.figure, results)
    panels = [ax for ax in figure.axes if ax.lines]
    assert len(panels) == 3 * 2 * 4
    for panel, result in zip(panels[::8], results):
        ends = torch.tensor(
            [[line.get_xdata()[-1], line.get_ydata()[-1]] for line in panel.lines[::2]]
        ).T
        torch.testing.assert_close(ends.T @ ends, result.W[0, 0].T @ result.W[0, 0])
        colours = [line.get_color() for line in panel.lines[::2]]
        assert colours == [SET_COLOURS[feature // 2] for feature in range(result.W.shape[3])]
    assert (
        panels[0].get_title() == "density 0.02\noptimum: 2.00"
        and panels[2].get_title() == "\nrun 1: 4.00"
    )
    assert panels[8].get_ylabel() == "anticorrelated:\nantipodal in\n67% and 67%"
    drawn(pairs_in_the_plane.figure, quick)
