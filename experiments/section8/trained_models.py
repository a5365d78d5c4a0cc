"""The models of Section 8, trained from the same initial weights at every density."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section8main.py instead.")

import torch

from features import FeatureDistribution
from models import AbsoluteValueModel
from training import train


def trained_models(
    settings, runs, *, init_scale=0.1, seed=0, device="cpu", progress=True
) -> tuple[AbsoluteValueModel, FeatureDistribution]:
    """Train models to compute absolute values of signed features.

    Args:
        settings: Settings of an experiment: features, hidden, decay of the importance, densities,
            steps, batch_size and lr.
        runs: Number of models at each density.
        init_scale: Standard deviation of the initial weights.
        seed: Seed of the initial weights and of the sampled rows.
        device: Device that trains.
        progress: Whether to show progress on stderr.

    Returns:
        One model with the runs of a density in a row, and the distribution of its instances.
    """
    density = torch.tensor(settings.densities, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    distribution = FeatureDistribution(density[:, None], importance, signed=True)
    distribution = distribution.with_restarts(runs).to(device)
    start = AbsoluteValueModel(
        runs, settings.features, settings.hidden, seed=seed, device=device, init_scale=init_scale
    )
    model = start.select(torch.arange(runs).repeat(len(density)))
    train(
        model,
        distribution,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        seed=seed,
        progress=progress,
    )
    return model, distribution
