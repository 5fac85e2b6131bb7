"""engine="stochastic": estimates within their Monte Carlo errors, labelled as such wherever they are shown."""

from __future__ import annotations

import json

import matplotlib.text
import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.equations.stochastic import engine
from remlblup.equations.stochastic.conjugate_gradients import projected
from remlblup.equations.stochastic.probes import bytes_each, within_memory
from remlblup.reml.history import HEADER, Iteration
from remlblup.reml.stochastic import search


@pytest.fixture(scope="module")
def flock():
    rng = np.random.default_rng(11)
    M = rng.binomial(2, rng.uniform(0.1, 0.5, 300), (250, 300))
    ids = [f"a{k}" for k in range(250)]
    one, two = (rb.Genotypes.from_matrix(part, ids=ids) for part in (M[:, :150], M[:, 150:]))
    animal = rng.integers(0, 250, 500)
    u = (M - M.mean(axis=0)) @ rng.standard_normal(300) / np.sqrt(120.0)
    data = pd.DataFrame({"animal": [ids[k] for k in animal], "herd": rng.integers(0, 20, 500).astype(str)})
    data["x"] = rng.standard_normal(500)
    herd = rng.standard_normal(20)
    data["y"] = 2.0 + data["x"] + u[animal] + 0.7 * herd[data["herd"].astype(int)] + 1.2 * rng.standard_normal(500)
    return data, {"G": one, "H": two}


FORMULA = "y ~ x + (1 | vm(animal, G)) + (1 | vm(animal, H)) + (1 | herd)"


@pytest.fixture(scope="module")
def fits(flock):
    data, relationships = flock
    exact = rb.MixedModel(FORMULA, data, relationships).fit()
    return rb.MixedModel(FORMULA, data, relationships, engine="stochastic").fit(seed=4), exact


def test_within_its_monte_carlo_error(fits):
    """All components, and effects that follow from them."""
    fit, exact = fits
    assert fit.converged
    table = fit.variance_components
    away = (table["estimate"] - exact.theta) / table["monte_carlo_error"]
    assert np.all(np.abs(away) < 3.5)
    assert np.all(table["monte_carlo_error"] <= 0.1 * table["std_error"])
    assert np.allclose(table["std_error"], exact.variance_components["std_error"], rtol=0.1)
    assert np.allclose(table["total_error"] ** 2, table["std_error"] ** 2 + table["monte_carlo_error"] ** 2)
    assert np.corrcoef(fit.random_effects["estimate"], exact.random_effects["estimate"])[0, 1] > 0.999
    assert np.allclose(fit.fixed_effects["std_error"], exact.fixed_effects["std_error"], rtol=0.02)


def test_never_looks_exact(fits):
    fit, _ = fits
    probes = f"{fit._optimum.monte_carlo.probes} probes"
    for shown in (str(fit.summary()), str(fit.variance_components), str(fit.random_effects), str(fit.convergence)):
        assert probes in shown
    assert "Monte Carlo" in str(fit.summary()) and "Monte Carlo error" in set(fit.convergence.table["criterion"])
    for missing in ("loglik", "loglik_asreml", "aic", "bic", "llf"):
        with pytest.raises(rb.StochasticError, match="stochastic"):
            getattr(fit, missing)
    assert fit.random_effects["pev"].isna().all()


def test_the_same_seed_is_the_same_fit(flock):
    data, relationships = flock
    one, two, other = (
        rb.MixedModel(FORMULA, data, relationships, engine="stochastic").fit(seed=seed, probes=10) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.theta, two.theta)
    assert not np.array_equal(one.theta, other.theta)


def test_given_probes_are_kept_and_said(flock):
    data, relationships = flock
    fit = rb.MixedModel(FORMULA, data, relationships, engine="stochastic").fit(probes=8)
    assert fit.converged and fit._optimum.monte_carlo.probes == 8
    assert "given" in fit.convergence.table["meaning"].to_list()[2]


def test_columns_that_are_not_solved_are_no_end(flock, monkeypatch):
    """y to 1e-8, but probes to a tenth."""
    data, relationships = flock

    def loosely(times, precondition, B, tolerance, start=None, least=1.0):
        enough = np.where(np.arange(B.shape[1]) > 0, 0.1, tolerance)
        return projected(times, precondition, B, tolerance if B.shape[1] < 8 else enough, start, least=least)

    monkeypatch.setattr(engine, "projected", loosely)
    with pytest.warns(rb.ConvergenceWarning, match="other columns"):
        fit = rb.MixedModel(FORMULA, data, relationships, engine="stochastic").fit(probes=8, max_iterations=12)
    failed = fit.convergence.table.query("not passed")["criterion"].tolist()
    assert not fit.converged and failed == ["other columns"]


