"""Monosemantic and polysemantic neurons that compute absolute values (paper, Section 8).

The paper asks whether a model can compute in superposition. y' = ReLU(W2 ReLU(W1 x) + b) learns |x|
of n=100 features of falling importance with m=40 neurons. Neurons are monosemantic while features
are dense, and many are polysemantic once features are sparse. `figure` draws the neurons as the
paper does.

Few fresh runs come close to the best model known. Dense features need two neurons each, one for
each side, and a model of twenty such features, made by hand, is better than any fresh run. Hence
there are more candidates at each density: models that start with two neurons for each of the most
important features and noise on all weights, and the best models of the neighbouring densities,
trained on. All are compared by their losses on the same rows. The order of importance is built into
such a start. As a control, other starts give two neurons to features that are drawn at random.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section8main.py instead.")

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.colors import Normalize
from torch import Tensor

from checks import check_seed, check_settings
from experiments.section8.constructed_models import constructed, fresh, handmade
from features import FeatureDistribution
from training import best_restart, sampled_loss, train
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    SUPERPOSITION,
    WIDTH,
    described,
    neuron_stacks,
    over_density,
)

# A neuron is monosemantic if one feature has at least this share of its squared in-weights.
MONOSEMANTIC = 0.9
# A neuron is in use if it gives some output at least this share of its feature's absolute value.
IN_USE = 0.1
# A model has both kinds of neurons if each has at least this share of all neurons.
BOTH = 0.1
TICKS = (1, 0.1, 0.01, 0.001)  # of density
PANELS = 4  # in a row of the figure


@dataclass(frozen=True)
class Settings:
    """The paper's model of absolute values at several densities, and the candidates at each."""

    features: int = 100
    hidden: int = 40
    decay: float = 0.8  # importance I_i = decay^i
    densities: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    parts: int = 3  # each with candidates of all kinds
    pairs: tuple[int, ...] = (
        10,
        13,
        16,
        20,
    )  # features with two neurons each in constructed starts
    unordered: int = 13  # such features of the control, drawn from twice as many
    init_scale: float = 0.03  # of fresh weights, and of the noise on constructed ones
    steps: int = 8000
    batch_size: int = 128
    fresh_lr: float = 1e-2
    lr: float = 3e-3  # of constructed models, and of training on
    rounds: int = 2  # of training on from the best of the neighbouring densities
    more_steps: int = 4000  # of training on
    rows: int = 2**16  # on which all candidates are compared
    first: int = 0  # number of parts that come before these

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self, may_be_zero=("first",))
        most = max((*self.pairs, self.unordered))
        fits = 2 * most <= self.hidden and max(most, 2 * self.unordered) <= self.features
        if not (self.pairs and fits):
            raise ValueError(
                f"pairs, unordered: expected numbers of the {self.features} features that have two "
                f"of the {self.hidden} neurons each, got {self.pairs} and {self.unordered}"
            )


QUICK = Settings(
    densities=(1.0, 0.1, 0.001),
    parts=1,
    pairs=(10, 20),
    steps=200,
    batch_size=64,
    rounds=1,
    more_steps=100,
    rows=2**12,
)
NOTEBOOK = Settings(parts=1, pairs=(10, 13, 20), steps=3000, rounds=1, more_steps=1500, rows=2**14)


class Models(NamedTuple):
    """One model of each part at each density."""

    W1: Float[Tensor, "densities parts hidden features"]
    W2: Float[Tensor, "densities parts features hidden"]
    loss: Float[Tensor, "densities parts"]


