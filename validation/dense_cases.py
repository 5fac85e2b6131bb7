"""Structures on embedded data against a dense evaluation of the likelihood and another optimiser;
β̂ against statsmodels' GLS."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import scipy.optimize
from formulaic import model_matrix

from remlblup import MixedModel
from remlblup.validation.answers import Answer, Digits, compare_answer
from remlblup.validation.cases import Case
from remlblup.validation.compare import Comparison, compare_number, compare_vector
from remlblup.validation.dense import Array, DenseModel, gradient
from remlblup.validation.dense_designs import DESIGNS, DenseDesign

#: The other optimiser stops at a gradient near 1e-7.
DIGITS = Digits(loglik=11.0, components=5.5)


def cases() -> list[Case]:
    """Every design of `dense_designs.DESIGNS`, by REML and by ML."""
    source = "dense evaluation, BFGS; statsmodels GLS"
    return [
        Case(f"{d.name}.dense.{m}", "dense", partial(_compare, d, m), source, d.note)
        for d in DESIGNS
        for m in ("REML", "ML")
    ]


def _compare(design: DenseDesign, method: str, case: str) -> list[Comparison]:
    from statsmodels.regression.linear_model import GLS

    data = design.data()
    ml = method == "ML"
    model = MixedModel(design.formula, data, residual=design.residual)
    fit = model.fit(method, progress=False)
    X = model_matrix(design.fixed, data)
    y = data[design.response.removeprefix("Q('").removesuffix("')")].to_numpy(float)
    dense = DenseModel(y, X.to_numpy(float), design.covariance(data))
    table = fit.variance_components
    ours = table["estimate"].to_numpy()
    best = _optimum(design, dense, ml)
    keys = pd.MultiIndex.from_frame(table[["term", "parameter"]])
    answer = Answer(
        "dense evaluation here, BFGS", pd.Series(best, index=keys), None, dense.loglik(best, ml), digits=DIGITS
    )
    errors = table["std_error"].to_numpy()
    score = dense.gradient(ours, 1e-2 * errors, ml) * errors
    gls = GLS(y, X.to_numpy(float), sigma=dense.covariance(ours)).fit()
    fixed = fit.fixed_effects
    return [
        *compare_answer(case, model, fit, answer),
        compare_number(case, "loglik by the dense evaluation", fit.loglik, dense.loglik(ours, ml), 12.0),
        compare_vector(
            case, "score in standard errors", pd.Series(score), pd.Series(np.zeros(len(score))), 5.0, scale=1.0
        ),
        compare_vector(case, "fixed effects (GLS)", fixed["estimate"], pd.Series(gls.params, index=X.columns), 9.0),
        compare_vector(
            case,
            "s.e. of fixed effects (GLS)",
            fixed["std_error"],
            pd.Series(np.sqrt(np.diag(gls.normalized_cov_params)), index=X.columns),
            9.0,
        ),
    ]


def _optimum(design: DenseDesign, dense: DenseModel, ml: bool) -> Array:
    """θ of the highest likelihood that BFGS finds from the design's start, restarted until it stays."""

    def minus(x: Array) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            value = dense.loglik(design.transform(x), ml)
        return -value if np.isfinite(value) else 1e10

    def slope(x: Array) -> Array:
        return gradient(minus, x, np.full(len(x), 2e-3))

    x = np.array(design.start)
    for _ in range(4):
        before, x = x, scipy.optimize.minimize(minus, x, jac=slope, method="BFGS", options={"gtol": 1e-8}).x
        if np.allclose(before, x, rtol=0.0, atol=1e-8):
            break
    return design.transform(x)
