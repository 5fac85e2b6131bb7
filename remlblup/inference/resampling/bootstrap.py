"""Parametric bootstrap: records drawn from a fitted model and fitted again (Efron & Tibshirani 1993, chapter 6)."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import OptionError, RemlBlupWarning, check_share, choose, some, warn, whole_number
from remlblup.fit.errors.intervals import bounds_of
from remlblup.fit.estimates import Estimates
from remlblup.fit.progress import bar_wanted
from remlblup.fit.tables.functions import evaluate
from remlblup.fit.tables.shown import shown
from remlblup.inference.quantities import expression_function
from remlblup.inference.resampling.acceleration import accelerations
from remlblup.inference.resampling.corrected import End, corrected_ends, told
from remlblup.inference.resampling.replicates import Batch, Replicates, flat, own_statistic
from remlblup.inference.resampling.simulate import batches
from remlblup.linalg.threads import n_threads, set_threads

KINDS = ("bca", "bc", "percentile", "basic", "normal")
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
    gradients : (numbers, n_parameters) slopes of each number by the variance parameters; zero of fixed effects and ℓ,
        NaN of a statistic that is a function of a fit
    """

    estimates: pd.DataFrame
    original: pd.Series
    n: int
    seed: int
    lower: Array = field(repr=False)
    upper: Array = field(repr=False)
    gradients: Array = field(repr=False)
    _fit: Estimates = field(repr=False)

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

    @cached_property
    def acceleration(self) -> pd.Series:
        """Acceleration of each number: how fast its standard error grows with it. NaN where that is not known."""
        with self._fit._lock.now:
            known = np.asarray(np.isfinite(self.gradients).all(axis=1))
            found = accelerations(self._fit, np.where(known[:, None], self.gradients, 0.0), self.seed)
        return pd.Series(np.where(known, found, np.nan), self.original.index, name="acceleration")

    def intervals(self, level: float = 0.95, kind: str = "bca") -> pd.DataFrame:
        """Intervals of every number, never beyond its bounds.

        Parameters
        ----------
        kind : {"bca", "bc", "percentile", "basic", "normal"}
            Quantiles of the replicates, chosen so that their bias and a spread that grows with the estimate are
            corrected for (Efron 1987), or their bias alone, as "bca" does where there is no acceleration (a statistic
            that is a function of a fit); the quantiles of (1 ± level)/2, which cover too little in small sets; twice
            the estimate less these; estimate − bias ± z standard errors.

        Returns
        -------
        DataFrame: estimate, bias, std_error, lower, upper.
            A corrected end may lie beyond all replicates: then it is the outermost of them, the heading says so and how
            many are needed, and so does ``attrs["needed"]``.
        """
        from scipy import stats

        choose("kind", kind, KINDS)
        check_share("level", level)
        said, needed = "", dict[str, float]()
        if kind in ("bca", "bc"):
            ends = self._corrected(level, kind)
            low, high = (pd.Series([pair[k].value for pair in ends], self.original.index) for k in (0, 1))
            said = told(list(self.original.index), ends)
            needed = {
                str(name): max(e.needed for e in pair)
                for name, pair in zip(self.original.index, ends, strict=True)
                if any(e.needed for e in pair)
            }
        else:
            low, high = (self.numbers.quantile(q) for q in (0.5 - level / 2.0, 0.5 + level / 2.0))
        if kind == "basic":
            low, high = 2.0 * self.original - high, 2.0 * self.original - low
        elif kind == "normal":
            middle, z = self.original - self.bias, float(stats.norm.ppf(0.5 + level / 2.0))
            low, high = middle - z * self.std_error, middle + z * self.std_error
        table = pd.DataFrame(
            {
                "estimate": self.original,
                "bias": self.bias,
                "std_error": self.std_error,
                "lower": np.maximum(low, self.lower),
                "upper": np.minimum(high, self.upper),
            }
        )
        table.attrs.update(kind=kind, level=level, needed=needed, said=said)
        return shown(
            table, "\n".join(filter(None, ["" if self.done == self.n == self.n_converged else self.note, said]))
        )

    def _corrected(self, level: float, kind: str) -> list[tuple[End, End]]:
        """Both ends of every number."""
        a = np.zeros(len(self.original)) if kind == "bc" else self.acceleration.fillna(0.0).to_numpy()
        values = self.numbers.to_numpy(dtype=float)
        return [
            corrected_ends(values[:, k], float(self.original.iloc[k]), float(a[k]), level, self.lower[k], self.upper[k])
            for k in range(len(a))
        ]

    def only(self, places: np.ndarray) -> Bootstrap:
        """Some of the numbers."""
        names = self.original.index[places]
        return replace(
            self,
            estimates=self.estimates[[*names, *VERDICT]],
            original=self.original.iloc[places],
            lower=self.lower[places],
            upper=self.upper[places],
            gradients=self.gradients[places],
        )

    def of_functions(self, expressions: Sequence[str]) -> Bootstrap:
        """The same replicates with functions of their variance parameters in place of what was asked for at first."""
        names, original, lower, upper, gradients = itself(self._fit, tuple(expressions))
        functions = [expression_function(self._fit, e) for e in expressions]
        theta = self.numbers.iloc[:, : len(self._fit.theta)].to_numpy(dtype=float)
        values = np.array([[f.at(t)[0] if np.isfinite(t).all() else np.nan for f in functions] for t in theta])
        table = pd.DataFrame(values, self.estimates.index, names).join(self.estimates[VERDICT])
        return replace(
            self,
            estimates=table,
            original=pd.Series(original, index=names),
            lower=lower,
            upper=upper,
            gradients=gradients,
        )

    def __str__(self) -> str:
        table = self.intervals()
        said = table.attrs["said"]
        head = f"Parametric bootstrap, {self.note}\nIntervals of 95 %, corrected for bias and acceleration (BCa)."
        return f"{head}{f'{chr(10)}{said}' if said else ''}\n\n{table.to_string()}"

    def __repr__(self) -> str:
        return f"<Bootstrap: {self.note}>"


