"""One feature gets sparser: what a short run returns, and an ideal Result and broken ones."""

import pytest
import torch
from drawing import drawn

import Section4main as section4
from experiments.section4 import perturbed_pentagon
from experiments.section4.perturbed_pentagon import (
    DROPPED,
    KEPT,
    QUICK,
    Result,
    Settings,
    geometry_of,
    run,
)
from theory.descents import Sampling, Solutions
from theory.kinds import Crossings
from theory.polytopes import POLYTOPES

PENTAGON = POLYTOPES["pentagon"].vertices


def ideal():
    """As the paper describes it: the pentagon gives way where feature 0 is 2.5 times sparser."""
    ratio = torch.logspace(-2, 1, 25, dtype=torch.float64).repeat(2, 1)
    loss = torch.stack((ratio**0.5, ratio / 0.4**0.5, 5 * torch.ones_like(ratio)), dim=-1)
    loss[:, :2, 0] = torch.inf  # no pentagon where the feature is a hundred times sparser
    checked = torch.arange(0, 25, 4)
    best = torch.stack([PENTAGON, DROPPED])[
        loss[:, checked].argmin(dim=2)
    ]  # (densities, ratios, 2, 5)
    lowest = loss[:, checked].amin(dim=2)
    return Result(
        density=torch.tensor([0.05, 0.1], dtype=torch.float64),
        ratio=ratio,
        W=torch.stack([PENTAGON, DROPPED, KEPT]).repeat(2, 25, 1, 1, 1),
        loss=loss,
        crossing=Crossings(
            line=torch.tensor([0, 1, 1]),
            position=torch.tensor([12.8, 12.8, 21.6], dtype=torch.float64),
            below=torch.tensor([1, 1, 0]),
            above=torch.tensor([0, 0, 2]),
            met=torch.tensor([True, True, True]),
        ),
        crossing_ratio=torch.tensor([0.4, 0.4, 5], dtype=torch.float64),
        checked=checked,
        random=Solutions(best[:, :, None].repeat(1, 1, 2, 1, 1), lowest[..., None].repeat(1, 1, 2)),
        sampled=Solutions(best[0], 1.01 * lowest[0]),
    )


def crossing_elsewhere(result):
    result.crossing_ratio[0] = 0.27


def crossing_of_another_density(result):
    result.crossing.line[0] = 1


def crossing_into_other_digons(result):
    result.crossing.above[0] = 2


def losses_that_do_not_cross(result):
    result.crossing.met[0] = False


def pentagon_that_jumps(result):
    result.W[:, ::2, 0] *= 1.3


def pentagon_at_no_ratio(result):
    result.loss[0, :, 0] = torch.inf


BROKEN = [
    crossing_elsewhere,
    crossing_of_another_density,
    crossing_into_other_digons,
    losses_that_do_not_cross,
    pentagon_that_jumps,
    pentagon_at_no_ratio,
]


def test_claim_holds_on_an_ideal_result():
    claim = section4.claim_snap(ideal())
    assert claim.holds
    numbers = list(claim.numbers.items())
    assert numbers[:3] == [
        ("densities at which the losses cross", 2),
        ("density 0.05: losses cross, times sparser", 2.5),
        ("density 0.1: losses cross, times sparser", 2.5),
    ]
    shown = dict(numbers)
    assert shown["crossings known to"] == pytest.approx(10 ** (3 / 24 / 12) - 1)
    assert shown["the pentagon moves from one ratio to the next, at most"] == pytest.approx(
        0, abs=1e-9
    )
    assert shown["the pentagon is a local minimum until, times sparser"] == pytest.approx(10**1.75)
    assert shown["digons without the feature are up to a relative density of"] == pytest.approx(10)
    assert shown["random descents that end in another geometry"] == 0
    assert shown["best sampled model over the optimum, median"] == pytest.approx(0.01)


@pytest.mark.parametrize("change", BROKEN)
def test_claim_refuses_broken_results(change):
    result = ideal()
    change(result)
    claim = section4.claim_snap(result)
    assert not claim.holds and all(
        value == value for value in claim.numbers.values()
    )  # none is NaN


def test_claim_without_any_crossing():
    result = ideal()
    nothing = Crossings(*(values[:0] for values in result.crossing))
    claim = section4.claim_snap(
        result._replace(crossing=nothing, crossing_ratio=result.crossing_ratio[:0])
    )
    assert not claim.holds and claim.numbers["densities at which the losses cross"] == 0
    assert not any("times sparser" in name and "density" in name for name in claim.numbers)


def test_snap_and_extent_by_hand():
    result = ideal()
    assert perturbed_pentagon.snap(result).tolist() == [0.4, 0.4]
    ratio = result.ratio[0]
    lowest, highest = perturbed_pentagon.extent(result, perturbed_pentagon.PENTAGON)
    assert lowest.tolist() == [ratio[2].item()] * 2
    assert highest.tolist() == pytest.approx([10, 10])
    result.crossing.below[0] = 2
    assert torch.equal(perturbed_pentagon.snap(result).isnan(), torch.tensor([True, False]))
    # Now the second density has two crossings, of which the lower one counts.
    result.crossing.line[0] = 1
    result.crossing.below[2] = 1
    result.crossing.above[2] = 0
    assert perturbed_pentagon.snap(result)[1] == 0.4


