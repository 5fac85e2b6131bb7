"""What scripts call: answers checked against what does not use the code that gave them.

A refusal after a fit was given, in its tables or when it is read back, is a failure: `checked` says so.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.linalg

import remlblup as rb
from remlblup import cli

__all__ = [
    "canary",
    "checked",
    "command",
    "damaged_folder",
    "invariant",
    "numerator",
    "product",
    "same_matrix",
    "same_solution",
    "saved_and_loaded",
    "write",
]

# Largest n of the dense evaluation, and the condition of V up to which it is an oracle.
DENSE, CONDITION = 200, 1e9
# Names of parameters without the units of y.
UNCHANGED = re.compile(r"^(correlation|cor\(|range|ratio|angle|smoothness|shape|nu\b)|correlation")


@contextlib.contextmanager
def after_a_fit() -> Iterator[None]:
    """What is refused in here was promised before."""
    try:
        yield
    except rb.RemlBlupError as error:
        raise AssertionError(f"refused after a fit: {type(error).__name__}: {error}") from error


def checked(fit: Any, data: Any = None) -> Any:
    """Every table and text of a fit made; ℓ against a dense evaluation; predictions of its own data."""
    with after_a_fit():
        tables(fit)
        value = dense_loglik(fit)
        if value is not None:
            assert abs(value - fit.loglik) <= 1e-5 * (1.0 + abs(value)), f"ℓ {fit.loglik!r}, dense {value!r}"
        spec = fit.specification
        own = not any("units" in d.name for d in spec.random)  # records to predict are units of their own
        if data is not None and own and value is not None and spec.records is not None and not spec.responses:
            rows = fit.specification.records.original
            again = fit.predict(rows, se=False)["prediction"].to_numpy()
            size = np.abs(fit.fitted).max() + np.abs(fit.specification.observed).max()
            assert np.allclose(again, fit.fitted, rtol=1e-6, atol=1e-8 * size), "predictions of the fit's own data"
    return fit


def tables(fit: Any) -> None:
    """All that a user looks at."""
    str(fit.summary()), fit.summary().html(), repr(fit), str(fit.convergence)
    json.dumps(fit.to_dict(), default=str)
    variances = fit.variance_components
    assert np.all(np.isfinite(variances["estimate"])), "an estimate is not finite"
    for table, columns in (
        (variances, ["std_error"]),
        (fit.fixed_effects, ["std_error"]),
        (fit.random_effects, ["pev"]),
    ):
        for column in columns if len(table) else ():
            assert not (table[column] < 0.0).any(), f"a negative {column}"
    if len(fit.random_effects):
        assert not (fit.random_effects["reliability"] > 1.0 + 1e-6).any(), "a reliability above 1"
    for name in ("history", "residuals", "fitted", "aic", "bic", "loglik_asreml", "loglik_nlme"):
        getattr(fit, name)
    for method in ("log", "wald"):
        intervals = fit.intervals(method)
        assert not (intervals["lower"] > intervals["upper"]).any(), "an interval turned round"
    spec = fit.specification
    for design in spec.random:
        if design.t > 1:
            sigma, r = fit.covariance(design.name).to_numpy(), fit.correlation(design.name).to_numpy()
            assert (np.allclose(sigma, sigma.T) and not (np.abs(r) > 1.0 + 1e-9).any()) or not fit.options.constrain


def dense_loglik(fit: Any) -> float | None:
    """ℓ at the estimates from V itself, by definition; None where that is too large,
    or V too ill-conditioned to say."""
    spec = fit.specification
    if spec.n > DENSE or spec.residual.n_filled:
        return None
    *parts, phi = spec.parameters.split(fit.theta)
    V = spec.residual.multiply(phi, np.eye(spec.n))
    for design, theta in zip(spec.random, parts, strict=True):
        Z = np.hstack([z.toarray() for z in design.columns])
        V = V + Z @ np.kron(design.structure.covariance(theta), np.asarray(design.relationship.dense())) @ Z.T
    X = spec.fixed.matrix.toarray() if hasattr(spec.fixed.matrix, "toarray") else np.asarray(spec.fixed.matrix)
    d = 1.0 / np.sqrt(np.maximum(np.diag(V), 1e-300))
    values = np.linalg.eigvalsh(V * np.outer(d, d))
    if values[0] * CONDITION < values[-1]:
        return None
    V, X, y, logdet = V * np.outer(d, d), d[:, None] * X, d * spec.y, -2.0 * float(np.log(d).sum())
    L = scipy.linalg.cholesky(V, lower=True)
    Xs, ys = scipy.linalg.solve_triangular(L, X, lower=True), scipy.linalg.solve_triangular(L, y, lower=True)
    Q, R = np.linalg.qr(Xs)
    pivots = np.abs(np.diag(R)) / np.maximum(np.linalg.norm(Xs, axis=0), 1e-300)
    if len(pivots) and pivots.min() < 1e-5:
        return None
    rest = ys - Q @ (Q.T @ ys)
    ml = fit.method == "ML"
    N = spec.n if ml else spec.n - spec.p
    logdet += 2.0 * float(np.log(np.diag(L)).sum()) + (0.0 if ml else 2.0 * float(np.log(np.abs(np.diag(R))).sum()))
    return -0.5 * (N * np.log(2.0 * np.pi) + logdet + float(rest @ rest))


def saved_and_loaded(fit: Any) -> Any:
    """The fit as it comes back from a folder, the same."""
    with after_a_fit():
        again = rb.load(fit.save("saved"))
        if dense_loglik(fit) is None:
            return again  # V has no digits to compare
        assert abs(again.loglik - fit.loglik) <= 1e-9 * (1.0 + abs(fit.loglik)), "another ℓ after loading"
        assert str(again.convergence) == str(fit.convergence)
        size = float(np.abs(fit.specification.observed).max())
        for name in ("variance_components", "fixed_effects", "random_effects"):
            pd.testing.assert_frame_equal(
                getattr(again, name), getattr(fit, name), rtol=1e-6, atol=1e-8 * size, check_dtype=False
            )
    return again


def invariant(
    fit: Any, formula: str, data: pd.DataFrame, group: str, given: dict[str, Any], factor: float = 8.0
) -> None:
    """ℓ at the estimates whatever the order of rows and columns, the names of levels, the engine, the unit of y."""
    if dense_loglik(fit) is None:
        return  # V has no digits to compare
    with after_a_fit():
        at, n = fit.variances, fit.specification.n - (fit.specification.p if fit.method == "REML" else 0)
        y = fit.specification.response
        others = {
            "rows in another order": (data.iloc[::-1], at, 0.0),
            "columns in another order": (data[data.columns[::-1]], at, 0.0),
            "names in another order": (
                data.assign(**{group: data[group].map(lambda v: f"{999 - int(str(v)[1:])}")}),
                at,
                0.0,
            ),
            "a response in other units": (
                data.assign(**{y: factor * data[y]}),
                times(at, factor**2),
                n * np.log(factor),
            ),
        }
        for what, (frame, values, shift) in others.items():
            if what.startswith("names") and any("vm(" in d.name for d in fit.specification.random):
                continue
            got = rb.MixedModel(formula, frame, **given).loglik(values, method=fit.method) + shift
            assert abs(got - fit.loglik) <= 1e-6 * (1.0 + abs(fit.loglik)), f"{what}: {got} and not {fit.loglik}"
        for engine in ("dense", "sparse"):
            try:
                got = rb.MixedModel(formula, data, **given, engine=engine).loglik(at, method=fit.method)
            except rb.OptionError as error:
                assert "leave engine= out" in str(error), error  # R⁻¹ is dense
                continue
            assert abs(got - fit.loglik) <= 1e-6 * (1.0 + abs(fit.loglik)), (
                f"engine {engine}: {got} and not {fit.loglik}"
            )


def times(variances: Any, factor: float) -> Any:
    """Variances of y in other units; correlations, ranges and shapes stay."""
    if isinstance(variances, dict):
        return {k: v if UNCHANGED.search(k) else times(v, factor) for k, v in variances.items()}
    return factor * variances


# -- relationships and equations ---------------------------------------------------------------


def numerator(pedigree: Any) -> None:
    """A by the tabular method, its inverse, its diagonal."""
    with after_a_fit():
        sire, dam, n = np.asarray(pedigree.sire), np.asarray(pedigree.dam), len(pedigree.labels)
        order, A = [], np.zeros((n, n))
        while len(order) < n:  # parents before their offspring
            ready = [i for i in range(n) if i not in order and all(p < 0 or p in order for p in (sire[i], dam[i]))]
            assert ready, "a loop was accepted"
            order += ready
        for k, i in enumerate(order):
            for j in order[:k]:
                A[i, j] = A[j, i] = 0.5 * sum(A[j, p] for p in (sire[i], dam[i]) if p >= 0)
            A[i, i] = 1.0 + (0.5 * A[sire[i], dam[i]] if sire[i] >= 0 and dam[i] >= 0 else 0.0)
        assert np.allclose(pedigree.dense(), A), "A is not that of the tabular method"
        assert np.allclose(pedigree.precision.toarray() @ A, np.eye(n), atol=1e-8), "A⁻¹ A is not I"


def product(a: Any) -> Any:
    """AA', whatever its size."""
    with np.errstate(all="ignore"):
        return a @ a.T


