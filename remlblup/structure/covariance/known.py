"""``known``: a covariance matrix S that the user gives, with an estimated scale, Σ = v S."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import NotPositiveDefiniteError, OptionError, some
from remlblup.linalg.magnitude import require_magnitude
from remlblup.structure.base import Structure
from remlblup.structure.cholesky import signed_cholesky


class Known(Structure):
    """Σ(v) = v S.

    Parameters
    ----------
    matrix : (t, t) array or DataFrame
        S, symmetric and positive semidefinite, in the order of the effects; a DataFrame with the
        effects (or the levels they stand for) as labels is put into that order.
    """

    keyword = "known"
    options = ("matrix",)

    def __init__(self, effects: Sequence[str], positions: Array | None = None, matrix: object = None):
        super().__init__(effects, positions)
        if matrix is None:
            raise OptionError("'known' needs the covariance matrix of its effects: known(f | g, matrix=S).")
        self.matrix = self._read(matrix)
        self._factor = self._checked_factor()
        self._inverse = np.linalg.pinv(self.matrix, hermitian=True)
        self._rank = np.trace(self._inverse @ self.matrix)

    def _read(self, matrix: Any) -> Array:
        if isinstance(matrix, pd.DataFrame) and not isinstance(matrix.columns, pd.RangeIndex):
            matrix = self._in_order(matrix)
        try:
            if np.iscomplexobj(matrix):
                raise TypeError("complex")
            S = np.array(matrix, dtype=float)
        except (TypeError, ValueError):
            raise OptionError("the matrix of 'known' is not a matrix of real numbers.") from None
        if S.shape != (self.size, self.size):
            raise OptionError(
                f"the matrix of 'known' must be {self.size} x {self.size}, one row for each of"
                f" {some(self.effects)}; it has the shape {S.shape}."
            )
        if not np.all(np.isfinite(S)):
            raise OptionError("the matrix of 'known' has missing or infinite values.")
        require_magnitude(S, "the matrix of 'known'", OptionError)
        size = np.sqrt(np.abs(np.diag(S)))
        if np.any(np.abs(S - S.T) > 1e-8 * np.outer(size, size)):
            raise OptionError("the matrix of 'known' is not symmetric.")
        return 0.5 * (S + S.T)

    def _in_order(self, frame: pd.DataFrame) -> pd.DataFrame:
        rows, columns = list(map(str, frame.index)), list(map(str, frame.columns))
        labels = [r for e in self.effects for r in rows if e == r or e.endswith(f"[{r}]")]
        if not sorted(rows) == sorted(columns) == sorted(set(labels)) or len(labels) != self.size:
            raise OptionError(
                f"the labels of the matrix of 'known' ({some(rows)}) must be the effects of the term, in its rows and"
                f" its columns: {some(self.effects)}."
            )
        return frame.set_axis(rows, axis=0).set_axis(columns, axis=1).loc[labels, labels]

    def _checked_factor(self) -> Array:
        try:
            factor, signs = signed_cholesky(self.matrix)
        except NotPositiveDefiniteError:
            signs = -np.ones(1)
        if np.any(signs < 0.0) or not np.any(self.matrix):
            raise OptionError(
                "the matrix of 'known' is not a covariance matrix: it must be positive semidefinite and not zero"
                f" (smallest eigenvalue {np.linalg.eigvalsh(self.matrix)[0]:g})."
            )
        return factor

    @cached_property
    def names(self) -> tuple[str, ...]:
        return ("scale",)

    @cached_property
    def lower(self) -> Array:
        return np.zeros(1)

    @property
    def slots(self) -> tuple[tuple[int, int], ...]:
        return tuple((int(i), int(a)) for i, a in np.argwhere(self._factor))

    def covariance(self, theta: Array) -> Array:
        return np.asarray(theta[0] * self.matrix)

    def derivatives(self, theta: Array) -> Array:
        return self.matrix[None]

    def factor(self, theta: Array) -> tuple[Array, Array]:
        sign = -1.0 if theta[0] < 0.0 else 1.0
        return np.sqrt(abs(theta[0])) * self._factor, np.where(self._factor.any(axis=0), sign, 1.0)

    def project(self, sigma: Array) -> Array:
        """tr(S⁻¹Σ)/t, the EM update of v; over the range of S where S is singular."""
        return np.array([np.sum(self._inverse * sigma) / self._rank])

    def start(self, sigma: Array) -> Array:
        """The scale that gives the trace of the guess."""
        return np.array([np.trace(sigma) / np.trace(self.matrix)])
