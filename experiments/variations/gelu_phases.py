"""Which phases does the last feature have with GELU at the output, and where are they (ours)?

The phase diagram of the paper's Section 3 for n=2, m=1, beside the same diagram with GELU in place
of ReLU. Nothing is trained. GELU is smooth, so that its expected loss is computed by Gauss-Legendre
quadrature over the values of the features, and each point descends on it from many starts, from
ReLU's optimum, and from the solutions of its neighbours. ReLU's optimum is that of `theory.phases`.

A line far on the sparse side shows where both differ most. With ReLU an antipode costs nothing
while one feature is active at a time, so that any feature is worth storing if it is sparse enough.
With GELU the antipode's output errs a little each time, which a feature of little importance does
not pay for at any density. `least_ratio` derives how important it has to be.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import math
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import gelu

from checks import check_count, check_settings
from experiments.section3.phase_diagram import phase_colours, phase_key
from experiments.variations.gelu_algebra import lone_cost, passed_on
from theory import phases
from theory.phases import Optimum
from visualization import DEDICATED, INK, NOTE, SHARED, WIDTH, described, plain_ticks

SEEDED = False  # the starts are always the same ones
STARTS = (  # W, without biases: the named solutions, a common direction, and others in between
    (1.0, 0.0),
    (0.0, 1.0),
    (1.0, -1.0),
    (0.7, 0.7),
    (1.0, -0.3),
    (0.3, -1.0),
    (0.2, 0.1),
    (0.1, -0.2),
)
NOISE = 0.02  # added to them, as some are saddle points
LINE_RATIOS = (0.01, 1.0)  # lowest and highest relative importance of the sparse line
LR = 3e-2
NEIGHBOUR_LR = 1e-2
NORMS = torch.linspace(0.8, 1.6, 161, dtype=torch.float64)  # squared norms that `least_ratio` tries


@dataclass(frozen=True)
class Settings:
    """The grid of the diagram, and the sparse line."""

    points: int = 24  # on each of the two axes
    line_points: int = 33
    line_density: float = 1e-4
    nodes: int = 8  # of the quadrature, for each feature
    steps: int = 300
    rounds: int = 2  # of handing solutions on to neighbours

    def __post_init__(self):
        """Refuse values out of range; a line has at least two points."""
        check_settings(self)
        check_count("points - 1", self.points - 1)
        check_count("line_points - 1", self.line_points - 1)
        if self.line_density > 1:
            raise ValueError(f"line_density: expected at most 1, got {self.line_density}")


QUICK = Settings(points=6, line_points=5, steps=80, rounds=1)
NOTEBOOK = Settings(points=14, line_points=17, steps=200, rounds=1)


class Solutions(NamedTuple):
    """The best solution of each point, and what handing on gained last."""

    W: Float64[Tensor, "places hidden features"]
    b: Float64[Tensor, "places features"]
    loss: Float64[Tensor, " places"]
    last_fall: Float64[Tensor, " places"]  # of the loss in the last round, relative


class Result(NamedTuple):
    """The best solutions on the grid, in the order of `phases.grid`, and on the sparse line."""

    density: Float64[Tensor, " grid"]
    ratio: Float64[Tensor, " grid"]  # relative importance of the last feature
    gelu: Solutions
    relu_W: Float64[Tensor, "grid hidden features"]
    line_ratio: Float64[Tensor, " line"]
    line: Solutions  # with GELU
    line_relu_W: Float64[Tensor, "line hidden features"]


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Find the best solutions with GELU and with ReLU.

    Args:
        settings: Settings of the run.
        seed: Has no effect, since no chance is involved.
        device: Has no effect, since the exact loss is computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        The best solution known at each point.
    """
    density, ratio = phases.grid(settings.points)
    low, high = LINE_RATIOS
    line_ratio = torch.logspace(
        math.log10(low), math.log10(high), settings.line_points, dtype=torch.float64
    )
    line_density = torch.full_like(line_ratio, settings.line_density)
    relu = phases.optimum(2, density, ratio, progress=progress)
    line_relu = phases.optimum(2, line_density, line_ratio, progress=progress)
    shape = (settings.points, settings.points)
    return Result(
        density=density,
        ratio=ratio,
        gelu=_solved(density, ratio, relu, shape, settings),
        relu_W=relu.W,
        line_ratio=line_ratio,
        line=_solved(line_density, line_ratio, line_relu, (1, settings.line_points), settings),
        line_relu_W=line_relu.W,
    )


# The loss with GELU


class Quadrature(NamedTuple):
    """Rows whose weighted squared errors sum to the expected loss, for each density."""

    x: Float64[Tensor, "rows 2"]
    weight: Float64[Tensor, "places rows"]


