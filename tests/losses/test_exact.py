"""Compare the exact loss with precise arithmetic, known values, samples and finite differences."""

from itertools import product

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features import FeatureDistribution
from losses import exact as exact_module
from losses import moments, recursion
from losses.exact import MAX_FEATURES, DescentGradient, expected_loss

BAR = 1e-9
KINDS = [
    ("independent", 1),
    ("correlated", 2),
    ("anticorrelated", 2),
    ("correlated", 4),
    ("anticorrelated", 4),
]
each_kind = pytest.mark.parametrize("correlation, k", KINDS)
LINEAR_KINDS = [(correlation, k, signed) for correlation, k in KINDS for signed in (False, True)]


@pytest.fixture(autouse=True)
def high_precision():
    with mpmath.workdps(300):
        yield


# An oracle of its own: subset by subset of active features, truncated powers at 300 digits


def exact(tensor):
    return [exact(row) for row in tensor] if tensor.dim() else mpmath.mpf(tensor.item())


def cube_mean(c, slopes, r):
    """E[max(c + slopes.u, 0)^r], u uniform on the unit cube."""
    slopes = [slope for slope in slopes if slope != 0]
    k = len(slopes)
    total = mpmath.mpf(0)
    for vertex in product((0, 1), repeat=k):
        t = c + sum(slope for slope, v in zip(slopes, vertex) if v)
        if t > 0:
            total += (-1) ** (k - sum(vertex)) * t ** (r + k)
    return total * mpmath.factorial(r) / mpmath.factorial(r + k) / mpmath.fprod(slopes)


def cross_mean(c, slopes, own):
    """E[v max(c + own v + slopes.u, 0)], v and u uniform on [0, 1]."""
    if own == 0:
        return cube_mean(c, slopes, 1) / 2
    return (cube_mean(c + own, slopes, 2) - cube_mean(c, [*slopes, own], 2)) / (2 * own)


def active_subsets(p, correlation, k):
    """(probability, active features) of every subset."""
    if correlation == "independent":
        options = [[(1 - q, ()), (q, (j,))] for j, q in enumerate(p)]
    elif correlation == "correlated":
        options = [[(1 - p[s], ()), (p[s], tuple(range(s, s + k)))] for s in range(0, len(p), k)]
    else:
        options = [
            [(1 - p[s], ())] + [(p[s] / k, (j,)) for j in range(s, s + k)]
            for s in range(0, len(p), k)
        ]
    for chosen in product(*options):
        probability = mpmath.fprod(chance for chance, _ in chosen)
        if probability:
            yield probability, [j for _, members in chosen for j in members]


def oracle(W, b, p, importance, correlation="independent", k=1):
    """The expected loss of one instance, from nested lists of mpf."""
    total = mpmath.mpf(0)
    for i, weight in enumerate(importance):
        if weight == 0:
            continue
        a = [sum(row[i] * row[j] for row in W) for j in range(len(b))]
        for probability, active in active_subsets(p, correlation, k):
            loss = cube_mean(b[i], [a[j] for j in active], 2)
            if i in active:
                cross = cross_mean(b[i], [a[j] for j in active if j != i], a[i])
                loss += mpmath.mpf(1) / 3 - 2 * cross
            total += weight * probability * loss
    return total


def assert_exact(W, b, distribution):
    """Every instance within the bar, relative to its loss down to 1e-13 of sum_i I_i p_i / 3."""
    losses = expected_loss(W, b, distribution)
    of_set = distribution.set_size if distribution.correlation == "anticorrelated" else 1
    for n in range(len(W)):
        p, importance = distribution.density[n], distribution.importance[n]
        kind = distribution.correlation, distribution.set_size
        true = oracle(exact(W[n]), exact(b[n]), exact(p), exact(importance), *kind)
        floor = 1e-13 * (importance * p).sum().item() / of_set / 3
        error = abs(losses[n].item() - true)
        assert error <= BAR * max(true, floor), (
            f"{losses[n].item()!r} for {mpmath.nstr(true, 17)}, W={W[n]}, b={b[n]}"
        )


