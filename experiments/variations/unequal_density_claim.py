"""Claim V.5: among features of unequal density, the density of a feature's partner decides."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from experiments.variations.rare_partner import unit_onset
from experiments.variations.unequal_density import (
    by_the_rule,
    densest_left_out,
    densest_with_rarest,
    fresh_found,
    mixed_pairs,
    product_agrees,
)
from geometry import feature_norms
from sweeps import Claim, ours
from sweeps.claims import BEST_KNOWN, TRAINED

NOT_THE_PAPER = "nothing: the claim is ours"
NEAR = 0.2  # relative difference of an onset from the rule's
MOST_SETTINGS = 0.8
NAMED = 0.65  # share of the random settings in which the exact loss names the stored features
WIDER = 0.1  # by which this share is above that of density times importance
FOUND = 1 / 3  # share of the settings in which a random start finds the best model
DENSE_PARTNER = 0.5  # density from which on a small start is a trap
TRAP = 1.25  # by which factor a small start needs more importance


def claim(result):
    """Judge V.5.

    Refuted, finding by finding. Joining: beside some partner the rarest feature needs as much
    importance as one as dense as the partner, or an importance more than 20 % off s / (2 - s). Two
    classes: at some density features of the highest ratio are not all stored beside dense ones, or
    fewer than 80 % of the settings with a ratio above 1 have such pairs alone. Zipf's law: the
    arrangement of the lowest exact loss is that of the best model in fewer than 80 % of the
    settings, or the densest feature that shares a dimension does not share it with the rarest one
    stored. Random settings: that arrangement names the stored features in fewer than 65 %, or
    density times importance, told how many there are, comes within 10 points. Training: the best of
    the random starts finds the best model, within 0.1 % of the loss, in more than a third of the
    settings of Zipf's law and of the random ones. Trap: beside some partner of density 0.5 or more
    a descent from a small norm stores the rarest feature from less than 1.25 times the importance
    from which on it pays.
    """
    return Claim(
        "V.5",
        "features win a hidden dimension by what they and their partner cost together, not by "
        "density times importance: however rare, a feature keeps its place if its importance is "
        "above about s/(2-s) of its partner's, of density s, and the densest feature takes the "
        "rarest as its partner (ours)",
        NOT_THE_PAPER,
        (
            _joining(result),
            _two_classes(result),
            _zipf(result.zipf),
            _random(result.drawn),
            _training(result),
            _trap(result),
        ),
        "A feature 100 times sparser is stored in all settings of two classes, beside a dense one; "
        "even beside a partner that is always active it needs only {importance needed beside the "
        "densest partner} of the partner's importance. In {random settings named by the exact loss}"
        " of {random settings} random settings the exact loss names the stored features, and "
        "density times importance in {random settings named by density times importance}; with "
        "two densities and equal importance these are {settings of two densities named by the "
        "exact loss} and {settings of two densities named by density times importance} of "
        "{settings of two densities}. With Zipf's law the densest feature of all is left out in "
        "{Zipf settings that leave out the densest feature} of {Zipf settings} settings.",
        "Most candidates begin as the arrangements of the lowest exact losses. With 48 random "
        "starts in place of six, 3 of the 40 random settings of seed 0 reach a loss that is lower "
        "by up to 2.5 %; the exact loss then names 31 of them, and density times importance 20.",
    )


def _joining(result):
    """Return the finding on the importance that a rare feature needs."""
    rule = unit_onset(result.partner)
    equal, rarest = result.onset[:, 0], result.onset[:, -1]
    off = (rarest / rule - 1).abs().max().item()
    return ours(
        f"Beside a partner of density s, a feature {result.ratio[-1].item():g} times sparser needs "
        "less importance to be stored than one as dense as the partner, and s / (2 - s) of the "
        "partner's within 20 %.",
        bool((rarest < equal).all()) and off <= NEAR,
        {
            "largest relative difference from s / (2 - s)": off,
            "largest share of what an equally dense feature needs": (rarest / equal).max().item(),
            "importance needed beside the densest partner": rarest[result.partner.argmax()].item(),
        },
        BEST_KNOWN,
    )


def _two_classes(result):
    """Return the finding that dense features take rare ones as partners."""
    models = result.classes
    mixed = mixed_pairs(models.W)
    ratio = result.ratio.repeat(len(mixed) // len(result.ratio))
    rarest = ratio == ratio.max()
    unequal = mixed[ratio > 1]
    half = models.W.shape[2] // 2
    return ours(
        f"Features {ratio.max().item():g} times sparser than as many others are all stored, each "
        "beside one of these, at every density, and at least 80 % of all settings with a ratio "
        "above 1 have such pairs alone.",
        bool(mixed[rarest].all()) and unequal.double().mean().item() >= MOST_SETTINGS,
        {
            "settings of such pairs": int(unequal.sum()),
            "settings with a ratio above 1": len(unequal),
            "smallest norm of the rarest features": feature_norms(models.W)[rarest, half:]
            .min()
            .item(),
            "settings of two densities named by the exact loss": int(
                by_the_rule(models).stored.sum()
            ),
            "settings of two densities named by density times importance": int(
                product_agrees(models).sum()
            ),
            "settings of two densities": len(mixed),
        },
        BEST_KNOWN,
    )


def _zipf(models):
    """Return the finding on the pairs of Zipf's law."""
    named = by_the_rule(models).pairs
    nested = densest_with_rarest(models.W)
    return ours(
        "With Zipf's law and equal importance, the arrangement of the lowest exact loss has all "
        "pairs of the best model in at least 80 % of the settings, and there the densest feature "
        "that shares a dimension shares it with the rarest one stored.",
        named.double().mean().item() >= MOST_SETTINGS and bool(nested[named].all()),
        {
            "Zipf settings with all pairs named": int(named.sum()),
            "Zipf settings": len(named),
            "Zipf settings in which the densest takes the rarest": int(nested.sum()),
            "Zipf settings that leave out the densest feature": int(
                densest_left_out(models.W).sum()
            ),
        },
        BEST_KNOWN,
    )


