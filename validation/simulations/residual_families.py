"""Families for the structures of R: traits with missing records, times within subjects, fields, groups,
a power of a covariate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.linalg

from remlblup.validation.dense import Array
from remlblup.validation.simulations.family import Draw, Family
from remlblup.validation.simulations.truth import CORRELATIONS, effects_of_levels, family_tree

_TRAITS = ("y1", "y2", "y3", "y4")
_SD = np.sqrt([1.0, 1.8, 0.7, 1.3])


def families() -> tuple[Family, ...]:
    """Five for each structure."""
    return (*unstructured(), *autoregressive(), *exponential(), *fields(), *fields_and_units(), *groups(), *powers())


# -- several traits, some missing --------------------------------------------------------------


def unstructured() -> tuple[Family, ...]:
    """us(trait | units): two to four traits, 10 to 30 % of the cells missing, without and with random effects."""
    return (
        _several("two_traits", 2, 150, 0.2),
        _several("three_traits", 3, 130, 0.3),
        _several("four_traits", 4, 120, 0.1),
        _several("groups", 3, 160, 0.2, groups=40),
        _several("pedigree", 2, 180, 0.15, pedigree=True),
    )


def _several(design: str, t: int, n: int, share: float, groups: int = 0, pedigree: bool = False) -> Family:
    names = _TRAITS[:t]
    R = CORRELATIONS[:t, :t] * np.outer(_SD[:t], _SD[:t])
    formula = f"c({', '.join(names)}) ~ trait + trait:x"
    truth: dict[str, dict[str, float]] = {}
    relationships: dict[str, object] = {}
    root: Array | int = groups
    if groups:
        formula += " + id(trait | group)"
        truth["id(trait | group)"] = {"variance": 0.6}
    if pedigree:
        tree, ids, root = family_tree(15, 30, n, 3)
        relationships["A"] = tree
        formula += " + id(trait | vm(animal, A))"
        truth["id(trait | vm(animal, A))"] = {"variance": 1.2}
    truth["residual"] = _lower(names, R)

    def draw(rng: np.random.Generator) -> pd.DataFrame:
        x = rng.standard_normal(n)
        y = 5.0 + np.outer(x, np.linspace(0.5, -0.5, t)) + effects_of_levels(rng, R, n)
        data: dict[str, object] = {"x": x}
        if groups:
            g = np.arange(n) % groups
            y += effects_of_levels(rng, 0.6 * np.eye(t), groups)[g]
            data["group"] = [f"g{k:02d}" for k in g]
        if pedigree:
            y += effects_of_levels(rng, 1.2 * np.eye(t), root)[-n:]
            data["animal"] = ids[-n:]
        y = np.where(rng.random(y.shape) < share, np.nan, y)
        return pd.DataFrame(data | {name: y[:, k] for k, name in enumerate(names)})

    return Family("us_residual", design, formula, draw, truth, "us(trait | units)", relationships)


def _lower(names: tuple[str, ...], R: Array) -> dict[str, float]:
    return {
        f"var({names[i]})" if i == j else f"cov({names[j]}, {names[i]})": float(R[i, j])
        for i in range(len(R))
        for j in range(i + 1)
    }


# -- times within subjects ---------------------------------------------------------------------


def autoregressive() -> tuple[Family, ...]:
    """ar1(time | subject)."""
    return (
        _occasions("plain", 0.6, 40, 6),
        _occasions("negative", -0.4, 50, 5),
        _occasions("missing", 0.8, 60, 7, missing=0.3),
        _occasions("weak", 0.1, 60, 4),
        _occasions("and_subjects", 0.4, 60, 8, subjects=1.5),
    )


def _occasions(design: str, r: float, m: int, times: int, missing: float = 0.0, subjects: float = 0.0) -> Family:
    def draw(rng: np.random.Generator) -> pd.DataFrame:
        s, k = np.repeat(np.arange(m), times), np.tile(np.arange(times), m)
        e = effects_of_levels(rng, 2.0 * scipy.linalg.toeplitz(r ** np.arange(times)), m).ravel()
        y = 20.0 + 0.5 * k + e + np.sqrt(subjects) * rng.standard_normal(m)[s]
        data = pd.DataFrame({"y": y, "time": k, "subject": [f"s{i:02d}" for i in s]})
        return data[rng.random(len(data)) >= missing]

    return _repeated("ar1_residual", design, draw, {"variance": 2.0, "correlation": r}, "ar1(time | subject)", subjects)


def exponential() -> tuple[Family, ...]:
    """exp(time | subject): times of each subject's own."""
    return (
        _uneven("plain", 0.7, 50, 6, 10.0),
        _uneven("short", 0.3, 60, 6, 5.0),
        _uneven("long", 0.9, 60, 6, 10.0),
        _uneven("days", 0.98, 60, 6, 100.0),
        _uneven("and_subjects", 0.6, 70, 8, 12.0, subjects=1.5),
    )


