"""Cells: their keys, and the files that keep their results."""

import json
import pickle
import subprocess
import sys
from dataclasses import asdict

import made_up
import numpy as np
import pytest
import scipy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import Part, Result, Settings
from safetensors import safe_open
from safetensors.torch import save_file

from sweeps import cells
from sweeps.cells import (
    Cell,
    cell_path,
    configuration,
    finished,
    load,
    run_cell,
    serialized,
)
from sweeps.command_line import HOME
from sweeps.files import claimed, clean

CELL = Cell(made_up, Settings(), 7, "cpu")


@pytest.fixture
def kept(tmp_path):
    """The file of CELL."""
    path = cell_path(CELL, tmp_path)
    run_cell(CELL, path, configuration(CELL))
    return path


def test_a_cell_is_computed_once(tmp_path):
    cell = CELL._replace(settings=Settings(log=str(tmp_path / "log")))
    path = cell_path(cell, tmp_path)
    assert not finished(cell, path)
    for _ in range(3):
        run_cell(cell, path, configuration(cell))
        assert finished(cell, path)
    assert len((tmp_path / "log").read_text(encoding="utf-8").splitlines()) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["log", path.name])


def test_what_is_kept_is_what_was_computed(kept):
    result = load(CELL, kept)
    expected = made_up.run(Settings(), seed=7)
    assert isinstance(result, Result) and isinstance(result.part, Part)
    torch.testing.assert_close(result, expected, rtol=0, atol=0)


def test_a_file_says_what_it_is(kept):
    with safe_open(kept, "pt") as file:
        assert sorted(file.keys()) == ["part.position", "values"]
        said = json.loads(file.metadata()["configuration"])
    assert said | {"code": None} == {
        "experiment": "made_up",
        "settings": asdict(Settings()),
        "seed": 7,
        "device": "cpu",
        "inputs": [],
        "code": None,
        "versions": {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    }
    assert kept.name.startswith("made_up-") and kept.suffix == ".safetensors"


def test_every_configuration_has_its_own_file(monkeypatch):
    others = [
        CELL,
        CELL._replace(seed=8),
        CELL._replace(device="cuda"),
        CELL._replace(settings=Settings(numbers=4)),
    ]
    paths = {cell_path(cell, "") for cell in others}
    for package in (torch, np, scipy):
        with monkeypatch.context() as patch:
            patch.setattr(package, "__version__", "1.2")
            paths.add(cell_path(CELL, ""))
    assert len(paths) == 7


def test_the_content_of_data_files_is_part_of_the_key(tmp_path, monkeypatch):
    file = tmp_path / "table"
    paths = [cell_path(CELL, "")]
    monkeypatch.setattr(made_up, "INPUTS", (file,), raising=False)
    for content in ("one", "other"):
        file.write_text(content, encoding="utf-8")
        paths.append(cell_path(CELL, ""))
    assert len(set(paths)) == 3
    file.write_text("one", encoding="utf-8")
    assert cell_path(CELL, "") == paths[1]


def test_no_seed_where_no_chance_is_involved(monkeypatch):
    monkeypatch.setattr(made_up, "SEEDED", False, raising=False)
    assert "seed" not in json.loads(configuration(CELL))
    assert cell_path(CELL, "") == cell_path(CELL._replace(seed=8), "")


def test_gradients_strides_and_devices_are_left_behind(tmp_path):
    values = torch.arange(6.0).view(2, 3).requires_grad_()
    (tmp_path / "file").write_bytes(serialized(CELL, Result(values.mT, Part(values[0].detach()))))
    result = load(CELL, tmp_path / "file")
    assert result.values.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert not result.values.requires_grad and result.values.is_contiguous()
    assert result.part.position.tolist() == [0, 1, 2]


DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.int64,
    torch.uint8,
    torch.bool,
)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_kind_of_tensor_is_kept(tmp_path, dtype, shape):
    (tmp_path / "file").write_bytes(
        serialized(CELL, Result(torch.ones(shape, dtype=dtype), Part(torch.ones(1))))
    )
    torch.testing.assert_close(
        load(CELL, tmp_path / "file").values, torch.ones(shape, dtype=dtype), rtol=0, atol=0
    )


# Numbers that are not finite


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_not_finite_are_not_kept(number):
    with pytest.raises(
        FloatingPointError, match=r"Result\.values: expected finite numbers, got 2 that are not"
    ):
        serialized(CELL, Result(torch.tensor([1, number, number]), Part(torch.ones(1))))


def test_a_field_may_say_that_there_is_none(tmp_path):
    (tmp_path / "file").write_bytes(
        serialized(CELL, Result(torch.ones(1), Part(torch.tensor([torch.inf, torch.nan]))))
    )
    assert load(CELL, tmp_path / "file").part.position.isfinite().tolist() == [False, False]


def test_the_experiment_of_such_a_number_is_named(tmp_path):
    cell = CELL._replace(settings=Settings(fault="nan", cell=1))
    path = cell_path(cell, tmp_path)
    with pytest.raises(
        FloatingPointError, match=r"made_up, seed 7: Result\.values: expected finite numbers, got 1"
    ):
        run_cell(cell, path, configuration(cell))
    assert list(tmp_path.iterdir()) == []


# Results that are none


