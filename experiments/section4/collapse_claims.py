"""Claim 4.12: correlated pairs collapse into their principal components (paper, Section 4).

How exact the paper's figures are: it calls them approximate and gives densities in steps of 0.05.
So a density of ours agrees with one of the paper's within half a step, 0.025. Where the paper
leaves a range open, half a step is added at either end.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

import math

from experiments.section4 import collapsing_pairs
from experiments.section4.evidence import evidence_of_optima
from sweeps import Claim, effect, number, ours
from sweeps.claims import BEST_KNOWN
from theory import descents
from theory.kinds import precision

HALF_STEP = 0.025  # of the densities that the paper gives
# Lowest and highest density from which on one, two and all three pairs have collapsed.
PAPER_COLLAPSES = ((0.05, 0.05), (0.15, 0.15), (0.2, 0.25))
PAPER_PRINCIPAL = 0.5  # density from which on there are principal components alone
COUNTS = ("One pair has", "Two pairs have", "All three pairs have")


def claim_collapse(result):
    """Judge 4.12.

    Refuted, finding by finding. One by one: the numbers of collapsed pairs of the best solutions,
    in the order of density, are not 0, 1, 2, 3. Crossing: a step among them is not where the losses
    of two solutions meet that are both still local minima. Principal components: the lowest loss is
    not that of the principal components, within 1 %, at the highest density. A number: there is no
    such density, or it is more than HALF_STEP away from what the paper gives.
    """
    checked = result.checked
    optimum = result.loss[checked].amin(dim=1)
    # With a ReLU, which only brings outputs closer to x >= 0, the linear model is such a model too.
    principal = collapsing_pairs.principal_components(result)[checked]
    evidence = evidence_of_optima(optimum, result.sampled.loss, principal)
    located = collapsing_pairs.located(result)
    return Claim(
        "4.12",
        "three correlated pairs in m=2 collapse one by one into their principal components as "
        "density grows",
        "one from 0.05, two from 0.15, all from 0.25, principal components above 0.5 (Section 4)",
        (
            _one_by_one(result, evidence),
            _collapses_cross(result, evidence),
            _ends_in_principal_components(result, evidence),
            *_collapse_numbers(located, evidence),
            _principal_number(result, evidence),
            _nothing_better(result, optimum, evidence),
        ),
        _collapse_seen(located),
    )


def _one_by_one(result, evidence):
    """Return the finding that pairs collapse one after the other."""
    stages = collapsing_pairs.stages(result)
    return effect(
        "As density grows, none, one, two and all three pairs of the best solution have collapsed.",
        stages == [0, 1, 2, 3],
        {
            "changes of the collapsed pairs": len(stages) - 1,
            "collapsed at the lowest density": stages[0],
            "collapsed at the highest density": stages[-1],
        },
        evidence,
    )


def _collapses_cross(result, evidence):
    """Return the finding that pairs collapse where losses cross."""
    changes = len(collapsing_pairs.stages(result)) - 1
    crossings = int(result.crossing.met.sum())
    return effect(
        "Each time the losses of two solutions cross: where they are equal, both are local minima.",
        0 < changes == crossings,
        {"crossings": crossings, "relative precision": precision(result.density)},
        evidence,
    )


def _ends_in_principal_components(result, evidence):
    """Return the finding that the principal components alone are left."""
    relative = collapsing_pairs.relative_to_principal(result)[-1].item()
    return effect(
        "At the highest density the lowest loss is that of the principal components, within 1 %.",
        abs(relative - 1) <= collapsing_pairs.PRINCIPAL,
        {"loss over that of the principal components": relative},
        evidence,
    )


def _density_number(sentence, name, density, paper, evidence):
    """Return a finding on a density of the paper, known to lie in a range of two densities.

    Args:
        sentence: Sentence with places for the lowest and the highest density that agree.
        name: Name of our density.
        density: Our density; infinite if there is none.
        paper: The range.
        evidence: Strength of the evidence.
    """
    lowest = paper[0] - HALF_STEP
    highest = paper[1] + HALF_STEP
    known = {name: density} if density < math.inf else {}
    return number(
        sentence.format(f"{lowest:.3g}", f"{highest:.3g}"),
        lowest <= density <= highest,
        known | {"found": len(known)},
        evidence,
        paper=" to ".join(f"{end:g}" for end in sorted(set(paper))),
    )


def _collapse_numbers(located, evidence):
    """Return a finding for each density from which on so many pairs have collapsed."""
    return [
        _density_number(
            f"{COUNTS[k]} collapsed from a density between {{}} and {{}} on.",
            _collapse_name(k + 1),
            located.get(k + 1, math.inf),
            paper,
            evidence,
        )
        for k, paper in enumerate(PAPER_COLLAPSES)
    ]


def _collapse_name(pairs):
    return f"density from which {pairs} collapsed"


def _principal_number(result, evidence):
    """Return the finding on the density from which on there are principal components alone."""
    met = collapsing_pairs.meets_principal(result)
    return _density_number(
        "The lowest loss is that of the principal components, within 1 %, from a density between "
        "{} and {} on.",
        "density from which it is",
        math.inf if met is None else met,
        (PAPER_PRINCIPAL, PAPER_PRINCIPAL),
        evidence,
    )


def _nothing_better(result, optimum, evidence):
    """Return the finding that models trained on samples are not better."""
    alike = collapsing_pairs.share_alike(result)
    return ours(
        "No model trained on samples is better than the best of these solutions.",
        evidence == BEST_KNOWN,
        {"share of models with as many collapsed pairs": alike}
        | descents.excess(result.sampled.loss, optimum),
        evidence,
    )


def _collapse_seen(located):
    """Say at which densities pairs collapse."""
    names = [_collapse_name(pairs) for pairs in range(1, 4)]
    if len(located) < len(names):
        return f"{{changes of the collapsed pairs}} changes, {len(located)} of them located."
    one, two, three = names
    return (
        f"One pair has collapsed from density {{{one}}} on, two from {{{two}}} and all three from "
        f"{{{three}}}."
    )
