import jaxtyping
import matplotlib
import pytest
import signatures
import torch
from matplotlib import pyplot as plt

matplotlib.use("Agg")
signatures.import_checked(*signatures.TYPED)  # before any test imports them


@pytest.fixture
def unchecked(monkeypatch):
    """Signatures are not checked: what is wrong meets the errors that users see."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Most tensors here are too small to share, and where cores are busy threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def pytest_collection_modifyitems(items):
    """The notebook first: it takes longest, on one of the workers."""
    items.sort(key=lambda item: item.path.name != "test_notebook.py")
