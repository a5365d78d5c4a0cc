"""Cells: what a sweep computes in one piece, and the file that keeps the result.

A cell is (experiment, settings, seed, device). The key in the name of its file is made of these, of
the code and the data files that decide its numbers, and of the versions of torch, numpy and scipy.
Whoever writes a file holds its lock, which the system releases when a process is killed. So no two
processes compute the same cell, and a file is written completely or not at all.
"""

import dataclasses
import hashlib
import operator
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy
import safetensors.torch
import scipy
import torch
from filelock import Timeout

from sweeps.code_digest import code_digest
from sweeps.experiment import ExperimentModule, as_json, check_experiment, offered
from sweeps.files import claimed, one_line, read_tensors, write

PACKAGES = (torch, numpy, scipy)  # whose versions are part of the key


class Cell(NamedTuple):
    """What is computed in one piece and kept in one file."""

    experiment: ExperimentModule
    settings: Any
    seed: int
    device: str

    @property
    def name(self):
        """The last part of the experiment's module name."""
        return self.experiment.__name__.rpartition(".")[2]


def cells_of(experiment: ExperimentModule, settings, seed, device):
    """Return the cells of one run of an experiment: its shards, or the run as a whole.

    Args:
        experiment: A module, as `ExperimentModule` describes it.
        settings: Its Settings.
        seed: Any integer. It does not count for an experiment without chance.
        device: "cpu" or "cuda".

    Raises:
        ValueError: The settings cannot be a part of a key, or the Result cannot be kept.
    """
    check_experiment(experiment, settings)
    seed = operator.index(seed) if offered(experiment, "SEEDED") else 0
    shards = offered(experiment, "shards")(settings)
    return [Cell(experiment, shard, seed, device) for shard in shards]


def configuration(cell):
    """Return all that decides a cell's result, as JSON."""
    module = cell.experiment
    seed = {"seed": cell.seed} if offered(module, "SEEDED") else {}
    inputs = [hashlib.sha256(file.read_bytes()) for file in offered(module, "INPUTS")]
    described = {
        "experiment": cell.name,
        "settings": dataclasses.asdict(cell.settings),
        **seed,
        "device": cell.device,
        "versions": {package.__name__: package.__version__ for package in PACKAGES},
        "inputs": [checksum.hexdigest() for checksum in inputs],
        "code": code_digest(module.__name__, module.__file__),
    }
    return as_json(described)


def cell_path(cell, folder):
    """Return the file of a cell: the name of its experiment and 16 digits of its key."""
    key = hashlib.sha256(configuration(cell).encode()).hexdigest()
    return Path(folder) / f"{cell.name}-{key[:16]}.safetensors"


def serialized(cell, result):
    """Return the bytes of a cell's file.

    Raises:
        FloatingPointError: A number is not finite in a field that `MAY_BE_INFINITE` does not name.
        TypeError: The result is not what the experiment's `Result` declares.
    """
    tensors = _flattened(cell.experiment.Result, result, f"{cell.name}: Result")
    _check_finite(cell.experiment, tensors)
    metadata = {"configuration": configuration(cell), "checksum": _checksum(tensors)}
    return safetensors.torch.save(tensors, metadata=metadata)


def load(cell, path):
    """Return the Result in a cell's file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or it is not the file of this cell.
    """
    result, found = read(cell.experiment, path)
    if found != configuration(cell):
        raise ValueError("the result of another configuration")
    return result


def read(experiment: ExperimentModule, path):
    """Return the Result in the file of any cell of an experiment, and the cell's configuration.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or it does not hold a Result of this experiment.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("checksum") != _checksum(tensors):
        raise ValueError("its tensors do not have its checksum")
    try:
        _check_finite(experiment, tensors)
        result = _rebuilt(experiment.Result, tensors)
    except (FloatingPointError, KeyError) as error:
        raise ValueError(one_line(error)) from error
    if len(tensors) != len(_flattened(experiment.Result, result, "Result")):
        raise ValueError("it has more tensors than Result")
    return result, metadata.get("configuration", "")


def _flattened(kind, result, name):
    """Return the tensors of nested NamedTuples as {"field" or "field.subfield": tensor}."""
    if not isinstance(result, kind):
        raise TypeError(f"{name}: expected a {kind.__name__}, got {type(result).__name__}")
    tensors = {}
    for field, hint in get_type_hints(kind).items():
        value = getattr(result, field)
        if hasattr(hint, "_fields"):
            nested = _flattened(hint, value, f"{name}.{field}")
            tensors |= {f"{field}.{subfield}": tensor for subfield, tensor in nested.items()}
        elif isinstance(value, torch.Tensor):
            tensors[field] = value.detach().cpu().contiguous().clone()
        else:
            raise TypeError(f"{name}.{field}: expected a tensor, got {type(value).__name__}")
    return tensors


def _rebuilt(kind, tensors, prefix=""):
    """Return the NamedTuple that `_flattened` took apart. KeyError where a field is missing."""
    fields = {}
    for field, hint in get_type_hints(kind).items():
        name = prefix + field
        nested = hasattr(hint, "_fields")
        fields[field] = _rebuilt(hint, tensors, f"{name}.") if nested else tensors[name]
    return kind(**fields)


def _checksum(tensors):
    return hashlib.sha256(safetensors.torch.save(tensors)).hexdigest()


def _check_finite(module, tensors):
    for field, values in tensors.items():
        wrong = (~values.isfinite()).sum().item()
        if wrong and field not in offered(module, "MAY_BE_INFINITE"):
            raise FloatingPointError(
                f"Result.{field}: expected finite numbers, got {wrong} that are not"
            )


# Computing a cell once


def run_cell(cell, path, expected):
    """Compute a cell on one thread and keep it, unless another process has done so.

    Args:
        cell: What to compute.
        path: The file that keeps the result.
        expected: The configuration of the cell in the process that asks for it.

    Raises:
        OSError: This process has other code, data files or packages, or the file cannot be written.
        FloatingPointError: The result has numbers that are not finite.
    """
    if configuration(cell) != expected:
        raise OSError(
            f"{cell.name}: the process that runs it has other code, data files or packages than "
            "the process that asks for it"
        )
    torch.set_num_threads(1)  # with more, sums have another order and other last digits
    with claimed(path):
        if _sound(cell, path):
            return
        try:
            result = cell.experiment.run(
                cell.settings, seed=cell.seed, device=cell.device, progress=False
            )
            content = serialized(cell, result)
        except FloatingPointError as error:
            raise FloatingPointError(f"{cell.name}, seed {cell.seed}: {error}") from error
        write(path, content)


def finished(cell, path, fresh=False):
    """Return whether a cell's file exists and is sound. If fresh, delete the file first."""
    try:
        with claimed(path, timeout=0):
            if fresh:
                path.unlink(missing_ok=True)
            return _sound(cell, path)
    except Timeout:  # another process is computing it
        return False


def _sound(cell, path):
    """Return whether a claimed file can be loaded. Set it aside if it is damaged."""
    try:
        load(cell, path)
        return True
    except FileNotFoundError:
        return False
    except ValueError as error:
        os.replace(path, f"{path}.damaged")
        print(
            f"{path}: {error}; it is kept as {path.name}.damaged and computed again",
            file=sys.stderr,
        )
        return False
