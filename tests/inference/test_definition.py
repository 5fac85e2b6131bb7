"""Tests of fixed effects for every structure and engine against their definitions on dense matrices."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest
from equations import models, structures
from equations.test_engines import SUBJECTS, WORKING, subject

import remlblup as rb
from inference.definition import Definition, information, joint_p
from remlblup.fit.errors.expected import expected_by_solves
from remlblup.fit.errors.fixed import FixedErrors
from remlblup.fit.errors.information import Information
from remlblup.inference.fixed.f_tests import FixedTests
from remlblup.reml.score import score
from remlblup.reml.start import residual_variance, unit_matrices

ENGINES = ("dense", "sparse")
KINDS = ("average", "observed", "expected")
DIGITS = 1e-6


def compared(equations, oracle, theta):
    """FixedErrors at θ with W by the expected information, beside the definition."""
    W = np.linalg.pinv(oracle.expected_information(theta), rcond=1e-10)
    values, vectors = np.linalg.eigh(0.5 * (W + W.T))
    kept = values > 1e-10 * values[-1]
    curved = vectors[:, kept] * np.sqrt(values[kept])
    known = Information(curved, np.zeros((len(theta), 0)))
    units = unit_matrices(equations, residual_variance(equations))
    solution = score(equations, equations.solve(theta), units).solution
    return FixedErrors(equations, solution, known), Definition(oracle, theta, curved @ curved.T)


def check(errors, definition, oracle, theta, beta):
    scale = np.sqrt(np.diag(definition.Phi))
    unit = np.outer(scale, scale)
    np.testing.assert_allclose(errors.covariance / unit, definition.Phi / unit, atol=1e-8)
    slopes = definition.slopes
    size = np.max(np.abs(slopes) / unit, axis=(1, 2))[:, None, None]
    np.testing.assert_allclose(errors.slopes / unit / size, slopes / unit / size, atol=1e-7)
    np.testing.assert_allclose(errors.adjusted / unit, definition.adjusted / unit, atol=DIGITS)
    L = np.eye(len(definition.beta))
    for method, own in (("satterthwaite", definition.satterthwaite), ("kenward-roger", definition.kenward_roger)):
        tests = FixedTests(beta, errors.covariance, errors, method, np.inf, "")
        with np.errstate(invalid="ignore"):
            error, df, F, den_df = own(L)
        estimate, found_error, found_df = tests.rows(L)
        np.testing.assert_allclose(estimate, definition.beta, rtol=1e-6, atol=1e-6 * np.max(scale))
        np.testing.assert_allclose(found_error, error, rtol=DIGITS)
        np.testing.assert_allclose(found_df, np.where(np.isnan(error), np.nan, df), rtol=DIGITS)
        joint = tests.joint(L)
        if np.linalg.eigvalsh(definition.adjusted)[0] < 0.0 and method == "kenward-roger":
            assert np.isnan(joint.F) and np.isnan(joint.p_value)  # a line of 6 plots: no adjustment is of use there
            continue
        np.testing.assert_allclose([joint.F, joint.den_df], [F, den_df], rtol=DIGITS)
        assert joint.num_df == len(L)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", structures.NAMES)
def test_every_structure_by_the_equations(name, engine):
    if name.startswith("known_singular"):
        pytest.skip("the derivatives are asked for at nonsingular Σ only")
    c = structures.case(name)
    equations = c.equations(engine)
    errors, definition = compared(equations, c.oracle, c.theta)
    solution = equations.solve(c.theta)
    check(errors, definition, c.oracle, c.theta, solution.effects[: equations.p] + equations.beta_ols)


@pytest.mark.parametrize("name", [n for n in SUBJECTS if n in WORKING])
def test_every_structure_by_v_itself(name):
    equations, oracle, theta = subject(name)
    errors, definition = compared(equations, oracle, theta)
    fixed = equations.spec.fixed
    beta = equations.solve(theta).beta + equations.beta_ols
    check(errors, definition, oracle, theta, beta if fixed.transform is None else fixed.transform @ beta)


# -- whole fits ------------------------------------------------------------------------------------


@cache
def fitted(name: str, method: str):
    """A fit whose parameters are all free, with its oracle; None where one is on a bound, or there is no maximum."""
    c = structures.case(name) if name in structures.NAMES else models.case(name)
    fit = c.model.fit(method=method, progress=False)
    return (fit if fit.converged and set(fit.status) == {"free"} else None), c.oracle


WHOLE = ("id, pedigree", "diag, pedigree", "corh, identity", "ar1, identity", "exp, identity", "csh, pedigree",
         "rr, pedigree", "R: diag, weights", "R: us(site | subject)", "R: cs(site | subject)", "R: exp(t | subject)",
         "R: power(z)", "R: field, empty", "R: fields | trial", "us2", "vm_us", "two_us", "wide")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WHOLE)
def test_fits_by_each_information(name, kind):
    fit, oracle = fitted(name, "REML")
    assert fit is not None
    theta = fit.theta
    W = np.linalg.inv(information(oracle, theta, kind))
    definition = Definition(oracle, theta, W)
    L = np.eye(len(fit.beta))
    for df, own in (("satterthwaite", definition.satterthwaite), ("kenward-roger", definition.kenward_roger)):
        error, dfs, F, den_df = own(L)
        table = fit.fixed_effects_table(df, kind)
        np.testing.assert_allclose(table["std_error"], error, rtol=DIGITS)
        np.testing.assert_allclose(table["df"], dfs, rtol=10 * DIGITS if kind == "observed" else DIGITS)
        joint = fit.test(L, df=df, information=kind).joint
        np.testing.assert_allclose(joint["F"], F, rtol=DIGITS)
        np.testing.assert_allclose(joint["den_df"], den_df, rtol=10 * DIGITS if kind == "observed" else DIGITS)
        np.testing.assert_allclose(joint["p_value"], joint_p(F, len(L), den_df), rtol=1e-4)


@pytest.mark.parametrize("name", ("id, pedigree", "ar1, identity", "csh, pedigree", "R: diag, weights", "R: power(z)",
                                  "R: exp(t | subject)", "R: field, empty"))  # fmt: skip
def test_expected_information_by_solves(name):
    """A solve for each record, as beyond the records that V is formed for."""
    fit, oracle = fitted(name, "REML")
    along = np.random.default_rng(1).standard_normal((len(fit.theta), 2))
    for ml in (False, True):
        found = expected_by_solves(fit._equations, fit.theta, along, ml)
        wanted = along.T @ oracle.expected_information(fit.theta, ml) @ along
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9 * np.max(np.abs(wanted)))


@pytest.mark.parametrize("kind", KINDS)
def test_maximum_likelihood(kind):
    fit, oracle = fitted("vm_us", "ML")
    assert fit is not None
    definition = Definition(oracle, fit.theta, np.linalg.inv(information(oracle, fit.theta, kind, ml=True)))
    error, df, _, _ = definition.kenward_roger(np.eye(len(fit.beta)))
    table = fit.fixed_effects_table("kenward-roger", kind)
    np.testing.assert_allclose(table["std_error"], error, rtol=DIGITS)
    np.testing.assert_allclose(table["df"], df, rtol=10 * DIGITS)
    assert "ML" in repr(table)


def test_engines_agree():
    c = models.case("vm")
    spec = c.model.specification
    tables = []
    for engine in ("sparse", "dense"):
        model = rb.MixedModel(spec.formula.text, spec.records.frame, {"A": spec.random[0].relationship}, engine=engine)
        tables.append(model.fit(progress=False).wald_tests(df="kenward-roger", information="observed").to_numpy())
    np.testing.assert_allclose(*tables, rtol=1e-6)


# -- on bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["crossed", "vm", "diag, identity"])
def test_a_variance_of_zero_is_held(name, kind):
    """Degrees of freedom are those with the component known to be zero."""
    c = structures.case(name) if name in structures.NAMES else models.case(name)
    fit = c.model.fit(progress=False)
    free = np.array([s == "free" for s in fit.status])
    assert fit.converged and not free.all()
    W = np.zeros((len(free), len(free)))
    W[np.ix_(free, free)] = np.linalg.inv(information(c.oracle, fit.theta, kind)[np.ix_(free, free)])
    definition = Definition(c.oracle, fit.theta, W)
    for df, own in (("satterthwaite", definition.satterthwaite), ("kenward-roger", definition.kenward_roger)):
        error, dfs, _, _ = own(np.eye(len(fit.beta)))
        table = fit.fixed_effects_table(df, kind)
        np.testing.assert_allclose(table["std_error"], error, rtol=DIGITS)
        np.testing.assert_allclose(table["df"], dfs, rtol=10 * DIGITS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_singular_matrix_is_one_of_its_rank(kind):
    """Satterthwaite's df do not depend on the parameters: those on the face are those of the reduced rank."""
    d = models.case("us3").model.specification.records.frame
    whole = rb.MixedModel("y ~ x + us(1 + x + z | g)", d).fit(progress=False)
    assert whole.converged and "boundary" in whole.status
    rank = int(np.sum(np.linalg.eigvalsh(whole.covariance("us(1 + x + z | g)")) > 1e-6))
    reduced = rb.MixedModel(f"y ~ x + rr(1 + x + z | g, k={rank})", d).fit(progress=False)
    assert reduced.converged and reduced.loglik == pytest.approx(whole.loglik, abs=1e-6)
    one, other = (f.fixed_effects_table("satterthwaite", kind) for f in (whole, reduced))
    np.testing.assert_allclose(one["df"], other["df"], rtol=1e-4)


