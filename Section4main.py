"""Section 4, the geometry of superposition: equally important features arrange themselves as polytopes.

    python Section4main.py              # the paper's settings and the search for its polytopes, 8 minutes on 2 cores
    python Section4main.py --quick      # the same path, small, in seconds
    python Section4main.py --seed 3 --out /tmp/section4

Uniform superposition: models trained over density at the paper's sizes and at others, searches for each of the paper's
polytopes, and the best polytope at each density by prediction. Non-uniform superposition: one feature gets sparser;
features come in correlated or anticorrelated sets. Saves the figures under figures/ and prints claims 4.1 to 4.12.
"""

import sys

from claims import Claim
from descents import SAME_LOSS
from experiments import (
    collapse,
    couplings,
    crowding,
    longer,
    pairs,
    periodic_table,
    perturbed,
    predicted,
    sets,
    started,
    uniform,
)
from polytopes import PAPER_POLYTOPES, peaks
from sweeps import Experiment, section_main

EXPERIMENTS = {
    "uniform": Experiment(uniform, uniform.Settings(), uniform.QUICK),
    "settled": Experiment(uniform, uniform.SETTLED, uniform.QUICK_SETTLED),
    "long": Experiment(uniform, uniform.LONG, uniform.QUICK_LONG),
    "searches": Experiment(uniform, uniform.SEARCHES, uniform.QUICK_SEARCHES),
    "study": Experiment(uniform, longer.SETTINGS, longer.QUICK, drawn=True),
    "map": Experiment(uniform, crowding.SETTINGS, crowding.QUICK, drawn=True),
    "predicted": Experiment(predicted, predicted.Settings(), predicted.QUICK),
    "started": Experiment(started, started.Settings(), started.QUICK),
    "perturbed": Experiment(perturbed, perturbed.Settings(), perturbed.QUICK),
    "pairs": Experiment(pairs, tuple(case.settings for case in pairs.CASES), pairs.QUICK),
    "sets": Experiment(sets, sets.Settings(), sets.QUICK),
    "collapse": Experiment(collapse, collapse.Settings(), collapse.QUICK),
}
LEAST_PEAK = 0.02  # share of the features that a peak has at least
IN_POLYTOPES = 0.9  # share of the features that are in polytopes where nearly all are
OTHERS = 2  # polytopes other than digons that a product of polytopes has at least
STICKY = 0.03  # D* is at a level where it is no further off than this, relative
NEAR_PAPER = 0.25  # a number read off a figure of the paper may be this far from ours, relative
MOST_BEHIND = 0.01  # a trained polytope saves no less than the predicted best, up to this share
PAPER_SNAP = 2.5  # times sparser than the others, at the first density
SMOOTH = 0.1  # the pentagon moves by less from one ratio to the next, where it deforms smoothly
PAPER_COLLAPSES = (0.05, 0.15, 0.25)  # densities from which one, two and all three pairs have collapsed


def figures(results):
    """All figures of the section by name."""
    windows, curve = predicted.windows(results.predicted), predicted.staircase(results.predicted)
    return {
        "section4-long": uniform.figure(results.long, windows, curve),
        "section4-uniform": uniform.figure(results.uniform, windows, curve),
        "section4-predicted": predicted.figure(results.predicted, (results.long, results.uniform), results.started),
        "section4-table": periodic_table.figure(results.predicted.table),
        "section4-grey": couplings.figure(results.long, results.uniform, results.predicted.table),
        "section4-map": crowding.figure(results.predicted, results.map),
        "section4-study": longer.figure(results.study),
        "section4-perturbed": perturbed.figure(results.perturbed),
        "section4-pairs": pairs.figure(results.pairs),
        "section4-sets": sets.figure(results.sets),
        "section4-collapse": collapse.figure(results.collapse),
    }


def claims(results):
    """Claims 4.1 to 4.12."""
    return uniform_claims(results) + nonuniform_claims(results)


def uniform_claims(results):
    """Claims 4.1 to 4.6."""
    return [
        claim_sticky(results.uniform, results.settled),
        claim_clusters(results.uniform, results.settled, results.long),
        claim_tegum(results.uniform, results.settled),
        claim_packing(results.uniform, results.settled),
        claim_found(results.searches),
        claim_predicted(results),
    ]


