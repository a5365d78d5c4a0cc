"""Points at which the gradient of the exact loss vanishes: minima and saddles (paper, Section 5).

Training is slow near a saddle point, since the gradient is small there, and leaves it along
directions in which the loss curves down. These are the negative eigenvalues of the Hessian. Weights
and biases of an instance form one vector here.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from checks import check_count
from losses.gradient import exact_gradient, joined, parted
from losses.settling import PRECISION, hessian_operator

# Displacements of weights, used in turn: the wide one sees both sides of a kink.
OFFSETS = (1e-2, 1e-3)
DAMPING = 10.0 ** torch.arange(-6, 1, dtype=torch.float64)  # of Newton's steps, as a curvature
PARTS = (1.0, 0.25)  # shares of a step that are tried
RESIDUAL = 1e-5  # relative accuracy of the eigenvalues that Lanczos' method finds
SUBSPACE = 60  # vectors that Lanczos' method keeps, at least


class Point(NamedTuple):
    """Weights and biases of models."""

    W: Float[Tensor, "instances hidden features"]
    b: Float[Tensor, "instances features"]


def hessian(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    offset=OFFSETS[-1],
) -> Float[Tensor, "instances weights weights"]:
    """Compute the whole Hessian, by central differences of the exact gradient.

    Args:
        W: Weights.
        b: Biases.
        distribution: FeatureDistribution of the same instances and features.
        offset: Displacement of each weight to both sides. At a kink of the gradient the differences
            average over them.

    Returns:
        The Hessian of each instance, symmetric.
    """
    vectors = joined(W.double(), b.double())
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
    """Compute all eigenvalues of the Hessian, ascending.

    Args:
        W: Weights.
        b: Biases.
        distribution: FeatureDistribution of the same instances and features.

    Returns:
        The eigenvalues, zero for each rotation of the hidden space.
    """
    return torch.linalg.eigvalsh(hessian(W, b, distribution))


def lowest_curvatures(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    count=6,
    output="relu",
) -> Float64[Tensor, "instances count"]:
    """Compute the lowest eigenvalues of the Hessian across the rotations of the hidden space.

    Rotating the hidden space changes no loss, so the Hessian at a stationary point is 0 along the
    directions in which it turns: hidden (hidden - 1) / 2 of them if W has full rank. They are
    projected out. What is left is positive at a minimum. Lanczos' method finds the eigenvalues from
    a few hundred products with the Hessian, each of them two exact gradients, to about 1e-5 of the
    largest eigenvalue.

    Args:
        W: Weights of models at stationary points.
        b: Biases.
        distribution: FeatureDistribution of the same instances and features.
        count: Number of eigenvalues; fewer than there are weights and biases besides rotations.
        output: "relu" or "linear".

    Returns:
        The eigenvalues of each instance, ascending.

    Raises:
        ValueError: If there are not that many eigenvalues, and as from `losses.expected_loss` and
            `losses.many_features_loss`.
    """
    count = check_count("count", count)
    W = W.detach().double()
    b = b.detach().double()
    found = [
        _lowest(W[[k]], b[[k]], distribution.select([k]), count, output) for k in range(len(W))
    ]
    return torch.from_numpy(np.stack(found))


def _lowest(W, b, distribution, count, output):
    """Find the lowest eigenvalues of one instance, as the largest ones of top - Hessian."""
    hidden = W.shape[1]
    turns = rotations(W[0], b[0]).numpy()
    size = len(turns)
    if count >= size - turns.shape[1]:
        raise ValueError(
            f"count: expected fewer than {size - turns.shape[1]} eigenvalues, got {count}"
        )

    def gradient(vector):
        point = parted(torch.from_numpy(vector)[None], hidden)
        return exact_gradient(*point, distribution, output, tolerance=PRECISION).vector[0].numpy()

    products = hessian_operator(gradient, joined(W, b)[0].numpy())

    def across(vector):
        """Apply the Hessian without what turns the hidden space."""
        vector = vector.ravel()
        product = products.matvec(vector - turns @ (turns.T @ vector))
        return product - turns @ (turns.T @ product)

    def below(vector):
        """Apply top - across, whose largest eigenvalues are across' lowest; rotations get 0."""
        vector = vector.ravel()
        inside = vector - turns @ (turns.T @ vector)
        return top * inside - across(inside)

    start = np.random.default_rng(0).standard_normal(size)
    how = {"return_eigenvectors": False, "v0": start}
    whole = LinearOperator((size, size), across, dtype=np.float64)
    top = 1.1 * abs(eigsh(whole, k=1, tol=1e-2, **how)[0])
    reversed_operator = LinearOperator((size, size), below, dtype=np.float64)
    kept = min(size, max(4 * count, SUBSPACE))
    values = eigsh(reversed_operator, k=count, which="LA", tol=RESIDUAL, ncv=kept, **how)
    return np.sort(top - values)


