"""What is "sticky at 1" in the paper's figure, and what are the minima of dense features (ours)?

The paper sees D* = m / ||W||_F^2 stick at 1 and at 1/2 as density falls (Section 4). Here sampled
models stand beside the models that they become when they settle by exact descent, beside models
that settled from products, and beside the prediction of the periodic table (settled_models.py).

Written down before the numbers of the full run: the plateau at 1 is a property of the loss if
settled models keep D* within 3 % of 1 down to density 1 / 1.3. It is unfinished training if they
leave it, with a lower loss, where sampled models have not.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import textwrap
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from experiments.section4 import periodic_table, settled_models
from experiments.section4.settled_models import best_product, table_point
from geometry import dimensions_per_feature, represented, unit_directions
from theory.descents import ignored_loss
from theory.polytopes import (
    IRREGULAR,
    POLYTOPES,
    SHARED_DIMENSION,
    arrangement_name,
    polytope_shares,
    tegum_factors,
)
from visualization import (
    FAINT,
    FINE_DENSITY_TICKS,
    INK,
    SHARED,
    WIDTH,
    described,
    over_density,
    polytope_areas,
    polytope_legend,
)

SEEDED = False  # the committed models have their own seeds
INPUTS = (periodic_table.FILE, settled_models.FILE, settled_models.LARGE_FILE)
STICKY = 0.03  # D* sticks at 1 where it is no further away than this
PLATEAU_END = 1 / 1.3  # density down to which settled models would stick if it were real
POOLED_NORM = 0.5  # sum of the weak features' ||W_j||^2 above which they count: half a dimension
ALIKE = 0.9  # alignment above which weak features are alike
UNFINISHED = "unfinished training"


@dataclass(frozen=True)
class Settings:
    """The committed models leave nothing to set."""


QUICK = Settings()


class Result(NamedTuple):
    """The committed models, and the prediction."""

    models: settled_models.Result  # n=100, m=10
    large: settled_models.Result  # of the paper's size, n=400, m=30, from products alone
    table: periodic_table.Result


def run(settings, *, seed=0, device="cpu", progress=True):
    """Read the committed models and the table; nothing is computed."""
    return Result(
        models=settled_models.committed(),
        large=settled_models.committed(large=True),
        table=periodic_table.table(),
    )


# D* and benefit


class Prediction(NamedTuple):
    """What the best product of the periodic table's arrangements has at each density."""

    benefit: Float[Tensor, " densities"]  # per dimension
    dimensions_per_feature: Float[Tensor, " densities"]  # D*


def prediction(table, density, hidden) -> Prediction:
    """Predict benefit and D* of settled models.

    Args:
        table: Result of the periodic table.
        density: Densities, all in the table.
        hidden: Number of hidden dimensions.

    Raises:
        ValueError: If a density is not in the table.
    """
    benefits = []
    squared_norms = []
    for at in density:
        product = best_product(table, table_point(table, 1 / at), hidden)
        benefits.append(product.saved / hidden)
        squared_norms.append(sum(W.square().sum().item() for W, _ in product.factors))
    squared_norms = torch.tensor(squared_norms, dtype=torch.float64)
    return Prediction(torch.tensor(benefits, dtype=torch.float64), hidden / squared_norms)


def benefit(models, loss) -> Float[Tensor, " models"]:
    """Return the benefit per dimension that belongs to exact losses (see theory.packing)."""
    _, hidden, features = models.W.shape
    ignored = ignored_loss(1, 1 / models.inverse_density)
    return (features * ignored - loss) / (hidden * ignored)


def densities(models) -> list[float]:
    """Return the densities, descending."""
    return (1 / models.inverse_density.unique()).tolist()


def of_density(models, at) -> Bool[Tensor, " models"]:
    """Return which models are of a density, one of `densities`."""
    return 1 / models.inverse_density == at


def trained(models):
    """Return the models that began with sampled training."""
    return chosen(models, ~models.product)


def best(models):
    """Return the model of the lowest loss at each density, whatever it began as."""
    rows = torch.arange(len(models.loss))
    return chosen(models, torch.tensor([_lowest(models, rows, at) for at in densities(models)]))


def _lowest(models, rows, at):
    there = rows[of_density(models, at)]
    return there[models.loss[there].argmin()].item()


def chosen(models, which):
    """Return some of the models, by a mask or by indices."""
    return type(models)(*(values[which] for values in models))


def per_feature_at(models, W) -> dict[float, float]:
    """Return the mean D* at each density."""
    return dict(zip(densities(models), means(models, dimensions_per_feature(W)).tolist()))


