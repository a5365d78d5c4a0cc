"""Files are written at once or not at all, and what they hold is checked."""

import os
from types import SimpleNamespace

import pytest

from sweeps import files
from sweeps.files import read_object, write, write_together


@pytest.fixture
def full(monkeypatch):
    """A disk without space."""

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "os", SimpleNamespace(fsync=fail, replace=os.replace))


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path, full):
    path = tmp_path / "file"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(OSError, match=r"No space left on device: .*file'"):
        write(path, b"after")
    assert path.read_text(encoding="utf-8") == "before" and [
        file.name for file in tmp_path.iterdir()
    ] == ["file"]


def test_files_that_belong_together_fail_together(tmp_path, monkeypatch):
    """Whenever it is stopped, no new file stands beside an old one."""
    paths = [tmp_path / name for name in ("first", "second")]
    for path in paths:
        path.write_text("before", encoding="utf-8")
    moved = []

    def stop_at_the_second(source, target):
        moved.append(target)
        if len(moved) == 2:
            raise OSError(5, "Input/output error")
        os.replace(source, target)

    monkeypatch.setattr(files, "os", SimpleNamespace(fsync=os.fsync, replace=stop_at_the_second))
    with pytest.raises(OSError, match=r"second'"):
        write_together(dict.fromkeys(paths, b"after"))
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == {
        "first": "after"
    }


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"a": NaN}', "\xff", "[" * 100_000], ids=lambda text: text[:10]
)
def test_what_is_no_object_is_refused(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"^not a whole JSON file|^expected an object, got list"):
        read_object(path)
