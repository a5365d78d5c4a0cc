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
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.lines import Line2D

from geometry import (
    POLYTOPES,
    REPRESENTED_NORM,
    dimensionality,
    dimensions_per_feature,
    feature_norms,
    in_superposition,
    interference,
    represented,
    tegum_factors,
)

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
OTHER_POLYTOPE = "#7b4a2d"
STUDY_MEASURES = {
    "restarts in the global optimum": FAINT,
    "points where the mean agrees with the exact optimum": DEDICATED,
    "points where the best restart agrees": SHARED,
}
WIDTH = 11  # inches: the width of a full figure
INVERSE_DENSITY_TICKS = (1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20)


def superposition_panels(W, b, titles, columns=4):
    """W^T W and b as heat maps over bars of ||W_i||, one panel an instance (the paper's figure in Section 2).

    W (instances, hidden, features), b (instances, features); titles: one an instance
    """
    rows = math.ceil(len(W) / columns)
    figure = plt.figure(figsize=(WIDTH, 3.9 * rows + 0.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 0.09))
    panels = np.atleast_1d(left.subfigures(rows, columns, wspace=0.03, hspace=0.03)).ravel()
    norms, superposition = feature_norms(W), interference(W)
    for k, (panel, title) in enumerate(zip(panels, titles)):
        heat, bias, bars, empty = panel.subplots(2, 2, width_ratios=(1, 0.08), height_ratios=(1, 0.6)).ravel()
        empty.axis("off")
        heat.imshow((W[k].T @ W[k]).numpy(), cmap=WEIGHTS, vmin=-1, vmax=1)
        bias.imshow(b[k, :, None].numpy(), cmap=WEIGHTS, vmin=-1, vmax=1, aspect="auto")
        heat.set(title=title, xticks=[], yticks=[], ylabel=r"$W^T W$" if k % columns == 0 else "")
        bias.set(title="$b$", xticks=[], yticks=[])
        norm_bars(norms[k], superposition[k], ax=bars)
        if k % columns:
            bars.set(ylabel="")
    scales = ((WEIGHTS, Normalize(-1, 1), "$W^T W$ and $b$"), (SUPERPOSITION, Normalize(0, 1), SUPERPOSITION_LABEL))
    for ax, (colours, scale, label) in zip(right.subplots(2, 1), scales):
        right.colorbar(plt.cm.ScalarMappable(scale, colours), cax=ax, label=label)
    return figure


def norm_bars(norms, superposition, ax=None):
    """||W_i|| of one instance as bars, coloured by superposition; norms, superposition (features,)."""
    ax = ax or plt.subplots(layout="constrained")[1]
    ax.bar(range(len(norms)), norms.numpy(), width=0.85, color=SUPERPOSITION(superposition.clamp(0, 1).numpy()))
    ax.axhline(REPRESENTED_NORM, color=FAINT, linewidth=0.8, linestyle=":")
    ax.set(ylim=(0, 1.25), xlim=(-0.6, len(norms) - 0.4))
    ax.set(xlabel="feature $i$, most important first", ylabel=r"$\|W_i\|$")
    return ax


def feature_arrows(W, importance, densities):
    """The columns of W as arrows in the plane, one panel an instance (the paper's introduction).

    W (instances, 2, features), importance (features,), densities (instances,)
    """
    figure, axes = plt.subplots(1, len(W), figsize=(WIDTH, WIDTH / len(W) + 0.6), layout="constrained", squeeze=False)
    scale = Normalize(float(importance.min()), float(importance.max()))
    colours = plt.get_cmap("viridis_r")
    for ax, weights, density in zip(axes[0], W, densities):
        for direction, weight in zip(weights.T.tolist(), importance.tolist()):
            ax.annotate(
                "",
                direction,
                (0, 0),
                arrowprops={"arrowstyle": "-|>", "color": colours(scale(weight)), "linewidth": 2.5},
            )
        ax.plot(0, 0, "o", color=INK, markersize=3)
        ax.set(
            xlim=(-1.3, 1.3),
            ylim=(-1.3, 1.3),
            aspect="equal",
            title=f"density {density:g}  (sparsity $S={1 - density:g}$)",
        )
        ax.set(xlabel="hidden dimension 1", ylabel="hidden dimension 2")
    figure.colorbar(plt.cm.ScalarMappable(scale, colours), ax=axes, label="importance $I_i$", shrink=0.8)
    return figure


