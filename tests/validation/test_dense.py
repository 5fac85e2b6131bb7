"""The dense evaluation: against the oracle of the tests and a hand-made likelihood; V and the transforms as defined."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from remlblup.validation.dense import DenseModel, gradient
from remlblup.validation.dense_designs import DESIGNS, banded, cholesky, each, heterogeneous, unstructured


@pytest.fixture
def model():
    rng = np.random.default_rng(5)
    Z = np.repeat(np.eye(6), 4, axis=0)
    X = np.column_stack([np.ones(24), rng.normal(size=24)])
    return DenseModel(rng.normal(size=24), X, lambda t: t[0] * Z @ Z.T + t[1] * np.eye(24))


def test_ml_is_the_normal_density(model):
    theta = np.array([0.7, 1.3])
    mean = model.X @ model.fixed(theta)[0]
    density = multivariate_normal(mean, model.covariance(theta)).logpdf(model.y)
    assert model.loglik(theta, ml=True) == pytest.approx(density, rel=1e-13)


def test_reml_is_the_density_of_error_contrasts(model):
    """K'y with K'X = 0, K'K = I has the likelihood but for ½ log|X'X|."""
    theta = np.array([0.7, 1.3])
    K = np.linalg.svd(model.X)[0][:, 2:]
    density = multivariate_normal(np.zeros(22), K.T @ model.covariance(theta) @ K).logpdf(K.T @ model.y)
    half = 0.5 * np.linalg.slogdet(model.X.T @ model.X)[1]
    assert model.loglik(theta) == pytest.approx(density - half, rel=1e-13)


def test_outside_the_parameter_space(model):
    assert model.loglik(np.array([0.0, -1.0])) == -np.inf


def test_gradient():
    slope = gradient(lambda t: float(np.exp(t[0]) * np.sin(t[1])), np.array([0.3, 0.4]), np.array([1e-2, 1e-2]))
    assert slope == pytest.approx([np.exp(0.3) * np.sin(0.4), np.exp(0.3) * np.cos(0.4)], rel=1e-8)


def test_matrices_by_hand():
    assert np.allclose(unstructured(np.array([1.0, 2.0, 3.0])), [[1.0, 2.0], [2.0, 3.0]])
    assert np.allclose(banded(np.array([2.0, 0.5, 0.1]))[0], [2.0, 1.0, 0.2])
    assert np.allclose(heterogeneous(np.array([4.0, 9.0, 0.5])), [[4.0, 3.0], [3.0, 9.0]])


def test_transforms():
    assert each("vrpx")(np.array([0.0, 0.0, 0.0, 3.0])) == pytest.approx([1.0, 0.0, 0.5, 3.0])
    assert cholesky(2, "v")(np.array([0.0, 2.0, 0.0, np.log(5.0)])) == pytest.approx([1.0, 2.0, 5.0, 5.0])


@pytest.mark.parametrize("design", DESIGNS, ids=lambda d: d.name)
def test_starts_are_covariances(design):
    data = design.data()
    V = design.covariance(data)(design.transform(np.array(design.start)))
    assert V.shape == (len(data),) * 2
    assert np.linalg.eigvalsh(V)[0] > 0
    assert isinstance(data, pd.DataFrame)
