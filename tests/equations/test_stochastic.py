"""V by products and conjugate gradients, against dense algebra."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.linalg

import remlblup as rb
from remlblup.equations.stochastic import engine, sketch
from remlblup.equations.stochastic.conjugate_gradients import projected
from remlblup.equations.stochastic.control import controlled, exact_traces, seen
from remlblup.equations.stochastic.engine import StochasticEquations
from remlblup.equations.stochastic.probes import Probes, signs
from remlblup.equations.stochastic.solution import Slopes
from remlblup.equations.stochastic.unsolved import lengths, unsolved

PEDIGREE = pd.DataFrame(
    {
        "id": range(1, 121),
        "sire": [0] * 20 + [(7 * k) % 10 + 1 for k in range(100)],
        "dam": [0] * 20 + [(3 * k) % 10 + 11 for k in range(100)],
    }
)


@pytest.fixture(scope="module")
def genotypes() -> rb.Genotypes:
    rng = np.random.default_rng(5)
    M = rng.binomial(2, rng.uniform(0.1, 0.5, 60), (120, 60)).astype(float)
    M[rng.random(M.shape) < 0.02] = np.nan
    return rb.Genotypes.from_matrix(M, ids=range(1, 121))


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(6)
    animal = rng.integers(1, 121, 200)
    u = rng.standard_normal(121)
    frame = pd.DataFrame({"animal": animal, "herd": rng.integers(0, 8, 200).astype(str), "x": rng.standard_normal(200)})
    frame["y"] = 3.0 + frame["x"] + u[animal] + rng.standard_normal(200) + 1000.0
    frame["z"] = 1.0 + 0.5 * u[animal] + rng.standard_normal(200)
    frame["w"] = rng.uniform(0.5, 2.0, 200)
    return frame


MODELS = {
    "two genomic terms and a factor": {
        "formula": "y ~ x + (1 | vm(animal, G)) + (1 | vm(animal, H)) + (1 | herd)",
        "theta": [0.8, 0.5, 0.6, 1.2],
    },
    "pedigree": {"formula": "y ~ x + (1 | vm(animal, A)) + (1 | herd)", "theta": [0.8, 0.6, 1.2]},
    "slopes": {"formula": "y ~ x + us(1 + x | vm(animal, G))", "theta": [0.8, 0.2, 0.5, 1.1]},
    "groups of residuals": {
        "formula": "y ~ x + (1 | vm(animal, G))",
        "residual": "diag(herd | units)",
        "theta": [0.7, *np.linspace(0.6, 1.4, 8)],
    },
    "weights, a variance of zero": {
        "formula": "y ~ 1 + (1 | vm(animal, G)) + (1 | herd)",
        "weights": "w",
        "theta": [0.9, 0.0, 1.0],
    },
    "two traits": {
        "formula": "c(y, z) ~ trait + us(trait | vm(animal, G))",
        "residual": "us(trait | units)",
        "theta": [0.9, 0.3, 0.5, 1.2, 0.2, 0.8],
    },
}


def both(name: str, data: pd.DataFrame, genotypes: rb.Genotypes, at: np.ndarray | None = None):
    """Equations by products, P by dense algebra, V and ∂V/∂θ by the definitions, θ."""
    given = dict(MODELS[name])
    theta = np.array(given.pop("theta"))
    theta = theta if at is None else at
    relationships = {
        "G": genotypes,
        "H": rb.genomic_relationship(genotypes, "yang", formed=False),
        "A": rb.Pedigree.from_frame(PEDIGREE),
    }
    spec = rb.MixedModel(data=data, relationships=relationships, engine="stochastic", **given).specification
    K = {
        "G": rb.genomic_relationship(genotypes, progress=False).dense(),
        "H": rb.genomic_matrix(genotypes, "yang", progress=False).to_numpy(),
    }
    K["A"] = relationships["A"].dense()
    dense = [K[next(iter(d.named))] if d.named else np.eye(d.q) for d in spec.random]

    def V(at: np.ndarray) -> np.ndarray:
        parts = spec.parameters.split(at)
        total = spec.residual.multiply(parts[-1], np.eye(spec.n))
        for design, part, k in zip(spec.random, parts, dense, strict=False):
            Z = np.hstack([z.toarray() for z in design.columns])
            total = total + Z @ np.kron(design.structure.covariance(part), k) @ Z.T
        return total

    slopes = []
    for i in range(len(theta)):
        step = 1e-6 * np.eye(len(theta))[i]
        slopes.append((V(theta + step) - V(theta - step)) / 2e-6)
    X, inverse = np.asarray(spec.fixed.work), np.linalg.inv(V(theta))
    P = inverse - inverse @ X @ np.linalg.inv(X.T @ inverse @ X) @ X.T @ inverse
    return StochasticEquations(spec), P, inverse, slopes, theta


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_dense_algebra(name, data, genotypes):
    """Py, β̂, û, var(β̂), V⁻¹, the average information, and the score by given probes."""
    equations, P, inverse, slopes, theta = both(name, data, genotypes)
    spec, solution = equations.spec, equations.solve(theta)
    Py = P @ spec.y
    assert np.allclose(solution.weighted_residual, Py, rtol=0, atol=1e-6 * np.abs(Py).max())
    X = np.asarray(spec.fixed.work)
    information = X.T @ inverse @ X
    beta = np.linalg.solve(information, X.T @ inverse @ spec.y)
    assert np.allclose(solution.beta + equations.beta_ols, beta, rtol=1e-7)
    assert np.allclose(solution.covariance, np.linalg.inv(information), rtol=1e-6, atol=1e-7 * np.abs(beta).min())
    columns = np.random.default_rng(0).standard_normal((spec.n, 3))
    assert np.allclose(equations.solve_columns(solution, columns), inverse @ columns, rtol=0, atol=1e-6)
    F = np.column_stack([s @ Py for s in slopes])
    ai = 0.5 * F.T @ P @ F
    assert np.allclose(equations.average_information(solution), ai, rtol=1e-5, atol=1e-6 * np.abs(ai).max())
    probes = Probes.drawn(equations.products_of, 3, 12)
    equations.controls = False
    solved = equations.projected(theta, probes.z, 1e-9)
    found = equations.slopes(solution, probes, solved.x, solved.error)
    z = signs(spec.n, 3, range(12))
    wanted = np.array([[-0.5 * (c @ s @ P @ c - Py @ s @ Py) for s in slopes] for c in z.T])
    assert np.allclose(found.by_probe, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", MODELS)
def test_how_the_score_changes(name, data, genotypes, monkeypatch):
    """V̇ of columns to the last digit; the observed information by many probes, and by those that it takes."""
    equations, P, _, slopes, theta = both(name, data, genotypes)
    products, n = equations.products_of, equations.spec.n
    probes = Probes.drawn(products, 3, 400)
    for related in (None, probes.related):
        found = products.slopes(theta, probes.z, related)
        for own, dense in zip(found, slopes, strict=True):
            assert np.allclose(own, dense @ probes.z, rtol=0, atol=1e-6 * np.abs(dense).max() * np.sqrt(n))
    x = P @ probes.z
    average = equations.average_information(equations.solve(theta))
    traces = 0.5 * np.array([[np.trace(P @ a @ P @ b) for a in slopes] for b in slopes])
    size = np.sqrt(np.outer(np.diag(traces), np.diag(traces)))
    few = equations.observed_information(theta, probes, x, average)
    monkeypatch.setattr(engine, "COLUMNS", 400)
    many = equations.observed_information(theta, probes, x, average)
    assert np.abs((many - 2.0 * average + traces) / size).max() < 0.12  # a factor of eight levels is what errs
    assert np.abs((few - 2.0 * average + traces) / size)[0].max() < 0.4
    assert np.array_equal(few, few.T)


@pytest.mark.parametrize("name", MODELS)
def test_controls_have_their_exact_means(name, data, genotypes):
    """tr(P_M Ṁ_i) by the selected inverse is that of dense algebra; a control leaves the mean over all signs alone."""
    equations, _, _, _, theta = both(name, data, genotypes)
    projection = equations.preconditioner.at(theta)
    spec, products = projection.equations.spec, equations.products_of_M
    at = projection.theta
    unit = np.eye(spec.n)
    P = projection(unit)[0]

    def M(where: np.ndarray) -> np.ndarray:
        return products.times(where, unit)

    wanted = []
    for i in range(len(at)):
        step = 1e-6 * np.eye(len(at))[i]
        wanted.append(np.sum(P * (M(at + step) - M(at - step))) / 2e-6)
    exact = exact_traces(projection.equations, at, products)
    assert np.allclose(exact, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    probes = equations.preconditioner.probes(Probes.drawn(equations.products_of, 5, 400), products)
    by_probe = seen(products, probes, at, projection(probes.z)[0])
    error = by_probe.std(axis=0) / np.sqrt(400.0) + 1e-9 * np.abs(exact)
    assert np.all(np.abs(by_probe.mean(axis=0) - exact) < 4.0 * error)


@pytest.mark.parametrize(
    ("name", "residual"),
    [*((name, None) for name in MODELS), ("slopes", 0.02), ("slopes", 50.0), ("weights, a variance of zero", 0.02)],
)
def test_what_is_not_solved_is_known(name, residual, data, genotypes):
    """Errors of columns and of slopes, at any tolerance, from nothing and from a start, by no more than is said."""
    at = np.array(MODELS[name]["theta"])
    at[-1] = at[-1] if residual is None else residual
    equations, P, _, slopes, _ = both(name, data, genotypes, at)
    V = equations.products_of.times(at, np.eye(equations.spec.n))
    X = np.asarray(equations.spec.fixed.work)
    basis = np.linalg.qr(X, mode="complete")[0][:, equations.p :]
    M_inverse = basis.T @ equations.precondition(at)(np.eye(len(V)))[0] @ basis
    least = scipy.linalg.eigh(basis.T @ V @ basis, np.linalg.inv(M_inverse), eigvals_only=True)[0]
    assert equations.preconditioner.least(at) <= least * (1.0 + 1e-8)
    probes = Probes.drawn(equations.products_of, 3, 6)
    exact = P @ probes.z
    near = exact + 0.01 * P @ np.random.default_rng(2).standard_normal(exact.shape)
    for tolerance in (0.3, 1e-2, 1e-5):
        for start in (None, near):
            found = equations.projected(at, probes.z, tolerance, start)
            e = exact - found.x
            away = np.sqrt(np.maximum(np.einsum("nj,nj->j", e, V @ e), 0.0))
            assert np.all(away <= found.error * (1.0 + 1e-6) + 1e-9)
            told = unsolved(equations.products_of, probes, at, found.error)
            missing = [0.5 * np.mean(np.einsum("nj,nj->j", s @ probes.z, e)) for s in slopes]
            assert np.all(np.abs(missing) <= told + 1e-9)
    length = lengths(equations.products_of, probes, at)
    true = np.array([np.einsum("nj,nj->j", s @ probes.z, P @ s @ probes.z) for s in slopes]).T
    assert np.all(true <= length * (1.0 + 1e-6))


def test_errors_of_columns_are_not_far_above_what_they_are(data, genotypes):
    """As they fall, in the norm of V: within a few times."""
    equations, P, _, _, theta = both("slopes", data, genotypes)
    V = equations.products_of.times(theta, np.eye(equations.spec.n))
    probes = Probes.drawn(equations.products_of, 3, 6)
    found = equations.projected(theta, probes.z, 1e-3)
    e = P @ probes.z - found.x
    assert np.all(found.error < 5.0 * np.sqrt(np.einsum("nj,nj->j", e, V @ e)))


def relatives() -> tuple[pd.DataFrame, dict[str, rb.Genotypes]]:
    """Two sets of markers of 200 animals of six sires: much of K lies in a few directions."""
    rng = np.random.default_rng(12)
    given = {}
    data = pd.DataFrame({"animal": np.arange(200), "y": 0.3 * rng.standard_normal(200)})
    for name in "GH":
        sires, dams = (rng.integers(0, 2, (k, 2, 300)) for k in (6, 8))
        a, b = sires[np.arange(200) % 6], dams[rng.integers(0, 8, 200)]
        M = sum(np.where(np.repeat(rng.integers(0, 2, (200, 10)), 30, axis=1), p[:, 0], p[:, 1]) for p in (a, b))
        data["y"] += (M - M.mean(axis=0)) @ rng.standard_normal(300) / 12.0
        given[name] = rb.Genotypes.from_matrix(M, ids=range(200))
    return data, given


def test_what_a_few_vectors_tell_is_inverted_and_saves_products(monkeypatch):
    """P of M + FF', no more than V beside what it was; estimates to what conjugate gradients leave."""
    data, given = relatives()
    formula, fits = "y ~ 1 + (1 | vm(animal, G)) + (1 | vm(animal, H))", {}
    for worth in (0.0, 1.0):
        monkeypatch.setattr(sketch, "WORTH", worth)
        model = rb.MixedModel(formula, data, given, engine="stochastic")
        fits[worth] = model.fit(seed=1, probes=12), model._equations.products_of.columns
    (plain, many), (fit, few) = fits.values()
    assert np.all(np.abs(plain.theta - fit.theta) < 0.02 * fit.variance_components["monte_carlo_error"])
    assert few < 0.85 * many
    equations, theta = model._equations, np.array([0.6, 0.4, 0.1])
    deflated = equations.precondition(theta)
    F = np.hstack([np.sqrt(s) * equations.sketch.factors[k] for k, s in enumerate(theta[:2])])
    for k, name in enumerate("GH"):
        K = rb.genomic_relationship(given[name], progress=False).dense()
        part = equations.sketch.factors[k]
        assert scipy.linalg.eigvalsh(K - part @ part.T)[0] > -1e-8
    M = 0.1 * np.eye(200) + F @ F.T
    inverse = np.linalg.inv(M)
    P = inverse - np.outer(inverse.sum(axis=1), inverse.sum(axis=0)) / inverse.sum()
    B = np.random.default_rng(0).standard_normal((200, 3))
    found, free = deflated(B)
    assert isinstance(deflated, sketch.Deflated) and np.allclose(found, P @ B, atol=1e-8)
    assert np.allclose(deflated(free)[0], found, atol=1e-8)


