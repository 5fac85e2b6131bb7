"""Covariance structures from their textbook definitions, in coordinates that reach every matrix of them,
singular ones too.

A `Shape` is a map x → θ → Σ: θ in the order of `variance_components`, x free of bounds and of size one. Standard
deviations are |x| times a unit, correlations sin x, matrices LL' with any L: zero variances, correlations of ±1 and
singular matrices are ordinary points, which a search that knows no bounds can reach. Nothing of the package is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from remlblup.validation.dense import Array

Map = Callable[[Array], Array]


@dataclass(frozen=True)
class Shape:
    """One structure over its effects, or over the records where it is a residual without effects.

    Attributes
    ----------
    keyword : as written in a formula
    size : number of coordinates x
    parameters : x → θ, onto the closed parameter space
    matrix : θ → Σ
    kinds : (size,) "v" standard deviations and loadings, "r" correlations,
    "w" variances and "c" covariances without bounds
    """

    keyword: str
    size: int
    parameters: Map
    matrix: Map
    kinds: str

    def start(self, rng: np.random.Generator, share: float) -> Array:
        """Random coordinates: variances about `share` squared units, correlations anywhere."""
        x, sign = rng.normal(size=self.size), np.where(rng.random(self.size) < 0.5, -1.0, 1.0)
        of = {"v": sign * np.sqrt(share) * np.exp(0.5 * x), "w": share * np.exp(0.5 * x), "c": 0.3 * share * x, "r": x}
        return np.array([of[kind][i] for i, kind in enumerate(self.kinds)])


def make(
    keyword: str,
    units: Sequence[float],
    positions: Sequence[float] | None = None,
    k: int = 1,
    matrix: Array | None = None,
    constrain: bool = True,
) -> Shape:
    """The shape of a keyword over effects of which `units` are typical standard deviations.

    Parameters
    ----------
    units : (t,) typical standard deviation of each effect
    positions : (t,) where the effects lie, for ``exp`` (and ``ar1``, ``ar1h`` at uneven times)
    k : number of factors
    matrix : of ``known``
    constrain : if False, variances of structures linear in θ may be negative
    """
    u = np.asarray(units, float)
    t = len(u)
    one = float(np.exp(np.mean(np.log(u))))
    if not constrain and keyword in ("id", "diag", "us", "known"):
        return _unconstrained(keyword, u, matrix)
    if keyword in ("us", "corgh"):
        return _cholesky(keyword, u)
    if keyword in ("fa", "rr"):
        return _factors(keyword, u, k)
    if keyword == "corg":
        return Shape(
            "corg",
            1 + len(np.tril_indices(t)[0]),
            lambda x: np.r_[(one * x[0]) ** 2, spherical(x[1:], t)[np.tril_indices(t, -1)]],
            lambda p: p[0] * _with_unit_diagonal(p[1:], t),
            "v" + "r" * len(np.tril_indices(t)[0]),
        )
    variances = u if keyword in ("diag", "csh", "corh", "ar1h") else np.array([one])
    n = len(variances)
    correlations, count = _correlations(keyword, t, positions)

    def parameters(x: Array) -> Array:
        return np.concatenate(((variances * x[:n]) ** 2, correlations(x[n:])))

    return Shape(keyword, n + count, parameters, _matrix(keyword, t, positions, matrix), "v" * n + "r" * count)


def _correlations(keyword: str, t: int, positions: Sequence[float] | None) -> tuple[Map, int]:
    """x → correlations, and how many coordinates they have."""
    match keyword:
        case "id" | "diag" | "known":
            return (lambda x: np.zeros(0)), 0
        case "cs" | "csh" | "corh":
            least = -1.0 / (t - 1)
            return (lambda x: least + (1.0 - least) * 0.5 * (1.0 + np.sin(x))), 1
        case "ar1" | "ar1h":
            return np.sin, 1
        case "exp":
            gap = np.ptp(np.asarray(positions, float)) / (t - 1)
            return (lambda x: (0.5 * (1.0 + np.sin(x))) ** (1.0 / gap)), 1
        case "toep":
            return (lambda x: autocorrelations(np.sin(x))), t - 1
    raise ValueError(f"no definition of '{keyword}'")


def _matrix(keyword: str, t: int, positions: Sequence[float] | None, S: Array | None) -> Map:
    """θ → Σ."""
    same, lag = np.eye(t), np.abs(np.subtract.outer(np.arange(t), np.arange(t)))
    match keyword:
        case "id":
            return lambda p: p[0] * np.eye(t)
        case "diag":
            return np.diag
        case "known":
            return lambda p: p[0] * np.asarray(S, float)
        case "cs":
            return lambda p: p[0] * ((1.0 - p[1]) * same + p[1])
        case "csh" | "corh":
            return lambda p: np.outer(np.sqrt(p[:-1]), np.sqrt(p[:-1])) * ((1.0 - p[-1]) * same + p[-1])
        case "toep":
            return lambda p: p[0] * np.concatenate(([1.0], p[1:]))[lag]
    at = np.arange(float(t)) if positions is None else np.asarray(positions, float)
    distance = np.abs(np.subtract.outer(at, at))
    if keyword == "ar1h":
        return lambda p: np.outer(np.sqrt(p[:-1]), np.sqrt(p[:-1])) * p[-1] ** distance
    return lambda p: p[0] * p[1] ** distance


def _cholesky(keyword: str, u: Array) -> Shape:
    """``us`` as vech(Σ), ``corgh`` as variances and correlations; Σ = (DL)(DL)' with any lower triangular L."""
    t = len(u)
    lower = np.tril_indices(t)

    def sigma(x: Array) -> Array:
        L = np.zeros((t, t))
        L[lower] = x
        L = u[:, None] * L
        return L @ L.T

    kinds = "".join("v" if i == j else "r" for i, j in zip(*lower, strict=True))
    if keyword == "us":
        return Shape("us", len(kinds), lambda x: sigma(x)[lower], symmetric_of(t), kinds)

    strict = np.tril_indices(t, -1)

    def apart(x: Array) -> Array:
        S = sigma(x)
        s = np.sqrt(np.diag(S))
        inverse = np.divide(1.0, s, out=np.zeros_like(s), where=s > 0.0)
        return np.concatenate((s**2, (S * np.outer(inverse, inverse))[strict]))

    def together(p: Array) -> Array:
        return np.outer(np.sqrt(p[:t]), np.sqrt(p[:t])) * _with_unit_diagonal(p[t:], t)

    return Shape("corgh", len(kinds), apart, together, kinds)


