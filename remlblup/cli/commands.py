"""What each command does; every function returns the exit code."""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remlblup.cli.options import in_options
from remlblup.errors import (
    ConvergenceWarning,
    DataError,
    DependencyError,
    OptionError,
    RemlBlupWarning,
    count,
    said_elsewhere,
)

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved
    from remlblup.fit.tables.functions import Estimate
    from remlblup.mixed_model import MixedModel
    from remlblup.result import Fit


@said_elsewhere(ConvergenceWarning)
def fit(given: Namespace) -> int:
    """``remlblup fit``: read, estimate, print, write."""
    from remlblup.cli.values import named_expressions, variances
    from remlblup.report.summary import Summary
    from remlblup.storage.transaction import made

    start, fix = variances("--start", given.start), variances("--fix", given.fix)
    expressions = named_expressions(given.function)
    if given.max_iterations is not None and given.max_iterations < 1:
        raise OptionError(f"--max-iterations {given.max_iterations} must be a positive whole number.")
    folder = folder_for(given.out)
    if folder is not None and (folder / "fitted.csv").exists() and not (folder / "fit.json").exists():
        raise OptionError(f"--out {given.out} holds the tables of remlblup blup: give another folder.")
    page = page_for(given.report)
    if given.means and folder is None and page is None:
        raise OptionError("--means go into a report: give --report FILE.html, or --out FOLDER.")
    model = read_model(given)
    check_expressions(model, expressions)
    check_means(model, given.means or ())
    with made(folder):  # before the time of a fit is spent
        result = model.fit(
            method=given.method,
            algorithm=given.algorithm,
            start=start,
            fix=fix,
            constrain=not given.no_constrain,
            max_iterations=given.max_iterations,
            tolerance=given.tolerance,
            progress=not given.quiet,
            checkpoint=given.checkpoint,
            seed=given.seed,
            probes=given.probes,
        )
        functions = {name: result.function(e) for name, e in expressions.items()}
        print(("" if given.quiet else "\n") + str(Summary(result, functions)))
        means = [name.strip() for name in given.means or ()]
        write(result, folder, functions=functions, means=means, escape=not given.no_escape)
        if page is not None:
            from remlblup.report.page import Page, write_page

            print(f"\nWritten to {write_page(Page(result, functions=functions, means=means), page)}")
    return 0 if result.converged else 1


def blup(given: Namespace) -> int:
    """``remlblup blup``: the mixed model equations at known variances."""
    import pandas as pd

    from remlblup.cli.values import variances
    from remlblup.storage.cells import csv_text
    from remlblup.storage.transaction import transaction

    known = variances("--variances", given.variances)
    folder = folder_for(given.out)
    if folder is not None and (folder / "fit.json").exists():  # its tables would pass for those of the fit
        raise OptionError(f"--out {given.out} holds a saved fit: give another folder.")
    model = read_model(given)
    assert known is not None
    solved = model.solve(known)
    print(solution_report(solved))
    if folder is not None:
        escape = not given.no_escape
        fitted = solved.fitted.to_frame().join(solved.residuals)
        tables = {
            "fixed_effects": csv_text(solved.fixed_effects, escape, index=True),
            "random_effects": csv_text(solved.random_effects, escape),
            "fitted": csv_text(fitted.set_axis(pd.Index(fitted.index + 1, name="row")), escape, index=True),  # from 1
        }
        with transaction(folder) as staging:
            for name, text in tables.items():
                staging.write(f"{name}.csv", text, "table")
        print(f"\nWritten to {folder}: fixed_effects.csv, random_effects.csv, fitted.csv")
    return 0


def validate(arguments: Sequence[str]) -> int:
    """``remlblup validate``: the validation suite, with its own arguments."""
    try:
        suite: Any = importlib.import_module("remlblup.validation")
        run = suite.run
    except (ModuleNotFoundError, AttributeError) as error:
        name = getattr(error, "name", None)
        if isinstance(error, ModuleNotFoundError) and name != "remlblup.validation":
            raise DependencyError(f"the validation suite needs the package '{name}': pip install {name}.") from None
        raise DependencyError(
            "the validation suite is not part of this installation: install remlblup from its source, pip install ."
        ) from None
    return int(run(list(arguments)))


def warmup(given: Namespace) -> int:
    """``remlblup warmup``: compile the sparse kernels now."""
    from remlblup.warmup import warm_up

    started = time.perf_counter()
    warm_up()
    print(f"The kernels of large models are compiled ({time.perf_counter() - started:.0f} s).")
    return 0


