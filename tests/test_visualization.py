"""Figures from small data made by hand: they draw, name their axes, show the data and change none of it."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import visualization as v
from geometry import POLYTOPES, dimensionality, dimensions_per_feature, feature_norms

matplotlib.use("Agg")


def product(*names, features=9):
    """Polytopes in spaces of their own, and features with zero weights up to a number of features."""
    W = torch.block_diag(*(POLYTOPES[name].vertices for name in names))
    return torch.nn.functional.pad(W, (0, features - W.shape[1]))


# Three instances of nine features in four dimensions, six in the last, and a grid of 3 x 3 points
W = torch.stack(
    [
        product(*["dedicated dimension"] * 4),
        product("digon", "digon", "triangle"),
        product("dedicated dimension", "tetrahedron"),
    ]
).float()
B = torch.linspace(-0.2, 0.3, 27).view(3, 9)
DENSITIES = torch.tensor([1.0, 0.3, 0.1])
DENSITY = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64).repeat_interleave(3)
RATIO = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64).repeat(3)
NORM, SUPERPOSITION = torch.tensor([0, 0.1, 1, 0, 1, 1, 0.9, 1, 1.0]), torch.tensor([0, 0, 0, 0, 1, 0.2, 1, 1.2, 0.9])
SHARE = torch.linspace(0.2, 1, 9)
LINE = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)
BOUNDARY = [LINE, LINE / 2, LINE / 3, 0 * LINE, 0.7 + 0.1 * LINE, 0.5 + 0 * LINE, LINE / 2]
STUDY = {"as is": torch.tensor([[0.5, 0.8, 1.0], [0.4, 0.7, 0.9]]), "noise": torch.tensor([[0.6, 0.9, 1.0]] * 2)}
SHARES = {"dedicated dimension": torch.tensor([1.0, 0, 0.2]), "digon": torch.tensor([0, 4 / 7, 0])}
SHARES |= {"triangle": torch.tensor([0, 3 / 7, 0]), "tetrahedron": torch.tensor([0, 0, 0.8])}
BARS = {"10": {"digon": torch.tensor([0.5]), "cube": torch.tensor([0.5])}, "20": {"triangle": torch.tensor([1.0])}}
WINDOWS = [("triangle", 1.0, 1.5), ("digon", 1.5, 10.0)]
MAPS = {title: (1 / DENSITIES, torch.tensor([1.5, 3.0]), [SHARES, {"cube": torch.ones(3)}]) for title in ("a", "b")}
BENEFITS = {"digon": torch.tensor([1.0, 1.5, 1.8]), "cube": torch.tensor([1.0, 1.4, 1.9])}
DIAGRAMS = dict.fromkeys(("named", "optimum", "mean", "best"), (NORM, SUPERPOSITION))

RATIOS = torch.tensor([[0.01, 0.1, 1, 10], [0.01, 0.1, 1, 5]], dtype=torch.float64)
GEOMETRY_LOSSES = torch.tensor([[[3, 1, 4], [3, 2, 4], [3, torch.inf, 4], [5, torch.inf, torch.inf]]] * 2).double()
PLANES = torch.stack([W[0, :2, :5], POLYTOPES["pentagon"].vertices.float()])
SOLUTIONS = {
    "digons": (RATIOS[0, :2], PLANES, torch.tensor([True, False])),
    "none": (RATIOS[0, :0], PLANES[:0], torch.tensor([], dtype=torch.bool)),
}
RUNS, GEOMETRY = torch.tensor([[[1, 3], [2, 4.0]]] * 2).double(), torch.tensor([[[1, 0], [1, 3]]] * 2)
CROSSING = torch.tensor([0.25, torch.nan], dtype=torch.float64)
PAIR_ROWS = {"first": (W[:, :2, :4], ["one", "two", "three"]), "second": (W[:2, :2, :6], ["four", "five"])}
OVERLAPS = torch.tensor([[0.01, 0.02], [0.1, 0.12], [0.2, 0.2]]), torch.tensor([[0.25, 0.26], [0.2, 0.2], [0.2, 0.1]])
COUNTS = torch.tensor([[20, 20], [19, 20], [18, 17]])
COLLAPSED = torch.tensor([0, 1, 1, 3])
COLLAPSE = (
    torch.tensor([0.03, 0.5]), W[:2, :2, :6], torch.tensor([0.02, 0.1, 0.3, 0.9]), COLLAPSED,
    torch.tensor([0.07, torch.nan]), torch.tensor([0.2, 0.4, 0.8, 0.999]), 0.8,
)  # fmt: skip

FIGURES = {  # name -> arguments
    "superposition_panels": (W, B, ["linear", "dense", "sparse"], 1),  # in one column all panels name their axes
    "norm_bars": (NORM, SUPERPOSITION),
    "feature_arrows": (W[:, :2, :5], torch.linspace(1, 0.3, 5), DENSITIES),
    "polytopes_figure": (
        1 / DENSITIES,
        W,
        SHARES,
        torch.tensor([1, 2]),
        ["digon", "triangle"],
        WINDOWS,
        1 / DENSITIES,
        0.5 * DENSITIES,
    ),
    "predicted_staircase": (WINDOWS,),
    "polytope_areas": (1 / DENSITIES, SHARES),
    "share_bars": (BARS,),
    "polytope_maps": (MAPS,),
    "benefit_figure": (1 / DENSITIES, BENEFITS, {"from digons": (1 / DENSITIES, DENSITIES)}),
    "dimensionality_scatter": (1 / DENSITIES, W, ["digon", "triangle"]),
    "geometry_graph": (W[1],),
    "phase_diagram": (DENSITY, RATIO, NORM, SUPERPOSITION),
    "share_map": (DENSITY, RATIO, SHARE),
    "phase_diagrams": (DENSITY, RATIO, DIAGRAMS, SHARE),
    "boundary_figure": BOUNDARY,
    "study_figure": (STUDY, ["first case", "second case"]),
    "represented_counts": (DENSITIES, [W, W[:, :, :7]]),
    "perturbed_figure": (SOLUTIONS, DENSITIES[1:], RATIOS, GEOMETRY_LOSSES, CROSSING, RUNS, GEOMETRY),
    "set_arrows": (PAIR_ROWS,),
    "plane": (W[1, :2, :6],),
    "sets_figure": (DENSITIES[:2], W[:2, :, :8], DENSITIES, *OVERLAPS, COUNTS),
    "collapse_figure": COLLAPSE,
}
ON_AXES = [
    "norm_bars",
    "dimensionality_scatter",
    "predicted_staircase",
    "polytope_areas",
    "geometry_graph",
    "phase_diagram",
    "share_map",
    "plane",
]

each_figure = pytest.mark.parametrize("name", FIGURES)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def draw(name, **options):
    """What the function returns, and its figure."""
    returned = getattr(v, name)(*FIGURES[name], **options)
    return returned, returned if isinstance(returned, Figure) else returned.figure


def tensors(value):
    """All tensors inside of nested arguments."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for part in parts for tensor in tensors(part)]


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
    returned, drawn = draw(name, ax=left)
    assert returned is left and drawn is figure and len(plt.get_fignums()) == 1
    assert left.has_data() and not right.has_data()


