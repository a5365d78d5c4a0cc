"""The reference on inputs of every kind, against a sum over all subsets of active features.

The oracle takes each subset of active features with its probability, and the mean over their values
from truncated powers at 100 digits or, for discrete values, from all of their combinations.
"""

from itertools import product

import mpmath
import pytest
import torch
from test_exact import cross_mean, cube_mean, drawn, exact

from features import FeatureDistribution, Uniform
from losses.exact import DescentGradient, expected_loss

RANGES = {
    "half of the unit interval": Uniform(0.5, 1.0),
    "signed": Uniform(-1.0, 1.0),
    "negative": Uniform(-2.0, -0.5),
    "one value": (1.0,),
    "three values": (1.0, 2.0, 3.0),
}
UNIT = Uniform(0.0, 1.0)
KINDS = {
    "independent": {},
    "correlated": {"set_size": 2, "correlation": "correlated"},
    "anticorrelated": {"set_size": 2, "correlation": "anticorrelated"},
    "nearly independent": {"set_size": 2, "correlation": "correlated", "strength": 0.3},
    "nested": {"parents": (None, 0, 1, 0)},
}


@pytest.fixture(autouse=True)
def high_precision():
    with mpmath.workdps(100):
        yield


def values_of(distribution):
    """The values of an active feature: a range (low, width), or a list of values."""
    values = distribution.values
    return values if isinstance(values, Uniform) else [*values]


def subsets(p, kind):
    """{active features: probability} by the definition of each kind of inputs."""
    found = {}
    for active in product((0, 1), repeat=len(p)):
        found[active] = subset_probability(active, p, kind)
    return found


def subset_probability(active, p, kind):
    if "parents" in kind:
        factors = []
        for j, parent in enumerate(kind["parents"]):
            share = p[j] if parent is None else p[j] / p[parent] * active[parent]
            factors.append(share if active[j] else 1 - share)
        return mpmath.fprod(factors)
    if not kind:
        return mpmath.fprod(q if on else 1 - q for q, on in zip(p, active))
    factors = []
    for first in range(0, len(p), 2):
        pair, q = active[first : first + 2], p[first]
        if kind["correlation"] == "anticorrelated":
            factors.append({0: 1 - q, 1: q / 2, 2: 0}[sum(pair)])
            continue
        strength = mpmath.mpf(kind.get("strength", 1))
        alone = mpmath.fprod(q if on else 1 - q for on in pair)
        together = {0: 1 - q, 1: 0, 2: q}[sum(pair)]
        factors.append(strength * together + (1 - strength) * alone)
    return mpmath.fprod(factors)


def squared_error(i, a, b, active, values):
    """E[(x_i - ReLU(z))^2] where exactly some features are active."""
    on = [j for j, one in enumerate(active) if one]
    if isinstance(values, list):
        errors = []
        for chosen in product(values, repeat=len(on)):
            x = dict(zip(on, map(mpmath.mpf, chosen)))
            z = b + sum(a[j] * x[j] for j in on)
            errors.append((x.get(i, 0) - max(z, 0)) ** 2)
        return mpmath.fsum(errors) / len(errors)
    low, width = mpmath.mpf(values.low), mpmath.mpf(values.high - values.low)
    c = b + sum(a[j] * low for j in on)
    slopes = {j: a[j] * width for j in on}
    error = cube_mean(c, slopes.values(), 2)
    if i in on:
        rest = [slopes[j] for j in on if j != i]
        cross = low * cube_mean(c, slopes.values(), 1) + width * cross_mean(c, rest, slopes[i])
        error += low**2 + low * width + width**2 / 3 - 2 * cross
    return error


def oracle(W, b, p, importance, kind, values):
    total = mpmath.mpf(0)
    for i, weight in enumerate(importance):
        a = [sum(row[i] * row[j] for row in W) for j in range(len(b))]
        for active, probability in subsets(p, kind).items():
            total += weight * probability * squared_error(i, a, b[i], active, values)
    return total


