"""Effects of markers from a GBLUP fit, against SNP-BLUP with dense matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import remlblup as rb
from remlblup.fit.terms.marker_effects import inverse_times_blup

TERM = "vm(id, G)"
VARIANCES = {TERM: 1.3, "residual": 0.7}


@dataclass
class Case:
    genotypes: rb.Genotypes
    data: pd.DataFrame
    M: np.ndarray
    p: np.ndarray

    @property
    def X(self):
        return np.column_stack([np.ones(len(self.data)), self.data["x"]])

    @property
    def rows(self):
        """Individuals of the records."""
        return np.array([int(name[1:]) for name in self.data["id"]])

    def solve(self, K, variances=VARIANCES):
        frame = pd.DataFrame(K, index=self.genotypes.ids, columns=self.genotypes.ids)
        return rb.MixedModel("y ~ x + (1 | vm(id, G))", self.data, {"G": frame}).solve(variances)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(4)
    n, m = 30, 80
    M = rng.binomial(2, rng.uniform(0.1, 0.9, m), (n, m))
    g = rb.Genotypes.from_matrix(M, ids=[f"i{k}" for k in range(n)])
    # Some individuals without a record, some with two.
    who = [*range(24), 3, 5]
    data = pd.DataFrame({"id": [f"i{k}" for k in who], "x": rng.normal(size=26), "y": rng.normal(size=26) + M[who, 0]})
    # Base frequencies other than the observed ones: K is then positive definite.
    return Case(g, data, M, rng.uniform(0.2, 0.8, m))


def snp_blup(case, Z, variance):
    """α̂ and var(α̂) = var(α) − PEV of y = Xβ + Zα + e by Henderson's equations."""
    X, W = case.X, Z[case.rows]
    y = case.data["y"].to_numpy()
    s = VARIANCES["residual"]
    C = np.block([[X.T @ X / s, X.T @ W / s], [W.T @ X / s, W.T @ W / s + np.eye(Z.shape[1]) / variance]])
    inverse = np.linalg.inv(C)
    solution = inverse @ np.concatenate([X.T @ y, W.T @ y]) / s
    return solution[2:], variance - np.diag(inverse)[2:]


