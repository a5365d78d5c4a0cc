"""Section 3, superposition as a phase change: what becomes of the last feature as density and importance change.

    python Section3main.py              # the paper's settings, about a minute on 2 cores
    python Section3main.py --quick      # the same path, small, in seconds
    python Section3main.py --seed 3 --out /tmp/section3

Phase diagrams of n=2, m=1 and n=3, m=2: the named solutions, the optimum of the exact loss (for n=3 the best solution
known), trained models averaged as the paper does, the best of the restarts, and the share of restarts that end in the
optimum. Saves the figures under figures/ and prints claims 3.1 to 3.5.
"""

import signal
import sys
from dataclasses import replace

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

from experiments.section3 import exact_optimum, noisy_averages, phase_boundary, phase_diagram
from experiments.section3.phase_diagram import (
    agreement,
    averaged,
    below,
    best,
    best_known,
    named,
    phase_shares,
)
from sweeps import Claim, Experiment, section_main
from theory.boundary import tricritical_densities
from theory.phases import NAMED_SOLUTIONS, PHASES, last_feature

TWO, THREE = phase_diagram.Settings(), phase_diagram.THREE  # n=2, m=1 and n=3, m=2
QUICK, QUICK_THREE = phase_diagram.QUICK, phase_diagram.QUICK_THREE


def _optima(points):
    return tuple(
        exact_optimum.Settings(features, points) for features in (TWO.features, THREE.features)
    )


def _study(settings, points):
    return noisy_averages.study(replace(settings, points=points))


EXPERIMENTS = {
    "optima": Experiment(exact_optimum, _optima(TWO.points), _optima(QUICK.points)),
    "diagrams": Experiment(phase_diagram, (TWO, THREE), (QUICK, QUICK_THREE)),
    "boundary": Experiment(phase_boundary, phase_boundary.Settings(), phase_boundary.QUICK),
    "study_optima": Experiment(exact_optimum, _optima(12), _optima(4), drawn=True),
    "study_two": Experiment(phase_diagram, _study(TWO, 12), _study(QUICK, 4), drawn=True),
    "study_three": Experiment(phase_diagram, _study(THREE, 12), _study(QUICK_THREE, 4), drawn=True),
}


# Bars of the claims, shares of points
ALIKE = 0.9  # two diagrams are the same; a trained diagram gives a region back
LEAST = 0.03  # every phase has more of the named diagram
THERE = 0.5  # a region of the named diagram is one of the optimum, too
TRUE = 0.99  # the best restart is the optimum
CLEAN = 0.95  # the average is; or local minima explain where it is not, and at least twice as much as chance


def figures(results):
    """All figures of the section by name."""
    two, three = _diagrams(results)
    studies = zip((results.study_two, results.study_three), results.study_optima)
    return {
        "section3-n2": phase_diagram.figure(*two),
        "section3-n3": phase_diagram.figure(*three),
        "section3-boundary": phase_boundary.figure(results.boundary),
        "section3-study": noisy_averages.figure(list(studies)),
    }


def _diagrams(results):
    """(trained, optimum) of n=2 and of n=3, nothing that was trained below the optimum."""
    return [
        (trained, best_known(trained, optimum))
        for trained, optimum in zip(results.diagrams, results.optima)
    ]


def claims(results):
    """Claims 3.1 to 3.5."""
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
    """The same bars for both diagrams: refuted where best restart or mean differ from the optimum at one point in ten,
    or either gives back less than nine tenths of a region of the named diagram, as far as the optimum stays in it."""
    exact, shares = last_feature(optimum.W), phase_diagram.regions(result, optimum)
    agree = {f"{name}: share like the optimum": agreement(diagram(result), exact)
             for name, diagram in (("best", best), ("mean", averaged))}  # fmt: skip
    names = [solution.name for solution in NAMED_SOLUTIONS[result.W.shape[-1]]]
    given_back = _by_name("best: gives back", names, shares.best) | _by_name(
        "mean: gives back", names, shares.mean
    )
    return Claim(
        claim, statement, "yes", {**agree, **given_back},
        min(*agree.values(), *given_back.values()) >= ALIKE,
    )  # fmt: skip


def _by_name(what, names, shares):
    return {f"{what} {name}": share for name, share in zip(names, shares.tolist())}


def _claim_named(result, optimum):
    """Refuted where the named diagram is another than the optimum's or the best restart's at one point in ten, or the
    optimum has left a region of it by more than half (the named solution is what is wrong), or it lacks a phase."""
    of_named, shares = named(result), phase_diagram.regions(result, optimum).optimum
    of_phases = phase_shares(of_named)
    agree = [agreement(of_named, other) for other in (last_feature(optimum.W), best(result))]
    return Claim(
        "3.2", "the diagram of the named solutions has the same three regions", "yes",
        {
            **_by_name("share", PHASES, of_phases),
            **_by_name("share in which the optimum stays of", [s.name for s in NAMED_SOLUTIONS[2]], shares),
            "share like the optimum": agree[0],
            "share like best restart": agree[1],
        },
        min(agree) >= ALIKE and shares.min().item() >= THERE and of_phases.min().item() > LEAST,
    )  # fmt: skip


def _claim_first_order(result):
    """Refuted by a density at which no two followed solutions cross below r = 1: what jumps at r = 1 alone, where the
    features change places, follows from the symmetry."""
    crossing, sharp = phase_boundary.jumps(result), phase_boundary.out_of_zero(result)
    smooth = result.density[~sharp]
    lower, upper = tricritical_densities().tolist()
    return Claim(
        "3.3", "the change is first order: the losses of two solutions cross, the optimal loss has a kink", "yes",
        {
            "densities": len(crossing),
            "of these where two solutions cross below r = 1": int(crossing.sum()),
            **_one("smallest jump of |w_2| there", torch.min, (result.after - result.before)[crossing]),
            **_one("smallest kink there", torch.min, result.kink[crossing]),
            "densities where the change from not represented is first order": int(sharp.sum()),
            **_one("lowest density where it is continuous", torch.min, smooth),
            **_one("highest density where it is continuous", torch.max, smooth),
            "continuous by expansion from density": lower,
            "to": upper,
        },
        bool(crossing.all()),
    )  # fmt: skip


def _one(name, choose, values):
    """The number that is chosen from values, or none where there are none."""
    return {name: choose(values).item()} if len(values) else {}


def _claim_exact(diagrams):
    """Refuted where a trained model settles below the optimum, where the best restart is another than the optimum at
    one point in a hundred, or where averages are noisy and leaving out local minima does not mend them."""
    numbers, holds = {}, True
    for result, optimum in diagrams:
        lower, optimum = int(below(result, optimum).sum()), best_known(result, optimum)
        reached, of_mean, of_best = noisy_averages.success(result, optimum)
        differing = noisy_averages.explained(result, optimum)
        n = f"n={result.W.shape[-1]}"
        numbers |= {
            f"{n}: points where a trained model settles below the optimum": lower,
            f"{n}: best: share like the optimum": of_best,
            f"{n}: mean: share like the optimum": of_mean,
            f"{n}: share of restarts in its basin": reached,
            f"{n}: share of the differing means that are right without local minima": differing.share,
            f"{n}: the same by chance": differing.chance,
        }
        mended = differing.share >= max(CLEAN, 2 * differing.chance)
        holds &= lower == 0 and of_best >= TRUE and (of_mean >= CLEAN or mended)
    return Claim(
        "3.5", "(ours) trained models agree with the optimum of the exact loss and none is below it; local minima "
        "explain the noise of averages", "-", numbers, holds,
    )  # fmt: skip


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
