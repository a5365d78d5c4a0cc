"""Check of exported models against the real SAELens: `make interop`, in an environment of its own.

    .venv-interop/bin/python -m interop.check    # the exit status is 1 on any disagreement

Every model of the zoo that SAELens can hold is exported and loaded by SAELens's own loader, and so
are untrained models on inputs that the zoo does not have. A loaded model must compute the hidden
activations that ours computes from the same feature values, and its samples must have the
statistics of ours: how often each feature and each two features are active, that members of
correlated sets are always active together and those of anticorrelated sets never, and the mean of
active values. Then SAELens trains its own autoencoder on one of the models, once on its own
generator and once on exact inputs from `Activations`. Nothing is downloaded or logged.
"""

import math
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

# SAELens's packages read these when they are imported.
os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}

import torch
from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.synthetic import (
    SyntheticModel,
    eval_sae_on_synthetic_data,
    mean_correlation_coefficient,
    train_toy_sae,
)

import interop
from features import FeatureDistribution, Uniform
from interop.exported import dependence, feature_density
from interop.saelens import cut_share, value_mean_and_std
from models import ReLUOutputModel
from storage import read, save

ZOO = Path(__file__).resolve().parents[1] / "zoo"
ROWS = 400_000  # from which statistics are computed
STANDARD_ERRORS = 5  # by which a statistic may be off
TOLERANCE = 1e-6  # for activations in float32, relative to the largest
OTHER_INPUTS = {
    "graded-pairs": {
        "density": 0.1,
        "features": 6,
        "set_size": 2,
        "correlation": "correlated",
        "strength": 0.5,
    },
    "anticorrelated-fives": {
        "density": 1.0,
        "features": 10,
        "set_size": 5,
        "correlation": "anticorrelated",
    },
    "nested": {
        "density": [[0.4, 0.2, 0.05, 0.1, 0.3, 0.15]],
        "parents": [None, 0, 1, 1, None, 4],
    },
    "one-value": {"density": 0.2, "features": 5, "values": 2.0},
    "high-values": {"density": 0.2, "features": 5, "values": Uniform(0.5, 1.0)},
}
TRAINED = "square-antiprism"
SAMPLES = 1_000_000
BATCH_SIZE = 1024
LEARNING_RATE = 3e-3
L1_COEFFICIENT = 0.6
LEAST_MATCH = 0.99  # mean cosine of the trained directions with the features


def untrained(folder) -> list[Path]:
    """Save an untrained model on each of OTHER_INPUTS and return the folders of the models."""
    for name, arguments in OTHER_INPUTS.items():
        inputs = FeatureDistribution(**arguments)
        save(ReLUOutputModel(1, inputs.features, 3, init_scale=1.0), folder / name, inputs, seed=0)
    return [folder / name for name in OTHER_INPUTS]


def exported(source, folder):
    """Return a model as SAELens loads it and as we do, or None if the format cannot hold it."""
    try:
        interop.export(source, "saelens", folder)
    except ValueError as error:
        print(f"{source.name}: not exported, {error}")
        return None
    return SyntheticModel.load_from_source(str(folder)), read(source)


@torch.no_grad()
def disagreements(name, theirs, stored) -> list[str]:
    """Compare a loaded model with ours; print what was compared and return what differs."""
    ours = interop.Activations(stored)
    h, x = ours.sample_with_features(ROWS)
    apart = {"of ours": _apart(theirs.feature_dict(x), h)}
    h, drawn = theirs.sample_with_features(ROWS)
    encoded = stored.model.encode(drawn.to(stored.model.b.dtype)[None])[0]
    apart["of theirs"] = _apart(h, encoded)
    inputs = stored.distribution
    off = {
        "our pairs": _off(x, together(inputs, shown=1.0)),
        "their pairs": _off(drawn, together(inputs, shown=1 - cut_share(inputs))),
        "their values": _values_off(drawn, inputs),
    }
    wrong = [
        f"{name}: activations {value:.1e} apart on rows {rows}"
        for rows, value in apart.items()
        if not value <= TOLERANCE
    ]
    wrong += [
        f"{name}: {what} {value:.1f} standard errors off"
        for what, value in off.items()
        if not value <= STANDARD_ERRORS
    ]
    report = ", ".join(f"{value:.1e} on rows {rows}" for rows, value in apart.items())
    report = f"{name}: activations apart by {report}; standard errors off: "
    report += ", ".join(f"{what} {value:.1f}" for what, value in off.items())
    kind = dependence(inputs)
    if kind == "anticorrelated" or (kind == "correlated" and inputs.strength == 1):
        count = contradicting_rows(theirs, inputs)
        report += f"; rows that contradict {kind} sets: {count}"
        if count:
            wrong.append(f"{name}: {count} rows contradict {kind} sets")
    print(report)
    return wrong


def together(inputs, shown):
    """Return how probable it is that each two features are both active, (features, features).

    Args:
        inputs: FeatureDistribution of one instance.
        shown: Probability that the value of an active feature is above 0.
    """
    density = feature_density(inputs)[0]
    both = density[:, None] * density * shown**2
    kind = dependence(inputs)
    if kind == "nested":
        for feature in range(inputs.features):
            for other in range(feature):
                shared = _ancestors(inputs, feature) & _ancestors(inputs, other)
                if shared:  # given the lowest shared ancestor, the two are independent
                    given = density[max(shared)] * shown
                    both[feature, other] /= given
                    both[other, feature] /= given
    elif kind != "independent":
        sets = torch.arange(inputs.features) // inputs.set_size
        within = torch.zeros_like(density)
        if kind == "correlated":
            within = inputs.strength * density + (1 - inputs.strength) * density**2
        both = torch.where(sets[:, None] == sets, within * shown**2, both)
    return both.diagonal_scatter(density * shown)


