"""Samples against distributions that are worked out by hand.

Bounds are 5 standard errors, and seeds are fixed.
"""

from dataclasses import FrozenInstanceError
from itertools import product
from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features import CORRELATIONS, LOWEST_DENSITY, FeatureDistribution, RowMaker

ROWS = 2**16
SET_SIZE = 3
SET_DENSITIES = [
    [0.3, 0.3],
    [0.05, 0.9],
    [1e-3, 2e-3],
    [1e-6, 3e-6],
    [0, 0.4],
    [1, 0.2],
    [0, 0],
    [1, 1],
]

SAMPLED = [
    pytest.param(correlation, signed, id=f"{correlation}-{'signed' if signed else 'unsigned'}")
    for correlation, signed in product(CORRELATIONS, (False, True))
]


def two_sets(correlation, signed):
    """Return one instance for each of SET_DENSITIES, with two sets of three features."""
    density = torch.tensor(SET_DENSITIES).double().repeat_interleave(SET_SIZE, dim=1)
    if correlation == "independent":
        density[0] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    return FeatureDistribution(density, set_size=SET_SIZE, correlation=correlation, signed=signed)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pattern_probabilities(distribution, instance):
    """Return the probability of each pattern of active features, feature i counting 2^i."""
    density, k = distribution.density[instance].tolist(), distribution.set_size
    if distribution.correlation == "independent":
        units = [{0: 1 - p, 1 << i: p} for i, p in enumerate(density)]
    elif distribution.correlation == "correlated":
        units = [
            {0: 1 - density[i], (2**k - 1) << i: density[i]} for i in range(0, len(density), k)
        ]
    else:
        units = [
            {0: 1 - density[i], **{1 << i + member: density[i] / k for member in range(k)}}
            for i in range(0, len(density), k)
        ]
    probabilities = torch.zeros(2 ** len(density), dtype=torch.float64)
    for parts in product(*(unit.items() for unit in units)):
        patterns, shares = zip(*parts)
        probabilities[sum(patterns)] += torch.tensor(shares, dtype=torch.float64).prod()
    return probabilities


def probability_by_hand(distribution, instance):
    """Return 1 - prod(1 - p) over features or, where features come in sets, over sets."""
    step = 1 if distribution.correlation == "independent" else distribution.set_size
    none = 1.0
    for p in distribution.density[instance, ::step].tolist():
        none *= 1 - p
    return 1 - none


def count_patterns(x):
    """Count the rows x (rows, features) of one instance by their pattern of active features."""
    features = x.shape[1]
    return torch.bincount((x != 0).long() @ 2 ** torch.arange(features), minlength=2**features)


def assert_counts(counts, probabilities):
    """Assert that counts fit probabilities, with four more allowed for the rarest patterns."""
    rows = counts.sum()
    standard_error = (rows * probabilities * (1 - probabilities)).clamp(min=0).sqrt()
    allowed = torch.where(probabilities > 0, 5 * standard_error + 4, 0)
    excess = (counts - rows * probabilities).abs() - allowed
    assert excess.max() < 1e-6, f"pattern {excess.argmax()}: {counts[excess.argmax()]} of {rows}"


def assert_mean(values, mean, variance):
    assert abs(values.double().mean() - mean) <= 5 * sqrt(variance / values.numel()) + 1e-7


# What is active


@pytest.mark.parametrize("correlation, signed", SAMPLED)
def test_patterns_of_activity(correlation, signed):
    """Every pattern is as frequent as it should be, within sets and across them."""
    distribution = two_sets(correlation, signed)
    x = distribution.sample(ROWS, generator())
    for instance in range(distribution.instances):
        assert_counts(count_patterns(x[instance]), pattern_probabilities(distribution, instance))


@pytest.mark.parametrize("correlation, signed", SAMPLED)
def test_patterns_of_active_rows(correlation, signed):
    """Rows of sample_active are distributed like the rows of sample that are not empty."""
    distribution = two_sets(correlation, signed)
    x, probability = distribution.sample_active(ROWS, generator())
    for instance in range(distribution.instances):
        expected = pattern_probabilities(distribution, instance)
        if expected[0] == 1:
            assert not x[instance].any() and probability[instance] == 0
            continue
        expected[0] = 0
        assert_counts(count_patterns(x[instance]), expected / expected.sum())


