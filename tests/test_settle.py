"""Settled models and their certificates, computed again by code of another kind."""

import itertools

import numpy as np
import pytest
import torch

import losses.gradient
import losses.settling
from features import FeatureDistribution
from losses import expected_loss
from losses.gradient import joined
from losses.settling import Descent
from models import LinearModel, ReLUHiddenModel, ReLUOutputModel
from theory.stationary import curvatures, lowest_curvatures
from training import settle, train


def settled(kind, features, hidden, density, instances=1, seed=0, steps=500, **inputs):
    distribution = FeatureDistribution(density, features=features, instances=instances, **inputs)
    model = kind(instances, features, hidden, seed=seed, dtype=torch.float64)
    train(model, distribution, steps=steps, seed=seed, progress=False)
    start = loss_by_autograd(model, distribution) if features < 4 else None
    certificate = settle(model, distribution, progress=False)
    return model, distribution, start, certificate


def loss_by_autograd(model, distribution):
    """The loss, differentiable, and the norm of its gradient by an independent sum (instances,)."""
    W = model.W.detach().requires_grad_()
    b = model.b.detach().requires_grad_()
    loss = quadrature_loss(W, b, distribution.density, isinstance(model, ReLUOutputModel))
    gradients = torch.autograd.grad(loss.sum(), (W, b))
    norm = sum(g.flatten(1).square().sum(dim=1) for g in gradients).sqrt()
    return loss.detach(), norm


