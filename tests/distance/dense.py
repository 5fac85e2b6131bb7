"""Covariances by distance written out over the records: nothing here uses the package."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import gamma, kv


def correlation(keyword: str, h: np.ndarray, nu: float = 0.5) -> np.ndarray:
    """c(h), by the definitions."""
    if keyword == "mat":
        x = np.sqrt(2.0 * nu) * np.where(h > 0.0, h, 1.0)
        return np.where(h > 0.0, 2.0 ** (1.0 - nu) / gamma(nu) * x**nu * kv(nu, x), 1.0)
    return {
        "exp": np.exp(-h),
        "gau": np.exp(-(h**2)),
        "sph": np.where(h < 1.0, 1.0 - 1.5 * h + 0.5 * h**3, 0.0),
        "lin": np.maximum(1.0 - h, 0.0),
        "ratio": 1.0 / (1.0 + h**2),
    }[keyword]


def differences(frame: pd.DataFrame, other: pd.DataFrame, *names: str) -> list[np.ndarray]:
    return [frame[c].to_numpy()[:, None] - other[c].to_numpy() for c in names]


def loglik(y: np.ndarray, X: np.ndarray, V: np.ndarray, ml: bool = False) -> float:
    """REML log-likelihood with all constants."""
    n, p = X.shape
    inverse = np.linalg.inv(V)
    A = X.T @ inverse @ X
    r = y - X @ np.linalg.solve(A, X.T @ inverse @ y)
    added = 0.0 if ml else np.linalg.slogdet(A)[1] - p * np.log(2.0 * np.pi)
    return -0.5 * (n * np.log(2.0 * np.pi) + np.linalg.slogdet(V)[1] + added + r @ inverse @ r)


def kriging(y, X, V, x_new, f_new, prior):
    """Best linear unbiased prediction of x'β + g, with f = cov(y, g) and prior = var(g): values, standard errors."""
    inverse = np.linalg.inv(V)
    C = np.linalg.inv(X.T @ inverse @ X)
    beta = C @ X.T @ inverse @ y
    value = x_new @ beta + f_new.T @ inverse @ (y - X @ beta)
    rest = x_new - f_new.T @ inverse @ X
    variance = prior - np.einsum("nm,nm->m", f_new, inverse @ f_new) + np.einsum("mp,pq,mq->m", rest, C, rest)
    return value, np.sqrt(variance)
