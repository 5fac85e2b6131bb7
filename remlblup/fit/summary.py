"""The printed report of a fit, as text and as HTML: tables that can go into a paper as they are."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.errors import some

if TYPE_CHECKING:
    from remlblup.fit.functions import Estimate
    from remlblup.fit.results import Fit
    from remlblup.fit.solved import Solved
    from remlblup.model.design import RandomDesign

WIDTH = 100
COEFFICIENTS = 40  # fixed effects printed
INTERCEPT = ("Intercept",)


class Summary:
    """Report of a fit: ``print(summary)`` or a notebook cell show it.

    Parameters
    ----------
    fit : Fit
    functions : mapping of name to `Estimate`, optional
        Functions of the components (`Fit.function`) to list with them.
    """

    def __init__(self, fit: Fit, functions: Mapping[str, Estimate] | None = None):
        self.fit = fit
        self.functions = dict(functions or {})

    @property
    def title(self) -> str:
        return f"Linear mixed model by {self.fit.method}" + ("" if self.fit.converged else ": NOT CONVERGED")

    def facts(self) -> list[tuple[str, str]]:
        """What was fitted, on what, and how it ended."""
        fit, spec = self.fit, self.fit.specification
        stats = fit._equations.factor.stats
        rows = [("Formula", fit.formula or "from matrices"), ("Records", f"{fit.n_obs:,}{dropped(fit)}")]
        if spec.records is not None and spec.records.weights is not None:
            rows.append(("Weights", f"{spec.records.weights} (residual variance over weight)"))
        rows.append(("Fixed", f"{count(spec.p, 'coefficient')}, {fit.df_residual:,} residual df"))
        if fit.aliased:
            rows.append(("Aliased", f"{some(fit.aliased, 6)}: set aside, they depend on earlier columns"))
        rows += [("Random" if k == 0 else "", levels(d)) for k, d in enumerate(spec.random)]
        rows.append(("Equations", f"order {stats.n:,}, {stats.engine} engine, {fit.options.algorithm} algorithm"))
        rows.append(("Verdict", str(fit.convergence)))
        if fit.convergence.boundary:
            rows.append(("Boundary", ", ".join(fit.convergence.boundary)))
        if not fit.options.constrain:
            rows.append(("Unconstrained", "components may be negative as long as V is positive definite"))
        conventions = f"{fit.loglik:.4f} with all constants, {fit.loglik_asreml:.4f} as ASReml"
        if fit.method == "REML":
            conventions += f", {fit.loglik_nlme:.4f} with ½ log|X'X|"
        rows.append(("logL", conventions))
        rows.append(("AIC, BIC", f"{fit.aic:.3f}, {fit.bic:.3f} ({count(fit.n_parameters, 'parameter')})"))
        return rows

    def tables(self) -> list[Table]:
        """The parts of the report."""
        parts = [components_table(self.fit)]
        if self.functions:
            parts.append(functions_table(self.functions))
        if len(self.fit.fixed_effects):
            parts.append(fixed_table(self.fit, self.fit.df_method))
        if not self.fit.converged:
            parts.append(criteria_table(self.fit))
        return parts

    def __str__(self) -> str:
        blocks = [underlined(self.title, "=") + "\n" + described(self.facts())]
        blocks += [table.text() for table in self.tables()]
        return "\n\n".join(blocks)

    __repr__ = __str__

    def html(self) -> str:
        """Title, facts and tables as HTML without a style."""
        rows = "".join(f"<tr><th>{html.escape(n)}</th><td>{html.escape(t)}</td></tr>" for n, t in self.facts())
        mark = "" if self.fit.converged else ' class="failed"'
        parts = [f"<h2{mark}>{html.escape(self.title)}</h2>"]
        parts.append(f'<div class="scroll"><table class="facts"><tbody>{rows}</tbody></table></div>')
        return "\n".join(parts + [table.html() for table in self.tables()])

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


@dataclass(frozen=True)
class Table:
    """A table of text cells that prints itself.

    Attributes
    ----------
    title : printed above
    header : names of the columns
    rows : cells
    left : number of columns, from the first, that hold words and are aligned left; `words` adds others
    note : printed below
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    words: tuple[str, ...] = field(default=())
    note: str = ""

    def is_text(self, k: int) -> bool:
        """Whether column k holds words."""
        return k < self.left or self.header[k] in self.words

    def text(self) -> str:
        """Aligned columns, two blanks apart."""
        widths = [max(len(r[k]) for r in (self.header, *self.rows)) for k in range(len(self.header))]

        def line(cells: Sequence[str]) -> str:
            fitted = [
                c.ljust(w) if self.is_text(k) else c.rjust(w)
                for k, (c, w) in enumerate(zip(cells, widths, strict=True))
            ]
            return "  ".join(fitted).rstrip()

        head = [underlined(self.title, "-")] if self.title else []
        lines = [*head, line(self.header), *map(line, self.rows)]
        return "\n".join(lines + ([self.note] if self.note else []))

    def html(self) -> str:
        """The same cells as an HTML table with a caption."""
        number = ["" if self.is_text(k) else ' class="n"' for k in range(len(self.header))]

        def cells(row: Sequence[str], tag: str) -> str:
            joined = (f"<{tag}{n}>{html.escape(c.strip())}</{tag}>" for c, n in zip(row, number, strict=True))
            return "<tr>" + "".join(joined) + "</tr>"

        body = "\n".join(cells(row, "td") for row in self.rows)
        note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return (
            f'<div class="scroll"><table>{caption}\n'
            f"<thead>{cells(self.header, 'th')}</thead>\n<tbody>{body}</tbody></table></div>{note}"
        )


