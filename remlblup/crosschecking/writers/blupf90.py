"""BLUPF90: data and relationships renumbered, and a parameter file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.crosschecking.writers.plan import Plan, Random, codes_of, number, rows_of

MISSING = -999


def write(plan: Plan) -> tuple[dict[str, str], list[str]]:
    """Files by name, and notes."""
    n, traits = len(plan.frame), len(plan.responses)
    columns: list[np.ndarray] = [plan.frame[r].astype(float).fillna(MISSING).to_numpy() for r in plan.responses]
    files: dict[str, str] = {}
    effects: list[str] = []
    if plan.weights is not None:
        columns.append(plan.frame[plan.weights].to_numpy(dtype=float))

    def place(values: np.ndarray) -> str:
        columns.append(values)
        return " ".join([str(len(columns))] * traits)

    for k, fixed in enumerate(plan.fixed, 1):
        codes, labels = codes_of(plan.frame, fixed.factors) if fixed.factors else (np.ones(n, dtype=int), ["mu"])
        files[f"levels_fixed{k}.csv"] = _levels(fixed.name, labels)
        product = np.prod([plan.frame[c].to_numpy(dtype=float) for c in fixed.covariates], axis=0)
        if not fixed.covariates:
            effects.append(f"{place(codes)} {len(labels)} cross # {fixed.name}")
        elif fixed.factors:
            nested = place(codes)
            effects.append(f"{place(product)} {len(labels)} cov {nested} # {fixed.name}")
        else:
            effects.append(f"{place(product)} 1 cov # {fixed.name}")
    groups: list[str] = []
    for k, term in enumerate(plan.random, 1):
        files[f"levels_random{k}.csv"] = _levels(term.name, list(term.levels))
        matrix = f"inverse{k}.txt" if term.relationship is not None else ""
        if term.relationship is not None:
            files[matrix] = _triplets(term)
        nested, first = place(term.codes + 1), len(effects) + 1
        slopes = [""] if plan.several else term.covariates
        for c in slopes:
            kind = f"{nested} {len(term.levels)} cross" if not c else _slope(plan, c, place, nested, len(term.levels))
            effects.append(f"{kind} # {term.name} {c}".rstrip())
        numbers = range(first, first + len(slopes))
        if plan.several or term.joint or len(slopes) == 1:
            groups.append(_group(list(numbers), matrix, term.sigma))
        else:
            groups += [_group([j], matrix, term.sigma[[i]][:, [i]]) for i, j in enumerate(numbers)]
    files["data.txt"] = _table(columns)
    files["blupf90.par"] = _parameters(plan, effects, groups)
    notes = [
        "factors and their levels are numbered: the files levels_*.csv say which number is which label",
        f"missing responses are {MISSING}, the value of OPTION missing: without it BLUPF90 takes zeros for missing",
    ]
    if any(t.relationship is not None for t in plan.random):
        notes.append("relationships are given as inverses (user_file): add_animal would ignore inbreeding in A⁻¹")
    return files, notes


def _slope(plan: Plan, column: str, place, nested: str, levels: int) -> str:  # type: ignore[no-untyped-def]
    return f"{place(plan.frame[column].to_numpy(dtype=float))} {levels} cov {nested}"


def _levels(name: str, labels: list[str]) -> str:
    table = pd.DataFrame({"number": np.arange(1, len(labels) + 1), "level": labels})
    return f"# {name}\n{table.to_csv(index=False, lineterminator=chr(10))}"


def _triplets(term: Random) -> str:
    """The lower triangle of K⁻¹ as row, column, value, numbered as in the data."""
    assert term.relationship is not None
    lower = sp.tril(term.relationship.precision).tocoo()
    rows = zip(lower.row + 1, lower.col + 1, lower.data, strict=True)
    return "".join(f"{i} {j} {v:.15g}\n" for i, j, v in rows if v != 0.0)


def _table(columns: list[np.ndarray]) -> str:
    rows = zip(*(c.tolist() for c in columns), strict=True)
    return "".join(" ".join(f"{v:.15g}" for v in row) + "\n" for row in rows)


def _group(numbers: list[int], matrix: str, sigma: np.ndarray) -> str:
    kind = "user_file" if matrix else "diagonal"
    lines = ["RANDOM_GROUP", " ".join(map(str, numbers)), "RANDOM_TYPE", kind, "FILE", matrix, "(CO)VARIANCES"]
    return "\n".join([*lines, rows_of(sigma)])


def _parameters(plan: Plan, effects: list[str], groups: list[str]) -> str:
    traits = len(plan.responses)
    head = [
        f"# {plan.title}",
        "DATAFILE", "data.txt",
        "NUMBER_OF_TRAITS", str(traits),
        "NUMBER_OF_EFFECTS", str(len(effects)),
        "OBSERVATION(S)", " ".join(str(k + 1) for k in range(traits)),
        "WEIGHT(S)", "" if plan.weights is None else str(traits + 1),
        "EFFECTS: POSITIONS_IN_DATAFILE NUMBER_OF_LEVELS TYPE_OF_EFFECT [EFFECT NESTED]",
        *effects,
        "RANDOM_RESIDUAL VALUES", rows_of(plan.residual),
        *groups,
        f"OPTION missing {MISSING}",
        "OPTION method VCE",
        f"OPTION conv_crit {number(1e-12)}",
    ]  # fmt: skip
    if plan.several and not plan.correlated:
        head.append("# residual covariances of zero stay zero")
    return "\n".join(head) + "\n"
