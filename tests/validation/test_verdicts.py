"""The dense search of `validation.verdicts`: against closed forms, published fits, hand-made maxima;
and its judgement of reasons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.linalg

import remlblup as rb
from remlblup import datasets
from remlblup.reml import starts
from remlblup.structure.table import DISTANCES, STRUCTURES
from remlblup.validation.dense import DenseModel
from remlblup.validation.simulations.truth import parameters, sigma
from remlblup.validation.verdicts import generator, problem
from remlblup.validation.verdicts.families import HERITABILITIES, family_problem
from remlblup.validation.verdicts.judge import MISSED, RIGHT, judge
from remlblup.validation.verdicts.oracle import Oracle, Part
from remlblup.validation.verdicts.problems import OF_NAMES, OF_TIMES, incidence, products, same
from remlblup.validation.verdicts.reasons import LEVEL, flatness
from remlblup.validation.verdicts.scales import scale_problem
from remlblup.validation.verdicts.shapes import autocorrelations, make, records, spherical

LOG_2PI = np.log(2.0 * np.pi)


def searched(oracle: Oracle, starts: int = 6):
    return oracle.maximum(np.random.default_rng(1), starts)


def grouped(y, codes, X=None, ml=False, constrain=True, K=None, residual=None):
    """y with one random effect per code and independent residuals."""
    y, codes = np.asarray(y, float), np.asarray(codes)
    n = len(y)
    kernel = same(codes) if K is None else K[np.ix_(codes, codes)]
    term = Part("g", make("id", [1.0], constrain=constrain), products(np.ones((n, 1)), kernel))
    rest = Part("residual", records(1.0, np.ones(n), constrain)) if residual is None else residual
    return Oracle(y, np.ones((n, 1)) if X is None else X, [term, rest], ml)


# -- closed forms ------------------------------------------------------------------------------


def one_way(rng, between, groups=6, size=4):
    y = between * np.repeat(rng.normal(size=groups), size) + rng.normal(size=groups * size)
    means = y.reshape(groups, size).mean(axis=1)
    a = size * np.sum((means - y.mean()) ** 2)
    e = np.sum((y - np.repeat(means, size)) ** 2)
    return y, a, e, groups, size


@pytest.mark.parametrize("between", [2.0, 0.0])
@pytest.mark.parametrize("constrain", [True, False])
def test_balanced_one_way(between, constrain):
    """σ̂²e and σ̂²e + kσ̂²a are mean squares; on the boundary both are the total one (Searle,
    Casella & McCulloch 1992)."""
    y, a, e, m, k = one_way(np.random.default_rng(3), between)
    n, free = m * k, (a / (m - 1), e / (m * (k - 1)))
    if constrain and free[0] < free[1]:
        free = ((a + e) / (n - 1),) * 2
    ell = -0.5 * (
        (n - 1) * LOG_2PI
        + (m - 1) * np.log(free[0])
        + m * (k - 1) * np.log(free[1])
        + a / free[0]
        + e / free[1]
        + np.log(n)
    )
    peak = searched(grouped(y, np.repeat(np.arange(m), k), constrain=constrain))
    assert peak.loglik == pytest.approx(ell, abs=1e-9)
    assert peak.theta == pytest.approx([(free[0] - free[1]) / k, free[1]], abs=1e-5)


def test_the_two_boundaries_differ():
    """The balanced design without group effects has its maximum below zero, or the tests above show nothing of it."""
    _, a, e, m, k = one_way(np.random.default_rng(3), 0.0)
    assert a / (m - 1) < e / (m * (k - 1))


def test_slope_is_that_of_the_value():
    for number in (0, 3, 6, 8, 9, 11, 13):
        oracle = problem(5, number).oracle
        x = next(iter(oracle.starts(np.random.default_rng(number), 1)))
        value, slope = oracle.value_and_slope(x)
        h = 1e-5 * np.eye(len(x))
        change = [(oracle.value_and_slope(x + d)[0] - oracle.value_and_slope(x - d)[0]) / 2e-5 for d in h]
        assert np.isfinite(value)
        assert slope == pytest.approx(np.array(change), rel=1e-4, abs=1e-4)


# -- published ---------------------------------------------------------------------------------


def test_sleepstudy_as_lme4_prints_it():
    """REML criterion 1743.628 (Bates et al. 2015, J. Stat. Softw. 67(1), section 4)."""
    d = datasets.load("sleepstudy")
    W = np.column_stack([np.ones(len(d)), d["Days"]])
    g = pd.factorize(d["Subject"])[0]
    term = Part("Subject", make("us", [20.0, 5.0]), products(W, same(g)))
    oracle = Oracle(d["Reaction"].to_numpy(float), W, [term, Part("residual", records(20.0, np.ones(len(d))))])
    assert -2.0 * searched(oracle, 3).loglik == pytest.approx(1743.628, abs=5e-4)


def test_machines_as_nlme_prints_them():
    """logLik −104.1555 of lme(score ~ Machine, random = ~ Machine - 1 | Worker) (Pinheiro & Bates 2000,
    section 1.3)."""
    d = datasets.load("machines")
    machine, worker = pd.factorize(d["Machine"], sort=True)[0], pd.factorize(d["Worker"])[0]
    term = Part("Worker", make("us", [5.0] * 3), products(incidence(machine, 3), same(worker)))
    X = np.column_stack([np.ones(len(d)), incidence(machine, 3)[:, 1:]])
    oracle = Oracle(d["score"].to_numpy(float), X, [term, Part("residual", records(1.0, np.ones(len(d))))])
    assert searched(oracle, 4).loglik == pytest.approx(-104.1555, abs=1e-3)


# -- maxima with a singular R, a negative variance, several maxima -----------------------------

PAIRS = np.kron(np.eye(2), [[1.0, 0.5], [0.5, 1.0]])


def test_residual_variance_of_zero():
    """V = σ²a K: σ̂²a is y'Py/(n − p) at once."""
    y = np.array([1.0, 1.2, 3.0, 3.3])
    K = np.linalg.inv(PAIRS)
    P = K - np.outer(K.sum(axis=1), K.sum(axis=0)) / K.sum()
    peak = searched(grouped(y, np.arange(4), K=PAIRS))
    assert peak.theta == pytest.approx([y @ P @ y / 3.0, 0.0], abs=1e-6)
    assert peak.theta[0] == pytest.approx(0.9772222, abs=1e-7)
    assert peak.loglik == pytest.approx(-4.4249864, abs=1e-7)


