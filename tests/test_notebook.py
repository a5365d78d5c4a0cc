"""The notebook as committed, and executed anew from top to bottom."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).resolve().parent.parent / "demo-superposition.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(PATH, as_version=4)


def test_committed_notebook_was_executed_in_order(committed):
    assert [cell.execution_count for cell in code_cells(committed)] == list(
        range(1, len(code_cells(committed)) + 1)
    )


def test_committed_notebook_is_readable_on_github(committed):
    assert PATH.stat().st_size < 3_000_000
    assert not any(output.get("name") == "stderr" for output in outputs(committed))
    assert not any(
        "widget" in kind for output in outputs(committed) for kind in output.get("data", {})
    )
    assert all(len(cell.source.splitlines()) < 20 for cell in code_cells(committed))


def test_notebook_executes(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as the other tests
    notebook = nbformat.read(PATH, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs = []
    NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(PATH.parent)}}
    ).execute()
    assert not any(output.output_type == "error" for output in outputs(notebook))
    errors = "".join(output.text for output in outputs(notebook) if output.get("name") == "stderr")
    assert all(
        not line.strip() or "%|" in line for line in re.split("[\r\n]", errors)
    )  # nothing but bars
    shown = "".join(
        output.data["text/plain"]
        for output in outputs(notebook)
        if "text/html" in output.get("data", {})
    )
    for claim in (
        "2.1",
        "2.5",
        "3.1",
        "3.5",
        "4.1",
        "4.6",
        "4.7",
        "4.12",
        "5.1",
        "6.2",
        "7.1",
        "8.3",
        "A.1",
        "A.6",
    ):
        assert f"\n{claim} " in shown
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) == 28
