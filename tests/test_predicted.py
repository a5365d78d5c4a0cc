"""Predictions made up and computed: what they say at a density, and what the figures show of them."""

import matplotlib
import pytest
import torch
from drawing import drawn
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from test_started import ideal as ideal_starts
from test_uniform import SWEEP, product, sweep

from experiments import predicted
from experiments.predicted import Result, Settings, run
from experiments.uniform import shares
from packing import polytope_optimum
from polytopes import PAPER_POLYTOPES, POLYTOPES
from visualization import INK, POLYTOPE_COLOURS

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def made_up(inverse_density, benefits):
    """Benefits (densities,) by polytope, in the order of POLYTOPES, at scale 1."""
    indices = torch.tensor([list(POLYTOPES).index(name) for name in benefits])
    benefit = torch.stack([torch.as_tensor(values, dtype=torch.float64) for values in benefits.values()])
    return Result(inverse_density, indices, benefit, *[torch.ones_like(benefit)] * 3)


def ideal():
    """Each of the paper's polytopes is best where the ideal sweep has it, and hardly worse elsewhere."""
    best = {"dedicated dimension": 1, **dict(zip(PAPER_POLYTOPES, (3, 4, 6.5, 9.5, 11)))}
    points = len(SWEEP)
    inverse_density = torch.logspace(0, 1.3, points, dtype=torch.float64)
    away = {name: (torch.arange(points) - best[name]).abs() for name in POLYTOPES if name in best}
    return made_up(inverse_density, {name: 1.5 - 0.0005 * distance for name, distance in away.items()})


@pytest.fixture(scope="module")
def quick():
    return run(predicted.QUICK, progress=False)


def test_run(quick):
    assert quick.inverse_density.tolist() == list(predicted.QUICK.inverse_density)
    assert quick.polytope.tolist() == sorted(quick.polytope.tolist())
    for values in quick[2:]:
        assert values.shape == (6, 12) and values.isfinite().all()
    optima = predicted.optima(quick)
    assert sorted(optima) == sorted(predicted.QUICK.polytopes)
    for expected, values in zip(polytope_optimum("pentagon", 1 / quick.inverse_density), optima["pentagon"]):
        assert torch.equal(values, expected)


def test_nothing_is_by_chance(quick):
    assert predicted.SEEDED is False
    for one, other in zip(quick, run(predicted.QUICK, seed=7, progress=False)):
        assert torch.equal(one, other)


def test_polytopes_one_at_a_time_are_all_polytopes(quick):
    parts = predicted.shards(predicted.QUICK)
    assert [len(part.polytopes) for part in parts] == [1] * 6
    for one, other in zip(quick, predicted.joined([run(part, progress=False) for part in parts])):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("polytopes", [("digon", "dodecahedron"), (), ("square",)])
def test_unknown_polytopes_are_refused(polytopes):
    with pytest.raises(ValueError, match="polytopes: expected names of dedicated dimension, digon, "):
        Settings(polytopes=polytopes)


def test_what_is_best_where():
    """Triangles give way to digons where their benefits cross, a third of the way from 2 to 4 in the logarithm."""
    result = made_up(torch.tensor([1.0, 2, 4]), {
        "dedicated dimension": [1.0, 1, 1], "digon": [1.0, 1.1, 1.5], "triangle": [1.1, 1.2, 1.3]
    })  # fmt: skip
    assert [name for name, _, _ in predicted.windows(result)] == ["triangle", "digon"]
    assert [predicted.best_at(result, at) for at in (0.9, 1, 2.5, 2.6, 4, 4.1)] == [
        None, "triangle", "triangle", "digon", "digon", None
    ]  # fmt: skip
    assert predicted.shortfall(result, "triangle", 8**0.5) == pytest.approx(1 - 1.25 / 1.3)
    assert predicted.shortfall(result, "digon", 8**0.5) == 0
    inverse_density, per_feature = predicted.dimensions_per_feature(result)
    assert torch.equal(inverse_density, result.inverse_density)
    assert per_feature.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2])
    few, enough = predicted.shares(result, [4 / 3, 2.0])
    assert enough["digon"].tolist() == [0, 0, 1] and enough["triangle"].tolist() == [1, 1, 0]
    assert few["dedicated dimension"].tolist() == pytest.approx([1 / 4] * 3)  # beside a triangle


def test_figure_shows_polytopes_and_trained_models(quick):
    trained, started = sweep(SWEEP), ideal_starts()
    figure = drawn(predicted.figure, quick, trained, started)
    dense, sparse = figure.axes
    for ax, low, high in ((dense, 1, 1.6), (sparse, 1.6, 20)):
        lines = {line.get_label(): line for line in ax.lines}
        assert len(lines) == 6 + 1 + 5
        near = (quick.inverse_density >= low / 1.05) & (quick.inverse_density <= high * 1.05)
        digons = predicted.optima(quick)["digon"].benefit[near]
        assert lines["digon"].get_ydata().tolist() == digons.tolist()
        for label, result in (("trained from random weights", trained), ("trained from: digon", started)):
            near = (result.inverse_density >= low) & (result.inverse_density <= high)
            assert len(lines[label].get_xdata()) == near.sum()
        assert lines["trained from: digon"].get_color() == POLYTOPE_COLOURS["digon"]
        assert lines["trained from random weights"].get_color() == INK


def test_map_shows_the_polytope_of_most_features():
    few = sweep([W[:, :12] for W in (product(*["dedicated dimension"] * 6), product(*["digon"] * 6))])
    many = sweep([product("square antiprism", "digon"), 0 * product("digon")])
    figure = drawn(predicted.map_figure, ideal(), [few, many], [shares(few), shares(many)])
    of_prediction, trained = (ax.collections[0].get_array() for ax in figure.axes)
    expected = [["dedicated dimension", "digon"], ["square antiprism", None]]
    expected = [[to_rgb(POLYTOPE_COLOURS.get(name, "#f3f1ec")) for name in row] for row in expected]
    torch.testing.assert_close(torch.tensor(trained.tolist()), torch.tensor(expected))
    # with many features per dimension whatever saves most by prediction
    most = [POLYTOPE_COLOURS[predicted.best_at(ideal(), at)] for at in ideal().inverse_density[[0, 3, 6, 11]].tolist()]
    torch.testing.assert_close(
        torch.tensor(of_prediction[-1].tolist())[[0, 3, 6, 11]], torch.tensor([to_rgb(colour) for colour in most])
    )
    assert figure.axes[1].get_title() == "trained, $m=6$"
