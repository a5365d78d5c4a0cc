"""What happens to the last feature of a small model, as density and importance change?

Section 3 of the paper: the last feature is not represented, in superposition, or has a dimension of
its own, and the boundaries between these three phases are sharp. The paper's two diagrams have n=2,
m=1 and n=3, m=2. Ten models are trained for each point, the one of highest loss is discarded, and
the rest are averaged. `figure` draws the averages beside four more diagrams: the best restart, the
named solutions, the optimum (the result of `exact_optimum` on the same grid; for n=3 the best
solution known), and the share of restarts that reach it. `noisy_averages` asks why the averages are
noisy.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section3main.py instead.")

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_count, check_settings
from losses.exact import expected_loss
from models import ReLUOutputModel
from theory import phases
from theory.descents import GENTLE, SAME_LOSS, descend
from training import best_restart, train
from visualization import BLANK, INK, SMALL, SUPERPOSITION, SUPERPOSITION_LABEL, WIDTH, described


@dataclass(frozen=True)
class Settings:
    """The paper's settings for n=2, m=1."""

    features: int = 2  # 2 features in one hidden dimension, or 3 in two
    points: int = 40  # on each of the two axes
    restarts: int = 10  # models trained for each point, of which the worst is discarded
    steps: int = 500
    batch_size: int = 64
    lr: float = 0.1
    init_scale: float = 0.3
    exact: bool = False  # descend on the exact loss instead of on sampled rows

    def __post_init__(self):
        """Refuse values out of range; at least one restart has to remain for the average."""
        phases.check_features(self.features)
        check_settings(self)
        check_count("restarts - 1", self.restarts - 1)


THREE = Settings(features=3, lr=0.2)
QUICK = Settings(points=6, steps=100)
QUICK_THREE = replace(THREE, points=6, steps=100)
NOTEBOOK = Settings(points=18, restarts=20)
NOTEBOOK_THREE = replace(THREE, points=18, restarts=20, steps=800)


class Result(NamedTuple):
    """The trained models at each point, in the order of `phases.grid`.

    A model settles by exact descent from where training ended to the bottom of its basin.
    """

    density: Float[Tensor, " grid"]
    ratio: Float[Tensor, " grid"]  # relative importance of the last feature
    W: Float[Tensor, "grid restarts hidden features"]  # as trained
    loss: Float[Tensor, "grid restarts"]  # exact, as trained
    settled: Float[Tensor, "grid restarts"]  # exact loss of the settled model
    lowest_W: Float[Tensor, "grid hidden features"]  # of the settled model of lowest loss
    lowest_b: Float[Tensor, "grid features"]
    lowest_loss: Float[Tensor, " grid"]


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train restarts at every point of the diagram and measure their exact losses.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights and of the sampled rows.
        device: Device that trains; exact losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The restarts of each point, as trained and settled.
    """
    density, ratio = phases.grid(settings.points)
    distribution = phases.grid_distribution(settings.features, density, ratio)
    distribution = distribution.with_restarts(settings.restarts)
    W, b = _trained(settings, distribution, seed, device, progress)
    loss = expected_loss(W, b, distribution)
    settled = descend(W, b, distribution, steps=200, lr=GENTLE, progress=progress)
    best = best_restart(settled.loss, settings.restarts)
    lowest = descend(
        settled.W[best], settled.b[best], distribution.select(best), steps=400, lr=GENTLE
    )
    return Result(
        density=density,
        ratio=ratio,
        W=W.unflatten(0, (-1, settings.restarts)),
        loss=loss.view(-1, settings.restarts),
        settled=settled.loss.view(-1, settings.restarts),
        lowest_W=lowest.W,
        lowest_b=lowest.b,
        lowest_loss=lowest.loss,
    )


def _trained(settings, distribution, seed, device, progress):
    """Train one model for each instance of the distribution and return W and b in float64."""
    model = ReLUOutputModel(
        distribution.instances,
        settings.features,
        settings.features - 1,
        seed=seed,
        device=device,
        init_scale=settings.init_scale,
    )
    train(
        model,
        distribution.to(device),
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        exact=settings.exact,
        seed=seed,
        progress=progress,
    )
    return model.W.detach().cpu().double(), model.b.detach().cpu().double()


# Diagrams: the last feature at each point

AVERAGED = 10  # restarts of a point whose average the paper draws, all but the worst of them


def averaged_restarts(result) -> Result:
    """Return the result with the first restarts of each point alone, at most AVERAGED.

    More restarts than the paper's ten serve the best restart, and leave the average as it is.
    """
    return result._replace(
        W=result.W[:, :AVERAGED],
        loss=result.loss[:, :AVERAGED],
        settled=result.settled[:, :AVERAGED],
    )


def named_diagram(result) -> phases.LastFeature:
    """Show the last feature in the named solution of lowest loss at each point."""
    _, W = phases.best_named(result.W.shape[-1], result.density, result.ratio)
    return phases.last_feature(W)


def averaged_diagram(result) -> phases.LastFeature:
    """Average over ten restarts of a point but the worst, as the paper does."""
    result = averaged_restarts(result)
    return mean_diagram(restarts_diagram(result), all_but_the_worst(result.loss))


def all_but_the_worst(loss: Float[Tensor, "grid restarts"]) -> Bool[Tensor, "grid restarts"]:
    """Say which restarts of each point are not the one of highest loss."""
    kept = torch.ones_like(loss, dtype=torch.bool)
    return kept.scatter(1, loss.argmax(dim=1, keepdim=True), False)


def restarts_diagram(result) -> phases.LastFeature:
    """Show the last feature in every restart, the restarts of a point in a row."""
    return phases.last_feature(result.W.flatten(0, 1))


def mean_diagram(restarts, kept: Bool[Tensor, "grid restarts"]) -> phases.LastFeature:
    """Average norm and superposition over some restarts of each point.

    Args:
        restarts: The last feature in every restart, from `restarts_diagram`.
        kept: Which restarts count; the average of none is 0.

    Returns:
        The averaged last feature at each point.
    """
    counts = kept.sum(dim=1).clamp(min=1)
    return phases.LastFeature(
        norm=(restarts.norm.view_as(kept) * kept).sum(dim=1) / counts,
        superposition=(restarts.superposition.view_as(kept) * kept).sum(dim=1) / counts,
    )


def best_diagram(result) -> phases.LastFeature:
    """Show the last feature in the restart of lowest loss at each point."""
    return phases.last_feature(best_weights(result))


def best_weights(result) -> Float[Tensor, "grid hidden features"]:
    """Return W of the restart of lowest loss at each point."""
    restarts = result.loss.shape[1]
    return result.W.flatten(0, 1)[best_restart(result.loss.flatten(), restarts)]


# Measures. `optimum` is the result of `exact_optimum` on the same grid.


def below_optimum(result, optimum) -> Bool[Tensor, " grid"]:
    """Say where a trained model settles at a lower loss than the optimum.

    Args:
        result: Result of `run`.
        optimum: Result of `exact_optimum` on the same grid.

    Returns:
        Whether this is so at each point. It is so at none if the optimum deserves its name.
    """
    return result.lowest_loss < optimum.loss * (1 - phases.GAIN)


def best_known(result, optimum):
    """Put trained models in the place of an optimum that they are below.

    Args:
        result: Result of `run`.
        optimum: Result of `exact_optimum` on the same grid.

    Returns:
        The improved optimum, of the same type.
    """
    lower = below_optimum(result, optimum)
    return optimum._replace(
        W=torch.where(lower[:, None, None], result.lowest_W, optimum.W),
        b=torch.where(lower[:, None], result.lowest_b, optimum.b),
        loss=torch.where(lower, result.lowest_loss, optimum.loss),
    )


class Excess(NamedTuple):
    """Settled losses over the optimum's, less 1, on average over the points."""

    best: float  # of the model of lowest loss
    averaged: float  # of all restarts that the average is made of


