"""The hook of tests/signatures.py really checks."""

import sys

import pytest
import torch
from jaxtyping import TypeCheckError
from signatures import TYPED, import_checked

WRONG = """
from dataclasses import dataclass
from typing import NamedTuple
from jaxtyping import Float
from torch import Tensor

class Pair(NamedTuple):
    density: Float[Tensor, " points"]
    loss: Float[Tensor, "points restarts"]

@dataclass
class Settings:
    lr: float = 1e-2

def norms(W: Float[Tensor, "instances hidden features"]) -> Float[Tensor, "instances features"]:
    return W.norm(dim=2)  # of the wrong axis
"""


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import_checked("wrong")
    yield sys.modules["wrong"]
    del sys.modules["wrong"]


REFUSED = {
    "a wrong result": lambda wrong: wrong.norms(torch.ones(1, 2, 3)),
    "an axis too few": lambda wrong: wrong.norms(torch.ones(3, 3)),
    "integers": lambda wrong: wrong.norms(torch.ones(1, 3, 3).long()),
    "fields that do not match": lambda wrong: wrong.Pair(torch.ones(3), torch.ones(2, 3)),
    "a field by name": lambda wrong: wrong.Pair(density=torch.ones(3), loss=torch.ones(3)),
    "a setting": lambda wrong: wrong.Settings("a"),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_does_not_match_is_refused(call, wrong):
    with pytest.raises(TypeCheckError):
        call(wrong)


def test_what_matches_passes(wrong, request):
    assert wrong.norms(torch.ones(1, 3, 3)).shape == (
        1,
        3,
    )  # square: the wrong axis has the right length
    assert wrong.Pair(torch.ones(3), torch.ones(3, 2))._replace(density=None).density is None
    assert wrong.Settings(1).lr == 1


def test_unchecked_turns_it_off(wrong, unchecked):
    assert wrong.norms(torch.ones(1, 2, 3)).shape == (1, 2)
    assert wrong.Pair(None, None).loss is None


@pytest.mark.parametrize("module", TYPED)
def test_the_modules_are_checked(module):
    assert type(sys.modules[module].__spec__.loader).__module__.startswith("jaxtyping")
