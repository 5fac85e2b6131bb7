"""ASReml: a command file, data as CSV, inverses of relationships as .giv."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.crosschecking.writers.plan import Fixed, Plan, Random, number
from remlblup.errors import ModelError


def write(plan: Plan) -> tuple[dict[str, str], list[str]]:
    """Files by name, and notes."""
    files: dict[str, str] = {}
    frame = pd.DataFrame(index=plan.frame.index)
    fields: list[str] = []
    names: dict[int, str] = {}
    notes: list[str] = []
    for k, term in enumerate(plan.random, 1):
        name = _plain(":".join(term.group)) or f"random{k}"
        name = name if name not in frame else f"{name}_{k}"
        names[k] = name
        frame[name] = term.codes + 1
        fields.append(f" {name} {len(term.levels)} # {term.name}: levels numbered as in {name}.levels.csv")
        table = pd.DataFrame({"number": np.arange(1, len(term.levels) + 1), "level": term.levels})
        files[f"{name}.levels.csv"] = table.to_csv(index=False, lineterminator="\n")
        if term.relationship is not None:
            files[f"{name}.giv"] = _triplets(term)
    for column in dict.fromkeys(c for f in plan.fixed for c in (*f.factors, *f.covariates)):
        factor = any(column in f.factors for f in plan.fixed)
        name = _plain(column) if _plain(column) not in frame else f"{_plain(column)}_f"
        names_of = frame.__setitem__
        names_of(name, plan.frame[column].astype(str) if factor else plan.frame[column])
        fields.append(f" {name}{' !A' if factor else ''}")
    for column in dict.fromkeys(c for t in plan.random for c in t.covariates if c and not plan.several):
        if _plain(column) not in frame:
            frame[_plain(column)] = plan.frame[column]
            fields.append(f" {_plain(column)}")
    for column in (*plan.responses, *filter(None, [plan.weights])):
        frame[_plain(column)] = plan.frame[column]
        fields.append(f" {_plain(column)}")
    files["data.csv"] = frame.to_csv(index=False, na_rep="NA", lineterminator="\n")
    inverses = [f"{names[k]}.giv" for k, t in enumerate(plan.random, 1) if t.relationship is not None]
    model = _model(plan, names, inverses)
    files["model.as"] = "\n".join([plan.title.replace("\n", " "), *fields, *inverses, *model]) + "\n"
    if inverses:
        notes.append("relationships are given as inverses (.giv), so that inbreeding counts as in our A⁻¹")
    return files, notes


def _plain(name: str) -> str:
    """A name that ASReml takes: letters, digits, underscores."""
    out = "".join(c if c.isalnum() else "_" for c in name)
    return out if out[:1].isalpha() else f"v{out}"


def _triplets(term: Random) -> str:
    assert term.relationship is not None
    lower = sp.tril(term.relationship.precision).tocoo()
    order = np.lexsort((lower.col, lower.row))
    rows = zip(lower.row[order] + 1, lower.col[order] + 1, lower.data[order], strict=True)
    return "".join(f"{i} {j} {v:.15g}\n" for i, j, v in rows if v != 0.0)


def _model(plan: Plan, names: dict[int, str], inverses: list[str]) -> list[str]:
    """The linear model and its variance structures, functional syntax of ASReml 4."""
    responses = " ".join(_plain(r) for r in plan.responses)
    weights = f" !WT {_plain(plan.weights)}" if plan.weights else ""
    fixed = [_fixed(f, plan.several) for f in plan.fixed]
    random = [_random(plan, t, names[k], inverses) for k, t in enumerate(plan.random, 1)]
    line = f"{responses}{weights} ~ {' '.join(fixed) or '0'}"
    if random:
        line += " !r " + " ".join(random)
    if not plan.several:
        return ["data.csv !SKIP 1", line, f"residual idv(units !INIT {number(plan.residual[0, 0])})"]
    if not plan.correlated:
        raise ModelError("ASReml cannot express residual='diag(trait | units)' here: write us(trait | units).")
    return ["data.csv !SKIP 1 !ASUV", line, f"residual id(units).us(Trait !INIT {_lower(plan.residual)})"]


def _fixed(term: Fixed, several: bool) -> str:
    parts = [_plain(c) for c in (*term.factors, *term.covariates)]
    if several:
        return ".".join(["Trait", *parts])
    return ".".join(parts) or "mu"


def _random(plan: Plan, term: Random, name: str, inverses: list[str]) -> str:
    """``grm1(id)``, ``us(Trait).grm1(id)``, ``str(g g.x us(2).id(g))``."""
    kernel = f"id({name})" if term.relationship is None else f"grm{inverses.index(f'{name}.giv') + 1}({name})"
    if plan.several:
        if term.joint:
            return f"us(Trait !INIT {_lower(term.sigma)}).{kernel}"
        return f"diag(Trait !INIT {' '.join(number(v) for v in np.diag(term.sigma))}).{kernel}"
    if len(term.covariates) == 1 and not term.covariates[0]:
        return f"idv({name} !INIT {number(term.sigma[0, 0])})" if term.relationship is None else (
            f"{kernel[:-1]} !INIT {number(term.sigma[0, 0])})"
        )  # fmt: skip
    parts = " ".join(name if not c else f"{name}.{_plain(c)}" for c in term.covariates)
    size = len(term.covariates)
    inside = f"us({size} !INIT {_lower(term.sigma)})" if term.joint else (
        f"diag({size} !INIT {' '.join(number(v) for v in np.diag(term.sigma))})"
    )  # fmt: skip
    return f"str({parts} {inside}.{kernel})"


def _lower(sigma: np.ndarray) -> str:
    return " ".join(number(sigma[i, j]) for i in range(len(sigma)) for j in range(i + 1))
