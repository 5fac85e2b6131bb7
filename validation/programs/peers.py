"""Estimates of other programs that are stored as numbers, in the answer files of the reference folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from remlblup.crosschecking.results import COMPONENTS, FIXED, Results, component, table
from remlblup.validation.programs.stored import Output
from remlblup.validation.reference_files import read_answer_file

#: They are written with twelve digits and more.
PRECISION = 5e-12


def peers_of(folder: Path, answer: str) -> list[dict[str, Any]]:
    """The other programs of an answer file that found anything."""
    return [p for p in read_answer_file(folder / f"{answer}.json").get("peers") or () if "theta" in p]


def read_peer(folder: Path, answer: str, output: Output) -> Results:
    """What one of them found, as plain data."""
    peer = next(p for p in peers_of(folder, answer) if p["software"].startswith(output.peer))
    theta = np.asarray(peer["theta"], dtype=float)
    errors = np.asarray(peer.get("se") or [np.nan] * len(theta), dtype=float)
    rows = [component(t, v, PRECISION * abs(v), e) for t, v, e in zip(output.terms, theta, errors, strict=True)]
    return Results(
        peer["software"],
        components=table(rows, COMPONENTS),
        fixed_effects=table(_fixed(folder, answer, peer), FIXED),
        loglik=peer["logLik"],
        loglik_rounding=PRECISION * abs(peer["logLik"]),
    )


def stored_shortfall(folder: Path, answer: str, output: Output) -> float | None:
    """What the file says that its ℓ is below the maximum; None where it says nothing, or that there is none."""
    peer = next(p for p in peers_of(folder, answer) if p["software"].startswith(output.peer))
    below = peer.get("minus_oracle")
    return None if below is None or not below < -1e-6 else -float(below)


def _fixed(folder: Path, answer: str, peer: dict[str, Any]) -> list[tuple]:
    """Coefficients, where there are as many as the file has names for: all are in R's coding of treatments."""
    names = [f["name"] for f in read_answer_file(folder / f"{answer}.json").get("fixed") or ()]
    values = np.atleast_1d(np.asarray(peer.get("beta", ()), dtype=float))
    if len(values) != len(names):
        return []
    frame = pd.Series(values, index=names)
    return [(name, float(v), np.nan, PRECISION * abs(float(v))) for name, v in frame.items()]
