"""Limits of memory as the system states them, and memory that runs out."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.linalg import memory, memory_limits
from remlblup.linalg.memory import Need, is_out_of_memory, within_memory

GB = 2**30
resource = pytest.importorskip("resource")


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Files of a system of our own, without limits of the process: call it with {path: text}."""
    monkeypatch.delenv("REMLBLUP_MEMORY_GB", raising=False)
    monkeypatch.setattr(memory_limits, "ROOT", tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def write(files):
        files = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {16 * GB // 1024} kB\n", **files}
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(str(text))
        return memory.available()

    return write


def test_memory_of_the_machine(system):
    limit = system({})
    assert limit.free == 16 * GB
    assert "machine" in limit.name


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
GROUPS = {
    "v2": ({"proc/self/cgroup": "0::/job\n", f"{V2}/job/memory.max": 4 * GB, f"{V2}/job/memory.current": GB}, 3 * GB),
    "v2, cache is free": (
        {"proc/self/cgroup": "0::/job\n", f"{V2}/job/memory.max": 4 * GB, f"{V2}/job/memory.current": 2 * GB,
         f"{V2}/job/memory.stat": f"anon 5\ninactive_file {GB}\n"}, 3 * GB),
    "v2, parent": (
        {"proc/self/cgroup": "0::/user/job\n", f"{V2}/user/job/memory.max": "max", f"{V2}/user/job/memory.current": 0,
         f"{V2}/user/memory.max": 2 * GB, f"{V2}/user/memory.current": GB}, GB),
    "v2, the parent has more": (
        {"proc/self/cgroup": "0::/user/job\n", f"{V2}/user/job/memory.max": GB, f"{V2}/user/job/memory.current": 0,
         f"{V2}/user/memory.max": 8 * GB, f"{V2}/user/memory.current": GB}, GB),
    "v2, in a container": ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": 2 * GB, f"{V2}/memory.current": 0},
                           2 * GB),
    "v2, path of the host": (
        {"proc/self/cgroup": "0::/docker/abc\n", f"{V2}/memory.max": 2 * GB, f"{V2}/memory.current": 0}, 2 * GB),
    "hybrid": (
        {"proc/self/cgroup": "4:pids:/x\n0::/job\n", f"{V2}/unified/job/memory.max": 2 * GB,
         f"{V2}/unified/job/memory.current": 0}, 2 * GB),
    "v1": (
        {"proc/self/cgroup": "7:cpu,memory:/job\n", f"{V1}/job/memory.limit_in_bytes": 4 * GB,
         f"{V1}/job/memory.usage_in_bytes": 2 * GB, f"{V1}/job/memory.stat": f"total_inactive_file {GB}\n"}, 3 * GB),
    "v1, parent": (
        {"proc/self/cgroup": "7:memory:/a/job\n", f"{V1}/a/job/memory.limit_in_bytes": 2**63 - 4096,
         f"{V1}/a/job/memory.usage_in_bytes": 0, f"{V1}/a/memory.limit_in_bytes": 3 * GB,
         f"{V1}/a/memory.usage_in_bytes": GB}, 2 * GB),
    "more used than allowed": (
        {"proc/self/cgroup": "0::/job\n", f"{V2}/job/memory.max": GB, f"{V2}/job/memory.current": 2 * GB}, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_control_groups(system, name):
    files, free = GROUPS[name]
    limit = system(files)
    assert limit.free == free
    assert "control group" in limit.name
    assert "container" in limit.advice


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/job\n", f"{V2}/job/memory.max": "max", f"{V2}/job/memory.current": GB},
        {"proc/self/cgroup": "0::/job\n"},
        {"proc/self/cgroup": "nonsense\n", f"{V2}/memory.max": "?"},
        {"proc/self/cgroup": "3:cpu:/job\n", f"{V2}/job/memory.max": GB, f"{V2}/job/memory.current": 0},
    ],
)
def test_groups_without_a_limit_and_files_that_cannot_be_read(system, files):
    assert system(files).free == 16 * GB


@pytest.mark.parametrize(("which", "option", "free"), [("RLIMIT_AS", "-v", 3 * GB), ("RLIMIT_DATA", "-d", 2 * GB)])
def test_ulimit(system, monkeypatch, which, option, free):
    page = os.sysconf("SC_PAGE_SIZE")
    limited = getattr(resource, which)
    monkeypatch.setattr(
        resource, "getrlimit", lambda w: (4 * GB, 8 * GB) if w == limited else (resource.RLIM_INFINITY,) * 2
    )
    limit = system({"proc/self/statm": f"{GB // page} 1 1 1 0 {2 * GB // page} 0\n"})
    assert limit.free == free
    assert f"ulimit {option}" in limit.name
    assert f"ulimit {option} unlimited" in limit.advice


def test_the_environment_overrides(system, monkeypatch):
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", "0.5")
    assert memory.available() == (5e8, "REMLBLUP_MEMORY_GB", "Use a machine with more memory")
    with pytest.raises(
        rb.MemoryLimitError, match=r"a thing needs 0\.6 GB; 0\.5 GB are free \(REMLBLUP_MEMORY_GB\)\..*, do less"
    ):
        memory.require(6e8, "a thing", "do less")


@pytest.mark.parametrize("said", ["abc", "16GB", "1,5"])
def test_the_environment_is_not_passed_over(monkeypatch, said):
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", said)
    with pytest.raises(rb.OptionError, match="REMLBLUP_MEMORY_GB"):
        memory.available()


def test_needs_one_after_the_other():
    first, second = Need.of(2.0, 5.0), Need.of(1.0, 3.0)
    assert first.then(second) == Need(3.0, 7.0)
    assert second.then(first) == Need(3.0, 8.0)
    assert first.beside(second) == Need(3.0, 11.0)


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (MemoryError("x"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("another"), False),
        (OSError(errno.ENOSPC, "full"), False),
    ],
)
def test_which_errors_mean_memory(error, means):
    assert is_out_of_memory(error) is means

    @within_memory
    def fails():
        raise error

    with pytest.raises(rb.MemoryLimitError if means else type(error)):
        fails()


