"""Section 6: superposition makes a model more vulnerable to adversarial examples.

    python Section6main.py              # the paper's settings, about a minute on one core
    python Section6main.py --quick      # the same path, small, in seconds
    python Section6main.py --seed 3 --out /tmp/section6

Attacks models with n=100, m=20 from dense to sparse features, with equal and with falling
importance, and trains models against attacks. Saves the figures under figures/ and prints claims
6.1 and 6.2.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.section6 import adversarial_training, vulnerability
from experiments.section6.vulnerability import (
    WORST,
    correlation,
    definitions,
    features_per_dimension,
    forming,
    rise,
)
from sweeps import Claim, Experiment, section_main

EXPERIMENTS = {
    "adversarial": Experiment(
        vulnerability,
        (vulnerability.Settings(), vulnerability.FALLING),
        (vulnerability.QUICK, vulnerability.QUICK_FALLING),
    ),
    "training": Experiment(
        adversarial_training, adversarial_training.Settings(), adversarial_training.QUICK
    ),
}
LEAST_RISE = 3  # claim 6.1: the paper's "more than three times"
NO_SUPERPOSITION = 1.1  # features per dimension up to which there is no superposition yet
LEAST_CORRELATION = 0.9  # claim 6.2: Pearson's coefficient where superposition forms
LEAST_POINTS = 5  # points at which it forms, so that the coefficient says something


def figures(results):
    """Draw all figures of the section and return them by name."""
    return {
        "section6-vulnerability": vulnerability.figure(results.adversarial),
        "section6-training": adversarial_training.figure(results.training),
    }


def claims(results):
    """Judge claims 6.1 and 6.2."""
    equal, falling = results.adversarial
    return [claim_rise(equal, falling), claim_tracks(equal, falling, results.training)]


def claim_rise(equal, falling):
    """Judge claim 6.1.

    It is refuted if the vulnerability with equal importance, as `vulnerability` defines it, peaks
    at no more than LEAST_RISE times that of the densest features. It is also refuted if the densest
    features are in superposition already, or if those at the peak are not.

    Args:
        equal: Result of `vulnerability` with I=1.
        falling: Result of `vulnerability` with I=0.9^i.

    Returns:
        The claim.
    """
    per_dimension = features_per_dimension(equal)
    values = definitions(equal)
    peak = values[WORST].argmax()
    numbers = {
        "rise": rise(values[WORST]),
        "peak at 1/(1-S)": equal.inverse_density[peak].item(),
        "with I=0.9^i: rise": rise(definitions(falling)[WORST]),
    }
    for name in values:
        if name != WORST:
            numbers[f"rise by {name}"] = rise(values[name])
    densest_without = per_dimension[0].item() <= NO_SUPERPOSITION
    peak_within = per_dimension[peak].item() > NO_SUPERPOSITION
    return Claim(
        "6.1",
        "vulnerability relative to a model without superposition rises more than three times as "
        "superposition forms",
        "more than 3 times",
        numbers,
        numbers["rise"] > LEAST_RISE and densest_without and peak_within,
    )


def claim_tracks(equal, falling, training):
    """Judge claim 6.2.

    It is refuted if vulnerability and features per dimension do not correlate over the densities at
    which superposition forms, with equal importance. The numbers also say which attacks in training
    remove superposition, since this shows the converse: less vulnerability, less superposition.

    Args:
        equal: Result of `vulnerability` with I=1.
        falling: Result of `vulnerability` with I=0.9^i.
        training: Result of `adversarial_training`.

    Returns:
        The claim. Numbers that do not exist for these results are omitted.
    """
    chosen = forming(equal)
    points = int(chosen.sum())
    r = _correlation(equal, chosen)
    numbers = {
        "points where superposition forms": points,
        "correlation where superposition forms": r,
        "at all densities": _correlation(equal, slice(None)),
        "with I=0.9^i, at all densities": _correlation(falling, slice(None)),
    }
    sizes = adversarial_training.removing_attacks(training)
    for inverse_density, size in zip(training.inverse_density.tolist(), sizes):
        numbers[f"attack in training that removes it at 1/(1-S)={inverse_density:g}"] = size
    return Claim(
        "6.2",
        "vulnerability tracks features per dimension as superposition forms",
        "yes; 80 % of the input norm in adversarial training removes superposition",
        {name: value for name, value in numbers.items() if value is not None},
        r is not None and r >= LEAST_CORRELATION and points >= LEAST_POINTS,
    )


def _correlation(result, points):
    """Correlate vulnerability with features per dimension over some of the points."""
    return correlation(features_per_dimension(result)[points], definitions(result)[WORST][points])


def main(argv=None):
    """Run the section from the command line and return its exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
