"""Check the numbers in README, notebook and scorecard against the committed ones of ten seeds."""

import json
import re
import statistics
from pathlib import Path

import nbformat
import pytest

import scorecard

HOME = Path(scorecard.__file__).parent
CLAIMS = {
    entry["id"]: entry
    for entry in json.loads((HOME / "scorecard.json").read_text(encoding="utf-8"))
}
README = " ".join((HOME / "README.md").read_text(encoding="utf-8").split())
CELLS = nbformat.read(HOME / "demo-superposition.ipynb", as_version=4).cells
NOTEBOOK = " ".join(" ".join(cell.source for cell in CELLS if cell.cell_type == "markdown").split())
WORDS = dict(
    zip(
        ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        range(11),
    )
)


def of(claim, name, which="median", times=1):
    """Return a number of a claim over the seeds, which a text must state as it rounds it."""
    choose = {"median": statistics.median, "lowest": min, "highest": max}[which]
    return times * choose([value for value in CLAIMS[claim]["numbers"][name] if value is not None])


def spread(claim, name, times=1):
    return [of(claim, name, "lowest", times), of(claim, name, "highest", times)]


def found(claim, name, times=100):
    """Median, lowest and highest, as in "5 % [0, 5]"."""
    return [of(claim, name, times=times), *sorted(spread(claim, name, times))]


RIGHT = spread("3.5", "n=3: share of the differing means that are right without local minima", 100)
CHANCE = spread("3.5", "n=3: the same by chance", 100)
CRITICAL = [of("3.3", "continuous by expansion from density"), of("3.3", "to")]
SNAPS = [
    of("4.7", f"density {density}: losses cross, times sparser")
    for density in ("0.05", "0.02", "0.1", "0.2")
]
COLLAPSES = [of("4.12", f"{pairs} collapsed from density") for pairs in (1, 2, 3)]
WITHIN = of("4.12", "loss within 1% of the principal components' from density")
LEADS = [
    of("4.6", f"{name}: predicted {end}")
    for name, end in (
        ("digon", "from 1/(1-S)"), ("digon", "to"), ("pentagon", "to"), ("square antiprism", "to"),
    )
]  # fmt: skip
REMOVED = [f"attack in training that removes it at 1/(1-S)={at}" for at in (3, 5, 10, 20)]
MANY, RANGE = ("n20-m5", "n40-m10"), r"(\d+) % \[(\d+), (\d+)\]"
WEAK_FOUND = found("A.2", "share found, n20-m5")
WEAK = [
    number for model in MANY for number in found("A.2", f"surplus at the true dictionary, {model}")
]
MIDDLE_FOUND = [number for model in MANY for number in found("A.3", f"share found, {model}")]
MIDDLE = [
    number
    for model in MANY
    for number in found("A.3", f"surplus at the true dictionary, {model}", -100)
]
UNEQUAL = "digons, densities 0.1 and 0.001"
RARE, FREQUENT = (
    found("A.6", f"of the second, {UNEQUAL}"),
    found("A.6", f"share found of the first, {UNEQUAL}"),
)
MOTIF = of("8.3", "loss without the inhibiting weight over loss, median")
STATED = [  # text, its words with a group for each number, these numbers
    (
        README,
        r"between densities (\S+) and (\S+) the second feature grows out of zero continuously",
        CRITICAL,
    ),
    (README, r"that end in one, and (\d+) to (\d+) % of the wrong points at n=3 are right", RIGHT),
    (
        README,
        r"with n = 4m/3, (\d+) to (\d+) % of models have them",
        spread("4.5", "tetrahedron: share of models", 100),
    ),
    (
        README,
        r"finds one at (\d+) to (\d+) % of them",
        spread("5.2", "share of these that are at a saddle point", 100),
    ),
    (README, r"without its inhibiting weight the loss is (\d+) times larger", [MOTIF]),
    (
        NOTEBOOK,
        r"is the count not certain: with (\w+) of ten seeds",
        [CLAIMS["2.3"]["holds"].count(False)],
    ),
    (NOTEBOOK, r"at which the average is wrong (\d+) to (\d+) % are right", RIGHT),
    (NOTEBOOK, r"leave out as many blindly, and (\d+) to (\d+) %", CHANCE),
    (NOTEBOOK, r"continuously, at densities between (\S+) and (\S+)\. And", CRITICAL),
    (
        NOTEBOOK,
        r"digons from (\S+) to (\S+), pentagons to (\S+), "
        r"square antiprisms after them, but only to ([\d.]+\d)",
        LEADS,
    ),
    (
        NOTEBOOK,
        r"snaps at (\S+) times sparser instead of 2.5 at density 0.05, "
        r".*: (\S+) at 0.02, (\S+) at 0.1, (\S+) at 0.2",
        SNAPS,
    ),
    (NOTEBOOK, r"the steps are at densities (\S+), (\S+) and (\S+) where the paper", COLLAPSES),
    (NOTEBOOK, r"that of principal component analysis at a density of ([\d.]+\d)\.", [WITHIN]),
    (NOTEBOOK, r"stragglers, \d of (\d+) in the full runs", [of("5.1", "moves between levels")]),
    (NOTEBOOK, r"vulnerability rises to (\S+) to (\S+) times", spread("6.1", "rise")),
    (
        NOTEBOOK,
        r"with a correlation of (\S+) to (\S+)\. Over",
        spread("6.2", "correlation where superposition forms"),
    ),
    (
        NOTEBOOK,
        r"Over all densities the correlation is only ([\d.]+\d),",
        [of("6.2", "at all densities")],
    ),
    (NOTEBOOK, r"falls again beyond \$1/\(1-S\)=([\d.]+)\$", [of("6.1", "peak at 1/(1-S)")]),
    (NOTEBOOK, r"superposition at (\S+) to (\S+) of the input norm at", spread("6.2", REMOVED[0])),
    (
        NOTEBOOK,
        r"and 5, at (\S+) at 10 and at (\S+) at 20",
        [of("6.2", name) for name in REMOVED[2:]],
    ),
    (
        NOTEBOOK,
        r"any other output by chance in one case of (\w+)",
        [1 / of("8.3", "other outputs by the same rule")],
    ),
    (NOTEBOOK, rf"a plain one finds {RANGE} of those of", WEAK_FOUND),
    (NOTEBOOK, rf"better than the true dictionary by {RANGE} and {RANGE}\. With", WEAK),
    (NOTEBOOK, rf"training is to blame: {RANGE} and {RANGE} are found", MIDDLE_FOUND),
    (
        NOTEBOOK,
        r"octahedron in (\w+) of the seeds, and claim A",
        [CLAIMS["A.4"]["holds"].count(False)],
    ),
    (NOTEBOOK, rf"true dictionary is better by {RANGE} and {RANGE}\. Where", MIDDLE),
    (
        NOTEBOOK,
        rf"is to be rare \({RANGE} of the halves that are a hundred times rarer are found, {RANGE}",
        RARE + FREQUENT,
    ),
    (NOTEBOOK, r"without the inhibiting weight the loss is about (\w+) times larger", [MOTIF]),
]


