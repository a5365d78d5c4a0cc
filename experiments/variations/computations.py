"""Whether models compute other things than absolute values in superposition.

Section 8 of the paper shows that a model computes |x| of more features than it has neurons for,
once features are sparse. Here the same model computes x^2, AND, OR and the maximum, each of 20
units with 8 neurons, as many neurons for a unit as in the paper. A unit that had neurons of its own
would need one (AND) or two of them. `figure` draws what sharing neurons saves, which neurons are
shared, and what fresh training misses.

The lowest loss without sharing is known: every neuron reads one unit, and the neurons are allocated
in the best way. A lower loss means that a neuron reads several units. Candidates at each density
are fresh models, the best model without sharing and a model made by hand whose neurons serve all
units (`constructed_computations`), both trained on with noise on all weights, and then the best
models of the neighbouring densities, trained on. All are compared on the same rows.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from checks import check_choice, check_seed, check_settings
from experiments.variations.computing_models import COMPUTATIONS, inputs_of
from experiments.variations.constructed_computations import (
    BLOCK,
    allocated,
    allocated_weights,
    alone_losses,
    code_error,
    code_weights,
    two_neuron_error,
)
from training import best_restart, sampled_loss, train
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    WIDTH,
    described,
    over_density,
)

# A neuron reads one unit if that unit has at least this share of its squared in-weights (as 8.2).
MONOSEMANTIC = 0.9
# A neuron is in use if it changes some output by at least this share of a unit's value (as 8.2).
IN_USE = 0.1
PAPER = "|x|"  # what the paper computes
COLOURS = {
    "|x|": INK,
    "x^2": DEDICATED,
    "AND": SHARED,
    "OR": POLYTOPE_COLOURS["triangle"],
    "max": POLYTOPE_COLOURS["pentagon"],
}
TICKS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)


@dataclass(frozen=True)
class Settings:
    """What is computed, how many units and neurons there are, and the candidates."""

    computations: tuple[str, ...] = tuple(COMPUTATIONS)
    units: int = 20
    hidden: int = 8  # the paper has 40 neurons for 100 units
    densities: tuple[float, ...] = (0.5, 0.2, 0.07, 0.02, 0.005)
    restarts: int = 3  # of fresh models
    init_scale: float = 0.1  # of fresh models
    noise: float = 0.03  # on the weights of constructed ones
    steps: int = 3000
    batch_size: int = 128
    fresh_lr: float = 1e-2
    lr: float = 3e-3  # of constructed models, and of training on
    rounds: int = 2  # of training on from the best of the neighbouring densities
    more_steps: int = 1500  # of training on, and of constructed models
    rows: int = 2**15  # on which all candidates are compared

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if not self.computations:
            raise ValueError(f"computations: expected some of {tuple(COMPUTATIONS)}, got none")
        for name in self.computations:
            check_choice("computations", name, COMPUTATIONS)
        if not 2 * BLOCK <= self.hidden <= 2 * self.units:
            raise ValueError(
                f"hidden: expected {2 * BLOCK} to {2 * self.units} neurons for {self.units} units, "
                f"got {self.hidden}"
            )


QUICK = Settings(densities=(0.5, 0.02), restarts=2, steps=80, rounds=1, more_steps=40, rows=2**10)
NOTEBOOK = Settings(
    densities=(0.5, 0.1, 0.02), restarts=2, steps=800, rounds=1, more_steps=500, rows=2**12
)


class Result(NamedTuple):
    """The best models, and the losses of all candidates: sums over units, on the same rows."""

    density: Float[Tensor, " densities"]
    computation: Int[Tensor, " computations"]  # place in COMPUTATIONS
    alone_loss: Float[Tensor, "computations densities"]  # the best without shared neurons
    fresh_loss: Float[Tensor, "computations densities restarts"]
    trained_alone_loss: Float[Tensor, "computations densities"]  # from the best without sharing
    trained_code_loss: Float[Tensor, "computations densities"]  # from neurons that serve all units
    continued_loss: Float[Tensor, "computations densities rounds"]  # the lowest of each round
    best_loss: Float[Tensor, "computations densities"]
    # Of the best model: norms of the in-weights of each neuron from each unit, and W2.
    reads: Float[Tensor, "computations densities hidden units"]
    writes: Float[Tensor, "computations densities units hidden"]
    # The largest error, on rows with one active unit, of BLOCK shared neurons for each neuron of a
    # unit alone, and of two neurons for any number of ANDs.
    code_error: Float[Tensor, " computations"]
    two_neuron_error: Float[Tensor, " computations"]


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train all candidates of each computation at each density, and keep the best models."""
    seed = check_seed(seed)
    names = settings.computations
    return joined([_run(name, settings, seed, device, progress) for name in names])


