"""The table, printed row by row, and as a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from remlblup.validation.benchmarks.outcome import Outcome, notes, ratio
from remlblup.validation.benchmarks.runner import Left

WIDTHS = (17, 14, 28, 9, 9, 8, 8, 18)
TITLES = ("case", "program", "seconds: median [min-max]", "ratio", "first", "import", "peak MB", "logL")
FIELDS = (
    "case",
    "program",
    "median_s",
    "min_s",
    "max_s",
    "runs",
    "ratio",
    "first_s",
    "import_s",
    "peak_mb",
    "loglik",
    "method",
    "loglik_ml",
    "iterations",
    "converged",
    "estimates",
    "note",
)


def header() -> str:
    """The head of the table."""
    return _join([*TITLES, "note"]) + "\n" + "-" * (sum(WIDTHS) + len(WIDTHS) + 40)


def line(outcome: Outcome, reference: Outcome | None) -> str:
    """One program on one case."""
    loglik = outcome.answer.get("loglik")
    cells = [
        outcome.case,
        outcome.peer,
        _spread(outcome.warm, outcome.seconds),
        number(ratio(outcome, reference)),
        number(outcome.first),
        number(outcome.import_seconds),
        "-" if outcome.peak_mb is None else f"{outcome.peak_mb:.0f}",
        "-" if loglik is None else f"{loglik:.6f}",
        "; ".join(notes(outcome, reference)),
    ]
    return _join(cells)


def left_lines(case: str, left: Iterable[Left]) -> list[str]:
    """The programs that are not run on a case, those with the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for item in left:
        by_reason.setdefault(item.reason, []).append(item.peer)
    return [f"{case:<{WIDTHS[0]}} not run: {', '.join(names) or 'case'}: {why}" for why, names in by_reason.items()]


def write_csv(path: str | Path, rows: Sequence[tuple[Outcome | Left, Outcome | None]]) -> None:
    """All rows with everything known of them; programs that were not run too."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for item, reference in rows:
            if isinstance(item, Left):
                writer.writerow({"case": item.case, "program": item.peer, "note": f"not run: {item.reason}"})
            else:
                writer.writerow(_record(item, reference))


def _record(outcome: Outcome, reference: Outcome | None) -> dict:
    answer = outcome.answer
    return {
        "case": outcome.case,
        "program": outcome.peer,
        "median_s": outcome.seconds,
        "min_s": min(outcome.warm, default=None),
        "max_s": max(outcome.warm, default=None),
        "runs": len(outcome.runs),
        "ratio": ratio(outcome, reference),
        "first_s": outcome.first,
        "import_s": outcome.import_seconds,
        "peak_mb": outcome.peak_mb,
        **{name: answer.get(name) for name in ("loglik", "method", "loglik_ml", "iterations", "converged")},
        "estimates": json.dumps(answer.get("estimates", {})),
        "note": "; ".join(notes(outcome, reference)),
    }


def number(value: float | None) -> str:
    """Three digits, "-" for none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def _spread(runs: Sequence[float], middle: float | None) -> str:
    if middle is None:
        return "-"
    return f"{number(middle)} [{number(min(runs))}-{number(max(runs))}]"


def _join(cells: Sequence[str]) -> str:
    return " ".join([*(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=False)), *cells[len(WIDTHS) :]])
