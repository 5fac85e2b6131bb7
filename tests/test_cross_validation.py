"""Cross-validation: the closed forms against models of the other records, solved or fitted anew."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

VARIANCES = {"vm(id, G)": 1.2, "herd": 0.4, "residual": 0.8}
FORMULA = "y ~ x + sex + (1 | vm(id, G)) + (1 | herd)"


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(11)
    n = 40
    L = rng.normal(size=(n, 60)) / np.sqrt(60)
    K = pd.DataFrame(L @ L.T + 0.05 * np.eye(n), index=np.arange(n), columns=np.arange(n))
    u = np.linalg.cholesky(K) @ rng.normal(size=n)
    who = np.r_[0:36, 3, 7, 7]
    frame = pd.DataFrame(
        {
            "id": who,
            "x": rng.normal(size=39),
            "sex": np.where(rng.random(39) < 0.5, "f", "m"),
            "herd": rng.integers(0, 5, 39),
            "w": rng.uniform(0.5, 2.0, 39),
            "y": u[who] + 0.5 * rng.normal(size=39) + 3,
        }
    )
    return frame, K


def model(data, weights=None, rows=None):
    frame, K = data
    return rb.MixedModel(FORMULA, frame if rows is None else frame.loc[rows], {"G": K}, weights=weights)


def by_removal(data, folds, weights=None, variances=VARIANCES):
    """ŷ and û of the term for each record, from a model of the records of the other folds."""
    frame, _ = data
    prediction, blup = np.empty(len(frame)), np.empty(len(frame))
    for f in np.unique(folds):
        own = folds == f
        other = model(data, weights, ~own).solve(variances)
        prediction[own] = other.predict(frame[own], new_levels="population", se=False)["prediction"]
        blup[own] = other.blup("vm(id, G)")["Intercept"].loc[frame["id"][own]]
    return prediction, blup


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("folds", ["loo", 4])
def test_equals_solving_without_the_fold(data, folds, weights):
    solved = model(data, weights).solve(VARIANCES)
    found = rb.cross_validate(solved, folds, seed=5)
    labels = found.predictions["fold"].to_numpy()
    prediction, blup = by_removal(data, labels, weights)
    np.testing.assert_allclose(found.predictions["predicted"], prediction, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(found.predictions["observed"], data[0]["y"])
    of_term = rb.cross_validate(solved, folds, term="vm(id, G)", seed=5).predictions
    np.testing.assert_array_equal(of_term["fold"], labels)
    np.testing.assert_allclose(of_term["predicted"], blup, rtol=1e-9, atol=1e-10)
    fixed = solved.predict(include=[], se=False)["prediction"]
    np.testing.assert_allclose(of_term["observed"], data[0]["y"] - fixed, rtol=1e-12, atol=1e-12)


def test_the_sparse_engine_predicts_alike(data):
    frame, K = data
    pair = [rb.MixedModel(FORMULA, frame, {"G": K}, engine=e).solve(VARIANCES) for e in ("dense", "sparse")]
    a, b = (rb.cross_validate(s, 6, term="herd").predictions for s in pair)
    np.testing.assert_allclose(a["predicted"], b["predicted"], rtol=1e-9, atol=1e-12)


def test_statistics(data):
    found = rb.cross_validate(model(data).solve(VARIANCES), 3, term="vm(id, G)", h2=0.36)
    table = found.predictions
    one = table[table["fold"] == 2]
    row = found.folds.loc[2]
    correlation = np.corrcoef(one["observed"], one["predicted"])[0, 1]
    assert row["predictive_ability"] == pytest.approx(correlation, rel=1e-12)
    assert row["accuracy"] == pytest.approx(correlation / 0.6, rel=1e-12)
    assert row["bias"] == pytest.approx(np.polyfit(one["predicted"], one["observed"], 1)[0], rel=1e-10)
    assert row["mse"] == pytest.approx(np.mean((one["observed"] - one["predicted"]) ** 2), rel=1e-12)
    assert row["n"] == row["predicted"] == len(one) == 13
    assert found.summary.loc["mse", "mean"] == pytest.approx(found.folds["mse"].mean())
    pooled = np.corrcoef(table["observed"], table["predicted"])[0, 1]
    assert found.summary.loc["predictive_ability", "pooled"] == pytest.approx(pooled)
    assert "3 folds, 39 records predicted" in repr(found)


def test_heritability_of_a_record(data):
    frame, K = data
    found = rb.cross_validate(model(data, "w").solve(VARIANCES), 3, term="vm(id, G)")
    genetic = 1.2 * np.diag(K)[frame["id"]].mean()
    assert found.h2 == pytest.approx(genetic / (genetic + 0.4 + 0.8 * (1 / frame["w"]).mean()), rel=1e-12)
    assert np.isnan(rb.cross_validate(model(data).solve(VARIANCES), 3).h2)


def test_groups_stay_together(data):
    frame, _ = data
    solved = model(data).solve(VARIANCES)
    found = rb.cross_validate(solved, 5, groups="id", term="vm(id, G)").predictions
    assert found.groupby(frame["id"])["fold"].nunique().max() == 1
    assert sorted(found.groupby("fold").apply(lambda t: frame["id"][t.index].nunique())) == [7, 7, 7, 7, 8]
    _, blup = by_removal(data, found["fold"].to_numpy())
    np.testing.assert_allclose(found["predicted"], blup, rtol=1e-9, atol=1e-10)
    herds = rb.cross_validate(solved, "loo", groups=frame["herd"])
    assert len(herds.folds) == frame["herd"].nunique()
    given = rb.cross_validate(solved, frame["herd"].map("h{}".format))
    np.testing.assert_allclose(given.predictions["predicted"], herds.predictions["predicted"], rtol=1e-12)
    assert list(given.folds.index) == [f"h{k}" for k in range(5)]


def test_folds_are_random_by_seed(data):
    solved = model(data).solve(VARIANCES)
    a, b, c = (rb.cross_validate(solved, 4, seed=s).predictions for s in (1, 1, 2))
    pd.testing.assert_frame_equal(a, b)
    assert (a["fold"] != c["fold"]).any()
    assert a["fold"].value_counts().between(9, 10).all()


def test_a_record_that_alone_tells_of_a_fixed_effect(data):
    frame, K = data
    frame = frame.assign(sex=np.where(np.arange(39) == 4, "other", frame["sex"]))
    solved = rb.MixedModel(FORMULA, frame, {"G": K}).solve(VARIANCES)
    with pytest.warns(rb.EstimabilityWarning, match=r"1 of 39 records.*row\(s\) 4\..*'sex\[T.other\]' is zero"):
        found = rb.cross_validate(solved, "loo")
    assert np.flatnonzero(found.predictions["predicted"].isna()).tolist() == [4]
    assert found.summary.loc["mse", "pooled"] == pytest.approx(
        np.mean((found.predictions["observed"] - found.predictions["predicted"]).drop(4) ** 2)
    )
    # In a larger fold the records beside it are predicted as without it.
    folds = np.arange(39) % 3
    with pytest.warns(rb.EstimabilityWarning, match=r"1 of 39 records.*row\(s\) 4\."):
        large = rb.cross_validate(solved, folds).predictions
    own = (folds == 1) & (np.arange(39) != 4)
    other = rb.MixedModel(FORMULA, frame[folds != 1], {"G": K}).solve(VARIANCES)
    expected = other.predict(frame[own], new_levels="population", se=False)["prediction"]
    np.testing.assert_allclose(large["predicted"][own], expected, rtol=1e-9)
    assert np.isnan(large["predicted"][4])
    of_term = rb.cross_validate(solved, folds, term="vm(id, G)").predictions["predicted"]
    np.testing.assert_allclose(
        of_term[folds == 1], other.blup("vm(id, G)")["Intercept"].loc[frame["id"][folds == 1]], rtol=1e-8, atol=1e-10
    )


def test_refit_estimates_without_the_fold(data, capsys):
    frame, K = data
    formula = "y ~ x + sex + (1 | vm(id, G))"
    fitted = rb.MixedModel(formula, frame, {"G": K}, weights="w").fit()
    found = rb.cross_validate(fitted, 3, refit=True, progress=True)
    assert "fold 3 of 3: 13 records held out; converged" in capsys.readouterr().out
    for f, own in found.predictions.groupby("fold"):
        other = rb.MixedModel(formula, frame.drop(own.index), {"G": K}, weights="w").fit()
        expected = other.predict(frame.loc[own.index], new_levels="population", se=False)["prediction"]
        np.testing.assert_allclose(own["predicted"], expected, rtol=1e-9)
        assert found.folds.loc[f, "converged"] == other.converged
    fixed = rb.cross_validate(fitted, 3)
    assert not np.allclose(fixed.predictions["predicted"], found.predictions["predicted"])


def test_a_model_from_matrices_and_one_not_fitted_yet(data):
    frame, K = data
    Z = np.eye(40)[frame["id"]]
    X = np.column_stack([np.ones(39), frame["x"]])
    matrices = rb.MixedModel.from_matrices(frame["y"], X, [Z], [K.to_numpy()])
    formula = rb.MixedModel("y ~ x + (1 | vm(id, G))", frame, {"G": K})
    for refit in (False, True):
        a, b = (rb.cross_validate(m, 3, refit=refit) for m in (matrices, formula))
        np.testing.assert_allclose(a.predictions["predicted"], b.predictions["predicted"], rtol=1e-5)


def test_a_field_with_plots_missing():
    """ŷ includes what neighbours tell of the residual: against V by hand."""
    rng = np.random.default_rng(9)
    frame = pd.DataFrame([(r, c) for r in range(5) for c in range(6)], columns=["row", "col"]).drop([3, 11, 12])
    frame = frame.reset_index(drop=True).assign(g=rng.integers(0, 9, 27), y=rng.normal(size=27))
    built = rb.MixedModel("y ~ 1 + (1 | g)", frame, residual="ar1(row):ar1(col)")
    names = [name for term, name in built.specification.parameters.pairs if term == "residual"]
    residual = {name: 1.3 if "var" in name else 0.4 if "row" in name else 0.6 for name in names}
    variances = {"g": 0.5, "residual": residual}
    found = rb.cross_validate(built.solve(variances), 4).predictions
    gap = [np.abs(np.subtract.outer(frame[c].to_numpy(), frame[c].to_numpy())) for c in ("row", "col")]
    V = 1.3 * 0.4 ** gap[0] * 0.6 ** gap[1] + 0.5 * np.equal.outer(frame["g"].to_numpy(), frame["g"].to_numpy())
    y = frame["y"].to_numpy()
    for f in range(1, 5):
        h = (found["fold"] == f).to_numpy()
        Vi = np.linalg.inv(V[np.ix_(~h, ~h)])
        mu = np.sum(Vi @ y[~h]) / np.sum(Vi)
        np.testing.assert_allclose(
            found["predicted"][h], mu + V[np.ix_(h, ~h)] @ Vi @ (y[~h] - mu), rtol=1e-8, atol=1e-10
        )


def test_a_fold_larger_than_a_chunk(data, monkeypatch):
    solved = model(data).solve(VARIANCES)
    for folds in ("loo", 3):
        whole = rb.cross_validate(solved, folds, term="herd").predictions
        with monkeypatch.context() as patch:
            patch.setattr("remlblup.fit.held_out.CHUNK", 5)
            chunked = rb.cross_validate(solved, folds, term="herd").predictions
        np.testing.assert_allclose(whole["predicted"], chunked["predicted"], rtol=1e-11, atol=1e-13)


def test_two_traits():
    """Cells of a bivariate model held out by animal, against the model without them."""
    rng = np.random.default_rng(2)
    ids = np.arange(1, 21)
    A = rb.Pedigree(ids, np.r_[[0] * 6, rng.integers(1, 4, 14)], np.r_[[0] * 6, rng.integers(4, 7, 14)])
    frame = pd.DataFrame({"animal": ids, "a": rng.normal(size=20), "b": rng.normal(size=20)})
    frame.loc[[2, 5], "a"] = np.nan
    formula = "c(a, b) ~ trait + us(trait | vm(animal, A))"
    S = np.array([[1.0, 0.3], [0.3, 0.6]])

    def solve(part):
        built = rb.MixedModel(formula, part, {"A": A}, residual="us(trait | units)")
        name = built.specification.random[0].name
        return name, built.solve({name: S, "residual": S / 2})

    name, solved = solve(frame)
    found = rb.cross_validate(solved, 4, groups="animal", term=name)
    table = found.predictions.assign(
        animal=solved.specification.records.frame["animal"].to_numpy(),
        trait=solved.specification.records.frame["trait"].to_numpy(),
    )
    for _, own in table.groupby("fold"):
        _, other = solve(frame[~frame["animal"].isin(own["animal"])])
        blup = other.blup(name)
        expected = [blup.iloc[list(blup.index).index(r.animal), ["a", "b"].index(r.trait)] for r in own.itertuples()]
        np.testing.assert_allclose(own["predicted"], expected, rtol=1e-8, atol=1e-10)


@pytest.fixture(scope="module")
def bivariate():
    """Two traits of other means and scales, some cells missing; wide rows with a fold and row labels of their own."""
    rng = np.random.default_rng(8)
    ids = np.arange(1, 31)
    A = rb.Pedigree(ids, np.r_[[0] * 6, rng.integers(1, 4, 24)], np.r_[[0] * 6, rng.integers(4, 7, 24)])
    frame = pd.DataFrame({"animal": ids, "a": rng.normal(size=30), "b": 500 + 40 * rng.normal(size=30)})
    frame = frame.assign(block=ids % 3).set_axis([f"r{k}" for k in ids])
    frame.loc[["r3", "r6"], "a"] = np.nan
    built = rb.MixedModel("c(a, b) ~ trait + us(trait | vm(animal, A))", frame, {"A": A}, residual="us(trait | units)")
    name = built.specification.random[0].name
    S = np.array([[1.0, 10.0], [10.0, 900.0]])
    return frame, name, built.solve({name: S, "residual": S / 2})


def test_statistics_by_trait(bivariate):
    _, _, solved = bivariate
    found = rb.cross_validate(solved, 3, groups="animal", seed=2)
    table = found.predictions
    assert list(found.summary.index.names) == ["trait", "statistic"]
    assert list(found.folds.index.names) == ["trait", "fold"]
    assert list(found.folds.loc["a"].index) == [1, 2, 3]
    for trait, n in (("a", 28), ("b", 30)):
        own = table.xs(trait, level="trait")
        assert len(own) == n == found.folds.loc[trait, "n"].sum()
        row = found.summary.loc[trait, "pooled"]
        assert row["predictive_ability"] == pytest.approx(np.corrcoef(own["observed"], own["predicted"])[0, 1])
        assert row["mse"] == pytest.approx(np.mean((own["observed"] - own["predicted"]) ** 2))
        assert row["bias"] == pytest.approx(np.polyfit(own["predicted"], own["observed"], 1)[0])
        one = own[own["fold"] == 2]
        expected = np.corrcoef(one["observed"], one["predicted"])[0, 1]
        assert found.folds.loc[(trait, 2), "predictive_ability"] == pytest.approx(expected)
    # Across traits the means alone would correlate.
    assert np.corrcoef(table["observed"], table["predicted"])[0, 1] > 0.95
    assert (found.summary.xs("predictive_ability", level="statistic")["pooled"] < 0.9).all()
    assert "3 folds, 58 records predicted" in repr(found)


def test_heritability_by_trait(bivariate):
    _, name, solved = bivariate
    assert all(np.isnan(h) for h in rb.cross_validate(solved, 3, term=name).h2.values())
    found = rb.cross_validate(solved, 3, term=name, h2={"a": 0.25, "b": 0.64})
    assert found.h2 == {"a": 0.25, "b": 0.64}
    for trait, root in (("a", 0.5), ("b", 0.8)):
        own = found.summary.loc[trait, "pooled"]
        assert own["accuracy"] == pytest.approx(own["predictive_ability"] / root)
    with pytest.raises(rb.OptionError, match="one number for each trait, 'a', 'b'; it has 'a'"):
        rb.cross_validate(solved, 3, term=name, h2={"a": 0.3})


def test_folds_of_a_column(data, bivariate):
    frame, K = data
    frame = frame.assign(fold=np.arange(39) % 4)
    solved = rb.MixedModel(FORMULA, frame, {"G": K}).solve(VARIANCES)
    pd.testing.assert_frame_equal(
        rb.cross_validate(solved, "fold").predictions, rb.cross_validate(solved, frame["fold"]).predictions
    )
    # Of several traits: both cells of a row, though the model does not read this column.
    wide, _, two = bivariate
    table = rb.cross_validate(two, "block").predictions
    assert table["fold"].tolist() == wide["block"].loc[table.index.get_level_values(0)].tolist()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folds": 2.5}, rb.OptionError, r"folds=2\.5 must be a whole number of folds, 'loo', a column"),
        ({"folds": None}, rb.OptionError, "folds=None must be a whole number"),
        ({"folds": True}, rb.OptionError, "folds=True must be a whole number"),
        ({"folds": "ten"}, rb.OptionError, "folds='ten' is neither 'loo' nor a column of the data"),
        ({"folds": 1}, rb.OptionError, "folds=1 must be from 2 to the number of records, 39"),
        ({"folds": "ten"}, rb.OptionError, "folds='ten'"),
        ({"folds": [1, 2]}, rb.DataError, "2 values for 39 records"),
        ({"folds": [1] * 39}, rb.OptionError, "at least two folds"),
        ({"groups": "farm"}, rb.DataError, "'farm' is not a column"),
        ({"folds": 9, "groups": "herd"}, rb.OptionError, "number of groups, 5"),
        ({"refit": True}, rb.OptionError, "refit=True needs a model or a fit"),
        ({"h2": 2}, rb.OptionError, "h2=2"),
        ({"term": "dam"}, rb.VarianceError, "dam"),
        ({"folds": [None] * 39}, rb.DataError, "folds= is missing for the records 0, 1"),
    ],
)
def test_errors(data, options, error, message):
    with pytest.raises(error, match=message):
        rb.cross_validate(model(data).solve(VARIANCES), **options)


def test_what_was_held_is_held_in_every_fold():
    rng = np.random.default_rng(3)
    g = rng.integers(0, 10, 80)
    d = pd.DataFrame({"y": rng.normal(size=80) + rng.normal(size=10)[g], "g": g.astype(str)})
    fit = rb.MixedModel("y ~ 1 + (1 | g)", d).fit(fix={"g": 25.0, "residual": 0.01})
    refitted, closed = (rb.cross_validate(fit, 5, refit=refit).predictions["predicted"] for refit in (True, False))
    np.testing.assert_allclose(refitted, closed, atol=1e-9)


@pytest.mark.parametrize("engine", ["sparse", "dense", "spectral"])
@pytest.mark.parametrize("ratio", [1e-9, 1e-11])
def test_records_almost_without_error(engine, ratio):
    rng = np.random.default_rng(5)
    M = rng.normal(size=(30, 60))
    K = M @ M.T / 60
    d = pd.DataFrame({"g": np.arange(30), "y": rng.normal(size=30)})
    fit = rb.MixedModel("y ~ 1 + (1 | vm(g, K))", d, {"K": (K, d["g"])}, engine=engine).fit(
        fix={"vm(g, K)": 1.0, "residual": ratio}
    )
    found = rb.cross_validate(fit, "loo").predictions["predicted"].to_numpy()
    V, X, y = K + ratio * np.eye(30), np.ones((30, 1)), d["y"].to_numpy()
    expected = np.empty(30)
    for i in range(30):
        rest = np.delete(np.arange(30), i)
        W = np.linalg.inv(V[np.ix_(rest, rest)])
        mean = float((X[rest].T @ W @ y[rest])[0] / (X[rest].T @ W @ X[rest])[0, 0])
        expected[i] = mean + V[i, rest] @ W @ (y[rest] - mean)
    np.testing.assert_allclose(found, expected, atol=1e-3 if engine == "sparse" else 1e-7)


def test_folds_named_by_labels_of_several_types(data):
    """There is no order among them."""
    solved, alike = model(data).solve(VARIANCES), np.arange(39) % 3
    mixed = [["a", 2.5, 1][k] for k in alike]
    found, plain = (rb.cross_validate(solved, folds).predictions["predicted"] for folds in (mixed, alike))
    np.testing.assert_allclose(found, plain, rtol=1e-10)
