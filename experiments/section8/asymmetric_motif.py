"""The asymmetric superposition motif: one neuron serves two features (paper, Section 8).

The paper asks how neurons compute in superposition, and finds this motif. A neuron reads feature a
with a large weight and feature b with a small one, and writes to their outputs the other way round,
so that each output gets its feature's value. Feature b hardly disturbs the output of a, but a
disturbs the output of b badly. Another neuron that a drives, too, inhibits the output of b at that
time, and the ReLU of the output removes what is left. Here models of n=6 features with m=10 neurons
are searched for it. `figure` draws how common the motif is, and one example with and without its
inhibition.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section8main.py instead.")

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from checks import check_count, check_settings
from experiments.section8.trained_models import trained_models
from training import sampled_loss
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    WEIGHTS,
    WIDTH,
    described,
    over_density,
    weight_text,
)

# The rule. On one side of a feature (its positive or its negative values), while no other feature
# is active, every output is linear in it, so that slopes say everything.
HELD = 0.5  # a neuron holds a feature if it gives the output at least this share of its value
SMALL = 0.1  # and its in-weight for any third feature is at most this share of its largest
COMPUTED = 0.25  # the outputs of both features have a slope within this of 1 on the neuron's sides
UNEQUAL = (
    2  # the in-weights differ at least by this factor, and the out-weights the other way round
)
INHIBITED = 0.5  # another neuron takes away at least this share of the neuron's interference
LEFT = 0.1  # and the slope of the disturbed output, over all neurons, is at most this
STAGES = {  # of the rule, and their colours
    "a neuron holds two features": FAINT,
    "with unequal in-weights": DEDICATED,
    "and reciprocal out-weights": POLYTOPE_COLOURS["triangle"],
    "and is inhibited": SHARED,
}
STAGE_WIDTHS = (1.5, 1.5, 4, 1.5)  # of lines; the third is wide, since the last often covers it


@dataclass(frozen=True)
class Settings:
    """The paper's small model of absolute values at several densities."""

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
        """Refuse values out of range."""
        check_settings(self)
        check_count("features - 1", self.features - 1)


EQUAL = replace(Settings(), decay=1.0)  # all features are equally important
QUICK = replace(Settings(), densities=(0.3, 0.15), runs=30, steps=300, rows=1024)
QUICK_EQUAL = replace(QUICK, decay=1.0)
NOTEBOOK = replace(Settings(), densities=(0.3, 0.2, 0.15, 0.1, 0.05), runs=40)
NOTEBOOK_EQUAL = replace(NOTEBOOK, decay=1.0)


class Result(NamedTuple):
    """The trained models and their losses, with and without the inhibition of a motif.

    Runs without a motif have the same loss in all fields.
    """

    density: Float[Tensor, " densities"]
    W1: Float[Tensor, "densities runs hidden features"]
    W2: Float[Tensor, "densities runs features hidden"]
    b: Float[Tensor, "densities runs features"]
    loss: Float[Tensor, "densities runs"]
    # Without the inhibiting weight of the strongest motif.
    uninhibited: Float[Tensor, "densities runs"]
    # Without the other out-weight whose effect is nearest to that of the inhibiting one.
    control: Float[Tensor, "densities runs"]
    negative_control: Float[Tensor, "densities runs"]  # the nearest among negative weights


def run(settings, *, seed=0, device="cpu", progress=True):
    """Train models at each density, and measure their loss with and without some weights."""
    model, distribution = trained_models(
        settings, settings.runs, seed=seed, device=device, progress=progress
    )
    W1 = model.W1.detach().cpu().clone()
    W2 = model.W2.detach().cpu().clone()
    b = model.b.detach().cpu().clone()

    def loss_with(out_weights):
        with torch.no_grad():
            model.W2.copy_(out_weights)
        loss = sampled_loss(model, distribution, rows=settings.rows, seed=seed)
        return loss.cpu().unflatten(0, (-1, settings.runs))

    return Result(
        density=torch.tensor(settings.densities, dtype=torch.float64),
        W1=W1.unflatten(0, (-1, settings.runs)),
        W2=W2.unflatten(0, (-1, settings.runs)),
        b=b.unflatten(0, (-1, settings.runs)),
        loss=loss_with(W2),
        uninhibited=loss_with(without_inhibition(W1, W2)),
        control=loss_with(without_control(W1, W2)),
        negative_control=loss_with(without_control(W1, W2, negative=True)),
    )


