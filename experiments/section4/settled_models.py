"""Where does sampled training stop, and where does exact descent end, in the dense regime (ours)?

Equally important features, all of one density. A model is trained by sampling, with as many steps
and rows as in the paper's notebook, and then settled: it descends on the exact loss until its
gradient has nearly vanished. Other models settle from products of smaller models, so that there are
candidates that training has to beat.

The full settings take up to two minutes for each model, so the models are committed. FILE holds
those of ten seeds and of products, of 100 features; LARGE_FILE holds products of the paper's size,
400 features in 30 dimensions. `committed` reads them, and
`python Section4main.py --settled --seeds 10` computes them again.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from checks import check_settings
from experiments.section4 import periodic_table
from features import FeatureDistribution
from losses import many_features_loss
from models import ReLUOutputModel
from sweeps import cells
from sweeps.files import claimed, write
from theory.packing import assembled, check_inverse_density
from training import settle, train

INPUTS = (periodic_table.FILE,)
FILE = Path(__file__).with_suffix(".safetensors")
LARGE_FILE = Path(__file__).with_name("settled_large_models.safetensors")
STARTS = ("sampled", "product")
NOISE = 0.02  # standard deviation added to a product's weights, since weights of 0 would stay there


@dataclass(frozen=True)
class Settings:
    """What is trained and settled; the sampled training is that of the paper's notebook."""

    features: int = 100
    hidden: int = 10
    inverse_density: tuple[float, ...] = (  # 1/(1-S), some of the periodic table's
        1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.85, 2.0, 2.5,
    )  # fmt: skip
    start: str = "sampled"  # or "product"
    copies: int = 1  # of one smaller settled model, of which a product is made; 1: of the table's
    steps: int = 10_000  # of the sampled training
    batch_size: int = 1024
    lr: float = 1e-3
    init_scale: float = 0.03
    tolerance: float = 1e-2  # norm of the settled model's gradient, relative to the start's

    def __post_init__(self):
        check_settings(self)
        check_inverse_density(self.inverse_density)
        if self.start not in STARTS:
            raise ValueError(f"start: expected one of {STARTS}, got {self.start!r}")


PRODUCT = Settings(start="product", tolerance=1e-4)  # noise makes the start's gradient large
LARGE = Settings(
    features=400,
    hidden=30,
    inverse_density=(1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.85),
    start="product",
    copies=3,
    tolerance=1e-4,
)
NOTEBOOK = Settings(
    features=40, hidden=4, inverse_density=(1.4,), steps=2000, batch_size=256, lr=5e-3
)
QUICK = replace(
    NOTEBOOK, features=16, hidden=4, inverse_density=(1.3, 2.0), steps=50, tolerance=0.1
)


