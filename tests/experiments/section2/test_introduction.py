"""The introduction: what a short run returns, and what its figure shows."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

from experiments.section2.introduction import QUICK, Result, figure, run


@pytest.fixture(scope="module")
def quick():
    return run(QUICK, progress=False)


def test_run(quick):
    assert quick.W.shape == (3, 2, 5) and quick.b.shape == (3, 5)
    assert quick.importance.tolist() == pytest.approx([0.9**k for k in range(5)])
    assert quick.density.tolist() == pytest.approx([1, 0.2, 0.1])


def test_run_is_a_function_of_the_seed():
    first, again, other = (
        run(replace(QUICK, steps=5), seed=seed, progress=False) for seed in (3, 3, 4)
    )
    assert torch.equal(first.W, again.W) and torch.equal(first.b, again.b)
    assert not torch.equal(first.W, other.W)


def test_arrows_end_at_the_weights(quick):
    W = torch.randn(3, 2, 5, generator=torch.manual_seed(0))
    result = Result(torch.tensor([1.0, 0.3, 0.1]), torch.linspace(1, 0.3, 5), W, torch.zeros(3, 5))
    shown = drawn(figure, result)
    for ax, weights in zip(shown.axes, W):
        assert [list(arrow.xy) for arrow in ax.texts] == weights.T.tolist()
    assert "density 0.3" in shown.axes[1].get_title() and "S=0.7" in shown.axes[1].get_title()
    drawn(figure, quick)
