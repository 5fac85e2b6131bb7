"""Genomic relationship matrices against their formulas, written out on whole dense matrices."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import remlblup as rb
from remlblup.linalg import threads
from remlblup.linalg.dense import outer
from remlblup.relationship.genomic.codings import METHODS


def simulated(n, m, missing=0.0, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.binomial(2, rng.uniform(0.1, 0.9, m), (n, m)).astype(float)
    values[:2] = [[0.0] * m, [1.0] * m]
    values[2] = 2.0  # no marker is monomorphic
    values[3:][rng.random((n - 3, m)) < missing] = np.nan
    return values


def oracle(M, method, p=None):
    """The definitions, a marker at a time; a missing genotype has its marker's mean code."""
    n, m = M.shape
    freq = np.nanmean(M, axis=0) / 2 if p is None else p
    K, diagonal, k = np.zeros((n, n)), np.zeros(n), 0.0
    Z = []
    for j in range(m):
        x, pj = M[:, j], freq[j]
        v = 2 * pj * (1 - pj)
        if v == 0:
            continue
        if method == "dominance":
            z = np.where(x == 2, -2 * (1 - pj) ** 2, np.where(x == 1, v, -2 * pj**2))
            k += v**2
        elif method == "dominance_su":
            z = np.where(x == 1, 1.0, 0.0) - v
            k += v * (1 - v)
        elif method in ("vanraden2", "yang"):
            z = (x - 2 * pj) / np.sqrt(v)
            k += 1
        else:
            z = x - 2 * pj
            k += v
        z = np.where(np.isnan(x), np.nan, z)
        own = (x**2 - (1 + 2 * pj) * x + 2 * pj**2) / v
        diagonal += np.where(np.isnan(x), np.nanmean(own), own)
        z = np.where(np.isnan(z), np.nanmean(z), z)
        Z.append(z)
        K += np.outer(z, z)
    if method == "yang":
        K /= k
        np.fill_diagonal(K, 1 + diagonal / k)
        return K
    if method == "additive_by_additive_exact":
        E = np.zeros((n, n))
        for a in range(len(Z)):
            for b in range(a):
                E += np.outer(Z[a] * Z[b], Z[a] * Z[b])
        return E / np.mean(np.diag(E))
    K /= k
    if method == "additive_by_additive":
        K = K * K
        K /= np.mean(np.diag(K))
    return K


def test_vanraden_by_hand():
    g = rb.Genotypes.from_matrix(np.array([[0, 0], [1, 0], [2, 1], [1, 1]]), ids=list("abcd"))
    # p = (1/2, 1/4): Z = [[-1, -.5], [0, -.5], [1, .5], [0, .5]], Σ2pq = 1/2 + 3/8 = 7/8
    expected = np.array([[1.25, 0.25, -1.25, -0.25], [0.25, 0.25, -0.25, -0.25], [-1.25, -0.25, 1.25, 0.25],
                         [-0.25, -0.25, 0.25, 0.25]]) * 8 / 7  # fmt: skip
    G = rb.genomic_matrix(g)
    np.testing.assert_allclose(G, expected, atol=1e-15)
    assert list(G.index) == list(G.columns) == list("abcd")
    assert G.attrs == {"method": "vanraden1", "n_markers": 2, "divisor": 0.875}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_formulas(method, missing):
    M = simulated(25, 70, missing)
    K = rb.genomic_matrix(rb.Genotypes.from_matrix(M, ids=range(25)), method, block=16)
    np.testing.assert_allclose(K, oracle(M, method), rtol=1e-11, atol=1e-12)
    assert np.array_equal(K, K.T)


@pytest.mark.parametrize("method", ["vanraden1", "vanraden2", "yang", "dominance", "dominance_su"])
def test_given_frequencies(method):
    M = simulated(20, 30, 0.1)
    g = rb.Genotypes.from_matrix(M, ids=range(20))
    p = np.random.default_rng(1).uniform(0.1, 0.9, 30)
    np.testing.assert_allclose(rb.genomic_matrix(g, method, p), oracle(M, method, p), rtol=1e-11, atol=1e-12)
    shuffled = pd.Series(p, index=g.markers)[::-1]
    np.testing.assert_array_equal(rb.genomic_matrix(g, method, shuffled), rb.genomic_matrix(g, method, p))
    half = rb.genomic_matrix(g, method, "half")
    np.testing.assert_allclose(half, oracle(M, method, np.full(30, 0.5)), rtol=1e-11, atol=1e-12)


