"""Claims and findings: what the paper says beside what we measured, and the rule that judges it.

A claim is made of findings. Each finding is one sentence that is true or false of a result, with
the numbers that decide it and the strength of its evidence. `verdict` makes the verdict of a claim
from its findings over seeds, and no other place does.
"""

import math
import re
import statistics
from collections import Counter
from typing import NamedTuple

EFFECT = "effect"  # what the paper says
NUMBER = "number"  # a figure of the paper's beside ours
OURS = "ours"  # what we ask or find beyond the paper
OUTCOMES = {  # kind of a finding -> its outcome in words, where it holds and where it does not
    EFFECT: ("reproduced", "not seen"),
    NUMBER: ("agrees", "differs"),
    OURS: ("holds", "does not hold"),
}
EXACT = "exact"  # a formula, an exhaustive scan, or the exact losses of named solutions
BEST_KNOWN = (
    "best known"  # no solution is lower: constructed, continued and trained ones were tried
)
TRAINED = "trained"
TRAINING_LIMITED = "training-limited"  # a solution is known that has a lower loss
EVIDENCE = (EXACT, BEST_KNOWN, TRAINED, TRAINING_LIMITED)

REPRODUCED = "reproduced"
IN_PART = "reproduced in part"
NOT_SEEN = "not seen"
OPEN = "open"
# Verdict -> the words for it on a claim of our own, which is not there to be reproduced.
OUR_WORDS = {
    REPRODUCED: "holds",
    IN_PART: "holds in part",
    NOT_SEEN: "does not hold",
    OPEN: "open",
}


class Finding(NamedTuple):
    """One sentence that is true or false of a result.

    Attributes:
        kind: EFFECT, NUMBER or OURS.
        sentence: What is found if it holds. It is the same for every seed.
        holds: Whether it does.
        numbers: What we measured, by name; the first number decides. All are finite.
        evidence: One of EVIDENCE.
        paper: The paper's figure, with its resolution, where the kind is NUMBER.
    """

    kind: str
    sentence: str
    holds: bool
    numbers: dict[str, float]
    evidence: str
    paper: str = ""


def effect(sentence, holds, numbers, evidence):
    """Return a finding on what the paper says."""
    return Finding(EFFECT, sentence, bool(holds), numbers, evidence)


def number(sentence, holds, numbers, evidence, *, paper):
    """Return a finding on a figure of the paper's, which agrees with ours or differs."""
    return Finding(NUMBER, sentence, bool(holds), numbers, evidence, paper)


def ours(sentence, holds, numbers, evidence):
    """Return a finding on what we ask beyond the paper."""
    return Finding(OURS, sentence, bool(holds), numbers, evidence)


def strength(loss, known, error):
    """Return the strength of evidence that rests on models of some loss.

    Args:
        loss: Loss of what a finding looks at.
        known: Lowest loss of all solutions that were constructed, continued or trained longer.
        error: Largest difference of the two losses that is their error alone.

    Returns:
        BEST_KNOWN, or TRAINING_LIMITED if a known solution is better.
    """
    return TRAINING_LIMITED if known < loss - error else BEST_KNOWN


class Claim(NamedTuple):
    """One claim of the paper, or one of our own if it has no finding of the kind EFFECT.

    Attributes:
        id: The name by which code, notebook and scorecard refer to it.
        statement: What is claimed.
        paper: What the paper says, in our words, with its section.
        findings: What the claim is made of; their sentences are the same for every seed.
        seen: What was seen, in one sentence. "{name}" stands for the number of that name.
        critic: What a critic of ours would try next, where not everything was found.
    """

    id: str
    statement: str
    paper: str
    findings: tuple[Finding, ...]
    seen: str
    critic: str = ""


# Verdicts


def verdict(seed_claims):
    """Return the verdict of a claim: REPRODUCED, IN_PART, NOT_SEEN or OPEN.

    It rests on the effects, or on all findings if the claim is our own. A claim is reproduced if
    each of these holds with every seed, and in part if some do. Where none does, it is open if a
    better solution is known than one that the claim looks at, and not seen otherwise.

    Args:
        seed_claims: The claim with each seed.
    """
    deciding = [finding for claim in seed_claims for finding in deciding_findings(claim)]
    if all(finding.holds for finding in deciding):
        return REPRODUCED
    if any(finding.holds for finding in deciding):
        return IN_PART
    limited = any(finding.evidence == TRAINING_LIMITED for finding in deciding)
    return OPEN if limited else NOT_SEEN


