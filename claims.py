"""Claims: what the paper says, beside what we measured."""

from textwrap import wrap
from typing import NamedTuple


class Claim(NamedTuple):
    """One claim of the paper (or, where its statement says so, our own).

    id: the number by which code, notebook and scorecard call it; paper, measured: values as text
    """

    id: str
    statement: str
    paper: str
    measured: str
    holds: bool


def table(claims, widths=(44, 30, 44)):
    """The claims as a text table: id, statement, paper, measured, holds."""
    columns = ("claim", *widths, "holds")
    rows = [("claim", "statement", "paper", "measured", "holds")]
    rows += [(c.id, c.statement, c.paper, c.measured, "yes" if c.holds else "NO") for c in claims]
    widths = [max(len(c), 5) if isinstance(c, str) else c for c in columns]
    lines = []
    for number, row in enumerate(rows):
        cells = [wrap(cell, width) or [""] for cell, width in zip(row, widths)]
        for k in range(max(map(len, cells))):
            parts = [cell[k] if k < len(cell) else "" for cell in cells]
            lines.append("  ".join(part.ljust(width) for part, width in zip(parts, widths)).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    held = sum(bool(c.holds) for c in claims)
    return "\n".join([*lines, "", f"{held} of {len(claims)} claims hold"])
