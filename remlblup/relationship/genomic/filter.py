"""Which individuals and markers fall short, with a count for every reason."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from remlblup.errors import DataError, OptionError
from remlblup.relationship.genomic.hardy_weinberg import exact_p_values

Row = tuple[str, str, object, int, int, int]
Test = tuple[str, object, np.ndarray]  # the reason, its limit, which fail


@dataclass
class Filter:
    """The limits of `Genotypes.filter`, and what they have removed so far."""

    maf: float | None
    call_rate_markers: float | None
    call_rate_individuals: float | None
    hwe: float | None
    monomorphic: bool
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check_limit("maf", self.maf, 0.5)
        for name in ("call_rate_markers", "call_rate_individuals", "hwe"):
            _check_limit(name, getattr(self, name), 1.0)

    def individuals(self, call_rate: np.ndarray) -> np.ndarray:
        """Which individuals stay, (n,), by the share of the markers that each has a genotype of, (n,)."""
        if self.call_rate_individuals is None:
            return np.ones(len(call_rate), dtype=bool)
        low = call_rate < self.call_rate_individuals
        return self._note("individuals", [("call rate", self.call_rate_individuals, low)], len(low))

    def markers(self, counts: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Which markers stay, (m,).

        Parameters
        ----------
        counts : (m, 4) individuals with 0, 1, 2 copies and with a missing genotype
        p : (m,) frequencies of the counted allele, NaN for a marker without genotypes
        """
        tests: list[Test] = [("no genotypes", None, np.isnan(p))]
        if self.call_rate_markers is not None:
            call_rate = 1.0 - counts[:, 3] / counts.sum(axis=1)
            tests.append(("call rate", self.call_rate_markers, call_rate < self.call_rate_markers))
        if self.monomorphic:
            tests.append(("monomorphic", None, (p == 0.0) | (p == 1.0)))
        if self.maf is not None:
            tests.append(("maf", self.maf, np.minimum(p, 1.0 - p) < self.maf))
        if self.hwe is not None:
            tests.append(("hwe", self.hwe, exact_p_values(counts[:, :3]) < self.hwe))
        return self._note("markers", tests, len(counts))

    @property
    def report(self) -> pd.DataFrame:
        """A row per test, in the order they were made."""
        return pd.DataFrame(self.rows, columns=["what", "reason", "limit", "failed", "removed", "left"])

    def _note(self, what: str, tests: list[Test], size: int) -> np.ndarray:
        """Which pass all tests; a row per test: how many fail it, how many it removes after the tests before it."""
        keep = np.ones(size, dtype=bool)
        for reason, limit, failed in tests:
            removed = int((keep & failed).sum())
            keep &= ~failed
            self.rows.append((what, reason, limit, int(failed.sum()), removed, int(keep.sum())))
        if not keep.any():
            reasons = ", ".join(f"{r[1]} ({r[4]:,})" for r in self.rows if r[0] == what and r[4])
            raise DataError(
                f"the filters leave no {what}: {reasons} of {size:,}. Use wider limits, or None for no filter."
            )
        return keep


def _check_limit(name: str, value: object, most: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0.0 <= value <= most:
        raise OptionError(f"{name}={value!r} must be a number from 0 to {most:g}, or None for no filter.")
