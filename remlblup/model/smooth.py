"""Smooth functions as random terms: ``spl(x)``, a cubic smoothing spline, and ``pspline(row, col)``, a surface.

**spl(x)** (Green & Silverman 1994; Verbyla et al. 1999, Appl. Statist. 48:269). The natural cubic spline with
values f at the knots has ∫f″² = f'Q R⁻¹ Q'f, Q and R banded in the distances of the knots. So
f = (straight line) + Q(Q'Q)⁻¹L u with LL' = R has ∫f″² = u'u: with u ~ N(0, σ² I) the BLUP of the curve is the
smoothing spline of penalty σ_e²/σ². The straight line is the user's fixed part.

**pspline(row, col)** (Lee, Durbán & Eilers 2013, CSDA 61:22; SpATS, Rodríguez-Álvarez et al. 2018, Spatial
Statistics 23:52). B is a cubic B-spline basis on equal segments, D'D = U diag(d) U' its penalty of second
differences, Z = B U_s d_s^(−1/2) the part that is penalised. The surface is the plane row + col + row:col, fixed,
and five random components of one variance each: f(row), f(col), f(row):col, row:f(col) and f(row):f(col), the
last with penalty d_row ⊗ 1 + 1 ⊗ d_col.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import FormulaError, ModelError, some
from remlblup.model.design import RandomDesign
from remlblup.model.frame import numeric_column
from remlblup.model.terms import SmoothTerm
from remlblup.relationship.base import IdentityRelationship
from remlblup.structure.covariance.identity import Identity

# Knots of spl() where x has more distinct values, and segments of pspline().
MOST_KNOTS = 50
SEGMENTS = 10
DEGREE = 3
# More knots than this, or coefficients of a surface, are a slip: Z is dense.
LARGEST_SPLINE, LARGEST_SURFACE = 5_000, 20_000


class Smooth(Protocol):
    """How to make Z of a smooth term from the covariates of any records."""

    @property
    def variables(self) -> tuple[str, ...]: ...

    def rows(self, frame: pd.DataFrame) -> Array:
        """Z, shape (n, q)."""
        ...


def smooth_designs(term: SmoothTerm, frame: pd.DataFrame) -> list[RandomDesign]:
    """The random terms a smooth term stands for."""
    if term.function == "spl":
        (variable,) = term.variables
        return [_design(term.name, "curve", Spline(variable, spline_knots(term, frame)), frame)]
    row, col = (margin(term, k, frame) for k in range(2))
    return [
        _design(f"{term.name}: {Surface.label(row, col, part)}", "surface", Surface(row, col, part), frame)
        for part in Surface.PARTS
    ]


def _design(name: str, effect: str, smooth: Smooth, frame: pd.DataFrame) -> RandomDesign:
    Z = smooth.rows(frame)
    moments = np.array([[float(np.sum(Z * Z)) / len(Z)]])
    levels = IdentityRelationship(np.arange(1, Z.shape[1] + 1))
    return RandomDesign(name, Identity((effect,)), levels, (sp.csr_array(Z),), moments, None, smooth)


# -- spl ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spline:
    """Natural cubic spline through knots; linear beyond the first and the last."""

    variable: str
    knots: tuple[float, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        return (self.variable,)

    @cached_property
    def _at_knots(self) -> tuple[Array, Array]:
        """Values f and second derivatives γ at the knots of each column of Z, both (q, q − 2)."""
        t = np.array(self.knots)
        h, q = np.diff(t), len(t)
        j = np.arange(q - 2)
        Q = np.zeros((q, q - 2))
        Q[j, j], Q[j + 1, j], Q[j + 2, j] = 1 / h[:-1], -1 / h[:-1] - 1 / h[1:], 1 / h[1:]
        R = np.diag((h[:-1] + h[1:]) / 3) + np.diag(h[1:-1] / 6, 1) + np.diag(h[1:-1] / 6, -1)
        L = np.linalg.cholesky(R)
        gamma = np.zeros((q, q - 2))
        gamma[1:-1] = scipy.linalg.solve_triangular(L, np.eye(q - 2), lower=True, trans="T")
        return Q @ np.linalg.solve(Q.T @ Q, L), gamma

    def rows(self, frame: pd.DataFrame) -> Array:
        return self.at(numeric_column(frame, self.variable, "covariate"))

    def at(self, x: Array) -> Array:
        """Z at x, shape (n, q − 2)."""
        t = np.array(self.knots)
        f, gamma = self._at_knots
        inside = np.clip(x, t[0], t[-1])
        k = np.clip(np.searchsorted(t, inside, side="right") - 1, 0, len(t) - 2)
        h, left, right = (t[k + 1] - t[k])[:, None], (inside - t[k])[:, None], (t[k + 1] - inside)[:, None]
        bend = (1 + left / h) * gamma[k + 1] + (1 + right / h) * gamma[k]
        values = (left * f[k + 1] + right * f[k]) / h - left * right / 6 * bend
        slope_low = (f[1] - f[0]) / (t[1] - t[0]) - (t[1] - t[0]) / 6 * gamma[1]
        slope_high = (f[-1] - f[-2]) / (t[-1] - t[-2]) + (t[-1] - t[-2]) / 6 * gamma[-2]
        low, high = np.minimum(x - t[0], 0.0)[:, None], np.maximum(x - t[-1], 0.0)[:, None]
        return np.asarray(values + low * slope_low + high * slope_high)


def spline_knots(term: SmoothTerm, frame: pd.DataFrame) -> tuple[float, ...]:
    """The knots: given, or the distinct values of x, or equally spaced where these are too many."""
    (variable,) = term.variables
    distinct = np.unique(numeric_column(frame, variable, "covariate"))
    if len(distinct) < 3:
        raise ModelError(
            f"'{term.name}' needs three distinct values of '{variable}' or more; there are {len(distinct)}: a straight"
            " line in the fixed part is all they can show."
        )
    knots: Any = dict(term.options).get("knots", MOST_KNOTS)
    if isinstance(knots, (tuple, list)):
        numbers = [k for k in knots if isinstance(k, (int, float))]
        if len(numbers) < len(knots) or len(set(numbers)) < 3:
            raise FormulaError(f"'{term.name}': knots must be three different numbers or more.")
        return tuple(sorted(set(map(float, numbers))))
    if not _whole(knots) or knots < 3:
        raise FormulaError(f"'{term.name}': knots must be a whole number, 3 or more, or the knots themselves.")
    if "knots" in dict(term.options) and knots > min(len(distinct), LARGEST_SPLINE):
        raise FormulaError(
            f"'{term.name}': {knots:,} knots are more than the {len(distinct):,} different values of '{variable}' show,"
            f" or than {LARGEST_SPLINE:,}: give fewer, or leave out knots=."
        )
    places = distinct if len(distinct) <= knots else np.linspace(distinct[0], distinct[-1], knots)
    return tuple(map(float, places))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# -- pspline -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Margin:
    """The B-spline basis of one axis on equal segments of [low, high], split by its penalty."""

    variable: str
    low: float
    high: float
    segments: int

    @property
    def size(self) -> int:
        """Number m of B-splines."""
        return self.segments + DEGREE

    @property
    def step(self) -> float:
        return (self.high - self.low) / self.segments

    @cached_property
    def _penalty(self) -> tuple[Array, Array]:
        """Eigenvectors (m, m − 2) and positive eigenvalues of D'D."""
        D = np.diff(np.eye(self.size), 2, axis=0)
        values, vectors = np.linalg.eigh(D.T @ D)
        return vectors[:, 2:], values[2:]

    @property
    def d(self) -> Array:
        """The positive eigenvalues of the penalty."""
        return self._penalty[1]

    def curved(self, frame: pd.DataFrame) -> Array:
        """B U_s, shape (n, m − 2); the polynomials of the outer segments go on beyond [low, high]."""
        from scipy.interpolate import BSpline

        x = numeric_column(frame, self.variable, "covariate")
        knots = self.low + self.step * np.arange(-DEGREE, self.segments + DEGREE + 1)
        return np.asarray(BSpline(knots, self._penalty[0], DEGREE, extrapolate=True)(x))

    def straight(self, frame: pd.DataFrame) -> Array:
        """The straight line, zero at the middle, whose B-spline coefficients have length 1 (as in SpATS)."""
        x, m = numeric_column(frame, self.variable, "covariate"), self.size
        return (x - 0.5 * (self.low + self.high)) / (self.step * np.sqrt(m * (m * m - 1) / 12.0))


