"""Without bias, idle loss or with weight decay: formulas, a short run, the figure and the claim."""

import numpy as np
import pytest
import torch
from drawing import drawn
from scipy.optimize import linprog
from scipy.special import eval_gegenbauer

from experiments.variations import ablation_theory as theory
from experiments.variations.ablated_models import (
    LinearOnActiveFeatures,
    OnActiveFeatures,
    WithoutBias,
    active_loss,
    own_loss,
    paper_loss,
)
from experiments.variations.ablations import (
    ACTIVE,
    LINEAR,
    NO_BIAS,
    PAPER,
    QUICK,
    Result,
    Settings,
    figure,
    run,
    trained_loss,
)
from experiments.variations.ablations_claim import claim
from experiments.variations.pair_arrangements import antipodal_pairs
from features import FeatureDistribution
from losses import expected_loss, many_features_loss
from models import LinearModel, ReLUOutputModel
from training import sampled_loss, train

FEATURES, HIDDEN = 20, 5


def some_model(model_class, density, features=6, hidden=3):
    model = model_class(len(density), features, hidden, dtype=torch.float64, init_scale=0.5)
    model.b.data.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    return model, FeatureDistribution(density[:, None], features=features)


DENSITY = torch.tensor([0.9, 0.3, 0.05], dtype=torch.float64)


@pytest.mark.parametrize("model_class", [OnActiveFeatures, LinearOnActiveFeatures])
def test_the_exact_loss_on_active_features_is_that_of_samples(model_class):
    model, inputs = some_model(model_class, DENSITY)
    sampled = sampled_loss(model, inputs, rows=2**15)
    exact = own_loss(model, DENSITY)
    torch.testing.assert_close(sampled, exact, rtol=0.05, atol=0)
    assert (exact < paper_loss(model, DENSITY)).all()


def test_the_formula_of_the_linear_loss_is_the_general_one():
    """Feature by feature: the loss of this feature alone, where it is always active."""
    model, _ = some_model(LinearModel, DENSITY)
    expected = 0
    for feature in range(6):
        always = torch.eye(6)[feature].expand(3, 6)
        inputs = FeatureDistribution(torch.where(always > 0, 1, DENSITY[:, None]), always)
        W, b = model.W.detach(), model.b.detach()
        expected = expected + DENSITY * expected_loss(W, b, inputs, output="linear")
    torch.testing.assert_close(active_loss(model, DENSITY), expected)


@pytest.mark.parametrize("model_class", [ReLUOutputModel, LinearModel])
def test_losses_of_the_paper_s_models(model_class):
    model, inputs = some_model(model_class, DENSITY)
    torch.testing.assert_close(
        own_loss(model, DENSITY), sampled_loss(model, inputs, rows=2**15), rtol=0.05, atol=0
    )


def test_no_bias_is_trained():
    model, inputs = some_model(WithoutBias, DENSITY)
    model.b.data.zero_()
    train(model, inputs, steps=20, progress=False)
    assert not model.b.any()


# Formulas


@pytest.mark.parametrize("density", [0.02, 0.2, 1 / 3, 0.5, 1.0])
def test_the_linear_optimum(density):
    """It has the loss and the D* of the formulas, and no descent finds a lower loss."""
    W, b = theory.active_optimum(FEATURES, HIDDEN, density)
    at = torch.tensor([density], dtype=torch.float64)
    least = theory.active_optimum_loss(FEATURES, HIDDEN, at)
    torch.testing.assert_close(theory.linear_active_loss(W[None], b[None], at), least)
    dimensions = HIDDEN / W.square().sum()
    torch.testing.assert_close(dimensions, theory.active_dimensions(FEATURES, HIDDEN, at)[0])
    found = descended(at.expand(2))
    assert found.min() >= least * (1 - 1e-9) and found.min() <= least * 1.001


