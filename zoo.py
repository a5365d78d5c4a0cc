"""Zoo: trained models for other people's tools, each with a certificate of what it is.

    python zoo.py make                                   # train all models into zoo/, ten minutes
    python zoo.py make digon pentagon                    # train two of them
    python zoo.py check                                  # measure all certificates anew
    python zoo.py export zoo/pentagon --to saelens DIR   # write a model for another tool

A model is the best of several restarts, or begins as a polytope that is named in its config. Where
that is possible it is then settled: exact descent goes on until the gradient of the exact loss
vanishes, and the weights are float64. Three models cannot be settled because they have a ReLU in
the hidden layer, and their exact loss is not known. A fourth, n40-m10, has an exact loss, but an
exact descent would need more terms of its series than `many_features_loss` allows.

A certificate states what `theory/certificates.py` measures: loss, gradient, lowest eigenvalue of
the Hessian, represented features and polytopes. What is unknown is null; that file says why. The
zoo adds the gap: by how much the loss is above the best known, as a share of it. The best known
loss is the lowest of all restarts, as training left them, and, for independent and equally
important features, of the products of the arrangements in the periodic table.
"""

import argparse
import math
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While torch is being imported, Ctrl-C ends the script at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch

import interop
from experiments.section4 import periodic_table
from features import FeatureDistribution, Uniform
from losses.descent import EXACT_OUTPUTS
from models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel
from storage import read, save
from sweeps.files import one_line
from theory.certificates import certificate, exact_slope
from theory.descents import ignored_loss
from theory.polytopes import POLYTOPES, tegum_factors
from training import sampled_loss, settle, train

FOLDER = Path(__file__).resolve().parent / "zoo"
SETTLED = 1e-6  # gradient of a settled model, relative to the end of training
TOLERANCE = 1e-6  # for exact losses relative, for gradients absolute below 1
EIGENVALUE_TOLERANCE = 1e-5  # absolute: to about this, Lanczos' method finds eigenvalues
ZERO_LOSS = 1e-12  # below this, two losses count as equal
STANDARD_ERRORS = 5  # by which sampled losses of fresh samples may differ


@dataclass(frozen=True)
class Entry:
    """What a model of the zoo is and how it is trained.

    Attributes:
        hidden: Number of hidden dimensions.
        inputs: Arguments of the FeatureDistribution of its inputs.
        model_class: Class of the model.
        training: Settings of `train`, and the number of restarts.
        settled: Whether the model is settled at the end.
        polytope: Name of the polytope that the model is, or None. Such a model is settled from the
            vertices of the polytope. The restarts then only tell the best known loss.
    """

    hidden: int
    inputs: dict
    model_class: type = ReLUOutputModel
    training: dict = field(
        default_factory=lambda: {"restarts": 16, "steps": 600, "lr": 0.05, "exact": True}
    )
    settled: bool = True
    polytope: str | None = None

    @property
    def distribution(self):
        """Return the distribution of the inputs."""
        return FeatureDistribution(**self.inputs)

    @property
    def description(self):
        """Return the training with all that decides where it ends, as the config states it."""
        described = dict(self.training)
        if self.polytope:
            described["settled_from"] = f"the {self.polytope}'s vertices"
        if self.settled:
            described["settled_to"] = SETTLED
        return described


def _sampled(restarts, steps, lr=1e-2):
    """Return the settings of a training on samples."""
    return {"restarts": restarts, "steps": steps, "lr": lr, "batch_size": 256}


def _falling(features, factor):
    """Return importances of the features of one instance that fall by a factor each."""
    return [[factor**i for i in range(features)]]


def _in_sets(features, set_size, correlation, density):
    """Return the inputs of features in sets."""
    return {
        "density": density,
        "features": features,
        "set_size": set_size,
        "correlation": correlation,
    }


ENTRIES = {
    "n5-m2-dense": Entry(2, {"density": 1.0, "importance": _falling(5, 0.9)}),
    "n5-m2-density-0.2": Entry(2, {"density": 0.2, "importance": _falling(5, 0.9)}),
    "n5-m2-density-0.05": Entry(2, {"density": 0.05, "importance": _falling(5, 0.9)}),
    "digon": Entry(1, {"density": 0.05, "features": 2}, polytope="digon"),
    "triangle": Entry(2, {"density": 0.05, "features": 3}, polytope="triangle"),
    "pentagon": Entry(2, {"density": 0.05, "features": 5}, polytope="pentagon"),
    "tetrahedron": Entry(3, {"density": 0.05, "features": 4}, polytope="tetrahedron"),
    "square-antiprism": Entry(3, {"density": 0.05, "features": 8}, polytope="square antiprism"),
    "correlated-pairs": Entry(2, _in_sets(4, 2, "correlated", 0.1)),
    "anticorrelated-pairs": Entry(2, _in_sets(4, 2, "anticorrelated", 0.1)),
    "octahedron": Entry(3, _in_sets(6, 3, "correlated", 0.05)),
    "n20-m5": Entry(5, {"density": 0.05, "features": 20}, training=_sampled(8, 3000)),
    "n40-m10": Entry(
        10, {"density": 0.05, "features": 40}, training=_sampled(4, 3000), settled=False
    ),
    "two-sets-of-ten": Entry(10, _in_sets(20, 10, "correlated", 0.1), training=_sampled(4, 2000)),
    "hidden-relu-n10-m5": Entry(
        5,
        {"density": 0.1, "importance": _falling(10, 0.75)},
        ReLUHiddenModel,
        _sampled(64, 2000, 2e-2),
        settled=False,
    ),
    "absolute-value-n3-m6": Entry(
        6,
        {"density": 1.0, "features": 3, "signed": True},
        AbsoluteValueModel,
        _sampled(64, 1500, 3e-2),
        settled=False,
    ),
    "absolute-value-n100-m40": Entry(
        40,
        {"density": 0.01, "importance": _falling(100, 0.8), "signed": True},
        AbsoluteValueModel,
        _sampled(1, 3000),
        settled=False,
    ),
}


