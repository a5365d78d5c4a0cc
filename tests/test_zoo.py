"""Every small model of the zoo is what its certificate says, and a false certificate is found out."""

import json
import math
import re
import shutil

import pytest
import torch

import zoo
from features import FeatureDistribution
from models import ReLUOutputModel
from storage import read, save
from theory.polytopes import POLYTOPES

SMALL = [name for name, entry in zoo.ENTRIES.items() if entry.distribution.features <= 20]
LINEAR_HIDDEN = [
    name for name, entry in zoo.ENTRIES.items() if entry.kind is ReLUOutputModel
]  # as in those lines
EXACT = [name for name in SMALL if "exact" in zoo.ENTRIES[name].training]


WITHOUT = "Without this repository:\n\n```python\n(.*?)```"
LINES = re.search(
    WITHOUT, (zoo.FOLDER.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL
)[1]


@pytest.mark.parametrize("name", SMALL)
def test_certificates_hold(name):
    assert zoo.disagreements(read(zoo.FOLDER / name)) == []


@pytest.mark.parametrize("name", zoo.ENTRIES)
def test_the_zoo_holds_what_its_entries_say(name):
    entry, stored = zoo.ENTRIES[name], read(zoo.FOLDER / name)
    assert (
        type(stored.model) is entry.kind
        and stored.model.hidden == entry.hidden
        and stored.model.instances == 1
    )
    for field in ("density", "importance"):
        assert torch.equal(getattr(stored.distribution, field), getattr(entry.distribution, field))
    assert stored.config["training"] == entry.described and stored.config["seed"] == 0
    if entry.polytope:
        assert stored.config["certificate"]["factors"] == {entry.polytope: 1}


@pytest.mark.parametrize("name", EXACT)
def test_exact_models_are_minima(name):
    told = read(zoo.FOLDER / name).config["certificate"]
    assert (
        told["standard_error"] == 0
        and told["gradient_norm"] < 1e-6
        and told["lowest_eigenvalue"] > 0
    )
    assert told["gap"] >= 0


@pytest.mark.parametrize("name", LINEAR_HIDDEN)
def test_losses_are_exact_where_they_can_be(name):
    told = read(zoo.FOLDER / name).config["certificate"]
    assert told["standard_error"] == 0 and told["gap"] >= 0 and told["gradient_norm"] < 5e-3
    assert (told["lowest_eigenvalue"] is None) == (
        zoo.ENTRIES[name].distribution.features > zoo.EXACT_FEATURES
    )


@pytest.mark.parametrize("name", ["digon", "pentagon", "square-antiprism"])
def test_the_table_knows_these_polytopes(name):
    """They are the best of its arrangements, found with nothing presupposed, so their losses are the same."""
    entry, told = zoo.ENTRIES[name], read(zoo.FOLDER / name).config["certificate"]
    assert zoo.best_product(entry.distribution, entry.hidden) == pytest.approx(
        told["loss"], rel=1e-7
    )


def test_products_of_the_table():
    """Four features in two dimensions at density 0.05 are two digons; one that is left over costs p/3 - p^2/4."""
    p, digon = 0.05, read(zoo.FOLDER / "digon").config["certificate"]["loss"]
    pairs = [
        zoo.best_product(FeatureDistribution(p, features=n), hidden)
        for n, hidden in ((2, 1), (1, 1), (3, 1))
    ]
    assert pairs[0] == pytest.approx(digon, rel=1e-7) and pairs[1] == pytest.approx(0, abs=1e-12)
    assert pairs[2] <= digon + p / 3 - p**2 / 4 + 1e-12
    assert zoo.best_product(FeatureDistribution(p, features=4), 2) == pytest.approx(
        2 * digon, rel=1e-6
    )
    for other in (
        {"density": 0.051},
        {"density": p, "importance": 0.5},
        {"density": p, "signed": True},
    ):
        assert zoo.best_product(FeatureDistribution(**other, features=4), 2) == math.inf


def test_a_gap_that_hides_a_better_arrangement_is_found_out(tmp_path):
    stored = read(zoo.FOLDER / "triangle")  # a digon and a feature that is ignored are better
    save(
        stored.model,
        tmp_path,
        stored.distribution,
        certificate=stored.config["certificate"] | {"gap": 0.0},
    )
    (wrong,) = zoo.disagreements(read(tmp_path))
    assert wrong.startswith("gap: claimed 0.0, expected at least 0.127")


FALSE = {
    "loss": 1.0,
    "gradient_norm": 0.1,
    "lowest_eigenvalue": -1.0,
    "represented": 4,
    "factors": {"digon": 2},
}


@pytest.mark.parametrize("field", FALSE)
def test_a_false_certificate_is_found_out(field, tmp_path):
    shutil.copytree(zoo.FOLDER / "pentagon", tmp_path / "pentagon")
    path = tmp_path / "pentagon" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["certificate"][field] = FALSE[field]
    path.write_text(json.dumps(config), encoding="utf-8")
    (wrong,) = zoo.disagreements(read(tmp_path / "pentagon"))
    assert wrong.startswith(f"{field}: claimed")
    assert zoo.check(["pentagon"], tmp_path) == 1 and zoo.check(["pentagon"]) == 0


def test_other_weights_do_not_pass(tmp_path):
    stored = read(zoo.FOLDER / "pentagon")
    with torch.no_grad():
        stored.model.W.mul_(1.01)
    told = stored.config["certificate"]
    save(stored.model, tmp_path, stored.distribution, certificate=told)
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


@pytest.mark.parametrize("name", LINEAR_HIDDEN)
def test_a_model_loads_without_this_repository(name, monkeypatch):
    """The lines of the README; other models have a ReLU in the hidden layer, and two matrices in part."""
    monkeypatch.chdir(zoo.FOLDER.parent)
    found = {}
    exec(LINES.replace("zoo/pentagon", f"zoo/{name}"), found)
    stored = read(zoo.FOLDER / name)
    expected = stored.model(found["x"].to(stored.model.b.dtype)).detach()
    assert expected.shape == (1, 1024, stored.model.features)
    torch.testing.assert_close(found["output"], expected)


def test_one_is_made_as_it_is_kept():
    """The same seed gives the same model, and the polytope's name is that of its vertices."""
    entry = zoo.ENTRIES["digon"]
    model, gap = zoo.made(entry)
    kept = read(zoo.FOLDER / "digon")
    torch.testing.assert_close(model.W, kept.model.W, rtol=1e-6, atol=1e-9)
    assert gap == pytest.approx(kept.config["certificate"]["gap"], abs=1e-9)
    assert POLYTOPES["digon"].vertices.shape == (1, 2) and isinstance(model, ReLUOutputModel)
