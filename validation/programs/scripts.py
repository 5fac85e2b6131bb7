"""Running the programs: scripts that `rb.write_model` writes, or that are stored beside what they printed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

import remlblup as rb
from remlblup.crosschecking.writers.write import WRITERS
from remlblup.errors import DependencyError
from remlblup.validation.cases import Case
from remlblup.validation.compare import Comparison, skipped
from remlblup.validation.programs.judged import compare_output, fitted, renamed
from remlblup.validation.programs.stored import Output, StoredCase, stored_cases

GROUP = "R"
#: Seconds after which a script is given up.
PATIENCE = 300.0
#: Another version stops elsewhere: digits required of a run are fewer than of what is stored, and six at most.
SLACK, ENOUGH = 0.5, 6.0
#: What R prints goes into a file of this name.
PRINTED = "summary.txt"


class NotInstalled(DependencyError):
    """R, or a package of it, is not on this machine."""


def has_r() -> bool:
    """Whether R is here."""
    return shutil.which("Rscript") is not None


def cases(reference: Path | None) -> list[Case]:
    """Every shipped output that a script makes, made anew."""
    return [
        Case(f"{s.name}/{o.name} (run)", GROUP, partial(_compare, s, o, reference), f"{o.program.split()[0]}, run here")
        for s in stored_cases()
        for o in s.outputs
        if o.made and not s.needs_reference(o)
    ]


def _compare(stored: StoredCase, output: Output, reference: Path | None, case: str) -> list[Comparison]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = make(stored, output, Path(folder))
        except NotInstalled as error:
            return [skipped(case, output.program.split()[0], str(error))]
        results = renamed(rb.read_results(files), output)
    digits = {kind: min(required - SLACK, ENOUGH) for kind, required in output.digits.items()}
    return compare_output(stored, replace(output, digits=digits), results, reference, case)


def make(stored: StoredCase, output: Output, folder: Path) -> list[Path]:
    """Run the script of an output; its files in the order of the case, as the program wrote them."""
    if output.made in WRITERS:
        rb.write_model(fitted(stored, None), output.made, folder)
        script = "model.R"
    else:
        script = output.made
        shutil.copy(stored.folder / script, folder / script)
        _write_data(stored, folder)
    (folder / PRINTED).write_text(run(script, folder), encoding="utf-8")
    return [folder / f.removeprefix(f"{output.name}.") for f in output.files]


def run(script: str, folder: Path) -> str:
    """What an R script prints.

    Raises
    ------
    NotInstalled
        If R or a package is not there.
    RuntimeError
        If the script fails, with the end of what it said.
    """
    if not has_r():
        raise NotInstalled("Rscript is not found: install R")
    done = subprocess.run(
        ["Rscript", "--vanilla", script], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if "there is no package called" in done.stderr or "command not found" in done.stderr or done.returncode == 127:
        raise NotInstalled(" ".join(done.stderr.split()[-12:]))
    if done.returncode != 0:
        raise RuntimeError(f"{script}: {done.stderr[-500:]}")
    return done.stdout


def _write_data(stored: StoredCase, folder: Path) -> None:
    """``data.csv``, and a relationship among the animals with records as ``K.csv``, in their order."""
    fit = fitted(stored, None)
    records = fit.specification.records
    assert records is not None
    records.original.to_csv(folder / "data.csv", index=False)
    for design in fit.specification.random:
        if not design.is_identity and design.term is not None:
            places = design.relationship.find(records.original[design.term.group.factors[0]])
            pd.DataFrame(design.relationship.among(places)).to_csv(folder / "K.csv", index=False, header=False)


def store(stored: StoredCase) -> list[str]:
    """Make the outputs of a case anew, in its folder."""
    kept = []
    for output in stored.outputs:
        if output.made:
            with tempfile.TemporaryDirectory() as folder:
                for source, name in zip(make(stored, output, Path(folder)), output.files, strict=True):
                    shutil.copy(source, stored.folder / name)
                    kept.append(f"{stored.name}/{name}")
    return kept
