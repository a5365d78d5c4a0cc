"""Predictions against the exact loss, sampling, random descents and the corners of the phase diagrams."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import theory
from expected_loss import expected_loss
from features import CORRELATIONS, FeatureDistribution
from geometry import POLYTOPES, tegum_factors
from models import ReLUOutputModel
from theory import NAMED_SOLUTIONS, descended_optimum, named_boundary, nearest_named, scanned_optimum

SOLUTIONS = [pytest.param(n, k, id=s.name) for n, named in NAMED_SOLUTIONS.items() for k, s in enumerate(named)]
each_solution = pytest.mark.parametrize("features, k", SOLUTIONS)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def points(densities, ratios):
    """A grid of density and ratio, flattened."""
    return numbers(*densities).repeat_interleave(len(ratios)), numbers(*ratios).repeat(len(densities))


def named_model(features, k, density):
    """Weights of a named solution and its bias, density/2 where a feature is not represented: for each density."""
    W = torch.tensor(NAMED_SOLUTIONS[features][k].W, dtype=torch.float64).expand(len(density), -1, -1)
    return W, torch.where(W.norm(dim=1) == 0, density[:, None] / 2, 0)


# Named solutions


@each_solution
def test_losses_of_named_solutions_are_exact(features, k):
    density, ratio = points([1.0, 0.7, 0.3, 0.01], [0.1, 0.5, 1.0, 10.0])
    exact = expected_loss(*named_model(features, k, density), theory.grid_distribution(features, density, ratio))
    torch.testing.assert_close(theory.named_losses(features, density, ratio)[:, k], exact, rtol=1e-9, atol=0)


@each_solution
def test_losses_of_named_solutions_agree_with_sampling(features, k):
    density, ratio = points([1.0, 0.3], [0.2, 3.0])
    distribution = theory.grid_distribution(features, density, ratio)
    x = distribution.sample(2**17, torch.Generator().manual_seed(0), torch.float64)
    sampled = ReLUOutputModel.from_weights(*named_model(features, k, density)).loss(x, distribution.importance)
    torch.testing.assert_close(theory.named_losses(features, density, ratio)[:, k], sampled.detach(), rtol=0.03, atol=0)


def test_losses_by_hand():
    assert theory.ignored_loss(1, 1) == pytest.approx(1 / 12)  # the variance of a uniform number
    assert theory.ignored_loss(2, 0.1) == pytest.approx(2 * (0.1 / 3 - 0.0025))
    assert theory.antipodal_loss(1, 1, 1) == pytest.approx(1 / 3)
    assert theory.antipodal_loss(1, 3, 0.3) == pytest.approx(0.06)


@each_solution
def test_weights_are_what_the_name_says(features, k):
    solution = NAMED_SOLUTIONS[features][k]
    W, vector = numbers(*solution.W), numbers(*json.loads(solution.name[4:]))
    assert W.shape == (features - 1, features)
    if "⟂" in solution.name:
        assert (W @ vector == 0).all() and torch.linalg.matrix_rank(W) == features - 1
    else:
        assert torch.equal(W[0], vector)


REGIONS = {  # corner of the diagram -> features, density, ratio, index of the best named solution
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
    lowest, W = theory.best_named(features, numbers(density), numbers(ratio))
    assert lowest.tolist() == [expected]
    assert W.tolist() == [[list(row) for row in NAMED_SOLUTIONS[features][expected].W]]


@pytest.mark.parametrize("features", NAMED_SOLUTIONS)
def test_shapes_over_points(features):
    density, ratio = points([1.0, 0.1], [0.1, 1.0, 10.0])
    lowest, W = theory.best_named(features, density, ratio)
    assert theory.named_losses(features, density, ratio).shape == (6, len(NAMED_SOLUTIONS[features]))
    assert lowest.shape == (6,) and W.shape == (6, features - 1, features) and W.dtype == torch.float64


def test_named_boundary_solves_its_equation():
    s = torch.linspace(0.001, 0.57, 50, dtype=torch.float64)
    r = named_boundary(s)
    torch.testing.assert_close(theory.ignored_loss(r, s), theory.antipodal_loss(1, r, s), rtol=1e-12, atol=0)
    assert (r.diff() > 0).all() and r[-1] < 1
    # where features are denser than 4/7 the pair beats ignoring the lesser feature nowhere
    dense = torch.linspace(4 / 7 + 1e-9, 1, 20, dtype=torch.float64)
    assert (named_boundary(dense) == 1).all()
    assert (theory.antipodal_loss(1, 1, dense) >= theory.ignored_loss(1, dense)).all()


def turned(W, generator):
    """The same features in a hidden space turned at random."""
    return torch.linalg.qr(torch.randn(len(W), len(W), generator=generator, dtype=W.dtype))[0] @ W


@each_solution
@pytest.mark.parametrize("scale, noise", [(1, 0), (0.85, 0), (1.1, 0), (1, 0.08)])
def test_nearest_named_recognises_each(features, k, scale, noise):
    generator = torch.Generator().manual_seed(k)
    W = numbers(*NAMED_SOLUTIONS[features][k].W)
    orders = [[0, 1]] if features == 2 else [[0, 1, 2], [1, 0, 2]]  # of the features that are alike
    turns = torch.stack([turned(scale * W[:, order], generator) for order in orders for _ in range(5)])
    noisy = turns + noise * torch.randn(turns.shape, generator=generator, dtype=W.dtype)
    assert nearest_named(noisy).tolist() == [k] * len(noisy)
    with torch.device("meta"):  # where a tensor lands for which no device is named
        assert nearest_named(noisy).device == noisy.device


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
    assert theory.PHASES[theory.phase(numbers(norm), numbers(superposition))] == expected


def test_phase_of_a_grid():
    norm, superposition = numbers([0.2, 0.9], [0.9, 0.9]), numbers([0.9, 0.9], [0.0, 0.3])
    assert theory.phase(norm, superposition).tolist() == [[0, 1], [2, 1]]


def test_last_feature_by_hand():
    W = numbers([[1, 0, 0], [0, 0.6, -0.8]], [[1, 0, 0], [0, 1, 0]])
    norm, superposition = theory.last_feature(W)
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
    losses = expected_loss(scanned.W, scanned.b, theory.grid_distribution(2, *grid))
    torch.testing.assert_close(scanned.loss, losses, rtol=1e-12, atol=0)


def test_scanned_optimum_is_below_the_named_solutions(grid, scanned):
    assert (scanned.loss[:, None] <= theory.named_losses(2, *grid) * (1 + 1e-6)).all()


def test_scanned_optimum_is_below_random_weights(grid, scanned):
    generator = torch.Generator().manual_seed(0)
    for k in range(len(scanned.loss)):
        W = 1.5 * torch.randn(4096, 1, 2, generator=generator, dtype=torch.float64)
        b = torch.rand(4096, 2, generator=generator, dtype=torch.float64) - 0.2
        near = slice(0, 1024)  # a quarter of them close to what was found
        W[near], b[near] = scanned.W[k] + 0.01 * W[near], scanned.b[k] + 0.01 * b[near]
        distribution = theory.grid_distribution(2, *(values[k].expand(4096) for values in grid))
        assert scanned.loss[k] <= expected_loss(W, b, distribution).min() * (1 + 1e-6)


def test_scanned_optimum_agrees_with_descents(grid, scanned):
    """24 random starts find the optimum too, and never a lower loss than the scan."""
    descended = descended_optimum(2, 1, *grid, random_starts=24, progress=False)
    assert (scanned.loss <= descended.loss * (1 + 1e-6)).all()
    torch.testing.assert_close(descended.loss, scanned.loss, rtol=1e-3, atol=0)
    # the weights too, but at r = 1, where the features may change places
    unequal = grid[1] != 1
    torch.testing.assert_close(descended.W.abs()[unequal], scanned.W.abs()[unequal], rtol=0, atol=0.01)


def test_scanned_optimum_is_symmetric(scanned):
    """Exchanging the features turns r into 1/r and divides the loss by r."""
    loss, W = scanned.loss.view(4, 5), scanned.W.view(4, 5, 2).abs()
    torch.testing.assert_close(loss, numbers(*RATIOS) * loss.flip(1), rtol=1e-6, atol=0)
    unequal = [0, 1, 3, 4]
    torch.testing.assert_close(W[:, unequal], W.flip(1, 2)[:, unequal], rtol=0, atol=1e-3)


def test_optimal_loss_is_concave_in_the_ratio():
    """It is the least of many straight lines in r, one for each choice of weights."""
    ratio = torch.linspace(0.05, 0.4, 15, dtype=torch.float64)
    loss = scanned_optimum(torch.full_like(ratio, 0.3), ratio, progress=False).loss
    assert (loss.diff() >= 0).all() and (loss.diff(n=2) <= 1e-6 * loss[-1]).all()


KNOWN = {  # density, ratio -> |W|, b and loss of the optimum
    "dense, the last ignored": (1.0, 0.1, [1, 0], [0, 0.5], 0.1 / 12),
    "dense, the first ignored": (1.0, 10.0, [0, 1], [0.5, 0], 1 / 12),
    "sparse, an antipodal pair": (0.01, 1.0, [1, 1], [0, 0], 2e-4 / 6),
}


@pytest.mark.parametrize("density, ratio, W, b, loss", KNOWN.values(), ids=KNOWN)
def test_known_optimum(density, ratio, W, b, loss):
    optimum = scanned_optimum(numbers(density), numbers(ratio), progress=False)
    torch.testing.assert_close(optimum.W[0, 0].abs(), numbers(*W), rtol=0, atol=1e-3)
    torch.testing.assert_close(optimum.b[0], numbers(*b), rtol=0, atol=1e-3)
    assert optimum.loss.item() == pytest.approx(loss, rel=1e-3)
    assert optimum.W.prod() <= 1e-6  # antipodal, never side by side


def test_points_keep_their_order(grid, scanned):
    order = torch.tensor([13, 2, 7, 19, 3, 12])
    again = scanned_optimum(*(values[order] for values in grid), progress=False)
    torch.testing.assert_close(again.loss, scanned.loss[order], rtol=1e-9, atol=0)


# n=3, m=2


def test_descended_optimum_of_three_features():
    density, ratio = points([1.0, 0.2, 0.02], [0.1, 10.0])
    optimum = descended_optimum(3, 2, density, ratio, random_starts=8, progress=False)
    losses = expected_loss(optimum.W, optimum.b, theory.grid_distribution(3, density, ratio))
    torch.testing.assert_close(optimum.loss, losses, rtol=1e-12, atol=0)
    named = theory.named_losses(3, density, ratio)
    assert (optimum.loss[:, None] <= named * (1 + 1e-4)).all()
    for k in (0, 1, 4, 5):  # the corners of the diagram, where the optimum is like the named solution
        assert nearest_named(optimum.W)[k] == named[k].argmin()


def test_descended_optimum_is_reproducible():
    arguments = 3, 2, numbers(0.3), numbers(1.0)
    runs = [descended_optimum(*arguments, random_starts=3, steps=1, seed=s, progress=False) for s in (0, 0)]
    assert torch.equal(runs[0].W, runs[1].W) and runs[0].share == runs[1].share


def test_descend_goes_downhill_and_keeps_its_start():
    W, b = numbers([[0.8, -0.3]]), numbers([0.1, 0.1])
    W, b = W.view(1, 1, 2), b.view(1, 2)
    distribution = theory.grid_distribution(2, numbers(0.2), numbers(1.0))
    before, kept = expected_loss(W, b, distribution), W.clone()
    model, losses = theory.descend(W, b, distribution, steps=50, lr=1e-2)
    assert losses < before and torch.equal(W, kept)
    torch.testing.assert_close(losses, expected_loss(model.W.detach(), model.b.detach(), distribution))


# The boundary of the phase change

BOUNDARY = {  # density -> ratio, |w_2| before and after the largest jump, from the optimum on a grid of 400 ratios
    0.01: (0.0043, 0.0, 0.587),
    0.3: (0.2045, 0.0, 0.691),
    0.3162: (0.2228, 0.0, 0.699),
    # denser features: |w_2| rises smoothly first and jumps later; in the end at r = 1, where the two change places
    0.6: (0.8077, 0.363, 0.711),
    0.625: (0.8715, 0.408, 0.685),
    0.66: (0.9435, 0.473, 0.662),
    0.7: (0.995, 0.517, 0.715),
    1.0: (1.0, 0.367, 0.936),
}


@pytest.fixture(scope="module")
def boundary():
    return theory.boundary(numbers(*BOUNDARY), progress=False)


@pytest.mark.parametrize("density", BOUNDARY)
def test_boundary(boundary, density):
    k = list(BOUNDARY).index(density)
    ratio, before, after = BOUNDARY[density]
    assert boundary.density[k] == density
    assert boundary.ratio[k].item() == pytest.approx(ratio, rel=0.01)
    assert boundary.before[k].item() == pytest.approx(before, abs=0.01)
    assert boundary.after[k].item() == pytest.approx(after, abs=0.01)
    assert 0.1 < boundary.kink[k] < 1
    # where |w_2| jumps out of zero it leaves zero there, else before
    assert (boundary.onset[k] < 0.95 * boundary.ratio[k]) == (0.5 < density < 0.9)


def test_boundary_in_sparse_features_is_where_the_second_feature_appears(boundary):
    sparse = boundary.density < 0.5
    step = 1.02  # of the grid of ratios on which the onset is read
    assert (boundary.ratio[sparse] <= boundary.onset[sparse] * step).all()
    assert (boundary.onset[sparse] <= boundary.ratio[sparse] * step).all()
    # sooner than the named solutions say: weights of other lengths are better than theirs
    assert (boundary.ratio[sparse] < named_boundary(boundary.density[sparse])).all()


def test_losses_cross_at_the_boundary(boundary):
    """On either side of the jump the optimum is as far along as the boundary says."""
    found = theory.Boundary(*(values[boundary.density == 0.3] for values in boundary))
    ratio = found.ratio * numbers(0.99, 1.01)
    optimum = scanned_optimum(numbers(0.3, 0.3), ratio, progress=False)
    w_2 = optimum.W[:, 0, 1].abs()
    torch.testing.assert_close(w_2, torch.cat((found.before, found.after)), rtol=0, atol=0.02)
    slope = optimum.loss / theory.ignored_loss(1, 0.3)  # below the boundary the lesser feature is ignored
    assert slope[0] == pytest.approx(ratio[0].item(), rel=1e-6) and slope[1] < 0.999 * ratio[1]


# The best solution of each kind, on n=2, m=1 at the relative importance whose boundary lies at density 0.3

RATIO = BOUNDARY[0.3][0]
IGNORED, PAIR = numbers([1, 0]), numbers([1, -0.7])  # the second feature not represented, and in an antipodal pair
LINE = numbers(0.2, 0.26, 0.34, 0.42)


def second_represented(W):
    """0 where the second feature is not represented, 1 where it is."""
    return (W[:, 0, 1].abs() > 0.3).long()


def kinds_on_line(starts, kind=second_represented, density=LINE, **options):
    """Starts (points, starts, 1, 2) -> distribution and the Kinds found, along one line of densities."""
    distribution = theory.grid_distribution(2, density, torch.full_like(density, RATIO))
    W = starts.expand(len(density), -1, 1, 2)
    b = torch.zeros(*W.shape[:2], 2, dtype=torch.float64)
    b[:, :, 1] = 0.1
    options = {"lines": 1, "steps": 300, "lr": 1e-2, "progress": False} | options
    return distribution, theory.best_of_kinds(W, b, distribution, kind=kind, kinds=2, **options)


def test_best_of_kinds_holds_the_optimum():
    """The lower of the two kinds is the exhaustive scan's optimum, and both are what they are called."""
    distribution, found = kinds_on_line(torch.stack((IGNORED, PAIR)))
    optimum = scanned_optimum(LINE, torch.full_like(LINE, RATIO), progress=False)
    torch.testing.assert_close(found.loss.amin(dim=1), optimum.loss, rtol=1e-4, atol=0)
    assert found.loss.argmin(dim=1).tolist() == [1, 1, 0, 0]
    torch.testing.assert_close(found.loss[:, 0], theory.ignored_loss(RATIO, LINE), rtol=1e-4, atol=0)
    for k in (0, 1):
        there = found.loss[:, k].isfinite()
        assert (second_represented(found.W[there, k]) == k).all()
        of_kind = expected_loss(found.W[there, k], found.b[there, k], distribution.select(there))
        torch.testing.assert_close(found.loss[there, k], of_kind)
    assert found.W.shape == (4, 2, 1, 2) and found.b.shape == (4, 2, 2)


