"""The introduction: what a short run returns, and what its figure shows."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn
from matplotlib.text import Annotation

from experiments.section2.introduction import QUICK, arrows_figure, figure, run


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


def test_arrows_end_at_the_weights_of_the_stored_features():
    W = torch.tensor([[[1.0, 0, -1, 0.1], [0, 1, 0, 0.1]]])
    (ax,) = drawn(arrows_figure, W, ["a title"]).axes
    ends = [list(arrow.xy) for arrow in ax.texts if isinstance(arrow, Annotation)]
    assert ends == [[1, 0], [0, 1], [-1, 0]]
    texts = [text.get_text() for text in ax.texts]
    assert [text for text in texts if text.isdigit()] == ["0", "1", "2"]
    assert "3 of 4 features stored" in texts and ax.get_title() == "a title"


def test_figure_has_a_panel_for_each_density(quick):
    shown = drawn(figure, quick)
    assert [ax.get_title() for ax in shown.axes] == ["density 1", "density 0.2", "density 0.1"]
