"""Likelihood ratios: statistics by lme4, nulls in closed form, the exact one by the F distribution,
and what is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import remlblup as rb
from remlblup.datasets import load as dataset
from remlblup.inference.comparison.nested import nesting
from remlblup.inference.comparison.null_distribution import exact_draws, of_variances


@cache
def fitted(name: str, formula: str, method: str = "REML", residual: str = "units"):
    return rb.MixedModel(formula, dataset(name), residual=residual).fit(method)


def sleep(random: str = "", method: str = "REML", fixed: str = "Days"):
    return fitted("sleepstudy", f"Reaction ~ {fixed}{' + ' + random if random else ''}", method)


def test_one_variance_in_large_and_in_finite_samples():
    """Dyestuff: RLRsim 3.1.8 has 6.369 and .0046 of 100,000 draws; in a balanced layout LR rises with F,
    so p is that of F."""
    small, large = fitted("dyestuff", "Yield ~ 1"), fitted("dyestuff", "Yield ~ 1 + (1 | Batch)")
    mixture = rb.likelihood_ratio(small, large)
    assert mixture.statistic == pytest.approx(6.369, abs=5e-4) and mixture.df == 1
    assert mixture.weights == {0: 0.5, 1: 0.5} and "0.5 χ²(0) + 0.5 χ²(1)" in str(mixture)
    assert mixture.p_value == pytest.approx(0.5 * stats.chi2.sf(mixture.statistic, 1))
    assert rb.likelihood_ratio(small, large, "chi2").p_value == pytest.approx(2 * mixture.p_value)
    exact = rb.likelihood_ratio(small, large, "simulate", seed=1)
    F = (large.theta[1] + 5 * large.theta[0]) / large.theta[1]
    p = stats.f.sf(F, 5, 24)
    error = np.sqrt(p / len(exact.draws))
    assert "exact for finite samples" in exact.null and exact.p_value == pytest.approx(p, abs=4 * error)
    assert exact.p_value == pytest.approx(0.0046, abs=4 * np.sqrt(2) * error)


@pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])
def test_the_exact_null_is_that_of_replicates(ml):
    """An unbalanced layout: quantiles of the exact draws beside statistics of 2,000 replicates that were fitted."""
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"g": np.repeat(np.arange(6), [1, 2, 3, 4, 6, 9]), "x": rng.standard_normal(25)})
    d["y"] = rng.standard_normal(25)
    method = "ML" if ml else "REML"
    small = rb.MixedModel("y ~ 1" if ml else "y ~ x", d).fit(method)
    large = rb.MixedModel("y ~ x + (1 | g)", d).fit(method)
    exact = rb.likelihood_ratio(small, large, "simulate", seed=2, n=40_000).draws
    from remlblup.inference.comparison.likelihood_ratio import refitted

    drawn = refitted(small, large, 3, 2000, None)
    assert len(drawn) == 2000
    for q in (0.5, 0.8, 0.95) if not ml else (0.2, 0.5, 0.8, 0.95):
        share = np.mean(drawn <= np.quantile(exact, q) + 1e-9)
        assert share == pytest.approx(max(q, np.mean(exact <= 1e-9)), abs=4 * np.sqrt(q * (1 - q) / 2000) + 0.003)
    assert np.mean(drawn < 1e-9) == pytest.approx(np.mean(exact < 1e-9), abs=0.05)


def test_a_matrix_that_grows():
    """sleepstudy, a slope beside the intercept: lme4's REML deviances 1786.465 and 1743.628 (Bates et al. 2015)."""
    test = rb.likelihood_ratio(sleep("(1 | Subject)"), sleep("(1 + Days | Subject)"))
    assert test.statistic == pytest.approx(1786.465 - 1743.628, abs=2e-3)
    assert test.weights == {1: 0.5, 2: 0.5} and test.df == 2
    assert test.p_value == pytest.approx(0.5 * (stats.chi2.sf(test.statistic, 1) + stats.chi2.sf(test.statistic, 2)))


def test_a_covariance_is_free():
    test = rb.likelihood_ratio(sleep("(1 + Days || Subject)"), sleep("(1 + Days | Subject)"))
    assert test.weights == {1: 1.0} and test.df == 1
    separate = rb.likelihood_ratio(sleep("(1 | Subject) + (0 + Days | Subject)"), sleep("(1 + Days | Subject)"))
    assert separate.statistic == pytest.approx(test.statistic, abs=1e-6)


