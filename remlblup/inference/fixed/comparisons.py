"""Families of contrasts among means, and p values and intervals adjusted for their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import DataError, OptionError, some
from remlblup.inference.fixed.studentized_range import studentized_tails
from remlblup.relationship.labels import match

ADJUSTMENTS = {
    "tukey": "Tukey's method",
    "dunnett": "the multivariate t (Dunnett)",
    "holm": "Holm's method",
    "bonferroni": "Bonferroni's method",
    "fdr": "the false discovery rate (Benjamini & Hochberg)",
}
METHODS = ("pairwise", "reference", "sequential", "polynomial")
OF_STATSMODELS = {"holm": "holm", "bonferroni": "bonferroni", "fdr": "fdr_bh"}
# Polynomials up to this degree; integer weights up to this size.
DEGREE, LARGEST = 6, 100_000
POLYNOMIALS = ("linear", "quadratic", "cubic", "quartic", "degree 5", "degree 6")
# Points of the integration of the multivariate t, per contrast; its seed.
POINTS, SEED = 10_000, 0
# Degrees of freedom at which quantiles are computed; between them they are interpolated.
NODES = 6


@dataclass(frozen=True)
class Family:
    """Contrasts of k means: names, weights (r, k), and the adjustment that goes with them."""

    method: str
    names: list[str]
    weights: Array
    adjust: str | None


def family(method: Any, levels: Sequence[Any], reference: Any) -> Family:
    """The contrasts of these levels.

    Raises
    ------
    DataError, OptionError
        If the method or a level is unknown, or there are fewer than two means.
    """
    k = len(levels)
    if k < 2:
        raise DataError("there is one mean only: nothing to compare it with.")
    texts = [text_of(level) for level in levels]
    eye = np.eye(k)
    if reference is not None and method != "reference":
        raise OptionError("reference= goes with 'reference' contrasts.")
    if isinstance(method, Mapping):
        return Family("weights", [str(n) for n in method], weights_of(method, levels), None)
    method = method if isinstance(method, str) else repr(method)
    if method == "pairwise":
        pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
        return Family(
            method,
            [f"{texts[i]} - {texts[j]}" for i, j in pairs],
            eye[[i for i, _ in pairs]] - eye[[j for _, j in pairs]],
            "tukey",
        )
    if method == "reference":
        r = 0 if reference is None else position(reference, levels)
        others = [i for i in range(k) if i != r]
        return Family(method, [f"{texts[i]} - {texts[r]}" for i in others], eye[others] - eye[r], "dunnett")
    if method == "sequential":
        return Family(method, [f"{texts[i + 1]} - {texts[i]}" for i in range(k - 1)], eye[1:] - eye[:-1], None)
    if method == "polynomial":
        weights = polynomials(levels)
        return Family(method, list(POLYNOMIALS[: len(weights)]), weights, None)
    raise OptionError(f"contrasts {method!r} are not known. Choose one of: {some(METHODS)}, or give weights by name.")


def text_of(level: Any) -> str:
    if isinstance(level, tuple):
        return " ".join(map(text_of, level))
    return f"{level:g}" if isinstance(level, float) else str(level)


def position(level: Any, levels: Sequence[Any]) -> int:
    """Where a level stands among all."""
    if any(isinstance(other, tuple) for other in levels):
        found = [i for i, other in enumerate(levels) if text_of(other) == text_of(level)]
    else:
        code = int(np.asarray(match(np.array(levels, dtype=object), [level]))[0])
        found = [code] if code >= 0 else []
    if not found:
        raise DataError(f"there is no mean of level {level!r}. There are those of {some(levels, 20)}.")
    return found[0]


def weights_of(contrasts: Mapping[Any, Any], levels: Sequence[Any]) -> Array:
    """(r, k) of weights by level, or in the order of the levels."""
    if not contrasts:
        raise DataError("no contrast was given.")
    out = np.zeros((len(contrasts), len(levels)))
    for row, (name, weights) in zip(out, contrasts.items(), strict=True):
        pairs: Iterable[tuple[Any, Any]] | None = weights.items() if isinstance(weights, Mapping) else None
        if pairs is None:
            if isinstance(weights, (str, bytes)) or not np.iterable(weights) or len(list(weights)) != len(levels):
                raise DataError(f"'{name}' needs a weight for each of {some(levels, 20)}, or a mapping of them.")
            pairs = zip(levels, weights, strict=True)
        for level, weight in pairs:
            if not isinstance(weight, Real) or not math.isfinite(weight):
                raise DataError(f"the weight of {level!r} in '{name}' is not a number: {weight!r}.")
            row[position(level, levels)] += float(weight)
    return out


def polynomials(levels: Sequence[Any]) -> Array:
    """Orthogonal polynomials over the levels, in whole numbers where they are not too large; (degree, k)."""
    try:
        x = [Fraction(str(v)) for v in levels]
    except (ValueError, ZeroDivisionError):
        x = [Fraction(i) for i in range(len(levels))]
    if len(set(x)) < len(x):
        x = [Fraction(i) for i in range(len(levels))]
    basis: list[list[Fraction]] = [[Fraction(1)] * len(x)]
    for degree in range(1, min(len(x) - 1, DEGREE) + 1):
        v = [a**degree for a in x]
        for b in basis:
            share = sum((p * q for p, q in zip(v, b, strict=True)), Fraction(0)) / sum(q * q for q in b)
            v = [p - share * q for p, q in zip(v, b, strict=True)]
        scale = Fraction(
            math.lcm(*(p.denominator for p in v)),
            math.gcd(*(p.numerator * math.lcm(*(q.denominator for q in v)) // p.denominator for p in v)),
        )
        basis.append([p * scale for p in v])
    out = []
    for b in basis[1:]:
        row = np.array([float(p) for p in b])
        out.append(row if max(abs(p) for p in b) <= LARGEST else row / np.linalg.norm(row))
    return np.array(out)


# -- adjustment ----------------------------------------------------------------------------------


def adjusted(
    own: Family, t: Array, df: Array, covariance: Array | None, adjust: str | None, means: int, level: float
) -> tuple[Array, Array]:
    """P values of the t (r,), and how many standard errors the intervals reach.

    Parameters
    ----------
    covariance : (r, r) of the contrasts, for the multivariate t
    means : that are compared, for Tukey's method
    """
    from scipy import stats

    known = np.isfinite(t) & np.isfinite(np.where(np.isinf(df), 1.0, df))
    p, reach = np.full(len(t), np.nan), np.full(len(t), np.nan)
    size, own_df = np.abs(t[known]), df[known]
    alone = 2.0 * stats.t.sf(size, own_df)
    if adjust == "tukey" and own.method != "pairwise":
        raise OptionError(f"Tukey's method is for all pairwise differences, not for {own.method} contrasts.")
    if adjust is None or np.count_nonzero(known) < 2:  # one needs no adjustment
        p[known], reach[known] = alone, stats.t.ppf(0.5 + level / 2.0, own_df)
    elif adjust == "tukey":
        p[known] = studentized_tails(np.sqrt(2.0) * size, means, own_df)
        reach[known] = over_df(lambda d: studentized_quantile(level, means, d) / np.sqrt(2.0), own_df)
    elif adjust == "dunnett":
        assert covariance is not None
        R = covariance[np.ix_(known, known)]
        root = 1.0 / np.sqrt(np.diag(R))
        R = R * np.outer(root, root)
        p[known] = [1.0 - coverage(s, R, d) for s, d in zip(size, own_df, strict=True)]
        reach[known] = over_df(lambda d: half_width(level, R, d), own_df)
    else:
        from statsmodels.stats.multitest import multipletests

        p[known] = multipletests(alone, method=OF_STATSMODELS[adjust])[1]
        share = (1.0 - level) / (known.sum() if adjust in ("holm", "bonferroni") else 1.0)
        reach[known] = stats.t.ppf(1.0 - share / 2.0, own_df)
    return p, reach


def over_df(quantile: Callable[[float], float], df: Array) -> Array:
    """A quantile at many degrees of freedom: it is smooth in 1/df, and interpolated where they are more than a few."""
    inverse, place = np.unique(1.0 / df, return_inverse=True)
    if len(inverse) <= NODES:
        return np.array([quantile(1.0 / x) if x else quantile(np.inf) for x in inverse])[place]
    low, high = inverse[0], inverse[-1]
    middle, half = 0.5 * (low + high), 0.5 * (high - low)

    def values(v: Any) -> Any:
        return np.array([quantile(1.0 / (middle + half * u)) for u in np.atleast_1d(v)])

    fitted: Any = np.polynomial.chebyshev.chebinterpolate(values, NODES - 1)
    return np.polynomial.chebyshev.chebval((inverse - middle) / half, fitted)[place]


def studentized_quantile(level: float, k: int, df: float) -> float:
    from scipy import stats

    return float(stats.studentized_range.ppf(level, k, df))


def coverage(size: float, R: Array, df: float) -> float:
    """P(max |T_i| ≤ size) of the multivariate t with correlations R."""
    from scipy import stats

    r = len(R)
    if r == 1:
        return float(1.0 - 2.0 * stats.t.sf(size, df))
    # Correlations of 1, of contrasts given twice, leave the matrix singular.
    out = stats.multivariate_t.cdf(
        np.full(r, size),
        shape=R,
        df=df,
        allow_singular=True,
        maxpts=POINTS * r,
        lower_limit=np.full(r, -size),
        random_state=SEED,
    )
    return float(np.clip(out, 0.0, 1.0))


def half_width(level: float, R: Array, df: float) -> float:
    """The size that |T_i| stay below, all together, with this probability."""
    from scipy import optimize, stats

    low, high = stats.t.ppf(0.5 + level / 2.0, df), stats.t.ppf(1.0 - (1.0 - level) / (2.0 * len(R)), df)
    if len(R) == 1 or not high > low:
        return float(low)
    return float(optimize.brentq(lambda s: coverage(s, R, df) - level, 0.999 * low, 1.001 * high, xtol=1e-4))
