"""ℓ over two parameters: against ℓ at the same values, against fits that hold them, and drawn."""

from __future__ import annotations

import numpy as np
import pytest

import remlblup as rb


@pytest.fixture(scope="module")
def sleep():
    model = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy"))
    return model, model.fit(progress=False)


NAMES = "1 + Days | Subject: var(Intercept)", "1 + Days | Subject: var(Days)"


def test_held_is_the_likelihood_there(sleep):
    model, fit = sleep
    table = fit.surface(*NAMES, points=5)
    assert list(table.columns) == [*NAMES, "loglik", "below"]
    assert len(table) == 25
    for row in table.iloc[[0, 7, 24]].itertuples(index=False):
        theta = fit.theta.copy()
        theta[[fit.specification.parameters.columns.index(n) for n in NAMES]] = row[:2]
        known = np.linalg.eigvalsh([[theta[0], theta[1]], [theta[1], theta[2]]])[0] >= 0.0
        if known:
            assert row[2] == pytest.approx(model.loglik(fit.specification.parameters.to_mapping(theta)), abs=1e-8)
        else:
            assert np.isnan(row[2])
    assert table["below"].min() == pytest.approx(0.0, abs=1e-9)


def test_the_best_of_the_others_is_a_fit_that_holds_the_two(sleep):
    model, fit = sleep
    held, best = (fit.surface(*NAMES, points=3, others=others) for others in ("held", "best"))
    assert np.all(best["loglik"] >= held["loglik"].fillna(-np.inf) - 1e-8)
    corner = best.iloc[-1]
    fixed = {"var(Intercept)": corner[NAMES[0]], "var(Days)": corner[NAMES[1]]}
    other = model.fit(fix={"1 + Days | Subject": fixed}, progress=False)
    assert corner["loglik"] == pytest.approx(other.loglik, abs=1e-6)


def test_it_ends_at_the_bounds_and_is_drawn():
    d = rb.datasets.load("dyestuff")
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", d).fit(progress=False)
    table = fit.surface("Batch", "residual", points=9)
    assert table["Batch"].min() == 0.0
    ax = fit.plot_surface("Batch", "residual", points=9)
    assert "Batch" in ax.get_xlabel()
    assert any(np.allclose(line.get_xdata(), 0.0) for line in ax.lines)  # the bound
    assert any(len(line.get_xdata()) == len(fit.history) for line in ax.lines)  # the path


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (("nobody", NAMES[1]), {}, "'nobody' is not a parameter"),
        ((NAMES[0], NAMES[0]), {}, "given twice"),
        ((3, NAMES[0]), {}, "3 is not a parameter"),
        (NAMES, {"points": 2}, "points=2"),
        (NAMES, {"others": "free"}, "others='free'"),
    ],
)
def test_named_errors(sleep, arguments, options, text):
    with pytest.raises(rb.OptionError, match=text):
        sleep[1].surface(*arguments, **options)


def test_what_has_no_surface():
    model = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff"))
    with pytest.raises(rb.OptionError, match="held by fix="):
        model.fit(fix={"Batch": 1000.0}, progress=False).surface("Batch", "residual")
    with pytest.warns(rb.ConvergenceWarning):
        fit = model.fit(max_iterations=1, algorithm="ai", progress=False)
    with pytest.raises(rb.ModelError, match="this fit is none"):
        fit.surface("Batch", "residual")
