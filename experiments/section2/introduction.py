"""What does a model with two hidden dimensions do with five features, as they get sparser?

The paper's introduction: when the features are dense, the model stores the two most important ones
at right angles and drops the rest. As the density falls it stores four of them as two antipodal
pairs, and then all five as a pentagon. This is the paper's first figure.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section2main.py instead.")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from geometry import represented
from models import ReLUOutputModel
from training import train_best
from visualization import WIDTH, described, numbered_arrows


@dataclass(frozen=True)
class Settings:
    """The paper's settings."""

    features: int = 5
    decay: float = 0.9  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.2, 0.1)
    restarts: int = 8  # models trained at each density, of which the one of lowest loss is kept
    steps: int = 2000
    batch_size: int = 256
    lr: float = 2e-2

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


QUICK = Settings(restarts=4, steps=300)


class Result(NamedTuple):
    """The best restart at each density."""

    density: Float[Tensor, " densities"]
    importance: Float[Tensor, " features"]
    W: Float[Tensor, "densities 2 features"]
    b: Float[Tensor, "densities features"]


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train a ReLU output model with two hidden dimensions at each density.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights and of the sampled rows.
        device: Device that trains.
        progress: Whether to show progress on stderr.

    Returns:
        The best restart at each density.
    """
    density = torch.tensor(settings.densities)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    model, _ = train_best(
        ReLUOutputModel,
        FeatureDistribution(density[:, None], importance).to(device),
        hidden=2,
        restarts=settings.restarts,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        seed=seed,
        progress=progress,
    )
    return Result(density, importance, model.W.detach().cpu(), model.b.detach().cpu())


def figure(result) -> Figure:
    """Draw the features' directions as arrows in the plane, one panel for each density."""
    titles = [f"density {density:g}" for density in result.density.tolist()]
    return arrows_figure(result.W, titles)


def arrows_figure(W: Float[Tensor, "panels 2 features"], titles: Sequence[str]) -> Figure:
    """Draw the directions of features in the plane, one panel for each model.

    Args:
        W: Weights of models with two hidden dimensions.
        titles: A title for each panel.
    """
    drawn, axes = plt.subplots(
        1, len(W), figsize=(WIDTH, WIDTH / len(W)), layout="constrained", squeeze=False
    )
    for ax, weights, title in zip(axes[0], W, titles):
        numbered_arrows(weights, ax)
        ax.set_title(title)
    counts = represented(W).sum(dim=1).tolist()
    stored = ", ".join(f"{count} at {title}" for count, title in zip(counts, titles))
    return described(
        drawn,
        f"The directions of {W.shape[2]} features as numbered arrows in the plane, one panel for "
        f"each model. The features that are stored: {stored}.",
    )
