"""What must not decide where a fit ends: rounding, the order of the records, the unit of y, a start beside a corner."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.linalg

import remlblup as rb
from reml.test_edge import plots, searched

KEYWORDS = ("toep", "corg", "corgh", "us", "ar1h", "csh")
DATA = [("near", 1), ("one", 0), ("wave", 2), ("unequal", 1)]


@cache
def ensemble(truth: str, seed: int) -> list:
    """(data, unit of y) that are the same but for rounding, order and unit."""
    d = plots(truth, seed)
    rng = np.random.default_rng(seed)
    shaken = [d.assign(y=d["y"] * (1.0 + size * rng.normal(size=len(d)))) for size in (1e-15, 1e-14, 1e-13)]
    turned = [d.sample(frac=1, random_state=k) for k in range(2)]
    return [(x, 1.0) for x in (d, *shaken, *turned)] + [(d.assign(y=d["y"] * s), s) for s in (3.0, 1e-3)]


@pytest.mark.parametrize(("truth", "seed"), DATA)
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_member_of_an_ensemble_ends_at_one_maximum(keyword, truth, seed):
    ends = []
    for d, unit in ensemble(truth, seed):
        fit = rb.MixedModel(f"y ~ site + {keyword}(site | g)", d).fit()
        assert fit.converged, str(fit.convergence)
        ends.append(fit.loglik + fit.df_residual * np.log(unit))
    np.testing.assert_allclose(ends, ends[0], rtol=0, atol=1e-7)


def corners(t: int) -> dict[str, np.ndarray]:
    """Correlation matrices of rank 1 and 2."""
    lag = np.abs(np.subtract.outer(np.arange(t), np.arange(t)))
    return {
        "all one": np.ones((t, t)),
        "alternating": (-1.0) ** lag,
        "slow wave": np.cos(0.18 * lag),
        "fast wave": np.cos(2.0 * lag),
        "two waves": 0.3 + 0.7 * np.cos(0.5 * lag),
    }


@cache
def freely(truth: str, seed: int, keyword: str) -> tuple[rb.MixedModel, int, float]:
    """A model, its number of sites, and ℓ where a fit without a start ends."""
    d = plots(truth, seed)
    model = rb.MixedModel(f"y ~ site + {keyword}(site | g)", d)
    return model, d["site"].nunique(), model.fit().loglik


@pytest.mark.parametrize("corner", corners(4))
@pytest.mark.parametrize("keyword", ["toep", "corg", "corgh", "us"])
@pytest.mark.parametrize(("truth", "seed"), [("near", 1), ("one", 0), ("wave", 0)])
def test_a_start_beside_a_corner_ends_no_lower(truth, seed, keyword, corner):
    """A corner of the set of correlation matrices, where its faces meet,
    may be near and yet not be where ℓ is largest."""
    model, t, highest = freely(truth, seed, keyword)
    other = scipy.linalg.toeplitz(0.6 ** np.arange(t))
    for distance in (1e-2, 1e-5, 1e-8):
        start = (1.0 - distance) * corners(t)[corner] + distance * other
        fit = model.fit(start={f"{keyword}(site | g)": start})
        assert fit.converged, f"{distance:g}: {fit.convergence}"
        assert fit.loglik == pytest.approx(highest, abs=1e-6)


@pytest.mark.parametrize("seed", [53])
def test_a_maximum_on_a_corner_of_rank_two(seed):
    fit = rb.MixedModel("y ~ site + toep(site | g)", plots("slow wave", seed)).fit()
    assert fit.converged, str(fit.convergence)
    assert np.linalg.eigvalsh(fit.correlation("toep(site | g)"))[1] < 1e-8
    assert fit.loglik >= searched("toep", "slow wave", seed, starts=2) - 1e-6
