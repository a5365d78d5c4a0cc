"""Claims 4.3, 4.5 and 4.6: which polytopes features form, and what predicts them (Section 4).

Each claim's docstring says what would refute its findings.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import torch

from experiments.section4 import (
    dense_minima,
    predicted_polytopes,
    started_as_polytopes,
    uniform_superposition,
)
from experiments.section4.periodic_table import MARGIN
from experiments.section4.shortfalls import (
    PAPER_SIZE,
    SAMPLED_ERROR,
    SWEEPS,
    factor,
    of_settled,
    of_sweeps,
    range_numbers,
    strength_of,
)
from experiments.section4.uniform_superposition import FOUND
from sweeps import Claim, effect, ours
from sweeps.claims import BEST_KNOWN, EXACT, TRAINED, strength
from theory.polytopes import PAPER_POLYTOPES

IN_POLYTOPES = 0.9  # 4.3: "nearly all" features are at least this share
OTHERS = 2  # 4.3: least number of polytopes other than digons
PRODUCT_RANGE = 1.5  # 4.3: least factor of density over which nearly all features are in polytopes
MOST_MODELS = 0.8  # 4.5: least share of the models that show a polytope
FILLS = 0.9  # 4.5: least share of the features in a polytope that fills the space
MOST_BEHIND = 0.01  # 4.6: share by which a polytope's benefit may fall short of the best
BEYOND_TABLE = 1e-3  # 4.6: benefit that arrangements too large for the table may add


# 4.3


def claim_tegum(results):
    """Judge 4.3.

    The effect is refuted by a sweep of the paper's size in which at least nine tenths of the
    features are in polytopes, each in a subspace orthogonal to the others, over no more than a
    factor 1.5 of density. Digons are polytopes: the paper's octahedron is three of them. Ours are
    refuted if in that range fewer than two of the paper's polytopes, apart from digons, ever hold
    more than 5 % of the features; and if one of the paper's polytopes holds so many nowhere.
    """
    numbers = {}
    ranges = {}
    for each, name in PAPER_SIZE.items():
        result = getattr(results, each)
        nearly_all = uniform_superposition.in_polytopes(result, IN_POLYTOPES)
        density = 1 / result.inverse_density
        ranges[each] = uniform_superposition.longest_range(density, nearly_all)
        numbers[f"{name}: factor of density"] = factor(ranges[each])
        numbers |= range_numbers(name, ranges[each])
    return Claim(
        "4.3",
        "the geometry is a tegum product of polytopes, not of digons alone",
        "Features split into groups that are polytopes in orthogonal subspaces (Section 4)",
        (
            effect(
                f"Over more than a factor {PRODUCT_RANGE} of density, at least {IN_POLYTOPES:.0%} "
                "of the represented features are in polytopes in orthogonal subspaces, digons "
                "included, in models trained by sampling at the paper's size.",
                min(map(factor, ranges.values())) > PRODUCT_RANGE,
                numbers,
                strength_of(of_sweeps(results, PAPER_SIZE)),
            ),
            _beside_digons(results, ranges),
            _all_polytopes(results),
        ),
        "Models of the paper's size are products of polytopes over a factor {paper's size: factor "
        "of density} of density, and over {paper's size, ten times longer: factor of density} "
        "after ten times more steps. Most of these polytopes are digons; somewhere in all models, "
        "settled ones included, triangles hold up to {triangle: largest share}, tetrahedra "
        "{tetrahedron: largest share}, pentagons {pentagon: largest share} and square antiprisms "
        "{square antiprism: largest share} of the features of a density.",
        "A critic would say that the product is shown where it is nearly digons alone, and would "
        "settle models of the paper's size between densities 0.77 and 0.5, where triangles and "
        "tetrahedra are.",
    )


def _beside_digons(results, ranges):
    """Say which polytopes there are where nearly all features are in some."""
    numbers = {}
    fewest = len(PAPER_POLYTOPES)
    for each, name in PAPER_SIZE.items():
        largest = uniform_superposition.largest_shares(getattr(results, each), ranges[each])
        others = {
            polytope: largest[polytope]
            for polytope in PAPER_POLYTOPES
            if polytope != "digon" and largest.get(polytope, 0) > FOUND
        }
        numbers |= {f"{polytope} there, {name}": share for polytope, share in others.items()}
        fewest = min(fewest, len(others))
    return ours(
        f"Where {IN_POLYTOPES:.0%} of the features are in polytopes, at least {OTHERS} of the "
        f"paper's beside digons each hold more than {FOUND:.0%} of the features of some density.",
        fewest >= OTHERS,
        {"polytopes beside digons": fewest} | numbers,
        strength_of(of_sweeps(results, PAPER_SIZE)),
    )


def _all_polytopes(results):
    """Say whether each of the paper's polytopes is a factor in some sweep or settled model."""
    shares = [uniform_superposition.shares(getattr(results, each)) for each in SWEEPS]
    settled = dense_minima.trained(results.dense.models)
    shares.append(dense_minima.shares(settled, settled.W))
    largest = {
        polytope: max(share[polytope].max().item() for share in shares if polytope in share)
        if any(polytope in share for share in shares)
        else 0.0
        for polytope in PAPER_POLYTOPES
    }
    trained = [*of_sweeps(results, SWEEPS), of_settled(results.dense)]
    return ours(
        f"Each of the paper's polytopes holds more than {FOUND:.0%} of the "
        "features of a density, in some sweep or in settled models.",
        min(largest.values()) > FOUND,
        {f"{polytope}: largest share": share for polytope, share in largest.items()},
        strength_of(trained),
    )