def test_few_probes_say_less():
    """The printed error is that of Student's t: of N normal scores 95 in 100 means lie within two of it."""
    rng = np.random.default_rng(4)
    for n in (2, 4, 8, 20):
        by_probe = rng.standard_normal((4000, n, 1))
        errors = [Slopes(s.mean(axis=0), s, (), np.zeros(1)).covariance[0, 0] ** 0.5 for s in by_probe]
        inside = np.mean(np.abs(by_probe.mean(axis=(1, 2))) < 1.96 * np.array(errors))
        assert abs(inside - 0.95) < 0.015
    with_unsolved = Slopes(np.zeros(1), np.zeros((4, 1)), (), np.full(1, 0.3))
    assert np.allclose(with_unsolved.covariance, 0.09)


def test_controls_take_errors_away():
    """Means stay, what is known goes; a control that says nothing is none."""
    rng = np.random.default_rng(0)
    c = rng.standard_normal((200, 2)) + np.array([3.0, 5.0])
    a = np.column_stack([2.0 * c[:, 0] - c[:, 1], c[:, 0] + rng.standard_normal(200)])
    adjusted, inflated, fitted = controlled(a, c, np.array([3.0, 5.0]))
    assert 1.0 < inflated < 1.05 and fitted == 2
    assert np.allclose(adjusted[:, 0], 1.0)
    assert abs(adjusted[:, 1].mean() - 3.0) < 0.25 and adjusted[:, 1].std() < 1.2
    same, inflated, fitted = controlled(a, np.ones((200, 1)), np.ones(1))
    assert inflated == 1.0 and fitted == 0 and np.array_equal(same, a)


