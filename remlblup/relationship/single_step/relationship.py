"""Single-step: the pedigree of all animals and the genomic relationships of some in one matrix H.

With 2 the genotyped animals, A the relationships by pedigree and G_w the genomic ones after blending and tuning,

    H⁻¹ = A⁻¹ + [ 0  0 ;  0  τG_w⁻¹ − ωA₂₂⁻¹ ]

(Aguilar et al. 2010, J Dairy Sci 93:743; Christensen & Lund 2010, Genet Sel Evol 42:2; τ, ω: Martini et al. 2018,
Genet Sel Evol 50:16). The inverse of its block over the genotyped animals, all others absorbed, is

    H₂₂⁻¹ = τG_w⁻¹ + (1 − ω)A₂₂⁻¹,   so that   H = A + A_{·2} A₂₂⁻¹ (H₂₂ − A₂₂) A₂₂⁻¹ A_{2·}

and log|H| = log|A| − log|A₂₂| + log|H₂₂|; H is positive definite if and only if H₂₂ is. For τ = ω = 1, H₂₂ = G_w.

Groups of unknown parents of the pedigree belong to all of H: u* = Qg + a with a ~ N(0, Hσ²); see `groups`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import RelationshipError, choose
from remlblup.linalg.contract import DenseBlock
from remlblup.linalg.memory import Need, all_within_memory, require
from remlblup.linalg.threads import single_threaded
from remlblup.relationship.base import RelationshipBase, added_text, conformable
from remlblup.relationship.descent.base import DescentRelationship
from remlblup.relationship.genomic.relationship import UnformedRelationship
from remlblup.relationship.pedigree.parent_groups import LabelledMatrix
from remlblup.relationship.single_step.blocks import among, lower_block, place_genotyped, read_matrix
from remlblup.relationship.single_step.by_products import ByProducts, why_formed
from remlblup.relationship.single_step.formed import Formed
from remlblup.relationship.single_step.groups import GroupsInA, transformed
from remlblup.relationship.single_step.weights import Weights

#: Products of this many operations are the shorter way to the diagonal of H; beyond, the sparse inverse is.
_PRODUCTS = 2e9
#: Matrices of the genotyped animals held at a time, with what LAPACK and the equations' half of H⁻¹ take.
_BLOCKS = 4.0
_FEWER = "or genotypes of fewer animals: those with own or progeny records, or a core of them."


@all_within_memory
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
        Genomic relationships of the genotyped animals, in any order. May be singular if it is blended. Of
        ``rb.genomic_relationship(genotypes, formed=False)`` nothing of this size is formed for ``engine="stochastic"``,
        which takes products with H; other engines, and whatever else asks for a matrix, form it when they do.
    tau, omega : float
        Weights of G_w⁻¹ (above 0) and of A₂₂⁻¹.
    alpha, beta : float, optional
        Blending, αG + βA₂₂; 0.95 and 0.05 by default. Of one alone the other completes it to 1: ``alpha=0.9`` is
        0.9 G + 0.1 A₂₂, ``alpha=1`` no blending.
    tune : {0, 1, 2, 3, 4}
        Tuning of G to the base of A₂₂ as BLUPF90's ``tunedG``, see `genomic.tuning.tune`; 0 for none.
    blend_first : bool
        Whether G is blended and then tuned (as BLUPF90 does), or tuned and then blended.
    missing : {"error", "drop"}
        What to do about genotyped animals that are not in the pedigree. A ramet counts as its ortet.
    known : (float, float), optional
        The constants (a, b) of the tuning of a G that is not formed, where they have been kept.

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
        known: tuple[float, float] | None = None,
    ) -> None:
        if not isinstance(pedigree, RelationshipBase):
            raise RelationshipError(
                f"SingleStep needs a Pedigree (or another relationship of all animals), not {type(pedigree).__name__}."
            )
        if isinstance(G, DescentRelationship):
            raise RelationshipError(f"SingleStep takes the pedigree first and G second, which is a {type(G).__name__}.")
        choose("missing", missing, ("error", "drop"))
        self.weights = Weights.checked(tau, omega, alpha, beta, tune, blend_first)
        self.tau, self.omega, self.alpha, self.beta = float(tau), float(omega), self.weights.alpha, self.weights.beta
        self.tune, self.blend_first = tune, self.weights.blend_first
        self.pedigree, self.labels, self.unknown_codes = pedigree, pedigree.labels, pedigree.unknown_codes
        self.groups, self.ramets, self.ortets = pedigree.groups, pedigree.ramets, pedigree.ortets
        #: The matrices of the genotyped animals, where G was given as one.
        self._given: Formed | None = None
        #: Its products, where G is not formed.
        self.by_products: ByProducts | None = None
        #: Why it has to be, where G was given as it is not and products do not serve.
        self.why_formed = ""
        unformed = G if isinstance(G, UnformedRelationship) else None
        if unformed is not None and (why := why_formed(unformed, self.weights)):
            self.why_formed, unformed = why, None
            self._require(len(G))  # type: ignore[arg-type]
        if unformed is None:
            matrix, labels = read_matrix(G)
            self.positions, order, self.dropped = place_genotyped(pedigree, labels, missing == "drop")
            self._require(len(order))
            matrix = among(matrix, order)  # of which one is held
            self._given = Formed(pedigree, self.positions, matrix, self.weights)
        else:
            self.positions, order, self.dropped = place_genotyped(pedigree, unformed.labels, missing == "drop")
            self.by_products = ByProducts(pedigree, self.positions, unformed, order, self.weights, known)
        self.genotyped = self.labels[self.positions]

    def _require(self, g: int) -> None:
        """Raise `MemoryLimitError` where matrices of so many genotyped animals do not fit."""
        because = f" ({self.why_formed}, so that products do not do)" if self.why_formed else ""
        require(_BLOCKS * 8.0 * g**2, f"single-step with {g:,} genotyped animals{because}", _FEWER)

    @property
    def formed(self) -> Formed:
        """The matrices of the genotyped animals; of a G that is not formed made when something asks for one of them."""
        return self._made_later if self._given is None else self._given

    @cached_property
    def _made_later(self) -> Formed:
        assert self.by_products is not None
        self._require(len(self.positions))
        G = among(self.by_products.G.matrix(), self.by_products.order)
        return Formed(self.pedigree, self.positions, G, self.weights)

    @property
    def is_formed(self) -> bool:
        """Whether matrices of the genotyped animals are there."""
        return self._given is not None or "_made_later" in self.__dict__

    @property
    def unformed(self) -> ByProducts | None:
        """H by products, as long as nothing has formed a matrix of the genotyped animals."""
        return None if self.is_formed else self.by_products

    @property
    def tuned_by(self) -> tuple[float, float]:
        """The constants (a, b) of the tuning a 11' + b G."""
        return self.formed.tuned_by if self.by_products is None else self.by_products.tuned_by

    @property
    def precision_parts(self) -> tuple[sp.csc_array, DenseBlock | None]:
        """A⁻¹ (its lower triangle), and the block τG_w⁻¹ − ωA₂₂⁻¹ of the genotyped animals."""
        return self.pedigree.lower_precision, DenseBlock(self.positions, self.formed.block)

    @property
    def lower_precision(self) -> sp.csc_array:
        """Lower triangle of H⁻¹ as one sparse matrix, shape (n, n); made anew each time."""
        dense = lower_block(self.formed.block, self.positions, self.size)
        result = sp.csc_array(self.pedigree.lower_precision + dense)
        result.sort_indices()
        return result

    @property
    def precision(self) -> sp.csc_array:
        """H⁻¹, shape (n, n), both triangles stored; made anew each time."""
        lower = self.lower_precision
        result = sp.csc_array(lower + sp.tril(lower, -1).T)
        result.sort_indices()
        return result

    def precision_times(self, V: np.ndarray) -> np.ndarray:
        product = self.pedigree.precision_times(V)
        product[self.positions] += self.formed.block @ V[self.positions]
        return product

    @property
    def plainer(self) -> RelationshipBase:
        return self.pedigree

    @property
    def dense_matrices(self) -> tuple[int, tuple[str, ...]]:
        return (len(self.positions), self.formed.names) if self.is_formed else (0, ())

    @property
    def need(self) -> Need:
        if self.is_formed:
            return self.pedigree.need  # the block is there
        matrix = 8.0 * len(self.positions) ** 2
        return self.pedigree.need.then(Need.of(2.0 * matrix, (_BLOCKS - 2.0) * matrix))

    @property
    def group_fraction_matrix(self) -> sp.csr_array | None:  # type: ignore[override]
        """Q: shares of the pedigree's groups of unknown parents in the animals, shape (n, g); None without groups."""
        return self.pedigree.group_fraction_matrix if self.groups is not None else None

    @property
    def note(self) -> str:
        said = [] if self.unformed is None else [f"genotyped by {self.unformed.G.note}"]
        said += [added_text(self.pedigree.added)] if len(self.pedigree.added) else []
        said += [] if self.groups is None else [f"{super().note}, by the QP transformation of all of H"]
        return self.described or "; ".join(said)

    def group_precision(self, transform: str = "H") -> LabelledMatrix:
        """QP-transformed inverse over groups, then animals: ``matrix`` (sparse, singular for "H") and ``labels``.

        Parameters
        ----------
        transform : {"H", "A"}
            All of H⁻¹, or A⁻¹ alone with H⁻¹ − A⁻¹ added to the animals. See `groups`.
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
        inner = self.formed.A22_inverse @ Q2
        W = inner.T @ ((self.formed.A22 - self.formed.H22) @ inner)
        return Q2.T @ inner, 0.5 * (W + W.T)

    def _require_groups(self) -> None:
        if self.groups is None:
            raise RelationshipError(
                "The pedigree of this single-step relationship has no groups of unknown parents as fixed effects: "
                "write groups in place of unknown sires and dams and name them, Pedigree(..., groups=[...])."
            )

    @property
    def logdet(self) -> float:
        """log|H|, exact: log|A| − log|A₂₂| + log|H₂₂|."""
        return float(self.pedigree.logdet - self.formed.log_A22 + self.formed.log_H22)

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """H V for V of shape (n,) or (n, m), without forming H:
        products with A and with the blocks of the genotyped, or with their genotypes where these are not formed."""
        V = conformable(V, self.size)
        if self.unformed is None:
            return self.formed.multiply(V)
        return self.unformed.multiply(V.reshape(self.size, -1)).reshape(V.shape)

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Diagonal of H, shape (n,).

        From products where they are few; beyond, from the selected inverse of the sparse H⁻¹. H is never formed.
        """
        return self._diagonal_by_inverse() if self.diagonal_is_far else self.formed.diagonal()

    @property
    def diagonal_is_far(self) -> bool:  # type: ignore[override]
        return "diagonal" not in self.__dict__ and float(self.size) * len(self.positions) ** 2 > _PRODUCTS

    def take_diagonal(self, diagonal: np.ndarray) -> None:
        result = diagonal.copy()
        result[self.positions] = np.diag(self.formed.H22)
        self.__dict__.setdefault("diagonal", result)

    @single_threaded
    def _diagonal_by_inverse(self) -> np.ndarray:
        """The diagonal of the inverse of H⁻¹ from its sparse factor (Takahashi, Fagan & Chin 1973)."""
        from remlblup.linalg.compilation import announce_compilation

        announce_compilation()
        from remlblup.linalg.sparse.factor import SparseFactor

        lower, block = self.precision_parts
        assert block is not None
        factor = SparseFactor(lower.indptr, lower.indices, self.size, blocks=[block])
        factor.factorize(np.append(lower.data, 1.0))
        self.take_diagonal(factor.inverse_diagonal())
        return self.__dict__["diagonal"]

    @property
    def inbreeding(self) -> np.ndarray:
        """Inbreeding coefficients that H implies, diagonal − 1, aligned with `labels`, shape (n,)."""
        return self.diagonal - 1.0

    @property
    def genomic_inbreeding(self) -> pd.Series:
        """Genomic inbreeding coefficients, diagonal of the blended and tuned G − 1, by genotyped animal."""
        own = np.diag(self.formed.Gw) if self.by_products is None else self.by_products.genomic_diagonal
        return pd.Series(own - 1.0, pd.Index(self.genotyped, name="animal"), name="inbreeding")

    @property
    def genomic(self) -> np.ndarray:
        """G_w, the blended and tuned genomic matrix, rows and columns as `genotyped`, shape (g, g)."""
        return self.formed.Gw

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
        table = pd.DataFrame(
            self.formed.likeness,
            index=["A22", "G as given", "G blended and tuned"],
            columns=["mean_diagonal", "mean_off_diagonal", "correlation", "regression"],
        )
        order = np.argsort(-self.formed.apart, kind="stable")[:worst]
        table.attrs["worst"] = pd.Series(
            self.formed.apart[order], pd.Index(self.genotyped[order], name="animal"), name="difference"
        )
        return table

    def __repr__(self) -> str:
        a, b = self.tuned_by
        return (
            f"SingleStep({self.size:,} animals, {len(self.positions):,} genotyped; alpha={self.alpha:g}, "
            f"beta={self.beta:g}, tune={self.tune} ({a:.4g} + {b:.4g} G), tau={self.tau:g}, omega={self.omega:g})"
        )
