"""How strong the evidence is that exact descents have found the best solutions."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import torch

from sweeps.claims import strength
from theory.descents import SAME_LOSS

NOTHING = 1e-9  # a loss below this is zero, but for rounding and for the end of the descent


def evidence_of_optima(optimum, *others):
    """Return how strong the evidence is that optima are the best solutions.

    It is decided at the point at which another loss lies lowest beside the optimum.

    Args:
        optimum: (points,) Exact losses of the solutions that a finding looks at.
        others: (points,) Exact losses of what was found in other ways.
    """
    lowest = torch.stack(others).amin(dim=0)
    error = SAME_LOSS * optimum + NOTHING
    worst = (optimum - error - lowest).argmax()
    return strength(optimum[worst].item(), lowest[worst].item(), error[worst].item())
