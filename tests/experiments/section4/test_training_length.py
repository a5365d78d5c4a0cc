"""Longer training of dense features: its settings, and the shares that the figure shows."""

from dataclasses import replace

import torch
from drawing import drawn
from test_uniform_superposition import product

from experiments.section4 import training_length
from experiments.section4.uniform_superposition import Result


def test_only_the_steps_differ():
    assert {settings.restarts for settings in training_length.SETTINGS} == {4}
    assert len({replace(settings, steps=1) for settings in training_length.SETTINGS}) == 1
    steps = [settings.steps for settings in training_length.SETTINGS]
    assert steps == sorted(set(steps))


def test_figure_puts_other_polytopes_together():
    digon_and_cube = torch.stack([product("digon", "digon", "digon", "digon"), product("cube")])[
        None
    ]
    results = [
        Result(torch.ones(1), torch.tensor(steps), W, torch.ones(1, len(W[0])))
        for steps, W in ((1000, digon_and_cube), (2000, product("triangle")[None, None]))
    ]
    (ax,) = drawn(training_length.figure, results).axes
    shown = {
        container.get_label(): [bar.get_height() for bar in container]
        for container in ax.containers
    }
    assert {name: heights for name, heights in shown.items() if any(heights)} == {
        "triangle": [0, 1], "digon": [0.5, 0], "another polytope": [0.5, 0]
    }  # fmt: skip
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "triangle",
        "digon",
        "another polytope",
    ]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1,000", "2,000"]
