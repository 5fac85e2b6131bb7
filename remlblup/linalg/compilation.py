"""Compiling the sparse kernels: said once, cached after, or done ahead by `remlblup.warmup`."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path


def is_compiled() -> bool:
    """Whether numba's cache holds the sparse kernels (of this or an earlier version)."""
    kernels = Path(__file__).parent / "sparse"
    folders = [kernels / "__pycache__"]
    if "NUMBA_CACHE_DIR" in os.environ:
        folders = [Path(os.environ["NUMBA_CACHE_DIR"])]
    elif not os.access(kernels, os.W_OK):
        from numba.misc.appdirs import AppDirs

        import remlblup.linalg.compiler  # noqa: F401

        folders.append(Path(AppDirs(appname="numba", appauthor=False).user_cache_dir))
    return any(
        next(folder.rglob("inverse_multifrontal.selected_inverse*.nbi"), None) for folder in folders if folder.is_dir()
    )


@functools.lru_cache(maxsize=1)
def announce_compilation() -> None:
    """Say on stderr, once per process, that the first sparse model on a machine waits for the compiler."""
    if not is_compiled():
        print(
            "remlblup: compiling the sparse kernels, once on this machine (under a minute) …",
            file=sys.stderr,
            flush=True,
        )
