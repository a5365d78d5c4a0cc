"""Graded correlation: its loss against the reference, a short run, and the claim's criteria."""

import pytest
import torch
from drawing import drawn

from experiments.variations import graded_correlation
from experiments.variations.graded_correlation import (
    QUICK,
    THREE,
    TWO,
    Result,
    Settings,
    antipodal,
    collapse_correlation,
    collapsed_count,
    interference_ratio,
    orthogonal,
    ratio_error,
    run,
    three_collapsed,
)
from experiments.variations.graded_correlation_claim import claim
from experiments.variations.graded_loss import descend_graded, graded_loss, in_states
from features import FeatureDistribution
from losses.exact import expected_loss
from sweeps.claims import BEST_KNOWN, EXACT, TRAINED, TRAINING_LIMITED
from theory.descents import Solutions


def pairs(density, correlation, features):
    """The library's own description of such pairs, whose loss comes from the reference."""
    return FeatureDistribution(
        density, features=features, set_size=2, correlation="correlated", strength=correlation
    )


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


# The loss


@pytest.mark.parametrize("density, correlation", [(0.2, 0.3), (0.03, 0), (0.5, 1), (1, 0.4)])
@pytest.mark.parametrize("features", [2, 4])
def test_loss_is_that_of_the_reference(density, correlation, features):
    weights = torch.randn(1, 3, features, generator=torch.manual_seed(0), dtype=torch.float64)
    W, b = weights[:, :2], 0.2 * weights[:, 2]
    loss = graded_loss(W, b, in_states(numbers(density), numbers(correlation), features // 2))
    expected = expected_loss(W, b, pairs(density, correlation, features))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)


def test_loss_of_three_pairs_is_that_of_samples():
    W = THREE["one collapsed"][None]
    b = torch.full((1, 6), -0.05, dtype=torch.float64)
    loss = graded_loss(W, b, in_states(numbers(0.3), numbers(0.5), 3)).item()
    x = pairs(0.3, 0.5, 6).sample(2**17, torch.manual_seed(0), dtype=torch.float64)[0]
    errors = (x - (x @ W[0].T @ W[0] + b).clamp(min=0)).square().sum(dim=1)
    assert abs(errors.mean().item() - loss) < 5 * errors.std().item() / len(x) ** 0.5


def test_descent_follows_the_gradient_of_the_reference():
    """What a descent reaches is stationary, by the slow loss."""
    start = TWO["orthogonal"][None]
    found = descend_graded(start, 0 * start[:, 0], numbers(0.3), numbers(0.4), steps=300, lr=3e-2)
    W = found.W.requires_grad_()
    loss = expected_loss(W, found.b, pairs(0.3, 0.4, 4))
    loss.sum().backward()
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-9, atol=0)
    assert W.grad.abs().max() < 1e-4 * 0.3


def test_interference_ratio_by_hand():
    """P(both active) is s^2 + c s (1 - s) = 0.04 + 0.5 * 0.16, three times s^2."""
    assert interference_ratio(0.2, 0.5) == pytest.approx(3)
    for correlation in (0, 0.3, 1):
        antipodal_loss, orthogonal_loss = (
            expected_loss(TWO[name][None], torch.zeros(1, 4).double(), pairs(0.1, correlation, 4))
            for name in ("antipodal", "orthogonal")
        )
        ratio = (antipodal_loss / orthogonal_loss).item()
        assert ratio == pytest.approx(interference_ratio(0.1, correlation), rel=1e-9)


# The run


def test_run():
    result, again, other = (run(QUICK, seed=seed, progress=False) for seed in (0, 0, 1))
    assert result.two.W.shape == (2, 3, 3 + 4, 2, 4) and result.three_W.shape == (2, 3, 2, 2, 6)
    assert ratio_error(result).max() < 1e-12 and (result.fall >= 0).all()
    counts = collapsed_count(result.three_W.flatten(0, 2)).view(2, 3, 2)
    exists = result.three_loss.isfinite()
    assert ((counts > 0) == torch.tensor([False, True]))[exists].all()
    for place, correlation in enumerate(QUICK.correlations):  # losses belong to their points
        exact = expected_loss(
            result.two.W[0, place, :1], torch.zeros(1, 4).double(), pairs(0.3, correlation, 4)
        )
        assert exact.item() >= result.two.loss[0, place].min() * (1 - 1e-9)
    assert torch.equal(again.two.W, result.two.W) and torch.equal(again.three_W, result.three_W)
    assert not torch.equal(other.two.W, result.two.W)
    assert not torch.equal(other.three_W, result.three_W)
    drawn(graded_correlation.figure, result)
    claim(result)


