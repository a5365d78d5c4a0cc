"""Cells computed in parallel, each of them once.

Cells that are finished are skipped, so a sweep that was stopped in any way goes on where it was.
"""

import contextlib
import random
import signal
import threading
import warnings

from sweeps.cells import cell_path, configuration, finished, run_cell
from sweeps.experiment import offered
from sweeps.files import check_folder, clean

CLUSTER_SECONDS = 600  # in which a cluster has to finish one of its cells; a cell takes up to 120


def sweep(cells, folder, *, jobs=None, client=None, fresh=False):
    """Compute the cells that are not finished, each into its file in a folder.

    Files that are damaged are named on stderr and set aside.

    Args:
        cells: What to compute.
        folder: An existing folder for the files.
        jobs: Number of processes, each of one thread; by default one for each core.
        client: Client of a Dask cluster that computes in place of these processes.
        fresh: Whether to compute finished cells again.

    Raises:
        OSError: A file cannot be written, or a worker of the cluster lacks this repository.
        FloatingPointError: A result has numbers that are not finite.
    """
    import joblib  # here, as it takes time that a wrong argument should not

    clean(folder)
    if client:
        _check_workers(client, folder)
    paths = {cell_path(cell, folder): cell for cell in cells}
    waiting = [(cell, path) for path, cell in paths.items() if not finished(cell, path, fresh)]
    if not waiting:
        return
    random.shuffle(waiting)  # so that two sweeps at once seldom wait for each other
    waiting.sort(key=_effort, reverse=True)  # a long cell at the end would leave other cores idle
    if client:
        backend = {"backend": "dask", "client": client}
    else:
        backend = {"backend": "loky", "n_jobs": min(jobs or joblib.cpu_count(), len(waiting))}
    # Loky replaces a worker whose memory has grown, and warns of it.
    warnings.filterwarnings("ignore", "A worker stopped")
    with joblib.parallel_config(**backend):
        _run_in_parallel(waiting, len(paths), CLUSTER_SECONDS if client else None)


def _effort(waiting):
    cell, _ = waiting
    return offered(cell.experiment, "effort")(cell.settings)


def _run_in_parallel(waiting, total, timeout):
    """Run the waiting cells with the configured backend of joblib, under one bar over all cells."""
    import joblib
    from tqdm import tqdm

    parallel = joblib.Parallel(batch_size=1, return_as="generator_unordered", timeout=timeout)
    calls = (joblib.delayed(run_cell)(cell, path, configuration(cell)) for cell, path in waiting)
    begun = total - len(waiting)
    with tqdm(total=total, initial=begun, unit="cell", smoothing=0, leave=False) as bar:
        with children_ignore_interrupts():
            done = parallel(calls)
        with contextlib.closing(done):
            for _ in done:
                bar.update()


def _check_workers(client, folder):
    """Check that every worker of a cluster has this repository and the folder.

    Without them joblib would wait for the worker without end.
    """
    try:
        client.run(check_folder, folder)
    except Exception as error:
        raise OSError(
            f"a worker of the cluster cannot write {folder}, or lacks this repository: {error}"
        ) from error


@contextlib.contextmanager
def handled(signals, handler):
    """Set the handler of some signals while the block runs, if this is the main thread.

    Python can set it in no other thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def children_ignore_interrupts():
    """Let processes that start in the block ignore Ctrl-C; this process hears it and ends them."""
    return handled([signal.SIGINT], signal.SIG_IGN)


def interrupts_raise():
    """Let Ctrl-C and a request to terminate raise KeyboardInterrupt while the block runs.

    A shell has Ctrl-C ignored by what it runs in the background; that stays so.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signals = [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGINT]
    return handled(signals, signal.default_int_handler)
