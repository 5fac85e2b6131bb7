"""The validation suite: our answers beside those of other programs and of books, number by number.

``remlblup validate`` runs it; `README.md` here says what is compared and where the numbers come from.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from remlblup.errors import ConvergenceWarning, DataError, said_elsewhere

if TYPE_CHECKING:
    from remlblup.validation.cases import Case, Outcome

#: What is run unasked, and what only when asked for.
GROUPS = ("books", "statsmodels", "dense", "programs", "reference")
ON_DEMAND = ("R",)

__all__ = ["GROUPS", "ON_DEMAND", "collect", "run"]


@said_elsewhere(ConvergenceWarning)
def run(argv: Sequence[str] | None = None) -> int:
    """Run the suite and print its table: the ``remlblup validate`` command.

    Parameters
    ----------
    argv : list of str
        ``--case NAME …`` and ``--program NAME …`` (parts of names, shell patterns, regular expressions), ``--only
        GROUP …`` (`GROUPS` and `ON_DEMAND`), ``--list``, ``--slow``, ``--out FILE.csv``, ``--page FILE.md``,
        ``--reference DIR``, ``--verbose``.

    Returns
    -------
    int
        0 if everything agrees, 1 if any case falls short, 2 if the options cannot be used or what they ask for is not
        there.
    """
    from remlblup.validation.choose import chosen, unmatched

    options = _parser().parse_args(argv)
    cases, lines = collect(options.only, options.reference)
    asked = bool(options.case or options.program)
    wrong = unmatched(cases, options.case, options.program)
    cases = chosen(cases, options.case, options.program)
    if asked and (wrong or not cases):
        wrong = wrong or ["No case matches both --case and --program."]
        for line in (*wrong, "`remlblup validate --list` shows cases and programs.", *lines):
            print(line)
        return 2
    if options.only and not cases:  # asked for by name: to compare nothing is no success
        for line in (*lines, "Nothing was compared."):
            print(line)
        return 2
    if options.list:
        for case in cases:
            print(f"{case.name:<48} {case.group:<12} {case.source}{'  (slow)' if case.slow else ''}")
        for line in lines:
            print(line)
        return 0
    if not (options.slow or options.case):
        lines += [f"SKIP {c.name}: takes long; --slow runs it" for c in cases if c.slow]
        cases = [c for c in cases if not c.slow]
    return _run_and_print(cases, lines, options)


def collect(only: str | Sequence[str] | None = None, reference: str | None = None) -> tuple[list[Case], list[str]]:
    """The cases that can be run here, and a line for each group that cannot.

    Parameters
    ----------
    only : names of `GROUPS` and `ON_DEMAND`, optional
    reference : path of the reference folder, optional
    """
    from remlblup.validation import book_cases, dense_cases, reference_cases, statsmodels_cases
    from remlblup.validation.programs import judged, live, scripts

    folder = reference_cases.find_folder(reference)
    if reference is not None and not folder.is_dir():
        raise DataError(f"--reference: there is no folder '{folder}'.")
    there = folder if folder.is_dir() else None
    where = f"say where they are with --reference DIR or in the environment variable {reference_cases.VARIABLE}"
    fitted: dict[str, Callable[[], list[Case]]] = {
        "books": book_cases.cases,
        "statsmodels": statsmodels_cases.cases,
        "dense": dense_cases.cases,
    }
    cases: list[Case] = []
    lines: list[str] = []
    for group in GROUPS if only is None else [only] if isinstance(only, str) else only:
        if group in fitted:
            cases += fitted[group]()
        elif group == "programs":
            stored, absent = judged.cases(there)
            cases += stored + live.cases()
            if absent:
                lines.append(f"SKIP programs: {absent} more outputs are of data that are others': {where}.")
        elif group == "R":
            cases += scripts.cases(there) if scripts.has_r() else []
            lines += [] if scripts.has_r() else ["SKIP R: Rscript is not found. Install R with lme4, nlme and others."]
        else:
            cases += reference_cases.cases(there)
            if there is None:
                lines.append(
                    f"SKIP reference: no folder '{folder}'. Most of its data are others' and no part of this package:"
                    f" {where}."
                )
    return cases, lines


def _run_and_print(cases: Sequence[Case], skipped: Sequence[str], options: argparse.Namespace) -> int:
    from remlblup.validation import page, table
    from remlblup.validation.cases import run_case

    outcomes: list[Outcome] = []
    if cases:
        print(table.header())
    for case in cases:
        outcome = run_case(case)
        outcomes.append(outcome)
        print(table.title(outcome), flush=True)
        if options.verbose and case.note:
            print(f"  {case.note}")
        for row in outcome.comparisons:
            print(table.line(row, options.verbose), flush=True)
    for line in skipped:
        print(line)
    print(table.closing(outcomes, skipped))
    for write, path in ((table.write_csv, options.out), (page.write_page, options.page)):
        if path:
            write(Path(path), outcomes)
            print(f"Written to {path}.")
    return 1 if any(o.failed for o in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remlblup validate",
        description="Compare remlblup, number by number, with books, statsmodels and a dense evaluation (live), with"
        " the stored output of other programs, each read and judged as `remlblup crosscheck` does, and with stored"
        " answers; what is of data that are others' needs the folder with them (--reference).",
        epilog="A name is a part of it, a shell pattern or a regular expression, in any case: --case sleepstudy;"
        " --program lme4 nlme; --case '^oats.*/nlme$'. Exit code: 0 all agree, 1 not, 2 nothing to compare.",
    )
    named = {"nargs": "+", "metavar": "NAME", "default": []}
    parser.add_argument("--case", **named, help="only these models and data sets")
    parser.add_argument("--program", **named, help="only against these programs or books")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(*GROUPS, *ON_DEMAND),
        metavar="GROUP",
        help=f"only these groups of cases: {', '.join(GROUPS)}; and R, which runs the stored scripts in R on this"
        " machine, only if it is named",
    )
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument("--slow", action="store_true", help="also run the cases that take long")
    parser.add_argument("--out", metavar="FILE.csv", help="write every comparison to a CSV file")
    parser.add_argument("--page", metavar="FILE.md", help="write a page: digits by program and quantity, disagreements")
    parser.add_argument("--reference", metavar="DIR", help="folder with the answers and data that are others'")
    parser.add_argument("--verbose", action="store_true", help="show the note of every line")
    return parser
