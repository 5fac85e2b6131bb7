"""Loadings Γ (t × k) of the structures with factors, rotated so that Γ_ij = 0 for j > i.

ΓΓ' is the same for ΓQ with any orthogonal Q; zeros above the diagonal fix Q up to the sign of each
column, and a positive first loading the sign (Meyer 2009, Genet. Sel. Evol. 41:21; Thompson et al. 2003).
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import ModelError, OptionError


class Loadings:
    """Where the free loadings of t effects on k factors stand, column by column.

    Parameters
    ----------
    keyword : str
        The structure, for the message of an error.
    effects : tuple of str
    k : int
        Number of factors, 1 ≤ k ≤ t.
    """

    def __init__(self, keyword: str, effects: tuple[str, ...], k: int):
        self.effects, self.t = effects, len(effects)
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise OptionError(f"{keyword}(…, k={k!r}): the number of factors k must be a whole number, 1 or more.")
        if k > self.t:
            raise ModelError(f"{keyword}(…, k={k}) has more factors than its {self.t} effects: k is at most {self.t}.")
        self.k = int(k)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows i and columns j of the free loadings, i ≥ j."""
        columns, rows = np.triu_indices(self.k, 0, self.t)
        return rows, columns

    @cached_property
    def names(self) -> tuple[str, ...]:
        """``loading 1(e)`` and so on."""
        return tuple(f"loading {j + 1}({self.effects[i]})" for i, j in zip(*self.places, strict=True))

    def __len__(self) -> int:
        return len(self.places[0])

    def matrix(self, values: Array) -> Array:
        """Γ, shape (t, k)."""
        gamma = np.zeros((self.t, self.k))
        gamma[self.places] = values
        return gamma

    def vector(self, gamma: Array) -> Array:
        """The free loadings of Γ."""
        return gamma[self.places]

    @cached_property
    def derivatives(self) -> Array:
        """∂Γ/∂loadings, shape (n, t, k)."""
        d = np.zeros((len(self), self.t, self.k))
        d[(np.arange(len(self)), *self.places)] = 1.0
        return d

    def product_derivatives(self, values: Array) -> Array:
        """∂(ΓΓ')/∂loadings, shape (n, t, t)."""
        half = self.derivatives @ self.matrix(values).T
        return half + half.transpose(0, 2, 1)

    def rotated(self, gamma: Array) -> Array:
        """ΓQ in the form with Γ_ij = 0 for j > i and the first nonzero loading of each column positive."""
        _, R = np.linalg.qr(gamma.T)
        lower = np.tril(R.T)
        first = lower[np.argmax(lower != 0.0, axis=0), np.arange(self.k)]
        return lower * np.where(first < 0.0, -1.0, 1.0)

    def principal(self, C: Array) -> Array:
        """Γ (t, k) of the k largest positive eigenvalues of C: ΓΓ' is the nearest matrix of rank k."""
        values, vectors = np.linalg.eigh(C)
        return vectors[:, -self.k :] * np.sqrt(np.maximum(values[-self.k :], 0.0))

    def first(self, communality: Array) -> Array:
        """Γ (t, k) to start from with Σ_j Γ_ij² as given: no factor is another one's multiple, none is zero."""
        i, j = np.indices((self.t, self.k))
        alternating = (j == 0) | ((i - j) // np.maximum(j, 1) % 2 == 0)
        gamma = np.tril(np.where(alternating, 1.0, -1.0) / np.sqrt(1.0 + j))
        return gamma * np.sqrt(communality / np.sum(gamma**2, axis=1))[:, None]


def standardized(sigma: Array) -> tuple[Array, Array]:
    """Standard deviations (t,) and correlations (t, t) of Σ; zero where an effect has no variance."""
    s = np.sqrt(np.maximum(np.diag(sigma), 0.0))
    inverse = np.divide(1.0, s, out=np.zeros_like(s), where=s > 0.0)
    return s, sigma * inverse[:, None] * inverse
