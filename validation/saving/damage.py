"""Small fits to save, and the ways in which a saved folder is damaged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup.result import Fit


def small_fit(seed: int = 1) -> Fit:
    """A pedigree, a dense matrix, a factor with an order and a text that looks like a formula of a spreadsheet."""
    rng = np.random.default_rng(seed)
    ids = [f"a{k}" for k in range(8)]
    pedigree = rb.Pedigree(
        ids, [None] * 3 + ["a0", "a0", "a2", "a3", "a3"], [None] * 3 + ["a1", "a1", "a1", "a4", "a5"]
    )
    lines = ["u", "v", "=w", "x", "y", "-z"]
    M = rng.normal(size=(6, 15))
    K = pd.DataFrame(M @ M.T / 15, index=lines, columns=lines)
    n = 32
    line = np.resize(range(6), n)
    u, v = (
        np.linalg.cholesky(pedigree.dense()) @ rng.normal(size=8),
        np.linalg.cholesky(K.to_numpy()) @ rng.normal(size=6),
    )
    data = pd.DataFrame({"id": np.tile(ids, 4), "line": np.array(lines)[line], "x": rng.normal(size=n)})
    data["f"] = pd.Categorical(np.resize(["lo", "hi", "mid"], n), categories=["lo", "mid", "hi"], ordered=True)
    data["y"] = 1 + data["x"] + np.tile(u, 4) + v[line] + 0.7 * rng.normal(size=n)
    formula = "y ~ x + f + (1 | vm(id, A)) + (1 | vm(line, K))"
    return rb.MixedModel(formula, data, {"A": pedigree, "K": K}).fit()


def state(fit: Fit) -> str:
    """Everything a fit says, as text; numbers to ten digits."""
    parts = [fit.formula, str(fit.convergence), str(fit.status), fit.method, f"{fit.loglik:.10g}"]
    for name in ("variance_components", "fixed_effects", "random_effects", "history"):
        table = getattr(fit, name).reset_index().drop(columns="seconds", errors="ignore")
        parts.append(table.to_csv(float_format="%.10g"))
    parts.append(pd.Series(fit.residuals).round(9).to_csv())
    return "\n".join(map(str, parts))


def damage(folder: Path, other: Path, rng: np.random.Generator) -> str:
    """Damage one file of a folder in one of many ways; says how. `other` is the folder of another fit."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    path = files[rng.integers(len(files))] if rng.random() < 0.6 else folder / "fit.json"
    ways = [truncated, swapped, digit_changed, deleted, byte_changed, line_dropped, line_doubled, emptied, exchanged]
    ways += [
        json_of_another_shape,
        json_key_dropped,
        json_value_changed,
        checksums_dropped,
        a_folder,
        a_link,
        two_files_swapped,
    ]
    way: Callable[[Path, Path, np.random.Generator], object] = ways[rng.integers(len(ways))]
    target = folder / "fit.json" if way.__name__.startswith(("json", "checksums")) else path
    twin = other / target.relative_to(folder)
    way(target, twin, rng)
    return f"{target.name}: {way.__name__}"


def truncated(path: Path, twin: Path, rng: np.random.Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.integers(len(content))])


def swapped(path: Path, twin: Path, rng: np.random.Generator) -> None:
    if twin.exists():
        shutil.copy(twin, path)


