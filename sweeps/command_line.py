"""The command line that the sections and the scorecard share."""

import argparse
import multiprocessing
import os
import re
import shlex
import sys
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from sweeps import running
from sweeps.cells import cell_path
from sweeps.figures import save_figure
from sweeps.files import check_folder, one_line
from sweeps.running import interrupts_raise, sweep
from sweeps.sections import claims_over_seeds, section_cells, section_results, seeds
from sweeps.tables import plain_claims

HOME = Path(__file__).resolve().parents[1]
MOST_SEEDS = 1000
MOST_JOBS = 1024
MOST_SEED = 2**31 - 1
SCHEDULER_SECONDS = 3  # in which a Dask scheduler has to answer
QUICK_CONCLUSION = (
    "These are small settings: they test that all runs, and say nothing about the claims."
)


def section_main(section, argv=None):
    """Run the command line of a section.

    Args:
        section: The section's module, with `EXPERIMENTS`, `figures(results)` and `claims(results)`.
        argv: The arguments; by default those of the process.

    Returns:
        The exit status. Bad arguments end the program with status 2 and one line.
    """
    parser = argument_parser(section.__file__, section.__doc__)
    return run_section(section, parse_arguments(parser, argv))


def run_section(section, arguments):
    """Compute or load a section's results, save its figures, print its claims.

    Returns:
        The exit status.
    """

    def report():
        save_figures(section, arguments)
        print_claims(claims_over_seeds([section], arguments), arguments)

    return run_and_report([section], arguments, report)


def save_figures(section, arguments):
    """Draw and save the figures of a section, made of the first seed's results, and close them."""
    from matplotlib import pyplot  # here, as it takes time that a wrong argument should not

    others = set(pyplot.get_fignums())
    figures = section.figures(section_results(section, arguments, arguments.seed))
    for name, figure in figures.items():
        save_figure(figure, arguments.out / "figures", name, arguments.format)
    for number in set(pyplot.get_fignums()) - others:
        pyplot.close(number)


def print_claims(claims, arguments):
    """Print the claims with their findings, from a list of claims for each seed."""
    print(plain_claims(claims, conclusion=QUICK_CONCLUSION if arguments.quick else None))


def run_and_report(sections, arguments, report):
    """Compute all cells of some sections, then call `report()`.

    Ctrl-C, a killed process, a full disk and numbers that are not finite end it with one line on
    stderr, which says how to continue.

    Returns:
        The exit status.
    """
    folder = arguments.out / "results"
    cells = [
        cell
        for seed in seeds(arguments)
        for section in sections
        for cell in section_cells(section, arguments, seed)
    ]
    torch.set_num_threads(1)  # claims and figures are made of small tensors; two threads are slower
    try:
        with interrupts_raise():
            sweep(
                cells,
                folder,
                jobs=arguments.jobs,
                client=arguments.scheduler,
                fresh=arguments.fresh,
            )
            report()
        return 0
    except KeyboardInterrupt:
        fault = "interrupted"
        status = 130
    except BrokenProcessPool:
        fault = "a worker process was killed, by someone or for lack of memory"
        status = 1
    except (CancelledError, multiprocessing.TimeoutError):
        seconds = running.CLUSTER_SECONDS
        fault = f"the cluster is gone, or has finished no cell within {seconds} seconds"
        status = 1
    except (OSError, FloatingPointError) as error:
        fault = one_line(error) or type(error).__name__
        status = 1
    print(f"{fault}; {_kept(cells, folder)}to continue: {arguments.again}", file=sys.stderr)
    return status


def _kept(cells, folder):
    """Say how many cells are finished."""
    try:
        paths = {cell_path(cell, folder) for cell in cells}
    except OSError:  # a data file that is part of the keys is missing
        return ""
    kept = sum(path.exists() for path in paths)
    return f"{kept} of {len(paths)} cells are finished and kept; "


def argument_parser(script, description):
    """Return a parser with the options that all sections and the scorecard share.

    Args:
        script: The `__file__` of the script.
        description: Its docstring, which --help shows.
    """
    parser = _Parser(
        Path(script).name,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole = _whole_number
    add = parser.add_argument
    add("--quick", action="store_true", help="run the same path with small settings, in seconds")
    add("--seed", type=whole(0, MOST_SEED), default=0, help="of weights and samples (default 0)")
    add("--seeds", type=whole(1, MOST_SEEDS), default=1, help="how many, from --seed (default 1)")
    add("--jobs", type=whole(1, MOST_JOBS), help="processes (default: one a core; one on a GPU)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default cpu)")
    add("--out", type=path, help="folder for figures/ and results/ (default: here; results/quick)")
    add("--format", choices=("png", "svg"), default="png", help="of figures without motion")
    add("--fresh", action="store_true", help="compute what is finished again")
    add(
        "--scheduler",
        metavar="ADDRESS",
        help="tcp://HOST:PORT of a Dask cluster that shares this folder and --out",
    )
    parser.set_defaults(script=script)
    return parser


def parse_arguments(parser, argv=None):
    """Return the arguments, once everything about them is known to work.

    Args:
        parser: As `argument_parser` makes it.
        argv: The arguments; by default those of the process.

    Returns:
        A namespace in which `scheduler` is a Dask client or None, and `again` is the command that
        continues the run. Bad arguments end the program with status 2 and one line.
    """
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    if arguments.seed + arguments.seeds - 1 > MOST_SEED:
        parser.error(
            f"argument --seeds: expected seeds up to {MOST_SEED}, "
            f"got {arguments.seeds} from {arguments.seed} on"
        )
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("argument --device: expected a machine with CUDA for 'cuda', found none")
    arguments.out = arguments.out or (HOME / "results" / "quick" if arguments.quick else HOME)
    try:
        for name in ("results", "figures"):
            check_folder(arguments.out / name)
    except (OSError, ValueError) as error:
        parser.error(
            "argument --out: expected a folder that can be written, "
            f"got {str(arguments.out)!r} ({error})"
        )
    if arguments.scheduler is not None:
        arguments.scheduler = _client(parser, arguments.scheduler)
    if arguments.device == "cuda":
        arguments.jobs = arguments.jobs or 1
    again = [argument for argument in argv if argument != "--fresh"]
    arguments.again = shlex.join(["python", os.path.relpath(arguments.script), *again])
    return arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """End the program with status 2 and one line."""
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")


def path(text):
    """Convert an argument to an absolute path, which the processes of a cluster can share."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a name, got {text!r}")
    return Path(text).absolute()


def _whole_number(low, high):
    """Return a type of argument: a whole number from low to high."""

    def convert(text):
        # Python refuses to convert very long texts, and accepts spaces, signs and underscores.
        plain = text.isascii() and text.isdigit() and len(text) <= len(str(high))
        number = int(text) if plain else -1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {low} to {high}, got {text!r}"
            )
        return number

    return convert


def _client(parser, address):
    """Return a client of the Dask scheduler at an address, once the scheduler has answered."""
    expected = "argument --scheduler: expected"
    if not re.fullmatch(r"(tcp|tls)://([^\s/:@\[\]]+|\[[0-9a-fA-F:]+\]):\d{1,5}", address):
        parser.error(f"{expected} tcp://HOST:PORT, got {address!r}")
    try:
        from distributed import Client
    except ImportError:
        parser.error(
            f"{expected} the package distributed, found none: pip install -r requirements-dask.txt"
        )
    try:
        return Client(address, timeout=SCHEDULER_SECONDS, set_as_default=False)
    except Exception as error:  # of any kind, if something other than a scheduler answers
        parser.error(f"{expected} a Dask scheduler that answers, got {address!r} ({error})")
