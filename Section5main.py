"""Section 5: features jump from level to level, and the loss falls in stages.

    python Section5main.py              # the paper's settings, about two minutes on 2 cores
    python Section5main.py --quick      # the same path, small, in seconds
    python Section5main.py --seed 3 --out /tmp/section5
    python Section5main.py --waiting    # the committed waiting times, two minutes on one core

Trains many equally important features that end in digons, finds what kind of point the plateau is
on which a lone feature waits, and what stands between it and its jump. Trains two sets of three
correlated features in space, on the exact loss and on sampled rows, and finds the saddle points at
which they rest. Saves the figures and an animation under figures/ and prints claims 5.1 and 5.2.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from types import SimpleNamespace

import torch

from experiments.section5 import barrier, jumps, plateaus, stages, waiting_times
from sweeps import Claim, Experiment, command_line, effect, ours
from sweeps.claims import EXACT, TRAINED
from sweeps.sections import section_results

MOST = 0.5  # 5.1: least share of the runs that have a jump, and of the features that stay
BY_CHANCE = 0.05  # 5.1: share of the shuffles that may have as large a drop of the loss
LEAST_SHARE = 0.9  # of the jumps, runs or stages that have to agree
STATIONARY = 1e-6  # 5.1: norm of a gradient that has vanished; that of the start is about 1
VANISHED = 1e-3  # 5.2: share of the largest gradient below which one has vanished
CLOSE = 0.1  # 5.2: distance of two points that are close, as a share of their norm at the end

EXPERIMENTS = {
    "jumps": Experiment(jumps, jumps.Settings(), jumps.QUICK),
    "plateaus": Experiment(plateaus, plateaus.Settings(), plateaus.QUICK),
    "barrier": Experiment(barrier, barrier.Settings(), barrier.QUICK),
    "stages": Experiment(stages, stages.Settings(), stages.QUICK),
}
# What is computed once and committed.
WAITING = SimpleNamespace(
    EXPERIMENTS={
        "waiting": Experiment(waiting_times, waiting_times.Settings(), waiting_times.QUICK)
    }
)


def figures(results):
    """Draw all figures of the section and return them by name."""
    return {
        "section5-jumps": jumps.figure(results.jumps),
        "section5-plateau": waiting_times.figure(results.barrier, waiting_times.committed()),
        "section5-stages": stages.figure(results.stages),
        "section5-octahedron": stages.animation(results.stages),
    }


def claims(results):
    """Judge claims 5.1 and 5.2."""
    return [
        claim_jumps(results.jumps, results.plateaus, results.barrier, waiting_times.committed()),
        claim_stages(results.stages),
    ]


# Claim 5.1


def claim_jumps(courses, settled, way, waits):
    """Judge claim 5.1.

    Args:
        courses: Result of jumps.py.
        settled: Result of plateaus.py.
        way: Result of barrier.py.
        waits: Result of waiting_times.py.
    """
    found = jumps.jumps(courses)
    return Claim(
        "5.1",
        "some features of a model jump between levels while others stay; with each jump the loss "
        "drops",
        "dimensionalities of features jump from one level to another while those of others stay, "
        "and with each jump the loss drops suddenly (Section 5)",
        (
            _some_jump(courses, found),
            _loss_drops(courses, found),
            _plateau_is_minimum(settled),
            _low_barrier(way, settled),
            _noise_ends_it(waits),
        ),
        _seen_jumps(found),
        "Runs that have not jumped by the end say nothing against the jump: train them on. Then "
        "try other sizes and densities, at which the emergence may leave over more than one "
        "feature, and other optimisers.",
    )


def _some_jump(courses, found):
    """Judge whether some features jump while others stay.

    Refuted if fewer than half of the runs have a jump after the emergence, or if in any of these
    events half of the features or fewer stay at their levels.
    """
    events = jumps.events(found)
    runs = courses.loss.shape[1]
    share = len(events.run.unique()) / runs
    pairs_up = jumps.pairs_up(found)
    numbers = {
        "share of runs with a jump after the emergence": share,
        "runs in which a lone feature becomes one of a digon": len(events.run[pairs_up].unique()),
        "runs": runs,
        "events": len(events.run),
    }
    stay = False
    if len(events.run):
        staying = jumps.staying(courses, events).min().item()
        stay = staying > MOST
        numbers["share of features that stay, least of all events"] = staying
    return effect(
        "After the emergence some features jump from one level to another while others stay.",
        share >= MOST and stay,
        numbers | _levels(courses, found),
        TRAINED,
    )


def _levels(courses, found):
    """Measure where, and for how long, a lone feature and its partner rest before they pair up."""
    in_pair = jumps.members(found)[jumps.pairs_up(found)].any(dim=0)
    if not in_pair.any():
        return {}
    falls = in_pair & (found.new < found.old)
    rises = in_pair & (found.new > found.old)
    interval = (courses.steps[1] - courses.steps[0]).item()
    passed = found.last - found.first
    levels = {
        "level that the lone feature leaves, median": found.old[falls].median().item(),
        "steps for which it rests there, median": interval * found.rested[falls].median().item(),
        "steps that its jump takes, median": interval * passed[falls].median().item(),
    }
    if rises.any():
        levels["level that the other feature leaves, median"] = found.old[rises].median().item()
    return levels


def _loss_drops(courses, found):
    """Judge whether the loss drops with each jump.

    Refuted if the mean loss after it is not lower in more than one event in ten, or if the mean
    drop of all events is matched in more than one in twenty draws of as many shuffled times.
    """
    events = jumps.events(found)
    drops = jumps.drops(courses, events)
    lower = _share(drops > 0)
    numbers = {"share of events across which the loss drops": lower}
    matched = 1.0
    if len(drops):
        shuffled = jumps.shuffled_drops(courses, events)
        matched = _share(shuffled.mean(dim=0) >= drops.mean())
        numbers |= {
            "the same at shuffled times": _share(shuffled.flatten() > 0),
            "mean drop in percent": 100 * drops.mean().item(),
            "the same at shuffled times, mean": 100 * shuffled.mean().item(),
            "share of shuffles with as large a mean": matched,
        }
    pairs_up = jumps.pairs_up(found)
    if pairs_up.any():
        median = 100 * drops[pairs_up].median().item()
        numbers["drop in percent where a digon forms, median"] = median
    return effect(
        "With each jump the loss drops, unlike at shuffled times.",
        lower >= LEAST_SHARE and matched <= BY_CHANCE,
        numbers,
        TRAINED,
    )


def _plateau_is_minimum(settled):
    """Judge whether the plateaus are minima of the exact loss.

    Refuted if there is none, or if for any of them the exact descent ends without a lone feature,
    or at a point with a direction, besides rotations, along which the loss does not curve up.
    """
    at_rest = settled.gradient < STATIONARY
    curves_up = plateaus.lowest_curvature(settled) > 0
    only_rotations = plateaus.flat_directions(settled) == settled.rotations
    minimum = plateaus.still_lone(settled) & at_rest & curves_up & only_rotations
    numbers = {
        "share of plateaus that settle at a minimum with a lone feature": _share(minimum),
        "plateaus": len(minimum),
        "runs trained": settled.runs.item(),
    }
    if len(minimum):
        numbers |= {
            "lowest curvature besides rotations": plateaus.lowest_curvature(settled).min().item(),
            "flat directions, which are the rotations": settled.rotations.max().item(),
            "largest difference of their losses": (settled.loss.max() - settled.loss.min()).item(),
        }
    return ours(
        "The plateau of a lone feature is a minimum of the exact loss, at which exact descent "
        "stays, and not a saddle point.",
        len(minimum) and minimum.all(),
        numbers,
        EXACT,
    )


def _low_barrier(way, settled):
    """Judge what stands between the plateau and the digon.

    Refuted if the exact loss does not rise on the way, if the top is not a saddle point with one
    direction down that leads to the plateau on one side and to digons on the other, or if the
    barrier is higher than what sampling noise adds to the loss on the plateau.
    """
    back, on = way.below_loss  # of the minima on both sides of the top
    height = way.top_loss - back
    down = barrier.directions_down(way)
    connects = way.below_is_lone[0] and way.below_is_digons[1]
    saddle = down == 1 and connects and way.top_gradient < STATIONARY
    numbers = {
        "height of the barrier, in millionths of the loss": 1e6 * (height / back).item(),
        "directions down at its top": down,
        "loss saved beyond it, in percent": 100 * (1 - on / back).item(),
    }
    low = False
    if len(settled.loss):
        noise = ((settled.start_loss - settled.loss) / height).median().item()
        low = noise > 1
        numbers["loss that noise adds on the plateau, over the height"] = noise
    return ours(
        "A weak feature that turns round leads to the digon, over a barrier that is lower than "
        "what sampling noise adds to the loss, and whose top is a saddle point with one direction "
        "down.",
        height > 0 and saddle and low,
        numbers,
        EXACT,
    )


def _noise_ends_it(waits):
    """Judge whether noise ends the plateau.

    Refuted if from the same minimum the mean wait at twice the learning rate, or with a quarter of
    the rows, is not shorter than at the middle setting, or if it is shorter at half the learning
    rate or with four times as many rows.
    """
    slow, middle, fast, few_rows, many_rows = waiting_times.mean_waits(waits).tolist()
    names = waiting_times.names(waits)
    medians = waits.waited.double().median(dim=1).values.tolist()
    shares = waiting_times.jumped_shares(waits)
    shortest_first = sorted(zip(medians, names))
    numbers = {f"median steps before the jump, {name}": median for median, name in shortest_first}
    numbers |= {f"share that jumps, {name}": share for name, share in zip(names, shares)}
    numbers["steps at which a run without a jump ends"] = waits.steps.max().item()
    numbers["runs each"] = waits.jumped.shape[1]
    return ours(
        "From the same minimum, noisier training jumps sooner: with a higher learning rate, or "
        "with fewer rows.",
        max(fast, few_rows) < middle and min(slow, many_rows) >= middle,
        numbers,
        TRAINED,
    )


def _seen_jumps(found):
    """Say what was seen of claim 5.1."""
    if not jumps.pairs_up(found).any():
        return (
            "Of {runs} runs, a share of {share of runs with a jump after the emergence} has a jump "
            "after the emergence, and in none a lone feature becomes one of a digon."
        )
    return (
        "One feature rests at dimensionality {level that the lone feature leaves, median} for "
        "{steps for which it rests there, median} steps; then it and one near 0 become a digon "
        "within {steps that its jump takes, median} steps, and the loss drops by "
        "{drop in percent where a digon forms, median} %: in "
        "{runs in which a lone feature becomes one of a digon} of {runs} runs."
    )


def _share(chosen):
    """Return the share that is chosen, and 0 if there is nothing to choose from."""
    return chosen.double().mean().item() if len(chosen) else 0.0


# Claim 5.2


def claim_stages(result):
    """Judge claim 5.2."""
    return Claim(
        "5.2",
        "two sets of three correlated features learn in stages, each a geometric transformation, "
        "and end as an octahedron with features of different sets antipodal",
        "the loss has stages, each of which is a geometric transformation, and the model ends as "
        "an octahedron (Section 5)",
        (
            _in_stages(result),
            _geometry_changes(result),
            _ends_as_octahedron(result),
            _rests_at_saddles(result),
            _ends_at_minimum(result),
        ),
        "Runs have {stages of a run, median} stages in the median. A share of "
        "{share of these at a saddle point} of those between the first and the last are at saddle "
        "points of the exact loss, and at least a share of "
        "{least share of runs that do, exact or sampled} of the runs ends as an octahedron.",
    )


def _in_stages(result):
    """Judge whether the loss has stages.

    Refuted if more than a tenth of the exact runs has no stage between the first, at which nothing
    is represented, and the last.
    """
    counts = torch.tensor([len(run_stages) for run_stages in stages.stages(result.exact)])
    several = _share(counts >= 3)
    numbers = {
        "share of runs with at least three stages": several,
        "stages of a run, median": counts.double().median().item(),
    }
    return effect(
        "The loss falls in at least three stages.", several >= LEAST_SHARE, numbers, TRAINED
    )


def _geometry_changes(result):
    """Judge whether the features' geometry changes from stage to stage.

    Refuted if more than a tenth of the followed runs' stages have the same weights as the stage
    before, up to rotation and to a tenth of their norm.
    """
    change = stages.changes(result)
    numbers = {
        "share of stages whose geometry differs from the one before": _share(change > CLOSE),
        "stages with one before": len(change),
    }
    if len(change):
        numbers["change relative to the weights at the end, median"] = change.median().item()
    return effect(
        "Each stage has another geometry than the one before.",
        _share(change > CLOSE) >= LEAST_SHARE,
        numbers,
        TRAINED,
    )


def _ends_as_octahedron(result):
    """Judge how runs end.

    Refuted if more than a tenth of the exact or of the sampled runs does not end as an octahedron
    of three pairs of features from different sets.
    """
    exact = stages.endings(result.exact).get("octahedron", 0.0)
    sampled = stages.endings(result.sampled).get("octahedron", 0.0)
    least = min(exact, sampled)
    numbers = {
        "least share of runs that do, exact or sampled": least,
        "share of exact runs": exact,
        "share of sampled runs": sampled,
    }
    return effect(
        "Runs end as an octahedron with features of different sets antipodal.",
        least >= LEAST_SHARE,
        numbers,
        TRAINED,
    )


def _visited(result):
    """Say which of the followed runs' stages are close to a point where the gradient vanishes."""
    closest = stages.approach(result).amin(dim=0)
    at_rest = result.stationary.gradient < VANISHED * result.exact.gradient.max()
    return at_rest & (closest < CLOSE)


