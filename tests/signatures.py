"""Checks signatures in the tests, shapes included.

Checked are arguments, results, and the fields of dataclasses and NamedTuples.
"""

import importlib
import inspect
from pathlib import Path

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook, jaxtyped

HOME = Path(__file__).resolve().parents[1]
TYPED = (
    *("features", "geometry", "models", "training", "visualization"),
    *(
        ".".join(file.relative_to(HOME).with_suffix("").parts)
        for folder in ("losses", "theory", "experiments")
        for file in sorted((HOME / folder).glob("**/[!_]*.py"))
    ),
)
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, too


def import_checked(*modules):
    """Import modules whose functions, dataclasses and NamedTuples then check signatures."""
    with install_import_hook(modules, "signatures.checked"):
        for module in map(importlib.import_module, modules):
            for kind in vars(module).values():
                if (
                    inspect.isclass(kind)
                    and hasattr(kind, "_fields")
                    and kind.__module__ == module.__name__
                ):
                    kind.__new__ = staticmethod(jaxtyped(kind.__new__, typechecker=checked))
