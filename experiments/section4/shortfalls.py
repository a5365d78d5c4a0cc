"""How far are trained models from the best that is known? On this the evidence of claims rests.

What is known at each density is the best product of the periodic table's arrangements in as many
hidden dimensions, and the committed settled models. A model that falls short of it has not finished
training, or has ended in a local minimum.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from experiments.section4 import dense_minima
from sweeps.claims import strength

# Attribute of a section's results -> how the sweep is called.
PAPER_SIZE = {"uniform": "paper's size", "longer": "paper's size, ten times longer"}
SWEEPS = PAPER_SIZE | {"long": "fewer features"}
# Errors of a benefit per dimension. A sampled loss, on 65,536 rows, gave benefits of settled models
# that were off by up to 0.0062, with three seeds at 11 densities.
SAMPLED_ERROR = 7e-3
SETTLED_ERROR = 1e-4  # the exact descents stop short of their minima by less


class Trained(NamedTuple):
    """Models at some densities, and how far they are from the best that is known."""

    name: str
    density: Float[Tensor, " points"]
    W: list[Float[Tensor, "models hidden features"]]  # at each point
    shortfall: list[Float[Tensor, " models"]]  # of the benefit per dimension
    error: float  # of the shortfalls


def of_sweeps(results, names) -> list[Trained]:
    """Return the models of some sweeps.

    Args:
        results: The section's results, as attributes.
        names: Some of SWEEPS.
    """
    return [_of_sweep(getattr(results, each), names[each], results.predicted) for each in names]


def _of_sweep(sweep, name, predicted):
    density = 1 / sweep.inverse_density
    known = known_benefit(predicted.table, sweep.W.shape[2], density)
    shortfall = list(known[:, None] - sweep.benefit)
    return Trained(name, density, list(sweep.W), shortfall, SAMPLED_ERROR)


def of_settled(dense) -> Trained:
    """Return the models that settled from sampled training, of a dense_minima.Result."""
    return _of_settled(dense_minima.trained(dense.models), dense.models, dense.table)


def of_lowest(dense) -> list[Trained]:
    """Return the settled models of lowest loss, of each size, of a dense_minima.Result."""
    return [
        _of_settled(dense_minima.best(models), models, dense.table)
        for models in (dense.models, dense.large)
    ]


def _of_settled(models, every, table):
    """Return some settled models, beside the table and every model of their size."""
    points = dense_minima.densities(models)
    predicted = dense_minima.prediction(table, points, models.W.shape[1]).benefit
    lowest = dense_minima.best(every)
    known = torch.maximum(predicted, dense_minima.benefit(lowest, lowest.loss))
    benefit = dense_minima.benefit(models, models.loss)
    here = [dense_minima.of_density(models, at) for at in points]
    return Trained(
        name="settled",
        density=torch.tensor(points, dtype=torch.float64),
        W=[models.W[each] for each in here],
        shortfall=[best - benefit[each] for best, each in zip(known, here)],
        error=SETTLED_ERROR,
    )


def known_benefit(table, hidden, density: Float[Tensor, " points"]):
    """Return the benefit per dimension (points,) of the best product known.

    It is interpolated between the densities of the periodic table. At density 1 it is 1, that of
    dedicated dimensions.

    Args:
        table: The periodic_table.Result.
        hidden: Number of hidden dimensions that the product fills.
        density: The density of each point.
    """
    benefit = dense_minima.prediction(table, (1 / table.inverse_density).tolist(), hidden).benefit
    at = np.append(0, table.inverse_density.log().numpy())
    benefit = np.append(1, benefit.numpy())
    return torch.from_numpy(np.interp(-density.log().numpy(), at, benefit))


def strength_of(trained, densities=None) -> str:
    """Return the strength of evidence of some models, by the one that falls most short.

    Args:
        trained: Trained models, of several sweeps.
        densities: For each of these the densities that count; all of them by default, and where
            none counts.
    """
    every = [models.density.tolist() for models in trained]
    counted = densities if densities and any(densities) else every
    beyond_error = [
        shortfall - models.error
        for models, chosen in zip(trained, counted)
        for at, shortfall in zip(models.density.tolist(), models.shortfall)
        if at in chosen
    ]
    return strength(torch.cat(beyond_error).max().item(), 0, 0)


# Ranges of densities, as numbers of findings


def range_numbers(name, ends) -> dict[str, float]:
    """Name the ends of a range of densities; nothing if there is no range."""
    if ends is None:
        return {}
    return {f"{name}, from density": ends[0], f"{name}, to": ends[1]}


def factor(ends) -> float:
    """Return the factor of density that a range covers, 0 if there is no range."""
    return 0.0 if ends is None else ends[0] / ends[1]