def deciding_findings(claim):
    """Return the findings that make the verdict of a claim."""
    return [finding for finding in claim.findings if is_ours(claim) or finding.kind == EFFECT]


def is_ours(claim):
    """Return whether a claim is our own: none of its findings is what the paper says."""
    return all(finding.kind != EFFECT for finding in claim.findings)


def verdict_text(seed_claims):
    """Return the verdict of a claim in words, with the findings that do not hold.

    Args:
        seed_claims: The claim with each seed.
    """
    result = verdict(seed_claims)
    words = OUR_WORDS[result] if is_ours(seed_claims[0]) else result
    if result != IN_PART:
        return words
    missed = []
    for place, finding in enumerate(seed_claims[0].findings):
        if finding not in deciding_findings(seed_claims[0]):
            continue
        over_seeds = [claim.findings[place] for claim in seed_claims]
        if not all(finding.holds for finding in over_seeds):
            missed.append(f"finding {place + 1} {outcome(over_seeds)}")
    return f"{words} ({', '.join(missed)})"


def outcome(over_seeds):
    """Say in words whether a finding holds, from the finding with each seed.

    An effect that is not seen is open where a better solution is known than one it looks at.
    """
    first = over_seeds[0]
    holds, does_not = OUTCOMES[first.kind]
    held = sum(finding.holds for finding in over_seeds)
    if held == len(over_seeds):
        return holds
    missed = [finding for finding in over_seeds if not finding.holds]
    if first.kind != NUMBER and all(finding.evidence == TRAINING_LIMITED for finding in missed):
        does_not = OPEN
    if held == 0:
        return does_not
    return f"{holds} in {held} of {len(over_seeds)}, else {does_not}"


def evidence_text(over_seeds):
    """Return the evidence of a finding with each seed, with counts where seeds differ."""
    words = [finding.evidence for finding in over_seeds]
    kinds = [kind for kind in EVIDENCE if kind in words]
    if len(kinds) == 1:
        return kinds[0]
    return ", ".join(f"{kind} in {words.count(kind)}" for kind in kinds)


def summary(claims):
    """Return the sentences that count the verdicts, the paper's claims and ours apart.

    Args:
        claims: A list of claims for each seed.
    """
    every_claim = same_claims(claims)
    paper = [each for each in every_claim if not is_ours(each[0])]
    own = [each for each in every_claim if is_ours(each[0])]
    seeds = f" with {len(claims)} seeds" if len(claims) > 1 else ""
    paper_words = dict(zip(OUR_WORDS, OUR_WORDS))
    sentences = []
    for whose, group, words in (("the paper's", paper, paper_words), ("our own", own, OUR_WORDS)):
        if group:
            noun = "claim" if len(group) == 1 else "claims"
            sentences.append(f"Of {whose} {len(group)} {noun}{seeds}: {_counts(group, words)}.")
    return " ".join(sentences)


def _counts(group, words):
    """Count verdicts, without those that no claim has."""
    counted = Counter(words[verdict(seed_claims)] for seed_claims in group)
    return ", ".join(
        f"{counted[word]} {word if counted[word] == 1 else _plural(word)}"
        for word in words.values()
        if word in counted
    )


def _plural(word):
    """Return what several claims do, if a word says what one does."""
    return word.replace("holds", "hold").replace("does not", "do not")


# Claims over seeds


def same_claims(claims):
    """Return the claim with each seed, for every claim, from a list of claims for each seed.

    Raises:
        FloatingPointError: A number of a claim is not finite.
        ValueError: A claim is not what `Claim` and `Finding` describe, or two seeds have different
            claims.
    """
    ids = [[claim.id for claim in seed_claims] for seed_claims in claims]
    if not ids or any(others != ids[0] for others in ids):
        raise ValueError(
            f"claims: expected the same claims with each of at least one seed, got {ids}"
        )
    every_claim = [[checked(claim) for claim in seed_claims] for seed_claims in zip(*claims)]
    for seed_claims in every_claim:
        _check_same_findings(seed_claims)
    return every_claim


