"""Figures, drawn from data: trains nothing and changes none of its inputs.

One palette throughout: how far a feature is represented is the strength of a colour, how much it
shares its direction with others (its superposition) is the hue, from blue to orange. Colours stay apart for
colour-blind readers (tests/test_palette.py). Importing this module sets the style of matplotlib's figures.
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
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from torch import Tensor

from geometry import dimensionality, represented
from theory.polytopes import POLYTOPES, tegum_factors

BLANK = "#f3f1ec"  # not represented
DEDICATED = "#23497d"  # a dimension of its own
SHARED = "#f0a122"  # in superposition
INK, FAINT = "#2b2b2b", "#bbb9a9"
SUPERPOSITION = LinearSegmentedColormap.from_list("superposition", [DEDICATED, "#8a9a6b", SHARED])
WEIGHTS = "RdBu_r"  # signed values: blue negative, red positive
SUPERPOSITION_LABEL = r"superposition $\sum_{j\neq i}(\hat W_i\cdot W_j)^2$ (1 or more: orange)"
POLYTOPE_COLOURS = {
    "dedicated dimension": DEDICATED,
    "tetrahedron": "#8e58cf",
    "triangle": "#b5628d",
    "digon": SHARED,
    "pentagon": "#2f9453",
    "square antiprism": "#4cbbd0",
    "irregular": FAINT,
}
OTHERS, OTHER_POLYTOPE = "another polytope", "#754327"
PIECE_WITH_EDGE = (
    0.015  # of a stack plot: pieces higher than this share of the highest stack have a white edge
)
SET_COLOURS = (
    DEDICATED,
    SHARED,
    POLYTOPE_COLOURS["pentagon"],
    POLYTOPE_COLOURS["tetrahedron"],
)  # members share one
WIDTH = 10  # inches: the width of a full figure, at which 9 points are 11 pixels on GitHub
SMALL, TINY = 9, 8  # points: notes within a figure; what stands in cells
STYLE = {
    "figure.facecolor": "white",  # opaque, legible on a dark page
    "savefig.facecolor": "white",
    "text.color": INK,
    "axes.labelcolor": INK,
    **dict.fromkeys(("font.size", "axes.titlesize", "figure.titlesize", "figure.labelsize"), 10),
    **dict.fromkeys(
        ("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), SMALL
    ),
    "legend.handlelength": 1.6,
    "lines.markersize": 4,
}
plt.rcParams.update(STYLE)
NOTE = {  # of a note beside a point of the data, legible on top of lines
    "textcoords": "offset points",
    "fontsize": SMALL,
    "path_effects": [withStroke(linewidth=2.5, foreground="white")],
}
DENSITY_TICKS = (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
INVERSE_DENSITY_TICKS = (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20)


def polytope_areas(
    inverse_density: Float[Tensor, " points"], shares: dict[str, Float[Tensor, " points"]], ax
):
    """Which share of the represented features is in which polytope, stacked."""
    stacked = in_palette(shares)
    colours = [polytope_colour(name) for name in stacked]
    ax.stackplot(
        inverse_density.numpy(), *[s.numpy() for s in stacked.values()], colors=colours, linewidth=0
    )
    ax.set(ylim=(0, 1), ylabel="share of the\nrepresented features", facecolor=BLANK)
    return over_inverse_density(ax)


def polytope_colour(name):
    """The palette's colour of a polytope, one for all that have none of their own."""
    return POLYTOPE_COLOURS.get(name, OTHER_POLYTOPE)


def polytope_legend(figure, shares: dict[str, Float[Tensor, " points"]], title, **where):
    """The colours of the polytopes that are there, and of none where none is; below a figure, or elsewhere."""
    stacked = in_palette(shares)
    handles = [
        Patch(color=polytope_colour(name), label=name)
        for name, share in stacked.items()
        if share.any()
    ]
    if not sum(stacked.values()).all():
        handles.append(Patch(facecolor=BLANK, edgecolor=FAINT, label="no represented features"))
    figure.legend(
        handles=handles, title=title, **{"loc": "outside lower center", "ncols": 5} | where
    )


def in_palette(shares: dict[str, Float[Tensor, " points"]]) -> dict[str, Float[Tensor, " points"]]:
    """Shares in the order of the palette, polytopes without a colour of their own as one."""
    total = torch.zeros_like(next(iter(shares.values())))
    others = sum(
        (share for name, share in shares.items() if name not in POLYTOPE_COLOURS), start=total
    )
    known = {name: shares.get(name, total) for name in POLYTOPE_COLOURS}
    irregular = known.pop("irregular")
    return known | {OTHERS: others, "irregular": irregular}


