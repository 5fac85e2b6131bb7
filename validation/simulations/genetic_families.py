"""Families for the structures of G: over sites or traits, unrelated levels or a pedigree, complete or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from remlblup.validation.dense import Array
from remlblup.validation.simulations.family import Family, Matrix
from remlblup.validation.simulations.truth import CORRELATIONS, effects_of_levels, family_tree, parameters, sigma

STRUCTURES = ("id", "diag", "us", "cs", "csh", "ar1", "ar1h", "toep", "corg", "fa", "rr")
#: With families, but none at the edge: `corgh` is `us` in other words, a known Σ has one variance.
MORE = ("corgh", "known")
_OPTIONS = {"fa": ", k=1", "rr": ", k=1", "known": ", matrix=M"}
#: Structures tried over four sites: three are as many as their parameters need.
_FOUR = ("toep", "fa", "rr")
#: Sires, dams and offspring of the two pedigrees.
_TREES = {"sites": (12, 24, 150, 1), "traits": (15, 30, 180, 2)}


def families() -> tuple[Family, ...]:
    """Five for each structure."""
    makers = (sites, sites_unbalanced, sites_pedigree, traits, traits_pedigree)
    return tuple(make(structure) for structure in (*STRUCTURES, *MORE) for make in makers)


_SITES = ("A", "B", "C", "D")


def _sites(structure: str) -> tuple[str, ...]:
    return _SITES[: 4 if structure in _FOUR else 3]


def _family(
    structure: str,
    design: str,
    fixed: str,
    effect: str,
    group: str,
    effects: tuple[str, ...],
    draw: Callable[[Array, np.random.Generator], pd.DataFrame],
    scale: float,
    r: float,
    rest: dict[str, dict[str, float]],
    **options: Any,
) -> Family:
    """The family of a structure over `effects` within `group`; `draw` makes the data from Σ."""
    term = f"{structure}({effect} | {group}{_OPTIONS.get(structure, '')})"
    p = parameters(structure, effects, scale, r)
    define = partial(sigma, structure, effects)
    matrices = (Matrix(term, effects, define),) if structure in ("fa", "rr") else ()
    if structure == "known":
        options["relationships"] = {
            **options.get("relationships", {}),
            "M": CORRELATIONS[: len(effects), : len(effects)],
        }
    return Family(
        structure, design, f"{fixed} + {term}", partial(draw, define(p)), {term: p} | rest, matrices=matrices, **options
    )


_MEANS = np.array([10.0, 12.0, 9.0, 11.0])
_ERROR = {"residual": {"variance": 1.0}}


def sites(structure: str) -> Family:
    """70 unrelated varieties, two plots at each site."""

    def draw(covariance: Array, rng: np.random.Generator) -> pd.DataFrame:
        t = len(covariance)
        g, s = np.repeat(np.arange(70), 2 * t), np.tile(np.repeat(np.arange(t), 2), 70)
        return plots(rng, effects_of_levels(rng, covariance, 70), g, s)

    return _family(structure, "sites", "y ~ site", "site", "variety", _sites(structure), draw, 1.0, 0.5, _ERROR)


def sites_unbalanced(structure: str) -> Family:
    """90 unrelated varieties, each missing from a quarter of the sites; one to three plots."""

    def draw(covariance: Array, rng: np.random.Generator) -> pd.DataFrame:
        t = len(covariance)
        count = rng.integers(1, 4, (90, t)) * (rng.random((90, t)) > 0.25)
        g, s = (np.repeat(k.ravel(), count.ravel()) for k in np.indices(count.shape))
        return plots(rng, effects_of_levels(rng, covariance, 90), g, s)

    return _family(
        structure, "sites_unbalanced", "y ~ site", "site", "variety", _sites(structure), draw, 1.5, 0.3, _ERROR
    )


def plots(rng: np.random.Generator, u: Array, g: Array, s: Array, names: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Records of a variety's effect at a site, with errors of variance one. The sites stand in their order."""
    labels = np.array(names or [f"v{k:02d}" for k in range(len(u))])
    y = _MEANS[s] + u[g, s] + rng.standard_normal(len(g))
    site = pd.Categorical.from_codes(s, _SITES[: u.shape[1]], ordered=True)
    return pd.DataFrame({"variety": labels[g], "site": site, "y": y})


def sites_pedigree(structure: str) -> Family:
    """150 offspring of 12 sires and 24 dams over two generations, one plot at each site."""
    pedigree, ids, root = family_tree(*_TREES["sites"])
    first = len(ids) - _TREES["sites"][2]

    def draw(covariance: Array, rng: np.random.Generator) -> pd.DataFrame:
        t = len(covariance)
        g, s = np.repeat(np.arange(first, len(ids)), t), np.tile(np.arange(t), len(ids) - first)
        return plots(rng, effects_of_levels(rng, covariance, root), g, s, ids)

    return _family(
        structure,
        "sites_pedigree",
        "y ~ site",
        "site",
        "vm(variety, A)",
        _sites(structure),
        draw,
        1.2,
        0.6,
        _ERROR,
        relationships={"A": pedigree},
    )


_R3 = np.array([[1.0, 0.4, 0.2], [0.4, 1.5, -0.3], [0.2, -0.3, 0.8]])
_TRAITS = ("y1", "y2", "y3")


def traits(structure: str) -> Family:
    """Three traits of 60 unrelated groups of four, an unstructured residual, a sixth of the records missing."""

    def draw(covariance: Array, rng: np.random.Generator) -> pd.DataFrame:
        g = np.repeat(np.arange(60), 4)
        y = _MEANS[:3] + effects_of_levels(rng, covariance, 60)[g] + effects_of_levels(rng, _R3, len(g))
        return _missing(rng, y, 1 / 6).assign(group=[f"g{k:02d}" for k in g])

    rest = {"residual": _named(_R3)}
    return _family(
        structure,
        "traits",
        "c(y1, y2, y3) ~ trait",
        "trait",
        "group",
        _TRAITS,
        draw,
        1.0,
        0.4,
        rest,
        residual="us(trait | units)",
    )


def traits_pedigree(structure: str) -> Family:
    """Three traits of 180 offspring of 15 sires and 30 dams, independent residuals, a tenth of the records missing."""
    pedigree, ids, root = family_tree(*_TREES["traits"])
    first = len(ids) - _TREES["traits"][2]

    def draw(covariance: Array, rng: np.random.Generator) -> pd.DataFrame:
        u = effects_of_levels(rng, covariance, root)[first:]
        y = _MEANS[:3] + u + np.sqrt(np.diag(_R3)) * rng.standard_normal(u.shape)
        return _missing(rng, y, 0.1).assign(animal=ids[first:])

    rest = {"residual": {f"var({a})": float(_R3[i, i]) for i, a in enumerate(_TRAITS)}}
    return _family(
        structure,
        "traits_pedigree",
        "c(y1, y2, y3) ~ trait",
        "trait",
        "vm(animal, A)",
        _TRAITS,
        draw,
        1.5,
        0.5,
        rest,
        residual="diag(trait | units)",
        relationships={"A": pedigree},
    )


def _missing(rng: np.random.Generator, y: Array, share: float) -> pd.DataFrame:
    return pd.DataFrame(np.where(rng.random(y.shape) < share, np.nan, y), columns=list(_TRAITS[: y.shape[1]]))


def _named(R: Array) -> dict[str, float]:
    pairs = [(i, j) for i in range(len(R)) for j in range(i + 1)]
    return {f"var({_TRAITS[i]})" if i == j else f"cov({_TRAITS[j]}, {_TRAITS[i]})": float(R[i, j]) for i, j in pairs}
