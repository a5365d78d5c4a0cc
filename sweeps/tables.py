"""Claims as text: in the shell, in a notebook, and in Markdown."""

import re
import textwrap
from html import escape

from tabulate import tabulate

from sweeps.claims import (
    evidence_text,
    is_ours,
    numbers_over_seeds,
    one_paragraph,
    outcome,
    same_claims,
    seen_text,
    spread,
    spread_text,
    summary,
    verdict_text,
)

COLUMNS = 120  # of the shell
HEADERS = ("", "kind", "finding", "the paper", "ours", "evidence", "outcome")
WIDTHS = (None, None, 36, 14, 26, 12, 12)  # of the columns in the shell, in characters


class Shown:
    """Show the claims of one seed in a notebook, as tables in HTML or in text."""

    def __init__(self, claims):
        """Keep a list of claims."""
        self.claims = claims

    def _repr_html_(self):
        return html_claims([self.claims])

    def __repr__(self):
        """Return the tables as text."""
        return plain_claims([self.claims])


# The shell


def plain_claims(claims, conclusion=None):
    """Return claims as text for the shell, with a sentence below them.

    Args:
        claims: A list of claims for each seed.
        conclusion: The sentence; by default it counts the verdicts.

    Raises:
        FloatingPointError: A number of a claim is not finite.
        ValueError: A claim is not what it should be, or two seeds have different claims.
    """
    parts = [_plain_claim(seed_claims) for seed_claims in same_claims(claims)]
    return "\n\n".join([*parts, _filled(conclusion or summary(claims))])


def _plain_claim(seed_claims):
    claim = seed_claims[0]
    table = tabulate(
        finding_rows(seed_claims),
        HEADERS,
        tablefmt="simple",
        disable_numparse=True,
        maxcolwidths=list(WIDTHS),
    )
    lines = [
        _filled(f"Claim {claim.id}, {verdict_text(seed_claims)}: {claim.statement}"),
        _filled(f"The paper: {claim.paper}") if not is_ours(claim) else "",
        table,
        _filled(f"Seen: {seen_text(seed_claims)}"),
    ]
    return "\n".join(line for line in lines if line)


def _filled(text):
    return textwrap.fill(one_paragraph(text), COLUMNS, break_long_words=True)


def finding_rows(seed_claims):
    """Return a row of text for each finding of a claim, with its deciding number alone.

    Args:
        seed_claims: The claim with each seed.
    """
    rows = []
    for place, finding in enumerate(seed_claims[0].findings):
        over_seeds = [claim.findings[place] for claim in seed_claims]
        deciding = [
            f"{name}: {spread_text(values)}"
            for name, values in numbers_over_seeds(over_seeds).items()
        ][:1]
        texts = (finding.sentence, finding.paper, *(deciding or [""]))
        rows.append(
            (
                str(place + 1),
                finding.kind,
                *(one_paragraph(text) for text in texts),
                evidence_text(over_seeds),
                outcome(over_seeds),
            )
        )
    return rows


def number_rows(seed_claims):
    """Return a row of text for every number of a claim: finding, name, and spread over seeds.

    Args:
        seed_claims: The claim with each seed.
    """
    rows = []
    for place in range(len(seed_claims[0].findings)):
        over_seeds = [claim.findings[place] for claim in seed_claims]
        for name, values in numbers_over_seeds(over_seeds).items():
            *columns, seeds = spread(values)
            shown = columns[:1] if len(seed_claims) == 1 else columns
            rows.append((str(place + 1), one_paragraph(name) + seeds, *shown))
    return rows


def number_headers(seed_claims):
    """Return the headers of `number_rows`."""
    shown = ("ours",) if len(seed_claims) == 1 else ("median", "lowest", "highest")
    return ("finding", "number", *shown)


# Notebooks


def html_claims(claims):
    """Return claims as HTML for a notebook; all numbers of a claim are folded away.

    Args:
        claims: A list of claims for each seed.

    Raises:
        FloatingPointError: A number of a claim is not finite.
        ValueError: A claim is not what it should be, or two seeds have different claims.
    """
    parts = [_html_claim(seed_claims) for seed_claims in same_claims(claims)]
    return "\n".join([*parts, f"<p>{escape(summary(claims))}</p>"])


def _html_claim(seed_claims):
    claim = seed_claims[0]
    heading = f"<b>{escape(f'Claim {claim.id}, {verdict_text(seed_claims)}')}</b>"
    statement = escape(one_paragraph(claim.statement))
    seen = escape(one_paragraph(seen_text(seed_claims)))
    numbers = _html_table(number_rows(seed_claims), number_headers(seed_claims))
    return (
        f"<p>{heading}: {statement}. {seen}</p>\n"
        f"{_html_table(finding_rows(seed_claims), HEADERS)}\n"
        f"<details><summary>all numbers of {escape(claim.id)}</summary>\n{numbers}\n</details>"
    )


def _html_table(rows, headers):
    """Return a table in HTML whose cells are all aligned to the left."""
    table = tabulate(rows, headers, tablefmt="html", disable_numparse=True)
    return re.sub(r"<(t[hd])( style=\"[^\"]*\")?>", r'<\1 style="text-align: left">', table)


# Markdown


def github_table(rows, headers):
    """Return rows of text as a table in Markdown."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


def markdown_claim(seed_claims):
    """Return a claim with all of its numbers in Markdown, under its own heading.

    Args:
        seed_claims: The claim with each seed.
    """
    claim = seed_claims[0]
    whose = "" if is_ours(claim) else f" The paper: {escaped(claim.paper)}."
    words = verdict_text(seed_claims)
    parts = [
        f"### Claim {claim.id}",
        f"{escaped(claim.statement)}.{whose} Verdict: **{escaped(words)}**.",
        github_table(finding_rows(seed_claims), HEADERS),
        escaped(seen_text(seed_claims)),
    ]
    if claim.critic and not all(finding.holds for each in seed_claims for finding in each.findings):
        parts.append(f"What a critic would try next: {escaped(claim.critic)}")
    numbers = github_table(number_rows(seed_claims), number_headers(seed_claims))
    parts.append(f"<details><summary>All numbers</summary>\n\n{numbers}\n\n</details>")
    return "\n\n".join(parts)


def escaped(text):
    """Return a text in one line that Markdown shows as it is, except for links."""
    return re.sub(r"([\\`*_|<])", r"\\\1", one_paragraph(text))
