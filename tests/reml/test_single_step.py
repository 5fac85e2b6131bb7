"""Fits with H: through the sparse H⁻¹, through the dense one, and by V alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from oracle import Oracle, Term

from remlblup import MixedModel, Pedigree, Relationship, SingleStep
from remlblup.linalg.sparse.cliques import numbered_graph
from remlblup.reml import plainer


def flock(n: int, genotyped: int, seed: int):
    """Pedigree, H and records of all animals, two each."""
    rng = np.random.default_rng(seed)
    sire = np.array([0 if i < 20 else rng.integers(max(1, i - 80), i) // 2 * 2 + 1 for i in range(n)])
    dam = np.array([0 if i < 20 else rng.integers(max(1, i - 80), i) // 2 * 2 + 2 for i in range(n)])
    dam[dam > np.arange(n)] = 0
    pedigree = Pedigree(np.arange(1, n + 1), sire, dam)
    M = rng.binomial(2, rng.uniform(0.1, 0.9, 3 * genotyped), (genotyped, 3 * genotyped)).astype(float)
    Z = M - M.mean(axis=0)
    where = np.sort(rng.choice(np.arange(n // 3, n), genotyped, replace=False))
    drift = 0.6 * pedigree.dense(where + 1) + 0.4 * Z @ Z.T / Z.var(axis=0).sum()
    H = SingleStep(pedigree, (drift, where + 1), tau=1.1, omega=0.9)
    u = np.linalg.cholesky(H.dense()) @ rng.normal(size=n) * 1.4
    data = pd.DataFrame({"id": np.repeat(H.labels, 2), "group": rng.choice(list("abcd"), 2 * n)})
    data["y"] = np.repeat(u, 2) + rng.normal(size=2 * n) + 0.5 * (data["group"] == "b")
    return H, data


def test_blups_likelihood_and_errors_are_those_of_V():
    H, data = flock(90, 30, 3)
    model = MixedModel("y ~ group + (1 | vm(id, H))", data, relationships={"H": H})
    fit = model.fit()
    X = np.column_stack([np.ones(180), *[(data["group"] == g) * 1.0 for g in "bcd"]])
    Z = (data["id"].to_numpy()[:, None] == H.labels).astype(float)
    oracle = Oracle(data["y"].to_numpy(), X, [Term([Z], H.dense())])
    theta = fit.variance_components["estimate"].to_numpy()
    effects = fit.random_effects
    assert fit.converged
    assert fit.loglik == pytest.approx(oracle.loglik(theta), abs=1e-8)
    size = np.sqrt(np.diag(oracle.expected_information(theta)))
    np.testing.assert_allclose(oracle.score(theta) / size, 0.0, atol=1e-4)
    np.testing.assert_allclose(effects["estimate"], oracle.u(0, theta)[0], atol=1e-8)
    pev = np.diag(oracle.pev(0, theta))
    np.testing.assert_allclose(effects["pev"], pev, rtol=1e-8)
    np.testing.assert_allclose(effects["reliability"], 1 - pev / (theta[0] * np.diag(H.dense())), atol=1e-8)


@pytest.mark.parametrize("formula", ["y ~ group + (1 | vm(id, H))", "y ~ group + (1 + x | vm(id, H))"])
def test_the_sparse_engine_sets_the_block_apart_and_agrees_with_the_dense_inverse(formula):
    H, data = flock(400, 160, 4)
    data["x"] = np.tile([-1.0, 1.0], 400)
    data["y"] += data["x"] * data["id"].map(dict(zip(H.labels, H.multiply(np.sin(np.arange(400.0))), strict=True)))
    given = Relationship(H.precision.toarray(), H.labels, inverse=True)
    sparse = MixedModel(formula, data, relationships={"H": H}, engine="sparse").fit()
    dense = MixedModel(formula, data, relationships={"H": given}, engine="dense").fit()
    layout = sparse._equations.layout
    graph = numbered_graph(layout.indptr, layout.indices, layout.m, [block.at for block in layout.blocks])
    for k, start in enumerate(layout.offsets[1:-1]):  # one block per effect
        assert set(start + H.positions) == set(np.flatnonzero(graph.clique == k))
    assert sparse.loglik == pytest.approx(dense.loglik, abs=1e-7)
    held = 5 + 2 * len(layout.blocks)  # G and A22 with their inverses, H22; in L and C⁻¹ once per effect
    assert f"160 x 160 of {sparse.specification.random[0].name}, 0.205 MB, held {held} times" in str(
        MixedModel(formula, data, relationships={"H": H}, engine="sparse").describe()
    )
    for column in ("estimate", "pev", "reliability"):
        np.testing.assert_allclose(sparse.random_effects[column], dense.random_effects[column], rtol=1e-5, atol=1e-6)


def test_a_long_fit_starts_at_the_estimates_by_pedigree(monkeypatch):
    H, data = flock(1300, 160, 5)
    whole = MixedModel("y ~ group + (1 | vm(id, H))", data, relationships={"H": H})
    by_pedigree = MixedModel("y ~ group + (1 | vm(id, A))", data, relationships={"A": H.pedigree}).fit()
    from_data = whole.fit()
    monkeypatch.setattr(plainer, "LONG", 0.0)
    monkeypatch.setattr(plainer, "SHARE", 1.0)
    fit = whole.fit()
    names = fit.history.columns[-2:]
    sizes = by_pedigree.variance_components["std_error"].to_numpy()
    start = fit.history.loc[0, names].to_numpy(float)
    assert np.all(np.abs(start - by_pedigree.variance_components["estimate"]) < 0.02 * sizes)
    assert fit.converged and fit.loglik == pytest.approx(from_data.loglik, abs=1e-7)
    assert fit.history["iteration"].max() < from_data.history["iteration"].max()
    given = {"vm(id, H)": 0.4, "residual": 3.0}
    np.testing.assert_allclose(whole.fit(start=given).history.loc[0, names].to_numpy(float), [0.4, 3.0])
    held = whole.fit(fix={"residual": 1.0})  # something of θ is known: as without
    assert abs(held.history.loc[0, names[0]] - start[0]) > sizes[0]
