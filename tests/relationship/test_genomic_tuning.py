"""Blending and tuning of a genomic relationship."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.relationship.genomic.tuning import blended, tuned

PEDIGREE = rb.Pedigree([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 3, 3], [0, 0, 2, 2, 4, 2])
LABELS = [5, 3, 6, 4]


@pytest.fixture
def G():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 9))
    return pd.DataFrame(X @ X.T / 9, index=LABELS, columns=LABELS)


def off(K):
    return np.asarray(K)[~np.eye(len(K), dtype=bool)].mean()


def test_blend_by_hand(G):
    A22 = PEDIGREE.dense(LABELS)
    np.testing.assert_allclose(rb.blend(G, PEDIGREE), 0.95 * G.to_numpy() + 0.05 * A22, rtol=1e-15)
    np.testing.assert_allclose(rb.blend(G, weight=0.01), 0.99 * G.to_numpy() + 0.01 * np.eye(4), rtol=1e-15)
    np.testing.assert_array_equal(rb.blend(G, PEDIGREE, 0.0), G)
    np.testing.assert_array_equal(rb.blend(G, PEDIGREE, 1), A22)
    frame = pd.DataFrame(A22, index=LABELS, columns=LABELS).iloc[::-1, ::-1]
    pd.testing.assert_frame_equal(rb.blend(G, frame, 0.3), rb.blend(G, PEDIGREE, 0.3))
    np.testing.assert_array_equal(blended(G.to_numpy(), A22), rb.blend(G, PEDIGREE))


def test_blend_makes_a_singular_matrix_usable():
    M = np.random.default_rng(1).integers(0, 3, (12, 40))
    K = rb.genomic_matrix(rb.Genotypes.from_matrix(M, ids=range(12)))
    assert abs(np.linalg.eigvalsh(K)[0]) < 1e-12  # centred by the observed frequencies
    assert np.linalg.eigvalsh(rb.blend(K, weight=0.02))[0] == pytest.approx(0.02, abs=1e-10)


def test_forms_are_kept(G):
    K = rb.Relationship(G)
    assert isinstance(rb.blend(G, PEDIGREE), pd.DataFrame)
    out = rb.blend(K, PEDIGREE)
    assert isinstance(out, rb.Relationship) and list(out.labels) == LABELS
    np.testing.assert_array_equal(out.dense(), rb.blend(G, PEDIGREE))
    np.testing.assert_array_equal(
        rb.tune(K, rb.Relationship(PEDIGREE.dense(LABELS), LABELS)).dense(), rb.tune(G, PEDIGREE)
    )


def test_tuning_meets_its_conditions(G):
    A22 = PEDIGREE.dense(LABELS)
    values = G.to_numpy()
    np.testing.assert_array_equal(rb.tune(G, PEDIGREE, 0), G)
    one = rb.tune(G, PEDIGREE, 1)
    assert np.trace(one) / 4 == pytest.approx(1, abs=1e-14) and off(one) == pytest.approx(0, abs=1e-14)
    two = rb.tune(G, PEDIGREE)
    assert np.trace(two) == pytest.approx(np.trace(A22), rel=1e-14) and off(two) == pytest.approx(off(A22), rel=1e-13)
    three = rb.tune(G, PEDIGREE, 3)
    np.testing.assert_allclose(three - values, A22.mean() - values.mean(), rtol=1e-13)
    four = rb.tune(G, PEDIGREE, 4)
    a = A22.mean() - values.mean()
    np.testing.assert_allclose(four, a + (1 - a / 2) * values, rtol=1e-14)
    assert four.attrs == {"tuned_a": a, "tuned_b": 1 - a / 2}
    for method in range(5):
        np.testing.assert_array_equal(tuned(values, A22, method), rb.tune(G, PEDIGREE, method))


def test_christensen_is_method_2(G):
    """a, b from mean(diag G) b + a = mean(diag A22) and mean(G) b + a = mean(A22) (Christensen et al. 2012)."""
    A22, values = PEDIGREE.dense(LABELS), G.to_numpy()
    rows = [[1, np.trace(values) / 4], [1, values.mean()]]
    a, b = np.linalg.solve(rows, [np.trace(A22) / 4, A22.mean()])
    np.testing.assert_allclose(rb.tune(G, PEDIGREE, 2), a + b * values, rtol=1e-12)


def test_errors(G):
    other = G.rename(index={4: 9}, columns={4: 9})
    with pytest.raises(rb.RelationshipError, match="of K, 1 individual is not in the other matrix: 4"):
        rb.blend(G, other)
    with pytest.raises(rb.RelationshipError, match="of the other matrix, 1 individual is not in K: 4"):
        rb.tune(G.drop(index=4, columns=4), G)
    with pytest.raises(rb.RelationshipError, match="not in the relationship: 77"):
        rb.tune(G.rename(index={4: 77}, columns={4: 77}), PEDIGREE)
    with pytest.raises(rb.RelationshipError, match="labelled matrix is needed"):
        rb.blend(G.to_numpy())
    with pytest.raises(rb.RelationshipError, match="cannot be tuned"):
        rb.tune(pd.DataFrame(np.ones((4, 4)), LABELS, LABELS), PEDIGREE)
    with pytest.raises(rb.OptionError, match=r"weight=1\.5"):
        rb.blend(G, PEDIGREE, 1.5)
    with pytest.raises(rb.OptionError, match="tuning 7"):
        rb.tune(G, PEDIGREE, 7)
    with pytest.raises(rb.OptionError, match="other='pedigree'"):
        rb.blend(G, "pedigree")
