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
from sweeps import Claim, Experiment, effect, number, ours, section_main
from sweeps.claims import TRAINED

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

    The effect is refuted if the vulnerability with equal importance, as `vulnerability` defines it,
    peaks at no more than LEAST_RISE times that of the densest features. It is also refuted if the
    densest features are in superposition already, or if those at the peak are not. What we ask
    beyond the paper is refuted if the rise is no larger than that by one of the other definitions,
    or with falling importance.

    Args:
        equal: Result of `vulnerability` with I=1.
        falling: Result of `vulnerability` with I=0.9^i.

    Returns:
        The claim.
    """
    return Claim(
        "6.1",
        "vulnerability relative to a model without superposition rises more than three times as "
        "superposition forms",
        "vulnerability to adversarial examples rises more than three times as superposition forms "
        "(Section 6)",
        (_rise_finding(equal), _definitions_finding(equal), _falling_finding(falling)),
        "Vulnerability rises {rise} times by our definition, and {lowest rise by a definition} to "
        "{highest rise by a definition} times by others.",
        "The rise depends on the definition, and the paper does not give its own. A critic would "
        "attack the paper's own models by every definition, from the loss of the attacked model "
        "alone to a separate attack on each row.",
    )


def _rise_finding(equal):
    """Return whether vulnerability rises as the paper says."""
    per_dimension = features_per_dimension(equal)
    values = definitions(equal)[WORST]
    peak = values.argmax()
    densest_without = per_dimension[0].item() <= NO_SUPERPOSITION
    peak_within = per_dimension[peak].item() > NO_SUPERPOSITION
    return effect(
        "Vulnerability, the cost of the attack on the worst feature, rises more than "
        f"{LEAST_RISE} times from the densest features, which are not in superposition, to a peak "
        "at which they are.",
        rise(values) > LEAST_RISE and densest_without and peak_within,
        {
            "rise": rise(values),
            "density at the peak": 1 / equal.inverse_density[peak].item(),
            "features per dimension at the peak": per_dimension[peak].item(),
        },
        TRAINED,
    )


def _definitions_finding(equal):
    """Return whether vulnerability rises as much by every definition."""
    rises = {name: rise(values) for name, values in definitions(equal).items()}
    by_name = {f"rise by {name}": value for name, value in rises.items() if name != WORST}
    return ours(
        f"By each of {len(rises)} definitions of vulnerability it rises more than {LEAST_RISE} "
        "times.",
        min(rises.values()) > LEAST_RISE,
        {
            "lowest rise by a definition": min(rises.values()),
            "highest rise by a definition": max(rises.values()),
            **by_name,
        },
        TRAINED,
    )


def _falling_finding(falling):
    """Return whether vulnerability rises as much with falling importance."""
    factor = rise(definitions(falling)[WORST])
    return ours(
        f"With importance I=0.9^i it rises more than {LEAST_RISE} times as well.",
        factor > LEAST_RISE,
        {"rise with falling importance": factor},
        TRAINED,
    )


def claim_tracks(equal, falling, training):
    """Judge claim 6.2.

    The effects are refuted if vulnerability and features per dimension do not correlate over the
    densities at which superposition forms, and if they do not over all densities, both with equal
    importance. The paper's size of the attack in training that removes superposition differs from
    ours if it is out of the range of our densities.

    Args:
        equal: Result of `vulnerability` with I=1.
        falling: Result of `vulnerability` with I=0.9^i.
        training: Result of `adversarial_training`.

    Returns:
        The claim.
    """
    return Claim(
        "6.2",
        "vulnerability tracks features per dimension as superposition forms",
        "vulnerability closely tracks the number of features per dimension; adversarial training "
        "reduces superposition, and removes it with attacks of 80 % of the input norm (Section 6)",
        (_forming_finding(equal), _all_densities_finding(equal, falling), _removal(training)),
        "Vulnerability and features per dimension correlate with "
        "{correlation where superposition forms} while superposition forms and with "
        "{correlation over all densities} over all densities: at the sparsest features "
        "vulnerability is {vulnerability at the sparsest features over its peak} of its peak.",
        "A critic would ask whether the fall at the sparse end comes from the size of the attack, "
        "which is a share of the mean input norm and gets smaller there. He would take a share of "
        "the value of an active feature instead, or end at the sparsest features of the paper's "
        "figure, and correlate again.",
    )


def _forming_finding(equal):
    """Return whether vulnerability tracks features per dimension while superposition forms."""
    chosen = forming(equal)
    points = int(chosen.sum())
    r = _correlation(equal, chosen)
    return effect(
        "While superposition forms, vulnerability and features per dimension correlate with at "
        f"least {LEAST_CORRELATION:g}, over at least {LEAST_POINTS} densities.",
        r >= LEAST_CORRELATION and points >= LEAST_POINTS,
        {"correlation where superposition forms": r, "densities at which it forms": points},
        TRAINED,
    )


def _all_densities_finding(equal, falling):
    """Return whether vulnerability tracks features per dimension at all densities."""
    r = _correlation(equal, slice(None))
    values = definitions(equal)[WORST]
    return effect(
        f"Over all densities they correlate with at least {LEAST_CORRELATION:g}, too.",
        r >= LEAST_CORRELATION,
        {
            "correlation over all densities": r,
            "vulnerability at the sparsest features over its peak": (
                values[-1] / values.max()
            ).item(),
            "the same correlation with falling importance": _correlation(falling, slice(None)),
        },
        TRAINED,
    )


def _removal(training):
    """Return how large attacks in training have to be to remove superposition, beside the paper."""
    density = (1 / training.inverse_density).tolist()
    by_density = zip(density, adversarial_training.removing_attacks(training))
    sizes = {at: size for at, size in by_density if size is not None}
    paper = adversarial_training.PAPER_ATTACK
    numbers = {"densities at which attacks in training remove it": len(sizes)}
    if sizes:
        extremes = {
            "smallest attack in training that removes it": min(sizes.values()),
            "largest over our densities": max(sizes.values()),
        }
        numbers = {**extremes, **numbers}
    for at, size in sizes.items():
        numbers[f"attack in training that removes it at density {at:.2g}"] = size
    return number(
        "Attacks in training remove superposition from the paper's size on at one of our densities "
        "or between two of them.",
        bool(sizes) and min(sizes.values()) <= paper <= max(sizes.values()),
        numbers,
        TRAINED,
        paper=f"{paper:g} of the mean input norm",
    )


def _correlation(result, points):
    """Correlate vulnerability with features per dimension over some of the points.

    It is 0 where a correlation does not exist: there are too few points, or one does not vary.
    """
    r = correlation(features_per_dimension(result)[points], definitions(result)[WORST][points])
    return 0.0 if r is None else r


def main(argv=None):
    """Run the section from the command line and return its exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
