"""Computations in superposition: models, solutions made by hand, short runs, figure, claim."""

from dataclasses import fields, replace

import pytest
import torch
from drawing import drawn

from experiments.variations import computations
from experiments.variations.computations import (
    QUICK,
    Result,
    Settings,
    missed,
    polysemantic,
    saved,
    units_read,
)
from experiments.variations.computations_claim import claim
from experiments.variations.computing_models import COMPUTATIONS, expected_units, inputs_of
from experiments.variations.constructed_computations import (
    allocated,
    alone_losses,
    alone_output,
    block_weights,
    code_error,
    two_neuron_ands,
    two_neuron_error,
)
from features import FeatureDistribution
from sweeps.claims import (
    BEST_KNOWN,
    REPRODUCED,
    TRAINING_LIMITED,
    checked,
    seen_text,
    verdict,
)
from training import sampled_loss

SHORT = replace(QUICK, densities=(0.5, 0.1), steps=3, more_steps=2, rows=256, batch_size=16)
ONE = replace(SHORT, computations=("AND",))


# Models and their inputs


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("|x|", [[-0.5], [0.2]], [0.5, 0.2]),
        ("x^2", [[-0.5], [0.2]], [0.25, 0.04]),
        ("AND", [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], [0, 1, 0]),
        ("OR", [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], [1, 1, 0]),
        ("max", [[0.3, 0.7], [0.7, 0.0]], [0.7, 0.7]),
    ],
)
def test_targets(name, x, expected):
    computation = COMPUTATIONS[name]
    x = torch.tensor(x)
    assert computation.target(x).tolist() == pytest.approx(expected)
    model = computation.model(1, 2 * computation.unit, 3)
    assert model.b.shape == (1, 2) and model.W2.shape == (1, 2, 3)
    rows = x.expand(2, *x.shape).transpose(0, 1).flatten(1)[None]  # both units alike
    torch.testing.assert_close(model.target(rows)[0, :, 1], computation.target(x))


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_quadrature_agrees_with_rows(name):
    computation = COMPUTATIONS[name]
    densities = (0.5, 0.1)
    x, probability = expected_units(computation, densities)
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(2).double())
    generator = torch.Generator().manual_seed(0)
    rows = inputs_of(computation, densities, 10).sample(2**14, generator)
    units = rows.unflatten(2, (10, -1)).double()
    target = computation.target(units).flatten(1)
    expected = computation.target(x)
    for power in (1, 2):
        mean = probability @ expected**power
        torch.testing.assert_close((target**power).mean(dim=1), mean, rtol=0.02, atol=0)
    density = (units > 0).double().mean(dim=(1, 2, 3)) * (2 if computation.unit == 1 else 1)
    torch.testing.assert_close(density, torch.tensor(densities).double(), rtol=0.02, atol=0)


def test_importance_weighs_units():
    model = COMPUTATIONS["max"].model(1, 4, 2)
    importance = torch.tensor([[2.0, 9.0, 3.0, 9.0]]).double()
    inputs = FeatureDistribution(0.5, importance)
    x = inputs.sample(64, torch.Generator().manual_seed(0))
    errors = (model(x) - model.target(x)).square().mean(dim=1)[0]
    torch.testing.assert_close(model.loss(x, importance.float())[0], 2 * errors[0] + 3 * errors[1])


# Solutions made by hand


@pytest.fixture(scope="module")
def units_alone():
    return {name: alone_losses(each, SHORT.densities) for name, each in COMPUTATIONS.items()}


def test_losses_of_a_unit_alone(units_alone):
    """Formulas: |x| and OR with one neuron, x^2 with two, and all without any."""
    p = torch.tensor(SHORT.densities).double()

    def losses(name):
        return units_alone[name].losses

    size = losses("|x|")
    torch.testing.assert_close(size[:, 0], p / 3 - p**2 / 4)
    # With one neuron the output is affine in the positive side of x.
    explained = (p / 6 - p**2 / 8) ** 2 / (p / 6 - p**2 / 16)
    torch.testing.assert_close(size[:, 1], p / 3 - p**2 / 4 - explained)
    assert size[:, 2].max() < 1e-12
    square = losses("x^2")
    torch.testing.assert_close(square[:, 0], p / 5 - p**2 / 9)
    fine = torch.linspace(0, 1, 10001).double()
    two = ((1.28990 * fine - 0.37394).relu() - fine**2).square()
    torch.testing.assert_close(square[:, 2], p * torch.trapezoid(two, fine), rtol=0.01, atol=0)
    both = (p + p**2) / 2
    ones = 2 * p - both
    assert losses("AND")[:, 1].max() < 1e-12
    either = losses("OR")
    torch.testing.assert_close(either[:, 0], ones - ones**2)
    assert either[:, 2].max() < 1e-12
    # With one neuron that sums both features, the output is affine in the number of active ones.
    chances = torch.stack((1 - ones, ones - both, both))
    count = torch.arange(3).double()[:, None]
    mean = (chances * count).sum(dim=0)
    spread = (chances * (count - mean) ** 2).sum(dim=0)
    covariance = (chances * (count > 0) * (count - mean)).sum(dim=0)
    torch.testing.assert_close(either[:, 1], ones - ones**2 - covariance**2 / spread)


