"""The oracle of the certificates, held against the exact loss of few features."""

import pytest
import torch
from laplace import certificate

from features import FeatureDistribution
from losses import expected_loss


@pytest.mark.parametrize("density", [0.95, 0.48, 0.4])
def test_loss_and_gradient_are_those_of_few_features(density):
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(1, 3, 7, generator=generator, dtype=torch.float64) / 2
    W[..., 6] /= 100  # so that both ways of averaging are needed
    b = torch.randn(1, 7, generator=generator, dtype=torch.float64) / 5
    leaves = W.requires_grad_(), b.requires_grad_()
    loss = expected_loss(*leaves, FeatureDistribution(density, features=7))
    slopes = torch.autograd.grad(loss.sum(), leaves)
    norm = torch.cat([slope.flatten() for slope in slopes]).norm()
    found = certificate(W[0].detach(), b[0].detach(), density)
    assert found.loss == pytest.approx(loss.item(), rel=1e-5)
    assert found.gradient == pytest.approx(norm.item(), rel=1e-4)
