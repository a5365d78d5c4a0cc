"""What does a model do with five features in a plane, as they become sparse?

The paper's introduction: dense features get the two most important ones stored at right angles and the rest dropped;
as density falls four are stored, as two antipodal pairs, and then all five, as a pentagon. Its first figure.
"""

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.colors import Normalize
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from models import ReLUOutputModel
from training import train_best
from visualization import INK, WIDTH


@dataclass(frozen=True)
class Settings:
    features: int = 5
    decay: float = 0.9  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.2, 0.1)
    restarts: int = 8
    steps: int = 2000
    batch_size: int = 256
    lr: float = 2e-2

    def __post_init__(self):
        check_settings(self)


QUICK = Settings(restarts=4, steps=300)


class Result(NamedTuple):
    density: Float[Tensor, " densities"]
    importance: Float[Tensor, " features"]
    W: Float[Tensor, "densities 2 features"]  # of the best restart
    b: Float[Tensor, "densities features"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train a model with two hidden dimensions at each density -> Result."""
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


def figure(result):
    """The columns of W as arrows in the plane, one panel a density."""
    panels = len(result.W)
    drawn, axes = plt.subplots(
        1, panels, figsize=(WIDTH, WIDTH / panels), layout="constrained", squeeze=False
    )
    scale = Normalize(float(result.importance.min()), float(result.importance.max()))
    colours = plt.get_cmap("viridis_r")
    for ax, weights, density in zip(axes[0], result.W, result.density):
        for direction, weight in zip(weights.T.tolist(), result.importance.tolist()):
            arrow = {"arrowstyle": "-|>", "color": colours(scale(weight)), "linewidth": 2.5}
            ax.annotate("", direction, (0, 0), arrowprops=arrow)
        ax.plot(0, 0, "o", color=INK)
        ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
        ax.set_title(f"density {density:g}  (sparsity $S={1 - density:g}$)")
        ax.set(xlabel="hidden dimension 1", ylabel="hidden dimension 2")
    drawn.colorbar(
        plt.cm.ScalarMappable(scale, colours), ax=axes, label="importance $I_i$", shrink=0.8
    )
    return drawn
