"""Named solutions, phases and optima against the exact loss, sampling and random descents."""

import json
import math

import numpy as np
import pytest
import torch

from geometry import in_superposition
from losses.exact import expected_loss
from models import ReLUOutputModel
from theory import phases
from theory.descents import ignored_loss
from theory.phases import (
    NAMED_SOLUTIONS,
    descended_optimum,
    nearest_named,
    optimum,
    scanned_optimum,
)

SOLUTIONS = [
    pytest.param(n, k, id=s.name)
    for n, named in NAMED_SOLUTIONS.items()
    for k, s in enumerate(named)
]
each_solution = pytest.mark.parametrize("features, k", SOLUTIONS)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def points(densities, ratios):
    """Return a grid of density and ratio, flattened."""
    return numbers(*densities).repeat_interleave(len(ratios)), numbers(*ratios).repeat(
        len(densities)
    )


def named_model(features, k, density):
    """Return a named solution at each density; its bias is density/2 for features left out."""
    W = torch.tensor(NAMED_SOLUTIONS[features][k].W, dtype=torch.float64).expand(
        len(density), -1, -1
    )
    return W, torch.where(W.norm(dim=1) == 0, density[:, None] / 2, 0)


# Named solutions


@each_solution
def test_losses_of_named_solutions_are_exact(features, k):
    density, ratio = points([1.0, 0.7, 0.3, 0.01], [0.1, 0.5, 1.0, 10.0])
    exact = expected_loss(
        *named_model(features, k, density), phases.grid_distribution(features, density, ratio)
    )
    torch.testing.assert_close(
        phases.named_losses(features, density, ratio)[:, k], exact, rtol=1e-9, atol=0
    )


@each_solution
def test_losses_of_named_solutions_agree_with_sampling(features, k):
    density, ratio = points([1.0, 0.3], [0.2, 3.0])
    distribution = phases.grid_distribution(features, density, ratio)
    x = distribution.sample(2**17, torch.Generator().manual_seed(0), torch.float64)
    sampled = ReLUOutputModel.from_weights(*named_model(features, k, density)).loss(
        x, distribution.importance
    )
    torch.testing.assert_close(
        phases.named_losses(features, density, ratio)[:, k], sampled.detach(), rtol=0.03, atol=0
    )


def test_losses_by_hand():
    assert ignored_loss(1, 1) == pytest.approx(1 / 12)  # the variance of a uniform number
    assert ignored_loss(2, 0.1) == pytest.approx(2 * (0.1 / 3 - 0.0025))
    assert phases.antipodal_loss(1, 1, 1) == pytest.approx(1 / 3)
    assert phases.antipodal_loss(1, 3, 0.3) == pytest.approx(0.06)


@each_solution
def test_weights_are_what_the_name_says(features, k):
    solution = NAMED_SOLUTIONS[features][k]
    W, vector = numbers(*solution.W), numbers(*json.loads(solution.name[4:]))
    assert W.shape == (features - 1, features)
    if "⟂" in solution.name:
        assert (W @ vector == 0).all() and torch.linalg.matrix_rank(W) == features - 1
    else:
        assert torch.equal(W[0], vector)


# Features, density, ratio and index of the best named solution, by corner of the diagram.
REGIONS = {
    "two dense features, the last unimportant": (2, 1.0, 0.1, 0),
    "two dense features, the last important": (2, 1.0, 10.0, 1),
    "two sparse features, the last unimportant": (2, 0.01, 0.1, 2),
    "two sparse features alike": (2, 0.01, 1.0, 2),
    "two sparse features, the last important": (2, 0.01, 10.0, 2),
    "three dense features, the last unimportant": (3, 1.0, 0.1, 0),
    "three dense features, the last important": (3, 1.0, 10.0, 1),
    "three sparse features, the last unimportant": (3, 0.01, 0.1, 2),
    "three sparse features, the last important": (3, 0.01, 10.0, 3),
}


@pytest.mark.parametrize("features, density, ratio, expected", REGIONS.values(), ids=REGIONS)
def test_best_named(features, density, ratio, expected):
    lowest, W = phases.best_named(features, numbers(density), numbers(ratio))
    assert lowest.tolist() == [expected]
    assert W.tolist() == [[list(row) for row in NAMED_SOLUTIONS[features][expected].W]]


@pytest.mark.parametrize("features", NAMED_SOLUTIONS)
def test_shapes_over_points(features):
    density, ratio = points([1.0, 0.1], [0.1, 1.0, 10.0])
    lowest, W = phases.best_named(features, density, ratio)
    assert phases.named_losses(features, density, ratio).shape == (
        6,
        len(NAMED_SOLUTIONS[features]),
    )
    assert (
        lowest.shape == (6,) and W.shape == (6, features - 1, features) and W.dtype == torch.float64
    )


