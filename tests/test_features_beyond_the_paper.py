"""Values, graded correlation and nested features, against probabilities enumerated by hand.

Bounds are 5 standard errors, and seeds are fixed.
"""

from itertools import product
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_features import assert_counts, assert_mean, count_patterns, generator

from features import FeatureDistribution, RowMaker, Uniform, check_standard

ROWS = 2**16
SET_SIZE = 3
SET_DENSITIES = [[0.3, 0.3], [0.05, 0.9], [1e-3, 2e-3], [1e-6, 3e-6], [0, 0.4], [1, 0.2], [0, 0]]
PARENTS = (None, 0, None, 0, 1, 2)
NESTED_DENSITIES = [
    [0.5, 0.3, 0.2, 0.5, 0.1, 0.05],
    [1e-3, 1e-4, 2e-3, 1e-3, 1e-5, 1e-3],
    [0, 0, 0.4, 0, 0, 0.1],
    [1, 0.5, 0.3, 1, 0.5, 0],
    [1e-300, 1e-305, 0, 1e-300, 0, 0],
    [0, 0, 0, 0, 0, 0],
]


def graded(strength, **others):
    density = torch.tensor(SET_DENSITIES).double().repeat_interleave(SET_SIZE, dim=1)
    return FeatureDistribution(
        density, set_size=SET_SIZE, correlation="correlated", strength=strength, **others
    )


def nested(**others):
    return FeatureDistribution(NESTED_DENSITIES, parents=PARENTS, **others)


CASES = {
    "strength 0": graded(0),
    "strength 0.3": graded(0.3),
    "strength 0.9": graded(0.9),
    "strength 1": graded(1),
    "nested": nested(),
}


def set_pattern_probability(active, p, strength):
    """Return the probability that just these members (booleans) of a set are active."""
    alone = 1.0
    for is_active in active:
        alone *= p if is_active else 1 - p
    together = p if all(active) else 1 - p if not any(active) else 0.0
    return strength * together + (1 - strength) * alone


def nested_pattern_probability(active, density, parents):
    """Return the probability that just these nested features (booleans) are active."""
    probability = 1.0
    for feature, parent in enumerate(parents):
        given_parent = density[feature]
        if parent is not None:
            given_parent = density[feature] / (density[parent] or 1) if active[parent] else 0.0
        probability *= given_parent if active[feature] else 1 - given_parent
    return probability


def pattern_probabilities(distribution, instance):
    """Return the probability of each pattern of active features, feature i counting 2^i."""
    density = distribution.density[instance].tolist()
    probabilities = []
    for reverse in product((False, True), repeat=len(density)):
        active = reverse[::-1]
        if distribution.parents is not None:
            chance = nested_pattern_probability(active, density, distribution.parents)
        else:
            chance = 1.0
            for start in range(0, len(density), distribution.set_size):
                members = active[start : start + distribution.set_size]
                chance *= set_pattern_probability(members, density[start], distribution.strength)
        probabilities.append(chance)
    return torch.tensor(probabilities, dtype=torch.float64)


def activity(features):
    """Return which features are active in each pattern (2^features, features)."""
    patterns = torch.arange(2**features)[:, None]
    return (patterns >> torch.arange(features) & 1).double()


# What is active


@pytest.mark.parametrize("distribution", CASES.values(), ids=CASES)
def test_the_enumeration_has_the_right_densities(distribution):
    for instance in range(distribution.instances):
        probabilities = pattern_probabilities(distribution, instance)
        marginal = probabilities @ activity(6)
        torch.testing.assert_close(marginal, distribution.density[instance], rtol=1e-9, atol=0)


@pytest.mark.parametrize("distribution", CASES.values(), ids=CASES)
def test_patterns_of_activity(distribution):
    x = distribution.sample(ROWS, generator())
    for instance in range(distribution.instances):
        assert_counts(count_patterns(x[instance]), pattern_probabilities(distribution, instance))


@pytest.mark.parametrize("distribution", CASES.values(), ids=CASES)
def test_patterns_of_active_rows(distribution):
    """Rows of sample_active are distributed like the rows of sample that are not empty."""
    x, _ = distribution.sample_active(ROWS, generator())
    for instance in range(distribution.instances):
        expected = pattern_probabilities(distribution, instance)
        expected[0] = 0
        if not expected.any():
            assert not x[instance].any()
            continue
        assert_counts(count_patterns(x[instance]), expected / expected.sum())