def densities(instances, features, k, generator):
    """Random ones, some exactly 0 and 1, equal within sets."""
    p = torch.rand(instances, features // k, generator=generator, dtype=torch.float64) ** 2
    chance = torch.rand(p.shape, generator=generator)
    p = torch.where(chance < 0.1, 0, torch.where(chance > 0.85, 1, p))
    return p.repeat_interleave(k, 1)


def drawn(case, instances, hidden, features, generator):
    """W and b of a named case."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def decades(lowest, *shape):
        return 10 ** (lowest * torch.rand(*shape, generator=generator, dtype=torch.float64))

    W, b = normal(instances, hidden, features), normal(instances, features) / 2
    if case == "columns of all sizes":
        W, b = W * decades(-6, instances, 1, features), b * decades(-6, instances, features)
    elif case == "moderately small columns":
        W, b = W * 0.1 * decades(-1, instances, 1, features), b * decades(-3, instances, features)
    elif case == "small as a whole":
        W, b = W * decades(-6, instances, 1, 1), b * decades(-12, instances, features)
    elif case == "one large feature":
        W[:, :, 1:] *= decades(-8, instances, 1, features - 1)
    elif case == "integers":
        W, b = W.round(), (4 * b).round() / 4
    elif case == "zero columns":
        W[:, :, ::2] = 0
    elif case == "equal and antipodal":
        W[:, :, 1::2] = -W[:, :, 0:1]
        b[::2] = 0
    elif case == "large":
        W, b = 10 * W, 100 * b
    elif case == "near perfect":
        W = torch.eye(features, dtype=torch.float64) + normal(
            instances, features, features
        ) * decades(-6, instances, 1, 1)
        b = 1e-3 * b * decades(-3, instances, 1)
    return W, b


CASES = [
    "random",
    "columns of all sizes",
    "moderately small columns",
    "small as a whole",
    "one large feature",
    "integers",
    "zero columns",
    "equal and antipodal",
    "large",
    "near perfect",
]


@each_kind
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_high_precision(case, correlation, k):
    generator = torch.Generator().manual_seed(7)
    W, b = drawn(case, 3, 2, 4, generator)
    p = densities(3, 4, k, generator)
    importance = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    assert_exact(W, b, FeatureDistribution(p, importance, set_size=k, correlation=correlation))


@pytest.mark.parametrize("case", CASES)
def test_eight_features(case):
    generator = torch.Generator().manual_seed(1)
    W, b = drawn(case, 1, 3, 8, generator)
    p = torch.tensor(
        [[0.3, 1, 1, 1, 1, 1, 1, 1]], dtype=torch.float64
    )  # few subsets keep the oracle quick
    importance = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0.5]])
    assert_exact(W, b, FeatureDistribution(p, importance))


@pytest.mark.parametrize("small", [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-12])
@pytest.mark.parametrize("b", [0.0, -0.05, 0.3, -1e-3, -0.25 - 1e-4])
def test_several_small_interferences_at_once(small, b):
    W = torch.tensor([[[0.5, small, -small, small / 3, 2 * small]]], dtype=torch.float64)
    p = torch.tensor([[0.2, 0.9, 0.5, 1.0, 0.01]])
    assert_exact(W, torch.full((1, 5), b, dtype=torch.float64), FeatureDistribution(p))


@st.composite
def models(draw):
    """W, b and distribution of one instance with degenerate ones on purpose."""
    correlation, k = draw(st.sampled_from([("independent", 1), *KINDS[1:3]]))
    n = draw(st.integers(1, 2)) * 2 if k == 2 else draw(st.integers(1, 4))
    hidden = draw(st.integers(1, 3))
    number = st.integers(-2000, 2000).map(lambda thousandths: thousandths / 1000) | st.sampled_from(
        [0.0, 1.0, -1.0]
    )
    scale = st.sampled_from([1.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-5, 1e-8, 1e-12])
    columns = []
    for _ in range(n):
        twin = draw(
            st.sampled_from([None, None, None, 0.0, 1.0, -1.0])
        )  # zero, equal or antipodal to the last one
        if twin is None or not columns:
            size = draw(scale)
            columns.append([size * draw(number) for _ in range(hidden)])
        else:
            columns.append([twin * w for w in columns[-1]])
    b = [draw(scale) * draw(number) for _ in range(n)]
    p = [draw(st.sampled_from([0.0, 1.0, 0.5, 1e-3]) | st.floats(1e-12, 1)) for _ in range(n // k)]
    p = torch.tensor([p], dtype=torch.float64).repeat_interleave(k, 1)
    importance = torch.tensor(
        [[draw(st.sampled_from([1.0, 0.1, 0.0])) for _ in range(n)]], dtype=torch.float64
    )
    distribution = FeatureDistribution(p, importance, set_size=k, correlation=correlation)
    return (
        torch.tensor(columns, dtype=torch.float64).T[None],
        torch.tensor([b], dtype=torch.float64),
        distribution,
    )


@settings(max_examples=400, deadline=None, derandomize=True)
@given(models())
def test_any_model_agrees_with_high_precision(model):
    with mpmath.workdps(300):
        assert_exact(*model)


# The gradient


def high_precision_gradient(W, b, p, importance):
    """Central differences at 300 digits: (of W, of b) as lists."""
    h = mpmath.mpf(10) ** -40
    W, b, fixed = exact(W), exact(b), (exact(p), exact(importance))

    def slope(row, j):
        centre = row[j]
        values = []
        for row[j] in (centre + h, centre - h):
            values.append(oracle(W, b, *fixed))
        row[j] = centre
        return float((values[0] - values[1]) / (2 * h))

    return [[slope(row, j) for j in range(len(row))] for row in W], [
        slope(b, j) for j in range(len(b))
    ]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case != "integers"]
)  # those sit on kinks
def test_gradient_agrees_with_high_precision(case):
    generator = torch.Generator().manual_seed(3)
    W, b = drawn(case, 1, 2, 3, generator)
    p = torch.tensor([[0.2, 0.7, 1.0]], dtype=torch.float64)
    W.requires_grad_(), b.requires_grad_()
    expected_loss(W, b, FeatureDistribution(p)).backward()
    for found, true in zip(
        (W.grad[0], b.grad[0]), high_precision_gradient(W[0], b[0], p[0], torch.ones(3))
    ):
        true = torch.tensor(true, dtype=torch.float64)
        torch.testing.assert_close(found, true, rtol=1e-6, atol=1e-7 * true.abs().max().item())


@pytest.mark.parametrize("tolerance", [1e300, -1.0], ids=["fast", "careful"])
@each_kind
def test_gradcheck(correlation, k, tolerance, monkeypatch):
    monkeypatch.setattr(recursion, "TOLERANCE", tolerance)
    generator = torch.Generator().manual_seed(0)
    W, b = drawn("random", 2, 2, 4, generator)
    p = torch.rand(2, 4 // k, generator=generator).repeat_interleave(k, 1)
    importance = torch.rand(2, 4, generator=generator)
    distribution = FeatureDistribution(p, importance, set_size=k, correlation=correlation)
    for output in ("relu", "linear"):
        torch.autograd.gradcheck(
            lambda W, b, output=output: expected_loss(W, b, distribution, output),
            (W.requires_grad_(), b.requires_grad_()),
        )


@each_kind
def test_loss_is_the_sum_of_the_outputs(correlation, k):
    """The losses and gradients of the single outputs add up to those of all outputs."""
    W, b = drawn("random", 2, 2, 4, torch.Generator().manual_seed(0))
    kind = {"set_size": k, "correlation": correlation}

    def values(importance):
        leaves = [v.clone().requires_grad_() for v in (W, b)]
        loss = expected_loss(
            *leaves, FeatureDistribution(0.4, torch.tensor(importance), instances=2, **kind)
        )
        return loss.detach(), *torch.autograd.grad(loss.sum(), leaves)

    weights = [1.0, 0.5, 0.2, 2.0]
    parts = [
        values([weight if i == j else 0.0 for j, weight in enumerate(weights)]) for i in range(4)
    ]
    for whole, *of_parts in zip(values(weights), *parts):
        torch.testing.assert_close(sum(of_parts), whole)
    assert all((values([0.0] * 4)[i] == 0).all() for i in range(3))


def test_gradient_near_a_perfect_reconstruction():
    """W = 1 + e for one feature: x' = (1 + e)^2 x, loss ((1 + e)^2 - 1)^2 p / 3."""
    e = 1e-6
    W = torch.tensor([[[1 + e]]], dtype=torch.float64, requires_grad=True)
    loss = expected_loss(W, torch.zeros(1, 1), FeatureDistribution(torch.tensor([[0.3]])))
    (slope,) = torch.autograd.grad(loss, W)
    assert loss.item() == pytest.approx((2 * e + e**2) ** 2 * 0.1, rel=1e-7)  # 0.3 is a float32
    assert slope.item() == pytest.approx(4 * (2 * e + e**2) * (1 + e) * 0.1, rel=1e-7)


def test_float32_is_computed_in_float64():
    W, b = drawn("random", 3, 2, 4, torch.Generator().manual_seed(0))
    W, b = W.float().requires_grad_(), b.float().requires_grad_()
    distribution = FeatureDistribution(0.3, features=4, instances=3)
    loss = expected_loss(W, b, distribution)
    loss.sum().backward()
    assert loss.dtype == torch.float64
    assert W.grad.dtype == b.grad.dtype == torch.float32
    assert torch.equal(loss, expected_loss(W.detach().double(), b.detach().double(), distribution))


# The gradient of descents


def exact_gradient(W, b, distribution, output="relu"):
    leaves = W.clone().requires_grad_(), b.clone().requires_grad_()
    return torch.autograd.grad(expected_loss(*leaves, distribution, output).sum(), leaves)


def descent_gradient(W, b, distribution, output="relu"):
    gradient = torch.full_like(W, torch.nan), torch.full_like(b, torch.nan)
    DescentGradient(distribution, output).into(W, b, *gradient)
    return gradient


def relative_errors(W, b, distribution):
    """Of each instance, relative to sum_i I_i p_i times the size of W and b."""
    scale = (distribution.importance * distribution.density).sum(1)
    scale = scale * (1 + W.square().sum((1, 2)) + b.square().sum(1)) ** 1.5
    pairs = zip(descent_gradient(W, b, distribution), exact_gradient(W, b, distribution))
    return torch.stack(
        [(found - true).flatten(1).abs().amax(1) / scale for found, true in pairs]
    ).amax(0)


@each_kind
@pytest.mark.parametrize(
    "case", [case for case in CASES if case != "integers"]
)  # those sit on kinks
def test_descent_gradient(case, correlation, k):
    generator = torch.Generator().manual_seed(8)
    W, b = drawn(case, 60, 2, 4, generator)
    p = 0.05 + 0.95 * torch.rand(
        60, 4 // k, generator=generator, dtype=torch.float64
    ).repeat_interleave(k, 1)
    importance = torch.rand(60, 4, generator=generator, dtype=torch.float64)
    distribution = FeatureDistribution(p, importance, set_size=k, correlation=correlation)
    errors = relative_errors(W, b, distribution)
    assert errors.max() < 0.1 * exact_module._narrow(4) and errors.quantile(0.95) < 1e-8


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_descent_gradient_on_both_sides_of_narrow(n):
    """One feature of a pair with every other one from far below the threshold to far above it."""
    sizes = exact_module._narrow(n) * 10 ** torch.linspace(-4, 2, 61, dtype=torch.float64)
    W = (
        torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        .expand(61, n, n)
        .clone()
    )
    W[:, :, 0] *= sizes[:, None] / W[0, :, 0].norm() / W[0].norm()
    distribution = FeatureDistribution(0.3, features=n, instances=61)
    for b in (-0.3, 0.15):
        errors = relative_errors(W, torch.full((61, n), b, dtype=torch.float64), distribution)
        assert errors.max() < 1e-6, errors


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4, 1e-5, 1e-8, 0.0])
@pytest.mark.parametrize("n", [2, 4, 6, 8])
def test_descent_gradient_of_nearly_orthogonal_pairs(n, size):
    """Antipodal pairs, all other couplings weak, biases at and near the kink."""
    generator = torch.Generator().manual_seed(1)
    pairs = torch.eye(n // 2, dtype=torch.float64).repeat_interleave(2, 1) * torch.tensor(
        [1.0, -1.0]
    ).repeat(n // 2)
    W = pairs + size * torch.randn(20, n // 2, n, generator=generator, dtype=torch.float64)
    b = -(10 ** (-4 * torch.rand(20, n, generator=generator, dtype=torch.float64)))
    errors = relative_errors(W, b, FeatureDistribution(0.2, features=n, instances=20))
    assert errors.max() < 0.1 * exact_module._narrow(n) and errors.median() < 1e-6


def test_descent_gradient_decides_whether_a_feature_grows():
    """The loss of a small weight w is c0 + c w^2, and its gradient is 2 c w, however small w is."""
    for w in (1e-2, 1e-4, 1e-8):
        W = torch.tensor([[[1.0, w]]], dtype=torch.float64)
        b = torch.tensor([[0.0, 0.15]], dtype=torch.float64)
        distribution = FeatureDistribution(0.3, [[1.0, 5.0]])
        (found, _), (true, _) = (f(W, b, distribution) for f in (descent_gradient, exact_gradient))
        assert found[0, 0, 1].item() == pytest.approx(true[0, 0, 1].item(), rel=1e-5)


def test_descent_gradient_of_the_linear_output():
    W, b = drawn("random", 3, 2, 6, torch.Generator().manual_seed(0))
    distribution = FeatureDistribution(
        0.3, features=6, instances=3, set_size=2, correlation="correlated", signed=True
    )
    settings = W, b, distribution, "linear"
    torch.testing.assert_close(descent_gradient(*settings), exact_gradient(*settings))


def test_descent_gradient_has_the_dtype_of_the_weights():
    W, b = drawn("random", 3, 2, 4, torch.Generator().manual_seed(0))
    distribution = FeatureDistribution(0.3, features=4, instances=3)
    double, single = (
        descent_gradient(W.to(t), b.to(t), distribution) for t in (torch.float64, torch.float32)
    )
    assert single[0].dtype == single[1].dtype == torch.float32
    torch.testing.assert_close(single, tuple(t.float() for t in double), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["relu", "linear"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e200])
def test_one_bad_instance_spoils_no_other(output, bad):
    W, b = drawn("random", 50, 2, 3, torch.Generator().manual_seed(2))
    distribution = FeatureDistribution(0.3, features=3, instances=50)
    good = descent_gradient(W, b, distribution, output)
    W[7, 0, 1] = bad
    spoilt = descent_gradient(W, b, distribution, output)
    assert not all(gradient[7].isfinite().all() for gradient in spoilt)
    others = torch.arange(50) != 7
    for found, expected in zip(spoilt, good):
        torch.testing.assert_close(found[others], expected[others], rtol=0, atol=0)


# Known values


def value(W, b, density, importance=1.0, output="relu", **kind):
    W, b = torch.tensor([W], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    distribution = FeatureDistribution(
        density, importance, instances=1, features=b.shape[1], **kind
    )
    return expected_loss(W, b, distribution, output).item()


def test_nothing_learned():
    """All W zero and b = E[x]: sum_i I_i (p / 3 - p^2 / 4)."""
    p, importance = 0.3, torch.tensor([[1.0, 0.9, 0.5]])
    assert value([[0.0] * 3], [p / 2] * 3, p, importance) == pytest.approx(
        2.4 * (p / 3 - p**2 / 4), rel=1e-8
    )


def test_perfect_dedicated_dimensions():
    assert value([[1.0, 0.0], [0.0, -1.0]], [0.0, 0.0], 0.4) == 0


def test_antipodal_pair():
    """An antipodal pair pays only where both are active: E[min(x_1, x_2)^2] = 1/6."""
    p, r = 0.05, 0.25
    found = value([[1.0, -1.0]], [0.0, 0.0], p, torch.tensor([[1.0, r]]))
    assert found == pytest.approx((1 + r) * p**2 / 6, rel=1e-12)


def test_antipodal_pair_of_an_anticorrelated_set_is_perfect():
    found = value([[1.0, -1.0]], [0.0, 0.0], 0.7, correlation="anticorrelated", set_size=2)
    assert found == pytest.approx(0, abs=1e-30)


def test_dead_output_costs_the_second_moment():
    assert value([[1.0, 1.0]], [-5.0, -5.0], 0.6) == pytest.approx(2 * 0.6 / 3, rel=1e-14)


def test_densities_zero_and_one():
    assert value([[0.3, 0.7]], [0.5, -0.1], 0.0) == pytest.approx(
        0.25, rel=1e-14
    )  # x = 0, x' = ReLU(b)
    assert value([[0.0]], [0.5], 1.0) == pytest.approx(
        1 / 12, rel=1e-14
    )  # variance of a uniform number


def test_unimportant_outputs_do_not_count():
    assert value([[1.0, -1.0]], [0.0, 3.0], 0.05, torch.tensor([[1.0, 0.0]])) == pytest.approx(
        0.05**2 / 6, rel=1e-12
    )


# The linear output


@pytest.mark.parametrize("correlation, k, signed", LINEAR_KINDS)
def test_linear_output_subset_by_subset(correlation, k, signed):
    """The residual is linear in x, so its mean square is its squared mean plus its variance."""
    generator = torch.Generator().manual_seed(5)
    W, b = drawn("random", 1, 2, 4, generator)
    p = densities(1, 4, k, generator)
    importance = torch.rand(1, 4, generator=generator, dtype=torch.float64)
    distribution = FeatureDistribution(
        p, importance, set_size=k, correlation=correlation, signed=signed
    )
    mean, variance = (0, 1 / 3) if signed else (1 / 2, 1 / 12)
    d = torch.eye(4, dtype=torch.float64) - W[0].T @ W[0]
    true = 0
    for probability, active in active_subsets(p[0].tolist(), correlation, k):
        residual = (d[:, active].sum(1) * mean - b[0]) ** 2 + (d[:, active] ** 2).sum(1) * variance
        true += float(probability) * (importance[0] * residual).sum().item()
    assert expected_loss(W, b, distribution, "linear").item() == pytest.approx(true, rel=1e-12)


def test_linear_output_by_hand():
    """One feature: E[((1 - w^2) x - b)^2] = (1 - w^2)^2 p / 3 - (1 - w^2) b p + b^2."""
    d, b, p = 1 - 0.6**2, 0.2, 0.4
    assert value([[0.6]], [b], p, output="linear") == pytest.approx(
        d**2 * p / 3 - d * b * p + b**2, rel=1e-13
    )


def test_linear_output_of_many_features():
    n = 300
    found = value([[0.0] * n], [0.25] * n, 0.5, output="linear")
    assert found == pytest.approx(n * (0.5 / 3 - 0.25**2), rel=1e-12)


# Sampling


@pytest.mark.parametrize(
    "output, correlation, k, signed",
    [("relu", *kind, False) for kind in KINDS] + [("linear", *k) for k in LINEAR_KINDS],
)
def test_agrees_with_sampling(output, correlation, k, signed):
    generator = torch.Generator().manual_seed(11)
    W, b = drawn("random", 1, 2, 4, generator)
    p = torch.rand(1, 4 // k, generator=generator).repeat_interleave(k, 1)
    distribution = FeatureDistribution(p, set_size=k, correlation=correlation, signed=signed)
    x = distribution.sample(200_000, generator, dtype=torch.float64)[0]
    z = x @ W[0].T @ W[0] + b[0]
    losses = ((x - (z.relu() if output == "relu" else z)) ** 2).sum(1)
    error = losses.std() / len(losses) ** 0.5
    assert abs(losses.mean() - expected_loss(W, b, distribution, output)[0]) < 4.5 * error


# How it is computed must not show


@pytest.mark.parametrize("output", ["relu", "linear"])
def test_chunks_do_not_show(output, monkeypatch):
    W, b = drawn("columns of all sizes", 50, 2, 3, torch.Generator().manual_seed(2))
    distribution = FeatureDistribution(0.3, features=3, instances=50)

    def computed():
        leaves = W.clone().requires_grad_(), b.clone().requires_grad_()
        loss = expected_loss(*leaves, distribution, output)
        exact = loss.detach(), *torch.autograd.grad(loss.sum(), leaves)
        return *exact, *descent_gradient(W, b, distribution, output)

    whole = computed()
    for part in (moments, recursion):
        monkeypatch.setattr(part, "CHUNK_NUMBERS", 700)
    monkeypatch.setattr(recursion, "FEWEST_PAIRS", 20)
    for found, expected in zip(computed(), whole):
        # not to the last digit: vector units round the ends of a chunk differently
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@each_kind
def test_fast_and_careful_agree(correlation, k, monkeypatch):
    W, b = drawn("random", 20, 2, 4, torch.Generator().manual_seed(4))
    distribution = FeatureDistribution(
        0.4, features=4, instances=20, set_size=k, correlation=correlation
    )
    losses = []
    for tolerance in (1e300, -1.0):
        monkeypatch.setattr(recursion, "TOLERANCE", tolerance)
        losses.append(expected_loss(W, b, distribution))
    torch.testing.assert_close(*losses, rtol=1e-7, atol=0)  # careless quotients lose some digits


def test_gradient_is_weighted_by_instance():
    W, b = drawn("random", 3, 2, 3, torch.Generator().manual_seed(6))
    weight = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    distribution = FeatureDistribution(0.3, features=3, instances=3)
    W.requires_grad_()
    (plain,) = torch.autograd.grad(expected_loss(W, b, distribution).sum(), W)
    (weighted,) = torch.autograd.grad((weight * expected_loss(W, b, distribution)).sum(), W)
    torch.testing.assert_close(weighted, weight[:, None, None] * plain)


# Bad input


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"W": torch.zeros(2, 3)},
            r"W: expected a tensor \(instances, hidden, features\), got .*\[2, 3\]",
        ),
        ({"W": torch.zeros(2, 1, 4)}, r"W: expected 2 instances, 3 features, got \(2, 1, 4\)"),
        ({"W": torch.zeros(1, 1, 3)}, r"W: expected 2 instances, 3 features, got \(1, 1, 3\)"),
        ({"b": torch.zeros(3)}, r"b: expected a tensor \(instances, features\), got .*\[3\]"),
        ({"W": torch.full((2, 1, 3), float("nan"))}, "W: expected finite weights, got"),
        ({"b": torch.full((2, 3), float("inf"))}, "b: expected finite weights, got"),
        ({"output": "ReLU"}, "output: expected one of .*, got 'ReLU'"),
    ],
)
def test_bad_input(change, message):
    good = {"W": torch.zeros(2, 1, 3), "b": torch.zeros(2, 3), "output": "relu"}
    with pytest.raises(ValueError, match=message):
        expected_loss(
            **good | change, distribution=FeatureDistribution(0.5, features=3, instances=2)
        )


@pytest.mark.usefixtures("unchecked")
def test_feature_limit():
    n = MAX_FEATURES
    distribution = FeatureDistribution(0.5, features=n)
    assert expected_loss(
        torch.zeros(1, 1, n), torch.zeros(1, n), distribution
    ).item() == pytest.approx(n / 6)
    distribution = FeatureDistribution(0.5, features=n + 1)
    with pytest.raises(ValueError, match=rf"features: expected at most {n} .*, got {n + 1}"):
        expected_loss(torch.zeros(1, 1, n + 1), torch.zeros(1, n + 1), distribution)
    with pytest.raises(ValueError, match=rf"features: expected at most {n} .*, got {n + 1}"):
        DescentGradient(distribution)
