"""``… | trial``: the direct sum of residual structures over disjoint sets of records, each with its own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.linalg

from remlblup.arrays import Array, Index
from remlblup.cached import cached_property
from remlblup.errors import DataError
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.pattern import Pattern


class Sections(ResidualStructure):
    """R = R_1 ⊕ R_2 ⊕ …, φ = (φ_1, φ_2, …): the n records in their order, then the filled cells of each part.

    Parameters
    ----------
    parts : residual structures, one for each section
    records : index arrays into the n records, in the order of the records of each part
    labels : names of the sections

    Raises
    ------
    DataError
        If the sections do not hold every record once.
    """

    def __init__(self, parts: Sequence[ResidualStructure], records: Sequence[Index], labels: Sequence[object]):
        self.parts = tuple(parts)
        self.labels = tuple(str(label) for label in labels)
        self.keyword = self.parts[0].keyword
        self.dense = any(part.dense for part in self.parts)
        indices = [np.asarray(index, np.int64) for index in records]
        n = sum(len(index) for index in indices)
        if not np.array_equal(np.sort(np.concatenate(indices)), np.arange(n)):
            raise DataError("the sections of the residual must hold every record once.")
        self.n_filled = sum(part.n_filled for part in self.parts)
        # Where the records and filled cells of each part stand in the whole.
        self.places: list[Index] = []
        end = n
        for part, index in zip(self.parts, indices, strict=True):
            self.places.append(np.concatenate([index, np.arange(end, end + part.n_filled)]))
            end += part.n_filled
        ends = np.cumsum([0, *(part.n_parameters for part in self.parts)])
        self.slices = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.pattern = self._pattern(n + self.n_filled)

    def _pattern(self, size: int) -> Pattern:
        patterns = [part.pattern for part in self.parts]
        rows = np.concatenate([place[p.rows] for place, p in zip(self.places, patterns, strict=True)])
        columns = np.concatenate([place[p.columns] for place, p in zip(self.places, patterns, strict=True)])
        offsets = np.cumsum([0, *(p.n_coefficients for p in patterns)])
        coefficient = np.concatenate([p.coefficient + k for p, k in zip(patterns, offsets[:-1], strict=True)])
        value = np.concatenate([p.value for p in patterns])
        self._spans = [slice(int(a), int(b)) for a, b in pairwise(offsets)]
        if all(p.is_diagonal for p in patterns):
            order = np.argsort(rows)  # keeps the whole diagonal with one entry per record in their order
            rows, columns, coefficient, value = rows[order], columns[order], coefficient[order], value[order]
        return Pattern(size, np.maximum(rows, columns), np.minimum(rows, columns), coefficient, value, int(offsets[-1]))

    def _split(self, phi: Array) -> list[tuple[ResidualStructure, Array]]:
        return [(part, phi[place]) for part, place in zip(self.parts, self.slices, strict=True)]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(
            f"{label}: {name}" for label, part in zip(self.labels, self.parts, strict=True) for name in part.names
        )

    @property
    def several_maxima(self) -> bool:
        return any(part.several_maxima for part in self.parts)

    @cached_property
    def lower(self) -> Array:
        return np.concatenate([part.lower for part in self.parts])

    @property
    def signed(self) -> np.ndarray:
        return np.concatenate([part.signed for part in self.parts])

    @cached_property
    def roots(self) -> np.ndarray:
        return np.concatenate([part.roots for part in self.parts])

    @cached_property
    def powers(self) -> Array:
        return np.concatenate([part.powers for part in self.parts])

    @cached_property
    def upper(self) -> Array:
        return np.concatenate([part.upper for part in self.parts])

    @cached_property
    def variances(self) -> np.ndarray:
        return np.concatenate([part.variances for part in self.parts])

    def sizes(self, variance: float) -> Array | None:
        sizes = [part.sizes(variance) for part in self.parts]
        return np.concatenate([s for s in sizes if s is not None]) if all(s is not None for s in sizes) else None

    def coefficients(self, phi: Array) -> Array:
        return np.concatenate([part.coefficients(own) for part, own in self._split(phi)])

    def jacobian(self, phi: Array) -> Array:
        return np.asarray(scipy.linalg.block_diag(*(part.jacobian(own) for part, own in self._split(phi))))

    def logdet(self, phi: Array) -> float:
        return float(sum(part.logdet(own) for part, own in self._split(phi)))

    def logdet_gradient(self, phi: Array) -> Array:
        return np.concatenate([part.logdet_gradient(own) for part, own in self._split(phi)])

    def multiply(self, phi: Array, v: Array) -> Array:
        out = np.empty(v.shape)
        for (part, own), place in zip(self._split(phi), self.places, strict=True):
            out[place] = part.multiply(own, v[place])
        return out

    def record_variances(self, phi: Array) -> Array:
        out = np.empty(self.size - self.n_filled)
        for (part, own), place in zip(self._split(phi), self.places, strict=True):
            out[place[: len(place) - part.n_filled]] = part.record_variances(own)
        return out

    def information(self, phi: Array) -> Array:
        return np.asarray(scipy.linalg.block_diag(*(part.information(own) for part, own in self._split(phi))))

    def maximize(self, phi: Array, moments: Array) -> Array:
        pairs = zip(self._split(phi), self._spans, strict=True)
        return np.concatenate([part.maximize(own, moments[span]) for (part, own), span in pairs])

    def start(self, variance: float, squares: Array) -> Array:
        own = [
            squares[place[: len(place) - part.n_filled]] for part, place in zip(self.parts, self.places, strict=True)
        ]
        average = float(np.mean(squares))
        # A section with larger squares starts from a larger variance.
        shares = [float(np.mean(s)) / average if np.any(s > 0.0) else 1.0 for s in own]
        return np.concatenate([p.start(variance * k, s) for p, k, s in zip(self.parts, shares, own, strict=True)])

    def feasible(self, phi: Array) -> bool:
        return all(part.feasible(own) for part, own in self._split(phi))

    def matrices(self, phi: Array) -> dict[str, tuple[tuple[str, ...], Array]]:
        return {
            f"{label}: {name}" if name else label: matrix
            for label, (part, own) in zip(self.labels, self._split(phi), strict=True)
            for name, matrix in part.matrices(own).items()
        }

    def matrix_derivatives(self, phi: Array) -> dict[str, Array]:
        out = {}
        for label, (part, own), place in zip(self.labels, self._split(phi), self.slices, strict=True):
            for name, derivatives in part.matrix_derivatives(own).items():
                padded = np.zeros((len(phi), *derivatives.shape[1:]))
                padded[place] = derivatives
                out[f"{label}: {name}" if name else label] = padded
        return out