@pytest.mark.parametrize("distribution", CASES.values(), ids=CASES)
def test_probability_of_an_active_row(distribution):
    expected = []
    for instance in range(distribution.instances):
        probabilities = pattern_probabilities(distribution, instance)
        expected.append(probabilities[1:].sum())
    torch.testing.assert_close(
        distribution.active_probability, torch.stack(expected), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.8, 1.0])
def test_strength_is_the_correlation_of_activity(strength):
    distribution = FeatureDistribution(
        0.3, features=4, set_size=2, correlation="correlated", strength=strength
    )
    active = (distribution.sample(2**18, generator())[0] != 0).double()
    expected = torch.eye(4).double()
    expected[[0, 1, 2, 3], [1, 0, 3, 2]] = strength
    torch.testing.assert_close(active.T.corrcoef(), expected, rtol=0, atol=0.01)


def test_full_strength_is_the_default():
    default = FeatureDistribution(0.1, features=4, set_size=2, correlation="correlated")
    assert default.strength == 1
    # A strength just below 1 takes the general path, and differs in no row that is drawn here.
    nearly = FeatureDistribution(
        0.1, features=4, set_size=2, correlation="correlated", strength=1 - 1e-15
    )
    expected = default.sample(1000, generator(), torch.float64)
    assert torch.equal(nearly.sample(1000, generator(), torch.float64), expected)


def test_a_child_is_active_only_with_its_parent():
    x = nested().sample(1000, generator())
    for child, parent in enumerate(PARENTS):
        if parent is not None:
            assert ((x[..., child] == 0) | (x[..., parent] != 0)).all()


# Values


VALUES = {
    "a range": (Uniform(0.5, 2), 1.25, (0.25 + 1 + 4) / 3),
    "a signed range": (Uniform(-1, 1), 0, 1 / 3),
    "one number": (2.5, 2.5, 6.25),
    "a set": ([1, -0.5, 4], 1.5, (1 + 0.25 + 16) / 3),
}
SETS = {
    "independent": {},
    "correlated": {"set_size": 2, "correlation": "correlated"},
    "graded": {"set_size": 2, "correlation": "correlated", "strength": 0.4},
    "anticorrelated": {"set_size": 2, "correlation": "anticorrelated"},
    "nested": {"parents": (None, 0, 1, None)},
}


@pytest.mark.parametrize("sets", SETS.values(), ids=SETS)
@pytest.mark.parametrize("values, mean, square", VALUES.values(), ids=VALUES)
def test_values_of_active_features(values, mean, square, sets):
    distribution = FeatureDistribution([0.6, 0.6, 0.6, 0.6], values=values, **sets)
    possible = distribution.values
    drawn = (distribution.sample(ROWS, generator()), distribution.sample_active(ROWS)[0])
    for x, feature in product(drawn, range(4)):
        found = x[0, :, feature][x[0, :, feature] != 0].double()
        if isinstance(possible, Uniform):
            assert possible.low <= found.min() and found.max() <= possible.high
            share = (found.sort().values - possible.low) / (possible.high - possible.low)
            distance = (share - torch.linspace(0, 1, len(share))).abs().max()
            assert distance <= 2.5 / sqrt(len(share))  # Kolmogorov-Smirnov, chance 1e-5
        else:
            kinds, counts = found.unique(return_counts=True)
            assert kinds.tolist() == list(possible)
            share = 1 / len(possible)
            allowed = 5 * sqrt(len(found) * share * (1 - share))
            assert ((counts - len(found) * share).abs() <= allowed).all()
        assert_mean(found, mean, square - mean**2)


@pytest.mark.parametrize("sets", SETS.values(), ids=SETS)
def test_values_change_no_activity(sets):
    draws = []
    for values in (Uniform(), 1.0, [1.0, 2.0, -3.0]):
        distribution = FeatureDistribution([[0.3] * 4, [0.01] * 4], values=values, **sets)
        draws.append(distribution.sample_active(500, generator())[0] != 0)
    assert torch.equal(draws[0], draws[1]) and torch.equal(draws[0], draws[2])


def test_a_larger_place_gives_a_larger_value():
    places = FeatureDistribution(0.5, features=3).sample(200, generator())
    values = FeatureDistribution(0.5, features=3, values=[3, 1, 2]).sample(200, generator())
    order = places.flatten().argsort()
    assert (values.flatten()[order].diff() >= 0).all()


