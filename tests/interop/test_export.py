"""Exported files, read by hand as the other tools do, and run against our own models."""

import io
import json

import pytest
import torch
from safetensors.torch import load

import zoo
from features import FeatureDistribution
from interop import export
from models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel
from storage import read, save


@pytest.fixture
def pentagon():
    return read(zoo.FOLDER / "pentagon")


def stored(tmp_path, model, **inputs):
    save(model, tmp_path / "model", FeatureDistribution(**inputs, features=model.features))
    return read(tmp_path / "model")


def test_spd_reads_the_same_model(pentagon):
    files, lost = export.spd(pentagon)
    state = torch.load(io.BytesIO(files["tms.pth"]), weights_only=True)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "linear1.weight": (2, 5), "linear2.weight": (5, 2), "linear2.bias": (5,),
    }  # fmt: skip
    x = torch.rand(7, 5)
    hidden = torch.nn.functional.linear(x, state["linear1.weight"])
    output = torch.nn.functional.linear(
        hidden, state["linear2.weight"], state["linear2.bias"]
    ).relu()
    torch.testing.assert_close(output, pentagon.model(x.double()[None])[0].detach().float())
    assert lost == []
    lines = files["tms_train_config.yaml"].decode().splitlines()
    for line in (
        "  n_features: 5",
        "  n_hidden: 2",
        "  tied_weights: true",
        "feature_probability: 0.05",
    ):
        assert line in lines


def test_spd_is_told_of_correlated_sets():
    """There each feature of a set draws for itself, and one that is active takes the others along: as dense in all."""
    files, lost = export.spd(read(zoo.FOLDER / "octahedron"))
    lines = files["tms_train_config.yaml"].decode().splitlines()
    assert "synced_inputs: [[0, 1, 2], [3, 4, 5]]" in lines and lost == []
    (of_one,) = (
        float(line.split()[1]) for line in lines if line.startswith("feature_probability: ")
    )
    assert 1 - (1 - of_one) ** 3 == pytest.approx(0.05)


def test_spd_says_what_it_cannot_say():
    files, (independent,) = export.spd(read(zoo.FOLDER / "anticorrelated-pairs"))
    assert "anticorrelated sets" in independent
    assert (
        "feature_probability: 0.05" in files["tms_train_config.yaml"].decode().splitlines()
    )  # 0.1 of a pair
    (importance,) = export.spd(read(zoo.FOLDER / "n5-m2-dense"))[1]
    assert "importance" in importance


def test_saelens_reads_the_same_activations(pentagon):
    files, lost = export.saelens(pentagon)
    tensors = load(files["synthetic_model.safetensors"])
    config = json.loads(files["synthetic_model_config.json"])
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {
        "feature_vectors": (5, 2), "bias": (2,), "firing_probabilities": (5,),
    }  # fmt: skip
    x = torch.rand(7, 5)
    ours = pentagon.model.encode(x.double()[None])[0].detach().float()
    torch.testing.assert_close(x @ tensors["feature_vectors"] + tensors["bias"], ours)
    assert (config["num_features"], config["hidden_dim"]) == (
        5,
        2,
    ) and "uniform magnitudes" in lost[0]
    torch.testing.assert_close(tensors["firing_probabilities"], torch.full((5,), 0.05))


def test_arena_has_our_layout(pentagon):
    files, _ = export.arena(pentagon)
    tensors = load(files["arena.safetensors"])
    assert tensors["W"].shape == (1, 2, 5) and tensors["b_final"].shape == (1, 5)
    x = torch.rand(7, 1, 5)  # their features: batch, inst, feats
    h = torch.einsum("bif,ihf->bih", x, tensors["W"])
    output = (torch.einsum("bih,ihf->bif", h, tensors["W"]) + tensors["b_final"]).relu()
    torch.testing.assert_close(
        output.transpose(0, 1), pentagon.model(x.transpose(0, 1).double()).detach().float()
    )


def test_activations_are_of_the_models_own_inputs():
    """The members of a correlated set of three are active together, and uniform."""
    given = export.Activations(read(zoo.FOLDER / "octahedron"), seed=1)
    h, x = given.sample_with_features(20_000)
    assert given.sample(4).shape == (4, 3) and x.dtype == h.dtype == torch.float32
    again = export.Activations(read(zoo.FOLDER / "octahedron"), seed=1).features(20_000)
    assert torch.equal(again, x)
    active = (x > 0).view(-1, 2, 3)
    assert torch.equal(active.all(dim=2), active.any(dim=2))
    assert abs(active[:, :, 0].double().mean() - 0.05) < 5 * (0.05 / 40_000) ** 0.5
    assert abs(x[x > 0].mean() - 0.5) < 0.02
    torch.testing.assert_close(h, x @ given.model.W[0].detach().float().mT)


def test_refused_models(tmp_path):
    refused = stored(tmp_path, ReLUHiddenModel(1, 4, 2), density=0.1)
    for one in (export.spd, export.saelens):
        with pytest.raises(ValueError, match="class: expected"):
            one(refused)
    with pytest.raises(ValueError, match="class: expected tied weights"):
        export.arena(stored(tmp_path, AbsoluteValueModel(1, 4, 2), density=0.1))
    with pytest.raises(ValueError, match="signed: expected"):
        export.saelens(stored(tmp_path, ReLUOutputModel(1, 4, 2), density=0.1, signed=True))
    several = stored(tmp_path, ReLUOutputModel(2, 4, 2), density=0.1, instances=2)
    for one in (export.spd, export.saelens, export.Activations):
        with pytest.raises(ValueError, match="instances: expected a model of one instance, got 2"):
            one(several)


def test_the_command(tmp_path, capsys):
    for to in export.EXPORTERS:
        assert export.main([str(zoo.FOLDER / "pentagon"), "--to", to, str(tmp_path / to)]) == 0
    assert "uniform magnitudes" in capsys.readouterr().err
    assert sorted(file.name for file in (tmp_path / "spd").iterdir()) == [
        "tms.pth",
        "tms_train_config.yaml",
    ]
    with pytest.raises(SystemExit) as stopped:
        export.main([str(tmp_path / "none"), "--to", "spd", str(tmp_path)])
    assert stopped.value.code == 2
