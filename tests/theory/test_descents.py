"""Descents against brute force, and their parts against answers known beforehand."""

import pytest
import torch

from features import CORRELATIONS, FeatureDistribution
from losses.exact import expected_loss
from theory.descents import (
    Minima,
    Sampling,
    best_run,
    descend,
    first_sign_change,
    hand_on,
    ignored_loss,
    maximize,
    random_descents,
    sampled_runs,
    small_weights,
)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def two_features(density, ratio):
    """Return the inputs of n=2 at each density (points,), with importances 1 and ratio."""
    return FeatureDistribution(density[:, None], numbers(1, ratio))


def test_ignored_loss_by_hand():
    assert ignored_loss(1, 1) == pytest.approx(1 / 12)  # the variance of a uniform number
    assert ignored_loss(2, 0.1) == pytest.approx(2 * (0.1 / 3 - 0.0025))


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_ignored_loss_is_the_variance(correlation):
    """It is that of a feature of a set too, and the loss of a model of zeros is made of it."""
    density = numbers(0.02, 0.3, 1)
    inputs = FeatureDistribution(density[:, None], features=4, set_size=2, correlation=correlation)
    mean, own, shared = inputs.moments()
    active = density / 2 if correlation == "anticorrelated" else density
    torch.testing.assert_close(2 * mean[:, 0], active)
    torch.testing.assert_close(ignored_loss(1, active), (own + shared)[:, 0])
    losses = expected_loss(torch.zeros(3, 1, 4, dtype=torch.float64), mean, inputs)
    torch.testing.assert_close(losses, 4 * ignored_loss(1, active))


def test_descend_goes_downhill_and_keeps_its_start():
    W, b = numbers([[0.8, -0.3]]), numbers([0.1, 0.1])
    W, b = W.view(1, 1, 2), b.view(1, 2)
    distribution = two_features(numbers(0.2), 1)
    before, kept = expected_loss(W, b, distribution), W.clone()
    found = descend(W, b, distribution, steps=50, lr=1e-2)
    assert found.loss < before
    assert torch.equal(W, kept)
    torch.testing.assert_close(found.loss, expected_loss(found.W, found.b, distribution))


def test_handing_on_replaces_only_what_is_worse():
    """Both places could have the pair; the first has the model of zeros, which is worse."""
    distribution = two_features(numbers(0.1, 0.1), 1)
    pair = descend(
        numbers(1, -1).expand(2, 1, 2), torch.zeros(2, 2).double(), distribution, steps=300, lr=1e-2
    )
    W, b = pair.W.clone(), pair.b.clone()
    W[0], b[0] = 0, 0.05
    best = Minima(W, b, expected_loss(W, b, distribution))
    before = best.loss.clone()
    every = torch.arange(2)
    fall = hand_on(best, every, every.flip(0), distribution, steps=20, gain=1e-3)
    torch.testing.assert_close(best.loss, pair.loss, rtol=1e-3, atol=0)
    torch.testing.assert_close(best.loss, expected_loss(best.W, best.b, distribution))
    assert fall[0] == pytest.approx(1 - (best.loss[0] / before[0]).item())
    assert fall[1] == 0
    assert torch.equal(best.W[1], pair.W[1])


def test_of_several_minima_handed_on_the_lowest_or_the_first_is_kept():
    """A pair that is a little off comes before the best one, whose loss is not half of that."""
    distribution = two_features(numbers(0.1, 0.1, 0.1), 1)
    W = torch.stack((numbers(1, -0.9), numbers(1, -1), numbers(0, 0)))[:, None]
    b = torch.zeros(3, 2).double()
    loss = expected_loss(W, b, distribution)
    assert loss[1] < loss[0] < 2 * loss[1]
    source, target = torch.tensor([0, 1]), torch.tensor([2, 2])
    for lowest_first, second in ((False, -0.9), (True, -1)):
        best = Minima(W.clone(), b.clone(), torch.tensor([1.0, 1.0, torch.inf]).double())
        hand_on(best, source, target, distribution, steps=1, gain=0.5, lowest_first=lowest_first)
        assert best.W[2, 0].tolist() == pytest.approx([1, second], abs=0.02)


