"""The asymmetric superposition motif: how a neuron that two features share computes both of their absolute values.

Section 8 of the paper, in a small model (n=6, m=10). A neuron reads feature a with a large weight and feature b with a
small one, and writes to them the other way round, so that each gets its value: b hardly disturbs a, but a disturbs b
badly. Another neuron that a drives too inhibits the output of b there, and the output's ReLU removes what is left.
"""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_count, check_settings
from features import FeatureDistribution
from models import AbsoluteValueModel
from training import sampled_loss, train
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    WEIGHTS,
    WIDTH,
    over_density,
    weight_text,
)

# The rule. On a feature's side (its positive or its negative values, alone) every output is linear, so slopes say all.
HELD = 0.5  # a neuron holds a feature where it gives at least so much of the feature's value to its output
SMALL = 0.1  # and any third feature has at most this share of its largest in-weight
COMPUTED = 0.25  # of both features, on the neuron's side, the output's slope is within this of 1
UNEQUAL = (
    2  # how many times the in-weights differ, at least, and the out-weights the other way round
)
INHIBITED = 0.5  # the inhibiting neuron takes away at least this share of the interference that the first one causes
LEFT = 0.1  # and over all neurons no more than this slope is left
STAGES = {  # of the rule, and their colours
    "a neuron holds two features": FAINT,
    "with unequal in-weights": DEDICATED,
    "and reciprocal out-weights": POLYTOPE_COLOURS["triangle"],
    "and is inhibited": SHARED,
}


@dataclass(frozen=True)
class Settings:
    features: int = 6
    hidden: int = 10
    decay: float = 0.8  # importance I_i = decay^i
    densities: tuple[float, ...] = (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.02)
    runs: int = 100  # at each density
    steps: int = 2000
    batch_size: int = 128
    lr: float = 1e-2
    rows: int = 2**14  # on which losses are measured

    def __post_init__(self):
        check_settings(self)
        check_count("features - 1", self.features - 1)


EQUAL = replace(Settings(), decay=1.0)
QUICK = replace(Settings(), densities=(0.3, 0.15), runs=30, steps=300, rows=1024)
QUICK_EQUAL = replace(QUICK, decay=1.0)


