"""Single-step by products alone: nothing of the order of the genotyped animals squared is formed.

With P = AV and 2 the genotyped animals,

    H V = P + A_{·2} A₂₂⁻¹ (H₂₂ − A₂₂) A₂₂⁻¹ P₂,    G_w = c₀ 11' + c₁ G + c₂ A₂₂,

where A multiplies by descent, G by its genotypes, A₂₂⁻¹ by solves with the sparse inverse of A of their ancestors
(`InverseOfPart`), and A₂₂ A₂₂⁻¹ P₂ is P₂. With τ = ω = 1 H₂₂ is G_w. With others, c = τ/(1 − ω),

    H₂₂ = (τG_w⁻¹ + (1 − ω)A₂₂⁻¹)⁻¹ = A₂₂ (G_w + cA₂₂)⁻¹ G_w / (1 − ω),

by conjugate gradients preconditioned with A₂₂⁻¹, which keep A₂₂x beside x at no cost.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array, chunks_of
from remlblup.cached import cached_property
from remlblup.errors import RelationshipError
from remlblup.linalg.contract import Factor
from remlblup.linalg.factor import make_factor
from remlblup.linalg.threads import single_threaded
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.genomic.relationship import UnformedRelationship
from remlblup.relationship.genomic.tuning import Means, means_of_sums, tuning_of_means
from remlblup.relationship.single_step.blocks import G_SINGULAR
from remlblup.relationship.single_step.weights import Weights

Operator = Callable[[Array], Array]
# Elements of the columns of all animals that are worked with at a time (64 MB).
_ELEMENTS = 2**23
# What conjugate gradients leave, and their steps at most: far less than what asks for products leaves.
_LEFT, _STEPS = 1e-12, 1000


class InverseOfPart:
    """K₂₂⁻¹ of some levels, from the sparse inverse of K: K₂₂⁻¹ = K²² − K²¹ (K¹¹)⁻¹ K¹².

    (Strandén & Mäntysaari 2014, J Anim Breed Genet 131:445.)

    Parameters
    ----------
    lower : (m, m) lower triangle of K⁻¹
    wanted : (g,) positions of these levels
    """

    def __init__(self, lower: sp.csc_array, wanted: np.ndarray):
        whole = sp.csc_array(lower + sp.tril(lower, -1).T)
        rest = np.setdiff1d(np.arange(lower.shape[0]), wanted)
        self._own = sp.csr_array(whole[wanted][:, wanted])
        self._between = sp.csr_array(whole[wanted][:, rest])
        self._across = sp.csr_array(self._between.T)
        self._factor: Factor | None = None
        if rest.size:
            inner = sp.csc_array(sp.tril(whole[rest][:, rest], format="csc"))
            inner.sort_indices()
            self._factor = make_factor(inner.indptr, inner.indices, rest.size)
            self._factor.factorize(inner.data)

    def times(self, B: Array) -> Array:
        """K₂₂⁻¹ B, (g, k)."""
        out = np.asarray(self._own @ B)
        if self._factor is not None:
            out -= self._between @ self._factor.solve(np.asarray(self._across @ B))
        return out


class ByProducts:
    """H by products.

    Parameters
    ----------
    pedigree : relationship of all animals
    positions : (g,) of the genotyped animals in it
    G : their genomic relationship, not formed
    order : (g,) their rows in it, which may have others
    weights : Weights
    tuned_by : the constants of the tuning, where they are known

    Raises
    ------
    RelationshipError
        If G cannot be tuned, or G_w is not positive definite.
    """

    def __init__(
        self,
        pedigree: RelationshipBase,
        positions: np.ndarray,
        G: UnformedRelationship,
        order: np.ndarray,
        weights: Weights,
        tuned_by: tuple[float, float] | None = None,
    ):
        self.pedigree, self.positions, self.G, self.order, self.weights = pedigree, positions, G, order, weights
        self.tuned_by = self._tuning() if tuned_by is None else tuned_by
        self.shares = weights.shares(*self.tuned_by)
        if tuned_by is None and self.shares[0] < 0.0:
            self._require_definite()

    def _tuning(self) -> tuple[float, float]:
        """a and b, from the means of G and A₂₂ by a product with each."""
        g, alpha, beta = len(self.positions), self.weights.alpha, self.weights.beta
        ones = np.ones((g, 1))
        of_G = means_of_sums(float(self._of_G.sum()), float(self._genomic(ones, self.G.multiply).sum()), g)
        whole = np.zeros((self.pedigree.size, 1))
        whole[self.positions] = 1.0
        total = float(self.pedigree.multiply(whole)[self.positions].sum())
        of_A22 = means_of_sums(float(self._of_A22.sum()), total, g)
        if self.weights.blend_first:
            of_G = blended(of_G, of_A22, alpha, beta)
        return tuning_of_means(of_G, of_A22, g, self.weights.tune)

    @cached_property
    def _of_G(self) -> Array:
        return self.G.diagonal[self.order]

    @cached_property
    def _of_A22(self) -> Array:
        return np.asarray(self.pedigree.diagonal)[self.positions]

    @property
    def genomic_diagonal(self) -> Array:
        """The diagonal of G_w, (g,)."""
        constant, of_G, of_A22 = self.shares
        return constant + of_G * self._of_G + of_A22 * self._of_A22

    @property
    def known_diagonal(self) -> Array:
        """The diagonal of H, (n,): that of G_w where H₂₂ is, NaN where it takes solves."""
        out = np.full(self.pedigree.size, np.nan)
        if self.weights.tau == self.weights.omega == 1.0:
            out[self.positions] = self.genomic_diagonal
        return out

    def _require_definite(self) -> None:
        """B = c₁G + c₂A₂₂ is; c₀ < 0 keeps c₀11' + B so while 1 + c₀ 1'B⁻¹1 > 0 (Sherman & Morrison 1950)."""
        constant, of_G, of_A22 = self.shares
        ones = np.ones((len(self.positions), 1))
        solved, _ = self.solved(ones, (0.0, of_G, 0.0), of_A22)
        if not 1.0 + constant * float(solved.sum()) > 1e-10:
            raise RelationshipError(f"The {G_SINGULAR[0]} is not positive definite. {G_SINGULAR[1]}")

    @cached_property
    @single_threaded
    def inverse(self) -> InverseOfPart:
        """A₂₂⁻¹."""
        return InverseOfPart(*self.pedigree.precision_around(self.positions))

    # -- products ----------------------------------------------------------------------------

    @single_threaded
    def multiply(self, V: Array, times: Operator | None = None) -> Array:
        """H V for V (n, m); `times` multiplies with G, its own products without."""
        n, m = V.shape
        P, inner = np.empty((n, m)), np.empty((len(self.positions), m))
        chunks = chunks_of(m, max(1, _ELEMENTS // max(n, 1)))
        for chunk in chunks:
            P[:, chunk] = self.pedigree.multiply(V[:, chunk])
            inner[:, chunk] = self.inverse.times(P[self.positions, chunk])
        middle = self._times_H22(inner, P[self.positions], times or self.G.multiply) - P[self.positions]
        for chunk in chunks:
            change = np.zeros((n, chunk.stop - chunk.start))
            change[self.positions] = self.inverse.times(middle[:, chunk])
            P[:, chunk] += self.pedigree.multiply(change)
        return P

    def _times_H22(self, B: Array, AB: Array, times: Operator) -> Array:
        """H₂₂ B, given A₂₂ B."""
        tau, omega = self.weights.tau, self.weights.omega
        own = self._times_Gw(B, AB, self.shares, times)
        if omega == 1.0:
            return own / tau
        _, related = self.solved(own, self.shares, tau / (1.0 - omega), times)
        return related / (1.0 - omega)

    def _times_Gw(self, B: Array, AB: Array, shares: tuple[float, float, float], times: Operator) -> Array:
        """(c₀11' + c₁G + c₂A₂₂) B, given A₂₂ B."""
        constant, of_G, of_A22 = shares
        out = of_A22 * AB + constant * B.sum(axis=0)
        return out + of_G * self._genomic(B, times) if of_G else out

    def _genomic(self, B: Array, times: Operator) -> Array:
        """G B among these animals."""
        whole = np.zeros((self.G.size, B.shape[1]))
        whole[self.order] = B
        return times(whole)[self.order]

    def solved(
        self, B: Array, shares: tuple[float, float, float], more: float, times: Operator | None = None
    ) -> tuple[Array, Array]:
        """x and A₂₂x of (c₀11' + c₁G + (c₂ + more) A₂₂) x = B, by conjugate gradients, each column its own.

        Raises
        ------
        RelationshipError
            If the matrix is not positive definite, or they do not end.
        """
        x, related, r = np.zeros_like(B), np.zeros_like(B), B.copy()
        z = self.inverse.times(r)
        now = columnwise(r, z)
        enough = _LEFT**2 * now
        active = np.flatnonzero(now > 0.0)
        d, Ad, r, now = z[:, active], r[:, active].copy(), r[:, active], now[active]
        for _ in range(_STEPS):
            if not active.size:
                return x, related
            q = self._times_Gw(d, Ad, shares, times or self.G.multiply) + more * Ad
            curvature = columnwise(d, q)
            if not np.all(curvature > 0.0):
                break
            step = now / curvature
            x[:, active] += step * d
            related[:, active] += step * Ad
            r = r - step * q
            z = self.inverse.times(r)
            after = columnwise(r, z)
            going = after > enough[active]
            active, share = active[going], (after / now)[going]
            r, now = r[:, going], after[going]
            d, Ad = z[:, going] + share * d[:, going], r + share * Ad[:, going]
        raise RelationshipError(f"The {G_SINGULAR[0]} is not positive definite, or nearly so. {G_SINGULAR[1]}")


def blended(of_G: Means, of_A22: Means, alpha: float, beta: float) -> Means:
    """The means of αG + βA₂₂."""
    diagonal, off, whole = (alpha * own + beta * other for own, other in zip(of_G, of_A22, strict=True))
    return diagonal, off, whole


def columnwise(A: Array, B: Array) -> Array:
    """The products of the columns of two matrices, (k,)."""
    return np.einsum("gk,gk->k", A, B)


def why_formed(G: UnformedRelationship, weights: Weights) -> str:
    """Why products do not do, in words; "" if they do: H is to be positive definite, and is known to be so."""
    if G.coding.diagonal is not None:
        return f"G of method={G.method!r} has a diagonal of its own, with which it may have negative eigenvalues"
    if weights.beta == 0.0:
        return "without blending (beta=0) G may have no inverse"
    if weights.omega > 1.0:
        return f"with omega={weights.omega:g} above 1 H may have negative eigenvalues"
    return ""
