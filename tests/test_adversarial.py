"""Attacks whose effect is known, what a short run returns, and ideal and broken results of Section 6."""

from types import SimpleNamespace

import pytest
import torch
from drawing import drawn
from hypothesis import given, settings
from hypothesis import strategies as st

import Section6main as section6
from experiments import adversarial, adversarial_training
from experiments.adversarial import (
    QUICK,
    QUICK_FALLING,
    WORST,
    Attacked,
    correlation,
    definitions,
    features_per_dimension,
    forming,
    rise,
    run,
)
from experiments.adversarial_training import left, removing, smallest_from
from features import FeatureDistribution

# Attacks with a known effect


def models(W, b, size, importance=1.0):
    W, b = torch.as_tensor(W, dtype=torch.float64)[None], torch.as_tensor(b, dtype=torch.float64)[None]
    return Attacked(W, b, torch.full_like(b, importance), torch.tensor([size], dtype=torch.float64))


def rows(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_without_superposition_an_attack_costs_its_squared_size():
    """Two dedicated dimensions, two features not represented: these cannot be attacked, and nothing is worse."""
    dedicated = models([[1, 0, 0, 0], [0, 1, 0, 0]], [0, 0, 0.3, 0.3], size=0.2, importance=0.5)
    x = torch.rand(1, 50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, worst = dedicated.by_feature(x)
    torch.testing.assert_close(mean, rows(0.5 * 0.04, 0.5 * 0.04, 0, 0), rtol=1e-12, atol=1e-15)
    assert (worst < 2).all()
    moved = x + dedicated.on(worst)
    of_start, climbed = (dedicated.ascent(x, moved, steps) for steps in (0, 5))
    for extra in (of_start, climbed):
        torch.testing.assert_close(extra, torch.full_like(extra, 0.02), rtol=1e-12, atol=1e-15)
    assert (dedicated.ascent(x, x, 1) == 0).all()  # what is represented has no error, and so no gradient


def test_attack_on_an_antipodal_pair_costs_twice_as_much():
    """W = (1, -1) moves its hidden dimension by sqrt(2) times the size; one output at least lets that through."""
    pair, s = models([[1.0, -1.0]], [0.0, 0.0], size=0.1), 0.1
    x = rows([0.5, 0], [0, 0.5], [0, 0])
    attack = torch.tensor([s, -s], dtype=torch.float64) / 2**0.5
    torch.testing.assert_close(pair.on(torch.tensor([[0, 1]])), torch.stack([attack, -attack])[None])
    extra = pair.losses(x, x + attack) - pair.losses(x, x)
    torch.testing.assert_close(extra, torch.full_like(extra, 2 * s**2))
    mean, _ = pair.by_feature(x)
    torch.testing.assert_close(mean, rows(2 * s**2, 2 * s**2))


def test_ascent_finds_the_worst_attack():
    """In two dimensions all attacks can be tried; steps never lose what was found, and never exceed the worst."""
    generator = torch.Generator().manual_seed(1)
    W = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    random = models(W, [-0.1, 0.05], size=0.15)
    x = torch.rand(1, 40, 2, generator=generator, dtype=torch.float64)
    _, worst = random.by_feature(x)
    start = x + random.on(worst)
    found = [random.ascent(x, start, steps) for steps in (0, 1, 30)]
    angles = torch.linspace(0, 2 * torch.pi, 2000, dtype=torch.float64)
    every = 0.15 * torch.stack([angles.cos(), angles.sin()], dim=1)
    tried = torch.stack([random.losses(x, x + attack) - random.losses(x, x) for attack in every]).amax(dim=0)
    assert (found[0] <= found[1]).all() and (found[1] <= found[2]).all()
    assert (found[2] <= tried + 1e-5).all() and found[2].mean() > 0.97 * tried.mean() > found[0].mean()


# An ideal Result, and broken ones

COUNTS = (4, 4, 5, 6, 8, 10, 13, 16, 20, 20, 20)  # represented of 20 features in 4 dimensions


def ideal(falling=False):
    """Features of norm 1, more and more; vulnerability is 0.7 times their number per dimension, later less."""
    points, size = len(COUNTS), 0.2
    W = torch.zeros(points, 4, 20)
    for k, count in enumerate(COUNTS):
        W[k, torch.arange(count) % 4, torch.arange(count)] = 1
    vulnerability = (1 + 0.7 * (torch.tensor(COUNTS) / 4 - 1)) * torch.tensor([1.0] * (points - 2) + [0.7, 0.5])
    extra = size**2 * vulnerability
    importance = (0.9 if falling else 1.0) ** torch.arange(20, dtype=torch.float64)
    return adversarial.Result(
        inverse_density=torch.logspace(0, 1.3, points, dtype=torch.float64),
        importance=importance,
        W=W,
        size=torch.full((points,), size),
        loss=torch.linspace(1, 0.1, points),
        by_feature=extra[:, None].expand(-1, 20) / 2,
        worst=extra,
        by_row=2 * extra,
        gradient=1.5 * extra,
        climbed=3 * extra,
        densest=torch.full((points,), size**2),
    )


def trained():
    """At the first density superposition ends at 0.4, at the second never."""
    return adversarial_training.Result(
        inverse_density=torch.tensor([5.0, 10.0]),
        attack=torch.tensor([0.0, 0.4, 0.8]),
        W=torch.stack([torch.stack([pair(0.0), pair(90.0), pair(90.0)]), torch.stack([pair(0.0)] * 3)]),
    )


def pair(degrees, norm=1.0):
    """Two features of some norm at an angle."""
    angle = torch.tensor(degrees).deg2rad()
    return norm * torch.tensor([[1.0, angle.cos()], [0.0, angle.sin()]])


def with_vulnerability(vulnerability):
    def changed(result):
        return result._replace(worst=vulnerability(result) * result.size.square())

    return changed


def from_the_start(result):
    W = result.W.clone()
    W[:2] = W[2]  # 5 features in 4 dimensions
    return result._replace(W=W)


def random_weights(result):
    return result._replace(W=torch.randn(result.W.shape, generator=torch.Generator().manual_seed(0)))


def shuffled(result):
    order = torch.randperm(len(COUNTS), generator=torch.Generator().manual_seed(1))
    return result._replace(worst=result.worst[order])


def noise(result):
    values = 1 + 3 * torch.rand(len(COUNTS), generator=torch.Generator().manual_seed(2))
    return result._replace(worst=values * result.size.square())


def peak_before(result):
    return with_vulnerability(lambda result: torch.tensor([1.0, 4.0] + [1.5] * (len(COUNTS) - 2)))(result)


BROKEN_RISES = {
    "a smaller rise": with_vulnerability(lambda result: 1 + 0.4 * (torch.tensor(COUNTS) / 4 - 1)),
    "just the rise": with_vulnerability(lambda result: (torch.tensor(COUNTS) / 4).clamp(max=section6.RISE)),
    "superposition from the start": from_the_start,
    "a peak without superposition": peak_before,
    "constant": with_vulnerability(lambda result: torch.ones(len(COUNTS))),
    "random weights": random_weights,
}
UNRELATED = {
    "noise": noise,
    "vulnerabilities of other densities": shuffled,
    "random weights": random_weights,
    "constant": with_vulnerability(lambda result: torch.ones(len(COUNTS))),
    "falling": with_vulnerability(lambda result: 4 / torch.tensor(COUNTS)),
    "complete at once": lambda result: result._replace(W=result.W[-1:].expand_as(result.W)),
}


def test_claim_rise_holds_on_an_ideal_result():
    claim = section6.claim_rise(ideal(), ideal(falling=True))
    assert claim.holds
    assert claim.numbers["rise"] == pytest.approx(3.8)
    assert claim.numbers["peak at 1/(1-S)"] == pytest.approx(ideal().inverse_density[8].item())
    assert claim.numbers["with I=0.9^i: rise"] == pytest.approx(3.8)
    assert claim.numbers["rise by worst feature of each row"] == pytest.approx(3.8)


@pytest.mark.parametrize("change", BROKEN_RISES.values(), ids=BROKEN_RISES)
def test_claim_rise_refuses_broken_results(change):
    claim = section6.claim_rise(change(ideal()), ideal(falling=True))
    assert not claim.holds and all(value == value for value in claim.numbers.values())


def test_claim_tracks_holds_on_an_ideal_result():
    claim = section6.claim_tracks(ideal(), ideal(falling=True), trained())
    assert claim.holds
    assert claim.numbers["points where superposition forms"] == 9
    assert claim.numbers["correlation where superposition forms"] == pytest.approx(1)
    assert claim.numbers["at all densities"] < 0.95
    assert claim.numbers["attack in training that removes it at 1/(1-S)=5"] == pytest.approx(0.4)
    assert "attack in training that removes it at 1/(1-S)=10" not in claim.numbers


@pytest.mark.parametrize("change", UNRELATED.values(), ids=UNRELATED)
def test_claim_tracks_refuses_broken_results(change):
    claim = section6.claim_tracks(change(ideal()), ideal(falling=True), trained())
    assert not claim.holds and all(value == value for value in claim.numbers.values())


# What results show


def test_definitions():
    """The linear model with four dedicated dimensions ignores 16 features of variance p/3 - p^2/4."""
    result, of = ideal(), definitions(ideal())
    expected = 1 + 0.7 * (torch.tensor(COUNTS[:9]) / 4 - 1)
    factors = (1, 0.5, 1, None, 2, 1.5, 3)
    for (name, values), factor in zip(of.items(), factors, strict=True):
        if factor is not None:
            torch.testing.assert_close(values[:9].float(), factor * expected, msg=name)
    p = 1 / result.inverse_density
    linear = 16 * (p / 3 - p**2 / 4) + 0.04
    absolute = ((result.loss + result.worst) / linear).float()
    torch.testing.assert_close(of["worst feature, loss instead of extra loss"].float(), absolute)
    assert features_per_dimension(result).tolist() == pytest.approx([count / 4 for count in COUNTS])


def test_rise():
    assert rise(torch.tensor([0.5, 1.0, 2.0, 1.5])) == 4
    assert rise(torch.tensor([2.0, 1.0])) == 1


@pytest.mark.parametrize(
    "counts, expected",
    [
        ((4, 18, 19, 20), [True, True, True, False]),  # 95 % are 19 of 20
        ((4, 18, 18, 18), [True, True, True, True]),
        ((4, 19, 18, 18), [True, True, False, False]),
        ((20, 20, 20, 20), [True, False, False, False]),
    ],
)
def test_superposition_forms_until_it_is_complete(counts, expected):
    W = torch.zeros(4, 4, 20)
    for k, count in enumerate(counts):
        W[k, 0, :count] = 0.51
        W[k, 0, count:] = 0.49
    result = SimpleNamespace(W=W)
    assert forming(result).tolist() == expected


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=3, max_size=8, unique=True), st.floats(0.1, 9))
def test_correlation_of_a_line(values, slope):
    a = torch.tensor(values, dtype=torch.float64)
    assert correlation(a, slope * a + 1) == pytest.approx(1)
    assert correlation(a, -slope * a) == pytest.approx(-1)


