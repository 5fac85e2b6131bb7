"""Starts a process for every program and case, and gathers what they report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from remlblup.validation.benchmarks.outcome import Outcome
from remlblup.validation.benchmarks.registry import PEERS, find_case, find_peer

REFERENCE = "remlblup"
"""The row that ratios refer to; it is always run, and first."""


@dataclass(frozen=True)
class Settings:
    """How every program is run.

    Attributes
    ----------
    repeats : timed runs after the first
    time_limit : seconds for one program on one case, its import and the making of the data included
    cold : compile remlblup's functions anew in every process
    """

    repeats: int = 3
    time_limit: float = 600.0
    cold: bool = False


@dataclass(frozen=True)
class Left:
    """A program that is not run on a case, or a case that is not run, and why."""

    case: str
    peer: str
    reason: str


def run_case(case: str, peers: Sequence[str], settings: Settings) -> Iterator[Outcome | Left]:
    """Every program on one case, remlblup first; those that cannot come out as `Left`."""
    subject = find_case(case)
    if missing := subject.missing():
        yield Left(case, "", missing)
        return
    with tempfile.TemporaryDirectory(prefix="benchmark") as folder:
        matrix = Path(folder, "matrix.npz")
        for name in ordered(peers):
            peer = find_peer(name)
            found = peer.available()
            reason = found.reason if found.version is None else peer.can(subject)
            if reason:
                yield Left(case, name, reason)
                continue
            writes, reads = name == REFERENCE, matrix.exists()
            yield run_one(case, name, settings, folder, str(matrix) if writes or reads else None)


def ordered(peers: Sequence[str]) -> list[str]:
    """remlblup first, then the others as they stand in the registry, then the user's own."""
    known = [name for name in PEERS if name in peers and name != REFERENCE]
    return [REFERENCE, *known, *(name for name in peers if name not in PEERS)]


def run_one(case: str, peer: str, settings: Settings, folder: str, matrix: str | None = None) -> Outcome:
    """One program on one case, in a process of its own that is stopped at the time limit."""
    events, console = (
        Path(folder, f"{Path(peer).name}.{suffix}".replace(":", "-")) for suffix in ("events", "console")
    )
    command = [sys.executable, "-P", "-m", f"{__package__}.worker", case, peer, str(events)]
    command += ["--repeats", str(settings.repeats), "--time-limit", str(settings.time_limit)]
    command += ["--matrix", matrix] if matrix else []
    with tempfile.TemporaryDirectory(prefix="compiled") as cache, console.open("w") as output:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache} if settings.cold else dict(os.environ)
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        stopped = _wait(process, settings.time_limit)
    return gather(case, peer, events, stopped, process.returncode, console.read_text(errors="replace"))


def _wait(process: subprocess.Popen, seconds: float) -> bool:
    """Wait for a process; stop it and its children after so many seconds, or where we are interrupted ourselves."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return False


def gather(case: str, peer: str, events: Path, stopped: bool, code: int, console: str) -> Outcome:
    """The outcome from what the worker wrote, and from how it ended."""
    outcome = Outcome(case, peer)
    finished = False
    lines = events.read_text(encoding="utf-8").splitlines() if events.exists() else []
    for line in lines:
        event = _parse(line)
        outcome.take(event)
        finished = finished or event["event"] == "done"
    if stopped:
        outcome.trouble = "TIME LIMIT" + (" before the first run ended" if not outcome.runs else "")
    elif outcome.trouble:
        outcome.trouble = f"FAILED: {outcome.trouble}"
    elif not finished:
        outcome.trouble = f"FAILED: {_ending(code)}; {_last_line(console)}"
    return outcome


def _parse(line: str) -> dict:
    """An event; a line cut short by the end of the process counts as none."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return {"event": "broken"}


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _last_line(console: str) -> str:
    lines = [line.strip() for line in console.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
