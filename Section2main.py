"""Section 2, demonstrating superposition: with sparse features a ReLU model represents more features than dimensions.

    python Section2main.py              # the paper's settings, about a minute on 2 cores
    python Section2main.py --quick      # the same path, small, in seconds
    python Section2main.py --seed 3 --out /tmp/section2

Trains linear and ReLU output models at n=20, m=5 and n=80, m=20, and the introduction's n=5, m=2;
saves the figures under figures/ and prints claims 2.1 to 2.5.
"""

import sys

import torch

import visualization
from claims import Claim
from features import FeatureDistribution
from geometry import in_superposition, represented, tegum_factors
from models import LinearModel, ReLUOutputModel
from sweeps import section_main
from training import train_best

DENSITIES = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001]
SIZES = {
    "n20": {"features": 20, "hidden": 5, "decay": 0.7},
    "n80": {"features": 80, "hidden": 20, "decay": 0.9},
}
LINEAR = {"restarts": 2, "steps": 3000, "batch_size": 512, "lr": 3e-2}
RELU = {"steps": 3000, "batch_size": 256, "lr": 2e-2}
SETTINGS = {
    "densities": DENSITIES,
    "introduction": {
        "features": 5, "hidden": 2, "decay": 0.9, "densities": [1.0, 0.2, 0.1],
        "restarts": 8, "steps": 2000, "batch_size": 256, "lr": 2e-2,
    },
    "linear": {"n20": LINEAR, "n80": LINEAR},
    "relu": {"n20": RELU | {"restarts": 16}, "n80": RELU | {"restarts": 4}},
}  # fmt: skip
QUICK_TRAINING = {"restarts": 2, "steps": 300, "batch_size": 128, "lr": 3e-2}
QUICK = {
    "densities": DENSITIES,
    "introduction": SETTINGS["introduction"] | {"restarts": 4, "steps": 300},
    "linear": dict.fromkeys(SIZES, QUICK_TRAINING),
    "relu": dict.fromkeys(SIZES, QUICK_TRAINING),
}


def run(settings, seed=0, device="cpu", progress=True):
    """Weights and biases of the best restart of every model of the section, as a dict of tensors.

    "{size}/{model}/W" (densities, hidden, features) and "/b" for each of SIZES and linear, relu;
    the introduction's models under "introduction/W" and "/b"; "densities", "introduction/densities".
    """
    results = {"densities": torch.tensor(settings["densities"])}
    for size, shape in SIZES.items():
        for kind, model_class in (("linear", LinearModel), ("relu", ReLUOutputModel)):
            distribution = falling_importance(settings["densities"], shape["features"], shape["decay"])
            model, _ = train_best(
                model_class,
                distribution.to(device),
                shape["hidden"],
                seed=seed,
                progress=progress,
                **settings[kind][size],
            )
            results |= {f"{size}/{kind}/W": model.W.detach(), f"{size}/{kind}/b": model.b.detach()}
    return results | introduction(**settings["introduction"], seed=seed, device=device, progress=progress)


def introduction(features, hidden, decay, densities, *, device, **training):
    """The introduction's figure: a few features in the plane, at several densities."""
    distribution = falling_importance(densities, features, decay)
    model, _ = train_best(ReLUOutputModel, distribution.to(device), hidden, **training)
    return {
        "introduction/densities": torch.tensor(densities),
        "introduction/importance": distribution.importance[0],
        "introduction/W": model.W.detach(),
        "introduction/b": model.b.detach(),
    }


def falling_importance(densities, features, decay):
    """One instance for each density, importance I_i = decay^i."""
    return FeatureDistribution(torch.tensor(densities)[:, None], decay ** torch.arange(features, dtype=torch.float64))


def figures(results):
    """All figures of the section by name."""
    return {
        "section2-introduction": arrows_figure(results),
        **{f"section2-{size}": panels_figure(results, size) for size in SIZES},
        "section2-represented": counts_figure(results),
    }


def arrows_figure(results):
    """The introduction's features as arrows in the plane."""
    names = ("W", "importance", "densities")
    return visualization.feature_arrows(*(results[f"introduction/{name}"] for name in names))


