"""What every relationship between the levels of a random term offers to the rest of the package.

A random term has covariance G = Σ ⊗ K. A relationship is K: an identity, a pedigree's numerator relationship
matrix, a genomic matrix, or any matrix the user gives, as itself or as its inverse.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp

from remlblup.errors import RelationshipError, some
from remlblup.linalg.contract import DenseBlock, lower_triangle
from remlblup.linalg.memory import Need
from remlblup.relationship.labels import match, tidy

# A dense A of this size takes 3.2 GB.
DENSE_LIMIT = 20_000
# Columns formed at a time.
_BLOCK = 256


class RelationshipBase(ABC):
    """The relationship K of q labelled levels. Subclasses hold K in whatever form is cheapest for them.

    Attributes
    ----------
    labels : numpy.ndarray, shape (q,)
        The levels, in the order of the rows of K, as the user wrote them.
    """

    labels: np.ndarray
    #: Other labels of some levels, and the positions of these: the ramets of clones, and their ortets.
    ramets: np.ndarray = np.empty(0, dtype=object)
    ortets: np.ndarray = np.empty(0, dtype=np.intp)
    #: Codes for an unknown parent where the relationship comes from a pedigree, as it reads them; None elsewhere.
    unknown_codes: frozenset[str] | None = None
    #: Parents that a pedigree names and that have no row of their own: they were added, as founders.
    added: np.ndarray = np.empty(0, dtype=object)
    #: Groups of unknown parents whose fixed effects g go with the levels, u* = Qg + u, and Q (q, g); None without.
    groups: np.ndarray | None = None
    group_fraction_matrix: sp.csr_array | None = None
    #: Whether `multiply` takes time linear in the levels, without a matrix or a factor of their number.
    multiplies_fast: bool = False
    #: What its `note` was when it was saved, of a relationship read back.
    described: str = ""

    @property
    def is_sparse(self) -> bool:
        """True if `precision` has few entries per row; False if it is a dense matrix in sparse clothing."""
        return True

    @property
    def scale(self) -> float:
        """The size of the diagonal of K, a power of ten."""
        return 1.0

    @property
    def root(self) -> np.ndarray | None:
        """L (q, rank) with K = LL' where K is singular or nearly so; None where `precision` serves."""
        return None

    @property
    def note(self) -> str:
        """What a report of a model says of the relationship besides its size; empty for nothing."""
        if self.described:
            return self.described
        said = [added_text(self.added)] if len(self.added) else []
        if self.groups is not None:
            said.append(f"groups of unknown parents {some(self.groups, 6)}: fixed effects, in û")
        return "; ".join(said)

    @property
    def size(self) -> int:
        """Number of levels q."""
        return len(self.labels)

    @property
    def rank(self) -> int:
        """Rank of K."""
        return self.size

    @property
    def known_rank(self) -> int | None:
        """The rank if it is known without further work."""
        return self.rank

    @property
    def is_singular(self) -> bool:
        """Whether K has no inverse worth having, so that its `root` is used."""
        return self.root is not None

    def __len__(self) -> int:
        return self.size

    @property
    @abstractmethod
    def precision(self) -> sp.csc_array:
        """K⁻¹, shape (q, q): symmetric, both triangles stored."""

    @property
    def lower_precision(self) -> sp.csc_array:
        """Lower triangle of K⁻¹, columns sorted: what the equations are made of."""
        return lower_triangle(self.precision)

    @property
    def precision_parts(self) -> tuple[sp.csc_array, DenseBlock | None]:
        """K⁻¹ as a sum: a sparse lower triangle, and a dense block among some levels if there is one."""
        return self.lower_precision, None

    def precision_times(self, V: np.ndarray) -> np.ndarray:
        """K⁻¹ V for V of shape (q,) or (q, m)."""
        return self.precision @ V

    def precision_around(self, positions: np.ndarray) -> tuple[sp.csc_array, np.ndarray]:
        """Lower triangle of K⁻¹, or of the inverse of its part for these levels and others, and their places in it."""
        return self.lower_precision, positions

    @property
    @abstractmethod
    def logdet(self) -> float:
        """log|K|."""

    @property
    @abstractmethod
    def diagonal(self) -> np.ndarray:
        """Diagonal of K, shape (q,)."""

    @property
    def need(self) -> Need:
        """What it takes of memory, once made, to give the equations its inverse."""
        return Need()

    @property
    def plainer(self) -> RelationshipBase | None:
        """A relationship of the same levels, not far from it, whose inverse has far fewer entries: for start values."""
        return None

    @property
    def dense_matrices(self) -> tuple[int, tuple[str, ...]]:
        """Order of the dense matrices it holds beside what the user gave, and which they are."""
        return 0, ()

    #: Whether the diagonal takes a factorisation of K⁻¹, for which somebody else may have the factor at hand.
    diagonal_is_far = False

    def take_diagonal(self, diagonal: np.ndarray) -> None:
        """Keep the diagonal of K from such a factor, (q,)."""
        raise NotImplementedError

    @property
    def sizes(self) -> np.ndarray | float:
        """About the diagonal of K, (q,), or one number for all: what a variance of one adds to the records of a level.

        For start values and thresholds, so without work to speak of: its `scale` for most.
        """
        return self.scale

    @abstractmethod
    def multiply(self, V: np.ndarray) -> np.ndarray:
        """K V for V of shape (q,) or (q, m)."""

    def dense(self, animals: Iterable | None = None) -> np.ndarray:
        """K, or its part for some levels, as an array.

        Parameters
        ----------
        animals : array-like of labels, shape (m,), optional
            All levels by default.

        Returns
        -------
        numpy.ndarray, shape (m, m)

        Raises
        ------
        RelationshipError
            For more than 20,000 levels (5000 of a sparse matrix), or a level that it does not have.
        """
        return self.among(np.arange(self.size) if animals is None else self.index(animals))

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """Columns of K at some positions, shape (q, m)."""
        unit = np.zeros((self.size, len(positions)))
        unit[positions, np.arange(len(positions))] = 1.0
        return np.asarray(self.multiply(unit))

    def among(self, positions: np.ndarray) -> np.ndarray:
        """K among the levels at some positions, as an array of shape (m, m), by products: K itself is not formed.

        Raises
        ------
        RelationshipError
            For more than 20,000 levels, before anything is allocated.
        """
        check_dense(len(positions))
        result = np.empty((len(positions), len(positions)))
        for start in range(0, len(positions), _BLOCK):
            result[:, start : start + _BLOCK] = self.columns(positions[start : start + _BLOCK])[positions]
        return symmetrise(result)

    def find(self, wanted: Iterable) -> np.ndarray:
        """Positions of levels, a ramet's being that of its ortet, −1 where absent, shape (m,)."""
        found = np.asarray(match(self.labels, wanted))
        if not self.ramets.size:
            return found
        ramet = match(self.ramets, wanted)
        return np.where((found < 0) & (ramet >= 0), self.ortets[ramet], found)

    def index(self, wanted: Iterable, factor: str | None = None, name: str | None = None) -> np.ndarray:
        """Positions of levels in the relationship, a ramet's being that of its ortet.

        Parameters
        ----------
        wanted : array-like, shape (m,)
            Levels, in any type: 7, "7" and 7.0 are the same level.
        factor, name : str, optional
            Names of the data column and of the relationship, for the message.

        Returns
        -------
        numpy.ndarray of intp, shape (m,)

        Raises
        ------
        RelationshipError
            If a wanted level is not in the relationship or is missing, with the levels concerned.
        """
        positions = self.find(wanted)
        if (positions >= 0).all():
            return positions
        levels = tidy(wanted)[positions < 0]
        distinct = list({str(level): level for level in levels.tolist()}.values())
        which = f"relationship {name!r}" if name else "the relationship"
        of = f" of {factor!r}" if factor else ""
        count = f"{len(distinct)} level{of} is" if len(distinct) == 1 else f"{len(distinct)} levels{of} are"
        raise RelationshipError(
            f"{count} not in {which}: {some(distinct)}. It holds {self.size:,} levels, such as "
            f"{some(self.labels[:3])}. Add the missing ones to it, or drop their records."
        )


