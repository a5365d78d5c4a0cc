import os
from pathlib import Path

import jaxtyping
import matplotlib
import pytest
import signatures
import torch
from matplotlib import pyplot as plt

matplotlib.use("Agg")
signatures.import_checked(*signatures.TYPED)  # before any test imports them

HOME = Path(__file__).resolve().parents[1]
SOURCES = [file.relative_to(HOME) for file in (*HOME.glob("*.py"), *HOME.glob("[!.]*/**/*.py"))]
OURS = {"__main__", *(file.stem for file in SOURCES)} | {
    ".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in SOURCES
}
# Our modules name the encoding of all text. Python reports those that do not if it was started with
# PYTHONWARNDEFAULTENCODING=1, and it reports other people's modules as well.
ENCODINGS = [
    "ignore::EncodingWarning",
    *(f"error::EncodingWarning:{module}" for module in sorted(OURS)),
]
os.environ["PYTHONWARNDEFAULTENCODING"] = "1"  # for processes that tests start
os.environ["PYTHONWARNINGS"] = ",".join(ENCODINGS)


def pytest_configure(config):
    """Let a text without an encoding be an error in this process, too."""
    for line in ENCODINGS:
        config.addinivalue_line("filterwarnings", f"{line}$" if line.count(":") > 2 else line)


@pytest.fixture
def unchecked(monkeypatch):
    """Leave signatures unchecked, so that wrong arguments meet the errors that users see."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Use one thread, as on busy cores the threads of small tensors wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def pytest_collection_modifyitems(items):
    """Run the notebook first, as it takes longest and on one of the workers."""
    items.sort(key=lambda item: item.path.name != "test_notebook.py")
