"""An experiment and a section made up to test sweeps with; as a script, the section's command line.

As a script it takes the fields of Settings from the environment: MADE_UP='{"cells": 3}'.
"""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from sweeps import Claim, Experiment, effect, ours, section_main
from sweeps.claims import EXACT, TRAINED

MAY_BE_INFINITE = ("part.position",)
SEED = 0x1234


@dataclass(frozen=True)
class Settings:
    numbers: int = 3
    cells: int = 1
    cell: int = 0
    seconds: float = 0.0
    steps: int = 0
    log: str = ""  # a file: every run adds a line to it
    fault: str = (
        ""  # "nan", "kill", "kill once", "bug" and "other type" in cell 1 and every later one
    )


QUICK = Settings(numbers=2)


class Part(NamedTuple):
    position: Tensor  # (1,)


class Result(NamedTuple):
    values: Tensor  # (cells, numbers)
    part: Part


def shards(settings):
    return [replace(settings, cell=cell) for cell in range(settings.cells)]


def joined(results):
    return Result(torch.cat([result.values for result in results]), results[-1].part)


def run(settings, *, seed=0, device="cpu", progress=True):
    if settings.log:
        with open(settings.log, "a", encoding="utf-8") as log:
            log.write(f"{settings.cell} {seed} {os.getpid()} {torch.get_num_threads()}\n")
    time.sleep(settings.seconds)
    generator = torch.Generator().manual_seed(seed ^ SEED ^ settings.cell)
    values = (
        torch.randn(1, 300 * settings.numbers, generator=generator).view(-1, 300).exp().sum(1)[None]
    )
    if settings.cell > 0:
        values = broken(settings, values)
    return Result(
        values.expand(1, -1), Part(torch.tensor([torch.inf if settings.numbers == 2 else 1.5]))
    )


def broken(settings, values):
    if settings.fault == "nan":
        values[0, -1] = torch.nan
    if settings.fault == "bug":
        raise KeyError("bug")
    once = Path(settings.log + ".killed")
    if settings.fault == "kill" or (settings.fault == "kill once" and not once.exists()):
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return values.tolist() if settings.fault == "other type" else values


def section(settings):
    """A section with this experiment, alone and in two runs."""
    made_up = sys.modules[run.__module__]
    return SimpleNamespace(
        __doc__="Section 9: made up.",
        __file__=__file__,
        EXPERIMENTS={
            "one": Experiment(made_up, settings, QUICK),
            "two": Experiment(
                made_up, (settings, replace(settings, numbers=5)), (QUICK, replace(QUICK, cells=2))
            ),
        },
        figures=lambda results: {"section9": figure(results)},
        claims=claims,
    )


def figure(results):
    """What is saved as if it were a figure: its values."""

    def save(file, dpi, format, metadata):
        file.write(f"{results.one.values.tolist()} at {dpi} dpi, {format}".encode())

    return SimpleNamespace(savefig=save, get_label=lambda: "The values.")


def claims(results):
    drawn = effect("A value is drawn.", True, {"value": results.one.values[0, 0].item()}, TRAINED)
    return [
        Claim("9.1", "Values are drawn", "They are (Section 9)", (drawn,), "The value is {value}."),
        of_one_number("9.2", sum(two.values.numel() for two in results.two), len(results.two) > 2),
    ]


def of_one_number(id, value, holds=True):
    """A claim of our own with one number."""
    finding = ours("Values are few.", holds, {"number": value}, EXACT)
    return Claim(id, "Values are few", "-", (finding,), "There are {number}.")


if __name__ == "__main__":
    import made_up  # by the name by which other processes know it

    sys.exit(
        section_main(
            made_up.section(made_up.Settings(**json.loads(os.environ.get("MADE_UP", "{}"))))
        )
    )