def represented_counts(densities, stacks):
    """How many features a ReLU output model represents, and how many of these share, against density.

    densities (instances,); stacks: W (instances, hidden, features) for each panel
    """
    figure, axes = plt.subplots(1, len(stacks), figsize=(WIDTH, 3.6), layout="constrained", squeeze=False)
    for ax, W in zip(axes[0], stacks):
        counts = represented(W).sum(dim=1), in_superposition(W).sum(dim=1)
        x, all_shown, all_sharing = (values.numpy() for values in (densities, *counts))
        ax.fill_between(x, all_sharing, all_shown, color=DEDICATED, label="with a dimension of its own")
        ax.fill_between(x, all_sharing, color=SHARED, label="in superposition")
        ax.plot(x, all_shown, "o", color=INK, markersize=4)
        ax.axhline(W.shape[1], color=INK, linewidth=1, linestyle="--", label="hidden dimensions $m$")
        ax.set(xscale="log", xlim=(x.max(), x.min()), ylim=(0, None), title=f"$n={W.shape[2]}$, $m={W.shape[1]}$")
        ax.set(xlabel="density $1-S$ (log scale, sparser to the right)", ylabel="represented features")
    axes[0, 0].legend(loc="upper left")
    return figure


def uniform_superposition(inverse_density, W, polytopes, axes=None):
    """D* = m / ||W||_F^2 and every feature's dimensionality over 1/(1-S) (the paper's figures in Section 4).

    inverse_density (instances,), W (instances, hidden, features); polytopes: names whose
    dimensionality gets a line. axes: two, above each other. -> Figure
    """
    if axes is None:
        _, axes = plt.subplots(2, 1, figsize=(WIDTH, 9), sharex=True, height_ratios=(1, 2), layout="constrained")
    curve, scatter = axes
    x = inverse_density.numpy()
    curve.plot(x, dimensions_per_feature(W).numpy(), "o-", color=INK, markersize=3, linewidth=1)
    for value, name in ((1, "dedicated dimensions"), (0.5, "antipodal pairs")):
        curve.axhline(value, color=FAINT, linewidth=0.8)
        curve.annotate(name, (x.max(), value), xytext=(-4, 3), textcoords="offset points", ha="right", color=INK)
    curve.set(ylabel=r"dimensions per feature $D^*=m/\|W\|_F^2$", ylim=(0, 1.15))
    dimensionality_scatter(inverse_density, W, polytopes, ax=scatter)
    return scatter.figure


def dimensionality_scatter(inverse_density, W, polytopes, ax=None):
    """The dimensionality of every represented feature over 1/(1-S), with a line for each polytope."""
    ax = ax or plt.subplots(layout="constrained")[1]
    shown = represented(W)
    x = inverse_density[:, None].expand(shown.shape)
    spread = torch.linspace(-0.008, 0.008, shown.shape[1], dtype=x.dtype).exp()  # so that equal features stay visible
    ax.scatter(
        (x * spread)[shown].numpy(), dimensionality(W)[shown].numpy(), s=5, alpha=0.25, color=DEDICATED, linewidths=0
    )
    for name in ("dedicated dimension", *polytopes):
        value = POLYTOPES[name].dimensionality
        ax.axhline(value, color=SHARED, linewidth=1, zorder=0)
        ax.annotate(
            f"{name} {Fraction(value).limit_denominator(20)}",
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=8.5,
        )
    ax.set(xscale="log", xlabel="$1/(1-S)$ (log scale)", ylabel=r"feature dimensionality $D_i$", ylim=(0, 1.05))
    ax.set_xticks(INVERSE_DENSITY_TICKS, labels=map(str, INVERSE_DENSITY_TICKS))
    ax.set_xticks([], minor=True)
    return ax