def unnamed(figure):
    """Axes with numbers along them and no label, on them or on others that share them."""
    found = []
    for ax in figure.axes:
        for letter in "xy":
            axis, together = getattr(ax, f"{letter}axis"), getattr(ax, f"get_shared_{letter}_axes")().get_siblings(ax)
            labels = [getattr(other, f"get_{letter}label")() for other in together]
            ticks = [tick.get_text() for tick in axis.get_ticklabels()]
            numbers = any(character.isdigit() for text in ticks for character in text)
            if ax.axison and numbers and not any(labels):
                found.append((ax, letter))
    return found


@each_figure
def test_axes_have_names(name):
    _, figure = draw(name)
    assert not unnamed(figure)


# What they show


@pytest.mark.parametrize(
    "norm, superposition, colour",
    [
        (0, 0, v.BLANK),
        (0, 1, v.BLANK),
        (1, 0, v.DEDICATED),
        (1, 1, v.SHARED),
        (1.3, 2, v.SHARED),
        (1, -0.1, v.DEDICATED),
    ],
)
def test_phase_colours_at_the_corners(norm, superposition, colour):
    colours = v.phase_colours(torch.tensor([[norm]]).double(), torch.tensor([[superposition]]).double())
    assert colours.shape == (1, 1, 3)
    assert colours[0, 0] == pytest.approx(to_rgb(colour))