def made(entry, seed=0):
    """Train a model of the zoo, and settle it where that is possible.

    Args:
        entry: The Entry of the model.
        seed: Seed of the initial weights and the samples.

    Returns:
        The best of the entry's restarts, or the entry's polytope, and its gap to the best known
        loss. The gap is None where losses are sampled.

    Raises:
        RuntimeError: If the settled model has lost the entry's polytope.
    """
    inputs = entry.distribution
    trained, losses = _restarts(entry, seed)
    best = _first_best(losses)
    model = trained.select([best])
    if entry.model_class not in EXACT_OUTPUTS:
        return model, None
    loss = losses[best]
    if entry.polytope:
        vertices = POLYTOPES[entry.polytope].vertices[None].double()
        model = entry.model_class.from_weights(vertices, torch.zeros_like(vertices[:, 0]))
    if entry.settled:
        model = model.double()
        loss = settle(model, inputs, tolerance=SETTLED, progress=False).losses[0]
    if not _has_polytope(model.W.detach()[0], entry.polytope):
        raise RuntimeError(f"the settled model holds no {entry.polytope}")
    return model, gap(loss, losses, inputs, entry.hidden)


def _restarts(entry, seed):
    """Return the trained restarts of an entry and their losses, exact ones where they are known."""
    inputs = entry.distribution
    settings = dict(entry.training)
    restarts = settings.pop("restarts")
    repeated = inputs.with_restarts(restarts)
    exact = "exact" in settings
    dtype = torch.float64 if exact else torch.float32
    model = entry.model_class(restarts, inputs.features, entry.hidden, seed=seed, dtype=dtype)
    history = train(model, repeated, seed=seed, progress=False, **settings)
    if exact:
        return model, history.losses[-1]
    if entry.model_class not in EXACT_OUTPUTS:
        return model, sampled_loss(model, repeated)
    slopes = [exact_slope(model.select([k]), inputs) for k in range(restarts)]
    return model, torch.cat([slope.loss for slope in slopes])


def _first_best(losses) -> int:
    """Return the first restart whose loss is the lowest, up to rounding errors."""
    lowest = losses.min()
    return (losses <= lowest + TOLERANCE * lowest + ZERO_LOSS).nonzero()[0].item()


def _has_polytope(W, name):
    """Whether a polytope is among the tegum factors; always if none is asked for."""
    return name is None or any(factor.polytope == name for factor in tegum_factors(W))


def gap(loss, losses, distribution, hidden):
    """Return by how much a loss is above the best known, as a share of it.

    Args:
        loss: The loss of the model.
        losses: The losses of all restarts, as training left them.
        distribution: FeatureDistribution of the inputs.
        hidden: Number of hidden dimensions.
    """
    best = min(loss.item(), losses.min().item(), best_product(distribution, hidden))
    return loss.item() / best - 1


def best_product(distribution, hidden) -> float:
    """Return the lowest loss of a product of the periodic table's arrangements (Section 4).

    A product divides features and hidden dimensions among arrangements, dedicated dimensions and
    ignored features. Its loss is that of ignoring all features minus the benefit, which is what the
    parts save in units of one feature's loss.

    Args:
        distribution: FeatureDistribution of the inputs.
        hidden: Number of hidden dimensions.

    Returns:
        The loss, or infinity if the table does not hold such inputs.
    """
    density = distribution.density[0, 0]
    table = periodic_table.table()
    at = torch.isclose(1 / table.inverse_density, density, rtol=1e-9).nonzero().flatten().tolist()
    equal = (distribution.density == density).all() and (distribution.importance == 1).all()
    independent = distribution.correlation == "independent" and distribution.parents is None
    if not (at and equal and independent and distribution.values == Uniform()):
        return math.inf
    benefits = {}
    for (features, dimensions), benefit in zip(
        table.size.tolist(), table.benefit[:, at[0]].tolist()
    ):
        benefits[features, dimensions] = benefit * dimensions
    benefit = _best_benefit(benefits, distribution.features, hidden)
    return ((distribution.features - benefit) * ignored_loss(1, density)).item()