def test_neighbours_hand_on_in_both_directions():
    source, target = graded_correlation._neighbours((2, 3))
    found = set(zip(source.tolist(), target.tolist()))
    steps = {(0, 3), (1, 4), (2, 5), (0, 1), (1, 2), (3, 4), (4, 5)}
    assert found == steps | {(b, a) for a, b in steps} | {(k, k) for k in range(6)}
    assert len(source) == len(found)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "correlations",
    [(), (0,), (0.1, 0.5), (0, 0.5, 0.5), (0, 1.2), (0, float("nan"), 1)],
    ids=["none", "one", "above zero", "equal", "above one", "not a number"],
)
def test_settings_refuse_correlations(correlations):
    with pytest.raises(ValueError, match="correlations: expected"):
        Settings(correlations=correlations)


@pytest.mark.usefixtures("unchecked")
def test_settings_refuse_densities():
    with pytest.raises(ValueError, match="densities"):
        Settings(densities=(0.5, 1.5))


# Measures


def test_arrangements_by_hand():
    W = torch.stack(list(TWO.values()))
    assert antipodal(W).tolist() == [True, False, False]
    assert orthogonal(W).tolist() == [False, True, False]
    assert not orthogonal(0.4 * W).any() and not antipodal(0.4 * W).any()
    counts = collapsed_count(torch.stack(list(THREE.values())))
    assert dict(zip(THREE, counts.tolist())) == {
        "side by side": 0,
        "antipodal": 0,
        "two digons": 0,
        "one collapsed": 1,
        "two collapsed": 2,
        "three collapsed": 3,
    }
    assert collapsed_count(0.5 * THREE["three collapsed"][None]).item() == 0


# The claim

DENSITY = numbers(*Settings().densities)
CORRELATION = numbers(*Settings().correlations)
THRESHOLD = {0.5: 0.4, 0.3: 0.15, 0.2: 0.35, 0.1: 0.9}  # above 1, never: where none is named


