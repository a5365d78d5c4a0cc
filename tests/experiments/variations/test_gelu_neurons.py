"""GELU in the hidden layer: the cut-off model, a short run, its measures and the figure."""

import dataclasses

import pytest
import torch
from drawing import drawn

from experiments.variations import gelu_neurons
from experiments.variations.gelu import GELUHiddenModel
from experiments.variations.gelu_neurons import (
    QUICK,
    Curve,
    CutGELUHiddenModel,
    Result,
    Settings,
    figure,
    run,
)
from models import base_class


@pytest.fixture(scope="module")
def result():
    return run(QUICK, progress=False)


def test_cut_off_at_zero_alone():
    """Both hidden layers agree where GELU is positive, and the cut one is zero elsewhere."""
    plain = GELUHiddenModel(1, 4, 3, seed=0, init_scale=1.0)
    cut = CutGELUHiddenModel(1, 4, 3, seed=0, init_scale=1.0)
    x = torch.rand(1, 100, 4)
    h = plain.encode(x)
    assert (h < 0).any() and (h > 0).any()
    torch.testing.assert_close(cut.encode(x), torch.where(h > 0, h, 0))
    assert base_class(cut) is None


def test_run_is_reproducible_and_depends_on_the_seed(result):
    again = run(QUICK, progress=False)
    other = run(QUICK, seed=1, progress=False)
    torch.testing.assert_close(result.gelu.W, again.gelu.W, rtol=0, atol=0)
    assert not torch.equal(result.gelu.W, other.gelu.W)
    assert result.cut.loss.shape == (len(QUICK.densities), 4)


def test_measures_by_hand():
    W = torch.zeros(2, 5, 10)

    def curve(loss, earlier):
        return Curve(W, torch.tensor(loss), torch.tensor(earlier))

    result = Result(
        torch.tensor([0.5, 0.1], dtype=torch.float64),
        relu=curve([[2.0, 4.0], [1.0, 3.0]], [2.0, 2.0]),
        gelu=curve([[3.0, 1.0], [3.0, 2.0]], [1.0, 2.0]),
        cut=curve([[2.0, 2.0], [2.0, 2.0]], [2.0, 2.0]),
    )
    assert gelu_neurons.relative_loss(result, "gelu").tolist() == [0.5, 2]
    assert gelu_neurons.relative_loss(result, "cut").tolist() == [1, 2]
    assert gelu_neurons.last_gain(result, "relu").tolist() == [0, 0.5]


def test_figure(result):
    drawn(figure, result)


@pytest.mark.parametrize(
    ("field", "value"), [("densities", (0.0,)), ("restarts", 0), ("rounds", 0), ("more_lr", 0.0)]
)
def test_settings_refuse(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(QUICK, **{field: value})
    assert set(QUICK.densities) <= {*Settings().densities}
