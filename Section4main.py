"""Section 4, the geometry of superposition: equally important features arrange themselves as polytopes.

    python Section4main.py              # the paper's settings and the search for its polytopes, 15 minutes on 2 cores
    python Section4main.py --quick      # the same path, small, in seconds
    python Section4main.py --seed 3 --out /tmp/section4

Trains ReLU output models of equally important features over density: n=400, m=30 as the paper does,
n=100, m=10 for much longer, each of the paper's five polytopes where it is found best, and several
n/m; predicts the best polytope at each density from the exact loss, with nothing trained. The second
half, features that are not all alike, is in nonuniform.py. Saves the figures under figures/ and
prints claims 4.1 to 4.12.
"""

import sys
from collections import Counter

import numpy as np
import torch

import nonuniform
import theory
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
from training import sampled_loss, train


def logarithmic(low, high, points):
    """Values of 1/(1-S) from low to high in equal ratios, as a list."""
    return [round(low * (high / low) ** (k / (points - 1)), 4) for k in range(points)]


PAPER_POLYTOPES = ("tetrahedron", "triangle", "digon", "pentagon", "square antiprism")
LONG = {"batch_size": 256, "lr": 3e-3, "init_scale": 0.1}  # many more features than dimensions: long and noisy
CROWDED = {"batch_size": 512, "lr": 1e-2, "init_scale": 0.1, "steps": 5000}  # as many features as polytopes need
SETTINGS = {
    "uniform": {  # the paper's sizes
        "features": 400, "hidden": 30, "inverse_density": logarithmic(1, 20, 50),
        "steps": 4000, "batch_size": 256, "lr": 5e-3, "init_scale": 0.03,
    },
    "long": LONG
    | {
        "features": 100, "hidden": 10, "steps": 20_000, "lr": 6e-3,
        "inverse_density": [  # finest where one polytope gives way to another
            *logarithmic(1.1, 1.75, 15), *logarithmic(1.9, 3.6, 6), *logarithmic(3.8, 6, 18), 7.0, 8.0,
        ],
    },
    "search": {  # where each polytope is found best
        "tetrahedron": CROWDED | {"features": 24, "hidden": 18, "inverse_density": [2.0]},
        "triangle": CROWDED | {"features": 18, "hidden": 12, "inverse_density": [1.6]},
        "digon": CROWDED | {"features": 24, "hidden": 12, "inverse_density": [3.0]},
        "pentagon": LONG | {"features": 200, "hidden": 20, "inverse_density": [4.4], "steps": 6000, "lr": 5e-3},
        "square antiprism": CROWDED
        | {"features": 24, "hidden": 9, "inverse_density": [5.6], "steps": 10_000, "lr": 5e-3},
    },
    "restarts": 10,
    "study": LONG | {"features": 100, "hidden": 10, "inverse_density": [1.5]},
    "study_steps": [2500, 5000, 10_000, 20_000, 40_000],
    "map": LONG | {
        "features": [16, 18, 24, 36, 60, 120], "hidden": 12, "steps": 10_000, "lr": 6e-3,
        "inverse_density": [1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 2, 2.5, 3, 3.5, 4, 4.4, 4.8, 5.4, 6],
    },
    "started": {
        "features": 100, "hidden": 12, "inverse_density": [1.18, 1.4, 1.8, 3.0, 4.65, 6.0], "noise": 0.03,
        "steps": 4000, "batch_size": 256, "lr": 2e-3,
    },
    "predicted": {"inverse_density": logarithmic(1.01, 20, 48), "polytopes": list(POLYTOPES)},
    "nonuniform": nonuniform.SETTINGS,
}  # fmt: skip
_SHORT = {"features": 24, "hidden": 9, "steps": 400, "batch_size": 128, "lr": 2e-2, "init_scale": 0.1}
QUICK = {
    "uniform": SETTINGS["uniform"] | {
        "features": 60, "hidden": 10, "inverse_density": logarithmic(1, 20, 8), "steps": 400, "batch_size": 128,
        "lr": 1e-2,
    },
    "long": _SHORT | {"inverse_density": logarithmic(1, 8, 6)},
    "search": {polytope: _SHORT | {"inverse_density": [3.0], "steps": 200} for polytope in PAPER_POLYTOPES},
    "restarts": 2,
    "study": _SHORT | {"inverse_density": [1.5]},
    "study_steps": [50, 100],
    "map": _SHORT | {"features": [12, 24], "inverse_density": [1.5, 3.0], "steps": 200},
    "started": SETTINGS["started"] | {"inverse_density": [3.0], "steps": 100},
    "predicted": {
        "inverse_density": logarithmic(1.05, 20, 12),
        "polytopes": ["dedicated dimension", *PAPER_POLYTOPES],
    },
    "nonuniform": nonuniform.QUICK,
}  # fmt: skip
SHOWN = (1.5, 1.62, 2.9, 4.7, 5.5)  # 1/(1-S) of the models drawn as graphs
STICKY = 0.03  # D* is at a level where it is no further off than this, relative
KEPT = 0.02  # a model that saves no more or less than its polytope by prediction, up to this, still is that polytope
FOUND = 0.05  # a polytope is present at a density where more than this share of the represented features are in it