@pytest.mark.parametrize(
    ("losses", "expected", "counts"),
    [
        ([1.0, 0.6, 0.0], 3.0, [2, 0, 0, 0]),  # two neurons for one unit
        ([1.0, 0.2, 0.0], 2.4, [1, 1, 0, 0]),
    ],
)
def test_allocation(losses, expected, counts):
    loss, found = allocated(torch.tensor([losses]).double(), 4, 2)
    assert loss.item() == pytest.approx(expected) and found.tolist() == [counts]


@pytest.mark.parametrize("block", [3, 4, 8])
def test_block_weights(block):
    """Every output gets 1 from its own unit, and nothing above 0 from any other one."""
    reads, writes = block_weights(20, block)
    assert reads.shape == writes.shape == (20, block) and reads.min() >= 0
    gets = writes @ reads.T
    torch.testing.assert_close(gets.diagonal(), torch.ones(20).double())
    assert (gets - torch.eye(20).double()).amax() < 1e-9


@pytest.mark.parametrize("units", [2, 7, 40])
def test_few_neurons_serve_any_number_of_units(units):
    errors = [code_error(computation, units).item() for computation in COMPUTATIONS.values()]
    assert max(errors) < 1e-11
    assert two_neuron_error(units) < 1e-11 and len(two_neuron_ands(units).W1) == 2


def test_models_of_a_unit_are_exact_but_for_the_square():
    for name, computation in COMPUTATIONS.items():
        x, _ = expected_units(computation, (0.5,))
        error = (alone_output(computation.alone, x) - computation.target(x)).abs().max()
        assert error < (0.13 if name == "x^2" else 1e-12)


def test_model_without_sharing_has_the_loss_of_its_formula(units_alone):
    for name, computation in COMPUTATIONS.items():
        inputs = inputs_of(computation, SHORT.densities, SHORT.units)
        model = computations._alone(computation, SHORT, inputs, units_alone[name])
        expected, _ = allocated(units_alone[name].losses, SHORT.units, SHORT.hidden)
        sampled = sampled_loss(model, inputs, rows=2**14)
        torch.testing.assert_close(sampled, expected, rtol=0.03, atol=0)
        reads = model.W1.unflatten(2, (SHORT.units, -1)).norm(dim=3)
        assert reads.gt(0).sum(dim=2).max() == 1


# Runs


@pytest.fixture(scope="module")
def short():
    return computations.run(SHORT, progress=False)


def test_run(short):
    again = computations.run(ONE, progress=False)
    other = computations.run(ONE, seed=1, progress=False)
    place = list(COMPUTATIONS).index("AND")
    for name, joined, value in zip(Result._fields, short, again):
        torch.testing.assert_close(joined if name == "density" else joined[place, None], value)
    assert not torch.equal(again.fresh_loss, other.fresh_loss)
    assert short.reads.shape == (5, 2, 8, 20) and short.writes.shape == (5, 2, 20, 8)
    assert computations.names(short) == list(COMPUTATIONS)


def test_shards(short):
    shards = computations.shards(SHORT)
    assert [shard.computations for shard in shards] == [(name,) for name in COMPUTATIONS]
    assert replace(shards[0], computations=SHORT.computations) == SHORT


