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
from torch import nn
from torch.nn.functional import mse_loss

from features import check_count, check_positive


class ToyModel(nn.Module):
    """What the toy models share; subclasses say which weights and ReLUs there are.

    instances, features, hidden: counts
    seed:       of the initial weights; instance k starts the same however many instances there are
    init_scale: standard deviation of the initial weights; small ones reach better minima
    Parameters: weights as the subclass says, and b (instances, features), zero at first.
    Raises ValueError for counts below 1 or an init_scale that is not finite and positive.
    """

    tied = True  # one matrix W encodes and decodes
    relu_hidden = relu_output = True
    closed_form = None  # the `output` for which expected_loss has this model's loss, if it has

    def __init__(self, instances, features, hidden, *, seed=0, dtype=torch.float32, device="cpu", init_scale=0.1):
        super().__init__()
        for name, count in (("instances", instances), ("features", features), ("hidden", hidden)):
            check_count(name, count)
        check_positive("init_scale", init_scale)
        self.instances, self.features, self.hidden = instances, features, hidden
        self.b = nn.Parameter(torch.zeros(instances, features, dtype=dtype, device=device))
        # Normal numbers as quantiles of uniform ones: those fill the stack in order, so that the
        # first instances do not depend on how many follow.
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(instances, hidden, features, generator=generator, dtype=torch.float64)
        weights = init_scale * torch.special.ndtri(uniform.clamp_(min=torch.finfo(torch.float64).tiny))
        self._set_weights(weights.to(dtype).to(device))

    def _set_weights(self, weights):
        self.W = nn.Parameter(weights)

    @property
    def encoder(self):
        """(instances, hidden, features): what takes x to h."""
        return self.W

    @property
    def decoder(self):
        """(instances, hidden, features): what takes h back; the encoder itself where weights are tied."""
        return self.W

    def encode(self, x):
        """x (instances, batch, features) -> h (instances, batch, hidden)"""
        h = x @ self.encoder.mT
        return h.relu() if self.relu_hidden else h

    def decode(self, h):
        """h (instances, batch, hidden) -> x' (instances, batch, features)"""
        z = torch.baddbmm(self.b[:, None], h, self.decoder)
        return z.relu() if self.relu_output else z

    def forward(self, x):
        """x -> x', both (instances, batch, features)"""
        if x.dim() != 3 or x.shape[0] != self.instances or x.shape[2] != self.features:
            raise ValueError(f"x: expected shape ({self.instances}, batch, {self.features}), got {tuple(x.shape)}")
        return self.decode(self.encode(x))

    def target(self, x):
        """What the output should be: the input itself."""
        return x

    def loss(self, x, importance):
        """sum_i importance_i (target_i - x'_i)^2, mean over the batch: (instances,).

        importance: (instances, features), or a number for all
        """
        squared_error = mse_loss(self.forward(x), self.target(x), reduction="none")  # (instances, batch, features)
        importance = torch.as_tensor(importance, dtype=x.dtype, device=x.device)
        if importance.shape not in ((), (self.instances, self.features)):
            expected = (self.instances, self.features)
            raise ValueError(f"importance: expected a number or shape {expected}, got {tuple(importance.shape)}")
        return (squared_error.sum(dim=1) * importance).sum(dim=1) / x.shape[1]

    def select(self, instances):
        """A model of some instances only, given by a slice, indices or a mask, with weights of its own."""
        index = torch.arange(self.instances, device=self.b.device)[instances].reshape(-1)
        chosen = copy.copy(self)
        chosen._parameters = {name: nn.Parameter(value.detach()[index]) for name, value in self.named_parameters()}
        chosen.instances = len(index)
        return chosen


class LinearModel(ToyModel):
    """x' = W^T W x + b: what a linear model can do, the paper's baseline (Section 2)."""

    relu_hidden = relu_output = False
    closed_form = "linear"

    @classmethod
    def from_weights(cls, W, b):
        """A model with these weights: W (instances, hidden, features), b (instances, features), copied."""
        if W.dim() != 3 or b.shape != (W.shape[0], W.shape[2]):
            expected = "W (instances, hidden, features) and b (instances, features)"
            raise ValueError(f"W, b: expected {expected}, got {tuple(W.shape)} and {tuple(b.shape)}")
        model = cls(W.shape[0], W.shape[2], W.shape[1], dtype=W.dtype, device=W.device)
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