def test_values_of_partners_are_independent():
    for sets in (SETS["correlated"], SETS["graded"], SETS["nested"]):
        x = FeatureDistribution([0.6] * 4, **sets).sample(ROWS, generator())[0]
        both = x[(x[:, 0] != 0) & (x[:, 1] != 0)]
        assert_mean((both[:, 0] - 0.5) * (both[:, 1] - 0.5), 0, 1 / 144)


def test_values_have_one_form():
    assert FeatureDistribution(0.1, features=2).values == Uniform(0, 1)
    assert FeatureDistribution(0.1, features=2, values=np.int64(3)).values == (3.0,)
    assert FeatureDistribution(0.1, features=2, values=np.array([2, 1])).values == (1.0, 2.0)
    signed = FeatureDistribution(0.1, features=2, signed=True)
    assert signed.values == Uniform(-1, 1)
    assert FeatureDistribution(0.1, features=2, values=signed.values).signed is True
    assert FeatureDistribution(0.1, features=2, values=[-1, 1]).signed is False


# Moments


MOMENTS = {
    "independent": FeatureDistribution([[0.3, 0.1, 1.0, 0.0, 0.2, 0.6]], values=Uniform(0.5, 2)),
    "correlated": graded(1, values=[1, 4]),
    "graded": graded(0.3),
    "graded and signed": graded(0.3, signed=True),
    "graded with a value": graded(0.6, values=2),
    "strength 0": graded(0, values=Uniform(-1, 3)),
}


