"""The boundary of n=2, m=1: where the phase of the second feature changes, and whether it does so by a jump."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from checks import as_line, check_count
from features import FeatureDistribution
from losses.exact import expected_loss
from theory.descents import descend, ignored_loss
from theory.phases import grid_distribution, scanned_optimum


class Boundary(NamedTuple):
    """How the second feature of n=2, m=1 comes to be represented as r grows to 1, at each density."""

    density: Float[Tensor, " densities"]
    onset: Float[
        Tensor, " densities"
    ]  # relative importance r from which on it is better to represent it at all
    onset_norm: Float[
        Tensor, " densities"
    ]  # |w_2| there: 0 where it grows out of zero continuously
    ratio: Float[
        Tensor, " densities"
    ]  # r below 1 at which the losses of two followed solutions cross
    before: Float[
        Tensor, " densities"
    ]  # |w_2| of the two there; equal where no losses cross, and the ratio the onset
    after: Float[Tensor, " densities"]
    kink: Float[
        Tensor, " densities"
    ]  # by how much the slope of the optimal loss in r falls, over s/3 - s^2/4; or 0
    exchange: Float[
        Tensor, "densities 2"
    ]  # |w_2| on either side of r = 1, where the features change places
    paying: Float[Tensor, "densities norms"]  # `paying_ratio` of NORMS


ONSET = 0.02  # of |w_2|; solutions that differ by less are the same
NORMS = torch.linspace(
    0.01, 1, 100, dtype=torch.float64
)  # of |w_2|, of which the lowest paying ratio is the onset


def optimum_boundary(
    density: Float[Tensor, " densities"], *, resolution=120, progress=True
) -> Boundary:
    """The phase change of n=2, m=1 along r <= 1 at each density.

    The onset is the lowest of the paying ratios. The optimum on a fine grid of r from there on shows in which four gaps
    of the grid |w_2| changes most. The solutions at both ends of a gap are followed across it: where they stay apart
    and their difference in loss changes its sign the change is first order, with a jump; where they meet it is smooth.
    At r = 1 the features change places, which moves |w_2| to |w_1| wherever the optimum is not symmetric: that jump
    follows from the symmetry alone. r > 1 is the same with the features exchanged.
    Raises ValueError for densities outside of (0, 1] and a resolution below 5.
    """
    density = as_line("density", density, highest=1)
    check_count("resolution - 4", resolution - 4)  # the four largest changes are looked into
    paying = paying_ratio(density, NORMS)
    onset, at = torch.cat((landau(density).onset[:, None], paying), dim=1).min(dim=1)
    onset_norm = torch.cat((torch.zeros(1), NORMS))[at]
    span = torch.linspace(0, 1, resolution, dtype=torch.float64)
    lowest = 0.95 * onset[:, None]
    ratio = lowest ** (1 - span)  # (densities, resolution), to 1
    optimum = scanned_optimum(
        density.repeat_interleave(resolution), ratio.flatten(), progress=progress
    )
    W, b = (values.unflatten(0, (-1, resolution)) for values in (optimum.W, optimum.b))
    exchange = W[:, -1, 0].abs().sort(dim=1).values
    swapped = W[:, -1, 0, 1].abs() > W[:, -1, 0, 0].abs()  # at r = 1 as good
    W[swapped, -1], b[swapped, -1] = W[swapped, -1].flip(-1), b[swapped, -1].flip(-1)
    gaps = W[:, :, 0, 1].abs().diff(dim=1).topk(4).indices  # (densities, 4)
    low, high = (ratio.gather(1, end)[..., None] for end in (gaps, gaps + 1))
    inside = low * (high / low) ** span  # (densities, gaps, resolution)
    crossing = _crossing(inside, *_follow(density, inside, W, b, gaps))  # four of (densities, gaps)
    widest = torch.arange(len(density)), (crossing.after - crossing.before).argmax(dim=1)
    ratio, before, after, kink = (values[widest] for values in crossing)
    ratio = torch.where(kink > 0, ratio, onset)
    return Boundary(
        density,
        onset,
        onset_norm,
        ratio,
        before,
        after,
        kink / ignored_loss(1, density),
        exchange,
        paying,
    )


class _Crossing(NamedTuple):
    ratio: Tensor
    before: Tensor
    after: Tensor
    kink: Tensor  # 0 where there is none


def _crossing(inside, norm, loss):
    """Where the losses (..., 2, inside) of two solutions of |w_2| `norm` change order at ratios (..., inside)."""
    ahead = loss[..., 0, :] - loss[..., 1, :]  # below zero before the crossing
    apart = (
        norm.diff(dim=-2)[..., 0, :].abs() > ONSET
    )  # where it ends, a solution falls into the other
    crossed = (ahead[..., :-1] <= 0) & (ahead[..., 1:] > 0) & apart[..., :-1] & apart[..., 1:]
    first = crossed.int().argmax(dim=-1, keepdim=True)

    def there(values, step=0):
        return values.gather(-1, first + step)[..., 0]

    share = there(ahead) / (there(ahead) - there(ahead, 1)).clamp(max=-1e-300)
    ratio = there(inside).lerp(there(inside, 1), share)
    before, after = (there(of) for of in norm.unbind(dim=-2))
    slope = (there(ahead, 1) - there(ahead)) / (there(inside, 1) - there(inside))
    found = crossed.any(dim=-1)
    return _Crossing(ratio, before, torch.where(found, after, before), torch.where(found, slope, 0))


def _follow(density, inside, W, b, gaps):
    """Solutions at both ends of each gap at all ratios inside: |w_2| and loss (densities, gaps, ends, inside)."""
    shape = (*inside.shape[:2], 2, inside.shape[2])
    ends = torch.stack((gaps, gaps + 1), dim=2)[..., None].expand(shape).flatten()
    at = torch.arange(len(density)).repeat_interleave(len(ends) // len(density))
    distribution = grid_distribution(2, density[at], inside[:, :, None].expand(shape).flatten())
    model, losses = descend(W[at, ends], b[at, ends], distribution, steps=400, lr=3e-3)
    return model.W.detach()[:, 0, 1].abs().view(shape), losses.view(shape)


def paying_ratio(
    density: Float[Tensor, " densities"], norm: Float[Tensor, " norms"], *, steps=400
) -> Float[Tensor, "densities norms"]:
    """Relative importance from which on it pays to represent the second feature of n=2, m=1 by |w_2| = norm > 0.

    Of a loss L_1 + r L_2, which is r c, c = s/3 - s^2/4, where it is ignored, that is L_1 / (c - L_2), the least over
    w_1 and both biases, the features being opposite. At its lowest over the norm is the onset; where that is at zero
    the change is continuous, else first order.
    """
    s, v = density.repeat_interleave(len(norm)), norm.repeat(len(density))
    c, of = ignored_loss(1, s), torch.eye(2, dtype=torch.float64)
    outputs = [FeatureDistribution(s[:, None].expand(-1, 2), importance) for importance in of]
    expansion = landau(density)
    of_w, of_b = (x.repeat_interleave(len(norm)) for x in (expansion.alpha / 2, expansion.beta))
    shifts = torch.stack(
        (of_w, of_b, 0 * s)
    ).requires_grad_()  # of w_1, b_1, b_2 by norm; of the order of 1 for any
    optimizer = torch.optim.Adam([shifts])
    for step in range(steps + 1):
        w_1, b_1, b_2 = (start + v * shift for start, shift in zip((1, 0, s / 2), shifts))
        W, b = torch.stack((w_1, -v), dim=1)[:, None], torch.stack((b_1, b_2), dim=1)
        cost, gain = expected_loss(W, b, outputs[0]), c - expected_loss(W, b, outputs[1])
        ratio = torch.where(gain > 0, cost / gain, torch.inf)
        if step < steps:  # downhill for the ratio is downhill for the loss at it
            optimizer.param_groups[0]["lr"] = 2e-2 * (1 - step / steps)
            optimizer.zero_grad()
            ((cost - ratio.detach().clamp(max=1.2) * gain) / v**2).sum().backward()
            optimizer.step()
    return ratio.detach().view(len(density), -1)


class Landau(NamedTuple):
    """The loss of n=2, m=1 expanded in a small w_2 = -v < 0, at its best over w_1 and both biases."""

    alpha: Float[Tensor, " densities"]  # w_1^2 = 1 + alpha v
    beta: Float[Tensor, " densities"]  # b_1 = beta v
    onset: Float[Tensor, " densities"]  # r at which the coefficient of v^2 changes its sign
    cubic: Float[Tensor, " densities"]  # the coefficient of v^3 there


def landau(density: Float[Tensor, " densities"]) -> Landau:
    """Whether the second feature of n=2, m=1 can grow out of zero continuously: where the cubic term is above 0.

    Of the second output, which never clips, r c (v^2 - alpha v^3) is gained, c = s/3 - s^2/4. The first has no loss at
    v = 0, and to order v^2 it has F = s E[(beta + alpha x_1 - x_2)^2] + (1 - s) E[max(beta - x_2, 0)^2]: with feature 1
    active (x_1 uniform on [0, 1]) and, clipped at zero, without. F is least at alpha = 3 (s - 2 beta) / 4 and

        s (1 - s) beta^2 + (2 (1 - s)^2 + s/2) beta = s^2 / 4,

    and the onset is r = F / c. At order v^3 w_1 w_2 = -v (1 + alpha v / 2) counts, and a feature 1 that is active but
    below v (x_2 - beta), so that the output is clipped, which saves (2/3) s E[max(x_2 - beta, 0)^3].
    """
    s = density
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


def tricritical_densities() -> Float[Tensor, " densities"]:
    """Densities at which the cubic term of `landau` changes its sign: continuous between them, first order beyond."""
    grid = torch.linspace(0.01, 1, 100, dtype=torch.float64)
    change = (landau(grid).cubic.sign().diff() != 0).nonzero()[:, 0]
    low, high = grid[change], grid[change + 1]
    for _ in range(50):
        middle = (low + high) / 2
        before = landau(middle).cubic.sign() == landau(low).cubic.sign()
        low, high = torch.where(before, middle, low), torch.where(before, high, middle)
    return low


def named_boundary(density: Float[Tensor, " densities"]) -> Float[Tensor, " densities"]:
    """Relative importance r <= 1 from which on an antipodal pair beats ignoring the second feature (n=2, m=1).

    From r (s/3 - s^2/4) = (1 + r) s^2 / 6; where that needs r > 1, the two features change places at r = 1.
    """
    return torch.where(density < 4 / 7, density / (2 - 2.5 * density), 1.0)
