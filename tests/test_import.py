"""`import remlblup` is cheap: nothing heavy is loaded before it is needed."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path

import remlblup

CODE = """
import json, sys
{statement}
heavy = (
    "numba", "matplotlib", "statsmodels", "formulaic", "numpy", "pandas",
    "scipy", "scipy.stats", "scipy.optimize", "scipy.sparse.linalg",
)
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def loaded(statement: str) -> list[str]:
    """Which heavy packages a fresh interpreter holds after a statement."""
    run = subprocess.run(
        [sys.executable, "-c", CODE.format(statement=statement)], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_import_loads_nothing_heavy():
    assert loaded("import remlblup") == []


def test_the_check_sees_what_is_loaded():
    assert "numpy" in loaded("import numpy")


def test_a_small_fit_needs_neither_plots_nor_statsmodels():
    fit = (
        "import remlblup as rb; rb.MixedModel.from_matrices([1., 2., 4., 3., 7., 5.], [[1.]] * 6,"
        " [[[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]]).fit(progress=False)"
    )
    heavy = loaded(fit)
    assert not {"matplotlib", "statsmodels", "numba", "scipy.optimize", "scipy.sparse.linalg"} & set(heavy)


def test_every_public_name_exists_and_is_listed():
    for name in remlblup.__all__:
        assert getattr(remlblup, name) is not None
    assert set(dir(remlblup)) >= set(remlblup.__all__)
    assert not hasattr(remlblup, "no_such_name")


def test_errors_are_of_one_family():
    errors = [getattr(remlblup, name) for name in remlblup.__all__ if name.endswith("Error")]
    assert len(errors) >= 10
    assert all(issubclass(e, remlblup.RemlBlupError) and issubclass(e, ValueError) for e in errors)


def test_every_folder_of_modules_is_installed():
    root = Path(__file__).parents[1]
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    installed = set(setup["options"]["packages"].split())
    folders = [
        p.parent.relative_to(root) for top in ("remlblup", "validation") for p in (root / top).rglob("__init__.py")
    ]
    names = {".".join(f.parts if f.parts[0] == "remlblup" else ("remlblup", *f.parts)) for f in folders}
    assert names == installed
