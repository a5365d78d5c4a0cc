"""Claims and their tables."""

import json
import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps import claims
from sweeps.claims import Claim, Shown, claims_table

WORDS = Claim(
    "4.10",
    "Correlated features prefer to be | side_by_side, where *they* cannot be <orthogonal>.",
    "yes",
    {},
    False,
)
NUMBERS = Claim(
    "4.2", "Dimensionalities cluster.", "all five", {"share of features": 0.97412, "runs": 32}, True
)


def over_seeds(*values):
    return [[NUMBERS._replace(numbers={"share": value}, holds=value > 0.5)] for value in values]


def test_plain_table():
    text = claims_table([[NUMBERS, WORDS]]).splitlines()
    assert text[0].split() == ["claim", "statement", "paper", "ours", "holds"]
    assert (
        " ".join(text[2].split())
        == "4.2 Dimensionalities cluster. all five share of features: 0.9741 yes"
    )
    assert text[3].split() == ["runs:", "32"]
    assert text[4].startswith("4.10 ") and text[4].endswith("NO")
    assert text[-1] == "1 of 2 claims hold"


@given(st.lists(st.text("ab |\n*", max_size=300), min_size=3, max_size=3), st.integers(1, 10))
def test_plain_table_fits_the_shell(texts, seeds):
    claim = Claim("10.10", texts[0], texts[1], {texts[2] or "x": 1.5}, True)
    wide = Claim("10.10", "word " * 50, "words " * 50, {"number " * 20: 1.5}, True)
    for text in (claims_table([[claim, wide]]), claims_table([[claim, wide]] * seeds)):
        assert max(map(len, text.splitlines())) <= 120


def test_github_table_has_one_line_a_row_and_no_markup_of_its_own():
    text = claims.github_table(
        [(WORDS.id, WORDS.statement), ("4.2", "two\nlines")], ("claim", "statement")
    )
    rows = text.splitlines()
    assert len(rows) == 4 and "| two lines" in rows[3]
    assert r"\| side\_by\_side, where \*they\* cannot be \<orthogonal>" in rows[2]
    assert all(len(row.replace(r"\|", "").split("|")) == 4 for row in rows)


def test_html_table_can_be_shown_in_a_notebook():
    shown = Shown([NUMBERS, WORDS])
    page = ElementTree.fromstring(f"<div>{shown._repr_html_()}</div>")
    cells = [[(cell.text or "").strip() for cell in row] for row in page.iter("tr")]
    assert cells[1] == [
        "4.2",
        "Dimensionalities cluster.",
        "all five",
        "share of features: 0.9741; runs: 32",
        "yes",
    ]
    assert cells[2][1] == WORDS.statement
    assert page.find("p").text == "1 of 2 claims hold"
    assert repr(shown) == claims_table([[NUMBERS, WORDS]])


@pytest.mark.parametrize(
    "value, written",
    [
        (3, "3"),
        (12345, "12,345"),
        (0.25, "0.25"),
        (1 / 3, "0.3333"),
        (1e-6, "1e-06"),
        (123456.7, "123,457"),
        (1e12, "1e+12"),
        (-0.0004567, "-0.0004567"),
        (0.0, "0"),
        (2**31, "2,147,483,648"),
    ],
)
def test_sensible_digits(value, written):
    assert f" x: {written} " in " ".join(
        claims_table([[NUMBERS._replace(numbers={"x": value})]]).split()
    )


def test_over_seeds_median_lowest_and_highest():
    text = claims_table(over_seeds(0.9, 0.2, 0.75))
    assert "share: 0.75 [0.2, 0.9]" in text and "in 2 of 3" in text
    assert text.endswith("0 of 1 claims hold with each of 3 seeds")
    assert claims_table(over_seeds(0.9, 0.8)).endswith("1 of 1 claims hold with each of 2 seeds")


def test_over_seeds_says_where_a_number_is_missing():
    by_seed = [
        [NUMBERS._replace(numbers=numbers)] for numbers in ({"a": 1}, {"a": 2, "b": 3}, {"b": 5})
    ]
    text = claims_table(by_seed)
    assert "a: 1.5 [1, 2] (2 of 3 seeds)" in text and "b: 4 [3, 5] (2 of 3 seeds)" in text


def test_another_conclusion():
    assert claims_table([[NUMBERS]], conclusion="That is all.").endswith("\n\nThat is all.")


@pytest.mark.parametrize(
    "by_seed", [[], [[NUMBERS], [WORDS]], [[NUMBERS], []], [[NUMBERS, WORDS], [WORDS, NUMBERS]]]
)
def test_seeds_have_the_same_claims(by_seed):
    with pytest.raises(ValueError, match="claims: expected the same claims"):
        claims_table(by_seed)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(value):
    claim = NUMBERS._replace(numbers={"runs": 3, "share": value})
    for refuse in (lambda c: claims_table([c]), Shown, lambda c: claims_table([c, c])):
        with pytest.raises(
            FloatingPointError,
            match=r"claim 4.2, numbers\['share'\]: expected a finite number, got",
        ):
            repr(refuse([claim]))


def test_what_is_no_number_is_refused():
    with pytest.raises(
        ValueError, match=r"claim 4.2, numbers\['share'\]: expected an int or a float, got '0.3'"
    ):
        claims_table([[NUMBERS._replace(numbers={"share": "0.3"})]])


def test_unknown_form():
    with pytest.raises(ValueError, match="form: expected one of plain, html, got 'latex'"):
        claims_table([[NUMBERS]], "latex")


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
    )
)
def test_numbers_over_seeds_keep_each_number_at_its_seed(numbers):
    collected = claims.numbers_over_seeds(
        [NUMBERS._replace(numbers=of_seed) for of_seed in numbers]
    )
    for seed, of_seed in enumerate(numbers):
        assert {
            name: values[seed] for name, values in collected.items() if values[seed] is not None
        } == of_seed
    assert all(len(values) == len(numbers) for values in collected.values())
    json.dumps(collected, allow_nan=False)


def test_order_of_claims_and_numbers_is_kept():
    claim = NUMBERS._replace(numbers={"z": 1, "a": 2, "m": 3})
    text = claims_table([[WORDS, claim]])
    places = [text.index(part) for part in ("4.10", "4.2", "z: 1", "a: 2", "m: 3") if part != "4.2"]
    assert all(first < second for first, second in pairwise(places))
