"""Absolute values: rules for neurons, claims on made-up results, short runs."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

import Section8main as section8
from experiments.section8 import absolute_value
from experiments.section8.absolute_value import (
    Result,
    best_neurons,
    importance_order,
    one_neuron_a_side,
    over_monosemantic,
)


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


def test_claim_of_sides():
    claim = section8.claim_sides(sides_result(6, 4))
    assert claim.holds and claim.numbers["share of these"] == pytest.approx(0.6)
    assert claim.numbers["lowest loss of any other run"] == pytest.approx(0.06)
    assert section8.claim_sides(sides_result(5, 0)).holds
    assert not section8.claim_sides(sides_result(4, 6)).holds
    better = sides_result(6, 4)
    better.loss[0, -1] = 1e-9  # another arrangement is the best
    assert not section8.claim_sides(better).holds
    random = sides_result(6, 4)._replace(W1=noise(1, 10, 6, 3), W2=noise(1, 10, 3, 6, seed=1))
    assert not section8.claim_sides(random).holds


# Mono- and polysemantic neurons


def layer(in_weights, out=1.0):
    """A result of one model with these in-weights, and out-weights all alike."""
    W1 = torch.tensor([[in_weights]], dtype=torch.float32)
    return Result(
        torch.ones(1).double(), W1, torch.full_like(W1.mT, out), torch.zeros(1, 1).double()
    )


def test_kinds_of_neurons():
    of = best_neurons(
        layer([[3.0, 0.9], [3.0, 1.1], [-1.1, 3.0], [0.01, 0.05]])
    )  # squares: 0.92, 0.88, 0.88; not in use
    assert of.monosemantic.tolist() == [[True, False, False, False]]
    assert of.polysemantic.tolist() == [[False, True, True, False]]
    assert of.main.tolist() == [[0, 0, 1, 1]]
    assert of.superposition[0, 1].item() == pytest.approx(1.21 / 10.21)
    for weight, used in ((0.11, True), (0.09, False)):
        assert best_neurons(layer([[weight, 0.0]])).monosemantic.item() == used
    unheard = best_neurons(layer([[3.0, 3.0]], out=-1.0))  # it writes to no output
    assert not unheard.monosemantic.any() and not unheard.polysemantic.any()


def test_importance_order():
    alone, mixed = (
        [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]],
        [[1.0, 0.9, 0], [0, 1.0, 0.9], [0, 0.9, 1.0]],
    )

    def order(rows):
        return importance_order(best_neurons(layer(rows))).item()

    assert order([alone[0], alone[1], mixed[2]]) == 1
    assert order([alone[2], mixed[0], mixed[1]]) == 0
    assert order([alone[1], mixed[1]]) == 0.5  # equal
    assert order([alone[0], alone[2], mixed[1]]) == 0.5
    assert order(alone) == order(mixed) == 0.5  # one kind alone


def model_of(alone, hidden=40, features=100, backwards=False):
    """W1 of neurons, the first `alone` with a feature of their own and the others with two."""
    main = torch.arange(hidden) // 2
    if backwards:
        main = main.flip(0)
    W1 = torch.nn.functional.one_hot(main, features).float()
    return W1 + torch.roll(W1, 20, dims=1) * (torch.arange(hidden) >= alone)[:, None]


def neurons_result(counts, backwards=False):
    W1 = torch.stack([model_of(alone, backwards=backwards) for alone in counts])[:, None]
    density = torch.logspace(0, -3, len(counts), dtype=torch.float64)
    return Result(
        density, W1, W1.mT.clone(), torch.full((len(counts), 1), 1e-3, dtype=torch.float64)
    )


def test_claim_of_neurons():
    claim = section8.claim_neurons(neurons_result([40, 36, 20, 4, 0]))
    assert claim.holds and claim.numbers["monosemantic at density 1"] == 40
    assert claim.numbers["densities with both kinds"] == 3
    assert claim.numbers["pairs of both kinds in the order of importance, lowest share"] == 1
    assert section8.claim_neurons(neurons_result([38, 40, 20, 0])).holds  # two more are allowed
    refused = {
        "come back": [36, 39, 20, 0],
        "never mixed": [40, 40, 0, 0],
        "mixed when dense": [35, 20, 10, 0],
        "not all mixed when sparse": [40, 20, 10, 5],
        "the other way round": [0, 20, 40],
    }
    for name, counts in refused.items():
        assert not section8.claim_neurons(neurons_result(counts)).holds, name
    assert not section8.claim_neurons(neurons_result([40, 20, 0], backwards=True)).holds
    random = neurons_result([40, 20, 0])._replace(
        W1=noise(3, 1, 40, 100), W2=noise(3, 1, 100, 40, seed=1)
    )
    assert not section8.claim_neurons(random).holds


def test_over_monosemantic():
    """With two equal features and two neurons one is ignored, which costs s/3 - s^2/4."""
    result = layer([[1.0, 0], [-1.0, 0]])._replace(density=torch.tensor([0.4]).double())
    result = result._replace(loss=torch.tensor([[0.4 / 3 - 0.04]]).double())
    assert over_monosemantic(result, 1.0).item() == pytest.approx(1)
    assert over_monosemantic(result, 0.5).item() == pytest.approx(2)


# Runs and figures


def test_run_and_its_shards():
    settings = replace(absolute_value.QUICK, steps=5, batch_size=16)
    whole, other = (absolute_value.run(settings, seed=seed, progress=False) for seed in (0, 1))
    parts = [absolute_value.run(shard, progress=False) for shard in absolute_value.shards(settings)]
    for value, joined, of_other in zip(whole, absolute_value.joined(parts), other):
        torch.testing.assert_close(joined, value)
        assert value.dim() == 1 or not torch.equal(value, of_other)
    assert whole.W1.shape == (3, 1, 40, 100) and whole.W2.shape == (3, 1, 100, 40)


def test_figures():
    drawn(absolute_value.sides_figure, sides_result(6, 4))
    drawn(absolute_value.sides_figure, sides_result(5, 0))
    figure = drawn(absolute_value.figure, neurons_result([40, 20, 0]))
    assert [ax.get_title() for ax in figure.axes[:2]] == [
        "density 1\n40 mono-, 0 polysemantic",
        "density 0.0316228\n20 mono-, 20 polysemantic",
    ]
    counts = figure.axes[3]
    assert [line.get_ydata().tolist() for line in counts.lines] == [[40, 20, 0], [0, 20, 40]]


def test_losses_are_measured_on_rows_of_the_seed(monkeypatch):
    seeds = []

    def measured(model, distribution, *, seed):
        seeds.append(seed)
        return torch.zeros(model.instances, dtype=torch.float64)

    monkeypatch.setattr(absolute_value, "sampled_loss", measured)
    settings = replace(absolute_value.QUICK, densities=(1.0,), steps=1)
    absolute_value.run(settings, seed=7, progress=False)
    assert seeds == [7]
