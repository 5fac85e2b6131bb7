"""Small simulated models, each as a `MixedModel` and as a dense `Oracle`, with points θ to compare them at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from oracle import Oracle, Term, dummies, numerator_relationship

import remlblup as rb


@dataclass(frozen=True)
class Case:
    """One model in both forms; `points` are θ inside the parameter space."""

    model: rb.MixedModel
    oracle: Oracle
    names: tuple[str, ...]
    points: tuple[np.ndarray, ...]

    def mapping(self, theta) -> dict[str, object]:
        """θ as a user would write it: numbers and matrices by term."""
        out: dict[str, object] = {}
        for k, (name, term) in enumerate(zip(self.names, self.oracle.terms, strict=True)):
            sigma = self.oracle.sigma(k, theta)
            out[name] = float(sigma[0, 0]) if term.kind == "id" else sigma  # one number is enough for id
        return out | {"residual": float(theta[-1])}


def field(seed: int, n: int = 48) -> pd.DataFrame:
    """Unbalanced records: two factors, two covariates, weights, a site; y with effects of all of them."""
    rng = np.random.default_rng(seed)
    g, h, s = rng.integers(0, 9, n), rng.integers(0, 5, n), rng.integers(0, 3, n)
    g[:9], h[:5], s[:3] = range(9), range(5), range(3)
    x, z = rng.normal(size=n), rng.uniform(-1, 1, n)
    y = (
        20
        + 1.5 * x
        + rng.normal(0, 1.4, 9)[g]
        + rng.normal(0, 0.8, 9)[g] * x
        + rng.normal(0, 1, 5)[h]
        + rng.normal(0, 1.1, n)
    )
    labels = {"g": [f"g{k}" for k in g], "h": [f"h{k}" for k in h], "site": np.array(["a", "b", "c"])[s]}
    return pd.DataFrame({"y": y, "x": x, "z": z, "w": rng.uniform(0.4, 3, n), "gk": g, "hk": h, "sk": s, **labels})


def animals(seed: int) -> tuple[pd.DataFrame, rb.Pedigree, np.ndarray, np.ndarray]:
    """36 animals, inbred in part, two thirds with records: data, pedigree, A, and the label of each row of A."""
    rng = np.random.default_rng(seed)
    n = 36
    sires, dams = np.full(n, -1), np.full(n, -1)
    for i in range(8, n):
        sires[i], dams[i] = 2 * rng.integers(0, i // 2), 2 * rng.integers(0, i // 2) + 1
        if rng.random() < 0.15:
            sires[i] = -1
    ids = rng.permutation(np.arange(100, 100 + n))
    A = numerator_relationship(sires, dams)
    recorded = np.repeat(np.arange(n), rng.integers(0, 4, n) * (np.arange(n) % 3 != 0))
    u = np.linalg.cholesky(A) @ rng.normal(0, 1.3, n)
    x = rng.normal(size=len(recorded))
    y = 5 + x + u[recorded] + rng.normal(size=len(recorded))
    dam_of = np.where(dams[recorded] >= 0, dams[recorded], 1)
    frame = pd.DataFrame(
        {"y": y, "x": x, "animal": ids[recorded], "ak": recorded, "dam": ids[dam_of], "w": rng.uniform(0.5, 2, len(y))}
    )
    parent = lambda p: [None if k < 0 else int(ids[k]) for k in p]  # noqa: E731
    pedigree = rb.Pedigree([int(i) for i in ids], parent(sires), parent(dams))
    return frame, pedigree, A, ids


def _case(formula, d, X, terms, names, points, weights=None, **options) -> Case:
    model = rb.MixedModel(formula, d, weights=weights, **options)
    w = None if weights is None else d[weights].to_numpy()
    return Case(model, Oracle(d["y"].to_numpy(), X, terms, w), names, tuple(np.array(p, dtype=float) for p in points))


def _factor(column) -> tuple[np.ndarray, np.ndarray]:
    codes = np.unique(column, return_inverse=True)[1]
    return dummies(codes), np.eye(codes.max() + 1)


NAMES = ("id", "crossed", "us2", "us3", "diag2", "site", "site_id", "vm", "vm_us", "two_us", "wide")


@cache
def case(name: str) -> Case:
    """A model by name; see the formulas."""
    d = field(11)
    one, x, z = np.ones(len(d)), d["x"].to_numpy(), d["z"].to_numpy()
    (G, IG), (H, IH) = _factor(d["gk"]), _factor(d["hk"])
    Gx, Gz, X = G * x[:, None], G * z[:, None], np.column_stack([one, x])
    us2 = ([1.8, 0.4, 0.6], [2.0, -0.9, 0.5], [3.0, 1.0, 0.3334])
    match name:
        case "id":
            return _case("y ~ x + (1 | g)", d, X, [Term([G], IG)], ("g",), [[1.7, 1.2], [1e-6, 2.0], [300.0, 0.5]])
        case "crossed":
            terms = [Term([G], IG), Term([H], IH)]
            return _case("y ~ x + (1 | g) + (1 | h)", d, X, terms, ("g", "h"), [[1.7, 0.8, 1.2], [0.1, 40.0, 2.0]], "w")
        case "us2":
            points = [[*s, 1.3] for s in us2]
            return _case("y ~ x + (1 + x | g)", d, X, [Term([G, Gx], IG, "us")], ("1 + x | g",), points)
        case "us3":
            points = [[1.8, 0.4, 0.9, -0.3, 0.2, 0.7, 1.3], [1.0, 0.999, 1.0, 0.1, 0.1, 2.0, 0.6]]
            return _case(
                "y ~ x + (1 + x + z | g)", d, X, [Term([G, Gx, Gz], IG, "us")], ("1 + x + z | g",), points, "w"
            )
        case "diag2":
            terms = [Term([G, Gx], IG, "diag")]
            return _case("y ~ x + (1 + x || g)", d, X, terms, ("1 + x || g",), [[1.8, 0.6, 1.3], [1e-5, 8.0, 0.7]])
        case "site_id":
            terms = [Term([G * dummies(d["sk"])[:, [k]] for k in range(3)], IG, "id")]
            return _case("y ~ x + id(site | g)", d, X, terms, ("id(site | g)",), [[1.4, 0.9]])
        case "site":
            S = dummies(d["sk"])
            terms = [Term([G * S[:, [k]] for k in range(3)], IG, "diag")]
            points = [[1.0, 2.0, 0.5, 1.1], [5.0, 0.01, 0.2, 1.0]]
            return _case(
                "y ~ site + diag(site | g)", d, np.column_stack([one, S[:, 1:]]), terms, ("diag(site | g)",), points
            )
        case "two_us":
            terms = [Term([G, Gx], IG, "us"), Term([H, H * z[:, None]], IH, "us")]
            points = [[1.8, 0.4, 0.6, 0.7, -0.2, 0.5, 1.3]]
            return _case("y ~ x + (1 + x | g) + us(1 + z | h)", d, X, terms, ("1 + x | g", "us(1 + z | h)"), points)
        case "wide":
            S = dummies(d["sk"])
            fixed = np.column_stack([one, S[:, 1:], x, z, S[:, 1:] * x[:, None]])
            return _case("y ~ site * x + z + (1 | g)", d, fixed, [Term([G], IG)], ("g",), [[1.7, 1.2]], "w")
    a, pedigree, A, _ = animals(5)
    Za, xa = dummies(a["ak"], len(A)), a["x"].to_numpy()
    Xa = np.column_stack([np.ones(len(a)), xa])
    if name == "vm":
        D, ID = _factor(a["dam"])
        terms, names = [Term([Za], A), Term([D], ID)], ("vm(animal, A)", "dam")
        points, known = [[1.5, 0.3, 1.0], [20.0, 1e-4, 0.5]], {"A": pedigree}
        return _case("y ~ x + (1 | vm(animal, A)) + (1 | dam)", a, Xa, terms, names, points, "w", relationships=known)
    assert name == "vm_us"
    return _case(
        "y ~ x + (1 + x | vm(animal, A))",
        a,
        Xa,
        [Term([Za, Za * xa[:, None]], A, "us")],
        ("1 + x | vm(animal, A)",),
        [[1.5, -0.4, 0.7, 1.0]],
        relationships={"A": pedigree},
    )


POINTS = [(name, k) for name in NAMES for k in range(len(case(name).points))]
