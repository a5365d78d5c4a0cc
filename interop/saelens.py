"""SAELens: a synthetic model, on whose hidden activations it trains sparse autoencoders.

    model = SyntheticModel.load_from_disk("DIR")
    train_toy_sae(sae, model.feature_dict, model.activation_generator)

Its hidden activations are feature values times `feature_vectors` (features, hidden), the columns
of W, plus a bias. That bias belongs to the hidden layer, so it is 0 here; b, which belongs to the
output, has no place in the format.

SAELens draws a row in three steps.

1. Which features fire. Each does so with its `firing_probabilities`. With a `correlation_factor`,
   instead, a normal number is drawn for each feature, made of normal numbers that features share
   and one of its own. The feature fires if its number is above a threshold, which the loader
   computes from the probability in the config, one for all features.
2. The values of those that fire: normal numbers, which are cut off at 0.
3. `hierarchy.json` switches features off: children whose parent's value is 0, and all but one, at
   random, of features that exclude each other and have values above 0.

Source: SAELens 6.54.12, sae_lens/synthetic. `make interop` runs it on every exported model.
"""

import json
import math

import safetensors.torch
import torch
from jaxtyping import Float64
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from torch import Tensor

from features import Uniform
from interop.exported import (
    Exported,
    check_class,
    check_one_instance,
    common_value,
    dependence,
    feature_density,
    shown_values,
)
from models import LinearModel, ReLUOutputModel

# Variance of a feature's own normal number if its set is always active together. SAELens demands
# one above 0. This one is lost in float32 when it is added, so that all members fire together.
LEAST_VARIANCE = 1e-30
COARSE = 0.01  # relative error of a threshold's probability from which it is mentioned
RARE_CUT = (
    1e-6  # share of active features with a value cut off at 0 up to which it is not mentioned
)


def exported(stored) -> Exported:
    """Export a model of one instance.

    Args:
        stored: A model with a linear hidden layer, whose inputs are known and have no values below
            0, as SAELens cuts values off there.

    Returns:
        The files `synthetic_model.safetensors`, `synthetic_model_config.json` and `hierarchy.json`,
        and what SAELens cannot say: values other than a single number, correlated sets of different
        densities, more than the pairs in sets of graded correlation, and children that are nearly
        as dense as their parents.

    Raises:
        ValueError: If the model or its inputs are others.
    """
    check_class(stored, LinearModel, ReLUOutputModel)
    check_one_instance(stored)
    inputs = stored.distribution
    if inputs is None:
        raise ValueError("distribution: expected one in the model's config, got None")
    if lowest_value(inputs) < 0:
        got = shown_values(inputs.values)
        raise ValueError(f"values: expected none below 0, where SAELens cuts them off, got {got}")
    probability = firing_probabilities(inputs)
    tensors = {
        "feature_vectors": stored.model.W[0].detach().mT.float().contiguous(),
        "bias": torch.zeros(stored.model.hidden),
        "firing_probabilities": probability.float(),
    }
    if dependence(inputs) == "correlated":
        tensors |= correlation(inputs)
    files = {
        "synthetic_model.safetensors": safetensors.torch.save(tensors),
        "synthetic_model_config.json": _json(_config(stored, common_value(probability))),
        "hierarchy.json": _json({"roots": hierarchy(inputs)}),
    }
    return Exported(files, _lost(inputs))


def lowest_value(inputs) -> float:
    """Return the lowest value of an active feature."""
    return inputs.values.low if isinstance(inputs.values, Uniform) else min(inputs.values)


def value_mean_and_std(inputs) -> tuple[float, float]:
    """Return the mean and the standard deviation of the values of an active feature."""
    values = inputs.values
    if isinstance(values, Uniform):
        return (values.low + values.high) / 2, (values.high - values.low) / math.sqrt(12)
    deviation, mean = torch.std_mean(torch.tensor(values, dtype=torch.float64), correction=0)
    return mean.item(), deviation.item()


def cut_share(inputs) -> float:
    """Return the probability with which SAELens cuts the value of a feature that fires off at 0."""
    mean, std = value_mean_and_std(inputs)
    return float(ndtr(-mean / std)) if std > 0 else 0.0


def firing_probabilities(inputs) -> Float64[Tensor, " features"]:
    """Return with which probability each feature fires before SAELens switches any off.

    With probability c, the value of a feature that fires is cut off at 0, and SAELens counts the
    feature as inactive. The probabilities are such that every feature of density p is active with
    probability p (1 - c):

    - The k members of an anticorrelated set fire independently, and one of the active members is
      kept. If each fires with probability q, the set is active with probability
      1 - (1 - q (1 - c))^k.
    - A child is kept only where its parent is active. If it fires with probability q, it is active
      with probability q (1 - c) times the probability of its parent.
    """
    density = inputs.density[0]
    shown = 1 - cut_share(inputs)  # share of the features that fire whose value is above 0
    kind = dependence(inputs)
    if kind == "anticorrelated":
        return -torch.expm1(torch.log1p(-density * shown) / inputs.set_size) / shown
    if kind == "nested":
        return torch.where(_has_parent(inputs), _given_parent(inputs) / shown, density).clamp(max=1)
    if kind == "correlated":
        return torch.full_like(density, common_value(density))
    return feature_density(inputs)[0]


