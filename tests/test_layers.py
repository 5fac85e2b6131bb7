"""Modules import from their own layer downwards; see docs/architecture.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import remlblup

PACKAGE = Path(remlblup.__file__).parent
LAYERS = {
    "errors": 0,
    "arrays": 0,
    "cached": 0,
    "keywords": 0,
    "datasets": 0,
    "linalg": 1,
    "relationship": 1,
    "readers": 2,
    "structure": 2,
    "model": 2,
    "equations": 3,
    "reml": 4,
    "fit": 5,
    "storage": 5,
    "plot": 6,
    "report": 6,
    "crosscheck": 6,
    "mixed_model": 6,
    "many": 6,
    "cross_validation": 6,
    "warmup": 6,
    "cli": 6,
    "validation": 6,
}
# Imports upwards that are made inside a function, on first use.
LAZY_EXCEPTIONS = {
    ("fit", "plot"),  # fit.plot_…() draw with a module that most users of a fit never load
    ("datasets", "relationship"),  # the simulator computes inbreeding while it breeds
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(part of the package imported, line, inside a function), without `if TYPE_CHECKING` blocks."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, int, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names = [f"remlblup.{a.name}" for a in node.names] if module == "remlblup" else [module]
        for name in names:
            pieces = name.split(".")
            if pieces[0] == "remlblup" and len(pieces) > 1:
                yield pieces[1], node.lineno, inside
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_downwards_only(path):
    own = part_of(path)
    assert own in LAYERS, f"'{own}' has no layer: add it here and in docs/architecture.md"
    for part, line, inside in imports(path):
        if inside and (own, part) in LAZY_EXCEPTIONS:
            continue
        if part not in LAYERS:  # a public name or the version, from remlblup itself
            assert LAYERS[own] >= LAYERS["fit"], f"{path}:{line} imports the public '{part}'"
            continue
        assert LAYERS[part] <= LAYERS[own], f"{path}:{line} imports '{part}', which lies above '{own}'"


def test_the_exceptions_are_used():
    found = {(part_of(p), part) for p in MODULES for part, _, inside in imports(p) if inside}
    assert found >= LAZY_EXCEPTIONS


def test_the_test_sees_imports(tmp_path):
    file = tmp_path / "sample.py"
    file.write_text(
        "from remlblup.fit import tables\nimport remlblup.reml.loop\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from remlblup.plot import style\ndef f():\n    from remlblup import cli\n"
    )
    assert list(imports(file)) == [("fit", 1, False), ("reml", 2, False), ("cli", 7, True)]


def test_no_two_parts_of_a_layer_import_each_other():
    """Within a layer the parts are ordered: no cycle of folders."""
    edges = {(part_of(p), part) for p in MODULES for part, _, inside in imports(p) if not inside and part in LAYERS}
    mutual = {(a, b) for a, b in edges if a < b and (b, a) in edges}
    assert not mutual


def test_properties_hold_no_lock_of_their_class():
    """`functools.cached_property` does before Python 3.12: threads, and forked processes, could wait for ever."""
    locked = re.compile(r"^\s*(from functools import .*cached_property|@functools\.cached_property)", re.M)
    assert not [path for path in PACKAGE.rglob("*.py") if locked.search(path.read_text(encoding="utf-8"))]