def run(settings, seed=0, device="cpu", progress=True):
    """Both halves of the section, as a dict of tensors: of equally important features, and nonuniform.run."""
    shared = {"seed": seed, "device": device, "progress": progress}
    return run_uniform(settings, **shared) | nonuniform.run(settings["nonuniform"], **shared)


def run_uniform(settings, seed=0, device="cpu", progress=True):
    """Trained models of all experiments and the optimum of each polytope, as a dict of tensors.

    "uniform/…" and "long/…": sweeps over density, one model each; "search/{polytope}/…": restarts at one density;
    "study/{steps}/…": restarts at one dense setting, trained for shorter and longer; "map/{features}/…": sweeps at one
    m. Of each what `trained` returns; "started/…": what `started` does. "predicted/inverse_density" (densities,) and
    "predicted/{polytope}", the values of a theory.PolytopeOptimum (4, densities).
    """
    shared = {"seed": seed, "device": device, "progress": progress}
    search, restarts = settings["search"], settings["restarts"]
    runs = {name: settings[name] for name in ("uniform", "long")}
    runs |= {f"search/{polytope}": search[polytope] | {"restarts": restarts} for polytope in search}
    study = settings["study"] | {"restarts": restarts}
    runs |= {f"study/{steps}": study | {"steps": steps} for steps in settings["study_steps"]}
    runs |= {f"map/{features}": settings["map"] | {"features": features} for features in settings["map"]["features"]}
    results = {}
    for name, chosen in runs.items():
        results |= {f"{name}/{key}": value for key, value in trained(**chosen, **shared).items()}
    results |= {f"started/{key}": value for key, value in started(**settings["started"], **shared).items()}
    results["predicted/inverse_density"] = inverse_density = _numbers(settings["predicted"]["inverse_density"])
    optima = theory.polytope_optima(1 / inverse_density, settings["predicted"]["polytopes"], progress=progress)
    return results | {f"predicted/{polytope}": torch.stack(optimum) for polytope, optimum in optima.items()}


def trained(
    features, hidden, inverse_density, *, init_scale, restarts=1, seed=0, device="cpu", progress=True, **settings
):
    """Models of equally important features, trained at each density, `settings` as for training.train.

    -> "inverse_density" (points,), "steps" (); of all restarts "W" (points * restarts, hidden, features) and "benefit"
    (points * restarts,), per hidden dimension, in units of what a dedicated dimension saves
    """
    inverse_density = _numbers(inverse_density)
    distribution = FeatureDistribution(1 / inverse_density[:, None], features=features).with_restarts(restarts)
    distribution = distribution.to(device)
    model = ReLUOutputModel(distribution.instances, features, hidden, seed=seed, device=device, init_scale=init_scale)
    train(model, distribution, seed=seed, progress=progress, **settings)
    return {
        "inverse_density": inverse_density,
        "steps": torch.tensor(settings["steps"]),
        "W": model.W.detach(),
        "benefit": benefit(model, distribution),
    }