class Result(NamedTuple):
    """Models where their exact descents began and where they ended."""

    inverse_density: Float64[Tensor, " models"]
    seed: Int[Tensor, " models"]
    product: Bool[Tensor, " models"]  # whether it began as a product
    start_W: Float[Tensor, "models hidden features"]
    start_b: Float[Tensor, "models features"]
    start_loss: Float64[Tensor, " models"]  # exact
    W: Float[Tensor, "models hidden features"]
    b: Float[Tensor, "models features"]
    loss: Float64[Tensor, " models"]  # exact
    gradient: Float64[Tensor, " models"]  # its norm, relative to the start's
    steps: Int[Tensor, " models"]  # of the exact descent


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train by sampling on the device; settle on the CPU. Weights are float32, losses float64."""
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    distribution = FeatureDistribution(1 / inverse_density[:, None], features=settings.features)
    if settings.start == "sampled":
        model = _trained(settings, distribution, seed, device, progress)
    else:
        model = _product(settings, seed, progress)
    start_W, start_b = model.W.detach().clone(), model.b.detach().clone()
    settled = settle(model, distribution, tolerance=settings.tolerance, progress=progress)
    return Result(
        inverse_density=inverse_density,
        seed=torch.full((len(inverse_density),), seed),
        product=torch.full((len(inverse_density),), settings.start == "product"),
        start_W=start_W,
        start_b=start_b,
        start_loss=many_features_loss(start_W, start_b, distribution),
        W=model.W.detach(),
        b=model.b.detach(),
        loss=settled.losses,
        gradient=settled.gradients,
        steps=settled.steps,
    )


def shards(settings):
    """Split the settings into one model each."""
    return [replace(settings, inverse_density=(at,)) for at in settings.inverse_density]


def effort(settings):
    """Number of weights."""
    return settings.features * settings.hidden


def joined(results) -> Result:
    """Join the models of several Results of one size."""
    return Result(*(torch.cat(values) for values in zip(*results)))


# The committed models


def committed(*, large=False) -> Result:
    """Read the committed models, of 100 features or of 400.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or it does not hold models.
    """
    return cells.read(sys.modules[__name__], LARGE_FILE if large else FILE)[0]


def save(result, *, large=False):
    """Write models as the committed ones, of 100 features or of 400."""
    file = LARGE_FILE if large else FILE
    cell = cells.Cell(sys.modules[__name__], LARGE if large else Settings(), 0, "cpu")
    with claimed(file):
        write(file, cells.serialized(cell, result))


# Starts


def _trained(settings, distribution, seed, device, progress):
    """Train models by sampling, from the same initial weights at each density."""
    models = [
        ReLUOutputModel(
            1,
            settings.features,
            settings.hidden,
            seed=seed,
            device=device,
            init_scale=settings.init_scale,
        )
        for _ in settings.inverse_density
    ]
    W = torch.cat([model.W.detach() for model in models])
    b = torch.cat([model.b.detach() for model in models])
    model = ReLUOutputModel.from_weights(W, b)
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, distribution.to(device), seed=seed, progress=progress, **how)
    return model.to("cpu")


def _product(settings, seed, progress):
    """Place smaller models in orthogonal subspaces, and add noise to all weights."""
    factors = _table_factors if settings.copies == 1 else _settled_factors
    placed = [
        assembled(
            density_factors, settings.features, settings.hidden, 1 / settings.inverse_density[k]
        )
        for k, density_factors in enumerate(factors(settings, seed, progress))
    ]
    W = torch.stack([model.W for model in placed]).float()
    b = torch.stack([model.b for model in placed]).float()
    noise = torch.randn(W.shape[1:], generator=torch.Generator().manual_seed(seed))
    return ReLUOutputModel.from_weights(W + NOISE * noise, b)


def _settled_factors(settings, seed, progress):
    """Return at each density copies of one settled product, which is smaller by their number."""
    smaller = replace(
        settings,
        features=settings.features // settings.copies,
        hidden=settings.hidden // settings.copies,
        copies=1,
    )
    result = run(smaller, seed=seed, progress=progress)
    return [[(W, b)] * settings.copies for W, b in zip(result.W, result.b)]


def _table_factors(settings, seed, progress):
    """Return at each density the arrangements of the best product that the periodic table has."""
    table = periodic_table.table()
    points = [table_point(table, at) for at in settings.inverse_density]
    return [best_product(table, point, settings.hidden).factors for point in points]


def table_point(table, inverse_density):
    """Return the index of a density in the table."""
    distance = (table.inverse_density - inverse_density).abs()
    if distance.min() > 1e-9:
        raise ValueError(
            f"inverse_density: expected values of the periodic table, got {inverse_density:g}"
        )
    return int(distance.argmin())


class Product(NamedTuple):
    """Arrangements in orthogonal subspaces, and what they save together."""

    factors: list[tuple[Tensor, Tensor]]  # W (dimensions, features) and b (features,) of each
    saved: float  # benefit per dimension, summed over the dimensions


def best_product(table, point, hidden) -> Product:
    """Find the product of the table's arrangements that saves most in some dimensions.

    Args:
        table: Result of the periodic table.
        point: Index of the density in the table.
        hidden: Number of hidden dimensions that the factors fill together.
    """
    dedicated = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    best = [Product([], 0.0)]
    for dimensions in range(1, hidden + 1):
        smaller = best[-1]
        most = Product([*smaller.factors, dedicated], smaller.saved + 1)
        for cell, height in enumerate(table.size[:, 1].tolist()):
            if height > dimensions:
                continue
            smaller = best[dimensions - height]
            saved = smaller.saved + height * table.benefit[cell, point].item()
            if saved > most.saved + periodic_table.MARGIN:
                factor = periodic_table.weights(table, cell, point)
                most = Product([*smaller.factors, factor], saved)
        best.append(most)
    return best[hidden]
