"""Reliabilities by sampling, against exact ones of other engines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.inference.resampling.reliabilities import weighted


@pytest.fixture(scope="module")
def flock():
    """Genotyped animals with none to many records, and two traits of some."""
    rng = np.random.default_rng(3)
    M = rng.binomial(2, rng.uniform(0.1, 0.5, 150), (120, 150))
    u = (M - M.mean(axis=0)) @ rng.standard_normal(150) / 7.0
    animal = np.r_[np.repeat(np.arange(10), 20), rng.integers(10, 100, 150)]
    data = pd.DataFrame({"animal": animal, "herd": rng.integers(0, 8, 350).astype(str)})
    data["y"] = 2.0 + u[animal] + rng.standard_normal(8)[data["herd"].astype(int)] + rng.standard_normal(350)
    data["x"] = rng.standard_normal(350)
    return data, {"G": rb.Genotypes.from_matrix(M, ids=range(120))}


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | vm(animal, G)) + (1 | herd)", "y ~ 1 + us(1 + x | vm(animal, G))"])
def test_within_their_monte_carlo_error(flock, formula):
    """Of every level, with many records and with none; the same seed is the same table, other samples are others."""
    data, relationships = flock
    term = "vm(animal, G)" if "herd" in formula else "us(1 + x | vm(animal, G))"
    fit = rb.MixedModel(formula, data, relationships, engine="stochastic").fit(seed=1, probes=30)
    theta = {}
    for (name, parameter), value in zip(fit.specification.parameters.pairs, fit.theta, strict=True):
        theta.setdefault(name, {})[parameter] = float(value)
    exact = rb.MixedModel(formula, data, relationships, engine="dense").solve(theta).random_effects
    exact = exact[exact["term"] == fit.specification.random[0].name]
    table = fit.sampled_reliabilities(term, samples=200, seed=2)
    assert table["level"].tolist() == exact["level"].tolist() and table["effect"].tolist() == exact["effect"].tolist()
    away = (table["reliability"].to_numpy() - exact["reliability"].to_numpy()) / table["monte_carlo_error"].to_numpy()
    assert 0.8 < np.sqrt(np.mean(away**2)) < 1.25 and np.abs(away).max() < 4.5
    assert abs(away.mean()) < 0.5
    assert np.allclose(table["pev"], exact["pev"], atol=4.5 * (table["monte_carlo_error"] * exact["pev"].max()).max())
    again, other = (fit.sampled_reliabilities(term, samples=8, seed=s)["reliability"] for s in (2, 3))
    assert np.array_equal(again, fit.sampled_reliabilities(term, samples=8, seed=2)["reliability"])
    assert not np.array_equal(again, other)
    assert "200 samples of seed 2" in str(table) and "sampled_reliabilities" in str(fit.random_effects)
    assert fit.random_effects["pev"].isna().all()


def test_by_other_engines_and_pedigrees():
    """The same draws, whichever engine solves; groups of unknown parents are refused."""
    flock = rb.simulate_flock(seed=1)
    A = rb.Pedigree.from_frame(flock.pedigree)
    model = rb.MixedModel("y ~ sex + (1 | dam) + (1 | vm(id, A))", flock.data, {"A": A})
    fit = model.fit()
    exact = fit.random_effects.query("term == 'vm(id, A)'")
    table = fit.sampled_reliabilities("vm(id, A)", samples=150)
    away = table["reliability"].to_numpy() - exact["reliability"].to_numpy()
    error = table["monte_carlo_error"].to_numpy()
    known = error == 0.0  # founders that no record is related to
    assert np.all(np.abs(away[known]) < 1e-12) and 0.8 < np.sqrt(np.mean((away[~known] / error[~known]) ** 2)) < 1.25
    with pytest.raises(rb.OptionError, match="samples"):
        fit.sampled_reliabilities("vm(id, A)", samples=1)
    with pytest.raises(rb.VarianceError, match="nothing"):
        fit.sampled_reliabilities("nothing")


def test_weights_are_those_of_least_variance():
    """A reliability of .9 by both means of squares: the printed error is the spread over samples."""
    rng, N = np.random.default_rng(0), 100
    for r in (0.05, 0.5, 0.9):
        explained = r * rng.chisquare(N, (1, 4000)) / N
        missed = (1.0 - r) * rng.chisquare(N, (1, 4000)) / N
        for prior in 1.0, np.nan:
            pev, reliability, error = weighted(np.full((1, 4000), prior), explained, missed, N)
            assert abs(reliability.mean() - r) < 0.1 * error.mean()
            assert np.isclose(reliability.std(), np.sqrt(np.mean(error**2)), rtol=0.06)
            assert np.isnan(pev).all() if np.isnan(prior) else abs(pev.mean() - (1.0 - r)) < 0.1 * pev.std()
    assert np.array_equal(weighted(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), 9)[0], np.zeros((1, 1)))


@pytest.mark.parametrize("options", [{}, {"tune": 0}, {"tau": 1.3, "omega": 0.6}])
def test_of_single_step_by_products(options):
    """Within their errors of those by the formed H, animals without genotypes among them; nothing is formed."""
    flock = rb.simulate_flock(seed=1)
    A = rb.Pedigree.from_frame(flock.pedigree)
    who = list(A.labels[-40:])
    G = rb.Genotypes.from_matrix(np.random.default_rng(0).binomial(2, 0.4, (40, 90)), ids=who)
    H = rb.SingleStep(A, rb.genomic_relationship(G, formed=False), **options)
    fixed = {"vm(id, H)": 20.0, "residual": 10.0}
    model = rb.MixedModel("y ~ sex + (1 | vm(id, H))", flock.data, {"H": H}, engine="stochastic")
    table = model.fit(fix=fixed, probes=4).sampled_reliabilities("vm(id, H)", samples=150)
    assert not H.is_formed
    formed = rb.SingleStep(A, rb.genomic_relationship(G), **options)
    exact = rb.MixedModel("y ~ sex + (1 | vm(id, H))", flock.data, {"H": formed}).solve(fixed).random_effects
    away = table["reliability"].to_numpy() - exact["reliability"].to_numpy()
    error, genotyped = table["monte_carlo_error"].to_numpy(), table["level"].isin(who).to_numpy()
    unseen = error == 0.0  # that no record is related to
    assert np.all(np.abs(away[unseen]) < 1e-12)
    for some in genotyped & ~unseen, ~genotyped & ~unseen:
        far = np.abs(away[some] / error[some])
        assert 0.75 < np.sqrt(np.mean(far**2)) < 1.3 and far.max() < 4.5
    known = table["pev"].notna().to_numpy()
    assert np.array_equal(known, genotyped if "tau" not in options else np.zeros_like(genotyped))
    assert np.allclose(table["pev"][known], exact["pev"][known], rtol=0.6) and "PEV is missing" in str(table)
