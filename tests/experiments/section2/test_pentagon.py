"""Why five features form a pentagon."""

import pytest
import torch
from drawing import drawn

from experiments.section2 import pentagon

RESULT = pentagon.run(pentagon.QUICK)


def test_losses_of_features_alone_and_of_pairs_follow_the_formulas():
    """A feature left out costs I (s/3 - s^2/4), and a pair (I + J) s^2/6."""
    importance = 0.9 ** torch.arange(5, dtype=torch.float64)
    s = RESULT.density
    ignored = s / 3 - s.square() / 4
    alone, pairs, _ = RESULT.loss
    torch.testing.assert_close(alone, (importance[2:].sum() / importance.sum()).expand(3))
    expected = importance[:4].sum() * s.square() / 6 + importance[4] * ignored
    torch.testing.assert_close(pairs, expected / (importance.sum() * ignored))


def test_the_best_arrangement_changes_twice():
    result = pentagon.run(pentagon.Settings())
    assert result.loss.argmin(dim=0).unique_consecutive().tolist() == [2, 1, 0]
    sparse, dense = pentagon.changes(result).tolist()
    # Two pairs are worth more than two features alone from where I (s/3 - s^2/4) = (I + J) s^2/6.
    left_out = (0.81 + 0.729) / 3
    stored = (1 + 0.9 + 0.81 + 0.729) / 6 + (0.81 + 0.729) / 4
    assert dense == pytest.approx(left_out / stored, rel=0.04)
    assert 0.05 < sparse < 0.2


def test_figures():
    (ax,) = drawn(pentagon.figure, RESULT).axes
    assert [line.get_label() for line in ax.lines] == list(pentagon.ARRANGEMENTS)


def test_response_shows_the_three_steps():
    """An antipodal pair, of which one feature is there: the ReLU removes its image at the other."""
    W = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    b = torch.tensor([-0.25, -0.25])
    shown = drawn(pentagon.response_figure, W, b, {"one": torch.tensor([1.0, 0])})
    heights = [[bar.get_height() for bar in ax.patches] for ax in shown.axes]
    assert heights == [[1, -1], [0.75, -1.25], [0.75, 0]]
