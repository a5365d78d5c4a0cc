"""Jumps: the rules on features whose course is known, a short run, and its figure."""

import pytest
import torch
from drawing import drawn
from made_up_courses import LONE, PARTNER, TIMES, course

from experiments.section5 import jumps
from experiments.section5.jumps import QUICK, Result, Settings, run


def one_feature(*parts, record_every=100):
    """A Result of one feature that goes through (level, steps) with lines of (None, steps)."""
    levels = []
    for k, (level, steps) in enumerate(parts):
        records = steps // record_every
        start, end = (level, level) if level is not None else (parts[k - 1][0], parts[k + 1][0])
        levels.append(torch.linspace(start, end, records, dtype=torch.float64))
    D = torch.cat(levels)[:, None, None]
    loss = torch.ones(len(D), 1, dtype=torch.float64)
    loss[0] = 2  # the emergence is over at the first step
    return Result(record_every * torch.arange(len(D)), loss, D)


def test_jumps_of_a_course_that_is_known():
    found = jumps.jumps(course())
    assert found.run.tolist() == [run for run in range(8) for _ in range(2)]
    assert found.feature.tolist() == [LONE, PARTNER] * 8
    assert found.old[::2].tolist() == pytest.approx([0.73] * 8, abs=0.01)
    assert found.old[1::2].tolist() == pytest.approx([0.01] * 8, abs=0.01)
    assert found.new.tolist() == pytest.approx([0.5] * 16, abs=0.01)
    first = course().steps[found.first]
    last = course().steps[found.last]
    for k, time in enumerate(TIMES):
        assert (first[2 * k : 2 * k + 2] >= time).all() and (last <= TIMES[-1] + 200).all()
    assert (last - first <= 200).all()


def test_events_join_jumps_that_are_under_way_at_once():
    result = course()
    found = jumps.jumps(result)
    every = jumps.events(found)
    assert every.run.tolist() == list(range(8))
    assert jumps.members(found).sum(dim=1).tolist() == [2] * 8
    assert jumps.pairs_up(found).all()
    assert jumps.staying(result, every).tolist() == pytest.approx([38 / 40] * 8)
    assert jumps.drops(result, every).tolist() == pytest.approx([0.02] * 8, abs=5e-4)
    assert jumps.shuffled_drops(result, every).shape == (8, jumps.SHUFFLES)
    assert jumps.shuffled_drops(result, every).mean() < 0.004


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ([(0.0, 2000), (None, 300), (0.5, 2000)], 1),
        ([(0.0, 2000), (0.5, 2000)], 1),  # from one record to the next
        ([(0.73, 2000), (None, 300), (0.5, 2000), (None, 300), (0.0, 2000)], 2),
        ([(0.5, 2000), (None, 300), (0.56, 2000)], 0),  # nearly the same level
        ([(0.0, 1500), (None, 6000), (0.5, 1500)], 0),  # slower than it rests
        ([(0.0, 500), (None, 300), (0.5, 2000)], 0),  # not at rest before
        ([(0.0, 2000), (None, 300), (0.5, 500)], 0),  # nor after
        ([(0.0, 2000), (None, 300), (0.5, 300), (None, 300), (0.0, 2000)], 0),  # it comes back
    ],
)
def test_what_counts_as_a_jump(parts, count):
    assert len(jumps.jumps(one_feature(*parts)).run) == count


def test_the_emergence_does_not_count():
    result = course()
    assert result.steps[jumps.emerged(result)].tolist() == [600] * 8
    late = result._replace(loss=result.loss.clone())
    late.loss[result.steps < 12_000] = 3
    assert jumps.events(jumps.jumps(late)).run.tolist() == [3, 4, 5, 6, 7]


def test_run():
    result, again, other = (run(QUICK, seed=seed, progress=False) for seed in (0, 0, 1))
    assert result.steps[[0, -1]].tolist() == [0, QUICK.steps]
    assert result.loss.shape == (len(result.steps), 2)
    assert result.dimensionality.shape[1:] == (2, 8)
    assert torch.equal(again.dimensionality, result.dimensionality)
    assert torch.equal(again.loss, result.loss)
    assert not torch.equal(other.loss, result.loss)
    assert not torch.equal(result.loss[:, 0], result.loss[:, 1])
    assert (result.loss[-1] < 0.8 * result.loss[0]).all()


def test_shards_do_not_change_the_result():
    whole = run(QUICK, seed=3, progress=False)
    parts = [run(part, seed=3, progress=False) for part in jumps.shards(QUICK)]
    for joined, together in zip(jumps.joined(parts), whole):
        torch.testing.assert_close(joined, together, rtol=1e-9, atol=0)


def test_figures():
    figure = drawn(jumps.figure, course())
    assert figure.get_suptitle() == "In 8 of 8 runs a lone feature becomes one of a digon"
    assert {text.get_text() for text in figure.axes[1].texts} == {
        "$D_i$ 0.73 to 0.50",
        "$D_i$ 0.01 to 0.50",
    }
    assert figure.axes[3].texts[0].get_text() == "2.0% lower"
    figure = drawn(jumps.figure, run(QUICK, progress=False))
    assert figure.get_suptitle().startswith("In 0 of 2 runs")


@pytest.mark.usefixtures("unchecked")
def test_a_density_above_one_is_refused():
    with pytest.raises(ValueError, match=r"inverse_density: expected at least 1, got 0\.5"):
        Settings(inverse_density=0.5)
