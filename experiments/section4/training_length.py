"""What more training does to dense features (ours).

At density 0.67 the sweep of uniform_superposition.py is trained for more and more steps. `figure`
draws which share of the represented features ends in which polytope.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section4main.py instead.")

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch

from experiments.section4.uniform_superposition import LONG, QUICK_LONG, shares
from visualization import WIDTH, described, in_palette, polytope_colour, polytope_legend

INVERSE_DENSITY = (1.5,)  # 1/(1-S)
SETTINGS = tuple(  # of uniform_superposition.py
    replace(LONG, inverse_density=INVERSE_DENSITY, restarts=4, steps=steps, lr=3e-3)
    for steps in (2500, 5000, 10_000, 20_000, 40_000)
)
QUICK = tuple(
    replace(QUICK_LONG, inverse_density=INVERSE_DENSITY, restarts=2, steps=steps)
    for steps in (50, 100)
)


def figure(results):
    """Draw the share of the represented features in each polytope, for each number of steps."""
    _, ax = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
    labels = [f"{result.steps:,}" for result in results]
    columns = [in_palette(shares(result)) for result in results]
    bottoms = np.zeros(len(results))
    for name in columns[0]:
        heights = np.array([column[name].item() for column in columns])
        ax.bar(labels, heights, bottom=bottoms, width=0.7, color=polytope_colour(name), label=name)
        bottoms += heights
    ax.set(ylim=(0, 1), xlabel="training steps", ylabel="share of the represented features")
    present = {name: torch.cat([column[name] for column in columns]) for name in columns[0]}
    polytope_legend(ax, present, None, loc="center left", bbox_to_anchor=(1, 0.5), ncols=1)
    return described(
        ax.figure,
        "Stacked bars of the share of the represented features in each polytope, one bar for each "
        f"number of training steps from {labels[0]} to {labels[-1]}.",
    )
