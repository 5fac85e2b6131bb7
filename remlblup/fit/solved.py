"""The mixed model equations solved at given variances: β̂, û, their errors, fitted values, predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations
from remlblup.equations.record_errors import RecordErrors
from remlblup.fit.describe import Description
from remlblup.fit.predict import predict
from remlblup.fit.tables import effects as tables
from remlblup.fit.tables.group_effects import total_covariances, total_effects
from remlblup.fit.tables.shown import noted, shown
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import Lock, exclusive, owned_property
from remlblup.model.specification import Specification
from remlblup.reml.likelihood import asreml_convention, log_likelihood, nlme_convention


@all_within_memory
class Solved:
    """Henderson's mixed model equations solved at known variances: what `MixedModel.solve` returns.

    Attributes
    ----------
    specification : the model
    method : "REML" or "ML", for the log-likelihood
    theta : (n_parameters,) the variances, in the order of `variance_components`

    Examples
    --------
    >>> solved = model.solve({"Subject": [[600, 10], [10, 35]], "residual": 650})
    >>> solved.beta.round(3)
    array([251.405,  10.467])
    """

    #: What is printed above every table.
    _note = ""
    #: Degrees of freedom of intervals of predictions: the variances are known.
    _interval_df = np.inf

    def __init__(self, equations: Equations, solution: Any, method: str):
        self._equations = equations
        self._solution = solution
        self.method = method
        self.theta = solution.theta.copy()
        self.theta.flags.writeable = False

    @property
    def _memory_predicted(self) -> str:
        return f"Predicted were {Description.of(self._equations).memory_text}. "

    def __repr__(self) -> str:
        return f"<remlblup solution at known variances: {self.formula or 'from matrices'}>"

    @property
    def _lock(self) -> Lock:
        """The factor is shared with the model and its other fits: one thread at a time."""
        return self._equations.lock

    def _said_above(self, more: str = "") -> str:
        """What is printed above a table."""
        return " ".join(filter(None, [self._note, more]))

    def _shown(self, table: pd.DataFrame, more: str = "") -> pd.DataFrame:
        return shown(table, self._said_above(more))

    # -- the model ---------------------------------------------------------------------------

    @property
    def specification(self) -> Specification:
        """The model: y, X, Z, K, structures and records."""
        return self._equations.spec

    @property
    def formula(self) -> str | None:
        """The formula as given; None for a model made from matrices."""
        parsed = self.specification.formula
        return None if parsed is None else parsed.text

    @property
    def n_obs(self) -> int:
        """Number of records used."""
        return self.specification.n

    @property
    def df_residual(self) -> int:
        """n − p."""
        return self.specification.n - self.specification.p

    @property
    def aliased(self) -> tuple[str, ...]:
        """Fixed-effect columns set aside because they depend on earlier ones."""
        return self.specification.fixed.aliased

    # -- likelihood --------------------------------------------------------------------------

    @owned_property
    def loglik(self) -> float:
        """Log-likelihood with all constants: −½[(n−p) log 2π + log|V| + log|X'V⁻¹X| + y'Py] for REML."""
        return log_likelihood(self._equations, self._solution, self.method == "ML")

    @property
    def loglik_asreml(self) -> float:
        """ℓ without the 2π term, as ASReml, GCTA and WOMBAT print it."""
        return asreml_convention(self.loglik, self.n_obs, self.specification.p if self.method == "REML" else 0)

    @property
    def loglik_nlme(self) -> float:
        """ℓ + ½ log|X'X| (REML; see `reml.likelihood.nlme_convention`); the same as `loglik` for ML."""
        if self.method == "ML":
            return self.loglik
        return nlme_convention(self.loglik, tables.logdet_crossproduct(self.specification.fixed))

    # -- effects -----------------------------------------------------------------------------

    @owned_property
    def beta(self) -> Array:
        """β̂ of the columns kept, (p,)."""
        fixed = self.specification.fixed
        work = self._solution.effects[: fixed.p] + self._equations.beta_ols
        return work if fixed.transform is None else fixed.transform @ work

    @owned_property
    def beta_covariance(self) -> Array:
        """var(β̂) = (X'V⁻¹X)⁻¹, (p, p)."""
        return self._equations.fixed_covariance(self._solution)

    @owned_property
    def _beta_variances(self) -> Array:
        return self._equations.fixed_variances(self._solution)

    @owned_property
    def _record_errors(self) -> RecordErrors:
        return self._equations.record_errors(self._solution)

    @owned_property
    def _level_covariances(self) -> list[Array]:
        return total_covariances(self._equations, self._solution)

    @owned_property
    def _level_effects(self) -> list[Array]:
        return total_effects(self._equations, self._solution, self.beta)

    @cached_property
    def fixed_effects(self) -> pd.DataFrame:
        """Indexed by coefficient: estimate, std_error, df, t, p_value, lower, upper (95 %).

        At known variances the test is normal: infinite degrees of freedom.
        """
        df = np.full(len(self.beta), np.inf)
        fixed = self.specification.fixed
        table = tables.fixed_effects(fixed, self.beta, self._beta_variances, df, "known variances")
        return noted(table, self._said_above(self._equations.missing("fixed effects")))

    @owned_property
    def random_effects(self) -> pd.DataFrame:
        """term, effect, level, estimate, std_error, pev, reliability, for every level with or without records.

        std_error is √PEV, PEV = var(û − u); reliability = 1 − PEV/(σ²_ii K_ll), zero where it differs from zero by
        rounding (1e-9) alone; what is negative by more stays. Where a pedigree has groups of unknown parents, u is the
        animal's own part and that of its groups, Qg + a; the groups are fixed effects, and where one of them was set
        aside (`aliased`) all levels are relative to it.
        """
        effects, covariances = self._level_effects, self._level_covariances
        table = tables.random_effects(self._equations, self._solution, effects, covariances)
        return noted(table, self._said_above(self._equations.missing("random effects")))

    def blup(self, term: str) -> pd.DataFrame:
        """û of one term as a table levels × effects.

        Parameters
        ----------
        term : a random term, as written in the formula

        Returns
        -------
        DataFrame, levels × effects

        Examples
        --------
        >>> fit.blup("1 + Days | Subject").loc["308"].round(3).tolist()
        [2.259, 9.199]
        """
        k = tables.term_index(self.specification, term)
        design = self.specification.random[k]
        values = self._level_effects[k]
        levels = pd.Index(design.relationship.labels, name="level")
        return self._shown(pd.DataFrame(values.T.copy(), index=levels, columns=list(design.structure.effects)))

    def accuracy(self, term: str) -> pd.DataFrame:
        """Levels × (effect, estimate, pev, reliability, accuracy, inbreeding, records) of one term.

        accuracy = √reliability, the correlation of û and u (0 below zero); inbreeding = K_ll − 1;
        records: of the level.

        Parameters
        ----------
        term : a random term, as written in the formula

        Returns
        -------
        DataFrame by level, a block of rows per effect.

        Examples
        --------
        >>> fit.accuracy("1 + Days | Subject")[["reliability", "records"]].iloc[0].round(3).tolist()
        [0.72, 10.0]
        """
        k = tables.term_index(self.specification, term)
        return self._shown(tables.accuracy(self.specification.random[k], self.random_effects))

    @exclusive
    def contrasts(self, term: str, between: Any, effect: str | None = None, nonestimable: str = "warn") -> pd.DataFrame:
        """Differences between levels of a term, or any weighted sums, with their prediction error variances.

        Parameters
        ----------
        term : str
        between : list of pairs of levels, or mapping of a name to {level: weight}
        effect : str, optional
            Which effect of the term, where it has several.
        nonestimable : {"warn", "nan", "error"}
            As for `predict`: of animals in groups of unknown parents a single level is not, where the groups are
            confounded with the mean.

        Returns
        -------
        DataFrame by contrast: estimate k'û, std_error √PEV, pev var(k'û − k'u), reliability 1 − PEV/var(k'u).

        Examples
        --------
        >>> table = fit.contrasts("1 + Days | Subject", [("308", "309")], effect="Days")
        >>> len(table)
        1
        """
        from remlblup.fit.errors.contrasts import contrasts

        effects = self._level_effects
        table = contrasts(self._equations, self._solution, effects, term, between, effect, nonestimable)
        return self._shown(table)

    @owned_property
    def residuals(self) -> pd.Series:
        """ê = y − Xβ̂ − Zû, indexed as the data; a term ``units`` counts to Zû."""
        return pd.Series(self._solution.residual[: self.n_obs].copy(), index=self.specification.index, name="residual")

    @cached_property
    def fitted(self) -> pd.Series:
        """Xβ̂ + Zû and any offset, indexed as the data."""
        values = self.specification.observed - self._solution.residual[: self.n_obs]
        return pd.Series(values, index=self.specification.index, name="fitted")

    # -- variances ---------------------------------------------------------------------------

    @property
    def variances(self) -> dict[str, object]:
        """The variances as a mapping that `solve`, `loglik`, `start=` and `fix=` accept."""
        return self.specification.parameters.to_mapping(self.theta)

    def covariance(self, term: str) -> pd.DataFrame:
        """Σ of a random term as a labelled table; for "residual" the residual variance.

        Parameters
        ----------
        term : a random term, as written in the formula

        Returns
        -------
        DataFrame (t, t), labelled by the effects; of ``"residual"`` that of R, where it is one

        Examples
        --------
        >>> fit.covariance("1 + Days | Subject").round(2).to_numpy().tolist()
        [[612.09, 9.6], [9.6, 35.07]]
        """
        return self._shown(tables.covariance(self.specification, self.theta, term))

    def correlation(self, term: str) -> pd.DataFrame:
        """Correlations of the effects of a term; NaN where a variance is zero.

        Parameters
        ----------
        term : a random term, as written in the formula

        Returns
        -------
        DataFrame (t, t), labelled by the effects

        Examples
        --------
        >>> fit.correlation("1 + Days | Subject").iloc[0, 1].round(4)
        np.float64(0.0656)
        """
        return self._shown(tables.correlation(self.covariance(term)))

    # -- prediction --------------------------------------------------------------------------

    @exclusive
    def predict(
        self,
        new: Any = None,
        include: Any = None,
        new_levels: str = "error",
        se: bool = True,
        nonestimable: str = "warn",
        interval: str | None = None,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Predictions Xβ̂ + Zû for new records, with standard errors.

        Random effects over times and places (`ar1`, `exp`, `sph`, `mat`, …) and smooth terms are predicted at times and
        places without records as well.

        A record with a level, a cell or a combination of covariates that the data of the fit never had has no
        estimable Xβ: its prediction is missing.

        Parameters
        ----------
        new : DataFrame, optional
            Records to predict; the data of the fit without.
        include : sequence of str, optional
            The random terms to include, by name; all without, none for ``[]``. `units` of ``residual="… + units"`` is
            one of them: it adds the variance of a new record. ``"residual"`` among them predicts the errors as well,
            from those of the records in the same field, subject or trial (kriging): of a residual whose correlation
            falls with a distance, `exp(x, y)`, `ar1(time | subject)`, `ar1(row):ar1(col)` and their like.
        new_levels : {"error", "population"}
            What to do with levels that were not in the model: refuse, or predict with u = 0 and
            its prior variance in the standard error.
        se : bool
            Whether to compute standard errors: √var(x'(β̂−β) + z'(û−u)), without the residual.
        nonestimable : {"warn", "nan", "error"}
            Where Xβ is not estimable: NaN with an `EstimabilityWarning`, NaN alone, or a `ModelError`.
        interval : {None, "confidence", "prediction"}
            Columns `lower` and `upper`: of the mean of such records, ± t std_error; or of one more record, the residual
            variance of which (by its group, covariate and weight, with that of `units`) is added. Degrees of freedom
            are n − p, infinite at known variances.
        level : float
            Coverage of the interval.

        Returns
        -------
        DataFrame indexed as `new`, with columns prediction and std_error, and lower and upper of an interval.

        Examples
        --------
        >>> new = pd.DataFrame({"Days": [10], "Subject": ["308"]})
        >>> fit.predict(new).round(1).iloc[0].tolist()
        [450.3, 15.9]
        >>> fit.predict(new, include=[])["prediction"].round(1).tolist()
        [356.1]
        """
        table = predict(
            self._equations,
            self._solution,
            self.beta,
            new,
            include,
            new_levels,
            se,
            nonestimable,
            interval,
            level,
            self._interval_df,
        )
        return self._shown(table)
