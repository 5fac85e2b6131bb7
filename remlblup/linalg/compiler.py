"""numba, imported whole or not at all: take it from here.

Ctrl-C within its import would leave some of its modules behind,
with which it can never be imported in this process again.
"""

from __future__ import annotations

from typing import Any

from remlblup.linalg.interrupts import uninterrupted


def _load() -> None:
    """The package, and what the first call of a kernel would import besides."""
    import numba.typed  # noqa: F401
    from numba.core.registry import cpu_target

    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


uninterrupted(_load)

from numba import extending, njit, types  # noqa: E402
from numba.core import cgutils  # noqa: E402
from numba.typed import Dict  # noqa: E402

kernel: Any = njit(cache=True, nogil=True, _nrt=False)  # type: ignore[call-overload]
"""For functions that make no arrays. They do not count who refers to those they are handed, which on a supernode of a
few columns takes four times as long as its arithmetic, and which threads do to the same counters."""

__all__ = ["Dict", "cgutils", "extending", "kernel", "njit", "types"]