# -- the tables of a fit ---------------------------------------------------------------------


def components_table(fit: Fit) -> Table:
    """Term, parameter, estimate, s.e., z, status; the share of the total where variances simply add up."""
    table = fit.variance_components
    estimate, error = aligned(table["estimate"], table["std_error"])
    share = shares(fit)
    header = ["term", "parameter", "estimate", "s.e.", "z", *(["share"] if share else []), "status"]
    rows, before = [], None
    for k, (term, parameter, status) in enumerate(zip(table["term"], table["parameter"], table["status"], strict=True)):
        z = fixed_point(table["z_ratio"].iloc[k], 2)
        row = ["" if term == before else term, parameter, estimate[k], error[k], z]
        rows.append((*row, *([share[k]] if share else []), status))
        before = term
    return Table("Variance components", tuple(header), tuple(rows), 2, ("status",))


def shares(fit: Fit) -> list[str]:
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
    full = fit.fixed_effects
    table = full.head(limit)
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
    header = ("coefficient", "estimate", "s.e.", "df", "t", "p", "lower 95 %", "upper 95 %")
    return Table(f"Fixed effects ({df_method} df)", header, tuple(zip(*columns, strict=True)), note=more)


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


def criteria_table(fit: Fit) -> Table:
    """The criteria of convergence with value, limit and whether they were met."""
    rows = [
        (c.name, f"{c.value:.2e}", f"{c.limit:.0e}", "yes" if c.passed else "NO", c.meaning)
        for c in fit.convergence.criteria
    ]
    return Table("Convergence", ("criterion", "value", "limit", "met", "meaning"), tuple(rows), 1, ("met", "meaning"))


# -- words -----------------------------------------------------------------------------------


