"""Which polytope is best at which density, from models that start as one (ours).

Each of the paper's polytopes in as many copies as fit, at its predicted scale and bias, shaken and trained on. Which of
them kept their polytope is seen from their geometry, not from what they save: dense polytopes save nearly the same. The
best of these at a density is held against the prediction.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from checks import check_settings
from features import FeatureDistribution
from models import ReLUOutputModel
from theory.packing import (
    check_inverse_density,
    polytope_optima,
    product_of_copies,
    sampled_benefit,
)
from theory.polytopes import PAPER_POLYTOPES, polytope_shares, tegum_factors
from training import train

KEPT = 0.5  # of its represented features that are in the polytope it started as, in a model that kept it


@dataclass(frozen=True)
class Settings:
    features: int = 100
    hidden: int = 12
    inverse_density: tuple[float, ...] = (1.18, 1.4, 1.8, 3.0, 4.65, 6.0)  # 1/(1-S), a point each
    noise: float = 0.03  # standard deviation of what is added to all weights at the start
    steps: int = 4000
    batch_size: int = 256
    lr: float = 2e-3

    def __post_init__(
        self,
    ):  # the prediction comes first in `run`, where these errors would be late
        check_settings(self, may_be_zero=("noise",))
        check_inverse_density(self.inverse_density)


QUICK = Settings(inverse_density=(3.0,), steps=100)


class Result(NamedTuple):
    inverse_density: Float[Tensor, " points"]
    W: Float[Tensor, "points polytopes hidden features"]  # in the order of PAPER_POLYTOPES
    benefit: Float[Tensor, "points polytopes"]  # see packing.py


def run(settings, *, seed=0, device="cpu", progress=True):
    """The copies fill all hidden dimensions; the other features start at zero, but for the noise."""
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    density, size = 1 / inverse_density, (settings.features, settings.hidden)
    optima = polytope_optima(density, PAPER_POLYTOPES, progress=progress)
    starts = [product_of_copies(name, optimum, *size, density) for name, optimum in optima.items()]
    W, b = (torch.stack(values, dim=1).flatten(0, 1).float() for values in zip(*starts))
    W += settings.noise * torch.randn(W.shape, generator=torch.Generator().manual_seed(seed))
    distribution = FeatureDistribution(density[:, None], features=settings.features).with_restarts(
        len(optima)
    )
    distribution, model = (
        distribution.to(device),
        ReLUOutputModel.from_weights(W.to(device), b.to(device)),
    )
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, distribution, seed=seed, progress=progress, **how)
    saved = sampled_benefit(model, distribution, rows=2**17)
    W, benefit = (
        values.detach().cpu().unflatten(0, (-1, len(optima))) for values in (model.W, saved)
    )
    return Result(inverse_density, W, benefit)


def kept(result) -> Bool[Tensor, "points polytopes"]:
    """Which models have more than KEPT of their represented features in the polytope that they started as."""
    shares = [[polytope_shares(tegum_factors(W)) for W in of_point] for of_point in result.W]
    return torch.tensor(
        [[of.get(name, 0) > KEPT for of, name in zip(row, PAPER_POLYTOPES)] for row in shares]
    )


def best(result):
    """At each density the polytope that saves most of those that were kept; None where none was."""
    saved = torch.where(kept(result), result.benefit, -torch.inf)
    return [PAPER_POLYTOPES[k] if value.isfinite() else None for value, k in zip(*saved.max(dim=1))]
