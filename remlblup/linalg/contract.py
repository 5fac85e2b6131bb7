"""What a factor of a symmetric matrix offers, and what its engines have in common.

The coefficient matrix C of Henderson's mixed model equations keeps its pattern through a whole REML
fit and changes its values at every iteration. So a factor is made once from the pattern
(`remlblup.linalg.factor.make_factor`), and then refactorised, solved with and selectively inverted many times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from remlblup.errors import OptionError

DEPENDENT_PIVOT = 1e-12
"""A pivot this small beside the diagonal of its equation is a zero pivot.

Where C is taken to be positive semidefinite (`sparse.panels`, all of `dense`) that is its diagonal in C, which
elimination can only lower. Where it is not (`sparse.ldl`) a diagonal may grow before it vanishes: there it is the
largest magnitude the diagonal has had. (`dense.full` scales an indefinite C and compares the eigenvalues of its pivots
with 1.)
"""


@dataclass(frozen=True)
class FactorStats:
    """Size and cost of a factorisation, known from the pattern alone.

    Attributes
    ----------
    n : int
        Order of the matrix.
    nnz_matrix : int
        Stored entries of the lower triangle of C, diagonal included.
    nnz_factor : int
        Entries of L, diagonal included.
    flops : float
        Floating point operations of one factorisation, ``sum_j count_j ** 2`` over the columns of L.
    engine : str
        ``"dense"`` or ``"sparse"``.
    ordering : str
        Name of the order of elimination.
    ordering_reason : str
        Why it was chosen, in words a user can read.
    memory : float
        Bytes of the factor, of the inverse and of the workspaces.
    kept : float
        Bytes of it that stay between two factorisations.
    analysis : float
        Bytes that pass while the order of elimination and the pattern of L are found.
    """

    n: int
    nnz_matrix: int
    nnz_factor: int
    flops: float
    engine: str
    ordering: str
    ordering_reason: str
    memory: float = 0.0
    kept: float = 0.0
    analysis: float = 0.0


@dataclass(frozen=True, eq=False)
class DenseBlock:
    """A dense symmetric block that is added to a sparse matrix at some of its rows and columns.

    Attributes
    ----------
    at : (g,) rows and columns, ascending
    values : (g, g) float64, C-order, both triangles
    """

    at: np.ndarray
    values: np.ndarray

    @property
    def entries(self) -> int:
        """Elements of its lower triangle."""
        return len(self.at) * (len(self.at) + 1) // 2

    def moved(self, by: int) -> DenseBlock:
        """The block in the rows that lie so many further on."""
        return DenseBlock(self.at + by, self.values)


class Factor(Protocol):
    """LDL' of a symmetric matrix with a fixed pattern: analyse once, refactorise many times.

    Attributes
    ----------
    n : int
        Order of the matrix.
    stats : FactorStats
        Size and cost.
    logdet : float
        ``log|det C| = sum_i log|d_i|`` over the pivots that are not dependent.
    n_negative : int
        Number of negative pivots, which is the number of negative eigenvalues (Sylvester's law of
        inertia): 0 when C is positive definite.
    n_dependent : int
        Number of zero pivots, i.e. equations that depend on others. The sparse engine drops them (a
        generalised inverse with zero rows and columns there); the dense engine raises instead.
    """

    n: int
    stats: FactorStats

    @property
    def logdet(self) -> float: ...

    @property
    def n_negative(self) -> int: ...

    @property
    def n_dependent(self) -> int: ...

    def forget(self) -> None:
        """Let go of what was computed of C, before other values are made: its selected inverse is as large as they."""
        ...

    def factorize(self, values: np.ndarray) -> None:
        """Factorise C from its values, aligned with the lower-triangle pattern given at construction.

        After them stands a coefficient for each dense block it was made with.

        Raises
        ------
        NotPositiveDefiniteError
            When C is singular (dense engine), or when elimination without pivoting breaks down on an
            indefinite C (sparse engine).
        """
        ...

    def rest(self) -> None:
        """Let go of workspaces until the next factorisation or inverse: none is near. The factor itself stays."""
        ...

    def solve(self, B: np.ndarray) -> np.ndarray:
        """Solve ``C X = B`` for B of shape (n,) or (n, k); the result has the shape of B."""
        ...

    def products_of(self, B: np.ndarray) -> np.ndarray:
        """``B'C⁻¹B`` (k, k) for B of shape (n, k): where L L' is at hand half of a solve."""
        ...

    def inverse_on_pattern(self) -> np.ndarray:
        """Entries of C⁻¹ at the positions of the lower-triangle pattern (the *selected inverse*).

        Computed once per factorisation and kept: do not write into the array.
        """
        ...


def columns_of(indptr: np.ndarray, dtype: type = np.int64) -> np.ndarray:
    """Column number of every stored entry of a compressed sparse column pattern, shape (nnz,)."""
    return np.arange(len(indptr) - 1, dtype=dtype).repeat(indptr[1:] - indptr[:-1])


def lower_triangle(whole: sp.csc_array) -> sp.csc_array:
    """The entries on and below the diagonal, in the order they are stored in."""
    kept = whole.indices >= columns_of(whole.indptr, whole.indices.dtype.type)
    before = np.concatenate([np.zeros(1, whole.indptr.dtype), np.cumsum(kept, dtype=whole.indptr.dtype)])
    return sp.csc_array((whole.data[kept], whole.indices[kept], before[whole.indptr]), shape=whole.shape)


def check_values(values: np.ndarray, nnz: int) -> np.ndarray:
    """Return values as float64, or raise `OptionError` when they do not fit the pattern."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (nnz,):
        raise OptionError(f"The pattern has {nnz} entries, but the values have shape {values.shape}.")
    return values


def check_ready(ready: bool) -> None:
    """Raise `RuntimeError` when results are asked of a factor that holds no factorisation."""
    if not ready:
        raise RuntimeError("This factor holds no factorisation: call factorize(values) first.")


def explain_failure(values: np.ndarray, n: int) -> str:
    """Message for a matrix that cannot be factorised."""
    if not np.isfinite(values).all():
        return (
            f"The coefficient matrix of order {n} holds values that are infinite or not numbers. "
            "Check the variances for zeros, and the data for missing or extreme values."
        )
    return (
        f"The coefficient matrix of order {n} is singular: some of its equations depend on others. "
        "Drop the dependent columns of the fixed effects, or fix a variance that runs away; variances more than some "
        "15 orders of magnitude apart leave no digits either."
    )
