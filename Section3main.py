"""Section 3: superposition of the last feature is a phase change in density and importance.

    python Section3main.py              # the paper's settings, about two minutes on 2 cores
    python Section3main.py --quick      # the same path, small, in seconds
    python Section3main.py --seed 3 --out /tmp/section3

Draws phase diagrams of n=2, m=1 and of n=3, m=2: of the named solutions, of the optimum of the
exact loss (for n=3 the best solution known), of trained models averaged as in the paper, of the
best restart, and of the share of restarts that end in the optimum, and what averages show after
longer training. Saves the figures under figures/ and prints claims 3.1 to 3.5.
"""

import signal
import sys
from dataclasses import replace

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

from experiments.section3 import exact_optimum, noisy_averages, phase_boundary, phase_diagram
from experiments.section3.noisy_averages import CLEAN_MEAN, RATES, STEPS
from experiments.section3.phase_diagram import (
    agreement,
    averaged_diagram,
    below_optimum,
    best_diagram,
    best_known,
    excess,
    named_diagram,
    phase_shares,
)
from sweeps import Claim, Experiment, effect, ours, section_main
from sweeps.claims import EXACT, strength
from theory.boundary import tricritical_densities
from theory.descents import SAME_LOSS
from theory.phases import NAMED_SOLUTIONS, PHASES, last_feature

TEN_TWO = phase_diagram.Settings()  # n=2, m=1, ten models a point
TEN_THREE = phase_diagram.THREE  # n=3, m=2
TWO = replace(TEN_TWO, restarts=20)  # of which ten are averaged, and the best is looked for
THREE = replace(TEN_THREE, restarts=20)
QUICK = phase_diagram.QUICK
QUICK_THREE = phase_diagram.QUICK_THREE
COARSE = 12  # points on each axis of the studies
QUICK_COARSE = 4


def _optima(points):
    """Settings of the optimum for both diagrams."""
    return tuple(exact_optimum.Settings(features, points) for features in (2, 3))


def _study(settings, points):
    """Settings of the study of noisy averages, on a coarser grid than the diagrams."""
    return noisy_averages.study(replace(settings, points=points))


def _longer(settings, points, steps=STEPS):
    """Settings of the study of longer training, on the same coarse grid."""
    return noisy_averages.longer(replace(settings, points=points), steps)


EXPERIMENTS = {
    "optima": Experiment(exact_optimum, _optima(TWO.points), _optima(QUICK.points)),
    "diagrams": Experiment(phase_diagram, (TWO, THREE), (QUICK, QUICK_THREE)),
    "boundary": Experiment(phase_boundary, phase_boundary.Settings(), phase_boundary.QUICK),
    "coarse_optima": Experiment(exact_optimum, _optima(COARSE), _optima(QUICK_COARSE)),
    "longer": Experiment(
        phase_diagram,
        _longer(TEN_THREE, COARSE),
        _longer(QUICK_THREE, QUICK_COARSE, noisy_averages.QUICK_STEPS),
    ),
    "study_two": Experiment(
        phase_diagram, _study(TEN_TWO, COARSE), _study(QUICK, QUICK_COARSE), drawn=True
    ),
    "study_three": Experiment(
        phase_diagram, _study(TEN_THREE, COARSE), _study(QUICK_THREE, QUICK_COARSE), drawn=True
    ),
}


# Least shares of points that the claims ask for
SAME_DIAGRAM = 0.9  # at which two diagrams agree, or at which a region is reproduced
SMALLEST_PHASE = 0.03  # that each phase takes of the named diagram
REGION_KEPT = 0.5  # of a region of the named diagram, at which the optimum is like its solution
BEST_AGREES = 0.99  # at which the best restart shows the optimum's phase
LEAST_KINK = 0.1  # of the lowest named loss, in units of the loss of the ignored feature
# Densities on the two sides of those without a crossing of two exact optima below r = 1
CROSS_UP_TO = 0.7
CROSS_FROM = 0.875


def figures(results):
    """Draw all figures of the section and return them by name."""
    two, three = _diagrams(results)
    study = [
        (results.study_two, results.coarse_optima[0]),
        (results.study_three, results.coarse_optima[1]),
    ]
    return {
        "section3-n2": phase_diagram.figure(*two),
        "section3-n3": phase_diagram.figure(*three),
        "section3-boundary": phase_boundary.figure(results.boundary),
        "section3-study": noisy_averages.figure(study),
        "section3-longer": noisy_averages.longer_figure(results.longer, results.coarse_optima[1]),
    }


def _diagrams(results):
    """Pair the trained models of n=2 and of n=3 with the best optimum known."""
    return [
        (trained, best_known(trained, optimum))
        for trained, optimum in zip(results.diagrams, results.optima)
    ]


