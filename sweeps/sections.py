"""A section's cells, results and claims, as the arguments of the command line choose them."""

from types import SimpleNamespace

from sweeps.cells import cell_path, cells_of, load
from sweeps.experiment import offered


def seeds(arguments):
    """Return the seeds that the arguments ask for."""
    return range(arguments.seed, arguments.seed + arguments.seeds)


def section_cells(section, arguments, seed):
    """Return all cells of a section with one seed."""
    runs = [
        cells for name in section.EXPERIMENTS for cells in _runs(section, name, arguments, seed)
    ]
    return [cell for cells in runs for cell in cells]


def section_results(section, arguments, seed):
    """Return the results of a section from the files of its cells.

    Returns:
        A namespace with an attribute for each of the section's experiments: a Result, or a tuple of
        them if the experiment has several settings. An experiment of which only figures are made
        is left out with every seed but the first.

    Raises:
        OSError: The file of a cell is missing or damaged.
    """
    results = {}
    for name, experiment in section.EXPERIMENTS.items():
        joined = offered(experiment.module, "joined")
        runs = [
            joined([_kept(cell, arguments.out / "results") for cell in cells])
            for cells in _runs(section, name, arguments, seed)
        ]
        if runs:
            results[name] = tuple(runs) if isinstance(experiment.settings, tuple) else runs[0]
    return SimpleNamespace(**results)


def claims_over_seeds(sections, arguments):
    """Return a list for each seed: the claims of some sections."""
    claims = []
    for seed in seeds(arguments):
        results = [(section, section_results(section, arguments, seed)) for section in sections]
        claims.append([claim for section, found in results for claim in section.claims(found)])
    return claims


def _runs(section, name, arguments, seed):
    """Return the cells of each of the settings of an experiment; none if it is not run."""
    experiment = section.EXPERIMENTS[name]
    if experiment.drawn and seed != arguments.seed:
        return []
    settings = experiment.quick if arguments.quick else experiment.settings
    several = settings if isinstance(settings, tuple) else (settings,)
    return [cells_of(experiment.module, each, seed, arguments.device) for each in several]


def _kept(cell, folder):
    path = cell_path(cell, folder)
    try:
        return load(cell, path)
    except (FileNotFoundError, ValueError) as error:
        raise OSError(
            f"{path}: expected the result that was written ({error}); "
            "do all workers share the folder?"
        ) from error