def count(n: int, noun: str) -> str:
    """``1 level``, ``2,000 levels``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def levels(design: RandomDesign) -> str:
    """A random term with its numbers of levels and effects."""
    text = f"{design.name}: {count(design.q, 'level')}"
    if design.term is not None and design.term.group.relationship:
        seen = np.zeros(design.q, dtype=bool)
        for column in design.columns:
            seen[column.indices] = True
        text += f", {int(seen.sum()):,} with records"
    if design.t > 1:
        text += f", {design.t} effects ({', '.join(map(str, design.structure.effects[:4]))}"
        text += ", …)" if design.t > 4 else ")"
    return text


def dropped(fit: Fit) -> str:
    """Rows set aside for missing values."""
    records = fit.specification.records
    if records is None or not records.n_dropped:
        return ""
    counts = ", ".join(f"{c} {k:,}" for c, k in records.dropped.items())
    return f" ({records.n_dropped:,} more dropped for missing values: {counts})"


def described(facts: Iterable[tuple[str, str]]) -> str:
    """Names and texts in two columns, folded at 100 characters."""
    lines = []
    for name, text in facts:
        folded = textwrap.wrap(text, WIDTH - 14, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [f"{name:<13} {folded[0]}", *(" " * 14 + more for more in folded[1:])]
    return "\n".join(lines)


def underlined(title: str, mark: str) -> str:
    return f"{title}\n{mark * len(title)}"


# -- numbers ---------------------------------------------------------------------------------


def aligned(first: Iterable[float], error: Iterable[float], *others: Iterable[float]) -> list[list[str]]:
    """Estimates, standard errors and further columns with the same decimals in a row, points under each other.

    A row has the decimals that give the larger of the two five significant digits and the standard
    error four; where rows differ by one decimal only, all have the smaller number of them.
    """
    columns = [np.asarray(list(c), dtype=float) for c in (first, error, *others)]
    places = [decimals(a, b) for a, b in zip(columns[0], columns[1], strict=True)]
    known = [d for d in places if d is not None]
    if known and max(known) - min(known) == 1:
        places = [None if d is None else min(known) for d in places]
    return [padded([written(v, d) for v, d in zip(c, places, strict=True)]) for c in columns]


def decimals(estimate: float, error: float) -> int | None:
    """Decimals for an estimate and its standard error; None for zeros and where only an exponent is readable."""
    has_error = math.isfinite(error) and error > 0.0
    sizes = [abs(v) for v in (estimate, error) if math.isfinite(v) and v != 0.0]
    if not sizes:
        return None
    largest = exponent(max(sizes))
    if largest > 7 or largest < -4:
        return None
    return int(np.clip(max(4 - largest, 3 - exponent(error) if has_error else 0), 0, 10))


def exponent(value: float) -> int:
    return math.floor(math.log10(value))


def written(value: float, places: int | None) -> str:
    """A number with so many decimals; blank for NaN, a plain 0 for zero."""
    if math.isnan(value):
        return ""
    if value == 0.0:
        return "0"
    return f"{value:.4e}" if places is None else f"{value:.{places}f}"


def padded(cells: list[str]) -> list[str]:
    """Blanks behind the numbers, so that a column aligned right has its decimal points in one line."""
    behind = [len(c) - c.index(".") if "." in c else 0 for c in cells]
    most = max(behind, default=0)
    return [c + " " * (most - b) if c else "" for c, b in zip(cells, behind, strict=True)]


def fixed_point(value: float, places: int) -> str:
    return "" if math.isnan(value) else f"{value:.{places}f}"


def p_value(value: float) -> str:
    """Four decimals; below them ``<0.0001``."""
    if math.isnan(value):
        return ""
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def frame_table(frame: pd.DataFrame, title: str) -> Table:
    """Any small data frame as a table, numbers with six significant digits."""
    numeric = [frame[c].dtype.kind in "iuf" for c in frame]
    first = next((k for k, n in enumerate(numeric) if n), len(numeric))
    words = tuple(str(c) for c, n in zip(frame.columns, numeric, strict=True) if not n)

    def cell(value: object) -> str:
        return ("" if math.isnan(value) else f"{value:.6g}") if isinstance(value, float) else str(value)

    rows = tuple(tuple(cell(v) for v in row) for row in frame.itertuples(index=False))
    return Table(title, tuple(map(str, frame.columns)), rows, first, words)
