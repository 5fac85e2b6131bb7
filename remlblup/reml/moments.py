"""Start values by moments: quadratic forms of y set equal to what is expected of them.

With V = Σ_i θ_i V_i, V_i = Z_i K_i Z_i' of the terms and W⁻¹ of the residual, and any symmetric Q with QX = 0,

    E[y'Q V_i Q y] = Σ_j tr(Q V_i Q V_j) θ_j,   in short q = S θ.

Q = M = I − X(X'X)⁻¹X' is MIVQUE(0), a regression of y_i y_j on relationships (Haseman & Elston 1972, Behav Genet 2:3;
LaMotte 1973, Biometrics 29:311). Q = P is MIVQUE, which repeated at its own θ is REML (Rao 1971, J Multivar Anal 1:445;
Harville 1977, J Am Stat Assoc 72:320). M gives every contrast of the records the same weight, although its square
varies as the square of its variance: of a pedigree with few sires it hears little but the means of their families. P
takes equations to be solved. Between the two, and by products alone, is

    Q = g²,   g = M − M V₀ M/ρ,   ρ above the largest eigenvalue of M V₀ M,

which falls with the variance of a contrast as P does and is nowhere negative; V₀ is V at other start values (one step
of Richardson's iteration towards V₀⁻¹). With z of independent signs (Hutchinson 1990, Commun Stat Simul 19:433)

    tr(Q V_i Q V_j) = E[F_i'F_j],   F_i = g V_i g z.

Records are scaled by the square roots of their weights first, so that the V of the residual is I. The signs are the
same in every run, and so is θ.

A model of several effects to a term, of a residual of more than one variance, or of a relationship that has no products
in time linear in its levels starts elsewhere (`start.start_values`), and so does one of few records, or whose equations
are solved in no more time than this takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations
from remlblup.equations.stochastic.probes import signs
from remlblup.linalg.small import eigenvalues
from remlblup.reml.start import first_values, residual_variance, unit_matrices

# Vectors z, and the seed of their signs.
PROBES, SEED = 4, 0
# Iterations of the power method for the largest eigenvalue, and how far above what they find ρ is: measured, and on the
# safe side, for with a ρ below it the few largest contrasts are back.
ITERATIONS, ABOVE = 5, 1.5
# Fewer records are solved in no time.
FEW_RECORDS = 5000
# Nanoseconds: of a product M V_i v, for each record and level of its term, and for a flop of M; of an evaluation of ℓ
# and its slopes, for each entry of the factor, and for a flop. Of sizes, not of clocks, so that a fit is the same
# everywhere.
CALL, VISIT, PROJECTION, ENTRY, FLOP = 1e5, 5.0, 1.0, 100.0, 0.04
# What moments may take of the time of an evaluation, of which they save one or two.
SHARE = 0.5
# No variance starts below this share of where it would start without; and the least eigenvalue of S, of unit diagonal,
# where forms are told apart.
FLOOR, ALIKE = 0.02, 1e-3


def moment_start(equations: Equations) -> Array | None:
    """θ by moments, inside the parameter space; None where they are not taken, or the data leave no residual."""
    if not has_moments(equations):
        return None
    damped = next((damped for damped in (True, False) if is_worth(equations, damped)), None)
    if damped is None:
        return None
    half = first_values(equations)
    moments = Moments(equations, half if damped else None)
    return inside(equations, half, moments.solved(equations.spec.n))


def has_moments(equations: Equations) -> bool:
    """Whether V is a sum of known matrices that multiply fast, each with a variance of its own."""
    spec = equations.spec
    return (
        equations.kind == "equations"
        and spec.residual.keyword == "units"
        and spec.parameters.size == len(spec.random) + 1 > 1
        and spec.n >= FEW_RECORDS
        and all(d.t == 1 and d.structure.variances.all() and d.relationship.multiplies_fast for d in spec.random)
    )


def is_worth(equations: Equations, damped: bool) -> bool:
    """Whether they take clearly less time than an evaluation of ℓ and its slopes, told from sizes."""
    terms, stats = equations.random, equations.stats
    alike = CALL + VISIT * equations.spec.n + PROJECTION * equations.projection_work
    each = sum(alike + VISIT * d.q for d in terms)
    count = ITERATIONS + 3 + (2 + len(terms)) * PROBES if damped else 1 + PROBES
    return count * each <= SHARE * (ENTRY * stats.nnz_factor + FLOP * stats.flops)


def inside(equations: Equations, half: Array, theta: Array | None) -> Array | None:
    """θ with every variance of a term clearly above zero, and none more than all of y; None without a residual."""
    if theta is None or not np.all(np.isfinite(theta)) or theta[-1] < FLOOR * half[-1]:
        return None
    variance = residual_variance(equations)
    whole = [float(unit[0, 0]) for unit in unit_matrices(equations, variance)]
    return np.clip(theta, FLOOR * half, [*whole, variance])


@dataclass(frozen=True)
class Moments:
    """q and S of a model.

    Attributes
    ----------
    equations : of terms with one variance each, beside independent errors
    theta : (n_parameters,) of V₀; None for Q = M
    """

    equations: Equations
    theta: Array | None = None

    @cached_property
    def root(self) -> Array:
        """Of the weights, (n,)."""
        return np.sqrt(self.equations.spec.weights)

    @cached_property
    def y(self) -> Array:
        """My (n,)."""
        return self.root * self.equations.y[: len(self.root)]

    def free(self, v: Array) -> Array:
        """Mv (n,)."""
        return np.asarray(self.root * self.equations.project_out(v / self.root))

    def parts(self, v: Array) -> Iterator[Array]:
        """M V_i v (n,) for every i, of v = Mv."""
        for design in self.equations.random:
            Z = design.columns[0]
            effects = design.relate((Z.T @ (self.root * v))[None])[0]
            yield self.free(self.root * (Z @ effects))
        yield v

    @cached_property
    def step(self) -> Array:
        """θ/ρ of V₀ (n_parameters,)."""
        assert self.theta is not None
        (z,), size = draws(self.equations.spec.n, range(PROBES, PROBES + 1)), 1.0
        v = self.free(z)
        for _ in range(ITERATIONS):
            v = combined(self.theta, self.parts(v / np.linalg.norm(v)))
            size = float(np.linalg.norm(v))
        return self.theta / (ABOVE * size)

    def damped(self, v: Array, parts: list[Array] | None = None) -> Array:
        """gv (n,) of v = Mv; `parts` has M V_i v where it is at hand."""
        if self.theta is None:
            return v
        return v - combined(self.step, self.parts(v) if parts is None else parts)

    def forms(self) -> Array:
        """q (n_parameters,)."""
        Qy = self.damped(self.damped(self.y))
        return np.array([Qy @ part for part in self.parts(Qy)])

    def traces(self, z: Array) -> Array:
        """F_i'F_j (n_parameters, n_parameters) of one z (n,), whose mean is S."""
        parts = list(self.parts(gz := self.damped(self.free(z))))
        F = [*(self.damped(part) for part in parts[:-1]), self.damped(gz, parts)]
        return np.array([[left @ right for right in F] for left in F])

    def solved(self, n: int) -> Array | None:
        """θ with q = Sθ; None where the forms do not tell the variances apart."""
        S = np.mean([self.traces(z) for z in draws(n, range(PROBES))], axis=0)
        size = np.sqrt(S.diagonal())
        alike = S / np.outer(size, size)
        if not np.all(np.isfinite(alike)) or eigenvalues(alike)[0] < ALIKE:
            return None
        return np.linalg.solve(alike, self.forms() / size) / size


def draws(n: int, numbers: range) -> Iterator[Array]:
    """Vectors of independent signs (n,), each by its own number."""
    return (signs(n, SEED, range(j, j + 1))[:, 0] for j in numbers)


def combined(theta: Array, parts: Iterator[Array] | list[Array]) -> Array:
    """Σ_i θ_i part_i."""
    return np.asarray(sum(value * part for value, part in zip(theta, parts, strict=True)))
