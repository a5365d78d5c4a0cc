"""Section 2, demonstrating superposition: with sparse features a ReLU model represents more features than dimensions.

    python Section2main.py              # the paper's settings, about a minute on 2 cores
    python Section2main.py --quick      # the same path, small, in seconds
    python Section2main.py --seed 3 --out /tmp/section2

Trains linear and ReLU output models at n=20, m=5 and n=80, m=20, and the introduction's n=5, m=2;
saves the figures under figures/ and prints claims 2.1 to 2.5.
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
    """All figures of the section by name."""
    small, large = results.demonstration
    return {
        "section2-introduction": introduction.figure(results.introduction),
        "section2-n20": demonstration.panels_figure(small),
        "section2-n80": demonstration.panels_figure(large),
        "section2-represented": demonstration.counts_figure(results.demonstration),
    }


def claims(results):
    """Claims 2.1 to 2.5: the first four at n=20, m=5, the last all of them at n=80, m=20."""
    small, large = (
        [
            _claim_linear(result),
            _claim_dense_relu(result),
            _claim_growth(result),
            _claim_pairs(result),
        ]
        for result in results.demonstration
    )
    return [*small, _claim_again(large)]


def _claim_linear(result):
    weights = top_projection_error(result.linear.W).max().item()
    learned, dropped = (
        errors.max().item() for errors in bias_errors(result.linear, result.density)
    )
    return Claim(
        "2.1", "linear model: the m most important features, orthogonal, at every density; bias 0 for these, the "
        "expected value for the rest", "exactly",
        {
            "W^T W off by at most": weights,
            "bias of these off by, in expected values (rms)": learned,
            "bias of the rest off by": dropped,
        },
        weights < 0.1 and learned < 0.1 and dropped < 0.1,
    )  # fmt: skip


def _claim_dense_relu(result):
    error = top_projection_error(result.relu.W[result.density == 1]).max().item()
    return Claim(
        "2.2", "ReLU output model at density 1: the same m features, orthogonal", "yes",
        {"W^T W off by at most": error}, error < 0.1,
    )  # fmt: skip


def _claim_growth(result):
    counts = represented(result.relu.W).sum(dim=1)
    later = least_important_first(result.relu.W)
    return Claim(
        "2.3", "the number of represented features grows as density falls; superposition takes the least important "
        "features first", "yes",
        {
            **{f"represented at density {s:g}": count for s, count in zip(result.density, counts.tolist())},
            "densities with some in superposition and some not": len(later),
            "of these least important first": int(later.sum()),
        },
        # refuted by a single step down, or where somewhere the more important features share first
        bool((counts.diff() >= 0).all() and counts[-1] > 1.5 * counts[0] and len(later) and later.all()),
    )  # fmt: skip


def _claim_pairs(result):
    sharing = in_superposition(result.relu.W).any(dim=1)
    first = int(sharing.int().argmax())  # the highest density with superposition
    factors = [
        f for f in tegum_factors(result.relu.W[first]) if f.polytope != "dedicated dimension"
    ]
    pairs = sum(factor.polytope == "digon" for factor in factors)
    at = (
        {"highest density with superposition": result.density[first].item()}
        if sharing.any()
        else {}
    )
    return Claim(
        "2.4", "the first superposition to appear is antipodal pairs", "yes",
        {**at, "groups of features there": len(factors), "of these antipodal pairs": pairs},
        bool(sharing.any()) and pairs == len(factors) > 0,
    )  # fmt: skip


def _claim_again(large):
    held = sum(claim.holds for claim in large)
    numbers = {
        f"{claim.id}: {name}": value for claim in large for name, value in claim.numbers.items()
    }
    return Claim(
        "2.5", "2.1 to 2.4 again at n=80, m=20", "yes", {"of 4, hold": held, **numbers}, held == 4
    )


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
