"""Loadings, scores and their plots: the rotation keeps ΓΓ', and scores are E[f | y] by the dense definition."""

from __future__ import annotations

import numpy as np
import pytest

import remlblup as rb

TERM = "fa(site | gen, k=2)"


def gamma(fit, rotate, term=TERM):
    table = fit.loadings(term, rotate=rotate)
    return table.filter(like="factor").to_numpy()


def test_rotation_keeps_the_covariance_and_makes_the_axes_principal(factor_fit):
    plain, rotated = gamma(factor_fit, False), gamma(factor_fit, True)
    assert plain[0, 1] == 0.0
    np.testing.assert_allclose(rotated @ rotated.T, plain @ plain.T, rtol=1e-10)
    product = rotated.T @ rotated
    assert abs(product[0, 1]) < 1e-9 * product[0, 0] and product[0, 0] > product[1, 1]
    assert (rotated.sum(axis=0) > 0).all()
    table = factor_fit.loadings(TERM)
    sigma = factor_fit.covariance(TERM).to_numpy()
    np.testing.assert_allclose(rotated @ rotated.T + np.diag(table["specific"]), sigma, rtol=1e-10)
    np.testing.assert_allclose(table["variance"], np.diag(sigma), rtol=1e-10)
    np.testing.assert_allclose(table["explained"], 100 * (1 - table["specific"] / np.diag(sigma)), rtol=1e-9)
    assert table.index.tolist() == list(factor_fit.covariance(TERM).index)


@pytest.mark.parametrize("structure", ["fa", "rr"])
@pytest.mark.parametrize("rotate", [True, False])
def test_scores_are_the_expectation_given_the_records(sites, structure, rotate):
    term = f"{structure}(site | gen, k=2)"
    fit = rb.MixedModel(f"y ~ site + {term}", sites).fit()
    G = gamma(fit, rotate, term)
    site, gen = (sites[c].factorize(sort=True)[0] for c in ("site", "gen"))
    sigma = fit.covariance(term).to_numpy()
    same = np.equal.outer(gen, gen)
    V = sigma[np.ix_(site, site)] * same + fit.theta[-1] * np.eye(len(site))
    weighted = np.linalg.solve(V, sites["y"] - fit.specification.fixed.matrix @ fit.beta)
    expected = np.array([G[site].T @ (weighted * (gen == g)) for g in range(60)])
    found = fit.factor_scores(term, rotate=rotate)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert found.index.tolist() == sorted(sites["gen"].unique())
    if structure == "rr":
        np.testing.assert_allclose(fit.blup(term), expected @ G.T, atol=1e-7)


def test_biplot_draws_scores_and_loadings(factor_fit):
    ax = factor_fit.plot_biplot(TERM)
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points, factor_fit.factor_scores(TERM))
    tips = np.array([a.xy for a in ax.texts if getattr(a, "arrow_patch", None) is not None])
    loadings = gamma(factor_fit, True)
    stretch = tips[0, 0] / loadings[0, 0]
    np.testing.assert_allclose(tips, stretch * loadings)
    named = {t.get_text() for t in ax.texts}
    assert {"S0", "S1", "S2", "S3", "S4"} <= named
    assert f"loadings × {stretch:g}" in " ".join(named)
    share = (loadings[:, 0] ** 2).sum() / np.trace(factor_fit.covariance(TERM))
    assert f"{100 * share:.1f} % of the variance" in ax.get_xlabel()
    swapped = factor_fit.plot_biplot(TERM, factors=(2, 1)).collections[0].get_offsets()
    np.testing.assert_allclose(swapped, points[:, ::-1])


def test_latent_regression_has_scores_for_slopes(factor_fit):
    ax = factor_fit.plot_latent_regression(TERM, factor=2, levels=["G03", "G41"])
    loadings, scores = gamma(factor_fit, True), factor_fit.factor_scores(TERM)
    blup = factor_fit.blup(TERM)
    lines = [one for one in ax.lines if len(one.get_xdata()) == 2 and set(one.get_ydata()) != {0.0}]
    dots = [one for one in ax.lines if one.get_marker() == "o"]
    for level, line, dot in zip(("G03", "G41"), lines, dots, strict=True):
        slope = np.ptp(line.get_ydata()) / np.ptp(line.get_xdata())
        assert slope == pytest.approx(abs(scores.loc[level, "factor 2"]))
        np.testing.assert_allclose(dot.get_xdata(), loadings[:, 1])
        np.testing.assert_allclose(dot.get_ydata(), blup.loc[level] - loadings[:, 0] * scores.loc[level, "factor 1"])
        assert dot.get_label().startswith(level)
    assert ax.get_ylabel() == "BLUP less factor 1"


def test_the_extreme_levels_are_drawn_without_a_choice(factor_fit):
    ax = factor_fit.plot_latent_regression(TERM)
    order = factor_fit.factor_scores(TERM)["factor 1"].sort_values(ascending=False)
    names = [t.get_text().split(" (")[0] for t in ax.get_legend().get_texts()]
    assert names == [*order.index[:2], *order.index[-2:]]


def test_what_cannot_be_drawn(factor_fit, sites, sleep):
    with pytest.raises(rb.ModelError, match=r"no factors.*fa\(site \| geno"):
        sleep.loadings("Subject")
    with pytest.raises(rb.OptionError, match="factors 1 to 2"):
        factor_fit.plot_latent_regression(TERM, factor=3)
    with pytest.raises(rb.OptionError, match="two different factors"):
        factor_fit.plot_biplot(TERM, factors=(1, 1))
    with pytest.raises(rb.OptionError, match=r"'X' are no levels.*'G00'"):
        factor_fit.plot_latent_regression(TERM, levels=["X"])
    one = rb.MixedModel("y ~ site + fa(site | gen, k=1)", sites).fit()
    with pytest.raises(rb.ModelError, match=r"one factor.*plot_latent_regression"):
        one.plot_biplot("gen")
    assert one.loadings("gen").shape == (5, 4)
