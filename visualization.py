"""Drawings that several experiments share. They train nothing and change none of their inputs.

One palette serves all figures. How far a feature is represented is the strength of a colour. How
much it shares its direction with other features, which is its superposition, is the hue, from blue
to orange. The colours stay apart for colour-blind readers (tests/test_palette.py).

Every drawing takes weights as a trained model has them, `model.W[0]` included, and returns the `ax`
or the figure that it drew on. Importing this module sets the style of matplotlib's figures.
"""

import math
from fractions import Fraction

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from torch import Tensor

from checks import as_real
from geometry import dimensionality, represented
from theory.polytopes import POLYTOPES, tegum_factors

BLANK = "#f3f1ec"  # not represented
DEDICATED = "#23497d"  # has a dimension of its own
SHARED = "#f0a122"  # in superposition
INK = "#2b2b2b"
FAINT = "#bbb9a9"
SUPERPOSITION = LinearSegmentedColormap.from_list("superposition", [DEDICATED, "#8a9a6b", SHARED])
WEIGHTS = "RdBu_r"  # signed values: blue is negative, red is positive
SUPERPOSITION_LABEL = r"superposition $\sum_{j\neq i}(\hat W_i\cdot W_j)^2$ (1 or more: orange)"
POLYTOPE_COLOURS = {
    "dedicated dimension": DEDICATED,
    "shared dimension": "#a0e888",
    "tetrahedron": "#8e58cf",
    "triangle": "#b5628d",
    "digon": SHARED,
    "pentagon": "#2f9453",
    "square antiprism": "#4cbbd0",
    "irregular": FAINT,
}
OTHERS = "another polytope"
OTHER_POLYTOPE = "#754327"
EDGED_PIECE = (
    0.015  # share of the highest stack from which a piece of a stack plot has a white edge
)
SET_COLOURS = (  # the members of a set share one
    DEDICATED,
    SHARED,
    POLYTOPE_COLOURS["pentagon"],
    POLYTOPE_COLOURS["tetrahedron"],
)
WIDTH = 10  # inches of a full figure, at which 9 points are 11 pixels on GitHub
SMALL = 9  # points, for notes within a figure
TINY = 8  # points, for text in the cells of a table
STYLE = {
    "figure.facecolor": "white",  # opaque, so that it is legible on a dark page
    "savefig.facecolor": "white",
    "text.color": INK,
    "axes.labelcolor": INK,
    **dict.fromkeys(("font.size", "axes.titlesize", "figure.titlesize", "figure.labelsize"), 10),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), SMALL),
    **dict.fromkeys(("legend.fontsize", "legend.title_fontsize"), SMALL),
    "legend.handlelength": 1.6,
    "lines.markersize": 4,
}
plt.rcParams.update(STYLE)
NOTE = {  # style of a note beside a point of the data, legible on top of lines
    "textcoords": "offset points",
    "fontsize": SMALL,
    "path_effects": [withStroke(linewidth=2.5, foreground="white")],
}
DENSITY_TICKS = (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
FINE_DENSITY_TICKS = (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05)
OVERLAP = 0.2  # |W_i . W_j| above which two features of a graph are joined
LABELS_APART = (
    0.04  # dimensionalities closer than this have their labels above and below their lines
)


def drawable(name, values, axes) -> Tensor:
    """Return numbers to draw, without a gradient and on the CPU.

    Args:
        name: Name of the argument, for errors.
        values: A tensor or array, such as the weights of a trained model.
        axes: Names of the axes that it must have.

    Raises:
        ValueError: If it is not an array of finite real numbers with these axes.
    """
    numbers = as_real(name, values).detach().cpu()
    if numbers.dim() != len(axes):
        expected = ", ".join(axes)
        raise ValueError(f"{name}: expected shape ({expected}), got {tuple(numbers.shape)}")
    if not numbers.isfinite().all():
        wrong = int((~numbers.isfinite()).sum())
        raise ValueError(f"{name}: expected finite numbers, got {wrong} that are not")
    return numbers


# Axes


def over_density(ax, density: Float[Tensor, " points"], ticks=DENSITY_TICKS):
    """Put density on a log axis along x, sparser to the right.

    Args:
        ax: Axes to change.
        density: The densities drawn, which set the limits.
        ticks: Densities at which to put ticks.

    Returns:
        The axes.
    """
    high = 1.1 * density.max().item()
    low = density.min().item() / 1.1
    ax.set(xscale="log", xlim=(high, low), xlabel="density $1-S$ (log scale)")
    plain_ticks(ax.xaxis, [tick for tick in ticks if low <= tick <= high])
    return ax


def over_steps(
    steps: Int[Tensor, " records"], values: Float[Tensor, "records curves"], ax, **style
):
    """Draw curves over the steps of training on a log axis, which step 0 is not on.

    Args:
        steps: Step of each record.
        values: Values of each curve at the records.
        ax: Axes to draw on.
        **style: Passed on to `ax.plot`.

    Returns:
        The axes.
    """
    shown = steps > 0
    ax.plot(steps[shown].numpy(), values[shown].numpy(), **style)
    ax.set(xscale="log", xlabel="training step (log scale)")
    return ax


def plain_ticks(axis, ticks):
    """Put ticks of a log axis at some numbers, written as they are, and nowhere else."""
    axis.set_ticks([], minor=True)
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])


