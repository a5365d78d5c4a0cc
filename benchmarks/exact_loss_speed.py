"""Time the exact loss and its gradient against plain autograd, and the exact phase diagrams.

    python benchmarks/exact_loss_speed.py            # about 2 minutes on 2 cores

The plain version is the closed form written out: a polynomial at every vertex of the cube {0, 1}^n
for E[ReLU(z)^2], the same for the cross term, and gradients by autograd. Ours is timed twice: as
losses are reported, with loss, gradient and care for every digit, and as descents use it, with the
gradient alone. All compute the same random models at density 0.1. The versions take turns, so that
a busy machine slows all of them.
"""

import sys
import time
from itertools import pairwise, product
from math import factorial
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from features import FeatureDistribution
from losses.exact import DescentGradient, expected_loss
from theory import phases

SIZES = ((2, 1, 20_000), (3, 2, 10_000), (5, 2, 500))  # features, hidden, instances
DENSITY = 0.1
ROUNDS = 9


def plain_second_moment(b, a, p):
    """Compute E[ReLU(b + a.x)^2] for b (instances,), a and p (instances, features)."""
    vertices = torch.tensor(list(product((0.0, 1.0), repeat=a.shape[1])), dtype=a.dtype)
    coefficients = [torch.ones(len(b), len(vertices), dtype=a.dtype)]  # of s^0, s^1, ...
    for v, slope, density in zip(vertices.T, a.T[..., None], p.T[..., None]):
        constant = (1 - v) * (1 - density)
        linear = (2 * v - 1) * density / slope
        padded = [
            torch.zeros_like(coefficients[0]),
            *coefficients,
            torch.zeros_like(coefficients[0]),
        ]
        coefficients = [constant * same + linear * lower for lower, same in pairwise(padded)]
    reach = (b[:, None] + a @ vertices.T).clamp(min=0)
    return sum(
        (c * 2 * reach ** (q + 2) / factorial(q + 2)).sum(dim=1) for q, c in enumerate(coefficients)
    )


def plain_expected_loss(W, b, p):
    """Compute the expected loss (instances,) of ReLU output models, with importance 1."""
    loss = 0
    for i in range(W.shape[2]):
        a = (W[:, :, i, None] * W).sum(dim=1)
        others = [j for j in range(W.shape[2]) if j != i]
        certain = p.clone()
        certain[:, i] = 1
        rest = plain_second_moment(b[:, i] + a[:, i], a[:, others], p[:, others])
        cross = p[:, i] / (2 * a[:, i]) * (rest - plain_second_moment(b[:, i], a, certain))
        loss = loss + p[:, i] / 3 - 2 * cross + plain_second_moment(b[:, i], a, p)
    return loss


def seconds(work):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(features, hidden, instances):
    """Time the plain version, our loss with its gradient, and our gradient alone.

    Returns:
        Median microseconds a model of the three.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = ((instances, hidden, features), (instances, features))
    W, b = (0.7 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    leaves = W.requires_grad_(), b.requires_grad_()
    distribution = FeatureDistribution(DENSITY, features=features, instances=instances)

    def plain():
        return plain_expected_loss(*leaves, distribution.density)

    def ours():
        return expected_loss(*leaves, distribution)

    # The median is compared, as the plain version loses its digits where a weight is small.
    assert (plain() / ours() - 1).abs().median() < 1e-9
    gradient = DescentGradient(distribution)
    weights = [value.detach() for value in leaves]
    into = [torch.empty_like(value) for value in weights]
    works = (
        lambda: torch.autograd.grad(plain().sum(), leaves),
        lambda: torch.autograd.grad(ours().sum(), leaves),
        lambda: gradient.into(*weights, *into),
    )
    rounds = [[seconds(work) for work in works] for _ in range(ROUNDS)]
    return [median(times) / instances * 1e6 for times in zip(*rounds)]


def main():
    """Print the times of all sizes, and of the exact phase diagrams."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; microseconds a model")
    for features, hidden, instances in SIZES:
        plain, ours, descent = compare(features, hidden, instances)
        print(
            f"n={features}, m={hidden}: loss and gradient plain {plain:.2f}, ours {ours:.2f}, "
            f"for descents {descent:.2f}; "
            f"ratio of medians {plain / ours:.1f} and {plain / descent:.1f}"
        )
    for name, points, solve in (
        ("n=2, m=1", 100, phases.scanned_optimum),
        ("n=3, m=2", 40, lambda density, ratio: phases.descended_optimum(3, 2, density, ratio)),
    ):
        grid = phases.grid(points)
        took = seconds(lambda solve=solve, grid=grid: solve(*grid))
        print(f"exact diagram of {name}, {points} x {points} points: {took:.0f} s")


if __name__ == "__main__":
    main()
