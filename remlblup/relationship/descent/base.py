"""Relationships that follow from descent: K = T D T' over animals listed parents before their offspring."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import PedigreeError, RelationshipError, count, some
from remlblup.linalg.memory import Need
from remlblup.relationship.base import RelationshipBase, are_all, check_dense, conformable
from remlblup.relationship.descent import numerator, numerator_matrix
from remlblup.relationship.descent.genealogy import ancestors, generations
from remlblup.relationship.given.matrix import MatrixRelationship
from remlblup.relationship.labels import as_items

#: Most entries a sparse part of A may hold (12 bytes each).
SPARSE_LIMIT = 200_000_000


class DescentRelationship(RelationshipBase):
    """K = T blockdiag(Γ, D) T' with T⁻¹ = I − ½P, P the incidence of parents (Henderson 1976, Biometrics 32:69).

    Attributes
    ----------
    labels : numpy.ndarray, shape (n,)
    sire, dam : numpy.ndarray of int32, shape (n,)
        Positions of the parents, −1 for unknown; parents come first.
    left : numpy.ndarray, shape (n,), or None
        Heterozygosity left after the selfing that follows an animal's cross; None for 1 throughout.
    gamma : numpy.ndarray, shape (g, g), or None
        Relationships of the first g rows, which are metafounders or random groups.
    ignore_inbreeding : bool
        True if the Mendelian variances are those of offspring of parents that are not inbred.
    """

    sire: np.ndarray
    dam: np.ndarray
    left: np.ndarray | None = None
    gamma: np.ndarray | None = None
    ignore_inbreeding: bool = False
    multiplies_fast = True

    @cached_property
    def _cross(self) -> np.ndarray:
        """Inbreeding of the cross an animal comes from, before any selfing."""
        return numerator.parental_kinship(self.sire, self.dam, left=self.left, gamma=self.gamma)

    @cached_property
    def inbreeding(self) -> np.ndarray:
        """Inbreeding coefficients, aligned with `labels`, shape (n,). See `numerator.inbreeding`."""
        F = numerator.after_selfing(self._cross, self.left, self.gamma)
        F.flags.writeable = False
        return F

    @cached_property
    def mendelian_variance(self) -> np.ndarray:
        """Mendelian sampling variances (diagonal of D in A = TDT'), shape (n,)."""
        if self.ignore_inbreeding:
            return numerator.mendelian_variance(self.sire, self.dam, np.zeros(self.size))
        return self._true_variance

    @cached_property
    def _true_variance(self) -> np.ndarray:
        """The same with inbreeding, ignored or not."""
        gain = 0.0 if self.left is None else (1.0 - self.left) * (1.0 - self._cross)
        return numerator.mendelian_variance(self.sire, self.dam, self.inbreeding, gain)

    @cached_property
    def generation(self) -> np.ndarray:
        """Generation: 0 for founders, else one more than the younger parent, shape (n,)."""
        return generations(self.sire, self.dam)

    @cached_property
    def precision(self) -> sp.csc_array:
        """K⁻¹, sparse, both triangles, shape (n, n). See `numerator.lower_precision`."""
        self._check_variance()
        return numerator.precision(self.sire, self.dam, self.mendelian_variance, self.gamma)

    @property
    def lower_precision(self) -> sp.csc_array:
        """Its lower triangle, made anew: the equations ask for it once, and hold its values."""
        self._check_variance()
        return numerator.lower_precision(self.sire, self.dam, self.mendelian_variance, self.gamma)

    def precision_around(self, positions: np.ndarray) -> tuple[sp.csc_array, np.ndarray]:
        """The same of some animals and their ancestors, and where the animals stand in it."""
        self._check_variance()
        sire, dam, variance, wanted, gamma = self._part(positions)
        return numerator.lower_precision(sire, dam, variance, gamma), wanted

    def precision_times(self, V: np.ndarray) -> np.ndarray:
        """K⁻¹ V for V of shape (n,) or (n, m); of a large pedigree without forming K⁻¹."""
        if self.size <= numerator.SMALL:
            return super().precision_times(V)
        self._check_variance()
        columns = conformable(V, self.size).reshape(self.size, -1)
        solved = numerator.precision_times(self.sire, self.dam, self.mendelian_variance, columns, self.gamma)
        return solved.reshape(np.shape(V))

    @property
    def need(self) -> Need:
        sire, dam = self.sire >= 0, self.dam >= 0
        entries = self.size + sire.sum() + dam.sum() + (sire & dam).sum()
        return Need.of(32.0 * self.size, 12.0 * entries + 36.0 * self.size)

    @cached_property
    def logdet(self) -> float:
        """log|K|."""
        self._check_variance()
        if self.gamma is None:
            return numerator.log_determinant(self.mendelian_variance)
        founders = float(np.linalg.slogdet(self.gamma)[1])
        return founders + numerator.log_determinant(self.mendelian_variance[len(self.gamma) :])

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Diagonal of K, shape (n,): 1 + F; what T D T' has there if inbreeding is ignored."""
        if not self.ignore_inbreeding:
            return 1.0 + self.inbreeding
        cross = numerator.parental_kinship(self.sire, self.dam, variance=self.mendelian_variance)
        diagonal = self.mendelian_variance + cross
        order = np.argsort(self.generation, kind="stable")
        for born in np.split(order, np.cumsum(np.bincount(self.generation))[:-1]):
            for parent in (self.sire[born], self.dam[born]):
                diagonal[born] += np.where(parent >= 0, 0.25 * diagonal[parent], 0.0)
        return diagonal

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """K V for V of shape (n,) or (n, m), without forming K."""
        return numerator.multiply(self.sire, self.dam, self.mendelian_variance, V, self.gamma)

    def among(self, positions: np.ndarray) -> np.ndarray:
        """K among the animals at some positions, as an array of shape (m, m)."""
        check_dense(len(positions))
        return numerator_matrix.matrix(*self._part(None if are_all(positions, self.size) else positions))

    def sparse(self, animals: Iterable | None = None) -> sp.csr_array:
        """K, or its part for some animals, as a sparse matrix: worth it where most animals are unrelated.

        Parameters
        ----------
        animals : array-like of labels, shape (m,), optional
            All animals by default.

        Returns
        -------
        scipy.sparse.csr_array, shape (m, m)

        Raises
        ------
        RelationshipError
            If it holds more than 200,000,000 entries, or for an animal that is not in the pedigree.
        """
        sire, dam, variance, wanted, gamma = self._part(None if animals is None else self.index(animals))
        blocks, entries = [], 0
        for first, block in numerator_matrix.column_blocks(sire, dam, variance, wanted, gamma):
            blocks.append(sp.csr_array(block.T))
            entries += blocks[-1].nnz
            if entries > SPARSE_LIMIT:
                raise RelationshipError(
                    f"The first {first + block.shape[1]:,} of {wanted.size:,} columns of the relationship matrix "
                    f"hold {entries:,} entries: it is not sparse. Ask for fewer animals, or use products with "
                    "it (`multiply`) or its inverse (`precision`)."
                )
        return sp.csr_array(sp.vstack(blocks)) if blocks else sp.csr_array((0, 0))

    def subset(self, animals: Iterable) -> MatrixRelationship:
        """The relationship of some animals alone, dense (A₂₂ of single-step evaluations).

        Parameters
        ----------
        animals : array-like of labels, shape (m,)
            Each once, at most 20,000.

        Returns
        -------
        MatrixRelationship
        """
        animals = as_items(animals)
        result = MatrixRelationship(self.dense(animals), self.labels[self.index(animals)])
        result.unknown_codes, result.groups = self.unknown_codes, self.groups
        if self.groups is not None:
            assert self.group_fraction_matrix is not None
            result.group_fraction_matrix = self.group_fraction_matrix[self.index(animals)]
        return result

    def inverse_subset(self, animals: Iterable) -> np.ndarray:
        """Inverse of the part of K that belongs to some animals, A₂₂⁻¹.

        The pedigree is first cut to the ancestors of the animals. If those ancestors (group 1) are fewer than
        the animals, the inverse is A²² − A²¹(A¹¹)⁻¹A¹², all of it sparse but the result (Strandén & Mäntysaari
        2014, J Anim Breed Genet 131:445); otherwise A₂₂ is formed and inverted by its Cholesky factor.

        Parameters
        ----------
        animals : array-like of labels, shape (m,)
            Each once, at most 20,000.

        Returns
        -------
        numpy.ndarray, shape (m, m)

        Raises
        ------
        RelationshipError
            For more than 20,000 animals, an animal given twice, or one that is not in the pedigree.
        """
        chosen = self.index(animals)
        check_dense(chosen.size)
        if np.unique(chosen).size < chosen.size:
            values, counts = np.unique(chosen, return_counts=True)
            raise RelationshipError(
                f"These animals were given more than once: {some(self.labels[values[counts > 1]])}."
            )
        self._check_variance()
        sire, dam, variance, wanted, gamma = self._part(chosen)
        rest = np.setdiff1d(np.arange(len(sire)), wanted)
        if rest.size > wanted.size:
            part = numerator_matrix.matrix(sire, dam, variance, wanted, gamma)
            lower, _ = scipy.linalg.lapack.dpotri(scipy.linalg.cholesky(part, lower=True), lower=1)
            return np.tril(lower) + np.tril(lower, -1).T
        inverse = numerator.precision(sire, dam, variance, gamma)
        result = inverse[wanted][:, wanted].toarray()
        if rest.size:
            from scipy.sparse.linalg import splu  # a heavy import

            between = inverse[rest][:, wanted]
            solver = splu(inverse[rest][:, rest].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
            result -= between.T @ solver.solve(between.toarray())
        return 0.5 * (result + result.T)

    def _part(self, wanted: np.ndarray | None) -> tuple:
        """sire, dam, variance, positions and Γ of `wanted` in the pedigree of their ancestors."""
        variance = self.mendelian_variance
        if wanted is None:
            return self.sire, self.dam, variance, np.arange(self.size), self.gamma
        kept = ancestors(self.sire, self.dam, wanted)
        if self.gamma is not None:
            kept[: len(self.gamma)] = True
        rows = np.flatnonzero(kept)
        place = np.full(self.size + 1, -1, dtype=np.int32)
        place[rows] = np.arange(rows.size, dtype=np.int32)
        return place[self.sire[rows]], place[self.dam[rows]], variance[rows], place[wanted], self.gamma

    def _check_variance(self) -> None:
        """Raise `PedigreeError`, naming the animals, if K is singular."""
        g = 0 if self.gamma is None else len(self.gamma)
        none_left = g + np.flatnonzero(self.mendelian_variance[g:] <= numerator.NO_VARIANCE)
        if none_left.size:
            raise PedigreeError(
                f"The relationship matrix is singular: "
                f"{count(none_left.size, 'animal', 'comes', 'come')} from completely inbred parents "
                f"(F = 1) with no Mendelian variance: {some(self.labels[none_left])}. Keep one animal of each "
                "fully inbred line, shorten the line's pedigree, or declare identical animals as clones."
            )
