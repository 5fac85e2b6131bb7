"""One model for many responses: each as fitted on its own, with the decomposition made once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.equations.variance import spectral
from remlblup.errors import DataError, FormulaError, RelationshipError

LABELS = [f"L{k}" for k in range(30)]


def lines() -> tuple[pd.DataFrame, dict[str, object]]:
    rng = np.random.default_rng(12)
    M = rng.integers(0, 3, (30, 80)) - 1.0
    M -= M.mean(axis=0)
    G = pd.DataFrame(M @ M.T / 40, index=LABELS, columns=LABELS)
    d = pd.DataFrame({"line": LABELS * 2, "x": rng.normal(size=60)})
    for k in range(4):
        u = M @ rng.normal(size=80) / 7
        d[f"trait {k}"] = 1 + d["x"] * k + np.tile(u, 2) + rng.normal(0, 0.8, 60)
    d.loc[5:9, "trait 2"] = np.nan
    return d, {"G": G}


TRAITS = [f"trait {k}" for k in range(4)]


@pytest.mark.parametrize("engine", ["auto", "spectral", "dense"])
def test_as_fitted_one_by_one(engine, monkeypatch):
    made = []
    of = spectral.Basis.of.__func__
    monkeypatch.setattr(spectral.Basis, "of", classmethod(lambda cls, *a: made.append(1) or of(cls, *a)))
    d, given = lines()
    fits = rb.fit_many("~ x + (1 | vm(line, G))", d, TRAITS, given, engine=engine)
    assert list(fits) == TRAITS and not fits.errors
    if engine == "spectral":
        assert len(made) == 3  # all records, those of trait 2, all records
    for name in TRAITS:
        alone = rb.MixedModel(f"`{name}` ~ x + (1 | vm(line, G))", d, given).fit()
        assert fits[name].converged
        assert fits[name].loglik == pytest.approx(alone.loglik, abs=1e-8)
        np.testing.assert_allclose(fits[name].theta, alone.theta, rtol=1e-5)
        assert fits.table.loc[name, "residual"] == fits[name].theta[-1]
        assert fits.table.loc[name, "records"] == (55 if name == "trait 2" else 60)


def test_responses_of_their_own_table_and_one_that_fails():
    d, given = lines()
    many = d[TRAITS].assign(flat=1.0)
    seen = []
    fits = rb.fit_many(
        "y ~ x + (1 | vm(line, G))", d[["line", "x"]], many, given, progress=lambda name, fit: seen.append(name)
    )
    assert seen == TRAITS and list(fits.errors) == ["flat"]
    assert "4 converged, 1 not fitted" in repr(fits)
    assert not fits.table.loc["flat", "converged"] and fits.table.loc["flat", "error"] == fits.errors["flat"]
    with pytest.raises(DataError, match="'flat' was not fitted"):
        fits["flat"]


def test_what_is_wrong_with_all_is_raised():
    d, given = lines()
    with pytest.raises(FormulaError, match="fit_many needs a formula"):
        rb.fit_many("x + (1 | line)", d, TRAITS)
    with pytest.raises(DataError, match="no column 'absent'"):
        rb.fit_many("~ x", d, ["absent"], given)
    with pytest.raises(DataError, match="each once"):
        rb.fit_many("~ x", d, ["trait 1", "trait 1"], given)
    with pytest.raises(DataError, match="12 rows"):
        rb.fit_many("~ x", d, pd.DataFrame({"z": range(12)}), given)
    with pytest.raises(DataError, match="'trait 0' are in data and in responses"):
        rb.fit_many("~ x", d, d[["trait 0"]], given)
    with pytest.raises(RelationshipError, match=r"'trait 0'.*'H'"):
        rb.fit_many("~ x + (1 | vm(line, H))", d, TRAITS, given)


def test_designs_that_differ_in_which_record_has_no_level():
    d, given = lines()
    d.loc[[5, 50], "x"] = 0.0
    d.loc[5, "trait 0"] = d.loc[50, "trait 1"] = np.nan
    names = TRAITS[:2]
    fits = rb.fit_many("~ 1 + (0 + x | vm(line, G))", d, names, given, engine="spectral")
    for name in names:
        alone = rb.MixedModel(f"`{name}` ~ 1 + (0 + x | vm(line, G))", d, given).fit()
        assert fits[name].loglik == pytest.approx(alone.loglik, abs=1e-8)


def test_responses_go_by_their_labels():
    d, given = lines()
    d.index = [f"r{k}" for k in range(60)]
    turned = d[["trait 1"]].iloc[::-1]
    fits = rb.fit_many("~ x + (1 | vm(line, G))", d[["line", "x"]], turned, given)
    alone = rb.fit_many("~ x + (1 | vm(line, G))", d, "trait 1", given)
    assert fits["trait 1"].loglik == alone["trait 1"].loglik
    with pytest.raises(DataError, match="different labels"):
        rb.fit_many("~ x", d[["line", "x"]], turned.set_axis([f"q{k}" for k in range(60)]))


@pytest.mark.parametrize("wrong", [True, 1, "yes", np.ones(2), [None]])
def test_progress_is_a_function(wrong):
    d, given = lines()
    with pytest.raises(rb.OptionError, match=r"progress=.* must be a function"):
        rb.fit_many("~ x", d, TRAITS, given, progress=wrong)
    fit = rb.MixedModel(f"`{TRAITS[0]}` ~ x", d).fit()
    for call in (lambda: fit.check_starts(1, progress=wrong), lambda: rb.cross_validate(fit, 3, progress=wrong)):
        if wrong is not True:
            with pytest.raises(rb.OptionError, match=r"progress=.* must be True or False"):
                call()
