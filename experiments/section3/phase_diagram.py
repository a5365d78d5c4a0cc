"""What becomes of the last feature of a small trained model, as density and its relative importance change?

Section 3 of the paper: it is not represented, in superposition, or has a dedicated dimension, with sharp boundaries
between the three phases. The paper's two diagrams are of n=2, m=1 and n=3, m=2: ten models are trained for each point,
the one of highest loss is discarded, the rest averaged. `figure` draws that beside the best restart, the named
solutions, the optimum (the result of `exact_optimum` on the same grid: for n=3 the best solution known) and the share
of restarts that reach it. Why the averages are noisy is a question of its own: averages.py.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.colors import to_rgb
from torch import Tensor

from checks import check_count, check_settings
from losses.exact import expected_loss
from models import ReLUOutputModel
from theory import phases
from theory.descents import GENTLE, SAME_LOSS, descend
from training import best_restart, train
from visualization import BLANK, INK, SMALL, SUPERPOSITION, SUPERPOSITION_LABEL, WIDTH


@dataclass(frozen=True)
class Settings:
    features: int = 2  # 2 in one hidden dimension, or 3 in two
    points: int = 40  # on either axis
    restarts: int = 10
    steps: int = 500
    batch_size: int = 64
    lr: float = 0.1
    init_scale: float = 0.3
    exact: bool = False  # descend on the exact loss, without the noise of samples

    def __post_init__(self):
        phases.check_features(self.features)
        check_settings(self)
        check_count("restarts - 1", self.restarts - 1)  # one is discarded


THREE = Settings(features=3, lr=0.2)
QUICK = Settings(points=6, steps=100)
QUICK_THREE = replace(THREE, points=6, steps=100)


class Result(NamedTuple):
    """At each point of the grid, as `phases.grid` has them."""

    density: Float[Tensor, " grid"]
    ratio: Float[Tensor, " grid"]
    W: Float[Tensor, "grid restarts hidden features"]
    loss: Float[Tensor, "grid restarts"]  # exact, as trained
    settled: Float[
        Tensor, "grid restarts"
    ]  # exact, at the bottom of the basin in which training ended
    lowest_W: Float[Tensor, "grid hidden features"]  # at the bottom of the lowest of these basins
    lowest_b: Float[Tensor, "grid features"]
    lowest_loss: Float[Tensor, " grid"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train restarts at every point of the diagram and measure their exact losses -> Result."""
    density, ratio = phases.grid(settings.points)
    features, restarts = settings.features, settings.restarts
    distribution = phases.grid_distribution(features, density, ratio).with_restarts(restarts)
    model = ReLUOutputModel(
        distribution.instances,
        features,
        features - 1,
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
    W, b = model.W.detach().cpu().double(), model.b.detach().cpu().double()
    loss = expected_loss(W, b, distribution)
    settled = descend(W, b, distribution, steps=200, lr=GENTLE, progress=progress)
    best = best_restart(settled.loss, restarts)
    lowest = descend(
        settled.W[best], settled.b[best], distribution.select(best), steps=400, lr=GENTLE
    )
    return Result(
        density, ratio, W.unflatten(0, (-1, restarts)), *(values.view(-1, restarts) for values in (loss, settled.loss)),
        *lowest,
    )  # fmt: skip


# Diagrams: phases.LastFeature at each point


def named(result) -> phases.LastFeature:
    """In the best named solution."""
    features = result.W.shape[-1]
    return phases.last_feature(phases.best_named(features, result.density, result.ratio)[1])


def averaged(result) -> phases.LastFeature:
    """Mean of all restarts but the worst, as the paper averages them."""
    kept = torch.ones_like(result.loss).scatter_(1, result.loss.argmax(dim=1, keepdim=True), 0)
    shown = phases.last_feature(result.W.flatten(0, 1))
    return phases.LastFeature(
        *((v.view_as(kept) * kept).sum(dim=1) / kept.sum(dim=1) for v in shown)
    )


def best(result) -> phases.LastFeature:
    """In the restart of lowest loss."""
    return phases.last_feature(best_weights(result))


def best_weights(result) -> Float[Tensor, "grid hidden features"]:
    """W of the restart of lowest loss."""
    return result.W.flatten(0, 1)[best_restart(result.loss.flatten(), result.loss.shape[1])]


# Numbers; optimum: the result of `exact_optimum` on the same grid


def below(result, optimum) -> Bool[Tensor, " grid"]:
    """Where a trained model, settled, has a lower loss than the optimum: nowhere, if that is one."""
    return result.lowest_loss < optimum.loss * (1 - phases.GAIN)


def best_known(result, optimum):
    """The optimum, with the trained models in its place where they are below it."""
    lower = below(result, optimum)
    pairs = zip(
        (optimum.W, optimum.b, optimum.loss), (result.lowest_W, result.lowest_b, result.lowest_loss)
    )
    W, b, loss = (
        torch.where(lower.view(-1, *[1] * (old.dim() - 1)), new, old) for old, new in pairs
    )
    return optimum._replace(W=W, b=b, loss=loss)


def agreement(first, second):
    """Share of points at which two diagrams show the same phase."""
    return (phases.phase(*first) == phases.phase(*second)).double().mean().item()


def phase_shares(diagram) -> Float[Tensor, "3"]:
    """Share of points in each of phases.PHASES."""
    return torch.bincount(phases.phase(*diagram), minlength=3) / len(diagram.norm)


class Regions(NamedTuple):
    """For each named solution, of the points where it is the best one: the region of the named diagram."""

    optimum: Float[Tensor, " solutions"]  # share of these where the optimum is like it
    best: Float[Tensor, " solutions"]  # of those, the share where the best restart is like it, too
    mean: Float[
        Tensor, " solutions"
    ]  # share where the mean shows its phase, of those where the optimum does


def regions(result, optimum) -> Regions:
    """How much of each region of the named diagram optimum and trained models give back; 0 of nothing."""
    region, _ = phases.best_named(result.W.shape[-1], result.density, result.ratio)
    every = torch.arange(len(phases.NAMED_SOLUTIONS[result.W.shape[-1]]))[:, None]
    of_region = region == every  # (solutions, grid)
    of_optimum, of_best = (
        phases.nearest_named(W) == every for W in (optimum.W, best_weights(result))
    )
    shown, exact, of_mean = (
        phases.phase(*diagram)
        for diagram in (named(result), phases.last_feature(optimum.W), averaged(result))
    )
    stays, keeps = of_region & of_optimum, of_region & (exact == shown)
    return Regions(
        _share(stays, of_region),
        _share(stays & of_best, stays),
        _share(keeps & (of_mean == shown), keeps),
    )


def _share(some, of):
    return some.sum(dim=1) / of.sum(dim=1).clamp(min=1)


def in_optimum(result, optimum) -> Bool[Tensor, "grid restarts"]:
    """Restarts whose basin is that of the optimum."""
    return result.settled <= optimum.loss[:, None] * (1 + SAME_LOSS)


OPTIMUM = {2: "global optimum", 3: "best solution known"}  # what the optimum is, by features


# Figures


def figure(result, optimum):
    """Four diagrams, the share of restarts in the optimum, and the key to the colours."""
    what = OPTIMUM[result.W.shape[-1]]
    drawn, axes = plt.subplots(2, 3, figsize=(WIDTH, 7.4), layout="constrained")
    diagrams = {
        "named solutions": named(result),
        what: phases.last_feature(optimum.W),
        "trained: mean of all but the worst": averaged(result),
        "trained: best restart": best(result),
    }
    for ax, (title, diagram) in zip(axes[:, :2].flat, diagrams.items()):
        colours = phase_colours(*(_image(values) for values in diagram))
        _over_grid(result, colours, ax).axes.set_title(title)
    share = in_optimum(result, optimum).double().mean(dim=1)
    mesh = _over_grid(result, _image(share).numpy(), axes[1, 2], cmap="cividis", vmin=0, vmax=1)
    axes[1, 2].set_title(f"restarts in the {what}")
    drawn.colorbar(mesh, ax=axes[1, 2], label="share of restarts", fraction=0.046)
    phase_key(axes[0, 2])
    return drawn


def phase_colours(
    norm: Float[Tensor, "*shape"], superposition: Float[Tensor, "*shape"]
) -> Float[np.ndarray, "*shape 3"]:
    """RGB of a feature by norm (strength) and superposition (hue)."""
    strength = norm.clamp(0, 1).numpy()[..., None]
    hue = np.asarray(SUPERPOSITION(superposition.clamp(0, 1).numpy()))[..., :3]
    return (1 - strength) * np.array(to_rgb(BLANK)) + strength * hue


def phase_key(ax):
    """What the colours of a phase diagram mean."""
    norm, superposition = torch.meshgrid(
        torch.linspace(0, 1, 60), torch.linspace(0, 1, 60), indexing="ij"
    )
    ax.imshow(
        phase_colours(norm, superposition), origin="lower", extent=(0, 1, 0, 1), aspect="equal"
    )
    for x, y, text, colour in (
        (0.5, 0.12, "not represented", INK),
        (0.27, 0.9, "dedicated\ndimension", "white"),
        (0.77, 0.9, "in\nsuperposition", INK),
    ):
        ax.text(x, y, text, ha="center", va="center", color=colour, fontsize=SMALL)
    ax.set(
        title="last feature", xlabel=SUPERPOSITION_LABEL.split(" (")[0], ylabel=r"norm $\|W_i\|$"
    )


def _image(values):
    """(points^2,) -> (importances, densities)."""
    return values.view(math.isqrt(len(values)), -1).T


def _over_grid(result, image, ax, **colours):
    """An image (importances, densities[, 3]) over logarithmic axes, sparser to the right -> its mesh."""
    x, y = _image(result.density)[0].numpy(), _image(result.ratio)[:, 0].numpy()
    mesh = ax.pcolormesh(x, y, image, shading="nearest", rasterized=True, **colours)
    ax.set(xscale="log", yscale="log", xlim=(x.max(), x.min()), ylim=(y.min(), y.max()))
    ax.set(xlabel="density $1-S$ (log scale)", ylabel="relative importance $r$ (log scale)")
    return mesh
