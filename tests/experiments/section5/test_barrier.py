"""The way from a plateau to digons, and the saddle point at its top."""

import pytest
import torch
from made_up_courses import way

from experiments.section5 import barrier
from experiments.section5.barrier import QUICK, run
from experiments.section5.lone_feature import is_lone, settled_plateau
from features import FeatureDistribution
from geometry import dimensionality
from losses.gradient import exact_gradient


@pytest.fixture(scope="module")
def small():
    return run(QUICK, progress=False)


def test_the_top_is_a_saddle_point_between_plateau_and_digons(small):
    assert small.weight[0] > 0 > small.weight[-1]
    assert small.top_loss > small.below_loss[0] > small.below_loss[1]
    assert small.top_loss >= small.loss.max()
    assert small.top_gradient < 1e-6
    assert barrier.directions_down(small) == 1
    assert small.below_is_lone.tolist() == [True, False]
    assert small.below_is_digons.tolist() == [False, True]
    ends = torch.stack((small.loss[0], small.loss[-1]))
    torch.testing.assert_close(ends, small.below_loss, rtol=1e-6, atol=0)


def test_directions_down():
    assert barrier.directions_down(way()) == 1
    flat = way().top_curvatures.clamp(min=-1e-6)
    assert barrier.directions_down(way()._replace(top_curvatures=flat)) == 0


def test_the_constructed_plateau():
    model = settled_plateau(8, 2, 1 / 3, progress=False)
    W = model.W.detach()
    assert is_lone(dimensionality(W)).item()
    distribution = FeatureDistribution(1 / 3, features=8)
    assert exact_gradient(W, model.b.detach(), distribution).norm < 1e-6
    assert W[0, -1, 3:].tolist() == pytest.approx([W[0, -1, 3].item()] * 5, rel=1e-6)
    with pytest.raises(ValueError, match="expected a plateau of a lone feature, got none at 8, 2"):
        settled_plateau(8, 2, 1.0, progress=False)
