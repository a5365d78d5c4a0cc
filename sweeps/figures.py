"""Figures and animations as files."""

import io
import tempfile
from pathlib import Path

from sweeps.files import claimed, write


def save_figure(figure, folder, name, format="png"):
    """Save a figure or an animation as a file of a folder.

    A figure becomes a PNG of 120 dots an inch, which is 1,200 pixels wide, or an SVG. An SVG has
    the same bytes each time, and its text as paths, which look the same wherever it is opened.
    The label of a figure, which says what it shows to a reader who does not see it, becomes the
    description in the file's metadata. An animation becomes a GIF of 75 dots an inch.

    Args:
        figure: A figure or an animation of matplotlib.
        folder: Where the file is written.
        name: Name of the file without its ending.
        format: "png" or "svg", for figures that do not move.

    Raises:
        OSError: The file cannot be written.
    """
    from matplotlib import rc_context  # here, as it takes time that a wrong argument should not
    from matplotlib.animation import Animation

    if isinstance(figure, Animation):
        path = folder / f"{name}.gif"
        content = _gif(figure)
    else:
        path = folder / f"{name}.{format}"
        buffer = io.BytesIO()
        metadata = {"Date": None, "Description": figure.get_label()}
        with rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
            figure.savefig(buffer, dpi=120, format=format, metadata=metadata)
        content = buffer.getvalue()
    with claimed(path):
        write(path, content)


def _gif(animation):
    """Return the bytes of an animation, which matplotlib can only write to a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "animation.gif"
        animation.save(path, writer="pillow", dpi=75)
        return path.read_bytes()
