"""What an experiment's module may offer, and what a section says about its experiments."""

import dataclasses
import json
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_type_hints

from torch import Tensor


class ExperimentModule(Protocol):
    """A module of `experiments/` as the sweeps see it.

    A module has to offer `Settings`, `QUICK`, `Result` and `run`. It may offer the other members;
    where it does not, the defaults below hold.
    """

    Settings: type  # a frozen dataclass of values that JSON can hold; its defaults are the paper's
    QUICK: Any  # small Settings (or a tuple of them), for a run of seconds
    Result: type  # a NamedTuple of tensors and of further such NamedTuples

    SEEDED: bool = True  # False: no chance is involved, and one run serves every seed
    MAY_BE_INFINITE: tuple[str, ...] = ()  # fields of Result that may hold inf or nan, "part.field"
    INPUTS: tuple[Path, ...] = ()  # data files that `run` reads; their content is part of the key

    @staticmethod
    def run(settings, *, seed=0, device="cpu", progress=True):
        """Compute the Result of some settings."""

    @staticmethod
    def shards(settings) -> Sequence:
        """Split settings into those of parts, each of which is a cell of at most two minutes."""
        return [settings]

    @staticmethod
    def joined(results):
        """Put the Results of the shards together into one."""
        (result,) = results
        return result

    @staticmethod
    def effort(settings) -> float:
        """Estimate how long a shard takes, in any unit; the longest cells are run first."""
        return getattr(settings, "steps", 0)


class Experiment(NamedTuple):
    """A module of `experiments/` with the settings that a section runs it with.

    Attributes:
        module: offers what `ExperimentModule` describes.
        settings: Settings at full size, or a tuple of them for several runs of one kind.
        quick: Small Settings, or a tuple of them.
        drawn: Whether only figures are made of it, and no claims. Such an experiment is computed
            with the first seed alone.
    """

    module: ExperimentModule
    settings: Any
    quick: Any
    drawn: bool = False


def offered(module: ExperimentModule, name: str):
    """Return what a module offers under a name of `ExperimentModule`, or the default."""
    return getattr(module, name, getattr(ExperimentModule, name, None))


def check_experiment(module: ExperimentModule, settings):
    """Check, before anything is run, that settings can be a part of a key and a Result can be kept.

    Args:
        module: The module of an experiment.
        settings: Settings of this module.

    Raises:
        ValueError: The settings are no frozen dataclass of values that JSON can hold, or `Result`
            is no NamedTuple of tensors. The message names the field.
    """
    name = module.__name__.rpartition(".")[2]
    _check_settings(settings, module.Settings, name)
    _check_result(module.Result, f"{name}.Result")


def _check_settings(settings, kind, name):
    if not dataclasses.is_dataclass(kind) or not kind.__dataclass_params__.frozen:
        raise ValueError(f"{name}.Settings: expected a frozen dataclass, got {kind!r}")
    if not isinstance(settings, kind):
        raise ValueError(
            f"settings of {name}: expected Settings or a tuple of them, got {settings!r}"
        )
    for field, value in dataclasses.asdict(settings).items():
        if isinstance(value, list):
            raise ValueError(f"{name}.Settings.{field}: expected a tuple, got the list {value!r}")
        try:
            as_json(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}.Settings.{field}: expected a value that JSON can hold, got {value!r}"
            ) from error


def as_json(value):
    """Return JSON with sorted keys; numpy's numbers are written as Python's.

    Raises:
        TypeError: JSON cannot hold the value.
        ValueError: A number is not finite.
    """
    return json.dumps(value, sort_keys=True, allow_nan=False, default=_plain_number)


def _plain_number(value):
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"{value!r} has no form in JSON")


def _check_result(kind, name):
    if not hasattr(kind, "_fields"):
        raise ValueError(f"{name}: expected a NamedTuple of tensors, got {kind!r}")
    for field, hint in get_type_hints(kind).items():
        if hasattr(hint, "_fields"):
            _check_result(hint, f"{name}.{field}")
        elif getattr(hint, "array_type", hint) is not Tensor:  # jaxtyping's Float[Tensor, "..."]
            raise ValueError(f"{name}.{field}: expected a tensor or a NamedTuple, got {hint!r}")
