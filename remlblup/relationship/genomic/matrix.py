"""Genomic relationship matrices, from genotypes read and standardised a block of markers at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from remlblup.errors import DataError, check_switch, choose, whole_number
from remlblup.keywords import known_arguments
from remlblup.linalg.dense.outer import OuterSum
from remlblup.linalg.memory import within_memory
from remlblup.linalg.threads import side_by_side, single_threaded
from remlblup.relationship.genomic.codings import METHODS, Coding, coding
from remlblup.relationship.genomic.decoding import coded
from remlblup.relationship.genomic.genotypes import BLOCK, Genotypes, as_genotypes

Progress = Callable[[int, int], None]

# Elements of a standardised block: 256 MB in float64.
_ELEMENTS = 32_000_000


@known_arguments
@within_memory
def genomic_matrix(
    genotypes: Genotypes | pd.DataFrame,
    method: str = "vanraden1",
    frequencies: object = None,
    *,
    block: int | None = None,
    dtype: str = "float64",
    progress: bool | Progress | None = None,
) -> pd.DataFrame:
    """A genomic relationship matrix, labelled by the individuals.

    Parameters
    ----------
    genotypes : Genotypes, or a DataFrame of them with the individuals as index
    method : str
        With x the copies of the counted allele, p its frequency, q = 1 − p, over the markers with 2pq > 0:

        - ``"vanraden1"``: Σ(x − 2p)(x' − 2p) / Σ2pq (VanRaden 2008, J Dairy Sci 91:4414, first method).
        - ``"vanraden2"``: mean of (x − 2p)(x' − 2p) / 2pq (his second; what GCTA's ``--make-grm`` writes).
        - ``"yang"``: the same beside the diagonal, which is 1 + mean of [x² − (1 + 2p)x + 2p²] / 2pq
          (Yang et al. 2010, Nat Genet 42:565, eq. 3; F̂_III of GCTA). It may have negative eigenvalues.
        - ``"dominance"``: codes −2p², 2pq, −2q² of 0, 1, 2 copies, divided by Σ(2pq)²: orthogonal to the
          additive ones in Hardy-Weinberg proportions (Vitezica et al. 2013, Genetics 195:1223).
        - ``"dominance_su"``: heterozygotes 1 − 2pq, homozygotes −2pq, by Σ2pq(1 − 2pq) (Su et al. 2012).
        - ``"additive_by_additive"``: G∘G of vanraden1, scaled to a mean diagonal of 1 (Henderson 1985;
          Vitezica et al. 2017, Genetics 206:1297).
        - ``"additive_by_additive_exact"``: pairs of different markers only, (ZZ')∘(ZZ') − (Z∘Z)(Z∘Z)',
          scaled likewise (Jiang & Reif 2015, Genetics 201:759).
    frequencies : {None, "observed", "half"}, array (m,), Series or dict by marker
        p; by default as observed among these individuals.
    block : int, optional
        Markers at a time. The default, at most 2048, depends on the number of individuals only.
    dtype : {"float64", "float32"}
        Of the products of a block. float32 is about twice as fast, with errors of some 1e-6 of the diagonal; the
        sum over blocks is in float64 in either case.
    progress : bool or callable, optional
        Print the state, or call with (markers done, markers); by default print on a terminal only.

    Returns
    -------
    DataFrame, shape (n, n)
        ``attrs`` hold method, n_markers (with 2pq > 0) and divisor. The digits do not depend on the number of threads.

    Raises
    ------
    DataError
        If these are no genotypes, a marker or an individual has no genotypes, or every marker is monomorphic.
    MemoryLimitError
        If the matrix does not fit, before anything is allocated.

    Notes
    -----
    A missing genotype counts as the mean of its marker's. With ``"observed"`` frequencies the matrix of n
    individuals has a rank of at most n − 1: see `blend`.

    Examples
    --------
    >>> genotypes = rb.Genotypes.from_matrix([[0, 1, 2], [2, 1, 0], [1, 1, 1]], ids=["a", "b", "c"])
    >>> rb.genomic_matrix(genotypes).round(2).shape
    (3, 3)
    """
    genotypes = as_genotypes(genotypes)
    K, code = formed(genotypes, method, frequencies, block, dtype, progress)
    table = pd.DataFrame(K, index=genotypes.ids, columns=genotypes.ids, copy=False)
    table.attrs.update(method=method, n_markers=code.used, divisor=code.divisor)
    return table


@single_threaded
def formed(
    genotypes: Genotypes,
    method: str,
    frequencies: object,
    block: int | None = None,
    dtype: str = "float64",
    progress: bool | Progress | None = False,
) -> tuple[np.ndarray, Coding]:
    """K (n, n) as an array, and what it was coded by; see `genomic_matrix`."""
    choose("method", method, METHODS)
    choose("dtype", dtype, ("float64", "float32"))
    code = coding(genotypes, method, frequencies)
    size = block_size(genotypes, block)
    report = reporter(progress)
    kind = np.float64 if dtype == "float64" else np.float32
    if method == "additive_by_additive_exact":
        K = _pairs(genotypes, code, size, kind, report)
    else:
        K = _outer(genotypes, code, size, kind, report)
        if method == "additive_by_additive":
            K *= K
    if method.startswith("additive_by_additive"):
        mean = float(np.trace(K)) / len(K)
        if not mean > 0.0:
            raise DataError("there are no pairs of markers: additive-by-additive relationships need at least two.")
        K /= mean
    return K, code


def _outer(genotypes: Genotypes, code: Coding, size: int, kind: type, report: Progress | None) -> np.ndarray:
    """Z Z' / k, with the diagonal of its own where there is one."""
    total = OuterSum(len(genotypes))
    own = np.zeros(len(genotypes))
    for place, values in genotypes.blocks(size):
        total.add(coded(values, code.table[place], kind))
        if code.diagonal is not None:
            own += row_sums(values, code.diagonal[place])
        if report is not None:
            report(place.stop, genotypes.shape[1])
    K = total.finish()
    K /= code.divisor
    if code.diagonal is not None:
        np.fill_diagonal(K, 1.0 + own / code.used)
    return K


def _pairs(genotypes: Genotypes, code: Coding, size: int, kind: type, report: Progress | None) -> np.ndarray:
    """(ZZ')∘(ZZ') − (Z∘Z)(Z∘Z)': twice the sum over pairs of markers of z_i z_j z'_i z'_j."""
    first, second = OuterSum(len(genotypes)), OuterSum(len(genotypes))
    scaled = code.table / np.sqrt(code.divisor)
    for place, values in genotypes.blocks(size):
        first.add(coded(values, scaled[place], kind))
        second.add(coded(values, scaled[place] ** 2, kind))
        if report is not None:
            report(place.stop, genotypes.shape[1])
    K = first.finish()
    K *= K
    K -= second.finish()
    return K


def row_sums(block: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Sum of the codes of each individual: by parts of fixed size, in a fixed order."""
    if block.dtype != np.int8:
        return coded(block, table).sum(axis=1)
    from remlblup.relationship.genomic.kernels import decode_sum

    parts = [slice(start, min(start + 256, block.shape[1])) for start in range(0, block.shape[1], 256)]
    totals = np.zeros((len(parts), len(block)))
    side_by_side(decode_sum, [(block[:, p], table[p], t) for p, t in zip(parts, totals, strict=True)])
    return totals.sum(axis=0)


def block_size(genotypes: Genotypes, block: int | None) -> int:
    """Markers at a time: as given, else at most `BLOCK` and 256 MB of float64."""
    if block is None:
        return int(min(BLOCK, max(64, _ELEMENTS // len(genotypes))))
    return whole_number("block", block, 1)


def reporter(progress: bool | Progress | None) -> Progress | None:
    """Call the user's function, print on one line that is written over, or nothing."""
    if callable(progress):
        return progress
    if progress is not None:
        check_switch("progress", progress)
    terminal = bool(getattr(sys.stdout, "isatty", lambda: False)())
    if not (terminal if progress is None else progress):
        return None
    started = time.perf_counter()

    def report(done: int, m: int) -> None:
        text = f"markers: {done:,} of {m:,}, {time.perf_counter() - started:.1f} s"
        last = done >= m
        print(f"\r{text}" if terminal else text, end="\n" if last or not terminal else "", flush=True)

    return report