def started(features, hidden, inverse_density, *, noise, seed=0, device="cpu", progress=True, **settings):
    """Models that start as a product of copies of one polytope, shaken, and are trained on: each of PAPER_POLYTOPES.

    The copies fill all hidden dimensions, at the predicted scale and bias; the other features start at zero. Noise of
    this standard deviation is added to all weights.
    -> "inverse_density" (points,), "W" (points, polytopes, hidden, features), "benefit" (points, polytopes) and
    "predicted", what the start would save by prediction, the same shape
    """
    inverse_density = _numbers(inverse_density)
    optima = theory.polytope_optima(1 / inverse_density, PAPER_POLYTOPES, progress=progress)
    starts = [theory.product_of_copies(name, optima[name], features, hidden, 1 / inverse_density) for name in optima]
    W, b = (torch.stack(values, dim=1).flatten(0, 1).float() for values in zip(*starts))
    W += noise * torch.randn(W.shape, generator=torch.Generator().manual_seed(seed))
    distribution = FeatureDistribution(1 / inverse_density[:, None], features=features).with_restarts(len(optima))
    distribution, model = distribution.to(device), ReLUOutputModel.from_weights(W.to(device), b.to(device))
    train(model, distribution, seed=seed, progress=progress, **settings)
    saved = benefit(model, distribution, rows=2**17)
    by_point = (-1, len(optima))
    return {
        "inverse_density": inverse_density,
        "W": model.W.detach().unflatten(0, by_point),
        "benefit": saved.unflatten(0, by_point),
        "predicted": torch.stack([optimum.benefit for optimum in optima.values()], dim=1),
    }


def benefit(model, distribution, rows=2**16):
    """What a model saves beside one that represents nothing, over m (s/3 - s^2/4): (instances,), sampled.

    The same rows serve both, so that most of the noise cancels.
    """
    nothing = model.select(slice(None))
    nothing.W.data.zero_()
    nothing.b.data.copy_(distribution.density / 2)
    losses = [sampled_loss(chosen, distribution, rows=rows) for chosen in (nothing, model)]
    return (losses[0] - losses[1]) / (model.hidden * theory.ignored_loss(1, distribution.density[:, 0]))


def _numbers(values):
    return torch.tensor(values, dtype=torch.float64)


# What the runs show


def shares(results, name):
    """{polytope: share of the represented features in it} at each point of a run: tensors (points,), all restarts."""
    points = len(results[f"{name}/inverse_density"])
    by_point = results[f"{name}/W"].unflatten(0, (points, -1))
    counted = []
    for models in by_point:
        features = Counter()
        for W in models:
            for factor in tegum_factors(W):
                features[factor.polytope] += len(factor.features)
        counted.append(features)
    names = [polytope for polytope in (*POLYTOPES, "irregular") if any(polytope in features for features in counted)]
    return {
        polytope: _numbers([features[polytope] / max(features.total(), 1) for features in counted])
        for polytope in names
    }


def optima(results):
    """The predicted optimum of each polytope: {name: theory.PolytopeOptimum} over "predicted/inverse_density"."""
    names = [key.removeprefix("predicted/") for key in results if key.startswith("predicted/")]
    return {name: theory.PolytopeOptimum(*results[f"predicted/{name}"]) for name in POLYTOPES if name in names}


def predicted_windows(results):
    """Where each polytope is predicted to be the best: theory.windows of the predicted optima."""
    return theory.windows(1 / results["predicted/inverse_density"], optima(results))


def measured_windows(results, name):
    """{polytope: lowest, highest 1/(1-S)} at which more than FOUND of the represented features of a run are in it."""
    inverse_density, windows = results[f"{name}/inverse_density"], {}
    for polytope, share in shares(results, name).items():
        present = inverse_density[share > FOUND]
        if len(present):
            windows[polytope] = present.min().item(), present.max().item()
    return windows


def found(results, polytope):
    """In how many restarts of its search a polytope was found, and how many there were."""
    models = results[f"search/{polytope}/W"]
    return sum(any(factor.polytope == polytope for factor in tegum_factors(W)) for W in models), len(models)


def figures(results):
    """All figures of the section by name."""
    return {
        "section4-long": polytopes_figure(results, "long"),
        "section4-uniform": polytopes_figure(results, "uniform"),
        "section4-predicted": predicted_figure(results),
        "section4-map": map_figure(results),
        "section4-study": study_figure(results),
        **nonuniform.figures(results),
    }


