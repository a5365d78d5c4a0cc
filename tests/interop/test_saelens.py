"""Files for SAELens, read by hand and sampled as SAELens samples; `make interop` runs the original.

The sampling below follows the description in interop/saelens.py.
"""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load
from scipy.special import ndtri
from scipy.stats import multivariate_normal

import zoo
from features import FeatureDistribution, Uniform
from interop import saelens
from models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from storage import Stored, read

ROWS = 20_000
SHOWN = 1 - 0.0416323  # share of normal values of mean 1/2 and variance 1/12 that are above 0
few_examples = settings(max_examples=25, deadline=None)


def exported(**inputs):
    """Return the tensors, the config and the hierarchy for certain inputs, and what is lost."""
    distribution = FeatureDistribution(**inputs)
    model = ReLUOutputModel(1, distribution.features, 2, seed=1)
    files, lost = saelens.exported(Stored(model, distribution, {"seed": None}))
    config = json.loads(files["synthetic_model_config.json"])
    hierarchy = json.loads(files["hierarchy.json"])
    return load(files["synthetic_model.safetensors"]), config, hierarchy, lost


def fires(tensors, config, hierarchy, generator):
    """Draw whether each feature has a value above 0, (ROWS, features)."""
    probability = tensors["firing_probabilities"]
    if "correlation_factor" in tensors:
        factor = tensors["correlation_factor"]
        own = torch.randn(ROWS, len(factor), generator=generator)
        shared = torch.randn(ROWS, factor.shape[1], generator=generator)
        normal = shared @ factor.mT + own * tensors["correlation_diag"].sqrt()
        constant = torch.tensor(config["firing_probability"]["probability"])
        fired = normal > 2**0.5 * torch.erfinv(1 - 2 * constant)
    else:
        fired = torch.rand(ROWS, len(probability), generator=generator) < probability
    normal = torch.randn(fired.shape, generator=generator)
    values = config["mean_firing_magnitudes"] + config["std_firing_magnitudes"] * normal
    active = fired & (values > 0)
    for root in hierarchy["roots"]:
        apply_hierarchy(active, root, generator)
    return active


def apply_hierarchy(active, node, generator):
    """Switch off children without their parent, and all but one of exclusive ones."""
    group = [child["feature_index"] for child in node["children"]]
    if node["feature_index"] is not None:
        active[:, group] &= active[:, [node["feature_index"]]]
    if node["mutually_exclusive_children"]:
        scores = active[:, group] * torch.rand(ROWS, len(group), generator=generator)
        active[:, group] &= scores == scores.max(dim=1, keepdim=True).values
    for child in node["children"]:
        apply_hierarchy(active, child, generator)


def assert_share(active, probability):
    """Assert how often something is the case, within six standard errors."""
    error = (probability * (1 - probability) / len(active)) ** 0.5
    assert abs(active.double().mean().item() - probability) < 6 * error + 1e-12


def test_saelens_reads_the_same_activations():
    pentagon = read(zoo.FOLDER / "pentagon")
    files, (sentence,) = saelens.exported(pentagon)
    tensors = load(files["synthetic_model.safetensors"])
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    assert shapes == {"feature_vectors": (5, 2), "bias": (2,), "firing_probabilities": (5,)}
    x = torch.rand(7, 5)
    ours = pentagon.model.encode(x.double()[None])[0].detach().float()
    torch.testing.assert_close(x @ tensors["feature_vectors"] + tensors["bias"], ours)
    config = json.loads(files["synthetic_model_config.json"])
    assert (config["num_features"], config["hidden_dim"]) == (5, 2)
    torch.testing.assert_close(tensors["firing_probabilities"], torch.full((5,), 0.05))
    assert sentence.startswith("The values from 0 to 1 cannot be said") and "4.2% of" in sentence


def test_independent_features_have_densities_of_their_own():
    tensors, _, hierarchy, lost = exported(density=[[0.1, 0.2, 0.7]])
    torch.testing.assert_close(tensors["firing_probabilities"], torch.tensor([0.1, 0.2, 0.7]))
    assert "correlation_factor" not in tensors and hierarchy == {"roots": []}
    assert len(lost) == 1


