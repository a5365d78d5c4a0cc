"""Claims in the shell, in a notebook, and in Markdown."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from sweeps import Claim, Shown, effect, number, ours, tables
from sweeps.claims import BEST_KNOWN, TRAINED
from sweeps.tables import html_claims, markdown_claim, plain_claims

WORDS = Claim(
    "4.10",
    "Correlated features prefer to be | side_by_side, where *they* cannot be <orthogonal>",
    "They do (Section 4)",
    (effect("They are side by side.", False, {"share of runs": 0.25, "runs": 8}, TRAINED),),
    "It is {share of runs} of the runs.",
    "Run more.",
)
NUMBERS = Claim(
    "4.7",
    "A pentagon snaps",
    "At 2.5 times sparser (Section 4)",
    (
        effect("The loss curves cross.", True, {"crossings": 1}, BEST_KNOWN),
        number("At 2.5.", False, {"at": 3.72}, BEST_KNOWN, paper="about 2.5"),
        ours("It is later when denser.", True, {"later": 2.35}, TRAINED),
    ),
    "It snaps at {at} times.",
)


def test_plain_claims():
    text = plain_claims([[NUMBERS, WORDS]])
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "Claim 4.7, reproduced: A pentagon snaps"
    assert lines[1] == "The paper: At 2.5 times sparser (Section 4)"
    assert lines[2] == "kind finding the paper ours evidence outcome"
    assert lines[4] == "1 effect The loss curves cross. crossings: 1 best known reproduced"
    assert lines[5] == "2 number At 2.5. about 2.5 at: 3.72 best known differs"
    assert lines[6] == "3 ours It is later when denser. later: 2.35 trained holds"
    assert lines[7] == "Seen: It snaps at 3.72 times."
    assert "not seen" in text and "share of runs: 0.25" in text
    assert "runs: 8" not in text  # Only the number that decides is shown.
    assert lines[-1] == "Of the paper's 2 claims: 1 reproduced, 1 not seen."
    assert plain_claims([[NUMBERS]], "That is all.").endswith("\n\nThat is all.")


def test_a_claim_of_our_own_says_nothing_of_the_paper():
    own = NUMBERS._replace(findings=NUMBERS.findings[2:], seen="")
    assert "The paper:" not in plain_claims([[own]])
    assert "The paper:" not in markdown_claim([own])


@given(st.lists(st.text("ab |\n*", max_size=300), min_size=3, max_size=3), st.integers(1, 10))
def test_plain_claims_fit_the_shell(texts, seeds):
    finding = effect(texts[0], True, {texts[2] or "x": 1.5}, TRAINED)
    wide = effect("word " * 50, False, {"number " * 20: 1.5}, TRAINED)
    claim = Claim("10.10", texts[1], texts[0], (finding, wide), "words " * 50)
    for claims in ([[claim, claim]], [[claim]] * seeds):
        assert max(map(len, plain_claims(claims).splitlines())) <= tables.COLUMNS


def test_html_can_be_shown_in_a_notebook():
    shown = Shown([NUMBERS, WORDS])
    page = ElementTree.fromstring(f"<div>{shown._repr_html_()}</div>")
    assert ["".join(line.itertext()) for line in page.findall("p")] == [
        "Claim 4.7, reproduced: A pentagon snaps. It snaps at 3.72 times.",
        f"Claim 4.10, not seen: {WORDS.statement}. It is 0.25 of the runs.",
        "Of the paper's 2 claims: 1 reproduced, 1 not seen.",
    ]
    findings, other_findings = page.findall("table")
    assert cells(findings)[2] == [
        "2",
        "number",
        "At 2.5.",
        "about 2.5",
        "at: 3.72",
        "best known",
        "differs",
    ]
    assert cells(other_findings)[1][4] == "share of runs: 0.25"
    folded = page.findall("details")[1]
    assert cells(folded)[1:] == [["1", "share of runs", "0.25"], ["1", "runs", "8"]]
    assert {cell.get("style") for cell in page.iter("td")} == {"text-align: left"}
    assert repr(shown) == plain_claims([[NUMBERS, WORDS]])


def cells(element):
    """The text of the cells of a table, by row."""
    return [[(cell.text or "").strip() for cell in row] for row in element.iter("tr")]


def test_html_has_a_claim_over_seeds():
    assert "crossings: 1" in html_claims([[NUMBERS], [NUMBERS]])


def test_markdown_has_all_numbers_and_no_markup_of_its_own():
    text = markdown_claim([WORDS])
    lines = text.splitlines()
    assert lines[0] == "### Claim 4.10"
    assert r"\| side\_by\_side, where \*they\* cannot be \<orthogonal>" in lines[2]
    assert "Verdict: **not seen**." in lines[2]
    assert any(line.split() == ["|", "1", "|", "runs", "|", "8", "|"] for line in lines)
    assert "What a critic would try next: Run more." in text
    rows = [line for line in lines if line.startswith("|")]
    assert all(len(row.replace(r"\|", "").split("|")) in (5, 9) for row in rows)


def test_markdown_has_a_critic_only_where_something_is_missing():
    held = WORDS._replace(findings=(WORDS.findings[0]._replace(holds=True),))
    assert "critic" not in markdown_claim([held])
    assert "critic" in markdown_claim([held, WORDS])
