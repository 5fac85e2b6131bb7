"""Single-step by products, against its matrices."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from pedigrees import random_pedigree

import remlblup as rb
from remlblup.relationship.genomic import relationship as genomic
from remlblup.relationship.single_step import by_products, formed

N, GENOTYPED, LOCI = 300, 70, 400


def descended(sire: np.ndarray, dam: np.ndarray, loci: int, seed: int) -> np.ndarray:
    """Copies of an allele (n, loci), of unlinked loci dropped down a pedigree."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.2, 0.8, loci)
    strands = np.empty((len(sire), 2, loci), dtype=np.int8)
    for i, parents in enumerate(zip(sire, dam, strict=True)):
        for side, parent in enumerate(parents):
            chosen = rng.integers(0, 2, loci)
            strands[i, side] = rng.random(loci) < p if parent < 0 else strands[parent, chosen, np.arange(loci)]
    return strands.sum(axis=1)


@pytest.fixture(scope="module")
def flock() -> tuple[rb.Pedigree, rb.Genotypes]:
    """A pedigree, and genotypes of some of its animals in an order of their own, those of parents among them."""
    sire, dam = random_pedigree(N, 3, 60)
    names = np.array([*(f"a{k}" for k in range(N)), None], dtype=object)
    M = descended(sire, dam, LOCI, 4).astype(float)
    M[np.random.default_rng(5).random(M.shape) < 0.01] = np.nan
    who = np.random.default_rng(1).permutation(N)[:GENOTYPED]
    return rb.Pedigree(names[:-1], names[sire], names[dam]), rb.Genotypes.from_matrix(M[who], ids=names[who])


def both(pedigree: rb.Pedigree, genotypes: rb.Genotypes, frequencies: object = None, **given) -> list[rb.SingleStep]:
    """With matrices, and by products."""
    return [
        rb.SingleStep(pedigree, rb.genomic_relationship(genotypes, frequencies=frequencies, formed=f), **given)
        for f in (True, False)
    ]


CASES = {
    "as it is by default": {},
    "tau": {"tau": 1.4},
    "tau and omega": {"tau": 1.2, "omega": 0.7},
    "no A22 in H": {"omega": 0.0, "alpha": 0.8, "beta": 0.3},
    "tuned to nothing": {"tune": 0},
    "tuned to one": {"tune": 1},
    "tuned by a constant, first": {"tune": 3, "blend_first": False},
    "tuned by Fst, first": {"tune": 4, "blend_first": False, "alpha": 0.7},
    "of the base of equal frequencies": {"tune": 4, "frequencies": "half"},
}


@pytest.mark.parametrize("name", CASES)
def test_is_the_same_h(name, flock, monkeypatch):
    """Its products, tuning, diagonal of G, and what forms matrices when it is asked for."""
    matrices, products = both(*flock, **CASES[name])
    V = np.random.default_rng(2).normal(size=(N, 3))
    expected = matrices.multiply(V)
    near = {"rtol": 0.0, "atol": 1e-11 * np.abs(expected).max()}
    monkeypatch.setattr(by_products, "_ELEMENTS", 2 * N)  # columns are cut in two
    np.testing.assert_allclose(products.multiply(V), expected, **near)
    np.testing.assert_allclose(products.multiply(V[:, 0]), expected[:, 0], **near)
    assert products.tuned_by == pytest.approx(matrices.tuned_by, rel=1e-12, abs=1e-13)
    np.testing.assert_allclose(products.genomic_inbreeding, matrices.genomic_inbreeding, rtol=1e-11, atol=1e-12)
    assert not products.is_formed and products.dense_matrices == (0, ())
    np.testing.assert_allclose(products.precision.toarray(), matrices.precision.toarray(), rtol=0, atol=1e-9)
    assert products.is_formed and products.logdet == pytest.approx(matrices.logdet, rel=1e-12)
    np.testing.assert_allclose(products.diagonal, matrices.diagonal, rtol=1e-10)
    np.testing.assert_allclose(products.multiply(V), expected, **near)