def test_either_allele_may_be_counted():
    M = simulated(20, 40, 0.05)
    for method in METHODS:
        K, other = (rb.genomic_matrix(rb.Genotypes.from_matrix(v, ids=range(20)), method) for v in (M, 2 - M))
        np.testing.assert_allclose(K, other, rtol=1e-10, atol=1e-12)


def test_monomorphic_markers_have_no_part():
    M = simulated(15, 20)
    wide = np.column_stack([M, np.full(15, 2.0), np.zeros(15)])
    for method in METHODS:
        K, other = (rb.genomic_matrix(rb.Genotypes.from_matrix(v, ids=range(15)), method) for v in (M, wide))
        np.testing.assert_allclose(K, other, rtol=1e-12, atol=1e-13)
        assert other.attrs["n_markers"] == 20


def test_dosages():
    rng = np.random.default_rng(2)
    M = np.clip(simulated(20, 30, 0.1) + rng.uniform(-0.2, 0.2, (20, 30)), 0, 2).astype(np.float32).astype(float)
    g = rb.Genotypes.from_matrix(M, ids=range(20))
    for method in ("vanraden1", "vanraden2", "additive_by_additive"):
        np.testing.assert_allclose(rb.genomic_matrix(g, method, block=7), oracle(M, method), rtol=1e-9, atol=1e-10)
    full = np.where(np.isnan(M), 1.0, M)
    yang = rb.genomic_matrix(rb.Genotypes.from_matrix(full, ids=range(20)), "yang")
    np.testing.assert_allclose(yang, oracle(full, "yang"), rtol=1e-9, atol=1e-10)
    with pytest.raises(rb.DataError, match="needs genotypes, not dosages"):
        rb.genomic_matrix(g, "dominance")


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 12), st.integers(2, 25), st.integers(1, 30), st.integers(0, 2**31))
def test_blocks_do_not_matter(n, m, block, seed):
    M = simulated(n, m, 0.1, seed)
    g = rb.Genotypes.from_matrix(M, ids=range(n))
    a, b = rb.genomic_matrix(g, block=block), rb.genomic_matrix(g)
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert np.linalg.eigvalsh(b)[0] > -1e-12


def test_digits_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(outer, "TILE", 16)
    M = simulated(90, 600, 0.02)
    g = rb.Genotypes.from_matrix(M, ids=range(90))
    before, found = threads.n_threads(), []
    try:
        for number in (1, 2, 5):
            rb.set_threads(number)
            found.append([rb.genomic_matrix(g, method, block=300).to_numpy() for method in METHODS])
    finally:
        rb.set_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert np.array_equal(a, b)
    np.testing.assert_allclose(found[0][0], oracle(M, "vanraden1"), rtol=1e-11, atol=1e-12)


def test_float32_blocks():
    M = simulated(40, 3000)
    g = rb.Genotypes.from_matrix(M, ids=range(40))
    exact, single = rb.genomic_matrix(g), rb.genomic_matrix(g, dtype="float32")
    gap = np.max(np.abs(exact - single))
    assert 0 < gap < 1e-5


def test_progress_is_reported(capsys):
    seen = []
    g = rb.Genotypes.from_matrix(simulated(10, 25), ids=range(10))
    rb.genomic_matrix(g, block=10, progress=lambda done, m: seen.append((done, m)))
    assert seen == [(10, 25), (20, 25), (25, 25)]
    assert capsys.readouterr().out == ""
    rb.genomic_matrix(g, block=10, progress=True)
    assert "markers: 25 of 25" in capsys.readouterr().out


