"""What is read off V: effects, errors and projections, by any engine that can solve with it.

With P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹,

    û = (Σ ⊗ K) Z'Py,    var(û − u) = G − GZ'PZG

(Searle, Casella & McCulloch 1992, chapters 6 and 7). No K is inverted, so any positive semidefinite one will do.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import CHUNK, Equations, nonnegative, products_by_column
from remlblup.equations.record_errors import RecordErrors, by_units
from remlblup.equations.solution import Solution
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.threads import side_by_side
from remlblup.model.design import RandomDesign


class Regressed(Solution, Protocol):
    """The generalised least squares of y on X: a `Solution`, and

    Attributes
    ----------
    beta : (p,) of the response free of its mean, for X as `FixedDesign.work`
    solved_X : (n, p) V⁻¹X
    covariance : (p, p) (X'V⁻¹X)⁻¹
    added : (p,) what of its diagonal is not var(β̂)
    logdet : log|V|; `logdet_fixed` log|X'V⁻¹X|
    kept : what has been computed from it
    """

    beta: Array
    covariance: Array
    logdet: float
    logdet_fixed: float
    kept: dict[Any, Any]

    @property
    def solved_X(self) -> Array: ...
    @property
    def added(self) -> Array: ...


class Projection(Equations):
    """Equations by V.

    Attributes
    ----------
    X : (n, p) as `FixedDesign.work`, dense
    """

    X: Array

    @abstractmethod
    def solve_columns(self, solution: Any, columns: Array) -> Array:
        """V⁻¹ columns, (n, k)."""

    def times_residual(self, theta: Array, v: Array) -> Array:
        """R v for v (n,) or (n, c)."""
        return self.residual.multiply(theta[self.spec.parameters.of_residual], v)

    @property
    def m(self) -> int:
        return self.spec.n

    # -- solutions ----------------------------------------------------------------------------

    def effects(self, solution: Regressed) -> Array:
        """β̂, then û = (Σ ⊗ K) Z'Py."""
        return np.concatenate([solution.beta, self._spread(solution, self.effect_scores(solution))])

    def _spread(self, solution: Regressed, scores: Array) -> Array:
        """(Σ ⊗ K) of every term times the random part of W'v, v (n,) or (n, c)."""
        thetas, parts = self.spec.parameters.split(solution.theta), [np.zeros((0, *scores.shape[1:]))]
        for k, (design, r) in enumerate(zip(self.random, self.term_blocks(scores), strict=True)):
            out = design.structure.covariance(thetas[k]) @ self.relate(k, solution, r, None)
            parts.append(out.reshape(design.t * design.q, *scores.shape[1:]))
        return np.concatenate(parts)

    def respond(self, solution: Regressed, V: Array) -> tuple[Array, Array]:
        beta = solution.covariance @ (solution.solved_X.T @ V)
        projected = self.project(solution, V)
        return np.vstack([beta, self._spread(solution, self.Wt @ projected)]), projected

    def log_determinant(self, solution: Regressed, ml: bool) -> float:
        return (
            solution.logdet if ml else solution.logdet + solution.logdet_fixed - 2.0 * self.spec.fixed.logdet_transform
        )

    def relate(self, k: int, solution: Regressed, r: Array, b: Array | None) -> Array:
        """(I ⊗ K) r for r (t, q·c)."""
        return self.random[k].relate(r)

    def average_information(self, solution: Regressed) -> Array:
        ai = 0.5 * self.products(solution, self.working_variates(solution))
        return 0.5 * (ai + ai.T)

    def working_variates(self, solution: Regressed) -> Array:
        """F (n, n_parameters) with columns V̇_i P y.

        Of a parameter of G: f_i = Z (Σ̇_i ⊗ I) h, with h = (I ⊗ K) Z'Py; of one of R: R⁻¹f_i = −Σ_r ρ̇_r D_r ê.
        """
        residual, place = self.residual, self.spec.parameters.of_residual
        phi = solution.theta[place]
        first, F = place.start, np.empty((len(solution.residual), len(solution.theta)), order="F")
        F[:, :first] = self.W @ self.working_effects(solution)
        for column, slope in enumerate(residual.jacobian(phi), start=first):
            F[:, column] = -residual.pattern.times(slope, solution.residual)
        F[:, first:] = residual.multiply(phi, F[:, first:])
        return F

    def products(self, solution: Regressed, variates: Array) -> Array:
        """F'PF of variates F (n, k)."""
        return variates.T @ self.project(solution, variates)

    def project(self, solution: Regressed, columns: Array) -> Array:
        """P columns, (n, k)."""
        out = self.solve_columns(solution, columns)
        if self.p:
            out = out - solution.solved_X @ (solution.covariance @ (solution.solved_X.T @ columns))
        return out

    # -- errors ------------------------------------------------------------------------------

    def level_covariances(self, solution: Regressed) -> list[Array]:
        """Σ K_ll − Σ M_l Σ, with M_l = A_l'P A_l of the columns A_l = [Z_1 K_l … Z_t K_l]."""
        self.require(solution)
        out = []
        parts = self.spec.parameters.split_terms(solution.theta)
        for design, theta in zip(self.random, parts, strict=True):
            sigma = design.structure.covariance(theta)

            def errors(levels: np.ndarray, design: RandomDesign = design, sigma: Array = sigma) -> Array:
                columns = design.relationship.columns(levels)
                A = np.stack([Z @ columns for Z in design.columns], axis=2)
                PA = self.project(solution, A.reshape(len(A), -1)).reshape(A.shape)
                return sigma @ np.einsum("nla,nlb->lab", A, PA) @ sigma

            blocks = [(np.arange(start, min(start + CHUNK, design.q)),) for start in range(0, design.q, CHUNK)]
            prior = np.asarray(design.relationship.diagonal)[:, None, None] * sigma
            cov = prior - np.concatenate(side_by_side(errors, blocks))
            out.append(0.5 * (cov + np.swapaxes(cov, 1, 2)))
        return out

    def fixed_covariance(self, solution: Regressed) -> Array:
        T = self.spec.fixed.transform
        own = solution.covariance - np.diag(solution.added)
        out = own if T is None else T @ own @ T.T
        return 0.5 * (out + out.T)

    def fixed_variances(self, solution: Regressed) -> Array:
        return np.diag(self.fixed_covariance(solution)).copy()

    def fixed_responses(self, solution: Regressed) -> Iterator[tuple[slice, Array, Array, Array, Array | None]]:
        if not self.p:
            return
        T = self.spec.fixed.transform
        C = solution.covariance if T is None else solution.covariance @ T.T
        H = solution.solved_X @ C
        yield slice(0, self.p), self.fixed_covariance(solution), H, self.times_residual(solution.theta, H), None

    def fixed_products(self, solution: Regressed, chunk: slice) -> tuple[Array, list[Array], Array]:
        T = self.spec.fixed.transform
        H = solution.solved_X @ (solution.covariance if T is None else solution.covariance @ T.T)[:, chunk]
        scores = self.term_blocks(self.Wt @ H)
        of_terms = [products_by_column(r, self.relate(k, solution, r, None), H.shape[1]) for k, r in enumerate(scores)]
        moments = self.residual.pattern.moments(self.times_residual(solution.theta, H))
        return self.fixed_variances(solution)[chunk], of_terms, moments

    def fixed_cross_covariances(self, solution: Regressed, columns: np.ndarray) -> list[Array]:
        """−G Z'V⁻¹X(X'V⁻¹X)⁻¹."""
        T = self.spec.fixed.transform
        C = solution.covariance if T is None else solution.covariance @ T.T
        effects = np.zeros((self.W.shape[1], len(columns)))
        effects[self.p :] = -self._spread(solution, self.Wt @ (solution.solved_X @ C[:, columns]))
        return [u.reshape(d.t, d.q, -1) for d, u in zip(self.random, self.term_blocks(effects), strict=True)]

    def prediction_variances(self, solution: Regressed, rows: Any) -> Array:
        """w = (x, z): x'Cx − 2 x'CX'V⁻¹f + z'Gz − f'Pf with f = ZGz."""
        out, sizes = np.empty(rows.shape[0]), np.empty(rows.shape[0])
        rows = sp.csr_array(rows)
        Z, parts = sp.csr_array(self.W[:, self.p :]), self.spec.parameters.split_terms(solution.theta)
        for start in range(0, rows.shape[0], CHUNK):
            chunk = rows[start : start + CHUNK].toarray()
            x, z = chunk[:, : self.p], chunk[:, self.p :].T
            Gz = np.zeros_like(z)
            at = 0
            for k, (design, theta) in enumerate(zip(self.random, parts, strict=True)):
                size = design.t * design.q
                related = self.relate(k, solution, z[at : at + size].reshape(design.t, -1), None)
                Gz[at : at + size] = (design.structure.covariance(theta) @ related).reshape(size, -1)
                at += size
            f = np.asarray(Z @ Gz)
            prior = np.einsum("qc,qc->c", z, Gz)
            random = prior - np.einsum("nc,nc->c", f, self.project(solution, f))
            Cx = solution.covariance @ x.T
            own = Cx - solution.added[:, None] * x.T
            fixed = np.einsum("cp,pc->c", x, own) - 2.0 * np.einsum("pc,pc->c", Cx, solution.solved_X.T @ f)
            out[start : start + CHUNK] = random + fixed
            sizes[start : start + CHUNK] = np.abs(prior) + np.abs(fixed)
        return nonnegative(out, sizes)

    def before_projection(self, solution: Regressed, records: np.ndarray, projection: Array) -> Array:
        """The diagonal of V⁻¹."""
        own = solution.solved_X[records]
        return np.asarray(np.diag(projection) + np.einsum("np,pq,nq->n", own, solution.covariance, own))

    def record_errors(self, solution: Regressed) -> RecordErrors:
        def projected(unit: Array) -> tuple[Array, Array]:
            P = self.project(solution, unit)
            return P, self.times_residual(solution.theta, P)

        def before(records: np.ndarray, P: Array) -> Array:
            return self.before_projection(solution, records, P)

        return by_units(self.spec.n, CHUNK, projected, before)


def regression(X: Array, solved: Array, y: Array) -> tuple[Array, Array, float]:
    """β̂, (X'V⁻¹X)⁻¹ and log|X'V⁻¹X| of y on X (n, p), given V⁻¹X."""
    p = X.shape[1]
    if p == 0:
        return np.zeros(0), np.zeros((0, 0)), 0.0
    information = X.T @ solved
    try:
        root = scipy.linalg.cho_factor(0.5 * (information + information.T), lower=True)
    except np.linalg.LinAlgError:  # V is so nearly singular that X'V⁻¹X is all rounding
        raise NotPositiveDefiniteError("V is singular to working precision.") from None
    logdet = 2.0 * float(np.sum(np.log(root[0].diagonal())))
    return scipy.linalg.cho_solve(root, solved.T @ y), scipy.linalg.cho_solve(root, np.eye(p)), logdet
