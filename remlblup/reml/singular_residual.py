"""The way on where R becomes singular: the same likelihood by equations that do not divide by R.

Henderson's equations divide by R. Where a residual variance goes to zero, a residual matrix becomes singular, or,
without constraints, R would be negative, V can be positive definite all the same, and the maximum lies there like at
any other boundary. The loop is then taken up at its last iterate with the residual among the random terms and V itself
in place of the equations (`remlblup.equations.variance.without_inverse`). Where V is singular there too,
the likelihood has no maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.variance.engine import VarianceEquations
from remlblup.equations.variance.without_inverse import SINGULAR_V, WithoutInverse, with_residual_effects
from remlblup.errors import MemoryLimitError, ModelError, NotPositiveDefiniteError, some
from remlblup.model.repeats import repeated_rows
from remlblup.reml.convergence import has_trend
from remlblup.reml.history import Iteration
from remlblup.reml.likelihood import log_likelihood
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.restate import maximize as search
from remlblup.reml.verdict import trend
from remlblup.structure.base import Structure
from remlblup.structure.residual.base import ResidualStructure

# Up to this many records V costs next to nothing, and the loop leaves Henderson's equations early.
FEW = 1500
# With more records V takes minutes an iteration.
MOST = 10_000
# Shares of R left (`share_left`) at which it does so, at which it does whatever the size,
# and where a stall is laid to R.
NEAR, NEARER, SUSPECT = 1e-3, 1e-6, 0.1
# With this share left and V singular at none, R is on its way to where the likelihood has no maximum.
GONE = 1e-6
# A pivot of V within this factor of what counts as zero is on its way to it.
EDGE = 100.0
# A search without constraints that stalls with a pivot of V this small was stopped by the edge:
# steps are halved this far.
SHORT_OF_EDGE = 1e-5
# The reason of a fit without constraints that ends there.
AT_EDGE = (
    "without constraints the components went to where V is no longer positive definite, and the likelihood rises"
    " towards that edge. Keep the constraints (constrain=True), or use a structure with fewer parameters."
)
# A step that is expected to gain less than half of this gains nothing.
NOTHING = 1e-8
# A residual correlation this close to its bound counts as the share 1 of R, and in proportion.
CLOSE = 0.01


def maximize(
    equations: Equations,
    options: Options,
    start: Array,
    fixed: Array,
    report: Callable[[Iteration], None] | None = None,
) -> Optimum:
    """Where the (RE)ML likelihood is largest, with R singular there or not.

    Parameters
    ----------
    start, fixed : (n_parameters,) values to start from and to hold, NaN where not given
    """
    place = equations.spec.parameters.of_residual
    route = Route(equations)
    if has_no_inverse(equations.residual, np.where(np.isnan(fixed), start, fixed)[place]):
        return route.followed(options, start, fixed, report)
    if options.algorithm not in ("auto", "ai"):
        return search(equations, options, start, fixed, report)
    found = search(equations, options, start, fixed, report, route.open_at)
    used = len(found.iterations) - 1
    if found.convergence.converged and not route.open_at(found.point.theta) and not route.out_of_reach(found):
        return found
    if used >= options.max_iterations or not route.open_at(found.point.theta, SUSPECT):
        return route.judged(found, options.constrain, options.ml)
    rest = replace(options, max_iterations=options.max_iterations - used)
    return route.followed(rest, found.point.theta, fixed, report, found.iterations)


def equations_at(equations: Equations, theta: Array) -> tuple[Equations, Equations]:
    """The equations whose tables, and those whose score, serve at θ: the given ones, but where R has no inverse."""
    if equations.searched is not equations:
        return equations, equations.searched
    if not has_no_inverse(equations.residual, theta[equations.spec.parameters.of_residual]):
        return equations, equations
    effects = with_residual_effects(equations.spec, equations.asked)
    return WithoutInverse(equations.spec, effects, equations.asked), effects


class Route:
    """The way from a model's equations to those with its residual among the effects."""

    def __init__(self, equations: Equations):
        self.equations, self.spec = equations, equations.spec
        self.place = self.spec.parameters.of_residual
        self.residual = self.spec.residual
        self.unit = equations.scales.residual
        searched = equations.searched
        self.effects = searched if searched is not equations and isinstance(searched, VarianceEquations) else None
        self.closed = False

    def open_at(self, theta: Array, near: float | None = None) -> str | None:
        """The word "residual" where R is nearly singular and V, with R singular, positive definite; else None."""
        near = (NEAR if self.spec.n <= FEW else NEARER) if near is None else near
        share = share_left(self.residual, theta[self.place], self.unit)
        if share > near or not self.makes():
            return None
        # What else of R is small need not vanish with the smallest.
        return "residual" if self.attainable(theta, min(near, 10.0 * share)) else None

    def makes(self) -> bool:
        """Whether there are equations with the residual among the effects: V may be too large."""
        self.closed |= self.spec.n > MOST
        if self.effects is None and not self.closed:
            try:
                self.effects = with_residual_effects(self.spec, self.equations.asked)
            except (MemoryLimitError, ModelError):
                self.closed = True
        return self.effects is not None

    def towards(self, theta: Array, near: float, left: float) -> Array:
        """θ with only the share `left` of what is nearly singular of R."""
        assert self.effects is not None
        out, parameters = theta.copy(), self.effects.spec.parameters
        for k in range(len(self.spec.random), len(parameters.structures)):
            place = parameters.slices[k]
            unit = self.unit[place.start - self.place.start : place.stop - self.place.start]
            out[place] = towards_face(parameters.structures[k], theta[place], unit, near, left)
        return out

    def attainable(self, theta: Array, near: float) -> bool:
        """Whether V is positive definite where what is nearly singular of R is singular."""
        assert self.effects is not None
        try:
            self.effects.solve(self.towards(theta, near, 0.0))
        except NotPositiveDefiniteError:
            return False
        return True

    def bottomless(self, theta: Array, ml: bool) -> bool:
        """Whether R is as good as singular and V, with R singular, as well: ℓ rises towards that edge without end."""
        share = share_left(self.residual, theta[self.place], self.unit)
        if share > GONE or not self.makes() or not self.at_edge(self.towards(theta, GONE, 0.0)):
            return False
        return has_no_inverse(self.residual, theta[self.place]) or self.rises(theta, ml)

    def rises(self, theta: Array, ml: bool) -> bool:
        """Whether ℓ rises as what is left of R falls to a tenth: at a maximum near a singular R it does not."""
        equations = self.equations
        try:
            here, there = (
                log_likelihood(equations, equations.solve(at, ml=ml), ml)
                for at in (theta, self.towards(theta, GONE, 0.1))
            )
        except NotPositiveDefiniteError:
            return True  # singular to working precision
        return there > here + 0.1

    def at_edge(self, theta: Array, whole: bool = False) -> bool:
        """Whether V is singular but for rounding, by default beside X: REML does not see the rest of it."""
        assert self.effects is not None
        try:
            self.effects.solve(theta, ml=whole)
        except NotPositiveDefiniteError:
            return True
        assert self.effects.factor is not None
        return self.effects.factor.smallest_pivot < (SHORT_OF_EDGE if whole else EDGE * SINGULAR_V)

    def judged(self, found: Optimum, constrain: bool, ml: bool) -> Optimum:
        """The same with the reason that the likelihood has no maximum, or that it cannot be told, where that is why the
        loop ended."""
        if not found.convergence.converged and (added := trend(self.spec, found.point.theta)):
            failed = [c.name for c in found.convergence.criteria if not c.passed]
            return replace(found, convergence=replace(found.convergence, reason=has_trend(added, failed)))
        if self.out_of_reach(found):
            verdict = replace(found.convergence, reason=too_large(self.spec.n), collapsed=True)
            return replace(found, convergence=verdict)
        if not constrain and self.spec.n <= FEW and self.makes() and self.at_edge(found.point.theta, whole=True):
            return replace(
                found, convergence=replace(found.convergence, reason=AT_EDGE, unidentified=(), collapsed=True)
            )
        if not self.bottomless(found.point.theta, ml):
            return found
        names = vanishing(self.residual, found.point.theta[self.place], self.unit)
        reason = no_maximum(names, repeated_rows(self.spec))
        verdict = replace(found.convergence, reason=reason, unidentified=(), collapsed=True)
        return replace(found, convergence=verdict)

    def out_of_reach(self, found: Optimum) -> bool:
        """Whether the search ended beside a singular R where V, which would tell, is too large: on its way there, or
        held from falling further, where what equations that divide by R say of ℓ and its slope is rounding."""
        if not self.closed:
            return False
        left = share_left(self.residual, found.point.theta[self.place], self.unit)
        held = set(found.convergence.boundary) & set(self.spec.parameters.columns[self.place])
        # Where no step is expected to gain anything R goes nowhere, however small it is.
        going = not found.convergence.converged and not at_rest(found)
        return (going and left < NEAR) or (bool(held) and left <= GONE)

    def followed(
        self,
        options: Options,
        start: Array,
        fixed: Array,
        report: Callable[[Iteration], None] | None,
        before: tuple[Iteration, ...] = (),
    ) -> Optimum:
        """The optimum by the other equations, in the words of the model."""
        effects = self.effects = self.effects or with_residual_effects(self.spec, self.equations.asked)
        labels = dict(zip(effects.spec.parameters.columns, self.spec.parameters.columns, strict=True))
        rows = list(before)

        def note(row: Iteration) -> None:
            own = tuple(labels[label] for label in row.boundary)
            if before and row.iteration == 0:  # the last iterate again, by other equations
                row = replace(row, step="to V", delta=row.loglik - rows[-1].loglik, change=0.0)
            rows.append(replace(row, iteration=len(rows), boundary=own))
            if report is not None:
                report(rows[-1])

        def watch(theta: Array) -> str | None:
            return "collapse" if self.bottomless(theta, options.ml) else None

        found = search(effects, options, start, fixed, note, watch)
        equations = WithoutInverse(self.spec, effects, self.equations.asked)
        solution = equations.solve(found.point.theta, ml=options.ml)
        verdict = found.convergence
        convergence = replace(
            verdict,
            boundary=tuple(labels[label] for label in verdict.boundary),
            unidentified=tuple(labels[label] for label in verdict.unidentified),
            iterations=len(rows) - 1,
        )
        found = replace(found, solution=solution, equations=equations, convergence=convergence, iterations=tuple(rows))
        return found if convergence.converged else self.judged(found, options.constrain, options.ml)


