"""The two linear stages of C(θ): W'R⁻¹W for any entries of R⁻¹, and its assembly with any slots of Λ, built densely."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from remlblup.equations.henderson import cross_products as products_module
from remlblup.equations.henderson.cross_products import CrossProducts, by_coefficient, cross_products, listed
from remlblup.equations.henderson.keys import distinct, places
from remlblup.equations.henderson.layout import build_layout
from remlblup.linalg import row_blocks
from remlblup.linalg.threads import n_threads, set_threads
from remlblup.model.design import RandomDesign
from remlblup.relationship.base import IdentityRelationship
from remlblup.relationship.coerce import coerce
from remlblup.structure.base import Structure
from remlblup.structure.covariance.diagonal import Diagonal
from remlblup.structure.covariance.identity import Identity
from remlblup.structure.covariance.known import Known
from remlblup.structure.covariance.reduced_rank import ReducedRank
from remlblup.structure.covariance.unstructured import Unstructured
from remlblup.structure.residual.pattern import Pattern

SEEDS = st.integers(0, 10**6)


def sparse(rng, shape, density: float = 0.4) -> sp.csr_array:
    return sp.csr_array(np.where(rng.uniform(size=shape) < density, rng.normal(size=shape), 0.0))


def random_pattern(rng, n: int, n_coefficients: int, diagonal: bool = False) -> Pattern:
    """Any entries of the lower triangle, places and coefficients repeated, some coefficients in no entry."""
    if diagonal:
        return Pattern.diagonal(rng.integers(0, n_coefficients, n), rng.normal(size=n), n_coefficients)
    k = int(rng.integers(1, 4 * n))
    a, b = rng.integers(0, n, (2, k))
    coefficient = rng.integers(0, n_coefficients, k)
    return Pattern(n, np.maximum(a, b), np.minimum(a, b), coefficient, rng.normal(size=k), n_coefficients)


def dense_bases(pattern: Pattern) -> np.ndarray:
    D = np.zeros((pattern.n_coefficients, pattern.n, pattern.n))
    entries = zip(pattern.rows, pattern.columns, pattern.coefficient, pattern.value, strict=True)
    for i, j, r, value in entries:
        D[r, i, j] += value
        if i != j:
            D[r, j, i] += value
    return D


def lower_of(M: CrossProducts, m: int, values) -> np.ndarray:
    out = np.zeros((m, m))
    np.add.at(out, (M.rows, M.columns), values)
    return out


# -- the first stage -------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 12), st.integers(1, 7), st.integers(1, 5), st.booleans())
def test_cross_products_are_those_of_dense_matrices(seed, n, m, n_coefficients, diagonal):
    rng = np.random.default_rng(seed)
    W, pattern = sparse(rng, (n, m)), random_pattern(rng, n, n_coefficients, diagonal)
    D, dense = dense_bases(pattern), W.toarray()
    M = cross_products(W, pattern)
    assert np.all(M.rows >= M.columns)
    rho, weights = rng.normal(size=n_coefficients), rng.normal(size=len(M.rows))
    expected = np.tril(dense.T @ np.tensordot(rho, D, 1) @ dense)
    np.testing.assert_allclose(lower_of(M, m, M.values(rho)), expected, atol=1e-12)
    traces = [weights @ (dense.T @ d @ dense)[M.rows, M.columns] for d in D]
    np.testing.assert_allclose(M.traces(weights), traces, atol=1e-11)


@pytest.mark.parametrize(("n_coefficients", "diagonal"), [(1, True), (1, False), (3, False)])
@pytest.mark.parametrize("limits", [{}, {"DENSE_ELEMENTS": 0}, {"DENSE_ELEMENTS": 0, "DENSE_LIMIT": 0}])
def test_products_with_the_cross_products(limits, n_coefficients, diagonal, monkeypatch):
    for name, limit in limits.items():
        monkeypatch.setattr(products_module, name, limit)
    rng = np.random.default_rng(11)
    W, pattern = sparse(rng, (14, 6)), random_pattern(rng, 14, n_coefficients, diagonal)
    rho, B = rng.normal(size=n_coefficients), np.asfortranarray(rng.normal(size=(6, 2)))
    expected = W.toarray().T @ np.tensordot(rho, dense_bases(pattern), 1) @ W.toarray() @ B
    np.testing.assert_allclose(cross_products(W, pattern).times(rho, B), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 12), st.integers(1, 7), st.integers(1, 6), st.booleans())
def test_both_ways_to_lay_out_the_cross_products_agree(seed, n, m, n_coefficients, diagonal):
    rng = np.random.default_rng(seed)
    W, pattern = sparse(rng, (n, m)), random_pattern(rng, n, n_coefficients, diagonal)
    found = []
    for way in (by_coefficient, listed):
        total = np.zeros((n_coefficients, m * m))
        for keys, coefficient, values in way(W, pattern):
            np.add.at(total, (np.broadcast_to(coefficient, keys.shape), keys), values)
        found.append(total)
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)


@pytest.fixture(params=[1, 3])
def threads(request):
    before = n_threads()
    set_threads(request.param)
    yield request.param
    set_threads(before)


def test_compiled_cross_products_have_the_same_bits(threads):
    rng = np.random.default_rng(5)
    # Columns with elements in few rows, in some, and in nearly all: each is put in order in its own way.
    W = sp.csr_array(sp.hstack([sparse(rng, (300, k), share) for k, share in ((3, 0.9), (5, 0.07), (900, 0.002))]))
    pattern = Pattern.diagonal(np.zeros(300, np.int64), rng.uniform(0.5, 2.0, 300), 1)
    one, other = cross_products(W, pattern), cross_products(W, pattern, sp.csr_array(W.T))
    entries = np.bincount(one.columns)
    assert entries.max() > 300 and np.any((entries > 32) & (entries < 56)) and np.median(entries) < 5
    for name in ("rows", "columns", "bases"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


def test_products_by_blocks_of_rows_have_the_same_bits(threads, monkeypatch):
    monkeypatch.setattr(row_blocks, "MANY", 0)
    rng = np.random.default_rng(6)
    for shape, share in (((200, 30), 0.3), ((4, 900), 0.5), ((1, 5), 1.0), ((50, 7), 0.0)):
        A = sparse(rng, shape, share)
        for v in (rng.normal(size=shape[1]), rng.normal(size=(shape[1], 2))):
            np.testing.assert_array_equal(row_blocks.times(A, v), A @ v)


def test_many_coefficients_are_listed_at_once():
    rng = np.random.default_rng(1)
    W, pattern = sparse(rng, (40, 6)), random_pattern(rng, 40, 90)
    rho, dense = rng.normal(size=90), W.toarray()
    M = cross_products(W, pattern)
    expected = np.tril(dense.T @ np.tensordot(rho, dense_bases(pattern), 1) @ dense)
    np.testing.assert_allclose(lower_of(M, 6, M.values(rho)), expected, atol=1e-12)


# -- the second stage ------------------------------------------------------------------------------


def structure_of(kind: str, t: int, rng) -> Structure:
    effects = [f"e{i}" for i in range(t)]
    match kind:
        case "rr":
            return ReducedRank(effects, k=int(rng.integers(1, t + 1)))
        case "known":  # reduced rank inside a square Λ
            L = np.tril(rng.normal(size=(t, t)))
            L[:, -1] = 0.0 if t > 1 else L[:, -1]
            return Known(effects, matrix=L @ L.T)
    return {"us": Unstructured, "diag": Diagonal, "id": Identity}[kind](effects)


@st.composite
def models(draw):
    """W, R⁻¹, the terms, p, the filled cells; each level of a term in any record with any effect."""
    rng = np.random.default_rng(draw(SEEDS))
    p, filled = draw(st.integers(0, 2)), draw(st.integers(0, 3))
    kinds = draw(st.lists(st.sampled_from(["us", "diag", "id", "rr", "known"]), min_size=1, max_size=3))
    n = draw(st.integers(2, 9))
    random, columns = [], [sp.csr_array(rng.normal(size=(n, p)))]
    for kind in kinds:
        t, q = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        first = sp.csr_array(([1.0], ([0], [0])), shape=(n, q))  # no effect is without a record
        if rng.uniform() < 0.5:
            relationship = IdentityRelationship(np.arange(q))
        else:
            B = rng.normal(size=(q, q + 2))
            relationship = coerce("K", (B @ B.T + np.eye(q), np.arange(q)))
        Z = tuple(sp.csr_array(sparse(rng, (n, q)) + first) for _ in range(t))
        random.append(RandomDesign(kind, structure_of(kind, t, rng), relationship, Z, np.eye(t)))
        columns += Z
    W = sp.csr_array(sp.hstack(columns))
    if filled:
        W = sp.csr_array(sp.block_diag([W, sp.eye_array(filled)]))
    pattern = random_pattern(rng, n + filled, draw(st.integers(1, 4)))
    every = np.arange(pattern.n)
    pattern = Pattern(
        pattern.n,
        np.r_[pattern.rows, every],
        np.r_[pattern.columns, every],
        np.r_[pattern.coefficient, 0 * every],
        np.r_[pattern.value, np.ones(pattern.n)],
        pattern.n_coefficients,
    )
    return rng, W, pattern, tuple(random), p, filled


def symmetric(layout, values) -> np.ndarray:
    lower = sp.csc_array((values, layout.indices, layout.indptr), shape=(layout.m, layout.m)).toarray()
    assert np.all(lower == np.tril(lower))
    return lower + np.tril(lower, -1).T


def factors_of(layout, random, slots) -> list[np.ndarray]:
    factors = [np.zeros((d.t, d.structure.n_factors)) for d in random]
    for value, slot in zip(slots, layout.slots, strict=True):
        if slot.term >= 0:
            factors[slot.term][slot.i, slot.a] = value
    return factors


def transformation(random, factors, p: int, filled: int) -> np.ndarray:
    """T = blockdiag(I, Λ_k ⊗ I, I)."""
    blocks = [np.kron(f, np.eye(d.q)) for d, f in zip(random, factors, strict=True)]
    return scipy.linalg.block_diag(np.eye(p), *blocks, np.eye(filled))


@settings(max_examples=60, deadline=None)
@given(models())
def test_assembly_and_traces_for_any_slots(model):
    rng, W, pattern, random, p, filled = model
    products = cross_products(W, pattern)
    layout = build_layout(products, p, random, filled)
    slots = np.where([s.term >= 0 for s in layout.slots], rng.normal(size=len(layout.slots)), 1.0)
    slots *= np.where(
        [s.term >= 0 for s in layout.slots], rng.uniform(size=len(slots)) < 0.9, 1.0
    )  # a zero here, one there
    signs = rng.choice([-1.0, 1.0], sum(d.structure.n_factors for d in random))
    rho = rng.normal(size=pattern.n_coefficients)
    M, D = products.scaled(rho), dense_bases(pattern)
    dense = W.toarray()
    full = dense.T @ np.tensordot(rho, D, 1) @ dense
    T = transformation(random, factors_of(layout, random, slots), p, filled)
    precisions = [np.linalg.inv(np.eye(d.q) if d.is_identity else d.relationship.multiply(np.eye(d.q))) for d in random]
    prior, at = [np.zeros((p, p))], 0
    for d, precision in zip(random, precisions, strict=True):
        prior.append(np.kron(np.diag(signs[at : at + d.structure.n_factors]), precision))
        at += d.structure.n_factors
    expected = T.T @ full @ T + scipy.linalg.block_diag(*prior, np.zeros((filled, filled)))
    C = symmetric(layout, layout.assemble(M, slots, signs))
    np.testing.assert_allclose(C, expected, atol=1e-9 * max(1.0, np.abs(expected).max()))

    listed = build_layout(products, p, random, filled, "sparse")  # K⁻¹ by its entries where that is shorter
    assert np.array_equal(C, symmetric(listed, listed.assemble(M, slots, signs)))
    np.testing.assert_array_equal(layout.of_precision(), listed.of_precision())
    by_itself = listed.without_fixed(p)
    assert np.array_equal(C[p:, p:], symmetric(by_itself, by_itself.assemble(M, slots, signs)))

    # ⟨B, T'MT⟩ for any symmetric B on the pattern, as a function of the slots and of M.
    values = rng.normal(size=layout.nnz)
    B = symmetric(layout, values)
    traces = layout.slot_traces(M, values)
    assert np.array_equal(traces, traces.T)
    with patch("remlblup.equations.henderson.layout.DENSE_LIMIT", 0):  # by the compiled sums, to the bit
        assert np.array_equal(C, symmetric(layout, layout.assemble(M, slots, signs)))
        assert np.array_equal(traces, layout.slot_traces(M, values))
    quadratic = np.sum(B * (T.T @ full @ T))
    scale = np.sum(np.abs(B) * np.abs(T.T @ full @ T)) + 1.0
    assert slots @ traces @ slots == pytest.approx(quadratic, abs=1e-10 * scale)
    for s in range(1, len(slots)):
        if layout.slots[s].term < 0:
            continue
        unit = np.eye(len(slots))[s]
        up, down = (
            transformation(random, factors_of(layout, random, slots + h * unit), p, filled) for h in (0.5, -0.5)
        )
        numeric = np.sum(B * (up.T @ full @ up)) - np.sum(B * (down.T @ full @ down))  # exact: quadratic in λ
        assert 2.0 * (traces @ slots)[s] == pytest.approx(numeric, abs=1e-9 * scale)
    other = np.where([s.term >= 0 for s in layout.slots], rng.normal(size=len(slots)), 1.0)
    T_other = transformation(random, factors_of(layout, random, other), p, filled)
    weights = layout.cross_product_weights(other, values, len(products.rows))
    expected_traces = [np.sum(B * (T_other.T @ dense.T @ d @ dense @ T_other)) for d in D]
    np.testing.assert_allclose(
        products.traces(weights), expected_traces, atol=1e-8 * max(1.0, np.abs(expected_traces).max())
    )

    # The random block alone.
    block = layout.without_fixed(p)
    np.testing.assert_allclose(symmetric(block, block.assemble(M, slots, signs)), C[p:, p:], atol=1e-12)
    np.testing.assert_allclose(
        block.slot_traces(M, values[np.repeat(np.arange(layout.m), np.diff(layout.indptr)) >= p]),
        random_traces(layout, M, values, p),
        atol=1e-12,
    )


def random_traces(layout, M, values, p: int) -> np.ndarray:
    """`slot_traces` with the weights of the rows and columns of X at zero."""
    columns = np.repeat(np.arange(layout.m), np.diff(layout.indptr))
    return layout.slot_traces(M, np.where(columns >= p, values, 0.0))


def test_more_than_256_blocks_of_columns():
    """The sort by pairs of blocks has another integer beyond 255 blocks."""
    rng = np.random.default_rng(2)
    n, t, q = 400, 300, 2
    site, level = np.concatenate([np.arange(t), rng.integers(0, t, n - t)]), rng.integers(0, q, n)
    Z = tuple(sp.csr_array(np.eye(q)[level] * (site == i)[:, None]) for i in range(t))
    design = RandomDesign(
        "diag", Diagonal([f"e{i}" for i in range(t)]), IdentityRelationship(np.arange(q)), Z, np.eye(t)
    )
    W = sp.csr_array(sp.hstack([sp.csr_array(np.ones((n, 1))), *Z]))
    products = cross_products(W, Pattern.diagonal(np.zeros(n, int), np.ones(n), 1))
    layout = build_layout(products, 1, (design,))
    slots = np.concatenate([[1.0], rng.normal(size=t)])
    found = symmetric(layout, layout.assemble(products.scaled(np.array([0.7])), slots, np.ones(t)))
    T = np.concatenate([[1.0], np.repeat(slots[1:], q)])
    dense = W.toarray() * T
    np.testing.assert_allclose(found, 0.7 * dense.T @ dense + np.diag(np.r_[0.0, np.ones(t * q)]), atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True], ids=["sorted", "merged"])
@pytest.mark.parametrize("seed", range(4))
def test_keys_are_those_of_a_set(compiled, seed):
    rng = np.random.default_rng(seed)
    lists = [rng.integers(0, 400, size) for size in (60, 0, 300, 1)]
    lists += [np.sort(rng.integers(0, 10**12, 500)), np.arange(0, 400, 3)]
    found = distinct(iter(lists), compiled)
    np.testing.assert_array_equal(found, np.unique(np.concatenate(lists)))
    for keys in lists:
        np.testing.assert_array_equal(found[places(found, keys, compiled)], keys)
    assert places(found, lists[0], compiled).dtype == np.int32
