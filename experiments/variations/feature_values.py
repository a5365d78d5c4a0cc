"""What changes when active features have other values than the paper's, uniform on [0, 1]?

Four kinds of values are compared: uniform on [0, 1]; 1, 2 or 3 with equal probability; uniform on
[0.5, 1]; and always 1. The less values spread, relative to their mean, the later superposition
begins as features get sparser. In the end it is the other way round: features that are always 1 fit
into two dimensions in any number without loss. A ReLU with a negative bias is a threshold, and
takes away any interference that is smaller than the highest value. It returns a value that is alone
at the top, and nothing else. So the paper's polygons have few vertices because values spread.

Three things are computed, all of equally important features.

- *Polygons in the limit of rare features*, see `rare_polygons`.
- *Pairs.* Two features in one dimension: when is an antipodal pair best?
- *Models in two dimensions*, trained at densities from 0.5 to 0.0001, from small random weights and
  from all polygons, which compete by their losses.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from checks import as_line, check_settings
from experiments.variations.rare_polygons import SMALLEST, mean_and_square, polygon_limit
from features import UNIT, FeatureDistribution, Uniform
from geometry import dimensions_per_feature, represented
from models import ReLUOutputModel
from theory.descents import GENTLE, descend
from theory.vertices import polygon
from training import best_restart, sampled_loss, train
from visualization import FAINT, INK, SET_COLOURS, WIDTH, described, over_density

KINDS = {  # the paper's values first; the spread, relative to the mean, falls from kind to kind
    "uniform on [0, 1]": UNIT,
    "1, 2 or 3": (1.0, 2.0, 3.0),
    "uniform on [0.5, 1]": Uniform(0.5, 1),
    "always 1": (1.0,),
}
LEAST = 9  # vertices: from here on polygons return only the highest of the values 1, 2 and 3
PLANE = 2  # hidden dimensions of the trained models
JITTER = 0.01  # standard deviation of the noise on a polygon's weights, as it starts
# Weights from which two features in one dimension descend: a pair, and a weak second feature.
PAIR_STARTS = ((0.8, -0.8), (1.0, -0.4), (1.0, 0.4))
AS_STRONG = 0.7  # share of the stronger feature's norm from which on the weaker makes a pair
TEST_STREAM = 0x0F0F0F0F  # combined with the seed, so that losses are measured on other rows


@dataclass(frozen=True)
class Settings:
    """Polygons of 4 to 24 vertices; pairs; and twelve features in two dimensions."""

    largest: int = 24  # vertices of the largest polygon whose limit is computed
    pair_densities: tuple[float, ...] = tuple(round(0.76 - 0.02 * k, 2) for k in range(24))
    pair_steps: int = 400
    features: int = 12  # n of the trained models
    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
    restarts: int = 6  # from small random weights, at each density
    steps: int = 4000  # of these
    lr: float = 5e-2
    started_steps: int = 1000  # of models that start as polygons
    started_lr: float = 1e-2
    batch_size: int = 256
    rows: int = 2**15  # on which losses are compared

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        as_line("pair_densities", self.pair_densities, highest=1)
        for name, least in (("largest", LEAST), ("features", SMALLEST)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")


QUICK = Settings(
    largest=LEAST,
    pair_densities=(0.7, 0.3),
    pair_steps=20,
    features=6,
    densities=(0.2, 0.001),
    restarts=1,
    steps=80,
    started_steps=30,
    rows=1024,
)
NOTEBOOK = Settings(
    largest=16,
    pair_densities=tuple(round(0.76 - 0.04 * k, 2) for k in range(12)),
    pair_steps=300,
    restarts=2,
    steps=1500,
    started_steps=500,
)


class Result(NamedTuple):
    """Polygons, pairs and models; the first axis is that of KINDS.

    All losses are shares of the loss of ignoring the features, biases at their means.
    """

    vertices: Int[Tensor, " polygons"]
    polygon_loss: Float[Tensor, "kinds polygons"]  # the lowest in the limit of rare features
    polygon_norm: Float[Tensor, "kinds polygons"]  # of every feature
    pair_density: Float[Tensor, " points"]
    pair_W: Float[Tensor, "kinds points 2"]  # of the best two features in one dimension
    pair_loss: Float[Tensor, "kinds points"]
    density: Float[Tensor, " densities"]
    W: Float[Tensor, "kinds densities 2 features"]  # of the best model
    b: Float[Tensor, "kinds densities features"]
    loss: Float[Tensor, "kinds densities"]
    fresh_loss: Float[Tensor, "kinds densities"]  # of the best start from small random weights


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Compute polygons and pairs, and train models, for all kinds of values.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights and of all rows; polygons and pairs do not depend on it.
        device: Device that trains; exact losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The best of each.
    """
    vertices = range(SMALLEST, settings.largest + 1)
    kinds = []
    for values in KINDS.values():
        limits = [polygon_limit(count, values) for count in range(SMALLEST, _most(settings) + 1)]
        drawn = limits[: len(vertices)]
        losses = torch.stack([limit.loss for limit in drawn])
        norms = torch.stack([limit.norm for limit in drawn])
        pairs = _best_pairs(settings, values, progress)
        models = _best_models(settings, values, limits, seed, device, progress)
        kinds.append((losses, norms, *pairs, *models))
    loss, norm, *others = (torch.stack(column) for column in zip(*kinds))
    return Result(
        torch.tensor(vertices),
        loss,
        norm,
        torch.tensor(settings.pair_densities, dtype=torch.float64),
        *others[:2],
        torch.tensor(settings.densities, dtype=torch.float64),
        *others[2:],
    )


