"""The paper's toy models, many independent instances at once.

A model is a stack of instances along the leading axis: W (instances, hidden, features), x
(instances, batch, features). No instance sees another, so a whole sweep trains as one model.

| model              | paper     | hidden           | output              |
|--------------------|-----------|------------------|---------------------|
| LinearModel        | Section 2 | h = W x          | W^T h + b           |
| ReLUOutputModel    | Section 2 | h = W x          | ReLU(W^T h + b)     |
| ReLUHiddenModel    | Section 7 | h = ReLU(W x)    | ReLU(W^T h + b)     |
| AbsoluteValueModel | Section 8 | h = ReLU(W1 x)   | ReLU(W2 h + b)      |
"""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from checks import as_real, check_count, check_positive, check_size, check_torch
from features import check_distribution


class ToyModel(nn.Module):
    """What the toy models share; subclasses say which weights and ReLUs there are.

    instances, features, hidden: counts
    seed:       of the initial weights; instance k starts the same however many instances there are
    init_scale: standard deviation of the initial weights; small ones reach better minima
    Parameters: weights as the subclass says, and b (instances, features), zero at first.
    dtype:      torch.float32 or torch.float64
    Raises ValueError, naming the argument, for anything else, and for inputs that are not finite or do not fit the
    model; FloatingPointError where they or the weights are so large that outputs are not finite.
    """

    tied = True  # one matrix W encodes and decodes
    relu_hidden = relu_output = True
    closed_form = None  # the `output` for which expected_loss has this model's loss, if it has

    def __init__(
        self,
        instances,
        features,
        hidden,
        *,
        seed=0,
        dtype=torch.float32,
        device="cpu",
        init_scale=0.1,
    ):
        super().__init__()
        check_size(instances=instances, features=features, hidden=hidden)
        check_positive("init_scale", init_scale)
        check_torch(seed, dtype, device)
        self.instances, self.features, self.hidden = instances, features, hidden
        self.b = nn.Parameter(torch.zeros(instances, features, dtype=dtype, device=device))
        # Normal numbers as quantiles of uniform ones: those fill the stack in order, so that the
        # first instances do not depend on how many follow.
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(instances, hidden, features, generator=generator, dtype=torch.float64)
        weights = init_scale * torch.special.ndtri(
            uniform.clamp_(min=torch.finfo(torch.float64).tiny)
        )
        self._set_weights(weights.to(dtype).to(device))

    def _set_weights(self, weights):
        self.W = nn.Parameter(weights)

    @property
    def encoder(self) -> Float[Tensor, "instances hidden features"]:
        """What takes x to h."""
        return self.W

    @property
    def decoder(self) -> Float[Tensor, "instances hidden features"]:
        """What takes h back; the encoder itself where weights are tied."""
        return self.W

    def encode(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch hidden"]:
        self._check_input("x", x, self.features)
        h = x @ self.encoder.mT
        return h.relu() if self.relu_hidden else h

    def decode(
        self, h: Float[Tensor, "instances batch hidden"]
    ) -> Float[Tensor, "instances batch features"]:
        self._check_input("h", h, self.hidden)
        z = torch.baddbmm(self.b[:, None], h, self.decoder)
        return finite("output", z.relu() if self.relu_output else z)

    def forward(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch features"]:
        """The output x'."""
        return self.decode(self.encode(x))

    def _check_input(self, name, rows, last):
        like, got = self.b, getattr(rows, "shape", rows)
        if (
            not isinstance(rows, Tensor)
            or rows.dim() != 3
            or got != (self.instances, max(got[1], 1), last)
        ):
            raise ValueError(
                f"{name}: expected shape ({self.instances}, batch, {last}), got {got!r}"
            )
        if (rows.dtype, rows.device) != (like.dtype, like.device):
            raise ValueError(
                f"{name}: expected {like.dtype} on {like.device}, got {rows.dtype} on {rows.device}"
            )
        if not rows.isfinite().all():
            raise ValueError(
                f"{name}: expected finite numbers, got {(~rows.isfinite()).sum()} that are not"
            )

    def target(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch features"]:
        """What the output should be: the input itself."""
        return x

    def loss(
        self,
        x: Float[Tensor, "instances batch features"],
        importance: Float[Tensor, "instances features"] | float,
    ) -> Float[Tensor, " instances"]:
        """sum_i importance_i (target_i - x'_i)^2, mean over the batch; importance: one number for all, or of each."""
        squared_error = mse_loss(
            self.forward(x), self.target(x), reduction="none"
        )  # (instances, batch, features)
        importance = as_real("importance", importance, x.device).to(x.dtype)
        if importance.shape not in ((), (self.instances, self.features)):
            expected = (self.instances, self.features)
            raise ValueError(
                f"importance: expected a number or shape {expected}, got {tuple(importance.shape)}"
            )
        return finite("loss", (squared_error.sum(dim=1) * importance).sum(dim=1) / x.shape[1])

    def select(self, instances):
        """A model of some instances only, by a slice, indices or a mask, its weights its own; IndexError for others."""
        index = torch.arange(self.instances, device=self.b.device)[instances].reshape(-1)
        check_count("instances", len(index))
        chosen = copy.copy(self)
        chosen._parameters = {
            name: nn.Parameter(value.detach()[index]) for name, value in self.named_parameters()
        }
        chosen.instances = len(index)
        return chosen


def check_inputs(model, distribution):
    """A FeatureDistribution of the model's instances and features."""
    check_distribution(distribution)
    ours, theirs = (
        (model.instances, model.features),
        (distribution.instances, distribution.features),
    )
    if ours != theirs:
        raise ValueError(
            f"distribution: expected (instances, features) = {ours} as the model has, got {theirs}"
        )


def finite(name, values):
    if not values.isfinite().all():
        raise FloatingPointError(
            f"{name}: expected finite numbers, got {(~values.isfinite()).sum()} that are not"
        )
    return values


class LinearModel(ToyModel):
    """x' = W^T W x + b: what a linear model can do, the paper's baseline (Section 2)."""

    relu_hidden = relu_output = False
    closed_form = "linear"

    @classmethod
    def from_weights(
        cls, W: Float[Tensor, "instances hidden features"], b: Float[Tensor, "instances features"]
    ):
        """A model with these weights, copied."""
        if not (
            isinstance(W, Tensor)
            and isinstance(b, Tensor)
            and (W.dtype, W.device) == (b.dtype, b.device)
        ):
            got = " and ".join(repr(getattr(value, "dtype", value)) for value in (W, b))
            raise ValueError(f"W, b: expected tensors of one dtype on one device, got {got}")
        if W.dim() != 3 or b.shape != (W.shape[0], W.shape[2]):
            expected = "W (instances, hidden, features) and b (instances, features)"
            raise ValueError(
                f"W, b: expected {expected}, got {tuple(W.shape)} and {tuple(b.shape)}"
            )
        model = cls(W.shape[0], W.shape[2], W.shape[1], dtype=W.dtype, device=W.device)
        if not (W.isfinite().all() and b.isfinite().all()):
            raise ValueError("W, b: expected finite numbers, got NaN or infinity")
        model.W.data.copy_(W)
        model.b.data.copy_(b)
        return model


class ReLUOutputModel(LinearModel):
    """x' = ReLU(W^T W x + b): the model that shows superposition (Section 2)."""

    relu_output = True
    closed_form = "relu"


class ReLUHiddenModel(ReLUOutputModel):
    """x' = ReLU(W^T ReLU(W x) + b): the hidden layer has a privileged basis, its dimensions are neurons (Section 7)."""

    relu_hidden = True
    closed_form = None


class AbsoluteValueModel(ToyModel):
    """y' = ReLU(W2 ReLU(W1 x) + b) for the target |x|: computation in superposition (Section 8).

    W1 (instances, hidden, features) and W2 (instances, features, hidden) are not tied; W2 starts as
    |W1|^T, which keeps sparse output units alive.
    """

    tied = False

    def _set_weights(self, weights):
        self.W1 = nn.Parameter(weights)
        self.W2 = nn.Parameter(weights.abs().mT.contiguous())

    @property
    def encoder(self):
        return self.W1

    @property
    def decoder(self):
        return self.W2.mT

    def target(self, x):
        return x.abs()
