"""Claim 5.1: an ideal result meets it, and each finding is refused where it is not so."""

import pytest
import torch
from made_up_courses import LONE, PARTNER, STEPS, TIMES, course, loss, settled, waits, way

import Section5main
from sweeps.claims import seen_text, verdict


def claim(**changes):
    """Claim 5.1 of the ideal results, of which some are replaced."""
    results = {"courses": course(), "settled": settled(), "way": way(), "waits": waits()}
    return Section5main.claim_jumps(**(results | changes))


def true_findings(**changes):
    return [finding.holds for finding in claim(**changes).findings]


def test_every_finding_holds_on_ideal_results():
    found = claim()
    assert all(finding.holds for finding in found.findings)
    assert verdict([found]) == "reproduced"
    first, second, *_ = found.findings
    assert list(first.numbers.values())[:4] == [1, 8, 8, 8]
    assert first.numbers["level that the lone feature leaves, median"] == pytest.approx(0.73, 0.01)
    assert second.numbers["drop in percent where a digon forms, median"] == pytest.approx(2, 0.01)
    assert seen_text([found]).startswith("One feature rests at dimensionality 0.7")
    assert seen_text([found]).endswith(" in 8 of 8 runs.")


def changed(result, **fields):
    return result._replace(**fields)


def noise():
    generator = torch.Generator().manual_seed(0)
    D = torch.rand(len(STEPS), 8, 40, generator=generator, dtype=torch.float64)
    return changed(course(), dimensionality=D)


def all_move():
    """All features change places between 0 and 1/2."""
    result = course()
    later = 2 * (result.dimensionality[:, :, PARTNER] - 0.01) / 0.98  # from 0 to 1
    D = later[:, :, None].repeat(1, 1, 40) / 2
    D[:, :, ::2] = 0.5 - D[:, :, ::2]
    return changed(result, dimensionality=D)


def few_runs():
    """Three of eight runs jump."""
    return course((5000, 8000, 11_000, *[99_000] * 5))


@pytest.mark.parametrize(
    "broken",
    [
        lambda: course([99_000] * 8),
        few_runs,
        lambda: course([12_000] * 8, passage=15_000),
        all_move,
        noise,
    ],
    ids=["no jump after the emergence", "too few runs", "slow", "nobody stays", "noise"],
)
def test_jumps_are_refused(broken):
    assert not true_findings(courses=broken())[0]


@pytest.mark.parametrize(
    "broken",
    [
        lambda: loss(drop=0.0),
        lambda: loss(drop=-0.02),
        lambda: loss([time + 2500 for time in TIMES]),
    ],
    ids=["a loss that stays", "a loss that rises", "a loss that drops at other times"],
)
def test_drops_are_refused(broken):
    holds = true_findings(courses=changed(course(), loss=broken()))
    assert holds[0] and not holds[1]


def saddle():
    result = settled()
    result.curvatures[1, 100] = -0.01
    return result


def left():
    result = settled()
    result.W[0, -1, PARTNER] = -0.924
    result.W[0, -1, PARTNER + 1 :] = 0
    return result


def more_flat_directions():
    result = settled()
    result.curvatures[2, :60] = 0
    return result


@pytest.mark.parametrize(
    "broken",
    [
        saddle,
        left,
        more_flat_directions,
        lambda: changed(settled(), gradient=torch.full((4,), 1e-3).double()),
        lambda: settled(0),
    ],
    ids=["saddle", "no lone feature", "more flat directions", "not at rest", "no plateau"],
)
def test_minima_are_refused(broken):
    assert not true_findings(settled=broken())[2]


@pytest.mark.parametrize(
    "broken",
    [
        lambda: changed(way(), top_loss=torch.tensor(2.0686).double()),
        lambda: changed(way(), top_loss=torch.tensor(2.1).double()),
        lambda: changed(way(), top_curvatures=-way().top_curvatures),
        lambda: changed(way(), below_is_digons=torch.tensor([False, False])),
    ],
    ids=["no barrier", "a high one", "many ways down", "it leads elsewhere"],
)
def test_barriers_are_refused(broken):
    assert not true_findings(way=broken())[3]


def test_waits_that_do_not_depend_on_the_noise_are_refused():
    generator = torch.Generator().manual_seed(0)
    shuffled = waits().waited[torch.randperm(5, generator=generator)]
    same = torch.full_like(shuffled, 15_000)
    for waited in (shuffled, same, waits().waited.flip(0)):
        assert not true_findings(waits=changed(waits(), waited=waited))[4]


def test_a_run_that_ends_on_the_plateau_is_no_jump():
    result = course([99_000] * 8)
    assert result.dimensionality[-1, :, LONE].tolist() == pytest.approx([0.73] * 8)
    assert "in none" in seen_text([claim(courses=result)])
