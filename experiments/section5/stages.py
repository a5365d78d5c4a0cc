"""Is learning a sequence of geometric transformations, and where does it rest in between?

Section 5 of the paper: two sets of three correlated features in three hidden dimensions go through
stages of nearly constant loss and end as an octahedron. `figure` is the paper's figure; `animation`
shows the features on their way.

Six features have an exact loss. So they are trained on the exact loss as well as on sampled rows,
and the points at which the stages rest can be found: there the exact gradient vanishes, and the
Hessian's negative directions lead on.
"""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section5main.py instead.")

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from torch import Tensor

from checks import check_settings
from experiments.section5.learning_curves import fall_rate, log_steps, logarithmic_steps, stretches
from features import FeatureDistribution
from geometry import represented
from losses.gradient import exact_gradient
from models import ReLUOutputModel
from theory.polytopes import tegum_factors
from theory.stationary import curvatures, distance, nearest_stationary
from training import train
from visualization import (
    FAINT,
    INK,
    OTHERS,
    SHARED,
    WIDTH,
    described,
    over_steps,
    plain_ticks,
    polytope_colour,
    space,
)

SETS = 2
SET_SIZE = 3  # features in each set
HIDDEN = 3
FLAT_RATE = 0.5  # a loss is flat if it falls more slowly than with the inverse root of the step
STAGE_GROWTH = 1.2  # factor by which the number of steps grows at least during a stage
# A direction leads down if its curvature is below this share of the most negative one anywhere.
NEGATIVE_SHARE = 0.01
FRAMES = 40  # of the animation
LAST_FRAME_REPEATS = 6  # how often the animation shows its last frame again
STAGE_COLOURS = [
    polytope_colour(name)
    for name in (OTHERS, "tetrahedron", "dedicated dimension", "pentagon", "digon")
]


@dataclass(frozen=True)
class Settings:
    """The paper's setting of two sets of correlated features."""

    density: float = 0.05
    runs: int = 32  # on the exact loss, and as many on sampled rows
    steps: int = 2000
    batch_size: int = 256
    lr: float = 1e-2  # constant
    init_scale: float = 0.01
    records: int = 160  # of the course of training, evenly spaced on a log axis
    followed: int = 8  # exact runs whose stages are searched for stationary points
    searches: int = 60  # steps of Newton's method

    def __post_init__(self):
        """Refuse values out of range."""
        check_settings(self)
        if self.density > 1:
            raise ValueError(f"density: expected at most 1, got {self.density}")


QUICK = Settings(runs=4, steps=400, batch_size=64, records=60, followed=1, searches=3)
NOTEBOOK = Settings(runs=16, followed=2, searches=30)


class Course(NamedTuple):
    """The course of training."""

    steps: Int[Tensor, " records"]
    W: Float[Tensor, "records runs 3 6"]
    b: Float[Tensor, "records runs 6"]
    loss: Float[Tensor, "records runs"]  # exact
    gradient: Float[Tensor, "records runs"]  # norm of the exact gradient


class Stationary(NamedTuple):
    """Points to which Newton's method leads from the stages of the followed runs."""

    run: Int[Tensor, " stages"]
    first: Int[Tensor, " stages"]  # first record of the stage
    last: Int[Tensor, " stages"]  # last record of the stage
    start: Int[Tensor, " stages"]  # record of the stage with the smallest gradient
    W: Float[Tensor, "stages 3 6"]
    b: Float[Tensor, "stages 6"]
    loss: Float[Tensor, " stages"]  # exact
    gradient: Float[Tensor, " stages"]  # norm of the exact gradient
    curvatures: Float[Tensor, "stages weights"]  # eigenvalues of the Hessian, ascending


class Result(NamedTuple):
    """The course of both kinds of training, and the stationary points of the exact one."""

    exact: Course
    sampled: Course
    stationary: Stationary


def run(settings, *, seed=0, device="cpu", progress=True) -> Result:
    """Train on the exact loss and on sampled rows, and find the points where the stages rest.

    Args:
        settings: Settings of the run.
        seed: Seed of the initial weights and of the sampled rows.
        device: Device that trains on sampled rows; exact losses are computed on the CPU.
        progress: Whether to show progress on stderr.

    Returns:
        Both courses of training, and the stationary points.
    """
    exact = _course(settings, seed, "cpu", progress, exact=True)
    sampled = _course(settings, seed, device, progress, exact=False)
    return Result(exact, sampled, _stationary_points(settings, exact))


def _distribution(density, instances):
    """Two sets of correlated features, equally important."""
    return FeatureDistribution(
        density,
        features=SETS * SET_SIZE,
        instances=instances,
        set_size=SET_SIZE,
        correlation="correlated",
    )


