"""Parametric bootstrap: records drawn from a fitted model and fitted again (Efron & Tibshirani 1993, chapter 6)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import OptionError, RemlBlupWarning, choose, some, warn
from remlblup.fit.errors.intervals import bounds_of
from remlblup.fit.estimates import Estimates
from remlblup.fit.tables.functions import evaluate
from remlblup.fit.tables.shown import shown
from remlblup.inference.resampling.replicates import Batch, Replicates, flat, own_statistic
from remlblup.inference.resampling.simulate import batches, whole_number
from remlblup.linalg.threads import n_threads, set_threads

KINDS = ("percentile", "basic", "normal")
VERDICT = ["converged", "iterations", "reason"]


@dataclass(frozen=True)
class Bootstrap:
    """Replicates of a fit.

    Attributes
    ----------
    estimates : a row per replicate: the variance parameters, the fixed effects and ℓ (or the statistic asked for), then
        converged, iterations and reason
    original : the same numbers of the fit itself
    n : replicates asked for; fewer rows where Ctrl-C came
    seed : of the draws
    lower, upper : bounds of each number
    """

    estimates: pd.DataFrame
    original: pd.Series
    n: int
    seed: int
    lower: Array = field(repr=False)
    upper: Array = field(repr=False)

    @property
    def numbers(self) -> pd.DataFrame:
        """`estimates` without the verdicts."""
        return self.estimates.iloc[:, : len(self.original)]

    @property
    def done(self) -> int:
        """Replicates that are there."""
        return len(self.estimates)

    @property
    def n_converged(self) -> int:
        return int(self.estimates["converged"].sum())

    @property
    def n_failed(self) -> int:
        """Replicates without any numbers."""
        return int(self.numbers.isna().all(axis=1).sum())

    @property
    def note(self) -> str:
        """How many replicates there are and what became of them."""
        text = (
            f"{self.done:,} replicates"
            if self.done == self.n
            else f"{self.done:,} of {self.n:,} replicates (interrupted)"
        )
        others = self.done - self.n_converged
        if not others:
            return f"{text}, all converged."
        kept = (
            f"{others - self.n_failed:,} have not and are counted at their last iterate"
            if others > self.n_failed
            else ""
        )
        lost = f"{self.n_failed:,} could not be fitted" if self.n_failed else ""
        return f"{text}, {self.n_converged:,} converged; {' and '.join(filter(None, [kept, lost]))}."

    @property
    def bias(self) -> pd.Series:
        """Mean of the replicates less the fit's own."""
        return (self.numbers.mean() - self.original).rename("bias")

    @property
    def std_error(self) -> pd.Series:
        """Standard deviation of the replicates."""
        return self.numbers.std().rename("std_error")

    def intervals(self, level: float = 0.95, kind: str = "percentile") -> pd.DataFrame:
        """Intervals of every number, never beyond its bounds.

        Parameters
        ----------
        kind : {"percentile", "basic", "normal"}
            Quantiles of the replicates; twice the estimate less these; estimate − bias ± z standard errors.

        Returns
        -------
        DataFrame: estimate, bias, std_error, lower, upper.
        """
        from scipy import stats

        choose("kind", kind, KINDS)
        check_level(level)
        low, high = (self.numbers.quantile(q) for q in (0.5 - level / 2.0, 0.5 + level / 2.0))
        if kind == "basic":
            low, high = 2.0 * self.original - high, 2.0 * self.original - low
        elif kind == "normal":
            middle, z = self.original - self.bias, float(stats.norm.ppf(0.5 + level / 2.0))
            low, high = middle - z * self.std_error, middle + z * self.std_error
        return shown(
            pd.DataFrame(
                {
                    "estimate": self.original,
                    "bias": self.bias,
                    "std_error": self.std_error,
                    "lower": np.maximum(low, self.lower),
                    "upper": np.minimum(high, self.upper),
                }
            ),
            "" if self.done == self.n == self.n_converged else self.note,
        )

    def __str__(self) -> str:
        return f"Parametric bootstrap, {self.note}\n\n{self.intervals().to_string()}"

    def __repr__(self) -> str:
        return f"<Bootstrap: {self.note}>"


