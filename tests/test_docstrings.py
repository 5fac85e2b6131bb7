"""Public names say what they take and give back, with an example that runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from pathlib import Path

import pytest

import remlblup as rb
from remlblup.structure.table import STRUCTURES

INDEX = Path(__file__).resolve().parents[1] / "docs" / "api" / "index.md"
ERRORS = (rb.RemlBlupError, rb.RemlBlupWarning, rb.FitInterrupted)
ALIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def documented() -> dict[str, object]:
    """Functions, classes, and the methods of models and fits."""
    out: dict[str, object] = {}
    for name in rb._PUBLIC:
        value = getattr(rb, name)
        if not inspect.ismodule(value) and not (inspect.isclass(value) and issubclass(value, ERRORS)):
            out[name] = value
    for cls in (rb.MixedModel, rb.Fit):
        out |= {f"{cls.__name__}.{m}": getattr(cls, m) for m in dir(cls) if m[0] != "_" and callable(getattr(cls, m))}
    return out


NAMES = documented()


@pytest.fixture(scope="module")
def given() -> dict[str, object]:
    """What the examples use: the code that the first page of the reference shows."""
    code = re.search(r"```python\n(.*?)```", INDEX.read_text(encoding="utf-8"), re.S)
    assert code is not None
    names: dict[str, object] = {}
    exec(code[1], names)
    return names


def sections(value: object) -> set[str]:
    return set(re.findall(r"^(\w+)\n-{3,}$", inspect.getdoc(value) or "", re.M))


@pytest.mark.parametrize("name", NAMES)
def test_sections(name):
    value = NAMES[name]
    found = sections(value)
    assert "Examples" in found
    if not inspect.isclass(value):
        taken = set(inspect.signature(value).parameters) - {"self", "cls"}
        assert "Returns" in found or name == "set_threads"
        assert "Parameters" in found or not taken
        if "Parameters" in found:  # each argument is told of, and nothing else
            text = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n-{3,}$|\Z)", inspect.getdoc(value) or "", re.M | re.S)
            assert text is not None
            heads = re.findall(r"^(\S.*?)(?: :.*)?$", text[1], re.M)
            told = {part.strip(" *") for head in heads for part in head.split(",")}
            assert taken <= told, taken - told


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("remlblup.report.page.pictures", lambda fit, seed: [])  # drawn in the tests of the page
    text = inspect.getdoc(NAMES[name]) or ""
    test = doctest.DocTestParser().get_doctest(text, dict(given), name, None, 0)
    said: list[str] = []
    known = list(STRUCTURES)
    doctest.DocTestRunner(optionflags=ALIKE).run(test, out=said.append)
    for registered in [keyword for keyword in STRUCTURES if keyword not in known]:
        del STRUCTURES[registered]
    assert not said, "".join(said)


def test_properties_are_told_in_a_line():
    for cls in (rb.MixedModel, rb.Fit, rb.Solved):
        for name in dir(cls):
            value = inspect.getattr_static(cls, name)
            if not name.startswith("_") and not callable(value):
                assert inspect.getdoc(value), f"{cls.__name__}.{name}"


def test_docstrings_point_to_what_is_there():
    """A pointer is read in a terminal and on the site: no Markdown links, and a section that the page has."""
    docs = INDEX.parents[1]
    found = 0
    for file in Path(rb.__file__).parent.rglob("*.py"):
        for text in docstrings(file):
            assert not re.search(r"\]\([\w/]+\.md", text), file
            for section, page in re.findall(r'"([^"]+)" of docs/(\w+\.md)', text):
                assert f"## {section}\n" in (docs / page).read_text(encoding="utf-8"), (file, section)
                found += 1
    assert found


def docstrings(file):
    """Those of a module, its classes and functions, each as one line."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    nodes = (node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, kinds))
    return [" ".join(text.split()) for node in nodes if (text := ast.get_docstring(node))]