def correlation(inputs) -> dict[str, Tensor]:
    """Return `correlation_factor` (features, sets) and `correlation_diag` (features,).

    The members of a set share one normal number, of the variance that makes two members active
    together as often as in our rows. The rest of the variance is each member's own.
    """
    shared = shared_variance(common_value(inputs.density[0]), inputs.strength)
    sets = torch.eye(inputs.features // inputs.set_size)
    factor = math.sqrt(shared) * sets.repeat_interleave(inputs.set_size, dim=0)
    own = torch.full((inputs.features,), max(1 - shared, LEAST_VARIANCE))
    return {"correlation_factor": factor, "correlation_diag": own}


def shared_variance(density, strength) -> float:
    """Return the correlation of two normal numbers that makes two features active together.

    Both are above the threshold t of a density p with probability p^2 plus the integral of
    exp(-t^2 / (1 + sin a)) / (2 pi) over angles a from 0 to the arcsine of the correlation
    (Drezner and Wesolowsky, 1990). This is solved for the probability in our rows,
    p^2 + strength p (1 - p).

    Args:
        density: Density of both features.
        strength: Correlation of their activities.
    """
    if strength == 1 or density in (0, 1):
        return 1.0
    threshold = ndtri(1 - density)

    def excess(angle):
        """Return by how much two features are active together more often than in our rows."""
        integral, _ = quad(
            lambda a: math.exp(-(threshold**2) / (1 + math.sin(a))), 0, angle, epsabs=0
        )
        return integral / (2 * math.pi) - strength * density * (1 - density)

    if excess(math.pi / 2) <= 0:  # by rounding, for a strength next to 1
        return 1.0
    return math.sin(brentq(excess, 0, math.pi / 2, xtol=1e-14))


def hierarchy(inputs) -> list[dict]:
    """Return the roots of SAELens's hierarchy.

    Each anticorrelated set has a root that is no feature and whose children exclude each other.
    Features that have children without having a parent are roots, too. Where there are none, a
    hierarchy without roots is written all the same, so that it replaces one of an earlier export to
    the same folder.
    """
    kind = dependence(inputs)
    if kind == "anticorrelated":
        sets = torch.arange(inputs.features).unflatten(0, (-1, inputs.set_size)).tolist()
        return [_node(None, [_node(feature, []) for feature in members]) for members in sets]
    if kind == "nested":
        nodes = [_node(feature, []) for feature in range(inputs.features)]
        for child, parent in enumerate(inputs.parents):
            if parent is not None:
                nodes[parent]["children"].append(nodes[child])
        roots = [nodes[k] for k, parent in enumerate(inputs.parents) if parent is None]
        return [root for root in roots if root["children"]]
    return []


def _node(feature, children):
    """Return a node of SAELens's hierarchy."""
    return {
        "feature_index": feature,
        "mutually_exclusive_children": feature is None,
        "children": children,
    }


def _has_parent(inputs):
    """Return for each feature whether it has a parent."""
    return torch.tensor([parent is not None for parent in inputs.parents])


def _given_parent(inputs):
    """Return with which probability each feature is active where its parent is, if it has one."""
    density = inputs.density[0]
    parents = torch.tensor([parent or 0 for parent in inputs.parents])
    return torch.where(density > 0, density / density[parents], 0)


def _config(stored, probability):
    """Return SAELens's SyntheticModelConfig, with one probability for all features."""
    mean, std = value_mean_and_std(stored.distribution)
    return {
        "num_features": stored.model.features,
        "hidden_dim": stored.model.hidden,
        "firing_probability": {"generator_name": "constant", "probability": probability},
        "hierarchy": None,
        "orthogonalization": None,
        "correlation": None,
        "std_firing_magnitudes": std,
        "mean_firing_magnitudes": mean,
        "bias": False,
        "dtype": "float32",
        "seed": stored.config["seed"],
    }


def _lost(inputs):
    """Return what SAELens cannot say of the inputs."""
    lost = []
    _, std = value_mean_and_std(inputs)
    cut = cut_share(inputs)
    if std > 0:
        sentence = (
            f"The {shown_values(inputs.values)} cannot be said: normal ones of the same mean and "
            "variance are written"
        )
        if cut > RARE_CUT:
            sentence += f", cut off at 0, so that {cut:.1%} of the active features are 0"
        lost.append(sentence + ".")
    kind = dependence(inputs)
    if kind == "correlated":
        lost += _lost_in_correlated_sets(inputs)
    if kind == "nested" and (_given_parent(inputs) > 1 - cut)[_has_parent(inputs)].any():
        lost.append(
            "Children that are nearly as dense as their parents cannot be said: where a value of "
            "the parent is cut off, they are 0 as well."
        )
    return lost


def _lost_in_correlated_sets(inputs):
    """Return what SAELens cannot say of correlated sets."""
    lost = []
    density = inputs.density[0]
    if (density != density[0]).any():
        lost.append("Correlated sets have one density: the mean is written.")
    if inputs.strength < 1 and inputs.set_size > 2:
        lost.append(
            f"A correlation of {inputs.strength:g} can be said of pairs only: other numbers of "
            "members are active together with other probabilities."
        )
    probability = common_value(density)
    drawn = (1 - torch.tensor(1 - 2 * probability, dtype=torch.float32).double().item()) / 2
    if abs(drawn - probability) > COARSE * probability:
        lost.append(
            f"A density of {probability:g} of correlated sets cannot be said in float32: it is "
            f"{drawn:g}."
        )
    return lost


def _json(content):
    """Return the bytes of a JSON file."""
    return (json.dumps(content, indent=2) + "\n").encode(encoding="utf-8")
