"""What a fit is of, in a few short texts: its model, its data, and the options that decide its way.

Numbers are hashed as they enter the equations, so that nothing that changes the result goes unseen, however it came
about: y, X, every Z, relationship and structure, byte by byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.reml.optimum import Options

# Marks a value that is a digest: two of them differ without telling how.
DIGEST = "#"


def fingerprint(equations: Equations, options: Options, start: Array, fixed: Array, starts: object) -> dict[str, str]:
    """Names of what a fit depends on, each with its value or the digest of it.

    Parameters
    ----------
    start, fixed : (n_parameters,) values to start from and to hold, NaN where not given
    starts : as for `MixedModel.fit`
    """
    spec = equations.spec
    said = {
        "formula": spec.formula.text if spec.formula is not None else "none, but matrices",
        "residual": spec.residual_text,
        "method": "ML" if options.ml else "REML",
        "algorithm": options.algorithm,
        "constrain": repr(options.constrain),
        "tolerance": repr(options.tolerance),
        "starts": repr(starts),
        "start": values(spec.parameters.columns, start),
        "fix": values(spec.parameters.columns, fixed),
        "number of records": f"{spec.n:,}",
        "response": digest(spec.y),
        "weights": digest(spec.weights),
        "fixed effects": digest(spec.fixed.matrix),
    }
    for d in spec.random:
        said[f"design of '{d.name}'"] = digest((tuple(d.columns), d.moments))
        said[f"structure of '{d.name}'"] = digest(d.structure)
        said[f"relationship of '{d.name}'"] = digest(d.relationship)
    said["structure of the residual"] = digest(spec.residual)
    said["engine"] = equations.stats.engine
    if not equations.knows_likelihood:
        said["seed"], said["probes"] = repr(options.seed), repr(options.probes)
    if equations.asked.device != "cpu":
        said["device"] = equations.asked.device
    return said


def values(labels: Sequence[str], theta: Array) -> str:
    """Given values of parameters, as text where that is short."""
    said = ", ".join(
        f"{label} = {value!r}" for label, value in zip(labels, theta.tolist(), strict=True) if value == value
    )
    return said if len(said) < 80 else digest(said)


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What two fingerprints differ in, in words."""
    out = []
    for name in [*here, *(name for name in there if name not in here)]:
        one, two = there.get(name), here.get(name)
        if one == two:
            continue
        told = one is not None and two is not None and DIGEST not in (one[:1], two[:1])
        out.append(f"{name} ({one or 'none'} there, {two or 'none'} here)" if told else name)
    return out


def digest(value: Any) -> str:
    """A hash of everything an object consists of; what it keeps of its own computations (a cached property)
    is left out."""
    hashed = hashlib.blake2b(digest_size=16)
    _feed(hashed, value, set())
    return DIGEST + hashed.hexdigest()


def _feed(hashed: Any, value: Any, seen: set[int]) -> None:
    """Take a value into a hash, with its type and in an order of its own."""
    hashed.update(f"<{type(value).__name__}>".encode())
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        hashed.update(repr(value).encode("utf-8", "surrogatepass"))
    elif isinstance(value, np.ndarray):
        _feed_array(hashed, value, seen)
    elif sp.issparse(value):
        compressed = value if value.format in ("csr", "csc") else sp.csc_array(value)
        if not compressed.has_canonical_format:  # as its use may leave it
            compressed = compressed.copy()
            compressed.sum_duplicates()
        _feed(hashed, (compressed.shape, compressed.indptr, compressed.indices, compressed.data), seen)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _feed(hashed, part, seen)
    elif isinstance(value, (set, frozenset)):
        _feed(hashed, sorted(map(repr, value)), seen)
    elif isinstance(value, Mapping):
        _feed(hashed, [part for pair in value.items() for part in pair], seen)
    elif isinstance(value, (pd.DataFrame, pd.Series, pd.Index)):
        _feed(hashed, value.to_numpy(), seen)
    elif isinstance(value, (type, FunctionType, MethodType)):
        hashed.update(value.__qualname__.encode())
    elif id(value) not in seen:
        seen.add(id(value))
        _feed(hashed, own_attributes(value), seen)
    hashed.update(b"</>")


def _feed_array(hashed: Any, value: np.ndarray, seen: set[int]) -> None:
    hashed.update(f"{value.dtype} {value.shape}".encode())
    if value.dtype.hasobject:
        _feed(hashed, "\0".join(map(str, value.ravel().tolist())), seen)
    else:
        hashed.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")


def own_attributes(value: Any) -> dict[str, Any]:
    """The attributes an object was made with: not those that a property of its class keeps for it."""
    kinds = type(value).__mro__
    of_class = {name: member for kind in reversed(kinds) for name, member in vars(kind).items()}
    slots = [name for kind in kinds for name in getattr(kind, "__slots__", ()) if hasattr(value, name)]
    named = {
        name: part
        for name, part in getattr(value, "__dict__", {}).items()
        if not hasattr(type(of_class.get(name)), "__get__")
    }
    named |= {name: getattr(value, name) for name in slots}
    return {name: named[name] for name in sorted(named)}
