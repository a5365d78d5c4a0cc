"""Claims 4.1 to 4.6: how equally important features share the hidden dimensions (Section 4).

Models that were trained by sampling, as the paper's were, stand beside models that went on by exact
descent until they settled (settled_models.py), and beside the periodic table's best products. Each
claim's docstring says what would refute its findings. The strength of their evidence is computed in
shortfalls.py.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

from experiments.section4 import (
    dense_minima,
    dimensionality_clusters,
    polytope_claims,
    predicted_polytopes,
    uniform_superposition,
)
from experiments.section4.shortfalls import (
    PAPER_SIZE,
    SWEEPS,
    factor,
    of_lowest,
    of_settled,
    of_sweeps,
    range_numbers,
    strength_of,
)
from sweeps import Claim, effect, number, ours
from sweeps.claims import BEST_KNOWN
from theory.polytopes import NEAR, PAPER_POLYTOPES, POLYTOPES, SHARED_DIMENSION

STICKY = dense_minima.STICKY  # 4.1: relative difference within which D* is at a level
PLATEAU = 1.25  # 4.1: least factor of density over which D* stays at a level
AT_ONCE = 1 / 1.1  # 4.1: density at which the best models known have left the level 1
LEVELS = dict(zip(PAPER_POLYTOPES, ("3/4", "2/3", "1/2", "2/5", "3/8")))  # 4.2
LEAST_CLUSTERS = 2  # 4.2: densities of one sweep at which a level has a cluster
DENSE = 1 / 1.4  # 4.2: lowest density of the dense regime
FILLED = 0.02  # 4.4: largest relative difference between m and the sum of the dimensionalities


def claims(results):
    """Judge claims 4.1 to 4.6.

    Args:
        results: The section's results `uniform`, `longer`, `long`, `searches`, `predicted`,
            `started` and `dense`, as attributes.
    """
    return [
        claim_sticky(results),
        claim_clusters(results),
        polytope_claims.claim_tegum(results),
        claim_packing(results),
        polytope_claims.claim_found(results),
        polytope_claims.claim_predicted(results),
    ]


# 4.1


def claim_sticky(results):
    """Judge 4.1.

    The effects are refuted by a sweep of the paper's size in which D* stays within 3 % of a level
    over no more than a factor 1.25 of density. Ours are refuted if models that settled from sampled
    training are on average still within 3 % of 1 at density 1 / 1.3, or if one of them has no lower
    loss than before; if the model of lowest loss is within 3 % of 1 at 1 / 1.1; and if the
    predicted D* is within 3 % of 1/2 over no more than a factor 1.25.
    """
    own = (
        _left_by_settling(results.dense),
        _left_at_once(results.dense),
        _predicted_plateau(results.predicted),
    )
    conclusion = "."
    if all(finding.holds for finding in own):
        conclusion = (
            ": the plateau at 1 is unfinished training, while the loss itself has that at 1/2."
        )
    return Claim(
        "4.1",
        "D* = m / ||W||_F^2 is sticky at 1 and at 1/2",
        "D* stays at 1, and later at 1/2, over a range of densities (Section 4)",
        (_plateau(results, "1", 1), _plateau(results, "1/2", 0.5), *own),
        "D* stays at 1 over a factor {D* at 1, paper's size: factor of density} of density, and "
        "over {D* at 1, paper's size, ten times longer: factor of density} after ten times more "
        "steps; at 1/2 over {D* at 1/2, paper's size: factor of density}. At density "
        f"{dense_minima.PLATEAU_END:.2f} exact descent takes models of D* = {{D* before}} to "
        "{D* once settled}" + conclusion,
        "A critic would ask whether models of the paper's size settle as those of 100 features do, "
        "and whether the paper's own models were trained for longer than its notebook's. Settling "
        "several models of 400 features from sampled training would answer both.",
    )


def _plateau(results, name, level):
    """Say whether D* sticks at a level in the sweeps of the paper's size."""
    numbers = {}
    factors = []
    for each, sweep_name in PAPER_SIZE.items():
        result = getattr(results, each)
        at_level = uniform_superposition.sticky(result, level, STICKY)
        ends = uniform_superposition.longest_range(1 / result.inverse_density, at_level)
        label = f"D* at {name}, {sweep_name}"
        factors.append(factor(ends))
        numbers[f"{label}: factor of density"] = factors[-1]
        numbers |= range_numbers(label, ends)
    return effect(
        f"In models trained by sampling at the paper's size, D* stays within {STICKY:.0%} of "
        f"{name} over more than a factor {PLATEAU} of density.",
        min(factors) > PLATEAU,
        numbers,
        strength_of(of_sweeps(results, PAPER_SIZE)),
    )


