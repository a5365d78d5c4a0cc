"""The boundary of the phase change: a short run, the figure, and the claim on made-up results."""

import pytest
import torch
from drawing import drawn

from experiments.section3 import phase_boundary
from experiments.section3.phase_boundary import QUICK, SMALL_NORM, Result, Settings, figure, run
from Section3main import claim_first_order
from sweeps.claims import EXACT, NOT_SEEN, REPRODUCED, verdict
from theory.boundary import NORMS, landau, named_boundary, tricritical_densities
from theory.descents import ignored_loss

LINE = torch.tensor([1.0, 0.3, 0.01], dtype=torch.float64)
JUMP = 0.7 + 0.1 * LINE
ABOVE = NORMS**2 + landau(LINE).onset[:, None]  # rises with the norm: a continuous onset
IDEAL = Result(
    LINE,
    LINE / 2,
    JUMP,
    LINE / 3,
    0 * LINE,
    JUMP,
    0.5 + 0 * LINE,
    torch.ones(3, 2, dtype=torch.float64),
    ABOVE,
)


# The full run's densities, with the jumps that are found there: none from 0.72 to 0.85, and a
# continuous onset between the tricritical densities.
FULL = torch.tensor(Settings().densities, dtype=torch.float64)
JUMPING = (FULL <= 0.7) | (FULL >= 0.875)
LOWER, UPPER = tricritical_densities().tolist()
CONTINUOUS = (FULL > LOWER) & (FULL < UPPER)


def found():
    """What the claim says, at the full run's densities."""
    one = torch.ones_like(FULL)
    return Result(
        FULL,
        FULL / 2,
        torch.where(CONTINUOUS, 0, 0.5 * one),
        torch.where(CONTINUOUS, 0.6 * FULL, FULL / 2),
        0.1 * one,
        torch.where(JUMPING, 0.7 * one, 0.1),
        torch.where(JUMPING, 0.5 * one, 0),
        torch.ones(len(FULL), 2, dtype=torch.float64),
        one[:, None] * (1 + NORMS**2),
    )


def holding(result):
    return [finding.holds for finding in claim_first_order(result).findings]


def test_run():
    result = run(QUICK, progress=False)
    assert result.density.tolist() == list(QUICK.densities)
    assert all(len(values) == 3 and values.isfinite().all() for values in result)
    assert phase_boundary.jumps(result).all()
    # The densest and the sparsest features jump from zero, the others after a continuous rise.
    assert phase_boundary.jumps_from_zero(result).tolist() == [True, False, True]
    assert phase_boundary.follows_onset(result).tolist() == [False, True, False]
    assert holding(result) == [True] * 4
    drawn(figure, result)
    assert phase_boundary.SEEDED is False and set(QUICK.densities) <= set(Settings().densities)


def without_jump(*densities):
    """The ideal result, but with a jump only at r = 1 at some densities."""
    smooth = torch.zeros(3, dtype=torch.bool)
    smooth[list(densities)] = True
    return IDEAL._replace(
        onset_norm=IDEAL.onset_norm.where(~smooth, 0),
        after=IDEAL.after.where(~smooth, IDEAL.before),
        kink=IDEAL.kink.where(~smooth, 0),
        exchange=torch.tensor([0.4, 0.9]).double().expand(3, 2),
    )


def test_all_findings_can_hold_at_the_full_runs_densities():
    claim = claim_first_order(found())
    assert verdict([claim]) == REPRODUCED and all(finding.holds for finding in claim.findings)
    assert {finding.evidence for finding in claim.findings} == {EXACT}


@pytest.mark.parametrize("density, kink", [(0.5, 0.0), (0.65, 0.0), (1.0, 0.0), (0.8, 0.3)])
def test_exact_optima_cross_at_the_stated_densities_alone(density, kink):
    changed = found()
    changed.kink[density == FULL] = kink
    holds = holding(changed)
    assert holds[0] and not holds[1]
    assert holds[3] == (density != 0.65)  # a jump follows the continuous onset there


