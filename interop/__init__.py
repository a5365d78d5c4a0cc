"""Interop: the formats in which other tools read models, a file each.

    python zoo.py export zoo/pentagon --to saelens DIR

| format  | tool                                  | files                                      |
|---------|---------------------------------------|--------------------------------------------|
| saelens | SAELens, sparse autoencoders          | synthetic_model.safetensors, hierarchy.json |
|         |                                       | synthetic_model_config.json                |
| spd     | goodfire-ai/spd, decomposed parameters | tms.pth, tms_train_config.yaml             |
| arena   | ARENA 3.0, exercises                  | arena.safetensors, arena.json              |

An exporter writes all that its format can say of a model and its inputs, and lists what the format
cannot say. `Activations` draws exact inputs and hidden activations in every case.
"""

from pathlib import Path

from checks import check_choice
from interop import arena, saelens, spd
from interop.activations import Activations
from storage import read
from sweeps.files import write_together

__all__ = ["EXPORTERS", "Activations", "export"]

EXPORTERS = {"arena": arena.exported, "saelens": saelens.exported, "spd": spd.exported}


def export(folder, to, target) -> list[str]:
    """Write a stored model to another folder, in the format of another tool.

    Args:
        folder: Folder of the model, as `storage.save` writes it.
        to: Name of the format, one of EXPORTERS.
        target: Folder for the format's files, which is created where it does not exist.

    Returns:
        What the format cannot say of this model, a sentence each.

    Raises:
        ValueError: If there is no such model or format, or the format cannot hold such a model at
            all. Nothing is written then.
        OSError: If the target cannot be written; no file is left half-written.
    """
    check_choice("to", to, EXPORTERS)
    files, lost = EXPORTERS[to](read(folder))
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    write_together({target / name: content for name, content in files.items()})
    return lost