def test_genomic_relationship_in_a_model():
    M = simulated(33, 200)[3:]
    g = rb.Genotypes.from_matrix(M, ids=[f"i{k}" for k in range(30)])
    K = rb.genomic_relationship(g, frequencies="half")
    np.testing.assert_array_equal(K.dense(), rb.genomic_matrix(g, frequencies="half"))
    assert list(K.labels) == list(g.ids)
    y = np.random.default_rng(0).normal(size=30)
    data = pd.DataFrame({"id": g.ids, "y": y})
    solved = rb.MixedModel("y ~ 1 + (1 | vm(id, G))", data, {"G": K}).solve({"vm(id, G)": 1.0, "residual": 2.0})
    V = K.dense() + 2 * np.eye(30)
    mu = np.sum(np.linalg.solve(V, y)) / np.sum(np.linalg.inv(V))
    np.testing.assert_allclose(
        solved.blup("vm(id, G)")["Intercept"], K.dense() @ np.linalg.solve(V, y - mu), atol=1e-10
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda g: rb.genomic_matrix(g, "vanraden3"), rb.OptionError, "vanraden3"),
        (lambda g: rb.genomic_matrix(g, frequencies=[0.5]), rb.DataError, "one value for each of 4 markers"),
        (lambda g: rb.genomic_matrix(g, frequencies={1: 0.5}), rb.DataError, "no value for the markers 2, 3, 4"),
        (lambda g: rb.genomic_matrix(g, frequencies=[0.1, 2, 0, 0]), rb.DataError, "they do not for 2"),
        (lambda g: rb.genomic_matrix(g, block=0), rb.OptionError, "block=0"),
        (lambda g: rb.genomic_matrix(g.select(markers=[4])), rb.DataError, "one allele only"),
    ],
)
def test_errors(call, error, message):
    g = rb.Genotypes.from_matrix(np.array([[0, 1, 2, 0], [1, 1, 0, 0], [2, 0, 0, 0]]), ids=list("abc"))
    with pytest.raises(error, match=message):
        call(g)


def test_nothing_known_of_a_marker_or_an_individual():
    M = np.array([[0, 1, np.nan], [1, 2, np.nan], [np.nan, np.nan, np.nan]])
    g = rb.Genotypes.from_matrix(M, ids=list("abc"))
    with pytest.raises(rb.DataError, match="1 marker has no genotypes at all: 3"):
        rb.genomic_matrix(g)
    with pytest.raises(rb.DataError, match="1 individual has no genotypes at all: 'c'"):
        rb.genomic_matrix(g.select(markers=[1, 2]))


def test_genotypes_are_never_whole_as_floats():
    M = simulated(100, 20_000).astype(np.int8)
    g = rb.Genotypes.from_matrix(M, ids=range(100))
    rb.genomic_matrix(g, block=200)  # loads what is loaded once
    tracemalloc.start()
    try:
        rb.genomic_matrix(g.select(ids=g.ids), block=200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All of Z in float64 is 16 MB, a block 160 kB; tables of four codes a marker 640 kB each.
    assert peak < 6e6


def test_memory_is_asked_for_first(monkeypatch):
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", "1e-6")
    g = rb.Genotypes.from_matrix(simulated(30, 20), ids=range(30))
    with pytest.raises(rb.MemoryLimitError, match="relationship matrix of 30 individuals"):
        rb.genomic_matrix(g)


def test_a_data_frame_of_genotypes():
    values = np.random.default_rng(0).integers(0, 3, (6, 20))
    ids = list("uvwxyz")
    expected = rb.genomic_matrix(rb.Genotypes.from_matrix(values, ids))
    frame = pd.DataFrame(values, index=ids)
    pd.testing.assert_frame_equal(rb.genomic_matrix(frame), expected)
    relationship = rb.genomic_relationship(frame)
    assert relationship.labels.tolist() == ids
    np.testing.assert_array_equal(relationship.dense(), expected)
    for function in (rb.genomic_matrix, rb.genomic_relationship):
        with pytest.raises(rb.DataError, match=r"not ndarray.*Genotypes\.from_matrix\(M, ids=\.\.\.\)"):
            function(values)
