"""The scorecard: every claim of the paper, and our own, beside our numbers, in one table.

    python scorecard.py                 # all sections, from cached results where there are any
    python scorecard.py --quick         # small settings: shows that all runs, not that claims hold
    python scorecard.py --seeds 10      # each number as median [lowest, highest] over ten seeds
    python scorecard.py --sections 5 A  # some sections alone; A stands for Autoencodersmain.py

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
    count_held,
    escaped,
    github_table,
    held,
    numbers_over_seeds,
    same_claims,
    spread,
)
from sweeps.files import claimed, write
from sweeps.sections import claims_over_seeds

# Minutes that one seed of a section takes on 2 cores.
MINUTES = {"2": 0.5, "3": 1, "4": 8, "5": 1, "6": 0.7, "7": 1.5, "8": 1, "A": 2}
# What was seen instead, where a claim does not hold with every seed.
SEEN = {
    "2.3": "the count grows, but in these seeds the best restart represents one or two features "
    "less at a density than at a higher one, among the sparsest; where some features are in "
    "superposition and some are not, the least important are, in all seeds",
    "3.3": "where features are sparse the change is as the paper says; between two tricritical "
    "densities the second feature grows out of zero continuously, which an expansion of the exact "
    "loss gives by formula",
    "3.4": "the best restart gives back all four regions, the average three; in the fourth, "
    "restarts scatter over pairings of nearly the same loss",
    "3.5": "where it fails the best of ten restarts is the best known solution of n=3 at a little "
    "less than 99 % of the points; none is below it",
    "4.2": "at n=400, m=30 digons alone make a peak after 4,000 steps, pentagons do in some seeds "
    "after 40,000; at n=100, m=10 triangles, pentagons and square antiprisms do in most seeds, "
    "tetrahedra in none; models of the searches do not count, as their n/m fixes the level",
    "4.3": "wherever nearly all features are in polytopes, nearly all of these are digons; of the "
    "others pentagons are there in numbers, and square antiprisms in a few seeds",
    "4.5": "where it fails pentagons are in seven of ten models; every other polytope is in eight "
    "or more, with every seed",
    "4.6": "four of the five polytopes lead somewhere in the periodic table, tetrahedra nowhere; "
    "triangles and tetrahedra are trained where the table has others, ahead by less than two "
    "percent",
    "4.7": "all as the paper says but for its number, which falls as density grows",
    "4.10": "side by side where features are sparse; at the higher density two of the pairs have "
    "collapsed into one direction each",
    "4.11": "where it fails one run of eight misses it; cosines within a set are far below those "
    "across all the same",
    "4.12": "the collapses are the paper's, one by one, each where the losses of two solutions "
    "cross, but at higher densities",
    "5.1": "the loss drops suddenly, and dimensionalities end at sharp levels; but features get "
    "there together and gradually, next to none by itself",
    "7.2": "most of the paper's patterns at its densities; but three features share two neurons "
    "only from below 0.5, nine features in five neurons beat eight at the sparse end, and not "
    "every feature is a pair of neurons by 0.04",
    "8.2": "neurons turn from monosemantic to polysemantic, with both kinds in one model between; "
    "that the most important features are on monosemantic neurons is a tendency, at some "
    "densities no more than chance",
    "A.4": "where it fails neither run at the weakest penalty finds the dictionary of the "
    "octahedron that the objective prefers; at all other penalties, and for pairs at every one, "
    "it is found",
}


def sections():
    """Return the sections that exist, in order, by what the ids of their claims begin with."""
    numbered = sorted(command_line.HOME.glob("Section[0-9]main.py"))
    scripts = [*numbered, *command_line.HOME.glob("Autoencodersmain.py")]
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
        A list of objects {"id", "statement", "paper", "holds", "numbers"}. "holds" has a boolean
        for each seed; "numbers" has a list for each name, with a number for each seed, or null for
        a seed without it.
    """
    entries = [
        {
            "id": verdicts[0].id,
            "statement": verdicts[0].statement,
            "paper": verdicts[0].paper,
            "holds": [bool(claim.holds) for claim in verdicts],
            "numbers": numbers_over_seeds(verdicts),
        }
        for verdicts in same_claims(claims)
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(chosen, claims):
    """Return a summary of claims in Markdown, and then the numbers of each claim.

    Args:
        chosen: Some of `sections()`.
        claims: Their claims, a list for each seed. A claim that does not hold with every seed gets
            its sentence of SEEN.
    """
    every_claim = same_claims(claims)
    seeds = "one seed" if len(claims) == 1 else f"{len(claims)} seeds"
    rows = [
        (_link(verdicts[0].id), verdicts[0].statement, verdicts[0].paper, held(verdicts))
        for verdicts in every_claim
    ]
    parts = [
        f"""# Scorecard

Every claim of the paper, and some of our own (ours), beside what we measured at full settings
with {seeds}. A claim holds where the criterion beside its name in its section's script is met; the
criterion says what would refute it.

{github_table(rows, ("claim", "statement", "the paper", "holds"))}

{count_held(claims)}."""
    ]
    for name, section in chosen.items():
        minutes = f"{MINUTES[name]:g} {'minute' if MINUTES[name] == 1 else 'minutes'}"
        parts.append(f"## {section.__doc__.partition(':')[0]}")
        parts.append(f"`python {section.__name__}.py`, {minutes} a seed on 2 cores.")
        parts += [_in_full(each) for each in every_claim if each[0].id.startswith(f"{name}.")]
    return "\n\n".join(parts) + "\n"


def _link(claim_id):
    """Return a link to the heading of a claim, which GitHub names without the point."""
    return f"[{claim_id}](#claim-{claim_id.replace('.', '')})"


def _in_full(verdicts):
    """Return a claim, with each seed, under its own heading and with all of its numbers."""
    claim = verdicts[0]
    missed = claim.id in SEEN and not all(other.holds for other in verdicts)
    instead = f" Seen instead: {SEEN[claim.id]}." if missed else ""
    headers = ("", "ours") if len(verdicts) == 1 else ("", "median", "lowest", "highest")
    rows = []
    for name, values in numbers_over_seeds(verdicts).items():
        *columns, seeds = spread(values)
        rows.append((name + seeds, *columns[: len(headers) - 1]))
    return f"""### Claim {claim.id}

{escaped(claim.statement)}. The paper: {escaped(claim.paper)}. Holds: {held(verdicts)}.{instead}

{github_table(rows, headers)}"""


if __name__ == "__main__":
    sys.exit(main())