def shards(settings):
    """Split a run into its densities."""
    return [replace(settings, densities=(density,)) for density in settings.densities]


def joined(results):
    """Join the results of densities."""
    return Result(*(torch.cat(values) for values in zip(*results)))


# The motif


class Motifs(NamedTuple):
    """Which stages of the rule are met, at [instance, neuron, a, b].

    A stage counts only where those before it are met, too.
    """

    holds: Bool[Tensor, "instances hidden features features"]  # the neuron holds a and b
    unequal: Bool[Tensor, "instances hidden features features"]  # it reads a more strongly
    reciprocal: Bool[Tensor, "instances hidden features features"]  # it writes b more strongly
    # Another neuron inhibits the output of b: this is the motif.
    inhibited: Bool[Tensor, "instances hidden features features"]


def motifs(
    W1: Float[Tensor, "instances hidden features"], W2: Float[Tensor, "instances features hidden"]
) -> Motifs:
    """Find the motif and the stages that lead to it."""
    reads = W1.abs()
    writes = W2.mT  # (instances, hidden, features)
    gives = reads * writes >= HELD
    noticed = reads > SMALL * reads.amax(dim=2, keepdim=True)
    holds_two = (
        ((gives & noticed).sum(dim=2) == 2) & (noticed.sum(dim=2) == 2) & (gives.sum(dim=2) == 2)
    )
    slopes = _on_side_of_neuron(W1, _contributions(W1, W2).sum(dim=2))
    own_slopes = slopes.diagonal(dim1=2, dim2=3)  # (instances, hidden, features)
    computed = gives & ((own_slopes - 1).abs() <= COMPUTED)
    different = ~torch.eye(W1.shape[2], dtype=torch.bool, device=W1.device)
    both_computed = computed[..., :, None] & computed[..., None, :]
    holds = holds_two[:, :, None, None] & both_computed & different
    unequal = holds & (reads[..., :, None] >= UNEQUAL * reads[..., None, :])
    reciprocal = unequal & (writes[..., None, :] >= UNEQUAL * writes[..., :, None])
    inhibited = reciprocal & _is_inhibited(W1, W2) & (slopes <= LEFT)
    return Motifs(holds, unequal, reciprocal, inhibited)


def _contributions(W1, W2):
    """Return what a neuron adds to an output while feature a alone is active.

    Returns:
        (instances, side, neuron, a, output), with a at 1 on side 0 and at -1 on side 1.
    """
    read = torch.stack((W1.relu(), (-W1).relu()), dim=1)  # (instances, side, neuron, a)
    return read[..., :, None] * W2.mT[:, None, :, None, :]


def _on_side_of_neuron(W1, values):
    """Choose for each neuron the side of feature a on which it responds.

    Args:
        W1: The in-weights.
        values: (instances, side, a, output).

    Returns:
        (instances, neuron, a, output).
    """
    return torch.where((W1 < 0)[..., None], values[:, 1, None], values[:, 0, None])


def _is_inhibited(W1, W2):
    """Return whether some neuron takes away INHIBITED of what a neuron adds to an output for a.

    Returns:
        (instances, neuron, a, output).
    """
    added = W1.abs()[..., None] * W2.mT[:, :, None]
    lowest = _on_side_of_neuron(W1, _contributions(W1, W2).amin(dim=2))
    return -lowest >= INHIBITED * added


class Place(NamedTuple):
    """The strongest motif of each instance; meaningless for an instance that has none."""

    found: Bool[Tensor, " instances"]  # whether the instance has a motif
    neuron: Int[Tensor, " instances"]
    a: Int[Tensor, " instances"]
    b: Int[Tensor, " instances"]
    inhibitor: Int[Tensor, " instances"]  # the neuron that takes most away from the output of b


def strongest(
    W1: Float[Tensor, "instances hidden features"], W2: Float[Tensor, "instances features hidden"]
) -> Place:
    """Find the motif of the largest interference in each instance."""
    is_motif = motifs(W1, W2).inhibited
    features = W1.shape[2]
    interference = W1.abs()[..., None] * W2.mT[:, :, None] * is_motif
    place = interference.flatten(1).argmax(dim=1)
    neuron = place // features**2
    a = place // features % features
    b = place % features
    every = torch.arange(len(W1), device=W1.device)
    side = (W1[every, neuron, a] < 0).long()
    inhibitor = _contributions(W1, W2)[every, side, :, a, b].argmin(dim=1)
    return Place(is_motif.flatten(1).any(dim=1), neuron, a, b, inhibitor)


