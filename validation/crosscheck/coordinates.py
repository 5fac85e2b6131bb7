"""The same model and maximum in other coordinates: loadings turned, other aliased columns, ranges, covariances."""

from __future__ import annotations

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup.validation.crosscheck.simulate import Disagreement, components

Array = np.ndarray
SITES = list("ABCDEF")


def loadings_rotated(rng: np.random.Generator) -> Disagreement:
    """Loadings of one factor with the other sign, or of two turned by any angle."""
    k = int(rng.integers(1, 3))
    lines, effects = 90, len(SITES)
    gamma = rng.uniform(0.6, 1.6, (effects, k)) * rng.choice([1.0, -1.0], (effects, k))
    specific = rng.uniform(0.3, 0.6, effects)
    u = rng.standard_normal((lines, k)) @ gamma.T + rng.standard_normal((lines, effects)) * np.sqrt(specific)
    y = np.repeat(u, 2, axis=0) + 0.7 * rng.standard_normal((2 * lines, effects))
    data = pd.DataFrame({"y": y.ravel(), "site": SITES * (2 * lines), "line": np.repeat(range(lines), 2 * effects)})
    data["line"] = data["line"].map("l{}".format)
    fit = rb.MixedModel(f"y ~ site + fa(site | line, k={k})", data).fit(progress=False)
    angle = rng.uniform(0.4, 2.7)
    turn = -np.eye(1) if k == 1 else np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rows = components(fit)
    loadings = {(e, f): v for _, e, f, kind, v in rows if kind == "loading"}
    factors = [f"factor {j + 1}" for j in range(k)]
    turned = np.array([[loadings.get((e, f), 0.0) for f in factors] for e in SITES]) @ turn
    name = next(row[0] for row in rows if row[3] == "loading")
    out = [row for row in rows if row[3] != "loading"]
    out[:0] = [(name, e, f, "loading", turned[i, j]) for j, f in enumerate(factors) for i, e in enumerate(SITES)]
    return Disagreement("loadings rotated", fit, out)


def aliased_otherwise(rng: np.random.Generator) -> Disagreement:
    """A treatment within a site: coefficients of the other aliased columns, from the means that both models have."""
    treatments, sites = list("pqrstuv"), dict(zip("pqrstuv", "1122333", strict=True))
    t = rng.choice(treatments, 140)
    group = rng.integers(0, 12, 140)
    y = rng.standard_normal(140) + rng.standard_normal(12)[group] + pd.Series(t).map("pqrstuv".index).to_numpy() * 0.3
    data = pd.DataFrame({"y": y, "treatment": t, "g": group.astype(str)})
    data["site"] = data["treatment"].map(lambda v: f"S{sites[v]}")
    fit = rb.MixedModel("y ~ site + treatment + (1 | g)", data).fit(progress=False)
    b = fit.fixed_effects["estimate"]

    def mean(treatment: str) -> float:
        site = f"S{sites[treatment]}"
        return float(b["Intercept"] + b.get(f"site[T.{site}]", 0.0) + b.get(f"treatment[T.{treatment}]", 0.0))

    # Theirs: treatments first, then nothing is left for the sites, which some programs print as zeros.
    fixed = [("(Intercept)", mean("p")), *((f"treatment{v}", mean(v) - mean("p")) for v in treatments[1:])]
    if rng.random() < 0.5:
        fixed += [("siteS2", 0.0), ("siteS3", 0.0)]
    return Disagreement("aliasing of fixed effects", fit, components(fit), fixed=fixed)


def correlation_for_range(rng: np.random.Generator) -> Disagreement:
    """The correlation exp(−1/φ) at distance one, or three times φ, where ours has the range φ."""
    places = rng.uniform(0.0, 10.0, (90, 2))
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    root = np.linalg.cholesky(np.exp(-distance / 2.5) + 0.2 * np.eye(90))
    data = pd.DataFrame({"y": root @ rng.standard_normal(90), "x": places[:, 0], "z": places[:, 1]})
    fit = rb.MixedModel("y ~ 1", data, residual="exp(x, z) + units").fit(progress=False)
    place = next(k for k, (_, name) in enumerate(fit.specification.parameters.pairs) if name == "range")
    practical = rng.random() < 0.5

    def of(theta: Array) -> Array:
        theta[place] = 3.0 * theta[place] if practical else np.exp(-1.0 / theta[place])
        return theta

    return Disagreement("correlation for range", fit, components(fit, of))


def covariance_for_correlation(rng: np.random.Generator) -> Disagreement:
    """Compound symmetry as a variance between workers and one of workers by machines, as nested terms print it."""
    u = rng.standard_normal(20)[:, None] + rng.standard_normal((20, 3)) * 0.7
    y = np.repeat(u, 3, axis=0) + 0.5 * rng.standard_normal((60, 3))
    data = pd.DataFrame({"y": y.ravel(), "m": ["a", "b", "c"] * 60, "w": np.repeat([f"w{k}" for k in range(20)], 9)})
    fit = rb.MixedModel("y ~ m + cs(m | w)", data).fit(progress=False)
    variance, rho = fit.theta[:2]
    rows = components(fit, lambda theta: np.array([variance * (1.0 - rho), variance * rho, theta[2]]))
    return Disagreement("covariance for correlation", fit, rows)
