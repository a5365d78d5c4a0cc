"""Files that may come from elsewhere, and that several processes write.

They are read without pickle. They are written completely or not at all, under a lock.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path

import safetensors.torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError


def write(path, content):
    """Write bytes to a file, completely or not at all.

    Raises:
        OSError: The file cannot be written. The message names it, and nothing is left half-written.
    """
    write_together({path: content})


def write_together(contents):
    """Write files that belong together, so that a new one never stands beside an old one.

    Args:
        contents: The bytes of each file, as {path: bytes}.

    Raises:
        OSError: A file cannot be written. The message names it, and nothing is left half-written.
    """
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
    """Return the tensors and the metadata of a safetensors file, each as a dictionary.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a whole safetensors file.
    """
    try:
        # If the file were mapped into memory, cutting it off later would end the process.
        content = path.read_bytes()
        tensors = safetensors.torch.load(content)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise ValueError(f"not a whole safetensors file ({one_line(error)})") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {})


def read_object(path):
    """Return the object in a JSON file as a dictionary.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a whole JSON file, or it holds something other than an object.
    """
    try:
        found = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"not a whole JSON file ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    return found


def _refuse_constant(name):
    """Refuse NaN and Infinity, which Python reads although JSON does not have them."""
    raise ValueError(f"{name} is not a number of JSON")


def one_line(text):
    """Return a text without line breaks and control characters."""
    words = " ".join(str(text).split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


@contextlib.contextmanager
def claimed(path, timeout=-1):
    """Hold the exclusive lock of a file while the block runs.

    Args:
        path: The file; its lock is a file beside it.
        timeout: Seconds to wait for another process that holds the lock; negative: without end.

    Raises:
        filelock.Timeout: Another process still holds the lock.
    """
    lock = Path(f"{path}.lock")
    with FileLock(lock, timeout=timeout):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def clean(folder):
    """Delete what killed processes have left half-written, except for claimed files."""
    for leftover in [*folder.glob("*.tmp"), *folder.glob("*.lock")]:
        with contextlib.suppress(Timeout), claimed(leftover.with_suffix(""), timeout=0):
            leftover.with_suffix(".tmp").unlink(missing_ok=True)


def check_folder(folder):
    """Create a folder where there is none, and check that files can be written into it.

    Raises:
        OSError or ValueError: It cannot be created or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