def excess(result, optimum) -> Excess:
    """Measure how far trained models stay above the optimum once they have settled.

    Args:
        result: Result of `run`.
        optimum: Result of `exact_optimum` on the same grid.
    """
    ten = averaged_restarts(result)
    kept = all_but_the_worst(ten.loss)
    averaged = ten.settled[kept].view(len(kept), -1) / optimum.loss[:, None]
    best = result.lowest_loss / optimum.loss
    return Excess(best.mean().item() - 1, averaged.mean().item() - 1)


def agreement(first, second):
    """Measure at which share of the points two diagrams show the same phase.

    Args:
        first: A `phases.LastFeature`.
        second: Another one on the same grid.

    Returns:
        The share, from 0 to 1.
    """
    return (phases.phase(*first) == phases.phase(*second)).double().mean().item()


def phase_shares(diagram) -> Float[Tensor, "3"]:
    """Measure which share of the points is in each of phases.PHASES."""
    return torch.bincount(phases.phase(*diagram), minlength=3) / len(diagram.norm)


class Regions(NamedTuple):
    """How much of each named solution's region the optimum and the trained models keep.

    The region of a named solution consists of the points at which its loss is the lowest of all
    named solutions. A share of no points counts as 0.
    """

    optimum: Float[Tensor, " solutions"]  # share of the region where the optimum is like it
    best: Float[Tensor, " solutions"]  # share of that part where the best restart is like it, too
    # Where the optimum shows the same phase as the named solution: share of these points of the
    # region at which the averaged diagram shows it, too.
    mean: Float[Tensor, " solutions"]


def regions(result, optimum) -> Regions:
    """Measure how much of the named solutions' regions the optimum and the trained models keep.

    Args:
        result: Result of `run`.
        optimum: Result of `exact_optimum` on the same grid.

    Returns:
        Three shares for each named solution.
    """
    features = result.W.shape[-1]
    solutions = torch.arange(len(phases.NAMED_SOLUTIONS[features]))[:, None]
    lowest, _ = phases.best_named(features, result.density, result.ratio)
    region = lowest == solutions  # (solutions, grid)
    kept = region & (phases.nearest_named(optimum.W) == solutions)
    kept_by_best = kept & (phases.nearest_named(best_weights(result)) == solutions)
    named_phase = phases.phase(*named_diagram(result))
    same_phase = region & (phases.phase(*phases.last_feature(optimum.W)) == named_phase)
    same_phase_in_mean = same_phase & (phases.phase(*averaged_diagram(result)) == named_phase)
    return Regions(
        optimum=_share(kept, region),
        best=_share(kept_by_best, kept),
        mean=_share(same_phase_in_mean, same_phase),
    )


