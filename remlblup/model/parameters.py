"""The vector θ of all variance parameters, by term and by name."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import VarianceError, shown, some
from remlblup.linalg.magnitude import LARGEST
from remlblup.model.formula import squeeze
from remlblup.structure.base import Structure
from remlblup.structure.distance.base import Distance
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.blocks import Blocks

RESIDUAL = "residual"


@dataclass(frozen=True)
class Parameters:
    """Where each term's parameters lie in θ: the random terms in order, then the residual.

    Attributes
    ----------
    terms : names of the random terms
    structures : their structures, in the same order
    residual : the residual structure
    spellings : of the name of each term, without white space
    """

    terms: tuple[str, ...]
    structures: tuple[Structure, ...]
    residual: ResidualStructure
    spellings: Sequence[Sequence[str]]

    @cached_property
    def aliases(self) -> dict[str, int]:
        """Spellings of each term, without white space, and the index it stands for: its own name and, where no two
        terms share it, other forms of it."""
        own = {squeeze(n): k for k, n in enumerate(self.terms)}
        count = Counter(form for forms in self.spellings for form in set(forms))
        return {form: k for k, forms in enumerate(self.spellings) for form in forms if count[form] == 1} | own

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """One slice of θ per random term and a last one for the residual."""
        sizes = [s.n_parameters for s in (*self.structures, self.residual)]
        return tuple(itertools.starmap(slice, itertools.pairwise(itertools.accumulate(sizes, initial=0))))

    @cached_property
    def of_terms(self) -> tuple[slice, ...]:
        """The slices of the random terms."""
        return self.slices[:-1]

    @cached_property
    def of_residual(self) -> slice:
        """The slice of the residual."""
        return self.slices[-1]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Term of each parameter."""
        return tuple(t for t, _ in self.pairs)

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(term, parameter) of each element of θ."""
        rows = [(t, n) for t, s in zip(self.terms, self.structures, strict=True) for n in s.names]
        return tuple(rows + [(RESIDUAL, n) for n in self.residual.names])

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """One short label per parameter: the term, with the parameter where it has several."""
        count = {t: self.labels.count(t) for t in self.labels}
        return tuple(t if count[t] == 1 else f"{t}: {p}" for t, p in self.pairs)

    @cached_property
    def lower(self) -> Array:
        """Lower bounds of θ."""
        return np.concatenate([s.lower for s in self.structures] + [self.residual.lower])

    @cached_property
    def upper(self) -> Array:
        """Upper bounds of θ."""
        return np.concatenate([s.upper for s in self.structures] + [self.residual.upper])

    @cached_property
    def size(self) -> int:
        return self.of_residual.stop

    @cached_property
    def loadings(self) -> np.ndarray:
        """(n,) True for loadings: Σ is flat where a column of them is zero."""
        mask = np.zeros(self.size, dtype=bool)
        for structure, place in zip(self.structures, self.of_terms, strict=True):
            if (loadings := structure.loading_derivatives(structure.lower)) is not None:
                mask[place] = np.any(loadings != 0.0, axis=(1, 2))
        return mask

    @cached_property
    def linear(self) -> np.ndarray:
        """(n,) True for variances and covariances: neither loadings nor correlations."""
        return np.isinf(self.upper) & ~self.loadings

    @cached_property
    def powers(self) -> Array | None:
        """(n,) those of `Parametric.powers`, None where all are 1."""
        structures = (*self.structures, self.residual)
        if all(s.in_themselves for s in structures):
            return None
        powers = np.concatenate([s.powers for s in structures])
        return None if np.all(powers == 1.0) else powers

    @cached_property
    def straight(self) -> bool:
        """Whether steps are taken in θ itself, with no curvature beyond the information."""
        return self.powers is None and not np.count_nonzero(self.loadings)

    @cached_property
    def of_variances(self) -> bool:
        """Whether θ is made of variances and covariance matrices."""
        return (
            self.straight
            and bool(np.all(self.residual.variances))
            and all(s.cone or (s.linear and bool(np.all(s.variances))) for s in self.structures)
        )

    @cached_property
    def elements(self) -> Array | None:
        """How the elements of every Σ, row by row, and the residual variance hang on θ, where they do linearly:
        (n_elements, n); None elsewhere."""
        if not (self.structures and self.of_variances and self.residual.keyword == "units"):
            return None
        out = np.zeros((sum(s.size**2 for s in self.structures) + 1, self.size))
        start = 0
        for structure, place in zip(self.structures, self.of_terms, strict=True):
            slopes = structure.derivatives(np.zeros(structure.n_parameters))
            out[start : (start := start + structure.size**2), place] = slopes.reshape(len(slopes), -1).T
        out[-1, -1] = 1.0
        return out

    @cached_property
    def charted(self) -> tuple[tuple[int, slice], ...]:
        """(term, place in θ) of the parameters that positive semidefiniteness bounds together."""
        places = [(s.charted, place.start) for s, place in zip(self.structures, self.of_terms, strict=True)]
        return tuple((k, slice(at + own.start, at + own.stop)) for k, (own, at) in enumerate(places) if own is not None)

    @cached_property
    def voidable(self) -> tuple[tuple[Structure, slice], ...]:
        """The structures with parameters that Σ may not depend on, and where these lie in θ."""
        pairs = zip(self.structures, self.of_terms, strict=True)
        return tuple((s, place) for s, place in pairs if type(s).undefined is not Structure.undefined)

    @cached_property
    def distances(self) -> tuple[tuple[str, Distance, slice], ...]:
        """The terms with a range, with their structures, and where these lie in θ."""
        terms = zip(self.terms, self.structures, self.of_terms, strict=True)
        return tuple((name, s, place) for name, s, place in terms if isinstance(s, Distance))

    def split(self, theta: Array) -> list[Array]:
        """θ cut into the parameters of each random term and of the residual."""
        return [theta[s] for s in self.slices]

    def split_terms(self, theta: Array) -> list[Array]:
        """θ cut into the parameters of each random term, without the residual."""
        return [theta[s] for s in self.of_terms]

    @property
    def _names(self) -> tuple[str, ...]:
        return (*self.terms, RESIDUAL)

    def index(self, name: str) -> int:
        """Position of a term in `slices`; raises `VarianceError` for an unknown name."""
        if not isinstance(name, str):
            raise VarianceError(f"a term is given by its name, not by {shown(name)}. Terms: {some(self._names, 20)}.")
        key = squeeze(name)
        if key == RESIDUAL:
            return len(self.terms)
        if key in self.aliases:
            return self.aliases[key]
        known = [*self.terms, RESIDUAL]
        raise VarianceError(f"'{name}' is not a term of this model. Terms: {some(known, 20)}.")

    def read(self, given: Mapping[str, object] | None, *, what: str, complete: bool, constrain: bool = True) -> Array:
        """θ from a mapping term → variance, matrix, or mapping of parameter names; NaN where not given.

        Parameters
        ----------
        given : mapping
            Keys as in `variance_components`: the term as written, ``residual`` for R.
        what : str
            The argument's name, for messages.
        complete : bool
            Whether every parameter must be given.
        constrain : bool
            Whether variances must be >= 0 and matrices positive semidefinite.
        """
        theta = np.full(self.size, np.nan)
        if given is None and not complete:
            return theta
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            raise VarianceError(f"{what} must be a mapping such as {self._example()}, not {type(given).__name__}.")
        if not given and not complete:
            return theta
        for name, value in given.items():
            k = self.index(name)
            if not np.isnan(theta[self.slices[k]]).all():
                raise VarianceError(f"{what} gives '{self._names[k]}' twice, the second time as '{name}'.")
            theta[self.slices[k]] = self._values(k, str(name), value, what)
        if complete and np.isnan(theta).any():
            absent = [f"{t} [{p}]" for (t, p), v in zip(self.pairs, theta, strict=True) if np.isnan(v)]
            raise VarianceError(f"{what} lacks {some(absent)}. Give every component, as in {self._example()}.")
        self._check(theta, what, constrain)
        return theta

    def _values(self, k: int, name: str, value: object, what: str) -> Array:
        structure = self.residual if k == len(self.structures) else self.structures[k]
        if isinstance(structure, Blocks) and not isinstance(value, Mapping):
            structure = structure.structure
        if isinstance(value, Mapping):
            names = {squeeze(n): i for i, n in enumerate(structure.names)}
            unknown = [n for n in value if squeeze(str(n)) not in names]
            if unknown:
                raise VarianceError(
                    f"{what}: '{name}' has no parameter {some(unknown)}. It has: {some(structure.names, 20)}."
                )
            out = np.full(structure.n_parameters, np.nan)
            for n, v in value.items():
                out[names[squeeze(str(n))]] = _number(v, f"{what}['{name}']['{n}']")
            return out
        array = _array(value, f"{what}['{name}']")
        if array.ndim == 0:
            if structure.n_parameters != 1:
                raise VarianceError(
                    f"{what}: '{name}' has {structure.n_parameters} parameters ({some(structure.names, 20)}):"
                    " give its covariance matrix or a mapping of these names."
                )
            return array.reshape(1)
        if isinstance(structure, Structure):
            return self._from_matrix(structure, name, array, what)
        if array.shape == (structure.n_parameters,):
            return array
        raise VarianceError(
            f"{what}: '{name}' takes {structure.n_parameters} number(s), got an array of shape {array.shape}."
        )

    @staticmethod
    def _from_matrix(structure: Structure, name: str, array: Array, what: str) -> Array:
        if array.shape != (structure.size, structure.size):
            raise VarianceError(
                f"{what}: '{name}' takes a {structure.size} x {structure.size} covariance matrix over"
                f" {list(structure.effects)}, got shape {array.shape}."
            )
        if not np.allclose(array, array.T, rtol=1e-10, atol=0):
            raise VarianceError(f"{what}: the covariance matrix given for '{name}' is not symmetric.")
        return structure.parameters_of(array)

    def _check(self, theta: Array, what: str, constrain: bool) -> None:
        self._check_bounds(theta, what, constrain)
        if not constrain:
            return
        for term, structure, part in zip(self.terms, self.structures, self.split_terms(theta), strict=True):
            if structure.cone and not np.isnan(part).any():
                smallest = np.linalg.eigvalsh(structure.covariance(part))[0]
                if smallest < -1e-10 * np.abs(part).max():
                    raise VarianceError(
                        f"{what}: the matrix of '{term}' is not positive semidefinite (smallest eigenvalue "
                        f"{smallest:g})."
                    )
        self._check_residual(theta[self.of_residual], what)

    def _check_residual(self, phi: Array, what: str) -> None:
        """R may be singular, but not indefinite."""
        if np.isnan(phi).any() or self.residual.feasible(phi):
            return
        for _, sigma in self.residual.matrices(phi).values():
            smallest = np.linalg.eigvalsh(sigma)[0]
            if smallest < -1e-10 * np.abs(sigma).max():
                raise VarianceError(
                    f"{what}: the covariance matrix of 'residual' is not positive semidefinite (smallest eigenvalue"
                    f" {smallest:g})."
                )

    def _check_bounds(self, theta: Array, what: str, constrain: bool) -> None:
        """Each parameter within its bounds; without constraints those of structures linear in θ fall away."""
        signed = np.concatenate([s.signed for s in (*self.structures, self.residual)])
        rows = zip(self.pairs, theta, self.lower, self.upper, signed, strict=True)
        for (term, parameter), value, lower, upper, free in rows:
            if lower <= value <= upper or np.isnan(value) or (free and not constrain):
                continue
            if np.isinf(upper):
                raise VarianceError(
                    f"{what}: {term} [{parameter}] = {value:g} is negative. Give a value >= 0"
                    " (negative components need constrain=False)."
                )
            raise VarianceError(f"{what}: {term} [{parameter}] = {value:g} must lie between {lower:g} and {upper:g}.")

    def to_mapping(self, theta: Array) -> dict[str, object]:
        """The mapping `read` takes: a number per single-parameter term, else a mapping by parameter."""
        out: dict[str, object] = {}
        parts = [s.names for s in self.structures] + [self.residual.names]
        for term, names, values in zip((*self.terms, RESIDUAL), parts, self.split(theta), strict=True):
            out[term] = float(values[0]) if len(names) == 1 else dict(zip(names, map(float, values), strict=True))
        return out

    def _example(self) -> str:
        items = [
            f"'{t}': {1.0 if s.n_parameters == 1 else 'matrix'}"
            for t, s in zip(self.terms, self.structures, strict=True)
        ]
        return "{" + ", ".join([*items, f"'{RESIDUAL}': 1.0"]) + "}"


def _number(value: object, where: str) -> float:
    array = _array(value, where)
    if array.ndim:
        raise VarianceError(f"{where} must be one number, got shape {array.shape}.")
    return float(array)


def _array(value: object, where: str) -> Array:
    if isinstance(value, pd.DataFrame):
        value = value.to_numpy()
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise VarianceError(f"{where} = {value!r} is not a number or a matrix of numbers.") from None
    if not np.all(np.isfinite(array)):
        raise VarianceError(f"{where} holds a value that is not finite.")
    if np.max(np.abs(array), initial=0.0) > LARGEST**2:
        raise VarianceError(f"{where} reaches {np.abs(array).max():.3g}: no data have such a variance.")
    return array
