"""Small structured panels and the highest likelihood a dense multi-start search finds for each.

V and its derivatives are those of `tests.oracle`; the covariances are written out here from parameters with simple
bounds (standard deviations, partial autocorrelations, factors), which reach every matrix of the structure, singular
ones included. SciPy's bounded quasi-Newton search does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from oracle import LOG_2PI, complex_step
from scipy.optimize import minimize

Covariance = Callable[[np.ndarray], np.ndarray]
FREE, SD, CORRELATION = (-np.inf, np.inf), (0.0, np.inf), (-1.0, 1.0)


def toeplitz(partial: np.ndarray) -> np.ndarray:
    """Correlations of a stationary process with given partial autocorrelations (Durbin–Levinson)."""
    rho, phi = [1.0 + 0.0 * partial[0]], np.zeros(0)
    for k, a in enumerate(partial):
        past = np.array(rho[1:])
        error = 1.0 - phi @ past if k else 1.0
        rho.append(a * error + (phi @ past[::-1] if k else 0.0))
        phi = np.r_[phi - a * phi[::-1], a]
    lags = np.abs(np.subtract.outer(range(len(rho)), range(len(rho))))
    return np.array(rho)[lags]


def structures(t: int) -> dict[str, tuple[Covariance, list]]:
    """Per word Σ(x) over t effects and the bounds of x."""
    lags = np.abs(np.subtract.outer(range(t), range(t)))
    off = (lags > 0).astype(float)

    def equal(r):
        return r[0] * off + np.eye(t)

    def decaying(r):
        return np.array([r[0] ** k for k in range(t)])[lags]

    def homogeneous(C):
        return lambda x: x[0] ** 2 * C(x[1:])

    def heterogeneous(C):
        return lambda x: np.outer(x[:t], x[:t]) * C(x[t:])

    def loadings(k):
        columns, rows = np.triu_indices(k, 0, t)

        def matrix(x):
            out = np.zeros((t, k), dtype=x.dtype)
            out[rows, columns] = x
            return out

        return matrix, [FREE] * len(rows)

    def product(k):
        of, bounds = loadings(k)
        return lambda x: of(x) @ of(x).T, bounds

    def factors(k):
        (of, bounds), unit = loadings(k), np.eye(t)
        return lambda x: of(x[t:]) @ of(x[t:]).T + x[:t] ** 2 * unit, [SD] * t + bounds

    cs = (-1.0 / (t - 1), 1.0)
    out = {
        "cs": (homogeneous(equal), [SD, cs]),
        "csh": (heterogeneous(equal), [SD] * t + [cs]),
        "ar1": (homogeneous(decaying), [SD, CORRELATION]),
        "ar1h": (heterogeneous(decaying), [SD] * t + [CORRELATION]),
        "toep": (homogeneous(toeplitz), [SD] + [CORRELATION] * (t - 1)),
        "corgh": product(t),
        "us": product(t),
        "fa": factors(1),
        "rr": product(1),
    }
    return out | ({"fa2": factors(2)} if t >= 5 else {})


@dataclass
class Panel:
    """Records of subjects at t occasions under one structure.

    Attributes
    ----------
    where : "residual", Σ alone; "random", Σ beside independent residuals
    fixed : the right-hand side of the fixed part
    """

    data: pd.DataFrame
    word: str
    where: str
    fixed: str
    ml: bool
    scale: float = 1.0
    label: str = field(default="")

    def fit(self, **options):
        import remlblup as rb

        k = ", k=2" if self.word == "fa2" else ""
        term = f"{self.word.rstrip('2')}(t | g{k})" if not k else "fa(t | g, k=2)"
        formula, residual = f"y ~ {self.fixed}", "units"
        if self.where == "random":
            formula += f" + {term}"
        else:
            residual = term
        model = rb.MixedModel(formula, self.data, residual=residual)
        return model.fit("ML" if self.ml else "REML", **options)

    # -- the oracle ---------------------------------------------------------------------------

    def best(self, starts: int = 12, seed: int = 0) -> float:
        """The highest log-likelihood of `starts` searches."""
        y = self.data["y"].to_numpy(float)
        occasions = self.data["t"].to_numpy()
        _, time = np.unique(occasions, return_inverse=True)
        _, subject = np.unique(self.data["g"].to_numpy(), return_inverse=True)
        X = {
            "0": np.zeros((len(y), 0)),
            "1": np.ones((len(y), 1)),
            "x": np.column_stack([np.ones(len(y)), self.data["x"]]),
            "C(t)": np.eye(time.max() + 1)[time],
        }[self.fixed]
        t = time.max() + 1
        sigma, bounds = structures(t)[self.word]
        same = np.equal.outer(subject, subject)
        size = np.sqrt(np.sum((y - X @ np.linalg.lstsq(X, y)[0]) ** 2) / (len(y) - X.shape[1]))
        y = y / size  # searched in units of one; ℓ changes by n − p log units
        extra = self.where == "random"

        T = np.eye(t)[time]

        def covariance(x):
            out = sigma(x[: len(bounds)])
            return out + x[-1] ** 2 * np.eye(t) if extra else out

        def minus(x):
            value, gradient = value_and_gradient(y, X, T, same, covariance, x, self.ml)
            return -value, -gradient

        limits = [*bounds, SD] if extra else bounds
        rng, best = np.random.default_rng(seed), -np.inf
        for _ in range(starts):
            x0 = np.array([first(rng, b) for b in limits])
            found = minimize(
                minus,
                x0,
                jac=True,
                method="L-BFGS-B",
                bounds=limits,
                options={"maxiter": 400, "ftol": 1e-14, "gtol": 1e-8},
            )
            best = max(best, -found.fun)
        # of X as the package counts log|X'V⁻¹X|: of the columns as given
        return best - (len(y) - (0 if self.ml else X.shape[1])) * np.log(size)


def first(rng, bound) -> float:
    low, high = bound
    if np.isinf(low):
        return float(rng.normal())
    if np.isinf(high):
        return float(10 ** rng.uniform(-1.5, 0.3))
    return float(rng.uniform(low, high)) * 0.98


def value_and_gradient(y, X, T, same, covariance, x, ml):
    """ℓ and its gradient, that of Σ by a complex step; a wall where V is singular."""
    wall = -1e10, np.zeros(len(x))
    V = (T @ covariance(x) @ T.T) * same
    try:
        root = np.linalg.inv(L := np.linalg.cholesky(V))
    except np.linalg.LinAlgError:
        return wall
    pivots = np.diag(L)
    if pivots.min() < 1e-7 * pivots.max():
        return wall
    inverse = root.T @ root
    n, p = X.shape
    P, extra = inverse, 0.0
    if p:
        A = inverse @ X
        information = X.T @ A
        P = inverse - A @ np.linalg.solve(information, A.T)
        extra = 0.0 if ml else np.linalg.slogdet(information)[1]
    Py = P @ y
    value = -0.5 * ((n if ml else n - p) * LOG_2PI + 2.0 * np.sum(np.log(pivots)) + extra + y @ Py)
    moments = T.T @ (((inverse if ml else P) - np.outer(Py, Py)) * same) @ T
    return value, -0.5 * np.einsum("ij,ijp->p", moments, complex_step(covariance, x))


def random_panel(seed: int, words: tuple[str, ...] | None = None) -> Panel:
    """A panel of integers or of normal deviates with a random covariance, now and then near a boundary."""
    rng = np.random.default_rng([seed, 20])
    t = int(rng.choice([3, 3, 3, 4, 4, 5]))
    word = str(rng.choice(words or ("toep", "csh", "ar1h", "fa", "corgh", "ar1", "cs", "rr", "fa2")))
    t = 5 if word == "fa2" else t
    q = int(rng.integers(5, 13)) + (4 if word in ("corgh", "fa2") else 0)
    kind = rng.choice(["noise", "factor", "smooth", "singular"])
    root = {
        "noise": np.diag(rng.uniform(0.3, 2.0, t)),
        "factor": np.column_stack([rng.normal(size=(t, 1)) * 2, np.eye(t) * 0.7]),
        "smooth": np.linalg.cholesky(rng.uniform(-0.95, 0.95) ** np.abs(np.subtract.outer(range(t), range(t)))),
        "singular": np.column_stack([rng.normal(size=(t, 1)) * 3, np.eye(t) * 0.2 * rng.uniform(0, 1, t)]),
    }[str(kind)]
    Y = 2.0 * rng.normal(size=(q, root.shape[1])) @ root.T
    if rng.random() < 0.5:
        Y = np.round(Y)
    data = pd.DataFrame(
        {"g": np.repeat([f"s{i:02d}" for i in range(q)], t), "t": np.tile(np.arange(1, t + 1), q), "y": Y.ravel()}
    )
    data["x"] = rng.normal(size=len(data)).round(1)
    if rng.random() < 0.3:
        data = data[rng.random(len(data)) > 0.12].reset_index(drop=True)
    where = "random" if word == "rr" or rng.random() < 0.4 else "residual"
    scale = float(rng.choice([1.0, 1.0, 1e8, 1e-8]))
    data["y"] *= scale
    fixed = str(rng.choice(["1", "1", "x", "C(t)", "0"]))
    if fixed == "0" and where == "residual":
        fixed = "1"
    return Panel(data, word, where, fixed, bool(rng.random() < 0.3), scale, f"{seed}:{word}:{where}:{fixed}:{kind}")
