"""Small data sets, each with what a program finds that goes wrong in a known way, by ways of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.linalg

import remlblup as rb

Array = np.ndarray


@dataclass(frozen=True)
class Disagreement:
    """A model of ours, and theirs.

    Attributes
    ----------
    reason : why theirs differs, as the verdict names it; None where it does not
    fit : ours
    theirs : rows of a plain table: term, effect, other, kind, estimate
    data : all of the data, for `crosscheck(data=)`
    fixed : fixed effects of theirs
    """

    reason: str | None
    fit: rb.Fit
    theirs: list[tuple[str, str, str, str, float]]
    data: pd.DataFrame | None = None
    fixed: list[tuple[str, float]] = field(default_factory=list)

    @property
    def whole(self) -> list[tuple[str, str, str, str, str, float]]:
        """Components and fixed effects as rows of a plain table: what it is, term, effect, other, kind, estimate."""
        rows = [("component", *row) for row in self.theirs]
        return rows + [("fixed", name, "", "", "", value) for name, value in self.fixed]


def components(fit: rb.Fit, of: Callable[[Array], Array] | None = None) -> list[tuple[str, str, str, str, float]]:
    """The components of a fit as rows, perhaps changed; the residual last."""
    theta = fit.theta if of is None else of(fit.theta.copy())
    rows = []
    for (term, name), value in zip(fit.specification.parameters.pairs, theta, strict=True):
        if name.startswith(("var(", "cov(")):
            first, _, second = name[4:-1].partition(", ")
            rows.append((term, first, second, "covariance" if second else "variance", value))
        elif name.startswith("loading"):
            factor, _, effect = name[:-1].partition("(")
            rows.append((term, effect, factor.replace("loading", "factor"), "loading", value))
        else:
            rows.append((term, "" if name == "variance" else name, "", "" if name == "variance" else name, value))
    return rows


# -- animals ---------------------------------------------------------------------------------


def herd(rng: np.random.Generator, founders: int = 30, generations: int = 4, size: int = 60) -> pd.DataFrame:
    """A pedigree of few sires, so that the later generations are inbred."""
    rows: list[tuple[str, str | None, str | None]] = [(f"a{k}", None, None) for k in range(founders)]
    last = [row[0] for row in rows]
    for _ in range(generations):
        sires, dams = last[:3], last[3:]
        made = [(f"a{len(rows) + k}", str(rng.choice(sires)), str(rng.choice(dams))) for k in range(size)]
        rows += made
        last = [row[0] for row in made]
        rng.shuffle(last)
    return pd.DataFrame(rows, columns=["id", "sire", "dam"])


def breeding_values(rng: np.random.Generator, pedigree: rb.Pedigree, covariance: Array) -> Array:
    """(animals, traits) with variance A ⊗ Σ."""
    root = np.linalg.cholesky(pedigree.dense())
    return root @ rng.standard_normal((len(pedigree.labels), len(covariance))) @ np.linalg.cholesky(covariance).T


def animals(rng: np.random.Generator) -> tuple[pd.DataFrame, rb.Pedigree]:
    """Records of the later three quarters of a herd: two traits, some values of the second missing."""
    frame = herd(rng)
    pedigree = rb.Pedigree.from_frame(frame)
    u = breeding_values(rng, pedigree, np.array([[2.0, 0.8], [0.8, 1.5]]))
    labels = [str(v) for v in pedigree.labels]
    e = rng.standard_normal((len(labels), 2)) @ np.linalg.cholesky(np.array([[3.0, 0.5], [0.5, 2.0]])).T
    sex = rng.integers(0, 2, len(labels))
    data = pd.DataFrame({"id": labels, "sex": np.where(sex, "m", "f"), "y": 20.0 + sex + (u + e)[:, 0]})
    data["z"] = 10.0 + (u + e)[:, 1]
    data.loc[rng.random(len(data)) < 0.25, "z"] = np.nan
    data["other"] = np.where(rng.random(len(data)) < 0.15, np.nan, 1.0)
    data["weight"] = rng.integers(1, 6, len(data)).astype(float)
    return data.iloc[-150:].reset_index(drop=True), pedigree


ANIMAL = "y ~ sex + (1 | vm(id, A))"
TWO = "c(y, z) ~ trait + (trait | vm(id, A))"


def animal_fit(data: pd.DataFrame, relationship: object, weights: str | None = None, method: str = "REML") -> rb.Fit:
    """The animal model of one trait."""
    return rb.MixedModel(ANIMAL, data, {"A": relationship}, weights=weights).fit(method, progress=False)


def no_inbreeding(pedigree: rb.Pedigree) -> rb.Relationship:
    """A⁻¹ by Henderson's rules of parents that are not inbred, added up here."""
    n = len(pedigree.labels)
    inverse = np.zeros((n, n))
    for k, (s, d) in enumerate(zip(pedigree.sire, pedigree.dam, strict=True)):
        known = [p for p in (s, d) if p >= 0]
        row = np.zeros(n)
        row[[k, *known]] = [1.0, *[-0.5] * len(known)]
        inverse += np.outer(row, row) / (1.0 - 0.25 * len(known))
    return rb.Relationship(inverse, [str(v) for v in pedigree.labels], inverse=True)


