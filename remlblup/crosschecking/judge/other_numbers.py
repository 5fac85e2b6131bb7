"""Other numbers for the same estimates: ratios, standard deviations, ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from remlblup.arrays import Array
from remlblup.crosschecking.judge.variant import Variant
from remlblup.crosschecking.results import effects_of
from remlblup.model.parameters import RESIDUAL, Parameters

#: Words, and what is printed in place of a correlation ρ of neighbours.
FOR_CORRELATION: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("the range −1/log ρ", lambda r: -1.0 / np.log(r)),
    ("the decay −log ρ", lambda r: -np.log(r)),
    ("the practical range −3/log ρ", lambda r: -3.0 / np.log(r)),
)
#: Of a range φ, by the function of distance.
FOR_RANGE: dict[str, tuple[tuple[str, Callable[[Array], Array]], ...]] = {
    "exp": (
        ("the correlation exp(−1/φ) at distance 1", lambda r: np.exp(-1.0 / r)),
        ("the decay 1/φ", lambda r: 1.0 / r),
        ("the practical range 3φ", lambda r: 3.0 * r),
    ),
    "gau": (
        ("the correlation exp(−1/φ²) at distance 1", lambda r: np.exp(-1.0 / r**2)),
        ("the decay 1/φ²", lambda r: 1.0 / r**2),
        ("the practical range √3 φ", lambda r: np.sqrt(3.0) * r),
        ("the deviation φ/√2", lambda r: r / np.sqrt(2.0)),
    ),
}


def other_numbers(parameters: Parameters) -> Iterator[Variant]:
    """Ratios, standard deviations, correlations, ranges, covariances."""
    is_variance = np.array([effects_of(name)[0] == "variance" for _, name in parameters.pairs])
    residual = np.array([term == RESIDUAL for term, _ in parameters.pairs])
    linear = np.array([effects_of(name)[0] != "parameter" for _, name in parameters.pairs])
    if (residual & is_variance).sum() == 1:
        scale = int(np.flatnonzero(residual & is_variance)[0])
        ratio = linear & ~residual
        root = np.array([effects_of(name)[0] == "loading" for _, name in parameters.pairs])

        def over(theta: Array, total: float) -> Array:
            return np.where(root, theta / np.sqrt(total), theta / total)

        def over_residual(theta: Array) -> Array:
            return np.where(ratio, over(theta, theta[scale]), theta)

        def with_one(theta: Array) -> Array:
            return np.where(np.arange(len(theta)) == scale, 1.0, over_residual(theta))

        def over_total(theta: Array) -> Array:
            return np.where(linear, over(theta, theta[is_variance].sum()), theta)

        yield Variant("components as ratios", "divided by the residual variance", of=over_residual)
        yield Variant("components as ratios", "divided by the residual variance, itself 1", of=with_one)
        yield Variant("components as ratios", "shares of the sum of all variances", of=over_total)
    keywords = keywords_of(parameters)
    yield Variant("standard deviations", "roots of the variances", of=_roots(parameters))
    for reason, pairs, chosen in (
        ("range for correlation", FOR_CORRELATION, lambda name, keyword: is_correlation(name)),
        ("correlation for range", FOR_RANGE["exp"], lambda name, keyword: is_range(name) and keyword == "exp"),
        ("correlation for range", FOR_RANGE["gau"], lambda name, keyword: is_range(name) and keyword == "gau"),
    ):
        at = np.array([chosen(name, keyword) for (_, name), keyword in zip(parameters.pairs, keywords, strict=True)])
        if at.any():
            yield from (Variant(reason, words, of=_where(at, function)) for words, function in pairs)
    yield from _covariances(parameters, keywords)


def keywords_of(parameters: Parameters) -> list[str]:
    """The structure of each parameter."""
    structures = (*parameters.structures, parameters.residual)
    out = [structure.keyword for structure in structures for _ in structure.names]
    inner = getattr(parameters.residual, "structure", None)  # of blocks and of places
    if inner is not None:
        out[parameters.of_residual] = [inner.keyword] * parameters.residual.n_parameters
    return out


def _covariances(parameters: Parameters, keywords: list[str]) -> Iterator[Variant]:
    """Of compound symmetry the covariance ρσ² in place of ρ, and what is left beside it in place of σ²."""
    place = {pair: k for k, pair in enumerate(parameters.pairs)}
    both = [
        (place[term, "variance"], k)
        for k, ((term, name), keyword) in enumerate(zip(parameters.pairs, keywords, strict=True))
        if keyword == "cs" and name == "correlation" and (term, "variance") in place
    ]
    if not both:
        return
    variance, correlation = map(list, zip(*both, strict=True))

    def covariance(theta: Array, left: bool) -> Array:
        out = theta.copy()
        out[correlation] = theta[variance] * theta[correlation]
        out[variance] -= out[correlation] if left else 0.0
        return out

    reason = "covariance for correlation"
    yield Variant(reason, "the covariance ρσ²", of=lambda theta: covariance(theta, False))
    yield Variant(reason, "the covariance ρσ² and the rest σ² − ρσ²", of=lambda theta: covariance(theta, True))


def is_range(name: str) -> bool:
    """Whether a parameter of ours is a range of distances."""
    return name == "range" or name.startswith("range(")


def is_correlation(name: str) -> bool:
    """Whether a parameter of ours is the correlation of neighbours."""
    return name.split("(")[0].split("[")[0].strip().lower().startswith(("rho", "cor", "ar", "phi"))


def _where(at: np.ndarray, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def of(theta: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.where(at, function(np.where(at, np.clip(theta, 1e-300, None), 0.5)), theta)

    return of


def _roots(parameters: Parameters) -> Callable[[Array], Array]:
    """√ of variances, and correlations in place of covariances."""

    def of(theta: Array) -> Array:
        out = theta.copy()
        place = {}
        for k, (term, name) in enumerate(parameters.pairs):
            kind, effects = effects_of(name)
            if kind == "variance":
                place[term, effects[0]] = k
                out[k] = np.sqrt(max(theta[k], 0.0))
        for k, (term, name) in enumerate(parameters.pairs):
            kind, effects = effects_of(name)
            pair = [place.get((term, e)) for e in effects]
            if kind == "covariance" and None not in pair:
                product = theta[pair[0]] * theta[pair[1]]
                out[k] = theta[k] / np.sqrt(product) if product > 0.0 else np.nan
        return out

    return of
