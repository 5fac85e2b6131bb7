"""An independent dense oracle: V, its derivatives, likelihoods, BLUPs and information by the definitions.

Plain NumPy on n × n matrices; no code is shared with the package. `TERMS` of a model are given as
design matrices, a relationship matrix and the kind of covariance structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

LOG_2PI = np.log(2 * np.pi)


@dataclass(frozen=True)
class Term:
    """u ~ N(0, Σ ⊗ K), entering as Σ_i Z_i u_i; `kind` is id, diag or us."""

    Z: Sequence[np.ndarray]
    K: np.ndarray
    kind: str = "id"

    @property
    def t(self) -> int:
        return len(self.Z)

    def bases(self) -> list[np.ndarray]:
        """∂Σ/∂θ_i; Σ is their combination with coefficients θ (for us: lower triangle row by row)."""
        t, unit = self.t, np.eye(self.t)
        if self.kind == "id":
            return [unit]
        if self.kind == "diag":
            return [np.outer(unit[i], unit[i]) for i in range(t)]
        out = []
        for i in range(t):
            for j in range(i + 1):
                symmetric = np.outer(unit[i], unit[j]) + np.outer(unit[j], unit[i])
                out.append(symmetric if i != j else symmetric / 2)
        return out

    def spread(self, sigma: np.ndarray) -> np.ndarray:
        """Z (Σ ⊗ K) Z'."""
        t = self.t
        return sum(sigma[i, j] * self.Z[i] @ self.K @ self.Z[j].T for i in range(t) for j in range(t))


