"""What the data cannot estimate is missing, and said: against ranks and generalised inverses of one-hot designs."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.linalg.rank import gram
from remlblup.linalg.rank.independent import independent_columns
from remlblup.model import design

GENOTYPES, SITES = "ABCD", ("E1", "E2")


def disconnected() -> pd.DataFrame:
    """Genotypes A and B at one site only, C and D at the other."""
    return pd.DataFrame(
        {
            "gen": list("AABBCCDD"),
            "env": ["E1"] * 4 + ["E2"] * 4,
            "blk": list("xyxyzwzw"),
            "y": [1.0, 2, 3, 5, 9, 8, 12, 10],
        }
    )


def one_hot(d: pd.DataFrame, factors: tuple[str, ...], interaction: bool = False) -> np.ndarray:
    """Intercept, an indicator of every level, and of every cell: as many columns as there are, none left out."""
    parts = [np.ones((len(d), 1))]
    levels = {"gen": list(GENOTYPES), "env": list(SITES)}
    own = [(d[f].to_numpy()[:, None] == np.array(levels[f])).astype(float) for f in factors]
    parts += own
    if interaction:
        parts.append(np.einsum("ni,nj->nij", *own).reshape(len(d), -1))
    return np.hstack(parts)


def every_cell() -> pd.DataFrame:
    return pd.DataFrame([(g, e, "x") for g in GENOTYPES for e in SITES], columns=["gen", "env", "blk"])


CODINGS = {
    "gen + env": False, "env + gen": False, "0 + gen + env": False, "0 + env + gen": False,
    "C(gen, contr.sum) + C(env, contr.sum)": False, "C(env, contr.helmert) + C(gen, contr.poly)": False,
    "gen * env": True, "env * gen": True, "0 + gen:env": True, "env / gen": True, "C(gen, contr.sum) * env": True,
}  # fmt: skip


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("records", [10_000, 0], ids=["dense X", "sparse X"])
@pytest.mark.parametrize("fixed", CODINGS)
def test_the_same_cells_are_estimable_in_every_order_and_coding(fixed, records, engine, monkeypatch):
    monkeypatch.setattr(design, "DENSE_RECORDS", records)
    d, new = disconnected(), every_cell()
    solved = rb.MixedModel(f"y ~ {fixed} + (1 | blk)", d, engine=engine).solve({"blk": 2.0, "residual": 1.0})
    with pytest.warns(rb.EstimabilityWarning, match=r"4 of 8 predictions.*row\(s\) 1, 3, 4, 6\. .*gen.*env|env.*gen"):
        table = solved.predict(new, include=[])
    X, x = (one_hot(rows, ("gen", "env"), CODINGS[fixed]) for rows in (d, new))
    known = np.array([np.linalg.matrix_rank(np.vstack([X, row])) == np.linalg.matrix_rank(X) for row in x])
    Z = (d["blk"].to_numpy()[:, None] == np.unique(d["blk"])).astype(float)
    V = np.eye(len(d)) + 2.0 * Z @ Z.T
    g_inverse = np.linalg.pinv(X.T @ np.linalg.solve(V, X))
    beta = g_inverse @ X.T @ np.linalg.solve(V, d["y"].to_numpy())
    np.testing.assert_array_equal(table["prediction"].notna(), known)
    np.testing.assert_array_equal(table["std_error"].notna(), known)
    np.testing.assert_allclose(table["prediction"][known], x[known] @ beta, rtol=1e-10)
    np.testing.assert_allclose(table["std_error"][known] ** 2, np.diag(x @ g_inverse @ x.T)[known], rtol=1e-9)


@pytest.mark.parametrize("engine", ["spectral", "dense", "sparse"])
def test_every_engine_judges_alike(engine):
    d = disconnected()
    K = 0.5 * np.eye(4) + 0.5
    model = rb.MixedModel("y ~ env + gen + (1 | vm(blk, K))", d, {"K": (K, list("xyzw"))}, engine=engine)
    with pytest.warns(rb.EstimabilityWarning, match=r"row\(s\) 1, 3, 4, 6"):
        assert model.fit(progress=False).predict(every_cell())["prediction"].isna().sum() == 4


def test_missing_quietly_or_refused():
    d = disconnected()
    fit = rb.MixedModel("y ~ gen + env + (1 | blk)", d).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = fit.predict(every_cell(), nonestimable="nan")
        assert fit.predict(d)["prediction"].notna().all()  # no word where there is no need
        assert fit.predict()["prediction"].notna().all()
    assert table["prediction"].isna().tolist() == [False, True, False, True, True, False, True, False]
    with pytest.raises(rb.ModelError, match=r"row\(s\) 1, 3.*'env\[T.E2\]' is a combination of"):
        fit.predict(every_cell(), nonestimable="error")
    with pytest.raises(rb.OptionError, match="nonestimable='quiet'"):
        fit.predict(d, nonestimable="quiet")


def test_an_index_of_names_is_named():
    fit = rb.MixedModel("y ~ gen + env + (1 | blk)", disconnected()).fit()
    new = every_cell().set_axis([f"plot {k}" for k in range(8)])
    with pytest.warns(rb.EstimabilityWarning, match="'plot 1', 'plot 3'"):
        fit.predict(new)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("order", ["a + b + total", "total + b + a", "0 + b + total + a"])
def test_collinear_covariates_that_part_in_the_new_data(order, unit):
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"a": unit * rng.normal(2000, 5, 30), "b": rng.normal(size=30), "g": np.tile(list("xyz"), 10)})
    d["total"] = d["a"] / unit + d["b"]
    d["y"] = d["total"] + rng.normal(size=30)
    solved = rb.MixedModel(f"y ~ {order} + (1 | g)", d).solve({"g": 1.0, "residual": 1.0})
    new = pd.DataFrame({"a": unit * np.array([2050.0, 2050.0, 2050.0]), "b": [0.5, 0.5, 0.5]}).assign(g="x")
    new["total"] = [2050.5, 2050.6, 2000.0]
    with pytest.warns(rb.EstimabilityWarning, match=r"2 of 3 predictions.*row\(s\) 1, 2"):
        table = solved.predict(new)
    assert table["prediction"].notna().tolist() == [True, False, False]
    simple = rb.MixedModel(f"y ~ {'' if order[0] != '0' else '0 + '}b + total + (1 | g)", d)
    expected = simple.solve({"g": 1.0, "residual": 1.0}).predict(new)
    np.testing.assert_allclose(table.iloc[0], expected.iloc[0], rtol=1e-7)


def test_rounding_of_a_dependency_is_no_violation():
    rng = np.random.default_rng(5)
    x = np.r_[1.0 + 1e-9 * rng.normal(size=5), rng.uniform(0.5, 20, 25)]
    d = pd.DataFrame({"x": x, "y": rng.normal(size=30), "g": np.tile(list("xyz"), 10)})
    fit = rb.MixedModel("y ~ log(x) + I(log(x**3)) + I(log(x) / 7) + (1 | g)", d).fit()
    assert len(fit.aliased) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit.predict(d.assign(x=d["x"] * 1.3))["prediction"].notna().all()
        assert fit.predict(d)["prediction"].notna().all()


@pytest.mark.parametrize("absent", [0, 1, 2])
@pytest.mark.parametrize("fixed", ["site", "0 + site", "C(site, contr.sum)", "x + site", "site * x"])
def test_a_category_without_records(absent, fixed):
    rng = np.random.default_rng(6)
    sites = ["a", "b", "c"]
    seen = [s for k, s in enumerate(sites) if k != absent]
    d = pd.DataFrame(
        {"site": np.repeat(seen, 8), "x": rng.normal(size=16), "g": np.tile(list("pqrs"), 4), "y": rng.normal(size=16)}
    )
    d["site"] = pd.Categorical(d["site"], categories=sites)
    fit = rb.MixedModel(f"y ~ {fixed} + (1 | g)", d).fit()
    new = pd.DataFrame({"site": pd.Categorical(sites, categories=sites), "x": 0.0, "g": "p"})
    with pytest.warns(rb.EstimabilityWarning, match=rf"row\(s\) {absent}\."):
        table = fit.predict(new)
    assert table["prediction"].isna().tolist() == [k == absent for k in range(3)]


@pytest.mark.parametrize("fixed", ["trait + trait:sex", "0 + trait + trait:sex", "trait * sex", "sex + trait:sex"])
@pytest.mark.parametrize("never", ["M", "F"])
def test_a_trait_never_recorded_for_a_sex(fixed, never):
    rng = np.random.default_rng(7)
    d = pd.DataFrame(
        {
            "sex": np.tile(["M", "F"], 30),
            "sire": np.repeat(np.arange(10), 6),
            "weight": rng.normal(30, 3, 60),
            "fleece": rng.normal(10, 2, 60),
        }
    )
    d.loc[d["sex"] == never, "fleece"] = np.nan
    model = rb.MixedModel(f"c(weight, fleece) ~ {fixed} + diag(trait | sire)", d, residual="us(trait | units)")
    variances = {"diag(trait | sire)": np.diag([1.0, 0.5]), "residual": [[8.0, 1.0], [1.0, 4.0]]}
    solved = model.solve(variances)
    with pytest.warns(rb.EstimabilityWarning, match="1 of 4 predictions.*'fleece'"):
        table = solved.predict(pd.DataFrame({"sex": ["M", "F"], "sire": 0}), include=[])
    missing = table["prediction"].isna()
    assert missing[missing].index.tolist() == [("MF".index(never), "fleece")]


def random_layout(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One-hot columns of three factors, some cells and some levels without a record; rows of X and new ones."""
    rng = np.random.default_rng(seed)
    cells = np.array([(a, b, c) for a in range(4) for b in range(4) for c in range(3)])
    own = cells[rng.random(len(cells)) < 0.25]

    def hot(rows: np.ndarray) -> np.ndarray:
        third = np.eye(16)[4 * rows[:, 0] + rows[:, 1]]
        return np.hstack([np.ones((len(rows), 1)), *[np.eye(4)[rows[:, k]] for k in range(3)], third])

    return hot(own), hot(cells)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("route", ["dense", "sparse", "wide"])
