"""A fit on disk: a folder of JSON and CSV that any program can read, and that `load` turns into a fit again.

fit.json holds the model, the estimates and the verdict; the tables are CSV beside it; data.csv and
relationships/ hold what the model was made from, so that a loaded fit predicts like the first.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

import remlblup
from remlblup.equations.base import Equations
from remlblup.equations.engine import make_equations
from remlblup.errors import DataError
from remlblup.fit.results import Fit
from remlblup.fit.stored_pedigree import (
    label_kind,
    load_clones,
    load_codes,
    load_pedigree,
    save_clones,
    save_codes,
    save_pedigree,
)
from remlblup.model.specification import Specification, from_formula, from_matrices
from remlblup.relationship import Pedigree, Relationship
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.labels import tidy
from remlblup.reml.average_information import average_information
from remlblup.reml.convergence import Convergence, Criterion
from remlblup.reml.history import Iteration
from remlblup.reml.loop import Optimum, Options
from remlblup.reml.score import score
from remlblup.reml.singular_residual import equations_at
from remlblup.reml.space import Point, Space, bounds
from remlblup.reml.start import residual_variance, unit_matrices

TABLES = ("variance_components", "fixed_effects", "random_effects", "history")


def to_dict(fit: Fit) -> dict[str, Any]:
    """Model, estimates and verdict as plain JSON types (NaN as null)."""
    spec = fit.specification
    components = fit.variance_components
    return clean(
        {
            "remlblup": remlblup.__version__,
            "formula": fit.formula,
            "response": spec.response,
            "method": fit.method,
            "options": {k: getattr(fit.options, k) for k in ("algorithm", "constrain", "max_iterations", "tolerance")},
            "records": fit.n_obs,
            "records_dropped": spec.records.dropped if spec.records else {},
            "unknown_parents": spec.records.unknown_parents if spec.records else {},
            "fixed_effects_estimated": spec.p,
            "aliased": list(fit.aliased),
            "random_effects": spec.n_random,
            "df_residual": fit.df_residual,
            "engine": fit._equations.stats.engine,
            "converged": fit.converged,
            "convergence": {
                "reason": fit.convergence.reason,
                "iterations": fit.convergence.iterations,
                "boundary": list(fit.convergence.boundary),
                "unidentified": list(fit.convergence.unidentified),
                "collapsed": fit.convergence.collapsed,
                "criteria": fit.convergence.table.to_dict("records"),
            },
            "loglik": fit.loglik,
            "loglik_asreml": fit.loglik_asreml,
            "loglik_nlme": fit.loglik_nlme,
            "aic": fit.aic,
            "bic": fit.bic,
            "n_parameters": fit.n_parameters,
            "variances": fit.variances,
            "variance_components": components.to_dict("records"),
            "variance_covariance": fit.variance_covariance.tolist(),
            "df_method": fit.df_method,
            "fixed_effects": fit.fixed_effects.reset_index().to_dict("records"),
        }
    )


def clean(value: Any) -> Any:
    """Plain JSON types: NumPy scalars as numbers, NaN and infinities as null."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def save(fit: Fit, path: str | Path) -> Path:
    """Write a fit to the folder `path` (made if needed); returns the folder.

    Raises
    ------
    DataError
        If `path` is a file.
    """
    folder = folder_of(path)
    if folder.is_file():
        raise DataError(f"{folder} is a file: give the name of a folder to save the fit in.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made: {error.strerror}.") from None
    for name in TABLES:
        getattr(fit, name).to_csv(folder / f"{name}.csv", index=name == "fixed_effects")
    content = to_dict(fit)
    content["history"] = [row_to_dict(row) for row in fit._optimum.iterations]
    content["status"] = list(fit.status)
    content["model"] = save_model(fit.specification, folder)
    (folder / "fit.json").write_text(json.dumps(clean(content), indent=1, ensure_ascii=False), encoding="utf-8")
    return folder


def row_to_dict(row: Iteration) -> dict[str, Any]:
    """An iteration as plain types."""
    plain = {**row.__dict__, "boundary": list(row.boundary), "theta": row.theta.tolist()}
    return {name: value for name, value in plain.items() if name not in ("phases", "left")}


