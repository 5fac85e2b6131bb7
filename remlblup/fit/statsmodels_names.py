"""The names a statsmodels user knows, as aliases of ours. No value is rescaled by the residual variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import EstimabilityWarning, check_share, warn
from remlblup.linalg.memory import all_within_memory


@all_within_memory
class StatsmodelsNames:
    """Mixin with statsmodels' names of results."""

    @property
    def llf(self) -> float:
        """`loglik`."""
        return self.loglik  # type: ignore[attr-defined]

    @property
    def nobs(self) -> int:
        """`n_obs`."""
        return self.n_obs  # type: ignore[attr-defined]

    @property
    def df_resid(self) -> int:
        """`df_residual`."""
        return self.df_residual  # type: ignore[attr-defined]

    @property
    def fe_params(self) -> pd.Series:
        """Fixed effects."""
        return self.fixed_effects["estimate"].rename("params")  # type: ignore[attr-defined]

    @property
    def bse_fe(self) -> pd.Series:
        """Standard errors of the fixed effects."""
        return self.fixed_effects["std_error"].rename("bse")  # type: ignore[attr-defined]

    @property
    def params(self) -> pd.Series:
        """Fixed effects, then the variance components (as they are: not divided by the scale)."""
        return pd.concat([self.fe_params, self._components("estimate")]).rename("params")

    @property
    def bse(self) -> pd.Series:
        """Standard errors of `params`, the roots of the diagonal of `cov_params`; NaN on a boundary.

        Of ``engine="stochastic"`` with the Monte Carlo error in them.
        """
        total = "total_error" if "total_error" in self.variance_components else "std_error"  # type: ignore[attr-defined]
        return pd.concat([self.bse_fe, self._components(total)]).rename("bse")

    @property
    def tvalues(self) -> pd.Series:
        """Estimate over standard error of `params`."""
        return (self.params / self.bse).rename("tvalues")

    @property
    def pvalues(self) -> pd.Series:
        """p values of the fixed effects; variance components are tested by likelihood ratios."""
        return self.fixed_effects["p_value"].rename("pvalues")  # type: ignore[attr-defined]

    @property
    def scale(self) -> float:
        """The residual variance of a record (of weight 1); NaN with a warning where R has no single variance."""
        spec = self.specification  # type: ignore[attr-defined]
        phi = self.theta[spec.parameters.of_residual]  # type: ignore[attr-defined]
        value = spec.residual.single_variance(phi)
        if value is None:
            warn(
                f"residual={spec.residual_text!r} has no single variance, so that `scale` is NaN: see"
                " covariance('residual') and variance_components.",
                EstimabilityWarning,
            )
            return float("nan")
        return value

    @property
    def fittedvalues(self) -> pd.Series:
        """`fitted`."""
        return self.fitted  # type: ignore[attr-defined]

    @property
    def resid(self) -> pd.Series:
        """`residuals`."""
        return self.residuals  # type: ignore[attr-defined]

    @property
    def cov_re(self) -> pd.DataFrame:
        """Σ of the first random term, `+ units` of the residual apart; empty without random terms."""
        terms = self.specification.parameters.terms  # type: ignore[attr-defined]
        own = terms[: len(self.specification.formula.random)] if self.specification.formula else terms  # type: ignore[attr-defined]
        return self.covariance(own[0]) if own else pd.DataFrame()  # type: ignore[attr-defined]

    def cov_params(self) -> pd.DataFrame:
        """var(β̂), and the inverse average information of the components in the second block.

        Returns
        -------
        DataFrame, parameters × parameters

        Examples
        --------
        >>> fit.cov_params().shape
        (6, 6)
        """
        first, second = self.beta_covariance, self.variance_covariance  # type: ignore[attr-defined]
        labels = list(self.params.index)
        out = np.zeros((len(labels), len(labels)))
        out[: len(first), : len(first)] = first
        out[len(first) :, len(first) :] = second
        return pd.DataFrame(out, index=labels, columns=labels)

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Intervals of `params`: t for the fixed effects, those of `intervals` for the variance components.

        Parameters
        ----------
        alpha : one less the coverage

        Returns
        -------
        DataFrame by parameter: lower and upper end

        Examples
        --------
        >>> fit.conf_int().loc["Days"].round(2).tolist()
        [7.21, 13.73]
        """
        from scipy import stats

        check_share("alpha", alpha)
        table: Any = self.fixed_effects  # type: ignore[attr-defined]
        half = stats.t.ppf(1 - alpha / 2, table["df"]) * table["std_error"]
        components = self.intervals(level=1.0 - alpha)  # type: ignore[attr-defined]
        ends = [
            pd.concat([table["estimate"] + sign * half, self._labelled(components[end])])
            for sign, end in ((-1.0, "lower"), (1.0, "upper"))
        ]
        return self._shown(pd.DataFrame({0: ends[0], 1: ends[1]}))  # type: ignore[attr-defined]

    def _components(self, column: str) -> pd.Series:
        return self._labelled(self.variance_components[column])  # type: ignore[attr-defined]

    def _labelled(self, values: pd.Series) -> pd.Series:
        return pd.Series(values.to_numpy(), index=list(self.specification.parameters.columns))  # type: ignore[attr-defined]
