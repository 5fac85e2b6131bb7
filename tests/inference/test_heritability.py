"""Heritabilities by their definitions on dense matrices, and where they agree; effective dimensions by tr(PV̇θ)."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from oracle import Oracle, Term, dummies

import remlblup as rb
from remlblup.datasets import load as dataset
from remlblup.inference.components.heritability import METHODS


def trial(balanced: bool) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    d = pd.DataFrame([(g, b) for g in range(12) for b in range(4)], columns=["g", "b"])
    d["y"] = rng.standard_normal(12)[d["g"]] * 1.5 + rng.standard_normal(4)[d["b"]] + rng.standard_normal(48)
    return d if balanced else d.drop(index=[0, 1, 6, 9, 17, 18, 30, 44])


@cache
def fitted(balanced: bool, formula: str = "y ~ factor(b) + (1 | g)") -> rb.Fit:
    return rb.MixedModel(formula, trial(balanced)).fit()


def defined(fit, d, X, others=()) -> dict[str, float]:
    """Every definition on dense matrices, pair by pair."""
    Z, n = dummies(d["g"].to_numpy()), len(d)
    g, e = fit.theta[0], fit.theta[-1]
    rest = sum((v * W @ W.T for v, W in others), e * np.eye(n))

    def projection(V):
        inverse = np.linalg.inv(V)
        return inverse - inverse @ X @ np.linalg.pinv(X.T @ inverse @ X) @ X.T @ inverse

    P = projection(g * Z @ Z.T + rest)
    m = Z.shape[1]
    C = g * np.eye(m) - g * Z.T @ P @ Z * g
    A = np.linalg.pinv(Z.T @ projection(rest) @ Z)
    pairs = list(combinations(range(m), 2))
    blup = np.mean([C[i, i] + C[j, j] - 2 * C[i, j] for i, j in pairs])
    blue = np.mean([A[i, i] + A[j, j] - 2 * A[i, j] for i, j in pairs])
    values = np.linalg.eigvals(np.eye(m) - np.linalg.inv(g * np.eye(m)) @ C).real
    records = Z.sum(axis=0)
    return {
        "components": g / (g + sum(v for v, _ in others) + e),
        "standard": g / (g + e / (m / np.sum(1 / records))),
        "cullis": 1 - blup / (2 * g),
        "piepho": g / (g + blue / 2),
        "oakey": values.sum() / np.sum(np.abs(values) > 1e-8),
        "vanraden": np.mean(1 - np.diag(C) / g),
    }


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("random_blocks", [False, True])
def test_by_their_definitions(balanced, random_blocks):
    d = trial(balanced)
    fit = fitted(balanced, "y ~ 1 + (1 | g) + (1 | b)") if random_blocks else fitted(balanced)
    blocks = dummies(d["b"].to_numpy())
    X, others = (np.ones((len(d), 1)), [(fit.theta[1], blocks)]) if random_blocks else (blocks, [])
    for method, value in defined(fit, d, X, others).items():
        assert fit.heritability("g", method) == pytest.approx(value, rel=1e-7), method


def test_where_they_agree():
    """Complete blocks: all but `components` and the mean reliability are σ²_g/(σ²_g + σ²_e/r)."""
    fit = fitted(True)
    one = fit.theta[0] / (fit.theta[0] + fit.theta[1] / 4)
    for method in ("standard", "cullis", "oakey", "piepho"):
        assert fit.heritability("g", method) == pytest.approx(one, rel=1e-8)
    assert fit.heritability("g", "vanraden") == pytest.approx(one * 11 / 12, rel=1e-8)  # the mean is estimated as well
    # Of unrelated levels, whose sum is confounded with the mean, Cullis' and Oakey's are one whatever the design.
    apart = {method: fitted(False).heritability("g", method) for method in METHODS}
    assert apart["cullis"] == pytest.approx(apart.pop("oakey"), rel=1e-8)
    assert len({round(h, 4) for h in apart.values()}) == len(METHODS) - 1


def test_related_levels():
    """A pedigree: the mean reliability is that of the table, and `components` is `function`."""
    flock = rb.simulate_flock(120, seed=3)
    fit = rb.MixedModel("y ~ sex + (1 | vm(id, A)) + (1 | dam)", flock.data, {"A": flock.pedigree}).fit()
    term = "vm(id, A)"
    h2 = fit.function("vm(id, A) / (vm(id, A) + dam + residual)").estimate
    assert fit.heritability(term) == pytest.approx(h2)
    table = fit.accuracy(term)
    assert fit.heritability(term, "vanraden") == pytest.approx(
        table["reliability"][table["records"] > 0].mean(), rel=1e-6
    )
    assert 0.0 < fit.heritability(term, "cullis") < 1.0


def test_what_has_none():
    slopes = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", dataset("sleepstudy")).fit()
    with pytest.raises(rb.ModelError, match="has 2 effects"):
        slopes.heritability("1 + Days | Subject")
    with pytest.raises(rb.VarianceError, match="not a term"):
        slopes.heritability("nobody")
    with pytest.raises(rb.OptionError, match="Choose one of"):
        fitted(True).heritability("g", "exact")
    confounded = trial(True).assign(part=lambda d: d["g"] // 6)
    fit = rb.MixedModel("y ~ factor(part) + (1 | g)", confounded).fit()
    with pytest.raises(rb.ModelError, match="not all levels of 'g' can be compared"):
        fit.heritability("g", "piepho")
    assert rb.MixedModel("Yield ~ 1 + (1 | Batch)", dataset("dyestuff2")).fit().heritability("Batch", "cullis") == 0.0


def test_dimensions_of_a_balanced_trial():
    fit = fitted(True)
    table, shrinkage = fit.effective_dimensions, fit.heritability("g", "cullis")
    np.testing.assert_allclose(table["effective"], [4.0, 11 * shrinkage, 48 - 4 - 11 * shrinkage], rtol=1e-7)
    assert list(table.index) == ["fixed effects", "g", "residual"] and list(table["effects"]) == [4, 12, 48]


def test_dimensions_by_their_definition():
    """tr(P Z(Σ ⊗ K)Z') of a random regression and of crossed terms."""
    d = dataset("sleepstudy")
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", d).fit()
    Z, X = dummies(d["Subject"].astype("category").cat.codes.to_numpy()), np.column_stack([np.ones(180), d["Days"]])
    oracle = Oracle(d["Reaction"].to_numpy(float), X, [Term([Z, Z * X[:, [1]]], np.eye(18), "us")])
    P = oracle.projection(fit.theta)[2]
    expected = np.trace(P @ oracle.terms[0].spread(oracle.sigma(0, fit.theta)))
    table = fit.effective_dimensions
    np.testing.assert_allclose(table["effective"], [2.0, expected, 180 - 2 - expected], rtol=1e-8)
    assert table["effective"].sum() == pytest.approx(180)


@pytest.mark.parametrize("engine", ["sparse", "dense", "spectral"])
def test_dimensions_by_every_engine(engine):
    flock = rb.simulate_flock(120, seed=3)
    fit = rb.MixedModel("y ~ sex + (1 | vm(id, A))", flock.data, {"A": flock.pedigree}, engine=engine).fit()
    K, Z = fit.specification.random[0].relationship.dense(), fit.specification.random[0].columns[0].toarray()
    oracle = Oracle(fit.specification.y, fit.specification.fixed.matrix, [Term([Z], K)])
    expected = fit.theta[0] * np.sum(oracle.projection(fit.theta)[2] * (Z @ K @ Z.T))
    assert fit.effective_dimensions.loc["vm(id, A)", "effective"] == pytest.approx(expected, rel=1e-7)


def test_effective_dimensions_where_r_is_singular():
    """tr(P Z (Σ ⊗ K) Z') by the dense V, of two traits whose residual matrix is singular."""
    K = np.kron(np.eye(6), 0.5 + 0.5 * np.eye(2))
    a = [0.2, -0.3, 1.8, 0.6, 0.3, 1.0, -0.3, 0.2, 0.5, 0.4, 0.8, 0.7]
    b = [-0.5, -2.4, 1.1, 1.2, -0.6, -0.5, -0.8, -0.5, -0.6, -1.1, 0.2, 0.4]
    d = pd.DataFrame({"a": a, "b": b, "id": np.arange(12)})
    fit = rb.MixedModel(
        "c(a, b) ~ 0 + trait + us(trait | vm(id, K))",
        d,
        {"K": rb.Relationship(K, np.arange(12))},
        residual="us(trait | units)",
    ).fit(progress=False)
    R, G = fit.covariance("residual").to_numpy(), fit.covariance("us(trait | vm(id, K))").to_numpy()
    assert fit.converged and np.linalg.eigvalsh(R)[0] == pytest.approx(0.0, abs=1e-9)
    of_term, of_residual = np.kron(G, K), np.kron(R, np.eye(12))
    Vi, X = np.linalg.inv(of_term + of_residual), np.kron(np.eye(2), np.ones((12, 1)))
    P = Vi - Vi @ X @ np.linalg.solve(X.T @ Vi @ X, X.T @ Vi)
    wanted = [2.0, np.trace(P @ of_term), np.trace(P @ of_residual)]
    np.testing.assert_allclose(fit.effective_dimensions["effective"], wanted, rtol=1e-5)
