"""Plateaus: a run that settles on one, and measures of plateaus made up by hand."""

import torch
from made_up_courses import settled

from experiments.section5 import plateaus
from experiments.section5.lone_feature import settled_plateau
from experiments.section5.plateaus import QUICK, run
from features import FeatureDistribution
from losses import expected_loss


def test_run_settles_at_the_constructed_minimum():
    """Eight features in two dimensions: all plateaus are one minimum, up to symmetry."""
    result = run(QUICK, progress=False)
    assert result.runs == 2 and len(result.loss) >= 1
    assert plateaus.still_lone(result).all()
    assert (result.loss < result.start_loss).all() and (result.gradient < 1e-6).all()
    assert (plateaus.flat_directions(result) == 1).all() and (result.rotations == 1).all()
    assert (plateaus.lowest_curvature(result) > 0.01).all()
    distribution = FeatureDistribution(1 / 3, features=8)
    model = settled_plateau(8, 2, 1 / 3, progress=False)
    constructed = expected_loss(model.W.detach(), model.b.detach(), distribution)
    torch.testing.assert_close(result.loss, constructed.expand(len(result.loss)), rtol=1e-9, atol=0)


def test_shards_join_to_the_whole():
    parts = [run(part, seed=1, progress=False) for part in plateaus.shards(QUICK)]
    whole = run(QUICK, seed=1, progress=False)
    for joined, together in zip(plateaus.joined(parts), whole):
        torch.testing.assert_close(joined, together, rtol=1e-6, atol=1e-9)


def test_measures():
    result = settled()
    assert plateaus.still_lone(result).all()
    assert plateaus.flat_directions(result).tolist() == [45] * 4
    assert plateaus.lowest_curvature(result).tolist() == [0.006] * 4
    result.curvatures[1, 50] = -0.5
    assert plateaus.lowest_curvature(result).tolist() == [0.006, -0.5, 0.006, 0.006]
    result.W[2, :, 18:] = 0
    assert plateaus.still_lone(result).tolist() == [True, True, False, True]
