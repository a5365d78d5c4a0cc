"""Mono- and polysemantic neurons: rules, claims on made-up results, a short run."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from drawing import drawn

import geometry
import Section7main as section7
from experiments.section7 import neuron_patterns
from experiments.section7.neuron_patterns import DENSITIES, QUICK, Result, Settings, run
from models import ReLUHiddenModel
from sweeps.claims import (
    BEST_KNOWN,
    REPRODUCED,
    TRAINING_LIMITED,
    checked,
    seen_text,
    verdict,
)

FEW = replace(QUICK, densities=(0.5, 0.05), steps=20, runs=3, more_steps=5, rows=256, more_rows=256)
ALONE = ("0", "1", "2", "3", "4")
CODES = {  # neurons of each feature: the paper's steps
    "monosemantic": ALONE,
    "3 in 2": (*ALONE, "34"),
    "5 in 3": (*ALONE, "23", "34"),
    "6 in 4": (*ALONE, "12", "34"),
    "8 in 5": (*ALONE, "01", "23", "34"),
    "pairs": tuple(map("".join, combinations("01234", 2))),
    "two each": ALONE * 2,  # ten features, five polysemantic neurons, no pairs
    "hidden": ("0", "1", "2", "34", "34", "34"),  # three features in two neurons
}
PAPER = (
    *("monosemantic", "monosemantic", "3 in 2", "3 in 2", "3 in 2", "5 in 3", "6 in 4"),
    *("6 in 4", "8 in 5", "8 in 5", "8 in 5", "pairs", "pairs"),
)


def code(name):
    """W (5, 10) with each feature evenly on its neurons and negative weights elsewhere."""
    W = torch.zeros(5, 10)
    for feature, neurons in enumerate(CODES[name]):
        W[:, feature] = -2.0
        W[[int(neuron) for neuron in neurons], feature] = len(neurons) ** -0.5
    return W


def weights(codes):
    """W (points, 5, 10) of codes by name, or as they are."""
    return torch.stack([W if isinstance(W, torch.Tensor) else code(W) for W in codes])


def result_with(codes, fresh=None):
    """A Result of two parts, with these codes as the best solutions, and others as fresh runs."""
    points = len(codes)
    best = weights(codes)
    loss = 1 + 0.01 * (torch.arange(points)[:, None] - torch.arange(points)).abs().double()
    loss = loss[:, None].repeat(1, 2, 1)
    return Result(
        density=torch.tensor(DENSITIES[:points], dtype=torch.float64),
        fresh_loss=1 + torch.linspace(0, 1, 20, dtype=torch.float64).repeat(points, 1),
        fresh_W=(best if fresh is None else weights(fresh))[:, None].repeat(1, 2, 1, 1),
        own_loss=torch.ones(points, 2, dtype=torch.float64),
        W=best.expand(points, 2, points, 5, 10).clone(),
        loss=loss,
        same_rows_loss=loss.clone(),
    )


# The rules


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("monosemantic", (5, 0, 0, 0)),
        ("3 in 2", (3, 2, 3, 1)),
        ("5 in 3", (2, 3, 5, 2)),
        ("6 in 4", (1, 4, 6, 2)),
        ("8 in 5", (0, 5, 8, 3)),
        ("pairs", (0, 5, 10, 10)),
        ("two each", (0, 5, 10, 0)),
        ("hidden", (3, 2, 3, 3)),
    ],
)
def test_pattern(name, counts):
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    W = torch.stack([code(name), code(name)[order]])
    assert [tuple(row) for row in torch.stack(geometry.neuron_pattern(W), dim=1).tolist()] == [
        counts
    ] * 2


def test_a_neuron_carries_a_feature_from_half_of_its_largest_weight_on():
    W = torch.tensor([[[1.0, 1.0, 1.0], [0.49, 0.51, -1.0]]])
    assert geometry.carried(W).tolist() == [[[True, True, True], [False, True, False]]]


def test_only_features_that_the_positive_part_represents_are_carried():
    W = torch.tensor([[[0.49, 0.51, 0.36, 0.35], [-3.0, -3.0, 0.36, 0.35]]])
    assert geometry.carried(W).tolist() == [
        [[False, True, True, False], [False, False, True, False]]
    ]


def test_carried_refuses_what_are_no_weights(unchecked):
    with pytest.raises(ValueError, match="W: expected a tensor"):
        geometry.carried([[1.0]])


@pytest.mark.parametrize("name", CODES)
def test_ordered_puts_neurons_of_few_features_first(name):
    W = code(name)
    shuffled = W[torch.randperm(5, generator=torch.Generator().manual_seed(2))]
    torch.testing.assert_close(
        geometry.ordered_neurons(shuffled), geometry.ordered_neurons(W), rtol=0, atol=0
    )
    counts = geometry.carried(geometry.ordered_neurons(shuffled)[None])[0].sum(dim=1)
    assert (counts.diff() >= 0).all()
    if name == "monosemantic":
        torch.testing.assert_close(geometry.ordered_neurons(shuffled), W)


def test_runs_within_one_percent_have_reached_the_best():
    result = result_with(["monosemantic", "3 in 2"])
    result.same_rows_loss[0, 1, 0] = 5.0  # of a part that is not the best
    result.loss[:, 1] += 0.5
    result.fresh_loss[0] = 2.0
    result.fresh_loss[0, :3] = torch.tensor([0.99, 1.009, 1.011])
    result.same_rows_loss[1] *= 2
    result.fresh_loss[1] = 2.01
    assert neuron_patterns.reached(result).tolist() == [2 / 20, 1]


def test_parts_within_a_thousandth_agree():
    result = result_with(["monosemantic", "3 in 2"])
    result.loss[0, 1] += 0.0009
    result.loss[1, 1] += 0.0011
    assert neuron_patterns.agreeing(result).tolist() == [1, 0.5]


def test_gained_is_what_the_best_fresh_run_lacks():
    result = result_with(["monosemantic", "3 in 2"])
    result.own_loss[0] = torch.tensor([1.4, 1.2])
    assert neuron_patterns.gained(result).tolist() == pytest.approx([0.2, 0])


def test_changes_are_where_the_losses_cross():
    result = result_with(["monosemantic", "monosemantic", "3 in 2", "8 in 5"])
    result.loss[1, :, 2] = 1.02
    result.loss[2, :, :2] = 1.02**3
    (first, at), (second, last) = neuron_patterns.changes(result)
    assert (first, second) == (1, 2)
    assert at == pytest.approx(0.75**0.75 * 0.5**0.25)  # a quarter of the way, logarithmically
    assert last == pytest.approx((0.5 * 0.35) ** 0.5)
    result.W[1, :, 2] = code("8 in 5")  # then 3 in 2 is not known at the density before
    assert neuron_patterns.changes(result)[0] == (1, None)


# The claim


def judged(result):
    """Whether each finding holds: of fresh runs, of the best known, and how the two compare."""
    claim = checked(section7.claim_steps(result))
    assert seen_text([claim])
    holds = [finding.holds for finding in claim.findings]
    return holds[:6], holds[6:12], holds[12]


def test_ideal():
    result = result_with(PAPER)
    assert judged(result) == ([True] * 6, [True] * 6, True)
    claim = section7.claim_steps(result)
    assert verdict([claim]) == REPRODUCED
    assert {finding.evidence for finding in claim.findings} == {BEST_KNOWN}
    assert len(section7.alike_at(result, neuron_patterns.best(result))) == 11


def test_either_pattern_counts_at_the_boundary():
    early = ["monosemantic"] * 3 + list(PAPER[3:])
    assert judged(result_with(early)) == ([True] * 6, [True] * 6, True)
    later = ["monosemantic"] * 4 + list(PAPER[4:])
    assert judged(result_with(later))[0] == [True, False, True, True, True, True]


def test_fresh_runs_and_the_best_known_are_judged_apart():
    other = ["monosemantic"] * len(PAPER)
    assert judged(result_with(PAPER, fresh=other))[:2] == ([True] + [False] * 5, [True] * 6)
    assert judged(result_with(other, fresh=PAPER))[:2] == ([True] * 6, [True] + [False] * 5)


def test_fresh_runs_that_miss_the_best_are_training_limited():
    result = result_with(PAPER)
    result.fresh_loss[5] += 0.02  # at density 0.15
    claim = section7.claim_steps(result)
    limited = [k for k, found in enumerate(claim.findings) if found.evidence == TRAINING_LIMITED]
    assert limited == [2, 12] and not claim.findings[12].holds


def test_best_fresh_run_is_that_of_the_part_of_lowest_loss():
    result = result_with(["monosemantic", "3 in 2"])
    result.fresh_W[:, 0] = 0  # the first part
    result.fresh_loss[:] = 1.5
    result.fresh_loss[0, 3] = 1.0  # of the first part
    result.fresh_loss[1, 13] = 1.0  # of the second part
    best = neuron_patterns.best_fresh(result)
    assert (best[0] == 0).all() and torch.equal(best[1], code("3 in 2"))


def random_weights():
    return list(torch.randn(len(PAPER), 5, 10, generator=torch.Generator().manual_seed(0)))


BROKEN = {  # best solutions -> the findings that do not hold of them
    "dense neurons shared": (["3 in 2", *PAPER[1:]], [0]),
    "all monosemantic": (["monosemantic"] * len(PAPER), [1, 2, 3, 4, 5]),
    "all pairs": (["pairs"] * len(PAPER), [0, 1, 2, 3, 4]),
    "eight in five at 0.12": ([*PAPER[:6], "8 in 5", *PAPER[7:]], [3]),
    "ten features, two a neuron": ([*PAPER[:11], "two each", *PAPER[12:]], [5]),
    "random weights": (random_weights(), [0, 1, 2, 3, 4, 5]),
    "not all densities": (PAPER[:10], [4, 5]),
}


@pytest.mark.parametrize(("codes", "missed"), BROKEN.values(), ids=BROKEN)
def test_broken(codes, missed):
    fresh, best, _ = judged(result_with(codes))
    assert fresh == best == [k not in missed for k in range(6)]


# A short run


@pytest.fixture(scope="module")
def short():
    return run(FEW, seed=1, progress=False)


def test_run(short):
    assert short.W.shape == (2, 2, 11, 5, 10) and short.fresh_loss.shape == (2, 6)
    assert all(values.isfinite().all() for values in short)
    assert not torch.equal(short.fresh_loss[:, :3], short.fresh_loss[:, 3:])
    other = run(FEW, seed=2, progress=False)
    assert not torch.equal(other.fresh_loss, short.fresh_loss)


def test_parts_of_a_run_are_those_of_the_whole(short):
    parts = neuron_patterns.joined(
        [run(part, seed=1, progress=False) for part in neuron_patterns.shards(FEW)]
    )
    for whole, together in zip(short, parts):
        torch.testing.assert_close(whole, together, rtol=0, atol=0)


def test_fresh_runs_are_trained_on_where_they_were_found_and_elsewhere():
    result = run(
        replace(FEW, steps=60, runs=20, more_steps=60, rounds=1, parts=1, more_rows=2**13),
        progress=False,
    )
    torch.testing.assert_close(result.own_loss[:, 0], result.loss[:, 0, :2].diagonal())
    assert (neuron_patterns.gained(result) >= 0).all()
    assert result.W[0, 0, 0].ne(result.W[0, 0, 1]).any()


def test_starts():
    """Starts are the best of all densities, then the own best with neighbours exchanged."""
    best = ReLUHiddenModel(2, 10, 5, seed=3)
    best.b.data = torch.arange(20.0).view(2, 10)
    starts = neuron_patterns._starts(best)
    W, b = starts.W.detach().unflatten(0, (2, 11)), starts.b.detach().unflatten(0, (2, 11))
    for point in range(2):
        assert torch.equal(W[point, :2], best.W) and torch.equal(b[point, :2], best.b)
        for k in range(9):
            order = [*range(k), k + 1, k, *range(k + 2, 10)]
            assert torch.equal(W[point, 2 + k], best.W[point][:, order])
            assert torch.equal(b[point, 2 + k], best.b[point][order])


@pytest.mark.parametrize("densities", [(0.1, 0.2), (0.5, 0.5), (2.0, 1.0)])
def test_settings_refuse(densities):
    with pytest.raises(ValueError, match="densities: expected"):
        Settings(densities=densities)


def test_figures(short):
    for result in (short, result_with(PAPER)):
        figure = drawn(neuron_patterns.figure, result)
        drawn(neuron_patterns.steps_figure, result, [(0.5, 2, 3)])
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles[3] == "density 0.35\n3 in 2" and titles[-1].endswith("10 in 5, all pairs")
