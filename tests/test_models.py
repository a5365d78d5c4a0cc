"""The toy models against values worked out by hand."""

import pytest
import torch

from models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel

MODELS = [LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel]
TIED = MODELS[:3]

each_model = pytest.mark.parametrize("model_class", MODELS)


def tiny(model_class):
    """One instance of two features in one hidden dimension, W = [1, -0.5], b = [0.1, -0.2]."""
    model = model_class(1, 2, 1, dtype=torch.float64)
    with torch.no_grad():
        if model_class is AbsoluteValueModel:
            model.W1.copy_(torch.tensor([[[1, -0.5]]]))
            model.W2.copy_(torch.tensor([[[2], [-3]]]))
        else:
            model.W.copy_(torch.tensor([[[1, -0.5]]]))
        model.b.copy_(torch.tensor([[0.1, -0.2]]))
    return model


def batch(*rows):
    return torch.tensor([rows], dtype=torch.float64)


BY_HAND = {  # hidden and output for x = [1, 1], [0, 1] and [0, 0]: W x is 0.5, -0.5, 0
    LinearModel: ([0.5, -0.5, 0], [[0.6, -0.45], [-0.4, 0.05], [0.1, -0.2]]),
    ReLUOutputModel: ([0.5, -0.5, 0], [[0.6, 0], [0, 0.05], [0.1, 0]]),
    ReLUHiddenModel: ([0.5, 0, 0], [[0.6, 0], [0.1, 0], [0.1, 0]]),
    AbsoluteValueModel: ([0.5, 0, 0], [[1.1, 0], [0.1, 0], [0.1, 0]]),
}


@each_model
def test_output_by_hand(model_class):
    hidden, output = BY_HAND[model_class]
    model, x = tiny(model_class), batch([1, 1], [0, 1], [0, 0])
    h = model.encode(x)
    torch.testing.assert_close(h, batch(*([value] for value in hidden)))
    torch.testing.assert_close(model.decode(h), batch(*output))
    torch.testing.assert_close(model(x), batch(*output))


def test_bias_acts_after_the_projection_of_each_feature():
    """Three features in two hidden dimensions, so that a transposed W could not pass."""
    model = LinearModel(1, 3, 2, dtype=torch.float64)
    with torch.no_grad():
        model.W.copy_(torch.tensor([[[1, 0, 1], [0, 1, -1]]]))
        model.b.copy_(torch.tensor([[0.1, 0.2, 0.3]]))
    torch.testing.assert_close(model.encode(batch([1, 2, 4])), batch([5, -2]))
    torch.testing.assert_close(model(batch([1, 2, 4])), batch([5.1, -1.8, 7.3]))


def test_absolute_value_by_hand():
    """Two neurons, ReLU(x) and ReLU(-x), add up to |x|."""
    model = AbsoluteValueModel(1, 1, 2, dtype=torch.float64)
    with torch.no_grad():
        model.W1.copy_(torch.tensor([[[1], [-1]]]))
        model.W2.copy_(torch.tensor([[[1, 1]]]))
    x = batch([-0.7], [0], [0.3])
    torch.testing.assert_close(model(x), batch([0.7], [0], [0.3]))
    assert model.loss(x, 1.0).item() == 0


@each_model
def test_target(model_class):
    x = batch([-0.5, 0.25])
    expected = batch([0.5, 0.25]) if model_class is AbsoluteValueModel else x
    assert torch.equal(model_class(1, 2, 1).target(x), expected)


LOSSES = {  # rows [1, 1], [0, 1] of BY_HAND, importance [2, 3]
    LinearModel: (2 * 0.4**2 + 3 * 1.45**2 + 2 * 0.4**2 + 3 * 0.95**2) / 2,
    ReLUOutputModel: (2 * 0.4**2 + 3 * 1 + 3 * 0.95**2) / 2,
    ReLUHiddenModel: (2 * 0.4**2 + 3 * 1 + 2 * 0.1**2 + 3 * 1) / 2,
    AbsoluteValueModel: (2 * 0.1**2 + 3 * 1 + 2 * 0.1**2 + 3 * 1) / 2,
}


@each_model
def test_loss_by_hand(model_class):
    loss = tiny(model_class).loss(batch([1, 1], [0, 1]), torch.tensor([[2.0, 3.0]]))
    torch.testing.assert_close(loss, torch.tensor([LOSSES[model_class]], dtype=torch.float64))


