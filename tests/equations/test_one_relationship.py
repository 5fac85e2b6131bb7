"""One relationship by Lanczos vectors that serve all variances, against dense algebra and conjugate gradients."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.equations import choice
from remlblup.equations.stochastic import one_relationship
from remlblup.equations.stochastic.engine import StochasticEquations
from remlblup.equations.stochastic.krylov import Krylov
from remlblup.equations.stochastic.one_relationship import OneRelationship
from remlblup.equations.stochastic.probes import Probes
from remlblup.linalg.memory import SHARE

FORMULA = "y ~ x + (1 | vm(animal, G))"


def made(records: int, h2: float = 0.5, seed: int = 3) -> tuple[pd.DataFrame, rb.Genotypes]:
    """150 animals of 200 markers, with so many records each on average; weights."""
    rng = np.random.default_rng(seed)
    M = rng.binomial(2, rng.uniform(0.1, 0.5, 200), (150, 200)).astype(float)
    animal = np.arange(150) if records == 1 else rng.integers(0, 150, 150 * records)
    u = (M - M.mean(axis=0)) @ rng.standard_normal(200)
    frame = pd.DataFrame({"animal": animal, "x": rng.standard_normal(len(animal))})
    frame["w"] = rng.uniform(0.5, 2.0, len(animal))
    noise = rng.standard_normal(len(animal)) / np.sqrt(frame["w"])
    frame["y"] = 3.0 + frame["x"] + np.sqrt(h2) * (u / u.std())[animal] + np.sqrt(1.0 - h2) * noise
    return frame, rb.Genotypes.from_matrix(M, ids=range(150))


def model(data, genotypes, **options) -> rb.MixedModel:
    return rb.MixedModel(FORMULA, data, {"G": genotypes}, weights="w", engine="stochastic", **options)


@pytest.mark.parametrize("records", [1, 2])
@pytest.mark.parametrize("theta", [(0.8, 0.5), (1.0, 0.01), (1e-3, 1.0), (0.0, 1.0)])
def test_agrees_with_dense_algebra(records, theta):
    """Py, Pz and the working variates' products, after other variances have been asked for, too."""
    data, genotypes = made(records)
    spec = model(data, genotypes).specification
    K, Z = rb.genomic_relationship(genotypes, progress=False).dense(), spec.random[0].columns[0].toarray()
    G, D = Z @ K @ Z.T, np.diag(1.0 / data["w"])
    X, inverse = np.asarray(spec.fixed.work), np.linalg.inv(theta[0] * G + theta[1] * D)
    P = inverse - inverse @ X @ np.linalg.inv(X.T @ inverse @ X) @ X.T @ inverse
    Py, found = P @ spec.y, []
    for before in (), ((0.5, 0.5), (2.0, 0.005)):
        equations = choice.make_equations(spec, choice.Computation("stochastic"))
        assert type(equations) is OneRelationship
        probes = Probes.drawn(equations.products_of, 1, 5).more(equations.products_of, 9)
        for other in before:
            equations.solved(np.array(other), probes)
        at = equations.solved(np.array(theta), probes)
        solution = equations.solution(np.array(theta), at.x[:, 0])
        F = equations.working_variates(solution)
        found.append((at.x, equations.solved_variates(np.array(theta), F).x))
        assert np.allclose(at.x[:, 0], Py, rtol=0.0, atol=1e-6 * np.abs(Py).max())
        Pz = P @ probes.z
        assert np.all(np.linalg.norm(at.x[:, 1:] - Pz, axis=0) < 5e-3 * np.linalg.norm(Pz, axis=0))
        variates = np.column_stack([G @ Py, D @ Py])
        exact = 0.5 * variates.T @ P @ variates
        assert np.allclose(equations.information(F, found[-1][1]), exact, rtol=1e-5)
        passes = equations.products_of.passes
        for V_dot, own in zip((G, D), equations.solved_slopes(np.array(theta), probes, at.x[:, 1:4]), strict=True):
            size = np.linalg.norm(P @ V_dot @ Pz[:, :3], axis=0)
            assert np.all(np.linalg.norm(own - P @ V_dot @ Pz[:, :3], axis=0) < 0.05 * size)
        assert theta[0] == 0.0 or equations.products_of.passes == passes
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(("records", "h2"), [(1, 0.5), (1, 0.95), (3, 0.9)])
def test_the_same_fit_as_by_conjugate_gradients(records, h2, monkeypatch):
    """The same estimates by the same probes, with fewer products."""
    data, genotypes = made(records, h2)
    fit = model(data, genotypes).fit(seed=2, probes=12)
    monkeypatch.setattr(choice, "_stochastic", StochasticEquations)
    general = model(data, genotypes).fit(seed=2, probes=12)
    assert fit.converged and general.converged
    away = (fit.theta - general.theta) / general.variance_components["std_error"]
    assert np.all(np.abs(away) < 0.01)
    passes = [f._optimum.solution.equations.products_of.passes for f in (fit, general)]
    assert type(general._optimum.solution.equations) is StochasticEquations
    assert passes[0] < 0.7 * passes[1]


