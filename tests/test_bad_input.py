"""Any argument either works, with finite results of the right shape, or is refused by its name."""

import contextlib
import math
import re
from dataclasses import fields, replace

import numpy as np
import odd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import geometry
from checks import MOST
from experiments.autoencoders import preferred_dictionary, recovered_features
from experiments.section2 import demonstration, first_superposition, introduction
from experiments.section2.along_density import CONTINUED
from experiments.section3 import exact_optimum, phase_boundary, phase_diagram
from experiments.section4 import (
    collapsing_pairs,
    correlated_sets,
    pairs_in_the_plane,
    periodic_table,
    perturbed_pentagon,
    predicted_polytopes,
    started_as_polytopes,
    uniform_superposition,
)
from experiments.section5 import barrier, jumps, plateaus, stages, waiting_times
from experiments.section6 import adversarial_training, vulnerability
from experiments.section7 import neuron_alignment, neuron_patterns
from experiments.section8 import absolute_value, asymmetric_motif, neuron_kinds
from features import CORRELATIONS, FeatureDistribution, Uniform
from losses.exact import expected_loss
from models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from theory import boundary, descents, packing, phases
from theory.descents import Sampling
from theory.kinds import best_of_kinds
from theory.polytopes import tegum_factors
from theory.vertices import square_antiprism
from training import best_restart, sampled_loss, train, train_best

NAN, INF = math.nan, math.inf
MODELS = (LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel)
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
OTHERS = (
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
)


@pytest.fixture(scope="module", autouse=True)
def unchecked_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxtyping.config.jaxtyping_disable", True)
        yield


def examples(count):
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


PER_FEATURE = (
    geometry.feature_norms,
    geometry.interference,
    geometry.dimensionality,
    geometry.represented,
    geometry.in_superposition,
)


# What users may put in


def mostly(good, bad):
    """Draw good values three times out of four, so that a call has about one bad argument."""
    return st.integers(0, 3).flatmap(lambda k: bad if k == 3 else good)


NO_NUMBERS = st.sampled_from(
    [
        *(None, "a", "", [], {}, [[1.0], [1.0, 2.0]], object(), 1j, [1j], math, np.array("a")),
        *(torch.ones(2), np.ones(2), np.ones((2, 2))[::-1], 10**20, 10**400),
    ]
)
COUNTS = mostly(
    st.integers(1, 4) | st.integers(1, 4).map(np.uint8) | st.integers(1, 4).map(np.int64),
    st.sampled_from(
        [0, -1, -(10**30), 10**30, MOST + 1, 10**12, 2**63, 1.5, 2.0, NAN, INF, True, np.int64(2)]
    )
    | NO_NUMBERS,
)
NUMBERS = mostly(
    st.floats(0.01, 1),
    st.sampled_from(
        [
            0,
            1,
            -1,
            0.0,
            NAN,
            INF,
            -INF,
            1e300,
            1e-300,
            1e40,
            5e-324,
            True,
            10**400,
            torch.tensor(0.5),
        ]
    )
    | NO_NUMBERS,
)
SEEDS = mostly(
    st.integers(0, 2**31) | st.integers(0, 255).map(np.uint8) | st.integers(0, 9).map(np.int64),
    st.sampled_from([-1, 2**64, -(2**63) - 1, 10**30, 1.5, NAN, True]) | NO_NUMBERS,
)


@st.composite
def tensors(draw, *shape):
    """Draw tensors, mostly of a shape (None: any length), in floating point and about 1 in size."""
    lengths = st.tuples(
        *(st.integers(1, 3) if length is None else st.just(length) for length in shape)
    )
    shape = draw(mostly(lengths, st.lists(st.integers(0, 4), max_size=4)))
    dtype = draw(mostly(st.sampled_from(FLOATS[:2]), st.sampled_from(FLOATS + OTHERS)))
    scale = draw(
        mostly(
            st.just(1.0), st.sampled_from([0, 1e-300, 1e-160, 1e-30, 1e3, 1e20, 1e40, 1e200, 1e308])
        )
    )
    values = (
        scale
        * torch.randn(
            tuple(shape), generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))
        ).double()
    )
    spoiled = draw(mostly(st.none(), st.sampled_from([NAN, INF, -INF])))
    if spoiled is not None and values.numel():
        values.view(-1)[draw(st.integers(0, values.numel() - 1))] = spoiled
    return values.to(dtype)


