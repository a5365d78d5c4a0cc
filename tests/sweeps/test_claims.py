"""Findings, claims, and the rule that makes verdicts."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps import Claim, claims, effect, number, ours
from sweeps.claims import (
    BEST_KNOWN,
    EVIDENCE,
    EXACT,
    IN_PART,
    NOT_SEEN,
    OPEN,
    REPRODUCED,
    TRAINED,
    TRAINING_LIMITED,
    outcome,
    same_claims,
    seen_text,
    strength,
    summary,
    verdict,
    verdict_text,
)


def claim(*findings, id="4.1", seen="It is so.", critic="Train for longer."):
    """A claim of the paper made of these findings."""
    return Claim(id, "Something is so", "It is so (Section 4)", findings, seen, critic)


def paper_effect(holds, evidence=TRAINED, numbers=None):
    return effect("It is there.", holds, numbers or {"share": 0.5}, evidence)


def our_finding(holds, evidence=TRAINED):
    return ours("It is more than that.", holds, {"more": 2}, evidence)


def paper_number(holds):
    return number("It is there at one half.", holds, {"at": 0.7}, TRAINED, paper="about 0.5")


# Verdicts


@pytest.mark.parametrize(
    "seeds, expected",
    [
        ([[paper_effect(True)]], REPRODUCED),
        ([[paper_effect(True)]] * 3, REPRODUCED),
        ([[paper_effect(True)], [paper_effect(False)]], IN_PART),
        ([[paper_effect(True), paper_effect(False)]], IN_PART),
        ([[paper_effect(False)]] * 2, NOT_SEEN),
        ([[paper_effect(False, BEST_KNOWN)]], NOT_SEEN),
        ([[paper_effect(False, EXACT)]], NOT_SEEN),
        ([[paper_effect(False, TRAINING_LIMITED)]], OPEN),
        ([[paper_effect(False, TRAINING_LIMITED)], [paper_effect(False)]], OPEN),
        ([[paper_effect(True, TRAINING_LIMITED)]], REPRODUCED),
        # Numbers and findings of ours have no part in the verdict on a claim of the paper.
        ([[paper_effect(True), paper_number(False), our_finding(False)]], REPRODUCED),
        ([[paper_effect(False), paper_number(True), our_finding(True)]], NOT_SEEN),
        ([[paper_effect(False), our_finding(False, TRAINING_LIMITED)]], NOT_SEEN),
        # On a claim of ours they are all there is.
        ([[our_finding(True)]], REPRODUCED),
        ([[our_finding(False, TRAINING_LIMITED)]], OPEN),
        ([[our_finding(True)], [our_finding(False)]], IN_PART),
    ],
)
def test_verdict(seeds, expected):
    assert verdict([claim(*findings) for findings in seeds]) == expected


@given(st.lists(st.lists(st.tuples(st.booleans(), st.sampled_from(EVIDENCE)), min_size=1)))
def test_no_claim_is_not_seen_on_training_limited_evidence(seeds):
    """A seed more never turns anything but OPEN into a refutation where evidence is limited."""
    seeds = [[(False, TRAINING_LIMITED)], *seeds]
    assert verdict([claim(*(paper_effect(*each) for each in seed)) for seed in seeds]) != NOT_SEEN


def test_verdict_in_part_says_which_findings_are_missing_and_where():
    first = claim(paper_effect(True), paper_effect(True), our_finding(False))
    second = claim(paper_effect(True), paper_effect(False), our_finding(False))
    text = "reproduced in part (finding 2 reproduced in 1 of 2, else not seen)"
    assert verdict_text([first, second]) == text
    limited = claim(paper_effect(True), paper_effect(False, TRAINING_LIMITED))
    assert verdict_text([limited]) == "reproduced in part (finding 2 open)"
    assert verdict_text([claim(our_finding(True))]) == "holds"
    assert verdict_text([claim(our_finding(False))]) == "does not hold"


@pytest.mark.parametrize(
    "finding, expected",
    [
        (paper_effect(True), "reproduced"),
        (paper_effect(False), "not seen"),
        (paper_effect(False, TRAINING_LIMITED), "open"),
        (paper_number(True), "agrees"),
        (paper_number(False), "differs"),
        (our_finding(True), "holds"),
        (our_finding(False), "does not hold"),
        (our_finding(False, TRAINING_LIMITED), "open"),
    ],
)
def test_outcome_of_a_finding(finding, expected):
    assert outcome([finding]) == outcome([finding] * 3) == expected


def test_strength_of_evidence():
    assert strength(loss=1.0, known=1.1, error=0.01) == BEST_KNOWN
    assert strength(loss=1.0, known=0.995, error=0.01) == BEST_KNOWN
    assert strength(loss=1.0, known=0.98, error=0.01) == TRAINING_LIMITED


def test_summary_counts_the_paper_and_our_own_apart():
    every_claim = [
        claim(paper_effect(True)),
        claim(paper_effect(True), our_finding(False)),
        claim(paper_effect(False)),
        claim(paper_effect(False, TRAINING_LIMITED)),
        claim(our_finding(False)),
    ]
    assert summary([every_claim]) == (
        "Of the paper's 4 claims: 2 reproduced, 1 not seen, 1 open. "
        "Of our own 1 claim: 1 does not hold."
    )
    two = [claim(our_finding(False), id="4.1"), claim(our_finding(False), id="4.2")]
    assert summary([two]) == "Of our own 2 claims: 2 do not hold."
    assert summary([[claim(our_finding(True))]] * 3) == "Of our own 1 claim with 3 seeds: 1 holds."


# What was seen


def test_seen_has_its_numbers_over_seeds():
    seeds = [
        claim(
            paper_effect(True, numbers={"share of runs": value}), seen="It is in {share of runs}."
        )
        for value in (0.2, 0.9, 0.75)
    ]
    assert seen_text(seeds[:1]) == "It is in 0.2."
    assert seen_text(seeds) == "It is in 0.75 [0.2, 0.9]."
    assert seen_text([seeds[0]] * 3) == "It is in 0.2."


def test_seeds_that_saw_something_else_have_their_own_sentence():
    yes = claim(paper_effect(True), seen="Half: {share}.")
    no = claim(paper_effect(False), seen="Nothing.")
    assert seen_text([yes, no, yes]) == "In 2 of 3 seeds: Half: 0.5. In 1 of 3 seeds: Nothing."


def test_seen_may_not_ask_for_what_is_not_there():
    with pytest.raises(ValueError, match=r"seen: expected the name of a number .*, got 'runs'"):
        seen_text([claim(paper_effect(True), seen="{runs}")])


# Claims over seeds


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(
        FloatingPointError, match=r"claim 4.1, .*numbers\['share'\]: expected a finite number, got"
    ):
        same_claims([[claim(paper_effect(True, numbers={"runs": 3, "share": value}))]])


@pytest.mark.parametrize(
    "finding, message",
    [
        (paper_effect(True, numbers={"a": "0.3"}), "expected an int or a float, got '0.3'"),
        (paper_effect(True)._replace(kind="effects"), "expected a kind of .*, got 'effects'"),
        (paper_effect(True, "sure"), "expected evidence of .*, got 'sure'"),
        (paper_effect(True)._replace(paper="0.5"), "expected the paper's figure of a number"),
        (paper_number(True)._replace(paper=""), "expected the paper's figure of a number"),
    ],
)
def test_what_is_no_finding_is_refused(finding, message):
    with pytest.raises(ValueError, match=f"claim 4.1, finding .*{message}"):
        same_claims([[claim(finding)]])


def test_a_claim_has_findings():
    with pytest.raises(ValueError, match=r"claim 4\.1, findings: expected at least one, got none"):
        same_claims([[claim()]])


FIRST = claim(paper_effect(True))
SECOND = claim(our_finding(True), id="4.2")


@pytest.mark.parametrize(
    "by_seed", [[], [[FIRST], [SECOND]], [[FIRST], []], [[FIRST, SECOND], [SECOND, FIRST]]]
)
def test_seeds_have_the_same_claims(by_seed):
    with pytest.raises(ValueError, match="claims: expected the same claims"):
        same_claims(by_seed)


def test_seeds_have_the_same_findings():
    with pytest.raises(ValueError, match=r"claim 4\.1, findings: expected the same sentences"):
        same_claims([[FIRST], [claim(our_finding(True))]])


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
    )
)
def test_numbers_over_seeds_keep_each_number_at_its_seed(numbers):
    collected = claims.numbers_over_seeds(
        [paper_effect(True)._replace(numbers=of_seed) for of_seed in numbers]
    )
    for seed, of_seed in enumerate(numbers):
        kept = {name: values[seed] for name, values in collected.items()}
        assert {name: value for name, value in kept.items() if value is not None} == of_seed
    assert all(len(values) == len(numbers) for values in collected.values())
    json.dumps(collected, allow_nan=False)


def test_spread_says_how_many_seeds_have_a_number():
    assert claims.spread_text([1, 2, None]) == "1.5 [1, 2] (2 of 3 seeds)"


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
    assert claims.written(value) == written
