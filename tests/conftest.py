import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Most tensors here are too small to share, and where cores are busy threads only wait for each other."""
    torch.set_num_threads(1)
