import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from remlblup.errors import RelationshipError
from remlblup.relationship.base import IdentityRelationship
from remlblup.relationship.given import matrix
from remlblup.relationship.given.matrix import Relationship
from remlblup.relationship.pedigree.pedigree import Pedigree

K = np.array([[1.0, 0.5, 0.25], [0.5, 1.2, 0.3], [0.25, 0.3, 0.9]])
LABELS = ["x", "y", "z"]
FORMS = [np.asarray, sp.csc_array, sp.csr_matrix, sp.coo_array]


def agree(relationship, expected):
    """Every member of the protocol says the same K."""
    expected = np.asarray(expected)
    inverse = np.linalg.inv(expected)
    scale = np.abs(inverse).max()
    assert relationship.size == len(relationship) == len(expected)
    np.testing.assert_allclose(relationship.dense(), expected, atol=1e-11)
    np.testing.assert_allclose(relationship.precision.toarray(), inverse, atol=1e-11 * scale)
    assert relationship.precision.format == "csc"
    np.testing.assert_allclose(relationship.diagonal, np.diag(expected), atol=1e-11)
    assert relationship.logdet == pytest.approx(np.linalg.slogdet(expected)[1], abs=1e-10)
    V = np.random.default_rng(0).normal(size=(len(expected), 2))
    np.testing.assert_allclose(relationship.multiply(V), expected @ V, atol=1e-10)
    np.testing.assert_allclose(relationship.multiply(V[:, 0]), expected @ V[:, 0], atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_matrix_and_its_inverse(form):
    agree(Relationship(form(K), LABELS), K)
    agree(Relationship(form(np.linalg.inv(K)), LABELS, inverse=True), K)


@pytest.mark.parametrize("inverse", [False, True])
def test_blocks_of_a_sparse_matrix(inverse):
    blocks = [K, [[2.0]], K[:2, :2], [[0.5]], K, K, K]
    full = sp.block_diag(blocks).toarray()
    shuffle = np.random.default_rng(3).permutation(len(full))
    full = full[np.ix_(shuffle, shuffle)]
    given_matrix = np.linalg.inv(full) if inverse else full
    given_matrix[np.abs(given_matrix) < 1e-12] = 0
    relationship = Relationship(sp.csc_array(given_matrix), np.arange(len(full)), inverse=inverse)
    agree(relationship, full)
    assert relationship.is_sparse
    assert relationship.precision.nnz == sp.csc_array(given_matrix).nnz


def test_sparse_inverse_too_large_for_a_dense_one(monkeypatch):
    monkeypatch.setattr(matrix, "DENSE_LIMIT", 4)
    n = 40
    chain = sp.diags_array([-0.5, 1.3, -0.5], offsets=[-1, 0, 1], shape=(n, n)).tocsc()
    relationship = Relationship(chain, np.arange(n), inverse=True)
    expected = np.linalg.inv(chain.toarray())
    np.testing.assert_allclose(relationship.diagonal, np.diag(expected), atol=1e-12)
    assert relationship.logdet == pytest.approx(np.linalg.slogdet(expected)[1])
    np.testing.assert_allclose(relationship.multiply(np.eye(n)), expected, atol=1e-12)
    with pytest.raises(RelationshipError, match="A dense relationship matrix of 40 levels"):
        relationship.dense()
    direct = Relationship(chain, np.arange(n))
    with pytest.raises(RelationshipError, match="Give the inverse itself"):
        _ = direct.precision


def test_identity():
    agree(IdentityRelationship(LABELS), np.eye(3))
    assert IdentityRelationship([1.0, 2.0]).labels.tolist() == [1, 2]
    assert repr(IdentityRelationship(LABELS)) == "IdentityRelationship(3 levels)"
    with pytest.raises(RelationshipError, match="'w'"):
        IdentityRelationship(LABELS).index(["x", "w"])


def test_pedigree_keeps_the_same_protocol():
    pedigree = Pedigree([1, 2, 3, 4], [0, 0, 1, 3], [0, 0, 2, 2])
    agree(pedigree, [[1, 0, 0.5, 0.25], [0, 1, 0.5, 0.75], [0.5, 0.5, 1, 0.75], [0.25, 0.75, 0.75, 1.25]])
    agree(Relationship(pedigree.precision, pedigree.labels, inverse=True), pedigree.dense())


def test_small_asymmetry_of_printed_figures_is_mended():
    bent = K.copy()
    bent[0, 1] += 1e-10
    relationship = Relationship(bent, LABELS)
    assert (relationship.dense() == relationship.dense().T).all()


def test_the_users_matrix_is_left_alone():
    mine = K.copy()
    _ = Relationship(mine, LABELS).precision
    np.testing.assert_array_equal(mine, K)


def error(*args, **kwargs) -> str:
    with pytest.raises(RelationshipError) as caught:
        Relationship(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("form", [np.asarray, sp.csc_array])
def test_errors_of_the_matrix(form):
    assert "shape (2, 3)" in error(form(K[:2]), LABELS)
    holed = K.copy()
    holed[1, 2] = np.nan
    assert "1 missing or infinite" in error(form(holed), LABELS)
    triangle = np.tril(K)
    message = error(form(triangle), LABELS)
    assert "not symmetric: row 0, column 1" in message or "not symmetric: row 1, column 0" in message
    indefinite = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    message = error(form(indefinite), LABELS)
    assert "1 of its 3 eigenvalues are negative, the smallest -1" in message
    assert "levels 'x' and 'y' weigh most" in message
    assert "bend=0.001" in message and "0.99 K + 0.01 I" in message and "drop levels" in message
    singular = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert "2 of its 3 eigenvalues are positive" in error(form(singular), LABELS, inverse=True)
    assert "inverse relationship matrix is not positive definite" in error(form(indefinite), LABELS, inverse=True)


def test_indefinite_sparse_matrices_of_many_blocks():
    bad = sp.diags_array(np.r_[np.ones(9), -1.0]).tocsc()
    assert "the smallest -1" in error(bad, range(10))
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert "not positive semidefinite" in error(sp.block_diag([np.eye(8), indefinite]).tocsc(), range(10))
    connected = sp.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(10, 10)).tocsc()
    assert "not positive definite" in error(connected, range(10), inverse=True)
    zero_pivot = sp.csc_array(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert "not positive definite" in error(zero_pivot, range(2), inverse=True)


def test_rank_deficient_genomic_matrix():
    # Centred markers: G 1 = 0, so that Cholesky fails or passes by rounding alone.
    markers = np.random.default_rng(2).integers(0, 3, size=(60, 500)).astype(float)
    markers -= markers.mean(axis=0)
    G = markers @ markers.T / 250
    singular = Relationship(G, range(60))
    assert singular.rank == 59 and singular.is_singular and not singular.is_sparse
    np.testing.assert_allclose(singular.root @ singular.root.T, G, atol=1e-13)
    assert singular.logdet == pytest.approx(np.log(np.linalg.eigvalsh(G)[1:]).sum(), rel=1e-12)
    assert repr(singular) == "Relationship(60 levels, dense, rank 59)"
    with pytest.raises(RelationshipError, match="rank 59 of 60"):
        _ = singular.precision
    agree(Relationship(0.99 * G + 0.01 * np.eye(60), range(60)), 0.99 * G + 0.01 * np.eye(60))


def test_errors_of_the_labels():
    assert "does not say which row" in error(K)
    assert "3 rows but 2 labels" in error(K, ["a", "b"])
    assert "more than once: '7'" in error(K, [7, "7", "8"])
    assert "1 label is missing (row 1" in error(K, ["a", None, "b"])
    assert "not numbers" in error([["a", "b"], ["c", "d"]], [1, 2])
    assert "complex" in error(1j * K, LABELS)
    assert "complex" in error(sp.csc_array(1j * K), LABELS)
    assert "not numbers" in error([[1, 2], [3]], [1, 2])
    assert "square" in error(np.empty((0, 0)), [])
    assert "square" in error([1.0, 2.0], [1, 2])


def test_repr():
    assert repr(Relationship(K, LABELS)) == "Relationship(3 levels, dense)"
    assert repr(Relationship(sp.csc_array(K), LABELS, True)) == "Relationship(3 levels, sparse, given as inverse)"


def test_data_frame_brings_its_labels():
    frame = pd.DataFrame(K, index=LABELS, columns=LABELS)
    agree(Relationship(frame), K)
    assert Relationship(frame).labels.tolist() == LABELS
    assert Relationship(frame, labels=[1, 2, 3]).labels.tolist() == [1, 2, 3]


@given(st.integers(1, 12), st.integers(0, 10_000), st.booleans(), st.sampled_from(FORMS))
def test_any_positive_definite_matrix(n, seed, inverse, form):
    root = np.random.default_rng(seed).normal(size=(n, n + 3))
    full = root @ root.T / n + 0.1 * np.eye(n)
    relationship = Relationship(form(np.linalg.inv(full) if inverse else full), range(n), inverse=inverse)
    np.testing.assert_allclose(relationship.precision @ full, np.eye(n), atol=1e-8)
    np.testing.assert_allclose(relationship.diagonal, np.diag(full), rtol=1e-8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inverse", [False, True])
def test_multiply_refuses_other_shapes(form, inverse):
    with pytest.raises(RelationshipError, match="holds 3 levels"):
        Relationship(form(K), LABELS, inverse=inverse).multiply(np.ones(4))
    with pytest.raises(RelationshipError, match="holds 3 levels"):
        IdentityRelationship(LABELS).multiply(np.ones((2, 3)))


@pytest.mark.parametrize("form", [np.asarray, sp.csc_array])
def test_clones_leave_the_rank_of_the_others(form):
    clones = np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    relationship = Relationship(form(clones), LABELS)
    assert relationship.rank == 2
    np.testing.assert_allclose(relationship.root @ relationship.root.T, clones, atol=1e-15)
    np.testing.assert_allclose(relationship.multiply(np.eye(3)), clones)


def test_nearly_singular_keeps_its_small_eigenvalue():
    values, vectors = np.array([1e-10, 1.0, 2.0]), np.linalg.qr(K)[0]
    near = Relationship((vectors * values) @ vectors.T, LABELS)
    assert near.rank == 3 and near.is_singular
    assert near.logdet == pytest.approx(np.log(values).sum(), abs=1e-4)


def test_bending_raises_the_small_eigenvalues_only():
    indefinite = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    bent = Relationship(indefinite, LABELS, bend=0.01)
    np.testing.assert_allclose(np.linalg.eigvalsh(bent.dense()), [0.01, 1.0, 3.0], atol=1e-14)
    assert bent.rank == 3
    with pytest.raises(RelationshipError, match="between 0 and 1"):
        Relationship(indefinite, LABELS, bend=2)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", [np.array, sp.csc_array])
def test_parts(kind, inverse, monkeypatch):
    rng = np.random.default_rng(4)
    M = rng.normal(size=(6, 9))
    K = M @ M.T
    names = list("abcdef")
    relationship = Relationship(kind(np.linalg.inv(K) if inverse else K), names, inverse=inverse)
    expected = K[np.ix_([4, 0, 3], [4, 0, 3])]
    np.testing.assert_allclose(relationship.dense(["e", "a", "d"]), expected, rtol=1e-9)
    part = relationship.subset(iter(["e", "a", "d"]))
    assert part.labels.tolist() == ["e", "a", "d"]
    np.testing.assert_allclose(part.dense(), expected, rtol=1e-9)
    with pytest.raises(RelationshipError, match="not in the relationship: 'z'"):
        relationship.dense(["a", "z"])
    with pytest.raises(RelationshipError, match="more than once: 'a'"):
        relationship.subset(["a", "a"])
    monkeypatch.setattr("remlblup.relationship.given.matrix.DENSE_LIMIT", 4)
    np.testing.assert_allclose(relationship.dense(["e", "a", "d"]), expected, rtol=1e-9)


def test_a_matrix_of_zeros():
    with pytest.raises(RelationshipError, match="matrix is zero"):
        Relationship(np.zeros((3, 3)), ["a", "b", "c"])