def over_density(ax, density: Float[Tensor, " points"], ticks=DENSITY_TICKS):
    """Density on a log axis, sparser to the right."""
    high, low = 1.1 * density.max().item(), density.min().item() / 1.1
    ax.set(xscale="log", xlim=(high, low), xlabel="density $1-S$ (log scale)")
    plain_ticks(ax.xaxis, [tick for tick in ticks if low <= tick <= high])
    return ax


def over_inverse_density(ax, ticks=INVERSE_DENSITY_TICKS):
    """1/(1-S) on a log axis."""
    ax.set(xscale="log", xlabel="$1/(1-S)$ (log scale)")
    plain_ticks(ax.xaxis, ticks)
    return ax


def plain_ticks(axis, ticks):
    """Ticks of a log axis at some numbers, written as they are, and nowhere else."""
    axis.set_ticks([], minor=True)
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])


def nearest(values: Float[Tensor, " points"], wanted) -> Int[Tensor, " wanted"]:
    """Index of the point nearest to each of some numbers, on a log axis."""
    return (
        (values[:, None].log() - torch.tensor(wanted, dtype=values.dtype).log()).abs().argmin(dim=0)
    )


def dimensionality_scatter(
    inverse_density: Float[Tensor, " points"],
    W: Float[Tensor, "points hidden features"],
    polytopes,
    ax,
):
    """The dimensionality of every represented feature over 1/(1-S), with a line for each polytope."""
    shown = represented(W)
    x = inverse_density[:, None].expand(shown.shape)
    spread = torch.linspace(
        -0.008, 0.008, shown.shape[1], dtype=x.dtype
    ).exp()  # so that equal features stay visible
    points = (x * spread)[shown].numpy(), dimensionality(W)[shown].numpy()
    ax.scatter(*points, s=26, alpha=0.45, color=INK, linewidths=0, label="features, trained")
    lines = {name: POLYTOPES[name].dimensionality for name in ("dedicated dimension", *polytopes)}
    for name, value in lines.items():
        apart = [
            value - other for other in lines.values() if 0 < abs(value - other) < 0.04
        ]  # labels would overlap
        ax.axhline(value, color=FAINT, linewidth=1, zorder=0)
        side = ("bottom" if apart[0] > 0 else "top") if apart else "center"
        label = f"{name} {Fraction(value).limit_denominator(20)}"
        ax.annotate(label, (1, value), (4, 0), xycoords=("axes fraction", "data"), va=side, **NOTE)
    ax.set(ylabel=r"feature dimensionality $D_i$", ylim=(0, 1.05))
    return over_inverse_density(ax)


def geometry_graph(W: Float[Tensor, "hidden features"], ax):
    """Represented features of one instance as nodes, |W_i . W_j| above 0.2 as edges, wider where larger.

    Each connected component is laid out by itself, the components in rows, largest first.
    """
    polytope = {
        feature: factor.polytope for factor in tegum_factors(W) for feature in factor.features
    }
    shown = sorted(polytope)
    overlap = (W[:, shown].T @ W[:, shown]).abs().fill_diagonal_(0)
    graph = nx.from_numpy_array(torch.where(overlap > 0.2, overlap, 0).numpy())
    position = _packed_layout(graph)
    widths = [2.5 * graph.edges[edge]["weight"] for edge in graph.edges]
    faint = 0.12 if len(graph.edges) > 400 else 0.5
    nx.draw_networkx_edges(graph, position, ax=ax, width=widths, edge_color=INK, alpha=faint)
    colours = [polytope_colour(polytope[feature]) for feature in shown]
    nx.draw_networkx_nodes(
        graph, position, ax=ax, node_size=24, node_color=colours, edgecolors="white", linewidths=0.5
    )
    ax.set(aspect="equal")
    ax.axis("off")
    return ax


def _packed_layout(graph):
    """node -> (x, y): each component in a square of its own, as large as its number of nodes asks."""
    position, x, y, row_height = {}, 0.0, 0.0, 0.0
    components = sorted(nx.connected_components(graph), key=len, reverse=True)
    side = {k: math.sqrt(len(component)) for k, component in enumerate(components)}
    width = 1.15 * math.sqrt(sum(s * s for s in side.values()))
    for k, component in enumerate(components):
        if x > 0 and x + side[k] > width:
            x, y, row_height = 0.0, y - row_height, 0.0
        part = graph.subgraph(component)
        placed = (
            nx.circular_layout(part)
            if len(part) <= 3
            else nx.spring_layout(part, seed=0, iterations=200)
        )
        for node, (u, v) in placed.items():
            position[node] = (x + side[k] * (0.5 + 0.36 * u), y - side[k] * (0.5 - 0.36 * v))
        x, row_height = x + side[k], max(row_height, side[k])
    return position