@pytest.mark.parametrize("limited", ["elements", "memory"])
def test_vectors_that_are_too_many_give_way(monkeypatch, limited):
    data, genotypes = made(1, 0.9)
    fit = model(data, genotypes).fit(seed=2, probes=12)
    kept = 150.0 * 13 * 8
    if limited == "elements":
        monkeypatch.setattr(one_relationship, "KEPT", kept)
    else:
        bytes_in_all = 8.0 * kept / (one_relationship.PART * SHARE)
        monkeypatch.setattr(one_relationship, "available_memory", lambda: bytes_in_all)
    other = model(data, genotypes).fit(seed=2, probes=12)
    assert other.converged
    assert np.allclose(other.theta, fit.theta, rtol=1e-3)
    assert other._optimum.solution.equations._kept == pytest.approx(kept)


def test_a_stopped_fit_goes_on_to_the_same_bits(tmp_path):
    """After every row, more probes among them."""
    data, genotypes = made(1)
    whole = model(data, genotypes).fit(seed=3)
    steps = list(whole.history["step"])
    assert any("probes" in step for step in steps)
    for at in range(len(steps)):

        def stop(row, at=at):
            if row.iteration == at:
                raise KeyboardInterrupt

        file = tmp_path / f"{at}.npz"
        if at + 1 == len(steps):
            model(data, genotypes).fit(seed=3, checkpoint=file)
        else:
            with pytest.raises(rb.FitInterrupted):
                model(data, genotypes).fit(seed=3, checkpoint=file, callback=stop)
        again = model(data, genotypes).fit(seed=3, checkpoint=file)
        assert np.array_equal(again.theta, whole.theta)
        assert list(again.history["step"]) == steps
        for column in "std_error", "monte_carlo_error":
            assert np.array_equal(again.variance_components[column], whole.variance_components[column])


@pytest.mark.parametrize("variance", [1e-7, 1e-6, 1e-5, 0.0])
def test_one_vector_may_do(variance):
    """Next to nothing in common: the estimates are those of the exact engine."""
    data, genotypes = made(2)
    fit = model(data, genotypes).fit(fix={"vm(animal, G)": variance})
    exact = rb.MixedModel(FORMULA, data, {"G": genotypes}, weights="w").fit(fix={"vm(animal, G)": variance})
    assert fit.converged
    assert np.abs(fit.theta - exact.theta)[1] < 0.1 * exact.variance_components["std_error"][1]


def test_a_column_that_ends_early_and_one_of_X():
    """An invariant subspace of one vector, nothing at all, and a column that takes all vectors."""
    rng = np.random.default_rng(1)
    d = np.arange(1.0, 13.0)

    def free_of_mean(B):
        left = B - B.mean(axis=0)
        return left, left

    G = np.diag(d)
    centred = np.eye(12) - 1.0 / 12.0
    vector = np.linalg.eigh(centred @ G @ centred)[1][:, 5]
    B = np.column_stack([vector, np.ones(12), rng.standard_normal(12)])
    krylov = Krylov(lambda q: G @ q, free_of_mean, B)
    V = 0.7 * G + 0.2 * np.eye(12)
    inverse = np.linalg.inv(V)
    P = inverse - np.outer(inverse.sum(axis=1), inverse.sum(axis=0)) / inverse.sum()
    found = krylov.weights(0.7, 0.2, 1e-11, 30)
    assert np.allclose(krylov.combined(found.c), P @ B, atol=1e-9)
    assert np.all(krylov.combined(found.c)[:, 1] == 0.0)
    assert krylov.weights(0.7, 0.2, 1e-11, 4) is None
    with pytest.raises(rb.NotPositiveDefiniteError):
        krylov.weights(0.7, -3.0, 1e-11, 30)


@pytest.mark.filterwarnings("error")
def test_variates_of_which_G_leaves_nothing():
    """PGPb = 0: nothing is left of it at once, and no more vectors are asked for."""
    rng = np.random.default_rng(2)
    b = rng.standard_normal((12, 1))
    b -= b.mean()

    def free_of_mean(B):
        left = B - B.mean(axis=0)
        return left, left

    krylov = Krylov(lambda q: 0.0 * q, free_of_mean, b)
    found = krylov.weights(0.7, 0.2, 1e-11, 30)
    again = krylov.again(found.c[:, 0], 0.7, 0.2, np.full(2, 1e-10), 30)
    assert again is not None and len(again.c) < 5
    assert np.allclose(krylov.combined(again.c[:, :1]), 0.0, atol=1e-12)
    assert np.allclose(krylov.combined(again.c[:, 1:]), b / 0.2**2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("formula", [FORMULA, f"{FORMULA} + (1 | herd)"])
def test_genotypes_that_all_share(formula):
    """A K of zero is refused by name, as it is by other engines."""
    data, _ = made(2)
    alike = rb.Genotypes.from_matrix(np.ones((150, 20)), ids=range(150))
    data["herd"] = np.arange(len(data)) % 9
    with pytest.raises(rb.RelationshipError, match=r"of 'vm\(animal, G\)' is zero"):
        rb.MixedModel(formula, data, {"G": alike}, engine="stochastic").fit(seed=1)
    rb.MixedModel(formula, data, {"G": alike}, engine="stochastic").solve(
        {"vm(animal, G)": 1.0, "residual": 1.0, **({"herd": 1.0} if "herd" in formula else {})}
    )
