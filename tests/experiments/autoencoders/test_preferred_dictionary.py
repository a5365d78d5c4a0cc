"""Which dictionary the objective prefers: sums of features by hand, a short run, the figure."""

import pytest
import torch
from drawing import drawn

from experiments.autoencoders import preferred_dictionary
from experiments.autoencoders.preferred_dictionary import (
    MODELS,
    NAMES,
    QUICK,
    SUMS,
    TRUE,
    Result,
    Settings,
    lowest,
    run,
    sums,
)
from features import FeatureDistribution


def made(sums=0.8):
    """A result in which sums have so many times the objective of the true dictionary."""
    levels = len(Settings().penalties)
    held = torch.tensor([0.2, 0.2 * sums])[:, None].repeat(1, levels)
    start = torch.eye(4).expand(2, -1, -1)
    dictionary = start[:, None].repeat(1, levels, 1, 1)
    return Result(torch.tensor(Settings().penalties), start, held, held.clone(), dictionary)


def pairs(correlation, features=4, size=2):
    return FeatureDistribution(0.1, features=features, set_size=size, correlation=correlation)


ROOT = 2**-0.5
PLANE = torch.tensor([[1.0, 0, -1, 0], [0, 1, 0, -1]])


@pytest.mark.parametrize(
    "correlation, order", [("correlated", [0, 1, 2, 3]), ("anticorrelated", [0, 2, 1, 3])]
)
def test_sums_and_differences_of_two_axes(correlation, order):
    """The members of a set are both axes where correlated, and one axis where anticorrelated."""
    codes = sums(PLANE[:, order], pairs(correlation))
    expected = ROOT * torch.tensor([[1.0, 1, -1, -1], [1, -1, -1, 1]])
    torch.testing.assert_close(codes, expected)


def test_sums_of_three_axes():
    codes = sums(torch.cat((torch.eye(3), -torch.eye(3)), dim=1), pairs("correlated", 6, 3))
    half = ROOT * torch.tensor([[1.0, 1, 0], [1, 0, 1], [0, 1, 1]])
    torch.testing.assert_close(codes, torch.cat((half, -half), dim=1))


def test_lowest_is_of_all_but_the_true_dictionary():
    result = made(sums=0.9)
    assert lowest(result).tolist() == pytest.approx([0.18] * 4)
    result.held[TRUE] = 0.01
    assert lowest(result).tolist() == pytest.approx([0.18] * 4)
    result.released[TRUE, 0] = 0.1
    result.released[SUMS, 1] = 0.05
    assert lowest(result).tolist() == pytest.approx([0.1, 0.05, 0.18, 0.18])


def test_run():
    settings = QUICK[0]
    result, again, other = (run(settings, seed=seed, progress=False) for seed in (0, 0, 1))
    assert result.start.shape == (2, 2, 4) and result.held.shape == (2, 2)
    assert result.dictionary.shape == (2, 2, 2, 4)
    torch.testing.assert_close(result.start.norm(dim=1), torch.ones(2, 4))
    cosines = result.start[TRUE].T @ result.start[SUMS]
    assert cosines.abs().sub(ROOT).abs().max() < 0.1  # sums lie between the features
    assert all(torch.equal(*both) for both in zip(result, again))
    assert not torch.equal(result.held, other.held)
    for dictionary, start in zip(result.dictionary, result.start):
        assert not torch.equal(dictionary[0], start)  # released, it has moved
    drawn(preferred_dictionary.figure, [result] * 3, NAMES)


def test_settings_of_the_section():
    assert [settings.model for settings in MODELS] == list(NAMES)
    for file in preferred_dictionary.INPUTS:
        assert file.parent.name in NAMES


@pytest.mark.usefixtures("unchecked")
def test_another_model_is_refused():
    with pytest.raises(ValueError, match="model: expected one of correlated-pairs, octahedron"):
        Settings("n20-m5")


def test_figure_shows_the_objectives():
    figure = drawn(preferred_dictionary.figure, [made(0.8), made(0.7), made(1.3)], NAMES)
    for ax, share, name in zip(figure.axes, (0.8, 0.7, 1.3), NAMES):
        assert ax.get_title() == name
        held, from_sums, from_true, true = (line.get_ydata() for line in ax.lines)
        assert held.tolist() == from_sums.tolist() == pytest.approx([share] * 4)
        assert from_true.tolist() == pytest.approx([1] * 4) and set(true) == {1}
