"""Jumps of dimensionality: the rules, the claim on ideal and broken results, and a short run."""

import math

import pytest
import torch
from drawing import drawn

import Section5main as section5
from experiments.section5 import jumps
from experiments.section5.jumps import QUICK, Result, Settings, level, run
from theory.polytopes import POLYTOPES

STEPS = torch.tensor(
    [0, *(2.0 ** (torch.arange(0, 49) / 4)).round().long().unique().tolist()]
)  # four to an octave
DIGON = POLYTOPES["digon"].vertices.float()


def risen(start, factor):
    """Rise from 0 to 1 over STEPS, linearly in log step, from `start` to `factor` times `start`."""
    time = STEPS.clamp(min=1).double().log()
    return ((time - math.log(start)) / math.log(factor)).clamp(0, 1)


def course(events, others=2):
    """Two runs, in which a pair of features rises to 1/2 and the loss drops at each event."""
    rises = torch.stack([risen(*event) for event in events], dim=1)  # (records, pairs)
    never = torch.zeros(len(STEPS), others).double()
    D = torch.cat((rises.repeat_interleave(2, dim=1) / 2, never), dim=1)
    loss = (-rises.sum(dim=1)).exp()
    hidden = len(events)
    W = torch.cat((torch.block_diag(*[DIGON] * hidden), torch.zeros(hidden, others)), dim=1)
    return Result(
        STEPS,
        loss[:, None].expand(-1, 2),
        D[:, None].expand(-1, 2, -1).float(),
        W.expand(2, -1, -1),
    )


IDEAL = ((30, 1.6), (150, 1.6), (600, 1.6))


def noise():
    generator = torch.Generator().manual_seed(0)
    D = torch.rand(len(STEPS), 2, 8, generator=generator)
    W = torch.randn(2, 3, 8, generator=generator)
    return Result(STEPS, torch.rand(len(STEPS), 2, generator=generator) + 0.5, D, W)


def with_loss(result, loss):
    return result._replace(loss=loss[:, None].expand(-1, 2))


BROKEN = {
    "moves that take a decade": lambda: course([(30, 10), (150, 10), (300, 10)]),
    "a loss that falls smoothly": lambda: with_loss(
        course(IDEAL), STEPS.clamp(min=1).double() ** -0.3
    ),
    "a loss that drops at other times": lambda: with_loss(
        course(IDEAL), course([(5, 1.6), (2000, 1.6)]).loss[:, 0]
    ),
    "nothing moves": lambda: course(IDEAL)._replace(
        dimensionality=torch.full((len(STEPS), 2, 8), 0.5)
    ),
    "levels that nobody reaches": lambda: course(IDEAL)._replace(
        dimensionality=course(IDEAL).dimensionality * 0.6
    ),
    "no digons": lambda: course(IDEAL)._replace(W=noise().W),
    "noise": noise,
}


def claim(result):
    return section5._claim_jumps([result, result])


def test_claim_holds_on_an_ideal_result():
    found = claim(course(IDEAL))
    assert found.holds
    numbers = found.numbers
    assert numbers["moves between levels"] == 2 * 2 * 6
    assert (
        numbers["share of these that are sudden"]
        == numbers["share of sudden moves while the loss drops"]
        == 1
    )
    assert numbers["share of a run's moves under way at once, median"] == pytest.approx(1 / 3)
    assert (
        numbers["share of represented features in digons"]
        == numbers["share of drops that are sudden"]
        == 1
    )


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_claim_refuses_broken_results(broken):
    assert not claim(broken()).holds


def test_levels():
    values = torch.tensor([0.0, 0.049, 0.051, 0.3, 0.449, 0.451, 0.549, 0.551, 0.949, 0.951, 1.0])
    assert level(values).tolist() == [0, 0, -1, -1, -1, 1, 1, -1, -1, 2, 2]


def one_feature(values):
    """A Result of one feature with these dimensionalities; steps double from record to record."""
    D = torch.tensor(values)[:, None, None]
    steps = 2 ** torch.arange(len(values))
    return Result(steps, torch.ones(len(values), 1), D, torch.zeros(1, 1, 1))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.02, 0.2, 0.4, 0.5, 0.5], [(1, 4)]),
        ([0.5, 0.5, 0.04, 0.0], [(1, 2)]),
        ([0.0, 0.5, 0.7, 1.0, 0.5], [(0, 1), (1, 3), (3, 4)]),
        ([0.0, 0.3, 0.4, 0.3, 0.0], []),  # it comes back
        ([0.2, 0.3, 0.5, 0.5], []),  # it was at no level
        ([0.0, 0.1, 0.3, 0.44], []),  # it reaches none
    ],
)
def test_moves(values, expected):
    found = jumps.moves(one_feature(values))
    assert list(zip(found.first.tolist(), found.last.tolist())) == expected


def test_sudden_is_up_to_a_doubling_of_steps():
    result = one_feature([0.0, 0.0, 0.5, 0.5])  # steps 1, 2, 4, 8
    spans = torch.tensor([0, 1, 1]), torch.tensor([1, 2, 3])
    assert jumps.sudden(result, *spans).tolist() == [True, True, False]
    result = result._replace(steps=torch.tensor([10, 100, 199, 202]))
    assert jumps.sudden(result, *spans).tolist() == [False, True, False]


def test_drops_are_where_the_loss_falls_twice_as_fast_as_on_average():
    falls = course([(100, 2)])
    found = jumps.drops(falls)
    assert found.run.tolist() == [0, 1]
    assert 70 < STEPS[found.first[0]] <= 110 and 180 <= STEPS[found.last[0]] < 290
    smooth = with_loss(falls, (-risen(1, 4096)).exp())
    assert len(jumps.drops(smooth).run) == 0
    assert 0.05 < jumps.dropping_share(falls) < 0.2 and jumps.dropping_share(smooth) == 0


def test_simultaneous_share():
    apart = course(IDEAL)
    at_once = course([(30, 1.6)] * 3)
    assert jumps.simultaneous_share(apart, jumps.moves(apart)).tolist() == pytest.approx(
        [1 / 3] * 2
    )
    assert jumps.simultaneous_share(at_once, jumps.moves(at_once)).tolist() == [1, 1]


def test_run():
    result, again, other = (run(QUICK, seed=seed, progress=False) for seed in (0, 0, 1))
    assert result.steps[[0, -1]].tolist() == [0, QUICK.steps]
    assert result.loss.shape == (len(result.steps), 2)
    assert result.dimensionality.shape[1:] == (2, 24)
    assert torch.equal(again.dimensionality, result.dimensionality)
    assert torch.equal(again.loss, result.loss)
    assert not torch.equal(other.W, result.W)
    assert (result.loss[-1] < 0.8 * result.loss[0]).all()
    figure = drawn(jumps.figure, [result, course(IDEAL)])
    assert figure.axes[1].get_title().endswith("6 of 6 moves are sudden")


@pytest.mark.usefixtures("unchecked")
def test_a_density_above_one_is_refused():
    with pytest.raises(ValueError, match=r"inverse_density: expected at least 1, got 0\.5"):
        Settings(inverse_density=0.5)