def _left_by_settling(dense):
    """Say whether settled models leave the level 1 where sampled ones stick to it."""
    models = dense_minima.trained(dense.models)
    at = dense_minima.PLATEAU_END
    before = dense_minima.per_feature_at(models, models.start_W)[at]
    settled = dense_minima.per_feature_at(models, models.W)[at]
    lower = (models.loss < models.start_loss).sum().item()
    return ours(
        f"Models of the notebook's training, settled by exact descent, are on average more than "
        f"{STICKY:.0%} below 1 at density {at:.2f}, and the loss of each is lower than before.",
        settled < 1 - STICKY and lower == len(models.loss),
        {
            "D* once settled": settled,
            "D* before": before,
            "models": len(models.loss),
            "models of lower loss": lower,
        },
        strength_of([of_settled(dense)]),
    )


def _left_at_once(dense):
    """Say whether the models of lowest loss leave the level 1 as soon as features get sparser."""
    numbers = {}
    decisive = {}
    for models in (dense.models, dense.large):
        best = dense_minima.best(models)
        per_feature = dense_minima.per_feature_at(best, best.W)
        label = f"n={best.W.shape[2]}, lowest loss: D* at"
        decisive[f"{label} {AT_ONCE:.2f}"] = per_feature[AT_ONCE]
        numbers |= {f"{label} {at:.2f}": value for at, value in per_feature.items()}
    return ours(
        f"The models of lowest loss that are known, of 100 features and of the paper's 400, are "
        f"more than {STICKY:.0%} below 1 at density {AT_ONCE:.2f}.",
        max(decisive.values()) < 1 - STICKY,
        decisive | numbers,
        strength_of(of_lowest(dense)),
    )


def _predicted_plateau(predicted):
    """Say whether the prediction sticks at 1/2."""
    density, per_feature = predicted_polytopes.staircase(predicted)
    at_level = (per_feature / 0.5 - 1).abs() < STICKY
    ends = uniform_superposition.longest_range(density, at_level)
    return ours(
        f"The predicted D* of the periodic table stays within {STICKY:.0%} of 1/2 over more than a "
        f"factor {PLATEAU} of density.",
        factor(ends) > PLATEAU,
        {"predicted D* at 1/2: factor of density": factor(ends)}
        | range_numbers("predicted D* at 1/2", ends),
        BEST_KNOWN,
    )


# 4.2


def claim_clusters(results):
    """Judge 4.2.

    The effect at a level is refuted if no sweep has a cluster there at two densities. The models
    that settled from sampled training count as a sweep; searches do not, since their m/n fixes the
    level beforehand. The number is refuted if the median dimensionality of the features of
    tetrahedra, in the sweep of fewer features, is not within 0.006 of 3/4. Ours are refuted if no
    sweep has clusters at all levels; if the same median, without what unrepresented features take,
    is not within 0.006 of 3/4; and if fewer than half of the dense features near 3/4 are alone in
    a dimension that unrepresented features share.
    """
    trained = [*of_sweeps(results, SWEEPS), of_settled(results.dense)]
    found = [dimensionality_clusters.clusters(each.density, each.W) for each in trained]
    complete = [min(map(len, clusters.values())) >= LEAST_CLUSTERS for clusters in found]
    return Claim(
        "4.2",
        "dimensionalities cluster at 3/4, 2/3, 1/2, 2/5 and 3/8",
        "They cluster at the fractions of five polytopes, in one sweep (Section 4)",
        (
            *(_level(name, trained, found) for name in PAPER_POLYTOPES),
            ours(
                "One sweep has clusters at all five levels.",
                any(complete),
                {"sweeps with all five": sum(complete), "sweeps": len(trained)},
                strength_of(trained),
            ),
            *_tetrahedra(results),
            _not_tetrahedra(results),
        ),
        "Clusters are at 3/4 at {3/4: densities with a cluster} densities, at 2/3 at {2/3: "
        "densities with a cluster}, at 1/2 at {1/2: densities with a cluster}, at 2/5 at {2/5: "
        "densities with a cluster} and at 3/8 at {3/8: densities with a cluster}. Of the dense "
        "features near 3/4, a share of {alone in a shared dimension} are in no tetrahedron but "
        "alone in a dimension that weak features share.",
        "A critic would train the models of densities 0.25 to 0.17 for longer, or settle them, "
        "although the exact loss takes more terms there, and would count clusters over several "
        "models of each density.",
    )