def test_known_components():
    """With `fix=` a component has no error: all of them known, the tests are normal and nothing is adjusted."""
    c = models.case("id")
    fit = c.model.fit(progress=False)
    held = c.model.fit(fix=fit.variances, progress=False)
    for df in ("satterthwaite", "kenward-roger"):
        table = held.fixed_effects_table(df)
        assert np.all(np.isinf(table["df"])) and np.all(np.isinf(held.fixed_effects["df"]))
        np.testing.assert_allclose(table["std_error"], fit.fixed_effects["std_error"], rtol=1e-8)
        tests = held.wald_tests(df=df)
        t = table.loc["x", "t"]
        np.testing.assert_allclose(tests.loc["x", "F"], t**2, rtol=1e-8)
        np.testing.assert_allclose(tests.loc["x", "p_value"], table.loc["x", "p_value"], rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        whole = held.test(np.eye(len(fit.beta)))
    assert whole.joint["den_df"] == np.inf
    assert "held by fix=" in str(whole)
    part = c.model.fit(fix={"g": fit.theta[0]}, progress=False)
    W = np.zeros((2, 2))
    W[1, 1] = 1.0 / c.oracle.expected_information(part.theta)[1, 1]
    error, df, _, _ = Definition(c.oracle, part.theta, W).kenward_roger(np.eye(2))
    table = part.fixed_effects_table("kenward-roger", "expected")
    np.testing.assert_allclose(table["std_error"], error, rtol=DIGITS)
    np.testing.assert_allclose(table["df"], df, rtol=DIGITS)
