"""Which edits of which code change the digest of what an experiment reaches."""

import pytest

from sweeps.code_digest import code_digest, definitions_of

CODE = {
    "experiments/__init__.py": "",
    "experiments/made.py": '''"""What the paper asks."""
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

import training
import visualization
from sweeps.claims import Claim
from experiments import other
from features import draw as drawn, spare

LEVELS = (1, 2)
KINDS = {"a": LEVELS}
KINDS["b"] = 3
UNUSED = 4


@dataclass(frozen=True)
class Settings:
    steps: int = 4

    def __post_init__(self):
        check(self.steps)


QUICK = Settings(steps=2)


class Part(NamedTuple):
    position: torch.Tensor


class Result(NamedTuple):
    part: Part  # (points,)


def check(steps):
    return steps > 0


def run(settings: Settings, *, seed=0) -> Result:
    """Run."""
    windows = [training.train(kind) for kind in KINDS]  # as a figure's function is called

    def inner():
        from lazy import late

        return late(drawn(math.log(seed)))

    return Result(Part(other.shared(windows, inner())))


def windows(result):
    return result


def figure(result):
    """Draw."""
    return visualization.draw(windows(result), spare, UNUSED)


def claims(result):
    return Claim(result)
''',
    "experiments/other.py": "import training\n\ndef run(x):\n    return 1\n\n"
    "def shared(x, y):\n    return training.schedule(x)\n",
    "training.py": '"""Train."""\nimport optimizers\nfrom features import draw\nSTEPS = 3\n\n'
    'def train(kind):\n    """Fit."""\n'
    "    return optimizers.adam.step(draw(STEPS))\n\ndef schedule(x):\n    return x\n\ndef never(x):\n    return x\n",
    "optimizers/__init__.py": "from optimizers import adam\n",
    "optimizers/adam.py": "import weights as w\n\ndef step(x):\n    return [w]\n\ndef other(x):\n    return x\n",
    "weights.py": "SCALE = 1\n\ndef init():\n    return 1\n",
    "features.py": "import torch\ntorch.set_default_dtype(None)\n\n"
    "def draw(x):\n    return x + 1\n\ndef spare(x):\n    return x\n",
    "lazy.py": "def late(x):\n    return x\n\ndef early(x):\n    return x\n",
    "visualization.py": "def draw(x):\n    return x\n",
    "claims.py": "class Claim:\n    pass\n",
}
MADE, OTHER, TRAINING = "experiments/made.py", "experiments/other.py", "training.py"
COUNTS = {
    "run": (MADE, "for kind in KINDS", "for kind in [*KINDS]"),
    "a default of run": (MADE, "seed=0", "seed=1"),
    "a constant": (MADE, "(1, 2)", "(1, 3)"),
    "a constant's item": (MADE, '["b"] = 3', '["b"] = 5'),
    "Settings": (MADE, "steps: int = 4", "steps: int = 5"),
    "what Settings uses": (MADE, "steps > 0", "steps > 1"),
    "Result": (MADE, "part: Part", "part: Part\n    more: Part"),
    "a part of Result": (MADE, "position:", "place:"),
    "another function from outside": (MADE, "import math", "import numpy as math"),
    "another source of a name": (MADE, "from features import draw as drawn", "from features import spare as drawn"),
    "what another experiment shares": (OTHER, "training.schedule(x)", "training.schedule(y)"),
    "what that uses": (TRAINING, "schedule(x):\n    return x", "schedule(x):\n    return -x"),
    "a function of another module": (TRAINING, "draw(STEPS)", "draw(STEPS + 1)"),
    "a constant of another module": (TRAINING, "STEPS = 3", "STEPS = 4"),
    "a module of a package": ("optimizers/adam.py", "return [w]", "return [w, w]"),
    "a module that is passed on whole": ("weights.py", "return 1", "return 2"),
    "a name imported by another name": ("features.py", "x + 1", "x + 2"),
    "what an import carries out": ("features.py", "dtype(None)", "dtype(1)"),
    "an import inside of a function": ("lazy.py", "late(x):\n    return x", "late(x):\n    return -x"),
    "shards, once there are any": (MADE, "def windows", "def shards(s):\n    return [s]\n\n\ndef windows"),
}  # fmt: skip
COUNTS_NOT = {
    "the module's docstring": (MADE, "What the paper asks.", "What it says."),
    "a docstring": (MADE, '"""Run."""', '"""Run it."""'),
    "no docstring": (MADE, '    """Run."""\n', ""),
    "a comment": (MADE, "# (points,)", "# (all points,)"),
    "layout": (MADE, "Part(other.shared(windows, inner()))", "Part(\n  other.shared(windows,\n inner()))"),
    "annotations": (MADE, "settings: Settings, *, seed=0) -> Result", "settings, *, seed: int = 0)"),
    "a figure": (MADE, "return visualization", "return 2 * visualization"),
    "what a figure uses, called as a variable of run": (MADE, "    return result\n", "    return result.part\n"),
    "a constant of a figure": (MADE, "UNUSED = 4", "UNUSED = 5"),
    "a claim": (MADE, "Claim(result)", "Claim(result, 1)"),
    "quick settings": (MADE, "Settings(steps=2)", "Settings(steps=3)"),
    "an unused import": (MADE, "from features import draw as drawn, spare", "from features import draw as drawn"),
    "the run of another experiment": (OTHER, "return 1", "return 2"),
    "a docstring of another module": (TRAINING, "Fit.", "Fit it."),
    "a function that is not reached": (TRAINING, "never(x):\n    return x", "never(x):\n    return -x"),
    "the rest of an import inside of a function": ("lazy.py", "early(x):\n    return x", "early(x):\n    return -x"),
    "visualization": ("visualization.py", "return x", "return -x"),
    "the class Claim": ("claims.py", "pass", "x = 1"),
}  # fmt: skip


@pytest.fixture
def home(tmp_path):
    for name, text in CODE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(home, experiment="made"):
    code_digest.cache_clear()
    definitions_of.cache_clear()
    file = home / "experiments" / f"{experiment}.py"
    return code_digest(
        f"experiments.{experiment}", str(file), ("run", "shards", "joined", "Settings", "Result")
    )


def edited(home, file, old, new):
    assert CODE[file].count(old) == 1
    (home / file).write_text(CODE[file].replace(old, new))


@pytest.mark.parametrize("edit", COUNTS.values(), ids=COUNTS)
def test_what_counts(home, edit):
    before = digest(home)
    edited(home, *edit)
    assert digest(home) != before


@pytest.mark.parametrize("edit", COUNTS_NOT.values(), ids=COUNTS_NOT)
def test_what_does_not_count(home, edit):
    before = digest(home)
    edited(home, *edit)
    assert digest(home) == before


def test_changing_one_experiment_changes_that_one(home):
    before = digest(home, "made"), digest(home, "other")
    edited(home, MADE, "math.log(seed)", "math.exp(seed)")
    assert digest(home, "made") != before[0] and digest(home, "other") == before[1]


def test_the_place_of_the_repository_does_not_count(home, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved") / "home"
    before = digest(home)
    home.rename(moved)
    assert digest(moved) == before


def test_digest_is_of_the_code_as_first_read(home):
    before = digest(home)
    edited(home, MADE, "math.log(seed)", "math.exp(seed)")
    assert (
        code_digest(
            "experiments.made", str(home / MADE), ("run", "shards", "joined", "Settings", "Result")
        )
        == before
    )
