"""Section 8, computation in superposition: neurons that compute absolute values of more features than they suffice for.

    python Section8main.py              # the paper's settings, about a minute on 2 cores
    python Section8main.py --quick      # the same path, small, in seconds
    python Section8main.py --seed 3 --out /tmp/section8

Trains y' = ReLU(W2 ReLU(W1 x) + b) towards |x| at n=3, m=6, at n=100, m=40 over densities, and at n=6, m=10, where it
searches for the asymmetric superposition motif. Saves the figures under figures/ and prints claims 8.1 to 8.3.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.section8 import absolute_value, asymmetric_motif
from experiments.section8.absolute_value import (
    importance_order,
    neurons,
    over_monosemantic,
    single_runs,
)
from sweeps import Claim, Experiment, section_main

SINGLE = 0.5  # 8.1: this share of single runs, and the best one, have one neuron a side
KIND = 0.9  # 8.2: of the neurons in use, so many are monosemantic when dense, and polysemantic when sparsest
BOTH = 0.1  # a model has both kinds where each has at least this share of all neurons
RISE = 0.05  # the monosemantic ones grow by no more than this share of all neurons from one density to a lower one
ORDERED = 0.75  # of pairs of a mono- and a polysemantic neuron, so many in the order of importance (by chance 1/2)
COMMON = 0.25  # 8.3: at one density, so many single runs have the motif, and the best one too
COSTS = 1.5  # without its inhibiting weight a model's loss is at least so many times larger, in the median
CHANCE = 0.5  # another output is inhibited at most this times as often as the one that is disturbed

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
    """All figures of the section by name."""
    return {
        "section8-sides": absolute_value.sides_figure(results.sides),
        "section8-neurons": absolute_value.figure(results.neurons),
        "section8-motif": asymmetric_motif.figure(results.motif),
    }


def claims(results):
    """Claims 8.1 to 8.3."""
    return [claim_sides(results.sides), claim_neurons(results.neurons), claim_motif(*results.motif)]


def claim_sides(result):
    """Refuted where the best run, or most single runs, end in another arrangement."""
    runs, losses = single_runs(result)[0], result.loss[0]
    share, best = runs.double().mean().item(), bool(runs[losses.argmin()])
    others = {"lowest loss of any other run": losses[~runs].min().item()} if (~runs).any() else {}
    return Claim(
        "8.1", "n=3, m=6, dense: each feature has one neuron for its positive and one for its negative side", "yes",
        {"runs": len(runs), "share of these": share, "best run": int(best), "its loss": losses.min().item(), **others},
        best and share >= SINGLE,
    )  # fmt: skip


def claim_neurons(result):
    """Refuted where neurons are not of one kind at the ends, come back, are never mixed, or mixed out of order."""
    of = neurons(result)
    hidden = of.main.shape[1]
    alone, mixed = of.monosemantic.sum(dim=1), of.polysemantic.sum(dim=1)
    both = (alone >= BOTH * hidden) & (mixed >= BOTH * hidden)
    order = importance_order(of)[both]
    ends = alone[0] >= KIND * (alone + mixed)[0] > 0 and mixed[-1] >= KIND * (alone + mixed)[-1] > 0
    falls = bool((alone.diff() <= RISE * hidden).all())
    at = [f"{density:g}" for density in result.density.tolist()]
    names = ("pairs of both kinds in the order of importance, lowest share", "and highest")
    ordered = dict(zip(names, (order.min().item(), order.max().item()))) if len(order) else {}
    relative = over_monosemantic(result, absolute_value.Settings().decay)
    return Claim(
        "8.2", "n=100, m=40: from monosemantic to polysemantic neurons as density falls, both kinds in one model "
        "between, the most important features on monosemantic neurons", "yes",
        {
            **{f"monosemantic at density {name}": count for name, count in zip(at, alone.tolist())},
            "polysemantic at the lowest": int(mixed[-1]),
            "densities with both kinds": int(both.sum()),
            **ordered,
            "loss over that of 20 features alone, lowest": relative.min().item(),
            "highest of these": relative.max().item(),
        },
        bool(ends and falls and len(order) and (order >= ORDERED).all()),
    )  # fmt: skip


def claim_motif(result, equal):
    """Refuted where the motif is rare or not in the best run, or inhibition is by chance or worth nothing."""
    shares = asymmetric_motif.shares(result)
    at = int(shares[:, -1].argmax())
    best = result.loss[at].argmin()
    in_best = bool(
        asymmetric_motif.strongest(result.W1[at, best, None], result.W2[at, best, None]).found
    )
    own, elsewhere = asymmetric_motif.inhibition_elsewhere(result)
    cost = asymmetric_motif.cost(result)
    worth = (
        {"loss without the inhibiting weight over loss, median": cost.median().item()}
        if len(cost)
        else {}
    )
    return Claim(
        "8.3", "n=6, m=10: the asymmetric superposition motif, a neuron with two features of reciprocal, unequal in- "
        "and out-weights, and another that inhibits where interference would be positive", "found",
        {
            "density with most": result.density[at].item(),
            **{f"share of runs: {name}": share for name, share in zip(asymmetric_motif.STAGES, shares[at].tolist())},
            "best run there has the motif": int(in_best),
            "disturbed outputs inhibited, share": own,
            "other outputs by the same rule": elsewhere,
            **worth,
            "largest share of runs with equal importances": asymmetric_motif.shares(equal)[:, -1].max().item(),
        },
        bool(shares[at, -1] >= COMMON and in_best and elsewhere <= CHANCE * own and (cost.median() >= COSTS)),
    )  # fmt: skip


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