def save_model(spec: Specification, folder: Path) -> dict[str, Any]:
    """Write what the model was made from; returns what is needed to read it back."""
    (folder / "relationships").mkdir(exist_ok=True)
    if spec.formula is None or spec.records is None:
        return save_matrices(spec, folder)
    used = list(spec.records.used)
    frame = spec.records.original[used]
    frame.to_csv(folder / "data.csv", index=False)
    names = {g.relationship: d.relationship for d in spec.random if d.term for g in d.term.groups if g.relationship}
    return {
        "formula": spec.formula.text,
        "residual": spec.residual_text,
        "matrices": {name: save_labelled(matrix) for name, matrix in spec.matrices.items()},
        "weights": spec.records.weights,
        "unknown_parents": spec.unknown_parents,
        "columns": {c: column_type(frame[c]) for c in used},
        "index": save_index(frame.index),
        "relationships": {n: save_relationship(r, folder / "relationships" / f"{n}.csv") for n, r in names.items()},
    }


def save_labelled(matrix: Any) -> dict[str, Any]:
    """A small matrix, with its labels if it has them."""
    labels = [str(v) for v in matrix.index] if isinstance(matrix, pd.DataFrame) else None
    return {"values": np.asarray(matrix, dtype=float).tolist(), "labels": labels}


def load_labelled(saved: dict[str, Any]) -> Any:
    """Inverse of `save_labelled`."""
    values = np.array(saved["values"])
    return values if saved["labels"] is None else pd.DataFrame(values, index=saved["labels"], columns=saved["labels"])


def save_index(index: pd.Index) -> dict[str, Any] | None:
    """The row labels as JSON; None for 0, 1, 2, …"""
    if index.equals(pd.RangeIndex(len(index))):
        return None
    if isinstance(index, pd.MultiIndex):
        levels = [save_index(index.get_level_values(k)) or list(range(len(index))) for k in range(index.nlevels)]
        return {"kind": "multi", "values": levels}
    if isinstance(index, pd.DatetimeIndex):
        return {"kind": "datetime", "values": [v.isoformat() for v in index], "freq": index.freqstr}
    plain = index.inferred_type in ("integer", "floating", "string", "boolean", "mixed-integer-float")
    return {"kind": "plain", "values": [clean(v) if plain else str(v) for v in index.tolist()]}


def load_index(saved: Any) -> pd.Index:
    """Inverse of `save_index`."""
    if isinstance(saved, list):
        return pd.Index(saved)
    if saved["kind"] == "multi":
        return pd.MultiIndex.from_arrays([load_index(level) for level in saved["values"]])
    if saved["kind"] == "datetime":
        return pd.DatetimeIndex(saved["values"], freq=saved["freq"])
    return pd.Index(saved["values"])