@dataclass(frozen=True)
class Surface:
    """One of the five random components of a P-spline surface."""

    row: Margin
    col: Margin
    part: tuple[bool | None, bool | None]

    # Curved in row and in col; None where a variable has no part.
    PARTS: ClassVar[tuple[tuple[bool | None, bool | None], ...]] = (
        (True, None),
        (None, True),
        (True, False),
        (False, True),
        (True, True),
    )

    @property
    def variables(self) -> tuple[str, ...]:
        return (self.row.variable, self.col.variable)

    @staticmethod
    def label(row: Margin, col: Margin, part: tuple) -> str:
        """``f(row):col`` and so on."""
        words = [
            f"f({m.variable})" if curved else m.variable
            for m, curved in zip((row, col), part, strict=True)
            if curved is not None
        ]
        return ":".join(words)

    def rows(self, frame: pd.DataFrame) -> Array:
        columns, penalty = np.ones((len(frame), 1)), np.zeros(1)
        for axis, curved in zip((self.row, self.col), self.part, strict=True):
            if curved is None:
                continue
            own = axis.curved(frame) if curved else axis.straight(frame)[:, None]
            columns = np.einsum("ni,nj->nij", columns, own).reshape(len(frame), -1)
            penalty = np.add.outer(penalty, axis.d if curved else np.zeros(1)).ravel()
        return columns / np.sqrt(penalty)


def margin(term: SmoothTerm, k: int, frame: pd.DataFrame) -> Margin:
    """The basis of one axis; `knots` gives the number of segments of both axes or of each."""
    variable = term.variables[k]
    x = numeric_column(frame, variable, "covariate")
    if len(np.unique(x)) < 3:
        raise ModelError(f"'{term.name}' needs three distinct values of '{variable}' or more to bend a surface.")
    knots: Any = dict(term.options).get("knots", SEGMENTS)
    both = tuple(knots) if isinstance(knots, (tuple, list)) else (knots, knots)
    if len(both) != 2 or not all(_whole(v) and v >= 1 for v in both):
        raise FormulaError(
            f"'{term.name}': knots={some([knots])} must be the number of segments, as in knots=10 or knots=(10, 15)."
        )
    if np.prod([float(v) + DEGREE for v in both]) > LARGEST_SURFACE:
        raise FormulaError(
            f"'{term.name}': knots={some([knots])} make a surface of more than {LARGEST_SURFACE:,} coefficients: "
            "give fewer."
        )
    return Margin(variable, float(x.min()), float(x.max()), int(both[k]))
