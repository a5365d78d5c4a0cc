"""A digest of the code that a function reaches: it changes when, and only when, the numbers might.

From the function's text the names it uses are followed, definition by definition, through its module
and the project's other modules. Docstrings, comments, layout, annotations of arguments and whatever is
not reached do not count. What is found by a name made at run time (getattr, globals) is not followed.
"""

import ast
import functools
import hashlib
import symtable
from pathlib import Path
from typing import NamedTuple

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPORTS = (ast.Import, ast.ImportFrom)
WHOLE, ALWAYS = (
    "*",
    "",
)  # in place of a name: all of a module, and what is carried out whenever it is imported


class Definition(NamedTuple):
    """A top-level statement, or one name of an import."""

    text: str
    names: frozenset[str] = frozenset()  # what it takes from its module
    attributes: frozenset[tuple[str, str]] = frozenset()  # (name, attribute) of each name.attribute
    bare: frozenset[str] = frozenset()  # names that also stand alone
    imports: tuple[str, str | None] | None = (
        None  # (module, a name of it, or None for the module itself)
    )


class Place(NamedTuple):
    """A name in a module, used from outside (then what is used of a module behind it is not seen) or not."""

    module: str
    name: str
    outside: bool = True


@functools.cache
def code_digest(module, file, names):
    """sha256 of the code that some names of a module reach, as it was when this process first read it.

    module, file: its __name__ and __file__; names: a tuple; those that the module lacks count for nothing
    """
    root = Path(file).resolve().parents[module.count(".")]
    waiting, reached, texts = [Place(module, name) for name in names], set(), set()
    while waiting:
        place = waiting.pop()
        path = file_of(root, place.module)
        if place in reached or path is None:
            continue
        reached.add(place)
        definitions = definitions_of(path, place.module)
        if place.name == WHOLE:
            waiting += [Place(place.module, name) for name in definitions]
        elif place.name not in (ALWAYS, *definitions):  # a module of a package
            waiting.append(Place(f"{place.module}.{place.name}", WHOLE))
        for definition in definitions.get(place.name, ()):
            texts.add(f"{place.module}: {definition.text}")
            waiting += [Place(place.module, ALWAYS), *_uses(root, place, definition, definitions)]
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()


def file_of(root, module):
    """The file of a module of the project, or None."""
    path = root.joinpath(*module.split("."))
    return next(
        (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None
    )


def _uses(root, place, definition, definitions):
    """The places of all that a definition uses."""
    if definition.imports and not _is_module(root, definition.imports):
        yield Place(*definition.imports)
    elif definition.imports and place.outside:
        yield Place(_dotted(definition.imports), WHOLE)
    for name in definition.names:
        yield Place(place.module, name, outside=False)
        for imports in (other.imports for other in definitions.get(name, ()) if other.imports):
            if _is_module(root, imports):
                yield from (
                    Place(_dotted(imports), other)
                    for base, other in definition.attributes
                    if base == name
                )
                if name in definition.bare:
                    yield Place(_dotted(imports), WHOLE)


def _is_module(root, imports):
    return imports[1] is None or file_of(root, _dotted(imports)) is not None


def _dotted(imports):
    return ".".join(filter(None, imports))


@functools.cache
def definitions_of(path, module):
    """{name: [Definition, ...]} of a file of the project."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    definitions = {}
    for statement in _Bare().visit(ast.parse(path.read_text())).body:
        for node in ast.walk(statement):
            for alias in node.names if isinstance(node, IMPORTS) else ():
                name, definition = _imported(node, alias, package)
                definitions.setdefault(name, []).append(definition)
        if not isinstance(statement, IMPORTS):
            for name in _bound(statement) or {ALWAYS}:
                definitions.setdefault(name, []).append(_definition(statement))
    return definitions


def _imported(node, alias, package):
    """The name that an import binds, and its Definition."""
    if isinstance(node, ast.Import):
        module, name = alias.name if alias.asname else alias.name.partition(".")[0], None
    else:
        above = package[: len(package) + 1 - node.level] if node.level else []
        module, name = ".".join([*above, *filter(None, [node.module])]), alias.name
    bound = ALWAYS if name == WHOLE else alias.asname or name or module
    return bound, Definition(f"import {module} {name}", imports=(module, name))


def _definition(statement):
    text, nodes = ast.unparse(statement), list(ast.walk(statement))
    of_names = [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    alone = {node for node in nodes if isinstance(node, ast.Name)} - {
        node.value for node in of_names
    }
    aliases = [alias for node in nodes if isinstance(node, IMPORTS) for alias in node.names]
    local_imports = {(alias.asname or alias.name).partition(".")[0] for alias in aliases}
    return Definition(
        text,
        names=frozenset(_globals(symtable.symtable(text, "", "exec")) | local_imports),
        attributes=frozenset((node.value.id, node.attr) for node in of_names),
        bare=frozenset(node.id for node in alone),
    )


def _globals(table):
    """Names that a piece of code takes from its module and not from a scope of its own."""
    outermost = table.get_type() == "module"
    symbols = [
        symbol
        for symbol in table.get_symbols()
        if symbol.is_global() or (outermost and symbol.is_referenced())
    ]
    return {symbol.get_name() for symbol in symbols}.union(*map(_globals, table.get_children()))


def _bound(statement):
    """Names that a statement at the top level defines or changes."""
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        return {statement.name}
    names = set()
    for node in ast.walk(statement):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(getattr(node, "ctx", None), ast.Store):
            while isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            names |= {node.id} if isinstance(node, ast.Name) else set()
    return names


class _Bare(ast.NodeTransformer):
    """Takes out what changes no number: docstrings, and the annotations of arguments."""

    def generic_visit(self, node):
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        if isinstance(node, FUNCTIONS):
            node.returns = None
        return node

    def visit_Expr(self, node):
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_arg(self, node):
        node.annotation = None
        return node
