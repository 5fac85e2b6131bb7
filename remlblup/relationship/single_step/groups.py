"""Groups of unknown parents in single-step: in all of H, or in A alone.

With Q the shares of the groups in the animals and u* = Qg + a, a ~ N(0, Hσ²), the inverse over groups and animals is
the QP transformation of all of H (Misztal, Vitezica, Legarra, Aguilar & Swan 2013, J Anim Breed Genet 130:252):

    [ Q'H⁻¹Q  −Q'H⁻¹ ;  −H⁻¹Q  H⁻¹ ]

These are the equations of a model, the groups being fixed effects, and what `SingleStep` does by itself. Where A⁻¹
alone is transformed, as long usual for its simplicity, G_w⁻¹ and A₂₂⁻¹ speak of u*₂ as if it had no groups:

    Ω = [ Q'A⁻¹Q  −Q'A⁻¹ ;  −A⁻¹Q  A⁻¹ ] + [ 0  0 ;  0  H⁻¹ − A⁻¹ ]

The quadratic form of Ω is that of a given g, a ~ N(0, H) about the mean HA⁻¹Qg, plus g'Wg with

    W = Q'(A⁻¹ − A⁻¹HA⁻¹)Q = Q₂'A₂₂⁻¹ (A₂₂ − H₂₂) A₂₂⁻¹Q₂.

So the groups with a share in genotyped animals are not fixed: W is the prior precision that Ω gives them. Where W is
positive definite Ω is the inverse of a covariance, and `GroupsInA` is its relationship; groups without genotyped
descendants stay fixed. Where it is not, no distribution has these equations, and there is no likelihood.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import RelationshipError, some
from remlblup.relationship.base import RelationshipBase, conformable
from remlblup.relationship.labels import tidy
from remlblup.relationship.pedigree.parent_groups import LabelledMatrix

# Eigenvalues of W this small, relative to Q₂'A₂₂⁻¹Q₂, are zero to rounding.
_NONE = 1e-9


class OfSingleStep(Protocol):
    """What is asked of a single-step relationship here."""

    labels: np.ndarray
    groups: np.ndarray | None
    unknown_codes: frozenset[str] | None
    pedigree: RelationshipBase
    positions: np.ndarray

    @property
    def group_fraction_matrix(self) -> sp.csr_array | None: ...
    @property
    def precision(self) -> sp.csc_array: ...
    @property
    def logdet(self) -> float: ...
    @property
    def diagonal(self) -> np.ndarray: ...
    def multiply(self, V: np.ndarray) -> np.ndarray: ...
    def group_information(self, Q2: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


def transformed(H: OfSingleStep, whole: bool) -> LabelledMatrix:
    """The inverse over groups, then animals: of all of H, or (`whole` False) with A⁻¹ alone transformed."""
    assert H.groups is not None and H.group_fraction_matrix is not None
    Q, inner = H.group_fraction_matrix, H.precision if whole else H.pedigree.precision
    cross = sp.csc_array(inner @ Q)
    corner = sp.csc_array(Q.T @ cross)
    matrix = sp.csc_array(sp.block_array([[0.5 * (corner + corner.T), -cross.T], [-cross, H.precision]]))
    matrix.sort_indices()
    labels = tidy([*H.groups.tolist(), *H.labels.tolist()])
    return LabelledMatrix(matrix, labels)


class GroupsInA(RelationshipBase):
    """Groups and animals of a single-step relationship in whose inverse the groups are in A⁻¹ alone.

    The levels are the groups with genotyped descendants, then the animals: K = Ω⁻¹, K = [W⁻¹, W⁻¹M'; MW⁻¹, H + MW⁻¹M'],
    M = HA⁻¹Q. The other groups are fixed effects. Made by `SingleStep.with_groups_in_A`.

    Attributes
    ----------
    labels : numpy.ndarray, shape (r + n,)
    random_groups, groups : numpy.ndarray
        The groups that are levels, and those that are fixed effects (None without).

    Raises
    ------
    RelationshipError
        If W is not positive definite.
    """

    def __init__(self, H: OfSingleStep) -> None:
        Q = sp.csc_array(H.group_fraction_matrix)
        among_genotyped = Q[H.positions].toarray()
        assert H.groups is not None
        random = np.flatnonzero((among_genotyped != 0).any(axis=0))
        fixed = np.setdiff1d(np.arange(Q.shape[1]), random)
        self.single_step, self.unknown_codes = H, H.unknown_codes
        self.random_groups = H.groups[random]
        self.labels = tidy([*self.random_groups.tolist(), *H.labels.tolist()])
        self.ramets, self.ortets = H.pedigree.ramets, H.pedigree.ortets + len(random)
        if fixed.size:
            self.groups = H.groups[fixed]
            above = sp.csr_array((len(random), len(fixed)))
            self.group_fraction_matrix = sp.csr_array(sp.vstack([above, Q[:, fixed]]))
        self._Q = sp.csr_array(Q[:, random])
        self._gamma, self._log_gamma = self._prior(H, among_genotyped[:, random])

    def _prior(self, H: OfSingleStep, Q2: np.ndarray) -> tuple[np.ndarray, float]:
        """W⁻¹ and its log-determinant."""
        shares, W = H.group_information(Q2)
        values, vectors = np.linalg.eigh(W)
        least = _NONE * np.abs(shares).max(initial=0.0)
        if len(values) and values[0] <= least:
            worst = np.abs(vectors[:, 0])
            named = some(self.random_groups[worst > 0.3 * worst.max()])
            wrong = (
                f"give the groups {named} the prior precision {values[0]:.4g}/σ², a negative one: they belong to no "
                "distribution and have no likelihood"
                if values[0] < -least
                else f"give a combination of the groups {named} no prior precision (the genotyped animals do not tell "
                "them apart) and the rest of them one: they cannot be told into fixed and random groups. "
                "Merge these groups"
            )
            raise RelationshipError(
                f"The equations with groups in A alone {wrong}. Or keep the groups in all of H, "
                "as SingleStep(pedigree, G) has them, "
                'or use metafounders. (group_precision("A") is the matrix, for equations of your own.)'
            )
        return (vectors / values) @ vectors.T, -float(np.log(values).sum())

    @cached_property
    def _mean(self) -> np.ndarray:
        """M = HA⁻¹Q, shape (n, r)."""
        H = self.single_step
        return H.multiply(np.asarray((H.pedigree.precision @ self._Q).toarray()))

    @property
    def note(self) -> str:
        parts = [f"{some(self.random_groups, 6)} random, with the precision W of these equations"]
        parts += [f"{some(self.groups, 6)} fixed"] if self.groups is not None else []
        return f"groups of unknown parents in A alone (QP transformation of A): {'; '.join(parts)}"

    @cached_property
    def precision(self) -> sp.csc_array:
        """Ω, shape (r + n, r + n)."""
        cross = sp.csc_array(self.single_step.pedigree.precision @ self._Q)
        corner = sp.csc_array(self._Q.T @ cross)
        blocks = [[0.5 * (corner + corner.T), -cross.T], [-cross, self.single_step.precision]]
        matrix = sp.csc_array(sp.block_array(blocks))
        matrix.sort_indices()
        return matrix

    @property
    def logdet(self) -> float:
        """log|K| = log|H| − log|W|."""
        return float(self.single_step.logdet + self._log_gamma)

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Diagonal of K, shape (r + n,)."""
        spread = np.einsum("ir,rs,is->i", self._mean, self._gamma, self._mean)
        return np.append(np.diag(self._gamma), self.single_step.diagonal + spread)

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """K V for V of shape (r + n,) or (r + n, m)."""
        V = conformable(V, self.size)
        r = len(self._gamma)
        of_groups = self._gamma @ (V[:r] + self._mean.T @ V[r:])
        return np.concatenate([of_groups, self._mean @ of_groups + self.single_step.multiply(V[r:])])

    def __repr__(self) -> str:
        return f"GroupsInA({len(self.random_groups)} groups, {self.single_step!r})"
