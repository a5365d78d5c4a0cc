PYTHON ?= python3
BIN = .venv/bin
NOTEBOOK = demo-superposition.ipynb
EXECUTE = $(BIN)/jupyter nbconvert --to notebook --execute $(NOTEBOOK) --ExecutePreprocessor.timeout=1800

.PHONY: demo test notebook

# The notebook, executed from top to bottom, then every claim of the sections that exist.
demo: .venv/installed
	mkdir -p results
	$(EXECUTE) --output-dir results
	$(BIN)/python scorecard.py

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Executes the notebook in place: what is committed.
notebook: .venv/installed
	$(EXECUTE) --inplace

.venv/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
