"""Check stationary points that are known: the origin, and the optimum of a linear case."""

import pytest
import torch

from features import FeatureDistribution
from losses.gradient import exact_gradient
from theory.stationary import curvatures, distance, hessian, nearest_stationary


def dense(instances, features=2):
    return FeatureDistribution(1.0, features=features, instances=instances)


def near(W, b, noise, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        t + noise * torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in (W, b)
    )


ORIGIN = torch.zeros(1, 1, 2, dtype=torch.float64), torch.full((1, 2), 0.5, dtype=torch.float64)
ONE_LEARNED = (
    torch.tensor([[[1.0, 0.0]]], dtype=torch.float64),
    torch.tensor([[0.0, 0.5]], dtype=torch.float64),
)


def test_origin_is_a_saddle_point():
    """At the origin each feature costs its variance, 1/12, and any small weight lowers the loss."""
    found = exact_gradient(*ORIGIN, dense(1))
    assert found.loss.item() == pytest.approx(2 / 12) and found.norm.item() < 1e-12
    # The loss is the sum over features of E[(x_i - w_i w.x - b_i)^2]. To second order this is
    # -2 Var(x_i) w_i^2 + b_i^2 for each, up to a constant.
    assert curvatures(*ORIGIN, dense(1))[0].tolist() == pytest.approx(
        [-1 / 3, -1 / 3, 2, 2], rel=1e-4
    )


def test_hessian_is_that_of_differences_of_the_loss():
    W, b = near(*ONE_LEARNED, 0.1)
    H, step = hessian(W, b, dense(1))[0], 1e-3
    assert torch.equal(H, H.T)
    moved = [
        exact_gradient(W, b + sign * torch.tensor([[0, step]]), dense(1)).loss
        for sign in (-1, 0, 1)
    ]
    assert H[-1, -1].item() == pytest.approx(
        ((moved[0] - 2 * moved[1] + moved[2]) / step**2).item(), rel=1e-3
    )


@pytest.mark.parametrize("point", [ORIGIN, ONE_LEARNED], ids=["saddle", "minimum"])
def test_search_finds_the_point_nearby(point):
    start = near(*point, 0.02)
    W, b = nearest_stationary(*start, dense(1), 8)
    before, after = exact_gradient(*start, dense(1)).norm, exact_gradient(W, b, dense(1)).norm
    assert before > 1e-3 and after < 1e-6
    assert distance(W, b, *start).item() < 0.1


def test_search_finds_a_minimum_without_ways_down():
    W, b = nearest_stationary(*near(*ONE_LEARNED, 0.02), dense(1), 8)
    assert (
        curvatures(W, b, dense(1)).min() > -1e-3
    )  # to turn W costs nothing; at the origin it is -1/3
    torch.testing.assert_close(
        W.square().sum(), torch.tensor(1.0, dtype=torch.float64), rtol=1e-3, atol=0
    )


def test_instances_do_not_see_each_other():
    W, b = near(ORIGIN[0].expand(3, -1, -1), ORIGIN[1].expand(3, -1), 0.05)
    together = nearest_stationary(W, b, dense(3), 3)
    alone = nearest_stationary(W[1:2], b[1:2], dense(1), 3)
    torch.testing.assert_close(together.W[1:2], alone.W)


def test_distance_is_that_of_the_best_rotation():
    generator = torch.Generator().manual_seed(1)
    W, b = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((4, 3, 6), (4, 6))
    )
    turn = torch.linalg.qr(torch.randn(4, 3, 3, generator=generator, dtype=torch.float64)).Q
    assert distance(W, b, turn @ W, b).max() < 1e-6
    torch.testing.assert_close(
        distance(W, b, turn @ W, b + 0.5), torch.full((4,), 1.5**0.5, dtype=torch.float64)
    )
    torch.testing.assert_close(distance(W, b, 2 * W, b), W.norm(dim=(1, 2)))
    assert (distance(W, b, W.flip(2), b) > 0.1).all()  # features exchanged are another arrangement


@pytest.mark.usefixtures("unchecked")
def test_searches_must_be_a_count():
    with pytest.raises(ValueError, match="searches: expected a whole number of at least 1, got 0"):
        nearest_stationary(*ORIGIN, dense(1), 0)
