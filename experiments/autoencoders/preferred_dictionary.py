"""Does the objective of a sparse autoencoder prefer features or sums of features (ours)?

A penalty on codes is paid for each unit of code. Of two features that are active together, one code
for their sum is shorter than two codes for the features. So where features are correlated, a
dictionary of sums may have the lower objective, and none where they exclude one another.

Autoencoders start from the true dictionary and from one of sums, in models of the zoo whose
features are antipodal pairs along the axes of some basis. First the dictionaries are held while all
other weights are trained; then they are released. `figure` draws the objectives of all of them
beside that of the true dictionary.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Autoencodersmain.py instead.")

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from checks import as_line, check_settings
from experiments.autoencoders.sparse_autoencoder import (
    Rows,
    Sparsity,
    fit,
    from_dictionary,
    measured,
)
from geometry import unit_directions
from storage import read
from visualization import DEDICATED, INK, SHARED, WIDTH, described, plain_ticks

ZOO = Path(__file__).resolve().parents[2] / "zoo"
NAMES = ("correlated-pairs", "octahedron", "anticorrelated-pairs")
INPUTS = tuple(sorted(file for name in NAMES for file in (ZOO / name).iterdir()))
TRUE, SUMS = range(2)  # indices of the dictionaries from which autoencoders start


@dataclass(frozen=True)
class Settings:
    """A model of the zoo, and the autoencoders that start from both dictionaries."""

    model: str = "correlated-pairs"  # one of NAMES
    penalties: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)  # as in `recovered_features`
    steps: int = 1500  # with the dictionaries held, and as many after they are released
    batch_size: int = 256
    lr: float = 1e-2

    def __post_init__(self):
        """Refuse values out of range."""
        if self.model not in NAMES:
            raise ValueError(f"model: expected one of {', '.join(NAMES)}, got {self.model!r}")
        check_settings(self)
        as_line("penalties", self.penalties)


MODELS = tuple(Settings(name) for name in NAMES)
QUICK = tuple(replace(settings, penalties=(0.03, 0.3), steps=20) for settings in MODELS)
NOTEBOOK = tuple(
    replace(settings, penalties=(0.03, 0.3), steps=500, lr=2e-2) for settings in MODELS
)


class Result(NamedTuple):
    """Objectives over the same test rows, for the starts TRUE and SUMS at each penalty."""

    penalty: Float[Tensor, " levels"]
    start: Float[Tensor, "2 hidden features"]  # the dictionaries from which autoencoders start
    held: Float[Tensor, "2 levels"]  # objective while the dictionary is held
    released: Float[Tensor, "2 levels"]  # objective after it has been released
    dictionary: Float[Tensor, "2 levels hidden features"]  # where it is then


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train autoencoders from both dictionaries, first held and then released."""
    stored = read(ZOO / settings.model)
    inputs = stored.distribution
    directions = unit_directions(stored.model.encoder.detach().float())[0]
    start = torch.stack((directions, sums(directions, inputs)))
    rows = Rows(stored.model, inputs.to(device), settings.batch_size, seed)
    penalty = torch.tensor(settings.penalties)
    sparsity = Sparsity(penalty.repeat(2), torch.zeros(2 * len(penalty), dtype=torch.long))
    sparsity = sparsity.to(device)
    training = {"steps": settings.steps, "lr": settings.lr, "seed": seed}
    dictionaries = start.to(device).repeat_interleave(len(penalty), dim=0)
    held = fit(from_dictionary(dictionaries), sparsity, rows, held=True, **training)
    released = fit(held, sparsity, rows, **training)
    shape = (2, len(penalty))
    return Result(
        penalty=penalty,
        start=start,
        held=measured(held, sparsity, *rows.test).objective.cpu().view(shape),
        released=measured(released, sparsity, *rows.test).objective.cpu().view(shape),
        dictionary=released.D.cpu().unflatten(0, shape),
    )


def sums(directions: Float[Tensor, "hidden features"], inputs) -> Float[Tensor, "hidden features"]:
    """Return directions of the sums of every two features that stand for different axes.

    The axes are the members of one correlated set, or one member of each anticorrelated set. In two
    dimensions there are too few sums for as many codes as features, and the difference is added. In
    each case the negative directions belong to the dictionary too.

    Args:
        directions: Unit vectors of the features.
        inputs: The model's FeatureDistribution, in sets of two or more.
    """
    size = inputs.set_size
    is_one_set = inputs.correlation == "correlated"
    axes = directions[:, :size] if is_one_set else directions[:, ::size]
    first, second = torch.combinations(torch.arange(axes.shape[1])).T
    codes = axes[:, first] + axes[:, second]
    if axes.shape[1] == 2:
        codes = torch.cat((codes, axes[:, first] - axes[:, second]), dim=1)
    return normalize(torch.cat((codes, -codes), dim=1), dim=0)


def lowest(result) -> Float[Tensor, " levels"]:
    """Return the lowest objective of the autoencoders other than that with the true dictionary."""
    return torch.minimum(result.held[SUMS], result.released.amin(dim=0))


# The figure


def figure(results, names):
    """Draw the objectives over the penalty, beside that of the true dictionary.

    Args:
        results: A Result for each panel.
        names: The names of their models.
    """
    drawing, axes = plt.subplots(
        1, len(results), figsize=(WIDTH, 3.4), layout="constrained", sharey=True, squeeze=False
    )
    for ax, result, name in zip(axes[0], results, names):
        curves = (
            (result.held[SUMS], SHARED, "s-", "sums of features, held"),
            (result.released[SUMS], SHARED, "s:", "these, released"),
            (result.released[TRUE], DEDICATED, "o:", "true dictionary, released"),
        )
        for objective, colour, style, label in curves:
            relative = objective / result.held[TRUE]
            ax.plot(result.penalty, relative, style, color=colour, label=label)
        ax.axhline(1, color=INK, linewidth=0.8, label="true dictionary, held")
        ax.set(xscale="log", xlabel="$L_1$ penalty (log scale)", title=name)
        plain_ticks(ax.xaxis, result.penalty.tolist())
    axes[0, 0].set_ylabel("objective over that of\nthe true dictionary")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=4)
    lows = ", ".join(
        f"{(lowest(result) / result.held[TRUE]).min():.2f} for {name}"
        for name, result in zip(names, results)
    )
    return described(
        drawing,
        "For models of the zoo, over the penalty, the objectives of autoencoders with a dictionary "
        "of sums of features and of such as were trained from it or from the true dictionary, "
        f"divided by the objective of the true dictionary; the lowest are {lows}.",
    )
