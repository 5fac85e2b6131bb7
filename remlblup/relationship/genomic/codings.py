"""What a genotype counts in each genomic relationship: Z, and the divisor k of K = Z Z' / k."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import DataError, choose, count, some
from remlblup.relationship.genomic.genotypes import Genotypes
from remlblup.relationship.labels import match

METHODS = (
    "vanraden1",
    "vanraden2",
    "yang",
    "dominance",
    "dominance_su",
    "additive_by_additive",
    "additive_by_additive_exact",
)


@dataclass(frozen=True)
class Coding:
    """K = Z Z' / divisor, with Z read from a table.

    Attributes
    ----------
    table : (m, 4) code of 0, 1, 2 copies and of a missing genotype, by marker
    divisor : k
    diagonal : (m, 4) the same for the diagonal of K, where it is not that of Z Z'; its mean over `used` is added to 1
    used : number of markers with a part in K
    frequencies : (m,) p of the counted allele
    """

    table: np.ndarray
    divisor: float
    diagonal: np.ndarray | None
    used: int
    frequencies: np.ndarray


def coding(genotypes: Genotypes, method: str, frequencies: object = None) -> Coding:
    """The coding of a method, with p the frequency of the counted allele and q = 1 − p.

    ============== =========================================== ==============
    method         code of 0, 1, 2 copies                      divisor
    ============== =========================================== ==============
    vanraden1      x − 2p                                      Σ 2pq
    vanraden2      (x − 2p) / √(2pq)                           markers
    yang           as vanraden2, with a diagonal of its own    markers
    dominance      −2p², 2pq, −2q²                             Σ (2pq)²
    dominance_su   −2pq, 1 − 2pq, −2pq                         Σ 2pq(1 − 2pq)
    ============== =========================================== ==============

    A missing genotype has the mean code of its marker. Markers with 2pq = 0 have no part.
    """
    choose("method", method, METHODS)
    if method.startswith("additive_by_additive"):
        method = "vanraden1"
    p = resolve_frequencies(genotypes, frequencies)
    variance = 2.0 * p * (1.0 - p)
    used = variance > 0.0
    if not used.any():
        raise DataError("every marker has one allele only: there is no genomic relationship in them.")
    x = np.arange(3.0)
    if method == "dominance":
        q = 1.0 - p
        codes = np.column_stack([-2.0 * p * p, 2.0 * p * q, -2.0 * q * q])
        divisor = float(np.sum(variance**2))
    elif method == "dominance_su":
        codes = np.array([0.0, 1.0, 0.0]) - variance[:, None]
        divisor = float(np.sum(variance * (1.0 - variance)))
    else:
        codes = x - 2.0 * p[:, None]
        divisor = float(np.sum(variance))
        if method in ("vanraden2", "yang"):
            codes = np.where(used[:, None], codes, 0.0) / np.sqrt(np.where(used, variance, 1.0))[:, None]
            divisor = float(used.sum())
    codes[~used] = 0.0
    if genotypes.is_dosage and method.startswith("dominance"):
        raise DataError(f"method={method!r} needs genotypes, not dosages: round them first.")
    diagonal = None
    if method == "yang":
        own = (x**2 - (1.0 + 2.0 * p[:, None]) * x + 2.0 * p[:, None] ** 2) / np.where(used, variance, 1.0)[:, None]
        diagonal = _with_missing(genotypes, np.where(used[:, None], own, 0.0), exact=False)
    return Coding(_with_missing(genotypes, codes, exact=True), divisor, diagonal, int(used.sum()), p)


def resolve_frequencies(genotypes: Genotypes, frequencies: object) -> np.ndarray:
    """p (m,) of the counted allele: observed, one half, or as given.

    Raises
    ------
    DataError
        If a frequency is missing or not from 0 to 1, or a marker or an individual has no genotypes at all.
    """
    observed = genotypes.allele_frequencies.to_numpy()
    _require_genotypes(genotypes, observed)
    if frequencies is None:
        return observed
    if isinstance(frequencies, str):
        choose("frequencies", frequencies, ("observed", "half"))
        return np.full(len(observed), 0.5) if frequencies == "half" else observed
    if isinstance(frequencies, Mapping) and not sp.issparse(frequencies):
        frequencies = pd.Series(dict(frequencies))
    if isinstance(frequencies, pd.Series):
        place = match(frequencies.index, genotypes.markers)
        if (place < 0).any():
            raise DataError(f"frequencies= has no value for the markers {some(genotypes.markers[place < 0])}.")
        frequencies = frequencies.to_numpy()[place]
    try:
        p = np.asarray(frequencies, dtype=float)
    except (TypeError, ValueError):
        raise DataError("frequencies= must be numbers from 0 to 1, one for each marker.") from None
    if p.shape != observed.shape:
        raise DataError(
            f"frequencies= must hold one value for each of {len(observed):,} markers; its shape is {p.shape}."
        )
    wrong = ~((p >= 0.0) & (p <= 1.0))
    if wrong.any():
        raise DataError(f"frequencies= must lie from 0 to 1; they do not for {some(genotypes.markers[wrong])}.")
    return p


def _require_genotypes(genotypes: Genotypes, observed: np.ndarray) -> None:
    empty = np.isnan(observed)
    if empty.any():
        raise DataError(
            f"{count(int(empty.sum()), 'marker', 'has', 'have')} no genotypes at all:"
            f" {some(genotypes.markers[empty])}. Remove them:"
            " genotypes.filter(...)."
        )
    if genotypes._by_marker[0][:, 3].any():
        absent = genotypes.call_rate_individuals.to_numpy() == 0.0
        if absent.any():
            raise DataError(
                f"{count(int(absent.sum()), 'individual', 'has', 'have')} no genotypes at all:"
                f" {some(genotypes.ids[absent])}. Remove them:"
                " genotypes.filter(...)."
            )


def _with_missing(genotypes: Genotypes, codes: np.ndarray, exact: bool) -> np.ndarray:
    """The table with the mean code of the marker for a missing genotype; of dosages the code of the mean dosage."""
    counts, sums = genotypes._by_marker
    present = counts[:, :3].sum(axis=1)
    if sums is not None and exact:
        mean = codes[:, 0] + sums / present * (codes[:, 1] - codes[:, 0])
    else:
        mean = np.einsum("mg,mg->m", counts[:, :3], codes) / present
    return np.column_stack([codes, mean])
