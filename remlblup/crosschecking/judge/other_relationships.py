"""Other relationships: inbreeding ignored, A cut to what has records, none at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp

from remlblup.crosschecking.judge.variant import Ours, Variant
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.given.matrix import MatrixRelationship
from remlblup.relationship.pedigree.pedigree import Pedigree
from remlblup.relationship.product import Product

#: Up to this many levels the inverse of a relationship is cut.
MOST_LEVELS = 20_000


def other_relationships(ours: Ours) -> Iterator[Variant]:
    """Inbreeding, and A cut to what has records."""
    for name, relationship in ours.relationships.items():
        if isinstance(relationship, IdentityRelationship):
            continue
        with_records = _levels(ours.spec, name)
        if is_plain(relationship):
            assert isinstance(relationship, Pedigree)
            if np.any(relationship.inbreeding > 0.0) or relationship.ignore_inbreeding:
                flag = not relationship.ignore_inbreeding
                words = "inbreeding ignored" if flag else "inbreeding considered"
                yield Variant(words, f"in A⁻¹ of {name}", _changed(ours, name, _rebuilt, relationship, flag))
            if len(with_records) < relationship.size:
                yield Variant(
                    "A cut to animals with records",
                    f"other animals removed from the pedigree {name}",
                    _changed(ours, name, _cut_pedigree, relationship, with_records),
                )
        if len(with_records) < relationship.size <= MOST_LEVELS:
            yield Variant(
                "A cut to animals with records",
                f"the inverse of {name} cut, rows and columns of other animals removed",
                _changed(ours, name, _cut_inverse, relationship, with_records),
            )
        yield Variant(
            "relationships ignored",
            f"levels of {name} independent",
            _changed(ours, name, _independent, relationship, with_records),
        )


def is_plain(relationship: RelationshipBase) -> bool:
    """A pedigree without groups, selfing or clones."""
    if type(relationship) is not Pedigree:
        return False
    return relationship.selfing is None and relationship.groups is None and not len(relationship.ramets)


def _changed(
    ours: Ours, name: str, change: Callable[..., RelationshipBase], *of: object
) -> Callable[[], Specification]:
    return lambda: ours.model(relationships=ours.relationships | {name: change(*of)})


def _levels(spec: Specification, name: str) -> np.ndarray:
    """Numbers of the levels of a relationship that records have."""
    found: set[int] = set()
    for design in spec.random:
        if name in design.named and design.root is None:
            for Z in design.columns:
                positions = np.unique(sp.csr_array(Z).indices)
                found.update(_of_factor(design, name, positions).tolist())
    return np.array(sorted(found), dtype=int)


def _of_factor(design: RandomDesign, name: str, positions: np.ndarray) -> np.ndarray:
    """Levels in a relationship by their positions in the term's, which may be a product with others."""
    if not isinstance(design.relationship, Product) or design.term is None:
        return positions
    codes = design.relationship.codes_of(positions)
    return np.unique(codes[:, [named == name for named in design.term.group.names]])


def _parents(pedigree: Pedigree) -> list[list[str | None]]:
    """Labels of the sires and of the dams, None where unknown."""
    labels = [str(v) for v in pedigree.labels]
    return [[labels[p] if p >= 0 else None for p in side] for side in (pedigree.sire, pedigree.dam)]


def _rebuilt(pedigree: Pedigree, ignore: bool) -> Pedigree:
    sires, dams = _parents(pedigree)
    labels = [str(v) for v in pedigree.labels]
    monoecious = pedigree.hermaphrodites
    return Pedigree(labels, sires, dams, unknown=[], hermaphrodites=monoecious, ignore_inbreeding=ignore)


def _cut_pedigree(pedigree: Pedigree, kept: np.ndarray) -> Pedigree:
    labels = [str(v) for v in pedigree.labels]
    stay = {labels[k] for k in kept}
    sires, dams = ([p if p in stay else None for p in side] for side in _parents(pedigree))
    rows = [k for k, label in enumerate(labels) if label in stay]
    return Pedigree(
        [labels[k] for k in rows],
        [sires[k] for k in rows],
        [dams[k] for k in rows],
        unknown=[],
        hermaphrodites=pedigree.hermaphrodites,
        ignore_inbreeding=pedigree.ignore_inbreeding,
    )


def _cut_inverse(relationship: RelationshipBase, kept: np.ndarray) -> MatrixRelationship:
    part = relationship.precision.tocsr()[kept][:, kept]
    return MatrixRelationship(part.tocsc(), [str(relationship.labels[k]) for k in kept], inverse=True)


def _independent(relationship: RelationshipBase, kept: np.ndarray) -> MatrixRelationship:
    return MatrixRelationship(sp.eye_array(len(kept), format="csc"), [str(relationship.labels[k]) for k in kept])
