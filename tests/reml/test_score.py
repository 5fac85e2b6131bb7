"""Score and average information against traces, working variates and finite differences on dense matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from equations.models import NAMES, POINTS, case
from oracle import differences

import remlblup as rb
from remlblup.reml.em import complete_information, em_update
from remlblup.reml.likelihood import log_likelihood
from remlblup.reml.score import score
from remlblup.reml.start import residual_variance, unit_matrices

ML = pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])


def package_score(c, theta, ml: bool):
    equations = c.model._equations
    units = unit_matrices(equations, residual_variance(equations))
    return score(equations, equations.solve(theta, ml=ml), units, ml)


@ML
@pytest.mark.parametrize(("name", "k"), POINTS)
def test_score_against_traces(name, k, ml):
    c, theta = case(name), case(name).points[k]
    expected = c.oracle.score(theta, ml)
    # Relative to the standard error of the score: what a step is decided by.
    size = np.sqrt(np.diag(c.oracle.expected_information(theta, ml)))
    np.testing.assert_allclose(package_score(c, theta, ml).gradient / size, expected / size, rtol=1e-8, atol=1e-8)


@ML
@pytest.mark.parametrize("name", NAMES)
def test_score_against_differences_of_the_log_likelihood(name, ml):
    c, theta = case(name), case(name).points[0]
    equations = c.model._equations

    def loglik(at):
        return log_likelihood(equations, equations.solve(at, ml=ml), ml)

    np.testing.assert_allclose(package_score(c, theta, ml).gradient, differences(loglik, theta), rtol=1e-6, atol=1e-6)


@ML
@pytest.mark.parametrize(("name", "k"), POINTS)
def test_average_information(name, k, ml):
    c, theta = case(name), case(name).points[k]
    found = c.model._equations.average_information(c.model._equations.solve(theta, ml=ml))
    expected = c.oracle.average_information(theta)
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), rtol=1e-8, atol=1e-8)
    assert np.array_equal(found, found.T)


@ML
@pytest.mark.parametrize(
    ("name", "theta"),
    [
        ("id", [0.0, 1.2]),
        ("crossed", [0.0, 0.8, 1.2]),
        ("crossed", [0.0, 0.0, 1.2]),
        ("diag2", [1.8, 0.0, 1.3]),
        ("site", [0.0, 2.0, 0.0, 1.1]),
        ("vm", [0.0, 0.3, 1.0]),
        ("us2", [0.0, 0.0, 0.0, 1.3]),
        ("us2", [1.8, 0.0, 0.0, 1.3]),
        ("us2", [0.0, 0.0, 0.7, 1.3]),
        ("us2", [1.0, 1.0, 1.0, 1.3]),
        ("us2", [2.0, -1.0, 0.5, 1.3]),
        ("us3", [1.0, 0.5, 0.25, -0.5, -0.25, 0.25, 1.3]),
        ("us3", [1.0, 0.5, 0.8, 0.0, 0.0, 0.0, 1.3]),
        ("vm_us", [1.5, 1.5, 1.5, 1.0]),
    ],
)
def test_score_on_the_boundary(name, theta, ml):
    c, theta = case(name), np.array(theta)
    size = np.sqrt(np.diag(c.oracle.expected_information(theta, ml)))
    found = package_score(c, theta, ml).gradient
    np.testing.assert_allclose(found / size, c.oracle.score(theta, ml) / size, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "theta"), [("id", [0.0, 1.2]), ("us2", [1.0, 1.0, 1.0, 1.3]), ("us2", [0.0, 0.0, 0.0, 1.3])]
)
def test_average_information_on_the_boundary(name, theta):
    c, theta = case(name), np.array(theta)
    found = c.model._equations.average_information(package_score(c, theta, False).solution)
    np.testing.assert_allclose(found, c.oracle.average_information(theta), rtol=1e-6, atol=1e-7)


@ML
def test_score_at_negative_components(ml):
    c = case("id")
    theta = np.array([-0.1, 3.0])
    np.testing.assert_allclose(package_score(c, theta, ml).gradient, c.oracle.score(theta, ml), rtol=1e-9)
    c = case("us2")
    theta = np.array([1.0, 0.35, 0.1, 1.3])
    assert np.linalg.eigvalsh(c.oracle.sigma(0, theta))[0] < 0
    np.testing.assert_allclose(package_score(c, theta, ml).gradient, c.oracle.score(theta, ml), rtol=1e-8)
    found = c.model._equations.average_information(c.model._equations.solve(theta, ml=ml))
    np.testing.assert_allclose(found, c.oracle.average_information(theta), rtol=1e-8)


@pytest.mark.parametrize("name", ["id", "us2", "us3", "diag2", "vm_us"])
def test_score_matrix_is_the_derivative_by_sigma(name):
    c, theta = case(name), case(name).points[0]
    (S,) = package_score(c, theta, False).of_sigma
    term = c.oracle.terms[0]
    P = c.oracle.projection(theta)[2]
    Py = P @ c.oracle.y
    for i in range(term.t):
        for j in range(i + 1):
            D = term.Z[i] @ term.K @ term.Z[j].T
            expected = -0.5 * (np.sum(P * D) - Py @ D @ Py)
            if i == j or term.kind == "us":
                assert S[i, j] == pytest.approx(expected, rel=1e-8, abs=1e-9)


@ML
@pytest.mark.parametrize("name", ["id", "crossed", "us2", "us3", "diag2", "site_id", "vm", "vm_us"])
def test_em_update_is_the_conditional_expectation(name, ml):
    """Σ ← E[U'K⁻¹U | y]/q and σ² ← E[e'We | y]/n, by the conditional distribution of u and e."""
    c, theta = case(name), case(name).points[0]
    units = [np.eye(t.t) for t in c.oracle.terms]
    found = em_update(c.model._equations, package_score(c, theta, ml), np.zeros(len(theta), dtype=bool), units)
    inverse, _, P = c.oracle.projection(theta)
    w = np.ones(len(P)) if c.oracle.weights is None else c.oracle.weights
    R, Py = theta[-1] / w, P @ c.oracle.y
    spread = inverse if ml else P  # with β known (ML) or integrated out (REML)
    expected = []
    for k, term in enumerate(c.oracle.terms):
        q, sigma, u = len(term.K), c.oracle.sigma(k, theta), c.oracle.u(k, theta)
        ZG = np.hstack(list(term.Z)) @ np.kron(sigma, term.K)
        var = (np.kron(sigma, term.K) - ZG.T @ spread @ ZG).reshape(term.t, q, term.t, q)
        Ki = np.linalg.inv(term.K)
        new = (u @ Ki @ u.T + np.einsum("iajb,ab->ij", var, Ki)) / q
        expected += (
            [np.trace(new) / term.t]
            if term.kind == "id"
            else list(np.diag(new))
            if term.kind == "diag"
            else list(new[np.tril_indices(term.t)])
        )
    e = R * Py
    expected.append(np.sum(w * (e**2 + np.diag(np.diag(R) - R[:, None] * spread * R))) / len(P))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("name", ["crossed", "us3", "vm_us"])
def test_complete_data_information(name):
    """½ tr(Σ⁻¹Σ̇_iΣ⁻¹Σ̇_j) times the number of levels; n/(2σ⁴) for the residual."""
    c, theta = case(name), case(name).points[0]
    equations = c.model._equations
    units = [np.full(t.t, 1e-12) for t in c.oracle.terms]
    found = complete_information(equations, theta, units, np.zeros((len(theta),) * 2))
    at = 0
    for k, term in enumerate(c.oracle.terms):
        solved = [np.linalg.solve(c.oracle.sigma(k, theta), b) for b in term.bases()]
        block = 0.5 * len(term.K) * np.array([[np.sum(a * b.T) for b in solved] for a in solved])
        size = len(solved)
        np.testing.assert_allclose(found[at : at + size, at : at + size], block, rtol=1e-9)
        found[at : at + size, at : at + size] = 0
        at += size
    assert found[-1, -1] == pytest.approx(len(c.oracle.y) / (2 * theta[-1] ** 2), rel=1e-12)
    found[-1, -1] = 0
    assert not found.any()


def test_score_with_a_zero_beside_a_negative_component():
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"g": np.repeat([f"g{k}" for k in range(12)], 6), "s": list("aabbcc") * 12})
    model = rb.MixedModel("y ~ 1 + diag(s | g)", d.assign(y=rng.normal(size=72)))
    equations = model._equations
    theta = np.array([-0.05, 0.0, 0.3, 1.1])

    def loglik(x: np.ndarray) -> float:
        return log_likelihood(equations, equations.solve(x))

    found = score(equations, equations.solve(theta), [np.eye(3)]).gradient
    np.testing.assert_allclose(found, differences(loglik, theta), rtol=1e-6)
