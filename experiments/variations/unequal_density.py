"""Which features win the hidden dimensions, if some are far sparser than others?

In the paper's models all features are equally dense. Here some are up to a hundred times sparser
than others, fall off by Zipf's law, or have random densities and importances. One rule is a
feature's density times its importance. The other is the exact loss of Section 3: each hidden
dimension holds a lone feature or an antipodal pair, and the lowest loss of all such arrangements
tells who is stored, and who shares a dimension with whom. A pair of unit norms costs
(I_i + I_j) s_i s_j / 6, so that what a rare feature pays is set by how often its partner is active.
With random densities and importances the exact loss is right far more often. With equal importance
density times importance names the stored features about as well, if it is told how many they are.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import math
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor

from checks import as_line, check_settings
from experiments.variations.pair_arrangements import (
    arrangement_losses,
    arrangement_weights,
    arrangements,
    by_product,
    pattern,
)
from experiments.variations.rare_partner import onset, unit_onset
from features import FeatureDistribution
from geometry import REPRESENTED_NORM, feature_norms
from models import ReLUOutputModel
from theory.descents import descend
from visualization import DEDICATED, FAINT, INK, SHARED, WIDTH, described, over_density, plain_ticks

CANDIDATES = 8  # best arrangements of different losses from which descents start
SAME = 1e-9  # relative difference up to which two losses of the rule are one
FOUND = 1e-3  # relative excess of loss up to which a model counts as the best known
NOISE = 0.05  # standard deviation of what is added to constructed weights
RATE = 3e-2  # learning rate of all descents
SMALL_NORM = 0.05  # of a rare feature whose descent begins where it is not yet stored
DRAWN_STREAM = 0x7E57


@dataclass(frozen=True)
class Settings:
    """What is trained: two classes of features, Zipf's law, random settings, and single pairs."""

    features: int = 8  # n
    hidden: int = 4  # m with two classes and with Zipf's law
    few_hidden: int = 3  # m with random densities and importances
    dense: tuple[float, ...] = (0.05, 0.2, 0.5, 0.8)  # densities of the class of dense features
    ratios: tuple[float, ...] = (1, 3, 10, 30, 100)  # how much sparser the rare ones are
    highest: tuple[float, ...] = (0.2, 0.5, 0.9)  # density of the first feature of Zipf's law
    exponents: tuple[float, ...] = (0.5, 1, 2)  # of Zipf's law
    drawn: int = 40  # settings with random densities and importances
    restarts: int = 6
    steps: int = 500
    partners: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1)  # densities, n=2 and m=1
    onset_steps: int = 300

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        for name in ("dense", "highest", "partners"):
            as_line(name, getattr(self, name), highest=1)
        as_line("exponents", self.exponents)
        if as_line("ratios", self.ratios).min() < 1:
            raise ValueError(f"ratios: expected numbers of at least 1, got {self.ratios}")
        if self.features % 2 or not max(self.hidden, self.few_hidden) <= self.features <= 10:
            raise ValueError(
                "features: expected an even number of at most 10 and of at least the hidden "
                f"dimensions, got {self.features}"
            )


QUICK = Settings(
    features=4,
    hidden=2,
    few_hidden=2,
    dense=(0.5,),
    ratios=(1, 10, 100),
    highest=(0.5,),
    exponents=(1,),
    drawn=3,
    restarts=2,
    steps=120,
    partners=(0.3, 0.8),
    onset_steps=40,
)
NOTEBOOK = Settings(dense=(0.2, 0.5), highest=(0.5,), drawn=8, restarts=2, steps=300)


class Models(NamedTuple):
    """The best model of each setting, of constructed and random starts, by exact loss."""

    density: Float[Tensor, "settings features"]
    importance: Float[Tensor, "settings features"]
    W: Float[Tensor, "settings hidden features"]
    b: Float[Tensor, "settings features"]
    loss: Float[Tensor, " settings"]
    fresh_loss: Float[Tensor, "settings restarts"]  # from random starts
    fresh_W: Float[Tensor, "settings hidden features"]  # of the best random start


