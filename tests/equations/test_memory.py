"""Predicted memory: against what fresh processes take, and what is refused by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.equations import choice
from remlblup.equations.henderson.layout import least_need
from remlblup.equations.memory import ALLOCATOR

LIMIT, FLOOR = 0.20, 10e6
# Models of seconds that take enough to be measured: equations with one dense block, and V made tridiagonal.
MODELS = {
    "equations": "genomic(900, 'sparse')",
    "spectral": "genomic(1400, 'spectral')",
}
CODE = """
import json
from remlblup.validation.memory import models
from remlblup.validation.memory.measured import measured_model
print(json.dumps(measured_model(lambda: models.{model}, max_iterations=2)))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the largest memory is read from /proc")
@pytest.mark.parametrize("name", MODELS)
def test_predicted_memory_is_what_a_process_takes(name):
    pytest.importorskip("remlblup.validation")
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE.format(model=MODELS[name])],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for part in ("fit", "all"):
        predicted, measured = found[f"predicted_{part}"], found[part]
        assert measured > 2.5 * FLOOR
        assert abs(predicted - measured) <= LIMIT * measured + FLOOR, (part, predicted / 1e6, measured / 1e6)


def small_flock():
    flock = rb.datasets.simulate_flock(1500, seed=2)
    pedigree = rb.Pedigree(flock.pedigree["id"], flock.pedigree["sire"], flock.pedigree["dam"])
    return rb.MixedModel("y ~ sex + group + (1 | vm(id, A))", flock.data, {"A": pedigree}, engine="sparse")


def test_the_prediction_is_the_same_before_and_after_the_fit():
    model = small_flock()
    before = model.describe()
    fit = model.fit(progress=False)
    assert fit.random_effects is not None
    assert model.describe().memory == before.memory
    assert before.memory.fit < before.memory.all
    assert "MB for the fit" in str(before)
    assert "with summary and random effects" in str(before)


def test_what_fits_as_a_factor_but_not_as_a_whole_is_refused(monkeypatch):
    """Loop and tables count: between what the factor takes and what all takes from then on, the model is refused."""
    equations = small_flock()._equations
    stats, memory = equations.stats, equations.memory
    assert memory.ahead > 1.2 * stats.memory
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", f"{1.5 * stats.memory / 0.85 / 1e9}")
    with pytest.raises(rb.MemoryLimitError, match=r"the model with a factor of .* needs .* smaller model") as refused:
        small_flock().fit()
    assert "engine='stochastic' works by products" in str(refused.value)
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", f"{1.3 * (stats.memory + memory.ahead) / 0.85 / 1e9}")
    assert small_flock().fit(progress=False).converged


def test_what_is_too_large_is_refused_before_it_is_laid_out(monkeypatch):
    equations = small_flock()._equations
    least = least_need(equations.cross_products, equations.random)
    stats, layout = equations.stats, equations.layout
    assert 1e5 < least < layout.need.kept + stats.memory + 16.0 * layout.nnz + 72.0 * stats.n
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", f"{0.9 * least / 0.85 / 1e9}")
    with pytest.raises(rb.MemoryLimitError, match=r"the system of mixed model equations needs .* engine='stochastic'"):
        small_flock().describe()


def test_the_engine_of_products_is_named_where_it_can_work(monkeypatch):
    data = pd.DataFrame({"y": np.arange(8.0), "t": [0, 1, 2, 3] * 2, "s": list("aaaabbbb")})

    def refusing(*_, **__):
        raise rb.MemoryLimitError("too large.")

    monkeypatch.setattr(choice, "_made", refusing)
    for asked, formula, named in (("auto", "y ~ 1 + (1 | s)", True), ("stochastic", "y ~ 1 + (1 | s)", False)):
        with pytest.raises(rb.MemoryLimitError) as refused:
            rb.MixedModel(formula, data, engine=asked).describe()
        assert ("products" in str(refused.value)) == named
    with pytest.raises(rb.MemoryLimitError, match=r"^too large\.$"):  # written in its factor
        rb.MixedModel("y ~ 1 + rr(t | s, k=1)", data.astype({"t": str})).describe()


@pytest.mark.parametrize("engine", ["dense", "spectral"])
def test_dense_engines_are_refused_by_the_whole_before_anything_is_taken(monkeypatch, engine):
    n = 300
    K = rb.Relationship(0.5 * np.eye(n) + 0.5, np.arange(n))
    data = pd.DataFrame({"y": np.random.default_rng(3).normal(size=n), "id": np.arange(n)})
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", data, {"K": K}, engine=engine)
    needed = model.describe().memory.all
    assert needed > ALLOCATOR * 8.0 * n * n
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", f"{0.9 * needed / 0.85 / 1e9}")
    again = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", data, {"K": K}, engine=engine)
    with pytest.raises(rb.MemoryLimitError, match="300 records"):
        again.fit()