def weights(*shape):
    return mostly(tensors(*shape), tensors(*shape) | NO_NUMBERS | st.just(0.5))


def tables():
    """Draw tables of densities or importances."""
    densities = tensors(None, None).map(
        lambda x: x.abs().clamp(max=1) if x.dtype in FLOATS[:2] else x
    )
    lists = st.lists(st.floats(0, 1), min_size=1, max_size=3)
    return mostly(
        st.floats(0, 1) | lists | densities,
        NUMBERS | tensors() | tensors(None) | tensors(None, None, None),
    )


def outcome(function, *names):
    """Return the result, or None if an error names one of the arguments or says what diverged."""
    try:
        return function()
    except ValueError as error:
        assert re.match(rf"(.*, )?({'|'.join(names)})\b.*: expected ", str(error), re.DOTALL), error
    except FloatingPointError as error:
        assert re.search(r"diverged|expected finite", str(error)), error
    return None


def finite(values, *shape):
    return (
        isinstance(values, torch.Tensor)
        and tuple(values.shape) == shape
        and bool(values.isfinite().all())
    )


# Features


@examples(600)
@given(
    density=tables(),
    importance=tables(),
    features=mostly(st.none(), COUNTS),
    instances=mostly(st.none(), COUNTS),
    set_size=mostly(st.just(1), COUNTS),
    signed=st.booleans(),
    correlation=mostly(
        st.sampled_from(CORRELATIONS), st.sampled_from(["", "Correlated", None, 1, []])
    ),
    batch_size=COUNTS,
    dtype=mostly(st.sampled_from(FLOATS[:2]), st.sampled_from(FLOATS + OTHERS)),
    restarts=COUNTS,
)
def test_distributions(density, importance, batch_size, dtype, restarts, **others):
    names = ("density", "importance", "features", "instances", "set_size", "correlation")
    made = outcome(lambda: FeatureDistribution(density, importance, **others), *names)
    if made is None:
        return
    shape = made.instances, made.features
    assert finite(made.density, *shape) and made.density.ge(0).all() and made.density.le(1).all()
    assert finite(made.importance, *shape) and made.importance.ge(0).all()
    assert all(finite(moment, *shape) for moment in made.moments())
    repeated = outcome(lambda: made.with_restarts(restarts), "restarts", "instances")
    assert repeated is None or repeated.instances == restarts * made.instances
    for sample in (made.sample, made.sample_active):
        rows = outcome(
            lambda sample=sample: sample(batch_size, dtype=dtype),
            "batch_size",
            "dtype",
            "instances",
        )
        if rows is not None:
            x = rows if sample == made.sample else rows[0]
            assert finite(x, made.instances, batch_size, made.features) and x.dtype == dtype


DISTRIBUTION_ARGUMENTS = (
    *("density", "importance", "features", "instances", "set_size", "correlation", "signed"),
    *("values", "strength", "parents"),
)


@examples(600)
@given(
    name=st.sampled_from(DISTRIBUTION_ARGUMENTS),
    value=odd.anything(),
    correlation=st.sampled_from(CORRELATIONS),
)
def test_any_argument_of_a_distribution(name, value, correlation):
    arguments = {"density": 0.3, "features": 3, "correlation": correlation, name: value}
    made = outcome(lambda: FeatureDistribution(**arguments), *DISTRIBUTION_ARGUMENTS)
    if made is not None:
        counts = (made.instances, made.features, made.set_size)
        assert {type(count) for count in counts} == {int}
        assert type(made.correlation) is str and type(made.signed) is bool
        x, probability = made.sample_active(2)
        assert finite(x, made.instances, 2, made.features)
        assert finite(probability, made.instances)


