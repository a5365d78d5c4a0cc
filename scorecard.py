"""The scorecard: the verdict on every claim of the paper, and of our own, with its findings.

    python scorecard.py                 # all sections, from cached results where there are any
    python scorecard.py --quick         # small settings: shows that all runs, not that claims hold
    python scorecard.py --seeds 10      # each number as median [lowest, highest] over ten seeds
    python scorecard.py --sections 5 A  # some alone; A: Autoencodersmain.py, V: Variationsmain.py

This makes the files that are committed:

    python scorecard.py --seeds 10 --markdown SCORECARD.md --json scorecard.json

It takes the options of the sections, and computes what is not finished.
"""

import importlib
import json
import signal
import sys
from functools import partial

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from sweeps import command_line
from sweeps.claims import (
    is_ours,
    numbers_over_seeds,
    same_claims,
    seen_text,
    summary,
    verdict,
    verdict_text,
)
from sweeps.files import claimed, write
from sweeps.sections import claims_over_seeds
from sweeps.tables import github_table, markdown_claim

# Minutes that one seed of a section takes on 2 cores.
MINUTES = {"2": 1, "3": 1.5, "4": 5.5, "5": 2, "6": 0.5, "7": 0.5, "8": 2, "A": 1.5, "V": 3}


def sections():
    """Return the sections that exist, in order, by what the ids of their claims begin with."""
    numbered = sorted(command_line.HOME.glob("Section[0-9]main.py"))
    scripts = [*numbered, *sorted(command_line.HOME.glob("[AV]*main.py"))]
    names = [script.stem for script in scripts]
    return {name.removeprefix("Section")[0]: importlib.import_module(name) for name in names}


def main(argv=None):
    """Run the command line, and return the exit status."""
    every = sections()
    parser = command_line.argument_parser(__file__, __doc__)
    add = partial(parser.add_argument, metavar="FILE", type=command_line.path)
    add("--json", help="also write every claim with its numbers of each seed to a file")
    add("--markdown", help="also write a summary and every number to a file")
    parser.add_argument(
        "--sections",
        nargs="+",
        choices=every,
        metavar="N",
        default=[*every],
        help=f"some of {', '.join(every)} (default: all)",
    )
    arguments = command_line.parse_arguments(parser, argv)
    for option in ("json", "markdown"):
        check_file(parser, option, getattr(arguments, option))
    chosen = {name: section for name, section in every.items() if name in arguments.sections}

    def report():
        claims = claims_over_seeds(chosen.values(), arguments)
        command_line.print_claims(claims, arguments)
        if arguments.json:
            save(arguments.json, as_json(claims))
        if arguments.markdown:
            save(arguments.markdown, as_markdown(chosen, claims))

    return command_line.run_and_report([*chosen.values()], arguments, report)


def check_file(parser, option, file):
    """End the program with status 2 where the file of an option cannot be written."""
    if file is None:
        return
    try:
        with claimed(file):
            if file.is_dir():
                raise IsADirectoryError("it is a folder")
    except OSError as error:
        parser.error(
            f"argument --{option}: expected a file that can be written, got {str(file)!r} ({error})"
        )


def save(file, text):
    """Write a text to a file."""
    with claimed(file):
        write(file, text.encode())


def as_json(claims):
    """Return the claims as JSON, from a list of claims for each seed.

    Returns:
        A list of objects {"id", "statement", "paper", "verdict", "seen", "findings"}. A finding is
        an object {"kind", "sentence", "paper", "evidence", "holds", "numbers"}, in which "evidence"
        and "holds" have a word and a boolean for each seed, and "numbers" has a list for each name,
        with a number for each seed, or null for a seed without it.
    """
    entries = [
        {
            "id": seed_claims[0].id,
            "statement": seed_claims[0].statement,
            "paper": seed_claims[0].paper,
            "verdict": verdict(seed_claims),
            "seen": seen_text(seed_claims),
            "findings": [
                _finding_entry([claim.findings[place] for claim in seed_claims])
                for place in range(len(seed_claims[0].findings))
            ],
        }
        for seed_claims in same_claims(claims)
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finding_entry(over_seeds):
    """Return a finding, given with each seed, as `as_json` describes it."""
    first = over_seeds[0]
    return {
        "kind": first.kind,
        "sentence": first.sentence,
        "paper": first.paper,
        "evidence": [finding.evidence for finding in over_seeds],
        "holds": [finding.holds for finding in over_seeds],
        "numbers": numbers_over_seeds(over_seeds),
    }


def as_markdown(chosen, claims):
    """Return the verdicts in Markdown, and then the findings and numbers of each claim.

    Args:
        chosen: Some of `sections()`.
        claims: Their claims, a list for each seed.
    """
    every_claim = same_claims(claims)
    seeds = "one seed" if len(claims) == 1 else f"{len(claims)} seeds"
    parts = [
        f"""# Scorecard

Every claim of the paper, and some of our own, beside what we measured at full settings with
{seeds}. {summary(claims)}

A claim is made of findings, each of which is one sentence that is true or false of a result. An
*effect* is what the paper says, a *number* is one of the paper's figures beside ours, and *ours* is
what we ask beyond the paper. A claim is *reproduced* if all of its effects are there with every
seed, and *reproduced in part* if some are. It is *open*, and not refuted, if an effect is missing
from models that a known solution beats: their evidence is *training-limited*. What would refute a
finding stands beside its claim in the code. Where a criterion changed, the commit says from what to
what, and why."""
    ]
    paper = [each for each in every_claim if not is_ours(each[0])]
    own = [each for each in every_claim if is_ours(each[0])]
    for heading, group in (("The paper's claims", paper), ("Our own claims", own)):
        if group:
            rows = [
                (_link(each[0].id), each[0].statement, verdict_text(each), seen_text(each))
                for each in group
            ]
            table = github_table(rows, ("claim", "statement", "verdict", "seen"))
            parts.append(f"## {heading}\n\n{table}")
    for name, section in chosen.items():
        minutes = f"{MINUTES[name]:g} {'minute' if MINUTES[name] == 1 else 'minutes'}"
        parts.append(f"## {section.__doc__.partition(':')[0]}")
        parts.append(f"`python {section.__name__}.py`, {minutes} a seed on 2 cores.")
        parts += [markdown_claim(each) for each in every_claim if each[0].id.startswith(f"{name}.")]
    return "\n\n".join(parts) + "\n"


def _link(claim_id):
    """Return a link to a claim, whose heading GitHub names in lower case and without the point."""
    return f"[{claim_id}](#claim-{claim_id.replace('.', '').lower()})"


if __name__ == "__main__":
    sys.exit(main())