def test_kinds_are_handed_on_along_a_line():
    """A pair that is started from at the first density alone is found at all at which it is a local minimum."""
    starts = IGNORED.expand(4, 1, 1, 2).clone()
    starts[0] = PAIR
    _, found = kinds_on_line(starts)
    _, both = kinds_on_line(torch.stack((IGNORED, PAIR)))
    torch.testing.assert_close(found.loss, both.loss, rtol=1e-4, atol=0)
    # where it is not worth it, nothing is handed on
    _, less = kinds_on_line(starts, worth=0)
    assert less.loss.isfinite().tolist() == [[False, True], [True, False], [True, False], [True, False]]


def test_nothing_is_handed_on_to_another_line():
    starts = IGNORED.expand(4, 1, 1, 2).clone()
    starts[:2] = PAIR
    _, found = kinds_on_line(starts, lines=2)
    assert found.loss.isfinite().tolist() == [[False, True], [False, True], [True, False], [True, False]]


def test_lines_must_divide_the_points():
    with pytest.raises(ValueError, match="lines: expected a divisor of 4 points, got 3"):
        kinds_on_line(IGNORED.expand(4, 1, 1, 2), lines=3)


def test_crossing_is_at_the_known_boundary():
    distribution, found = kinds_on_line(torch.stack((IGNORED, PAIR)))
    crossing = theory.crossings(found, distribution, 1, second_represented, steps=300)
    assert crossing.line.tolist() == [0] and (crossing.below.item(), crossing.above.item()) == (1, 0)
    share = crossing.position.item() - 1  # of the way from 0.26 to 0.34
    assert 0.26 * (0.34 / 0.26) ** share == pytest.approx(0.3, rel=0.005)


