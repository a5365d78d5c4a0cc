"""Figures, drawn from data: trains nothing and changes none of its inputs.

One palette throughout: how far a feature is represented is the strength of a colour, how much it
shares its direction with others (its superposition) is the hue, from blue to orange.
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
from torch import Tensor

from geometry import dimensionality, represented
from polytopes import POLYTOPES, tegum_factors

BLANK = "#f3f1ec"  # not represented
DEDICATED = "#23538f"  # a dimension of its own
SHARED = "#f0a01f"  # in superposition
INK, FAINT = "#2b2b2b", "#b9b5ab"
SUPERPOSITION = LinearSegmentedColormap.from_list("superposition", [DEDICATED, "#8a9a6b", SHARED])
WEIGHTS = "RdBu_r"  # signed values: blue negative, red positive
SUPERPOSITION_LABEL = r"superposition $\sum_{j\neq i}(\hat W_i\cdot W_j)^2$ (1 or more: orange)"
POLYTOPE_COLOURS = {
    "dedicated dimension": DEDICATED,
    "tetrahedron": "#7a4fa3",
    "triangle": "#c2437a",
    "digon": SHARED,
    "pentagon": "#3a9a5b",
    "square antiprism": "#4fb6c4",
    "irregular": FAINT,
}
OTHERS, OTHER_POLYTOPE = "another polytope", "#7b4a2d"
PIECE_WITH_EDGE = 0.015  # of a stack plot: pieces higher than this share of the highest stack have a white edge
WIDTH = 11  # inches: the width of a full figure
DENSITY_TICKS = (1, 0.5, 0.2, 0.1, 0.05, 0.02)
INVERSE_DENSITY_TICKS = (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20)


def polytope_areas(inverse_density: Float[Tensor, " points"], shares: dict[str, Float[Tensor, " points"]], ax):
    """Which share of the represented features is in which polytope, stacked."""
    stacked = in_palette(shares)
    colours = [polytope_colour(name) for name in stacked]
    ax.stackplot(inverse_density.numpy(), *[s.numpy() for s in stacked.values()], colors=colours, linewidth=0)
    ax.set(ylim=(0, 1), ylabel="share of the\nrepresented features")
    return over_inverse_density(ax)


def polytope_colour(name):
    """The palette's colour of a polytope, one for all that have none of their own."""
    return POLYTOPE_COLOURS.get(name, OTHER_POLYTOPE)


def polytope_legend(figure, title):
    """The colours of polytopes, below a figure."""
    names = in_palette({name: torch.zeros(1) for name in POLYTOPE_COLOURS})
    handles = [Patch(color=polytope_colour(name), label=name) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, title=title)


def in_palette(shares: dict[str, Float[Tensor, " points"]]) -> dict[str, Float[Tensor, " points"]]:
    """Shares in the order of the palette, polytopes without a colour of their own as one."""
    total = torch.zeros_like(next(iter(shares.values())))
    others = sum((share for name, share in shares.items() if name not in POLYTOPE_COLOURS), start=total)
    known = {name: shares.get(name, total) for name in POLYTOPE_COLOURS}
    irregular = known.pop("irregular")
    return known | {OTHERS: others, "irregular": irregular}


def over_inverse_density(ax, ticks=INVERSE_DENSITY_TICKS):
    """1/(1-S) on a log axis."""
    ax.set(xscale="log", xlabel="$1/(1-S)$ (log scale)")
    plain_ticks(ax.xaxis, ticks)
    return ax


def over_density(ax, ticks=DENSITY_TICKS):
    """Density on a log axis."""
    ax.set(xscale="log", xlabel="density $1-S$ (log scale)")
    plain_ticks(ax.xaxis, ticks)


def plain_ticks(axis, ticks):
    """Ticks of a log axis at some numbers, written as they are, and nowhere else."""
    axis.set_ticks([], minor=True)
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])


def nearest(values: Float[Tensor, " points"], wanted) -> Int[Tensor, " wanted"]:
    """Index of the point nearest to each of some numbers, on a log axis."""
    return (values[:, None].log() - torch.tensor(wanted, dtype=values.dtype).log()).abs().argmin(dim=0)


def dimensionality_scatter(
    inverse_density: Float[Tensor, " points"], W: Float[Tensor, "points hidden features"], polytopes, ax
):
    """The dimensionality of every represented feature over 1/(1-S), with a line for each polytope."""
    shown = represented(W)
    x = inverse_density[:, None].expand(shown.shape)
    spread = torch.linspace(-0.008, 0.008, shown.shape[1], dtype=x.dtype).exp()  # so that equal features stay visible
    ax.scatter(
        (x * spread)[shown].numpy(), dimensionality(W)[shown].numpy(), s=16, alpha=0.4, color=DEDICATED, linewidths=0
    )
    lines = {name: POLYTOPES[name].dimensionality for name in ("dedicated dimension", *polytopes)}
    for name, value in lines.items():
        apart = [value - other for other in lines.values() if 0 < abs(value - other) < 0.04]  # labels would overlap
        ax.axhline(value, color=SHARED, linewidth=1, zorder=0)
        side = ("bottom" if apart[0] > 0 else "top") if apart else "center"
        style = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "fontsize": 8.5}
        label = f"{name} {Fraction(value).limit_denominator(20)}"
        ax.annotate(label, (1, value), (4, 0), va=side, color=INK, **style)
    ax.set(ylabel=r"feature dimensionality $D_i$", ylim=(0, 1.05))
    return over_inverse_density(ax)


