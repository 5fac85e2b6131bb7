"""V on another device than this machine: the same algebra by the array API standard, here on this machine's processor.

The standard itself (array-api-strict refuses all that is not in it) and PyTorch stand for the card.
"""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from equations import models, structures
from remlblup.cross_validation import training_model
from remlblup.equations.variance.engine import VarianceEquations
from remlblup.linalg.device import card, libraries, recursive
from remlblup.linalg.device.host import HOST
from remlblup.linalg.device.libraries import Library
from remlblup.linalg.device.place import placed
from remlblup.reml.likelihood import log_likelihood
from remlblup.reml.score import score
from remlblup.reml.start import residual_variance, unit_matrices

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def strict() -> Library:
    return libraries.standard_library(pytest.importorskip("array_api_strict"), "array-api-strict")


def torch() -> Library:
    pytest.importorskip("torch").set_num_threads(1)
    return libraries.torch_library(importlib.import_module("array_api_compat.torch"), "cpu")


def put_in_place(library: Library, monkeypatch) -> None:
    """A library in place of that of a card, and tiles so small that there are many."""
    monkeypatch.setattr(libraries, "found", lambda: library)
    for module, name, value in ((recursive, "TILE", 8), (card, "TILE", 8), (card, "BLOCK", 1)):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def quick(monkeypatch) -> None:
    """numpy in place of a card, through the same algebra: where only the way to it is of interest."""
    xp = pytest.importorskip("array_api_compat.numpy")
    put_in_place(libraries.standard_library(xp, "numpy"), monkeypatch)


@pytest.fixture(params=[strict, torch], ids=["standard", "torch"])
def library(request, monkeypatch) -> Library:
    made = request.param()
    put_in_place(made, monkeypatch)
    return made


@pytest.mark.parametrize("n", [1, 8, 9, 40, 61])
def test_factor_solves_and_inverse(library, n):
    A = np.random.default_rng(n).normal(size=(n, 2 * n))
    A = A @ A.T + 0.1 * np.eye(n)
    B = np.random.default_rng(1).normal(size=(n, 3))
    lower = np.where(np.tri(n, dtype=bool), A, np.nan)  # what lies above is not read
    factor = placed("cuda").cholesky(library.array(lower), 1e-12)
    expected = np.linalg.inv(A)
    assert factor.logdet == pytest.approx(np.linalg.slogdet(A)[1], rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(library.host(factor.solve(library.array(B))), expected @ B, **CLOSE)
    np.testing.assert_allclose(library.host(factor.inverse()), expected, **CLOSE)
    np.testing.assert_allclose(library.host(factor.solve(library.array(B))), expected @ B, **CLOSE)


def test_pivots_are_judged_by_the_diagonal_as_it_was(library):
    """A matrix that is singular but for rounding in a later tile is refused as it is here."""
    B = np.random.default_rng(2).normal(size=(30, 30))
    for nearly in (1e-4, 1e-5):
        B[20] = B[3] + nearly * np.arange(30) / 30
        A = B @ B.T
        here = HOST.cholesky(A.copy(), 1e-12)
        there = placed("cuda").cholesky(library.array(A), 1e-12)
        assert there.smallest_pivot == pytest.approx(here.smallest_pivot, rel=1e-2)
        with pytest.raises(rb.NotPositiveDefiniteError):
            placed("cuda").cholesky(library.array(A), 2.0 * here.smallest_pivot)


@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan])
@pytest.mark.parametrize("at", [0, 30])
def test_what_is_not_positive_definite_is_named(library, bad, at):
    A = np.eye(31)
    A[at, at] = bad
    with pytest.raises(rb.NotPositiveDefiniteError, match="order 31"):
        placed("cuda").cholesky(library.array(A), 1e-12)


