"""The designs fitted live: data, our formula, and the same model in the words of statsmodels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from remlblup import datasets


@dataclass(frozen=True)
class Part:
    """A variance component of statsmodels and where it is in ours.

    Attributes
    ----------
    formula : its one-sided design, as `vc_formula` takes it
    term, effect : our term, and the effect within it
    nested : whether our levels are ``group:level``
    """

    formula: str
    term: str
    effect: str = "Intercept"
    nested: bool = False


@dataclass(frozen=True)
class LiveDesign:
    """One model for both programs.

    Attributes
    ----------
    name : of the case
    data : makes the data frame
    formula : ours, fixed part and bars; the fixed part is theirs as well
    groups : grouping column of statsmodels; None for one group (crossed factors)
    re_formula, re_term : the unstructured effects within groups, and our term for them
    parts : independent variance components by name
    note : printed with --verbose
    """

    name: str
    data: Callable[[], pd.DataFrame]
    formula: str
    groups: str | None
    re_formula: str | None = None
    re_term: str | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    note: str = ""

    @property
    def fixed(self) -> str:
        """The formula without its bars."""
        return self.formula.split(" + (")[0]


def _load(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: datasets.load(name)


def oneway(seed: int = 101) -> pd.DataFrame:
    """40 groups of 1 to 12 records, a covariate within and a factor between groups."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(40), rng.integers(1, 13, 40))
    x = rng.normal(size=len(group)) + 0.3 * rng.normal(size=40)[group]
    treated = (np.arange(40) % 3 == 0)[group]
    y = 10 + 0.8 * x - 1.5 * treated + 1.2 * rng.normal(size=40)[group] + rng.normal(size=len(group))
    return pd.DataFrame({"y": y, "x": x, "arm": np.where(treated, "new", "old"), "g": [f"g{k:02d}" for k in group]})


def slopes(seed: int = 102) -> pd.DataFrame:
    """60 subjects seen 2 to 8 times at uneven times, with correlated intercepts and slopes."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(60), rng.integers(2, 9, 60))
    time = rng.uniform(0, 4, len(subject))
    root = np.linalg.cholesky([[4.0, -0.9], [-0.9, 0.8]])
    u = rng.normal(size=(60, 2)) @ root.T
    sex = np.arange(60) % 2
    y = (
        20
        + 1.5 * time
        + 2.0 * sex[subject]
        + u[subject, 0]
        + u[subject, 1] * time
        + 1.3 * rng.normal(size=len(subject))
    )
    return pd.DataFrame(
        {"y": y, "time": time, "sex": np.where(sex[subject], "M", "F"), "id": [f"s{k:02d}" for k in subject]}
    )


def quadratic(seed: int = 103) -> pd.DataFrame:
    """80 subjects with three correlated random effects: a parabola each."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(80), rng.integers(4, 10, 80))
    t = rng.uniform(-1, 1, len(subject))
    root = np.array([[1.5, 0, 0], [0.4, 1.0, 0], [-0.3, 0.2, 1.2]])
    u = rng.normal(size=(80, 3)) @ root.T
    z = np.column_stack([np.ones_like(t), t, t**2])
    y = z @ [5.0, 1.0, -2.0] + (z * u[subject]).sum(axis=1) + 0.7 * rng.normal(size=len(t))
    return pd.DataFrame({"y": y, "t": t, "t2": t**2, "id": [f"s{k:02d}" for k in subject]})


def crossed(seed: int = 104) -> pd.DataFrame:
    """14 × 11 cells of two crossed factors, 0 to 3 records in each."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 4, (14, 11))
    a, b = (np.repeat(k.ravel(), cells.ravel()) for k in np.indices(cells.shape))
    x = rng.normal(size=len(a))
    y = 3 + 0.5 * x + rng.normal(size=14)[a] + 0.6 * rng.normal(size=11)[b] + 0.9 * rng.normal(size=len(a))
    return pd.DataFrame({"y": y, "x": x, "a": [f"a{k:02d}" for k in a], "b": [f"b{k:02d}" for k in b]})


def nested(seed: int = 105) -> pd.DataFrame:
    """15 schools of 2 to 5 classes of 2 to 9 pupils."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(15), rng.integers(2, 6, 15))
    room = np.concatenate([np.arange(k) for k in np.bincount(school)])
    size = rng.integers(2, 10, len(school))
    effect = 1.1 * rng.normal(size=15)[school] + 0.8 * rng.normal(size=len(school))
    s, c, e = (np.repeat(v, size) for v in (school, room, effect))
    x = rng.normal(size=len(s))
    y = 50 + 2 * x + e + 1.5 * rng.normal(size=len(s))
    return pd.DataFrame({"y": y, "x": x, "school": [f"s{k:02d}" for k in s], "room": [f"r{k}" for k in c]})