class Result(NamedTuple):
    density: Float[Tensor, " densities"]
    W1: Float[Tensor, "densities runs hidden features"]
    W2: Float[Tensor, "densities runs features hidden"]
    b: Float[Tensor, "densities runs features"]
    loss: Float[Tensor, "densities runs"]
    uninhibited: Float[
        Tensor, "densities runs"
    ]  # loss without its inhibiting weight, of a run that has the motif


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train models at each density, find motifs, and measure what their inhibiting weights are worth -> Result."""
    density = torch.tensor(settings.densities, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    distribution = FeatureDistribution(density[:, None], importance, signed=True).with_restarts(
        settings.runs
    )
    distribution = distribution.to(device)
    model = AbsoluteValueModel(
        settings.runs, settings.features, settings.hidden, seed=seed, device=device
    )
    model = model.select(torch.arange(settings.runs).repeat(len(density)))
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, distribution, seed=seed, progress=progress, **how)
    loss = sampled_loss(model, distribution, rows=settings.rows)
    W1, W2, b = (value.detach().cpu().clone() for value in (model.W1, model.W2, model.b))
    with torch.no_grad():
        model.W2.copy_(without_inhibition(W1, W2))
    uninhibited = sampled_loss(model, distribution, rows=settings.rows)
    values = W1, W2, b, loss.cpu(), uninhibited.cpu()
    return Result(density, *(value.unflatten(0, (-1, settings.runs)) for value in values))


def shards(settings):
    """Each density by itself."""
    return [replace(settings, densities=(density,)) for density in settings.densities]


def joined(results):
    return Result(*(torch.cat(values) for values in zip(*results)))


# The motif


class Motifs(NamedTuple):
    """Where a neuron k holds features a and b and each further part of the rule is met: (instances, k, a, b)."""

    holds: Bool[Tensor, "instances hidden features features"]
    unequal: Bool[Tensor, "instances hidden features features"]  # reads a more strongly
    reciprocal: Bool[Tensor, "instances hidden features features"]  # and writes b more strongly
    inhibited: Bool[
        Tensor, "instances hidden features features"
    ]  # and another neuron inhibits b: the motif


def motifs(
    W1: Float[Tensor, "instances hidden features"], W2: Float[Tensor, "instances features hidden"]
) -> Motifs:
    """The parts of the motif, each where those before it are met too."""
    reads, writes = W1.abs(), W2.mT
    held, noticed = reads * writes >= HELD, reads > SMALL * reads.amax(dim=2, keepdim=True)
    two = ((held & noticed).sum(dim=2) == 2) & (noticed.sum(dim=2) == 2) & (held.sum(dim=2) == 2)
    slopes = _of_neurons_side(W1, _driven(W1, W2).sum(dim=2))  # (instances, k, a, output)
    sound = held & ((slopes.diagonal(dim1=2, dim2=3) - 1).abs() <= COMPUTED)
    different = ~torch.eye(W1.shape[2], dtype=torch.bool, device=W1.device)
    holds = two[:, :, None, None] & sound[..., :, None] & sound[..., None, :] & different
    unequal = holds & (reads[..., :, None] >= UNEQUAL * reads[..., None, :])
    reciprocal = unequal & (writes[..., None, :] >= UNEQUAL * writes[..., :, None])
    return Motifs(holds, unequal, reciprocal, reciprocal & _inhibition(W1, W2) & (slopes <= LEFT))


def _driven(W1, W2):
    """(instances, side, l, a, output): what neuron l adds to an output for a at 1 (side 0) and for a at -1 (side 1)."""
    sides = torch.stack((W1.relu(), (-W1).relu()), dim=1)
    return sides[..., :, None] * W2.mT[:, None, :, None, :]


def _of_neurons_side(W1, values):
    """(instances, k, a, output) from values (instances, side, a, output): on that side of a to which k responds."""
    return torch.where((W1 < 0)[..., None], values[:, 1, None], values[:, 0, None])


def _inhibition(W1, W2):
    """(instances, k, a, output): whether some neuron takes away INHIBITED of what k adds to an output for a."""
    strongest = _of_neurons_side(W1, _driven(W1, W2).amin(dim=2))
    return -strongest >= INHIBITED * W1.abs()[..., None] * W2.mT[:, :, None]


class Place(NamedTuple):
    """One motif of each instance, that of the largest interference; meaningless where there is none."""

    found: Bool[Tensor, " instances"]
    neuron: Int[Tensor, " instances"]
    a: Int[Tensor, " instances"]
    b: Int[Tensor, " instances"]
    inhibitor: Int[Tensor, " instances"]  # the neuron that takes most away


def strongest(
    W1: Float[Tensor, "instances hidden features"], W2: Float[Tensor, "instances features hidden"]
) -> Place:
    where = motifs(W1, W2).inhibited
    n = W1.shape[2]
    interference = W1.abs()[..., None] * W2.mT[:, :, None] * where
    at = interference.flatten(1).argmax(dim=1)
    neuron, a, b = at // n**2, at // n % n, at % n
    every = torch.arange(len(W1), device=W1.device)
    side = (W1[every, neuron, a] < 0).long()
    inhibitor = _driven(W1, W2)[every, side, :, a, b].argmin(dim=1)
    return Place(where.flatten(1).any(dim=1), neuron, a, b, inhibitor)


def without_inhibition(
    W1: Float[Tensor, "instances hidden features"], W2: Float[Tensor, "instances features hidden"]
) -> Float[Tensor, "instances features hidden"]:
    """W2 with the inhibiting weight of the strongest motif at zero, as it is where there is no motif."""
    place = strongest(W1, W2)
    every = torch.arange(len(W1), device=W1.device)
    changed = W2.clone()
    changed[every, place.b, place.inhibitor] *= ~place.found
    return changed


# Numbers


def shares(result) -> Float[Tensor, "densities stages"]:
    """The share of the runs at each density that meet the rule up to each of STAGES."""
    parts = motifs(result.W1.flatten(0, 1), result.W2.flatten(0, 1))
    met = torch.stack([part.flatten(1).any(dim=1) for part in parts], dim=1)
    return met.view(*result.loss.shape, -1).double().mean(dim=1)


def inhibition_elsewhere(result) -> tuple[float, float]:
    """The share of interferences from a to b that some neuron inhibits; and, by the same rule, of any other output.

    Both where neurons read and write a and b as the motif does. The second is what chance gives; 0 where there is none.
    """
    W1, W2 = result.W1.flatten(0, 1), result.W2.flatten(0, 1)
    places = motifs(W1, W2).reciprocal
    instance, neuron, a, b = places.nonzero().unbind(dim=1)
    if not len(b):
        return 0.0, 0.0
    driven, side = _driven(W1, W2), (W1[instance, neuron, a] < 0).long()
    taken = -driven[instance, side, :, a].amin(dim=1)  # (places, outputs)
    enough = taken >= INHIBITED * (W1[instance, neuron, a].abs() * W2[instance, b, neuron])[:, None]
    outputs = torch.arange(W1.shape[2])
    other = (outputs != a[:, None]) & (outputs != b[:, None])
    own = enough[torch.arange(len(b)), b].double().mean().item()
    return own, enough[other].double().mean().item() if other.any() else 0.0


def inhibition_worth(result) -> Float[Tensor, " runs_with_motif"]:
    """Loss without the inhibiting weight over the loss, of every run that has the motif."""
    found = strongest(result.W1.flatten(0, 1), result.W2.flatten(0, 1)).found
    return (result.uninhibited / result.loss).flatten()[found]


# The figure


def figure(results):
    """Shares of runs over density for several results; of the first, the motif of its best run, with and without it.

    Drawn at the density with the largest share: weights rescaled so that the in-weights' largest is 1.
    """
    drawing, axes = plt.subplots(
        1, 4, figsize=(WIDTH, 4.2), layout="constrained", width_ratios=(1.6, 1.1, 1.1, 1.4)
    )
    for result, line in zip(results, ("-", "--", ":")):
        widths = (1.5, 1.5, 4, 1.5)  # wide: covered
        for share, (name, colour), width in zip(shares(result).T, STAGES.items(), widths):
            style = {
                "marker": "o",
                "color": colour,
                "linewidth": width,
                "label": name if line == "-" else None,
            }
            axes[0].plot(result.density.numpy(), share.numpy(), line, **style)
    over_density(axes[0], result.density).set(ylim=(0, 1.5), yticks=(0, 0.25, 0.5, 0.75, 1))
    axes[0].set(ylabel="share of the runs", title="solid: $I_i$ falls, dashed: $I_i=1$")
    axes[0].legend(loc="upper center")
    result = results[0]
    at = int(shares(result)[:, -1].argmax())
    chosen = int(best_with_motif(result, at))
    W1, W2, b = result.W1[at, chosen], result.W2[at, chosen], result.b[at, chosen]
    place = strongest(W1[None], W2[None])
    place = SimpleNamespace(**{name: value.item() for name, value in place._asdict().items()})
    _draw_weights(W1, W2, place, axes[1:3], drawing)
    if place.found:
        _draw_output(W1, W2, b, place, axes[3])
    else:
        axes[3].axis("off")
    which = f"one run at density {result.density[at]:g}" + ("" if place.found else ": no motif")
    axes[1].set_title(f"{which}\nin-weights $W_1$", loc="left")
    return drawing


def best_with_motif(result, at):
    """The run of lowest loss at a density that has the motif, or of all where none has."""
    found = strongest(result.W1[at], result.W2[at]).found
    return torch.where(found | ~found.any(), result.loss[at], torch.inf).argmin()


def _draw_weights(W1, W2, place, axes, drawing):
    scale = W1.abs().amax(dim=1, keepdim=True)
    panels = (
        (W1 / scale, "in-weights $W_1$", place.a),
        (W2.T * scale, "out-weights $W_2^T$", place.b),
    )
    for ax, (values, name, inhibiting) in zip(axes, panels):
        image = ax.imshow(values.numpy(), cmap=WEIGHTS, vmin=-3, vmax=3, aspect="auto")
        marked = (place.neuron, place.a), (place.neuron, place.b), (place.inhibitor, inhibiting)
        for row, column in marked if place.found else ():
            ax.add_patch(
                plt.Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.5
                )
            )
            weight_text(
                ax, column, row, f"{values[row, column]:.1f}", values[row, column].abs() > 2
            )
        ax.set_title(name, loc="left")
        ax.set(xlabel="feature", ylabel="neuron", xticks=range(W1.shape[1]), yticks=range(len(W1)))
    drawing.colorbar(image, ax=list(axes), label="weight, largest in-weight 1", extend="both")


def _draw_output(W1, W2, b, place, ax):
    """Output b while a alone is active, which should be 0, with and without the inhibiting weight."""
    x = torch.linspace(-1, 1, 101, dtype=W1.dtype)
    h = (x[:, None] * W1[:, place.a]).relu()
    kinds = (
        ("as trained", W2[place.b], DEDICATED),
        ("inhibiting weight 0", W2[place.b].clone(), SHARED),
    )
    kinds[1][1][place.inhibitor] = 0
    for name, out, colour in kinds:
        ax.plot(
            x.numpy(), (h @ out + b[place.b]).relu().numpy(), color=colour, label=name, linewidth=2
        )
    ax.margins(y=0.15)  # for the legend
    ax.set(xlabel=f"feature {place.a}, all others 0", ylabel=f"output {place.b} (should be 0)")
    ax.legend()
