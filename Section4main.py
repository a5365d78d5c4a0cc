"""Section 4, the geometry of superposition: equally important features arrange themselves as polytopes.

    python Section4main.py              # the paper's settings and the search for its polytopes, 8 minutes on 2 cores
    python Section4main.py --quick      # the same path, small, in seconds
    python Section4main.py --seed 3 --out /tmp/section4
    python Section4main.py --table      # the periodic table anew into its committed file, 21 minutes on 2 cores

Uniform superposition: models trained over density at the paper's sizes and at others, searches for each of the paper's
polytopes, and the best polytope at each density by prediction. Non-uniform superposition: one feature gets sparser;
features come in correlated or anticorrelated sets. Saves the figures under figures/ and prints claims 4.1 to 4.12.
"""

import signal
import sys
from types import SimpleNamespace

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.section4 import (
    beyond_polytopes,
    collapsing_pairs,
    correlated_sets,
    features_per_dimension,
    pairs_in_the_plane,
    periodic_table,
    perturbed_pentagon,
    predicted_polytopes,
    started_as_polytopes,
    training_length,
    uniform_superposition,
)
from sweeps import Claim, Experiment, command_line
from sweeps.sections import section_results
from theory.descents import SAME_LOSS
from theory.polytopes import PAPER_POLYTOPES, peaks

EXPERIMENTS = {
    "uniform": Experiment(
        uniform_superposition, uniform_superposition.Settings(), uniform_superposition.QUICK
    ),
    "settled": Experiment(
        uniform_superposition, uniform_superposition.SETTLED, uniform_superposition.QUICK_SETTLED
    ),
    "long": Experiment(
        uniform_superposition, uniform_superposition.LONG, uniform_superposition.QUICK_LONG
    ),
    "searches": Experiment(
        uniform_superposition, uniform_superposition.SEARCHES, uniform_superposition.QUICK_SEARCHES
    ),
    "study": Experiment(
        uniform_superposition, training_length.SETTINGS, training_length.QUICK, drawn=True
    ),
    "map": Experiment(
        uniform_superposition,
        features_per_dimension.SETTINGS,
        features_per_dimension.QUICK,
        drawn=True,
    ),
    "predicted": Experiment(
        predicted_polytopes, predicted_polytopes.Settings(), predicted_polytopes.QUICK
    ),
    "started": Experiment(
        started_as_polytopes, started_as_polytopes.Settings(), started_as_polytopes.QUICK
    ),
    "perturbed": Experiment(
        perturbed_pentagon, perturbed_pentagon.Settings(), perturbed_pentagon.QUICK
    ),
    "pairs": Experiment(
        pairs_in_the_plane,
        tuple(case.settings for case in pairs_in_the_plane.CASES),
        pairs_in_the_plane.QUICK,
    ),
    "sets": Experiment(correlated_sets, correlated_sets.Settings(), correlated_sets.QUICK),
    "collapse": Experiment(collapsing_pairs, collapsing_pairs.Settings(), collapsing_pairs.QUICK),
}
TABLE = SimpleNamespace(  # is read by the other experiments, and computed by --table alone
    EXPERIMENTS={
        "table": Experiment(periodic_table, periodic_table.Settings(), periodic_table.QUICK)
    }
)
LEAST_PEAK = 0.02  # share of the features that a peak has at least
IN_POLYTOPES = 0.9  # share of the features that are in polytopes where nearly all are
OTHERS = 2  # polytopes other than digons that a product of polytopes has at least
STICKY = 0.03  # D* is at a level where it is no further off than this, relative
NEAR_PAPER = 0.25  # a number read off a figure of the paper may be this far from ours, relative
MOST_BEHIND = 0.01  # a trained polytope saves no less than the predicted best, up to this share
PAPER_SNAP = 2.5  # times sparser than the others, at the first density
SMOOTH = 0.1  # the pentagon moves by less from one ratio to the next, where it deforms smoothly
PAPER_COLLAPSES = (
    0.05,
    0.15,
    0.25,
)  # densities from which one, two and all three pairs have collapsed


