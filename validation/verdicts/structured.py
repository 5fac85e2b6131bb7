"""The kinds of random small models about one structure: of a term, of the residual, of unequal variances."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.validation.verdicts import shapes
from remlblup.validation.verdicts.oracle import Part
from remlblup.validation.verdicts.parts import (
    covariate,
    grid,
    group_term,
    independent,
    positions,
    unit_of,
)
from remlblup.validation.verdicts.problems import (
    OF_NAMES,
    OF_TIMES,
    Draft,
    build,
    choose,
    drawn,
    frame,
    incidence,
    names,
    products,
    related,
    rounded,
    same,
    scale,
    true_matrix,
)

#: Structures within subjects of a residual.
OF_RESIDUALS = ("us", "diag", "cs", "csh", "corh", "ar1", "ar1h", "toep", "corg", "corgh", "fa", "known", "exp", "id")


def structured_term(rng: np.random.Generator) -> Draft:
    """``S(t | g)``, at times over a relationship or beside a crossed or nested term;
    residual of one variance or one each."""
    keyword = str(choose(rng, (*OF_NAMES, *OF_TIMES)))
    t, q = int(rng.integers(3 if keyword == "fa" else 2, 5)), int(rng.integers(4, 9))
    g, e = grid(rng, q, t, int(rng.integers(1, 3)))
    n, at = len(g), positions(rng, t) if keyword == "exp" else np.arange(1.0, t + 1.0)
    vm = rng.random() < 0.35
    K = related(rng, q)[1] if vm else np.eye(q)
    kernel = K[np.ix_(g, g)]
    W = incidence(e, t)
    c = scale(rng)
    signal = drawn(rng, np.tensordot(true_matrix(rng, t), products(W, kernel), 2))
    y = rounded(rng, 10.0 + signal + float(choose(rng, (0.2, 1.0, 2.0))) * rng.normal(size=n)) * c
    rows = pd.DataFrame(
        {
            "y": y,
            "g": names("g", g),
            "t": [f"t{k}" for k in e],
            "time": at[e],
            "x": covariate(rng, n),
            "b": names("b", rng.integers(0, 3, n)),
        }
    )
    fixed = str(choose(rng, ("1", "t", "1 + x")))
    unit = unit_of(y, np.ones((n, 1)))
    constrain = not (keyword in ("id", "diag", "us", "known") and rng.random() < 0.3)
    shape, option, S = build(keyword, np.full(t, unit), rng, at, constrain)
    front = "time" if keyword in OF_TIMES else "t"
    terms = [Part(f"{keyword}({front} | {'vm(g, K)' if vm else 'g'}{option})", shape, products(W, kernel))]
    if rng.random() < 0.25:
        terms.append(group_term(rows["b"], "b", unit, constrain))
    residual, text = independent(rng, rows, "t", unit, constrain)
    given: dict[str, object] = {"K": frame(K, names("g", range(q)))} if vm else {}
    if S is not None:
        given["S"] = S
    return Draft(
        fixed,
        rows,
        y,
        terms,
        text,
        residual,
        relationships=given,
        constrain=constrain,
        engines=("auto", "sparse") if vm else ("auto",),
    )


def structured_residual(rng: np.random.Generator) -> Draft:
    """``residual="S(t | g)"``, at times beside a random term that competes with it."""
    keyword = str(choose(rng, OF_RESIDUALS))
    t, q = int(rng.integers(3 if keyword == "fa" else 2, 5)), int(rng.integers(4, 11))
    g, e = grid(rng, q, t)
    n, at = len(g), positions(rng, t) if keyword == "exp" else np.arange(1.0, t + 1.0)
    W, block = incidence(e, t), same(g)
    truth = true_matrix(rng, t) + float(choose(rng, (0.0, 0.1, 1.0))) * np.eye(t)
    c = scale(rng)
    y = 5.0 + drawn(rng, np.tensordot(truth, products(W, block), 2)) + 1e-3 * rng.normal(size=n)
    if rng.random() < 0.4:
        y = y + 0.5 * rng.normal(size=n)
    y = rounded(rng, y) * c
    rows = pd.DataFrame(
        {
            "y": y,
            "g": names("g", g),
            "time": at[e],
            "t": [f"t{k}" for k in e],
            "b": names("b", rng.integers(0, 4, n)),
            "x": covariate(rng, n),
        }
    )
    unit = unit_of(y, np.ones((n, 1)))
    if keyword == "exp":
        gaps = np.diff(np.sort(at))
        shape = shapes.by_distance(unit, np.abs(np.subtract.outer(at[e], at[e])), block, float(np.median(gaps)))
        part, option, S = Part("residual", shape), "", None
    elif keyword in ("diag", "id"):
        shape, option, S = build(keyword, np.full(t, unit), rng)
        part = Part("residual", shape, products(W, np.eye(n)))
    else:
        while True:
            shape, option, S = build(keyword, np.full(t, unit), rng, at)
            if keyword != "fa" or "k=1" in option or t > 3:
                break
        part = Part("residual", shape, products(W, block))
    terms = []
    if rng.random() < 0.4:
        terms.append(group_term(rows["b"], "b", unit))
    elif rng.random() < 0.3:
        terms.append(group_term(rows["g"], "g", unit))
    fixed = str(choose(rng, ("1", "t", "1 + x")))
    text = "units" if keyword == "id" else f"{keyword}(time | {'units' if keyword == 'diag' else 'g'}{option})"
    return Draft(fixed, rows, y, terms, text, part, relationships={} if S is None else {"S": S})


def heterogeneous(rng: np.random.Generator) -> Draft:
    """``power(x)`` and one structure per section."""
    n = int(rng.integers(14, 40))
    q = int(rng.integers(3, 7))
    g = rng.integers(0, q, n)
    z = np.round(rng.uniform(0.2, 6.0, n), 1)
    c = scale(rng)
    y = (
        rounded(
            rng,
            3.0
            + float(choose(rng, (0.0, 1.0))) * rng.normal(size=q)[g]
            + z ** float(choose(rng, (0.0, 0.5, 1.0))) * rng.normal(size=n),
        )
        * c
    )
    order = np.argsort(g, kind="stable")
    time = np.empty(n)
    time[order] = np.concatenate([np.arange(k) for k in np.bincount(g, minlength=q)])
    rows = pd.DataFrame(
        {
            "y": y,
            "g": names("g", g),
            "z": z,
            "time": time,
            "trial": np.where(g < q / 2, "A", "B"),
            "b": names("b", rng.integers(0, 4, n)),
        }
    )
    unit = unit_of(y, np.ones((n, 1)))
    terms = [group_term(rows["b"], "b", unit)] if rng.random() < 0.5 else []
    inside = [rows["trial"].to_numpy() == s for s in "AB"]
    pairs = [max(np.bincount(g[at])) > 1 for at in inside]
    if rng.random() < 0.5 or not all(pairs):
        return Draft("1", rows, y, terms, "power(z)", Part("residual", shapes.power(unit, z, np.ones(n))))
    keyword = str(choose(rng, ("exp", "ar1")))
    parts, places = [], [np.flatnonzero(at) for at in inside]
    for at in places:
        distance = np.abs(np.subtract.outer(time[at], time[at]))
        if keyword == "exp":
            parts.append(shapes.by_distance(unit, distance, same(g[at]), 1.0))
        else:
            base, block = shapes.field(unit, [distance]), same(g[at])
            parts.append(
                shapes.Shape("ar1", 2, base.parameters, lambda p, base=base, block=block: block * base.matrix(p), "vr")
            )
    return Draft("1", rows, y, terms, f"{keyword}(time | g) | trial", Part("residual", shapes.beside(parts, places)))
