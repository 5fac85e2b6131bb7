"""A pedigree in the folder of a saved fit: a row per animal, and what makes the rest of its matrix."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.pedigree.pedigree import Pedigree
from remlblup.relationship.pedigree.reading import UNKNOWN
from remlblup.storage.cells import csv_text, original
from remlblup.storage.columns import UNSAFE, read_text


def pedigree_to_csv(pedigree: Pedigree, escape: bool) -> tuple[str, dict[str, Any]]:
    """A row per animal, and what the rows do not say."""
    coded = any(UNSAFE.search(str(v)) for v in pedigree.labels)
    spell: Callable[[Any], str] = json.dumps if coded else str
    text = np.append(np.array([spell(v) for v in pedigree.labels.tolist()], dtype=object), "")
    columns = {"id": text[:-1], "sire": text[pedigree.sire], "dam": text[pedigree.dam]}
    if pedigree.groups is not None:
        named = np.array([*map(str, pedigree.groups), ""], dtype=object)
        columns["sire_group"], columns["dam_group"] = named[pedigree.sire_group], named[pedigree.dam_group]
    if pedigree.selfing is not None:
        columns["selfing"] = np.array([repr(float(k)) for k in pedigree.selfing], dtype=object)
    return csv_text(pd.DataFrame(columns), escape), {
        "type": "pedigree",
        "kind": label_kind(pedigree.labels.tolist()),
        "groups": None if pedigree.groups is None else [str(g) for g in pedigree.groups],
        "clones": save_clones(pedigree),
        "hermaphrodites": pedigree.hermaphrodites,
        "ignore_inbreeding": pedigree.ignore_inbreeding,
        "unknown": save_codes(pedigree),
        "columns": list(columns),
        "escaped": escape,
        "coded": coded,
        "note": pedigree.note,
    }


def pedigree_from_csv(saved: Mapping[str, Any], content: bytes) -> Pedigree:
    """Inverse of `pedigree_to_csv`; folders of earlier versions lack some options."""
    convert: Any = json.loads if saved.get("coded") else int if saved["kind"] == "int" else str
    table = read_text(content)
    groups = saved.get("groups")
    if saved.get("escaped"):
        table = table.map(original)
    names = ["id", "sire", "dam", *(["sire_group", "dam_group"] if groups is not None else [])]
    names = saved.get("columns") or [*names, *(["selfing"] if table.shape[1] > len(names) else [])]
    table = table.set_axis(names, axis=1)
    ids, sires, dams = [[None if v == "" else convert(v) for v in table[c]] for c in ("id", "sire", "dam")]
    if groups is not None:
        for column, side in zip((sires, dams), ("sire_group", "dam_group"), strict=True):
            column[:] = [group if p is None else p for p, group in zip(column, table[side], strict=True)]
    selfing = [float(k) for k in table["selfing"]] if "selfing" in table else None
    # Ramets share the row of their ortet in the file; they get rows back to be merged again.
    clones = load_clones(saved)
    ids += list(clones)
    sires += [None] * len(clones)
    dams += [None] * len(clones)
    if selfing is not None:
        selfing += [0.0] * len(clones)
    pedigree = Pedigree(
        ids,
        sires,
        dams,
        unknown=(),
        hermaphrodites=saved.get("hermaphrodites", True),
        groups=groups,
        selfing=selfing,
        clones=clones or None,
        ignore_inbreeding=saved.get("ignore_inbreeding", False),
    )
    pedigree.unknown_codes, pedigree.described = load_codes(saved), saved.get("note", "")
    return pedigree


def save_codes(relationship: RelationshipBase) -> list[str] | None:
    """Codes for an unknown parent; None of what is no pedigree."""
    codes = relationship.unknown_codes
    return None if codes is None else sorted(codes)


def load_codes(saved: Mapping[str, Any]) -> frozenset[str] | None:
    """Inverse of `save_codes`, with the blank that stands for a missing value in the saved data."""
    codes = saved.get("unknown", UNKNOWN if saved["type"] == "pedigree" else None)
    return None if codes is None else frozenset([*codes, ""])


def save_clones(relationship: RelationshipBase) -> dict[str, Any]:
    """Ramets and their ortets."""
    ramets = relationship.ramets.tolist()
    ortets = relationship.labels[relationship.ortets]
    return {"kind": label_kind(ramets), "ortet_of": {str(r): str(o) for r, o in zip(ramets, ortets, strict=True)}}


def load_clones(saved: Mapping[str, Any]) -> dict[Any, str]:
    """Inverse of `save_clones`, as a mapping ramet → ortet."""
    clones = saved.get("clones")
    if not clones:
        return {}
    convert = int if clones["kind"] == "int" else str
    return {convert(ramet): ortet for ramet, ortet in clones["ortet_of"].items()}


def label_kind(labels: Any) -> str:
    """int if every label is a whole number, str otherwise."""
    return "int" if all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in labels) else "str"
