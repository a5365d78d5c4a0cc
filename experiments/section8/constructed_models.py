"""Models of absolute values that start with two neurons for each of some features (Section 8)."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Section8main.py instead.")

import torch

from models import AbsoluteValueModel

CONTROL_STREAM = 0x2D2D2D2D  # keeps the features of the control apart from a seed's other numbers


def fresh(settings, inputs, seed) -> AbsoluteValueModel:
    """Return a model with fresh weights for each density, the same at all of them.

    Args:
        settings: Settings of `neuron_kinds`, of a single part.
        inputs: FeatureDistribution of the densities.
        seed: Seed of the weights.
    """
    model = _random_models(settings, seed, inputs.density.device)
    return model.select(torch.zeros(inputs.instances, dtype=torch.long))


def constructed(settings, inputs, seed) -> AbsoluteValueModel:
    """Return the models that start with two neurons for some features, those of a density in a row.

    In all but the last one these are the most important features. The last one is the control: its
    features are drawn at random. All weights have noise on them.

    Args:
        settings: Settings of `neuron_kinds`, of a single part.
        inputs: FeatureDistribution of the densities.
        seed: Seed of the noise and of the control's features.
    """
    runs = len(settings.pairs) + 1
    model = _random_models(settings, seed, inputs.density.device)
    model = model.select(torch.arange(1, runs + 1).repeat(inputs.instances))
    generator = torch.Generator().manual_seed(seed ^ CONTROL_STREAM)
    for _ in range(settings.first + 1):  # a part's features do not depend on how many parts follow
        drawn = torch.randperm(2 * settings.unordered, generator=generator)
    chosen = [torch.arange(count) for count in settings.pairs] + [drawn[: settings.unordered]]
    for k in range(inputs.instances):
        for place, features in enumerate(chosen):
            _give_neurons(model, runs * k + place, features, inputs.density[k])
    return model


def _random_models(settings, seed, device):
    """Return the initial weights of a part: the fresh model, and noise for those constructed."""
    runs = len(settings.pairs) + 2
    before = runs * settings.first
    model = AbsoluteValueModel(
        before + runs,
        settings.features,
        settings.hidden,
        seed=seed,
        device=device,
        init_scale=settings.init_scale,
    )
    return model.select(slice(before, None))


def handmade(settings, inputs) -> AbsoluteValueModel:
    """Return the model made by hand at each density: all neurons compute a side of one feature.

    The most important features have two neurons each, and the others are ignored.

    Args:
        settings: Settings of `neuron_kinds`.
        inputs: FeatureDistribution of the densities.
    """
    model = AbsoluteValueModel(
        inputs.instances, settings.features, settings.hidden, device=inputs.density.device
    )
    for weights in model.parameters():
        weights.data.zero_()
    for k in range(inputs.instances):
        _give_neurons(model, k, torch.arange(settings.hidden // 2), inputs.density[k])
    return model


def _give_neurons(model, instance, features, density):
    """Add to an instance two neurons for each of some features, one for each of its sides.

    The other outputs get their mean as bias.
    """
    positive = 2 * torch.arange(len(features))
    negative = positive + 1
    model.b.data[instance] = density / 2
    model.b.data[instance, features] = 0
    model.W1.data[instance, positive, features] += 1
    model.W1.data[instance, negative, features] -= 1
    model.W2.data[instance, features, positive] += 1
    model.W2.data[instance, features, negative] += 1
