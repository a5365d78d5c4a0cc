"""At which levels do the dimensionalities of features cluster, and what takes a part of them?

The paper sees the dimensionalities of single features cluster at 3/4, 2/3, 1/2, 2/5 and 3/8, the
levels of polytopes (Section 4). Here these clusters are looked for at each density by itself, as
the paper's scatter plot shows them.

Where features are dense, those that are not represented have small weights and so a part of the
dimensions. A polytope is then at its share of what is left: a feature of a tetrahedron has 3/4 of
what the unrepresented features leave along it, as the squared cosines of the tetrahedron's four
features with it sum to 4/3.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

from collections import Counter
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from experiments.section4.uniform_superposition import FOUND
from geometry import dimensionality, represented
from theory.polytopes import PAPER_POLYTOPES, POLYTOPES, peaks, tegum_factors

NEAR_TETRAHEDRA = 0.05  # distance from 3/4 within which a feature looks like a tetrahedron's


def clusters(
    density: Float[Tensor, " points"], W: Iterable[Float[Tensor, "models hidden features"]]
) -> dict[str, list[float]]:
    """Return the densities at which dimensionalities cluster at the level of each paper's polytope.

    They do where a peak (theory.polytopes.peaks) has more than FOUND of the represented features.
    Features that are not represented take a part of the dimensions, and the level of a polytope is
    a share of what they leave: only represented features count in the dimensionalities.

    Args:
        density: The density of each point.
        W: Weights of the models at each point.

    Returns:
        For each of PAPER_POLYTOPES the points with a cluster, in their order.
    """
    found = {name: [] for name in PAPER_POLYTOPES}
    for at, models in zip(density.tolist(), W):
        for name, share in peaks(without_weak(models)).items():
            if share > FOUND:
                found[name].append(at)
    return found


def without_weak(W: Float[Tensor, "models hidden features"]) -> Tensor:
    """Return the weights (models, hidden, features) with zeros for features not represented."""
    return torch.where(represented(W)[:, None], W, 0)


def dimensionalities_in(polytope, W: Float[Tensor, "models hidden features"]) -> Tensor:
    """Return the dimensionality (found,) of every feature that is in a polytope, over models."""
    values = dimensionality(W)
    found = [
        values[model, list(factor.features)]
        for model, weights in enumerate(W)
        for factor in tegum_factors(weights)
        if factor.polytope == polytope
    ]
    return torch.cat([values.new_empty(0), *found])


def near_tetrahedra(W: Float[Tensor, "models hidden features"]) -> dict[str, int]:
    """Count represented features of a dimensionality near 3/4, by what they are a part of.

    Near is within NEAR_TETRAHEDRA.
    """
    level = POLYTOPES["tetrahedron"].dimensionality
    near = (dimensionality(W) - level).abs() <= NEAR_TETRAHEDRA
    counts = Counter()
    for is_near, weights in zip(near, W):
        for factor in tegum_factors(weights):
            counts[factor.polytope] += int(is_near[list(factor.features)].sum())
    return counts