def claims(results):
    """Judge claims 3.1 to 3.5."""
    two, three = _diagrams(results)
    return [
        claim_three_phases(*two),
        claim_named(*two),
        claim_first_order(results.boundary),
        claim_four_solutions(three, results.longer, results.coarse_optima[1]),
        claim_exact(list(zip(results.diagrams, results.optima))),
    ]


def claim_three_phases(result, optimum):
    """Make claim 3.1 of `_region_findings`."""
    return Claim(
        "3.1",
        "n=2, m=1: three phases, in the mean of all restarts but the worst and in the best restart",
        "The second feature is ignored, in superposition as an antipodal pair, or has the "
        "dimension to itself, with sharp boundaries (Section 3).",
        _region_findings(result, optimum),
        "The best restart shows the optimum's phase at a share {best: share like the optimum} of "
        "the points, the mean at {mean: share like the optimum}.",
    )


def _region_findings(result, optimum):
    """Return the findings on the best restart and on the mean, alike for both diagrams.

    Each is refuted if it shows another phase than the optimum at more than one point in ten, or
    gives back less than nine tenths of a region of the named diagram, as far as the optimum itself
    keeps to that region. The evidence is training-limited where the models judged, once settled,
    stay above the optimum.
    """
    exact = last_feature(optimum.W)
    names = [solution.name for solution in NAMED_SOLUTIONS[result.W.shape[-1]]]
    shares = phase_diagram.regions(result, optimum)
    above = excess(result, optimum)
    best = {
        "best: share like the optimum": agreement(best_diagram(result), exact),
        **_numbers("best: gives back", names, shares.best),
    }
    mean = {
        "mean: share like the optimum": agreement(averaged_diagram(result), exact),
        **_numbers("mean: gives back", names, shares.mean),
        "mean: settled loss of its models over the optimum's, less 1": above.averaged,
    }
    return (
        effect(
            "The best of twenty restarts shows the optimum's phase, and gives back each named "
            "region as far as the optimum keeps to it, at nine points in ten or more.",
            min(best.values()) >= SAME_DIAGRAM,
            best,
            _strength(above.best),
        ),
        effect(
            "The mean of ten restarts but the worst shows it, and gives back each named region, to "
            "the same extent.",
            min(mean["mean: share like the optimum"], shares.mean.min().item()) >= SAME_DIAGRAM,
            mean,
            _strength(above.averaged),
        ),
    )


def _strength(above):
    """Return the strength of evidence that rests on models this far above the optimum's loss."""
    return strength(above, 0.0, SAME_LOSS)


def _numbers(words, names, values):
    """Name the number of each solution or phase."""
    return {f"{words} {name}": value for name, value in zip(names, values.tolist())}


def claim_named(result, optimum):
    """Judge claim 3.2 on the diagram of the named solutions.

    - Its three regions are refuted if a phase takes no more than 3 % of the points.
    - That it is the diagram of trained models is refuted if it differs from the best restart's at
      more than one point in ten.
    - That it is the diagram of the optimum is refuted in the same way, and if the optimum is unlike
      the named solution in more than half of a region, so that the named solution is wrong.
    """
    diagram = named_diagram(result)
    solutions = [solution.name for solution in NAMED_SOLUTIONS[2]]
    kept = phase_diagram.regions(result, optimum).optimum
    sizes = phase_shares(diagram)
    like_optimum = agreement(diagram, last_feature(optimum.W))
    like_best = agreement(diagram, best_diagram(result))
    findings = (
        effect(
            "The named solution of lowest loss is of each of the three phases somewhere, at more "
            "than 3 % of the points.",
            sizes.min().item() > SMALLEST_PHASE,
            _numbers("share", PHASES, sizes),
            EXACT,
        ),
        effect(
            "The named solution of lowest loss shows the phase of the best restart at nine points "
            "in ten or more.",
            like_best >= SAME_DIAGRAM,
            {"share like best restart": like_best},
            _strength(excess(result, optimum).best),
        ),
        ours(
            "The named solution of lowest loss shows the phase of the global optimum at nine "
            "points in ten or more, and the optimum is like it in more than half of each region.",
            like_optimum >= SAME_DIAGRAM and kept.min().item() >= REGION_KEPT,
            {
                "share like the optimum": like_optimum,
                **_numbers("share in which the optimum stays of", solutions, kept),
            },
            EXACT,
        ),
    )
    return Claim(
        "3.2",
        "the diagram of the named solutions has the same three regions",
        "The losses of three named solutions, in closed form, give a diagram of the same three "
        "regions (Section 3).",
        findings,
        "The diagram of the named solutions agrees with the best restart at a share {share like "
        "best restart} of the points, and with the optimum at {share like the optimum}.",
    )