@few_examples
@given(
    sets=st.integers(1, 3),
    size=st.integers(2, 4),
    density=st.floats(0.01, 1),
    seed=st.integers(0, 2**20),
)
def test_members_of_correlated_sets_fire_together(sets, size, density, seed):
    """They share all of a normal number, to the last bit, and fire with the set's density."""
    inputs = {"density": density, "features": sets * size, "set_size": size}
    tensors, config, hierarchy, lost = exported(correlation="correlated", **inputs)
    assert (tensors["correlation_diag"] > 0).all()  # SAELens refuses others
    assert config["firing_probability"]["probability"] == density
    assert len(lost) == 1
    config["std_firing_magnitudes"] = 0.0  # all that fire are above 0
    generator = torch.Generator().manual_seed(seed)
    active = fires(tensors, config, hierarchy, generator).unflatten(1, (sets, size))
    assert torch.equal(active.all(dim=2), active.any(dim=2))
    for k in range(sets):
        assert_share(active[:, k, 0], density)
    if sets > 1:
        assert_share(active[:, 0, 0] & active[:, 1, 0], density**2)


@few_examples
@given(
    sets=st.integers(1, 3),
    size=st.integers(2, 4),
    density=st.floats(0.01, 1),
    seed=st.integers(0, 2**20),
)
def test_members_of_anticorrelated_sets_exclude_each_other(sets, size, density, seed):
    """Each has its share of the set's density, less the values that are cut off at 0."""
    inputs = {"density": density, "features": sets * size, "set_size": size}
    tensors, config, hierarchy, lost = exported(correlation="anticorrelated", **inputs)
    assert len(hierarchy["roots"]) == sets and len(lost) == 1
    generator = torch.Generator().manual_seed(seed)
    active = fires(tensors, config, hierarchy, generator).unflatten(1, (sets, size))
    assert (active.sum(dim=2) <= 1).all()
    for k in range(sets):
        for member in range(size):
            assert_share(active[:, k, member], density / size * SHOWN)


def test_children_fire_with_their_parents_alone():
    """Values that are cut off at 0 take as large a share from children as from all features."""
    density = [[0.6, 0.3, 0.1, 0.2, 0.5]]
    tensors, config, hierarchy, lost = exported(density=density, parents=(None, 0, 1, 0, None))
    assert [root["feature_index"] for root in hierarchy["roots"]] == [0]
    active = fires(tensors, config, hierarchy, torch.Generator().manual_seed(0))
    for child, parent in ((1, 0), (2, 1), (3, 0)):
        assert (active[:, parent] | ~active[:, child]).all()
    for feature, expected in enumerate(density[0]):
        assert_share(active[:, feature], expected * SHOWN)
    assert_share(active[:, 1] & active[:, 3], 0.3 * 0.2 / 0.6 * SHOWN)
    assert len(lost) == 1


def test_children_as_dense_as_their_parents_are_told():
    tensors, _, _, lost = exported(density=[[0.4, 0.4]], parents=(None, 0))
    assert tensors["firing_probabilities"].tolist() == [pytest.approx(0.4), 1.0]
    assert lost[1].startswith("Children that are nearly as dense as their parents")
    _, _, _, lost = exported(density=[[0.4, 0.4]], parents=(None, 0), values=1)
    assert lost == []


def test_values_are_normal_or_one_number():
    _, config, _, lost = exported(density=0.1, features=3, values=2.5)
    assert (config["mean_firing_magnitudes"], config["std_firing_magnitudes"]) == (2.5, 0)
    assert lost == []
    _, config, _, (sentence,) = exported(density=0.1, features=3, values=Uniform(3, 5))
    assert config["mean_firing_magnitudes"] == 4
    assert config["std_firing_magnitudes"] == pytest.approx(1 / 3**0.5)
    assert sentence.startswith("The values from 3 to 5 cannot be said") and "cut" not in sentence
    _, config, _, (sentence,) = exported(density=0.1, features=3, values=(1, 3))
    assert (config["mean_firing_magnitudes"], config["std_firing_magnitudes"]) == (2, 1)
    assert sentence.startswith("The values 1, 3 cannot be said")


