"""Several variances of a small model, for many responses: Newton steps in Λ, all matrices stacked over the responses.

With A = Z'PZ and r = Z'Py at σ² = 1, q = y'Py there, G_i = ∂Γ/∂γ_i ⊗ I, and the best σ² = q/N put in,

    ∂ℓ/∂γ_i = −½ [tr(A G_i) − N r'G_i r/q],
    −∂²ℓ/∂γ_i∂γ_j = ½ [2N r'G_i A G_j r/q − tr(A G_i A G_j) − N (r'G_i r)(r'G_j r)/q²]

(of ML the traces are those of Z'V⁻¹Z). Steps are taken in Λ, Γ = ΛΛ' (Bates et al. 2015, J Stat Softw 67(1)): ℓ is
smooth there up to and across a singular Γ, where a column of Λ is zero and its slope as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.linalg.threads import side_by_side
from remlblup.reml.newton import NULL
from remlblup.reml.together.outcome import Outcome, joined, limits
from remlblup.reml.together.reduction import Reduction

# Newton steps at most, and halvings of one.
ROUNDS, HALVINGS = 60, 25
# A pivot of Γ below this share of what counts as one, that ℓ does not rise from, is zero.
ZERO = 1e-9
# Responses at once: so many elements of a stack of matrices.
ELEMENTS = 300_000


@dataclass
class State:
    """Responses at their Λ: what steps and criteria are made of; arrays over the responses first."""

    loglik: Array
    q: Array
    r: Array
    gradient: Array
    hessian: Array
    of_gamma: Array

    def put(self, rows: np.ndarray, other: State) -> None:
        for name, values in vars(other).items():
            getattr(self, name)[rows] = values


class Several:
    """The searches of all responses of one model.

    Parameters
    ----------
    reduction : of a model whose Σ are diagonal or free
    start : (n_parameters,) θ that the searches start from
    """

    def __init__(self, reduction: Reduction, start: Array):
        self.reduction = reduction
        spec = reduction.spec
        self.terms = [(d.t, width) for d, width in zip(spec.random, reduction.widths, strict=True)]
        # Coordinate m: entry (i, a) of Λ of term k.
        self.slots = [(k, i, a) for k, d in enumerate(spec.random) for i, a in d.structure.slots]
        ends = np.cumsum([0, *(t * width for t, width in self.terms)])
        self.places = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.offsets = np.cumsum([0, *(t for t, _ in self.terms)])  # of effects among all effects
        self.Q = int(ends[-1])
        # What one unit of an effect is: as much as σ².
        n = float(spec.n)
        self.size = np.array(
            [
                np.sqrt(n / max(np.trace(reduction.M[p, p][i * w : (i + 1) * w, i * w : (i + 1) * w]), 1e-300))
                for p, (t, w) in zip(self.places, self.terms, strict=True)
                for i in range(t)
            ]
        )
        self.scale = np.array([self.size[self.offsets[k] + i] for k, i, _ in self.slots])
        self.start = self._start(start)

    def _start(self, theta: Array) -> Array:
        """(n_coordinates,) Λ of θ; pivots of nothing are lifted, for ℓ has no slope there."""
        out, sigma2 = np.zeros(len(self.slots)), float(theta[-1])
        for k, (d, part) in enumerate(
            zip(self.reduction.spec.random, self.reduction.spec.parameters.split_terms(theta), strict=True)
        ):
            size = self.size[self.offsets[k] : self.offsets[k + 1]]
            scaled = d.structure.covariance(part) / np.outer(size, size) / sigma2
            factor = np.linalg.cholesky(scaled + 1e-3 * np.eye(d.t)) * size[:, None]
            for m, (term, i, a) in enumerate(self.slots):
                if term == k:
                    out[m] = factor[i, a]
        return out

    # -- the search --------------------------------------------------------------------------

    def maximize(self, Y: Array, tolerance: float, information: bool = False) -> Outcome:
        """The maxima of the responses Y (n, B), offsets taken off."""
        step = max(8, ELEMENTS // max(self.Q**2, 1))
        parts = [(Y[:, k : k + step], tolerance, information) for k in range(0, Y.shape[1], step)]
        return joined(side_by_side(self._maximize, parts))

    def _maximize(self, Y: Array, tolerance: float, information: bool) -> Outcome:
        reduction = self.reduction
        c, s, beta_ols = reduction.responses(Y)
        B = len(s)
        x = np.tile(self.start, (B, 1))
        now = self.at(x, c, s)
        going, steps = np.arange(B), np.ones(B, dtype=np.int64)
        checks = np.full((B, 5), np.inf)
        for _ in range(ROUNDS):
            if not len(going):
                break
            d, checks[going, 2], checks[going, 3] = self.step(now, going)
            done = np.all(checks[going] <= limits(tolerance), axis=1)
            going, d = going[~done], d[~done]
            if not len(going):
                break
            going = self.advance(x, now, going, d, c, s, checks)
            steps[going] += 1
        on_face = self.settle(x, now, c, s, checks)
        sigma2 = now.q / reduction.freedom
        theta = np.column_stack([self.parameters(x) * sigma2[:, None], sigma2])
        converged = np.all(checks <= limits(tolerance), axis=1)
        beta = beta_ols - self.effects(x, now.r) @ reduction.of_random.T
        boundary = np.column_stack([on_face, np.zeros(B, dtype=bool)])
        known = self.information(x, c, now, sigma2) if information else None
        return Outcome(theta, now.loglik, beta, checks, converged, steps, boundary, known)

    def step(self, now: State, going: np.ndarray) -> tuple[Array, Array, Array]:
        """Newton steps d, the gradient in standard errors, and the decrement; negative curvature is turned round.

        The part r of the slope that a step cannot follow for want of curvature counts as r²/`NULL`, as in `newton`.
        """
        g, H = now.gradient[going] * self.scale, now.hessian[going] * np.outer(self.scale, self.scale)
        values, vectors = np.linalg.eigh(H)
        along = np.einsum("bij,bi->bj", vectors, g)
        size = np.maximum(np.abs(values), 1e-8 * np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-3))
        d = np.einsum("bij,bj->bi", vectors, along / size)
        # No step is longer than the variances there are.
        longest = np.abs(d).max(axis=1, keepdims=True)
        d *= np.minimum(1.0, 2.0 / np.maximum(longest, 1e-300))
        curvature = np.einsum("bii->bi", H)
        errors = 1.0 / np.sqrt(np.maximum(curvature, 1e-300))
        unseen = np.einsum("bij,bj->bi", vectors, along * (1.0 - np.abs(values) / size))
        unseen = np.where(curvature > 0.0, errors * unseen, 0.0)
        decrement = np.sum(along**2 / size, axis=1) + np.sum(unseen**2, axis=1) / NULL
        return d * self.scale, np.max(np.abs(g) * errors, axis=1), decrement

    def advance(
        self, x: Array, now: State, going: np.ndarray, d: Array, c: Array, s: Array, checks: Array
    ) -> np.ndarray:
        """Take the steps, halved until ℓ does not fall; the responses that got on."""
        left, fraction, got_on = np.arange(len(going)), 1.0, []
        for _ in range(HALVINGS):
            rows = going[left]
            new = x[rows] + fraction * d[left]
            there = self.at(new, c[rows], s[rows])
            before = now.loglik[rows]
            good = there.loglik >= before - 1e-12 * (1.0 + np.abs(before))
            taken = rows[good]
            sizes = np.maximum(np.abs(self.parameters(new[good])), 1e-3 * self.sizes_of_parameters)
            moved = np.abs(self.parameters(new[good]) - self.parameters(x[taken])) / sizes
            checks[taken, 0] = np.abs(there.loglik[good] - before[good])
            checks[taken, 1], checks[taken, 4] = moved.max(axis=1, initial=0.0), 0.0
            x[taken] = new[good]
            now.put(taken, State(*(values[good] for values in vars(there).values())))
            got_on.append(taken)
            left, fraction = left[~good], 0.5 * fraction
            if not len(left):
                break
        return np.sort(np.concatenate(got_on))

    def settle(self, x: Array, now: State, c: Array, s: Array, checks: Array) -> np.ndarray:
        """Pivots of Λ that are zero but for rounding set to it; the parameters of a singular Γ (B, n_coordinates)."""
        pivots = np.array([i == a for _, i, a in self.slots])
        columns = np.zeros((len(x), len(self.slots)), dtype=bool)
        for m in np.flatnonzero(pivots):
            k, _, a = self.slots[m]
            column = [j for j, (term, _, b) in enumerate(self.slots) if term == k and b == a]
            columns[:, column] |= np.all(np.abs(x[:, column]) < np.sqrt(ZERO) * self.scale[column], axis=1)[:, None]
        rows = np.flatnonzero(columns.any(axis=1))
        if len(rows):
            new = np.where(columns[rows], 0.0, x[rows])
            there = self.at(new, c[rows], s[rows])
            good = there.loglik >= now.loglik[rows] - 1e-9 * (1.0 + np.abs(now.loglik[rows]))
            kept = rows[good]
            x[kept] = new[good]
            now.put(kept, State(*(values[good] for values in vars(there).values())))
            columns[rows[~good]] = False
            # Along a column of nothing ℓ curves like the slope of Γ: upwards where it rises into the parameter space.
            bend = np.einsum("bii->bi", now.hessian[kept]) * self.scale**2
            checks[kept, 4] = np.maximum(0.0, -np.where(columns[kept], bend, 0.0)).max(axis=1)
        out = np.zeros_like(columns)
        for k, design in enumerate(self.reduction.spec.random):
            own = [m for m, slot in enumerate(self.slots) if slot[0] == k]
            face: Any = columns[:, own].any(axis=1) if design.structure.cone else columns[:, own]
            out[:, own] = face[:, None] if design.structure.cone else face
        return out

    # -- Λ and θ -----------------------------------------------------------------------------

    @property
    def sizes_of_parameters(self) -> Array:
        """(n_coordinates,) what counts as one of each Γ_ia."""
        return np.array([self.size[self.offsets[k] + i] * self.size[self.offsets[k] + a] for k, i, a in self.slots])

    def factors(self, x: Array) -> list[Array]:
        """Λ (B, t, t) of each term."""
        out = [np.zeros((len(x), t, t)) for t, _ in self.terms]
        for m, (k, i, a) in enumerate(self.slots):
            out[k][:, i, a] = x[:, m]
        return out

    def parameters(self, x: Array) -> Array:
        """Γ at the slots, (B, n_coordinates)."""
        gammas = [L @ np.swapaxes(L, 1, 2) for L in self.factors(x)]
        return np.stack([gammas[k][:, i, a] for k, i, a in self.slots], axis=1)

    def effects(self, x: Array, r: Array) -> Array:
        """û = (Γ ⊗ I) r, (B, Q)."""
        out = np.empty_like(r)
        for place, L, (t, width) in zip(self.places, self.factors(x), self.terms, strict=True):
            blocks = r[:, place].reshape(len(r), t, width)
            out[:, place] = (L @ (np.swapaxes(L, 1, 2) @ blocks)).reshape(len(r), -1)
        return out

    # -- ℓ and its derivatives ---------------------------------------------------------------

    def at(self, x: Array, c: Array, s: Array) -> State:
        """ℓ, slopes and curvature at Λ, of every response."""
        reduction, N = self.reduction, self.reduction.freedom
        factors = self.factors(x)
        A, logdet, r, right = self.projected(reduction.M, factors, c)
        q = s - right
        q = np.where(q > 1e-14 * s, q, np.nan)
        traced = A
        if reduction.ml:
            traced, logdet, _, _ = self.projected(reduction.whole, factors, c)
        with np.errstate(invalid="ignore"):
            loglik = reduction.log_likelihood(q, logdet)
        loglik = np.where(np.isfinite(loglik), loglik, -np.inf)
        of_gamma, slopes = self.slopes(traced, r, N / q)
        gradient, hessian = self.curvature(factors, A, traced, r, q, of_gamma, slopes)
        return State(loglik, q, r, gradient, hessian, of_gamma)

    def projected(self, M: Array, factors: list[Array], c: Array) -> tuple[Array, Array, Array, Array]:
        """A = M − MΛE⁻¹Λ'M (B, Q, Q), log|E|, r = c − MΛE⁻¹Λ'c and c'ΛE⁻¹Λ'c.

        Not r by A and Γ: that would square the condition of E.
        """
        F, of_c = self.right(M, factors), self.left(c[:, :, None], factors)
        E = self.left(F, factors)
        E[:, np.arange(self.Q), np.arange(self.Q)] += 1.0
        root = np.linalg.cholesky(E)
        logdet = 2.0 * np.log(np.einsum("bii->bi", root)).sum(axis=1)
        solved = np.linalg.solve(E, np.concatenate([np.swapaxes(F, 1, 2), of_c], axis=2))
        projected = F @ solved
        quadratic = np.einsum("bi,bi->b", of_c[:, :, 0], solved[:, :, -1])
        return M - projected[:, :, :-1], logdet, c - projected[:, :, -1], quadratic

    def right(self, M: Array, factors: list[Array]) -> Array:
        """M (Λ ⊗ I) for M (Q, Q), (B, Q, Q)."""
        B = len(factors[0])
        out = np.empty((B, self.Q, self.Q))
        for place, L, (t, width) in zip(self.places, factors, self.terms, strict=True):
            # Rows of M by effect: MΛ is the transpose of (Λ' ⊗ I) M.
            rows = M[place].reshape(t, width * self.Q)
            product = (np.swapaxes(L, 1, 2).reshape(B * t, t) @ rows).reshape(B, t * width, self.Q)
            out[:, :, place] = np.swapaxes(product, 1, 2)
        return out

    def left(self, M: Array, factors: list[Array]) -> Array:
        """(Λ' ⊗ I) M for M (B, Q, ·)."""
        out = np.empty(M.shape)
        for place, L, (t, width) in zip(self.places, factors, self.terms, strict=True):
            blocks = M[:, place].reshape(len(M), t, width * M.shape[2])
            out[:, place] = (np.swapaxes(L, 1, 2) @ blocks).reshape(len(M), t * width, M.shape[2])
        return out

    def slopes(self, A: Array, r: Array, weight: Array) -> tuple[Array, list[Array]]:
        """S = ∂ℓ/∂Γ of every term as one block diagonal matrix over the effects (B, T, T), and r by effects."""
        T = int(self.offsets[-1])
        S, blocks = np.zeros((len(r), T, T)), []
        for k, (place, (t, width)) in enumerate(zip(self.places, self.terms, strict=True)):
            own = slice(self.offsets[k], self.offsets[k + 1])
            rk = r[:, place].reshape(-1, t, width)
            traces = np.einsum("biwjw->bij", A[:, place, place].reshape(-1, t, width, t, width))
            S[:, own, own] = -0.5 * (traces - weight[:, None, None] * (rk @ np.swapaxes(rk, 1, 2)))
            blocks.append(rk)
        return S, blocks

    def information(self, x: Array, c: Array, now: State, sigma2: Array) -> Array:
        """Average information about θ, (B, n_parameters, n_parameters): ½ f'Pf, f = V̇Py.

        Of an element of Γσ² f = Z Ġ Z'Py; of σ² f = W⁻¹Py, where σ²PW⁻¹Py = Py − PZΓZ'Py.
        """
        B, m, r = len(x), len(self.slots), now.r
        A = self.projected(self.reduction.M, self.factors(x), c)[0]
        V = np.zeros((B, m, self.Q))
        for j, (k, i, a) in enumerate(self.slots):
            (t, width), place = self.terms[k], self.places[k]
            block, own = np.zeros((B, t, width)), r[:, place].reshape(B, t, width)
            block[:, i] += own[:, a]
            if i != a:
                block[:, a] += own[:, i]
            V[:, j, place] = block.reshape(B, t * width)
        u = self.effects(x, r)
        left = r - np.einsum("bij,bj->bi", A, u)
        out = np.empty((B, m + 1, m + 1))
        out[:, :m, :m] = V @ A @ np.swapaxes(V, 1, 2)
        out[:, m, :m] = out[:, :m, m] = np.einsum("bmq,bq->bm", V, left)
        out[:, m, m] = now.q - np.einsum("bi,bi->b", u, r + left)
        return 0.5 * out / sigma2[:, None, None] ** 3

    def curvature(
        self, factors: list[Array], A: Array, traced: Array, r: Array, q: Array, S: Array, blocks: list[Array]
    ) -> tuple[Array, Array]:
        """Gradient (B, m) and negative Hessian (B, m, m) by the entries of Λ, σ² at its best."""
        B, m, N = len(r), len(self.slots), self.reduction.freedom
        # V_m = (Γ̇_m ⊗ I) r, Γ̇_m = e_i λ_a' + λ_a e_i' with λ_a column a of Λ.
        V, gradient = np.zeros((B, m, self.Q)), np.empty((B, m))
        for j, (k, i, a) in enumerate(self.slots):
            (t, width), place, L = self.terms[k], self.places[k], factors[k]
            column = L[:, :, a]
            block = column[:, :, None] * blocks[k][:, i, None, :]
            block[:, i] += np.einsum("bi,biw->bw", column, blocks[k])
            V[:, j, place] = block.reshape(B, t * width)
            own = S[:, self.offsets[k] : self.offsets[k + 1], self.offsets[k] + i]
            gradient[:, j] = 2.0 * np.einsum("bi,bi->b", own, column)
        squares = np.einsum("bmq,bq->bm", V, r)
        AV = V @ A
        H = (N / q)[:, None, None] * (V @ np.swapaxes(AV, 1, 2))
        H -= 0.5 * (N / q**2)[:, None, None] * squares[:, :, None] * squares[:, None, :]
        H -= 0.5 * self.traces(factors, traced)
        for j, (k, i, a) in enumerate(self.slots):
            for other, (l, e, b) in enumerate(self.slots):
                if k == l and a == b:
                    H[:, j, other] -= 2.0 * S[:, self.offsets[k] + i, self.offsets[k] + e]
        return gradient, H

    def traces(self, factors: list[Array], A: Array) -> Array:
        """tr(A G_i A G_j) of the derivatives by the entries of Λ, (B, m, m)."""
        B, m = len(A), len(self.slots)
        # D_ia = A (e_i λ_a' ⊗ I): with both halves of Γ̇, tr = 2 [<(iλ)(jλ)> + <(iλ)(λj)>].
        T = int(self.offsets[-1])
        products = np.zeros((B, T, T, T, T))  # <A_ef, A_gh> = Σ A_ef ∘ A_gh
        for k, (t, w) in enumerate(self.terms):
            for l, (u, v) in enumerate(self.terms):
                block = A[:, self.places[k], self.places[l]].reshape(B, t, w, u, v).transpose(0, 1, 3, 2, 4)
                flat = np.ascontiguousarray(block).reshape(B, t * u, w * v)
                gram = (flat @ np.swapaxes(flat, 1, 2)).reshape(B, t, u, t, u)
                ek, el = slice(self.offsets[k], self.offsets[k + 1]), slice(self.offsets[l], self.offsets[l + 1])
                products[:, ek, el, ek, el] = gram
        out = np.empty((B, m, m))
        for j, (k, i, a) in enumerate(self.slots):
            x, ek, ik = factors[k][:, :, a], slice(self.offsets[k], self.offsets[k + 1]), self.offsets[k] + i
            for other, (l, e, b) in enumerate(self.slots[: j + 1]):
                y, el, il = factors[l][:, :, b], slice(self.offsets[l], self.offsets[l + 1]), self.offsets[l] + e
                # tr(A (i x') A (e y')): Σ x_p y_s <A_{p e}, A_{s i}'>, and tr(A (i x') A (y e')).
                one = np.einsum("bp,bps,bs->b", x, products[:, ek, il, ik, el], y)
                two = np.einsum("bp,bps,bs->b", x, products[:, ek, el, ik, il], y)
                out[:, j, other] = out[:, other, j] = 2.0 * (one + two)
        return out
