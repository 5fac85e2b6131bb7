"""Simulated records have the covariance of the model; refits are the fits of a new model;
replicates are those of one process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from functools import cache

import numpy as np
import pandas as pd
import pytest
from equations import models, structures
from equations.test_engines import SUBJECTS
from oracle import numerator_relationship

import remlblup as rb
from remlblup.datasets import load as dataset
from remlblup.inference.resampling.replicates import CONVERGED, Replicates
from remlblup.inference.resampling.simulate import Simulator, batches, seeds, taken_apart
from remlblup.relationship.roots import root_times, root_width

EACH_CASE = pytest.mark.parametrize("name", [n for n in SUBJECTS if not n.startswith("spectral")])


def case(name: str):
    kind, _, of_kind = name.partition(": ")
    c = (structures if kind == "structure" else models).case(of_kind)
    return c.model.specification, c.oracle, (c.theta if kind == "structure" else c.points[0])


def whole(simulator: Simulator) -> np.ndarray:
    """B of the deviations Bz of records from their mean."""
    numbers = taken_apart(np.eye(simulator.length))
    return simulator.deviations(simulator.effects(numbers), numbers)


@EACH_CASE
def test_records_have_the_covariance_of_the_model(name):
    """y* is linear in what is drawn: its matrix B has BB' = V,
    by the dense definition of every structure and relationship."""
    spec, oracle, theta = case(name)
    beta = np.arange(1.0, spec.p + 1.0)
    simulator = Simulator(spec, beta, theta)
    B = whole(simulator)
    V = oracle.V(theta)
    np.testing.assert_allclose(B @ B.T, V, atol=1e-9 * np.max(np.diag(V)))


def relationships():
    rng = np.random.default_rng(3)
    sires, dams = [-1] * 5, [-1] * 5
    for k in range(5, 30):
        sires.append(int(rng.integers(k)) if rng.random() < 0.8 else -1)
        dams.append(int(rng.integers(k)) if rng.random() < 0.8 else -1)
    A = numerator_relationship(sires, dams)
    labels = [f"a{k}" for k in range(30)]
    named = [[labels[p] if p >= 0 else None for p in parents] for parents in (sires, dams)]
    pedigree = rb.Pedigree(labels, *named, hermaphrodites=True)
    order = [list(pedigree.labels).index(x) for x in labels]
    markers = rng.standard_normal((12, 40))
    G = markers @ markers.T / 40 + 0.1 * np.eye(12)
    singular = markers[:, :6] @ markers[:, :6].T
    H = rb.SingleStep(pedigree, (G, labels[-12:]), alpha=0.95, beta=0.05, tune=0)
    yield "pedigree", pedigree, np.argsort(order), A
    yield "genomic", rb.Relationship(G, labels[:12]), None, G
    yield "genomic, given as its inverse", rb.Relationship(np.linalg.inv(G), labels[:12], inverse=True), None, G
    yield "singular", rb.Relationship(singular, labels[:12]), None, singular
    yield "single-step", H, None, H.dense()


@pytest.mark.parametrize("name", ["pedigree", "genomic", "genomic, given as its inverse", "singular", "single-step"])
def test_the_root_of_a_relationship(name):
    ((relationship, order, K),) = [r[1:] for r in relationships() if r[0] == name]
    L = root_times(relationship, np.eye(root_width(relationship)))
    K = K if order is None else K[np.ix_(order, order)]
    np.testing.assert_allclose(L @ L.T, K, atol=1e-9 * np.max(np.diag(K)))


def test_the_mean_holds_offsets_and_the_weights_the_errors():
    d = dataset("sleepstudy").assign(w=np.arange(1.0, 181.0), o=np.arange(180.0))
    fit = rb.MixedModel("Reaction ~ Days + offset(o) + (1 | Subject)", d, weights="w").fit()
    simulator = Simulator(fit.specification, fit.beta, fit.theta)
    np.testing.assert_allclose(simulator.mean, fit.beta[0] + fit.beta[1] * d["Days"] + d["o"])
    B = whole(simulator)
    np.testing.assert_allclose(np.diag(B @ B.T), fit.theta[0] + fit.theta[1] / d["w"])


def test_replicates_are_the_same_however_many_are_drawn():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", dataset("dyestuff")).fit()
    drawn = fit.simulate(7, seed=5)
    pd.testing.assert_frame_equal(drawn[[0, 1, 2]], fit.simulate(3, seed=5))
    assert list(drawn.index) == list(fit.fitted.index) and not np.allclose(drawn[0], drawn[1])
    assert [len(b) for b in batches(7, 60_000)] == [1] * 7
    children = np.random.SeedSequence(5).spawn(7)[4:]
    assert [s.generate_state(2).tolist() for s in seeds(5, range(4, 7))] == [
        s.generate_state(2).tolist() for s in children
    ]


# -- refit --------------------------------------------------------------------------------------


def weaned():
    flock = rb.simulate_flock(300, seed=1)
    return flock.data, {"A": flock.pedigree}


@pytest.mark.parametrize("engine", ["sparse", "dense", "spectral"])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_a_refit_is_the_fit_of_a_new_model(engine, method):
    data, given = weaned()
    formula = "y ~ sex + (1 | vm(id, A))"
    fit = rb.MixedModel(formula, data, given, engine=engine).fit(method)
    y = fit.simulate(1, seed=2)[0]
    again = fit.refit(y)
    own = rb.MixedModel(formula, data.loc[y.index].assign(y=y), given, engine=engine).fit(method)
    assert again.loglik == own.loglik and again.converged
    np.testing.assert_array_equal(again.theta, own.theta)
    np.testing.assert_array_equal(again.beta, own.beta)
    pd.testing.assert_frame_equal(again.random_effects, own.random_effects)
    before = fit.random_effects  # the first fit shares the factor and is what it was
    pd.testing.assert_frame_equal(before, rb.MixedModel(formula, data, given, engine=engine).fit(method).random_effects)


def test_a_refit_is_saved_with_its_response(tmp_path):
    d = dataset("sleepstudy")
    for formula in ("Reaction ~ Days + (1 | Subject)", "log(Reaction) ~ Days + (1 | Subject)"):
        fit = rb.MixedModel(formula, d).fit()
        again = fit.refit(fit.simulate(1, seed=1)[0])
        read = rb.load(again.save(tmp_path / formula[:3]))
        assert read.loglik == pytest.approx(again.loglik, rel=1e-12) and again.loglik != fit.loglik
        np.testing.assert_allclose(read.fitted, again.fitted)


def test_a_refit_of_several_traits(tmp_path):
    rng = np.random.default_rng(0)
    d = pd.DataFrame({"g": np.repeat(np.arange(20), 3), "a": rng.standard_normal(60), "b": rng.standard_normal(60)})
    d[["a", "b"]] += rng.standard_normal((20, 2))[d["g"]]
    d.loc[[3, 10], "a"] = np.nan
    formula = "c(a, b) ~ 0 + trait + us(trait | g)"
    fit = rb.MixedModel(formula, d, residual="us(trait | units)").fit()
    y = fit.simulate(1, seed=4)[0]
    again = fit.refit(y)
    wide = d.copy()
    wide.loc[~d["a"].isna(), "a"], wide["b"] = y.xs("a", level="trait").to_numpy(), y.xs("b", level="trait").to_numpy()
    own = rb.MixedModel(formula, wide, residual="us(trait | units)").fit()
    np.testing.assert_array_equal(again.theta, own.theta)
    assert rb.load(again.save(tmp_path / "two")).loglik == pytest.approx(own.loglik, rel=1e-12)


@pytest.mark.parametrize(
    "y, said",
    [
        (np.ones(5), "one value for each of the 30 records"),
        (np.r_[np.nan, np.arange(29.0)], "not a number"),
        (np.ones(30), "constant"),
        (pd.Series(np.arange(30.0), index=[f"r{k}" for k in range(30)]), "labelled by other rows"),
    ],
)
def test_a_response_that_cannot_be_one(y, said):
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", dataset("dyestuff")).fit()
    with pytest.raises(rb.DataError, match=said):
        fit.refit(y)


# -- replicates together ------------------------------------------------------------------------

MODELS = {
    "one variance": ("dyestuff", "Yield ~ 1 + (1 | Batch)"),
    "variance at zero": ("dyestuff2", "Yield ~ 1 + (1 | Batch)"),
    "slopes": ("sleepstudy", "Reaction ~ Days + (1 + Days | Subject)"),
    "independent slopes": ("sleepstudy", "Reaction ~ Days + (1 + Days || Subject)"),
    "nested": ("pastes", "strength ~ 1 + (1 | batch/cask)"),
    "crossed": ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "matrix beside": ("machines", "score ~ Machine + us(Machine | Worker)"),
}


@cache
def fitted(name: str, method: str = "REML", algorithm: str = "auto"):
    data, formula = MODELS[name]
    return rb.MixedModel(formula, dataset(data)).fit(method, algorithm)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", MODELS)
def test_a_batch_ends_where_each_fit_does(name, method):
    """Arrays over the responses against the search of a fit, one by one: θ, β̂, ℓ and boundaries."""
    fit = fitted(name, method)
    replicates = Replicates(fit)
    assert replicates.shortcut is None
    Y = replicates.draw(range(12), 1)
    out = replicates.together.maximize(Y, fit.options.tolerance)
    assert out.converged.mean() > 0.9  # the rest is left to the search of a fit
    for k, y in enumerate(Y.T):
        if not out.converged[k]:
            continue
        own = fit.refit(y)
        assert own.converged
        assert out.loglik[k] == pytest.approx(own.loglik, abs=2e-7)
        error = np.sqrt(np.diag(own.variance_covariance))
        size = np.where(error > 0.0, error, own.theta[-1])
        np.testing.assert_allclose((out.theta[k] - own.theta) / size, 0.0, atol=1e-5)
        np.testing.assert_allclose(out.beta[k], own.beta, atol=1e-5 * np.max(own.fixed_effects["std_error"]))
        assert list(out.boundary[k]) == [s == "boundary" for s in own.status]


def test_one_by_one_gives_the_same():
    together = fitted("slopes").bootstrap(6, seed=9)
    single = fitted("slopes").bootstrap(6, seed=9, statistic=lambda f: dict(zip("abcd", f.theta, strict=True)))
    np.testing.assert_allclose(together.numbers.iloc[:, :4], single.numbers, rtol=1e-4, atol=1e-2)


def test_what_a_bootstrap_tells():
    fit = fitted("one variance")
    out = fit.bootstrap(200, seed=1)
    assert list(out.estimates.columns) == [
        "Batch",
        "residual",
        "Intercept",
        "loglik",
        "converged",
        "iterations",
        "reason",
    ]
    assert out.n_converged == 200 and set(out.estimates["reason"]) == {CONVERGED}
    table = out.intervals()
    np.testing.assert_allclose(table["bias"], out.numbers.mean() - out.original)
    np.testing.assert_allclose(out.std_error, out.numbers.std())
    assert table.loc["Batch", "lower"] >= 0.0 == out.intervals(kind="normal").loc["Batch", "lower"]
    # ANOVA: the residual mean square is σ² χ²/24.
    assert out.std_error["residual"] == pytest.approx(fit.theta[1] * np.sqrt(2 / 24), rel=0.2)
    asked = fit.bootstrap(50, seed=1, statistic=["Batch / (Batch + residual)"])
    shares = out.numbers["Batch"] / (out.numbers["Batch"] + out.numbers["residual"])
    np.testing.assert_allclose(asked.numbers.iloc[:, 0], shares[:50])
    assert ((asked.intervals(kind="basic")["lower"] >= 0.0) & (asked.intervals(kind="basic")["upper"] <= 1.0)).all()


def test_replicates_that_did_not_converge_are_counted():
    few = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", dataset("sleepstudy"))
    with pytest.warns(rb.ConvergenceWarning):
        fit = few.fit(algorithm="em", max_iterations=3)
    out = fit.bootstrap(4, seed=1)
    assert out.done == 4 and out.n_converged == 0 and out.n_failed == 0
    assert "4 have not and are counted at their last iterate" in out.note
    assert out.estimates["reason"].str.contains("max_iterations").all()
    assert np.isfinite(out.intervals()["lower"]).all()


def test_processes_give_the_same_numbers():
    fit = fitted("one variance")
    one, two = fit.bootstrap(1030, seed=7), fit.bootstrap(1030, seed=7, workers=2)
    pd.testing.assert_frame_equal(one.estimates, two.estimates)


def test_an_interrupt_gives_what_is_done():
    script = """
        import os, signal, warnings
        import remlblup as rb
        from remlblup.inference.resampling import replicates
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
        fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff")).fit()
        run, done = replicates.Replicates.run, []
        def once(self, part, seed):
            if done:
                os.kill(os.getpid(), signal.SIGINT)
            done.append(part)
            return run(self, part, seed)
        replicates.Replicates.run = once
        out = fit.bootstrap(1500, seed=1)
        print(out.done, out.n, "interrupted" in out.note)
    """
    found = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["512", "1500", "True"]


@pytest.mark.parametrize(
    "options, said",
    [
        ({"n": 1}, "n=1 must be a whole number, 2 to 10,000,000"),
        ({"n": 5, "workers": 0}, "workers=0"),
        ({"n": 5, "seed": -1}, "seed=-1"),
        ({"n": 5, "statistic": [3]}, "must be a function of a fit"),
        ({"n": 600, "workers": 2, "statistic": lambda f: f.loglik}, "cannot be sent to another process"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(rb.OptionError, match=said):
        fitted("one variance").bootstrap(**options)


def test_a_negative_component_has_no_effects_to_draw():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", dataset("dyestuff2")).fit(constrain=False)
    with pytest.raises(rb.VarianceError, match="not positive semidefinite"):
        fit.simulate(1)


def test_records_of_a_relationship_that_is_not_formed(monkeypatch):
    """y* = Xβ̂ + W a √(σ²/k) + e of the same numbers, and K is never made."""
    rng = np.random.default_rng(4)
    ids = [f"i{k}" for k in range(50)]
    K = rb.genomic_relationship(rb.Genotypes.from_matrix(rng.binomial(2, 0.4, (50, 80)), ids), formed=False)
    monkeypatch.setattr(type(K), "matrix", lambda self: pytest.fail("K was formed"))
    d = pd.DataFrame({"y": rng.normal(size=100), "id": ids * 2})
    fit = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", d, {"K": K}, engine="stochastic").fit(
        progress=False, start={"vm(id, K)": 0.5, "residual": 0.5}, probes=4
    )
    drawn = fit.simulate(3, seed=6).to_numpy()
    for k, stream in enumerate(np.random.SeedSequence(6).spawn(3)):
        own = np.random.default_rng(stream)
        u = K.drawn(lambda m, own=own: own.standard_normal((m, 1)))[:, 0]
        known = fit.beta[0] + np.sqrt(fit.theta[0]) * np.tile(u, 2) + np.sqrt(fit.theta[1]) * own.standard_normal(100)
        np.testing.assert_allclose(drawn[:, k], known, atol=1e-12)


def test_a_variance_of_zero_takes_its_numbers_and_no_root(monkeypatch):
    rng = np.random.default_rng(3)
    d = pd.DataFrame({"y": rng.normal(size=60), "g": np.arange(60) % 6, "h": np.arange(60) // 6})
    model = rb.MixedModel("y ~ 1 + (1 | g) + (1 | h)", d)
    spec = model.specification
    some, none = (Simulator(spec, np.zeros(1), np.array([v, 0.5, 1.0])) for v in (1e-300, 0.0))
    stream = seeds(1, range(2))
    np.testing.assert_allclose(none.draw(stream), some.draw(stream), atol=1e-12)
    monkeypatch.setattr("remlblup.inference.resampling.simulate.drawn", lambda *a: pytest.fail("a root was taken"))
    Simulator(spec, np.zeros(1), np.array([0.0, 0.0, 1.0])).draw(stream)