def test_active_rows_equal_rejection():
    """Rows of sample_active have the same patterns as the rows of sample that are not empty."""
    distribution = FeatureDistribution([[0.1, 0.02, 0.3, 0.05]])
    rows = distribution.sample(2**19, generator(1))[0]
    rejected = count_patterns(rows[(rows != 0).any(dim=1)]).double()
    drawn = count_patterns(distribution.sample_active(2**18, generator(2))[0][0]).double()
    total = rejected + drawn
    share = drawn.sum() / total.sum()
    standard_error = (total * share * (1 - share)).sqrt()
    assert ((drawn - total * share).abs() <= 5 * standard_error + 4).all()


@pytest.mark.parametrize("draw", ["sample", "active"])
def test_rows_are_independent(draw):
    distribution = FeatureDistribution([[0.3, 0.1]])
    x = (
        distribution.sample(ROWS, generator())
        if draw == "sample"
        else distribution.sample_active(ROWS, generator())[0]
    )
    x = x[0]
    p = torch.tensor([0.3, 0.1]) / (1 if draw == "sample" else 1 - 0.7 * 0.9)
    # Rows in pairs, so that the products are independent too. E[x] = p/2, E[x^2] = p/3.
    for i, j in product(range(2), range(2)):
        mean = p[i] * p[j] / 4
        assert_mean(x[0::2, i] * x[1::2, j], mean, p[i] * p[j] / 9 - mean**2)


# Values


@pytest.mark.parametrize("active_only", [False, True])
@pytest.mark.parametrize("correlation, signed", SAMPLED)
def test_active_values_are_uniform(correlation, signed, active_only):
    distribution = two_sets(correlation, signed)
    draw = (
        distribution.sample_active(ROWS, generator(3))[0]
        if active_only
        else distribution.sample(ROWS, generator(3))
    )
    low, mean, variance = (-1, 0, 1 / 3) if signed else (0, 1 / 2, 1 / 12)
    fourth = 1 / 5 if signed else 1 / 80  # fourth central moment
    for x, feature in product(draw, range(distribution.features)):
        values = x[:, feature][x[:, feature] != 0]
        if len(values) < 1000:
            continue
        assert low <= values.min() and values.max() <= 1
        assert_mean(values, mean, variance)
        assert_mean((values - mean) ** 2, variance, fourth - variance**2)
        # Kolmogorov-Smirnov: the distance is larger with a probability of 1e-5.
        share = (values.double().sort().values - low) / (1 - low)
        assert (share - torch.linspace(0, 1, len(share))).abs().max() <= 2.5 / sqrt(len(share))


@pytest.mark.parametrize("active_only", [False, True])
@pytest.mark.parametrize("correlation, signed", SAMPLED)
def test_values_are_independent(correlation, signed, active_only):
    """A value says nothing about another feature's value, or whether that feature is active."""
    distribution = two_sets(correlation, signed)
    draw = (
        distribution.sample_active(ROWS, generator(4))[0]
        if active_only
        else distribution.sample(ROWS, generator(4))
    )
    mean, square = (0, 1 / 3) if signed else (1 / 2, 1 / 3)
    for x in draw:
        for i, j in product(range(distribution.features), repeat=2):
            both = x[(x[:, i] != 0) & (x[:, j] != 0)]
            without = x[(x[:, i] != 0) & (x[:, j] == 0)]
            if i != j and len(both) >= 1000:
                assert_mean(both[:, i], mean, square - mean**2)
                assert_mean(both[:, i] * both[:, j], mean**2, square**2 - mean**4)
            if len(without) >= 1000:
                assert_mean(without[:, i], mean, square - mean**2)


# The probability of an active row


@pytest.mark.parametrize("correlation, signed", SAMPLED)
def test_probability_of_an_active_row(correlation, signed):
    distribution = two_sets(correlation, signed)
    _, probability = distribution.sample_active(2, generator(), dtype=torch.float64)
    assert probability.shape == (distribution.instances,)
    expected = [
        probability_by_hand(distribution, instance) for instance in range(distribution.instances)
    ]
    torch.testing.assert_close(
        probability, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-15
    )


