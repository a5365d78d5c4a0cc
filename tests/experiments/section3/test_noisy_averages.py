"""Noisy averages: what local minima explain, computed by hand, and the changes of the training."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn
from test_phase_diagram import ideal_diagram, noisy, spoil

from experiments.section3 import noisy_averages
from experiments.section3.noisy_averages import CHANGES
from experiments.section3.phase_diagram import THREE
from theory import phases


def test_each_change_of_the_study_is_one_of_the_diagrams_settings():
    studied = noisy_averages.study(THREE)
    assert studied[0] == THREE and len(set(studied)) == len(CHANGES)
    assert noisy_averages.study(THREE, ["initial weights 1"]) == (replace(THREE, init_scale=1.0),)


def test_longer_training_sets_rate_and_steps_of_the_diagrams():
    settings = noisy_averages.longer(THREE)
    assert [(each.lr, each.steps) for each in settings[::5]] == [(0.01, 500), (0.2, 10_000)]
    assert settings[3] == replace(THREE, lr=0.2, steps=500) and len(set(settings)) == 6


def test_explained_by_hand():
    """The mean is right without the local minima, or if the one good restart happens to be kept."""
    result, optimum = ideal_diagram(2, points=6)
    assert noisy_averages.explained(result, optimum) == (0, 1, 1)
    minima = noisy_averages.explained(spoil(result, [0, 1]), optimum, draws=200)
    represented = int((phases.phase(*phases.last_feature(optimum.W)) != 0).sum())
    assert minima.points == represented and minima.share == 1
    assert minima.chance == pytest.approx(1 / 3, abs=0.05)  # if the good one of three is kept
    assert noisy_averages.explained(noisy(result), optimum) == (represented, 0, 0)
    everywhere = noisy_averages.explained(spoil(result, [0, 1, 2]), optimum)
    assert everywhere == (represented, 1, 1)  # chance does as well, so this shows nothing


def test_success_by_hand():
    result, optimum = ideal_diagram(2, points=4)
    assert noisy_averages.success(result, optimum) == (1, 1, 1)
    reached, mean, best = noisy_averages.success(spoil(result, [0, 1]), optimum)
    assert reached == pytest.approx(1 / 3) and mean < best == 1


def test_study_figure_shows_each_measure():
    cases = [ideal_diagram(features, points=4) for features in (2, 3)]
    panels = [
        ([result, spoil(result, [0]), spoil(result, [0, 1])], optimum) for result, optimum in cases
    ]
    changes = list(CHANGES)[:3]
    figure = drawn(noisy_averages.figure, panels, changes)
    for ax, (results, optimum) in zip(figure.axes, panels):
        shown = torch.tensor([bar.get_width() for bar in ax.patches]).view(3, 3).T
        expected = torch.tensor([noisy_averages.success(result, optimum) for result in results])
        torch.testing.assert_close(shown, expected, check_dtype=False)
    titles = [ax.get_title() for ax in figure.axes]
    assert ["learning rate 0.1" in titles[0], "learning rate 0.2" in titles[1]] == [True, True]
    assert [title.split(";")[0] for title in titles] == ["$n=2$, $m=1$", "$n=3$, $m=2$"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == changes


def test_longer_figure_shows_each_share():
    result, optimum = ideal_diagram(3, points=4)
    stuck = spoil(result, [0, 1])
    results = [stuck, stuck, result, stuck, result, result]
    measured = noisy_averages.longer_averages(results, optimum)
    assert measured.reached.tolist() == [
        [pytest.approx(1 / 3)] * 2 + [1],
        [pytest.approx(1 / 3), 1, 1],
    ]
    assert measured.given_back[1, 2].tolist() == [1, 1, 1, 1]
    shown = drawn(noisy_averages.longer_figure, results, optimum)
    for ax, given_back, reached in zip(shown.axes, measured.given_back, measured.reached):
        *regions, restarts = [line.get_ydata().tolist() for line in ax.lines]
        assert regions == given_back.T.tolist() and restarts == reached.tolist()
        assert ax.lines[0].get_xdata().tolist() == list(noisy_averages.STEPS)
