"""Claim V.1, which is ours: what dropout on the hidden layer does to basis and polytopes."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import torch

from experiments.section7.neuron_alignment import ROTATIONS
from experiments.variations import dropout
from experiments.variations.dropout import DENSE, SPARSE, best, best_fresh, chosen
from experiments.variations.dropped_dimensions import lone_loss, spread_basis
from sweeps import Claim, ours
from sweeps.claims import BEST_KNOWN, EXACT, TRAINED

NOT_THE_PAPER = "nothing: the claim is ours"
LOW_RATE = 0.1  # from which on dropout is to have its effect
SPARSE_RATE = 0.3  # up to which sparse features are to be spread
STAY_RATE = 0.2  # up to which a polytope is to stay
HIGH_RATE = 0.5  # at which it is to have given way to antipodal pairs
REACHED = 0.01  # relative excess of loss up to which fresh restarts have found the best model
FEWEST = 3  # densities at which they have to without dropout
ALONG = 1.1  # spread up to which features lie along hidden dimensions
BIASES = torch.linspace(0.01, 0.3, 30, dtype=torch.float64)  # and their negatives
EQUAL = 1e-12  # error of a loss


def claim(results):
    """Judge V.1.

    The best model of a density and a rate is that of lowest exact loss, from all starts. Refuted,
    finding by finding. Sparse: at density 0.05 and a rate from 0.1 to 0.3 the best model is spread
    no more than after one of 1,000 random rotations. Dense: at density 0.5 and a rate from 0.1 on
    it is spread no less than after one of them. Without dropout: a model from random weights within
    1 % of the lowest loss is outside the range of its rotations, or fewer than three densities have
    such a model. Reason: at one of the rates and biases that are scanned, the loss of a lone
    feature does not have the order that the sign of the bias gives. Bias: a best model that is
    spread more than all its rotations has a mean bias of 0 or more, or one that is spread less than
    all of them has a mean bias of 0 or less. Pairs: a best model of ten features in five dimensions
    is something else than five antipodal pairs. Polytopes: at a rate of at most 0.2 the best model
    of five features in the plane or of eight in space is no pentagon or no square antiprism, or at
    the rate 0.5 it is not made of pairs along hidden dimensions (spread of at most 1.1).

    Args:
        results: Results of `dropout.SIZES`.
    """
    pairs, pentagon, antiprism = results
    return Claim(
        "V.1",
        "dropout on the hidden layer makes a privileged basis: it spreads sparse features over the "
        "hidden dimensions (at rates up to 0.3), lays dense ones along them, as the sign of the "
        "bias decides, and leaves the polytopes in place at rates up to 0.2 (ours)",
        NOT_THE_PAPER,
        (
            _sparse(pairs),
            _dense(pairs),
            _without(pairs),
            _reason(pairs),
            _biases(pairs),
            _stay_pairs(pairs),
            _give_way([pentagon, antiprism]),
        ),
        "At rates from 0.1 to 0.3 sparse features are spread over at least {lowest spread, sparse} "
        "of five hidden dimensions, and over at most {highest after rotations, sparse} after "
        "random rotations; at the rate 0.5 it is {spread at the rate 0.5, sparse}. At rates from "
        "0.1 on dense features are spread over at most {highest spread, dense}, and over at least "
        "{lowest after rotations, dense} after random rotations. Without dropout five features in "
        "the plane form a pentagon and eight in space a square antiprism; at the rate 0.5 those "
        "that are represented are spread over at most {highest spread at the rate 0.5} hidden "
        "dimensions.",
    )


def _best_placed(result, points):
    """Return the placement of the best models at some points."""
    return dropout.placement(chosen(result.W, best(result))[points])


def _excess(result):
    """Return by how much the best fresh restart exceeds the lowest loss, relative to it."""
    return chosen(result.loss, best_fresh(result)) / result.loss.amin(dim=1) - 1


def _sparse(result):
    """Return the finding that sparse features are spread."""
    points = dropout.at(result, SPARSE, LOW_RATE, SPARSE_RATE)
    placed = _best_placed(result, points)
    margin = (placed.spread - placed.highest).min().item()
    beyond = dropout.at(result, SPARSE, HIGH_RATE)
    return ours(
        f"At density {SPARSE:g} and rates from {LOW_RATE:g} to {SPARSE_RATE:g} features are spread "
        f"over more hidden dimensions than after each of {ROTATIONS:,} random rotations.",
        margin > 0,
        {
            "margin over the rotations, sparse": margin,
            "lowest spread, sparse": placed.spread.min().item(),
            "highest after rotations, sparse": placed.highest.max().item(),
            "excess of fresh restarts, sparse": _excess(result)[points].max().item(),
            "spread at the rate 0.5, sparse": _best_placed(result, beyond).spread.min().item(),
        },
        BEST_KNOWN,
    )


def _dense(result):
    """Return the finding that dense features lie along hidden dimensions."""
    points = dropout.at(result, DENSE, LOW_RATE)
    placed = _best_placed(result, points)
    margin = (placed.lowest - placed.spread).min().item()
    fresh = dropout.spread(chosen(result.W, best_fresh(result))[points])
    return ours(
        f"At density {DENSE:g} and rates from {LOW_RATE:g} on features are spread over fewer "
        f"hidden dimensions than after each of {ROTATIONS:,} random rotations.",
        margin > 0,
        {
            "margin below the rotations, dense": margin,
            "highest spread, dense": placed.spread.max().item(),
            "lowest after rotations, dense": placed.lowest.min().item(),
            "highest spread of fresh restarts, dense": fresh.max().item(),
            "excess of fresh restarts, dense": _excess(result)[points].max().item(),
        },
        BEST_KNOWN,
    )


def _without(result):
    """Return the finding that no basis is privileged without dropout."""
    points = ((result.rate == 0) & (_excess(result) <= REACHED)).nonzero()[:, 0]
    placed = dropout.placement(chosen(result.W, best_fresh(result))[points])
    within = (placed.lowest <= placed.spread) & (placed.spread <= placed.highest)
    return ours(
        "Without dropout, models from random weights whose loss is within 1 % of the lowest are "
        f"within the range of their rotations, at {FEWEST} densities or more.",
        bool(within.all()) and len(points) >= FEWEST,
        {"densities within the range": int(within.sum()), "densities compared": len(points)},
        TRAINED,
    )


def _reason(result):
    """Return the finding that the sign of the bias orders the losses of a lone feature."""
    rates = result.rate[result.rate > 0].unique()
    hidden = result.W.shape[2]
    along = torch.eye(hidden, dtype=torch.float64)

    def saved(bias):
        """Return the loss along hidden dimensions less the loss where features are spread."""
        return lone_loss(along, rates, bias) - lone_loss(spread_basis(hidden), rates, bias)

    below = saved(-BIASES).min().item()
    above = saved(BIASES).max().item()
    level = saved(torch.zeros(1)).abs().max().item()
    return ours(
        "Where one feature is active alone, spreading lowers the loss at each bias below 0, raises "
        "it at each bias above 0, and leaves it as it is at 0.",
        below > 0 > above and level <= EQUAL,
        {
            "least that is saved below 0": below,
            "most that is saved above 0": above,
            "largest difference at 0": level,
        },
        EXACT,
    )


def _biases(result):
    """Return the finding that the models' biases have the sign that the reason asks for."""
    placed = dropout.placement(chosen(result.W, best(result)))
    bias = chosen(result.b, best(result)).mean(dim=1)
    dropped = result.rate > 0
    spread = bias[dropped & (placed.spread > placed.highest)]
    along = bias[dropped & (placed.spread < placed.lowest)]
    numbers = {"models that are spread": len(spread), "models along hidden dimensions": len(along)}
    if len(spread):
        numbers["highest mean bias of those that are spread"] = spread.max().item()
    if len(along):
        numbers["lowest mean bias of those along hidden dimensions"] = along.min().item()
    return ours(
        "With dropout the mean bias is below 0 in each model that is spread more than its "
        "rotations, and above 0 in each that is spread less.",
        len(spread) > 0 and len(along) > 0 and bool((spread < 0).all() and (along > 0).all()),
        numbers,
        BEST_KNOWN,
    )