def _course(settings, seed, device, progress, exact):
    """Train all runs and measure the exact loss and its gradient at every record."""
    model = ReLUOutputModel(
        settings.runs,
        SETS * SET_SIZE,
        HIDDEN,
        seed=seed,
        dtype=torch.float64 if exact else torch.float32,
        device=device,
        init_scale=settings.init_scale,
    )
    history = train(
        model,
        _distribution(settings.density, settings.runs).to(device),
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        schedule="constant",
        exact=exact,
        seed=seed,
        record=logarithmic_steps(settings.steps, settings.records),
        progress=progress,
    )
    W = history.weights["W"].double()
    b = history.weights["b"].double()
    records, runs = W.shape[:2]
    distribution = _distribution(settings.density, records * runs)
    gradient = exact_gradient(W.flatten(0, 1), b.flatten(0, 1), distribution)
    return Course(
        steps=history.steps,
        W=W,
        b=b,
        loss=gradient.loss.view(records, runs),
        gradient=gradient.norm.view(records, runs),
    )


def _stationary_points(settings, course):
    """Search for a stationary point from each stage of the followed runs."""
    spans = []
    for k, run_stages in enumerate(stages(course)[: settings.followed]):
        spans += [(k, first, last) for first, last in run_stages]
    run_index, first, last = torch.tensor(spans, dtype=torch.long).view(-1, 3).T
    start = torch.tensor([_smallest_gradient(course, *span) for span in spans])
    distribution = _distribution(settings.density, len(spans))
    W, b = nearest_stationary(
        course.W[start, run_index], course.b[start, run_index], distribution, settings.searches
    )
    gradient = exact_gradient(W, b, distribution)
    return Stationary(
        run=run_index,
        first=first,
        last=last,
        start=start,
        W=W,
        b=b,
        loss=gradient.loss,
        gradient=gradient.norm,
        curvatures=curvatures(W, b, distribution),
    )


def _smallest_gradient(course, k, first, last):
    """Return the record with the smallest gradient in a stage of run k."""
    return first + course.gradient[first : last + 1, k].argmin().item()


# Measures


def stages(course) -> list[list[tuple[int, int]]]:
    """List the first and the last record of each stage, for every run.

    A stage is a stretch of records in which the loss is flat while the number of steps grows by
    the factor STAGE_GROWTH or more.
    """
    flat = fall_rate(course.steps, course.loss) < FLAT_RATE
    return [_long_stretches(course.steps, run_flat) for run_flat in flat.T]


def _long_stretches(steps, flat):
    """List the stretches of flat records (records,) that last for a stage."""
    time = log_steps(steps).exp()
    return [
        (first, last) for first, last in stretches(flat) if time[last] >= STAGE_GROWTH * time[first]
    ]


def approach(result) -> Float[Tensor, "records stages"]:
    """Measure how far a run is at each record from the stationary point of each of its stages.

    The distance is up to rotation, and relative to the norm of the run's weights and biases at the
    end.
    """
    points = result.stationary
    distances = [
        _distance_from(result.exact, k, W, b)
        for k, W, b in zip(points.run.tolist(), points.W, points.b)
    ]
    return torch.stack(distances, dim=1)


def _distance_from(course, k, W, b):
    """Measure the relative distance (records,) of run k from one point W, b."""
    records = len(course.steps)
    squared_norm = course.W[-1].square().sum(dim=(1, 2)) + course.b[-1].square().sum(dim=1)
    point_W = W.expand(records, -1, -1)
    point_b = b.expand(records, -1)
    return distance(course.W[:, k], course.b[:, k], point_W, point_b) / squared_norm.sqrt()[k]


def is_last(result) -> Bool[Tensor, " stages"]:
    """Say which stages go on to the end of the run."""
    return result.stationary.last == len(result.exact.steps) - 1


def is_empty(result) -> Bool[Tensor, " stages"]:
    """Say at which stages the stationary point represents nothing."""
    return ~represented(result.stationary.W).any(dim=1)


def changes(result) -> Float[Tensor, " changes"]:
    """Measure how far the weights of each stage are from those of the run's stage before.

    The distance is up to rotation, and relative to the norm of the run's weights and biases at the
    end. The weights are those at the records from which stationary points were searched.
    """
    points = result.stationary
    follows = (points.run[1:] == points.run[:-1]).nonzero()[:, 0] + 1
    found = []
    for stage in follows.tolist():
        k = points.run[stage]
        before = points.start[stage - 1]
        away = _distance_from(result.exact, k, result.exact.W[before, k], result.exact.b[before, k])
        found.append(away[points.start[stage]])
    return torch.tensor(found, dtype=torch.float64)


def ways_down(result) -> Int[Tensor, " stages"]:
    """Count the directions in which the loss curves down at each stationary point."""
    values = result.stationary.curvatures
    return (values < NEGATIVE_SHARE * values.min().clamp(max=0)).sum(dim=1)


def ending(W: Float[Tensor, "3 6"]):
    """Name what a run ends in.

    Args:
        W: Weights at the end of the run.

    Returns:
        "octahedron" if the features form three digons, each of features of different sets, and
        else the names of the polytopes.
    """
    factors = tegum_factors(W)
    names = sorted(factor.polytope for factor in factors)
    mixed = all(len(_sets(factor)) == SETS for factor in factors)
    return "octahedron" if names == ["digon"] * 3 and mixed else ", ".join(names)


