"""The boundary of the phase, against scans, the exact loss and the named solutions."""

import numpy as np
import pytest
import torch

from losses.exact import expected_loss
from theory import boundary, phases
from theory.boundary import named_boundary
from theory.descents import ignored_loss
from theory.phases import scanned_optimum


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


# Ratio of the crossing below r = 1, and |w_2| before and after it, on a fine grid, by density.
BOUNDARY = {
    0.01: (0.0043, 0.0, 0.587),
    0.3: (0.2045, 0.0, 0.691),
    0.3162: (0.2228, 0.0, 0.699),
    # In denser features |w_2| rises smoothly first and jumps later.
    0.6: (0.8077, 0.363, 0.711),
    0.625: (0.8715, 0.408, 0.685),
    0.66: (0.9435, 0.473, 0.662),
    0.7: (0.995, 0.517, 0.715),
    # In the densest it jumps out of zero a little; at r = 1 the features change places.
    1.0: (0.9888, 0.0, 0.202),
}
SMOOTH = 0.8  # a density at which |w_2| does not jump below r = 1


@pytest.fixture(scope="module")
def line():
    return boundary.optimum_boundary(numbers(*BOUNDARY, SMOOTH), progress=False)


@pytest.mark.parametrize("density", BOUNDARY)
def test_boundary(line, density):
    k = list(BOUNDARY).index(density)
    ratio, before, after = BOUNDARY[density]
    assert line.density[k] == density
    assert line.ratio[k].item() == pytest.approx(ratio, rel=0.01)
    assert line.before[k].item() == pytest.approx(before, abs=0.01)
    assert line.after[k].item() == pytest.approx(after, abs=0.01)
    assert line.kink[k] > 0.01
    # Where |w_2| jumps out of zero, the two ways to find the jump agree.
    if before == 0:
        assert line.onset[k].item() == pytest.approx(line.ratio[k].item(), rel=1e-3)
        assert line.onset_norm[k].item() == pytest.approx(after, abs=0.01)
    else:
        assert line.onset_norm[k] == 0 and line.onset[k] < 0.95 * line.ratio[k]


def test_smooth_boundary(line):
    density, onset, onset_norm, ratio, before, after, kink, exchange, _ = (
        values[-1] for values in line
    )
    assert density == SMOOTH and onset == ratio and before == after and onset_norm == kink == 0
    assert (
        exchange[1] - exchange[0] > 0.4
    )  # where the features change places, at r = 1, the weights do
    assert onset == boundary.landau(density[None]).onset


def test_exchange_is_none_where_the_optimum_is_symmetric(line):
    forced = line.exchange.diff(dim=1)[:, 0]
    assert ((forced > 0.02) == (line.density > 0.75)).all() and forced.min() >= 0


def test_boundary_in_sparse_features_is_below_the_named_one(line):
    sparse = line.density < 0.5  # the optimum has better weights than the named solutions
    assert (line.ratio[sparse] < named_boundary(line.density[sparse])).all()


def test_losses_cross_at_the_boundary(line):
    """On either side of the jump the optimum is as far along as the boundary says."""
    found = boundary.Boundary(*(values[line.density == 0.3] for values in line))
    ratio = found.ratio * numbers(0.99, 1.01)
    best = scanned_optimum(numbers(0.3, 0.3), ratio, progress=False)
    w_2 = best.W[:, 0, 1].abs()
    torch.testing.assert_close(w_2, torch.cat((found.before, found.after)), rtol=0, atol=0.02)
    slope = best.loss / ignored_loss(1, 0.3)  # 1 * r where the second feature is ignored
    assert slope[0] == pytest.approx(ratio[0].item(), rel=1e-6) and slope[1] < 0.999 * ratio[1]


RATIOS_INSIDE = numbers(0.2, 0.4, 0.6, 0.8)
# |w_2| of two solutions over RATIOS_INSIDE, their losses, and the ratio of the crossing, if any.
CROSSINGS = {
    "crossing": ([0, 0, 0, 0], [0.6] * 4, [1, 2, 3, 4], [2, 2.5, 3, 3.5], 0.6),
    "crossing between points": ([0.1] * 4, [0.6] * 4, [1, 2, 3, 4], [2.5] * 4, 0.5),
    "touching, with no change of sign": (
        [0, 0, 0, 0],
        [0.6] * 4,
        [1, 2, 3, 4],
        [1.5, 2.1, 3.1, 4.5],
        None,
    ),
    "always better": ([0, 0, 0, 0], [0.6] * 4, [3, 4, 5, 6], [2, 3, 4, 5], None),
    "the same solution": (
        [0.3, 0.4, 0.5, 0.6],
        [0.31, 0.41, 0.51, 0.61],
        [1, 2, 3, 4],
        [2, 2.5, 2.9, 3.5],
        None,
    ),
    "one falls into the other before": (
        [0, 0, 0.6, 0.6],
        [0.6] * 4,
        [1, 2, 2.9, 3.4],
        [2, 2.5, 2.9, 3.4],
        None,
    ),
}