def figures(results):
    """All figures of the section by name."""
    windows, curve = (
        predicted_polytopes.windows(results.predicted),
        predicted_polytopes.staircase(results.predicted),
    )
    return {
        "section4-long": uniform_superposition.figure(results.long, windows, curve),
        "section4-uniform": uniform_superposition.figure(results.uniform, windows, curve),
        "section4-predicted": predicted_polytopes.figure(
            results.predicted, (results.long, results.uniform), results.started
        ),
        "section4-table": periodic_table.figure(results.predicted.table),
        "section4-grey": beyond_polytopes.figure(
            results.long, results.uniform, results.predicted.table
        ),
        "section4-map": features_per_dimension.figure(results.predicted, results.map),
        "section4-study": training_length.figure(results.study),
        "section4-perturbed": perturbed_pentagon.figure(results.perturbed),
        "section4-pairs": pairs_in_the_plane.figure(results.pairs),
        "section4-sets": correlated_sets.figure(results.sets),
        "section4-collapse": collapsing_pairs.figure(results.collapse),
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
        *[
            claim_pairs(id, case, result)
            for id, case, result in zip(ids, pairs_in_the_plane.CASES, results.pairs)
        ],
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
            there = uniform_superposition.sticky(result, level, STICKY)
            ends = uniform_superposition.longest_range(result.inverse_density, there)
            at_level = f"{result.steps:,} steps: D* within {STICKY:.0%} of {name}"
            numbers |= {f"{at_level}, densities": int(there.sum())} | _from_to(at_level, ends)
            holds &= _wide(ends, 1.25)
    return Claim(
        "4.1", "D* = m / ||W||_F^2 is sticky at 1 and at 1/2", "plateaus at both", numbers, holds
    )


def claim_clusters(*sweeps):
    """Refuted where every sweep lacks, at one level or more, a peak of its polytope of more than 2 % of the features.

    Searches do not count: their m/n fixes the level beforehand.
    """
    numbers, found = {}, [list(peaks(result.W.flatten(0, 1)).values()) for result in sweeps]
    for result, shares in zip(sweeps, found):
        name = (
            "n={}, m={}".format(*result.W.shape[:1:-1])
            + f", {result.steps:,} steps: share in the peak at "
        )
        numbers |= {
            name + level: share for level, share in zip(("3/4", "2/3", "1/2", "2/5", "3/8"), shares)
        }
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
        there = uniform_superposition.in_polytopes(result, IN_POLYTOPES)
        ends = uniform_superposition.longest_range(result.inverse_density, there)
        steps = f"{result.steps:,} steps"
        nearly_all = f"{steps}: over {IN_POLYTOPES:.0%} of features in polytopes"
        numbers |= {f"{nearly_all}, densities": int(there.sum())} | _from_to(nearly_all, ends)
        held = {
            name: most
            for name, most in uniform_superposition.most_held(result, ends).items()
            if most > uniform_superposition.FOUND
        }
        numbers |= {f"{steps}: there in {name}, at most": most for name, most in held.items()}
        holds &= _wide(ends, 1.5) and len(held.keys() & set(PAPER_POLYTOPES) - {"digon"}) >= OTHERS
    return Claim(
        "4.3",
        "the geometry is a tegum product of polytopes, not of digons alone",
        "yes",
        numbers,
        holds,
    )


def claim_packing(*sweeps):
    """Refuted by a density at which the sum is more than 2 % from m."""
    sums = {f"{result.steps:,} steps": uniform_superposition.filled(result) for result in sweeps}
    numbers = {}
    for steps, filled in sums.items():
        numbers |= {
            f"{steps}: lowest sum over m": filled.min().item(),
            f"{steps}: highest": filled.max().item(),
        }
    return Claim(
        "4.4", "the dimensionalities of all features sum to m where packing is efficient", "yes",
        numbers, all(abs(value - 1) < 0.02 for value in numbers.values()),
    )  # fmt: skip


def claim_found(searches):
    found = {
        polytope: uniform_superposition.models_with(result, polytope)
        for polytope, result in zip(PAPER_POLYTOPES, searches)
    }
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
    leads, of_training, numbers = (
        predicted_polytopes.windows(results.predicted),
        uniform_superposition.windows(results.long),
        {},
    )
    of_prediction = {window.name: window[1:3] for window in leads}
    for polytope in PAPER_POLYTOPES:
        numbers |= _from_to(f"{polytope}: predicted", of_prediction.get(polytope))
        numbers |= _from_to(f"{polytope}: trained", of_training.get(polytope))
    centres = [uniform_superposition.centre(results.long, polytope) for polytope in PAPER_POLYTOPES]
    trained = {polytope: at for polytope, at in zip(PAPER_POLYTOPES, centres) if at is not None}
    in_order = len(trained) == len(PAPER_POLYTOPES) and centres == sorted(centres)
    behind = max(
        (predicted_polytopes.shortfall(results.predicted, *at) for at in trained.items()),
        default=1.0,
    )
    expected = [
        predicted_polytopes.best_at(leads, at) for at in results.started.inverse_density.tolist()
    ]
    best_starts = started_as_polytopes.best(
        results.started
    )  # None where no model kept its polytope
    agree = sum(of is not None and of == name for name, of in zip(expected, best_starts))
    numbers |= {
        "polytopes trained": len(trained),
        "in the predicted order (1: yes)": int(in_order),
        "worse than the best by prediction, at the centre of a trained polytope, at most": behind,
        "models that kept the polytope they started as": int(
            started_as_polytopes.kept(results.started).sum()
        ),
        "densities at which the best of these is the predicted one": agree,
        "of": len(expected),
        "of these, one of the paper's polytopes is predicted at": sum(
            name in PAPER_POLYTOPES for name in expected
        ),
    }
    return Claim(
        "4.6", "(ours) with nothing trained, the exact loss predicts which polytope at which density", "-",
        numbers, in_order and behind < MOST_BEHIND and agree == len(expected),
    )  # fmt: skip


def claim_snap(result):
    """Refuted where the first density has no snap near the paper's, or the pentagon jumps before it."""
    sparser, step = (
        1 / perturbed_pentagon.snap(result)[0].item(),
        perturbed_pentagon.largest_step(result),
    )  # NaN without a snap
    return Claim(
        "4.7", "n=5, m=2: a pentagon deforms smoothly as one feature gets sparser, then snaps to digons without it",
        "at density 0.05 where it is about 2.5 times sparser", perturbed_pentagon.numbers(result),
        abs(sparser / PAPER_SNAP - 1) <= NEAR_PAPER and step is not None and step < SMOOTH,
    )  # fmt: skip


def claim_pairs(id, case, result):
    """Refuted by a density at which the optimum or the best sampled model shows another arrangement."""
    best, other = pairs_in_the_plane.best_with(result, case)
    optimal, sampled = (
        pairs_in_the_plane.best_shows(runs, case) for runs in (result, result.sampled)
    )
    settings = case.settings
    return Claim(
        id, f"m=2, {settings.features // 2} sets of two {settings.correlation} features: members of a set are "
        f"{case.name}", "yes", pairs_in_the_plane.numbers(result, case),
        bool((optimal & sampled & (other > best * (1 + SAME_LOSS))).all()),
    )  # fmt: skip


def claim_sets(result):
    """Refuted by a run at the lowest density that does not show it."""
    return Claim(
        "4.11", "two sets of ten correlated features, m=10: nearly orthogonal within a set, all in superposition",
        "yes", correlated_sets.numbers(result), bool(correlated_sets.locally_orthogonal(result)[0].all()),
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
        collapsing_pairs.numbers(result), collapsing_pairs.stages(result) == [0, 1, 2, 3] and near,
    )  # fmt: skip


def main(argv=None):
    parser = command_line.argument_parser(__file__, __doc__)
    parser.add_argument(
        "--table",
        action="store_true",
        help="compute nothing but the periodic table, and write its committed file",
    )
    arguments = command_line.parse_arguments(parser, argv)
    if not arguments.table:
        return command_line.run_section(sys.modules[__name__], arguments)
    if arguments.quick:
        parser.error("argument --quick: expected no small settings for --table")

    def report():
        periodic_table.save(section_results(TABLE, arguments, arguments.seed).table)

    return command_line.run_and_report([TABLE], arguments, report)


if __name__ == "__main__":
    sys.exit(main())