def test_correlation_where_there_is_none():
    assert correlation(torch.tensor([1.0, 2, 3]), torch.ones(3)) is None
    assert correlation(torch.tensor([1.0, 2]), torch.tensor([1.0, 2])) is None
    assert correlation(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, -1, -1, 1])) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "gone, expected",
    [
        ([False, True, True], 0.4),
        ([False, True, False], None),
        ([True, False, True], 0.8),
        ([True, True, True], 0.0),
        ([False, False, False], None),
    ],
)
def test_smallest_attack_from_which_it_is_gone(gone, expected):
    attack = torch.tensor([0.0, 0.4, 0.8], dtype=torch.float64)
    assert smallest_from(attack, torch.tensor(gone)) == expected


@pytest.mark.parametrize(
    "W, gone",
    [
        (pair(180.0), False),
        (pair(180.0, norm=0.51), False),  # weights that shrink are still in superposition
        (pair(180.0, norm=0.49), True),  # not represented any more
        (pair(62.0), True),  # interference below 1/4
        (pair(58.0), False),
        (pair(90.0), True),
    ],
)
def test_superposition_is_gone(W, gone):
    result = adversarial_training.Result(torch.ones(1), torch.tensor([0.5]), W[None, None])
    assert removing(result) == [0.5 if gone else None]