def panels_figure(results, size):
    """W^T W, b and norms of one of SIZES: the linear model, then the ReLU output model by density."""
    W, b = (torch.cat([results[f"{size}/linear/{name}"][:1], results[f"{size}/relu/{name}"]]) for name in ("W", "b"))
    titles = ["linear, density 1"] + [f"ReLU, density {density:g}" for density in results["densities"]]
    return visualization.superposition_panels(W, b, titles)


def counts_figure(results):
    """How many features the ReLU output models represent, and how many of them share, at each density."""
    return visualization.represented_counts(results["densities"], [results[f"{size}/relu/W"] for size in SIZES])


def claims(results):
    """Claims 2.1 to 2.5: the first four at n=20, m=5, the last all of them at n=80, m=20."""
    small, large = (_claims_at(results, size) for size in SIZES)
    held = sum(c.holds for c in large)
    return [
        *small,
        Claim(
            "2.5", "2.1 to 2.4 again at n=80, m=20", "yes",
            f"{held} of 4; " + "; ".join(f"{c.id}: {c.measured}" for c in large), held == 4,
        ),
    ]  # fmt: skip


def _claims_at(results, size):
    density = results["densities"]
    linear, relu = results[f"{size}/linear/W"], results[f"{size}/relu/W"]
    superposed = in_superposition(relu)
    return [
        _claim_linear(linear, results[f"{size}/linear/b"], density),
        _claim_dense_relu(relu[density == 1]),
        _claim_growth(relu, superposed),
        _claim_pairs(relu, superposed, density),
    ]


def _claim_linear(W, b, density):
    """2.1 from linear models W, b at each density."""
    hidden = W.shape[1]
    weights = top_projection_error(W).max()
    relative = b / (density[:, None] / 2)  # in units of a feature's expected value
    learned = relative[:, :hidden].square().mean(dim=1).sqrt().max()
    dropped = (relative[:, hidden:] - 1).square().mean(dim=1).sqrt().max()
    return Claim(
        "2.1", "linear model: the m most important features, orthogonal, at every density; bias 0 for these, "
        "the expected value for the rest", "exactly",
        f"W^T W off by {weights:.3f} at most; bias off by {learned:.1%} and {dropped:.1%} of the expected value (rms)",
        bool(weights < 0.1 and learned < 0.1 and dropped < 0.1),
    )  # fmt: skip


def _claim_dense_relu(W):
    error = top_projection_error(W).max()
    return Claim(
        "2.2", "ReLU output model at density 1: the same m features, orthogonal", "yes",
        f"W^T W off by {error:.3f} at most", bool(error < 0.1),
    )  # fmt: skip


def _claim_growth(W, superposed):
    counts = represented(W).sum(dim=1)
    place = torch.arange(W.shape[2], dtype=torch.float32)
    dedicated = represented(W) & ~superposed
    both = superposed.any(dim=1) & dedicated.any(dim=1)  # densities where some features share and some do not
    later = [place[superposed[k]].mean() > place[dedicated[k]].mean() for k in both.nonzero().flatten()]
    return Claim(
        "2.3", "the number of represented features grows as density falls; superposition takes the least important "
        "features first", "yes",
        f"{', '.join(map(str, counts.tolist()))} represented; least important first at {sum(later)} of {len(later)} "
        "densities with both kinds",
        # no step down by more than one: the sparsest models do not all end in their best minimum
        bool((counts.diff() >= -1).all() and counts[-1] > 1.5 * counts[0] and len(later) and all(later)),
    )  # fmt: skip


def _claim_pairs(W, superposed, density):
    sharing = superposed.any(dim=1)
    first = int(sharing.int().argmax())  # the highest density with superposition
    factors = [factor for factor in tegum_factors(W[first]) if factor.polytope != "dedicated dimension"]
    pairs = sum(factor.polytope == "digon" for factor in factors)
    return Claim(
        "2.4", "the first superposition to appear is antipodal pairs", "yes",
        f"at density {density[first]:g}: {pairs} of {len(factors)} groups of features are antipodal pairs",
        bool(sharing.any() and pairs == len(factors) > 0),
    )  # fmt: skip


def top_projection_error(W):
    """max |W^T W - P| with P the projection on the m most important features: (instances,)."""
    projection = torch.diag((torch.arange(W.shape[2]) < W.shape[1]).to(W.dtype))
    return (W.mT @ W - projection).abs().amax(dim=(1, 2))


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
