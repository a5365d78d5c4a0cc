"""Section 2: a ReLU output model represents more sparse features than it has hidden dimensions.

    python Section2main.py              # the paper's settings, about a minute on 2 cores
    python Section2main.py --quick      # the same path, small, in seconds
    python Section2main.py --seed 3 --out /tmp/section2

Trains linear and ReLU output models with n=20, m=5 and with n=80, m=20, and the introduction's
models with n=5, m=2, and looks at a finer grid of densities for what superposition appears first.
Saves the figures under figures/ and prints claims 2.1 to 2.5.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

from experiments.section2 import demonstration, first_superposition, introduction, pentagon
from experiments.section2.demonstration import (
    bias_errors,
    dedicated_loss,
    least_important_first,
    top_projection_error,
)
from experiments.section2.first_superposition import all_pairs, first_groups, sharing_alone
from features import FeatureDistribution
from geometry import represented
from losses.many_features import many_features_loss
from sweeps import Claim, Experiment, effect, ours, section_main
from sweeps.claims import strength
from theory.descents import SAME_LOSS

EXPERIMENTS = {
    "introduction": Experiment(
        introduction, introduction.Settings(), introduction.QUICK, drawn=True
    ),
    "pentagon": Experiment(pentagon, pentagon.Settings(), pentagon.QUICK, drawn=True),
    "demonstration": Experiment(
        demonstration,
        (demonstration.Settings(), demonstration.LARGE),
        (demonstration.QUICK, demonstration.QUICK_LARGE),
    ),
    "first": Experiment(
        first_superposition,
        (first_superposition.Settings(), first_superposition.LARGE),
        (first_superposition.QUICK, first_superposition.QUICK_LARGE),
    ),
}


def figures(results):
    """Draw all figures of the section and return them by name."""
    small, large = results.demonstration
    return {
        "section2-introduction": introduction.figure(results.introduction),
        "section2-pentagon": pentagon.figure(results.pentagon),
        "section2-n20": demonstration.panels_figure(small),
        "section2-n80": demonstration.panels_figure(large),
        "section2-represented": demonstration.counts_figure(results.demonstration),
        "section2-first": first_superposition.figure(results.first),
    }


# Bars of the findings
OFF = 0.1  # least error of W^T W, or of biases in expected values, that is no agreement
GROWTH = 1.5  # times as many features are represented at the lowest density as at the highest


def claims(results):
    """Judge claims 2.1 to 2.4 with n=20, m=5, and 2.1 to 2.3 again with n=80, m=20."""
    small, large = results.demonstration
    fine_small, fine_large = results.first
    return [
        claim_linear(small),
        claim_dense_relu(small),
        claim_growth(small, fine_small),
        claim_pairs(results.demonstration, results.first),
        claim_again(large, fine_large),
    ]


def claim_linear(result):
    """Make claim 2.1 of `_linear_findings`."""
    return Claim(
        "2.1",
        "linear model: the m most important features, orthogonal, at every density; bias 0 for "
        "these, the expected value for the rest",
        "A linear model represents the m most important features at every density, as principal "
        "component analysis does (Section 2).",
        _linear_findings(result),
        "W^T W is off by at most {W^T W of linear models off by}.",
    )


def _linear_findings(result):
    """Return the findings on the linear model.

    The first is refuted if an entry of W^T W is off by a tenth or more at some density, the second
    if the biases of either kind are. The models are compared with the best linear solution.
    """
    weights = top_projection_error(result.linear.W).max().item()
    errors = bias_errors(result.linear, result.density)
    most_important = errors.most_important.max().item()
    rest = errors.rest.max().item()
    evidence = _strength(result.linear.loss, dedicated_loss(result, result.density))
    return (
        effect(
            "At every density W^T W of the linear model is the projection on the m most important "
            "features, with no entry off by a tenth.",
            weights < OFF,
            {"W^T W of linear models off by": weights},
            evidence,
        ),
        effect(
            "The biases of the linear model are 0 for these features and the expected value for "
            "the rest, up to a tenth of the expected value.",
            max(most_important, rest) < OFF,
            {
                "bias of the most important off by, in expected values": most_important,
                "bias of the rest off by": rest,
            },
            evidence,
        ),
    )


def _strength(loss, known):
    """Return the strength of evidence that rests on models at several densities.

    It is training-limited if at one density a lower loss is known, by more than SAME_LOSS.
    """
    worst = (loss / known).max().item()
    return strength(worst, 1.0, SAME_LOSS)


def claim_dense_relu(result):
    """Make claim 2.2 of `_dense_finding`."""
    return Claim(
        "2.2",
        "ReLU output model at density 1: the same m features, orthogonal",
        "With dense features the ReLU output model does what the linear one does (Section 2).",
        (_dense_finding(result),),
        "W^T W is off by at most {W^T W at density 1 off by}.",
    )


def _dense_finding(result):
    """Return the finding on the ReLU output model at density 1.

    It is refuted if an entry of W^T W is off by a tenth or more. The model is compared with the
    solution that has a dimension for each of the m most important features.
    """
    dense = result.density == 1
    W, b = result.relu.W[dense], result.relu.b[dense]
    inputs = FeatureDistribution(result.density[dense][:, None], result.importance)
    error = top_projection_error(W).max().item()
    return effect(
        "At density 1 W^T W of the ReLU output model is the projection on the m most important "
        "features, with no entry off by a tenth.",
        error < OFF,
        {"W^T W at density 1 off by": error},
        _strength(many_features_loss(W, b, inputs), dedicated_loss(result, result.density[dense])),
    )


def claim_growth(result, fine):
    """Make claim 2.3 of `_growth_findings`."""
    return Claim(
        "2.3",
        "the number of represented features grows as density falls; superposition takes the least "
        "important features first",
        "The sparser the features, the more of them are represented in superposition, and the "
        "most important ones keep a dimension of their own the longest (Section 2).",
        _growth_findings(result, fine),
        _growth_seen(result),
        "A critic would search the sparse end with many more restarts. There are local minima of "
        "nearly the same loss there that represent one or two features more or less, so that the "
        "count of the best one known can step down by one between neighbouring densities.",
    )


def _growth_seen(result):
    """Say how the number of represented features changes, by the names of `_growth_findings`."""
    counts = [f"{{{_count_name(density)}}} at {density:g}" for density in result.density.tolist()]
    return f"Features represented by density: {', '.join(counts)}."


def _count_name(density):
    return f"represented at density {density:g}"


def _growth_findings(result, fine):
    """Return the findings on the number of represented features, and on which share first.

    - Growth is refuted if fewer features are represented at some density than at one ten times as
      high or higher, or at the lowest density no more than 1.5 times as many as at the highest.
    - "No step down" is refuted by one step to fewer features between neighbouring densities.
    - "Least important first" is refuted by one density at which the features in superposition are,
      on average, as important as the others that are represented, or more; or if there is no
      density with both kinds.

    Which models are judged has nothing to do with the counts: those of lowest loss. Evidence is
    training-limited where one more round of training on, from neighbouring densities, lowers it.
    """
    counts = represented(result.relu.W).sum(dim=1)
    steps_down = int((counts.diff() < 0).sum())
    evidence = _strength(result.relu.loss, result.relu.next_loss)
    named = zip(result.density.tolist(), counts.tolist())
    return (
        effect(
            "At no density are fewer features represented than at any that is ten times as high or "
            f"more, and at the lowest there are over {GROWTH:g} times as many as at the highest.",
            _grows(result.density, counts),
            {
                "represented, lowest over highest density": (counts[-1] / counts[0]).item(),
                **{_count_name(density): count for density, count in named},
            },
            evidence,
        ),
        _order_finding(effect, "the paper's grid", result.relu.W, evidence),
        _order_finding(ours, "the finer grid", fine.W, _strength(fine.loss, fine.next_loss)),
        ours(
            "No step from one density of the paper's grid to the next reduces the number.",
            steps_down == 0,
            {"steps down": steps_down},
            evidence,
        ),
        ours(
            "Training on from neighbouring densities finds a lower loss than fresh restarts do.",
            (result.relu.loss < result.relu.fresh_loss * (1 - SAME_LOSS)).any(),
            {
                "loss of fresh restarts over the best, highest": _highest_ratio(
                    result.relu.fresh_loss, result.relu.loss
                ),
                "the best over one more round, highest": _highest_ratio(
                    result.relu.loss, result.relu.next_loss
                ),
            },
            evidence,
        ),
    )


def _grows(density, counts):
    """Say whether counts grow as density falls, over factors of ten and in all."""
    sparser = density[:, None] <= density / 10 * (1 + 1e-6)
    fewer = counts[:, None] < counts
    return not (sparser & fewer).any() and bool(counts[-1] > GROWTH * counts[0])


def _order_finding(kind, grid, W, evidence):
    """Return the finding that superposition takes the least important features first."""
    ordered = least_important_first(W)
    return kind(
        f"On {grid}, wherever only some represented features are in superposition, they are less "
        "important on average than the others.",
        len(ordered) > 0 and ordered.all(),
        {
            f"{grid}: densities with the least important in superposition": int(ordered.sum()),
            f"{grid}: densities with some in superposition": len(ordered),
        },
        evidence,
    )


def _highest_ratio(loss, lower):
    return (loss / lower).max().item()


def claim_pairs(demonstrations, fine):
    """Make claim 2.4 of `_pairs_finding`, on both grids and with both sizes."""
    on_paper_grid = [
        _pairs_finding("the paper's grid", result.density, result.relu) for result in demonstrations
    ]
    on_finer_grid = [_pairs_finding("the finer grid", result.density, result) for result in fine]
    return Claim(
        "2.4",
        "the first superposition to appear is antipodal pairs",
        "Superposition begins with antipodal pairs of features (Section 2).",
        (*on_paper_grid, *on_finer_grid, _larger_first_finding(fine[1])),
        " ".join(_first_seen(result) for result in fine),
        "The paper's grid has no density between 1 and 0.3, and on the finer one n=80 begins with "
        "larger groups than pairs. A critic would refine that grid around the first superposition, "
        "and try m between 5 and 20 to see from which size on larger groups come first.",
    )


def _pairs_finding(grid, density, models):
    """Return the finding that superposition begins with antipodal pairs, with one size on one grid.

    It is refuted if a group of represented features, at the highest density that has any, is no
    antipodal pair, or if there is no group at any density. A lone represented feature that shares
    its dimension with features below the threshold is no group.
    """
    where = f"n={models.W.shape[2]} on {grid}"
    first = first_groups(models)
    found = [] if first is None else first.groups
    pairs = sum(factor.polytope == "digon" for factor in found)
    numbers = {
        f"{where}: first groups that are antipodal pairs": pairs,
        f"{where}: first groups": len(found),
    }
    if first is not None:
        numbers[f"{where}: first groups at density"] = density[first.place].item()
    return effect(
        f"With {where}, all groups of represented features at the highest density that has any are "
        "antipodal pairs.",
        pairs == len(found) > 0,
        numbers,
        _strength(models.loss, models.next_loss),
    )


def _larger_first_finding(result):
    """Return our finding on what comes before antipodal pairs.

    It is refuted if the first groups are antipodal pairs, or if at no lower density all groups are.
    """
    size = f"n={result.W.shape[2]}"
    first = first_groups(result)
    pairs = torch.tensor([all_pairs(W) for W in result.W])
    alone = torch.tensor([sharing_alone(W) for W in result.W])
    numbers = {
        f"{size}: features of the largest first group": 0,
        f"{size}: densities with a lone feature in a shared dimension": int((alone > 0).sum()),
    }
    if first is not None:
        numbers[f"{size}: features of the largest first group"] = len(first.largest.features)
        numbers[f"{size}: dimensions of the largest first group"] = first.largest.rank
    if pairs.any():
        numbers[f"{size}: pairs alone from density"] = result.density[pairs].max().item()
    return ours(
        f"With {size}, a group of more than two features comes first on the finer grid, and "
        "antipodal pairs alone follow at a lower density.",
        first is not None and not pairs[first.place] and pairs.any(),
        numbers,
        _strength(result.loss, result.next_loss),
    )


def _first_seen(result):
    """Say what comes first on the finer grid, by the names of the findings of claim 2.4."""
    size = f"n={result.W.shape[2]}"
    first = first_groups(result)
    if first is None:
        return f"With {size} there is no superposition on the finer grid."
    where = f"{{{size} on the finer grid: first groups at density}}"
    if all_pairs(result.W[first.place]):
        return f"With {size} antipodal pairs come first, at density {where}."
    features, rank = len(first.largest.features), first.largest.rank
    text = f"With {size} {features} features in {rank} dimensions come first, at density {where}"
    if any(all_pairs(W) for W in result.W):
        text += f", and pairs alone from {{{size}: pairs alone from density}}"
    return f"{text}."


def claim_again(result, fine):
    """Make claim 2.5 of the findings of claims 2.1 to 2.3, with n=80, m=20."""
    return Claim(
        "2.5",
        "2.1 to 2.3 again at n=80, m=20",
        "With n=80, m=20 the same is seen as with n=20, m=5 (Section 2).",
        (*_linear_findings(result), _dense_finding(result), *_growth_findings(result, fine)),
        _growth_seen(result),
        "A critic would train longer at the sparse end, where each further round of training on "
        "still lowers the loss, and ask whether the number of represented features levels off.",
    )


def main(argv=None):
    """Run the section from the command line and return its exit status."""
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
