"""WOMBAT, GCTA and GEMMA: short files of estimates."""

from __future__ import annotations

import re

import numpy as np

from remlblup.crosschecking.readers.text import NUMBER, Lines, Number
from remlblup.crosschecking.results import COMPONENTS, FIXED, Results, component, matrix_components, table

WOMBAT = r"^\*+ Estimates (of|for) |^\s*\d+\s+COVS\s"
GCTA = r"^Source\tVariance\tSE\s*$"
GEMMA = r"^## GEMMA Version"


def read_wombat(lines: Lines) -> Results:
    """``SumEstimates.out``: a section per random effect and one of the residual."""
    heads = lines.all(r"^\*+ Estimates (?:of|for) +(.*?)\s*\**\s*$")
    if not heads:
        lines.fail(0, "'***** Estimates of …'")
    rows: list[tuple] = []
    for (at, head), stop in zip(heads, [*(h[0] for h in heads[1:]), len(lines)], strict=True):
        quoted = re.search(r'"([^"]+)"', head[1])
        term = "residual" if "residual" in head[1] else quoted[1] if quoted else head[1].replace(" covariances", "")
        rows += _wombat_section(lines, at, stop, term)
    likelihood = lines.search(rf"(?i)Maximum log likelihood\s*=?\s*({NUMBER})")
    value = None if likelihood is None else lines.number(likelihood[0], likelihood[1][1])
    return Results(
        "WOMBAT", None, lines.path, components=table(rows, COMPONENTS),
        loglik=None if value is None else value.value, loglik_rounding=0.0 if value is None else value.rounding,
    )  # fmt: skip


def _wombat_section(lines: Lines, at: int, stop: int, term: str) -> list[tuple]:
    """The list with standard errors, as long as the order of fit says, and in accord with the matrix."""
    order, match = lines.find(r"^Order of fit\s*=\s*(\d+)", "'Order of fit ='", at, stop)
    size = int(match[1])
    head, _ = lines.find(r"^Covariance matrix", "'Covariance matrix'", order, stop)
    values, roundings, end = _triangle(lines, head + 1, size)
    places = lines.all(rf"^\s*\d+\s+COVS\s+\S+\s+(\d+)\s+(\d+)\s+({NUMBER})\s+({NUMBER})", end, stop)
    if len(places) != size * (size + 1) // 2:
        lines.fail(stop, f"{size * (size + 1) // 2} lines 'COVS' of {term}, {len(places)} found")
    errors = np.full((size, size), np.nan)
    for line, match in places:
        lines.take(line, "an estimate")
        i, j = sorted((int(match[1]) - 1, int(match[2]) - 1))
        value = lines.number(line, match[3])
        if not 0 <= i <= j < size or abs(value.value - values[j, i]) > 2.0 * (value.rounding + roundings[j, i]):
            lines.fail(line, f"an estimate that is in the covariance matrix of {term}")
        values[i, j] = values[j, i] = value.value
        roundings[i, j] = roundings[j, i] = value.rounding
        errors[i, j] = errors[j, i] = lines.number(line, match[4]).value
    return matrix_components(term, values, roundings, errors)