def made(kind, values, instances, generator):
    """A distribution of four features, with densities that fit the kind."""
    p = torch.rand(instances, 4, generator=generator, dtype=torch.float64)
    if "parents" in kind:
        p = p.sort(dim=1, descending=True).values
    elif kind:
        p = p[:, ::2].repeat_interleave(2, 1)
    importance = torch.rand(instances, 4, generator=generator)
    return FeatureDistribution(p, importance, values=values, **kind)


@pytest.mark.parametrize("case", ["random", "near perfect", "columns of all sizes"])
@pytest.mark.parametrize("values", [UNIT, *RANGES.values()], ids=["unit", *RANGES])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_agrees_with_the_sum_over_subsets(kind, values, case):
    generator = torch.Generator().manual_seed(3)
    W, b = drawn(case, 3, 2, 4, generator)
    distribution = made(kind, values, 3, generator)
    losses = expected_loss(W, b, distribution)
    for k in range(3):
        given = exact(W[k]), exact(b[k]), exact(distribution.density[k])
        importance = exact(distribution.importance[k])
        true = oracle(*given, importance, kind, values_of(distribution))
        assert losses[k].item() == pytest.approx(float(true), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("values", RANGES.values(), ids=RANGES)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_gradients(kind, values):
    """By a difference of losses along a random direction; descents use the same gradient."""
    generator = torch.Generator().manual_seed(4)
    W, b = drawn("random", 1, 2, 4, generator)
    distribution = made(kind, values, 1, generator)
    leaves = W.clone().requires_grad_(), b.clone().requires_grad_()
    gradients = torch.autograd.grad(expected_loss(*leaves, distribution).sum(), leaves)
    along, step = drawn("random", 1, 2, 4, generator), 1e-5
    ahead, behind = (
        expected_loss(W + sign * step * along[0], b + sign * step * along[1], distribution)
        for sign in (1, -1)
    )
    slope = sum((gradient * way).sum() for gradient, way in zip(gradients, along))
    torch.testing.assert_close(slope[None], (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)
    fast = torch.empty_like(W), torch.empty_like(b)
    DescentGradient(distribution).into(W, b, *fast)
    for found, true in zip(fast, gradients):
        torch.testing.assert_close(found, true)


def test_a_constant_shift_of_values_by_hand():
    """One feature of value 1 at density p, W = w, b = 0: loss p (1 - w^2)^2."""
    W = torch.tensor([[[0.9]], [[1.0]]], dtype=torch.float64)
    b = torch.zeros(2, 1, dtype=torch.float64)
    distribution = FeatureDistribution(0.3, features=1, instances=2, values=(1.0,))
    expected = torch.tensor([0.3 * (1 - 0.81) ** 2, 0.0], dtype=torch.float64)
    torch.testing.assert_close(expected_loss(W, b, distribution), expected)


@pytest.mark.parametrize("values", RANGES.values(), ids=RANGES)
def test_linear_output_of_any_values(values):
    """x' = W^T W x + b against the sum over subsets, which moments must equal."""
    generator = torch.Generator().manual_seed(5)
    W, b = drawn("random", 1, 2, 3, generator)
    p = torch.rand(1, 3, generator=generator, dtype=torch.float64)
    distribution = FeatureDistribution(p, values=values)
    x = distribution.sample(400_000, generator, dtype=torch.float64)[0]
    errors = (x - x @ W[0].mT @ W[0] - b[0]).square().sum(1)
    error = errors.std() / len(errors) ** 0.5
    loss = expected_loss(W, b, distribution, "linear").item()
    assert abs(errors.mean().item() - loss) < 5 * error.item()


@pytest.mark.usefixtures("unchecked")
def test_too_many_vertices_are_refused():
    distribution = FeatureDistribution(0.5, features=11, values=Uniform(0.5, 1.0))
    with pytest.raises(ValueError, match=r"features: expected fewer .* got 11"):
        expected_loss(torch.zeros(1, 1, 11), torch.zeros(1, 11), distribution)
