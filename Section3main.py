"""Section 3, superposition as a phase change: what becomes of the last feature as density and importance change.

    python Section3main.py              # the paper's settings, about a minute on 2 cores
    python Section3main.py --quick      # the same path, small, in seconds
    python Section3main.py --seed 3 --out /tmp/section3

Phase diagrams of n=2, m=1 and n=3, m=2: the named solutions, the exact optimum, trained models
averaged as the paper does, the best of the restarts, and the share of restarts that end in the
global optimum. Saves the figures under figures/ and prints claims 3.1 to 3.5.
"""

import sys
from dataclasses import replace

import torch

from claims import Claim
from experiments import boundary, exact_optimum, phase_diagram
from experiments.phase_diagram import agreement, averaged, best, named, phase_shares
from phases import NAMED_SOLUTIONS, PHASES, last_feature, nearest_named, phase
from sweeps import Experiment, section_main

TWO, THREE = phase_diagram.Settings(), phase_diagram.THREE  # n=2, m=1 and n=3, m=2
QUICK, QUICK_THREE = phase_diagram.QUICK, phase_diagram.QUICK_THREE


def _optima(points):
    return tuple(exact_optimum.Settings(features, points) for features in (TWO.features, THREE.features))


def _study(settings, points):
    return phase_diagram.study(replace(settings, points=points))


EXPERIMENTS = {
    "optima": Experiment(exact_optimum, _optima(TWO.points), _optima(QUICK.points)),
    "diagrams": Experiment(phase_diagram, (TWO, THREE), (QUICK, QUICK_THREE)),
    "boundary": Experiment(boundary, boundary.Settings(), boundary.QUICK),
    "study_optima": Experiment(exact_optimum, _optima(12), _optima(4)),
    "study_two": Experiment(phase_diagram, _study(TWO, 12), _study(QUICK, 4)),
    "study_three": Experiment(phase_diagram, _study(THREE, 12), _study(QUICK_THREE, 4)),
}


def figures(results):
    """All figures of the section by name."""
    two, three = zip(results.diagrams, results.optima)
    studies = zip((results.study_two, results.study_three), results.study_optima)
    return {
        "section3-n2": phase_diagram.figure(*two),
        "section3-n3": phase_diagram.figure(*three),
        "section3-boundary": boundary.figure(results.boundary),
        "section3-study": phase_diagram.study_figure(list(studies)),
    }


def claims(results):
    """Claims 3.1 to 3.5."""
    two, three = zip(results.diagrams, results.optima)
    return [
        _claim_phases(*two),
        _claim_named(two[0]),
        _claim_first_order(results.boundary),
        _claim_four_solutions(three[0]),
        _claim_exact(two, three),
    ]


def _claim_phases(result, optimum):
    numbers, holds = {}, True
    for name, diagram in (("mean", averaged(result)), ("best", best(result))):
        shares, agree = phase_shares(diagram), agreement(diagram, last_feature(optimum.W))
        numbers |= _by_name(f"{name}: share", PHASES, shares)
        numbers[f"{name}: share like exact optimum"] = agree
        holds &= bool((shares > 0.03).all()) and agree > 0.9
    return Claim(
        "3.1", "n=2, m=1: three phases, in the mean of all restarts but the worst and in the best restart", "yes",
        numbers, holds,
    )  # fmt: skip


def _by_name(what, names, shares):
    return {f"{what} {name}": share for name, share in zip(names, shares.tolist())}


def _claim_named(result):
    shares, agree = phase_shares(named(result)), agreement(named(result), best(result))
    return Claim(
        "3.2", "the diagram of the named solutions has the same three regions", "yes",
        {**_by_name("share", PHASES, shares), "share like best restart": agree},
        bool((shares > 0.03).all()) and agree > 0.9,
    )  # fmt: skip


def _claim_first_order(result):
    jumps, sharp = boundary.jumps(result), boundary.out_of_zero(result)
    smooth = jumps & ~sharp
    return Claim(
        "3.3", "the change is first order: the losses of two solutions cross, the optimal loss has a kink", "yes",
        {
            "densities": len(jumps),
            "of these with a jump of |w_2|": int(jumps.sum()),
            **_one("smallest jump", torch.min, (result.after - result.before)[jumps]),
            "smallest kink": result.kink.min().item(),
            "largest kink": result.kink.max().item(),
            "jumps out of zero": int(sharp.sum()),
            **_one("highest density of these", torch.max, result.density[sharp]),
            "jumps after a smooth rise": int(smooth.sum()),
            **_one("lowest density of those", torch.min, result.density[smooth]),
        },
        bool(jumps.all()),
    )  # fmt: skip


def _one(name, choose, values):
    """The number that is chosen from values, or none where there are none."""
    return {name: choose(values).item()} if len(values) else {}


def _claim_four_solutions(result):
    found = nearest_named(phase_diagram.best_weights(result))
    shares = torch.bincount(found, minlength=4) / len(found)
    of_best, of_mean = (agreement(named(result), diagram(result)) for diagram in (best, averaged))
    names = (solution.name for solution in NAMED_SOLUTIONS[3])
    return Claim(
        "3.4", "n=3, m=2: the same with four solutions", "yes",
        {
            **_by_name("best: share most like", names, shares),
            "best: share in the named phase": of_best,
            "mean: share in the named phase": of_mean,
        },
        bool((shares > 0.03).all()) and of_best > 0.9,
    )  # fmt: skip


def _claim_exact(*diagrams):
    numbers, holds = {}, True
    for result, optimum in diagrams:
        exact = last_feature(optimum.W)
        of_best, of_mean = (agreement(diagram(result), exact) for diagram in (best, averaged))
        reached = phase_diagram.in_global_optimum(result, optimum).double().mean(dim=1)
        differs = phase(*averaged(result)) != phase(*exact)
        explained = (reached[differs] < 1).double().mean().item() if differs.any() else 1.0
        n = f"n={result.W.shape[-1]}"
        numbers |= {
            f"{n}: best: share like exact optimum": of_best,
            f"{n}: mean: share like exact optimum": of_mean,
            f"{n}: share of restarts in its basin": reached.mean().item(),
            f"{n}: local minima's share of the excess loss": phase_diagram.excess(result, optimum),
            f"{n}: share of points where the mean differs that have local minima": explained,
        }
        holds &= of_best >= 0.99 and (of_mean >= 0.95 or explained >= 0.95)
    return Claim(
        "3.5", "(ours) trained models agree with the exact optimum; local minima explain the noise of averages", "-",
        numbers, holds,
    )  # fmt: skip


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
