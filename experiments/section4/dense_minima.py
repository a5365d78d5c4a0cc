"""What is "sticky at 1" in the paper's figure, and what are the minima of dense features (ours)?

The paper sees D* = m / ||W||_F^2 stick at 1 and at 1/2 over 1/(1-S) (Section 4). Here sampled models
stand beside the models that they become when they settle by exact descent, beside models that
settled from products, and beside the prediction of the periodic table (settled_models.py).

Written down before the numbers of the full run: the plateau at 1 is a property of the loss if settled
models keep D* within 3 % of 1 up to 1/(1-S) = 1.3. It is unfinished training if they leave it,
with a lower loss, where sampled models have not.
"""

import textwrap
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from experiments.section4 import periodic_table, settled_models
from experiments.section4.settled_models import best_product, table_point
from geometry import dimensions_per_feature, represented, unit_directions
from theory.descents import ignored_loss
from theory.polytopes import POLYTOPES, polytope_shares, tegum_factors
from visualization import (
    DEDICATED,
    INK,
    SHARED,
    WIDTH,
    over_inverse_density,
    polytope_areas,
    polytope_legend,
)

SEEDED = False  # the committed models have their own seeds
INPUTS = (periodic_table.FILE, *settled_models.FILES.values())
STICKY = 0.03  # D* sticks at 1 where it is no further away than this
PLATEAU_END = 1.3  # 1/(1-S) up to which settled models would stick if the plateau were real
CROWNED = 0.1  # share of its dimension that a crowned feature leaves to weak ones, at least


@dataclass(frozen=True)
class Settings:
    """The committed models leave nothing to set."""


QUICK = Settings()


class Result(NamedTuple):
    """The committed models of both sizes, and the prediction."""

    small: settled_models.Result  # n=100, m=10
    large: settled_models.Result  # n=400, m=30
    table: periodic_table.Result


def run(settings, *, seed=0, device="cpu", progress=True):
    """Read the committed models and the table; nothing is computed."""
    return Result(
        settled_models.committed(100), settled_models.committed(400), periodic_table.table()
    )


# D* and benefit


class Prediction(NamedTuple):
    """What the best product of the periodic table's arrangements has at each density."""

    benefit: Float[Tensor, " densities"]  # per dimension
    dimensions_per_feature: Float[Tensor, " densities"]  # D*


def prediction(table, inverse_density, hidden) -> Prediction:
    """Predict benefit and D* of settled models.

    Args:
        table: Result of the periodic table.
        inverse_density: Values of 1/(1-S), all in the table.
        hidden: Number of hidden dimensions.

    Raises:
        ValueError: If a value of 1/(1-S) is not in the table.
    """
    benefits = []
    squared_norms = []
    for at in inverse_density:
        product = best_product(table, table_point(table, at), hidden)
        benefits.append(product.saved / hidden)
        squared_norms.append(sum(W.square().sum().item() for W, _ in product.factors))
    squared_norms = torch.tensor(squared_norms, dtype=torch.float64)
    return Prediction(torch.tensor(benefits, dtype=torch.float64), hidden / squared_norms)


def benefit(models, loss) -> Float[Tensor, " models"]:
    """Return the benefit per dimension of models with some exact losses, as theory.packing has it."""
    _, hidden, features = models.W.shape
    ignored = ignored_loss(1, 1 / models.inverse_density)
    return (features * ignored - loss) / (hidden * ignored)


def densities(models) -> list[float]:
    """Return the values of 1/(1-S), ascending."""
    return models.inverse_density.unique().tolist()


def trained(models):
    """Return the models that began with sampled training."""
    return chosen(models, ~models.product)


def best(models):
    """Return the model of the lowest loss at each density, whatever it began as."""
    rows = torch.arange(len(models.loss))
    return chosen(models, torch.tensor([_lowest(models, rows, at) for at in densities(models)]))


def _lowest(models, rows, inverse_density):
    there = rows[models.inverse_density == inverse_density]
    return there[models.loss[there].argmin()].item()


def chosen(models, which):
    """Return some of the models, by a mask or by indices."""
    return type(models)(*(values[which] for values in models))


def means(models, values) -> Float[Tensor, " densities"]:
    """Return the mean of some values (models,) at each density."""
    return torch.stack([values[models.inverse_density == at].mean() for at in densities(models)])


def sticky_until(models, W) -> float | None:
    """Return the largest 1/(1-S) up to which the mean D* of some weights sticks at 1; None if nowhere."""
    per_feature = means(models, dimensions_per_feature(W))
    last = None
    for at, value in zip(densities(models), per_feature.tolist()):
        if abs(value - 1) > STICKY:
            break
        last = at
    return last


# Polytopes, and what dense features form instead


def shares(models, W) -> dict[str, Float[Tensor, " densities"]]:
    """Return the share of the represented features in each polytope, at each density."""
    found = []
    for at in densities(models):
        there = W[models.inverse_density == at]
        found.append(polytope_shares([factor for each in there for factor in tegum_factors(each)]))
    present = [
        name for name in (*POLYTOPES, "irregular") if any(name in density for density in found)
    ]
    return {
        name: torch.tensor([density.get(name, 0.0) for density in found], dtype=torch.float64)
        for name in present
    }


class DimensionShares(NamedTuple):
    """Which features share the dimension along each feature's direction; the three sum to 1."""

    own: Float[Tensor, "models features"]  # the dimensionality D_i
    represented: Float[Tensor, "models features"]  # other features with ||W_j|| > 0.5
    weak: Float[Tensor, "models features"]  # other features below this threshold


def dimension_shares(W: Float[Tensor, "models hidden features"]) -> DimensionShares:
    """Split the dimension along each feature's direction among the features.

    The share of feature j along the direction What_i is (What_i . W_j)^2, over the sum of this over
    all j. The share of feature i itself is its dimensionality D_i (paper, Section 4). A feature
    without weights has no direction and shares of 0.
    """
    squared = (unit_directions(W).mT @ W).square()  # (models, features i, features j)
    squared = squared / squared.sum(dim=2, keepdim=True).clamp(min=torch.finfo(W.dtype).tiny)
    own = squared.diagonal(dim1=1, dim2=2)
    strong = represented(W)[:, None]
    of_represented = torch.where(strong, squared, 0).sum(dim=2)
    of_weak = torch.where(strong, 0, squared).sum(dim=2)
    return DimensionShares(
        own,
        of_represented - torch.where(represented(W), own, 0),
        of_weak - torch.where(represented(W), 0, own),
    )