def _random(models):
    """Return the finding that compares two rules at random densities and importances."""
    agreement = by_the_rule(models)
    by_loss = agreement.stored.double().mean().item()
    by_product = product_agrees(models).double().mean().item()
    return ours(
        "With random densities and importances, the arrangement of the lowest exact loss names the "
        "stored features in at least 65 % of the settings, and density times importance, told how "
        "many they are, in a share that is at least 10 points lower.",
        by_loss >= NAMED and by_product <= by_loss - WIDER,
        {
            "random settings named by the exact loss": int(agreement.stored.sum()),
            "random settings named by density times importance": int(product_agrees(models).sum()),
            "random settings with all pairs named by the exact loss": int(agreement.pairs.sum()),
            "random settings": len(models.loss),
        },
        BEST_KNOWN,
    )


def _training(result):
    """Return the finding that random starts seldom find the best model."""
    found = [fresh_found(models) for models in (result.zipf, result.drawn)]
    settings = [each.any(dim=1) for each in found]
    count = sum(int(each.sum()) for each in settings)
    total = sum(len(each) for each in settings)
    excess = [
        models.fresh_loss.amin(dim=1) / models.loss - 1 for models in (result.zipf, result.drawn)
    ]
    return ours(
        f"The best of {result.drawn.fresh_loss.shape[1]} random starts finds the best model in at "
        "most a third of the settings with Zipf's law and with random features.",
        count / total <= FOUND,
        {
            "settings whose best model a random start finds": count,
            "settings with Zipf's law or random features": total,
            "share of the settings of two densities in which one finds it": fresh_found(
                result.classes
            )
            .any(dim=1)
            .double()
            .mean()
            .item(),
            "median excess with Zipf's law": excess[0].median().item(),
            "median excess with random features": excess[1].median().item(),
        },
        TRAINED,
    )


def _trap(result):
    """Return the finding that a small start needs more importance than pays."""
    dense = result.partner >= DENSE_PARTNER
    factor = (result.small_onset[:, -1] / result.onset[:, -1])[dense]
    return ours(
        f"Beside a partner of density 0.5 or more, a feature {result.ratio[-1].item():g} times "
        "sparser that begins at a small norm is stored only from 1.25 times the importance on from "
        "which on it pays.",
        bool((factor >= TRAP).all()),
        {"smallest factor": factor.min().item(), "largest factor": factor.max().item()},
        TRAINED,
    )
