"""The table of the verdicts."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remlblup.validation.verdicts.judge import Row

COLUMNS = ("label", "formula", "residual", "options", "category", "converged", "ours", "best", "reason", "note")


def report(rows: Sequence[Row]) -> str:
    """Counts by category."""
    counts = Counter(row.category for row in rows)
    seconds = np.array([row.seconds for row in rows]).sum(axis=0)
    lines = [f"{count:>6}  {category}" for category, count in counts.most_common()]
    lines.append(f"{len(rows):>6}  models; {seconds[0]:.0f} s of fits, {seconds[1]:.0f} s of search")
    return "\n".join(lines)


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """A row per problem."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
