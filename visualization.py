"""Figures, drawn from data: trains nothing and changes none of its inputs.

One palette throughout: how far a feature is represented is the strength of a colour, how much it
shares its direction with others (its superposition) is the hue, from blue to orange.
"""

import math
from collections import Counter
from fractions import Fraction

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize, to_rgb, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

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
OTHERS, OTHER_POLYTOPE = "another polytope", "#7b4a2d"
STUDY_MEASURES = {
    "restarts in the global optimum": FAINT,
    "points where the mean agrees with the exact optimum": DEDICATED,
    "points where the best restart agrees": SHARED,
}
WIDTH = 11  # inches: the width of a full figure
INVERSE_DENSITY_TICKS = (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20)
FEATURES_PER_DIMENSION_TICKS = (1.33, 1.5, 2, 3, 5, 10)


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


def polytopes_figure(inverse_density, W, shares, graphs, polytopes, windows, predicted_at, predicted):
    """Uniform superposition at a glance: the paper's two figures of Section 4, with graphs and names of its polytopes.

    inverse_density (instances,), W (instances, hidden, features); shares: polytope -> share of the represented
    features (instances,); graphs: indices of the instances drawn as graphs; polytopes: names whose dimensionality gets
    a line; windows: (polytope, lowest, highest 1/(1-S)) where it is predicted; predicted_at, predicted (densities,):
    1/(1-S) and D*
    """
    figure = plt.figure(figsize=(WIDTH, 13), layout="constrained")
    curves, nets = figure.subfigures(2, 1, height_ratios=(9, 4))
    curve, scatter, areas = curves.subplots(3, 1, sharex=True, height_ratios=(1.1, 2.3, 1.1))
    curve.plot(
        inverse_density.numpy(), dimensions_per_feature(W).numpy(), "o-", color=INK, markersize=3, linewidth=1,
        label="trained",
    )  # fmt: skip
    curve.plot(predicted_at.numpy(), predicted.numpy(), color=SHARED, linewidth=2, label="predicted", zorder=0)
    curve.set(ylabel="dimensions per feature\n$D^*=m/\\|W\\|_F^2$", ylim=(0, 1.15))
    curve.set_title(f"$n={W.shape[2]}$ features in $m={W.shape[1]}$ dimensions")
    curve.legend(loc="lower left")
    dimensionality_scatter(inverse_density, W, polytopes, ax=scatter)
    predicted_staircase(windows, ax=scatter)
    first, last = inverse_density.min().item(), inverse_density.max().item()
    for name, low, high in windows:
        if name not in polytopes and low < last and high > first:  # the others have their line
            at = max(low, first), POLYTOPES[name].dimensionality
            scatter.annotate(name, at, xytext=(2, 7), textcoords="offset points", fontsize=8.5, annotation_clip=True)
    scatter.set(xlabel="")
    polytope_areas(inverse_density, shares, ax=areas)
    areas.set_xlim(first, last)
    axes = nets.subplots(1, len(graphs))
    for ax, k in zip(axes, graphs.tolist()):
        geometry_graph(W[k], ax=ax)
        names = Counter(factor.polytope for factor in tegum_factors(W[k]))
        named = [f"{count} × {name}" for name, count in names.most_common(4)]
        ax.set_title("\n".join([f"$1/(1-S)={inverse_density[k]:.2f}$", *named]), fontsize=8.5, va="bottom")
    names = dict.fromkeys([*POLYTOPE_COLOURS, OTHERS])
    nets.legend(
        handles=[Patch(color=polytope_colour(name), label=name) for name in names], loc="outside lower center", ncols=5,
        title=r"One model a graph: nodes are represented features, edges $|W_i\cdot W_j|>0.2$, colours polytopes.",
    )  # fmt: skip
    return figure


def predicted_staircase(windows, ax=None):
    """Where each polytope is predicted, as a thick line at its dimensionality; windows: (polytope, lowest, highest)."""
    ax = ax or plt.subplots(layout="constrained")[1]
    for k, (name, low, high) in enumerate(windows):
        value = POLYTOPES[name].dimensionality
        label = "predicted" if k == 0 else None
        ax.plot((low, high), (value, value), color=SHARED, linewidth=7, alpha=0.5, solid_capstyle="butt", label=label)
    ax.set(xlabel="$1/(1-S)$ (log scale)", ylabel=r"feature dimensionality $D_i$")
    ax.legend(loc="lower left")
    return _over_inverse_density(ax)


