"""The zoo: small models are what their certificates say, and false certificates are found out."""

import json
import math
import re
import shutil

import pytest
import torch

import interop
import zoo
from features import FeatureDistribution
from models import ReLUOutputModel
from storage import read, save
from theory import certificates
from theory.polytopes import POLYTOPES

SMALL = [
    name
    for name, entry in zoo.ENTRIES.items()
    if entry.distribution.features <= certificates.DENSE_FEATURES
]
LINEAR_HIDDEN = [
    name for name, entry in zoo.ENTRIES.items() if entry.model_class is ReLUOutputModel
]
SETTLED = [name for name, entry in zoo.ENTRIES.items() if entry.settled]

README = (zoo.FOLDER.parent / "README.md").read_text(encoding="utf-8")
SNIPPET = re.search("To read\\sone without our code:\n\n```python\n(.*?)```", README, re.DOTALL)[1]


@pytest.mark.parametrize("name", SMALL)
def test_certificates_hold(name):
    assert zoo.disagreements(read(zoo.FOLDER / name)) == []


@pytest.mark.parametrize("name", zoo.ENTRIES)
def test_the_zoo_holds_what_its_entries_say(name):
    entry, stored = zoo.ENTRIES[name], read(zoo.FOLDER / name)
    assert (
        type(stored.model) is entry.model_class
        and stored.model.hidden == entry.hidden
        and stored.model.instances == 1
    )
    for field in ("density", "importance"):
        assert torch.equal(getattr(stored.distribution, field), getattr(entry.distribution, field))
    assert stored.config["training"] == entry.description and stored.config["seed"] == 0
    if entry.polytope:
        assert stored.config["certificate"]["factors"] == {entry.polytope: 1}


@pytest.mark.parametrize("name", SETTLED)
def test_settled_models_are_minima(name):
    stored = read(zoo.FOLDER / name)
    told = stored.config["certificate"]
    assert told["standard_error"] == 0 and told["gradient_norm"] < 1e-7
    assert told["lowest_eigenvalue"] > 0 and told["gap"] >= 0
    assert stored.model.W.dtype == torch.float64


def test_what_is_not_settled():
    """The exact loss is known for one of these models, but not accurately enough to settle it."""
    others = [name for name in zoo.ENTRIES if name not in SETTLED]
    told = {name: read(zoo.FOLDER / name).config["certificate"] for name in others}
    assert all(certificate["lowest_eigenvalue"] is None for certificate in told.values())
    known = [name for name in others if told[name]["gradient_norm"] is not None]
    assert known == ["n40-m10"] and told["n40-m10"]["gradient_norm"] < 5e-3


@pytest.mark.parametrize("name", ["n20-m5", "n40-m10", "two-sets-of-ten"])
def test_loss_and_gradient_of_many_features_hold(name):
    """The eigenvalue takes minutes and is left to `python zoo.py check`."""
    stored = read(zoo.FOLDER / name)
    told = stored.config["certificate"]
    slope = certificates.exact_slope(stored.model, stored.distribution)
    assert slope.loss.item() == pytest.approx(told["loss"], rel=1e-8)
    assert slope.norm.item() == pytest.approx(told["gradient_norm"], abs=1e-7)


@pytest.mark.parametrize("name", ["n20-m5", "n40-m10", "two-sets-of-ten"])
def test_many_features_have_the_certified_loss_and_gradient_on_samples(name):
    """The model's own loss and autograd on 64 samples agree within five standard errors."""
    stored = read(zoo.FOLDER / name)
    told = stored.config["certificate"]
    model = stored.model
    generator = torch.Generator().manual_seed(0)
    losses = []
    gradients = []
    for _ in range(64):
        x = stored.distribution.sample(1024, generator).to(model.b.dtype)
        loss = model.loss(x, stored.distribution.importance.to(x.dtype)).sum()
        gradient = torch.autograd.grad(loss, (model.W, model.b))
        losses.append(loss.item())
        gradients.append(torch.cat([part.flatten() for part in gradient]))
    deviation, mean = torch.std_mean(torch.tensor(losses))
    assert abs(mean - told["loss"]) < 5 * deviation / 8
    deviations, means = torch.std_mean(torch.stack(gradients), dim=0)
    # Standard errors of all entries, and the gradient that the certificate admits.
    assert means.norm() < told["gradient_norm"] + 2 * (deviations / 8).norm()