def test_what_is_left():
    of = left(trained())
    assert of.features_per_dimension.flatten().tolist() == pytest.approx([1.0] * 6)
    assert of.represented.flatten().tolist() == [1.0] * 6
    assert of.sharing.tolist() == [[1, 0, 0], [1, 1, 1]]


# The runs


def test_run():
    results = [run(choice, seed=seed, progress=False) for choice, seed in ((QUICK, 0), (QUICK, 0), (QUICK_FALLING, 1))]
    first, again, other = results
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not torch.equal(first.W, other.W) and other.importance[2] == pytest.approx(0.81)
    x = FeatureDistribution(1 / first.inverse_density[:, None], features=30).sample(4096)
    torch.testing.assert_close(first.size, 0.1 * x.norm(dim=2).mean(dim=1), rtol=0.03, atol=0)
    assert all(values.isfinite().all() for result in results for values in result)
    assert first.worst[0] == first.densest[0] and (first.climbed >= first.by_row).all()
    assert (first.by_row >= 0.97 * first.worst).all()
    per_dimension = features_per_dimension(first)
    assert per_dimension[0] < 1.1 and per_dimension[-1] > 4
    assert definitions(first)[WORST][0] == pytest.approx(1, abs=0.1)
    drawn(adversarial.figure, (first, other))


def test_run_of_training():
    first, again = (adversarial_training.run(adversarial_training.QUICK, progress=False) for _ in range(2))
    assert torch.equal(first.W, again.W)
    per_dimension = left(first).features_per_dimension
    assert per_dimension.shape == (2, 4) and (per_dimension.diff(dim=1) < 0).all()
    assert (left(first).sharing[:, 0] > 1).all() and (left(first).sharing[:, -1] < 0.5).all()
    drawn(adversarial_training.figure, first)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "module, name, value",
    [
        (adversarial, "attack", 0.0),
        (adversarial, "inverse_density", (0.5,)),
        (adversarial, "rows", 0),
        (adversarial_training, "attack", (0.4, 0.2)),
        (adversarial_training, "attack", ()),
        (adversarial_training, "attack", (-0.1, 0.2)),
        (adversarial_training, "attack", (0.1, float("nan"))),
        (adversarial_training, "inverse_density", ()),
    ],
)
def test_settings_refuse(module, name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        module.Settings(**{name: value})
