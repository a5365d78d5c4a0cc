"""Section 7, superposition in a privileged basis: a hidden ReLU makes neurons of the hidden dimensions.

    python Section7main.py              # the paper's settings, under two minutes on one core
    python Section7main.py --quick      # the same path, small, in seconds
    python Section7main.py --seed 3 --out /tmp/section7

Trains models of n=10 features in m=5 hidden dimensions with and without a ReLU there, a thousand with it at each
density; saves the figures under figures/ and prints claims 7.1 and 7.2.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

from experiments.section7 import neuron_alignment, neuron_patterns
from geometry import neuron_pattern
from sweeps import Claim, Experiment, section_main

EXPERIMENTS = {
    "alignment": Experiment(neuron_alignment, neuron_alignment.Settings(), neuron_alignment.QUICK),
    "privileged": Experiment(neuron_patterns, neuron_patterns.Settings(), neuron_patterns.QUICK),
}
MOSTLY_MONOSEMANTIC = 0.2  # from this density on most of the paper's neurons carry one feature
PAPER_STEPS = {  # of the paper: densities; polysemantic neurons, features in them
    "all monosemantic": ((1.0, 0.75), 0, 0),
    "three features in two neurons": ((0.5, 0.35, 0.2), 2, 3),
    "five in three": ((0.15,), 3, 5),
    "six in four": ((0.12,), 4, 6),
    "eight in five": ((0.08, 0.06, 0.05), 5, 8),
    "every feature a pair of neurons": ((0.04,), 5, 10),
}


def figures(results):
    """All figures of the section by name."""
    return {
        "section7-alignment": neuron_alignment.figure(results.alignment),
        "section7-neurons": neuron_patterns.figure(results.privileged),
        "section7-steps": neuron_patterns.steps_figure(results.privileged, of_paper()),
    }


def of_paper():
    """The paper's steps as points: [density, polysemantic neurons, features in them]."""
    return [
        (density, *counts) for densities, *counts in PAPER_STEPS.values() for density in densities
    ]


def claims(results):
    """Claims 7.1 and 7.2."""
    return [claim_aligned(results.alignment), claim_steps(results.privileged)]


def claim_aligned(result):
    """Refuted by one density from MOSTLY_MONOSEMANTIC on at which features are not aligned with a hidden ReLU, or are
    without it: aligned is spread over fewer hidden dimensions than after every one of the random rotations.
    """
    dense = result.density >= MOSTLY_MONOSEMANTIC
    numbers, shown = {"densities from 0.2 on": int(dense.sum())}, {}
    for field, name in neuron_alignment.NAMES.items():
        W = getattr(result, field)
        shown[field], spread = neuron_alignment.aligned(W), neuron_alignment.spread(W)
        numbers[f"{name}: of these aligned"] = int(shown[field][dense].sum())
        numbers[f"{name}: of all {len(W)} densities"] = int(shown[field].sum())
        there = spread[dense & spread.isfinite()]
        if len(there):
            numbers[f"{name}: hidden dimensions of a feature, from 0.2 on"] = there.mean().item()
    return Claim(
        "7.1", "with a hidden ReLU features align with neurons, without it they don't", "yes", numbers,
        bool(dense.any() and shown["W_hidden"][dense].all() and not shown["W_output"][dense].any()),
    )  # fmt: skip


def claim_steps(result):
    """Refuted by one of the paper's densities at which the best known solution has another pattern than the paper's:
    other numbers of polysemantic neurons or of features in them, other neurons that do not carry one feature each,
    or, at density 0.04, a feature that is not carried by two neurons.
    """
    alike, gained = alike_at(result), neuron_patterns.gained(result)
    numbers = {}
    for step, (densities, *_) in PAPER_STEPS.items():
        there = [alike[density] for density in densities if density in alike]
        if there:
            numbers[f"{step}: share of the paper's densities"] = sum(there) / len(there)
    numbers["lowest share of runs that reach the best"] = (
        neuron_patterns.reached(result).min().item()
    )
    numbers["densities at which fresh runs alone miss the best"] = int(
        (gained > neuron_patterns.SAME).sum()
    )
    return Claim(
        "7.2", "as density falls neurons turn from monosemantic to polysemantic in the paper's steps",
        "; ".join(f"{', '.join(f'{d:g}' for d in densities)}: {step}" for step, (densities, *_) in PAPER_STEPS.items()),
        numbers, len(alike) == sum(len(densities) for densities, *_ in PAPER_STEPS.values()) and all(alike.values()),
    )  # fmt: skip


def alike_at(result):
    """{density: whether the best known solution has the paper's pattern}, of the paper's densities that there are."""
    of_best = dict(
        zip(
            result.density.tolist(),
            torch.stack(neuron_pattern(neuron_patterns.best(result)), dim=1).tolist(),
        )
    )
    alike = {}
    for density, neurons, features in of_paper():
        if density in of_best:
            *counts, pairs = of_best[density]
            every_pair = features < neuron_patterns.FEATURES or pairs == neuron_patterns.FEATURES
            alike[density] = (
                counts == [neuron_patterns.NEURONS - neurons, neurons, features] and every_pair
            )
    return alike


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
