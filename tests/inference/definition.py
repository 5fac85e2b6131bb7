"""Tests of fixed effects by their definitions, on n × n matrices: no code is shared with the package.

`oracle` is one of `tests/oracle.py`: V(θ), its derivatives by a complex step.
Second derivatives are differences of those.
"""

from __future__ import annotations

import numpy as np
from oracle import differences
from scipy import stats


class Definition:
    """Everything at θ with var(θ̂) = W.

    Parameters
    ----------
    oracle : V and its derivatives
    theta : (n_parameters,)
    W : (n_parameters, n_parameters)
    """

    def __init__(self, oracle, theta, W):
        self.W = np.asarray(W)
        X, V = oracle.X, oracle.V(theta)
        dots = oracle.V_dot(theta)
        bends = np.moveaxis(differences(lambda at: np.array(oracle.V_dot(at)), theta, 1e-5), -1, 1)
        inverse = np.linalg.inv(V)
        self.Phi = np.linalg.inv(X.T @ inverse @ X)
        VX = inverse @ X
        self.P = [-VX.T @ D @ VX for D in dots]
        self.Q = [[VX.T @ D @ inverse @ E @ VX for E in dots] for D in dots]
        self.R = [[VX.T @ bends[i, j] @ VX for j in range(len(dots))] for i in range(len(dots))]
        self.beta = oracle.beta(theta)

    @property
    def slopes(self):
        """∂Φ/∂θ_i = −Φ P_i Φ."""
        return np.array([-self.Phi @ P @ self.Phi for P in self.P])

    @property
    def adjusted(self):
        """Φ_A of Kenward & Roger (1997), their equation for Λ."""
        Phi, total = self.Phi, np.zeros_like(self.Phi)
        for i, row in enumerate(self.W):
            for j, w in enumerate(row):
                total += w * (self.Q[i][j] - self.P[i] @ Phi @ self.P[j] - 0.25 * self.R[i][j])
        return Phi + 2.0 * Phi @ (0.5 * (total + total.T)) @ Phi

    def satterthwaite(self, L):
        """Standard errors and df of each row; F and df of all together (Fai & Cornelius 1996)."""
        v = np.diag(L @ self.Phi @ L.T)
        df = []
        for row, own in zip(L, v, strict=True):
            g = np.array([row @ S @ row for S in self.slopes])
            df.append(2 * own**2 / (g @ self.W @ g))
        values, vectors = np.linalg.eigh(L @ self.Phi @ L.T)
        nu = []
        for value, vector in zip(values, vectors.T, strict=True):
            g = np.array([vector @ L @ S @ L.T @ vector for S in self.slopes])
            nu.append(2 * value**2 / (g @ self.W @ g))
        q, nu = len(L), np.array(nu)
        F = float(np.sum((vectors.T @ L @ self.beta) ** 2 / values) / q)
        if q == 1:
            return np.sqrt(v), np.array(df), F, nu[0]
        E = np.sum(nu / (nu - 2))
        return np.sqrt(v), np.array(df), F, 2 * E / (E - q) if np.all(nu > 2) else 2.0

    def kenward_roger(self, L):
        """Adjusted standard errors and df of each row; scaled F and df of all together (section 3 of the paper)."""
        A = self.adjusted
        df = [self._moments(row[None])[0] for row in L]
        m, scale = self._moments(L)
        d = L @ self.beta
        F = scale * d @ np.linalg.solve(L @ A @ L.T, d) / len(L)
        return np.sqrt(np.diag(L @ A @ L.T)), np.array(df), float(F), m

    def _moments(self, L):
        q, Phi = len(L), self.Phi
        Theta = L.T @ np.linalg.solve(L @ Phi @ L.T, L)
        T = [Theta @ Phi @ P @ Phi for P in self.P]
        A1 = sum(w * np.trace(T[i]) * np.trace(T[j]) for (i, j), w in np.ndenumerate(self.W))
        A2 = sum(w * np.trace(T[i] @ T[j]) for (i, j), w in np.ndenumerate(self.W))
        B = (A1 + 6 * A2) / (2 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        c = np.array([g, q - g, q + 2 - g]) / (3 * q + 2 * (1 - g))
        mean = 1 / (1 - A2 / q)
        variance = 2 / q * (1 + c[0] * B) / ((1 - c[1] * B) ** 2 * (1 - c[2] * B))
        rho = variance / (2 * mean**2)
        m = 4 + (q + 2) / (q * rho - 1)
        return m, m / (mean * (m - 2))


def joint_p(F, q, df):
    return stats.f.sf(F, q, df)


def information(oracle, theta, kind, ml=False):
    """Average, expected or observed; the last by differences of the score, itself by a complex step."""
    if kind == "average":
        return oracle.average_information(theta)
    if kind == "expected":
        return oracle.expected_information(theta, ml)
    H = -differences(lambda at: oracle.score(at, ml), theta, 1e-5)
    return 0.5 * (H + H.T)