# 4.5


def claim_found(results):
    """Judge 4.5.

    Refuted by a polytope that fewer than 8 of 10 models at its setting show. That the polytopes do
    not fill the space is refuted if each holds nine tenths of the features of the median model at
    its setting, or more.
    """
    held = {
        polytope: uniform_superposition.held_by(search, polytope)
        for polytope, search in zip(PAPER_POLYTOPES, results.searches)
    }
    models = {polytope: (share > 0).double().mean().item() for polytope, share in held.items()}
    features = {polytope: share.median().item() for polytope, share in held.items()}
    numbers = {}
    for polytope, share in held.items():
        numbers[f"{polytope}: share of features, median model"] = features[polytope]
        numbers[f"{polytope}: lowest share"] = share.min().item()
        numbers[f"{polytope}: highest share"] = share.max().item()
    strength = _search_strength(results)
    return Claim(
        "4.5",
        "(ours) all five polytopes are found by training, each in 8 of 10 models at its setting",
        "-",
        (
            ours(
                f"Each of the paper's polytopes is in at least {MOST_MODELS:.0%} of the models at "
                "its setting.",
                min(models.values()) >= MOST_MODELS,
                {"lowest share of models": min(models.values())}
                | {f"{polytope}: share of models": share for polytope, share in models.items()}
                | {"models of each": min(map(len, held.values()))},
                strength,
            ),
            ours(
                f"They do not all fill the space: at its setting, one of them holds less than "
                f"{FILLS:.0%} of the represented features of the median model.",
                min(features.values()) < FILLS,
                {"lowest share of features": min(features.values())} | numbers,
                strength,
            ),
        ),
        "Each is in a share of at least {lowest share of models} of the models at its setting. Of "
        "the features of the median model, tetrahedra hold {tetrahedron: share of features, median "
        "model}, triangles {triangle: share of features, median model}, digons {digon: share of "
        "features, median model}, pentagons {pentagon: share of features, median model} and square "
        "antiprisms {square antiprism: share of features, median model}.",
        "A critic would search for settings at which a polytope fills the space, and would start "
        "models as the product of that polytope alone, to see whether it has the lowest loss.",
    )


