"""The zoo: trained models for other people's tools, each with a certificate of what it is.

    python zoo.py            # train all models from fixed seeds and write zoo/, about a minute on one core
    python zoo.py --check    # measure every certificate in zoo/ anew

A certificate says the loss and its standard error, 0 where the loss is exact: for every model of tied weights without a
ReLU in the hidden layer. The gap is by how much the loss is above the best known, relative: the best of its restarts
and, for independent features that are equally important, of the products of the periodic table's arrangements. Then the
norm of the exact gradient; the lowest eigenvalue of the exact Hessian but for rotations; how many features are
represented; the tegum factors by their polytope.

What cannot be had is null. Losses of the models with a ReLU in the hidden layer have no closed form here: they are
sampled, and nothing is known of gap, gradient and curvature. Of models trained on samples there is no eigenvalue, as
they are not at a minimum: it belongs to where their gradient, of 1e-3 or so, vanishes.
"""

import argparse
import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from experiments.section4 import periodic_table
from features import FeatureDistribution
from geometry import represented
from models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel
from storage import read, save
from theory.descents import ignored_loss
from theory.polytopes import POLYTOPES, tegum_factors
from theory.stationary import exact_gradient, hessian, nearest_stationary
from training import best_restart, sampled_loss, train

FOLDER = Path(__file__).resolve().parent / "zoo"
EXACT_FEATURES = 8  # up to which a model is trained exactly, and its Hessian certified
NEWTON = 20  # steps to the minimum after an exact descent
SAMPLES = 16  # seeds of `sampled_loss` that make a sampled loss and its standard error
ROWS = 2**13  # of each
SAME = 1e-6  # relative, and absolute for slopes and curvatures: how well certificates must agree
LEAST = 1e-12  # loss that is about zero
STANDARD_ERRORS = 5  # and how well sampled losses must, of fresh samples


@dataclass(frozen=True)
class Entry:
    """A model of the zoo: what it is, what it is trained on, how, and a polytope that must be among its factors."""

    hidden: int
    inputs: dict
    kind: type = ReLUOutputModel
    training: dict = field(
        default_factory=lambda: {"restarts": 16, "steps": 600, "lr": 0.05, "exact": True}
    )
    polytope: str | None = None

    @property
    def distribution(self):
        return FeatureDistribution(**self.inputs)

    @property
    def described(self):
        """The training, with what else decides where it ends."""
        start = {"first_restart": f"the {self.polytope}'s vertices"} if self.polytope else {}
        return (
            self.training | start | ({"newton_steps": NEWTON} if "exact" in self.training else {})
        )


def _sampled(restarts, steps, lr=1e-2, batch_size=256):
    return {"restarts": restarts, "steps": steps, "lr": lr, "batch_size": batch_size}


def _falling(features, factor):
    """Importances of the features of one instance."""
    return [[factor**i for i in range(features)]]


def _in_sets(features, set_size, correlation, density):
    return {
        "density": density,
        "features": features,
        "set_size": set_size,
        "correlation": correlation,
    }


ENTRIES = {
    "n5-m2-dense": Entry(2, {"density": 1.0, "importance": _falling(5, 0.9)}),
    "n5-m2-density-0.2": Entry(2, {"density": 0.2, "importance": _falling(5, 0.9)}),
    "n5-m2-density-0.05": Entry(2, {"density": 0.05, "importance": _falling(5, 0.9)}),
    "digon": Entry(1, {"density": 0.05, "features": 2}, polytope="digon"),
    "triangle": Entry(2, {"density": 0.05, "features": 3}, polytope="triangle"),
    "pentagon": Entry(2, {"density": 0.05, "features": 5}, polytope="pentagon"),
    "tetrahedron": Entry(3, {"density": 0.05, "features": 4}, polytope="tetrahedron"),
    "square-antiprism": Entry(3, {"density": 0.05, "features": 8}, polytope="square antiprism"),
    "correlated-pairs": Entry(2, _in_sets(4, 2, "correlated", 0.1)),
    "anticorrelated-pairs": Entry(2, _in_sets(4, 2, "anticorrelated", 0.1)),
    "octahedron": Entry(3, _in_sets(6, 3, "correlated", 0.05)),
    "n20-m5": Entry(5, {"density": 0.05, "features": 20}, training=_sampled(8, 3000)),
    "n40-m10": Entry(10, {"density": 0.05, "features": 40}, training=_sampled(4, 3000)),
    "two-sets-of-ten": Entry(10, _in_sets(20, 10, "correlated", 0.1), training=_sampled(4, 2000)),
    "hidden-relu-n10-m5": Entry(
        5,
        {"density": 0.1, "importance": _falling(10, 0.75)},
        ReLUHiddenModel,
        _sampled(64, 2000, 2e-2),
    ),
    "absolute-value-n3-m6": Entry(
        6,
        {"density": 1.0, "features": 3, "signed": True},
        AbsoluteValueModel,
        _sampled(64, 1500, 3e-2),
    ),
    "absolute-value-n100-m40": Entry(
        40,
        {"density": 0.01, "importance": _falling(100, 0.8), "signed": True},
        AbsoluteValueModel,
        _sampled(1, 3000),
    ),
}