def _rests_at_saddles(result):
    """Judge whether stages are saddle points.

    Refuted if more than a tenth of the stages between the first and the last is not close to a
    point at which the exact gradient vanishes and the loss curves down. The first ones, at which
    nothing is represented, do not count: there the gradient vanishes trivially.
    """
    saddle = _visited(result) & (stages.ways_down(result) > 0)
    before_last = ~stages.is_last(result)
    between = before_last & ~stages.is_empty(result)
    numbers = {
        "share of these at a saddle point": _share(saddle[between]),
        "stages between the first and the last": int(between.sum()),
        "share with the first ones": _share(saddle[before_last]),
    }
    return ours(
        "The stages between the first and the last are saddle points of the exact loss.",
        _share(saddle[between]) >= LEAST_SHARE,
        numbers,
        EXACT,
    )


def _ends_at_minimum(result):
    """Judge the last stages.

    Refuted if more than a tenth of them is not close to a point at which the exact gradient
    vanishes and the loss curves down nowhere.
    """
    minimum = (_visited(result) & (stages.ways_down(result) == 0))[stages.is_last(result)]
    numbers = {
        "share of last stages at a minimum": _share(minimum),
        "last stages": len(minimum),
    }
    return ours(
        "The last stage is a minimum of the exact loss.",
        _share(minimum) >= LEAST_SHARE,
        numbers,
        EXACT,
    )


def keep_waiting(arguments):
    """Write the computed waiting times as the committed ones."""
    waiting_times.save(section_results(WAITING, arguments, arguments.seed).waiting)


def main(argv=None):
    """Run the command line and return the exit status."""
    parser = command_line.argument_parser(__file__, __doc__)
    parser.add_argument("--waiting", action="store_true", help="compute only the waiting times")
    arguments = command_line.parse_arguments(parser, argv)
    if not arguments.waiting:
        return command_line.run_section(sys.modules[__name__], arguments)
    if arguments.quick:
        parser.error("argument --quick: expected no small settings for --waiting")
    return command_line.run_and_report([WAITING], arguments, lambda: keep_waiting(arguments))


if __name__ == "__main__":
    sys.exit(main())