def test_a_pedigree_alone_is_solved_at_once(data, genotypes):
    """M is V where nothing is dense: one step of conjugate gradients, and no Monte Carlo error."""
    equations, P, _, slopes, theta = both("pedigree", data, genotypes)
    assert equations.preconditioner.exact
    solution = equations.solve(theta)
    assert equations.iterations <= 1
    probes = Probes.drawn(equations.products_of, 1, 16)
    solved = equations.projected(theta, probes.z, 1e-10)
    found = equations.slopes(solution, probes, solved.x, solved.error)
    Py = P @ equations.spec.y
    wanted = [-0.5 * (np.sum(P * s) - Py @ s @ Py) for s in slopes]
    assert np.allclose(found.gradient, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
    assert np.all(np.sqrt(np.diag(found.covariance)) < 1e-6 * np.abs(wanted).max())


def test_what_is_left_of_y_is_seen_by_a_product_of_its_own(data, genotypes):
    """Py off by a share of itself leaves that share of y, whatever conjugate gradients say."""
    for name in ("pedigree", "two genomic terms and a factor"):
        equations, P, _, _, theta = both(name, data, genotypes)
        Py = P @ equations.spec.y
        assert equations.solution(theta, Py).left < 1e-10
        assert np.isclose(equations.solution(theta, (1.0 - 1e-3) * Py).left, 1e-3, rtol=1e-6)


def test_errors_of_six_orders_are_no_burden():
    """One record a level: M has the level beside an error of its own, and V is like it."""
    rng = np.random.default_rng(8)
    genotypes = rb.Genotypes.from_matrix(rng.binomial(2, 0.4, (120, 300)), ids=range(1, 121))
    frame = pd.DataFrame({"animal": range(1, 121), "w": 10.0 ** rng.uniform(-3.0, 3.0, 120)})
    frame["y"] = rng.standard_normal(120)
    model = rb.MixedModel("y ~ 1 + (1 | vm(animal, G))", frame, {"G": genotypes}, weights="w", engine="stochastic")
    equations = StochasticEquations(model.specification)
    assert equations.solve(np.array([2.0, 0.01])).left < 1e-8
    assert equations.iterations < 100  # 1,000 were not enough with R for M


def test_more_probes_leave_the_others(data, genotypes):
    equations, _, _, _, _ = both("two genomic terms and a factor", data, genotypes)
    few, many = (Probes.drawn(equations.products_of, 1, n) for n in (3, 5))
    grown = few.more(equations.products_of, 5)
    assert np.array_equal(grown.z, many.z)
    for a, b in zip(grown.related, many.related, strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.allclose(a, b, rtol=1e-12)


def test_columns_of_X_and_zeros_are_solved_as_nothing():
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(50), rng.standard_normal(50)])
    L = rng.standard_normal((50, 50))
    V = L @ L.T + np.eye(50)

    def free_of_X(B):
        left = B - X @ np.linalg.lstsq(X, B, rcond=None)[0]
        return left, left

    B = np.column_stack([X @ [2.0, 1.0], np.zeros(50), rng.standard_normal(50)])
    found = projected(lambda D: V @ D, free_of_X, B, 1e-10)
    inverse = np.linalg.inv(V)
    P = inverse - inverse @ X @ np.linalg.inv(X.T @ inverse @ X) @ X.T @ inverse
    assert np.all(found.x[:, :2] == 0.0)
    assert np.allclose(found.x[:, 2], P @ B[:, 2], atol=1e-8)
    far = 1e3 * free_of_X(rng.standard_normal((50, 3)))[0]
    again = projected(lambda D: V @ D, free_of_X, B, 1e-10, start=far)
    assert np.allclose(again.x, found.x, atol=1e-8)


def test_indefinite_is_named():
    with pytest.raises(rb.NotPositiveDefiniteError):
        projected(lambda D: -D, lambda B: (B, B), np.ones((4, 1)), 1e-8)
