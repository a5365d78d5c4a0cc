"""Stages of learning: the rules, the claim on ideal and broken results, and a short run."""

import pytest
import torch
from drawing import drawn

import Section5main as section5
from experiments.section5 import stages
from experiments.section5.stages import QUICK, Course, Result, Settings, Stationary, run
from sweeps.claims import seen_text
from sweeps.figures import save_figure

OCTAHEDRON = torch.cat((torch.eye(3), -torch.eye(3)[:, [1, 2, 0]]), dim=1).double()
COLLAPSED = (
    torch.tensor([[1.0] * 3 + [0.0] * 3, [0.0] * 3 + [1.0] * 3, [0.0] * 6]).double() / 3**0.5
)
NOTHING = torch.zeros(3, 6).double()
STEPS = torch.tensor([0, *(2.0 ** (torch.arange(8, 45) / 4)).round().long().tolist()])  # 4 to 2048


def ideal(runs=10):
    """Runs that rest at the origin, then with both sets collapsed, and then as an octahedron."""
    which = torch.bucketize(STEPS, torch.tensor([30, 300]), right=True)
    loss = torch.tensor([0.1, 0.02, 0.003]).double()[which]
    W = torch.stack((NOTHING, COLLAPSED, OCTAHEDRON))[which]
    course = Course(
        steps=STEPS,
        W=W[:, None].repeat(1, runs, 1, 1),
        b=torch.zeros(len(STEPS), runs, 6).double(),
        loss=loss[:, None].repeat(1, runs),
        gradient=torch.full((len(STEPS), runs), 0.1).double(),
    )
    spans = []
    for k, run_stages in enumerate(stages.stages(course)[:2]):
        spans += [(k, first, last) for first, last in run_stages]
    run_index, first, last = torch.tensor(spans).T
    curvatures = torch.ones(len(spans), 24).double()
    curvatures[last < len(STEPS) - 1, :4] = -0.1
    points = Stationary(
        run=run_index,
        first=first,
        last=last,
        start=first,
        W=W[(first + last) // 2],
        b=torch.zeros(len(spans), 6).double(),
        loss=loss[first],
        gradient=torch.full((len(spans),), 1e-6).double(),
        curvatures=curvatures,
    )
    return Result(course, course, points)


def with_course(result, **changes):
    return result._replace(exact=result.exact._replace(**changes))


def with_points(result, **changes):
    return result._replace(stationary=result.stationary._replace(**changes))


def ending_in(W):
    def change(result):
        result.sampled.W[-1, :2] = W  # also of the exact runs, since both share one course
        return result

    return change


def with_one_geometry(result):
    """The weights of the second stage at all of them; the loss and the end are as before."""
    W = result.exact.W.clone()
    W[:-1] = COLLAPSED
    return with_course(result, W=W)


RANDOM = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
BROKEN = {  # name -> the change, and the findings that it makes false
    "a loss without stages": (
        lambda r: with_course(r, loss=1 / (1 + STEPS.double())[:, None].expand(-1, 10)),
        [0],
    ),
    "stages of one geometry": (with_one_geometry, [1]),
    "a fifth ends at random": (ending_in(RANDOM), [2]),
    "a fifth ends with antipodal features of one set": (
        ending_in(OCTAHEDRON[:, [0, 5, 1, 3, 2, 4]]),
        [2],
    ),
    "gradients that do not vanish": (
        lambda r: with_points(r, gradient=r.stationary.gradient + 1e-3),
        [3, 4],
    ),
    "points that are no saddles": (
        lambda r: with_points(r, curvatures=r.stationary.curvatures.abs()),
        [3],
    ),
    "ends that are saddles": (
        lambda r: with_points(r, curvatures=r.stationary.curvatures[[0, 1, 0] * 2]),
        [4],
    ),
    "points that no run visits": (
        lambda r: with_points(r, W=RANDOM.expand(len(r.stationary.W), -1, -1)),
        [3, 4],
    ),
}


def holds(result):
    return [finding.holds for finding in section5.claim_stages(result).findings]


def test_claim_holds_on_an_ideal_result():
    found = section5.claim_stages(ideal())
    assert holds(ideal()) == [True] * 5
    numbers = {}
    for finding in found.findings:
        numbers |= finding.numbers
    change = numbers.pop("change relative to the weights at the end, median")
    assert 0.5 < change < 1.1
    assert numbers == {
        "share of runs with at least three stages": 1,
        "stages of a run, median": 3,
        "share of stages whose geometry differs from the one before": 1,
        "stages with one before": 4,
        "least share of runs that do, exact or sampled": 1,
        "share of exact runs": 1,
        "share of sampled runs": 1,
        "share of these at a saddle point": 1,
        "stages between the first and the last": 2,
        "share with the first ones": 1,
        "share of last stages at a minimum": 1,
        "last stages": 2,
    }
    assert seen_text([found]).startswith("Runs have 3 stages in the median. A share of 1")


@pytest.mark.parametrize(("change", "findings"), BROKEN.values(), ids=BROKEN)
def test_claim_refuses_broken_results(change, findings):
    found = holds(change(ideal()))
    assert [place for place, true in enumerate(found) if not true] == findings


def sloping(*parts):
    """A course whose loss falls with some powers of the step: (power, growth of the step)."""
    time = [0.0]
    log_loss = [0.0]
    for power, factor in parts:
        for _ in range(20):
            time.append(time[-1] + torch.tensor(factor).log().item() / 20)
            log_loss.append(log_loss[-1] - power * (time[-1] - time[-2]))
    steps = (1e6 * torch.tensor(time).double().exp()).long()
    loss = torch.tensor(log_loss).double().exp()[:, None]
    W = torch.zeros(len(time), 1, 3, 6)
    return Course(steps, W, W[:, :, 0], loss, loss)


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ([(0.0, 2.0), (3.0, 2.0), (0.0, 2.0)], 2),
        ([(0.45, 2.0), (3.0, 2.0), (0.45, 2.0)], 2),
        ([(0.55, 2.0), (3.0, 2.0), (0.55, 2.0)], 0),  # too steep
        ([(3.0, 2.0), (0.0, 1.1), (3.0, 2.0)], 0),  # too short
        ([(3.0, 2.0), (0.0, 1.4), (3.0, 2.0)], 1),
        ([(1.0, 8.0)], 0),
    ],
)
def test_stages(parts, count):
    assert [len(run_stages) for run_stages in stages.stages(sloping(*parts))] == [count]


