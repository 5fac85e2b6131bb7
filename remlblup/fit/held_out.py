"""Predictions of records from all others at given variances: closed forms, nothing is refitted.

With the records h held out, V as given and β estimated anew from the others,

    y_h − ŷ_h = P_hh⁻¹ (Py)_h,

which for a single record is the known (Py)_i / P_ii (Cook & Weisberg 1982, section 2.2, in the metric of V). Records
equal to their own prediction leave the solution of the equations as it is: with y_h replaced by ŷ_h the full equations
give β̂ and û of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import CHUNK, Equations

# P_hh is R⁻¹_hh (in the engines of V: V⁻¹_hh) less what the model explains: in units of its diagonal an eigenvalue
# below this is rounding, that is, zero.
_ZERO = 1e-12


@dataclass
class HeldOut:
    """Predictions of every record from the folds it is not in.

    Attributes
    ----------
    prediction : (n,) ŷ; NaN where the other records do not determine the fixed effects
    term : (n,) Z_k û_k of the term asked for, or None
    """

    prediction: Array
    term: Array | None


def hold_out(equations: Equations, solution: Any, folds: Sequence[np.ndarray], k: int | None) -> HeldOut:
    """Predict the records of each fold (positions) from all others; with k also term k's part of it."""
    spec = equations.spec
    Py = solution.weighted_residual[: spec.n]
    out = HeldOut(np.full(spec.n, np.nan), None if k is None else np.full(spec.n, np.nan))
    rows = None if k is None else _incidence(equations, k, len(solution.effects))
    for batch in _together(folds):
        held = np.concatenate(batch)
        P, of_term, unit = _responses(equations, solution, held, rows)
        start = 0
        for fold in batch:
            own = slice(start, start + len(fold))
            start = own.stop
            left, unknown = deletion(P[own, own], Py[fold], unit[own])
            out.prediction[fold] = np.where(unknown, np.nan, spec.observed[fold] - left)
            if rows is not None and out.term is not None:
                out.term[fold] = rows[fold] @ solution.effects - of_term[own, own] @ left
    return out


def _together(folds: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Small folds share one solve."""
    batch: list[np.ndarray] = []
    for fold in folds:
        if batch and sum(map(len, batch)) + len(fold) > CHUNK:
            yield batch
            batch = []
        batch.append(fold)
    yield batch


def _responses(
    equations: Equations, solution: Any, held: np.ndarray, rows: sp.csr_array | None
) -> tuple[Array, Array, Array]:
    """P_hh; the term's effects at the records h for a unit in each of them; the diagonal P_hh is a remainder of."""
    spec = equations.spec
    P, of_term = np.empty((len(held), len(held))), np.zeros((len(held), len(held)))
    for start in range(0, len(held), CHUNK):
        part = held[start : start + CHUNK]
        unit = np.zeros((spec.n, len(part)))
        unit[part, np.arange(len(part))] = 1.0
        effects, projected = equations.respond(solution, unit)
        P[:, start : start + CHUNK] = projected[held]
        if rows is not None:
            of_term[:, start : start + CHUNK] = rows[held] @ effects
    return P, of_term, equations.before_projection(solution, held, P)


def _incidence(equations: Equations, k: int, width: int) -> sp.csr_array:
    """W, of `width` columns, with all but those of term k left out."""
    spec = equations.spec
    parts = [sp.csr_array((spec.n, spec.p))]
    for other, design in enumerate(equations.random):
        parts += [z if other == k else sp.csr_array(z.shape) for z in design.columns]
    parts.append(sp.csr_array((spec.n, width - sum(part.shape[1] for part in parts))))
    return sp.csr_array(sp.hstack(parts))


def deletion(P: Array, Py: Array, unit: Array) -> tuple[Array, Array]:
    """P_hh⁻¹(Py)_h, and which of these records the others do not determine.

    A vector of the null space of P_hh is a combination of records that only columns of X of their own tell of: the
    other records say nothing of it, and no û depends on it.
    """
    d = 1.0 / np.sqrt(unit)
    values, vectors = scipy.linalg.eigh(0.5 * (P + P.T) * np.outer(d, d))
    zero = values <= _ZERO
    kept = d[:, None] * vectors[:, ~zero]
    return kept @ ((kept.T @ Py) / values[~zero]), np.any(np.abs(vectors[:, zero]) > 1e-6, axis=1)