def same_matrix(relationship: Any, matrix: Any) -> None:
    """A relationship is what was given."""
    with after_a_fit():
        assert np.allclose(relationship.dense(), matrix, rtol=1e-8, atol=1e-12)


def same_solution(found: Any, y: Any, X: Any, Z: Any, G: Any, R: Any) -> None:
    """Henderson's equations against generalised least squares."""
    with after_a_fit():
        G, R = (m * np.eye(k) if np.ndim(m) == 0 else np.asarray(m) for m, k in ((G, Z.shape[1]), (R, len(y))))
        V = Z @ G @ Z.T + R
        if np.linalg.cond(V) < 1e8 and not found.aliased:
            W = np.linalg.solve(V, X)
            beta = np.linalg.solve(X.T @ W, W.T @ y)
            assert np.allclose(found.beta, beta, rtol=1e-5, atol=1e-8), "β̂ is not that of generalised least squares"
            assert np.allclose(found.u, G @ Z.T @ np.linalg.solve(V, y - X @ beta), rtol=1e-5, atol=1e-8), "û"


# -- commands and files ------------------------------------------------------------------------


def command(*arguments: str) -> None:
    """The command line: exit code 0 or 1, or 2 with a message and no traceback."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(list(arguments))
        except SystemExit as end:
            code = end.code
    assert code in (0, 1, 2), f"exit code {code!r}"
    assert "Traceback" not in err.getvalue() + out.getvalue(), "a traceback"
    assert code != 2 or err.getvalue().strip(), "exit code 2 without a message"


def write(name: str, content: str | bytes) -> str:
    """A file to read."""
    Path(name).write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return name


def canary(before: Sequence[str] = ()) -> None:
    """Nothing was written into the working folder but what the script wrote."""
    found = {p.name for p in Path().iterdir()} - set(before)
    assert not found, f"files appeared: {found}"


_SAVED: dict[str, Any] = {}


def damaged_folder(seed: int) -> None:
    """A damaged copy of a saved fit loads as it was saved or is refused."""
    import shutil
    import tempfile

    from remlblup.validation.saving.damage import damage, outcome, small_fit, state

    if not _SAVED:
        _SAVED["root"] = tempfile.TemporaryDirectory()
        for k in (2, 3):
            small_fit(k).save(Path(_SAVED["root"].name) / str(k))
        _SAVED["state"] = state(rb.load(Path(_SAVED["root"].name) / "2"))
    root = Path(_SAVED["root"].name)
    copy, rng = Path(shutil.copytree(root / "2", "copy")), np.random.default_rng(seed)
    how = [damage(copy, root / "3", rng)]
    with contextlib.suppress(Exception):  # a second injury may find nothing left to injure
        if seed % 3 == 0:
            how.append(damage(copy, root / "3", rng))
    got = outcome(copy, _SAVED["state"])
    assert got in ("same", "refused"), f"{how}: {got}"
