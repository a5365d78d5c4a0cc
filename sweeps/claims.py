"""Claims: what the paper says, beside our numbers, and tables of them."""

import math
import re
import statistics
from typing import NamedTuple

from tabulate import tabulate

HEADERS = ("claim", "statement", "paper", "ours", "holds")
WIDTHS = (None, 34, 14, 46, None)  # of the columns in the shell, in characters
FORMATS = {"plain": "simple", "html": "html"}  # form -> tabulate's name for it


class Claim(NamedTuple):
    """One claim of the paper (or, where its statement says so, our own).

    id: the number by which code, notebook and scorecard call it; paper: what the paper has, as text;
    numbers: name -> what we measured, in the order in which to read them; finite, or no table is made of them
    """

    id: str
    statement: str
    paper: str
    numbers: dict[str, float]
    holds: bool


class Shown:
    """Claims of one seed as a notebook shows them: a table in HTML, and as text where there is no HTML."""

    def __init__(self, claims):
        self.claims = claims

    def _repr_html_(self):
        return table(self.claims, "html")

    def __repr__(self):
        return table(self.claims)


def table(claims, form="plain"):
    """The claims of one seed as text: "plain" for the shell, 120 columns wide, or "html".

    Raises FloatingPointError where a number is not finite, ValueError where it is none or the form is unknown.
    """
    rows = []
    for claim in map(checked, claims):
        numbers = [f"{name}: {written(value)}" for name, value in claim.numbers.items()]
        rows.append((claim.id, claim.statement, claim.paper, numbers, held([claim])))
    return _tabulated(
        rows, form, f"{sum(bool(c.holds) for c in claims)} of {len(claims)} claims hold"
    )


def table_over_seeds(by_seed, form="plain"):
    """The claims of several seeds, a list for each: every number as median [lowest, highest].

    Raises the errors of `table`, and ValueError where two seeds do not have the same claims.
    """
    every_claim = same_claims(by_seed)
    rows = [
        (
            *claims[0][:3],
            [f"{name}: {_spread(values)}" for name, values in numbers_over_seeds(claims).items()],
            held(claims),
        )
        for claims in every_claim
    ]
    always = sum(all(claim.holds for claim in claims) for claims in every_claim)
    return _tabulated(
        rows, form, f"{always} of {len(rows)} claims hold with each of {len(by_seed)} seeds"
    )


def claims_table(by_seed, form="plain"):
    """`table` of one seed, `table_over_seeds` of several; a list of claims for each seed."""
    return table(by_seed[0], form) if len(by_seed) == 1 else table_over_seeds(by_seed, form)


def same_claims(by_seed):
    """[the claim with each seed, for every claim], from a list of claims for each seed."""
    ids = [[claim.id for claim in claims] for claims in by_seed]
    if not ids or any(others != ids[0] for others in ids):
        raise ValueError(
            f"by_seed: expected the same claims with each of at least one seed, got {ids}"
        )
    return [[checked(claim) for claim in claims] for claims in zip(*by_seed)]


def numbers_over_seeds(claims):
    """{name: [a number a seed]} from one claim with each seed; None where a seed has no number of that name."""
    names = dict.fromkeys(name for claim in claims for name in claim.numbers)
    return {name: [claim.numbers.get(name) for claim in claims] for name in names}


def checked(claim):
    """The claim, once its numbers are known to be finite numbers."""
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


def held(of_seeds):
    """Whether a claim holds, from one claim with each seed: yes or NO with one, in how many with several."""
    if len(of_seeds) == 1:
        return "yes" if of_seeds[0].holds else "NO"
    return f"in {sum(bool(claim.holds) for claim in of_seeds)} of {len(of_seeds)}"


def over_seeds(values):
    """A number's median, lowest and highest as text, and of how many seeds where some have no such number."""
    found = [value for value in values if value is not None]
    of = "" if len(found) == len(values) else f" ({len(found)} of {len(values)} seeds)"
    return *map(written, (statistics.median(found), min(found), max(found))), of


def _spread(values):
    return "{} [{}, {}]{}".format(*over_seeds(values))


def github_table(rows, headers):
    """Rows of text as a table in Markdown."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


def escaped(text):
    """Text in one line that Markdown shows as it is, but for links."""
    return re.sub(r"([\\`*_|<])", r"\\\1", " ".join(text.split()))


def written(value):
    """A number to four digits; in full where it is whole."""
    if 1e4 <= abs(value) < 1e9 or isinstance(value, int):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _tabulated(rows, form, sentence):
    """The rows, whose fourth column is a list, under HEADERS, and a sentence below."""
    if form not in FORMATS:
        raise ValueError(f"form: expected one of {', '.join(FORMATS)}, got {form!r}")
    separator = "\n" if form == "plain" else "; "
    cells = []
    for *words, numbers, holds in rows:
        lines = [" ".join(text.split()) for text in (*words, *numbers)]
        cells.append([*lines[:3], separator.join(lines[3:]), holds])
    widths = {"maxcolwidths": list(WIDTHS)} if form == "plain" and rows else {}
    text = tabulate(cells, HEADERS, tablefmt=FORMATS[form], disable_numparse=True, **widths)
    return f"{text}\n<p>{sentence}</p>" if form == "html" else f"{text}\n\n{sentence}"
