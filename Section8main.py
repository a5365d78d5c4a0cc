"""Section 8, computation in superposition: few neurons compute many absolute values.

    python Section8main.py              # the paper's settings, about a minute on 2 cores
    python Section8main.py --quick      # the same path, small, in seconds
    python Section8main.py --seed 3 --out /tmp/section8

Trains y' = ReLU(W2 ReLU(W1 x) + b) towards |x| at n=3, m=6; at n=100, m=40 over densities; and at
n=6, m=10, where it searches for the asymmetric superposition motif. Saves the figures under
figures/ and prints claims 8.1 to 8.3.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.section8 import absolute_value, asymmetric_motif
from experiments.section8.absolute_value import (
    best_neurons,
    importance_order,
    over_monosemantic,
    single_runs,
)
from sweeps import Claim, Experiment, section_main

SINGLE = 0.5  # 8.1: least share of the runs that have one neuron a side; the best run must, too
# 8.2: least share of the neurons in use that are monosemantic at the highest density, and
# polysemantic at the lowest.
KIND = 0.9
BOTH = 0.1  # 8.2: a model has both kinds if each has at least this share of all neurons
# 8.2: from one density to the next lower one, the monosemantic neurons grow in number by at most
# this share of all neurons.
RISE = 0.05
# 8.2: least share of the pairs of a mono- and a polysemantic neuron that are in the order of
# importance. By chance it is 1/2.
ORDERED = 0.75
COMMON = (
    0.25  # 8.3: least share of the runs with the motif, at one density; the best run must have it
)
COSTS = (
    1.5  # 8.3: least factor, in the median, by which the loss grows without the inhibiting weight
)
# 8.3: other outputs are inhibited at most this many times as often as those that are disturbed.
CHANCE = 0.5

EXPERIMENTS = {
    "sides": Experiment(absolute_value, absolute_value.SIDES, absolute_value.QUICK_SIDES),
    "neurons": Experiment(absolute_value, absolute_value.Settings(), absolute_value.QUICK),
    "motif": Experiment(
        asymmetric_motif,
        (asymmetric_motif.Settings(), asymmetric_motif.EQUAL),
        (asymmetric_motif.QUICK, asymmetric_motif.QUICK_EQUAL),
    ),
}


def figures(results):
    """Draw all figures of the section, by name."""
    return {
        "section8-sides": absolute_value.sides_figure(results.sides),
        "section8-neurons": absolute_value.figure(results.neurons),
        "section8-motif": asymmetric_motif.figure(results.motif),
    }


def claims(results):
    """Judge claims 8.1 to 8.3."""
    return [claim_sides(results.sides), claim_neurons(results.neurons), claim_motif(*results.motif)]


def claim_sides(result):
    """Judge 8.1.

    Refuted if the best run, or more than half of the runs, end in another arrangement.
    """
    is_single = single_runs(result)[0]
    losses = result.loss[0]
    share = is_single.double().mean().item()
    best = bool(is_single[losses.argmin()])
    numbers = {
        "runs": len(is_single),
        "share of these": share,
        "best run": int(best),
        "its loss": losses.min().item(),
    }
    if not is_single.all():
        numbers["lowest loss of any other run"] = losses[~is_single].min().item()
    return Claim(
        "8.1",
        "n=3, m=6, dense: each feature has one neuron for its positive and one for its negative "
        "side",
        "yes",
        numbers,
        best and share >= SINGLE,
    )


def claim_neurons(result):
    """Judge 8.2.

    Refuted if the neurons are not of one kind at either end of the densities, if monosemantic
    neurons come back as density falls, if no density has both kinds, or if at one that has both
    they are not in the order of importance.
    """
    neurons = best_neurons(result)
    hidden = neurons.main.shape[1]
    monosemantic = neurons.monosemantic.sum(dim=1)
    polysemantic = neurons.polysemantic.sum(dim=1)
    in_use = monosemantic + polysemantic
    has_both = (monosemantic >= BOTH * hidden) & (polysemantic >= BOTH * hidden)
    order = importance_order(neurons)[has_both]
    starts_monosemantic = monosemantic[0] >= KIND * in_use[0] > 0
    ends_polysemantic = polysemantic[-1] >= KIND * in_use[-1] > 0
    falls = (monosemantic.diff() <= RISE * hidden).all()
    is_ordered = len(order) > 0 and (order >= ORDERED).all()
    numbers = {
        f"monosemantic at density {density:g}": count
        for density, count in zip(result.density.tolist(), monosemantic.tolist())
    }
    numbers["polysemantic at the lowest"] = int(polysemantic[-1])
    numbers["densities with both kinds"] = int(has_both.sum())
    if len(order):
        lowest = "pairs of both kinds in the order of importance, lowest share"
        numbers[lowest] = order.min().item()
        numbers["and highest"] = order.max().item()
    relative = over_monosemantic(result, absolute_value.Settings().decay)
    numbers["loss over that of 20 features alone, lowest"] = relative.min().item()
    numbers["highest of these"] = relative.max().item()
    return Claim(
        "8.2",
        "n=100, m=40: from monosemantic to polysemantic neurons as density falls, both kinds in "
        "one model between, the most important features on monosemantic neurons",
        "yes",
        numbers,
        bool(starts_monosemantic and ends_polysemantic and falls and is_ordered),
    )


def claim_motif(result, equal):
    """Judge 8.3.

    Refuted if the motif is rare or the best run lacks it, if outputs that nothing disturbs are
    inhibited nearly as often, or if the inhibition is worth little.

    Args:
        result: The asymmetric_motif.Result of falling importances.
        equal: The asymmetric_motif.Result of equal importances, for one number only.
    """
    shares = asymmetric_motif.shares(result)
    point = int(shares[:, -1].argmax())  # where most runs have the motif
    best = result.loss[point].argmin()
    W1 = result.W1[point, best, None]
    W2 = result.W2[point, best, None]
    best_has_it = bool(asymmetric_motif.strongest(W1, W2).found)
    inhibited = asymmetric_motif.inhibition_shares(result)
    worth = asymmetric_motif.inhibition_worth(result)
    numbers = {"density with most": result.density[point].item()}
    for name, share in zip(asymmetric_motif.STAGES, shares[point].tolist()):
        numbers[f"share of runs: {name}"] = share
    numbers["best run there has the motif"] = int(best_has_it)
    numbers["disturbed outputs inhibited, share"] = inhibited.disturbed
    numbers["other outputs by the same rule"] = inhibited.others
    if len(worth):
        numbers["loss without the inhibiting weight over loss, median"] = worth.median().item()
    largest = asymmetric_motif.shares(equal)[:, -1].max().item()
    numbers["largest share of runs with equal importances"] = largest
    is_common = shares[point, -1] >= COMMON
    is_no_chance = inhibited.others <= CHANCE * inhibited.disturbed
    is_worth_it = len(worth) > 0 and worth.median() >= COSTS
    return Claim(
        "8.3",
        "n=6, m=10: the asymmetric superposition motif, a neuron with two features of reciprocal, "
        "unequal in- and out-weights, and another that inhibits where interference would be "
        "positive",
        "found",
        numbers,
        bool(is_common and best_has_it and is_no_chance and is_worth_it),
    )


def main(argv=None):
    """Run the command line and return the exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