def _check_same_findings(seed_claims):
    sentences = [[finding.sentence for finding in claim.findings] for claim in seed_claims]
    if any(others != sentences[0] for others in sentences):
        raise ValueError(
            f"claim {seed_claims[0].id}, findings: expected the same sentences with every seed, "
            f"got {sentences}"
        )


def checked(claim):
    """Return the claim, once it is known to have findings with finite numbers."""
    if not claim.findings:
        raise ValueError(f"claim {claim.id}, findings: expected at least one, got none")
    for finding in claim.findings:
        _check_finding(claim.id, finding)
    return claim


def _check_finding(claim_id, finding):
    where = f"claim {claim_id}, finding {finding.sentence!r}"
    if finding.kind not in OUTCOMES:
        raise ValueError(f"{where}: expected a kind of {[*OUTCOMES]}, got {finding.kind!r}")
    if finding.evidence not in EVIDENCE:
        raise ValueError(f"{where}: expected evidence of {EVIDENCE}, got {finding.evidence!r}")
    if bool(finding.paper) != (finding.kind == NUMBER):
        raise ValueError(
            f"{where}: expected the paper's figure of a number and of nothing else, "
            f"got {finding.paper!r} for the kind {finding.kind!r}"
        )
    for name, value in finding.numbers.items():
        if not isinstance(value, int | float):
            raise ValueError(
                f"{where}, numbers[{name!r}]: expected an int or a float, got {value!r}"
            )
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{where}, numbers[{name!r}]: expected a finite number, got {value!r}"
            )


def numbers_over_seeds(over_seeds):
    """Return {name: [a number a seed]}, with None where a seed has no number of that name.

    Args:
        over_seeds: A finding with each seed.
    """
    names = dict.fromkeys(name for finding in over_seeds for name in finding.numbers)
    return {name: [finding.numbers.get(name) for finding in over_seeds] for name in names}


def seen_text(seed_claims):
    """Return what was seen, with its numbers over seeds.

    Seeds in which something else was seen have a sentence each, with the count of these seeds.

    Args:
        seed_claims: The claim with each seed.

    Raises:
        ValueError: A sentence asks for a number that no finding has.
    """
    groups = {}
    for claim in seed_claims:
        groups.setdefault(claim.seen, []).append(claim)
    if len(groups) == 1:
        return _with_numbers(seed_claims[0].seen, seed_claims)
    return " ".join(
        f"In {len(group)} of {len(seed_claims)} seeds: {_with_numbers(seen, group)}"
        for seen, group in groups.items()
    )


def _with_numbers(seen, seed_claims):
    """Return a sentence on what was seen, with the numbers of some claims in place of names."""
    return re.sub(r"\{([^{}]+)\}", lambda match: _number_text(seed_claims, match[1]), seen)


def _number_text(seed_claims, name):
    """Return the number of a name, over the seeds of some claims."""
    for place in range(len(seed_claims[0].findings)):
        numbers = numbers_over_seeds([claim.findings[place] for claim in seed_claims])
        if name in numbers:
            return spread_text(numbers[name])
    raise ValueError(
        f"claim {seed_claims[0].id}, seen: expected the name of a number of its findings, "
        f"got {name!r}"
    )


class Spread(NamedTuple):
    """A number over seeds, as text."""

    median: str
    lowest: str
    highest: str
    seeds: str  # empty, or " (3 of 10 seeds)" where the others have no such number


def spread(values):
    """Return the spread of a number over seeds, in which None stands for a seed without it."""
    found = [value for value in values if value is not None]
    seeds = "" if len(found) == len(values) else f" ({len(found)} of {len(values)} seeds)"
    median = written(statistics.median(found))
    return Spread(median, written(min(found)), written(max(found)), seeds)


def spread_text(values):
    """Return a number over seeds as "median [lowest, highest]", or alone where all are equal."""
    median, lowest, highest, seeds = spread(values)
    text = median if lowest == highest else f"{median} [{lowest}, {highest}]"
    return text + seeds


def one_paragraph(text):
    """Return a text with single spaces in place of line breaks and longer gaps."""
    return " ".join(text.split())


def written(value):
    """Return a number to four digits; in full if it is whole."""
    if 1e4 <= abs(value) < 1e9 or isinstance(value, int):
        return f"{value:,.0f}"
    return f"{value:.4g}"
