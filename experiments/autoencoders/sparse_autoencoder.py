"""Sparse autoencoders: a dictionary of directions for the rows of a hidden layer, many independent instances at once.

An instance encodes a row h of a hidden layer into codes and gives it back,

    f = ReLU(E (h - c) + e),    h' = D f + c,

with a decoder D whose columns, the dictionary, have unit length. Codes are sparse in one of two ways: a plain
autoencoder pays `penalty` for each unit of code (L1), a top-k one keeps the `keep` largest codes of a row.
"""

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from checks import check_count, check_positive, check_size, check_torch

TEST_ROWS = 2**13
WARM_UP = 0.05  # share of the steps in which the learning rate rises to its full value


@dataclass(frozen=True)
class Sparsity:
    """What makes the codes of every instance sparse."""

    penalty: Float[Tensor, " instances"]  # of the sum of the codes
    keep: Int[Tensor, " instances"]  # as many codes of a row at most; 0: all


@dataclass(frozen=True)
class Autoencoders:
    """The weights of some autoencoders."""

    D: Float[Tensor, "instances hidden codes"]  # the dictionaries: columns of unit length
    E: Float[Tensor, "instances codes hidden"]
    e: Float[Tensor, "instances codes"]
    c: Float[Tensor, "instances hidden"]


@dataclass(frozen=True)
class Measured:
    """What an autoencoder's objective is made of, over some weighted rows: objective = error + penalty * size."""

    objective: Float[Tensor, " instances"]
    error: Float[Tensor, " instances"]  # squared
    size: Float[Tensor, " instances"]  # sum of the codes
    used: Float[
        Tensor, "instances codes"
    ]  # the share of rows, whatever their weight, in which a code is not zero


def from_dictionary(D: Float[Tensor, "instances hidden codes"]) -> Autoencoders:
    """Autoencoders before training: a decoder of these directions, its transpose as encoder."""
    D = normalize(D, dim=1)
    return Autoencoders(
        D, D.mT.contiguous(), D.new_zeros(D.shape[0], D.shape[2]), D.new_zeros(D.shape[:2])
    )


def random_dictionary(
    instances, hidden, codes, generator=None
) -> Float[Tensor, "instances hidden codes"]:
    """Directions that are uniform on the sphere."""
    check_size(instances=instances, hidden=hidden, codes=codes)
    return normalize(torch.randn(instances, hidden, codes, generator=generator), dim=1)


def encode(
    of: Autoencoders, h: Float[Tensor, "1 rows hidden"], keep: Int[Tensor, " instances"]
) -> Float[Tensor, "instances rows codes"]:
    """The codes of the same rows in all instances."""
    bias = of.e - (of.E @ of.c[:, :, None])[:, :, 0]
    f = torch.baddbmm(bias[:, None], h.expand(len(of.D), -1, -1), of.E.mT).clamp_(min=0)
    return f.mul_(f >= _smallest_kept(f, keep)) if keep.any() else f


def _smallest_kept(f, keep):
    """(instances, rows, 1): the smallest code that each row keeps, 0 where it keeps all; sorting would take longer."""
    keep = keep[:, None, None]
    smallest = f.amax(dim=2, keepdim=True)
    for rank in range(2, min(int(keep.max()), f.shape[2]) + 1):
        next_one = torch.where(f < smallest, f, 0).amax(dim=2, keepdim=True)
        smallest = torch.where(keep >= rank, next_one, smallest)
    return torch.where((keep > 0) & (keep < f.shape[2]), smallest, 0)


def measured(
    of: Autoencoders,
    sparsity: Sparsity,
    h: Float[Tensor, "1 rows hidden"],
    weight: Float[Tensor, " rows"],
) -> Measured:
    """Means over rows, each with its weight."""
    f = encode(of, h, sparsity.keep)
    error = ((torch.baddbmm(of.c[:, None], f, of.D.mT) - h).square().sum(dim=2) * weight).sum(dim=1)
    size = (f.sum(dim=2) * weight).sum(dim=1)
    return Measured(error + sparsity.penalty * size, error, size, (f > 0).to(f).mean(dim=1))