def _search_strength(results):
    """Return the strength of evidence of the searches.

    What decides is the median model of each beside the product of its polytope alone, which is
    known to exist at its size.
    """
    density = torch.cat([1 / search.inverse_density for search in results.searches])
    known = predicted_polytopes.polytope_benefit(results.predicted, density)
    reached = torch.stack([search.benefit.median() for search in results.searches])
    shortfall = (known.diagonal() - reached).max().item()
    return strength(shortfall, 0, SAMPLED_ERROR)


# 4.6


def claim_predicted(results):
    """Judge 4.6. The prediction is the periodic table.

    The order is refuted if the sweep of fewer features lacks one of the paper's polytopes that the
    table has a window for, or has them in another order. The windows are refuted by one of these
    polytopes that holds no more than 5 % of the features at every density in its window; settled
    models are asked for the windows that their densities reach. The benefit is refuted if that of a
    polytope, at the centre of the range in which it is trained, falls short of the table's best by
    1 % or more. The starts are refuted by a density at which the table predicts one of the paper's
    polytopes, and the best of the models that kept the polytope they started as is another one.
    That settled models do not beat the table is refuted by one that settled from sampled training
    and has a lower loss than the best product, and, for those that settled from products, by one
    that saves more by 0.001 per dimension.
    """
    windows = predicted_polytopes.windows(results.predicted)
    of_paper = [window for window in windows if window.name in PAPER_POLYTOPES]
    leading = _leading_at_starts(results, windows)
    elsewhere = [lead for lead in leading if lead not in PAPER_POLYTOPES]
    others = f" At the other densities it predicts: {', '.join(elsewhere)}." if elsewhere else ""
    return Claim(
        "4.6",
        "(ours) with nothing trained, the exact loss predicts which polytope at which density",
        "-",
        (
            _order(results, of_paper),
            _sampled_windows(results, of_paper),
            _settled_windows(results, of_paper),
            _benefit(results),
            _starts(results, leading),
            _not_beaten(results.dense),
            _table_end(results.dense),
        ),
        "{sampled: windows met} of {sampled: windows} windows are met by sampled models, and "
        "{settled: windows met} of {settled: windows} by settled ones. The best start is the "
        "predicted polytope at {densities at which it is the predicted one} of {densities at which "
        f"one of the paper's polytopes is predicted}} densities.{others}",
        "A critic would extend the table beyond ten features in five dimensions, since two groups "
        "of seven settle as one of fourteen in ten that saves more, and would ask why training "
        "forms pentagons and square antiprisms over wider ranges than their windows.",
    )


def _leading_at_starts(results, windows):
    """Return what leads in the table at each density of the models that start as polytopes."""
    densities = (1 / results.started.inverse_density).tolist()
    return [predicted_polytopes.best_at(windows, at) for at in densities]


def _order(results, windows):
    """Say whether training has the polytopes in the predicted order."""
    centres = {
        window.name: uniform_superposition.centre(results.long, window.name) for window in windows
    }
    trained = [centre for centre in centres.values() if centre is not None]
    numbers = {
        f"{name}: central density": centre for name, centre in centres.items() if centre is not None
    }
    return ours(
        "The paper's polytopes that have a window in the table are all trained, in its order.",
        len(trained) == len(windows) and trained == sorted(trained, reverse=True),
        {"polytopes trained": len(trained), "polytopes predicted": len(windows)}
        | numbers
        | {f"{window.name}: predicted from density": window.densest for window in windows}
        | {f"{window.name}: predicted to": window.sparsest for window in windows},
        strength_of(of_sweeps(results, {"long": SWEEPS["long"]})),
    )


def _sampled_windows(results, windows):
    """Say whether models trained by sampling meet the windows."""
    sweep = results.long
    met = _met(windows, 1 / sweep.inverse_density, uniform_superposition.shares(sweep))
    return _windows_finding(
        "Models trained by sampling",
        "sampled",
        met,
        strength_of(of_sweeps(results, {"long": SWEEPS["long"]})),
    )


