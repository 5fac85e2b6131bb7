"""AIREMLF90, REMLF90 and BLUPF90+: their logs, and the file ``solutions``."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from remlblup.crosschecking.readers.text import NUMBER, Lines, Number
from remlblup.crosschecking.results import COMPONENTS, RANDOM, Results, matrix_components, table

LOG = r"(?i)AI-?REMLF90|\bREMLF90|BLUPF90\+|^\s*Final Estimates\s*$"
SOLUTIONS = r"^\s*trait/effect level\s+solution"
_FINAL = r"^\s*Final Estimates"
_RANDOM = r"^\s*Genetic variance\(s\) for effect\s+(\d+)"
_RESIDUAL = r"^\s*Residual variance\(s\)"
_HETEROGENEOUS = r"^\s*\d+ -th trait:\s+\d+ -th coefficient =\s+(\S+)"
_ERROR = r"^\s*SE for ([GR])"
_OBSERVED = r"^\s*inverse of AI matrix"


def read_log(lines: Lines) -> Results:
    """A log: the final estimates with their standard errors, the rounds, where they started."""
    final, _ = lines.find(_FINAL, "'Final Estimates' (the program has not finished)")
    version = lines.search(r"(?i)(AI-REMLF90|REMLF90|BLUPF90\+)\s+(?:ver\.|version)?\s*([\d.]+)", 0, final)
    traits = lines.search(r"Number of Traits\s+(\d+)", 0, final)
    t = None if traits is None else int(traits[1][1])
    blocks = _blocks(lines, final, t)
    _check_number(lines, final, len(blocks))
    last = _criteria(lines, final)
    records = lines.search(r"^\s*read\s+(\d+)\s+records", 0, final)
    return Results(
        "AIREMLF90" if version is None else version[1][1].upper().replace("AI-", "AI"),
        None if version is None else version[1][2],
        lines.path,
        components=table([row for block in blocks for row in block], COMPONENTS),
        loglik=None if last is None else -0.5 * last.value,
        loglik_rounding=0.0 if last is None else 0.5 * last.rounding,
        history=_history(lines, final),
        start=_start(lines, final, t),
        n_obs=None if records is None else int(records[1][1]),
    )


def _blocks(lines: Lines, final: int, traits: int | None) -> list[list[tuple]]:
    """Rows of every matrix of the final estimates, with the standard errors that follow."""
    errors = _errors(lines, final, traits)
    places = lines.all(f"{_RANDOM}|{_RESIDUAL}|^\\s*new R", final)
    out = []
    for at, match in places:
        if "new R" in match[0]:
            out.append(_heterogeneous(lines, at, errors))
            continue
        term = "residual" if match[1] is None else f"effect {match[1]}"
        values, roundings, _ = lines.square(at + 1, f"the (co)variances of {term}", None)
        if values.size < (traits or 1) ** 2 or len(values) % (traits or 1):
            lines.fail(at + 1, f"a matrix of {traits} traits")
        kind = "R" if term == "residual" else "G"
        error = errors[kind].pop(0) if errors[kind] else None
        if error is not None and error.shape != values.shape:
            lines.fail(at + 1, f"a matrix of the size of its standard errors, {len(error)} x {len(error)}")
        out.append(matrix_components(term, values, roundings, error))
    if not places or ("Residual" not in places[-1][1][0] and "new R" not in places[-1][1][0]):
        lines.fail(len(lines), "'Residual variance(s)'")
    if errors["G"]:
        lines.fail(final, "as many matrices as there are standard errors")
    return out


def _errors(lines: Lines, final: int, traits: int | None) -> dict[str, list[np.ndarray]]:
    """Standard errors by "G" and "R": AIREMLF90 prints them after its matrix of sampling variances."""
    out: dict[str, list[np.ndarray]] = {"G": [], "R": []}
    for at, match in lines.all(_ERROR, final):
        heterogeneous = lines.search(_HETEROGENEOUS, final) is not None and match[1] == "R"
        if heterogeneous:
            values = []
            while at + 1 < len(lines) and (row := lines.numbers(at + 1)):
                lines.take(at + 1, "the standard errors of R")
                values += [n.value for n in row]
                at += 1
            out["R"].append(np.array(values))
        else:
            out[match[1]].append(lines.square(at + 1, f"the standard errors of {match[1]}")[0])
    only_ai = f"{_OBSERVED}|{_HETEROGENEOUS}"  # printed by AIREMLF90 alone, and with standard errors below
    if not out["R"] and lines.search(only_ai, final) is not None:
        lines.fail(len(lines), "'SE for R' with the standard errors")
    if not out["R"] and lines.search("AI-REMLF90", 0, final) is not None:
        lines.fail(len(lines), "'inverse of AI matrix' and 'SE for R'")
    random = lines.all(_RANDOM, final)
    if out["R"] and len(out["G"]) != len(random):
        lines.fail(len(lines), f"'SE for G' of {len(random)} effects, not of {len(out['G'])}")
    return out


def _heterogeneous(lines: Lines, at: int, errors: dict[str, list[np.ndarray]]) -> list[tuple]:
    """Coefficients of a residual variance exp(Xb)."""
    found = []
    end = at + 1
    while end < len(lines) and (match := re.search(_HETEROGENEOUS, lines.lines[end])):
        lines.take(end, "a coefficient of R")
        found.append(lines.number(end, match[1], "a coefficient of R"))
        end += 1
    if not found:
        lines.fail(at + 1, "coefficients of R")
    error = errors["R"].pop(0) if errors["R"] else np.full(len(found), np.nan)
    return [
        ("residual", "coefficient", str(k + 1), "", n.value, error[k] if k < len(error) else np.nan, n.rounding)
        for k, n in enumerate(found)
    ]


def _check_number(lines: Lines, final: int, found: int) -> None:
    """As many matrices as the head announces."""
    announced = lines.search(r"# random effects=\s+(\d+)", 0, final)
    if announced is not None and found != int(announced[1][1]) + 1:
        lines.fail(len(lines), f"the matrices of {announced[1][1]} random effects and the residual, {found} found")


def _criteria(lines: Lines, final: int) -> Number | None:
    """The last −2 log L, one of as many as there were rounds."""
    places = lines.all(rf"-2logL =\s+({NUMBER})", 0, final)
    rounds = lines.all(r"^\s*In round\s+(\d+)", 0, final)
    if places and rounds and not len(places) == len(rounds) == int(rounds[-1][1][1]):
        lines.fail(final, f"-2logL of all {rounds[-1][1][1]} rounds")
    return None if not places else lines.number(places[-1][0], places[-1][1][1], "-2logL")


def _history(lines: Lines, final: int) -> pd.DataFrame | None:
    """A row per round: −½(−2 log L) at the components of the round before, and those components."""
    rounds = lines.all(rf"-2logL =\s+({NUMBER})", 0, final)
    if not rounds:
        return None
    rows = [{"iteration": k, "loglik": -0.5 * lines.number(at, m[1]).value} for k, (at, m) in enumerate(rounds)]
    for row, (at, _), stop in zip(rows, rounds, [*(r[0] for r in rounds[1:]), final], strict=True):
        if (changed := lines.search(rf"convergence=\s+({NUMBER})", at, stop)) is not None:
            row["convergence"] = lines.number(changed[0], changed[1][1]).value
    out = pd.DataFrame(rows)
    out.attrs["name"] = "AIREMLF90"
    return out


def _start(lines: Lines, final: int, traits: int | None) -> tuple[float, ...] | None:
    """The matrices of the parameter file, in the order of the final estimates: random effects, residual."""
    residual = lines.search(r"Residual \(co\)variance Matrix", 0, final)
    if residual is None or traits is None:
        return None
    matrices: list[np.ndarray] = []
    for at, _ in lines.all(r"\(CO\)VARIANCES", 0, final):
        rows: list[float] = []
        while at + 1 < final and len(found := lines.numbers(at + 1)) >= 3:
            rows += [n.value for n in found[2:]]
            at += 1
        order = round(len(rows) ** 0.5)
        if order**2 != len(rows):
            return None
        matrices.append(np.array(rows).reshape(order, order))
    matrices.append(lines.square(residual[0] + 1, "the residual covariance matrix", traits)[0])
    return tuple(float(m[i, j]) for m in matrices for i in range(len(m)) for j in range(i + 1))


def read_solutions(lines: Lines) -> Results:
    """The file ``solutions``: effects in the order of the parameter file, fixed and random alike."""
    head, _ = lines.find(SOLUTIONS, "'trait/effect level solution'")
    rows = []
    for at in range(head + 1, len(lines)):
        fields = lines.take(at, "trait, effect, level, solution").split()
        if not fields:
            continue
        if len(fields) not in (4, 5) or not all(field.isdigit() for field in fields[:2]):
            lines.fail(at, "trait, effect, level, solution and perhaps its standard error")
        value = lines.number(at, fields[3], "a solution")
        error = lines.number(at, fields[4], "a standard error").value if len(fields) == 5 else np.nan
        rows.append((f"effect {fields[1]}", fields[0], fields[2], value.value, error, value.rounding))
    if not rows:
        lines.fail(len(lines), "a solution")
    return Results("BLUPF90", None, lines.path, None, random_effects=table(rows, RANDOM))
