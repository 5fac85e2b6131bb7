"""A named error for each wrong input, and a warning for a fit that has not converged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from oracle import Oracle, Term, dummies

import remlblup as rb
from inference.definition import Definition
from inference.test_means import trial
from remlblup.errors import ConvergenceWarning, DataError, ModelError, OptionError


@pytest.fixture(scope="module")
def fit() -> rb.Fit:
    return rb.MixedModel("y ~ v * s + x + (1 | g)", trial()).fit(progress=False)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda f: f.wald_tests(kind="type 3"), OptionError, "kind='type 3'"),
        (lambda f: f.wald_tests(df="kr"), OptionError, "df='kr'"),
        (lambda f: f.wald_tests(information="fisher"), OptionError, "information='fisher'"),
        (lambda f: f.test(np.eye(3)), DataError, r"L has shape \(3, 3\), but there are 7 coefficients"),
        (lambda f: f.test(np.full((1, 7), np.nan)), DataError, "missing or infinite"),
        (lambda f: f.test("v[T.Z]"), DataError, r"'v\[T.Z\]' is not a coefficient"),
        (lambda f: f.test({"a": {"x": "much"}}), DataError, "not a number"),
        (lambda f: f.test({}), DataError, "no contrast"),
        (lambda f: f.test(np.eye(7)[:2], rhs=[1, 2, 3]), DataError, "rhs must be"),
        (lambda f: f.test([[1.0] * 7, [2.0] * 7], rhs=[1, 1]), DataError, "contradict"),
        (lambda f: f.marginal_means("variety"), DataError, "'variety' is no factor or covariate"),
        (lambda f: f.marginal_means("v", by="v"), DataError, "twice"),
        (lambda f: f.marginal_means([]), DataError, "names none"),
        (lambda f: f.marginal_means("v", at={"s": "n"}), DataError, "'s' is a factor, not a covariate"),
        (lambda f: f.marginal_means("v", at={"z": 1}), DataError, "at=: 'z'"),
        (lambda f: f.marginal_means("v", at={"x": "high"}), DataError, "must be a number"),
        (lambda f: f.marginal_means("v", at=3), DataError, "mapping"),
        (lambda f: f.marginal_means("v", weights="flat"), OptionError, "weights='flat'"),
        (lambda f: f.marginal_means("v", nonestimable="no"), OptionError, "nonestimable='no'"),
        (lambda f: f.marginal_means("v").contrasts("all"), OptionError, "'all' are not known"),
        (lambda f: f.marginal_means("v").contrasts(adjust="sidak"), OptionError, "adjust='sidak'"),
        (lambda f: f.marginal_means("v").contrasts("sequential", adjust="tukey"), OptionError, "pairwise"),
        (lambda f: f.marginal_means("v").contrasts("reference", reference="Z"), DataError, "no mean of level 'Z'"),
        (lambda f: f.marginal_means("v").contrasts({"a": {"Z": 1}}), DataError, "no mean of level 'Z'"),
        (lambda f: f.marginal_means("v").contrasts({"a": [1, 2]}), DataError, "a weight for each"),
        (lambda f: f.marginal_means("x").contrasts(), DataError, "one mean only"),
        (lambda f: f.marginal_means("v").letters(alpha=5), OptionError, "between 0 and 1"),
        (lambda f: f.predict(interval="both"), OptionError, "interval='both'"),
        (lambda f: f.predict(interval=np.zeros(3)), OptionError, "interval=array"),
        (lambda f: f.marginal_means("v", nonestimable=np.zeros(3)), OptionError, "nonestimable=array"),
        (lambda f: f.marginal_means("v", weights=np.zeros(3)), OptionError, "weights=array"),
        (lambda f: f.marginal_means("v").contrasts(adjust=np.zeros(3)), OptionError, "adjust=array"),
        (lambda f: f.wald_tests(kind=np.zeros(3)), OptionError, "kind=array"),
        (lambda f: f.wald_tests(df=["residual"]), OptionError, "df="),
        (lambda f: f.predict(interval="confidence", se=False), OptionError, "se=False"),
        (lambda f: f.predict(interval="confidence", level=95), OptionError, "level=95"),
        *((lambda f, m=m: f.intervals(m, n=-3), OptionError, "n=-3 must be") for m in ("wald", "log", "profile")),
        (lambda f: f.intervals("wald", seed="a"), OptionError, "seed='a' must be"),
    ],
)
def test_named_errors(fit, call, error, text):
    with pytest.raises(error, match=text):
        call(fit)


def test_random_effects_of_combinations_without_records():
    d = trial().assign(b=lambda f: np.arange(len(f)) % 3)
    d = d[~((d["g"] == 1) & (d["b"] == 2))]
    fit = rb.MixedModel("y ~ v + (1 | g:b)", d).fit(progress=False)
    with pytest.raises(DataError, match=r"'1:2'.*in no record.*leave one of the factors out") as error:
        fit.marginal_means(["g", "b"])
    assert "new_levels" not in str(error.value)


def test_no_fixed_effects():
    fit = rb.MixedModel("y ~ 0 + (1 | g)", trial()).fit(progress=False)
    for call in (fit.wald_tests, fit.fixed_effects_table, lambda: fit.test([[1.0]]), lambda: fit.marginal_means("g")):
        with pytest.raises(ModelError, match="no fixed effects"):
            call()


def test_a_coefficient_set_aside():
    d = trial().assign(z=lambda f: 2 * f["x"])
    fit = rb.MixedModel("y ~ x + z + (1 | g)", d).fit(progress=False)
    with pytest.raises(ModelError, match="'z' was set aside"):
        fit.test("z")
    table = fit.wald_tests()
    assert table.loc["z", "num_df"] == 0 and np.isnan(table.loc["z", "F"]) and "'z'" in repr(table)


def test_an_unconverged_fit_warns():
    fit = rb.MixedModel("y ~ v + (1 | g)", trial()).fit(max_iterations=1, progress=False)
    assert not fit.converged
    for call in (fit.wald_tests, fit.fixed_effects_table, lambda: fit.test("v[T.B]"), lambda: fit.marginal_means("v")):
        with pytest.warns(ConvergenceWarning):
            call()


def test_components_that_cannot_be_told_apart():
    """Two names of one factor: df are those of the model with one of them."""
    d = trial().assign(h=lambda f: 100 - f["g"])
    one = rb.MixedModel("y ~ v + x + (1 | g)", d).fit(progress=False)
    two = rb.MixedModel("y ~ v + x + (1 | g) + (1 | h)", d).fit(progress=False)
    for df in ("satterthwaite", "kenward-roger"):
        with pytest.warns(ConvergenceWarning):
            found = two.wald_tests(df=df)
        np.testing.assert_allclose(found.to_numpy(float), one.wald_tests(df=df).to_numpy(float), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::remlblup.errors.ConvergenceWarning")
def test_a_term_that_hangs_on_an_unknown_component_has_no_df():
    d = trial().assign(z=lambda f: np.sin(f["g"]))
    fit = rb.MixedModel("y ~ x + C(g) + (1 | g)", d).fit(progress=False)
    for df in ("satterthwaite", "kenward-roger"):
        table = fit.wald_tests(df=df)
        assert np.isnan(table.loc["C(g)", "p_value"]) and np.isnan(table.loc["C(g)", "den_df"])
        assert table.loc["x", "den_df"] == pytest.approx(fit.df_residual, rel=1e-6)


def test_out_of_reach_is_labelled(fit, monkeypatch):
    monkeypatch.setattr("remlblup.inference.fixed.wald.in_reach", lambda equations: False)
    fresh = rb.MixedModel("y ~ v * s + x + (1 | g)", trial()).fit(progress=False)
    table = fresh.wald_tests(df="kenward-roger")
    assert np.all(table["den_df"] == fresh.df_residual) and table.attrs["df_method"] == "residual"
    assert "residual (n − p)" in repr(table) and "beyond the limit" in repr(table)


def test_expected_information_out_of_reach_names_what_is_in_reach(monkeypatch):
    monkeypatch.setattr("remlblup.fit.errors.directions.RECORDS", 10)
    linear = rb.MixedModel("y ~ v + (1 | g)", trial()).fit(progress=False)
    few = linear.fixed_effects_table("satterthwaite", "expected")["df"]
    monkeypatch.undo()
    again = rb.MixedModel("y ~ v + (1 | g)", trial()).fit(progress=False)
    np.testing.assert_allclose(few, again.fixed_effects_table("satterthwaite", "expected")["df"], rtol=1e-6)
    monkeypatch.setattr("remlblup.fit.errors.directions.RECORDS", 10)
    other = rb.MixedModel("y ~ v + (1 | g)", trial(), residual="power(x)").fit(progress=False)
    solved = other.fixed_effects_table("satterthwaite", "expected")["df"]
    monkeypatch.undo()
    other = rb.MixedModel("y ~ v + (1 | g)", trial(), residual="power(x)").fit(progress=False)
    np.testing.assert_allclose(solved, other.fixed_effects_table("satterthwaite", "expected")["df"], rtol=1e-6)
    monkeypatch.setattr("remlblup.fit.errors.directions.RECORDS", 10)
    monkeypatch.setattr("remlblup.fit.errors.directions.BY_SOLVES", 10)
    other = rb.MixedModel("y ~ v + (1 | g)", trial(), residual="power(x)").fit(progress=False)
    with pytest.raises(OptionError, match="In reach are information='average' and 'observed'"):
        other.wald_tests(information="expected")


def test_groups_of_unknown_parents_are_a_term():
    """Fixed groups are tested together, whatever is set aside among them."""
    rng = np.random.default_rng(6)
    ids = [f"a{k}" for k in range(60)]
    groups = ["G1", "G2"]
    sire = [groups[k % 2] if k < 20 else ids[2 * int(rng.integers(0, 10))] for k in range(60)]
    dam = [groups[(k + k // 2) % 2] if k < 20 else ids[2 * int(rng.integers(0, 10)) + 1] for k in range(60)]
    pedigree = rb.Pedigree(ids, sire, dam, groups=groups)
    d = pd.DataFrame({"id": ids * 2, "v": list("xy") * 60, "y": rng.normal(size=120)})
    fit = rb.MixedModel("y ~ v + (1 | vm(id, A))", d, {"A": pedigree}).fit(progress=False)
    for kind in ("incremental", "conditional", "marginal"):
        table = fit.wald_tests(kind)
        assert list(table.index) == ["v", "groups of unknown parents"] and list(table["num_df"]) == [1, 1]
        name = fit.fixed_effects.index[-1]
        assert table["F"].iloc[1] == pytest.approx(fit.fixed_effects.loc[name, "t"] ** 2, rel=1e-8)


def test_without_constraints():
    """A negative component is an estimate like others: the definition holds."""
    rng = np.random.default_rng(12)
    g = np.repeat(np.arange(12), 3)
    e = rng.normal(size=36)
    d = pd.DataFrame({"g": g, "x": rng.normal(size=36), "y": e - 0.7 * np.repeat(e.reshape(12, 3).mean(axis=1), 3)})
    fit = rb.MixedModel("y ~ x + (1 | g)", d).fit(constrain=False, progress=False)
    assert fit.converged and fit.theta[0] < 0.0
    oracle = Oracle(d["y"].to_numpy(), np.column_stack([np.ones(36), d["x"]]), [Term([dummies(g)], np.eye(12))])
    for information, matrix in (("average", oracle.average_information), ("expected", oracle.expected_information)):
        error, df, _, _ = Definition(oracle, fit.theta, np.linalg.inv(matrix(fit.theta))).kenward_roger(np.eye(2))
        table = fit.fixed_effects_table("kenward-roger", information)
        np.testing.assert_allclose(table["std_error"], error, rtol=1e-6)
        np.testing.assert_allclose(table["df"], df, rtol=1e-6)


def test_models_made_from_matrices():
    d = trial()
    X = np.column_stack([np.ones(len(d)), d["x"]])
    Z = np.eye(10)[d["g"]]
    fit = rb.MixedModel.from_matrices(d["y"], X, [Z], fixed_names=["one", "x"]).fit(progress=False)
    by_formula = rb.MixedModel("y ~ x + (1 | g)", d).fit(progress=False)
    np.testing.assert_allclose(fit.wald_tests().loc["x"], by_formula.wald_tests().loc["x"], rtol=1e-6)
    with pytest.raises(ModelError, match="made from matrices"):
        fit.marginal_means("x")


def test_tests_of_a_saved_fit(fit, tmp_path):
    fit.save(tmp_path / "fit")
    loaded = rb.load(tmp_path / "fit")
    for information in ("average", "observed", "expected"):
        np.testing.assert_allclose(
            loaded.wald_tests(df="kenward-roger", information=information).to_numpy(float),
            fit.wald_tests(df="kenward-roger", information=information).to_numpy(float),
            rtol=1e-6,
        )


def test_a_table_of_weights_and_names(fit):
    by_name = fit.test({"B": {"v[T.B]": 1}, "B - C": {"v[T.B]": 1, "v[T.C]": -1}})
    names = list(fit.fixed_effects.index)
    L = pd.DataFrame(0.0, index=["B", "B - C"], columns=names)
    L.loc["B", "v[T.B]"] = L.loc["B - C", "v[T.B]"] = 1.0
    L.loc["B - C", "v[T.C]"] = -1.0
    for given in (L, L.to_numpy()):
        other = fit.test(given)
        np.testing.assert_allclose(by_name.table, other.table, rtol=1e-12)
        np.testing.assert_allclose(by_name.joint, other.joint, rtol=1e-12)
    single = fit.test({"v[T.B]": 1, "v[T.C]": -1}, rhs=0.5)
    row = single.table.iloc[0]
    assert row["t"] == pytest.approx((row["estimate"] - 0.5) / row["std_error"]) and single.joint["F"] == pytest.approx(
        row["t"] ** 2
    )
    assert single.table.index[0] == "v[T.B] -v[T.C]"
