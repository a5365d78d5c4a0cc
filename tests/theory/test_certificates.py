"""Certificates: curvatures across rotations, and which models are certified."""

import pytest
import torch

import zoo
from features import FeatureDistribution
from models import ReLUHiddenModel, ReLUOutputModel
from storage import read
from theory import certificates


def test_a_saddle_point_curves_down():
    """All weights zero: superposition leads down from there."""
    inputs = FeatureDistribution(0.05, features=5)
    b = torch.full((1, 5), 0.025, dtype=torch.float64)
    assert (
        certificates.lowest_curvature(torch.zeros(1, 2, 5, dtype=torch.float64), b, inputs) < -1e-3
    )


def test_turning_does_not_count_as_flat():
    """A plane has one rotation: with it, the lowest eigenvalue at the pentagon would be 0."""
    stored = read(zoo.FOLDER / "pentagon")
    W, b = stored.model.W.detach(), stored.model.b.detach()
    assert certificates.lowest_curvature(W, b, stored.distribution) > 1e-3
    assert abs(torch.linalg.eigvalsh(certificates.hessian(W, b, stored.distribution))[0, 0]) < 1e-4


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
