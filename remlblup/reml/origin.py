"""Searches around the records, where the origin of a term's covariates is far from them: slopes on years.

Σ of intercepts and slopes at the year 0 is the same model as Σ' at the centre, Σ = PΣ'P' with ZP in place of Z. But it
has entries 10⁶ times what is to be told apart, and too few digits for a search: the information is singular to
rounding, and steps and decrement lose the direction in which ℓ still rises. The search is made with ZP, P the Cholesky
factor of the term's unit matrix, and with X less its means; θ is brought back from where it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.choice import equations_of_kind
from remlblup.equations.scales import disjoint
from remlblup.model.design import RandomDesign, centred
from remlblup.reml.history import Iteration
from remlblup.reml.identify import ALIKE, FAR
from remlblup.reml.loop import Watch
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.space import Space, labels
from remlblup.reml.start import residual_variance, unit_matrices
from remlblup.reml.surface import Surface
from remlblup.structure.covariance.unstructured import Unstructured

Search = Callable[..., Optimum]


@dataclass(frozen=True)
class Centred:
    """A model with the columns of some terms turned towards the records, and P (t, t) of each of these terms."""

    equations: Equations
    own: Equations
    turned: dict[int, Array]

    @classmethod
    def of(cls, equations: Equations, options: Options, fixed: Array) -> Centred | None:
        """None where no origin is far."""
        turned = far_origins(equations, fixed) if options.constrain else {}
        if not turned:
            return None
        random = list(equations.spec.random)
        for k, P in turned.items():
            random[k] = columns_turned(random[k], P)
        fixed_part = equations.spec.fixed
        if fixed_part.transform is None:
            work, transform = centred(fixed_part.matrix)
            fixed_part = replace(fixed_part, work=work, transform=transform)
        spec = replace(equations.spec, random=tuple(random), fixed=fixed_part)
        return cls(equations_of_kind(spec, equations.asked, equations.kind), equations, turned)

    def moved(self, theta: Array, back: bool) -> Array:
        """θ of Σ' = P⁻¹ΣP⁻ᵀ, or `back` to that of Σ; what is not given stays so."""
        theta, parameters = theta.copy(), self.own.spec.parameters
        for k, P in self.turned.items():
            structure, place = parameters.structures[k], parameters.slices[k]
            if not np.isnan(theta[place]).any():
                A = P if back else np.linalg.inv(P)
                theta[place] = structure.project(A @ structure.covariance(theta[place]) @ A.T)
        return theta

    def maximize(
        self,
        search: Search,
        options: Options,
        start: Array,
        fixed: Array,
        report: Callable[[Iteration], None] | None,
        watch: Watch | None,
    ) -> Optimum:
        """The end of a `search` of the turned model, in the parameters of the model itself."""
        rows: list[Iteration] = []

        def note(row: Iteration) -> None:
            rows.append(replace(row, theta=self.moved(row.theta, back=True)))
            if report is not None:
                report(rows[-1])

        def watched(theta: Array) -> str | None:
            return None if watch is None else watch(self.moved(theta, back=True))

        found = search(self.equations, options, self.moved(start, back=False), fixed, note, watched)
        theta = self.moved(found.point.theta, back=True)
        space = Space.of(self.own, found.held, options.constrain)
        solution = self.own.solve(theta, ml=options.ml)
        point = Surface(self.own, space, options.ml).point(theta, found.point.loglik, solution)
        point = replace(point, on_bound=found.point.on_bound)
        boundary = found.boundary
        verdict = replace(found.convergence, boundary=labels(space, boundary))
        return Optimum(
            point, solution, verdict, tuple(rows), boundary, found.held, space.tangent(theta), self.own, self.own
        )


def far_origins(equations: Equations, fixed: Array) -> dict[int, Array]:
    """P of the terms whose origin is far from the records: Σ free, and nothing of it held."""
    spec, out = equations.spec, {}
    free = [
        k
        for k, (d, place) in enumerate(zip(spec.random, spec.parameters.of_terms, strict=True))
        if d.t > 1 and isinstance(d.structure, Unstructured) and np.isnan(fixed[place]).all()
    ]
    units = unit_matrices(equations, residual_variance(equations)) if free else []
    for k in free:
        design, unit = spec.random[k], units[k]
        d = 1.0 / np.sqrt(np.diag(unit))
        if not disjoint(design) and ALIKE < np.linalg.eigvalsh(unit * np.outer(d, d))[0] < FAR:
            out[k] = np.asarray(np.linalg.cholesky(unit), np.float64)
    return out


def columns_turned(design: RandomDesign, P: Array) -> RandomDesign:
    """The term with ZP for Z."""
    turned = [sum((Z * share for Z, share in zip(design.columns, column, strict=True) if share), 0) for column in P.T]
    columns = tuple(sp.csr_array(Z) for Z in turned)
    return replace(design, columns=columns, moments=P.T @ design.moments @ P)
