"""Draw inputs, run them, count how they end, show the failures."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisWarning

from remlblup.validation.fuzz.kinds import KINDS
from remlblup.validation.fuzz.worker import PRELUDE
from remlblup.validation.fuzz.workers import LIMIT, End, Worker

#: Inputs of a kind between two looks at the clock.
BATCH = 25
#: Batches of each kind until a seed comes to those of the next.
APART = 1_000_000


@dataclass
class Found:
    """What came of the inputs: how many of each kind ended how,
    and a script for every failure of a cause of its own."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: dict[str, tuple[str, End]] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        return sum(self.ends.values())

    @property
    def clean(self) -> int:
        return self.ends.total() - sum(n for (_, how), n in self.ends.items() if how not in ("ok", "refused"))

    def table(self) -> str:
        """A row per kind."""
        hows = ["ok", "refused", "void", "failed", "crashed", "hung"]
        kinds = list(dict.fromkeys(kind for kind, _ in self.ends))
        lines = [f"{'kind':<16}" + "".join(f"{how:>9}" for how in hows)]
        lines += [f"{kind:<16}" + "".join(f"{self.ends[kind, how]:>9,}" for how in hows) for kind in kinds]
        return "\n".join(
            [*lines, f"{self.inputs:,} inputs, {self.clean:,} clean, {len(self.failures)} causes of failure"]
        )


def script_of(script: str, end: End) -> str:
    """The failure as something to run."""
    note = f"# {end.how}: {end.what.splitlines()[0] if end.what else ''} ({end.where})"
    return f"{note}\nimport warnings\nwarnings.simplefilter('error', RuntimeWarning)\n{PRELUDE}{script}"


def fuzz(
    kinds: Iterable[str],
    first_seed: int,
    seconds: float | None = None,
    inputs: int | None = None,
    *,
    limit: float = LIMIT,
    shrink: bool = True,
    derandomize: bool = False,
    show: bool = False,
) -> Found:
    """Run inputs of each kind in turn, until the time is up or there were `inputs` of each."""
    kinds, found, started = list(kinds), Found(), time.monotonic()
    deadline = started + seconds if seconds is not None else float("inf")
    number, done = first_seed * APART, dict.fromkeys(kinds, 0)
    with Worker(limit) as worker:
        while time.monotonic() < deadline and (inputs is None or min(done.values()) < inputs):
            for kind in kinds:
                size = BATCH if inputs is None else min(BATCH, inputs - done[kind])
                if size > 0 and time.monotonic() < deadline:
                    batch(kind, number, size, worker, found, deadline, shrink, derandomize, show)
                    done[kind] += size
            number += 1
    return found


def batch(
    kind: str,
    number: int,
    size: int,
    worker: Worker,
    found: Found,
    deadline: float,
    shrink: bool,
    derandomize: bool,
    show: bool,
) -> None:
    """Inputs of one kind and seed. A failure of a new cause ends it, shrunk; known causes are counted."""
    last: dict[str, tuple[str, End]] = {}
    cause: list[str] = []

    def one(script: str) -> None:
        if time.monotonic() > deadline and not cause:
            return
        end = worker.run(script)
        if not cause:
            found.ends[kind, end.how] += 1
        if end.good or end.signature in found.failures:
            return
        if cause and end.signature != cause[0]:
            return  # on the way of shrinking: something else
        cause[:] = [end.signature]
        last[end.signature] = (script, end)
        raise AssertionError(end.signature)

    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    check = settings(
        max_examples=size,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        derandomize=derandomize,
    )(given(KINDS[kind])(one))
    if not derandomize:
        check = seed(number)(check)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        try:
            check()
        except Exception:
            if not last:
                raise
    for signature, (script, end) in last.items():
        found.failures[signature] = (script, end)
        if show:
            print(f"\n{script_of(script, end)}", flush=True)
