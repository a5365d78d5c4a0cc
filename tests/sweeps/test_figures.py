"""Figures as files say what they show, to readers who do not see them."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from sweeps.figures import save_figure

SENTENCE = "A triangle with D < 1, and ‖W‖ beside it."


@pytest.fixture
def figure():
    drawing = Figure(label=SENTENCE)
    drawing.subplots().plot([0, 1], [0, 1])
    return drawing


def test_png_has_the_description(figure, tmp_path):
    save_figure(figure, tmp_path, "one")
    with Image.open(tmp_path / "one.png") as image:
        assert image.text["Description"] == SENTENCE


def test_svg_has_the_description(figure, tmp_path):
    save_figure(figure, tmp_path, "one", "svg")
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert "<dc:description>A triangle with D &lt; 1, and ‖W‖ beside it.</dc:description>" in text
