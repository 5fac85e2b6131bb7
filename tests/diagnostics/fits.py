"""A fit at any θ of any engine, so that every case of `equations` can be asked what a fit is asked."""

from __future__ import annotations

from functools import cache

import numpy as np
from equations.test_engines import WORKING, subject

import remlblup as rb
from remlblup.reml.convergence import Convergence, Criterion
from remlblup.reml.history import Iteration
from remlblup.reml.known import optimum_at
from remlblup.reml.likelihood import log_likelihood
from remlblup.reml.optimum import Options

NAMES = WORKING


@cache
def fit_at(name: str, ml: bool = False):
    """(fit, oracle, θ) of a case, every parameter held at θ."""
    equations, oracle, theta = subject(name)
    theta = np.asarray(theta, dtype=float)
    loglik = log_likelihood(equations, equations.solve(theta, ml=ml), ml)
    row = Iteration(0, "start", loglik, np.nan, 0.0, 0.0, np.nan, 0, 0.0, (), theta)
    met = (Criterion("gradient", 0.0, 1.0, "of a point that is given"),)
    held, boundary = np.zeros(len(theta), dtype=bool), np.zeros(len(theta), dtype=bool)
    optimum = optimum_at(
        equations, Options(ml=ml), (row,), loglik, held, boundary, lambda *_: Convergence(met, "given.", (), (), 0)
    )
    return rb.Fit(optimum, Options(ml=ml)), oracle, theta
