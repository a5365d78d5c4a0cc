"""Section 5: the dimensionalities of features jump, and the loss falls in stages.

    python Section5main.py              # the paper's settings, about two minutes on one core
    python Section5main.py --quick      # the same path, small, in seconds
    python Section5main.py --seed 3 --out /tmp/section5

Trains many equally important features that end in digons, in models of four sizes. Trains two sets
of three correlated features in space, on the exact loss and on sampled rows, and finds the saddle
points at which they rest. Saves the figures and an animation under figures/ and prints claims 5.1
and 5.2.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

from experiments.section5 import jumps, stages
from sweeps import Claim, Experiment, section_main

LEAST_SHARE = 0.9  # of the features, runs or stages that have to agree
VANISHED = 1e-3  # a gradient has vanished if its norm is below this share of the largest of any run
CLOSE = 0.1  # a run passes close to a point if it comes within this share of its norm at the end

EXPERIMENTS = {
    "digons": Experiment(jumps, jumps.SIZES, (jumps.QUICK,) * 2),
    "stages": Experiment(stages, stages.Settings(), stages.QUICK),
}


def figures(results):
    """Draw all figures of the section and return them by name."""
    return {
        "section5-digons": jumps.figure(results.digons),
        "section5-stages": stages.figure(results.stages),
        "section5-octahedron": stages.animation(results.stages),
    }


def claims(results):
    """Judge claims 5.1 and 5.2."""
    return [_claim_jumps(results.digons), _claim_stages(results.stages)]


def _claim_jumps(results):
    """Judge claim 5.1.

    It is refuted if the runs do not end in digons at sharp levels, if half of the moves between
    levels or half of the drops of the loss are not sudden, or if sudden moves coincide with drops
    of the loss no more often than by chance.
    """
    sudden_moves = []
    sudden_drops = []
    coincident = []
    simultaneous = []
    for result in results:
        moves = jumps.moves(result)
        drops = jumps.drops(result)
        sudden = jumps.sudden(result, moves.first, moves.last)
        sudden_moves.append(sudden)
        sudden_drops.append(jumps.sudden(result, drops.first, drops.last))
        coincident.append(jumps.during_drops(result, moves)[sudden])
        simultaneous.append(jumps.simultaneous_share(result, moves))
    at_levels = _mean([jumps.at_levels(result) for result in results])
    in_digons = _mean([jumps.in_digons(result) for result in results])
    chance = _mean([jumps.dropping_share(result) for result in results])
    moves_share = _share(torch.cat(sudden_moves))
    drops_share = _share(torch.cat(sudden_drops))
    coincident_share = _share(torch.cat(coincident))
    numbers = {
        "share of features at a level in the end": at_levels,
        "share of represented features in digons": in_digons,
        "moves between levels": len(torch.cat(sudden_moves)),
        "share of these that are sudden": moves_share,
        "share of a run's moves under way at once, median": torch.cat(simultaneous).median().item(),
        "share of sudden moves while the loss drops": coincident_share,
        "share of log time in which it drops": chance,
        "share of drops that are sudden": drops_share,
    }
    ends_in_digons = at_levels >= LEAST_SHARE and in_digons >= LEAST_SHARE
    is_sudden = moves_share > 0.5 and drops_share > 0.5
    return Claim(
        "5.1",
        "dimensionalities jump between levels while the loss drops suddenly",
        "yes",
        numbers,
        ends_in_digons and is_sudden and coincident_share > max(0.5, chance),
    )


def _mean(values):
    """Average over the results."""
    return sum(values) / len(values)


def _share(chosen):
    """Return the share that is chosen, and 0 if there is nothing to choose from."""
    return chosen.double().mean().item() if len(chosen) else 0.0


def _claim_stages(result):
    """Judge claim 5.2.

    It is refuted if more than a tenth of the runs has no stage between the first and the last one,
    or does not end in an octahedron. It is also refuted if more than a tenth of the stages before
    the last one are not close to a point at which the exact gradient vanishes and the loss curves
    down.
    """
    course = result.exact
    last = stages.is_last(result)
    counts = torch.tensor([len(run_stages) for run_stages in stages.stages(course)])
    several = _share(counts >= 3)
    closest = stages.approach(result).amin(dim=0)
    at_rest = result.stationary.gradient < VANISHED * course.gradient.max()
    visited = at_rest & (closest < CLOSE)
    down = stages.ways_down(result)
    saddles = _share((visited & (down > 0))[~last])
    exact = stages.endings(course).get("octahedron", 0.0)
    sampled = stages.endings(result.sampled).get("octahedron", 0.0)
    numbers = {
        "stages of a run, median": counts.double().median().item(),
        "share of runs with at least three": several,
        "share of exact runs that end in an octahedron": exact,
        "share of sampled runs that do": sampled,
        "stages searched, but for the last": int((~last).sum()),
        "share of these that are at a saddle point": saddles,
        "share of last stages at a minimum": _share((visited & (down == 0))[last]),
    }
    if not last.all():
        closest_median = closest[~last].median().item()
        numbers["closest approach to the saddle points, median"] = closest_median
    return Claim(
        "5.2",
        "the loss has stages, each a geometric transformation, that end in an octahedron with "
        "features of different sets antipodal; (ours) the stages are saddle points of the exact "
        "loss",
        "yes",
        numbers,
        min(several, exact, sampled, saddles) >= LEAST_SHARE,
    )


def main(argv=None):
    """Run the section from the command line and return its exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