def digit_changed(path: Path, twin: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    places = [k for k, c in enumerate(content) if 48 <= c < 58]
    if places:
        k = places[rng.integers(len(places))]
        content[k] = 48 + (content[k] - 48 + rng.integers(1, 10)) % 10
        path.write_bytes(content)


def deleted(path: Path, twin: Path, rng: np.random.Generator) -> None:
    path.unlink()


def byte_changed(path: Path, twin: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] = rng.integers(256)
    path.write_bytes(content)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def line_dropped(path: Path, twin: Path, rng: np.random.Generator) -> None:
    lines = _lines(path)
    del lines[rng.integers(len(lines))]
    path.write_bytes(b"".join(lines))


def line_doubled(path: Path, twin: Path, rng: np.random.Generator) -> None:
    lines = _lines(path)
    k = rng.integers(len(lines))
    path.write_bytes(b"".join([*lines[: k + 1], *lines[k:]]))


def emptied(path: Path, twin: Path, rng: np.random.Generator) -> None:
    path.write_bytes(b"")


def exchanged(path: Path, twin: Path, rng: np.random.Generator) -> None:
    """Two lines change places."""
    lines = _lines(path)
    i, j = rng.integers(len(lines), size=2)
    lines[i], lines[j] = lines[j], lines[i]
    path.write_bytes(b"".join(lines))


def json_of_another_shape(path: Path, twin: Path, rng: np.random.Generator) -> None:
    shapes = [
        "[]",
        "null",
        "3",
        '"text"',
        "{}",
        '{"model": []}',
        '{"model": {}}',
        "[" * 5000,
        '{"format": 2}',
        '{"a": NaN}',
        '{"format": 99, "model": {}}',
        '{"format": 2, "model": {}, "files": [], "checksum": "x"}',
    ]
    path.write_text(shapes[rng.integers(len(shapes))], encoding="utf-8")


def _places(value: object, where: tuple = ()) -> list[tuple]:
    """Where the values of nested dicts and lists are."""
    found = [where] if where else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*where, key))
    return found


def _edit(path: Path, rng: np.random.Generator, change: Callable[[object, object], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    places = _places(content)
    where = places[rng.integers(len(places))]
    holder = content
    for key in where[:-1]:
        holder = holder[key]
    change(holder, where[-1])
    path.write_text(json.dumps(content), encoding="utf-8")


def json_key_dropped(path: Path, twin: Path, rng: np.random.Generator) -> None:
    _edit(path, rng, lambda holder, key: holder.pop(key))


def json_value_changed(path: Path, twin: Path, rng: np.random.Generator) -> None:
    values = [None, 0, -1, 2.5, 1e300, True, "", "text", [], {}, [1], {"type": "str"}, "../fit.json", 10**30]
    _edit(path, rng, lambda holder, key: holder.__setitem__(key, values[rng.integers(len(values))]))


def checksums_dropped(path: Path, twin: Path, rng: np.random.Generator) -> None:
    """A folder that passes for one of an earlier version, with another fit's data in it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for key in ("format", "checksum", "files", "engine_asked"):
        content.pop(key, None)
    path.write_text(json.dumps(content), encoding="utf-8")
    for name in ("data.csv", "relationships/A.csv", "relationships/K.npz", "relationships/K.csv"):
        if (twin.parent / name).exists() and rng.random() < 0.7:
            shutil.copy(twin.parent / name, path.parent / name)


def a_folder(path: Path, twin: Path, rng: np.random.Generator) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path, twin: Path, rng: np.random.Generator) -> None:
    """A link to a file of the same name outside the folder."""
    if twin.exists():
        path.unlink()
        path.symlink_to(twin.resolve())


def two_files_swapped(path: Path, twin: Path, rng: np.random.Generator) -> None:
    files = sorted(p for p in path.parent.iterdir() if p.is_file())
    other = files[rng.integers(len(files))]
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)


def outcome(folder: Path, expected: str) -> str:
    """ "same", "refused", or what went wrong, after loading a damaged folder."""
    try:
        fit = rb.load(folder)
        found = state(fit)
    except rb.StoreError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "same" if found == expected else "loads and differs"


SAVER = """
import itertools, sys
from remlblup.validation.saving.damage import small_fit
fits = [small_fit(2), small_fit(3)]
for fit in fits:
    fit.random_effects, fit.fixed_effects
print("ready", flush=True)
for fit in itertools.cycle(fits):
    fit.save(sys.argv[1])
"""


def killed_while_saving(folder: Path, delays: Iterable[float]) -> list[str]:
    """What is in the folder each time after a process that saves over and over is killed."""
    found = []
    for delay in delays:
        saver = subprocess.Popen([sys.executable, "-P", "-c", SAVER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert saver.stdout is not None and saver.stdout.readline() == "ready\n"
        time.sleep(delay)
        os.kill(saver.pid, signal.SIGKILL)
        saver.wait()
        found.append(state(rb.load(folder)))
    return found
