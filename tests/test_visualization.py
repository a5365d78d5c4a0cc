"""Draw small data made by hand: figures name their axes, show the data and do not change it."""

import pytest
import torch
from drawing import tensors, unnamed
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import visualization as v
from geometry import dimensionality, feature_norms
from theory.polytopes import POLYTOPES


def product(*names, features=9):
    """Put polytopes into spaces of their own, and add features with zero weights."""
    W = torch.block_diag(*(POLYTOPES[name].vertices for name in names))
    return torch.nn.functional.pad(W, (0, features - W.shape[1]))


# Three instances of nine features in four dimensions, six in the last
W = torch.stack(
    [
        product(*["dedicated dimension"] * 4),
        product("digon", "digon", "triangle"),
        product("dedicated dimension", "tetrahedron"),
    ]
).float()
DENSITIES = torch.tensor([1.0, 0.3, 0.1])
SHARES = {"dedicated dimension": torch.tensor([1.0, 0, 0.2]), "digon": torch.tensor([0, 4 / 7, 0])}
SHARES |= {"triangle": torch.tensor([0, 3 / 7, 0]), "tetrahedron": torch.tensor([0, 0, 0.8])}

PAIR_ROWS = {
    "first": (W[:, :2, :4], ["one", "two", "three"]),
    "second": (W[:2, :2, :6], ["four", "five"]),
}
NEURONS = torch.tensor([[0.0, -0.2, 1.0], [0.5, 0.3, -0.4]])  # two, of three features
FIGURES = {  # name -> arguments
    "polytope_areas": (DENSITIES, SHARES),
    "dimensionality_scatter": (DENSITIES, W, ["digon", "triangle"]),
    "geometry_graph": (W[1],),
    "gram_heat_map": (W[1], torch.linspace(-0.5, 0.5, 9)),
    "set_arrows": (PAIR_ROWS,),
    "plane": (W[1, :2, :6],),
    "neuron_stacks": (NEURONS, torch.tensor([[0.0, 0.5, 2.0]])),
}
ON_AXES = [name for name in FIGURES if name != "set_arrows"]

each_figure = pytest.mark.parametrize("name", FIGURES)


def axes(**options):
    return plt.subplots(**options)[1]


def draw(name):
    """What the function returns, and its figure."""
    returned = getattr(v, name)(*FIGURES[name], *([axes()] if name in ON_AXES else []))
    return returned, returned if isinstance(returned, Figure) else returned.figure


# All figures


@pytest.mark.filterwarnings("error")
@each_figure
def test_draws_and_changes_no_input(name):
    given = tensors(FIGURES[name])
    before = [tensor.clone() for tensor in given]
    returned, figure = draw(name)
    figure.canvas.draw()
    assert isinstance(returned, (Figure, Axes))
    for tensor, kept in zip(given, before):
        torch.testing.assert_close(tensor, kept, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ON_AXES)
def test_draws_on_given_axes(name):
    figure, (left, right) = plt.subplots(1, 2)
    assert getattr(v, name)(*FIGURES[name], left) is left and plt.get_fignums() == [figure.number]
    assert left.has_data() and not right.has_data()


@each_figure
def test_axes_have_names(name):
    _, figure = draw(name)
    assert not unnamed(figure)


# What they show


def test_polytope_areas_are_stacked_to_one():
    ax, _ = draw("polytope_areas")
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in ax.collections]
    assert tops[0] == pytest.approx(1) and tops[-1] == pytest.approx(1)
    assert len(tops) == len(v.POLYTOPE_COLOURS) + 1


def test_polytope_areas_are_steps_around_marked_densities():
    """Each share is drawn half-way to the neighbours on a log axis, and nothing in between."""
    ax, _ = draw("polytope_areas")
    assert ax.lines[0].get_xdata().tolist() == DENSITIES.tolist()
    corners = ax.collections[0].get_paths()[0].vertices  # of the dedicated dimensions
    heights = {round(x, 4): set() for x in corners[:, 0].tolist()}
    for x, y in corners.tolist():
        heights[round(x, 4)].add(round(y, 4))
    first, second = 0.3**0.5, 0.03**0.5
    assert heights == {
        1: {0, 1}, round(first, 4): {0, 1}, round(second, 4): {0, 0.2}, 0.1: {0, 0.2}
    }  # fmt: skip