def _most(settings):
    """Return the vertices of the largest polygon that is needed."""
    return max(settings.largest, settings.features)


# Values


def smaller_square(values) -> float:
    """Return E[min(v, v')^2] of two active features' values."""
    if isinstance(values, Uniform):
        low, width = values.low, values.high - values.low
        return low**2 + low * width * 2 / 3 + width**2 / 6
    points = torch.tensor(values, dtype=torch.float64)
    return torch.minimum(points[:, None], points).square().mean().item()


def named_onset(values) -> float:
    """Return the density below which the antipodal pair [1, -1] beats a dedicated dimension.

    A row in which both features of the pair are active, by density s^2, costs min(v, v')^2 for each
    of them, and no other row costs anything. A feature that is ignored costs its variance:
    2 s^2 E[min(v, v')^2] = s E[v^2] - s^2 E[v]^2.
    """
    mean, square = mean_and_square(values)
    return square / (2 * smaller_square(values) + mean**2)


def ignored_loss(values, density: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the loss of a feature of importance 1 that is not represented: its variance."""
    mean, square = mean_and_square(values)
    return density * square - (density * mean) ** 2


# Pairs


def _best_pairs(settings, values, progress):
    """Return W (points, 2) and losses (points,) of the best two features in one dimension."""
    density = torch.tensor(settings.pair_densities, dtype=torch.float64)
    points = FeatureDistribution(density[:, None], features=2, values=values)
    inputs = points.with_restarts(len(PAIR_STARTS))
    W = torch.tensor(PAIR_STARTS, dtype=torch.float64).repeat(len(density), 1)[:, None]
    mean = inputs.moments()[0]
    b = mean - (mean[:, None] @ W.mT @ W)[:, 0]  # so that means are returned as they are
    steps = settings.pair_steps
    reached = descend(W, b, inputs, steps=steps, lr=3 * GENTLE, progress=progress)
    best = best_restart(reached.loss, len(PAIR_STARTS))
    return reached.W[best, 0], reached.loss[best] / (2 * ignored_loss(values, density))


# Models


def _best_models(settings, values, limits, seed, device, progress):
    """Return the best model of each density: W, b, its loss, and that of the best fresh start."""
    density = torch.tensor(settings.densities, dtype=torch.float64)[:, None]
    inputs = FeatureDistribution(density, features=settings.features, values=values).to(device)
    mean = inputs.moments()[0].float()
    fresh = ReLUOutputModel(
        len(density) * settings.restarts, settings.features, PLANE, seed=seed, device=device
    )
    started = _started(settings, limits, mean, seed)
    common = {"batch_size": settings.batch_size, "seed": seed, "progress": progress}
    rows = {"rows": settings.rows, "seed": seed ^ TEST_STREAM}
    losses = []
    for model, steps, lr in (
        (fresh, settings.steps, settings.lr),
        (started, settings.started_steps, settings.started_lr),
    ):
        repeated = inputs.with_restarts(model.instances // len(density))
        train(model, repeated, steps=steps, lr=lr, **common)
        losses.append(sampled_loss(model, repeated, **rows).view(len(density), -1))
    ignoring = ReLUOutputModel.from_weights(0 * started.W[: len(density)].detach(), mean)
    unit = sampled_loss(ignoring, inputs, **rows)  # on the same rows
    together = torch.cat(losses, dim=1)
    best = together.argmin(dim=1)
    place = torch.arange(len(density), device=best.device)
    W, b = (
        torch.cat([t.detach().unflatten(0, (len(density), -1)) for t in parts], dim=1)[place, best]
        for parts in ((fresh.W, started.W), (fresh.b, started.b))
    )
    found = (W, b, together.amin(dim=1) / unit, losses[0].amin(dim=1) / unit)
    return [tensor.cpu() for tensor in found]


def _started(settings, limits, mean, seed):
    """Return models that start as each polygon of at most all features, at each density."""
    polygons = range(SMALLEST, settings.features + 1)
    model = ReLUOutputModel(
        len(mean) * len(polygons),
        settings.features,
        PLANE,
        seed=seed ^ TEST_STREAM,
        device=mean.device,
        init_scale=JITTER,
    )
    with torch.no_grad():
        W = model.W.unflatten(0, (len(mean), -1))
        b = model.b.unflatten(0, (len(mean), -1))
        b.copy_(mean[:, None])
        for place, (vertices, limit) in enumerate(zip(polygons, limits)):
            W[:, place, :, :vertices] += (limit.norm * polygon(vertices)).to(W)
            b[:, place, :vertices] = limit.bias.to(b)
    return model


# Measures


def worth(result) -> Float[Tensor, "kinds polygons"]:
    """Return how many features' loss a polygon saves, in the limit of rare features."""
    return result.vertices * (1 - result.polygon_loss)


def saved(result, loss: Float[Tensor, "kinds densities"]) -> Float[Tensor, "kinds densities"]:
    """Return how many features' loss the models save, by their losses as shares."""
    return result.W.shape[-1] * (1 - loss)


def represented_features(result) -> Int[Tensor, "kinds densities"]:
    """Count the features of the best models with a norm above 0.5."""
    return represented(result.W.flatten(0, 1)).sum(dim=1).view(result.loss.shape)


def all_dimensions_per_feature(result) -> Float[Tensor, "kinds densities"]:
    """Return D* = m / ||W||_F^2 of the best models."""
    return dimensions_per_feature(result.W.flatten(0, 1)).view(result.loss.shape)


def named_pair_loss(result) -> Float[Tensor, "kinds points"]:
    """Return the lower loss of [1, -1] and [1, 0], as shares; see `named_onset`."""
    density = result.pair_density
    pairs = [
        density**2 * smaller_square(values) / ignored_loss(values, density)
        for values in KINDS.values()
    ]
    return torch.stack(pairs).clamp(max=0.5)


def best_onset(result) -> list[float]:
    """Return the highest density at which the best two features are an antipodal pair, or 0."""
    size = result.pair_W.abs()
    opposite = result.pair_W.prod(dim=-1) < 0
    pairs = opposite & (size.amin(dim=-1) >= AS_STRONG * size.amax(dim=-1))
    return (pairs * result.pair_density).amax(dim=1).tolist()


# Figure

MARKERS = ("o", "s", "^", "D")


def figure(result) -> Figure:
    """Draw when pairs begin, what the models save over density, and the limit of rare features.

    Args:
        result: Result of `run`.

    Returns:
        The figure.
    """
    drawn, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDTH, 4.2), layout="constrained")
    models = saved(result, result.loss)
    fresh = saved(result, result.fresh_loss)
    for kind, name in enumerate(KINDS):
        style = {"color": SET_COLOURS[kind], "marker": MARKERS[kind], "markersize": 4}
        left.plot(result.pair_density, 1 - 2 * result.pair_loss[kind], **style, label=name)
        middle.plot(result.density, models[kind], **style)
        middle.plot(result.density, fresh[kind], color=SET_COLOURS[kind], linestyle=":")
        right.plot(result.vertices, worth(result)[kind], **style)
    middle.plot([], [], color=INK, linestyle=":", label="best of small random starts")
    middle.legend(loc="upper left")
    right.plot(result.vertices, result.vertices, color=FAINT, zorder=0, label="all features")
    right.legend(loc="upper left")
    over_density(left, result.pair_density, ticks=(0.7, 0.6, 0.5, 0.4, 0.3))
    left.set(title="pairs of narrow values begin later\n($n=2$, $m=1$)")
    left.set(ylabel="saved share of a second feature's loss")
    over_density(middle, result.density, ticks=(0.1, 0.01, 0.001, 0.0001))
    features = result.W.shape[-1]
    middle.set(title=f"rare narrow values save more\n($n={features}$, $m={PLANE}$)")
    middle.set(ylabel="features' worth of loss saved", ylim=(0, 1.35 * features))
    right.set(title="polygons of rare features\n(limit of density 0)")
    right.set(xlabel="vertices", ylabel="features' worth of loss saved")
    right.set(xlim=(0, None), ylim=(0, None))
    drawn.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(KINDS))
    return described(drawn, _text(result))


def _text(result):
    """Say what the figure shows."""
    onsets = ", ".join(
        f"{density:g} for values {name}" for name, density in zip(KINDS, best_onset(result))
    )
    most = ", ".join(
        f"{count:.1f} for {name}"
        for name, count in zip(KINDS, saved(result, result.loss)[:, -1].tolist())
    )
    return (
        f"Curves of loss saved, for four kinds of values: two features are a pair from density "
        f"{onsets}; models in two dimensions save at the lowest density as much as this many "
        f"features cost: {most}; last, what polygons of rare features save, over their vertices."
    )