def geometry_graphs(inverse_density, W, columns=3):
    """The feature geometry graph of each instance: inverse_density (instances,), W (instances, hidden, features)."""
    rows = math.ceil(len(W) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, 4.1 * rows), layout="constrained", squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, at, weights in zip(axes.flat, inverse_density, W):
        geometry_graph(weights, ax=ax)
        ax.set_title(f"$1/(1-S)={at:.2f}$")
    marks = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=name) for name, colour in POLYTOPE_COLOURS.items()
    ]
    marks.append(Line2D([], [], marker="o", linestyle="", color=OTHER_POLYTOPE, label="another polytope"))
    title = r"Nodes are represented features, by the polytope they belong to; edges are $|W_i\cdot W_j|>0.2$."
    figure.legend(handles=marks, loc="outside lower center", ncols=4, title=title)
    return figure


def geometry_graph(W, ax=None, threshold=0.2):
    """Represented features of one instance as nodes, |W_i . W_j| as edges, wider where larger; W (hidden, features).

    Each connected component is laid out by itself, the components in rows, largest first.
    """
    ax = ax or plt.subplots(layout="constrained")[1]
    polytope = {feature: factor.polytope for factor in tegum_factors(W) for feature in factor.features}
    shown = sorted(polytope)
    overlap = (W[:, shown].T @ W[:, shown]).abs().fill_diagonal_(0)
    graph = nx.from_numpy_array(torch.where(overlap > threshold, overlap, 0).numpy())
    position = _packed_layout(graph)
    widths = [2.5 * graph.edges[edge]["weight"] for edge in graph.edges]
    faint = 0.12 if len(graph.edges) > 400 else 0.5
    nx.draw_networkx_edges(graph, position, ax=ax, width=widths, edge_color=INK, alpha=faint)
    colours = [POLYTOPE_COLOURS.get(polytope[feature], OTHER_POLYTOPE) for feature in shown]
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


def phase_colours(norm, superposition):
    """RGB of a feature by norm (strength) and superposition (hue), any shape -> (..., 3)."""
    strength = norm.clamp(0, 1).numpy()[..., None]
    hue = np.asarray(SUPERPOSITION(superposition.clamp(0, 1).numpy()))[..., :3]
    return (1 - strength) * np.array(to_rgb(BLANK)) + strength * hue


def phase_diagram(density, ratio, norm, superposition, ax=None):
    """The last feature's phase over density and relative importance (the paper's figures in Section 3).

    All (points,) of a square grid, importance varying fastest.
    """
    ax = ax or plt.subplots(layout="constrained")[1]
    colours = phase_colours(*(values.view(_side(density), -1) for values in (norm, superposition)))
    _over_grid(density, ratio, colours.swapaxes(0, 1), ax)
    return ax


def share_map(density, ratio, share, ax=None):
    """Share of restarts that end in the global optimum, (points,) of a square grid."""
    ax = ax or plt.subplots(layout="constrained")[1]
    image = _over_grid(density, ratio, share.view(_side(density), -1).T.numpy(), ax, cmap="cividis", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, label="share of restarts", fraction=0.046)
    return ax


def phase_diagrams(density, ratio, diagrams, share):
    """The diagrams of one case side by side, the share of restarts in the global optimum, and the key.

    density, ratio, share (points,) of a square grid; diagrams: title -> norm, superposition (points,)
    """
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 7.4), layout="constrained")
    panels = (axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1])
    for ax, (title, (norm, superposition)) in zip(panels, diagrams.items()):
        phase_diagram(density, ratio, norm, superposition, ax=ax).set_title(title)
    phase_key(axes[0, 2])
    share_map(density, ratio, share, ax=axes[1, 2]).set_title("restarts in the global optimum")
    return figure