def test_polytope_legend_names_what_is_there():
    figure, ax = plt.subplots()
    v.polytope_legend(
        figure, {"digon": torch.tensor([1.0, 0.5]), "cube": torch.tensor([0, 0.5])}, "both"
    )
    v.polytope_legend(
        ax, {"digon": torch.tensor([1.0, 0.0]), "triangle": torch.zeros(2)}, "one", loc="center"
    )
    legends = [
        [text.get_text() for text in legend.get_texts()]
        for legend in (figure.legends[0], ax.get_legend())
    ]
    assert legends == [["digon", v.OTHERS], ["digon", "no represented features"]]


def test_over_density_has_plain_numbers_sparser_to_the_right():
    ax = v.over_density(plt.subplots()[1], torch.tensor([0.3, 0.04]))
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    assert low > 0.3 and high < 0.04 and ax.get_xlabel()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.2", "0.1", "0.05"]


def test_dimensionality_scatter_shows_represented_features():
    ax, _ = draw("dimensionality_scatter")
    dots = torch.tensor(ax.collections[0].get_offsets())
    shown = feature_norms(W) > 0.5
    torch.testing.assert_close(dots[:, 1].float(), dimensionality(W)[shown])
    density = DENSITIES[:, None].expand(3, 9)[shown]
    torch.testing.assert_close(dots[:, 0].float(), density, rtol=0.01, atol=0)
    names = [text.get_text() for text in ax.texts]
    assert names == ["dedicated dimension 1", "digon 1/2", "triangle 2/3"]
    assert [line.get_ydata()[0] for line in ax.lines] == pytest.approx([1, 1 / 2, 2 / 3])


def test_geometry_graph_has_represented_features_and_their_overlaps():
    ax, _ = draw("geometry_graph")
    edges, nodes = ax.collections
    assert (
        len(nodes.get_offsets()) == 7
    )  # two digons and a triangle; two features have zero weights
    assert len(edges.get_segments()) == 1 + 1 + 3
    colours = [tuple(c[:3]) for c in nodes.get_facecolors()]
    assert (
        colours
        == [to_rgb(v.POLYTOPE_COLOURS["digon"])] * 4 + [to_rgb(v.POLYTOPE_COLOURS["triangle"])] * 3
    )


def test_geometry_graph_without_represented_features():
    ax = v.geometry_graph(torch.zeros(3, 5), axes())
    ax.figure.canvas.draw()


def test_set_arrows_end_at_the_weights():
    _, figure = draw("set_arrows")
    panels = [ax for ax in figure.axes if ax.lines]
    shown = [weights for planes, _ in PAIR_ROWS.values() for weights in planes]
    assert len(panels) == len(shown) == 5
    for ax, weights in zip(panels, shown):
        ends = [[line.get_xdata()[-1], line.get_ydata()[-1]] for line in ax.lines]
        assert ends == [end for end in weights.T.tolist() for _ in range(2)]  # a line and its mark
        colours = [line.get_color() for line in ax.lines]
        assert colours == [
            v.SET_COLOURS[feature // 2] for feature in range(weights.shape[1]) for _ in range(2)
        ]
    assert [ax.get_title() for ax in panels] == ["one", "two", "three", "four", "five"]
    assert panels[0].get_ylabel() == "first" and panels[3].get_ylabel() == "second"


def test_over_steps_leaves_out_step_0():
    steps, values = (
        torch.tensor([0, 1, 10, 100]),
        torch.tensor([[9.0, 9.0], [3.0, 4.0], [2.0, 3.0], [1.0, 2.0]]),
    )
    ax = v.over_steps(steps, values, axes(), color=v.DEDICATED)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == "log" and ax.get_xlabel() and len(ax.lines) == 2
    assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 10, 100]] * 2
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 2, 1], [4, 3, 2]]


def test_space_ends_at_the_weights():
    W = torch.tensor([[1.0, 0.0, -1.0, 0.0], [0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.25]])
    ax = v.space(W, 2, axes(subplot_kw={"projection": "3d"}))
    ax.figure.canvas.draw()
    lines, dots = ax.lines[0:8:2], ax.lines[1:8:2]
    ends = [[float(values[-1]) for values in line.get_data_3d()] for line in lines]
    assert (
        ends == W.T.tolist() == [[float(values[0]) for values in dot.get_data_3d()] for dot in dots]
    )
    assert [line.get_color() for line in lines] == [v.DEDICATED] * 2 + [v.SHARED] * 2


