"""WOMBAT: a parameter file, data in columns, inverses of relationships as .gin."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from remlblup.crosschecking.writers.plan import Plan, Random, codes_of, number, refuse


def write(plan: Plan) -> tuple[dict[str, str], list[str]]:
    """Files by name, and notes.

    Raises
    ------
    ModelError
        For weights and random regressions, which this writer does not have.
    """
    if plan.weights is not None:
        raise refuse("WOMBAT", f"weights='{plan.weights}'", "this writer has none; write for BLUPF90 or ASReml")
    if plan.several and not plan.correlated:
        raise refuse("WOMBAT", "independent errors of the traits", "write us(trait | units)")
    for term in plan.random:
        if not plan.several and term.covariates != ("",):
            raise refuse("WOMBAT", f"'{term.name}'", "random regressions are not written; write for BLUPF90 or ASReml")
        if plan.several and not term.joint:
            raise refuse("WOMBAT", f"'{term.name}'", "its traits are independent; write us(trait | …)")
    files: dict[str, str] = {}
    columns: list[tuple[str, np.ndarray, int]] = []
    fixed, random = [], []
    n = len(plan.frame)
    for k, term in enumerate(plan.random, 1):
        columns.append((f"r{k}", term.codes + 1, len(term.levels)))
        random.append(f"  RAN r{k} {'GIN' if term.relationship is not None else 'IDE'} # {term.name}")
        files[f"r{k}.levels"] = "".join(f"{j} {label}\n" for j, label in enumerate(term.levels, 1))
        if term.relationship is not None:
            files[f"r{k}.gin"] = _gin(term)
    for k, effect in enumerate(plan.fixed, 1):
        if effect.factors and effect.covariates:
            raise refuse("WOMBAT", f"'{effect.name}'", "a covariate within a factor; write for BLUPF90 or ASReml")
        if effect.covariates:
            values = np.prod([plan.frame[c].to_numpy(dtype=float) for c in effect.covariates], axis=0)
            columns.append((f"x{k}", values, 0))
            fixed.append(f"  COV x{k}(1) # {effect.name}")
            continue
        codes, labels = codes_of(plan.frame, effect.factors) if effect.factors else (np.ones(n, dtype=int), ["mu"])
        columns.append((f"f{k}", codes, len(labels)))
        fixed.append(f"  FIX f{k} # {effect.name}")
        files[f"f{k}.levels"] = "".join(f"{j} {label}\n" for j, label in enumerate(labels, 1))
    files["data.dat"] = _data(plan, [values for _, values, _ in columns])
    files["wombat.par"] = _parameters(plan, columns, fixed, random)
    notes = ["factors and their levels are numbered: the files *.levels say which number is which label"]
    if any(t.relationship is not None for t in plan.random):
        notes.append("relationships are given as inverses (.gin), so that inbreeding counts as in our A⁻¹")
    return files, notes


def _gin(term: Random) -> str:
    """log|K| in the first line, then the lower triangle of K⁻¹."""
    assert term.relationship is not None
    lower = sp.tril(term.relationship.precision).tocoo()
    rows = zip(lower.row + 1, lower.col + 1, lower.data, strict=True)
    body = "".join(f"{i} {j} {v:.15g}\n" for i, j, v in rows if v != 0.0)
    return f"{term.relationship.logdet:.15g}\n{body}"


def _data(plan: Plan, values: list[np.ndarray]) -> str:
    """A line per record and trait that is there, the number of the trait first where there are several."""
    lines = []
    for r in range(len(plan.frame)):
        row = " ".join(f"{v[r]:.15g}" for v in values)
        for t, response in enumerate(plan.responses, 1):
            y = plan.frame[response].iloc[r]
            if np.isfinite(y):
                lines.append(f"{t} {r + 1} {row} {y:.15g}" if plan.several else f"{row} {y:.15g}")
    return "\n".join(lines) + "\n"


def _parameters(plan: Plan, columns: list[tuple[str, np.ndarray, int]], fixed: list[str], random: list[str]) -> str:
    names = [f" {name} {size}" if size else f" {name}" for name, _, size in columns]
    traits = len(plan.responses)
    lead = [f" traitno {traits}", f" record {len(plan.frame)}"] if plan.several else []
    response = [f" y {' '.join(plan.responses)}" if plan.several else f" {plan.responses[0]}"]
    lines = [
        f"COMMENT {plan.title}"[:72],
        "DATA data.dat", *lead, *names, *response, "END",
        f"ANALYSIS {'MUV ' + str(traits) if plan.several else 'UNI'}",
        "MODEL", *fixed, *random,
        *(f"  TR {r} {k}" for k, r in enumerate(plan.responses, 1)),
        "END",
        *_variance("residual", plan.residual),
    ]  # fmt: skip
    for k, term in enumerate(plan.random, 1):
        lines += _variance(f"r{k}", term.sigma)
    return "\n".join(lines) + "\n"


def _variance(name: str, sigma: np.ndarray) -> list[str]:
    rows = [" ".join(number(sigma[i, j]) for j in range(i, len(sigma))) for i in range(len(sigma))]
    return [f"VARIANCE {name} {len(sigma)}", *(f"  {row}" for row in rows)]
