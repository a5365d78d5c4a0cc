"""Section 8, computation in superposition: few neurons compute many absolute values.

    python Section8main.py              # the paper's settings, about two minutes on 2 cores
    python Section8main.py --quick      # the same path, small, in seconds
    python Section8main.py --seed 3 --out /tmp/section8

Trains y' = ReLU(W2 ReLU(W1 x) + b) towards |x| at n=3, m=6; at n=100, m=40 over densities, from
fresh weights, from models made by hand, and from the best of other densities; and at n=6, m=10,
where it searches for the asymmetric superposition motif. Saves the figures under figures/ and
prints claims 8.1 to 8.3.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.section8 import absolute_value, asymmetric_motif, neuron_kinds
from experiments.section8.absolute_value import single_runs
from experiments.section8.neuron_kinds import (
    BOTH,
    has_both,
    importance_order,
    neurons,
    order_by_chance,
    relative_losses,
)
from sweeps import Claim, Experiment, effect, ours, section_main
from sweeps.claims import TRAINED, strength

SINGLE = 0.5  # 8.1: least share of the runs that have one neuron a side
ZERO_LOSS = (
    1e-6  # 8.1: a loss up to this counts as that of two neurons for each feature, which is 0
)
# 8.2: least share of the neurons in use that are monosemantic at the highest density.
KIND = 0.9
# 8.2: from one density to the next lower one, the monosemantic neurons grow in number by at most
# this share of all neurons.
RISE = 0.05
# 8.2: least share of the pairs of a mono- and a polysemantic neuron that are in the order of
# importance, for what we ask beyond the paper. By chance it is 1/2.
ORDERED = 0.9
DEVIATIONS = 2  # 8.2: by more than so many standard deviations a tendency differs from chance
SAME = 0.01  # 8.2: relative difference of losses on the same rows that counts as none
COMMON = 0.25  # 8.3: least share of the runs with the motif, at one density
COSTS = 1.5  # 8.3: least factor, in the median, by which the loss grows without the weight
# 8.3: least share of the runs with the motif in which the inhibiting weight is worth more than the
# control.
MOSTLY = 0.75
# 8.3: other outputs are inhibited at most this many times as often as those that are disturbed.
CHANCE = 0.5

EXPERIMENTS = {
    "sides": Experiment(absolute_value, absolute_value.Settings(), absolute_value.QUICK),
    "neurons": Experiment(neuron_kinds, neuron_kinds.Settings(), neuron_kinds.QUICK),
    "motif": Experiment(
        asymmetric_motif,
        (asymmetric_motif.Settings(), asymmetric_motif.EQUAL),
        (asymmetric_motif.QUICK, asymmetric_motif.QUICK_EQUAL),
    ),
}


def figures(results):
    """Draw all figures of the section, by name."""
    return {
        "section8-sides": absolute_value.figure(results.sides),
        "section8-neurons": neuron_kinds.figure(results.neurons),
        "section8-motif": asymmetric_motif.figure(results.motif),
    }


def claims(results):
    """Judge claims 8.1 to 8.3."""
    return [claim_sides(results.sides), claim_neurons(results.neurons), claim_motif(*results.motif)]


def claim_sides(result):
    """Judge 8.1.

    The effect is refuted if the run of lowest loss ends in another arrangement. What we ask beyond
    it is refuted if more than half of the runs do.
    """
    is_single = single_runs(result)[0]
    losses = result.loss[0]
    lowest = losses.min().item()
    share = is_single.double().mean().item()
    best = bool(is_single[losses.argmin()])
    best_numbers = {"best run has one neuron a side": int(best), "its loss": lowest}
    if not is_single.all():
        others = losses[~is_single]
        best_numbers["lowest loss of any other arrangement"] = others.min().item()
    return Claim(
        "8.1",
        "n=3, m=6, dense: each feature has one neuron for its positive and one for its negative "
        "side",
        "one neuron for each side of each feature (Section 8)",
        (
            effect(
                "The best run has one neuron for each side of each feature, and no others.",
                best,
                best_numbers,
                strength(lowest, 0.0, ZERO_LOSS),
            ),
            ours(
                "At least half of the single runs end there, too.",
                share >= SINGLE,
                {"share of runs with one neuron a side": share, "runs": len(is_single)},
                TRAINED,
            ),
        ),
        f"The best run has {'this' if best else 'another'} arrangement, and a share of "
        "{share of runs with one neuron a side} of all runs has this one.",
    )


def claim_neurons(result):
    """Judge 8.2, on the best model known at each density.

    The effects are refuted, in their order, if fewer than nine in ten of the neurons in use are
    monosemantic at the highest density, if no more are polysemantic than monosemantic at the lowest
    one, or if monosemantic neurons come back as density falls; if no density has both kinds; and if
    at one that has both, importance decides no more than by chance which neurons are monosemantic.

    What we ask beyond them is refuted if a pair of kinds is out of the order of importance more
    often than one time in ten; if models whose monosemantic neurons start with features drawn at
    random end as low as those that start with the most important ones; and if the best of the fresh
    runs lacks one of the effects.
    """
    best = neurons(result.best)
    return Claim(
        "8.2",
        "n=100, m=40: from monosemantic to polysemantic neurons as density falls, both kinds in "
        "one model between, the most important features on monosemantic neurons",
        "neurons go from monosemantic to polysemantic as features get sparser; some models have "
        "both kinds, and then the most important features tend to be on monosemantic neurons "
        "(Section 8)",
        (
            *_effects(best, _strength(result, result.best)),
            _order_finding(result, best),
            _control_finding(result, best),
            _fresh_finding(result),
        ),
        _seen_neurons(best),
        "Nothing says how far the best models known are from the optimum at the lowest densities, "
        "where training on still lowers their losses. A critic would train them ten times longer, "
        "start from arrangements of polysemantic neurons that are made by hand, and go to lower "
        "densities, to see whether the last monosemantic neurons disappear.",
    )


def _strength(result, models):
    """Return the strength of evidence from the best of some models at each density."""
    known = result.best.loss.amin(dim=1).minimum(result.handmade_loss[:, 0])
    excess = (models.loss.amin(dim=1) / known).max().item()
    return strength(excess, 1.0, SAME)


def _turns_polysemantic(neurons):
    """Return whether neurons turn from monosemantic to polysemantic as density falls."""
    monosemantic = neurons.monosemantic.sum(dim=1)
    polysemantic = neurons.polysemantic.sum(dim=1)
    in_use = monosemantic[0] + polysemantic[0]
    starts_monosemantic = monosemantic[0] >= KIND * in_use > 0
    ends_polysemantic = polysemantic[-1] > monosemantic[-1]
    falls = (monosemantic.diff() <= RISE * neurons.main.shape[1]).all()
    return bool(starts_monosemantic and ends_polysemantic and falls)


def _tends_to_be_ordered(neurons):
    """Return whether importance decides more than chance does, wherever there are both kinds."""
    both = has_both(neurons)
    by_chance = 0.5 + DEVIATIONS * order_by_chance(neurons)
    return bool(both.any() and (importance_order(neurons) > by_chance)[both].all())


def _effects(best, evidence):
    """Return the effects of 8.2, from the neurons of the best model at each density."""
    both = has_both(best)
    ends = {
        "monosemantic at the lowest density": int(best.monosemantic[-1].sum()),
        "polysemantic at the lowest density": int(best.polysemantic[-1].sum()),
        "monosemantic at the highest density": int(best.monosemantic[0].sum()),
        "polysemantic at the highest density": int(best.polysemantic[0].sum()),
    }
    return (
        effect(
            "Nearly all neurons are monosemantic at the highest density, most are polysemantic at "
            "the lowest, and monosemantic ones do not come back between.",
            _turns_polysemantic(best),
            ends,
            evidence,
        ),
        effect(
            f"At some density one model has both kinds, each at least {BOTH:.0%} of its neurons.",
            both.any(),
            {"densities with both kinds": int(both.sum())},
            evidence,
        ),
        effect(
            "Wherever a model has both kinds, the most important features tend to be on the "
            "monosemantic neurons, more than by chance.",
            _tends_to_be_ordered(best),
            _order_numbers(best, "pairs of both kinds in the order of importance"),
            evidence,
        ),
    )


def _order_numbers(neurons, name):
    """Return the lowest and the highest order of importance of the densities with both kinds.

    Where there is no such density both are 1/2, as they are by chance.
    """
    order = importance_order(neurons)[has_both(neurons)]
    if not len(order):
        order = order.new_tensor([0.5])
    return {f"{name}, lowest": order.min().item(), f"{name}, highest": order.max().item()}


def _order_finding(result, best):
    """Return how strict the order of importance is, which the paper does not say."""
    ordered = importance_order(best) >= ORDERED
    both = has_both(best)
    return ours(
        f"Wherever a model has both kinds, {ORDERED:.0%} of the pairs of both kinds are in the "
        "order of importance.",
        both.any() and ordered[both].all(),
        {"densities with such an order": int((ordered & both).sum())},
        _strength(result, result.best),
    )


def _control_finding(result, best):
    """Return what the order is worth, since most of the starts are given it."""
    relative = relative_losses(result)
    both = has_both(best)
    random = relative["two neurons for random features"]
    cost = random / relative["two neurons for important features"]
    costs_more = cost > 1 + SAME
    return ours(
        "The order is not just what the starts were given: if they give two neurons to features "
        "that are drawn at random, equal training ends at higher losses wherever a model has both "
        "kinds.",
        both.any() and costs_more[both].all(),
        {
            "densities at which random features end higher": int((costs_more & both).sum()),
            "their loss over that from important features, lowest": cost.min().item(),
        },
        TRAINED,
    )


def _fresh_finding(result):
    """Return whether the paper's way, a few fresh runs, shows the effects."""
    fresh = neurons(result.fresh)
    relative = relative_losses(result)
    over_handmade = relative["fresh runs"]
    over_best = over_handmade / relative["best of all"]
    return ours(
        "The best of a few fresh runs at each density shows all three effects as well.",
        _turns_polysemantic(fresh) and has_both(fresh).any() and _tends_to_be_ordered(fresh),
        {
            **_order_numbers(fresh, "fresh runs: pairs in the order of importance"),
            "fresh runs: monosemantic at the lowest density": int(fresh.monosemantic[-1].sum()),
            "fresh runs: loss over the best, highest": over_best.max().item(),
            "fresh runs: loss over the best, lowest": over_best.min().item(),
            "fresh runs: loss over a model made by hand, highest": relative["fresh runs"]
            .max()
            .item(),
        },
        _strength(result, result.fresh),
    )


