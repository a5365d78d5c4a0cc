"""Alignment with the basis: its measure, random rotations, claims, a short run."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

import Section7main as section7
from experiments.section7 import neuron_alignment
from experiments.section7.neuron_alignment import QUICK, Result, run
from sweeps.claims import checked, seen_text

PAIRS = torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]]) / 2**0.5


def rotation(seed, size=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator)).Q


def on_neurons():
    """Five features, each on a hidden dimension of its own, and five that are not represented."""
    return torch.eye(5, 10)[torch.tensor([2, 0, 1, 4, 3])]


def test_spread():
    W = torch.stack([torch.eye(4), PAIRS, -PAIRS, torch.full((4, 4), 0.5)])
    assert neuron_alignment.spread(W).tolist() == pytest.approx([1, 2, 2, 4])


def test_spread_is_of_the_represented_features():
    W = torch.eye(4)
    W[:, 3] = 0.24  # of norm 0.48, spread over all four
    assert neuron_alignment.spread(W[None]).item() == 1
    W[:, 3] = 0.26
    assert neuron_alignment.spread(W[None]).item() == pytest.approx((3 * 1 + 4) / 4)
    assert neuron_alignment.spread(torch.zeros(1, 2, 3)).isnan().all()


def test_by_chance_is_of_rotations():
    """On average a rotated direction is spread as a random one, E (sum |z_k|)^2 / |z|^2."""
    z = torch.randn(100_000, 5, generator=torch.Generator().manual_seed(3))
    expected = (z.abs().sum(dim=1) / z.norm(dim=1)).square().mean()
    chance = neuron_alignment.rotated_spread(torch.stack([on_neurons(), torch.ones(5, 10)]))
    assert chance.shape == (2, neuron_alignment.ROTATIONS)
    torch.testing.assert_close(chance.mean(dim=1), expected.expand(2), rtol=0.02, atol=0)


def test_aligned():
    random = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    W = torch.stack([on_neurons(), rotation(0) @ on_neurons(), random, torch.zeros(5, 10)])
    assert neuron_alignment.aligned(W).tolist() == [True, False, False, False]


def ideal(points=4):
    density = torch.tensor([1.0, 0.5, 0.2, 0.05][:points], dtype=torch.float64)
    hidden = torch.stack([on_neurons()] * 4)[:points]
    return Result(density, hidden, torch.stack([rotation(k) @ W for k, W in enumerate(hidden)]))


def judged(result):
    """Whether each finding of the claim holds: with a hidden ReLU, without it."""
    claim = checked(section7.claim_aligned(result))
    assert seen_text([claim])
    return [finding.holds for finding in claim.findings]


def test_ideal():
    result = ideal()
    assert judged(result) == [True, True]
    # Where the paper says nothing:
    result.W_hidden[3] = result.W_output[3]
    result.W_output[3] = on_neurons()
    assert judged(result) == [True, True]
    with_relu, without = (finding.numbers for finding in section7.claim_aligned(result).findings)
    assert list(with_relu.values())[:4] == [3, 3, 0, 1]
    assert list(without.values())[:4] == [0, 3, 1, 1]


def broken(field, k, W):
    result = ideal()
    getattr(result, field)[k] = W
    return result


BROKEN = {  # result -> which findings hold
    "rotated at one density": (
        lambda: broken("W_hidden", 2, rotation(7) @ on_neurons()),
        [False, True],
    ),
    "random weights": (
        lambda: broken(
            "W_hidden", 0, torch.randn(5, 10, generator=torch.Generator().manual_seed(1))
        ),
        [False, True],
    ),
    "nothing represented": (lambda: broken("W_hidden", 1, torch.zeros(5, 10)), [False, True]),
    "aligned without": (lambda: broken("W_output", 1, on_neurons()), [True, False]),
    "sparse densities alone": (lambda: Result(*(values[3:] for values in ideal())), [False, False]),
}


@pytest.mark.parametrize(("result", "holds"), BROKEN.values(), ids=BROKEN)
def test_broken(result, holds):
    assert judged(result()) == holds


def test_run_and_figure():
    result = run(replace(QUICK, steps=30), progress=False)
    assert result.W_hidden.shape == result.W_output.shape == (3, 5, 10)
    assert not torch.equal(result.W_hidden, result.W_output)
    drawn(neuron_alignment.figure, result)
    drawn(neuron_alignment.figure, ideal())