def check_level(level: Any) -> None:
    """Raise `OptionError` unless a level is a number between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise OptionError(f"level={level!r} must be a number between 0 and 1.")


def bootstrap(
    fit: Estimates, n: int, seed: int, statistic: Any, workers: int | None, progress: bool | None
) -> Bootstrap:
    """See `Fit.bootstrap`."""
    n, seed = whole_number("n", n, 2), whole_number("seed", seed, 0)
    workers = 1 if workers is None else whole_number("workers", workers, 1)
    asked = own_statistic(statistic)
    names, original, lower, upper = itself(fit, asked)
    replicates = Replicates(fit, asked)
    done = list(finished(replicates, n, seed, workers, progress))
    if not done:
        raise KeyboardInterrupt("the bootstrap was interrupted before its first replicates were done.")
    done.sort(key=lambda batch: batch.first)
    out = Bootstrap(table(done, names), pd.Series(original, index=names), n, seed, lower, upper)
    if out.done < n:
        warn(f"the bootstrap was interrupted: {out.note}", RemlBlupWarning)
    return out


def table(done: Sequence[Batch], names: Sequence[str]) -> pd.DataFrame:
    """A row per replicate, by its number."""
    width = len(names)
    values = [b.values if b.values.shape[1] == width else np.full((len(b.values), width), np.nan) for b in done]
    index = pd.Index(np.concatenate([b.first + np.arange(len(b.values)) for b in done]), name="replicate")
    frame = pd.DataFrame(np.vstack(values), index=index, columns=list(names))
    return frame.assign(
        converged=np.concatenate([b.converged for b in done]),
        iterations=np.concatenate([b.iterations for b in done]),
        reason=[reason for b in done for reason in b.reasons],
    )


def itself(fit: Estimates, asked: Any) -> tuple[list[str], Array, Array, Array]:
    """Names, values and bounds of what each replicate gives, of the fit itself."""
    parameters = fit.specification.parameters
    if asked is None:
        columns, fixed = list(parameters.columns), list(fit.specification.fixed.names)
        names = [*columns, *(f"fixed: {f}" if f in columns or f == "loglik" else f for f in fixed), "loglik"]
        rest = np.full(len(fixed) + 1, np.inf)
        low, high = bounds_of(parameters, fit.options.constrain)
        values = np.concatenate([fit.theta, fit.beta, [fit.loglik]])
        return names, values, np.concatenate([low, -rest]), np.concatenate([high, rest])
    if callable(asked):
        labels, values = flat(asked(fit))
        names = labels or ([f"statistic{k}" for k in range(1, len(values) + 1)] if len(values) > 1 else ["statistic"])
        low, high = np.full(len(values), -np.inf), np.full(len(values), np.inf)
    else:
        none = np.zeros((len(fit.theta), len(fit.theta)))
        found = [evaluate(e, parameters, fit.theta, none, "", fit.options.constrain) for e in asked]
        names, values = list(asked), np.array([f.estimate for f in found])
        low = np.array([-np.inf if f.scale == "plain" else 0.0 for f in found])
        high = np.array([1.0 if f.scale == "logit" else np.inf for f in found])
    if twice := [name for k, name in enumerate(names) if name in names[:k] or name in VERDICT]:
        raise OptionError(f"statistic= has the name {some(twice)} twice, or one of {some(VERDICT)}: rename it.")
    return names, values, low, high


# -- who does the work -----------------------------------------------------------------------


def finished(replicates: Replicates, n: int, seed: int, workers: int, progress: bool | None) -> Iterator[Batch]:
    """Batches as they are done; a Ctrl-C ends it."""
    from tqdm import tqdm

    if progress is None:
        progress = bool(getattr(sys.stderr, "isatty", lambda: False)())
    parts = batches(n, replicates.spec.n)
    run = in_processes if workers > 1 and len(parts) > 1 else here
    with tqdm(total=n, unit=" fits", disable=not progress, leave=False) as bar:
        try:
            for batch in run(replicates, parts, n, seed, workers):
                bar.update(len(batch.values))
                yield batch
        except KeyboardInterrupt:
            return


def here(replicates: Replicates, parts: list[range], n: int, seed: int, workers: int) -> Iterator[Batch]:
    for part in parts:
        yield replicates.run(part, seed, n)


def in_processes(replicates: Replicates, parts: list[range], n: int, seed: int, workers: int) -> Iterator[Batch]:
    """The same in processes started afresh: none of this one's threads and locks are copied."""
    import multiprocessing
    import pickle
    from concurrent.futures import ProcessPoolExecutor, as_completed

    try:
        sent = pickle.dumps(replicates)
    except Exception as error:  # pickle raises whatever an object raises
        raise OptionError(
            f"workers={workers}: this cannot be sent to another process ({error}). A statistic= must be a function"
            " defined at the top of a module; or use workers=1."
        ) from None
    context, workers = multiprocessing.get_context("spawn"), min(workers, len(parts))
    pool = ProcessPoolExecutor(workers, context, receive, (sent, max(1, n_threads() // workers)))
    try:
        pending = [pool.submit(work, part, seed, n) for part in parts]
        for future in as_completed(pending):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_received: list[Replicates] = []


def receive(sent: bytes, threads: int) -> None:
    """What a process begins with: its share of the threads. Ctrl-C is for the one that started it."""
    import pickle

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_threads(threads)
    _received[:] = [pickle.loads(sent)]


def work(part: range, seed: int, n: int) -> Batch:
    return _received[0].run(part, seed, n)