def test_of_animals_whose_ancestors_are_genotyped_and_of_all(flock):
    """Without anybody beside them in the inverse, and a base that is no pedigree."""
    pedigree, _ = flock
    M = np.random.default_rng(0).binomial(2, 0.4, (N, 900))
    founders = pedigree.labels[(pedigree.sire < 0) & (pedigree.dam < 0)]
    V = np.random.default_rng(3).normal(size=(N, 2))
    for who in (founders, pedigree.labels):
        one, two = both(pedigree, rb.Genotypes.from_matrix(M[: len(who)], ids=who), tune=0, alpha=0.5)
        np.testing.assert_allclose(two.multiply(V), one.multiply(V), rtol=0, atol=1e-11)
    base = rb.Relationship(pedigree.dense(), pedigree.labels)
    one, two = both(base, rb.Genotypes.from_matrix(M[:40], ids=pedigree.labels[100:140]))
    np.testing.assert_allclose(two.multiply(V), one.multiply(V), rtol=0, atol=1e-10)


def test_genotyped_animals_that_are_left_out_still_count_in_the_frequencies(flock):
    pedigree, genotypes = flock
    names = [*genotypes.ids[:-5], *(f"stranger{k}" for k in range(5))]
    renamed = rb.Genotypes.from_matrix(genotypes.to_frame().to_numpy(), ids=names)
    one, two = both(pedigree, renamed, missing="drop")
    assert two.dropped == names[-5:] and two.genotyped.tolist() == one.genotyped.tolist()
    V = np.random.default_rng(3).normal(size=(N, 2))
    np.testing.assert_allclose(two.multiply(V), one.multiply(V), rtol=0, atol=1e-11)
    with pytest.raises(rb.RelationshipError, match=r"5 genotyped animals are not in the pedigree: 'stranger0'"):
        both(pedigree, renamed)


def test_what_products_cannot_know_is_formed_and_said(flock, monkeypatch):
    """H is to be positive definite: without blending, of Yang's diagonal, and with omega above 1 only matrices tell."""
    pedigree, _ = flock
    wide = rb.Genotypes.from_matrix(np.random.default_rng(0).binomial(2, 0.5, (20, 900)), ids=pedigree.labels[:20])
    plain, yang = (rb.genomic_relationship(wide, method, "half", formed=False) for method in ("vanraden1", "yang"))
    for G, given, said in (
        (plain, {"beta": 0.0}, r"without blending \(beta=0\)"),
        (plain, {"omega": 1.01}, r"with omega=1\.01 above 1"),
        (yang, {}, "G of method='yang' has a diagonal of its own"),
    ):
        H = rb.SingleStep(pedigree, G, tune=0, **given)
        assert H.is_formed and H.by_products is None
        with monkeypatch.context() as small:
            small.setenv("REMLBLUP_MEMORY_GB", "1e-6")
            with pytest.raises(rb.MemoryLimitError, match=rf"with 20 genotyped animals \({said}.*products do not do"):
                rb.SingleStep(pedigree, G, tune=0, **given)


def test_g_that_is_not_positive_definite_or_cannot_be_tuned(flock):
    """A tuning that takes more off G than there is in it; animals that are all the same."""
    pedigree, names = flock[0], flock[0].labels[-40:]
    rng = np.random.default_rng(0)
    unrelated = rng.binomial(2, rng.uniform(0.1, 0.9, 150), (40, 150))
    for M, given, said in (
        (unrelated, {"tune": 1}, "not positive definite.*genotyped twice"),
        (np.repeat(unrelated[:1], 40, axis=0), {"blend_first": False}, "cannot be tuned"),
    ):
        for at_once in (True, False):
            G = rb.genomic_relationship(rb.Genotypes.from_matrix(M, ids=names), frequencies="half", formed=at_once)
            with pytest.raises(rb.RelationshipError, match=said):
                rb.SingleStep(pedigree, G, **given)


# -- models --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(flock) -> pd.DataFrame:
    """Records of two thirds of the animals, of breeding values under H."""
    pedigree, genotypes = flock
    rng = np.random.default_rng(6)
    u = np.linalg.cholesky(both(pedigree, genotypes)[0].dense()) @ rng.normal(size=N)
    at = rng.permutation(N)[:200]
    return pd.DataFrame({"id": pedigree.labels[at], "x": rng.normal(size=200), "y": 5.0 + u[at] + rng.normal(size=200)})