def nearest(values: Float[Tensor, " points"], wanted) -> Int[Tensor, " wanted"]:
    """Find the index of the point that is nearest to each of some numbers on a log axis."""
    targets = torch.tensor(wanted, dtype=values.dtype)
    return (values[:, None].log() - targets.log()).abs().argmin(dim=0)


# Weights of one instance


def gram_heat_map(W: Float[Tensor, "hidden features"], b: Float[Tensor, " features"], ax):
    """Draw W^T W as a heat map with b as a column beside it, row by row (paper, Section 2).

    Red is positive, blue is negative, and the colours end at -1 and 1.

    Args:
        W: Weights of one instance.
        b: Its biases.
        ax: Axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: If W and b are not weights and biases of one instance.
    """
    W = drawable("W", W, ("hidden", "features"))
    b = drawable("b", b, ("features",))
    features = W.shape[1]
    if len(b) != features:
        raise ValueError(f"b: expected {features} biases, as W has features, got {len(b)}")
    colours = {"cmap": WEIGHTS, "vmin": -1, "vmax": 1, "interpolation": "nearest"}
    gap = 0.04 * features + 0.5  # between the matrix and the column, in units of a cell
    width = max(1.0, 0.06 * features)  # of the column
    left = features - 0.5 + gap
    rows = (features - 0.5, -0.5)
    ax.imshow((W.mT @ W).numpy(), extent=(-0.5, features - 0.5, *rows), **colours)
    ax.imshow(b[:, None].numpy(), extent=(left, left + width, *rows), **colours)
    ax.set(xlim=(-0.5, left + width), ylim=rows, aspect="equal", yticks=[])
    ax.set_xticks([(features - 1) / 2, left + width / 2], labels=["$W^TW$", "$b$"])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def plane(W: Float[Tensor, "2 features"], ax):
    """Draw features in the plane as lines from the origin, two by two in one colour.

    The first member of a pair ends in a dot, and the second one in a ring.

    Args:
        W: Weights of one instance in two hidden dimensions.
        ax: Axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: If W is not such weights.
    """
    W = drawable("W", W, ("2", "features"))
    if len(W) != 2:
        raise ValueError(f"W: expected 2 hidden dimensions, got {len(W)}")
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=FAINT, linewidth=0.6, linestyle=":"))
    for feature, (x, y) in enumerate(W.T.tolist()):
        colour = SET_COLOURS[feature // 2 % len(SET_COLOURS)]
        is_second = feature % 2 == 1
        mark = {"markersize": 9, "fillstyle": "none"} if is_second else {"markersize": 5}
        ax.plot((0, x), (0, y), color=colour, linewidth=1 if is_second else 2.5)
        ax.plot(x, y, "o", color=colour, **mark)
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
    return ax


def numbered_arrows(W: Float[Tensor, "2 features"], ax):
    """Draw the represented features in the plane as arrows, each with its number at the tip.

    Args:
        W: Weights of one instance in two hidden dimensions.
        ax: Axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: If W is not such weights.
    """
    W = drawable("W", W, ("2", "features"))
    if len(W) != 2:
        raise ValueError(f"W: expected 2 hidden dimensions, got {len(W)}")
    stored = represented(W[None])[0].nonzero()[:, 0].tolist()
    for feature in stored:
        direction = W[:, feature]
        arrow = {"arrowstyle": "-|>", "color": DEDICATED, "linewidth": 2.5, "mutation_scale": 16}
        ax.annotate("", direction.tolist(), (0, 0), arrowprops=arrow)
        tip = (direction * (1 + 0.17 / direction.norm())).tolist()
        ax.text(*tip, str(feature), ha="center", va="center", color=INK)
    ax.plot(0, 0, "o", color=INK)
    ax.text(-1.45, -1.45, f"{len(stored)} of {W.shape[1]} features stored", fontsize=SMALL)
    ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
    ax.set(xlabel="hidden dimension 1", ylabel="hidden dimension 2")
    return ax


def set_arrows(rows: dict[str, tuple[Float[Tensor, "_ 2 _"], list[str]]], note="", axes=None):
    """Draw features in the plane in many panels, members of a set of two in one colour.

    Args:
        rows: For each row its label, and W of its panels (panels, 2, features), oriented alike,
            with a title for each panel.
        note: A line below the panels.
        axes: Array of axes to draw on; a new figure by default.

    Returns:
        The figure.
    """
    if axes is None:
        columns = max(len(W) for W, _ in rows.values())
        height = WIDTH / (columns + 0.4) + 0.3
        size = WIDTH, height * len(rows)
        _, axes = plt.subplots(
            len(rows), columns, figsize=size, layout="constrained", squeeze=False
        )
    for row_axes, (label, (W, titles)) in zip(axes, rows.items()):
        for ax in row_axes[len(W) :]:
            ax.axis("off")
        for ax, weights, title in zip(row_axes, W, titles):
            plane(weights, ax=ax).set_title(title)
        row_axes[0].set_ylabel(label, size=SMALL)
    if note:
        axes[0, 0].figure.supxlabel(note)
    return axes[0, 0].figure


def space(W: Float[Tensor, "3 features"], set_size, ax):
    """Draw features in space as lines from the origin to dots, members of a set in one colour.

    Args:
        W: Weights of one instance in three hidden dimensions.
        set_size: Number of features in a set; sets are consecutive runs of features.
        ax: Three-dimensional axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: If W is not such weights.
    """
    W = drawable("W", W, ("3", "features"))
    if len(W) != 3:
        raise ValueError(f"W: expected 3 hidden dimensions, got {len(W)}")
    for feature, (x, y, z) in enumerate(W.T.tolist()):
        colour = SET_COLOURS[feature // set_size % len(SET_COLOURS)]
        ax.plot((0, x), (0, y), (0, z), color=colour, linewidth=1.5)
        ax.plot(x, y, z, "o", color=colour, markersize=5)
    for axis in np.eye(3):
        ax.plot(*np.outer(axis, (-1, 1)), color=FAINT, linewidth=0.6, zorder=0)
    ax.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1))
    ax.set_box_aspect((1, 1, 1), zoom=1.3)
    ax.axis("off")
    return ax