def _settled_windows(results, windows):
    """Say whether settled models meet the windows that their densities reach."""
    models = dense_minima.trained(results.dense.models)
    densities = torch.tensor(dense_minima.densities(models), dtype=torch.float64)
    met = _met(windows, densities, dense_minima.shares(models, models.W))
    strength = strength_of([of_settled(results.dense)])
    return _windows_finding("Models settled from sampled training", "settled", met, strength)


def _windows_finding(models, label, met, strength):
    present = sum(share > FOUND for share in met.values())
    return ours(
        f"{models} have each of the paper's polytopes that the table predicts, at densities in its "
        "window.",
        present == len(met),
        {f"{label}: windows met": present, f"{label}: windows": len(met)}
        | {f"{label}: {name}, largest share in its window": share for name, share in met.items()},
        strength,
    )


def _met(windows, density, shares):
    """Return the largest share that each polytope has in its window.

    Windows in which there is no density are omitted.
    """
    met = {}
    for window in windows:
        inside = (density <= window.densest) & (density >= window.sparsest)
        if inside.any():
            share = shares.get(window.name, torch.zeros(len(inside)))
            met[window.name] = share[inside].max().item()
    return met


def _benefit(results):
    """Say how far trained polytopes are behind the best at the centres of their ranges."""
    shortfalls = {}
    for polytope in PAPER_POLYTOPES:
        centre = uniform_superposition.centre(results.long, polytope)
        if centre is not None:
            shortfalls[polytope] = predicted_polytopes.shortfall(
                results.predicted, polytope, centre
            )
    largest = max(shortfalls.values(), default=1.0)
    return ours(
        "At the centre of the range in which one of the paper's polytopes is trained, its benefit "
        f"falls short of the table's best by less than {MOST_BEHIND:.0%}.",
        largest < MOST_BEHIND,
        {"largest shortfall": largest}
        | {f"{polytope}: shortfall": share for polytope, share in shortfalls.items()},
        EXACT,
    )


def _starts(results, leading):
    """Say whether the best start is the predicted one, where that is one of the paper's."""
    # At densities at which no model kept its polytope, the best start is None.
    best = started_as_polytopes.best(results.started)
    of_paper = [(start, lead) for start, lead in zip(best, leading) if lead in PAPER_POLYTOPES]
    agree = sum(start == lead for start, lead in of_paper)
    kept = started_as_polytopes.kept(results.started)
    return ours(
        "At densities at which the table predicts one of the paper's polytopes, the best of the "
        "models that kept the polytope they started as is that one.",
        agree == len(of_paper),
        {
            "densities at which it is the predicted one": agree,
            "densities at which one of the paper's polytopes is predicted": len(of_paper),
            "densities": len(leading),
            "models that kept the polytope they started as": int(kept.sum()),
        },
        TRAINED,
    )


def _not_beaten(dense):
    """Say whether a model that settled from sampled training beats the table."""
    ahead = _ahead_of_table(dense, dense_minima.trained(dense.models))
    return ours(
        "No model that settled from sampled training saves more than the table's best product.",
        max(ahead.values()) <= MARGIN,
        {"largest lead in benefit per dimension": max(ahead.values())}
        | {f"behind at density {at:.2f}": -lead for at, lead in ahead.items()},
        EXACT,
    )


def _table_end(dense):
    """Say how much the models of lowest loss save beyond the table."""
    ahead = _ahead_of_table(dense, dense_minima.best(dense.models))
    return ours(
        "The table's end at ten features in five dimensions costs less than "
        f"{BEYOND_TABLE:g} of benefit per dimension, beside the settled models of lowest loss.",
        max(ahead.values()) < BEYOND_TABLE,
        {"most that a settled product adds": max(ahead.values())},
        BEST_KNOWN,
    )


def _ahead_of_table(dense, models):
    """Return by how much the best of some models is ahead of the table, at each density."""
    points = dense_minima.densities(models)
    predicted = dense_minima.prediction(dense.table, points, models.W.shape[1]).benefit
    benefit = dense_minima.benefit(models, models.loss)
    return {
        at: (benefit[dense_minima.of_density(models, at)].max() - best).item()
        for at, best in zip(points, predicted)
    }