def test_crossings_of_several_lines_and_of_none():
    density = numbers(0.42, 0.34, 0.26, 0.2, 0.2, 0.22, 0.24, 0.26)
    distribution, found = kinds_on_line(torch.stack((IGNORED, PAIR)), density=density, lines=2)
    crossing = theory.crossings(found, distribution, 2, second_represented, steps=300)
    assert crossing.line.tolist() == [0] and (crossing.below.item(), crossing.above.item()) == (0, 1)
    assert 0.34 * (0.26 / 0.34) ** (crossing.position.item() - 1) == pytest.approx(0.3, rel=0.005)
    none = theory.Kinds(found.W[4:], found.b[4:], found.loss[4:])
    crossing = theory.crossings(none, distribution.select(slice(4, 8)), 1, second_represented, steps=300)
    assert all(len(values) == 0 for values in crossing)


def test_a_crossing_that_no_solution_reaches_has_no_position():
    """The kind that is best below is none that descent stays in."""
    _, found = kinds_on_line(torch.stack((IGNORED, PAIR)))
    distribution = theory.grid_distribution(2, LINE, torch.full_like(LINE, RATIO))
    crossing = theory.crossings(found, distribution, 1, lambda W: torch.zeros(len(W), dtype=torch.long), steps=10)
    assert crossing.position.isnan().tolist() == [True]


