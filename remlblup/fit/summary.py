"""The printed report of a fit, as text and as HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from remlblup.fit.results import Fit


class Summary:
    """Report of a fit: ``print(summary)`` or a notebook cell show it."""

    def __init__(self, fit: Fit):
        self.fit = fit

    def facts(self) -> list[tuple[str, str]]:
        """What was fitted, on what, and how it ended."""
        fit, spec = self.fit, self.fit.specification
        stats = fit._equations.factor.stats
        rows = [
            ("Formula", fit.formula or "from matrices"),
            ("Method", f"{fit.method}, {fit.options.algorithm} algorithm, {stats.engine} equations of order {stats.n:,}"),
            ("Records", f"{fit.n_obs:,}{self._dropped()}"),
            ("Effects", f"{spec.p:,} fixed, {spec.n_random:,} random, {fit.df_residual:,} residual df"),
        ]
        if fit.aliased:
            shown = ", ".join(fit.aliased[:6]) + (f" and {len(fit.aliased) - 6} more" if len(fit.aliased) > 6 else "")
            rows.append(("Aliased", f"{shown} (set aside: linear combinations of earlier columns)"))
        rows.append(("Verdict", str(fit.convergence)))
        if fit.convergence.boundary:
            rows.append(("Boundary", ", ".join(fit.convergence.boundary)))
        if not fit.options.constrain:
            rows.append(("Unconstrained", "components may be negative as long as V is positive definite"))
        rows += [
            ("logL", f"{fit.loglik:.4f} with all constants; {fit.loglik_asreml:.4f} as ASReml; {fit.loglik_nlme:.4f} as nlme"),
            ("AIC, BIC", f"{fit.aic:.3f}, {fit.bic:.3f} ({fit.n_parameters} parameters)"),
        ]
        return rows

    def _dropped(self) -> str:
        records = self.fit.specification.records
        if records is None or not records.n_dropped:
            return ""
        counts = ", ".join(f"{c} {k:,}" for c, k in records.dropped.items())
        return f" ({records.n_dropped:,} dropped for missing values: {counts})"

    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        """Title and table of each part, numbers rounded for reading."""
        fit = self.fit
        parts = [("Variance components", formatted(fit.variance_components.set_index(["term", "parameter"])))]
        fixed = fit.fixed_effects
        if len(fixed):
            shown = fixed.head(40)
            title = f"Fixed effects ({fit.df_method} df)" + (f", first 40 of {len(fixed)}" if len(fixed) > 40 else "")
            parts.append((title, formatted(shown)))
        return parts

    def __str__(self) -> str:
        lines = ["Linear mixed model", "=" * 18]
        lines += [f"{name:<13} {text}" for name, text in self.facts()]
        for title, table in self.tables():
            lines += ["", title, "-" * len(title), table.to_string()]
        if not self.fit.converged:
            failed = self.fit.convergence.table.query("not passed")
            lines += ["", "Criteria not met", "-" * 16, formatted(failed).to_string(index=False)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{html.escape(n)}</th><td>{html.escape(t)}</td></tr>" for n, t in self.facts())
        parts = [f'<table class="facts">{rows}</table>']
        parts += [f"<h3>{html.escape(title)}</h3>{table.to_html(border=0)}" for title, table in self.tables()]
        if not self.fit.converged:
            parts.append(f"<h3>Criteria</h3>{formatted(self.fit.convergence.table).to_html(border=0, index=False)}")
        return '<div class="remlblup">' + "".join(parts) + "</div>"


def formatted(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as text with the digits a reader needs; blanks for what does not exist."""
    out = table.copy().astype(object)
    for column in table.columns:
        if table[column].dtype.kind != "f":
            continue
        out[column] = [number(v, column) for v in table[column]]
    return out


def number(value: float, column: str) -> str:
    """One cell."""
    if np.isnan(value):
        return ""
    if column == "p_value":
        return f"{value:.3g}" if value >= 1e-4 else f"{value:.1e}"
    if column == "df":
        return f"{value:.1f}"
    if column in ("t", "z_ratio"):
        return f"{value:.2f}"
    return f"{value:.6g}"
