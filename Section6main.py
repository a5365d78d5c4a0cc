"""Section 6, superposition and adversarial robustness: a model in superposition is more easily attacked.

    python Section6main.py              # full size, about a minute on one core
    python Section6main.py --quick      # the same path, small, in seconds
    python Section6main.py --seed 3 --out /tmp/section6

Attacks on models of n=100, m=20 at one density after another, with equal and with falling importance, and adversarial
training; saves the figures under figures/ and prints claims 6.1 and 6.2.
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
RISE = 3  # 6.1: the paper's "more than three times"
NONE = 1.1  # and at the densest there must be no superposition yet: no more features per dimension than this
TRACKS = 0.9  # 6.2: Pearson's coefficient, where superposition forms
POINTS = 5  # and at least so many points of it


def figures(results):
    """All figures of the section by name."""
    return {
        "section6-vulnerability": vulnerability.figure(results.adversarial),
        "section6-training": adversarial_training.figure(results.training),
    }


def claims(results):
    """Claims 6.1 and 6.2."""
    equal, falling = results.adversarial
    return [claim_rise(equal, falling), claim_tracks(equal, falling, results.training)]


def claim_rise(equal, falling):
    """6.1, refuted where vulnerability with I=1, as adversarial.py defines it, peaks at no more than RISE times that of
    the densest features, where these are in superposition already, or where those of the peak are not."""
    per_dimension, vulnerability = features_per_dimension(equal), definitions(equal)[WORST]
    peak = vulnerability.argmax()
    others = {
        f"rise by {name}": rise(values)
        for name, values in definitions(equal).items()
        if name != WORST
    }
    return Claim(
        "6.1", "vulnerability relative to a model without superposition rises more than three times as superposition "
        "forms", "more than 3 times",
        {
            "rise": rise(vulnerability),
            "peak at 1/(1-S)": equal.inverse_density[peak].item(),
            "with I=0.9^i: rise": rise(definitions(falling)[WORST]),
            **others,
        },
        rise(vulnerability) > RISE and per_dimension[0].item() <= NONE < per_dimension[peak].item(),
    )  # fmt: skip


def claim_tracks(equal, falling, training):
    """6.2, refuted where the two do not correlate over the densities at which superposition forms, with I=1.

    What adversarial training leaves is shown with it, as the other way round: less vulnerable, less superposition.
    """
    chosen = forming(equal)
    r = _correlation(equal, chosen)
    coefficients = {
        "correlation where superposition forms": r,
        "at all densities": _correlation(equal, slice(None)),
        "with I=0.9^i, at all densities": _correlation(falling, slice(None)),
    }
    removed = zip(training.inverse_density.tolist(), adversarial_training.removing(training))
    sizes = {f"attack in training that removes it at 1/(1-S)={at:g}": size for at, size in removed}
    numbers = {name: value for name, value in (coefficients | sizes).items() if value is not None}
    return Claim(
        "6.2", "vulnerability tracks features per dimension as superposition forms",
        "yes; 80 % of the input norm in adversarial training removes superposition",
        {"points where superposition forms": int(chosen.sum()), **numbers},
        r is not None and r >= TRACKS and int(chosen.sum()) >= POINTS,
    )  # fmt: skip


def _correlation(result, points):
    return correlation(features_per_dimension(result)[points], definitions(result)[WORST][points])


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
