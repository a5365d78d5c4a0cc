"""The best arrangement of k equally important features in d dimensions, with no polytope presupposed (Section 4)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from checks import as_line, check_count
from features import FeatureDistribution
from losses.exact import MAX_FEATURES, expected_loss
from theory.descents import GENTLE, descend, ignored_loss
from theory.packing import placed, polytope_optimum, product_of_copies
from theory.polytopes import POLYTOPES


class Arrangement(NamedTuple):
    """The best known of k equally important features in d hidden dimensions, at each density."""

    W: Float[Tensor, "densities dimensions features"]
    b: Float[Tensor, "densities features"]
    loss: Float[Tensor, " densities"]
    benefit: Float[Tensor, " densities"]
    share: Float[Tensor, " densities"]  # of the random starts that reach it, up to SAME_BENEFIT


SAME_BENEFIT = (
    1e-4  # a descent from random weights has reached the best if it saves no less, up to this
)
SETTLED = 1e-9  # relative: what a further descent gains where a solution has settled
SCALES = (0.1, 0.3, 0.5)  # of random weights, in turn
SHAKEN = 0.05  # standard deviation of what is added to a copy of a structured start
RANDOM_STARTS = {7: 24, 8: 18, 9: 9, 10: 6, 11: 2, 12: 6}  # by features, and for fewer:
MANY_STARTS = 36
DEAR = 11  # features from which a descent takes half the steps
ROUNDS = 60  # of handing solutions on, at most


def best_arrangement(
    features, dimensions, density: Float[Tensor, " densities"], *, progress=True
) -> Arrangement:
    """The best known arrangement of equally important features at each density, by descents on the exact loss.

    Descents start from random weights of several scales, and from the catalogue: its polytopes with as many features
    and dimensions, and the best product of its smaller ones, exact and shaken. The best of each density is then handed
    on to its neighbours in density, to and fro, until nothing improves. It is no worse than the best of the catalogue.
    Densities that are close to each other help each other: the more of them, the better each. The same every time.

    Raises ValueError for densities outside of (0, 1], no dimension or fewer than one feature a dimension, and more
    than MAX_FEATURES = 12 features.
    """
    density = as_line("density", density, highest=1)
    check_count("dimensions", dimensions)
    check_count("features", features)
    if not dimensions <= features <= MAX_FEATURES:
        raise ValueError(f"features: expected {dimensions} to {MAX_FEATURES}, got {features}")
    bar = tqdm(
        desc=f"{features} in {dimensions}", unit="descent", disable=not progress, leave=False
    )
    with bar:
        found = [
            _random_solutions(features, dimensions, density),
            *_structured(features, dimensions, density),
        ]
        bar.update(len(found))
        W, b, loss = (
            torch.cat(values, dim=1) for values in zip(*found)
        )  # (densities, starts, ...)
        every, lowest = torch.arange(len(density)), loss.argmin(dim=1)
        best = [values[every, lowest] for values in (W, b, loss)]
        order = density.argsort()
        fresh = torch.ones(len(density), dtype=torch.bool)
        for _ in range(ROUNDS):
            fresh = _handed_on(best, fresh, order, density)
            bar.update()
            if not fresh.any():
                break
    benefit, of_random = (
        _benefit(values, features, dimensions, density) for values in (best[2], found[0][2].T)
    )
    return Arrangement(*best, benefit, (of_random > benefit - SAME_BENEFIT).double().mean(dim=0))


def _benefit(loss, features, dimensions, density):
    ignored = ignored_loss(1, density)
    return (features * ignored - loss) / (dimensions * ignored)


def _random_solutions(features, dimensions, density):
    """Where descents from random weights end at each density: W, b, loss (densities, starts, ...)."""
    starts = RANDOM_STARTS.get(features, MANY_STARTS)
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(
        len(density), starts, dimensions, features, generator=generator, dtype=torch.float64
    )
    W *= torch.tensor(SCALES, dtype=torch.float64).repeat(starts)[:starts, None, None]
    return _descended(W, torch.zeros_like(W[:, :, 0]), density, steps=300, lr=0.1)


def _structured(features, dimensions, density):
    """Starts from the catalogue as they are, and where descents from them end."""
    fitting = {
        name: polytope_optimum(name, density)
        for name, (of_polytope, vertices) in (
            (name, each.vertices.shape) for name, each in POLYTOPES.items()
        )
        if of_polytope <= dimensions and vertices <= features
    }
    starts = [_best_products(fitting, features, dimensions, density)]
    for name in fitting:
        if POLYTOPES[name].vertices.shape == (dimensions, features):
            starts.append(product_of_copies(name, fitting[name], features, dimensions, density))
    W, b = (torch.stack(values, dim=1) for values in zip(*starts))  # (densities, starts, ...)
    distribution = FeatureDistribution(density[:, None], features=features).with_restarts(
        W.shape[1]
    )
    yield W, b, expected_loss(W.flatten(0, 1), b.flatten(0, 1), distribution).view(len(density), -1)
    noise = torch.randn(W.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    yield _descended(W + SHAKEN * noise, b, density, steps=200, lr=3e-2)


def _best_products(optima, features, dimensions, density):
    """The product of polytopes that saves most at each density -> W, b."""
    products = list(_products(features, dimensions, list(optima)))
    saved = {
        name: optimum.benefit * len(POLYTOPES[name].vertices) for name, optimum in optima.items()
    }
    nothing = torch.zeros_like(density)
    best = torch.stack(
        [sum((saved[name] for name in names), nothing) for names in products]
    ).argmax(dim=0)
    chosen = []
    for k, names in enumerate(products[at] for at in best.tolist()):
        factors = [(placed(name, optima[name])[k], optima[name].bias[k]) for name in names]
        factors = [(W, bias.expand(W.shape[1])) for W, bias in factors]
        chosen.append(assembled(factors, features, dimensions, density[k]))
    W, b = (torch.stack(values) for values in zip(*chosen))
    return W, b


def _products(features, dimensions, names):
    """Tuples of names of polytopes that have together no more features and dimensions than there are."""
    yield ()
    for k, name in enumerate(names):
        needed, vertices = POLYTOPES[name].vertices.shape
        if needed <= dimensions and vertices <= features:
            for others in _products(features - vertices, dimensions - needed, names[k:]):
                yield (name, *others)


def assembled(
    factors, features, dimensions, density
) -> tuple[Float[Tensor, "dimensions features"], Float[Tensor, " features"]]:
    """Factors in orthogonal subspaces at one density, other features without weights and with their mean as bias.

    factors: W (dimensions, features) and b (features,) of each
    """
    W = torch.zeros(dimensions, features, dtype=torch.float64)
    b = torch.full((features,), float(density) / 2, dtype=torch.float64)
    row = column = 0
    for of_W, of_b in factors:
        height, width = of_W.shape
        W[row : row + height, column : column + width] = of_W
        b[column : column + width] = of_b
        row, column = row + height, column + width
    return W, b


def _descended(W, b, density, *, steps, lr):
    """Where descents from W, b (densities, starts, ...) end: the same, and their losses."""
    shape, steps = W.shape[:2], steps // 2 if W.shape[3] >= DEAR else steps
    distribution = FeatureDistribution(density[:, None], features=W.shape[3]).with_restarts(
        shape[1]
    )
    model, losses = descend(W.flatten(0, 1), b.flatten(0, 1), distribution, steps=steps, lr=lr)
    return *(values.detach().unflatten(0, shape) for values in (model.W, model.b)), losses.view(
        shape
    )


def _handed_on(best, fresh, order, density):
    """Descend from solutions that are fresh, at their densities and their neighbours', in place; what got better.

    best: W, b and loss at each density; order: densities as they follow each other
    """
    along = torch.cat(
        [
            torch.stack(pair)
            for pair in ((order, order), (order[:-1], order[1:]), (order[1:], order[:-1]))
        ],
        1,
    )
    source, to = along[:, fresh[along[0]]]
    W, b, losses = (
        values[:, 0]
        for values in _descended(
            best[0][source, None], best[1][source, None], density[to], steps=150, lr=GENTLE
        )
    )
    better = torch.zeros_like(fresh)
    for k, at in enumerate(to.tolist()):
        if losses[k] < best[2][at]:
            better[at] |= losses[k] < best[2][at] * (1 - SETTLED)
            for values, found in zip(best, (W, b, losses)):
                values[at] = found[k]
    return better