@examples(600)
@given(
    method=st.sampled_from(
        [
            ("select", "instances"),
            ("with_restarts", "restarts"),
            ("to", "device"),
            *(
                (method, name)
                for method in ("sample", "sample_active", "draw")
                for name in ("batch_size", "dtype", "generator")
            ),
        ]
    ),
    value=odd.anything(),
)
def test_any_argument_of_a_distributions_methods(method, value):
    method, name = method
    distribution = FeatureDistribution(0.3, features=3, instances=2)
    arguments = {"batch_size": 2} if method in ("sample", "sample_active", "draw") else {}
    arguments[name] = value
    with contextlib.suppress(IndexError if method == "select" else ()):
        outcome(lambda: getattr(distribution, method)(**arguments), name, "instances")


@examples(300)
@given(low=odd.anything(), high=odd.anything())
def test_any_range_of_values(low, high):
    made = outcome(lambda: Uniform(low, high), "low", "high")
    assert made is None or -math.inf < made.low < made.high < math.inf


@examples(500)
@given(W=weights(None, 2, 4) | odd.anything(), set_size=odd.anything())
def test_any_argument_of_geometry(W, set_size):
    for function in (*PER_FEATURE, geometry.unit_directions, geometry.dimensions_per_feature):
        outcome(lambda function=function: function(W), "W")
    for function in (geometry.carried, geometry.neuron_pattern):
        outcome(lambda function=function: function(W), "W")
    outcome(lambda: geometry.ordered_neurons(W), "W")
    outcome(lambda: geometry.collapsed_pairs(W), "W", "set_size")
    for function in (geometry.set_cosines, geometry.side_by_side):
        outcome(lambda function=function: function(W, set_size), "W", "set_size")
    for name in ("first", "second"):
        with contextlib.suppress(IndexError):
            outcome(lambda name=name: geometry.oriented(W, **{name: set_size}), "W", name)


# Models


@examples(300)
@given(
    model=st.sampled_from(MODELS),
    instances=COUNTS,
    features=COUNTS,
    hidden=COUNTS,
    seed=SEEDS,
    init_scale=NUMBERS,
    dtype=mostly(st.sampled_from(FLOATS[:2]), st.sampled_from(FLOATS + OTHERS) | NO_NUMBERS),
    device=mostly(st.just("cpu"), st.sampled_from(["gpu", "cuda:99", "", None, 1.5, "cpu:0"])),
)
def test_models(model, **arguments):
    made = outcome(lambda: model(**arguments), *arguments)
    assert made is None or all(p.shape[0] == arguments["instances"] for p in made.parameters())


@examples(600)
@given(
    model_class=st.sampled_from(MODELS),
    x=weights(2, None, 3),
    h=weights(2, None, 1),
    importance=mostly(NUMBERS, weights(2, 3)),
    scale=mostly(st.just(0.1), st.sampled_from([1e10, 1e30])),
)
def test_models_refuse_rows(model_class, x, h, importance, scale):
    model = model_class(2, 3, 1, init_scale=scale)
    for function, argument, width in ((model, x, 3), (model.encode, x, 1), (model.decode, h, 3)):
        result = outcome(
            lambda function=function, argument=argument: function(argument), "x", "h", "output"
        )
        assert (
            result is None
            or function == model.encode
            or finite(result, 2, argument.shape[1], width)
        )
    loss = outcome(lambda: model.loss(x, importance), "x", "h", "importance", "output", "loss")
    assert loss is None or finite(loss, 2)


@examples(300)
@given(W=weights(2, None, 3), b=weights(2, 3))
def test_models_of_weights(W, b):
    model = outcome(lambda: ReLUOutputModel.from_weights(W, b), "W", "b", "dtype")
    assert model is None or (finite(model.W, *W.shape) and finite(model.b, *b.shape))


# Training