def _uneven(design: str, r: float, m: int, times: int, end: float, subjects: float = 0.0) -> Family:
    def draw(rng: np.random.Generator) -> pd.DataFrame:
        x = np.sort(rng.uniform(0.0, end, (m, times)), axis=1)
        e = [effects_of_levels(rng, 2.0 * r ** np.abs(row[:, None] - row), 1)[0] for row in x]
        s = np.repeat(np.arange(m), times)
        y = 20.0 + x.ravel() / end + np.concatenate(e) + np.sqrt(subjects) * rng.standard_normal(m)[s]
        return pd.DataFrame({"y": y, "time": x.ravel(), "subject": [f"s{i:02d}" for i in s]})

    return _repeated("exp_residual", design, draw, {"variance": 2.0, "correlation": r}, "exp(time | subject)", subjects)


def _repeated(structure: str, design: str, draw: Draw, p: dict[str, float], residual: str, subjects: float) -> Family:
    formula, truth = "y ~ time", {"residual": p}
    if subjects:
        formula, truth = "y ~ time + (1 | subject)", {"subject": {"variance": subjects}, "residual": p}
    return Family(structure, design, formula, draw, truth, residual)


# -- fields ------------------------------------------------------------------------------------


def fields() -> tuple[Family, ...]:
    """ar1(row):ar1(col): whole and with a sixth of the plots empty, varieties fixed or random,
    one correlated direction."""
    return (
        _field("field", "plain", (14, 15), (0.6, 0.4)),
        _field("field", "strong", (10, 20), (0.8, 0.3)),
        _field("field", "incomplete", (15, 16), (0.5, 0.6), empty=1 / 6),
        _field("field", "varieties", (14, 16), (0.6, 0.5), varieties=0.8),
        _field("field", "one_way", (12, 20), (0.0, 0.6)),
    )


def fields_and_units() -> tuple[Family, ...]:
    """The same with an independent part."""
    return (
        _field("field_units", "plain", (15, 18), (0.7, 0.6), units=0.6),
        _field("field_units", "strong", (14, 20), (0.85, 0.7), units=0.4),
        _field("field_units", "incomplete", (16, 18), (0.75, 0.7), units=0.5, empty=1 / 6),
        _field("field_units", "varieties", (15, 20), (0.7, 0.7), units=0.5, varieties=0.8),
        _field("field_units", "small_units", (15, 16), (0.6, 0.6), units=0.15),
    )