def polytopes_figure(results, name):
    """D*, dimensionalities and the predicted staircase, shares of features in each polytope, and models as graphs."""
    inverse_density, W = results[f"{name}/inverse_density"], results[f"{name}/W"]
    nearest = (inverse_density[:, None].log() - torch.tensor(SHOWN).log()).abs().argmin(dim=0)
    return visualization.polytopes_figure(
        inverse_density, W, shares(results, name), nearest, PAPER_POLYTOPES,
        predicted_windows(results), *_predicted_curve(results),
    )  # fmt: skip


def _predicted_curve(results):
    """1/(1-S) and the predicted D* = m / ||W||_F^2 with features without end, each (densities,)."""
    of_polytopes = optima(results)
    mixture, _ = theory.best_mixture(of_polytopes)
    return results["predicted/inverse_density"], theory.predicted_dimensions_per_feature(mixture, of_polytopes)


def predicted_figure(results):
    """The benefit of each polytope over 1/(1-S), and what trained models reach."""
    benefits = {name: optimum.benefit for name, optimum in optima(results).items()}
    measured = {
        "trained from random weights": (results["long/inverse_density"], results["long/benefit"]),
        **{
            f"trained from: {name}": (results["started/inverse_density"], results["started/benefit"][:, k])
            for k, name in enumerate(PAPER_POLYTOPES)
        },
    }
    return visualization.benefit_figure(results["predicted/inverse_density"], benefits, measured)


def map_figure(results):
    """Which polytope holds most of the represented features over 1/(1-S) and n/m: predicted and trained."""
    features = sorted(int(key.split("/")[1]) for key in results if key.startswith("map/") and key.endswith("/W"))
    hidden = results[f"map/{features[0]}/W"].shape[1]
    trained_shares = [shares(results, f"map/{count}") for count in features]
    ratio = _numbers([count / hidden for count in features])
    fine = torch.logspace(0.03, 1.05, 120, dtype=torch.float64)
    of_polytopes = optima(results)
    predicted = [_shares_of_features(theory.best_mixture(of_polytopes, value.item())[0]) for value in fine]
    return visualization.polytope_maps(
        {
            "predicted": (results["predicted/inverse_density"], fine, predicted),
            f"trained, $m={hidden}$": (results[f"map/{features[0]}/inverse_density"], ratio, trained_shares),
        }
    )


def _shares_of_features(mixture):
    """{polytope: share of the features}, from shares of the dimensions."""
    counts = {name: share / POLYTOPES[name].dimensionality for name, share in mixture.items()}
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()}


def study_figure(results):
    """The share of features in each polytope as dense features are trained for longer."""
    runs = [key.removesuffix("/W") for key in results if key.startswith("study/") and key.endswith("/W")]
    by_steps = {results[f"{name}/steps"].item(): shares(results, name) for name in runs}
    return visualization.share_bars({f"{steps:,}": by_steps[steps] for steps in sorted(by_steps)})


# Claims


def claims(results):
    """Claims 4.1 to 4.12."""
    return uniform_claims(results) + nonuniform.claims(results)