def column_type(column: pd.Series) -> dict[str, Any]:
    """How to read a column back exactly."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = column.cat.categories
        return {"type": "category", "kind": label_kind(categories), "categories": [str(c) for c in categories],
                "ordered": bool(column.cat.ordered)}  # fmt: skip
    kind = {"b": "bool", "i": "int", "u": "int", "f": "float"}.get(column.dtype.kind, "str")
    return {"type": kind}


def save_relationship(relationship: RelationshipBase, path: Path) -> dict[str, Any]:
    """A pedigree as its rows; any other relationship as the nonzeros of K where it is dense, else of K⁻¹."""
    if isinstance(relationship, Pedigree):
        return save_pedigree(relationship, path)
    labels = relationship.labels
    whole = not relationship.is_sparse
    write_matrix(relationship.dense() if whole else relationship.precision, path)
    return {"type": "matrix" if whole else "inverse", "kind": label_kind(labels.tolist()),
            "labels": [str(v) for v in labels], "clones": save_clones(relationship),
            "unknown": save_codes(relationship), "groups": save_groups(relationship, path),
            "note": relationship.note}  # fmt: skip


def save_groups(relationship: RelationshipBase, path: Path) -> dict[str, Any] | None:
    """Groups of unknown parents: their labels, and their shares in a file of its own."""
    if relationship.groups is None:
        return None
    write_matrix(relationship.group_fraction_matrix, groups_file(path))
    labels = relationship.groups.tolist()
    return {"kind": label_kind(labels), "labels": [str(v) for v in labels]}


def groups_file(path: Path) -> Path:
    """The file of the shares of groups beside that of their relationship."""
    return path.with_name(f"{path.stem}_groups.csv")


def write_matrix(matrix: Any, path: Path) -> list[int]:
    """Nonzeros of a matrix as row, column, value; returns its shape."""
    coo = sp.coo_array(matrix)
    pd.DataFrame({"row": coo.row, "column": coo.col, "value": coo.data}).to_csv(path, index=False)
    return list(coo.shape)


def read_matrix(path: Path, shape: Any) -> sp.csc_array:
    """Inverse of `write_matrix`."""
    t = read_table(path, {"row": "int", "column": "int", "value": "float"})
    return sp.csc_array((t["value"], (t["row"], t["column"])), shape=tuple(shape))


def read_table(path: Path, types: dict[str, str]) -> pd.DataFrame:
    """A CSV with columns of known types; numbers to the last digit."""
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    numpy_types = {"bool": bool, "int": np.int64, "float": np.float64}
    columns = {}
    for name, kind in types.items():
        values = text[name].to_numpy(dtype=object)
        if kind == "bool":
            values = values == "True"
        elif kind == "float":
            values = np.where(values == "", "nan", values)
        columns[name] = values.astype(numpy_types[kind]) if kind in numpy_types else text[name]
    return pd.DataFrame(columns)


def save_matrices(spec: Specification, folder: Path) -> dict[str, Any]:
    """y, X and each Z and K of a model made from matrices."""
    pd.DataFrame({"y": spec.y, "weight": spec.weights}).to_csv(folder / "data.csv", index=False)
    terms = []
    for k, d in enumerate(spec.random):
        shape = write_matrix(d.columns[0], folder / f"Z{k + 1}.csv")
        saved = None if d.is_identity else save_relationship(d.relationship, folder / "relationships" / f"K{k + 1}.csv")
        terms.append({"name": d.name, "shape": shape, "relationship": saved})
    # The columns of groups of unknown parents, which come last, follow from the terms.
    own = spec.p - spec.n_group_columns
    return {"formula": None, "X": write_matrix(spec.fixed.matrix[:, :own], folder / "X.csv"),
            "names": list(spec.fixed.names[:own]), "aliased": list(spec.fixed.aliased), "terms": terms}  # fmt: skip


# -- reading ---------------------------------------------------------------------------------


def load(path: str | Path) -> Fit:
    """Read a fit written by `Fit.save`: the same estimates, verdict, tables and predictions.

    Parameters
    ----------
    path : the folder, or the fit.json in it

    Raises
    ------
    DataError
        If there is no saved fit at `path`.
    """
    folder = folder_of(path)
    folder = folder.parent if folder.name == "fit.json" else folder
    try:
        content = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
        spec = load_model(content["model"], folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no saved fit in {folder}: {error.filename} is missing.") from None
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / 'fit.json'} is not a fit saved by remlblup ({error}).") from None
    try:
        return restore(make_equations(spec, content["engine"]), content)
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{folder / 'fit.json'} is not a fit saved by remlblup ({error!r}).") from None


def folder_of(path: object) -> Path:
    """The path as given, if it is one."""
    if not isinstance(path, (str, Path)):
        raise DataError(f"a fit is saved in a folder: give its name, not {path!r}.")
    return Path(path)


def restore(equations: Equations, content: dict[str, Any]) -> Fit:
    """The fit at the stored estimates: the equations are solved once, nothing is estimated anew."""
    options = Options(content["method"] == "ML", **content["options"])
    iterations = tuple(
        Iteration(**{**row, "boundary": tuple(row["boundary"]), "theta": np.array(row["theta"]),
                     **{k: float("nan") if row[k] is None else row[k] for k in ("delta", "change", "gradient", "decrement")}})
        for row in content["history"]
    )  # fmt: skip
    verdict = content["convergence"]
    checks = tuple(
        Criterion(c["criterion"], float("nan") if c["value"] is None else c["value"], c["limit"], c["meaning"])
        for c in verdict["criteria"]
    )
    convergence = Convergence(checks, verdict["reason"], tuple(verdict["boundary"]), tuple(verdict["unidentified"]), verdict["iterations"],
                              verdict["collapsed"])  # fmt: skip
    theta = iterations[-1].theta
    equations, searched = equations_at(equations, theta)
    solution = equations.solve(theta, ml=options.ml)
    units = unit_matrices(searched, residual_variance(searched))
    now = score(searched, searched.solve(theta, ml=options.ml), units, options.ml)
    status = np.array(content["status"])
    lower, upper = bounds(searched.spec.parameters, options.constrain, np.zeros(searched.residual.n_parameters))
    space = Space(searched, status == "fixed", lower, upper, units, options.constrain)
    point = Point(theta, content["loglik"], solution, now, average_information(searched, now.solution), {},
                  space.at_bound(theta))  # fmt: skip
    return Fit(Optimum(point, solution, convergence, iterations, status == "boundary", status == "fixed",
                                  space.tangent(theta), equations, searched), options)  # fmt: skip


def load_model(model: dict[str, Any], folder: Path) -> Specification:
    """The specification a saved fit was made from."""
    if model["formula"] is None:
        return load_matrices(model, folder)
    frame = read_table(folder / "data.csv", {c: t["type"] for c, t in model["columns"].items()})
    for c, t in model["columns"].items():
        if t["type"] == "category":
            values = frame[c].map(int) if t["kind"] == "int" else frame[c].astype(object)
            categories = [int(v) for v in t["categories"]] if t["kind"] == "int" else t["categories"]
            frame[c] = pd.Categorical(values, categories=categories, ordered=t["ordered"])
    if model["index"] is not None:
        frame.index = load_index(model["index"])
    relationships = {
        n: load_relationship(r, folder / "relationships" / f"{n}.csv") for n, r in model["relationships"].items()
    }
    given = relationships | {name: load_labelled(matrix) for name, matrix in model["matrices"].items()}
    parents = model.get("unknown_parents", "keep")
    return from_formula(model["formula"], frame, given, model["residual"], model["weights"], "error", parents)


def load_relationship(saved: dict[str, Any], path: Path) -> RelationshipBase:
    """A pedigree or a matrix as `save_relationship` wrote it."""
    if saved["type"] == "pedigree":
        return load_pedigree(saved, path)
    convert = int if saved["kind"] == "int" else str
    labels = [convert(v) for v in saved["labels"]]
    matrix = read_matrix(path, (len(labels), len(labels)))
    inverse = saved["type"] == "inverse"
    relationship = Relationship(matrix if inverse else matrix.toarray(), labels, inverse=inverse)
    relationship.unknown_codes, relationship.described = load_codes(saved), saved.get("note", "")
    if saved.get("groups"):
        convert = int if saved["groups"]["kind"] == "int" else str
        relationship.groups = tidy([convert(v) for v in saved["groups"]["labels"]])
        shape = (len(labels), len(relationship.groups))
        relationship.group_fraction_matrix = sp.csr_array(read_matrix(groups_file(path), shape))
    clones = load_clones(saved)
    if clones:
        relationship.ortets = relationship.index(list(clones.values()))
        relationship.ramets = tidy(list(clones))
    return relationship


def load_matrices(model: dict[str, Any], folder: Path) -> Specification:
    """A model made from matrices."""
    data = read_table(folder / "data.csv", {"y": "float", "weight": "float"})
    X = read_matrix(folder / "X.csv", model["X"])
    Z = [read_matrix(folder / f"Z{k + 1}.csv", t["shape"]) for k, t in enumerate(model["terms"])]
    K = [
        None
        if t["relationship"] is None
        else load_relationship(t["relationship"], folder / "relationships" / f"K{k + 1}.csv")
        for k, t in enumerate(model["terms"])
    ]
    names = [t["name"] for t in model["terms"]]
    spec = from_matrices(data["y"].to_numpy(), X, Z, K, names, data["weight"].to_numpy(), model["names"])
    return replace(spec, fixed=replace(spec.fixed, aliased=tuple(model["aliased"])))
