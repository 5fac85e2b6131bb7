"""How much a term may ask of the records: parameters counted first, terms over a single level, memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.errors import DataError, MemoryLimitError, ModelError


def visits(n: int = 120) -> pd.DataFrame:
    """A record at each of n times of its own, of 24 subjects; the times as numbers, dates, text and categories."""
    rng = np.random.default_rng(2)
    t = rng.permutation(n)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "s": np.arange(n) % 24,
            "t": t,
            "x": t / 7,
            "f": [f"k{k}" for k in t],
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(t, unit="D"),
            "c": pd.Categorical(t),
        }
    )


@pytest.mark.parametrize(
    ("term", "count", "advice"),
    [
        ("us(0 + C(t) | s)", "7,260", r"\(1 \+ t \| s\).*leg\(t, 2\).*ar1\(t \| s\).*exp\(t \| s\).*fa\(t \| s, k=1\)"),
        ("us(C(t) | s)", "7,260", r"\(1 \+ t \| s\)"),
        ("(0 + C(t) | s)", "7,260", r"\(1 \+ t \| s\)"),
        ("us(f | s)", "7,260", r"fa\(f \| s, k=1\)"),
        ("us(c | s)", "7,260", r"fa\(c \| s, k=1\)"),
        ("us(date | s)", "7,260", r"\(1 \+ days \| s\).*data\['days'\] = .*ar1\(date \| s\)"),
        ("corg(t | s)", "7,141", r"ar1\(t \| s\)"),
        ("corgh(x | s)", "7,260", r"exp\(x \| s\)"),
        ("fa(t | s, k=3)", "477", r"ar1\(t \| s\)"),
        ("rr(t | s, k=4)", "474", r"ar1\(t \| s\)"),
    ],
)
def test_parameters_are_counted_before_anything_is_made(term, count, advice):
    with pytest.raises(ModelError, match=rf"{count} parameters over 120 effects.*120 records.*{advice}"):
        rb.MixedModel(f"y ~ 1 + {term}", visits())


@pytest.mark.parametrize("residual", ["us(t | s)", "corg(date | s)", "corgh(f | s)", "fa(x | s, k=3)"])
def test_parameters_of_a_residual_are_counted(residual):
    with pytest.raises(ModelError, match=r"parameters over 120 effects.*120 records"):
        rb.MixedModel("y ~ 1", visits(), residual=residual)


@pytest.mark.parametrize("keyword", ["us", "corg", "corgh"])
@pytest.mark.parametrize("place", ["residual", "term"])
def test_a_count_of_millions_takes_no_memory(keyword, place):
    """20,000 values have 200 million parameters, whose names alone would fill the memory."""
    d = visits(20_000)
    term, residual = (f" + {keyword}(f | s)", "units") if place == "term" else ("", f"{keyword}(t | s)")
    with pytest.raises(ModelError, match=r"(199,990,001|200,010,000) parameters"):
        rb.MixedModel(f"y ~ 1{term}", d, residual=residual)


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 + date | s)", "y ~ 1 + (date | s)", "y ~ 1 + us(1 + date | s)"])
def test_a_slope_over_dates_says_how_to_make_numbers(formula):
    with pytest.raises(DataError, match=r"'date'.*holds dates.*days"):
        rb.MixedModel(formula, visits())
    d = visits()
    d["days"] = (d["date"] - d["date"].min()) / pd.Timedelta(days=1)
    assert rb.MixedModel(formula.replace("date", "days"), d).specification.random[0].structure.size == 2


@pytest.mark.parametrize(
    ("formula", "residual", "counts"),
    [
        ("y ~ 1 + us(site | g)", "units", "11 variance parameters .* 10 records .10 of 'us.*1 of 'residual'"),
        ("y ~ 1", "us(site | g)", "10 variance parameters .* 9 records"),
        ("y ~ 1 + diag(site | g) + (1 | h)", "csh(site | g)", "10 variance parameters .* 9 records"),
    ],
)
def test_more_parameters_than_records_are_known_but_not_estimated(formula, residual, counts):
    rng = np.random.default_rng(1)
    n = 10 if "10 records" in counts else 9
    d = pd.DataFrame({"y": rng.normal(size=n), "site": np.tile(list("abcd"), 3)[:n], "g": np.repeat([1, 2, 3], 4)[:n]})
    d["h"] = d["g"] % 2
    model = rb.MixedModel(formula, d, residual=residual)
    with pytest.raises(ModelError, match=rf"{counts}.*fix="):
        model.fit()
    known = {
        term: np.eye(s.size) if s.size > 1 else 1.0
        for term, s in zip(model.specification.parameters.terms, model.specification.parameters.structures, strict=True)
    }
    known["residual"] = 1.0 if residual == "units" else np.eye(4)
    assert np.isfinite(model.solve(known).loglik)


@pytest.mark.parametrize("word", ["ar1", "exp", "toep", "cs"])
def test_a_matrix_over_too_many_values_is_refused_before_it_is_made(word, monkeypatch):
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", "4")
    d = visits(100_000)
    with pytest.raises(MemoryLimitError, match=rf"{word}\(t \| s\).*100,000 effects.*GB.*residual='ar1\(t \| s\)'"):
        rb.MixedModel(f"y ~ 1 + {word}(t | s)", d)
    chain = rb.MixedModel("y ~ 1", d, residual="ar1(t | s)").specification.residual  # tridiagonal within a subject
    assert len(chain.pattern.rows) < 5 * len(d)


def test_the_derivatives_of_many_variances_are_refused_before_they_are_made(monkeypatch):
    d = visits(600)
    model = rb.MixedModel("y ~ 1 + ar1h(t | s)", pd.concat([d, d], ignore_index=True), engine="sparse")
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", "4")
    with pytest.raises(MemoryLimitError, match=r"601 parameters over 600 effects|system of a term with 600 effects"):
        model.fit()


# -- one level -----------------------------------------------------------------------------------


def one_series(n: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    e = np.zeros(n)
    for k in range(1, n):
        e[k] = 0.8 * e[k - 1] + rng.normal()
    return pd.DataFrame({"y": 3 + e + rng.normal(0, 0.7, n), "t": np.arange(n), "g": "one"})


@pytest.mark.parametrize("word", ["ar1", "exp"])
@pytest.mark.parametrize("engine", ["auto", "sparse", "dense"])
def test_a_correlation_is_estimated_from_one_series(word, engine, monkeypatch):
    """As a term and as a residual with an independent part: the same V."""
    monkeypatch.setattr("remlblup.reml.starts.RECORDS", 0)  # from one start: ten take ten times as long
    d = one_series() if engine == "auto" else one_series(60)
    residual = rb.MixedModel("y ~ 1", d, residual=f"{word}(t | g) + units").fit()
    fit = rb.MixedModel(f"y ~ 1 + {word}(t | g)", d, engine=engine).fit()
    assert fit.converged and residual.converged
    assert fit.loglik == pytest.approx(residual.loglik, abs=1e-7)
    np.testing.assert_allclose(fit.theta, residual.theta[[1, 2, 0]], rtol=1e-4)


@pytest.mark.parametrize("times", [200, 365])
def test_a_long_series_is_solved_by_its_variance(times):
    d = one_series(times)
    model = rb.MixedModel("y ~ 1 + ar1(t | g)", d)
    value = model.loglik({"ar1(t | g)": {"variance": 2.5, "correlation": 0.8}, "residual": 0.5})
    other = rb.MixedModel("y ~ 1", d, residual="ar1(t | g) + units")
    assert value == pytest.approx(other.loglik({"residual": [2.5, 0.8], "units": 0.5}), abs=1e-8)


def test_effects_alike_over_one_level_are_those_of_a_factor():
    """id(t | g) over one g is (1 | t)."""
    d = one_series().assign(f=lambda d: [f"k{k // 3}" for k in d["t"]])
    fits = [rb.MixedModel(f"y ~ 1 + {term}", d).fit() for term in ("id(f | g)", "(1 | f)")]
    assert fits[0].converged
    assert fits[0].loglik == pytest.approx(fits[1].loglik, abs=1e-8)


def test_what_the_mean_hides_is_not_certified():
    """Over one level the common part of `cs` is the intercept's."""
    d = pd.concat([one_series(30)] * 3, ignore_index=True)
    d["y"] += np.random.default_rng(1).normal(size=len(d))
    fit = rb.MixedModel("y ~ 1 + cs(t | g)", d).fit()
    assert not fit.converged
    assert "cs(t | g): correlation" in fit.convergence.unidentified


