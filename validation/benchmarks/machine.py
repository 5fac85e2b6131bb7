"""What the benchmark ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "scipy", "pandas", "numba", "pymetis")


def facts() -> Iterator[str]:
    """Lines about the processor, the memory, the versions and the BLAS."""
    yield f"processor: {processor()}, {cores()} cores for this process; {memory():.1f} GiB of memory"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield f"Python {platform.python_version()} on {platform.system()} {platform.release()}; {versions}"
    yield f"BLAS: {blas()}; remlblup sets one thread inside its own functions, peers keep their defaults"
    named = [f"{name}={os.environ[name]}" for name in sorted(os.environ) if name.endswith("NUM_THREADS")]
    yield f"thread settings in the environment: {', '.join(named) or 'none'}"
    load = os.getloadavg()[0]
    yield f"load before the start: {load:.1f}" + (" (the machine is not quiet)" if load > 0.5 else "")


def processor() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """GiB of physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def version(package: str) -> str:
    """Version of an installed package, or "absent"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def blas() -> str:
    """The BLAS libraries of numpy and scipy, and their threads."""
    import scipy.linalg  # noqa: F401  loads its BLAS
    from threadpoolctl import threadpool_info

    found = [
        f"{x.get('internal_api')} {x.get('version')} ({x.get('architecture')}, {x.get('num_threads')} threads)"
        for x in threadpool_info()
        if x.get("user_api") == "blas"
    ]
    return "; ".join(dict.fromkeys(found)) or "unknown"
