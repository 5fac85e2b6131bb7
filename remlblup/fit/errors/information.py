"""The information about θ at the estimates, in the directions it has and those it does not have."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations
from remlblup.linalg.small import cholesky, eigensystem, triangular_inverse
from remlblup.reml.optimum import Optimum
from remlblup.reml.start import residual_variance, unit_matrices

# An eigenvalue of the scaled information below this (and below this share of the largest) is none, and so is
# information below this about a direction that changes the variance of y by as much as there is.
FLAT = 1e-10
# A natural size beyond this, squared twice, is out of the range of numbers.
FARTHEST = 1e70
# A score, in standard errors, below which it holds nothing on a bound.
PRESSED = 1e-5
# A parameter is unknown if its share in a flat direction is above this part of the largest one.
SHARE = 0.1


@dataclass(frozen=True)
class Information:
    """J'IJ, the average information in the directions θ may move in, split by its eigenvectors.

    Attributes
    ----------
    curved : (n_parameters, c) directions, scaled so that var(θ̂) along them is `curved` `curved`'
    flat : (n_parameters, f) directions in which the likelihood is flat, each a change of about the variance of y
    errors : (n_parameters,) standard error of each parameter given the others, its natural size where it has none
    named : (n_parameters,) parameters that the verdict says the data cannot tell
    """

    curved: Array
    flat: Array
    errors: Array | None = None
    named: np.ndarray | None = None

    @classmethod
    def along(cls, J: Array, information: Array, sizes: Array) -> Information:
        """Of the directions J (n_parameters, k), where θ + J_j sizes_j is a change of about the variance of y."""
        J = J * np.where(np.isfinite(sizes), sizes, 0.0)
        H = J.T @ information @ J
        told = H.diagonal() > FLAT
        own, heard = J[:, ~told], told.nonzero()[0]
        J, H = J[:, heard], H[heard[:, None], heard]
        d = 1.0 / np.sqrt(H.diagonal())
        values, vectors = eigensystem(H * d * d[:, None])
        flat = values < FLAT * max(1.0, values.max(initial=0.0))
        scaled = d[:, None] * vectors
        along = scaled[:, flat] / np.sqrt((scaled[:, flat] ** 2).sum(axis=0))
        return cls(J @ (scaled[:, ~flat] / np.sqrt(values[~flat])), np.concatenate([own, J @ along], axis=1))

    @classmethod
    def of(cls, optimum: Optimum) -> Information:
        """At an optimum; flat directions are also looked for from a bound that no score holds θ at."""
        turned = optimum.turned
        named = np.isin(optimum.equations.spec.parameters.columns, optimum.convergence.unidentified)
        if turned is None:
            return replace(cls._of(optimum, np.eye(len(optimum.held))), named=named)
        near = cls._of(turned.optimum, turned.back)
        return replace(near, curved=turned.forth @ near.curved, flat=turned.forth @ near.flat, named=named)

    @classmethod
    def _of(cls, optimum: Optimum, one: Array) -> Information:
        """The same; `errors` are those of parameters in which a step of 1 is a column of `one` (n_parameters, ·)."""
        point, J = optimum.point, optimum.tangent
        strength = np.sqrt(np.maximum(point.information.diagonal(), np.finfo(float).tiny))
        loose = point.on_bound & ~optimum.held & (np.abs(point.gradient) <= PRESSED * strength)
        k, more = J.shape[1], int(loose.sum())
        D = np.concatenate([J, np.eye(len(J))[:, loose]], axis=1) if more else J
        sizes = natural_sizes(optimum.searched, point.theta, np.concatenate([D, one], axis=1))
        sizes, own_sizes = sizes[: k + more], sizes[k + more :]
        own = cls.along(J, point.information, sizes[:k])
        wide = cls.along(D, point.information, sizes) if more else own
        strength = np.sum(one * (point.information @ one), axis=0)
        told = strength * np.where(np.isfinite(own_sizes), own_sizes, 0.0) ** 2 > FLAT
        return cls(own.curved, wide.flat, np.where(told, 1.0 / np.sqrt(np.where(told, strength, 1.0)), own_sizes))

    @property
    def covariance(self) -> Array:
        """var(θ̂) in the directions with information."""
        return self.curved @ self.curved.T

    @cached_property
    def covariance_of_known(self) -> Array:
        """var(θ̂), NaN for every parameter that has a part in a flat direction, or that the verdict names."""
        out = self.covariance
        # Flat directions are known as a space only: a parameter's part is its row, in units of its own.
        reach = np.linalg.norm(self.flat, axis=1) / (1.0 if self.errors is None else self.errors)
        unknown = reach > SHARE * np.max(reach, initial=0.0)
        if self.named is not None:
            unknown |= self.named
        out[unknown], out[:, unknown] = np.nan, np.nan
        return out


def natural_sizes(equations: Equations, theta: Array, J: Array) -> Array:
    """(k,) how far θ goes along each direction of J until the covariance matrices have changed by about that of y.

    Of a term in the metric of its unit matrix; of R by the information that the errors themselves would give about it.
    """
    spec = equations.spec
    places, parts = spec.parameters.slices, spec.parameters.split(theta)
    change = np.zeros(J.shape[1])
    for k, unit in enumerate(unit_matrices(equations, residual_variance(equations))):
        inverse = triangular_inverse(cholesky(unit))
        slopes = inverse @ spec.random[k].structure.derivatives(parts[k]) @ inverse.T
        change += ((J[places[k]].T @ slopes.reshape(len(slopes), -1)) ** 2).sum(axis=1)
    own = J[places[-1]]
    change += (own * (spec.residual.information(parts[-1]) @ own)).sum(axis=0) / spec.n
    with np.errstate(divide="ignore"):
        return np.where(change > 0.0, np.minimum(1.0 / np.sqrt(change), FARTHEST), np.inf)
