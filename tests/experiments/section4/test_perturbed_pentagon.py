"""One feature gets sparser: what a short run returns, and an ideal Result and broken ones."""

import pytest
import torch
from drawing import drawn

from experiments.section4 import perturbed_pentagon
from experiments.section4.nonuniform_claims import claim_snap
from experiments.section4.perturbed_pentagon import (
    DROPPED,
    KEPT,
    QUICK,
    Result,
    Settings,
    geometry_of,
    run,
)
from sweeps.claims import BEST_KNOWN, TRAINING_LIMITED
from theory.descents import Sampling, Solutions
from theory.kinds import Crossings
from theory.polytopes import POLYTOPES

PENTAGON = POLYTOPES["pentagon"].vertices


FULL = Settings()


def ideal(points=FULL.points):
    """As the paper describes it: the pentagon gives way where feature 0 is 2.5 times sparser."""
    density = torch.tensor(FULL.densities, dtype=torch.float64)
    lines = len(density)
    ratio = torch.logspace(-2, 1, points, dtype=torch.float64).repeat(lines, 1)
    loss = torch.stack((ratio**0.5, ratio / 0.4**0.5, 5 * torch.ones_like(ratio)), dim=-1)
    loss[:, :2, 0] = torch.inf  # no pentagon where the feature is a hundred times sparser
    checked = torch.arange(0, points, FULL.checked_every)
    best = torch.stack([PENTAGON, DROPPED])[
        loss[:, checked].argmin(dim=2)
    ]  # (densities, ratios, 2, 5)
    lowest = loss[:, checked].amin(dim=2)
    crossing_ratio = torch.full((lines + 1,), 0.4, dtype=torch.float64)
    crossing_ratio[-1] = 5
    return Result(
        density=density,
        ratio=ratio,
        W=torch.stack([PENTAGON, DROPPED, KEPT]).repeat(lines, points, 1, 1, 1),
        loss=loss,
        crossing=Crossings(
            line=torch.tensor([*range(lines), lines - 1]),
            position=(crossing_ratio.log10() + 2) / 3 * (points - 1),
            below=torch.tensor([1] * lines + [0]),
            above=torch.tensor([0] * lines + [2]),
            met=torch.ones(lines + 1).bool(),
        ),
        crossing_ratio=crossing_ratio,
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


def pentagon_missing_once(result):
    result.loss[0, (result.ratio[0] > 0.4).nonzero()[2, 0], 0] = 50  # elsewhere is better
    result.loss[0, (result.ratio[0] > 0.4).nonzero()[1, 0], 0] = torch.inf


def noise(result):
    result.W[:] = torch.randn(result.W.shape, generator=torch.manual_seed(0))


BROKEN = {  # change -> whether the findings hold: smoothly, to digons, crossing, the number
    crossing_elsewhere: [True, False, True, False],
    crossing_of_another_density: [False, False, False, False],
    crossing_into_other_digons: [False, False, False, False],
    losses_that_do_not_cross: [False, False, False, False],
    pentagon_that_jumps: [False, True, True, True],
    pentagon_at_no_ratio: [False, False, True, True],
    pentagon_missing_once: [False, False, True, True],
    noise: [False, False, True, True],
}


def held(result):
    return [finding.holds for finding in claim_snap(result).findings]


def test_findings_hold_on_an_ideal_result():
    claim = claim_snap(ideal())
    assert [finding.holds for finding in claim.findings] == [True] * 5
    assert {finding.evidence for finding in claim.findings} == {BEST_KNOWN}
    smooth, digons, crossing, snap, checks = (finding.numbers for finding in claim.findings)
    assert smooth["longest move of a feature"] == pytest.approx(0, abs=1e-9)
    assert smooth["moves"] == 7  # from 10 ** -0.35 to 1
    assert digons == {"share of ratios at which it is so": 1}
    assert crossing == {
        "crossings of the two": 1,
        "pentagon a local minimum until, times sparser": pytest.approx(10**1.9),
        "digons up to a relative density of": pytest.approx(10),
    }
    assert list(snap.items())[:2] == [
        ("times sparser, density 0.05", 2.5), ("times sparser, density 0.02", 2.5)
    ]  # fmt: skip
    assert snap["densities with a crossing"] == 4
    assert snap["relative precision"] == pytest.approx(10 ** (3 / 60 / 12) - 1)
    assert checks["share of random descents in another geometry"] == 0
    assert checks["best sampled model over the optimum, median"] == pytest.approx(0.01)


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_findings_fail_on_broken_results(change):
    result = ideal()
    change(result)
    assert held(result)[:4] == BROKEN[change]
    for finding in claim_snap(result).findings:
        assert all(value == value for value in finding.numbers.values())  # none is NaN


@pytest.mark.parametrize("found_by", ["random", "sampled"])
def test_a_better_solution_limits_the_evidence(found_by):
    result = ideal()
    getattr(result, found_by).loss[0] *= 0.9
    claim = claim_snap(result)
    assert [finding.holds for finding in claim.findings] == [True] * 4 + [False]
    assert {finding.evidence for finding in claim.findings} == {TRAINING_LIMITED}


def test_claim_without_any_crossing():
    result = ideal()
    nothing = Crossings(*(values[:0] for values in result.crossing))
    claim = claim_snap(result._replace(crossing=nothing, crossing_ratio=result.crossing_ratio[:0]))
    assert [finding.holds for finding in claim.findings] == [False] * 4 + [True]
    assert claim.findings[3].numbers["densities with a crossing"] == 0
    assert not any("times sparser," in name for name in claim.findings[3].numbers)
    assert "do not cross" in claim.seen


def test_snap_and_extent_by_hand():
    result = ideal()
    assert perturbed_pentagon.snap(result).tolist() == [0.4] * 4
    ratio = result.ratio[0]
    lowest, highest = perturbed_pentagon.extent(result, perturbed_pentagon.PENTAGON)
    assert lowest.tolist() == [ratio[2].item()] * 4
    assert highest.tolist() == pytest.approx([10] * 4)
    result.crossing.below[0] = 2
    assert perturbed_pentagon.snap(result).isnan().tolist() == [True, False, False, False]
    # Now the last density has two crossings, of which the lower one counts.
    result.crossing.below[4] = 1
    result.crossing.above[4] = 0
    assert perturbed_pentagon.snap(result)[3] == 0.4


def test_missed_optimum_counts_descents():
    result = ideal()
    result.random.W[0, :2, 0] = KEPT
    assert perturbed_pentagon.missed_optimum(result) == pytest.approx(2 / 32)


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
    result = ideal(points=25)
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
    assert [len(ax.lines) for ax in losses] == [4, 3, 4, 4]  # the crossing that is known is marked


def test_random_descents_are_drawn_where_they_are(quick):
    """Whether the last point is among the checked or not."""
    for result in (ideal(), quick, ideal(25)._replace(checked=torch.arange(1, 22, 3))):
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
