"""The notebook as it is committed, and executed anew from top to bottom."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).resolve().parent.parent / "demo-superposition.ipynb"
FIGURES = 28
SOME_CLAIMS = (
    "2.1", "2.5", "3.1", "3.5", "4.1", "4.6", "4.7", "4.12", "5.1",
    "6.2", "7.1", "8.3", "A.1", "A.6",
)  # fmt: skip


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook, kind=None):
    """All outputs, or those that have data of a kind."""
    every_output = [output for cell in code_cells(notebook) for output in cell.outputs]
    if kind is None:
        return every_output
    return [output for output in every_output if kind in output.get("data", {})]


def assert_every_figure_has_an_alternative_text(notebook):
    texts = [output.metadata["image/png"]["alt"] for output in outputs(notebook, "image/png")]
    assert len(texts) == FIGURES
    assert len(set(texts)) == FIGURES  # each says what this figure shows, and no other
    for text in texts:
        assert re.fullmatch(r"[A-Z].{50,}\.", text), text


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(PATH, as_version=4)


def test_committed_notebook_was_executed_in_order(committed):
    counts = [cell.execution_count for cell in code_cells(committed)]
    assert counts == list(range(1, len(counts) + 1))


def test_committed_notebook_is_readable_on_github(committed):
    assert PATH.stat().st_size < 3_000_000
    for output in outputs(committed):
        assert output.get("name") != "stderr"
        assert not any("widget" in kind for kind in output.get("data", {}))
    for cell in code_cells(committed):
        assert len(cell.source.splitlines()) < 20


def test_figures_of_the_committed_notebook_have_an_alternative_text(committed):
    assert_every_figure_has_an_alternative_text(committed)


def test_first_cell_refuses_another_folder_in_one_sentence(committed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first_cell = code_cells(committed)[0].source
    with pytest.raises(RuntimeError, match=r"^Open this notebook from the repository's folder"):
        exec(first_cell, {})


def test_notebook_executes(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as the other tests
    notebook = nbformat.read(PATH, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs = []
    resources = {"metadata": {"path": str(PATH.parent)}}
    NotebookClient(notebook, timeout=900, resources=resources).execute()
    assert not any(output.output_type == "error" for output in outputs(notebook))
    errors = "".join(output.text for output in outputs(notebook) if output.get("name") == "stderr")
    for line in re.split("[\r\n]", errors):
        assert not line.strip() or "%|" in line  # nothing but progress bars
    shown = "".join(output.data["text/plain"] for output in outputs(notebook, "text/html"))
    for claim in SOME_CLAIMS:
        assert f"\n{claim} " in shown
    assert_every_figure_has_an_alternative_text(notebook)
