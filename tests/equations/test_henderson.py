"""`rb.henderson`: the textbook equations for given G and R."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import remlblup as rb
from remlblup import datasets

Y, X, Z = np.array([10.0, 12.0, 7.0]), np.ones((3, 1)), np.array([[1.0, 0], [1, 0], [0, 1]])


@pytest.mark.parametrize(("g", "s"), [(2.0, 1.0), (0.3, 5.0)])
def test_three_records_on_two_subjects(g, s):
    h = rb.henderson(Y, X, Z, g, s)
    C = np.array([[3 / s, 2 / s, 1 / s], [2 / s, 2 / s + 1 / g, 0], [1 / s, 0, 1 / s + 1 / g]])
    np.testing.assert_allclose(h.C, C, rtol=1e-14)
    np.testing.assert_allclose(h.rhs, [29 / s, 22 / s, 7 / s], rtol=1e-14)
    np.testing.assert_allclose(np.r_[h.beta, h.u], np.linalg.solve(C, h.rhs), rtol=1e-12)
    inverse = np.linalg.inv(C)
    np.testing.assert_allclose(h.pev, np.diag(inverse)[1:], rtol=1e-12)
    np.testing.assert_allclose(h.u_se, np.sqrt(np.diag(inverse)[1:]), rtol=1e-12)
    np.testing.assert_allclose(h.beta_se, [np.sqrt(inverse[0, 0])], rtol=1e-12)
    np.testing.assert_allclose(h.reliability, 1 - np.diag(inverse)[1:] / g, rtol=1e-12)
    assert h.aliased == ()


def test_three_records_by_hand():
    # g = 2, s = 1: C = [[3, 2, 1], [2, 5/2, 0], [1, 0, 3/2]], |C| = 11/4; Cramer's rule.
    h = rb.henderson(Y, X, Z, 2.0, 1.0)
    np.testing.assert_allclose(h.beta, [(29 * 3.75 - 22 * 3 - 7 * 2.5) / 2.75], rtol=1e-14)
    np.testing.assert_allclose(h.u, [(22 - 2 * h.beta[0]) / 2.5, (7 - h.beta[0]) / 1.5], rtol=1e-13)


def test_mixed_model_solve_gives_the_same():
    model = rb.MixedModel("y ~ 1 + (1 | subject)", {"y": Y, "subject": ["a", "a", "b"]})
    solved = model.solve({"subject": 2.0, "residual": 1.0})
    h = rb.henderson(Y, X, Z, 2.0, 1.0)
    np.testing.assert_allclose(solved.beta, h.beta, rtol=1e-13)
    np.testing.assert_allclose(solved.random_effects["estimate"], h.u, rtol=1e-12)
    np.testing.assert_allclose(solved.random_effects["pev"], h.pev, rtol=1e-12)
    np.testing.assert_allclose(solved.random_effects["reliability"], h.reliability, rtol=1e-12)
    np.testing.assert_allclose(solved.fixed_effects["std_error"], h.beta_se, rtol=1e-12)


def problem(seed: int = 1):
    rng = np.random.default_rng(seed)
    n, p, q = 14, 3, 5
    M, S = rng.normal(size=(q, q)), rng.normal(size=(n, n))
    return (
        rng.normal(size=n),
        rng.normal(size=(n, p)),
        rng.normal(size=(n, q)) * (rng.random((n, q)) < 0.6),
        M @ M.T + np.eye(q),
        S @ S.T + n * np.eye(n),
    )


def by_definition(y, X, Z, G, R):
    """β̂ by GLS, û = GZ'V⁻¹(y − Xβ̂), PEV and var(β̂)."""
    V = Z @ G @ Z.T + R
    Vi = np.linalg.inv(V)
    cov = np.linalg.inv(X.T @ Vi @ X)
    P = Vi - Vi @ X @ cov @ X.T @ Vi
    return cov @ X.T @ Vi @ y, G @ Z.T @ P @ y, cov, np.diag(G - G @ Z.T @ P @ Z @ G)


