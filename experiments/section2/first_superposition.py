"""Which superposition appears first, as the features get sparser?

The paper's grid of densities jumps from 1, where there is no superposition, to 0.3, where there are
several antipodal pairs. This experiment is ours. It looks in between, for n=20, m=5 and for n=80,
m=20. Models are compared by their exact loss, and each density also starts from its neighbours'
best models, so that what is seen to come first is no accident of a few restarts.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section2main.py instead.")

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.section2.along_density import (
    CONTINUED,
    Continuation,
    Training,
    trained_along_density,
)
from features import FeatureDistribution
from losses.many_features import many_features_loss
from theory.polytopes import DEDICATED as OWN_DIMENSION
from theory.polytopes import SHARED_DIMENSION, Factor, arrangement_name, tegum_factors
from visualization import DEDICATED, INK, POLYTOPE_COLOURS, SHARED, WIDTH, described

FRESH = Training(restarts=4, steps=3000, lr=2e-2)
TOLERANCE = 1e-7  # relative error of the exact losses


@dataclass(frozen=True)
class Settings:
    """The paper's settings for n=20, m=5, at densities between two of the paper's."""

    features: int = 20  # n
    hidden: int = 5  # m
    decay: float = 0.7  # importance I_i = decay^i
    densities: tuple[float, ...] = tuple(round(0.9 - 0.05 * k, 2) for k in range(11))
    fresh: Training = FRESH
    continuation: Continuation = CONTINUED

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)


LARGE = Settings(features=80, hidden=20, decay=0.9)
_SHORT = {
    "densities": (0.9, 0.6, 0.4),
    "fresh": Training(restarts=1, steps=300, lr=3e-2, batch_size=128),
    "continuation": Continuation(rounds=1, steps=100),
}
QUICK = Settings(**_SHORT)
QUICK_LARGE = replace(LARGE, **_SHORT)
_FEWER = Training(restarts=2, steps=2000, lr=2e-2)
NOTEBOOK = Settings(fresh=_FEWER, continuation=Continuation(rounds=1))
NOTEBOOK_LARGE = replace(LARGE, fresh=_FEWER, continuation=Continuation(rounds=1))


class Result(NamedTuple):
    """The best model of each density, with exact losses; see `along_density.AlongDensity`."""

    density: Float[Tensor, " densities"]
    W: Float[Tensor, "densities hidden features"]
    b: Float[Tensor, "densities features"]
    loss: Float[Tensor, " densities"]
    fresh_loss: Float[Tensor, " densities"]
    next_loss: Float[Tensor, " densities"]


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train the ReLU output model along the densities.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights and of the sampled rows.
        device: Device that trains; exact losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The best model of each density.
    """
    density = torch.tensor(settings.densities)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    distribution = FeatureDistribution(density[:, None], importance).to(device)
    best = trained_along_density(
        distribution,
        settings.hidden,
        settings.fresh,
        settings.continuation,
        _exact_loss,
        seed=seed,
        progress=progress,
    )
    return Result(density, *best)


def _exact_loss(model, distribution):
    """Return the exact loss of each instance on the model's device."""
    W = model.W.detach()
    inputs = distribution.to("cpu")
    losses = many_features_loss(W.cpu(), model.b.detach().cpu(), inputs, tolerance=TOLERANCE)
    return losses.to(W.device)


# Measures


def groups(W: Float[Tensor, "hidden features"]) -> list[Factor]:
    """Return the tegum factors of ONE model that two or more represented features form.

    A lone represented feature that shares its dimension with features below the threshold is no
    group; see `sharing_alone`.
    """
    return [factor for factor in tegum_factors(W) if len(factor.features) > 1]


def sharing_alone(W: Float[Tensor, "hidden features"]) -> int:
    """Count the represented features of ONE model that share a dimension with weak ones alone."""
    return sum(factor.polytope == SHARED_DIMENSION for factor in tegum_factors(W))


