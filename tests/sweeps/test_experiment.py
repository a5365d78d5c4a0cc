"""What is wrong with an experiment is found before it is run."""

from dataclasses import dataclass, make_dataclass
from types import SimpleNamespace
from typing import NamedTuple

import made_up
import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from sweeps.cells import cells_of
from sweeps.experiment import check_experiment, offered


class Part(NamedTuple):
    loss: float


class Nested(NamedTuple):
    W: Tensor
    part: Part


class Number(NamedTuple):
    W: Float[Tensor, "instances hidden features"]
    loss: float


class Fine(NamedTuple):
    W: Float[Tensor, "instances hidden features"]


@dataclass
class Changeable:
    steps: int = 1


def settings(value):
    """Settings with one field of this value."""
    return make_dataclass("Settings", [("steps", object)], frozen=True)(value)


def experiment(Settings, Result=Fine):
    return SimpleNamespace(__name__="experiments.asked", Settings=Settings, Result=Result)


@pytest.mark.parametrize(
    "value",
    [
        1,
        0.5,
        None,
        "a",
        True,
        (1, (2.0, "b")),
        np.int64(3),
        (np.float32(0.5),),
        Part(0.1),
        settings((1, 2)),
    ],
)
def test_what_json_can_hold_is_accepted(value):
    some = settings(value)
    check_experiment(experiment(type(some)), some)


@pytest.mark.parametrize(
    "value, message",
    [
        ([1, 2], "expected a tuple, got the list"),
        (torch.ones(1), "expected a value that JSON can hold"),
        (float("nan"), "expected a value that JSON can hold"),
        ({1}, "expected a value that JSON can hold"),
    ],
)
def test_settings_that_cannot_be_part_of_a_key(value, message):
    some = settings(value)
    with pytest.raises(ValueError, match=rf"asked\.Settings\.steps: {message}"):
        check_experiment(experiment(type(some)), some)


def test_settings_in_a_list_are_refused():
    with pytest.raises(ValueError, match="settings of made_up: expected Settings or a tuple"):
        cells_of(made_up, [made_up.Settings()], 0, "cpu")


def test_settings_that_can_be_changed_are_refused():
    with pytest.raises(ValueError, match=r"asked\.Settings: expected a frozen dataclass"):
        check_experiment(experiment(Changeable), Changeable())


@pytest.mark.parametrize(
    "Result, message",
    [
        (Number, r"asked\.Result\.loss: expected a tensor or a NamedTuple, got <class 'float'>"),
        (Nested, r"asked\.Result\.part\.loss: expected a tensor"),
        (dict, r"asked\.Result: expected a NamedTuple"),
    ],
)
def test_results_that_cannot_be_kept(Result, message):
    some = settings(1)
    with pytest.raises(ValueError, match=message):
        check_experiment(experiment(type(some), Result), some)


def test_any_integer_is_a_seed():
    (cell, *_) = cells_of(made_up, made_up.Settings(), np.int64(3), "cpu")
    assert type(cell.seed) is int and cell.seed == 3


def test_what_is_not_offered_has_a_default():
    small = SimpleNamespace()
    assert offered(small, "SEEDED") is True
    assert offered(small, "MAY_BE_INFINITE") == offered(small, "INPUTS") == ()
    assert offered(small, "shards")("all") == ["all"]
    assert offered(small, "joined")(["one"]) == "one"
    assert offered(small, "effort")(SimpleNamespace(steps=7)) == 7
    assert offered(small, "effort")(SimpleNamespace()) == 0
    assert offered(made_up, "MAY_BE_INFINITE") == made_up.MAY_BE_INFINITE
