"""An independent dense oracle: V, its derivatives, likelihoods, BLUPs and information by the definitions.

Plain NumPy on n × n matrices; no code is shared with the package. The terms of an `Oracle` are given as
design matrices, a relationship matrix and the kind of covariance structure; those of a `GeneralOracle` by any
function θ → Σ, as is R, and it takes every derivative by a complex step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

LOG_2PI = np.log(2 * np.pi)


class Effects:
    """u ~ N(0, Σ ⊗ K), entering as Σ_i Z_i u_i."""

    Z: Sequence[np.ndarray]
    K: np.ndarray

    @property
    def t(self) -> int:
        return len(self.Z)

    @cached_property
    def products(self) -> np.ndarray:
        """Z_i K Z_j', (t, t, n, n)."""
        return np.array([[Zi @ self.K @ Zj.T for Zj in self.Z] for Zi in self.Z])

    def spread(self, sigma: np.ndarray) -> np.ndarray:
        """Z (Σ ⊗ K) Z'."""
        return np.tensordot(sigma, self.products, 2)


@dataclass(frozen=True)
class Term(Effects):
    """u ~ N(0, Σ ⊗ K), entering as Σ_i Z_i u_i; `kind` is id, diag or us."""

    Z: Sequence[np.ndarray]
    K: np.ndarray
    kind: str = "id"

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


class Dense:
    """y ~ N(Xβ, V(θ)): everything that follows from V, ∂V/∂θ and the Σ of the terms."""

    y: np.ndarray
    X: np.ndarray
    terms: Sequence

    def V(self, theta) -> np.ndarray:
        raise NotImplementedError

    def V_dot(self, theta) -> list[np.ndarray]:
        """∂V/∂θ_i."""
        raise NotImplementedError

    def sigma(self, k: int, theta) -> np.ndarray:
        """Σ of term k."""
        raise NotImplementedError

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
        return np.array([-0.5 * (np.sum(trace_of * D) - Py @ D @ Py) for D in self.V_dot(theta)])

    def average_information(self, theta) -> np.ndarray:
        """½ f_i'P f_j with f_i = V̇_i P y."""
        P = self.projection(theta)[2]
        F = np.column_stack([D @ P @ self.y for D in self.V_dot(theta)])
        return 0.5 * F.T @ P @ F

    def expected_information(self, theta, ml: bool = False) -> np.ndarray:
        """½ tr(P V̇_i P V̇_j), with V⁻¹ for P in ML."""
        inverse, _, P = self.projection(theta)
        products = [(inverse if ml else P) @ D for D in self.V_dot(theta)]
        return 0.5 * np.array([[np.sum(a * b.T) for b in products] for a in products])

    def beta_variance_derivatives(self, theta) -> np.ndarray:
        """∂var(β̂_j)/∂θ_i = [H'V̇_i H]_jj with H = V⁻¹X(X'V⁻¹X)⁻¹, (p, n_parameters)."""
        inverse, cov, _ = self.projection(theta)
        H = inverse @ self.X @ cov
        return np.array([np.diag(H.T @ D @ H) for D in self.V_dot(theta)]).T


@dataclass
class Oracle(Dense):
    """V linear in θ, which holds each term's parameters, then the residual variance."""

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

    def V_dot(self, theta) -> list[np.ndarray]:
        return self.derivatives

    def sigma(self, k: int, theta) -> np.ndarray:
        start = sum(len(t.bases()) for t in self.terms[:k])
        return sum(v * b for v, b in zip(theta[start:], self.terms[k].bases(), strict=False))


@dataclass(frozen=True)
class Part(Effects):
    """u ~ N(0, Σ(θ) ⊗ K) with Σ any function of its `size` parameters, which must take complex ones."""

    Z: Sequence[np.ndarray]
    K: np.ndarray
    covariance: Callable[[np.ndarray], np.ndarray]
    size: int


@dataclass
class GeneralOracle(Dense):
    """V(θ) = Σ_k Z_k (Σ_k(θ_k) ⊗ K_k) Z_k' + R(φ), θ = (θ_1, θ_2, …, φ); Σ_k and R written out by a test."""

    y: np.ndarray
    X: np.ndarray
    terms: Sequence[Part]
    residual: Callable[[np.ndarray], np.ndarray]

    def _split(self, theta) -> list[np.ndarray]:
        return np.split(np.asarray(theta), np.cumsum([t.size for t in self.terms]))

    def V(self, theta) -> np.ndarray:
        *parts, phi = self._split(theta)
        return sum(
            (t.spread(t.covariance(part)) for t, part in zip(self.terms, parts, strict=True)), self.residual(phi)
        )

    def V_dot(self, theta) -> list[np.ndarray]:
        *parts, phi = self._split(theta)
        slopes = []
        for term, part in zip(self.terms, parts, strict=True):
            slopes += [term.spread(S) for S in np.moveaxis(complex_step(term.covariance, part), -1, 0)]
        return slopes + list(np.moveaxis(complex_step(self.residual, phi), -1, 0))

    def sigma(self, k: int, theta) -> np.ndarray:
        return np.asarray(self.terms[k].covariance(self._split(theta)[k]))

    def numeric_score(self, theta, ml: bool = False) -> np.ndarray:
        """∂ℓ/∂θ of the log-likelihood as it is written, by a complex step: no formula for a derivative."""
        return complex_step(lambda at: self._analytic_loglik(at, ml), theta)

    def _analytic_loglik(self, theta, ml: bool) -> complex:
        p = self.X.shape[1]
        V = self.V(theta)
        solved = np.linalg.solve(V, np.column_stack([self.X, self.y]).astype(complex))
        information = self.X.T @ solved[:, :p]
        beta = np.linalg.solve(information, self.X.T @ solved[:, p])
        total = log_determinant(V) + self.y @ (solved[:, p] - solved[:, :p] @ beta)
        return -0.5 * (total if ml else total + log_determinant(information))


def log_determinant(A: np.ndarray) -> complex:
    """log|A| of a matrix with a small imaginary part."""
    sign, value = np.linalg.slogdet(A)
    return value + 1j * np.angle(sign)


def complex_step(function, x, step: float = 1e-40) -> np.ndarray:
    """∂f/∂x_i = Im f(x + ih e_i)/h, exact to rounding; derivative index last."""
    x = np.asarray(x, dtype=complex)
    columns = []
    for i in range(len(x)):
        at = x.copy()
        h = step * max(abs(x[i]), 1.0)
        at[i] += 1j * h
        columns.append(np.imag(function(at)) / h)
    return np.stack(columns, axis=-1)


def symmetric_root(sigma: np.ndarray) -> np.ndarray:
    """Σ^½ of a matrix that may be singular: data made with it do not depend on which eigenvectors LAPACK returns."""
    values, vectors = np.linalg.eigh(sigma)
    return (vectors * np.sqrt(np.where(values > 1e-12 * values[-1], values, 0.0))) @ vectors.T


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
