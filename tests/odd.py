"""Arguments that users pass by mistake or on purpose, for property tests."""

import math
from fractions import Fraction

import numpy as np
import torch
from hypothesis import strategies as st

NUMPY_DTYPES = [
    np.dtype(code) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"
]
TORCH_DTYPES = [
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn),
    *(torch.int64, torch.int8, torch.uint8, torch.bool, torch.complex64),
]
SCALARS = [
    *(0, 1, 2, -1, 3.0, 0.5, -0.0, True, False, 1j, math.nan, math.inf, -math.inf, 5e-324, 1e308),
    *(2**31 + 1, 2**63, 2**64, -(2**63), 10**20, 10**30, 10**400, 10**5000, Fraction(1, 3)),
]
OBJECTS = [
    *(None, "", "a", "cpu", "1", b"1", (), [], {}, {1}, object(), math, int, ..., slice(2)),
    *([[1.0], [1.0, 2.0]], ["a"], [None, 0, 0], [1j], range(3), lambda: 1, np.str_("a")),
    *(np.array("a"), np.array([None]), np.array("2020", "M8"), np.array({}), np.ma.masked),
]


@st.composite
def arrays(draw):
    """Draw numpy arrays of any dtype and stride, with up to three dimensions."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    dtype = draw(st.sampled_from(NUMPY_DTYPES))
    array = np.full(shape, draw(st.sampled_from([0, 1, 2])), dtype=dtype)
    if draw(st.booleans()):
        array = array.astype(array.dtype.newbyteorder())
    return array[::-1] if array.ndim and draw(st.booleans()) else array


@st.composite
def tensors(draw):
    """Draw tensors of any dtype, with up to three dimensions, dense and elsewhere."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    filled = torch.full(shape, draw(st.sampled_from([0.0, 1.0, 0.5, math.nan])))
    tensor = filled.to(draw(st.sampled_from(TORCH_DTYPES)))
    form = draw(st.sampled_from(["dense", "dense", "dense", "sparse", "meta"]))
    if form == "meta":
        return tensor.to("meta")
    if form == "sparse" and tensor.dtype in (torch.float32, torch.float64):
        return tensor.to_sparse()
    return tensor


def numpy_numbers():
    """Draw a number of any of numpy's real dtypes."""
    small = st.sampled_from([0, 1, 2, 3, 100])
    return st.builds(lambda dtype, value: dtype.type(value), st.sampled_from(NUMPY_DTYPES), small)


def anything():
    """Draw anything: numbers, arrays and tensors of all kinds, lists of them, and other objects."""
    single = st.sampled_from(SCALARS + OBJECTS) | numpy_numbers() | arrays() | tensors()
    return single | st.lists(single, max_size=3)
