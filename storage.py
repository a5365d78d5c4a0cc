"""Models in folders: kept with what is known of them, and read without pickle.

A model is kept in a folder: `model.safetensors`, its tensors by their parameter's name, instances first, and
`config.json`, which says what they are and what they were trained on.
"""

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from checks import check_size, check_torch
from features import FeatureDistribution
from models import (
    AbsoluteValueModel,
    LinearModel,
    ReLUHiddenModel,
    ReLUOutputModel,
    ToyModel,
    check_inputs,
    finite,
)
from sweeps.files import read_object, read_tensors, write_together

TENSORS, CONFIG = "model.safetensors", "config.json"  # the files of a model's folder
SIZES = ("instances", "features", "hidden")
OF_INPUTS = (
    "density",
    "importance",
    "set_size",
    "correlation",
    "signed",
)  # of a FeatureDistribution
CONFIG_KEYS = ("class", *SIZES, *OF_INPUTS, "seed", "training", "certificate")


class Stored(NamedTuple):
    """What is in a model's folder."""

    model: ToyModel
    distribution: FeatureDistribution | None
    config: dict[str, Any]  # CONFIG_KEYS, None where unknown


def save(model, folder, distribution=None, *, seed=None, training=None, certificate=None):
    """Keep a model in a folder, which is made if need be: `model.safetensors` and `config.json`.

    distribution: what it was trained on, of its instances and features
    seed:         of its initial weights and samples
    training, certificate: what else is known, as dicts of what JSON holds; what is not given is null

    Raises ValueError, naming the argument, for what does not fit; FloatingPointError for weights that are not
    finite; an OSError leaves nothing half-written.
    """
    config = {"class": type(model).__name__, **{name: int(getattr(model, name)) for name in SIZES}}
    config |= dict.fromkeys(OF_INPUTS) if distribution is None else _described(distribution, model)
    config |= {"seed": seed, "training": training, "certificate": certificate}
    _check_known(config)
    tensors = {
        name: finite(name, value.detach()).cpu().contiguous().clone()
        for name, value in model.named_parameters()
    }
    text = json.dumps(config, indent=1) + "\n"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_together(
        {folder / TENSORS: safetensors.torch.save(tensors), folder / CONFIG: text.encode()}
    )


def read(folder) -> Stored:
    """A model that `save` has kept, with what is known of it.

    Raises ValueError, naming the file and what in it is wrong, for a file that is not there, cut off or foreign, and
    where config and tensors contradict each other.
    """
    folder = Path(folder)
    with _naming(folder / CONFIG):
        config = dict.fromkeys(CONFIG_KEYS) | read_object(folder / CONFIG)
        kind, distribution = _checked(config)
    sizes = [config[name] for name in SIZES]
    with _naming(folder / TENSORS):
        tensors, _ = read_tensors(folder / TENSORS)
        _check_tensors(tensors, kind, *sizes)
    model = kind(*sizes, dtype=tensors["b"].dtype)
    model.load_state_dict(tensors)
    return Stored(model, distribution, config)


@contextlib.contextmanager
def _naming(path):
    """What is wrong with a file is a ValueError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected a file, got none") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _checked(config):
    """The class and the distribution that a config describes; ValueError, naming the field, if it is none."""
    unknown = [key for key in config if key not in CONFIG_KEYS]
    if unknown:
        raise ValueError(f"{unknown[0]}: expected one of {CONFIG_KEYS}")
    _check_known(config)
    check_size(**{name: config[name] for name in SIZES})
    kind = KINDS[config["class"]]
    given = {name: config[name] for name in OF_INPUTS if config[name] is not None}
    if not given:
        return kind, None
    if config["density"] is None:
        raise ValueError(f"density: expected numbers, as {next(iter(given))} is given, got None")
    if not isinstance(config["signed"], bool | None):
        raise ValueError(f"signed: expected true or false, got {config['signed']!r}")
    return kind, FeatureDistribution(
        **given, features=config["features"], instances=config["instances"]
    )


def _check_known(config):
    """ValueError, naming the field, for what a config cannot say of class, seed, training and certificate."""
    if config["class"] not in [*KINDS]:
        raise ValueError(f"class: expected one of {[*KINDS]}, got {config['class']!r}")
    if config["seed"] is not None:
        check_torch(config["seed"])
    for name in ("training", "certificate"):
        value = config[name]
        if not isinstance(value, dict | None):
            raise ValueError(f"{name}: expected an object or None, got {value!r}")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: expected what JSON holds, got {value!r}") from error


def _check_tensors(tensors, kind, instances, features, hidden):
    """ValueError, naming the tensor, for other names, shapes and dtypes than the model's, and what is not finite."""
    of_weights = {"W": (instances, hidden, features)}
    if kind is AbsoluteValueModel:
        of_weights = {"W1": (instances, hidden, features), "W2": (instances, features, hidden)}
    shapes = {"b": (instances, features), **of_weights}
    if tensors.keys() != shapes.keys():
        raise ValueError(f"tensors: expected {sorted(shapes)}, got {sorted(tensors)}")
    for name, shape in shapes.items():
        got = tensors[name]
        if got.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(got.shape)}")
        if got.dtype not in (torch.float32, torch.float64) or got.dtype != tensors["b"].dtype:
            raise ValueError(f"{name}: expected float32 or float64, the same as b, got {got.dtype}")
        if not got.isfinite().all():
            raise ValueError(
                f"{name}: expected finite numbers, got {(~got.isfinite()).sum()} that are not"
            )


def _described(distribution, model):
    """What a config says of the inputs; density and importance as one number where all are the same."""
    check_inputs(model, distribution)
    described = {name: getattr(distribution, name) for name in OF_INPUTS}
    for name in ("density", "importance"):
        table = described[name]
        described[name] = table[0, 0].item() if (table == table[0, 0]).all() else table.tolist()
    return described


KINDS = {
    kind.__name__: kind
    for kind in (LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel)
}
