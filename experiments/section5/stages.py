"""Learning as geometric transformations: six features in space pass through stages (paper, Section 5).

Two sets of three correlated features in m=3, small initial weights, constant learning rate. Six features have an exact
loss, so runs are trained on it as well as on samples, and the points where the stages rest can be found: there the
exact gradient vanishes, and the negative directions of the Hessian are the ways on.
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.animation import FuncAnimation
from torch import Tensor

from checks import check_settings
from experiments.section5.learning_curves import fall_rate, log_steps, logarithmic_steps, stretches
from features import FeatureDistribution
from models import ReLUOutputModel
from theory.polytopes import tegum_factors
from theory.stationary import curvatures, distance, exact_gradient, nearest_stationary
from training import train
from visualization import (
    FAINT,
    INK,
    OTHERS,
    SHARED,
    WIDTH,
    over_steps,
    plain_ticks,
    polytope_colour,
    space,
)

SIZE, SETS, HIDDEN = 3, 2, 3
FLAT = 0.5  # in a stage the loss falls slower than with the inverse root of the step
LASTING = 1.2  # and steps grow by this factor at least
NEGATIVE = 0.01  # a direction leads down where its curvature is negative, by this share of the most negative anywhere
FRAMES, PAUSE = (
    40,
    6,
)  # of the animation: frames of training, and how often the last one is shown again
STAGE_COLOURS = [
    *map(polytope_colour, (OTHERS, "tetrahedron", "dedicated dimension", "pentagon", "digon"))
]


@dataclass(frozen=True)
class Settings:
    density: float = 0.05
    runs: int = 32  # on the exact loss, and as many on samples
    steps: int = 2000
    batch_size: int = 256
    lr: float = 1e-2  # constant
    init_scale: float = 0.01
    records: int = 160
    followed: int = 8  # exact runs whose stages are searched for stationary points
    searches: int = 60  # steps of Newton's method

    def __post_init__(self):
        check_settings(self)
        if self.density > 1:
            raise ValueError(f"density: expected at most 1, got {self.density}")


QUICK = Settings(runs=4, steps=400, batch_size=64, records=60, followed=1, searches=3)


class Course(NamedTuple):
    """What training passes through."""

    steps: Int[Tensor, " records"]
    W: Float[Tensor, "records runs 3 6"]
    b: Float[Tensor, "records runs 6"]
    loss: Float[Tensor, "records runs"]  # exact
    gradient: Float[Tensor, "records runs"]  # norm of the exact gradient


class Stationary(NamedTuple):
    """Where Newton's method leads from the stages of the followed runs."""

    run: Int[Tensor, " stages"]
    first: Int[Tensor, " stages"]  # record
    last: Int[Tensor, " stages"]
    start: Int[Tensor, " stages"]  # the record of the stage with the smallest gradient
    W: Float[Tensor, "stages 3 6"]
    b: Float[Tensor, "stages 6"]
    loss: Float[Tensor, " stages"]
    gradient: Float[Tensor, " stages"]  # its norm
    curvatures: Float[Tensor, "stages weights"]  # eigenvalues of the Hessian, ascending


class Result(NamedTuple):
    exact: Course
    sampled: Course
    stationary: Stationary


def run(settings, *, seed=0, device="cpu", progress=True):
    """Exact losses are computed on the CPU; the device trains the samples."""
    exact = _course(settings, seed, "cpu", progress, exact=True)
    sampled = _course(settings, seed, device, progress, exact=False)
    return Result(exact, sampled, _stationary(settings, exact))


def _inputs(density, instances):
    return FeatureDistribution(
        density, features=SETS * SIZE, instances=instances, set_size=SIZE, correlation="correlated"
    )


def _course(settings, seed, device, progress, exact):
    inputs = _inputs(settings.density, settings.runs).to(device)
    how = {
        "dtype": torch.float64 if exact else torch.float32,
        "device": device,
        "init_scale": settings.init_scale,
    }
    model = ReLUOutputModel(settings.runs, SETS * SIZE, HIDDEN, seed=seed, **how)
    record = logarithmic_steps(settings.steps, settings.records)
    how = {
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "lr": settings.lr,
        "schedule": "constant",
    }
    history = train(model, inputs, exact=exact, seed=seed, record=record, progress=progress, **how)
    W, b = (history.weights[name].double() for name in ("W", "b"))
    by_record = W.shape[:2]
    found = exact_gradient(
        W.flatten(0, 1), b.flatten(0, 1), _inputs(settings.density, by_record.numel())
    )
    return Course(history.steps, W, b, found.loss.view(by_record), found.norm.view(by_record))


def _stationary(settings, course):
    found = [
        (k, *stage)
        for k, of_run in enumerate(stages(course)[: settings.followed])
        for stage in of_run
    ]
    of_run, first, last = torch.tensor(found).view(-1, 3).T
    start = torch.tensor([a + course.gradient[a : z + 1, k].argmin().item() for k, a, z in found])
    inputs = _inputs(settings.density, len(found))
    W, b = nearest_stationary(
        course.W[start, of_run], course.b[start, of_run], inputs, settings.searches
    )
    there = exact_gradient(W, b, inputs)
    return Stationary(
        of_run, first, last, start, W, b, there.loss, there.norm, curvatures(W, b, inputs)
    )


# What it shows


def stages(course) -> list[list[tuple[int, int]]]:
    """Of every run the first and last record of each stage: where the loss is FLAT, for LASTING steps."""
    flat, time = fall_rate(course.steps, course.loss) < FLAT, log_steps(course.steps).exp()
    return [
        [(a, z) for a, z in stretches(of_run) if time[z] >= LASTING * time[a]] for of_run in flat.T
    ]