@examples(400)
@given(
    model_class=st.sampled_from(MODELS),
    W=st.sampled_from([0.1, 1e30, NAN]),
    exact=st.booleans(),
    steps=COUNTS,
    batch_size=COUNTS,
    seed=SEEDS,
    record=mostly(st.none(), COUNTS),
    lr=mostly(st.just(0.1), NUMBERS),
    rows=COUNTS,
    density=st.sampled_from([0.0, 1e-300, 0.1, 1.0]),
    importance=st.sampled_from([0.0, 1e-30, 1.0, 1e30]),
    other=st.integers(0, 9).map(
        lambda k: {8: None, 9: FeatureDistribution(0.1, features=2)}.get(k, 0)
    ),
)
def test_train(model_class, W, exact, rows, density, importance, other, **arguments):
    model = model_class(2, 3, 1, init_scale=W if W < 1 else 0.1)
    model.encoder.data[0, 0, 0] = W
    inputs = (
        FeatureDistribution(density, importance, features=3, instances=2) if other == 0 else other
    )
    before = [p.detach().clone() for p in model.parameters()]
    names = ("distribution", "exact", *arguments)
    history = outcome(
        lambda: train(model, inputs, exact=exact, progress=False, **arguments), *names
    )
    assert all(p.grad is None for p in model.parameters())
    if history is not None:
        assert finite(history.losses[-1], 2) and all(p.isfinite().all() for p in model.parameters())
        losses = outcome(
            lambda: sampled_loss(model, inputs, rows=rows, seed=arguments["seed"]), "rows", "seed"
        )
        assert losses is None or W != 0.1 or finite(losses, 2)
    elif any(
        arguments[name] is None or isinstance(arguments[name], float | str)
        for name in ("steps", "batch_size", "seed")
    ):
        same = zip(before, model.parameters())
        assert all(torch.equal(old.nan_to_num(), new.nan_to_num()) for old, new in same)


@examples(200)
@given(
    model_class=mostly(
        st.sampled_from(MODELS), st.sampled_from([None, "LinearModel", int, torch.nn.Linear])
    ),
    distribution=mostly(st.just(FeatureDistribution(0.2, features=3)), st.just(0.2) | NO_NUMBERS),
    hidden=COUNTS,
    restarts=COUNTS,
    seed=SEEDS,
    init_scale=mostly(st.just(0.1), NUMBERS),
    steps=mostly(st.just(2), COUNTS),
    batch_size=mostly(st.just(4), COUNTS),
)
def test_train_best(**arguments):
    best = outcome(lambda: train_best(**arguments, progress=False), *arguments)
    assert best is None or finite(best[1], 1)


