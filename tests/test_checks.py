"""Checks return what they accept in one form, and refuse everything else by the argument's name."""

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import odd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import checks

fuzz = settings(max_examples=150, derandomize=True, deadline=None, database=None)


# Whole numbers

INTEGERS = [np.dtype(code).type for code in np.typecodes["AllInteger"]]


@pytest.mark.parametrize("kind", INTEGERS, ids=lambda kind: kind.__name__)
def test_any_integer_becomes_an_int(kind):
    largest = min(np.iinfo(kind).max, checks.MOST)
    for check in (checks.check_count, lambda _, value: checks.check_seed(value)):
        count = check("steps", kind(largest))
        assert type(count) is int and count == largest
    assert checks.check_whole("first", kind(3)) == 3


def test_small_integers_do_not_overflow():
    lengths = checks.check_size(rows=np.uint8(200), features=np.uint8(200), times=np.int8(100))
    assert lengths == (200, 200, 100) and all(type(length) is int for length in lengths)


@pytest.mark.parametrize("value", [0, -1, True, np.True_, 1.0, "1", None, np.array(1), 2**31 + 1])
def test_refused_counts(value):
    with pytest.raises(ValueError, match=r"^steps: expected .*, got "):
        checks.check_count("steps", value)


def test_the_product_of_counts_has_a_limit():
    assert checks.check_size(rows=2**16, features=2**15) == (2**16, 2**15)
    with pytest.raises(ValueError, match=r"^rows \* features: expected at most 2,147,483,648"):
        checks.check_size(rows=2**16, features=2**15 + 1)


@pytest.mark.parametrize("seed", [-(2**63), 2**64 - 1, np.uint64(2**64 - 1), np.int8(-1)])
def test_seeds_have_64_bits(seed):
    assert type(checks.check_seed(seed)) is int
    torch.Generator().manual_seed(checks.check_seed(seed))


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64, 1.0, False, "0", torch.tensor(1)])
def test_refused_seeds(seed):
    with pytest.raises(ValueError, match=r"^seed: expected .*, got "):
        checks.check_seed(seed)


def test_divisors():
    assert checks.check_divisor("set_size", np.int16(3), 12) == 3
    for value in (5, 0, -3, 3.0, "3"):
        with pytest.raises(ValueError, match=r"^set_size: expected a divisor of 12 features, got "):
            checks.check_divisor("set_size", value, 12)


# Real numbers


@pytest.mark.parametrize(
    "value", [0.5, np.float16(0.5), np.float32(0.5), np.longdouble(0.5), Fraction(1, 2)]
)
def test_positive_numbers_become_floats(value):
    assert type(checks.check_positive("lr", value)) is float
    assert checks.check_positive("lr", value) == 0.5


def test_integers_beyond_64_bits_are_real_numbers():
    assert checks.check_positive("init_scale", 10**20) == 1e20
    assert checks.as_real("importance", 10**20).item() == 1e20
    assert checks.as_real("importance", [1, 10**20]).tolist() == [1, 1e20]


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1.0, True, "1", None, 1j, float("nan"), float("inf"), 10**400),
        *(Fraction(1, 10**400), np.float16("inf"), np.array([1.0])),
        pytest.param(10**5000, id="more digits than Python writes"),
    ],
)
def test_refused_positive_numbers(value):
    with pytest.raises(ValueError, match=r"^lr: expected a finite number above 0, got "):
        checks.check_positive("lr", value)


REAL_DTYPES = [
    *("?", "i1", "u1", "<i2", ">i2", "<u4", ">u4", "<i8", ">i8", "<u8"),
    *("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", np.longdouble),
]


@fuzz
@given(
    dtype=st.sampled_from(REAL_DTYPES),
    shape=st.lists(st.integers(0, 3), max_size=3),
    step=st.sampled_from([1, -1, 2, -2]),
    writable=st.booleans(),
    as_list=st.booleans(),
)
def test_any_real_array_becomes_float64(dtype, shape, step, writable, as_list):
    array = (np.arange(np.prod(shape, dtype=int)) % 2).reshape(shape).astype(dtype)
    if array.ndim:
        array = array[::step]
    array.flags.writeable = writable
    given_ = [*array] if as_list and array.size and array.ndim else array
    tensor = checks.as_real("density", given_)
    assert tensor.dtype == torch.float64
    assert np.array_equal(tensor.numpy(), np.asarray(array, dtype=np.float64))
    tensor.fill_(7)  # the tensor is a copy
    assert not (array == 7).any()


