"""Every small model of the zoo is what its certificate says, and a false certificate is found out."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import zoo
from features import FeatureDistribution
from geometry import feature_norms
from models import ReLUOutputModel, read
from polytopes import POLYTOPES

SMALL = [name for name, entry in zoo.ENTRIES.items() if entry.distribution.features <= 20]
EXACT = [name for name in SMALL if "exact" in zoo.ENTRIES[name].training]


@pytest.mark.parametrize("name", SMALL)
def test_certificates_hold(name):
    assert zoo.disagreements(read(zoo.FOLDER / name)) == []


@pytest.mark.parametrize("name", zoo.ENTRIES)
def test_the_zoo_holds_what_its_entries_say(name):
    entry, stored = zoo.ENTRIES[name], read(zoo.FOLDER / name)
    assert type(stored.model) is entry.kind and stored.model.hidden == entry.hidden and stored.model.instances == 1
    for field in ("density", "importance"):
        assert torch.equal(getattr(stored.distribution, field), getattr(entry.distribution, field))
    assert stored.config["training"] == entry.described and stored.config["seed"] == 0
    if entry.polytope:
        assert stored.config["certificate"]["factors"] == {entry.polytope: 1}


@pytest.mark.parametrize("name", EXACT)
def test_exact_models_are_minima(name):
    told = read(zoo.FOLDER / name).config["certificate"]
    assert told["standard_error"] == 0 and told["gradient_norm"] < 1e-6 and told["lowest_eigenvalue"] > 0
    assert told["gap"] >= 0


FALSE = {"loss": 1.0, "gradient_norm": 0.1, "lowest_eigenvalue": -1.0, "represented": 4, "factors": {"digon": 2}}


@pytest.mark.parametrize("field", FALSE)
def test_a_false_certificate_is_found_out(field, tmp_path):
    shutil.copytree(zoo.FOLDER / "pentagon", tmp_path / "pentagon")
    path = tmp_path / "pentagon" / "config.json"
    config = json.loads(path.read_text())
    config["certificate"][field] = FALSE[field]
    path.write_text(json.dumps(config))
    (wrong,) = zoo.disagreements(read(tmp_path / "pentagon"))
    assert wrong.startswith(f"{field}: claimed")
    assert zoo.check(["pentagon"], tmp_path) == 1 and zoo.check(["pentagon"]) == 0


def test_other_weights_do_not_pass(tmp_path):
    stored = read(zoo.FOLDER / "pentagon")
    with torch.no_grad():
        stored.model.W.mul_(1.01)
    told = stored.config["certificate"]
    stored.model.save(tmp_path, stored.distribution, certificate=told)
    wrong = zoo.disagreements(read(tmp_path))
    assert [line.split(":")[0] for line in wrong][:2] == ["loss", "gradient_norm"]


def test_a_saddle_point_curves_down():
    """All weights zero: superposition leads down from there."""
    inputs = FeatureDistribution(0.05, features=5)
    b = torch.full((1, 5), 0.025, dtype=torch.float64)
    assert zoo.lowest_curvature(torch.zeros(1, 2, 5, dtype=torch.float64), b, inputs) < -1e-3


def test_turning_does_not_count_as_flat():
    """A plane has one rotation: with it, the lowest eigenvalue at the pentagon would be 0."""
    stored = read(zoo.FOLDER / "pentagon")
    W, b = stored.model.W.detach(), stored.model.b.detach()
    assert zoo.lowest_curvature(W, b, stored.distribution) > 1e-3
    assert abs(torch.linalg.eigvalsh(zoo.hessian(W, b, stored.distribution))[0, 0]) < 1e-4


def test_a_model_loads_without_this_repository():
    """The lines of the README."""
    tensors = load_file(zoo.FOLDER / "pentagon" / "model.safetensors")
    config = json.loads((zoo.FOLDER / "pentagon" / "config.json").read_text())
    W, b = tensors["W"], tensors["b"]  # (instances, hidden, features), (instances, features)
    x = (torch.rand(1, 1024, config["features"]) < config["density"]) * torch.rand(1, 1024, config["features"])
    h = x.to(W) @ W.mT
    output = torch.relu(h @ W + b[:, None])
    torch.testing.assert_close(output, read(zoo.FOLDER / "pentagon").model(x.to(W)).detach())
    torch.testing.assert_close(feature_norms(W), W.norm(dim=1))


def test_one_is_made_as_it_is_kept():
    """The same seed gives the same model, and the polytope's name is that of its vertices."""
    entry = zoo.ENTRIES["digon"]
    model, gap = zoo.made(entry)
    kept = read(zoo.FOLDER / "digon")
    torch.testing.assert_close(model.W, kept.model.W, rtol=1e-6, atol=1e-9)
    assert gap == pytest.approx(kept.config["certificate"]["gap"], abs=1e-9)
    assert POLYTOPES["digon"].vertices.shape == (1, 2) and isinstance(model, ReLUOutputModel)
