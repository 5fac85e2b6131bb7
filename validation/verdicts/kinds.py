"""The kinds of random small models: a function of a random generator each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.validation.verdicts import shapes
from remlblup.validation.verdicts.oracle import Part
from remlblup.validation.verdicts.parts import (
    covariate,
    group_term,
    independent,
    make_id,
    unit_of,
)
from remlblup.validation.verdicts.problems import (
    Draft,
    Kind,
    build,
    choose,
    drawn,
    fits,
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
from remlblup.validation.verdicts.structured import heterogeneous, structured_residual, structured_term


def animals(rng: np.random.Generator) -> Draft:
    """``(1 | vm(a, K))``, with repeated records, weights, a second term; engines beside each other."""
    q = int(rng.integers(5, 22))
    K = related(rng, q)[1]
    repeats = rng.random() < 0.5
    a = rng.integers(0, q, 2 * q) if repeats else np.arange(q)
    n = len(a)
    h = float(choose(rng, (0.0, 0.3, 0.6, 0.9, 1.0)))
    c = scale(rng)
    kernel = K[np.ix_(a, a)]
    b = rng.integers(0, 4, n)
    y = (
        3.0
        + np.sqrt(h) * drawn(rng, kernel)
        + np.sqrt(1.0 - h) * rng.normal(size=n)
        + float(choose(rng, (0.0, 1.0))) * b
    )
    y = rounded(rng, y) * c
    rows = pd.DataFrame(
        {
            "y": y,
            "a": names("a", a),
            "b": names("b", b),
            "x": covariate(rng, n),
            "sex": [str(choose(rng, "fm")) for _ in range(n)],
            "w": rng.integers(1, 9, n).astype(float),
        }
    )
    unit = unit_of(y, np.ones((n, 1)))
    constrain = rng.random() < 0.7
    terms = [Part("(1 | vm(a, K))", make_id(unit, constrain), products(np.ones((n, 1)), kernel))]
    second = rng.random()
    if second < 0.2:
        terms.append(group_term(rows["b"], "b", unit, constrain))
    elif second < 0.35 and repeats:
        terms.append(group_term(rows["a"], "a", unit, constrain))
    weighted = rng.random() < 0.3
    w = rows["w"].to_numpy() if weighted else None
    residual, text = independent(rng, rows, "sex", unit, constrain, w)
    engines = ("auto", "sparse", "dense") + (("spectral",) if len(terms) == 1 and text == "units" else ())
    return Draft(
        str(choose(rng, ("1", "sex", "1 + x"))),
        rows,
        y,
        terms,
        text,
        residual,
        weights="w" if weighted else None,
        relationships={"K": frame(K, names("a", range(q)))},
        engines=engines,
        constrain=constrain,
    )


def traits(rng: np.random.Generator) -> Draft:
    """``c(a, b) ~ trait + S(trait | vm(animal, K))`` with ``residual="S(trait | units)"`` and missing cells."""
    t = int(rng.choice([2, 2, 2, 3]))
    q = int(rng.integers(8, 19))
    K = related(rng, q)[1]
    words = [k for k in ("us", "us", "us", "diag", "cs", "csh", "corgh", "corg", "fa", "rr") if fits(k, t)]
    keyword = str(choose(rng, words))
    inside = str(choose(rng, [k for k in ("us", "us", "us", "us", "diag", "cs", "csh", "corgh", "fa") if fits(k, t)]))
    record, e = (z.ravel() for z in np.indices((q, t)))
    if rng.random() < 0.5:
        keep = rng.random(len(record)) > 0.2
        if np.bincount(e[keep], minlength=t).min() >= 4 and np.bincount(record[keep]).max() > 1:
            record, e = record[keep], e[keep]
    W, kernel = incidence(e, t), K[np.ix_(record, record)]
    wide = inside in ("us", "diag", "csh", "corgh", "fa") and keyword not in ("cs", "corg") and rng.random() < 0.25
    of_trait = 10.0 ** rng.integers(-6, 7, t) if wide else np.full(t, scale(rng))
    h = float(choose(rng, (0.0, 0.3, 0.6, 0.9)))
    truth_R = true_matrix(rng, t) + 0.05 * np.eye(t)
    y = (
        1.0
        + e
        + np.sqrt(h) * drawn(rng, np.tensordot(true_matrix(rng, t) + 0.1 * np.eye(t), products(W, kernel), 2))
        + np.sqrt(1.0 - h) * drawn(rng, np.tensordot(truth_R, products(W, same(record)), 2))
    )
    y = rounded(rng, y) * of_trait[e]
    letters = "abc"[:t]
    wide_form = pd.DataFrame({"animal": names("n", range(q))})
    for k, letter in enumerate(letters):
        column = np.full(q, np.nan)
        column[record[e == k]] = y[e == k]
        wide_form[letter] = column
    rows = pd.DataFrame({"trait": pd.Categorical([letters[k] for k in e], categories=list(letters))})
    units = np.array([unit_of(y[e == k], np.ones(((e == k).sum(), 1))) for k in range(t)])
    constrain = not (keyword == inside == "us" and rng.random() < 0.2)
    shape, option, _ = build(keyword, units, rng, constrain=constrain)
    residual_shape, residual_option, _ = build(inside, units, rng, constrain=constrain)
    term = Part(f"{keyword}(trait | vm(animal, K){option})", shape, products(W, kernel))
    residual = Part("residual", residual_shape, products(W, same(record)))
    return Draft(
        "0 + trait" if wide else "trait",
        rows,
        y,
        [term],
        f"{inside}(trait | units{residual_option})",
        residual,
        data=wide_form,
        response=f"c({', '.join(letters)})",
        constrain=constrain,
        relationships={"K": frame(K, names("n", range(q)))},
        engines=("auto", "sparse"),
    )


def slopes(rng: np.random.Generator) -> Draft:
    """``(1 + x | g)``, ``(1 + x || g)``, ``cs(1 + x | g)`` …: effects that share records."""
    q, n = int(rng.integers(4, 10)), int(rng.integers(18, 45))
    g = rng.integers(0, q, n)
    x = np.round(rng.uniform(0.0, 5.0, n), 1) * float(10.0 ** int(rng.choice([0, 0, 0, 3, -3])))
    W = np.column_stack([np.ones(n), x])
    spread = np.sqrt(np.mean((x - x.mean()) ** 2))
    truth = true_matrix(rng, 2)
    standard = np.column_stack([np.ones(n), (x - x.mean()) / spread])
    c = scale(rng)
    y = rounded(rng, drawn(rng, np.tensordot(truth, products(standard, same(g)), 2)) + rng.normal(size=n)) * c
    rows = pd.DataFrame({"y": y, "g": names("g", g), "x": x, "b": names("b", rng.integers(0, 3, n))})
    unit = unit_of(y, np.ones((n, 1)))
    units = np.array([unit, unit / spread])
    keyword = str(choose(rng, ("us", "us", "diag", "csh", "corgh", "rr")))
    constrain = not (keyword in ("us", "diag") and rng.random() < 0.3)
    shape, option, _ = build(keyword, units, rng, constrain=constrain)
    term = Part(f"{keyword}(1 + x | g{option})", shape, products(W, same(g)))
    residual, text = independent(rng, rows, "b", unit, constrain)
    return Draft(str(choose(rng, ("1", "1 + x"))), rows, y, [term], text, residual, constrain=constrain)


def fields(rng: np.random.Generator) -> Draft:
    """``ar1(row):ar1(col)`` over a small field with or without empty plots, an independent part, varieties,
    two trials."""
    m, k = int(rng.integers(3, 7)), int(rng.integers(3, 7))
    row, col = (z.ravel() for z in np.indices((m, k)))
    if rng.random() < 0.4:
        keep = rng.random(len(row)) > 0.2
        keep[0] = keep[-1] = True
        row, col = row[keep], col[keep]
    n = len(row)
    r = rng.choice([0.0, 0.5, 0.9, -0.5], 2)
    between = [np.abs(np.subtract.outer(z, z)).astype(float) for z in (row, col)]
    c = scale(rng)
    v = rng.integers(0, 6, n)
    y = drawn(rng, r[0] ** between[0] * r[1] ** between[1]) + float(choose(rng, (0.0, 0.7))) * rng.normal(size=n)
    y = rounded(rng, 8.0 + y + float(choose(rng, (0.0, 1.0))) * rng.normal(size=6)[v]) * c
    rows = pd.DataFrame(
        {"y": y, "row": row + 1, "col": col + 1, "v": names("v", v), "trial": np.where(col < k / 2, "A", "B")}
    )
    unit = unit_of(y, np.ones((n, 1)))
    one = rng.random() < 0.25
    if one and len(set(row[col == col[0]])) == (col == col[0]).sum() > 2:
        text, distances = "id(row):ar1(col)", [between[1]]
        kernel = same(row)
        base = shapes.field(unit, distances)
        shape = shapes.Shape("field", base.size, base.parameters, lambda p: kernel * base.matrix(p), base.kinds)
    else:
        text, shape = "ar1(row):ar1(col)", shapes.field(unit, between)
    terms = [group_term(rows["v"], "v", unit)] if rng.random() < 0.4 else []
    if rng.random() < 0.4:
        text += " + units"
        terms.append(Part("units", make_id(unit), products(np.ones((n, 1)), np.eye(n))))
    return Draft(
        str(choose(rng, ("1", "1", "v" if not terms or terms[0].name == "units" else "1"))),
        rows,
        y,
        terms,
        text,
        Part("residual", shape),
    )


def crossed(rng: np.random.Generator) -> Draft:
    """Crossed and nested groups, at times confounded with each other, with fixed effects or with the residual."""
    n = int(rng.integers(10, 40))
    p, q = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    a, b = rng.integers(0, p, n), rng.integers(0, q, n)
    a[:p], b[:q] = np.arange(p), np.arange(q)
    c = scale(rng)
    sizes = [float(choose(rng, (0.0, 0.3, 1.0, 30.0))) for _ in range(3)]
    y = 4.0 + sizes[0] * rng.normal(size=p)[a] + sizes[1] * rng.normal(size=q)[b] + rng.normal(size=n)
    y = rounded(rng, y + sizes[2] * rng.normal(size=p * q)[a * q + b]) * c
    unit = unit_of(y, np.ones((n, 1)))
    rows = pd.DataFrame(
        {
            "y": y,
            "a": names("a", a),
            "b": names("b", b),
            "twin": names("z", (a * 7) % 11),
            "x": covariate(rng, n),
            "record": names("r", range(n)),
            "ab": names("c", a * q + b),
            "w": rng.integers(1, 5, n).astype(float),
        }
    )
    constrain = rng.random() < 0.65
    kind = str(choose(rng, ("cross", "nested", "interaction", "twins", "fixed too", "record", "one")))
    groups = {
        "cross": ["a", "b"],
        "nested": ["a", "a:b"],
        "interaction": ["a", "b", "a:b"],
        "twins": ["a", "twin"],
        "fixed too": ["a", "b"],
        "record": ["a", "record"],
        "one": ["a"],
    }[kind]
    terms = [group_term(rows["ab" if g == "a:b" else g], g, unit, constrain) for g in groups]
    weighted = rng.random() < 0.3
    residual, text = independent(rng, rows, "b", unit, constrain, rows["w"].to_numpy() if weighted else None)
    fixed = "a" if kind == "fixed too" else str(choose(rng, ("1", "1 + x")))
    return Draft(fixed, rows, y, terms, text, residual, weights="w" if weighted else None, constrain=constrain)


def maternal(rng: np.random.Generator) -> Draft:
    """``us(vm(animal, K) + vm(dam, K))``: direct and maternal effects with their covariance."""
    q = int(rng.integers(8, 16))
    K = 0.5 * np.eye(q) + 0.5 * same(np.arange(q) // 3) if rng.random() < 0.5 else related(rng, q)[1]
    n = int(rng.integers(16, 40))
    animal, dam = rng.integers(0, q, n), rng.integers(0, q, n)
    Z = np.array([incidence(animal, q), incidence(dam, q)])
    P = np.einsum("aiq,qr,bjr->abij", Z, K, Z)
    c = scale(rng)
    y = rounded(rng, drawn(rng, np.tensordot(true_matrix(rng, 2), P, 2)) + rng.normal(size=n)) * c
    rows = pd.DataFrame({"y": y, "animal": names("n", animal), "dam": names("n", dam), "x": covariate(rng, n)})
    unit = unit_of(y, np.ones((n, 1)))
    constrain = rng.random() < 0.8
    keyword = str(choose(rng, ("us", "us", "diag", "corgh")))
    constrain = constrain or keyword == "corgh"
    shape, option, _ = build(keyword, np.full(2, unit), rng, constrain=constrain)
    term = Part(f"{keyword}(vm(animal, K) + vm(dam, K){option})", shape, P)
    return Draft(
        str(choose(rng, ("1", "1 + x"))),
        rows,
        y,
        [term],
        "units",
        Part("residual", shapes.records(unit, np.ones(n), constrain)),
        relationships={"K": frame(K, names("n", range(q)))},
        engines=("auto", "sparse"),
        constrain=constrain,
    )


#: In the order of the number of a problem, the larger kinds more often.
KINDS: tuple[Kind, ...] = (structured_term, structured_residual, animals, traits, structured_term, structured_residual,
                           crossed, slopes, fields, traits, structured_term, heterogeneous, animals, maternal,
                           structured_residual, crossed)  # fmt: skip
