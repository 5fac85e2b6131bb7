"""The printed report of a fit, as text and as HTML: tables that can go into a paper as they are."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.errors import ConvergenceWarning, count, said_elsewhere, some
from remlblup.fit.errors.satterthwaite import MISSING
from remlblup.linalg.memory import all_within_memory
from remlblup.model.design import FixedDesign
from remlblup.model.grouping import UNITS
from remlblup.model.specification import Specification
from remlblup.model.unknown_parents import said
from remlblup.report.matrix_tables import covariance_tables
from remlblup.report.text import (
    WIDTH,
    Table,
    aligned,
    described,
    fixed_point,
    p_value,
    under_headings,
    underlined,
)
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.exponential import Exponential
from remlblup.structure.residual.field import Field
from remlblup.structure.residual.grouped_units import GroupedUnits
from remlblup.structure.residual.known_residual import KnownResidual
from remlblup.structure.residual.places import Places
from remlblup.structure.residual.sections import Sections

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates
    from remlblup.fit.solved import Solved
    from remlblup.fit.tables.functions import Estimate
    from remlblup.model.design import RandomDesign

COEFFICIENTS = 40  # fixed effects printed
INTERCEPT = ("Intercept",)


@all_within_memory
class Summary:
    """Report of a fit: ``print(summary)`` or a notebook cell show it.

    Parameters
    ----------
    fit : Fit
    functions : mapping of name to `Estimate`, optional
        Functions of the components (`Fit.function`) to list with them.
    """

    def __init__(self, fit: Estimates, functions: Mapping[str, Estimate] | None = None):
        self.fit = fit
        self.functions = dict(functions or {})

    @property
    def _memory_predicted(self) -> str:
        return self.fit._memory_predicted

    @property
    def title(self) -> str:
        return f"Linear mixed model by {self.fit.method}" + (
            "" if self.fit.converged else f": {self.fit.convergence.status.upper()}"
        )

    def facts(self) -> list[tuple[str, str]]:
        """What was fitted, on what, and how it ended."""
        fit, spec = self.fit, self.fit.specification
        stats = fit._equations.stats
        rows = [("Formula", fit.formula or "from matrices"), ("Records", records(fit))]
        if spec.records is not None and spec.records.unknown_parents:
            rows.append(("", nothing_added(spec)))
        if spec.records is not None and spec.records.weights is not None:
            rows.append(("Weights", f"{spec.records.weights} (residual variance over weight)"))
        rows.append(("Fixed", f"{count(spec.p, 'coefficient')}, {fit.df_residual:,} residual df"))
        if fit.aliased:
            rows.append(("Aliased", f"{some(fit.aliased, 6)}: set aside, they depend on earlier columns"))
        rows += no_columns(spec.fixed)
        random = [d for d in spec.random if not is_units(d)]
        rows += [("Random" if k == 0 else "", levels(d)) for k, d in enumerate(random)]
        rows += [("", f"{d.name}: {d.relationship.note}") for d in random if d.relationship.note]
        if spec.formula is not None and spec.formula.offset:
            rows.append(("Offset", " + ".join(spec.formula.offset) + ", part of the mean with the coefficient 1"))
        if spec.residual_text != "units":
            rows.append(("Residual", residual_sizes(fit)))
        rows.append(("Equations", f"order {stats.n:,}, {stats.engine} engine, {fit.options.algorithm} algorithm"))
        rows.append(("Verdict", str(fit.convergence)))
        if fit.convergence.boundary:
            rows.append(("Boundary", ", ".join(fit.convergence.boundary)))
        if not fit.options.constrain:
            rows.append(("Unconstrained", "components may be negative as long as V is positive definite"))
        return rows + (likelihoods(fit) if fit._equations.knows_likelihood else monte_carlo(fit))

    def tables(self) -> list[Table]:
        """The parts of the report."""
        parts = [components_table(self.fit)]
        if self.functions:
            parts.append(functions_table(self.functions))
        parts += covariance_tables(self.fit)
        if len(self.fit.fixed_effects):
            parts.append(fixed_table(self.fit, self.fit.df_method))
        if not self.fit.converged:
            parts.append(criteria_table(self.fit))
        return parts

    @said_elsewhere(ConvergenceWarning)
    def __str__(self) -> str:
        blocks = [underlined(self.title, "=") + "\n" + described(self.facts())]
        blocks += [table.text() for table in self.tables()]
        return "\n\n".join(blocks)

    __repr__ = __str__

    @said_elsewhere(ConvergenceWarning)
    def html(self) -> str:
        """Title, facts and tables as HTML without a style."""
        rows = "".join(f"<tr><th>{html.escape(n)}</th><td>{html.escape(t)}</td></tr>" for n, t in self.facts())
        mark = "" if self.fit.converged else ' class="failed"'
        parts = [f"<h2{mark}>{html.escape(self.title)}</h2>"]
        parts.append(f'<div class="scroll"><table class="facts"><tbody>{rows}</tbody></table></div>')
        return "\n".join(parts + [table.html() for table in self.tables()])

    @said_elsewhere(ConvergenceWarning)
    def to_markdown(self) -> str:
        """Title, facts and tables as Markdown, for a README or a notebook."""
        from remlblup.report.export import markdown

        return markdown(self.title, self.facts(), self.tables())

    @said_elsewhere(ConvergenceWarning)
    def to_latex(self) -> str:
        """The facts and a ``table`` for each table in LaTeX; the preamble needs ``\\usepackage{booktabs}``."""
        from remlblup.report.export import latex

        return latex(self.title, self.facts(), self.tables())

    def _repr_html_(self) -> str:
        return f'<div class="remlblup"><style>{NOTEBOOK_STYLE}</style>\n{self.html()}\n</div>'


NOTEBOOK_STYLE = (
    ".remlblup table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".remlblup th,.remlblup td{padding:.15em .7em;text-align:left;white-space:nowrap}"
    ".remlblup .facts td{white-space:normal}"
    ".remlblup .n{text-align:right}"
    ".remlblup .failed{color:#B03A00}"
    ".remlblup caption{caption-side:top;text-align:left;font-weight:bold;padding:.6em 0 .2em}"
)


def likelihoods(fit: Estimates) -> list[tuple[str, str]]:
    """ℓ in its conventions, and what is made of it."""
    conventions = f"{fit.loglik:.4f} with all constants, {fit.loglik_asreml:.4f} as ASReml"
    if fit.method == "REML":
        conventions += f", {fit.loglik_nlme:.4f} with ½ log|X'X|"
    criteria = f"{fit.aic:.3f}, {fit.bic:.3f} ({count(fit.n_parameters, 'parameter')})"
    return [("logL", conventions), ("AIC, BIC", criteria)]


def monte_carlo(fit: Estimates) -> list[tuple[str, str]]:
    """What stands in place of ℓ where only its slopes are known, by probes."""
    drawn = fit._optimum.monte_carlo
    said = drawn.in_words if drawn else "no probes: interrupted"
    return [("Monte Carlo", said), ("logL", "not known to the stochastic engine, nor AIC, BIC")]


# -- the tables of a fit ---------------------------------------------------------------------


def components_table(fit: Estimates) -> Table:
    """Term, parameter, estimate, s.e., z, status; the share of the total where variances simply add up."""
    table = pd.DataFrame(fit.variance_components)  # a plain one, whose columns are Series at once
    by_probes = [table[c] for c in ("monte_carlo_error", "total_error") if c in table]
    estimate, error, *drawn = aligned(table["estimate"], table["std_error"], *by_probes)
    share = shares(fit)
    of_probes = ["Monte Carlo", "total"] if drawn else []
    header = ["term", "parameter", "estimate", "s.e.", *of_probes, "z", *(["share"] if share else []), "status"]
    rows, before = [], None
    words = (table[name].tolist() for name in ("term", "parameter", "status", "z_ratio"))
    for k, (term, parameter, status, ratio) in enumerate(zip(*words, strict=True)):
        z = fixed_point(ratio, 2)
        row = ["" if term == before else term, parameter, estimate[k], error[k], *(d[k] for d in drawn), z]
        rows.append((*row, *([share[k]] if share else []), status))
        before = term
    whole = Table("Variance components", tuple(header), tuple(rows), 2, ("status",))
    return whole if whole.width <= WIDTH else under_headings(whole)


def shares(fit: Estimates) -> list[str]:
    """Each component in per cent of their sum, where the variance of a record is that sum; else nothing."""
    spec = fit.specification
    simple = all(d.term is not None and d.structure.effects == INTERCEPT for d in spec.random)
    if not spec.random or not simple or np.ptp(spec.weights) > 0.0 or len(fit.theta) != len(spec.random) + 1:
        return []
    if np.any(fit.theta < 0.0):
        return []
    return [f"{100.0 * v:.1f} %" for v in fit.theta / fit.theta.sum()]


def fixed_table(fit: Solved, df_method: str = "residual", limit: int = COEFFICIENTS) -> Table:
    """Estimate, s.e., df, t, p and 95 % interval of the fixed effects."""
    full = pd.DataFrame(fit.fixed_effects)
    table = full if len(full) <= limit else full.head(limit)
    estimate, error, lower, upper = aligned(table["estimate"], table["std_error"], table["lower"], table["upper"])
    columns = [
        [str(name) for name in table.index],
        estimate,
        error,
        [fixed_point(v, 1) for v in table["df"]],
        [fixed_point(v, 2) for v in table["t"]],
        [p_value(v) for v in table["p_value"]],
        lower,
        upper,
    ]
    more = f"… and {len(full) - limit:,} more coefficients in the table fixed_effects" if len(full) > limit else ""
    if full["df"].isna().any():
        more = "\n".join(filter(None, [more, MISSING]))
    header = ("coefficient", "estimate", "s.e.", "df", "t", "p", "lower 95 %", "upper 95 %")
    known = len(full) > 0 and bool(np.isinf(full["df"]).all())
    how = "infinite df, for all variances are given" if known else f"{df_method} df"
    return Table(f"Fixed effects ({how})", header, tuple(zip(*columns, strict=True)), note=more)


def random_table(fit: Solved, limit: int = 5) -> Table:
    """The first levels of every effect of every random term."""
    groups = fit.random_effects.groupby(["term", "effect"], sort=False, observed=True)
    table = groups.head(limit)
    estimate, error = aligned(table["estimate"], table["std_error"])
    words = [[str(v) for v in table[c]] for c in ("term", "effect", "level")]
    reliability = [fixed_point(v, 3) for v in table["reliability"]]
    longest = int(groups.size().max()) if len(table) else 0
    note = (
        f"the first {limit} levels of each effect; all of them in the table random_effects" if longest > limit else ""
    )
    header = ("term", "effect", "level", "BLUP", "s.e. (√PEV)", "reliability")
    rows = tuple(zip(*words, estimate, error, reliability, strict=True))
    return Table("Random effects", header, rows, 3, note=note)


def functions_table(functions: Mapping[str, Estimate]) -> Table:
    """Functions of the components with delta-method standard errors."""
    rows = []
    for name, value in functions.items():
        (estimate,), (error,) = aligned([value.estimate], [value.std_error])
        rows.append((name, value.expression if name != value.expression else "", estimate, error))
    if not any(row[1] for row in rows):
        return Table(
            "Functions of the components", ("name", "estimate", "s.e."), tuple((a, c, d) for a, _, c, d in rows)
        )
    return Table("Functions of the components", ("name", "expression", "estimate", "s.e."), tuple(rows), 2)


def criteria_table(fit: Estimates) -> Table:
    """The criteria of convergence with value, limit and whether they were met."""
    rows = [
        (c.name, f"{c.value:.2e}", f"{c.limit:.0e}", "yes" if c.passed else "NO", c.meaning)
        for c in fit.convergence.criteria
    ]
    return Table("Convergence", ("criterion", "value", "limit", "met", "meaning"), tuple(rows), 1, ("met", "meaning"))


# -- words -----------------------------------------------------------------------------------


def levels(design: RandomDesign) -> str:
    """A random term with its numbers of levels and effects."""
    text = f"{design.name}: {count(design.q, 'level')}"
    if design.term is not None and design.term.group.related:
        seen = np.zeros(design.q, dtype=bool)
        for column in design.columns:
            seen[column.indices] = True
        text += f", {int(seen.sum()):,} with records"
        if design.relationship.known_rank not in (None, design.q):
            text += f", rank {design.relationship.known_rank:,}"
    if design.term is not None and design.term.coordinates:  # a place has many digits and no name
        text += f", {design.t:,} places"
    elif design.t > 1:
        text += f", {design.t} effects ({', '.join(map(str, design.structure.effects[:4]))}"
        text += ", …)" if design.t > 4 else ")"
    return text


def is_units(design: RandomDesign) -> bool:
    """Whether it is the independent effect of every record, part of the residual."""
    return design.term is not None and design.term.group.factors == (UNITS,) and design.t == 1


def records(fit: Solved) -> str:
    """Number of records, of several responses their values and rows; what was set aside."""
    spec = fit.specification
    if spec.records is None or not spec.responses:
        return f"{fit.n_obs:,}{dropped(fit)}"
    text = f"{fit.n_obs:,} values of {', '.join(spec.responses)} in {count(len(spec.records.original), 'row')}"
    missing = ", ".join(f"{c} {k:,}" for c, k in spec.records.cells.items())
    return text + (f", missing: {missing}" if missing else "") + dropped(fit)


def dropped(fit: Solved) -> str:
    """Rows set aside for missing values."""
    records = fit.specification.records
    if records is None or not records.n_dropped:
        return ""
    counts = ", ".join(f"{c} {k:,}" for c, k in records.dropped.items())
    return f" ({records.n_dropped:,} more dropped for missing values: {counts})"


def nothing_added(spec: Specification) -> str:
    """Records that stay though a parent or neighbour of theirs is unknown."""
    return f"{said(spec.records.unknown_parents if spec.records else {}, spec.formula)} of them"


def no_columns(fixed: FixedDesign) -> list[tuple[str, str]]:
    """Terms of the fixed part that say nothing in these data."""
    names = fixed.without_columns
    return [("No columns", f"{some(names, 6)}: one level, nothing beside the intercept")] if names else []


def residual_sizes(fit: Estimates) -> str:
    """The residual as the user wrote it, and what it is over."""
    spec = fit.specification
    residual = spec.residual
    sizes = sizes_of(residual, spec.n)
    if isinstance(residual, Sections):
        own = [sizes_of(part, part.size - part.n_filled) for part in residual.parts]
        sizes = f"{len(own)} parts ({', '.join(residual.labels[:4])}{', …' if len(own) > 4 else ''})"
        sizes += f", each {own[0]}" if own[0] and len(set(own)) == 1 else ""
    return spec.residual_text + (f": {sizes}" if sizes else "")


def sizes_of(residual: ResidualStructure, n: int) -> str:
    """Plots of a field, subjects or units and effects, groups."""
    match residual:
        case Field():
            plots = " × ".join(map(str, residual.extent)) + " plots"
            return plots + (f", {residual.n_filled:,} without a record" if residual.n_filled else "")
        case KnownResidual():
            what = "variances that are known" if residual.pattern.is_diagonal else "a covariance matrix that is known"
            return f"{what}, times a scale" if residual.scaled else what
        case Exponential():
            return count(n - len(residual.near), "subject")
        case Blocks():
            return f"{count(int(residual.n_units), 'unit')}, {len(residual.structure.effects)} effects"
        case Places():
            places = f"{residual.structure.size:,} places"
            return places + (f" in {count(residual.n_units, 'unit')}" if residual.n_units > 1 else "")
        case GroupedUnits():
            return f"{count(len(residual.levels), 'group')}"
    return ""
