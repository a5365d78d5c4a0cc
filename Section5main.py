"""Section 5, learning dynamics: do dimensionalities jump, and what are the stages of the loss?

    python Section5main.py              # the paper's settings, about two minutes on one core
    python Section5main.py --quick      # the same path, small, in seconds
    python Section5main.py --seed 3 --out /tmp/section5

Many equally important features that end in digons, of four sizes; two sets of three correlated features in space, on
the exact loss and by sampling, and the saddle points at which they rest. Saves the figures and an animation under
figures/ and prints claims 5.1 and 5.2.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

from experiments.section5 import jumps, stages
from sweeps import Claim, Experiment, section_main

MOST = 0.9  # share of features, runs or stages that have to agree
RESTS = 1e-3  # a gradient has vanished where its norm is below this share of the largest of any run
CLOSE = 0.1  # a run passes close to a point where it comes within this share of its norm at the end

EXPERIMENTS = {
    "digons": Experiment(jumps, jumps.SIZES, (jumps.QUICK,) * 2),
    "stages": Experiment(stages, stages.Settings(), stages.QUICK),
}


def figures(results):
    """All figures of the section by name."""
    return {
        "section5-digons": jumps.figure(results.digons),
        "section5-stages": stages.figure(results.stages),
        "section5-octahedron": stages.animation(results.stages),
    }


def claims(results):
    """Claims 5.1 and 5.2."""
    return [_claim_jumps(results.digons), _claim_stages(results.stages)]


def _claim_jumps(results):
    """Refuted where runs do not end in digons at sharp levels, where half of the moves between levels or of the drops
    of the loss are not sudden, or where sudden moves fall into drops of the loss no more often than by chance."""
    sudden, matched, together, drops = [], [], [], []
    for result in results:
        moves, fast = jumps.moves(result), jumps.drops(result)
        of_moves = jumps.sudden(result, moves.first, moves.last)
        sudden.append(of_moves)
        matched.append(jumps.in_drop(result, moves)[of_moves])
        together.append(jumps.together(result, moves))
        drops.append(jumps.sudden(result, fast.first, fast.last))
    at_levels, in_digons, chance = (
        sum(measure(result) for result in results) / len(results)
        for measure in (jumps.at_levels, jumps.in_digons, jumps.covered)
    )
    of_moves, of_drops, in_drops = (
        _share(torch.cat(values)) for values in (sudden, drops, matched)
    )
    numbers = {
        "share of features at a level in the end": at_levels,
        "share of represented features in digons": in_digons,
        "moves between levels": len(torch.cat(sudden)),
        "share of these that are sudden": of_moves,
        "share of a run's moves under way at once, median": torch.cat(together).median().item(),
        "share of sudden moves while the loss drops": in_drops,
        "share of log time in which it drops": chance,
        "share of drops that are sudden": of_drops,
    }
    ends = at_levels >= MOST and in_digons >= MOST
    holds = ends and of_moves > 0.5 and of_drops > 0.5 and in_drops > max(0.5, chance)
    return Claim(
        "5.1", "dimensionalities jump between levels while the loss drops suddenly", "yes", numbers, holds
    )  # fmt: skip


def _share(chosen):
    """The share that is chosen, 0 of none."""
    return chosen.double().mean().item() if len(chosen) else 0.0


def _claim_stages(result):
    """Refuted where a tenth of the runs has no stage between the first and the last one or no octahedron in the end, or
    where a tenth of the stages, but for the last, is not close to a point at which the exact gradient vanishes and the
    loss curves down."""
    course, points = result.exact, result.stationary
    counts = torch.tensor([len(of_run) for of_run in stages.stages(course)])
    before, rests = ~stages.is_last(result), points.gradient < RESTS * course.gradient.max()
    closest, down = stages.approach(result).amin(dim=0), stages.negative(result)
    saddles = (rests & (closest < CLOSE) & (down > 0))[before]
    exact, sampled = (stages.endings(of).get("octahedron", 0.0) for of in (course, result.sampled))
    numbers = {
        "stages of a run, median": counts.double().median().item(),
        "share of runs with at least three": _share(counts >= 3),
        "share of exact runs that end in an octahedron": exact,
        "share of sampled runs that do": sampled,
        "stages searched, but for the last": int(before.sum()),
        "share of these that are at a saddle point": _share(saddles),
        "share of last stages at a minimum": _share(
            (rests & (closest < CLOSE) & (down == 0))[~before]
        ),
        **(
            {"closest approach to the saddle points, median": closest[before].median().item()}
            if before.any()
            else {}
        ),
    }
    holds = min(_share(counts >= 3), exact, sampled, _share(saddles)) >= MOST
    return Claim(
        "5.2", "the loss has stages, each a geometric transformation, that end in an octahedron with features of "
        "different sets antipodal; (ours) the stages are saddle points of the exact loss", "yes", numbers, holds,
    )  # fmt: skip


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