def test_a_fit_is_that_of_the_exact_engine(flock, data, monkeypatch):
    """At the same variances û to what conjugate gradients leave; the estimates within their Monte Carlo errors.

    Nothing is formed, neither for the fit nor for its tables.
    """
    exact, products = both(*flock)
    whole = rb.MixedModel("y ~ x + (1 | vm(id, H))", data, {"H": exact}).fit()
    monkeypatch.setattr(genomic, "formed", None)
    monkeypatch.setattr(formed.Formed, "__init__", None)
    model = rb.MixedModel("y ~ x + (1 | vm(id, H))", data, {"H": products}, engine="stochastic")
    said = str(model.describe())
    assert "genotyped by vanraden1 of 400 markers, in memory, not formed" in said
    assert "s a pass of 16 columns" in said
    fit = model.fit(seed=1, probes=60)
    error = fit.variance_components["monte_carlo_error"].to_numpy()
    assert fit.converged
    assert np.all(np.abs(fit.theta - whole.theta) < 4.0 * error)
    assert np.all(error < 0.2 * whole.variance_components["std_error"])
    at = model.solve(dict(zip(whole.variance_components["term"], whole.theta, strict=True)))
    for table in ("random_effects", "fixed_effects"):
        ours, theirs = getattr(at, table)["estimate"], getattr(whole, table)["estimate"]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(at.fixed_effects["std_error"], whole.fixed_effects["std_error"], rtol=1e-6)
    for again in (copy.deepcopy(fit), pickle.loads(pickle.dumps(fit))):
        np.testing.assert_array_equal(again.random_effects["estimate"], fit.random_effects["estimate"])


def test_a_saved_fit_has_pedigree_and_genotypes_and_no_h(flock, data, tmp_path, monkeypatch):
    monkeypatch.setattr(formed.Formed, "__init__", None)
    H = rb.SingleStep(flock[0], rb.genomic_relationship(flock[1], formed=False), tau=1.1, alpha=0.9)
    fit = rb.MixedModel("y ~ x + (1 | vm(id, H))", data, {"H": H}, engine="stochastic").fit(seed=1, probes=4)
    monkeypatch.setattr(by_products.ByProducts, "_tuning", None)  # it is not found again
    back = rb.load(fit.save(tmp_path / "fit"))
    np.testing.assert_allclose(back.random_effects["estimate"], fit.random_effects["estimate"], rtol=0, atol=1e-7)
    there = back.specification.random[0].relationship
    assert there.weights == H.weights and there.tuned_by == H.tuned_by and not there.is_formed
    V = np.random.default_rng(3).normal(size=(N, 2))
    np.testing.assert_allclose(there.multiply(V), H.multiply(V), rtol=0, atol=1e-13)
    again = rb.load(back.save(tmp_path / "again")).specification.random[0].relationship
    np.testing.assert_array_equal(again.multiply(V), there.multiply(V))


def test_a_checkpoint_tells_one_h_from_another(flock, data, tmp_path):
    """By what they are made of: other weights, other genotypes."""
    pedigree, genotypes = flock
    others = rb.Genotypes.from_matrix(genotypes.to_frame().to_numpy()[::-1], ids=genotypes.ids)
    for number, at_once in enumerate((True, False)):
        fits = [
            rb.MixedModel("y ~ x + (1 | vm(id, H))", data, {"H": H}, engine="stochastic")
            for H in (both(pedigree, genotypes)[number], both(pedigree, genotypes, alpha=0.9)[number],
                      both(pedigree, others)[number])
        ]  # fmt: skip
        with pytest.warns(rb.ConvergenceWarning):
            fits[0].fit(seed=1, probes=4, max_iterations=1, checkpoint=tmp_path / f"{at_once}.npz")
        for other in fits[1:]:
            with pytest.raises(rb.CheckpointError, match="relationship of"):
                other.fit(seed=1, probes=4, max_iterations=1, checkpoint=tmp_path / f"{at_once}.npz")
