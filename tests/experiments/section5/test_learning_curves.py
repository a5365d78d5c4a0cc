"""Learning curves whose slope is known, and stretches found by hand."""

import numpy as np
import pytest
import torch

from experiments.section5.learning_curves import (
    WINDOW,
    fall_rate,
    log_steps,
    logarithmic_steps,
    stretches,
)


def test_steps_are_evenly_spaced_on_a_log_axis():
    assert logarithmic_steps(1000, 4) == [0, 1, 10, 100, 1000]
    steps = logarithmic_steps(5000, 200)
    assert steps[:4] == [0, 1, 2, 3] and steps[-1] == 5000 and len(steps) < 202
    assert logarithmic_steps(np.int16(1000), np.uint8(4)) == [0, 1, 10, 100, 1000]
    late = torch.tensor(steps[-50:], dtype=torch.float64).log().diff()
    assert late.max() < 1.1 * late.min()


@pytest.mark.usefixtures("unchecked")
def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="records: expected a whole number of at least 1, got 0"):
        logarithmic_steps(100, 0)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_fall_rate_of_a_power_law(power):
    steps = torch.tensor(logarithmic_steps(1000, 100))
    loss = 7 * log_steps(steps).exp() ** -power
    torch.testing.assert_close(
        fall_rate(steps, loss[:, None]), torch.full((len(steps), 1), power).double()
    )


def test_what_rose_and_falls_again_does_not_count():
    steps = torch.arange(40)
    loss = torch.full((40, 1), 1.0)
    loss[10:20] = 2
    assert (fall_rate(steps, loss) == 0).all()
    loss[25:] = 0.5
    falls = (fall_rate(steps, loss) > 0)[:, 0].nonzero()[:, 0].tolist()
    assert falls == list(range(25 - WINDOW, 25 + WINDOW))


def test_stretches():
    chosen = torch.tensor([True, True, False, False, True, False, True])
    assert stretches(chosen) == [(0, 1), (4, 4), (6, 6)]
    assert stretches(chosen[2:4]) == [] and stretches(torch.ones(3, dtype=torch.bool)) == [(0, 2)]