def _share(part, whole):
    """Divide the counts of two masks (solutions, grid)."""
    return part.sum(dim=1) / whole.sum(dim=1).clamp(min=1)


def in_optimum(result, optimum) -> Bool[Tensor, "grid restarts"]:
    """Say which restarts end in the basin of the optimum.

    Args:
        result: Result of `run`.
        optimum: Result of `exact_optimum` on the same grid.

    Returns:
        Whether the settled loss of each restart is that of the optimum.
    """
    return result.settled <= optimum.loss[:, None] * (1 + SAME_LOSS)


# Figure

OPTIMUM_NAMES = {2: "global optimum", 3: "best solution known"}  # by the number of features
KEY_TEXTS = (  # superposition, norm, text, colour
    (0.5, 0.12, "not represented", INK),
    (0.27, 0.9, "dedicated\ndimension", "white"),
    (0.77, 0.9, "in\nsuperposition", INK),
)


def figure(result, optimum) -> Figure:
    """Draw four diagrams, the share of restarts in the optimum, and the key to the colours.

    Args:
        result: Result of `run`.
        optimum: Result of `exact_optimum` on the same grid.

    Returns:
        The figure.
    """
    name = OPTIMUM_NAMES[result.W.shape[-1]]
    drawn, axes = plt.subplots(2, 3, figsize=(WIDTH, 7.4), layout="constrained")
    diagrams = {
        "named solutions": named_diagram(result),
        name: phases.last_feature(optimum.W),
        "trained: mean of ten but the worst": averaged_diagram(result),
        "trained: best restart": best_diagram(result),
    }
    for ax, (title, diagram) in zip(axes[:, :2].flat, diagrams.items()):
        colours = phase_colours(_image(diagram.norm), _image(diagram.superposition))
        _draw_over_grid(result, colours, ax)
        ax.set_title(title)
    share = _image(in_optimum(result, optimum).double().mean(dim=1)).numpy()
    mesh = _draw_over_grid(result, share, axes[1, 2], cmap="cividis", vmin=0, vmax=1)
    axes[1, 2].set_title(f"restarts in the {name}")
    drawn.colorbar(mesh, ax=axes[1, 2], label="share of restarts", fraction=0.046)
    phase_key(axes[0, 2])
    return described(
        drawn,
        "Maps over density and relative importance: four show where the last feature is not "
        "represented, has a dimension of its own or is in superposition, in the named solutions, "
        f"in the {name}, in the mean of ten trained models but the worst and in the best restart; "
        f"the fifth shows the share of restarts in the {name}, which is {share.mean():.0%} on "
        "average.",
    )


def phase_colours(
    norm: Float[Tensor, "*shape"], superposition: Float[Tensor, "*shape"]
) -> Float[np.ndarray, "*shape 3"]:
    """Colour a feature by its norm, as strength, and its superposition, as hue.

    Args:
        norm: Norm of the feature's direction, blank at 0 and full at 1 or more.
        superposition: Interference of the feature.

    Returns:
        Red, green and blue, from 0 to 1.
    """
    strength = norm.clamp(0, 1).numpy()[..., None]
    hue = np.asarray(SUPERPOSITION(superposition.clamp(0, 1).numpy()))[..., :3]
    return (1 - strength) * np.array(to_rgb(BLANK)) + strength * hue


def phase_key(ax):
    """Draw what the colours of a phase diagram mean."""
    line = torch.linspace(0, 1, 60)
    norm, superposition = torch.meshgrid(line, line, indexing="ij")
    colours = phase_colours(norm, superposition)
    ax.imshow(colours, origin="lower", extent=(0, 1, 0, 1), aspect="equal")
    for x, y, text, colour in KEY_TEXTS:
        ax.text(x, y, text, ha="center", va="center", color=colour, fontsize=SMALL)
    xlabel, _, _ = SUPERPOSITION_LABEL.partition(" (")
    ax.set(title="last feature", xlabel=xlabel, ylabel=r"norm $\|W_i\|$")


def _image(values):
    """Arrange the values (points^2,) of a grid as (ratios, densities)."""
    return values.view(math.isqrt(len(values)), -1).T


def _draw_over_grid(result, image, ax, **colours):
    """Draw an image (ratios, densities[, 3]) on log axes, sparser to the right; return its mesh."""
    density = _image(result.density)[0].numpy()
    ratio = _image(result.ratio)[:, 0].numpy()
    mesh = ax.pcolormesh(density, ratio, image, shading="nearest", rasterized=True, **colours)
    ax.set(xscale="log", xlim=(density.max(), density.min()))
    ax.set(yscale="log", ylim=(ratio.min(), ratio.max()))
    ax.set(xlabel="density $1-S$ (log scale)", ylabel="relative importance $r$ (log scale)")
    return mesh