def all_pairs(W: Float[Tensor, "hidden features"]) -> bool:
    """Say whether ONE model has groups, and all of them are antipodal pairs."""
    found = groups(W)
    return bool(found) and all(factor.polytope == "digon" for factor in found)


class First(NamedTuple):
    """The groups at the highest density that has any."""

    place: int  # of this density
    groups: list[Factor]
    largest: Factor  # the one of most features


def first_groups(models) -> First | None:
    """Return the groups at the highest density with superposition, or None if there is none.

    Args:
        models: Models along falling densities, with W (densities, hidden, features).
    """
    for place, W in enumerate(models.W):
        found = groups(W)
        if found:
            return First(place, found, max(found, key=lambda factor: len(factor.features)))
    return None


# Figure

KINDS = {  # what a represented feature is in, from the bottom of a bar to its top -> colour
    OWN_DIMENSION: DEDICATED,
    SHARED_DIMENSION: POLYTOPE_COLOURS[SHARED_DIMENSION],
    "digon": SHARED,
    "three in two dimensions": POLYTOPE_COLOURS["triangle"],
    "four in three dimensions": POLYTOPE_COLOURS["tetrahedron"],
    "a larger group": POLYTOPE_COLOURS["irregular"],
}
_SIZES = {(3, 2): "three in two dimensions", (4, 3): "four in three dimensions"}


def _kind(factor):
    """Return the key of KINDS under which a factor is drawn."""
    if factor.polytope in KINDS:
        return factor.polytope
    return _SIZES.get((len(factor.features), factor.rank), "a larger group")


def figure(results) -> Figure:
    """Draw what the represented features are in at each density, one panel for each size.

    Args:
        results: Results of `run`.

    Returns:
        The figure.
    """
    drawn, axes = plt.subplots(
        1, len(results), figsize=(WIDTH, 4), layout="constrained", squeeze=False
    )
    texts = []
    for ax, result in zip(axes[0], results):
        _draw_bars(result, ax)
        texts.append(_first_text(result))
    title = "the represented features are in"
    drawn.legend(handles=_legend(axes[0]), title=title, loc="outside lower center", ncols=4)
    return described(
        drawn,
        "Bars of the number of represented features over density, divided by the group of features "
        f"that they are in: {' and '.join(texts)}.",
    )


def _draw_bars(result, ax):
    """Draw a stacked bar for each density, sparser to the right."""
    counts = {kind: torch.zeros(len(result.W)) for kind in KINDS}
    for place, W in enumerate(result.W):
        for factor in tegum_factors(W):
            counts[_kind(factor)][place] += len(factor.features)
    places = torch.arange(len(result.W))
    bottom = torch.zeros(len(result.W))
    for kind, count in counts.items():
        ax.bar(places, count, bottom=bottom, color=KINDS[kind], width=0.8, label=kind)
        bottom = bottom + count
    hidden, features = result.W.shape[1:]
    ax.axhline(hidden, color=INK, linewidth=1, linestyle="--", label="hidden dimensions $m$")
    ax.set(xticks=places, xticklabels=[f"{density:g}" for density in result.density.tolist()])
    ax.set(xlabel="density $1-S$", ylabel="represented features")
    ax.set(title=f"$n={features}$, $m={hidden}$", ylim=(0, 1.1 * bottom.max().item() + 1))


def _legend(axes):
    """Return the line of m, and the bars of the kinds that some panel has."""
    present = {axes[0].lines[0].get_label(): axes[0].lines[0]}
    for ax in axes:
        for bars in ax.containers:
            if any(bar.get_height() for bar in bars):
                present.setdefault(bars.get_label(), bars)
    return list(present.values())


def _first_text(result):
    """Say what appears first."""
    size = f"with n={result.W.shape[2]}"
    first = first_groups(result)
    if first is None:
        return f"no superposition {size}"
    W = result.W[first.place]
    names = {arrangement_name(W[:, list(factor.features)]) for factor in first.groups}
    density = result.density[first.place]
    return f"{size} the first is {', '.join(sorted(names))} at density {density:g}"