@pytest.mark.parametrize("method", ["vanraden1", "vanraden2", "dominance", "dominance_su"])
def test_equals_snp_blup(case, method):
    p, q = case.p, 1 - case.p
    v = 2 * p * q
    per_copy = np.ones(len(p))
    if method == "vanraden1":
        Z, k = case.M - 2 * p, v.sum()
    elif method == "vanraden2":
        Z, k = (case.M - 2 * p) / np.sqrt(v), len(p)
        per_copy = 1 / np.sqrt(v)
    elif method == "dominance":
        Z, k = np.choose(case.M, [-2 * p**2, v, -2 * q**2]), np.sum(v**2)
    else:
        Z, k = (case.M == 1) - v, np.sum(v * (1 - v))
    K = rb.genomic_matrix(case.genotypes, method, case.p)
    np.testing.assert_allclose(K, Z @ Z.T / k, rtol=1e-10, atol=1e-12)
    alpha, variance = snp_blup(case, Z, VARIANCES[TERM] / k)
    found = rb.snp_effects(case.solve(K), TERM, case.genotypes, method, case.p, p_values=True, block=13)
    np.testing.assert_allclose(found["effect"], alpha * per_copy, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(found["variance"], variance * per_copy**2, rtol=1e-7)
    z = alpha / np.sqrt(variance)
    np.testing.assert_allclose(found["z"], z, rtol=1e-6)
    np.testing.assert_allclose(found["p_value"], 2 * norm.sf(np.abs(z)), rtol=1e-5)
    assert found.attrs["recovered"] == pytest.approx(1)
    np.testing.assert_array_equal(found["frequency"], case.M.mean(axis=0) / 2)


def test_a_blended_matrix(case):
    """û of 0.9 G + 0.1 I is Zα̂ + a polygenic rest: α̂ by dense algebra."""
    Z = case.M - 2 * case.p
    k = np.sum(2 * case.p * (1 - case.p))
    G = rb.genomic_matrix(case.genotypes, frequencies=case.p)
    fit = case.solve(rb.blend(G, weight=0.1))
    found = rb.snp_effects(fit, TERM, case.genotypes, frequencies=case.p, share=0.9)
    W = np.eye(30)[case.rows]
    K = 0.9 * Z @ Z.T / k + 0.1 * np.eye(30)
    V = 1.3 * W @ K @ W.T + 0.7 * np.eye(26)
    X, y = case.X, case.data["y"].to_numpy()
    Vi = np.linalg.inv(V)
    Py = Vi @ (y - X @ np.linalg.solve(X.T @ Vi @ X, X.T @ Vi @ y))
    np.testing.assert_allclose(found["effect"], 1.3 * 0.9 / k * Z.T @ W.T @ Py, rtol=1e-9, atol=1e-12)
    assert 0.5 < found.attrs["recovered"] < 1
    with pytest.raises(rb.ModelError, match=r"do not make up the relationship.*share=0\.95"):
        rb.snp_effects(fit, TERM, case.genotypes, frequencies=case.p)


def test_a_part_of_the_individuals_in_another_order(case):
    G = rb.genomic_matrix(case.genotypes, frequencies=case.p)
    whole = case.solve(G)
    order = np.random.default_rng(0).permutation(30)
    shuffled = case.genotypes.select(ids=case.genotypes.ids[order])
    a = rb.snp_effects(whole, TERM, case.genotypes, frequencies=case.p)
    b = rb.snp_effects(whole, TERM, shuffled, frequencies=case.p)
    np.testing.assert_allclose(a["effect"], b["effect"], rtol=1e-12)
    with pytest.raises(rb.RelationshipError, match=r"of the levels of 'vm\(id, G\)' 1 level has no genotypes: 'i0'"):
        rb.snp_effects(whole, TERM, case.genotypes.select(ids=case.genotypes.ids[1:]), frequencies=case.p)


def test_an_effect_of_several(case):
    G = rb.genomic_matrix(case.genotypes, frequencies=case.p)
    model = rb.MixedModel("y ~ x + (1 + x | vm(id, G))", case.data, {"G": G})
    sigma = np.array([[1.0, 0.3], [0.3, 0.5]])
    name = model.specification.random[0].name
    fit = model.solve({name: sigma, "residual": 0.8})
    Z = case.M - 2 * case.p
    for effect in ("Intercept", "x"):
        found = rb.snp_effects(fit, name, case.genotypes, frequencies=case.p, effect=effect)
        np.testing.assert_allclose(Z @ found["effect"], fit.blup(name)[effect], rtol=1e-7, atol=1e-9)
    with pytest.raises(rb.OptionError, match="several effects"):
        rb.snp_effects(fit, name, case.genotypes, frequencies=case.p)


def test_inverse_times_blup_from_the_equations_and_by_eigenvalues(case, monkeypatch):
    G = rb.genomic_matrix(case.genotypes, frequencies=case.p)
    fit = case.solve(G)
    expected = np.linalg.solve(G, fit.blup(TERM)["Intercept"])
    np.testing.assert_allclose(inverse_times_blup(fit, 0)[0], expected, rtol=1e-8, atol=1e-10)
    # As where the equations hold fewer effects than K has levels.
    monkeypatch.setattr(type(fit._equations), "effect_scores", lambda self, solution: np.zeros(self.p + 5))
    whole = type(fit._equations).term_blocks
    monkeypatch.setattr(
        type(fit._equations),
        "term_blocks",
        lambda self, v: [np.zeros((1, 5))] if len(v) == self.p + 5 else whole(self, v),
    )
    np.testing.assert_allclose(inverse_times_blup(fit, 0)[0], expected, rtol=1e-7, atol=1e-9)


def test_options(case):
    fit = case.solve(rb.genomic_matrix(case.genotypes, frequencies=case.p))
    with pytest.raises(rb.OptionError, match="share=-1"):
        rb.snp_effects(fit, TERM, case.genotypes, share=-1)
    with pytest.raises(rb.OptionError, match="additive_by_additive"):
        rb.snp_effects(fit, TERM, case.genotypes, "additive_by_additive")
    with pytest.raises(rb.VarianceError, match="nothing"):
        rb.snp_effects(fit, "nothing", case.genotypes)


def test_of_an_estimated_model_with_a_monomorphic_marker(case):
    M = np.column_stack([case.M, np.zeros(30, int)])
    g = rb.Genotypes.from_matrix(M, ids=case.genotypes.ids)
    p = np.append(case.p, 0.0)
    fit = rb.MixedModel("y ~ x + (1 | vm(id, G))", case.data, {"G": rb.genomic_matrix(g, frequencies=p)}).fit()
    found = rb.snp_effects(fit, TERM, g, frequencies=p, p_values=True)
    assert found["effect"].iloc[-1] == 0.0 and np.isnan(found["p_value"].iloc[-1])
    np.testing.assert_allclose((M - 2 * p) @ found["effect"], fit.blup(TERM)["Intercept"], atol=1e-7)


def test_a_data_frame_of_genotypes(case):
    fit = case.solve(rb.genomic_matrix(case.genotypes, frequencies=case.p))
    expected = rb.snp_effects(fit, TERM, case.genotypes, frequencies=case.p)
    frame = pd.DataFrame(case.M, index=case.genotypes.ids, columns=case.genotypes.markers)
    pd.testing.assert_frame_equal(rb.snp_effects(fit, TERM, frame, frequencies=case.p), expected)
    with pytest.raises(rb.DataError, match=r"Genotypes\.from_matrix\(M, ids="):
        rb.snp_effects(fit, TERM, case.M)


def test_a_share_does_not_excuse_other_genotypes(case):
    fit = case.solve(rb.blend(rb.genomic_matrix(case.genotypes, frequencies=case.p), weight=0.02))
    assert rb.snp_effects(fit, TERM, case.genotypes, frequencies=case.p, share=0.98).attrs["recovered"] > 0.9
    other = rb.Genotypes.from_matrix(np.random.default_rng(1).integers(0, 3, (30, 80)), ids=case.genotypes.ids)
    with pytest.raises(rb.ModelError, match=r"squared correlation .* is 0\.\d{3}, below 0\.9") as raised:
        rb.snp_effects(fit, TERM, other, share=0.98)
    squared = float(str(raised.value).split(" is ")[1].split(",")[0])
    # Z'K⁻¹û of the other markers, by dense algebra.
    p = other.allele_frequencies.to_numpy()
    Z = other.to_frame().to_numpy() - 2 * p
    u = fit.blup(TERM)["Intercept"].to_numpy()
    K = rb.blend(rb.genomic_matrix(case.genotypes, frequencies=case.p), weight=0.02)
    assert squared == pytest.approx(np.corrcoef(Z @ Z.T @ np.linalg.solve(K, u), u)[0, 1] ** 2, abs=6e-4)


@pytest.mark.parametrize("share", [0, -0.5, 1.01, 95, True, np.nan])
def test_a_share_is_a_part(case, share):
    fit = case.solve(rb.genomic_matrix(case.genotypes, frequencies=case.p))
    with pytest.raises(rb.OptionError, match="above 0 and at most 1"):
        rb.snp_effects(fit, TERM, case.genotypes, frequencies=case.p, share=share)


def test_single_step_is_refused(case):
    ids = list(case.genotypes.ids)
    pedigree = rb.Pedigree(ids, [None] * 30, [None] * 30)
    H = rb.SingleStep(pedigree, rb.genomic_matrix(case.genotypes, frequencies=case.p), tune=0)
    fit = rb.MixedModel("y ~ x + (1 | vm(id, G))", case.data, {"G": H}).solve(VARIANCES)
    with pytest.raises(
        rb.RelationshipError, match=r"marker effects of single-step are not available.*genotyped levels"
    ):
        rb.snp_effects(fit, TERM, case.genotypes, frequencies=case.p, share=0.95)
