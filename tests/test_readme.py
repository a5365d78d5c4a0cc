"""The README: its links lead somewhere, its commands and snippets run."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import command_line

HOME = Path(command_line.__file__).parents[1]
TEXT = (HOME / "README.md").read_text(encoding="utf-8")
# Beginning of a command -> what makes it small. Of other commands only the options are tried here.
SMALL = {
    "scorecard.py": ["--quick", "--seeds", "2", "--sections", "2", "--jobs", "1", "--out", "{tmp}"],
    "zoo.py export": [],
}


TEMPLATE = ("falling_loss.py", "Minemain.py")  # files of an experiment of one's own


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def commands():
    """Every command of the README that runs a script, once."""
    return sorted(set(re.findall(r"`python ([^`]+)`", TEXT)))


def beginning(command):
    """The beginning of a command, if SMALL says how to make it small."""
    return next((start for start in SMALL if command.startswith(start)), None)


def small(command, tmp):
    """The arguments of a command, made small, and with its files in a folder."""
    script, *rest = command.split()
    named = [
        str(tmp / word) if word in ("DIR", "SCORECARD.md", "scorecard.json") else word
        for word in rest
    ]
    return [script, *named, *(word.format(tmp=tmp) for word in SMALL[beginning(command)])]


def test_length():
    assert len(TEXT.split()) <= 1200


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT)
    assert len(targets) > 8
    for target in targets:
        file, _, anchor = target.partition("#")
        path = HOME / (file or "README.md")
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), target


def anchors(path):
    """The names that GitHub gives to the headings of a file in Markdown."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def test_files_of_the_map_exist():
    written = {"results/", *TEMPLATE}  # by a run, and by the reader
    names = set(re.findall(r"`([\w/.-]+(?:\.py|\.txt|/))`", TEXT)) - written
    assert len(names) > 15 and all((HOME / name).exists() for name in names)


@pytest.mark.parametrize("snippet", [each for each in blocks("python") if each[0] != '"'])
def test_snippets_run(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(HOME)
    exec(compile(snippet, "README.md", "exec"), {})


def test_an_experiment_of_ones_own(tmp_path):
    """As written, beside the repository's files: it is computed for two seeds, drawn and kept."""
    for name, text in zip(TEMPLATE, (each for each in blocks("python") if each[0] == '"')):
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    command = [
        sys.executable,
        "Minemain.py",
        "--quick",
        "--seeds",
        "2",
        "--jobs",
        "2",
        "--out",
        ".",
    ]
    runs = [
        subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        for _ in range(2)
    ]
    kept = [*tmp_path.glob("results/falling_loss-*.safetensors")]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert "M.1" in runs[0].stdout and runs[0].stdout == runs[1].stdout
    assert len(kept) == 2 and (tmp_path / "figures" / "mine-fall.png").is_file()


@pytest.mark.parametrize(
    "target", re.findall(r"^make (\w+)", "".join(blocks("")), flags=re.MULTILINE)
)
def test_make_targets_exist(target):
    assert subprocess.run(["make", "-n", target], cwd=HOME, capture_output=True).returncode == 0


def status(arguments, monkeypatch):
    """The exit status of a script of the repository, run in this process."""
    monkeypatch.chdir(HOME)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(arguments[0], run_name="__main__")
    return end.value.code


@pytest.mark.parametrize("command", [command for command in commands() if beginning(command)])
def test_commands_run(command, tmp_path, monkeypatch):
    assert status(small(command, tmp_path), monkeypatch) == 0
    assert any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "script",
    sorted({command.split()[0] for command in commands() if not beginning(command)}),
)
def test_long_commands_start(script, monkeypatch, capsys):
    """Their small runs are those of the tests of sections, zoo and autoencoders."""
    assert status([script, "--help"], monkeypatch) == 0
    assert script.split("/")[-1] in capsys.readouterr().out


def test_options_of_the_scripts():
    options = set(command_line.argument_parser(command_line.__file__, "").format_help().split())
    assert set(re.findall(r"`(--\w+)", TEXT)) <= options | {"--to"}