def polytope_areas(inverse_density, shares, ax=None):
    """Which share of the represented features is in which polytope, stacked; shares: polytope -> (points,)."""
    ax = ax or plt.subplots(layout="constrained")[1]
    stacked = _in_palette(shares)
    colours = [polytope_colour(name) for name in stacked]
    ax.stackplot(inverse_density.numpy(), *[s.numpy() for s in stacked.values()], colors=colours, linewidth=0)
    ax.set(ylim=(0, 1), xlabel="$1/(1-S)$ (log scale)", ylabel="share of the\nrepresented features")
    return _over_inverse_density(ax)


def share_bars(shares, ax=None):
    """Which share of the represented features is in which polytope, a bar each; shares: label -> polytope -> (1,)."""
    ax = ax or plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")[1]
    bottoms = np.zeros(len(shares))
    columns = [_in_palette(of_run) for of_run in shares.values()]
    for name in columns[0]:
        heights = np.array([column[name].item() for column in columns])
        ax.bar(list(shares), heights, bottom=bottoms, width=0.7, color=polytope_colour(name), label=name)
        bottoms += heights
    ax.set(ylim=(0, 1), xlabel="training steps", ylabel="share of the represented features")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax.figure


def polytope_maps(maps):
    """Which polytope holds most of the represented features over 1/(1-S) and n/m, one panel a map.

    maps: title -> inverse_density (columns,), features per dimension (rows,), and for each row polytope -> share
    (columns,)
    """
    figure, axes = plt.subplots(1, len(maps), figsize=(WIDTH, 4.8), layout="constrained", sharey=True)
    names = list(_in_palette({name: torch.zeros(1) for name in POLYTOPE_COLOURS}))
    for ax, (title, (inverse_density, ratio, rows)) in zip(axes, maps.items()):
        table = torch.stack([torch.stack(list(_in_palette(shares).values())) for shares in rows])
        most = table.max(dim=1)  # (rows, columns)
        image = np.array([to_rgb(polytope_colour(name)) for name in names])[most.indices.numpy()]
        image = np.where(most.values.numpy()[..., None] > 0, image, to_rgb(BLANK))
        ax.pcolormesh(_log_edges(inverse_density), _log_edges(ratio), image, rasterized=True)
        ax.set(yscale="log", title=title, xlabel="$1/(1-S)$ (log scale)")
        ax.set_yticks(FEATURES_PER_DIMENSION_TICKS, labels=[f"{tick:g}" for tick in FEATURES_PER_DIMENSION_TICKS])
        ax.set_yticks([], minor=True)
        _over_inverse_density(ax)
    across, up = zip(*([_log_edges(values) for values in ends] for *ends, _ in maps.values()))
    for ax in axes:
        ax.set_xlim(max(edges.min() for edges in across), min(edges.max() for edges in across))
        ax.set_ylim(max(edges.min() for edges in up), min(edges.max() for edges in up))
    axes[0].set_ylabel("features per dimension $n/m$ (log scale)")
    handles = [Patch(color=polytope_colour(name), label=name) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, title="polytope of most represented features")
    return figure


def benefit_figure(inverse_density, benefits, measured):
    """What each polytope saves per hidden dimension over 1/(1-S), dense features apart, and what models reach.

    inverse_density (densities,); benefits: polytope -> (densities,); measured: label -> 1/(1-S) and benefit of models,
    each (instances,); dots are black, but in the colour of the polytope that a label names
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 5.6), layout="constrained")
    x = inverse_density.numpy()
    for ax, low, high in zip(axes, (1.0, 1.6), (1.6, x.max())):
        shown = (x >= low / 1.05) & (x <= high * 1.05)
        for name, benefit in benefits.items():
            known = name in POLYTOPE_COLOURS
            style = {"linewidth": 2} if known else {"linewidth": 0.8, "linestyle": ":"}
            ax.plot(x[shown], benefit.numpy()[shown], color=polytope_colour(name), label=name, **style)
        for label, (at, reached) in measured.items():
            near = (at >= low) & (at <= high)
            colour = next((c for name, c in POLYTOPE_COLOURS.items() if name in label), INK)
            ax.plot(at[near].numpy(), reached[near].numpy(), "o", color=colour, markersize=5, mec=INK, label=label)
        _over_inverse_density(ax)
        ax.set(xlabel="$1/(1-S)$ (log scale)", xlim=(low, high), ylabel="benefit per dimension (a dedicated one: 1)")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8.5)
    return figure


def polytope_colour(name):
    """The palette's colour of a polytope, one for all that have none of their own."""
    return POLYTOPE_COLOURS.get(name, OTHER_POLYTOPE)