def test_residual_matrix_of_rank_one():
    a = [0.2, -0.3, 1.8, 0.6, 0.3, 1.0, -0.3, 0.2, 0.5, 0.4, 0.8, 0.7]
    b = [-0.5, -2.4, 1.1, 1.2, -0.6, -0.5, -0.8, -0.5, -0.6, -1.1, 0.2, 0.4]
    K = np.kron(np.eye(6), [[1.0, 0.5], [0.5, 1.0]])
    record, trait = np.repeat(np.arange(12), 2), np.tile([0, 1], 12)
    W = incidence(trait, 2)
    parts = [
        Part("animal", make("us", [1.0, 1.0]), products(W, K[np.ix_(record, record)])),
        Part("residual", make("us", [1.0, 1.0]), products(W, same(record))),
    ]
    peak = searched(Oracle(np.column_stack([a, b]).ravel(), np.column_stack([np.ones(24), W[:, 1]]), parts))
    assert peak.loglik == pytest.approx(-21.4786, abs=5e-5)
    assert peak.theta[3:] == pytest.approx([0.1041, -0.0473, 0.0215], abs=5e-5)


def test_negative_residual_variance():
    r = np.random.default_rng(1)
    y = np.repeat(r.normal(0, 60**0.5, 26), 8) + r.normal(0, 40**0.5, 208)
    family = np.repeat(np.arange(26), 8)
    K = 0.5 * np.eye(208) + 0.5 * same(family)
    oracle = grouped(y / 10.0, np.arange(208), K=K, constrain=False)
    peak = searched(oracle, 2)
    assert 100.0 * peak.theta == pytest.approx([93.864, -11.051], abs=1e-3)
    assert peak.loglik - 207 * np.log(10.0) == pytest.approx(-697.4307, abs=1e-4)


def test_higher_of_two_maxima():
    y = np.array([[2, 4, 1], [0, 1, 0], [1, 0, -1], [-2, -9, -5], [-2, -3, -2], [-1, -1, -3]], float).ravel()
    g, t = np.repeat(np.arange(6), 3), np.tile(np.arange(3), 6)
    parts = [
        Part("g", make("toep", [3.0] * 3), products(incidence(t, 3), same(g))),
        Part("residual", records(3.0, np.ones(18))),
    ]
    assert searched(Oracle(y, np.ones((18, 1)), parts), 12).loglik == pytest.approx(-38.8187, abs=5e-5)


