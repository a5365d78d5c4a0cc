"""Section 4, the geometry of superposition: equal features arrange themselves as polytopes.

    python Section4main.py              # the paper's settings and more, 8 minutes on 2 cores
    python Section4main.py --quick      # the same path, small, in seconds
    python Section4main.py --seed 3 --out /tmp/section4
    python Section4main.py --table      # the committed periodic table, 21 minutes on 2 cores
    python Section4main.py --settled --seeds 2      # the committed settled models

Uniform superposition: models are trained over density at the paper's size and at others; each of
the paper's polytopes is searched for; and the best polytope at each density is predicted.
Non-uniform superposition: one feature gets sparser; features come in correlated or anticorrelated
sets. Saves the figures under figures/ and prints claims 4.1 to 4.12.
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
    dense_minima,
    features_per_dimension,
    pairs_in_the_plane,
    periodic_table,
    perturbed_pentagon,
    predicted_polytopes,
    settled_models,
    started_as_polytopes,
    training_length,
    uniform_superposition,
)
from experiments.section4.nonuniform_claims import claims as nonuniform_claims
from sweeps import Claim, Experiment, command_line
from sweeps.sections import section_results, seeds
from theory.polytopes import PAPER_POLYTOPES, peaks

EXPERIMENTS = {
    "uniform": Experiment(
        uniform_superposition, uniform_superposition.Settings(), uniform_superposition.QUICK
    ),
    "settled": Experiment(
        uniform_superposition,
        uniform_superposition.TEN_TIMES_LONGER,
        uniform_superposition.QUICK_LONGER,
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
    "dense": Experiment(dense_minima, dense_minima.Settings(), dense_minima.QUICK, drawn=True),
}
# What is computed once and committed, and what the other experiments read.
TABLE = SimpleNamespace(
    EXPERIMENTS={
        "table": Experiment(periodic_table, periodic_table.Settings(), periodic_table.QUICK)
    }
)
SETTLED = SimpleNamespace(
    EXPERIMENTS={
        "sampled": Experiment(settled_models, settled_models.Settings(), settled_models.QUICK),
        "products": Experiment(
            settled_models, settled_models.PRODUCT, settled_models.QUICK, drawn=True
        ),
    }
)
LEAST_PEAK = 0.02  # 4.2: least share of the features in a peak
IN_POLYTOPES = 0.9  # 4.3: "nearly all" features are at least this share
OTHERS = 2  # 4.3: least number of polytopes other than digons
STICKY = 0.03  # 4.1: relative difference within which D* is at a level
PLATEAU = 1.25  # 4.1: least factor of 1/(1-S) over which D* stays at a level
PRODUCT_RANGE = 1.5  # 4.3: least factor of 1/(1-S) over which nearly all features are in polytopes
FILLED = 0.02  # 4.4: largest relative difference between m and the sum of the dimensionalities
MOST_MODELS = 0.8  # 4.5: least share of the models that show a polytope
MOST_BEHIND = (
    0.01  # 4.6: largest share by which a trained polytope's benefit may fall short of the best
)


def figures(results):
    """Draw all figures of the section, by name."""
    windows = predicted_polytopes.windows(results.predicted)
    curve = predicted_polytopes.staircase(results.predicted)
    table = results.predicted.table
    sweeps = (results.long, results.uniform)
    return {
        "section4-long": uniform_superposition.figure(results.long, windows, curve),
        "section4-uniform": uniform_superposition.figure(results.uniform, windows, curve),
        "section4-predicted": predicted_polytopes.figure(
            results.predicted, sweeps, results.started
        ),
        "section4-table": periodic_table.figure(table),
        "section4-grey": beyond_polytopes.figure(results.long, results.uniform, table),
        "section4-map": features_per_dimension.figure(results.predicted, results.map),
        "section4-dense": dense_minima.figure(results.dense),
        "section4-study": training_length.figure(results.study),
        "section4-perturbed": perturbed_pentagon.figure(results.perturbed),
        "section4-pairs": pairs_in_the_plane.figure(results.pairs),
        "section4-sets": correlated_sets.figure(results.sets),
        "section4-collapse": collapsing_pairs.figure(results.collapse),
    }


def claims(results):
    """Judge claims 4.1 to 4.12."""
    return uniform_claims(results) + nonuniform_claims(results)


# Uniform superposition


def uniform_claims(results):
    """Judge claims 4.1 to 4.6."""
    return [
        claim_sticky(results.uniform, results.settled),
        claim_clusters(results.uniform, results.settled, results.long),
        claim_tegum(results.uniform, results.settled),
        claim_packing(results.uniform, results.settled),
        claim_found(results.searches),
        claim_predicted(results),
    ]


def _range_numbers(name, ends):
    """Name the ends of a range of 1/(1-S); nothing if there is no range."""
    if ends is None:
        return {}
    return {f"{name} from 1/(1-S)": ends[0], f"{name} to": ends[1]}


def _is_wider(ends, ratio):
    """Return whether there is a range of 1/(1-S) and it covers more than a factor."""
    return ends is not None and ends[1] / ends[0] > ratio


def claim_sticky(*sweeps):
    """Judge 4.1.

    Refuted by a sweep in which D* stays at one of the levels over no more than a factor 1.25 of
    1/(1-S).
    """
    numbers = {}
    holds = True
    for result in sweeps:
        for name, level in (("1", 1), ("1/2", 0.5)):
            at_level = uniform_superposition.sticky(result, level, STICKY)
            ends = uniform_superposition.longest_range(result.inverse_density, at_level)
            label = f"{result.steps:,} steps: D* within {STICKY:.0%} of {name}"
            numbers[f"{label}, densities"] = int(at_level.sum())
            numbers |= _range_numbers(label, ends)
            holds &= _is_wider(ends, PLATEAU)
    return Claim(
        "4.1", "D* = m / ||W||_F^2 is sticky at 1 and at 1/2", "plateaus at both", numbers, holds
    )


def claim_clusters(*sweeps):
    """Judge 4.2.

    Refuted if every sweep lacks at least one of the peaks, that is, more than 2 % of the features
    in the peak of that polytope. Searches do not count, since their m/n fixes the level beforehand.
    """
    numbers = {}
    some_sweep_has_all = False
    for result in sweeps:
        shares = list(peaks(result.W.flatten(0, 1)).values())
        hidden, features = result.W.shape[2:]
        label = f"n={features}, m={hidden}, {result.steps:,} steps: share in the peak at "
        for level, share in zip(("3/4", "2/3", "1/2", "2/5", "3/8"), shares):
            numbers[label + level] = share
        some_sweep_has_all |= min(shares) > LEAST_PEAK
    return Claim(
        "4.2",
        "dimensionalities cluster at 3/4, 2/3, 1/2, 2/5 and 3/8",
        "all five",
        numbers,
        some_sweep_has_all,
    )


def claim_tegum(*sweeps):
    """Judge 4.3.

    Refuted by a sweep in which nearly all features are in polytopes over no more than a factor 1.5
    of 1/(1-S). Also refuted if in that range fewer than OTHERS of the paper's polytopes, apart from
    digons, ever hold more than FOUND of the features.
    """
    numbers = {}
    holds = True
    for result in sweeps:
        nearly_all = uniform_superposition.in_polytopes(result, IN_POLYTOPES)
        ends = uniform_superposition.longest_range(result.inverse_density, nearly_all)
        steps = f"{result.steps:,} steps"
        label = f"{steps}: over {IN_POLYTOPES:.0%} of features in polytopes"
        numbers[f"{label}, densities"] = int(nearly_all.sum())
        numbers |= _range_numbers(label, ends)
        largest = uniform_superposition.largest_shares(result, ends)
        present = {
            name: share for name, share in largest.items() if share > uniform_superposition.FOUND
        }
        for name, share in present.items():
            numbers[f"{steps}: there in {name}, at most"] = share
        others = (present.keys() & set(PAPER_POLYTOPES)) - {"digon"}
        holds &= _is_wider(ends, PRODUCT_RANGE) and len(others) >= OTHERS
    return Claim(
        "4.3",
        "the geometry is a tegum product of polytopes, not of digons alone",
        "yes",
        numbers,
        holds,
    )


def claim_packing(*sweeps):
    """Judge 4.4.

    Refuted by a density at which the sum differs from m by 2 % or more.
    """
    numbers = {}
    for result in sweeps:
        filled = uniform_superposition.filled(result)
        steps = f"{result.steps:,} steps"
        numbers[f"{steps}: lowest sum over m"] = filled.min().item()
        numbers[f"{steps}: highest"] = filled.max().item()
    return Claim(
        "4.4",
        "the dimensionalities of all features sum to m where packing is efficient",
        "yes",
        numbers,
        all(abs(value - 1) < FILLED for value in numbers.values()),
    )


def claim_found(searches):
    """Judge 4.5.

    Refuted by a polytope that fewer than 8 of 10 models at its setting show.
    """
    shares = {
        polytope: uniform_superposition.models_with(result, polytope)
        for polytope, result in zip(PAPER_POLYTOPES, searches)
    }
    numbers = {f"{polytope}: share of models": share for polytope, share in shares.items()}
    numbers["models of each"] = min(result.W.shape[:2].numel() for result in searches)
    return Claim(
        "4.5",
        "(ours) all five polytopes are found by training, each in 8 of 10 models at its setting",
        "-",
        numbers,
        min(shares.values()) >= MOST_MODELS,
    )


def claim_predicted(results):
    """Judge 4.6. The prediction is the periodic table.

    Refuted if training lacks one of the paper's polytopes or has them in another order. Refuted if,
    at the centre of the range in which one is trained, its benefit falls short of the table's best
    by MOST_BEHIND. Refuted if at one density the best of the models that started as a polytope, and
    kept it, is not what leads in the table.
    """
    windows = predicted_polytopes.windows(results.predicted)
    predicted_ranges = {window.name: (window.low, window.high) for window in windows}
    trained_ranges = uniform_superposition.ranges_with(results.long)
    numbers = {}
    for polytope in PAPER_POLYTOPES:
        numbers |= _range_numbers(f"{polytope}: predicted", predicted_ranges.get(polytope))
        numbers |= _range_numbers(f"{polytope}: trained", trained_ranges.get(polytope))
    centres = _trained_centres(results.long)
    all_trained = len(centres) == len(PAPER_POLYTOPES)
    in_order = all_trained and list(centres.values()) == sorted(centres.values())
    shortfalls = [
        predicted_polytopes.shortfall(results.predicted, polytope, centre)
        for polytope, centre in centres.items()
    ]
    behind = max(shortfalls, default=1.0)
    leading = [
        predicted_polytopes.best_at(windows, inverse_density)
        for inverse_density in results.started.inverse_density.tolist()
    ]
    # At densities at which no model kept its polytope, the best start is None.
    best_starts = started_as_polytopes.best(results.started)
    agree = sum(start is not None and start == lead for start, lead in zip(best_starts, leading))
    kept = started_as_polytopes.kept(results.started)
    numbers |= {
        "polytopes trained": len(centres),
        "in the predicted order (1: yes)": int(in_order),
        "worse than the best by prediction, at the centre of a trained polytope, at most": behind,
        "models that kept the polytope they started as": int(kept.sum()),
        "densities at which the best of these is the predicted one": agree,
        "of": len(leading),
        "of these, one of the paper's polytopes is predicted at": sum(
            lead in PAPER_POLYTOPES for lead in leading
        ),
    }
    return Claim(
        "4.6",
        "(ours) with nothing trained, the exact loss predicts which polytope at which density",
        "-",
        numbers,
        in_order and behind < MOST_BEHIND and agree == len(leading),
    )


def _trained_centres(sweep):
    """Return 1/(1-S) at the centre of each of the paper's polytopes that a sweep shows."""
    centres = {}
    for polytope in PAPER_POLYTOPES:
        centre = uniform_superposition.centre(sweep, polytope)
        if centre is not None:
            centres[polytope] = centre
    return centres


def keep_table(arguments):
    """Write the computed periodic table as the committed one."""
    periodic_table.save(section_results(TABLE, arguments, arguments.seed).table)


def keep_settled(arguments):
    """Write the computed models, of every seed and from products, as the committed ones."""
    results = [section_results(SETTLED, arguments, seed) for seed in seeds(arguments)]
    models = [result.sampled for result in results]
    settled_models.save(settled_models.joined([*models, results[0].products]))


KEPT = {"table": (TABLE, keep_table), "settled": (SETTLED, keep_settled)}


def main(argv=None):
    """Run the command line and return the exit status."""
    parser = command_line.argument_parser(__file__, __doc__)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--table", action="store_true", help="compute only the periodic table")
    chosen.add_argument("--settled", action="store_true", help="compute only the settled models")
    arguments = command_line.parse_arguments(parser, argv)
    asked = [name for name in KEPT if getattr(arguments, name)]
    if not asked:
        return command_line.run_section(sys.modules[__name__], arguments)
    if arguments.quick:
        parser.error(f"argument --quick: expected no small settings for --{asked[0]}")
    section, keep = KEPT[asked[0]]
    return command_line.run_and_report([section], arguments, lambda: keep(arguments))


if __name__ == "__main__":
    sys.exit(main())