def means(models, values) -> Float[Tensor, " densities"]:
    """Return the mean of some values (models,) at each density."""
    return torch.stack([values[of_density(models, at)].mean() for at in densities(models)])


def sticky_until(models, W) -> float | None:
    """Return the density down to which the mean D* sticks at 1, or None if nowhere."""
    last = None
    for at, value in per_feature_at(models, W).items():
        if abs(value - 1) > STICKY:
            break
        last = at
    return last


# Polytopes, and what dense features form instead


def shares(models, W) -> dict[str, Float[Tensor, " densities"]]:
    """Return the share of the represented features in each polytope, at each density."""
    found = []
    for at in densities(models):
        there = W[of_density(models, at)]
        found.append(polytope_shares([factor for each in there for factor in tegum_factors(each)]))
    present = [
        name
        for name in (*POLYTOPES, SHARED_DIMENSION, IRREGULAR)
        if any(name in density for density in found)
    ]
    return {
        name: torch.tensor([density.get(name, 0.0) for density in found], dtype=torch.float64)
        for name in present
    }


class WeakFeatures(NamedTuple):
    """What the features of a model that are not represented, ||W_j|| <= 0.5, do together."""

    squared_norm: Float[Tensor, " models"]  # sum of ||W_j||^2 over them
    # How many dimensions they fill: with the eigenvalues of their Gram matrix, the square of the
    # sum over the sum of the squares. 0 without weights.
    dimensions: Float[Tensor, " models"]
    # ||sum_j W_j||^2 / (k sum_j ||W_j||^2) of k features: 1 where all are alike, so that the model
    # represents their sum; about 1/k where they lie at random. 0 without weights.
    alignment: Float[Tensor, " models"]


def weak_features(W: Float[Tensor, "models hidden features"]) -> WeakFeatures:
    """Measure how the features that are not represented share the hidden dimensions."""
    weak = ~represented(W)
    columns = torch.where(weak[:, None], W, 0).double()
    tiny = torch.finfo(columns.dtype).tiny
    gram = columns @ columns.mT  # (models, hidden, hidden), with the same nonzero eigenvalues
    squared_norm = columns.square().sum(dim=(1, 2))
    dimensions = squared_norm.square() / gram.square().sum(dim=(1, 2)).clamp(min=tiny)
    summed = columns.sum(dim=2).square().sum(dim=1)
    alignment = summed / (weak.sum(dim=1) * squared_norm).clamp(min=tiny)
    return WeakFeatures(squared_norm, dimensions, alignment)


def weak_share(W: Float[Tensor, "models hidden features"]) -> Float[Tensor, "models features"]:
    """Return the share of the dimension along each feature that weak features have.

    The share of feature j along What_i is (What_i . W_j)^2, over the sum of this over all j. That
    of feature i itself is its dimensionality D_i (paper, Section 4). For a represented feature,
    1 less D_i less the weak share is left for other represented features.
    """
    squared = (unit_directions(W).mT @ W).square()  # (models, features i, features j)
    weak = (~represented(W)).to(W.dtype)[:, None] * squared
    weak = weak.sum(dim=2) - torch.where(represented(W), 0, squared.diagonal(dim1=1, dim2=2))
    return weak / squared.sum(dim=2).clamp(min=torch.finfo(W.dtype).tiny)


def dense_name(W: Float[Tensor, "hidden features"]) -> str:
    """Name what a model of dense features has settled as.

    A model with a *pooled dimension* represents the sum of many weak features in one dimension, in
    which all of them have nearly the same small weight. A model is a *projection* where weak
    features fill half of the dimensions or more without being alike: W W^T is then close to 1, as
    in a linear model, and hardly a feature has a direction of its own. The represented
    features have the names of theory.polytopes.
    """
    weak = weak_features(W[None])
    names = [arrangement_name(W)] if represented(W[None]).any() else []
    if weak.squared_norm > POOLED_NORM:
        if weak.alignment > ALIKE:
            names.append("pooled dimension")
        elif weak.dimensions > len(W) / 2:
            names.append("projection of weak features")
        else:
            names.append("weak features")
    return " + ".join(names)


class Settled(NamedTuple):
    """What settled models show at each density, for the figure of a sweep."""

    density: Float[Tensor, " points"]
    dimensions_per_feature: Float[Tensor, " points"]  # D*, a mean over models
    shares: dict[str, Float[Tensor, " points"]]  # of the represented features in each polytope


def settled(result) -> Settled:
    """Return what the models that settled from sampled training show."""
    models = trained(result.models)
    return Settled(
        density=torch.tensor(densities(models), dtype=torch.float64),
        dimensions_per_feature=means(models, dimensions_per_feature(models.W)),
        shares=shares(models, models.W),
    )


