"""The scorecard of two made-up sections."""

import json
import sys

import made_up
import pytest

import scorecard
from sweeps import command_line, section_main

SECTION = '''"""Section {number}: made up."""
import made_up
from sweeps import Claim, Experiment, effect

EXPERIMENTS = {{"only": Experiment(made_up, made_up.Settings(numbers={number}), made_up.QUICK)}}


def figures(results):
    raise AssertionError("the scorecard draws nothing")


def claims(results):
    values = results.only.values
    numbers = {{"numbers": values.numel(), "first": values[0, 0].item()}}
    finding = effect("All are drawn.", values.numel() == {number}, numbers, "trained")
    return [Claim("{number}.1", "Values are drawn", "many", (finding,), "Seen: {{numbers}}.")]
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
    assert [line.split()[1] for line in lines if line.startswith("Claim ")] == ["1.1,", "9.1,"]
    assert lines[-1] == "Of the paper's 2 claims: 2 reproduced."
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
    assert capsys.readouterr().out.endswith("claims with 2 seeds: 2 reproduced.\n")
    assert json.loads(file.read_text(encoding="utf-8")) == [
        {
            "id": f"{number}.1",
            "statement": "Values are drawn",
            "paper": "many",
            "verdict": "reproduced",
            "seen": f"Seen: {number}.",
            "findings": [
                {
                    "kind": "effect",
                    "sentence": "All are drawn.",
                    "paper": "",
                    "evidence": ["trained"] * 2,
                    "holds": [True] * 2,
                    "numbers": {
                        "numbers": [number] * 2,
                        "first": [values(number, seed)[0, 0].item() for seed in (3, 4)],
                    },
                }
            ],
        }
        for number in (1, 9)
    ]


def test_markdown_has_verdicts_and_every_number(home, capsys, monkeypatch):
    file = home / "SCORECARD.md"
    monkeypatch.setattr(scorecard, "MINUTES", {"1": 1, "9": 0.5})
    assert scorecard.main(["--seeds", "2", "--jobs", "1", "--markdown", str(file)]) == 0
    verdicts, *by_section = file.read_text(encoding="utf-8").split("## Section ")
    assert verdicts.startswith("# Scorecard\n")
    assert "Of the paper's 2 claims with 2 seeds: 2 reproduced." in verdicts
    assert "## The paper's claims" in verdicts and "## Our own claims" not in verdicts
    assert table_rows(verdicts)[1:] == [
        [f"[{id}](#claim-{anchor})", "Values are drawn", "reproduced", f"Seen: {id[0]}."]
        for id, anchor in (("1.1", "11"), ("9.1", "91"))
    ]
    assert "`python Section1main.py`, 1 minute a seed" in by_section[0]
    assert "### Claim 1.1\n" in by_section[0]
    first = sorted(values(9, seed)[0, 0].item() for seed in (0, 1))
    (row,) = [row for row in table_rows(by_section[1]) if row[1] == "first"]
    assert [float(cell) for cell in row[2:]] == pytest.approx([sum(first) / 2, *first], rel=1e-3)


def table_rows(text):
    """The cells of all tables in Markdown."""
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if "| " in line
    ]


def test_markdown_has_the_paper_and_our_own_claims_apart(home, monkeypatch):
    import Section1main

    monkeypatch.setattr(scorecard, "MINUTES", {"1": 2})
    own = made_up.of_one_number("1.2", 3, holds=False)
    paper = own._replace(
        id="1.1", findings=tuple(each._replace(kind="effect") for each in own.findings)
    )
    text = scorecard.as_markdown({"1": Section1main}, [[paper, own]])
    tables, _ = text.split("## Section 1")
    before, after = tables.split("## Our own claims")
    assert "[1.1]" in before and "not seen" in before and "[1.2]" not in before
    assert "[1.2]" in after and "does not hold" in after and "[1.1]" not in after


def test_chosen_sections(home, capsys):
    assert scorecard.main(["--sections", "9", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("Claim ")] == ["9.1,"]
    with pytest.raises(SystemExit) as end:
        scorecard.main(["--sections", "2"])
    assert end.value.code == 2 and "argument --sections" in capsys.readouterr().err


def test_a_number_that_a_seed_lacks_is_null():
    claim = made_up.of_one_number("9.1", 1)
    finding = claim.findings[0]._replace(numbers={"b": 2.5}, holds=False)
    other = claim._replace(findings=(finding,), seen="")
    (entry,) = json.loads(scorecard.as_json([[claim], [other]]))
    (found,) = entry["findings"]
    assert found["numbers"] == {"number": [1, None], "b": [None, 2.5]}
    assert found["holds"] == [True, False]
    assert entry["verdict"] == "reproduced in part"


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
