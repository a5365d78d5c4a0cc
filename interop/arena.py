"""ARENA: the toy models of ARENA 3.0's exercises on superposition.

ARENA has no files of its own. `arena.safetensors` holds the parameters under ARENA's names, and
`arena.json` names the class and holds the arguments that it is made from:

    made = json.load(open("DIR/arena.json"))
    probability = torch.tensor(made["feature_probability"])
    importance = torch.tensor(made["importance"])
    model = ToyModel(ToyModelConfig(**made["config"]), probability, importance)
    model.load_state_dict(load_file("DIR/arena.safetensors"))

Source: copies of the exercises, "Superposition and SAEs" of chapter 1. solutions.py in
connor-henderson/ARENA_3.0 at commit 1fcea5f has the three classes; later copies have the names
that are written here, n_inst and d_hidden, and the same parameters. Read, not run.
"""

import json

import safetensors.torch

from features import Uniform
from interop.exported import Exported, check_class, dependence, feature_density, shown_values
from models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel

CLASSES = {
    ReLUOutputModel: "ToyModel",
    ReLUHiddenModel: "NeuronModel",
    AbsoluteValueModel: "NeuronComputationModel",
}
PARAMETERS = {"W": "W", "W1": "W1", "W2": "W2", "b": "b_final"}  # ARENA's shapes are ours
PAIRS = {"correlated": "n_correlated_pairs", "anticorrelated": "n_anticorrelated_pairs"}


def exported(stored) -> Exported:
    """Export a model of any number of instances.

    Args:
        stored: A model with a ReLU in the output, as all of ARENA's have one.

    Returns:
        The files `arena.safetensors` and `arena.json`, and what ARENA cannot say: dependent
        features other than pairs that are always or never active together, pairs of different
        densities, and values other than uniform ones from 0 to 1. The inputs of the model of
        absolute values are always independent, with values from -1 to 1.

    Raises:
        ValueError: If the model has no ReLU in the output.
    """
    class_name = CLASSES[check_class(stored, *CLASSES)]
    model = stored.model
    tensors = {
        PARAMETERS[name]: value.detach().float().contiguous()
        for name, value in model.named_parameters()
    }
    made, lost = _arguments(class_name, model, stored.distribution)
    files = {
        "arena.safetensors": safetensors.torch.save(tensors),
        "arena.json": (json.dumps(made, indent=2) + "\n").encode(encoding="utf-8"),
    }
    return Exported(files, lost)


def _arguments(class_name, model, inputs):
    """Return the class and the arguments of ARENA's model, and what they cannot say."""
    config = {
        "n_inst": model.instances,
        "n_features": model.features,
        "d_hidden": model.hidden,
        "n_correlated_pairs": 0,
        "n_anticorrelated_pairs": 0,
        "feat_mag_distn": "unif",
    }
    made = {"class": class_name, "config": config}
    if inputs is None:
        made |= {"feature_probability": 0.0, "importance": 1.0}
        return made, ["The inputs are unknown: feature_probability 0 is written."]

    lost = []
    density = feature_density(inputs)
    draws_absolute = class_name == CLASSES[AbsoluteValueModel]
    kind = dependence(inputs)
    if inputs.members == 2 and inputs.strength == 1 and kind in PAIRS and not draws_absolute:
        config[PAIRS[kind]] = model.features // 2
        if (density != density[:, :1]).any():
            lost.append("Pairs have one density in an instance: its mean is written.")
            density = density.mean(dim=1, keepdim=True).expand_as(density)
    elif kind != "independent":
        lost.append(f"Such {kind} features cannot be said: they are written as independent.")
    drawn = Uniform(-1, 1) if draws_absolute else Uniform()
    if inputs.values != drawn:
        given = shown_values(inputs.values)
        lost.append(f"The {given} cannot be said: ARENA draws {shown_values(drawn)}.")
    made |= {"feature_probability": density.tolist(), "importance": inputs.importance.tolist()}
    return made, lost
