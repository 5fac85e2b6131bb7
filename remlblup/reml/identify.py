"""Components that no data of this design can tell apart, found before the first iteration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from remlblup.arrays import chunks_of
from remlblup.equations.base import Equations
from remlblup.equations.turned import ALIKE
from remlblup.errors import ModelError
from remlblup.linalg.memory import require
from remlblup.linalg.small import singular_rows
from remlblup.model.design import RandomDesign
from remlblup.model.parameters import RESIDUAL

# Share of ‖Zu‖² left outside the span of X below which Z lies in it.
INSIDE = 1e-12
# Share of effects Z_i u left by a combination of them that is zero but for rounding; the least weight of one in it.
REPEATED, REPEATED_SHARE = 1e-13, 1e-6
# Share that is clearly more than these.
CLEAR = 1e-6
# Elements of the columns that are projected at once.
ELEMENTS = 2_000_000


def require_enough(equations: Equations, held: np.ndarray) -> None:
    """Refuse more parameters to estimate than records, and derivatives ∂Σ/∂θ that do not fit into memory.

    Raises
    ------
    ModelError, MemoryLimitError
    """
    spec = equations.spec
    free = int(np.count_nonzero(~held))
    if free > spec.n:
        names = (*spec.parameters.terms, RESIDUAL)
        counts = [(int(np.count_nonzero(~held[s])), t) for s, t in zip(spec.parameters.slices, names, strict=True)]
        each = ", ".join(f"{count:,} of '{term}'" for count, term in counts if count)
        raise ModelError(
            f"{free:,} variance parameters are to be estimated from {spec.n:,} records ({each}): the data cannot tell"
            " them apart. Write structures with fewer ('fa(…, k=1)', 'cs', 'ar1' instead of 'us'), or hold some with"
            " fix=; solve() takes all of them as known."
        )
    for name, structure in zip(spec.parameters.terms, spec.parameters.structures, strict=True):
        require(
            24.0 * structure.n_parameters * structure.size**2,
            f"'{name}' with {structure.n_parameters:,} parameters over {structure.size:,} effects",
            "or write a structure with one variance for all effects, or round the effects to fewer values.",
        )


def confounded(equations: Equations, held: np.ndarray, ml: bool = False) -> tuple[str, ...]:
    """Labels of free components confounded by design: with the fixed effects, or with the residual.

    A term whose Z lies in the span of X leaves the restricted likelihood flat (seen by projecting Z u for a random
    u; the full likelihood falls with its variance); a term with independent levels of one record each is a second
    residual. Effects whose columns repeat each other (a slope on a constant beside an intercept) share one variance.
    """
    parameters = equations.spec.parameters
    found: list[str] = []
    random: np.random.Generator | None = None
    for k, design in enumerate(equations.random):
        place = parameters.slices[k]
        if not np.count_nonzero(~held[place]):
            continue
        # The bounds cost less than the projection, and for a plain factor they settle it.
        may_be_inside = not ml and not outnumbers(design, equations.p)
        may_repeat = not np.count_nonzero(held[place]) and design.t > 1 and not apart(design)
        inside: Iterable[int] = ()
        again: Iterable[int] = ()
        if may_be_inside or may_repeat:
            random = np.random.default_rng(20241122) if random is None else random
            u = random.standard_normal(design.q)
            whole = records_of(design, u) if design.t * equations.spec.n <= ELEMENTS else None
            inside = inside_fixed(equations, design, u, whole) if may_be_inside else ()
            again = repeated(design, whole) if may_repeat and whole is not None else ()
        for i in (*inside, *again):
            names = parameters.columns[place]
            found += [
                n
                for n, p in zip(names, design.structure.names, strict=True)
                if design.t == 1 or design.structure.effects[i] in p
            ]
        if repeats_residual(equations, k) and not held[parameters.of_residual].all():
            found += [*parameters.columns[place], *parameters.columns[parameters.of_residual]]
    return tuple(dict.fromkeys(found))


def outnumbers(design: RandomDesign, p: int) -> bool:
    """Whether each Z_i of a term has clearly more levels than X columns, so that it cannot lie in their span.

    Where a record has one level at the most the columns of Z_i are orthogonal: of the mean square of Z_i u no p columns
    take more than the p largest levels.
    """
    if all(whole - p * largest > CLEAR * whole for whole, largest in design.loads):
        return True  # most often p times the largest already settles it
    for sizes in design.level_sizes():
        if sizes is None or not np.sort(sizes)[: max(design.q - p, 0)].sum() > CLEAR * sizes.sum():
            return False
    return True


def apart(design: RandomDesign) -> bool:
    """Whether Σ c_i Z_i = 0 for no c, as the moments tell of effects of one factor: only where Σ c_i x_i = 0 in every
    record."""
    term = design.term
    one = term is not None and len(term.groups) == 1 and not term.coordinates and design.root is None
    return one and bool(design.moments.diagonal().min() > 0.0) and design.least_correlation > CLEAR


def records_of(design: RandomDesign, u: np.ndarray) -> np.ndarray:
    """Z_i u of every effect i, as columns over the records."""
    return design.predictors(np.repeat(u[:, None], len(design.columns), axis=1))


def inside_fixed(equations: Equations, design: RandomDesign, u: np.ndarray, whole: np.ndarray | None) -> Iterator[int]:
    """The effects of a term whose Z lies in the span of X; `whole` holds Z_i u of all of them, unless that is too
    much at once."""
    for chunk in chunks_of(design.t, design.t if whole is not None else max(1, ELEMENTS // equations.spec.n)):
        z = whole
        if z is None:
            z = records_of(replace(design, columns=design.columns[chunk]), u)
        left = equations.project_out(z)
        small = (left * left).sum(axis=0) <= INSIDE * (z * z).sum(axis=0)
        yield from (chunk.start + small.nonzero()[0]).tolist()


def repeated(design: RandomDesign, z: np.ndarray) -> list[int]:
    """The effects of a covariance matrix of any form with Σ c_i Z_i = 0 for some c: Σ + h cc' fits as Σ does."""
    if design.t == 1 or not design.structure.cone:
        return []
    left, c = combinations(z)
    void = c[: len(left)][left <= REPEATED]
    return np.any(np.abs(void) > REPEATED_SHARE, axis=0).nonzero()[0].tolist() if len(void) else []


