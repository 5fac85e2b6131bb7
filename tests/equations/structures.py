"""Models with every covariance structure and every residual, each beside Σ(θ) and R(φ) written from the definition.

`random_case` has a structure over four sites or times within a term; `residual_case` a residual structure beside
``(1 | g)``. Σ and R take complex parameters, so that the oracle can differentiate them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from oracle import GeneralOracle, Part, dummies

import remlblup as rb
from equations.models import animals
from remlblup.equations.henderson.engine import MixedModelEquations

SITES = ("a", "b", "c", "d")
TIMES = np.array([0.0, 1.0, 2.5, 3.0])


def in_order(code) -> pd.Categorical:
    """Sites by their codes, in the order in which `ar1` and `toep` take them."""
    return pd.Categorical.from_codes(code, SITES, ordered=True)


@dataclass(frozen=True)
class Case:
    """One model in both forms, with a point θ inside the parameter space."""

    model: rb.MixedModel
    oracle: GeneralOracle
    theta: np.ndarray

    def equations(self, engine: str) -> MixedModelEquations:
        return _equations(self, engine)


_BUILT: dict[tuple[int, str], MixedModelEquations] = {}


def _equations(case: Case, engine: str) -> MixedModelEquations:
    key = (id(case), engine)  # the cases are cached for good
    if key not in _BUILT:
        _BUILT[key] = MixedModelEquations(case.model.specification, engine)
    return _BUILT[key]


# -- Σ(θ) by the definitions ---------------------------------------------------------------------


def constant(value: np.ndarray) -> Callable:
    return lambda theta: theta[0] * value


def lower_triangle(t: int) -> Callable:
    """θ the lower triangle row by row."""

    def sigma(theta):
        S = np.zeros((t, t), dtype=np.asarray(theta).dtype)
        rows, columns = np.tril_indices(t)
        S[rows, columns] = S[columns, rows] = theta
        return S

    return sigma


def homogeneous(correlation: Callable) -> Callable:
    """v R(ρ)."""
    return lambda theta: theta[0] * correlation(theta[1:])


def heterogeneous(correlation: Callable, t: int) -> Callable:
    """R_ij √(v_i v_j)."""

    def sigma(theta):
        s = np.sqrt(theta[:t])
        return correlation(theta[t:]) * np.multiply.outer(s, s)

    return sigma


def equal(t: int) -> Callable:
    return lambda rho: np.eye(t) + rho[0] * (1.0 - np.eye(t))


def power_of(places) -> Callable:
    distance = np.abs(np.subtract.outer(places, places))
    return lambda rho: rho[0] ** distance


def falling(places, function: Callable) -> Callable:
    """c(|x_i − x_j|/φ)."""
    distance = np.abs(np.subtract.outer(places, places))
    return lambda rho: function(distance / rho[0])


def by_lag(t: int) -> Callable:
    lag = np.abs(np.subtract.outer(np.arange(t), np.arange(t)))
    return lambda rho: np.concatenate([[1.0], rho])[lag]


def by_pair(t: int) -> Callable:
    """R with its lower triangle row by row."""

    def correlation(rho):
        R = np.eye(t, dtype=np.asarray(rho).dtype)
        rows, columns = np.tril_indices(t, -1)
        R[rows, columns] = R[columns, rows] = rho
        return R

    return correlation


def loadings(t: int, k: int) -> Callable:
    """Γ (t, k) column by column, zero above its diagonal."""

    def gamma(theta):
        G = np.zeros((t, k), dtype=np.asarray(theta).dtype)
        columns, rows = np.triu_indices(k, 0, t)
        G[rows, columns] = theta
        return G

    return gamma


def reduced(t: int, k: int) -> Callable:
    return lambda theta: loadings(t, k)(theta) @ loadings(t, k)(theta).T


def factor_analytic(t: int, k: int) -> Callable:
    return lambda theta: np.diag(theta[:t]) + reduced(t, k)(theta[t:])


KNOWN = np.array([[2.0, 0.5, 0.3, 0.1], [0.5, 1.0, -0.2, 0.0], [0.3, -0.2, 1.5, 0.4], [0.1, 0.0, 0.4, 0.7]])
SINGULAR = np.outer([1.0, 0.5, -1.0, 2.0], [1.0, 0.5, -1.0, 2.0]) + np.outer([0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0])
LOADS = [0.8, 0.9, -0.4, 0.5]

# How it is written, over what, Σ(θ), θ.
STRUCTURED: dict[str, tuple[str, str, Callable, list[float]]] = {
    "id": ("id({} | {})", "site", constant(np.eye(4)), [0.9]),
    "diag": ("diag({} | {})", "site", lambda v: v[:, None] * np.eye(4), [0.4, 1.7, 0.9, 0.2]),
    "us": ("us({} | {})", "site", lower_triangle(4), [1.2, 0.3, 0.8, -0.2, 0.1, 1.5, 0.4, 0.2, -0.3, 0.9]),
    "cs": ("cs({} | {})", "site", homogeneous(equal(4)), [1.3, -0.2]),
    "csh": ("csh({} | {})", "site", heterogeneous(equal(4), 4), [0.4, 1.7, 0.9, 2.0, 0.4]),
    "corh": ("corh({} | {})", "site", heterogeneous(equal(4), 4), [0.4, 1.7, 0.9, 2.0, -0.2]),
    "ar1": ("ar1({} | {})", "site", homogeneous(power_of(np.arange(4))), [1.3, -0.6]),
    "ar1h": ("ar1h({} | {})", "site", heterogeneous(power_of(np.arange(4)), 4), [0.4, 1.7, 0.9, 2.0, 0.7]),
    "exp": ("exp({} | {})", "time", homogeneous(power_of(TIMES)), [1.3, 0.3]),
    "toep": ("toep({} | {})", "site", homogeneous(by_lag(4)), [1.3, 0.5, -0.1, -0.3]),
    "corg": ("corg({} | {})", "site", homogeneous(by_pair(4)), [1.3, 0.5, -0.1, -0.3, 0.2, 0.4, -0.5]),
    "corgh": ("corgh({} | {})", "site", heterogeneous(by_pair(4), 4),
              [0.4, 1.7, 0.9, 2.0, 0.5, -0.1, -0.3, 0.2, 0.4, -0.5]),
    "fa": ("fa({} | {}, k=1)", "site", factor_analytic(4, 1), [0.4, 0.3, 0.5, 0.1, *LOADS]),
    "rr": ("rr({} | {}, k=1)", "site", reduced(4, 1), LOADS),
    "rr2": ("rr({} | {}, k=2)", "site", reduced(4, 2), [*LOADS, 0.7, -0.6, 0.3]),
    "rr4": ("rr({} | {}, k=4)", "site", reduced(4, 4), [*LOADS, 0.7, -0.6, 0.3, 0.5, 0.2, 0.3]),
    "gau": ("gau({} | {})", "time", homogeneous(falling(TIMES, lambda h: np.exp(-h * h))), [1.3, 1.6]),
    "sph": ("sph({} | {})", "time",
            homogeneous(falling(TIMES, lambda h: np.where(h.real < 1.0, 1.0 - 1.5 * h + 0.5 * h**3, 0.0))), [1.3, 2.2]),
    "lin": ("lin({} | {})", "time", homogeneous(falling(TIMES, lambda h: np.where(h.real < 1.0, 1.0 - h, 0.0))),
            [1.3, 2.2]),
    "ratio": ("ratio({} | {})", "time", homogeneous(falling(TIMES, lambda h: 1.0 / (1.0 + h * h))), [1.3, 1.1]),
    "mat": ("mat({} | {}, nu=1.5)", "time",
            homogeneous(falling(TIMES, lambda h: (1.0 + np.sqrt(3.0) * h) * np.exp(-np.sqrt(3.0) * h))), [1.3, 1.1]),
    "known": ("known({} | {}, matrix=S)", "site", constant(KNOWN), [0.9]),
    "known_singular": ("known({} | {}, matrix=S)", "site", constant(SINGULAR), [0.9]),
}  # fmt: skip
ANIMAL = "vm(animal, A)"


def _fixed(spec) -> np.ndarray:
    X = spec.fixed.matrix
    return X if isinstance(X, np.ndarray) else X.toarray()


@cache
def random_case(name: str, relationship: str) -> Case:
    """y ~ x + structure(site | g) or (site | vm(animal, A)), residual="units"."""
    text, effect, sigma, theta = STRUCTURED[name]
    known = {"S": SINGULAR if name == "known_singular" else KNOWN}
    rng = np.random.default_rng(3)
    if relationship == "pedigree":
        d, pedigree, A, ids = animals(5)
        d = pd.concat([d, d.sample(25, random_state=1)], ignore_index=True)
        level, K, known["A"] = d["ak"].to_numpy(), A, pedigree
        group = ANIMAL
    else:
        d = pd.DataFrame({"g": rng.integers(0, 9, 55)})
        d.loc[:8, "g"] = range(9)
        d["x"] = rng.normal(size=55)
        level, K, group = d["g"].to_numpy(), np.eye(9), "g"
    code = rng.integers(0, 4, len(d))
    code[:4] = range(4)
    root = np.linalg.cholesky(sigma(np.array(theta)) + 0.05 * np.eye(4))
    u = np.linalg.cholesky(K) @ rng.normal(size=(len(K), 4)) @ root.T
    d["y"] = 5 + 0.7 * d["x"] + u[level, code] + rng.normal(0, 0.9, len(d))
    d["site"], d["time"] = in_order(code), TIMES[code]
    model = rb.MixedModel(f"y ~ x + {text.format(effect, group)}", d, relationships=known)
    spec = model.specification
    if relationship == "pedigree":  # in the order of the package's labels
        row = {label: k for k, label in enumerate(ids)}
        order = np.array([row[label] for label in spec.random[0].relationship.labels])
        K, level = A[np.ix_(order, order)], np.argsort(order)[level]
    Z = dummies(level, len(K))
    part = Part([Z * (code == i)[:, None] for i in range(4)], K, sigma, len(theta))
    oracle = GeneralOracle(d["y"].to_numpy(), _fixed(spec), [part], lambda phi: phi[0] * np.eye(len(d)))
    return Case(model, oracle, np.array([*theta, 0.8]))


# -- R(φ) by the definitions -----------------------------------------------------------------------


def within(unit, place, sigma: Callable) -> Callable:
    """Σ_ij between the records of one unit, i and j the effects they are of."""
    same = np.equal.outer(unit, unit)
    index = np.ix_(place, place)
    return lambda phi: same * sigma(phi)[index]


def distance_within(unit, x) -> Callable:
    same, distance = np.equal.outer(unit, unit), np.abs(np.subtract.outer(x, x))
    return lambda phi: phi[0] * same * phi[1] ** distance


def separable(row, column) -> Callable:
    rows, columns = (np.abs(np.subtract.outer(z, z)) for z in (row, column))
    return lambda phi: phi[0] * phi[1] ** rows * phi[2] ** columns


def sections(section, size: int, make: Callable) -> Callable:
    """The direct sum over the sections of R made for the records of each."""
    labels = sorted(set(section))
    at = [np.flatnonzero(section == label) for label in labels]
    parts = [make(index) for index in at]

    def R(phi):
        out = np.zeros((len(section), len(section)), dtype=np.asarray(phi).dtype)
        for k, (index, part) in enumerate(zip(at, parts, strict=True)):
            out[np.ix_(index, index)] = part(phi[size * k : size * (k + 1)])
        return out

    return R


BLOCKS = {
    "us": (lower_triangle(4), [1.2, 0.3, 0.8, -0.2, 0.1, 1.5, 0.4, 0.2, -0.3, 0.9]),
    "cs": (homogeneous(equal(4)), [1.3, -0.2]),
    "csh": (heterogeneous(equal(4), 4), [0.4, 1.7, 0.9, 2.0, 0.4]),
    "ar1": (homogeneous(power_of(np.arange(4))), [1.3, -0.6]),
    "ar1h": (heterogeneous(power_of(np.arange(4)), 4), [0.4, 1.7, 0.9, 2.0, 0.7]),
    "toep": (homogeneous(by_lag(4)), [1.3, 0.5, -0.1, -0.3]),
    "corg": (homogeneous(by_pair(4)), [1.3, 0.5, -0.1, -0.3, 0.2, 0.4, -0.5]),
    "corgh": (heterogeneous(by_pair(4), 4), [0.4, 1.7, 0.9, 2.0, 0.5, -0.1, -0.3, 0.2, 0.4, -0.5]),
    "fa": (factor_analytic(4, 1), [0.4, 0.3, 0.5, 0.1, *LOADS]),
    "id": (constant(np.eye(4)), [0.8]),
    "known": (constant(KNOWN), [0.8]),
}


def visits(seed: int = 2) -> pd.DataFrame:
    """16 subjects of 5 groups, up to 4 visits each, some missing, in random order; a trial, a weight, uneven times."""
    rng = np.random.default_rng(seed)
    subject, visit = np.divmod(np.arange(64), 4)
    keep = rng.uniform(size=64) < 0.75
    keep[:4] = keep[32:36] = True
    d = pd.DataFrame({"subject": subject, "vk": visit})[keep].sample(frac=1, random_state=1).reset_index(drop=True)
    n = len(d)
    d["site"], d["g"], d["trial"] = in_order(d["vk"]), d["subject"] % 5, np.where(d["subject"] < 8, "t1", "t2")
    d["t"] = d["vk"] + np.round(rng.uniform(0, 0.8, n), 2)
    d["x"], d["w"], d["z"] = rng.normal(size=n), rng.uniform(0.4, 3, n), rng.uniform(0.5, 4, n)
    own = rng.normal(0, 0.7, 16)[d["subject"]]
    d["y"] = 3 + d["x"] + rng.normal(0, 0.8, 5)[d["g"]] + own + rng.normal(0, 0.8, n)
    return d


def field_plots(empty: bool, trials: int = 1) -> pd.DataFrame:
    """A field of 6 × 7 plots for each trial, a quarter of them without a record if `empty`."""
    rng = np.random.default_rng(7)
    frames = []
    for k in range(trials):
        row, col = (a.ravel() for a in np.indices((6, 7) if trials == 1 else (5, 5)))
        keep = rng.uniform(size=len(row)) < 0.75 if empty else np.ones(len(row), dtype=bool)
        keep[[0, -1]] = True
        frames.append(pd.DataFrame({"row": row[keep] + 1, "col": col[keep] + 3, "trial": f"t{k}"}))
    d = pd.concat(frames).sample(frac=1, random_state=4).reset_index(drop=True)
    d["g"], d["x"] = rng.integers(0, 8, len(d)), rng.normal(size=len(d))
    d.loc[:7, "g"] = range(8)
    smooth = np.sin(d["row"]) + np.cos(0.7 * d["col"])
    d["y"] = 4 + 0.5 * d["x"] + rng.normal(0, 0.8, 8)[d["g"]] + smooth + rng.normal(0, 0.7, len(d))
    return d


def traits() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Three traits of 24 records, a quarter of the cells missing; and the same in long form by record and trait."""
    rng = np.random.default_rng(8)
    y = rng.multivariate_normal([1, 2, 3], [[1, 0.4, 0.2], [0.4, 2, -0.5], [0.2, -0.5, 1.5]], 24)
    g, x = rng.integers(0, 6, 24), rng.normal(size=24)
    y += rng.normal(0, 0.7, (6, 3))[g] + x[:, None]
    y[rng.uniform(size=y.shape) < 0.25] = np.nan
    wide = pd.DataFrame(y, columns=["a", "b", "c"]).assign(g=g, x=x)
    long = pd.DataFrame(
        [(i, k, y[i, k], g[i]) for i in range(24) for k in range(3) if np.isfinite(y[i, k])],
        columns=["record", "trait", "y", "g"],
    )
    return wide, long


