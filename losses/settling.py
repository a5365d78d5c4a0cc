"""Exact descent of one instance to where its gradient vanishes, by SciPy's L-BFGS."""

import warnings

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, minres
from tqdm import tqdm

from losses.gradient import exact_gradient, joined, parted

STEPS = 20_000  # of a descent, at most
# Pairs of steps and gradients that make the approximate Hessian: 40 need twice as many steps.
MEMORY = 100
ROUNDED = 1e-11  # a gradient of this part of the sum of importance times density counts as zero
PRECISION = 1e-11  # relative, of the loss of many features: a line search sees changes above it
STRIDE = 1e-2  # length of the first step that is tried, so that a descent stays where it began
OFFSET = 1e-4  # length of a displacement for differences of gradients
NEWTON_RESIDUAL = 1e-3  # relative, of the linear equation of a Newton step
NEWTON_PRODUCTS = 300  # the most products with the Hessian in a Newton step


class Descent:
    """The exact descent of one instance.

    L-BFGS goes on until the gradient is small. Where its line searches no longer resolve the loss,
    as the gradient enters the loss by its square, Newton's method goes on from there, since it
    needs gradients alone.

    Attributes:
        x: Weights and biases in one vector.
        first: Norm of the gradient at the start.
        norm: Norm of the gradient now.
        steps: How often x has changed.
    """

    def __init__(self, W, b, distribution, output, tolerance):
        """Evaluate the gradient at the start.

        Args:
            W: Weights (1, hidden, features).
            b: Biases (1, features).
            distribution: FeatureDistribution of one instance.
            output: "relu" or "linear".
            tolerance: The gradient's norm, relative to where it begins, at which the descent ends.

        Raises:
            ValueError: As from `exact_gradient`.
        """
        self.hidden = W.shape[1]
        self.distribution = distribution
        self.output = output
        self.x = joined(W, b)[0].numpy()
        self.steps = 0
        self.norm = np.linalg.norm(self.evaluate(self.x)[1])
        self.first = self.norm
        total = (distribution.importance * distribution.density).sum().item()
        self.wanted = max(tolerance * self.first, ROUNDED * total)

    def evaluate(self, x) -> tuple[float, np.ndarray]:
        """Compute the loss and its gradient at x."""
        W, b = parted(torch.from_numpy(x)[None], self.hidden)
        found = exact_gradient(W, b, self.distribution, self.output, tolerance=PRECISION)
        return found.loss.item(), found.vector[0].numpy()

    @property
    def settled(self) -> bool:
        """Whether the gradient is as small as wanted."""
        return bool(self.norm <= self.wanted)

    def run(self, max_steps, show):
        """Descend until the gradient is small or no step makes it smaller.

        Args:
            max_steps: The most steps.
            show: Called with this Descent after each step.
        """
        self.show = show
        while not self.settled and self.steps < max_steps:
            before = self.norm
            self._lbfgs(max_steps - self.steps)
            if not self.settled and self.steps < max_steps:
                self._newton()
            if self.norm > before / 2:
                break

    def _lbfgs(self, max_steps):
        """Descend by L-BFGS, in units of STRIDE, as its first trial step has length 1."""
        last = {}

        def scaled(y):
            loss, gradient = self.evaluate(STRIDE * y)
            last["norm"] = np.linalg.norm(gradient)
            return loss, STRIDE * gradient

        def accepted(y):
            self._moved(STRIDE * y, last["norm"])
            if self.settled:
                raise StopIteration

        options = {
            "maxcor": MEMORY,
            "maxiter": max_steps,
            "maxfun": 2**31 - 1,
            "ftol": 0,
            "gtol": 0,
        }
        minimize(
            scaled, self.x / STRIDE, jac=True, method="L-BFGS-B", callback=accepted, options=options
        )

    def _newton(self):
        """Take Newton's steps as long as each at least halves the gradient."""
        while not self.settled:
            gradient = self.evaluate(self.x)[1]
            hessian = hessian_operator(lambda x: self.evaluate(x)[1], self.x)
            step = minres(hessian, -gradient, rtol=NEWTON_RESIDUAL, maxiter=NEWTON_PRODUCTS)[0]
            norm = np.linalg.norm(self.evaluate(self.x + step)[1])
            if not norm < np.linalg.norm(gradient) / 2:
                break
            self._moved(self.x + step, norm)

    def _moved(self, x, norm):
        self.x = x.copy()
        self.norm = norm
        self.steps += 1
        self.show(self)


def descended(W, b, distribution, output, tolerance, progress) -> list[Descent]:
    """Descend from each instance's weights, one instance after the other.

    Args:
        W: Weights (instances, hidden, features).
        b: Biases (instances, features).
        distribution: FeatureDistribution of the same instances.
        output: "relu" or "linear".
        tolerance: The gradient's norm, relative to where it begins, at which a descent ends.
        progress: Whether to show a bar on stderr.

    Returns:
        The descents, each where it ended. A warning names those whose gradient did not reach the
        tolerance.

    Raises:
        ValueError: As from `exact_gradient`, before any descent if it concerns the weights given.
    """
    W = W.double()
    b = b.double()
    descents = [
        Descent(W[[k]], b[[k]], distribution.select([k]), output, tolerance) for k in range(len(W))
    ]
    with tqdm(descents, disable=not progress, leave=False, desc="settle") as bar:
        for descent in bar:
            descent.run(
                STEPS, lambda now: bar.set_postfix_str(f"gradient {now.norm / now.first:.1e}")
            )
    short = [k for k, descent in enumerate(descents) if not descent.settled]
    if short:
        worst = max(descents[k].norm / descents[k].first for k in short)
        shown = ", ".join(map(str, short[:10])) + ", ..." * (len(short) > 10)
        warnings.warn(
            f"{len(short)} of {len(descents)} instances did not settle to {tolerance:g}: {shown} "
            f"(gradients of up to {worst:.1e} are left)",
            stacklevel=3,
        )
    return descents


def hessian_operator(gradient, x) -> LinearOperator:
    """Make the Hessian at x, as products with it, from central differences of a gradient.

    Args:
        gradient: Function from a vector to the gradient there.
        x: The point.

    Returns:
        A symmetric operator up to errors of the differences.
    """

    def product(v):
        length = np.linalg.norm(v)
        if length == 0:
            return np.zeros_like(x)
        offset = OFFSET * v.ravel() / length
        return (gradient(x + offset) - gradient(x - offset)) * (length / (2 * OFFSET))

    return LinearOperator((len(x), len(x)), matvec=product, dtype=np.float64)
