"""Norms, interference, dimensionality, sets and orientation against values worked out by hand."""

from math import cos, radians, sin

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry import (
    collapsed_pairs,
    dimensionality,
    dimensions_per_feature,
    feature_norms,
    in_superposition,
    interference,
    oriented,
    represented,
    set_cosines,
    side_by_side,
    unit_directions,
)

OF_BATCH = [feature_norms, unit_directions, interference, dimensionality, dimensions_per_feature]

# The first instance has two features 53 degrees apart and one with zero weights. The second one has
# two dedicated dimensions.
W = torch.tensor([[[2.0, 0.3, 0.0], [0.0, 0.4, 0.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def plane(*degrees):
    """Return unit vectors (2, features) at these angles."""
    return torch.tensor([[cos(radians(d)) for d in degrees], [sin(radians(d)) for d in degrees]])


# Norms, interference, dimensionality


def test_norms_and_directions_by_hand():
    torch.testing.assert_close(feature_norms(W), torch.tensor([[2, 0.5, 0], [1, 1, 0]]))
    torch.testing.assert_close(unit_directions(W)[0], torch.tensor([[1, 0.6, 0], [0, 0.8, 0]]))


def test_interference_and_dimensionality_by_hand():
    torch.testing.assert_close(interference(W), torch.tensor([[0.09, 1.44, 0], [0, 0, 0]]))
    torch.testing.assert_close(
        dimensionality(W), torch.tensor([[4 / 4.09, 0.25 / 1.69, 0], [1, 1, 0]])
    )


def test_dimensions_per_feature_by_hand():
    torch.testing.assert_close(dimensions_per_feature(W), torch.tensor([2 / 4.25, 1]))
    assert dimensions_per_feature(torch.zeros(1, 2, 3)).isinf().all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", OF_BATCH)
@pytest.mark.parametrize(
    "bad", [W[0], W[None], W.numpy(), [[1.0]], W.log()], ids=["2-D", "4-D", "numpy", "list", "inf"]
)
def test_batch_functions_refuse_bad_weights(function, bad):
    with pytest.raises(ValueError, match="W: expected"):
        function(bad)


def test_inputs_stay_unchanged():
    batch = W.clone().requires_grad_()
    for function in OF_BATCH:
        function(batch)
    assert torch.equal(batch, W)


OF_W = [*OF_BATCH, represented, in_superposition, collapsed_pairs, oriented]
OF_W += [lambda W: set_cosines(W, 2), lambda W: side_by_side(W, 2)]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", OF_W)
@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn], ids=str
)
def test_other_than_floating_point_weights_are_refused(function, dtype):
    with pytest.raises(ValueError, match=f"W: expected floating-point weights, got {dtype}"):
        function(torch.eye(2)[None].repeat(1, 1, 2).to(dtype))


@pytest.mark.parametrize("function", OF_W)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_gives_nearly_the_same(function, dtype):
    W = torch.tensor([[[1.0, -0.5, 0.25, 0.0], [0.0, 0.75, -1.0, 1.0]]])
    for exact, rounded in zip(function(W), function(W.to(dtype))):
        torch.testing.assert_close(rounded.to(exact.dtype), exact, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("function", OF_W)
def test_helpers_are_on_the_device_of_the_weights(function):
    """A tensor made without a device would be a meta tensor here, which does not mix with W."""
    W = torch.ones(1, 2, 4)
    with torch.device("meta"):
        results = function(W)
    assert all(
        values.device == W.device
        for values in (results if isinstance(results, tuple) else [results])
    )


def test_represented_and_in_superposition():
    """A feature in superposition has a large norm and shares its direction."""
    W = torch.tensor([[[1.0, -0.8, 0.3, 0.0], [0.0, 0.0, 0.0, 0.9]]])
    assert represented(W).tolist() == [[True, True, False, True]]
    assert in_superposition(W).tolist() == [[True, True, False, False]]


# Sets of features, and orientation


def test_set_cosines_by_hand():
    """Sets {0, 90} and {180, 60} degrees: each pair once, whatever the norms."""
    within, across = set_cosines(torch.tensor([1, 2, 0.5, 3.0]) * plane(0, 90, 180, 60)[None], 2)
    assert within.tolist() == [pytest.approx([0, cos(radians(120))], abs=1e-6)]
    assert across.tolist() == [pytest.approx([-1, 0.5, 0, cos(radians(30))], abs=1e-6)]


def test_set_cosines_of_larger_sets():
    within, across = set_cosines(torch.eye(6)[None], 3)
    assert within.shape == (1, 6) and across.shape == (1, 9)
    assert not within.any() and not across.any()


SIDE_BY_SIDE = {  # degrees of sets of two -> whether the members are neighbours on the circle
    "hexagon": ([0, 60, 120, 180, 240, 300], True),
    "in another order": ([0, 300, 120, 180, 240, 60], False),
    "across zero": ([350, 10, 60, 70, 200, 210], True),
    "far apart but neighbours": ([0, 95, 180, 180, 265, 265], True),
    "collapsed": ([0, 0, 90, 90, 180, 180], True),
    "another between": ([0, 60, 30, 90, 200, 210], False),
    "a set inside of another": ([0, 60, 20, 40, 200, 210], False),
    "only one set outside": ([0, 60, 20, 40], True),  # neighbours the other way around
    "one inside, one outside": ([0, 60, 30, 200, 100, 110], False),
    "two sets alike": ([0, 60, 60, 120, 200, 210], True),
}


@pytest.mark.parametrize("degrees, expected", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
@pytest.mark.parametrize("turn", [0, 77, 180, 359])
def test_side_by_side(degrees, expected, turn):
    W = torch.stack([plane(*(sign * d + turn for d in degrees)) for sign in (1, -1)])
    assert side_by_side(W, 2).tolist() == [expected] * 2


def test_side_by_side_wants_every_feature_represented():
    W = plane(0, 60, 120, 180, 240, 300)[None].repeat(2, 1, 1)
    W[1, :, 3] *= 0.4
    assert side_by_side(W, 2).tolist() == [True, False]


@pytest.mark.parametrize(
    "first, second, collapsed",
    [
        ((1, 0), (1, 0), 1),
        ((0.3, 0), (0.3, 0.05), 1),  # however short
        ((1, 0), (0.8, 0), 1),
        ((1, 0), (0.6, 0), 0),  # parallel, but the difference of the two is still represented
        ((1, 0), (0.9, 0.5), 0),  # 29 degrees
        ((1, 0), (0, 1), 0),
        ((1, 0), (-1, 0), 0),
        ((0, 0), (0, 0), 0),  # nothing is represented
    ],
)
def test_collapsed_pairs(first, second, collapsed):
    apart = plane(0, 90)
    W = torch.cat((torch.tensor([first, second]).T, apart, torch.tensor([first, second]).T), dim=1)
    assert collapsed_pairs(W[None]).tolist() == [2 * collapsed]


def random_plane(seed, features=5):
    return torch.randn(3, 2, features, generator=torch.manual_seed(seed), dtype=torch.float64)


@given(
    seed=st.integers(0, 2**31),
    degrees=st.floats(0, 360),
    mirrored=st.booleans(),
    first=st.integers(0, 4),
)
@settings(max_examples=50, deadline=None)
def test_oriented_forgets_rotation_and_reflection(seed, degrees, mirrored, first):
    W, second = random_plane(seed), (first + 2) % 5
    turn = plane(degrees, degrees + (-90 if mirrored else 90)).double()
    turned = oriented(W, first, second)
    torch.testing.assert_close(oriented(turn @ W, first, second), turned, rtol=0, atol=1e-5)
    torch.testing.assert_close(turned.mT @ turned, W.mT @ W)  # nothing but rotation and reflection
    assert turned[:, 1, first].abs().max() < 1e-12 and (turned[:, 0, first] > 0).all()
    assert (turned[:, 1, second] >= 0).all()


def test_oriented_leaves_its_input_and_takes_zero_weights():
    W = torch.zeros(1, 2, 3, dtype=torch.float64)
    W[0, :, 1] = 1
    kept = W.clone()
    assert oriented(W).isfinite().all() and torch.equal(W, kept)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "function, W, arguments, message",
    [
        (
            set_cosines,
            torch.ones(1, 2, 5),
            (2,),
            "set_size: expected a divisor of 5 features, got 2",
        ),
        (
            set_cosines,
            torch.ones(1, 2, 4),
            (0,),
            "set_size: expected a divisor of 4 features, got 0",
        ),
        (
            side_by_side,
            torch.ones(1, 2, 5),
            (2,),
            "set_size: expected a divisor of 5 features, got 2",
        ),
        (side_by_side, torch.ones(1, 3, 4), (2,), "W: expected 2 hidden dimensions, got 3"),
        (
            collapsed_pairs,
            torch.ones(1, 3, 5),
            (),
            "set_size: expected a divisor of 5 features, got 2",
        ),
        (
            collapsed_pairs,
            torch.full((1, 3, 4), torch.nan),
            (),
            "W: expected finite weights, got 12 that are not",
        ),
        (oriented, torch.ones(1, 3, 4), (), "W: expected 2 hidden dimensions, got 3"),
        (oriented, torch.ones(2, 4), (), "W: expected a tensor"),
    ],
)
def test_sets_and_orientation_refuse_bad_input(function, W, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(W, *arguments)


def test_no_tensor_strays_to_another_device():
    """Helper tensors are on the device of W, and not on the default device."""
    W = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    with torch.device("meta"):
        for result in (
            side_by_side(W, 2),
            *set_cosines(W, 2),
            collapsed_pairs(W),
            oriented(W),
            dimensionality(W),
            interference(W),
        ):
            assert result.device.type == "cpu"