# Non-uniform superposition (Section 4)


def set_arrows(rows: dict[str, tuple[Float[Tensor, "_ 2 _"], list[str]]], note="", axes=None):
    """Features in the plane in many panels, members of a set of two in one colour.

    rows: label -> W of its panels, oriented alike, and a title for each panel; note: a line below
    """
    if axes is None:
        columns = max(len(W) for W, _ in rows.values())
        height = WIDTH / (columns + 0.4) + 0.3
        _, axes = plt.subplots(
            len(rows),
            columns,
            figsize=(WIDTH, height * len(rows)),
            layout="constrained",
            squeeze=False,
        )
    for of_row, (label, (W, titles)) in zip(axes, rows.items()):
        for ax in of_row[len(W) :]:
            ax.axis("off")
        for ax, weights, title in zip(of_row, W, titles):
            plane(weights, ax=ax).set_title(title)
        of_row[0].set_ylabel(label, size=SMALL)
    if note:
        axes[0, 0].figure.supxlabel(note)
    return axes[0, 0].figure


def plane(W: Float[Tensor, "2 features"], ax):
    """The features of one instance as lines from the origin to the dot and the ring of each set."""
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=FAINT, linewidth=0.6, linestyle=":"))
    for feature, (x, y) in enumerate(W.T.tolist()):
        colour, second = SET_COLOURS[feature // 2 % len(SET_COLOURS)], feature % 2
        ax.plot((0, x), (0, y), color=colour, linewidth=1 if second else 2.5)
        ax.plot(
            x,
            y,
            "o",
            color=colour,
            markersize=9 if second else 5,
            fillstyle="none" if second else "full",
        )
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
    return ax


# Learning dynamics (Section 5)


def over_steps(
    steps: Int[Tensor, " records"], values: Float[Tensor, "records curves"], ax, **style
):
    """Curves over the steps of training, on a log axis, which step 0 is not on."""
    shown = steps > 0
    ax.plot(steps[shown].numpy(), values[shown].numpy(), **style)
    ax.set(xscale="log", xlabel="training step (log scale)")
    return ax


def space(W: Float[Tensor, "3 features"], set_size, ax):
    """The features of one instance as lines from the origin to dots in space, members of a set in one colour."""
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


# Neurons (Sections 7 and 8)


def weight_text(ax, column, row, text, dark):
    """A number in a cell of a heat map of weights, white where the cell is dark."""
    ax.text(
        column, row, text, ha="center", va="center", fontsize=TINY, color="white" if dark else INK
    )


def neuron_stacks(
    W: Float[Tensor, "neurons features"], values: Float[Tensor, "#neurons #features"], ax
):
    """The paper's stack plot: a bar for each neuron, made of the absolute values of its weights, the largest lowest.

    values: superposition of every feature (1, features), of every neuron (neurons, 1) or of every weight, as colour:
            1 or more is orange
    """
    heights, order = W.abs().sort(dim=1, descending=True)
    tops = heights.cumsum(dim=1)
    left = torch.arange(len(W), dtype=W.dtype)[:, None].expand_as(tops) - 0.42
    right, bottoms = left + 0.84, tops - heights
    corners = [(left, bottoms), (right, bottoms), (right, tops), (left, tops)]
    pieces = torch.stack([torch.stack(corner, dim=2) for corner in corners], dim=2).flatten(0, 1)
    colours = values.clamp(0, 1).expand_as(W).gather(1, order).flatten()
    edges = torch.where(
        heights > PIECE_WITH_EDGE * tops.max(), 0.5, 0
    ).flatten()  # edges would cover smaller ones
    drawn = heights.flatten() > 0
    style = {
        "facecolors": SUPERPOSITION(colours[drawn].numpy()),
        "linewidths": edges[drawn].tolist(),
    }
    ax.add_collection(PolyCollection(pieces[drawn].numpy(), edgecolors="white", **style))
    ax.set(xlim=(-0.7, len(W) - 0.3), ylim=(0, 1.05 * max(tops.max().item(), 1e-9)))
    ax.set(xlabel="neuron", ylabel="weights $|W|$, stacked")
    return ax
