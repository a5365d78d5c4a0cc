"""Variations of the paper's models: what people ask of them, answered with numbers (ours).

    python Variationsmain.py            # the full settings, three minutes on 2 cores
    python Variationsmain.py --quick    # the same path, small, in seconds
    python Variationsmain.py --seeds 3 --out /tmp/variations

Each of seven questions changes one thing of the paper's models: dropout on the hidden layer, the
values of features, GELU in place of ReLU, other computations, unequal densities, no bias or another
loss, and graded correlation. Each figure shows the paper's model beside its variation. Saves the
figures under figures/ and prints claims V.1 to V.7, which are ours.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.variations import (
    ablations,
    ablations_claim,
    computations,
    computations_claim,
    dropout,
    dropout_claim,
    feature_values,
    feature_values_claim,
    gelu,
    gelu_claim,
    gelu_neurons,
    gelu_phases,
    graded_correlation,
    graded_correlation_claim,
    unequal_density,
    unequal_density_claim,
)
from sweeps import Experiment, section_main

EXPERIMENTS = {
    "dropout": Experiment(dropout, dropout.SIZES, dropout.QUICK),
    "values": Experiment(feature_values, feature_values.Settings(), feature_values.QUICK),
    "gelu": Experiment(gelu, gelu.Settings(), gelu.QUICK),
    "gelu_phases": Experiment(gelu_phases, gelu_phases.Settings(), gelu_phases.QUICK),
    "gelu_neurons": Experiment(gelu_neurons, gelu_neurons.Settings(), gelu_neurons.QUICK),
    "computations": Experiment(computations, computations.Settings(), computations.QUICK),
    "unequal": Experiment(unequal_density, unequal_density.Settings(), unequal_density.QUICK),
    "ablations": Experiment(ablations, ablations.Settings(), ablations.QUICK),
    "graded": Experiment(
        graded_correlation, graded_correlation.Settings(), graded_correlation.QUICK
    ),
}


def figures(results):
    """Draw all figures of the section, by name."""
    return {
        "variation-dropout": dropout.figure(results.dropout[0]),
        "variation-dropout-polytopes": dropout.polytope_figure(results.dropout),
        "variation-values": feature_values.figure(results.values),
        "variation-gelu": gelu.figure(results.gelu),
        "variation-gelu-phases": gelu_phases.figure(results.gelu_phases),
        "variation-gelu-neurons": gelu_neurons.figure(results.gelu_neurons),
        "variation-computations": computations.figure(results.computations),
        "variation-unequal": unequal_density.figure(results.unequal),
        "variation-ablations": ablations.figure(results.ablations),
        "variation-graded": graded_correlation.figure(results.graded),
    }


def claims(results):
    """Judge claims V.1 to V.7."""
    return [
        dropout_claim.claim(results.dropout),
        feature_values_claim.claim(results.values),
        gelu_claim.claim(results.gelu, results.gelu_phases, results.gelu_neurons),
        computations_claim.claim(results.computations),
        unequal_density_claim.claim(results.unequal),
        ablations_claim.claim(results.ablations),
        graded_correlation_claim.claim(results.graded),
    ]


def main(argv=None):
    """Run the command line and return the exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
