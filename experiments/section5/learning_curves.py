"""Learning curves: runs and their seeds, steps to record, how fast a loss falls, and stretches."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_count

WINDOW = 2  # records on each side of a record, between which the slope of the loss is taken


def run_seed(seed, number) -> int:
    """Return the seed of one of several runs, so that each has weights and rows of its own.

    Args:
        seed: Seed of the experiment.
        number: Number of the run.
    """
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def logarithmic_steps(steps, records) -> list[int]:
    """List the steps that training should record: 0, and the others evenly spaced on a log axis.

    Args:
        steps: The last step, which is recorded too.
        records: The number of steps from 1 to the last, before equal ones are merged.

    Returns:
        Ascending steps.

    Raises:
        ValueError: If an argument is not a whole number of at least 1.
    """
    steps = check_count("steps", steps)
    records = check_count("records", records)
    shares = torch.linspace(0, 1, records, dtype=torch.float64)
    spaced = (float(steps) ** shares).round().long()
    return sorted({0, *spaced.tolist(), steps})


def fall_rate(
    steps: Int[Tensor, " records"], losses: Float[Tensor, "records runs"]
) -> Float[Tensor, "records runs"]:
    """Measure how fast the loss falls on log axes, as -d log(loss) / d log(step).

    It is taken of the lowest loss up to each record, so that a loss that rises and falls again does
    not count as falling.

    Args:
        steps: Step of each record.
        losses: Loss of each run at each record.

    Returns:
        The rate, which is 1 where the loss is inversely proportional to the step.
    """
    lowest = losses.double().log().cummin(dim=0).values
    time = log_steps(steps)
    index = torch.arange(len(steps))
    before = (index - WINDOW).clamp(min=0)
    after = (index + WINDOW).clamp(max=len(steps) - 1)
    return (lowest[before] - lowest[after]) / (time[after] - time[before])[:, None]


def log_steps(steps: Int[Tensor, " records"]) -> Float[Tensor, " records"]:
    """Take the log of each step; step 0, which has none, is placed half a unit before step 1."""
    return steps.double().clamp(min=0.6).log()


def stretches(chosen: Bool[Tensor, " records"]) -> list[tuple[int, int]]:
    """List the first and the last record of every unbroken stretch of chosen records."""
    nothing = torch.zeros(1, dtype=torch.int)
    edges = torch.diff(chosen.int(), prepend=nothing, append=nothing)
    first = (edges == 1).nonzero()[:, 0]
    last = (edges == -1).nonzero()[:, 0] - 1
    return list(zip(first.tolist(), last.tolist()))
