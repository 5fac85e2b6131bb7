"""Files import downwards only, and in no circle; see docs/architecture.md."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

import remlblup

PACKAGE = Path(remlblup.__file__).parent
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"
SPEC = importlib.util.spec_from_file_location("draw_architecture", DOCUMENT.with_name("draw_architecture.py"))
assert SPEC is not None and SPEC.loader is not None
draw = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(draw)

# From the ground up: a part of the package imports from itself and from the lines above its own.
LAYERS = (
    ("errors", "_version", "arrays"),
    ("cached", "keywords"),
    ("linalg",),
    ("relationship",),
    ("readers", "datasets", "structure", "warmup"),
    ("model",),
    ("equations",),
    ("reml",),
    ("fit",),
    ("inference",),
    ("diagnostics",),
    ("plot", "storage"),
    ("report",),
    ("result",),
    ("mixed_model",),
    ("many", "cross_validation", "crosschecking"),
    ("",),  # the public names, all of them loaded when asked for
    ("cli", "validation"),
)
LAYER = {part: k for k, layer in enumerate(LAYERS) for part in layer}
# Folders whose __init__ is more than a docstring, so that whatever is in them is loaded with it.
SPEAKING = {"", "cli", "datasets", "validation"}

FILES = draw.modules(PACKAGE)
EDGES = draw.graph(FILES)
MODULES = sorted(m for m in FILES if m and draw.room(m) != "validation")


def test_no_circle_of_files():
    assert draw.circles(EDGES) == []


def test_no_circle_of_rooms():
    """A folder within a folder is a room: seen as one, it is in no circle either."""
    rooms = {m: m.rpartition(".")[0] if m.count(".") > 1 else m for m in FILES if draw.room(m) != "validation"}
    collapsed: dict[str, set[str]] = {}
    for m, room in rooms.items():
        collapsed.setdefault(room, set()).update(rooms[o] for o in EDGES[m] if o in rooms and rooms[o] != room)
    assert draw.circles(collapsed) == []


@pytest.mark.parametrize("name", MODULES)
def test_a_file_imports_downwards_only(name):
    own = draw.room(name)
    assert own in LAYER, f"'{own}' has no layer: add it here"
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    for other, line in draw.imported(tree, FILES):
        part = draw.room(other)
        assert part == own or LAYER[part] < LAYER[own], (
            f"{FILES[name]}:{line} imports 'remlblup.{other}', not below '{own}'"
        )


def test_a_folder_loads_nothing_by_itself():
    """Importing one file of a folder must not load the others through its __init__, which no import names."""
    speaking = {m for m, path in FILES.items() if path.name == "__init__.py" and EDGES[m]}
    assert {m for m in speaking if draw.room(m) != "validation"} <= SPEAKING


def test_every_import_is_seen():
    """At the top, in a function, for type checkers only, of a module or of something in it."""
    source = (
        "from remlblup.fit import solved\nimport remlblup.reml.loop\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from remlblup.plot.style import INK\ndef f():\n    import remlblup\n"
    )
    seen = list(draw.imported(ast.parse(source), FILES))
    assert sorted(seen) == [("", 7), ("fit.solved", 1), ("plot.style", 5), ("reml.loop", 2)]
    with pytest.raises(ValueError, match="relative"):
        list(draw.imported(ast.parse("from . import loop"), FILES))


def test_circles_are_found():
    assert draw.circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d", "f"}, "f": {"e"}}) == [
        ["a", "b", "c"],
        ["e", "f"],
    ]


def test_the_document_shows_the_tree():
    """`python docs/draw_architecture.py` writes the drawing anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == draw.drawn(text, draw.modules())


def test_the_files_that_documents_name_exist():
    """By their path below the package or the checkout, or in the folder of a file named before in the line."""
    root = DOCUMENT.parents[1]
    for document in (DOCUMENT, DOCUMENT.with_name("mathematics.md"), root / "CONTRIBUTING.md"):
        text = document.read_text(encoding="utf-8").partition("## Where it deviates")[0]
        for line in text.splitlines():
            folders = [root, PACKAGE]
            for name in re.findall(r"`([\w/]+\.py)`", line):
                found = [folder / name for folder in folders if (folder / name).exists()]
                assert found, f"{document.name} names {name}, which is not there: {line}"
                folders.insert(2, found[0].parent)


def test_properties_hold_no_lock_of_their_class():
    """`functools.cached_property` does before Python 3.12: threads, and forked processes, could wait for ever."""
    locked = re.compile(r"^\s*(from functools import .*cached_property|@functools\.cached_property)", re.M)
    assert not [path for path in PACKAGE.rglob("*.py") if locked.search(path.read_text(encoding="utf-8"))]
