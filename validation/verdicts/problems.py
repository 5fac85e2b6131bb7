"""Random small models, each with the parts of V that the oracle needs, written from the definition of the model.

Everything about problem k of a seed is a function of (seed, k): its kind, design, relationship, response, method. True
variances are often zero and correlations often one, designs are small, incomplete and at times confounded, and the
response is in units of 1e±8 now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from formulaic import model_matrix

from remlblup import MixedModel
from remlblup.validation.dense import Array
from remlblup.validation.verdicts.oracle import Oracle, Part
from remlblup.validation.verdicts.shapes import Shape, make

#: Structures by what stands in front of the bar: numbers in their order, or names.
OF_TIMES = ("ar1", "ar1h", "toep", "exp")
OF_NAMES = ("id", "diag", "us", "cs", "csh", "corh", "corg", "corgh", "fa", "rr", "known")


@dataclass(frozen=True)
class Problem:
    """One model with its data and its oracle.

    Attributes
    ----------
    label : kind, seed and number
    formula, data, relationships, residual, weights : as `MixedModel` takes them
    oracle : V by definition and the search for its maximum
    method, constrain : as `MixedModel.fit` takes them
    engines : those to compare
    """

    label: str
    formula: str
    data: pd.DataFrame
    oracle: Oracle
    residual: str = "units"
    relationships: Mapping[str, object] = field(default_factory=dict)
    weights: str | None = None
    method: str = "REML"
    constrain: bool = True
    engines: tuple[str, ...] = ("auto",)

    def model(self, engine: str = "auto") -> MixedModel:
        return MixedModel(
            self.formula, self.data, dict(self.relationships) or None, self.residual, self.weights, engine=engine
        )


@dataclass
class Draft:
    """What a kind of model says of itself; `finished` makes it a `Problem`.

    Attributes
    ----------
    fixed : the fixed part of the formula
    rows : (n,) records in the order of the model's y
    y : (n,) response
    terms : (formula, shape from units, products) of the random terms
    residual : the text, and R's part
    """

    fixed: str
    rows: pd.DataFrame
    y: Array
    terms: list[Part]
    residual_text: str
    residual: Part
    data: pd.DataFrame | None = None
    response: str = "y"
    relationships: dict[str, object] = field(default_factory=dict)
    weights: str | None = None
    engines: tuple[str, ...] = ("auto",)
    constrain: bool = True
    text: str | None = None


def finished(draft: Draft, label: str, method: str) -> Problem:
    """The problem of a draft."""
    text = draft.text or " + ".join([draft.fixed, *(p.name for p in draft.terms if p.name != "units")])
    data = draft.rows.assign(y=draft.y) if draft.data is None else draft.data
    oracle = Oracle(draft.y, fixed_columns(draft.fixed, draft.rows), [*draft.terms, draft.residual], method == "ML")
    return Problem(
        label,
        f"{draft.response} ~ {text}",
        data,
        oracle,
        draft.residual_text,
        draft.relationships,
        draft.weights,
        method,
        draft.constrain,
        draft.engines,
    )


def fixed_columns(fixed: str, rows: pd.DataFrame) -> Array:
    """X, cut to independent columns in their order."""
    X = model_matrix(fixed, rows).to_numpy(float)
    kept: list[int] = []
    basis = np.zeros((len(X), 0))
    for j, column in enumerate(X.T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        if np.linalg.norm(rest) > 1e-8 * max(np.linalg.norm(column), 1e-300):
            kept.append(j)
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
    return X[:, kept]


def products(W: Array, kernel: Array) -> Array:
    """W_a W_b' ∘ kernel, (t, t, n, n): effects of levels with that covariance between the records' levels."""
    return np.einsum("ia,jb,ij->abij", W, W, kernel)


def same(codes: Array) -> Array:
    """1 where two records have the same level."""
    return (np.asarray(codes)[:, None] == np.asarray(codes)).astype(float)


def incidence(codes: Array, t: int) -> Array:
    """(n, t) indicator of each record's level."""
    return np.eye(t)[np.asarray(codes)]