def quadrature_loss(W, b, density, relu, nodes=60):
    """The loss of few independent features: a sum over which are active and over a grid."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    places = torch.from_numpy(places + 1) / 2
    weights = torch.from_numpy(weights) / 2
    total = 0
    features = W.shape[2]
    for active in itertools.product((False, True), repeat=features):
        chosen = torch.tensor(active)
        grids = [places if on else torch.zeros(1, dtype=W.dtype) for on in active]
        shares = [weights if on else torch.ones(1, dtype=W.dtype) for on in active]
        x = torch.cartesian_prod(*grids)
        share = torch.cartesian_prod(*shares).prod(dim=1)
        z = (x @ W.mT) @ W + b[:, None]
        error = (x - (z.relu() if relu else z)).square().sum(dim=2)
        probability = torch.where(chosen, density, 1 - density).prod(dim=1)
        total = total + probability * (error @ share)
    return total


def test_a_linear_model_settles_to_the_principal_components():
    """All features alike: the loss is n Var(x) less the variance that m dimensions keep."""
    p = 0.5
    model, distribution, start, certificate = settled(LinearModel, 3, 2, p, instances=2)
    assert certificate.losses.tolist() == pytest.approx([p / 3 - p**2 / 4] * 2, rel=1e-9)
    assert (certificate.gradients < 1e-6).all()
    loss, norm = loss_by_autograd(model, distribution)
    torch.testing.assert_close(loss, certificate.losses, rtol=1e-9, atol=0)
    torch.testing.assert_close(norm / start[1], certificate.gradients, rtol=0, atol=1e-9)


def test_certificate_of_few_features():
    """A sum over a grid of values resolves kinks to about 1e-4, and agrees so far."""
    model, distribution, start, certificate = settled(ReLUOutputModel, 3, 2, 0.3, instances=3)
    assert (certificate.gradients < 1e-6).all() and (certificate.steps > 0).all()
    loss, norm = loss_by_autograd(model, distribution)
    torch.testing.assert_close(loss, certificate.losses, rtol=1e-4, atol=0)
    assert (norm < 1e-3).all() and (loss <= start[0] + 1e-4).all()


def test_certificate_of_many_features(monkeypatch):
    """Models that are settled by the method for many features are so by the closed form for few."""
    monkeypatch.setattr(losses.gradient, "MAX_FEATURES", 2)
    model, distribution, _, certificate = settled(ReLUOutputModel, 5, 2, 0.6, steps=100)
    monkeypatch.undo()
    loss = expected_loss(model.W, model.b, distribution)
    gradient = torch.autograd.grad(loss.sum(), (model.W, model.b))
    first = ReLUOutputModel(1, 5, 2, seed=0, dtype=torch.float64)
    train(first, distribution, steps=100, progress=False)
    start = torch.autograd.grad(
        expected_loss(first.W, first.b, distribution).sum(), (first.W, first.b)
    )
    norm = joined(*gradient).norm() / joined(*start).norm()
    assert certificate.losses.item() == pytest.approx(loss.item(), rel=1e-9)
    assert certificate.gradients.item() < 1e-6 and norm < 2e-6


def test_lowest_curvatures_are_those_of_the_dense_hessian():
    """The rotations' zero modes are left out of what Lanczos' method finds, and nothing else is."""
    for features, hidden in ((5, 2), (5, 3)):
        model, distribution, _, _ = settled(ReLUOutputModel, features, hidden, 0.5)
        W = model.W.detach()
        b = model.b.detach()
        dense = curvatures(W, b, distribution)[0]
        zero = hidden * (hidden - 1) // 2
        turns = dense.abs().argsort()[:zero]
        assert dense[turns].abs().max() < 1e-5
        others = torch.tensor([v for k, v in enumerate(dense.tolist()) if k not in turns])
        found = lowest_curvatures(W, b, distribution, count=4)[0]
        torch.testing.assert_close(found, others[:4].double(), rtol=0, atol=1e-3)


def test_lowest_curvatures_of_many_features_at_the_origin():
    """Where nothing is learned the loss falls by 2 Var(x) w^2 for a weight w; Var(x) = 1/12."""
    p = 1.0
    W = torch.zeros(1, 2, 14, dtype=torch.float64)
    b = torch.full((1, 14), p / 2, dtype=torch.float64)
    found = lowest_curvatures(W, b, FeatureDistribution(p, features=14), count=3)
    assert found[0].tolist() == pytest.approx([-4 / 12] * 3, rel=1e-3)


def test_an_instance_that_is_settled_stays():
    model, distribution, _, first = settled(ReLUOutputModel, 5, 2, 0.5)
    W = model.W.detach().clone()
    again = settle(model, distribution, tolerance=0.5, progress=False)
    assert again.losses.item() == pytest.approx(first.losses.item(), rel=1e-9)
    assert (model.W - W).abs().max() < 1e-4


def test_a_gradient_of_zero_is_settled():
    """Weights of zero and biases at the mean are a saddle point, and a descent stays there."""
    distribution = FeatureDistribution(0.5, features=4)
    W = torch.zeros(1, 2, 4, dtype=torch.float64)
    b = torch.full((1, 4), 0.25, dtype=torch.float64)
    certificate = settle(ReLUOutputModel.from_weights(W, b), distribution, progress=False)
    assert certificate.gradients.item() == 0 and certificate.steps.item() == 0


def test_instances_settle_as_if_alone():
    distribution = FeatureDistribution([[0.3], [0.9]], features=4)
    model = ReLUOutputModel(2, 4, 2, seed=1, dtype=torch.float64)
    alone = model.select([1])
    together = settle(model, distribution, progress=False)
    single = settle(alone, distribution.select([1]), progress=False)
    assert torch.equal(model.W[1], alone.W[0])
    assert together.losses[1] == single.losses[0]


def test_float32_weights_settle_to_their_rounding():
    distribution = FeatureDistribution(0.5, features=4)
    model = ReLUOutputModel(1, 4, 2, seed=1)
    certificate = settle(model, distribution, progress=False)
    assert model.W.dtype == torch.float32
    expected = expected_loss(model.W.double(), model.b.double(), distribution)
    torch.testing.assert_close(certificate.losses, expected.detach(), rtol=1e-12, atol=0)
    assert certificate.gradients.item() < 1e-4


def test_unmet_tolerance_is_told(monkeypatch):
    monkeypatch.setattr(losses.settling, "STEPS", 2)
    distribution = FeatureDistribution(0.5, features=4)
    model = ReLUOutputModel(1, 4, 2, seed=1, dtype=torch.float64)
    with pytest.warns(UserWarning, match="1 of 1 instances did not settle to 1e-06: 0"):
        settle(model, distribution, progress=False)


def test_a_descent_stops_at_its_most_steps():
    distribution = FeatureDistribution(0.5, features=5)
    model = ReLUOutputModel(1, 5, 2, seed=1, dtype=torch.float64)
    descent = Descent(model.W.detach(), model.b.detach(), distribution, "relu", 1e-6)
    descent.run(3, lambda descent: None)
    assert descent.steps == 3 and not descent.settled


@pytest.mark.usefixtures("unchecked")
def test_what_is_refused():
    distribution = FeatureDistribution(0.5, features=4)

    class OtherModel(ReLUOutputModel):
        def decode(self, h):
            return super().decode(h).square()

    for kind in (ReLUHiddenModel, OtherModel):
        with pytest.raises(ValueError, match="model: expected"):
            settle(kind(1, 4, 2), distribution)
    with pytest.raises(ValueError, match="distribution: expected"):
        settle(ReLUOutputModel(1, 5, 2), distribution)
    with pytest.raises(ValueError, match="tolerance: expected"):
        settle(ReLUOutputModel(1, 4, 2), distribution, tolerance=0)
    broken = ReLUOutputModel(1, 4, 2)
    broken.W.data[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="model: expected finite"):
        settle(broken, distribution)
    with pytest.raises(ValueError, match="count: expected"):
        lowest_curvatures(broken.W.detach(), broken.b.detach(), distribution, count=0)