@said_elsewhere(ConvergenceWarning)
def demo(given: Namespace) -> int:
    """``remlblup demo``: two analyses from data to report."""
    folder = folder_for(given.out)
    assert folder is not None
    done = [sleepstudy(folder / "sleepstudy"), flock(folder / "flock")]
    print(f"\nOpen {folder / 'sleepstudy' / 'report.html'} and {folder / 'flock' / 'report.html'} in a browser.")
    return 0 if all(result.converged for result in done) else 1


# -- the demonstration -----------------------------------------------------------------------


def sleepstudy(folder: Path) -> Fit:
    """Random intercepts and slopes in real data."""
    import remlblup as rb

    heading("1. Random slopes: reaction times in a study of sleep deprivation (Belenky et al. 2003)")
    model = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy"))
    result = model.fit(progress=True)
    print(f"\n{result.summary()}")
    write(result, folder, title="Reaction times in a study of sleep deprivation")
    return result


def flock(folder: Path) -> Fit:
    """An animal model on simulated data, where the truth is known."""
    import numpy as np

    import remlblup as rb
    from remlblup.report.summary import Summary, Table, aligned

    simulated = rb.simulate_flock()
    truth = simulated.truth
    animals = len(simulated.pedigree)
    heading(f"2. Animal model: weaning weights of a simulated flock ({count(animals, 'animal')}, truth known)")
    pedigree = rb.Pedigree.from_frame(simulated.pedigree)
    model = rb.MixedModel(
        "y ~ sex + litter + (1 | group) + (1 | dam) + (1 | vm(id, A))", simulated.data, relationships={"A": pedigree}
    )
    result = model.fit(progress=True)
    h2 = result.function("vm(id, A) / (vm(id, A) + dam + residual)")
    components = result.variance_components.set_index("term")
    names = {"vm(id, A)": "additive", "dam": "maternal", "residual": "residual"}
    true = [*(truth["variances"][n] for n in names.values()), truth["h2"]]
    pairs = [*components.loc[list(names), ["estimate", "std_error"]].itertuples(index=False), tuple(h2)]
    estimate, error = aligned(*zip(*pairs, strict=True))
    rows = tuple(zip((*names, "heritability"), (f"{v:g}" for v in true), estimate, error, strict=True))
    bred = truth["breeding_values"]
    accuracy = float(np.corrcoef(result.blup("vm(id, A)")["Intercept"].loc[bred.index], bred)[0, 1])
    note = f"correlation of estimated and true breeding values of all {animals:,} animals: {accuracy:.3f}"
    compared = Table("Truth and estimate", ("component", "truth", "estimate", "s.e."), rows, note=note)
    functions = {"h2": h2}
    print(f"\n{Summary(result, functions)}\n\n{compared.text()}")
    title = "Animal model of a simulated flock"
    write(result, folder, title=title, functions=functions, sections=(compared,))
    return result


# -- parts -----------------------------------------------------------------------------------


def read_model(given: Namespace) -> MixedModel:
    """The model that the arguments of ``fit`` and ``blup`` describe; notes go to stderr."""
    from remlblup.cli.factors import likely_factors, make_factors
    from remlblup.cli.values import named_files
    from remlblup.mixed_model import MixedModel
    from remlblup.model.covariates import codes_text
    from remlblup.readers.tables import read_relationships, read_table

    pedigrees = named_files("--pedigree", given.pedigree)
    matrices = named_files("--relationship", given.relationship)
    factors = [c.strip() for item in given.factor or () for c in item.split(",") if c.strip()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RemlBlupWarning)
        data = make_factors(read_table(given.data, given.sep), factors)
        notes = list(data.attrs.get("notes", ()))
        relationships = read_relationships(
            pedigrees,
            matrices,
            given.inverse or (),
            given.hermaphrodites,
            given.groups,
            named_files("--genotypes", given.genotypes),
            given.pedigree_columns,
            formed=given.engine != "stochastic",
        )
        notes += parents_added(relationships)
        try:
            model = MixedModel(
                given.formula,
                data,
                relationships,
                given.residual,
                given.weights,
                missing=given.missing,
                engine=given.engine,
                device=given.device,
                unknown_parents=_choice(given.unknown_parents),
            )
        except DataError:
            say(notes, given.quiet)
            raise
    # Of columns that look like codes the note below says more.
    known = codes_text(model.specification.codes)
    for warning in caught:
        if not issubclass(warning.category, RemlBlupWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) != known:
            notes.append(given_by(in_options(str(warning.message)), given))
    if found := likely_factors(model.specification):
        which = ", ".join(f"{name} ({n} values)" for name, n in found.items())
        notes.append(f"covariates in the fixed part: {which}. If they are factors, add --factor {','.join(found)}")
    say(notes, given.quiet)
    return model


