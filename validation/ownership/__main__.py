"""The command: ``python -m remlblup.validation.ownership [--animals N] [--interrupts N]``."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import remlblup as rb
from remlblup.datasets.simulate import simulate_flock
from remlblup.errors import ConvergenceWarning
from remlblup.validation.ownership.processes import forked

FORMULA = "y ~ sex + litter + (1 | dam) + (1 | vm(id, A))"
# A forked process that takes so many times as long as a fit hangs.
PATIENCE = 30.0


def main() -> int:
    """Interrupt, share, fork; 1 if anything is not as in an undisturbed fit, to the last digit."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.ownership", description=main.__doc__)
    parser.add_argument("--animals", type=int, default=20_000, metavar="N", help="animals of the model (default 20000)")
    parser.add_argument("--interrupts", type=int, default=20, metavar="N", help="of each kind (default 20)")
    given = parser.parse_args()
    rb.set_threads(max(2, os.cpu_count() or 1))
    trials = Trials(given.animals)
    print(f"{len(trials.pedigree):,} animals, a fit takes {trials.seconds:.1f} s", flush=True)
    delays = np.random.default_rng(1).uniform(0.0, 1.0, given.interrupts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        wrong = [*trials.of_fits(delays), *trials.of_tables(delays), *trials.of_threads(), *trials.of_forks()]
        wrong += trials.of_command(delays[: max(1, len(delays) // 4)])
    for line in wrong:
        print(line)
    print("all well" if not wrong else f"{len(wrong)} WRONG")
    return 1 if wrong else 0


def tables(fit: rb.Fit) -> list[np.ndarray]:
    """The numbers of a fit."""
    random = fit.random_effects.select_dtypes("number").to_numpy()
    return [fit.theta, np.array(fit.loglik), fit.fixed_effects.iloc[:, :2].to_numpy(dtype=float), random]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


class Trials:
    """One model, and what its undisturbed fit gives."""

    def __init__(self, animals: int):
        self.flock = simulate_flock(animals, seed=3)
        self.pedigree = rb.Pedigree.from_frame(self.flock.pedigree)
        self.make().fit()  # kernels are loaded
        self.expected = tables(self.make().fit())
        self.seconds = min(self.timed() for _ in range(3))
        self.model = self.make()
        self.older = self.model.fit()
        self.blas = blas_threads()

    def make(self) -> rb.MixedModel:
        return rb.MixedModel(FORMULA, self.flock.data, {"A": self.pedigree}, engine="sparse")

    def timed(self) -> float:
        started = time.perf_counter()
        self.make().fit()
        return time.perf_counter() - started

    def of_fits(self, delays: np.ndarray) -> Iterator[str]:
        """Ctrl-C in a fit, once or twice; then what it keeps, a refit, and the older fit read anew."""
        ended: Counter[str] = Counter()
        for number, delay in enumerate(delays * self.seconds):
            model = self.model if number % 2 else self.make()
            result = interrupted(model.fit, [delay, delay + 0.01][: 1 + number % 3 // 2])
            fit = result.fit if isinstance(result, rb.FitInterrupted) else None
            ended["fit kept" if fit is not None else type(result).__name__] += 1
            if fit is not None and (fit.convergence.status != "interrupted" or fit.converged):
                yield f"Ctrl-C after {delay:.3f} s: {fit.convergence}"
            if fit is not None and abs(fit.loglik - fit.history["loglik"].max()) > 1e-6:
                yield f"Ctrl-C after {delay:.3f} s: ℓ {fit.loglik}, of the history {fit.history['loglik'].max()}"
            yield from self.checked(f"Ctrl-C after {delay:.3f} s", model)
        shown("Ctrl-C in a fit, and a refit", ended)

    def of_tables(self, delays: np.ndarray) -> Iterator[str]:
        """Ctrl-C while tables are made; then the same tables again."""
        ended: Counter[str] = Counter()
        for delay in delays * self.seconds / 4.0:
            fit = self.reread()
            result = interrupted(lambda fit=fit: tables(fit), [delay])
            ended[type(result).__name__] += 1
            if not same(tables(fit), self.expected):
                yield f"Ctrl-C in tables after {delay:.3f} s: others"
        shown("Ctrl-C in tables", ended)

    def of_threads(self) -> Iterator[str]:
        """Four threads that fit one model and read one fit; four with models of their own."""
        with ThreadPoolExecutor(4) as threads:
            fits = list(threads.map(lambda _: self.model.fit(), range(4)))
            found = [*threads.map(lambda k: tables(fits[k % 2]), range(4)), *map(tables, fits)]
            found += threads.map(lambda _: tables(self.make().fit()), range(4))
        good = [same(each, self.expected) for each in found]
        shown("four threads", Counter("same" if each else "OTHER" for each in good))
        yield from (f"threads: result {k} differs" for k, each in enumerate(good) if not each)
        yield from self.checked("after threads", self.model)

    def of_forks(self) -> Iterator[str]:
        """A fork after a fit, and forks while two threads fit."""
        if not hasattr(os, "fork"):
            return
        ended: Counter[str] = Counter()
        stop = threading.Event()

        def busy() -> None:
            while not stop.is_set():
                self.model.fit()

        others = [threading.Thread(target=busy) for _ in range(2)]
        for number in range(5):
            if number == 1:
                for other in others:
                    other.start()
            time.sleep(0.3 * self.seconds * number)
            how = forked(
                lambda: same(tables(self.model.fit()), self.expected) and same(tables(self.older), self.expected),
                PATIENCE * self.seconds,
            )
            ended[how] += 1
            if how != "same":
                yield f"fork {number}: {how}"
        stop.set()
        for other in others:
            other.join()
        shown("forks", ended)
        yield from self.checked("after forks", self.model)

    def of_command(self, delays: np.ndarray) -> Iterator[str]:
        """Ctrl-C in ``remlblup fit``: exit code 130 and no folder, or all done."""
        ended: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.flock.data.to_csv(folder / "data.csv", index=False)
            self.flock.pedigree.to_csv(folder / "pedigree.csv", index=False)
            for number, delay in enumerate(1.0 + 2.0 * delays * self.seconds):
                out = folder / str(number)
                command = [
                    sys.executable,
                    "-P",
                    "-m",
                    "remlblup.cli",
                    "fit",
                    str(folder / "data.csv"),
                    FORMULA,
                    "--pedigree",
                    f"A={folder / 'pedigree.csv'}",
                    "--out",
                    str(out),
                ]
                running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                time.sleep(delay)
                running.send_signal(signal.SIGINT)
                last = running.communicate()[1].strip().splitlines()[-1:]
                # Python ends by the signal itself, 130 to a shell,
                # where Ctrl-C came while it ran text as code (an import).
                code = 130 if running.returncode == -signal.SIGINT else running.returncode
                ended[str(code)] += 1
                if code == 130 and (out.exists() or last != ["remlblup: interrupted"]):
                    yield (
                        f"command stopped after {delay:.2f} s: {last}, folder {'left' if out.exists() else 'not made'}"
                    )
                elif code not in (0, 130):
                    yield f"command stopped after {delay:.2f} s: exit code {code}, {last}"
        shown("exit codes of commands", ended)

    def checked(self, after: str, model: rb.MixedModel) -> Iterator[str]:
        """A refit of the model, the older fit read anew, and the setting of BLAS."""
        if not same(tables(model.fit()), self.expected):
            yield f"{after}: the refit differs"
        if not same(tables(self.reread()), self.expected):
            yield f"{after}: an older fit differs"
        if blas_threads() != self.blas:
            yield f"{after}: BLAS has {blas_threads()} threads, before {self.blas}"

    def reread(self) -> rb.Fit:
        """The older fit without the tables it has already made."""
        return rb.Fit(self.older._optimum, self.older.options)


def shown(what: str, ended: Counter[str]) -> None:
    print(f"{what:<32} " + ", ".join(f"{how} {count}" for how, count in sorted(ended.items())), flush=True)


def interrupted(run: Callable[[], Any], delays: list[float]) -> Any:
    """What a function returns, or the exception of a Ctrl-C that reaches it after so many seconds, and again."""
    ended, sending = threading.Event(), threading.Lock()

    def send(delay: float) -> None:
        if not ended.wait(delay):
            with sending:
                if not ended.is_set():
                    os.kill(os.getpid(), signal.SIGINT)

    senders = [threading.Thread(target=send, args=(delay,)) for delay in delays]
    result: Any = None
    try:
        for sender in senders:
            sender.start()
        result = run()
    except KeyboardInterrupt as stop:
        result = stop
    for _ in range(3):  # one that comes late
        try:
            with sending:
                ended.set()
            for sender in senders:
                sender.join()
            time.sleep(0.02)
        except KeyboardInterrupt:
            continue
    return result


if __name__ == "__main__":
    sys.exit(main())