def inbreeding_ignored(rng: np.random.Generator) -> Disagreement:
    """In A⁻¹."""
    data, pedigree = animals(rng)
    theirs = animal_fit(data, no_inbreeding(pedigree))
    return Disagreement("inbreeding ignored", animal_fit(data, pedigree), components(theirs))


def inverse_cut(rng: np.random.Generator) -> Disagreement:
    """The inverse of A without the rows and columns of animals that have no records."""
    data, pedigree = animals(rng)
    places = pd.Index([str(v) for v in pedigree.labels]).get_indexer(data["id"])
    part = np.linalg.inv(np.linalg.inv(pedigree.dense())[np.ix_(places, places)])
    K = pd.DataFrame(part, index=data["id"], columns=data["id"])
    return Disagreement("A cut to animals with records", animal_fit(data, pedigree), components(animal_fit(data, K)))


def maximum_likelihood(rng: np.random.Generator) -> Disagreement:
    """ML, of a model with many fixed effects."""
    data, pedigree = animals(rng)
    data["herd"] = [f"h{k}" for k in rng.integers(0, 15, len(data))]
    model = rb.MixedModel("y ~ sex + herd + (1 | vm(id, A))", data, {"A": pedigree})
    return Disagreement("ML in place of REML", model.fit(progress=False), components(model.fit("ML", progress=False)))


def weights_inverted(rng: np.random.Generator) -> Disagreement:
    """1/w given where w was meant."""
    data, pedigree = animals(rng)
    other = data.assign(weight=1.0 / data["weight"])
    return Disagreement(
        "weights inverted", animal_fit(data, pedigree, "weight"), components(animal_fit(other, pedigree, "weight"))
    )


def ratios(rng: np.random.Generator) -> Disagreement:
    """Components over the residual variance, as ASReml prints in its column gamma."""
    data, pedigree = animals(rng)
    fit = animal_fit(data, pedigree)

    def of(theta: Array) -> Array:
        return np.append(theta[:-1] / theta[-1], theta[-1] if rng.random() < 0.5 else 1.0)

    return Disagreement("components as ratios", fit, components(fit, of))


def records_dropped(rng: np.random.Generator) -> Disagreement:
    """Rows that miss anything in a column that the model does not use."""
    data, pedigree = animals(rng)
    data = data.drop(columns="z")
    return Disagreement("records dropped", animal_fit(data, pedigree), components(animal_fit(data.dropna(), pedigree)))


def traits_imputed(rng: np.random.Generator) -> Disagreement:
    """Missing values of the second trait replaced by its mean."""
    data, pedigree = animals(rng)
    filled = data.assign(z=data["z"].fillna(data["z"].mean()))
    ours, theirs = (
        rb.MixedModel(TWO, d, {"A": pedigree}, residual="us(trait | units)").fit(progress=False) for d in (data, filled)
    )
    return Disagreement("missing values imputed", ours, components(theirs))


