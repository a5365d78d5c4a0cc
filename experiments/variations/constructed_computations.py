"""Solutions made by hand for the models of `computing_models`, with and without shared neurons.

**Alone.** Every neuron reads one unit. Units are independent, so the lowest loss of such a model
follows from what a unit loses with 0, 1 or 2 neurons of its own, and from how neurons are allocated
(`alone_losses`, `allocated`).

**Code.** Where one unit is active at a time, few neurons serve any number of units. A block of q
neurons takes the place of one neuron of each unit: neuron j reads unit u by code[u, j] times what
that neuron would read. The codes are points on a sphere around the diagonal of the positive
orthant, so a plane cuts each point off from all the others. An output weighs the block by the
normal of its plane. It gets the value of the neuron from its own unit, and a number below zero from
any other one, which the ReLU of the output removes. On a circle, with q = 3, there is room for any
number of points.

Two neurons compute any number of ANDs. There the codes are points on a quarter of a circle, and a
pair with AND gives twice its code. The output is above zero beyond a line that cuts between the
code and its double, so close to the double that twice the code of no other pair lies beyond it.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from experiments.variations.computing_models import COMPUTATIONS, active_units, expected_units

STARTS = 48  # of the descent to the best neurons of one unit
STEPS = 400
LR = 0.05
REPULSION_STEPS = 200
BLOCK = 3  # neurons that take the place of one neuron of every unit


class Unit(NamedTuple):
    """The best known model of one unit at each density: ReLU(writes . ReLU(reads x) + b)."""

    reads: Float[Tensor, "densities neurons unit"]
    writes: Float[Tensor, "densities neurons"]
    b: Float[Tensor, " densities"]
    loss: Float[Tensor, " densities"]


def best_unit(computation, densities, neurons) -> Unit:
    """Find the lowest loss of one unit with neurons of its own, by descents from many starts.

    The loss is exact: an expectation over the values of the unit. One start is the computation's
    model of a single unit, where it has so many neurons.

    Args:
        computation: A Computation.
        densities: Densities of the features.
        neurons: Number of neurons of the unit, at least 1.
    """
    x, probability = expected_units(computation, densities)
    target = computation.target(x)
    square = probability @ target.square()
    starts = _unit_starts(computation, neurons)
    weights = [part.expand(len(square), *part.shape).clone() for part in starts]
    for part in weights:
        part.requires_grad_()
    optimizer = torch.optim.Adam(weights, lr=LR)

    def losses():
        """Return the losses (densities, starts), relative to an output of 0."""
        reads, writes, b = weights
        h = (x @ reads.mT).relu()  # (densities, starts, nodes, neurons)
        output = ((h @ writes[..., None])[..., 0] + b[..., None]).relu()
        errors = (output - target).square()
        return (errors * probability[:, None]).sum(dim=2) / square[:, None]

    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LR * (1 - step / STEPS)
        optimizer.zero_grad()
        losses().sum().backward()
        optimizer.step()
    lowest, start = losses().detach().min(dim=1)
    every = torch.arange(len(lowest))
    found = [part.detach()[every, start] for part in weights]
    return Unit(*found, lowest * square)


def _unit_starts(computation, neurons):
    """Return reads, writes and b of the starts (starts, ...)."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(STARTS, *shape, generator=generator, dtype=torch.float64)

    reads = noise(neurons, computation.unit)
    writes = noise(neurons)
    writes[::2] = writes[::2].abs()
    b = 0.3 * noise()
    alone = computation.alone
    if len(alone.writes) == neurons:
        reads[0] = torch.tensor(alone.reads, dtype=torch.float64)
        writes[0] = torch.tensor(alone.writes, dtype=torch.float64)
        b[0] = alone.b
    return reads, writes, b


class AloneLosses(NamedTuple):
    """What a unit loses with neurons of its own."""

    mean: Float[Tensor, " densities"]  # of the target, the output of a unit without neurons
    losses: Float[Tensor, "densities 3"]  # with 0, 1 and 2 neurons
    one: Unit  # the models of a unit with one neuron and with two
    two: Unit


