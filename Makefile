PYTHON ?= python3
BIN = .venv/bin
NOTEBOOK = demo-superposition.ipynb
EXECUTE = $(BIN)/jupyter nbconvert --to notebook --execute $(NOTEBOOK) --ExecutePreprocessor.timeout=1800

# Tables of claims are the outputs of the notebook that are HTML and text.
define PRINT_CLAIMS
import json
cells = json.load(open("results/$(NOTEBOOK)"))["cells"]
data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
print(*["".join(shown["text/plain"]) for shown in data if "text/html" in shown], sep="\n\n")
endef
export PRINT_CLAIMS

# What is committed has no bars, and its images in 256 colours, a third of their size.
define TIDY
import base64, io, json
from PIL import Image
notebook = json.load(open("$(NOTEBOOK)"))
for cell in notebook["cells"]:
    if cell["cell_type"] == "code":
        cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
for output in [output for cell in notebook["cells"] for output in cell.get("outputs", [])]:
    if "image/png" in output.get("data", {}):
        image, small = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))), io.BytesIO()
        image.convert("RGB").quantize(256).save(small, "PNG", optimize=True)
        output["data"]["image/png"] = base64.b64encode(small.getvalue()).decode()
open("$(NOTEBOOK)", "w").write(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
endef
export TIDY

.PHONY: demo scorecard test notebook interop

# The notebook, executed from top to bottom, and its claims.
demo: .venv/installed
	mkdir -p results
	$(EXECUTE) --output-dir results
	$(BIN)/python -c "$$PRINT_CLAIMS"

# All sections at full settings, and every claim; what is finished is not computed again.
scorecard: .venv/installed
	$(BIN)/python scorecard.py

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Executes the notebook in place: what is committed.
notebook: .venv/installed
	$(EXECUTE) --inplace
	$(BIN)/python -c "$$TIDY"

# Checks exported models against the real SAELens, in an environment of its own.
interop: .venv-interop/installed
	.venv-interop/bin/python -m interop.check

.venv/installed: requirements.txt requirements-dask.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

.venv-interop/installed: requirements.txt requirements-interop.txt
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-interop.txt
	touch $@