def test_tensors_become_float64():
    given_ = torch.tensor([1.0, 2.0], requires_grad=True)
    assert not checks.as_real("density", given_).requires_grad
    for dtype in (torch.uint8, torch.int64, torch.bool, torch.bfloat16, torch.float8_e4m3fn):
        assert checks.as_real("density", torch.ones(2).to(dtype)).tolist() == [1, 1]
    assert checks.as_real("density", [torch.tensor(0.5), 1]).tolist() == [0.5, 1]


NO_REAL_NUMBERS = [
    *("a", b"a", "0.5", ["0.5"], None, {}, {1}, object(), np.array("a"), np.array([None])),
    *(1j, [1j], np.array(1j), torch.ones(2, dtype=torch.complex64), np.array("2020", "M8")),
    *([[1.0], [1.0, 2.0]], [np.ones(2), np.ones(3)], 10**400, [10**400]),
    *(torch.ones(2).to_sparse(), torch.ones(2, device="meta")),
]


@pytest.mark.parametrize("value", NO_REAL_NUMBERS, ids=lambda value: type(value).__name__)
def test_refused_arrays(value):
    with pytest.raises(ValueError, match=r"^density: expected real numbers.*, got "):
        checks.as_real("density", value)
    with pytest.raises(ValueError, match=r"^strength: expected .*, got "):
        checks.as_number("strength", value)


def test_lines():
    assert checks.as_line("density", np.geomspace(1, 0.01, 3)[::-1], highest=1).tolist() == (
        pytest.approx([0.01, 0.1, 1])
    )
    for values in ((), 0.5, [[0.5]], [0.0], [-1.0], [1.5], [float("nan")], "a"):
        with pytest.raises(ValueError, match=r"^density: expected .*, got "):
            checks.as_line("density", values, highest=1)


# Choices


@pytest.mark.parametrize(
    "value", ["c", "", None, 1, ["a"], torch.tensor(1), torch.ones(2), np.ones(2), np.array("a")]
)
def test_refused_choices(value):
    with pytest.raises(ValueError, match=r"^schedule: expected one of \('a', 'b'\), got "):
        checks.check_choice("schedule", value, ("a", "b"))


def test_a_choice_becomes_a_plain_string():
    assert type(checks.check_choice("schedule", np.str_("b"), ("a", "b"))) is str


# What torch takes


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.int64, None, "float32", np.float32, torch.ones(2), np.ones(2)]
)
def test_refused_dtypes(dtype):
    with pytest.raises(ValueError, match=r"^dtype: expected .*, got "):
        checks.check_dtype(dtype)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", 1.5, -1, 10**30, np.ones(2), []])
def test_refused_devices(device):
    with pytest.raises(ValueError, match=r"^device: expected .*, got "):
        checks.check_device(device)


def test_devices():
    assert checks.check_device("cpu") == torch.device("cpu")


# Selections


@pytest.mark.parametrize(
    "chosen, indices",
    [
        (1, [1]),
        (-1, [3]),
        (np.uint8(2), [2]),
        (slice(1, None), [1, 2, 3]),
        (slice(None, None, -2), [3, 1]),
        ([2, 0, 2], [2, 0, 2]),
        ((0, 3), [0, 3]),
        (range(2), [0, 1]),
        (np.arange(4)[::-1], [3, 2, 1, 0]),
        (torch.tensor([3, 1]), [3, 1]),
        (torch.tensor([1, 0], dtype=torch.uint8), [1, 0]),
        ([True, False, False, True], [0, 3]),
        (torch.tensor([False, True, False, True]), [1, 3]),
    ],
)
def test_selections(chosen, indices):
    assert checks.check_selection("instances", chosen, 4).tolist() == indices


@pytest.mark.parametrize("chosen", [4, -5, [0, 4], [True, False], 10**12])
def test_nothing_of_that_index(chosen):
    with pytest.raises(IndexError):
        checks.check_selection("instances", chosen, 4)


@pytest.mark.parametrize(
    "chosen",
    [
        *(
            "x",
            None,
            ...,
            True,
            1.0,
            [1.0],
            1j,
            {},
            [],
            10**30,
            slice("a"),
            slice(4, 4),
            slice(0, 1, 0),
        ),
        *(torch.ones(2), [[1], [1, 2]], [False] * 4, object()),
    ],
    ids=lambda chosen: type(chosen).__name__,
)
def test_refused_selections(chosen):
    with pytest.raises(ValueError, match=r"^instances: expected an index, .*, got "):
        checks.check_selection("instances", chosen, 4)


