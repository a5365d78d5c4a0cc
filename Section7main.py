"""Section 7, superposition in a privileged basis: a hidden ReLU makes neurons of hidden dimensions.

    python Section7main.py              # the paper's settings, under two minutes on one core
    python Section7main.py --quick      # the same path, small, in seconds
    python Section7main.py --seed 3 --out /tmp/section7

Trains models of n=10 features in m=5 hidden dimensions with and without a ReLU there, a thousand
with it at each density. Saves the figures under figures/ and prints claims 7.1 and 7.2.
"""

import signal
import sys
from typing import NamedTuple

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.section7 import neuron_alignment, neuron_patterns
from geometry import neuron_pattern
from sweeps import Claim, Experiment, section_main

EXPERIMENTS = {
    "alignment": Experiment(neuron_alignment, neuron_alignment.Settings(), neuron_alignment.QUICK),
    "privileged": Experiment(neuron_patterns, neuron_patterns.Settings(), neuron_patterns.QUICK),
}
MOSTLY_MONOSEMANTIC = 0.2  # lowest density at which most of the paper's neurons carry one feature


class PaperStep(NamedTuple):
    """A pattern of neurons that the paper shows at some densities."""

    densities: tuple[float, ...]
    polysemantic: int  # neurons
    shared: int  # features in polysemantic neurons


PAPER_STEPS = {
    "all monosemantic": PaperStep((1.0, 0.75), 0, 0),
    "three features in two neurons": PaperStep((0.5, 0.35, 0.2), 2, 3),
    "five in three": PaperStep((0.15,), 3, 5),
    "six in four": PaperStep((0.12,), 4, 6),
    "eight in five": PaperStep((0.08, 0.06, 0.05), 5, 8),
    "every feature a pair of neurons": PaperStep((0.04,), 5, 10),
}


def figures(results):
    """Draw all figures of the section, by name."""
    return {
        "section7-alignment": neuron_alignment.figure(results.alignment),
        "section7-neurons": neuron_patterns.figure(results.privileged),
        "section7-steps": neuron_patterns.steps_figure(results.privileged, paper_points()),
    }


def paper_points():
    """Return the paper's steps as points (density, polysemantic neurons, features in them)."""
    points = []
    for step in PAPER_STEPS.values():
        points += [(density, step.polysemantic, step.shared) for density in step.densities]
    return points


def claims(results):
    """Judge claims 7.1 and 7.2."""
    return [claim_aligned(results.alignment), claim_steps(results.privileged)]


def claim_aligned(result):
    """Judge 7.1.

    Refuted by one density of at least MOSTLY_MONOSEMANTIC at which features are not aligned with a
    hidden ReLU, or are aligned without it. Features are aligned if they are spread over fewer
    hidden dimensions than after every one of the random rotations.
    """
    dense = result.density >= MOSTLY_MONOSEMANTIC
    numbers = {"densities from 0.2 on": int(dense.sum())}
    aligned = {}
    for field, name in neuron_alignment.NAMES.items():
        W = getattr(result, field)
        aligned[field] = neuron_alignment.aligned(W)
        numbers[f"{name}: of these aligned"] = int(aligned[field][dense].sum())
        numbers[f"{name}: of all {len(W)} densities"] = int(aligned[field].sum())
        spread = neuron_alignment.spread(W)
        known = spread[dense & spread.isfinite()]
        if len(known):
            numbers[f"{name}: hidden dimensions of a feature, from 0.2 on"] = known.mean().item()
    always_with = dense.any() and aligned["W_hidden"][dense].all()
    ever_without = aligned["W_output"][dense].any()
    return Claim(
        "7.1",
        "with a hidden ReLU features align with neurons, without it they don't",
        "yes",
        numbers,
        bool(always_with and not ever_without),
    )


def claim_steps(result):
    """Judge 7.2.

    Refuted by one of the paper's densities at which the best known solution has another pattern
    than the paper's: another number of polysemantic neurons or of features in them, another number
    of neurons that carry one feature each, or, at density 0.04, a feature that is not carried by
    exactly two neurons.
    """
    alike = alike_at(result)
    numbers = {}
    for name, step in PAPER_STEPS.items():
        known = [alike[density] for density in step.densities if density in alike]
        if known:
            numbers[f"{name}: share of the paper's densities"] = sum(known) / len(known)
    reached = neuron_patterns.reached(result)
    numbers["lowest share of runs that reach the best"] = reached.min().item()
    missed = neuron_patterns.gained(result) > neuron_patterns.SAME
    numbers["densities at which fresh runs alone miss the best"] = int(missed.sum())
    paper = [
        f"{', '.join(f'{density:g}' for density in step.densities)}: {name}"
        for name, step in PAPER_STEPS.items()
    ]
    return Claim(
        "7.2",
        "as density falls neurons turn from monosemantic to polysemantic in the paper's steps",
        "; ".join(paper),
        numbers,
        len(alike) == len(paper_points()) and all(alike.values()),
    )


def alike_at(result):
    """Return {density: whether the best known solution has the paper's pattern}.

    The densities are those of the paper that the result has.
    """
    pattern = neuron_pattern(neuron_patterns.best(result))
    index = {density: k for k, density in enumerate(result.density.tolist())}
    alike = {}
    for density, polysemantic, shared in paper_points():
        if density not in index:
            continue
        monosemantic = neuron_patterns.NEURONS - polysemantic
        ours = [counts[index[density]].item() for counts in pattern]
        pairs = ours.pop()
        all_are_shared = shared == neuron_patterns.FEATURES
        all_are_pairs = pairs == neuron_patterns.FEATURES
        same_counts = ours == [monosemantic, polysemantic, shared]
        alike[density] = same_counts and (all_are_pairs or not all_are_shared)
    return alike


def main(argv=None):
    """Run the command line and return the exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
