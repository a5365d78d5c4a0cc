"""The asymmetric motif of other computations: its rule on both sides of every line."""

from types import SimpleNamespace

import pytest
import torch

from experiments.section8 import asymmetric_motif
from experiments.variations.computing_models import COMPUTATIONS
from experiments.variations.reciprocal_units import has_motif, inhibition, places, served_alone


def model(changes=(), name="|x|"):
    """A result of one model of 4 units and 4 neurons, with a motif of units a=0 and b=1.

    Neuron 0 serves both, neuron 1 inhibits the output of b, and neurons 2 and 3 serve units 2, 3.

    Args:
        changes: Pairs of a place in "reads" (neuron, unit) or "writes" (unit, neuron), and a value.
        name: The computation.
    """
    weights = {
        "reads": torch.tensor([[2.0, 0.5, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        "writes": torch.tensor([[0.5, 0, 0, 0], [2, -4, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    }
    for (which, *place), value in changes:
        weights[which][tuple(place)] = value
    every = list(COMPUTATIONS)
    return SimpleNamespace(
        computation=torch.tensor([every.index(name)]),
        **{which: value.double()[None, None] for which, value in weights.items()},
    )


def met(result, **arguments):
    return [stage.any().item() for stage in places(result, **arguments)]


def test_motif_is_found():
    result = model()
    assert met(result) == [True] * 3
    assert places(result).inhibited.nonzero().tolist() == [[0, 0, 0, 0, 1]]
    assert inhibition(result).disturbed.item() == 1 and inhibition(result).others.item() == 0
    assert has_motif(result).item()


@pytest.mark.parametrize(
    ("place", "inside", "outside", "stages"),
    [
        (("writes", 1, 0), 1.01, 0.99, 0),  # b gets less than half of its value
        (("reads", 0, 1), 0.99, 1.01, 1),  # in-weights less than twice apart
        (("writes", 0, 0), 0.99, 1.01, 1),  # out-weights less than twice apart
        (("writes", 1, 1), -2.01, -1.99, 2),  # less than half of the interference is taken away
        (("reads", 1, 0), 0.51, 0.49, 2),  # a hardly drives the inhibiting neuron
    ],
    ids=["not served", "in-weights", "out-weights", "weak inhibition", "weak drive"],
)
def test_rule_on_both_sides_of_the_line(place, inside, outside, stages):
    assert met(model([(place, inside)])) == [True] * 3
    result = model([(place, outside)])
    assert met(result) == [True] * stages + [False] * (3 - stages)
    assert not has_motif(result).item()


def test_a_neuron_of_many_units_counts():
    third = [(("reads", 0, 2), 1.0), (("writes", 2, 0), 1.0)]
    found = places(model(third))
    assert found.reciprocal.nonzero()[:, 3:].tolist() == [[0, 1], [0, 2], [2, 1]]
    assert found.inhibited.nonzero()[:, 3:].tolist() == [[0, 1]]


def test_inhibition_of_all_outputs_is_no_motif():
    """One of two other outputs may not be inhibited: that is half as often as the disturbed one."""
    one = model([(("writes", 2, 1), -4.0)])
    assert inhibition(one).others.item() == 0.5 and has_motif(one).item()
    both = model([(("writes", 2, 1), -4.0), (("writes", 3, 1), -4.0)])
    assert inhibition(both).others.item() == 1
    assert met(both) == [True] * 3 and not has_motif(both).item()


def test_serving_is_relative_to_a_neuron_alone():
    expected = {"|x|": 1, "x^2": 1.2899, "AND": 2**0.5, "OR": 1, "max": 1}
    alone = {name: served_alone(each) for name, each in COMPUTATIONS.items()}
    assert alone == pytest.approx(expected)
    weaker = [(("writes", 1, 0), 1.3)]  # b gets 0.65 of a value, and 0.65 / 2^(1/2) < 1/2
    assert has_motif(model(weaker)).item()
    assert not has_motif(model(weaker, name="AND")).item()
    assert has_motif(model([*weaker, (("writes", 0, 0), 0.5)], name="AND"), held=0.3).item()


def test_agrees_with_the_rule_of_8_3():
    """Where every unit is a positive feature, a motif of 8.3 is one here."""
    generator = torch.Generator().manual_seed(0)
    W1 = model().reads[0].float() * (1 + 0.2 * torch.rand(200, 4, 4, generator=generator))
    W2 = model().writes[0].float() * (1 + 0.2 * torch.rand(200, 4, 4, generator=generator))
    paper = asymmetric_motif.motifs(W1, W2).inhibited
    result = SimpleNamespace(
        computation=torch.tensor([0]), reads=W1.double()[None], writes=W2.double()[None]
    )
    assert 0 < paper.flatten(1).any(dim=1).sum() < 200
    assert (places(result).inhibited[0] >= paper).all()