def _seen_neurons(best):
    """Return what was seen of mono- and polysemantic neurons."""
    counts = (
        "In the best models known, {monosemantic at the highest density} of "
        f"{best.main.shape[1]} neurons are monosemantic at the highest density and "
        "{monosemantic at the lowest density} at the lowest"
    )
    if not has_both(best).any():
        return f"{counts}; no density has both kinds."
    return (
        f"{counts}; where there are both kinds, "
        "{pairs of both kinds in the order of importance, lowest} or more of their pairs are in "
        "the order of importance, and the best fresh run has up to "
        "{fresh runs: loss over the best, highest} times the lowest loss."
    )


def claim_motif(result, equal):
    """Judge 8.3, at the density where most runs have the motif.

    The effects are refuted if the best run there lacks it, and if outputs that nothing disturbs are
    inhibited more than half as often as those that a neuron disturbs. What we ask beyond them is
    refuted if the motif is rare, if the loss hardly grows without the inhibiting weight, and if
    another weight of similar effect (`without_control`) is often worth as much.

    Args:
        result: The asymmetric_motif.Result of falling importances.
        equal: The asymmetric_motif.Result of equal importances, for one number only.
    """
    return Claim(
        "8.3",
        "n=6, m=10: the asymmetric superposition motif, a neuron with two features of reciprocal, "
        "unequal in- and out-weights, and another that inhibits where interference would be "
        "positive",
        "the motif is in a trained model; the inhibition removes interference (Section 8)",
        (*_motif_effects(result), _common_finding(result, equal), *_cost_findings(result)),
        _seen_motif(result),
    )