def test_places_refuse_minima_that_they_do_not_admit():
    distribution = two_features(numbers(0.1, 0.1), 1)
    W, b = numbers(1, -1).expand(2, 1, 2).clone(), torch.zeros(2, 2).double()
    best = Minima(W, b, torch.tensor([1.0, torch.inf]).double())
    pairs = torch.tensor([0]), torch.tensor([1])

    def none(W, places):
        return torch.zeros(len(W), dtype=torch.bool)

    assert hand_on(best, *pairs, distribution, steps=1, gain=0.0, admits=none).tolist() == [0, 0]
    assert hand_on(best, *pairs, distribution, steps=1, gain=0.0).tolist() == [0, 1]


def test_nothing_is_handed_on_along_no_pairs():
    distribution = two_features(numbers(0.1), 1)
    none = torch.empty(0, dtype=torch.long)
    best = Minima(torch.zeros(1, 1, 2).double(), torch.zeros(1, 2).double(), numbers(1))
    assert hand_on(best, none, none, distribution, steps=1, gain=0.0).tolist() == [0]


def test_maximize_finds_the_top_of_a_parabola_and_keeps_its_start():
    top, start = numbers([1, -2], [3, 0.5]), torch.zeros(2, 2).double()
    found = maximize(lambda x: -((x - top) ** 2), start, steps=100)
    torch.testing.assert_close(found, top)
    assert torch.equal(start, torch.zeros(2, 2).double())
    assert not found.requires_grad


INF, NAN = float("inf"), float("nan")
# Differences at four points; point before the change of sign and share of the way, or None.
SIGN_CHANGES = {
    "between points": ([-3, -1, 1, 3], (1, 0.5)),
    "nearer to one": ([-3, -1, 3, 3], (1, 0.25)),
    "at a point": ([-1, 0, 1, 2], (1, 0.0)),
    "the first of two": ([-1, 1, -1, 1], (0, 0.5)),
    "always better": ([-3, -2, -1, 0], None),
    "from above to below": ([3, 1, -1, -3], None),
    "one of the two ends": ([-2, -1, INF, INF], (1, 0.5)),
    "cannot be compared at the change": ([-2, NAN, 1, 2], None),
}


@pytest.mark.parametrize("difference, expected", SIGN_CHANGES.values(), ids=SIGN_CHANGES)
def test_first_sign_change(difference, expected):
    change = first_sign_change(numbers(difference))
    assert change.found.tolist() == [expected is not None]
    if expected is not None:
        assert (change.point.item(), change.share.item()) == expected
        assert change.finite.item() == (INF not in difference)


# Many runs of one setting


PAIRS = FeatureDistribution(
    numbers(0.02, 0.2)[:, None], features=4, set_size=2, correlation="correlated"
)


def test_random_descents_say_their_losses():
    runs = random_descents(PAIRS, 2, 3, steps=50, seed=1)
    assert runs.W.shape == (2, 3, 2, 4) and runs.loss.shape == (2, 3)
    again, longer = (random_descents(PAIRS, 2, 3, steps=steps, seed=1) for steps in (50, 200))
    assert torch.equal(again.W, runs.W) and (longer.loss < runs.loss).all()
    assert not torch.equal(random_descents(PAIRS, 2, 3, steps=50, seed=2).W, runs.W)


def test_small_weights_are_small_and_of_the_seed():
    W = small_weights(PAIRS, 3, 200, seed=1, init_scale=0.3)
    assert W.shape == (2, 200, 3, 4) and W.dtype == torch.float64
    assert W.std().item() == pytest.approx(0.3, rel=0.05) and W.mean().abs() < 0.02
    assert not torch.equal(small_weights(PAIRS, 3, 200, seed=2, init_scale=0.3), W)


def test_the_best_sampled_run_is_nearly_the_best_descent():
    best = random_descents(PAIRS, 2, 16, steps=300, seed=0).loss.amin(dim=1)
    runs = sampled_runs(PAIRS, 2, Sampling(restarts=8, steps=800))
    assert (
        runs.W.shape == (2, 8, 2, 4) and runs.W.dtype == torch.float64 and runs.loss.shape == (2, 8)
    )
    sampled = best_run(runs)
    assert sampled.W.shape == (2, 2, 4) and torch.equal(sampled.loss, runs.loss.amin(dim=1))
    assert torch.equal(sampled.W[1], runs.W[1, runs.loss[1].argmin()])
    assert (sampled.loss >= best * (1 - 1e-3)).all() and (sampled.loss < 1.2 * best).all()
    assert (sampled_runs(PAIRS, 2, Sampling(restarts=1, steps=20)).loss[:, 0] > sampled.loss).all()
