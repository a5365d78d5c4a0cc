# What the README names, for Linux and macOS. Tools are run as modules of Python, since their scripts
# do not work in every folder.
PYTHON ?= python3
VENV_PYTHON = .venv/bin/python
NOTEBOOK = demo-superposition.ipynb
NOTEBOOKS = $(NOTEBOOK) beyond-the-paper.ipynb
EXECUTE = $(VENV_PYTHON) -m nbconvert --to notebook --execute --ExecutePreprocessor.timeout=1800

# Prints the tables of claims: the outputs of the first notebook that are HTML and text.
define PRINT_CLAIMS
import json
from pathlib import Path

cells = json.loads(Path("results/$(NOTEBOOK)").read_text(encoding="utf-8"))["cells"]
data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
print(*["".join(shown["text/plain"]) for shown in data if "text/html" in shown], sep="\n\n")
endef
export PRINT_CLAIMS

# Removes progress bars from the notebooks, and reduces their images to 256 colours, a third of their size,
# unless that would change more than one pixel in a hundred visibly, as in smooth scales of colours.
define TIDY
import base64, io, json
from pathlib import Path
import numpy as np
from PIL import Image, ImageChops

def reduced_png(data):
    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    reduced = image.quantize(256)
    changes = np.asarray(ImageChops.difference(image, reduced.convert("RGB"))).max(axis=2)
    is_visible = (changes > 4).mean() > 0.01
    small = io.BytesIO()
    (image if is_visible else reduced).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()

for file in map(Path, "$(NOTEBOOKS)".split()):
    notebook = json.loads(file.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
    for output in [output for cell in notebook["cells"] for output in cell.get("outputs", [])]:
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = reduced_png(data["image/png"])
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
endef
export TIDY

.PHONY: demo scorecard test notebooks interop

# Executes the first notebook from top to bottom into results/ and prints its claims.
demo: .venv/installed
	mkdir -p results
	$(EXECUTE) $(NOTEBOOK) --output-dir results
	$(VENV_PYTHON) -c "$$PRINT_CLAIMS"

# Computes all sections at full settings and prints every claim. Finished cells are not computed again.
scorecard: .venv/installed
	$(VENV_PYTHON) scorecard.py

# Checks the style and runs the tests, in which text that is read without an encoding is an error.
test: .venv/installed
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	PYTHONWARNDEFAULTENCODING=1 $(VENV_PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Executes the notebooks in place, as they are committed.
notebooks: .venv/installed
	$(EXECUTE) --inplace $(NOTEBOOKS)
	$(VENV_PYTHON) -c "$$TIDY"

# Checks exported models against the real SAELens, in an environment of its own.
interop: .venv-interop/installed
	.venv-interop/bin/python -m interop.check

.venv/installed: requirements.txt requirements-dask.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

.venv-interop/installed: requirements.txt requirements-interop.txt
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-interop.txt
	touch $@
