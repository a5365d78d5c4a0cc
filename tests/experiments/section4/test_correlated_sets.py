"""Two sets of ten: what a short run returns, and an ideal Result and broken ones."""

import pytest
import torch
from drawing import drawn

import Section4main as section4
from experiments.section4 import correlated_sets
from experiments.section4.correlated_sets import QUICK, Result, run


def ideal():
    """Three runs at two densities, each set an orthogonal basis, turned against the other."""
    turns = [
        torch.linalg.qr(torch.randn(10, 10, generator=torch.manual_seed(k)))[0] for k in range(4)
    ]
    W = torch.stack([torch.cat((turns[0], turn), dim=1) for turn in turns[1:]])
    return Result(torch.tensor([0.02, 0.5], dtype=torch.float64), torch.stack((W, W)))


BROKEN = {  # how W differs from an ideal one
    "features of a set not orthogonal": lambda W: W + 0.4,
    "one set not represented": lambda W: torch.cat((W[..., :10], 0.3 * W[..., 10:]), dim=3),
    "both sets on the same directions": lambda W: torch.cat((W[..., :10], W[..., :10]), dim=3),
    "noise": lambda W: torch.randn(W.shape, generator=torch.manual_seed(0)),
    "one run of three": lambda W: torch.cat((W[:, :2], W[:, 2:] + 0.4), dim=1),
}


def test_claim_holds_on_an_ideal_result():
    claim = section4.claim_sets(ideal())
    assert claim.holds and len(claim.numbers) == 6
    assert claim.numbers["density 0.02: mean |cos| within a set"] < 1e-6
    assert claim.numbers["density 0.02: across sets"] == pytest.approx(0.25, abs=0.02)
    assert claim.numbers["density 0.02: runs that show it"] == 1
    assert claim.numbers["features represented there, of 20"] == 20


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_claim_refuses_broken_results(change):
    result = ideal()
    assert not section4.claim_sets(result._replace(W=change(result.W))).holds


@pytest.mark.parametrize("shared, holds", [(4, True), (5, False)])
def test_less_than_half_of_a_set_may_lie_along_the_other(shared, holds):
    """Bases with some directions in common, and no other direction in both."""
    turn = torch.eye(10 - shared) - 2 / (10 - shared)
    W = torch.cat((torch.eye(10), -torch.block_diag(torch.eye(shared), turn)), dim=1)
    result = ideal()._replace(W=W.expand(2, 3, 10, 20))
    assert (correlated_sets.overlaps(result).along * 10).round().unique().tolist() == [shared]
    assert section4.claim_sets(result).holds == holds


def test_only_the_sparsest_density_counts():
    result = ideal()
    result.W[1] += 0.4
    assert section4.claim_sets(result).holds


def test_run():
    result, again, other = (run(QUICK, seed=seed, progress=False) for seed in (0, 0, 1))
    assert result.W.shape == (2, 2, 10, 20) and result.density.tolist() == [0.05, 0.5]
    assert torch.equal(again.W, result.W) and not torch.equal(other.W, result.W)
    within, across, along, represented = correlated_sets.overlaps(result)
    assert within.shape == across.shape == represented.shape == (2, 2) and (represented <= 20).all()
    assert ((along >= 0) & (along <= 1)).all()
    drawn(correlated_sets.figure, result)


def test_figure_shows_each_number():
    result = ideal()
    result.W[1, 1] *= 0.4
    figure = drawn(correlated_sets.figure, result)
    heat = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    for image, weights in zip(heat, result.W[:, 0]):
        torch.testing.assert_close(torch.tensor(image), weights.T @ weights)
    cosines, counts = figure.axes[-2:]
    within, across, *_ = correlated_sets.overlaps(result)
    means = [line.get_ydata().tolist() for line in (cosines.lines[0], cosines.lines[4])]
    assert means == [pytest.approx(values.mean(dim=1).tolist()) for values in (within, across)]
    assert counts.lines[0].get_ydata().tolist() == [20, pytest.approx(40 / 3)]
    random = torch.nn.functional.normalize(
        torch.randn(10, 10**5, generator=torch.manual_seed(0)), dim=0
    )
    assert cosines.lines[-1].get_ydata()[0] == pytest.approx(
        random[0].abs().mean().item(), abs=0.005
    )