def test_neuron_stacks_pile_the_weights_of_each_neuron():
    ax, _ = draw("neuron_stacks")
    (pieces,) = ax.collections
    boxes = [path.get_extents() for path in pieces.get_paths()]
    of_neuron = [
        [box for box in boxes if round((box.x0 + box.x1) / 2) == neuron] for neuron in range(2)
    ]
    assert [box.y1 for box in of_neuron[0]] == pytest.approx(
        [1, 1.2]
    )  # a weight of zero has no piece
    assert [box.y1 for box in of_neuron[1]] == pytest.approx([0.5, 0.9, 1.2])
    assert [box.y0 for box in of_neuron[1]] == pytest.approx([0, 0.5, 0.9])
    colours = [tuple(colour) for colour in pieces.get_facecolors()]
    alone, half, shared = map(tuple, v.SUPERPOSITION(torch.tensor([0.0, 0.5, 1.0]).numpy()))
    assert colours == [shared, half, alone, shared, half]


def test_neuron_stacks_coloured_by_neuron_and_without_weights():
    ax = v.neuron_stacks(NEURONS, torch.tensor([[0.0], [1.0]]), axes())
    alone, shared = map(tuple, v.SUPERPOSITION(torch.tensor([0.0, 1.0]).numpy()))
    assert list(map(tuple, ax.collections[0].get_facecolors())) == [alone] * 2 + [shared] * 3
    v.neuron_stacks(torch.zeros(2, 3), torch.zeros(1, 3), axes()).figure.canvas.draw()


# What a trained model has, and what is refused


TAKES_WEIGHTS = [
    "dimensionality_scatter",
    "geometry_graph",
    "gram_heat_map",
    "plane",
    "neuron_stacks",
]


@pytest.mark.parametrize("name", TAKES_WEIGHTS)
def test_parameters_of_a_model_are_drawn(name):
    """Weights that require a gradient draw the same picture."""
    given = [
        value.clone().requires_grad_() if isinstance(value, torch.Tensor) else value
        for value in FIGURES[name]
    ]
    ax = getattr(v, name)(*given, axes())
    expected, _ = draw(name)
    found = [collection.get_offsets().tolist() for collection in ax.collections]
    assert found == [collection.get_offsets().tolist() for collection in expected.collections]
    assert len(ax.lines) == len(expected.lines) and len(ax.images) == len(expected.images)


def test_space_draws_parameters_of_a_model():
    W = torch.eye(3).requires_grad_()
    assert len(v.space(W, 1, axes(subplot_kw={"projection": "3d"})).lines) == 9


def test_gram_heat_map_has_the_biases_beside_their_rows():
    """Both images have the same rows, and the values of W^T W and of b."""
    ax, _ = draw("gram_heat_map")
    matrix, column = ax.images
    torch.testing.assert_close(torch.tensor(matrix.get_array()).float(), W[1].T @ W[1])
    assert column.get_array()[:, 0].tolist() == pytest.approx(FIGURES["gram_heat_map"][1].tolist())
    assert matrix.get_extent()[2:] == column.get_extent()[2:] == [8.5, -0.5]
    assert column.get_extent()[0] > matrix.get_extent()[1] and ax.get_ylim() == (8.5, -0.5)


REFUSED = {
    "plane": ((torch.zeros(3, 4),), "W: expected 2 hidden dimensions, got 3"),
    "geometry_graph": ((torch.zeros(1, 3, 4),), r"W: expected shape \(hidden, features\)"),
    "gram_heat_map": ((torch.zeros(2, 4), torch.zeros(3)), "b: expected 4 biases"),
    "dimensionality_scatter": (
        (torch.ones(3, 9), W, ["digon"]),
        r"density: expected shape \(points\), got \(3, 9\)",
    ),
    "neuron_stacks": ((NEURONS * torch.nan, torch.zeros(1, 3)), "W: expected finite numbers"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_refused(name):
    arguments, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        getattr(v, name)(*arguments, axes())


@pytest.mark.usefixtures("unchecked")
def test_one_density_for_each_point_is_expected():
    with pytest.raises(ValueError, match="density: expected 3 numbers above 0"):
        v.dimensionality_scatter(torch.ones(2), W, ["digon"], axes())


def test_described_keeps_the_sentence():
    figure = plt.figure()
    assert v.described(figure, "A line rises.") is figure
    assert figure.get_label() == "A line rises."
