"""Holds exported models against the real SAELens: `make interop`, in an environment of its own.

    .venv-interop/bin/python -m interop.check    # exit status 1 on any disagreement

Every model of the zoo that `export.saelens` writes is loaded by SAELens's own loader, and must give the hidden
activations that ours does at the same feature values, and samples with the statistics that the file states. Then
SAELens trains its own autoencoder on one of them: on its own generator, and on the exact inputs of
`export.Activations`. Nothing is downloaded or logged.
"""

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "TQDM_DISABLE": "1",
}  # before its import

import torch
from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.synthetic import (
    SyntheticModel,
    eval_sae_on_synthetic_data,
    mean_correlation_coefficient,
    train_toy_sae,
)

import zoo
from interop import export
from storage import read

ROWS = 200_000  # of which statistics are made
ERRORS = 5  # standard errors that they may be off
SAME = 1e-6  # of activations, relative to the largest: float32
CUT = torch.special.ndtr(
    torch.tensor(-(3**0.5), dtype=torch.float64)
).item()  # of normal magnitudes, below 0
MEAN = (
    0.5 * (1 - CUT) + (1 / 12) ** 0.5 * torch.tensor(-1.5).exp().item() / (2 * torch.pi) ** 0.5
)  # of what it draws
TRAINED = "square-antiprism"
SAMPLES, BATCH, RATE, L1 = 1_000_000, 1024, 3e-3, 0.6
LEAST_MATCH = 0.99  # mean cosine of trained directions with the features


def exported(name, folder):
    """A model of the zoo by its name, as SAELens loads it, and as we do; None where the format cannot hold it."""
    try:
        export.export(zoo.FOLDER / name, "saelens", folder)
    except ValueError as error:
        print(f"{name}: not exported, {error}")
        return None
    return SyntheticModel.load_from_source(str(folder)), read(zoo.FOLDER / name)


@torch.no_grad()
def disagreements(name, theirs, stored):
    """What differs between a loaded model and ours, as lines; prints what was compared."""
    ours = export.Activations(stored)
    h, x = ours.sample_with_features(ROWS)
    apart = ((theirs.feature_dict(x) - h).abs().max() / h.abs().max()).item()
    h, drawn = theirs.sample_with_features(ROWS)
    # in float64 from theirs: hidden = features @ feature_vectors + bias is model.encode
    encoded = stored.model.encode(drawn.to(stored.model.b.dtype)[None])[0]
    sampled = ((h - encoded).abs().max() / h.abs().max()).item()

    inputs, share = stored.distribution, 1
    if inputs.correlation == "anticorrelated":
        share = inputs.set_size  # of a set's density, as one of its features is active
    density = inputs.density[0].double() / share
    off = {
        "our firing": _off((x > 0).double().mean(dim=0), density),
        "their firing": _off((drawn > 0).double().mean(dim=0), density * (1 - CUT)),
    }
    active = drawn.sum() / (ROWS * density.sum())
    spread = (1 / 3 / (ROWS * density.sum())) ** 0.5  # at most: E[x^2] = 1/3 before it is cut
    off["their magnitudes"] = ((active - MEAN).abs() / spread).item()
    errors = ", ".join(f"{what} {value:.1f}" for what, value in off.items())
    print(f"{name}: activations {apart:.1e} and {sampled:.1e} apart; standard errors off: {errors}")

    wrong = [
        f"{name}: activations {value:.1e} apart" for value in (apart, sampled) if not value <= SAME
    ]
    return wrong + [
        f"{name}: {what} {value:.1f} standard errors off"
        for what, value in off.items()
        if value > ERRORS
    ]


def _off(share, probability):
    """By how many standard errors shares of ROWS are off their probabilities, at most."""
    error = (probability * (1 - probability) / ROWS).sqrt().clamp(min=1e-12)
    return ((share - probability).abs() / error).max().item()


def trained(theirs, stored, source, generator):
    """Trains SAELens's autoencoder on feature values of a generator -> what is wrong, as lines."""
    torch.manual_seed(0)
    hidden, features = stored.model.hidden, stored.model.features
    sae = StandardTrainingSAE(
        StandardTrainingSAEConfig(d_in=hidden, d_sae=features, l1_coefficient=L1)
    )
    h = export.Activations(stored, seed=1).sample(ROWS)
    before = _squared_error(sae, h), _match(sae, theirs)
    train_toy_sae(
        sae, theirs.feature_dict, generator, training_samples=SAMPLES, batch_size=BATCH, lr=RATE
    )
    found = eval_sae_on_synthetic_data(
        sae, theirs.feature_dict, theirs.activation_generator, ROWS, BATCH
    )
    after = _squared_error(sae, h), _match(sae, theirs)
    print(
        f"autoencoder on {source}, {SAMPLES // BATCH} steps: squared error {before[0]:.2e} to {after[0]:.2e}, mean "
        f"cosine with the features {before[1]:.3f} to {after[1]:.3f}; its evaluation: variance explained "
        f"{found.explained_variance:.3f}, active {found.sae_l0:.3f} of {found.true_l0:.3f}"
    )
    learned = after[0] < before[0] / 2 and after[1] > max(before[1], LEAST_MATCH)
    return (
        []
        if learned
        else [f"autoencoder on {source}: squared error, mean cosine {before} to {after}"]
    )


@torch.no_grad()
def _squared_error(sae, h):
    return (sae(h) - h).square().sum(dim=1).mean().item()


@torch.no_grad()
def _match(sae, theirs):
    """Mean cosine of the autoencoder's directions with the features, matched one to one."""
    return mean_correlation_coefficient(sae.W_dec, theirs.feature_dict.feature_vectors)


def main():
    torch.manual_seed(0)
    print(f"SAELens {version('sae-lens')}, torch {torch.__version__}; float32, {ROWS:,} rows")
    wrong, loaded = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in zoo.ENTRIES:
            if pair := exported(name, Path(folder) / name):
                loaded[name] = pair
                wrong += disagreements(name, *pair)
    theirs, stored = loaded[TRAINED]
    wrong += trained(theirs, stored, "its own generator", theirs.activation_generator)
    wrong += trained(theirs, stored, "exact inputs", export.Activations(stored).features)
    print(*wrong or ["no disagreement"], sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
