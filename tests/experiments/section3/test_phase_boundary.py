"""The boundary of the phase change: a short run, the figure, and the claim on made-up results."""

import pytest
import torch
from drawing import drawn

from experiments.section3 import phase_boundary
from experiments.section3.phase_boundary import QUICK, SMALL_NORM, Result, Settings, figure, run
from Section3main import _claim_first_order as claim
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


def test_run():
    result = run(QUICK, progress=False)
    assert result.density.tolist() == list(QUICK.densities)
    assert all(len(values) == 3 and values.isfinite().all() for values in result)
    assert phase_boundary.jumps(result).all()
    # The densest and the sparsest features jump from zero, the others after a continuous rise.
    assert phase_boundary.jumps_from_zero(result).tolist() == [True, False, True]
    assert claim(result).holds
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


@pytest.mark.parametrize("densities", [[0], [1], [2], [0, 1, 2]], ids=str)
def test_claim_fails_where_only_the_exchange_jumps(densities):
    assert claim(IDEAL).holds and not claim(without_jump(*densities)).holds


def test_numbers_of_the_claim():
    by_expansion = tricritical_densities().tolist()
    assert list(claim(IDEAL).numbers.values()) == pytest.approx(
        [3, 3, 0.701, 0.5, 3, *by_expansion]
    )
    smooth_first = IDEAL._replace(
        onset_norm=torch.tensor([0.3, 0, 0]).double(), before=0.1 + 0 * LINE
    )
    assert list(claim(smooth_first).numbers.values()) == pytest.approx(
        [3, 3, 0.601, 0.5, 1, 0.01, 0.3, *by_expansion]
    )
    assert list(claim(without_jump(0, 1, 2)).numbers.values()) == pytest.approx(
        [3, 0, 0, 0.01, 1, *by_expansion]
    )


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
