"""Tests of Lβ: Satterthwaite's degrees of freedom, Fai & Cornelius' for several rows, Kenward & Roger's scaled F.

One row l with variance v = l'Φl that changes by ġ_c = l'∂_cΦl along each direction of one standard error of θ̂:

    df = 2v² / Σ_c ġ_c²                                                           (Giesbrecht & Burns 1985)

Several rows: F = (1/q) Σ_m t_m² over the eigenvectors of LΦL', whose df ν_m give E = Σ ν_m/(ν_m − 2) and 2E/(E − q)
(Fai & Cornelius 1996, J. Stat. Comput. Simul. 54:363). Kenward & Roger (1997, Biometrics 53:983) scale F with Φ_A in
place of Φ, for which they need, with M = LΦL' and G_c = L∂_cΦL', A₁ = Σ_c tr(M⁻¹G_c)² and A₂ = Σ_c tr(M⁻¹G_cM⁻¹G_c).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import DataError
from remlblup.fit.errors.fixed import FixedErrors

METHODS = ("satterthwaite", "kenward-roger", "residual")
NAMES = {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward-Roger", "residual": "residual (n − p)"}
# A variance depends on a flat direction, or on none at all, by more, or less, than this share of itself.
DEPENDS = 1e-6
INDEPENDENT = 1e-12
# Singular values below this share of the largest, each row in units of its own error, are none.
RANK = 1e-8
# Eigenvalues of LΦL' that still have digits; beyond, each row is taken in units of its own error.
CONDITION = 1e-12


@dataclass(frozen=True)
class Joint:
    """F on num_df and den_df degrees of freedom."""

    F: float
    num_df: int
    den_df: float
    p_value: float


@dataclass(frozen=True)
class FixedTests:
    """β̂, its errors and how degrees of freedom are found.

    Attributes
    ----------
    beta, covariance : (p,), (p, p) β̂ and Φ
    errors : what degrees of freedom need beyond; None for residual ones
    method : one of `METHODS`
    residual_df : n − p, of the method "residual"; infinite where the variances are known
    said : how it was done, in words
    """

    beta: Array
    covariance: Array
    errors: FixedErrors | None
    method: str
    residual_df: float
    said: str

    @cached_property
    def errors_covariance(self) -> Array:
        """Φ, or Φ_A of Kenward & Roger: what standard errors and F are made from."""
        return self.errors.adjusted if self.method == "kenward-roger" and self.errors else self.covariance

    # -- single rows -------------------------------------------------------------------------

    def rows(self, L: Array) -> tuple[Array, Array, Array]:
        """Lβ̂, standard errors and degrees of freedom of each row, (r,) each."""
        variance = np.einsum("rp,pq,rq->r", L, self.errors_covariance, L, optimize=True)
        df, known = self._row_df(L)
        with np.errstate(invalid="ignore"):
            error = np.where(known, np.sqrt(variance), np.nan)
        return L @ self.beta, error, np.where(np.isnan(error), np.nan, df)

    def _row_df(self, L: Array) -> tuple[Array, np.ndarray]:
        """Degrees of freedom of each row, and whether its adjusted variance is known."""
        every = np.ones(len(L), dtype=bool)
        if self.errors is None:
            return np.full(len(L), self.residual_df), every
        v = np.einsum("rp,pq,rq->r", L, self.covariance, L, optimize=True)
        spread = np.zeros(len(L))
        for slope in self.errors.curved_slopes:
            spread += np.sum((L @ slope) * L, axis=1) ** 2
        df = _of_spread(v, spread)
        for slope in self.errors.flat_slopes:
            df[np.abs(np.sum((L @ slope) * L, axis=1)) > DEPENDS * v] = np.nan
        return df, every if self.method != "kenward-roger" else ~np.isnan(df)

    # -- several rows together ---------------------------------------------------------------

    def joint(self, L: Array, rhs: Array | None = None) -> Joint:
        """F of Lβ = rhs; rows that depend on others count once.

        Raises
        ------
        DataError
            If rows of L depend on each other and the values in `rhs` contradict that.
        """
        difference = L @ self.beta - (0.0 if rhs is None else rhs)
        with np.errstate(divide="ignore", invalid="ignore"):
            units = 1.0 / np.sqrt(np.diag(L @ self.covariance @ L.T))
        units = np.where(np.isfinite(units), units, 0.0)
        scaled = units[:, None] * L * np.sqrt(np.diag(self.covariance))
        left, sizes, _ = np.linalg.svd(scaled, full_matrices=True)
        q = int(np.sum(sizes > RANK * np.max(sizes, initial=0.0)))
        if q == 0:
            return Joint(np.nan, 0, np.nan, np.nan)
        if q < len(L) and np.any(
            np.abs(left[:, q:].T @ (units * difference)) > 1e-6 * np.max(np.abs(units * difference))
        ):
            raise DataError("rows of L depend on each other, and the values in rhs= contradict them: drop these rows.")
        # Rows without redundancy, each of them of the size of its error.
        own = left[:, :q].T * units
        M = own @ L @ self.errors_covariance @ L.T @ own.T
        if not np.all(np.linalg.eigvalsh(M) > 0.0):  # the adjustment of a few records can be larger than Φ itself
            return Joint(np.nan, q, np.nan, np.nan)
        F = float((own @ difference) @ np.linalg.solve(M, own @ difference)) / q
        df = self.residual_df
        if self.errors is not None and self.method == "kenward-roger":
            df, scale = self._kenward_roger(own @ L, q)
            F *= scale
        elif self.errors is not None:
            df = self._fai_cornelius(L, own @ L, q)
        return Joint(F, q, df, upper_tail(F, q, df))

    def _slopes(self, L: Array) -> tuple[Array, bool]:
        """L ∂_cΦ L' (c, r, r), and whether all that matters of it is known."""
        assert self.errors is not None
        M = L @ self.covariance @ L.T
        unknown = [np.max(np.abs(L @ slope @ L.T)) > DEPENDS * np.max(np.diag(M)) for slope in self.errors.flat_slopes]
        curved = [L @ slope @ L.T for slope in self.errors.curved_slopes]
        return np.array(curved).reshape(-1, len(L), len(L)), not any(unknown)

    def _fai_cornelius(self, L: Array, independent: Array, q: int) -> float:
        """df of q rows, from the eigenvectors of LΦL' as L is given."""
        if q == 1:
            return float(self._row_df(independent)[0][0])
        values, vectors = np.linalg.eigh(L @ self.covariance @ L.T)
        if values[-q] > CONDITION * values[-1]:
            rows = vectors[:, -q:].T @ L
        else:
            rows = np.linalg.eigh(independent @ self.covariance @ independent.T)[1].T @ independent
        nu = self._row_df(rows)[0]
        if np.any(np.isnan(nu)):
            return np.nan
        if np.all(np.isinf(nu)):
            return np.inf
        if np.max(nu) - np.min(nu) < 1e-8 * np.max(nu):
            return float(np.mean(nu))
        if np.any(nu <= 2.0):
            return 2.0
        E = float(np.sum(np.where(np.isinf(nu), 1.0, nu / (nu - 2.0))))
        return 2.0 * E / (E - q)

    def _kenward_roger(self, L: Array, q: int) -> tuple[float, float]:
        """df and the scale of F, of q independent rows."""
        slopes, known = self._slopes(L)
        if not known:
            return np.nan, np.nan
        M = L @ self.covariance @ L.T
        scaled = np.array([np.linalg.solve(M, G) for G in slopes]).reshape(-1, q, q)
        A1 = float(np.sum(np.trace(scaled, axis1=1, axis2=2) ** 2))
        A2 = float(np.sum(scaled * np.swapaxes(scaled, 1, 2)))
        if not A2 > INDEPENDENT**2:
            return np.inf, 1.0
        if q == 1:
            return 2.0 / A2, 1.0
        return kenward_roger_df(q, A1, A2)


