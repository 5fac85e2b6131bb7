"""Memory asked for before it is taken."""

from __future__ import annotations

import os
from pathlib import Path

from remlblup.errors import MemoryLimitError

# Share of the memory at hand that one factorisation may take.
SHARE = 0.85


def available_memory() -> float:
    """Bytes that can be allocated now, infinity where the system does not tell; REMLBLUP_MEMORY_GB overrides."""
    given = os.environ.get("REMLBLUP_MEMORY_GB", "")
    try:
        return float(given) * 1e9
    except ValueError:
        pass
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024.0
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


SMALLER = "or a smaller model: fewer levels without records, or fewer crossed factors."


def require(needed: float, what: str, advice: str = SMALLER) -> None:
    """Raise `MemoryLimitError` if `needed` bytes are more than there are, with what to do other than buy memory."""
    available = available_memory()
    if needed > SHARE * available:
        raise MemoryLimitError(
            f"{what} needs {needed / 1e9:.3g} GB; {available / 1e9:.3g} GB are free. Use a machine with more memory,"
            f" {advice} (REMLBLUP_MEMORY_GB sets another limit.)"
        )
