"""Storage: models in folders, with what is known of them, read without pickle.

A model's folder holds two files. `model.safetensors` contains the parameters by name, with the
instances on the first axis. `config.json` contains the class and the sizes of the model, the
distribution of its inputs, and the seed, the training and the certificate as far as they are known.

    >>> save(model, "zoo/mine", distribution, seed=0)
    >>> stored = read("zoo/mine")
    >>> output = stored.model(stored.distribution.sample(1024))
"""

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from checks import check_choice, check_seed, check_size, shown
from features import FeatureDistribution, Uniform
from models import (
    AbsoluteValueModel,
    LinearModel,
    ReLUHiddenModel,
    ReLUOutputModel,
    ToyModel,
    base_class,
    check_inputs,
    parameter_shapes,
)
from sweeps.files import read_object, read_tensors, write_together

TENSORS = "model.safetensors"
CONFIG = "config.json"
MODEL_CLASSES = {
    known.__name__: known
    for known in (LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel)
}
SIZES = ("instances", "features", "hidden")
INPUTS = (
    "density",
    "importance",
    "set_size",
    "correlation",
    "signed",
    "values",
    "strength",
    "parents",
)
CONFIG_KEYS = ("class", *SIZES, *INPUTS, "seed", "training", "certificate")


class Stored(NamedTuple):
    """A model that was read from its folder.

    Attributes:
        model: The model, on the CPU and in the dtype in which it was saved.
        distribution: The distribution of its inputs, or None where it is unknown.
        config: The content of `config.json`, with None for each of CONFIG_KEYS that is unknown.
    """

    model: ToyModel
    distribution: FeatureDistribution | None
    config: dict[str, Any]


def known_class(model) -> type[ToyModel]:
    """Return which of the four toy models a model is.

    Args:
        model: The model to be saved or exported.

    Returns:
        One of the values of MODEL_CLASSES.

    Raises:
        ValueError: If the model is none of them, because it overrides something or has parameters
            of its own.
    """
    found = base_class(model)
    if found is None:
        got = f"{type(model).__name__}, which overrides or adds something"
        raise ValueError(f"model: expected one of {[*MODEL_CLASSES]}, got {got}")
    return found


def save(model, folder, distribution=None, *, seed=None, training=None, certificate=None):
    """Write a model and what is known of it to a folder.

    Both files are replaced together, so that an old one never stands beside a new one.

    Args:
        model: One of the four toy models, with nothing overridden.
        folder: Path of the folder, which is created where it does not exist.
        distribution: FeatureDistribution of the inputs, with the model's instances and features.
        seed: Whole number from which the initial weights and the samples were drawn.
        training: Settings of the training, as a dict of what JSON can hold.
        certificate: Measurements of the model, as a dict of what JSON can hold.

    Raises:
        ValueError: If an argument does not fit; nothing is written then.
        FloatingPointError: If a weight is not finite; nothing is written then.
        OSError: If the folder cannot be written; no file is left half-written.
    """
    model_class = known_class(model)
    sizes = {name: int(getattr(model, name)) for name in SIZES}
    inputs = dict.fromkeys(INPUTS)
    if distribution is not None:
        check_inputs(model, distribution)
        inputs = _described(distribution)
    known = {
        "seed": None if seed is None else check_seed(seed),
        "training": _as_object("training", training),
        "certificate": _as_object("certificate", certificate),
    }
    config = {"class": model_class.__name__, **sizes, **inputs, **known}
    tensors = _finite_parameters(model)
    _check_tensors(tensors, model_class, **sizes)

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=1) + "\n"
    write_together(
        {
            folder / TENSORS: safetensors.torch.save(tensors),
            folder / CONFIG: text.encode(encoding="utf-8"),
        }
    )