def made(entry, seed=0):
    """The best model of an entry's restarts, and its gap to the best known: None where its loss is sampled.

    Raises RuntimeError where no restart has the entry's polytope.
    """
    inputs, settings = entry.distribution, dict(entry.training)
    restarts = settings.pop("restarts")
    repeated, exact = inputs.with_restarts(restarts), "exact" in settings
    dtype = torch.float64 if exact else torch.float32
    model = entry.kind(restarts, inputs.features, entry.hidden, seed=seed, dtype=dtype)
    if entry.polytope:  # one run starts there, as another arrangement may be better
        model.W.data[0] = POLYTOPES[entry.polytope].vertices
    history = train(model, repeated, seed=seed, progress=False, **settings)
    if not has_exact_loss(model):
        return model.select(best_restart(sampled_loss(model, repeated), restarts)), None
    if not exact:
        losses = torch.stack(
            [exact_slope(model.select([k]), inputs).loss[0] for k in range(restarts)]
        )
        chosen = losses.argmin()
        return model.select(chosen), gap(losses[chosen], losses, inputs, entry.hidden)
    losses = history.losses[-1]
    wanted = [
        entry.polytope is None
        or any(factor.polytope == entry.polytope for factor in tegum_factors(W))
        for W in model.W.detach()
    ]
    if not any(wanted):
        raise RuntimeError(f"no restart holds a {entry.polytope}")
    chosen = losses.where(torch.tensor(wanted), math.inf).argmin()
    of_all = entry.kind.from_weights(
        *_at_minimum(model.select(torch.stack((chosen, losses.argmin()))), inputs.with_restarts(2))
    )
    found = exact_gradient(of_all.W, of_all.b, inputs.with_restarts(2)).loss
    return of_all.select([0]), gap(found[0], found, inputs, entry.hidden)


def has_exact_loss(model):
    return isinstance(model, ReLUOutputModel) and model.closed_form == "relu"


def exact_slope(model, distribution):
    """The exact loss and gradient of one instance, by the recursion for few features, by Fourier series for many."""
    return exact_gradient(model.W.detach(), model.b.detach(), distribution)


def gap(loss, losses, distribution, hidden):
    """By how much a loss is above the best known, relative: the lowest of losses, or what the table knows."""
    best = min(losses.min().item(), best_product(distribution, hidden))
    return max(0.0, loss.item() / best - 1)


def best_product(distribution, hidden) -> float:
    """The lowest loss of a product of the periodic table's arrangements; infinity for inputs that are not in it."""
    density, features = distribution.density[0, 0], distribution.features
    table = periodic_table.table()
    at = torch.isclose(1 / table.inverse_density, density, rtol=1e-9).nonzero().flatten().tolist()
    alike = (distribution.density == density).all() and (distribution.importance == 1).all()
    if not (at and alike and distribution.correlation == "independent" and not distribution.signed):
        return math.inf
    saved = {
        tuple(size): d * size[1]
        for size, d in zip(table.size.tolist(), table.benefit[:, at[0]].tolist())
    }
    most = [
        [0.0] * (hidden + 1) for _ in range(features + 1)
    ]  # by features and dimensions, in dedicated dimensions
    for n in range(1, features + 1):
        for m in range(1, hidden + 1):
            fitting = [
                most[n - k][m - d] + gain for (k, d), gain in saved.items() if k <= n and d <= m
            ]
            most[n][m] = max(most[n - 1][m - 1] + 1, *fitting, 0.0)
    return ((features - most[features][hidden]) * ignored_loss(1, density)).item()


def _at_minimum(model, inputs):
    return nearest_stationary(model.W.detach(), model.b.detach(), inputs, NEWTON)