@each_model
def test_loss_sums_features_and_averages_the_batch(model_class):
    model = model_class(3, 5, 2, seed=1, init_scale=0.7, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    x = 2 * torch.rand(3, 7, 5, generator=generator, dtype=torch.float64) - 1
    importance = torch.rand(3, 5, generator=generator, dtype=torch.float64)
    output, target = model(x), model.target(x)
    for k in range(3):
        rows = [
            sum(
                importance[k, i] * (target[k, r, i] - output[k, r, i]) ** 2 for i in range(5)
            ).item()
            for r in range(7)
        ]
        assert model.loss(x, importance)[k].item() == pytest.approx(sum(rows) / 7, rel=1e-12)
    torch.testing.assert_close(model.loss(x, 0.5), model.loss(x, torch.full((3, 5), 0.5)))


@each_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(model_class, dtype):
    model = model_class(3, 5, 2, dtype=dtype)
    x = torch.zeros(3, 7, 5, dtype=dtype)
    h = model.encode(x)
    assert h.shape == (3, 7, 2) and model.decode(h).shape == model(x).shape == x.shape
    assert model.loss(x, 1.0).shape == (3,) and model.loss(x, 1.0).dtype == dtype
    assert model.b.shape == (3, 5) and all(weights.dtype == dtype for weights in model.parameters())


# Initialization


@each_model
def test_initial_weights(model_class):
    """Normal with standard deviation init_scale in each instance of any sweep, and b = 0."""
    model = model_class(40, 50, 20, seed=3, init_scale=0.3)
    W = model.W1 if model_class is AbsoluteValueModel else model.W
    assert W.shape == (40, 20, 50) and not model.b.any()
    z = W.detach().double() / 0.3
    count = z[0].numel()
    assert (z.mean(dim=(1, 2)).abs() <= 5 / count**0.5).all()
    assert ((z**2).mean(dim=(1, 2)) - 1).abs().max() <= 5 * (2 / count) ** 0.5
    assert abs((z**4).mean() - 3) <= 5 * (96 / z.numel()) ** 0.5  # E[z^4] = 3, and E[z^8] - 9 = 96
    assert z.unique().numel() > 0.99 * z.numel()  # instances differ


@each_model
def test_instances_start_the_same_in_any_sweep(model_class):
    few, many = model_class(2, 5, 3, seed=4), model_class(9, 5, 3, seed=4)
    for name, weights in few.named_parameters():
        assert torch.equal(weights, many.get_parameter(name)[:2])


@each_model
def test_seeds(model_class):
    first, again, other = (
        dict(model_class(2, 5, 3, seed=seed).named_parameters()) for seed in (0, 0, 1)
    )
    for name in first.keys() - {"b"}:
        assert torch.equal(first[name], again[name])
        assert not torch.isclose(first[name], other[name]).any()


def test_float32_starts_as_float64_rounded():
    single, double = (
        ReLUOutputModel(2, 5, 3, dtype=dtype).W for dtype in (torch.float32, torch.float64)
    )
    assert torch.equal(single, double.float())


def test_untied_weights_start_as_absolute_transposes():
    model = AbsoluteValueModel(3, 5, 4, seed=2)
    assert model.W1.shape == (3, 4, 5) and model.W2.shape == (3, 5, 4)
    assert torch.equal(model.W2, model.W1.abs().mT)
    with torch.no_grad():
        model.W1.zero_()
    assert model.W2.all()


# Instances


@each_model
def test_instances_do_not_see_each_other(model_class):
    model = model_class(3, 5, 2, seed=1, init_scale=1.0)
    x = torch.rand(3, 64, 5, generator=torch.Generator().manual_seed(0))
    model.loss(x, 1.0)[1].backward()
    for weights in model.parameters():
        assert weights.grad[1].any()
        assert not weights.grad[[0, 2]].any()


@each_model
@pytest.mark.parametrize(
    "chosen", [slice(1, 3), [2, 0], torch.tensor([False, True, True])], ids=str
)
def test_select_copies_instances(model_class, chosen):
    model = model_class(3, 5, 2, seed=1)
    x = torch.rand(3, 8, 5, generator=torch.Generator().manual_seed(0))
    output = model(x).detach()
    selected = model.select(chosen)
    assert type(selected) is model_class and selected.instances == len(output[chosen]) == 2
    torch.testing.assert_close(selected(x[chosen]), output[chosen])
    with torch.no_grad():
        for weights in selected.parameters():
            weights.add_(1)
    assert torch.equal(model(x), output) and model.instances == 3
    selected.loss(x[chosen], 1.0).sum().backward()
    assert all(weights.grad is None for weights in model.parameters())


# Refused


@pytest.mark.usefixtures("unchecked")
@each_model
@pytest.mark.parametrize("name", ["instances", "features", "hidden"])
@pytest.mark.parametrize("count", [0, -1, 2.0, None])
def test_refused_counts(model_class, name, count):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        model_class(**{"instances": 1, "features": 2, "hidden": 1, name: count})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("init_scale", [0, -0.1, float("inf"), float("nan")])
def test_refused_init_scale(init_scale):
    with pytest.raises(ValueError, match="init_scale: expected"):
        LinearModel(1, 2, 1, init_scale=init_scale)


@pytest.mark.usefixtures("unchecked")
@each_model
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 2), (1, 4, 3), (3, 4, 3), (2, 3)], ids=str)
def test_refused_inputs(model_class, shape):
    with pytest.raises(ValueError, match=r"x: expected shape \(2, batch, 3\), got"):
        model_class(2, 3, 1)(torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
@each_model
@pytest.mark.parametrize("shape", [(3,), (2, 1), (1, 3), (3, 2), (2, 1, 3)], ids=str)
def test_refused_importance(model_class, shape):
    with pytest.raises(ValueError, match=r"importance: expected a number or shape \(2, 3\), got"):
        model_class(2, 3, 1).loss(torch.zeros(2, 4, 3), torch.ones(shape))


# Given weights


@pytest.mark.parametrize("model_class", TIED)
def test_from_weights(model_class):
    W, b = (
        torch.arange(12, dtype=torch.float64).view(2, 2, 3),
        torch.ones(2, 3, dtype=torch.float64),
    )
    model = model_class.from_weights(W, b)
    assert type(model) is model_class and (model.instances, model.features, model.hidden) == (
        2,
        3,
        2,
    )
    assert torch.equal(model.W, W) and torch.equal(model.b, b) and model.W.dtype == torch.float64
    W.zero_()
    assert model.W.any() and model.W.requires_grad


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "W, b", [((2, 3), (1, 3)), ((2, 2, 3), (2, 2)), ((2, 2, 3), (3,)), ((2, 2, 3), (1, 3))], ids=str
)
def test_refused_weights(W, b):
    with pytest.raises(ValueError, match="W, b: expected"):
        LinearModel.from_weights(torch.zeros(W), torch.zeros(b))
