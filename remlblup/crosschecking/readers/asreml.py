"""ASReml: ``.asr`` and ``.sln`` files, and the tables of ASReml-R."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from remlblup.crosschecking.readers.text import NUMBER, Lines, Number
from remlblup.crosschecking.results import COMPONENTS, RANDOM, Results, table

ASR = r"^\s*ASReml\s+\d.*\[|^\s*\d+ LogL=\s*-?\d"
SLN = r"^\s*Model_Term\s+Level\s+Effect\s+seEffect|^\s*\"?Model_Term\"?,\s*\"?Level"
VARCOMP = r"^\s*component\s+std\.error\s+z\.ratio\s+bound"
#: term, structure and its places, gamma, sigma, sigma/se, % change, bound.
_ROW = re.compile(
    rf"^\s*(?P<term>\S+)\s+(?P<kind>[A-Z][A-Za-z0-9]*_[A-Z])(?P<places>(?:\s+\d+)*?)"
    rf"\s+(?P<gamma>{NUMBER})\s+(?P<sigma>{NUMBER})\s+(?P<ratio>{NUMBER})\s+(?P<change>-?\d+)\s+(?P<bound>[A-Z?])\s*$"
)
_LOGL = rf"^\s*(\d+) LogL=\s*({NUMBER})\s+S2=\s*({NUMBER})\s+(\d+) df"
#: What the letter behind the structure says of the row.
_KINDS = {"V": "variance", "C": "covariance", "R": "correlation", "P": "parameter", "G": "loading", "F": "loading"}
#: Spatial structures are correlations whatever the letter.
_CORRELATIONS = ("AR", "CORR", "EXP", "GAU", "SPH")


def read_asr(lines: Lines) -> Results:
    """The components of the last iterate, and the iterations."""
    version = lines.search(r"^\s*ASReml\s+([\d.]+\w*)")
    rounds = lines.all(_LOGL)
    if not rounds:
        lines.fail(len(lines), "iterations, 'LogL= … S2= … df'")
    lines.find(r"^\s*Finished:", "'Finished:' (the program has not finished)", rounds[-1][0])
    rows = _rows(lines, rounds[-1][0] + 1)
    last, match = rounds[-1]
    loglik = lines.number(last, match[2])
    history = pd.DataFrame(
        {
            "iteration": [int(m[1]) for _, m in rounds],
            "loglik": [lines.number(at, m[2]).value for at, m in rounds],
            "sigma2": [lines.number(at, m[3]).value for at, m in rounds],
        }
    )
    history.attrs["name"] = "ASReml"
    records = lines.search(r"Summary of (\d+) records retained")
    return Results(
        "ASReml",
        None if version is None else version[1][1],
        lines.path,
        components=table(rows, COMPONENTS),
        loglik=loglik.value,
        loglik_rounding=loglik.rounding,
        history=history,
        n_obs=None if records is None else int(records[1][1]),
        notes=tuple(lines.lines[at].strip() for at, _ in lines.all(r"dropped from model|not converge")),
    )


def _rows(lines: Lines, start: int) -> list[tuple]:
    """Every row with a structure: what is in it must be whole."""
    rows = []
    residual = False
    for at, _ in lines.all(r"^\s*\S+\s+[A-Z][A-Za-z0-9]*_[A-Z]\s", start):
        match = _ROW.match(lines.take(at, "a component"))
        if match is None:
            lines.fail(at, "term, structure, gamma, sigma, sigma/se, % change, bound")
        term, places = match["term"], match["places"].split()
        name = "residual" if re.match(r"(?i)residual|units|R\b", term) else term
        residual |= name == "residual"
        rows.append(_row(lines, at, name, match["kind"], places, match))
    if not rows:
        lines.fail(len(lines), "the table of components")
    if not residual:
        lines.fail(len(lines), "a component 'Residual'")
    return rows


def _row(lines: Lines, at: int, name: str, structure: str, places: list[str], match: re.Match) -> tuple:
    letter = structure.rpartition("_")[2]
    kind = "correlation" if structure.startswith(_CORRELATIONS) and letter == "R" else _KINDS.get(letter, "parameter")
    if letter == "R" and structure.startswith(("SCA", "ID")):
        kind = "variance"
    sigma, ratio = lines.number(at, match["sigma"]), lines.number(at, match["ratio"]).value
    matrix = len(places) == 2 and kind in ("variance", "covariance", "correlation")
    first = places[1] if matrix else ""
    second = places[0] if matrix and kind != "variance" else ""
    error = sigma.value / ratio if ratio else np.nan
    return name, kind, first, second, sigma.value, error, sigma.rounding


def read_varcomp(lines: Lines) -> Results:
    """``summary(fit)$varcomp`` of ASReml-R, with the iterations above it where they were printed."""
    head, _ = lines.find(VARCOMP, "'component std.error z.ratio bound'")
    row = re.compile(rf"^(\S.*?)\s+({NUMBER})\s+({NUMBER}|NA)\s+({NUMBER}|NA)\s+([A-Z?])\s+(\S+)\s*$")
    rows = []
    for at in range(head + 1, len(lines)):
        if not lines.lines[at].strip():
            break
        match = row.match(lines.take(at, "a component"))
        if match is None:
            lines.fail(at, "term, component, std.error, z.ratio, bound, %ch")
        if match[5] == "F" and match[3] == "NA":  # the scale of a residual that has a variance of its own
            continue
        value = lines.number(at, match[2])
        error = np.nan if match[3] == "NA" else lines.number(at, match[3]).value
        rows.append(_varcomp_row(match[1].strip(), value, error))
    if not rows:
        lines.fail(len(lines), "a component")
    if not any(r[0] == "residual" for r in rows):
        lines.fail(len(lines), "a component 'units!…'")
    return _with_trace(lines, head, rows)


def _varcomp_row(name: str, value: Number, error: float) -> tuple:
    """``term!structure_row:column`` as a row."""
    term, _, rest = name.partition("!")
    parameter = rest.split("!")[-1]
    pair = re.search(r"_?([\w.]+):([\w.]+)$", parameter)
    kind = "correlation" if re.search(r"\.?cor$", parameter) else "variance"
    if pair and pair[1] != pair[2]:
        kind = "covariance"
    names = ("", "") if pair is None else (pair[2].rpartition("_")[2], "" if kind == "variance" else pair[1])
    name = "residual" if term.startswith("units") else term
    return name, kind, names[0], names[1], value.value, error, value.rounding


def _with_trace(lines: Lines, head: int, rows: list[tuple]) -> Results:
    version = lines.search(r"ASReml Version ([\d.]+)", 0, head)
    rounds = lines.all(rf"^\s*(\d+)\s+({NUMBER})\s+({NUMBER})\s+(\d+)\s+\d+:\d+:\d+", 0, head)
    last = lines.number(rounds[-1][0], rounds[-1][1][2]) if rounds else None
    history = None
    if rounds:
        values = [lines.number(at, m[2]).value for at, m in rounds]
        history = pd.DataFrame({"iteration": [int(m[1]) for _, m in rounds], "loglik": values})
        history.attrs["name"] = "ASReml-R"
    return Results(
        "ASReml-R",
        None if version is None else version[1][1],
        lines.path,
        components=table(rows, COMPONENTS),
        loglik=None if last is None else last.value,
        loglik_rounding=0.0 if last is None else last.rounding,
        history=history,
    )


def read_sln(lines: Lines) -> Results:
    """Solutions, fixed and random alike, in the order of the model."""
    head, _ = lines.find(SLN, "'Model_Term Level Effect seEffect'")
    separator = "," if "," in lines.lines[head] else None
    rows = []
    for at in range(head + 1, len(lines)):
        fields = [f.strip().strip('"') for f in lines.take(at, "a solution").split(separator)]
        if not any(fields):
            continue
        if len(fields) < 4:
            lines.fail(at, "term, level, effect, standard error")
        value = lines.number(at, fields[2], "an effect")
        rows.append((fields[0], "", fields[1], value.value, lines.number(at, fields[3]).value, value.rounding))
    if not rows:
        lines.fail(len(lines), "a solution")
    return Results("ASReml", None, lines.path, random_effects=table(rows, RANDOM))
