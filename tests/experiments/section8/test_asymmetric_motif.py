"""The asymmetric motif: its rule, its claim on made-up results, a short run."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

import Section8main as section8
from experiments.section8 import asymmetric_motif
from experiments.section8.asymmetric_motif import (
    motifs,
    strongest,
    without_control,
    without_inhibition,
)
from sweeps.claims import REPRODUCED, checked, seen_text, verdict


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def changed(weights, at, value):
    weights = weights.clone()
    weights[0, *at] = value
    return weights


def motif_model():
    """W1 and W2 of one model with n=3 and m=4 that has the motif, with a=0 and b=1.

    Neuron 0 reads the positive side of feature 0 with weight 2 and the negative side of feature 1
    with weight -1/2. Neuron 1 reads the positive side of feature 0 and inhibits output 1. Neurons 2
    and 3 hold the other sides of features 1 and 0. Feature 2 has no neuron.
    """
    W1 = torch.tensor([[2.0, -0.5, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0]])
    W2 = torch.tensor([[0.5, 0, 0, 1], [2, -4, 1, 0], [0, 0, 0, 0]])
    return W1[None], W2[None]


def met(W1, W2):
    return [part.any().item() for part in motifs(W1, W2)]


def test_motif_is_found():
    W1, W2 = motif_model()
    assert met(W1, W2) == [True] * 4
    assert [value.item() for value in strongest(W1, W2)] == [True, 0, 0, 1, 1]
    assert (
        met(W1[:, [1, 3, 0, 2]] * 3, W2[:, :, [1, 3, 0, 2]] / 3) == [True] * 4
    )  # neurons in any order and scale
    assert met(-W1, W2) == [True] * 4  # and features with either sign
    expected = W2.clone()
    expected[0, 1, 1] = 0
    assert torch.equal(without_inhibition(W1, W2), expected)


# What is changed: (index of the weights, place, value just inside the rule, value just outside,
# stages that are met then).
CASES = {
    "reads a third feature": (0, (0, 2), 0.19, 0.21, 0),
    "feature a not computed": (1, (0, 0), 0.38, 0.37, 0),
    "feature b not computed": (1, (1, 0), 1.55, 1.45, 0),  # slope 0.73 instead of 1
    "in-weights nearly equal": (0, (0, 1), -0.62, -0.64, 0),  # b's slope is 1.26
    "no inhibition": (1, (1, 1), -3.9, -3.8, 3),  # of an interference of 4 more than 0.1 is left
}


@pytest.mark.parametrize("which, at, inside, outside, parts", CASES.values(), ids=CASES)
def test_rule_on_both_sides_of_the_line(which, at, inside, outside, parts):
    weights = list(motif_model())
    original = weights[which]
    weights[which] = changed(original, at, inside)
    assert met(*weights) == [True] * 4
    weights[which] = changed(original, at, outside)
    assert met(*weights) == [True] * parts + [False] * (4 - parts)


def shared(in_b, out_b):
    """The motif with other weights of its neuron for feature b, whose sides are still computed."""
    W1, W2 = motif_model()
    return changed(W1, (0, 1), in_b), changed(changed(W2, (1, 0), out_b), (1, 1), -2 * out_b)


def test_unequal_and_reciprocal():
    assert met(*shared(-0.99, 1.01)) == [True] * 4
    assert met(*shared(-1.01, 1.01)) == [
        True,
        False,
        False,
        False,
    ]  # in-weights less than twice apart
    assert met(*shared(-0.95, 0.99)) == [
        True,
        True,
        False,
        False,
    ]  # out-weights less than twice apart
    symmetric = torch.tensor([[[1.0, -1], [-1, 1]]])
    assert met(symmetric, symmetric.abs().mT.contiguous()) == [True, False, False, False]


def test_one_neuron_must_inhibit():
    """Three neurons that take away a third each are no motif."""
    W1, W2 = motif_model()
    W1 = torch.cat((W1, W1[:, [1, 1]]), dim=1)
    W2 = torch.cat((W2, torch.zeros(1, 3, 2)), dim=2)
    W2[0, 1, [1, 4, 5]] = -4 / 3
    assert met(W1, W2) == [True, True, True, False]
    W2[0, 1, [1, 4, 5]] = torch.tensor([-2.01, -1, -1])
    assert met(W1, W2) == [True] * 4


def test_random_weights_have_no_motif():
    for scale in (0.5, 1, 2):
        assert not met(scale * noise(2000, 10, 6), scale * noise(2000, 6, 10, seed=1))[-1]


def test_control_is_the_weight_of_nearest_effect():
    """The inhibiting weight takes away 4. Neuron 0 adds 4 to output 1, others add 1 or nothing."""
    W1, W2 = motif_model()
    changed_at = (without_control(W1, W2) != W2).nonzero().tolist()
    assert changed_at == [[0, 1, 0]]
    changed_W2 = changed(W2, (2, 2), -0.3)
    changed_at = (without_control(W1, changed_W2, negative=True) != changed_W2).nonzero().tolist()
    assert changed_at == [[0, 2, 2]]
    no_motif = changed(W2, (1, 1), 0.0)
    assert torch.equal(without_control(W1, no_motif), no_motif)


def motif_result(runs_with, runs=10, cost=3.0, control=1.5):
    """One density: runs of lowest loss have the motif, the others represent nothing."""
    W1, W2 = (value.repeat(runs, 1, 1) for value in motif_model())
    W1[runs_with:] = 0
    loss = torch.linspace(1, 2, runs, dtype=torch.float64)
    has_it = torch.arange(runs) < runs_with

    def without(factor):
        return torch.where(has_it, factor * loss, loss)[None]

    return asymmetric_motif.Result(
        density=torch.tensor([0.2]).double(),
        W1=W1[None],
        W2=W2[None],
        b=torch.zeros(1, runs, 3),
        loss=loss[None],
        uninhibited=without(cost),
        control=without(control),
        negative_control=without(2.0),
    )


def judged(result):
    """Whether each finding of the claim holds: two effects, then common, worth much, worth more."""
    claim = checked(section8.claim_motif(result, motif_result(0)))
    assert seen_text([claim])
    return [finding.holds for finding in claim.findings]


def test_claim_of_the_motif():
    result = motif_result(3)
    assert judged(result) == [True] * 5
    claim = section8.claim_motif(result, motif_result(0))
    assert verdict([claim]) == REPRODUCED
    numbers = {name: value for finding in claim.findings for name, value in finding.numbers.items()}
    assert numbers["share of runs: and is inhibited"] == pytest.approx(0.3)
    assert numbers["disturbed outputs inhibited, share"] == 1
    assert numbers["other outputs by the same rule"] == 0
    assert numbers["loss without the inhibiting weight over loss, median"] == pytest.approx(3)
    assert numbers["loss without the control over loss, median"] == pytest.approx(1.5)


def test_claim_of_the_motif_refuses():
    assert judged(motif_result(2)) == [True, True, False, True, True]  # rare
    assert judged(motif_result(3, cost=1.4)) == [True, True, True, False, False]  # worth little
    assert judged(motif_result(3, control=3.0)) == [True] * 4 + [False]  # as the control
    other = motif_result(3)
    other.loss[0, -1] = 0.5  # the best run has none
    assert judged(other)[:2] == [False, True]
    everywhere = motif_result(3)
    everywhere.W2[0, :, 2, 1] = -4  # the neuron inhibits whatever there is
    assert judged(everywhere)[:2] == [True, False]
    random = motif_result(3)._replace(W1=noise(1, 10, 4, 3), W2=noise(1, 10, 3, 4, seed=1))
    for result in (random, motif_result(0)):
        assert judged(result) == [False] * 5


# Runs and figures


def test_run_of_the_motif_keeps_the_weights_that_were_trained():
    settings = replace(asymmetric_motif.QUICK, runs=40, densities=(0.2,), steps=800)
    result = asymmetric_motif.run(settings, progress=False)
    found = strongest(result.W1[0], result.W2[0]).found
    assert found.any() and not found.all()
    assert (result.uninhibited[0] > result.loss[0])[found].all()
    for loss in (result.uninhibited, result.control, result.negative_control):
        torch.testing.assert_close(loss[0][~found], result.loss[0][~found])
    drawn(asymmetric_motif.figure, [result, motif_result(0)])


def test_figures():
    drawn(asymmetric_motif.figure, [motif_result(3), motif_result(0)])
    drawn(asymmetric_motif.figure, [motif_result(0)])


@pytest.mark.usefixtures("unchecked")
def test_a_motif_of_one_feature_is_refused():
    with pytest.raises(
        ValueError, match=r"^features - 1: expected a whole number of at least 1, got 0"
    ):
        asymmetric_motif.Settings(features=1)


def test_losses_are_measured_on_rows_of_the_seed(monkeypatch):
    seeds = []

    def measured(model, distribution, *, rows, seed):
        seeds.append(seed)
        return torch.zeros(model.instances, dtype=torch.float64)

    monkeypatch.setattr(asymmetric_motif, "sampled_loss", measured)
    settings = replace(asymmetric_motif.QUICK, densities=(0.3,), runs=2, steps=1)
    asymmetric_motif.run(settings, seed=7, progress=False)
    assert seeds == [7] * 4
