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
from sweeps import Claim, Experiment, effect, ours, section_main
from sweeps.claims import TRAINED, strength

EXPERIMENTS = {
    "alignment": Experiment(neuron_alignment, neuron_alignment.Settings(), neuron_alignment.QUICK),
    "privileged": Experiment(neuron_patterns, neuron_patterns.Settings(), neuron_patterns.QUICK),
}
MOSTLY_MONOSEMANTIC = 0.2  # lowest density at which most of the paper's neurons carry one feature


class PaperStep(NamedTuple):
    """A pattern of neurons that the paper shows at some densities."""

    words: str
    densities: tuple[float, ...]
    polysemantic: int  # neurons
    shared: int  # features in polysemantic neurons


MONOSEMANTIC = PaperStep("all neurons are monosemantic", (1.0, 0.75), 0, 0)
PAPER_STEPS = (
    MONOSEMANTIC,
    PaperStep("three features are in two polysemantic neurons", (0.5, 0.35, 0.2), 2, 3),
    PaperStep("five features are in three polysemantic neurons", (0.15,), 3, 5),
    PaperStep("six features are in four polysemantic neurons", (0.12,), 4, 6),
    PaperStep("eight features are in five polysemantic neurons", (0.08, 0.06, 0.05), 5, 8),
    PaperStep("each of the ten features is in a pair of neurons", (0.04,), 5, 10),
)
BOUNDARY = 0.5  # the paper's first two patterns meet at this density, so either counts


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
    for step in PAPER_STEPS:
        points += [(density, step.polysemantic, step.shared) for density in step.densities]
    return points


def claims(results):
    """Judge claims 7.1 and 7.2."""
    return [claim_aligned(results.alignment), claim_steps(results.privileged)]


def claim_aligned(result):
    """Judge 7.1.

    The effects are refuted by one density of at least MOSTLY_MONOSEMANTIC at which features are not
    aligned with a hidden ReLU, and by one at which they are aligned without it. Features are
    aligned if they are spread over fewer hidden dimensions than after every one of the random
    rotations.
    """
    dense = result.density >= MOSTLY_MONOSEMANTIC
    with_relu = neuron_alignment.aligned(result.W_hidden)
    without = neuron_alignment.aligned(result.W_output)
    return Claim(
        "7.1",
        "with a hidden ReLU features align with neurons, without it they don't",
        "a ReLU in the hidden layer makes a privileged basis: features align with neurons, while "
        "without it the basis means nothing (Section 7)",
        (
            effect(
                f"With a hidden ReLU features align with neurons, at every density from "
                f"{MOSTLY_MONOSEMANTIC:g} on.",
                dense.any() and with_relu[dense].all(),
                _alignment_numbers(result, "W_hidden", with_relu),
                TRAINED,
            ),
            effect(
                "Without it they align with hidden dimensions at none of these densities.",
                dense.any() and not without[dense].any(),
                _alignment_numbers(result, "W_output", without),
                TRAINED,
            ),
        ),
        "Features are aligned at {with a hidden ReLU: aligned from 0.2 on} of "
        "{densities from 0.2 on} densities with a hidden ReLU, and at "
        "{without: aligned from 0.2 on} without it.",
    )


def _alignment_numbers(result, field, aligned):
    """Return at how many densities features are aligned, and over how much they are spread."""
    name = neuron_alignment.NAMES[field]
    dense = result.density >= MOSTLY_MONOSEMANTIC
    numbers = {
        f"{name}: aligned from {MOSTLY_MONOSEMANTIC:g} on": int(aligned[dense].sum()),
        f"densities from {MOSTLY_MONOSEMANTIC:g} on": int(dense.sum()),
        f"{name}: aligned below": int(aligned[~dense].sum()),
        f"densities below {MOSTLY_MONOSEMANTIC:g}": int((~dense).sum()),
    }
    spread = neuron_alignment.spread(getattr(result, field))
    known = spread[dense & spread.isfinite()]
    if len(known):
        numbers[f"{name}: hidden dimensions of a feature"] = known.mean().item()
    return numbers


def claim_steps(result):
    """Judge 7.2.

    Each pattern of the paper is an effect, of the best of the fresh runs as in the paper. It is
    refuted by one of the paper's densities at which that run has another pattern: another number of
    polysemantic neurons or of features in them, another number of neurons that carry one feature
    each, or, at density 0.04, a feature that is not carried by exactly two neurons. At BOUNDARY the
    pattern before counts as well. What we ask beyond the paper is the same of the best known
    solution.
    """
    fresh = alike_at(result, neuron_patterns.best_fresh(result))
    best = alike_at(result, neuron_patterns.best(result))
    patterns = [
        f"{step.words} at {', '.join(f'{density:g}' for density in step.densities)}"
        for step in PAPER_STEPS
    ]
    return Claim(
        "7.2",
        "as density falls neurons turn from monosemantic to polysemantic in the paper's steps",
        f"the best of 1,000 models at each density: {'; '.join(patterns)} (Section 7)",
        (
            *(_fresh_finding(result, step, fresh) for step in PAPER_STEPS),
            *(_best_finding(result, step, best) for step in PAPER_STEPS),
            _reach_finding(result, fresh, best),
        ),
        "The best of the fresh runs has the paper's pattern at "
        "{densities where fresh runs have the paper's pattern} of {the paper's densities}, the "
        "best known solution at {densities where the best known solution has it}; the loss of the "
        "best fresh run is up to {loss of the best fresh run over the lowest known, highest} times "
        "the lowest known.",
        "Which pattern the best of many runs has depends on the training: at the lower densities "
        "hardly any fresh run reaches the lowest loss known, and solutions of neighbouring "
        "patterns have nearly equal losses. A critic would train as many runs with the paper's own "
        "optimizer and number of steps, which it does not give, and follow the losses of all "
        "patterns over density, to see at which densities each of them is the best.",
    )


