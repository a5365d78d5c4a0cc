"""The notebooks as they are committed, and executed anew from top to bottom."""

import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from nbclient import NotebookClient

HOME = Path(__file__).resolve().parent.parent


class Notebook(NamedTuple):
    """What a notebook has to have."""

    name: str
    figures: int
    claims: tuple[str, ...]  # some of those that it shows
    most_words: int


DEMO = Notebook(
    "demo-superposition.ipynb",
    figures=19,
    claims=("2.1", "3.1", "4.7", "4.12", "5.2", "6.2", "7.1", "8.3"),
    most_words=4000,
)
BEYOND = Notebook(
    "beyond-the-paper.ipynb",
    figures=17,
    claims=("3.3", "4.1", "5.1", "A.1", "A.6"),
    most_words=5000,
)
each_notebook = pytest.mark.parametrize("notebook", (DEMO, BEYOND), ids=lambda each: each.name)
# Takes the quick preset instead of each of the notebook's, or else makes training short: it shows
# that every cell runs, and nothing more.
SHORTENED = """
import importlib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path


def shortened(preset):
    if isinstance(preset, tuple):
        return tuple(shortened(each) for each in preset)
    if not is_dataclass(preset):
        return preset
    values = {field.name: getattr(preset, field.name) for field in fields(preset)}
    fewer = {name: min(value, 60) for name, value in values.items() if "steps" in name}
    inner = {name: shortened(value) for name, value in values.items() if is_dataclass(value)}
    return replace(preset, **fewer, **inner)


for file in sorted(Path("experiments").glob("*/*.py")):
    module = importlib.import_module(".".join(file.with_suffix("").parts))
    for name, preset in list(vars(module).items()):
        if name.startswith(("NOTEBOOK", "SEARCHES")):
            quick = getattr(module, name.replace("NOTEBOOK", "QUICK"), preset)
            setattr(module, name, shortened(quick))
"""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook, kind=None):
    """All outputs, or those that have data of a kind."""
    every_output = [output for cell in code_cells(notebook) for output in cell.outputs]
    if kind is None:
        return every_output
    return [output for output in every_output if kind in output.get("data", {})]


def committed(notebook):
    return nbformat.read(HOME / notebook.name, as_version=4)


def assert_every_figure_has_an_alternative_text(executed, figures):
    texts = [output.metadata["image/png"]["alt"] for output in outputs(executed, "image/png")]
    assert len(texts) == figures
    assert len(set(texts)) == figures  # each says what this figure shows, and no other
    for text in texts:
        assert re.fullmatch(r"[A-Z].{50,}\.", text), text


@each_notebook
def test_committed_notebook_was_executed_in_order(notebook):
    cells = code_cells(committed(notebook))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@each_notebook
def test_committed_notebook_is_readable_on_github(notebook):
    assert (HOME / notebook.name).stat().st_size < 3_000_000
    executed = committed(notebook)
    for output in outputs(executed):
        assert output.get("name") != "stderr" and output.output_type != "error"
        assert not any("widget" in kind for kind in output.get("data", {}))
    for cell in code_cells(executed):
        assert len(cell.source.splitlines()) < 12
    words = [len(cell.source.split()) for cell in executed.cells if cell.cell_type == "markdown"]
    assert sum(words) < notebook.most_words
    assert_every_figure_has_an_alternative_text(executed, notebook.figures)


@each_notebook
def test_links_to_chapters_lead_somewhere(notebook):
    """GitHub and Jupyter name the place of a heading by its words."""
    executed = committed(notebook)
    text = "\n".join(cell.source for cell in executed.cells if cell.cell_type == "markdown")
    for file, anchor in re.findall(r"\]\(((?:[\w-]+\.ipynb)?)#([^)\s]+)\)", text):
        name = file or notebook.name
        target = nbformat.read(HOME / name, as_version=4)
        headings = re.findall(
            r"^#+ (.*)", "\n".join(cell.source for cell in target.cells), re.MULTILINE
        )
        assert anchor in [heading.replace(" ", "-") for heading in headings], anchor


@each_notebook
def test_first_cell_refuses_another_folder_in_one_sentence(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first_cell = code_cells(committed(notebook))[0].source
    with pytest.raises(RuntimeError, match=r"^Open this notebook from the repository's folder"):
        exec(first_cell, {})


@each_notebook
def test_notebook_executes_with_short_training(notebook, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as the other tests
    shortened = committed(notebook)
    for cell in code_cells(shortened):
        cell.outputs = []
    shortened.cells.insert(0, nbformat.v4.new_code_cell(SHORTENED))
    resources = {"metadata": {"path": str(HOME)}}
    NotebookClient(shortened, timeout=900, resources=resources).execute()
    assert not any(output.output_type == "error" for output in outputs(shortened))
    errors = "".join(output.text for output in outputs(shortened) if output.get("name") == "stderr")
    for line in re.split("[\r\n]", errors):
        assert not line.strip() or "%|" in line  # nothing but progress bars
    shown = "".join(output.data["text/plain"] for output in outputs(shortened, "text/html"))
    for claim in notebook.claims:
        assert f"Claim {claim}, " in shown
    assert_every_figure_has_an_alternative_text(shortened, notebook.figures)
