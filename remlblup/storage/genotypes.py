"""A relationship that is not formed, as what it is made of: genotypes (2 bits; dosages 4 bytes) and their codes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from remlblup.errors import StoreError
from remlblup.relationship.genomic.array_file import read_array, write_array
from remlblup.relationship.genomic.codings import Coding
from remlblup.relationship.genomic.genotypes import Genotypes
from remlblup.relationship.genomic.relationship import UnformedRelationship
from remlblup.storage.pedigree import label_kind
from remlblup.storage.transaction import RELATIONSHIPS, Staging
from remlblup.storage.verified import SavedFolder


def save_unformed(relationship: UnformedRelationship, staging: Staging, stem: str) -> dict[str, Any]:
    """Write the genotypes of the individuals and markers in it, a block at a time, and how they are coded."""
    genotypes, coding = relationship.genotypes, relationship.coding
    written, codes = f"{RELATIONSHIPS}/{stem}.npy", f"{RELATIONSHIPS}/{stem}.codes.npz"
    with staging.path(written).open("wb") as opened:
        write_array(genotypes, opened)
    staging.add(written, "model")
    # Named by its content: who has loaded the fit reads on from it, and from no other that takes its place.
    file = f"{RELATIONSHIPS}/{stem}.{staging.listed[written]['sha256'][:16]}.npy"
    staging.rename(written, file)
    arrays: dict[str, Any] = {"table": coding.table, "frequencies": coding.frequencies}
    if coding.diagonal is not None:
        arrays["diagonal"] = coding.diagonal
    with staging.path(codes).open("wb") as opened:
        np.savez(opened, **arrays)
    staging.add(codes, "model")
    return {
        "type": "genotypes",
        "method": relationship.method,
        "divisor": coding.divisor.hex(),
        "used": coding.used,
        "counted": genotypes.counted,
        "file": file,
        "codes": codes,
        "individuals": _labels(genotypes.ids),
        "markers": _labels(genotypes.markers),
    }


def load_unformed(saved: Mapping[str, Any], folder: SavedFolder) -> UnformedRelationship:
    """Inverse of `save_unformed`; the genotypes are read from the folder whenever they are multiplied with."""
    ids, markers = (_of_labels(saved[name]) for name in ("individuals", "markers"))
    genotypes = Genotypes(
        read_array(folder.path(saved["file"]), len(ids), len(markers)), ids, markers, str(saved["counted"])
    )
    with np.load(io.BytesIO(folder.read(saved["codes"])), allow_pickle=False) as arrays:
        table, frequencies = arrays["table"], arrays["frequencies"]
        diagonal = arrays["diagonal"] if "diagonal" in arrays.files else None
    shapes = [table.shape, table.shape if diagonal is None else diagonal.shape, (*frequencies.shape, 4)]
    if any(shape != (len(markers), 4) for shape in shapes):
        raise StoreError(f"the codes of {len(markers):,} markers are saved as {shapes}.")
    coding = Coding(table, float.fromhex(saved["divisor"]), diagonal, int(saved["used"]), frequencies)
    return UnformedRelationship(genotypes, str(saved["method"]), frequencies, coding)


def _labels(labels: np.ndarray) -> dict[str, Any]:
    return {"kind": label_kind(labels.tolist()), "labels": [str(v) for v in labels]}


def _of_labels(saved: Mapping[str, Any]) -> list[Any]:
    return [(int if saved["kind"] == "int" else str)(v) for v in saved["labels"]]