# Figure


def figure(result):
    """Draw D* over density, sampled, settled and predicted, above shares of polytopes.

    What "sticky at 1" is, as far as the committed models show it, stands below: `sentences`.
    """
    drawing = plt.figure(figsize=(WIDTH, 9), layout="constrained")
    axes = drawing.subplot_mosaic([["curve", "curve"], ["settled", "best"]], height_ratios=(3, 2))
    _draw_curves(result, axes["curve"])
    every = result.models
    for name, models in (("settled", trained(every)), ("best", best(every))):
        drawn = shares(models, models.W)
        polytope_areas(torch.tensor(densities(models)), drawn, ax=axes[name])
        axes[name].set_xlim(densities(every)[0], densities(every)[-1])
    axes["settled"].set_title("settled from sampled training")
    axes["best"].set_title("of the lowest loss")
    axes["best"].set_ylabel("")
    axes["best"].tick_params(labelleft=False)
    # The text stands in the legend's title, since a label below would overlap with the legend.
    text = textwrap.fill(sentences(result), 115)
    title = (
        f"polytope of the represented features (irregular: pyramids and larger groups)\n\n{text}"
    )
    polytope_legend(drawing, shares(every, every.W), title)
    return described(
        drawing,
        "Curves over density of the dimensions per feature of dense features, in sampled and in "
        "settled models and as predicted; below, the share of the represented features in each "
        "polytope, in the models that settled from sampled training and in those of lowest loss.",
    )


def _draw_curves(result, ax):
    """Draw D* of models and of the prediction."""
    models = result.models
    at = densities(models)
    predicted = prediction(result.table, at, models.W.shape[1]).dimensions_per_feature
    thick = {"color": INK, "linewidth": 6, "alpha": 0.25, "zorder": 0}
    ax.plot(at, predicted, label="periodic table: the best product", **thick)
    fitted = trained(models)
    _draw_dots(ax, fitted, fitted.start_W, "o", FAINT, "trained by sampling")
    _draw_dots(ax, fitted, fitted.W, "o", SHARED, "the same models, settled")
    lowest = best(models)
    _draw_dots(ax, lowest, lowest.W, "D", "none", "settled, lowest loss known")
    _, hidden, features = result.large.W.shape
    label = f"the same of $n={features}$, $m={hidden}$"
    _draw_dots(ax, result.large, result.large.W, "x", "none", label)
    for level in (1, 1 / 2):
        ax.axhline(level, color=FAINT, linewidth=0.8, zorder=0)
    over_density(ax, torch.tensor(at), FINE_DENSITY_TICKS)
    ax.set(ylabel=r"dimensions per feature $D^*=m/\|W\|_F^2$", xlim=(at[0] * 1.02, at[-1] / 1.02))
    ax.legend(loc="lower left")


def _draw_dots(ax, models, W, marker, colour, label):
    """Draw the D* of each model, with a line through the means of one size."""
    per_feature = dimensions_per_feature(W)
    style = {"linestyle": "none", "mec": INK, "mew": 0.8, "ms": 9 if colour == "none" else 6}
    ax.plot(1 / models.inverse_density, per_feature, marker, mfc=colour, label=label, **style)
    if colour != "none":
        ax.plot(densities(models), means(models, per_feature), color=colour, zorder=1)


def sentences(result) -> str:
    """Say in two sentences what "sticky at 1" is, with the numbers of the committed models."""
    models = trained(result.models)
    hidden = models.W.shape[1]
    counts = represented(models.start_W).sum(dim=1).double()
    nearest_density = min(densities(models), key=lambda at: abs(at - PLATEAU_END))
    count = counts[of_density(models, nearest_density)].mean()
    sampled_end = sticky_until(models, models.start_W)
    settled_end = sticky_until(models, models.W)
    return (
        f"Trained by sampling, models keep $D^*$ within {STICKY:.0%} of 1 "
        f"{_range_text(sampled_end)}, but not by dedicated dimensions: at "
        f"{nearest_density:.2f} they represent {count:.1f} features in {hidden} dimensions, and "
        "all others weakly, as the projections of a linear model do, of which each has $D^*=1$. "
        f"Settled by exact descent, the same models keep to it {_range_text(settled_end)}; "
        f"the plateau is {'a property of the loss' if plateau_is_real(result) else UNFINISHED}."
    )


def _range_text(end):
    return "nowhere" if end is None else f"down to density {end:.2f}"


def plateau_is_real(result) -> bool:
    """Return whether settled models stick at 1 up to PLATEAU_END."""
    end = sticky_until(trained(result.models), trained(result.models).W)
    return end is not None and end <= PLATEAU_END
