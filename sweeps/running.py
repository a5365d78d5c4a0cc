"""Sweeps: the cells of a section's experiments, computed in parallel; the command line of a section.

Cells that are finished are skipped: a sweep that was stopped, however, goes on where it was.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import re
import shlex
import signal
import sys
import tempfile
import warnings
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import torch

from sweeps import claims
from sweeps.cells import Cell, cell_path, claimed, clean, configuration, finished, load, run_cell
from sweeps.files import one_line, write

HOME = Path(__file__).resolve().parents[1]
MOST_SEEDS, MOST_JOBS = 1000, 1024
CLUSTER_ANSWERS = 3  # seconds in which a scheduler has to answer
CLUSTER_FINISHES = (
    600  # seconds in which a cluster has to finish one of its cells, of about two minutes at most
)


class Experiment(NamedTuple):
    """A module of experiments/ and its Settings: at full size, and quick. Several runs of one kind: tuples of them."""

    module: ModuleType
    settings: Any
    quick: Any
    drawn: bool = (
        False  # figures alone are made of it, none of the claims: computed with the first seed only
    )


# Running cells


def cells_of(experiment, settings, seed, device):
    """The cells of one run of an experiment: its shards, or the run as a whole."""
    seed = seed if getattr(experiment, "SEEDED", True) else 0
    shards = experiment.shards(settings) if hasattr(experiment, "shards") else [settings]
    return [Cell(experiment, shard, seed, device) for shard in shards]


def sweep(cells, folder, *, jobs=None, client=None, fresh=False):
    """Compute those of some cells that are not finished, each into its file in a folder.

    jobs: processes, of one thread each (default: one a core); client: of a Dask cluster, instead of these;
    fresh: compute what is finished, too. Files that are damaged are named on stderr and set aside.
    """
    import joblib  # here, since it takes time that a wrong argument should not
    from tqdm import tqdm

    clean(folder)
    if client:
        _check_workers(client, folder)
    by_path = {cell_path(cell, folder): cell for cell in cells}
    todo = [(cell, path) for path, cell in by_path.items() if not finished(cell, path, fresh)]
    if not todo:
        return
    random.shuffle(todo)  # two sweeps at once seldom wait for each other
    todo.sort(
        key=lambda each: -getattr(each[0].settings, "steps", 0)
    )  # at the end a long one would idle other cores
    processes = min(jobs or joblib.cpu_count(), len(todo))
    backend = (
        {"backend": "dask", "client": client}
        if client
        else {"backend": "loky", "n_jobs": processes}
    )
    warnings.filterwarnings(
        "ignore", "A worker stopped"
    )  # loky has replaced it, since its memory grew
    with (
        joblib.parallel_config(**backend),
        tqdm(
            total=len(by_path),
            initial=len(by_path) - len(todo),
            unit="cell",
            smoothing=0,
            leave=False,
        ) as bar,
    ):
        parallel = joblib.Parallel(
            batch_size=1,
            return_as="generator_unordered",
            timeout=CLUSTER_FINISHES if client else None,
        )
        with _deaf_children():
            done = parallel(
                joblib.delayed(run_cell)(cell, path, configuration(cell)) for cell, path in todo
            )
        with contextlib.closing(done):
            for _ in done:
                bar.update()


def _check_workers(client, folder):
    """OSError where a worker of a cluster lacks our modules or the folder: joblib would wait for it without end."""
    try:
        client.run(check_folder, folder)
    except Exception as error:
        raise OSError(
            f"a worker of the cluster cannot write {folder}, or lacks this repository: {error}"
        ) from error


@contextlib.contextmanager
def _deaf_children():
    """Processes that start meanwhile never hear Ctrl-C: this one hears it, and ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# Sections and their command line


def section_main(section, argv=None):
    """The command line of a section: run or load its experiments, save its figures, print its claims -> exit status.

    Bad arguments end the program with status 2 and a line that says what was expected.
    """
    arguments = parse_arguments(argument_parser(section.__file__, section.__doc__), argv)

    def report():
        first = section_results(section, arguments, arguments.seed)
        for name, figure in section.figures(first).items():
            save_figure(figure, arguments.out / "figures", name, arguments.format)
        print(claims.table_of(claims_by_seed([section], arguments)))

    return run_and_report([section], arguments, report)


def run_and_report(sections, arguments, report):
    """Compute all cells of some sections, then report() -> exit status.

    Ctrl-C, a killed process, a full disk, numbers that are not finite: one line, which says how to continue.
    """
    folder = arguments.out / "results"
    cells = [
        cell
        for seed in seeds(arguments)
        for section in sections
        for cell in section_cells(section, arguments, seed)
    ]
    before = signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # as Ctrl-C: no process stays behind
    torch.set_num_threads(
        1
    )  # what claims and figures are made of is small, and takes longer on two threads
    try:
        sweep(cells, folder, jobs=arguments.jobs, client=arguments.scheduler, fresh=arguments.fresh)
        report()
        return 0
    except KeyboardInterrupt:
        fault, status = "interrupted", 130
    except BrokenProcessPool:
        fault, status = "a worker process was killed, by someone or for want of memory", 1
    except (CancelledError, multiprocessing.TimeoutError):
        fault, status = (
            f"the cluster is gone, or has finished no cell within {CLUSTER_FINISHES} seconds",
            1,
        )
    except (OSError, FloatingPointError) as error:
        fault, status = one_line(error) or type(error).__name__, 1
    finally:
        signal.signal(signal.SIGTERM, before)
    paths = {cell_path(cell, folder) for cell in cells}
    kept = f"{sum(path.exists() for path in paths)} of {len(paths)} cells are finished and kept"
    print(f"{fault}; {kept}; to continue: {arguments.again}", file=sys.stderr)
    return status


