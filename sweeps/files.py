"""Files that may come from elsewhere: read without pickle, written at once or not at all."""

import json
import os
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError


def write(path, content):
    """Bytes to a file. An OSError names the file and leaves nothing half-written."""
    write_together({path: content})


def write_together(contents):
    """{path: bytes} to files that belong together: a new one never stands beside an old one. Errors as of `write`."""
    paths = list(contents)
    temporaries = {path: Path(f"{path}.tmp") for path in paths}
    try:
        for path in paths:
            with open(temporaries[path], "wb") as file:
                file.write(contents[path])
                file.flush()
                os.fsync(file.fileno())
        for path in paths[1:]:
            path.unlink(missing_ok=True)
        for path in paths:
            os.replace(temporaries[path], path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def read_tensors(path):
    """Tensors and metadata of a safetensors file. FileNotFoundError where there is none, ValueError if it is cut."""
    try:
        content = (
            path.read_bytes()
        )  # not mapped into memory: a file that is cut off later would end the process
        tensors = safetensors.torch.load(content)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise ValueError(f"not a whole safetensors file ({one_line(error)})") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {})


def read_object(path):
    """The object in a JSON file. FileNotFoundError where there is none, ValueError if it holds something else."""
    try:
        found = json.loads(path.read_bytes(), parse_constant=_no_number)
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"not a whole JSON file ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    return found


def _no_number(name):
    raise ValueError(f"{name} is no number of JSON")


def one_line(text):
    """A text without line breaks and control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(str(text).split()))