def quadrature(density: Float64[Tensor, " places"], nodes) -> Quadrature:
    """Return the rows of a Gauss-Legendre rule for two independent features.

    Args:
        density: Density of both features.
        nodes: Number of values of an active feature.
    """
    places, weights = np.polynomial.legendre.leggauss(nodes)
    value = torch.from_numpy(np.append(0.0, (places + 1) / 2))  # 0: the feature is not active
    active = torch.from_numpy(weights / 2)
    share = torch.cat((1 - density[:, None], density[:, None] * active), dim=1)
    weight = (share[:, :, None] * share[:, None]).flatten(1)
    return Quadrature(torch.cartesian_prod(value, value), weight)


def gelu_loss(
    W: Float64[Tensor, "places 1 2"],
    b: Float64[Tensor, "places 2"],
    ratio: Float64[Tensor, " places"],
    rule: Quadrature,
) -> Float64[Tensor, " places"]:
    """Return the expected loss of x' = GELU(W^T W x + b) for importances (1, ratio).

    Args:
        W: Weights.
        b: Biases.
        ratio: Importance of the second feature.
        rule: The rows and their weights.
    """
    output = gelu((rule.x @ W.mT) @ W + b[:, None])
    error = (rule.x - output).square()
    return ((error[..., 0] + ratio[:, None] * error[..., 1]) * rule.weight).sum(dim=1)