def test_probability_of_a_tiny_density():
    """1 - (1 - p)^3 rounds to 0 for p = 1e-20; the probability does not."""
    probability = FeatureDistribution(1e-20, features=3).active_probability
    torch.testing.assert_close(
        probability, torch.tensor([3e-20], dtype=torch.float64), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("p, q", [(0.3, 0.05), (1e-3, 0.2), (1e-6, 2e-6)])
def test_reweighting_reproduces_the_moments(correlation, p, q):
    """The mean over all rows is the mean over active rows times their probability."""
    density = torch.tensor([p, p, q, q]).double()
    distribution = FeatureDistribution(density, set_size=2, correlation=correlation)
    x, probability = distribution.sample_active(ROWS, generator(5), dtype=torch.float64)
    x = x[0]
    active = density / 2 if correlation == "anticorrelated" else density  # of a feature
    for i, j in product(range(4), repeat=2):
        same_set = i // 2 == j // 2
        if i == j:
            moment = active[i] / 3
        elif correlation == "correlated" and same_set:
            moment = active[i] / 4
        elif correlation == "anticorrelated" and same_set:
            moment = 0
        else:
            moment = active[i] * active[j] / 4
        products = probability * x[:, i] * x[:, j]
        # The variance of the products is at most probability * E[(x_i x_j)^2], and this is at most
        # probability * moment. For rare events the spread of the sample itself may be 0.
        bound = 5 * sqrt(probability * moment / ROWS) + 8 * probability / ROWS * (moment > 0)
        assert abs(products.mean() - moment) <= bound, (i, j)
    for i in range(4):
        mean = active[i] / 2
        assert abs((probability * x[:, i]).mean() - mean) <= 5 * sqrt(
            probability * active[i] / 3 / ROWS
        )


# Common random numbers


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_instances_share_their_random_numbers(correlation):
    density = torch.tensor([[0.2], [0.7], [0.2], [0.01]])
    distribution = FeatureDistribution(density, features=6, set_size=3, correlation=correlation)
    for x in (
        distribution.sample(500, generator()),
        distribution.sample_active(500, generator())[0],
    ):
        assert torch.equal(x[0], x[2])
        assert not torch.equal(x[0], x[1])
    alone = distribution.select([3])
    assert torch.equal(alone.sample(500, generator())[0], distribution.sample(500, generator())[3])
    assert torch.equal(
        alone.sample_active(500, generator())[0][0],
        distribution.sample_active(500, generator())[0][3],
    )


def test_a_higher_density_keeps_what_is_active():
    x = FeatureDistribution(torch.tensor([[0.1], [0.6]]), features=5).sample(1000, generator())
    active = x != 0
    assert (active[1] | ~active[0]).all() and active[1].sum() > active[0].sum()


@pytest.mark.parametrize("method", ["sample", "sample_active"])
def test_samples_are_a_function_of_the_generator(method):
    distribution = FeatureDistribution(0.3, features=4, instances=2)

    def x(source):
        drawn = getattr(distribution, method)(50, source)
        return drawn if method == "sample" else drawn[0]

    again = generator(7)
    first, second = x(again), x(again)
    assert torch.equal(first, x(generator(7)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, x(generator(8)))
    torch.manual_seed(3)
    unseeded = x(None)
    torch.manual_seed(3)
    assert torch.equal(unseeded, x(None))


# Rows made with tables


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_rows_of_a_maker_are_those_of_the_samples(correlation):
    density = torch.tensor([[0.01], [0.9], [0.3]])
    distribution = FeatureDistribution(density, features=4, set_size=2, correlation=correlation)
    maker = RowMaker(distribution, torch.float32, rare=0.05)
    draw = distribution.draw(64, generator(9))
    rows, again = maker.rows(draw), torch.full((3, 64, 4), torch.nan)
    assert maker.rows(draw, out=again) is again and torch.equal(again, rows)
    sample, (active, probability) = (
        distribution.sample(64, generator(9)),
        distribution.sample_active(64, generator(9)),
    )
    for instance, never_empty in enumerate((1 - probability <= 0.05).tolist()):
        assert torch.equal(rows[instance], (sample if never_empty else active)[instance])
        assert maker.probability[instance] == (1 if never_empty else probability[instance])


def test_a_maker_without_rare_rows_needs_no_table():
    dense = FeatureDistribution(0.5, features=300)
    assert RowMaker(dense, torch.float32, rare=0.01).factors.shape == (1, 1, 300)
    mixed = FeatureDistribution(torch.tensor([[0.5], [1e-4]]), features=300)
    rows = RowMaker(mixed, torch.float32, rare=0.01).rows(mixed.draw(500, generator()))
    assert (rows > 0).any(dim=2).all()


# Shapes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(dtype):
    distribution = FeatureDistribution(0.2, features=6, instances=3)
    x = distribution.sample(10, generator(), dtype=dtype)
    active, probability = distribution.sample_active(10, generator(), dtype=dtype)
    assert x.shape == active.shape == (3, 10, 6) and probability.shape == (3,)
    assert x.dtype == active.dtype == probability.dtype == dtype
    assert distribution.density.dtype == distribution.importance.dtype == torch.float64
    assert FeatureDistribution(0.2, features=1).sample(1).dtype == torch.float32


BROADCAST = {
    "scalars": (0.5, 1, {"features": 3, "instances": 2}, (2, 3)),
    "one instance by default": (0.5, 1, {"features": 3}, (1, 3)),
    "one value a feature": ([0.1, 0.2, 0.3], 1, {}, (1, 3)),
    "one value an instance": ([[0.1], [0.2]], 1, {"features": 3}, (2, 3)),
    "density by instance, importance by feature": ([[0.1], [0.2]], [1, 2, 3], {}, (2, 3)),
    "importance alone": (0.5, [[1, 2, 3], [4, 5, 6]], {}, (2, 3)),
    "full tables": (
        [[0.1, 0.2], [0.3, 0.4]],
        [[1, 2], [3, 4]],
        {"features": 2, "instances": 2},
        (2, 2),
    ),
    "features repeated for instances": ([0.1, 0.2], 1, {"instances": 4}, (4, 2)),
}


@pytest.mark.parametrize("density, importance, counts, shape", BROADCAST.values(), ids=BROADCAST)
def test_density_and_importance_broadcast(density, importance, counts, shape):
    distribution = FeatureDistribution(torch.tensor(density), torch.tensor(importance), **counts)
    assert (distribution.instances, distribution.features) == shape
    for table, given_ in ((distribution.density, density), (distribution.importance, importance)):
        torch.testing.assert_close(table, torch.tensor(given_).double().broadcast_to(shape))
    assert torch.equal(
        FeatureDistribution(density, importance, **counts).importance, distribution.importance
    )


# Immutability


@pytest.mark.parametrize(
    "name", ["density", "importance", "features", "instances", "set_size", "correlation", "signed"]
)
def test_attributes_cannot_be_set(name):
    distribution = FeatureDistribution(0.1, features=2)
    with pytest.raises(FrozenInstanceError):
        setattr(distribution, name, getattr(distribution, name))


def test_changes_of_the_arguments_change_nothing():
    density, importance = (
        torch.full((2, 3), 0.5, dtype=torch.float64),
        torch.ones(2, 3, dtype=torch.float64),
    )
    distribution = FeatureDistribution(density, importance)
    chosen = distribution.select(slice(0, 1))
    density.fill_(0)
    importance.fill_(7)
    assert (distribution.density == 0.5).all() and (distribution.importance == 1).all()
    chosen.density.fill_(0.25)
    assert (distribution.density == 0.5).all()


# Selections


def three_instances():
    return FeatureDistribution(
        [[0.1, 0.1], [0.2, 0.2], [0.2, 0.2]],
        [[1], [2], [3]],
        set_size=2,
        correlation="anticorrelated",
        signed=True,
    )


@pytest.mark.parametrize(
    "chosen, densities, importances",
    [
        (slice(1, 3), [0.2, 0.2], [2, 3]),
        ([2, 0], [0.2, 0.1], [3, 1]),
        (torch.tensor([True, False, True]), [0.1, 0.2], [1, 3]),
        (1, [0.2], [2]),
    ],
)
def test_select(chosen, densities, importances):
    selected = three_instances().select(chosen)
    assert (
        selected.density[:, 0].tolist() == densities
        and selected.importance[:, 1].tolist() == importances
    )
    assert selected.instances == len(densities) and selected.features == 2
    assert (selected.set_size, selected.correlation, selected.signed) == (2, "anticorrelated", True)


def test_with_restarts_repeats_each_instance_in_a_row():
    repeated = three_instances().with_restarts(2)
    assert repeated.instances == 6
    assert repeated.importance[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert repeated.correlation == "anticorrelated"


def test_importance_goes_where_density_is():
    density = torch.tensor([[0.1], [0.2], [0.3]])
    with torch.device("meta"):  # where tensors land if no device is named
        distribution = FeatureDistribution(density, [1.0, 2.0, 0.5])
    assert distribution.importance.device == distribution.density.device == density.device


# Refused


MEMBERS_DIFFER = {"set_size": 2, "correlation": "correlated"}
REFUSED = {
    "density below 0": ("density", {"density": -0.1}),
    "density above 1": ("density", {"density": [0.5, 1.1]}),
    "density NaN": ("density", {"density": float("nan")}),
    "one density NaN": ("density", {"density": [0.5, float("nan")]}),
    "density no number": ("density", {"density": "dense"}),
    "density None": ("density", {"density": None}),
    "density of three dimensions": ("density", {"density": torch.full((1, 1, 2), 0.5)}),
    "densities differ in a set": ("density", {"density": [0.5, 0.4], **MEMBERS_DIFFER}),
    "densities differ in an anticorrelated set": (
        "density",
        {"density": [[0.5, 0.5], [0.4, 0.5]], "set_size": 2, "correlation": "anticorrelated"},
    ),
    "importance below 0": ("importance", {"importance": -1.0}),
    "importance NaN": ("importance", {"importance": [1.0, float("nan")]}),
    "importance infinite": ("importance", {"importance": float("inf")}),
    "importance no number": ("importance", {"importance": "much"}),
    "importance of three dimensions": ("importance", {"importance": torch.ones(1, 1, 2)}),
    "features unknown": ("features", {"features": None}),
    "features 0": ("features", {"features": 0}),
    "features not whole": ("features", {"features": 2.0}),
    "features a truth value": ("features", {"features": True}),
    "instances 0": ("instances", {"instances": 0}),
    "instances not whole": ("instances", {"instances": "2"}),
    "set_size 0": ("set_size", {"set_size": 0}),
    "set_size not whole": ("set_size", {"set_size": 1.0}),
    "set_size no divisor": ("set_size", {"features": 4, "set_size": 3}),
    "correlation unknown": ("correlation", {"correlation": "correlate"}),
    "density and features differ": ("density", {"density": [0.1, 0.2, 0.3]}),
    "density wider than one feature": ("density", {"density": [0.1, 0.2], "features": 1}),
    "density and instances differ": ("density", {"density": [[0.1], [0.2], [0.3]], "instances": 2}),
    "density and importance differ": (
        "importance",
        {"density": [0.1, 0.2], "importance": [1, 2, 3], "features": None},
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name, arguments", REFUSED.values(), ids=REFUSED)
def test_refused(name, arguments):
    with pytest.raises(ValueError, match=rf"\b{name}\b.*: expected .*, got "):
        FeatureDistribution(**{"density": 0.5, "features": 2, **arguments})


def test_independent_features_of_a_set_may_differ():
    FeatureDistribution([0.5, 0.4], set_size=2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("count", [0, -1, 2.0, None])
def test_refused_counts(count):
    distribution = FeatureDistribution(0.1, features=2)
    for draw in (distribution.sample, distribution.sample_active, distribution.draw):
        with pytest.raises(ValueError, match="batch_size: expected"):
            draw(count)
    with pytest.raises(ValueError, match="restarts: expected"):
        distribution.with_restarts(count)


# Any distribution


@st.composite
def distributions(draw):
    instances, sets, set_size = (draw(st.integers(1, 3)) for _ in range(3))
    densities = st.one_of(
        st.sampled_from([0.0, 1.0, 1e-3, 1e-6, 1e-30]), st.floats(LOWEST_DENSITY, 1)
    )
    set_densities = draw(st.lists(densities, min_size=instances * sets, max_size=instances * sets))
    density = (
        torch.tensor(set_densities, dtype=torch.float64)
        .view(instances, sets)
        .repeat_interleave(set_size, dim=1)
    )
    return FeatureDistribution(
        density,
        set_size=set_size,
        correlation=draw(st.sampled_from(CORRELATIONS)),
        signed=draw(st.booleans()),
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(distribution=distributions(), seed=st.integers(0, 2**31))
def test_any_sample_obeys_its_distribution(distribution, seed):
    # In float64, an active value is never exactly 0.
    x = distribution.sample(40, generator(seed), dtype=torch.float64)
    rows, probability = distribution.sample_active(40, generator(seed), dtype=torch.float64)
    low = -1 if distribution.signed else 0
    possible = distribution.density.amax(dim=1) > 0
    for drawn in (x, rows):
        assert drawn.shape == (distribution.instances, 40, distribution.features)
        assert drawn.min() >= low and drawn.max() <= 1
        active = drawn != 0
        active_members = active.unflatten(2, (-1, distribution.set_size)).sum(dim=3)
        if distribution.correlation == "correlated":
            assert ((active_members == 0) | (active_members == distribution.set_size)).all()
        if distribution.correlation == "anticorrelated":
            assert (active_members <= 1).all()
        silent = (distribution.density == 0)[:, None].expand_as(active)
        assert not active[silent].any()
        if distribution.correlation != "anticorrelated":
            certain = (distribution.density == 1)[:, None].expand_as(active)
            assert active[certain].all()
    assert torch.equal((rows != 0).any(dim=2), possible[:, None].expand(-1, 40))
    assert torch.equal(probability > 0, possible)
    by_hand = [
        probability_by_hand(distribution, instance) for instance in range(distribution.instances)
    ]
    torch.testing.assert_close(
        probability, torch.tensor(by_hand, dtype=torch.float64), rtol=1e-9, atol=1e-14
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(distribution=distributions(), seed=st.integers(0, 2**31))
def test_any_instance_is_drawn_as_if_alone(distribution, seed):
    x, (rows, _) = (
        distribution.sample(20, generator(seed)),
        distribution.sample_active(20, generator(seed)),
    )
    for instance in range(distribution.instances):
        alone = distribution.select(instance)
        assert torch.equal(alone.sample(20, generator(seed))[0], x[instance])
        assert torch.equal(alone.sample_active(20, generator(seed))[0][0], rows[instance])


# Moments

# Mean, variance and covariance within a set of two at density p; None where there is no covariance.
BY_HAND = {
    "independent": lambda p: (p / 2, p / 3 - p**2 / 4, None),
    "correlated": lambda p: (p / 2, p / 3 - p**2 / 4, p / 4 - p**2 / 4),
    "anticorrelated": lambda p: (p / 4, p / 6 - p**2 / 16, -(p**2) / 16),  # never active together
}


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("p", [1.0, 0.3, 0.01])
def test_moments_by_hand(correlation, p):
    distribution = FeatureDistribution(p, features=4, set_size=2, correlation=correlation)
    mean, own, shared = distribution.moments()
    by_hand = BY_HAND[correlation](p)
    assert mean.tolist() == [pytest.approx([by_hand[0]] * 4, rel=1e-12)]
    assert (own + shared).tolist() == [pytest.approx([by_hand[1]] * 4, rel=1e-12)]
    assert distribution.members == (1 if correlation == "independent" else 2)
    if by_hand[2] is not None:
        assert shared.tolist() == [pytest.approx([by_hand[2]] * 4, rel=1e-12, abs=1e-15)]


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_signed_moments(correlation):
    mean, own, shared = FeatureDistribution(
        0.3, features=4, set_size=2, correlation=correlation, signed=True
    ).moments()
    variance = 0.3 / 3 / (2 if correlation == "anticorrelated" else 1)
    assert not mean.any() and not shared.any()
    assert own.tolist() == [pytest.approx([variance] * 4)]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_moments_agree_with_sampling(correlation, signed):
    density = torch.tensor([0.4, 0.4, 0.4, 0.9, 0.9, 0.9])
    distribution = FeatureDistribution(
        density[None], set_size=3, correlation=correlation, signed=signed
    )
    x = distribution.sample(2**17, torch.Generator().manual_seed(0), torch.float64)[0]
    mean, own, shared = (value[0] for value in distribution.moments())
    covariance = torch.diag(own + (shared if distribution.members == 1 else 0 * shared))
    if distribution.members == 3:
        same_set = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3))
        covariance = covariance + shared[:, None] * same_set
    torch.testing.assert_close(x.mean(dim=0), mean, rtol=0, atol=0.005)
    torch.testing.assert_close(x.T.cov(), covariance, rtol=0, atol=0.005)
