"""A fit that has not converged says so when it is made and wherever its tables are shown; one that has is quiet."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

WORDS = "NOT CONVERGED after 1 iteration: max_iterations was reached"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(12), 4)
    d = pd.DataFrame({"g": g, "x": rng.normal(size=48), "fold": np.tile(np.arange(4), 12)})
    for name in ("y", "z", "w"):
        d[name] = rng.normal(0, 2, 12)[g] + rng.normal(size=48)
    return d


@pytest.fixture(scope="module")
def model(data) -> rb.MixedModel:
    return rb.MixedModel("y ~ x + (1 | g)", data)


@pytest.fixture(scope="module")
def stopped(model) -> rb.Fit:
    with pytest.warns(rb.ConvergenceWarning, match=WORDS):
        return model.fit(max_iterations=1)


def test_the_warning_is_public_and_stands_at_the_users_line(model):
    assert issubclass(rb.ConvergenceWarning, rb.RemlBlupWarning) and issubclass(rb.RemlBlupWarning, UserWarning)
    with pytest.warns(rb.ConvergenceWarning, match=WORDS) as caught:
        model.fit(max_iterations=1)
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize(
    "algorithm, engine",
    [("auto", "sparse"), ("ai", "sparse"), ("em", "sparse"), ("px-em", "sparse"), ("auto", "dense"), ("em", "dense")],
)
def test_every_algorithm_and_engine(data, algorithm, engine):
    with pytest.warns(rb.ConvergenceWarning, match="NOT CONVERGED"):
        rb.MixedModel("y ~ x + (1 | g)", data, engine=engine).fit(algorithm=algorithm, max_iterations=1)


def test_components_that_cannot_be_told_apart(data):
    with pytest.warns(rb.ConvergenceWarning, match="cannot tell these components apart: g, h"):
        rb.MixedModel("y ~ x + (1 | g) + (1 | h)", data.assign(h=-data["g"])).fit()


ASKED = {
    "fixed_effects": lambda f: f.fixed_effects,
    "variance_components": lambda f: f.variance_components,
    "pvalues": lambda f: f.pvalues,
    "params": lambda f: f.params,
    "bse": lambda f: f.bse,
    "tvalues": lambda f: f.tvalues,
    "conf_int": lambda f: f.conf_int(),
    "intervals": lambda f: f.intervals(),
}


@pytest.mark.parametrize("name", ASKED)
def test_estimates_and_p_values_are_not_given_without_a_word(stopped, name):
    for _ in range(2):  # not once for all
        with pytest.warns(rb.ConvergenceWarning, match=WORDS):
            ASKED[name](stopped)


@pytest.mark.filterwarnings("ignore::remlblup.errors.ConvergenceWarning")
def test_every_table_is_headed_by_the_verdict(stopped, model):
    tables = [
        stopped.fixed_effects,
        stopped.variance_components,
        stopped.random_effects,
        stopped.blup("g"),
        stopped.covariance("g"),
        stopped.correlation("g"),
        stopped.accuracy("g"),
        stopped.predict(),
        stopped.intervals(),
        stopped.contrasts("g", [(1, 2)]),
        stopped.conf_int(),
        stopped.function("g / (g + residual)"),
    ]
    for table in tables:
        assert str(table).startswith(WORDS)
    part = stopped.fixed_effects.loc[:, ["estimate", "p_value"]].round(3)
    assert repr(part).startswith(WORDS) and "NOT CONVERGED" in stopped.fixed_effects._repr_html_()
    assert "NOT CONVERGED" in str(stopped.summary()).splitlines()[0] and "NOT CONVERGED" in repr(stopped)
    good = model.fit()
    for table in (good.fixed_effects, good.variance_components, good.predict(), good.function("g / residual")):
        assert "CONVERGED" not in str(table)


def test_reports_and_files_say_it_in_their_own_place_only(stopped, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = str(stopped.summary())
        stopped.summary().html()
        stopped.to_dict()
        stopped.save(tmp_path / "fit")
    assert "NOT CONVERGED" in text
    with pytest.warns(rb.ConvergenceWarning, match=WORDS):
        back = rb.load(tmp_path / "fit")
    assert not back.converged and repr(back.random_effects).startswith(WORDS)


def test_a_converged_fit_is_quiet(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = model.fit()
        [ask(fit) for ask in ASKED.values()]
        rb.cross_validate(fit, 4)


def test_many_responses_are_told_once(data):
    with pytest.warns(rb.ConvergenceWarning, match="3 of 3 responses have not converged: 'y', 'z', 'w'") as caught:
        fits = rb.fit_many("~ x + (1 | g)", data, ["y", "z", "w"], max_iterations=1)
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fits.table["converged"].any()
    with pytest.warns(rb.ConvergenceWarning):
        _ = fits["y"].variance_components


def test_cross_validation_names_the_folds(model, stopped):
    with pytest.warns(rb.ConvergenceWarning, match=r"without fold\(s\) 0, 1, 2, 3 of 4") as caught:
        result = rb.cross_validate(stopped, "fold", refit=True)
    assert len(caught) == 1 and not result.folds["converged"].any()
    assert repr(rb.cross_validate(stopped, "fold").summary).startswith(WORDS)
    assert "NOT CONVERGED" in repr(rb.cross_validate(stopped, "fold"))


def test_the_command_line_has_one_voice(data, tmp_path):
    data.to_csv(tmp_path / "d.csv", index=False)
    command = [
        sys.executable,
        "-m",
        "remlblup.cli",
        "fit",
        str(tmp_path / "d.csv"),
        "y ~ x + (1 | g)",
        "--max-iterations",
        "1",
        "--function",
        "h2=g/(g+residual)",
        "--out",
        str(tmp_path / "out"),
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout.count("NOT CONVERGED") == 2  # title and verdict
    assert "Warning" not in done.stderr


def test_no_column_is_hidden_at_80_characters(data, model):
    """pandas shows … for the columns in the middle; the report folds its lines at 100."""
    fit = model.fit()
    result = rb.cross_validate(fit, "fold", term="g")
    with pd.option_context("display.width", 80, "display.max_columns", 0):
        for table in (
            fit.fixed_effects,
            fit.random_effects,
            fit.history,
            fit.accuracy("g"),
            fit.intervals(),
            result.summary,
            result.folds,
            result.predictions,
            rb.fit_many("~ x + (1 | g)", data, ["y", "z"]).table,
        ):
            text = repr(table)
            assert all(str(column) in text for column in table.columns) and "  ...  " not in text
            assert max(map(len, text.splitlines())) <= 82
        assert "..." not in str(fit.summary()) and "..." not in repr(result)


def test_tables_remain_data_frames(model, tmp_path):
    table = model.fit().fixed_effects
    assert isinstance(table, pd.DataFrame) and type(table["estimate"]) is pd.Series
    pd.testing.assert_frame_equal(table, pd.DataFrame(table))
    table.to_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "t.csv", index_col=0))
    assert table.attrs["df_method"] == "Satterthwaite"
    assert pd.concat([table, table]).shape == (4, 7) and table.groupby("df")["t"].mean().notna().all()
