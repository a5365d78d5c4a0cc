"""The layout of the repository: which place has which job, and which places may import which.

Each place imports only from places above it in FLOORS. Files of one folder may import one another
where that makes no circle.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
FLOORS = (  # from the ground up; a folder ends in "/"
    {"checks.py": "What is refused, and how: the arguments of all public functions."},
    {
        "features.py": "What the inputs are; draws batches of them.",
        "geometry.py": "Measures of a weight matrix.",
    },
    {"models.py": "The toy models, many independent instances at once."},
    {"losses/": "How a loss and its gradient are computed."},
    {"training.py": "Fits a batch of instances, with restarts and a history."},
    {"theory/": "What is best, with nothing trained."},
    {"visualization.py": "The palette, and drawings that several experiments share."},
    {"sweeps/": "Runs cells, keeps their results, and judges claims; knows no superposition."},
    {"storage.py": "Models in folders, as weights and a description."},
    {"interop/": "Formats of other tools, a file for each."},
    {"experiments/": "One file for each question: settings, result, run and figure."},
    {
        "Section2main.py": "The experiments and claims of Section 2.",
        "Section3main.py": "The experiments and claims of Section 3.",
        "Section4main.py": "The experiments and claims of Section 4.",
        "Section5main.py": "The experiments and claims of Section 5.",
        "Section6main.py": "The experiments and claims of Section 6.",
        "Section7main.py": "The experiments and claims of Section 7.",
        "Section8main.py": "The experiments and claims of Section 8.",
        "Autoencodersmain.py": "The experiments and claims on sparse autoencoders.",
        "Variationsmain.py": "The experiments and claims on variations of the paper's models.",
        "zoo.py": "Trained models with certificates.",
    },
    {"scorecard.py": "Every claim beside our numbers, over seeds."},
    {
        "tests/": "The tests; their folders mirror those of the code.",
        "benchmarks/": "How fast and how precise this code is, beside others.",
    },
)
FLOOR = {place: number for number, places in enumerate(FLOORS) for place in places}
MOST_FILES = 18  # Python files at the top level
LISTED = subprocess.run(["git", "ls-files", "-z"], cwd=HOME, capture_output=True, check=True)
TRACKED = [name for name in LISTED.stdout.decode().split("\0") if (HOME / name).is_file()]
SOURCES = [name for name in TRACKED if name.endswith(".py")]


def place(name):
    """The place of FLOORS that a file belongs to."""
    top, slash, _ = name.partition("/")
    return top + slash


def imported(name):
    """The files of the repository that a file imports."""
    folder = Path(name).parent.parts
    files = set()
    for node in ast.walk(ast.parse((HOME / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = folder[: len(folder) + 1 - node.level] if node.level else ()
            source = ".".join([*package, *filter(None, [node.module])])
            modules = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        else:
            continue
        files |= {file for module in modules for file in files_of(module)}
    return files - {name}


def files_of(module):
    path = module.replace(".", "/")
    return {f"{path}.py", f"{path}/__init__.py"} & set(SOURCES)


IMPORTED = {name: imported(name) for name in SOURCES}


@pytest.mark.parametrize("name", SOURCES)
def test_imports_come_from_lower_floors(name):
    here = place(name)
    assert here in FLOOR, f"{name} has no place in FLOORS"
    for other in IMPORTED[name]:
        assert place(other) == here or FLOOR[place(other)] < FLOOR[here], f"imports {other}"


def test_no_imports_make_a_circle():
    """A file that imports nothing of what is left can be taken away, until nothing is left.

    A package's `__init__.py` that collects names is imported with each of its modules; it does not
    count as imported by them.
    """
    left = {
        name: {other for other in others if not other.endswith("__init__.py")}
        for name, others in IMPORTED.items()
    }
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left


def test_few_files_at_the_top_level():
    assert len([name for name in SOURCES if "/" not in name]) <= MOST_FILES


def test_names_differ_in_more_than_case():
    """Where a file system ignores case, two such files would be one."""
    names = {part for name in TRACKED for part in (name, *map(str, Path(name).parents))}
    assert len({name.lower() for name in names}) == len(names)


def test_every_folder_of_tests_mirrors_one_of_the_code():
    folders = {str(Path(name).parent) for name in SOURCES}
    tests = {folder for folder in folders if folder.startswith("tests/")}
    assert {folder.removeprefix("tests/") for folder in tests} <= folders


@pytest.mark.parametrize("name", [each for each in SOURCES if each.startswith("experiments/")])
def test_an_experiment_run_by_itself_names_its_script(name):
    """It says in one line what to run; a package's `__init__.py` does nothing."""
    run = subprocess.run([sys.executable, HOME / name], capture_output=True, encoding="utf-8")
    if name.endswith("__init__.py"):
        assert (run.returncode, run.stderr) == (0, "")
        return
    (script,) = re.findall(r"run python (\w+\.py) instead\.\n$", run.stderr)
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1 and (HOME / script).is_file()