def _in_palette(shares):
    """Shares in the order of the palette, polytopes without a colour of their own as one."""
    total = torch.zeros_like(next(iter(shares.values())))
    others = sum((share for name, share in shares.items() if name not in POLYTOPE_COLOURS), start=total)
    known = {name: shares.get(name, total) for name in POLYTOPE_COLOURS}
    irregular = known.pop("irregular")
    return known | {OTHERS: others, "irregular": irregular}


def _log_edges(values):
    """Edges of cells around ascending or descending values, half-way on a logarithmic scale: one more than values."""
    middles = (values[1:] * values[:-1]).sqrt()
    return torch.cat((values[:1] ** 2 / middles[:1], middles, values[-1:] ** 2 / middles[-1:])).numpy()


def _over_inverse_density(ax):
    ax.set(xscale="log")
    ax.set_xticks(INVERSE_DENSITY_TICKS, labels=map(str, INVERSE_DENSITY_TICKS))
    ax.set_xticks([], minor=True)
    return ax


def dimensionality_scatter(inverse_density, W, polytopes, ax=None):
    """The dimensionality of every represented feature over 1/(1-S), with a line for each polytope."""
    ax = ax or plt.subplots(layout="constrained")[1]
    shown = represented(W)
    x = inverse_density[:, None].expand(shown.shape)
    spread = torch.linspace(-0.008, 0.008, shown.shape[1], dtype=x.dtype).exp()  # so that equal features stay visible
    ax.scatter(
        (x * spread)[shown].numpy(), dimensionality(W)[shown].numpy(), s=8, alpha=0.35, color=DEDICATED, linewidths=0
    )
    lines = {name: POLYTOPES[name].dimensionality for name in ("dedicated dimension", *polytopes)}
    for name, value in lines.items():
        apart = [value - other for other in lines.values() if 0 < abs(value - other) < 0.04]  # labels would overlap
        ax.axhline(value, color=SHARED, linewidth=1, zorder=0)
        ax.annotate(
            f"{name} {Fraction(value).limit_denominator(20)}",
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va=("bottom" if apart[0] > 0 else "top") if apart else "center",
            color=INK,
            fontsize=8.5,
        )
    ax.set(xlabel="$1/(1-S)$ (log scale)", ylabel=r"feature dimensionality $D_i$", ylim=(0, 1.05))
    return _over_inverse_density(ax)


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


# Non-uniform superposition (Section 4)


SET_COLOURS = (DEDICATED, SHARED, "#3a9a5b", "#7a4fa3")  # members of a set share one
RATIO_COLOURS = "plasma"  # of a feature's density over the others': dark is sparse
GEOMETRY_STYLES = {  # of the loss curves of `perturbed_figure`, in the order of its geometries
    "pentagon": (POLYTOPE_COLOURS["pentagon"], "-"),
    "digons without the feature": (SHARED, "-"),
    "digons with it": (SHARED, ":"),
    "other": (FAINT, ""),
}


