"""The memory a model takes in a process of its own, beside what `MixedModel.describe` predicts.

Measured is the largest resident memory (VmHWM of Linux) above what the process holds when the model has been
made: data, relationships and the compiled functions are there before. What a model takes of the interpreter's own heap
that was free already cannot be seen: below some megabytes a measured figure means little.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remlblup.validation.memory.models import EVERY

LIMIT = 0.20
"""A prediction is right within this share of what is measured …"""

FLOOR = 25e6
"""… and so many bytes, which the libraries take for themselves."""


def status(field: str) -> float:
    """A figure of /proc/self/status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return float(line.split()[1]) * 1024.0


def forget_peak() -> float:
    """Give back what is free, forget the largest memory so far; bytes held now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def load_everything() -> None:
    """Load all modules and compiled functions, by small fits: they are not of the model."""
    import remlblup as rb
    from remlblup.warmup import warm_up

    warm_up()
    for engine in ("sparse", "dense"):
        fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff"), engine=engine).fit(progress=False)
        str(fit.summary()), fit.random_effects


def measure(name: str) -> dict[str, Any]:
    """Fit a model and make its tables, here; bytes predicted and measured."""
    return measured_model(EVERY[name][1])


def measured_model(make: Callable[[], Any], **options: Any) -> dict[str, Any]:
    """The same of any model, fitted with these options."""
    load_everything()
    model = make()
    before = forget_peak()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(progress=False, **options)
        of_fit = status("VmHWM") - before
        str(fit.summary())
        assert len(fit.random_effects)
        of_all = status("VmHWM") - before
    memory = model.describe().memory
    return {
        "fit": of_fit,
        "all": of_all,
        "predicted_fit": memory.fit,
        "predicted_all": memory.all,
        "iterations": len(fit.history),
        "converged": fit.converged,
        "engine": fit._equations.stats.engine,
    }


def measured_apart(name: str) -> dict[str, Any]:
    """`measure` in a process of its own."""
    code = f"import json; from remlblup.validation.memory.measured import measure; print(json.dumps(measure({name!r})))"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def within(predicted: float, measured: float) -> bool:
    """Whether a prediction is right."""
    return abs(predicted - measured) <= max(LIMIT * measured, FLOOR)
