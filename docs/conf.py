"""The site: ``sphinx-build -W -b html docs OUT``. Examples are run as it is built, with their figures; not with
``-D examples=0``, to look at the words alone."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import run_examples  # noqa: E402
from sphinx.pycode import ModuleAnalyzer  # noqa: E402
from sphinx.util import logging  # noqa: E402

import remlblup  # noqa: E402

project = "remlblup"
author = "The remlblup developers"
copyright = f"2026, {author}"
version = release = remlblup.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"remlblup {version}"
html_static_path = ["_static"]
html_css_files = ["plots.css"]
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []

myst_heading_anchors = 4
default_role = "literal"
autodoc_member_order = "groupwise"
autodoc_typehints = "none"
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
toc_object_entries_show_parents = "hide"

LOG = logging.getLogger("remlblup.examples")
MERMAID = re.compile(r"```mermaid\n.*?```\n", re.S)
OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./(?:remlblup|validation|tests)/[^)]*\)")
INCLUDED = re.compile(r"```\{include\} (\S+)\n```\n")


def with_examples(app: Any, name: str, source: list[str]) -> None:
    """Run the examples of a document before it is read; what is not part of the site is no link there."""
    path = Path(app.env.doc2path(name))
    if path.suffix != ".md":
        return
    document = run_examples.Document(path, HERE / "_build" / "figures")
    text = document.fresh(source[0]) if app.config.examples else source[0]
    for line, prints in document.changed:
        LOG.warning("the example prints something else than the text says:\n%s", prints, location=(name, line))
    text = INCLUDED.sub(lambda found: (path.parent / found[1]).read_text(encoding="utf-8"), text)
    source[0] = OUTSIDE.sub(r"\1", MERMAID.sub("", text)).replace("](docs/", "](")


def defined_in(app: Any, module: str, name: str) -> str | None:
    """The module that holds the code of a public name: that of the class which a method or property comes from."""
    first, _, member = name.partition(".")
    value = getattr(remlblup, first, None) if module == "remlblup" else None
    if not member or not inspect.isclass(value):
        return getattr(value, "__module__", None)
    return next((base.__module__ for base in value.__mro__ if member in vars(base)), None)


def with_public_names(app: Any, module: str) -> tuple[str, dict[str, Any]] | None:
    """The code of a module, its methods also known as those of the public classes that inherit them."""
    analyzer = ModuleAnalyzer.for_module(module)
    analyzer.analyze()
    tags = dict(analyzer.tags)
    for name in PUBLIC_CLASSES:
        for base in getattr(remlblup, name).__mro__:
            if base.__module__ == module:
                start = f"{base.__name__}."
                own = {f"{name}.{k.removeprefix(start)}": v for k, v in analyzer.tags.items() if k.startswith(start)}
                tags = own | tags
    return analyzer.code, tags


PUBLIC_CLASSES = ("Fit", "MixedModel", "Solved", "Pedigree", "Relationship", "SingleStep", "Genotypes", "Structure")


def setup(app: Any) -> dict[str, bool]:
    app.add_config_value("examples", True, "env", bool)
    run_examples.as_documented()
    app.connect("source-read", with_examples)
    app.connect("viewcode-follow-imported", defined_in)
    app.connect("viewcode-find-source", with_public_names)
    return {"parallel_read_safe": True}
