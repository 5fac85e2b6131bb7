"""The state of a fit on disk after every iteration, and the way back from there.

A checkpoint is a file of arrays (.npz, never pickled) with a checksum: the history of every climb, what else a climb
needs to go on (`reml.journal.State`), and a fingerprint of the model, its data and the options. It is written beside
and renamed, so that a process killed at any moment leaves the state of its last iteration or of the one before.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from remlblup._version import __version__
from remlblup.errors import CheckpointError, CheckpointWarning, OptionError, warn
from remlblup.reml.history import Iteration
from remlblup.reml.journal import Journal, State
from remlblup.storage.fingerprint import difference
from remlblup.storage.own_file import InUseError, OwnFile
from remlblup.storage.transaction import told

FORMAT = 1
NUMBERS = ("iteration", "loglik", "delta", "gradient", "decrement", "change", "halvings", "seconds", "left")
# Where iterations take no time, writing them takes at most 1/REST of it:
# the next is written after this many times as long.
REST = 4.0


@contextmanager
def checkpointed(path: object, model: Mapping[str, str], is_open: bool) -> Iterator[Journal]:
    """The journal of a fit that is kept in the file `path`, from where an earlier run of the same fit has left it.

    Parameters
    ----------
    model : the `fingerprint` of the fit
    is_open : as of `Journal`

    Raises
    ------
    CheckpointError
        If there is something else at `path`, or it cannot be written. What is there stays as it is.
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise OptionError(f"checkpoint={path!r} must be the name of a file, or None.")
    checkpoint = Checkpoint(Path(path), model, is_open)
    try:
        with named_errors(checkpoint):
            checkpoint.open()
            yield checkpoint.journal
    finally:
        checkpoint.close()


@contextmanager
def named_errors(checkpoint: Checkpoint) -> Iterator[None]:
    """What is wrong with a checkpoint, with its name and the version that wrote it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"the checkpoint {checkpoint.path} cannot be used: {error}{checkpoint.by}") from error


class Checkpoint:
    """The file of one fit."""

    def __init__(self, path: Path, model: Mapping[str, str], is_open: bool):
        self.path, self.model, self.file = path, dict(model), OwnFile(path)
        self.is_open, self.by = is_open, ""
        self.journal = Journal((), self.keep)
        self.pending: Sequence[State] | None = None
        self.written, self.cost, self.warned = 0.0, 0.0, False

    def open(self) -> None:
        """Read what is there, and show that it can be written."""
        try:
            file = self.file.open()
            states: list[State] = []
            if file is not None:
                with file:
                    about, arrays = opened(file)
                self.by = written_by(about["remlblup"])
                states = decoded(about, arrays, self.model)
            self.journal = Journal(states, self.keep, self.is_open)
            self.file.write(encoded(states, self.model))
        except InUseError:
            raise CheckpointError("another fit is writing to it. Give another file.") from None
        except OSError as error:
            raise CheckpointError(f"{told(error)}.") from error

    def keep(self, states: Sequence[State]) -> None:
        """Write after an iteration, unless the last writing took longer than what there is to lose."""
        self.pending = states
        if time.perf_counter() - self.written >= REST * self.cost:
            self.flush()

    def flush(self) -> None:
        """Write what has not been written; a fit is not lost for a disk that is full."""
        if self.pending is None:
            return
        started = time.perf_counter()
        try:
            self.file.write(encoded(self.pending, self.model))
            self.pending = None
        except OSError as error:
            if not self.warned:
                self.warned = True
                warn(
                    f"the checkpoint {self.path} could not be written: {told(error)}. The fit goes on, and the file"
                    " keeps an earlier iteration until it can be written again.",
                    CheckpointWarning,
                )
        self.written = time.perf_counter()
        self.cost = self.written - started

    def close(self) -> None:
        """Write the last state and let go of the file."""
        try:
            self.flush()
        finally:
            self.file.close()


# -- the file --------------------------------------------------------------------------------


def encoded(states: Sequence[State], model: Mapping[str, str]) -> bytes:
    """The content of the file."""
    about = {
        "remlblup": __version__,
        "format": FORMAT,
        "model": dict(model),
        "climbs": [s.kind for s in states],
    }
    arrays: dict[str, Any] = {"about": as_bytes(about)}
    for k, state in enumerate(states):
        rows = state.rows
        arrays[f"{k}.numbers"] = np.array([[getattr(row, name) for name in NUMBERS] for row in rows], dtype=np.float64)
        arrays[f"{k}.theta"] = np.array([row.theta for row in rows], dtype=np.float64)
        arrays[f"{k}.words"] = as_bytes([[row.step, row.boundary, row.phases] for row in rows])
        arrays[f"{k}.reluctant"] = state.reluctant
        if state.correction is not None:
            arrays[f"{k}.correction"] = state.correction
        arrays |= {f"{k}.solved.{name}": value for name, value in state.arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, checksum=np.frombuffer(checksum(arrays), np.uint8), **arrays)
    return buffer.getvalue()


def as_bytes(value: Any) -> np.ndarray:
    """JSON as an array of bytes."""
    return np.frombuffer(json.dumps(value).encode("ascii"), np.uint8)


def checksum(arrays: Mapping[str, np.ndarray]) -> bytes:
    """SHA-256 of named arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape} ".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.digest()