def claim_first_order(result):
    """Make claim 3.3 of the findings on named solutions and on exact optima.

    A jump only at r = 1, where the features change places, follows from the symmetry. It counts for
    the named solutions, as the paper has it, and not for the exact optima.
    """
    return Claim(
        "3.3",
        "the change is first order: the losses of two solutions cross, the optimal loss has a kink",
        "The losses of the named solutions cross, so that the change between them is first order; "
        "a comment printed with the paper says that one transition is continuous, and its authors "
        "agree (Section 3).",
        (
            _named_crossing(result),
            _exact_crossing(result),
            _onset(result),
            _jump_after_onset(result),
        ),
        "The named solutions cross at every density. Two exact optima cross below r = 1 at {of "
        "these where two solutions cross below r = 1} of {densities} densities. The second feature "
        "grows out of zero continuously between densities {continuous by expansion from density} "
        "and {to}, but from the lower of these to about 0.7 a first-order jump follows at a higher "
        "r.",
    )


def _named_crossing(result):
    """Return the finding on the named solutions.

    It is refuted by one density at which the lowest named loss has a kink of less than 0.1, in
    units of the loss of the ignored feature, where representing the second feature begins to pay.
    """
    kinks = phase_boundary.named_kinks(result.density)
    return effect(
        "At every density the losses of two named solutions cross, and the lowest has a kink.",
        (kinks >= LEAST_KINK).all(),
        {"smallest kink of the lowest named loss": kinks.min().item()},
        EXACT,
    )


def _exact_crossing(result):
    """Return our finding on the densities at which two exact optima cross below r = 1.

    It is refuted by one density up to 0.7, or from 0.875 on, at which no two of the followed
    solutions cross, and by one between them at which two do.
    """
    crossing = phase_boundary.jumps(result)
    outside = (result.density <= CROSS_UP_TO) | (result.density >= CROSS_FROM)
    jump = (result.after - result.before)[crossing]
    return ours(
        f"Two exact optima cross below r = 1 at every density up to {CROSS_UP_TO:g} and from "
        f"{CROSS_FROM:g} on, and at none between.",
        (crossing == outside).all(),
        {
            "of these where two solutions cross below r = 1": int(crossing.sum()),
            "densities": len(crossing),
            **_number_if_any("smallest jump of |w_2| there", torch.min, jump),
            **_number_if_any("smallest kink there", torch.min, result.kink[crossing]),
        },
        EXACT,
    )


def _onset(result):
    """Return our finding on the order of the change from not represented.

    It is refuted by one density between the two tricritical ones of the expansion at which |w_2|
    jumps from zero, or by one beyond them at which it does not.
    """
    from_zero = phase_boundary.jumps_from_zero(result)
    continuous = result.density[~from_zero]
    lower, upper = tricritical_densities().tolist()
    between = (result.density > lower) & (result.density < upper)
    return ours(
        "The change from not represented is continuous between the two densities that an expansion "
        "gives, and first order at all others.",
        (from_zero != between).all(),
        {
            "densities where the change from not represented is first order": int(from_zero.sum()),
            **_number_if_any("lowest density where it is continuous", torch.min, continuous),
            **_number_if_any("highest density where it is continuous", torch.max, continuous),
            "continuous by expansion from density": lower,
            "to": upper,
        },
        EXACT,
    )


def _jump_after_onset(result):
    """Return our finding on what follows a continuous onset.

    It is refuted by one density from the lower tricritical one to 0.7 without a jump below r = 1.
    """
    lower, _ = tricritical_densities().tolist()
    seen = (result.density > lower) & (result.density <= CROSS_UP_TO)
    follows = phase_boundary.follows_onset(result)
    later = (result.ratio / result.onset)[follows] - 1
    return ours(
        "From the lower of the two densities that an expansion gives to 0.7, a first-order jump "
        "follows the continuous onset, at a higher r below 1.",
        seen.any() and follows[seen].all(),
        {
            "densities where a jump follows a continuous onset": int(follows.sum()),
            **_number_if_any("r of that jump over r of the onset, less 1, highest", max, later),
        },
        EXACT,
    )


def _number_if_any(name, choose, values):
    """Name the number that is chosen from the values, or return nothing if there are no values."""
    return {name: choose(values).item()} if len(values) else {}


