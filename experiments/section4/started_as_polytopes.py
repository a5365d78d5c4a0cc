"""Which polytope is best at which density, from models that start as one (ours).

A model starts with as many copies of one of the paper's polytopes as fit into its hidden
dimensions, at the predicted scale and bias; noise is added, and it is trained. Whether a model kept
its polytope is decided by its geometry and not by its benefit, since the benefits of dense
polytopes are nearly equal. The best model that kept its polytope is compared with the prediction at
each density (predicted_polytopes.py, whose figure shows these models).
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import math
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

# A model kept its polytope if more than this share of its represented features is in it.
KEPT = 0.5
ROWS = 2**17  # on which the benefit is measured


@dataclass(frozen=True)
class Settings:
    """Models that start as polytopes, at some densities."""

    features: int = 100
    hidden: int = 12
    inverse_density: tuple[float, ...] = (1.18, 1.4, 1.8, 3.0, 4.65, 6.0)  # 1/(1-S) of each point
    noise: float = 0.03  # standard deviation of the noise that is added to all weights at the start
    steps: int = 4000
    batch_size: int = 256
    lr: float = 2e-3

    def __post_init__(self):
        """Refuse values out of range."""
        # Without these checks errors would come late, since `run` starts with the prediction.
        check_settings(self, may_be_zero=("noise",))
        check_inverse_density(self.inverse_density)


QUICK = Settings(inverse_density=(3.0,), steps=100)
NOTEBOOK = Settings(inverse_density=(1.4, 4.65), steps=1000)


class Result(NamedTuple):
    """The trained models, in the order of PAPER_POLYTOPES."""

    inverse_density: Float[Tensor, " points"]
    W: Float[Tensor, "points polytopes hidden features"]
    benefit: Float[Tensor, "points polytopes"]  # per hidden dimension; a dedicated one has 1


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train one model from each polytope at each density.

    The copies fill all hidden dimensions. The features that they leave over start at zero, apart
    from the noise.
    """
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    W, b = _starts(settings, 1 / inverse_density, progress)
    W += settings.noise * torch.randn(W.shape, generator=torch.Generator().manual_seed(seed))
    distribution = FeatureDistribution(1 / inverse_density[:, None], features=settings.features)
    distribution = distribution.with_restarts(len(PAPER_POLYTOPES)).to(device)
    model = ReLUOutputModel.from_weights(W.to(device), b.to(device))
    train(
        model,
        distribution,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        seed=seed,
        progress=progress,
    )
    benefit = sampled_benefit(model, distribution, rows=ROWS, seed=seed)
    return Result(
        inverse_density=inverse_density,
        W=model.W.detach().cpu().unflatten(0, (-1, len(PAPER_POLYTOPES))),
        benefit=benefit.cpu().unflatten(0, (-1, len(PAPER_POLYTOPES))),
    )


def _starts(settings, density, progress):
    """Return W and b of copies of each polytope, the polytopes of a density in a row."""
    optima = polytope_optima(density, PAPER_POLYTOPES, progress=progress)
    starts = [
        product_of_copies(name, optimum, settings.features, settings.hidden, density)
        for name, optimum in optima.items()
    ]
    W = torch.stack([W for W, _ in starts], dim=1)  # (points, polytopes, hidden, features)
    b = torch.stack([b for _, b in starts], dim=1)
    return W.flatten(0, 1).float(), b.flatten(0, 1).float()


# What the models show


def kept(result) -> Bool[Tensor, "points polytopes"]:
    """Return which models have more than KEPT of their features in the polytope they started as."""
    rows = []
    for models in result.W:
        shares = [polytope_shares(tegum_factors(W)) for W in models]
        rows.append([share.get(name, 0) > KEPT for share, name in zip(shares, PAPER_POLYTOPES)])
    return torch.tensor(rows)


def best(result) -> list[str | None]:
    """Return at each density the polytope of largest benefit among those that were kept.

    A density at which no model kept its polytope has None.
    """
    benefit = torch.where(kept(result), result.benefit, -torch.inf)
    highest, index = benefit.max(dim=1)
    return [
        PAPER_POLYTOPES[k] if math.isfinite(value) else None
        for value, k in zip(highest.tolist(), index.tolist())
    ]