def uniform_claims(results):
    """Claims 4.1 to 4.6."""
    inverse_density, W = results["uniform/inverse_density"], results["uniform/W"]
    return [
        _claim_sticky(inverse_density, dimensions_per_feature(W)),
        _claim_clusters(results),
        _claim_tegum(inverse_density, W),
        _claim_packing(dimensionality(W).sum(dim=1) / W.shape[1]),
        _claim_found(results),
        _claim_predicted(results),
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


def _claim_clusters(results):
    near = {name: [_near(results[f"{name}/W"], p) for p in PAPER_POLYTOPES] for name in ("uniform", "long")}
    near = {"{} (n={}, m={})".format(name, *results[f"{name}/W"].shape[:0:-1]): row for name, row in near.items()}
    near["searches"] = [_near(results[f"search/{polytope}/W"], polytope) for polytope in PAPER_POLYTOPES]
    levels = [POLYTOPES[polytope].dimensionality for polytope in PAPER_POLYTOPES]
    return Claim(
        "4.2", "dimensionalities cluster at 3/4, 2/3, 1/2, 2/5 and 3/8", "all five",
        "share of represented features within 0.01 of " + ", ".join(f"{level:.3g}" for level in levels) + ": "
        + "; ".join(f"{name}: " + ", ".join(f"{share:.1%}" for share in row) for name, row in near.items()),
        any(min(row) > 0.02 for row in near.values()),
    )  # fmt: skip


def _near(W, polytope):
    """Share of the represented features whose dimensionality is within 0.01 of a polytope's."""
    values = dimensionality(W)[represented(W)]
    return ((values - POLYTOPES[polytope].dimensionality).abs() < 0.01).double().mean().item()


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


def _claim_found(results):
    counts = {polytope: found(results, polytope) for polytope in PAPER_POLYTOPES}
    settings = {
        polytope: (W.shape[2], W.shape[1], results[f"search/{polytope}/inverse_density"].item())
        for polytope, W in ((polytope, results[f"search/{polytope}/W"]) for polytope in PAPER_POLYTOPES)
    }
    return Claim(
        "4.5", "(ours) all five polytopes are found by training, each in 8 of 10 models at its setting", "-",
        ", ".join(
            "{} {}/{} (n={}, m={}, 1/(1-S)={:g})".format(polytope, *counts[polytope], *settings[polytope])
            for polytope in PAPER_POLYTOPES
        ),
        all(number >= 0.8 * models for number, models in counts.values()),
    )  # fmt: skip


def _claim_predicted(results):
    predicted = optima(results)
    where = {name: (low, high) for name, low, high in predicted_windows(results)}
    seen, of_features = measured_windows(results, "long"), shares(results, "long")
    centres, lags, compared = [], [], []
    for polytope in PAPER_POLYTOPES:
        if polytope in seen:
            centres.append(_centre(results["long/inverse_density"], of_features[polytope]))
            saves = {name: _interpolated(results, optimum.benefit, centres[-1]) for name, optimum in predicted.items()}
            lags.append(1 - saves[polytope] / max(saves.values()))
        windows = [_window(chosen.get(polytope)) for chosen in (where, seen)]
        compared.append("{} {} / {}".format(polytope, *windows))
    in_order = len(centres) == len(PAPER_POLYTOPES) and centres == sorted(centres)
    expected = [_predicted_at(results, at) for at in results["started/inverse_density"].tolist()]
    agree = sum(name == of_started for name, of_started in zip(expected, best_started(results)))
    return Claim(
        "4.6", "(ours) with nothing trained, the exact loss predicts which polytope at which density", "-",
        "1/(1-S) predicted / trained: " + ", ".join(compared)
        + f"; {'the' if in_order else 'not in the'} same order; at its centre each trained polytope is at most "
        f"{max(lags, default=1.0):.1%} worse than the best by prediction; of models that start as products of each, "
        f"the best is the predicted one at {agree} of {len(expected)} densities",
        in_order and max(lags) < 0.01 and agree == len(expected),
    )  # fmt: skip


def best_started(results):
    """At each density the polytope that saves most, of those that still save what is predicted after training."""
    saved, predicted = results["started/benefit"], results["started/predicted"]
    kept = torch.where((saved - predicted).abs() < KEPT, saved, 0)  # the others have become another polytope
    return [PAPER_POLYTOPES[k] for k in kept.argmax(dim=1).tolist()]


def _predicted_at(results, inverse_density):
    """The polytope that is predicted to be the best at one density."""
    return next(name for name, low, high in predicted_windows(results) if low <= inverse_density <= high)


def _interpolated(results, values, inverse_density):
    """Values over "predicted/inverse_density" at another 1/(1-S)."""
    return np.interp(np.log(inverse_density), results["predicted/inverse_density"].log().numpy(), values.numpy()).item()


def _centre(inverse_density, share):
    """Geometric mean of 1/(1-S), weighted by share."""
    return ((inverse_density.log() * share).sum() / share.sum()).exp().item()


def _window(ends):
    return "{:.2f} to {:.2f}".format(*ends) if ends else "never"


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