def claim_four_solutions(diagram, longer, coarse_optimum):
    """Make claim 3.4 of `_region_findings` and of the study of longer training."""
    slow, fast = (_given_back(lr, STEPS[-1]) for lr in RATES)
    return Claim(
        "3.4",
        "n=3, m=2: the same with four solutions",
        "With three features in two dimensions the averages show the regions of four named "
        "solutions (Section 3).",
        (*_region_findings(*diagram), _longer_finding(longer, coarse_optimum)),
        "The best restart shows the optimum's phase at a share {best: share like the optimum} of "
        "the points, the mean at {mean: share like the optimum}; of the region of W ⟂ [1, 1, 0] "
        f"the mean gives back {{mean: gives back W ⟂ [1, 1, 0]}}, and on a coarser grid, after "
        f"{STEPS[-1]:,} steps, {{{fast}}} at the learning rate {RATES[1]:g} and {{{slow}}} at "
        f"{RATES[0]:g}.",
        "The average depends on the optimizer, and most of its models stay in local minima. A "
        "critic would average models trained as the paper's were, with ten thousand steps and more "
        "at several learning rates, on the full grid, and ask for which of them all four regions "
        "show in the average.",
    )


def _given_back(lr, steps):
    return f"given back at learning rate {lr:g} after {steps:,} steps"


def _longer_finding(results, optimum):
    """Return our finding on what averages show after longer training.

    It is refuted if, with the higher learning rate, the average gives back no more of the region of
    W ⟂ [1, 1, 0] after the most steps than after the fewest, or if, after any number of steps, it
    gives back no more with the higher learning rate than with the lower.
    """
    measured = noisy_averages.longer_averages(results, optimum)
    share = measured.given_back[:, :, -1]  # (rates, steps)
    numbers = {
        _given_back(lr, steps): share[i, k].item()
        for i, lr in reversed(list(enumerate(RATES)))
        for k, steps in reversed(list(enumerate(STEPS)))
    }
    numbers["mean: share like the optimum, most steps"] = measured.mean[-1, -1].item()
    above = excess(results[-1], best_known(results[-1], optimum))
    return ours(
        "The average gives back more of the region of W ⟂ [1, 1, 0] with a learning rate of 0.2 "
        "than with 0.01, and at 0.2 more after 10,000 steps than after 500.",
        (share[1] > share[0]).all() and share[1, -1] > share[1, 0],
        numbers,
        _strength(above.averaged),
    )


def claim_exact(diagrams):
    """Make claim 3.5 of the findings on both diagrams and their optima."""
    findings = [finding for pair in diagrams for finding in _exact_findings(*pair)]
    return Claim(
        "3.5",
        "(ours) trained models agree with the optimum of the exact loss and none is below it; "
        "local minima explain the noise of averages",
        "The paper's averages are noisy, and it does not ask why (Section 3).",
        tuple(findings),
        " ".join(_noise_seen(n) for n in ("n=2", "n=3")),
        "For n=3 the optimum is the best of many descents and no global one. A critic would search "
        "it further at the few points where the best restart shows another phase, and train more "
        "restarts there.",
    )


def _noise_seen(n):
    return (
        f"With {n}, where the average shows another phase than the optimum, leaving out restarts "
        f"in local minima mends a share {{{n}: share of the differing means that are right without "
        f"local minima}}, and as many at random {{{n}: the same by chance}}."
    )


def _exact_findings(result, optimum):
    """Return our findings on trained models and the optimum of one diagram.

    - "None is below" is refuted by one point at which a trained model settles below the optimum.
    - "The best agrees" is refuted if the best restart shows another phase than the optimum at more
      than one point in a hundred.
    - "Local minima" is refuted if the averages are noisy and leaving out the restarts in local
      minima mends less than CLEAN_MEAN of the differing points, or less than twice chance does.
    """
    n = f"n={result.W.shape[-1]}"
    below = int(below_optimum(result, optimum).sum())
    known = best_known(result, optimum)
    shares = noisy_averages.success(result, known)
    noise = noisy_averages.explained(result, known)
    mended = noise.share >= max(CLEAN_MEAN, 2 * noise.chance)
    of_optimum = (optimum.loss / known.loss).max().item() - 1
    return (
        ours(
            f"With {n} no trained model settles below the optimum.",
            below == 0,
            {f"{n}: points where a trained model settles below the optimum": below},
            strength(of_optimum, 0.0, 0.0),
        ),
        ours(
            f"With {n} the best of twenty restarts shows the optimum's phase at 99 points in a "
            "hundred or more.",
            shares.best >= BEST_AGREES,
            {
                f"{n}: best: share like the optimum": shares.best,
                f"{n}: share of restarts in its basin": shares.reached,
            },
            _strength(excess(result, known).best),
        ),
        ours(
            f"With {n} the average is clean, or leaving out restarts in local minima mends it, "
            "and as many at random do not.",
            shares.mean >= CLEAN_MEAN or mended,
            {
                f"{n}: share of the differing means that are right without local minima": (
                    noise.share
                ),
                f"{n}: the same by chance": noise.chance,
                f"{n}: mean: share like the optimum": shares.mean,
            },
            _strength(excess(result, known).best),
        ),
    )


def main(argv=None):
    """Run the section from the command line and return its exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