def nonuniform_claims(results):
    """Claims 4.7 to 4.12."""
    ids = ("4.8", "4.9", "4.10")
    return [
        claim_snap(results.perturbed),
        *[claim_pairs(id, case, result) for id, case, result in zip(ids, pairs.CASES, results.pairs)],
        claim_sets(results.sets),
        claim_collapse(results.collapse),
    ]


def _from_to(name, ends):
    """The numbers of a range of 1/(1-S), or None where there is none."""
    return {} if ends is None else {f"{name} from 1/(1-S)": ends[0], f"{name} to": ends[1]}


def _wide(ends, ratio):
    return ends is not None and ends[1] / ends[0] > ratio


def claim_sticky(*sweeps):
    """Refuted by a sweep in which D* stays at either level over less than a factor 1.25 of 1/(1-S)."""
    numbers, holds = {}, True
    for result in sweeps:
        for name, level in (("1", 1), ("1/2", 0.5)):
            there = uniform.sticky(result, level, STICKY)
            ends = uniform.longest_range(result.inverse_density, there)
            at_level = f"{result.steps:,} steps: D* within {STICKY:.0%} of {name}"
            numbers |= {f"{at_level}, densities": int(there.sum())} | _from_to(at_level, ends)
            holds &= _wide(ends, 1.25)
    return Claim("4.1", "D* = m / ||W||_F^2 is sticky at 1 and at 1/2", "plateaus at both", numbers, holds)


def claim_clusters(*sweeps):
    """Refuted where every sweep lacks, at one level or more, a peak of its polytope of more than 2 % of the features.

    Searches do not count: their m/n fixes the level beforehand.
    """
    numbers, found = {}, [list(peaks(result.W.flatten(0, 1)).values()) for result in sweeps]
    for result, shares in zip(sweeps, found):
        name = "n={}, m={}".format(*result.W.shape[:1:-1]) + f", {result.steps:,} steps: share in the peak at "
        numbers |= {name + level: share for level, share in zip(("3/4", "2/3", "1/2", "2/5", "3/8"), shares)}
    return Claim(
        "4.2", "dimensionalities cluster at 3/4, 2/3, 1/2, 2/5 and 3/8", "all five",
        numbers, any(min(shares) > LEAST_PEAK for shares in found),
    )  # fmt: skip


def claim_tegum(*sweeps):
    """Refuted by a sweep without a factor 1.5 of 1/(1-S) in which nearly all features are in polytopes.

    And by digons alone: at least OTHERS of the paper's other polytopes must hold more than FOUND of the features in it.
    """
    numbers, holds = {}, True
    for result in sweeps:
        there = uniform.in_polytopes(result, IN_POLYTOPES)
        ends = uniform.longest_range(result.inverse_density, there)
        steps = f"{result.steps:,} steps"
        nearly_all = f"{steps}: over {IN_POLYTOPES:.0%} of features in polytopes"
        numbers |= {f"{nearly_all}, densities": int(there.sum())} | _from_to(nearly_all, ends)
        held = {name: most for name, most in uniform.most_held(result, ends).items() if most > uniform.FOUND}
        numbers |= {f"{steps}: there in {name}, at most": most for name, most in held.items()}
        holds &= _wide(ends, 1.5) and len(held.keys() & set(PAPER_POLYTOPES) - {"digon"}) >= OTHERS
    return Claim("4.3", "the geometry is a tegum product of polytopes, not of digons alone", "yes", numbers, holds)


def claim_packing(*sweeps):
    """Refuted by a density at which the sum is more than 2 % from m."""
    sums = {f"{result.steps:,} steps": uniform.filled(result) for result in sweeps}
    numbers = {}
    for steps, filled in sums.items():
        numbers |= {f"{steps}: lowest sum over m": filled.min().item(), f"{steps}: highest": filled.max().item()}
    return Claim(
        "4.4", "the dimensionalities of all features sum to m where packing is efficient", "yes",
        numbers, all(abs(value - 1) < 0.02 for value in numbers.values()),
    )  # fmt: skip


def claim_found(searches):
    found = {polytope: uniform.models_with(result, polytope) for polytope, result in zip(PAPER_POLYTOPES, searches)}
    models = min(result.W.shape[:2].numel() for result in searches)
    return Claim(
        "4.5", "(ours) all five polytopes are found by training, each in 8 of 10 models at its setting", "-",
        {f"{polytope}: share of models": share for polytope, share in found.items()} | {"models of each": models},
        min(found.values()) >= 0.8,
    )  # fmt: skip


