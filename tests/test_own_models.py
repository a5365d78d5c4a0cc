"""Models of one's own: trained by their own methods, or refused with a clear error."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import gelu

import training
from features import FeatureDistribution, RowMaker
from models import (
    AbsoluteValueModel,
    LinearModel,
    ReLUHiddenModel,
    ReLUOutputModel,
    ToyModel,
    base_class,
)
from training import sampled_loss, train, train_best

MODELS = [LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel]
each_model = pytest.mark.parametrize("model_class", MODELS)
DOUBLE = {"dtype": torch.float64, "init_scale": 0.4, "seed": 1}


def inputs(**settings):
    """Three instances, two of them with the same densities."""
    importance = torch.tensor([[1.0, 0.5, 2.0, 1.0], [2.0, 2.0, 1.0, 0.3], [1.0, 1.0, 1.0, 1.0]])
    return FeatureDistribution([[0.1], [0.1], [0.6]], importance, **settings)


class GELUModel(ReLUOutputModel):
    def decode(self, h):
        return gelu(h @ self.W + self.b[:, None])


class SquareModel(ReLUOutputModel):
    def target(self, x):
        return x**2


class TwoLayerModel(ReLUOutputModel):
    def __init__(self, instances, features, hidden, **settings):
        super().__init__(instances, features, hidden, **settings)
        one = torch.eye(hidden, dtype=self.W.dtype)
        self.V = nn.Parameter(one.repeat(instances, 1, 1))

    def encode(self, x):
        return (super().encode(x) @ self.V).relu()


class DropoutModel(ReLUOutputModel):
    def __init__(self, *sizes, **settings):
        super().__init__(*sizes, **settings)
        self.dropout = nn.Dropout(0.5)

    def encode(self, x):
        return self.dropout(super().encode(x))


class NoBiasModel(ReLUOutputModel):
    def __init__(self, *sizes, **settings):
        super().__init__(*sizes, **settings)
        self.b = None

    def decode(self, h):
        return (h @ self.W).relu()


class FrozenBiasModel(ReLUOutputModel):
    def __init__(self, *sizes, **settings):
        super().__init__(*sizes, **settings)
        self.b.requires_grad_(False)


class ActiveFeaturesModel(ReLUOutputModel):
    def loss(self, x, importance):
        error = (x > 0) * (x - self(x)) ** 2
        return (importance[:, None] * error).sum(dim=2).mean(dim=1)


class BatchNormalizedModel(ReLUOutputModel):
    """Its loss is no mean over rows, so that the empty row cannot be added apart."""

    def loss(self, x, importance):
        active = x > 0
        error = (importance[:, None] * active * (x - self(x)) ** 2).sum(dim=(1, 2))
        return error / active.sum(dim=(1, 2)).clamp(min=1)


class BufferModel(ReLUOutputModel):
    def __init__(self, instances, features, hidden, **settings):
        super().__init__(instances, features, hidden, **settings)
        self.register_buffer("gain", torch.linspace(1, 2, instances, dtype=self.W.dtype))

    def decode(self, h):
        return super().decode(h) * self.gain[:, None, None]


OWN = [
    GELUModel,
    SquareModel,
    TwoLayerModel,
    DropoutModel,
    NoBiasModel,
    ActiveFeaturesModel,
    BatchNormalizedModel,
    BufferModel,
]
each_own = pytest.mark.parametrize("model_class", OWN)


def overriding(kind, name):
    """A subclass that overrides a method, or a property, without changing what it computes."""
    inherited = getattr(kind, name)
    if isinstance(inherited, property):
        return type("Same", (kind,), {name: property(lambda self: inherited.fget(self))})
    return type("Same", (kind,), {name: lambda self, *args: inherited(self, *args)})


def weights_of(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


# By hand and by autograd


@each_model
@pytest.mark.parametrize("restarts", [1, 3])
def test_autograd_and_the_gradient_by_hand_train_the_same_weights(model_class, restarts):
    finals = []
    histories = []
    distribution = inputs(signed=model_class is AbsoluteValueModel).with_restarts(restarts)
    for kind in (model_class, overriding(model_class, "forward")):
        model = kind(3 * restarts, 4, 2, **DOUBLE)
        arguments = {"steps": 60, "batch_size": 32, "lr": 0.03, "weight_decay": 0.1}
        histories.append(train(model, distribution, record=20, progress=False, **arguments))
        finals.append(weights_of(model))
        finals[-1]["sampled loss"] = sampled_loss(model, distribution, rows=64, seed=3)
    torch.testing.assert_close(finals[0], finals[1], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(histories[0].losses, histories[1].losses, rtol=1e-9, atol=1e-12)


@each_model
@pytest.mark.parametrize("name", ["encode", "decode", "forward", "target", "loss", "encoder"])
def test_a_model_that_overrides_a_method_is_none_of_the_four(model_class, name):
    assert base_class(model_class(2, 3, 1)) is model_class
    assert base_class(overriding(model_class, name)(2, 3, 1)) is None


def test_an_empty_subclass_is_its_base_class():
    assert base_class(type("Named", (ReLUOutputModel,), {})(2, 3, 1)) is ReLUOutputModel


def mixed_in():
    """A class between ReLUOutputModel and LinearModel, which the former's methods would not see."""
    mixin = type("Mixin", (LinearModel,), {"encode": lambda self, x: 2 * (x @ self.W.mT)})
    return type("Mixed", (ReLUOutputModel, mixin), {})(2, 3, 1)


