"""Which edits of which code change the digest of an experiment."""

import subprocess
import sys

import pytest

from sweeps.code_digest import code_digest
from sweeps.command_line import HOME

CODE = {
    "experiments/made.py": '''"""What the paper asks."""
import math
from dataclasses import dataclass
from typing import NamedTuple

import training
import visualization
from experiments import other
from features import draw as drawn, spare
from sweeps.claims import Claim

KINDS = {"α": 1}
KINDS["b"] = 3
UNUSED = 4


@dataclass(frozen=True)
class Settings:
    steps: int = 4

    def __post_init__(self):
        check(self.steps)


QUICK = Settings(steps=2)


class Part(NamedTuple):
    position: float


class Result(NamedTuple):
    part: Part  # (points,)


def check(steps):
    return steps > 0


def run(settings, *, seed=0):
    """Run."""
    def inner():
        from lazy import late
        return late(drawn(math.log(seed)))
    return Result(Part(other.shared(training.train(KINDS), inner())))


def figure(result):
    """Draw."""
    return visualization.draw(result, spare, UNUSED, Claim)
''',
    "experiments/other.py": "def shared(x, y):\n    return x\n",
    "training.py": '"""Train."""\nfrom optimizers import adam\n\n'
    'def train(kind):\n    """Fit."""\n    return adam.step(kind)\n',
    "optimizers/__init__.py": "STEP = 1\n",
    "optimizers/adam.py": "from . import STEP\nfrom .rates import RATE\n\ndef step(x): pass\n",
    "optimizers/rates.py": "RATE = 1\n",
    "features.py": "def draw(x):\n    return x\n\ndef spare(x):\n    return x + 1\n",
    "lazy.py": "def late(x):\n    return x\n",
    "visualization.py": "def draw(x):\n    return x\n",
    "sweeps/claims.py": "class Claim:\n    pass\n",
    "never.py": "STEP = 1\n",
}
MADE = "experiments/made.py"
COUNTS = [
    (MADE, "math.log", "math.exp"),
    (MADE, '"α": 1', '"α": 2'),
    (MADE, '["b"] = 3', '["b"] = 5'),
    (MADE, "steps: int = 4", "steps: int = 5"),
    (MADE, "steps > 0", "steps > 1"),
    (MADE, "position:", "place:"),
    (MADE, "import draw as drawn", "import spare as drawn"),
    (MADE, "def figure", "def shards(s):\n    pass\n\ndef figure"),
    ("training.py", "step(kind)", "step(-kind)"),
    ("optimizers/__init__.py", "STEP = 1", "STEP = 2"),
    ("optimizers/rates.py", "RATE = 1", "RATE = 2"),
    ("features.py", "x + 1", "x + 2"),
    ("lazy.py", "return x", "return -x"),
]
COUNTS_NOT = [
    (MADE, "What the paper asks", "What it says"),
    (MADE, '    """Run."""\n', ""),
    (MADE, "# (points,)", "# (all points,)"),
    (MADE, "inner())))", "\n inner())))"),
    (MADE, "visualization.draw(result,", "visualization.draw(-result,"),
    (MADE, "UNUSED = 4", "UNUSED = 5"),
    (MADE, "as drawn, spare", "as drawn"),
    ("training.py", "Fit.", "Fit it."),
    ("visualization.py", "return x", "return -x"),
    ("sweeps/claims.py", "pass", "x = 1"),
    ("never.py", "STEP = 1", "STEP = 2"),
]


def write(home, code):
    for name, text in code.items():
        (home / name).parent.mkdir(exist_ok=True, parents=True)
        (home / name).write_text(text, encoding="utf-8")
    return home


def edited(file, old, new):
    assert CODE[file].count(old) == 1
    return CODE | {file: CODE[file].replace(old, new)}


def digest(home):
    return code_digest("experiments.made", str(home / MADE))


@pytest.mark.parametrize("edit", COUNTS)
def test_what_counts(tmp_path, edit):
    after = write(tmp_path / "after", edited(*edit))
    assert digest(write(tmp_path / "before", CODE)) != digest(after)


@pytest.mark.parametrize("edit", COUNTS_NOT)
def test_what_does_not_count(tmp_path, edit):
    """Neither does the folder of the repository."""
    after = write(tmp_path / "after", edited(*edit))
    assert digest(write(tmp_path / "before", CODE)) == digest(after)


def test_the_digest_is_that_of_the_code_as_first_read(tmp_path):
    before = digest(write(tmp_path, CODE))
    write(tmp_path, edited(MADE, "math.log", "math.exp"))
    assert digest(tmp_path) == before


@pytest.mark.parametrize("encoding", ["cp1252", "gbk"])
def test_the_locale_does_not_count(tmp_path, encoding):
    """Python takes the locale's encoding from `locale.getencoding`, `open` from the C library."""
    write(tmp_path, CODE)
    code = (
        "import _pyio, builtins, io, locale, pathlib\n"
        f"locale.getencoding = lambda: {encoding!r}\n"
        "builtins.open = io.open = _pyio.open\n"
        "from sweeps.code_digest import code_digest\n"
        f"print(code_digest('experiments.made', {str(tmp_path / MADE)!r}))\n"
    )
    command = [sys.executable, "-X", "utf8=0", "-c", code]
    printed = subprocess.run(command, cwd=HOME, capture_output=True, check=True)
    assert printed.stdout.decode().strip() == digest(tmp_path)
