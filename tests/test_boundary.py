"""The boundary of the phase change: what a short run returns, its figure, and its claim on results made by hand."""

import matplotlib
import pytest
import torch
from drawing import drawn
from matplotlib import pyplot as plt

from experiments import boundary
from experiments.boundary import QUICK, Result, Settings, figure, run
from phases import named_boundary
from Section3main import _claim_first_order as claim

matplotlib.use("Agg")

LINE = torch.tensor([1.0, 0.3, 0.01], dtype=torch.float64)
IDEAL = Result(LINE, LINE / 2, LINE / 3, 0 * LINE, 0.7 + 0.1 * LINE, 0.5 + 0 * LINE)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_run():
    result = run(QUICK, progress=False)
    assert result.density.tolist() == list(QUICK.densities)
    assert all(values.shape == (3,) and values.isfinite().all() for values in result)
    # dense features: a smooth rise first; sparse ones: out of zero
    assert boundary.jumps(result).all() and boundary.out_of_zero(result).tolist() == [False, False, True]
    assert claim(result).holds
    drawn(figure, result)
    assert boundary.SEEDED is False and set(QUICK.densities) <= set(Settings().densities)


def without_jump(*densities):
    """The ideal result, but a smooth change at some densities."""
    smooth = torch.zeros(3, dtype=torch.bool)
    smooth[list(densities)] = True
    return IDEAL._replace(after=IDEAL.after.where(~smooth, IDEAL.before), kink=IDEAL.kink.where(~smooth, 0))


@pytest.mark.parametrize("densities", [[0], [1], [2], [0, 1, 2]], ids=str)
def test_claim_fails_where_a_change_is_smooth(densities):
    assert claim(IDEAL).holds and not claim(without_jump(*densities)).holds


def test_numbers_of_the_claim():
    assert list(claim(IDEAL).numbers.values()) == pytest.approx([3, 3, 0.701, 0.5, 0.5, 3, 1, 0])
    smooth_first = IDEAL._replace(before=torch.tensor([0.3, 0.2, 0]).double())
    assert list(claim(smooth_first).numbers.values()) == pytest.approx([3, 3, 0.5, 0.5, 0.5, 1, 0.01, 2, 0.3])
    assert list(claim(without_jump(0, 1, 2)).numbers.values()) == [3, 0, 0, 0, 0, 0]


def test_figure_shows_each_line():
    shown = drawn(figure, IDEAL)
    density, onset, ratio, before, after, kink = (values.tolist() for values in IDEAL)
    lines = [[line.get_ydata().tolist() for line in ax.lines] for ax in shown.axes]
    assert lines == [[named_boundary(LINE).tolist(), onset, ratio], [after, before], [kink]]
    assert all(line.get_xdata().tolist() == density for ax in shown.axes for line in ax.lines)


def test_figure_has_a_gap_where_nothing_jumps():
    shown = drawn(figure, without_jump(1))
    for line in (shown.axes[0].lines[2], *shown.axes[1].lines):
        assert torch.tensor(line.get_ydata()).isnan().tolist() == [False, True, False]