def test_phase_colours_between():
    half = v.phase_colours(torch.tensor([0.5]), torch.tensor([0.0]))
    assert half[0] == pytest.approx([(a + b) / 2 for a, b in zip(to_rgb(v.BLANK), to_rgb(v.DEDICATED))])


def test_phase_diagram_shows_each_point():
    ax, _ = draw("phase_diagram")
    (mesh,) = ax.collections
    shown = mesh.get_array()  # (importances, densities, 3)
    expected = v.phase_colours(NORM, SUPERPOSITION).tolist()
    for k in range(9):
        assert shown[k % 3, k // 3].tolist() == pytest.approx(expected[k]), (DENSITY[k], RATIO[k])
    assert ax.get_xlim() == (1, 0.01) and ax.get_ylim() == (0.1, 10)
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_share_map_shows_each_point():
    ax, _ = draw("share_map")
    mesh = ax.collections[0]
    assert mesh.get_array().T.ravel().tolist() == pytest.approx(SHARE.tolist()) and mesh.get_clim() == (0, 1)


def test_phase_diagrams_titles():
    _, figure = draw("phase_diagrams")
    titles = [ax.get_title() for ax in figure.axes]
    assert all(title in titles for title in [*DIAGRAMS, "last feature", "restarts in the global optimum"])


def test_phase_key_is_over_superposition_and_norm():
    _, ax = plt.subplots()
    v.phase_key(ax)
    image = ax.images[0].get_array().tolist()  # rows from norm 0 up
    assert ax.images[0].origin == "lower"
    assert image[0][0] == pytest.approx(to_rgb(v.BLANK)) and image[0][-1] == pytest.approx(to_rgb(v.BLANK))
    assert image[-1][0] == pytest.approx(to_rgb(v.DEDICATED)) and image[-1][-1] == pytest.approx(to_rgb(v.SHARED))
    assert "superposition" in ax.get_xlabel() and "norm" in ax.get_ylabel()


def test_norm_bars_show_norm_and_superposition():
    ax, _ = draw("norm_bars")
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(NORM.tolist())
    for bar, superposition in zip(ax.patches, SUPERPOSITION.clamp(0, 1).tolist()):
        assert bar.get_facecolor() == pytest.approx(v.SUPERPOSITION(superposition))


def test_superposition_panels_show_each_instance():
    _, figure = draw("superposition_panels")
    images = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    for k, (heat, bias) in enumerate(zip(images[::2], images[1::2])):
        torch.testing.assert_close(torch.tensor(heat), W[k].T @ W[k])
        torch.testing.assert_close(torch.tensor(bias)[:, 0], B[k])
    heights = [[bar.get_height() for bar in ax.patches] for ax in figure.axes if len(ax.patches) == 9]
    torch.testing.assert_close(torch.tensor(heights), feature_norms(W).double())
    assert len(images) == 6


def test_feature_arrows_end_at_the_weights():
    _, figure = draw("feature_arrows")
    for ax, weights in zip(figure.axes, W[:, :2, :5]):
        assert [list(arrow.xy) for arrow in ax.texts] == weights.T.tolist()
    assert "density 0.3" in figure.axes[1].get_title() and "S=0.7" in figure.axes[1].get_title()


def test_represented_counts():
    """Four dedicated dimensions; two digons and a triangle; a dedicated dimension and a tetrahedron."""
    _, figure = draw("represented_counts")
    assert len(figure.axes) == 2
    for ax in figure.axes:
        for area, counts in zip(ax.collections, ([4, 7, 5], [0, 7, 4])):
            edge = area.get_paths()[0].vertices
            assert [edge[edge[:, 0] == x, 1].max() for x in DENSITIES.numpy()] == counts
        assert ax.get_xlim() == pytest.approx((1, 0.1))  # sparser to the right


def test_polytopes_figure_shows_dimensions_per_feature_and_names_factors():
    _, figure = draw("polytopes_figure")
    trained, predicted = figure.axes[0].lines
    assert trained.get_xdata() == pytest.approx((1 / DENSITIES).numpy())
    assert trained.get_ydata() == pytest.approx(dimensions_per_feature(W).numpy())
    assert predicted.get_ydata() == pytest.approx((0.5 * DENSITIES).numpy())
    titles = [ax.get_title().splitlines()[1:] for ax in figure.axes[3:]]
    assert titles == [["2 × digon", "1 × triangle"], ["1 × dedicated dimension", "1 × tetrahedron"]]


def test_predicted_staircase_is_at_the_dimensionalities():
    ax, _ = draw("predicted_staircase")
    assert [(*line.get_xdata(), line.get_ydata()[0]) for line in ax.lines] == [(1, 1.5, 2 / 3), (1.5, 10, 1 / 2)]


def test_polytope_areas_are_stacked_to_one():
    ax, _ = draw("polytope_areas")
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in ax.collections]
    assert tops[0] == pytest.approx(1) and tops[-1] == pytest.approx(1)
    assert len(tops) == len(v.POLYTOPE_COLOURS) + 1