def _best_benefit(benefits, features, hidden):
    """Return the largest benefit of so many features in so many dimensions, by dynamic programming.

    Args:
        benefits: The benefit of each arrangement by its numbers of features and dimensions.
        features: Number of features to divide.
        hidden: Number of dimensions to divide.
    """
    best = [[0.0] * (hidden + 1) for _ in range(features + 1)]
    for n in range(1, features + 1):
        for m in range(1, hidden + 1):
            fitting = [
                best[n - used_features][m - used_dimensions] + benefit
                for (used_features, used_dimensions), benefit in benefits.items()
                if used_features <= n and used_dimensions <= m
            ]
            dedicated = best[n - 1][m - 1] + 1
            best[n][m] = max(dedicated, *fitting, 0.0)
    return best[features][hidden]


def disagreements(stored) -> list[str]:
    """Return where a stored model's certificate differs from what is measured anew.

    A gap cannot be measured anew without the restarts. It is false if a product of the periodic
    table's arrangements is better than the gap admits.

    Args:
        stored: The model, as `storage.read` returns it.

    Returns:
        The differences, a phrase each; none if the certificate holds.
    """
    claimed = stored.config["certificate"]
    if claimed is None:
        return ["certificate: missing"]
    measured = certificate(stored.model, stored.distribution, claimed["gap"], seed=1)
    wrong = []
    for name, value in measured.items():
        same = value == claimed[name]
        if isinstance(value, float) and isinstance(claimed[name], float):
            same = abs(value - claimed[name]) <= _tolerance(name, measured, claimed)
        if not same:
            wrong.append(f"{name}: claimed {claimed[name]}, measured {value}")
    if claimed["gap"] is not None:
        product = best_product(stored.distribution, stored.model.hidden)
        least = max(0.0, measured["loss"] / product - 1 - TOLERANCE)
        if claimed["gap"] < least:
            wrong.append(f"gap: claimed {claimed['gap']}, expected at least {least}")
    return wrong


def _tolerance(name, measured, claimed):
    """Return how far a number may be from the one that the certificate claims."""
    value = measured[name]
    if name == "loss" and claimed["standard_error"]:
        errors = math.hypot(measured["standard_error"], claimed["standard_error"])
        return STANDARD_ERRORS * errors
    if name == "loss":
        return TOLERANCE * abs(value) + ZERO_LOSS
    if name == "standard_error" and claimed[name]:
        return claimed[name]
    if name == "lowest_eigenvalue":
        return EIGENVALUE_TOLERANCE
    return TOLERANCE * max(1.0, abs(value))


def make(names, folder, seed=0):
    """Train models of the zoo and save them with their certificates.

    Args:
        names: Keys of ENTRIES.
        folder: Where each model gets a folder of its name.
        seed: Seed of the initial weights and the samples.
    """
    for name in names:
        entry = ENTRIES[name]
        model, gap = made(entry, seed)
        measured = certificate(model, entry.distribution, gap)
        save(
            model,
            folder / name,
            entry.distribution,
            seed=seed,
            training=entry.description,
            certificate=measured,
        )
        print(name, measured)


def check(names, folder) -> int:
    """Measure the certificates of stored models anew, and print whether each holds.

    Args:
        names: Names of the models.
        folder: Where each model has a folder of its name.

    Returns:
        How many of the models cannot be read or disagree with their certificates.
    """
    failed = 0
    for name in names:
        try:
            wrong = disagreements(read(folder / name))
        except ValueError as error:
            wrong = [str(error)]
        failed += bool(wrong)
        print(f"{name}: {'; '.join(wrong) or 'certificate holds'}")
    return failed


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")


def _name(text):
    """Return the name of a model of the zoo."""
    if text not in ENTRIES:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(ENTRIES)}, got {text!r}")
    return text


def parser():
    """Return the parser of the command line."""
    parser = _Parser(
        "zoo.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command, what in (
        ("make", "train models and save them with their certificates"),
        ("check", "measure certificates anew; the exit status is 1 if one does not hold"),
    ):
        added = commands.add_parser(command, help=what, description=what)
        added.add_argument("names", metavar="NAME", nargs="*", type=_name, help="default: all")
    what = "write a model in the format of another tool"
    added = commands.add_parser("export", help=what, description=what)
    added.add_argument("model", metavar="MODEL", help="folder of the model, such as zoo/pentagon")
    added.add_argument("--to", choices=interop.EXPORTERS, required=True, help="the format")
    added.add_argument("target", metavar="DIR", help="folder for the files")
    return parser


def main(argv=None) -> int:
    """Run the command line and return the exit status."""
    command_line = parser()
    given = command_line.parse_args(argv)
    torch.set_num_threads(1)  # more threads would change the order of sums, and so the last digits
    try:
        if given.command == "check":
            return int(check(given.names or ENTRIES, FOLDER) > 0)
        if given.command == "make":
            make(given.names or ENTRIES, FOLDER)
            return 0
        lost = interop.export(given.model, given.to, given.target)
    except (ValueError, OSError) as error:
        command_line.error(str(error))
    for sentence in lost:
        print(f"{given.to}: {sentence}", file=sys.stderr)
    if lost:
        print(f"{given.to}: interop.Activations draws exact inputs.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