# Principal components


@st.composite
def set_distributions(draw):
    size, count = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    densities = [draw(st.floats(0.01, 1)) for _ in range(count)]
    density = torch.tensor(densities, dtype=torch.float64).repeat_interleave(size)
    correlation, signed = draw(st.sampled_from(CORRELATIONS)), draw(st.booleans())
    return FeatureDistribution(density[None], set_size=size, correlation=correlation, signed=signed)


@given(distribution=set_distributions(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_principal_components_loss_is_that_of_the_projection(distribution, data):
    """A linear model that projects on the first principal components, with its best bias, has this loss."""
    n = distribution.features
    hidden = data.draw(st.integers(1, n))
    mean, own, shared = (value[0] for value in distribution.moments())
    k = distribution.members
    covariance = torch.diag(own) + torch.block_diag(*[torch.full((k, k), float(c)) for c in shared[::k]])
    W = torch.linalg.eigh(covariance).eigenvectors[:, -hidden:].T[None]
    b = mean[None] - mean[None] @ W[0].T @ W[0]
    least = theory.principal_components_loss(distribution, hidden)
    torch.testing.assert_close(expected_loss(W, b, distribution, "linear"), least, rtol=1e-9, atol=1e-12)
    other = torch.randn(1, hidden, n, generator=torch.manual_seed(n), dtype=torch.float64)
    assert (expected_loss(other, b, distribution, "linear") >= least * (1 - 1e-9) - 1e-12).all()


def test_principal_components_loss_by_hand():
    """Three pairs, always active together: each has variance 1/12 of either member and no covariance left."""
    pairs = FeatureDistribution(1.0, features=6, set_size=2, correlation="correlated")
    assert theory.principal_components_loss(pairs, 2).item() == pytest.approx(4 / 12)
    rare = FeatureDistribution(0.1, features=6, set_size=2, correlation="correlated")
    total, largest = 6 * (0.1 / 3 - 0.0025), (0.1 / 3 - 0.0025) + (0.1 / 4 - 0.0025)
    assert theory.principal_components_loss(rare, 2).item() == pytest.approx(total - 2 * largest)
    assert theory.principal_components_loss(rare, 6).item() == 0


def test_principal_components_loss_refuses_other_importances():
    with pytest.raises(ValueError, match=r"importance: expected 1 for all features, got up to 2"):
        theory.principal_components_loss(FeatureDistribution(0.1, torch.tensor([[1.0, 2.0]])), 1)


# Polytopes

TABLE_INVERSE_DENSITY = 10 ** numbers(0.05, 0.15, 0.2, 0.6, 0.65, 0.7, 1.3)
TABLE = {  # benefit per dimension, from a coarse grid of scale and bias: the true ones are a little higher
    "digon": (1.0004, 1.0218, 1.0671, 1.6956, 1.7346, 1.7680, 1.9480),
    "triangle": (1.0072, 1.0369, 1.0605, 1.3290, 1.3506, 1.3692, 1.4707),
    "tetrahedron": (1.0086, 1.0328, 1.0498, 1.2162, 1.2311, 1.2440, 1.3138),
    "pentagon": (1.0015, 1.0215, 1.0472, 1.6665, 1.7357, 1.7990, 2.2221),
    "hexagon": (1.0008, 1.0125, 1.0292, 1.5566, 1.6270, 1.6943, 2.2597),
}


def polytope_distribution(polytope, density):
    """All features of a polytope at one density, as many instances as densities."""
    return FeatureDistribution(density[:, None], features=POLYTOPES[polytope].vertices.shape[1])


@pytest.mark.parametrize("polytope", TABLE)
def test_benefit_of_polytopes(polytope):
    optimum = theory.polytope_optimum(polytope, 1 / TABLE_INVERSE_DENSITY)
    above = optimum.benefit - numbers(*TABLE[polytope])
    assert above.min() > -1e-4 and above.max() < 3e-4
    assert (optimum.stretch == 1).all()


def test_a_dedicated_dimension_has_benefit_one():
    optimum = theory.polytope_optimum("dedicated dimension", numbers(0.9, 0.1, 0.01))
    for values, expected in zip(optimum, (1, 1, 0, 1)):
        torch.testing.assert_close(values, torch.full_like(values, expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("polytope", ["triangle", "pentagon", "square antiprism", "3 tilted digons", "cube"])
def test_optimum_of_a_polytope_is_a_stationary_point_of_the_loss_of_all_weights(polytope):
    density = numbers(0.7, 0.2)
    benefit, scale, bias, stretch = theory.polytope_optimum(polytope, density)
    W = scale[:, None, None] * theory._stretched(POLYTOPES[polytope].vertices, stretch)
    W, b = W.requires_grad_(), bias[:, None].repeat(1, W.shape[2]).requires_grad_()
    loss = expected_loss(W, b, polytope_distribution(polytope, density))
    ignored = theory.ignored_loss(1, density)
    torch.testing.assert_close(
        benefit, (W.shape[2] * ignored - loss.detach()) / (W.shape[1] * ignored), rtol=1e-9, atol=0
    )
    for slope in torch.autograd.grad(loss.sum(), (W, b)):
        assert slope.abs().max() < 1e-5


def test_square_antiprism_takes_its_best_angle():
    density = numbers(0.05)
    best = theory.polytope_optimum("square antiprism", density)
    assert best.benefit > 2.3221 + 0.01  # of the Thomson angle
    polar = torch.atan2(
        *(theory._stretched(POLYTOPES["square antiprism"].vertices, best.stretch)[0, k, 0] for k in (0, 2))
    )
    assert polar.rad2deg().item() == pytest.approx(58, abs=0.5)


def test_a_bipyramid_is_worth_its_digon_and_its_waist():
    """Features of different tegum factors do not see each other: the loss is a sum."""
    density = numbers(0.3)
    parts = [0.9 * POLYTOPES["triangle"].vertices, 1.1 * POLYTOPES["digon"].vertices]
    bias = numbers(-0.1, -0.1, -0.1, 0.05, 0.05)
    losses = [
        expected_loss(W[None], b[None], FeatureDistribution(density[:, None], features=len(b)))
        for W, b in ((torch.block_diag(*parts), bias), (parts[0], bias[:3]), (parts[1], bias[3:]))
    ]
    torch.testing.assert_close(losses[0], losses[1] + losses[2], rtol=1e-12, atol=0)


def test_unknown_polytope_is_refused():
    with pytest.raises(
        ValueError, match=r"polytope: expected one of dedicated dimension, digon, .*, got 'dodecahedron'"
    ):
        theory.polytope_optimum("dodecahedron", numbers(0.1))


def test_product_of_copies():
    """Two triangles in five dimensions: one dimension stays empty, the last feature is ignored."""
    density = numbers(0.7, 0.5)
    optimum = theory.polytope_optimum("triangle", density)
    W, b = theory.product_of_copies("triangle", optimum, 7, 5, density)
    ignored = theory.ignored_loss(1, density)
    loss = expected_loss(W, b, FeatureDistribution(density[:, None], features=7))
    torch.testing.assert_close((7 * ignored - loss) / (4 * ignored), optimum.benefit)
    assert [factor.polytope for factor in tegum_factors(W[0])] == ["triangle", "triangle"]


def made_up(**benefits):
    """Optima of polytopes with these benefits, at scale 1."""
    return {
        name: theory.PolytopeOptimum(numbers(*values), *[torch.ones(len(values), dtype=torch.float64)] * 3)
        for name, values in {"dedicated dimension": [1.0] * len(next(iter(benefits.values()))), **benefits}.items()
    }


def test_with_features_enough_one_polytope_takes_all_dimensions():
    optima = made_up(triangle=[1.2, 1.0], digon=[1.1, 1.5])
    shares, benefit = theory.best_mixture(optima)
    assert [share.tolist() for share in shares.values()] == [[0, 0], [1, 0], [0, 1]]
    assert benefit.tolist() == [1.2, 1.5]
    # triangles have D* = 2/3, digons 1/2
    torch.testing.assert_close(theory.predicted_dimensions_per_feature(shares, optima), numbers(2 / 3, 1 / 2))


def test_few_features_are_shared_out():
    """Four features in three dimensions: a digon and two dedicated dimensions, or a better tetrahedron."""
    shares, benefit = theory.best_mixture(made_up(tetrahedron=[1.1, 1.2], digon=[1.5, 1.5]), 4 / 3)
    torch.testing.assert_close(torch.stack(list(shares.values())), numbers(2 / 3, 0, 0, 1, 1 / 3, 0).view(3, 2))
    torch.testing.assert_close(benefit, numbers(3.5 / 3, 1.2))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(0.9, 3), min_size=4, max_size=4), st.floats(1, 5))
def test_no_mixture_beats_the_best(benefits, ratio):
    optima = made_up(**{name: [value] for name, value in zip(("triangle", "digon", "pentagon", "cube"), benefits)})
    shares, benefit = theory.best_mixture(optima, ratio)
    shares = torch.cat(list(shares.values()))
    needed = numbers(*(1 / POLYTOPES[name].dimensionality for name in optima))
    values = torch.cat([optimum.benefit for optimum in optima.values()])
    assert shares.sum() == pytest.approx(1) and (shares >= 0).all()
    assert shares @ needed <= ratio + 1e-9
    assert shares @ values == pytest.approx(benefit.item())
    tried = torch.rand(2000, len(optima), generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 4
    tried /= tried.sum(dim=1, keepdim=True)
    allowed = tried @ needed <= ratio
    assert not allowed.any() or (tried[allowed] @ values).max() <= benefit.item() + 1e-9


def test_mixture_of_too_few_features_is_refused():
    with pytest.raises(ValueError, match=r"features_per_dimension: expected at least 1, got 0\.5"):
        theory.best_mixture(made_up(digon=[1.5]), 0.5)


def test_windows_end_where_benefits_cross():
    density = 1 / numbers(1, 2, 4)
    found = theory.windows(density, made_up(triangle=[1.1, 1.2, 1.3], digon=[1.0, 1.1, 1.5]))
    assert [name for name, _, _ in found] == ["triangle", "digon"]
    torch.testing.assert_close(numbers(*found[0][1:]), numbers(1, 2 * 2 ** (1 / 3)))
    assert found[1][1] == found[0][2] and found[1][2] == 4


def test_predicted_order_of_polytopes():
    """The paper's five, in the order of their dimensionality, between larger simplices and the icosahedron."""
    inverse_density = torch.logspace(0.01, 1.3, 40, dtype=torch.float64)
    paper = ("4-simplex", "tetrahedron", "triangle", "digon", "pentagon", "square antiprism", "icosahedron", "hexagon")
    found = theory.windows(1 / inverse_density, theory.polytope_optima(1 / inverse_density, paper, progress=False))
    assert [name for name, _, _ in found] == list(paper[:-1])
    starts = numbers(*(low for _, low, _ in found[1:]))
    torch.testing.assert_close(starts, numbers(1.065, 1.25, 1.55, 4.45, 4.9, 11.03), rtol=0.02, atol=0)
