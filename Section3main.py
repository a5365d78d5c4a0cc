"""Section 3: superposition of the last feature is a phase change in density and importance.

    python Section3main.py              # the paper's settings, about a minute on 2 cores
    python Section3main.py --quick      # the same path, small, in seconds
    python Section3main.py --seed 3 --out /tmp/section3

Draws phase diagrams of n=2, m=1 and of n=3, m=2: of the named solutions, of the optimum of the
exact loss (for n=3 the best solution known), of trained models averaged as in the paper, of the
best restart, and of the share of restarts that end in the optimum. Saves the figures under
figures/ and prints claims 3.1 to 3.5.
"""

import signal
import sys
from dataclasses import replace

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

from experiments.section3 import exact_optimum, noisy_averages, phase_boundary, phase_diagram
from experiments.section3.noisy_averages import CLEAN_MEAN
from experiments.section3.phase_diagram import (
    agreement,
    averaged_diagram,
    below_optimum,
    best_diagram,
    best_known,
    named_diagram,
    phase_shares,
)
from sweeps import Claim, Experiment, section_main
from theory.boundary import tricritical_densities
from theory.phases import NAMED_SOLUTIONS, PHASES, last_feature

TWO = phase_diagram.Settings()  # n=2, m=1
THREE = phase_diagram.THREE  # n=3, m=2
QUICK = phase_diagram.QUICK
QUICK_THREE = phase_diagram.QUICK_THREE


def _optima(points):
    """Settings of the optimum for both diagrams."""
    return tuple(exact_optimum.Settings(features, points) for features in (2, 3))


def _study(settings, points):
    """Settings of the study of noisy averages, on a coarser grid than the diagrams."""
    return noisy_averages.study(replace(settings, points=points))


EXPERIMENTS = {
    "optima": Experiment(exact_optimum, _optima(TWO.points), _optima(QUICK.points)),
    "diagrams": Experiment(phase_diagram, (TWO, THREE), (QUICK, QUICK_THREE)),
    "boundary": Experiment(phase_boundary, phase_boundary.Settings(), phase_boundary.QUICK),
    "study_optima": Experiment(exact_optimum, _optima(12), _optima(4), drawn=True),
    "study_two": Experiment(phase_diagram, _study(TWO, 12), _study(QUICK, 4), drawn=True),
    "study_three": Experiment(phase_diagram, _study(THREE, 12), _study(QUICK_THREE, 4), drawn=True),
}


# Least shares of points that the claims ask for
SAME_DIAGRAM = 0.9  # at which two diagrams agree, or at which a region is reproduced
SMALLEST_PHASE = 0.03  # that each phase takes of the named diagram
REGION_KEPT = 0.5  # of a region of the named diagram, at which the optimum is like its solution
BEST_AGREES = 0.99  # at which the best restart shows the optimum's phase