def _field(
    structure: str,
    design: str,
    shape: tuple[int, int],
    r: tuple[float, float],
    units: float = 0.0,
    varieties: float = 0.0,
    empty: float = 0.0,
) -> Family:
    roots = [np.linalg.cholesky(scipy.linalg.toeplitz(c ** np.arange(m))) for m, c in zip(shape, r, strict=True)]

    def draw(rng: np.random.Generator) -> pd.DataFrame:
        e = np.sqrt(1.5) * roots[0] @ rng.standard_normal(shape) @ roots[1].T
        row, col = (k.ravel() + 1 for k in np.indices(shape))
        v = rng.permutation(np.arange(row.size) % 40)
        fixed = np.linspace(-0.5, 0.5, 4)[v % 4]
        y = (
            8.0
            + fixed
            + e.ravel()
            + np.sqrt(units) * rng.standard_normal(row.size)
            + np.sqrt(varieties) * rng.standard_normal(40)[v]
        )
        data = pd.DataFrame(
            {"y": y, "row": row, "col": col, "kind": [f"k{k}" for k in v % 4], "variety": [f"v{k:02d}" for k in v]}
        )
        return data[rng.random(len(data)) >= empty]

    truth: dict[str, dict[str, float]] = {"variety": {"variance": varieties}} if varieties else {}
    if units:
        truth["units"] = {"variance": units}
    names = [f"correlation({axis})" for axis in ("row", "col")]
    truth["residual"] = {"variance": 1.5} | {n: c for n, c in zip(names, r, strict=True) if c}
    residual = ":".join(f"{'ar1' if c else 'id'}({axis})" for axis, c in zip(("row", "col"), r, strict=True))
    formula = "y ~ kind + (1 | variety)" if varieties else "y ~ kind"
    return Family(structure, design, formula, draw, truth, f"{residual} + units" if units else residual)


# -- variances ---------------------------------------------------------------------------------


def groups() -> tuple[Family, ...]:
    """diag(group | units): a variance for each group."""
    return (
        _grouped("three", (60, 60, 60), (1.0, 2.0, 0.5)),
        _grouped("five_uneven", (20, 40, 60, 80, 100), (1.0, 2.0, 0.5, 3.0, 1.5)),
        _grouped("extreme", (80, 80), (100.0, 1.0)),
        _grouped("and_random", (100, 120), (1.0, 2.5), random=1.0),
        _grouped("and_strong_random", (90, 90, 90), (0.5, 1.0, 2.0), random=4.0),
    )


def _grouped(design: str, sizes: tuple[int, ...], variances: tuple[float, ...], random: float = 0.0) -> Family:
    def draw(rng: np.random.Generator) -> pd.DataFrame:
        g = np.repeat(np.arange(len(sizes)), sizes)
        block = rng.integers(0, 40, len(g))
        y = (
            3.0
            + g
            + np.sqrt(np.array(variances)[g]) * rng.standard_normal(len(g))
            + np.sqrt(random) * rng.standard_normal(40)[block]
        )
        return pd.DataFrame({"y": y, "group": [f"g{k}" for k in g], "block": [f"b{k:02d}" for k in block]})

    truth: dict[str, dict[str, float]] = {"block": {"variance": random}} if random else {}
    truth["residual"] = {f"var(g{k})": v for k, v in enumerate(variances)}
    formula = "y ~ group + (1 | block)" if random else "y ~ group"
    return Family("diag_residual", design, formula, draw, truth, "diag(group | units)")


def powers() -> tuple[Family, ...]:
    """power(x): the variance σ² x^2δ."""
    return (
        _powered("half", 0.5, 1.0, 5.0),
        _powered("one", 1.0, 0.5, 4.0),
        _powered("falling", -0.6, 1.0, 6.0),
        _powered("none", 0.0, 0.1, 10.0),
        _powered("and_random", 0.7, 1.0, 5.0, random=2.0),
    )


def _powered(design: str, delta: float, low: float, high: float, random: float = 0.0, n: int = 200) -> Family:
    def draw(rng: np.random.Generator) -> pd.DataFrame:
        x = rng.uniform(low, high, n)
        block = rng.integers(0, 40, n)
        y = 3.0 + x + x**delta * rng.standard_normal(n) + np.sqrt(random) * rng.standard_normal(40)[block]
        return pd.DataFrame({"y": y, "x": x, "block": [f"b{k:02d}" for k in block]})

    truth: dict[str, dict[str, float]] = {"block": {"variance": random}} if random else {}
    truth["residual"] = {"variance": 1.0, "power": delta}
    formula = "y ~ x + (1 | block)" if random else "y ~ x"
    return Family("power_residual", design, formula, draw, truth, "power(x)")
