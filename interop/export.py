"""Exports models to the formats that other tools read.

    python -m interop.export zoo/pentagon --to spd DIR       # DIR/tms.pth, DIR/tms_train_config.yaml
    python -m interop.export zoo/pentagon --to saelens DIR   # DIR/synthetic_model.safetensors and its config
    python -m interop.export zoo/pentagon --to arena DIR     # DIR/arena.safetensors

Read for this: goodfire-ai/spd, models.py of spd/experiments/tms at commit 07b6603, its train_tms.py at 3144e5e and
configs.py at 03899a1, spd/utils/data_utils.py at 34cbd7a; SAELens 6.54.12, which was also run: `make interop` loads
every exported model with it; ARENA 3.0, a copy of its toy models of superposition, solutions.py of chapter 1's
part4_superposition_and_saes in connor-henderson/ARENA_3.0 at commit 1fcea5f. What a format cannot say is said on
stderr; `Activations` then samples exactly.
"""

import argparse
import io
import json
import sys
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from models import LinearModel, ReLUHiddenModel, ReLUOutputModel
from storage import read
from sweeps.files import write_together


class Activations:
    """The hidden activations of a stored model of one instance, drawn from its own distribution.

    `sample` and `sample_with_features` are as of SAELens's SyntheticModel, `features` as of its ActivationGenerator:
    `train_toy_sae(sae, model.feature_dict, Activations(stored).features)` trains on exact inputs.
    Raises ValueError for a model of several instances, or one of which no distribution is known.
    """

    def __init__(self, stored, seed=0):
        _check_one(stored)
        if stored.distribution is None:
            raise ValueError("distribution: expected one in the model's config, got None")
        self.model, self.distribution = stored.model, stored.distribution
        self.generator = torch.Generator().manual_seed(seed)

    def sample(self, batch_size) -> Float[Tensor, "batch hidden"]:
        return self.sample_with_features(batch_size)[0]

    @torch.no_grad()
    def sample_with_features(
        self, batch_size
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch features"]]:
        x = self._drawn(batch_size)
        return self.model.encode(x)[0].float(), x[0].float()

    def features(self, batch_size) -> Float[Tensor, "batch features"]:
        return self._drawn(batch_size)[0].float()

    def _drawn(self, batch_size):
        return self.distribution.sample(batch_size, self.generator, dtype=self.model.b.dtype)


def spd(stored):
    """{file name: bytes} for the parameter-decomposition code, and what it cannot say.

    linear1.weight = W (hidden, features), linear2.weight = W^T, linear2.bias = b. Its model has no ReLU in the hidden
    layer and one in the output: ValueError for others.
    """
    _check_one(stored)
    if type(stored.model) is not ReLUOutputModel:
        raise ValueError(f"class: expected ReLUOutputModel, got {type(stored.model).__name__}")
    W, b = stored.model.W[0].detach().float(), stored.model.b[0].detach().float()
    state = {
        "linear1.weight": W.clone(),
        "linear2.weight": W.mT.contiguous(),
        "linear2.bias": b.clone(),
    }
    file = io.BytesIO()
    torch.save(state, file)  # that is what it reads, with weights_only=True
    config, losses = _spd_config(stored)
    return {"tms.pth": file.getvalue(), "tms_train_config.yaml": config.encode()}, losses


def _spd_config(stored):
    """Their TMSTrainConfig as YAML, and what of the inputs it cannot say."""
    model, inputs, training = stored.model, stored.distribution, stored.config["training"] or {}
    lost, synced, density = [], "null", 0.0 if inputs is None else inputs.density.mean().item()
    if inputs is None:
        lost.append("feature_probability: unknown, 0 is written")
    elif (inputs.density != inputs.density[0, 0]).any():
        lost.append("feature_probability: one for all features, the mean density is written")
    if inputs is not None and inputs.correlation == "anticorrelated":
        lost.append("anticorrelated sets cannot be said: features are written as independent")
        density /= inputs.set_size
    if inputs is not None and (inputs.importance != 1).any():
        lost.append("importance cannot be said: all count alike")
    if inputs is not None and inputs.correlation == "correlated":
        size = inputs.set_size
        density = 1 - (1 - density) ** (
            1 / size
        )  # each draws for itself, and one that is active takes the set along
        synced = json.dumps(
            [[*range(first, first + size)] for first in range(0, inputs.features, size)]
        )
    lines = [
        "wandb_project: null",
        "tms_model_config:",
        f"  n_features: {model.features}", f"  n_hidden: {model.hidden}", "  n_hidden_layers: 0",
        "  tied_weights: true", "  init_bias_to_zero: true", "  device: cpu",
        f"feature_probability: {density!r}",
        f"batch_size: {training.get('batch_size', 256)}", f"steps: {training.get('steps', 1)}",
        f"seed: {stored.config['seed'] or 0}", f"lr: {training.get('lr', 0.01)!r}", "lr_schedule: cosine",
        "data_generation_type: at_least_zero_active", f"synced_inputs: {synced}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n", lost


def saelens(stored):
    """{file name: bytes} of a SAELens synthetic model, and what it cannot say.

    Its activations are feature values times feature_vectors (features, hidden), the columns of W, plus a bias, which is
    that of the hidden layer, 0 here, and not the b of our output. ValueError for a hidden layer with a ReLU.
    """
    _check_one(stored)
    model, inputs = stored.model, stored.distribution
    if isinstance(model, ReLUHiddenModel) or not isinstance(model, LinearModel):
        raise ValueError(f"class: expected a linear hidden layer, got {type(model).__name__}")
    if inputs is None:
        raise ValueError("distribution: expected one in the model's config, got None")
    if inputs.signed:
        raise ValueError(
            "signed: expected features of at least 0, as its generator cuts them off there, got signed ones"
        )
    share = inputs.set_size if inputs.correlation == "anticorrelated" else 1
    tensors = {
        "feature_vectors": model.W[0].detach().mT.float().contiguous(),
        "bias": torch.zeros(model.hidden),
        "firing_probabilities": (inputs.density[0] / share).float(),
    }
    config = {
        "num_features": model.features, "hidden_dim": model.hidden,
        "firing_probability": {"generator_name": "constant", "probability": inputs.density.mean().item() / share},
        "hierarchy": None, "orthogonalization": None, "correlation": None,
        "std_firing_magnitudes": (1 / 12) ** 0.5, "mean_firing_magnitudes": 0.5, "bias": False, "dtype": "float32",
        "seed": stored.config["seed"],
    }  # fmt: skip
    lost = [
        "uniform magnitudes cannot be said: normal ones of the same mean and variance are written, which are cut off "
        "at 0, so that 4 % of the active features are 0"
    ]
    if inputs.correlation != "independent":
        lost.append(
            f"{inputs.correlation} sets cannot be said: features are written as independent"
        )
    files = {"synthetic_model.safetensors": safetensors.torch.save(tensors)}
    return files | {
        "synthetic_model_config.json": (json.dumps(config, indent=2) + "\n").encode()
    }, lost


def arena(stored):
    """{file name: bytes} in ARENA's layout, "inst d_hidden feats": W and b_final, as ours, and what it cannot say."""
    if not isinstance(stored.model, LinearModel):
        raise ValueError(f"class: expected tied weights, got {type(stored.model).__name__}")
    tensors = {"W": stored.model.W.detach().float(), "b_final": stored.model.b.detach().float()}
    return {"arena.safetensors": safetensors.torch.save(tensors)}, []


EXPORTERS = {"spd": spd, "saelens": saelens, "arena": arena}


def export(folder, to, target):
    """Write a stored model to a folder in another tool's format -> what that cannot say."""
    files, lost = EXPORTERS[to](read(folder))
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    write_together({target / name: content for name, content in files.items()})
    return lost


def _check_one(stored):
    if stored.model.instances != 1:
        raise ValueError(
            f"instances: expected a model of one instance, got {stored.model.instances}"
        )


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder of a model")
    parser.add_argument("--to", choices=EXPORTERS, required=True)
    parser.add_argument("target", metavar="DIR")
    given = parser.parse_args(argv)
    try:
        lost = export(given.model, given.to, given.target)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for line in lost:
        print(f"{given.to}: {line}; interop.Activations samples exactly", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
