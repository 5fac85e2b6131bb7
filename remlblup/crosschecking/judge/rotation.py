"""Loadings of factors turned into our form: ΓΓ' is the same for ΓQ with any orthogonal Q."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.crosschecking.judge.matching import Matched
from remlblup.crosschecking.judge.names import plain_effect
from remlblup.model.parameters import Parameters
from remlblup.structure.covariance.loadings import Loadings


def turned(parameters: Parameters, theirs: Matched, ours: Array) -> Matched:
    """Their loadings with zeros above the diagonal and the signs of ours; as they are where that is their form.

    Parameters
    ----------
    parameters : of our model
    theirs : their components in our order, and the loadings that ours takes as zero
    ours : (n_parameters,) our estimates, for the signs
    """
    theta, unit, error = theirs.theta.copy(), theirs.unit.copy(), theirs.std_error.copy()
    terms: list[str] = []
    for term, structure, place in zip(parameters.terms, parameters.structures, parameters.of_terms, strict=True):
        factors = getattr(structure, "factors", None)
        if not isinstance(factors, Loadings):
            continue
        at = np.arange(place.start, place.stop)[-len(factors) :]
        if np.isnan(theta[at]).any():
            continue
        given, units = factors.matrix(theta[at]), factors.matrix(unit[at])
        effects = [plain_effect(str(e)) for e in factors.effects]
        for of_term, effect, factor, value, rounding in theirs.above:
            if of_term == term and 0 < factor <= factors.k:
                given[effects.index(effect), factor - 1] = value
                units[effects.index(effect), factor - 1] = rounding
        form = _in_our_form(factors, given, factors.matrix(ours[at]))
        if np.all(np.abs(form - given) <= units):
            continue
        theta[at] = factors.vector(form)
        unit[at] = factors.vector(_uncertain(factors, given, units, factors.matrix(ours[at])))
        error[at] = np.nan
        terms.append(term)
    if not terms:
        return theirs
    return replace(theirs, theta=theta, unit=unit, std_error=error, as_given=theirs.theta, turned=tuple(terms))


def _in_our_form(factors: Loadings, gamma: Array, ours: Array) -> Array:
    """ΓQ with Γ_ij = 0 for j > i and the columns' signs those of ours."""
    form = factors.rotated(gamma)
    return form * np.where(np.sum(form * ours, axis=0) < 0.0, -1.0, 1.0)


def _uncertain(factors: Loadings, gamma: Array, units: Array, ours: Array) -> Array:
    """What a unit of the last digit of each loading moves in ΓQ, added up."""
    base = _in_our_form(factors, gamma, ours)
    out = np.zeros_like(gamma)
    for i, j in np.argwhere(units > 0.0):
        moved = gamma.copy()
        moved[i, j] += units[i, j]
        out += np.abs(_in_our_form(factors, moved, ours) - base)
    return np.asarray(out)