def descended(density):
    """Return the losses that descents on the loss of the linear model end at."""
    model = LinearModel(len(density), FEATURES, HIDDEN, dtype=torch.float64, init_scale=0.3)
    descent = torch.optim.LBFGS(
        model.parameters(), max_iter=150, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def total():
        descent.zero_grad()
        loss = theory.linear_active_loss(model.W, model.b, density).sum()
        loss.backward()
        return loss

    descent.step(total)
    return theory.linear_active_loss(model.W.detach(), model.b.detach(), density)


@pytest.mark.parametrize(("features", "hidden"), [(20, 5), (9, 4), (4, 1)])
def test_a_tight_frame(features, hidden):
    W = theory.tight_frame(features, hidden)
    torch.testing.assert_close(W @ W.T, torch.eye(hidden, dtype=torch.float64))
    norms = torch.full((features,), hidden / features, dtype=torch.float64)
    torch.testing.assert_close(W.square().sum(dim=0), norms)


@pytest.mark.parametrize("overlap", [0.4, -0.4, -1.0])
def test_what_an_overlap_costs_two_active_features(overlap):
    """g^2/3 for g > 0, and g^2/3 - |g|^3/6 for g < 0, as `lines` says, on a grid of values."""
    values = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    error = values[:, None] - (values[:, None] + overlap * values).relu()
    cost = overlap**2 / 3 - max(-overlap, 0) ** 3 / 6
    assert error.square().mean().item() == pytest.approx(cost, rel=1e-4)


def test_lines_beat_a_tight_frame_for_rare_features():
    W = torch.stack([theory.lines(FEATURES, HIDDEN), theory.active_optimum(20, 5, 0.01)[0]])
    model = OnActiveFeatures.from_weights(W, torch.zeros(2, FEATURES, dtype=torch.float64))
    lines, frame = active_loss(model, torch.full((2,), 0.01))
    assert lines < 0.8 * frame
    assert theory.lines(4, 2).tolist() == [[1, 0, -1, 0], [0, 1, 0, -1]]


def test_the_loss_of_rare_features_without_a_bias():
    W = 0.4 * torch.randn(3, 3, 7, generator=torch.Generator().manual_seed(0)).double()
    rare = torch.full((3, 1), 1e-7, dtype=torch.float64)
    inputs = FeatureDistribution(rare, features=7)
    exact = many_features_loss(W, torch.zeros(3, 7), inputs) / (rare[:, 0] / 3)
    torch.testing.assert_close(theory.sparse_loss_without_bias(W), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("hidden", [3, 5, 8])
def test_the_bound_is_that_of_a_linear_program(hidden):
    """The best polynomial of degree 3 with nonnegative Gegenbauer coefficients below ReLU(t)^2."""
    t = np.cos(np.linspace(0, np.pi, 2001))
    order = (hidden - 2) / 2
    basis = [eval_gegenbauer(k, order, t) / eval_gegenbauer(k, order, 1.0) for k in range(4)]
    best = linprog([-1, 0, 0, 0], np.array(basis).T, np.maximum(t, 0) ** 2)
    bound = theory.least_dimensions_without_bias(hidden)
    assert bound == pytest.approx(hidden * best.x[0], abs=1e-4)


def test_no_random_weights_are_below_the_bound():
    W = torch.randn(200, 5, 40, generator=torch.Generator().manual_seed(0)).double()
    G = W.mT @ W
    trace = G.diagonal(dim1=1, dim2=2).sum(dim=1)
    mean = G.relu().square().sum(dim=(1, 2)) / trace**2
    assert (5 * mean > theory.least_dimensions_without_bias(5)).all()


def test_named_arrangements():
    """The demicube at its best norms has D* = 7/16, and pairs have 1/2, as their losses say."""
    cube = theory.sparse_arrangement(FEATURES, 5)
    loss = theory.sparse_loss_without_bias(cube[None]).item()
    assert 5 / cube.square().sum().item() == pytest.approx(theory.DEMICUBE)
    assert loss == pytest.approx(FEATURES - 5 / theory.DEMICUBE)
    cosines = (cube[:, :16].T @ cube[:, :16] * 7 / 5).sort(dim=1).values
    expected = torch.tensor(theory.DEMICUBE_COSINES, dtype=torch.float64).expand(16, 16)
    torch.testing.assert_close(cosines, expected)
    pairs = theory.sparse_arrangement(8, 3)
    assert theory.sparse_loss_without_bias(pairs[None]).item() == 2
    assert pairs.square().sum() == 6


def test_descents_find_the_pentagon_and_the_demicube():
    """In the plane D* is that of five features at 72 degrees, in five dimensions the demicube's."""
    cosine = np.cos(2 * np.pi / 5)
    pentagon = 2 * (1 + 2 * cosine**2) / 5
    assert theory.found_dimensions_without_bias(2, 8, 8, 0) == pytest.approx(pentagon, rel=1e-6)
    assert theory.found_dimensions_without_bias(5, 20, 8, 0) == pytest.approx(7 / 16, rel=1e-6)


# The run


@pytest.mark.parametrize(
    ("field", "value"),
    [("weight_decays", (0.0, 1.0)), ("features", 9), ("densities", (0.0,)), ("steps", 0)],
)
def test_settings_refuse(field, value):
    with pytest.raises(ValueError, match=field):
        Settings(**{field: value})


def test_run():
    """It is the same for a seed, differs between seeds, and its losses are those of its weights."""
    result = run(QUICK, progress=False)
    again = run(QUICK, progress=False)
    other = run(QUICK, seed=1, progress=False)
    for values, same in zip(result, again):
        assert torch.equal(values, same)
    assert not torch.equal(result.W, other.W)
    assert not result.b[NO_BIAS].any()
    inputs = FeatureDistribution(result.density[:, None], features=QUICK.features)
    exact = many_features_loss(result.W[PAPER], result.b[PAPER], inputs)
    torch.testing.assert_close(result.loss[PAPER], exact, rtol=1e-6, atol=0)
    assert (result.next_loss <= trained_loss(result) * (1 + 1e-6)).all()
    claim(result)
    drawn(figure, result)


# The claim


def ideal():
    """Return a result of the full settings with the effects; losses are made up to fit them."""
    settings = Settings()
    density = torch.tensor(settings.densities, dtype=torch.float64)
    optimum = [theory.active_optimum(FEATURES, HIDDEN, p) for p in settings.densities]
    linear, bias = map(torch.stack, zip(*optimum))
    shape = linear.shape
    decayed = theory.lines(FEATURES, HIDDEN).repeat(len(density), 1, 1)
    decayed[1:3] = antipodal_pairs(FEATURES, HIDDEN)
    paper = 1.2 * decayed
    models = {
        PAPER: paper,
        NO_BIAS: theory.demicube(FEATURES).expand(shape),
        ACTIVE: theory.lines(FEATURES, HIDDEN).expand(shape),
        LINEAR: linear,
        4: paper,
        5: paper,
        6: decayed,
    }
    W = torch.stack([models[k] for k in range(7)]).float()
    b = torch.zeros(7, len(density), FEATURES)
    b[LINEAR] = bias
    silence = density * FEATURES / 3
    factors = torch.tensor([0.08, 0.44, 1.1, 3.1, 0.08, 0.08, 0.1])[:, None]
    loss = factors * silence
    idle = torch.tensor([0.2, 0.4, 0.99, 0.99, 0.2, 0.2, 0.3])[:, None]
    active = loss * (1 - idle)
    active[LINEAR] = theory.active_optimum_loss(FEATURES, HIDDEN, density)
    sizes = torch.tensor(settings.packing_dimensions)
    packings = torch.tensor([theory.least_dimensions_without_bias(m) for m in sizes.tolist()])
    decay = torch.tensor((0.0,) * 4 + settings.weight_decays)
    result = Result(density, decay, W, b, loss, active, loss, sizes, packings * 1.01)
    return result._replace(next_loss=trained_loss(result))


def changed(name, place, factor):
    result = ideal()
    values = getattr(result, name).clone()
    values[place] = values[place] * factor
    return result._replace(**{name: values})


def without_one_feature():
    result = ideal()
    W = result.W.clone()
    W[NO_BIAS, -1, :, 0] = 0
    return result._replace(W=W)


def turned(model):
    """Return the ideal result with one feature of a model turned by about 22 degrees."""
    result = ideal()
    W = result.W.clone()
    W[model, :, :, 0] += 0.4 * W[model, :, :, 1]
    return result._replace(W=W)


def replaced_by_pairs(model):
    result = ideal()
    W = result.W.clone()
    W[model] = antipodal_pairs(FEATURES, HIDDEN)
    return result._replace(W=W)


FAILURES = {  # what is missing -> the result, and the finding that fails
    "formula": (lambda: changed("W", LINEAR, 0.98), 0),
    "lines": (lambda: turned(ACTIVE), 1),
    "not represented": (lambda: changed("W", ACTIVE, 0.4), 1),
    "noise of the ReLU model": (lambda: changed("loss", ACTIVE, 0.9), 2),
    "noise of the linear model": (lambda: changed("loss", LINEAR, 0.3), 2),
    "paper's loss": (lambda: changed("loss", PAPER, 7), 2),
    "below the bound": (lambda: changed("packing_dimensions", 3, 0.98), 3),
    "far above the bound": (lambda: changed("packing_dimensions", 3, 1.05), 3),
    "demicube": (lambda: turned(NO_BIAS), 4),
    "too few features": (without_one_feature, 4),
    "D* of the paper's model": (lambda: changed("W", PAPER, 0.8), 4),
    "loss without a bias": (lambda: changed("loss", NO_BIAS, 0.5), 5),
    "noise without a bias": (lambda: changed("active_loss", NO_BIAS, 1.4), 5),
    "weak decay": (lambda: changed("loss", 4, 1.02), 6),
    "strong decay": (lambda: changed("loss", 6, 0.85), 6),
    "D* with decay": (lambda: changed("W", 6, 1.19), 6),
    "pairs of the paper's model": (lambda: changed("W", PAPER, 0.3), 7),
    "pairs with decay": (lambda: changed("W", 6, 0.4), 7),
    "no pairs fewer without a bias": (lambda: replaced_by_pairs(NO_BIAS), 7),
}


def test_the_claim_can_be_met():
    made = claim(ideal())
    assert [finding.holds for finding in made.findings] == [True] * 8
    assert "training-limited" not in [finding.evidence for finding in made.findings]


@pytest.mark.parametrize("missing", FAILURES)
def test_the_claim_can_fail(missing):
    result, place = FAILURES[missing]
    assert not claim(result()).findings[place].holds


def test_a_lower_loss_makes_findings_training_limited():
    limited = claim(changed("next_loss", NO_BIAS, 0.9)).findings
    assert [finding.evidence == "training-limited" for finding in limited] == [
        place in (4, 5, 7) for place in range(8)
    ]


def test_a_random_matrix_meets_no_finding_on_geometry():
    result = ideal()
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(result.W.shape, generator=generator) / 4
    holds = [finding.holds for finding in claim(result._replace(W=W)).findings]
    assert not any(holds[place] for place in (0, 1, 4, 6, 7))


def test_figure_shows_all_models():
    shown = drawn(figure, ideal())
    assert len(shown.axes) == 4
    assert len(shown.axes[0].get_legend().get_texts()) == 5
