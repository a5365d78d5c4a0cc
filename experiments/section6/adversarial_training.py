"""Does adversarial training remove superposition, and how large must the attacks be?

Section 6 of the paper: an attack of 80 % of the input norm removes superposition completely. Here
one model is trained for each density and each size of the attacks. Every row of a batch is moved by
the analytic attack on a random feature (see `vulnerability`), by a share of the mean input norm,
and the model has to output the row as it was before.

What is left of superposition is read in two ways. Features per dimension, ||W||_F^2 / m, also fall
because attacks shrink all weights, and so they can fall below 1. Superposition is *gone* if no
represented feature shares its direction (`geometry.in_superposition`), under this attack and under
all larger ones.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section6main.py instead.")

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor

from checks import as_real, check_settings
from features import FeatureDistribution
from geometry import dimensions_per_feature, in_superposition, represented
from models import ReLUOutputModel
from theory.packing import check_inverse_density
from training import train
from visualization import FAINT, INK, NOTE, SUPERPOSITION, WIDTH, described

PAPER_ATTACK = 0.8  # share of the mean input norm at which the paper finds no superposition left
TENTHS = tuple(k / 10 for k in range(15))  # from 0 to 1.4


@dataclass(frozen=True)
class Settings:
    """Equally important features at several densities."""

    features: int = 100
    hidden: int = 20
    inverse_density: tuple[float, ...] = (3.0, 5.0, 10.0, 20.0)  # 1/(1-S)
    attack: tuple[float, ...] = TENTHS  # ascending sizes, as shares of the mean input norm
    steps: int = 2500
    batch_size: int = 256
    lr: float = 1e-2

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        check_inverse_density(self.inverse_density)
        attack = as_real("attack", self.attack)
        is_line = attack.dim() == 1 and len(attack) > 0
        in_range = bool(((attack >= 0) & attack.isfinite()).all())
        if not (is_line and in_range and (attack.diff() > 0).all()):
            raise ValueError(
                f"attack: expected ascending finite numbers of at least 0, got {self.attack!r}"
            )


QUICK = Settings(30, 6, (5.0, 10.0), (0.0, 0.4, 0.8, 1.2), steps=300, batch_size=128, lr=2e-2)
NOTEBOOK = Settings(
    features=50,
    hidden=10,
    inverse_density=(3.0, 5.0, 20.0),
    attack=(0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2),
    steps=2000,
)


class Result(NamedTuple):
    """The model for each density and size of the attacks."""

    inverse_density: Float[Tensor, " densities"]
    attack: Float[Tensor, " attacks"]
    W: Float[Tensor, "densities attacks hidden features"]


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train a model against every size of attack at every density.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights, of the sampled rows, and of the attacked features.
        device: Device that trains.
        progress: Whether to show progress on stderr.

    Returns:
        The trained models.
    """
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    attack = torch.tensor(settings.attack, dtype=torch.float64)
    distribution = FeatureDistribution(1 / inverse_density[:, None], features=settings.features)
    distribution = distribution.with_restarts(len(attack)).to(device)
    model = ReLUOutputModel(
        distribution.instances, settings.features, settings.hidden, seed=seed, device=device
    )
    train(
        model,
        distribution,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        attack=attack.repeat(len(inverse_density)),
        seed=seed,
        progress=progress,
    )
    W = model.W.detach().cpu().unflatten(0, (-1, len(attack)))
    return Result(inverse_density, attack, W)


# Measures


class SuperpositionLeft(NamedTuple):
    """What is left of superposition, per hidden dimension."""

    features_per_dimension: Float[Tensor, "densities attacks"]  # ||W||_F^2 / m
    represented: Float[Tensor, "densities attacks"]  # represented features
    shared: Float[Tensor, "densities attacks"]  # represented features in superposition


def superposition_left(result) -> SuperpositionLeft:
    """Measure what is left of superposition in every model."""
    shape = result.W.shape[:2]
    hidden = result.W.shape[2]
    W = result.W.flatten(0, 1)
    return SuperpositionLeft(
        features_per_dimension=(1 / dimensions_per_feature(W)).view(shape),
        represented=(represented(W).sum(dim=1) / hidden).view(shape),
        shared=(in_superposition(W).sum(dim=1) / hidden).view(shape),
    )


def smallest_from(attack: Float[Tensor, " attacks"], gone: Bool[Tensor, " attacks"]):
    """Find the smallest attack that removes something, as all larger ones do.

    Args:
        attack: Ascending sizes of the attacks.
        gone: Whether it is gone under each of them.

    Returns:
        The size, or None if it is not gone under the largest attack.
    """
    remains = (~gone).nonzero()[:, 0].tolist()
    first = remains[-1] + 1 if remains else 0
    return attack[first].item() if first < len(attack) else None


def removing_attacks(result) -> list[float | None]:
    """Find at each density the smallest attack from which on superposition is gone."""
    gone = superposition_left(result).shared == 0
    return [smallest_from(result.attack, density_gone) for density_gone in gone]


# Figure


def figure(result) -> Figure:
    """Draw features per dimension and features in superposition over the size of the attacks."""
    drawing, (whole, shared) = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained")
    left = superposition_left(result)
    attack = result.attack.numpy()
    for k, inverse_density in enumerate(result.inverse_density.tolist()):
        colour = SUPERPOSITION(k / max(len(result.W) - 1, 1))
        style = {"color": colour, "label": f"density {1 / inverse_density:.2g}"}
        whole.plot(attack, left.features_per_dimension[k].numpy(), "o-", **style)
        shared.plot(attack, left.shared[k].numpy(), "o-", **style)
    for ax in (whole, shared):
        ax.axvline(PAPER_ATTACK, color=INK, linestyle="--", linewidth=1)
        place = {"xy": (PAPER_ATTACK, 1), "xycoords": ("data", "axes fraction"), "xytext": (4, -12)}
        ax.annotate("paper", **place, **NOTE)
        ax.set(xlabel="size of the attacks in training, share of the mean input norm")
        ax.set(ylim=(0, None))
    whole.axhline(1, color=FAINT, linewidth=1, zorder=0)
    whole.set(ylabel=r"features per dimension $\|W\|_F^2/m$")
    shared.set(ylabel="represented features in superposition,\nper hidden dimension")
    shared.legend()
    return described(
        drawing,
        "Curves over the size of the attacks in training, one for each density: features per "
        "dimension on the left, and represented features in superposition per hidden dimension on "
        "the right, with a dashed line at the size that the paper reports, "
        f"{PAPER_ATTACK:g} of the mean input norm.",
    )