def kenward_roger_df(q: int, A1: float, A2: float) -> tuple[float, float]:
    """m and λ of λF ~ F(q, m), matched to two moments and exact where F is (Kenward & Roger 1997, section 3.2)."""
    B = (A1 + 6.0 * A2) / (2.0 * q)
    g = ((q + 1.0) * A1 - (q + 4.0) * A2) / ((q + 2.0) * A2)
    d = 3.0 * q + 2.0 * (1.0 - g)
    V0, V1, V2 = 1.0 + B * g / d, 1.0 - B * (q - g) / d, 1.0 - B * (q + 2.0 - g) / d
    V0 = 0.0 if abs(V0) < 1e-10 else V0
    mean = 1.0 - A2 / q
    ratio = 1.0 if abs(mean) < 1e-14 and abs(V1) < 1e-14 else mean / V1
    rho = ratio**2 * V0 / (q * V2)
    m = 4.0 + (q + 2.0) / (q * rho - 1.0)
    if not m > 0.0:
        return np.nan, np.nan
    return m, 1.0 if abs(m - 2.0) < 1e-2 else m * mean / (m - 2.0)


def _of_spread(v: Array, spread: Array) -> Array:
    """2v²/spread; infinite where v hangs on nothing that was estimated."""
    with np.errstate(divide="ignore", invalid="ignore"):
        df = 2.0 * v**2 / spread
    return np.where(spread <= (INDEPENDENT * v) ** 2, np.inf, df)


def upper_tail(F: float, q: int, df: float) -> float:
    """P(F(q, df) > F)."""
    from scipy import stats

    if not (np.isfinite(F) and q > 0 and df > 0.0):
        return np.nan
    return float(stats.chi2.sf(q * F, q) if np.isinf(df) else stats.f.sf(F, q, df))