# -- definitions -------------------------------------------------------------------------------


def test_every_structure_is_drawn():
    """All but those by distance, whose maxima `tests/distance` looks for."""
    assert {*OF_NAMES, *OF_TIMES} == set(STRUCTURES) - (set(DISTANCES) - {"exp"})


@pytest.mark.parametrize("keyword", sorted({*OF_NAMES, *OF_TIMES} - {"exp", "corh"}))
def test_matrices_of_named_parameters(keyword):
    """Σ beside the definitions by name that the simulations draw from."""
    effects = ("A", "B", "C", "D")
    named = parameters(keyword, effects)
    S = np.array([[1.0, 0.6, 0.3, 0.5], [0.6, 1.0, 0.4, 0.2], [0.3, 0.4, 1.0, 0.5], [0.5, 0.2, 0.5, 1.0]])
    shape = make(keyword, np.ones(4), matrix=S)
    order = {"us": np.tril_indices(4)}
    theta = sigma("us", effects, named)[order["us"]] if keyword == "us" else np.array(list(named.values()))
    assert shape.matrix(theta) == pytest.approx(sigma(keyword, effects, named), abs=1e-12)


@pytest.mark.parametrize("keyword", sorted({*OF_NAMES, *OF_TIMES}))
def test_coordinates_reach_what_they_name(keyword):
    """Every x gives a positive semidefinite Σ, and Σ of a θ is found again by its coordinates."""
    rng = np.random.default_rng(2)
    shape = make(keyword, [1.0, 2.0, 0.5], positions=[0.0, 1.0, 3.5] if keyword == "exp" else None, matrix=np.eye(3))
    part = Part("g", shape, products(incidence(np.tile(np.arange(3), 4), 3), same(np.repeat(np.arange(4), 3))))
    oracle = Oracle(rng.normal(size=12), np.ones((12, 1)), [part, Part("residual", records(1.0, np.ones(12)))])
    for _ in range(5):
        x = np.r_[shape.start(rng, 1.0), 1.0]
        Sigma = shape.matrix(oracle.theta(x)[:-1])
        assert np.linalg.eigvalsh(Sigma)[0] > -1e-12
        again = oracle.theta(oracle.coordinates(oracle.theta(x)))
        assert shape.matrix(again[:-1]) == pytest.approx(Sigma, abs=1e-5)


def test_exponential_at_uneven_positions():
    shape = make("exp", np.ones(3), positions=[0.0, 1.0, 3.0])
    assert shape.matrix(np.array([2.0, 0.5])) == pytest.approx(
        2.0 * np.array([[1, 0.5, 0.125], [0.5, 1, 0.25], [0.125, 0.25, 1]])
    )


def test_autocorrelations_of_partial_ones():
    """A first-order process has one, and a partial correlation of one leaves a singular matrix whatever follows."""
    assert autocorrelations(np.array([0.6, 0.0, 0.0])) == pytest.approx([0.6, 0.36, 0.216])
    R = scipy.linalg.toeplitz(np.r_[1.0, autocorrelations(np.array([0.3, -1.0, 0.7]))])
    assert np.linalg.eigvalsh(R)[0] == pytest.approx(0.0, abs=1e-12)
    C = spherical(np.array([2.0, 3.0, 4.0, 1.0, 0.0, 0.0]), 3)
    assert pytest.approx(np.array([[1, 0.6, 1], [0.6, 1, 0.6], [1, 0.6, 1]])) == C


# -- judgement ---------------------------------------------------------------------------------


