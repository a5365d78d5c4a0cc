"""Section 4, the geometry of superposition: equally important features arrange themselves as polytopes.

    python Section4main.py              # the paper's settings, about 3 minutes on 2 cores
    python Section4main.py --quick      # the same path, small, in seconds
    python Section4main.py --seed 3 --out /tmp/section4

Trains ReLU output models of n=400 features in m=30 hidden dimensions at 50 densities; saves the
figures under figures/ and prints claims 4.1 to 4.4.
"""

import sys

import torch

import visualization
from claims import Claim
from features import FeatureDistribution
from geometry import (
    POLYTOPES,
    dimensionality,
    dimensions_per_feature,
    polytope_shares,
    represented,
    tegum_factors,
)
from models import ReLUOutputModel
from sweeps import section_main
from training import train

SETTINGS = {
    "features": 400, "hidden": 30, "points": 50, "sparsest": 20.0,
    "steps": 4000, "batch_size": 256, "lr": 5e-3, "init_scale": 0.03,
}  # fmt: skip
QUICK = SETTINGS | {"features": 60, "hidden": 10, "points": 10, "steps": 600, "batch_size": 128, "lr": 1e-2}
PAPER_POLYTOPES = ("tetrahedron", "triangle", "digon", "pentagon", "square antiprism")
SHOWN = (1.6, 2.0, 2.5, 3.6, 4.6, 8.0)  # 1/(1-S) of the models drawn as graphs
STICKY = 0.03  # D* is at a level where it is no further off than this, relative


def run(settings, seed=0, device="cpu", progress=True):
    """Uniform superposition: W (points, hidden, features) over inverse_density (points,), as a dict of tensors."""
    settings = dict(settings)
    features, hidden, points, sparsest, init_scale = (
        settings.pop(name) for name in ("features", "hidden", "points", "sparsest", "init_scale")
    )
    inverse_density = torch.logspace(0, torch.tensor(sparsest).log10().item(), points, dtype=torch.float64)
    distribution = FeatureDistribution(1 / inverse_density[:, None], features=features).to(device)
    model = ReLUOutputModel(points, features, hidden, seed=seed, device=device, init_scale=init_scale)
    train(model, distribution, seed=seed, progress=progress, **settings)
    return {"inverse_density": inverse_density, "W": model.W.detach(), "b": model.b.detach()}


def figures(results):
    """All figures of the section by name."""
    return {"section4-uniform": uniform_figure(results), "section4-graphs": graphs_figure(results)}


def uniform_figure(results):
    """D* and the dimensionalities over 1/(1-S)."""
    return visualization.uniform_superposition(results["inverse_density"], results["W"], PAPER_POLYTOPES)


def graphs_figure(results):
    """The feature geometry graphs of the models nearest to SHOWN."""
    inverse_density, W = results["inverse_density"], results["W"]
    nearest = (inverse_density[:, None].log() - torch.tensor(SHOWN).log()).abs().argmin(dim=0)
    return visualization.geometry_graphs(inverse_density[nearest], W[nearest])


# Claims


def claims(results):
    """Claims 4.1 to 4.4."""
    inverse_density, W = results["inverse_density"], results["W"]
    return [
        _claim_sticky(inverse_density, dimensions_per_feature(W)),
        _claim_clusters(W),
        _claim_tegum(inverse_density, W),
        _claim_packing(dimensionality(W).sum(dim=1) / W.shape[1]),
    ]


def longest_range(inverse_density, chosen):
    """The longest run of neighbouring points that are chosen: its lowest and highest 1/(1-S); (1, 1) if none are."""
    runs, start = [], None
    for at, now in zip(inverse_density.tolist(), chosen.tolist()):
        start = (start or at) if now else None
        if now:
            runs.append((start, at))
    return max(runs, key=lambda run: run[1] / run[0], default=(1.0, 1.0))


def _claim_sticky(inverse_density, per_feature):
    plateaus = [longest_range(inverse_density, (per_feature / level - 1).abs() < STICKY) for level in (1, 0.5)]
    return Claim(
        "4.1", "D* = m / ||W||_F^2 is sticky at 1 and at 1/2", "plateaus at both",
        ", ".join(
            f"within {STICKY:.0%} of {level} from 1/(1-S) = {low:.2f} to {high:.2f}"
            for level, (low, high) in zip(("1", "1/2"), plateaus)
        ),
        all(high / low > 1.25 for low, high in plateaus),
    )  # fmt: skip


def _claim_clusters(W):
    values = dimensionality(W)[represented(W)]
    levels = {name: POLYTOPES[name].dimensionality for name in PAPER_POLYTOPES}
    near = {name: ((values - level).abs() < 0.01).double().mean().item() for name, level in levels.items()}
    return Claim(
        "4.2", "dimensionalities cluster at 3/4, 2/3, 1/2, 2/5 and 3/8", "all five",
        "share of represented features within 0.01: "
        + ", ".join(f"{levels[name]:.3g}: {share:.1%}" for name, share in near.items()),
        all(share > 0.02 for share in near.values()),
    )  # fmt: skip


def _claim_tegum(inverse_density, W):
    named = torch.tensor([1 - polytope_shares(tegum_factors(w)).get("irregular", 0.0) for w in W])
    some = represented(W).sum(dim=1) > W.shape[1]
    low, high = longest_range(inverse_density, some & (named >= 0.9))
    return Claim(
        "4.3", "the geometry is a tegum product of polytopes", "yes",
        f"over 90% of the represented features in mutually orthogonal polytopes from 1/(1-S) = {low:.2f} to {high:.2f}",
        high / low > 1.5,
    )  # fmt: skip


def _claim_packing(filled):
    return Claim(
        "4.4", "the dimensionalities of all features sum to m where packing is efficient", "yes",
        f"{filled.min():.1%} to {filled.max():.1%} of m", bool((filled - 1).abs().max() < 0.02),
    )  # fmt: skip


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