def shards(settings):
    """Split a run into its computations."""
    return [replace(settings, computations=(name,)) for name in settings.computations]


def joined(results):
    """Join the results of computations."""
    density, *others = zip(*results)
    return Result(density[0], *(torch.cat(values) for values in others))


def _run(name, settings, seed, device, progress):
    """Return the result of one computation."""
    computation = COMPUTATIONS[name]
    inputs = inputs_of(computation, settings.densities, settings.units).to(device)
    unit = alone_losses(computation, settings.densities)
    alone = _alone(computation, settings, inputs, unit)

    def lossed(model):
        repeated = inputs.with_restarts(model.instances // inputs.instances)
        loss = sampled_loss(model, repeated, rows=settings.rows, seed=seed).cpu()
        return loss.unflatten(0, (inputs.instances, -1))

    def trained(model, steps, lr):
        repeated = inputs.with_restarts(model.instances // inputs.instances)
        arguments = {"batch_size": settings.batch_size, "seed": seed, "progress": progress}
        train(model, repeated, steps=steps, lr=lr, **arguments)
        return lossed(model)

    alone_loss = lossed(alone)[:, 0]
    best = _Best(alone, alone_loss)
    model = _fresh(computation, settings, inputs, seed)
    fresh_loss = trained(model, settings.steps, settings.fresh_lr)
    best.offer(model, fresh_loss)
    constructed_loss = []
    for model in (alone.select(slice(None)), _code(computation, settings, inputs)):
        _add_noise(model, settings.noise, seed)
        constructed_loss.append(trained(model, settings.more_steps, settings.lr))
        best.offer(model, constructed_loss[-1])
    continued_loss = []
    for _ in range(settings.rounds):
        model = best.model.select(_neighbours(inputs.instances).flatten())
        loss = trained(model, settings.more_steps, settings.lr)
        best.offer(model, loss)
        continued_loss.append(loss.amin(dim=1))
    W1 = best.model.W1.detach().cpu().double().unflatten(2, (settings.units, -1))
    found = {
        "computation": torch.tensor(list(COMPUTATIONS).index(name)),
        "alone_loss": alone_loss,
        "fresh_loss": fresh_loss,
        "trained_alone_loss": constructed_loss[0][:, 0],
        "trained_code_loss": constructed_loss[1][:, 0],
        "continued_loss": torch.stack(continued_loss, dim=1),
        "best_loss": best.loss,
        "reads": W1.norm(dim=3),
        "writes": best.model.W2.detach().cpu().double(),
        "code_error": code_error(computation, settings.units),
        "two_neuron_error": two_neuron_error(settings.units),
    }
    density = torch.tensor(settings.densities, dtype=torch.float64)
    return Result(density, **{field: value[None] for field, value in found.items()})


# Candidates


class _Best:
    """The best model known at each density, and its loss."""

    def __init__(self, model, loss):
        self.model = model.select(slice(None))
        self.loss = loss.clone()

    def offer(self, model, loss):
        """Take over what is better of a model with the runs of a density in a row.

        Args:
            model: The model.
            loss: Its losses (densities, runs).
        """
        found = model.select(best_restart(loss.flatten(), loss.shape[1]))
        found_loss = loss.amin(dim=1)
        is_better = found_loss < self.loss
        for weights, others in zip(self.model.parameters(), found.parameters()):
            weights.data[is_better] = others.data[is_better]
        self.loss = torch.minimum(self.loss, found_loss)


def _fresh(computation, settings, inputs, seed):
    """Return fresh models with the restarts of a density in a row, the same at all densities."""
    model = computation.model(
        settings.restarts,
        inputs.features,
        settings.hidden,
        seed=seed,
        device=inputs.density.device,
        init_scale=settings.init_scale,
    )
    return model.select(torch.arange(settings.restarts).repeat(inputs.instances))


def _with_weights(computation, inputs, all_weights):
    """Return a model with given weights at each density."""
    hidden = len(all_weights[0].W1)
    device = inputs.density.device
    model = computation.model(inputs.instances, inputs.features, hidden, device=device)
    for k, weights in enumerate(all_weights):
        model.W1.data[k] = weights.W1
        model.W2.data[k] = weights.W2
        model.b.data[k] = weights.b
    return model


def _alone(computation, settings, inputs, unit):
    """Return the best models without shared neurons, from the AloneLosses of a unit."""
    _, counts = allocated(unit.losses, settings.units, settings.hidden)
    weights = [allocated_weights(counts[k], unit, k, settings.hidden) for k in range(len(counts))]
    return _with_weights(computation, inputs, weights)


def _code(computation, settings, inputs):
    """Return models whose neurons are shared by all units, the same at each density."""
    weights = code_weights(computation.alone, settings.units, settings.hidden)
    return _with_weights(computation, inputs, [weights] * inputs.instances)


def _add_noise(model, scale, seed):
    """Add the same noise to the weights of all instances."""
    generator = torch.Generator().manual_seed(seed)
    for weights in (model.W1, model.W2):
        noise = scale * torch.randn(weights.shape[1:], generator=generator, dtype=torch.float64)
        weights.data += noise.to(weights)


def _neighbours(points) -> Int[Tensor, "points 3"]:
    """Return each point with the one before it and the one after it."""
    every = torch.arange(points)
    return torch.stack((every - 1, every, every + 1), dim=1).clamp(0, points - 1)


# Measures


def saved(result) -> Float[Tensor, "computations densities"]:
    """Return the lowest loss known, relative to the best model without shared neurons."""
    return result.best_loss / result.alone_loss


def missed(result) -> Float[Tensor, "computations densities"]:
    """Return the loss of the best fresh run, relative to the lowest loss known."""
    return result.fresh_loss.amin(dim=2) / result.best_loss


def _in_use(result):
    """Return which neurons are in use (computations, densities, hidden), by IN_USE."""
    return (result.reads * result.writes.mT.abs()).amax(dim=3) >= IN_USE


def _mean_in_use(result, values):
    """Return means over the neurons in use of values (computations, densities, hidden)."""
    in_use = _in_use(result)
    return (values * in_use).sum(dim=2) / in_use.sum(dim=2).clamp(min=1)


def polysemantic(result) -> Float[Tensor, "computations densities"]:
    """Return the share of polysemantic neurons among those in use, by MONOSEMANTIC."""
    squares = result.reads.square()
    return _mean_in_use(result, squares.amax(dim=3) < MONOSEMANTIC * squares.sum(dim=3))


def units_read(result) -> Float[Tensor, "computations densities"]:
    """Return how many units a neuron reads, a mean over those in use.

    A neuron that reads k units with equal weights counts k: the square of the sum of its squared
    in-weights, over the sum of their squares.
    """
    squares = result.reads.square()
    squares = squares / squares.sum(dim=3, keepdim=True).clamp(min=torch.finfo(squares.dtype).tiny)
    inverse = squares.square().sum(dim=3)
    return _mean_in_use(result, 1 / inverse.clamp(min=1 / squares.shape[3]))


def names(result) -> list[str]:
    """Return the names of the computations."""
    every = list(COMPUTATIONS)
    return [every[place] for place in result.computation.tolist()]


# The figure


def figure(result):
    """Draw what sharing saves, how many units a neuron reads, and what fresh training misses."""
    drawing, panels = plt.subplots(1, 3, figsize=(WIDTH, 4.2), layout="constrained")
    curves = (
        (saved(result), "lowest loss, relative to the best\nmodel without shared neurons"),
        (units_read(result), "units that a neuron reads"),
        (missed(result), "best fresh run, relative to\nthe lowest loss known"),
    )
    for ax, (values, label) in zip(panels, curves):
        _draw_curves(result, values, ax)
        ax.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
        ax.set(ylabel=label)
    panels[0].set(ylim=(0, 1.05))
    panels[1].set(ylim=(0, None))
    drawing.suptitle("Sparse units share neurons, whatever is computed; dense ones hardly gain")
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    lowest = zip(names(result), saved(result)[:, -1].tolist())
    read = units_read(result)
    return described(
        drawing,
        "Three panels over density, each with a curve for each computation. The lowest loss, "
        "relative to that of the best model without shared neurons, ends at "
        f"{', '.join(f'{value:.2f} for {name}' for name, value in lowest)} at density "
        f"{result.density[-1]:g}. A neuron reads {read[:, 0].min():.1f} to {read[:, 0].max():.1f} "
        f"units at the highest density and {read[:, -1].min():.1f} to {read[:, -1].max():.1f} at "
        "the lowest. The last panel has the loss of the best fresh run "
        "relative to the lowest known.",
    )


def _draw_curves(result, values, ax):
    """Draw a curve over density for each computation, the paper's as a wide line."""
    for name, curve in zip(names(result), values.numpy()):
        style = {"color": COLOURS[name], "linewidth": 3.5 if name == PAPER else 1.5}
        label = f"{name} (paper)" if name == PAPER else name
        ax.plot(result.density.numpy(), curve, "o-", label=label, **style)
    over_density(ax, result.density, TICKS)