def turned(W, generator):
    """Return the same features in a hidden space that is turned at random."""
    return torch.linalg.qr(torch.randn(len(W), len(W), generator=generator, dtype=W.dtype))[0] @ W


@each_solution
@pytest.mark.parametrize("scale, noise", [(1, 0), (0.85, 0), (1.1, 0), (1, 0.08)])
def test_nearest_named_recognises_each(features, k, scale, noise):
    generator = torch.Generator().manual_seed(k)
    W = numbers(*NAMED_SOLUTIONS[features][k].W)
    orders = [[0, 1]] if features == 2 else [[0, 1, 2], [1, 0, 2]]  # of the features that are alike
    turns = torch.stack(
        [turned(scale * W[:, order], generator) for order in orders for _ in range(5)]
    )
    noisy = turns + noise * torch.randn(turns.shape, generator=generator, dtype=W.dtype)
    assert nearest_named(noisy).tolist() == [k] * len(noisy)


def test_nearest_named_stays_on_the_device_and_in_the_type_of_W():
    """The meta device computes nothing, but refuses tensors of another device."""
    assert nearest_named(torch.zeros(4, 2, 3, device="meta")).device.type == "meta"
    single = torch.tensor(NAMED_SOLUTIONS[3][2].W, dtype=torch.float32)[None]
    assert nearest_named(single).tolist() == [2]


# Phases


@pytest.mark.parametrize(
    "norm, superposition, expected",
    [
        (0.0, 0.0, "not represented"),
        (0.5, 1.0, "not represented"),
        (0.51, 0.0, "dedicated dimension"),
        (1.0, 0.24, "dedicated dimension"),
        (1.0, 0.25, "in superposition"),
        (0.7, 1.0, "in superposition"),
    ],
)
def test_phase(norm, superposition, expected):
    assert phases.PHASES[phases.phase(numbers(norm), numbers(superposition))] == expected


def test_phase_and_in_superposition_mean_the_same():
    W = torch.randn(500, 2, 4, generator=torch.manual_seed(0)) * torch.rand(500, 1, 1)
    phase = phases.phase(*phases.last_feature(W))
    assert torch.equal(phase == phases.PHASES.index("in superposition"), in_superposition(W)[:, -1])
    assert phase.bincount().min() > 20


def test_phase_of_a_grid():
    norm, superposition = numbers([0.2, 0.9], [0.9, 0.9]), numbers([0.9, 0.9], [0.0, 0.3])
    assert phases.phase(norm, superposition).tolist() == [[0, 1], [2, 1]]


def test_last_feature_by_hand():
    W = numbers([[1, 0, 0], [0, 0.6, -0.8]], [[1, 0, 0], [0, 1, 0]])
    norm, superposition = phases.last_feature(W)
    torch.testing.assert_close(norm, numbers(0.8, 0))
    torch.testing.assert_close(superposition, numbers(0.36, 0))


# The exact optimum of n=2, m=1

DENSITIES, RATIOS = [1.0, 0.5, 0.2, 0.02], [0.1, 0.4, 1.0, 2.5, 10.0]


@pytest.fixture(scope="module")
def grid():
    return points(DENSITIES, RATIOS)


@pytest.fixture(scope="module")
def scanned(grid):
    return scanned_optimum(*grid, progress=False)


def test_scanned_optimum_says_its_loss(grid, scanned):
    assert scanned.W.shape == (20, 1, 2) and scanned.b.shape == (20, 2)
    assert ((scanned.share > 0) & (scanned.share <= 1)).all()
    losses = expected_loss(scanned.W, scanned.b, phases.grid_distribution(2, *grid))
    torch.testing.assert_close(scanned.loss, losses, rtol=1e-12, atol=0)


def test_scanned_optimum_is_below_the_named_solutions(grid, scanned):
    assert (scanned.loss[:, None] <= phases.named_losses(2, *grid) * (1 + 1e-6)).all()


def test_scanned_optimum_is_below_random_weights(grid, scanned):
    generator = torch.Generator().manual_seed(0)
    for k in range(len(scanned.loss)):
        W = 1.5 * torch.randn(4096, 1, 2, generator=generator, dtype=torch.float64)
        b = torch.rand(4096, 2, generator=generator, dtype=torch.float64) - 0.2
        near = slice(0, 1024)  # a quarter of the weights is close to those found
        W[near], b[near] = scanned.W[k] + 0.01 * W[near], scanned.b[k] + 0.01 * b[near]
        distribution = phases.grid_distribution(2, *(values[k].expand(4096) for values in grid))
        assert scanned.loss[k] <= expected_loss(W, b, distribution).min() * (1 + 1e-6)