@pytest.mark.parametrize(
    "result, message",
    [
        (Result([1.0], Part(torch.ones(1))), r"Result\.values: expected a tensor, got list"),
        (Result(torch.ones(1), torch.ones(1)), r"Result\.part: expected a Part, got Tensor"),
        (
            Result(torch.ones(1), Part(None)),
            r"Result\.part\.position: expected a tensor, got NoneType",
        ),
        ({"values": torch.ones(1)}, "Result: expected a Result, got dict"),
    ],
)
def test_a_result_is_made_of_tensors(result, message):
    with pytest.raises(TypeError, match=message):
        serialized(CELL, result)


# Damaged files


def with_metadata(path, tensors, **metadata):
    with safe_open(path, "pt") as file:
        save_file(tensors, path, metadata=file.metadata() | metadata)


def foreign(path):
    path.write_bytes(serialized(CELL._replace(seed=8), made_up.run(Settings(), seed=8)))


def renamed(path):
    tensors = {"value": torch.ones(1), "part.position": torch.ones(1)}
    with_metadata(path, tensors, checksum=cells._checksum(tensors))


def too_many(path):
    tensors = {"values": torch.ones(1), "part.position": torch.ones(1), "more": torch.ones(1)}
    with_metadata(path, tensors, checksum=cells._checksum(tensors))


def infinite(path):
    tensors = {"values": torch.tensor([torch.inf]), "part.position": torch.ones(1)}
    with_metadata(path, tensors, checksum=cells._checksum(tensors))


def a_folder(path):
    path.unlink()
    path.mkdir()


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "empty": (lambda path: path.write_bytes(b""), "not a whole safetensors file"),
    "cut off": (
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        "not a whole safetensors file",
    ),
    "text": (
        lambda path: path.write_text("no tensors" * 50, encoding="utf-8"),
        "not a whole safetensors file",
    ),
    "pickle": (
        lambda path: path.write_bytes(pickle.dumps({"values": [1.0] * 99})),
        "not a whole safetensors file",
    ),
    "torch's format": (
        lambda path: torch.save({"values": torch.ones(9)}, path),
        "not a whole safetensors file",
    ),
    "a folder": (a_folder, "not a whole safetensors file"),
    "another cell's": (foreign, "the result of another configuration"),
    "a bit flipped": (flipped, "do not have its checksum"),
    "other tensors": (
        lambda path: with_metadata(path, {"values": torch.ones(1)}),
        "do not have its checksum",
    ),
    "another name": (renamed, "'values'"),
    "one more tensor": (too_many, "more tensors than Result"),
    "infinite": (infinite, "Result.values: expected finite numbers"),
    "no metadata": (
        lambda path: save_file({"values": torch.ones(1)}, path),
        "do not have its checksum",
    ),
}


@pytest.mark.parametrize("damage, reason", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_set_aside_and_computed_again(kept, capsys, damage, reason):
    before = kept.read_bytes()
    damage(kept)
    assert not finished(CELL, kept)
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        reason in line and line.startswith(f"{kept}: ") and f"kept as {kept.name}.damaged" in line
    )
    assert sorted(file.name for file in kept.parent.iterdir()) == [f"{kept.name}.damaged"]
    run_cell(CELL, kept, configuration(CELL))
    torch.testing.assert_close(load(CELL, kept), made_up.run(Settings(), seed=7), rtol=0, atol=0)
    assert len(kept.read_bytes()) == len(before)


CONTENT = serialized(CELL, made_up.run(Settings(), seed=7))


@settings(max_examples=600, deadline=None)
@given(place=st.integers(0, len(CONTENT) - 1), bits=st.integers(1, 255), cut=st.booleans())
def test_no_damage_passes(tmp_path_factory, place, bits, cut):
    path = tmp_path_factory.getbasetemp() / "damaged"
    content = bytearray(CONTENT[:place] if cut else CONTENT)
    if not cut:
        content[place] ^= bits
    path.write_bytes(content)
    try:
        result = load(CELL, path)
    except ValueError as error:
        assert "\n" not in str(error)
    else:  # what is left to change without a trace is white space in the header
        torch.testing.assert_close(result, made_up.run(Settings(), seed=7), rtol=0, atol=0)


# Processes beside each other


def test_other_code_than_that_of_the_one_who_asks_is_refused(tmp_path):
    with pytest.raises(
        OSError, match="made_up: the process that runs it has other code, data files or packages"
    ):
        run_cell(CELL, tmp_path / "file", configuration(CELL).replace('"code": "', '"code": "0'))
    assert list(tmp_path.iterdir()) == []


def test_whoever_claims_a_file_holds_off_others_until_it_is_killed(tmp_path):
    path = tmp_path / "file"
    imports = "import time\nfrom sweeps.files import claimed"
    hold = f"{imports}\nwith claimed({str(path)!r}):\n print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, cwd=HOME)
    try:
        assert holder.stdout.readline() == b"held\n"
        (tmp_path / "file.tmp").write_text("half", encoding="utf-8")
        clean(tmp_path)
        assert (tmp_path / "file.tmp").exists()
        with pytest.raises(cells.Timeout), claimed(path, timeout=0):
            pass
        assert not finished(CELL, path)
    finally:
        holder.kill()
        holder.wait()
    clean(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with claimed(path, timeout=0):
        pass
