"""Henderson's mixed model equations for given matrices G and R, as in the textbook."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.equations.reliability import reliability_of
from remlblup.errors import DataError, NotPositiveDefiniteError
from remlblup.keywords import known_arguments
from remlblup.linalg.contract import explain_failure
from remlblup.linalg.magnitude import SMALLEST, require_columns_in_range, require_magnitude
from remlblup.linalg.rank.independent import independent_columns
from remlblup.linalg.well_formed import require_well_formed
from remlblup.model.frame import numeric_values
from remlblup.model.matrices import as_matrix


@dataclass(frozen=True)
class Henderson:
    """The equations and their solution.

    Attributes
    ----------
    C : (p + q, p + q) coefficient matrix, over the independent columns of X and then Z
    rhs : (p + q,) right-hand side
    beta : (P,) β̂ for every column of X; NaN for aliased columns
    u : (q,) û
    beta_cov : (p, p) var(β̂) of the independent columns
    pev : (q,) prediction error variance var(û − u)
    reliability : (q,) 1 − PEV / var(u)
    aliased : columns of X that depend on earlier ones
    """

    C: Any
    rhs: np.ndarray
    beta: np.ndarray
    u: np.ndarray
    beta_cov: np.ndarray
    pev: np.ndarray
    reliability: np.ndarray
    aliased: tuple[int, ...]

    @property
    def beta_se(self) -> np.ndarray:
        """Standard errors of the independent columns, (p,)."""
        return np.sqrt(np.diag(self.beta_cov))

    @property
    def u_se(self) -> np.ndarray:
        """Standard errors of prediction, √PEV, (q,)."""
        return np.sqrt(self.pev)


@known_arguments
def henderson(y: Any, X: Any, Z: Any, G: Any, R: Any) -> Henderson:
    """Solve the mixed model equations for known G and R (Henderson 1950, 1975).

    A small, direct computation, O(n³) for general R and G: for large models use `MixedModel.solve`.

    ``[X'R⁻¹X, X'R⁻¹Z; Z'R⁻¹X, Z'R⁻¹Z + G⁻¹] [β̂; û] = [X'R⁻¹y; Z'R⁻¹y]``

    Parameters
    ----------
    y : (n,) records
    X : (n, P) fixed-effect design, dense or sparse; dependent columns are set aside
    Z : (n, q) random-effect design, dense or sparse
    G : (q, q) var(u): a matrix, a vector (its diagonal) or a number (times I)
    R : (n, n) var(e), likewise

    Returns
    -------
    Henderson

    Raises
    ------
    DataError
        If shapes do not fit or values are not finite.
    NotPositiveDefiniteError
        If G or R is not positive definite.

    Examples
    --------
    Three records on two subjects, intercept fixed, G = g I, R = s I with g = 2, s = 1:

    >>> import numpy as np
    >>> from remlblup import henderson
    >>> s = henderson([10., 12., 7.], np.ones((3, 1)), [[1, 0], [1, 0], [0, 1]], 2.0, 1.0)
    >>> s.C
    array([[3. , 2. , 1. ],
           [2. , 2.5, 0. ],
           [1. , 0. , 1.5]])
    """
    values = numeric_values(y, "response y")
    n = len(values)
    Xm, Zm = as_matrix(X, n, "X"), as_matrix(Z, n, "Z")
    q = Zm.shape[1]
    require_columns_in_range(Xm, [f"x{k}" for k in range(Xm.shape[1])], "X", DataError)
    require_magnitude(Zm, "Z", DataError)
    kept = np.asarray(independent_columns(Xm).kept) if Xm.shape[1] else np.zeros(0, dtype=int)
    Xk = Xm[:, kept]
    R_inverse, G_inverse = inverse_of(R, n, "R"), inverse_of(G, q, "G")
    sparse = all(sp.issparse(m) for m in (Zm, R_inverse, G_inverse))
    W = sp.hstack([sp.csr_array(Xk), sp.csr_array(Zm)], format="csr") if sparse else np.hstack([_dense(Xk), _dense(Zm)])
    p = len(kept)
    RW = R_inverse @ W
    C = W.T @ RW
    if sparse:
        C = sp.csc_array(C + sp.block_diag([sp.csr_array((p, p)), G_inverse], format="csc"))
    else:
        C = _dense(C)
        C[p:, p:] += _dense(G_inverse)
    rhs = np.asarray(RW.T @ values).ravel()
    inverse = scaled_inverse(_dense(C))
    solution = inverse @ rhs
    beta = np.full(Xm.shape[1], np.nan)
    beta[kept] = solution[:p]
    pev = np.diag(inverse)[p:].copy()
    prior = variances_of(G, q)
    aliased = tuple(int(k) for k in np.setdiff1d(np.arange(Xm.shape[1]), kept))
    return Henderson(C, rhs, beta, solution[p:], inverse[:p, :p], pev, reliability_of(pev, prior), aliased)


def scaled_inverse(C: np.ndarray) -> np.ndarray:
    """C⁻¹ = D (DCD)⁻¹ D with a unit diagonal in the middle: units of X and Z cost no digits.

    Raises
    ------
    NotPositiveDefiniteError
        If C is singular to working precision.
    """
    diagonal = np.diag(C)
    if not np.all(np.isfinite(C)) or np.any(diagonal <= 0.0):
        raise NotPositiveDefiniteError(explain_failure(C, len(C)))
    d = 1.0 / np.sqrt(diagonal)
    with warnings.catch_warnings():
        warnings.simplefilter("error", scipy.linalg.LinAlgWarning)
        try:
            return d[:, None] * scipy.linalg.inv(C * np.outer(d, d), check_finite=False) * d
        except (np.linalg.LinAlgError, scipy.linalg.LinAlgWarning):
            raise NotPositiveDefiniteError(explain_failure(C, len(C))) from None


def inverse_of(matrix: Any, size: int, name: str) -> Any:
    """Inverse of a covariance matrix given as a number, a diagonal, or a dense or sparse matrix."""
    value = expand(matrix, size, name)
    if value.ndim == 1:
        if np.any(value <= 0):
            raise NotPositiveDefiniteError(f"{name} must have positive variances.")
        return sp.diags_array(1.0 / value, format="csr")
    dense = _dense(value)
    if not np.allclose(dense, dense.T, rtol=1e-8, atol=1e-12 * np.abs(dense).max()):
        raise DataError(f"{name} is not symmetric.")
    try:
        factor = scipy.linalg.cho_factor(dense)
    except np.linalg.LinAlgError:
        raise NotPositiveDefiniteError(
            f"{name} is not positive definite: add a small value to its diagonal, "
            "or remove the effects it makes redundant."
        ) from None
    inverse = scipy.linalg.cho_solve(factor, np.eye(size))
    inverse = 0.5 * (inverse + inverse.T)
    if sp.issparse(value):
        inverse[np.abs(inverse) < 1e-14 * np.abs(inverse).max()] = 0.0
        return sp.csr_array(inverse)
    return inverse


def expand(matrix: Any, size: int, name: str) -> Any:
    """A number as a diagonal, a vector as a diagonal, a matrix checked for shape and values."""
    require_well_formed(matrix, name, DataError)
    try:
        if np.iscomplexobj(matrix):
            raise TypeError("complex")
        value = sp.csr_array(matrix, dtype=np.float64) if sp.issparse(matrix) else np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} is not a number, variances or a numeric matrix.") from None
    if value.ndim == 0:
        value = np.full(size, float(value))
    if value.shape not in ((size,), (size, size)):
        raise DataError(
            f"{name} must be a number, {size} variances or a {size} x {size} matrix; its shape is {value.shape}."
        )
    if not np.all(np.isfinite(value.data if sp.issparse(value) else value)):
        raise DataError(f"{name} has infinite or missing values.")
    require_magnitude(value, name, DataError)
    if value.ndim == 1 and np.any((value > 0.0) & (value < SMALLEST)):
        raise DataError(
            f"{name} holds variances below {SMALLEST:g}: give it in other units, or leave these effects out."
        )
    return value


def variances_of(matrix: Any, size: int) -> np.ndarray:
    """The diagonal of a covariance matrix given in any of the forms of `expand`."""
    value = expand(matrix, size, "G")
    return value if value.ndim == 1 else np.asarray(value.diagonal())


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sp.issparse(matrix) else np.array(matrix, dtype=np.float64)
