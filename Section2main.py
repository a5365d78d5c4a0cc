"""Section 2: a ReLU output model represents more sparse features than it has hidden dimensions.

    python Section2main.py              # the paper's settings, about a minute on 2 cores
    python Section2main.py --quick      # the same path, small, in seconds
    python Section2main.py --seed 3 --out /tmp/section2

Trains linear and ReLU output models with n=20, m=5 and with n=80, m=20, and the introduction's
models with n=5, m=2. Saves the figures under figures/ and prints claims 2.1 to 2.5.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.section2 import demonstration, introduction
from experiments.section2.demonstration import (
    bias_errors,
    least_important_first,
    top_projection_error,
)
from geometry import in_superposition, represented
from sweeps import Claim, Experiment, section_main
from theory.polytopes import tegum_factors

EXPERIMENTS = {
    "introduction": Experiment(
        introduction, introduction.Settings(), introduction.QUICK, drawn=True
    ),
    "demonstration": Experiment(
        demonstration,
        (demonstration.Settings(), demonstration.LARGE),
        (demonstration.QUICK, demonstration.QUICK_LARGE),
    ),
}


def figures(results):
    """Draw all figures of the section and return them by name."""
    small, large = results.demonstration
    return {
        "section2-introduction": introduction.figure(results.introduction),
        "section2-n20": demonstration.panels_figure(small),
        "section2-n80": demonstration.panels_figure(large),
        "section2-represented": demonstration.counts_figure(results.demonstration),
    }


def claims(results):
    """Judge claims 2.1 to 2.4 with n=20, m=5, and all four of them again with n=80, m=20."""
    small, large = results.demonstration
    return [*_claims_of_one_size(small), _claim_again(_claims_of_one_size(large))]


def _claims_of_one_size(result):
    """Judge claims 2.1 to 2.4."""
    return [
        _claim_linear(result),
        _claim_dense_relu(result),
        _claim_growth(result),
        _claim_pairs(result),
    ]


def _claim_linear(result):
    """Judge claim 2.1, which is refuted if W^T W or the biases are off by a tenth or more."""
    weights = top_projection_error(result.linear.W).max().item()
    errors = bias_errors(result.linear, result.density)
    most_important = errors.most_important.max().item()
    rest = errors.rest.max().item()
    return Claim(
        "2.1",
        "linear model: the m most important features, orthogonal, at every density; bias 0 for "
        "these, the expected value for the rest",
        "exactly",
        {
            "W^T W off by at most": weights,
            "bias of these off by, in expected values (rms)": most_important,
            "bias of the rest off by": rest,
        },
        weights < 0.1 and most_important < 0.1 and rest < 0.1,
    )


def _claim_dense_relu(result):
    """Judge claim 2.2, which is refuted if W^T W is off by a tenth or more."""
    error = top_projection_error(result.relu.W[result.density == 1]).max().item()
    return Claim(
        "2.2",
        "ReLU output model at density 1: the same m features, orthogonal",
        "yes",
        {"W^T W off by at most": error},
        error < 0.1,
    )


def _claim_growth(result):
    """Judge claim 2.3.

    It is refuted by a single step to fewer represented features, by a growth of at most a half in
    all, and by one density at which the more important features share a direction first. It is also
    refuted if there is no density with both dedicated features and features in superposition.
    """
    counts = represented(result.relu.W).sum(dim=1)
    ordered = least_important_first(result.relu.W)
    numbers = {
        f"represented at density {density:g}": count
        for density, count in zip(result.density, counts.tolist())
    }
    numbers["densities with some in superposition and some not"] = len(ordered)
    numbers["of these least important first"] = int(ordered.sum())
    grows = bool((counts.diff() >= 0).all()) and bool(counts[-1] > 1.5 * counts[0])
    return Claim(
        "2.3",
        "the number of represented features grows as density falls; superposition takes the least "
        "important features first",
        "yes",
        numbers,
        grows and len(ordered) > 0 and bool(ordered.all()),
    )


def _claim_pairs(result):
    """Judge claim 2.4 at the highest density with superposition.

    It is refuted if a group of features there is no antipodal pair, or if there is no superposition
    at any density.
    """
    shared = in_superposition(result.relu.W).any(dim=1)
    first = int(shared.int().argmax())
    groups = [
        factor
        for factor in tegum_factors(result.relu.W[first])
        if factor.polytope != "dedicated dimension"
    ]
    pairs = sum(factor.polytope == "digon" for factor in groups)
    numbers = {}
    if shared.any():
        numbers["highest density with superposition"] = result.density[first].item()
    numbers["groups of features there"] = len(groups)
    numbers["of these antipodal pairs"] = pairs
    return Claim(
        "2.4",
        "the first superposition to appear is antipodal pairs",
        "yes",
        numbers,
        bool(shared.any()) and pairs == len(groups) > 0,
    )


def _claim_again(claims_of_large):
    """Judge claim 2.5, which is refuted if one of claims 2.1 to 2.4 is refuted with n=80, m=20."""
    held = sum(claim.holds for claim in claims_of_large)
    numbers = {"of 4, hold": held}
    for claim in claims_of_large:
        numbers |= {f"{claim.id}: {name}": value for name, value in claim.numbers.items()}
    return Claim("2.5", "2.1 to 2.4 again at n=80, m=20", "yes", numbers, held == 4)


def main(argv=None):
    """Run the section from the command line and return its exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
