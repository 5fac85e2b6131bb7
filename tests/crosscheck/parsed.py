"""Small parsers of what the writers write, and the likelihood of what they read: V and X made from the files alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.linalg


@dataclass
class Parsed:
    """A model as read from files.

    `effects` of the fixed part are (n,) codes from 1 or covariates, perhaps a covariate within codes; `random` holds
    (n,) codes, covariates per effect (None for the intercept), Σ, K⁻¹ or None; Y is (n, traits) with NaN.
    """

    Y: np.ndarray
    fixed: list[tuple[np.ndarray | None, np.ndarray | None]] = field(default_factory=list)
    random: list[tuple[np.ndarray, list[np.ndarray | None], np.ndarray, np.ndarray | None]] = field(
        default_factory=list
    )
    residual: np.ndarray = field(default_factory=lambda: np.eye(1))
    weights: np.ndarray | None = None

    def loglik(self) -> float:
        """The restricted log-likelihood with an orthonormal basis of X, at the start values in the files."""
        records, traits = np.nonzero(~np.isnan(self.Y))
        y = self.Y[records, traits]
        X = scipy.linalg.block_diag(*[self.columns()] * self.Y.shape[1])
        X = X.reshape(self.Y.shape[1], len(self.Y), -1)[traits, records]
        V = self.residual[np.ix_(traits, traits)] * (records[:, None] == records[None, :])
        if self.weights is not None:
            V = V / np.sqrt(np.outer(self.weights[records], self.weights[records]))
        for codes, covariates, sigma, inverse in self.random:
            q = int(codes.max()) if inverse is None else len(inverse)
            K = np.eye(q) if inverse is None else np.linalg.inv(inverse)
            Kz = K[np.ix_(codes[records] - 1, codes[records] - 1)]
            if self.Y.shape[1] > 1:
                V = V + sigma[np.ix_(traits, traits)] * Kz
                continue
            W = np.column_stack([np.ones(len(records)) if c is None else c[records] for c in covariates])
            V = V + (W @ sigma @ W.T) * Kz
        U, s, _ = np.linalg.svd(X, full_matrices=False)
        Q = U[:, s > 1e-9 * s[0]]
        L = np.linalg.cholesky(V)
        A, b = np.linalg.solve(L, Q), np.linalg.solve(L, y)
        beta, *_ = np.linalg.lstsq(A, b, rcond=None)
        rss = float(np.sum((b - A @ beta) ** 2))
        logdet = 2.0 * np.log(np.diag(L)).sum() + np.linalg.slogdet(A.T @ A)[1]
        return -0.5 * ((len(y) - Q.shape[1]) * np.log(2.0 * np.pi) + logdet + rss)

    def columns(self) -> np.ndarray:
        made = []
        for codes, covariate in self.fixed:
            block = np.ones((len(self.Y), 1)) if codes is None else np.eye(int(codes.max()))[codes - 1]
            made.append(block if covariate is None else block * covariate[:, None])
        return np.column_stack(made)


def symmetric(path: Path, skip: int = 0) -> np.ndarray:
    """A matrix from row, column, value."""
    table = np.loadtxt(path, skiprows=skip, ndmin=2)
    i, j = table[:, 0].astype(int) - 1, table[:, 1].astype(int) - 1
    out = np.zeros((i.max() + 1, i.max() + 1))
    out[i, j] = out[j, i] = table[:, 2]
    return out


def lower(text: str) -> np.ndarray:
    """A matrix from its lower triangle, row by row."""
    values = [float(v) for v in text.split()]
    size = int((np.sqrt(8 * len(values) + 1) - 1) / 2)
    out = np.zeros((size, size))
    out[np.tril_indices(size)] = values
    return out + np.tril(out, -1).T


def blupf90(folder: Path) -> Parsed:
    data = np.loadtxt(folder / "data.txt", ndmin=2)
    lines = [line.split("#")[0].strip() for line in (folder / "blupf90.par").read_text(encoding="utf-8").splitlines()]
    at = {key: k for k, line in enumerate(lines) if (key := line.split(":")[0].split(" VALUES")[0]).isupper()}
    traits, count = (int(lines[at[f"NUMBER_OF_{what}"] + 1]) for what in ("TRAITS", "EFFECTS"))
    missing = float(next(line.split()[-1] for line in lines if line.startswith("OPTION missing")))
    Y = data[:, [int(v) - 1 for v in lines[at["OBSERVATION(S)"] + 1].split()]]
    weight = lines[at["WEIGHT(S)"] + 1]
    effects = []
    for line in lines[at["EFFECTS"] + 1 : at["EFFECTS"] + 1 + count]:
        fields = line.split()
        column, kind = data[:, int(fields[0]) - 1], fields[traits + 1]
        nested = data[:, int(fields[traits + 2]) - 1].astype(int) if len(fields) > traits + 2 else None
        effects.append((column.astype(int), None) if kind == "cross" else (nested, column))
    start = at["RANDOM_RESIDUAL"] + 1
    matrix = lambda k, n: np.array([[float(v) for v in lines[k + i].split()] for i in range(n)])  # noqa: E731
    parsed = Parsed(np.where(missing == Y, np.nan, Y), residual=matrix(start, traits))
    parsed.weights = data[:, int(weight) - 1] if weight else None
    used: set[int] = set()
    for k, line in enumerate(lines):
        if line != "RANDOM_GROUP":
            continue
        numbers = [int(v) - 1 for v in lines[k + 1].split()]
        used.update(numbers)
        file = lines[k + 5]
        assert (lines[k + 3] == "user_file") == bool(file)
        sigma = matrix(k + 7, len(numbers) * traits)
        inverse = symmetric(folder / file) if file else None
        parsed.random.append((effects[numbers[0]][0], [effects[n][1] for n in numbers], sigma, inverse))
    parsed.fixed = [effect for n, effect in enumerate(effects) if n not in used]
    return parsed


def asreml(folder: Path) -> Parsed:
    lines = (folder / "model.as").read_text(encoding="utf-8").splitlines()
    head = next(k for k, line in enumerate(lines) if line.startswith("data.csv"))
    frame = pd.read_csv(folder / "data.csv")
    factors = {line.split()[0] for line in lines[1:head] if "!A" in line}
    inverses = [line for line in lines[1:head] if line.endswith(".giv")]
    left, _, right = lines[head + 1].partition(" ~ ")
    responses, _, weight = left.partition(" !WT ")
    fixed, _, random = right.partition(" !r ")
    parsed = Parsed(frame[responses.split()].to_numpy(dtype=float))
    parsed.weights = frame[weight].to_numpy(dtype=float) if weight else None
    init = re.search(r"!INIT ([^)]*)\)", lines[head + 2])
    assert init is not None
    parsed.residual = lower(init[1])
    for term in fixed.split():
        parts = [p for p in term.split(".") if p not in ("mu", "Trait")]
        text = [frame[p].astype(str) for p in parts if p in factors]
        codes = pd.factorize(pd.concat(text, axis=1).agg(":".join, axis=1))[0] + 1 if text else None
        covariates = [frame[p].to_numpy(dtype=float) for p in parts if p not in factors]
        parsed.fixed.append((codes, np.prod(covariates, axis=0) if covariates else None))
    kernel = r"(?:id|idv|grm(?P<n>\d+))\((?P<g>\w+)"
    forms = (
        rf"(?P<kind>us|diag)\(Trait !INIT (?P<v>[^)]*)\)\.{kernel}\)",
        rf"str\((?P<parts>[^()]*) (?P<kind>us|diag)\(\d+ !INIT (?P<v>[^)]*)\)\.{kernel}\)\)",
        rf"(?P<kind>){kernel} !INIT (?P<v>[^)]*)\)",
    )
    place, random = 0, random.strip()
    while place < len(random):
        match = next(m for f in forms if (m := re.compile(f).match(random, place)))
        found = match.groupdict()
        sigma = np.diag([float(v) for v in found["v"].split()]) if found["kind"] == "diag" else lower(found["v"])
        inverse = symmetric(folder / inverses[int(found["n"]) - 1]) if found["n"] else None
        columns = [part.partition(".")[2] for part in (found.get("parts") or found["g"]).split()]
        covariates = [frame[c].to_numpy(dtype=float) if c else None for c in columns]
        parsed.random.append((frame[found["g"]].to_numpy(), covariates, sigma, inverse))
        place = match.end() + 1
    return parsed


def wombat(folder: Path) -> Parsed:
    lines = [line.split("#")[0].strip() for line in (folder / "wombat.par").read_text(encoding="utf-8").splitlines()]
    ends = [k for k, line in enumerate(lines) if line == "END"]
    first = next(k for k, line in enumerate(lines) if line.startswith("DATA"))
    names = [line.split()[0] for line in lines[first + 1 : ends[0]]]
    table = pd.DataFrame(np.loadtxt(folder / "data.dat", ndmin=2), columns=[*names[:-1], "y"])
    traits = [line.split()[1] for line in lines if line.startswith("TR ")]
    if "traitno" not in table:
        table = table.assign(traitno=1, record=np.arange(1, len(table) + 1))
    wide = table.pivot(index="record", columns="traitno", values="y").to_numpy()
    assert wide.shape[1] == len(traits)
    one = table.drop_duplicates("record").sort_values("record")
    variances: dict[str, np.ndarray] = {}
    for k, line in enumerate(lines):
        if line.startswith("VARIANCE"):
            _, name, size = line.split()
            rows = [[float(v) for v in lines[k + 1 + i].split()] for i in range(int(size))]
            out = np.zeros((int(size), int(size)))
            out[np.triu_indices(int(size))] = [v for row in rows for v in row]
            variances[name] = out + np.triu(out, 1).T
    parsed = Parsed(wide, residual=variances["residual"])
    for line in lines[ends[0] : ends[1]]:
        word, *rest = line.split() or [""]
        if word == "FIX":
            parsed.fixed.append((one[rest[0]].to_numpy(dtype=int), None))
        elif word == "COV":
            parsed.fixed.append((None, one[rest[0].removesuffix("(1)")].to_numpy()))
        elif word == "RAN":
            inverse = symmetric(folder / f"{rest[0]}.gin", skip=1) if rest[1] == "GIN" else None
            parsed.random.append((one[rest[0]].to_numpy(dtype=int), [None], variances[rest[0]], inverse))
    return parsed
