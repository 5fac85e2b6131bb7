"""engine="stochastic" where one call makes several fits: many responses, folds left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

N = 80
FORMULA = "y1 ~ lone + (1 | vm(animal, G)) + (1 | herd)"
pytestmark = pytest.mark.filterwarnings("ignore::remlblup.ConvergenceWarning", "ignore::remlblup.EstimabilityWarning")


@pytest.fixture(scope="module")
def flock():
    rng = np.random.default_rng(11)
    M = rng.binomial(2, rng.uniform(0.1, 0.5, 200), (N, 200))
    ids = [f"a{k}" for k in range(N)]
    animal = np.repeat(np.arange(N), 2)
    data = pd.DataFrame({"animal": [ids[k] for k in animal], "herd": rng.integers(0, 10, 2 * N).astype(str)})
    data["lone"] = np.where(np.arange(2 * N) < 3, "b", "a")
    for y in ("y1", "y2"):
        u = (M - M.mean(axis=0)) @ rng.standard_normal(200) / 9.0
        data[y] = 3.0 + u[animal] + rng.standard_normal(2 * N)
    return data, {"G": rb.Genotypes.from_matrix(M, ids=ids)}


@pytest.fixture(scope="module")
def fits(flock):
    """By products, and by the sparse engine at the same variances."""
    data, G = flock
    fit = rb.MixedModel(FORMULA, data, G, engine="stochastic").fit(probes=8, seed=3, progress=False)
    theta: dict[str, dict[str, float]] = {}
    for (term, parameter), value in zip(fit.specification.parameters.pairs, fit.theta, strict=True):
        theta.setdefault(term, {})[parameter] = float(value)
    return fit, rb.MixedModel(FORMULA, data, G, engine="sparse").fit(fix=theta, progress=False)


def test_many_responses_are_those_fitted_one_by_one(flock):
    data, G = flock
    many = rb.fit_many("~ 1 + (1 | vm(animal, G))", data, ["y1", "y2"], G, engine="stochastic", probes=8, seed=3)
    for name in ("y1", "y2"):
        alone = rb.MixedModel(f"{name} ~ 1 + (1 | vm(animal, G))", data, G, engine="stochastic").fit(probes=8, seed=3)
        assert np.array_equal(many[name].theta, alone.theta)
        row, components = many.table.loc[name], alone.variance_components
        assert np.array_equal(row[["vm(animal, G)", "residual"]].astype(float), components["estimate"])
        errors = row[["Monte Carlo vm(animal, G)", "Monte Carlo residual"]].astype(float)
        assert np.array_equal(errors, components["monte_carlo_error"]) and (errors > 0.0).all()
    assert "loglik" not in many.table


@pytest.mark.parametrize("folds", [5, "loo", "lone"])
@pytest.mark.parametrize("term", [None, "vm(animal, G)"])
def test_records_held_out_are_predicted_as_by_another_engine(fits, folds, term):
    """To what conjugate gradients leave, 1e-8; a record that alone tells of a fixed effect is missing in both."""
    folds = np.r_[[0] * 3, np.arange(3, 2 * N) % 5] if folds == "lone" else folds
    one, two = (rb.cross_validate(fit, folds, term=term).predictions["predicted"] for fit in fits)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)


def test_variances_without_a_fold_are_by_the_same_probes(flock, fits):
    data, G = flock
    fit, _ = fits
    fold = np.arange(2 * N) % 2
    found = rb.cross_validate(fit, fold, refit=True).predictions["predicted"]
    for held in (0, 1):
        rest = data.iloc[fold != held]
        other = rb.MixedModel(FORMULA, rest, G, engine="stochastic").fit(probes=8, seed=3, progress=False)
        np.testing.assert_allclose(found[fold == held], other.predict(data[fold == held])["prediction"], atol=1e-6)