def changed(change):
    model = ReLUOutputModel(2, 3, 1)
    change(model)
    return model


@pytest.mark.parametrize(
    "model",
    [
        mixed_in(),
        NoBiasModel(2, 3, 1),
        BufferModel(2, 3, 1),
        TwoLayerModel(2, 3, 1),
        changed(lambda model: setattr(model, "decode", model.decode)),
        changed(lambda model: setattr(model, "extra", nn.Parameter(torch.ones(2)))),
        changed(lambda model: model.register_forward_hook(lambda *_: None)),
        changed(lambda model: model.W.register_hook(lambda gradient: 2 * gradient)),
    ],
)
def test_changed_models_are_none_of_the_four(model):
    assert base_class(model) is None


# Each method that is overridden makes a difference


def scaled(kind, name):
    """A subclass in which what a method or property returns is 1.5 times as large."""
    inherited = getattr(kind, name)
    if isinstance(inherited, property):
        return type("Scaled", (kind,), {name: property(lambda self: 1.5 * inherited.fget(self))})
    return type("Scaled", (kind,), {name: lambda self, *args: 1.5 * inherited(self, *args)})


@each_model
@pytest.mark.parametrize(
    "name", ["encode", "decode", "forward", "target", "loss", "encoder", "decoder"]
)
def test_no_overridden_method_is_ignored(model_class, name):
    finals = []
    for kind in (model_class, scaled(model_class, name)):
        model = kind(3, 4, 2, **DOUBLE)
        losses = sampled_loss(model, inputs(), rows=64)
        history = train(model, inputs(), steps=30, batch_size=32, lr=0.03, progress=False)
        finals.append((losses, history.losses[-1], model.encoder.detach()))
    for ours, theirs in zip(*finals):
        different = (ours - theirs).abs().amax() > 1e-3 * ours.abs().amax()
        # A loss of another scale has the same minima: Adam takes the same steps.
        assert different or (name == "loss" and ours.dim() == 3)


def test_an_overridden_select_chooses_the_best_restarts():
    chosen = []

    class Recording(ReLUOutputModel):
        def select(self, instances):
            chosen.append(instances)
            return super().select(instances)

    train_best(Recording, inputs(), 2, restarts=2, steps=2, progress=False)
    assert len(chosen) == 1 and len(chosen[0]) == 3


# Trained and measured by their own loss


def independent_loss(model, distribution, rows, seed):
    """The loss of rows that are drawn like any other, an instance at a time, and its error."""
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    losses = []
    for _ in range(40):
        draw = distribution.draw(rows, generator, torch.float64)
        x = RowMaker(distribution, torch.float64, rare=1.0).rows(draw)
        with torch.no_grad():
            losses.append(model.loss(x, distribution.importance))
    losses = torch.stack(losses)
    return losses.mean(dim=0), losses.std(dim=0) / 40**0.5


@each_own
def test_models_of_ones_own_are_trained_by_their_own_loss(model_class):
    distribution = inputs()
    model = model_class(3, 4, 2, **DOUBLE)
    before, _ = independent_loss(model, distribution, 1024, seed=1)
    train(model, distribution, steps=300, batch_size=128, lr=0.03, progress=False)
    after, error = independent_loss(model, distribution, 1024, seed=1)
    assert (after < 0.8 * before).all()
    reported = sampled_loss(model, distribution, rows=2**15, seed=5)
    assert ((reported - after).abs() <= 6 * error + 1e-3 * after).all()


