"""The validation suite: our answers beside those of other programs and of books, number by number.

``remlblup validate`` runs it; `README.md` here says what is compared and where the numbers come from.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from remlblup.errors import ConvergenceWarning, DataError, said_elsewhere

if TYPE_CHECKING:
    from remlblup.validation.cases import Case, Outcome

GROUPS = ("books", "statsmodels", "dense", "reference")

__all__ = ["GROUPS", "collect", "run"]


@said_elsewhere(ConvergenceWarning)
def run(argv: Sequence[str] | None = None) -> int:
    """Run the suite and print its table: the ``remlblup validate`` command.

    Parameters
    ----------
    argv : list of str
        ``--case NAME …`` (shell patterns, or a part of the name), ``--only books|statsmodels|dense|reference``,
        ``--list``, ``--slow``, ``--out FILE.csv``, ``--reference DIR``, ``--verbose``.

    Returns
    -------
    int
        0 if everything agrees, 1 if any case falls short, 2 if the options cannot be used or what they ask for is not
        there.
    """
    options = _parser().parse_args(argv)
    cases, lines = collect(options.only, options.reference)
    if options.case:
        cases = [c for c in cases if any(_matches(c.name, pattern) for pattern in options.case)]
        if not cases:
            print(f"No case matches {', '.join(options.case)}. `remlblup validate --list` shows their names.")
            for line in lines:
                print(line)
            return 2
    if options.only and not cases:  # asked for by name: to compare nothing is no success
        for line in (*lines, "Nothing was compared."):
            print(line)
        return 2
    if options.list:
        for case in cases:
            print(f"{case.name:<46} {case.group:<12} {case.source}{'  (slow)' if case.slow else ''}")
        return 0
    if not (options.slow or options.case):
        lines += [f"SKIP {c.name}: takes long; --slow runs it" for c in cases if c.slow]
        cases = [c for c in cases if not c.slow]
    return _run_and_print(cases, lines, options.verbose, options.out)


def collect(only: str | None = None, reference: str | None = None) -> tuple[list[Case], list[str]]:
    """The cases that can be run here, and a line for each group that cannot.

    Parameters
    ----------
    only : {"books", "statsmodels", "dense", "reference"}, optional
    reference : path of the reference folder, optional
    """
    from remlblup.validation import book_cases, dense_cases, reference_cases, statsmodels_cases

    cases: list[Case] = []
    lines: list[str] = []
    live: dict[str, Callable[[], list[Case]]] = {
        "books": book_cases.cases,
        "statsmodels": statsmodels_cases.cases,
        "dense": dense_cases.cases,
    }
    for group in GROUPS if only is None else (only,):
        if group in live:
            cases += live[group]()
            continue
        folder = reference_cases.find_folder(reference)
        if folder.is_dir():
            cases += reference_cases.cases(folder)
        elif reference is not None:
            raise DataError(f"--reference: there is no folder '{folder}'.")
        else:
            lines.append(
                f"SKIP reference: no folder '{folder}'. Its data are others' and no part of this package: say where"
                f" they are with --reference DIR or in the environment variable {reference_cases.VARIABLE}."
            )
    return cases, lines


def _run_and_print(cases: Sequence[Case], skipped: Sequence[str], verbose: bool, out: str | None) -> int:
    from remlblup.validation import table
    from remlblup.validation.cases import run_case

    outcomes: list[Outcome] = []
    if cases:
        print(table.header())
    for case in cases:
        outcome = run_case(case)
        outcomes.append(outcome)
        print(table.title(outcome), flush=True)
        if verbose and case.note:
            print(f"  {case.note}")
        for row in outcome.comparisons:
            print(table.line(row, verbose), flush=True)
    for line in skipped:
        print(line)
    print(table.closing(outcomes, skipped))
    if out:
        table.write_csv(Path(out), outcomes)
        print(f"Written to {out}.")
    return 1 if any(o.failed for o in outcomes) else 0


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) or pattern in name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remlblup validate",
        description="Compare remlblup with statsmodels and a dense evaluation (live), with stored answers of other"
        " programs, and with books.",
    )
    parser.add_argument("--case", nargs="+", metavar="NAME", help="only these: names, parts of names or shell patterns")
    parser.add_argument("--only", choices=GROUPS, help="only this group of cases")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument("--slow", action="store_true", help="also run the cases that take long")
    parser.add_argument("--out", metavar="FILE.csv", help="write every comparison to a CSV file")
    parser.add_argument("--reference", metavar="DIR", help="folder with the stored answers")
    parser.add_argument("--verbose", action="store_true", help="show the note of every line")
    return parser