def checked(n: int, seed: int) -> tuple[int, int]:
    """Replicates and seed, or an `OptionError`."""
    return whole_number("n", n, 2, 10_000_000), whole_number("seed", seed, 0)


def bootstrap(
    fit: Estimates, n: int, seed: int, statistic: Any, workers: int | None, progress: bool | None
) -> Bootstrap:
    """See `Fit.bootstrap`."""
    n, seed = checked(n, seed)
    workers = 1 if workers is None else whole_number("workers", workers, 1, 1000)
    shows = bar_wanted(progress)
    asked = own_statistic(statistic)
    replicates = Replicates(fit, asked)
    names, original, lower, upper, gradients = itself(fit, asked)
    done = list(finished(replicates, n, seed, workers, shows))
    if not done:
        raise KeyboardInterrupt("the bootstrap was interrupted before its first replicates were done.")
    done.sort(key=lambda batch: batch.first)
    out = Bootstrap(table(done, names), pd.Series(original, index=names), n, seed, lower, upper, gradients, fit)
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


def itself(fit: Estimates, asked: Any) -> tuple[list[str], Array, Array, Array, Array]:
    """Names, values, bounds and slopes by θ of what each replicate gives, of the fit itself."""
    parameters = fit.specification.parameters
    if asked is None:
        columns, fixed = list(parameters.columns), list(fit.specification.fixed.names)
        names = [*columns, *(f"fixed: {f}" if f in columns or f == "loglik" else f for f in fixed), "loglik"]
        rest = np.full(len(fixed) + 1, np.inf)
        low, high = bounds_of(parameters, fit.options.constrain)
        values = np.concatenate([fit.theta, fit.beta, [fit.loglik]])
        slopes = np.eye(len(names), len(fit.theta))
        return names, values, np.concatenate([low, -rest]), np.concatenate([high, rest]), slopes
    if callable(asked):
        labels, values = flat(asked(fit))
        names = labels or ([f"statistic{k}" for k in range(1, len(values) + 1)] if len(values) > 1 else ["statistic"])
        low, high = np.full(len(values), -np.inf), np.full(len(values), np.inf)
        slopes = np.full((len(values), len(fit.theta)), np.nan)
    else:
        none = np.zeros((len(fit.theta), len(fit.theta)))
        found = [evaluate(e, parameters, fit.theta, none, "", fit.options.constrain) for e in asked]
        names, values = list(asked), np.array([f.estimate for f in found])
        low = np.array([-np.inf if f.scale == "plain" else 0.0 for f in found])
        high = np.array([1.0 if f.scale == "logit" else np.inf for f in found])
        slopes = np.array([expression_function(fit, e).at(fit.theta)[1] for e in asked])
    if twice := [name for k, name in enumerate(names) if name in names[:k] or name in VERDICT]:
        raise OptionError(f"statistic= has the name {some(twice)} twice, or one of {some(VERDICT)}: rename it.")
    return names, values, low, high, slopes


# -- who does the work -----------------------------------------------------------------------


def finished(replicates: Replicates, n: int, seed: int, workers: int, shows: bool) -> Iterator[Batch]:
    """Batches as they are done; a Ctrl-C ends it."""
    from tqdm import tqdm

    parts = batches(n, replicates.spec.n)
    run = in_processes if workers > 1 and len(parts) > 1 else here
    with tqdm(total=n, unit=" fits", disable=not shows, leave=False) as bar:
        try:
            for batch in run(replicates, parts, seed, workers):
                bar.update(len(batch.values))
                yield batch
        except KeyboardInterrupt:
            return


def here(replicates: Replicates, parts: list[range], seed: int, workers: int) -> Iterator[Batch]:
    for part in parts:
        yield replicates.run(part, seed)


def in_processes(replicates: Replicates, parts: list[range], seed: int, workers: int) -> Iterator[Batch]:
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
        pending = [pool.submit(work, part, seed) for part in parts]
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


def work(part: range, seed: int) -> Batch:
    return _received[0].run(part, seed)
