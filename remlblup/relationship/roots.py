"""Draws from N(0, K), by whichever root L of K = LL' a relationship has at hand."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.descent import numerator
from remlblup.relationship.descent.base import DescentRelationship
from remlblup.relationship.given.factorisations import sparse_factor
from remlblup.relationship.product import ProductRelationship, along_axes


def root_width(relationship: RelationshipBase) -> int:
    """Columns of the root L (q, ·) that `root_times` multiplies by."""
    if isinstance(relationship, ProductRelationship):
        return math.prod(root_width(part) for part in relationship.parts)
    return relationship.size if relationship.root is None else relationship.root.shape[1]


def root_times(relationship: RelationshipBase, Z: np.ndarray) -> np.ndarray:
    """L Z for Z (width, m), with K = LL'.

    By descent L = T diag(Γ, D)^½; of a product L_1 ⊗ L_2; of a singular K its own root; otherwise L = Q'U^{-T} by
    K⁻¹ = Q'U'UQ, Q an order of elimination.
    """
    if isinstance(relationship, IdentityRelationship):
        return Z.copy()
    if isinstance(relationship, ProductRelationship):
        parts = relationship.parts
        return along_axes(Z, [root_width(part) for part in parts], [partial(root_times, part) for part in parts])
    if isinstance(relationship, DescentRelationship):
        founders = 0 if relationship.gamma is None else len(relationship.gamma)
        scaled = np.sqrt(np.maximum(relationship.mendelian_variance, 0.0))[:, None] * Z
        if founders:
            scaled[:founders] = scipy.linalg.cholesky(relationship.gamma, lower=True) @ Z[:founders]
        return numerator.pass_down(relationship.sire, relationship.dam, scaled)
    if relationship.root is not None:
        return np.asarray(relationship.root @ Z)
    if not relationship.is_sparse:
        given = getattr(relationship, "given", None)
        if isinstance(given, np.ndarray) and not getattr(relationship, "inverse", True):
            return np.asarray(relationship._cholesky @ Z)  # type: ignore[attr-defined]
        upper = scipy.linalg.cholesky(relationship.precision.toarray())
        return np.asarray(scipy.linalg.solve_triangular(upper, Z))
    return precision_root_times(relationship.precision, Z)


def precision_root_times(precision: sp.csc_array, Z: np.ndarray) -> np.ndarray:
    """L Z with LL' = Q⁻¹ for a sparse positive definite precision Q (n, n) and Z (n, m)."""
    from scipy.sparse.linalg import spsolve_triangular  # a heavy import

    lu = sparse_factor(sp.csc_array(precision), True)
    # Q[order][:, order] = L D L', U = D L': x = L^{-T} D^{-½} z has the precision L D L'.
    d = lu.U.diagonal()
    upper = sp.csr_array(sp.diags_array(1.0 / d) @ lu.U)
    solved = spsolve_triangular(upper, Z / np.sqrt(d)[:, None], lower=False, unit_diagonal=True)
    return np.asarray(solved)[lu.perm_c]
