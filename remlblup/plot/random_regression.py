"""The covariance function of a random regression: variance along the covariate, and eigenfunctions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from remlblup.fit.terms.random_regression import decomposition, regression, variance_along
from remlblup.plot.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, VERMILION, panels, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.estimates import Estimates

Z95 = 1.959964
POINTS = 201
DRAWN = 4  # eigenfunctions at most
SMALL = 5e-4  # share of the variance below which an eigenfunction is not drawn


def plot_covariance_function(fit: Estimates, term: str, axes: Iterable[Axes] | None = None) -> np.ndarray:
    """Variance of a random regression along its covariate, with a 95 % band, and its eigenfunctions.

    The band is the variance φ'Σφ ± 1.96 standard errors by the delta method, cut at zero; there is none where
    the components are not identified or Σ is on its boundary without room to move.
    Eigenfunctions are as in `eigenfunctions`; those with a share below 0.05 % are left out.

    Parameters
    ----------
    fit : Fit
    term : a random regression, such as ``us(leg(age, 2) | vm(animal, A))``
    axes : two Axes, optional
        Where to draw; a new figure without.

    Returns
    -------
    array of two matplotlib Axes
    """
    function = regression(fit, term)
    drawn = panels(axes, (1, 2), (9.6, 4.2))
    x = np.linspace(function.values.min(), function.values.max(), POINTS)
    variance, gradient = variance_along(fit, term, x)
    place = fit.specification.parameters.slices[fit.specification.parameters.index(term)]
    square = np.einsum("xp,pq,xq->x", gradient, fit.variance_covariance[place, place], gradient)
    half = Z95 * np.sqrt(np.maximum(square, 0.0))

    ax = drawn[0]
    if np.all(np.isfinite(half)) and half.any():
        ax.fill_between(x, np.maximum(variance - half, 0.0), variance + half, color=PALE, lw=0, label="95 %")
    ax.plot(x, variance, color=BLUE, lw=1.8, label="variance")
    ax.set_ylim(min(0.0, float(variance.min())), None)
    response = shorten(fit.specification.response, 20)
    ax.set_ylabel(f"variance ({response}²)")
    title(ax, "Variance along the covariate", shorten(function.design.name, 55))
    ax.legend(frameon=False, fontsize=9, labelcolor=INK)

    values, coefficients = decomposition(fit.covariance(term).to_numpy(), function)
    psi = function.basis(x) @ coefficients
    total = values.sum()
    shares = values / total if total > 0.0 else np.zeros_like(values)
    ax = drawn[1]
    ax.axhline(0.0, color=GREY, lw=1, zorder=1.5)
    colours = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
    for k in [k for k in range(len(values)) if shares[k] > SMALL][:DRAWN]:
        ax.plot(x, psi[:, k], color=colours[k], lw=1.8, label=f"{k + 1}: {100.0 * shares[k]:.1f} % of the variance")
    ax.set_ylabel("eigenfunction")
    title(ax, "Eigenfunctions", f"{len(values)} in all")
    if len(ax.lines) > 1:
        ax.margins(y=0.12)
        ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    for one in drawn:
        one.set_xlabel(shorten(function.variable, 30))
    return drawn