def at_rest(found: Optimum) -> bool:
    """Whether the search ended where another step would gain nothing."""
    return bool(found.iterations[-1].decrement < NOTHING)


def has_no_inverse(residual: ResidualStructure, phi: Array) -> bool:
    """Whether what is known of φ (NaN where not) makes R singular or indefinite, or R⁻¹ is dense in any case."""
    if residual.dense:
        return True
    known = ~np.isnan(phi)
    if not np.count_nonzero(known):
        return False
    if np.any(known & residual.variances & (phi <= 0.0)):
        return True
    return bool(known.all()) and not (
        np.all((phi > residual.lower) & (phi < residual.upper)) and residual.feasible(phi)
    )


def share_left(residual: ResidualStructure, phi: Array, unit: Array) -> float:
    """The smallest variance of R, or of a combination of its effects, relative to that of φ = `unit`.

    Of a correlation its distance to the bound, relative to `CLOSE`.
    """
    variances = residual.variances
    shares = [phi[variances] / unit[variances]]
    if np.count_nonzero(variances) == len(variances):
        return float(shares[0].min(initial=np.inf))
    before, after = residual.matrices(unit), residual.matrices(phi)
    for label, (_, whole) in before.items():
        d = 1.0 / np.sqrt(np.diag(whole))
        shares.append(np.linalg.eigvalsh(after[label][1] * np.outer(d, d))[:1])
    if not before:
        ceiling = np.isfinite(residual.upper)
        shares.append((residual.upper - phi)[ceiling] / CLOSE)
        shares.append((phi - residual.lower)[ceiling & (residual.lower < 0.0)] / CLOSE)
    return float(np.min(np.concatenate(shares), initial=np.inf))