def test_share_bars_put_other_polytopes_together():
    _, figure = draw("share_bars")
    shown = {container.get_label(): [bar.get_height() for bar in container] for container in figure.axes[0].containers}
    assert {name: heights for name, heights in shown.items() if any(heights)} == {
        "triangle": [0, 1],
        "digon": [0.5, 0],
        v.OTHERS: [0.5, 0],
    }


def test_polytope_maps_show_the_polytope_of_most_features():
    _, figure = draw("polytope_maps")
    colours = figure.axes[0].collections[0].get_array()  # (rows, columns, 3)
    most = [v.POLYTOPE_COLOURS[name] for name in ("dedicated dimension", "digon", "tetrahedron")]
    expected = [[to_rgb(colour) for colour in row] for row in (most, [v.OTHER_POLYTOPE] * 3)]
    torch.testing.assert_close(torch.tensor(colours.tolist()), torch.tensor(expected))


def test_benefit_figure_shows_polytopes_and_trained_models():
    _, figure = draw("benefit_figure")
    sparse = figure.axes[1]
    assert {line.get_label(): len(line.get_xdata()) for line in sparse.lines} == {
        "digon": 2, "cube": 2, "from digons": 2
    }  # fmt: skip
    assert sparse.lines[-1].get_color() == v.POLYTOPE_COLOURS["digon"]


def test_dimensionality_scatter_shows_represented_features():
    ax, _ = draw("dimensionality_scatter")
    dots = torch.tensor(ax.collections[0].get_offsets())
    shown = feature_norms(W) > 0.5
    torch.testing.assert_close(dots[:, 1].float(), dimensionality(W)[shown])
    inverse_density = (1 / DENSITIES)[:, None].expand(3, 9)[shown]
    torch.testing.assert_close(dots[:, 0].float(), inverse_density, rtol=0.01, atol=0)
    names = [text.get_text() for text in ax.texts]
    assert names == ["dedicated dimension 1", "digon 1/2", "triangle 2/3"]
    assert [line.get_ydata()[0] for line in ax.lines] == pytest.approx([1, 1 / 2, 2 / 3])


def test_geometry_graph_has_represented_features_and_their_overlaps():
    ax, _ = draw("geometry_graph")
    edges, nodes = ax.collections
    assert len(nodes.get_offsets()) == 7  # two digons and a triangle; two features have zero weights
    assert len(edges.get_segments()) == 1 + 1 + 3
    colours = [tuple(c[:3]) for c in nodes.get_facecolors()]
    assert colours == [to_rgb(v.POLYTOPE_COLOURS["digon"])] * 4 + [to_rgb(v.POLYTOPE_COLOURS["triangle"])] * 3


def test_geometry_graph_without_represented_features():
    ax = v.geometry_graph(torch.zeros(3, 5))
    ax.figure.canvas.draw()


def test_boundary_figure_shows_each_line():
    _, figure = draw("boundary_figure")
    density, onset, ratio, before, after, kink, named = (values.tolist() for values in BOUNDARY)
    shown = [[line.get_ydata().tolist() for line in ax.lines] for ax in figure.axes]
    assert shown == [[named, onset, ratio], [after, before], [kink]]
    assert all(line.get_xdata().tolist() == density for ax in figure.axes for line in ax.lines)