def figures(results):
    """Draw all figures of the section and return them by name."""
    two, three = _diagrams(results)
    study = [
        (results.study_two, results.study_optima[0]),
        (results.study_three, results.study_optima[1]),
    ]
    return {
        "section3-n2": phase_diagram.figure(*two),
        "section3-n3": phase_diagram.figure(*three),
        "section3-boundary": phase_boundary.figure(results.boundary),
        "section3-study": noisy_averages.figure(study),
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
    phases_of_two = (
        "n=2, m=1: three phases, in the mean of all restarts but the worst and in the best restart"
    )
    return [
        _claim_regions("3.1", phases_of_two, *two),
        _claim_named(*two),
        _claim_first_order(results.boundary),
        _claim_regions("3.4", "n=3, m=2: the same with four solutions", *three),
        _claim_exact(zip(results.diagrams, results.optima)),
    ]


def _claim_regions(claim, statement, result, optimum):
    """Judge claim 3.1 or 3.4, with the same criteria for both diagrams.

    It is refuted if the best restart or the mean shows another phase than the optimum at more than
    one point in ten. It is also refuted if one of them reproduces less than nine tenths of a region
    of the named diagram, as far as the optimum itself keeps to that region.
    """
    exact = last_feature(optimum.W)
    agreements = {
        "best: share like the optimum": agreement(best_diagram(result), exact),
        "mean: share like the optimum": agreement(averaged_diagram(result), exact),
    }
    names = [solution.name for solution in NAMED_SOLUTIONS[result.W.shape[-1]]]
    shares = phase_diagram.regions(result, optimum)
    reproduced = {
        **_numbers("best: gives back", names, shares.best),
        **_numbers("mean: gives back", names, shares.mean),
    }
    numbers = agreements | reproduced
    return Claim(claim, statement, "yes", numbers, min(numbers.values()) >= SAME_DIAGRAM)


def _numbers(words, names, values):
    """Name the number of each solution or phase."""
    return {f"{words} {name}": value for name, value in zip(names, values.tolist())}


def _claim_named(result, optimum):
    """Judge claim 3.2 on the diagram of the named solutions.

    It is refuted if that diagram differs from the optimum's or from the best restart's at more than
    one point in ten. It is also refuted if the optimum is unlike the named solution in more than
    half of a region, so that the named solution itself is wrong, or if a phase is missing.
    """
    diagram = named_diagram(result)
    solutions = [solution.name for solution in NAMED_SOLUTIONS[2]]
    kept = phase_diagram.regions(result, optimum).optimum
    phase_sizes = phase_shares(diagram)
    like_optimum = agreement(diagram, last_feature(optimum.W))
    like_best = agreement(diagram, best_diagram(result))
    return Claim(
        "3.2",
        "the diagram of the named solutions has the same three regions",
        "yes",
        {
            **_numbers("share", PHASES, phase_sizes),
            **_numbers("share in which the optimum stays of", solutions, kept),
            "share like the optimum": like_optimum,
            "share like best restart": like_best,
        },
        min(like_optimum, like_best) >= SAME_DIAGRAM
        and kept.min().item() >= REGION_KEPT
        and phase_sizes.min().item() > SMALLEST_PHASE,
    )


def _claim_first_order(result):
    """Judge claim 3.3.

    It is refuted by one density at which no two of the followed solutions cross below r = 1. A jump
    only at r = 1, where the features change places, follows from the symmetry and does not count.
    """
    crossing = phase_boundary.jumps(result)
    from_zero = phase_boundary.jumps_from_zero(result)
    continuous = result.density[~from_zero]
    jump = (result.after - result.before)[crossing]
    lower, upper = tricritical_densities().tolist()
    return Claim(
        "3.3",
        "the change is first order: the losses of two solutions cross, the optimal loss has a kink",
        "yes",
        {
            "densities": len(crossing),
            "of these where two solutions cross below r = 1": int(crossing.sum()),
            **_number_if_any("smallest jump of |w_2| there", torch.min, jump),
            **_number_if_any("smallest kink there", torch.min, result.kink[crossing]),
            "densities where the change from not represented is first order": int(from_zero.sum()),
            **_number_if_any("lowest density where it is continuous", torch.min, continuous),
            **_number_if_any("highest density where it is continuous", torch.max, continuous),
            "continuous by expansion from density": lower,
            "to": upper,
        },
        bool(crossing.all()),
    )


def _number_if_any(name, choose, values):
    """Name the number that is chosen from the values, or return nothing if there are no values."""
    return {name: choose(values).item()} if len(values) else {}


def _claim_exact(diagrams):
    """Judge claim 3.5 on both diagrams and their optima.

    It is refuted if a trained model settles below the optimum, if the best restart shows another
    phase than the optimum at more than one point in a hundred, or if the averages are noisy and
    leaving out the restarts in local minima does not mend them.
    """
    numbers = {}
    verdicts = []
    for result, optimum in diagrams:
        below = int(below_optimum(result, optimum).sum())
        known = best_known(result, optimum)
        shares = noisy_averages.success(result, known)
        noise = noisy_averages.explained(result, known)
        n = f"n={result.W.shape[-1]}"
        numbers |= {
            f"{n}: points where a trained model settles below the optimum": below,
            f"{n}: best: share like the optimum": shares.best,
            f"{n}: mean: share like the optimum": shares.mean,
            f"{n}: share of restarts in its basin": shares.reached,
            f"{n}: share of the differing means that are right without local minima": noise.share,
            f"{n}: the same by chance": noise.chance,
        }
        mended = noise.share >= max(CLEAN_MEAN, 2 * noise.chance)
        clean = shares.mean >= CLEAN_MEAN or mended
        verdicts.append(below == 0 and shares.best >= BEST_AGREES and clean)
    return Claim(
        "3.5",
        "(ours) trained models agree with the optimum of the exact loss and none is below it; "
        "local minima explain the noise of averages",
        "-",
        numbers,
        all(verdicts),
    )


def main(argv=None):
    """Run the section from the command line and return its exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