def without_inhibition(
    W1: Float[Tensor, "instances hidden features"], W2: Float[Tensor, "instances features hidden"]
) -> Float[Tensor, "instances features hidden"]:
    """Return W2 with the inhibiting weight of the strongest motif set to zero.

    Instances without a motif keep their W2.
    """
    place = strongest(W1, W2)
    every = torch.arange(len(W1), device=W1.device)
    changed = W2.clone()
    changed[every, place.b, place.inhibitor] *= ~place.found
    return changed


def without_control(
    W1: Float[Tensor, "instances hidden features"],
    W2: Float[Tensor, "instances features hidden"],
    *,
    negative=False,
) -> Float[Tensor, "instances features hidden"]:
    """Return W2 with another weight than the inhibiting one set to zero, of similar effect.

    The effect of an out-weight is the size of what it adds to its output while the feature that its
    neuron reads most strongly is 1 or -1. The weight is the one whose effect differs least from
    that of the inhibiting weight of the strongest motif. Instances without a motif keep their W2.

    Args:
        W1: The in-weights.
        W2: The out-weights.
        negative: Whether to choose among negative weights only.
    """
    place = strongest(W1, W2)
    every = torch.arange(len(W1), device=W1.device)
    effect = W2.abs() * W1.abs().amax(dim=2)[:, None]  # (instances, output, neuron)
    inhibiting = effect[every, place.b, place.inhibitor]
    difference = (effect - inhibiting[:, None, None]).abs()
    difference[every, place.b, place.inhibitor] = torch.inf
    if negative:
        difference = torch.where(W2 < 0, difference, torch.inf)
    nearest = difference.flatten(1).argmin(dim=1)
    changed = W2.flatten(1).clone()
    changed[every, nearest] *= ~place.found
    return changed.view_as(W2)


# What the runs show


def shares(result) -> Float[Tensor, "densities stages"]:
    """Return the share of the runs at each density that meet the rule up to each of STAGES."""
    stages = motifs(result.W1.flatten(0, 1), result.W2.flatten(0, 1))
    met = torch.stack([stage.flatten(1).any(dim=1) for stage in stages], dim=1)
    return met.view(*result.loss.shape, -1).double().mean(dim=1)


class InhibitionShares(NamedTuple):
    """How often outputs are inhibited while a is active, 0 where there is nothing to count."""

    disturbed: float  # of the outputs of b, which a neuron disturbs
    others: float  # of the outputs of all other features, which shows what chance gives


def inhibition_shares(result) -> InhibitionShares:
    """Count inhibited outputs wherever a neuron reads and writes a and b as the motif does."""
    W1 = result.W1.flatten(0, 1)
    W2 = result.W2.flatten(0, 1)
    instance, neuron, a, b = motifs(W1, W2).reciprocal.nonzero().unbind(dim=1)
    if not len(instance):
        return InhibitionShares(0.0, 0.0)
    side = (W1[instance, neuron, a] < 0).long()
    taken_away = -_contributions(W1, W2)[instance, side, :, a].amin(dim=1)  # (places, outputs)
    interference = W1[instance, neuron, a].abs() * W2[instance, b, neuron]
    is_inhibited = taken_away >= INHIBITED * interference[:, None]
    outputs = torch.arange(W1.shape[2])
    is_other = (outputs != a[:, None]) & (outputs != b[:, None])
    disturbed = is_inhibited[torch.arange(len(b)), b].double().mean().item()
    others = is_inhibited[is_other].double().mean().item() if is_other.any() else 0.0
    return InhibitionShares(disturbed, others)


class Costs(NamedTuple):
    """The loss without a weight over the loss, of every run that has the motif."""

    inhibiting: Float[Tensor, " runs_with_motif"]
    control: Float[Tensor, " runs_with_motif"]
    negative_control: Float[Tensor, " runs_with_motif"]


def costs(result) -> Costs:
    """Return what the inhibiting weight and the controls are worth."""
    found = strongest(result.W1.flatten(0, 1), result.W2.flatten(0, 1)).found
    without = (result.uninhibited, result.control, result.negative_control)
    return Costs(*((loss / result.loss).flatten()[found] for loss in without))


# The figure


