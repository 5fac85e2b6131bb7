"""A verdict names what the likelihood is flat in and nothing else: checked by refitting with a component moved."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.reml.convergence import explain

LETTERS = list("abcd")


@cache
def panel(kind: str, seed: int) -> pd.DataFrame:
    """Subjects × times of one record each, in long form."""
    rng = np.random.default_rng(seed)
    n, t = 6 + seed % 3, 3 + seed % 2
    times = np.arange(t)
    if kind == "noisy":
        Y = 2.0 * rng.normal(size=(n, 1)) + rng.normal(size=(n, t))
    elif kind == "alike":
        Y = 2.0 * rng.normal(size=(n, 1)) + 0.05 * rng.normal(size=(n, t))
    else:  # two waves
        Y = rng.normal(size=(n, 1)) * np.cos(0.3 * times) + rng.normal(size=(n, 1)) * np.sin(0.3 * times)
        Y += 0.02 * rng.normal(size=(n, t))
    t = pd.Categorical(np.tile(LETTERS[:t], n), categories=LETTERS[:t], ordered=True)
    return pd.DataFrame({"g": np.repeat(np.arange(n), len(times)), "t": t, "y": Y.ravel()})


def moved(model: rb.MixedModel, fit: rb.Fit, term: str, parameter: str, factor: float) -> float:
    """The largest ℓ with one component at another value, searched from the estimates of the rest."""
    parameters = model.specification.parameters
    value = dict(zip(parameters.pairs, fit.theta, strict=True))[term, parameter] * factor
    alone = sum(t == term for t, _ in parameters.pairs) == 1
    fixed = {term: value if alone else {parameter: value}}
    return model.fit(fix=fixed).loglik


# With one record at each time the variances of these terms and the residual are known by their sums only.
SATURATED = ("us", "corgh", "diag")


@pytest.mark.parametrize("kind", ["noisy", "alike"])
@pytest.mark.parametrize("keyword", SATURATED)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_names_are_those_of_what_the_residual_cannot_be_told_from(keyword, kind, seed):
    d = panel(kind, seed)
    term = f"{keyword}(t | g)"
    fit = rb.MixedModel(f"y ~ t + {term}", d).fit()
    assert not fit.converged
    named = set(fit.convergence.unidentified)
    # Of `us` the covariances stay as they are; where Σ is written in correlations, these go with the variances.
    moving = {f"{term}: var({e})" for e in d["t"].cat.categories} | {"residual"}
    if keyword == "corgh":
        moving |= {name for name in fit.specification.parameters.columns if ": cor(" in name}
    assert named == moving
    table = fit.variance_components
    if keyword != "corgh":
        expected = [p.startswith("var") for p in table["parameter"]]
        np.testing.assert_array_equal(table["std_error"].isna(), expected)
    if keyword == "us":  # the same ℓ with a little moved from the residual to every variance
        at = fit.theta.copy()
        diagonal = np.array([p.startswith("var(") for p in table["parameter"]])
        at[diagonal] += 0.5 * at[-1]
        at[-1] *= 0.5
        mapping = fit.specification.parameters.to_mapping(at)
        assert rb.MixedModel(f"y ~ t + {term}", d).loglik(mapping) == pytest.approx(fit.loglik, abs=1e-6)


FORMS = {
    "toep": ("toep(t | g)", None),
    "ar1h": ("ar1h(t | g)", None),
    "csh": ("csh(t | g)", None),
    "fa": ("fa(t | g, k=1)", None),
    "residual toep": ("", "toep(t | g)"),
    "residual ar1h": ("", "ar1h(t | g)"),
    "residual us": ("", "us(t | g)"),
    "residual diag": ("(1 | g)", "diag(t | units)"),
}


@pytest.mark.parametrize("kind", ["noisy", "alike", "waves"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", [0])
def test_what_is_named_can_be_moved_at_no_cost_and_what_is_not_cannot(form, kind, seed):
    random, residual = FORMS[form]
    model = rb.MixedModel("y ~ t" + (f" + {random}" if random else ""), panel(kind, seed), residual=residual or "units")
    fit = model.fit()
    assert "every record" not in fit.convergence.reason
    if not (fit.converged or fit.convergence.unidentified):
        return  # nothing is said about a component
    for (term, parameter), label, status in zip(
        model.specification.parameters.pairs, model.specification.parameters.columns, fit.status, strict=True
    ):
        if status != "free" or not parameter.startswith(("var", "specific")):
            continue
        flat = label in fit.convergence.unidentified
        # A ridge is as long as the residual variance can give way.
        size = (
            0.2 * fit.theta[-1] / fit.theta[model.specification.parameters.columns.index(label)]
            if flat and not residual
            else 0.1
        )
        loss = fit.loglik - max(moved(model, fit, term, parameter, 1.0 + side * size) for side in (-1, 1))
        if flat:
            assert loss < 1e-5, label
        else:
            assert loss > 1e-5, label


def test_a_verdict_names_at_most_twelve():
    reason = explain(True, [f"g{i}" for i in range(14)], "", ())
    assert "g11 and 2 more." in reason
    assert "g12" not in reason
    assert "residual, g0" in explain(True, [*(f"g{i}" for i in range(14)), "residual"], "", ())


def test_what_a_verdict_names_has_no_standard_error():
    """A ridge of all variances over ten times and the residual's, of which some shares are small."""
    rng, times, n = np.random.default_rng(5), 10, 20
    d = pd.DataFrame({"g": np.repeat(range(n), times), "t": np.tile([f"t{k}" for k in range(times)], n)})
    b = rng.normal(size=(n, 2))
    d["y"] = b[d.g, 0] + 0.3 * b[d.g, 1] * d.t.str[1:].astype(int) + rng.normal(size=len(d))
    fit = rb.MixedModel("y ~ 1 + us(t | g)", d).fit(progress=False)
    named = np.isin(fit.specification.parameters.columns, fit.convergence.unidentified)
    assert np.count_nonzero(named) == times + 1
    errors = fit.variance_components.std_error
    assert errors[named].isna().all()
    assert errors[~named].notna().all()


@pytest.mark.parametrize("algorithm", ["auto", "em"])
def test_one_residual_variance_of_zero_is_not_said_to_be_all_of_them(algorithm):
    d = panel("alike", 1)
    d = d.assign(y=np.where(d["t"] == "b", d.groupby("g")["y"].transform("mean"), d["y"]))
    fit = rb.MixedModel("y ~ t + (1 | g)", d, residual="diag(t | units)").fit(algorithm=algorithm, max_iterations=300)
    assert "every record" not in fit.convergence.reason


def test_what_is_flat_may_be_of_another_term_than_those_searched_in_another_structure():
    """The search of `corgh` is by `us`; here it is a slope beside it that nothing is known of."""
    rng = np.random.default_rng(26)
    d = pd.DataFrame(
        {
            "y": rng.normal(size=24),
            "x": np.linspace(1, 3, 24),
            "g": np.arange(24) % 7,
            "w": 1.0 + np.arange(24) % 2,
            "f": np.array(["a", "b", "c"])[np.arange(24) % 3],
        }
    )
    model = rb.MixedModel("y ~ C(g) + us(1 + x | g) + corgh(f | g)", d)
    fit = model.fit(max_iterations=20)
    assert not fit.converged
    assert any(name.startswith("us(1 + x | g)") for name in fit.convergence.unidentified)
    assert not any("corgh" in name for name in fit.convergence.unidentified)
