"""The start of small models: MIVQUE(0) by cross products beside dense algebra; of balanced data it is the answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.reml.closed_form import closed_form
from remlblup.reml.space import Space


def data(n: int = 70) -> pd.DataFrame:
    """Unbalanced: eight groups and five others, a covariate, three classes, weights, ten relatives."""
    rng = np.random.default_rng(2)
    d = pd.DataFrame({"g": np.minimum(*rng.integers(0, 8, (2, n))), "h": rng.integers(0, 5, n)})
    d["x"], d["w"], d["c"] = rng.normal(size=n), rng.uniform(0.3, 3.0, n), rng.choice(list("pqr"), n)
    d["id"] = [f"a{k}" for k in rng.integers(0, 10, n)]
    d["y"] = rng.normal(size=8)[d["g"]] + rng.normal(size=8)[d["g"]] * d["x"] + rng.normal(size=n)
    return d


rng = np.random.default_rng(5)
IDS = [f"a{k}" for k in range(10)]
SIRES, DAMS = [None] * 4 + ["a0", "a0", "a1", "a1", "a4", "a4"], [None] * 4 + ["a2", "a3", "a2", "a3", "a7", "a6"]
L = rng.normal(size=(10, 4))
RELATED = {
    "A": rb.Pedigree(IDS, SIRES, DAMS),
    "G": rb.Relationship(L @ L.T / 4 + 0.3 * np.eye(10), IDS),
    "S": rb.Relationship(L @ L.T / 4, IDS),
}
TERMS = {
    "one": "(1 | g)",
    "crossed": "(1 | g) + (1 | h)",
    "slopes": "(1 + x | g)",
    "apart": "(1 + x || g)",
    "classes": "diag(c | g) + (1 | h)",
    "one variance": "id(c | g)",
    "all": "us(c | g)",
    "pedigree": "(1 + x | vm(id, A)) + (1 | g)",
    "matrix": "(1 | vm(id, G)) + (1 | h)",
    "singular": "us(1 + x | vm(id, S)) + (1 | g)",
}


def model(terms: str, fixed: str = "x", weights: str | None = None) -> rb.MixedModel:
    known = {name: K for name, K in RELATED.items() if f", {name})" in terms}
    return rb.MixedModel(f"y ~ {fixed} + {terms}", data(), known, weights=weights)


def dense(equations) -> list[np.ndarray]:
    """∂V/∂θ_k of records scaled by the roots of their weights, the residual's last."""
    spec, out = equations.spec, []
    root = np.sqrt(spec.weights)[:, None]
    for design in spec.random:
        Z, K = [root * column.toarray() for column in design.columns], design.relationship.dense()
        for E in design.structure.derivatives(np.zeros(design.structure.n_parameters)):
            pairs = np.argwhere(E)
            out.append(sum(E[a, b] * Z[a] @ K @ Z[b].T for a, b in pairs))
    return [*out, np.eye(spec.n)]


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("fixed", ["0", "1", "x + c"])
@pytest.mark.parametrize("terms", TERMS.values(), ids=list(TERMS))
def test_forms_and_expectations_are_those_of_dense_algebra(terms, fixed, weights):
    equations = model(terms, fixed, weights)._equations
    spec, V = equations.spec, dense(equations)
    root = np.sqrt(spec.weights)
    X = root[:, None] * np.asarray(spec.fixed.work)
    M = np.eye(spec.n) - (X @ np.linalg.solve(X.T @ X, X.T) if spec.p else 0.0)
    y = M @ (root * spec.y)
    D = spec.parameters.elements
    np.testing.assert_allclose(D.T @ equations.moment_forms(), [y @ v @ y for v in V], rtol=1e-9)
    S = [[np.trace(M @ a @ M @ b) for b in V] for a in V]
    np.testing.assert_allclose(D.T @ equations.moment_expectations @ D, S, rtol=1e-9, atol=1e-9 * np.max(S))


BALANCED = {
    "dyestuff": "Yield ~ 1 + (1 | Batch)",
    "sleepstudy": "Reaction ~ Days + (1 + Days | Subject)",
    "penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "pastes": "strength ~ 1 + (1 | batch/cask)",
}


@pytest.mark.parametrize("name", BALANCED)
def test_balanced_data_end_where_they_begin(name):
    d = rb.datasets.load(name)
    fit = rb.MixedModel(BALANCED[name], d).fit(progress=False)
    assert list(fit.history["step"]) == ["moments"] and fit.converged and fit.convergence.iterations == 0
    given = {term: np.eye(len(d.structure.effects)) for term, d in ((d.name, d) for d in fit.specification.random)}
    climbed = rb.MixedModel(BALANCED[name], d).fit(start={**given, "residual": 1.0}, progress=False)
    assert len(climbed.history) > 1
    np.testing.assert_allclose(fit.theta, climbed.theta, rtol=1e-6)
    assert fit.loglik == pytest.approx(climbed.loglik, abs=1e-9)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("terms", TERMS.values(), ids=list(TERMS))
def test_no_answer_depends_on_it(terms, method, monkeypatch):
    fit = model(terms).fit(method, progress=False)
    monkeypatch.setattr("remlblup.reml.loop.closed_form", lambda space: None)
    other = model(terms).fit(method, progress=False)
    assert fit.converged == other.converged and fit.loglik == pytest.approx(other.loglik, abs=1e-7)


@pytest.mark.parametrize("terms", ["cs(c | g)", "corgh(c | g)", "fa(c | g, k=1)"])
def test_structures_that_are_not_made_of_variances_begin_elsewhere(terms):
    equations = model(terms)._equations
    free = np.zeros(equations.spec.parameters.size, dtype=bool)
    assert closed_form(Space.of(equations, free, True)) is None


def test_given_values_and_other_residuals_begin_elsewhere():
    one = model("(1 | g)")
    for given in ({"start": {"g": 0.4}}, {"fix": {"g": 0.4}}, {"algorithm": "ai"}, {"algorithm": "em"}):
        assert one.fit(**given, progress=False).history["step"][0] == "start"
    by_class = rb.MixedModel("y ~ x + (1 | g)", data(), residual="diag(c | units)").fit(progress=False)
    assert by_class.history["step"][0] == "start"
    assert rb.MixedModel("y ~ x", data()).fit(progress=False).history["step"][0] == "start"


def test_outside_the_parameter_space_is_no_start():
    """An analysis of variance with a negative variance: dyestuff2, of which lme4's help speaks."""
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2")).fit(progress=False)
    assert fit.history["step"][0] == "start" and fit.theta[0] == 0.0


def test_another_response_has_the_same_expectations_and_its_own_forms():
    first = model("(1 + x | g)")
    equations = first._equations
    y = np.random.default_rng(1).normal(size=70)
    other = equations.with_response(replace(equations.spec, y=y))
    new = rb.MixedModel("y ~ x + (1 + x | g)", data().assign(y=y))._equations
    np.testing.assert_array_equal(other.moment_expectations, new.moment_expectations)
    np.testing.assert_allclose(other.moment_forms(), new.moment_forms(), rtol=1e-12)
    a, b = first.fit(progress=False).refit(y), rb.MixedModel("y ~ x + (1 + x | g)", data().assign(y=y)).fit()
    np.testing.assert_allclose(a.theta, b.theta, rtol=1e-9)
