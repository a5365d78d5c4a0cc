"""Checks of arguments, for all public functions.

Each check raises a ValueError that names the argument, what was expected and what came. Where the
argument is right, the check returns it in the form in which the project works with it: any whole
number as an int, any array of real numbers as a float64 tensor. Numpy's numbers and arrays are as
good as Python's and torch's.
"""

import math
import numbers
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

MOST = 2**31  # the largest count of numbers in one tensor; as float64 they take 16 GiB
LONGEST = 200  # characters of a value that an error shows
REAL_KINDS = "biuf"  # numpy's codes of real dtypes: bool, signed and unsigned integers, floats


def is_whole(value):
    """Tell whether a value is a whole number; True and False are not numbers."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_whole(name, value) -> int:
    """Return a whole number as an int."""
    if not is_whole(value):
        raise ValueError(f"{name}: expected a whole number, got {shown(value)}")
    return int(value)


def check_count(name, value) -> int:
    """Return a whole number from 1 to MOST as an int; True and False are not numbers."""
    if not is_whole(value) or int(value) < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {shown(value)}")
    count = int(value)
    if count > MOST:
        raise ValueError(
            f"{name}: expected at most {MOST:,}, as more do not fit into memory, got {shown(count)}"
        )
    return count


def check_size(**counts) -> tuple[int, ...]:
    """Return the lengths of a tensor's axes as ints, if the tensor has at most MOST numbers."""
    lengths = [check_count(name, count) for name, count in counts.items()]
    check_count(" * ".join(counts), math.prod(lengths))
    return tuple(lengths)


def check_positive(name, value) -> float:
    """Return a real number above 0 as a float, which must be finite and above 0 as well."""
    number = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not 0 < number < math.inf:
        raise ValueError(f"{name}: expected a finite number above 0, got {shown(value)}")
    return number


def check_divisor(name, value, total) -> int:
    """Return a count that divides `total`, a number of features, as an int."""
    if not is_whole(value) or int(value) < 1 or total % int(value):
        raise ValueError(f"{name}: expected a divisor of {total} features, got {shown(value)}")
    return int(value)


def check_choice(name, value, choices) -> str:
    """Return one of some strings."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {choices}, got {shown(value)}")
    return choices[choices.index(value)]


def check_seed(seed) -> int:
    """Return a whole number of at most 64 bits as an int, as torch's generators take no other."""
    if not is_whole(seed) or not -(2**63) <= int(seed) < 2**64:
        raise ValueError(f"seed: expected a whole number of at most 64 bits, got {shown(seed)}")
    return int(seed)


def check_dtype(dtype) -> torch.dtype:
    """Return float32 or float64; less precise dtypes do not resolve small densities."""
    if not isinstance(dtype, torch.dtype) or dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {shown(dtype)}")
    return dtype


def check_device(device) -> torch.device:
    """Return a device that is available and computes in float64, which Apple's "mps" does not."""
    try:
        return torch.empty(0, dtype=torch.float64, device=device).device
    except (AssertionError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"device: expected one that is available and computes in float64, got {shown(device)}"
        ) from error


def check_generator(generator, device):
    """Raise a ValueError unless this is None or a torch.Generator on a device of the same kind."""
    if generator is None:
        return
    kind = torch.device(device).type
    if not isinstance(generator, torch.Generator) or generator.device.type != kind:
        raise ValueError(
            f"generator: expected a torch.Generator on {kind} or None, got {shown(generator)}"
        )


def as_real(name, value, device=None) -> Tensor:
    """Return real numbers as a float64 tensor that does not require a gradient.

    Args:
        name: What the caller's argument is called in errors.
        value: A number, a tensor, or whatever numpy makes an array of real numbers from: strided,
            read-only, in another byte order, of any integer or floating-point dtype.
        device: Where the tensor should be; None for where it is or would land.
    """
    if not isinstance(value, Tensor):
        return torch.as_tensor(_as_array(name, value), device=device)
    if value.is_complex() or value.is_meta or value.layout != torch.strided:
        got = f"{value.dtype} on {value.device}, {value.layout}"
        raise ValueError(f"{name}: expected real numbers in a dense tensor, got {got}")
    return value.detach().to(device=device, dtype=torch.float64)