def seeds(arguments):
    return range(arguments.seed, arguments.seed + arguments.seeds)


def section_cells(section, arguments, seed):
    """All cells of a section with one seed."""
    return [
        cell
        for runs in _runs(section, arguments, seed).values()
        for cells in runs
        for cell in cells
    ]


def section_results(section, arguments, seed):
    """The results of a section from the files of its cells: an attribute for each of its experiments."""
    results = {}
    for name, runs in _runs(section, arguments, seed).items():
        module = section.EXPERIMENTS[name].module
        of_runs = [[_kept(cell, arguments.out / "results") for cell in cells] for cells in runs]
        of_runs = tuple(
            module.joined(parts) if hasattr(module, "shards") else parts[0] for parts in of_runs
        )
        several = isinstance(section.EXPERIMENTS[name].settings, tuple)
        results[name] = of_runs if several else of_runs[0]
    return SimpleNamespace(**results)


def claims_by_seed(sections, arguments):
    """[the claims of some sections, for each seed]."""
    return [
        [
            claim
            for section in sections
            for claim in section.claims(section_results(section, arguments, seed))
        ]
        for seed in seeds(arguments)
    ]


def _runs(section, arguments, seed):
    """{experiment: [the cells of each of its settings]}."""
    runs = {}
    for name, experiment in section.EXPERIMENTS.items():
        if experiment.drawn and seed != arguments.seed:
            continue
        settings = experiment.quick if arguments.quick else experiment.settings
        several = settings if isinstance(settings, tuple) else (settings,)
        runs[name] = [cells_of(experiment.module, each, seed, arguments.device) for each in several]
    return runs


def _kept(cell, folder):
    path = cell_path(cell, folder)
    try:
        return load(cell, path)
    except (FileNotFoundError, ValueError) as error:
        raise OSError(
            f"{path}: expected the result that was written ({error}); do all workers share the folder?"
        ) from error


def argument_parser(file, description):
    """The options that every section and the scorecard share; file: of the script."""
    parser = _Parser(
        Path(file).name,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="the same path with small settings, in seconds")
    add(
        "--seed",
        type=_whole(0, 2**31 - 1),
        default=0,
        help="seed of weights and samples (default 0)",
    )
    add(
        "--seeds",
        type=_whole(1, MOST_SEEDS),
        default=1,
        help="how many seeds, from --seed on (default 1)",
    )
    add(
        "--jobs",
        type=_whole(1, MOST_JOBS),
        help="processes (default: one a core, or a single one on a GPU)",
    )
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default cpu)")
    add("--out", type=path, help="folder for figures/ and results/ (default: here; results/quick)")
    add(
        "--format",
        choices=("png", "svg"),
        default="png",
        help="of figures that do not move (default png)",
    )
    add("--fresh", action="store_true", help="compute anew what is finished")
    add(
        "--scheduler",
        metavar="ADDRESS",
        help="tcp://HOST:PORT of a Dask cluster that shares this folder and --out",
    )
    parser.set_defaults(script=file)
    return parser


def parse_arguments(parser, argv=None):
    """The arguments, once everything about them is known to work; `scheduler` is then a Dask client, or None."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    if arguments.seed + arguments.seeds > 2**31:
        parser.error(
            f"argument --seeds: expected seeds below {2**31}, got {arguments.seeds} from {arguments.seed} on"
        )
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("argument --device: expected a machine with CUDA for 'cuda', found none")
    arguments.out = arguments.out or (HOME / "results" / "quick" if arguments.quick else HOME)
    try:
        for name in ("results", "figures"):
            check_folder(arguments.out / name)
    except (OSError, ValueError) as error:
        parser.error(
            f"argument --out: expected a folder that can be written, got {str(arguments.out)!r} ({error})"
        )
    if arguments.scheduler is not None:
        arguments.scheduler = _client(parser, arguments.scheduler)
    if arguments.device == "cuda":
        arguments.jobs = arguments.jobs or 1
    again = [argument for argument in argv if argument != "--fresh"]
    arguments.again = shlex.join(["python", os.path.relpath(arguments.script), *again])
    return arguments


def save_figure(figure, folder, name, format="png"):
    """The figure as a PNG of 120 dots an inch, 1,200 pixels wide, or an SVG; an animation as a GIF of 75 dots an inch.

    An SVG has its text as paths, for these look alike wherever it is opened, and the same bytes each time.
    """
    from matplotlib import rc_context  # here, as it takes time that a wrong argument should not
    from matplotlib.animation import Animation

    if isinstance(figure, Animation):
        path, content = folder / f"{name}.gif", _gif(figure)
    else:
        path, buffer = folder / f"{name}.{format}", io.BytesIO()
        with rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
            figure.savefig(buffer, dpi=120, format=format, metadata={"Date": None})
        content = buffer.getvalue()
    with claimed(path):
        write(path, content)


def _gif(animation):
    """The bytes of an animation; matplotlib writes it to files alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "animation.gif"
        animation.save(path, writer="pillow", dpi=75)
        return path.read_bytes()


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")


def check_folder(folder):
    """OSError or ValueError where a folder cannot be created or written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def path(text):
    """A type of argument: the whole name of a file or folder, which the processes of a cluster can share."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a name, got {text!r}")
    return Path(text).absolute()


def _whole(low, high):
    """A type of argument: a whole number from low to high."""

    def convert(text):
        number = (
            int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(high)) else -1
        )
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {low} to {high}, got {text!r}"
            )
        return number

    return convert


def _client(parser, address):
    """A client of the Dask scheduler at an address, which answers."""
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
        return Client(address, timeout=CLUSTER_ANSWERS, set_as_default=False)
    except Exception as error:  # of any kind, where something else answers
        parser.error(f"{expected} a Dask scheduler that answers, got {address!r} ({error})")