def test_the_best_is_the_lowest_of_all_candidates(short):
    single = (short.alone_loss, short.trained_alone_loss, short.trained_code_loss)
    several = torch.cat((short.fresh_loss, short.continued_loss), dim=2)
    lowest = torch.stack((*single, several.amin(dim=2))).amin(dim=0)
    torch.testing.assert_close(short.best_loss, lowest)
    assert (saved(short) <= 1).all() and (missed(short) >= 1).all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"computations": ()}, "computations"),
        ({"computations": ("xor",)}, "computations"),
        ({"hidden": 5}, "hidden"),
        ({"hidden": 41}, "hidden"),
        ({"densities": (0.0,)}, "densities"),
        ({"noise": 0}, "noise"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_settings_refuse(wrong, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        Settings(**wrong)


def test_presets():
    assert {field.name for field in fields(Settings)} >= {"computations", "densities"}
    for preset in (QUICK, computations.NOTEBOOK):
        assert preset.computations == Settings().computations
        assert len(preset.densities) >= 2


# The claim and the figure


def layer(shared):
    """Norms of in-weights (8, 20), and W2, of neurons with one unit each or with five."""
    count = 5 if shared else 1
    reads = torch.zeros(8, 20, dtype=torch.float64)
    for neuron in range(8):
        reads[neuron, (2 * neuron + torch.arange(count)) % 20] = 1
    return reads, reads.T


def with_motif(reads, writes, inhibits=True):
    """Norms of in-weights, and W2, with the motif of units 0 and 1 in neurons 0 and 1."""
    reads = reads.clone()
    writes = writes.clone()
    reads[:2, :] = 0
    writes[:, :2] = 0
    reads[0, :2] = torch.tensor([2.0, 0.5])
    writes[:2, 0] = torch.tensor([0.5, 2.0])
    reads[1, 0] = 1
    writes[2, 1] = 1
    writes[1, 1] = -4.0 if inhibits else 0.0
    return reads, writes


def made_up(
    curves,
    shared=(False, True, True, True, True),
    fresh=1.5,
    error=1e-14,
    motifs=((0, 1), (1, 1)),
    inhibits=True,
):
    """A result of the full settings' shapes with these losses relative to no sharing."""
    settings = Settings()
    points = len(settings.densities)
    best = torch.tensor([curves[name] for name in settings.computations], dtype=torch.float64)
    layers = [layer(each) for each in shared]
    reads, writes = (torch.stack(parts).repeat(5, 1, 1, 1) for parts in zip(*layers))
    for place in motifs:
        reads[place], writes[place] = with_motif(reads[place], writes[place], inhibits)
    ones = torch.ones(5, points, dtype=torch.float64)
    return Result(
        density=torch.tensor(settings.densities, dtype=torch.float64),
        computation=torch.arange(5),
        alone_loss=ones,
        fresh_loss=fresh * best[..., None].expand(-1, -1, settings.restarts),
        trained_alone_loss=ones,
        trained_code_loss=ones,
        continued_loss=best[..., None].expand(-1, -1, settings.rounds),
        best_loss=best,
        reads=reads,
        writes=writes,
        code_error=torch.full((5,), error, dtype=torch.float64),
        two_neuron_error=torch.full((5,), error, dtype=torch.float64),
    )


IDEAL = {
    "|x|": [1, 0.96, 0.7, 0.4, 0.1],
    "x^2": [1, 0.95, 0.7, 0.4, 0.1],
    "AND": [1, 0.7, 0.4, 0.2, 0.03],
    "OR": [1, 0.8, 0.5, 0.3, 0.2],
    "max": [0.99, 0.7, 0.4, 0.3, 0.1],
}


def held(result):
    judged = checked(claim(result))
    assert judged.id == "V.4" and seen_text([judged])
    return [finding.holds for finding in judged.findings]


def test_claim_can_be_met():
    result = made_up(IDEAL)
    assert held(result) == [True] * 7
    assert verdict([claim(result)]) == REPRODUCED
    assert claim(result).findings[2].evidence == TRAINING_LIMITED  # a lower loss of OR is known
    lower = made_up(IDEAL | {"OR": [0.95, 0.8, 0.5, 0.3, 0.2]})
    assert claim(lower).findings[2].evidence == BEST_KNOWN


@pytest.mark.parametrize(
    ("changes", "arguments", "missing"),
    [
        ({}, {"error": 0.1}, {1}),
        ({}, {"shared": (False,) * 5}, {2}),
        ({"OR": [1, 0.8, 0.5, 0.6, 0.6]}, {}, {2}),
        ({"max": [0.89, 0.7, 0.4, 0.3, 0.1]}, {}, {3}),
        ({}, {"shared": (True,) * 5}, {3}),
        ({"OR": [1, 0.97, 0.5, 0.3, 0.2]}, {}, {4}),
        ({"x^2": [1, 0.95, 0.7, 0.4, 0.02]}, {}, {5}),
        ({}, {"fresh": 1.1}, {6}),
        ({}, {"motifs": ((0, 1),)}, {7}),
        ({}, {"inhibits": False}, {7}),
        ({}, {"motifs": ((0, 1), (1, 1), (3, 1))}, {7}),
    ],
    ids=[
        "inexact",
        "not shared",
        "little",
        "gain",
        "shared when dense",
        "late",
        "another",
        "fresh",
        "no motif of squares",
        "no inhibition",
        "motif of OR",
    ],
)
def test_claim_can_fail(changes, arguments, missing):
    findings = held(made_up(IDEAL | changes, **arguments))
    assert {place for place, holds in enumerate(findings, start=1) if not holds} == missing


def test_measures():
    result = made_up(IDEAL, motifs=())
    assert polysemantic(result)[0].tolist() == [0, 1, 1, 1, 1]
    assert units_read(result)[0].tolist() == pytest.approx([1, 5, 5, 5, 5])
    silent = result._replace(writes=0.05 * result.writes)  # no neuron is in use
    assert polysemantic(silent).max() == units_read(silent).max() == 0


def test_figure(short):
    drawn(computations.figure, short)
    figure = drawn(computations.figure, made_up(IDEAL))
    assert "0.03 for AND" in figure.get_label()
