"""spd: the toy models of goodfire-ai/spd, whose parameters that code decomposes.

    model = TMSModel.from_pretrained("DIR/tms.pth")
    train_config = TMSTargetRunInfo.from_path("DIR/tms.pth").config
    _, loader = get_model_and_dataloader(train_config, "cpu")

`tms.pth` holds `linear1.weight` = W (hidden, features), `linear2.weight` = W^T and `linear2.bias`
= b. `tms_train_config.yaml` holds a TMSTrainConfig.

Source: goodfire-ai/spd, models.py of spd/experiments/tms at commit 07b6603, its train_tms.py at
3144e5e, its configs.py at 03899a1, and spd/utils/data_utils.py at 34cbd7a. Read, not run.
"""

import io
import json

import torch

from checks import check_count, check_positive
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
from models import ReLUOutputModel


def exported(stored) -> Exported:
    """Export a model of one instance.

    Args:
        stored: A ReLUOutputModel, as spd's model has no ReLU in the hidden layer and one in the
            output.

    Returns:
        The files `tms.pth` and `tms_train_config.yaml`, and what spd cannot say: importances,
        densities that differ from feature to feature, values other than uniform ones from 0 to 1,
        and dependent features other than sets that are always active together or a single set with
        exactly one active member. Of the training, the config repeats what both know: steps, batch
        size, learning rate and its schedule, seed.

    Raises:
        ValueError: If the model is of another class or has several instances, or if its config
            says of the training what is no such setting.
    """
    check_class(stored, ReLUOutputModel)
    check_one_instance(stored)
    W = stored.model.W[0].detach().float()
    b = stored.model.b[0].detach().float()
    state = {
        "linear1.weight": W.clone(),
        "linear2.weight": W.mT.contiguous(),
        "linear2.bias": b.clone(),
    }
    file = io.BytesIO()
    torch.save(state, file)  # spd reads nothing else; it does so with weights_only=True
    inputs, lost = _inputs(stored.distribution)
    lines = [*_sizes(stored.model), *_training(stored.config), *inputs]
    text = "\n".join(lines) + "\n"
    files = {"tms.pth": file.getvalue(), "tms_train_config.yaml": text.encode(encoding="utf-8")}
    return Exported(files, lost)


def _sizes(model):
    """Return the lines of the config on the model."""
    return [
        "wandb_project: null",
        "tms_model_config:",
        f"  n_features: {model.features}",
        f"  n_hidden: {model.hidden}",
        "  n_hidden_layers: 0",
        "  tied_weights: true",
        "  init_bias_to_zero: true",
        "  device: cpu",
    ]


def _training(config):
    """Return the lines of the config on the training."""
    known = config["training"] or {}
    batch_size = check_count("training: batch_size", known.get("batch_size", 256))
    steps = check_count("training: steps", known.get("steps", 1))
    lr = check_positive("training: lr", known.get("lr", 0.01))
    return [
        f"batch_size: {batch_size}",
        f"steps: {steps}",
        f"seed: {config['seed'] or 0}",
        f"lr: {_yaml_number(lr)}",
        f"lr_schedule: {'constant' if known.get('schedule') == 'constant' else 'cosine'}",
    ]


def _inputs(inputs):
    """Return the lines of the config on the inputs, and what they cannot say."""
    if inputs is None:
        lines = ["feature_probability: 0.0", "data_generation_type: at_least_zero_active"]
        return lines, ["The inputs are unknown: feature_probability 0 is written."]

    lost = []
    probability = common_value(feature_density(inputs))
    generation = "at_least_zero_active"
    synced = "null"
    if (inputs.density != inputs.density[0, 0]).any():
        lost.append("All features have one feature_probability: the mean density is written.")
    kind = dependence(inputs)
    if kind == "correlated" and inputs.strength == 1:
        # In spd each member draws for itself, and one that is active takes the set along.
        probability = 1 - (1 - probability) ** (1 / inputs.set_size)
        synced = json.dumps(_sets(inputs))
    elif kind == "anticorrelated" and _is_one_active_set(inputs):
        generation = "exactly_one_active"
    elif kind != "independent":
        lost.append(f"Such {kind} features cannot be said: they are written as independent.")
    if inputs.values != Uniform():
        given = shown_values(inputs.values)
        lost.append(f"The {given} cannot be said: spd draws {shown_values(Uniform())}.")
    if (inputs.importance != 1).any():
        lost.append("Importance cannot be said: all features count alike.")
    lines = [
        f"feature_probability: {_yaml_number(probability)}",
        f"data_generation_type: {generation}",
        f"synced_inputs: {synced}",
    ]
    return lines, lost


def _is_one_active_set(inputs):
    """Whether all features form one set that is always active."""
    return inputs.members == inputs.features and bool((inputs.density == 1).all())


def _sets(inputs):
    """Return the members of each set by their indices."""
    size = inputs.set_size
    return [[*range(first, first + size)] for first in range(0, inputs.features, size)]


def _yaml_number(value):
    """Return a number as YAML 1.1 reads it, to which 5e-05 is text and 5.0e-05 a number."""
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")