def _solved(density, ratio, relu: Optimum, shape, settings) -> Solutions:
    """Find the best solution with GELU at each point of a lattice of this shape."""
    rule = quadrature(density, settings.nodes)
    starts = torch.tensor(STARTS, dtype=torch.float64)
    starts = starts + NOISE * torch.randn(
        starts.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    W = torch.cat((starts.expand(len(ratio), -1, -1), relu.W), dim=1)[:, :, None]
    b = torch.cat((torch.zeros_like(W[:, :-1, 0]), relu.b[:, None]), dim=1)
    best = _best_descent(W, b, ratio, rule, settings.steps, LR)
    near = _with_neighbours(shape)
    for _ in range(settings.rounds):
        before = best.loss
        W, b = best.W[near], best.b[near]
        best = _best_descent(W, b, ratio, rule, settings.steps // 2, NEIGHBOUR_LR)
    return best._replace(last_fall=1 - best.loss / before)


def _with_neighbours(shape) -> Int[Tensor, "places five"]:
    """Return the index of each point of a lattice and those of the four next to it."""
    rows, columns = (torch.arange(size) for size in shape)
    steps = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    near = [
        (rows + down).clamp(0, shape[0] - 1)[:, None] * shape[1]
        + (columns + right).clamp(0, shape[1] - 1)
        for down, right in steps
    ]
    return torch.stack(near, dim=2).flatten(0, 1)


def _best_descent(W, b, ratio, rule, steps, lr) -> Solutions:
    """Descend from each start (places, starts, ...) and keep the lowest loss of each place."""
    places, starts = b.shape[:2]
    ratio = ratio.repeat_interleave(starts)
    repeated = rule._replace(weight=rule.weight.repeat_interleave(starts, dim=0))
    W = W.flatten(0, 1).clone().requires_grad_()
    b = b.flatten(0, 1).clone().requires_grad_()
    lowest = _Lowest(W, b)
    optimizer = torch.optim.Adam((W, b), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = gelu_loss(W, b, ratio, repeated)
        lowest.keep(W, b, loss)
        optimizer.zero_grad()
        (loss / loss.detach()).sum().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        lowest.keep(W, b, gelu_loss(W, b, ratio, repeated))
    best = torch.arange(places) * starts + lowest.loss.view(places, starts).argmin(dim=1)
    loss = lowest.loss[best]
    return Solutions(lowest.W[best], lowest.b[best], loss, torch.zeros_like(loss))


class _Lowest:
    """The lowest loss that each descent has met, so that no descent ends above its start."""

    def __init__(self, W, b):
        self.W = W.detach().clone()
        self.b = b.detach().clone()
        self.loss = torch.full((len(b),), torch.inf, dtype=b.dtype)

    def keep(self, W, b, loss):
        """Keep what is lower than before."""
        lower = loss.detach() < self.loss
        self.W = torch.where(lower[:, None, None], W.detach(), self.W)
        self.b = torch.where(lower[:, None], b.detach(), self.b)
        self.loss = torch.where(lower, loss.detach(), self.loss)


# Algebra of the sparse limit


def least_ratio() -> float:
    """Return the relative importance from which a sparse last feature is worth storing with GELU.

    One feature is active at a time, so the biases are 0. A first feature of squared norm a has the
    cost f(a) of its own (`lone_cost`), at least f*. An antipode of importance r and squared norm c
    adds r f(c), and each output errs by h = `passed_on` of the overlap -sqrt(a c) when the other
    feature is active. It is worth that if f(a) + r f(c) + (1 + r) h < f* + r, so from the lowest
    r = (f(a) - f* + h) / (1 - f(c) - h) over all a and c on. With ReLU h is 0, and so is r.
    """
    own = lone_cost(NORMS)
    overlap = (NORMS[:, None] * NORMS).sqrt()
    antipode = passed_on(-overlap.flatten()).view_as(overlap)
    ratio = (own[:, None] - own.min() + antipode) / (1 - own - antipode)
    return ratio.min().item()


# Measures


def phase_of(W: Float64[Tensor, "places 1 2"]) -> Int[Tensor, " places"]:
    """Return the phase of the last feature as an index of `phases.PHASES`."""
    return phases.phase(*phases.last_feature(W))


def shares(W: Float64[Tensor, "places 1 2"]) -> list[float]:
    """Return the share of the points in each of `phases.PHASES`."""
    counts = torch.bincount(phase_of(W), minlength=len(phases.PHASES))
    return (counts / len(W)).tolist()


def superposed(W: Float64[Tensor, "places 1 2"]) -> Bool[Tensor, " places"]:
    """Say at which points the last feature is in superposition."""
    return phase_of(W) == phases.PHASES.index("in superposition")


def agreement(result) -> float:
    """Return the share of the grid at which both models show the same phase."""
    return (phase_of(result.gelu.W) == phase_of(result.relu_W)).double().mean().item()


def onset_ratio(W: Float64[Tensor, "line 1 2"], ratio: Float64[Tensor, " line"]) -> float:
    """Return the relative importance at which the last feature comes to be stored along a line.

    Args:
        W: Weights along the line.
        ratio: Relative importance, ascending.

    Returns:
        The middle, on a log scale, of the step at which it does; the lowest ratio if it is stored
        from there on, and twice the highest if it is never stored.
    """
    stored = phase_of(W) > 0
    if not stored.any():
        return 2 * ratio[-1].item()
    first = int(stored.int().argmax())
    return (ratio[first] * ratio[max(first - 1, 0)]).sqrt().item()


# The figure


def figure(result) -> Figure:
    """Draw both phase diagrams, the key to their colours, and the sparse line.

    Args:
        result: The Result.

    Returns:
        The figure.
    """
    drawing, axes = plt.subplots(2, 2, figsize=(WIDTH, 8), layout="constrained")
    for ax, title, W in zip(axes[0], ("ReLU", "GELU"), (result.relu_W, result.gelu.W)):
        _draw_diagram(result, W, ax)
        ax.set_title(f"{title} at the output")
    _draw_line(result, axes[1, 0])
    phase_key(axes[1, 1])
    drawing.suptitle("GELU keeps the three phases, and needs sparser features for superposition")
    ours, papers = (superposed(W).double().mean() for W in (result.gelu.W, result.relu_W))
    return described(
        drawing,
        "Maps over density and relative importance of the phase of the last feature, with ReLU and "
        f"with GELU: it is in superposition in {papers:.0%} of the first and in {ours:.0%} of the "
        "second; below them its norm at a very low density over its relative importance, which "
        f"leaves zero at {onset_ratio(result.line.W, result.line_ratio):.2g} with GELU.",
    )


def _draw_diagram(result, W, ax):
    """Draw one diagram on log axes, sparser to the right."""
    last = phases.last_feature(W)
    side = math.isqrt(len(W))
    density = result.density.view(side, side)[:, 0].numpy()
    ratio = result.ratio.view(side, side)[0].numpy()
    image = phase_colours(last.norm.view(side, side).T, last.superposition.view(side, side).T)
    ax.pcolormesh(density, ratio, image, shading="nearest", rasterized=True)
    ax.set(xscale="log", xlim=(density.max(), density.min()), xlabel="density $1-S$ (log scale)")
    ax.set(yscale="log", ylabel="relative importance $r$ (log scale)")
    plain_ticks(ax.xaxis, (1, 0.1, 0.01))
    plain_ticks(ax.yaxis, (0.1, 1, 10))


def _draw_line(result, ax):
    """Draw the norm of the last feature along the sparse line, with the algebra's onset."""
    x = result.line_ratio.numpy()
    curves = (("ReLU", result.line_relu_W, "o-", DEDICATED), ("GELU", result.line.W, "s-", SHARED))
    for label, W, line, colour in curves:
        ax.plot(x, phases.last_feature(W).norm.numpy(), line, color=colour, label=label)
    onset = least_ratio()
    ax.axvline(onset, color=INK, linewidth=0.8, linestyle=":")
    ax.annotate(f"algebra: {onset:.3f}", (onset, 0.4), xytext=(5, 0), **NOTE)
    ax.set(xscale="log", xlabel="relative importance $r$ (log scale)", ylim=(-0.05, 1.3))
    plain_ticks(ax.xaxis, (0.01, 0.1, 1))
    ax.set(ylabel=r"norm $\|W_2\|$", title="density close to 0")
    ax.legend(loc="lower right")
