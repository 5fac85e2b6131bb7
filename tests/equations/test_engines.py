"""Every engine against dense matrices by the same tests, and whole fits by every engine against each other."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

import remlblup as rb
from equations import models, structures
from remlblup.equations import choice as engines
from remlblup.equations.fixed_errors import variance_derivatives
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.turned import TurnedEquations
from remlblup.equations.variance.engine import VarianceEquations
from remlblup.equations.variance.spectral import SpectralEquations
from remlblup.errors import OptionError, RelationshipError
from remlblup.linalg.dense import tiled
from remlblup.reml.likelihood import log_likelihood
from remlblup.reml.score import score
from remlblup.reml.start import residual_variance, unit_matrices
from remlblup.structure.covariance.unstructured import Unstructured

CLOSE = {"rtol": 1e-8, "atol": 1e-9}


@cache
def subject(name: str):
    """(equations, oracle, θ) of a case; equations None where V itself is no way to work with it."""
    kind, _, of_kind = name.partition(": ")
    if kind in ("dense equations", "sparse equations"):
        how = kind.split()[0]
        if of_kind in structures.NAMES:
            c = structures.case(of_kind)
            return c.equations(how), c.oracle, c.theta
        c = models.case(of_kind)
        return MixedModelEquations(c.model.specification, how), c.oracle, c.points[0]
    if kind == "turned":
        c = models.case(of_kind)
        return around(c.model.specification), c.oracle, c.points[0]
    if kind == "structure":
        c = structures.case(of_kind)
        spec = c.equations("dense").spec
        return (None if engines.not_variance(spec) else VarianceEquations(spec)), c.oracle, c.theta
    c = models.case(of_kind)
    make = SpectralEquations if kind == "spectral" else VarianceEquations
    return make(c.model.specification), c.oracle, c.points[0]


def around(spec) -> TurnedEquations | None:
    """Its equations with the effects of every free Σ turned, far origin or not; None where there is none."""
    rng = np.random.default_rng(1)
    free = {k: d.t for k, d in enumerate(spec.random) if d.t > 1 and isinstance(d.structure, Unstructured)}
    turns = {k: np.tril(rng.normal(size=(t, t))) + 2.0 * np.eye(t) for k, t in free.items()}
    return TurnedEquations(spec, turns, MixedModelEquations) if turns else None


def levels(design, term) -> np.ndarray:
    """The level of the oracle that each level of a design is: by its records,
    and by its relatives where it has none."""
    Z = np.vstack([z.toarray() for z in design.columns]), np.vstack(term.Z)
    apart = np.abs(Z[0][:, :, None] - Z[1][:, None, :]).sum(axis=0)
    known = linear_sum_assignment(apart)[1]
    recorded = Z[0].any(axis=0)
    K = np.asarray(design.relationship.among(np.arange(design.q))) if not design.is_identity else np.eye(design.q)
    by_relatives = np.abs(K[:, recorded][:, None, :] - term.K[:, known[recorded]][None, :, :]).sum(axis=2)
    own = linear_sum_assignment(1e3 * apart + by_relatives)[1]
    np.testing.assert_allclose(Z[0], Z[1][:, own], atol=1e-12)
    np.testing.assert_allclose(K, term.K[np.ix_(own, own)], atol=1e-9)
    return own


SUBJECTS = [
    *(f"structure: {name}" for name in structures.NAMES),
    *(f"model: {name}" for name in models.NAMES),
    "spectral: id",
]
# Every case by Henderson's equations too, in turn with a dense and a sparse factor.
ENGINES = [
    *SUBJECTS,
    *(f"{('dense', 'sparse')[k % 2]} equations: {name}" for k, name in enumerate((*structures.NAMES, *models.NAMES))),
    *(f"turned: {name}" for name in ("us2", "us3", "vm_us", "two_us")),
]
# By their names: to make them all to ask them would take longer than most tests, in every process that collects.
WITHOUT_V = ("rr", "empty", "fields")
WORKING = [n for n in ENGINES if not (n.startswith("structure: ") and any(word in n for word in WITHOUT_V))]
EACH = pytest.mark.parametrize("name", WORKING)


def test_what_v_itself_covers():
    left = {n for n in ENGINES if subject(n)[0] is None}
    assert left == set(ENGINES) - set(WORKING)
    assert len(SUBJECTS) - len(left) > 50
    free = {name for name in models.NAMES if around(models.case(name).model.specification) is not None}
    assert free == {n.removeprefix("turned: ") for n in ENGINES if n.startswith("turned: ")}


@EACH
@pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])
def test_likelihood_score_and_information(name, ml):
    equations, oracle, theta = subject(name)
    solution = equations.solve(theta, ml=ml)
    assert log_likelihood(equations, solution, ml) == pytest.approx(oracle.loglik(theta, ml), rel=1e-10)
    assert solution.quadratic == pytest.approx(oracle.quadratic(theta), rel=1e-10)
    Py = solution.weighted_residual[: equations.spec.n]  # behind them the cells of a field that are filled in
    np.testing.assert_allclose(Py, oracle.projection(theta)[2] @ oracle.y, **CLOSE)
    units = unit_matrices(equations, residual_variance(equations))
    size = np.sqrt(np.diag(oracle.expected_information(theta, ml)))
    found = score(equations, solution, units, ml)
    # The equations take the score of a singular Σ beside it, at one larger by 1e-10 of what it could be.
    close = 1e-8 if found.solution is solution else 1e-6
    np.testing.assert_allclose(found.gradient / size, oracle.score(theta, ml) / size, rtol=close, atol=close)
    information, expected = equations.average_information(found.solution), oracle.average_information(theta)
    np.testing.assert_allclose(information / np.outer(size, size), expected / np.outer(size, size), atol=0.1 * close)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("first", [False, True], ids=["REML first", "ML first"])
def test_what_is_asked_of_one_likelihood_leaves_that_of_the_other(name, first):
    """The score by either likelihood at a solution that has been asked for the other, in every engine."""
    equations, _, theta = subject(name)
    if equations is None:
        pytest.skip("V itself is no way to work with it")
    units = unit_matrices(equations, residual_variance(equations))
    expected = {ml: score(equations, equations.solve(theta, ml=ml), units, ml).gradient for ml in (False, True)}
    solution = equations.solve(theta, ml=first)
    for ml in (first, not first, first):
        size = np.max(np.abs(expected[ml]), initial=1.0)
        np.testing.assert_allclose(
            score(equations, solution, units, ml).gradient / size, expected[ml] / size, atol=1e-9
        )


@EACH
def test_effects_and_their_errors(name):
    equations, oracle, theta = subject(name)
    solution, p = equations.solve(theta), equations.p
    np.testing.assert_allclose(solution.effects[:p] + equations.beta_ols, oracle.beta(theta), **CLOSE)
    blocks, errors = equations.level_effects(solution), equations.level_covariances(solution)
    for k, (term, u, error) in enumerate(zip(oracle.terms, blocks, errors, strict=True)):
        own = levels(equations.spec.random[k], term)
        np.testing.assert_allclose(u, oracle.u(k, theta)[:, own], **CLOSE)
        full = oracle.pev(k, theta).reshape(term.t, len(term.K), term.t, len(term.K))
        np.testing.assert_allclose(error, np.einsum("iljl->lij", full)[own], **CLOSE)
    np.testing.assert_allclose(equations.fixed_covariance(solution), oracle.beta_covariance(theta), **CLOSE)
    units = unit_matrices(equations, residual_variance(equations))
    regular = score(equations, solution, units).solution
    variance, derivative = variance_derivatives(equations, regular)
    np.testing.assert_allclose(variance, np.diag(oracle.beta_covariance(theta)), rtol=1e-9)
    expected = oracle.beta_variance_derivatives(theta)
    np.testing.assert_allclose(derivative, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max(initial=0.0))


@EACH
def test_leverages_and_the_diagonal_of_the_projection(name):
    equations, oracle, theta = subject(name)
    found = equations.record_errors(equations.solve(theta))
    P = oracle.projection(theta)[2]
    spread = sum((t.spread(oracle.sigma(k, theta)) for k, t in enumerate(oracle.terms)), np.zeros_like(P))
    np.testing.assert_allclose(found.projection, np.diag(P), **CLOSE)
    np.testing.assert_allclose(found.leverage, np.diag(np.eye(len(P)) - (oracle.V(theta) - spread) @ P), **CLOSE)
    assert np.all(found.before >= found.projection)


@pytest.mark.parametrize(
    ("name", "solves"),
    [
        ("dense equations: us2", False),
        ("sparse equations: crossed", False),
        ("sparse equations: R: units, weights", False),
        ("sparse equations: R: us(site | subject)", False),
        ("dense equations: R: traits", False),
        ("dense equations: R: field", True),
    ],
)
def test_leverages_are_read_off_the_selected_inverse_where_it_has_them(name, solves):
    from remlblup.equations.henderson.record_errors import by_selected_inverse

    equations, _, theta = subject(name)
    assert (by_selected_inverse(equations, equations.solve(theta)) is None) == solves


# -- whole fits ----------------------------------------------------------------------------------


def lines(n: int = 40, markers: int = 90, seed: int = 4) -> tuple[pd.DataFrame, dict[str, object]]:
    """Lines with two traits, some repeated and some without a record, and genomic matrices of rank q − 1 and full."""
    rng = np.random.default_rng(seed)
    labels = [f"L{k}" for k in range(n)]
    M = rng.integers(0, 3, (n, markers)) - 1.0
    centred = M - M.mean(axis=0)
    G = centred @ centred.T / markers
    W = (G * G) / np.mean(np.diag(G * G))
    row = np.r_[np.arange(n - 3), rng.integers(0, n - 3, 25)]
    u, v = (np.linalg.cholesky(K + 1e-9 * np.eye(n)) @ rng.normal(size=n) for K in (G, W))
    d = pd.DataFrame(
        {"line": np.array(labels)[row], "x": rng.normal(size=len(row)), "block": rng.integers(0, 4, len(row))}
    )
    d["y"] = 3 + d["x"] + 1.4 * u[row] + 0.8 * v[row] + rng.normal(0, 0.7, len(row))
    d["z"] = 1 - u[row] + rng.normal(0, 1.0, len(row))
    d["w"] = rng.uniform(0.5, 2.0, len(row))
    d.loc[3:6, "z"] = np.nan
    frame = {"index": labels, "columns": labels}
    return d, {"G": pd.DataFrame(G, **frame), "W": pd.DataFrame(W + 0.01 * np.eye(n), **frame)}


FITS = {
    "one": ("y ~ x + (1 | vm(line, G))", {}),
    "weights": ("y ~ x + (1 | vm(line, W))", {"weights": "w"}),
    "two": ("y ~ x + (1 | vm(line, G)) + (1 | vm(line, W))", {}),
    "groups": ("y ~ x + (1 | vm(line, G)) + (1 | block)", {"residual": "diag(block | units)"}),
    "regression": ("y ~ x + us(1 + x | vm(line, G))", {}),
    "correlations": ("c(y, z) ~ 0 + trait + corgh(trait | vm(line, G))", {"residual": "diag(trait | units)"}),
    "traits": ("c(y, z) ~ 0 + trait + us(trait | vm(line, G))", {"residual": "us(trait | units)"}),
}


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", FITS)
def test_every_engine_gives_the_same_fit(name, method):
    (formula, options), (d, given) = FITS[name], lines()
    d["line"] = pd.Categorical(d["line"])
    found = {}
    for engine in ("sparse", "dense", "spectral"):
        if engine == "spectral" and name not in ("one", "weights"):
            with pytest.raises(OptionError, match="engine='spectral' needs one relationship"):
                rb.MixedModel(formula, d, given, engine=engine, **options).fit()
            continue
        fit = rb.MixedModel(formula, d, given, engine=engine, **options).fit(method)
        assert fit.converged, (engine, fit.convergence)
        found[engine] = fit
    first = found["sparse"]
    for fit in found.values():
        assert fit.loglik == pytest.approx(first.loglik, abs=1e-8)
        size = np.abs(first.theta) + np.sqrt(np.nan_to_num(np.diag(first.variance_covariance)))
        np.testing.assert_allclose(fit.theta, first.theta, atol=1e-6 * size.max())
        fixed, of_first = fit.fixed_effects, first.fixed_effects
        np.testing.assert_allclose(fixed[["estimate", "std_error"]], of_first[["estimate", "std_error"]], atol=1e-6)
        np.testing.assert_allclose(fixed["df"], of_first["df"], rtol=1e-4)
        for column in ("estimate", "pev", "reliability"):
            np.testing.assert_allclose(fit.random_effects[column], first.random_effects[column], atol=1e-6)
        np.testing.assert_allclose(fit.predict(), first.predict(), atol=1e-6)
        np.testing.assert_allclose(fit.residuals, first.residuals, atol=1e-6)
        assert list(fit.random_effects["level"]) == list(first.random_effects["level"])


def test_predictions_of_new_records_by_every_engine():
    d, given = lines()
    new = pd.DataFrame({"x": [0.0, 1.0, 2.0], "line": ["L39", "L3", "L38"]})
    tables = [
        rb.MixedModel(FITS["one"][0], d, given, engine=e).fit().predict(new) for e in ("sparse", "dense", "spectral")
    ]
    for table in tables[1:]:
        np.testing.assert_allclose(table, tables[0], atol=1e-6)


def test_choice_of_the_engine():
    d, given = lines()
    model = rb.MixedModel(FITS["one"][0], d, given)
    assert "flops" in str(model.describe()) or model.describe().stats.engine in engines.ENGINES
    assert rb.MixedModel("y ~ x + (1 | line)", d, engine="dense").describe().stats.ordering != "V itself"
    assert rb.MixedModel(FITS["two"][0], d, given, engine="dense").describe().stats.ordering == "V itself"


def test_boundary_and_negative_components_by_v_itself():
    d, given = lines()
    d["y"] = np.random.default_rng(8).normal(size=len(d))
    fits = {e: rb.MixedModel(FITS["one"][0], d, given, engine=e) for e in ("sparse", "dense", "spectral")}
    free = {e: m.fit(constrain=False) for e, m in fits.items()}
    bound = {e: m.fit() for e, m in fits.items()}
    for fit in (*free.values(), *bound.values()):
        assert fit.converged
    assert free["sparse"].theta[0] < 0 and bound["sparse"].status[0] == "boundary"
    for e in ("dense", "spectral"):
        np.testing.assert_allclose(free[e].theta, free["sparse"].theta, atol=1e-6)
        np.testing.assert_allclose(bound[e].theta, bound["sparse"].theta, atol=1e-6)
        assert bound[e].loglik == pytest.approx(bound["sparse"].loglik, abs=1e-9)


def test_spectral_refuses_an_indefinite_relationship(monkeypatch):
    from remlblup.relationship.given import matrix

    d, given = lines()
    monkeypatch.setattr(matrix, "TESTED_AT_ONCE", 0)
    bad = given["G"] - 0.5 * np.eye(len(given["G"]))
    with pytest.raises(RelationshipError, match="not positive semidefinite"):
        rb.MixedModel(FITS["one"][0], d, {"G": bad}, engine="spectral").fit()


@pytest.mark.parametrize("tile", [7, 16])
def test_tiles_of_v_change_no_digit_that_matters(tile, monkeypatch):
    d, given = lines()
    whole = rb.MixedModel(FITS["two"][0], d, given, engine="dense").fit()

    def small(n, size=tile):
        return [slice(k, min(k + size, n)) for k in range(0, n, size)]

    monkeypatch.setattr(tiled, "tiles", small)
    monkeypatch.setattr("remlblup.linalg.device.host.tiles", small)
    cut = rb.MixedModel(FITS["two"][0], d, given, engine="dense").fit()
    assert cut.loglik == pytest.approx(whole.loglik, abs=1e-9)
    np.testing.assert_allclose(cut.theta, whole.theta, rtol=1e-7)


def test_from_matrices_with_a_singular_matrix():
    d, given = lines()
    labels = list(given["G"].index)
    Z = np.array([[float(label == level) for level in labels] for label in d["line"]])
    X = np.column_stack([np.ones(len(d)), d["x"]])
    by_formula = rb.MixedModel(FITS["one"][0], d, given).fit()
    for engine in ("sparse", "dense", "spectral"):
        fit = rb.MixedModel.from_matrices(d["y"], X, [sp.csr_array(Z)], [given["G"].to_numpy()], engine=engine).fit()
        assert fit.loglik == pytest.approx(by_formula.loglik, abs=1e-8)


@pytest.mark.parametrize("engine", ["sparse", "dense", "spectral"])
def test_digits_do_not_depend_on_the_threads_of_blas(engine):
    from remlblup.linalg.threads import controller

    rng = np.random.default_rng(0)
    M = rng.integers(0, 3, (300, 400)).astype(float)
    M -= M.mean(axis=0)
    with controller().limit(limits=1):
        K = M @ M.T / 200
    d = pd.DataFrame({"g": np.arange(300), "y": rng.normal(size=300) + M[:, 0]})
    found = []
    for threads in (1, 2):
        with controller().limit(limits=threads):
            fit = rb.MixedModel("y ~ 1 + (1 | vm(g, K))", d, {"K": (K, d["g"])}, engine=engine).fit()
            found.append([fit.loglik, *fit.theta, *fit.random_effects["estimate"], *fit.random_effects["pev"]])
    assert found[0] == found[1]


def test_no_fixed_effects():
    d, given = lines()
    fits = [
        rb.MixedModel("y ~ 0 + (1 | vm(line, G))", d, given, engine=e).fit() for e in ("sparse", "dense", "spectral")
    ]
    for fit in fits:
        assert fit.loglik == pytest.approx(fits[0].loglik, abs=1e-8)
        assert len(fit.fixed_effects) == 0 and "converged" in str(fit.summary())


def test_a_small_dense_relationship_does_not_make_a_pedigree_dense():
    rng = np.random.default_rng(2)
    n = 1200
    sires = [None] * 100 + [int(rng.integers(0, 50)) for _ in range(n - 100)]
    dams = [None] * 100 + [int(rng.integers(50, 100)) for _ in range(n - 100)]
    M = rng.normal(size=(12, 30))
    given = {"A": rb.Pedigree(range(n), sires, dams, unknown=()), "K": (M @ M.T, list("abcdefghijkl"))}
    d = pd.DataFrame({"id": np.arange(n), "herd": rng.choice(list("abcdefghijkl"), n), "y": rng.normal(size=n)})
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, A)) + (1 | vm(herd, K))", d, given)
    assert model.describe().stats.engine == "sparse"


def test_px_em_is_for_the_equations():
    d, given = lines()
    with pytest.raises(OptionError, match="leave algorithm= out"):
        rb.MixedModel(FITS["one"][0], d, given, engine="spectral").fit(algorithm="px-em")
    auto, em = (rb.MixedModel(FITS["one"][0], d, given, engine="spectral").fit(algorithm=a) for a in ("auto", "em"))
    assert "PX-EM" not in set(auto.history["step"]) and set(em.history["step"]) == {"start", "EM"}
    assert em.converged and em.loglik == pytest.approx(auto.loglik, abs=1e-7)