# Settings of experiments


@dataclass(frozen=True)
class Settings:
    steps: int = 100
    first: int = 1
    lr: float = 0.1
    densities: tuple[float, ...] = (0.5,)
    attack: tuple[float, ...] = (0.0,)
    keep: tuple[int, ...] = (1,)
    exact: bool = False
    model: str = "linear"

    def __post_init__(self):
        checks.check_settings(self, may_be_zero=("first",))


def test_settings_are_brought_into_form():
    settings_ = Settings(
        steps=np.int64(5),
        first=np.uint8(0),
        lr=np.float32(0.5),
        densities=np.array([0.5, 0.25])[::-1],
        attack=[0, 1],
        keep=torch.tensor([1, 2]).numpy(),
    )
    assert settings_ == Settings(5, 0, 0.5, (0.25, 0.5), (0.0, 1.0), (1, 2))
    plain = {int, float, tuple, bool, str}
    assert {type(value) for value in vars(settings_).values()} <= plain
    assert {type(number) for number in settings_.densities + settings_.attack} == {float}
    assert {type(number) for number in settings_.keep} == {int}


@pytest.mark.parametrize(
    "name, value",
    [
        ("steps", 0),
        ("steps", 1.0),
        ("first", -1),
        ("lr", 0.0),
        ("lr", "fast"),
        ("densities", ()),
        ("densities", (1.5,)),
        ("attack", 0.5),
        ("attack", ("a",)),
        ("keep", (1.5,)),
        ("keep", 1),
        ("exact", 1),
        ("model", None),
    ],
)
def test_refused_settings(name, value):
    with pytest.raises(ValueError, match=rf"^{name}\b.*: expected .*, got "):
        Settings(**{name: value})


# Weights


def test_weights_are_returned_as_they_are():
    W = torch.ones(0, 2, 3)
    assert checks.check_weights(W) is W


@pytest.mark.parametrize(
    "W",
    [
        None,
        "W",
        np.ones((1, 2, 3)),
        torch.ones(2, 3),
        torch.ones(1, 0, 3),
        torch.ones(1, 2, 3, dtype=torch.int64),
        torch.ones(1, 2, 3).to(torch.float8_e4m3fn),
        torch.full((1, 2, 3), torch.nan),
        torch.full((1, 2, 3), 1e30),
        torch.ones(1, 2, 3).to_sparse(),
        torch.ones(1, 2, 3, device="meta"),
    ],
    ids=str,
)
def test_refused_weights(W):
    with pytest.raises(ValueError, match=r"^W: expected .*, got "):
        checks.check_weights(W)


# Anything

CHECKS = {
    "check_count": lambda value: checks.check_count("value", value),
    "check_size": lambda value: checks.check_size(value=value, other=2),
    "check_divisor": lambda value: checks.check_divisor("value", value, 12),
    "check_whole": lambda value: checks.check_whole("value", value),
    "check_positive": lambda value: checks.check_positive("value", value),
    "check_choice": lambda value: checks.check_choice("value", value, ("a", "b")),
    "check_seed": checks.check_seed,
    "check_dtype": checks.check_dtype,
    "check_device": checks.check_device,
    "as_real": lambda value: checks.as_real("value", value),
    "as_number": lambda value: checks.as_number("value", value),
    "as_line": lambda value: checks.as_line("value", value),
    "as_table": lambda value: checks.as_table("value", value),
    "table_shape": lambda value: checks.table_shape((), (3,), value, None),
    "check_parents": lambda value: checks.check_parents(value, 3),
    "check_selection": lambda value: checks.check_selection("value", value, 3),
    "check_weights": lambda value: checks.check_weights(value, name="value"),
}


@pytest.mark.parametrize("name", CHECKS)
@fuzz
@given(value=odd.anything())
def test_anything_is_returned_or_refused_by_name(name, value):
    try:
        CHECKS[name](value)
    except ValueError as error:
        named = r"(value|value \* other|seed|dtype|device|instances|parents)\b"
        assert re.match(rf"{named}.*: expected .*, got ", str(error), re.DOTALL), error
    except IndexError:
        assert name == "check_selection"