def _level(name, trained, found):
    """Say whether dimensionalities cluster at the level of a polytope, and where."""
    level = LEVELS[name]
    densities = [clusters[name] for clusters in found]
    numbers = {f"{level}: densities with a cluster": sum(map(len, densities))}
    for models, where in zip(trained, densities):
        ends = (max(where), min(where)) if where else None
        numbers |= range_numbers(f"{level}: {models.name}", ends)
    return effect(
        f"At {LEAST_CLUSTERS} densities of a sweep or more, dimensionalities cluster at {level}, "
        f"the level of the {name}.",
        max(map(len, densities)) >= LEAST_CLUSTERS,
        numbers,
        strength_of(trained, densities),
    )


def _tetrahedra(results):
    """Compare the level of tetrahedra in sampled models with 3/4, and with 3/4 of what is left."""
    W = results.long.W.flatten(0, 1)
    without_weak = dimensionality_clusters.without_weak(W)
    raw = _median(dimensionality_clusters.dimensionalities_in("tetrahedron", W))
    left = _median(dimensionality_clusters.dimensionalities_in("tetrahedron", without_weak))
    level = POLYTOPES["tetrahedron"].dimensionality
    limited = strength_of(of_sweeps(results, {"long": SWEEPS["long"]}))
    return (
        number(
            "The dimensionality of features in tetrahedra is the paper's, in models trained by "
            "sampling.",
            abs(raw - level) < NEAR,
            {"median in tetrahedra": raw},
            limited,
            paper="3/4 (a line in its figure)",
        ),
        ours(
            f"The dimensionality of features in tetrahedra is within {NEAR} of 3/4 of what "
            "unrepresented features leave of the dimensions, in models trained by sampling.",
            abs(left - level) < NEAR,
            {"median share of what is left": left},
            limited,
        ),
    )


def _median(values):
    """Return the median, 0 if there are no values."""
    return values.median().item() if len(values) else 0.0


def _not_tetrahedra(results):
    """Say what dense features of dimensionality near 3/4 are."""
    dense = 1 / results.long.inverse_density >= DENSE
    counts = dimensionality_clusters.near_tetrahedra(results.long.W[dense].flatten(0, 1))
    near = max(counts.total(), 1)
    alone = counts[SHARED_DIMENSION] / near
    return ours(
        f"Down to density {DENSE:.2f}, at least half of the features within "
        f"{dimensionality_clusters.NEAR_TETRAHEDRA} of 3/4 are alone in a dimension that "
        "unrepresented features share, in models trained by sampling.",
        alone >= 0.5,
        {
            "alone in a shared dimension": alone,
            "in tetrahedra": counts["tetrahedron"] / near,
            "features near 3/4": counts.total(),
        },
        strength_of(of_sweeps(results, {"long": SWEEPS["long"]})),
    )


# 4.4


def claim_packing(results):
    """Judge 4.4.

    Refuted by a density at which, in a sweep of the paper's size, the sum differs from m by 2 % or
    more.
    """
    numbers = {}
    for each, name in PAPER_SIZE.items():
        filled = uniform_superposition.filled(getattr(results, each))
        numbers[f"{name}: lowest sum over m"] = filled.min().item()
        numbers[f"{name}: highest sum over m"] = filled.max().item()
    return Claim(
        "4.4",
        "the dimensionalities of all features sum to m where packing is efficient",
        "They sum to the number of dimensions (Section 4)",
        (
            effect(
                f"The dimensionalities of all features sum to m within {FILLED:.0%} at each "
                "density, in models trained by sampling at the paper's size.",
                all(abs(value - 1) < FILLED for value in numbers.values()),
                numbers,
                strength_of(of_sweeps(results, PAPER_SIZE)),
            ),
        ),
        "Over m, the sums are between {paper's size: lowest sum over m} and {paper's size: highest "
        "sum over m}.",
        "A critic would note that the sum of dimensionalities cannot exceed m, and would ask for "
        "densities at which packing is inefficient, so that it falls short.",
    )
