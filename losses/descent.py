"""The exact loss of all instances of a model as a block that `training.train` descends on."""

import warnings
from dataclasses import replace

import torch

from losses.exact import in_range
from losses.gradient import descent_gradient, exact_loss
from losses.rows import empty_limit, largest_importance, one_for_zero
from models import LinearModel, ReLUOutputModel, base_class

EXACT_OUTPUTS = {LinearModel: "linear", ReLUOutputModel: "relu"}  # `output` of exact_loss
LEAST_PROBABILITY = 1e-12  # of a row with an active feature that the exact gradient resolves


class ExactLoss:
    """A block of all instances of a model with their exact expected loss; it needs no draw.

    Gradients are relative to the largest importance and to the probability of an active row, as
    those of sampled rows are (`losses.rows.Rows`).
    """

    def __init__(self, model, distribution):
        """Prepare the gradient; the distribution is on the device of the model."""
        self.model = model
        self.distribution = distribution
        self.output = EXACT_OUTPUTS[base_class(model)]
        relative = distribution.importance / largest_importance(distribution)[:, None]
        inputs = replace(distribution, importance=relative)
        self.gradient = descent_gradient(inputs, self.output)
        active = distribution.active_probability
        self.scale = 1 / one_for_zero(active)
        self.empty_scale = 2 * relative * ((1 - active) * self.scale)[:, None]
        self.empty_limit = empty_limit(distribution)
        lost = (active > 0) & (active < LEAST_PROBABILITY)
        if lost.any():
            warnings.warn(
                f"density: expected an active feature in at least {LEAST_PROBABILITY:g} of all "
                f"rows, got less for {lost.sum()} instances. Rounding hides such rows in the exact "
                "gradient; train on samples instead.",
                stacklevel=2,
            )

    def forward(self, draw):
        """Take the weights as they are."""
        self.W = self.model.W.detach()
        self.b = self.model.b.detach()

    def loss(self):
        """Return the loss (instances,), NaN where weights are not finite or too large."""
        finite = in_range(self.W, self.b)
        W = self.W.where(finite[:, None, None], 0)
        b = self.b.where(finite[:, None], 0)
        return exact_loss(W, b, self.distribution, self.output).where(finite, torch.nan)

    def finite(self):
        """Return whether the gradient in b of each instance is finite, after `backward`."""
        return self.model.b.grad.isfinite().all(dim=1)

    def backward(self):
        """Write the gradient into the model's parameters."""
        db = torch.empty_like(self.b, dtype=torch.float64)
        dW = self.model.W.grad
        self.gradient.into(self.W, self.b, dW, db)
        dW.mul_(self.scale[:, None, None])
        db.mul_(self.scale[:, None])
        if self.empty_limit is not None:
            output = self.b.clamp(min=0) if self.output == "relu" else self.b
            empty = self.empty_scale * output
            db.sub_(empty - empty.clamp(-self.empty_limit, self.empty_limit))
        self.model.b.grad.copy_(db)
