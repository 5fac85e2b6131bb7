"""GCTA: relationships in binary, phenotype and covariates as text."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.crosschecking.writers.plan import Plan, Random, refuse


def write(plan: Plan) -> tuple[dict[str, str | bytes], list[str]]:
    """Files by name, and notes.

    Raises
    ------
    ModelError
        For several traits, weights, random regressions, and individuals with several records.
    """
    if plan.several:
        raise refuse("GCTA", "several traits", "it fits one, or two by a method of its own")
    if plan.weights is not None:
        raise refuse("GCTA", f"weights='{plan.weights}'", "its errors have one variance")
    for term in plan.random:
        if term.covariates != ("",):
            raise refuse("GCTA", f"'{term.name}'", "it has no random regressions")
        if term.relationship is None and len(set(term.codes)) == len(term.codes):
            raise refuse("GCTA", f"'{term.name}'", "its levels have one record each")
    known = [t for t in plan.random if t.relationship is not None]
    if not known:
        raise refuse("GCTA", "a model without relationships", "its random effects are of relationship matrices")
    ids = [known[0].levels[k] for k in known[0].codes]
    if len(set(ids)) < len(ids):
        raise refuse("GCTA", f"'{known[0].name}'", "it takes one record an individual, and some have several")
    files: dict[str, str | bytes] = {}
    for k, term in enumerate(plan.random, 1):
        files |= _matrix(f"K{k}", term, ids)
    y = plan.frame[plan.responses[0]].to_numpy(dtype=float)
    files["phenotype.txt"] = "".join(f"{i} {i} {v:.15g}\n" for i, v in zip(ids, y, strict=True))
    options = _covariates(plan, ids, files)
    files["grms.txt"] = "".join(f"K{k}\n" for k in range(1, len(plan.random) + 1))
    command = f"gcta64 --reml --mgrm grms.txt --pheno phenotype.txt {options}--out fit"
    files["run.sh"] = f"#!/bin/sh\n# {plan.title}\n{command}\n"
    notes = ["the entries of .grm.bin are single precision: about 7 digits of K"]
    notes += [f"'{t.name}' is written as the matrix ZZ' of its levels" for t in plan.random if t.relationship is None]
    return files, notes


def _matrix(name: str, term: Random, ids: list[str]) -> dict[str, str | bytes]:
    """K over the records, lower triangle row by row."""
    if term.relationship is None:
        K = (term.codes[:, None] == term.codes[None, :]).astype(float)
    else:
        K = term.relationship.among(term.codes)
    triangle = np.asarray(K)[np.tril_indices(len(ids))].astype("<f4")
    count = np.ones(len(triangle), dtype="<f4")
    return {
        f"{name}.grm.bin": triangle.tobytes(),
        f"{name}.grm.N.bin": count.tobytes(),
        f"{name}.grm.id": "".join(f"{i}\t{i}\n" for i in ids),
    }


def _covariates(plan: Plan, ids: list[str], files: dict[str, str | bytes]) -> str:
    """Files of factors and of covariates; the intercept is GCTA's own."""
    if not any(not f.factors and not f.covariates for f in plan.fixed) and not any(
        f.factors and not f.covariates for f in plan.fixed
    ):
        raise refuse("GCTA", "a model without an intercept", "it always has one")
    if both := [f.name for f in plan.fixed if f.factors and f.covariates]:
        raise refuse("GCTA", f"'{both[0]}'", "it has no covariates within factors")
    factors = [f for f in plan.fixed if f.factors]
    numeric = [f for f in plan.fixed if f.covariates]
    options = ""
    if factors:
        table = [plan.frame[list(f.factors)].astype(str).agg("_".join, axis=1).str.replace(r"\s", "_", regex=True)
                 for f in factors]  # fmt: skip
        files["factors.txt"] = _lines(ids, table)
        options += "--covar factors.txt "
    if numeric:
        values = [_product(plan, f.covariates).map("{:.15g}".format) for f in numeric]
        files["covariates.txt"] = _lines(ids, values)
        options += "--qcovar covariates.txt "
    return options


def _product(plan: Plan, columns: tuple[str, ...]) -> pd.Series:
    return pd.Series(np.prod([plan.frame[c].to_numpy(dtype=float) for c in columns], axis=0))


def _lines(ids: list[str], columns: list[pd.Series]) -> str:
    rows = zip(*(c.tolist() for c in columns), strict=True)
    return "".join(f"{i} {i} {' '.join(row)}\n" for i, row in zip(ids, rows, strict=True))
