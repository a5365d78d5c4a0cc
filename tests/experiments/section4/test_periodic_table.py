"""The periodic table: made-up tables, a small one that is computed, and the committed one."""

import shutil

import pytest
import torch
from drawing import drawn

import Section4main
from experiments.section4 import periodic_table
from experiments.section4.periodic_table import QUICK, Result, Settings, run
from features import FeatureDistribution
from losses.exact import expected_loss
from sweeps import cells
from theory.descents import ignored_loss
from theory.packing import polytope_optimum
from theory.polytopes import PAPER_POLYTOPES, POLYTOPES, arrangement_name


def made_up(inverse_density, arrangements):
    """A table from {name: (W (dimensions, features), benefit (densities,))}, in that order."""
    parts = []
    for W, benefit in arrangements.values():
        benefit = torch.as_tensor(benefit, dtype=torch.float64)[None]
        W = W.double().expand(1, len(inverse_density), *W.shape)
        size = torch.tensor([[W.shape[3], W.shape[2]]])
        parts.append(
            Result(
                inverse_density,
                size,
                W,
                torch.zeros_like(W[:, :, 0]),
                benefit,
                0 * benefit + 0.5,
                benefit,
            )
        )
    return periodic_table.joined(parts)


def polytopes(inverse_density, benefits):
    """A table of polytopes, from {name: benefit (densities,)} in the order of their cells."""
    return made_up(
        inverse_density,
        {name: (POLYTOPES[name].vertices, values) for name, values in benefits.items()},
    )


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(scope="module")
def quick():
    return run(QUICK, progress=False)


@pytest.fixture(scope="module")
def committed():
    return periodic_table.table()


# Made up


def test_products_take_the_place_of_what_saves_less():
    """Two digons save more than four features of their own kind at the second density."""
    line = torch.eye(2, 4)
    table = made_up(
        numbers(2, 4), {"digon": (numbers(1, -1)[None], (1.2, 1.6)), "own": (line, (1.3, 1.5))}
    )
    assert table.benefit[1].tolist() == [1.3, 1.6] and table.smaller[1].tolist() == pytest.approx(
        [1.2, 1.6]
    )
    assert table.smaller[0].tolist() == [
        1,
        1,
    ]  # of a dedicated dimension and a feature that is ignored
    assert periodic_table.weights(table, 1, 0)[0].tolist() == line.tolist()
    assert periodic_table.weights(table, 1, 1)[0].tolist() == [[1, -1, 0, 0], [0, 0, 1, -1]]
    assert table.share[1].tolist() == [0.5, 0]
    assert table.W.shape == (2, 2, 2, 4) and periodic_table.weights(table, 0, 0)[0].shape == (1, 2)


def test_a_product_may_have_dedicated_dimensions_and_features_without_weights():
    parts = {"digon": (numbers(1, -1)[None], [1.6]), "own": (torch.zeros(3, 5), [1.0])}
    table = made_up(numbers(4), parts)
    assert table.benefit[1].item() == pytest.approx((2 * 1.6 + 1) / 3)
    W, b = periodic_table.weights(table, 1, 0)
    assert (W != 0).sum(dim=1).tolist() == [1, 2, 2] and (b == 0).sum() == 5
    two = made_up(numbers(4), {"digon": parts["digon"], "own": (torch.zeros(1, 3), [1.0])})
    assert periodic_table.weights(two, 1, 0)[1].tolist() == [0, 0, 1 / 8]


def test_elementary_is_better_than_products_and_in_one_piece():
    digons = torch.block_diag(numbers(1, -1)[None], numbers(1, -1)[None])
    square = numbers(1, 0.7, -1, -0.7, 0, 0.7, 0, -0.7).view(2, 4)
    for W, benefit, expected in (
        (square, 1.7, True),
        (digons, 1.7, False),
        (square, 1.6 + 1e-7, False),
    ):
        table = made_up(numbers(4), {"digon": (numbers(1, -1)[None], [1.6]), "own": (W, [benefit])})
        assert periodic_table.elementary(table, 1, 0) is expected and periodic_table.elementary(
            table, 0, 0
        )


def test_mixtures_and_their_members():
    table = polytopes(numbers(4), {"digon": [1.7], "triangle": [1.3], "pentagon": [1.6]})
    shares, benefit = periodic_table.mixtures(table, 3 / 2)
    assert shares[:, 0].tolist() == pytest.approx(
        [1 / 2, 1 / 2, 0, 0]
    ) and benefit.item() == pytest.approx(1.35)
    assert periodic_table.members(table)[:, 0].tolist() == [True, False, False]


# Computed


def test_run(quick):
    assert quick.size.tolist() == [[2, 1], [3, 2], [5, 2], [4, 3]]
    assert quick.W.shape == (4, 6, 3, 5) and quick.benefit.shape == (4, 6)
    for cell, (features, dimensions) in enumerate(quick.size.tolist()):
        for point, density in enumerate(1 / quick.inverse_density):
            W, b = periodic_table.weights(quick, cell, point)
            loss = expected_loss(
                W[None], b[None], FeatureDistribution(density.view(1, 1), features=features)
            )
            ignored = ignored_loss(1, density)
            assert quick.benefit[cell, point].item() == pytest.approx(
                ((features * ignored - loss) / (dimensions * ignored)).item(), abs=1e-9
            )
    most = quick.benefit.max(dim=0).values
    for point, size in ((0, [4, 3]), (1, [3, 2]), (2, [2, 1]), (4, [5, 2]), (5, [5, 2])):
        assert most[point] == pytest.approx(
            quick.benefit[quick.size.tolist().index(size), point].item(), abs=1e-7
        )


