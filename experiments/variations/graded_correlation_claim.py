"""Claim V.7: graded correlation, from independent features to the paper's pairs (ours)."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import torch

from experiments.variations.graded_correlation import (
    antipodal,
    antipodal_share,
    collapse_correlation,
    orthogonal,
    ratio_error,
    three_best,
    three_collapsed,
    two_best,
    two_lowest,
)
from geometry import side_by_side
from sweeps import Claim, ours
from sweeps.claims import BEST_KNOWN, EXACT, TRAINED, strength
from theory.descents import SAME_LOSS

NOT_THE_PAPER = "nothing: the claim is ours"
EXACT_ERROR = 1e-9  # relative, of a ratio of two exact losses
SPARSE = 0.2  # density up to which two pairs stay orthogonal
SPARSEST = 0.03  # density at which three pairs stay apart
STRONG = 0.6  # correlation from which descents hardly end antipodal
OFTEN = 0.1  # least share of antipodal ends where features are independent
RARELY = 0.1  # the largest such share where they are strongly correlated
# Range of the correlation from which on some of three pairs have collapsed, by density.
COLLAPSES = {0.3: (0.05, 0.3), 0.2: (0.2, 0.5), 0.1: (0.6, 1)}


def claim(result) -> Claim:
    """Judge V.7.

    Refuted, finding by finding. Ratio: at a point of the grid the losses of unit digons without
    biases, with the members of each pair antipodal and orthogonal, have another ratio than
    1 + c S / (1 - S), by more than 1e-9. Orthogonal: at a density of at most 0.2 and a correlation
    above 0 the best solution of two pairs has members that are not orthogonal; or the best
    antipodal and the best orthogonal solution of independent pairs differ by more than 0.1 %.
    Descents: at one of these densities fewer than a tenth of the random descents end antipodal
    where features are independent, or more than a tenth at a correlation of 0.6 or more. Dense: the
    correlation from which on some of three pairs have collapsed lies outside of its range in
    COLLAPSES. Densest: at density 0.5 there is no such correlation, or it is not higher than at
    density 0.3. Sparse: at density 0.03 some of three pairs have collapsed at some correlation, or
    do not lie side by side at a correlation above 0.
    """
    collapse = collapse_correlation(result)
    collapses = dict(zip(result.density.tolist(), collapse.tolist()))
    return Claim(
        "V.7",
        "members of a pair stop being antipodal at any correlation (two pairs in m=2 become "
        "orthogonal), and collapse only where they are dense as well: of three pairs some do from "
        "a correlation near 0.2 on at density 0.3, near 0.8 at density 0.1, never at 0.03 (ours)",
        NOT_THE_PAPER,
        (
            _ratio_finding(result),
            _orthogonal_finding(result),
            _descents_finding(result),
            _dense_finding(result, collapses),
            _densest_finding(result, collapses),
            _sparse_finding(result),
        ),
        _seen(collapses),
    )


def _ratio_finding(result):
    """Return the finding on what antipodal members cost."""
    ratio = result.digons[..., 0] / result.digons[..., 1]
    return ours(
        "Antipodal members of a pair cost 1 + c S / (1 - S) times as much as antipodal features of "
        "different pairs, at every correlation c and density 1 - S, in unit digons without biases.",
        ratio_error(result).max() <= EXACT_ERROR,
        {
            "largest relative difference": ratio_error(result).max().item(),
            "largest ratio": ratio.max().item(),
        },
        EXACT,
    )


def _orthogonal_finding(result):
    """Return the finding that the members of two pairs are orthogonal."""
    sparse = result.density <= SPARSE
    shown = orthogonal(two_best(result))[sparse]
    ends = torch.stack([two_lowest(result, shows)[sparse] for shows in (antipodal, orthogonal)])
    apart = (ends[0] / ends[1])[:, 0].sub(1).abs().nan_to_num(nan=1, posinf=1).max().item()
    return ours(
        "At densities up to 0.2 the best solution of two pairs has orthogonal members at every "
        "correlation above 0; where features are independent antipodal members are as good.",
        shown[:, 1:].all() and apart <= SAME_LOSS,
        {
            "share of the points where members are orthogonal": shown[:, 1:].double().mean().item(),
            "lowest correlation": result.correlation[1].item(),
            "relative difference of losses where independent": apart,
        },
        BEST_KNOWN,
    )


def _descents_finding(result):
    """Return the finding on where random descents end."""
    shares = antipodal_share(result)[result.density <= SPARSE]
    independent = shares[:, 0].min().item()
    strong = shares[:, result.correlation >= STRONG].max().item()
    return ours(
        "Random descents of two pairs do end at antipodal members, a local minimum: at least a "
        "tenth of them where features are independent, and at most a tenth from correlation 0.6 "
        "on, at densities up to 0.2.",
        independent >= OFTEN and strong <= RARELY,
        {
            "smallest antipodal share, independent": independent,
            "largest antipodal share from correlation 0.6 on": strong,
            "largest antipodal share at the lowest correlation": shares[:, 1].max().item(),
        },
        TRAINED,
    )


def _dense_finding(result, collapses):
    """Return the finding on the correlation from which on pairs collapse."""
    known = {
        f"correlation at density {density:g}": value
        for density, value in collapses.items()
        if value < torch.inf
    }
    holds = all(
        low <= collapses.get(density, torch.inf) <= high
        for density, (low, high) in COLLAPSES.items()
    )
    return ours(
        "Of three pairs some have collapsed from a correlation of 0.05 to 0.3 on at density 0.3, "
        "0.2 to 0.5 at density 0.2, and 0.6 to 1 at density 0.1.",
        holds,
        {"densities at which pairs collapse": len(known)} | known,
        _three_strength(result),
    )


def _densest_finding(result, collapses):
    """Return the finding that the densest pairs collapse later."""
    dense, denser = (collapses.get(density, torch.inf) for density in (0.3, 0.5))
    known = denser < torch.inf and dense < torch.inf
    return ours(
        "At density 0.5 some have collapsed as well, but from a higher correlation on than at "
        "density 0.3.",
        dense < denser < torch.inf,
        {"correlation by which it is higher": denser - dense if known else 0.0},
        _three_strength(result),
    )


def _sparse_finding(result):
    """Return the finding that sparse pairs stay apart."""
    sparsest = result.density <= SPARSEST
    collapsed = three_collapsed(result)[sparsest]
    best = three_best(result)[sparsest][:, 1:]
    beside = side_by_side(best.flatten(0, 1), 2)
    without, some = result.three_loss[sparsest].unbind(dim=-1)
    advantage = (some / without).nan_to_num(nan=0, posinf=1e9).min().item()
    return ours(
        "At density 0.03 none of three pairs has collapsed, up to correlation 1, and the pairs lie "
        "side by side at every correlation above 0.",
        (collapsed == 0).all() and beside.all(),
        {
            "most collapsed pairs": collapsed.max().item(),
            "share side by side": beside.double().mean().item(),
            "least loss with collapsed pairs over that without": advantage,
        },
        _three_strength(result),
    )


def _three_strength(result):
    """Return the strength of evidence on three pairs, which another round would improve no more."""
    return strength(1.0, 1 - result.fall.max().item(), SAME_LOSS)


def _seen(collapses):
    """Say from which correlation on pairs collapse."""
    known = [density for density, value in collapses.items() if value < torch.inf]
    if not known:
        return "Of three pairs {most collapsed pairs} have collapsed, at any correlation."
    places = ", ".join(
        f"{{correlation at density {density:g}}} at density {density:g}" for density in known
    )
    return (
        "Antipodal members cost up to {largest ratio} times as much as antipodal features of "
        f"different pairs. Of three pairs some have collapsed from correlation {places} on, and at "
        "no correlation at the other densities."
    )