def perturbed_figure(solutions, density, ratio, loss, crossing, runs, geometry):
    """Five features in the plane, one of another density: digons, pentagons and their losses (the paper's figure).

    solutions: title -> ratio (points,), W (points, 2, 5) oriented alike, and where they are the best (points,), bool
    density, crossing (densities,): of the other features, and the ratio at which the losses cross, or NaN
    ratio (densities, points), loss (densities, points, 3): of each of GEOMETRY_STYLES, infinite where there is none
    runs, geometry (densities, ratios, runs): losses of random descents and the index of their geometry, at every so
    many points, the first included
    """
    figure = plt.figure(figsize=(WIDTH, 8.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.3, 1))
    colours = plt.cm.ScalarMappable(LogNorm(float(ratio.min()), float(ratio.max())), RATIO_COLOURS)
    panels = above.subplots(1, len(solutions), squeeze=False)[0]
    for ax, (title, (of, W, best)) in zip(panels, solutions.items()):
        order = best.int().argsort(stable=True)  # the best on top
        colour = colours.to_rgba(of[order].numpy())  # (points, 4)
        faded = np.where(best[order].numpy()[:, None], colour, to_rgba("white"))
        ends = W[order].mT.numpy()  # (points, features, 2)
        spokes = np.stack((np.zeros_like(ends), ends), axis=2).reshape(-1, 2, 2)
        ax.add_collection(LineCollection(spokes, colors=colour.repeat(5, axis=0), linewidths=0.7, alpha=0.4))
        for features, marker, size in ((slice(0, 1), "s", 45), (slice(1, 5), "o", 24)):
            x, y = ends[:, features].reshape(-1, 2).T
            inner, outer = (shade.repeat(len(x) // max(len(W), 1), axis=0) for shade in (faded, colour))
            ax.scatter(x, y, s=size, marker=marker, facecolors=inner, edgecolors=outer, linewidths=0.7, zorder=3)
        ax.set(xlim=(-1.35, 1.35), ylim=(-1.3, 1.3), aspect="equal", title=f"{title} (filled where they are best)")
        ax.set(xlabel="hidden dimension 1", ylabel="hidden dimension 2")
    above.colorbar(colours, ax=panels, label="density of one feature (square) over the others' (log scale)")
    axes = below.subplots(1, len(density), squeeze=False)[0]
    styles = list(GEOMETRY_STYLES.values())
    for k, ax in enumerate(axes):
        for curve, (colour, line) in zip(loss[k].T, styles):
            ax.plot(ratio[k].numpy(), torch.where(curve.isfinite(), curve, torch.nan).numpy(), line, color=colour)
        x = ratio[k, :: -(-ratio.shape[1] // runs.shape[1]), None].expand(runs[k].shape).flatten()
        dots = [styles[g][0] for g in geometry[k].flatten()]
        ax.scatter(x.numpy(), runs[k].flatten().numpy(), s=8, color=dots, edgecolors=INK, linewidths=0.3, zorder=3)
        title = f"density of the others {density[k]:g}"
        if crossing[k].isfinite():
            ax.axvline(float(crossing[k]), color=INK, linewidth=0.8, linestyle="--")
            title += f"\ncrossing: {1 / crossing[k]:.2f} times sparser"
        ax.set(xscale="log", ylim=(0, 1.6 * float(loss[k].amin(dim=1).max())))
        ax.set_title(title, fontsize=10)
        ax.ticklabel_format(axis="y", scilimits=(-2, 2))
        ax.set(xlabel="density over the others' (log)", ylabel="exact loss")
    marks = [Line2D([], [], color=colour, linestyle=line) for colour, line in styles[:3]]
    marks += [Line2D([], [], marker="o", linestyle="", color=FAINT, markeredgecolor=INK, markersize=4)]
    labels = [*list(GEOMETRY_STYLES)[:3], "random descents, in the colour of their geometry"]
    below.legend(marks, labels, loc="outside lower center", ncols=4)
    return figure


def set_arrows(rows, note="", axes=None):
    """Features in the plane in many panels, members of a set of two in one colour.

    rows: label -> W (panels, 2, features), oriented alike, and a title for each panel; note: a line below
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


def plane(W, ax=None):
    """The features of one instance as lines from the origin, W (2, features), to the dot and the ring of each set."""
    ax = ax or plt.subplots(layout="constrained")[1]
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=FAINT, linewidth=0.6, linestyle=":"))
    for feature, (x, y) in enumerate(W.T.tolist()):
        colour, second = SET_COLOURS[feature // 2 % len(SET_COLOURS)], feature % 2
        ax.plot((0, x), (0, y), color=colour, linewidth=1 if second else 2.5)
        ax.plot(x, y, "o", color=colour, markersize=9 if second else 5, fillstyle="none" if second else "full")
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
    return ax


def sets_figure(shown, W, density, within, across, represented_features):
    """W^T W of two sets of features as heat maps, and how the cosines within and across sets change with density.

    shown (panels,), W (panels, hidden, features): densities and models of the heat maps
    density (densities,); within, across, represented_features (densities, runs): mean |cos|, and a count
    """
    figure = plt.figure(figsize=(WIDTH, 7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    axes = above.subplots(1, len(shown), squeeze=False)[0]
    half = W.shape[2] / 2 - 0.5
    for ax, at, weights in zip(axes, shown.tolist(), W):
        image = ax.imshow((weights.T @ weights).numpy(), cmap=WEIGHTS, vmin=-1, vmax=1)
        ax.axhline(half, color=INK, linewidth=0.8)
        ax.axvline(half, color=INK, linewidth=0.8)
        ax.set(title=f"$W^TW$, density {at:g}", xticks=[], yticks=[], xlabel="first set | second set")
    above.colorbar(image, ax=axes, label="$W^TW$", shrink=0.8)
    cosines, counts = below.subplots(1, 2)
    x = density.numpy()
    for values, colour, label in ((within, DEDICATED, "within a set"), (across, SHARED, "across sets")):
        cosines.plot(x, values.mean(dim=1).numpy(), "-", color=colour, label=label)
        cosines.plot(x, values.numpy(), "o", color=colour, markersize=3, alpha=0.5)
    m = W.shape[1]
    random = math.exp(math.lgamma(m / 2) - math.lgamma((m + 1) / 2)) / math.sqrt(math.pi)  # mean of |cos|
    cosines.axhline(random, color=FAINT, linestyle="--", zorder=0, label="bases turned at random")
    cosines.set(ylabel=r"mean $|\cos|$ of two features", ylim=(0, None))
    cosines.legend()
    counts.plot(x, represented_features.double().mean(dim=1).numpy(), "o-", color=INK, markersize=4)
    counts.axhline(m, color=FAINT, linestyle="--", zorder=0, label="hidden dimensions $m$")
    counts.set(ylabel="represented features", ylim=(0, W.shape[2] * 1.05))
    counts.legend()
    for ax in (cosines, counts):
        ax.set(
            xscale="log", xlim=(x.max() * 1.1, x.min() / 1.1), xlabel="density $1-S$ (log scale, sparser to the right)"
        )
    return figure


def collapse_figure(shown, W, density, collapsed, boundaries, relative, meets):
    """Correlated pairs in the plane at some densities; how many have collapsed, and the loss, over all densities.

    shown (panels,), W (panels, 2, features), oriented alike; density, collapsed, relative (points,): the number of
    collapsed pairs of the optimum and its loss over that of the principal components
    boundaries (steps,): densities at which the number changes, NaN where not located
    meets: density from which on the losses are within 1 %, or NaN
    """
    figure = plt.figure(figsize=(WIDTH, 6.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    panels = above.subplots(1, len(W), squeeze=False)
    set_arrows({"exact optimum": (W, [f"density {at:.2g}" for at in shown.tolist()])}, axes=panels)
    steps, loss = below.subplots(1, 2)
    x = density.numpy()
    gaps = (collapsed[1:] != collapsed[:-1]).nonzero()[:, 0]
    edges = torch.where(boundaries.isfinite(), boundaries, (density[gaps] * density[gaps + 1]).sqrt())
    at = [x[0], *edges.tolist(), x[-1]]
    levels = collapsed[torch.cat((torch.zeros(1, dtype=torch.long), gaps + 1))].tolist()
    steps.stairs(levels, at, baseline=None, color=DEDICATED, linewidth=2.5)
    steps.plot(x, collapsed.numpy(), "o", color=DEDICATED, markersize=4)
    for boundary in at[1:-1]:
        steps.axvline(boundary, color=FAINT, linewidth=0.8, zorder=0)
        steps.annotate(f"{boundary:.3f}", (boundary, -0.25), xytext=(3, 0), textcoords="offset points", color=INK)
    steps.set(ylabel="collapsed pairs of the optimum", yticks=range(W.shape[2] // 2 + 1), ylim=(-0.35, 3.3))
    loss.plot(x, relative.numpy(), "o-", color=DEDICATED, markersize=4)
    loss.axhline(1, color=INK, linewidth=0.8)
    loss.annotate("principal components", (x[0], 1), xytext=(2, -12), textcoords="offset points", color=INK)
    if math.isfinite(meets):
        loss.axvline(meets, color=SHARED, linestyle="--", label=f"within 1 % from density {meets:.2f}")
        loss.legend(loc="lower right")
    loss.set(ylabel="optimal loss / loss of principal components", ylim=(0, 1.05))
    for ax in (steps, loss):
        ax.set(xscale="log", xlabel="density of the pairs $1-S$ (log scale)")
    return figure
