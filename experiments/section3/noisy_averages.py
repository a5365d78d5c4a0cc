"""Why are the averages in Section 3's phase diagrams noisy?

The paper's diagrams average all models of a point but the worst one (see `phase_diagram`), and they
are noisy. This study is ours. It asks whether models that end in local minima explain the noise,
and which settings of the training lead them there. The settings are changed one at a time; learning
rate and number of steps are changed together in `longer`, up to the paper's 10,000 steps.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section3main.py instead.")

from dataclasses import replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_count
from experiments.section3.phase_diagram import (
    THREE,
    Settings,
    agreement,
    averaged_diagram,
    averaged_restarts,
    best_diagram,
    in_optimum,
    mean_diagram,
    regions,
    restarts_diagram,
)
from theory import phases
from visualization import (
    DEDICATED,
    FAINT,
    INK,
    POLYTOPE_COLOURS,
    SHARED,
    WIDTH,
    described,
    plain_ticks,
)

CHANGES = {  # what is changed in the training of the diagrams, one change at a time
    "as in the diagrams": {},
    "learning rate 0.01": {"lr": 0.01},
    "learning rate 0.5": {"lr": 0.5},
    "initial weights 0.03": {"init_scale": 0.03},
    "initial weights 1": {"init_scale": 1.0},
    "more noise: batch of 8": {"batch_size": 8},
    "no noise: exact loss": {"exact": True},
}
NOTEBOOK_CHANGES = (
    "as in the diagrams",
    "learning rate 0.01",
    "initial weights 1",
    "no noise: exact loss",
)
DIAGRAMS = {2: Settings(), 3: THREE}  # number of features -> what the diagrams are trained with
RATES = (0.01, 0.2)  # learning rates of `longer`, slowest first
STEPS = (500, 3000, 10_000)  # its numbers of steps, fewest first
QUICK_STEPS = (50, 100, 200)
CLEAN_MEAN = 0.95  # share of points at which an average without noise agrees with the optimum


def study(settings, changes=CHANGES):
    """Make each change to the settings of a phase diagram.

    Args:
        settings: `phase_diagram.Settings`.
        changes: Names in CHANGES.

    Returns:
        The changed settings, one for each name.
    """
    return tuple(replace(settings, **CHANGES[name]) for name in changes)


def longer(settings, steps=STEPS):
    """Set each learning rate of RATES with each number of steps.

    Args:
        settings: `phase_diagram.Settings`.
        steps: Numbers of steps, fewest first.

    Returns:
        The changed settings, the steps varying fastest.
    """
    return tuple(replace(settings, lr=lr, steps=count) for lr in RATES for count in steps)


# Measures. `optimum` is the result of `exact_optimum` on the same grid.


class Explained(NamedTuple):
    """What local minima explain where the mean shows another phase than the optimum."""

    points: int  # at which the phases differ
    # Share of these points at which the mean of the restarts outside of local minima agrees with
    # the optimum; 1 if there are no points.
    share: float
    chance: float  # the same share if as many restarts are left out at random


def explained(result, optimum, *, draws=20) -> Explained:
    """Say whether the averages agree with the optimum once restarts in local minima are left out.

    A point at which no restart reaches the optimum counts as agreeing.

    Args:
        result: Result of `phase_diagram`.
        optimum: Result of `exact_optimum` on the same grid.
        draws: How often restarts are left out at random, for comparison.

    Returns:
        The number of points that differ, and which share of them is mended.
    """
    draws = check_count("draws", draws)
    result = averaged_restarts(result)
    exact = phases.phase(*phases.last_feature(optimum.W))
    differs = phases.phase(*averaged_diagram(result)) != exact
    reached = in_optimum(result, optimum)
    unreached = ~reached.any(dim=1)
    restarts = restarts_diagram(result)

    def share_mended(kept):
        agrees = phases.phase(*mean_diagram(restarts, kept)) == exact
        mended = (agrees | unreached)[differs]
        return mended.double().mean().item() if len(mended) else 1.0

    generator = torch.Generator().manual_seed(0)
    orders = torch.rand(draws, *reached.shape, generator=generator).argsort(dim=2)
    random_shares = [share_mended(reached.gather(1, order)) for order in orders]
    return Explained(
        points=int(differs.sum()),
        share=share_mended(reached),
        chance=sum(random_shares) / draws,
    )


class Success(NamedTuple):
    """How well trained models agree with the optimum."""

    reached: float  # share of the restarts that end in the optimum
    mean: float  # share of the points at which the averaged diagram shows the optimum's phase
    best: float  # share of the points at which the best restart shows it


def success(result, optimum) -> Success:
    """Measure how well trained models agree with the optimum.

    Args:
        result: Result of `phase_diagram`.
        optimum: Result of `exact_optimum` on the same grid.

    Returns:
        Three shares.
    """
    exact = phases.last_feature(optimum.W)
    return Success(
        reached=in_optimum(result, optimum).double().mean().item(),
        mean=agreement(averaged_diagram(result), exact),
        best=agreement(best_diagram(result), exact),
    )


class Longer(NamedTuple):
    """What averages show after each number of steps, at each learning rate."""

    given_back: Float[Tensor, "rates steps solutions"]  # share of each named solution's region
    reached: Float[Tensor, "rates steps"]  # share of the restarts that end in the optimum
    mean: Float[Tensor, "rates steps"]  # share of points at which the average agrees with it


def longer_averages(results, optimum) -> Longer:
    """Measure what the averages of all settings of `longer` show.

    Args:
        results: Results of `phase_diagram`, in the order of `longer`.
        optimum: Result of `exact_optimum` on the same grid.
    """
    shape = (len(RATES), -1)
    given_back = torch.stack([regions(result, optimum).mean for result in results])
    measured = [success(result, optimum) for result in results]
    return Longer(
        given_back.unflatten(0, shape),
        torch.tensor([shares.reached for shares in measured]).view(shape),
        torch.tensor([shares.mean for shares in measured]).view(shape),
    )


# Figures

BARS = {  # label -> field of Success, colour, place among the bars of a group
    "restarts in the optimum": ("reached", FAINT, -0.25),
    "points where the mean agrees with the optimum": ("mean", DEDICATED, 0),
    "points where the best restart agrees": ("best", SHARED, 0.25),
}


def figure(panels, changes=CHANGES) -> Figure:
    """Draw how the settings of the training change the agreement with the optimum.

    Args:
        panels: For each n, the results of all settings of `study`, and their optimum.
        changes: Names in CHANGES, one for each of these results.

    Returns:
        The figure.
    """
    drawn, axes = plt.subplots(
        1, len(panels), figsize=(WIDTH, 3.6), layout="constrained", sharey=True
    )
    for ax, (results, optimum) in zip(axes, panels):
        _draw_success([success(result, optimum) for result in results], ax)
        hidden, features = optimum.W.shape[1:]
        usual = DIAGRAMS[features]
        title = f"$n={features}$, $m={hidden}$; in the diagrams learning rate {usual.lr:g},\n"
        title += f"initial weights {usual.init_scale:g}, batch of {usual.batch_size}"
        ax.set_title(title)
        ax.set(yticks=range(len(changes)), yticklabels=changes)
    axes[0].set_ylabel("change in the training")
    axes[0].invert_yaxis()
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return described(
        drawn,
        "Bars for each change in the training, in one panel for each number of features: the "
        "share of the restarts that end in the optimum, and the shares of the points at which the "
        "mean and the best restart agree with it.",
    )


def _draw_success(measured, ax):
    """Draw a group of bars for each setting."""
    rows = np.arange(len(measured))
    for label, (field, colour, shift) in BARS.items():
        values = [getattr(shares, field) for shares in measured]
        ax.barh(rows + shift, values, height=0.23, color=colour, label=label)
    ax.axvline(CLEAN_MEAN, color=INK, linewidth=0.8, linestyle=":")
    ax.set(xlim=(0, 1), xlabel=f"share (dotted line: {CLEAN_MEAN:g})")


PERPENDICULAR = r"$\perp$"  # as the font of the figures lacks the character
REGION_STYLES = (  # of NAMED_SOLUTIONS[3]: colour and width, wide below narrow where shares agree
    (FAINT, 6),
    (DEDICATED, 4),
    (POLYTOPE_COLOURS["pentagon"], 2),
    (SHARED, 2),
)


def longer_figure(results, optimum) -> Figure:
    """Draw what averages show of each region after more steps, one panel for each learning rate.

    Args:
        results: Results of all settings of `longer`.
        optimum: Their optimum.

    Returns:
        The figure.
    """
    measured = longer_averages(results, optimum)
    solutions = phases.NAMED_SOLUTIONS[optimum.W.shape[2]]
    drawn, axes = plt.subplots(
        1, len(RATES), figsize=(WIDTH, 3.8), layout="constrained", sharey=True
    )
    for ax, lr, given_back, reached in zip(axes, RATES, measured.given_back, measured.reached):
        for solution, (colour, width), share in zip(solutions, REGION_STYLES, given_back.T):
            label = f"region of {solution.name.replace('⟂', PERPENDICULAR)}"
            ax.plot(STEPS, share.numpy(), "o-", color=colour, linewidth=width, label=label)
        ax.plot(STEPS, reached.numpy(), "s:", color=INK, label="restarts in the best solution")
        ax.set(xscale="log", xlabel="steps (log scale)", ylim=(0, 1.05))
        ax.set_title(f"learning rate {lr:g}")
        plain_ticks(ax.xaxis, STEPS)
    axes[0].set_ylabel("share of a region that the average\ngives back, or of the restarts")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    lowest, highest = measured.given_back[:, -1, -1].tolist()
    return described(
        drawn,
        "Curves over the number of steps, for two learning rates: the share of each named "
        "solution's region that the average gives back, and the share of the restarts in the best "
        f"solution. In the last region it ends at {lowest:.0%} with the lower learning rate and at "
        f"{highest:.0%} with the higher one.",
    )
