"""A digest of the code that decides the numbers of an experiment.

The experiment's own file counts by definition: what `run`, `shards`, `joined`, `Settings` and
`Result` reach by name inside it. The project's modules that these definitions import, directly or
through other modules, count whole, except for those that change no number. Docstrings, comments and
layout never count.
"""

import ast
import functools
import hashlib
from pathlib import Path

ROOTS = (
    "run",
    "shards",
    "joined",
    "Settings",
    "Result",
)  # names that decide an experiment's results
UNCOUNTED = ("visualization", "sweeps")  # modules and packages that change no number
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


@functools.cache
def code_digest(module, file):
    """Return the sha256 of an experiment's code, as it was when this process first read it.

    Args:
        module: The experiment's `__name__`. The root of the project follows from it.
        file: Its `__file__`.
    """
    root = Path(file).resolve().parents[module.count(".")]
    statements = _reached(_without_prose(Path(file)).body)
    texts = {"": "\n".join(ast.unparse(statement) for statement in statements)}
    waiting = _imported(statements, module)
    while waiting:
        name = waiting.pop()
        path = _file_of(root, name)
        if path is None or name in texts or name.partition(".")[0] in UNCOUNTED:
            continue
        texts[name], imported = _whole(path, name)
        waiting |= imported
    return hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()


@functools.cache
def _whole(path, module):
    """Return the text of a file of the project, and the names that it imports."""
    body = _without_prose(path).body
    inside = f"{module}.__init__" if path.name == "__init__.py" else module
    return ast.unparse(ast.Module(body, [])), _imported(body, inside)


def _without_prose(path):
    """Return the syntax tree of a file without its docstrings; comments are not in it anyway."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, *DEFINITIONS)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return tree


def _reached(body):
    """Return the statements of a file that ROOTS reach by name, in the order of the file."""
    body = [part for statement in body for part in _one_name_each(statement)]
    names = set(ROOTS)
    while True:
        reached = [each for each in body if _bound(each) is None or _bound(each) & names]
        used = {
            node.id for each in reached for node in ast.walk(each) if isinstance(node, ast.Name)
        }
        if used <= names:
            return reached
        names |= used


def _one_name_each(statement):
    """Split an import of several names, so that each of them counts by itself."""
    if isinstance(statement, ast.ImportFrom):
        return [
            ast.ImportFrom(statement.module, [alias], statement.level) for alias in statement.names
        ]
    if isinstance(statement, ast.Import):
        return [ast.Import([alias]) for alias in statement.names]
    return [statement]


def _bound(statement):
    """Return the names that a statement defines, or None for one that counts in any case."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    if isinstance(statement, IMPORTS):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        stored = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        return {node.id for node in stored if isinstance(node.ctx, ast.Store)} or None
    return None


def _imported(statements, module):
    """Return the dotted names of what some statements of a module import, modules and others."""
    names = set()
    for node in (node for statement in statements for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*package, *filter(None, [node.module])])
            names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return names


def _file_of(root, module):
    """Return the file of a module of the project, or None."""
    path = root.joinpath(*module.split("."))
    files = [path.with_suffix(".py"), path / "__init__.py"]
    return next((file for file in files if file.is_file()), None)