def combinations(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of columns Z_i u (n, t), of length one each: what is left of their combinations, descending, and these by
    rows."""
    size = np.sqrt((z * z).sum(axis=0))
    return singular_rows(z / np.where(size > 0.0, size, 1.0))


def alike(design: RandomDesign) -> bool:
    """Whether a free Σ is lost in rounding, for its effects are too nearly the same over the records.

    The smallest eigenvalue of their correlations (about zero) is below `ALIKE`: for intercept, slope and parabola it is
    some (range/mean)⁴ of the covariate.
    """
    if design.least_correlation > ALIKE:
        return False
    # Effects of other levels of the same record (sire and dam) are not alike: with random signs they differ.
    signs = 2.0 * np.random.default_rng(20241122).integers(0, 2, design.q) - 1.0
    left, _ = combinations(records_of(design, signs))
    return bool(left[-1] ** 2 < ALIKE)


def repeats_residual(equations: Equations, k: int) -> bool:
    """Whether every record is the only one of its level, alike for all records."""
    design, weights = equations.random[k], equations.spec.weights
    if design.q < equations.spec.n:  # some level has several
        return False
    if not design.is_identity or design.t != 1 or np.ptp(weights) > 0.0 or equations.residual.keyword != "units":
        return False
    Z = design.columns[0]
    per_record, per_level = np.diff(Z.indptr), np.bincount(Z.indices, minlength=design.q)
    return bool(np.all(per_record == 1) and np.all(per_level <= 1) and np.ptp(np.abs(Z.data)) == 0.0)