def test_a_fixed_effect_by_ml():
    """lme4: anova of the ML fits, χ² 23.537 on 1 df, p = 1.23e-06 (Bates et al. 2015, section 5)."""
    test = rb.likelihood_ratio(sleep("(1 + Days | Subject)", "ML", "1"), sleep("(1 + Days | Subject)", "ML"))
    assert test.statistic == pytest.approx(23.537, abs=1e-3) and test.p_value == pytest.approx(1.226e-06, rel=1e-3)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_weights_of_several_variances(m):
    """By drawing: how many coordinates stay positive where a normal vector is projected onto the orthant in its
    metric."""
    from scipy.optimize import nnls

    rng = np.random.default_rng(m)
    A = rng.standard_normal((m, m + 2))
    V = A @ A.T
    root = np.linalg.cholesky(np.linalg.inv(V)).T  # (z − b)'V⁻¹(z − b) = |root z − root b|²
    draws = np.linalg.cholesky(V) @ rng.standard_normal((m, 20_000))
    positive = [np.count_nonzero(nnls(root, root @ z)[0] > 0) for z in draws.T]
    share = np.bincount(positive, minlength=m + 1) / 20_000
    weights = of_variances(V).weights
    np.testing.assert_allclose([weights[k] for k in range(m + 1)], share, atol=0.015)
    assert sum(weights.values()) == pytest.approx(1.0)


def test_two_variances_at_once():
    test = rb.likelihood_ratio(fitted("pastes", "strength ~ 1"), fitted("pastes", "strength ~ 1 + (1 | batch/cask)"))
    assert (
        test.weights[1] == 0.5
        and sum(test.weights.values()) == pytest.approx(1.0)
        and "expected information" in test.null
    )


def test_drawn_where_no_weights_are_known():
    small, large = sleep(), sleep("(1 + Days | Subject)")
    with pytest.raises(rb.ModelError, match='null="simulate"'):
        rb.likelihood_ratio(small, large)
    test = rb.likelihood_ratio(small, large, "simulate", n=60, seed=4)
    assert test.p_value == pytest.approx(1 / 61) and "60 replicates" in test.null
    again = rb.likelihood_ratio(small, large, "simulate", n=60, seed=4)
    np.testing.assert_array_equal(test.draws, again.draws)


def test_a_residual_structure_is_free():
    small = fitted("orthodont", "distance ~ age", "REML")
    large = fitted("orthodont", "distance ~ age", "REML", "ar1(age | Subject)")
    assert rb.likelihood_ratio(small, large).weights == {1: 1.0}
    known = nesting(small, large)
    assert rb.MixedModel("distance ~ age", dataset("orthodont"), residual="ar1(age | Subject)").loglik(
        large.specification.parameters.to_mapping(known.theta)
    ) == pytest.approx(small.loglik)


def test_spatial_residuals_have_no_mixture():
    """At a range of zero ℓ has no expansion, and a nugget beside no correlation is the residual twice."""
    rng = np.random.default_rng(3)
    plots = pd.DataFrame({"row": np.repeat(np.arange(7.0), 7), "col": np.tile(np.arange(7.0), 7)})
    h = np.hypot(*(np.subtract.outer(v, v) for v in plots.to_numpy().T))
    plots["y"] = np.linalg.cholesky(4.0 * np.exp(-h / 2.0) + 0.3 * np.eye(49)) @ rng.standard_normal(49)

    def fit(residual):
        return rb.MixedModel("y ~ 1", plots, residual=residual).fit()

    units, alone, each = fit("units"), fit("exp(row, col)"), fit("exp(row, col, metric=each)")
    for larger, word in (
        (alone, "'range' of 'residual'"),
        (fit("exp(row, col) + units"), "'range'"),
        (each, r"range\(row\)"),
        (fit("ar1(row):ar1(col) + units"), "'units' beside a residual without correlations"),
    ):
        with pytest.raises(rb.ModelError, match=f'{word}.*null="simulate"'):
            rb.likelihood_ratio(units, larger)
    assert rb.likelihood_ratio(units, fit("ar1(row):ar1(col)")).weights == {2: 1.0}
    # A range for each coordinate has one range for all as its special case, on no bound.
    assert rb.likelihood_ratio(alone, each).weights == {1: 1.0}


def test_compare():
    fits = [sleep(), sleep("(1 | Subject)"), sleep("(1 + Days || Subject)"), sleep("(1 + Days | Subject)")]
    table = rb.compare(*fits)
    assert list(table["parameters"]) == [3, 4, 5, 6] and list(table["variance"]) == [1, 2, 3, 4]
    np.testing.assert_allclose(table["aic"], [-2 * f.loglik + 2 * f.n_parameters for f in fits])
    np.testing.assert_allclose(table["statistic"][1:], 2 * np.diff(table["loglik"]))
    assert table["test"].iloc[0] == "" and set(table["verdict"]) == {"converged"} and "BIC" in table.note
    other = rb.compare(sleep("(1 | Subject)"), sleep("(1 | Subject)", fixed="1"))
    assert "fixed parts differ" in other.note and other["test"].iloc[1].startswith("none: the fixed parts differ")