def figure(results):
    """Draw the shares of runs with the motif over density, and the motif of one run.

    The run is the best one that has the motif, at the density of the first result where most runs
    have it. Its weights are rescaled so that the largest in-weight of each neuron is 1.

    Args:
        results: Up to three Results: of falling importances, then of equal ones.
    """
    drawing, axes = plt.subplots(
        1, 4, figsize=(WIDTH, 4.2), layout="constrained", width_ratios=(1.6, 1.1, 1.1, 1.4)
    )
    _draw_shares(results, axes[0])
    result = results[0]
    point = int(shares(result)[:, -1].argmax())
    chosen = int(best_with_motif(result, point))
    W1 = result.W1[point, chosen]
    W2 = result.W2[point, chosen]
    place = strongest(W1[None], W2[None])
    place = SimpleNamespace(**{name: value.item() for name, value in place._asdict().items()})
    _draw_weights(W1, W2, place, axes[1:3], drawing)
    title = f"one run at density {result.density[point]:g}"
    if place.found:
        _draw_output(W1, W2, result.b[point, chosen], place, axes[3])
    else:
        title += ": no motif"
        axes[3].axis("off")
    axes[1].set_title(f"{title}\nin-weights $W_1$", loc="left")
    return described(
        drawing,
        "The share of the runs that meet each stage of the rule for the motif over density, which "
        f"is {shares(result)[point, -1]:.0%} at the most for the whole rule; heat maps of the "
        f"in-weights and the out-weights of one run at density {result.density[point]:g}; and the "
        "disturbed output of its motif, if it has one, with and without the inhibiting weight.",
    )


def best_with_motif(result, point) -> Int[Tensor, ""]:
    """Return the run of lowest loss among those with the motif, or among all if none has it."""
    found = strongest(result.W1[point], result.W2[point]).found
    return torch.where(found | ~found.any(), result.loss[point], torch.inf).argmin()


def _draw_shares(results, ax):
    """Draw the share of the runs that meet each stage of the rule."""
    for result, line in zip(results, ("-", "--", ":")):
        stages = zip(shares(result).T, STAGES.items(), STAGE_WIDTHS)
        for share, (name, colour), width in stages:
            ax.plot(
                result.density.numpy(),
                share.numpy(),
                line,
                marker="o",
                color=colour,
                linewidth=width,
                label=name if line == "-" else None,
            )
    over_density(ax, results[0].density).set(ylim=(0, 1.5), yticks=(0, 0.25, 0.5, 0.75, 1))
    ax.set(ylabel="share of the runs", title="solid: $I_i$ falls, dashed: $I_i=1$")
    ax.legend(loc="upper center")


def _draw_weights(W1, W2, place, axes, drawing):
    """Draw in- and out-weights as heat maps, with frames around those of the motif."""
    scale = W1.abs().amax(dim=1, keepdim=True)
    both = ((place.neuron, place.a), (place.neuron, place.b))
    panels = (  # weights (neurons, features), name, and the weight of the inhibiting neuron
        (W1 / scale, "in-weights $W_1$", (place.inhibitor, place.a)),
        (W2.T * scale, "out-weights $W_2^T$", (place.inhibitor, place.b)),
    )
    for ax, (weights, name, inhibiting) in zip(axes, panels):
        image = ax.imshow(weights.numpy(), cmap=WEIGHTS, vmin=-3, vmax=3, aspect="auto")
        for row, column in (*both, inhibiting) if place.found else ():
            corner = (column - 0.5, row - 0.5)
            ax.add_patch(plt.Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.5))
            value = weights[row, column]
            weight_text(ax, column, row, f"{value:.1f}", value.abs() > 2)
        ax.set_title(name, loc="left")
        ax.set(xlabel="feature", ylabel="neuron", xticks=range(W1.shape[1]), yticks=range(len(W1)))
    drawing.colorbar(image, ax=list(axes), label="weight, largest in-weight 1", extend="both")


def _draw_output(W1, W2, b, place, ax):
    """Draw output b, which should be 0, while a alone is active, with and without inhibition."""
    x = torch.linspace(-1, 1, 101, dtype=W1.dtype)
    h = (x[:, None] * W1[:, place.a]).relu()
    trained = W2[place.b]
    uninhibited = trained.clone()
    uninhibited[place.inhibitor] = 0
    curves = (
        ("as trained", trained, DEDICATED),
        ("inhibiting weight 0", uninhibited, SHARED),
    )
    for name, out_weights, colour in curves:
        y = (h @ out_weights + b[place.b]).relu()
        ax.plot(x.numpy(), y.numpy(), color=colour, label=name, linewidth=2)
    ax.margins(y=0.15)  # for the legend
    ax.set(xlabel=f"feature {place.a}, all others 0", ylabel=f"output {place.b} (should be 0)")
    ax.legend()
