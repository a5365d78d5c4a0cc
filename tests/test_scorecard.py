"""The scorecard of two made-up sections."""

import json
import sys

import made_up
import pytest

import scorecard
from sweeps import command_line, section_main

SECTION = '''"""Section {number}: made up."""
import made_up
from sweeps import Claim, Experiment

EXPERIMENTS = {{"only": Experiment(made_up, made_up.Settings(numbers={number}), made_up.QUICK)}}


def figures(results):
    raise AssertionError("the scorecard draws nothing")


def claims(results):
    values = results.only.values
    numbers = {{"numbers": values.numel(), "first": values[0, 0].item()}}
    return [Claim("{number}.1", "Values are drawn.", "many", numbers, values.numel() == {number})]
'''


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A repository of two sections."""
    for number in (9, 1):
        (tmp_path / f"Section{number}main.py").write_text(
            SECTION.format(number=number), encoding="utf-8"
        )
        monkeypatch.delitem(sys.modules, f"Section{number}main", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(command_line, "HOME", tmp_path)
    return tmp_path


def values(number, seed):
    return made_up.run(made_up.Settings(numbers=number), seed=seed).values


def test_every_claim_of_every_section(home, capsys):
    assert scorecard.main(["--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if ".1 " in line] == ["1.1", "9.1"]
    assert f"first: {values(1, 0)[0, 0].item():.4g}" in " ".join(lines)
    assert lines[-1] == "2 of 2 claims hold"
    assert len(list((home / "results").iterdir())) == 2


def test_cells_of_sections_and_scorecard_are_the_same(home, capsys):
    import Section1main

    assert scorecard.main(["--jobs", "1"]) == 0
    before = {path: path.stat().st_mtime_ns for path in (home / "results").iterdir()}
    Section1main.figures = lambda results: {}
    assert section_main(Section1main, ["--jobs", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (home / "results").iterdir()} == before


def test_quick_has_a_folder_of_its_own(home, capsys):
    assert scorecard.main(["--quick", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.endswith("and say nothing about the claims.\n")
    assert (
        len(list((home / "results" / "quick" / "results").iterdir())) == 1
    )  # both sections have the same quick cell


def test_json_has_every_number_of_every_seed(home, capsys):
    file = home / "claims.json"
    assert scorecard.main(["--seed", "3", "--seeds", "2", "--jobs", "1", "--json", str(file)]) == 0
    assert capsys.readouterr().out.endswith("2 of 2 claims hold with each of 2 seeds\n")
    assert json.loads(file.read_text(encoding="utf-8")) == [
        {
            "id": f"{number}.1",
            "statement": "Values are drawn.",
            "paper": "many",
            "holds": [True, True],
            "numbers": {
                "numbers": [number] * 2,
                "first": [values(number, seed)[0, 0].item() for seed in (3, 4)],
            },
        }
        for number in (1, 9)
    ]


def test_markdown_has_a_summary_and_every_number(home, capsys, monkeypatch):
    file = home / "SCORECARD.md"
    monkeypatch.setattr(scorecard, "MINUTES", {"1": 1, "9": 0.5})
    monkeypatch.setattr(scorecard, "SEEN", {"1.1": "never shown, as it holds"})
    assert scorecard.main(["--seeds", "2", "--jobs", "1", "--markdown", str(file)]) == 0
    summary, *by_section = file.read_text(encoding="utf-8").split("## Section ")
    assert (
        summary.startswith("# Scorecard\n")
        and "2 of 2 claims hold with each of 2 seeds." in summary
    )
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in summary.splitlines()
        if "| " in line
    ]
    assert rows[1:] == [
        [f"[{id}](#claim-{anchor})", "Values are drawn.", "many", "in 2 of 2"]
        for id, anchor in (("1.1", "11"), ("9.1", "91"))
    ]
    assert (
        "`python Section1main.py`, 1 minute a seed" in by_section[0]
        and "### Claim 1.1\n" in by_section[0]
    )
    first = sorted(values(9, seed)[0, 0].item() for seed in (0, 1))
    (row,) = [line for line in by_section[1].splitlines() if line.startswith("| first ")]
    assert [float(cell) for cell in row.split("|")[2:-1]] == pytest.approx(
        [sum(first) / 2, *first], rel=1e-3
    )


def test_markdown_says_what_was_seen_instead(home, monkeypatch):
    import Section1main

    monkeypatch.setattr(scorecard, "MINUTES", {"1": 2})
    monkeypatch.setattr(scorecard, "SEEN", {"1.1": "none were drawn"})
    claim = made_up.Claim("1.1", "Values | are drawn", "many", {"first": 0.5}, False)
    text = scorecard.as_markdown({"1": Section1main}, [[claim]])
    assert (
        "Values \\| are drawn. The paper: many. Holds: NO. Seen instead: none were drawn.\n" in text
    )
    assert [line.split() for line in text.splitlines() if "first" in line] == [
        ["|", "first", "|", "0.5", "|"]
    ]
    text = scorecard.as_markdown({"1": Section1main}, [[claim._replace(holds=True)], [claim]])
    assert (
        "Holds: in 1 of 2. Seen instead: none" in text
        and "0 of 1 claims hold with each of 2 seeds" in text
    )


def test_chosen_sections(home, capsys):
    assert scorecard.main(["--sections", "9", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if ".1 " in line] == ["9.1"]
    with pytest.raises(SystemExit) as end:
        scorecard.main(["--sections", "2"])
    assert end.value.code == 2 and "argument --sections" in capsys.readouterr().err


def test_a_number_that_a_seed_lacks_is_null():
    claim = made_up.Claim("9.1", "", "", {"a": 1}, True)
    (entry,) = json.loads(
        scorecard.as_json([[claim], [claim._replace(numbers={"b": 2.5}, holds=False)]])
    )
    assert entry["numbers"] == {"a": [1, None], "b": [None, 2.5]} and entry["holds"] == [
        True,
        False,
    ]


@pytest.mark.parametrize("option", ["--json", "--markdown"])
@pytest.mark.parametrize(
    "name",
    [
        "",
        "/proc/nowhere/file",
        "{home}",
        "{home}/Section1main.py/file",
        "{home}",
        "{home}/\0",
        "{home}/" + 255 * "x",
    ],
)
def test_a_file_that_cannot_be_written_is_found_out_before_computing(home, capsys, name, option):
    with pytest.raises(SystemExit) as end:
        scorecard.main(["--jobs", "1", option, name.format(home=home)])
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert (
        line.startswith(f"scorecard.py: error: argument {option}: expected")
        and line.count("\n") == 1
    )
    assert not list((home / "results").iterdir()) if (home / "results").exists() else True


def test_the_options_of_the_sections(home, capsys):
    with pytest.raises(SystemExit) as end:
        scorecard.main(["--seeds", "0"])
    assert end.value.code == 2
    assert (
        "scorecard.py: error: argument --seeds: expected a whole number" in capsys.readouterr().err
    )


def test_how_to_continue(home, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(made_up, "run", interrupted)
    assert scorecard.main(["--jobs", "1", "--quick", "--fresh"]) == 130
    line = capsys.readouterr().err.split("\r")[-1]
    assert line.startswith("interrupted; 0 of 1 cells are finished and kept; to continue: python ")
    assert line.endswith("scorecard.py --jobs 1 --quick\n")