def _factors(keyword: str, u: Array, k: int) -> Shape:
    """ΓΓ' + Ψ and ΓΓ': specific variances, then the loadings column by column, zero above the diagonal."""
    t = len(u)
    columns, rows = np.triu_indices(k, 0, t)
    specific = t if keyword == "fa" else 0

    def parameters(x: Array) -> Array:
        return np.concatenate(((u[:specific] * x[:specific]) ** 2, u[rows] * x[specific:]))

    def sigma(p: Array) -> Array:
        gamma = np.zeros((t, k))
        gamma[rows, columns] = p[specific:]
        return gamma @ gamma.T + (np.diag(p[:specific]) if specific else 0.0)

    size = specific + len(rows)
    return Shape(keyword, size, parameters, sigma, "v" * size)


def _unconstrained(keyword: str, u: Array, S: Array | None) -> Shape:
    """Structures linear in θ with no bounds: x times squared units."""
    t = len(u)
    if keyword == "us":
        lower = np.tril_indices(t)
        scale = np.outer(u, u)[lower]
        kinds = "".join("w" if i == j else "c" for i, j in zip(*lower, strict=True))
        return Shape(keyword, len(scale), lambda x: scale * x, symmetric_of(t), kinds)
    scale = u**2 if keyword == "diag" else np.array([np.exp(2.0 * np.mean(np.log(u)))])
    return Shape(keyword, len(scale), lambda x: scale * x, _matrix(keyword, t, None, S), "w" * len(scale))


