"""Check the style of all figures.

Colour-blind readers can tell the colours apart, the text is large enough, and no figure has colours
of its own.
"""

import re
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

import visualization as v

APART = 15  # CAM02-UCS distance of two colours of a figure; one that is just noticeable is about 1
SIGHTS = (
    None,
    "deuteranomaly",
    "protanomaly",
    "tritanomaly",
)  # at severity 100: without one kind of cones
PALETTE = v.POLYTOPE_COLOURS | {v.OTHERS: v.OTHER_POLYTOPE, "ink": v.INK, "blank": v.BLANK}
each_sight = pytest.mark.parametrize("sight", SIGHTS)


def seen(colours, sight):
    """sRGB (colours, 3) as seen by Machado, Oliveira and Fernandes (2009)."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    space = {"name": "sRGB1+CVD", "cvd_type": sight, "severity": 100}
    return rgb if sight is None else cspace_convert(rgb, space, "sRGB1").clip(0, 1)


def too_close(palette, sight):
    """Pairs of names whose colours are less than APART."""
    rgb = dict(zip(palette, seen(palette.values(), sight)))
    return [
        pair
        for pair in combinations(rgb, 2)
        if deltaE(*map(rgb.get, pair), input_space="sRGB1") < APART
    ]


@each_sight
def test_any_two_colours_stay_apart(sight):
    assert not too_close(PALETTE, sight)


def test_red_and_green_of_one_lightness_would_be_found():
    lookalikes = {"red": "#b06a2c", "green": "#7f7f2c"}
    assert not too_close(lookalikes, None)
    assert too_close(lookalikes, "deuteranomaly") == [("red", "green")]


@each_sight
def test_superposition_leads_away_from_its_first_colour(sight):
    rgb = seen(v.SUPERPOSITION(np.linspace(0, 1, 11)), sight)
    away = deltaE(rgb, rgb[0], input_space="sRGB1")
    assert (np.diff(away) > 1).all()


def test_colours_of_sets_are_of_the_palette():
    assert set(v.SET_COLOURS) <= set(PALETTE.values()) and len(set(v.SET_COLOURS)) == len(
        v.SET_COLOURS
    )


def test_figures_are_white_and_their_text_legible_at_900_pixels():
    figure, ax = plt.subplots()
    ax.set(title="title", xlabel="label")
    ax.plot([0, 1], label="curve")
    text = [ax.title, ax.xaxis.label, *ax.get_xticklabels(), *ax.legend().get_texts()]
    assert min(of.get_fontsize() for of in text) == v.SMALL
    assert min(v.SMALL, v.TINY) / 72 * 900 / v.WIDTH >= 10  # pixels
    assert figure.get_facecolor() == ax.get_facecolor() == (1, 1, 1, 1)
    assert (
        matplotlib.rcParams["savefig.facecolor"] == "white"
        and not matplotlib.rcParams["savefig.transparent"]
    )
    plt.close(figure)


@pytest.mark.parametrize(
    "path", sorted(Path(v.__file__).parent.glob("experiments/*/*.py")), ids=lambda path: path.stem
)
def test_experiments_name_colours_and_sizes_of_text(path):
    assert not re.findall(
        r"#[0-9a-f]{6}\b|\bsize=\d|font_?size\W+\d", path.read_text(encoding="utf-8")
    )
