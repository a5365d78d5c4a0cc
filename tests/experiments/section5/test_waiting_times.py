"""Waiting times: a short study, the committed ones, and the figure."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn
from made_up_courses import waits, way

import Section5main
from experiments.section5 import waiting_times
from experiments.section5.lone_feature import settled_plateau
from experiments.section5.waiting_times import QUICK, Settings, run
from features import FeatureDistribution
from losses import expected_loss
from sweeps import Experiment


def test_run_and_its_shards():
    whole = run(QUICK, seed=2, progress=False)
    parts = [run(part, seed=2, progress=False) for part in waiting_times.shards(QUICK)]
    for joined, together in zip(waiting_times.joined(parts), whole):
        assert torch.equal(joined, together)
    assert whole.waited.shape == (2, 2)
    assert (whole.jumped | (whole.waited == QUICK.steps)).all()
    assert (whole.jumped | ~whole.in_digons).all()


def test_copies_are_the_same_minimum():
    plateau = settled_plateau(8, 2, 1 / 3, progress=False)
    copies = waiting_times._copies(plateau, 3, seed=0)
    distribution = FeatureDistribution(1 / 3, features=8, instances=3)
    losses = expected_loss(copies.W.detach(), copies.b.detach(), distribution)
    one = expected_loss(plateau.W.detach(), plateau.b.detach(), distribution.select([0]))
    torch.testing.assert_close(losses, one.expand(3), rtol=1e-6, atol=0)
    assert not torch.allclose(copies.W[0], copies.W[1])
    assert not torch.equal(copies.b[0], copies.b[1])


def test_noisy_training_leaves_the_plateau():
    settings = replace(QUICK, learning_rates=(3e-2,), batch_sizes=(16,), steps=2000)
    result = run(settings, progress=False)
    assert result.jumped.all() and (result.waited < 2000).all()


def test_the_committed_waits_are_of_the_full_settings():
    settings = Settings()
    found = waiting_times.committed()
    assert found.learning_rate.tolist() == list(settings.learning_rates)
    assert found.batch_size.tolist() == list(settings.batch_sizes)
    assert found.steps.tolist() == [settings.steps] * len(settings.batch_sizes)
    assert found.waited.shape == (len(settings.batch_sizes), settings.runs)
    assert (found.waited[~found.jumped] == settings.steps).all()
    assert (found.waited > 0).all() and (found.waited <= settings.steps).all()
    assert found.in_digons[found.jumped].double().mean() > 0.9
    assert not found.in_digons[~found.jumped].any()


def test_the_command_that_makes_the_committed_file(tmp_path, monkeypatch):
    tiny = replace(QUICK, steps=40)
    experiment = Experiment(waiting_times, tiny, tiny)
    monkeypatch.setattr(Section5main.WAITING, "EXPERIMENTS", {"waiting": experiment})
    monkeypatch.setattr(waiting_times, "FILE", tmp_path / "waits.safetensors")
    command = ["--waiting", "--jobs", "1", "--out", str(tmp_path)]
    assert Section5main.main(command) == 0
    assert waiting_times.committed().waited.shape == (2, 2)
    with pytest.raises(SystemExit):
        Section5main.main([*command, "--quick"])


def test_figure():
    figure = drawn(waiting_times.figure, way(), waits())
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert labels[0].endswith("0 of 8 jump") and labels[-1].endswith("8 of 8 jump")


@pytest.mark.usefixtures("unchecked")
def test_each_way_has_a_learning_rate_and_a_batch_size():
    with pytest.raises(ValueError, match=r"batch_sizes: expected 5, one for each .* got 1"):
        Settings(batch_sizes=(256,))
