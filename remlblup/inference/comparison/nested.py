"""Whether one model is a special case of another, found by its matrices: what the larger one adds, term by term."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.errors import DataError, ModelError, RemlBlupError, some
from remlblup.fit.estimates import Estimates
from remlblup.inference.resampling.refit import held_values
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification
from remlblup.relationship.base import RelationshipBase
from remlblup.structure.base import Structure
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.known_residual import KnownResidual

# Numbers that agree to this are the same.
SAME = 1e-9


@dataclass(frozen=True)
class Added:
    """What a term of the larger model has beyond the smaller one.

    Attributes
    ----------
    name : of the term, "residual" for R
    before, after : its effects in the smaller and in the larger model
    parameters : how many it adds, those that are held by fix= not counted
    structure : its structure in the larger model; None of R
    places : positions in θ of the larger model of the parameters it adds, where they can be told
    freed : how many parameters the smaller model holds by fix= and the larger one does not
    singular : of those: whether Σ, or R, is singular where they are held
    irregular : in words, why ℓ has no expansion where the smaller model is, so that no χ² follows; "" where it has
    """

    name: str
    before: int
    after: int
    parameters: int
    structure: Structure | None
    places: tuple[int, ...] = ()
    freed: int = 0
    singular: bool = False
    irregular: str = ""


@dataclass(frozen=True)
class Nesting:
    """What a larger model adds.

    Attributes
    ----------
    fixed : columns of X
    terms : random terms with more parameters
    theta : (n_parameters,) of the larger model where it is the smaller one, at the estimates of that
    """

    fixed: int
    terms: tuple[Added, ...]
    theta: Array

    @property
    def parameters(self) -> int:
        """Variance parameters added."""
        return sum(t.parameters for t in self.terms)


def require_comparable(smaller: Estimates, larger: Estimates) -> None:
    """Raise an error that names why two fits cannot be compared by their likelihoods."""
    for fit, which in ((smaller, "first"), (larger, "second")):
        if not isinstance(fit, Estimates):
            raise ModelError(f"a fit is needed, as MixedModel(…).fit() returns it, not {type(fit).__name__}.")
        if not fit.converged:
            raise ModelError(
                f"the {which} fit has not converged: its log-likelihood is that of no maximum. {fit.convergence}"
            )
    a, b = smaller.specification, larger.specification
    if a.n != b.n:
        raise DataError(
            f"the fits are of {a.n:,} and {b.n:,} records: a row with a missing value in one of them? Fit both to the "
            "same rows."
        )
    if not np.allclose(a.observed, b.observed, rtol=SAME, atol=0.0):
        if np.allclose(np.sort(a.observed), np.sort(b.observed), rtol=SAME, atol=0.0):
            raise DataError("the fits have the same records in another order: fit both to the same data frame.")
        raise DataError("the fits have other responses: likelihoods of the same data can be compared only.")
    if not np.allclose(a.weights, b.weights, rtol=SAME, atol=0.0):
        raise DataError("the fits have other weights.")
    if smaller.method != larger.method:
        raise ModelError(
            f"one fit is by {smaller.method} and one by {larger.method}: their log-likelihoods are of two kinds."
        )


def nesting(smaller: Estimates, larger: Estimates) -> Nesting:
    """What the larger model adds to the smaller one.

    Raises
    ------
    ModelError
        If it is no special case, with the term that has no counterpart; REML fits whose fixed parts differ.
    """
    a, b = smaller.specification, larger.specification
    fixed = columns_added(a, b)
    one, other = (np.zeros(a.n) if s.offset is None else s.offset for s in (a, b))
    if not np.allclose(one, other, rtol=SAME, atol=SAME):
        raise ModelError("the models have other offsets: neither is a special case of the other.")
    if smaller.method == "REML" and fixed:
        raise ModelError(
            "the fixed parts differ, and REML likelihoods of other fixed parts are of other data (Xβ is projected "
            "out): fit both"
            ' by method="ML".'
        )
    theta = np.zeros(b.parameters.size)
    parts = a.parameters.split(smaller.theta)
    held_small, held_large = (~np.isnan(held_values(fit)) for fit in (smaller, larger))
    left = list(range(len(a.random)))
    terms = []
    for design, place in zip(b.random, b.parameters.of_terms, strict=True):
        sigma, old, within = np.zeros((design.t, design.t)), list[int](), list[int]()
        for k in list(left):
            where = embedded(a.random[k], design)
            if where is None:
                continue
            left.remove(k)
            within.append(k)
            old += where
            sigma[np.ix_(where, where)] += a.random[k].structure.covariance(parts[k])
        theta[place] = restated(design.structure, sigma, design.name)
        own = [(a.random[k].structure, held_small[a.parameters.of_terms[k]]) for k in within]
        found = added_to_term(design, place.start, theta[place], sigma, old, own, held_large[place])
        terms += [found] if found else []
    if left:
        raise ModelError(
            f"the models are not nested: '{a.random[left[0]].name}' of the first is not in the second. The smaller"
            " model comes first."
        )
    of_small, of_large = a.parameters.of_residual, b.parameters.of_residual
    phi = residual_restated(a, b, parts[-1])
    theta[of_large] = phi
    before, after = held_small[of_small], held_large[of_large]
    if more := int(np.sum(~after)) - int(np.sum(~before)):
        freed = max(int(np.sum(before)) - int(np.sum(after)), 0)
        singular, why = bool(np.any(phi[b.residual.variances] <= 0.0)), irregular(a, b, phi, after)
        terms.append(Added("residual", 1, 1, more, None, (), freed, singular, why))
    require_held_alike(larger, held_large, theta)
    if any(t.parameters < 0 for t in terms):
        raise ModelError(
            "the models are not nested: the second has fewer free parameters in a term. The smaller model comes first."
        )
    if not fixed and not terms:
        raise ModelError("both fits are of the same model: there is nothing to test.")
    return Nesting(fixed, tuple(terms), theta)


def added_to_term(
    design: RandomDesign,
    first: int,
    theta: Array,
    sigma: Array,
    old: list[int],
    own: list[tuple[Structure, np.ndarray]],
    held: np.ndarray,
) -> Added | None:
    """What a term of the larger model adds; None if nothing.

    Parameters
    ----------
    first : place of its first parameter
    theta, sigma : where it is the smaller model
    old : its effects that are in the smaller model
    own : structures of the terms of that which it holds, and which of their parameters are held by fix=
    held : which of its own are
    """
    structure = design.structure
    more = int(np.sum(~held)) - sum(int(np.sum(~fixed)) for _, fixed in own)
    if not more and (len(old) == design.t or held.all()):
        return None
    freed = max(sum(int(np.sum(fixed)) for _, fixed in own) - int(np.sum(held)), 0)
    new, singular = new_parameters(structure, theta, old), False
    if freed:
        alike = len(own) == 1 and own[0][0].keyword == structure.keyword and own[0][0].names == structure.names
        new = own[0][1] if alike else np.ones(len(theta), dtype=bool)
        singular = not alike or np.linalg.eigvalsh(sigma)[0] <= SAME * np.max(np.diag(sigma))
    places = tuple(int(first + i) for i in np.flatnonzero(new & ~held))
    return Added(design.name, len(old), design.t, more, structure, places, freed, bool(singular))


def new_parameters(structure: Structure, theta: Array, old: list[int]) -> np.ndarray:
    """Which parameters change nothing of Σ among the effects that the smaller model has."""
    slopes = structure.derivatives(theta)[:, old][:, :, old]
    return np.asarray(~np.any(slopes != 0.0, axis=(1, 2)))


def require_held_alike(larger: Estimates, held: np.ndarray, theta: Array) -> None:
    """Raise `ModelError` where the larger model holds a parameter at a value that the smaller one has not."""
    columns = larger.specification.parameters.columns
    for name, own, value in zip(np.array(columns)[held], larger.theta[held], theta[held], strict=True):
        if abs(own - value) > 1e-6 * max(abs(own), abs(value)):
            raise ModelError(
                f"the models are not nested: the second holds '{name}' at {own:.6g} by fix=, and the first has it at"
                f" {value:.6g}. Hold it in both at the same value, or in the first alone."
            )


def columns_added(a: Specification, b: Specification) -> int:
    """How many columns X of b has beyond X of a, which must lie within it."""
    if a.p == b.p and a.fixed.matrix.shape == b.fixed.matrix.shape:
        apart = a.fixed.matrix - b.fixed.matrix
        largest = abs(apart).max() if a.p else 0.0
        if largest == 0.0:
            return 0
    X = sp.csc_array(b.fixed.work) if sp.issparse(b.fixed.work) else np.asarray(b.fixed.work)
    columns = a.fixed.matrix.toarray() if sp.issparse(a.fixed.matrix) else np.asarray(a.fixed.matrix)
    if sp.issparse(X):
        from scipy.sparse.linalg import spsolve  # a heavy import

        gram = sp.csc_matrix(X.T @ X)
        fitted = X @ np.asarray(spsolve(gram, X.T @ columns)).reshape(b.p, -1)
    else:
        fitted = X @ np.linalg.lstsq(X, columns, rcond=None)[0] if b.p else np.zeros_like(columns)
    size = np.linalg.norm(columns, axis=0)
    outside = np.linalg.norm(columns - fitted, axis=0) > 1e-7 * size
    if outside.any():
        name = a.fixed.names[int(np.flatnonzero(outside)[0])]
        raise ModelError(
            f"the models are not nested: '{name}' of the fixed part of the first is not in that of the second."
        )
    return b.p - a.p


def embedded(small: RandomDesign, large: RandomDesign) -> list[int] | None:
    """Which effects of the larger term those of the smaller are; None where one of them is none of it."""
    if small.q != large.q or not same_relationship(small.relationship, large.relationship):
        return None
    out = []
    for Z in small.columns:
        found = next((i for i, other in enumerate(large.columns) if i not in out and same_columns(Z, other)), None)
        if found is None:
            return None
        out.append(found)
    return out


def same_columns(a: sp.csr_array, b: sp.csr_array) -> bool:
    return a.shape == b.shape and a.nnz == b.nnz and abs(a - b).max() <= SAME * max(abs(a).max(), 1e-300)


def same_relationship(a: RelationshipBase, b: RelationshipBase) -> bool:
    """Whether two relationships are the same K over the same levels."""
    if a is b:
        return True
    if a.size != b.size or [str(x) for x in a.labels] != [str(x) for x in b.labels]:
        return False
    probe = np.random.default_rng(0).standard_normal((a.size, 2))
    return bool(np.allclose(a.multiply(probe), b.multiply(probe), rtol=SAME, atol=SAME))


def restated(structure: Structure, sigma: Array, name: str) -> Array:
    """θ of the larger structure at a Σ of the smaller one."""
    try:
        theta = structure.project(sigma) if sigma.any() else zeros(structure)
        there = structure.covariance(theta)
    except (RemlBlupError, np.linalg.LinAlgError):
        there = None
    size = max(float(np.abs(sigma).max(initial=0.0)), 1e-300)
    if there is None or not np.allclose(there, sigma, atol=1e-6 * size, rtol=0.0):
        raise ModelError(
            f"the models are not nested: the covariance matrix of the first is not one of '{structure.keyword}' in "
            f"'{name}'."
        )
    return theta


def zeros(structure: Structure) -> Array:
    """θ of Σ = 0."""
    start = structure.project(np.eye(structure.size))
    free = structure.variances if not structure.cone else np.ones(structure.n_parameters, dtype=bool)
    return np.where(free | ~np.isfinite(structure.upper), 0.0, start)


def residual_restated(a: Specification, b: Specification, phi: Array) -> Array:
    """φ of the larger R where it is the smaller one."""
    small, large = a.residual, b.residual
    more = large.n_parameters - small.n_parameters
    candidates = [phi] if more == 0 else []
    candidates += [guess for guess in guesses(small, large, phi) if not np.isnan(guess).any()]
    if isinstance(large, KnownResidual) and large.scaled:
        candidates.append(np.ones(1))
    n = a.n
    probe = np.zeros((max(small.size, large.size), 3))
    probe[:n] = np.random.default_rng(0).standard_normal((n, 3))
    expected = small.multiply(phi, probe[: small.size])[:n]
    for candidate in candidates:
        found = large.multiply(candidate, probe[: large.size])[:n]
        if np.allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max()):
            return candidate
    raise ModelError(
        f"the models are not nested: residual='{a.residual_text}' is no special case of residual='{b.residual_text}'."
    )


def irregular(a: Specification, b: Specification, phi: Array, held: np.ndarray) -> str:
    """Why ℓ has no expansion in φ of the larger R where it is the smaller one: a bound, or two names for one variance.

    At a range of zero the correlations and all their derivatives are zero. And a variance of `units` beside an R
    without correlations is that of R, whose share may be anything: no correlation is known there (Davies 1987,
    Biometrika 74:33).
    """
    large = b.residual
    at_bound = ~large.variances & ~held & (phi <= large.lower)
    if at_bound.any():
        return f"{some([large.names[i] for i in np.flatnonzero(at_bound)])} of 'residual' on its bound"
    nugget = any(d.name == "units" for d in b.random) and not any(d.name == "units" for d in a.random)
    if nugget and a.residual.keyword == "units":
        return "'units' beside a residual without correlations, one variance by two names"
    return ""


def guesses(small: ResidualStructure, large: ResidualStructure, phi: Array) -> list[Array]:
    """φ of the larger R that could be the smaller: by name, one variance for all, and no correlations."""
    named = dict(zip(small.names, phi, strict=True))
    given = [named.get(name, named.get(re.sub(r"^.*: |\(.*", "", name), np.nan)) for name in large.names]
    out = [np.array(given)]  # range(x) and range(y) are one range, as north: range and south: range are
    variance = small.single_variance(phi)
    other = variance if variance is not None else phi[0] if len(phi) else np.nan
    for fill in (0.0, 1.0):
        candidate = np.array([named.get(name, np.nan) for name in large.names])
        rest = np.isnan(candidate)
        candidate[rest] = np.where(large.variances[rest], other, fill)
        out.append(candidate)
        if variance is not None:
            out.append(np.where(large.variances, variance, fill))
    return out
