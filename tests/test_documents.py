"""What the documents say is so: the README runs, every verdict and error has its words, every public name its page."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import remlblup as rb
from remlblup import errors
from remlblup.reml.convergence import explain, has_trend

DOCS = Path(__file__).resolve().parents[1] / "docs"
SPEC = importlib.util.spec_from_file_location("run_examples", DOCS / "run_examples.py")
assert SPEC is not None and SPEC.loader is not None
examples = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(examples)

CLASSES = [
    name
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, (rb.RemlBlupError, rb.RemlBlupWarning, rb.FitInterrupted))
]


def test_the_readme_prints_what_it_says():
    import numpy as np
    import pandas as pd

    path = DOCS.parent / "README.md"
    document = examples.Document(path)
    with pd.option_context("display.width", 110, "display.max_columns", 30), np.printoptions(precision=4):
        document.fresh(path.read_text(encoding="utf-8"))
    assert document.count == 1
    assert document.changed == []


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    for place in re.findall(r"\]\(([^)#]+)", text):
        assert (DOCS.parent / place).exists(), place


def test_outputs_are_compared_by_words_and_numbers():
    assert examples.alike("a  1.2345 b", "a 1.2344 b")
    assert examples.alike("p 3.1e-17", "p 0.0") and examples.alike("after 8 iterations", "after 1 iteration")
    assert not examples.alike("a 1.23", "a 1.30") and not examples.alike("a 1", "b 1") and not examples.alike("1", "")


def test_every_document_is_part_of_the_site():
    listed = set()
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```\{toctree\}(.*?)```", page.read_text(encoding="utf-8"), re.S):
            names = [line.strip() for line in block.splitlines() if line.strip() and not line.startswith(":")]
            listed |= {(page.parent / f"{name}.md").resolve() for name in names}
    assert {p.resolve() for p in DOCS.rglob("*.md") if "_build" not in p.parts} == listed | {DOCS / "index.md"}


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_has_its_section(name):
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {name}\n\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found is not None and len(found[1].split()) > 15
    assert inspect.getdoc(getattr(errors, name))


REASONS = [
    *(explain(False, [], stopped, []) for stopped in ("iterations", "stall", "singular", "edge", "rigid", "collapse")),
    explain(False, [], "residual", []),
    explain(False, [], "collapse", [], names=["residual"]),
    explain(True, [], "", []),
    explain(False, ["g"], "", [], by_design=True),
    explain(False, ["g"], "", []),
    explain(False, ["g", "h"], "", []),
    has_trend("row + col", []),
]


@pytest.mark.parametrize("reason", REASONS)
def test_every_verdict_is_explained(reason):
    """By a paragraph that begins with the verdict's own words."""
    words = re.split(r"[:.,]| where the residual| with its", re.sub(r"'\w+'", "…", reason))[0]
    start = re.sub(r"\W+", " ", words.replace("…", " ")).split()[:6]
    heads = re.findall(r"^\*\*(.*?)\*\*", (DOCS / "verdicts.md").read_text(encoding="utf-8"), re.M | re.S)
    told = [re.sub(r"\W+", " ", re.sub(r"'\w+'", " ", head)).split() for head in heads]
    assert any(head[: len(start)] == start for head in told), (start, told)


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    listed = set(re.findall(r"auto(?:class|function):: (\w+)", text))
    assert "automodule:: remlblup.errors" in text and "automodule:: remlblup.datasets" in text
    elsewhere = {*CLASSES, "datasets", "simulate_flock"}
    assert listed | elsewhere == set(rb._PUBLIC)
