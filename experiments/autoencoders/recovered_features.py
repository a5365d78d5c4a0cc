"""Sparse autoencoders look for the known features of toy models (ours).

Nobody knows the features of large models, in which sparse autoencoders look for them. The features
of a toy model are known: they are the columns of W. Plain (L1) and top-k autoencoders are trained
on the hidden layers of models of the zoo, and of digons that are built for the purpose. Their
dictionaries are matched one to one to the directions of the features by the Hungarian method.

Where features are missed, the objective at the true dictionary, with all other weights trained,
tells what is at fault. If it is lower than what was found, training is at fault. If it is higher,
or if training leaves the true dictionary for a lower objective, the objective itself is at fault.

`figure` draws how many features are found at each level of sparsity, and how well they are matched.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Autoencodersmain.py instead.")

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
from visualization import (
    DEDICATED,
    FAINT,
    POLYTOPE_COLOURS,
    SHARED,
    TINY,
    WIDTH,
    described,
    plain_ticks,
)

ZOO = Path(__file__).resolve().parents[2] / "zoo"
INPUTS = tuple(sorted(ZOO.glob("*/*")))  # the files of all models
DIGONS = "digons"  # name of a model of DIGON_COUNT digons, which is not part of the zoo
DIGON_COUNT = 5  # in as many dimensions
FOUND = 0.95  # a feature is found if its cosine with the matched direction is larger (18 degrees)
DEAD = 1e-3  # a code that is zero in all but this share of the rows is dead and does not count
MOST = 0.9  # if at least this share of the features is found, nothing is at fault
# Two objectives are equal if they differ by at most EVEN times the larger one, or by at most EMPTY
# times the mean squared ||h||.
EVEN = 0.01
EMPTY = 1e-3
RANDOM_DICTIONARIES = 50  # by which chance is estimated
# What is at fault where features are not found, as `fault` returns it.
NO_FAULT = 0  # the features are found
EVEN_OBJECTIVES = 1  # the objective does not tell the dictionaries apart
TRAINING_FAULT = 2  # training ends above the objective of the true dictionary
OBJECTIVE_FAULT = 3  # the objective prefers another dictionary to the true one


@dataclass(frozen=True)
class Settings:
    """A toy model, and the autoencoders that are trained on it."""

    model: str = "n20-m5"  # a folder of zoo/, or DIGONS
    # For DIGONS: the densities of the first and of the second feature of each digon.
    densities: tuple[float, ...] = (0.1, 0.1)
    multiples: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)  # codes per feature of each dictionary
    # Of plain autoencoders, where rows have a mean squared ||h|| of 1.
    penalties: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    keep: tuple[int, ...] = (1, 2, 4)  # codes of a row that top-k autoencoders keep
    runs: int = 2  # autoencoders at each level of sparsity
    steps: int = 1500
    batch_size: int = 256
    lr: float = 1e-2

    @property
    def name(self):
        """The model's name, with the densities of digons."""
        if self.model != DIGONS:
            return self.model
        first, second = self.densities
        return f"digons, densities {first:g} and {second:g}"

    def __post_init__(self):
        """Refuse values out of range."""
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
    """Raise ValueError unless the model is one of the zoo or DIGONS."""
    files = [ZOO / str(model) / name for name in (CONFIG, TENSORS)]
    if model != DIGONS and not all(file.is_file() for file in files):
        raise ValueError(f"model: expected a folder of zoo/ or {DIGONS!r}, got {model!r}")


INDEPENDENT = ("square-antiprism", "n20-m5", "n40-m10")
DIGON_DENSITIES = ((0.1, 0.1), (0.1, 0.01), (0.1, 0.001), (0.5, 0.5), (1.0, 0.1))
IN_SETS = ("anticorrelated-pairs", "correlated-pairs", "octahedron")
MODELS = (
    *(Settings(name) for name in INDEPENDENT),
    *(Settings(DIGONS, densities) for densities in DIGON_DENSITIES),
    *(Settings(name) for name in IN_SETS),
)
QUICK = tuple(
    replace(settings, multiples=(1.0, 2.0), penalties=(0.03, 0.3), keep=(1, 4), runs=1, steps=20)
    for settings in MODELS
)
NOTEBOOK = tuple(
    replace(settings, multiples=(1.0, 2.0), penalties=(0.03, 0.3), keep=(1,), steps=500, lr=2e-2)
    for settings in MODELS
)


