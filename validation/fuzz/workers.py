"""Workers from the outside: started, asked, replaced when they end or take too long."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

#: Seconds of processor time after which a script counts as hanging; and so many times as long if it does nothing.
LIMIT, IDLE = 30.0, 10.0
#: For the start of a worker, imports and all.
START = 300.0


@dataclass(frozen=True)
class End:
    """How a script ended: ok, refused, void, failed, crashed or hung; what was said; the last place in the package."""

    how: str
    what: str = ""
    where: str = ""

    @property
    def good(self) -> bool:
        return self.how in ("ok", "refused", "void")

    @property
    def signature(self) -> str:
        """What failures of one cause have in common."""
        return f"{self.how} {self.what.partition(':')[0]} {self.where}"


def processor_time(pid: int) -> float | None:
    """Seconds a process has worked, where the system tells: another machine load must not look like a hang."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


class Worker:
    """One process that runs scripts; a context manager."""

    def __init__(self, limit: float = LIMIT):
        self.limit = limit
        self.process: subprocess.Popen | None = None

    def run(self, script: str) -> End:
        """Run a script to its end, or to the end of its process."""
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(script) + "\n")
            process.stdin.flush()
            line = self._line(self.limit)
        except BrokenPipeError:
            line = ""
        if line is None:
            self.close()
            return End("hung", f"no end after {self.limit:g} s")
        if not line:
            code = process.wait()
            self.errors.seek(0)
            end = End("crashed", f"the interpreter ended with code {code}: {self.errors.read()[-600:]}")
            self.close()
            return end
        return End(**json.loads(line))

    def _running(self) -> subprocess.Popen:
        if self.process is None:
            self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
            command = [sys.executable, "-P", "-c", "from remlblup.validation.fuzz.worker import main; main()"]
            environment = {"MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "100", **os.environ}
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
            )
            if self._line(START) != "ready\n":
                self.errors.seek(0)
                raise RuntimeError(f"a worker did not start: {self.errors.read()[-2000:]}")
        return self.process

    def _line(self, limit: float) -> str | None:
        """The next line of the worker; empty if it ended, None if nothing came in time."""
        assert self.process is not None and self.process.stdout is not None
        started, used = time.monotonic(), processor_time(self.process.pid)
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not selector.select(1.0):
                own = processor_time(self.process.pid)
                waited = time.monotonic() - started
                if waited > IDLE * limit or (waited if own is None or used is None else own - used) > limit:
                    return None
        return self.process.stdout.readline()

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout, self.errors):
                if pipe is not None:
                    pipe.close()
            self.process = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