def test_rows_of_random_layouts(seed, route, monkeypatch):
    import scipy.sparse as sp

    X, new = random_layout(seed)
    rng = np.random.default_rng(seed)
    order, unit = rng.permutation(X.shape[1]), 10.0 ** rng.integers(-6, 7, X.shape[1])
    monkeypatch.setattr(gram, "DENSE_COLUMNS", 0 if route == "wide" else 100)
    given = X[:, order] * unit
    null = independent_columns(given if route == "dense" else sp.csr_array(given)).null
    rank = np.linalg.matrix_rank(X)
    assert null.vectors.shape[1] == X.shape[1] - rank
    expected = [np.linalg.matrix_rank(np.vstack([X, row])) > rank for row in new]
    crossed = null.crossed(new[:, order] * unit)
    np.testing.assert_array_equal(np.diff(crossed.indptr) > 0, expected)
    assert any(expected) and not all(expected)
    assert null.crossed(given).nnz == 0


IDS = ["a", "b", "c", "d", "e", "f", "g", "h"]
SIRES = ["G1", "G2", "a", "a", "c", "c", "G1", "e"]
DAMS = ["G1", "G1", "b", "G2", "d", "b", "d", "f"]


def grouped(groups: list[str]) -> rb.Pedigree:
    return rb.Pedigree(IDS, SIRES, DAMS, groups=groups)