def machines(rows=slice(None), **options):
    return rb.MixedModel("score ~ Machine + (1 | Worker)", dataset("machines").iloc[rows]).fit(**options)


def refused():
    whole = machines()
    with pytest.warns(rb.ConvergenceWarning):
        bad = machines(max_iterations=1, algorithm="ai")
    yield "not converged", bad, whole, rb.ModelError, "first fit has not converged"
    yield "rows", machines(slice(0, 50)), whole, rb.DataError, "50 and 54 records"
    yield "order", machines(slice(None, None, -1)), whole, rb.DataError, "another order"
    yield "method", machines(method="ML"), whole, rb.ModelError, "by ML and one by REML"
    yield "twice the same", whole, machines(), rb.ModelError, "same model"
    other = rb.MixedModel("score ~ 1 + (1 | Worker)", dataset("machines")).fit()
    yield "REML and X", other, whole, rb.ModelError, "the fixed parts differ"
    by_ml = rb.MixedModel("score ~ 1 + (1 | Worker)", dataset("machines")).fit("ML")
    yield "X the other way", machines(method="ML"), by_ml, rb.ModelError, "'Machine"
    wide = rb.MixedModel("score ~ Machine + (1 | Worker:Machine)", dataset("machines")).fit()
    yield "another term", whole, wide, rb.ModelError, "'Worker' of the first is not in the second"
    yield (
        "the larger first",
        rb.MixedModel("score ~ Machine + (1 | Worker/Machine)", dataset("machines")).fit(),
        whole,
        rb.ModelError,
        "smaller model comes first",
    )
    changed = dataset("machines").assign(score=lambda d: d["score"] + 1)
    yield "response", rb.MixedModel("score ~ Machine", changed).fit(), whole, rb.DataError, "other responses"
    yield "no fit", "text", whole, rb.ModelError, "not str"


def test_what_cannot_be_compared():
    for _, small, large, error, said in refused():
        with pytest.raises(error, match=said):
            rb.likelihood_ratio(small, large)


def test_nested_by_the_dense_definition():
    """Where the larger model is the smaller one, its likelihood is that of the smaller."""
    for small, large in (
        ("(1 | Subject)", "(1 + Days | Subject)"),
        ("(1 + Days || Subject)", "(1 + Days | Subject)"),
        ("(1 | Subject) + (0 + Days | Subject)", "(1 + Days | Subject)"),
        ("", "(1 + Days | Subject)"),
    ):
        a, b = sleep(small), sleep(large)
        at = b.specification.parameters.to_mapping(nesting(a, b).theta)
        assert rb.MixedModel(b.formula, dataset("sleepstudy")).loglik(at) == pytest.approx(a.loglik, rel=1e-9)


def test_draws_do_not_depend_on_the_unit_of_k():
    mu = np.array([1.0, 2.0, 5.0])
    one, two = (exact_draws(mu * s, mu * s, 20, 20, 0, 2000, 1) for s in (1.0, 1e6))
    np.testing.assert_allclose(one, two)


# -- parameters held by fix= ---------------------------------------------------------------------


def held(fix: dict, formula: str = "Yield ~ 1 + (1 | Batch)", data: str = "dyestuff", method: str = "REML"):
    return rb.MixedModel(formula, dataset(data)).fit(method, fix=fix, progress=False)


def test_a_value_held_is_tested():
    """The residual mean square of a balanced layout, held at 2,000: χ² of one parameter, by the dense likelihood."""
    large = fitted("dyestuff", "Yield ~ 1 + (1 | Batch)")
    test = rb.likelihood_ratio(held({"residual": 2000.0}), large)
    assert test.weights == {1: 1.0} and test.df == 1 and list(test.table["parameters"]) == [2, 3]
    ss_e, ss_b = 24 * large.theta[1], 5 * (large.theta[1] + 5 * large.theta[0])

    def loglik(e, m):  # of two independent scaled χ²
        return -0.5 * (24 * np.log(e) + ss_e / e + 5 * np.log(m) + ss_b / m)

    wanted = 2 * (loglik(ss_e / 24, ss_b / 5) - loglik(2000.0, ss_b / 5))
    assert test.statistic == pytest.approx(wanted, abs=1e-5)


def test_a_variance_held_at_zero_is_on_its_bound():
    small, large = held({"Batch": 0.0}), fitted("dyestuff", "Yield ~ 1 + (1 | Batch)")
    test = rb.likelihood_ratio(small, large)
    plain = rb.likelihood_ratio(fitted("dyestuff", "Yield ~ 1"), large)
    assert test.weights == {0: 0.5, 1: 0.5} and test.p_value == pytest.approx(plain.p_value, rel=1e-6)
    assert "20 replicates" in rb.likelihood_ratio(small, large, "simulate", n=20).null