def approach(result) -> Float[Tensor, "records stages"]:
    """How far the run is at each record from the stationary point of each of its stages; 1 is its norm at the end."""
    course, points = result.exact, result.stationary
    norm = (course.W[-1].square().sum(dim=(1, 2)) + course.b[-1].square().sum(dim=1)).sqrt()
    away = [
        distance(
            course.W[:, k],
            course.b[:, k],
            W.expand(len(course.W), -1, -1),
            b.expand(len(course.W), -1),
        )
        / norm[k]
        for k, W, b in zip(points.run.tolist(), points.W, points.b)
    ]
    return torch.stack(away, dim=1)


def is_last(result) -> Bool[Tensor, " stages"]:
    """Which stages go on to the end of the run."""
    return result.stationary.last == len(result.exact.steps) - 1


def negative(result) -> Int[Tensor, " stages"]:
    """The number of directions in which the loss curves down at each point."""
    values = result.stationary.curvatures
    return (values < NEGATIVE * values.min().clamp(max=0)).sum(dim=1)


def ending(W: Float[Tensor, "3 6"]):
    """What a run ends in: "octahedron" where three digons are of features of different sets, else its factors."""
    factors = tegum_factors(W)
    names = sorted(factor.polytope for factor in factors)
    mixed = all(len({feature // SIZE for feature in factor.features}) == SETS for factor in factors)
    return "octahedron" if names == ["digon"] * 3 and mixed else ", ".join(names)


def endings(course):
    """{ending: share of the runs}."""
    return {
        name: count / len(course.W[-1])
        for name, count in Counter(map(ending, course.W[-1])).most_common()
    }


# Figures


def shown(result):
    """The followed run with most stages."""
    return result.stationary.run.bincount().argmax().item()


def figure(result):
    """A run's features in space at each of its stages; loss, gradient and distance from the stages' resting points."""
    course, k = result.exact, shown(result)
    mine = (result.stationary.run == k).nonzero()[:, 0]
    drawing = plt.figure(figsize=(WIDTH, 9), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1, 2.6))
    scenes = above.subplots(1, len(mine), subplot_kw={"projection": "3d"}, squeeze=False)[0]
    loss, gradient, away = below.subplots(3, 1, sharex=True, height_ratios=(1.4, 1, 1))
    over_steps(course.steps, course.loss, loss, color=FAINT, linewidth=0.6)
    over_steps(course.steps, course.loss[:, k : k + 1], loss, color=INK, linewidth=1.8)
    over_steps(course.steps, course.gradient[:, k : k + 1], gradient, color=INK, linewidth=1.8)
    distances = approach(result)[:, mine]
    for stage, (ax, at) in enumerate(zip(scenes, mine.tolist())):
        points, colour = result.stationary, STAGE_COLOURS[stage % len(STAGE_COLOURS)]
        space(_upright(course, k) @ course.W[points.start[at], k], SIZE, ax)
        down = negative(result)[at].item()
        ax.set_title(
            f"stage {stage + 1}: step {course.steps[points.start[at]]:,}\n{down} ways down",
            color=colour,
            y=0.94,
        )
        span = [
            max(course.steps[record].item(), 1) for record in (points.first[at], points.last[at])
        ]
        for below_ax in (loss, gradient):
            below_ax.axvspan(*span, color=colour, alpha=0.2, linewidth=0)
        over_steps(course.steps, distances[:, stage, None], away, color=colour, linewidth=1.8)
    loss.set(
        yscale="log",
        ylabel="exact loss",
        xlabel="",
        title="black: one run, grey: all; in colour: its stages. In space, a colour for each set",
    )
    gradient.set(yscale="log", ylabel="norm of the\nexact gradient", xlabel="")
    away.set(ylabel="distance from the\nstationary points", ylim=(0, None))
    return drawing


def animation(result):
    """A run's features moving to their octahedron in space, the loss beside it."""
    course, k = result.exact, shown(result)
    W = _upright(course, k) @ course.W[:, k]
    drawing = plt.figure(
        figsize=(6.4, 3.2)
    )  # placed by hand: to lay out every frame takes ten times as long
    scene = space(W[-1], SIZE, drawing.add_axes((0, 0, 0.48, 0.92), projection="3d"))
    loss = drawing.add_axes((0.6, 0.17, 0.38, 0.73))
    over_steps(course.steps, course.loss[:, k : k + 1], loss, color=INK, linewidth=1.5)
    loss.set(yscale="log", ylabel="exact loss")
    for axis, ticks in ((loss.xaxis, (1, 10, 100, 1000)), (loss.yaxis, (0.003, 0.01, 0.03, 0.1))):
        plain_ticks(axis, ticks)  # plain text: mathematics takes long to set in every frame
    (now,) = loss.plot([], [], "o", color=SHARED, markersize=9)

    def draw(record):
        for feature, (line, dot) in enumerate(zip(scene.lines[0::2], scene.lines[1::2])):
            if feature < W.shape[2]:
                end = W[record, :, feature, None].numpy()
                line.set_data_3d(*np.hstack((0 * end, end)))
                dot.set_data_3d(*end)
        scene.set_title(f"step {course.steps[record]:,}, a colour a set")
        now.set_data([course.steps[record].item()], [course.loss[record, k].item()])

    records = torch.linspace(1, len(course.steps) - 1, FRAMES).long().unique().tolist()
    return FuncAnimation(drawing, draw, frames=records + records[-1:] * PAUSE, interval=100)


def _upright(course, k):
    """The rotation of space in which the first set's features end along the axes, as nearly as they can."""
    left, _, right = torch.linalg.svd(course.W[-1, k][:, :SIZE])
    return (left @ right).mT