def of_animals() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame({"id": [*"cdefghcdefgh", *"aaa"], "x": rng.normal(size=15), "y": rng.normal(size=15)})


VARIANCES = {"vm(id, A)": 2.0, "residual": 3.0}


@pytest.mark.parametrize("groups", [["G1", "G2"], ["G2", "G1"]])
@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_groups_of_unknown_parents(groups, engine):
    model = rb.MixedModel("y ~ x + (1 | vm(id, A))", of_animals(), {"A": grouped(groups)}, engine=engine)
    solved = model.solve(VARIANCES)
    new = pd.DataFrame({"id": ["b", "h"], "x": [0.0, 1.0]})
    assert solved.predict(new)["prediction"].notna().all()
    for rows in (new, None):  # a mean without groups is that of the group set aside
        with pytest.warns(rb.EstimabilityWarning, match=r"'vm\(id, A\): G\d' is a combination of 'Intercept'"):
            assert solved.predict(rows, include=[])["prediction"].isna().all()
    pair = solved.contrasts("vm(id, A)", [("h", "a")])
    other = rb.MixedModel("y ~ x + (1 | vm(id, A))", of_animals(), {"A": grouped(groups[::-1])}).solve(VARIANCES)
    np.testing.assert_allclose(pair, other.contrasts("vm(id, A)", [("h", "a")]), rtol=1e-8)
    np.testing.assert_allclose(solved.predict(new), other.predict(new), rtol=1e-8)
    with pytest.warns(rb.EstimabilityWarning, match=r"1 of 2 contrasts.*'alone'"):
        table = solved.contrasts("vm(id, A)", {"alone": {"h": 1}, "pair": {"h": 1, "a": -1}})
    assert table.loc["alone", ["estimate", "std_error", "pev", "reliability"]].isna().all()
    assert table.loc["pair"].notna().all()
    with pytest.raises(rb.ModelError, match="'alone'"):
        solved.contrasts("vm(id, A)", {"alone": {"h": 1}}, nonestimable="error")


