"""Claims: what the paper says beside our numbers, and tables of them."""

import math
import re
import statistics
from typing import NamedTuple

from tabulate import tabulate

HEADERS = ("claim", "statement", "paper", "ours", "holds")
WIDTHS = (None, 34, 14, 46, None)  # of the columns in the shell, in characters
FORMATS = {"plain": "simple", "html": "html"}  # form of a table -> tabulate's name for it


class Claim(NamedTuple):
    """One claim of the paper, or one of our own where its statement says so.

    Attributes:
        id: The number by which code, notebook and scorecard refer to it.
        statement: What is claimed.
        paper: What the paper has, as text.
        numbers: What we measured, by name, in the order in which to read it. All are finite.
        holds: Whether the numbers meet the criterion of the claim.
    """

    id: str
    statement: str
    paper: str
    numbers: dict[str, float]
    holds: bool


class Shown:
    """Show the claims of one seed in a notebook, as a table in HTML or in text."""

    def __init__(self, claims):
        """Keep a list of claims."""
        self.claims = claims

    def _repr_html_(self):
        return claims_table([self.claims], "html")

    def __repr__(self):
        """Return the table as text."""
        return claims_table([self.claims])


def claims_table(claims, form="plain", conclusion=None):
    """Return a table of claims as text, with a sentence below it.

    With several seeds, each number is shown as median [lowest, highest].

    Args:
        claims: A list of claims for each seed.
        form: "plain" for the shell, 120 columns wide, or "html".
        conclusion: The sentence; by default it says how many claims hold.

    Raises:
        FloatingPointError: A number of a claim is not finite.
        ValueError: It is no number, the form is unknown, or two seeds have different claims.
    """
    if form not in FORMATS:
        raise ValueError(f"form: expected one of {', '.join(FORMATS)}, got {form!r}")
    separator = "\n" if form == "plain" else "; "
    rows = []
    for verdicts in same_claims(claims):
        first = verdicts[0]
        texts = [one_paragraph(text) for text in (first.id, first.statement, first.paper)]
        rows.append([*texts, separator.join(_number_lines(verdicts)), held(verdicts)])
    widths = {"maxcolwidths": list(WIDTHS)} if form == "plain" and rows else {}
    text = tabulate(rows, HEADERS, tablefmt=FORMATS[form], disable_numparse=True, **widths)
    conclusion = conclusion or count_held(claims)
    return f"{text}\n<p>{conclusion}</p>" if form == "html" else f"{text}\n\n{conclusion}"


def count_held(claims):
    """Return the sentence that says how many claims hold, from a list of claims for each seed."""
    every_claim = same_claims(claims)
    always = sum(all(claim.holds for claim in verdicts) for verdicts in every_claim)
    seeds = f" with each of {len(claims)} seeds" if len(claims) > 1 else ""
    return f"{always} of {len(every_claim)} claims hold{seeds}"


def same_claims(claims):
    """Return the claim with each seed, for every claim, from a list of claims for each seed.

    Raises:
        FloatingPointError: A number of a claim is not finite.
        ValueError: It is no number, or two seeds have different claims.
    """
    ids = [[claim.id for claim in seed_claims] for seed_claims in claims]
    if not ids or any(others != ids[0] for others in ids):
        raise ValueError(
            f"claims: expected the same claims with each of at least one seed, got {ids}"
        )
    return [[checked(claim) for claim in verdicts] for verdicts in zip(*claims)]


def checked(claim):
    """Return the claim, once its numbers are known to be finite numbers."""
    for name, value in claim.numbers.items():
        if not isinstance(value, int | float):
            raise ValueError(
                f"claim {claim.id}, numbers[{name!r}]: expected an int or a float, got {value!r}"
            )
        if not math.isfinite(value):
            raise FloatingPointError(
                f"claim {claim.id}, numbers[{name!r}]: expected a finite number, got {value!r}"
            )
    return claim


def held(verdicts):
    """Say whether a claim holds: "yes" or "NO" with one seed, "in 3 of 10" with several.

    Args:
        verdicts: The claim with each seed.
    """
    if len(verdicts) == 1:
        return "yes" if verdicts[0].holds else "NO"
    return f"in {sum(bool(claim.holds) for claim in verdicts)} of {len(verdicts)}"


def numbers_over_seeds(verdicts):
    """Return {name: [a number a seed]}, with None where a seed has no number of that name.

    Args:
        verdicts: One claim with each seed.
    """
    names = dict.fromkeys(name for claim in verdicts for name in claim.numbers)
    return {name: [claim.numbers.get(name) for claim in verdicts] for name in names}


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


def _number_lines(verdicts):
    """Return a line for each number of a claim."""
    lines = []
    for name, values in numbers_over_seeds(verdicts).items():
        median, lowest, highest, seeds = spread(values)
        number = median if len(values) == 1 else f"{median} [{lowest}, {highest}]{seeds}"
        lines.append(one_paragraph(f"{name}: {number}"))
    return lines


def github_table(rows, headers):
    """Return rows of text as a table in Markdown."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


def escaped(text):
    """Return a text in one line that Markdown shows as it is, except for links."""
    return re.sub(r"([\\`*_|<])", r"\\\1", one_paragraph(text))


def one_paragraph(text):
    """Return a text with single spaces in place of line breaks and longer gaps."""
    return " ".join(text.split())


def written(value):
    """Return a number to four digits; in full if it is whole."""
    if 1e4 <= abs(value) < 1e9 or isinstance(value, int):
        return f"{value:,.0f}"
    return f"{value:.4g}"