def phase_key(ax):
    """What the colours of a phase diagram mean."""
    norm, superposition = torch.meshgrid(torch.linspace(0, 1, 60), torch.linspace(0, 1, 60), indexing="ij")
    ax.imshow(phase_colours(norm, superposition), origin="lower", extent=(0, 1, 0, 1), aspect="equal")
    for x, y, text, colour in (
        (0.5, 0.12, "not represented", INK),
        (0.27, 0.9, "dedicated\ndimension", "white"),
        (0.77, 0.9, "in\nsuperposition", INK),
    ):
        ax.text(x, y, text, ha="center", va="center", color=colour, fontsize=9)
    ax.set(title="last feature", xlabel=SUPERPOSITION_LABEL.split(" (")[0], ylabel=r"norm $\|W_i\|$")
    return ax


def boundary_figure(density, onset, ratio, before, after, kink, named):
    """Where the second feature of n=2, m=1 appears, how |w_2| jumps, the kink of the loss there; all (densities,).

    The curves of the jump have a gap where there is none.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.8), layout="constrained")
    where, jump, slope = axes
    x = density.numpy()
    ratio, before, after = (torch.where(kink > 0, values, torch.nan) for values in (ratio, before, after))
    where.plot(x, named.numpy(), color=FAINT, linewidth=4, label="named solutions cross")
    where.plot(x, onset.numpy(), ":", color=INK, label="$|w_2|$ leaves zero")
    where.plot(x, ratio.numpy(), "o-", color=DEDICATED, markersize=3, label="largest jump of $|w_2|$")
    where.set(yscale="log", ylabel="relative importance $r$ (log scale)")
    where.legend(fontsize=8)
    jump.fill_between(x, before.numpy(), after.numpy(), color=SHARED, alpha=0.3)
    jump.plot(x, after.numpy(), "o-", color=SHARED, markersize=3, label="after")
    jump.plot(x, before.numpy(), "o-", color=DEDICATED, markersize=3, label="before")
    jump.set(ylabel="$|w_2|$ on either side of the jump", ylim=(-0.03, 1.05))
    jump.legend(fontsize=8)
    slope.plot(x, kink.numpy(), "o-", color=DEDICATED, markersize=3)
    slope.set(ylabel="kink: fall of $dL/dr$ over $s/3-s^2/4$", ylim=(-0.02, None))
    for ax in axes:
        ax.set(xscale="log", xlabel="density $1-S$ (log scale)", xlim=(x.max(), x.min()))
    return figure


def study_figure(values, cases):
    """How training settings fare, one panel a case; values: setting -> (cases, 3), what STUDY_MEASURES says."""
    figure, axes = plt.subplots(1, len(cases), figsize=(WIDTH, 3.6), layout="constrained", sharey=True)
    rows = np.arange(len(values))
    for ax, case, shown in zip(axes, cases, torch.stack(list(values.values()), dim=1)):
        for (label, colour), column, shift in zip(STUDY_MEASURES.items(), shown.T.numpy(), (-0.25, 0, 0.25)):
            ax.barh(rows + shift, column, height=0.23, color=colour, label=label)
        ax.axvline(0.95, color=INK, linewidth=0.8, linestyle=":")
        ax.set(title=case, xlim=(0, 1), xlabel="share (dotted line: 0.95)", yticks=rows, yticklabels=values)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _side(density):
    return math.isqrt(len(density))


def _over_grid(density, ratio, image, ax, **colours):
    """An image (importances, densities[, 3]) over logarithmic axes, sparser to the right."""
    x, y = density.view(_side(density), -1)[:, 0].numpy(), ratio.view(_side(density), -1)[0].numpy()
    mesh = ax.pcolormesh(x, y, image, shading="nearest", rasterized=True, **colours)
    ax.set(xscale="log", yscale="log", xlim=(x.max(), x.min()), ylim=(y.min(), y.max()))
    ax.set(xlabel="density $1-S$ (log scale)", ylabel="relative importance $r$ (log scale)")
    return mesh