@each_own
def test_a_model_of_ones_own_is_better_at_its_loss_than_a_relu_output_model(model_class):
    """The weights differ from those that the ReLU output model gets from the same seed."""
    weights = []
    for kind in (model_class, ReLUOutputModel):
        model = kind(3, 4, 2, **DOUBLE)
        train(model, inputs(), steps=50, batch_size=32, lr=0.03, progress=False)
        weights.append(model.W.detach())
    assert (weights[0] - weights[1]).norm() > 1e-3


def test_frozen_parameters_stay():
    model = FrozenBiasModel(3, 4, 2, **DOUBLE)
    before = weights_of(model)
    train(model, inputs(), steps=20, progress=False)
    assert torch.equal(model.b, before["b"]) and not torch.equal(model.W, before["W"])
    assert not model.b.requires_grad and not model.select([0]).b.requires_grad


def test_dropout_is_on_in_training_and_off_in_measuring():
    """A record's loss is that of training mode; a test loss of one set of rows has no noise."""
    model = DropoutModel(3, 4, 2, **DOUBLE)
    assert torch.equal(sampled_loss(model, inputs()), sampled_loss(model, inputs()))
    twin = ReLUOutputModel(3, 4, 2, **DOUBLE)
    torch.testing.assert_close(sampled_loss(model, inputs()), sampled_loss(twin, inputs()))
    noisy = train(model, inputs(), steps=1, record=(0,), progress=False).losses[0]
    quiet = train(twin, inputs(), steps=1, record=(0,), progress=False).losses[0]
    assert not torch.isclose(noisy, quiet, rtol=1e-3).any()


def test_random_models_are_reproducible_and_leave_torchs_random_numbers_alone():
    finals = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model = DropoutModel(3, 4, 2, **DOUBLE)
        expected = torch.get_rng_state()
        train(model, inputs(), steps=10, progress=False)
        assert torch.equal(torch.get_rng_state(), expected)
        finals.append(model.W.detach())
    assert torch.equal(*finals)


def test_instances_of_ones_own_model_train_as_if_alone():
    everyone = TwoLayerModel(3, 4, 2, **DOUBLE)
    alone = everyone.select([2])
    train(everyone, inputs(), steps=20, batch_size=32, progress=False)
    train(alone, inputs().select([2]), steps=20, batch_size=32, progress=False)
    expected = weights_of(everyone.select([2]))
    torch.testing.assert_close(weights_of(alone), expected, rtol=1e-9, atol=1e-12)


def test_divergence_of_ones_own_model_spoils_no_other_instance():
    model = GELUModel(3, 4, 2, **DOUBLE)
    alone = model.select([0, 2])
    model.W.data[1] = torch.nan
    with pytest.raises(FloatingPointError, match=r"^1 of 3 instances diverged, .* step 0: 1 "):
        train(model, inputs(), steps=20, batch_size=32, progress=False)
    train(alone, inputs().select([0, 2]), steps=20, batch_size=32, progress=False)
    expected = weights_of(alone)
    torch.testing.assert_close(weights_of(model.select([0, 2])), expected, rtol=1e-9, atol=1e-12)


def test_select_takes_rows_of_everything():
    model = BufferModel(3, 4, 2, **DOUBLE)
    chosen = model.select([2, 0])
    assert torch.equal(chosen.gain, model.gain[[2, 0]]) and chosen.instances == 2
    x = torch.rand(3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(chosen(x[[2, 0]]), model(x)[[2, 0]])


# Refused


def returning(name, change):
    """A model whose method returns something else than it should."""
    inherited = getattr(ReLUOutputModel, name)
    return type("Odd", (ReLUOutputModel,), {name: lambda self, *a: change(inherited(self, *a))})


class IgnoresImportance(ReLUOutputModel):
    def loss(self, x, importance):
        return ((x - self(x)) ** 2).sum(dim=2).mean(dim=1)


REFUSED = {
    "one loss in all": (returning("loss", lambda loss: loss.mean()), "loss: expected one number"),
    "table of losses": (returning("loss", lambda loss: loss[:, None]), "loss: expected one number"),
    "no tensor as loss": (returning("loss", lambda loss: 1.0), "loss: expected .* got float"),
    "constant loss": (returning("loss", lambda loss: loss.detach()), "loss: expected .* depends"),
    "infinite loss": (returning("loss", lambda loss: loss / 0), "loss: expected finite"),
    "infinite output": (returning("decode", lambda x: x + torch.inf), "output: expected finite"),
    "short output": (returning("forward", lambda x: x[:, :1]), "output: expected shape"),
    "other target": (returning("target", lambda x: x[..., :2]), "target: expected shape"),
    "importance ignored": (IgnoresImportance, "importance: expected 1 for all features"),
}  # fmt: skip


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind, message", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("function", [lambda *pair: train(*pair, steps=2), sampled_loss])
def test_models_that_break_the_contract_are_refused(function, kind, message):
    model = kind(3, 4, 2, **DOUBLE)
    before = weights_of(model)
    with pytest.raises(ValueError, match=f"^{message}.*, got|^{message}"):
        function(model, inputs())
    torch.testing.assert_close(weights_of(model), before, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(4,), (), (1, 3)], ids=str)