def test_as_many_probes_as_are_drawn_end_it(flock, monkeypatch):
    """No step makes their error smaller: none is taken."""
    data, relationships = flock
    monkeypatch.setattr(search, "MOST", search.FEW)
    with pytest.warns(rb.ConvergenceWarning, match="probes="):
        fit = rb.MixedModel(FORMULA, data, relationships, engine="stochastic").fit()
    assert fit.convergence.table.query("not passed")["criterion"].tolist() == ["Monte Carlo error"]
    assert fit.history["step"].iloc[-1].startswith("AI") and len(fit.history) < 10


def test_saved_and_read_back(fits, tmp_path):
    fit, _ = fits
    again = rb.load(fit.save(tmp_path / "fit"))
    assert np.array_equal(again.theta, fit.theta)
    assert np.allclose(again.variance_components.iloc[:, 2:7].astype(float), fit.variance_components.iloc[:, 2:7])
    saved = json.loads((tmp_path / "fit" / "fit.json").read_text())
    assert saved["loglik"] is None and saved["monte_carlo"]["seed"] == 4
    assert str(again.summary()).splitlines()[-1] == str(fit.summary()).splitlines()[-1]


def test_a_variance_of_zero_stays_on_its_boundary(flock):
    data, relationships = flock
    data = data.assign(pen=(np.arange(500) // 2).astype(str))
    model = rb.MixedModel("y ~ x + (1 | vm(animal, G)) + (1 | pen)", data, relationships, engine="stochastic")
    exact = rb.MixedModel("y ~ x + (1 | vm(animal, G)) + (1 | pen)", data, relationships).fit()
    fit = model.fit(seed=2)
    assert fit.converged
    assert fit.status == exact.status


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "ML"}, "REML"),
        ({"algorithm": "em"}, "algorithm"),
        ({"starts": 3}, "starts"),
        ({"constrain": False}, "constrain"),
        ({"algorithm": "px-em"}, "leave algorithm= out"),
        ({"probes": 1}, "probes"),
        ({"probes": 10**9}, r"1,000,000,000 probes of 500 records needs .*fewer probes="),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_it_does_not_do_is_named(flock, options, said):
    data, relationships = flock
    model = rb.MixedModel(FORMULA, data, relationships, engine="stochastic")
    with pytest.raises(rb.RemlBlupError, match=said):
        model.fit(**options)


def test_without_an_error_of_probes_the_steps_go_on():
    """Pedigrees and factors are factorised: what is left of the step would be the only error, and in no table."""
    flock = rb.simulate_flock()
    relationships = {"A": rb.Pedigree.from_frame(flock.pedigree)}
    formula = "y ~ sex + litter + group + (1 | dam) + (1 | vm(id, A))"
    exact = rb.MixedModel(formula, flock.data, relationships).fit()
    fit = rb.MixedModel(formula, flock.data, relationships, engine="stochastic").fit()
    table = fit.variance_components
    away = np.abs(table["estimate"] - exact.variance_components["estimate"]) / table["std_error"]
    assert away.max() < 3e-4
    assert (table["monte_carlo_error"] < 1e-8 * table["std_error"]).all()
    assert fit.convergence.table.set_index("criterion")["limit"]["next step"] == 1e-4


def test_what_takes_a_likelihood_is_named(fits):
    fit, _ = fits
    for ask in (
        lambda: fit.profile(points=3),
        lambda: fit.intervals(method="profile"),
        lambda: rb.likelihood_ratio(fit, fit),
        lambda: fit.check_starts(n=2),
        lambda: rb.compare(fit, fit),
        lambda: fit.surface("herd", "residual"),
    ):
        with pytest.raises(rb.RemlBlupError):
            ask()


def test_residuals_that_are_dense_are_refused(flock):
    data, _relationships = flock
    with pytest.raises(rb.OptionError, match="stochastic"):
        rb.MixedModel("y ~ x", data, residual="exp(x)", engine="stochastic").describe()


