"""What all formats share: writing files, refusing foreign models, and exact activations."""

import json

import numpy as np
import pytest
import torch

import interop
import zoo
from features import FeatureDistribution
from models import ReLUOutputModel
from storage import Stored, read, save

FILES = {
    "arena": ["arena.json", "arena.safetensors"],
    "saelens": [
        "hierarchy.json",
        "synthetic_model.safetensors",
        "synthetic_model_config.json",
    ],
    "spd": ["tms.pth", "tms_train_config.yaml"],
}


@pytest.mark.parametrize("to", interop.EXPORTERS)
def test_the_files_of_a_format(to, tmp_path):
    lost = interop.export(zoo.FOLDER / "pentagon", to, tmp_path / "new" / "folder")
    assert sorted(file.name for file in (tmp_path / "new" / "folder").iterdir()) == FILES[to]
    assert all(isinstance(sentence, str) for sentence in lost)


def test_nothing_of_an_earlier_export_is_left(tmp_path):
    """Else SAELens would apply the older hierarchy to the newer model."""
    interop.export(zoo.FOLDER / "anticorrelated-pairs", "saelens", tmp_path)
    assert json.loads((tmp_path / "hierarchy.json").read_text(encoding="utf-8"))["roots"]
    interop.export(zoo.FOLDER / "pentagon", "saelens", tmp_path)
    assert not json.loads((tmp_path / "hierarchy.json").read_text(encoding="utf-8"))["roots"]


def test_nothing_is_written_of_what_is_refused(tmp_path):
    for name, to in (("none", "spd"), ("absolute-value-n3-m6", "saelens"), ("pentagon", "other")):
        with pytest.raises(ValueError, match="expected"):
            interop.export(zoo.FOLDER / name, to, tmp_path / "target")
    assert not (tmp_path / "target").exists()


class Doubled(ReLUOutputModel):
    """A model that computes something else."""

    def decode(self, h):
        return 2 * super().decode(h)


@pytest.mark.parametrize("to", interop.EXPORTERS)
def test_a_subclass_is_not_exported_as_its_base(to):
    stored = Stored(Doubled(1, 4, 2), FeatureDistribution(0.1, features=4), {"seed": None})
    with pytest.raises(
        ValueError, match=r"model: expected one of .*, got Doubled, which overrides"
    ):
        interop.EXPORTERS[to](stored)


@pytest.mark.parametrize("to", ["saelens", "spd"])
def test_several_instances_are_refused(to):
    inputs = FeatureDistribution(0.1, features=4, instances=2)
    stored = Stored(ReLUOutputModel(2, 4, 2), inputs, {"seed": None})
    with pytest.raises(ValueError, match="instances: expected a model of one instance, got 2"):
        interop.EXPORTERS[to](stored)
    with pytest.raises(ValueError, match="instances: expected a model of one instance, got 2"):
        interop.Activations(stored)


def test_activations_belong_to_the_models_own_inputs():
    """The members of a correlated set of three are active together, with uniform values."""
    octahedron = read(zoo.FOLDER / "octahedron")
    activations = interop.Activations(octahedron, seed=1)
    h, x = activations.sample_with_features(20_000)
    assert x.dtype == h.dtype == torch.float32
    torch.testing.assert_close(h, x @ octahedron.model.W[0].detach().float().mT)
    active = (x > 0).unflatten(1, (2, 3))
    assert torch.equal(active.all(dim=2), active.any(dim=2))
    assert abs(active[:, :, 0].double().mean() - 0.05) < 5 * (0.05 / 40_000) ** 0.5
    assert abs(x[x > 0].mean() - 0.5) < 0.02


def test_activations_depend_on_their_seed_alone():
    octahedron = read(zoo.FOLDER / "octahedron")
    first = interop.Activations(octahedron, seed=1)
    again = interop.Activations(octahedron, seed=np.int64(1))
    other = interop.Activations(octahedron, seed=2)
    x = first.features(100)
    assert first.sample(4).shape == (4, 3)
    assert torch.equal(again.features(100), x)
    assert not torch.equal(other.features(100), x)


def test_activations_need_a_distribution(tmp_path):
    save(ReLUOutputModel(1, 4, 2), tmp_path)
    with pytest.raises(ValueError, match="distribution: expected one"):
        interop.Activations(read(tmp_path))
