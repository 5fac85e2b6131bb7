"""One variance beside that of independent residuals: the likelihood along h², where all its maxima can be seen.

With V = σ²(h M + (1 − h) I) in the weights of the records, M = Z(S ⊗ K)Z', the best σ² at every h is known,

    ℓ(h) = −½ [N log y'Py + log|V| + log|X'V⁻¹X|] + a constant,   all at σ² = 1, N = n − p (n for ML),

so that ℓ is a function of one number. In x = log h/(1 − h) it is made of terms log(1 + λeˣ), one an eigenvalue λ:
between neighbouring points of a grid half a unit apart there is nothing to miss.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.small import eigensystem

# Distance of the points in x, and how far they go beyond the values where an eigenvalue counts as much as σ²_e.
APART, BEYOND = 0.5, 5.0
# Order up to which eigenvalues are found for this alone, and the other side of the matrix they are those of.
OWN, LONGER = 300, 2000
# h² of the ends of the line: R is singular at 1.
LAST = 1.0 - 1e-9

# ℓ at any number of h².
Profile = Callable[[Array], Array]


def maxima_along(equations: Equations, theta: Array, ml: bool) -> list[Array]:
    """θ of the maxima along h² that are higher than ℓ at `theta`, the highest first;
    none where the model has no such line."""
    spec = equations.spec
    if len(theta) != 2 or len(spec.random) != 1 or spec.residual.keyword != "units" or theta[0] < 0.0:
        return []
    line = of_engine(equations, ml) if equations.stats.engine == "spectral" else of_eigenvalues(equations, ml)
    if line is None:
        return []
    profile, scale, x, one = line
    if not len(x):
        return []
    here = share(one * float(theta[0]), float(theta[-1]))
    known = float(profile(np.array([here]))[0])
    grid = np.r_[0.0, 1.0 / (1.0 + np.exp(-x)), LAST]
    values = profile(grid)
    found = []
    for k in np.flatnonzero(peaks(values)):
        low, high = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
        if low < here < high and here not in (0.0, LAST):
            continue  # the maximum that is known
        h, value = refined(profile, low, high)
        if value > known + 1e-9 * (1.0 + abs(known)):
            found.append((value, h))
    return [scale(h) * np.array([h / one, 1.0 - h]) for _, h in sorted(found, reverse=True)]


def share(genetic: float, residual: float) -> float:
    """h², short of one."""
    return min(genetic / (genetic + residual), LAST)


def peaks(values: Array) -> np.ndarray:
    """Points no lower than their neighbours."""
    padded = np.r_[-np.inf, values, -np.inf]
    return (padded[1:-1] >= padded[:-2]) & (padded[1:-1] >= padded[2:]) & np.isfinite(values)


def refined(profile: Profile, low: float, high: float) -> tuple[float, float]:
    """(h, ℓ) of the highest point between two, on finer and finer grids."""
    for _ in range(8):
        h = np.linspace(low, high, 11)
        values = profile(h)
        k = int(np.argmax(values))
        low, high = h[max(k - 1, 0)], h[min(k + 1, 10)]
    return float(h[k]), float(values[k])


# ℓ along h, σ² at each, the points of the grid, and the unit of the variance: h/(1 − h) is that many σ²_u/σ²_e.
Line = tuple[Profile, Callable[[float], float], Array, float]


def unit(values: Array) -> float:
    """A unit in which eigenvalues are not too far from 1 for h and 1 − h to hold digits: a power of a million,
    mostly 1."""
    largest = float(values.max(initial=0.0))
    return 10.0 ** (6 * round(np.log10(largest) / 6)) if largest > 0.0 else 1.0


def of_engine(equations: Equations, ml: bool) -> Line | None:
    """The line by solving at each point."""
    spec = equations.spec
    N = spec.n if ml else spec.n - spec.p

    def at(h: float) -> tuple[float, float]:
        try:
            solution = equations.solve(np.array([h / one, 1.0 - h]), ml=ml)
        except NotPositiveDefiniteError:
            return -np.inf, 1.0
        quadratic = float(solution.quadratic)
        value = -0.5 * (N * np.log(quadratic) + equations.log_determinant(solution, ml)) if quadratic > 0.0 else -np.inf
        return value, quadratic / N

    values = float(spec.random[0].structure.covariance(np.ones(1))[0, 0]) * equations.basis.values  # type: ignore[attr-defined]
    one = unit(values)
    return lambda h: np.array([at(float(each))[0] for each in h]), lambda h: at(h)[1], points(values / one), one


def of_eigenvalues(equations: Equations, ml: bool) -> Line | None:
    """The line by the eigenvalues of the part of M that X leaves, where that is small work."""
    spec, design = equations.spec, equations.spec.random[0]
    Z = recorded(equations)
    if Z is None:
        return None
    root = np.sqrt(spec.weights)
    factor = design.structure.factor(np.ones(1))[0]
    Z = (factor.T @ Z).reshape(spec.n, -1)
    B, left = root[:, None] * Z, root[:, None] * equations.project_out(Z)
    y = root * equations.y[: spec.n]
    rounding = 1e-13 * float(np.vdot(B, B))
    values, squares = spectrum(left, y, rounding)
    rest = max(float(y @ y - squares.sum()), 0.0)
    of_all = spectrum(B, y, rounding)[0] if ml else values
    one = unit(of_all)
    of_all, values = of_all / one, values / one
    N = spec.n if ml else spec.n - spec.p
    total = float(y @ y)
    null = spec.n - spec.p - len(values)
    rest = 0.0 if null <= 0 or rest < 1e-13 * total else rest

    def quadratic(h: Array) -> Array:
        return np.asarray(np.sum(squares / (np.outer(h, values) + (1.0 - h)[:, None]), axis=1) + rest / (1.0 - h))

    def profile(h: Array) -> Array:
        logdet = np.sum(np.log(np.outer(h, of_all) + (1.0 - h)[:, None]), axis=1) + (N - len(of_all)) * np.log(1.0 - h)
        return np.asarray(-0.5 * (N * np.log(quadratic(h)) + logdet))

    return profile, lambda h: float(quadratic(np.array([h]))[0]) / N, points(values), one


def recorded(equations: Equations) -> Array | None:
    """(n, t, levels with records) Z_1 … Z_t of the one term, times B where K = BB' among these levels; None where their
    eigenvalues are not small work."""
    spec, design = equations.spec, equations.spec.random[0]
    if design.is_identity and isinstance(equations.W, np.ndarray) and design.t * design.q <= LONGER:
        return equations.W[: spec.n, equations.of_effects[0]].reshape(spec.n, design.t, design.q)
    filled = np.zeros(design.q, dtype=bool)
    for Z in design.columns:
        filled[Z.indices] = True
    used = filled.nonzero()[0]
    width = len(used) * design.t
    if width == 0 or min(spec.n, width) > OWN or max(spec.n, width) > LONGER:
        return None
    columns = [(Z if len(used) == design.q else sp.csr_array(Z[:, used])).toarray() for Z in design.columns]
    if not design.is_identity:
        K = square_root(np.asarray(design.relationship.among(used)))
        columns = [Z @ K for Z in columns]
    return np.stack(columns, axis=1)


def points(values: Array) -> Array:
    """x of the grid: from where the largest eigenvalue says nothing to where the smallest says all."""
    positive = values[values > 1e-8 * values.max(initial=0.0)]
    if not len(positive) or positive.min() > (1.0 - 1e-9) * positive.max():
        return np.zeros(0)  # one eigenvalue: one maximum
    low, high = -np.log(positive.max()) - BEYOND, -np.log(positive.min()) + BEYOND
    return np.arange(low, high + APART, APART)


def spectrum(B: Array, y: Array, rounding: float) -> tuple[Array, Array]:
    """Positive eigenvalues λ of BB', those above `rounding`, and (u'y)² for their eigenvectors u."""
    tall = B.shape[0] > B.shape[1]
    values, vectors = eigensystem(B.T @ B if tall else B @ B.T)
    kept = values > max(1e-11 * float(values[-1]), rounding)
    values, vectors = values[kept], vectors[:, kept]
    along = (vectors.T @ (B.T @ y)) / np.sqrt(values) if tall else vectors.T @ y
    return values, along**2


def square_root(K: Array) -> Array:
    """B with K = BB'."""
    try:
        return np.asarray(np.linalg.cholesky(K), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(K)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), np.float64)
