"""Products of relationships against np.kron of their dense matrices."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import remlblup as rb
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.product import PairsRelationship, ProductRelationship, paired, product_of
from remlblup.relationship.roots import root_times, root_width

PEDIGREE = rb.Pedigree([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 3, 3], [0, 0, 2, 2, 4, 2])


def genomic(size: int, seed: int, centred: bool = False, inverse: bool = False) -> rb.Relationship:
    M = np.random.default_rng(seed).normal(size=(size, 3 * size))
    M = M - M.mean(axis=0) if centred else M
    K = M @ M.T / M.shape[1]
    return rb.Relationship(np.linalg.inv(K) if inverse else K, [f"g{k}" for k in range(size)], inverse=inverse)


def sparse_given() -> rb.Relationship:
    return rb.Relationship(sp.csc_array(np.kron(np.eye(2), [[1.0, 0.3], [0.3, 2.0]])), list("wxyz"))


REGULAR = {
    "pedigree": lambda: PEDIGREE,
    "identity": lambda: IdentityRelationship(["p", "q", "r"]),
    "dense": lambda: genomic(4, 1),
    "inverse": lambda: genomic(3, 2, inverse=True),
    "sparse": sparse_given,
}
SINGULAR = {"centred": lambda: genomic(5, 3, centred=True)}
regular = st.lists(st.sampled_from(sorted(REGULAR)), min_size=2, max_size=3)
any_kind = st.lists(st.sampled_from(sorted(REGULAR | SINGULAR)), min_size=2, max_size=3)


def made(kinds: list[str]) -> list[RelationshipBase]:
    return [(REGULAR | SINGULAR)[kind]() for kind in kinds]


def kron(parts: list[RelationshipBase]) -> np.ndarray:
    return functools.reduce(np.kron, [part.dense() for part in parts])


@settings(max_examples=25, deadline=None)
@given(regular, st.integers(0, 2**31))
def test_all_combinations_are_kron(kinds, seed):
    parts, rng = made(kinds), np.random.default_rng(seed)
    product, K = ProductRelationship(parts), kron(parts)
    q = len(K)
    V, some = rng.normal(size=(q, 3)), rng.integers(0, q, 5)
    np.testing.assert_allclose(product.multiply(V), K @ V, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(product.multiply(V[:, 0]), K @ V[:, 0], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(product.precision.toarray() @ K, np.eye(q), atol=1e-9)
    np.testing.assert_allclose(product.precision_times(K @ V), V, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.tril(product.precision.toarray()), product.lower_precision.toarray())
    np.testing.assert_allclose(product.logdet, np.linalg.slogdet(K)[1], rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(product.diagonal, np.diag(K), rtol=1e-12)
    np.testing.assert_allclose(product.columns(some), K[:, some], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(product.among(some), K[np.ix_(some, some)], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(product.dense(), K, rtol=1e-12, atol=1e-12)
    L = root_times(product, np.eye(root_width(product)))
    np.testing.assert_allclose(L @ L.T, K, rtol=1e-9, atol=1e-9)
    assert np.all(product.at(product.codes_of(some)) == some)
    assert list(product.find(product.labels[some])) == list(some)


@settings(max_examples=25, deadline=None)
@given(any_kind, st.integers(0, 2**31))
def test_combinations_that_occur_are_a_part_of_kron(kinds, seed):
    parts, rng = made(kinds), np.random.default_rng(seed)
    shape = [part.size for part in parts]
    all_of_them = kron(parts)
    kept = np.sort(rng.choice(len(all_of_them), max(3, len(all_of_them) // 2), replace=False))
    codes = np.stack(np.unravel_index(kept, shape), axis=1)
    product, K = PairsRelationship(parts, codes), all_of_them[np.ix_(kept, kept)]
    np.testing.assert_allclose(product.dense(), K, rtol=1e-12, atol=1e-12)
    assert list(product.labels) == [
        ":".join(str(p.labels[c]) for p, c in zip(parts, row, strict=True)) for row in codes
    ]
    rest = np.setdiff1d(np.arange(len(all_of_them)), kept)[:4]
    other = np.stack(np.unravel_index(rest, shape), axis=1)
    assert np.all(product.at(other) == -1) and np.all(product.at(codes) == np.arange(len(kept)))
    assert np.all(product.at(np.where(np.arange(len(shape)) == 0, -1, codes)) == -1)
    beside = all_of_them[np.ix_(kept, rest)]
    np.testing.assert_allclose(product.beside(other), beside, rtol=1e-12, atol=1e-12)
    # The defining equation of the regression, E[(u_new − B u) u'] = 0, holds for a singular K too.
    B = product.regression(other)
    scale = np.abs(all_of_them).max()
    np.testing.assert_allclose(B @ K, beside.T, atol=1e-7 * scale)
    np.testing.assert_allclose(paired(parts, other, other[::-1]), all_of_them[rest, rest[::-1]], rtol=1e-12, atol=1e-12)


def test_sparse_inverses_over_all_combinations_else_those_that_occur():
    codes = np.array([[0, 0], [1, 1], [2, 1], [1, 1]])
    tree, rows = PEDIGREE, IdentityRelationship(["p", "q"])
    assert isinstance(product_of([tree, rows], codes), ProductRelationship)
    assert isinstance(product_of([tree, genomic(4, 1)], codes), PairsRelationship)  # 21 x 16 numbers against 3 x 3
    full = np.argwhere(np.ones((6, 4)))
    assert isinstance(product_of([tree, genomic(4, 1)], full), ProductRelationship)  # against 24 x 24
    assert isinstance(product_of([tree, genomic(5, 3, centred=True)], np.argwhere(np.ones((6, 5)))), PairsRelationship)
    assert product_of([tree, genomic(4, 1)], codes).size == 3
    assert isinstance(product_of([tree, tree], np.repeat(np.arange(6)[:, None], 2, 1), False), PairsRelationship)


def test_a_pedigree_of_thousands_by_environments_stays_sparse():
    rng = np.random.default_rng(1)
    n = 2000
    ids = np.arange(1, n + 1)
    sires, dams = (np.where(ids <= 100, 0, rng.integers(1, np.maximum(ids, 2))) for _ in range(2))
    dams = np.where(dams == sires, 0, dams)
    A = rb.Pedigree(ids, sires, dams, hermaphrodites=True)
    product = product_of([A, IdentityRelationship(range(50))], np.array([[0, 0], [5, 3]]))
    assert product.size == 100_000
    assert product.precision.nnz == A.precision.nnz * 50 < 20 * product.size


def test_groups_of_unknown_parents_are_refused():
    with_groups = rb.Pedigree([1, 2, 3], ["g1", 1, 1], ["g2", "g1", 2], groups=["g1", "g2"])
    with pytest.raises(rb.RelationshipError, match=r"groups of unknown parents \('g1', 'g2'\).*cannot be multiplied"):
        product_of([with_groups, IdentityRelationship("ab")], np.zeros((1, 2), dtype=int))


def test_levels_that_would_read_alike_are_refused():
    a, b = (IdentityRelationship(pd.Index(labels)) for labels in (["x", "x:y"], ["y:z", "z"]))
    with pytest.raises(rb.RelationshipError, match="both read 'x:y:z'"):
        _ = ProductRelationship([a, b]).labels
