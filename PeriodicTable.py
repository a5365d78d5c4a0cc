"""Compute the periodic table of superposition anew and write the file that everything reads it from.

python PeriodicTable.py             # 21 minutes on 2 cores; a cell that is finished is skipped
python PeriodicTable.py --jobs 1 --out /tmp/table
"""

import argparse
import sys
from pathlib import Path

from experiments.section4 import periodic_table
from sweeps.cells import cell_path, claimed, load, serialized
from sweeps.files import write
from sweeps.running import HOME, cells_of, check_folder, sweep


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, help="processes (default: one a core)")
    parser.add_argument(
        "--out", type=Path, default=HOME, help="where the folder results/ of its cells is"
    )
    arguments = parser.parse_args(argv)
    folder = arguments.out.absolute() / "results"
    check_folder(folder)
    whole = periodic_table.whole()
    parts = cells_of(*whole)
    sweep(parts, folder, jobs=arguments.jobs)
    result = periodic_table.joined([load(part, cell_path(part, folder)) for part in parts])
    with claimed(periodic_table.FILE):
        write(periodic_table.FILE, serialized(whole, result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
