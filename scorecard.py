"""The scorecard: every claim of the paper beside our number, one table.

    python scorecard.py                 # all sections, cached results where there are any
    python scorecard.py --quick         # from small settings: says that all runs, not that claims hold

Takes the options of the sections; runs those of which no result is cached.
"""

import importlib
import sys

import claims
from sweeps import HOME, parse_arguments, section_results


def sections():
    """The sections that exist, in the paper's order."""
    return [importlib.import_module(path.stem) for path in sorted(HOME.glob("Section[0-9]main.py"))]


def main(argv=None):
    arguments = parse_arguments(__doc__, argv)
    every_claim = []
    for section in sections():
        every_claim += section.claims(section_results(section, arguments))
    print(claims.table(every_claim))
    return 0


if __name__ == "__main__":
    sys.exit(main())