def check_dense(size: int) -> None:
    """Raise `RelationshipError` before a dense matrix of so many animals is allocated."""
    if size > DENSE_LIMIT:
        raise RelationshipError(
            f"A dense relationship matrix of {size:,} animals would take "
            f"{8e-9 * size**2:,.1f} GB. Ask for the animals you need (at most {DENSE_LIMIT:,}), "
            "or use the sparse inverse (`precision`) or products with A (`multiply`)."
        )


def symmetrise(matrix: np.ndarray) -> np.ndarray:
    """½(M + M') in the place of M, tile by tile: beside M nothing of its size is taken."""
    tiles = [slice(start, start + _BLOCK) for start in range(0, len(matrix), _BLOCK)]
    for k, rows in enumerate(tiles):
        for columns in tiles[k:]:
            mean = 0.5 * (matrix[rows, columns] + matrix[columns, rows].T)
            matrix[rows, columns], matrix[columns, rows] = mean, mean.T
    return matrix


def conformable(V: np.ndarray, size: int) -> np.ndarray:
    """V as floats of shape (size,) or (size, m), or a `RelationshipError`."""
    try:
        V = np.asarray(V, dtype=float)
    except (TypeError, ValueError):
        raise RelationshipError("A relationship can be multiplied by an array of real numbers only.") from None
    if V.ndim not in (1, 2) or V.shape[0] != size:
        raise RelationshipError(
            f"The relationship holds {size:,} levels; it cannot be multiplied by an array of shape {V.shape}."
        )
    return V


class IdentityRelationship(RelationshipBase):
    """K = I: unrelated levels.

    Parameters
    ----------
    labels : array-like, shape (q,)
    """

    multiplies_fast = True

    def __init__(self, labels: Iterable) -> None:
        self.labels = tidy(labels)

    @classmethod
    def of(cls, labels: np.ndarray) -> IdentityRelationship:
        """Over labels as they are, tidied already: of many levels that is noticed."""
        out = cls.__new__(cls)
        out.labels = labels
        return out

    @property
    def precision(self) -> sp.csc_array:
        return sp.csc_array(sp.eye_array(self.size, format="csc"))

    @property
    def logdet(self) -> float:
        return 0.0

    @property
    def diagonal(self) -> np.ndarray:
        return np.ones(self.size)

    def multiply(self, V: np.ndarray) -> np.ndarray:
        return conformable(V, self.size).copy()

    def among(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(positions[:, None] == positions, dtype=float)

    def __repr__(self) -> str:
        return f"IdentityRelationship({self.size:,} levels)"


def are_all(positions: np.ndarray, size: int) -> bool:
    """Whether these are all positions in their order."""
    return len(positions) == size and bool(np.all(np.diff(positions) == 1))


def added_text(added: np.ndarray) -> str:
    """What is said of parents that were added."""
    parents = "parent without a row is" if len(added) == 1 else "parents without a row are"
    return f"{len(added):,} {parents} added as {'a founder' if len(added) == 1 else 'founders'} ({some(added, 3)})"
