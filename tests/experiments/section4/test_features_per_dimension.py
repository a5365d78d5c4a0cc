"""Features per dimension: what is predicted for few and many, and the colours of the maps."""

import pytest
import torch
from drawing import drawn
from matplotlib.colors import to_rgb
from test_periodic_table import numbers
from test_predicted_polytopes import ideal, made_up
from test_uniform_superposition import product, sweep

from experiments.section4 import features_per_dimension, predicted_polytopes
from visualization import POLYTOPE_COLOURS


def test_settings_differ_in_the_features_alone():
    ratios = [settings.features / settings.hidden for settings in features_per_dimension.SETTINGS]
    assert ratios == sorted(ratios)
    assert {settings.inverse_density for settings in features_per_dimension.SETTINGS} == {
        features_per_dimension.INVERSE_DENSITY
    }


def test_shares_of_the_best_mixture():
    few, enough = features_per_dimension.shares(
        made_up(numbers(1, 2, 4), {"digon": [1.0, 1.1, 1.5], "triangle": [1.1, 1.2, 1.3]}),
        [4 / 3, 2.0],
    )
    assert enough["digon"].tolist() == [0, 0, 1] and enough["triangle"].tolist() == [1, 1, 0]
    assert few["dedicated dimension"][:2].tolist() == pytest.approx(
        [1 / 4] * 2
    )  # beside a triangle


def test_map_shows_the_polytope_of_most_features():
    few = sweep(
        [W[:, :12] for W in (product(*["dedicated dimension"] * 6), product(*["digon"] * 6))]
    )
    many = sweep([product("square antiprism", "digon"), 0 * product("digon")])
    figure = drawn(features_per_dimension.figure, ideal(), [few, many])
    of_prediction, trained = (ax.collections[0].get_array() for ax in figure.axes)
    expected = [["dedicated dimension", "digon"], ["square antiprism", None]]
    expected = [[to_rgb(POLYTOPE_COLOURS.get(name, "#f3f1ec")) for name in row] for row in expected]
    torch.testing.assert_close(torch.tensor(trained.tolist()), torch.tensor(expected))
    # with many features per dimension whatever saves most by prediction
    windows = predicted_polytopes.windows(ideal())
    at = (1 / ideal().table.inverse_density)[[0, 3, 6, 11]].tolist()
    most = [POLYTOPE_COLOURS[predicted_polytopes.best_at(windows, x)] for x in at]
    torch.testing.assert_close(
        torch.tensor(of_prediction[-1].tolist())[[0, 3, 6, 11]],
        torch.tensor([to_rgb(colour) for colour in most]),
    )
    assert figure.axes[1].get_title() == "trained, $m=6$"
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"dedicated dimension", "square antiprism", "no represented features"} <= set(named)
    assert "irregular" not in named