def names(prefix: str, codes: Array) -> list[str]:
    return [f"{prefix}{c:02d}" for c in codes]


# -- what is drawn -----------------------------------------------------------------------------


def choose(rng: np.random.Generator, of: Sequence) -> object:
    return of[int(rng.integers(len(of)))]


def true_matrix(rng: np.random.Generator, t: int) -> Array:
    """A true Σ: full, without one of the variances, of rank one, zero, or of small correlation."""
    kind = rng.choice(["full", "hole", "one", "none", "diagonal"], p=[0.35, 0.15, 0.2, 0.15, 0.15])
    s = np.exp(rng.normal(0.0, 0.5, t))
    if kind == "none":
        return np.zeros((t, t))
    if kind == "one":
        return np.outer(s, s)
    if kind == "diagonal":
        return np.diag(s**2)
    L = rng.normal(size=(t, t + 1))
    S = L @ L.T
    d = s / np.sqrt(np.diag(S))
    if kind == "hole":
        d[rng.integers(t)] = 0.0
    return S * np.outer(d, d)


def drawn(rng: np.random.Generator, V: Array) -> Array:
    """N(0, V) for a V that may be singular."""
    values, vectors = np.linalg.eigh(V)
    return vectors @ (np.sqrt(np.maximum(values, 0.0)) * rng.normal(size=len(V)))


def rounded(rng: np.random.Generator, y: Array) -> Array:
    """At times to one digit or to whole numbers, as records are."""
    digits = choose(rng, (None, None, 1, 0))
    out = y if digits is None else np.round(y, digits)
    return out if np.ptp(out) > 0.0 else y


def scale(rng: np.random.Generator) -> float:
    """The unit of the response."""
    return float(10.0 ** int(rng.choice([0, 0, 0, 0, 0, 0, -8, 8, -3, 4])))


def related(rng: np.random.Generator, q: int) -> tuple[str, Array]:
    """A relationship of q levels: families, a pedigree's, of markers (singular when few), or banded."""
    kind = str(choose(rng, ("families", "sires", "markers", "few markers", "line", "near one")))
    at = np.arange(q)
    if kind == "families":
        return kind, 0.5 * np.eye(q) + 0.5 * same(at // int(rng.integers(2, 6)))
    if kind == "sires":
        return kind, 0.75 * np.eye(q) + 0.25 * same(at % max(2, q // 4))
    if kind == "line":
        return kind, 0.6 ** np.abs(np.subtract.outer(at, at))
    if kind == "near one":
        return kind, 0.98 * same(at // 2) + 0.02 * np.eye(q)
    M = rng.integers(0, 3, (q, 3 * q if kind == "markers" else max(2, q // 2))).astype(float)
    M -= M.mean(axis=0)
    return kind, M @ M.T / max(np.mean(M**2) * M.shape[1], 1e-12)


def frame(K: Array, labels: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(K, index=list(labels), columns=list(labels))


def build(
    keyword: str, units: Array, rng: np.random.Generator, positions: Array | None = None, constrain: bool = True
) -> tuple[Shape, str, Array | None]:
    """The shape of a keyword, its option in the formula, and the matrix of ``known``."""
    t, k, S = len(units), 1, None
    option = ""
    if keyword in ("fa", "rr"):
        most = t if keyword == "rr" else max(k for k in range(1, t) if t + t * k - k * (k - 1) // 2 <= t * (t + 1) // 2)
        k = int(rng.integers(1, min(most, 2) + 1))
        option = f", k={k}"
    if keyword == "known":
        S = 0.4 * np.eye(t) + 0.6
        option = ", matrix=S"
    at = positions if keyword in ("exp", "ar1", "ar1h") else None
    return make(keyword, units, at, k, S, constrain), option, S


def fits(keyword: str, t: int) -> bool:
    """Whether a structure has a meaning over t effects."""
    return t >= 3 if keyword == "fa" else t >= 2


Kind = Callable[[np.random.Generator], Draft]