@dataclass
class Oracle:
    """The model y ~ N(Xβ, V(θ)); θ holds each term's parameters, then the residual variance."""

    y: np.ndarray
    X: np.ndarray
    terms: Sequence[Term] = ()
    weights: np.ndarray | None = None
    derivatives: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.y)
        w = np.ones(n) if self.weights is None else np.asarray(self.weights)
        self.derivatives = [t.spread(b) for t in self.terms for b in t.bases()] + [np.diag(1 / w)]

    def V(self, theta) -> np.ndarray:
        return sum(v * D for v, D in zip(theta, self.derivatives, strict=True))

    def sigma(self, k: int, theta) -> np.ndarray:
        """Σ of term k."""
        start = sum(len(t.bases()) for t in self.terms[:k])
        return sum(v * b for v, b in zip(theta[start:], self.terms[k].bases(), strict=False))

    def projection(self, theta) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """V⁻¹, (X'V⁻¹X)⁻¹ and P."""
        inverse = np.linalg.inv(self.V(theta))
        inverse = (inverse + inverse.T) / 2
        if self.X.shape[1] == 0:
            return inverse, np.zeros((0, 0)), inverse
        cov = np.linalg.inv(self.X.T @ inverse @ self.X)
        return inverse, cov, inverse - inverse @ self.X @ cov @ self.X.T @ inverse

    def loglik(self, theta, ml: bool = False) -> float:
        """With every constant; −inf where V is not positive definite."""
        V = self.V(theta)
        if np.linalg.eigvalsh(V)[0] <= 0:
            return -np.inf
        n, p = self.X.shape
        r = self.y - self.X @ self.beta(theta)
        total = np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)
        if ml or p == 0:
            return -0.5 * (n * LOG_2PI + total)
        information = self.X.T @ np.linalg.solve(V, self.X)
        return -0.5 * ((n - p) * LOG_2PI + total + np.linalg.slogdet(information)[1])

    def quadratic(self, theta) -> float:
        """y'Py."""
        return float(self.y @ self.projection(theta)[2] @ self.y)

    def beta(self, theta) -> np.ndarray:
        """Generalised least squares."""
        solved = np.linalg.solve(self.V(theta), np.column_stack([self.X, self.y]))
        return np.linalg.solve(self.X.T @ solved[:, :-1], self.X.T @ solved[:, -1])

    def beta_covariance(self, theta) -> np.ndarray:
        return self.projection(theta)[1]

    def u(self, k: int, theta) -> np.ndarray:
        """û = G Z'Py of term k, (t, q)."""
        term, Py = self.terms[k], self.projection(theta)[2] @ self.y
        r = np.array([Z.T @ Py for Z in term.Z])
        return self.sigma(k, theta) @ r @ term.K

    def pev(self, k: int, theta) -> np.ndarray:
        """var(û − u) of term k = G − G Z'P Z G, ((t q) × (t q)), effects outside, levels inside."""
        term = self.terms[k]
        G = np.kron(self.sigma(k, theta), term.K)
        ZG = np.hstack(list(term.Z)) @ G
        return G - ZG.T @ self.projection(theta)[2] @ ZG

    def joint_error(self, theta) -> np.ndarray:
        """var[(β̂, û) − (β, u)] of everything, from the definition; columns: X, then all Z in order."""
        inverse, cov, P = self.projection(theta)
        Z = np.hstack([np.zeros((len(self.y), 0)), *[z for t in self.terms for z in t.Z]])
        G = np.zeros((Z.shape[1], Z.shape[1]))
        at = 0
        for k, term in enumerate(self.terms):
            block = np.kron(self.sigma(k, theta), term.K)
            G[at : at + len(block), at : at + len(block)] = block
            at += len(block)
        cross = -cov @ self.X.T @ inverse @ Z @ G
        return np.block([[cov, cross], [cross.T, G - G @ Z.T @ P @ Z @ G]])

    def score(self, theta, ml: bool = False) -> np.ndarray:
        """∂ℓ/∂θ_i = −½[tr(P V̇_i) − y'P V̇_i P y]; for ML the trace is of V⁻¹V̇_i."""
        inverse, _, P = self.projection(theta)
        Py, trace_of = P @ self.y, inverse if ml else P
        return np.array([-0.5 * (np.sum(trace_of * D) - Py @ D @ Py) for D in self.derivatives])

    def average_information(self, theta) -> np.ndarray:
        """½ f_i'P f_j with f_i = V̇_i P y."""
        P = self.projection(theta)[2]
        F = np.column_stack([D @ P @ self.y for D in self.derivatives])
        return 0.5 * F.T @ P @ F

    def expected_information(self, theta, ml: bool = False) -> np.ndarray:
        """½ tr(P V̇_i P V̇_j), with V⁻¹ for P in ML."""
        inverse, _, P = self.projection(theta)
        products = [(inverse if ml else P) @ D for D in self.derivatives]
        return 0.5 * np.array([[np.sum(a * b.T) for b in products] for a in products])


def dummies(codes, n_levels: int | None = None) -> np.ndarray:
    """Indicator columns of integer codes."""
    codes = np.asarray(codes)
    return np.eye(int(codes.max()) + 1 if n_levels is None else n_levels)[codes]


def numerator_relationship(sires: Sequence[int], dams: Sequence[int]) -> np.ndarray:
    """A by the tabular method; parents are positions before their offspring, −1 unknown."""
    n = len(sires)
    A = np.zeros((n + 1, n + 1))  # the last row stands for an unknown parent
    for i, (s, d) in enumerate(zip(sires, dams, strict=True)):
        A[i, :i] = A[:i, i] = 0.5 * (A[s, :i] + A[d, :i])
        A[i, i] = 1 + (0.5 * A[s, d] if s >= 0 and d >= 0 else 0)
    return A[:n, :n]


def differences(function, x, step: float = 1e-5) -> np.ndarray:
    """Central differences of a function of a vector, relative step; derivative index last."""
    x = np.asarray(x, dtype=float)
    columns = []
    for i in range(len(x)):
        h = np.zeros(len(x))
        h[i] = step * max(abs(x[i]), 1e-3)
        columns.append((np.asarray(function(x + h)) - np.asarray(function(x - h))) / (2 * h[i]))
    return np.stack(columns, axis=-1)
