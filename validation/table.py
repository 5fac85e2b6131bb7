"""The table of the suite: on the screen and as CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from remlblup.validation.cases import Outcome
from remlblup.validation.compare import Comparison, Verdict

COLUMNS = ("quantity", "ours", "theirs", "difference", "digits", "required", "verdict")
_QUANTITY = 52


def header() -> str:
    """The line over the table."""
    return (
        f"{'quantity':<{_QUANTITY}} {'ours':>18} {'theirs':>18} {'difference':>11} {'digits':>6} {'req.':>5}  verdict"
    )


def title(outcome: Outcome) -> str:
    """The line over a case: its name and the other program."""
    case = outcome.case
    return f"{case.name}   [{case.source}; {outcome.seconds:.1f} s]"


def line(row: Comparison, verbose: bool = False) -> str:
    """One comparison on one line; its note behind it where it did not simply agree, or always if verbose."""
    name = row.quantity if row.count <= 1 else f"{row.quantity} ({row.count})"
    text = (
        f"  {_fit(name, _QUANTITY - 2):<{_QUANTITY - 2}} {_number(row.ours):>18} {_number(row.theirs):>18}"
        f" {_short(row.difference):>11} {_digits(row.digits):>6} {_digits(row.required):>5}  {row.verdict.value}"
    )
    return f"{text}  ({row.note})" if row.note and (verbose or row.verdict is not Verdict.OK) else text


def closing(outcomes: Sequence[Outcome], skipped: Sequence[str] = ()) -> str:
    """The last lines: all agree, or every failure again."""
    rows = [c for o in outcomes for c in o.comparisons]
    count = Counter(c.verdict for c in rows)
    compared = len(rows) - count[Verdict.SKIP]
    total = f"{compared} comparisons in {len(outcomes)} cases"
    asides = []
    if count[Verdict.SHORT]:
        asides.append(f"{count[Verdict.SHORT]} where theirs stops short of the optimum")
    if count[Verdict.KNOWN]:
        asides.append(f"{count[Verdict.KNOWN]} in which others are known to differ")
    if count[Verdict.SKIP]:
        asides.append(f"{count[Verdict.SKIP]} quantities skipped")
    if skipped:
        asides.append("more is skipped, as said above")
    aside = f" ({'; '.join(asides)})" if asides else ""
    failures = [c for c in rows if c.failed]
    if not failures:
        return f"{total}: all agree{aside}." if compared else f"Nothing was compared{aside}."
    names = {c.case for c in failures}
    lines = ["", "=" * 100, f"{total}: {len(failures)} COMPARISONS FALL SHORT in {len(names)} cases{aside}:"]
    lines += [f"{c.case}\n{line(c, verbose=True)}" for c in failures]
    return "\n".join([*lines, "=" * 100])


def write_csv(path: str | Path, outcomes: Iterable[Outcome]) -> None:
    """Every comparison as a row of a CSV file, with its note."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "against", *COLUMNS, "kind", "program", "values", "note"])
        for outcome in outcomes:
            for c in outcome.comparisons:
                writer.writerow(
                    [
                        c.case,
                        outcome.case.source,
                        c.quantity,
                        repr(c.ours),
                        repr(c.theirs),
                        repr(c.difference),
                        f"{c.digits:.2f}",
                        f"{c.required:g}",
                        c.verdict.value,
                        c.kind,
                        c.program or outcome.case.source,
                        c.count,
                        c.note,
                    ]
                )


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _number(value: float) -> str:
    return f"{value:.10g}" if np.isfinite(value) else "–"


def _short(value: float) -> str:
    return f"{value:.2e}" if np.isfinite(value) else "–"


def _digits(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "–" if np.isnan(value) else "none"