def claim_predicted(results):
    """The periodic table is the prediction. Refuted where training lacks one of the paper's polytopes or has another
    order of them, where one of them saves MOST_BEHIND less than the table's best at the centre of what is trained, or
    where the best of the models that started as a polytope, and kept it, is not what leads in the table."""
    leads, of_training, numbers = predicted.windows(results.predicted), uniform.windows(results.long), {}
    of_prediction = {window.name: window[1:3] for window in leads}
    for polytope in PAPER_POLYTOPES:
        numbers |= _from_to(f"{polytope}: predicted", of_prediction.get(polytope))
        numbers |= _from_to(f"{polytope}: trained", of_training.get(polytope))
    centres = [uniform.centre(results.long, polytope) for polytope in PAPER_POLYTOPES]
    trained = {polytope: at for polytope, at in zip(PAPER_POLYTOPES, centres) if at is not None}
    in_order = len(trained) == len(PAPER_POLYTOPES) and centres == sorted(centres)
    behind = max((predicted.shortfall(results.predicted, *at) for at in trained.items()), default=1.0)
    expected = [predicted.best_at(leads, at) for at in results.started.inverse_density.tolist()]
    best_starts = started.best(results.started)  # None where no model kept its polytope
    agree = sum(of is not None and of == name for name, of in zip(expected, best_starts))
    numbers |= {
        "polytopes trained": len(trained),
        "in the predicted order (1: yes)": int(in_order),
        "worse than the best by prediction, at the centre of a trained polytope, at most": behind,
        "models that kept the polytope they started as": int(started.kept(results.started).sum()),
        "densities at which the best of these is the predicted one": agree,
        "of": len(expected),
        "of these, one of the paper's polytopes is predicted at": sum(name in PAPER_POLYTOPES for name in expected),
    }
    return Claim(
        "4.6", "(ours) with nothing trained, the exact loss predicts which polytope at which density", "-",
        numbers, in_order and behind < MOST_BEHIND and agree == len(expected),
    )  # fmt: skip


def claim_snap(result):
    """Refuted where the first density has no snap near the paper's, or the pentagon jumps before it."""
    sparser, step = 1 / perturbed.snap(result)[0].item(), perturbed.largest_step(result)  # NaN without a snap
    return Claim(
        "4.7", "n=5, m=2: a pentagon deforms smoothly as one feature gets sparser, then snaps to digons without it",
        "at density 0.05 where it is about 2.5 times sparser", perturbed.numbers(result),
        abs(sparser / PAPER_SNAP - 1) <= NEAR_PAPER and step is not None and step < SMOOTH,
    )  # fmt: skip


def claim_pairs(id, case, result):
    """Refuted by a density at which the optimum or the best sampled model shows another arrangement."""
    best, other = pairs.best_with(result, case)
    optimal, sampled = (pairs.best_shows(runs, case) for runs in (result, result.sampled))
    settings = case.settings
    return Claim(
        id, f"m=2, {settings.features // 2} sets of two {settings.correlation} features: members of a set are "
        f"{case.name}", "yes", pairs.numbers(result, case),
        bool((optimal & sampled & (other > best * (1 + SAME_LOSS))).all()),
    )  # fmt: skip


def claim_sets(result):
    """Refuted by a run at the lowest density that does not show it."""
    return Claim(
        "4.11", "two sets of ten correlated features, m=10: nearly orthogonal within a set, all in superposition",
        "yes", sets.numbers(result), bool(sets.locally_orthogonal(result)[0].all()),
    )  # fmt: skip


def claim_collapse(result):
    """Refuted where a step is missing, is not where the losses of two solutions cross, or is elsewhere in the paper."""
    at = result.crossing_density.tolist()
    near = (
        len(at) == 3
        and bool(result.crossing.met.all())
        and all(abs(x / of_paper - 1) <= NEAR_PAPER for x, of_paper in zip(at, PAPER_COLLAPSES))
    )
    return Claim(
        "4.12", "three correlated pairs in m=2 collapse one by one into their principal components as density grows",
        "one from 0.05, two from 0.15, all from 0.25, principal components above 0.5",
        collapse.numbers(result), collapse.stages(result) == [0, 1, 2, 3] and near,
    )  # fmt: skip


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
