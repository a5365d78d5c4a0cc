"""What every figure must do."""

import warnings

import torch
from matplotlib.figure import Figure


def drawn(draw, *arguments):
    """The figure that draw(*arguments) makes: drawn without a warning, its axes named, none of its inputs changed."""
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
    """All tensors inside of nested arguments."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = (
        value.values()
        if isinstance(value, dict)
        else value
        if isinstance(value, (list, tuple))
        else ()
    )
    return [tensor for part in parts for tensor in tensors(part)]


def unnamed(figure):
    """Axes with numbers along them and no label, on them or on others that share them."""
    found = []
    for ax in figure.axes:
        for letter in "xy":
            axis, together = (
                getattr(ax, f"{letter}axis"),
                getattr(ax, f"get_shared_{letter}_axes")().get_siblings(ax),
            )
            labels = [getattr(other, f"get_{letter}label")() for other in together]
            ticks = [tick.get_text() for tick in axis.get_ticklabels()]
            numbers = any(character.isdigit() for text in ticks for character in text)
            if ax.axison and numbers and not any(labels):
                found.append((ax, letter))
    return found
