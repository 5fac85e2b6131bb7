"""Traits and sites of variances far apart: the same fit in any coding, any order and any units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import remlblup as rb
from remlblup.model.design import fixed_design
from remlblup.model.own_columns import on_own_records

N, SIRES = 400, 20


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """Two traits a, b of variance about one, of which some cells are missing, and what to scale them by."""
    rng = np.random.default_rng(1)
    sire, x = rng.integers(SIRES, size=N), rng.normal(2.0, 1.0, N)
    u = 0.7 * rng.normal(size=(SIRES, 2)) @ np.linalg.cholesky([[0.9, -0.3], [-0.3, 0.8]]).T
    e = rng.normal(size=(N, 2)) @ np.linalg.cholesky([[0.9, -0.2], [-0.2, 0.9]]).T
    z = u[sire] + e + [6.0, 13.0] + x[:, None] * [0.5, 0.2]
    z[rng.random(N) < 0.1, 0] = np.nan
    z[rng.random(N) < 0.1, 1] = np.nan
    herd = pd.Categorical(rng.integers(4, size=N))
    return pd.DataFrame({"sire": sire, "x": x, "herd": herd, "a": z[:, 0], "b": z[:, 1]})


def fitted(fixed: str, data: pd.DataFrame, scales: dict[str, float], order: str = "a, b", engine: str = "sparse"):
    scaled = data.assign(**{name: data[name] * s for name, s in scales.items()})
    formula = f"c({order}) ~ {fixed} + us(trait | sire)"
    return rb.MixedModel(formula, scaled, residual="us(trait | units)", engine=engine).fit(progress=False)


def check_same(fit, well, sizes: np.ndarray) -> None:
    """`fit` is `well` of y times `sizes`: β̂ = Mβ̂_well, and ℓ but for the Jacobian."""
    assert fit.converged and well.converged
    X = well.specification.fixed.matrix
    X = X.toarray() if sp.issparse(X) else np.asarray(X)
    M = np.linalg.lstsq(X, sizes[:, None] * X, rcond=None)[0]
    assert np.allclose(X @ M, sizes[:, None] * X, atol=1e-9 * sizes.max())
    jacobian = np.log(sizes).sum() - np.linalg.slogdet(M)[1]
    assert fit.loglik == pytest.approx(well.loglik - jacobian, abs=1e-7)
    beta, errors = M @ well.beta, np.sqrt(np.diag(M @ well.beta_covariance @ M.T))
    assert np.allclose(fit.fixed_effects.std_error, errors, rtol=1e-6)
    assert np.all(np.abs(fit.fixed_effects.estimate - beta) < 1e-6 * errors)


CODINGS = ("trait", "0 + trait", "C(trait, contr.sum)", "trait * x", "trait + trait:x", "trait * C(herd, contr.sum)")


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("order", ["a, b", "b, a"])
@pytest.mark.parametrize("fixed", CODINGS)
@pytest.mark.parametrize("ratio", [1e-6, 5e3, 1e6])
def test_traits_of_any_units(data, fixed, order, engine, ratio):
    scales = {"a": 1500.0, "b": 1500.0 / ratio}
    fit, well = fitted(fixed, data, scales, order, engine), fitted(fixed, data, {}, order, engine)
    traits = well.specification.records.rows["trait"].astype(str)
    check_same(fit, well, traits.map(scales).to_numpy(float))
    for term in ("us(trait | sire)", "residual"):
        s = np.array([scales[name] for name in well.covariance(term).index])
        size = np.sqrt(np.diag(well.covariance(term)))
        apart = fit.covariance(term) / np.outer(s, s) - well.covariance(term)
        assert np.abs(apart / np.outer(size, size)).to_numpy().max() < 1e-6


PAIRS = (
    ("trial", "0 + trial"),
    ("C(trial, contr.poly) + x", "0 + trial + x"),
    ("C(trial, contr.sum) * x", "0 + trial + trial:x"),
    ("C(trial, contr.helmert) * herd", "0 + trial:herd"),
    ("C(trial, contr.poly) * (x + herd)", "0 + trial:herd + trial:x"),
)


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("fixed, own", PAIRS)
@pytest.mark.parametrize("spread", [1e-3, 1e3])
def test_trials_of_any_precision(fixed, own, spread, engine):
    """Sites whose variances are a million apart ask of every coding the same."""
    rng = np.random.default_rng(3)
    n = 600
    trial, g = np.arange(n) % 3, rng.integers(30, size=n)
    d = pd.DataFrame({"trial": np.array(["p", "q", "r"])[trial], "g": g, "x": rng.normal(size=n) + 3.0})
    d["herd"] = np.array(["h", "i"])[rng.integers(2, size=n)]
    d["y"] = 5.0 + 0.1 * d.x + 0.3 * rng.normal(size=30)[g] + np.array([1.0, 1.0, spread])[trial] * rng.normal(size=n)
    first, second = (
        rb.MixedModel(f"y ~ {part} + (1 | g)", d, residual="diag(trial | units)", engine=engine).fit(progress=False)
        for part in (fixed, own)
    )
    assert first.converged and second.converged
    assert first.loglik_nlme == pytest.approx(second.loglik_nlme, abs=1e-8)
    assert np.allclose(first.variance_components.estimate, second.variance_components.estimate, rtol=1e-6)
    assert np.allclose(first.fitted, second.fitted, rtol=1e-7)


def test_columns_of_one_trait_each():
    """Of any coding of two factors the columns inside are those of each class of records, and T leads back."""
    rng = np.random.default_rng(0)
    trait, herd = np.repeat([0, 1], 300), rng.integers(300, size=600) % 250
    H = (herd[:, None] == np.arange(250)).astype(float)
    own = np.hstack([H * (trait == k)[:, None] for k in (0, 1)])
    own = own[:, own.any(axis=0)]
    names = [f"x{k}" for k in range(own.shape[1])]
    # Treatments: the first trait's columns stand for both.
    X = np.hstack([H, H * (trait == 1)[:, None]])
    fixed = fixed_design(sp.csc_array(X), [f"x{k}" for k in range(500)])
    found = on_own_records(fixed, np.where(trait == 0, 1.0, 1e12))
    work = found.work.toarray()
    assert found.p == len(names)
    assert not ((work[trait == 0] != 0.0).any(axis=0) & (work[trait == 1] != 0.0).any(axis=0)).any()
    assert np.array_equal(fixed.matrix.toarray() @ found.transform, work)
    assert found.logdet_transform == pytest.approx(np.linalg.slogdet(found.transform)[1], abs=1e-12)


def test_nothing_to_do():
    """One variance, or a column of its own for each trait already: X itself stands in the equations."""
    X, apart = np.eye(2)[np.arange(40) % 2], np.where(np.arange(40) % 2, 1.0, 1e12)
    fixed = fixed_design(X, ["a", "b"])
    assert on_own_records(fixed, np.ones(40)) is fixed
    assert on_own_records(fixed, apart).work is fixed.work


@pytest.mark.parametrize("ratio", [1e-8, 1e-12])
def test_weights_far_apart(ratio):
    """A mean common to records of known precisions far apart, and a covariate that only the imprecise tell."""
    rng = np.random.default_rng(2)
    n = 300
    g, w = rng.integers(15, size=n), np.where(np.arange(n) % 2, 1.0, ratio)
    x = np.where(w == 1.0, 2.0, rng.normal(size=n))
    y = 3.0 + rng.normal(size=15)[g] + (rng.normal(size=n) + 1.0 * x) / np.sqrt(w)
    d = pd.DataFrame({"y": y, "x": x, "h": np.where(w == 1.0, 0.0, x), "late": (w < 1.0) * 1.0, "g": g, "w": w})
    fits = [
        rb.MixedModel(f"y ~ {part} + (1 | g)", d, weights="w").fit(progress=False)
        for part in ("x + late", "h + late", "0 + I(1 - late) + late + h")
    ]
    for fit in fits:
        assert fit.converged
        assert fit.loglik_nlme - fits[0].loglik_nlme == pytest.approx(0.0, abs=1e-7)
        assert np.allclose(fit.variance_components.estimate, fits[0].variance_components.estimate, rtol=1e-6)


def herd_of(n: int = 600) -> tuple[rb.Pedigree, pd.DataFrame]:
    """Animals of 60 founders and their records of milk and a fraction of fat."""
    rng = np.random.default_rng(4)
    parents, root = np.full((n, 2), -1), np.linalg.cholesky([[0.5, -0.2], [-0.2, 0.4]]).T
    bred = rng.normal(size=(n, 2)) @ root
    for i in range(60, n):
        parents[i] = rng.choice(min(i, 160), 2, replace=False) + i - min(i, 160)
        bred[i] = bred[parents[i]].mean(axis=0) + np.sqrt(0.5) * bred[i]
    labels = np.array([f"a{i}" for i in range(n)])
    sire, dam = (np.where(of < 0, "0", labels[of]) for of in parents.T)
    z = bred + rng.normal(size=(n, 2)) @ np.array([[0.7, 0.2], [0.0, 0.8]])
    d = pd.DataFrame({"animal": labels, "milk": 9000 + 1500 * z[:, 0], "frac": 0.04 + 0.003 * z[:, 1]})
    return rb.Pedigree(labels, sire, dam, hermaphrodites=True), d


def test_animal_model_in_natural_units():
    """V at the start, of traits whose variances are 10¹¹ apart, was said not to be positive definite."""
    A, d = herd_of()
    fits = [
        rb.MixedModel(
            f"c(milk, frac) ~ {part} + us(trait | vm(animal, A))",
            d,
            relationships={"A": A},
            residual="us(trait | units)",
        ).fit(progress=False)
        for part in ("trait", "0 + trait")
    ]
    assert fits[0].converged and fits[1].converged
    assert fits[0].loglik == pytest.approx(fits[1].loglik, abs=1e-8)
    assert np.allclose(fits[0].variance_components.estimate, fits[1].variance_components.estimate, rtol=1e-6)


def test_by_products(data):
    """engine="stochastic" draws the same probes and finds the same fixed effects in any coding."""
    d = data.assign(b=data.b / 1e5)
    fits = [
        rb.MixedModel(f"c(a, b) ~ {part} + us(trait | sire)", d, residual="us(trait | units)", engine="stochastic").fit(
            progress=False, seed=1, probes=30
        )
        for part in ("trait", "0 + trait")
    ]
    assert fits[0].converged and fits[1].converged
    treatment, own = (fit.fixed_effects.estimate.to_numpy() for fit in fits)
    assert np.allclose(fits[0].variance_components.estimate, fits[1].variance_components.estimate, rtol=1e-6)
    assert np.allclose(treatment, [own[0], own[1] - own[0]], rtol=1e-7)


def test_saved_and_predicted(data, tmp_path):
    """What is read back, and what is predicted, has the user's coding."""
    fit = fitted("trait * x", data, {"a": 1.0, "b": 1e-6})
    fit.save(tmp_path / "fit")
    again = rb.load(tmp_path / "fit")
    assert np.allclose(again.fixed_effects.estimate, fit.fixed_effects.estimate, rtol=1e-9)
    new = fit.specification.records.rows.iloc[:6]
    own = fitted("0 + trait + trait:x", data, {"a": 1.0, "b": 1e-6})
    ours, theirs = (f.predict(new, se=True) for f in (again, own))
    assert np.allclose(ours.prediction, theirs.prediction, rtol=1e-8)
    assert np.allclose(ours.std_error, theirs.std_error, rtol=1e-5)


@pytest.mark.parametrize("coding", ["v + C(site, contr.sum)", "site + v"])
def test_many_effects_common_to_sites(coding):
    """Least squares that knows no variances gives precise sites the noise of others, spread over many varieties."""
    rng = np.random.default_rng(0)
    n, nv = 2400, 110
    d = pd.DataFrame({"site": np.array(["p", "q", "r"])[rng.integers(3, size=n)], "g": rng.integers(40, size=n)})
    d["v"] = rng.integers(nv, size=n).astype(str)
    sd = d.site.map({"p": 1e-3, "q": 1.0, "r": 1e3}).to_numpy()
    d["y"] = 0.3 * rng.normal(size=nv)[d.v.astype(int)] + 0.2 * rng.normal(size=40)[d.g] + sd * rng.normal(size=n)
    fit, own = (
        rb.MixedModel(f"y ~ {part} + (1 | g)", d, residual="diag(site | units)").fit(progress=False)
        for part in (coding, "0 + site + v")
    )
    assert fit.converged and own.converged and fit.convergence.iterations < 9
    assert fit.loglik_nlme == pytest.approx(own.loglik_nlme, abs=1e-7)
    assert np.allclose(fit.variance_components.estimate, own.variance_components.estimate, rtol=1e-6)
