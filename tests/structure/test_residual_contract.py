"""What every residual structure must do: its precision, determinant, derivatives and M step against a dense R.

R is built in `dense_…` below from the definition of each structure, on n × n matrices, and shares no
code with the package; the rest follows from R by dense algebra and finite differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import differences

from remlblup.errors import DataError, ModelError, NotPositiveDefiniteError
from remlblup.structure.base import Structure
from remlblup.structure.covariance.diagonal import Diagonal
from remlblup.structure.covariance.unstructured import Unstructured
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.exponential import Autoregressive, Exponential
from remlblup.structure.residual.field import Field
from remlblup.structure.residual.grouped_units import GroupedUnits
from remlblup.structure.residual.known_residual import KnownResidual
from remlblup.structure.residual.sections import Sections
from remlblup.structure.residual.units import Units
from remlblup.structure.residual.variance_power import Power

Dense = Callable[[np.ndarray], np.ndarray]


# -- R by the definitions ----------------------------------------------------------------------


def weighted(R: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    return R if w is None else R / np.sqrt(np.outer(w, w))


def dense_blocks(sigma: Dense, unit: np.ndarray, effect: np.ndarray, w: np.ndarray | None = None) -> Dense:
    same = unit[:, None] == unit
    return lambda phi: weighted(np.where(same, sigma(phi)[np.ix_(effect, effect)], 0.0), w)


def dense_power_of_distance(x: np.ndarray, subject: np.ndarray, w: np.ndarray | None = None) -> Dense:
    same = subject[:, None] == subject
    distance = np.abs(x[:, None] - x)
    return lambda phi: weighted(phi[0] * np.where(same, np.power(phi[1], distance), 0.0), w)


def dense_field(axes: list[np.ndarray], kinds: tuple[str, ...]) -> Dense:
    """Over the records, then the empty cells in grid order."""
    extent = [int(a.max()) + 1 for a in axes]
    seen = list(zip(*(a.tolist() for a in axes), strict=True))
    cells = np.array(seen + [c for c in np.ndindex(*extent) if c not in set(seen)])

    def R(phi: np.ndarray) -> np.ndarray:
        out, rest = np.full((len(cells),) * 2, phi[0]), list(phi[1:])
        for position, kind in zip(cells.T, kinds, strict=True):
            distance = np.abs(position[:, None] - position)
            out = out * (np.power(rest.pop(0), distance) if kind == "ar1" else (distance == 0))
        return out

    return R


def vech(t: int) -> Dense:
    def sigma(phi: np.ndarray) -> np.ndarray:
        lower = np.zeros((t, t))
        lower[np.tril_indices(t)] = phi
        return lower + np.tril(lower, -1).T

    return sigma


class DampedToeplitz(Structure):
    """A structure as a user would write it: Σ_ij = σ² r^|i−j| over the effects, not linear in r."""

    keyword = "damped"
    linear = False

    @property
    def names(self):
        return ("variance", "r")

    @property
    def lower(self):
        return np.array([0.0, -1.0])

    @property
    def upper(self):
        return np.array([np.inf, 1.0])

    @property
    def distance(self):
        return np.abs(np.subtract.outer(np.arange(self.size), np.arange(self.size))).astype(float)

    def covariance(self, theta):
        return theta[0] * theta[1] ** self.distance

    def derivatives(self, theta):
        d = self.distance
        return np.array([theta[1] ** d, np.where(d > 0, theta[0] * d * theta[1] ** np.maximum(d - 1, 0), 0.0)])

    def project(self, sigma):
        variance = np.trace(sigma) / self.size
        return np.array([variance, np.mean(np.diag(sigma, 1)) / variance])


# -- the samples -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    structure: ResidualStructure
    phi: np.ndarray
    dense: Dense
    n: int


rng = np.random.default_rng(20)
US3 = np.array([2.0, 0.5, 1.0, -0.6, 0.3, 1.5])
W = rng.uniform(0.3, 4.0, 40)
# Six units × three effects, in no order, some missing; every pair is seen together.
UNIT, EFFECT = (z.ravel() for z in np.mgrid[0:6, 0:3])
KEEP = rng.permutation(18)[:13]
# Five subjects at uneven times.
X = np.concatenate([np.sort(rng.uniform(0, 4, 3)) for _ in range(4)] + [[1.0]])
SUBJECT = np.repeat([7, 3, 9, 1, 5], [3, 3, 3, 3, 1])
SHUFFLE = rng.permutation(13)
OCCASION = np.array([0, 1, 3, 2, 5, 0, 4, 5, 6, 1, 4, 8, 2])
ROWS, COLUMNS = (z.ravel() for z in np.mgrid[0:4, 0:5])
PLOTS = rng.permutation(20)[:16]
PLOTS = PLOTS if {19} <= set(PLOTS.tolist()) else np.append(PLOTS, 19)  # the corner spans the grid


def effects(t: int) -> tuple[str, ...]:
    return tuple(f"e{k}" for k in range(t))


def grouped(w: np.ndarray | None) -> Sample:
    codes = np.array([1, 0, 2, 1, 1, 2, 0])
    own = None if w is None else w[:7]
    structure = GroupedUnits(codes, ("a", "b", "c"), own)
    return Sample(structure, np.array([0.4, 1.7, 3.0]), lambda p: weighted(np.diag(p[codes]), own), 7)


def blocks(structure: Structure, phi, sigma: Dense, unit, effect, w=None) -> Sample:
    own = None if w is None else w[: len(unit)]
    dense = dense_blocks(sigma, unit, effect, own)
    return Sample(Blocks(structure, unit, effect, own), np.array(phi), dense, len(unit))


def exponential(w: np.ndarray | None) -> Sample:
    x, subject, own = X[SHUFFLE], SUBJECT[SHUFFLE], None if w is None else w[:13]
    return Sample(Exponential(x, subject, own), np.array([1.4, 0.6]), dense_power_of_distance(x, subject, own), 13)


def autoregressive(r: float, w: np.ndarray | None = None) -> Sample:
    t, subject, own = OCCASION[SHUFFLE], SUBJECT[SHUFFLE], None if w is None else w[:13]
    return Sample(Autoregressive(t, subject, own), np.array([1.4, r]), dense_power_of_distance(t, subject, own), 13)


def field(kinds: tuple[str, ...], phi, records=PLOTS, two: bool = True) -> Sample:
    axes = [ROWS[records], COLUMNS[records]] if two else [records]
    structure = Field(axes[0], axes[1] if two else None, kinds)
    return Sample(structure, np.array(phi), dense_field(axes, kinds), len(records))


def power(w: np.ndarray | None) -> Sample:
    x = np.array([0.5, 2.0, 3.0, 2.0, 7.0, 11.0, 0.5, 4.0, 5.0])
    own = None if w is None else w[:9]
    return Sample(Power(x, own), np.array([0.8, 0.35]), lambda p: weighted(np.diag(p[0] * x ** (2 * p[1])), own), 9)


def sections() -> Sample:
    parts = [
        field(("ar1", "ar1"), [1.0, 0.5, -0.3]),
        autoregressive(0.4),
        grouped(None),
        field(("id", "ar1"), [2.0, 0.7]),
    ]
    n = sum(p.n for p in parts)
    shuffled = np.random.default_rng(4).permutation(n)
    records = np.split(shuffled, np.cumsum([p.n for p in parts])[:-1])
    ends = np.cumsum([0, *(len(p.phi) for p in parts)])

    def dense(phi: np.ndarray) -> np.ndarray:
        blocks = [p.dense(phi[a:b]) for p, a, b in zip(parts, ends[:-1], ends[1:], strict=True)]
        filled, end = [], n
        for p, block in zip(parts, blocks, strict=True):
            filled.append(np.arange(end, end + len(block) - p.n))
            end += len(block) - p.n
        out = np.zeros((end, end))
        for own, more, block in zip(records, filled, blocks, strict=True):
            place = np.concatenate([own, more])
            out[np.ix_(place, place)] = block
        return out

    structure = Sections([p.structure for p in parts], records, ["t1", "t2", "t3", "t4"])
    return Sample(structure, np.concatenate([p.phi for p in parts]), dense, n)


def diagonal_sections() -> Sample:
    records = [np.array([4, 0, 2]), np.array([5, 1, 3, 6])]
    structure = Sections([Units(np.ones(3)), Units(W[:4])], records, ["a", "b"])

    def dense(phi: np.ndarray) -> np.ndarray:
        v = np.empty(7)
        v[records[0]], v[records[1]] = phi[0], phi[1] / W[:4]
        return np.diag(v)

    return Sample(structure, np.array([0.7, 2.0]), dense, 7)


def damped(phi: np.ndarray) -> np.ndarray:
    d = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    return phi[0] * phi[1] ** d


def complete(t: int, units: int) -> tuple[np.ndarray, np.ndarray]:
    unit, effect = (z.ravel() for z in np.mgrid[0:units, 0:t])
    order = np.random.default_rng(t).permutation(t * units)
    return unit[order] * 11 - 4, effect[order]


def known(diagonal: bool) -> Sample:
    """O of two groups of records that have nothing to do with each other, or variances."""
    O = np.zeros((7, 7))
    for own in ([0, 3, 4], [1, 2, 5, 6]):
        z = np.random.default_rng(len(own)).standard_normal((len(own), 9))
        O[np.ix_(own, own)] = z @ z.T / 9.0
    O = np.diag(np.diag(O)) if diagonal else O
    structure = (
        KnownResidual.of_variances(np.diag(O), scaled=True)
        if diagonal
        else KnownResidual(O, sp.tril(np.linalg.inv(O)), float(np.linalg.slogdet(O)[1]), scaled=True)
    )
    return Sample(structure, np.array([1.7]), lambda p: p[0] * O, 7)


PAIRS = (np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7]), np.array([0, 1, 2, 0, 1, 2, 3, 0, 2, 3, 1, 3, 2, 0]))
SAMPLES: dict[str, Callable[[], Sample]] = {
    "groups": lambda: grouped(None),
    "groups, weights": lambda: grouped(W),
    "us, complete": lambda: blocks(Unstructured(effects(3)), US3, vech(3), *complete(3, 5)),
    "us, complete, weights": lambda: blocks(Unstructured(effects(3)), US3, vech(3), *complete(3, 5), W),
    "us, missing": lambda: blocks(Unstructured(effects(3)), US3, vech(3), UNIT[KEEP], EFFECT[KEEP]),
    "us, missing, weights": lambda: blocks(Unstructured(effects(3)), US3, vech(3), UNIT[KEEP], EFFECT[KEEP], W),
    "diag, missing": lambda: blocks(Diagonal(effects(3)), [1.0, 2.0, 0.5], np.diag, UNIT[KEEP], EFFECT[KEEP]),
    "user's structure": lambda: blocks(DampedToeplitz(effects(4)), [1.3, -0.4], damped, *PAIRS),
    "exp": lambda: exponential(None),
    "exp, weights": lambda: exponential(W),
    "ar1": lambda: autoregressive(0.7),
    "ar1, negative, weights": lambda: autoregressive(-0.55, W),
    "ar1 at zero": lambda: autoregressive(0.0),
    "field": lambda: field(("ar1", "ar1"), [1.5, 0.6, -0.4]),
    "field, complete": lambda: field(("ar1", "ar1"), [1.5, 0.6, 0.8], np.random.default_rng(1).permutation(20)),
    "field, id:ar1": lambda: field(("id", "ar1"), [1.5, 0.6]),
    "field, ar1:id": lambda: field(("ar1", "id"), [1.5, -0.6]),
    "field, id:id": lambda: field(("id", "id"), [1.5]),
    "field, one dimension": lambda: field(("ar1",), [0.9, 0.5], np.array([5, 0, 7, 2, 3]), two=False),
    "field, two rows": lambda: field(("ar1", "ar1"), [1.5, 0.6, 0.5], np.array([0, 6, 9, 3, 4])),
    "sections": sections,
    "sections, diagonal": diagonal_sections,
    "known": lambda: known(False),
    "known variances": lambda: known(True),
    "power": lambda: power(None),
    "power, weights": lambda: power(W),
}
each = pytest.mark.parametrize("name", SAMPLES)


def expected_loglik(R: np.ndarray, moment: np.ndarray) -> float:
    """E log p(e) up to a constant, for E[ee'] = moment."""
    return -0.5 * (np.linalg.slogdet(R)[1] + np.trace(np.linalg.solve(R, moment)))


def moments_of(structure: ResidualStructure, moment: np.ndarray) -> np.ndarray:
    """tr(D_r E[ee']) with each D_r made dense."""
    p = structure.pattern
    return np.array([np.sum(p.matrix(unit).toarray() * moment) for unit in np.eye(p.n_coefficients)])


def second_moment(size: int, seed: int) -> np.ndarray:
    e = np.random.default_rng(seed).normal(size=(size, size + 4))
    return e @ e.T / (size + 4)


def check_against(s: ResidualStructure, phi: np.ndarray, R: np.ndarray) -> None:
    """R⁻¹, log|R| and both products at one φ."""
    inverse = np.linalg.inv(R)
    got = s.pattern.matrix(s.coefficients(phi)).toarray()
    np.testing.assert_allclose(got, inverse, rtol=1e-9, atol=1e-11 * np.abs(inverse).max())
    assert s.logdet(phi) == pytest.approx(np.linalg.slogdet(R)[1], rel=1e-11, abs=1e-11)
    v = np.random.default_rng(1).normal(size=(len(R), 3))
    scale = np.abs(R).max()
    np.testing.assert_allclose(s.multiply(phi, v), R @ v, rtol=1e-11, atol=1e-12 * scale)
    np.testing.assert_allclose(s.multiply(phi, v[:, 0]), R @ v[:, 0], rtol=1e-11, atol=1e-12 * scale)
    np.testing.assert_allclose(s.precision(phi, s.multiply(phi, v)), v, rtol=1e-9, atol=1e-11)


# -- the contract ------------------------------------------------------------------------------


@each
def test_sizes_names_and_bounds(name):
    sample = SAMPLES[name]()
    s, phi = sample.structure, sample.phi
    assert len(s.names) == len(set(s.names)) == s.n_parameters == len(phi) == len(s.lower) == len(s.upper)
    assert s.pattern.n == sample.n + s.n_filled == len(sample.dense(phi))
    assert np.all(s.pattern.rows >= s.pattern.columns)
    assert len(s.coefficients(phi)) == s.pattern.n_coefficients
    assert s.jacobian(phi).shape == (len(phi), s.pattern.n_coefficients)
    assert isinstance(s.keyword, str)
    assert np.all((phi > s.lower) & (phi < s.upper)) and s.feasible(phi)
    empty = s.multiply(phi, np.empty((s.pattern.n, 0)))
    assert empty.shape == (s.pattern.n, 0)


@each
def test_precision_determinant_and_products(name):
    sample = SAMPLES[name]()
    check_against(sample.structure, sample.phi, sample.dense(sample.phi))


@each
def test_derivatives(name):
    s, phi = (sample := SAMPLES[name]()).structure, sample.phi
    np.testing.assert_allclose(s.jacobian(phi).T, differences(s.coefficients, phi), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(s.logdet_gradient(phi), differences(s.logdet, phi), rtol=1e-7, atol=1e-8)


@each
def test_information_by_its_definition(name):
    s, phi, dense = (sample := SAMPLES[name]()).structure, sample.phi, sample.dense
    dot = np.moveaxis(differences(dense, phi), -1, 0)
    solved = np.linalg.solve(dense(phi), dot)
    expected = 0.5 * np.einsum("iab,jba->ij", solved, solved)
    np.testing.assert_allclose(s.information(phi), expected, rtol=1e-7, atol=1e-7)


@each
def test_moments_of_the_pattern(name):
    s = SAMPLES[name]().structure
    e = np.random.default_rng(5).normal(size=s.pattern.n)
    np.testing.assert_allclose(s.pattern.moments(e), moments_of(s, np.outer(e, e)), rtol=1e-11, atol=1e-12)


@each
def test_start_is_inside_and_of_the_size_of_the_data(name):
    sample = SAMPLES[name]()
    s = sample.structure
    w = getattr(s, "weights", None)
    for variance in (1.7, 1.7e8):
        squares = np.full(sample.n, variance) if w is None else variance / w
        phi = s.start(variance, squares)
        assert np.all((phi > s.lower) & (phi < s.upper)) and s.feasible(phi)
        R = sample.dense(phi)[: sample.n, : sample.n]
        assert np.mean(np.diag(R)) == pytest.approx(np.mean(squares), rel=1.0)


@each
@pytest.mark.parametrize("seed", [1, 2])
def test_maximize_never_lowers_the_expected_loglik_and_reaches_its_maximum(name, seed):
    """From three starts: the structure's own, the sample's φ, and a distant one."""
    sample = SAMPLES[name]()
    s = sample.structure
    # A moment matrix with the dependence of a sample drawn at φ, so that the maximum lies inside.
    root = np.linalg.cholesky(sample.dense(sample.phi))
    moment = root @ (0.3 * second_moment(len(root), seed) + 0.7 * np.eye(len(root))) @ root.T
    moments = moments_of(s, moment)
    own = s.start(1.0, np.ones(sample.n))
    found = []
    for phi in (own, sample.phi, own * np.where(s.upper == 1.0, -0.2 if s.lower.min() < 0 else 0.2, 50.0)):
        if not s.feasible(phi):
            continue
        value = expected_loglik(sample.dense(phi), moment)
        for _ in range(200):
            new = s.maximize(phi, moments)
            after = expected_loglik(sample.dense(new), moment)
            assert after >= value - 1e-10 * (1 + abs(value))
            settled = np.allclose(new, phi, rtol=1e-12, atol=1e-13)
            phi, value = new, after
            if settled:
                break
        found.append(phi)
        score = -0.5 * (s.logdet_gradient(phi) + s.jacobian(phi) @ moments)
        np.testing.assert_allclose(score / np.sqrt(np.diag(s.information(phi))), 0.0, atol=1e-7)
        numeric = differences(lambda p: np.array(expected_loglik(sample.dense(p), moment)), phi)
        np.testing.assert_allclose(numeric / np.sqrt(np.diag(s.information(phi))), 0.0, atol=1e-6)
    for phi in found[1:]:
        np.testing.assert_allclose(phi, found[0], rtol=1e-6, atol=1e-7)


# -- particulars -------------------------------------------------------------------------------


def test_filled_cells_follow_the_records_in_grid_order():
    s = Field(np.array([2, 0, 1]), np.array([1, 0, 1]))
    R = s.multiply(np.array([1.0, 0.5, 0.1]), np.eye(6))
    # The records (2, 1), (0, 0), (1, 1), then the empty cells (0, 1), (1, 0), (2, 0).
    assert s.n_filled == 3
    np.testing.assert_allclose(R[0], [1.0, 0.025, 0.5, 0.25, 0.05, 0.1])


def test_complete_unstructured_is_the_moment_matrix():
    sample = SAMPLES["us, complete"]()
    unit, effect = complete(3, 5)
    moment = second_moment(15, 3)
    expected = np.zeros((3, 3))
    for u in np.unique(unit):
        place = np.flatnonzero(unit == u)[np.argsort(effect[unit == u])]
        expected += moment[np.ix_(place, place)] / 5
    got = sample.structure.maximize(sample.phi, moments_of(sample.structure, moment))
    np.testing.assert_allclose(vech(3)(got), expected, rtol=1e-12)


def test_em_of_missing_effects_by_completing_each_unit():
    sample = SAMPLES["us, missing"]()
    unit, effect, sigma = UNIT[KEEP], EFFECT[KEEP], vech(3)(sample.phi)
    moment = second_moment(13, 3)
    total = np.zeros((3, 3))
    for u in np.unique(unit):
        place = np.flatnonzero(unit == u)
        o = effect[place]
        B = sigma[:, o] @ np.linalg.inv(sigma[np.ix_(o, o)])
        total += B @ moment[np.ix_(place, place)] @ B.T + sigma - B @ sigma[o]
    got = sample.structure._em(sample.phi, moments_of(sample.structure, moment))
    np.testing.assert_allclose(vech(3)(got), total / len(np.unique(unit)), rtol=1e-12)


def test_matrices_carry_labels():
    us, ar1 = SAMPLES["us, missing"](), autoregressive(0.3)
    ((label, (names, sigma)),) = us.structure.matrices(us.phi).items()
    assert (label, names) == ("", effects(3))
    np.testing.assert_allclose(sigma, vech(3)(us.phi))
    both = Sections([us.structure, ar1.structure], [np.arange(13), np.arange(13, 26)], ["A", "B"])
    assert list(both.matrices(np.concatenate([us.phi, ar1.phi]))) == ["A"]
    assert both.names[0] == "A: var(e0)" and both.names[-1] == "B: correlation"


def test_names_are_those_of_the_dimensions():
    s = Field(ROWS, COLUMNS, labels=("range", "plot"))
    assert s.names == ("variance", "correlation(range)", "correlation(plot)")
    assert Field(ROWS, COLUMNS, ("id", "ar1")).names == ("variance", "correlation(column)")


def test_what_repeats_is_named():
    unit, effect = np.array([4, 4, 5, 5, 4]), np.array([0, 1, 0, 1, 0])
    assert Blocks.repeated(unit, effect).tolist() == [4]
    with pytest.raises(DataError, match="4"):
        Blocks(Unstructured(effects(2)), unit, effect)
    x = np.array([0.1 + 0.2, 1.0, 0.3, 0.3])
    subject = np.array([8, 8, 8, 9])
    assert Exponential.repeated(x, subject).tolist() == [8], "0.1 + 0.2 and 0.3 are one position"
    with pytest.raises(DataError, match="8"):
        Exponential(x, subject)
    row, column = np.array([0, 1, 0, 1]), np.array([0, 1, 0, 0])
    assert Field.repeated(row, column).tolist() == [[0, 0]]
    with pytest.raises(DataError, match=r"\(0, 0\)"):
        Field(row, column)


def test_what_cannot_be_estimated_is_refused():
    with pytest.raises(DataError, match="'b'"):
        GroupedUnits(np.array([0, 0]), ("a", "b"))
    with pytest.raises(DataError, match="e1"):
        Blocks(Unstructured(effects(2)), np.array([0, 1]), np.array([0, 0]))
    with pytest.raises(DataError, match="two records"):
        Exponential(np.array([0.0, 1.0]), np.array([0, 1]))
    with pytest.raises(DataError, match="integers"):
        Autoregressive(np.array([0.0, 1.5]), np.array([0, 0]))
    with pytest.raises(DataError, match="row"):
        Field(np.zeros(3, int), np.arange(3))
    with pytest.raises(DataError, match="same"):
        Power(np.full(4, 2.0))
    with pytest.raises(DataError, match="0"):
        Power(np.array([1.0, 0.0]))
    with pytest.raises(DataError, match="once"):
        Sections([Units(np.ones(2))], [np.array([0, 0])], ["a"])


def test_a_covariance_matrix_that_is_not_positive_definite():
    s = SAMPLES["us, missing"]().structure
    for phi in ([1.0, 1.0, 1.0, 0.0, 0.0, 1.0], [1.0, 2.0, 1.0, 0.0, 0.0, 1.0], [-1.0, 0.0, 1.0, 0.0, 0.0, 1.0]):
        assert not s.feasible(np.array(phi))
    with pytest.raises(NotPositiveDefiniteError):
        s.coefficients(np.array([1.0, 2.0, 1.0, 0.0, 0.0, 1.0]))
    assert s.feasible(np.array([1e-9, 0.0, 1.0, 0.0, 0.0, 1e9])), "feasible whatever the units of the effects"


def test_a_structure_of_reduced_rank_is_refused():
    class Line(DampedToeplitz):
        n_factors = 1

    with pytest.raises(ModelError, match="singular"):
        Blocks(Line(effects(2)), np.array([0, 0]), np.array([0, 1]))


def test_two_effects_never_seen_together_do_not_stop_the_m_step():
    s = Blocks(Unstructured(effects(2)), np.arange(6), np.array([0, 1, 0, 1, 0, 1]))
    moments = np.array([6.0, 3.0])
    np.testing.assert_allclose(s.maximize(np.array([1.0, 0.3, 1.0]), moments), [2.0, 0.3, 1.0], rtol=1e-12)


def test_equal_gaps_are_one_coefficient_whatever_their_rounding():
    x = np.cumsum(np.full(50, 0.1))
    assert Exponential(x, np.zeros(50, int)).pattern.n_coefficients == 3
    assert Autoregressive(np.array([1, 2, 4, 8, 9]), np.zeros(5, int)).pattern.n_coefficients == 1 + 2 * 3


def test_correlations_near_one_keep_their_digits():
    """log|R| and the information of a pair at correlation 1 − 1e-13, by their expansions in 1 − r."""
    gap = 1e-13
    s = Exponential(np.array([0.0, 1.0]), np.zeros(2, int))
    phi = np.array([1.0, 1.0 - gap])
    exact = 1.0 - phi[1]
    assert s.logdet(phi) == pytest.approx(np.log(2.0 * exact), rel=1e-12)
    assert s.information(phi)[1, 1] == pytest.approx(1.0 / (2.0 * exact**2), rel=1e-9)
    field = Field(np.arange(2), None, ("ar1",))
    assert field.logdet(phi) == pytest.approx(np.log(2.0 * exact), rel=1e-12)


def test_zero_correlation_over_large_gaps():
    s = Autoregressive(np.array([0, 1, 5000]), np.zeros(3, int))
    check_against(s, np.array([2.0, 0.0]), 2.0 * np.eye(3))
    np.testing.assert_allclose(s.jacobian(np.array([2.0, 0.0]))[1], [0.0, 0.0, -0.5, 0.0, 0.0])
    assert np.all(np.isfinite(Exponential(np.array([0, 0.2, 1]), np.zeros(3, int)).jacobian(np.array([2.0, 0.0]))))


def test_the_power_of_a_covariate_in_any_unit():
    """σ² is the variance at |x| = 1, so that another unit of x changes σ² and leaves δ."""
    x = np.array([0.5, 2.0, 3.0, 2.0, 7.0, 11.0, 0.5, 4.0, 5.0])
    squares = np.random.default_rng(1).chisquare(1, 9) * x
    found = []
    for unit in (1.0, 1e-6, 1e6):
        s = Power(unit * x)
        phi = s.start(1.0, squares)
        for _ in range(30):
            phi = s.maximize(phi, s.pattern.moments(np.sqrt(squares)))
        found.append([phi[0] * unit ** (2 * phi[1]), phi[1]])
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-7)


def test_start_has_the_variances_of_the_groups_and_effects():
    squares = np.array([1.0, 4.0, 3.0, 0.0])
    assert GroupedUnits(np.array([0, 1, 0, 1]), "ab").start(1.0, squares).tolist() == [2.0, 2.0]
    s = Blocks(Unstructured(effects(2)), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    np.testing.assert_allclose(s.start(1.0, np.array([1.0, 1e8, 3.0, 1e8])), [2.0, 0.0, 1e8], rtol=1e-12)


# -- any pattern -------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_blocks_with_any_pattern_of_missing_effects(data):
    t = data.draw(st.integers(1, 5))
    seen = [data.draw(st.sets(st.integers(0, t - 1), min_size=1)) for _ in range(data.draw(st.integers(1, 7)))]
    seen.append(set(range(t)))
    unit = np.concatenate([[37 - 5 * k] * len(s) for k, s in enumerate(seen)])
    effect = np.concatenate([sorted(s) for s in seen])
    order = np.array(data.draw(st.permutations(range(len(unit)))))
    unit, effect = unit[order], effect[order]
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    root = random.normal(size=(t, t + 2))
    phi = (root @ root.T + 0.2 * np.eye(t))[np.tril_indices(t)]
    w = random.uniform(0.5, 2.0, len(unit)) if data.draw(st.booleans()) else None
    s = Blocks(Unstructured(effects(t)), unit, effect, w)
    assert s.pattern.n_coefficients == sum(k * (k + 1) // 2 for k in map(len, set(map(frozenset, seen))))
    check_against(s, phi, dense_blocks(vech(t), unit, effect, w)(phi))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_autoregression_with_any_occasions_missing(data):
    seen = [
        sorted(data.draw(st.sets(st.integers(0, 12), min_size=1, max_size=8)))
        for _ in range(data.draw(st.integers(1, 5)))
    ]
    seen.append([3, 4])
    subject = np.concatenate([[k] * len(s) for k, s in enumerate(seen)])
    order = np.array(data.draw(st.permutations(range(len(subject)))))
    subject, occasion = subject[order], np.concatenate(seen)[order]
    r = data.draw(st.floats(-0.95, 0.95))
    phi = np.array([data.draw(st.floats(0.1, 10.0)), r])
    s = Autoregressive(occasion, subject)
    R = dense_power_of_distance(occasion, subject)(phi)
    check_against(s, phi, R)
    if r >= 0:
        check_against(Exponential(occasion * 1.0, subject), phi, R)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_fields_with_any_plots_missing(data):
    extent = data.draw(st.tuples(st.integers(2, 4), st.integers(2, 4)))
    cells = data.draw(st.permutations([(i, j) for i in range(extent[0]) for j in range(extent[1])]))
    kept = cells[: data.draw(st.integers(1, len(cells)))]
    kept = [*kept, *({(extent[0] - 1, extent[1] - 1)} - set(kept))]
    axes = [np.array([c[k] for c in kept]) for k in range(2)]
    phi = np.array([1.3, data.draw(st.floats(-0.9, 0.9)), data.draw(st.floats(-0.9, 0.9))])
    s = Field(*axes)
    assert s.n_filled == len(cells) - len(kept)
    check_against(s, phi, dense_field(axes, ("ar1", "ar1"))(phi))


@pytest.mark.parametrize("capacity", [1, 40, 10**6])
def test_many_patterns_in_small_stacks(capacity, monkeypatch):
    """Derivatives are worked through in parts when there are many patterns; 12 effects give hundreds."""
    monkeypatch.setattr("remlblup.structure.residual.blocks.CAPACITY", capacity)
    seen = np.random.default_rng(3).uniform(size=(60, 4)) < 0.6
    seen[0] = True
    unit, effect = np.nonzero(seen)
    s = Blocks(DampedToeplitz(effects(4)), unit, effect)
    phi = np.array([1.3, 0.5])
    dense = dense_blocks(damped, unit, effect)
    check_against(s, phi, dense(phi))
    dot = np.moveaxis(differences(dense, phi), -1, 0)
    solved = np.linalg.solve(dense(phi), dot)
    np.testing.assert_allclose(s.information(phi), 0.5 * np.einsum("iab,jba->ij", solved, solved), rtol=1e-7)


def test_a_long_unit_does_not_overflow_its_pattern():
    """200 effects: patterns are told apart though 200^80 exceeds any integer."""
    random = np.random.default_rng(6)
    picks = [np.sort(random.permutation(200)[:80]) for _ in range(4)]
    picks.append(picks[0])
    picks.append(np.arange(200))
    unit = np.repeat(np.arange(6), [len(p) for p in picks])
    effect = np.concatenate(picks)
    s = Blocks(DampedToeplitz(effects(200)), unit, effect)
    assert s.pattern.n_coefficients == 4 * 80 * 81 // 2 + 200 * 201 // 2
    phi = np.array([1.0, 0.5])
    R = scipy.linalg.block_diag(*(0.5 ** np.abs(np.subtract.outer(p, p)) for p in picks))
    assert s.logdet(phi) == pytest.approx(np.linalg.slogdet(R)[1], rel=1e-11)