RESIDUALS = (
    "units", "units, weights", "diag", "diag, weights", "traits", *(f"{k}(site | subject)" for k in BLOCKS),
    "ar1(site | subject) + units", "exp(t | subject)", "exp(t | subject) + units", "power(z)", "power(z), weights",
    "power(z) | trial", "us(site | subject) | trial", "exp(t | subject) | trial",
    "field", "field, empty", "field + units", "field, empty + units", "id field, empty", "line", "fields | trial",
    "fields | trial + units",
)  # fmt: skip


@cache
def residual_case(name: str) -> Case:
    """y ~ x + (1 | g), with a residual structure."""
    if name == "traits":
        return _traits_case()
    if "field" in name or name == "line":
        return _field_case(name)
    d = visits()
    n, unit, place = len(d), d["subject"].to_numpy(), d["vk"].to_numpy()
    name, _, weights = name.partition(", ")
    w = d["w"].to_numpy() if weights else np.ones(n)
    text, units = name.removesuffix(" + units"), name.endswith(" + units")
    z, t, trial = d["z"].to_numpy(), d["t"].to_numpy(), d["trial"].to_numpy()
    match text:
        case "units":
            R, phi = lambda phi: phi[0] * np.diag(1 / w), [0.9]
        case "diag":
            name = "diag(site | units)"
            R, phi = lambda phi: np.diag(phi[place] / w), [0.7, 1.4, 0.3, 0.9]
        case "exp(t | subject)":
            R, phi = distance_within(unit, t), [1.2, 0.35]
        case "exp(t | subject) | trial":
            R, phi = sections(trial, 2, lambda at: distance_within(unit[at], t[at])), [1.2, 0.35, 0.7, 0.6]
        case "power(z)":
            R, phi = lambda phi: phi[0] * np.diag(z ** (2 * phi[1]) / w), [0.8, -0.4]
        case "power(z) | trial":
            R = sections(trial, 2, lambda at: lambda phi: phi[0] * np.diag(z[at] ** (2 * phi[1])))
            phi = [0.8, -0.4, 1.1, 0.3]
        case "us(site | subject) | trial":
            sigma, values = BLOCKS["us"]
            R = sections(trial, 10, lambda at: within(unit[at], place[at], sigma))
            phi = [*values, *(1.5 * np.array(values))]
        case _:
            keyword = text.partition("(")[0]
            sigma, phi = BLOCKS[keyword]
            R = within(unit, place, sigma)
            name = name.replace("subject)", "subject, matrix=S)") if keyword == "known" else name
    return _case(d, name, R, phi, units, w if weights else None)


