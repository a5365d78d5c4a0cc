"""Three pairs that collapse: what a short run returns, and an ideal Result and broken ones."""

import pytest
import torch
from drawing import drawn
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.section4 import collapsing_pairs
from experiments.section4.collapse_claims import claim_collapse
from experiments.section4.collapsing_pairs import (
    QUICK,
    Result,
    Settings,
    principal_components_loss,
    run,
)
from features import CORRELATIONS, FeatureDistribution
from geometry import collapsed_pairs
from losses.exact import expected_loss
from sweeps.claims import BEST_KNOWN, TRAINING_LIMITED
from theory.descents import Solutions
from theory.kinds import Crossings
from theory.polytopes import POLYTOPES

HEXAGON = POLYTOPES["hexagon"].vertices


def pairs_in_the_plane(collapsed):
    """Three pairs, side by side on a hexagon, of which some have collapsed."""
    W = HEXAGON.clone()
    W[:, 1 : 2 * collapsed : 2] = W[:, 0 : 2 * collapsed : 2]
    return W


def pair_distribution(density):
    return FeatureDistribution(density[:, None], features=6, set_size=2, correlation="correlated")


def ideal():
    """Pairs collapse at the paper's densities, and the loss meets the principal components'."""
    points = Settings().points
    share = torch.linspace(0, 1, points, dtype=torch.float64)
    density = Settings().lowest * (Settings().highest / Settings().lowest) ** share
    boundaries = torch.tensor([0.05, 0.15, 0.25], dtype=torch.float64)
    counts = torch.bucketize(density, boundaries)
    apart = (counts[:, None] - torch.arange(4)).abs()
    relative = (0.99 + 0.05 * (density / 0.5).log()).clamp(max=1)
    optimal = relative * principal_components_loss(pair_distribution(density), 2)
    gaps = (counts.diff() != 0).nonzero()[:, 0]
    checked = torch.arange(0, points, Settings().checked_every)
    return Result(
        density=density,
        W=torch.stack([pairs_in_the_plane(k) for k in range(4)]).repeat(points, 1, 1, 1),
        loss=optimal[:, None] * (1 + 0.1 * apart),
        crossing=Crossings(
            torch.zeros(3).long(),
            gaps + 0.5,
            torch.tensor([0, 1, 2]),
            torch.tensor([1, 2, 3]),
            torch.ones(3).bool(),
        ),
        crossing_density=boundaries,
        checked=checked,
        sampled=Solutions(
            torch.stack([pairs_in_the_plane(k) for k in counts[checked].tolist()]),
            1.01 * optimal[checked],
        ),
    )


def without_crossing(result, k):
    kept = torch.arange(3) != k
    crossing = Crossings(*(values[kept] for values in result.crossing))
    return result._replace(crossing=crossing, crossing_density=result.crossing_density[kept])


def elsewhere(result):
    result.crossing_density[2] = 0.4
    return result


# How results differ from ideal ones, and whether the findings hold nevertheless: one by one,
# crossing losses, principal components, the four densities, and that nothing is better.
BROKEN = {
    "boundaries elsewhere": (elsewhere, [True, True, True, True, True, False, True, True]),
    "a number of pairs left out": (
        lambda result: result._replace(loss=result.loss + torch.tensor([0, 9, 0, 0])),
        [False, False, True, True, True, True, True, False],
    ),
    "nothing collapses": (
        lambda result: result._replace(loss=result.loss + torch.tensor([0, 9, 9, 9])),
        [False, False, False, True, True, True, False, False],
    ),
    "a boundary that was not located": (
        lambda result: without_crossing(result, 1),
        [True, False, True, True, False, True, True, True],
    ),
    "a step without a crossing": (
        lambda result: result._replace(
            crossing=result.crossing._replace(met=torch.tensor([True, False, True]))
        ),
        [True, False, True, True, True, True, True, True],
    ),
    "below the principal components": (
        lambda result: result._replace(loss=result.loss * 0.9),
        [True, True, False, True, True, True, False, True],
    ),
    "steps that are further apart": (
        lambda result: result._replace(crossing_density=torch.tensor([0.02, 0.2, 0.3])),
        [True, True, True, False, False, False, True, True],
    ),
    "noise": (
        lambda result: result._replace(
            loss=torch.rand(result.loss.shape, generator=torch.manual_seed(0))
        ),
        [False, False, False, True, True, True, False, False],
    ),
}


