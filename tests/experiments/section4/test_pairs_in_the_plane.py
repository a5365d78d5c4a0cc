"""Pairs in the plane: short runs, and ideal and broken Results for each arrangement."""

import pytest
import torch
from drawing import drawn

from experiments.section4 import pairs_in_the_plane
from experiments.section4.nonuniform_claims import claim_beside, claim_pairs
from experiments.section4.pairs_in_the_plane import CASES, QUICK, Result, run
from features import FeatureDistribution
from losses.exact import expected_loss
from sweeps.claims import BEST_KNOWN, TRAINING_LIMITED
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
TWO_COLLAPSED = HEXAGON[:, [0, 0, 2, 2, 4, 5]]
each_case = pytest.mark.parametrize("k", range(3), ids=[case.name for case in CASES])


def ideal(k):
    """At the densities of the full run, two runs of three arranged as the paper has it are best.

    At the highest density of three pairs, two pairs have collapsed.
    """
    arranged, other = ARRANGED[k]
    density = torch.tensor(CASES[k].settings.densities, dtype=torch.float64)
    result = Result(
        density=density,
        W=torch.stack([arranged, other, arranged]).repeat(len(density), 1, 1, 1),
        loss=torch.tensor([[0.01, 0.02, 0.01]], dtype=torch.float64).repeat(len(density), 1),
        ignored=density / 4,
        sampled=Solutions(
            torch.stack([other, arranged]).repeat(len(density), 1, 1, 1),
            torch.tensor([[0.021, 0.011]], dtype=torch.float64).repeat(len(density), 1),
        ),
    )
    if k == 2:
        result.W[-1] = TWO_COLLAPSED
    return result


def optimum_elsewhere(result, other):
    result.W[1] = other  # at the second density


def as_good_elsewhere(result, other):
    result.loss[1, 1] = 0.010001


def not_represented(result, other):
    result.W.mul_(0.4)


def one_not_represented(result, other):
    result.W[..., -1] *= 0.4


def claim(k, result):
    if k == 2:
        return claim_beside(CASES[k], result)
    return claim_pairs(IDS[k], CASES[k], result)


def held(k, result):
    return [finding.holds for finding in claim(k, result).findings]


@each_case
def test_findings_hold_on_an_ideal_result(k):
    of_ideal = claim(k, ideal(k))
    assert held(k, ideal(k)) == [True, True, True][: 2 + (k == 2)]
    assert of_ideal.id == IDS[k] and CASES[k].name in of_ideal.statement
    best, sampled, *_ = of_ideal.findings
    assert best.numbers["share of densities that show it"] == 1
    assert best.numbers["degrees between members, at least"] == pytest.approx((90, 180, 60)[k])
    assert best.numbers["degrees between members, at most"] == pytest.approx((90, 180, 60)[k])
    assert best.numbers["share of descents, density 0.02"] == pytest.approx(2 / 3)
    assert sampled.numbers["share of densities at which it does"] == 1
    assert sampled.numbers["share of models, density 0.02"] == 0.5
    assert (best.evidence, sampled.evidence) == (BEST_KNOWN, TRAINING_LIMITED)


@pytest.mark.parametrize(
    "change", [optimum_elsewhere, as_good_elsewhere, not_represented, one_not_represented]
)
@each_case
def test_the_effect_fails_on_broken_results(k, change):
    result = ideal(k)
    change(result, ARRANGED[k][1])
    assert held(k, result)[:2] == [False, True]


@each_case
def test_sampled_models_are_a_finding_of_ours(k):
    result = ideal(k)
    result.sampled.W[1, 1] = ARRANGED[k][1]  # the best one at the second density
    assert held(k, result)[:2] == [True, False]


@each_case
def test_a_better_sampled_model_limits_the_evidence(k):
    result = ideal(k)
    result.sampled.loss[1, 1] = 0.009
    assert claim(k, result).findings[0].evidence == TRAINING_LIMITED


@each_case
def test_noise_is_refused(k):
    W = torch.randn(ideal(k).W.shape, generator=torch.manual_seed(0), dtype=torch.float64)
    assert held(k, ideal(k)._replace(W=W)) == [False, True, False][: 2 + (k == 2)]


def test_collapsed_pairs_are_not_side_by_side():
    """Three pairs, each collapsed into one direction, are as far apart as can be."""
    result, collapsed = ideal(2), HEXAGON[:, [0, 0, 2, 2, 4, 4]]
    assert pairs_in_the_plane.beside(torch.stack((HEXAGON, collapsed))).tolist() == [True, False]
    result.W[1] = collapsed
    assert held(2, result) == [False, True, True]


def test_only_sparse_densities_count_for_three_pairs():
    """At the highest density the number of collapsed pairs is told."""
    result = ideal(2)
    result.W[-1] = HEXAGON
    findings = claim(2, result).findings
    assert [finding.holds for finding in findings] == [True, True, False]
    assert findings[2].numbers == {"collapsed pairs": 0}
    assert findings[0].numbers["densities"] == 2


def test_another_arrangement_need_not_be_seen():
    result = ideal(0)
    result.W[:, 1] = SQUARE
    assert held(0, result) == [True, True]


# The run


@pytest.fixture(scope="module")
def quick():
    return tuple(run(settings, progress=False) for settings in QUICK)


@each_case
def test_run(quick, k):
    result, settings = quick[k], QUICK[k]
    count = len(settings.densities)
    assert result.W.shape == (count, 3, 2, settings.features) and result.loss.shape == (count, 3)
    assert result.sampled.W.shape == (count, 2, 2, settings.features)
    assert result.sampled.loss.shape == (count, 2)
    nothing = FeatureDistribution(
        result.density[:, None],
        features=settings.features,
        set_size=2,
        correlation=settings.correlation,
    )
    zeros = torch.zeros(count, 1, settings.features, dtype=torch.float64)
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