class Result(NamedTuple):
    """The best models, and the importance from which on a rare feature joins a dense one."""

    classes: Models  # dense density by ratio; the first half of the features is dense
    zipf: Models  # highest density by exponent
    drawn: Models
    partner: Float[Tensor, " partners"]  # density of the dense feature of n=2, m=1
    ratio: Float[Tensor, " ratios"]  # how much sparser the rare one is
    onset: Float[Tensor, "partners ratios"]  # importance of the best solution; MOST if none
    small_onset: Float[Tensor, "partners ratios"]  # the same, for descents from a small norm


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Find the best models of all settings.

    Args:
        settings: Settings of the run.
        seed: Seed of the random settings, the random starts and the noise on constructed starts.
        device: Not used: exact losses of so few features are descended on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The best models, and the onsets.
    """
    m = settings.hidden
    partner = torch.tensor(settings.partners, dtype=torch.float64)
    ratio = torch.tensor(settings.ratios, dtype=torch.float64)
    train = {"settings": settings, "seed": seed, "progress": progress}
    return Result(
        _best_models(two_classes(settings), m, **train),
        _best_models(zipf(settings), m, **train),
        _best_models(random_features(settings, seed), settings.few_hidden, **train),
        partner,
        ratio,
        onset(partner, ratio, 1.0, settings.onset_steps),
        onset(partner, ratio, SMALL_NORM, settings.onset_steps),
    )


# Inputs


def two_classes(settings) -> FeatureDistribution:
    """Return half of the features at each dense density, and half so many times sparser."""
    half = settings.features // 2
    dense = torch.tensor(settings.dense, dtype=torch.float64).repeat_interleave(
        len(settings.ratios)
    )
    rare = dense / torch.tensor(settings.ratios, dtype=torch.float64).repeat(len(settings.dense))
    return FeatureDistribution(torch.stack([dense] * half + [rare] * half, dim=1))


def zipf(settings) -> FeatureDistribution:
    """Return densities highest / k^exponent for k = 1 to n."""
    highest = torch.tensor(settings.highest, dtype=torch.float64)
    exponents = torch.tensor(settings.exponents, dtype=torch.float64)
    k = torch.arange(1, settings.features + 1, dtype=torch.float64)
    return FeatureDistribution((highest[:, None, None] / k ** exponents[:, None]).flatten(0, 1))


def random_features(settings, seed) -> FeatureDistribution:
    """Draw densities from 0.02 to 0.9 and importances from 1/3 to 3, uniform on a log scale."""
    generator = torch.Generator().manual_seed(seed ^ DRAWN_STREAM)
    shape = (settings.drawn, settings.features)
    u, v = torch.rand(2, *shape, dtype=torch.float64, generator=generator)
    return FeatureDistribution(0.02 * 45**u, 9 ** (v - 0.5))


# Descents


def _constructed(distribution, hidden):
    """Return patterns to start from (settings, candidates, features, features).

    They are the best arrangements of different losses, and the best one that stores the features of
    the largest density times importance.
    """
    density, importance = distribution.density, distribution.importance
    features = distribution.features
    table = arrangements(features, hidden)
    losses = arrangement_losses(density, importance, table)
    most = torch.full((len(density),), min(2 * hidden, features))
    product = by_product(density, importance, most)
    chosen = []
    for k, loss in enumerate(losses):
        order = loss.argsort()
        rises = loss[order].diff() > SAME * loss.min()
        distinct = order[torch.cat([torch.tensor([True]), rises])][:CANDIDATES].tolist()
        distinct += distinct[:1] * (CANDIDATES - len(distinct))
        stored = (table.diagonal(dim1=1, dim2=2) == product[k]).all(dim=1)
        chosen.append([*distinct, loss.where(stored, math.inf).argmin().item()])
    return table[torch.tensor(chosen)]


def _best_models(distribution, hidden, settings, seed, progress):
    """Descend from constructed and from random weights, and keep the best model of each setting."""
    patterns = _constructed(distribution, hidden)
    count = patterns.shape[1]
    starts = count + settings.restarts
    fresh = ReLUOutputModel(
        distribution.instances * starts, distribution.features, hidden, seed=seed
    ).W.detach()
    W = fresh.double().unflatten(0, (-1, starts)).clone()
    W[:, :count] *= NOISE / W[:, :count].std()
    W[:, :count] += torch.stack(
        [arrangement_weights(each, hidden) for each in patterns.flatten(0, 1)]
    ).unflatten(0, (-1, count))
    b = torch.zeros_like(W[:, :, 0])
    stored = patterns.diagonal(dim1=2, dim2=3)
    b[:, :count] = torch.where(stored, 0, distribution.density[:, None] / 2)
    reached = descend(
        W.flatten(0, 1),
        b.flatten(0, 1),
        distribution.with_restarts(starts),
        steps=settings.steps,
        lr=RATE,
        progress=progress,
    )
    loss = reached.loss.view(-1, starts)
    first = starts * torch.arange(len(loss))
    best = first + loss.argmin(dim=1)
    best_fresh = first + count + loss[:, count:].argmin(dim=1)
    return Models(
        distribution.density,
        distribution.importance,
        reached.W[best],
        reached.b[best],
        reached.loss[best],
        loss[:, count:],
        reached.W[best_fresh],
    )


# Measures


class Agreement(NamedTuple):
    """What a rule says of the best model of each setting, right or wrong."""

    stored: Bool[Tensor, " settings"]  # which features it represents
    pairs: Bool[Tensor, " settings"]  # that, and which are partners


def by_the_rule(models) -> Agreement:
    """Compare the best models with the arrangements of the lowest loss, of which several may be."""
    table = arrangements(models.W.shape[2], models.W.shape[1])
    losses = arrangement_losses(models.density, models.importance, table)
    lowest = losses <= losses.amin(dim=1, keepdim=True) * (1 + SAME)
    same = pattern(models.W)[:, None] == table
    pairs = same.all(dim=(2, 3)) & lowest
    stored = same.diagonal(dim1=2, dim2=3).all(dim=2) & lowest
    return Agreement(stored.any(dim=1), pairs.any(dim=1))


def product_agrees(models) -> Bool[Tensor, " settings"]:
    """Say where the features of the largest density times importance are the represented ones.

    That rule is told how many features the best model represents.
    """
    represented = feature_norms(models.W) > REPRESENTED_NORM
    said = by_product(models.density, models.importance, represented.sum(dim=1))
    return (said == represented).all(dim=1)


def mixed_pairs(W: Float[Tensor, "settings hidden features"]) -> Bool[Tensor, " settings"]:
    """Say which models store all features, each of the first half with one of the second."""
    half = W.shape[2] // 2
    found = pattern(W)
    across = found[:, :half, half:].int()
    one_each = (across.sum(dim=1) == 1).all(dim=1) & (across.sum(dim=2) == 1).all(dim=1)
    lone = torch.eye(half, dtype=torch.bool)
    within = (found[:, :half, :half] == lone) & (found[:, half:, half:] == lone)
    return one_each & within.all(dim=(1, 2))


def densest_with_rarest(W: Float[Tensor, "settings hidden features"]) -> Bool[Tensor, " settings"]:
    """Say in which models the densest feature with a partner has the rarest one stored for it.

    Args:
        W: Weights of models whose features stand in the order of falling density.
    """
    found = pattern(W)
    partners = found.clone()
    partners.diagonal(dim1=1, dim2=2).zero_()
    first = partners.any(dim=2).int().argmax(dim=1)
    stored = found.diagonal(dim1=1, dim2=2)
    last = stored.shape[1] - 1 - stored.flip(1).int().argmax(dim=1)
    return partners[torch.arange(len(W)), first, last]


def densest_left_out(W: Float[Tensor, "settings hidden features"]) -> Bool[Tensor, " settings"]:
    """Say which models represent all features but the first, which is the densest one."""
    represented = feature_norms(W) > REPRESENTED_NORM
    return represented[:, 1:].all(dim=1) & ~represented[:, 0]


def fresh_found(models) -> Bool[Tensor, "settings restarts"]:
    """Say which random starts reach the loss of the best model."""
    return models.fresh_loss <= models.loss[:, None] * (1 + FOUND)


# Figure


def figure(result) -> Figure:
    """Draw the importance that a rare feature needs, who is paired with whom, and who was right.

    Args:
        result: Result of `run`.

    Returns:
        The figure.
    """
    drawn, axes = plt.subplots(1, 3, figsize=(WIDTH, 4.4), layout="constrained")
    _draw_onsets(result, axes[0])
    _draw_partners(result.zipf, axes[1])
    text = _draw_shares(result, axes[2])
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.17))
    drawn.suptitle("A rare feature keeps its place: how often its partner is active decides")
    return described(
        drawn,
        "Curves of the importance that a feature needs to join a denser one, which hardly differ "
        "with its own density; arcs between partners in the best model, the densest with the "
        f"rarest; bars of how often rules name the stored features: {text}.",
    )


def _draw_onsets(result, ax):
    """Draw the importance from which on a feature joins a partner, over the partner's density."""
    count = len(result.ratio)
    for k in sorted({0, count // 2, count - 1}):
        ratio = result.ratio[k].item()
        colour = {0: FAINT, count - 1: SHARED}.get(k, DEDICATED)
        label = "equally dense (the paper)" if ratio == 1 else f"{ratio:g} times sparser"
        ax.plot(result.partner, result.onset[:, k], "o-", color=colour, label=label)
    rule = {"color": INK, "linestyle": "--", "linewidth": 1, "label": "rule $s/(2-s)$, rare limit"}
    ax.plot(result.partner, unit_onset(result.partner), **rule)
    over_density(ax, result.partner)
    ax.set(xlabel="density $s$ of the partner (log scale)", yscale="log")
    ax.set(ylabel="least relative importance (log scale)", title="importance needed to be stored")
    plain_ticks(ax.yaxis, [0.05, 0.1, 0.2, 0.5, 1])


def _draw_partners(models, ax):
    """Draw arcs between partners: the best model's above a line, and the best random start's below.

    The setting is the middle one.
    """
    middle = len(models.loss) // 2
    density = models.density[middle]
    for W, side, colour, label in (
        (models.W, 1, SHARED, "partners in the best model"),
        (models.fresh_W, -1, DEDICATED, "partners in the best of the random starts"),
    ):
        pairs = pattern(W)[middle].triu(1).nonzero().tolist()
        for place, (i, j) in enumerate(pairs):
            share = torch.linspace(0, 1, 50, dtype=density.dtype)
            x = density[i] ** (1 - share) * density[j] ** share
            height = side * (density[i] / density[j]).log().abs()
            y = height * (math.pi * share).sin()
            ax.plot(x, y, color=colour, label="_" * (place > 0) + label)
    ax.plot(
        density, torch.zeros_like(density), "o", color=INK, label="features of equal importance"
    )
    over_density(ax, density)
    ax.set(xlabel="density of the feature (log scale)", yticks=[])
    ax.set(title="the densest takes the rarest")


def _draw_shares(result, ax):
    """Draw how often each rule is right and training finds the best, and return it in words."""
    families = {"two densities": result.classes, "Zipf": result.zipf, "random": result.drawn}
    rules = {
        "exact loss of pairs": (SHARED, lambda models: by_the_rule(models).stored),
        "density times importance": (FAINT, product_agrees),
        "found by a random start": (DEDICATED, lambda models: fresh_found(models).any(dim=1)),
    }
    texts = []
    for k, (label, (colour, right)) in enumerate(rules.items()):
        shares = [right(models).double().mean().item() for models in families.values()]
        places = [place + 0.27 * (k - 1) for place in range(len(families))]
        ax.bar(places, shares, width=0.25, color=colour, label=label)
        listed = ", ".join(f"{share:.0%} ({name})" for share, name in zip(shares, families))
        texts.append(f"{label} {listed}")
    ax.set_xticks(range(len(families)), labels=list(families))
    ax.set(xlabel="settings", ylabel="share of the settings", ylim=(0, 1.05))
    ax.set(title="rules right, best model found")
    return "; ".join(texts)
