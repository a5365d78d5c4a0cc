"""Two sets of ten: what a short run returns, and an ideal Result and broken ones."""

import pytest
import torch
from drawing import drawn

from experiments.section4 import correlated_sets
from experiments.section4.correlated_sets import QUICK, Result, Settings, run
from experiments.section4.nonuniform_claims import claim_sets
from sweeps.claims import BEST_KNOWN, TRAINING_LIMITED

BASIS = torch.eye(10)
DIGONS = torch.cat((BASIS, -BASIS), dim=1)


def ideal():
    """All runs of the full settings: each set an orthogonal basis, turned against the other."""
    turns = [
        torch.linalg.qr(torch.randn(10, 10, generator=torch.manual_seed(k)))[0]
        for k in range(Settings().runs + 1)
    ]
    W = torch.stack([torch.cat((turns[0], turn), dim=1) for turn in turns[1:]])
    density = torch.tensor(Settings().densities, dtype=torch.float64)
    loss = density[:, None] * torch.linspace(1, 2, len(W), dtype=torch.float64)
    return Result(
        density=density,
        W=W.expand(len(density), -1, -1, -1).clone(),
        loss=loss,
        started_W=DIGONS.expand(len(density), -1, -1).clone(),
        started_loss=0.9 * density,
    )


def held(result):
    return [finding.holds for finding in claim_sets(result).findings]


BROKEN = {  # how W differs, where it is better than from digons, and what holds nevertheless
    "features of a set not orthogonal": (lambda W: W + 0.4, [False, False, True, False]),
    "one set not represented": (
        lambda W: torch.cat((W[..., :10], 0.3 * W[..., 10:]), dim=3),
        [False, False, True, False],
    ),
    "both sets on the same directions": (
        lambda W: torch.cat((W[..., :10], W[..., :10]), dim=3),
        [True, True, False, False],
    ),
    "noise": (
        lambda W: torch.randn(W.shape, generator=torch.manual_seed(0)),
        [False, False, True, False],
    ),
    "the best run": (
        lambda W: torch.cat((W[:, :1] + 0.4, W[:, 1:]), dim=1),
        [False, False, True, False],
    ),
    "another run": (
        lambda W: torch.cat((W[:, :2], W[:, 2:] + 0.4), dim=1),
        [True, False, True, False],
    ),
}


def test_findings_hold_on_an_ideal_result():
    claim = claim_sets(ideal())
    assert [finding.holds for finding in claim.findings] == [True] * 4
    bases, every_model, differ, from_digons = (finding.numbers for finding in claim.findings)
    assert bases["mean |cos| within a set"] < 1e-6
    assert bases["mean |cos| across sets"] == pytest.approx(0.1)  # of the digons, which are best
    assert bases["features represented, of 20"] == 20
    assert every_model == {"share of models": 1, "models": 8}
    assert differ == {
        "share of features along another": 0,
        "share of models with bases that differ": 1,
    }
    assert from_digons == {
        "loss from digons over the lowest other": pytest.approx(0.9),
        "share of features along another, from digons": 1,
    }


@pytest.mark.parametrize("change, expected", BROKEN.values(), ids=BROKEN)
def test_findings_fail_on_broken_results(change, expected):
    result = ideal()
    broken = result._replace(W=change(result.W), started_loss=1.5 * result.density)
    assert held(broken) == expected


def test_noise_is_refused():
    result = ideal()
    noise = torch.randn(result.started_W.shape, generator=torch.manual_seed(0))
    assert held(result._replace(started_W=noise)) == [False, True, True, False]


def test_the_best_of_all_models_counts():
    """Where the one from digons is best, training from small weights was not enough."""
    result = ideal()
    evidence = [finding.evidence for finding in claim_sets(result).findings]
    assert evidence == [BEST_KNOWN, TRAINING_LIMITED, TRAINING_LIMITED, BEST_KNOWN]
    result.started_W[0] += 0.4
    assert held(result) == [False, True, True, False]
    result.started_loss[0] = 1.5 * result.density[0]  # the others are better
    assert held(result) == [True, True, True, False]
    evidence = [finding.evidence for finding in claim_sets(result).findings]
    assert evidence == [BEST_KNOWN] * 4


def test_a_model_that_left_the_digons():
    result = ideal()
    result.started_W[0] = result.W[0, 1]
    assert held(result) == [True, True, True, False]


@pytest.mark.parametrize("shared, holds", [(4, True), (5, False)])
def test_less_than_half_of_a_set_may_lie_along_the_other(shared, holds):
    """Bases with some directions in common, and no other direction in both."""
    turn = torch.eye(10 - shared) - 2 / (10 - shared)
    W = torch.cat((BASIS, -torch.block_diag(torch.eye(shared), turn)), dim=1)
    result = ideal()._replace(W=W.expand(7, 8, 10, 20))
    overlap = correlated_sets.overlaps(result.W)
    assert (overlap.along * 10).round().unique().tolist() == [shared]
    assert correlated_sets.bases_differ(overlap).unique().tolist() == [holds]
    assert held(result) == [True, True, holds, True]


def test_only_the_sparsest_density_counts():
    result = ideal()
    result.W[1:] += 0.4
    assert held(result) == [True] * 4


def test_run():
    result, again, other = (run(QUICK, seed=seed, progress=False) for seed in (0, 0, 1))
    assert result.W.shape == (2, 2, 10, 20) and result.density.tolist() == [0.05, 0.5]
    assert result.loss.shape == (2, 2) and result.started_loss.shape == (2,)
    assert torch.equal(again.W, result.W) and not torch.equal(other.W, result.W)
    within, across, along, represented = correlated_sets.overlaps(result.W)
    assert within.shape == across.shape == represented.shape == (2, 2) and (represented <= 20).all()
    started = correlated_sets.overlaps(result.started_W[:1, None])
    assert started.along == 1 and not (along == 1).any()  # where features are sparse, digons stay
    assert ((along >= 0) & (along <= 1)).all()
    drawn(correlated_sets.figure, result)


def test_figure_shows_each_number():
    result = ideal()
    result.W[-1, 1:] *= 0.4
    figure = drawn(correlated_sets.figure, result)
    heat = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(heat) == 4
    for image, weights in zip(heat, [*result.W[[0, 3, 5], 0], result.started_W[0]]):
        torch.testing.assert_close(torch.tensor(image), weights.T @ weights)
    cosines, counts = figure.axes[-2:]
    within, across, *_ = correlated_sets.overlaps(result.W)
    means = [line.get_ydata().tolist() for line in (cosines.lines[0], cosines.lines[9])]
    assert means == [pytest.approx(values.mean(dim=1).tolist()) for values in (within, across)]
    assert counts.lines[0].get_ydata().tolist() == [*[20] * 6, pytest.approx(2.5)]
    random = torch.nn.functional.normalize(
        torch.randn(10, 10**5, generator=torch.manual_seed(0)), dim=0
    )
    assert cosines.lines[-1].get_ydata()[0] == pytest.approx(
        random[0].abs().mean().item(), abs=0.005
    )
