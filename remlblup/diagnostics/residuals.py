"""Residuals of every record, raw, whitened by R and by V, and a test for outliers.

With P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹ the conditional residual is ê = RPy, so that R⁻¹ê = Py, and of Py ~ N(0, P) a record
has the part that is left of it when all the others have predicted it, times P_ii: (Py)_i/P_ii = y_i − ŷ_i of the others
(Haslett & Haslett 2007, *Int. Stat. Rev.* 75:1, "full-conditional residuals"; Cook & Weisberg 1982, section 2.2, in the
metric of V). Divided by their standard deviations

    standardized   (R⁻¹ê)_i / √(R⁻¹)_ii    whitened by R, as if effects were known; ê_i/√R_ii for independent errors
    studentized    (Py)_i / √P_ii          whitened by V; ê_i/√var(ê_i) for independent errors

(Nobre & Singer 2007, *Biometrical J.* 49:863, for independent errors). Both have variance 1 at the true parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.errors import ModelError, choose
from remlblup.fit.tables.shown import shown
from remlblup.reml.singular_residual import has_no_inverse
from remlblup.structure.residual.base import ResidualStructure

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# P_ii of less than this share of what it is a remainder of is rounding: a record that only columns of X of its own tell
# of, which fit it whatever it is.
ZERO = 1e-12
# Pivots of a dense R below this share of its largest variance are none.
SINGULAR = 1e-9
# What statsmodels calls our ways to adjust p values for their number.
ADJUSTMENTS = {"holm": "holm", "bonferroni": "bonferroni", "sidak": "sidak", "fdr": "fdr_bh"}


def residual_table(fit: Estimates) -> pd.DataFrame:
    """See `DiagnosticMethods.residual_table`."""
    spec, solution = fit.specification, fit._solution
    errors, Py = fit._record_errors, solution.weighted_residual[: spec.n]
    mean = np.asarray(spec.fixed.matrix @ fit.beta).ravel() if spec.p else np.zeros(spec.n)
    table = pd.DataFrame(
        {
            "conditional": solution.residual[: spec.n],
            "marginal": spec.y - mean,
            "standardized": whitened_by_residual(fit, Py),
            "studentized": over_root(Py, determined(errors.projection, errors.before)),
            "leverage": errors.leverage,
        },
        index=spec.index,
    )
    table.attrs["whitened"] = {"standardized": "R", "studentized": "V"}
    return shown(table, fit._note)


def determined(projection: Array, before: Array) -> Array:
    """P_ii, NaN where it is zero but for rounding."""
    return np.where(projection > ZERO * np.abs(before), projection, np.nan)


def over_root(values: Array, variance: Array) -> Array:
    """values/√variance; NaN where the variance is not positive."""
    return np.asarray(values / np.sqrt(np.where(variance > 0.0, variance, np.nan)))


def whitened_by_residual(fit: Estimates, Py: Array) -> Array:
    """(R⁻¹ê)_i/√(R⁻¹)_ii, R over the records; NaN where R has no inverse, or a record no variance."""
    spec = fit.specification
    phi = fit.theta[spec.parameters.of_residual]
    if spec.residual.pattern.is_diagonal:
        variance = spec.residual.record_variances(phi)
        return over_root(fit._solution.residual[: spec.n], variance)
    if spec.residual.dense:
        inverse = dense_inverse(spec.residual, phi)
        return np.full(spec.n, np.nan) if inverse is None else over_root(Py, inverse)
    if has_no_inverse(spec.residual, phi):
        return np.full(spec.n, np.nan)
    return over_root(Py, precision_of_records(spec.residual, phi, spec.n))


def dense_inverse(residual: ResidualStructure, phi: Array) -> Array | None:
    """(n,) the diagonal of the inverse of a dense R; None where it has none, as with two records at one place."""
    try:
        root = np.linalg.cholesky(residual.multiply(phi, np.eye(residual.size)))
    except np.linalg.LinAlgError:
        return None
    if np.min(np.diag(root)) ** 2 <= SINGULAR * float(np.max(residual.record_variances(phi))):
        return None
    return np.sum(np.linalg.inv(root) ** 2, axis=0)


def precision_of_records(residual: Any, phi: Array, n: int) -> Array:
    """(n,) the diagonal of R⁻¹ over the records; cells filled in are integrated out, Q_ii − Q_if Q_ff⁻¹ Q_fi."""
    Q = residual.pattern.matrix(residual.coefficients(phi))
    diagonal = Q.diagonal()[:n].copy()
    if Q.shape[0] > n:
        from scipy.sparse.linalg import splu  # a heavy import

        across, filled = sp.csc_array(Q[n:, :n]), splu(sp.csc_matrix(Q[n:, n:]))
        beside = np.flatnonzero(np.diff(across.indptr))
        for start in range(0, len(beside), 256):
            columns = beside[start : start + 256]
            part = across[:, columns].toarray()
            diagonal[columns] -= np.sum(part * filled.solve(part), axis=0)
    return diagonal


def outlier_test(fit: Estimates, adjust: str | None) -> pd.DataFrame:
    """See `DiagnosticMethods.outlier_test`."""
    from scipy import stats

    if adjust is not None:
        choose("adjust", adjust, ADJUSTMENTS)
    spec, errors = fit.specification, fit._record_errors
    left = fit.df_residual
    if left < 2:
        raise ModelError(f"with {spec.n} records and {spec.p} fixed effects there is nothing to test an outlier with.")
    if not fit._solution.quadratic > 0.0:
        raise ModelError("the fixed effects fit every record: there is nothing to test an outlier with.")
    P, Py = determined(errors.projection, errors.before), fit._solution.weighted_residual[: spec.n]
    squared = Py**2 / P
    # Without the record y'Py is less by s_i²; all the variances are scaled by it, their ratios are held.
    rest = np.maximum(fit._solution.quadratic - squared, 0.0)
    with np.errstate(divide="ignore"):
        statistic = np.sign(Py) * np.sqrt(squared * (left - 1) / rest)
    p_value = 2.0 * stats.t.sf(np.abs(statistic), left - 1)
    table = pd.DataFrame(
        {
            "residual": Py / P,
            "std_error": np.sqrt(rest / (left - 1) / P),
            "statistic": statistic,
            "df": float(left - 1),
            "p_value": p_value,
            "p_adjusted": adjusted(p_value, adjust),
        },
        index=spec.index,
    )
    unknown = int(np.isnan(statistic).sum())
    said = f"{unknown} of {spec.n} records are fitted whatever they are and cannot be tested." if unknown else ""
    table = table.iloc[np.argsort(-np.nan_to_num(np.abs(statistic), nan=-1.0), kind="stable")]
    table.attrs["adjust"] = adjust
    return shown(table, "\n".join(filter(None, [fit._note, said])))


def adjusted(p_value: Array, adjust: str | None) -> Array:
    """p values adjusted for their number, by statsmodels; missing ones are not counted."""
    out, known = p_value.copy(), np.isfinite(p_value)
    if adjust is not None and known.any():
        from statsmodels.stats.multitest import multipletests

        out[known] = multipletests(p_value[known], method=ADJUSTMENTS[adjust])[1]
    return out
