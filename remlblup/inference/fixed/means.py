"""Marginal means of a fit: their table, errors of differences, contrasts, letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import ModelError, check_share, choose
from remlblup.fit.errors.estimable import CHOICES, estimable
from remlblup.fit.errors.prediction_covariance import prediction_covariance
from remlblup.fit.errors.prediction_df import satterthwaite_df, slopes_along
from remlblup.fit.tables.shown import shown
from remlblup.inference.fixed.comparisons import ADJUSTMENTS, Family, adjusted, family
from remlblup.inference.fixed.f_tests import FixedTests
from remlblup.inference.fixed.grid import Grid, grid
from remlblup.inference.fixed.letters import letters
from remlblup.inference.fixed.terms import require_fixed
from remlblup.inference.fixed.wald import tests_of
from remlblup.linalg.threads import Lock, exclusive

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# Means whose covariance matrix is held, and contrasts that are tested together, at most.
MOST, MOST_CONTRASTS = 3000, 100_000
LEVEL = 0.95


def marginal_means(
    fit: Estimates, factors: Any, by: Any, at: Any, weights: str, df: str, information: str, nonestimable: str
) -> MarginalMeans:
    """See `InferenceMethods.marginal_means`."""
    choose("nonestimable", nonestimable, CHOICES)
    spec = fit.specification
    require_fixed(spec, "marginal means")
    cells = grid(spec, fit._solution, factors, by, at, weights)
    tests = tests_of(fit, df, information, "marginal means")
    empty = np.asarray(np.isnan(cells.X).any(axis=1))
    judged = np.where(np.isnan(cells.X), 0.0, cells.X)
    if empty.any() and nonestimable == "error":
        raise ModelError(f"means of cells without records cannot be weighted by cells: {list(cells.index[empty])}.")
    known = ~empty
    known[~empty] = estimable(spec.fixed, judged[~empty], cells.index[~empty], "mean", nonestimable)
    return MarginalMeans(fit, cells, tests, known, weights, information)


@dataclass(frozen=True, eq=False)
class MarginalMeans:
    """Means of the levels of factors; see `MixedModel.fit(...).marginal_means`.

    Attributes
    ----------
    table : mean, std_error, df, lower, upper (95 %), indexed by the levels
    covariance : of their errors, a row and a column per mean; for ``residual="known(O)"`` of a second stage
    sed : standard errors of differences, a row and a column per mean
    lsd : least significant differences at 5 %, each pair by its own degrees of freedom
    """

    _fit: Estimates = field(repr=False)
    _grid: Grid = field(repr=False)
    _tests: FixedTests = field(repr=False)
    _known: np.ndarray = field(repr=False)
    _weights: str = field(repr=False)
    _information: str = field(repr=False)

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str | None:
        return self.table._repr_html_()  # type: ignore[operator]

    @property
    def _lock(self) -> Lock:
        return self._fit._lock

    # -- the means ---------------------------------------------------------------------------

    @cached_property
    def _L(self) -> Array:
        """(k, p) over the coefficients kept."""
        X = self._grid.X[:, self._fit.specification.fixed.kept]
        return np.where(np.isnan(X), 0.0, X)

    @cached_property
    def _means(self) -> Array:
        """(k,) x'β̂ + z'û."""
        grid, fit = self._grid, self._fit
        out = self._L @ self._tests.beta + grid.offset
        if grid.Z is not None:
            out = out + grid.Z @ np.concatenate([u.ravel() for u in fit._equations.level_effects(fit._solution)])
        return np.where(self._known, out, np.nan)

    @cached_property
    def table(self) -> pd.DataFrame:
        """mean, std_error, df, lower, upper (95 %), indexed by the levels."""
        from scipy import stats

        with self._lock.now:
            error, df = self._errors_of_means()
        error, df = np.where(self._known, error, np.nan), np.where(self._known, df, np.nan)
        with np.errstate(invalid="ignore"):
            half = stats.t.ppf(0.5 + LEVEL / 2.0, df) * error
        mean = self._means
        table = pd.DataFrame(
            {"mean": mean, "std_error": error, "df": df, "lower": mean - half, "upper": mean + half},
            index=self._grid.index,
        )
        table.attrs.update(
            df_method=self._df_method,
            weights=self._weights,
            averaged_over=list(self._grid.averaged),
            at=dict(self._grid.at),
            random_included=list(self._grid.included),
        )
        return shown(table, self._note)

    @property
    def _df_method(self) -> str:
        if self._grid.Z is None:
            return self._tests.method
        return "satterthwaite" if self._predicted else "residual"

    @cached_property
    def _predicted(self) -> bool:
        """Whether means with random terms have Satterthwaite's degrees of freedom."""
        errors = self._tests.errors
        return errors is not None and not errors.information.flat.shape[1] and len(self._L) <= MOST

    def _errors_of_means(self) -> tuple[Array, Array]:
        if self._grid.Z is None:
            return self._tests.rows(self._L)[1:]
        variances = self._variances_at(self._fit.theta)
        if not self._predicted:
            return np.sqrt(variances), np.full(len(variances), self._tests.residual_df)
        return np.sqrt(variances), satterthwaite_df(variances, self._slopes_of(self._variances_at))

    def _variances_at(self, theta: Array) -> Array:
        """(k,) variances of the prediction errors."""
        assert self._grid.Z is not None
        equations, T = self._fit._equations, self._fit.specification.fixed.transform
        work = sp.csr_array(self._L if T is None else self._L @ T)
        return equations.prediction_variances(equations.solve(theta), sp.csr_array(sp.hstack([work, self._grid.Z])))

    def _covariance_at(self, theta: Array) -> Array:
        """(k, k) covariances of the prediction errors."""
        assert self._grid.Z is not None
        equations = self._fit._equations
        solution = equations.solve(theta)
        return prediction_covariance(equations, solution, self._L, self._grid.Z, equations.fixed_covariance(solution))

    def _slopes_of(self, of: Callable[[Array], Array]) -> Array:
        """Slopes along the directions of one standard error of θ̂."""
        optimum, options = self._fit._optimum, self._fit.options
        assert self._tests.errors is not None
        known = self._tests.errors.information
        return slopes_along(optimum.precise, options.ml, options.constrain, known, lambda theta: of(optimum.own(theta)))

    @cached_property
    def _covariance_slopes(self) -> Array:
        """(c, k, k)."""
        with self._lock.now:
            return self._slopes_of(self._covariance_at)

    @property
    def _said(self) -> str:
        """How errors and degrees of freedom were found."""
        if self._grid.Z is None:
            return self._tests.said
        df = f"Satterthwaite's, {self._information} information" if self._predicted else "n − p"
        return f"Standard errors are prediction errors at the estimated variances, degrees of freedom {df}."

    @property
    def _note(self) -> str:
        grid = self._grid
        lines = [self._fit._note, self._said]
        if grid.averaged:
            how = {
                "equal": "each level alike",
                "proportional": "by their numbers of records",
                "cells": "by their numbers of records in each cell",
            }[self._weights]
            lines.append(f"Averaged over {', '.join(grid.averaged)}, {how}.")
        if grid.at:
            lines.append("At " + ", ".join(f"{name} = {value:.6g}" for name, value in grid.at.items()) + ".")
        if grid.Z is not None:
            lines.append(f"Random terms in: {', '.join(grid.included)}.")
        return "\n".join(filter(None, lines))

    # -- comparisons -------------------------------------------------------------------------

    @cached_property
    def _covariance(self) -> Array:
        """(k, k) of the errors of the means."""
        if len(self._L) > MOST:
            raise ModelError(f"{len(self._L):,} means are too many to compare with each other (at most {MOST:,}).")
        if self._grid.Z is None:
            return self._L @ self._tests.errors_covariance @ self._L.T
        with self._lock.now:
            return self._covariance_at(self._fit.theta)

    def _differences(self) -> tuple[Array, Array]:
        """Standard errors and degrees of freedom of all differences, (k, k)."""
        k = len(self._L)
        errors, dfs = np.full((k, k), np.nan), np.full((k, k), np.nan)
        for i in range(1, k):
            C = np.zeros((i, k))
            C[:, i], C[np.arange(i), np.arange(i)] = 1.0, -1.0
            _, errors[i, :i], dfs[i, :i] = self._rows(C)
        lower = np.tril_indices(k, -1)
        for table in (errors, dfs):
            table.T[lower] = table[lower]
        return errors, dfs

    def _rows(self, C: Array) -> tuple[Array, Array, Array]:
        """Estimates, standard errors and degrees of freedom of contrasts C (r, k) among the means."""
        L, fixed = C @ self._L, self._fit.specification.fixed
        empty = np.isnan(self._grid.X).any(axis=1)
        X = np.where(np.isnan(self._grid.X), 0.0, self._grid.X)
        known = ~np.any(C[:, empty] != 0.0, axis=1)
        known &= estimable(fixed, C @ X, pd.RangeIndex(len(C)), "contrast", "nan")
        offset = C @ self._grid.offset
        if self._grid.Z is None:
            estimate, error, df = self._tests.rows(L)
            estimate = estimate + offset
        else:
            fit = self._fit
            u = np.concatenate([b.ravel() for b in fit._equations.level_effects(fit._solution)])
            estimate = L @ self._tests.beta + C @ (self._grid.Z @ u) + offset
            variance = np.maximum(np.einsum("rk,kl,rl->r", C, self._covariance, C, optimize=True), 0.0)
            error, df = np.sqrt(variance), np.full(len(C), self._tests.residual_df)
            if self._predicted:
                slopes = np.einsum("rk,ckl,rl->cr", C, self._covariance_slopes, C, optimize=True)
                df = satterthwaite_df(variance, slopes)
        return tuple(np.where(known, v, np.nan) for v in (estimate, error, df))  # type: ignore[return-value]

    @cached_property
    def covariance(self) -> pd.DataFrame:
        """Covariances of the errors of the means, missing for means that cannot be estimated."""
        known = np.where(self._known, 1.0, np.nan)
        return pd.DataFrame(self._covariance * np.outer(known, known), index=self._grid.index, columns=self._grid.index)

    @cached_property
    def sed(self) -> pd.DataFrame:
        """Standard errors of differences."""
        return pd.DataFrame(self._differences()[0], index=self._grid.index, columns=self._grid.index)

    @cached_property
    def lsd(self) -> pd.DataFrame:
        """Least significant differences at 5 %: t(0.975, df) × sed, unadjusted."""
        from scipy import stats

        errors, df = self._differences()
        with np.errstate(invalid="ignore"):
            values = stats.t.ppf(0.975, df) * errors
        return pd.DataFrame(values, index=self._grid.index, columns=self._grid.index)

    def _groups(self) -> Iterator[tuple[tuple[Any, ...], np.ndarray]]:
        """The levels of the by-variables and the means within them."""
        index, by = self._grid.index, list(self._grid.by)
        if not by:
            yield (), np.arange(len(index))
            return
        keys = index.to_frame(index=False)[by]
        codes = keys.groupby(by, sort=False, dropna=False).ngroup().to_numpy()
        for code in range(codes.max() + 1):
            place = np.flatnonzero(codes == code)
            yield tuple(keys.iloc[place[0]]), place

    def _labels(self, place: np.ndarray) -> list[Any]:
        """The levels of the factors that are compared."""
        index = self._grid.index
        names = [n for n in index.names if n not in self._grid.by]
        frame = index.to_frame(index=False)[names].iloc[place]
        rows = list(frame.itertuples(index=False, name=None))
        return [row[0] if len(row) == 1 else row for row in rows]

    @exclusive
    def contrasts(
        self, method: Any = "pairwise", adjust: str | None = "default", reference: Any = None
    ) -> pd.DataFrame:
        """Contrasts among the means, within the levels of `by`, with p values adjusted for their number.

        Parameters
        ----------
        method : {"pairwise", "reference", "sequential", "polynomial"} or mapping
            All differences; those from one level (the first, or `reference`); of each level from the one before;
            orthogonal polynomials of the levels, in their distances where they are numbers; or weights by name,
            ``{"late": {"c": 1, "a": -0.5, "b": -0.5}}``.
        adjust : {"tukey", "dunnett", "holm", "bonferroni", "fdr"} or None
            By default Tukey's for "pairwise", Dunnett's for "reference" and none for the others. "dunnett" is the
            multivariate t of the contrasts, whatever they are; "fdr" is Benjamini & Hochberg's.
        reference : level, optional

        Returns
        -------
        DataFrame by contrast (within the levels of `by`): estimate, std_error, df, t, p_value, lower, upper. Intervals
        are simultaneous with "tukey", "dunnett" and "bonferroni", Bonferroni's with "holm", of each alone otherwise.
        """
        if adjust is not None and not (isinstance(adjust, str) and adjust == "default"):
            choose("adjust", adjust, ADJUSTMENTS)
        frames = []
        for key, place in self._groups():
            labels = self._labels(place)
            own = family(method, labels, reference)
            chosen = own.adjust if adjust == "default" else adjust
            table = self._family(own, place, chosen)
            if self._grid.by:
                levels = [[v] * len(table) for v in key]
                names = [*self._grid.by, "contrast"]
                table.index = pd.MultiIndex.from_arrays([*levels, list(table.index)], names=names)
            frames.append(table)
        out = pd.concat(frames)
        out.attrs.update(adjust=chosen, df_method=self._df_method)
        note = ""
        if chosen is not None and len(frames[0]) > 1:
            note = f"P values adjusted by {ADJUSTMENTS[chosen]} for {len(frames[0])} contrasts."
        return shown(out, "\n".join(filter(None, [self._fit._note, self._said, note])))

    def _family(self, own: Family, place: np.ndarray, adjust: str | None) -> pd.DataFrame:
        """The table of one family of contrasts."""
        if len(own.names) > MOST_CONTRASTS:
            raise ModelError(f"{len(own.names):,} contrasts are too many to test together: name fewer, or take .sed.")
        C = np.zeros((len(own.names), len(self._L)))
        C[:, place] = own.weights
        estimate, error, df = self._rows(C)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = estimate / error
        # The multivariate t is the only one that asks for it.
        covariance = (
            own.weights @ self._covariance[np.ix_(place, place)] @ own.weights.T if adjust == "dunnett" else None
        )
        means = int(np.sum(self._known[place]))
        p_value, half = adjusted(own, t, df, covariance, adjust, means, LEVEL)
        with np.errstate(invalid="ignore"):
            half = half * error
        return pd.DataFrame(
            {
                "estimate": estimate,
                "std_error": error,
                "df": df,
                "t": t,
                "p_value": p_value,
                "lower": estimate - half,
                "upper": estimate + half,
            },
            index=pd.Index(own.names, name="contrast"),
        )

    @exclusive
    def letters(self, alpha: float = 0.05, adjust: str | None = "tukey") -> pd.DataFrame:
        """The means with letters: means that share one do not differ at `alpha`. The highest mean has an "a".

        Parameters
        ----------
        alpha : float
        adjust : as for `contrasts`, of all differences

        Returns
        -------
        DataFrame indexed as `table`: mean, letters.
        """
        check_share("alpha", alpha)
        found = [""] * len(self._L)
        for _, place in self._groups():
            known = place[self._known[place]]
            if len(known) < 2:
                continue
            own = family("pairwise", list(range(len(known))), None)
            p = self._family(own, known, adjust)["p_value"].to_numpy()
            first, second = np.triu_indices(len(known), 1)
            differ = np.zeros((len(known), len(known)), dtype=bool)
            differ[first, second] = differ[second, first] = p < alpha
            for where, text in zip(known, letters(self._means[known], differ), strict=True):
                found[where] = text
        return shown(pd.DataFrame({"mean": self._means, "letters": found}, index=self._grid.index), self._fit._note)