@pytest.mark.parametrize("low, high, loss_low, loss_high, ratio", CROSSINGS.values(), ids=CROSSINGS)
def test_a_crossing_is_a_change_of_sign(low, high, loss_low, loss_high, ratio):
    norm, loss = numbers([[low, high]])[0], numbers([[loss_low, loss_high]])[0]
    found = boundary._crossing(RATIOS_INSIDE[None], norm, loss)
    if ratio is None:
        assert found.kink == 0 and found.before == found.after
    else:
        assert found.ratio.item() == pytest.approx(ratio) and found.after - found.before >= 0.5
        assert found.kink.item() == pytest.approx(
            (loss_low[1] - loss_low[0] - loss_high[1] + loss_high[0]) / 0.2
        )


# How the second feature leaves zero


def test_paying_ratio_of_known_solutions():
    """A pair without biases pays from the named boundary on, the best a little sooner."""
    density = numbers(0.05, 0.3)
    paying, pair = boundary.paying_ratio(density, numbers(1.0))[:, 0], named_boundary(density)
    assert (paying <= pair * (1 + 1e-6)).all() and (paying > 0.8 * pair).all()


def test_nothing_pays_below_the_lowest_paying_ratio():
    density = numbers(0.05, 0.3, 0.9)
    lowest = boundary.paying_ratio(density, boundary.NORMS).amin(dim=1)
    represented = [
        scanned_optimum(density, lowest * by, progress=False).W[:, 0, 1].abs() > 0.02
        for by in (0.999, 1.001)
    ]
    assert not represented[0].any() and represented[1].all()


@pytest.mark.parametrize("which, near, rising", [(0, 0.52, 1), (1, 0.838, -1)])
def test_tricritical_density_from_the_minimum_over_small_weights(which, near, rising):
    """The slope of the paying ratio at |w_2| = 0, from the exact loss alone, changes its sign."""
    density, h = numbers(near - 0.006, near + 0.006), 0.006
    one, two, three = boundary.paying_ratio(density, h * numbers(1, 2, 3), steps=1000).T
    slope = (-5 * one + 8 * two - 3 * three) / (2 * h)  # of the parabola through the three ratios
    assert rising * slope[0] < 0 < rising * slope[1]
    crossing = density[0] - slope[0] * (density[1] - density[0]) / (slope[1] - slope[0])
    assert boundary.tricritical_densities()[which].item() == pytest.approx(
        crossing.item(), abs=1e-3
    )
    expected = boundary.landau(density)
    torch.testing.assert_close(slope, expected.cubic / ignored_loss(1, density), rtol=0, atol=2e-3)
    torch.testing.assert_close(3 * one - 3 * two + three, expected.onset, rtol=0, atol=2e-5)


def test_expansion_agrees_with_the_exact_loss():
    """The loss at the expansion's weights differs from the expansion only in the order of v^4."""
    density, v = numbers(0.2, 0.52, 0.95), 1e-3
    expansion = boundary.landau(density)
    w_1, b_1 = (1 + expansion.alpha * v).sqrt(), expansion.beta * v
    W = torch.stack((w_1, 0 * w_1 - v), dim=1)[:, None]
    mean = density / 2
    b = torch.stack(
        (b_1, mean - v**2 * mean + w_1 * v * mean), dim=1
    )  # the second output is right on average
    loss = expected_loss(W, b, phases.grid_distribution(2, density, expansion.onset))
    rise = (loss - expansion.onset * ignored_loss(1, density)) / v**3
    torch.testing.assert_close(rise, expansion.cubic, rtol=0, atol=2 * v)


def test_tricritical_densities_are_zeros_of_the_cubic_term():
    critical = boundary.tricritical_densities()
    assert critical.tolist() == pytest.approx([0.5202, 0.8373], abs=1e-4)
    assert boundary.landau(critical).cubic.abs().max() < 1e-12
    assert boundary.landau(numbers(0.3, 0.7, 0.9)).cubic.sign().tolist() == [-1, 1, -1]


def test_named_boundary_solves_its_equation():
    s = torch.linspace(0.001, 0.57, 50, dtype=torch.float64)
    r = named_boundary(s)
    torch.testing.assert_close(
        ignored_loss(r, s), phases.antipodal_loss(1, r, s), rtol=1e-12, atol=0
    )
    assert (r.diff() > 0).all() and r[-1] < 1
    # In features denser than 4/7 the pair never beats ignoring the less important feature.
    dense = torch.linspace(4 / 7 + 1e-9, 1, 20, dtype=torch.float64)
    assert (named_boundary(dense) == 1).all()
    assert (phases.antipodal_loss(1, 1, dense) >= ignored_loss(1, dense)).all()


def test_any_array_of_densities_will_do():
    strided = np.array([9.0, 0.2, 9.0, 0.5])[1::2]
    for function in (boundary.landau, boundary.named_boundary):
        expected = function(numbers(0.2, 0.5))
        for density in (strided, [0.2, 0.5]):
            torch.testing.assert_close(function(density), expected, rtol=0, atol=0)
    assert boundary.named_boundary([]).shape == boundary.landau(numbers()).onset.shape == (0,)


@pytest.mark.usefixtures("unchecked")
def test_bad_densities_and_norms_are_refused():
    for function in (boundary.landau, boundary.named_boundary, boundary.optimum_boundary):
        with pytest.raises(ValueError, match="density: expected"):
            function([1.5])
    with pytest.raises(ValueError, match="norm: expected"):
        boundary.paying_ratio([0.5], [0.0])
