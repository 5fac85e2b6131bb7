"""Sums over blocks on the user's Dask cluster: the same tree of sums as on this machine, its nodes tasks.

V goes out as a task, `client.submit(identity, V)`, which the scheduler can run again wherever workers are left: data
that is scattered is lost with the workers that hold it, and what waits for it hangs. Blocks go out once, likewise, and
read their genotypes where they run.
"""

from __future__ import annotations

import numbers
import queue
import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from remlblup._version import __version__
from remlblup.arrays import Array
from remlblup.equations.stochastic.blocks import Block
from remlblup.equations.stochastic.forecast import LEAST, worker_memory
from remlblup.equations.stochastic.workers import Threads, subtree, subtree_height
from remlblup.errors import DependencyError, OptionError, RemlBlupError, WorkersError, shown
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import gigabytes

PATIENCE = 600.0
"""Seconds in which no task ends, after which a product is given up."""
_LOOK = 0.5
_RETRIES = 2


class DaskWorkers:
    """Workers of a `dask.distributed.Client`, for ``client=`` of a model with ``engine="stochastic"``.

    Parameters
    ----------
    client : dask.distributed.Client
        Connected to a cluster of yours, whose workers can import remlblup and see the genotypes under the same path.
    patience : float
        Seconds in which no task ends, after which a product is an error and not a longer wait.

    Raises
    ------
    OptionError
        If it is no such client.
    WorkersError
        If it is closed, has no workers, or they have another version of remlblup or none.

    Examples
    --------
    >>> from dask.distributed import Client  # doctest: +SKIP
    >>> client = rb.DaskWorkers(Client("tcp://10.0.0.1:8786"), patience=120)  # doctest: +SKIP
    """

    def __init__(self, client: Any, patience: float = PATIENCE):
        self.client, self.patience = _checked(client), _seconds(patience)
        self._sent: dict[tuple[int, ...], tuple[Sequence[Block], Any]] = {}
        # Bytes of the largest V that all workers have been seen to have room for.
        self._fits = 0
        self._require_package()

    def __deepcopy__(self, memo: object) -> DaskWorkers:
        """Itself, as the client that is asked for."""
        return self

    def __reduce__(self) -> tuple[type[Threads], tuple[()]]:
        """Another process has the same sums on threads of its own; see `Computation`."""
        return Threads, ()

    @property
    def threads(self) -> list[int]:
        """See `blocks.Workers`."""
        return list(self._threads().values())

    @known_arguments
    def describe(self) -> str:
        """Where products run."""
        threads = self.threads
        workers = f"{len(threads)} Dask worker{'s' if len(threads) > 1 else ''}"
        return f"{workers} with {sum(threads)} thread{'s' if sum(threads) > 1 else ''}"

    @known_arguments
    def total(self, blocks: Sequence[Block], V: Array) -> Array:
        """Σ_c W_c (W_c' V); see `blocks.Workers`.

        Raises
        ------
        WorkersError
            If there are no workers, if one has too little memory, if they die of one task again and again, or if none
            ends for `patience` seconds.
        """
        import dask

        size = 2 ** subtree_height(len(blocks), sum(self._threads(self.patience).values()))
        self._require_memory(V)
        places = [(first, first + size) for first in range(0, len(blocks), size)]
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            product = Sum(self.client, self._blocks(blocks), places, V)
        try:
            return self._awaited(product)
        finally:
            product.cancel()

    def _awaited(self, product: Sum) -> Array:
        """The result; an error when nothing moves any more."""
        moved = time.monotonic()
        while not product.root.done():
            if product.advanced(_LOOK):
                moved = time.monotonic()
            elif self.client.status not in ("running", "connecting"):
                break
            elif time.monotonic() - moved > self.patience:
                raise self._stuck()
        try:
            return product.root.result(timeout=self.patience)
        except RemlBlupError:
            raise
        except Exception as error:
            raise self._failed(error) from None

    def _blocks(self, blocks: Sequence[Block]) -> Any:
        """All blocks as one task, sent once."""
        key = tuple(map(id, blocks))
        if key not in self._sent:
            if any(getattr(block, "held", False) for block in blocks):
                raise WorkersError(
                    "these genotypes lie in the memory of this process, where workers cannot read them. Write them to"
                    " where all workers see them, genotypes.to_zarr(path), and take rb.Genotypes.from_zarr(path); or"
                    " read them by from_bed; or leave client= out."
                )
            self._sent[key] = blocks, self.client.submit(_identity, list(blocks), key=f"blocks-{_name()}", pure=False)
        return self._sent[key][1]

    # -- what can be wrong -------------------------------------------------------------------

    def _threads(self, patience: float = 0.0) -> dict[str, int]:
        """Threads of every worker, when there is one.

        Raises
        ------
        WorkersError
            If there is none after so many seconds (they may be starting again), or no scheduler.
        """
        began = time.monotonic()
        while self.client.status == "running":
            try:
                threads = dict(self.client.nthreads())
            except Exception as error:
                raise self._failed(error) from None
            if threads:
                return threads
            if time.monotonic() - began >= patience:
                since = f" for {patience:,g} seconds" if patience else ""
                raise WorkersError(
                    f"the Dask cluster has had no workers{since}. Start some, and wait for them:"
                    " client.wait_for_workers(1). Those with a memory_limit below what Python and numpy take (some"
                    " 200 MB) end as soon as they have begun."
                )
            time.sleep(_LOOK)
        raise WorkersError("the Dask client is closed: make a new one, and give that as client=.")

    def _require_memory(self, V: Array) -> None:
        """Raise `WorkersError`, before anything is sent, where a product takes at the least more than a worker has."""
        if V.nbytes <= self._fits:
            return
        individuals, columns = V.shape
        for address, worker in self.client.scheduler_info(n_workers=-1)["workers"].items():
            limit, threads = worker["memory_limit"] or np.inf, worker["nthreads"]
            needed = worker_memory(individuals, columns, threads, LEAST)
            if needed > limit:
                raise WorkersError(
                    f"a product with {columns:,} columns of {individuals:,} individuals takes at least"
                    f" {gigabytes(needed)} of a worker with {threads} threads, and {address} has a memory_limit of"
                    f" {gigabytes(limit)}: give workers more memory or fewer threads, or draw fewer probes=."
                )
        self._fits = V.nbytes

    def _require_package(self) -> None:
        """Raise `WorkersError` unless all workers have this version of remlblup."""
        addresses = list(self._threads())
        asked = [
            self.client.submit(_version, key=f"version-{_name()}", workers=[each], pure=False) for each in addresses
        ]
        for each, future in zip(addresses, asked, strict=True):
            try:
                if not self._answered(each, future):
                    continue  # another has taken its place, or none
                found = future.result(timeout=self.patience)
            except WorkersError:
                raise
            except ImportError as error:
                raise WorkersError(
                    f"the worker {each} cannot import what this process has ({error}): install remlblup"
                    f" {__version__} in the environment of the workers."
                ) from None
            except Exception as error:
                raise self._failed(error) from None
            if found != __version__:
                raise WorkersError(
                    f"the worker {each} has remlblup {found}, this process {__version__}: install the same."
                )

    def _answered(self, address: str, future: Any) -> bool:
        """Whether a task of one worker ends before that is gone, for at most `patience` seconds."""
        began = time.monotonic()
        while not future.done():
            if address not in self.client.nthreads():
                return False
            if time.monotonic() - began > self.patience:
                raise self._stuck()
            time.sleep(0.1 * _LOOK)
        return True

    def _stuck(self) -> WorkersError:
        workers = len(self.client.nthreads()) if self.client.status == "running" else 0
        state = f"{workers} workers are there, paused or busy" if workers else "no workers are left"
        return WorkersError(
            f"nothing has moved on the Dask cluster for {self.patience:,g} seconds; {state}. A worker that is short of"
            " memory pauses, or is started again and again: see its log. If single blocks take that"
            " long, rb.DaskWorkers(client, patience=...) waits longer."
        )

    def _failed(self, error: Exception) -> WorkersError:
        """What an error of Dask, or of Python on a worker, means here."""
        from distributed.scheduler import KilledWorker

        if isinstance(error, (KilledWorker, MemoryError)):
            return WorkersError(
                "a worker ended again and again while it multiplied, as a rule for want of memory. Every thread of a"
                " worker holds V and two or more arrays of its size: give workers more memory (memory_limit=) or fewer"
                f" threads. Dask says: {error}"
            )
        if self.client.status != "running":
            return WorkersError("the Dask client was closed, or its scheduler has gone, while products were computed.")
        return WorkersError(f"the Dask cluster failed: {type(error).__name__}, {error}")