def _ancestors(inputs, feature):
    """Return a feature, its parent, its parent's parent and so on, as a set."""
    found = set()
    while feature is not None:
        found.add(feature)
        feature = inputs.parents[feature]
    return found


@torch.no_grad()
def contradicting_rows(theirs, inputs) -> int:
    """Count rows of SAELens with a correlated set in part or two members of an anticorrelated one.

    All values are equal here, so that none is cut off at 0 and every feature that fires is seen.
    """
    generator = theirs.activation_generator
    spread = generator.std_firing_magnitudes
    generator.std_firing_magnitudes = torch.zeros_like(spread)
    active = (generator.sample(ROWS) > 0).unflatten(1, (-1, inputs.members)).sum(dim=2)
    generator.std_firing_magnitudes = spread
    wrong = active > 1
    if inputs.correlation == "correlated":
        wrong = (active > 0) & (active < inputs.members)
    return int(wrong.any(dim=1).sum())


def _apart(first, second):
    """Return the largest difference, relative to the largest value."""
    return ((first - second).abs().max() / second.abs().max()).item()


def _off(x, probability):
    """Return by how many standard errors the shares of rows with two active features are off."""
    active = (x > 0).float()
    share = (active.mT @ active).double() / ROWS
    error = (probability * (1 - probability) / ROWS).sqrt().clamp(min=1e-12)
    return ((share - probability).abs() / error).max().item()


def _values_off(x, inputs):
    """Return by how many standard errors, at least, the mean of the active values is off."""
    mean, std = value_mean_and_std(inputs)
    cut_mean = mean  # of values that are cut off at 0
    if std > 0:
        normal_density = math.exp(-((mean / std) ** 2) / 2) / math.sqrt(2 * math.pi)
        cut_mean = mean * (1 - cut_share(inputs)) + std * normal_density
    active = ROWS * feature_density(inputs).sum().item()
    cluster = inputs.features if inputs.parents else inputs.members  # active together at most
    error = math.sqrt((std**2 + cluster * mean**2) / active)
    return abs(x.sum().item() / active - cut_mean) / error


def trained(theirs, stored, source, generator) -> list[str]:
    """Train SAELens's autoencoder on the feature values of a generator; return what is wrong."""
    torch.manual_seed(0)
    config = StandardTrainingSAEConfig(
        d_in=stored.model.hidden, d_sae=stored.model.features, l1_coefficient=L1_COEFFICIENT
    )
    sae = StandardTrainingSAE(config)
    h = interop.Activations(stored, seed=1).sample(ROWS)
    error_before = _squared_error(sae, h)
    match_before = _match(sae, theirs)
    train_toy_sae(
        sae,
        theirs.feature_dict,
        generator,
        training_samples=SAMPLES,
        batch_size=BATCH_SIZE,
        lr=LEARNING_RATE,
    )
    found = eval_sae_on_synthetic_data(
        sae, theirs.feature_dict, theirs.activation_generator, ROWS, BATCH_SIZE
    )
    error = _squared_error(sae, h)
    match = _match(sae, theirs)
    result = (
        f"autoencoder on {source}, {SAMPLES // BATCH_SIZE} steps: squared error "
        f"{error_before:.2e} to {error:.2e}, mean cosine with the features {match_before:.3f} to "
        f"{match:.3f}"
    )
    print(
        f"{result}; its evaluation: variance explained {found.explained_variance:.3f}, active "
        f"{found.sae_l0:.3f} of {found.true_l0:.3f}"
    )
    learned = error < error_before / 2 and match > max(match_before, LEAST_MATCH)
    return [] if learned else [result]


@torch.no_grad()
def _squared_error(sae, h):
    """Return the mean squared error of the autoencoder's reconstruction."""
    return (sae(h) - h).square().sum(dim=1).mean().item()


@torch.no_grad()
def _match(sae, theirs):
    """Return the mean cosine of the autoencoder's directions with the features, one to one."""
    return mean_correlation_coefficient(sae.W_dec, theirs.feature_dict.feature_vectors)


def main() -> int:
    """Check all models of the zoo and return the exit status."""
    torch.manual_seed(0)
    print(f"SAELens {version('sae-lens')}, torch {torch.__version__}; float32, {ROWS:,} rows")
    wrong = []
    loaded = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in [*sorted(ZOO.iterdir()), *untrained(Path(folder))]:
            pair = exported(source, Path(folder) / "exported" / source.name)
            if pair:
                loaded[source.name] = pair
                wrong += disagreements(source.name, *pair)
    theirs, stored = loaded[TRAINED]
    wrong += trained(theirs, stored, "its own generator", theirs.activation_generator)
    wrong += trained(theirs, stored, "exact inputs", interop.Activations(stored).features)
    print(f"{len(loaded)} models compared")
    print(*wrong or ["no disagreement"], sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