def test_missed_optimum_counts_descents():
    result = ideal()
    result.random.W[0, :2, 0] = KEPT
    assert perturbed_pentagon.missed_optimum(result) == pytest.approx(2 / 14)


GEOMETRIES = {  # weights -> index of the geometry
    "pentagon": (PENTAGON, 0),
    "stretched pentagon": (torch.tensor([[1.3], [0.8]]) * PENTAGON, 0),
    "digons without feature 0": (DROPPED + 0.05 * PENTAGON, 1),
    "digons with it": (KEPT, 2),
    "four features that are not antipodal": (PENTAGON * torch.tensor([0, 1, 1, 1, 1]), 3),
    "one digon": (KEPT * torch.tensor([1, 1, 0, 0, 0]), 3),
}


@pytest.mark.parametrize("W, expected", GEOMETRIES.values(), ids=GEOMETRIES)
def test_geometry_of(W, expected):
    assert geometry_of(W[None]).tolist() == [expected]


def test_around_forgets_the_order_of_features():
    order = torch.tensor([0, 3, 1, 4, 2])
    torch.testing.assert_close(perturbed_pentagon.around(PENTAGON[:, order][None]), PENTAGON[None])


# The run


@pytest.fixture(scope="module")
def quick():
    return run(QUICK, progress=False)


def test_run(quick):
    assert quick.ratio.shape == (2, 9) and quick.W.shape == (2, 9, 3, 2, 5)
    for ratio in quick.ratio.tolist():
        assert ratio[0] == pytest.approx(0.01) and ratio[-1] == pytest.approx(10)
    found = quick.loss.isfinite()
    geometry = geometry_of(quick.W.flatten(0, 2)).view_as(found)
    assert found.any() and (geometry == torch.arange(3))[found].all()
    line, position = quick.crossing.line, quick.crossing.position
    assert len(line) and (quick.ratio[line, 0] <= quick.crossing_ratio).all()
    below = position.long()
    between = quick.ratio[line, below], quick.ratio[line, below + 1]
    assert (between[0] <= quick.crossing_ratio).all() and (quick.crossing_ratio <= between[1]).all()
    assert quick.checked.tolist() == [0, 4, 8]
    assert quick.random.W.shape == (2, 3, 1, 2, 5) and quick.random.loss.shape == (2, 3, 1)
    assert quick.sampled.W.shape == (3, 2, 5) and quick.sampled.loss.shape == (3,)


def test_run_is_a_function_of_the_seed(quick):
    again, other = (run(QUICK, seed=seed, progress=False) for seed in (0, 1))
    assert torch.equal(again.W, quick.W) and torch.equal(again.random.W, quick.random.W)
    assert torch.equal(again.sampled.W, quick.sampled.W)
    assert not torch.equal(other.random.W, quick.random.W) and not torch.equal(
        other.sampled.W, quick.sampled.W
    )


def test_a_ratio_ends_at_a_density_of_one():
    settings = Settings((0.2,), points=3, steps=2, random_starts=1, sampling=Sampling(1, 1, 8))
    assert run(settings, progress=False).ratio[0, -1] == pytest.approx(5)


# The figure


def test_figure_shows_solutions_losses_and_crossings():
    result = ideal()
    result.crossing.below[1] = 2  # at the second density no crossing is known
    figure = drawn(perturbed_pentagon.figure, result)
    digons, pentagons, _, *losses = figure.axes
    spokes, square, dots = digons.collections
    assert (
        len(spokes.get_segments()) == 125
        and len(square.get_offsets()) == 25
        and len(dots.get_offsets()) == 100
    )
    white = [colour[:3].tolist() == [1, 1, 1] for colour in square.get_facecolors()]
    assert sum(white) == 12 and all(
        white[:12]
    )  # where the other geometry is better, and below the others
    assert (
        digons.get_title().startswith("digons")
        and len(pentagons.collections[1].get_offsets()) == 23
    )
    lengths = [(spoke[1] ** 2).sum() for spoke in pentagons.collections[0].get_segments()]
    assert lengths == pytest.approx([1] * 115)
    for k, ax in enumerate(losses):
        for line, loss in zip(ax.lines[:3], result.loss[k].T):
            shown = torch.tensor(line.get_ydata())
            assert torch.equal(shown.isfinite(), loss.isfinite())
            assert torch.equal(shown[shown.isfinite()], loss[loss.isfinite()])
    assert "2.50× sparser" in losses[0].get_title() and "sparser" not in losses[1].get_title()
    assert [len(ax.lines) for ax in losses] == [4, 3]  # the crossing that is known is marked


def test_random_descents_are_drawn_where_they_are(quick):
    """Whether the last point is among the checked or not."""
    for result in (ideal(), quick, ideal()._replace(checked=torch.arange(1, 22, 3))):
        for k, ax in enumerate(perturbed_pentagon.figure(result).axes[3:]):
            dots = torch.tensor(ax.collections[0].get_offsets())
            expected = [
                [at, loss]
                for at, losses in zip(
                    result.ratio[k, result.checked].tolist(), result.random.loss[k].tolist()
                )
                for loss in losses
            ]
            assert dots.tolist() == expected


def test_figure_of_a_run(quick):
    drawn(perturbed_pentagon.figure, quick)
