"""The fuzzing itself: what counts as a failure is seen, and a few inputs of every kind are clean."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

pytest.importorskip("hypothesis")

from remlblup.validation.fuzz.kinds import KINDS
from remlblup.validation.fuzz.oracles import checked, dense_loglik, invariant, numerator
from remlblup.validation.fuzz.run import fuzz, script_of
from remlblup.validation.fuzz.workers import LIMIT, Worker

HEAVY = {"models", "folders"}
ENDS = {
    "x = 1": "ok",
    "rb.MixedModel('y ~ x', {'y': [1.0, 2.0]})": "refused",
    "1 / 0": "void",
    "np.float64(1e200) ** 2": "ok",
    "product(1)": "failed",
    "import warnings; warnings.warn_explicit('a number was lost', RuntimeWarning, 'remlblup/x.py', 1)": "failed",
    "import warnings; warnings.warn('of ours', rb.CodesWarning)": "ok",
    "write('a', b'1'); canary()": "failed",
    "write('a', b'1'); canary(['a'])": "ok",
    "import sys; sys.exit(3)": "failed",
    "command('fit')": "ok",
    "checked(rb.MixedModel('y ~ 1', {'y': [1.0, 2.0, 4.0]}).fit(progress=False))": "ok",
    "import os; os.abort()": "crashed",
    "while True: pass": "hung",
    "y = 2": "ok",
}


def test_a_worker_tells_how_a_script_ends():
    with Worker() as worker:
        for script, how in ENDS.items():
            worker.limit = 1.0 if how == "hung" else LIMIT  # of processor time
            assert worker.run(script).how == how, script


def test_a_few_inputs_of_every_kind_are_clean():
    """Derandomized: the same in every run."""
    light = [kind for kind in KINDS if kind not in HEAVY]
    for kinds, inputs in ((light, 4), (HEAVY, 1)):
        found = fuzz(kinds, 0, inputs=inputs, shrink=False, derandomize=True)
        shown = "\n\n".join(script_of(*failure) for failure in found.failures.values())
        assert not found.failures, shown
        assert {kind for kind, _ in found.ends} == set(kinds) and found.clean == found.inputs


def fitted() -> tuple[rb.Fit, pd.DataFrame, str]:
    rng = np.random.default_rng(3)
    d = pd.DataFrame({"g": [f"g{k % 5}" for k in range(30)], "x": rng.normal(size=30)})
    d["y"] = d["x"] + rng.normal(size=5)[np.arange(30) % 5] + rng.normal(size=30)
    return rb.MixedModel("y ~ x + (1 | g)", d).fit(progress=False), d, "y ~ x + (1 | g)"


def test_the_oracles_see_what_is_wrong():
    fit, d, formula = fitted()
    checked(fit, d)
    invariant(fit, formula, d, "g", {})
    assert dense_loglik(fit) == pytest.approx(fit.loglik, abs=1e-9)
    with pytest.raises(AssertionError, match="in another order"):
        invariant(fit, formula, d.assign(y=d["y"] * np.r_[1.01, np.ones(29)]), "g", {})
    fit.__dict__["loglik"] = fit.loglik + 0.01
    with pytest.raises(AssertionError, match="dense"):
        checked(fit)
    pedigree = rb.Pedigree(["a", "b", "c"], [None, None, "a"], [None, None, "b"])
    numerator(pedigree)
    wrong = SimpleNamespace(**{n: getattr(pedigree, n) for n in ("labels", "dam", "dense")}, sire=np.full(3, -1))
    with pytest.raises(AssertionError, match="tabular"):
        numerator(wrong)


def test_the_command_says_that_hypothesis_is_missing(tmp_path):
    (tmp_path / "hypothesis.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'hypothesis'\", name='hypothesis')"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop()); from remlblup.validation.fuzz.__main__ import main; "
        "sys.exit(main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 2 and "pip install hypothesis" in done.stderr


def test_seeds_that_follow_each_other_draw_other_inputs(monkeypatch):
    """The second batch of a seed was the first of the next."""
    from remlblup.validation.fuzz import run

    drawn: list[tuple[str, int]] = []
    monkeypatch.setattr(run, "batch", lambda kind, number, *_: drawn.append((kind, number)))
    for first in (0, 1, 2):
        fuzz(["values"], first, inputs=4 * run.BATCH)
    assert len(set(drawn)) == len(drawn) == 12
