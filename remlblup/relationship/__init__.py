"""Relationships between the levels of a random term: pedigrees, identities, and matrices the user gives."""

from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.coerce import coerce
from remlblup.relationship.maternal_grandsire import MaternalGrandsirePedigree
from remlblup.relationship.matrix import MatrixRelationship
from remlblup.relationship.parent_groups import Metafounders, RandomGroups
from remlblup.relationship.pedigree import Pedigree
from remlblup.relationship.sex_linked import SexLinkedRelationship

#: The public name: ``rb.Relationship(matrix, labels=None, inverse=False)``.
Relationship = MatrixRelationship

__all__ = [
    "IdentityRelationship",
    "MaternalGrandsirePedigree",
    "MatrixRelationship",
    "Metafounders",
    "Pedigree",
    "RandomGroups",
    "Relationship",
    "RelationshipBase",
    "SexLinkedRelationship",
    "coerce",
]