def test_what_both_hold_is_not_counted():
    small = rb.MixedModel("strength ~ 1 + (1 | batch)", dataset("pastes")).fit(fix={"residual": 0.7}, progress=False)
    large = rb.MixedModel("strength ~ 1 + (1 | batch/cask)", dataset("pastes")).fit(
        fix={"residual": 0.7}, progress=False
    )
    test = rb.likelihood_ratio(small, large)
    assert test.df == 1 and test.weights == {0: 0.5, 1: 0.5} and list(test.table["parameters"]) == [2, 3]
    table = rb.compare(small, large)
    assert list(table["variance"]) == [1, 2] and table["df"].iloc[1] == 1


def test_two_variances_beside_one_that_is_held():
    """Weights by the information of what is estimated: a variance that is known has no part in it."""
    data = dataset("pastes")
    small = rb.MixedModel("strength ~ 1", data).fit(fix={"residual": 0.7}, progress=False)
    large = rb.MixedModel("strength ~ 1 + (1 | batch/cask)", data).fit(fix={"residual": 0.7}, progress=False)
    weights = rb.likelihood_ratio(small, large).weights
    Z = [pd.get_dummies(data["batch"]), pd.get_dummies(data["batch"].astype(str) + data["cask"].astype(str))]
    n = len(data)
    P = (np.eye(n) - 1.0 / n) / 0.7
    K = [P @ (z.to_numpy(float) @ z.to_numpy(float).T) for z in Z]
    information = np.array([[0.5 * np.trace(A @ B) for B in K] for A in K])
    wanted = of_variances(np.linalg.inv(information)).weights
    assert all(weights[k] == pytest.approx(wanted[k], abs=1e-9) for k in range(3))


def test_held_where_it_cannot_be_compared():
    large = held({"residual": 2000.0})
    for small, said in (
        (fitted("dyestuff", "Yield ~ 1"), "holds 'residual' at 2000 by fix=, and the first has it at"),
        (held({"residual": 2000.0}), "same model"),
        (fitted("dyestuff", "Yield ~ 1 + (1 | Batch)"), "holds 'residual'|fewer free parameters"),
    ):
        with pytest.raises(rb.ModelError, match=said):
            rb.likelihood_ratio(small, large)
    whole = sleep("(1 + Days | Subject)")
    singular = held({"1 + Days | Subject": np.zeros((2, 2))}, "Reaction ~ Days + (1 + Days | Subject)", "sleepstudy")
    with pytest.raises(rb.ModelError, match="held by fix= where a covariance matrix is singular"):
        rb.likelihood_ratio(singular, whole)


def test_a_matrix_held_inside_is_tested_by_all_its_parameters():
    at = np.array([[600.0, 0.0], [0.0, 30.0]])
    small = held({"1 + Days | Subject": at}, "Reaction ~ Days + (1 + Days | Subject)", "sleepstudy")
    test = rb.likelihood_ratio(small, sleep("(1 + Days | Subject)"))
    assert test.df == 3 and test.weights == {3: 1.0}


def test_the_new_effect_of_a_diagonal_term():
    """Whichever stands first: the intercepts are what is added to the slopes, and the information is theirs."""
    small, large = sleep("(0 + Days || Subject)"), sleep("(1 + Days || Subject)")
    (added,) = nesting(small, large).terms
    names = large.specification.parameters.columns
    assert [names[i] for i in added.places] == [n for n in names if "Intercept" in n]


# -- without constraints, and on the bound -------------------------------------------------------


def negative():
    rng = np.random.default_rng(12)
    d = pd.DataFrame({"g": np.repeat(np.arange(12), 3), "y": rng.normal(size=36)})
    d["y"] -= 0.7 * d.groupby("g")["y"].transform("mean")
    return d


def test_without_constraints_zero_is_no_bound():
    d = negative()
    small, large = rb.MixedModel("y ~ 1", d).fit(), rb.MixedModel("y ~ 1 + (1 | g)", d).fit(constrain=False)
    test = rb.likelihood_ratio(small, large)
    assert large.theta[0] < 0.0 < test.statistic and test.weights == {1: 1.0}


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_a_variance_that_ended_on_its_bound_has_p_of_one(scale):
    """The gain is zero but for rounding, of which ½ χ²(1) would make a p of one half."""
    d = negative().assign(y=lambda f: f["y"] * scale)
    small, large = rb.MixedModel("y ~ 1", d).fit(), rb.MixedModel("y ~ 1 + (1 | g)", d).fit()
    for null in ("mixture", "chi2", "simulate"):
        test = rb.likelihood_ratio(small, large, null, n=200 if null == "simulate" else None)
        assert test.statistic == 0.0 and test.p_value == 1.0
