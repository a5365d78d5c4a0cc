"""One neuron a side: its rule, its claim on made-up results, a short run."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

import Section8main as section8
from experiments.section8 import absolute_value
from experiments.section8.absolute_value import Result, one_neuron_a_side
from sweeps.claims import BEST_KNOWN, TRAINING_LIMITED, checked


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# One neuron a side


def sides(runs=1):
    """Two neurons for each of three features, with scales of their own: W1, W2."""
    identity = torch.eye(3)
    scale = torch.tensor([0.5, 1, 2, 1, 0.8, 1.5])[:, None]
    W1 = scale * torch.cat((identity, -identity))
    W2 = (torch.cat((identity, identity)) / scale).T
    return W1.repeat(runs, 1, 1), W2.repeat(runs, 1, 1)


def changed(weights, at, value):
    weights = weights.clone()
    weights[0, *at] = value
    return weights


def test_one_neuron_a_side():
    W1, W2 = sides()
    assert one_neuron_a_side(W1, W2).tolist() == [True]
    mixed = torch.tensor([3, 1, 5, 0, 2, 4])
    assert one_neuron_a_side(W1[:, mixed], W2[:, :, mixed]).all()  # in any order
    assert one_neuron_a_side(changed(W1, (1, 0), 0.09), W2).all()
    assert not one_neuron_a_side(changed(W1, (1, 0), 0.11), W2).any()  # reads a second feature
    assert one_neuron_a_side(W1, changed(W2, (0, 1), -0.09)).all()
    assert not one_neuron_a_side(W1, changed(W2, (0, 1), -0.11)).any()  # writes to a second
    assert one_neuron_a_side(W1, changed(W2, (1, 1), 1.09)).all()
    assert not one_neuron_a_side(W1, changed(W2, (1, 1), 0.89)).any()  # too little of its own
    assert not one_neuron_a_side(
        changed(W1, (1, 1), -1.0), W2
    ).any()  # two for one side, none for the other
    assert not one_neuron_a_side(noise(500, 6, 3), noise(500, 3, 6, seed=1)).any()


def sides_result(good, bad):
    """Runs with one neuron a side, which have the lower loss, and runs without."""
    W1, W2 = sides(good + bad)
    W1[good:, 0] = 0
    loss = torch.cat((torch.full((good,), 1e-6), torch.full((bad,), 0.06))).double()
    return Result(torch.ones(1).double(), W1[None], W2[None], loss[None])


def judged(result):
    """Whether each finding of the claim holds."""
    return [finding.holds for finding in checked(section8.claim_sides(result)).findings]


def test_claim_of_sides():
    assert judged(sides_result(6, 4)) == judged(sides_result(5, 0)) == [True, True]
    best, common = section8.claim_sides(sides_result(6, 4)).findings
    assert best.evidence == BEST_KNOWN
    assert best.numbers["lowest loss of any other arrangement"] == pytest.approx(0.06)
    assert common.numbers["share of runs with one neuron a side"] == pytest.approx(0.6)
    assert judged(sides_result(4, 6)) == [True, False]


def test_claim_of_sides_refuses_other_arrangements():
    better = sides_result(6, 4)
    better.loss[0, -1] = 1e-9  # another arrangement is the best
    assert judged(better) == [False, True]
    random = sides_result(6, 4)._replace(W1=noise(1, 10, 6, 3), W2=noise(1, 10, 3, 6, seed=1))
    assert judged(random) == [False, False]


def test_a_loss_above_zero_is_training_limited():
    """Two neurons for each feature have no loss at all."""
    result = sides_result(6, 4)
    result.loss[0, :6] = 1e-3
    assert section8.claim_sides(result).findings[0].evidence == TRAINING_LIMITED


# Runs and the figure


def test_run_and_figure():
    settings = replace(absolute_value.QUICK, steps=5, batch_size=16)
    result = absolute_value.run(settings, progress=False)
    other = absolute_value.run(settings, seed=1, progress=False)
    assert result.W1.shape == (1, 8, 6, 3) and result.W2.shape == (1, 8, 3, 6)
    assert not torch.equal(result.loss, other.loss)
    for drawable in (result, sides_result(6, 4), sides_result(5, 0)):
        drawn(absolute_value.figure, drawable)


def test_losses_are_measured_on_rows_of_the_seed(monkeypatch):
    seeds = []

    def measured(model, distribution, *, seed):
        seeds.append(seed)
        return torch.zeros(model.instances, dtype=torch.float64)

    monkeypatch.setattr(absolute_value, "sampled_loss", measured)
    absolute_value.run(replace(absolute_value.QUICK, steps=1), seed=7, progress=False)
    assert seeds == [7]