@pytest.mark.parametrize("distribution", MOMENTS.values(), ids=MOMENTS)
def test_moments_equal_the_enumeration(distribution):
    if isinstance(distribution.values, Uniform):
        low, high = distribution.values.low, distribution.values.high
        value = (low + high) / 2
        square = (high**3 - low**3) / (high - low) / 3
    else:
        value = np.mean(distribution.values)
        square = np.mean(np.square(distribution.values))
    mean, own, shared = distribution.moments()
    for instance in range(distribution.instances):
        active = activity(6)
        probabilities = pattern_probabilities(distribution, instance)
        if distribution.correlation == "independent":
            p = distribution.density[instance]
            probabilities = torch.where(active > 0, p, 1 - p).prod(dim=1)
        second = value**2 * (active.T * probabilities) @ active
        second.diagonal().copy_(square * probabilities @ active)
        expected_mean = value * probabilities @ active
        covariance = second - expected_mean[:, None] * expected_mean
        ours = torch.diag(own[instance])
        for start in range(0, 6, distribution.members):
            members = slice(start, start + distribution.members)
            ours[members, members] += shared[instance, start]
        if distribution.members == 1:
            ours = torch.diag(own[instance] + shared[instance])
        torch.testing.assert_close(mean[instance], expected_mean, rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(ours, covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("values", [Uniform(0.5, 2), 3.0, [-1.0, 0.5]])
def test_moments_of_exclusive_features(values):
    """Two features exclude each other: each is active with probability p / 2, never both."""
    distribution = FeatureDistribution(
        0.6, features=2, set_size=2, correlation="anticorrelated", values=values
    )
    x = distribution.sample(2**18, generator(), torch.float64)[0]
    mean, own, shared = (moment[0] for moment in distribution.moments())
    covariance = torch.diag(own) + shared
    torch.testing.assert_close(x.mean(dim=0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(x.T.cov(), covariance, rtol=0, atol=0.04)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    p=st.floats(1e-6, 1),
    strength=st.floats(0, 1),
    set_size=st.integers(1, 4),
    signed=st.booleans(),
)
def test_moments_of_graded_sets(p, strength, set_size, signed):
    """The covariance of two members is strength p (1 - p) times the squared mean value."""
    mean, own, shared = FeatureDistribution(
        p,
        features=2 * set_size,
        set_size=set_size,
        correlation="correlated",
        strength=strength,
        signed=signed,
    ).moments()
    value = 0 if signed else 1 / 2
    torch.testing.assert_close(mean, torch.full_like(mean, p * value))
    torch.testing.assert_close(shared, torch.full_like(mean, strength * p * (1 - p) * value**2))
    torch.testing.assert_close(own + shared, torch.full_like(mean, p / 3 - (p * value) ** 2))


def test_nested_features_have_no_such_moments():
    with pytest.raises(ValueError, match=r"parents: expected none, .* got"):
        nested().moments()


# Selections


@pytest.mark.parametrize(
    "distribution",
    [graded(0.25, values=[1, 2]), nested(values=Uniform(1, 2)), nested(signed=True)],
    ids=["graded", "nested", "signed"],
)
def test_selections_keep_everything(distribution):
    kept = ("set_size", "correlation", "signed", "values", "strength", "parents", "features")
    for other in (
        distribution.select([1, 0]),
        distribution.with_restarts(2),
        distribution.to("cpu"),
    ):
        for name in kept:
            assert getattr(other, name) == getattr(distribution, name), name
    x, _ = distribution.sample_active(50, generator())
    alone, _ = distribution.select(1).sample_active(50, generator())
    assert torch.equal(alone[0], x[1])


def test_a_maker_needs_no_table_where_rows_are_rarely_empty():
    dense = FeatureDistribution(0.9, features=4, parents=(None, 0, None, 2))
    assert RowMaker(dense, torch.float32, rare=0.05).cumulative is None
    assert RowMaker(dense, torch.float32, rare=0.005).cumulative is not None


def test_parents_may_name_nobody():
    assert FeatureDistribution(0.1, features=2, parents=[None, None]).parents is None
    parents = FeatureDistribution(0.1, features=3, parents=[None, np.uint8(0), 0]).parents
    assert parents == (None, 0, 0) and all(type(parent) is not np.uint8 for parent in parents)


# Refused

CORRELATED = {"set_size": 2, "correlation": "correlated"}
REFUSED = {
    "strength below 0": ("strength", {**CORRELATED, "strength": -0.1}),
    "strength above 1": ("strength", {**CORRELATED, "strength": 1.1}),
    "strength NaN": ("strength", {**CORRELATED, "strength": float("nan")}),
    "strength of several": ("strength", {**CORRELATED, "strength": [0.1, 0.2]}),
    "strength a word": ("strength", {**CORRELATED, "strength": "weak"}),
    "strength of independent features": ("strength", {"strength": 0.5}),
    "strength of exclusive features": (
        "strength",
        {"set_size": 2, "correlation": "anticorrelated", "strength": 0.5},
    ),
    "signed a word": ("signed", {"signed": "yes"}),
    "signed and a range": ("signed", {"signed": True, "values": Uniform(0, 2)}),
    "unsigned and signed values": ("signed", {"signed": False, "values": Uniform(-1, 1)}),
    "value 0": ("values", {"values": 0.0}),
    "a value 0 among others": ("values", {"values": [0, 1]}),
    "value NaN": ("values", {"values": float("nan")}),
    "value infinite": ("values", {"values": [1, float("inf")]}),
    "value too small": ("values", {"values": 1e-30}),
    "no values": ("values", {"values": []}),
    "values in a table": ("values", {"values": [[1.0, 2.0]]}),
    "values a word": ("values", {"values": "uniform"}),
    "parents too few": ("parents", {"parents": [None, 0]}),
    "parents too many": ("parents", {"parents": [None] * 5}),
    "parents a number": ("parents", {"parents": 0}),
    "parents a word": ("parents", {"parents": "none"}),
    "parent of itself": ("parents", {"parents": [0, None, None, None]}),
    "parent after its child": ("parents", {"parents": [None, 2, None, None]}),
    "parent below 0": ("parents", {"parents": [None, -1, None, None]}),
    "parent not whole": ("parents", {"parents": [None, 0.0, None, None]}),
    "parents of sets": ("parents", {**CORRELATED, "parents": [None, 0, None, None]}),
    "child denser than its parent": (
        "density",
        {"density": [0.1, 0.2, 0.1, 0.1], "parents": [None, 0, None, None]},
    ),
    "density below float64's precision": ("density", {"density": 1e-310}),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name, arguments", REFUSED.values(), ids=REFUSED)
def test_refused(name, arguments):
    with pytest.raises(ValueError, match=rf"\b{name}\b.*: expected .*, got "):
        FeatureDistribution(**{"density": 0.5, "features": 4, **arguments})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "low, high",
    [(1, 1), (2, 1), (float("nan"), 1), (0, float("inf")), (0, 1e16), ("a", 1), (0, 1j)],
)
def test_refused_ranges(low, high):
    with pytest.raises(ValueError, match=r"(low|high).*: expected .*, got "):
        Uniform(low, high)


@pytest.mark.parametrize(
    "name, others",
    [
        ("values", {"values": 1.0}),
        ("values", {"values": Uniform(0, 2)}),
        ("strength", {**CORRELATED, "strength": 0.5}),
        ("parents", {"parents": [None, 0, None, None]}),
    ],
)
def test_what_is_not_standard(name, others):
    check_standard(FeatureDistribution(0.1, features=4, **CORRELATED))
    check_standard(FeatureDistribution(0.1, features=4, signed=True))
    with pytest.raises(ValueError, match=f"distribution: expected {name} .*, got "):
        check_standard(FeatureDistribution(0.1, features=4, **others))


# Any distribution


@st.composite
def nested_distributions(draw):
    """Draw up to six features, each with a share of its parent's density."""
    features = draw(st.integers(1, 6))
    parents = [
        draw(st.none() | st.integers(0, child - 1)) if child else None for child in range(features)
    ]
    density = []
    for parent in parents:
        share = draw(st.sampled_from([0.0, 1.0, 1e-3]) | st.floats(1e-9, 1))
        density.append(share * (1.0 if parent is None else density[parent]))
    return FeatureDistribution(density, parents=parents)


@st.composite
def graded_distributions(draw):
    set_size = draw(st.integers(1, 3))
    densities = st.sampled_from([0.0, 1.0, 1e-3, 1e-9]) | st.floats(1e-9, 1)
    density = draw(st.lists(densities, min_size=1, max_size=2))
    return FeatureDistribution(
        np.repeat(density, set_size),
        set_size=set_size,
        correlation="correlated",
        strength=draw(st.sampled_from([0.0, 1.0]) | st.floats(0, 1)),
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(distribution=nested_distributions() | graded_distributions(), seed=st.integers(0, 2**31))
def test_any_row_is_possible(distribution, seed):
    """No drawn pattern is impossible, and rows of sample_active are empty only if they must be."""
    chances = pattern_probabilities(distribution, 0)
    x = distribution.sample(100, generator(seed), dtype=torch.float64)[0]
    rows, probability = distribution.sample_active(100, generator(seed), dtype=torch.float64)
    assert (chances[count_patterns(x) > 0] > 0).all()
    assert (chances[count_patterns(rows[0]) > 0] > 0).all()
    assert torch.equal((rows[0] != 0).any(dim=1), (probability > 0).expand(100))
    torch.testing.assert_close(probability[0], chances[1:].sum(), rtol=1e-6, atol=1e-15)


# The paper's inputs are drawn as they were before there were others

DRAWN = {  # correlation, signed -> two rows of sample at density 0.6, two of sample_active at 0.1
    ("independent", False): (
        [
            [0.0, 0.7084549627828012, 0.0, 0.0],
            [0.6687880960542819, 0.27764081019533293, 0.3252634526771957, 0.0],
        ],
        [
            [0.5529822275271357, 0.0, 0.0, 0.12962479314074404],
            [0.0, 0.0, 0.050992297000578723, 0.0],
        ],
    ),
    ("correlated", True): (
        [[0.0, 0.0, -0.19031611103868906, 0.5570990513073513], [0.0, 0.0, 0.0, 0.0]],
        [
            [0.0, 0.0, -0.9015519381331372, -0.46973375834678177],
            [-0.11764358743167347, -0.8307344269077994, 0.0, 0.0],
        ],
    ),
    ("anticorrelated", False): (
        [[0.0, 0.0, 0.0, 0.41690992556560236], [0.0, 0.0, 0.0, 0.0]],
        [[0.0, 0.19031611103868906, 0.0, 0.0], [0.0, 0.6270330950068022, 0.0, 0.0]],
    ),
}


@pytest.mark.parametrize("kind", DRAWN, ids=str)
def test_the_default_is_drawn_bit_for_bit_as_ever(kind):
    correlation, signed = kind
    sampled, active = DRAWN[kind]
    distribution = FeatureDistribution(
        torch.tensor([[0.1], [0.6]]), features=4, set_size=2, correlation=correlation, signed=signed
    )
    source = generator(3)
    assert distribution.sample(2, source, torch.float64)[1].tolist() == sampled
    assert distribution.sample_active(2, source, torch.float64)[0][0].tolist() == active
