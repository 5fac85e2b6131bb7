"""Pedigrees as rows, matrices as arrays (.npz, never pickled), sparse designs as row, column, value."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import StoreError
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.genomic.relationship import UnformedRelationship
from remlblup.relationship.given.matrix import Relationship
from remlblup.relationship.labels import tidy
from remlblup.relationship.pedigree.pedigree import Pedigree
from remlblup.relationship.single_step.by_products import ByProducts
from remlblup.relationship.single_step.relationship import SingleStep
from remlblup.storage.columns import read_text
from remlblup.storage.genotypes import load_unformed, save_unformed
from remlblup.storage.pedigree import (
    label_kind,
    load_clones,
    load_codes,
    pedigree_from_csv,
    pedigree_to_csv,
    save_clones,
    save_codes,
)
from remlblup.storage.transaction import RELATIONSHIPS, Staging
from remlblup.storage.verified import SavedFolder


def save_relationship(relationship: RelationshipBase, staging: Staging, stem: str, escape: bool) -> dict[str, Any]:
    """Write a pedigree as its rows, a given matrix as it is, genotypes for K that is made of them, both for single-step
    by products, any other relationship as its sparse K⁻¹ or its K."""
    if isinstance(relationship, Pedigree):
        file = f"{RELATIONSHIPS}/{stem}.csv"
        text, saved = pedigree_to_csv(relationship, escape)
        staging.write(file, text, "model")
        return saved | {"file": file}
    if isinstance(relationship, UnformedRelationship):
        return save_unformed(relationship, staging, stem)
    if isinstance(relationship, SingleStep) and relationship.by_products is not None:
        return _save_single_step(relationship, relationship.by_products, staging, stem, escape)
    if isinstance(relationship, Relationship):
        matrix, inverse = relationship.given, relationship.inverse
    else:
        inverse = relationship.is_sparse
        matrix = relationship.precision if inverse else relationship.dense()
    file = f"{RELATIONSHIPS}/{stem}.npz"
    write_arrays(staging, file, matrix)
    labels = relationship.labels
    return {
        "type": "inverse" if inverse else "matrix",
        "kind": label_kind(labels.tolist()),
        "file": file,
        "labels": [str(v) for v in labels],
        "clones": save_clones(relationship),
        "unknown": save_codes(relationship),
        "groups": save_groups(relationship, staging, stem),
        "note": relationship.note,
    }


def _save_single_step(H: SingleStep, products: ByProducts, staging: Staging, stem: str, escape: bool) -> dict[str, Any]:
    """Pedigree, genotypes, and the constants that join them."""
    return {
        "type": "single-step",
        "pedigree": save_relationship(H.pedigree, staging, f"{stem}.pedigree", escape),
        "genotypes": save_unformed(products.G, staging, f"{stem}.genotypes"),
        "weights": asdict(H.weights),
        "tuned_by": [value.hex() for value in products.tuned_by],
    }


def _load_single_step(saved: Mapping[str, Any], folder: SavedFolder, stem: str) -> SingleStep:
    """Inverse of `_save_single_step`."""
    a, b = map(float.fromhex, saved["tuned_by"])
    pedigree = load_relationship(saved["pedigree"], folder, f"{stem}.pedigree")
    G = load_unformed(saved["genotypes"], folder)
    return SingleStep(pedigree, G, **saved["weights"], missing="drop", known=(a, b))


def save_groups(relationship: RelationshipBase, staging: Staging, stem: str) -> dict[str, Any] | None:
    """Groups of unknown parents: their labels, and their shares in a file of its own."""
    if relationship.groups is None:
        return None
    file = f"{RELATIONSHIPS}/{stem}.groups.csv"
    text, _ = triplets_to_csv(relationship.group_fraction_matrix)
    staging.write(file, text, "model")
    labels = relationship.groups.tolist()
    return {"kind": label_kind(labels), "labels": [str(v) for v in labels], "file": file}


def load_relationship(saved: Mapping[str, Any], folder: SavedFolder, stem: str) -> RelationshipBase:
    """A pedigree or a matrix as `save_relationship` wrote it; `stem` names the file in folders that do not."""
    if saved["type"] == "genotypes":
        return load_unformed(saved, folder)
    if saved["type"] == "single-step":
        return _load_single_step(saved, folder, stem)
    file = saved.get("file", f"{RELATIONSHIPS}/{stem}.csv")
    content = folder.read(file)
    if saved["type"] == "pedigree":
        return pedigree_from_csv(saved, content)
    convert = int if saved["kind"] == "int" else str
    labels = [convert(v) for v in saved["labels"]]
    inverse = saved["type"] == "inverse"
    if file.endswith(".npz"):
        matrix = read_arrays(content, len(labels))
    else:
        triplets = read_triplets(content, (len(labels), len(labels)))
        matrix = triplets if inverse else triplets.toarray()
    relationship = Relationship(matrix, labels, inverse=inverse)
    relationship.unknown_codes, relationship.described = load_codes(saved), saved.get("note", "")
    if groups := saved.get("groups"):
        relationship.groups = tidy([(int if groups["kind"] == "int" else str)(v) for v in groups["labels"]])
        shares = read_triplets(folder.read(groups["file"]), (len(labels), len(relationship.groups)))
        relationship.group_fraction_matrix = sp.csr_array(shares)
    clones = load_clones(saved)
    if clones:
        relationship.ortets = relationship.index(list(clones.values()))
        relationship.ramets = tidy(list(clones))
    return relationship


# -- arrays ----------------------------------------------------------------------------------


def write_arrays(staging: Staging, file: str, matrix: Any) -> None:
    """A dense matrix, or the arrays of a sparse one, to the last bit."""
    arrays = {"values": matrix}
    if sp.issparse(matrix):
        csc = sp.csc_array(matrix)
        arrays = {"data": csc.data, "indices": csc.indices, "indptr": csc.indptr}
    with staging.path(file).open("wb") as opened:
        np.savez(opened, **arrays)
    staging.add(file, "model")


def read_arrays(content: bytes, size: int) -> np.ndarray | sp.csc_array:
    """Inverse of `write_arrays`, for a matrix of (size, size)."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if "values" in arrays.files:
            values = arrays["values"]
            if values.shape != (size, size) or values.dtype != np.float64:
                raise StoreError(f"a matrix of {size} levels is saved as {values.shape} of {values.dtype}.")
            return values
        matrix = sp.csc_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(size, size))
    matrix.check_format(full_check=True)
    return matrix


def triplets_to_csv(matrix: Any) -> tuple[str, list[int]]:
    """Nonzeros of a matrix as row, column, value; and its shape."""
    coo = sp.coo_array(matrix)
    table = pd.DataFrame({"row": coo.row, "column": coo.col, "value": coo.data})
    return table.to_csv(index=False, lineterminator="\n"), list(coo.shape)


def read_triplets(content: bytes, shape: Any) -> sp.csc_array:
    """Inverse of `triplets_to_csv`."""
    table = read_text(content)
    row, column = (table[k].to_numpy(dtype=object).astype(np.int64) for k in (0, 1))
    return sp.csc_array((table[2].to_numpy(dtype=object).astype(np.float64), (row, column)), shape=tuple(shape))