# One case for each way in which a term spreads over V, a relationship is read, and R is added and asked for its slopes.
CASES = [
    "us, pedigree",
    "fa, identity",
    "known_singular, pedigree",
    "R: units, weights",
    "R: traits",
    "R: ar1(site | subject) + units",
    "R: us(site | subject) | trial",
    "R: power(z) | trial",
    "R: field + units",
    "R: line",
]


@pytest.mark.parametrize(
    "name", [*(f"structure: {name}" for name in CASES), "model: crossed", "model: vm", "model: wide"]
)
@pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])
def test_every_kind_of_model_has_the_same_numbers(name, ml, monkeypatch):
    put_in_place(strict(), monkeypatch)
    kind, _, name = name.partition(": ")
    if kind == "model":
        c = models.case(name)
        assert_same_numbers(c.model.specification, c.points[0], ml)
    else:
        c = structures.case(name)
        assert_same_numbers(c.equations("dense").spec, c.theta, ml)


def assert_same_numbers(spec, theta, ml: bool = False) -> VarianceEquations:
    """ℓ, score, information, effects and errors by both; the equations on the device."""
    found = []
    for device in ("cpu", "cuda"):
        equations = VarianceEquations(spec, device=device)
        solution = equations.solve(theta, ml=ml)
        slopes = score(equations, solution, unit_matrices(equations, residual_variance(equations)), ml)
        found.append([
            log_likelihood(equations, solution, ml), solution.quadratic, slopes.gradient,
            equations.average_information(slopes.solution), solution.effects, equations.fixed_covariance(solution),
            *equations.level_covariances(solution),
        ])  # fmt: skip
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9 * np.max(np.abs(ours), initial=0.0))
    return equations


def test_terms_that_are_multiplied_out_and_records_of_one_effect_among_many(monkeypatch):
    """Two levels a record; and nearly as many effects as records, over a relationship and without."""
    put_in_place(strict(), monkeypatch)
    d, K = lines()
    n = len(d)
    d = d.assign(other=np.roll(d["line"], 3), place=np.arange(n) % 20)
    for formula, way in {
        "y ~ x + (1 | vm(line, A) + 0.5*vm(other, A))": lambda s: s.single is None and s.codes is None,
        "y ~ x + corh(place | vm(line, A))": lambda s: s.single is not None and s.K is not None,
        "y ~ x + corh(place | line)": lambda s: s.single is not None and s.K is None,
    }.items():
        spec = rb.MixedModel(formula, d, K).specification
        theta = np.linspace(0.3, 0.9, spec.parameters.size)  # a correlation may be any of these
        assert way(assert_same_numbers(spec, theta).spreads[0]), formula


# -- fits ----------------------------------------------------------------------------------------


def lines(n: int = 24) -> tuple[pd.DataFrame, dict]:
    """Records of lines under two relationships, each line twice or not at all, in no order."""
    rng = np.random.default_rng(5)
    M = rng.normal(size=(n, 3 * n))
    K = {"A": M[:, :n] @ M[:, :n].T / n, "B": M[:, n:] @ M[:, n:].T / (2 * n)}
    line = rng.permutation(np.repeat(np.arange(n - 6), 2))
    d = pd.DataFrame({"line": line, "x": rng.normal(size=len(line)), "site": rng.integers(0, 3, len(line))})
    u = np.linalg.cholesky(K["A"]) @ rng.normal(size=n) + np.linalg.cholesky(K["B"]) @ rng.normal(size=n)
    d["y"] = 3.0 + d["x"] + u[line] + rng.normal(size=len(line))
    return d, {name: (k, np.arange(n)) for name, k in K.items()}


FORMULAS = {
    "two relationships": ("y ~ x + (1 | site) + (1 | vm(line, A)) + (1 | vm(line, B))", "units"),
    "slopes": ("y ~ x + us(1 + x | vm(line, A))", "diag(site | units)"),
}