@pytest.mark.parametrize(
    ("text", "words", "numbers"), STATED, ids=[words for _, words, _ in STATED]
)
def test_numbers_of_texts(text, words, numbers):
    found = re.findall(words, text)
    assert len(found) == 1, f"expected once: {words}"
    said = found[0] if isinstance(found[0], tuple) else found
    assert len(said) == len(numbers)
    for word, number in zip(said, numbers):
        if word in WORDS:
            assert round(number) == WORDS[word]
        else:
            decimals = len(word.partition(".")[2])
            assert f"{number:.{decimals}f}" == word


def test_a_wrong_number_is_noticed():
    with pytest.raises(AssertionError):
        test_numbers_of_texts("between 0.52 and 0.94.", r"between (\S+) and (\S+)\.", CRITICAL)


def test_committed_numbers_are_of_every_claim_and_ten_seeds():
    every_claim = [
        claim
        for section in scorecard.sections()
        for claim in CLAIMS
        if claim.startswith(f"{section}.")
    ]
    assert list(CLAIMS) == every_claim and len(CLAIMS) == 37
    assert {len(entry["holds"]) for entry in CLAIMS.values()} == {10}


@pytest.mark.parametrize(("section", "script"), scorecard.sections().items())
def test_table_of_the_readme(section, script):
    """Its last two columns are what the scorecard says."""
    (row,) = re.findall(rf"\| `python {script.__name__}.py` \| [^|]* \|([^|]*)\|([^|]*)\|", README)
    held = {
        id: entry["holds"].count(True)
        for id, entry in CLAIMS.items()
        if id.startswith(f"{section}.")
    }
    assert [id.strip() for id in row[0].split(",")] == [
        id for id, count in held.items() if count == 10
    ]
    missed = {id: int(count) for id, count in re.findall(r"(\w\.\d+) \((\d+)", row[1])}
    assert missed == {id: count for id, count in held.items() if count < 10}


def test_what_was_seen_instead_is_told_of_every_miss():
    missed = {id for id, entry in CLAIMS.items() if not all(entry["holds"])}
    assert missed == set(scorecard.SEEN)


def test_scorecard_is_of_these_numbers():
    text = (HOME / "SCORECARD.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[(\w\.\d+)\]\(#claim-\w+\).*\| in (\d+) of 10 +\|$", text, flags=re.MULTILINE
    )
    assert rows == [(id, str(entry["holds"].count(True))) for id, entry in CLAIMS.items()]
    assert all(f"Seen instead: {scorecard.SEEN[id]}." in text for id in scorecard.SEEN)