def _triangle(lines: Lines, at: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """A matrix in print, whole or one of its triangles row by row."""
    values, roundings = np.zeros((size, size)), np.zeros((size, size))
    for i in range(size):
        lines.take(at + i, "a row of the covariance matrix")
        row = lines.numbers(at + i)
        if len(row) not in (i + 1, size, size - i):
            lines.fail(at + i, f"row {i + 1} of a covariance matrix, {size} x {size}")
        first = i if len(row) == size - i and len(row) != i + 1 and len(row) != size else 0
        for j, n in enumerate(row, first):
            values[i, j] = values[j, i] = n.value
            roundings[i, j] = roundings[j, i] = n.rounding
    return values, roundings, at + size


def read_gcta(lines: Lines) -> Results:
    """``.hsq``: the parts must add up to Vp."""
    head, _ = lines.find(GCTA, "'Source Variance SE'")
    found: dict[str, tuple[Number, float]] = {}
    for at in range(head + 1, len(lines)):
        fields = lines.take(at, "a row").split("\t")
        if len(fields) == 3:
            found[fields[0]] = (lines.number(at, fields[1]), lines.number(at, fields[2]).value)
        elif len(fields) == 2:
            found[fields[0]] = (lines.number(at, fields[1]), np.nan)
        elif lines.lines[at].strip():
            lines.fail(at, "source, variance and standard error, with tabs between")
    parts = [name for name in found if re.fullmatch(r"V\((G\d*|e|G\d*xE|GxE)\)", name)]
    for name in ("V(e)", "Vp"):
        if name not in found:
            lines.fail(len(lines), f"a row '{name}'")
    total, allowed = found["Vp"][0].value, 2.0 * sum(found[name][0].rounding for name in (*parts, "Vp"))
    if abs(sum(found[name][0].value for name in parts) - total) > allowed:
        lines.fail(lines.find(r"^Vp\t", "'Vp'")[0], f"the sum of {', '.join(parts)}")
    for name in parts:
        if name != "V(e)" and f"{name}/Vp" not in found:
            lines.fail(len(lines), f"a row '{name}/Vp'")
    logl = found.get("logL")
    rows = [
        component("residual" if name == "V(e)" else name, found[name][0].value, found[name][0].rounding, found[name][1])
        for name in parts
    ]
    return Results(
        "GCTA",
        None,
        lines.path,
        components=table(rows, COMPONENTS),
        loglik=None if logl is None else logl[0].value,
        loglik_rounding=0.0 if logl is None else logl[0].rounding,
        n_obs=int(found["n"][0].value) if "n" in found else None,
    )


def read_gemma(lines: Lines) -> Results:
    """A ``.log.txt`` of ``-lmm`` (the null model) or of ``-vc``."""
    version = lines.find(r"^## GEMMA Version\s*=\s*(\S+)", "'GEMMA Version'")[1][1]
    lines.find(r"^## Computation Time", "'## Computation Time' (the program has not finished)")

    def values(name: str) -> tuple[int, list[Number]] | None:
        found = lines.search(rf"^## {re.escape(name)}\s*=\s*(.*)$")
        if found is None:
            return None
        return found[0], [lines.number(found[0], text) for text in found[1][1].split()]

    if (several := values("sigma2 estimates")) is not None:
        at, numbers = several
        errors = values("se(sigma2)")
        if errors is None or len(errors[1]) != len(numbers) or len(numbers) < 2:
            lines.fail(at, "sigma2 estimates and as many se(sigma2)")
        names = [f"K{k + 1}" for k in range(len(numbers) - 1)] + ["residual"]
        rows = [component(t, n.value, n.rounding, e.value) for t, n, e in zip(names, numbers, errors[1], strict=True)]
    else:
        genetic, error = values("vg estimate in the null model"), values("ve estimate in the null model")
        if genetic is None or error is None or not genetic[1] or not error[1]:
            lines.fail(len(lines), "'vg estimate' and 've estimate'")
        rows = [component(t, n[1][0].value, n[1][0].rounding) for t, n in (("K1", genetic), ("residual", error))]
    loglik = values("REMLE log-likelihood in the null model")
    beta, spread = values("beta estimate in the null model"), values("se(beta)")
    fixed: list[tuple] = []
    if beta is not None and spread is not None:
        pairs = enumerate(zip(beta[1], spread[1], strict=False), 1)
        fixed = [(f"covariate {k}", b.value, s.value, b.rounding) for k, (b, s) in pairs]
    records = values("number of analyzed individuals")
    return Results(
        "GEMMA",
        version,
        lines.path,
        components=table(rows, COMPONENTS),
        fixed_effects=table(fixed, FIXED),
        loglik=None if loglik is None else loglik[1][0].value,
        loglik_rounding=0.0 if loglik is None else loglik[1][0].rounding,
        n_obs=None if records is None else int(records[1][0].value),
    )