def read(folder) -> Stored:
    """Read a model that `save` has written.

    Args:
        folder: Path of the model's folder.

    Returns:
        The model, the distribution of its inputs and the whole config.

    Raises:
        ValueError: If a file is missing, cut off or foreign, or if config and tensors contradict
            each other. The message names the file and what is wrong in it.
    """
    folder = Path(folder)
    with _errors_name(folder / CONFIG):
        config = dict.fromkeys(CONFIG_KEYS) | read_object(folder / CONFIG)
        _check_keys(config)
        model_class = MODEL_CLASSES[check_choice("class", config["class"], MODEL_CLASSES)]
        sizes = {name: config[name] for name in SIZES}
        check_size(**sizes)
        if config["seed"] is not None:
            check_seed(config["seed"])
        for name in ("training", "certificate"):
            _as_object(name, config[name])
        distribution = _distribution(config)
    with _errors_name(folder / TENSORS):
        tensors, _ = read_tensors(folder / TENSORS)
        _check_tensors(tensors, model_class, **sizes)
    model = model_class(*sizes.values(), dtype=tensors["b"].dtype)
    model.load_state_dict(tensors)
    return Stored(model, distribution, config)


@contextlib.contextmanager
def _errors_name(path):
    """Put the name of a file before every ValueError that the block raises."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected a file, got none") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _described(distribution):
    """Return what a config says of the inputs, with one number for a table that is constant."""
    described = {name: getattr(distribution, name) for name in INPUTS}
    for name in ("density", "importance"):
        table = described[name]
        constant = bool((table == table[0, 0]).all())
        described[name] = table[0, 0].item() if constant else table.tolist()
    values = distribution.values
    if isinstance(values, Uniform):
        said_by_signed = values in (Uniform(), Uniform(-1, 1))
        described["values"] = None if said_by_signed else {"low": values.low, "high": values.high}
    return described


def _distribution(config):
    """Return the distribution that a config describes, or None if it describes none."""
    given = {name: config[name] for name in INPUTS if config[name] is not None}
    if not given:
        return None
    if config["density"] is None:
        other = next(iter(given))
        raise ValueError(f"density: expected numbers, as {other} is given, got None")
    if not isinstance(config["signed"], bool | None):
        raise ValueError(f"signed: expected true or false, got {config['signed']!r}")
    if isinstance(config["values"], dict):
        given["values"] = _uniform(config["values"])
    return FeatureDistribution(**given, features=config["features"], instances=config["instances"])


def _uniform(values):
    """Return the range of values that a config describes."""
    if values.keys() != {"low", "high"}:
        raise ValueError(f"values: expected low and high, got {shown(values)}")
    return Uniform(**values)


def _check_keys(config):
    """Refuse a config with a key that no config has."""
    unknown = [key for key in config if key not in CONFIG_KEYS]
    if unknown:
        raise ValueError(f"{unknown[0]}: expected one of {CONFIG_KEYS}")


def _as_object(name, value):
    """Return a dict that JSON can hold, or None."""
    if not isinstance(value, dict | None):
        raise ValueError(f"{name}: expected an object or None, got {shown(value)}")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: expected what JSON can hold, got {shown(value)}") from error
    return value


def _finite_parameters(model):
    """Return copies of a model's parameters on the CPU, which must be finite."""
    tensors = {}
    for name, value in model.named_parameters():
        tensor = value.detach().cpu().contiguous().clone()
        if not tensor.isfinite().all():
            count = (~tensor.isfinite()).sum()
            raise FloatingPointError(f"{name}: expected finite numbers, got {count} that are not")
        tensors[name] = tensor
    return tensors


def _check_tensors(tensors, model_class, instances, features, hidden):
    """Check names, shapes, dtypes and finiteness of the parameters of a model."""
    shapes = parameter_shapes(model_class, instances, features, hidden)
    if tensors.keys() != shapes.keys():
        raise ValueError(f"tensors: expected {sorted(shapes)}, got {sorted(tensors)}")
    for name, shape in shapes.items():
        tensor = tensors[name]
        dtype = tensor.dtype
        if tensor.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")
        if dtype not in (torch.float32, torch.float64) or dtype != tensors["b"].dtype:
            raise ValueError(f"{name}: expected float32 or float64, the same as b, got {dtype}")
        if not tensor.isfinite().all():
            count = (~tensor.isfinite()).sum()
            raise ValueError(f"{name}: expected finite numbers, got {count} that are not")
