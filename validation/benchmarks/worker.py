"""One program on one case, in a process of its own.

``python -m remlblup.validation.benchmarks.worker CASE PEER FILE …`` writes a line of JSON to FILE for everything
that happens, as it happens, so that what was measured survives a process that is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

MEMORY_SHARE = 0.9
"""Address space a program may take, as a share of the machine's memory: it fails, and not the machine."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report; 0, or 1 after an error (which is reported too)."""
    begun = time.monotonic()
    options = _parser().parse_args(argv)
    with open(options.file, "a", encoding="utf-8") as file:

        def report(event: str, values: Mapping[str, Any]) -> None:
            file.write(json.dumps({"event": event, **values}) + "\n")
            file.flush()

        try:
            _limit_memory()
            _measure(options, begun, report)
        except BaseException as error:  # whatever ends a program is its result
            report("error", {"text": _explain(error)})
            return 1
        report("done", {})
    return 0


def _measure(options: argparse.Namespace, begun: float, report: Any) -> None:
    from remlblup.validation.benchmarks.peers.base import Job
    from remlblup.validation.benchmarks.registry import find_case, find_peer

    peer = find_peer(options.peer)
    start = time.perf_counter()
    peer.load()
    report("import", {"seconds": time.perf_counter() - start})
    case = find_case(options.case)
    data = case.build()
    report("data", {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0})
    deadline = begun + options.time_limit
    peer.measure(Job(case, data, options.repeats, deadline, options.matrix), report)


def _limit_memory() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = int(MEMORY_SHARE * total)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _explain(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory ({error})" if str(error) else "out of memory"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("case")
    parser.add_argument("peer")
    parser.add_argument("file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--time-limit", type=float, default=600.0)
    parser.add_argument("--matrix")
    return parser


if __name__ == "__main__":
    sys.exit(main())