def _seen_motif(result):
    """Return what was seen of the motif."""
    if not len(asymmetric_motif.costs(result).inhibiting):
        return "No run has the motif at any density."
    return (
        "A share of {share of runs: and is inhibited} of the runs has the motif at density "
        "{density where most runs have it}. Without its inhibiting weight the loss is "
        "{loss without the inhibiting weight over loss, median} times as large, without another "
        "weight of similar effect {loss without the control over loss, median} times."
    )


def _motif_effects(result):
    """Return the effects of 8.3."""
    shares = asymmetric_motif.shares(result)
    point = int(shares[:, -1].argmax())
    best = result.loss[point].argmin()
    W1 = result.W1[point, best, None]
    W2 = result.W2[point, best, None]
    has_motif = bool(asymmetric_motif.strongest(W1, W2).found)
    inhibited = asymmetric_motif.inhibition_shares(result)
    return (
        effect(
            "The best run has the motif at the density where most runs have it.",
            has_motif,
            {
                "best run has the motif": int(has_motif),
                "density where most runs have it": result.density[point].item(),
            },
            TRAINED,
        ),
        effect(
            "Where a neuron disturbs the output of its second feature, another neuron inhibits "
            "this output at least twice as often as outputs that are not disturbed.",
            inhibited.disturbed > 0 and inhibited.others <= CHANCE * inhibited.disturbed,
            {
                "disturbed outputs inhibited, share": inhibited.disturbed,
                "other outputs by the same rule": inhibited.others,
            },
            TRAINED,
        ),
    )


