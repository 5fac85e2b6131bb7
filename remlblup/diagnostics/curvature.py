"""The score, the three informations and the correlations of the estimates, labelled and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import ModelError, choose, some
from remlblup.fit.errors.directions import CHOICES, Around
from remlblup.fit.tables.shown import shown

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# Correlations of two estimates from here on are told in words, and at most so many of them.
STRONG, TOLD = 0.9, 6


def score(fit: Estimates) -> pd.Series:
    """∂ℓ/∂θ at the last iterate."""
    columns = list(fit.specification.parameters.columns)
    return pd.Series(fit._optimum.point.gradient.copy(), index=pd.Index(columns, name="parameter"), name="score")


def information(fit: Estimates, kind: str) -> pd.DataFrame:
    """See `DiagnosticMethods.information`."""
    choose("kind", kind, CHOICES)
    columns = list(fit.specification.parameters.columns)
    if kind == "average":
        matrix = fit._optimum.point.information
    else:
        if fit.convergence.unidentified:
            raise ModelError(
                f"the likelihood is flat in a direction of {some(fit.convergence.unidentified)}: along it there is no"
                f" {kind} information. In reach is kind='average'."
            )
        matrix = along_the_space(fit, kind)
    table = pd.DataFrame(0.5 * (matrix + matrix.T), index=columns, columns=columns)
    table.attrs["kind"] = kind
    return shown(table, fit._note)


def along_the_space(fit: Estimates, kind: str) -> Array:
    """The observed or expected information of what can move, (n_parameters, n_parameters); NaN for what cannot.

    `Around` has C'IC over the directions C that θ moves in. With C = JA, J their tangent, the pseudoinverse C⁺ takes it
    back to I itself where J moves a parameter freely.
    """
    known, optimum = fit._precise_information, fit._optimum
    out = np.full((len(fit.theta),) * 2, np.nan)
    free = np.array([status == "free" for status in fit.status])
    if not free.any():
        return out
    around = Around(optimum.precise, fit.options.ml, fit.options.constrain, known)
    sizes = np.where(free, np.max(np.abs(known.curved), axis=1, initial=0.0), 1.0)
    sizes[sizes == 0.0] = 1.0  # each parameter in a unit of its own
    back = (np.linalg.pinv(known.curved / sizes[:, None]) / sizes) @ optimum.turn(np.eye(len(free)))
    whole = back.T @ (around.observed if kind == "observed" else around.expected) @ back
    out[np.ix_(free, free)] = whole[np.ix_(free, free)]
    return out


def correlation_of_estimates(fit: Estimates) -> pd.DataFrame:
    """Correlations of θ̂, above them in words which estimates hang together."""
    columns = list(fit.specification.parameters.columns)
    covariance = fit.variance_covariance
    size = np.sqrt(np.where(np.diag(covariance) > 0.0, np.diag(covariance), np.nan))
    table = pd.DataFrame(covariance / np.outer(size, size), index=columns, columns=columns)
    pairs = confounded_pairs(table)
    table.attrs["confounded"] = pairs
    said = [fit._note, flat_in_words(fit), *map(pair_in_words, pairs[:TOLD])]
    if len(pairs) > TOLD:
        said.append(f"{len(pairs) - TOLD} more pairs are correlated beyond ±{STRONG}.")
    return shown(table, "\n".join(filter(None, said)))


def confounded_pairs(table: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Pairs of estimates with a correlation beyond ±0.9, the strongest first."""
    r = table.to_numpy()
    i, j = np.nonzero(np.tril(np.abs(np.nan_to_num(r)) >= STRONG, -1))
    order = np.argsort(-np.abs(r[i, j]), kind="stable")
    return [(table.columns[b], table.columns[a], float(r[a, b])) for a, b in zip(i[order], j[order], strict=True)]


def pair_in_words(pair: tuple[str, str, float]) -> str:
    """What a correlation of two estimates means."""
    one, other, r = pair
    better = "their sum" if r < 0.0 else "their difference"
    return f"The estimates of '{one}' and '{other}' are correlated {r:+.3f}: the data tell {better} better than each."


def flat_in_words(fit: Estimates) -> str:
    """What the likelihood is flat in; "" for nothing."""
    names = fit.convergence.unidentified
    if not names:
        return ""
    if len(names) == 1:
        return f"The likelihood does not change with {some(names)}: the data say nothing about it."
    together = some(names, 10)
    return f"The likelihood is flat in a direction in which {together} move together: the data cannot tell them apart."