def parents_added(relationships: Mapping[str, Any]) -> list[str]:
    """A note of each pedigree that has parents without a row."""
    from remlblup.relationship.base import added_text

    return [f"pedigree {name}: {added_text(K.added)}" for name, K in relationships.items() if len(K.added)]


def _choice(unknown_parents: str) -> str | list[str]:
    """What to do with unknown parents, or the columns that hold parents."""
    from remlblup.model.unknown_parents import CHOICES

    return unknown_parents if unknown_parents in CHOICES else [c.strip() for c in unknown_parents.split(",")]


def given_by(note: str, given: Namespace) -> str:
    """A note with the options that gave the relationships it speaks of."""
    options = [option for option in ("pedigree", "genotypes", "relationship") if getattr(given, option)]
    return note.replace("relationships= has", " and ".join(f"--{option}" for option in options) + " gives")


def say(notes: Sequence[str], quiet: bool) -> None:
    """Notes on stderr, a line each."""
    for note in () if quiet else notes:
        print(f"note: {note}", file=sys.stderr)


def check_expressions(model: MixedModel, expressions: Mapping[str, str]) -> None:
    """Refuse a function that cannot be evaluated before the time of a fit is spent."""
    import numpy as np

    from remlblup.fit.tables.functions import evaluate

    parameters = model.specification.parameters
    for expression in expressions.values():
        with said_elsewhere(RemlBlupWarning):  # of these values it means nothing
            evaluate(expression, parameters, np.ones(parameters.size), np.zeros((parameters.size, parameters.size)))


def check_means(model: MixedModel, means: Sequence[str]) -> None:
    """Refuse means of what is no factor of the model before the time of a fit is spent."""
    from remlblup.inference.fixed.variables import check_factors

    for factors in means:
        check_factors(model.specification, factors, "--means")


def page_for(report: str | None) -> Path | None:
    """The file to write a report to, if it can be one."""
    if report is None:
        return None
    page = Path(report)
    if page.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--report {report} must be the name of an .html file; --out names a folder.")
    if page.is_dir():
        raise OptionError(f"--report {report} is a folder: give the name of an .html file.")
    return page


def folder_for(out: str | None) -> Path | None:
    """The folder to write to, if it can be one."""
    if out is None:
        return None
    folder = Path(out)
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise DataError(f"--out {out}: {part} is a file; give the name of a folder.")
    return folder


def write(
    result: Fit,
    folder: str | Path | None,
    *,
    title: str | None = None,
    functions: Mapping[str, Estimate] | None = None,
    means: Sequence[str] = (),
    sections: Sequence[Any] = (),
    escape: bool = True,
) -> None:
    """The report in a folder, and where it is."""
    if folder is None:
        return
    from remlblup.report.folder import write_report

    path = write_report(result, folder, title=title, functions=functions, means=means, sections=sections, escape=escape)
    print(f"\nWritten to {path}: report.html, report.txt, fit.json, tables (CSV), plots (PNG)")


def heading(text: str) -> None:
    print(f"\n{text}\n", flush=True)


def solution_report(solved: Solved) -> str:
    """Model, variances, fixed effects and the first random effects."""
    from remlblup.report.summary import (
        Table,
        aligned,
        described,
        fixed_table,
        levels,
        no_columns,
        nothing_added,
        random_table,
        records,
        underlined,
    )

    spec = solved.specification
    facts = [("Formula", str(solved.formula)), ("Records", records(solved))]
    if spec.records is not None and spec.records.unknown_parents:
        facts.append(("", nothing_added(spec)))
    facts += no_columns(spec.fixed)
    facts += [("Random" if k == 0 else "", levels(d)) for k, d in enumerate(spec.random)]
    facts += [("", f"{d.name}: {d.relationship.note}") for d in spec.random if d.relationship.note]
    if spec.formula is not None and spec.formula.offset:
        facts.append(("Offset", " + ".join(spec.formula.offset)))
    facts.append(("logL", f"{solved.loglik:.4f} (REML, at these variances)"))
    (values, _) = aligned(solved.theta, [float("nan")] * len(solved.theta))
    rows = tuple((t, p, v) for (t, p), v in zip(spec.parameters.pairs, values, strict=True))
    tables = [Table("Variances, as given", ("term", "parameter", "variance"), rows, 2)]
    if spec.p:
        tables.append(fixed_table(solved))
    if spec.random:
        tables.append(random_table(solved, 10))
    head = underlined("Mixed model equations at known variances", "=") + "\n" + described(facts)
    return "\n\n".join([head, *(t.text() for t in tables)])
