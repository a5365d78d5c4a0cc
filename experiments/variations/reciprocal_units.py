"""The asymmetric superposition motif of the paper's Section 8 in models that compute other things.

In the motif a neuron serves two units. It reads unit a strongly and unit b weakly, and writes to
their outputs the other way round. While a is active, the neuron disturbs the output of b badly, and
another neuron that a drives, too, inhibits this output. The rule here is that of
`experiments.section8.asymmetric_motif` with two changes:

- A neuron that serves many units counts with each pair (a, b) of them, as few neurons here read two
  units only.
- Drive is measured by the norm of a neuron's in-weights from a unit, which is all that a
  `computations.Result` has. It does not say on which side of a feature, or for which features of a
  pair, a neuron responds. An inhibiting neuron may therefore be silent while the disturbed output
  is wrong, so that the rule finds too many places rather than too few. Outputs that the neuron does
  not disturb are counted by the same rule, and show what chance gives.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from experiments.section8.asymmetric_motif import HELD, INHIBITED, LEFT, SMALL, UNEQUAL
from experiments.variations.computing_models import COMPUTATIONS

CHANCE = 0.5  # other outputs are inhibited at most so many times as often (as 8.3)


class Places(NamedTuple):
    """Which stages of the rule are met, at [computation, density, neuron, a, b].

    A stage counts only where those before it are met, too.
    """

    holds: Bool[Tensor, "computations densities hidden units units"]  # serves both a and b
    reciprocal: Bool[Tensor, "computations densities hidden units units"]  # reads a, writes b more
    inhibited: Bool[Tensor, "computations densities hidden units units"]  # this is the motif


def served_alone(computation) -> float:
    """Return the least that a neuron of a unit alone gives its output, for a unit of norm 1.

    Args:
        computation: A Computation.
    """
    reads = torch.tensor(computation.alone.reads, dtype=torch.float64).norm(dim=1)
    writes = torch.tensor(computation.alone.writes, dtype=torch.float64)
    return (reads * writes).min().item()


def places(result, *, held=HELD) -> Places:
    """Find the motif in the best models, and the stages that lead to it.

    Args:
        result: A computations.Result.
        held: A neuron serves a unit if it gives the output at least so many times what a neuron of
            the unit alone does.
    """
    reads = result.reads
    writes = result.writes.mT  # (computations, densities, hidden, units)
    serves = _serves(result, held)
    different = ~torch.eye(reads.shape[3], dtype=torch.bool)
    holds = serves[..., :, None] & serves[..., None, :] & different
    reads_more = reads[..., :, None] >= UNEQUAL * reads[..., None, :]
    writes_less = writes[..., None, :] >= UNEQUAL * writes[..., :, None]
    reciprocal = holds & reads_more & writes_less
    return Places(holds, reciprocal, reciprocal & _is_inhibited(result, _added(result)))


def _serves(result, held):
    """Return which neurons serve which units (computations, densities, hidden, units)."""
    every = list(COMPUTATIONS.values())
    alone = [served_alone(every[place]) for place in result.computation.tolist()]
    least = held * torch.tensor(alone, dtype=torch.float64)[:, None, None, None]
    reads = result.reads
    noticed = reads > SMALL * reads.amax(dim=3, keepdim=True)
    return noticed & (reads * result.writes.mT >= least)


def _added(result):
    """Return what a neuron adds to output b while a is active, at [..., neuron, a, b]."""
    return result.reads[..., :, None] * result.writes.mT[..., None, :]


def _is_inhibited(result, disturbance):
    """Return whether some neuron that a drives takes away INHIBITED of a disturbance.

    Args:
        result: The Result.
        disturbance: Of an output, at [..., neuron, a, output].
    """
    taken_away = -_added(result).amin(dim=2, keepdim=True)
    return taken_away >= INHIBITED * disturbance


class Inhibition(NamedTuple):
    """How often outputs are inhibited while a is active, over all reciprocal places of a model.

    Both are 0 where there is nothing to count.
    """

    disturbed: Float[Tensor, "computations densities"]  # of the outputs of b
    others: Float[Tensor, "computations densities"]  # of those that the neuron does not disturb


def inhibition(result, *, held=HELD) -> Inhibition:
    """Count inhibited outputs wherever a neuron serves a and b as the motif does.

    An output is one of the others if the neuron adds no more than LEFT to it while a is active. It
    counts as inhibited if some neuron takes away from it what counts for the output of b.

    Args:
        result: A computations.Result.
        held: As in `places`.
    """
    found = places(result, held=held)
    added = _added(result)
    taken_away = -added.amin(dim=2, keepdim=True)[..., None, :]  # [..., 1, a, 1, output]
    is_inhibited = taken_away >= INHIBITED * added[..., None]  # [..., neuron, a, b, output]
    units = added.shape[-1]
    is_other = (added <= LEFT)[..., None, :] & ~torch.eye(units, dtype=torch.bool)[:, None]
    counted = found.reciprocal[..., None] & is_other
    over = (2, 3, 4)
    return Inhibition(
        _share(found.inhibited.sum(dim=over), found.reciprocal.sum(dim=over)),
        _share((counted & is_inhibited).sum(dim=(*over, 5)), counted.sum(dim=(*over, 5))),
    )


def _share(part, whole):
    """Return shares of counts, 0 of none."""
    return part.double() / whole.clamp(min=1)


def has_motif(result, *, held=HELD) -> Bool[Tensor, "computations densities"]:
    """Return which of the best models have the motif.

    A model has it if some place meets the whole rule, and if other outputs are inhibited at most
    CHANCE times as often as the disturbed ones.

    Args:
        result: A computations.Result.
        held: As in `places`.
    """
    shares = inhibition(result, held=held)
    return (shares.disturbed > 0) & (shares.others <= CHANCE * shares.disturbed)