def fits(name: str, method: str = "REML", once: bool = False, **options) -> list[rb.Fit]:
    """The same fit here and on the device; of one record per line, if only `once`."""
    formula, residual = FORMULAS[name]
    d, K = lines()
    d = d.drop_duplicates("line") if once else d
    return [
        rb.MixedModel(formula, d, K, residual, engine="dense", device=device).fit(method, progress=False, **options)
        for device in ("cpu", "cuda")
    ]


def assert_same(here: rb.Fit, there: rb.Fit) -> None:
    assert here.converged and there.converged
    assert there.loglik == pytest.approx(here.loglik, rel=1e-9)
    np.testing.assert_allclose(there.theta, here.theta, rtol=1e-7)
    for table in ("random_effects", "fixed_effects", "variance_components"):
        pd.testing.assert_frame_equal(getattr(there, table), getattr(here, table), rtol=1e-6, atol=1e-9, obj=table)


@pytest.mark.parametrize(
    ("made", "name", "method"),
    [(strict, "two relationships", "REML"), (torch, "two relationships", "ML"), (torch, "slopes", "REML")],
)
def test_fits(made, name, method, monkeypatch):
    put_in_place(made(), monkeypatch)
    here, there = fits(name, method)
    assert_same(here, there)
    new = lines()[0].head(5)
    np.testing.assert_allclose(there.predict(new), here.predict(new), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(there.residuals, here.residuals, rtol=1e-7, atol=1e-7)


def test_relationships_that_the_device_has_no_room_for_are_read_here(quick, monkeypatch):
    whole = fits("two relationships")
    assert [s.resident is not None for s in whole[1]._equations.spreads] == [False, True, True]
    monkeypatch.setattr(card.Card, "kept", lambda self, K, n: None)
    streamed = fits("two relationships")[1]
    assert all(s.resident is None for s in streamed._equations.spreads)
    assert streamed.loglik == pytest.approx(whole[1].loglik, rel=1e-12)
    assert_same(whole[0], streamed)


def test_without_residual_variance(quick):
    """V with the residual among the effects is worked with there too."""
    here, there = fits("two relationships", once=True, fix={"residual": 0.0})
    assert there._equations.kind == "V with the residual among the effects"
    assert there._equations.searched.place.note and there._equations.asked.device == "cuda"
    assert_same(here, there)


def test_what_is_made_again_is_made_there(quick):
    there = fits("two relationships")[1]
    y = lines()[0]["y"].to_numpy() + np.random.default_rng(0).normal(size=len(there.residuals))
    assert there.refit(y)._equations.place.note
    drawn = there.bootstrap(2, seed=1, progress=False)
    assert len(drawn.estimates) == 2
    again = there.check_starts(1, progress=False)
    assert len(again.table) == 1
    own = training_model(there, np.arange(30))
    assert own.computation == there._equations.asked


def test_copies_and_pickles(quick):
    there = fits("slopes")[1]
    for again in (copy.deepcopy(there), pickle.loads(pickle.dumps(there))):
        assert_same(there, again)


def test_a_saved_fit_says_where_it_was_made_and_loads_anywhere(quick, tmp_path, monkeypatch):
    here, there = fits("slopes")
    folder = there.save(tmp_path / "fit")
    assert json.loads((folder / "fit.json").read_text())["device"] == "cuda"
    monkeypatch.setattr(libraries, "found", lambda: pytest.fail("a card is looked for"))
    loaded = rb.load(folder)
    assert loaded._equations.asked.device == "cpu"
    assert_same(here, loaded)
    assert rb.load(loaded.save(tmp_path / "again")).to_dict()["device"] == "cuda"
    assert loaded.refit(loaded.specification.y).to_dict()["device"] == "cpu"


def test_a_checkpoint_goes_on_where_it_was_begun(quick, tmp_path):
    d, K = lines()
    formula, residual = FORMULAS["slopes"]
    model = rb.MixedModel(formula, d, K, residual, engine="dense", device="cuda")
    with pytest.warns(rb.ConvergenceWarning):
        model.fit(progress=False, max_iterations=2, checkpoint=tmp_path / "state.npz")
    with pytest.raises(rb.CheckpointError, match="device"):
        rb.MixedModel(formula, d, K, residual, engine="dense").fit(progress=False, checkpoint=tmp_path / "state.npz")
    assert model.fit(progress=False, checkpoint=tmp_path / "state.npz").converged


# -- what cannot be ------------------------------------------------------------------------------


def model(formula: str = FORMULAS["slopes"][0], residual: str = "units", **options) -> rb.MixedModel:
    d, K = lines()
    return rb.MixedModel(formula, d.assign(row=np.arange(len(d)) // 17, col=np.arange(len(d)) % 17), K, residual,
                         engine="dense", device="cuda", **options)  # fmt: skip


def test_what_v_cannot_do_is_refused(quick):
    with pytest.raises(rb.OptionError, match=r"device='cuda' works with V itself, and .* is written in its factor"):
        model("y ~ x + rr(site | vm(line, A), k=1)").describe()


def test_no_library_and_no_card(monkeypatch):
    absent = dict.fromkeys(("array_api_compat", "array_api_compat.cupy", "array_api_compat.torch"))
    with monkeypatch.context() as without:
        for name in absent:
            without.setitem(sys.modules, name, None)
        with pytest.raises(rb.DependencyError, match=r"array-api-compat and a library .*remlblup\[gpu\]"):
            model().describe()
    pytest.importorskip("torch")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", None)
    with pytest.raises(rb.DeviceError, match=r"none is found: PyTorch .*Leave device= out"):
        model().describe()


def test_a_library_without_its_parts_is_passed_over(monkeypatch):
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", sys.modules[__name__])
    monkeypatch.setitem(sys.modules, "array_api_compat.torch", sys.modules[__name__])
    monkeypatch.setattr(libraries, "cupy_reason", lambda: "")
    monkeypatch.setattr(libraries, "torch_reason", lambda: "PyTorch sees no card")

    for error, said in (
        (ImportError("no libcublas\nand more"), "no libcublas"),
        (ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"), "No module named 'fastrlock'"),
    ):

        def lacking(compat, error=error):
            raise error

        monkeypatch.setattr(libraries, "cupy_library", lacking)
        with pytest.raises(rb.DeviceError, match=rf"cupy does not find .* \({said}\); PyTorch sees no card"):
            libraries.found()


def test_memory_of_the_card_is_asked_for_before_it_is_taken(monkeypatch):
    small = replace(strict(), free=lambda: 1e5)
    monkeypatch.setattr(libraries, "found", lambda: small)
    monkeypatch.setattr(card.Card, "empty", lambda self, n: pytest.fail("taken all the same"))
    with pytest.raises(rb.MemoryLimitError, match=r"36 records.*of its memory; 9.5e-05 GB can be taken \(array-api"):
        model().fit(progress=False)


class Exhausted(RuntimeError):
    """What a library raises when a card has no more memory."""


WRONG = [
    (Exhausted("Tried to allocate 3 GiB.\nMore"), rb.MemoryLimitError, r"out of memory .*: Tried to allocate 3 GiB\."),
    (RuntimeError("CUDA error: launch failed"), rb.DeviceError, "the card failed .*: CUDA error: launch failed"),
]


@pytest.mark.parametrize(("error", "named", "said"), WRONG, ids=["memory", "failure"])
@pytest.mark.parametrize("where", ["_factorise", "_invert", "solve"])
def test_what_goes_wrong_on_the_card_is_named(error, named, said, where, monkeypatch):
    put_in_place(replace(strict(), exhausted=(Exhausted,), failed=(RuntimeError,)), monkeypatch)
    made = model()

    def fails(*_):
        raise error

    monkeypatch.setattr(recursive.RecursiveCholesky, where, fails)
    with pytest.raises(named, match=said):
        made.fit(progress=False)
