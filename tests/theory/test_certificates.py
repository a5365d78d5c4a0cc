"""Certificates, computed again by code of another kind, and which models are certified.

The independent code sums over all sets of active features. With T_2(z) = max(z, 0)^2 / 2, the mean
over the values of k active features is a sum over the vertices v of the k-cube,

    E[T_2(b + a.x)] = sum_v (-1)^(k - |v|) max(b + a.v, 0)^(k + 2) / ((k + 2)! prod(a)),

and its derivative in a_i is E[x_i max(z, 0)]. Autograd gives the gradient and the whole Hessian.
"""

import itertools
import math

import pytest
import torch

import zoo
from features import FeatureDistribution
from models import LinearModel, ReLUHiddenModel, ReLUOutputModel
from storage import read
from theory import certificates
from training import settle


def mean_over_values(b, a):
    """E[T_2(b + a.x)] of each output (outputs,), a (outputs, active), where all are active."""
    count = a.shape[1]
    vertices = torch.tensor([*itertools.product((0.0, 1.0), repeat=count)], dtype=a.dtype)
    signs = (-1) ** (count - vertices.sum(dim=1))
    powers = (b[:, None] + a @ vertices.mT).clamp(min=0) ** (count + 2)
    return powers @ signs / math.factorial(count + 2) / a.prod(dim=1)


def mean_over_inputs(b, a, p):
    """E[T_2(b + a.x)] of each output, for independent features of density p."""
    total = 0
    for active in itertools.product((False, True), repeat=len(a)):
        count = sum(active)
        probability = p**count * (1 - p) ** (len(a) - count)
        total = total + probability * mean_over_values(b, a[:, torch.tensor(active)])
    return total


def independent_loss(vector, hidden, p, importance):
    """The expected loss of one model whose weights and biases form one vector."""
    features = len(importance)
    W = vector[:-features].view(hidden, features)
    gram = W.mT @ W
    square = mean_over_inputs(vector[-features:], gram, p)
    (slopes,) = torch.autograd.grad(square.sum(), gram, create_graph=True)
    return importance @ (p / 3 + 2 * square - 2 * slopes.diagonal())


@pytest.mark.parametrize("name", ["digon", "triangle", "tetrahedron", "pentagon"])
def test_settled_models_are_certified_by_independent_code(name):
    stored = read(zoo.FOLDER / name)
    told = stored.config["certificate"]
    hidden = stored.model.hidden
    W = stored.model.W.detach()[0]
    vector = torch.cat((W.flatten(), stored.model.b.detach()[0])).requires_grad_()
    given = hidden, stored.distribution.density[0, 0], stored.distribution.importance[0]
    loss = independent_loss(vector, *given)
    (gradient,) = torch.autograd.grad(loss, vector)
    matrix = torch.autograd.functional.hessian(lambda v: independent_loss(v, *given), vector)
    values = torch.linalg.eigvalsh(matrix)
    rotations = hidden * (hidden - 1) // 2
    others = values[values.abs().argsort()[rotations:]]
    assert told["loss"] == pytest.approx(loss.item(), rel=1e-9)
    assert gradient.norm() < 1e-7 and told["gradient_norm"] < 1e-7
    assert told["lowest_eigenvalue"] == pytest.approx(others.min().item(), rel=1e-3)


def test_a_saddle_point_curves_down():
    """All weights zero: superposition leads down from there."""
    inputs = FeatureDistribution(0.05, features=5)
    b = torch.full((1, 5), 0.025, dtype=torch.float64)
    assert (
        certificates.lowest_curvature(torch.zeros(1, 2, 5, dtype=torch.float64), b, inputs) < -1e-3
    )


def test_turning_does_not_count_as_flat():
    """A plane has one rotation. With it, the lowest eigenvalue at the pentagon would be 0."""
    stored = read(zoo.FOLDER / "pentagon")
    W, b = stored.model.W.detach(), stored.model.b.detach()
    assert certificates.lowest_curvature(W, b, stored.distribution) > 1e-3
    assert abs(torch.linalg.eigvalsh(certificates.hessian(W, b, stored.distribution))[0, 0]) < 1e-4


def test_many_features_have_a_lowest_eigenvalue_too(monkeypatch):
    """Lanczos' method finds the eigenvalue of the whole Hessian."""
    stored = read(zoo.FOLDER / "pentagon")
    monkeypatch.setattr(certificates, "DENSE_FEATURES", 4)
    measured = certificates.certificate(stored.model, stored.distribution)
    told = stored.config["certificate"]
    assert measured["lowest_eigenvalue"] == pytest.approx(told["lowest_eigenvalue"], rel=1e-3)


def test_a_linear_model_is_certified():
    """Two of three equal features are lost from the variance: p/3 - p^2/4 remains of each."""
    inputs = FeatureDistribution(0.5, importance=[[1.0, 0.8, 0.6]])
    model = LinearModel(1, 3, 1, dtype=torch.float64)
    settle(model, inputs, progress=False)
    measured = certificates.certificate(model, inputs)
    assert measured["loss"] == pytest.approx(1.4 * (0.5 / 3 - 0.25 / 4), rel=1e-9)
    assert measured["gradient_norm"] < 1e-6 and measured["lowest_eigenvalue"] > 1e-3


def test_a_model_that_is_not_settled_has_no_eigenvalue():
    stored = read(zoo.FOLDER / "pentagon")
    stored.model.W.data.mul_(1.01)
    measured = certificates.certificate(stored.model, stored.distribution)
    assert measured["gradient_norm"] > certificates.STATIONARY
    assert measured["lowest_eigenvalue"] is None


def test_a_loss_that_the_series_does_not_reach_is_sampled():
    """Signed features are no case for the series; ignoring them costs density / 3 each."""
    inputs = FeatureDistribution(0.3, features=20, signed=True)
    model = ReLUOutputModel(1, 20, 2)
    model.W.data.zero_()
    measured = certificates.certificate(model, inputs)
    assert measured["standard_error"] > 0
    assert abs(measured["loss"] - 2) < 5 * measured["standard_error"]
    assert measured["gradient_norm"] is None and measured["lowest_eigenvalue"] is None


class Doubled(ReLUOutputModel):
    """A model that computes something else."""

    def decode(self, h):
        return 2 * super().decode(h)


def test_a_subclass_gets_no_certificate_of_its_base():
    inputs = FeatureDistribution(0.1, features=4)
    with pytest.raises(ValueError, match="model: expected one of the four toy models, got Doubled"):
        certificates.certificate(Doubled(1, 4, 2), inputs)


def test_sampled_losses_have_a_standard_error():
    """A model without weights and biases has the loss of ignoring all, features * density / 3."""
    model = ReLUHiddenModel(1, 4, 2)
    model.W.data.zero_()
    inputs = FeatureDistribution(0.3, features=4)
    measured = certificates.certificate(model, inputs)
    assert 0 < measured["standard_error"] < 0.01
    assert abs(measured["loss"] - 0.4) < 5 * measured["standard_error"]
    assert measured["gradient_norm"] is None and measured["lowest_eigenvalue"] is None
    assert measured["represented"] == 0 and measured["factors"] == {}
