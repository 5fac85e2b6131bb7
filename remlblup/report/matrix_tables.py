"""Small covariance matrices as tables: covariances on and below the diagonal, correlations above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remlblup.arrays import Array
from remlblup.fit.tables.functions import covariance_matrices, errors_of_correlations
from remlblup.report.text import WIDTH, Table, exponent

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

EFFECTS = 2, 8  # sizes of the matrices shown
WITH_ERRORS = 4  # up to this many effects correlations have their standard errors
SECTIONS = 4  # matrices of one residual
NOTE = "covariances below the diagonal, correlations above"


def covariance_tables(fit: Estimates) -> list[Table]:
    """A table for each Σ over 2 to 8 effects that covary, of the random terms and of the residual."""
    parameters = fit.specification.parameters
    tables = []
    for k in range(len(parameters.terms) + 1):
        name = "residual" if k == len(parameters.terms) else parameters.terms[k]
        shown = [one for one in covariance_matrices(parameters, k, fit.theta) if covary(one[2])]
        if not shown:
            continue
        place = parameters.slices[k]
        covariance = fit.variance_covariance[place, place]
        for label, effects, sigma, derivatives in shown[:SECTIONS]:
            errors = errors_of_correlations(sigma, derivatives, covariance)
            heading = f"{name}, {label}" if label else name
            table = matrix_table(heading, variable(fit, k), effects, sigma, errors)
            tables += [] if table is None else [table]
    return tables


def covary(sigma: Array) -> bool:
    """Whether a matrix is small enough to be shown and has anything off its diagonal."""
    return EFFECTS[0] <= len(sigma) <= EFFECTS[1] and bool(np.any(sigma - np.diag(np.diag(sigma))))


def matrix_table(name: str, corner: str, effects: tuple[str, ...], sigma: Array, errors: Array) -> Table | None:
    """The table in the most detail that fits into a line; None if nothing fits."""
    labels = [str(e) for e in effects]
    for digits, with_errors, limit in ((5, True, 24), (5, False, 24), (5, False, 12), (4, False, 9), (3, False, 7)):
        if with_errors and len(effects) > WITH_ERRORS:
            continue
        cells = entries(sigma, errors, digits, with_errors)
        short = [label if len(label) <= limit else label[: limit - 1] + "…" for label in labels]
        rows = tuple((label, *row) for label, row in zip(short, cells, strict=True))
        note = NOTE + (" (s.e.)" if with_errors else "")
        room = WIDTH - len(note) - 2
        title = f"{name if len(name) <= room else name[: room - 1] + '…'}: {note}"
        table = Table(title, (corner, *short), rows)
        if max(len(line) for line in table.text().splitlines()[2:]) <= WIDTH:
            return table
    return None


def variable(fit: Estimates, k: int) -> str:
    """The variable whose levels are the effects of term k; "effect" where they are something else."""
    spec = fit.specification
    if k < len(spec.random):
        return str(getattr(spec.random[k].spec, "variable", "effect"))
    return (spec.residual_term.effect or "effect") if spec.records is not None else "effect"


def entries(sigma: Array, errors: Array, digits: int, with_errors: bool) -> list[list[str]]:
    """Cells of the table: the same decimals for all covariances where their sizes allow."""
    sizes = np.abs(np.diag(sigma))
    sizes = sizes[sizes > 0.0]
    places = max(0, digits - 1 - exponent(float(sizes.min()))) if len(sizes) else 0
    even = len(sizes) > 0 and exponent(float(sizes.max())) + places <= digits + 2

    def covariance(value: float) -> str:
        if value == 0.0:
            return "0"
        return f"{value:.{places}f}" if even else f"{value:.{digits}g}"

    with np.errstate(divide="ignore", invalid="ignore"):
        d = 1.0 / np.sqrt(np.diag(sigma))
        r = sigma * np.outer(d, d)

    def correlation(i: int, j: int) -> str:
        if not np.isfinite(r[i, j]):
            return ""
        known = with_errors and np.isfinite(errors[i, j]) and errors[i, j] > 0.0
        return f"{r[i, j]:.{min(4, digits)}f}" + (f" ({errors[i, j]:.3f})" if known else "")

    t = len(sigma)
    return [[correlation(i, j) if j > i else covariance(float(sigma[i, j])) for j in range(t)] for i in range(t)]