def _fresh_finding(result, step, alike):
    """Return whether the best of the fresh runs has a pattern of the paper's."""
    losses = neuron_patterns.compared_losses(result)
    ratio = _highest(losses.fresh / losses.best, result, step)
    return effect(
        f"{_sentence(step)}, in the best of the fresh runs.",
        _all_alike(step, alike),
        {
            "share of these densities, fresh runs": _share(step, alike),
            "loss of the best fresh run over the lowest known": ratio,
        },
        strength(ratio, 1.0, neuron_patterns.REACHED),
    )


def _best_finding(result, step, alike):
    """Return whether the best known solution has a pattern of the paper's."""
    losses = neuron_patterns.compared_losses(result)
    ratio = _highest(losses.best / losses.fresh, result, step)
    disagreeing = _highest(1 - neuron_patterns.agreeing(result), result, step)
    return ours(
        f"{_sentence(step)}, in the best known solution.",
        _all_alike(step, alike),
        {
            "share of these densities, best known": _share(step, alike),
            "parts of the runs that find another solution, highest share": disagreeing,
        },
        strength(ratio, 1.0, neuron_patterns.REACHED),
    )


def _reach_finding(result, fresh, best):
    """Return whether fresh runs, which is what the paper has, reach the lowest loss known."""
    losses = neuron_patterns.compared_losses(result)
    ratio = losses.fresh / losses.best
    missed = ratio > 1 + neuron_patterns.REACHED
    return ours(
        f"At every density the best of the fresh runs comes within {neuron_patterns.REACHED:.0%} "
        "of the lowest loss known.",
        not missed.any(),
        {
            "densities at which it does not": int(missed.sum()),
            "loss of the best fresh run over the lowest known, highest": ratio.max().item(),
            "densities where fresh runs have the paper's pattern": sum(fresh.values()),
            "densities where the best known solution has it": sum(best.values()),
            "the paper's densities": len(paper_points()),
        },
        strength(ratio.max().item(), 1.0, neuron_patterns.REACHED),
    )


def _highest(values, result, step):
    """Return the highest of the values at a step's densities, or 1 if the result has none."""
    chosen = [k for k, density in enumerate(result.density.tolist()) if density in step.densities]
    return values[chosen].max().item() if chosen else 1.0


def _sentence(step):
    """Return what a step says."""
    densities = ", ".join(f"{density:g}" for density in step.densities)
    or_before = ""
    if BOUNDARY in step.densities:
        or_before = f" (at {BOUNDARY:g}, the boundary, all may still be monosemantic)"
    return f"{step.words.capitalize()} at density {densities}{or_before}"


def _all_alike(step, alike):
    """Return whether the pattern is there at each of a step's densities."""
    return all(alike.get(density, False) for density in step.densities)


def _share(step, alike):
    """Return the share of a step's densities at which its pattern is there."""
    return sum(alike.get(density, False) for density in step.densities) / len(step.densities)


def alike_at(result, W):
    """Return {density: whether the solution there has the paper's pattern}.

    The densities are those of the paper that the result has.

    Args:
        result: The neuron_patterns.Result.
        W: A solution at each density of the result, (points, neurons, features).
    """
    pattern = neuron_pattern(W)
    index = {density: k for k, density in enumerate(result.density.tolist())}
    alike = {}
    for step in PAPER_STEPS:
        for density in step.densities:
            if density in index:
                counts = [values[index[density]].item() for values in pattern]
                at_boundary = density == BOUNDARY and _has(counts, MONOSEMANTIC)
                alike[density] = _has(counts, step) or at_boundary
    return alike


def _has(counts, step):
    """Return whether a solution has the pattern of a step.

    Args:
        counts: Its numbers of monosemantic neurons, of polysemantic neurons, of features in these,
            and of features that are carried by exactly two neurons.
        step: The PaperStep.
    """
    monosemantic, polysemantic, shared, pairs = counts
    all_are_shared = step.shared == neuron_patterns.FEATURES
    all_are_pairs = pairs == neuron_patterns.FEATURES
    wanted = (neuron_patterns.NEURONS - step.polysemantic, step.polysemantic, step.shared)
    same_counts = (monosemantic, polysemantic, shared) == wanted
    return same_counts and (all_are_pairs or not all_are_shared)


def main(argv=None):
    """Run the command line and return the exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
