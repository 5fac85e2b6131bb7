"""What each variance competes with: the variance of the records that a term speaks of, seen through its Z and K.

An effect with covariates z and relationship K adds σ² z_j² K_jj to the variance r_j of record j, so that

    s = mean of z_j² K_jj / r_j over the records

is what it adds at σ² = 1 relative to what is there, and 1/s the variance that would count as much as all else. A mean
of 1/r, not one over the mean of r: information adds up, and beside records of variance 10⁶ and 1 a term lives on those
of variance 1. Neither the unit of y nor that of a trait, of a covariate or of K plays a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array, sums
from remlblup.errors import DataError, ModelError
from remlblup.linalg.small import Products
from remlblup.model.record_variances import APART, settled

if TYPE_CHECKING:
    from remlblup.model.design import RandomDesign
    from remlblup.model.specification import Specification


@dataclass(frozen=True)
class Scales:
    """Sizes of everything in a model before anything is estimated.

    Attributes
    ----------
    variance : variance of y given X, of a record of weight 1
    residual : φ if R were all of it
    precision : (n,) 1/r_j, or one value where all records have the same
    signals : per term (t, t) mean of z z' K_jj / r_j over the records
    squares : (n,) of y given X
    """

    variance: float
    residual: Array
    precision: Array | float
    signals: list[Array]
    squares: Array

    @property
    def relative(self) -> Array:
        """(n,) squares over r_j."""
        return np.asarray(self.squares * self.precision)

    @classmethod
    def of(cls, spec: Specification, y: Array) -> Scales:
        """The scales of a model; y (n,) is the response free of its weighted least-squares mean.

        Raises
        ------
        ModelError
            If the fixed effects reproduce y exactly.
        """
        squares, structure = y * y, spec.residual.stands_for
        variance = residual_variance(spec, squares)
        residual = structure.start(variance, squares)
        precision: Array | float = float(spec.weights[0]) / variance
        if len(residual) > 1 or np.count_nonzero(spec.weights != spec.weights[0]):
            records = structure.record_variances(residual)
            if np.ptp(records) > 0.0:
                if len(residual) > 1 and records.max() > APART * records.min():
                    squares, residual = settled(spec.fixed, y, structure, variance, squares, residual)
                    records = structure.record_variances(residual)
                precision = 1.0 / records
        signals = [signal(design, precision) for design in spec.random]
        return cls(variance, residual, precision, signals, squares)

    def units(self, random: Sequence[RandomDesign]) -> list[Array]:
        """Per term (t, t): U = M⁻¹, M the mean products of covariates over the variances of records:
        each effect explains all of y.

        For structures without covariances U is diagonal, one over the mean squares. Effects that share no record
        (traits, sites) have the variance of their own records.
        """
        units = []
        for k, design in enumerate(random):
            if not design.structure.cone or design.disjoint:
                units.append(np.diag(self.effects(k, design)))
            elif (share := common(design, self.precision)) is not None:
                units.append(design.inverse_moments / share)
            else:
                units.append(Products.of(self.signals[k]).inverse())
        return units

    def effects(self, k: int, design: RandomDesign) -> Array:
        """(t,) variance of each effect of term k that counts as much as all else in its records;
        one for all if they share it.

        Of effects that share no record, times the variance of their own records relative to that of all.
        """
        own, shared = self.signals[k].diagonal(), design.structure.one_variance
        if design.t == 1:
            return np.asarray(1.0 / own)
        if not design.disjoint:
            return np.full(design.t, 1.0 / np.mean(own)) if shared else np.asarray(1.0 / own)
        shares = np.array([np.count_nonzero(np.diff(Z.indptr)) for Z in design.columns]) / len(self.squares)
        if shared:
            return np.full(design.t, shares.sum() / own.sum())
        squares, relative = [spread(design, i) for i in range(design.t)], self.relative
        ratio = np.array([z @ relative / z.sum() for z in squares]) / np.mean(relative)
        return np.asarray(np.where(ratio > 1e-24, ratio, 1e-6) * shares / own)


def residual_variance(spec: Specification, squares: Array) -> float:
    """Weighted least-squares residual variance of y given X, of a record of weight 1: Σ w r²/(n − p), from the r² (n,).

    Raises
    ------
    ModelError
        If the fixed effects reproduce y exactly.
    """
    w = spec.weights
    ss = float(w @ squares)
    # The threshold is the rounding error of the regression, not a size of effect.
    if ss <= 1e-26 * float(w @ spec.y**2):
        raise ModelError("the fixed effects reproduce the response exactly: no variance is left to estimate.")
    variance = ss / (spec.n - spec.p)
    if not 1e-100 < variance < 1e100:
        what = "response" if np.all(w == 1.0) else "response or the weights"
        raise DataError(f"the residual variance of the response, {variance:g}, is out of range: rescale the {what}.")
    return variance


def signal(design: RandomDesign, precision: Array | float) -> Array:
    """(t, t) mean of z z' K_jj / r_j over the records."""
    if (share := common(design, precision)) is not None:
        return np.asarray(design.moments * share)
    t = design.t
    out = np.zeros((t, t))
    levels = np.broadcast_to(design.relationship.sizes, design.q)
    for i in range(t):
        out[i, i] = np.mean(spread(design, i) * precision)
        for j in np.flatnonzero(design.moments[i, :i]).tolist():
            both = sp.csr_array(design.columns[i].multiply(design.columns[j]))
            out[i, j] = out[j, i] = np.mean((both @ levels) * precision)
    return out


def common(design: RandomDesign, precision: Array | float) -> float | None:
    """K_jj/r_j of all records; None where they differ."""
    sizes = design.relationship.sizes
    differ = any(isinstance(v, np.ndarray) and v.ndim for v in (precision, sizes))
    return None if differ else float(precision * sizes)


def spread(design: RandomDesign, i: int) -> Array:
    """(n,) z_j² K_jj of effect i."""
    Z, sizes = design.columns[i], design.relationship.sizes
    each = Z.data**2 * (sizes if np.ndim(sizes) == 0 else np.asarray(sizes)[Z.indices])
    return sums(np.repeat(np.arange(Z.shape[0]), np.diff(Z.indptr)), each, Z.shape[0])