def certificate(model, distribution, gap=None, seed=0):
    """What can be measured of a model of one instance, as the docstring above says; the gap is passed on."""
    W = model.encoder.detach()
    norm = lowest = None
    if has_exact_loss(model):
        gradient = exact_slope(model, distribution)
        loss, error, norm = gradient.loss.item(), 0.0, gradient.norm.item()
        if model.features <= EXACT_FEATURES:
            lowest = lowest_curvature(W, model.b.detach(), distribution)
    else:
        losses = [
            sampled_loss(model, distribution, rows=ROWS, seed=SAMPLES * seed + k)
            for k in range(SAMPLES)
        ]
        error, loss = (value.item() for value in torch.std_mean(torch.cat(losses)))
        error /= SAMPLES**0.5
    factors = Counter(factor.polytope for factor in tegum_factors(W[0].double()))
    return {
        "loss": loss, "standard_error": error, "gap": gap, "gradient_norm": norm, "lowest_eigenvalue": lowest,
        "represented": int(represented(W).sum()), "factors": dict(sorted(factors.items())),
    }  # fmt: skip


def lowest_curvature(
    W: Float[Tensor, "1 hidden features"], b: Float[Tensor, "1 features"], distribution
) -> float:
    """The lowest eigenvalue of the exact Hessian across the directions in which the hidden space turns."""
    matrix, hidden = hessian(W, b, distribution)[0], W.shape[1]
    turns = []
    for i in range(hidden):
        for j in range(i):
            turn = torch.zeros_like(W[0])
            turn[i], turn[j] = W[0, j], -W[0, i]
            turns.append(torch.cat((turn.flatten(), torch.zeros_like(b[0]))))
    if turns:
        directions, sizes, _ = torch.linalg.svd(torch.stack(turns, dim=1).to(matrix))
        across = directions[:, int((sizes > 1e-9).sum()) :]
        matrix = across.mT @ matrix @ across
    return torch.linalg.eigvalsh(matrix)[0].item()


def disagreements(stored) -> list[str]:
    """Where a stored model's certificate differs from what is measured anew; the gap, where the best known is lower."""
    claimed = stored.config["certificate"]
    if claimed is None:
        return ["certificate: missing"]
    measured = certificate(stored.model, stored.distribution, claimed["gap"], seed=1)
    wrong = []
    for name, value in measured.items():
        tolerance = 0.0
        if name == "loss" and claimed["standard_error"]:
            tolerance = STANDARD_ERRORS * math.hypot(
                measured["standard_error"], claimed["standard_error"]
            )
        elif name == "standard_error" and claimed[name]:
            tolerance = claimed[name]
        elif name == "loss":
            tolerance = SAME * abs(value) + LEAST
        elif isinstance(value, float):
            tolerance = SAME * max(1.0, abs(value))
        same = (
            abs(value - claimed[name]) <= tolerance
            if isinstance(value, float)
            else value == claimed[name]
        )
        if not same:
            wrong.append(f"{name}: claimed {claimed[name]}, measured {value}")
    if claimed["gap"] is not None:
        least = max(
            0.0,
            measured["loss"] / best_product(stored.distribution, stored.model.hidden) - 1 - SAME,
        )
        if claimed["gap"] < least:
            wrong.append(f"gap: claimed {claimed['gap']}, expected at least {least}")
    return wrong


def build(names, folder=FOLDER, seed=0):
    """Train models by their names and save them with their certificates."""
    for name in names:
        entry = ENTRIES[name]
        model, gap = made(entry, seed)
        told = certificate(model, entry.distribution, gap)
        save(
            model,
            folder / name,
            entry.distribution,
            seed=seed,
            training=entry.described,
            certificate=told,
        )
        print(name, told)


def check(names, folder=FOLDER):
    """How many of the models disagree with their certificates, or cannot be read; says of each."""
    failed = 0
    for name in names:
        try:
            wrong = disagreements(read(folder / name))
        except ValueError as error:
            wrong = [str(error)]
        failed += bool(wrong)
        print(f"{name}: {'; '.join(wrong) or 'certificate holds'}")
    return failed


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="measure every certificate anew; exit status 1 if one fails",
    )
    torch.set_num_threads(1)  # more would change the order of sums, and with it the last digits
    if parser.parse_args(argv).check:
        return int(check(ENTRIES) > 0)
    build(ENTRIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
