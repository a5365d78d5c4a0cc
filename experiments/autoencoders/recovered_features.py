"""Can a sparse autoencoder find the features? (ours)

Sparse autoencoders are how features are looked for in large models, where nobody knows them. In a toy model they are
known: the columns of W. Plain (L1) and top-k autoencoders are trained on the hidden layers of models of the zoo, and of
digons built for the purpose, and their dictionaries are matched to the features' directions, one to one, by the
Hungarian method. Where features are missed, the objective at the true dictionary, with the rest trained, says whose
fault that is: training's where it is lower than what was found, the objective's where it is higher, or where training
leaves the true dictionary for a lower one.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import pad

from checks import as_line, check_count, check_settings
from experiments.autoencoders.sparse_autoencoder import (
    Rows,
    Sparsity,
    fit,
    from_dictionary,
    measured,
    random_dictionary,
)
from features import FeatureDistribution
from geometry import represented, unit_directions
from models import ReLUOutputModel
from storage import CONFIG, TENSORS, read
from visualization import DEDICATED, FAINT, POLYTOPE_COLOURS, SHARED, TINY, WIDTH, plain_ticks

ZOO = Path(__file__).resolve().parents[2] / "zoo"
INPUTS = tuple(sorted(ZOO.glob("*/*")))  # the files of all models
DIGONS = "digons"  # five digons in five dimensions, not of the zoo
PAIRS = 5
FOUND = 0.95  # a feature is found where the direction matched to it has a larger cosine with it (18 degrees)
DEAD = 1e-3  # a code that is not zero in no more than this share of rows is dead, and counts for nothing
MOST = 0.9  # where this share of the features is found, no one is to blame
EVEN = 0.01  # objectives no further apart than this share of the larger one are equal,
EMPTY = 1e-3  # and so are those no further apart than this share of the mean squared ||h||
RANDOM = 50  # dictionaries by chance
FAULTS = ("found", "even", "training", "objective")


@dataclass(frozen=True)
class Settings:
    model: str = "n20-m5"  # a folder of zoo/, or DIGONS
    densities: tuple[float, ...] = (
        0.1,
        0.1,
    )  # of DIGONS: of the first and of the second feature of each
    multiples: tuple[float, ...] = (
        0.5,
        1.0,
        2.0,
        4.0,
    )  # sizes of the dictionary, over the number of features
    penalties: tuple[float, ...] = (
        0.03,
        0.1,
        0.3,
        1.0,
    )  # of plain autoencoders, for a mean squared ||h|| of 1
    keep: tuple[int, ...] = (1, 2, 4)  # of top-k autoencoders
    runs: int = 2
    steps: int = 1500
    batch_size: int = 256
    lr: float = 1e-2

    @property
    def name(self):
        return (
            self.model
            if self.model != DIGONS
            else "digons, densities {:g} and {:g}".format(*self.densities)
        )

    def __post_init__(self):
        _check_model(self.model)
        check_settings(self)
        if len(self.densities) != 2:
            raise ValueError(f"densities: expected two, got {self.densities!r}")
        for name in ("multiples", "penalties", "keep"):
            as_line(name, getattr(self, name))
        if 1 not in self.multiples:
            raise ValueError(f"multiples: expected 1 among them, got {self.multiples!r}")
        for value in self.keep:
            check_count("keep", value)


def _check_model(model):
    files = [ZOO / str(model) / name for name in (CONFIG, TENSORS)]
    if model != DIGONS and not all(file.is_file() for file in files):
        raise ValueError(f"model: expected a folder of zoo/ or {DIGONS!r}, got {model!r}")


MODELS = (
    *(Settings(name) for name in ("square-antiprism", "n20-m5", "n40-m10")),
    *(
        Settings(DIGONS, both)
        for both in ((0.1, 0.1), (0.1, 0.01), (0.1, 0.001), (0.5, 0.5), (1.0, 0.1))
    ),
    *(Settings(name) for name in ("anticorrelated-pairs", "correlated-pairs", "octahedron")),
)
SMALL = {"multiples": (1.0, 2.0), "penalties": (0.03, 0.3), "keep": (1, 4), "runs": 1, "steps": 20}
QUICK = tuple(replace(settings, **SMALL) for settings in MODELS)


class Result(NamedTuple):
    """Levels are the ways to be sparse: first each penalty, then each number of codes that is kept."""

    penalty: Float[Tensor, " levels"]  # 0 where top-k
    keep: Int[Tensor, " levels"]  # 0 where plain
    directions: Float[Tensor, "hidden features"]  # What_i of the represented features
    active: Float[Tensor, ""]  # features that are active on average, of rows with an active one
    size: Int[Tensor, " sizes"]  # of the dictionaries
    dictionary: Float[Tensor, "sizes levels runs hidden codes"]  # columns beyond its size are zero
    used: Float[
        Tensor, "sizes levels runs codes"
    ]  # share of the rows with an active feature where a code is not zero
    objective: Float[Tensor, "sizes levels runs"]  # of fresh rows
    true_objective: Float[Tensor, " levels"]  # with the dictionary held at the features' directions
    released_objective: Float[
        Tensor, " levels"
    ]  # the same, after training on with the dictionary released
    released: Float[Tensor, "levels hidden features"]


def run(settings, *, seed=0, device="cpu", progress=True):
    model, inputs = _model(settings)
    directions = unit_directions(model.encoder.detach().float())[0][
        :, represented(model.encoder.detach())[0]
    ]
    rows = Rows(model, inputs.to(device), settings.batch_size)
    hidden, features = directions.shape
    levels = [(penalty, 0) for penalty in settings.penalties] + [(0.0, k) for k in settings.keep]
    penalty, keep = (torch.tensor(values) for values in zip(*levels))
    how = {"steps": settings.steps, "lr": settings.lr, "seed": seed}
    sizes = [max(1, round(multiple * features)) for multiple in settings.multiples]
    generator, found = torch.Generator().manual_seed(seed), []
    many = Sparsity(
        *(values.repeat_interleave(settings.runs).to(device) for values in (penalty, keep))
    )
    for size in sizes:
        start = from_dictionary(
            random_dictionary(len(many.keep), hidden, size, generator).to(device)
        )
        trained = fit(start, many, rows, **how)
        of = measured(trained, many, *rows.test)
        found.append(
            [_padded(values, max(sizes)) for values in (trained.D, of.used)] + [of.objective.cpu()]
        )
    one = Sparsity(penalty.to(device), keep.to(device))
    true = fit(
        from_dictionary(directions.to(device).expand(len(levels), -1, -1)),
        one,
        rows,
        held=True,
        **how,
    )
    released = fit(true, one, rows, **how)
    found = [
        torch.stack(values).unflatten(1, (len(levels), settings.runs)) for values in zip(*found)
    ]
    objectives = [measured(each, one, *rows.test).objective.cpu() for each in (true, released)]
    return Result(
        penalty,
        keep,
        directions,
        rows.active.cpu(),
        torch.tensor(sizes),
        *found,
        *objectives,
        released.D.cpu(),
    )


def _model(settings):
    """The toy model of some settings, and its inputs."""
    if settings.model != DIGONS:
        stored = read(ZOO / settings.model)
        return stored.model, stored.distribution
    W = torch.cat((torch.eye(PAIRS), -torch.eye(PAIRS)), dim=1)[None]
    densities = torch.tensor(settings.densities, dtype=torch.float64).repeat_interleave(PAIRS)
    return ReLUOutputModel.from_weights(W, torch.zeros(1, 2 * PAIRS)), FeatureDistribution(
        densities[None]
    )


def _padded(values, codes):
    """values (..., size) with zeros up to so many codes."""
    return pad(values.cpu(), (0, codes - values.shape[-1]))


# What it shows


def matched(
    directions: Float[Tensor, "hidden features"], dictionary: Float[Tensor, "hidden codes"]
) -> Float[Tensor, " features"]:
    """The cosine of each feature with its own code, matched one to one for the largest sum; 0 for one left over."""
    cosines = directions.mT @ dictionary
    feature, code = (
        torch.from_numpy(index) for index in linear_sum_assignment(cosines.numpy(), maximize=True)
    )
    of_features = torch.zeros(len(cosines))
    of_features[feature] = cosines[feature, code]
    return of_features


def best_cosines(result) -> Float[Tensor, "sizes levels features"]:
    """`matched` in the run of the lowest objective, without dead codes: nobody who looks for features knows more."""
    best = result.objective.argmin(dim=2)
    rows = []
    for k, size in enumerate(result.size.tolist()):
        alive = [result.used[k, level, run, :size] > DEAD for level, run in enumerate(best[k])]
        kept = [
            result.dictionary[k, level, run, :, :size] * alive[level]
            for level, run in enumerate(best[k])
        ]
        rows.append(torch.stack([matched(result.directions, dictionary) for dictionary in kept]))
    return torch.stack(rows)


def found(result) -> Float[Tensor, "sizes levels"]:
    """The share of features that are FOUND, in the same run."""
    return (best_cosines(result) > FOUND).float().mean(dim=2)


def by_chance(result) -> Float[Tensor, "sizes 2"]:
    """Mean cosine and share of features found with random dictionaries of each size."""
    generator, rows = torch.Generator().manual_seed(0), []
    for size in result.size.tolist():
        random = random_dictionary(RANDOM, len(result.directions), size, generator)
        cosines = torch.stack([matched(result.directions, dictionary) for dictionary in random])
        rows.append(torch.stack((cosines.mean(), (cosines > FOUND).float().mean())))
    return torch.stack(rows)


def as_many(result):
    """The index of the size with as many codes as features."""
    return result.size.tolist().index(result.directions.shape[1])


def surplus(result) -> Float[Tensor, " levels"]:
    """By how much the objective is higher at the true dictionary than at what was found with as many codes.

    A share of the larger of both, 0 where they are equal by the rules EVEN and EMPTY; below 0 where it is lower.
    """
    return _above(result.true_objective, result.objective[as_many(result)].amin(dim=1))


def _above(objective, other):
    larger, difference = torch.maximum(objective, other), objective - other
    return torch.where(difference.abs() > (EVEN * larger).clamp(min=EMPTY), difference / larger, 0)


def fault(result) -> Int[Tensor, " levels"]:
    """With as many codes as features, which of FAULTS: MOST features found, or else what the objective says.

    The objective is at fault, too, where training leaves the true dictionary for a lower one and loses features.
    """
    over = surplus(result)
    kept = torch.stack(
        [matched(result.directions, released) > FOUND for released in result.released]
    ).float()
    left = (kept.mean(dim=1) < MOST) & (
        _above(result.true_objective, result.released_objective) > 0
    )
    blamed = torch.where((over > 0) | left, 3, torch.where(over < 0, 2, 1))
    return torch.where(found(result)[as_many(result)] >= MOST, 0, blamed)


def level(result, *, penalty=0.0, keep=0):
    """The index of a level; ValueError where there is none."""
    at = ((result.penalty == penalty) & (result.keep == keep)).nonzero()[:, 0].tolist()
    if not at:
        raise ValueError(f"penalty, keep: expected a level of the result, got {penalty} and {keep}")
    return at[0]


# The figure

ALPHA = 0.55  # of colours with a number on them
THIRD = POLYTOPE_COLOURS["pentagon"]  # beside DEDICATED and SHARED
COLOURS = {"found": DEDICATED, "even": FAINT, "training": THIRD, "objective": SHARED}  # of FAULTS


def figure(results, names, curves):
    """How many features each level of sparsity finds with n and 2n codes, and whose fault it is; cosines over size.

    curves: names of the results, up to three, whose cosines are drawn
    """
    drawing, axes = plt.subplots(
        1, 3, figsize=(WIDTH, 5), layout="constrained", width_ratios=(1.25, 1.25, 1.1)
    )
    titles = (
        "features found with $n$ codes,\nand what is at fault",
        "features found with $2n$ codes\n(grey: missed)",
    )
    for ax, times, title in zip(axes, (1, 2), titles):
        _draw_found(results, times, ax)
        ax.set_title(title)
    axes[0].set_yticks(range(len(results)), labels=names)
    axes[1].set_yticks([])
    _draw_cosines({name: results[names.index(name)] for name in curves}, axes[2])
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=colour, alpha=ALPHA) for colour in COLOURS.values()
    ]
    labels = (
        f"at least {MOST:.0%} found",
        "missed, objectives even",
        "missed: training",
        "missed: the objective",
    )
    drawing.legend(handles, labels, loc="outside lower center", ncols=4)
    return drawing


def _draw_found(results, times, ax):
    for row, result in enumerate(results):
        features = result.directions.shape[1]
        at = result.size.tolist().index(times * features)
        shares, faults = found(result)[at].tolist(), fault(result).tolist()
        for column, (share, of) in enumerate(zip(shares, faults)):
            colour = COLOURS[FAULTS[of]] if times == 1 else DEDICATED if share >= MOST else FAINT
            ax.add_patch(
                plt.Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, color=colour, alpha=ALPHA)
            )
            ax.text(
                column,
                row,
                f"{round(share * features)}/{features}",
                ha="center",
                va="center",
                size=TINY,
            )
    levels = zip(results[0].penalty.tolist(), results[0].keep.tolist())
    labels = [f"k={keep}" if keep else f"{penalty:.2g}" for penalty, keep in levels]
    ax.set_xticks(range(len(labels)), labels=labels, size=TINY)
    ax.set(
        xlim=(-0.5, len(labels) - 0.5),
        ylim=(len(results) - 0.5, -0.5),
        xlabel="$L_1$ penalty, or $k$ of top-$k$",
    )


def _draw_cosines(results, ax):
    """The mean cosine at the best level of each size, beside chance."""
    for (name, result), colour in zip(results.items(), (SHARED, DEDICATED, THIRD)):
        times = result.size / result.directions.shape[1]
        of_size = best_cosines(result).mean(dim=2).amax(dim=1)
        ax.plot(times, of_size, "o-", color=colour, label=name.replace(", ", ",\n"))
        ax.plot(times, by_chance(result)[:, 0], ":", color=colour)
    ax.set(
        xscale="log",
        ylim=(0, 1.03),
        xlabel="codes per feature (log scale)",
        ylabel="mean cosine after matching",
    )
    plain_ticks(ax.xaxis, times.tolist())
    ax.set_title("the best level of each size\n(dotted: random directions)")
    ax.legend(loc="lower right")