def _common_finding(result, equal):
    """Return how common the motif is among single runs."""
    shares = asymmetric_motif.shares(result)
    point = int(shares[:, -1].argmax())
    by_stage = zip(asymmetric_motif.STAGES, shares[point].tolist())
    numbers = {f"share of runs: {name}": share for name, share in reversed([*by_stage])}
    largest = asymmetric_motif.shares(equal)[:, -1].max().item()
    numbers["largest share of runs with equal importances"] = largest
    return ours(
        f"At some density at least {COMMON:.0%} of the single runs have the motif.",
        shares[point, -1] >= COMMON,
        numbers,
        TRAINED,
    )


def _cost_findings(result):
    """Return what the inhibiting weight is worth, beside other weights of similar effect."""
    costs = asymmetric_motif.costs(result)
    exist = len(costs.inhibiting) > 0
    inhibiting, control, negative = (_median(cost) for cost in costs)
    dearer = (costs.inhibiting > costs.control).double()
    share = dearer.mean().item() if exist else 0.0
    return (
        ours(
            f"Without the inhibiting weight the loss is at least {COSTS:g} times as large, in the "
            "median of the runs with the motif.",
            exist and inhibiting >= COSTS,
            {"loss without the inhibiting weight over loss, median": inhibiting},
            TRAINED,
        ),
        ours(
            f"The inhibiting weight is worth more than a control in {MOSTLY:.0%} of these runs: "
            "than the other out-weight whose effect is nearest to its own.",
            exist and share >= MOSTLY,
            {
                "share of runs in which it is worth more": share,
                "loss without the control over loss, median": control,
                "loss without the nearest negative weight over loss, median": negative,
            },
            TRAINED,
        ),
    )


def _median(costs):
    """Return the median, or 1, which means no cost, if there are no runs."""
    return costs.median().item() if len(costs) else 1.0


def main(argv=None):
    """Run the command line and return the exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