def test_flat_and_not_flat():
    """Two terms of the same groups trade off; group and residual do not."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(5), 3)
    y = rng.normal(size=5)[g] + rng.normal(size=15)
    block = products(np.ones((15, 1)), same(g))
    parts = [
        Part("g", make("id", [1.0]), block),
        Part("twin", make("id", [1.0]), block),
        Part("residual", records(1.0, np.ones(15))),
    ]
    oracle = Oracle(y, np.ones((15, 1)), parts)
    theta = np.array([0.4, 0.5, 1.0])
    assert flatness(oracle, theta, [0, 1]) < 1e-8
    assert flatness(oracle, theta, [0, 2]) > LEVEL


def test_a_lower_maximum_is_seen():
    """A fit stopped below the maximum is not right, one at it is."""
    one = problem(1, 2)
    assert judge(one, generator(1, 2, 1), 3).category == RIGHT

    class Short:
        """The same problem with a fit that certifies where it began."""

        def __getattr__(self, name):
            return getattr(one, name)

        def model(self, engine):
            model = one.model(engine)
            fit = model.fit(max_iterations=1, constrain=one.constrain, progress=False)
            return Certified(fit)

    class Certified:
        def __init__(self, fit):
            self.of, self.converged = fit, True

        def __getattr__(self, name):
            return getattr(self.of, name)

        def fit(self, *args, **options):
            return self

    row = judge(Short(), generator(1, 2, 1), 3)
    assert row.category == "certified below"
    assert row.best > row.ours + 1e-6
    assert row.faulty


def test_problems_repeat_and_differ():
    first, again, other = problem(2, 3), problem(2, 3), problem(3, 3)
    assert np.array_equal(first.oracle.y, again.oracle.y)
    assert not np.array_equal(first.oracle.y[:3], other.oracle.y[:3])


@pytest.mark.parametrize("h2", HERITABILITIES)
@pytest.mark.parametrize("replicate", [0, 2])
def test_full_sib_families_converge(h2, replicate):
    """Two traits, R̂ singular or nearly: the fits are at the dense maximum, by both engines."""
    row = judge(family_problem(h2, 40, replicate), generator(1, replicate, 1), 3)
    assert row.category == RIGHT, row.line()


def test_error_contrasts_give_the_likelihood_of_the_definition():
    """REML by K'y beside log|V| + log|X'V⁻¹X| + y'Py, in units of 1e8 too."""
    for number in (0, 2, 3, 8, 12, 27):
        oracle = problem(1, number).oracle
        if oracle.ml:
            continue
        theta = oracle.theta(next(iter(oracle.starts(np.random.default_rng(number), 1))))
        assert oracle.loglik(theta) == pytest.approx(DenseModel(oracle.y, oracle.X, oracle.V).loglik(theta), rel=1e-9)


# -- the verdicts themselves -------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, 48, 4))
def test_no_verdict_is_false(first):
    """Random models: no fit certified below the best of the dense search, none that misses it, no engine apart,
    no untrue reason."""
    rows = [judge(problem(1, k), generator(1, k, 1), 8) for k in range(first, first + 4)]
    assert not [row.line() for row in rows if row.faulty or row.category == MISSED]


@pytest.mark.parametrize(
    ("seed", "number", "kind"),
    [
        (23, 54, "two plain variances: another maximum with hardly any residual"),
        (22, 81, "a maximum where R is singular, far from every start drawn"),
        (22, 84, "flat with the correlation, which the search in other words does not name"),
        (23, 47, "one of two maxima of a residual of several variances, by the luck of the path"),
        (24, 3, "a ridge that a search crept along for 200 iterations by one engine"),
        (24, 49, "called flat because no step could be taken beside a singular R"),
        (24, 102, "flat, though by as little as the components are there (the judge looked too far)"),
        (26, 0, "a ridge that ends in a corner, with no information to take its direction from (the judge saw none)"),
        (26, 14, "the higher maximum given up, on its way along a valley that AI does not see"),
        (26, 38, "the same by ML, where it has no information but a slope"),
        (27, 0, "two components that X alone tells apart: no information along a direction, but a slope"),
        (29, 47, "flat with a variance that can bear it, not named beside one that is known far better"),
        (26, 70, "a term absorbed by the fixed effects: without constraints its variance went where rounding led"),
    ],
)
def test_verdicts_that_were_false(seed, number, kind):
    row = judge(problem(seed, number), generator(seed, number, 1), 8)
    assert not row.faulty, f"{kind}: {row.line()}"
    assert row.ours >= row.best - 1e-6 or not row.converged


def test_a_climb_that_creeps_to_its_last_iteration_is_begun_elsewhere(monkeypatch):
    """A maximum 1.19e-3 above a corner, of a variance and a correlation of almost zero, in which a climb may creep."""
    one = scale_problem("ar1h", 10.0, 2)
    fit = one.model("auto").fit(progress=False)
    assert fit.converged and fit.loglik == pytest.approx(-92.394916163, abs=1e-8)
    with pytest.warns(rb.ConvergenceWarning):
        short = one.model("auto").fit(max_iterations=12, progress=False)
    assert len(short.history) == 13 and not short.convergence.trials  # cut short on purpose
    monkeypatch.setattr(starts, "LONGEST", 12)  # as many iterations as may be cut short without other starts
    with pytest.warns(rb.ConvergenceWarning):
        crept = one.model("auto").fit(max_iterations=12, progress=False)
    assert crept.convergence.trials
