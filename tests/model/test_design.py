"""X and Z: the columns of each term, aliasing, dense against sparse, and ill-conditioned covariates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from oracle import dummies

import remlblup as rb
from remlblup.errors import DataError, FormulaError, ModelError
from remlblup.model import design, random_terms
from remlblup.model.incidence import Incidence


def frame(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "a": rng.choice(["a1", "a2", "a3"], n),
            "b": rng.choice(["b1", "b2"], n),
            "g": rng.choice(["g1", "g2", "g3", "g4"], n),
            "year": rng.integers(2001, 2009, n),
            "odd name": rng.normal(size=n),
        }
    )


def fixed(formula: str, data=None):
    return rb.MixedModel(formula, frame() if data is None else data).specification.fixed


def spans_equal(A, B) -> bool:
    """Whether two matrices have the same column space."""
    rank = np.linalg.matrix_rank
    return rank(A) == rank(B) == rank(np.hstack([A, B]))


def levels(column) -> np.ndarray:
    return dummies(np.unique(column, return_inverse=True)[1])


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("y ~ 1", ["Intercept"]),
        ("y ~ x", ["Intercept", "x"]),
        ("y ~ 0 + x", ["x"]),
        ("y ~ x - 1", ["x"]),
        ("y ~ a", ["Intercept", "a[T.a2]", "a[T.a3]"]),
        ("y ~ 0 + a", ["a[a1]", "a[a2]", "a[a3]"]),
        ("y ~ `odd name`", ["Intercept", "odd name"]),
    ],
)
def test_names_of_the_fixed_effects(formula, names):
    assert list(fixed(formula).names) == names


def test_fixed_formulas_span_what_they_say():
    d = frame()
    one, x = np.ones((len(d), 1)), d[["x"]].to_numpy()
    A, B, Y = levels(d["a"]), levels(d["b"]), levels(d["year"])
    cells = np.einsum("ni,nj->nij", A, B).reshape(len(d), -1)
    for formula, X in {
        "y ~ a * b": cells,
        "y ~ a + b": np.hstack([A, B]),
        "y ~ a:x": np.hstack([one, A * x]),
        "y ~ a * x": np.hstack([A, A * x]),
        "y ~ C(year)": Y,
        "y ~ poly(x, 2)": np.hstack([one, x, x**2]),
        "y ~ x + I(x**2) + I(x**3)": np.hstack([one, x, x**2, x**3]),
        "y ~ (a + b)**2": cells,
        "y ~ np.exp(x)": np.hstack([one, np.exp(x)]),
    }.items():
        assert spans_equal(fixed(formula).matrix, X), formula


def test_spline_basis_is_a_cubic_with_one_knot():
    d = frame()
    X = fixed("y ~ bs(x, df=4)").matrix
    x, knot = d["x"].to_numpy(), np.median(d["x"])
    expected = np.column_stack([np.ones(len(x)), x, x**2, x**3, np.maximum(x - knot, 0) ** 3])
    assert X.shape[1] == 5
    assert spans_equal(X, expected)


def test_dense_and_sparse_paths_give_the_same_design(monkeypatch):
    formula = "y ~ a * b + x + C(year) + (1 | g)"
    dense = fixed(formula)
    monkeypatch.setattr(design, "DENSE_RECORDS", 10)
    sparse = fixed(formula)
    assert not sp.issparse(dense.matrix)
    assert sp.issparse(sparse.matrix)
    assert dense.names == sparse.names
    assert dense.aliased == sparse.aliased
    assert np.array_equal(dense.matrix, sparse.matrix.toarray())


def test_dense_and_sparse_paths_give_the_same_solution(monkeypatch):
    formula, at = "y ~ a * b + x + C(year) + a:g + (1 | g)", {"g": 0.7, "residual": 1.1}
    dense = rb.MixedModel(formula, frame()).solve(at)
    monkeypatch.setattr(design, "DENSE_RECORDS", 10)
    sparse = rb.MixedModel(formula, frame()).solve(at)
    assert dense.loglik == pytest.approx(sparse.loglik, rel=1e-12)
    pd.testing.assert_frame_equal(dense.fixed_effects, sparse.fixed_effects, rtol=1e-9, atol=1e-10)


def test_aliased_columns_are_the_later_ones_and_named():
    d = frame().assign(twice=lambda d: 2 * d["x"] + 1, zero=0.0)
    f = fixed("y ~ x + a + twice + b + zero", d)
    assert f.aliased == ("twice", "zero")
    assert list(f.names) == ["Intercept", "x", "a[T.a2]", "a[T.a3]", "b[T.b2]"]
    assert f.matrix.shape[1] == f.p == 5
    model = rb.MixedModel("y ~ x + a + twice + b + zero", d)
    plain = rb.MixedModel("y ~ x + a + b", d)
    assert model.loglik({"residual": 1.0}) == pytest.approx(plain.loglik({"residual": 1.0}), rel=1e-13)


def test_an_empty_cell_of_an_interaction_is_aliased():
    d = frame()
    d = d[~((d["a"] == "a3") & (d["b"] == "b2"))]
    f = fixed("y ~ a * b", d)
    assert f.aliased == ("a[T.a3]:b[T.b2]",)
    assert f.p == 5


def test_nested_fixed_factors():
    d = frame().assign(block=lambda d: d["a"] + d["b"])
    f = fixed("y ~ a + b + block", d)
    assert f.p == 6
    assert len(f.aliased) == 3


@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_year_and_its_square_are_fitted_as_by_qr(engine):
    rng = np.random.default_rng(1)
    year = np.repeat(np.arange(1990, 2020), 4).astype(float)
    t = year - 2005
    y = 3 + 0.2 * t - 0.01 * t**2 + rng.normal(0, 0.3, len(t))
    d = pd.DataFrame({"y": y, "year": year})
    fit = rb.MixedModel("y ~ year + I(year**2)", d, engine=engine).solve({"residual": 1.0})
    # The same curve from the centred covariate, expanded: y = b0 + b1 (year − 2005) + b2 (year − 2005)².
    Q, R = np.linalg.qr(np.column_stack([np.ones_like(t), t, t**2]))
    b0, b1, b2 = np.linalg.solve(R, Q.T @ y)
    expected = [b0 - 2005 * b1 + 2005**2 * b2, b1 - 2 * 2005 * b2, b2]
    np.testing.assert_allclose(fit.beta, expected, rtol=1e-7)
    np.testing.assert_allclose(fit.fitted, Q @ (Q.T @ y), rtol=1e-9)
    covariance = np.linalg.inv(R.T @ R)
    assert fit.fixed_effects["std_error"].iloc[2] == pytest.approx(np.sqrt(covariance[2, 2]), rel=1e-6)


def test_likelihood_of_an_ill_conditioned_fit_does_not_depend_on_the_path():
    rng = np.random.default_rng(1)
    year = np.repeat(np.arange(1990, 2020), 4).astype(float)
    d = pd.DataFrame({"y": rng.normal(size=len(year)), "year": year, "t": year - 2005, "g": np.tile([1, 2, 3, 4], 30)})
    at = {"g": 0.4, "residual": 1.0}
    raw = rb.MixedModel("y ~ year + I(year**2) + (1 | g)", d).solve(at)
    centred = rb.MixedModel("y ~ t + I(t**2) + (1 | g)", d).solve(at)
    # X differs by a unit triangular transform, which leaves |X'V⁻¹X| as it is.
    assert raw.loglik == pytest.approx(centred.loglik, rel=1e-9)
    assert raw.loglik_nlme == pytest.approx(centred.loglik_nlme, rel=1e-9)


# -- random terms --------------------------------------------------------------------------------


def random(formula: str, data=None):
    return rb.MixedModel(formula, frame() if data is None else data).specification.random


def test_slopes_multiply_the_incidence():
    d = frame()
    (term,) = random("y ~ 1 + (1 + x | g)", d)
    G = levels(d["g"])
    assert term.structure.effects == ("Intercept", "x")
    assert np.array_equal(term.columns[0].toarray(), G)
    assert np.array_equal(term.columns[1].toarray(), G * d[["x"]].to_numpy())
    np.testing.assert_allclose(term.moments, [[1, d["x"].mean()], [d["x"].mean(), np.mean(d["x"] ** 2)]])


@pytest.mark.parametrize("effects", ["0 + x", "x - 1", "-1 + x"])
def test_no_intercept_among_the_effects(effects):
    (term,) = random(f"y ~ 1 + ({effects} | g)")
    assert term.structure.effects == ("x",)


def test_a_bare_factor_in_a_structure_is_one_effect_per_level():
    d = frame()
    (term,) = random("y ~ 1 + diag(a | g)", d)
    assert term.t == 3
    total = sum(z.toarray() for z in term.columns)
    assert np.array_equal(total, levels(d["g"]))


def test_combination_of_factors_has_a_level_per_cell_that_occurs():
    d = frame()
    (term,) = random("y ~ 1 + (1 | a:g)", d)
    cells = d["a"] + ":" + d["g"]
    assert list(term.relationship.labels) == sorted(cells.unique())
    assert np.array_equal(term.columns[0].toarray(), levels(cells))


def test_labels_with_a_colon_do_not_merge_cells():
    d = frame().head(8).assign(a=["x:y", "x:y", "x", "x"] * 2, b=["z", "w", "y:z", "w"] * 2)
    with pytest.raises(rb.DataError, match="'a', 'b' contain ':'"):
        random("y ~ 1 + (1 | a:b)", d)
    assert random("y ~ 1 + (1 | a:b)", d.assign(b=d["b"].replace("y:z", "q")))[0].q == 4


def test_labels_that_differ_by_blanks_are_one_level():
    d = frame()
    d["g"] = [g + " " * (k % 2) for k, g in enumerate(d["g"])]
    solved = rb.MixedModel("y ~ x + (1 | g)", d).solve({"g": 1.0, "residual": 1.0})
    assert solved.random_effects["level"].is_unique
    np.testing.assert_allclose(solved.predict(d)["prediction"], solved.fitted)


def test_nested_is_the_sum_of_its_terms():
    d = frame()
    nested, apart = random("y ~ 1 + (1 | a/g)", d), random("y ~ 1 + (1 | a) + (1 | a:g)", d)
    for one, other in zip(nested, apart, strict=True):
        assert one.name == other.name
        assert np.array_equal(one.columns[0].toarray(), other.columns[0].toarray())


def test_random_covariates_of_any_expression():
    d = frame()
    (term,) = random("y ~ 1 + (poly(x, 2) || g)", d)
    assert term.t == 3
    Z = np.column_stack([z.sum(axis=1) for z in term.columns])
    assert spans_equal(Z, np.column_stack([np.ones(len(d)), d["x"], d["x"] ** 2]))


def test_relationship_levels_without_records_have_empty_columns():
    d = frame()
    labels = ["g9", "g4", "g3", "g2", "g1"]
    model = rb.MixedModel("y ~ 1 + (1 | vm(g, K))", d, {"K": (np.eye(5) + 0.1, labels)})
    Z = model.specification.random[0].columns[0].toarray()
    assert np.array_equal(Z[:, 0], np.zeros(len(d)))
    assert np.array_equal(Z[:, 1:], levels(d["g"])[:, ::-1])


@pytest.mark.parametrize(
    ("formula", "error", "culprit"),
    [
        ("y ~ nowhere", DataError, "nowhere"),
        ("nowhere ~ x", DataError, "nowhere"),
        ("y ~ (1 | nowhere)", DataError, "nowhere"),
        ("y ~ (1 + nowhere | g)", DataError, "nowhere"),
        ("y ~ log(x)", DataError, r"log\(x\)|np.log"),
        ("y ~ unknown_function(x)", FormulaError, "unknown_function"),
        ("y ~ (1 + unknown_function(x) | g)", FormulaError, "unknown_function"),
        ("y ~ (0 | g)", FormulaError, r"0 \| g"),
        ("y ~ (1 + zero | g)", ModelError, "zero"),
        ("y ~ (1 | one)", ModelError, "one"),
        ("a ~ x", DataError, "'a'"),
        ("y ~ x +* a", FormulaError, r"x"),
        ("c(y, a) ~ x", DataError, "'a' holds text"),
        ("c(y, nowhere) ~ a", DataError, "nowhere"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*invalid value:RuntimeWarning")
def test_errors_name_the_culprit(formula, error, culprit):
    d = frame().assign(zero=0.0, one="only")
    with pytest.raises(error, match=culprit):
        rb.MixedModel(formula, d)


def test_z_of_levels_and_covariates_is_the_sum_of_its_matrices():
    """Z_1 … Z_t as levels and covariates: as sparse matrices, written into a dense W, times effects."""
    rng = np.random.default_rng(3)
    codes, loads, U = rng.integers(0, 4, 9), rng.normal(size=(9, 2)), rng.normal(size=(4, 2))
    loads[2] = loads[5, 1] = 0.0
    Z = Incidence(codes, loads, 4)
    of_level = np.eye(4)[codes]
    expected = [of_level * load[:, None] for load in loads.T]
    for own, dense in zip(Z, expected, strict=True):
        np.testing.assert_array_equal(own.toarray(), dense)
        assert own.nnz == np.count_nonzero(dense)
    assert len(Z[:1]) == 1 and Z[-1] is Z[1]
    W = np.zeros((9, 11))
    Z.write(W, 2)
    np.testing.assert_array_equal(W, np.hstack([np.zeros((9, 2)), *expected, np.zeros((9, 1))]))
    np.testing.assert_allclose(Z.predictors(U), np.column_stack([Zi @ u for Zi, u in zip(expected, U.T, strict=True)]))


@pytest.mark.parametrize("formula", ["y ~ x + (1 + x | g)", "y ~ a + (1 | g) + (0 + x | b)"])
def test_z_of_few_and_of_many_records_is_the_same(formula, monkeypatch):
    few = rb.MixedModel(formula, frame())
    monkeypatch.setattr(random_terms, "DENSE_RECORDS", 0)
    many = rb.MixedModel(formula, frame())
    for one, other in zip(few.specification.random, many.specification.random, strict=True):
        assert isinstance(one.columns, Incidence) and isinstance(other.columns, tuple)
        U = np.random.default_rng(1).normal(size=(one.q, one.t))
        np.testing.assert_allclose(one.predictors(U), other.predictors(U), rtol=1e-14)
    np.testing.assert_array_equal(few._equations.W, many._equations.W)
