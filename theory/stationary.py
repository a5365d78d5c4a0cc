"""Theory of Section 5: the points at which the gradient of the exact loss vanishes, minima and saddle points.

Near a saddle point training is slow, as the gradient is small, and it leaves along the directions in which the loss
curves down: the negative eigenvalues of the Hessian. Weights and biases of an instance stand in one vector here.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from checks import check_count
from losses.exact import expected_loss

OFFSETS = (
    1e-2,
    1e-3,
)  # of weights, for differences of gradients, in turn: the wide one sees both sides of a kink
DAMPING = 10.0 ** torch.arange(
    -6, 1, dtype=torch.float64
)  # of Newton's steps, in units of curvature
PARTS = (1.0, 0.25)  # of such a step


class Gradient(NamedTuple):
    loss: Float[Tensor, " instances"]
    vector: Float[Tensor, "instances weights"]

    @property
    def norm(self):
        return self.vector.norm(dim=1)


class Point(NamedTuple):
    W: Float[Tensor, "instances hidden features"]
    b: Float[Tensor, "instances features"]


def exact_gradient(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
) -> Gradient:
    """The exact loss of each instance and its gradient in weights and biases; errors as of `expected_loss`."""
    W, b = (t.detach().double().requires_grad_() for t in (W, b))
    loss = expected_loss(W, b, distribution)
    of_W, of_b = torch.autograd.grad(loss.sum(), (W, b))
    return Gradient(loss.detach(), _vectors(of_W, of_b))


def hessian(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    offset=OFFSETS[-1],
) -> Float[Tensor, "instances weights weights"]:
    """Symmetric differences of the exact gradient over twice an offset: at a kink, between its two sides."""
    vectors = _vectors(W.double(), b.double())
    count, size = vectors.shape
    offsets = offset * torch.eye(size, dtype=vectors.dtype)
    around = torch.stack((vectors[:, None] - offsets, vectors[:, None] + offsets), dim=1)
    gradients = _gradients(around.flatten(1, 2), W.shape[1], distribution)
    low, high = gradients.view(count, 2, size, size).unbind(dim=1)
    differences = (high - low) / (2 * offset)
    return (differences + differences.mT) / 2


def curvatures(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
) -> Float[Tensor, "instances weights"]:
    """The eigenvalues of the Hessian, ascending."""
    return torch.linalg.eigvalsh(hessian(W, b, distribution))


def nearest_stationary(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    searches,
) -> Point:
    """Newton's method on the exact gradient, damped such that its norm never grows.

    searches: steps of it. Whether the gradient vanishes where it ends is for the caller to see: near kinks, as biases
    at 0 are, it converges slowly.
    """
    check_count("searches", searches)
    hidden, every = W.shape[1], torch.arange(len(W))
    vectors, gradient = _vectors(W.double(), b.double()), exact_gradient(W, b, distribution).vector
    for k in range(searches):
        matrix = hessian(*_parameters(vectors, hidden), distribution, OFFSETS[k % len(OFFSETS)])
        values, directions = torch.linalg.eigh(matrix)
        along = (directions.mT @ gradient[:, :, None])[:, None, :, 0] * values[:, None]
        steps = -along / (
            values[:, None].square() + DAMPING[:, None].square()
        )  # (instances, dampings, directions)
        steps = torch.cat([part * steps for part in PARTS], dim=1) @ directions.mT
        tried = torch.cat(
            (vectors[:, None], vectors[:, None] + steps), dim=1
        )  # staying is among them
        gradients = _gradients(tried, hidden, distribution)
        best = gradients.norm(dim=2).argmin(dim=1)
        vectors, gradient = tried[every, best], gradients[every, best]
    return Point(*_parameters(vectors, hidden))


def distance(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    other_W: Float[Tensor, "instances hidden features"],
    other_b: Float[Tensor, "instances features"],
) -> Float[Tensor, " instances"]:
    """Between the vectors of two models, at the best rotation or reflection of the hidden space."""
    aligned = torch.linalg.matrix_norm(W @ other_W.mT, ord="nuc")
    squared = (
        (W.square() + other_W.square()).sum(dim=(1, 2))
        - 2 * aligned
        + (b - other_b).square().sum(dim=1)
    )
    return squared.clamp(min=0).sqrt()


def _vectors(W, b):
    """(instances, weights), from the weights and biases of each."""
    return torch.cat((W.flatten(1), b), dim=1)


def _parameters(vectors, hidden):
    """W and b of `_vectors`."""
    features = vectors.shape[1] // (hidden + 1)
    return vectors[:, :-features].unflatten(1, (hidden, features)), vectors[:, -features:]


def _gradients(vectors, hidden, distribution):
    """(instances, tried, weights): the exact gradient of several vectors of each instance."""
    repeated = distribution.with_restarts(vectors.shape[1])
    return exact_gradient(*_parameters(vectors.flatten(0, 1), hidden), repeated).vector.view(
        vectors.shape
    )
