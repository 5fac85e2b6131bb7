"""How much of a fit hangs on a record, or on the records of a level: all of it without refitting.

Without the records h, the variance parameters held, with C = var(β̂) and P_hh the block of P (Haslett 1999, *J. R. Stat.
Soc. B* 61:603; Christensen, Pearson & Johnson 1992, *Technometrics* 34:38; Demidenko & Stukel 2005, *Stat. Med.*
24:893),

    δ = P_hh⁻¹ (Py)_h = y_h − ŷ_h of the others,    var δ = P_hh⁻¹,
    β̂ − β̂₍ₕ₎ = CX'V⁻¹E_h δ,    û − û₍ₕ₎ = GZ'PE_h δ,
    ℓ₍ₕ₎ − ℓ = ½ [|h| log 2π − log|P_hh| + (Py)_h'δ],

exact, whatever the structures. (For ML ℓ has (V⁻¹)_hh in place of P_hh in the determinant.) How far the variance
parameters move takes a step of Newton (`one_step`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.linalg

from remlblup.arrays import Array
from remlblup.diagnostics.cases import Cases, cases_of
from remlblup.diagnostics.one_step import OneStep
from remlblup.errors import check_switch, some
from remlblup.fit.held_out import deletion
from remlblup.fit.progress import bar_wanted
from remlblup.fit.tables.shown import shown
from remlblup.linalg.scaled_solve import scaled_inverse

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# Standard errors that the components may move in one step: beyond, a refit may end elsewhere.
FAR = 3.0
LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Influence:
    """What leaving out each case changes: `fit.influence()`.

    Attributes
    ----------
    what : "record", or the term or column whose levels are left out
    table : a row per case: records (how many), cooks_distance, covratio, loglik_change, components_distance
    fixed_effects : cases × coefficients: β̂ without the case less β̂; NaN where the rest does not determine them
    components : cases × parameters: the same of the variance parameters, by one step of Newton; none if not asked for
    predictions : a row per record left out (case, record): observed, prediction by the others, std_error of their
        difference, and that difference, residual
    random_effects : of a random term, a row per level left out and effect: estimate, and estimate_without, by the
        level's relatives alone; None else
    std_errors, component_errors : standard errors of the fixed effects and of the components; of one without, that
        given the others
    """

    what: str
    table: pd.DataFrame
    fixed_effects: pd.DataFrame
    components: pd.DataFrame
    predictions: pd.DataFrame
    random_effects: pd.DataFrame | None
    std_errors: pd.Series = field(repr=False)
    component_errors: pd.Series = field(repr=False)

    @property
    def standardized(self) -> pd.DataFrame:
        """Changes of the fixed effects in their standard errors (DFBETAS at known variances)."""
        return self.fixed_effects / self.std_errors

    @property
    def verdict(self) -> str:
        """The most influential cases, in words."""
        known = self.table["cooks_distance"].dropna().sort_values(ascending=False, kind="stable")
        absent = len(self.table) - len(known)
        lost = f" Without {absent} of them the fixed effects cannot all be estimated." if absent else ""
        if not len(known):
            if not len(self.std_errors):
                return f"{len(self.table):,} cases; there are no fixed effects for Cook's distance."
            return f"{len(self.table):,} cases, none of which can be left out.{lost}"
        told = ", ".join(f"{name} ({value:.3g})" for name, value in known.head(3).items())
        moved = self.table.get("components_distance", pd.Series(dtype=float))
        if len(far := moved.index[moved > FAR]):
            lost += (
                f" Without {some(far, 3)} the components move by more than {FAR:g} standard errors in one step: fit"
                " again to see where they end."
            )
        kind = "records" if self.what == "record" else f"levels of '{self.what}'"
        return f"Of {len(self.table):,} {kind} the fixed effects hang most on {told} (Cook's distance).{lost}"

    def __str__(self) -> str:
        return f"{self.verdict}\n\n{self.table.to_string()}"

    def __repr__(self) -> str:
        return f"<Influence: {self.verdict}>"


def influence(
    fit: Estimates, term: Any, components: bool, progress: bool | None, many_solves: bool = False
) -> Influence:
    """See `DiagnosticMethods.influence`."""
    from tqdm import tqdm

    check_switch("components", components)
    check_switch("many_solves", many_solves)
    progress = bar_wanted(progress)
    cases = cases_of(fit, term)
    if not many_solves:
        count = sum(map(len, cases.records)) + (len(cases.records) * len(fit.theta) if components else 0)
        fit._equations.check_solves(count, "cases left out", "write many_solves=True to wait for them")
    without = Without(fit, cases, OneStep(fit) if components else None)
    with tqdm(total=len(cases.records), unit=" cases", disable=not progress, leave=False) as bar:
        for batch in cases.together():
            without.leave_out(batch)
            bar.update(len(batch))
    return without.result()


class Without:
    """The fit without each case, filled in batch by batch."""

    def __init__(self, fit: Estimates, cases: Cases, step: OneStep | None):
        self.fit, self.cases, self.step = fit, cases, step
        spec, count = fit.specification, len(cases.records)
        self.Py = fit._solution.weighted_residual[: spec.n]
        self.C = fit.beta_covariance
        self.root = scipy.linalg.cho_factor(self.C, lower=True) if spec.p else None
        self.rows = np.full((count, 4), np.nan)
        self.beta = np.full((count, spec.p), np.nan)
        self.theta = np.full((count, len(fit.theta) if step is not None else 0), np.nan)
        self.predicted: list[tuple[Array, Array]] = [(np.zeros(0), np.zeros(0))] * count
        self.levels: list[Array] = [np.zeros(0)] * count

    def leave_out(self, batch: list[int]) -> None:
        """The cases of a batch, by one solve for all of their records."""
        spec, equations, solution = self.fit.specification, self.fit._equations, self.fit._solution
        records = np.concatenate([self.cases.records[number] for number in batch])
        unit = np.zeros((spec.n, len(records)))
        unit[records, np.arange(len(records))] = 1.0
        effects, P = equations.respond(solution, unit)
        before = equations.before_projection(solution, records, P[records])
        transform = spec.fixed.transform
        beta = effects[: spec.p] if transform is None else transform @ effects[: spec.p]
        start, steps = 0, []
        for number in batch:
            h = self.cases.records[number]
            own = slice(start, start + len(h))
            start = own.stop
            A = P[np.ix_(h, np.arange(own.start, own.stop))]
            delta, unknown = deletion(A, self.Py[h], before[own])
            self._predicted(number, h, A, delta, unknown)
            if self.cases.term is not None:
                self.levels[number] = self._level(number, effects[:, own] @ delta)
            if unknown.any():
                continue
            self._fixed(number, h, A, delta, beta[:, own])
            steps.append((number, h, P[:, own], A, delta, beta[:, own]))
        if self.step is not None and steps:
            moved = self.step.without([s[1:] for s in steps], self.root)
            self.theta[[s[0] for s in steps]] = moved

    def _predicted(self, number: int, h: np.ndarray, A: Array, delta: Array, unknown: Array) -> None:
        """ŷ of the others and the standard error of y − ŷ."""
        prediction = np.where(unknown, np.nan, self.fit.specification.observed[h] - delta)
        variance = np.diag(scaled_inverse(A))
        self.predicted[number] = prediction, np.where(unknown, np.nan, np.sqrt(np.maximum(variance, 0.0)))

    def _fixed(self, number: int, h: np.ndarray, A: Array, delta: Array, beta: Array) -> None:
        """The change of β̂, Cook's distance, the ratio of |var β̂|, the change of ℓ."""
        change = -beta @ delta
        logdet = np.linalg.slogdet(A)[1]
        whole = logdet
        cook = covratio = np.nan
        if self.root is not None:
            cook = float(change @ scipy.linalg.cho_solve(self.root, change)) / len(change)
            # (V⁻¹)_hh = P_hh + B'C⁻¹B with B = CX'V⁻¹E_h, and |var β̂₍ₕ₎|/|var β̂| = |(V⁻¹)_hh|/|P_hh|.
            whole = np.linalg.slogdet(A + beta.T @ scipy.linalg.cho_solve(self.root, beta))[1]
            covratio = float(np.exp(whole - logdet))
        of_loglik = whole if self.fit.options.ml else logdet
        gained = 0.5 * (len(h) * LOG_2PI - of_loglik + float(self.Py[h] @ delta))
        self.beta[number] = change
        self.rows[number, :3] = cook, covratio, gained

    def _level(self, number: int, change: Array) -> Array:
        """û of the level left out, by its relatives, (t,)."""
        equations, k = self.fit._equations, self.cases.term
        assert k is not None
        design, block = equations.random[k], equations.term_blocks(change)[k]
        whole = block if design.root is None else block @ design.root.T
        level = self.cases.levels[number]
        return self.fit._level_effects[k][:, level] - whole[:, level]

    # -- the tables --------------------------------------------------------------------------

    def result(self) -> Influence:
        fit, cases, spec = self.fit, self.cases, self.fit.specification
        known = np.isfinite(self.theta).all(axis=1) & (self.theta.shape[1] > 0)
        information, moved = fit._optimum.precise.point.information, fit._optimum.turn(self.theta[known].T)
        self.rows[known, 3] = np.einsum("ic,ij,jc->c", moved, information, moved) if known.any() else 0.0
        names = ("cooks_distance", "covratio", "loglik_change", "components_distance")
        counts = [len(h) for h in cases.records]
        table = pd.DataFrame({"records": counts, **dict(zip(names, self.rows.T, strict=True))}, index=cases.labels)
        if self.step is None:
            table = table.drop(columns="components_distance")
        columns = list(spec.parameters.columns) if self.step is not None else []
        beta = pd.DataFrame(self.beta, index=cases.labels, columns=list(spec.fixed.names))
        theta = pd.DataFrame(self.theta, index=cases.labels, columns=columns)
        error = pd.Series(np.sqrt(np.diag(self.C)), index=list(spec.fixed.names), name="std_error")
        note = fit._note
        return Influence(cases.what, shown(table, note), shown(beta, note), shown(theta, note), self._predictions(),
                         self._levels(), error, self._component_errors(columns))  # fmt: skip

    def _component_errors(self, columns: list[str]) -> pd.Series:
        """Standard errors; on a boundary 1, for what lies there does not move."""
        error = np.sqrt(np.diag(self.fit.variance_covariance))[: len(columns)]
        given_others = np.asarray(self.fit._information.errors, dtype=float)[: len(columns)]
        for other in (given_others, np.ones(len(columns))):
            error = np.where(np.isfinite(error) & (error > 0.0), error, other)
        return pd.Series(error, index=columns, name="std_error")

    def _predictions(self) -> pd.DataFrame:
        spec, cases = self.fit.specification, self.cases
        h = np.concatenate(cases.records)
        prediction, error = (np.concatenate(part) for part in zip(*self.predicted, strict=True))
        observed = spec.observed[h]
        values = {"observed": observed, "prediction": prediction, "std_error": error, "residual": observed - prediction}
        record = pd.Index(spec.index[h])
        if cases.what == "record":
            return shown(pd.DataFrame(values, index=record), self.fit._note)
        case = np.repeat(np.arange(len(cases.records)), [len(own) for own in cases.records])
        flat = record.to_flat_index() if isinstance(record, pd.MultiIndex) else record
        index = pd.MultiIndex.from_arrays([cases.labels[case], flat], names=[cases.what, "record"])
        return shown(pd.DataFrame(values, index=index), self.fit._note)

    def _levels(self) -> pd.DataFrame | None:
        k = self.cases.term
        if k is None:
            return None
        effects = list(self.fit.specification.random[k].structure.effects)
        index = pd.MultiIndex.from_product([self.cases.labels, effects], names=["level", "effect"])
        now = self.fit._level_effects[k][:, self.cases.levels].T.ravel()
        table = pd.DataFrame({"estimate": now, "estimate_without": np.concatenate(self.levels)}, index=index)
        return shown(table, self.fit._note)