def geometry_graph(W: Float[Tensor, "hidden features"], ax):
    """Represented features of one instance as nodes, |W_i . W_j| above 0.2 as edges, wider where larger.

    Each connected component is laid out by itself, the components in rows, largest first.
    """
    polytope = {feature: factor.polytope for factor in tegum_factors(W) for feature in factor.features}
    shown = sorted(polytope)
    overlap = (W[:, shown].T @ W[:, shown]).abs().fill_diagonal_(0)
    graph = nx.from_numpy_array(torch.where(overlap > 0.2, overlap, 0).numpy())
    position = _packed_layout(graph)
    widths = [2.5 * graph.edges[edge]["weight"] for edge in graph.edges]
    faint = 0.12 if len(graph.edges) > 400 else 0.5
    nx.draw_networkx_edges(graph, position, ax=ax, width=widths, edge_color=INK, alpha=faint)
    colours = [polytope_colour(polytope[feature]) for feature in shown]
    nx.draw_networkx_nodes(graph, position, ax=ax, node_size=24, node_color=colours, edgecolors="white", linewidths=0.5)
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
        placed = nx.circular_layout(part) if len(part) <= 3 else nx.spring_layout(part, seed=0, iterations=200)
        for node, (u, v) in placed.items():
            position[node] = (x + side[k] * (0.5 + 0.36 * u), y - side[k] * (0.5 - 0.36 * v))
        x, row_height = x + side[k], max(row_height, side[k])
    return position


# Non-uniform superposition (Section 4)


SET_COLOURS = (DEDICATED, SHARED, "#3a9a5b", "#7a4fa3")  # members of a set share one


def set_arrows(rows: dict[str, tuple[Float[Tensor, "_ 2 _"], list[str]]], note="", axes=None):
    """Features in the plane in many panels, members of a set of two in one colour.

    rows: label -> W of its panels, oriented alike, and a title for each panel; note: a line below
    """
    if axes is None:
        columns = max(len(W) for W, _ in rows.values())
        height = WIDTH / (columns + 0.4) + 0.3
        _, axes = plt.subplots(
            len(rows), columns, figsize=(WIDTH, height * len(rows)), layout="constrained", squeeze=False
        )
    for of_row, (label, (W, titles)) in zip(axes, rows.items()):
        for ax in of_row[len(W) :]:
            ax.axis("off")
        for ax, weights, title in zip(of_row, W, titles):
            plane(weights, ax=ax).set_title(title, fontsize=9)
        of_row[0].set_ylabel(label, fontsize=9)
    if note:
        axes[0, 0].figure.supxlabel(note, fontsize=10)
    return axes[0, 0].figure


def plane(W: Float[Tensor, "2 features"], ax):
    """The features of one instance as lines from the origin to the dot and the ring of each set."""
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=FAINT, linewidth=0.6, linestyle=":"))
    for feature, (x, y) in enumerate(W.T.tolist()):
        colour, second = SET_COLOURS[feature // 2 % len(SET_COLOURS)], feature % 2
        ax.plot((0, x), (0, y), color=colour, linewidth=1 if second else 2.5)
        ax.plot(x, y, "o", color=colour, markersize=9 if second else 5, fillstyle="none" if second else "full")
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
    return ax


# Learning dynamics (Section 5)


def over_steps(steps: Int[Tensor, " records"], values: Float[Tensor, "records curves"], ax, **style):
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


def neuron_stacks(W: Float[Tensor, "neurons features"], values: Float[Tensor, "#neurons #features"], ax):
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
    edges = torch.where(heights > PIECE_WITH_EDGE * tops.max(), 0.5, 0).flatten()  # edges would cover smaller ones
    drawn = heights.flatten() > 0
    style = {"facecolors": SUPERPOSITION(colours[drawn].numpy()), "linewidths": edges[drawn].tolist()}
    ax.add_collection(PolyCollection(pieces[drawn].numpy(), edgecolors="white", **style))
    ax.set(xlim=(-0.7, len(W) - 0.3), ylim=(0, 1.05 * max(tops.max().item(), 1e-9)))
    ax.set(xlabel="neuron", ylabel="weights $|W|$, stacked")
    return ax
