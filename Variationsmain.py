"""Variations of the paper's models: what people ask of them, answered with numbers (ours).

    python Variationsmain.py            # MINUTES minutes on 2 cores
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

from experiments.variations import feature_values, feature_values_claim
from sweeps import Experiment, section_main

EXPERIMENTS = {
    "values": Experiment(feature_values, feature_values.Settings(), feature_values.QUICK),
}


def figures(results):
    """Draw all figures of the section, by name."""
    return {"variation-values": feature_values.figure(results.values)}


def claims(results):
    """Judge the claims, in the order of their ids."""
    return [feature_values_claim.claim(results.values)]


def main(argv=None):
    """Run the command line and return the exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
