"""Which polytope is best at which density, from models that start as one (ours).

Each of the paper's polytopes in as many copies as fit, at its predicted scale and bias, shaken and trained on. One that
saves what its polytope should still is that polytope; the best of these at a density is held against the prediction.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from features import FeatureDistribution, check_settings
from models import ReLUOutputModel
from packing import check_inverse_density, polytope_optima, product_of_copies, sampled_benefit
from polytopes import PAPER_POLYTOPES
from training import train

KEPT = 0.02  # a model that saves no more or less than its polytope by prediction, up to this, still is that polytope


@dataclass(frozen=True)
class Settings:
    features: int = 100
    hidden: int = 12
    inverse_density: tuple[float, ...] = (1.18, 1.4, 1.8, 3.0, 4.65, 6.0)  # 1/(1-S), a point each
    noise: float = 0.03  # standard deviation of what is added to all weights at the start
    steps: int = 4000
    batch_size: int = 256
    lr: float = 2e-3

    def __post_init__(self):  # the prediction comes first in `run`, where these errors would be late
        check_settings(self, may_be_zero=("noise",))
        check_inverse_density(self.inverse_density)


QUICK = Settings(inverse_density=(3.0,), steps=100)


class Result(NamedTuple):
    inverse_density: Float[Tensor, " points"]
    W: Float[Tensor, "points polytopes hidden features"]  # in the order of PAPER_POLYTOPES
    benefit: Float[Tensor, "points polytopes"]  # see packing.py
    predicted: Float[Tensor, "points polytopes"]  # the benefit of the start, by prediction


def run(settings, *, seed=0, device="cpu", progress=True):
    """The copies fill all hidden dimensions; the other features start at zero, but for the noise."""
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    density, size = 1 / inverse_density, (settings.features, settings.hidden)
    optima = polytope_optima(density, PAPER_POLYTOPES, progress=progress)
    starts = [product_of_copies(name, optimum, *size, density) for name, optimum in optima.items()]
    W, b = (torch.stack(values, dim=1).flatten(0, 1).float() for values in zip(*starts))
    W += settings.noise * torch.randn(W.shape, generator=torch.Generator().manual_seed(seed))
    distribution = FeatureDistribution(density[:, None], features=settings.features).with_restarts(len(optima))
    distribution, model = distribution.to(device), ReLUOutputModel.from_weights(W.to(device), b.to(device))
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, distribution, seed=seed, progress=progress, **how)
    saved = sampled_benefit(model, distribution, rows=2**17)
    W, benefit = (values.detach().cpu().unflatten(0, (-1, len(optima))) for values in (model.W, saved))
    predicted = torch.stack([optimum.benefit for optimum in optima.values()], dim=1)
    return Result(inverse_density, W, benefit, predicted)


def best(result):
    """At each density the polytope that saves most, of those that still save what is predicted after training."""
    kept = (result.benefit - result.predicted).abs() < KEPT  # the others have become another polytope
    return [PAPER_POLYTOPES[k] for k in torch.where(kept, result.benefit, 0).argmax(dim=1).tolist()]
