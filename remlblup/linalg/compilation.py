"""Compiling the sparse kernels: said once, cached after, or done ahead by `warm_up`."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any


def is_compiled() -> bool:
    """Whether numba's cache holds the sparse kernels (of this or an earlier version)."""
    folders = [Path(__file__).parent / "__pycache__"]
    if "NUMBA_CACHE_DIR" in os.environ:
        folders = [Path(os.environ["NUMBA_CACHE_DIR"])]
    elif not os.access(Path(__file__).parent, os.W_OK):
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
        print("remlblup: compiling the sparse kernels, once on this machine (some 20 s) …", file=sys.stderr, flush=True)


def two_cliques(own: int, shared: int) -> Any:
    """Lower triangle of a positive definite matrix with two large fronts, one the child of the other."""
    import numpy as np
    import scipy.sparse as sp

    n = 2 * own + shared
    C = np.zeros((n, n))
    C[own:, own:] = C[:own, :own] = C[-shared:, :own] = 1.0
    return sp.csc_array(np.tril(C + n * np.eye(n)))


def warm_up() -> None:
    """Compile everything that a large model needs, so that no fit has to wait for it."""
    import numpy as np
    import scipy.sparse as sp

    from remlblup.linalg.factor import make_factor
    from remlblup.relationship import numerator

    pattern = sp.csc_array(sp.tril(sp.diags_array([np.full(40, 4.0), np.ones(39)], offsets=[0, -1])))
    for sign in (1.0, -1.0):  # positive definite, then indefinite
        factor = make_factor(pattern.indptr, pattern.indices, 40, "sparse")
        factor.factorize(sign * pattern.data)
        factor.solve(np.ones((40, 2)))
        factor.inverse_on_pattern()
    pattern = two_cliques(660, 40)
    factor = make_factor(pattern.indptr, pattern.indices, pattern.shape[0], "sparse")
    factor.factorize(pattern.data)
    factor.inverse_on_pattern()
    factor.logdet  # noqa: B018  a property, computed
    parents = np.concatenate([[-1, -1], np.zeros(8)]).astype(np.int32)
    mates = np.concatenate([[-1, -1], np.ones(8)]).astype(np.int32)
    F = numerator.inbreeding(parents, mates, "columns")
    numerator.multiply(parents, mates, numerator.mendelian_variance(parents, mates, F), np.ones(10))
