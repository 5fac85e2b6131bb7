"""Numbers too large or too small to be squared are named as such, by every entry and engine;
in between units do not matter."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

ENGINES = ["auto", "dense", "sparse", "spectral"]
BEYOND = [1e160, 1e300, 1e-160, 1e-300]
N, LEVELS = 36, 6
rng = np.random.default_rng(4)
DATA = pd.DataFrame({"g": np.arange(N) % LEVELS, "x": rng.normal(size=N), "w": rng.uniform(1, 2, N)})
DATA["y"] = 3 + DATA["x"] + rng.normal(size=LEVELS)[DATA["g"]] + rng.normal(size=N)
DATA["f"] = np.array(list("pqr"))[np.arange(N) // LEVELS % 3]
LABELS = list(range(LEVELS))
K = 0.3 + 0.7 * np.eye(LEVELS)


def model(
    engine: str = "auto",
    formula: str = "y ~ x + (1 | vm(g, K))",
    k: float = 1.0,
    weights=None,
    residual="units",
    **scales: float,
) -> rb.MixedModel:
    """A model with some columns, and K, times a number."""
    data = DATA.assign(**{name: DATA[name] * scale for name, scale in scales.items()})
    return rb.MixedModel(formula, data, {"K": (K * k, LABELS)}, residual, weights, engine=engine)


def matrices(X: float = 1.0, Z: float = 1.0, k: float = 1.0, w: float = 1.0) -> rb.MixedModel:
    design = Z * np.eye(LEVELS)[DATA["g"]]
    return rb.MixedModel.from_matrices(
        DATA["y"], X * np.c_[np.ones(N), DATA["x"]], [design], [k * K], weights=w * DATA["w"]
    )


def henderson(X: float = 1.0, Z: float = 1.0, G: float = 1.0, R: float = 1.0, y: float = 1.0) -> object:
    design = Z * np.eye(LEVELS)[DATA["g"]]
    return rb.henderson(y * DATA["y"], X * np.c_[np.ones(N), DATA["x"]], design, G * K, R)


CASES = {
    **{f"y, {e}": lambda s, e=e: model(e, y=s) for e in ENGINES},
    **{f"K, {e}": lambda s, e=e: model(e, k=s) for e in ENGINES},
    "x": lambda s: model(x=s),
    "slope": lambda s: model(formula="y ~ 1 + (x | g)", x=s),
    "offset": lambda s: model(formula="y ~ offset(x) + (1 | g)", x=s),
    "weights": lambda s: model(weights="w", w=s),
    "spline": lambda s: model(formula="y ~ spl(x)", x=s),
    "polynomial": lambda s: model(formula="y ~ us(leg(x, 1) | g)", x=s),
    "positions": lambda s: model(formula="y ~ 1 + (1 | g)", residual="exp(x | g)", x=s),
    "power": lambda s: model(formula="y ~ 1 + (1 | g)", residual="power(w)", w=s),
    "arithmetic": lambda s: model(formula="y ~ I(x * 1e30) + (1 | g)", x=s),
    "inverse": lambda s: rb.Relationship(s * K, LABELS, inverse=True),
    "known": lambda s: rb.MixedModel("y ~ known(f | g, matrix=S)", DATA, {"S": s * K[:3, :3]}),
    "coefficient": lambda s: rb.MixedModel(
        f"y ~ (1 | vm(g, K) + {max(s, 1 / s):.0f}*vm(g, K))", DATA, {"K": (K, LABELS)}
    ),
    **{f"matrices {n}": lambda s, n=n: matrices(**{n: s}) for n in ("X", "Z", "k", "w")},
    **{f"henderson {n}": lambda s, n=n: henderson(**{n: s}) for n in ("X", "Z", "G", "R", "y")},
}


@pytest.mark.parametrize("scale", BEYOND)
@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_squared_is_named(case, scale):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(rb.RemlBlupError, match=r"squared|squares|below 1e-50|infinite or undefined"):
            CASES[case](scale)


@pytest.mark.parametrize("where", ["y", "x", "w"])
def test_one_value_is_named_by_its_row(where):
    data = DATA.copy()
    data.loc[7, where] = 1e200
    with pytest.raises(rb.DataError, match=r"squared|row\(s\) 7\)"):
        rb.MixedModel("y ~ x + (1 | g)", data, weights="w")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scale", [1e45, 1e12, 1e-12, 1e-45])
def test_the_units_of_a_relationship_do_not_matter(scale, engine):
    """Σ ⊗ cK is (cΣ) ⊗ K: the same likelihood, variances over c; from start to intervals, without a numpy warning."""
    plain = model(engine).fit(progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = model(engine, k=scale).fit(progress=False)
        text = str(fit.summary())
        low = fit.intervals()["lower"].to_numpy()
    assert fit.converged and "converged" in text
    assert fit.loglik == pytest.approx(plain.loglik, abs=1e-7)
    np.testing.assert_allclose(fit.theta * [scale, 1.0], plain.theta, rtol=1e-4)
    np.testing.assert_allclose(low * [scale, 1.0], plain.intervals()["lower"], rtol=1e-3)
    np.testing.assert_allclose(fit.random_effects["estimate"], plain.random_effects["estimate"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("engine", ["dense", "sparse"])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("formula", ["y ~ x + us(1 + x | vm(g, K))", "y ~ x + diag(f | vm(g, K))"])
def test_nor_those_of_one_over_several_effects_or_of_an_inverse(formula, inverse, engine):
    given = [np.linalg.inv(K) / 1e20 if inverse else 1e20 * K, np.linalg.inv(K) if inverse else K]
    fits = [
        rb.MixedModel(formula, DATA, {"K": rb.Relationship(m, LABELS, inverse=inverse)}, engine=engine).fit(
            progress=False
        )
        for m in given
    ]
    assert fits[0].loglik == pytest.approx(fits[1].loglik, abs=1e-6)


def test_a_singular_relationship_of_any_units():
    M = rng.normal(size=(LEVELS, 3))
    fits = [
        rb.MixedModel("y ~ x + us(1 + x | vm(g, K))", DATA, {"K": (c * M @ M.T, LABELS)}, engine="sparse").fit(
            progress=False
        )
        for c in (1.0, 1e20)
    ]
    assert fits[0].loglik == pytest.approx(fits[1].loglik, abs=1e-6)


def test_variances_that_no_data_have():
    m = model()
    for call in (m.solve, m.loglik):
        with pytest.raises(rb.VarianceError, match="no data have such a variance"):
            call({"vm(g, K)": 1e200, "residual": 1.0})
    for word in ("start", "fix"):
        with pytest.raises(rb.VarianceError, match="no data have such a variance"):
            m.fit(**{word: {"residual": 1e200}})


def test_a_constant_response_beside_an_offset_is_told_and_a_varying_one_is_not():
    with pytest.raises(rb.DataError, match="constant"):
        rb.MixedModel("c ~ offset(x) + (1 | g)", DATA.assign(c=2.0))
    rb.MixedModel("y ~ offset(x) + (1 | g)", DATA.assign(x=DATA["x"] * 1e20))  # the offset is all that is left


def test_equations_of_badly_scaled_columns_keep_their_digits():
    """A C of columns 1e40 apart, inverted with a unit diagonal in the middle."""
    plain, scaled = henderson(), henderson(Z=1e-20, G=1e40)
    np.testing.assert_allclose(scaled.beta, plain.beta, rtol=1e-9)
    np.testing.assert_allclose(scaled.u, 1e20 * plain.u, rtol=1e-9)
    with pytest.raises(rb.NotPositiveDefiniteError):
        rb.henderson(DATA["y"], np.ones((N, 1)), np.eye(LEVELS)[DATA["g"]], 1e45, 1e-45)