def test_a_stopped_fit_goes_on_to_the_same_bits(flock, tmp_path):
    """Stopped after the start, after a step, and after more probes."""
    data, relationships = flock
    whole = rb.MixedModel(FORMULA, data, relationships, engine="stochastic").fit(seed=3)
    steps = list(whole.history["step"])
    for at in (0, 1, next(k for k, step in enumerate(steps) if "probes" in step)):

        def stop(row, at=at):
            if row.iteration == at:
                raise KeyboardInterrupt

        file = tmp_path / f"{at}.npz"
        model = rb.MixedModel(FORMULA, data, relationships, engine="stochastic")
        with pytest.raises(rb.FitInterrupted) as interrupted:
            model.fit(seed=3, checkpoint=file, callback=stop)
        again = rb.MixedModel(FORMULA, data, relationships, engine="stochastic").fit(seed=3, checkpoint=file)
        assert np.array_equal(again.theta, whole.theta)
        assert list(again.history["step"]) == steps
        assert np.array_equal(
            again.variance_components["monte_carlo_error"], whole.variance_components["monte_carlo_error"]
        )
        assert "interrupted" in str(interrupted.value)
    with pytest.raises(rb.CheckpointError, match="seed"):
        model.fit(seed=4, checkpoint=file)
    assert interrupted.value.fit.convergence.status == "interrupted"


def test_plots_and_reports_say_what_they_leave_out(fits, tmp_path):
    fit, _ = fits
    axes = fit.plot_convergence()
    assert "standard errors" in axes.get_legend_handles_labels()[1][0]
    assert len(fit.plot_convergence("all")) == 2
    fit.plot_residuals()
    said = fit.plot_random_effects("herd")
    assert any("no prediction error variances" in t.get_text() for t in said.findobj(matplotlib.text.Text))
    with pytest.raises(rb.StochasticError, match="record"):
        fit.plot_residuals("qq")
    page = fit.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Monte Carlo" in page and "Stochastic" in page


def test_another_response_is_fitted_alike(flock):
    data, relationships = flock
    formula = "y ~ x + (1 | vm(animal, G)) + (1 | herd)"
    fit = rb.MixedModel(formula, data, relationships, engine="stochastic").fit(seed=1, probes=10)
    other = data.assign(y=data["y"] + data["x"] ** 2)
    again = fit.refit(other["y"].to_numpy())
    assert np.allclose(
        again.theta, rb.MixedModel(formula, other, relationships, engine="stochastic").fit(seed=1, probes=10).theta
    )
    with pytest.raises(rb.StochasticError, match="refit"):
        fit.bootstrap(2, progress=False)


def test_genotypes_are_a_relationship_in_every_engine(flock):
    data, relationships = flock
    formed = {k: rb.genomic_relationship(g, progress=False) for k, g in relationships.items()}
    formula = "y ~ x + (1 | vm(animal, G))"
    one = rb.MixedModel(formula, data, relationships).fit()
    other = rb.MixedModel(formula, data, formed).fit()
    assert np.allclose(one.theta, other.theta, rtol=1e-10)
    assert np.allclose(one.random_effects["pev"], other.random_effects["pev"])
    with pytest.raises(rb.OptionError, match="formed"):
        rb.genomic_relationship(relationships["G"], "additive_by_additive", formed=False)


def test_given_probes_are_saved_and_loaded(flock, tmp_path):
    """A criterion without a limit is met after a load, too, and another response gets the same probes."""
    data, relationships = flock
    formula = "y ~ x + (1 | vm(animal, G)) + (1 | herd)"
    fit = rb.MixedModel(formula, data, relationships, engine="stochastic").fit(seed=5, probes=6)
    again = rb.load(fit.save(tmp_path / "fit"))
    assert again.converged and str(again.convergence) == str(fit.convergence)
    assert (again.options.seed, again.options.probes) == (5, 6)
    other = data["y"].to_numpy() + data["x"].to_numpy() ** 2
    one, two = again.refit(other), fit.refit(other)
    errors = two.variance_components["monte_carlo_error"].to_numpy()
    assert np.all(np.abs(one.theta - two.theta) < 0.01 * errors)  # other probes would be one error away


def test_standard_errors_by_statsmodels_names_are_those_of_their_covariance(fits):
    fit, _ = fits
    assert np.allclose(fit.bse**2, np.diag(fit.cov_params()))
    assert np.allclose(fit.tvalues[-len(fit.theta) :], fit.variance_components["z_ratio"])


def test_probes_of_another_engine_are_refused(flock):
    data, relationships = flock
    for formula in ("y ~ x + (1 | vm(animal, G))", "y ~ x + (1 | herd)", "y ~ x"):
        with pytest.raises(rb.OptionError, match="probes=8"):
            rb.MixedModel(formula, data, relationships if "vm" in formula else None).fit(probes=8)