def ideal():
    """Two pairs are orthogonal, three collapse at the thresholds, and descents end as claimed."""
    shape = len(DENSITY), len(CORRELATION)
    ratio = interference_ratio(DENSITY[:, None], CORRELATION)
    runs = Settings().two_runs
    random = [TWO["antipodal"] if k < runs // 3 else TWO["orthogonal"] for k in range(runs)]
    two_W = torch.stack([*TWO.values(), *random]).repeat(*shape, 1, 1, 1)
    two_W[:, CORRELATION >= 0.3, len(TWO) :] = TWO["orthogonal"]
    two_loss = torch.where(antipodal(two_W), ratio[..., None], 1.0)
    two_loss[:, :, 2] = 2.0
    threshold = numbers(*(THRESHOLD.get(density, 1.5) for density in DENSITY.tolist()))
    some = 1 + 0.1 * (threshold[:, None] - CORRELATION)
    return Result(
        density=DENSITY,
        correlation=CORRELATION,
        digons=torch.stack((ratio, torch.ones(shape)), dim=2),
        two=Solutions(two_W, two_loss),
        three_W=torch.stack((THREE["side by side"], THREE["one collapsed"])).repeat(
            *shape, 1, 1, 1
        ),
        three_loss=torch.stack((torch.ones(shape), some), dim=2),
        fall=torch.zeros(shape, dtype=torch.float64),
    )


def held(result):
    return [finding.holds for finding in claim(result).findings]


def test_findings_hold_on_an_ideal_result():
    found = claim(ideal()).findings
    assert [finding.holds for finding in found] == [True] * 6
    assert [finding.evidence for finding in found] == [
        EXACT, BEST_KNOWN, TRAINED, BEST_KNOWN, BEST_KNOWN, BEST_KNOWN
    ]  # fmt: skip
    expected = [*THRESHOLD.values(), torch.inf]
    assert collapse_correlation(ideal()).tolist() == pytest.approx(expected)
    assert three_collapsed(ideal())[:, -1].tolist() == [1, 1, 1, 1, 0]
    assert found[1].numbers["lowest correlation"] == 0.05
    assert found[2].numbers["smallest antipodal share, independent"] == pytest.approx(21 / 64)
    assert found[3].numbers["correlation at density 0.1"] == pytest.approx(0.9)
    assert found[4].numbers["correlation by which it is higher"] == pytest.approx(0.25)
    assert found[5].numbers["least loss with collapsed pairs over that without"] > 1


def without_ratio(result):
    return result._replace(digons=torch.ones_like(result.digons))


def antipodal_best(result):
    return result._replace(two=Solutions(result.two.W, 1 / result.two.loss))


def uneven_when_independent(result):
    result.two.loss[:, 0] = torch.where(antipodal(result.two.W[:, 0]), 1.01, 1.0)
    return result


def never_antipodal(result):
    result.two.W[:, :, len(TWO) :] = TWO["orthogonal"]
    return result


def always_antipodal(result):
    result.two.W[:, :, len(TWO) :] = TWO["antipodal"]
    result.two.loss[:, :, len(TWO) :] = 9
    result.two.loss[:, 0] = 1
    return result


def never_collapsed(result):
    result.three_loss[..., 1] = torch.inf
    return result


def always_collapsed(result):
    result.three_loss[..., 1] = 0.5
    return result


def densest_first(result):
    result.three_loss[0, :, 1] = 1 + 0.1 * (0.1 - CORRELATION)
    return result


def apart_in_another_order(result):
    result.three_W[:, :, 0] = THREE["antipodal"]
    return result


def noise(result):
    generator = torch.manual_seed(1)
    return Result(
        result.density,
        result.correlation,
        torch.rand(result.digons.shape, generator=generator, dtype=torch.float64),
        Solutions(
            torch.randn(result.two.W.shape, generator=generator, dtype=torch.float64),
            torch.rand(result.two.loss.shape, generator=generator, dtype=torch.float64),
        ),
        torch.randn(result.three_W.shape, generator=generator, dtype=torch.float64),
        torch.rand(result.three_loss.shape, generator=generator, dtype=torch.float64),
        result.fall,
    )


BROKEN = {
    "no ratio": (without_ratio, [False, True, True, True, True, True]),
    "antipodal is best": (antipodal_best, [True, False, True, True, True, True]),
    "uneven when independent": (uneven_when_independent, [True, False, True, True, True, True]),
    "no descent ends antipodal": (never_antipodal, [True, True, False, True, True, True]),
    "all descents end antipodal": (always_antipodal, [True, True, False, True, True, True]),
    "nothing collapses": (never_collapsed, [True, True, True, False, False, True]),
    "all collapse at once": (always_collapsed, [True, True, True, False, False, False]),
    "the densest collapse first": (densest_first, [True, True, True, True, False, True]),
    "not side by side": (apart_in_another_order, [True, True, True, True, True, False]),
    "noise": (noise, [False] * 6),
}


@pytest.mark.parametrize("change, expected", BROKEN.values(), ids=BROKEN)
def test_findings_fail_on_broken_results(change, expected):
    result = change(ideal())
    assert held(result) == expected
    for finding in claim(result).findings:
        assert all(abs(value) < float("inf") for value in finding.numbers.values())


def test_gains_of_the_last_round_limit_the_evidence():
    result = ideal()
    result.fall[2, 3] = 0.01
    evidence = [finding.evidence for finding in claim(result).findings]
    assert evidence[3:] == [TRAINING_LIMITED] * 3


def test_figure_shows_the_result():
    shares, cosines, counts = drawn(graded_correlation.figure, ideal()).axes
    assert len(shares.lines) == len(DENSITY) + 1 and len(counts.lines) == len(DENSITY) + 1
    assert shares.lines[0].get_ydata()[0] == pytest.approx(21 / 64)
    assert cosines.lines[0].get_ydata().tolist() == pytest.approx([0] * 8, abs=1e-9)
    assert counts.lines[0].get_ydata().tolist() == [0] * 5 + [1] * 4
