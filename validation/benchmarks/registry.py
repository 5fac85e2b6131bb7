"""Cases and programs by name."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remlblup.validation.benchmarks.cases import CASES, TRIALS

if TYPE_CHECKING:
    from remlblup.validation.benchmarks.model import Case
    from remlblup.validation.benchmarks.peers.base import Peer

PEERS = {
    "remlblup": "remlblup:WHOLE",
    "remlblup-fit": "remlblup:FIT",
    "cholmod": "cvxopt_cholmod:OWN",
    "cholmod-metis": "cvxopt_cholmod:METIS",
    "lme4": "lme4:PEER",
    "statsmodels": "statsmodels:PEER",
    "mixedlm": "mixedlm:PEER",
    "mixedlm-rs": "mixedlm_rs:PEER",
    "lme-python": "lme_python:PEER",
    "gpboost": "gpboost:PEER",
    "gpboost-chol": "gpboost:CHOLESKY",
}
"""Name → module of `peers` and attribute, in the order of the table; nothing is imported before it is asked for."""


def find_peer(name: str) -> Peer:
    """A program by its name, or by ``path/to/file.py:ATTRIBUTE`` for one of your own."""
    if name in PEERS:
        module, _, attribute = PEERS[name].partition(":")
        return getattr(importlib.import_module(f".peers.{module}", __package__), attribute)
    return load_attribute(name)


def find_case(name: str) -> Case:
    """A case by its name, or by ``path/to/file.py:ATTRIBUTE`` for one of your own."""
    known = CASES | TRIALS
    return known[name] if name in known else load_attribute(name)


def load_attribute(name: str) -> Any:
    """``path/to/file.py:ATTRIBUTE``."""
    path, _, attribute = name.rpartition(":")
    specification = importlib.util.spec_from_file_location(Path(path).stem, path) if path.endswith(".py") else None
    if specification is None or specification.loader is None or not Path(path).is_file():
        raise LookupError(f"'{name}' is neither a known name nor path/to/file.py:ATTRIBUTE.")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return getattr(module, attribute)