def test_study_figure_shows_each_measure():
    _, figure = draw("study_figure")
    for case, ax in enumerate(figure.axes):
        shown = torch.tensor([bar.get_width() for bar in ax.patches], dtype=torch.float32).view(3, len(STUDY)).T
        torch.testing.assert_close(shown, torch.stack(list(STUDY.values()))[:, case])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(STUDY)


def test_perturbed_figure_shows_solutions_losses_and_crossings():
    _, figure = draw("perturbed_figure")
    digons, none, _, *losses = figure.axes
    spokes, square, dots = digons.collections
    ends = [spoke[1].tolist() for spoke in spokes.get_segments()]
    assert ends == [pytest.approx(column) for weights in PLANES.flip(0) for column in weights.T.tolist()]  # best last
    assert square.get_offsets().tolist() == ends[::5]  # feature 0
    assert dots.get_offsets().tolist() == [*ends[1:5], *ends[6:]]
    filled = [colour[:3].tolist() == [1, 1, 1] for colour in square.get_facecolors()]
    assert filled == [True, False]  # white where the other geometry is better
    assert digons.get_title().startswith("digons") and len(none.collections[1].get_offsets()) == 0
    for k, ax in enumerate(losses):
        curves = [line.get_ydata() for line in ax.lines[:3]]
        for curve, loss in zip(curves, GEOMETRY_LOSSES[k].T):
            shown = torch.tensor(curve)
            assert torch.equal(shown.isfinite(), loss.isfinite())
            assert torch.equal(shown[shown.isfinite()], loss[loss.isfinite()])
        runs = torch.tensor(ax.collections[0].get_offsets())  # at every second ratio
        assert runs.tolist() == [[r, x] for r, of in zip(RATIOS[k, ::2].tolist(), RUNS[k].tolist()) for x in of]
    assert "4.00 times sparser" in losses[0].get_title() and "times" not in losses[1].get_title()
    assert [len(ax.lines) for ax in losses] == [4, 3]  # the crossing that is known is marked


def test_set_arrows_end_at_the_weights():
    _, figure = draw("set_arrows")
    panels = [ax for ax in figure.axes if ax.lines]
    shown = [weights for planes, _ in PAIR_ROWS.values() for weights in planes]
    assert len(panels) == len(shown) == 5
    for ax, weights in zip(panels, shown):
        ends = [[line.get_xdata()[-1], line.get_ydata()[-1]] for line in ax.lines]
        assert ends == [end for end in weights.T.tolist() for _ in range(2)]  # a line and its mark
        colours = [line.get_color() for line in ax.lines]
        assert colours == [v.SET_COLOURS[feature // 2] for feature in range(weights.shape[1]) for _ in range(2)]
    assert [ax.get_title() for ax in panels] == ["one", "two", "three", "four", "five"]
    assert panels[0].get_ylabel() == "first" and panels[3].get_ylabel() == "second"


def test_sets_figure_shows_each_number():
    _, figure = draw("sets_figure")
    heat = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    for image, weights in zip(heat, W[:2, :, :8]):
        torch.testing.assert_close(torch.tensor(image), weights.T @ weights)
    cosines, counts = figure.axes[-2:]
    means = [line.get_ydata().tolist() for line in (cosines.lines[0], cosines.lines[3])]
    assert means == [pytest.approx(values.mean(dim=1).tolist()) for values in OVERLAPS]
    assert counts.lines[0].get_ydata().tolist() == [20, 19.5, 17.5]
    random = torch.nn.functional.normalize(torch.randn(4, 10**5, generator=torch.manual_seed(0)), dim=0)
    assert cosines.lines[-1].get_ydata()[0] == pytest.approx(random[0].abs().mean().item(), abs=0.005)


def test_collapse_figure_shows_the_steps():
    _, figure = draw("collapse_figure")
    steps, loss = figure.axes[-2:]
    (stairs,) = steps.patches
    values, edges, _ = stairs.get_data()
    assert values.tolist() == [0, 1, 3]
    # a boundary that is not known is drawn half-way between the neighbours
    assert edges.tolist() == pytest.approx([0.02, 0.07, (0.3 * 0.9) ** 0.5, 0.9])
    assert steps.lines[0].get_ydata().tolist() == COLLAPSED.tolist()
    assert loss.lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.4, 0.8, 0.999])
