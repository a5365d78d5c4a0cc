"""Boundary of n=2, m=1: where the phase of the second feature changes, and whether by a jump.

Section 3 of the paper calls superposition a phase change. Here the change is followed along the
relative importance r at each density: by the exact loss at a given norm of the second feature, by
an expansion in a small norm, and by following two solutions to the point at which their losses
cross.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor

from checks import as_line, as_real, check_count
from features import FeatureDistribution
from losses.exact import expected_loss
from theory.descents import descend, first_sign_change, ignored_loss
from theory.phases import grid_distribution, scanned_optimum

# Difference of |w_2| up to which two solutions are the same.
SAME_NORM = 0.02
# Values of |w_2| at which the paying ratio is computed; its lowest value over these is the onset.
NORMS = torch.linspace(0.01, 1, 100, dtype=torch.float64)
# Number of gaps between ratios, those with the largest changes of |w_2|, that are searched for a
# jump.
GAPS = 4
# Lowest ratio that is looked at, in units of the onset.
BEFORE_ONSET = 0.95
# Number of densities at which the cubic term is computed to find its changes of sign.
CUBIC_POINTS = 100
# Number of bisections of the density at which the cubic term changes its sign.
BISECTIONS = 50


class Boundary(NamedTuple):
    """How the second feature of n=2, m=1 comes to be represented as r grows to 1, by density."""

    density: Float[Tensor, " densities"]
    # Relative importance r from which on it is better to represent the second feature at all.
    onset: Float[Tensor, " densities"]
    # |w_2| at the onset: 0 where it grows out of zero continuously.
    onset_norm: Float[Tensor, " densities"]
    # Ratio r below 1 at which the losses of two followed solutions cross; the onset where none
    # cross.
    ratio: Float[Tensor, " densities"]
    # |w_2| of the two solutions at the crossing; the two are equal where none cross.
    before: Float[Tensor, " densities"]
    after: Float[Tensor, " densities"]
    # Fall of the slope of the optimal loss in r at the crossing, over s/3 - s^2/4; 0 where none
    # cross.
    kink: Float[Tensor, " densities"]
    # |w_2| on either side of r = 1, where the features change places, ascending.
    exchange: Float[Tensor, "densities 2"]
    # `paying_ratio` at each of NORMS.
    paying: Float[Tensor, "densities norms"]


def optimum_boundary(
    density: Real[Tensor, " densities"] | np.ndarray | Sequence,
    *,
    resolution: int = 120,
    progress: bool = True,
) -> Boundary:
    """Follow the phase change of n=2, m=1 along r <= 1 at each density (Section 3).

    The onset is the lowest of the paying ratios. The optimum on a fine grid of r from there on
    shows in which gaps of the grid |w_2| changes most. The solutions at both ends of such a gap
    are followed across it. Where they stay apart and the difference of their losses changes its
    sign, the change is first order, with a jump. Where they meet, it is smooth.

    At r = 1 the features change places, which moves |w_2| to |w_1| wherever the optimum is not
    symmetric. That jump follows from the symmetry alone. Ratios r > 1 are the same with the
    features exchanged.

    Args:
        density: Density s of both features, in (0, 1].
        resolution: Number of ratios on the grid, and of those inside each gap, at least 5.
        progress: Whether to show bars on stderr.

    Raises:
        ValueError: If the densities are not numbers in (0, 1] or the resolution is below 5.
    """
    density = as_line("density", density, highest=1)
    resolution = check_count(f"resolution - {GAPS}", resolution - GAPS) + GAPS
    paying = paying_ratio(density, NORMS)
    onset, at = torch.cat((landau(density).onset[:, None], paying), dim=1).min(dim=1)
    onset_norm = torch.cat((torch.zeros(1), NORMS))[at]
    ratio, W, b = _optima_to_one(density, onset, resolution, progress)
    exchange = W[:, -1, 0].abs().sort(dim=1).values
    _keep_first_ahead(W, b)
    crossing = _widest_crossing(density, ratio, W, b)
    return Boundary(
        density=density,
        onset=onset,
        onset_norm=onset_norm,
        ratio=torch.where(crossing.kink > 0, crossing.ratio, onset),
        before=crossing.before,
        after=crossing.after,
        kink=crossing.kink / ignored_loss(1, density),
        exchange=exchange,
        paying=paying,
    )


class _Optima(NamedTuple):
    """The optimum on a grid of ratios r at each density."""

    ratio: Float[Tensor, "densities ratios"]
    W: Float[Tensor, "densities ratios 1 2"]
    b: Float[Tensor, "densities ratios 2"]


def _optima_to_one(density, onset, resolution, progress):
    """Return the optimum at ratios from just below the onset to 1, in equal steps of log(r)."""
    span = torch.linspace(0, 1, resolution, dtype=torch.float64)
    lowest = BEFORE_ONSET * onset[:, None]
    ratio = lowest ** (1 - span)
    optimum = scanned_optimum(
        density.repeat_interleave(resolution), ratio.flatten(), progress=progress
    )
    shape = (-1, resolution)
    return _Optima(ratio, optimum.W.unflatten(0, shape), optimum.b.unflatten(0, shape))


def _keep_first_ahead(W, b):
    """Exchange the features at r = 1, in place, where the optimum has the second one ahead.

    Both orders are equally good there. The one that continues smaller ratios has the first feature
    ahead.
    """
    swapped = W[:, -1, 0, 1].abs() > W[:, -1, 0, 0].abs()
    W[swapped, -1] = W[swapped, -1].flip(-1)
    b[swapped, -1] = b[swapped, -1].flip(-1)


class _Crossing(NamedTuple):
    """Where the losses of two solutions change order."""

    ratio: Float[Tensor, "*lines"]  # arbitrary where the losses do not cross
    before: Float[Tensor, "*lines"]  # |w_2| of the solution that is better below this ratio
    after: Float[Tensor, "*lines"]  # |w_2| of the other; that of the first where none cross
    kink: Float[Tensor, "*lines"]  # fall of the slope of the lower loss; 0 where none cross


def _widest_crossing(density, ratio, W, b):
    """Return the crossing with the widest jump of |w_2| at each density."""
    resolution = ratio.shape[1]
    gaps = W[:, :, 0, 1].abs().diff(dim=1).topk(GAPS).indices  # (densities, gaps)
    low = ratio.gather(1, gaps)[..., None]
    high = ratio.gather(1, gaps + 1)[..., None]
    span = torch.linspace(0, 1, resolution, dtype=torch.float64)
    inside = low * (high / low) ** span  # (densities, gaps, resolution)
    norm, loss = _follow(density, inside, W, b, gaps)
    crossing = _crossing(inside, norm, loss)  # of shape (densities, gaps)
    widest = (crossing.after - crossing.before).argmax(dim=1)
    every = torch.arange(len(density))
    return _Crossing(*(values[every, widest] for values in crossing))


def _follow(density, inside, W, b, gaps):
    """Follow the solutions at both ends of each gap through all ratios inside.

    Returns:
        |w_2| and loss of each followed solution: both (densities, gaps, 2 ends, inside).
    """
    shape = (*inside.shape[:2], 2, inside.shape[2])
    end = torch.stack((gaps, gaps + 1), dim=2)[..., None].expand(shape).flatten()
    line = torch.arange(len(density)).repeat_interleave(len(end) // len(density))
    ratio = inside[:, :, None].expand(shape).flatten()
    distribution = grid_distribution(2, density[line], ratio)
    reached = descend(W[line, end], b[line, end], distribution, steps=400, lr=3e-3)
    return reached.W[:, 0, 1].abs().view(shape), reached.loss.view(shape)


def _crossing(ratio, norm, loss):
    """Find where the losses of two solutions change order along the ratio.

    Where the two are no further apart than SAME_NORM, one has fallen into the other, and they
    cannot be compared.

    Args:
        ratio: Relative importance r (..., ratios).
        norm: |w_2| of both solutions (..., 2, ratios).
        loss: Their losses (..., 2, ratios).
    """
    apart = norm.diff(dim=-2)[..., 0, :].abs() > SAME_NORM
    difference = torch.where(apart, loss[..., 0, :] - loss[..., 1, :], torch.nan)
    change = first_sign_change(difference)
    point = change.point[..., None]

    def at(values, step=0):
        return values.gather(-1, point + step)[..., 0]

    width = at(ratio, 1) - at(ratio)
    slope = (at(difference, 1) - at(difference)) / width
    before = at(norm[..., 0, :])
    return _Crossing(
        ratio=at(ratio).lerp(at(ratio, 1), change.share),
        before=before,
        after=torch.where(change.found, at(norm[..., 1, :]), before),
        kink=torch.where(change.found, slope, 0),
    )


# How the second feature leaves zero


def paying_ratio(
    density: Real[Tensor, " densities"] | np.ndarray | Sequence,
    norm: Real[Tensor, " norms"] | np.ndarray | Sequence,
    *,
    steps: int = 400,
) -> Float[Tensor, "densities norms"]:
    """Return the ratio r from which on it pays to represent the second feature with a given |w_2|.

    The loss of n=2, m=1 is L_1 + r L_2. It is r c, with c = s/3 - s^2/4, where the second feature
    is ignored. So representing it pays from r = L_1 / (c - L_2) on, which is minimized over w_1
    and both biases, the features being opposite. The lowest ratio over all norms is the onset.
    Where it lies at the norm 0, the change is continuous; elsewhere it is first order.

    Args:
        density: Density s of both features, in (0, 1].
        norm: |w_2|, above 0.
        steps: Number of steps of the descent for each density and norm.

    Returns:
        The ratio, infinite where representing the second feature never pays.

    Raises:
        ValueError: If an argument is not what its description says.
    """
    density = as_line("density", density, highest=1)
    norm = as_line("norm", norm)
    steps = check_count("steps", steps)
    s = density.repeat_interleave(len(norm))
    v = norm.repeat(len(density))
    outputs = [FeatureDistribution(s[:, None].expand(-1, 2), one) for one in torch.eye(2).double()]
    expansion = landau(density)
    # Shifts of w_1, b_1 and b_2 in units of the norm, which are of the order of 1 for any norm.
    start = (expansion.alpha / 2, expansion.beta, 0 * density)
    shifts = torch.stack([x.repeat_interleave(len(norm)) for x in start]).requires_grad_()
    optimizer = torch.optim.Adam([shifts])
    for step in range(steps):
        cost, gain = _cost_and_gain(outputs, s, v, shifts)
        ratio = _ratio(cost, gain).detach().clamp(max=1.2)
        optimizer.param_groups[0]["lr"] = 2e-2 * (1 - step / steps)
        optimizer.zero_grad()
        # What lowers the loss at this ratio lowers the ratio.
        ((cost - ratio * gain) / v**2).sum().backward()
        optimizer.step()
    with torch.no_grad():
        return _ratio(*_cost_and_gain(outputs, s, v, shifts)).view(len(density), -1)


def _cost_and_gain(outputs, density, norm, shifts):
    """Return L_1, and c - L_2, of weights (w_1, -norm) and biases at these shifts."""
    w_1 = 1 + norm * shifts[0]
    b_1 = norm * shifts[1]
    b_2 = density / 2 + norm * shifts[2]
    W = torch.stack((w_1, -norm), dim=1)[:, None]
    b = torch.stack((b_1, b_2), dim=1)
    cost = expected_loss(W, b, outputs[0])
    gain = ignored_loss(1, density) - expected_loss(W, b, outputs[1])
    return cost, gain


def _ratio(cost, gain):
    """Return the ratio at which a gain makes up for a cost; infinite where there is no gain."""
    return torch.where(gain > 0, cost / gain, torch.inf)


class Landau(NamedTuple):
    """The loss of n=2, m=1 expanded in a small w_2 = -v < 0, at the best w_1 and biases."""

    alpha: Float[Tensor, " densities"]  # w_1^2 = 1 + alpha v
    beta: Float[Tensor, " densities"]  # b_1 = beta v
    onset: Float[Tensor, " densities"]  # ratio r at which the coefficient of v^2 changes its sign
    cubic: Float[Tensor, " densities"]  # coefficient of v^3 there


def landau(density: Real[Tensor, " densities"] | np.ndarray | Sequence) -> Landau:
    """Expand the loss of n=2, m=1 in a small norm of the second feature.

    The second feature can grow out of zero continuously where the cubic term is above 0.

    The second output never clips. It gains r c (v^2 - alpha v^3), where c = s/3 - s^2/4. The first
    output has no loss at v = 0. To order v^2 it has

        F = s E[(beta + alpha x_1 - x_2)^2] + (1 - s) E[max(beta - x_2, 0)^2],

    where the first term has feature 1 active, with x_1 uniform on [0, 1], and the second has it
    off, where the output is clipped at zero. F is least at alpha = 3 (s - 2 beta) / 4 and

        s (1 - s) beta^2 + (2 (1 - s)^2 + s/2) beta = s^2 / 4,

    and the onset is r = F / c. Two terms of order v^3 are left. One comes from
    w_1 w_2 = -v (1 + alpha v / 2). The other comes from a feature 1 that is active but below
    v (x_2 - beta): the output is then clipped, which saves (2/3) s E[max(x_2 - beta, 0)^3].

    Args:
        density: Density s of both features, in (0, 1]. There may be none.

    Raises:
        ValueError: If the densities are not numbers in (0, 1].
    """
    s = _densities(density)
    half = (1 - s) ** 2 + s / 4
    beta = s**2 / 4 / (half + (half**2 + s**3 * (1 - s) / 4).sqrt())
    alpha = 3 * (s - 2 * beta) / 4
    active = alpha**2 / 3 + alpha * beta + beta**2 - (alpha / 2 + beta) * s + s / 3
    idle = (1 - s) * beta**2 + s * beta**3 / 3  # E[max(beta - x_2, 0)^2]
    square = s * active + (1 - s) * idle
    with_active = s / 2 * (beta + alpha / 2) - s / 3  # E[x_2 (beta + alpha x_1 - x_2)]
    with_idle = s * beta**3 / 6  # E[x_2 max(beta - x_2, 0)]
    saved = s * (1 - beta) ** 4 / 4  # E[max(x_2 - beta, 0)^3]
    cubic = alpha * (square - s * with_active - (1 - s) * with_idle) - 2 / 3 * s * saved
    return Landau(alpha, beta, square / ignored_loss(1, s), cubic)


def _densities(density):
    """Return densities in (0, 1], of which there may be none, as a float64 tensor."""
    density = as_real("density", density)
    return as_line("density", density, highest=1) if density.numel() else density


def tricritical_densities() -> Float[Tensor, " densities"]:
    """Return the densities at which the cubic term of `landau` changes its sign, ascending.

    There are two. The second feature grows out of zero continuously between them, and by a jump at
    lower and at higher densities.
    """
    line = torch.linspace(0.01, 1, CUBIC_POINTS, dtype=torch.float64)
    change = (landau(line).cubic.sign().diff() != 0).nonzero()[:, 0]
    low = line[change]
    high = line[change + 1]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        before = landau(middle).cubic.sign() == landau(low).cubic.sign()
        low = torch.where(before, middle, low)
        high = torch.where(before, high, middle)
    return low


def named_boundary(
    density: Real[Tensor, " densities"] | np.ndarray | Sequence,
) -> Float[Tensor, " densities"]:
    """Return the ratio r <= 1 from which on an antipodal pair beats ignoring the second feature.

    Both are named solutions of n=2, m=1. Their losses are equal where r (s/3 - s^2/4) = (1 + r)
    s^2 / 6. Where that needs r > 1, the two features change places at r = 1.

    Args:
        density: Density s of both features, in (0, 1]. There may be none.

    Raises:
        ValueError: If the densities are not numbers in (0, 1].
    """
    density = _densities(density)
    return torch.where(density < 4 / 7, density / (2 - 2.5 * density), 1.0)
