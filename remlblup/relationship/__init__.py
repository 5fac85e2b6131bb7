"""Relationships between the levels of a random term: pedigrees, identities, and matrices the user gives."""

from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.coerce import coerce
from remlblup.relationship.matrix import MatrixRelationship
from remlblup.relationship.pedigree import Pedigree

#: The public name: ``rb.Relationship(matrix, labels=None, inverse=False)``.
Relationship = MatrixRelationship

__all__ = [
    "IdentityRelationship",
    "MatrixRelationship",
    "Pedigree",
    "Relationship",
    "RelationshipBase",
    "coerce",
]