def _sets(factor):
    """Return the sets that a factor has features of."""
    return {feature // SET_SIZE for feature in factor.features}


def endings(course):
    """Measure which share of the runs ends in what, the most frequent ending first."""
    final = course.W[-1]
    counts = Counter(ending(W) for W in final)
    return {name: count / len(final) for name, count in counts.most_common()}


# Figures


def shown_run(result):
    """Choose the run to draw: the followed one with the most stages."""
    return result.stationary.run.bincount().argmax().item()


def figure(result) -> Figure:
    """Draw one run: its features in space at each stage, its loss, gradient and distances.

    The distances are those from the stationary points of its stages.
    """
    course = result.exact
    points = result.stationary
    k = shown_run(result)
    run_stages = (points.run == k).nonzero()[:, 0].tolist()
    drawing = plt.figure(figsize=(WIDTH, 9), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1, 2.6))
    scenes = above.subplots(1, len(run_stages), subplot_kw={"projection": "3d"}, squeeze=False)[0]
    loss, gradient, away = below.subplots(3, 1, sharex=True, height_ratios=(1.4, 1, 1))
    _draw_curves(course, k, loss, gradient)
    distances = approach(result)
    down = ways_down(result).tolist()
    shown_steps = course.steps.clamp(min=1).tolist()  # a log axis has no step 0
    for number, stage in enumerate(run_stages):
        colour = STAGE_COLOURS[number % len(STAGE_COLOURS)]
        start = points.start[stage]
        space(_upright(course, k) @ course.W[start, k], SET_SIZE, scenes[number])
        title = f"stage {number + 1}: step {course.steps[start]:,}\n"
        title += f"curves down in {down[stage]} directions"
        scenes[number].set_title(title, color=colour, y=0.94)
        for ax in (loss, gradient):
            first_step = shown_steps[points.first[stage]]
            last_step = shown_steps[points.last[stage]]
            ax.axvspan(first_step, last_step, color=colour, alpha=0.2, linewidth=0)
        over_steps(course.steps, distances[:, stage, None], away, color=colour, linewidth=1.8)
    away.set(ylabel="distance from the\nstationary points", ylim=(0, None))
    return described(
        drawing,
        f"The features of one run in space at each of its {len(run_stages)} stages; below, over "
        "training steps, the exact loss of this run and of all others, the norm of its gradient, "
        "and its distance from the stationary point of each stage.",
    )


def _draw_curves(course, k, loss, gradient):
    """Draw the loss of all runs, and the loss and the gradient of run k."""
    over_steps(course.steps, course.loss, loss, color=FAINT, linewidth=0.6)
    over_steps(course.steps, course.loss[:, k : k + 1], loss, color=INK, linewidth=1.8)
    over_steps(course.steps, course.gradient[:, k : k + 1], gradient, color=INK, linewidth=1.8)
    loss.set(
        yscale="log",
        ylabel="exact loss",
        xlabel="",
        title="black: one run, its stages in colour; grey: all runs. In space: one colour per set",
    )
    gradient.set(yscale="log", ylabel="norm of the\nexact gradient", xlabel="")


def animation(result) -> FuncAnimation:
    """Animate one run: its features moving to their octahedron in space, beside the loss."""
    course = result.exact
    k = shown_run(result)
    W = _upright(course, k) @ course.W[:, k]
    # The axes are placed by hand, because a layout of every frame takes ten times as long.
    drawing = plt.figure(figsize=(6.4, 3.2))
    scene = space(W[-1], SET_SIZE, drawing.add_axes((0, 0, 0.48, 0.92), projection="3d"))
    loss = drawing.add_axes((0.6, 0.17, 0.38, 0.73))
    over_steps(course.steps, course.loss[:, k : k + 1], loss, color=INK, linewidth=1.5)
    loss.set(yscale="log", ylabel="exact loss")
    # Ticks are plain text, because setting mathematics takes long in every frame.
    plain_ticks(loss.xaxis, (1, 10, 100, 1000))
    plain_ticks(loss.yaxis, (0.003, 0.01, 0.03, 0.1))
    (now,) = loss.plot([], [], "o", color=SHARED, markersize=9)

    def draw(record):
        _move_features(scene, W[record])
        scene.set_title(f"step {course.steps[record]:,}, one colour per set")
        now.set_data([course.steps[record].item()], [course.loss[record, k].item()])

    records = torch.linspace(1, len(course.steps) - 1, FRAMES).long().unique().tolist()
    frames = records + records[-1:] * LAST_FRAME_REPEATS
    return FuncAnimation(drawing, draw, frames=frames, interval=100)


def _move_features(scene, W):
    """Move the line and the dot of each feature, which `space` drew first, to the weights W."""
    lines = scene.lines[0::2]
    dots = scene.lines[1::2]
    for line, dot, end in zip(lines, dots, W.T[:, :, None].numpy()):
        line.set_data_3d(*np.hstack((0 * end, end)))
        dot.set_data_3d(*end)


def _upright(course, k):
    """Find the rotation that turns the first set's features at the end of run k to the axes."""
    left, _, right = torch.linalg.svd(course.W[-1, k][:, :SET_SIZE])
    return (left @ right).mT