def held(result):
    return [finding.holds for finding in claim_collapse(result).findings]


def test_findings_hold_on_an_ideal_result():
    claim = claim_collapse(ideal())
    assert [finding.holds for finding in claim.findings] == [True] * 8
    assert {finding.evidence for finding in claim.findings} == {BEST_KNOWN}
    stages, crossing, principal, *densities, checks = (each.numbers for each in claim.findings)
    assert stages == {
        "changes of the collapsed pairs": 3,
        "collapsed at the lowest density": 0,
        "collapsed at the highest density": 3,
    }
    precision = pytest.approx(45 ** (1 / 24 / 12) - 1)
    assert crossing == {"crossings": 3, "relative precision": precision}
    assert principal == {"loss over that of the principal components": pytest.approx(1)}
    assert [next(iter(numbers.values())) for numbers in densities] == [
        0.05, 0.15, 0.25, pytest.approx(0.5)
    ]  # fmt: skip
    assert [finding.paper for finding in claim.findings[3:7]] == [
        "0.05", "0.15", "0.2 to 0.25", "0.5"
    ]  # fmt: skip
    assert checks["share of models with as many collapsed pairs"] == 1
    assert checks["best sampled model over the optimum, highest"] == pytest.approx(0.01)


@pytest.mark.parametrize("change, expected", BROKEN.values(), ids=BROKEN)
def test_findings_fail_on_broken_results(change, expected):
    result = change(ideal())
    assert held(result) == expected
    for finding in claim_collapse(result).findings:
        assert all(value == value for value in finding.numbers.values())  # none is NaN


def test_a_better_solution_limits_the_evidence():
    """Whether it was trained on samples or is that of the principal components."""
    trained = ideal()
    trained.sampled.loss[0] *= 0.9
    worse = ideal()._replace(loss=1.1 * ideal().loss)
    for result in (trained, worse):
        claim = claim_collapse(result)
        assert {finding.evidence for finding in claim.findings} == {TRAINING_LIMITED}
        assert not claim.findings[-1].holds


def test_what_was_not_located_has_no_number():
    findings = claim_collapse(without_crossing(ideal(), 1)).findings
    assert findings[1].numbers["crossings"] == 2
    assert findings[4].numbers == {"found": 0}
    assert findings[5].numbers == {"density from which 3 collapsed": 0.25, "found": 1}
    half = ideal()._replace(loss=ideal().loss / 2)
    assert claim_collapse(half).findings[6].numbers == {"found": 0}


def test_meets_principal_is_interpolated():
    """A gap of 4 % that vanishes linearly in log density is 1 % at three quarters of the way."""
    density = torch.tensor([0.1, 0.2, 0.4, 0.8, 1.0], dtype=torch.float64)
    below = torch.tensor([0.1, 0.06, 0.04, 0, 0], dtype=torch.float64)
    loss = (principal_components_loss(pair_distribution(density), 2) * (1 - below))[:, None].expand(
        -1, 4
    )
    result = ideal()._replace(density=density, loss=loss)
    assert collapsing_pairs.meets_principal(result) == pytest.approx(0.4 * 2**0.75)
    assert collapsing_pairs.meets_principal(result._replace(loss=loss / 2)) is None
    assert collapsing_pairs.meets_principal(result._replace(loss=2 * loss)) == 0.1


def test_models_that_collapsed_alike():
    result = ideal()
    assert collapsing_pairs.share_alike(result) == 1
    result.sampled.W[0] = pairs_in_the_plane(3)
    assert collapsing_pairs.share_alike(result) == 6 / 7


# The run


def test_run():
    result, again, other = (run(QUICK, seed=seed, progress=False) for seed in (0, 0, 1))
    assert result.density[[0, -1]].tolist() == pytest.approx([0.03, 0.9]) and result.loss.shape == (
        5,
        4,
    )
    counts = collapsed_pairs(result.W.flatten(0, 1)).view(-1, 4)
    assert (counts == torch.arange(4))[result.loss.isfinite()].all()
    assert result.checked.tolist() == [0, 4]
    assert result.sampled.W.shape == (2, 2, 6) and result.sampled.loss.shape == (2,)
    assert torch.equal(again.W, result.W) and torch.equal(again.sampled.W, result.sampled.W)
    assert not torch.equal(other.W, result.W) and not torch.equal(other.sampled.W, result.sampled.W)
    drawn(collapsing_pairs.figure, result)


