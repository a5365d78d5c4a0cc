"""Cells: what a sweep computes at one go, and the files that keep it.

A cell is (experiment, settings, seed, device). The key in its file's name is made of these, of torch's version, and of
the code that the experiment's `run` reaches. Whoever writes a file holds its lock, which the system takes from a
process that is killed: no two processes compute one cell, and a file is written at once or not at all.

What an experiment's module may say of itself: SEEDED = False, no chance is involved and the seed does not
count; MAY_BE_INFINITE, the fields of Result in which a number that is not finite says that there is none.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_type_hints

import safetensors.torch
import torch
from filelock import FileLock, Timeout

from sweeps.code_digest import code_digest
from sweeps.files import one_line, read_tensors, write

CODE = (
    "run",
    "shards",
    "joined",
    "Settings",
    "Result",
)  # of an experiment: what decides its results


class Cell(NamedTuple):
    """What is computed at one go, and kept in one file."""

    experiment: ModuleType
    settings: Any
    seed: int
    device: str

    @property
    def name(self):
        return self.experiment.__name__.rpartition(".")[2]


def configuration(cell):
    """All that decides a cell's result, as JSON."""
    module = cell.experiment
    of_seed = {"seed": cell.seed} if getattr(module, "SEEDED", True) else {}
    return json.dumps(
        {
            "experiment": cell.name, "settings": dataclasses.asdict(cell.settings), **of_seed, "device": cell.device,
            "torch": torch.__version__, "code": code_digest(module.__name__, module.__file__, CODE),
        },
        sort_keys=True, allow_nan=False,
    )  # fmt: skip


def cell_path(cell, folder):
    """The file of a cell: its experiment's name and 16 digits of its key."""
    key = hashlib.sha256(configuration(cell).encode()).hexdigest()
    return Path(folder) / f"{cell.name}-{key[:16]}.safetensors"


def serialized(cell, result):
    """The bytes of a cell's file. FloatingPointError where a number is not finite, unless MAY_BE_INFINITE names it."""
    tensors = _flattened(cell.experiment.Result, result, f"{cell.name}: Result")
    _check_finite(cell.experiment, tensors)
    return safetensors.torch.save(
        tensors, metadata={"configuration": configuration(cell), "checksum": _checksum(tensors)}
    )


def load(cell, path):
    """The Result in a cell's file. FileNotFoundError where there is none, ValueError where it is not what it claims."""
    return read(cell.experiment, path, configuration(cell))[0]


def read(experiment, path, expected=None):
    """The Result in a file of an experiment's cell, and its configuration: any, or the expected one.

    Raises the errors of `load`.
    """
    tensors, metadata = read_tensors(path)
    if expected is not None and metadata.get("configuration") != expected:
        raise ValueError("the result of another configuration")
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
    """{"field" or "field.subfield": tensor} of a NamedTuple of tensors and further NamedTuples."""
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
    """A NamedTuple from what `_flattened` made of it. KeyError where a field is missing."""
    hints = get_type_hints(kind).items()
    return kind(
        **{
            field: _rebuilt(hint, tensors, f"{prefix}{field}.")
            if hasattr(hint, "_fields")
            else tensors[prefix + field]
            for field, hint in hints
        }
    )


def _checksum(tensors):
    return hashlib.sha256(safetensors.torch.save(tensors)).hexdigest()


def _check_finite(module, tensors):
    for field, values in tensors.items():
        wrong = (~values.isfinite()).sum().item()
        if wrong and field not in getattr(module, "MAY_BE_INFINITE", ()):
            raise FloatingPointError(
                f"Result.{field}: expected finite numbers, got {wrong} that are not"
            )


# Computing it once


def run_cell(cell, path, expected):
    """Compute a cell and keep it, unless another process has done so. Takes one thread."""
    if configuration(cell) != expected:
        raise OSError(
            f"{cell.name}: the code or torch of the process that runs it is not that of the one that asks"
        )
    torch.set_num_threads(1)  # more would change the order of sums, and with it the last digits
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
    """Whether a cell's file is there and sound; fresh: it is taken away."""
    try:
        with claimed(path, timeout=0):
            if fresh:
                path.unlink(missing_ok=True)
            return _sound(cell, path)
    except Timeout:  # another process is computing it
        return False


def _sound(cell, path):
    """Whether a cell's file, which is claimed, can be loaded; what cannot is set aside."""
    try:
        load(cell, path)
        return True
    except FileNotFoundError:
        return False
    except ValueError as error:
        os.replace(path, f"{path}.damaged")
        print(f"{path}: {error}; set aside as {path.name}.damaged, computed again", file=sys.stderr)
        return False


# Who writes a file


@contextlib.contextmanager
def claimed(path, timeout=-1):
    """The right to write a file, once no other process has it. Raises Timeout after that many seconds."""
    lock = Path(f"{path}.lock")
    with FileLock(lock, timeout=timeout):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def clean(folder):
    """Take away what killed processes have left half-written in a folder; what is claimed is still being written."""
    for leftover in [*folder.glob("*.tmp"), *folder.glob("*.lock")]:
        with contextlib.suppress(Timeout), claimed(leftover.with_suffix(""), timeout=0):
            leftover.with_suffix(".tmp").unlink(missing_ok=True)