def test_groups_that_are_not_confounded_are_estimable():
    solved = rb.MixedModel("y ~ 0 + x + (1 | vm(id, A))", of_animals(), {"A": grouped(["G1", "G2"])}).solve(VARIANCES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert solved.predict(include=[])["prediction"].notna().all()
        assert solved.contrasts("vm(id, A)", {"alone": {"h": 1}})["estimate"].notna().all()


def test_a_saved_model_from_matrices_keeps_its_groups(tmp_path):
    d, pedigree = of_animals(), grouped(["G1", "G2"])
    X = np.column_stack([np.ones(15), d["x"], 2 * d["x"]])
    Z = (d["id"].to_numpy()[:, None] == np.array([str(v) for v in pedigree.labels])).astype(float)
    fit = rb.MixedModel.from_matrices(d["y"], X, [Z], [pedigree], names=["animal"]).fit(fix={"animal": 2.0})
    back = rb.load(fit.save(tmp_path / "fit"))
    assert back.aliased == fit.aliased == ("x2", "animal: G2")
    np.testing.assert_allclose(back.random_effects["estimate"], fit.random_effects["estimate"], rtol=1e-8)
    for f in (fit, back):
        with pytest.warns(rb.EstimabilityWarning, match="'animal: G2' is a combination of"):
            assert f.contrasts("animal", {"alone": {"h": 1}})["estimate"].isna().all()
        assert f.contrasts("animal", [("h", "a")])["estimate"].notna().all()


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("refit", [False, True])
def test_cross_validation_says_why_records_have_no_prediction(engine, refit):
    rng = np.random.default_rng(8)
    d = pd.DataFrame({"env": np.repeat(list("abc"), 8), "g": np.tile(list("pqrs"), 6), "y": rng.normal(size=24)})
    d["y"] += d["g"].map(dict(zip("pqrs", (0, 1, 3, 5), strict=True)))
    fit = rb.MixedModel("y ~ env + (1 | g)", d, engine=engine).fit()
    with pytest.warns(rb.EstimabilityWarning, match=r"24 of 24 records.*row\(s\) 0, 1.*'env\[T.c\]' is a combination"):
        result = rb.cross_validate(fit, folds="env", refit=refit)
    assert result.predictions["predicted"].isna().all()
    assert "24 not: the other folds do not determine their fixed effects" in repr(result)
    own = np.tile(["first", "last"], 12)
    own[16:] = "last"
    with pytest.warns(rb.EstimabilityWarning, match=r"8 of 24 records.*row\(s\) 16, 17.*'env\[T.c\]' is zero"):
        result = rb.cross_validate(fit, folds=own, refit=refit)
    assert result.predictions["predicted"].isna().tolist() == [False] * 16 + [True] * 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rb.cross_validate(fit, folds="g").predictions["predicted"].notna().all()