def geometry_graph(W: Float[Tensor, "hidden features"], ax):
    """Draw represented features as nodes, joined where |W_i . W_j| is above 0.2 (paper, Section 4).

    Edges are wider where the overlap is larger. Each connected component is laid out by itself, and
    the components stand in rows, the largest first. Colours are those of the features' polytopes.

    Args:
        W: Weights of one instance.
        ax: Axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: If W is not weights of one instance.
    """
    W = drawable("W", W, ("hidden", "features"))
    factors = tegum_factors(W)
    polytope = {feature: factor.polytope for factor in factors for feature in factor.features}
    shown = sorted(polytope)
    overlap = (W[:, shown].T @ W[:, shown]).abs().fill_diagonal_(0)
    graph = nx.from_numpy_array(torch.where(overlap > OVERLAP, overlap, 0).numpy())
    position = _packed_layout(graph)
    widths = [2.5 * graph.edges[edge]["weight"] for edge in graph.edges]
    faint = 0.12 if len(graph.edges) > 400 else 0.5
    nx.draw_networkx_edges(graph, position, ax=ax, width=widths, edge_color=INK, alpha=faint)
    colours = [polytope_colour(polytope[feature]) for feature in shown]
    style = {"node_size": 24, "edgecolors": "white", "linewidths": 0.5}
    nx.draw_networkx_nodes(graph, position, ax=ax, node_color=colours, **style)
    ax.set(aspect="equal")
    ax.axis("off")
    return ax


