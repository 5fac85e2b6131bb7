"""Filters of individuals and markers, with a count for every reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.errors import DataError, OptionError

if TYPE_CHECKING:
    from remlblup.relationship.genotypes import Genotypes

Row = tuple[str, str, object, int, int, int]


def apply_filters(genotypes: Genotypes, maf: float | None, call_rate_markers: float | None,
                  call_rate_individuals: float | None, hwe: float | None, monomorphic: bool) -> Genotypes:  # fmt: skip
    """See `Genotypes.filter`."""
    limits = {"maf": maf, "call_rate_markers": call_rate_markers, "call_rate_individuals": call_rate_individuals,
              "hwe": hwe}  # fmt: skip
    for name, value in limits.items():
        _check_limit(name, value, 0.5 if name == "maf" else 1.0)
    rows: list[Row] = []
    kept, judged = None, genotypes
    if call_rate_individuals is not None:
        low = genotypes.call_rate_individuals.to_numpy() < call_rate_individuals
        keep = _note(rows, "individuals", [("call rate", call_rate_individuals, low)], len(low))
        if low.any():
            kept = np.flatnonzero(keep)
            judged = genotypes._take(kept, None)
    p, counts = judged.allele_frequencies.to_numpy(), judged._by_marker[0]
    tests: list[tuple[str, object, np.ndarray]] = [("no genotypes", None, np.isnan(p))]
    if call_rate_markers is not None:
        tests.append(("call rate", call_rate_markers, judged.call_rate_markers.to_numpy() < call_rate_markers))
    if monomorphic:
        tests.append(("monomorphic", None, (p == 0.0) | (p == 1.0)))
    if maf is not None:
        tests.append(("maf", maf, np.minimum(p, 1.0 - p) < maf))
    if hwe is not None:
        tests.append(("hwe", hwe, judged.hwe_p_values().to_numpy() < hwe))
    keep = _note(rows, "markers", tests, len(counts))
    out = judged._take(None, None if keep.all() else np.flatnonzero(keep))
    out.filter_report = pd.DataFrame(rows, columns=["what", "reason", "limit", "failed", "removed", "left"])
    return out


def _note(rows: list[Row], what: str, tests: list[tuple[str, object, np.ndarray]], size: int) -> np.ndarray:
    """Which pass all tests; a row per test: how many fail it, how many it removes after the tests before it."""
    keep = np.ones(size, dtype=bool)
    for reason, limit, failed in tests:
        removed = int((keep & failed).sum())
        keep &= ~failed
        rows.append((what, reason, limit, int(failed.sum()), removed, int(keep.sum())))
    if not keep.any():
        reasons = ", ".join(f"{r[1]} ({r[4]:,})" for r in rows if r[0] == what and r[4])
        raise DataError(f"the filters leave no {what}: {reasons} of {size:,}. Use wider limits, or None for no filter.")
    return keep


def _check_limit(name: str, value: object, most: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0.0 <= value <= most:
        raise OptionError(f"{name}={value!r} must be a number from 0 to {most:g}, or None for no filter.")
