"""Settled models: their starts, the quick run, the committed models, and how they are made."""

from dataclasses import replace

import pytest
import torch

import Section4main
from experiments.section4 import periodic_table, settled_models
from experiments.section4.settled_models import (
    LARGE,
    PRODUCT,
    QUICK,
    Settings,
    best_product,
    run,
    table_point,
)
from geometry import represented
from sweeps import Experiment
from theory.polytopes import tegum_factors


def test_committed_models():
    models = settled_models.committed()
    settings = Settings()
    assert set(models.inverse_density.tolist()) == set(settings.inverse_density)
    assert models.W.shape[1:] == (settings.hidden, settings.features)
    assert (models.loss < models.start_loss).all()
    assert (models.gradient <= torch.where(models.product, 1.1e-4, 1.1e-2)).all()
    identity = torch.stack((models.inverse_density, models.seed, models.product), dim=1)
    assert len(identity.unique(dim=0)) == len(identity)  # no model twice


def test_committed_models_of_the_paper_s_size():
    models = settled_models.committed(large=True)
    assert models.inverse_density.tolist() == list(LARGE.inverse_density)
    assert models.W.shape[1:] == (LARGE.hidden, LARGE.features) == (30, 400)
    assert models.product.all()
    assert (models.loss < models.start_loss).all()
    assert (models.gradient <= LARGE.tolerance).all()


@pytest.mark.parametrize("settings", [QUICK, replace(QUICK, start="product")])
def test_quick_run_and_its_shards(settings):
    whole = run(settings, seed=3, progress=False)
    assert (whole.loss < whole.start_loss).all()
    assert (whole.gradient <= settings.tolerance).all()
    assert whole.seed.tolist() == [3, 3]
    assert whole.product.tolist() == [settings.start == "product"] * 2
    parts = [run(part, seed=3, progress=False) for part in settled_models.shards(settings)]
    for joined, together in zip(settled_models.joined(parts), whole):
        assert joined.shape == together.shape
        assert joined.dtype == together.dtype


def test_products_begin_as_the_best_of_the_table():
    """At 1.3 the table's best is the triangle, of which five fill ten dimensions."""
    settings = replace(
        PRODUCT, features=20, hidden=4, inverse_density=(1.3,), copies=2, tolerance=1e-2
    )
    result = run(settings, progress=False)
    for W in (result.start_W[0], result.W[0]):
        assert [factor.polytope for factor in tegum_factors(W)] == ["triangle"] * 2
    assert represented(result.W).sum() == 6


def test_best_product_fills_the_dimensions():
    table = periodic_table.table()
    point = table_point(table, 1.3)
    for hidden in (1, 2, 3, 10):
        product = best_product(table, point, hidden)
        assert sum(W.shape[0] for W, _ in product.factors) == hidden
    assert product.saved / 10 == pytest.approx(table.benefit[:, point].max().item(), abs=1e-6)


def test_the_command_that_makes_the_committed_file(tmp_path, monkeypatch):
    """Sampled models of every seed and the products of the first one, in one file."""
    tiny = replace(QUICK, inverse_density=(1.3,))
    products = replace(tiny, start="product")
    large = replace(products, features=32, hidden=8, copies=2)
    small = {
        "sampled": Experiment(settled_models, tiny, tiny),
        "products": Experiment(settled_models, products, products, drawn=True),
        "large": Experiment(settled_models, large, large, drawn=True),
    }
    monkeypatch.setattr(Section4main.SETTLED, "EXPERIMENTS", small)
    for name in ("FILE", "LARGE_FILE"):
        monkeypatch.setattr(settled_models, name, tmp_path / f"{name}.safetensors")
    command = ["--settled", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path)]
    assert Section4main.main(command) == 0
    models = settled_models.committed()
    assert models.seed.tolist() == [0, 1, 0] and models.product.tolist() == [False, False, True]
    assert settled_models.committed(large=True).W.shape == (1, 8, 32)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="start: expected one of"):
        Settings(start="trained")
    with pytest.raises(ValueError, match="inverse_density: expected values of the periodic"):
        table_point(periodic_table.table(), 1.31)
