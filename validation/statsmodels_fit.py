"""statsmodels' `MixedLM` driven as near to its optimum as it goes, and its results in our words."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.validation.answers import Answer, Digits, component_keys, plain
from remlblup.validation.designs import LiveDesign, Part

if TYPE_CHECKING:
    from remlblup import Fit

#: Tried in turn, several rounds, each from where the last one stopped.
METHODS: tuple[tuple[str, dict[str, float]], ...] = (
    ("bfgs", {"gtol": 1e-10}),
    ("lbfgs", {"gtol": 1e-12, "ftol": 1e-16}),
    ("cg", {"gtol": 1e-10}),
)
#: Starting ratios of every random variance to the residual one.
STARTS = (None, 0.1, 10.0)
_LEVEL = re.compile(r"C\(\w+\)\[(?:T\.)?(.*)\]\]$")


def build(design: LiveDesign, data: pd.DataFrame) -> Any:
    """The statsmodels model of a design."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    parts = {name: part.formula for name, part in design.parts.items()} or None
    groups = np.ones(len(data)) if design.groups is None else design.groups
    re_formula = None if design.re_formula is None else f"~ {design.re_formula}"
    return MixedLM.from_formula(design.fixed, data, groups=groups, re_formula=re_formula, vc_formula=parts)


def best_fit(model: Any, reml: bool, rounds: int = 3) -> Any:
    """The best of many attempts: three starts, then three optimisers in turn until nothing is gained.

    Parameters
    ----------
    model : statsmodels MixedLM
    reml : bool
    rounds : int
        How often each optimiser is restarted at the best point.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attempts = [
            r for s in STARTS if (r := _attempt(model, reml, _start(model, s), "bfgs", {"gtol": 1e-8})) is not None
        ]
        if not attempts:
            raise RuntimeError("statsmodels failed from every start")
        best = max(attempts, key=lambda r: r.llf)
        for _ in range(rounds):
            before = best.params
            for method, options in METHODS:
                again = _attempt(model, reml, best.params_object, method, options)
                if again is not None and again.llf >= best.llf:
                    best = again
            if np.allclose(before, best.params, rtol=1e-10, atol=0.0):
                break
        return best


def _attempt(model: Any, reml: bool, start: Any, method: str, options: dict[str, float]) -> Any:
    """One fit; None where statsmodels breaks down (a singular matrix on the way) or gives no likelihood."""
    from numpy.linalg import LinAlgError

    try:
        result = model.fit(reml=reml, method=method, start_params=start, maxiter=1000, **options)
        return result if np.isfinite(result.llf) else None
    except (LinAlgError, ValueError, ZeroDivisionError, FloatingPointError):
        return None


def _start(model: Any, ratio: float | None) -> Any:
    from statsmodels.regression.mixed_linear_model import MixedLMParams

    if ratio is None:
        return None
    cov_re = ratio * np.eye(model.k_re)
    return MixedLMParams.from_components(np.zeros(model.k_fe), cov_re=cov_re, vcomp=ratio * np.ones(model.k_vc))


def read(design: LiveDesign, result: Any, fit: Fit, digits: Digits) -> Answer:
    """statsmodels' results as an `Answer`.

    The standard errors of the fixed effects are √diag (X'V⁻¹X)⁻¹ at its estimates, from the block of its
    Hessian that belongs to the fixed effects (see `gls_errors`).
    """
    return Answer(
        source="statsmodels, driven to its optimum",
        components=_components(design, result, fit),
        loglik=float(result.llf),
        fixed=pd.Series(np.asarray(result.fe_params), index=list(result.fe_params.index)),
        fixed_errors=gls_errors(result),
        effects=_effects(design, result),
        digits=digits,
    )


def gls_errors(result: Any) -> pd.Series:
    """Standard errors from the fixed-effects block of the Hessian, (X'V⁻¹X)⁻¹.

    `bse_fe` of statsmodels inverts the whole Hessian, with its blocks between fixed effects and variances.
    """
    k = result.k_fe
    hessian = result.model.hessian(result.params_object)
    matrix = np.asarray(hessian[0] if isinstance(hessian, tuple) else hessian)[:k, :k]
    errors = np.sqrt(np.diag(np.linalg.inv(-matrix)))
    return pd.Series(errors, index=list(result.fe_params.index))


def _components(design: LiveDesign, result: Any, fit: Fit) -> pd.Series:
    keys = component_keys(fit)
    values: dict[tuple[str, str], float] = {}
    if design.re_term is not None:
        sigma, names = np.asarray(result.cov_re), _re_effects(result)
        for i, a in enumerate(names):
            for j, b in enumerate(names[: i + 1]):
                values[keys[design.re_term, frozenset({a, b})]] = float(sigma[i, j])
    for name, value in zip(_part_names(result), np.atleast_1d(result.vcomp), strict=True):
        part = design.parts[name]
        values[keys[part.term, frozenset({part.effect})]] = float(value)
    values["residual", "variance"] = float(result.scale)
    return pd.Series(values)


def _part_names(result: Any) -> list[str]:
    return list(result.model.exog_vc.names) if result.k_vc else []


def _re_effects(result: Any) -> list[str]:
    """Names of the correlated effects; statsmodels calls the intercept by the grouping factor."""
    names = [str(n) for n in result.model.data.exog_re_names]
    intercepts = [k for k in range(result.k_re) if np.ptp(result.model.exog_re[:, k]) == 0.0]
    return ["Intercept" if k in intercepts else plain(n) for k, n in enumerate(names)]


def _effects(design: LiveDesign, result: Any) -> dict[tuple[str, str], pd.Series]:
    """BLUPs by our term and effect; empty where statsmodels cannot give them (a singular covariance)."""
    try:
        by_group = result.random_effects
    except ValueError:
        return {}
    table: dict[tuple[str, str], dict[str, float]] = {}
    effects = _re_effects(result) if design.re_term is not None else []
    for group, values in by_group.items():
        for effect, value in zip(effects, values.iloc[: len(effects)], strict=True):
            table.setdefault((str(design.re_term), effect), {})[str(group)] = float(value)
        for name, value in values.iloc[len(effects) :].items():
            part, level = _place(design, str(name), str(group))
            table.setdefault((part.term, part.effect), {})[level] = float(value)
    return {key: pd.Series(values) for key, values in table.items()}


def _place(design: LiveDesign, name: str, group: str) -> tuple[Part, str]:
    """Our term and level of an effect such as ``cask[C(cask)[a]]``."""
    part = design.parts[name.split("[", 1)[0]]
    found = _LEVEL.search(name)
    level = found.group(1) if found else group
    return part, f"{group}:{level}" if part.nested else level
