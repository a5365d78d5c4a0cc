"""Checks of arguments: each raises a ValueError that names the argument unless it is what it should be."""

import math
import numbers
import sys
from dataclasses import fields

import torch

MOST = 2**31  # numbers in one tensor; as float64 they take 16 GiB


def extremes(table):
    return f"values from {table.min():g} to {table.max():g}" if table.numel() else "none"


def as_real(name, value, device=None):
    """value, a number or a tensor of real numbers, as a float64 tensor."""
    try:
        given = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"{name}: expected a number or a tensor of numbers, got {value!r}"
        ) from error
    if given.is_complex():
        raise ValueError(f"{name}: expected real numbers, got {given.dtype}")
    return torch.as_tensor(value, dtype=torch.float64, device=device).detach()


def as_line(name, values, highest=math.inf):
    """values, a tensor or a sequence of at least one number above 0 and up to the highest, as float64 on the CPU."""
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


def check_count(name, value):
    """A whole number from 1 to MOST."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
    if value > MOST:
        raise ValueError(f"{name}: expected at most {MOST:,}, as more fit no memory, got {value:,}")


def check_size(**counts):
    """Counts whose product, the numbers in a tensor, is at most MOST."""
    for name, count in counts.items():
        check_count(name, count)
    check_count(" * ".join(counts), math.prod(map(int, counts.values())))


def check_positive(name, value):
    """A finite number above 0."""
    if (
        not isinstance(value, numbers.Real)
        or isinstance(value, bool)
        or not 0 < value <= sys.float_info.max
    ):
        raise ValueError(f"{name}: expected a finite number above 0, got {value!r}")


def check_torch(seed=0, dtype=torch.float32, device="cpu"):
    """What torch takes: a seed of 64 bits, a dtype that tells small densities from none, a device that is there."""
    if (
        not isinstance(seed, numbers.Integral)
        or isinstance(seed, bool)
        or not -(2**63) <= seed < 2**64
    ):
        raise ValueError(f"seed: expected a whole number of at most 64 bits, got {seed!r}")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {dtype!r}")
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(f"device: expected one that is there, got {device!r}") from error


def check_settings(settings, may_be_zero=()):
    """A dataclass whose ints are counts, floats are above 0, `densities` in (0, 1], and others of their type."""
    for field in fields(settings):
        value, zero = getattr(settings, field.name), field.name in may_be_zero
        if zero and value == 0:
            continue
        if field.type in (int, float):
            (check_count if field.type is int else check_positive)(
                field.name + " (unless 0)" * zero, value
            )
        elif field.name == "densities":
            as_line(field.name, value, highest=1)
        elif isinstance(field.type, type) and not isinstance(value, field.type):
            raise ValueError(f"{field.name}: expected a {field.type.__name__}, got {value!r}")


def check_weights(W, axes=("instances", "hidden", "features"), name="W"):
    """W; ValueError unless it is a tensor of these axes with finite floating-point weights, their squares finite too.

    There may be no instances; hidden dimensions and features there must be.
    """
    if not isinstance(W, torch.Tensor) or W.dim() != len(axes) or 0 in W.shape[-2:]:
        raise ValueError(
            f"{name}: expected a tensor ({', '.join(axes)}), got {getattr(W, 'shape', W)!r}"
        )
    if (
        not W.is_floating_point() or W.itemsize < 2
    ):  # of eight bits torch cannot even say whether they are finite
        raise ValueError(f"{name}: expected floating-point weights, got {W.dtype}")
    if not W.isfinite().all():
        raise ValueError(
            f"{name}: expected finite weights, got {(~W.isfinite()).sum()} that are not"
        )
    if not W.square().sum(dim=(-2, -1)).isfinite().all():
        raise ValueError(
            f"{name}: expected weights of finite squares in {W.dtype}, got up to {W.abs().max():g}"
        )
    return W
