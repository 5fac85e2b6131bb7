"""One scalar term of a dense relationship beside independent residuals: one Lanczos recurrence serves all variances."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.computation import Computation
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.memory import Memory
from remlblup.equations.stochastic.conjugate_gradients import Solved, dots
from remlblup.equations.stochastic.engine import EXACT, PROBES, STOCHASTIC, VARIATES, StochasticEquations
from remlblup.equations.stochastic.krylov import Krylov, Weights, inverse
from remlblup.equations.stochastic.preconditioner import ProjectionOfM
from remlblup.equations.stochastic.probes import Probes
from remlblup.linalg.memory import SHARE, Need, available_memory
from remlblup.model.specification import Specification

# Elements of the Lanczos vectors that are kept of y, and of all probes (4 GB each), and the share of memory that each
# may take. Where they do not do, conjugate gradients take over.
KEPT, PART = 5e8, 0.25
# Steps that are usual, and at most.
STEPS, MOST = 20, 1000


class OneRelationship(StochasticEquations):
    """V = σ²_g ZKZ' + σ²_e W⁻¹ by Lanczos vectors of y and of the probes.

    Parameters
    ----------
    spec : Specification
    """

    usual = 40, 1000
    sketches = False

    def __init__(self, spec: Specification, asked: Computation = STOCHASTIC):
        super().__init__(spec, asked)
        plain = self.preconditioner.equations
        if self.preconditioner.kept:
            plain = MixedModelEquations(replace(spec, random=()))
        self._without_term = ProjectionOfM(plain, np.ones(1))
        self._kept = min(KEPT, PART * SHARE * available_memory() / 8.0)

    @property
    def memory(self) -> Memory:
        """As in general, and the Lanczos vectors."""
        own, vectors = super().memory, 8.0 * min(self._kept, float(self.spec.n) * (PROBES + 1) * STEPS)
        return replace(own, iterated=own.iterated.then(Need.of(vectors)))

    def _take(self, y: Array) -> None:
        super()._take(y)
        self.leave()

    def leave(self) -> None:
        self._of_y: Krylov | None = None
        self._of_probes: dict[tuple[int, int, int], Krylov] = {}

    def _variances(self, theta: Array) -> tuple[float, float]:
        part, phi = self.spec.parameters.split(theta)
        return float(self.random[0].structure.covariance(part)[0, 0]), float(phi[0])

    def _slope(self, theta: Array) -> float:
        """dσ²_g/dθ."""
        part, _ = self.spec.parameters.split(theta)
        return float(self.random[0].structure.changes(part, np.ones((1, 1)))[0, 0, 0])

    def _times(self, B: Array) -> Array:
        """ZKZ'B."""
        products = self.products_of
        return np.asarray(products.Z @ products.related(products.scores(B))[0][0])

    def _krylov(self, B: Array) -> Krylov:
        return Krylov(self._times, self._without_term, B)

    def _most(self, columns: int) -> int:
        """Steps of so many columns in all."""
        return min(MOST, int(self._kept / (self.spec.n * columns)))

    def _enough(self, theta: Array, B: Array, tolerance: float) -> Array:
        """(c,) what may be left in N of columns B, so that no more than `tolerance` is left in P_M, which is at most
        N/σ²_e."""
        in_M, in_N = (np.sqrt(np.maximum(dots(*P(B)), 0.0)) for P in (self._projection_of_M(theta), self._without_term))
        return np.asarray(tolerance * np.sqrt(max(self._variances(theta)[1], 0.0)) * in_M * inverse(in_N))

    def _found(self, krylov: Krylov, theta: Array, B: Array, tolerance: float, columns: int) -> Weights | None:
        """The weights at θ, where the vectors of so many columns in all may be kept."""
        started = time.perf_counter()
        enough = self._enough(theta, B, tolerance)
        found = krylov.weights(*self._variances(theta), enough, self._most(columns))
        self._spent("solve", started)
        if found is None:
            return None
        self.iterations = max(self.iterations, len(found.c))
        return replace(found, left=found.left * tolerance * inverse(enough))

    def solved(
        self, theta: Array, probes: Probes, start: Array | None = None, tolerance: float | None = None
    ) -> Solved:
        if self._of_y is None:
            self._of_y = self._krylov(self.y[:, None])
        own = self._found(self._of_y, theta, self.y[:, None], EXACT, 1)
        rest = self._by_vectors(theta, probes, 0, tolerance) if own is not None else None
        if own is None or rest is None:
            return super().solved(theta, probes, start, tolerance)
        x = np.hstack([self._of_y.combined(own.c), rest.x])
        return Solved(x, np.append(own.left, rest.left), self.iterations, np.append(own.error, rest.error))

    def solved_probes(self, theta: Array, probes: Probes, known: int = 0, tolerance: float | None = None) -> Solved:
        found = self._by_vectors(theta, probes, known, tolerance)
        return super().solved_probes(theta, probes, known, tolerance) if found is None else found

    def _by_vectors(self, theta: Array, probes: Probes, known: int, tolerance: float | None) -> Solved | None:
        """Probes in the groups in which they were drawn, so that digits do not depend on when they were."""
        groups = [g for g in probes.groups if g[0] >= known]
        keys = [(probes.seed, *g) for g in probes.groups]
        self._of_probes = {key: value for key, value in self._of_probes.items() if key in keys}
        x, left, error = [], [], []
        for first, last in groups:
            krylov = self._of_group(probes, first, last)
            found = self._found(krylov, theta, probes.z[:, first:last], tolerance or self.tolerance, len(probes))
            if found is None:
                return None
            x.append(krylov.combined(found.c))
            left.append(found.left)
            error.append(found.error)
        return Solved(np.hstack(x), np.concatenate(left), self.iterations, np.concatenate(error))

    def _of_group(self, probes: Probes, first: int, last: int) -> Krylov:
        key = probes.seed, first, last
        if key not in self._of_probes:
            self._of_probes[key] = self._krylov(probes.z[:, first:last])
        return self._of_probes[key]

    def solved_variates(self, theta: Array, F: Array, start: Array | None = None) -> Solved:
        """PZKZ'Py and PW⁻¹Py lie among the vectors of y."""
        krylov = self._of_y = self._of_y or self._krylov(self.y[:, None])
        found = self._found(krylov, theta, self.y[:, None], EXACT, 1)
        again, variances = None, self._variances(theta)
        if found is not None and len(found.c):
            enough = self._enough(theta, F, VARIATES)
            again = krylov.again(found.c[:, 0], *variances, enough, self._most(1))
        if again is None:
            return super().solved_variates(theta, F, start)
        x = [krylov.combined(w[:, None]) for w in (again.c * np.array([self._slope(theta), 1.0])).T]
        return Solved(np.hstack(x), again.left * VARIATES * inverse(enough), self.iterations, again.error)

    def solved_slopes(self, theta: Array, probes: Probes, x: Array) -> Array:
        """ZKZ'Pz is what σ²_e D Pz leaves of z, and PDPz lies among the vectors of the probes."""
        genetic, residual = self._variances(theta)
        if not genetic > 0.0:
            return super().solved_slopes(theta, probes, x)
        first, last = probes.groups[0]
        krylov = self._of_group(probes, first, last)
        found = self._found(krylov, theta, probes.z[:, first:last], self.tolerance, len(probes))
        if found is None:
            return super().solved_slopes(theta, probes, x)
        by_errors = krylov.combined(krylov.once_more(found.c[:, : x.shape[1]], genetic, residual))
        return np.stack([self._slope(theta) * (x - residual * by_errors) / genetic, by_errors])