def _stay_pairs(result):
    """Return the finding that pairs stay pairs."""
    features = result.W.shape[3]
    counts = dropout.polytopes(chosen(result.W, best(result)))
    kept = sum(count == {"digon": features} for count in counts)
    return ours(
        "At each density and each rate up to 0.5 the best model has all ten features in five "
        "antipodal pairs.",
        kept == len(counts),
        {
            "models of five pairs": kept,
            "models": len(counts),
            "largest excess of fresh restarts": _excess(result).max().item(),
        },
        BEST_KNOWN,
    )


def _give_way(results):
    """Return the finding on the pentagon and the square antiprism."""
    stay = 0
    expected = 0
    spreads = []
    pairs = True
    for result, name in zip(results, ("pentagon", "square antiprism"), strict=True):
        features = result.W.shape[3]
        W = chosen(result.W, best(result))
        low = dropout.polytopes(W[result.rate <= STAY_RATE + 1e-9])
        stay += sum(count == {name: features} for count in low)
        expected += len(low)
        high = W[result.rate >= HIGH_RATE - 1e-9]
        pairs = pairs and all(set(count) == {"digon"} for count in dropout.polytopes(high))
        spreads += dropout.placement(high).spread.tolist()
    return ours(
        f"At density 0.1 the pentagon and the square antiprism stay up to the rate {STAY_RATE:g}, "
        f"and at the rate {HIGH_RATE:g} have become antipodal pairs along hidden dimensions.",
        stay == expected and pairs and max(spreads) <= ALONG,
        {
            "models that stay": stay,
            "models at low rates": expected,
            "highest spread at the rate 0.5": max(spreads),
            "largest excess of fresh restarts, small models": max(
                _excess(result).max().item() for result in results
            ),
        },
        BEST_KNOWN,
    )
