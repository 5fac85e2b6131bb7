"""Single-step: the pedigree of all animals and the genomic relationships of some in one matrix H.

With 2 the genotyped animals, A the relationships by pedigree and G_w the genomic ones after blending and tuning,

    H⁻¹ = A⁻¹ + [ 0  0 ;  0  τG_w⁻¹ − ωA₂₂⁻¹ ]

(Aguilar et al. 2010, J Dairy Sci 93:743; Christensen & Lund 2010, Genet Sel Evol 42:2; τ, ω: Martini et al. 2018,
Genet Sel Evol 50:16). The inverse of its block over the genotyped animals, all others absorbed, is

    H₂₂⁻¹ = τG_w⁻¹ + (1 − ω)A₂₂⁻¹,   so that   H = A + A_{·2} A₂₂⁻¹ (H₂₂ − A₂₂) A₂₂⁻¹ A_{2·}

and log|H| = log|A| − log|A₂₂| + log|H₂₂|; H is positive definite if and only if H₂₂ is. For τ = ω = 1, H₂₂ = G_w.

Groups of unknown parents of the pedigree belong to all of H: u* = Qg + a with a ~ N(0, Hσ²); see `single_step_groups`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import OptionError, RelationshipError, choose, some
from remlblup.linalg.memory import require
from remlblup.linalg.threads import single_threaded
from remlblup.relationship.base import RelationshipBase, conformable
from remlblup.relationship.descent import DescentRelationship
from remlblup.relationship.labels import match
from remlblup.relationship.parent_groups import LabelledMatrix
from remlblup.relationship.single_step_blocks import both_inverted, inverted, likeness, prepare, read_matrix
from remlblup.relationship.single_step_groups import GroupsInA, transformed

_BLOCK = 256
#: Products of this many operations are the shorter way to the diagonal of H; beyond, the sparse inverse is.
_PRODUCTS = 2e9


class SingleStep(RelationshipBase):
    """The relationship H of single-step evaluations (ssGBLUP), by its sparse-plus-one-block inverse.

    Parameters
    ----------
    pedigree : Pedigree, or another relationship of all animals
        One whose ``among(positions)`` is cheap: the relationships of the genotyped animals. Its groups of unknown
        parents become fixed effects of a model by the QP transformation of all of H, the one that is the equations of
        a model (Misztal et al. 2013); for that of A alone see `with_groups_in_A`. Random groups and metafounders are
        animals of their pedigree here too.
    G : pandas.DataFrame, Relationship, or (matrix, labels), shape (g, g)
        Genomic relationships of the genotyped animals, in any order. May be singular if it is blended.
    tau, omega : float
        Weights of G_w⁻¹ (above 0) and of A₂₂⁻¹.
    alpha, beta : float, optional
        Blending, αG + βA₂₂; 0.95 and 0.05 by default. Of one alone the other completes it to 1: ``alpha=0.9`` is
        0.9 G + 0.1 A₂₂, ``alpha=1`` no blending.
    tune : {0, 1, 2, 3, 4}
        Tuning of G to the base of A₂₂ as BLUPF90's ``tunedG``, see `genomic_tuning.tune`; 0 for none.
    blend_first : bool
        Whether G is blended and then tuned (as BLUPF90 does), or tuned and then blended.
    missing : {"error", "drop"}
        What to do about genotyped animals that are not in the pedigree. A ramet counts as its ortet.

    Attributes
    ----------
    labels : numpy.ndarray, shape (n,)
        All animals, in the order of the pedigree.
    genotyped : numpy.ndarray, shape (g,)
        Labels of the genotyped animals, in that order.
    positions : numpy.ndarray of int, shape (g,)
        Their positions in `labels`.
    dropped : list
        Genotyped animals left out because they are not in the pedigree.
    tuned_by : (float, float)
        The constants (a, b) of the tuning a 11' + b G.

    Raises
    ------
    RelationshipError
        For genotyped animals that are not in the pedigree (with ``missing="drop"`` if none is), two genotyped members
        of one clone, a G that is not square, symmetric and finite, or matrices
        that are not positive definite: A₂₂, the blended and tuned G, or H (τ and ω do not agree with G and A₂₂).
    OptionError
        For a weight or option out of its range.

    Examples
    --------
    >>> import numpy as np, remlblup as rb
    >>> pedigree = rb.Pedigree(["bull", "cow", "calf"], [None, None, "bull"], [None, None, "cow"])
    >>> H = rb.SingleStep(pedigree, (np.array([[1.1, 0.6], [0.6, 1.0]]), ["bull", "calf"]), alpha=1, beta=0, tune=0)
    >>> H.dense().round(3).tolist()
    [[1.1, 0.033, 0.6], [0.033, 0.967, 0.467], [0.6, 0.467, 1.0]]
    """

    def __init__(
        self,
        pedigree: RelationshipBase,
        G: object,
        *,
        tau: float = 1.0,
        omega: float = 1.0,
        alpha: float | None = None,
        beta: float | None = None,
        tune: int = 2,
        blend_first: bool = True,
        missing: str = "error",
    ) -> None:
        if not isinstance(pedigree, RelationshipBase):
            raise RelationshipError(
                f"SingleStep needs a Pedigree (or another relationship of all animals), not {type(pedigree).__name__}."
            )
        choose("missing", missing, ("error", "drop"))
        alpha, beta = _blending(alpha, beta)
        _check_weights(tau, omega, alpha, beta)
        self.pedigree, self.labels, self.unknown_codes = pedigree, pedigree.labels, pedigree.unknown_codes
        self.groups, self.ramets, self.ortets = pedigree.groups, pedigree.ramets, pedigree.ortets
        self.tau, self.omega, self.alpha, self.beta = float(tau), float(omega), float(alpha), float(beta)
        self.tune, self.blend_first = tune, bool(blend_first)
        raw, labels = read_matrix(G)
        self.positions, order, self.dropped = _place(pedigree, labels, missing == "drop")
        self.genotyped = self.labels[self.positions]
        require(80.0 * len(order) ** 2, f"single-step with {len(order):,} genotyped animals")
        self._raw = raw if np.array_equal(order, np.arange(len(raw))) else raw[np.ix_(order, order)]
        self._A22 = pedigree.among(self.positions)
        self._invert_blocks()

    @single_threaded
    def _invert_blocks(self) -> None:
        """G_w, H₂₂, the inverses and log-determinants; raises where one is not positive definite."""
        g = len(self.positions)
        self.tuned_by, self._log_a22, self._log_h22 = (0.0, 1.0), 0.0, 0.0
        if g == 0:
            self._Gw = self._H22 = self._A22_inverse = self._block = np.zeros((0, 0))
            return
        self._Gw, self.tuned_by = prepare(self._raw, self._A22, self.alpha, self.beta, self.tune, self.blend_first)
        (self._A22_inverse, self._log_a22), (Gw_inverse, self._log_h22) = both_inverted(self._A22, self._Gw)
        self._H22 = self._Gw
        if (self.tau, self.omega) != (1.0, 1.0):
            self._H22, log = inverted(
                self.tau * Gw_inverse + (1.0 - self.omega) * self._A22_inverse,
                f"single-step relationship H with tau = {self.tau:g} and omega = {self.omega:g}",
                "tau Gw⁻¹ + (1 − omega) A22⁻¹ must be positive definite: take an omega nearer to 1, or a larger tau.",
            )
            self._log_h22 = -log
        Gw_inverse *= self.tau
        Gw_inverse -= self.omega * self._A22_inverse
        self._block = Gw_inverse

    @cached_property
    def precision(self) -> sp.csc_array:
        """H⁻¹, shape (n, n), both triangles stored: A⁻¹ and one dense block over the genotyped animals."""
        g, n = len(self.positions), self.size
        index = np.int32 if g * g < 2**31 else np.int64
        counts = np.zeros(n, np.int64)
        counts[self.positions] = g
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).astype(index)
        # The block is symmetric, so that its elements may come row by row or column by column.
        entries = self._block.ravel(order="K"), np.tile(self.positions.astype(index), g), indptr
        result = sp.csc_array(self.pedigree.precision + sp.csc_array(entries, shape=(n, n)))
        result.sort_indices()
        return result

    @property
    def group_fraction_matrix(self) -> sp.csr_array | None:  # type: ignore[override]
        """Q: shares of the pedigree's groups of unknown parents in the animals, shape (n, g); None without groups."""
        return self.pedigree.group_fraction_matrix if self.groups is not None else None

    @property
    def note(self) -> str:
        return "" if self.groups is None else f"{super().note}, by the QP transformation of all of H"

    def group_precision(self, transform: str = "H") -> LabelledMatrix:
        """QP-transformed inverse over groups, then animals: ``matrix`` (sparse, singular for "H") and ``labels``.

        Parameters
        ----------
        transform : {"H", "A"}
            All of H⁻¹, or A⁻¹ alone with H⁻¹ − A⁻¹ added to the animals. See `single_step_groups`.
        """
        choose("transform", transform, ("H", "A"))
        self._require_groups()
        return transformed(self, transform == "H")

    def with_groups_in_A(self) -> GroupsInA:
        """The relationship of groups and animals whose inverse has the groups in A⁻¹ alone. See `GroupsInA`.

        Raises
        ------
        RelationshipError
            If the pedigree has no groups, or these equations are those of no distribution.
        """
        self._require_groups()
        return GroupsInA(self)

    def group_information(self, Q2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Q₂'A₂₂⁻¹Q₂ and W = Q₂'A₂₂⁻¹(A₂₂ − H₂₂)A₂₂⁻¹Q₂ of shares Q₂ (genotyped, g) of groups."""
        inner = self._A22_inverse @ Q2
        W = inner.T @ ((self._A22 - self._H22) @ inner)
        return Q2.T @ inner, 0.5 * (W + W.T)

    def _require_groups(self) -> None:
        if self.groups is None:
            raise RelationshipError(
                "The pedigree of this single-step relationship has no groups of unknown parents as fixed effects: write "
                "groups in place of unknown sires and dams and name them, Pedigree(..., groups=[...])."
            )

    @property
    def logdet(self) -> float:
        """log|H|, exact: log|A| − log|A₂₂| + log|H₂₂|."""
        return float(self.pedigree.logdet - self._log_a22 + self._log_h22)

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """H V for V of shape (n,) or (n, m), without forming H: products with A and with the blocks of the genotyped."""
        V = conformable(V, self.size)
        product = self.pedigree.multiply(V)
        if len(self.positions) == 0:
            return product
        inner = self._A22_inverse @ product[self.positions]
        change = np.zeros_like(product)
        change[self.positions] = self._A22_inverse @ (self._H22 @ inner) - inner
        return product + self.pedigree.multiply(change)

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Diagonal of H, shape (n,).

        From products where they are few; beyond, from the selected inverse of the sparse H⁻¹. H is never formed.
        """
        if float(self.size) * len(self.positions) ** 2 <= _PRODUCTS:
            return self._diagonal_by_products()
        return self._diagonal_by_inverse()

    @single_threaded
    def _diagonal_by_products(self) -> np.ndarray:
        """diag(A) + the row products of A_{·2} A₂₂⁻¹ (H₂₂ − A₂₂) A₂₂⁻¹ with A_{·2}, a block of animals at a time."""
        result = np.array(self.pedigree.diagonal, dtype=float)
        for start in range(0, self.size if len(self.positions) else 0, _BLOCK):
            block = np.arange(start, min(start + _BLOCK, self.size))
            inner = self._A22_inverse @ self.pedigree.columns(block)[self.positions]
            result[block] += np.einsum("gm,gm->m", inner, self._H22 @ inner - self._A22 @ inner)
        result[self.positions] = np.diag(self._H22)
        return result

    @single_threaded
    def _diagonal_by_inverse(self) -> np.ndarray:
        """The diagonal of the inverse of H⁻¹ from its sparse factor (Takahashi, Fagan & Chin 1973)."""
        from remlblup.linalg.factor import make_factor

        lower = sp.csc_array(sp.tril(self.precision, format="csc"))
        lower.sort_indices()
        factor = make_factor(lower.indptr, lower.indices, self.size, "sparse")
        factor.factorize(lower.data)
        result = factor.inverse_on_pattern()[lower.indptr[:-1]]
        result[self.positions] = np.diag(self._H22)
        return result

    @property
    def inbreeding(self) -> np.ndarray:
        """Inbreeding coefficients that H implies, diagonal − 1, aligned with `labels`, shape (n,)."""
        return self.diagonal - 1.0

    @property
    def genomic_inbreeding(self) -> pd.Series:
        """Genomic inbreeding coefficients, diagonal of the blended and tuned G − 1, by genotyped animal."""
        return pd.Series(np.diag(self._Gw) - 1.0, pd.Index(self.genotyped, name="animal"), name="inbreeding")

    @property
    def genomic(self) -> np.ndarray:
        """G_w, the blended and tuned genomic matrix, rows and columns as `genotyped`, shape (g, g)."""
        return self._Gw

    def dense(self, animals: Iterable | None = None) -> np.ndarray:
        """H, or its part for some animals, as an array.

        Parameters
        ----------
        animals : array-like of labels, shape (m,), optional
            All animals by default.

        Returns
        -------
        numpy.ndarray, shape (m, m)

        Raises
        ------
        RelationshipError
            For more than 20,000 animals, or an animal that is not in the pedigree.
        """
        return self.among(np.arange(self.size) if animals is None else self.index(animals))

    def compatibility(self, worst: int = 10) -> pd.DataFrame:
        """How well G and A₂₂ agree, before and after blending and tuning.

        Parameters
        ----------
        worst : int
            Animals to list in ``attrs["worst"]``.

        Returns
        -------
        pandas.DataFrame
            Rows ``A22``, ``G as given``, ``G blended and tuned``; columns ``mean_diagonal``, ``mean_off_diagonal``,
            ``correlation`` (of the off-diagonal elements with those of A₂₂) and ``regression`` (of them on those of
            A₂₂; far below 1: genotypes and pedigree speak of other animals, or drift has not been allowed for).
            ``attrs["worst"]`` is a Series by animal: the root mean square difference of its row of G_w from that of
            A₂₂, largest first; mislabelled samples and wrong parents come first.
        """
        matrices = {"A22": self._A22, "G as given": self._raw, "G blended and tuned": self._Gw}
        table = pd.DataFrame(
            {name: likeness(matrix, self._A22) for name, matrix in matrices.items()},
            index=["mean_diagonal", "mean_off_diagonal", "correlation", "regression"],
        ).T
        apart = np.sqrt(np.square(self._Gw - self._A22).mean(axis=1)) if len(self._Gw) else np.zeros(0)
        order = np.argsort(-apart, kind="stable")[:worst]
        table.attrs["worst"] = pd.Series(
            apart[order], pd.Index(self.genotyped[order], name="animal"), name="difference"
        )
        return table

    def __repr__(self) -> str:
        a, b = self.tuned_by
        return (
            f"SingleStep({self.size:,} animals, {len(self.positions):,} genotyped; alpha={self.alpha:g}, "
            f"beta={self.beta:g}, tune={self.tune} ({a:.4g} + {b:.4g} G), tau={self.tau:g}, omega={self.omega:g})"
        )


def _blending(alpha: float | None, beta: float | None) -> tuple[float, float]:
    """Weights of G and A₂₂; one that is not given completes the other to 1."""
    if alpha is None and beta is None:
        return 0.95, 0.05
    if alpha is not None and beta is not None:
        return alpha, beta
    name, given = ("alpha", alpha) if beta is None else ("beta", beta)
    if given is None or isinstance(given, bool) or not 0.0 <= given <= 1.0:
        raise OptionError(
            f"{name} of single-step must be from 0 to 1, the other weight completing it to 1; {given} was given. Give"
            " both alpha and beta for weights of another sum."
        )
    rest = round(1.0 - given, 15)  # 1 - 0.95 is 0.05, as written
    return (given, rest) if name == "alpha" else (rest, given)


def _check_weights(tau: float, omega: float, alpha: float, beta: float) -> None:
    rules = (
        ("tau", tau, tau > 0, "above 0"),
        ("omega", omega, omega >= 0, "at least 0"),
        ("alpha", alpha, alpha >= 0, "at least 0"),
        ("beta", beta, beta >= 0, "at least 0"),
        ("alpha + beta", alpha + beta, alpha + beta > 0, "above 0"),
    )
    for name, value, holds, rule in rules:
        if not (holds and np.isfinite(value)):
            raise OptionError(f"{name} of single-step must be {rule} and finite; {value} was given.")


def _place(pedigree: RelationshipBase, genotyped: np.ndarray, drop: bool) -> tuple[np.ndarray, np.ndarray, list]:
    """Positions of the genotyped animals in the pedigree, ascending; their rows of G; the animals left out."""
    found = match(pedigree.labels, genotyped)
    known = found >= 0
    if isinstance(pedigree, DescentRelationship) and pedigree.ramets.size:
        known |= match(pedigree.ramets, genotyped) >= 0
        found[known] = pedigree.index(genotyped[known])
    absent = np.flatnonzero(~known)
    if absent.size and absent.size == len(genotyped):
        raise RelationshipError(
            f"none of the {absent.size} genotyped animals, such as {some(genotyped[:3], 3)}, is in the pedigree of"
            f" {pedigree.size:,}, such as {some(pedigree.labels[:3], 3)}. Are the two named in the same way?"
        )
    if absent.size and not drop:
        one = absent.size == 1
        raise RelationshipError(
            f"{absent.size} genotyped animal{' is' if one else 's are'} not in the pedigree: "
            f"{some(genotyped[absent])}. Add {'it' if one else 'them'} to the pedigree (with unknown parents, if need "
            'be), or leave them out: missing="drop".'
        )
    _refuse_clones(pedigree, genotyped, found)
    kept = np.flatnonzero(found >= 0)
    order = kept[np.argsort(found[kept], kind="stable")]
    return found[order], order, genotyped[absent].tolist()


def _refuse_clones(pedigree: RelationshipBase, genotyped: np.ndarray, found: np.ndarray) -> None:
    """Raise `RelationshipError` where two genotyped animals have one place in the pedigree."""
    inside = np.flatnonzero(found >= 0)
    repeated = inside[pd.Series(found[inside]).duplicated(keep=False).to_numpy()]
    if repeated.size:
        clones = [f"{some(genotyped[repeated[found[repeated] == k]])} (of {pedigree.labels[k]})"
                  for k in np.unique(found[repeated])]  # fmt: skip
        raise RelationshipError(
            f"members of one clone are genotyped more than once: {'; '.join(clones[:5])}. They are one animal in the"
            " pedigree: keep the genotypes of one member of each clone."
        )
