"""Section 4, the geometry of superposition: equal features arrange themselves as polytopes.

    python Section4main.py              # the paper's settings and more, six minutes on 2 cores
    python Section4main.py --quick      # the same path, small, in seconds
    python Section4main.py --seed 3 --out /tmp/section4
    python Section4main.py --table      # the committed periodic table, 21 minutes on 2 cores
    python Section4main.py --settled --seeds 10     # the committed settled models

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
from experiments.section4.uniform_claims import claims as uniform_claims
from sweeps import Experiment, command_line
from sweeps.sections import section_results, seeds

EXPERIMENTS = {
    "uniform": Experiment(
        uniform_superposition, uniform_superposition.Settings(), uniform_superposition.QUICK
    ),
    "longer": Experiment(
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
    "dense": Experiment(dense_minima, dense_minima.Settings(), dense_minima.QUICK),
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
        "large": Experiment(settled_models, settled_models.LARGE, settled_models.QUICK, drawn=True),
    }
)


def figures(results):
    """Draw all figures of the section, by name."""
    windows = predicted_polytopes.windows(results.predicted)
    curve = predicted_polytopes.staircase(results.predicted)
    table = results.predicted.table
    sweeps = (results.long, results.uniform)
    return {
        "section4-long": uniform_superposition.figure(
            results.long, windows, curve, dense_minima.settled(results.dense)
        ),
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


# What is computed once


def keep_table(arguments):
    """Write the computed periodic table as the committed one."""
    periodic_table.save(section_results(TABLE, arguments, arguments.seed).table)


def keep_settled(arguments):
    """Write the computed models, of every seed and from products, as the committed ones."""
    results = [section_results(SETTLED, arguments, seed) for seed in seeds(arguments)]
    models = [result.sampled for result in results]
    settled_models.save(settled_models.joined([*models, results[0].products]))
    settled_models.save(results[0].large, large=True)


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
