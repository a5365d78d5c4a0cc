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

from interop.exported import Exported, check_class, feature_density
from models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel

CLASSES = {
    ReLUOutputModel: "ToyModel",
    ReLUHiddenModel: "NeuronModel",
    AbsoluteValueModel: "NeuronComputationModel",
}
PARAMETERS = {"W": "W", "W1": "W1", "W2": "W2", "b": "b_final"}  # ARENA's shapes are ours
PAIR_COUNTS = {"correlated": "n_correlated_pairs", "anticorrelated": "n_anticorrelated_pairs"}


def exported(stored) -> Exported:
    """Export a model of any number of instances.

    Args:
        stored: A model with a ReLU in the output, as all of ARENA's have one.

    Returns:
        The files `arena.safetensors` and `arena.json`, and what ARENA cannot say: sets of other
        than two features, pairs of different densities, and signed values but for the model of
        absolute values, whose inputs are always signed and independent.

    Raises:
        ValueError: If the model has no ReLU in the output.
    """
    check_class(stored, *CLASSES)
    model = stored.model
    tensors = {
        PARAMETERS[name]: value.detach().float().contiguous()
        for name, value in model.named_parameters()
    }
    made, lost = _arguments(model, stored.distribution)
    files = {
        "arena.safetensors": safetensors.torch.save(tensors),
        "arena.json": (json.dumps(made, indent=2) + "\n").encode(encoding="utf-8"),
    }
    return Exported(files, lost)


def _arguments(model, inputs):
    """Return the class and the arguments of ARENA's model, and what they cannot say."""
    config = {
        "n_inst": model.instances,
        "n_features": model.features,
        "d_hidden": model.hidden,
        "n_correlated_pairs": 0,
        "n_anticorrelated_pairs": 0,
        "feat_mag_distn": "unif",
    }
    made = {"class": CLASSES[type(model)], "config": config}
    if inputs is None:
        made |= {"feature_probability": 0.0, "importance": 1.0}
        return made, ["The inputs are unknown: feature_probability 0 is written."]

    lost = []
    density = feature_density(inputs)
    draws_pairs = type(model) is not AbsoluteValueModel
    if inputs.members == 2 and draws_pairs:
        config[PAIR_COUNTS[inputs.correlation]] = model.features // 2
        if (density != density[:, :1]).any():
            lost.append("Pairs have one density in an instance: its mean is written.")
            density = density.mean(dim=1, keepdim=True).expand_as(density)
    elif inputs.members > 1:
        lost.append(
            f"{inputs.correlation} sets of {inputs.members} cannot be said: the features are "
            "written as independent."
        )
    if inputs.signed and draws_pairs:
        lost.append("Signed values cannot be said: active values are drawn from 0 to 1.")
    if not inputs.signed and not draws_pairs:
        lost.append("Values of one sign cannot be said: active values are drawn from -1 to 1.")
    made |= {"feature_probability": density.tolist(), "importance": inputs.importance.tolist()}
    return made, lost
