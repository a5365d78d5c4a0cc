"""Sparse autoencoders: dictionaries of directions for a hidden layer, many instances at once.

An instance encodes a row h of a hidden layer into codes f and decodes them again:

    f = ReLU(E (h - c) + e),    h' = D f + c.

The columns of the decoder D have unit length; they are the dictionary. Codes are sparse in one of
two ways. A plain autoencoder pays a penalty for each unit of code (L1). A top-k autoencoder keeps
the k largest codes of each row.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Autoencodersmain.py instead.")

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from checks import check_count, check_positive, check_seed, check_size
from training import learning_rate_share

TEST_ROWS = 2**13
# The same seed gives rows of their own for training, for the scale and for the test.
SCALE_STREAM = 0x2F2F2F2F
TEST_STREAM = 0x3C3C3C3C


@dataclass(frozen=True)
class Sparsity:
    """What makes the codes of each instance sparse."""

    penalty: Float[Tensor, " instances"]  # for each unit of code
    keep: Int[Tensor, " instances"]  # how many codes of a row are kept; 0 keeps all

    def repeated(self, count):
        """Return each instance so many times in a row."""
        return Sparsity(self.penalty.repeat_interleave(count), self.keep.repeat_interleave(count))

    def to(self, device):
        """Return the same on a device."""
        return Sparsity(self.penalty.to(device), self.keep.to(device))


@dataclass(frozen=True)
class Autoencoders:
    """The weights of independent autoencoders."""

    D: Float[Tensor, "instances hidden codes"]  # the dictionaries, columns of unit length
    E: Float[Tensor, "instances codes hidden"]
    e: Float[Tensor, "instances codes"]
    c: Float[Tensor, "instances hidden"]


@dataclass(frozen=True)
class Measured:
    """The objective of autoencoders over weighted rows: objective = error + penalty * size."""

    objective: Float[Tensor, " instances"]
    error: Float[Tensor, " instances"]  # mean squared error
    size: Float[Tensor, " instances"]  # mean of the summed codes of a row
    used: Float[Tensor, "instances codes"]  # share of the rows, unweighted, with a code above zero


def from_dictionary(D: Float[Tensor, "instances hidden codes"]) -> Autoencoders:
    """Return untrained autoencoders with these decoders and their transposes as encoders."""
    D = normalize(D, dim=1)
    return Autoencoders(
        D=D,
        E=D.mT.contiguous(),
        e=D.new_zeros(D.shape[0], D.shape[2]),
        c=D.new_zeros(D.shape[:2]),
    )


def random_dictionary(
    instances, hidden, codes, generator=None
) -> Float[Tensor, "instances hidden codes"]:
    """Draw dictionaries of directions that are uniform on the sphere."""
    check_size(instances=instances, hidden=hidden, codes=codes)
    return normalize(torch.randn(instances, hidden, codes, generator=generator), dim=1)


def encode(
    autoencoders: Autoencoders,
    h: Float[Tensor, "1 rows hidden"],
    keep: Int[Tensor, " instances"],
) -> Float[Tensor, "instances rows codes"]:
    """Encode the same rows by all instances.

    Args:
        autoencoders: The autoencoders.
        h: Rows of a hidden layer.
        keep: How many codes of a row each instance keeps at most; 0 keeps all. Of equal codes those
            of lower index are kept.
    """
    bias = autoencoders.e - (autoencoders.E @ autoencoders.c[:, :, None])[:, :, 0]
    rows = h.expand(len(autoencoders.D), -1, -1)
    f = torch.baddbmm(bias[:, None], rows, autoencoders.E.mT).clamp_(min=0)
    top_k = keep > 0
    if top_k.any():
        f[top_k] = _keep_largest(f[top_k], keep[top_k])
    return f


def _keep_largest(f, keep):
    """Set all but the `keep` largest codes of each row to zero.

    One maximum after the other is faster than sorting, and takes the first of equal codes.
    """
    dropped = f.clone()
    for rank in range(1, min(int(keep.max()), f.shape[2]) + 1):
        index = dropped.argmax(dim=2, keepdim=True)
        is_kept = rank <= keep[:, None, None]
        largest = dropped.gather(2, index)
        dropped.scatter_(2, index, torch.where(is_kept, 0, largest))
    return f - dropped


def measured(
    autoencoders: Autoencoders,
    sparsity: Sparsity,
    h: Float[Tensor, "1 rows hidden"],
    weight: Float[Tensor, " rows"],
) -> Measured:
    """Measure the objective and its parts, as sums over rows with their weights."""
    f = encode(autoencoders, h, sparsity.keep)
    decoded = torch.baddbmm(autoencoders.c[:, None], f, autoencoders.D.mT)
    error = ((decoded - h).square().sum(dim=2) * weight).sum(dim=1)
    size = (f.sum(dim=2) * weight).sum(dim=1)
    return Measured(
        objective=error + sparsity.penalty * size,
        error=error,
        size=size,
        used=(f > 0).to(f).mean(dim=1),
    )


# Rows to train on


class Rows:
    """Draws weighted rows of a toy model's hidden layer.

    Rows are scaled to a mean squared length of 1. All rows that are drawn have an active feature,
    and their weights sum to 1. The row without active features follows them once, with the weight
    that corresponds to its probability.

    Attributes:
        active: () Mean number of active features in a row that has one.
        test: Fresh rows and their weights, the same ones for all autoencoders.
    """

    def __init__(self, model, inputs, batch_size, seed=0):
        """Prepare to draw from a model of one instance and its FeatureDistribution.

        Args:
            model: A ToyModel of one instance.
            inputs: Its FeatureDistribution.
            batch_size: Rows of a batch.
            seed: Seed of the test rows, and of the rows that set the scale.
        """
        device = inputs.density.device
        self.model = model.to(device)
        self.inputs = inputs
        self.batch_size = batch_size
        self.scale = 1.0
        h, _ = self._drawn(2 * TEST_ROWS, torch.Generator(device).manual_seed(seed ^ SCALE_STREAM))
        rows_with_actives = h.shape[1] - 1
        self.scale = h.square().sum(dim=2).sum().div(rows_with_actives).sqrt()
        self.active = (inputs.density.sum() / inputs.active_probability[0]).float()
        if inputs.correlation == "anticorrelated":
            # The density is that of a set, only one of whose features is active.
            self.active = self.active / inputs.set_size
        self.test = self._drawn(TEST_ROWS, torch.Generator(device).manual_seed(seed ^ TEST_STREAM))

    def __call__(self, generator):
        """Draw a batch: rows (1, batch_size + 1, hidden) and the weight of each."""
        return self._drawn(self.batch_size, generator)

    @torch.no_grad()
    def _drawn(self, count, generator):
        x, probability = self.inputs.sample_active(count, generator)
        h = self.model.encode(x.to(self.model.b.dtype)).float() / self.scale
        weight = torch.full((count + 1,), 1 / count, device=h.device)
        weight[-1] = (1 / probability[0] - 1).clamp(min=0)
        empty_row = torch.zeros_like(h[:, :1])
        return torch.cat((h, empty_row), dim=1), weight


# Training


def fit(start, sparsity, rows, *, steps, lr, seed=0, held=False) -> Autoencoders:
    """Minimize the objective by Adam, with a learning rate that warms up and then decays to zero.

    Args:
        start: The Autoencoders to start from, which stay unchanged.
        sparsity: What makes the codes of each instance sparse.
        rows: Function of a torch.Generator that returns h (1, rows, hidden) and the weight of each
            row (rows,). All instances get the same rows.
        steps: Number of updates.
        lr: The highest learning rate.
        seed: Seed of the rows.
        held: Whether the dictionaries stay as they are while the rest is trained.

    Raises:
        ValueError: An argument is out of range.
        FloatingPointError: The weights of an instance are not finite after training.
    """
    steps = check_count("steps", steps)
    lr = check_positive("lr", lr)
    seed = check_seed(seed)
    trained = {field.name: getattr(start, field.name).clone() for field in fields(start)}
    moving = {name: value for name, value in trained.items() if not (held and name == "D")}
    for value in moving.values():
        value.requires_grad_()
    optimizer = torch.optim.Adam(moving.values(), lr=lr, fused=True)
    generator = torch.Generator(start.D.device).manual_seed(seed)
    autoencoders = replace(start, **trained)
    with torch.no_grad():
        for step in range(steps):
            h, weight = rows(generator)
            gradient = gradients(autoencoders, sparsity, h, weight)
            for name, value in moving.items():
                value.grad = gradient[name]
            optimizer.param_groups[0]["lr"] = lr * learning_rate_share(step, steps)
            optimizer.step()
            autoencoders.D.div_(autoencoders.D.norm(dim=1, keepdim=True))
    result = replace(start, **{name: value.detach() for name, value in trained.items()})
    _raise_if_diverged(result)
    return result


def _raise_if_diverged(autoencoders):
    """Raise FloatingPointError unless all weights are finite."""
    finite = torch.stack(
        [value.isfinite().flatten(1).all(dim=1) for value in vars(autoencoders).values()]
    ).all(dim=0)
    if not finite.all():
        raise FloatingPointError(f"{(~finite).sum()} of {len(finite)} autoencoders diverged")


def gradients(autoencoders, sparsity, h, weight) -> dict[str, Float[Tensor, "instances ..."]]:
    """Return the gradient of the objective in each of the weights, by name.

    It is written out by hand. Codes that are zero or not kept pass no gradient on.
    """
    f = encode(autoencoders, h, sparsity.keep)
    decoded = torch.baddbmm(autoencoders.c[:, None], f, autoencoders.D.mT)
    output_gradient = (decoded - h).mul_(2 * weight[:, None])
    code_gradient = output_gradient @ autoencoders.D
    code_gradient += sparsity.penalty[:, None, None] * weight[:, None]
    code_gradient.mul_(f > 0)
    e_gradient = code_gradient.sum(dim=1)
    through_encoder = (e_gradient[:, None] @ autoencoders.E)[:, 0]
    return {
        "D": output_gradient.mT @ f,
        "E": code_gradient.mT @ h - e_gradient[:, :, None] * autoencoders.c[:, None],
        "e": e_gradient,
        "c": output_gradient.sum(dim=1) - through_encoder,
    }
