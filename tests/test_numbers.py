"""Check the numbers in README and notebooks against the committed ones of the scorecard."""

import json
import re
import statistics
from pathlib import Path

import pytest

import scorecard
from sweeps.claims import EFFECT, NOT_SEEN, OUR_WORDS, TRAINING_LIMITED

HOME = Path(scorecard.__file__).parent
CLAIMS = {
    entry["id"]: entry
    for entry in json.loads((HOME / "scorecard.json").read_text(encoding="utf-8"))
}
SEEDS = len(CLAIMS["2.1"]["findings"][0]["holds"])
README = " ".join((HOME / "README.md").read_text(encoding="utf-8").split())
SCORECARD = (HOME / "SCORECARD.md").read_text(encoding="utf-8")
IN_WORDS = {1: "one", 2: "two", 3: "three", 10: "ten"}


def of(claim, name, which="median", times=1):
    """Return a number of a claim over the seeds, which a text must state as it rounds it."""
    choose = {"median": statistics.median, "lowest": min, "highest": max}[which]
    (values,) = [
        finding["numbers"][name]
        for finding in CLAIMS[claim]["findings"]
        if name in finding["numbers"]
    ]
    return times * choose([value for value in values if value is not None])


def is_ours(entry):
    return all(finding["kind"] != EFFECT for finding in entry["findings"])


def in_words(entry):
    return OUR_WORDS[entry["verdict"]] if is_ours(entry) else entry["verdict"]


VERDICTS = [entry["verdict"] for entry in CLAIMS.values() if not is_ours(entry)]
STATED = [  # words of the README with a group for each number, and these numbers
    (
        r"Of (\d+) claims, (\d+) are reproduced and (\d+) are reproduced in part",
        [len(VERDICTS), VERDICTS.count("reproduced"), VERDICTS.count("reproduced in part")],
    ),
    (
        r"One rests at dimensionality (\S+) for thousands",
        [of("5.1", "level that the lone feature leaves, median")],
    ),
    (
        r"and then the loss drops by (\S+) %",
        [of("5.1", "drop in percent where a digon forms, median")],
    ),
    (
        r"exact descent takes D\\\* from (\S+) to (\S+)\.",
        [of("4.1", "D* before"), of("4.1", "D* once settled")],
    ),
    (
        r"Between densities (\S+) and (\S+) the second feature grows",
        [of("3.3", "continuous by expansion from density"), of("3.3", "to")],
    ),
    (
        r"are up to (\d+) times the lowest known",
        [of("8.2", "fresh runs: loss over the best, highest", "highest")],
    ),
]


@pytest.mark.parametrize(("words", "numbers"), STATED, ids=[words for words, _ in STATED])
def test_numbers_of_the_readme(words, numbers):
    assert_stated(README, words, numbers)


def assert_stated(text, words, numbers):
    """Check that a text says these numbers once, as it rounds them; a range may be "7 to 8"."""
    found = re.findall(words, text)
    assert len(found) == 1, f"expected once: {words}"
    said = " to ".join(found[0] if isinstance(found[0], tuple) else found)
    decimals = [len(word.partition(".")[2]) for word in said.split(" to ")]
    rounded = [f"{number:.{decimals[0]}f}" for number in numbers]
    if " to " not in said:
        rounded = list(dict.fromkeys(rounded))
    assert said.split(" to ") == rounded


def test_a_wrong_number_is_noticed():
    with pytest.raises(AssertionError):
        assert_stated("between 0.52 and 0.94.", r"between (\S+) and (\S+)\.", [0.52, 0.84])


def test_committed_numbers_are_of_every_claim():
    every_claim = [
        claim
        for section in scorecard.sections()
        for claim in CLAIMS
        if claim.startswith(f"{section}.")
    ]
    assert list(CLAIMS) == every_claim and len(CLAIMS) == 44
    for entry in CLAIMS.values():
        assert {len(finding["holds"]) for finding in entry["findings"]} == {SEEDS}


def test_the_readme_says_of_how_many_seeds_the_scorecard_is():
    assert f"with {IN_WORDS[SEEDS]} seed" in README
    assert f"`python scorecard.py --seeds {SEEDS} " in README


@pytest.mark.parametrize(("section", "script"), scorecard.sections().items())
def test_table_of_the_readme(section, script):
    """Its last column has the verdicts of the scorecard."""
    (cell,) = re.findall(rf"\| `python {script.__name__}.py` \| [^|]* \|([^|]*)\|", README)
    said = {}
    for part in cell.strip().split("; "):
        ids, words = re.fullmatch(r"((?:\w\.\d+(?:, )?)+) (\D+)", part).groups()
        said |= dict.fromkeys(ids.split(", "), words)
    assert said == {
        claim_id: in_words(entry)
        for claim_id, entry in CLAIMS.items()
        if claim_id.startswith(f"{section}.")
    }


def test_no_claim_is_refuted_by_too_little_training():
    for entry in CLAIMS.values():
        missed = [
            evidence
            for finding in entry["findings"]
            for holds, evidence in zip(finding["holds"], finding["evidence"])
            if not holds and (finding["kind"] == EFFECT or is_ours(entry))
        ]
        assert entry["verdict"] != NOT_SEEN or TRAINING_LIMITED not in missed


def test_every_claim_that_is_not_reproduced_in_full_has_a_critic():
    for claim_id, entry in CLAIMS.items():
        (part,) = re.findall(
            rf"### Claim {re.escape(claim_id)}\n(.*?)</details>", SCORECARD, re.DOTALL
        )
        if entry["verdict"] != "reproduced":
            assert "What a critic would try next: " in part, claim_id


def test_scorecard_has_these_verdicts():
    rows = re.findall(
        r"^\| \[(\w\.\d+)\]\(#claim-\w+\) *\|(?:[^|\\]|\\.)*\| ([^|(]+)", SCORECARD, re.MULTILINE
    )
    assert {claim_id: verdict.strip() for claim_id, verdict in rows} == {
        claim_id: in_words(entry) for claim_id, entry in CLAIMS.items()
    }
