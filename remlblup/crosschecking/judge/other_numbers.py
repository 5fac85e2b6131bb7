"""Other numbers for the same estimates: ratios, standard deviations, ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from remlblup.arrays import Array
from remlblup.crosschecking.judge.variant import Variant
from remlblup.crosschecking.results import effects_of
from remlblup.model.parameters import RESIDUAL, Parameters


def other_numbers(parameters: Parameters) -> Iterator[Variant]:
    """Ratios, standard deviations, correlations, ranges."""
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
    yield Variant("standard deviations", "roots of the variances", of=_roots(parameters))
    places = [k for k, (_, name) in enumerate(parameters.pairs) if is_correlation(name)]
    if places:
        at = np.isin(np.arange(parameters.size), places)
        with np.errstate(all="ignore"):
            for words, function in (
                ("the range −1/log ρ", lambda r: -1.0 / np.log(r)),
                ("the decay −log ρ", lambda r: -np.log(r)),
                ("the practical range −3/log ρ", lambda r: -3.0 / np.log(r)),
            ):
                yield Variant("range for correlation", words, of=_where(at, function))


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