def test_scanned_optimum_agrees_with_descents(grid, scanned):
    """24 random starts find the optimum too, and never a lower loss than the scan."""
    descended = descended_optimum(2, 1, *grid, random_starts=24, progress=False)
    assert (scanned.loss <= descended.loss * (1 + 1e-6)).all()
    torch.testing.assert_close(descended.loss, scanned.loss, rtol=1e-3, atol=0)
    # The weights agree too, except at r = 1, where the features may change places.
    unequal = grid[1] != 1
    torch.testing.assert_close(
        descended.W.abs()[unequal], scanned.W.abs()[unequal], rtol=0, atol=0.01
    )


def test_scanned_optimum_is_symmetric(scanned):
    """Exchanging the features turns r into 1/r and divides the loss by r."""
    loss, W = scanned.loss.view(4, 5), scanned.W.view(4, 5, 2).abs()
    torch.testing.assert_close(loss, numbers(*RATIOS) * loss.flip(1), rtol=1e-6, atol=0)
    unequal = [0, 1, 3, 4]
    torch.testing.assert_close(W[:, unequal], W.flip(1, 2)[:, unequal], rtol=0, atol=1e-3)


def test_optimal_loss_is_concave_in_the_ratio():
    """The optimal loss is the least of many straight lines in r, one for each choice of weights."""
    ratio = torch.linspace(0.05, 0.4, 15, dtype=torch.float64)
    loss = scanned_optimum(torch.full_like(ratio, 0.3), ratio, progress=False).loss
    assert (loss.diff() >= 0).all() and (loss.diff(n=2) <= 1e-6 * loss[-1]).all()


# |W|, b and loss of the optimum, by density and ratio.
KNOWN = {
    "dense, the last ignored": (1.0, 0.1, [1, 0], [0, 0.5], 0.1 / 12),
    "dense, the first ignored": (1.0, 10.0, [0, 1], [0.5, 0], 1 / 12),
    "sparse, an antipodal pair": (0.01, 1.0, [1, 1], [0, 0], 2e-4 / 6),
}


@pytest.mark.parametrize("density, ratio, W, b, loss", KNOWN.values(), ids=KNOWN)
def test_known_optimum(density, ratio, W, b, loss):
    found = scanned_optimum(numbers(density), numbers(ratio), progress=False)
    torch.testing.assert_close(found.W[0, 0].abs(), numbers(*W), rtol=0, atol=1e-3)
    torch.testing.assert_close(found.b[0], numbers(*b), rtol=0, atol=1e-3)
    assert found.loss.item() == pytest.approx(loss, rel=1e-3)
    assert found.W.prod() <= 1e-6  # antipodal, never side by side


def test_points_keep_their_order(grid, scanned):
    order = torch.tensor([13, 2, 7, 19, 3, 12])
    again = scanned_optimum(*(values[order] for values in grid), progress=False)
    torch.testing.assert_close(again.loss, scanned.loss[order], rtol=1e-9, atol=0)


# n=3, m=2


def test_descended_optimum_of_three_features():
    density, ratio = points([1.0, 0.2, 0.02], [0.1, 10.0])
    found = descended_optimum(3, 2, density, ratio, random_starts=8, progress=False)
    losses = expected_loss(found.W, found.b, phases.grid_distribution(3, density, ratio))
    torch.testing.assert_close(found.loss, losses, rtol=1e-12, atol=0)
    named = phases.named_losses(3, density, ratio)
    assert (found.loss[:, None] <= named * (1 + 1e-4)).all()
    for k in (
        0,
        1,
        4,
        5,
    ):  # the corners of the diagram, where the optimum is like the named solution
        assert nearest_named(found.W)[k] == named[k].argmin()


def test_nothing_trained_is_below_the_optimum_of_three_features():
    """At densities where few starts find the best minimum, 80 other starts find none lower."""
    density, ratio = points([0.8, 0.7, 0.62, 0.55], [0.95, 1.06, 1.2])
    found = descended_optimum(3, 2, density, ratio, progress=False)
    again = descended_optimum(3, 2, density, ratio, random_starts=80, seed=1, progress=False)
    assert (again.loss >= found.loss * (1 - phases.GAIN)).all()


def test_neighbours_mend_a_point_in_a_local_minimum():
    density, ratio = points([0.3, 0.28, 0.26], [0.9, 1.0, 1.1])
    best = descended_optimum(3, 2, density, ratio, progress=False)
    W = best.W.clone()
    W[4] = 0  # no feature is represented, a stationary point
    b = best.b.index_fill(0, torch.tensor([4]), 0.14)
    loss = expected_loss(W, b, phases.grid_distribution(3, density, ratio))
    assert loss[4] > 2 * best.loss[4]
    mended = phases._from_neighbours(phases.Optimum(W, b, loss, best.share), density, ratio, 400)
    torch.testing.assert_close(mended.loss, best.loss, rtol=1e-5, atol=0)


