"""Learning curves: which steps to record, how fast the loss falls at each, and stretches of records."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_count

WINDOW = 2  # records on either side between which the slope of the loss is taken


def logarithmic_steps(steps, records) -> list[int]:
    """Steps for training.train to record: 0, and up to so many from 1 to the last, evenly spaced on a log axis."""
    check_count("steps", steps)
    check_count("records", records)
    spaced = torch.linspace(0, 1, records, dtype=torch.float64)
    return sorted({0, *(float(steps) ** spaced).round().long().tolist(), steps})


def fall_rate(
    steps: Int[Tensor, " records"], losses: Float[Tensor, "records runs"]
) -> Float[Tensor, "records runs"]:
    """How fast the loss falls, -d log(loss) / d log(step): 1 where it is inversely proportional to the step.

    Of the lowest loss up to each record, so that what falls again after it rose does not count.
    """
    lowest = losses.double().log().cummin(dim=0).values
    time = log_steps(steps)
    index = torch.arange(len(steps))
    before, after = (index - WINDOW).clamp(min=0), (index + WINDOW).clamp(max=len(steps) - 1)
    return (lowest[before] - lowest[after]) / (time[after] - time[before])[:, None]


def log_steps(steps: Int[Tensor, " records"]) -> Float[Tensor, " records"]:
    """The log of each step; that of step 0, which a log axis does not have, one half before that of step 1."""
    return steps.double().clamp(min=0.6).log()


def stretches(chosen: Bool[Tensor, " records"]) -> list[tuple[int, int]]:
    """The first and last record of every run of neighbours that are chosen."""
    edges = torch.diff(chosen.int(), prepend=torch.zeros(1).int(), append=torch.zeros(1).int())
    return list(
        zip((edges == 1).nonzero()[:, 0].tolist(), ((edges == -1).nonzero()[:, 0] - 1).tolist())
    )