def rotations(
    W: Float64[Tensor, "hidden features"], b: Float64[Tensor, " features"]
) -> Float64[Tensor, "weights rotations"]:
    """Find the directions in which weights move when the hidden space turns.

    Args:
        W: Weights of one instance.
        b: Its biases, which do not move.

    Returns:
        An orthonormal basis of these directions.
    """
    hidden = len(W)
    turns = []
    for i in range(hidden):
        for j in range(i):
            turn = torch.zeros_like(W)
            turn[i] = W[j]
            turn[j] = -W[i]
            turns.append(torch.cat((turn.flatten(), torch.zeros_like(b))))
    if not turns:
        return W.new_zeros(W.numel() + len(b), 0)
    directions, sizes, _ = torch.linalg.svd(torch.stack(turns, dim=1), full_matrices=False)
    return directions[:, sizes > 1e-9]


def nearest_stationary(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    distribution,
    searches,
) -> Point:
    """Search for stationary points by Newton's method on the exact gradient, damped.

    The gradient's norm never grows.

    Args:
        W: Weights to start from.
        b: Biases to start from.
        distribution: FeatureDistribution of the same instances and features.
        searches: Number of Newton's steps.

    Returns:
        The points at which the search ends. Whether the gradient vanishes there is for the caller
        to see: near kinks, such as biases of 0, the search converges slowly.

    Raises:
        ValueError: If searches is not a count.
    """
    searches = check_count("searches", searches)
    hidden = W.shape[1]
    every = torch.arange(len(W))
    vectors = joined(W.double(), b.double())
    gradient = exact_gradient(W, b, distribution).vector
    for k in range(searches):
        matrix = hessian(*parted(vectors, hidden), distribution, OFFSETS[k % len(OFFSETS)])
        values, directions = torch.linalg.eigh(matrix)
        along = (directions.mT @ gradient[:, :, None])[:, None, :, 0] * values[:, None]
        curvature = values[:, None].square() + DAMPING[:, None].square()
        steps = -along / curvature  # (instances, dampings, directions)
        steps = torch.cat([part * steps for part in PARTS], dim=1) @ directions.mT
        # The point itself is among those that are tried, so that staying is possible.
        tried = torch.cat((vectors[:, None], vectors[:, None] + steps), dim=1)
        gradients = _gradients(tried, hidden, distribution)
        best = gradients.norm(dim=2).argmin(dim=1)
        vectors = tried[every, best]
        gradient = gradients[every, best]
    return Point(*parted(vectors, hidden))


def distance(
    W: Float[Tensor, "instances hidden features"],
    b: Float[Tensor, "instances features"],
    other_W: Float[Tensor, "instances hidden features"],
    other_b: Float[Tensor, "instances features"],
) -> Float[Tensor, " instances"]:
    """Compute the distance between the vectors of two models.

    Args:
        W: Weights of the first model.
        b: Biases of the first model.
        other_W: Weights of the second model.
        other_b: Biases of the second model.

    Returns:
        The smallest distance over all rotations and reflections of the hidden space.
    """
    aligned = torch.linalg.matrix_norm(W @ other_W.mT, ord="nuc")
    squared = (
        (W.square() + other_W.square()).sum(dim=(1, 2))
        - 2 * aligned
        + (b - other_b).square().sum(dim=1)
    )
    return squared.clamp(min=0).sqrt()


def _gradients(vectors, hidden, distribution):
    """Compute the gradients of several vectors of each instance: (instances, tried, weights)."""
    repeated = distribution.with_restarts(vectors.shape[1])
    points = parted(vectors.flatten(0, 1), hidden)
    return exact_gradient(*points, repeated).vector.view(vectors.shape)