class Result(NamedTuple):
    """What was trained. Levels of sparsity are first the penalties, then the kept codes."""

    penalty: Float[Tensor, " levels"]  # 0 for top-k autoencoders
    keep: Int[Tensor, " levels"]  # 0 for plain autoencoders
    directions: Float[Tensor, "hidden features"]  # unit vectors of the represented features
    active: Float[Tensor, ""]  # mean number of active features in a row that has one
    size: Int[Tensor, " sizes"]  # codes of each dictionary
    dictionary: Float[Tensor, "sizes levels runs hidden codes"]  # padded with zeros
    # Share of the test rows in which a code is not zero, padded with zeros.
    used: Float[Tensor, "sizes levels runs codes"]
    objective: Float[Tensor, "sizes levels runs"]  # on test rows
    # The objective with the dictionary held at the features' directions and all else trained; then
    # the same, and the dictionary, after training has gone on with the dictionary released.
    true_objective: Float[Tensor, " levels"]
    released_objective: Float[Tensor, " levels"]
    released: Float[Tensor, "levels hidden features"]


class _Trained(NamedTuple):
    """Autoencoders of one size, trained from random dictionaries; levels and runs in one axis."""

    dictionary: Float[Tensor, "instances hidden codes"]
    used: Float[Tensor, "instances codes"]
    objective: Float[Tensor, " instances"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train autoencoders of every size and level, and others from the true dictionary."""
    model, inputs = _toy_model(settings)
    W = model.encoder.detach()
    directions = unit_directions(W.float())[0][:, represented(W)[0]]
    hidden, features = directions.shape
    rows = Rows(model, inputs.to(device), settings.batch_size, seed)
    sparsity = _levels(settings).to(device)
    repeated = sparsity.repeated(settings.runs)
    training = {"steps": settings.steps, "lr": settings.lr, "seed": seed}
    sizes = [max(1, round(multiple * features)) for multiple in settings.multiples]
    generator = torch.Generator().manual_seed(seed)
    trained = []
    for size in sizes:
        dictionary = random_dictionary(len(repeated.keep), hidden, size, generator)
        trained.append(_trained_from(dictionary.to(device), repeated, rows, max(sizes), training))
    dictionary = directions.to(device).expand(len(sparsity.keep), -1, -1)
    true = fit(from_dictionary(dictionary), sparsity, rows, held=True, **training)
    released = fit(true, sparsity, rows, **training)
    levels_and_runs = (len(sparsity.keep), settings.runs)
    dictionary, used, objective = (
        torch.stack(values).unflatten(1, levels_and_runs) for values in zip(*trained)
    )
    return Result(
        penalty=sparsity.penalty.cpu(),
        keep=sparsity.keep.cpu(),
        directions=directions,
        active=rows.active.cpu(),
        size=torch.tensor(sizes),
        dictionary=dictionary,
        used=used,
        objective=objective,
        true_objective=measured(true, sparsity, *rows.test).objective.cpu(),
        released_objective=measured(released, sparsity, *rows.test).objective.cpu(),
        released=released.D.cpu(),
    )


def _levels(settings):
    """Return one instance for each penalty, then one for each number of kept codes."""
    penalties = [*settings.penalties, *(0.0 for _ in settings.keep)]
    keep = [*(0 for _ in settings.penalties), *settings.keep]
    return Sparsity(torch.tensor(penalties), torch.tensor(keep))


def _trained_from(dictionary, sparsity, rows, padded_size, training):
    """Train autoencoders from a dictionary (instances, hidden, codes), and pad it with zeros."""
    trained = fit(from_dictionary(dictionary), sparsity, rows, **training)
    measures = measured(trained, sparsity, *rows.test)
    padding = (0, padded_size - dictionary.shape[2])
    return _Trained(
        dictionary=pad(trained.D.cpu(), padding),
        used=pad(measures.used.cpu(), padding),
        objective=measures.objective.cpu(),
    )


def _toy_model(settings):
    """Return the toy model of some settings, and its inputs."""
    if settings.model != DIGONS:
        stored = read(ZOO / settings.model)
        return stored.model, stored.distribution
    axes = torch.eye(DIGON_COUNT)
    W = torch.cat((axes, -axes), dim=1)[None]
    density = torch.tensor(settings.densities, dtype=torch.float64).repeat_interleave(DIGON_COUNT)
    model = ReLUOutputModel.from_weights(W, torch.zeros(1, 2 * DIGON_COUNT))
    return model, FeatureDistribution(density[None])


# What a result shows


def matched(
    directions: Float[Tensor, "hidden features"], dictionary: Float[Tensor, "hidden codes"]
) -> Float[Tensor, " features"]:
    """Return the cosine of each feature with its own code, matched for the largest sum.

    A feature to which no code is matched, since there are fewer codes than features, has 0.
    """
    cosines = directions.mT @ dictionary
    feature, code = linear_sum_assignment(cosines.numpy(), maximize=True)
    own = torch.zeros(len(cosines))
    own[torch.from_numpy(feature)] = cosines[torch.from_numpy(feature), torch.from_numpy(code)]
    return own


def best_cosines(result) -> Float[Tensor, "sizes levels features"]:
    """Return `matched` without dead codes, for the run of lowest objective at each level.

    Whoever does not know the features can choose a run by nothing but its objective.
    """
    best_runs = result.objective.argmin(dim=2)
    cosines = []
    for k, size in enumerate(result.size.tolist()):
        level_cosines = []
        for level, run in enumerate(best_runs[k].tolist()):
            alive = result.used[k, level, run, :size] > DEAD
            dictionary = result.dictionary[k, level, run, :, :size] * alive
            level_cosines.append(matched(result.directions, dictionary))
        cosines.append(torch.stack(level_cosines))
    return torch.stack(cosines)


def found(result) -> Float[Tensor, "sizes levels"]:
    """Return the share of the features that are found (FOUND), in the run of lowest objective."""
    return (best_cosines(result) > FOUND).float().mean(dim=2)


class Chance(NamedTuple):
    """What random dictionaries of each size reach."""

    cosine: Float[Tensor, " sizes"]  # mean over features and dictionaries
    found: Float[Tensor, " sizes"]  # share of the features


def chance(result) -> Chance:
    """Match random dictionaries of each size, always the same ones, to the features."""
    generator = torch.Generator().manual_seed(0)
    mean_cosines = []
    found_shares = []
    for size in result.size.tolist():
        dictionaries = random_dictionary(
            RANDOM_DICTIONARIES, len(result.directions), size, generator
        )
        cosines = torch.stack([matched(result.directions, each) for each in dictionaries])
        mean_cosines.append(cosines.mean())
        found_shares.append((cosines > FOUND).float().mean())
    return Chance(torch.stack(mean_cosines), torch.stack(found_shares))


def size_index(result, codes_per_feature=1):
    """Return the index of the dictionaries with this many codes for each feature."""
    return result.size.tolist().index(codes_per_feature * result.directions.shape[1])


def surplus(result) -> Float[Tensor, " levels"]:
    """Return by how much the objective is higher at the true dictionary than at what was found.

    It is a share of the larger objective, for dictionaries with as many codes as features: above 0
    where the objective prefers what was found, 0 where both are equal (EVEN, EMPTY).
    """
    learned = result.objective[size_index(result)].amin(dim=1)
    return relative_excess(result.true_objective, learned)


def relative_excess(objective, other) -> Float[Tensor, " levels"]:
    """Return (objective - other) / larger of both, 0 where they are equal (EVEN, EMPTY)."""
    larger = torch.maximum(objective, other)
    difference = objective - other
    differ = difference.abs() > (EVEN * larger).clamp(min=EMPTY)
    return torch.where(differ, difference / larger, 0)


def fault(result) -> Int[Tensor, " levels"]:
    """Return what is at fault, for as many codes as features.

    Nothing is where MOST of the features are found. The objective is where it is higher at the true
    dictionary, or where training leaves the true dictionary for a lower one and loses features.
    """
    excess = surplus(result)
    cosines = torch.stack([matched(result.directions, released) for released in result.released])
    loses_features = (cosines > FOUND).float().mean(dim=1) < MOST
    improves = relative_excess(result.true_objective, result.released_objective) > 0
    objective = (excess > 0) | (loses_features & improves)
    training = excess < 0
    blamed = torch.where(training, TRAINING_FAULT, EVEN_OBJECTIVES)
    blamed = torch.where(objective, OBJECTIVE_FAULT, blamed)
    return torch.where(found(result)[size_index(result)] >= MOST, NO_FAULT, blamed)


def level(result, *, penalty=0.0, keep=0):
    """Return the index of a level of sparsity.

    Raises:
        ValueError: The result has no such level.
    """
    matches = ((result.penalty == penalty) & (result.keep == keep)).nonzero()[:, 0].tolist()
    if not matches:
        raise ValueError(f"penalty, keep: expected a level of the result, got {penalty} and {keep}")
    return matches[0]


# The figure

ALPHA = 0.55  # of colours with a number on them
THIRD = POLYTOPE_COLOURS["pentagon"]  # a colour besides DEDICATED and SHARED
FAULT_COLOURS = (DEDICATED, FAINT, THIRD, SHARED)  # from NO_FAULT to OBJECTIVE_FAULT


def figure(results, names, curves):
    """Draw how many features are found with n and 2n codes and what is at fault, and the cosines.

    Args:
        results: Results, one for each row of the figure.
        names: Their names.
        curves: Names of up to three results whose cosines are drawn over the size of the
            dictionary.
    """
    drawing, axes = plt.subplots(
        1, 3, figsize=(WIDTH, 5), layout="constrained", width_ratios=(1.25, 1.25, 1.1)
    )
    _draw_found(results, 1, axes[0])
    axes[0].set_title("features found with $n$ codes,\nand what is at fault")
    axes[0].set_yticks(range(len(results)), labels=names)
    _draw_found(results, 2, axes[1])
    axes[1].set_title("features found with $2n$ codes\n(grey: missed)")
    axes[1].set_yticks([])
    _draw_cosines({name: results[names.index(name)] for name in curves}, axes[2])
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour, alpha=ALPHA) for colour in FAULT_COLOURS]
    labels = (
        f"at least {MOST:.0%} found",
        "missed, objectives even",
        "missed: training",
        "missed: the objective",
    )
    drawing.legend(handles, labels, loc="outside lower center", ncols=4)
    return described(
        drawing,
        f"Two tables with a row for each of {len(results)} toy models and a column for each level "
        "of sparsity: how many features autoencoders find with n and with 2n codes, coloured by "
        "what is at fault where they miss some; beside them, the mean cosine of features and codes "
        "over the number of codes per feature.",
    )


def _draw_found(results, codes_per_feature, ax):
    """Draw the number of features that are found, on the colour of what is at fault."""
    for row, result in enumerate(results):
        features = result.directions.shape[1]
        shares = found(result)[size_index(result, codes_per_feature)].tolist()
        if codes_per_feature == 1:
            colours = [FAULT_COLOURS[index] for index in fault(result).tolist()]
        else:
            colours = [DEDICATED if share >= MOST else FAINT for share in shares]
        for column, (share, colour) in enumerate(zip(shares, colours)):
            corner = (column - 0.47, row - 0.45)
            ax.add_patch(plt.Rectangle(corner, 0.94, 0.9, color=colour, alpha=ALPHA))
            text = f"{round(share * features)}/{features}"
            ax.text(column, row, text, ha="center", va="center", size=TINY)
    levels = zip(results[0].penalty.tolist(), results[0].keep.tolist())
    labels = [f"k={keep}" if keep else f"{penalty:.2g}" for penalty, keep in levels]
    ax.set_xticks(range(len(labels)), labels=labels, size=TINY)
    ax.set(xlim=(-0.5, len(labels) - 0.5), ylim=(len(results) - 0.5, -0.5))
    ax.set_xlabel("$L_1$ penalty, or $k$ of top-$k$")


def _draw_cosines(results, ax):
    """Draw the mean cosine at the best level of each size, and what random directions reach."""
    for (name, result), colour in zip(results.items(), (SHARED, DEDICATED, THIRD)):
        codes_per_feature = result.size / result.directions.shape[1]
        best_level = best_cosines(result).mean(dim=2).amax(dim=1)
        label = name.replace(", ", ",\n")
        ax.plot(codes_per_feature, best_level, "o-", color=colour, label=label)
        ax.plot(codes_per_feature, chance(result).cosine, ":", color=colour)
    ax.set(xscale="log", xlabel="codes per feature (log scale)")
    ax.set(ylim=(0, 1.03), ylabel="mean cosine after matching")
    plain_ticks(ax.xaxis, codes_per_feature.tolist())
    ax.set_title("the best level of each size\n(dotted: random directions)")
    ax.legend(loc="lower right")
