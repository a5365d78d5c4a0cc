"""SAELens: a synthetic model, on whose hidden activations it trains sparse autoencoders.

    model = SyntheticModel.load_from_disk("DIR")
    train_toy_sae(sae, model.feature_dict, model.activation_generator)

Its hidden activations are feature values times `feature_vectors` (features, hidden), the columns
of W, plus a bias. That bias belongs to the hidden layer, so it is 0 here; b, which belongs to the
output, has no place in the format.

Whether a feature fires is drawn in one of two ways. Independent features fire with their
`firing_probabilities`. With a `correlation_factor`, a normal number is drawn for each feature and
compared with a threshold that the loader computes from the config's probability. Afterwards
`hierarchy.json` switches off all but one of the features that exclude each other.

Source: SAELens 6.54.12, sae_lens/synthetic. `make interop` runs it on every exported model.
"""

import json

import safetensors.torch
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from interop.exported import (
    Exported,
    check_class,
    check_one_instance,
    common_value,
    feature_density,
)
from models import LinearModel, ReLUOutputModel

MEAN = 0.5  # of a uniform value
STD = (1 / 12) ** 0.5
CUT = torch.special.ndtr(torch.tensor(-MEAN / STD, dtype=torch.float64)).item()
# Own variance of a feature in a correlated set. SAELens accepts none of 0; this one is lost when it
# is added in float32, so that all members have the same normal number.
OWN_VARIANCE = 1e-30
COARSE = 0.01  # relative error of a threshold's probability from which it is mentioned


def exported(stored) -> Exported:
    """Export a model of one instance.

    Args:
        stored: A model with a linear hidden layer, of which the inputs are known and not signed,
            as SAELens cuts values off at 0.

    Returns:
        The files `synthetic_model.safetensors`, `synthetic_model_config.json` and `hierarchy.json`,
        and what SAELens cannot say: uniform values, and different densities of correlated sets.

    Raises:
        ValueError: If the model or its inputs are others.
    """
    check_class(stored, LinearModel, ReLUOutputModel)
    check_one_instance(stored)
    inputs = stored.distribution
    if inputs is None:
        raise ValueError("distribution: expected one in the model's config, got None")
    if inputs.signed:
        raise ValueError("signed: expected false, as SAELens cuts values off at 0, got true")
    probability = firing_probabilities(inputs)
    tensors = {
        "feature_vectors": stored.model.W[0].detach().mT.float().contiguous(),
        "bias": torch.zeros(stored.model.hidden),
        "firing_probabilities": probability.float(),
    }
    if _is_in_sets(inputs, "correlated"):
        tensors["correlation_factor"] = correlation_factor(inputs)
        tensors["correlation_diag"] = torch.full((inputs.features,), OWN_VARIANCE)
    config = _config(stored, common_value(probability))
    files = {
        "synthetic_model.safetensors": safetensors.torch.save(tensors),
        "synthetic_model_config.json": _json(config),
        "hierarchy.json": _json({"roots": _exclusive_groups(inputs)}),
    }
    return Exported(files, _lost(inputs))


def firing_probabilities(inputs) -> Float64[Tensor, " features"]:
    """Return with which probability each feature fires before SAELens switches any off.

    SAELens draws anticorrelated features independently. Among those of a set whose value is above
    0 it chooses one at random. A value is cut off at 0 with probability c, so that a set of k
    features that fire with probability q is active with probability 1 - (1 - q (1 - c))^k. This is
    solved for q, where the set should be active with probability p (1 - c) as all features are.
    """
    density = inputs.density[0]
    if _is_in_sets(inputs, "anticorrelated"):
        seen = density * (1 - CUT)
        return -torch.expm1(torch.log1p(-seen) / inputs.set_size) / (1 - CUT)
    if _is_in_sets(inputs, "correlated"):
        return torch.full_like(density, common_value(density))
    return feature_density(inputs)[0]


def correlation_factor(inputs) -> Float[Tensor, "features sets"]:
    """Return how much of its set's normal number each feature takes: all of it."""
    sets = torch.eye(inputs.features // inputs.set_size)
    return sets.repeat_interleave(inputs.set_size, dim=0)


def _is_in_sets(inputs, correlation):
    """Whether features come in sets of more than one, with this correlation."""
    return inputs.members > 1 and inputs.correlation == correlation


def _exclusive_groups(inputs):
    """Return the roots of SAELens's hierarchy: one for each set whose members exclude each other.

    Where there are none, a hierarchy without roots is written all the same, so that it replaces
    one of an earlier export to the same folder.
    """
    if not _is_in_sets(inputs, "anticorrelated"):
        return []
    groups = torch.arange(inputs.features).unflatten(0, (-1, inputs.set_size)).tolist()
    return [
        {
            "feature_index": None,
            "mutually_exclusive_children": True,
            "children": [{"feature_index": feature} for feature in group],
        }
        for group in groups
    ]


def _config(stored, probability):
    """Return SAELens's SyntheticModelConfig, with one probability for all features."""
    return {
        "num_features": stored.model.features,
        "hidden_dim": stored.model.hidden,
        "firing_probability": {"generator_name": "constant", "probability": probability},
        "hierarchy": None,
        "orthogonalization": None,
        "correlation": None,
        "std_firing_magnitudes": STD,
        "mean_firing_magnitudes": MEAN,
        "bias": False,
        "dtype": "float32",
        "seed": stored.config["seed"],
    }


def _lost(inputs):
    """Return what SAELens cannot say of the inputs."""
    lost = [
        "Uniform values cannot be said: normal values of the same mean and variance are written, "
        f"which SAELens cuts off at 0, so that {CUT:.0%} of the active features are 0."
    ]
    if _is_in_sets(inputs, "correlated"):
        density = inputs.density[0]
        if (density != density[0]).any():
            lost.append("Correlated sets have one density: the mean is written.")
        probability = torch.tensor(common_value(density), dtype=torch.float64)
        drawn = (1 - (1 - 2 * probability).float().double()) / 2
        if (drawn - probability).abs() > COARSE * probability:
            lost.append(
                f"A density of {probability:g} of correlated sets cannot be said in float32: "
                f"it is {drawn:g}."
            )
    return lost


def _json(content):
    """Return the bytes of a JSON file."""
    return (json.dumps(content, indent=2) + "\n").encode(encoding="utf-8")
