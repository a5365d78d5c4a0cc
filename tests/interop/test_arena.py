"""Files for ARENA, read by hand as the README says, and run as ARENA's models compute."""

import json

import pytest
import torch
from safetensors.torch import load

from features import FeatureDistribution
from interop import arena
from models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from storage import Stored

RELU_HIDDEN = {"ToyModel": False, "NeuronModel": True, "NeuronComputationModel": True}


def exported(model, **inputs):
    """Return the tensors and the arguments that are exported, and what is lost."""
    distribution = FeatureDistribution(**inputs, features=model.features, instances=model.instances)
    files, lost = arena.exported(Stored(model, distribution, {}))
    return load(files["arena.safetensors"]), json.loads(files["arena.json"]), lost


def their_output(class_name, tensors, x):
    """Compute what ARENA's class of a name makes of x (batch, instances, features)."""
    first = tensors.get("W", tensors.get("W1"))
    second = tensors["W"].mT if "W" in tensors else tensors["W2"]
    h = torch.einsum("bif,ihf->bih", x, first)
    if RELU_HIDDEN[class_name]:
        h = h.relu()
    return (torch.einsum("bih,ifh->bif", h, second) + tensors["b_final"]).relu()


@pytest.mark.parametrize("model_class", [ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel])
def test_arena_computes_the_same_output(model_class):
    model = model_class(2, 5, 3, seed=1, init_scale=1.0)
    signed = model_class is AbsoluteValueModel
    with torch.no_grad():
        model.b.copy_(torch.rand(2, 5))
    tensors, made, lost = exported(model, density=[[0.1], [0.3]], signed=signed)
    x = 2 * torch.rand(7, 2, 5) - 1
    theirs = their_output(made["class"], tensors, x)
    ours = model(x.transpose(0, 1)).transpose(0, 1)
    torch.testing.assert_close(theirs, ours)
    assert made["config"] == {
        "n_inst": 2,
        "n_features": 5,
        "d_hidden": 3,
        "n_correlated_pairs": 0,
        "n_anticorrelated_pairs": 0,
        "feat_mag_distn": "unif",
    }
    assert made["feature_probability"] == [[0.1] * 5, [0.3] * 5]
    assert made["importance"] == [[1.0] * 5] * 2
    assert lost == []


def test_pairs_are_said():
    """The probability of an anticorrelated feature is half of the pair's density."""
    model = ReLUOutputModel(1, 6, 2)
    _, made, lost = exported(model, density=0.2, set_size=2, correlation="correlated")
    assert made["config"]["n_correlated_pairs"] == 3
    assert made["feature_probability"] == [[0.2] * 6]
    assert lost == []
    _, made, lost = exported(model, density=0.2, set_size=2, correlation="anticorrelated")
    assert made["config"]["n_anticorrelated_pairs"] == 3
    assert made["config"]["n_correlated_pairs"] == 0
    assert made["feature_probability"] == [[0.1] * 6]
    assert lost == []


def test_pairs_have_one_density():
    inputs = {"density": [[0.1, 0.1, 0.3, 0.3]], "set_size": 2, "correlation": "correlated"}
    _, made, (sentence,) = exported(ReLUOutputModel(1, 4, 2), **inputs)
    assert made["feature_probability"] == [pytest.approx([0.2] * 4)]
    assert sentence.startswith("Pairs have one density")


SETS_OF_THREE = {"density": 0.3, "set_size": 3, "correlation": "anticorrelated"}
PAIRS = {"density": 0.3, "set_size": 2, "correlation": "correlated"}
NESTED = {"density": 0.3, "parents": (None, 0, 0, 0, 0, 0)}
LOST = [
    (ReLUOutputModel, SETS_OF_THREE, "Such anticorrelated features cannot be said"),
    (ReLUOutputModel, PAIRS | {"strength": 0.5}, "Such correlated features cannot be said"),
    (ReLUOutputModel, NESTED, "Such nested features cannot be said"),
    (AbsoluteValueModel, PAIRS | {"signed": True}, "Such correlated features cannot be said"),
    (AbsoluteValueModel, {"density": 0.3}, "The values from 0 to 1 cannot be said"),
    (ReLUHiddenModel, {"density": 0.3, "signed": True}, "The values from -1 to 1 cannot be said"),
]


@pytest.mark.parametrize("model_class, inputs, sentence", LOST)
def test_what_cannot_be_said_is_told(model_class, inputs, sentence):
    _, made, lost = exported(model_class(1, 6, 2), **inputs)
    assert len(lost) == 1 and lost[0].startswith(sentence)
    assert made["config"]["n_correlated_pairs"] == made["config"]["n_anticorrelated_pairs"] == 0


def test_unknown_inputs_are_told():
    files, (sentence,) = arena.exported(Stored(ReLUOutputModel(1, 3, 2), None, {}))
    assert json.loads(files["arena.json"])["feature_probability"] == 0
    assert sentence.startswith("The inputs are unknown")


def test_a_linear_output_is_refused():
    """All of ARENA's models end in a ReLU, so that a LinearModel would be another model there."""
    with pytest.raises(ValueError, match=r"class: expected ReLUOutputModel or .*, got LinearModel"):
        exported(LinearModel(1, 3, 2), density=0.1)