def written_by(version: object) -> str:
    """Who wrote a file, in words."""
    here = "" if version == __version__ else f", and this is {__version__}"
    return f" It was written by version {version} of remlblup{here}."


def opened(file: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file says of itself, and its arrays.

    Raises
    ------
    CheckpointError
        If the file is none of ours, or damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        proof = arrays.pop("checksum").tobytes()
        about = json.loads(arrays["about"].tobytes())
        if not {"remlblup", "format"} <= about.keys():
            raise KeyError("format")
        whole = checksum(arrays) == proof
    except Exception as error:  # what a foreign or damaged file leads to cannot be listed
        raise CheckpointError(
            f"it is not a checkpoint of remlblup, or it is damaged ({type(error).__name__}: {error}). Give another"
            " file, or delete this one to begin anew."
        ) from error
    if not whole:
        raise CheckpointError("it is damaged: its checksum is another one. Delete it to begin anew.")
    return about, arrays


def decoded(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], model: Mapping[str, str]) -> list[State]:
    """The climbs in a file, if they are of this model.

    Of which version is no matter: a climb is at a θ whose ℓ is computed again, and goes on by the steps of this one.

    Raises
    ------
    CheckpointError
        If they are of another fit, or cannot be read.
    """
    if about["format"] != FORMAT:
        raise CheckpointError(
            f"its format is {about['format']}, and this version reads format {FORMAT}. Give another file, or delete"
            " this one to begin anew."
        )
    if differs := difference(about["model"], model):
        more = f" and {len(differs) - 6} more" if len(differs) > 6 else ""
        raise CheckpointError(
            f"it is of another fit. What differs: {'; '.join(differs[:6])}{more}. Give another file, or delete this one"
            " to begin anew."
        )
    return [state_of(arrays, k, kind) for k, kind in enumerate(about["climbs"])]


def state_of(arrays: Mapping[str, np.ndarray], k: int, kind: str) -> State:
    """Inverse of `encoded` for one climb."""
    rows = []
    words = json.loads(arrays[f"{k}.words"].tobytes())
    for numbers, theta, (step, boundary, phases) in zip(
        arrays[f"{k}.numbers"].tolist(), arrays[f"{k}.theta"], words, strict=True
    ):
        said = dict(zip(NUMBERS, numbers, strict=True))
        counts = {name: int(said[name]) for name in ("iteration", "halvings")}
        phases = tuple((name, spent) for name, spent in phases)
        rows.append(Iteration(**{**said, **counts}, step=step, theta=theta, boundary=tuple(boundary), phases=phases))
    start = f"{k}.solved."
    solved = {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}
    return State(kind, tuple(rows), arrays[f"{k}.reluctant"], arrays.get(f"{k}.correction"), solved)