@pytest.mark.parametrize("name", ["digon", "pentagon", "square-antiprism"])
def test_the_table_knows_these_polytopes(name):
    """They are the best arrangements of the table, so the losses are the same."""
    entry, told = zoo.ENTRIES[name], read(zoo.FOLDER / name).config["certificate"]
    assert zoo.best_product(entry.distribution, entry.hidden) == pytest.approx(
        told["loss"], rel=1e-7
    )


def test_products_of_the_table():
    """Four features in two dimensions are two digons; one that is ignored costs p/3 - p^2/4."""
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
        {"density": p, "values": 1},
        {"density": p, "parents": (None, 0, 0, 0)},
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
    assert zoo.check(["pentagon"], tmp_path) == 1 and zoo.check(["pentagon"], zoo.FOLDER) == 0


def test_other_weights_do_not_pass(tmp_path):
    stored = read(zoo.FOLDER / "pentagon")
    with torch.no_grad():
        stored.model.W.mul_(1.01)
    told = stored.config["certificate"]
    save(stored.model, tmp_path, stored.distribution, certificate=told)
    wrong = zoo.disagreements(read(tmp_path))
    fields = [line.split(":")[0] for line in wrong]
    assert fields[:3] == ["loss", "gradient_norm", "lowest_eigenvalue"]


@pytest.mark.parametrize("name", LINEAR_HIDDEN)
def test_a_model_loads_without_this_repository(name, monkeypatch):
    """The snippet in the README serves all models without a ReLU in the hidden layer."""
    monkeypatch.chdir(zoo.FOLDER.parent)
    found = {}
    exec(SNIPPET.replace("zoo/pentagon", f"zoo/{name}"), found)
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


def test_models_are_made_and_checked_by_name(tmp_path, capsys, monkeypatch):
    """What is made is kept with its certificate, which holds."""
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    assert zoo.main(["make", "digon"]) == 0
    assert [folder.name for folder in tmp_path.iterdir()] == ["digon"]
    assert zoo.main(["check", "digon"]) == 0
    assert "digon: certificate holds" in capsys.readouterr().out
    assert zoo.main(["check", "digon", "triangle"]) == 1
    assert "triangle: " in capsys.readouterr().out


@pytest.mark.parametrize("to", interop.EXPORTERS)
def test_models_are_exported(to, tmp_path, capsys):
    """What a format cannot say is told on stderr."""
    source = str(zoo.FOLDER / "n5-m2-dense")
    assert zoo.main(["export", source, "--to", to, str(tmp_path / "new")]) == 0
    lost = interop.export(source, to, tmp_path / "again")
    told = capsys.readouterr().err.splitlines()
    assert told[: len(lost)] == [f"{to}: {sentence}" for sentence in lost]
    for file in (tmp_path / "again").iterdir():
        assert file.read_bytes() == (tmp_path / "new" / file.name).read_bytes()


WRONG_ARGUMENTS = {
    "no command": [],
    "an unknown command": ["--check"],
    "an unknown name": ["make", "pentagn"],
    "no format": ["export", "zoo/pentagon", "{tmp}"],
    "an unknown format": ["export", "zoo/pentagon", "--to", "onnx", "{tmp}"],
    "no such model": ["export", "{tmp}/none", "--to", "spd", "{tmp}/target"],
    "a model that the format cannot hold": [
        "export",
        str(zoo.FOLDER / "hidden-relu-n10-m5"),
        "--to",
        "spd",
        "{tmp}/target",
    ],
    "a target that is a file": [
        "export",
        str(zoo.FOLDER / "pentagon"),
        "--to",
        "spd",
        str(zoo.FOLDER / "pentagon" / "config.json"),
    ],
}


@pytest.mark.parametrize("arguments", WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS)
def test_wrong_arguments_end_in_one_line(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        zoo.main([argument.format(tmp=tmp_path) for argument in arguments])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
