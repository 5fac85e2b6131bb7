"""The rooms of the package and who stands on whom, read from the imports and written into docs/architecture.md.

    python docs/draw_architecture.py

All imports count: at the top of a file, inside a function, for type checkers only. `tests/test_layers.py` reads them
with the same functions and fails where the document no longer shows the tree.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, DOCUMENT = ROOT / "remlblup", ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by docs/draw_architecture.py -->\n", "<!-- end of the drawing -->"

Graph = Mapping[str, set[str]]


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Dotted name of every file, below the package: ``linalg.sparse.factor``; a folder stands for its ``__init__``."""
    out = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def imported(tree: ast.AST, known: Mapping[str, object], top: str = "remlblup") -> Iterator[tuple[str, int]]:
    """(module of the package, line) of every import, wherever it stands.

    Raises
    ------
    ValueError
        For a relative import.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: relative import")
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n if n.removeprefix(f"{top}.") in known else str(node.module) for n in whole]
        else:
            continue
        for name in names:
            if name == top:
                yield "", node.lineno
            elif name.startswith(f"{top}."):
                yield name.removeprefix(f"{top}."), node.lineno


def graph(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """What each file imports of the package."""
    return {
        name: {other for other, _ in imported(ast.parse(path.read_text(encoding="utf-8")), files)} - {name}
        for name, path in files.items()
    }


def circles(edges: Graph) -> list[list[str]]:
    """Sets of more than one node that all lead to each other: strongly connected components (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            at = stack.index(node)
            out.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(edges):
        if node not in number:
            visit(node)
    return [found for found in out if len(found) > 1]


def room(name: str, depth: int = 1) -> str:
    """The first names of a module: the part of the package it belongs to."""
    return ".".join(name.split(".")[:depth])


def between_rooms(edges: Graph, depth: int = 1) -> dict[str, set[str]]:
    """The imports between parts of the package."""
    out: dict[str, set[str]] = {}
    for name, others in edges.items():
        own = room(name, depth)
        out.setdefault(own, set()).update(room(other, depth) for other in others if room(other, depth) != own)
    return out


def reached(edges: Graph, start: str) -> set[str]:
    """All that a node leads to."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = edges.get(waiting.pop(), set()) - seen
        seen |= new
        waiting += sorted(new)
    return seen


def direct(edges: Graph, start: str) -> list[str]:
    """What a node stands on, without what that stands on in turn."""
    return sorted(o for o in edges[start] if not any(o in reached(edges, other) for other in edges[start] - {o}))


def heights(edges: Graph) -> dict[str, int]:
    """How many steps down from each node to one that stands on nothing."""
    out: dict[str, int] = {}

    def height(node: str) -> int:
        if node not in out:
            out[node] = 1 + max((height(other) for other in edges.get(node, ())), default=-1)
        return out[node]

    for node in edges:
        height(node)
    return out


def says(path: Path) -> str:
    """The first line of the docstring of a file."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def drawing(files: Mapping[str, Path]) -> str:
    """The picture, and below it a line for each room."""
    edges = {a: b - {""} for a, b in between_rooms(graph(files)).items() if a}
    height = heights(edges)
    order = sorted(edges, key=lambda name: (-height[name], name))
    lines = ["```mermaid", "graph TD"]
    for name in order:
        lines += [f"  {node(name)} --> {node(other)}" for other in direct(edges, name)]
    lines += ["```", "", "| part | what it holds | stands on |", "|---|---|---|"]
    for name in order:
        inside = sorted(m for m in files if m == name or m.startswith(f"{name}."))
        folders = [m for m in inside if m != name and files[m].name == "__init__.py"]
        lines.append(row(f"`{name}/`" if len(inside) > 1 else f"`{name}.py`", files[name], direct(edges, name)))
        lines += [row(f"· `{folder.removeprefix(f'{name}.')}/`", files[folder]) for folder in folders]
    return "\n".join(lines) + "\n"


def row(label: str, path: Path, below: Iterable[str] = ()) -> str:
    """A row of the table of rooms."""
    return f"| {label} | {says(path).replace('|', '/')} | {', '.join(below)} |"


def node(name: str) -> str:
    """A name that Mermaid takes: some words are its own."""
    return f"{name}_[{name}]"


def drawn(text: str, files: Mapping[str, Path]) -> str:
    """The document with the drawing of today between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{drawing(files)}{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8"), modules()), encoding="utf-8")
