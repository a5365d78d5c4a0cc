"""Adversarial training removes superposition, once attacks are nearly as large as the inputs (paper, Section 6).

Every row of a batch is moved by the analytic attack on a random feature (see adversarial.py), by a share of the mean
input norm, and the model is to give back the row as it was. The paper: an attack of 80 % of the input norm removes
superposition completely. Models are trained at some densities and all attack sizes at once.

*Superposition left* is read in two ways. Features per dimension, ||W||_F^2 / m, falls under attack also because all
weights shrink, and so below 1. Superposition is *gone* where no represented feature shares its direction any more
(`geometry.in_superposition`), under this attack and all larger ones.
"""

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from checks import as_real, check_settings
from features import FeatureDistribution
from geometry import dimensions_per_feature, in_superposition, represented
from models import ReLUOutputModel
from theory.packing import check_inverse_density
from training import train
from visualization import FAINT, INK, NOTE, SUPERPOSITION, WIDTH

PAPER_ATTACK = 0.8  # removes superposition
TENTHS = tuple(k / 10 for k in range(15))


@dataclass(frozen=True)
class Settings:
    features: int = 100
    hidden: int = 20
    inverse_density: tuple[float, ...] = (3.0, 5.0, 10.0, 20.0)  # 1/(1-S)
    attack: tuple[float, ...] = TENTHS  # ascending sizes, as shares of the mean input norm
    steps: int = 2500
    batch_size: int = 256
    lr: float = 1e-2

    def __post_init__(self):
        check_settings(self)
        check_inverse_density(self.inverse_density)
        attack = as_real("attack", self.attack)
        if (
            attack.dim() != 1
            or not len(attack)
            or not ((attack >= 0) & attack.isfinite()).all()
            or (attack.diff() <= 0).any()
        ):
            raise ValueError(
                f"attack: expected ascending finite numbers of at least 0, got {self.attack!r}"
            )


QUICK = Settings(30, 6, (5.0, 10.0), (0.0, 0.4, 0.8, 1.2), steps=300, batch_size=128, lr=2e-2)


class Result(NamedTuple):
    inverse_density: Float[Tensor, " densities"]
    attack: Float[Tensor, " attacks"]
    W: Float[Tensor, "densities attacks hidden features"]


def run(settings, *, seed=0, device="cpu", progress=True):
    inverse_density, attack = (
        torch.tensor(values, dtype=torch.float64)
        for values in (settings.inverse_density, settings.attack)
    )
    inputs = FeatureDistribution(1 / inverse_density[:, None], features=settings.features)
    repeated = inputs.with_restarts(len(attack)).to(device)
    model = ReLUOutputModel(
        repeated.instances, settings.features, settings.hidden, seed=seed, device=device
    )
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(
        model,
        repeated,
        attack=attack.repeat(len(inverse_density)),
        seed=seed,
        progress=progress,
        **how,
    )
    return Result(inverse_density, attack, model.W.detach().cpu().unflatten(0, (-1, len(attack))))


# What it shows


class Left(NamedTuple):
    """What is left of superposition."""

    features_per_dimension: Float[Tensor, "densities attacks"]  # ||W||_F^2 / m
    represented: Float[Tensor, "densities attacks"]  # features, per hidden dimension
    sharing: Float[Tensor, "densities attacks"]  # of these in superposition, per hidden dimension


def left(result) -> Left:
    W, by_model = result.W.flatten(0, 1), result.W.shape[:2]
    counts = [
        1 / dimensions_per_feature(W),
        *(f(W).sum(dim=1) / W.shape[1] for f in (represented, in_superposition)),
    ]
    return Left(*(values.view(by_model) for values in counts))


def smallest_from(attack: Float[Tensor, " attacks"], gone: Bool[Tensor, " attacks"]):
    """The smallest attack from which on something is gone; None where it is not, under the largest one."""
    still = (~gone).nonzero()[:, 0]
    first = still[-1].item() + 1 if len(still) else 0
    return attack[first].item() if first < len(attack) else None


def removing(result) -> list[float | None]:
    """At each density, the smallest attack from which on no represented feature is in superposition."""
    return [smallest_from(result.attack, gone) for gone in left(result).sharing == 0]


# The figure


def figure(result):
    """Features per dimension, and the features in superposition, over the size of the attacks."""
    drawing, (whole, shared) = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained")
    of, attack = left(result), result.attack.numpy()
    for k, inverse_density in enumerate(result.inverse_density.tolist()):
        colour = SUPERPOSITION(k / max(len(result.W) - 1, 1))
        style = {"color": colour, "label": f"$1/(1-S)={inverse_density:g}$"}
        whole.plot(attack, of.features_per_dimension[k].numpy(), "o-", **style)
        shared.plot(attack, of.sharing[k].numpy(), "o-", **style)
    for ax in (whole, shared):
        ax.axvline(PAPER_ATTACK, color=INK, linestyle="--", linewidth=1)
        ax.annotate("paper", (PAPER_ATTACK, 1), xycoords=("data", "axes fraction"), xytext=(4, -12),
                    **NOTE)  # fmt: skip
        ax.set(
            xlabel="size of the attacks in training, share of the mean input norm", ylim=(0, None)
        )
    whole.axhline(1, color=FAINT, linewidth=1, zorder=0)
    whole.set(ylabel=r"features per dimension $\|W\|_F^2/m$")
    shared.set(ylabel="represented features in superposition,\nper hidden dimension")
    shared.legend()
    return drawing
