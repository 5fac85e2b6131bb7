"""``residual="known(O)"``: R that is given, against V made by the definition; two stages against one."""

from __future__ import annotations

import pickle
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.sparse as sp

import remlblup as rb
from remlblup.crosschecking.judge.evaluation import evaluate
from remlblup.equations.choice import equations_of_kind, make_equations
from remlblup.equations.computation import AUTO

N = 48


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "g": rng.integers(0, 7, N).astype(str),
            "f": np.tile(list("abc"), N // 3),
            "x": rng.standard_normal(N),
            "plot": [f"p{k}" for k in rng.permutation(N)],
            "v": rng.uniform(0.4, 2.0, N),
        },
        index=[100 + k for k in rng.permutation(N)],
    )
    root = np.linalg.cholesky(covariance())
    frame["y"] = 1.0 + frame["x"] + rng.standard_normal(7)[frame["g"].astype(int)] + root @ rng.standard_normal(N)
    return frame


def covariance() -> np.ndarray:
    """Of three trials, zero between them, in the order of the records."""
    rng = np.random.default_rng(4)
    parts = [rng.standard_normal((N // 3, N)) for _ in range(3)]
    return scipy.linalg.block_diag(*(part @ part.T / N + 0.3 * np.eye(N // 3) for part in parts))


def dense_loglik(y, X, V):
    L = np.linalg.cholesky(V)
    A, b = np.linalg.solve(L, X), np.linalg.solve(L, y)
    beta, *_ = np.linalg.lstsq(A, b, rcond=None)
    quadratic = float(np.sum((b - A @ beta) ** 2))
    logdet = 2.0 * np.log(np.diag(L)).sum() + np.linalg.slogdet(A.T @ A)[1]
    return -0.5 * ((len(y) - X.shape[1]) * np.log(2.0 * np.pi) + logdet + quadratic)


def given(data, how):
    """O by the labels, in another order than the records, as itself, sparse, or with rows for others."""
    O, order = covariance(), np.random.default_rng(7).permutation(N)
    shuffled, plots = O[np.ix_(order, order)], data["plot"].to_numpy()[order]
    if how == "frame":
        return {"O": pd.DataFrame(shuffled, index=plots, columns=plots)}
    if how == "sparse":
        return {"O": (sp.csc_array(shuffled), plots)}
    if how == "more":
        more = scipy.linalg.block_diag(np.eye(2), shuffled)
        return {"O": (more, [*"st", *plots])}
    if how == "inverse":
        return {"O": rb.Relationship(np.linalg.inv(shuffled), plots, inverse=True)}
    return {"O": (O, data.index)}


#: residual=, how O is given, R less what is estimated, and what each parameter of R multiplies.
FORMS = {
    "matrix": ("known(plot, O)", "frame", lambda d: covariance(), lambda d: []),
    "sparse": ("known(plot, O)", "sparse", lambda d: covariance(), lambda d: []),
    "more labels": ("known(plot, O)", "more", lambda d: covariance(), lambda d: []),
    "inverse": ("known(plot, O)", "inverse", lambda d: covariance(), lambda d: []),
    "by the index": ("known(O)", "index", lambda d: covariance(), lambda d: []),
    "units": ("known(O) + units", "index", lambda d: covariance(), lambda d: [np.eye(N)]),
    "scale": ("known(plot, O, scale=True)", "frame", lambda d: 0.0, lambda d: [covariance()]),
    "variances": ("known(v)", "none", lambda d: np.diag(d["v"]), lambda d: []),
    "variances and units": ("known(v) + units", "none", lambda d: np.diag(d["v"]), lambda d: [np.eye(N)]),
    "scaled variances": ("known(v, scale=True)", "none", lambda d: 0.0, lambda d: [np.diag(d["v"])]),
}


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("form", FORMS)
def test_likelihood_and_information(form, engine, data):
    """ℓ at the maximum and the expected information ½ tr(P V̇_i P V̇_j), by V; the observed one by differences of ℓ."""
    residual, how, fixed, slopes = FORMS[form]
    model = rb.MixedModel("y ~ x + (1 | g)", data, given(data, how), residual=residual, engine=engine)
    fit = model.fit(progress=False)
    assert fit.converged
    Z = pd.get_dummies(data["g"]).to_numpy(float)
    X, y = np.column_stack([np.ones(N), data["x"]]), data["y"].to_numpy()
    bases = [Z @ Z.T, *slopes(data)]
    assert len(fit.theta) == len(bases)
    whole = lambda theta: fixed(data) + sum(t * B for t, B in zip(theta, bases, strict=True))  # noqa: E731
    assert np.isclose(fit.loglik, dense_loglik(y, X, whole(fit.theta)), rtol=1e-11)
    free = np.array([status == "free" for status in fit.status])
    P = np.linalg.inv(whole(fit.theta))
    P = P - P @ X @ np.linalg.solve(X.T @ P @ X, X.T @ P)
    expected = np.array([[0.5 * np.trace(P @ A @ P @ B) for A in bases] for B in bases])[np.ix_(free, free)]
    assert np.allclose(fit.information("expected").to_numpy()[np.ix_(free, free)], expected, rtol=1e-8)
    observed = fit.information("observed").to_numpy()
    theta, h = fit.theta + 0.1, 1e-4
    score = evaluate(model, theta, "REML").score
    for i, unit in enumerate(h * np.eye(len(theta))):
        below, above = (dense_loglik(y, X, whole(theta + s * unit)) for s in (-1.0, 1.0))
        assert np.isclose(score[i], (above - below) / (2.0 * h), rtol=1e-5, atol=1e-6)
        steps = [dense_loglik(y, X, whole(fit.theta + s * unit)) for s in (-1.0, 0.0, 1.0)]
        curvature = -(steps[0] - 2.0 * steps[1] + steps[2]) / h**2
        assert not free[i] or np.isclose(observed[i, i], curvature, rtol=1e-3, atol=1e-4)


def test_spectral_is_refused_by_name(data):
    model = rb.MixedModel("y ~ x + (1 | g)", data, residual="known(v)", engine="spectral")
    with pytest.raises(rb.OptionError, match=r"the residual is 'known\(v\)'"):
        model.fit(progress=False)


def test_by_v_and_by_the_equations(data):
    """The same by V itself, which a dense relationship of many levels beside R may call for."""
    rng = np.random.default_rng(5)
    M = rng.standard_normal((N, 200))
    relationships = given(data, "index") | {"K": (M @ M.T / 200, data["plot"])}
    model = rb.MixedModel("y ~ x + (1 | vm(plot, K))", data, relationships, residual="known(O) + units")
    fits = [rb.MixedModel._of(model.specification) for _ in range(2)]
    for fitted, kind in zip(fits, ("equations", "V"), strict=True):
        fitted.__dict__["_equations"] = equations_of_kind(model.specification, AUTO, kind)
    one, two = (fitted.fit(progress=False) for fitted in fits)
    assert (one._equations.kind, two._equations.kind) == ("equations", "V")
    assert np.allclose(one.theta, two.theta, rtol=1e-5, atol=1e-7) and np.isclose(one.loglik, two.loglik, rtol=1e-10)


def test_v_is_taken_where_the_inverse_of_r_is_dense():
    """Of as many effects as records; not for variances, nor for parts of records."""
    rng = np.random.default_rng(6)
    n = 420
    frame = pd.DataFrame({"y": rng.standard_normal(n), "v": 1.0})
    z = rng.standard_normal((n, 2 * n))
    for O, residual, kind in (
        (z @ z.T, "known(O) + units", "V"),
        (z @ z.T, "known(O)", "equations"),
        (sp.block_diag([z[:35] @ z[:35].T] * 12), "known(O) + units", "equations"),
        (z @ z.T, "known(v) + units", "equations"),
    ):
        model = rb.MixedModel("y ~ 1", frame, {"O": (O, frame.index)}, residual=residual)
        assert make_equations(model.specification).kind == kind


def test_a_scale_of_variances_is_weights(data):
    fit = rb.MixedModel("y ~ x + (1 | g)", data, residual="known(v, scale=True)").fit(progress=False)
    weighted = rb.MixedModel("y ~ x + (1 | g)", data.assign(w=1.0 / data["v"]), weights="w").fit(progress=False)
    assert np.allclose(fit.theta, weighted.theta, rtol=1e-6) and np.isclose(fit.loglik, weighted.loglik, rtol=1e-10)
    assert fit.variance_components["parameter"].tolist() == ["variance", "scale"]


def test_nothing_to_estimate_but_the_mean(data):
    """R alone: generalised least squares, by the textbook."""
    fit = rb.MixedModel("y ~ x + f", data, given(data, "index"), residual="known(O)").fit(progress=False)
    X = np.column_stack([np.ones(N), data["x"], data["f"] == "b", data["f"] == "c"]).astype(float)
    inverse = np.linalg.inv(covariance())
    C = np.linalg.inv(X.T @ inverse @ X)
    assert np.allclose(fit.fixed_effects["estimate"], C @ X.T @ inverse @ data["y"].to_numpy(), rtol=1e-9)
    assert np.allclose(fit.fixed_effects["std_error"], np.sqrt(np.diag(C)), rtol=1e-9)
    assert len(fit.variance_components) == 0 and fit.converged
    assert "a covariance matrix that is known" in str(fit.summary())
    assert len(fit.intervals("profile")) == 0
    with pytest.raises(rb.FormulaError, match="it is known"):
        fit.function("residual")


def test_it_is_saved_dropped_drawn_and_predicted(data, tmp_path):
    """Folder, checkpoint and pickle hold O; rows that are left out take their part of it with them."""
    gaps = data.copy()
    gaps.iloc[[4, 30], gaps.columns.get_loc("y")] = np.nan
    model = rb.MixedModel("y ~ x + (1 | g)", gaps, given(data, "frame"), residual="known(plot, O) + units")
    fit = model.fit(progress=False, checkpoint=tmp_path / "point.npz")
    kept = gaps["y"].notna().to_numpy()
    part = {"O": (covariance()[np.ix_(kept, kept)], gaps["plot"][kept])}
    alone = rb.MixedModel("y ~ x + (1 | g)", gaps[kept], part, residual="known(plot, O) + units").fit(progress=False)
    assert np.isclose(fit.loglik, alone.loglik, rtol=1e-12)
    fit.save(tmp_path / "fit")
    for again in (rb.load(tmp_path / "fit"), pickle.loads(pickle.dumps(fit))):
        assert again.loglik == fit.loglik
        assert np.array_equal(again.predict(data)["prediction"], fit.predict(data)["prediction"])
    other = given(data, "frame")
    other["O"] = other["O"] * 1.5
    with pytest.raises(rb.CheckpointError, match="structure of the residual"):
        rb.MixedModel("y ~ x + (1 | g)", gaps, other, residual="known(plot, O) + units").fit(
            progress=False, checkpoint=tmp_path / "point.npz"
        )
    with pytest.raises(rb.DataError, match="known of the records of the fit alone"):
        fit.predict(data, interval="prediction")
    assert rb.cross_validate(model, folds=3, seed=1) is not None
    drawn = fit.simulate(2000, seed=1)
    V = np.cov(drawn.to_numpy() if drawn.shape[1] == 2000 else drawn.to_numpy().T)
    Z = pd.get_dummies(gaps["g"][kept]).to_numpy(float)
    expected = fit.theta[0] * Z @ Z.T + part["O"][0] + fit.theta[1] * np.eye(kept.sum())
    assert np.abs(V - expected).max() < 0.35 * np.diag(expected).max()


def test_variances_of_new_records_stand_in_their_column(data):
    fit = rb.MixedModel("y ~ x + (1 | g)", data, residual="known(v, scale=True)").fit(progress=False)
    new = data.head(3).assign(v=[0.1, 1.0, 10.0])
    table = fit.predict(new, interval="prediction")
    half = (table["upper"] - table["lower"]).to_numpy() / 2.0
    t = half[0] / np.sqrt(table["std_error"].iloc[0] ** 2 + fit.theta[1] * 0.1)
    assert np.allclose(half, t * np.sqrt(table["std_error"] ** 2 + fit.theta[1] * new["v"]))
    with pytest.raises(rb.DataError, match="'v', which the new data lack"):
        fit.predict(new.drop(columns="v"), interval="prediction")


def bad(data, change):
    O = covariance()
    change(O)
    return {"O": (O, data.index)}


def singular(O):
    O[1], O[:, 1] = O[0], O[:, 0]
    O[1, 1] = O[0, 0]


@pytest.mark.parametrize(
    ("residual", "relationships", "error", "words"),
    [
        ("known(O)", lambda d: {"O": (covariance(), d["plot"])}, rb.DataError, "no row and column for the record"),
        ("known(g, O)", lambda d: given(d, "index"), rb.DataError, "more than once"),
        ("known(O)", lambda d: {"O": covariance()}, rb.RelationshipError, "labels"),
        ("known(O)", lambda d: bad(d, lambda O: O.__setitem__((0, 1), 9.0)), rb.RelationshipError, "symmetric"),
        ("known(O)", lambda d: bad(d, lambda O: O.__setitem__((2, 2), np.nan)), rb.RelationshipError, "finite|missing"),
        ("known(O)", lambda d: bad(d, lambda O: O.__setitem__((2, 2), -1.0)), rb.RelationshipError, "definite"),
        ("known(O)", lambda d: bad(d, singular), rb.RelationshipError, r"not positive definite: record\(s\)"),
        ("known(O)", lambda d: {}, rb.OptionError, "neither a column of the data"),
        ("known(v)", lambda d: {"v": (covariance(), d.index)}, rb.OptionError, "a column of the data and a name"),
        ("known(x)", lambda d: {}, rb.DataError, "variances must be positive"),
        ("known(f)", lambda d: {}, rb.DataError, "f"),
        ("known(nothing, O)", lambda d: given(d, "index"), rb.DataError, "nothing"),
        ("known(O) | f", lambda d: given(d, "index"), rb.OptionError, "Leave out the bar"),
        ("known(a, b, O)", lambda d: given(d, "index"), rb.OptionError, "write known"),
        ("known(O, k=2)", lambda d: given(d, "index"), rb.FormulaError, "no option 'k'"),
        ("known(O, scale=3)", lambda d: given(d, "index"), rb.OptionError, "scale"),
        ("known()", lambda d: {}, rb.OptionError, "write known"),
    ],
)
def test_what_cannot_be_is_refused_by_name(residual, relationships, error, words, data):
    with pytest.raises(error, match=words):
        rb.MixedModel("y ~ x + (1 | g)", data, relationships(data), residual=residual).fit(progress=False)


def test_other_refusals(data):
    with pytest.raises(rb.OptionError, match="weights="):
        rb.MixedModel("y ~ x + (1 | g)", data, residual="known(v)", weights="v")
    with pytest.raises(rb.OptionError, match="one response"):
        rb.MixedModel("c(y, x) ~ trait + us(trait | g)", data, given(data, "index"), residual="known(O)")
    fit = rb.MixedModel("y ~ x + (1 | g)", data, residual="known(v) + units").fit(progress=False)
    with pytest.raises(rb.ModelError, match="only independent errors"):
        rb.write_model(fit, "lme4", "nowhere")


def test_likelihood_ratios_of_a_variance_beside(data):
    small, large, scaled = (
        rb.MixedModel("y ~ x + (1 | g)", data, residual=r).fit(progress=False)
        for r in ("known(v)", "known(v) + units", "known(v, scale=True)")
    )
    assert np.isclose(rb.likelihood_ratio(small, large).statistic, 2.0 * (large.loglik - small.loglik), atol=1e-8)
    assert np.isclose(rb.likelihood_ratio(small, scaled).statistic, 2.0 * (scaled.loglik - small.loglik), atol=1e-8)


def test_a_meta_analysis_is_that_of_metafor(tmp_path):
    """τ², its standard error, the mean and ℓ of `rma(method = "REML")` in R."""
    rng = np.random.default_rng(8)
    trials = pd.DataFrame({"v": rng.uniform(0.02, 0.2, 14), "x": rng.standard_normal(14)})
    trials["y"] = 0.4 + 0.2 * trials["x"] + rng.standard_normal(14) * np.sqrt(trials["v"] + 0.1)
    fit = rb.MixedModel("y ~ x", trials, residual="known(v) + units").fit(progress=False, tolerance=1e-10)
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    trials.to_csv(tmp_path / "d.csv", index=False)
    script = (
        "library(metafor); d <- read.csv('d.csv');"
        "f <- rma(y, v, mods = ~ x, data = d, method = 'REML', control = list(threshold = 1e-12, maxiter = 1000));"
        "cat(sprintf('%.12g', c(f$tau2, f$b, f$se)))"
    )
    done = subprocess.run(["Rscript", "-e", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("R has no metafor")
    tau2, *rest = map(float, done.stdout.split()[-5:])
    assert np.isclose(fit.theta[0], tau2, rtol=1e-6)
    assert np.allclose([*fit.fixed_effects["estimate"], *fit.fixed_effects["std_error"]], rest, rtol=1e-6)


# -- two stages --------------------------------------------------------------------------------


def series(seed: int, complete: bool) -> pd.DataFrame:
    """Four trials of eight varieties: in complete blocks, or in incomplete ones with errors of their own."""
    rng = np.random.default_rng(seed)
    rows = []
    interaction = rng.standard_normal((4, 8)) * 0.8
    for t in range(4):
        for b in range(3 if complete else 6):
            grown = range(8) if complete else rng.choice(8, 5, replace=False)
            level = t + rng.standard_normal()
            spread = 1.0 if complete else 0.5 + 0.4 * t
            rows += [
                (
                    f"T{t}",
                    f"T{t}.{b}",
                    f"V{v}",
                    0.5 * v + t + interaction[t, v] + level + spread * rng.standard_normal(),
                )
                for v in grown
            ]
    return pd.DataFrame(rows, columns=["trial", "block", "variety", "yield"])


def second_stage(tables, O, residual):
    means = pd.concat(tables, names=["trial"]).reset_index()
    means.index = means["trial"] + ":" + means["variety"]
    model = rb.MixedModel("mean ~ variety + trial", means, {"O": (O, means.index)}, residual=residual)
    return model.fit(progress=False, tolerance=1e-12)


def compared(one, two):
    """Variety effects, their standard errors, and the variance of variety by trial."""
    names = [n for n in one.fixed_effects.index if n.startswith("variety")]
    columns = ["estimate", "std_error"]
    a, b = (fit.fixed_effects.loc[names, columns].to_numpy() for fit in (one, two))
    return np.abs(a - b).max(), abs(one.theta[list(one.specification.parameters.columns).index("trial:variety")]
                                    - two.theta[0])  # fmt: skip


def test_two_stages_are_one_in_a_balanced_series():
    """All variances estimated: the strata of a balanced design are independent."""
    plots = series(2, complete=True)
    one = rb.MixedModel("yield ~ variety + trial + (1 | trial:variety) + (1 | block)", plots)
    one = one.fit(progress=False, tolerance=1e-12)
    first = rb.MixedModel("yield ~ 0 + trial:variety + (1 | block)", plots).fit(progress=False, tolerance=1e-12)
    means = first.marginal_means("variety", by="trial")
    table = means.table.reset_index()[["trial", "variety", "mean"]]
    O = pd.DataFrame(means.covariance.to_numpy())
    tables = {t: part.drop(columns="trial") for t, part in table.groupby("trial", sort=False)}
    order = np.concatenate([part.index for part in tables.values()])
    two = second_stage(tables, O.to_numpy()[np.ix_(order, order)], "known(O) + units")
    effects, variance = compared(one, two)
    assert one.theta.min() > 0.0 and effects < 1e-8 and variance < 1e-8


def test_two_stages_are_one_at_the_variances_of_the_first():
    """Unbalanced trials, each with variances of its own; with weights alone they are not."""
    plots = series(5, complete=False)
    firsts = {
        t: rb.MixedModel("yield ~ variety + (1 | block)", rows).fit(progress=False, tolerance=1e-12)
        for t, rows in plots.groupby("trial")
    }
    means = {t: fit.marginal_means("variety") for t, fit in firsts.items()}
    one = rb.MixedModel(
        "yield ~ variety + trial + (1 | trial:variety) + diag(trial | block)", plots, residual="diag(trial | units)"
    )
    fix = {
        "diag(trial | block)": {f"var({t})": fit.theta[0] for t, fit in firsts.items()},
        "residual": {f"var({t})": fit.theta[1] for t, fit in firsts.items()},
    }
    one = one.fit(fix=fix, progress=False, tolerance=1e-12)
    O = scipy.linalg.block_diag(*(m.covariance.to_numpy() for m in means.values()))
    tables = {t: m.table[["mean"]].rename_axis("variety") for t, m in means.items()}
    two = second_stage(tables, O, "known(O) + units")
    effects, variance = compared(one, two)
    assert two.theta[0] > 0.0 and effects < 1e-8 and variance < 1e-7
    weighted = second_stage(tables, np.diag(np.diag(O)), "known(O) + units")
    effects, variance = compared(one, weighted)
    assert effects > 1e-3 and variance > 1e-3


def test_covariances_of_means_that_cannot_be_estimated_are_missing():
    plots = series(2, complete=True)
    plots = plots[~((plots["trial"] == "T0") & (plots["variety"] == "V3"))]
    fit = rb.MixedModel("yield ~ trial * variety + (1 | block)", plots).fit(progress=False)
    means = fit.marginal_means("variety", by="trial")
    assert np.array_equal(np.isnan(np.diag(means.covariance)), np.isnan(means.table["mean"]))
    known = means.table["mean"].notna().to_numpy()
    assert np.allclose(np.sqrt(np.diag(means.covariance)[known]), means.table["std_error"][known], rtol=1e-10)


def test_the_covariance_of_a_known_residual_is_refused():
    """It was an empty table."""
    data = pd.DataFrame({"y": np.arange(6.0) ** 2, "v": np.ones(6)})
    for residual in ("known(v)", "known(v) + units"):
        fit = rb.MixedModel("y ~ 1", data, residual=residual).fit()
        for table in (fit.covariance, fit.correlation):
            with pytest.raises(rb.ModelError, match="has no parameter"):
                table("residual")
