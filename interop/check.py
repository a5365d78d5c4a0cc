"""Check of exported models against the real SAELens: `make interop`, in an environment of its own.

    .venv-interop/bin/python -m interop.check    # the exit status is 1 on any disagreement

Every model of the zoo that SAELens can hold is exported and loaded by SAELens's own loader. It must
compute the hidden activations that ours computes from the same feature values, and its samples must
have the statistics of ours: how often each feature and each two features are active, that members
of correlated sets are always active together and those of anticorrelated sets never, and the mean
of active values. Then SAELens trains its own autoencoder on one of the models, once on its own
generator and once on exact inputs from `Activations`. Nothing is downloaded or logged.
"""

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ |= {  # SAELens reads these when it is imported
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "TQDM_DISABLE": "1",
}

import torch
from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.synthetic import (
    SyntheticModel,
    eval_sae_on_synthetic_data,
    mean_correlation_coefficient,
    train_toy_sae,
)

import interop
from interop.exported import feature_density
from interop.saelens import CUT, MEAN, STD
from storage import read

ZOO = Path(__file__).resolve().parents[1] / "zoo"
ROWS = 400_000  # from which statistics are computed
STANDARD_ERRORS = 5  # by which a statistic may be off
TOLERANCE = 1e-6  # for activations in float32, relative to the largest
# Mean of a normal value that is above 0, times the probability that it is.
CUT_MEAN = MEAN * (1 - CUT) + STD * torch.tensor(-1.5).exp().item() / (2 * torch.pi) ** 0.5
TRAINED = "square-antiprism"
SAMPLES = 1_000_000
BATCH_SIZE = 1024
LEARNING_RATE = 3e-3
L1_COEFFICIENT = 0.6
LEAST_MATCH = 0.99  # mean cosine of the trained directions with the features


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
        "our pairs": _off(x, together(inputs, seen=1.0)),
        "their pairs": _off(drawn, together(inputs, seen=1 - CUT)),
        "their values": _values_off(drawn, inputs),
    }
    split, shared = unlike(theirs, inputs)
    print(
        f"{name}: activations apart by "
        + ", ".join(f"{value:.1e} on rows {rows}" for rows, value in apart.items())
        + "; standard errors off: "
        + ", ".join(f"{what} {value:.1f}" for what, value in off.items())
        + f"; {inputs.correlation}, rows with a set in part {split}, with several members {shared}"
    )
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
    if inputs.correlation == "correlated" and split:
        wrong.append(f"{name}: {split} rows with a correlated set that is active in part")
    if inputs.correlation == "anticorrelated" and shared:
        wrong.append(f"{name}: {shared} rows with several members of an anticorrelated set")
    return wrong


def together(inputs, seen):
    """Return how probable it is that each two features are both active, (features, features).

    Args:
        inputs: FeatureDistribution of one instance.
        seen: Probability that the value of an active feature is above 0.
    """
    density = feature_density(inputs)[0]
    both = density[:, None] * density
    if inputs.members > 1:
        sets = torch.arange(inputs.features) // inputs.set_size
        same_set = sets[:, None] == sets
        within = density if inputs.correlation == "correlated" else torch.zeros_like(density)
        both = torch.where(same_set, within, both)
    both = both * seen**2
    return both.diagonal_scatter(density * seen)


@torch.no_grad()
def unlike(theirs, inputs):
    """Count rows of SAELens in which a set is active in part, and in which several members are.

    All values are equal here, so that none is cut off at 0 and every feature that fires is seen.
    """
    generator = theirs.activation_generator
    spread = generator.std_firing_magnitudes
    generator.std_firing_magnitudes = torch.zeros_like(spread)
    active = (generator.sample(ROWS) > 0).unflatten(1, (-1, inputs.members)).sum(dim=2)
    generator.std_firing_magnitudes = spread
    split = ((active > 0) & (active < inputs.members)).any(dim=1)
    shared = (active > 1).any(dim=1)
    return int(split.sum()), int(shared.sum())


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
    active = ROWS * feature_density(inputs).sum()
    error = (1 / 3 / active) ** 0.5  # the mean square of a value is 1/3 before it is cut off
    return ((x.sum() / active - CUT_MEAN).abs() / error).item()


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
        for source in sorted(ZOO.iterdir()):
            pair = exported(source, Path(folder) / source.name)
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