def test_the_cells_one_by_one_are_the_table(quick):
    assert periodic_table.SEEDED is False
    parts = [run(part, seed=3, progress=False) for part in periodic_table.shards(QUICK)]
    for one, other in zip(quick, periodic_table.joined(parts)):
        assert torch.equal(one, other)


def test_figure(quick):
    figure = drawn(periodic_table.figure, quick, (1 / 1.2, 1 / 5))
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert len(figure.axes) == 2 and "pentagon" in texts and f"{quick.benefit[2, 4]:.4f}" in texts
    framed = [patch.get_linewidth() > 2 for patch in figure.axes[1].patches]
    assert framed == periodic_table.members(quick)[:, 4].tolist()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("cells", [(), ((2, 2),), ((3, 0),)])
def test_impossible_cells_are_refused(cells):
    with pytest.raises(ValueError, match="cells: expected"):
        Settings(cells)


# Committed


def test_the_committed_table_is_whole(committed):
    assert periodic_table.FILE.stat().st_size < 2e6
    assert committed.size.tolist() == sorted(
        map(list, periodic_table.CELLS), key=lambda cell: cell[::-1]
    )
    assert len(committed.inverse_density) >= 24
    assert committed.inverse_density[0] <= 1.05 and committed.inverse_density[-1] == 20
    assert (committed.benefit >= committed.smaller - 1e-9).all()
    assert ((committed.share >= 0) & (committed.share <= 1)).all()


def test_the_committed_table_has_the_losses_that_it_says(committed):
    """Of cells that are quickly computed."""
    density = 1 / committed.inverse_density
    for cell, (features, dimensions) in enumerate(committed.size.tolist()):
        if features <= 7:
            W, b = committed.W[cell, :, :dimensions, :features], committed.b[cell, :, :features]
            loss = expected_loss(W, b, FeatureDistribution(density[:, None], features=features))
            ignored = ignored_loss(1, density)
            benefit = (features * ignored - loss) / (dimensions * ignored)
            torch.testing.assert_close(committed.benefit[cell], benefit, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "polytope", [*PAPER_POLYTOPES, "4-simplex", "hexagon", "cube", "icosahedron"]
)
def test_the_committed_table_is_no_worse_than_polytopes_and_their_copies(committed, polytope):
    density = 1 / committed.inverse_density[::3]
    optimum = polytope_optimum(polytope, density)
    dimensions, features = POLYTOPES[polytope].vertices.shape
    for cell, (k, d) in enumerate(committed.size.tolist()):
        copies = min(k // features, d // dimensions)
        saved = copies * dimensions * optimum.benefit + 0 * density
        assert (committed.benefit[cell, ::3] - saved / d).min() > -1e-6, (k, d)


@pytest.mark.parametrize("polytope", PAPER_POLYTOPES)
def test_the_committed_table_has_the_polytopes_where_they_are_best(committed, polytope):
    dimensions, features = POLYTOPES[polytope].vertices.shape
    cell = committed.size.tolist().index([features, dimensions])
    names = [
        arrangement_name(periodic_table.weights(committed, cell, k)[0])
        for k in range(len(committed.inverse_density))
    ]
    there = torch.tensor([name == polytope for name in names])
    assert there.sum() >= 3
    expected = polytope_optimum(polytope, 1 / committed.inverse_density).benefit
    difference = (committed.benefit[cell] - expected)[there]
    assert difference.min() > -1e-6 and difference.median() < 1e-6


def test_a_table_of_other_code_is_loaded_and_named(capsys, monkeypatch):
    periodic_table.table()
    capsys.readouterr()
    monkeypatch.setattr(cells, "code_digest", lambda *_: "other")
    assert periodic_table.table().size.shape[1] == 2
    assert (
        "periodic_table.safetensors: of other code; anew: python Section4main.py --table"
        in capsys.readouterr().err
    )


def test_a_damaged_table_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "table.safetensors"
    shutil.copy(periodic_table.FILE, file)
    monkeypatch.setattr(periodic_table, "FILE", file)
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        periodic_table.table()
    file.write_bytes(content[:1000])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        periodic_table.table()
    file.unlink()
    with pytest.raises(FileNotFoundError):
        periodic_table.table()


def test_the_script_writes_the_table_that_is_read(tmp_path, monkeypatch, capsys, quick):
    monkeypatch.setattr(periodic_table, "FILE", tmp_path / "table.safetensors")
    whole = periodic_table.whole()._replace(settings=QUICK)
    monkeypatch.setattr(periodic_table, "whole", lambda: whole)
    small = Section4main.Experiment(periodic_table, QUICK, QUICK)
    monkeypatch.setitem(Section4main.TABLE.EXPERIMENTS, "table", small)
    assert Section4main.main(["--table", "--jobs", "1", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    for one, other in zip(periodic_table.table(), quick):
        assert torch.equal(one, other)
    assert capsys.readouterr().err == ""


def test_small_settings_never_replace_the_committed_table(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        Section4main.main(["--table", "--quick", "--out", str(tmp_path)])
    assert end.value.code == 2 and "argument --quick" in capsys.readouterr().err
