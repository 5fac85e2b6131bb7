"""The score where records determine the effects: against closed forms, and everywhere against the dense oracle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from equations.test_engines import ENGINES, subject
from remlblup.equations.henderson import determined
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.variance.engine import VarianceEquations
from remlblup.equations.variance.expected_information import ExpectedInformation
from remlblup.equations.variance.spectral import SpectralEquations
from remlblup.reml.score import score
from remlblup.reml.start import residual_variance, unit_matrices


def slopes(subjects: int, records: int, ratio: float) -> tuple[pd.DataFrame, np.ndarray]:
    """Balanced random slopes of a variance `ratio` times the residual's, and the centred covariate of a subject."""
    rng = np.random.default_rng(subjects)
    x = np.linspace(-1.0, 1.0, records)
    b = np.sqrt(ratio) * rng.normal(size=(subjects, 2))
    y = 1.0 + x + b[:, :1] + b[:, 1:] * x + rng.normal(size=(subjects, records))
    s = np.repeat(np.arange(subjects), records)
    return pd.DataFrame({"s": s, "x": np.tile(x, subjects), "y": y.ravel()}), x


def gradient(equations, theta, ml=False):
    solution = equations.solve(theta, ml=ml)
    return score(equations, solution, unit_matrices(equations, residual_variance(equations)), ml).gradient


@pytest.mark.parametrize("engine", ["dense", "sparse"])
@pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])
@pytest.mark.parametrize("ratio", [1e2, 1e6])
def test_the_score_of_balanced_slopes_is_that_of_their_least_squares_estimates(ratio, ml, engine):
    """b_l by least squares is N(β, Σ + σ²(z'z)⁻¹): ∂ℓ/∂Σ = ½[A Q A − (q − 1)A], A the inverse of that variance."""
    q = 100
    data, x = slopes(q, 200, ratio)
    z = np.column_stack([np.ones_like(x), x])
    estimates = np.linalg.lstsq(z, data["y"].to_numpy().reshape(q, -1).T, rcond=None)[0]
    deviations = estimates - estimates.mean(axis=1, keepdims=True)
    sigma, residual = ratio * np.array([[1.1, 0.1], [0.1, 0.9]]), 1.02
    A = np.linalg.inv(sigma + residual * np.linalg.inv(z.T @ z))
    S = 0.5 * (A @ deviations @ deviations.T @ A - (q - (not ml)) * A)
    model = rb.MixedModel("y ~ x + (1 + x | s)", data)
    theta = np.array([sigma[0, 0], sigma[1, 0], sigma[1, 1], residual])
    found = gradient(MixedModelEquations(model.specification, engine), theta, ml)[:3]
    errors = np.array([1.0, 0.7, 1.0]) * ratio * np.sqrt(2.0 / q)  # about the standard errors
    np.testing.assert_allclose(found * errors, np.array([S[0, 0], 2 * S[1, 0], S[1, 1]]) * errors, atol=2e-11)


@pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])
@pytest.mark.parametrize("name", [n for n in ENGINES if "equations: " in n])
def test_it_is_the_score_of_every_model(name, ml, monkeypatch):
    """With the cancelling form of no term kept, however little the data know of its effects."""
    equations, oracle, theta = subject(name)
    monkeypatch.setattr(determined, "ERROR", -1.0)
    monkeypatch.setattr(determined, "LEFT", np.inf)
    size = np.sqrt(np.diag(oracle.expected_information(theta, ml)))
    if any(not factor.diagonal().all() for factor, _ in equations.factors(theta)):
        pytest.skip("a singular Σ has no score of its own")
    np.testing.assert_allclose(gradient(equations, theta, ml) / size, oracle.score(theta, ml) / size, atol=1e-8)


MODELS = {
    "slopes": ("y ~ x + (1 + x | s)", {}),
    "slopes, ML": ("y ~ x + (1 + x | s)", {"method": "ML"}),
    "independent": ("y ~ x + (1 + x || s)", {}),
    "groups": ("y ~ x + (1 + x | s)", {"residual": "diag(g | units)"}),
    "weights": ("y ~ x + (1 + x | s)", {"weights": "w"}),
    "crossed": ("y2 ~ x*g + (1 + x | s) + (1 | r)", {}),
    "nested": ("y ~ x + (1 | f/s)", {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_fits_end_at_a_gradient_that_is_no_rounding(name):
    """1e-6 of a standard error was left by rounding, and the verdict was \"not converged\"."""
    rng = np.random.default_rng(3)
    data, _ = slopes(60, 200, 1e6)
    data = data[rng.random(len(data)) < 0.7].reset_index(drop=True)
    n = len(data)
    data["g"], data["w"] = np.where(rng.random(n) < 0.5, "a", "b"), rng.uniform(0.5, 2.0, n)
    data["r"], data["f"] = rng.integers(0, 30, n), data["s"] // 10
    data["y2"] = data["y"] + 100.0 * rng.normal(size=30)[data["r"]]
    formula, options = MODELS[name]
    method = options.get("method", "REML")
    fit = rb.MixedModel(formula, data, **{k: v for k, v in options.items() if k != "method"}).fit(method=method)
    assert fit.converged
    assert fit.convergence.criteria[2].value < 2e-9


OTHERS = {
    "slopes": ("y ~ x + (1 + x | s)", {}),
    "related": ("y ~ x + (1 + x | vm(id, K))", {}),
    "groups": ("y ~ x + (1 + x | s)", {"residual": "diag(g | units)"}),
    "crossed": ("y ~ x + (1 + x | s) + (1 | r)", {}),
    "one": ("u ~ x + (1 | s)", {}),
    "one, related": ("u ~ x + (1 | vm(id, K))", {}),
}


@pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])
@pytest.mark.parametrize("ratio", [1e2, 1e5])
@pytest.mark.parametrize("name", OTHERS)
def test_rounding_of_the_other_engines_is_below_the_limits_of_the_verdict(name, ratio, ml):
    """They hold R beside variances `ratio` times as large, and have lost as many digits of it."""
    rng = np.random.default_rng(3)
    data, _ = slopes(15, 5, ratio)
    n = len(data)
    labels = [f"i{k}" for k in range(15)]
    data["id"], data["r"] = [labels[k] for k in data["s"]], rng.integers(0, 6, n)
    data["g"] = np.where(rng.random(n) < 0.5, "a", "b")
    K = 0.8 ** np.abs(np.subtract.outer(np.arange(15), np.arange(15)))
    data["u"] = np.sqrt(ratio) * (np.linalg.cholesky(K) @ rng.normal(size=15))[data["s"]] + rng.normal(size=n)
    formula, options = OTHERS[name]
    given = {"K": pd.DataFrame(K, index=labels, columns=labels)} if "K)" in formula else None
    spec = rb.MixedModel(formula, data, given, **options).specification
    structures, errors = spec.parameters.structures, np.full(spec.residual.n_parameters, 1.02)
    theta = np.concatenate([*(s.project(1.1 * ratio * np.eye(s.size)) for s in structures), errors])
    expected = gradient(MixedModelEquations(spec, "dense"), theta, ml)
    size = np.sqrt(np.diag(ExpectedInformation(spec, ml).at(theta)))
    for engine in (VarianceEquations, SpectralEquations)[: 1 + name.startswith("one")]:
        found = gradient(engine(spec), theta, ml)
        np.testing.assert_allclose(found / size, expected / size, rtol=1e-9, atol=3e-14 * ratio)