class Rows:
    """Rows of a model's hidden layer, scaled to a mean squared length of 1, and the weight of each.

    Rows have an active feature and weigh 1 together; the empty row is added once, as often as it occurs beside them.

    model, inputs: a ToyModel of one instance and its FeatureDistribution
    active:        features that are active on average in a row with an active one
    test:          fresh rows, always the same ones
    """

    def __init__(self, model, inputs, batch_size):
        self.model, self.inputs, self.batch_size = (
            model.to(inputs.density.device),
            inputs,
            batch_size,
        )
        self.scale, device = 1.0, inputs.density.device
        h, _ = self._drawn(2 * TEST_ROWS, torch.Generator(device).manual_seed(1))
        self.scale = h.square().sum(dim=2).sum().div(h.shape[1] - 1).sqrt()
        self.active = (inputs.density.sum() / inputs.active_probability[0]).float()
        if inputs.correlation == "anticorrelated":
            self.active = self.active / inputs.set_size
        self.test = self._drawn(TEST_ROWS, torch.Generator(device).manual_seed(2))

    def __call__(self, generator):
        return self._drawn(self.batch_size, generator)

    @torch.no_grad()
    def _drawn(self, count, generator):
        x, probability = self.inputs.sample_active(count, generator)
        h = self.model.encode(x.to(self.model.b.dtype)).float() / self.scale
        weight = torch.full((count + 1,), 1 / count, device=h.device)
        weight[-1] = (1 / probability[0] - 1).clamp(min=0)
        return torch.cat((h, torch.zeros_like(h[:, :1])), dim=1), weight


def fit(of, sparsity, rows, *, steps, lr, seed=0, held=False) -> Autoencoders:
    """Minimize the objective by Adam, with a learning rate that warms up and decays to zero.

    of:   where to start; unchanged
    rows: generator -> h (1, rows, hidden) and the weight of each row, the same ones for all instances
    held: the dictionaries stay as they are, the rest is trained

    Raises ValueError, naming the argument, for settings out of range; FloatingPointError where an instance diverges.
    """
    check_count("steps", steps)
    check_positive("lr", lr)
    check_torch(seed)
    trained = {field.name: getattr(of, field.name).clone() for field in fields(of)}
    moving = {name: value for name, value in trained.items() if not (held and name == "D")}
    optimizer = torch.optim.Adam(
        [value.requires_grad_() for value in moving.values()], lr=lr, fused=True
    )
    generator = torch.Generator(of.D.device).manual_seed(seed)
    with torch.no_grad():
        at = replace(of, **trained)
        for step in range(steps):
            for name, gradient in gradients(at, sparsity, *rows(generator)).items():
                trained[name].grad = gradient if name in moving else None
            decayed = 0.5 + 0.5 * math.cos(math.pi * step / steps)
            optimizer.param_groups[0]["lr"] = lr * min(1, (step + 1) / (WARM_UP * steps)) * decayed
            optimizer.step()
            at.D.div_(at.D.norm(dim=1, keepdim=True))
    at = replace(of, **{name: value.detach() for name, value in trained.items()})
    finite = torch.stack(
        [value.isfinite().flatten(1).all(dim=1) for value in vars(at).values()]
    ).all(dim=0)
    if not finite.all():
        raise FloatingPointError(f"{(~finite).sum()} of {len(finite)} autoencoders diverged")
    return at


def gradients(of, sparsity, h, weight):
    """{name: gradient} of the objective, written out; codes that are zero or cut off pass none on."""
    f = encode(of, h, sparsity.keep)
    of_output = (torch.baddbmm(of.c[:, None], f, of.D.mT) - h).mul_(2 * weight[:, None])
    of_code = of_output @ of.D
    of_code += sparsity.penalty[:, None, None] * weight[:, None]
    of_code.mul_(f > 0)
    of_e = of_code.sum(dim=1)
    of_bias = (of_e[:, None] @ of.E)[:, 0]
    return {
        "D": of_output.mT @ f,
        "E": of_code.mT @ h - of_e[:, :, None] * of.c[:, None],
        "e": of_e,
        "c": of_output.sum(dim=1) - of_bias,
    }