def towards_face(structure: Structure, theta: Array, unit: Array, near: float, left: float) -> Array:
    """θ of one matrix of R with the share `left` of what is smaller than `near` of it,
    and correlations as near to their bounds."""
    if structure.cone and structure.size > 1:
        d = np.sqrt(np.diag(structure.covariance(unit)))
        values, vectors = np.linalg.eigh(structure.covariance(theta) / np.outer(d, d))
        kept = (vectors * np.where(values < near, left * values, values)) @ vectors.T
        return structure.project(kept * np.outer(d, d))
    out = np.where(structure.variances & (theta < near * unit), left * theta, theta)
    ceiling = np.isfinite(structure.upper)
    for bound in (structure.upper, structure.lower):
        away = theta - np.where(ceiling, bound, 0.0)
        out = np.where(ceiling & (np.abs(away) < near * CLOSE), bound + left * away, out)
    return out


def vanishing(residual: ResidualStructure, phi: Array, unit: Array) -> tuple[str, ...]:
    """Names of the effects of R that nothing is left of, or of those whose combination that is."""
    names, before = [], residual.matrices(unit)
    for label, (effects, sigma) in residual.matrices(phi).items():
        d = 1.0 / np.sqrt(np.diag(before[label][1]))
        values, vectors = np.linalg.eigh(sigma * np.outer(d, d))
        part = np.any(np.abs(vectors[:, values < GONE]) > 0.1, axis=1)
        names += [f"{label}: {e}" if label else str(e) for e, own in zip(effects, part, strict=True) if own]
    return tuple(names)


def no_maximum(names: tuple[str, ...], repeated: Collection[object]) -> str:
    """The reason where V becomes singular with R; rows that repeat others differ from these by nothing."""
    of = f" of {some(names)}" if len(names) == 1 else f" of a combination of {some(names)}" if names else ""
    also = ", or for a trait that is a function of another." if len(names) > 1 else "."
    if len(repeated):
        look = f": row(s) {some(repeated)} repeat others in every column that the model reads. Leave copies out."
    else:
        look = f". Look for a random term with one record per level{also}"
    return (
        f"the residual variance{of} goes to zero and V becomes singular with it: the random and fixed effects explain"
        f" these records exactly, and the likelihood rises without end{look}"
    )


def too_large(n: int) -> str:
    """The reason where V is out of reach."""
    return (
        "the residual covariance matrix becomes singular. Equations that do not divide by it hold V whole, and V of"
        f" {n:,} records is too large for them. Hold the residual variance at a small positive value with fix=, or fit"
        " fewer records."
    )
