"""Coordinates of correlation matrices near the edge: derivatives, steps that stay inside, directions off a face."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from remlblup.structure.edge.base import Edge
from remlblup.structure.edge.elliptope import Elliptope
from remlblup.structure.edge.partial_autocorrelation import (
    PartialAutocorrelations,
    autocorrelations,
    partial_autocorrelations,
)


def unit_rows(t: int, rank: int, seed: int) -> np.ndarray:
    """A correlation matrix of the given rank."""
    rows = np.random.default_rng(seed).normal(size=(t, rank))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    return rows @ rows.T


def spectrum(t: int, rank: int, seed: int) -> np.ndarray:
    """ρ_1 … ρ_{t−1} of a Toeplitz matrix of the given rank: each frequency inside (0, π) adds two, π and 0 one."""
    rng = np.random.default_rng(seed)
    frequencies = np.r_[rng.uniform(0.2, 2.9, rank // 2), [np.pi] * (rank % 2)]
    weights = rng.dirichlet(np.ones(len(frequencies)) * 3)
    return np.cos(np.outer(np.arange(1, t), frequencies)) @ weights


def matrix_of(edge: Edge, parameters: np.ndarray) -> np.ndarray:
    if isinstance(edge, PartialAutocorrelations):
        return scipy.linalg.toeplitz(np.r_[1.0, parameters])
    t = len(edge.order)
    R = np.eye(t)
    R[np.tril_indices(t, -1)] = parameters
    return R + np.tril(R, -1).T


def parameters_of(edge: Edge) -> np.ndarray:
    return edge.moved(np.zeros(len(edge.x)))


EDGES = {
    **{
        f"corg {t} {r}": Elliptope.at(unit_rows(t, r, t + 10 * r))
        for t, r in ((2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (5, 1), (5, 3), (5, 5))
    },
    **{
        f"toep {t} {r}": PartialAutocorrelations(spectrum(t, r, t + 10 * r))
        for t, r in ((2, 1), (3, 2), (4, 2), (5, 3), (5, 4))
    },
    "toep inside": PartialAutocorrelations(np.array([0.5, -0.1, -0.2])),
    "toep one": PartialAutocorrelations(np.ones(3)),
    "toep alternating": PartialAutocorrelations(np.array([-1.0, 1.0, -1.0])),
}
every = pytest.mark.parametrize("name", EDGES)


@every
def test_no_step_leaves_a_point(name):
    edge = EDGES[name]
    rank = np.linalg.matrix_rank(matrix_of(edge, parameters_of(edge)), tol=1e-6)
    assert rank == (
        int(name.split()[2]) if name[-1].isdigit() else {"inside": 4, "one": 1, "alternating": 1}[name.split()[1]]
    )
    assert edge.singular == (rank < len(matrix_of(edge, parameters_of(edge))))
    assert edge.on_face.sum() <= len(edge.x)


@every
def test_jacobian_is_that_of_a_step(name):
    edge = EDGES[name]
    h = 1e-6
    numeric = np.column_stack([(edge.moved(h * e) - edge.moved(-h * e)) / (2 * h) for e in np.eye(len(edge.x))])
    np.testing.assert_allclose(edge.jacobian(), numeric, atol=1e-8)


@every
@pytest.mark.parametrize("seed", range(4))
def test_every_step_stays_a_correlation_matrix(name, seed):
    edge = EDGES[name]
    R = matrix_of(edge, edge.moved(np.random.default_rng(seed).normal(size=len(edge.x)) * 10.0 ** (seed - 2)))
    assert np.linalg.eigvalsh(R)[0] > -1e-13
    np.testing.assert_array_equal(np.diag(R), 1.0)
    assert np.max(np.abs(R)) <= 1.0


@every
@pytest.mark.parametrize("seed", range(3))
def test_the_direction_off_a_face_is_inside_and_rises_as_it_says(name, seed):
    edge = EDGES[name]
    if not edge.singular:
        return
    t = len(matrix_of(edge, parameters_of(edge)))
    S = np.random.default_rng(seed).normal(size=(t, t))
    S = S + S.T
    J = edge.jacobian()[:, edge.on_face]
    here = parameters_of(edge)
    # A score without a component along the face, as at a maximum on it.
    gradient = np.array([np.sum(S * (matrix_of(edge, e) - matrix_of(edge, 0 * e))) for e in np.eye(len(here))])
    if isinstance(edge, PartialAutocorrelations):
        gradient -= J @ np.linalg.lstsq(J, gradient, rcond=None)[0]
        S = np.zeros((t, t))
        for lag, g in enumerate(gradient, 1):
            S[0, lag] = S[lag, 0] = 0.5 * g
    inward = edge.inward(S)
    gain = sum(g * c for g, c in zip(gradient, inward.change, strict=True))
    if inward.value > 0.0:
        assert gain == pytest.approx(inward.value, abs=1e-9)
    new = inward.towards(1e-3)
    assert np.linalg.eigvalsh(matrix_of(edge, new))[0] > -1e-13
    np.testing.assert_allclose(
        new - here, 1e-3 * inward.change, atol=3e-6 * max(1.0, np.max(np.abs(inward.change))) ** 2
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_correlation_matrix_beats_a_face_that_says_so(seed):
    """The largest tr(S R) over all R, by brute force, against the direction off the maximiser's face."""
    rng = np.random.default_rng(seed)
    t = 4
    S = rng.normal(size=(t, t))
    S = S + S.T
    R = unit_rows(t, t, seed)
    for _ in range(20_000):  # block coordinate ascent of the Burer–Monteiro form; r ≥ √(2t), no spurious maxima
        rows = np.linalg.cholesky(R + 1e-14 * np.eye(t))
        for i in range(t):
            w = (S[i] @ rows) - S[i, i] * rows[i]
            rows[i] = w / np.linalg.norm(w)
        if np.max(np.abs(rows @ rows.T - R)) < 1e-13:
            break
        R = rows @ rows.T
    edge = Elliptope.at(R)
    assert edge.singular
    assert edge.inward(S).value < 1e-5
    assert edge.inward(S - 2 * np.outer(null := np.linalg.eigh(R)[1][:, 0], null) * -5.0).value > 1.0
    best = np.trace(S @ R)
    others = [np.trace(S @ unit_rows(t, 1 + k % t, 100 * seed + k)) for k in range(300)]
    assert max(others) <= best + 1e-8


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["corg", "toep"])
def test_curvature_is_what_the_bend_of_a_step_adds(kind, seed):
    """At a maximum on the edge nothing is cut off: second differences of ρ(x) along the score."""
    rng = np.random.default_rng(seed)
    t, rank = 4, 2
    if kind == "corg":
        edge = Elliptope.at(unit_rows(t, rank, seed))
        R = matrix_of(edge, parameters_of(edge))
        null = np.linalg.eigh(R)[1][:, : t - rank]
        S = -null @ np.diag(rng.uniform(0.5, 2.0, t - rank)) @ null.T
    else:
        edge = PartialAutocorrelations(spectrum(t, rank, seed))
        R = matrix_of(edge, edge.rho)
        null = np.linalg.eigh(R)[1][:, : t - rank]
        S = -null @ null.T
    score = np.array([np.sum(S * (matrix_of(edge, e) - matrix_of(edge, 0 * e))) for e in np.eye(len(edge.x))])
    h = 1e-3
    face = np.flatnonzero(edge.on_face)
    E = np.eye(len(edge.x))
    values = [
        [
            sum(a * b * float(score @ edge.moved(h * (a * E[i] + b * E[j]))) for a in (1, -1) for b in (1, -1))
            for j in face
        ]
        for i in face
    ]
    np.testing.assert_allclose(edge.curvature(S)[np.ix_(face, face)], -np.array(values) / (4 * h * h), atol=1e-4)


def test_partial_autocorrelations_of_a_recursion_by_hand():
    rho = autocorrelations(np.array([0.5, -0.2]))
    np.testing.assert_allclose(rho, [0.5, 0.25 - 0.2 * 0.75])
    np.testing.assert_allclose(partial_autocorrelations(rho)[0], [0.5, -0.2])


@pytest.mark.parametrize("seed", range(6))
def test_partial_autocorrelations_are_partial_correlations(seed):
    """π_k is the correlation of the first and the last of k + 1 given those between."""
    rho = autocorrelations(np.random.default_rng(seed).uniform(-0.9, 0.9, 4))
    partial, rank = partial_autocorrelations(rho)
    assert rank == 5
    for k in range(1, 5):
        inverse = np.linalg.inv(scipy.linalg.toeplitz(np.r_[1.0, rho[:k]]))
        assert partial[k - 1] == pytest.approx(-inverse[0, k] / inverse[0, 0], abs=1e-10)
