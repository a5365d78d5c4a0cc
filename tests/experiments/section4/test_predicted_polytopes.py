"""Predictions, made up and computed: what they say and what the figures show."""

import pytest
import torch
from drawing import drawn
from test_periodic_table import made_up as table_of
from test_periodic_table import numbers
from test_periodic_table import polytopes as table_of_polytopes
from test_started_as_polytopes import ideal as ideal_starts
from test_uniform_superposition import SWEEP, sweep

from experiments.section4 import periodic_table, predicted_polytopes
from experiments.section4.predicted_polytopes import Result, run
from theory.packing import polytope_optimum
from theory.polytopes import PAPER_POLYTOPES, POLYTOPES
from visualization import POLYTOPE_COLOURS


def made_up(inverse_density, benefits):
    """A result from {polytope: benefit (densities,)}, with 0 where none is given."""
    none = torch.zeros_like(inverse_density)
    of_paper = [
        torch.as_tensor(benefits.get(name, none), dtype=torch.float64) for name in PAPER_POLYTOPES
    ]
    in_order = sorted(benefits, key=lambda name: POLYTOPES[name].vertices.shape)
    table = table_of_polytopes(inverse_density, {name: benefits[name] for name in in_order})
    return Result(torch.stack(of_paper), table)


def ideal(tetrahedra=0.0):
    """Each of the paper's polytopes is best where the ideal sweep has it.

    tetrahedra: what is added to their benefit
    """
    points = len(SWEEP)
    inverse_density = torch.logspace(0, 1.3, points, dtype=torch.float64)
    away = {
        name: (torch.arange(points) - best).abs()
        for name, best in zip(PAPER_POLYTOPES, (3, 4, 6.5, 9.5, 11))
    }
    benefits = {name: 1.5 - 0.0005 * distance for name, distance in away.items()}
    return made_up(
        inverse_density, benefits | {"tetrahedron": benefits["tetrahedron"] + tetrahedra}
    )


@pytest.fixture(scope="module")
def quick():
    return run(predicted_polytopes.QUICK, progress=False)


def test_run(quick):
    for name, values in zip(PAPER_POLYTOPES, quick.benefit):
        assert torch.equal(polytope_optimum(name, 1 / quick.table.inverse_density).benefit, values)
    for one, other in zip(quick.table, periodic_table.table()):
        assert torch.equal(one, other)


def test_nothing_is_by_chance_and_all_follows_from_the_committed_table(quick):
    assert predicted_polytopes.SEEDED is False
    assert torch.equal(
        quick.benefit, run(predicted_polytopes.QUICK, seed=7, progress=False).benefit
    )
    assert predicted_polytopes.INPUTS == (periodic_table.FILE,)


def test_what_is_best_where():
    """Triangles give way to digons where benefits cross, a third of the way from 1/2 to 1/4."""
    result = made_up(numbers(1, 2, 4), {"digon": [1.0, 1.1, 1.5], "triangle": [1.1, 1.2, 1.3]})
    windows = predicted_polytopes.windows(result)
    assert [window.name for window in windows] == ["triangle", "digon"]
    assert [window.dimensionality for window in windows] == pytest.approx([2 / 3, 1 / 2])
    assert windows[0].densest == 1 and windows[1].sparsest == 1 / 4
    crossing = windows[0].sparsest
    assert crossing == windows[1].densest == pytest.approx(1 / (2 * 2 ** (1 / 3)))
    densities = (1.1, 1, 0.4, 0.38, 0.25, 0.24)
    assert [predicted_polytopes.best_at(windows, at) for at in densities] == [
        None, "triangle", "triangle", "digon", "digon", None
    ]  # fmt: skip
    assert predicted_polytopes.shortfall(result, "triangle", 8**-0.5) == pytest.approx(
        (1 - 1.3 / 1.5) / 2
    )  # half-way to 1/4
    assert predicted_polytopes.shortfall(result, "digon", 1 / 4) == 0
    result.table.benefit[:] *= 2  # the table knows something better than any polytope
    assert predicted_polytopes.shortfall(result, "digon", 1 / 4) == pytest.approx(1 / 2)
    density, per_feature = predicted_polytopes.staircase(result)
    assert torch.equal(density, 1 / result.table.inverse_density)
    assert per_feature.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2])


def test_a_window_begins_where_an_arrangement_goes_on_to():
    """Two digons are followed to the densities at which their cell prefers squares."""
    digon, square = numbers(1, -1)[None], numbers(1, 0.7, -1, -0.7, 0, 0.7, 0, -0.7).view(2, 4)
    x = numbers(1, 2, 4, 8, 16)
    table = table_of(
        x,
        {
            "digon": (digon, (1.5, 1.6, 1.7, 1.8, 1.9)),
            "own": (square, (1.0, 1.0, 1.75, 1.95, 2.15)),
        },
    )
    first, second = predicted_polytopes.windows(Result(torch.zeros(5, 5), table))
    assert (first.name, second.name) == ("digon", "4 in 2")
    assert first.sparsest == pytest.approx(
        2**0.5 / 4, rel=1e-4
    )  # 1.55 against 1.6 at 1/2, 1.75 against 1.7 at 1/4


def test_the_dimensionality_is_that_of_represented_features():
    """A pentagon and a feature with hardly any weights."""
    W = torch.cat((POLYTOPES["pentagon"].vertices, torch.full((2, 1), 0.1)), dim=1)
    (window,) = predicted_polytopes.windows(
        Result(torch.zeros(5, 2), table_of(numbers(4, 8), {"own": (W, (1.5, 1.6))}))
    )
    assert window == ("pentagon", 1 / 4, 1 / 8, 2 / 5)


def test_figure_shows_the_prediction_and_trained_models(quick):
    trained, started = sweep(SWEEP), ideal_starts()
    figure = drawn(predicted_polytopes.figure, quick, [trained, trained], started)
    benefits, staircases = figure.axes[:2], figure.axes[2:]
    for ax, densest, sparsest in zip(benefits, (0.96, 0.625), (0.61, 0.05)):
        lines = {line.get_label(): line for line in ax.lines}
        x = 1 / quick.table.inverse_density
        near = (x <= densest * 1.05) & (x >= sparsest / 1.05)
        assert lines["digon"].get_ydata().tolist() == quick.benefit[2][near].tolist()
        at = 1 / trained.inverse_density
        label = "trained, $n=18$, $m=6$"
        assert len(lines[label].get_xdata()) == ((at <= densest) & (at >= sparsest)).sum()
        assert lines["started as polytopes of that colour"].get_color() == POLYTOPE_COLOURS["digon"]
    assert "mean field" in {line.get_label() for line in benefits[1].lines}
    leading = {window.name for window in predicted_polytopes.windows(quick)}
    nowhere = {name for name in PAPER_POLYTOPES if name not in leading}
    texts = {text.get_text() for ax in benefits for text in ax.texts}
    assert nowhere and texts - {f"{name},\nnowhere the table's best" for name in nowhere} == leading
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert named & set(PAPER_POLYTOPES) == leading & set(PAPER_POLYTOPES)
    best = staircases[1].lines[0]
    assert best.get_ydata().tolist() == predicted_polytopes.staircase(quick)[1].tolist()