def symmetric_of(t: int) -> Map:
    """Σ from its lower triangle row by row."""
    place = np.zeros((t, t), dtype=int)
    place[np.tril_indices(t)] = np.arange(t * (t + 1) // 2)
    place = np.maximum(place, place.T)
    return lambda p: p[place]


def spherical(x: Array, t: int) -> Array:
    """The correlation matrix LL' with the rows of the lower triangle x brought to length one (Pinheiro & Bates
    1996)."""
    L = np.zeros((t, t))
    L[np.tril_indices(t)] = x
    L /= np.maximum(np.linalg.norm(L, axis=1, keepdims=True), 1e-300)
    return L @ L.T


def _with_unit_diagonal(r: Array, t: int) -> Array:
    lower, R = np.tril_indices(t, -1), np.eye(t)
    R[lower] = r
    R.T[lower] = r
    return R


def autocorrelations(partial: Array) -> Array:
    """Correlations at lags 1, 2, … from partial ones (Durbin 1960):
    every positive semidefinite Toeplitz matrix has some."""
    rho: list[float] = []
    ahead = np.zeros(0)  # coefficients of the best linear predictor from the lags before
    rest = 1.0
    for pi in partial:
        rho.append(float(ahead @ np.array(rho[::-1])) + pi * rest)
        ahead = np.r_[ahead - pi * ahead[::-1], pi]
        rest *= 1.0 - pi * pi
    return np.array(rho)


# -- residuals over the records ----------------------------------------------------------------


def by_distance(unit: float, distance: Array, related: Array, gap: float) -> Shape:
    """``exp(x | subject)``: v r^|x_i − x_j| within a subject, r ≥ 0 the correlation at distance one."""
    return Shape(
        "exp",
        2,
        lambda x: np.array([(unit * x[0]) ** 2, (0.5 * (1.0 + np.sin(x[1]))) ** (1.0 / gap)]),
        lambda p: p[0] * related * p[1] ** distance,
        "vr",
    )


def power(unit: float, covariate: Array, weights: Array) -> Shape:
    """``power(x)``: v |x|^2δ / w."""
    log = np.log(np.abs(covariate))
    return Shape(
        "power",
        2,
        lambda x: np.array([(unit * x[0]) ** 2, x[1]]),
        lambda p: np.diag(p[0] * np.exp(np.clip(2.0 * p[1] * log, -300.0, 300.0)) / weights),
        "vr",
    )


def field(unit: float, distances: Sequence[Array]) -> Shape:
    """``ar1(row):ar1(col)``: v r_row^|Δrow| r_col^|Δcol|; one correlation for each matrix of distances."""

    def matrix(p: Array) -> Array:
        out = np.full_like(distances[0], p[0])
        for r, d in zip(p[1:], distances, strict=True):
            out = out * r**d
        return out

    return Shape(
        "field",
        1 + len(distances),
        lambda x: np.r_[(unit * x[0]) ** 2, np.sin(x[1:])],
        matrix,
        "v" + "r" * len(distances),
    )


def records(unit: float, weights: Array, constrain: bool = True) -> Shape:
    """``units``: v diag(1/w)."""
    inverse = np.diag(1.0 / weights)
    return Shape(
        "units",
        1,
        (lambda x: (unit * x) ** 2) if constrain else (lambda x: unit**2 * x),
        lambda p: p[0] * inverse,
        "v" if constrain else "w",
    )


def beside(shapes: Sequence[Shape], rows: Sequence[Array]) -> Shape:
    """``… | trial``: one shape over the records for each section, independent of the others."""
    ends = np.cumsum([0, *(s.size for s in shapes)])
    first = [s.parameters(np.ones(s.size)) for s in shapes]
    cuts = np.cumsum([len(p) for p in first])[:-1]
    n = sum(map(len, rows))

    def matrix(p: Array) -> Array:
        out = np.zeros((n, n))
        for shape, part, at in zip(shapes, np.split(p, cuts), rows, strict=True):
            out[np.ix_(at, at)] = shape.matrix(part)
        return out

    return Shape(
        "sections",
        int(ends[-1]),
        lambda x: np.concatenate([s.parameters(x[a:b]) for s, a, b in zip(shapes, ends[:-1], ends[1:], strict=True)]),
        matrix,
        "".join(s.kinds for s in shapes),
    )