def frame():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(8), 5)
    return pd.DataFrame({"y": rng.normal(size=8)[g] + rng.normal(size=40), "x": rng.normal(size=40), "g": g})


def ran_out(*_, **__):
    raise MemoryError("Unable to allocate 7.45 GiB for an array with shape (31623, 31623) and data type float64")


def fitted():
    return rb.MixedModel("y ~ x + (1 | g)", frame()).fit(progress=False)


ENTRIES = {
    "MixedModel": ("remlblup.mixed_model.from_formula", lambda fit: rb.MixedModel("y ~ x + (1 | g)", frame())),
    "fit": ("remlblup.equations.henderson.engine.MixedModelEquations.solve",
            lambda fit: rb.MixedModel("y ~ x + (1 | g)", frame()).fit()),
    "equations": ("remlblup.equations.henderson.system.build_layout",
                  lambda fit: rb.MixedModel("y ~ x + (1 | g)", frame()).fit()),
    "solve": ("remlblup.mixed_model.equations_at",
              lambda fit: rb.MixedModel("y ~ x + (1 | g)", frame()).solve({"g": 1.0, "residual": 1.0})),
    "summary": ("remlblup.report.summary.components_table", lambda fit: str(fit.summary())),
    "random_effects": ("remlblup.fit.tables.effects.random_effects", lambda fit: fit.random_effects),
    "fixed_effects": ("remlblup.fit.tables.effects.fixed_effects", lambda fit: fit.fixed_effects),
    "predict": ("remlblup.fit.solved.predict", lambda fit: fit.predict(frame())),
    "fit_many": ("remlblup.many.model_of", lambda fit: rb.fit_many("y ~ x + (1 | g)", frame(), ["y"])),
    "cross_validate": ("remlblup.cross_validation.fold_labels", lambda fit: rb.cross_validate(fit)),
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
def test_memory_that_runs_out_is_told_with_the_figures(monkeypatch, entry):
    place, call = ENTRIES[entry]
    fit = fitted()
    monkeypatch.setattr(place, ran_out)
    with pytest.raises(
        rb.MemoryLimitError, match=r"ran out of memory: unable to allocate 7\.45 GiB.* GB are free"
    ) as caught:
        call(fit)
    if entry in ("fit", "summary", "random_effects", "predict"):
        assert "Predicted were 0.1" in str(caught.value)
    assert caught.value.__context__ is None  # nothing holds the arrays of the failure


def test_load_and_the_command_line(tmp_path, monkeypatch, capsys):
    from remlblup.cli import main

    fitted().save(tmp_path / "fit")
    frame().to_csv(tmp_path / "data.csv", index=False)
    monkeypatch.setattr("remlblup.equations.henderson.system.build_layout", ran_out)
    with pytest.raises(rb.MemoryLimitError, match=r"load ran out of memory.*free"):
        rb.load(tmp_path / "fit")
    assert main(["fit", str(tmp_path / "data.csv"), "y ~ x + (1 | g)"]) == 2
    said = capsys.readouterr().err
    assert "ran out of memory: unable to allocate 7.45 GiB" in said
    assert "are free" in said


UNDER_LIMIT = """
import resource, sys
import numpy as np, pandas as pd
import remlblup as rb
rng = np.random.default_rng(1)
n = 6000
data = pd.DataFrame({"y": rng.normal(size=n), "g": np.arange(n) % 3000, "h": np.arange(n) % 2999})
rb.MixedModel("y ~ 1 + (1 | g)", data[:60], engine="dense").fit(progress=False).summary()
size = float(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (int(size) + 150_000_000,) * 2)
model = rb.MixedModel("y ~ 1 + (1 | g) + (1 | h)", data, engine="dense")
for call in (model.fit, lambda: np.ones((10_000, 10_000)), lambda: rb.MixedModel("y ~ 1 + (1 | g)", data[:60]).fit()):
    try:
        call()
        print("done")
    except MemoryError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what ulimit leaves is read from /proc")
def test_a_process_under_a_real_limit():
    """Equations of order 6,000 take 0.6 GB as a dense matrix with its inverse; small models go on."""
    environment = {k: v for k, v in os.environ.items() if k != "REMLBLUP_MEMORY_GB"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", UNDER_LIMIT],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, "OPENBLAS_NUM_THREADS": "1", "REMLBLUP_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    refused, numpy_itself, small = done.stdout.splitlines()
    assert refused.startswith("MemoryLimitError")
    assert "ulimit -v" in refused
    assert "Unable to allocate" in numpy_itself
    assert small == "done"
