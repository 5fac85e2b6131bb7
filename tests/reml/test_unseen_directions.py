"""Directions in which the information is lost in rounding: a score along them is no maximum, whatever else holds."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.reml.newton import Newton


def slopes(seed: int, far: float, apart: float) -> pd.DataFrame:
    """Slopes on x, on x + far, its square, and on a covariate that is `apart` from x."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.0, 1.0, size=(30, 8))
    b = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 2))
    y = 1.0 + b[:, :1] + (0.2 + b[:, 1:]) * x + rng.normal(size=(30, 8))
    x, noise = x.ravel(), rng.normal(size=240)
    columns = {"x": x, "z": x + far, "z2": (x + far) ** 2, "v": noise, "w": x + apart * noise}
    return pd.DataFrame({"g": np.repeat(np.arange(30), 8), "y": y.ravel(), **columns})


CASES = [
    *[(seed, far, 0.0, "(1 + z | g)", "(1 + x | g)", False) for seed in range(4) for far in (1e3, 6e3)],
    *[(seed, 0.0, 1e-5, "(0 + x + w | g)", "(0 + x + v | g)", True) for seed in (1, 3)],
]


@pytest.mark.parametrize(("seed", "far", "apart", "given", "same", "constrain"), CASES)
def test_what_converges_is_the_maximum_of_the_same_model_well_conditioned(seed, far, apart, given, same, constrain):
    """Slopes from a far origin without constraints, and on covariates nearly alike: ℓ was lower by .009."""
    data = slopes(seed, far, apart)
    fit = rb.MixedModel(f"y ~ x + {given}", data).fit(constrain=constrain)
    best = rb.MixedModel(f"y ~ x + {same}", data).fit(constrain=constrain)
    assert best.converged
    if fit.converged:
        assert fit.loglik == pytest.approx(best.loglik, abs=2e-6)
    else:
        assert re.search("Not met|nine digits", fit.convergence.reason)


@pytest.mark.parametrize(("seed", "far"), [(seed, far) for seed in range(3) for far in (300.0, 1200.0, 9000.0)])
def test_parabolas_from_a_far_origin_end_with_a_verdict(seed, far):
    """Units lost in rounding were not positive definite: LinAlgError."""
    fit = rb.MixedModel("y ~ x + us(1 + z + z2 | g)", slopes(seed, far, 0.0)).fit()
    assert np.isfinite(fit.loglik)


@pytest.mark.parametrize(
    ("far", "apart", "term"),
    [(9e3, 0.0, "us(1 + z + z2 | g)"), (300.0, 0.0, "us(1 + z + z2 | g)"), (1e5, 0.0, "(1 + z | g)"),
     (0.0, 1e-6, "(0 + x + w | g)")],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_effects_that_are_the_same_to_nine_digits_are_named(far, apart, term, engine):
    """On a singular Σ such fits ended 1.6 below the maximum with every criterion met."""
    with pytest.warns(rb.ConvergenceWarning, match="same to about nine digits.*Subtract a mean"):
        fit = rb.MixedModel(f"y ~ x + {term}", slopes(1, far, apart), engine=engine).fit()
    assert not fit.converged and term.removeprefix("us").strip("()") in fit.convergence.reason


def test_the_mean_taken_off_they_are_told_apart():
    data = slopes(1, 300.0, 0.0).eval("z = z - 300").eval("z2 = z ** 2")
    assert rb.MixedModel("y ~ x + us(1 + z + z2 | g)", data).fit().converged


def test_effects_of_other_levels_are_not_alike():
    """Sire and dam of a record: covariates of one both, over different animals."""
    rng = np.random.default_rng(3)
    parents = rng.integers(0, 40, size=(300, 2))
    data = pd.DataFrame({"a": parents[:, 0], "b": parents[:, 1]})
    u = rng.normal(size=(2, 40))
    data["y"] = u[0][data["a"]] + 0.7 * u[1][data["b"]] + rng.normal(size=300)
    K = rb.Relationship(np.eye(40), np.arange(40))
    assert rb.MixedModel("y ~ 1 + us(vm(a, K) + vm(b, K))", data, {"K": K}).fit().converged


def test_the_decrement_counts_a_score_where_there_is_no_information():
    H = np.array([[1.0, 1.0], [1.0, 1.0]])
    plain = np.arange(2)
    free = np.ones(2, dtype=bool)
    along = Newton(np.array([1e-9, 1e-9]), H, free, {}, plain, np.zeros(2)).size()
    across = Newton(np.array([1e-9, -1e-9]), H, free, {}, plain, np.zeros(2)).size()
    assert along == pytest.approx((1e-9, 1e-18), rel=1e-6, abs=1e-19)
    assert across == pytest.approx((1e-9, 2e-18 / 1e-12))
