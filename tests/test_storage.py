"""Models kept in folders: what is saved is read again, and what is wrong is named."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from features import FeatureDistribution, Uniform
from models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from storage import read, save

MODELS = [LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel]
each_model = pytest.mark.parametrize("model_class", MODELS)
INPUTS = {  # of two instances and four features
    "the same for all": {"density": 0.1},
    "of each": {"density": [[0.1] * 4, [0.2] * 4], "importance": [1, 0.5, 0.25, 0.1]},
    "in sets": {
        "density": [[0.1], [1 / 3]],
        "set_size": 2,
        "correlation": "anticorrelated",
        "signed": True,
    },
    "in graded sets": {
        "density": 0.3,
        "set_size": 2,
        "correlation": "correlated",
        "strength": 0.25,
    },
    "nested": {"density": [[0.4, 0.2, 0.3, 0.1]], "parents": (None, 0, None, 1)},
    "on a range": {"density": 0.1, "values": Uniform(-0.5, 3)},
    "of one value": {"density": 0.1, "values": 2},
    "of several values": {"density": 0.1, "values": (0.1, -1, 1 / 3)},
}


@each_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_what_is_saved_is_loaded(model_class, dtype, inputs, tmp_path):
    model = model_class(2, 4, 3, seed=1, dtype=dtype)
    with torch.no_grad():
        model.b.copy_(torch.rand(2, 4))
    distribution = FeatureDistribution(**inputs, features=4, instances=2)
    known = {"seed": 1, "training": {"steps": 3}, "certificate": {"loss": [0.5, 1 / 3]}}
    save(model, tmp_path / "new" / "folder", distribution, **known)
    stored = read(tmp_path / "new" / "folder")
    assert type(stored.model) is model_class and stored.config.items() >= known.items()
    for name, value in model.named_parameters():
        loaded = stored.model.get_parameter(name)
        assert torch.equal(loaded, value) and loaded.dtype == dtype and loaded.requires_grad
    for name in ("density", "importance"):
        assert torch.equal(getattr(stored.distribution, name), getattr(distribution, name))
    for name in ("set_size", "correlation", "signed", "values", "strength", "parents"):
        assert getattr(stored.distribution, name) == getattr(distribution, name)


def test_a_model_alone_is_enough(tmp_path):
    save(LinearModel(2, 4, 3, seed=1), tmp_path)
    assert read(tmp_path).distribution is None


def test_the_files_of_a_model(tmp_path):
    """Tensors by the names of the parameters, and every key of a config, null where unknown."""
    model = AbsoluteValueModel(2, 4, 3)
    save(model, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    shapes = {
        name: tuple(value.shape)
        for name, value in load_file(tmp_path / "model.safetensors").items()
    }
    assert shapes == {"b": (2, 4), "W1": (2, 3, 4), "W2": (2, 4, 3)}
    unknown = (
        "density",
        "importance",
        "set_size",
        "correlation",
        "signed",
        "values",
        "strength",
        "parents",
        "seed",
        "training",
        "certificate",
    )
    sizes = {"class": "AbsoluteValueModel", "instances": 2, "features": 4, "hidden": 3}
    assert json.loads(
        (tmp_path / "config.json").read_text(encoding="utf-8")
    ) == sizes | dict.fromkeys(unknown)


@pytest.fixture
def folder(tmp_path):
    save(ReLUOutputModel(1, 3, 2, seed=1), tmp_path, FeatureDistribution(0.1, features=3), seed=1)
    return tmp_path


def change(path, **fields):
    """Change fields of a config."""
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | fields), encoding="utf-8")


WRONG_FIELDS = {
    "class": "Linear",
    "instances": 2,
    "features": 4,
    "hidden": 1.5,
    "density": 2,
    "importance": "all",
    "set_size": 2,
    "correlation": "some",
    "signed": "no",
    "values": {"low": 1},
    "strength": 0.5,
    "parents": [1, None, None],
    "seed": 0.5,
    "training": [1],
    "certificate": "good",
    "densty": 0.1,
}


@pytest.mark.parametrize(
    "field, value", [*WRONG_FIELDS.items(), *((key, None) for key in ("class", "features"))]
)
def test_a_wrong_field_is_named(folder, field, value):
    path = folder / "config.json"
    change(path, **{field: value})
    what = {
        "instances": r"safetensors: b: expected shape \(2, 3\)",
        "features": r"b: expected shape|features: expected",
    }
    with pytest.raises(ValueError, match=what.get(field, f"config.json: {field}: expected")):
        read(folder)


def test_inputs_without_density_are_refused(folder):
    path = folder / "config.json"
    change(path, density=None)
    with pytest.raises(ValueError, match=r"config.json: density: expected numbers"):
        read(folder)


WRONG_TENSORS = {
    "W missing": (lambda t: {"b": t["b"]}, r"tensors: expected \['W', 'b'\], got \['b'\]"),
    "one more": (lambda t: t | {"W1": t["W"].clone()}, "tensors: expected"),
    "without instances": (
        lambda t: t | {"W": t["W"][0]},
        r"W: expected shape \(1, 2, 3\), got \(2, 3\)",
    ),
    "transposed": (lambda t: t | {"W": t["W"].mT.contiguous()}, "W: expected shape"),
    "half precision": (
        lambda t: {name: value.half() for name, value in t.items()},
        "b: expected float32 or float64",
    ),
    "two dtypes": (
        lambda t: t | {"W": t["W"].double()},
        "W: expected float32 or float64, the same as b",
    ),
    "integers": (
        lambda t: {name: value.long() for name, value in t.items()},
        "b: expected float32 or float64",
    ),
    "not finite": (lambda t: t | {"W": t["W"] / 0}, "W: expected finite numbers, got 6"),
}


@pytest.mark.parametrize("change, error", WRONG_TENSORS.values(), ids=WRONG_TENSORS)
def test_wrong_tensors_are_named(folder, change, error):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)
    with pytest.raises(ValueError, match=f"model.safetensors: {error}"):
        read(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_missing_and_cut_off_files_are_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{name}: not a whole (safetensors|JSON) file"):
        read(folder)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name}: expected a file, got none"):
        read(folder)


REFUSED = {
    "seed": {"seed": "one"},
    "training": {"training": {"rate": float("nan")}},
    "certificate": {"certificate": {"loss": torch.ones(1)}},
    "distribution": {"distribution": FeatureDistribution(0.1, features=4)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_saved_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        save(ReLUOutputModel(1, 3, 2), tmp_path / "model", **REFUSED[name])
    assert not (tmp_path / "model").exists()


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = ReLUOutputModel(1, 3, 2)
    model.W.data[0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="W: expected finite numbers"):
        save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_old_configs_leave_out_what_is_at_its_default(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("values", "strength", "parents"):
        del config[name]
    path.write_text(json.dumps(config), encoding="utf-8")
    distribution = read(folder).distribution
    assert (distribution.values, distribution.strength) == (Uniform(0, 1), 1)
    assert distribution.parents is None


@pytest.mark.parametrize("seed", [3, np.int64(3), np.uint8(3), 2**64 - 1])
def test_any_integer_is_a_seed(tmp_path, seed):
    save(LinearModel(1, 3, 2), tmp_path, seed=seed)
    found = read(tmp_path).config["seed"]
    assert found == seed and type(found) is int


def test_a_model_is_replaced_as_a_whole(tmp_path):
    save(LinearModel(1, 3, 2), tmp_path, seed=1)
    save(AbsoluteValueModel(2, 4, 3), tmp_path)
    stored = read(tmp_path)
    assert type(stored.model) is AbsoluteValueModel and stored.config["seed"] is None


class Doubled(ReLUOutputModel):
    """A model that computes something else."""

    def decode(self, h):
        return 2 * super().decode(h)


def further_parameter(model):
    """A model with a parameter that none of the four classes has."""
    model.scale = torch.nn.Parameter(torch.ones(1))
    return model


def other_encoder(model):
    """A model of which one method was replaced."""
    model.encode = model.decode
    return model


UNKNOWN = {
    "a subclass with a method of its own": Doubled(1, 3, 2),
    "a further parameter": further_parameter(ReLUOutputModel(1, 3, 2)),
    "a replaced method": other_encoder(ReLUOutputModel(1, 3, 2)),
    "no model": torch.nn.Linear(3, 2),
}


@pytest.mark.parametrize("model", UNKNOWN.values(), ids=UNKNOWN)
def test_models_that_are_none_of_the_four_are_refused(tmp_path, model):
    with pytest.raises(ValueError, match="model: expected one of"):
        save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