def test_nearest_points():
    place = numbers([0, 0], [1, 0], [0, 3], [5, 5])
    assert [set(near) for near in phases._nearest(place).tolist()] == [
        {1, 2, 3},
        {0, 2, 3},
        {0, 1, 3},
        {0, 1, 2},
    ]
    many = torch.cartesian_prod(torch.arange(5), torch.arange(5)).double()
    middle = phases._nearest(many)[12]  # of 5 by 5
    assert sorted(middle.tolist()) == [6, 7, 8, 11, 13, 16, 17, 18]


def test_descended_optimum_is_reproducible():
    arguments = 3, 2, numbers(0.3), numbers(1.0)
    runs = [
        descended_optimum(*arguments, random_starts=3, steps=1, seed=s, progress=False)
        for s in (0, 0)
    ]
    assert torch.equal(runs[0].W, runs[1].W) and runs[0].share == runs[1].share


# The public function of both


def test_optimum_of_two_and_of_three_features():
    """It is the scan for n=2 and the descents for n=3, of any array of numbers."""
    density, ratio = numbers(1.0, 0.3), numbers(0.2, 1.0)
    two, scan = (
        optimum(2, density, ratio, progress=False),
        scanned_optimum(density, ratio, progress=False),
    )
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(two, scan))
    three = optimum(3, density, ratio, progress=False)
    assert three.W.shape == (2, 2, 3) and three.b.shape == (2, 3) and three.W.dtype == torch.float64
    assert (three.loss[:, None] <= phases.named_losses(3, density, ratio) * (1 + 1e-4)).all()
    again = optimum(2, [1, 0.3], ratio.float().requires_grad_(), progress=False)
    torch.testing.assert_close(again.loss, scan.loss, rtol=1e-6, atol=0)


# Features, density, ratio and the argument that the error names, by what is wrong.
BAD_POINTS = {
    "one feature": (1, [0.5], [1], "features"),
    "four features": (4, [0.5], [1], "features"),
    "features that are no whole number": (2.0, [0.5], [1], "features"),
    "no number of features": ("two", [0.5], [1], "features"),
    "a list of features": ([2], [0.5], [1], "features"),
    "no line of densities": (2, 0.5, [1], "density"),
    "a table of densities": (2, [[0.5]], [1], "density"),
    "no points": (2, [], [], "density"),
    "no density": (2, None, [1], "density"),
    "text": (2, ["dense"], [1], "density"),
    "complex densities": (2, [0.5 + 0j], [1], "density"),
    "density zero": (2, [0.5, 0.0], [1, 1], "density"),
    "density above 1": (3, [0.5, 1.01], [1, 1], "density"),
    "density that is no number": (2, [0.5, math.nan], [1, 1], "density"),
    "ratios for fewer points": (2, [0.5, 0.4], [1], "ratio"),
    "a table of ratios": (2, [0.5], [[1]], "ratio"),
    "ratio zero": (2, [0.5], [0.0], "ratio"),
    "negative ratio": (3, [0.5], [-1], "ratio"),
    "infinite ratio": (2, [0.5], [math.inf], "ratio"),
    "ratio that is no number": (3, [0.5], [math.nan], "ratio"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("features, density, ratio, name", BAD_POINTS.values(), ids=BAD_POINTS)
def test_optimum_refuses_bad_points(features, density, ratio, name):
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        optimum(features, density, ratio)


@pytest.mark.usefixtures("unchecked")
def test_grid_covers_the_diagram():
    density, ratio = phases.grid(5)
    assert density.view(5, 5)[:, 0].tolist() == pytest.approx([1, 10**-0.5, 0.1, 10**-1.5, 0.01])
    assert ratio.view(5, 5)[0].tolist() == pytest.approx([0.1, 10**-0.5, 1, 10**0.5, 10])
    assert density[0] == density[4] and ratio[0] == ratio[5]  # importance varies fastest
    with pytest.raises(ValueError, match="points: expected"):
        phases.grid(0)


def test_named_losses_of_any_array_of_numbers():
    density, ratio = np.array([9.0, 0.2, 9.0, 0.5])[1::2], np.array([3, 1])
    expected = phases.named_losses(3, numbers(0.2, 0.5), numbers(3, 1))
    assert torch.equal(phases.named_losses(3, density, ratio), expected)


@pytest.mark.usefixtures("unchecked")
def test_named_losses_refuse_bad_points():
    with pytest.raises(ValueError, match="features: expected 2"):
        phases.named_losses(4, [0.1], [1.0])
    with pytest.raises(ValueError, match="ratio: expected one number for each of 1 densities"):
        phases.best_named(2, [0.1], [1.0, 2.0])