def alone_losses(computation, densities) -> AloneLosses:
    """Return a unit's lowest losses with 0, 1 and 2 neurons of its own.

    More than two neurons do not lower it. With two it is 0, or each side of a feature has one, and
    several neurons of one side are no more than one, as hidden neurons have no biases.

    Args:
        computation: A Computation.
        densities: Densities of the features.
    """
    x, probability = expected_units(computation, densities)
    target = computation.target(x)
    mean = probability @ target
    ignored = probability @ target.square() - mean.square()
    one = best_unit(computation, densities, 1)
    two = best_unit(computation, densities, 2)
    return AloneLosses(mean, torch.stack((ignored, one.loss, two.loss), dim=1), one, two)


def alone_output(alone, x: Float[Tensor, "*rows unit"]) -> Float[Tensor, "*rows"]:
    """Return the output of a unit with neurons of its own.

    Args:
        alone: An Alone.
        x: Values of the unit.
    """
    reads = torch.tensor(alone.reads, dtype=torch.float64)
    writes = torch.tensor(alone.writes, dtype=torch.float64)
    return ((x @ reads.T).relu() @ writes + alone.b).relu()


def allocated(
    losses: Float[Tensor, "densities 3"], units, neurons
) -> tuple[Float[Tensor, " densities"], Int[Tensor, "densities units"]]:
    """Allocate neurons to units at the lowest loss.

    Args:
        losses: Of a unit with 0, 1 and 2 neurons.
        units: Number of units.
        neurons: Number of neurons, at most twice as many.

    Returns:
        The loss of all units together, and how many neurons each unit has.
    """
    counts = []
    for twos in range(neurons // 2 + 1):
        ones = min(neurons - 2 * twos, units - twos)
        counts.append([2] * twos + [1] * ones + [0] * (units - twos - ones))
    counts = torch.tensor(counts)
    totals = losses[:, counts].sum(dim=2)  # (densities, allocations)
    lowest, best = totals.min(dim=1)
    return lowest, counts[best]


# Codes


def codes(units, block) -> Float[Tensor, "units block"]:
    """Return points on a sphere in the hyperplane of numbers that sum to zero, far apart.

    Args:
        units: Number of points.
        block: Number of coordinates, at least 3. With 3 of them, points are even on a circle.
    """
    basis = _sum_zero_basis(block)
    if block == 3:
        angle = 2 * math.pi * torch.arange(units, dtype=torch.float64) / units
        return torch.stack((angle.cos(), angle.sin()), dim=1) @ basis
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(units, block - 1, generator=generator, dtype=torch.float64)
    points.requires_grad_()
    optimizer = torch.optim.Adam([points], lr=0.05)
    for _ in range(REPULSION_STEPS):
        unit = points / points.norm(dim=1, keepdim=True)
        repulsion = (20 * (unit @ unit.T - 2 * torch.eye(units).double())).logsumexp(dim=(0, 1))
        optimizer.zero_grad()
        repulsion.backward()
        optimizer.step()
    points = points.detach()
    return points / points.norm(dim=1, keepdim=True) @ basis


def _sum_zero_basis(block):
    """Return orthonormal rows (block - 1, block) that sum to zero."""
    with_diagonal = torch.eye(block, dtype=torch.float64)
    with_diagonal[:, 0] = 1
    return torch.linalg.qr(with_diagonal).Q[:, 1:].T


def block_weights(
    units, block
) -> tuple[Float[Tensor, "units block"], Float[Tensor, "units block"]]:
    """Return what the neurons of a block read from each unit, and what each output weighs them by.

    An output gets 1 from its own unit and at most 0 from any other one.

    Args:
        units: Number of units, at least 2.
        block: Number of neurons, at least 3.
    """
    points = codes(units, block)
    cosines = points @ points.T
    nearest = (cosines - 2 * torch.eye(units).double()).amax(dim=1, keepdim=True)
    reads = 1 - points / points.amin()  # at least 0
    # On reads[v] the output u gets (cosine(u, v) - nearest(u)) / (1 - nearest(u)).
    direction = -points.amin() * points
    writes = (direction - nearest / block) / (1 - nearest)
    return reads, writes


class Weights(NamedTuple):
    """Weights of one model."""

    W1: Float[Tensor, "hidden features"]
    W2: Float[Tensor, "units hidden"]
    b: Float[Tensor, " units"]


def code_weights(alone, units, neurons) -> Weights:
    """Return the model whose neurons are shared by all units, a block for each neuron of a unit.

    Args:
        alone: An Alone, the model of one unit.
        units: Number of units, at least 2.
        neurons: Number of neurons, at least 3 for each neuron of a unit.
    """
    count = len(alone.writes)
    sizes = [(neurons + k) // count for k in range(count)]
    W1 = []
    W2 = []
    for size, read, write in zip(sizes, alone.reads, alone.writes):
        reads, writes = block_weights(units, size)
        along = torch.tensor(read, dtype=torch.float64)
        W1.append((reads.T[:, :, None] * along).flatten(1))
        W2.append(write * writes)
    b = torch.full((units,), alone.b, dtype=torch.float64)
    return Weights(torch.cat(W1), torch.cat(W2, dim=1), b)


def two_neuron_ands(units) -> Weights:
    """Return a model that computes ANDs by two neurons, on rows with at most one active pair.

    Args:
        units: Number of pairs, at least 2.
    """
    angle = math.pi / 2 * torch.linspace(0, 1, units, dtype=torch.float64)
    points = torch.stack((angle.cos(), angle.sin()), dim=1)
    # Twice the cosine of neighbours is to be at most the bias over the scale, 2 - 1 / scale.
    scale = 1 / (2 * (1 - math.cos(math.pi / 2 / (units - 1))))
    scale = max(scale, 1.0)
    b = torch.full((units,), 1 - 2 * scale, dtype=torch.float64)
    return Weights(points.repeat_interleave(2, dim=0).T, scale * points, b)


def allocated_weights(counts, found, k, neurons) -> Weights:
    """Return the model in which every neuron reads one unit, at one density.

    Args:
        counts: Number of neurons of each unit (units,).
        found: The AloneLosses.
        k: Place of the density.
        neurons: Number of all neurons.
    """
    units = len(counts)
    size = found.one.reads.shape[2]
    W1 = torch.zeros(neurons, units, size, dtype=torch.float64)
    W2 = torch.zeros(units, neurons, dtype=torch.float64)
    b = found.mean[k].repeat(units)
    first = 0
    for u, count in enumerate(counts.tolist()):
        if count > 0:
            own = found.one if count == 1 else found.two
            W1[first : first + count, u] = own.reads[k]
            W2[u, first : first + count] = own.writes[k]
            b[u] = own.b[k]
            first += count
    return Weights(W1.flatten(1), W2, b)


# What few neurons do on rows with at most one active unit


def outputs(weights, rows: Float[Tensor, "*rows features"]) -> Float[Tensor, "*rows units"]:
    """Return the outputs of one model.

    Args:
        weights: Its Weights.
        rows: Inputs.
    """
    return ((rows @ weights.W1.T).relu() @ weights.W2.T + weights.b).relu()


def single_rows(computation, units) -> Float[Tensor, "rows units unit"]:
    """Return rows with at most one active unit, for each unit with each node of its quadrature.

    Args:
        computation: A Computation.
        units: Number of units.
    """
    x = torch.cat([nodes for nodes, _ in active_units(computation)])
    rows = x.new_zeros(units, len(x), units, computation.unit)
    every = torch.arange(units)
    rows[every, :, every] = x
    return rows.flatten(0, 1)


def code_error(computation, units):
    """Return the largest error of BLOCK shared neurons in place of each neuron of a unit alone.

    It is a difference of outputs, on rows with at most one active unit.

    Args:
        computation: A Computation.
        units: Number of units.
    """
    rows = single_rows(computation, units)
    weights = code_weights(computation.alone, units, BLOCK * len(computation.alone.writes))
    expected = alone_output(computation.alone, rows)
    return (outputs(weights, rows.flatten(1)) - expected).abs().max()


def two_neuron_error(units):
    """Return the largest error of two neurons that compute ANDs, on rows with one active pair.

    Args:
        units: Number of pairs.
    """
    computation = COMPUTATIONS["AND"]
    rows = single_rows(computation, units)
    error = outputs(two_neuron_ands(units), rows.flatten(1)) - computation.target(rows)
    return error.abs().max()