def _as_array(name, value):
    """Return a float64 array of our own, in native order."""
    try:
        array = np.asarray(value)
        whole = array.dtype == object and all(
            isinstance(number, numbers.Integral) for number in array.flat
        )  # numpy keeps integers of more than 64 bits as objects
        if array.dtype.kind in REAL_KINDS or whole:
            return np.array(array, dtype=np.float64, order="C")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name}: expected real numbers, got {shown(value)}") from error
    raise ValueError(f"{name}: expected real numbers, got {shown(value)}")


def as_number(name, value) -> float:
    """Return one real number, which may be an array of no dimension, as a float."""
    number = as_real(name, value, "cpu")
    if number.dim():
        raise ValueError(f"{name}: expected one number, got shape {tuple(number.shape)}")
    return number.item()


def as_line(name, values, highest=math.inf) -> Tensor:
    """Return numbers above 0 and at most `highest`, at least one, as float64 on the CPU."""
    line = as_real(name, values).cpu()
    if line.dim() != 1 or not len(line):
        raise ValueError(
            f"{name}: expected numbers in one dimension, got shape {tuple(line.shape)}"
        )
    if not ((line > 0) & (line <= highest) & line.isfinite()).all():
        raise ValueError(
            f"{name}: expected finite numbers above 0, at most {highest:g}, got {extremes(line)}"
        )
    return line


def shown(value):
    """Return what a value looks like, in at most LONGEST characters, for errors."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        text = f"{type(value).__name__} of too many digits to write"
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def extremes(table):
    """Return the smallest and the largest value of a tensor in words, for errors."""
    return f"values from {table.min():g} to {table.max():g}" if table.numel() else "none"


def as_table(name, value, device=None) -> Tensor:
    """Return real numbers for instances and features, or for one of these, as a float64 tensor."""
    table = as_real(name, value, device)
    if table.dim() > 2:
        expected = "at most two dimensions (instances, features)"
        raise ValueError(f"{name}: expected {expected}, got {tuple(table.shape)}")
    return table


def table_shape(density, importance, instances, features) -> tuple[int, int]:
    """Return the shape (instances, features) to which two tables broadcast.

    Args:
        density: Shape of the table of densities.
        importance: Shape of the table of importances.
        instances: Number of instances, or None where the tables tell it.
        features: Number of features, or None where the tables tell it.
    """
    counts = []
    for name, count in (("instances", instances), ("features", features)):
        counts.append(None if count is None else check_count(name, count))
    if features is None and len(density) == len(importance) == 0:
        expected = "a number of features, as density and importance are scalars"
        raise ValueError(f"features: expected {expected}, got None")
    try:
        shape = torch.broadcast_shapes(density, importance, [count or 1 for count in counts])
    except RuntimeError:
        shape = ()
    if len(shape) != 2 or any(count not in (None, size) for count, size in zip(counts, shape)):
        expected = f"shapes that broadcast to (instances, features) = {tuple(counts)}"
        got = f"{tuple(density)} and {tuple(importance)}"
        raise ValueError(f"density, importance: expected {expected}, got {got}")
    return check_size(instances=shape[0], features=shape[1])


def check_parents(parents, features) -> tuple[int | None, ...] | None:
    """Return the parent of each feature, None for one without; None where no feature has one."""
    if parents is None:
        return None
    try:
        given = list(parents)
    except TypeError as error:
        raise ValueError(f"parents: expected a sequence, got {shown(parents)}") from error
    checked = []
    for child, parent in enumerate(given):
        if parent is not None and not (is_whole(parent) and 0 <= int(parent) < child):
            expected = f"None or a feature before feature {child}"
            raise ValueError(f"parents: expected {expected}, got {shown(parent)}")
        checked.append(None if parent is None else int(parent))
    if len(checked) != features:
        raise ValueError(
            f"parents: expected one for each of {features} features, got {len(checked)}"
        )
    return None if checked == [None] * features else tuple(checked)


def check_settings(settings, may_be_zero=()):
    """Check the fields of a dataclass by their types, and bring each into its form, in place.

    A field of type int must be a count, one of type float a number above 0, and `densities` must be
    in (0, 1]. Tuples of numbers may come as any array; fields of other types must be of their type.

    Args:
        settings: The dataclass, frozen or not.
        may_be_zero: Names of the fields of type int or float that may be 0 as well.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        object.__setattr__(settings, field.name, _as_field(field, value, field.name in may_be_zero))


