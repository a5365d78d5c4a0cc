"""What every figure must do."""

import warnings

import torch
from matplotlib.figure import Figure


def drawn(draw, *arguments):
    """Return the figure that draw(*arguments) makes, and check what holds for every figure.

    It is drawn without a warning, its axes are named, and drawing changes none of the arguments.
    """
    given = tensors(arguments)
    before = [tensor.clone() for tensor in given]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw(*arguments)
        assert isinstance(figure, Figure)
        figure.canvas.draw()
    for tensor, kept in zip(given, before):
        torch.testing.assert_close(tensor, kept, rtol=0, atol=0, equal_nan=True)
    assert not unnamed(figure)
    return figure


def tensors(value):
    """Return all tensors inside nested arguments."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        parts = value.values()
    else:
        parts = value if isinstance(value, (list, tuple)) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def unnamed(figure):
    """Return axes that show numbers and have no label, and share none with other axes."""
    found = []
    for ax in figure.axes:
        for letter in "xy":
            axis = getattr(ax, f"{letter}axis")
            sharing = getattr(ax, f"get_shared_{letter}_axes")().get_siblings(ax)
            labels = [getattr(other, f"get_{letter}label")() for other in sharing]
            ticks = [tick.get_text() for tick in axis.get_ticklabels()]
            numbers = any(character.isdigit() for text in ticks for character in text)
            if ax.axison and numbers and not any(labels):
                found.append((ax, letter))
    return found