class Sum:
    """One product: its tree of tasks, of which those stay that are needed.

    Attributes
    ----------
    root : future of the sum
    """

    def __init__(self, client: Any, blocks: Any, places: list[tuple[int, int]], V: Array):
        self._client, name = client, _name()
        self._parts: dict[Any, list[Any]] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        given = client.submit(_identity, V, key=f"V-{name}", pure=False)
        # Tasks of one name that depend on two others: Dask deals them out to all workers. If they depend
        # on more, they go to the one that has V.
        keys: list[Any] = [(f"products-{name}", k) for k in range(len(places))]
        level = client.map(_products, places, blocks=blocks, V=given, key=keys, pure=False, retries=_RETRIES)
        self._parts.update({key: [given] for key in keys})
        every, height = list(level), 0
        while len(level) > 1:
            height += 1
            left, right = level[: len(level) // 2 * 2 : 2], level[1::2]
            keys = [(f"sums-{height}-{name}", k) for k in range(len(right))]
            sums = client.map(_add, left, right, key=keys, pure=False)
            self._parts.update({key: list(pair) for key, *pair in zip(keys, left, right, strict=True)})
            level = sums + level[2 * len(right) :]
            every += sums
        self.root = level[0]
        for future in every:
            future.add_done_callback(lambda future: self._ended.put(future.key))

    def advanced(self, seconds: float) -> bool:
        """Whether a task ends within so many seconds; what it was made of is let go."""
        try:
            self._parts.pop(self._ended.get(timeout=seconds), None)
        except queue.Empty:
            return False
        return True

    def cancel(self) -> None:
        """Let everything go."""
        futures = [self.root, *(part for parts in self._parts.values() for part in parts)]
        self._parts.clear()
        if self._client.status == "running" and not self.root.done():
            self._client.cancel(futures)


def of_client(client: Any) -> DaskWorkers:
    """What a user gives as client=, a `dask.distributed.Client` or `DaskWorkers` of one."""
    return client if isinstance(client, DaskWorkers) else DaskWorkers(client)


def _checked(client: Any) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise DependencyError('client= needs dask.distributed: pip install "remlblup[distributed]".') from None
    if not isinstance(client, Client):
        raise OptionError(
            f"client= takes a dask.distributed.Client, as of Client(address), or rb.DaskWorkers of one; not a"
            f" {type(client).__name__}."
        )
    if client.asynchronous:
        raise OptionError("client= takes a dask.distributed.Client that waits, not one made with asynchronous=True.")
    return client


def _seconds(patience: Any) -> float:
    if isinstance(patience, bool) or not isinstance(patience, numbers.Real) or not float(patience) > 0.0:
        raise OptionError(f"patience={shown(patience)} must be a number of seconds above zero.")
    return float(patience)


def _name() -> str:
    """A name that no other task has."""
    return f"remlblup-{uuid.uuid4().hex}"


def _identity(value: Any) -> Any:
    return value


def _products(place: tuple[int, int], blocks: Sequence[Block], V: Array) -> Array:
    """The sum over some of the blocks."""
    return subtree(blocks[slice(*place)], V)


def _add(left: Array, right: Array) -> Array:
    """A new array: Dask keeps those it was made of, and may have to add them again."""
    return left + right


def _version() -> str:
    return __version__