def _packed_layout(graph):
    """Place each component in a square whose area is its number of nodes: node -> (x, y)."""
    components = sorted(nx.connected_components(graph), key=len, reverse=True)
    sides = [math.sqrt(len(component)) for component in components]
    width = 1.15 * math.sqrt(sum(side * side for side in sides))
    position = {}
    x = 0.0
    y = 0.0
    row_height = 0.0
    for component, side in zip(components, sides):
        if x > 0 and x + side > width:
            y -= row_height
            x = 0.0
            row_height = 0.0
        part = graph.subgraph(component)
        if len(part) <= 3:
            placed = nx.circular_layout(part)
        else:
            placed = nx.spring_layout(part, seed=0, iterations=200)
        for node, (u, v) in placed.items():
            position[node] = (x + side * (0.5 + 0.36 * u), y - side * (0.5 - 0.36 * v))
        x += side
        row_height = max(row_height, side)
    return position


# Many instances over density


def dimensionality_scatter(
    density: Float[Tensor, " points"],
    W: Float[Tensor, "points hidden features"],
    polytopes,
    ax,
):
    """Draw the dimensionality of every represented feature over density (paper, Section 4).

    Args:
        density: The density of each point, above 0.
        W: Weights of one instance at each point.
        polytopes: Names of polytopes whose dimensionality has a line, beside the dedicated
            dimension's.
        ax: Axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: If `density` is not one number for each point, or W is not weights.
    """
    W = drawable("W", W, ("points", "hidden", "features"))
    density = drawable("density", density, ("points",))
    if len(density) != len(W) or not (density > 0).all():
        raise ValueError(
            f"density: expected {len(W)} numbers above 0, one for each point of W, "
            f"got shape {tuple(density.shape)}"
        )
    shown = represented(W)
    x = density[:, None].expand(shown.shape)
    # Equal features stand side by side, so that all of them stay visible.
    spread = torch.linspace(-0.008, 0.008, shown.shape[1], dtype=x.dtype).exp()
    points = (x * spread)[shown].numpy(), dimensionality(W)[shown].numpy()
    style = {"s": 26, "alpha": 0.45, "color": INK, "linewidths": 0}
    ax.scatter(*points, label="features, trained", clip_on=False, **style)
    levels = {name: POLYTOPES[name].dimensionality for name in ("dedicated dimension", *polytopes)}
    for name, level in levels.items():
        ax.axhline(level, color=FAINT, linewidth=1, zorder=0)
        label = f"{name} {Fraction(level).limit_denominator(20)}"
        where = {"xycoords": ("axes fraction", "data"), "va": _label_side(level, levels.values())}
        ax.annotate(label, (1, level), (7, 0), **where, **NOTE)
    ax.set(ylabel=r"feature dimensionality $D_i$", ylim=(0, 1.05))
    return over_density(ax, density, FINE_DENSITY_TICKS)


def _label_side(level, levels):
    """Return the side of its line on which a label stands, away from a level close to it."""
    apart = [level - other for other in levels if 0 < abs(level - other) < LABELS_APART]
    if not apart:
        return "center"
    return "bottom" if apart[0] > 0 else "top"


def polytope_areas(
    density: Float[Tensor, " points"], shares: dict[str, Float[Tensor, " points"]], ax
):
    """Draw the share of the represented features that each polytope has, stacked over density.

    Nothing is interpolated between the densities: the shares of each are drawn up to half-way to
    its neighbours on the log axis. A tick above the areas marks each density.

    Args:
        density: The density of each point, descending.
        shares: The share of each polytope at each point, by its name.
        ax: Axes to draw on.

    Returns:
        The axes.
    """
    stacked = in_palette(shares)
    colours = [polytope_colour(name) for name in stacked]
    half_way = (density[1:] * density[:-1]).sqrt()
    edges = torch.cat((density[:1], half_way, density[-1:]))
    sides = edges.repeat_interleave(2)[1:-1]  # left and right of each step
    heights = [share.repeat_interleave(2).numpy() for share in stacked.values()]
    ax.stackplot(sides.numpy(), *heights, colors=colours, linewidth=0)
    top = torch.ones_like(density).numpy()
    ax.plot(density.numpy(), top, "|", color=INK, markersize=7, clip_on=False)
    ax.set(ylim=(0, 1), ylabel="share of the\nrepresented features", facecolor=BLANK)
    over_density(ax, density, FINE_DENSITY_TICKS)
    ax.set_xlim(density[0].item(), density[-1].item())
    return ax


