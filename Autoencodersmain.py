"""Sparse autoencoders on toy models (ours): do they find features that we know?

    python Autoencodersmain.py              # a few minutes on one core
    python Autoencodersmain.py --quick      # the same path, small, in seconds
    python Autoencodersmain.py --seeds 5 --out /tmp/autoencoders

Trains plain and top-k autoencoders on hidden layers of the zoo's models and of digons, and matches
their dictionaries to the features. A feature is found if its cosine with the matched direction is
above 0.95. At each level of sparsity the run with the lowest objective counts. Others start from
the true dictionary and from sums of features, to see what the objective prefers. Saves figures
under figures/ and prints claims A.1 to A.6, which are ours.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

from experiments.autoencoders import preferred_dictionary, recovered_features
from experiments.autoencoders.preferred_dictionary import TRUE, lowest
from experiments.autoencoders.recovered_features import (
    EMPTY,
    EVEN,
    FOUND,
    MODELS,
    best_cosines,
    chance,
    found,
    level,
    matched,
    relative_excess,
    size_index,
    surplus,
)
from sweeps import Claim, Experiment, ours, section_main
from sweeps.claims import BEST_KNOWN, TRAINED, TRAINING_LIMITED, strength

NAMES = [settings.name for settings in MODELS]
# Levels of sparsity.
STRONG = {"keep": 1}
MIDDLE = {"penalty": 0.3}
WEAK = {"penalty": 0.03}
# Models with independent features, which are sparse, and those of them with four features a
# dimension.
SPARSE = ("square-antiprism", "n20-m5", "n40-m10", "digons, densities 0.1 and 0.1")
MANY = ("n20-m5", "n40-m10")
CORRELATED = ("correlated-pairs", "octahedron")
ANTICORRELATED = "anticorrelated-pairs"
EQUAL = "digons, densities 0.1 and 0.1"
RARE = "digons, densities 0.1 and 0.01"
VERY_RARE = "digons, densities 0.1 and 0.001"
DENSE = ("digons, densities 0.5 and 0.5", "digons, densities 1 and 0.1")
# Shares of the features.
ALL = 0.95
HALF = 0.5
FEW = 0.25
NOT_THE_PAPER = "nothing: the claim is ours"
RARER = 0.6  # A.6: rare features are found at most this many times as often as frequent ones

EXPERIMENTS = {
    "autoencoder": Experiment(recovered_features, MODELS, recovered_features.QUICK),
    "preferred": Experiment(
        preferred_dictionary, preferred_dictionary.MODELS, preferred_dictionary.QUICK
    ),
}


def figures(results):
    """Draw all figures, by name."""
    curves = ("n20-m5", CORRELATED[0], DENSE[0])
    return {
        "autoencoder-found": recovered_features.figure(results.autoencoder, NAMES, curves),
        "autoencoder-preferred": preferred_dictionary.figure(
            results.preferred, preferred_dictionary.NAMES
        ),
    }


def claims(results):
    """Judge claims A.1 to A.6."""
    named = dict(zip(NAMES, results.autoencoder))
    return [
        claim_sparse(named),
        claim_weak(named),
        claim_middle(named),
        claim_correlated(named, dict(zip(preferred_dictionary.NAMES, results.preferred))),
        claim_dense(named),
        claim_unequal(named),
    ]


# Every claim takes {name of a model: its Result}.


def claim_sparse(results):
    """Judge A.1.

    Refuted if for one of the models k=1 and 2n codes miss more than 5 % of the features. The
    yardstick is refuted if random dictionaries of that size find more than half of them.
    """
    shares = {}
    chances = []
    for name in SPARSE:
        result = results[name]
        size = size_index(result, codes_per_feature=2)
        shares[name] = found(result)[size, level(result, **STRONG)].item()
        chances.append(chance(result).found[size].item())
    active = max(results[name].active.item() for name in SPARSE)
    return Claim(
        "A.1",
        "sparse independent features, several of them active at once, are found by a top-k "
        "autoencoder with k=1 and 2n codes (ours)",
        NOT_THE_PAPER,
        (
            ours(
                "In each model at least 95 % of the features are found.",
                min(shares.values()) >= ALL,
                _named("smallest share found", min, shares) | {"most active at once, mean": active},
                TRAINED,
            ),
            ours(
                "Random dictionaries of the same size find at most half of them.",
                max(chances) <= HALF,
                {"largest share found by chance": max(chances)},
                TRAINED,
            ),
        ),
        "The smallest share of the features that is found is {smallest share found}; by chance the "
        "largest is {largest share found by chance}.",
    )


def claim_weak(results):
    """Judge A.2.

    Refuted, finding by finding, if in one of the models with four features a dimension a penalty of
    0.03 and n codes find more than a quarter of the features, or if the objective is not higher at
    the true dictionary.
    """
    shares, surpluses = _shares_and_surpluses(results, WEAK)
    evidence = _worst(_found_strength(results[name], **WEAK) for name in MANY)
    kept = {name: _kept(results[name])[level(results[name], **WEAK)].item() for name in MANY}
    return Claim(
        "A.2",
        "with four features a dimension and a weak penalty (0.03) few are found, and the objective "
        "prefers what is found to the true dictionary (ours)",
        NOT_THE_PAPER,
        (
            ours(
                "At most a quarter of the features are found.",
                max(shares.values()) <= FEW,
                _named("largest share found", max, shares),
                evidence,
            ),
            ours(
                "The objective is higher at the true dictionary than at what is found.",
                min(surpluses.values()) > 0,
                _named("lowest surplus", min, surpluses)
                | _named("largest share kept when the true one is released", max, kept),
                evidence,
            ),
        ),
        "The largest share that is found is {largest share found}. The objective at the true "
        "dictionary exceeds that of what is found by {lowest surplus} of itself, or more.",
        critic="Training that starts at the true dictionary may end at a lower objective still, so "
        "what is found is not the best there is; the share of the features that is kept then is "
        "among the numbers. A critic would look for a dictionary of low objective that has many of "
        "the features.",
    )


def claim_middle(results):
    """Judge A.3.

    Refuted, finding by finding, if in one of the models with four features a dimension a penalty of
    0.3 and n codes find more than half of the features, or if the objective is not lower at the
    true dictionary.
    """
    shares, surpluses = _shares_and_surpluses(results, MIDDLE)
    return Claim(
        "A.3",
        "there, with a penalty of 0.3, at most half are found, though the objective prefers the "
        "true dictionary: training does not find it (ours)",
        NOT_THE_PAPER,
        (
            ours(
                "At most half of the features are found.",
                max(shares.values()) <= HALF,
                _named("largest share found", max, shares),
                _worst(_found_strength(results[name], **MIDDLE) for name in MANY),
            ),
            ours(
                "The objective is lower at the true dictionary than at what is found.",
                max(surpluses.values()) < 0,
                _named("highest surplus", max, surpluses),
                _worst(_true_strength(results[name], **MIDDLE) for name in MANY),
            ),
        ),
        "The largest share that is found is {largest share found}. The objective at the true "
        "dictionary, less that of what is found, is {highest surplus} of the larger one, or less.",
        critic="That training stops above the objective of the true dictionary is the claim "
        "itself. A critic would train longer, with other learning rates and with more restarts, "
        "and would ask how much of that it takes to find the features.",
    )


def claim_correlated(results, preferred):
    """Judge A.4.

    Refuted, finding by finding, if for one of the models with correlated sets no other dictionary
    has a lower objective than the true one at some penalty; if for anticorrelated sets one has, at
    some penalty; or if no level with n codes finds all anticorrelated features. The others are one
    of sums of features, and what training makes of it, of the true one and of random ones.

    Args:
        results: {name of a model: its Result of `recovered_features`}.
        preferred: {name of a model: its Result of `preferred_dictionary`}.
    """
    surpluses = {name: _started_surplus(preferred[name]) for name in (*CORRELATED, ANTICORRELATED)}
    lowest_surpluses = {name: surpluses[name].min().item() for name in CORRELATED}
    from_random = {name: _plain_surplus(results[name]).min().item() for name in CORRELATED}
    anticorrelated = results[ANTICORRELATED]
    highest = torch.cat((surpluses[ANTICORRELATED], _plain_surplus(anticorrelated))).max().item()
    share = found(anticorrelated)[size_index(anticorrelated)].max().item()
    return Claim(
        "A.4",
        "the objective with a penalty on codes prefers another dictionary to the true one where "
        "features are correlated, and never where they are anticorrelated (ours)",
        NOT_THE_PAPER,
        (
            ours(
                "For correlated sets another dictionary has a lower objective than the true one, "
                "at each penalty.",
                min(lowest_surpluses.values()) > 0,
                _named("lowest surplus", min, lowest_surpluses)
                | _named("lowest surplus from random starts", min, from_random),
                BEST_KNOWN,
            ),
            ours(
                "For anticorrelated sets none that was tried has one, at any penalty.",
                highest <= 0,
                {"highest surplus, anticorrelated": highest},
                BEST_KNOWN,
            ),
            ours(
                "All anticorrelated features are found at some level with n codes.",
                share >= ALL,
                {"largest share found, anticorrelated": share},
                TRAINED,
            ),
        ),
        "Where features are correlated another dictionary saves at least {lowest surplus} of the "
        "objective at the true one; where they are anticorrelated, at most {highest surplus, "
        "anticorrelated}.",
    )


def claim_dense(results):
    """Judge A.5.

    Refuted, finding by finding, if no level, with n or 2n codes, finds 95 % of the features of
    sparse digons, or if some level finds more than half of those of dense digons. Dense digons have
    density 0.5 in both features, or density 1 in one.
    """
    largest = {}
    for name in (EQUAL, *DENSE):
        result = results[name]
        sizes = [size_index(result), size_index(result, codes_per_feature=2)]
        largest[name] = found(result)[sizes].max().item()
    dense = {name: largest[name] for name in DENSE}
    preferring = sum(int((surplus(results[name]) < 0).sum()) for name in DENSE)
    levels = [(name, *each) for name in DENSE for each in _levels(results[name])]
    return Claim(
        "A.5",
        "digons are found where features are sparse, and at most half of them at any level where "
        "half of them are dense (ours)",
        NOT_THE_PAPER,
        (
            ours(
                "At some level at least 95 % of the features of sparse digons are found.",
                largest[EQUAL] >= ALL,
                {"largest share found, sparse": largest[EQUAL]},
                TRAINED,
            ),
            ours(
                "Of the features of dense digons at most half are found, at every level.",
                max(dense.values()) <= HALF,
                _named("largest share found, dense", max, dense)
                | {"levels at which the true dictionary is better": preferring, "of": len(levels)},
                _worst(
                    _found_strength(results[name], penalty=penalty, keep=keep)
                    for name, penalty, keep in levels
                ),
            ),
        ),
        "The largest share that is found is {largest share found, sparse} where features are "
        "sparse, and {largest share found, dense} where half of them are dense. There the true "
        "dictionary has the lower objective at {levels at which the true dictionary is better} of "
        "{of} levels.",
        critic="Where the true dictionary of dense digons has a lower objective than what was "
        "found, training is at fault and not the objective. A critic would train longer and "
        "restart more often at these levels, and would ask whether more than half are found then.",
    )


def claim_unequal(results):
    """Judge A.6.

    Refuted, finding by finding, if digons of equal density do not keep their true dictionary at
    every level once it is released; or, with n codes and over all levels, if features that are a
    hundred times rarer than their antipodes are found more than 0.6 times as often as these, or if
    the frequent ones are found less than half of the time.
    """
    shares = {}
    for name in (EQUAL, RARE, VERY_RARE):
        first, second = _shares_of_halves(results[name])
        shares[f"share found of the first, {name}"] = first
        shares[f"of the second, {name}"] = second
    frequent, rare = _shares_of_halves(results[VERY_RARE])
    kept = _kept(results[EQUAL]).mean().item()
    return Claim(
        "A.6",
        "that two features are antipodal hides neither; that one is a hundred times rarer hides "
        "it: with n codes it is found less often (ours)",
        NOT_THE_PAPER,
        (
            ours(
                "Training that starts from the true dictionary of equal digons keeps it, at every "
                "level.",
                kept == 1,
                {"share of features kept": kept},
                TRAINED,
            ),
            ours(
                "Features a hundred times rarer than their antipodes are found at most 0.6 times "
                "as often, and these at least half of the time.",
                frequent >= HALF and rare <= RARER * frequent,
                {"share found of rare features": rare, "of frequent ones": frequent} | shares,
                _worst(
                    _found_strength(results[VERY_RARE], penalty=penalty, keep=keep)
                    for penalty, keep in _levels(results[VERY_RARE])
                ),
            ),
        ),
        "Of the features of equal digons a share of {share of features kept} is kept. Where one "
        "feature of each digon is rare, the share found of the rare ones is {share found of rare "
        "features}, that of the others {of frequent ones}.",
        critic="At some level the true dictionary, or what it becomes, has a lower objective than "
        "what training from random dictionaries found. A critic would restart more often, and "
        "would count the rare features that are found in the best of many runs.",
    )


# How strong the evidence is


def _found_strength(result, *, penalty=0.0, keep=0):
    """Return the strength of what training with n codes found, beside the true dictionary."""
    index = level(result, penalty=penalty, keep=keep)
    learned = result.objective[size_index(result), index].min().item()
    true = min(result.true_objective[index].item(), result.released_objective[index].item())
    return strength(learned, true, max(EVEN * learned, EMPTY))


def _true_strength(result, *, penalty):
    """Return the strength of the true dictionary, beside what it becomes when it is released."""
    index = level(result, penalty=penalty)
    true = result.true_objective[index].item()
    released = result.released_objective[index].item()
    return strength(true, released, max(EVEN * true, EMPTY))


def _worst(strengths):
    """Return the strength of evidence that rests on several comparisons."""
    return TRAINING_LIMITED if TRAINING_LIMITED in strengths else BEST_KNOWN


def _levels(result):
    """Return the penalty and the number of kept codes of each level."""
    return zip(result.penalty.tolist(), result.keep.tolist())


# Shares and surpluses


def _named(name, extreme, values):
    """Name the extreme of some models' values, and then each of them."""
    return {name: extreme(values.values())} | {
        f"{name}, {model}": value for model, value in values.items()
    }


def _shares_and_surpluses(results, sparsity):
    """Return the share found with n codes, and the surplus, of each of MANY at a level."""
    shares = {}
    surpluses = {}
    for name in MANY:
        result = results[name]
        index = level(result, **sparsity)
        shares[name] = found(result)[size_index(result), index].item()
        surpluses[name] = surplus(result)[index].item()
    return shares, surpluses


def _kept(result):
    """Return the share of the features kept at each level when the true dictionary is released."""
    cosines = torch.stack([matched(result.directions, released) for released in result.released])
    return (cosines > FOUND).float().mean(dim=1)


def _started_surplus(result):
    """Return by how much the objective is higher at the true dictionary than at the best other."""
    return relative_excess(result.held[TRUE], lowest(result))


def _plain_surplus(result):
    """Return the surplus over what plain autoencoders found from random dictionaries."""
    return surplus(result)[result.keep == 0]


def _shares_of_halves(result):
    """Return the shares found of the first and of the second features of digons.

    They are means over all levels, with n codes.
    """
    is_found = (best_cosines(result)[size_index(result)] > FOUND).float()
    return [half.mean().item() for half in is_found.chunk(2, dim=1)]


def main(argv=None):
    """Run the command line and return the exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