@pytest.mark.parametrize("density, norm", [(0.65, 0.3), (0.5, 0.0), (1.0, 0.0)])
def test_the_onset_is_continuous_between_the_tricritical_densities_alone(density, norm):
    changed = found()
    changed.onset_norm[density == FULL] = norm
    assert holding(changed)[:3] == [True, True, False]


def test_the_effect_is_missed_where_the_named_losses_have_no_kink(monkeypatch):
    """A single solution, whose loss is smooth in r, in place of the named ones."""
    monkeypatch.setattr(
        phase_boundary, "named_losses", lambda features, density, ratio: ratio[:, None] ** 2
    )
    assert verdict([claim_first_order(found())]) == NOT_SEEN


def test_named_kinks_by_hand():
    """A pair's slope is s^2/6, the ignored feature's s/3 - s^2/4, and nothing's after r = 1."""
    s = torch.tensor([1.0, 0.7, 0.3, 0.01], dtype=torch.float64)
    by_hand = torch.where(s < 4 / 7, 1 - s**2 / 6 / ignored_loss(1, s), 1)
    torch.testing.assert_close(phase_boundary.named_kinks(s), by_hand)


def test_numbers_of_the_claim():
    numbers = {}
    for finding in claim_first_order(found()).findings:
        numbers |= finding.numbers
    assert numbers["densities"] == len(FULL)
    assert numbers["of these where two solutions cross below r = 1"] == int(JUMPING.sum())
    assert numbers["smallest jump of |w_2| there"] == pytest.approx(0.6)
    assert numbers["smallest kink there"] == pytest.approx(0.5)
    assert numbers["lowest density where it is continuous"] == 0.525
    assert numbers["highest density where it is continuous"] == 0.825
    assert numbers["densities where a jump follows a continuous onset"] == 8
    assert numbers["r of that jump over r of the onset, less 1, highest"] == pytest.approx(0.2)
    assert (numbers["continuous by expansion from density"], numbers["to"]) == (LOWER, UPPER)


def test_figure_shows_each_line():
    shown = drawn(figure, IDEAL)
    lines = [[line.get_ydata().tolist() for line in ax.lines] for ax in shown.axes[:3]]
    assert lines == [
        [values.tolist() for values in (named_boundary(LINE), IDEAL.onset, IDEAL.ratio)],
        [IDEAL.after.tolist(), IDEAL.before.tolist()],
        [IDEAL.kink.tolist()],
    ]
    assert all(
        line.get_xdata().tolist() == LINE.tolist() for ax in shown.axes[:3] for line in ax.lines
    )


def test_figure_has_a_gap_where_nothing_jumps():
    shown = drawn(figure, without_jump(1))
    for line in (shown.axes[0].lines[2], *shown.axes[1].lines, *shown.axes[2].lines):
        assert torch.tensor(line.get_ydata()).isnan().tolist() == [False, True, False]


def test_figure_shows_where_it_pays_and_the_expansion():
    density = torch.tensor([0.5, 0.55], dtype=torch.float64)
    expansion = landau(density)
    paying = expansion.onset[:, None] * (1 + NORMS**2)
    shown = drawn(figure, Result(*(values[:2] for values in (density, *IDEAL[1:-1])), paying))
    whole, near, cubic = shown.axes[3:]
    for line in whole.lines[:2]:
        assert line.get_ydata() == pytest.approx(100 * NORMS.numpy() ** 2)
    slopes = expansion.cubic / ignored_loss(1, density) / expansion.onset
    for line, slope in zip(near.lines[1:4:2], slopes.tolist()):
        assert line.get_ydata()[1] == pytest.approx(100 * SMALL_NORM * slope)
    assert slopes[0] < 0 < slopes[1]
    assert cubic.lines[2].get_xdata().tolist() == tricritical_densities().tolist()