@given(density=st.floats(1e-6, 1 - 1e-6), strength=st.floats(0.001, 0.999))
def test_shared_variance_against_the_bivariate_normal_distribution(density, strength):
    """Both normal numbers are above the threshold as often as both features are active."""
    shared = saelens.shared_variance(density, strength)
    threshold = -ndtri(density)
    covariance = [[1, shared], [shared, 1]]
    both = multivariate_normal([0, 0], covariance, allow_singular=True).cdf([-threshold] * 2)
    expected = strength * density + (1 - strength) * density**2
    assert both == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_shared_variance_at_the_ends():
    assert saelens.shared_variance(0.5, 0.5) == pytest.approx(math.sin(math.pi / 4))  # Sheppard
    assert saelens.shared_variance(0.3, 1.0) == 1
    assert saelens.shared_variance(1.0, 0.5) == 1
    assert saelens.shared_variance(0.0, 0.5) == 1


def test_graded_correlation_of_pairs():
    pairs = {"features": 4, "set_size": 2, "correlation": "correlated", "strength": 0.5}
    tensors, config, hierarchy, lost = exported(density=0.3, values=1, **pairs)
    variance = tensors["correlation_factor"].square().sum(dim=1) + tensors["correlation_diag"]
    torch.testing.assert_close(variance, torch.ones(4))
    active = fires(tensors, config, hierarchy, torch.Generator().manual_seed(0))
    assert_share(active[:, 0], 0.3)
    assert_share(active[:, 0] & active[:, 1], 0.5 * 0.3 + 0.5 * 0.3**2)
    assert_share(active[:, 0] & active[:, 2], 0.3**2)
    assert lost == []


def test_graded_correlation_of_more_than_pairs_is_told():
    threes = {"features": 6, "set_size": 3, "correlation": "correlated", "strength": 0.5}
    _, _, _, lost = exported(density=0.3, values=1, **threes)
    assert len(lost) == 1 and lost[0].startswith("A correlation of 0.5 can be said of pairs only")


def test_sets_of_one_are_independent():
    for correlation in ("correlated", "anticorrelated"):
        tensors, _, hierarchy, _ = exported(density=[[0.1, 0.2]], correlation=correlation)
        assert "correlation_factor" not in tensors and hierarchy == {"roots": []}
        torch.testing.assert_close(tensors["firing_probabilities"], torch.tensor([0.1, 0.2]))


def test_correlated_sets_of_different_densities_are_told():
    inputs = {"density": [[0.1, 0.1, 0.3, 0.3]], "set_size": 2, "correlation": "correlated"}
    tensors, config, _, lost = exported(**inputs)
    assert config["firing_probability"]["probability"] == pytest.approx(0.2)
    torch.testing.assert_close(tensors["firing_probabilities"], torch.full((4,), 0.2))
    assert lost[1:] == ["Correlated sets have one density: the mean is written."]


def test_a_density_that_float32_cannot_tell_is_told():
    sets = {"features": 4, "set_size": 2, "correlation": "correlated"}
    _, _, _, lost = exported(density=1e-8, **sets)
    assert len(lost) == 2 and "cannot be said in float32" in lost[1]
    _, _, _, lost = exported(density=1e-3, **sets)
    assert len(lost) == 1


@pytest.mark.parametrize("model_class", [ReLUHiddenModel, AbsoluteValueModel])
def test_other_models_are_refused(model_class):
    with pytest.raises(ValueError, match="class: expected LinearModel or ReLUOutputModel, got"):
        saelens.exported(Stored(model_class(1, 4, 2), None, {"seed": None}))


def test_other_inputs_are_refused():
    model = LinearModel(1, 4, 2)
    signed = FeatureDistribution(0.1, features=4, signed=True)
    with pytest.raises(ValueError, match="values: expected none below 0"):
        saelens.exported(Stored(model, signed, {"seed": None}))
    with pytest.raises(ValueError, match="distribution: expected one"):
        saelens.exported(Stored(model, None, {"seed": None}))