class Result(NamedTuple):
    """The fresh and the best models, and the losses of all candidates on the same rows."""

    density: Float[Tensor, " densities"]
    fresh: Models
    best: Models  # of all candidates of a part
    # After training, in the order of Settings.pairs.
    constructed_loss: Float[Tensor, "densities parts starts"]
    unordered_loss: Float[Tensor, "densities parts"]  # of the control
    continued_loss: Float[Tensor, "densities parts rounds"]  # the lowest of each round
    # Of two neurons for each of the most important features, as many as there are neurons for, with
    # nothing trained.
    handmade_loss: Float[Tensor, "densities parts"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train all candidates at each density, and keep the fresh and the best models."""
    if settings.parts > 1:
        parts = shards(settings)
        return joined([run(part, seed=seed, device=device, progress=progress) for part in parts])
    seed = check_seed(seed)
    density = torch.tensor(settings.densities, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    inputs = FeatureDistribution(density[:, None], importance, signed=True).to(device)

    def trained(model, steps, lr):
        return _train(model, inputs, settings, steps, lr, seed, progress)

    fresh_model = fresh(settings, inputs, seed)
    fresh_loss = trained(fresh_model, settings.steps, settings.fresh_lr)[:, 0]
    model = constructed(settings, inputs, seed)
    constructed_loss = trained(model, settings.steps, settings.lr)
    best, best_loss = _better(fresh_model, fresh_loss, model, constructed_loss)
    continued = []
    for _ in range(settings.rounds):
        model = best.select(_neighbours(len(density)).flatten())
        loss = trained(model, settings.more_steps, settings.lr)
        best, best_loss = _better(best, best_loss, model, loss)
        continued.append(loss.amin(dim=1))
    by_hand = sampled_loss(handmade(settings, inputs), inputs, rows=settings.rows, seed=seed)
    return Result(
        density=density,
        fresh=_models(fresh_model, fresh_loss),
        best=_models(best, best_loss),
        constructed_loss=constructed_loss[:, None, :-1],
        unordered_loss=constructed_loss[:, -1:],
        continued_loss=torch.stack(continued, dim=1)[:, None],
        handmade_loss=by_hand.cpu()[:, None],
    )


def _train(model, inputs, settings, steps, lr, seed, progress):
    """Train a model with the runs of a density in a row; return losses (densities, runs)."""
    repeated = inputs.with_restarts(model.instances // inputs.instances)
    train(
        model,
        repeated,
        steps=steps,
        batch_size=settings.batch_size,
        lr=lr,
        seed=seed,
        progress=progress,
    )
    loss = sampled_loss(model, repeated, rows=settings.rows, seed=seed).cpu()
    return loss.unflatten(0, (inputs.instances, -1))


def _neighbours(points) -> Int[Tensor, "points 3"]:
    """Return each point with the one before it and the one after it."""
    every = torch.arange(points)
    return torch.stack((every - 1, every, every + 1), dim=1).clamp(0, points - 1)


def _better(best, best_loss, model, loss):
    """Return the best model known at each density, and its loss.

    Args:
        best: The best so far, an instance for each density.
        best_loss: Its losses (densities,).
        model: Other models, those of a density in a row.
        loss: Their losses (densities, runs).
    """
    found = model.select(best_restart(loss.flatten(), loss.shape[1]))
    found_loss = loss.amin(dim=1)
    is_better = found_loss < best_loss
    chosen = best.select(slice(None))
    for weights, others in zip(chosen.parameters(), found.parameters()):
        weights.data[is_better] = others.data[is_better]
    return chosen, torch.minimum(best_loss, found_loss)


def _models(model, loss):
    """Return the models of a single part."""
    W1 = model.W1.detach().cpu()
    W2 = model.W2.detach().cpu()
    return Models(W1[:, None], W2[:, None], loss[:, None])


def shards(settings):
    """Split a run into its parts."""
    return [replace(settings, parts=1, first=settings.first + k) for k in range(settings.parts)]


def joined(results):
    """Join the results of parts."""

    def along_parts(values):
        if isinstance(values[0], Models):
            return Models(*(along_parts(parts) for parts in zip(*values)))
        return torch.cat(values, dim=1)

    density, *others = zip(*results)
    return Result(density[0], *(along_parts(values) for values in others))


# Mono- and polysemantic neurons


class Neurons(NamedTuple):
    """What the neurons of one model at each density respond to."""

    W1: Float[Tensor, "densities hidden features"]
    main: Int[Tensor, "densities hidden"]  # the feature of the largest in-weight
    # Share of squared in-weights on other features.
    superposition: Float[Tensor, "densities hidden"]
    monosemantic: Bool[Tensor, "densities hidden"]
    polysemantic: Bool[Tensor, "densities hidden"]


def neurons(models) -> Neurons:
    """Classify the neurons of the model of lowest loss at each density, by MONOSEMANTIC and IN_USE.

    A neuron that is not in use is neither monosemantic nor polysemantic.
    """
    every = torch.arange(len(models.loss))
    lowest = models.loss.argmin(dim=1)
    W1 = models.W1[every, lowest]
    W2 = models.W2[every, lowest]
    squares = W1.square()
    largest, main = squares.max(dim=2)
    total = squares.sum(dim=2).clamp(min=torch.finfo(W1.dtype).tiny)
    superposition = 1 - largest / total
    in_use = (W1.abs() * W2.mT).amax(dim=2) >= IN_USE
    one_feature = superposition <= 1 - MONOSEMANTIC
    return Neurons(
        W1=W1,
        main=main,
        superposition=superposition,
        monosemantic=in_use & one_feature,
        polysemantic=in_use & ~one_feature,
    )


def has_both(neurons) -> Bool[Tensor, " densities"]:
    """Return at which densities the model has both kinds of neurons, by BOTH."""
    least = BOTH * neurons.main.shape[1]
    kinds = torch.stack((neurons.monosemantic.sum(dim=1), neurons.polysemantic.sum(dim=1)))
    return (kinds >= least).all(dim=0)


def importance_order(neurons) -> Float[Tensor, " densities"]:
    """Return how often monosemantic neurons have the more important main features.

    It is a share of all pairs of a monosemantic and a polysemantic neuron; pairs with the same main
    feature count half. 1/2 means that importance does not decide, or that all neurons are of one
    kind.
    """
    is_ahead = (neurons.main[:, None, :] - neurons.main[:, :, None]).sign().double() / 2 + 1 / 2
    pairs = neurons.monosemantic[:, :, None] & neurons.polysemantic[:, None, :]
    count = pairs.sum(dim=(1, 2))
    share = (is_ahead * pairs).sum(dim=(1, 2)) / count.clamp(min=1)
    return torch.where(count > 0, share, 0.5)


def order_by_chance(neurons) -> Float[Tensor, " densities"]:
    """Return the standard deviation of `importance_order` if kinds do not depend on importance.

    For a monosemantic and b polysemantic neurons in random order it is the one of Mann and
    Whitney's statistic, ((a + b + 1) / (12 a b))^(1/2). It is 0 if all neurons are of one kind.
    """
    a = neurons.monosemantic.sum(dim=1).double()
    b = neurons.polysemantic.sum(dim=1).double()
    pairs = (a * b).clamp(min=1)
    return torch.where(a * b > 0, ((a + b + 1) / (12 * pairs)).sqrt(), 0)


# The losses of the candidates


def relative_losses(result) -> dict[str, Float[Tensor, " densities"]]:
    """Return the lowest loss of each kind of candidate, relative to the model made by hand."""
    lowest = {
        "fresh runs": result.fresh.loss,
        "two neurons for random features": result.unordered_loss,
        "two neurons for important features": result.constructed_loss.flatten(1),
        "best of all": result.best.loss,
    }
    handmade = result.handmade_loss[:, 0]
    return {name: loss.amin(dim=1) / handmade for name, loss in lowest.items()}


# The figure


def figure(result):
    """Draw the neurons of the best model at each density, their kinds, and the losses."""
    best = neurons(result.best)
    densities = len(result.density)
    rows = math.ceil((densities + 1) / PANELS)
    drawing = plt.figure(figsize=(WIDTH, 2.9 * rows + 4.1), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(2.9 * rows + 0.4, 3.7))
    panels = above.subplots(rows, PANELS, squeeze=False).ravel()
    highest = best.W1.abs().sum(dim=2).max().item()
    for k in range(densities):
        _draw_stacks(result.density[k], best, k, panels[k])
        panels[k].set_ylim(0, 1.05 * highest)
    for ax in panels[densities:]:
        ax.axis("off")
    _draw_scale(panels[densities])
    above.supxlabel(
        "In stack plots neurons stand in the order of their main features, most important first."
    )
    counts, order, losses = below.subplots(1, 3)
    fresh = neurons(result.fresh)
    _draw_counts(result.density, best, fresh, counts)
    _draw_order(result.density, best, fresh, order)
    _draw_losses(result, losses)
    for ax in (counts, order, losses):
        over_density(ax, result.density, TICKS)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    monosemantic = best.monosemantic.sum(dim=1).tolist()
    return described(
        drawing,
        "The in-weights of each neuron of the best model as a stack, one panel for each density: "
        f"of {best.W1.shape[1]} neurons {monosemantic[0]} are monosemantic at density "
        f"{result.density[0]:g}, and {monosemantic[-1]} at density {result.density[-1]:g}. Below, "
        "over density, the numbers of mono- and polysemantic neurons; how often the monosemantic "
        "of two neurons has the more important main feature, beside the range of chance; and the "
        "losses of the best candidates relative to a model made by hand.",
    )


def _draw_stacks(density, neurons, k, ax):
    """Draw the neurons at the k-th density as stacks, coloured by superposition."""
    superposition = neurons.superposition[k]
    order = (neurons.main[k] + superposition).argsort()
    # Superposition of 1/2 or more has the colour of 1.
    neuron_stacks(neurons.W1[k, order], 2 * superposition[order, None], ax=ax)
    monosemantic = int(neurons.monosemantic[k].sum())
    polysemantic = int(neurons.polysemantic[k].sum())
    ax.set_title(f"density {density:g}\n{monosemantic} mono-, {polysemantic} polysemantic")


def _draw_scale(ax):
    """Draw the scale of superposition into an empty panel."""
    scale = plt.cm.ScalarMappable(Normalize(0, 0.5), SUPERPOSITION)
    place = ax.inset_axes((0.05, 0.6, 0.9, 0.08))
    colorbar = plt.colorbar(scale, cax=place, extend="max", orientation="horizontal")
    colorbar.set_label(
        "superposition of a neuron:\nshare of its squared in-weights\nnot on its main feature"
    )


def _draw_counts(density, best, fresh, ax):
    """Draw the numbers of mono- and polysemantic neurons of the best and of fresh models."""
    x = density.numpy()
    for name, colour in (("monosemantic", DEDICATED), ("polysemantic", SHARED)):
        of_best = getattr(best, name).sum(dim=1).numpy()
        of_fresh = getattr(fresh, name).sum(dim=1).numpy()
        ax.plot(x, of_best, "o-", color=colour, label=name)
        ax.plot(x, of_fresh, ":", color=colour)
    ax.plot([], [], ":", color=INK, label="dotted: best fresh run")
    ax.set(ylabel="neurons of the best model")


def _draw_order(density, best, fresh, ax):
    """Draw the order of importance where a model has both kinds, and the range of chance."""
    x = density.numpy()
    chance = torch.where(has_both(best), 2 * order_by_chance(best), torch.nan).numpy()
    style = {"color": FAINT, "alpha": 0.4, "linewidth": 0}
    ax.fill_between(x, 0.5 - chance, 0.5 + chance, label="by chance, in 95 of 100 cases", **style)
    curves = ((best, "o-", INK, "best model"), (fresh, "o:", SHARED, "best fresh run"))
    for neurons, line, colour, name in curves:
        order = torch.where(has_both(neurons), importance_order(neurons), torch.nan)
        ax.plot(x, order.numpy(), line, color=colour, label=name)
    ax.set(ylabel="share of the pairs of both kinds\nin order of importance", ylim=(0, 1.05))


def _draw_losses(result, ax):
    """Draw the lowest loss of each kind of candidate, relative to the model made by hand."""
    styles = ((":", SHARED), ("--", POLYTOPE_COLOURS["triangle"]), ("--", DEDICATED), ("-", INK))
    for (name, loss), (line, colour) in zip(relative_losses(result).items(), styles):
        ax.plot(result.density.numpy(), loss.numpy(), f"o{line}", color=colour, label=name)
    ax.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
    ax.set(yscale="log", ylabel="loss, relative to a model\nmade by hand (log scale)")
