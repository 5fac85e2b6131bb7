"""Fixed groups of unknown parents: against the QP-transformed equations and a dense model with Q in X."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

IDS = ["a", "b", "c", "d", "e", "f", "g", "h"]
SIRES = ["G1", "G2", "a", "a", "c", "c", "G1", "e"]
DAMS = ["G1", "G1", "b", "G2", "d", "b", "d", "f"]


def pedigree() -> rb.Pedigree:
    return rb.Pedigree(IDS, SIRES, DAMS, groups=["G1", "G2"])


def records() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    animal = list("cdefghcdefgh") + ["a"] * 3
    return pd.DataFrame({"id": animal, "x": rng.normal(size=15), "y": rng.normal(size=15) + np.arange(15) / 4})


def oracle(d: pd.DataFrame, ped: rb.Pedigree, va: float, ve: float) -> tuple[np.ndarray, np.ndarray]:
    """û* and its prediction error covariance from the QP-transformed equations,
    a generalised inverse setting G1 to zero."""
    precision = ped.group_precision()
    labels = list(precision.labels)
    X = np.column_stack([np.ones(len(d)), d["x"]])
    Z = np.array([[float(label == animal) for label in labels] for animal in d["id"]])
    W = np.hstack([X, Z])
    C = W.T @ W / ve
    C[2:, 2:] += precision.matrix.toarray() / va
    # One group is confounded with the mean: the last group is set aside, as a dependent column of X is.
    drop = 2 + labels.index("G2")
    keep = [k for k in range(len(C)) if k != drop]
    inverse = np.zeros_like(C)
    inverse[np.ix_(keep, keep)] = np.linalg.inv(C[np.ix_(keep, keep)])
    solution = inverse @ (W.T @ d["y"].to_numpy() / ve)
    order = [2 + labels.index(animal) for animal in ped.labels]
    return solution[order], inverse[np.ix_(order, order)]


@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_the_quaas_pollak_equations(engine):
    ped, d = pedigree(), records()
    model = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": ped}, engine=engine)
    assert model.specification.fixed.names == ("Intercept", "x", "vm(id, A): G1")
    assert model.specification.fixed.aliased == ("vm(id, A): G2",)
    solved = model.solve({"vm(id, A)": 2.0, "residual": 3.0})
    u, covariance = oracle(d, ped, 2.0, 3.0)
    table = solved.random_effects.set_index("level").loc[list(ped.labels)]
    np.testing.assert_allclose(table["estimate"], u, atol=1e-10)
    np.testing.assert_allclose(table["pev"], np.diag(covariance), atol=1e-10)
    np.testing.assert_allclose(solved.blup("vm(id, A)")["Intercept"].loc[list(ped.labels)], u, atol=1e-10)
    pair = solved.contrasts("vm(id, A)", [("h", "a")]).iloc[0]
    i, j = (list(ped.labels).index(k) for k in ("h", "a"))
    assert pair["estimate"] == pytest.approx(u[i] - u[j])
    assert pair["pev"] == pytest.approx(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])


def test_likelihood_is_that_of_the_model_with_q_in_x():
    ped, d = pedigree(), records()
    plain = rb.Pedigree(
        IDS, [None if s.startswith("G") else s for s in SIRES], [None if s.startswith("G") else s for s in DAMS]
    )
    Q = ped.group_fractions
    d["q1"] = Q.loc[d["id"], "G1"].to_numpy()
    variances = {"vm(id, A)": 2.0, "residual": 3.0}
    with_groups = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": ped})
    written_out = rb.MixedModel("y ~ x + q1 + (1 | vm(id, A))", d, {"A": plain})
    assert with_groups.loglik(variances) == pytest.approx(written_out.loglik(variances), abs=1e-10)
    fits = with_groups.fit(), written_out.fit()
    np.testing.assert_allclose(fits[0].theta, fits[1].theta, atol=1e-6)


def test_predictions_take_the_groups_along_with_their_term(tmp_path):
    ped, d = pedigree(), records()
    model = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": ped})
    solved = model.solve({"vm(id, A)": 2.0, "residual": 3.0})
    new = pd.DataFrame({"id": ["b", "h"], "x": [0.0, 1.0]})
    u = solved.blup("vm(id, A)")["Intercept"]
    beta = solved.fixed_effects["estimate"]
    expected = beta["Intercept"] + beta["x"] * new["x"].to_numpy() + u.loc[["b", "h"]].to_numpy()
    np.testing.assert_allclose(solved.predict(new)["prediction"], expected, atol=1e-10)
    with pytest.warns(rb.EstimabilityWarning, match="2 of 2"):  # without its group the mean is that of either group
        assert solved.predict(new, include=[])["prediction"].isna().all()
    difference = solved.predict(new, include=[], nonestimable="nan")
    assert list(difference.columns) == ["prediction", "std_error"]
    np.testing.assert_allclose(solved.predict()["prediction"], solved.fitted, atol=1e-10)
    fit = model.fit()
    back = rb.load(fit.save(tmp_path / "fit"))
    pd.testing.assert_frame_equal(back.random_effects, fit.random_effects, rtol=1e-8)


def test_two_traits_have_groups_of_their_own():
    ped, d = pedigree(), records()
    d["z"] = d["y"] ** 2
    model = rb.MixedModel("c(y, z) ~ 0 + trait + us(trait | vm(id, A))", d, {"A": ped}, "us(trait | units)")
    names = model.specification.fixed.names
    term = "us(trait | vm(id, A))"
    assert names == ("trait[y]", "trait[z]", f"{term}: G1, y", f"{term}: G1, z")
    solved = model.solve({term: [[2, 0.5], [0.5, 1]], "residual": [[3, 1], [1, 2]]})
    table = solved.random_effects
    assert np.isfinite(table["pev"]).all() and (table["pev"] > 0).all()
    assert len(table) == 2 * ped.size