@pytest.mark.usefixtures("unchecked")
def test_a_density_above_one_is_refused():
    with pytest.raises(ValueError, match="lowest, highest: expected ascending densities"):
        Settings(highest=1.5)


# Principal components


@st.composite
def set_distributions(draw):
    size, count = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    densities = [draw(st.floats(0.01, 1)) for _ in range(count)]
    density = torch.tensor(densities, dtype=torch.float64).repeat_interleave(size)
    correlation, signed = draw(st.sampled_from(CORRELATIONS)), draw(st.booleans())
    return FeatureDistribution(density[None], set_size=size, correlation=correlation, signed=signed)


@given(distribution=set_distributions(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_principal_components_loss_is_that_of_the_projection(distribution, data):
    """A linear model that projects on principal components has this loss at its best bias."""
    n = distribution.features
    hidden = data.draw(st.integers(1, n))
    mean, own, shared = (value[0] for value in distribution.moments())
    k = distribution.members
    covariance = torch.diag(own) + torch.block_diag(
        *[torch.full((k, k), float(c)) for c in shared[::k]]
    )
    W = torch.linalg.eigh(covariance).eigenvectors[:, -hidden:].T[None]
    b = mean[None] - mean[None] @ W[0].T @ W[0]
    least = principal_components_loss(distribution, hidden)
    torch.testing.assert_close(
        expected_loss(W, b, distribution, "linear"), least, rtol=1e-9, atol=1e-12
    )
    other = torch.randn(1, hidden, n, generator=torch.manual_seed(n), dtype=torch.float64)
    assert (expected_loss(other, b, distribution, "linear") >= least * (1 - 1e-9) - 1e-12).all()


def test_principal_components_loss_by_hand():
    """In pairs that are always active each difference has 1/12 of a member's variance."""
    pairs = FeatureDistribution(1.0, features=6, set_size=2, correlation="correlated")
    assert principal_components_loss(pairs, 2).item() == pytest.approx(4 / 12)
    rare = FeatureDistribution(0.1, features=6, set_size=2, correlation="correlated")
    total, largest = 6 * (0.1 / 3 - 0.0025), (0.1 / 3 - 0.0025) + (0.1 / 4 - 0.0025)
    assert principal_components_loss(rare, 2).item() == pytest.approx(total - 2 * largest)
    assert principal_components_loss(rare, 6).item() == 0


@pytest.mark.usefixtures("unchecked")
def test_principal_components_loss_refuses_other_importances():
    with pytest.raises(ValueError, match=r"importance: expected 1 for all features, got up to 2"):
        principal_components_loss(FeatureDistribution(0.1, torch.tensor([[1.0, 2.0]])), 1)


# The figure


def test_figure_shows_the_steps():
    result = without_crossing(ideal(), 2)
    figure = drawn(collapsing_pairs.figure, result)
    steps, loss = figure.axes[-2:]
    (stairs,) = steps.patches
    values, edges, _ = stairs.get_data()
    assert values.tolist() == [0, 1, 2, 3]
    density = result.density
    last = (collapsing_pairs.collapsed(result) == 3).nonzero()[0, 0]
    # a boundary that is not known is drawn half-way between the neighbours
    half = (density[last - 1] * density[last]).sqrt().item()
    assert edges.tolist() == pytest.approx(
        [density[0].item(), 0.05, 0.15, half, density[-1].item()]
    )
    assert steps.lines[0].get_ydata().tolist() == collapsing_pairs.collapsed(result).tolist()
    relative = collapsing_pairs.relative_to_principal(result)
    assert loss.lines[0].get_ydata().tolist() == relative.tolist()
    first = figure.axes[0]
    assert first.get_title() == "density 0.038"
    ends = torch.tensor(
        [[line.get_xdata()[-1], line.get_ydata()[-1]] for line in first.lines[::2]]
    ).T
    torch.testing.assert_close(ends.T @ ends, HEXAGON.T @ HEXAGON)
