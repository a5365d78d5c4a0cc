"""Kinds of solutions followed along a line on which their crossing is known."""

import pytest
import torch

from features import FeatureDistribution
from losses.exact import expected_loss
from theory import kinds
from theory.descents import Minima, ignored_loss, random_descents
from theory.kinds import INSIDE, best_of_kinds, crossings, precision, values_at


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def two_features(density, ratio):
    """Return the inputs of n=2 at each density (points,), with importances 1 and ratio."""
    return FeatureDistribution(density[:, None], numbers(1, ratio))


# All on n=2, m=1, at the relative importance at which the boundary lies at density 0.3.

RATIO = 0.2045  # from the optimum on a grid of 400 ratios
IGNORED, PAIR = (
    numbers([1, 0]),
    numbers([1, -0.7]),
)  # the second feature not represented, and in an antipodal pair
LINE = numbers(0.2, 0.26, 0.34, 0.42)


def second_represented(W):
    """Return 0 where the second feature is not represented, 1 where it is."""
    return (W[:, 0, 1].abs() > 0.3).long()


def kinds_on_line(starts, kind=second_represented, density=LINE, **options):
    """Return inputs along a line of densities and the minima from starts (points, starts, 1, 2)."""
    distribution = two_features(density, RATIO)
    W = starts.expand(len(density), -1, 1, 2)
    b = torch.zeros(*W.shape[:2], 2, dtype=torch.float64)
    b[:, :, 1] = 0.1
    options = {"lines": 1, "steps": 300, "lr": 1e-2, "progress": False} | options
    return distribution, best_of_kinds(W, b, distribution, kind=kind, kinds=2, **options)


def test_best_of_kinds_holds_the_optimum():
    """The lower of the two is the best of many random descents, and both are of their kind."""
    distribution, found = kinds_on_line(torch.stack((IGNORED, PAIR)))
    descended = random_descents(distribution, 1, 64, steps=400, seed=0)
    torch.testing.assert_close(
        found.loss.amin(dim=1), descended.loss.amin(dim=1), rtol=1e-4, atol=0
    )
    assert found.loss.argmin(dim=1).tolist() == [1, 1, 0, 0]
    torch.testing.assert_close(found.loss[:, 0], ignored_loss(RATIO, LINE), rtol=1e-4, atol=0)
    for k in (0, 1):
        there = found.loss[:, k].isfinite()
        assert (second_represented(found.W[there, k]) == k).all()
        of_kind = expected_loss(found.W[there, k], found.b[there, k], distribution.select(there))
        torch.testing.assert_close(found.loss[there, k], of_kind)
    assert found.W.shape == (4, 2, 1, 2) and found.b.shape == (4, 2, 2)


def test_a_lower_minimum_of_a_kind_replaces_a_higher_one_along_a_line():
    """With a single kind, a pair found only at the first density still wins where it is better."""
    starts = IGNORED.expand(4, 1, 1, 2).clone()
    starts[0] = PAIR
    _, found = kinds_on_line(starts, kind=lambda W: torch.zeros(len(W), dtype=torch.long))
    _, both = kinds_on_line(torch.stack((IGNORED, PAIR)))
    torch.testing.assert_close(found.loss[:, 0], both.loss.amin(dim=1), rtol=1e-4, atol=0)


def test_kinds_are_handed_on_along_a_line():
    """A pair found only at the first density is handed on to all where it is a local minimum."""
    starts = IGNORED.expand(4, 1, 1, 2).clone()
    starts[0] = PAIR
    _, found = kinds_on_line(starts)
    _, both = kinds_on_line(torch.stack((IGNORED, PAIR)))
    torch.testing.assert_close(found.loss, both.loss, rtol=1e-4, atol=0)
    # Nothing is handed on where it is not worth it.
    _, less = kinds_on_line(starts, worth=0)
    assert less.loss.isfinite().tolist() == [
        [False, True],
        [True, False],
        [True, False],
        [True, False],
    ]


def test_nothing_is_handed_on_to_another_line():
    starts = IGNORED.expand(4, 1, 1, 2).clone()
    starts[:2] = PAIR
    _, found = kinds_on_line(starts, lines=2)
    assert found.loss.isfinite().tolist() == [
        [False, True],
        [False, True],
        [True, False],
        [True, False],
    ]


@pytest.mark.usefixtures("unchecked")
def test_lines_must_divide_the_points():
    with pytest.raises(ValueError, match="lines: expected a divisor of 4 points, got 3"):
        kinds_on_line(IGNORED.expand(4, 1, 1, 2), lines=3)


def test_crossing_is_at_the_known_boundary():
    distribution, found = kinds_on_line(torch.stack((IGNORED, PAIR)))
    crossing = crossings(found, distribution, 1, second_represented, steps=300)
    assert crossing.line.tolist() == [0] and (crossing.below.item(), crossing.above.item()) == (
        1,
        0,
    )
    assert crossing.met.all()
    share = crossing.position.item() - 1  # of the way from 0.26 to 0.34
    assert 0.26 * (0.34 / 0.26) ** share == pytest.approx(0.3, rel=0.005)


def test_crossings_of_several_lines_and_of_none():
    density = numbers(0.42, 0.34, 0.26, 0.2, 0.2, 0.22, 0.24, 0.26)
    distribution, found = kinds_on_line(torch.stack((IGNORED, PAIR)), density=density, lines=2)
    crossing = crossings(found, distribution, 2, second_represented, steps=300)
    assert crossing.line.tolist() == [0] and (crossing.below.item(), crossing.above.item()) == (
        0,
        1,
    )
    assert 0.34 * (0.26 / 0.34) ** (crossing.position.item() - 1) == pytest.approx(0.3, rel=0.005)
    none = Minima(found.W[4:], found.b[4:], found.loss[4:])
    crossing = crossings(none, distribution.select(slice(4, 8)), 1, second_represented, steps=300)
    assert all(len(values) == 0 for values in crossing)


def test_where_a_kind_ends_before_the_losses_cross_the_best_kind_changes_there(monkeypatch):
    """The kind is made to end half-way from 0.26 to 0.3, the density at which the losses cross."""
    distribution, found = kinds_on_line(torch.stack((IGNORED, PAIR)))

    def followed(*arguments):
        losses = torch.stack(
            (torch.linspace(1, 2, INSIDE), torch.linspace(1.5, 1.6, INSIDE)), dim=0
        )[None].double()
        losses[:, 0, 5:] = torch.inf
        return losses

    monkeypatch.setattr(kinds, "_followed", followed)
    crossing = crossings(found, distribution, 1, second_represented, steps=1)
    assert (
        crossing.position.item() == pytest.approx(1 + 4.5 / (INSIDE - 1)) and not crossing.met.any()
    )


def test_where_no_solution_reaches_a_crossing_there_is_none():
    """No descent stays in the kind that is best at low densities."""
    _, found = kinds_on_line(torch.stack((IGNORED, PAIR)))
    distribution = two_features(LINE, RATIO)
    crossing = crossings(
        found, distribution, 1, lambda W: torch.zeros(len(W), dtype=torch.long), steps=10
    )
    assert found.loss.argmin(dim=1).unique().tolist() == [0, 1]
    assert all(len(values) == 0 for values in crossing)


def test_values_between_points_are_logarithmic():
    lines = numbers(1, 10, 1000).expand(3, -1)
    torch.testing.assert_close(values_at(lines, numbers(0.5, 1, 1.5)), numbers(10**0.5, 10, 100))
    assert precision(numbers(1, 2**0.5)) == pytest.approx(2 ** (0.5 / (INSIDE - 1)) - 1)
