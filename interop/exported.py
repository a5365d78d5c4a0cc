"""What all exporters share."""

from typing import NamedTuple

from jaxtyping import Float64
from torch import Tensor

from storage import known_class


class Exported(NamedTuple):
    """A model in another tool's format.

    Attributes:
        files: Content of each file by its name.
        lost: What the format cannot say of the model and its inputs, a sentence each.
    """

    files: dict[str, bytes]
    lost: list[str]


def check_class(stored, *accepted):
    """Refuse a model whose class a format cannot hold, and one that is none of the toy models."""
    model_class = known_class(stored.model)
    if model_class not in accepted:
        names = " or ".join(each.__name__ for each in accepted)
        raise ValueError(f"class: expected {names}, got {model_class.__name__}")
    return model_class


def check_one_instance(stored):
    """Refuse a model of several instances."""
    count = stored.model.instances
    if count != 1:
        raise ValueError(f"instances: expected a model of one instance, got {count}")


def common_value(values) -> float:
    """Return the number that all of some values are, or else their mean."""
    first = values.flatten()[0]
    return (first if (values == first).all() else values.mean()).item()


def dependence(inputs) -> str:
    """Return in one word how features depend on each other.

    Returns:
        "nested", "correlated" or "anticorrelated"; otherwise "independent", as features are too in
        sets of one feature and in correlated sets of strength 0.
    """
    if inputs.parents is not None:
        return "nested"
    if inputs.members == 1 or inputs.strength == 0:
        return "independent"
    return inputs.correlation


def feature_density(inputs) -> Float64[Tensor, "instances features"]:
    """Return how probable it is that each feature is active, which a set's members share out."""
    if inputs.correlation == "anticorrelated":
        return inputs.density / inputs.set_size
    return inputs.density


def shown_values(values) -> str:
    """Return the values of active features in words."""
    if isinstance(values, tuple):
        return "values " + ", ".join(f"{value:g}" for value in values)
    return f"values from {values.low:g} to {values.high:g}"
