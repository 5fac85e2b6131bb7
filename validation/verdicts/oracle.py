"""The largest (RE)ML likelihood of a small model: V as a dense matrix by definition,
searched from many starts by SciPy.

V = Σ_k Z_k (Σ_k ⊗ K_k) Z_k' + R need be positive definite; R alone may be singular. With S = ½(P y y'P − P) (for ML
the trace part with V⁻¹), dℓ = tr(S dV), and dΣ/dx is taken by differences of the small matrices Σ(x).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
import scipy.optimize

from remlblup.validation.dense import Array
from remlblup.validation.verdicts.shapes import Shape

LOG_2PI = float(np.log(2.0 * np.pi))
#: Structures in standard deviations |x|, where ℓ has kinks that a smooth search may stop beside (as it may at the edge
#: of indefinite Σ).
KINKED = ("csh", "corh", "ar1h")
#: Value of −ℓ where V is not positive definite.
OUTSIDE = 1e10
#: Smallest eigenvalue of V in units of the records below which ℓ is taken to have no bound.
SINGULAR = 1e-7
#: The same where Σ may be indefinite.
EDGE = 1e-5
STEP = 1e-7
#: Random points of which the best is climbed from: one, two, … in turn.
TRIED = 12
#: Structures linear in θ, whose likelihood seldom has several maxima.
SINGLE = ("id", "diag", "us", "known", "units")
#: First rounds from every start, and how many of them are gone on with.
ROUNDS, FINISHED = 20, 4


@dataclass(frozen=True)
class Part:
    """One term of V: Σ_ij Σ_ab products[a, b], or Σ itself over the records where there are no products.

    Attributes
    ----------
    name : of the term
    shape : x → θ → Σ
    products : (t, t, n, n) Z_a K Z_b', or None
    """

    name: str
    shape: Shape
    products: Array | None = field(default=None, repr=False)

    def spread(self, sigma: Array) -> Array:
        return sigma if self.products is None else np.tensordot(sigma, self.products, 2)

    def gather(self, S: Array) -> Array:
        """∂ℓ/∂Σ from ∂ℓ/∂V."""
        return S if self.products is None else np.tensordot(self.products, S, 2)


@dataclass(frozen=True)
class Peak:
    """What the search found.

    Attributes
    ----------
    x, theta, loglik : the highest point
    smallest : smallest eigenvalue of V there, in units of the records
    least : the same of what ℓ is made of, K'VK for REML
    indefinite : whether Σ may be indefinite, so that the edge where V is singular is open: a search stops short of it
    """

    x: Array
    theta: Array
    loglik: float
    smallest: float
    least: float
    indefinite: bool = False

    @property
    def unbounded(self) -> bool:
        """Whether ℓ rises without end."""
        return self.least < SINGULAR

    @property
    def singular(self) -> bool:
        """Whether V is singular, if only in the space of X, or about to be."""
        return self.smallest < (EDGE if self.indefinite else SINGULAR)

    @property
    def far(self) -> bool:
        """Whether it lies so far out that the supremum is at infinity."""
        return bool(np.max(np.abs(self.x), initial=0.0) > 1e3)


class Oracle:
    """y ~ N(Xβ, V(x)) with V the sum of parts.

    Parameters
    ----------
    y : (n,) records
    X : (n, p) of full rank
    parts : random terms in the order of the formula, the residual last
    ml : maximum likelihood in place of REML
    """

    def __init__(self, y: Array, X: Array, parts: Sequence[Part], ml: bool = False):
        self.y, self.X, self.parts, self.ml = y, X, tuple(parts), ml
        self.size = sum(p.shape.size for p in parts)
        self.cuts = np.cumsum([p.shape.size for p in parts])[:-1]
        self.theta_cuts = np.cumsum([len(p.shape.parameters(np.ones(p.shape.size))) for p in parts])
        n, p = X.shape
        d = np.sqrt(np.diag(self.V(self.theta(np.ones(self.size)))))
        Q, triangle = np.linalg.qr(X / d[:, None], mode="complete")
        self.units, self.K = d, Q[:, p:] / d[:, None]
        self.contrasts = self.K.T @ y
        self.projected = [None if k.products is None else self.K.T @ k.products @ self.K for k in parts]
        self.constant = -0.5 * (n - p) * LOG_2PI - float(np.log(d).sum() + np.log(np.abs(np.diag(triangle[:p]))).sum())
        self.indefinite = any(set(k.shape.kinds) & {"w", "c"} for k in parts)
        self.smooth = not self.indefinite and not any(k.shape.keyword in KINKED for k in parts)

    # -- V and ℓ -----------------------------------------------------------------------------

    def theta(self, x: Array) -> Array:
        """θ in the order of `variance_components`."""
        return np.concatenate(
            [p.shape.parameters(part) for p, part in zip(self.parts, np.split(x, self.cuts), strict=True)]
        )

    def terms(self, theta: Array) -> list[Array]:
        """The terms of V at θ, R last."""
        pieces = np.split(np.asarray(theta, float), self.theta_cuts[:-1])
        return [p.spread(p.shape.matrix(piece)) for p, piece in zip(self.parts, pieces, strict=True)]

    def V(self, theta: Array) -> Array:
        return np.sum(self.terms(theta), axis=0)

    def loglik(self, theta: Array) -> float:
        """ℓ at θ; −∞ where V is not positive definite."""
        pieces = np.split(np.asarray(theta, float), self.theta_cuts[:-1])
        with np.errstate(all="ignore"):
            state = self._state([p.shape.matrix(piece) for p, piece in zip(self.parts, pieces, strict=True)], False)
        return -np.inf if state is None else state[0]

    def information(self, theta: Array, which: Sequence[int], steps: Array) -> Array:
        """½ tr(P V̇_i P V̇_j) of some components, V̇ by central differences."""
        V = self.V(theta)
        inverse = np.linalg.inv(V)
        XV = self.X.T @ inverse
        P = inverse - XV.T @ np.linalg.solve(XV @ self.X, XV)
        slopes = []
        for i, h in zip(which, steps, strict=True):
            unit = np.eye(1, len(theta), i)[0] * 1e-5 * h
            slopes.append(P @ (self.V(theta + unit) - self.V(theta - unit)) / 2e-5)
        return 0.5 * np.array([[np.sum(a * b.T) for b in slopes] for a in slopes])

    def smallest_eigenvalue(self, theta: Array) -> float:
        """Of V in units of the records: a variance may vanish alone."""
        return float(np.linalg.eigvalsh(self.V(theta) / np.outer(self.units, self.units))[0])

    def least(self, theta: Array) -> float:
        """The same of what ℓ is made of: K'VK for REML, so that V may be singular in the space of X."""
        return (
            self.smallest_eigenvalue(theta)
            if self.ml
            else float(np.linalg.eigvalsh(self.K.T @ self.V(theta) @ self.K)[0])
        )

    def sigmas(self, x: Array) -> list[Array]:
        """Σ of every part."""
        return [p.shape.matrix(p.shape.parameters(z)) for p, z in zip(self.parts, np.split(x, self.cuts), strict=True)]

    def minus(self, x: Array) -> float:
        """−ℓ."""
        with np.errstate(all="ignore"):
            state = self._state(self.sigmas(x), False)
        return OUTSIDE if state is None else -state[0]

    def value_and_slope(self, x: Array) -> tuple[float, Array]:
        """−ℓ and its gradient in x."""
        with np.errstate(all="ignore"):
            sigmas = self.sigmas(x)
            state = self._state(sigmas, True)
            if state is None:
                return OUTSIDE, np.zeros_like(x)
            pieces = zip(self.parts, np.split(x, self.cuts), sigmas, state[1], strict=True)
            out = -np.concatenate([_slope(*piece) for piece in pieces])
        return -state[0], np.where(np.isfinite(out), out, 0.0)

    def _state(self, sigmas: Sequence[Array], slope: bool) -> tuple[float, list[Array]] | None:
        """ℓ and ∂ℓ/∂Σ of every part; None where the matrix is not positive definite.

        REML is the likelihood of contrasts K'y with K'X = 0 (Patterson & Thompson 1971; Harville 1974):
        −½[log|K'VK| + (K'y)'(K'VK)⁻¹K'y] and a constant. ML has the same quadratic form and log|V|. Where variances may
        be negative V itself has to be positive definite besides.
        """
        M = _total(
            [s if P is None else np.tensordot(s, P, 2) for s, P in zip(sigmas, self.projected, strict=True)],
            self.K,
            [P is None for P in self.projected],
        )
        half = _inverse_root(M)
        if half is None:
            return None
        white = half @ self.contrasts
        quadratic = float(white @ white)
        if self.ml or self.indefinite:
            root = _inverse_root(np.sum([p.spread(s) for p, s in zip(self.parts, sigmas, strict=True)], axis=0))
            if root is None:
                return None
        if self.ml:
            value = -0.5 * (len(self.y) * LOG_2PI + quadratic) + float(np.log(np.diag(root)).sum())
        else:
            value = self.constant - 0.5 * quadratic + float(np.log(np.diag(half)).sum())
        if not np.isfinite(value):
            return None
        if not slope:
            return value, []
        r = half.T @ white
        S = 0.5 * np.outer(r, r)
        if self.ml:
            S = self.K @ S @ self.K.T - 0.5 * root.T @ root
            return value, [p.gather(S) for p in self.parts]
        S -= 0.5 * half.T @ half
        whole = self.K @ S @ self.K.T if any(P is None for P in self.projected) else S
        return value, [whole if P is None else np.tensordot(P, S, 2) for P in self.projected]

    def coordinates(self, theta: Array) -> Array:
        """x with θ(x) near θ, by least squares on each Σ in its own scale."""
        out = []
        for part, piece in zip(self.parts, np.split(np.asarray(theta, float), self.theta_cuts[:-1]), strict=True):
            sigma = part.shape.matrix(piece)
            size = np.sqrt(
                np.maximum(np.abs(np.diag(part.shape.matrix(part.shape.parameters(np.ones(part.shape.size))))), 1e-300)
            )
            out.append(_inverse(part.shape, sigma, size))
        return np.concatenate(out)

    # -- the search --------------------------------------------------------------------------

    def climb(self, x: Array, tries: int = 3, most: int = 400) -> tuple[float, Array]:
        """The local maximum above x: L-BFGS-B of `most` rounds, begun again until it gains nothing."""
        best = self.value_and_slope(x)[0]
        for _ in range(tries):
            if best >= OUTSIDE:
                break
            with np.errstate(all="ignore"):
                found = scipy.optimize.minimize(
                    self.value_and_slope,
                    x,
                    jac=True,
                    method="L-BFGS-B",
                    options={"maxiter": most, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20},
                )
            gain = best - found.fun
            if gain > 0.0:
                x, best = found.x, float(found.fun)
            if gain < 1e-10:
                break
        return -best, x

    def polish(self, x: Array, value: float) -> tuple[float, Array]:
        """Nelder–Mead about x, for maxima where ℓ has a kink."""
        with np.errstate(all="ignore"):
            found = scipy.optimize.minimize(
                self.minus,
                x,
                method="Nelder-Mead",
                options={
                    "maxfev": 60 * len(x),
                    "xatol": 1e-9,
                    "fatol": 1e-12,
                    "initial_simplex": x + 1e-3 * np.vstack([np.zeros(len(x)), np.eye(len(x))]),
                },
            )
        return (-float(found.fun), found.x) if -found.fun > value else (value, x)

    def starts(self, rng: np.random.Generator, count: int) -> Iterable[Array]:
        """The best of some random coordinates each time, the variance shared differently among the terms."""
        for k in range(count):
            tried = [self._anywhere(rng, 0.4 if k % 2 else 2.0) for _ in range(1 + k % TRIED)]
            yield min(tried, key=self.minus)

    def _anywhere(self, rng: np.random.Generator, evenness: float) -> Array:
        shares = rng.dirichlet(np.full(len(self.parts), evenness))
        return np.concatenate([p.shape.start(rng, max(s, 1e-4)) for p, s in zip(self.parts, shares, strict=True)])

    def maximum(self, rng: np.random.Generator, count: int, also: Iterable[Array] = ()) -> Peak:
        """The highest of the local maxima above those given and `count` random starts (of single-peaked models a
        third).

        A few rounds from every start show which are worth going on with.
        """
        single = all(p.shape.keyword in SINGLE for p in self.parts)
        begun = [self.climb(x, 1, ROUNDS) for x in self.starts(rng, -(-count // 3) if single else count)]
        begun = sorted(begun, key=lambda pair: -pair[0])
        best, where = -np.inf, np.ones(self.size)
        for start in (*also, *(x for _, x in distinct(begun)[:FINISHED])):
            value, x = self.climb(start)
            if value > best:
                best, where = value, x
            if np.isfinite(best) and self.least(self.theta(where)) < SINGULAR:
                break
        if np.isfinite(best) and not self.smooth:
            best, where = self.polish(where, best)
            again, x = self.climb(where)
            if again > best:
                best, where = again, x
        theta = self.theta(where)
        return Peak(where, theta, best, self.smallest_eigenvalue(theta), self.least(theta), self.indefinite)


def distinct(pairs: Sequence[tuple[float, Array]], apart: float = 1e-3) -> list[tuple[float, Array]]:
    """Of pairs (ℓ, x), highest first, those whose ℓ is not that of the one before."""
    return [pair for i, pair in enumerate(pairs) if i == 0 or pairs[i - 1][0] - pair[0] > apart]


def _total(terms: Sequence[Array], K: Array, whole: Sequence[bool]) -> Array:
    """K'VK from terms that are projected and those over the records."""
    full = [t for t, w in zip(terms, whole, strict=True) if w]
    M = np.sum([t for t, w in zip(terms, whole, strict=True) if not w], axis=0) if len(full) < len(terms) else 0.0
    return M + K.T @ np.sum(full, axis=0) @ K if full else M


def _inverse_root(M: Array) -> Array | None:
    """L⁻¹ with M = LL'; None where M is not positive definite."""
    L, info = scipy.linalg.lapack.dpotrf(M, lower=1)
    if info != 0 or not np.isfinite(L[-1, -1]):
        return None
    return np.asarray(scipy.linalg.lapack.dtrtri(L, lower=1)[0])


def _slope(part: Part, x: Array, sigma: Array, of_sigma: Array) -> Array:
    """∂ℓ/∂x of a part by differences of Σ."""
    out = np.empty(len(x))
    for i in range(len(x)):
        h = STEP * max(1.0, abs(x[i]))
        there = x.copy()
        there[i] += h
        out[i] = np.vdot(of_sigma, part.shape.matrix(part.shape.parameters(there)) - sigma) / h
    return out


def _inverse(shape: Shape, sigma: Array, size: Array) -> Array:
    """x whose Σ is nearest to `sigma`, from a few starts."""
    scale, at = np.outer(size, size), np.tril_indices(len(size))
    rng, best = np.random.default_rng(0), None
    for _ in range(4):
        found = scipy.optimize.least_squares(
            lambda x: ((shape.matrix(shape.parameters(x)) - sigma) / scale)[at],
            shape.start(rng, 1.0),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        )
        if best is None or found.cost < best.cost:
            best = found
        if best.cost < 1e-16:
            break
    return np.asarray(best.x)
