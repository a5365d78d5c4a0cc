"""The scorecard: every claim of the paper beside our numbers, one table.

    python scorecard.py                 # all sections, cached results where there are any
    python scorecard.py --quick         # from small settings: says that all runs, not that claims hold
    python scorecard.py --seeds 10      # each number as median [lowest, highest] over ten seeds
    python scorecard.py --sections 5 6 --seeds 10 --markdown SCORECARD.md --json scorecard.json

Takes the options of the sections; computes what is not finished.
"""

import importlib
import json
import sys

import claims
import sweeps
from cells import claimed
from files import write


def sections():
    """The sections that exist by their number, in the paper's order."""
    paths = sorted(sweeps.HOME.glob("Section[0-9]main.py"))
    return {int(path.stem[len("Section")]): importlib.import_module(path.stem) for path in paths}


def main(argv=None):
    parser = sweeps.argument_parser(__file__, __doc__)
    for option, what in (("--json", "every claim with its numbers of each seed"), ("--markdown", "the table")):
        parser.add_argument(option, metavar="FILE", type=sweeps.path, help=f"write {what} to a file, too")
    every = sections()
    of = {"type": int, "choices": every, "metavar": "N", "default": [*every]}
    parser.add_argument("--sections", nargs="+", help="of the paper (default: all)", **of)
    arguments = sweeps.parse_arguments(parser, argv)
    files = {"--json": (arguments.json, as_json), "--markdown": (arguments.markdown, as_markdown)}
    files = {option: (file, written) for option, (file, written) in files.items() if file is not None}
    for option, (file, _) in files.items():
        check_file(parser, option, file)
    chosen = [every[number] for number in sorted(set(arguments.sections))]

    def report():
        by_seed = sweeps.claims_by_seed(chosen, arguments)
        print(claims.table_of(by_seed))
        for file, written in files.values():
            with claimed(file):
                write(file, written(by_seed).encode())

    return sweeps.run_and_report(chosen, arguments, report)


def as_json(by_seed):
    """[{"id", "statement", "paper", "holds": [a bool a seed], "numbers": {name: [a number a seed, or null]}}, ...]."""
    entries = [
        {
            "id": of_seeds[0].id,
            "statement": of_seeds[0].statement,
            "paper": of_seeds[0].paper,
            "holds": [bool(claim.holds) for claim in of_seeds],
            "numbers": claims.numbers_over_seeds(of_seeds),
        }
        for of_seeds in claims.same_claims(by_seed)
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(by_seed):
    """The table of the claims under a heading that says what its columns are."""
    seeds = "one seed" if len(by_seed) == 1 else f"{len(by_seed)} seeds, as medians [lowest, highest]"
    return f"""# Scorecard

Claims of the paper, and some of our own, beside what we measured at full settings with {seeds}.
Whether a claim holds is decided by the criterion in its section's script, which says what would refute it.

{claims.table_of(by_seed, "github")}
"""


def check_file(parser, option, file):
    """Leave with status 2 where a file cannot be written."""
    try:
        with claimed(file):
            if file.is_dir():
                raise IsADirectoryError("it is a folder")
    except OSError as error:
        parser.error(f"argument {option}: expected a file that can be written, got {str(file)!r} ({error})")


if __name__ == "__main__":
    sys.exit(main())