def test_few_probes_and_loose_solves_are_in_the_printed_error(monkeypatch):
    """Much heritability, several records: what is left of the step and of the probes is small beside the error."""
    rng = np.random.default_rng(7)
    M = rng.binomial(2, rng.uniform(0.05, 0.5, 200), (100, 200))
    u = (M - M.mean(axis=0)) @ rng.standard_normal(200)
    animal = np.repeat(np.arange(100), 3)
    data = pd.DataFrame({"animal": animal, "herd": rng.integers(0, 12, 300).astype(str)})
    data["y"] = (u / u.std())[animal] + 0.3 * rng.standard_normal(12)[data["herd"].astype(int)]
    data["y"] += 0.1 * rng.standard_normal(300)
    formula, relationships = (
        "y ~ 1 + (1 | vm(animal, G)) + (1 | herd)",
        {"G": rb.Genotypes.from_matrix(M, ids=range(100))},
    )
    exact = rb.MixedModel(formula, data, relationships).fit()
    start = {"vm(animal, G)": exact.theta[0], "herd": exact.theta[1], "residual": 1.02 * exact.theta[2]}
    model = rb.MixedModel(formula, data, relationships, engine="stochastic")
    away = []
    for seed in range(8):
        fit = model.fit(seed=seed, start=start)
        assert fit.converged
        away.append((fit.theta - exact.theta) / fit.variance_components["monte_carlo_error"])
    assert np.all(np.sqrt(np.mean(np.square(away), axis=0)) < 1.6)  # 5, 2 and 10 of a fixed limit and loose probes
    few = [model.fit(seed=seed, start=start, probes=4) for seed in range(12)]
    away = [(fit.theta - exact.theta) / fit.variance_components["monte_carlo_error"] for fit in few]
    assert np.mean(np.abs(away) < 2.0) > 0.88  # 95 in 100 are expected


def test_drawing_stops_where_memory_does(flock, monkeypatch):
    """Said in the verdict, and before the fit what all may take."""
    data, relationships = flock
    model = rb.MixedModel(FORMULA, data, relationships, engine="stochastic")
    said = str(model.describe())
    assert "100 probes with 0.00845 GB," in said  # what they take, with all that is held beside them
    assert "up to 1,000 with 0.0845 GB for all" in said
    monkeypatch.setattr(search, "within_memory", lambda spec, known: 30)
    with pytest.warns(rb.ConvergenceWarning, match="no memory for more probes"):
        fit = model.fit(seed=2)
    assert fit._optimum.monte_carlo.probes == 30 and not fit.converged
    assert fit.convergence.table.query("not passed")["criterion"].tolist() == ["Monte Carlo error"]
    monkeypatch.undo()
    spec, each = model.specification, bytes_each(model.specification)
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", f"{each * 40 / 0.85 / 1e9}")
    assert within_memory(spec, 0) == 40 and within_memory(spec, 24) > 40
    with pytest.raises(rb.MemoryLimitError, match="fewer probes="):
        model.fit(probes=50)


def test_many_solves_are_asked_for(fits, flock, monkeypatch, tmp_path):
    """A solve for each record held out, left out or predicted: how many, and what to do. A report leaves them out."""
    fit, exact = fits
    data, _ = flock
    monkeypatch.setattr(engine, "MANY", 400)
    with pytest.raises(rb.StochasticError, match=r"500 solves .* many_solves=True"):
        rb.cross_validate(fit, "loo")
    with pytest.raises(rb.StochasticError, match=r"1,500 solves|2,500 solves"):
        fit.influence()
    page = fit.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Cook" not in page and "sampled_reliabilities" in page and "prediction intervals" not in page
    with pytest.raises(rb.StochasticError, match=r"500 solves .* se=False"):
        fit.predict(data)
    assert len(fit.predict(data.head(5))) == 5
    assert len(rb.cross_validate(exact, "loo").predictions) == 500
    waited = rb.cross_validate(fit, 2, many_solves=True)
    assert (
        np.corrcoef(waited.predictions["predicted"], rb.cross_validate(exact, 2).predictions["predicted"])[0, 1] > 0.99
    )


def test_lines_of_a_search_stand_under_their_heads():
    """However long a step is, and with no logL."""
    steps = ("AI", -12.5), ("AI", np.nan), ("1000 probes", np.nan), ("solved to 4.7e-05", np.nan)
    lines = [Iteration(1, step, ll, 0.1, 0.5, 0.1, 0.2, 0, 0.25, (), np.ones(1)).line() for step, ll in steps]
    assert len({line.index("5.00e-01") for line in lines}) == len({len(line) for line in lines}) == 1
    assert len(lines[0]) == len(HEADER)
    assert not any("nan" in line for line in lines)
