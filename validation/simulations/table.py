"""The table of the simulations: bias, coverage, convergence and false verdicts by family."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from remlblup.validation.simulations.family import Family
from remlblup.validation.simulations.replicate import Replicate

#: Half the width of a 95 % interval in standard errors.
_WIDTH = 1.96
_HEAD = ("quantity", "truth", "mean", "bias/mcse", "sd", "mean s.e.", "coverage", "n")


@dataclass(frozen=True)
class Row:
    """One quantity of one family over its converged replicates.

    Attributes
    ----------
    truth, mean, sd : of the estimates
    bias : in Monte Carlo standard errors, (mean − truth)/(sd/√n)
    error : mean of the standard errors
    coverage : share of intervals that hold the truth, among the estimates with a standard error
    count, intervals : number of estimates, and of intervals
    """

    quantity: str
    truth: float
    mean: float
    bias: float
    sd: float
    error: float
    coverage: float
    count: int
    intervals: int


@dataclass(frozen=True)
class Summary:
    """One family."""

    family: Family
    rows: tuple[Row, ...]
    replicates: tuple[Replicate, ...]

    @property
    def converged(self) -> list[Replicate]:
        return [r for r in self.replicates if r.converged]

    @property
    def false(self) -> list[Replicate]:
        return [r for r in self.replicates if r.complaints]

    def headline(self) -> str:
        n, fits = len(self.replicates), self.converged
        edge = sum(r.boundary for r in fits)
        ms = 1e3 * float(np.mean([r.seconds for r in self.replicates]))
        return (
            f"{self.family.name}: {n} replicates, converged {len(fits) / n:.1%}, at the boundary"
            f" {edge / max(len(fits), 1):.1%}, false verdicts {len(self.false)} ({ms:.0f} ms a fit)"
        )


def summarize(family: Family, replicates: Sequence[Replicate]) -> Summary:
    """Bias and coverage over the converged replicates."""
    fits = [r for r in replicates if r.converged]
    rows = tuple(_row(name, value, fits) for name, value in family.quantities(family.truth).items()) if fits else ()
    return Summary(family, rows, tuple(replicates))


def _row(name: str, truth: float, fits: Sequence[Replicate]) -> Row:
    x = np.array([r.estimates[name] for r in fits])
    e = np.array([r.errors[name] for r in fits])
    known = np.isfinite(e)
    sd = float(x.std(ddof=1)) if len(x) > 1 else np.nan
    bias = (x.mean() - truth) / (sd / np.sqrt(len(x))) if sd > 0 else np.nan
    held = np.abs(x[known] - truth) <= _WIDTH * e[known]
    return Row(
        name,
        truth,
        float(x.mean()),
        float(bias),
        sd,
        float(e[known].mean()) if known.any() else np.nan,
        float(held.mean()) if known.any() else np.nan,
        len(x),
        int(known.sum()),
    )


def lines(summary: Summary) -> list[str]:
    """What is printed of a family."""
    out = [summary.headline()]
    out.append(f"  {_HEAD[0]:<48}" + "".join(f"{h:>11}" for h in _HEAD[1:]))
    for r in summary.rows:
        out.append(
            f"  {r.quantity[:48]:<48}{r.truth:>11.4g}{r.mean:>11.4g}{r.bias:>11.2f}{r.sd:>11.3g}{r.error:>11.3g}"
            f"{r.coverage:>11.1%}{r.intervals:>11d}"
        )
    for replicate in summary.replicates:
        if replicate.reason:
            again = {True: "; converges from the truth", False: "; nor from the truth", None: ""}[replicate.recovered]
            out.append(f"  replicate {replicate.number}: {replicate.reason}{again}")
        out += [f"  replicate {replicate.number}: FALSE VERDICT: {c}" for c in replicate.complaints]
    return out


def write_csv(path: str | Path, summaries: Iterable[Summary]) -> None:
    """A row per quantity, with the shares of its family."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["structure", "family", *_HEAD, "replicates", "converged", "boundary", "false verdicts"])
        for s in summaries:
            shares = [len(s.replicates), len(s.converged), sum(r.boundary for r in s.converged), len(s.false)]
            for r in s.rows:
                writer.writerow(
                    [
                        s.family.structure,
                        s.family.name,
                        r.quantity,
                        r.truth,
                        r.mean,
                        r.bias,
                        r.sd,
                        r.error,
                        r.coverage,
                        r.intervals,
                        *shares,
                    ]
                )