@pytest.mark.parametrize("kind", ["dense", "diagonal R", "vectors", "sparse", "sparse Z"])
def test_against_the_definition(kind):
    y, X, Z, G, R = problem()
    if kind != "dense":
        R = np.diag(np.diag(R))
    if kind in ("vectors", "sparse"):
        G = np.diag(np.diag(G))
    given = {
        "dense": (y, X, Z, G, R),
        "diagonal R": (y, X, Z, G, np.diag(R)),
        "vectors": (y, X, Z, np.diag(G), np.diag(R)),
        "sparse": (y, sp.csr_array(X), sp.csc_matrix(Z), sp.coo_array(G), sp.csr_array(R)),
        "sparse Z": (y, X, sp.csr_matrix(Z), G, np.diag(R)),
    }[kind]
    h = rb.henderson(*given)
    beta, u, cov, pev = by_definition(y, X, Z, G, R)
    np.testing.assert_allclose(h.beta, beta, rtol=1e-10)
    np.testing.assert_allclose(h.u, u, rtol=1e-10)
    np.testing.assert_allclose(h.beta_cov, cov, rtol=1e-10)
    np.testing.assert_allclose(h.pev, pev, rtol=1e-10)
    np.testing.assert_allclose(h.reliability, 1 - pev / np.diag(G), rtol=1e-9)
    C = h.C.toarray() if sp.issparse(h.C) else h.C
    Ri, W = np.linalg.inv(R), np.hstack([X, Z])
    expected = W.T @ Ri @ W
    expected[3:, 3:] += np.linalg.inv(G)
    np.testing.assert_allclose(C, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(h.rhs, W.T @ Ri @ y, rtol=1e-10)
    assert sp.issparse(h.C) == (kind == "sparse")


def test_dependent_columns_of_x_are_set_aside():
    y, X, Z, G, R = problem()
    wide = np.column_stack([X[:, 0], X[:, 1], X[:, 0] - 2 * X[:, 1], X[:, 2]])
    h = rb.henderson(y, wide, Z, G, R)
    beta, u, _, pev = by_definition(y, X, Z, G, R)
    assert h.aliased == (2,)
    assert np.isnan(h.beta[2])
    np.testing.assert_allclose(h.beta[[0, 1, 3]], beta, rtol=1e-10)
    np.testing.assert_allclose(h.u, u, rtol=1e-10)
    np.testing.assert_allclose(h.pev, pev, rtol=1e-10)


def test_singular_diagonal_or_wrong_shapes_are_named():
    y, X, Z, G, R = problem()
    with pytest.raises(rb.NotPositiveDefiniteError, match=r"^G"):
        rb.henderson(y, X, Z, np.zeros((5, 5)), R)
    with pytest.raises(rb.NotPositiveDefiniteError, match=r"^G"):
        rb.henderson(y, X, Z, np.diag([1.0, 1, 1, 1, -1]), R)
    with pytest.raises(rb.NotPositiveDefiniteError, match=r"^G"):
        rb.henderson(y, X, Z, 0.0, R)
    with pytest.raises(rb.NotPositiveDefiniteError, match=r"^R"):
        rb.henderson(y, X, Z, G, -R)
    with pytest.raises(rb.DataError, match=r"^G.*\(4, 4\)"):
        rb.henderson(y, X, Z, np.eye(4), R)
    with pytest.raises(rb.DataError, match=r"^R.*infinite"):
        rb.henderson(y, X, Z, G, np.inf)
    with pytest.raises(rb.DataError, match=r"^G is not symmetric"):
        rb.henderson(y, X, Z, G + np.triu(np.ones((5, 5)), 1), R)
    with pytest.raises(rb.DataError, match=r"^Z"):
        rb.henderson(y, X, Z[:-1], G, R)
    with pytest.raises(rb.DataError, match=r"response y.*0"):
        rb.henderson(np.r_[np.nan, y[1:]], X, Z, G, R)


def test_one_dimensional_z_and_g_of_one_effect():
    y, X, Z, _, R = problem()
    h = rb.henderson(y, X, Z[:, 0], 2.0, R)
    np.testing.assert_allclose(h.u, by_definition(y, X, Z[:, :1], 2 * np.eye(1), R)[1], rtol=1e-10)


# Exact rational arithmetic gives 3.404430006 for females.
MRODE_SEX = {"M": 4.35850233, "F": 3.40443001}
MRODE_U = [0.09844458, -0.01877010, -0.04108420, -0.00866312, -0.18573210, 0.17687209, -0.24945855, 0.18261469]


def test_mrode_example_3_1_from_the_formula():
    pedigree = rb.Pedigree.from_frame(datasets.mrode_pedigree())
    model = rb.MixedModel("gain ~ 0 + sex + (1 | vm(animal, A))", datasets.load("mrode_weaning"), {"A": pedigree})
    solved = model.solve({"vm(animal, A)": 20, "residual": 40})
    found = dict(zip(["F", "M"], solved.beta, strict=True))
    assert [str(c)[-2] for c in solved.fixed_effects.index] == ["F", "M"]
    assert found == pytest.approx(MRODE_SEX, abs=5e-9)
    table = solved.random_effects.set_index("level")["estimate"]
    np.testing.assert_allclose([table[k] for k in range(1, 9)], MRODE_U, rtol=0, atol=5e-9)


def test_mrode_example_3_1_from_the_matrices():
    d = datasets.load("mrode_weaning")
    # A of Mrode's pedigree (4: 1 × –, 5: 3 × 2, 6: 1 × 2, 7: 4 × 5, 8: 3 × 6), typed in.
    A = np.array(
        [
            [1, 0, 0, 0.5, 0, 0.5, 0.25, 0.25],
            [0, 1, 0, 0, 0.5, 0.5, 0.25, 0.25],
            [0, 0, 1, 0, 0.5, 0, 0.25, 0.5],
            [0.5, 0, 0, 1, 0, 0.25, 0.5, 0.125],
            [0, 0.5, 0.5, 0, 1, 0.25, 0.5, 0.375],
            [0.5, 0.5, 0, 0.25, 0.25, 1, 0.25, 0.5],
            [0.25, 0.25, 0.25, 0.5, 0.5, 0.25, 1, 0.25],
            [0.25, 0.25, 0.5, 0.125, 0.375, 0.5, 0.25, 1],
        ]
    )
    X = np.column_stack([d["sex"] == s for s in "MF"]).astype(float)
    Z = np.eye(8)[d["animal"] - 1]
    h = rb.henderson(d["gain"], X, Z, 20 * A, 40)
    np.testing.assert_allclose(h.beta, list(MRODE_SEX.values()), rtol=0, atol=5e-9)
    np.testing.assert_allclose(h.u, MRODE_U, rtol=0, atol=5e-9)
    matrices = rb.MixedModel.from_matrices(d["gain"], X, [Z], [A], ["a"]).solve({"a": 20, "residual": 40})
    np.testing.assert_allclose(matrices.blup("a").iloc[:, 0], MRODE_U, rtol=0, atol=5e-9)
    np.testing.assert_allclose(matrices.random_effects["pev"], h.pev, rtol=1e-11)