def test_endings():
    turned = torch.linalg.qr(RANDOM[:, :3]).Q @ OCTAHEDRON
    assert stages.ending(OCTAHEDRON) == stages.ending(turned) == "octahedron"
    assert stages.ending(OCTAHEDRON[:, [0, 5, 1, 3, 2, 4]]) == "digon, digon, digon"
    assert stages.ending(NOTHING) == "" and "irregular" in stages.ending(COLLAPSED)
    assert stages.endings(ending_in(RANDOM)(ideal()).exact)["octahedron"] == 0.8


def test_ways_down_are_counted_by_the_steepest():
    result = ideal()
    assert stages.ways_down(result).tolist() == [4, 4, 0] * 2
    result.stationary.curvatures[0, :3] = torch.tensor([-1.1e-3, -0.9e-3, -1e-9])
    assert stages.ways_down(result).tolist()[0] == 2
    assert (
        stages.ways_down(with_points(result, curvatures=result.stationary.curvatures.abs())).sum()
        == 0
    )


def test_approach_is_up_to_rotation():
    result = ideal()
    turn = torch.linalg.qr(RANDOM[:, :3]).Q
    turned = with_points(result, W=turn @ result.stationary.W)
    torch.testing.assert_close(stages.approach(turned), stages.approach(result), rtol=0, atol=1e-6)
    assert stages.approach(result)[-1].tolist() == pytest.approx(
        [1, (OCTAHEDRON.norm() ** 2 + 2 - 2 * 2**0.5).sqrt().item() / 6**0.5, 0] * 2, abs=0.3
    )


def test_run(tmp_path):
    result, again, other = (run(QUICK, seed=seed, progress=False) for seed in (0, 0, 1))
    assert torch.equal(again.stationary.W, result.stationary.W)
    assert torch.equal(again.sampled.W, result.sampled.W)
    assert not torch.equal(other.exact.W, result.exact.W)
    points = result.stationary
    # Every run first leaves the origin, which is a saddle point.
    assert points.gradient[0] < 1e-6 and stages.ways_down(result)[0] == 18
    assert (points.gradient <= result.exact.gradient[points.start, points.run] * (1 + 1e-9)).all()
    drawn(stages.figure, result)
    save_figure(stages.animation(result), tmp_path, "octahedron")
    content = (tmp_path / "octahedron.gif").read_bytes()
    assert content[:6] == b"GIF89a" and 10_000 < len(content) < 1_500_000


@pytest.mark.usefixtures("unchecked")
def test_a_density_above_one_is_refused():
    with pytest.raises(ValueError, match=r"density: expected at most 1, got 1\.5"):
        Settings(density=1.5)