def _as_field(field, value, may_be_zero):
    """Return a field's value as an instance of the field's type."""
    if field.type in (int, float):
        if may_be_zero and isinstance(value, numbers.Real) and value == 0:
            return field.type(0)
        name = field.name + " (unless 0)" * may_be_zero
        return check_count(name, value) if field.type is int else check_positive(name, value)
    if field.name == "densities":
        return tuple(as_line(field.name, value, highest=1).tolist())
    if field.type == tuple[float, ...]:
        return tuple(_as_vector(field.name, value).tolist())
    if field.type == tuple[int, ...]:
        _as_vector(field.name, value)
        return tuple(check_count(field.name, number) for number in value)
    if isinstance(field.type, type) and not isinstance(value, field.type):
        raise ValueError(f"{field.name}: expected a {field.type.__name__}, got {shown(value)}")
    return value


def _as_vector(name, value):
    """Return real numbers in one dimension as a float64 vector."""
    vector = as_real(name, value)
    if vector.dim() != 1:
        raise ValueError(f"{name}: expected numbers in one dimension, got {shown(value)}")
    return vector


def check_selection(name, chosen, count) -> Tensor:
    """Return the indices of the chosen ones among `count` things, as a vector on the CPU.

    Args:
        name: What the caller's argument is called in errors.
        chosen: An index, a slice, several indices or a mask.
        count: How many there are to choose from.

    Raises:
        IndexError: If there is no such index, or the mask has another length.
        ValueError: If `chosen` is none of these, or chooses nothing.
    """
    expected = "an index, a slice, indices or a mask"
    try:
        index = _as_index(chosen, count)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name}: expected {expected}, got {shown(chosen)}") from error
    if not index.size:
        raise ValueError(f"{name}: expected {expected} of at least one, got {shown(chosen)}")
    return torch.from_numpy(index.flatten())


def _as_index(chosen, count):
    """Return the indices that are chosen, as an array; TypeError for what chooses nothing."""
    if isinstance(chosen, slice):
        return np.arange(count)[chosen]
    array = np.asarray(chosen.detach().cpu() if isinstance(chosen, Tensor) else chosen)
    if not array.size:
        return np.arange(0)
    if array.dtype.kind not in "biu" or (array.dtype.kind == "b" and array.ndim != 1):
        raise TypeError
    return np.arange(count)[array]


def check_weights(W, axes=("instances", "hidden", "features"), name="W") -> Tensor:
    """Return a tensor of weights that are finite and whose squares are finite in its dtype.

    Args:
        W: A dense floating-point tensor of at least 16 bits. There may be no instances, but there
            must be at least one hidden dimension and one feature.
        axes: Names of the dimensions that W should have.
        name: What the caller's argument is called in errors.
    """
    if not isinstance(W, Tensor) or W.dim() != len(axes) or 0 in W.shape[-2:]:
        got = shown(getattr(W, "shape", W))
        raise ValueError(f"{name}: expected a tensor ({', '.join(axes)}), got {got}")
    if W.is_meta or W.layout != torch.strided:
        raise ValueError(f"{name}: expected a dense tensor, got {W.layout} on {W.device}")
    if not W.is_floating_point() or W.itemsize < 2:  # torch has no isfinite for eight bits
        raise ValueError(f"{name}: expected floating-point weights, got {W.dtype}")
    if not W.isfinite().all():
        count = (~W.isfinite()).sum()
        raise ValueError(f"{name}: expected finite weights, got {count} that are not")
    if not W.square().sum(dim=(-2, -1)).isfinite().all():
        raise ValueError(
            f"{name}: expected weights of finite squares in {W.dtype}, got up to {W.abs().max():g}"
        )
    return W