def _case(d, residual: str, R: Callable, phi, units: bool, weights=None) -> Case:
    model = rb.MixedModel(
        "y ~ x + (1 | g)", d, {"S": KNOWN}, residual=residual, weights=None if weights is None else "w"
    )
    terms = [Part([dummies(d["g"])], np.eye(d["g"].max() + 1), constant(np.eye(1)), 1)]
    theta = [0.6, *phi]
    if units:
        terms.append(Part([np.eye(len(d))], np.eye(len(d)), constant(np.eye(1)), 1))
        theta.insert(1, 0.3)
    oracle = GeneralOracle(d["y"].to_numpy(), np.column_stack([np.ones(len(d)), d["x"]]), terms, R)
    return Case(model, oracle, np.array(theta, dtype=float))


def _field_case(name: str) -> Case:
    units, trial = name.endswith(" + units"), "| trial" in name
    d = field_plots("empty" in name or trial, 2 if trial else 1)
    if name == "line":
        d = d[d["col"] == 4].assign(g=lambda f: f["row"] % 3)
        row = d["row"].to_numpy()
        return _case(
            d, "ar1(row)", lambda phi: phi[0] * phi[1] ** np.abs(np.subtract.outer(row, row)), [1.1, 0.4], False
        )
    row, col = d["row"].to_numpy(), d["col"].to_numpy()
    added = " + units" * units
    if name.startswith("id"):
        return _case(d, "id(row):ar1(col)", distance_within(row, col), [1.1, -0.3], False)
    if trial:
        R = sections(d["trial"].to_numpy(), 3, lambda at: separable(row[at], col[at]))
        return _case(d, f"ar1(row):ar1(col) | trial{added}", R, [1.1, 0.5, -0.3, 0.7, 0.2, 0.6], units)
    return _case(d, f"ar1(row):ar1(col){added}", separable(row, col), [1.1, 0.5, -0.3], units)