@examples(300)
@given(losses=weights(4), restarts=COUNTS)
def test_best_restart(losses, restarts):
    best = outcome(lambda: best_restart(losses, restarts), "losses", "restarts")
    assert best is None or finite(best, len(losses) // restarts)


# The exact loss


@examples(800)
@given(
    W=weights(2, None, 3),
    b=weights(2, 3),
    output=mostly(st.sampled_from(["relu", "linear"]), NO_NUMBERS),
    distribution=mostly(
        st.builds(
            lambda density, importance, signed: FeatureDistribution(
                density, importance, features=3, instances=2, signed=signed
            ),
            st.sampled_from([0.0, 1e-300, 1e-6, 0.3, 1.0]),
            st.sampled_from([0.0, 1.0, 1e30]),
            st.booleans(),
        ),
        NO_NUMBERS,
    ),
)
def test_expected_loss(W, b, output, distribution):
    if isinstance(W, torch.Tensor) and W.is_floating_point():
        W.requires_grad_()
    loss = outcome(
        lambda: expected_loss(W, b, distribution, output),
        "W",
        "b",
        "distribution",
        "output",
        "features",
    )
    if loss is not None:
        assert finite(loss, 2) and loss.dtype == torch.float64
        (gradient,) = torch.autograd.grad(loss.sum(), W)
        assert not gradient.isnan().any() and gradient.shape == W.shape
        assert W.dtype != torch.float64 or finite(gradient, *W.shape)


@pytest.mark.parametrize("size, refused", [(1e8, False), (1e40, True), (1e200, True)])
@pytest.mark.parametrize("features", [2, 12])
def test_the_largest_weights(size, refused, features):
    W = torch.linspace(-1, 1, features, dtype=torch.float64).mul(size)[None, None].requires_grad_()
    call = lambda: expected_loss(W, W.detach()[0], FeatureDistribution(0.3, features=features))  # noqa: E731
    loss = outcome(call, "W")
    assert (loss is None) == refused
    assert refused or finite(torch.autograd.grad(loss.sum(), W)[0], 1, 1, features)


@pytest.mark.parametrize("W_device, b_device", [("meta", "cpu"), ("cpu", "meta")])
def test_mixed_devices(W_device, b_device):
    W, b = torch.zeros(1, 2, 3, device=W_device), torch.zeros(1, 3, device=b_device)
    assert (
        outcome(lambda: expected_loss(W, b, FeatureDistribution(0.1, features=3)), "W", "b") is None
    )
    assert outcome(lambda: LinearModel.from_weights(W, b), "W") is None
    assert outcome(lambda: LinearModel(1, 3, 2)(torch.zeros(1, 4, 3, device="meta")), "x") is None


# Geometry and polytopes


@examples(800)
@given(W=weights(None, 2, 4), set_size=COUNTS, first=st.integers(-1, 0))
def test_geometry(W, set_size, first):
    for function in PER_FEATURE:
        measured = outcome(lambda function=function: function(W), "W")
        assert measured is None or finite(measured, W.shape[0], W.shape[2])
    for function in (geometry.dimensions_per_feature, geometry.collapsed_pairs):
        measured = outcome(lambda function=function: function(W), "W", "set_size")
        assert measured is None or (measured.shape == W.shape[:1] and not measured.isnan().any())
    cosines = outcome(lambda: geometry.set_cosines(W, set_size), "W", "set_size")
    assert cosines is None or all(finite(values, W.shape[0], values.shape[1]) for values in cosines)
    sides = outcome(lambda: geometry.side_by_side(W, set_size), "W", "set_size")
    assert sides is None or finite(sides, W.shape[0])
    turned = outcome(lambda: geometry.oriented(W, first), "W", "first")
    assert turned is None or finite(turned, *W.shape)


@examples(400)
@given(W=weights(2, 4), min_norm=mostly(st.just(0.5), NUMBERS), angle=NUMBERS)
def test_polytopes(W, min_norm, angle):
    factors = outcome(lambda: tegum_factors(W, min_norm), "W", "min_norm")
    assert factors is None or all(
        set(factor.features) <= set(range(W.shape[1])) for factor in factors
    )
    vertices = outcome(lambda: square_antiprism(angle), "polar_angle")
    assert vertices is None or finite(vertices, 3, 8)


# Theory

GOOD_LINES = st.lists(st.floats(0.01, 1), min_size=1, max_size=2)
LINES = mostly(GOOD_LINES | GOOD_LINES.map(torch.tensor), NUMBERS | tensors(2))


@examples(500)
@given(features=COUNTS, density=LINES, ratio=LINES)
def test_optimum_refuses(features, density, ratio):
    with pytest.MonkeyPatch.context() as patch:  # no search is run
        patch.setattr(phases, "scanned_optimum", lambda density, ratio, **_: (density, ratio))
        patch.setattr(
            phases,
            "descended_optimum",
            lambda features, hidden, density, ratio, **_: (density, ratio),
        )
        given = outcome(
            lambda: phases.optimum(features, density, ratio), "features", "density", "ratio"
        )
    if given is not None:
        assert (
            all(finite(line, len(density)) and (line > 0).all() for line in given)
            and (given[0] <= 1).all()
        )


@examples(80)
@given(
    polytope=mostly(
        st.sampled_from(["dedicated dimension", "digon"]),
        st.sampled_from(["", "Digon", None, 2, []]),
    ),
    density=LINES,
    points=COUNTS,
    resolution=st.sampled_from([4, 0, -1, 10**30]),
)
def test_packing_and_grids(polytope, density, points, resolution):
    best = outcome(lambda: packing.polytope_optimum(polytope, density), "polytopes", "density")
    assert best is None or all(finite(values, len(density)) for values in best)
    grid = outcome(lambda: phases.grid(points), "points")
    assert grid is None or all(finite(values, points**2) for values in grid)
    assert (
        outcome(
            lambda: boundary.optimum_boundary(density, resolution=resolution),
            "density",
            "resolution",
        )
        is None
    )


@pytest.mark.parametrize("ratio", [0.5, NAN, -INF, "a", None])
def test_mixtures_refuse(ratio):
    needed, benefit = torch.ones(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    assert (
        outcome(lambda: packing.best_mixture(needed, benefit, ratio), "features_per_dimension")
        is None
    )
    assert outcome(lambda: packing.best_mixture(2 * needed, benefit), "needed") is None


# Descents


def no_kind(W):
    return torch.zeros(len(W), dtype=torch.long)


@examples(300)
@given(
    W=weights(2, None, 2, 3),
    b=weights(2, None, 3),
    lines=COUNTS,
    kinds=COUNTS,
    steps=mostly(st.just(2), COUNTS),
    lr=mostly(st.just(0.1), NUMBERS),
    hidden=COUNTS,
    runs=COUNTS,
)
def test_descents(W, b, lines, kinds, steps, lr, hidden, runs):
    inputs = FeatureDistribution([[0.1], [0.2]], features=3)
    start = outcome(
        lambda: descents.small_weights(inputs, hidden, runs, seed=0), "hidden", "runs", "instances"
    )
    assert start is None or finite(start, 2, runs, hidden, 3)
    names = (
        "W",
        "b",
        "lines",
        "kinds",
        "starts",
        "steps",
        "lr",
        "distribution",
        "dtype",
        "instances",
        "restarts",
    )
    how = {"steps": steps, "lr": lr, "progress": False}
    found = outcome(lambda: best_of_kinds(W, b, inputs, lines, no_kind, kinds, **how), *names)
    assert found is None or found.W.isfinite().all()


# Settings

SETTINGS = [
    absolute_value.Settings(),
    vulnerability.Settings(),
    adversarial_training.Settings(),
    neuron_alignment.Settings(),
    preferred_dictionary.Settings(),
    recovered_features.Settings(),
    phase_boundary.Settings(),
    collapsing_pairs.Settings(),
    demonstration.Settings(),
    first_superposition.Settings(),
    CONTINUED,
    jumps.Settings(),
    plateaus.Settings(),
    barrier.Settings(),
    waiting_times.Settings(),
    exact_optimum.Settings(),
    introduction.Settings(),
    asymmetric_motif.Settings(),
    neuron_kinds.Settings(),
    pairs_in_the_plane.Settings(),
    periodic_table.Settings(),
    perturbed_pentagon.Settings(),
    phase_diagram.Settings(),
    predicted_polytopes.Settings(),
    neuron_patterns.Settings(),
    correlated_sets.Settings(),
    stages.Settings(),
    started_as_polytopes.Settings(),
    uniform_superposition.Settings(),
    demonstration.Settings().relu,
    Sampling(),
]
WRONG = {
    int: (-1, 1.5, NAN, "a", None, True, 10**30, [1]),
    float: (-1.0, NAN, INF, "a", None, True, 1j),
    bool: (None, 1, "a"),
    str: ("a", None, 1),
    "densities": ((), (0.0,), (-0.1,), (0.1, 1.5), (NAN,), ("a",), None, 0.5, (1j,)),
    "inverse_density": ((), (0.5,), (2.0, NAN), (INF,), ("a",), None, 2.0),
    "polytopes": ((), ("digon", "dodecahedron"), None, (1,)),
}
CASES = [
    pytest.param(
        settings_, field.name, value, id=f"{type(settings_).__module__}-{field.name}-{value}"
    )
    for settings_ in SETTINGS
    for field in fields(settings_)
    if field.init
    for value in WRONG.get(field.type, WRONG.get(field.name, (None,)))
]


@pytest.mark.parametrize("settings_, name, value", CASES)
def test_settings_are_refused_at_once(settings_, name, value):
    with pytest.raises(ValueError, match=rf"\b{name}\b.*: expected .*, got "):
        replace(settings_, **{name: value})


@pytest.mark.parametrize("settings_", SETTINGS, ids=lambda settings_: type(settings_).__module__)
def test_zero_and_misspelt_settings(settings_):
    for field in fields(settings_):
        if field.type in (int, float) and field.name not in ("noise", "first"):
            assert (
                outcome(lambda field=field: replace(settings_, **{field.name: 0}), field.name)
                is None
            )
    with pytest.raises(TypeError, match="stepz"):
        type(settings_)(stepz=3)
