"""The pattern of a permuted matrix against the dense matrix itself."""

from __future__ import annotations

import numpy as np

from remlblup.linalg.sparse.symbolic import Graph, permuted_upper


def test_permuted_upper_is_the_upper_triangle_of_the_permuted_matrix():
    random = np.random.default_rng(5)
    n = 30
    rows, columns = np.nonzero(np.tril(random.random((n, n)) < 0.2, -1))
    permutation = random.permutation(n)
    full = np.zeros((n, n), dtype=bool)
    full[rows, columns] = full[columns, rows] = True
    permuted = full[np.ix_(permutation, permutation)]

    for kind in (np.int32, np.int64):
        indptr, early = permuted_upper(Graph(rows.astype(kind), columns.astype(kind), np.full(n, -1)), permutation)
        for i in range(n):
            assert sorted(early[indptr[i] : indptr[i + 1]]) == np.flatnonzero(permuted[:i, i]).tolist()