def _traits_case() -> Case:
    wide, long = traits()
    model = rb.MixedModel("c(a, b, c) ~ trait + trait:x + us(trait | g)", wide, residual="us(trait | units)")
    trait, record = long["trait"].to_numpy(), long["record"].to_numpy()
    G = dummies(long["g"])
    part = Part([G * (trait == i)[:, None] for i in range(3)], np.eye(6), lower_triangle(3), 6)
    theta = [0.6, 0.1, 0.5, -0.2, 0.1, 0.7, 1.1, 0.3, 1.8, 0.2, -0.5, 1.4]
    oracle = GeneralOracle(
        long["y"].to_numpy(), _fixed(model.specification), [part], within(record, trait, lower_triangle(3))
    )
    assert np.array_equal(model.specification.y, oracle.y)
    return Case(model, oracle, np.array(theta))


CASES = [(f"{name}, {kind}", random_case, (name, kind)) for name in STRUCTURED for kind in ("identity", "pedigree")]
CASES += [(f"R: {name}", residual_case, (name,)) for name in RESIDUALS]
NAMES = tuple(name for name, _, _ in CASES)


def case(name: str) -> Case:
    """A case by its name in `NAMES`."""
    ((_, make, arguments),) = [c for c in CASES if c[0] == name]
    return make(*arguments)