@pytest.mark.parametrize(
    ("term", "reason"),
    [
        ("(1 | g)", "a single effect is no sample"),
        ("(0 + t | g)", "a single effect is no sample"),
        ("(1 + t | g)", "2 effects, each seen once, do not determine the 3 parameters of 'us'"),
        ("(1 + t || g)", "2 effects, each seen once, do not determine the 2 parameters of 'diag'"),
        ("us(f | g)", "6 effects, each seen once, do not determine the 21 parameters of 'us'"),
        ("csh(f | g)", "the 7 parameters of 'csh'"),
        ("toep(t | g)", "the 90 parameters of 'toep'"),
        ("ar1h(t | g)", "the 91 parameters of 'ar1h'"),
        ("fa(f | g, k=1)", "the 12 parameters of 'fa'"),
    ],
)
def test_one_level_is_refused_where_it_shows_too_little(term, reason):
    d = one_series().assign(f=lambda d: [f"k{k % 6}" for k in d["t"]])
    with pytest.raises(ModelError, match=rf"'g' of .* has one level only \('one'\).*{reason}"):
        rb.MixedModel(f"y ~ 1 + {term}", d)


def test_one_column_of_a_given_z_is_no_sample():
    with pytest.raises(ModelError, match="'u1' has one level only: a single effect is no sample"):
        rb.MixedModel.from_matrices(np.arange(6.0), np.ones((6, 1)), Z=[np.ones((6, 1))])
