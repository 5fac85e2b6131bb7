"""True Σ of each structure from its definition, and pedigrees with A by the tabular method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import scipy.linalg

from remlblup import Pedigree
from remlblup.validation.dense import Array

VARIANCES = (1.5, 1.0, 2.0, 1.2)
CORRELATIONS = np.array([[1.0, 0.6, 0.3, 0.5], [0.6, 1.0, 0.4, 0.2], [0.3, 0.4, 1.0, 0.5], [0.5, 0.2, 0.5, 1.0]])
LOADINGS = (1.1, 0.8, 1.2, 0.7)
SPECIFIC = (0.5, 0.6, 0.4, 0.7)
LAGS = (0.55, 0.3, 0.15)


def sigma(structure: str, effects: Sequence[str], p: Mapping[str, float]) -> Array:
    """Σ of named parameters."""
    t = len(effects)
    distance = np.abs(np.subtract.outer(np.arange(t), np.arange(t)))
    s = np.sqrt([p.get(f"var({e})", p.get("variance", 0.0)) for e in effects])
    match structure:
        case "id" | "diag":
            return np.diag(s**2)
        case "us":
            return np.array(
                [
                    [p.get(f"cov({a}, {b})", p.get(f"cov({b}, {a})", p.get(f"var({a})"))) for b in effects]
                    for a in effects
                ]
            )
        case "cs" | "csh":
            R = np.where(distance == 0, 1.0, p["correlation"])
        case "ar1" | "ar1h":
            R = p["correlation"] ** distance
        case "toep":
            R = scipy.linalg.toeplitz([1.0, *(p[f"correlation({lag})"] for lag in range(1, t))])
        case "known":
            return p["scale"] * CORRELATIONS[:t, :t]
        case "corg" | "corgh":
            R = np.array(
                [
                    [1.0 if a == b else p.get(f"cor({a}, {b})", p.get(f"cor({b}, {a})", np.nan)) for b in effects]
                    for a in effects
                ]
            )
        case "fa" | "rr":
            k = sum(f"loading {j + 1}({effects[-1]})" in p for j in range(t))
            gamma = np.array([[p.get(f"loading {j + 1}({e})", 0.0) for j in range(k)] for e in effects])
            return gamma @ gamma.T + np.diag([p.get(f"specific({e})", 0.0) for e in effects])
        case _:
            raise ValueError(f"no definition of '{structure}'")
    return R * np.outer(s, s)


def parameters(
    structure: str, effects: Sequence[str], scale: float = 1.0, r: float = 0.5, k: int = 1
) -> dict[str, float]:
    """True parameters of a structure over effects, variances times `scale`."""
    t = len(effects)
    v = [scale * x for x in VARIANCES[:t]]
    each = {f"var({e})": x for e, x in zip(effects, v, strict=True)}
    pairs = [(i, j) for i in range(t) for j in range(i)]
    match structure:
        case "id":
            return {"variance": 1.3 * scale}
        case "known":
            return {"scale": 1.3 * scale}
        case "diag":
            return each
        case "us":
            return each | {
                f"cov({effects[j]}, {effects[i]})": CORRELATIONS[i, j] * float(np.sqrt(v[i] * v[j])) for i, j in pairs
            }
        case "cs" | "ar1":
            return {"variance": 1.3 * scale, "correlation": r}
        case "csh" | "ar1h":
            return each | {"correlation": r}
        case "toep":
            return {"variance": 1.3 * scale} | {f"correlation({lag})": LAGS[lag - 1] for lag in range(1, t)}
        case "corg" | "corgh":
            return ({"variance": 1.3 * scale} if structure == "corg" else each) | {
                f"cor({effects[j]}, {effects[i]})": float(CORRELATIONS[i, j]) for i, j in pairs
            }
        case "fa" | "rr":
            root = float(np.sqrt(scale))
            loadings = {f"loading 1({e})": root * x for e, x in zip(effects, LOADINGS, strict=False)}
            if k == 2:
                loadings |= {f"loading 2({e})": root * x for e, x in zip(effects[1:], (0.8, -0.5, 0.6), strict=False)}
            specific = {f"specific({e})": scale * x for e, x in zip(effects, SPECIFIC, strict=False)}
            return loadings if structure == "rr" else specific | loadings
    raise ValueError(f"no truth of '{structure}'")


@cache
def family_tree(sires: int, dams: int, offspring: int, seed: int) -> tuple[Pedigree, tuple[str, ...], Array]:
    """Two generations of offspring: a pedigree, its animals in the order of A, and the Cholesky factor of A."""
    rng = np.random.default_rng(seed)
    founders = sires + dams
    n = founders + offspring
    sire, dam = np.full(n, -1), np.full(n, -1)
    middle = founders + offspring // 3
    for i in range(founders, n):
        young = i >= middle  # the second generation descends from the first in part
        sire[i] = (
            rng.integers(sires)
            if not young or rng.random() < 0.7
            else founders + 2 * rng.integers((middle - founders) // 2)
        )
        dam[i] = (
            sires + rng.integers(dams)
            if not young or rng.random() < 0.5
            else founders + 1 + 2 * rng.integers((middle - founders - 1) // 2)
        )
    A = np.eye(n)
    for i in range(founders, n):
        A[i, :i] = A[:i, i] = 0.5 * (A[sire[i], :i] + A[dam[i], :i])
        A[i, i] = 1.0 + 0.5 * A[sire[i], dam[i]]
    ids = tuple(f"a{k:03d}" for k in range(n))
    pedigree = Pedigree(ids, [None if s < 0 else ids[s] for s in sire], [None if d < 0 else ids[d] for d in dam])
    return pedigree, ids, np.linalg.cholesky(A)


def effects_of_levels(rng: np.random.Generator, covariance: Array, root: Array | int) -> Array:
    """u (q, t) ~ N(0, Σ ⊗ K), from L with K = LL' or from the number of unrelated levels."""
    values, vectors = np.linalg.eigh(covariance)
    half = vectors * np.sqrt(np.maximum(values, 0.0))
    z = rng.standard_normal((root if isinstance(root, int) else len(root), len(covariance)))
    return (z if isinstance(root, int) else root @ z) @ half.T