def polytope_colour(name) -> str:
    """Return a polytope's colour: one of its own, or the one that all others share."""
    return POLYTOPE_COLOURS.get(name, OTHER_POLYTOPE)


def polytope_legend(figure, shares: dict[str, Float[Tensor, " points"]], title, **where):
    """Add a legend with the colours of the polytopes that are present.

    Args:
        figure: Figure or axes that gets the legend.
        shares: The share of each polytope at each point, by its name.
        title: Title of the legend.
        **where: Passed on to `legend`; below the figure by default.
    """
    stacked = in_palette(shares)
    present = [name for name, share in stacked.items() if share.any()]
    handles = [Patch(color=polytope_colour(name), label=name) for name in present]
    if not sum(stacked.values()).all():
        handles.append(Patch(facecolor=BLANK, edgecolor=FAINT, label="no represented features"))
    options = {"loc": "outside lower center", "ncols": 5} | where
    figure.legend(handles=handles, title=title, **options)


def in_palette(shares: dict[str, Float[Tensor, " points"]]) -> dict[str, Float[Tensor, " points"]]:
    """Return shares in the order of the palette; polytopes without a colour share one entry."""
    nothing = torch.zeros_like(next(iter(shares.values())))
    without_colour = [share for name, share in shares.items() if name not in POLYTOPE_COLOURS]
    known = {name: shares.get(name, nothing) for name in POLYTOPE_COLOURS}
    irregular = known.pop("irregular")
    return known | {OTHERS: sum(without_colour, start=nothing), "irregular": irregular}


# Neurons (Sections 7 and 8)


def weight_text(ax, column, row, text, dark):
    """Write a number into a cell of a heat map of weights, in white where the cell is dark."""
    colour = "white" if dark else INK
    ax.text(column, row, text, ha="center", va="center", fontsize=TINY, color=colour)


def neuron_stacks(
    W: Float[Tensor, "neurons features"], values: Float[Tensor, "#neurons #features"], ax
):
    """Draw the paper's stack plot: for each neuron the absolute values of its weights (Section 7).

    Args:
        W: Weights of one instance, whose hidden dimensions are neurons. In each stack the largest
            weight is lowest.
        values: Superposition of every feature (1, features), of every neuron (neurons, 1) or of
            every weight, shown as colour. 1 or more is orange.
        ax: Axes to draw on.

    Returns:
        The axes.
    """
    W = drawable("W", W, ("neurons", "features"))
    values = drawable("values", values, ("neurons", "features"))
    heights, order = W.abs().sort(dim=1, descending=True)
    tops = heights.cumsum(dim=1)
    bottoms = tops - heights
    left = torch.arange(len(W), dtype=W.dtype)[:, None].expand_as(tops) - 0.42
    right = left + 0.84
    corners = [(left, bottoms), (right, bottoms), (right, tops), (left, tops)]
    pieces = torch.stack([torch.stack(corner, dim=2) for corner in corners], dim=2).flatten(0, 1)
    colours = values.clamp(0, 1).expand_as(W).gather(1, order).flatten()
    # A white edge would cover a piece that is smaller than it.
    edges = torch.where(heights > EDGED_PIECE * tops.max(), 0.5, 0).flatten()
    drawn = heights.flatten() > 0
    style = {
        "facecolors": SUPERPOSITION(colours[drawn].numpy()),
        "linewidths": edges[drawn].tolist(),
    }
    ax.add_collection(PolyCollection(pieces[drawn].numpy(), edgecolors="white", **style))
    ax.set(xlim=(-0.7, len(W) - 0.3), ylim=(0, 1.05 * max(tops.max().item(), 1e-9)))
    ax.set(xlabel="neuron", ylabel="weights $|W|$, stacked")
    return ax


# Text in place of a figure


def described(figure, sentence) -> Figure:
    """Give a figure its alternative text, for readers who do not see it, and return the figure.

    Args:
        figure: The figure, whose label becomes the text.
        sentence: What the figure shows, in one sentence.
    """
    figure.set_label(sentence)
    return figure


def show_alternative_text():
    """Have the running notebook store the text of `described` beside each figure, as `alt`."""
    from IPython import get_ipython  # here, because only notebooks need it

    shell = get_ipython()
    shell.run_line_magic("matplotlib", "inline")
    formatter = shell.display_formatter.formatters["image/png"]
    draw = formatter.lookup_by_type(Figure)
    formatter.for_type(Figure, lambda figure: (draw(figure), {"alt": figure.get_label()}))