def test_parameters_that_are_not_per_instance_are_refused(shape):
    model = ReLUOutputModel(3, 4, 2)
    model.scale = nn.Parameter(torch.ones(shape))
    for function in (lambda: train(model, inputs(), steps=2), lambda: model.select([0])):
        with pytest.raises(ValueError, match=r"^scale: expected .* \(3, \.\.\.\), got shape"):
            function()


@pytest.mark.parametrize("settings", [{"exact": True}, {"attack": 0.1}], ids=str)
def test_exact_loss_and_attack_refuse_models_that_they_do_not_know(settings):
    with pytest.raises(ValueError, match=r"^(exact|attack): expected .*, got GELUModel"):
        train(GELUModel(3, 4, 2), inputs(), steps=2, progress=False, **settings)


def test_scarce_rows_are_warned_of():
    rare = FeatureDistribution(1e-4, features=4)
    with pytest.warns(UserWarning, match="^density: 1 instances"):
        train(GELUModel(1, 4, 2), rare, steps=2, progress=False)


def test_readme_example():
    """A model of one's own in less than fifteen lines."""
    model, losses = train_best(
        GELUModel, FeatureDistribution(0.05, features=5), 2, restarts=4, steps=200, progress=False
    )
    x = FeatureDistribution(0.05, features=5).sample(2**16, torch.Generator().manual_seed(0))
    assert model.loss(x, 1.0).item() == pytest.approx(losses.item(), rel=0.1)


# Numbers that numpy makes


@pytest.mark.parametrize("integer", [int, np.int64, np.uint8, np.int16])
def test_any_integer_is_taken(integer):
    distribution = inputs()
    model = ReLUOutputModel(integer(3), integer(4), integer(2), seed=integer(1))
    assert type(model.instances) is int
    history = train(
        model,
        distribution,
        steps=integer(200),
        batch_size=integer(16),
        seed=integer(3),
        record=integer(100),
        progress=False,
    )
    assert history.steps.tolist() == [0, 100, 200]
    losses = sampled_loss(model, distribution, rows=integer(100), seed=integer(3))
    assert training.best_restart(losses, integer(3)).shape == (1,)
    plain = ReLUOutputModel(3, 4, 2, seed=1)
    train(plain, distribution, steps=200, batch_size=16, seed=3, progress=False)
    assert torch.equal(model.W, plain.W)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("chosen", ["x", None, 1.5, [0.5]], ids=repr)
def test_select_refuses_what_selects_nothing(chosen):
    with pytest.raises(ValueError, match=r"^instances: expected"):
        ToyModel(3, 4, 2).select(chosen)


@pytest.mark.parametrize("chosen", [2, [2], np.arange(3)[::-1][:1], np.uint8(2), -1], ids=repr)
def test_select_takes_any_index(chosen):
    model = ToyModel(3, 4, 2)
    assert torch.equal(model.select(chosen).W, model.W[2:])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("value", [torch.ones(2), None, 3, ["cosine"]], ids=repr)
def test_odd_schedules_are_refused(value):
    with pytest.raises(ValueError, match=r"^schedule: expected"):
        train(ReLUOutputModel(3, 4, 2), inputs(), steps=2, schedule=value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("value", [10**20, 10**400, 1e39, np.float64(1e300)], ids=lambda v: "large")
def test_large_init_scales_are_refused_or_finite(value):
    try:
        model = ReLUOutputModel(3, 4, 2, init_scale=value)
    except ValueError as error:
        assert str(error).startswith("init_scale: expected")
    else:
        assert model.W.isfinite().all()
