"""Files for spd, read by hand as spd reads them, and run against our own models."""

import io
import json

import pytest
import torch
import yaml

import zoo
from features import FeatureDistribution
from interop import spd
from models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from storage import Stored, read

UNKNOWN = {"seed": None, "training": None}


def config_and_lost(training=None, **inputs):
    """Return the config that is exported for certain inputs, and what is lost."""
    distribution = FeatureDistribution(**inputs)
    model = ReLUOutputModel(1, distribution.features, 2)
    files, lost = spd.exported(Stored(model, distribution, UNKNOWN | {"training": training}))
    return yaml.safe_load(files["tms_train_config.yaml"]), lost


def test_spd_computes_the_same_output():
    pentagon = read(zoo.FOLDER / "pentagon")
    files, lost = spd.exported(pentagon)
    state = torch.load(io.BytesIO(files["tms.pth"]), weights_only=True)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes == {
        "linear1.weight": (2, 5),
        "linear2.weight": (5, 2),
        "linear2.bias": (5,),
    }
    x = torch.rand(7, 5)
    h = torch.nn.functional.linear(x, state["linear1.weight"])
    z = torch.nn.functional.linear(h, state["linear2.weight"], state["linear2.bias"])
    ours = pentagon.model(x.double()[None])[0].detach().float()
    torch.testing.assert_close(z.relu(), ours)
    assert lost == []


def test_the_config_has_the_fields_of_theirs():
    """The fields are those that TMSTrainConfig requires, each with a value of its type."""
    config = yaml.safe_load(
        spd.exported(read(zoo.FOLDER / "n20-m5")).files["tms_train_config.yaml"]
    )
    assert config == {
        "wandb_project": None,
        "tms_model_config": {
            "n_features": 20,
            "n_hidden": 5,
            "n_hidden_layers": 0,
            "tied_weights": True,
            "init_bias_to_zero": True,
            "device": "cpu",
        },
        "feature_probability": 0.05,
        "batch_size": 256,
        "steps": 3000,
        "seed": 0,
        "lr": 0.01,
        "lr_schedule": "cosine",
        "data_generation_type": "at_least_zero_active",
        "synced_inputs": None,
    }


def test_numbers_are_numbers_to_yaml():
    """YAML 1.1 reads 1e-05 as text."""
    config, _ = config_and_lost({"lr": 1e-05, "schedule": "constant"}, density=2e-7, features=3)
    assert config["lr"] == 1e-05
    assert config["feature_probability"] == pytest.approx(2e-7)
    assert config["lr_schedule"] == "constant"


def test_correlated_sets_are_synced_inputs():
    """There each member draws for itself, and one that is active takes the others along."""
    files, lost = spd.exported(read(zoo.FOLDER / "octahedron"))
    config = yaml.safe_load(files["tms_train_config.yaml"])
    assert config["synced_inputs"] == [[0, 1, 2], [3, 4, 5]]
    assert 1 - (1 - config["feature_probability"]) ** 3 == pytest.approx(0.05)
    assert lost == []


def test_exactly_one_active_feature():
    """One anticorrelated set of all features, always active, is a kind of its own there."""
    one_set = {"features": 4, "set_size": 4, "correlation": "anticorrelated"}
    config, lost = config_and_lost(density=1.0, **one_set)
    assert config["data_generation_type"] == "exactly_one_active"
    assert lost == []
    config, (sentence,) = config_and_lost(density=0.9, **one_set)
    assert config["data_generation_type"] == "at_least_zero_active"
    assert config["feature_probability"] == pytest.approx(0.9 / 4)
    assert sentence.startswith("Such anticorrelated features cannot be said")


LOST = {
    "All features have one feature_probability": {"density": [[0.1, 0.2, 0.3]]},
    "Importance cannot be said": {"density": 0.1, "importance": [[1, 0.5, 0.2]]},
    "The values from -1 to 1 cannot be said": {"density": 0.1, "features": 3, "signed": True},
    "The values 1, 2 cannot be said": {"density": 0.1, "features": 3, "values": (1, 2)},
    "Such nested features": {"density": 0.1, "features": 3, "parents": (None, 0, 0)},
    "Such correlated features": {
        "density": 0.1,
        "features": 4,
        "set_size": 2,
        "correlation": "correlated",
        "strength": 0.5,
    },
}


@pytest.mark.parametrize("sentence", LOST)
def test_what_cannot_be_said_is_told(sentence):
    _, lost = config_and_lost(**LOST[sentence])
    assert len(lost) == 1 and lost[0].startswith(sentence)


def test_unknown_inputs_are_told():
    files, (sentence,) = spd.exported(Stored(ReLUOutputModel(1, 3, 2), None, UNKNOWN))
    assert yaml.safe_load(files["tms_train_config.yaml"])["feature_probability"] == 0
    assert sentence.startswith("The inputs are unknown")


@pytest.mark.parametrize("model_class", [LinearModel, ReLUHiddenModel, AbsoluteValueModel])
def test_other_models_are_refused(model_class):
    with pytest.raises(ValueError, match="class: expected ReLUOutputModel, got"):
        spd.exported(Stored(model_class(1, 4, 2), None, UNKNOWN))


@pytest.mark.parametrize("wrong", [{"steps": "many"}, {"lr": json.dumps(0.1)}, {"batch_size": 0}])
def test_a_training_that_is_none_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"training: {name}: expected"):
        config_and_lost(wrong, density=0.1, features=3)
