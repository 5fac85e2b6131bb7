"""A scheduler, and workers in processes of their own that are started anew when they are killed.

As a queue of jobs or Kubernetes does. A LocalCluster does not always: where a worker is killed in the moment in which
it reports to its nanny, that starts no other.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any

# Loaded before a worker says that it is there, which then has only products to do.
PRELOAD = "remlblup.relationship.genomic.packed_kernels"
# Seconds in which workers have to be there, and between two looks whether they are.
LIMIT, LOOK = 300.0, 0.05


class Machines:
    """A cluster of processes on this machine.

    Parameters
    ----------
    number : of workers, each of one thread

    Attributes
    ----------
    killed : how many have been
    """

    def __init__(self, number: int):
        from dask.distributed import Client, LocalCluster

        self._scheduler = LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50)
        self.address: str = self._scheduler.scheduler_address
        self.client: Any = Client(self._scheduler)
        self._number, self.killed, self._made, self._closing = number, 0, 0, False
        self._lock, self._processes = threading.Lock(), dict[str, subprocess.Popen[bytes]]()
        self._watch = threading.Thread(target=self._watched, daemon=True)
        self._watch.start()

    def __enter__(self) -> Machines:
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._watch.join()
        for process in self._processes.values():
            process.kill()
            process.wait()
        self.client.close()
        self._scheduler.close()

    def _watched(self) -> None:
        while not self._closing:
            with self._lock:
                for name in [name for name, process in self._processes.items() if process.poll() is not None]:
                    del self._processes[name]
                while len(self._processes) < self._number:
                    self._start()
            time.sleep(LOOK)

    def _start(self) -> None:
        self._made += 1
        command = [
            *(sys.executable, "-P", "-m", "distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads=1"),
            *("--no-dashboard", "--death-timeout=60", f"--name={self._made}", f"--preload={PRELOAD}"),
        ]
        self._processes[str(self._made)] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _there(self) -> list[str]:
        """Names of the workers that the scheduler knows and that are alive."""
        known = [str(worker["name"]) for worker in self.client.scheduler_info(n_workers=-1)["workers"].values()]
        with self._lock:
            return [name for name in known if name in self._processes and self._processes[name].poll() is None]

    def scale(self, number: int) -> None:
        """So many workers, waited for."""
        self._number = number
        for name in self._there()[number:]:
            with self._lock:
                process = self._processes.pop(name)
            process.terminate()
            process.wait()
        self.wait()

    def wait(self) -> None:
        """Until all workers are there, and no others."""
        until = time.monotonic() + LIMIT
        while len(self._there()) != self._number or len(self.client.nthreads()) != self._number:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(self._there())} of {self._number} workers are there after {LIMIT:g} seconds")
            time.sleep(LOOK)

    def kill(self, number: int) -> None:
        """Kill up to so many of those that are there."""
        for name in self._there()[:number]:
            with self._lock, contextlib.suppress(KeyError):
                self._processes[name].kill()
                self.killed += 1
