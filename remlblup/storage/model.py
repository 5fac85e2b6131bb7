"""What a model was made from, in the folder of its fit: data and relationships, or matrices."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from remlblup.model.design import named_relationships
from remlblup.model.specification import Specification, from_formula, from_matrices
from remlblup.relationship.base import RelationshipBase
from remlblup.storage.columns import decode_index, encode_index, frame_from_csv, frame_to_csv
from remlblup.storage.relationships import load_relationship, read_triplets, save_relationship, triplets_to_csv
from remlblup.storage.transaction import Staging
from remlblup.storage.verified import SavedFolder

# Names of relationships that can be names of files on any system; others are numbered.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_DATA = {"y": {"type": "float"}, "weight": {"type": "float"}}


def save_model(spec: Specification, staging: Staging, escape: bool) -> dict[str, Any]:
    """Write what the model was made from; returns what is needed to read it back."""
    if spec.formula is None or spec.records is None:
        return save_matrices(spec, staging, escape)
    frame = spec.records.original[list(spec.records.used)]
    text, columns = frame_to_csv(frame, escape)
    staging.write("data.csv", text, "model")
    names = named_relationships(spec.random)
    kept = {name: m for name, m in spec.matrices.items() if isinstance(m, RelationshipBase)}  # of known(O)
    names |= kept
    stems = stems_of(names)
    return {
        "formula": spec.formula.text,
        "residual": spec.residual_text,
        "matrices": {name: save_labelled(matrix) for name, matrix in spec.matrices.items() if name not in kept},
        "weights": spec.records.weights,
        "unknown_parents": spec.unknown_parents,
        "columns": columns,
        "escaped": escape,
        "index": encode_index(frame.index),
        "relationships": {n: save_relationship(r, staging, stems[n], escape) for n, r in names.items()},
    }


def stems_of(names: Collection[str]) -> dict[str, str]:
    """A name of a file for each relationship: its own where that is one, without regard to case, else a number."""
    stems: dict[str, str] = {}
    for name in names:
        stem, k = name, 0
        while not _PLAIN.fullmatch(stem) or stem.lower() in {s.lower() for s in stems.values()}:
            k += 1
            stem = f"K{k}"
        stems[name] = stem
    return stems


def load_model(model: dict[str, Any], folder: SavedFolder) -> Specification:
    """The specification a saved fit was made from."""
    if model["formula"] is None:
        return load_matrices(model, folder)
    frame = frame_from_csv(folder.read("data.csv"), model["columns"], model.get("escaped", False))
    if model["index"] is not None:
        frame.index = decode_index(model["index"])
    relationships = {n: load_relationship(r, folder, n) for n, r in model["relationships"].items()}
    given = relationships | {name: load_labelled(matrix) for name, matrix in model["matrices"].items()}
    parents = model.get("unknown_parents", "keep")
    return from_formula(model["formula"], frame, given, model["residual"], model["weights"], "error", parents)


def save_labelled(matrix: Any) -> dict[str, Any]:
    """A small matrix, with its labels if it has them."""
    labels = [str(v) for v in matrix.index] if isinstance(matrix, pd.DataFrame) else None
    return {"values": np.asarray(matrix, dtype=float).tolist(), "labels": labels}


def load_labelled(saved: dict[str, Any]) -> Any:
    """Inverse of `save_labelled`."""
    values = np.array(saved["values"])
    return values if saved["labels"] is None else pd.DataFrame(values, index=saved["labels"], columns=saved["labels"])


# -- models made from matrices ---------------------------------------------------------------


def save_matrices(spec: Specification, staging: Staging, escape: bool) -> dict[str, Any]:
    """y, X and each Z and K."""
    text, _ = frame_to_csv(pd.DataFrame({"y": spec.y, "weight": spec.weights}), escape)
    staging.write("data.csv", text, "model")
    terms = []
    for k, d in enumerate(spec.random, start=1):
        for file, column in zip(design_files(k, d.t), d.columns, strict=True):
            text, shape = triplets_to_csv(column)
            staging.write(file, text, "model")
        saved = None if d.is_identity else save_relationship(d.relationship, staging, f"K{k}", escape)
        several = {"effects": list(d.structure.effects), "structure": d.structure.keyword} if d.t > 1 else {}
        terms.append({"name": d.name, "shape": shape, "relationship": saved} | several)
    # The columns of groups of unknown parents, which come last, follow from the terms.
    own = spec.p - spec.n_group_columns
    text, shape = triplets_to_csv(spec.fixed.matrix[:, :own])
    staging.write("X.csv", text, "model")
    return {
        "formula": None,
        "X": shape,
        "names": list(spec.fixed.names[:own]),
        "aliased": list(spec.fixed.aliased),
        "terms": terms,
    }


def design_files(k: int, t: int) -> list[str]:
    """The files of Z of term k, one for each of its t effects."""
    return [f"Z{k}.csv"] if t == 1 else [f"Z{k}_{i}.csv" for i in range(1, t + 1)]


def load_matrices(model: dict[str, Any], folder: SavedFolder) -> Specification:
    """Inverse of `save_matrices`."""
    data = frame_from_csv(folder.read("data.csv"), _DATA, False)
    X = read_triplets(folder.read("X.csv"), model["X"])
    Z, K = [], []
    for k, term in enumerate(model["terms"], start=1):
        saved = term["relationship"]
        read = [read_triplets(folder.read(f), term["shape"]) for f in design_files(k, len(term.get("effects", [1])))]
        Z.append(read if len(read) > 1 else read[0])
        K.append(None if saved is None else load_relationship(saved, folder, f"K{k}"))
    names, effects, structures = ([t.get(key) for t in model["terms"]] for key in ("name", "effects", "structure"))
    weights = data["weight"].to_numpy()
    spec = from_matrices(data["y"].to_numpy(), X, Z, K, names, weights, model["names"], effects, structures)
    return replace(spec, fixed=replace(spec.fixed, aliased=tuple(model["aliased"])))