def _intercept(name: str, data: Callable[[], pd.DataFrame], fixed: str, group: str, note: str = "") -> LiveDesign:
    return LiveDesign(name, data, f"{fixed} + (1 | {group})", group, "1", group, note=note)


def _unstructured(name: str, data: Callable[[], pd.DataFrame], fixed: str, effects: str, group: str) -> LiveDesign:
    return LiveDesign(name, data, f"{fixed} + ({effects} | {group})", group, effects, f"{effects} | {group}")


def _nested(name: str, data: Callable[[], pd.DataFrame], fixed: str, outer: str, inner: str) -> LiveDesign:
    part = Part(f"0 + C({inner})", f"{outer}:{inner}", nested=True)
    return LiveDesign(name, data, f"{fixed} + (1 | {outer}/{inner})", outer, "1", outer, {inner: part})


def _crossed(name: str, data: Callable[[], pd.DataFrame], fixed: str, one: str, other: str) -> LiveDesign:
    parts = {f: Part(f"0 + C({f})", f) for f in (one, other)}
    return LiveDesign(name, data, f"{fixed} + (1 | {one}) + (1 | {other})", None, parts=parts)


def _independent(name: str, data: Callable[[], pd.DataFrame], fixed: str, slope: str, group: str) -> LiveDesign:
    term = f"1 + {slope} || {group}"
    parts = {"level": Part("1", term), "slope": Part(f"0 + {slope}", term, slope)}
    return LiveDesign(name, data, f"{fixed} + ({term})", group, parts=parts)


DESIGNS: tuple[LiveDesign, ...] = (
    _intercept("sleepstudy.intercept", _load("sleepstudy"), "Reaction ~ Days", "Subject"),
    _unstructured("sleepstudy.slopes", _load("sleepstudy"), "Reaction ~ Days", "1 + Days", "Subject"),
    _independent("sleepstudy.independent", _load("sleepstudy"), "Reaction ~ Days", "Days", "Subject"),
    _intercept("dyestuff", _load("dyestuff"), "Yield ~ 1", "Batch"),
    _intercept("dyestuff2", _load("dyestuff2"), "Yield ~ 1", "Batch", "the batch variance is zero: a boundary"),
    _crossed("penicillin.crossed", _load("penicillin"), "diameter ~ 1", "plate", "sample"),
    _nested("pastes.nested", _load("pastes"), "strength ~ 1", "batch", "cask"),
    _nested("oats.splitplot", _load("oats"), "Q('yield') ~ nitroF * Variety", "Block", "Variety"),
    _nested("machines.nested", _load("machines"), "score ~ Machine", "Worker", "Machine"),
    _unstructured("machines.us", _load("machines"), "score ~ Machine", "0 + Machine", "Worker"),
    _intercept("orthodont.intercept", _load("orthodont"), "distance ~ age * Sex", "Subject"),
    _unstructured("orthodont.slopes", _load("orthodont"), "distance ~ age * Sex", "1 + age", "Subject"),
    _intercept("rail", _load("rail"), "travel ~ 1", "Rail"),
    _intercept("simulated.oneway", oneway, "y ~ x + arm", "g", oneway.__doc__ or ""),
    _unstructured("simulated.slopes", slopes, "y ~ time + sex", "1 + time", "id"),
    _unstructured("simulated.quadratic", quadratic, "y ~ t + t2", "1 + t + t2", "id"),
    _independent("simulated.independent", slopes, "y ~ time + sex", "time", "id"),
    _crossed("simulated.crossed", crossed, "y ~ x", "a", "b"),
    _nested("simulated.nested", nested, "y ~ x", "school", "room"),
)