def start_returned(rng: np.random.Generator) -> Disagreement:
    """Equal parts of the variance of the response, as programs start from."""
    data, pedigree = animals(rng)
    fit = animal_fit(data, pedigree)
    part = float(data["y"].var()) / 2.0
    return Disagreement("start values returned", fit, components(fit, lambda theta: np.full(len(theta), part)))


# -- groups and series -----------------------------------------------------------------------


def group_coded_missing(rng: np.random.Generator) -> Disagreement:
    """Level "0" of the group read as missing, and its records left out."""
    group = rng.integers(0, 15, 150)
    x = rng.standard_normal(150)
    y = 3.0 + x + rng.standard_normal(15)[group] * 1.5 + rng.standard_normal(150)
    data = pd.DataFrame({"y": y, "x": x, "g": group.astype(str)})
    ours, theirs = (rb.MixedModel("y ~ x + (1 | g)", d).fit(progress=False) for d in (data, data[data["g"] != "0"]))
    return Disagreement("level coded missing", ours, components(theirs))


def level_without_effect(rng: np.random.Generator) -> Disagreement:
    """Level "0" of the group read as no group: its records are kept, each has an effect of none."""
    group = rng.integers(0, 12, 150)
    x = rng.standard_normal(150)
    y = 3.0 + x + rng.standard_normal(12)[group] * 1.5 + rng.standard_normal(150)
    data = pd.DataFrame({"y": y, "x": x, "g": group.astype(str)})
    ours = rb.MixedModel("y ~ x + (1 | g)", data).fit(progress=False)
    Z = (group[:, None] == np.arange(1, 12)).astype(float)
    X = np.column_stack([np.ones(150), x])
    theirs = rb.MixedModel.from_matrices(y, X, [Z], names=["g"]).fit(progress=False)
    return Disagreement("level coded missing", ours, components(theirs))


def range_for_correlation(rng: np.random.Generator) -> Disagreement:
    """A range r = −1/log ρ where ours has the correlation ρ of neighbours."""
    units, times, rho = 30, 6, rng.uniform(0.3, 0.8)
    root = np.linalg.cholesky(scipy.linalg.toeplitz(rho ** np.arange(times)))
    y = (rng.standard_normal((units, times)) @ root.T * 1.4).ravel() + 0.6 * rng.standard_normal(units * times)
    data = pd.DataFrame({"y": y, "g": np.repeat([f"u{k}" for k in range(units)], times), "t": [*range(times)] * units})
    fit = rb.MixedModel("y ~ 1 + ar1(t | g)", data).fit(progress=False)
    place = next(k for k, (_, name) in enumerate(fit.specification.parameters.pairs) if name.startswith(("rho", "cor")))

    def of(theta: Array) -> Array:
        theta[place] = -1.0 / np.log(theta[place])
        return theta

    return Disagreement("range for correlation", fit, components(fit, of))


# -- no reason -------------------------------------------------------------------------------


def agreeing(rng: np.random.Generator) -> Disagreement:
    """The same estimates."""
    data, pedigree = animals(rng)
    fit = animal_fit(data, pedigree)
    return Disagreement(None, fit, components(fit))


def stopped_short(rng: np.random.Generator) -> Disagreement:
    """A point on the way: a share of a standard error from ours in every component."""
    data, pedigree = animals(rng)
    fit = animal_fit(data, pedigree)
    error = np.sqrt(np.nan_to_num(np.diag(fit.variance_covariance)))
    away = rng.uniform(0.05, 0.6) * rng.choice([-1.0, 1.0], len(error))
    return Disagreement(None, fit, components(fit, lambda theta: np.maximum(theta + away * error, 0.01 * theta)))


def unknown_model(rng: np.random.Generator) -> Disagreement:
    """A fifth of the records left out for no reason in the data."""
    data, pedigree = animals(rng)
    some = data[rng.random(len(data)) < 0.8]
    return Disagreement(None, animal_fit(data, pedigree), components(animal_fit(some, pedigree)))
