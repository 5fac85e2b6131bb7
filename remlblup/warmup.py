"""Everything that a large model needs, compiled ahead."""

from __future__ import annotations

from typing import Any


def two_cliques(own: int, shared: int) -> Any:
    """Lower triangle of a positive definite matrix with two large fronts, one the child of the other."""
    import numpy as np
    import scipy.sparse as sp

    n = 2 * own + shared
    C = np.zeros((n, n))
    C[own:, own:] = C[:own, :own] = C[-shared:, :own] = 1.0
    return sp.csc_array(np.tril(C + n * np.eye(n)))


def warm_up() -> None:
    """Compile everything that a large model needs, so that no fit has to wait for it."""
    import numpy as np
    import scipy.sparse as sp

    from remlblup.linalg.contract import DenseBlock
    from remlblup.linalg.factor import make_factor
    from remlblup.linalg.sparse import stages
    from remlblup.linalg.sparse.cross import lower_product
    from remlblup.relationship.descent import numerator, numerator_kernels
    from remlblup.relationship.genomic import packed

    pattern = sp.csc_array(sp.tril(sp.diags_array([np.full(40, 4.0), np.ones(39)], offsets=[0, -1])))
    for sign in (1.0, -1.0):  # positive definite, then indefinite
        factor = make_factor(pattern.indptr, pattern.indices, 40, "sparse")
        factor.factorize(sign * pattern.data)
        factor.solve(np.ones((40, 2)))
        factor.inverse_on_pattern()
    pattern = two_cliques(660, 40)
    block = DenseBlock(np.arange(2), np.eye(2))
    factor = make_factor(pattern.indptr, pattern.indices, pattern.shape[0], "sparse", blocks=[block])
    factor.factorize(np.append(pattern.data, 1.0))
    factor.inverse_on_pattern()
    factor.logdet  # noqa: B018  a property, computed
    at, one = np.zeros(2, np.int32), np.ones(2)
    for pair in (np.zeros(2, np.int16), at):  # of few slots, and of many
        stages.add_products(at, at, pair, 1.0, one, one, np.zeros(2))
        stages.pair_traces(at, at, pair, 1.0, one, at.astype(np.int8), one, np.zeros(2))
    stages.add_at(at, one, np.zeros(2))
    stages.add_symmetric(at, at, 1.0, one, np.ones((2, 1)), np.zeros((2, 1)))
    W = sp.csr_array(sp.eye_array(4))
    lower_product(W, sp.csr_array(W.T), np.ones(4))
    keys = np.arange(4)
    stages.is_ascending(keys)
    stages.merge(keys, keys, np.empty(8, np.int64))
    stages.places_among(keys, keys, np.empty(4, np.int32))
    parents = np.concatenate([[-1, -1], np.zeros(8)]).astype(np.int32)
    mates = np.concatenate([[-1, -1], np.ones(8)]).astype(np.int32)
    parents.flags.writeable = mates.flags.writeable = False  # as those of a pedigree
    variance = numerator.mendelian_variance(parents, mates, numerator.inbreeding(parents, mates, "columns"))
    numerator_kernels.lower_precision(parents, mates, 1.0 / variance)
    numerator.precision_times(parents, mates, variance, np.ones((10, 1)))
    for move in (numerator_kernels.up_in_place, numerator_kernels.down_in_place):
        move(parents, mates, np.ones((10, 1)))
    counts = np.zeros((4, 2), np.int8, order="F")
    for genotypes in (packed.packed_bed(np.zeros((2, 1), np.uint8), True, None, 4), packed.packed_counts(counts)):
        packed.packed_product(genotypes, np.zeros((2, 4)), np.zeros((4, 17)))  # a wide panel and a narrow one
