"""What makes the averages of Section 3's diagrams noisy?

The paper averages ten models of each point but the worst (phase_diagram.py), and its diagrams are noisy. Ours: whether
models in local minima explain it, and which settings of the training put them there, changed one at a time.
"""

from dataclasses import replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch

from experiments.section3.phase_diagram import agreement, averaged, best, in_optimum
from theory import phases
from visualization import DEDICATED, FAINT, INK, SHARED, WIDTH

STUDY = {  # what is changed, one at a time, in the training of the diagrams
    "as in the diagrams": {},
    "learning rate 0.01": {"lr": 0.01},
    "learning rate 0.5": {"lr": 0.5},
    "initial weights 0.03": {"init_scale": 0.03},
    "initial weights 1": {"init_scale": 1.0},
    "more noise: batch of 8": {"batch_size": 8},
    "no noise: exact loss": {"exact": True},
}


def study(settings, changes=STUDY):
    """Settings with each change of STUDY made to them, in order."""
    return tuple(replace(settings, **STUDY[name]) for name in changes)


# Numbers; optimum: the result of `exact_optimum` on the same grid


class Explained(NamedTuple):
    """Of the points where the mean shows another phase than the optimum: what local minima explain."""

    points: int
    share: float  # where the mean of the restarts in the optimum alone agrees with it, or none is in it; 1 of nothing
    chance: float  # the same where as many restarts are left out blindly


def explained(result, optimum, *, draws=20) -> Explained:
    """Whether leaving out the restarts in local minima mends the average, and leaving out others does not."""
    exact = phases.phase(*phases.last_feature(optimum.W))
    differs = phases.phase(*averaged(result)) != exact
    reached, shown = in_optimum(result, optimum), phases.last_feature(result.W.flatten(0, 1))

    def mended(kept):
        means = (
            (v.view(kept.shape) * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1) for v in shown
        )
        agrees = (phases.phase(*means) == exact) | ~reached.any(dim=1)
        return agrees[differs].double().mean().item() if differs.any() else 1.0

    generator = torch.Generator().manual_seed(0)
    order = torch.rand(draws, *reached.shape, generator=generator).argsort(dim=2)
    by_chance = [mended(reached.gather(1, blindly)) for blindly in order]
    return Explained(int(differs.sum()), mended(reached), sum(by_chance) / draws)


def success(result, optimum):
    """Share of restarts in the optimum; agreement of the mean and of the best restart with it."""
    exact = phases.last_feature(optimum.W)
    reached = in_optimum(result, optimum).double().mean().item()
    return reached, agreement(averaged(result), exact), agreement(best(result), exact)


# Figure

MEASURES = {  # the three that `success` returns, and their colours
    "restarts in the optimum": FAINT,
    "points where the mean agrees with the optimum": DEDICATED,
    "points where the best restart agrees": SHARED,
}


def figure(panels, changes=STUDY):
    """What training settings do to the diagrams; panels: the results of `study` and their one optimum, for each n."""
    drawn, axes = plt.subplots(
        1, len(panels), figsize=(WIDTH, 3.6), layout="constrained", sharey=True
    )
    rows = np.arange(len(changes))
    for ax, (results, optimum) in zip(axes, panels):
        measured = [success(result, optimum) for result in results]
        for (label, colour), column, shift in zip(
            MEASURES.items(), zip(*measured), (-0.25, 0, 0.25)
        ):
            ax.barh(rows + shift, column, height=0.23, color=colour, label=label)
        ax.axvline(0.95, color=INK, linewidth=0.8, linestyle=":")
        hidden, features = optimum.W.shape[1:]
        ax.set(
            title=f"$n={features}$, $m={hidden}$", xlim=(0, 1), xlabel="share (dotted line: 0.95)"
        )
        ax.set(yticks=rows, yticklabels=changes)
    axes[0].set_ylabel("change in the training")
    axes[0].invert_yaxis()
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn
